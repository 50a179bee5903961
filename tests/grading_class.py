"""What the tests of `make grade` hand in, and how they call it."""

import csv
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import nbformat
import pytest

from course.assignments import problem_set
from course.grading.__main__ import main
from course.grading.course import Course, digest
from course.grading.jail import NoJail, check_jail
from course.grading.submissions import (
    defined,
    grade_id,
    is_answer,
)
from course.publish.build import ROOT, find_lessons, write_text
from course.publish.release import released

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

# the released variant, where there is one: the command grades that
[LESSON] = [lesson for lesson in find_lessons(ROOT) if lesson.name == PS]
MASTER, RELEASE = (nbformat.read(path, as_version=4) for path in released(ROOT, LESSON))
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


def content(student):
    nb = student.nb() if callable(student.nb) else student.nb
    return nb if isinstance(nb, bytes) else nbformat.writes(nb).encode()


def grade_command(*arguments, **options):
    """The command, as make calls it."""
    command = [sys.executable, "-m", "course.grading.__main__", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=1200, **options
    )


def grade(*arguments):
    """What the command calls, in this process, where what takes seconds to import is there already."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        code = main([*map(str, arguments)])
    return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())


def table(out):
    with (out / PS / "grades.csv").open(encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def solution_tried(out):
    """As if the solution had been graded there, as every first run does; one class is enough to see that."""
    course = Course(PS, out / PS)
    write_text(course.out / ".tried", digest(course.key, str(course.jailed)))
