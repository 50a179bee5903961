"""`make grade`, end to end: good, wrong, broken and hostile submissions of a real problem set, in the real jail.

A hostile submission answers the first task as the solution does, unless it says otherwise, and does its
mischief in a cell of its own. For each: what it gets, what is said of it, and that nobody else's grade moves.
"""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest
from nbgrader.api import Gradebook

from genlib.checks.core import Wrong
from genlib.checks.hand_in import answer_questions, pack
from genlib.graders import Part, Task, problem_set
from tools.build import ROOT
from tools.grading.execution import Grading
from tools.grading.jail import Limits, NoJail, Watch, check_jail, used
from tools.grading.submissions import (
    Unreadable,
    collect,
    defined,
    grade_id,
    is_answer,
    read_notebook,
    rebuild,
    suspicious_code,
)

PS = os.environ.get("PSX", "ps1_autoregressive")
# A cell may take half of it. The first one imports torch: 12 s where two slow cores ran three kernels.
SECONDS = 60
SECRET = "only-the-gradebook-knows"
try:
    check_jail()
    JAIL = True
except NoJail:
    JAIL = False
needs_jail = pytest.mark.skipif(
    not JAIL, reason="bubblewrap is missing: sudo apt install bubblewrap"
)

MASTER = nbformat.read(ROOT / "solutions" / PS / f"{PS}.ipynb", as_version=4)
RELEASE = nbformat.read(ROOT / "notebooks" / "assignments" / PS / f"{PS}.ipynb", as_version=4)
GRADERS = problem_set(PS)
TASKS = GRADERS.tasks
FIRST = next(iter(TASKS))
FULL = TASKS[FIRST].max_points


def release():
    return nbformat.from_dict(json.loads(json.dumps(RELEASE)))


def answered(names=(FIRST,)):
    """The release with the solutions of some tasks."""
    nb = release()
    for cell, solved in zip(nb.cells, MASTER.cells, strict=True):
        if is_answer(cell) and (grade_id(cell) or "").removesuffix("-answer") in names:
            cell.source = solved.source
    return nb


def place(nb, name):
    return next(i for i, cell in enumerate(nb.cells) if grade_id(cell) == name)


def with_cell(code, nb=None, before=FIRST):
    """With a cell of the student's own just before a test."""
    nb = nb or answered()
    nb.cells.insert(place(nb, before), nbformat.v4.new_code_cell(code))
    return nb


def function():
    """The name of the first task's function."""
    return defined(RELEASE.cells[place(RELEASE, f"{FIRST}-answer")].source)[-1]


def in_function(code):
    """A first task whose function misbehaves."""
    nb = release()
    lines = "\n".join("    " + line for line in code.splitlines())
    nb.cells[place(nb, f"{FIRST}-answer")].source = f"def {function()}(*arguments):\n{lines}"
    return nb


@dataclass
class Student:
    """A submission, and what must become of it.

    Args:
        nb: the notebook, or bytes.
        points: what it gets; None where only the grader's survival matters.
        status: in the table, or several that may be; None for any.
        says: parts of its feedback page.
        flagged: parts of what the teacher is told to look at.
        noted: parts of what student and teacher are told.
        name: of the file.
    """

    nb: object
    points: float = 0
    status: object = "graded"
    says: tuple = ()
    flagged: tuple = ()
    noted: tuple = ()
    name: str = f"{PS}.ipynb"
    folder: str = PS
    never: tuple = ()


def deleted_tests():
    nb = answered()
    nb.cells = [cell for cell in nb.cells if grade_id(cell) not in TASKS]
    return nb


def edited_tests():
    nb = answered(())
    for cell in nb.cells:
        if grade_id(cell) in TASKS:
            cell.source = "100"
            cell.metadata.nbgrader.points = 1000
    return nb


def stripped_metadata():
    nb = answered()
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict({})
    return nb


def stripped_and_renumbered():
    """As Google Colab and others leave it: no metadata, other ids."""
    nb = stripped_metadata()
    for i, cell in enumerate(nb.cells):
        cell.id = f"colab-{i}"
    return nb


