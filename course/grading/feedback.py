"""What a class gets back: one page a student, and one table for whoever keeps the marks.

The pages open without a network and hold no script; everything of a submission on them is escaped text.
"""

import base64
import binascii
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from course.grading.submissions import THEIRS, grade_id, is_answer
from course.publish.build import write_text

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
)
TEMPLATES.filters["with_code"] = lambda text: Markup(
    re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
)
LINES = 60  # of an output on a page
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class TaskResult:
    """A row of the feedback. Points are None while nobody has read a written answer."""

    name: str
    points: float | None
    max_points: float
    messages: Sequence[str] = ()


@dataclass
class Result:
    """Everything that is known about one student's submission.

    Attributes:
        source: whose submission it is, where that is another member of a group.
        late: by how many hours, or "yes"; empty in time.
        penalty: points that are subtracted for it.
    """

    student: str
    status: str
    seconds: float = 0.0
    problem: str | None = None
    notes: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    tasks: list[TaskResult] = field(default_factory=list)
    comments: dict[str, str] = field(default_factory=dict)
    source: str = ""
    late: str = ""
    penalty: float = 0.0

    @property
    def points(self) -> float:
        return sum(task.points or 0.0 for task in self.tasks) - self.penalty

    @property
    def max_points(self) -> float:
        return sum(task.max_points for task in self.tasks)

    @property
    def waiting(self) -> int:
        return sum(task.points is None for task in self.tasks)


def write_page(path: Path, problem_set: str, result: Result, nb: NotebookNode | None) -> None:
    """Write a student's page: points, what the tests say, the answers, and comments."""
    page = TEMPLATES.get_template("feedback.html").render(
        problem_set=problem_set,
        student=result.student,
        points=f"{result.points:g}",
        max_points=f"{result.max_points:g}",
        waiting=result.waiting,
        late=result.late,
        penalty=result.penalty,
        problem=result.problem,
        notes=result.notes,
        tasks=result.tasks,
        answers=[] if nb is None else [shown(cell, result) for cell in nb.cells if is_theirs(cell)],
    )
    write_text(path, page)


def is_theirs(cell: NotebookNode) -> bool:
    """Whether the student wrote the cell."""
    return is_answer(cell) or (grade_id(cell) is None and cell.get("id", "").startswith(THEIRS))


def shown(cell: NotebookNode, result: Result) -> dict[str, Any]:
    """A cell in the words of the template."""
    name = grade_id(cell)
    title = name.removesuffix("-answer") if name else "your own cell"
    if cell.cell_type == "code":
        code = Markup(highlight(cell.source, PythonLexer(), HtmlFormatter(noclasses=True)))
    else:
        code = Markup("<pre>{}</pre>").format(cell.source)
    texts, images = [], []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "image/png" in data and (image := checked_image(data["image/png"])):
            images.append(image)
            continue
        text = output.get("text") or data.get("text/plain") or ""
        if output.output_type == "error":
            text = f"{output.ename}: {output.evalue}"
        lines = COLOURS.sub("", str(text)).splitlines()
        texts.append("\n".join(lines[:LINES] + ["..."] * (len(lines) > LINES))[:5000])
    tasks = {task.name for task in result.tasks}
    return {
        "task": title if title in tasks else None,
        "title": title,
        "code": code,
        "texts": [text for text in texts if text],
        "images": images,
        "comment": result.comments.get(name or ""),
    }


def checked_image(data: Any) -> str | None:
    """Base64 of a PNG file, or nothing."""
    try:
        raw = base64.b64decode(str(data))
    except (binascii.Error, ValueError):
        return None
    return base64.b64encode(raw).decode() if raw.startswith(b"\x89PNG\r\n") else None


def write_grades(path: Path, results: Sequence[Result]) -> None:
    """Write the table of everybody's points; a written answer that nobody has read yet has an empty field."""
    names = list(dict.fromkeys(task.name for result in results for task in result.tasks))
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(
        [
            "student",
            "points",
            "max_points",
            *names,
            "late",
            "late_penalty",
            "to_read",
            "status",
            "seconds",
            "look_at",
            "notes",
        ]
    )
    for result in results:
        points = {task.name: task.points for task in result.tasks}
        cells = [points.get(name) for name in names]
        writer.writerow(
            [result.student, f"{result.points:g}", f"{result.max_points:g}"]
            + ["" if x is None else f"{x:g}" for x in cells]
            + [result.late, f"{result.penalty:g}" if result.penalty else ""]
            + [result.waiting, result.status, f"{result.seconds:.1f}"]
            + [safe_cell("; ".join(result.flags)), safe_cell("; ".join(result.notes))]
        )
    write_text(path, table.getvalue())


def safe_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula.

    Example:
        >>> safe_cell("=cmd()"), safe_cell(" +1"), safe_cell("Zoë, O'Hara")
        ("'=cmd()", "' +1", "Zoë, O'Hara")
    """
    return f"'{text}" if text.lstrip()[:1] in tuple("=+-@") or text[:1] in tuple("\t\r\n") else text
