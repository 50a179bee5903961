"""The lessons in their order, as `syllabus.toml` has them."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path("course", "syllabus.toml")


@dataclass(frozen=True)
class Entry:
    """One lesson of the syllabus.

    Args:
        place: its place in the order, from 0.
        name: of its folder in `course/lessons/`.
        title: as a reader sees it.
        question: the one question that it answers.
        covers: what it covers, in one line.
        minutes: how long it takes in a lecture hall.
        builds_on: names of lessons.
        needs: what a student should know beforehand.
    """

    place: int
    name: str
    title: str
    question: str = ""
    covers: str = ""
    minutes: int = 90
    builds_on: tuple[str, ...] = ()
    needs: str = ""

    @property
    def number(self) -> str:
        """As it stands in names of files: "03"."""
        return f"{self.place:02d}"

    @property
    def notebook(self) -> str:
        """The name of its notebook, without the ending: "03_pixelcnn"."""
        return f"{self.number}_{self.name}"


def lessons(root: Path) -> list[Entry]:
    """All lessons of a checkout, in their order.

    Raises:
        ValueError: the file cannot be read, a name stands twice, or a lesson builds on one that comes later.

    Example:
        >>> import course
        >>> [entry.notebook for entry in lessons(Path(course.__file__).parents[1])][:2]
        ['00_start_here', '01_taxonomy']
    """
    path = root / FILE
    try:
        rows = tomllib.loads(path.read_text("utf-8")).get("lesson", [])
        entries = [
            Entry(place, **{**row, "builds_on": tuple(row.get("builds_on", ()))})
            for place, row in enumerate(rows)
        ]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError) as error:
        raise ValueError(f"{FILE} cannot be read: {error}") from error
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise ValueError(f"{FILE}: the lesson {entry.name!r} stands there twice")
        if late := [name for name in entry.builds_on if name not in seen]:
            raise ValueError(
                f"{FILE}: {entry.name!r} builds on {late[0]!r}, which is not a lesson before it"
            )
        seen.add(entry.name)
    return entries
