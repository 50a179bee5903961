"""Points that a lecturer sets by hand for what the tests judge: overrides.csv, with a reason in every row."""

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from course.grading.course import CannotGrade
from course.grading.feedback import Result
from course.publish.build import write_text

COLUMNS = ["student", "task", "points", "reason"]


@dataclass(frozen=True)
class Override:
    """What a task is worth instead, and why."""

    points: float
    reason: str


Overrides = Mapping[tuple[str, str], Override]


def template(path: Path) -> None:
    """An empty table to fill in; one that is there stays as it is."""
    if not path.exists():
        write_text(path, ",".join(COLUMNS) + "\n")


def read_overrides(
    path: Path, most: Mapping[str, float], students: Collection[str]
) -> dict[tuple[str, str], Override]:
    """The table, by student and task; empty where there is none.

    Args:
        path: of the table.
        most: the highest points of every task that tests judge.
        students: everybody who has been graded, or will be.

    Raises:
        CannotGrade: a row that cannot be meant so, with its line.
    """
    if not path.exists():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotGrade(f"{path}: is no text in UTF-8 that can be read.") from error
    head = text.partition("\n")[0]
    # a spreadsheet program writes semicolons where numbers have a decimal comma
    mark = ";" if ";" in head and "," not in head else ","
    rows = csv.reader(text.splitlines(), delimiter=mark)
    if [x.strip() for x in next(rows, [])] != COLUMNS:
        raise CannotGrade(f"{path}: its first line must be {','.join(COLUMNS)}")
    made: dict[tuple[str, str], Override] = {}
    for row in rows:
        if not any(x.strip() for x in row):
            continue
        here = f"{path}, line {rows.line_num}"
        if len(row) != len(COLUMNS):
            raise CannotGrade(
                f"{here}: {len(row)} fields, not {len(COLUMNS)}. A reason with a comma needs quotes."
            )
        student, task, points, reason = (x.strip() for x in row)
        if student not in students:
            raise CannotGrade(f"{here}: there is no student {student!r}; names as in grades.csv.")
        if task not in most:
            raise CannotGrade(
                f"{here}: no test judges {task!r}. There are: {', '.join(most)} "
                "(written answers are marked in make marks)."
            )
        try:
            value = float(points.replace(",", "."))
        except ValueError:
            value = math.nan
        if not 0 <= value <= most[task]:
            raise CannotGrade(f"{here}: points are from 0 to {most[task]:g}, not {points!r}.")
        if not reason:
            raise CannotGrade(f"{here}: a reason is missing; the student will read it.")
        if (student, task) in made:
            raise CannotGrade(f"{here}: {student} and {task} stand in the table twice.")
        made[student, task] = Override(value, reason)
    return made


def apply(overrides: Overrides, made: Sequence[Result]) -> None:
    """Set the points; the reason goes to the task on the student's page, and into the notes."""
    for result in made:
        for task in result.tasks:
            override = overrides.get((result.student, task.name))
            if override is not None:
                words = f"{override.points:g} instead of {task.points:g} points: {override.reason}"
                task.points = override.points
                task.messages = [*task.messages, words]
                result.notes.append(f"{task.name}: {words}")