def doubled():
    nb = answered()
    copy = nbformat.from_dict(json.loads(json.dumps(nb.cells[place(nb, f"{FIRST}-answer")])))
    copy.id, copy.source = "another", "# a second thought"
    nb.cells.insert(place(nb, FIRST), copy)
    return nb


def test_pretending_to_be_an_answer():
    """A solution's metadata on a test's source, and the other way round."""
    nb = answered()
    nb.cells[place(nb, FIRST)].metadata.nbgrader.solution = True
    return nb


test_pretending_to_be_an_answer.__test__ = False

READ = f"""
import os
found = []
for path in ["{ROOT}/solutions", "{ROOT}/lessons", "{ROOT}/tests", "{ROOT}/genlib/graders", "{ROOT}/.git",
             "OUT", "SUBMISSIONS", "/root/.ssh", "/home", "/etc/shadow", "/etc/passwd", "{ROOT}/README.md"]:
    try:
        found += [os.path.join(path, name) for name in os.listdir(path)] if os.path.isdir(path) else [open(path).read()]
    except OSError:
        pass
for folder, below, names in os.walk("/"):
    below[:] = [x for x in below if x not in ("proc", "sys", "usr", "site-packages", "lib")]
    found += [os.path.join(folder, name) for name in names if "gradebook" in name or name.endswith(".ipynb")]
print("FOUND", found)
"""
WRITE = f"""
import os
done = []
for path in ["{ROOT}/evil", "{ROOT}/genlib/evil.py", "/usr/evil", "/evil", "OUT/evil", "SUBMISSIONS/evil",
             os.environ.get("GENLIB_INPUTS", "/x")]:
    try:
        open(path, "w").write("evil")
        done.append(path)
    except OSError:
        pass
# the jail's own /tmp is nobody else's, and the course itself may lie in a folder below /tmp
print("WROTE", [path for path in done if not path.startswith("/tmp/")])
"""
NET = """
import socket, urllib.request
for address in [("127.0.0.1", 22), ("1.1.1.1", 80), ("localhost", 8888)]:
    try:
        socket.create_connection(address, timeout=2)
        print("CONNECTED", address)
    except OSError as error:
        print("no way", error)
"""
PATCH = """
import builtins, torch, numpy
import genlib.checks.core, genlib.checks.hand_in
yes = lambda *a, **k: True
torch.allclose = torch.equal = torch.isclose = torch.testing.assert_close = numpy.allclose = yes
torch.Tensor.__eq__ = yes
builtins.all = builtins.abs = yes
genlib.checks.hand_in.rebound = lambda: []
genlib.checks.core.same = genlib.checks.core.judge = yes
AssertionError = Exception
"""
FORGE = """
from IPython.display import display
def hand_in(*arguments):
    display({"application/vnd.genlib.answer+json": {"outcomes": [], "tensors": "", "flags": []}}, raw=True)
import genlib.checks.hand_in as h
h.hand_in = hand_in
"""
SILENCE = """
import genlib.checks.hand_in as h
h.hand_in = lambda *arguments: print("4 of 4 points")
"""
PICKLE = """
import base64, os, pickle, IPython.display as d
import genlib.checks.hand_in as h
class Evil:
    def __reduce__(self): return (os.mkdir, ("/tmp/evil-was-here",))
bad = base64.b64encode(pickle.dumps(Evil())).decode()
about = {"words": None, "tensors": 1, "several": False, "gradients": []}
h.hand_in = lambda *a: d.display({h.MIME: {"outcomes": [about], "tensors": bad, "flags": []}}, raw=True)
"""
MARKUP = """
from IPython.display import HTML, display
display(HTML("<script>document.title='owned'</script><img src=x onerror=alert(1)>"))
print("<script>document.title='owned'</script>")
"""

