"""The lessons in their order, as `syllabus.toml` has them."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path("course", "syllabus.toml")


@dataclass(frozen=True)
class Entry:
    """One lesson of the syllabus: a block [[lesson]] without `place`.

    Args:
        place: its place in the order, from 0.
        name: of its folder in `course/lessons/`.
        title: as a reader sees it.
        question: the one question that it answers.
        covers: what it covers, in one line.
        weeks: a lecture of 90 minutes each, and what the lecture is about where the lesson takes several.
            A lesson with none has no deck of slides and no place in the map of the course; in the term plan it
            shares the week of the next.
        at_home: what students do after it, beside its exercises.
        builds_on: names of lessons before it.
        helped_by: names of lessons that help and are not needed.
        needs: what a student should know beforehand.
        family: of models that it builds, a package in genlib: its place in the map of the course.
        beside: what the map says of a lesson that builds no family; its question, if this is empty.
    """

    place: int
    name: str
    title: str
    question: str = ""
    covers: str = ""
    weeks: tuple[str, ...] = ("",)
    at_home: str = ""
    builds_on: tuple[str, ...] = ()
    helped_by: tuple[str, ...] = ()
    needs: str = ""
    family: str = ""
    beside: str = ""

    @property
    def number(self) -> str:
        """As it stands in names of files: "03"."""
        return f"{self.place:02d}"

    @property
    def notebook(self) -> str:
        """The name of its notebook, without the ending: "03_pixelcnn"."""
        return f"{self.number}_{self.name}"

    @property
    def label(self) -> str:
        """As a link to it reads: "03 PixelCNN"."""
        return f"{self.number} {self.title}"


@dataclass(frozen=True)
class ProblemSet:
    """One problem set of the syllabus: a block [[problem_set]].

    Args:
        name: of its folder in `course/assignments/`.
        after: the lesson in whose last week it goes out.
    """

    name: str
    after: str

    @property
    def title(self) -> str:
        """As the term plan calls it.

        Example:
            >>> ProblemSet("ps1_autoregressive", after="pixelcnn").title
            'problem set 1'
        """
        return "problem set " + re.sub(r"\Aps(\d+)_.*", r"\1", self.name)


def lessons(root: Path) -> list[Entry]:
    """All lessons of a checkout, in their order.

    Raises:
        ValueError: the file cannot be read, a name stands twice, or a lesson builds on one that comes later.

    Example:
        >>> import course
        >>> [entry.name for entry in lessons(Path(course.__file__).parents[1])][:2]
        ['start_here', 'taxonomy']
    """
    entries = []
    try:
        for place, row in enumerate(_blocks(root).get("lesson", [])):
            values: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in row.items()
            }
            entries.append(Entry(place, **values))
    except TypeError as error:
        raise ValueError(f"{FILE} cannot be read: {error}") from error
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise ValueError(f"{FILE}: the lesson {entry.name!r} stands there twice")
        for name in (*entry.builds_on, *entry.helped_by):
            if name not in seen:
                raise ValueError(
                    f"{FILE}: {entry.name!r} builds on {name!r}, which is not a lesson before it"
                )
        seen.add(entry.name)
    return entries


def problem_sets(root: Path) -> list[ProblemSet]:
    """All problem sets of a checkout, in their order.

    Raises:
        ValueError: the file cannot be read, or one comes after a lesson that is not there or has no week.
    """
    try:
        found = [ProblemSet(**row) for row in _blocks(root).get("problem_set", [])]
    except TypeError as error:
        raise ValueError(f"{FILE} cannot be read: {error}") from error
    known = {entry.name for entry in lessons(root) if entry.weeks}
    for one in found:
        if one.after not in known:
            raise ValueError(
                f"{FILE}: {one.name!r} comes after {one.after!r}, which is no lesson with a week"
            )
    return found


def repository(root: Path) -> str:
    """The address of the course, as `[course]` gives it, without `.git` at its end; empty as long as it has none.

    Raises:
        ValueError: the file cannot be read, or this is no address that git and pip can fetch from.
    """
    address = _blocks(root).get("course", {}).get("repository", "")
    # no @: what stands before it is a secret, and the address goes into every notebook
    if address and not re.fullmatch(r"(https|file)://[\w./~:%+-]+", str(address)):
        raise ValueError(f'{FILE}: repository = {address!r} is no address such as "https://..."')
    return str(address).rstrip("/").removesuffix(".git")


def _blocks(root: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((root / FILE).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{FILE} cannot be read: {error}") from error


# ---------------------------------------------------------------- the order within a text


def marks(root: Path, name: str = "") -> dict[str, str]:
    """What stands for the marks of a text.

    {{pixelcnn}} is the number of that lesson. Within a lesson, {{before}} and {{after}} are sentences with links to
    the lesson before it, empty for the first, and to the next.

    Args:
        root: of the checkout.
        name: of the lesson that the text belongs to, if it belongs to one.
    """
    entries = lessons(root)
    found = {entry.name: entry.number for entry in entries}
    for entry in entries:
        if entry.name == name:
            links = [f"[{x.label}]({x.notebook}.ipynb)" for x in entries]
            after = links[entry.place + 1 : entry.place + 2]
            found["before"] = f"Before this: {links[entry.place - 1]}." if entry.place else ""
            found["after"] = f"After this: {after[0]}." if after else "This is the last lesson."
    return found


def fill(text: str, marks: Mapping[str, str]) -> str:
    """A text with its marks replaced; those that nobody knows stay.

    Example:
        >>> fill("{{before}} Lesson {{vae}} has {{MEAN}}.", {"vae": "05", "before": ""})
        'Lesson 05 has {{MEAN}}.'
    """
    filled = re.sub(r"\{\{([a-z][a-z0-9_]*)\}\}", lambda mark: marks.get(mark[1], mark[0]), text)
    return filled if filled == text else filled.strip()
