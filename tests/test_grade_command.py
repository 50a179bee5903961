"""The command `make grade`: it goes on where it stopped, and says what it cannot do."""

import os
import re
import signal
import subprocess
import sys
import time
import zipfile

import nbformat
import pytest
import torch
from grading_class import (
    FIRST,
    FULL,
    GRADERS,
    MASTER,
    PS,
    RELEASE,
    TASKS,
    answered,
    function,
    grade,
    in_function,
    needs_jail,
    place,
    release,
    solution_tried,
    table,
)
from nbgrader.api import Gradebook
from torch.distributions import Normal, kl_divergence

from course.assignments import Part, Task, problem_set
from course.assignments import grade as grade_task
from course.checking.core import Wrong
from course.checking.questions import answer_questions, pack
from course.grading.course import private_tasks
from course.grading.execution import Grading
from course.grading.jail import Limits
from course.grading.submissions import (
    grade_id,
    is_answer,
)
from course.publish.build import ROOT


@pytest.fixture
def small_class(tmp_path):
    """Three students, quickly graded, as a folder of one notebook each."""
    solution_tried(tmp_path)
    folder = tmp_path / "handed in"
    folder.mkdir()
    for name, nb in {"ada": answered(), "bob": release(), "eve": in_function("return 1")}.items():
        nbformat.write(nb, folder / f"{name}.ipynb")
    return folder


def points(out):
    return {name: float(row["points"]) for name, row in table(out).items()}


IDS = {"ada": 4711, "bob": 4712, "eve": 4713}  # of a learning platform
POINTS = {"ada": FULL, "bob": 0.0, "eve": 0.0}


@needs_jail
def test_grading_goes_on_where_it_was_killed(small_class, tmp_path):
    command = [
        sys.executable,
        "-m",
        "course.grading.__main__",
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
            file.write(path, f"{path.stem} Smith_{IDS[path.stem]}_assignsubmission_file/{PS}.ipynb")
        file.writestr("../../evil.ipynb", "no notebook")
    assert grade(PS, archive, "--out", tmp_path).returncode == 0
    assert points(tmp_path) == {
        "ada_Smith_4711": FULL,
        "bob_Smith_4712": 0,
        "eve_Smith_4713": 0,
        "evil": 0,
    }
    assert not list(tmp_path.parent.glob("**/evil.ipynb"))
    stamps = {p.name: p.stat().st_mtime_ns for p in (tmp_path / PS / "results").iterdir()}
    with zipfile.ZipFile(tmp_path / "later.zip", "w") as file:
        file.write(small_class / "ada.ipynb", "ada Smith_4711_assignsubmission_file/late.ipynb")
        file.write(small_class / "ada.ipynb", f"bob Smith_4712_assignsubmission_file/{PS}.ipynb")
    assert grade(PS, tmp_path / "later.zip", "--out", tmp_path).returncode == 0
    assert points(tmp_path) == {"ada_Smith_4711": FULL, "bob_Smith_4712": FULL}
    eve = tmp_path / PS / "results" / "eve_Smith_4713.json"
    assert eve.stat().st_mtime_ns == stamps["eve_Smith_4713.json"]


@needs_jail
def test_marks_that_a_person_gives_reach_the_table_and_the_page(small_class, tmp_path):
    written = next(
        grade_id(c) for c in RELEASE.cells if is_answer(c) and c.metadata.nbgrader.get("grade")
    )
    nb = answered()
    nb.cells[place(nb, written)].source = "Because <b>it</b> is."
    nbformat.write(nb, small_class / "ada.ipynb")
    (small_class / "eve.ipynb").unlink()
    printed = grade(PS, small_class, "--out", tmp_path)
    assert "make marks" in printed.stdout
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

    def hand_in(text):
        nb.cells[place(nb, written)].source = text
        nbformat.write(nb, small_class / "ada.ipynb")
        assert grade(PS, small_class, "--out", tmp_path).returncode == 0
        row = table(tmp_path)["ada"]
        return row[written], row["to_read"], float(row["points"])

    def mark(score):
        with Gradebook(f"sqlite:///{tmp_path}/{PS}/gradebook.db", "genlib") as gradebook:
            gradebook.find_grade(written, PS, PS, "ada").manual_score = score
            gradebook.db.commit()

    # a mark is for the answer that was read, and for no other
    changed = f"the answer {written} changed after it was marked"
    assert hand_in("It is not.") == ("", "1", FULL)
    page = (tmp_path / PS / "feedback" / "ada.html").read_text()
    assert changed in page and "Half of it" not in page
    mark(1)
    assert hand_in("It is not.") == ("1", "0", FULL + 1)
    assert changed not in (tmp_path / PS / "feedback" / "ada.html").read_text()
    assert hand_in(RELEASE.cells[place(RELEASE, written)].source) == ("0", "0", FULL)
    mark(2)
    assert hand_in(" ") == ("0", "0", FULL)


PRIVATE = """
from course.checking.core import Wrong
from course.assignments import Part, Task, problem_set

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
    assert "must be a course.assignments.Task" in grade(*arguments).stderr


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


def test_the_private_test_on_the_page_runs_as_printed(tmp_path):
    page = (ROOT / "docs" / "grading.md").read_text()
    [example] = [x for x in re.findall(r"```python\n(.*?)```", page, re.S) if "TASKS = " in x]
    (tmp_path / "ps2_vae.py").write_text(example)
    graders = problem_set("ps2_vae")
    tasks, text = private_tasks(tmp_path, graders)
    assert set(tasks) <= set(graders.tasks) and text == example
    variant = graders.variant(0)
    generator = torch.Generator().manual_seed(0)
    [(name, task)] = tasks.items()
    questions = task.questions(generator, variant)
    prior = Normal(variant["PRIOR_MEAN"], variant["PRIOR_SCALE"])
    for answer, points in (
        (lambda mean, log_std: kl_divergence(Normal(mean, log_std.exp()), prior).sum(1), 1),
        (lambda mean, log_std: mean.square().sum(1) + 1, 0),
    ):
        outcomes = answer_questions(name, answer, questions)
        assert grade_task(task, name, questions, outcomes, variant).points == points


def test_without_bubblewrap_it_refuses_and_says_what_installs_it(
    small_class, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "grading"
    refused = grade(PS, small_class, "--out", out)
    assert refused.returncode == 2
    assert "apt install bubblewrap" in refused.stderr and "UNSAFE=1" in refused.stderr
    assert not out.exists()


def test_without_a_jail_it_grades_only_by_an_option(small_class, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("bob", "eve"):
        (small_class / f"{name}.ipynb").unlink()
    done = grade(PS, small_class, "--out", tmp_path, "--unsafe")
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
def test_what_cannot_be_graded_is_said_in_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    refused = grade(*arguments, "--out", tmp_path, "--unsafe")
    assert refused.returncode == 2
    assert words in refused.stderr and len(refused.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