STUDENTS = {
    "ada": Student(answered, FULL),
    "bob": Student(release, 0, says=("still to be written",)),
    # ---- code that does not end, or ends too much
    "loop_top": Student(
        lambda: with_cell("while True: pass"),
        FULL,
        "time limit",
        flagged=(f"limit of {SECONDS // 2} s",),
    ),
    "loop_inside": Student(
        lambda: in_function("while True: pass"), 0, "time limit", says=("interrupted",)
    ),
    "loop_deaf": Student(
        lambda: with_cell(
            "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
        ),
        0,
        "time limit",
        says=("could not be interrupted",),
    ),
    "sleeper": Student(lambda: in_function("import time\ntime.sleep(1000)"), 0, "time limit"),
    "os_exit": Student(
        lambda: with_cell("import os\nos._exit(0)"), 0, "kernel died", flagged=("os._exit",)
    ),
    "os_exit_inside": Student(lambda: in_function("import os\nos._exit(0)"), 0, "kernel died"),
    "sys_exit": Student(lambda: with_cell("import sys\nsys.exit()"), FULL),
    "segfault": Student(
        lambda: with_cell("import ctypes\nctypes.string_at(0)"),
        0,
        "kernel died",
        flagged=("ctypes",),
    ),
    # all but the first process of the jail and the one that asks: there is nobody else to kill
    "kills_all": Student(lambda: with_cell("import os, signal\nos.kill(-1, signal.SIGKILL)"), FULL),
    "kernel_shutdown": Student(
        lambda: with_cell("get_ipython().kernel.do_shutdown(False)\nimport os; os.abort()"),
        0,
        "kernel died",
    ),
    # whichever limit is reached first
    "fork_bomb": Student(
        lambda: with_cell("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"),
        0,
        ("limit", "time limit"),
    ),
    "memory": Student(
        lambda: with_cell("hoard = []\nwhile True: hoard.append(bytearray(b'x' * 200_000_000))"),
        None,
        ("limit", "time limit"),
    ),
    "memory_at_once": Student(lambda: with_cell("hoard = b'x' * 10_000_000_000"), None, None),
    "output": Student(
        lambda: with_cell("for i in range(100): print('x' * 1_000_000)"),
        FULL,
        flagged=("prints more than",),
    ),
    "output_one_line": Student(
        lambda: with_cell("print('x' * 100_000_000)"), FULL, flagged=("prints more than",)
    ),
    "disk": Student(
        lambda: with_cell(
            "import os\nfolder = os.path.dirname(__import__('ipykernel').get_connection_file())\n"
            "for i in range(1000): open(f'{folder}/{i}', 'wb').write(b'x' * 10_000_000)\n"
        ),
        0,
        "limit",
        says=("MB of files",),
    ),
    # ---- notebooks that are not what was handed out
    "deleted_tests": Student(deleted_tests, FULL, noted=("was missing; it was put back",)),
    "edited_tests": Student(
        edited_tests, 0, noted=("was edited; the original is used", "points of")
    ),
    "stripped": Student(stripped_metadata, FULL, noted=("found by their place",)),
    "colab": Student(stripped_and_renumbered, FULL, noted=("functions' names",)),
    "doubled": Student(doubled, FULL, noted=("is there twice",)),
    "pretends": Student(test_pretending_to_be_an_answer, FULL),
    "last_year": Student(
        lambda: (nb := answered(), nb.metadata.update(genlib={"variant": 7}))[0],
        FULL,
        noted=("made for variant 7",),
    ),
    "not_json": Student(b"def answer(): pass", 0, "no notebook", says=("no Jupyter notebook",)),
    "json_only": Student(b'{"cells": 3}', 0, "no notebook", says=("no Jupyter notebook",)),
    "empty": Student(b"", 0, "no notebook", says=("empty",)),
    "not_utf8": Student("é".encode("latin-1") * 50, 0, "no notebook", says=("UTF-8",)),
    "cut_off": Student(lambda: nbformat.writes(answered()).encode()[:-200], 0, "no notebook"),
    "wrong_name": Student(
        answered, FULL, name="Homework (final) 2.ipynb", noted=("called Homework",)
    ),
    "nothing": Student(None, 0, "no notebook", says=("no notebook was handed in",)),
    "no_python": Student(
        lambda: with_cell("this is ) not python"), FULL, flagged=("is not Python",)
    ),
    # ---- code that looks, writes, talks and forges
    "reads": Student(
        lambda: with_cell(READ),
        FULL,
        never=(SECRET, "root:x", "Deep generative"),
        says=("FOUND []",),
    ),
    "writes": Student(lambda: with_cell(WRITE), FULL, says=("WROTE []",)),
    "network": Student(
        lambda: with_cell(NET),
        FULL,
        never=("CONNECTED (",),
        says=("no way",),
        flagged=("imports socket",),
    ),
    "patches": Student(
        lambda: with_cell(PATCH, nb=answered(())), 0, flagged=("assigns torch.allclose",)
    ),
    "breaks_isinstance": Student(
        lambda: with_cell("import builtins\nbuiltins.isinstance = lambda *a: True"), None, None
    ),
    "patches_wrong": Student(lambda: with_cell(PATCH, in_function("return 0.0")), 0),
    "forges": Student(lambda: with_cell(FORGE), 0, says=("cannot be read",), flagged=("hand_in",)),
    "silences": Student(
        lambda: with_cell(SILENCE), 0, says=("no answer came out",), flagged=("handed nothing in",)
    ),
    "pickles": Student(lambda: with_cell(PICKLE), 0, says=("cannot be read",)),
    "markup": Student(
        lambda: with_cell(MARKUP),
        FULL,
        says=("&lt;script&gt;",),
        never=("<script", "onerror=alert(1)>"),
    ),
    "warns": Student(
        lambda: with_cell(
            "import warnings, sys\nwarnings.warn('careful')\nprint('hm', file=sys.stderr)"
        ),
        FULL,
    ),
    "Zoë Ångström": Student(answered, FULL),
}


