"""Who is graded anew alone, who else stands in the table then, and what becomes of pages of those who left."""

import csv
import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from course.grading.course import CannotGrade, Course
from course.grading.run import stored
from course.grading.submissions import Handed


def only_one(everybody: Sequence[Handed], name: str) -> Handed:
    """The one student to grade anew.

    Raises:
        CannotGrade: nobody is called so, with the names that are near.
    """
    for handed in everybody:
        if handed.student == name:
            return handed
    names = {x.student.casefold(): x.student for x in everybody}
    near = difflib.get_close_matches(name.casefold(), names, cutoff=0.5)
    near += [x for x in names if name.casefold() in x and x not in near]
    shown = [names[x] for x in near] or sorted(names.values())
    raise CannotGrade(
        f"ONLY={name}: nobody handed in under this name. "
        f"{'Near it' if near else 'There are'}: {', '.join(shown[:8])}."
    )


def in_table(out: Path) -> set[str]:
    """Whose row grades.csv has."""
    try:
        with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
            return {row["student"] for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, KeyError, csv.Error):
        return set()


def beside(course: Course, everybody: Sequence[Handed], one: Handed) -> list[Handed]:
    """The student who was graded anew, and whoever has a row or a grade already: the table stays complete.

    Others are known by what is stored of them; whoever has not been graded yet has no row still.
    """
    handed = {x.student: x for x in everybody}
    rows = {x for x in in_table(course.out) | set(handed) if stored(course, x)}
    return [handed.get(name, Handed(name)) for name in sorted(rows | {one.student})]


def put_aside(feedback: Path, students: Sequence[str]) -> list[str]:
    """Move the pages of whoever is no longer in the class to feedback/left/; whose they were.

    A page that lies there already stays: the new one gets a number.
    """
    gone = sorted(x for x in feedback.glob("*.html") if x.stem not in set(students))
    for page in gone:
        target, n = feedback / "left" / page.name, 2
        target.parent.mkdir(exist_ok=True)
        while target.exists():
            target, n = target.with_name(f"{page.stem}_{n}.html"), n + 1
        os.replace(page, target)
    return [page.stem for page in gone]
