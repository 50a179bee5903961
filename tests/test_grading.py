"""`make grade`, end to end: good, wrong, broken and hostile submissions of a real problem set, in the real jail.

A hostile submission answers the first task as the solution does, unless it says otherwise, and does its
mischief in a cell of its own. For each: what it gets, what is said of it, and that nobody else's grade moves.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from grading_class import (
    FIRST,
    FULL,
    PS,
    SECONDS,
    SECRET,
    TASKS,
    Student,
    answered,
    content,
    grade_command,
    in_function,
    needs_jail,
    place,
    release,
    table,
    with_cell,
)

from course.grading.submissions import (
    grade_id,
)
from course.publish.build import ROOT


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
for path in ["{ROOT}/solutions", "{ROOT}/course/lessons/vae/exercises.py", "{ROOT}/tests", "{ROOT}/course/assignments",
             "{ROOT}/.git", "OUT", "SUBMISSIONS", "/root/.ssh", "/home", "/etc/shadow", "/etc/passwd",
             "{ROOT}/README.md"]:
    try:
        found += [os.path.join(path, name) for name in os.listdir(path)] if os.path.isdir(path) else [open(path).read()]
    except OSError:
        pass
for folder, below, names in os.walk("/"):
    below[:] = [x for x in below if x not in ("proc", "sys", "usr", "site-packages", "lib")]
    found += [os.path.join(folder, name) for name in names if "gradebook" in name or name.endswith(".ipynb")]
print("FOUND", found)
"""
# in the environment of whoever grades; a submission looks for it in every process it can see
PLANTED = "planted-in-the-environment"
ENVIRONMENTS = """
import glob, os
seen = sorted(glob.glob("/proc/[0-9]*/environ"))
print("SEEN", len(seen), [open(path).read() for path in seen if os.access(path, os.R_OK)])
"""
# in a neighbour's notebook, in the gradebook, in the environment: read all there is, but for the installed
# files of Python and the system, and look for the three (put together here, so that the search does not find itself)
NEIGHBOUR = "planted-in-another-submission"
GREP = f"""
import os, stat
wanted = [" ".join(x).replace(" ", "-").encode() for x in {[x.split("-") for x in (PLANTED, NEIGHBOUR, SECRET)]}]
installed = {{"/usr", "/sys", "/lib", "/dev", "/proc", {sys.base_prefix!r}, {sys.prefix!r}}}
read, found = 0, []

def look(path):
    global read
    try:
        if not path.startswith("/proc/") and not stat.S_ISREG(os.lstat(path).st_mode):
            return
        with open(path, "rb") as file:
            text = file.read(5_000_000)
    except OSError:
        return
    read += 1
    found.extend((path, word) for word in wanted if word in text)

for folder, below, names in os.walk("/"):
    below[:] = [x for x in below if os.path.join(folder, x) not in installed]
    for name in names:
        look(os.path.join(folder, name))
for number in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline", "mountinfo", "status", "maps", "comm", "cgroup", "limits"):
        look(f"/proc/{{number}}/{{name}}")
print("GREPPED" if read > 100 else "read only", found)
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
import course.checking.core, course.checking.hand_in, course.checking.step
yes = lambda *a, **k: True
torch.allclose = torch.equal = torch.isclose = torch.testing.assert_close = numpy.allclose = yes
torch.Tensor.__eq__ = yes
builtins.all = builtins.abs = yes
course.checking.hand_in.rebound = lambda: []
course.checking.core.same = course.checking.step.same = yes
AssertionError = Exception
"""
FORGE = """
from IPython.display import display
def hand_in(*arguments):
    display({"application/vnd.genlib.answer+json": {"outcomes": [], "tensors": "", "flags": []}}, raw=True)
import course.checking.hand_in as h
h.hand_in = hand_in
"""
SILENCE = """
import course.checking.hand_in as h
h.hand_in = lambda *arguments: print("4 of 4 points")
"""
PICKLE = """
import base64, os, pickle, IPython.display as d
import course.checking.hand_in as h
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
        lambda: with_cell("print('x' * 100_000_000)\n'x' * 100_000_000"),
        FULL,
        flagged=("prints more than",),
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
    "deep_folders": Student(
        lambda: with_cell(
            "import os, time\n"
            "os.chdir(os.path.dirname(__import__('ipykernel').get_connection_file()))\n"
            "for i in range(3000):\n    os.mkdir('x')\n    os.chdir('x')\n"
            "time.sleep(20)"
        ),
        0,
        "limit",
        says=("MB of files",),
    ),
    "memory_files": Student(
        lambda: with_cell(
            "import os, time\nhidden = [os.memfd_create('hidden') for i in range(60)]\n"
            "for file in hidden: os.write(file, b'x' * 60_000_000)\ntime.sleep(20)"
        ),
        0,
        "limit",
        says=("GB of memory",),
    ),
    "answers_as_output": Student(
        lambda: with_cell(
            "from IPython.display import display\n"
            "for i in range(50):\n"
            "    display({'application/vnd.genlib.answer+json': {'x': 'x' * 1_000_000}}, raw=True)"
        ),
        FULL,
        flagged=("prints more than",),
    ),
    # faster than it can be read: the grader would hold what waits
    "flood": Student(
        lambda: with_cell("while True: print('x' * 5_000_000)"),
        None,
        ("limit", "time limit", "graded"),
    ),
    "large_figure": Student(
        lambda: with_cell(
            "import matplotlib.pyplot as plt, torch\nplt.figure(figsize=(12, 12))\n"
            "plt.scatter(*torch.rand(2, 9000), c=torch.rand(9000))\nplt.show()"
        ),
        FULL,
        says=("data:image/png",),
        never=("cut: a cell may print",),
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
    "environments": Student(
        lambda: with_cell(ENVIRONMENTS), FULL, never=(PLANTED,), says=("SEEN 2",)
    ),
    "greps": Student(lambda: with_cell(GREP), FULL, says=("GREPPED []",)),
    "neighbour": Student(lambda: with_cell(f"# {NEIGHBOUR}"), FULL),
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
    run = grade_command(
        PS,
        folder,
        "--out",
        out,
        "--jobs",
        2,
        "--seconds",
        SECONDS,
        env={**os.environ, "TOKEN": PLANTED},
    )
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
    again = grade_command(PS, graded.folder, "--out", graded.out, "--seconds", SECONDS)
    assert again.returncode == 0
    assert (graded.out / PS / "grades.csv").read_bytes() == before


@needs_jail
def test_a_submission_that_loops_costs_at_most_its_limit(graded):
    for name in ("loop_top", "loop_inside", "loop_deaf", "sleeper"):
        # the limit, the start of Python, the wait for a kernel that does not listen, and a loaded machine
        assert float(graded.rows[name]["seconds"]) < SECONDS + 40