def content(student):
    nb = student.nb() if callable(student.nb) else student.nb
    return nb if isinstance(nb, bytes) else nbformat.writes(nb).encode()


def grade(*arguments, **options):
    """The command, as make calls it."""
    command = [sys.executable, "-m", "tools.grade", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=1200, **options
    )


def table(out):
    with (out / PS / "grades.csv").open(encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@dataclass
class Graded:
    folder: Path
    out: Path
    run: subprocess.CompletedProcess
    rows: dict

    def page(self, name):
        return (self.out / PS / "feedback" / f"{name}.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Everybody's submission, graded in one run."""
    base = tmp_path_factory.mktemp("class")
    folder, out = base / "handed in", base / "grading"
    for name, student in STUDENTS.items():
        place = folder / name / student.folder
        place.mkdir(parents=True)
        if student.nb is not None:
            text = content(student).replace(b"OUT/", f"{out}/".encode())
            (place / student.name).write_bytes(text.replace(b"SUBMISSIONS", str(folder).encode()))
    (folder / "linked" / PS).mkdir(parents=True)
    (folder / "linked" / PS / f"{PS}.ipynb").symlink_to("/etc/passwd")
    out.mkdir()
    (out / "gradebook-secret.txt").write_text(SECRET)
    run = grade(PS, folder, "--out", out, "--jobs", 2, "--seconds", SECONDS)
    assert run.returncode == 0, run.stderr[-3000:] + run.stdout[-3000:]
    return Graded(folder, out, run, table(out))


def key(name):
    return re.sub(r"[^\w.-]+", "_", name)


@needs_jail
@pytest.mark.parametrize("name", STUDENTS)
def test_every_submission_gets_what_it_deserves(graded, name):
    student, row = STUDENTS[name], graded.rows[key(name)]
    if student.points is not None:
        assert float(row["points"]) == student.points, row
    if student.status is not None:
        one_of = (student.status,) if isinstance(student.status, str) else student.status
        assert row["status"] in one_of, row
    page = graded.page(key(name))
    assert row["status"] != "grader failed"
    for words in student.says:
        assert words in page
    for words in student.never:
        assert words not in page
    for words in student.flagged:
        assert words in row["look_at"]
    for words in student.noted:
        assert words in row["notes"]


@needs_jail
def test_nobody_is_lost_and_no_link_is_followed(graded):
    assert set(graded.rows) == {key(name) for name in STUDENTS} | {"linked"}
    assert graded.rows["linked"]["status"] == "no notebook"
    assert "root:" not in graded.page("linked")


@needs_jail
def test_nothing_was_written_outside(graded):
    assert not list(ROOT.glob("**/evil*"))
    assert not Path("/tmp/evil-was-here").exists()
    assert not [p for p in graded.folder.rglob("*") if "evil" in p.name]


@needs_jail
def test_no_page_holds_a_script_or_fetches_anything(graded):
    for path in (graded.out / PS / "feedback").glob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert "default-src 'none'" in page
        assert not re.search(
            r"<script|<iframe|<link|<object|href=\"(?!#)|src=\"(?!data:image/png)", page
        )


@needs_jail
def test_a_second_run_grades_nobody_again_and_changes_nothing(graded):
    before = (graded.out / PS / "grades.csv").read_bytes()
    again = grade(PS, graded.folder, "--out", graded.out, "--seconds", SECONDS)
    assert again.returncode == 0
    assert (graded.out / PS / "grades.csv").read_bytes() == before


@needs_jail
def test_a_submission_that_loops_costs_at_most_its_limit(graded):
    for name in ("loop_top", "loop_inside", "loop_deaf", "sleeper"):
        # the limit, the start of Python, the wait for a kernel that does not listen, and a loaded machine
        assert float(graded.rows[name]["seconds"]) < SECONDS + 40


# ---------------------------------------------------------------- the command


@pytest.fixture
def small_class(tmp_path):
    """Three students, quickly graded, as a folder of one notebook each."""
    folder = tmp_path / "handed in"
    folder.mkdir()
    for name, nb in {"ada": answered(), "bob": release(), "eve": in_function("return 1")}.items():
        nbformat.write(nb, folder / f"{name}.ipynb")
    return folder


def points(out):
    return {name: float(row["points"]) for name, row in table(out).items()}


POINTS = {"ada": FULL, "bob": 0.0, "eve": 0.0}


@needs_jail
def test_grading_goes_on_where_it_was_killed(small_class, tmp_path):
    command = [
        sys.executable,
        "-m",
        "tools.grade",
        PS,
        str(small_class),
        "--out",
        str(tmp_path),
        "--jobs",
        "1",
    ]
    first = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    done = tmp_path / PS / "results" / "ada.json"
    deadline = time.monotonic() + 300
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    stamp = done.stat().st_mtime_ns
    assert not (tmp_path / PS / "grades.csv").exists()
    again = grade(PS, small_class, "--out", tmp_path)
    assert again.returncode == 0, again.stderr
    assert done.stat().st_mtime_ns == stamp  # ada's work was not run again
    assert points(tmp_path) == POINTS


@needs_jail
def test_a_zip_is_graded_like_a_folder_and_only_what_changed_is_graded_again(small_class, tmp_path):
    archive = tmp_path / "download.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in small_class.iterdir():
            file.write(path, f"{path.stem} Smith_4711_assignsubmission_file/{PS}.ipynb")
        file.writestr("../../evil.ipynb", "no notebook")
    assert grade(PS, archive, "--out", tmp_path).returncode == 0
    assert points(tmp_path) == {"ada_Smith": FULL, "bob_Smith": 0, "eve_Smith": 0, "evil": 0}
    assert not list(tmp_path.parent.glob("**/evil.ipynb"))
    stamps = {p.name: p.stat().st_mtime_ns for p in (tmp_path / PS / "results").iterdir()}
    with zipfile.ZipFile(tmp_path / "later.zip", "w") as file:
        file.write(small_class / "ada.ipynb", "ada Smith_4711_assignsubmission_file/late.ipynb")
        file.write(small_class / "ada.ipynb", f"bob Smith_4712_assignsubmission_file/{PS}.ipynb")
    assert grade(PS, tmp_path / "later.zip", "--out", tmp_path).returncode == 0
    assert points(tmp_path) == {"ada_Smith": FULL, "bob_Smith": FULL}
    eve = tmp_path / PS / "results" / "eve_Smith.json"
    assert eve.stat().st_mtime_ns == stamps["eve_Smith.json"]


@needs_jail
def test_marks_that_a_person_gives_reach_the_table_and_the_page(small_class, tmp_path):
    written = next(
        grade_id(c) for c in RELEASE.cells if is_answer(c) and c.metadata.nbgrader.get("grade")
    )
    nb = answered()
    nb.cells[place(nb, written)].source = "Because <b>it</b> is."
    nbformat.write(nb, small_class / "ada.ipynb")
    (small_class / "eve.ipynb").unlink()
    said = grade(PS, small_class, "--out", tmp_path)
    assert "make marks" in said.stdout
    rows = table(tmp_path)
    assert rows["ada"]["to_read"] == "1" and rows["ada"][written] == ""
    assert rows["bob"]["to_read"] == "0" and rows["bob"][written] == "0"  # nothing to read
    with Gradebook(f"sqlite:///{tmp_path}/{PS}/gradebook.db", "genlib") as gradebook:
        gradebook.find_grade(written, PS, PS, "ada").manual_score = 2
        gradebook.find_comment(written, PS, PS, "ada").manual_comment = "Half of it <script>"
        gradebook.db.commit()
    assert grade(PS, small_class, "--out", tmp_path).returncode == 0
    row = table(tmp_path)["ada"]
    assert (row[written], row["to_read"], float(row["points"])) == ("2", "0", FULL + 2)
    page = (tmp_path / PS / "feedback" / "ada.html").read_text()
    assert "Half of it &lt;script&gt;" in page and "Because &lt;b&gt;it&lt;/b&gt; is." in page


PRIVATE = """
from genlib.checks.core import Wrong
from genlib.graders import Part, Task, problem_set

public = problem_set("{ps}").tasks["{task}"]

def judge(name, questions, outcomes, variant):
    if {condition}:
        raise Wrong("not what I asked for.")

TASKS = {{"{task}": Task(public.questions, [Part(1, "my own test", judge)])}}
"""


@needs_jail
def test_a_lecturers_own_tests_are_asked_too(small_class, tmp_path):
    (small_class / "bob.ipynb").unlink()
    folder = tmp_path / "private"
    folder.mkdir()
    path = folder / f"{PS}.py"
    arguments = (PS, small_class, "--out", tmp_path, "--private-tests", folder)
    assert "there is no" in grade(*arguments).stderr
    path.write_text(PRIVATE.format(ps=PS, task=FIRST, condition="len(outcomes) == 0"))
    assert grade(*arguments).returncode == 0
    assert points(tmp_path) == {"ada": FULL, "eve": 0}
    # a test that the solution fails is wrong itself: nobody may lose points for it
    path.write_text(PRIVATE.format(ps=PS, task=FIRST, condition="True"))
    refused = grade(*arguments)
    assert (
        refused.returncode == 2 and "the solution itself does not get full marks" in refused.stderr
    )
    assert "not what I asked for" in refused.stderr
    assert points(tmp_path) == {"ada": FULL, "eve": 0}
    path.write_text("TASKS = {'no such task': 1}")
    assert "must be a genlib.graders.Task" in grade(*arguments).stderr


def test_a_private_test_costs_its_points_and_never_more():
    def refuse(name, questions, outcomes, variant):
        raise Wrong("no.")

    def mine(cost):
        task = Task(TASKS[FIRST].questions, [Part(cost, "mine", refuse)])
        return Grading(GRADERS, {FIRST: task}, GRADERS.variant(0), Limits(), seed=1)

    namespace = {}
    for cell in MASTER.cells:
        if cell.cell_type == "code" and grade_id(cell) not in TASKS:
            exec(cell.source, namespace)
        if grade_id(cell) == f"{FIRST}-answer":
            break
    for cost, left in ((1, FULL - 1), (FULL + 5, 0)):
        grading = mine(cost)
        questions, seed = grading.inputs()[FIRST]
        outcomes = answer_questions(FIRST, namespace[function()], questions, seed)
        assert grading.judge(FIRST, pack(outcomes)).points == left


def test_without_bubblewrap_it_refuses_and_says_what_installs_it(small_class, tmp_path):
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    refused = grade(PS, small_class, "--out", tmp_path, env=bare)
    assert refused.returncode == 2
    assert "apt install bubblewrap" in refused.stderr and "UNSAFE=1" in refused.stderr
    assert not (tmp_path / PS).exists()


def test_without_a_jail_it_grades_only_when_told_so(small_class, tmp_path):
    bare = {**os.environ, "PATH": str(tmp_path)}
    for name in ("bob", "eve"):
        (small_class / f"{name}.ipynb").unlink()
    done = grade(PS, small_class, "--out", tmp_path, "--unsafe", env=bare)
    assert done.returncode == 0, done.stderr
    assert "UNSAFE" in done.stdout and points(tmp_path) == {"ada": FULL}


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("ps9_nothing", "."), "There are: ps1_autoregressive"),
        ((PS, "no such folder"), "no such folder or zip"),
        ((PS, "genlib/data"), "no notebook in it"),
        ((PS, "README.md"), "is no zip"),
        ((PS, ".", "--jobs", "0"), "at least one"),
    ],
)
def test_what_cannot_be_graded_is_said_in_one_line(arguments, words, tmp_path):
    refused = grade(*arguments, "--out", tmp_path, "--unsafe")
    assert refused.returncode == 2
    assert words in refused.stderr and "Traceback" not in refused.stderr


