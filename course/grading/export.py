"""Grades in the form that a learning platform reads: Moodle, Canvas, Gradescope.

A grade that still waits for a reader, or for a grader that failed, is not exported: half a mark looks like a whole one.
Where the formats come from stands in docs/grading.md, "Back to the platform".
"""

import csv
import html
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from course.grading.feedback import Result, TaskResult, safe_cell
from course.grading.roster import Person
from course.publish.build import write_text

PLATFORMS = ("moodle", "canvas", "gradescope")
MOODLE = (
    "Identifier",
    "Full name",
    "ID number",
    "Email address",
    "Status",
    "Grade",
    "Maximum Grade",
    "Grade can be changed",
    "Last modified (submission)",
    "Last modified (grade)",
    "Feedback comments",
)


def export(
    platform: str,
    folder: Path,
    problem_set: str,
    made: Sequence[Result],
    people: Mapping[str, Person],
    times: Mapping[str, datetime | None] | None = None,
    assignment: str = "",
) -> list[str]:
    """Write everybody's grades for a platform; what the teacher should know.

    Args:
        platform: one of `PLATFORMS`.
        folder: where to.
        problem_set: its name.
        made: everybody's results.
        people: who they are, by the row of grades.csv.
        times: when they handed in, by whose submission it is.
        assignment: as Canvas calls it, "title (id)".
    """
    if platform == "moodle":
        write_text(folder / "moodle.csv", moodle(made, people, times or {}))
        messages = [f"Export: {folder / 'moodle.csv'}"]
        nameless = [x.student for x in made if not identifier(people[x.student])]
        if nameless:
            messages.append(
                f"Moodle will skip {len(nameless)} rows without an Identifier ({', '.join(nameless)}): "
                'write "Participant 4711", as its worksheet says, into their id in the roster.'
            )
    elif platform == "canvas":
        title = assignment or problem_set
        write_text(folder / "canvas.csv", canvas(title, made, people))
        messages = [f"Export: {folder / 'canvas.csv'}"]
    else:
        everything = folder / "gradescope"
        if everything.exists():
            shutil.rmtree(everything)
        for result in made:
            if not withheld(result):
                text = json.dumps(gradescope(result), indent=1, ensure_ascii=False)
                write_text(everything / result.student / "results.json", text)
        messages = [f"Export: {everything}/STUDENT/results.json"]
    waiting = [x.student for x in made if withheld(x)]
    if waiting:
        messages.append(
            f"{len(waiting)} of {len(made)} grades are withheld: answers wait for a reader, or the "
            f"grader failed ({', '.join(waiting)})."
        )
    return messages


def withheld(result: Result) -> bool:
    """Whether a grade is not the whole grade."""
    return result.waiting > 0 or result.status == "grader failed"


def grade(result: Result) -> str:
    return "" if withheld(result) else f"{result.points:.2f}"


def table(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows([map(safe_cell, row) for row in rows])
    return text.getvalue()


def identifier(person: Person) -> str:
    """What Moodle's worksheet calls a student; empty where it is unknown."""
    if person.platform == "moodle":
        return f"Participant {person.number}"
    return person.id if person.id.startswith("Participant ") else ""


def moodle(
    made: Sequence[Result],
    people: Mapping[str, Person],
    times: Mapping[str, datetime | None],
) -> str:
    """Moodle's grading worksheet."""
    rows: list[Sequence[str]] = [MOODLE]
    for result in made:
        person, time = people[result.student], times.get(result.source or result.student)
        submitted = result.status != "no notebook"
        rows.append(
            [
                identifier(person),
                person.name,
                "" if person.id.startswith("Participant ") else person.id,
                person.email,
                "Submitted for grading" if submitted else "No submission",
                grade(result),
                f"{result.max_points:.2f}",
                "Yes",
                "" if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M"),
                "",
                # Moodle takes comments for HTML
                "" if withheld(result) else "<br>".join(map(html.escape, comments(result))),
            ]
        )
    return table(rows)


def comments(result: Result) -> list[str]:
    """The page in a few lines: the points of each task, what the tests and a reader say, and notes."""
    lines = [f"Your notebook could not be graded: {result.problem}."] if result.problem else []
    for task in result.tasks:
        points = f"{task.name} {task.points or 0:g} of {task.max_points:g}"
        lines.append(": ".join([points, *said_of(task, result)]))
    return [*lines, *penalty(result), *result.notes]


def said_of(task: TaskResult, result: Result) -> list[str]:
    """What the tests say of a task, and then its reader."""
    return [*task.messages, *filter(None, [result.comments.get(task.name)])]


def penalty(result: Result) -> list[str]:
    if not result.penalty:
        return []
    how = "late, says the platform" if result.late == "yes" else f"{result.late} hours late"
    return [f"handed in {how}: -{result.penalty:g}"]


def canvas(title: str, made: Sequence[Result], people: Mapping[str, Person]) -> str:
    """Canvas's gradebook with one assignment.

    A number that is not Canvas's own never stands under ID: Canvas would look it up among its users.
    """
    most = max((result.max_points for result in made), default=0.0)
    rows = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", title]]
    rows.append(["    Points Possible", "", "", "", "", f"{most:.2f}"])
    for result in made:
        person = people[result.student]
        number = person.number if person.platform == "canvas" else ""
        rows.append([person.name, number, person.id, person.email, "", grade(result)])
    return table(rows)


def gradescope(result: Result) -> dict:
    """What Gradescope's harness reads as results.json."""
    tests = [
        {
            "name": task.name,
            "score": task.points or 0.0,
            "max_score": task.max_points,
            "output": "\n".join(said_of(task, result)),
            "visibility": "after_published",
        }
        for task in result.tasks
    ]
    problem = [f"The notebook could not be graded: {result.problem}."] if result.problem else []
    return {
        # a score here overrides the sum of the tests: the penalty is in it
        "score": result.points,
        "output": "\n".join([*problem, *penalty(result), *result.notes]),
        "visibility": "after_published",
        "stdout_visibility": "hidden",
        "tests": tests,
    }
