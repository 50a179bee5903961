"""Who is in the class: ids and e-mail addresses for the platform, and groups that hand in together.

    student,id,email,group
    Ada Lovelace,1815,ada@example.org,G1
    Participant_4711,,,G1

A student is named as in grades.csv or as the platform names them. Of a group one member hands in and all get
the points. Where two hand in different notebooks, nobody can know which one the group means: each keeps their own.
"""

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from course.grading.feedback import Result
from course.grading.submissions import Handed, safe_name

COLUMNS = ("student", "id", "email", "group")


class BadTable(Exception):
    """What is wrong with a table that a teacher wrote, in one line."""


@dataclass(frozen=True)
class Person:
    """What is known about one student: the roster's words, and the platform's.

    Args:
        name: in full, as the platform or the roster says it.
        number: the platform's own.
        platform: that gave the number.
        id: of the institution.
        email: their address.
        group: whom they hand in with.
    """

    name: str
    number: str = ""
    platform: str = ""
    id: str = ""
    email: str = ""
    group: str = ""


@dataclass
class Roster:
    """A class, matched with what was handed in.

    Args:
        people: by the row of grades.csv.
        members: by whose notebook counts for a group, the rows of the others who get its points.
        notes: by row, what teacher and student should know.
        messages: what only the teacher should know.
    """

    people: dict[str, Person] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with some of the columns, the first of which must be there.

    Raises:
        BadTable: it cannot be read, has other columns, or rows that do not fit.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadTable(f"{path}: it cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise BadTable(f"{path}: it is not text in UTF-8; save it as CSV UTF-8.") from error
    first = text.partition("\n")[0]
    # a spreadsheet writes semicolons where numbers have commas
    separator = ";" if ";" in first and "," not in first else ","
    try:
        read = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise BadTable(f"{path}: it is no CSV ({error}).") from error
    lines = [line for line in read if any(map(str.strip, line))]
    if not lines:
        raise BadTable(f"{path}: it is empty.")
    names = [name.strip().lower() for name in lines[0]]
    for name in names:
        if name not in columns:
            raise BadTable(f"{path}: unknown column {name!r}. There may be: {', '.join(columns)}.")
        if names.count(name) > 1:
            raise BadTable(f"{path}: the column {name!r} is there twice.")
    if columns[0] not in names:
        raise BadTable(f"{path}: there is no column {columns[0]!r}.")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            raise BadTable(f"{path}: row {number} has {len(line)} cells, not {len(names)}.")
        cells = [unicodedata.normalize("NFC", cell.strip()) for cell in line]
        rows.append(dict.fromkeys(columns, "") | dict(zip(names, cells, strict=True)))
        if not rows[-1][columns[0]]:
            raise BadTable(f"{path}: row {number} names no {columns[0]}.")
    return rows


def refuse_doubles(path: Path, rows: Sequence[Mapping[str, str]], columns: Iterable[str]) -> None:
    for column in columns:
        cells = [row[column] for row in rows if row[column]]
        twice = sorted({cell for cell in cells if cells.count(cell) > 1})
        if twice:
            raise BadTable(f"{path}: the {column} {twice[0]!r} is there twice.")


def find(path: Path, student: str, everybody: Sequence[Handed]) -> Handed | None:
    """Whose submission a table means, by the name in grades.csv or the platform's."""
    same = [x for x in everybody if x.student == student]
    same = same or [x for x in everybody if x.name == student]
    if len(same) > 1:
        names = ", ".join(x.student for x in same)
        raise BadTable(f"{path}: {student!r} may be any of {names}: write which.")
    return same[0] if same else None


def read_roster(path: Path) -> list[dict[str, str]]:
    """The rows of a roster.

    Raises:
        BadTable: it cannot be read, or two rows claim the same student, id or e-mail address.
    """
    rows = read_table(path, COLUMNS)
    refuse_doubles(path, rows, ("student", "id", "email"))
    return rows


def match(everybody: Sequence[Handed], path: Path | None) -> tuple[list[Handed], Roster]:
    """Who is who, and which submissions to grade: of a group's equal notebooks one.

    Args:
        everybody: what was handed in.
        path: of the roster; without one, people are only what the platform says of them.

    Raises:
        BadTable: something is wrong with the roster.
    """
    people = {x.student: Person(x.name or x.student, x.number, x.platform) for x in everybody}
    roster = Roster(people)
    if path is None:
        return list(everybody), roster
    groups: dict[str, list[str]] = {}
    known: dict[str, str] = {}
    for row in read_roster(path):
        handed = find(path, row["student"], everybody)
        if handed is None:
            name = free_name(row["student"], people)
            people[name] = Person(row["student"])
        else:
            name = handed.student
        if name in known:
            raise BadTable(f"{path}: {row['student']!r} and {known[name]!r} are the same student.")
        known[name] = row["student"]
        about = {column: row[column] for column in ("id", "email", "group")}
        people[name] = replace(people[name], **about)
        if row["group"]:
            groups.setdefault(row["group"], []).append(name)
    strangers = [x.student for x in everybody if x.student not in known]
    if strangers:
        roster.messages.append(f"Not in the roster: {', '.join(strangers)}.")
    handed_in = {x.student: x for x in everybody}
    graded = dict(handed_in)
    for group, names in groups.items():
        for dropped in share(group, names, handed_in, roster):
            del graded[dropped]
    rows = {*graded, *(name for names in roster.members.values() for name in names)}
    missing = [name for name in known if name not in rows]
    if missing:
        roster.messages.append(f"Nothing was handed in by or for: {', '.join(missing)}.")
    return list(graded.values()), roster


def free_name(student: str, taken: Iterable[str]) -> str:
    """The row of grades.csv for somebody who handed in nothing themselves."""
    plain = safe_name(student)
    used = {name.casefold() for name in taken}
    name, n = plain, 2
    while name.casefold() in used:
        name, n = f"{plain}_{n}", n + 1
    return name


def share(
    group: str, names: Sequence[str], handed_in: Mapping[str, Handed], roster: Roster
) -> list[str]:
    """Settle whose notebook counts for a group; those whose own is not graded."""
    everyone = [handed_in[name] for name in names if name in handed_in]
    readable = [x for x in everyone if x.problem is None] or everyone[:1]
    others = [name for name in names if name not in {x.student for x in readable}]

    def note(name: str, words: str) -> None:
        roster.notes.setdefault(name, []).append(words)

    if len({x.content() for x in readable}) > 1:
        both = ", ".join(x.student for x in readable)
        for one in readable:
            note(
                one.student,
                f"group {group}: {both} handed in different notebooks; each is graded for whoever "
                "handed it in, for which one the group means cannot be known",
            )
            for other in others:
                note(one.student, f"group {group}: {other} has no notebook and so no points here")
        return []
    if not readable:
        return []
    # of equal ones the first that came, as far as that is known
    first = min(
        readable, key=lambda x: (x.late, x.time is None, x.time.timestamp() if x.time else 0.0)
    )
    rest = [name for name in names if name != first.student]
    if not rest:
        return []
    roster.members[first.student] = rest
    note(
        first.student,
        f"handed in for group {group}: the points are also those of {', '.join(rest)}",
    )
    for name in rest:
        note(name, f"handed in by {first.student} for group {group}")
        if name in handed_in:
            own = handed_in[name].problem
            note(name, f"their own file does not count: {own or 'it is the same notebook'}")
    return [name for name in rest if name in handed_in]


def shared(made: Sequence[Result], roster: Roster) -> list[Result]:
    """With a row for every member of a group that handed in, in the order of the names."""
    rows = []
    for result in made:
        for name in [result.student, *roster.members.get(result.student, [])]:
            notes = [*result.notes, *roster.notes.get(name, [])]
            if (
                name != result.student
            ):  # what is said of the other's file is said on the other's page
                notes = list(roster.notes.get(name, []))
            rows.append(replace(result, student=name, source=result.student, notes=notes))
    return sorted(rows, key=lambda x: x.student) if roster.members else rows