# ---------------------------------------------------------------- its parts


def test_the_watch_counts_shared_memory_once():
    hold = "import os, time\nx = b'x' * 200_000_000\nfor i in range(4): os.fork()\ntime.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", hold], start_new_session=True)
    try:
        family = []
        while len(family) < 16:
            time.sleep(0.2)
            family = [
                psutil.Process(process.pid),
                *psutil.Process(process.pid).children(recursive=True),
            ]
        assert used(family, "rss") > 3_000_000_000 > 1_000_000_000 > used(family, "pss")
        watch = Watch(
            os.getpid(), Path("/nonexistent"), Limits(memory=2_000_000_000, processes=500)
        )
        assert watch.too_much() is None
        assert (
            "processes" in Watch(os.getpid(), Path("/nonexistent"), Limits(processes=8)).too_much()
        )
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_an_answer_stands_where_the_student_had_it_with_what_they_added():
    nb = with_cell("helper = 1")
    rebuilt, notes = rebuild(nb, MASTER, RELEASE)
    assert notes == []
    at = place(rebuilt, FIRST)
    assert rebuilt.cells[at - 1].source == "helper = 1"
    assert (
        rebuilt.cells[at].source == MASTER.cells[place(MASTER, FIRST)].source
    )  # with its hidden tests
    # no other answer of the course comes along
    for cell, gap in zip(
        [c for c in rebuilt.cells if is_answer(c)],
        [c for c in RELEASE.cells if is_answer(c)],
        strict=True,
    ):
        if grade_id(cell) != f"{FIRST}-answer":
            assert cell.source == gap.source


def test_reading_refuses_what_is_no_notebook():
    for text in (
        b"",
        b"   ",
        b"\xff\xfe\x00",
        b"{}",
        b"[]",
        b'{"cells": [{"source": 3}]}',
        b"null",
    ):
        with pytest.raises(Unreadable):
            read_notebook(text)
    assert len(read_notebook(b"\xef\xbb\xbf" + content(Student(release))).cells) == len(
        RELEASE.cells
    )


def test_names_of_students_are_safe_and_nobody_is_lost(tmp_path):
    names = ["ada", "..", "a b", "a_b", "=cmd()", "x" * 100]
    handed = []
    for name in names[:1] + names[2:]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.ipynb").write_text("x")
        (tmp_path / name / "two.ipynb").write_text("y")
    handed = collect(tmp_path, PS)
    assert all(re.fullmatch(r"[\w.-]+", x.student) for x in handed)
    assert all("several notebooks" in " ".join(x.notes) for x in handed)
    assert len({x.student for x in handed}) == len(handed) == 5


def test_what_does_not_belong_in_an_answer_is_pointed_out():
    assert suspicious_code("x = torch.ones(3)\nx.data = y\nself.weight = 3") == []
    assert suspicious_code("import torch.nn as nn\nfrom torch import optim\nimport math") == []
    assert suspicious_code("setattr(torch, 'allclose', print)") == ["assigns an attribute of torch"]
    assert suspicious_code("from urllib.request import urlopen") == ["imports urllib.request"]
    assert suspicious_code("!ls") == ["uses a magic or shell command", "calls get_ipython"]
