"""What was handed in late: by how much, and what that costs.

A time comes from a table (TIMES), else from the date in the zip or of the file. Canvas gives every file in its zip
the time of the download, so of Canvas only the word LATE counts, which it puts into the file's name. The
penalty is nbgrader's own, by its LateSubmissionPlugin, of all the points there are now: those that a reader
gave since are in it, and when the due date changes, no notebook is run again.
"""

import math
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import LateSubmissionPlugin

from course.grading.course import CannotGrade, Course
from course.grading.feedback import Result
from course.grading.roster import BadTable, find, read_table, refuse_doubles
from course.grading.submissions import Handed, entry_path
from course.publish.build import write_text

POLICIES = ("none", "zero")  # what nbgrader's LateSubmissionPlugin.penalty_method knows
COPIED = 120  # seconds between the first and the last date of a whole class that was copied, not handed in


def read_time(text: str, where: str) -> datetime:
    """A moment, in the local time zone if it names none.

    Raises:
        BadTable: it is none, or a day without a time.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        found = None
    if found is None or len(text.strip()) <= len("2026-12-01"):
        raise BadTable(f"{where}: {text!r} is no date and time. Write it as 2026-12-01 23:59.")
    return found.astimezone()


def set_times(
    everybody: Sequence[Handed], due: datetime | None, table: Path | None, where: Path, policy: str
) -> list[str]:
    """Fill in when everybody handed in; what the teacher should know.

    Args:
        everybody: what was handed in.
        due: until when. Without it, nobody's time counts.
        table: with the columns student and time, as far as times are known.
        where: the folder or zip that everything lies in.
        policy: what late work costs.

    Raises:
        BadTable: the table is wrong.
        CannotGrade: the penalty has nothing to go by.
    """
    messages = []
    if due is None:
        if table is not None:
            raise CannotGrade("TIMES without DUE: until when could one hand in?")
        if policy != "none" and not any(x.late for x in everybody):
            raise CannotGrade(f"LATE={policy} needs DUE: no name says that anything was late.")
        return messages
    files = zip_times(where) if where.is_file() else file_times(where)
    for handed in everybody:
        if handed.platform != "canvas" and handed.path in files:
            handed.time, handed.time_from = files[handed.path], "the date of the file"
    if table is not None:
        strangers = read_times(table, everybody)
        if strangers:
            messages.append(f"{table}: nothing was handed in by {', '.join(strangers)}.")
    dates = [x.time.timestamp() for x in everybody if x.time_from == "the date of the file"]
    if len(dates) > 2 and max(dates) - min(dates) < COPIED:
        words = (
            f"All {len(dates)} files are dated within {COPIED / 60:g} minutes: that is when they were "
            "copied or downloaded, not when they were handed in. Give TIMES=table.csv."
        )
        if policy != "none" and max(dates) > due.timestamp():
            raise CannotGrade(words)
        messages.append(words)
    return messages


def read_times(table: Path, everybody: Sequence[Handed]) -> list[str]:
    """Fill in the times of a table; who of it handed in nothing."""
    rows = read_table(table, ("student", "time"))
    refuse_doubles(table, rows, ["student"])
    times: dict[str, datetime] = {}
    strangers = []
    for row in rows:
        if not row["time"]:
            continue
        time = read_time(row["time"], f"{table}: {row['student']}")
        handed = find(table, row["student"], everybody)
        if handed is None:
            strangers.append(row["student"])
            continue
        if handed.student in times:
            raise BadTable(f"{table}: {handed.student} is there under two names.")
        times[handed.student] = time
        handed.time, handed.time_from = time, table.name
    return strangers


def file_times(folder: Path) -> dict[PurePosixPath, datetime]:
    """When each notebook in a folder was last written."""
    return {
        PurePosixPath(path.relative_to(folder).as_posix()): datetime.fromtimestamp(
            path.lstat().st_mtime, UTC
        )
        for path in folder.rglob("*.ipynb")
    }


def zip_times(archive: Path) -> dict[PurePosixPath, datetime]:
    """The dates of a zip's entries: without a time zone, and taken to be local; 1980 stands for none."""
    times = {}
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            try:
                time = datetime(*entry.date_time)
            except ValueError:
                continue
            if time.year > 1980:
                times[entry_path(entry)] = time.astimezone()
    return times


def hours_late(seconds: float) -> str:
    """In hours, rounded up to one decimal; empty in time.

    Example:
        >>> hours_late(0), hours_late(1), hours_late(3600), hours_late(3601)
        ('', '0.1', '1.0', '1.1')
    """
    return f"{math.ceil(seconds / 360) / 10:.1f}" if seconds > 0 else ""


def tell_due(course: Course) -> list[str]:
    """Set the due date in nbgrader's gradebook; what the teacher should know."""
    with course.gradebook() as gradebook:
        before = gradebook.find_assignment(course.name).duedate
        gradebook.update_or_create_assignment(course.name, duedate=course.due)
    if before is not None and course.due is None:
        return ["Graded before with a due date: without DUE nobody is late now."]
    return []


def tell_time(course: Course, handed: Handed) -> None:
    """Leave the time where nbgrader's autograde looks for it."""
    path = course.path("submitted", handed.student).parent / "timestamp.txt"
    if handed.time is None:
        path.unlink(missing_ok=True)
    else:
        write_text(path, handed.time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC"))


def charge(course: Course, gradebook: Gradebook, result: Result, handed: Handed) -> None:
    """Set how late a result is and what that costs, on it and in the gradebook."""
    seconds = 0.0
    if handed.time is not None and course.due is not None:
        seconds = max(0.0, (handed.time - course.due).total_seconds())
    try:
        submission = gradebook.find_submission(course.name, handed.student)
    except MissingEntry:
        submission = None
    else:
        tell_time(course, handed)
        gradebook.update_or_create_submission(course.name, handed.student, timestamp=handed.time)
        seconds = submission.total_seconds_late  # counts an extension that the gradebook knows
    result.late = hours_late(seconds) or ("yes" if handed.late and handed.time is None else "")
    if result.late and handed.time is not None:
        when = handed.time.astimezone().strftime("%Y-%m-%d %H:%M")
        result.notes = [*result.notes, f"late: handed in on {when}, says {handed.time_from}"]
    result.penalty = penalty(course.late, handed.student, result.points, result.late, seconds)
    if submission is not None:
        for notebook in submission.notebooks:
            notebook.late_submission_penalty = result.penalty or None
        gradebook.db.commit()


def penalty(policy: str, student: str, points: float, late: str, seconds: float) -> float:
    """What nbgrader's plugin takes, never more than there is.

    Example:
        >>> penalty("zero", "ada", 12.5, "0.1", 30.0), penalty("none", "ada", 12.5, "0.1", 30.0)
        (12.5, 0.0)
        >>> penalty("zero", "ada", 12.5, "", 0.0), penalty("zero", "ada", 12.5, "yes", 0.0)
        (0.0, 12.5)
    """
    if not late:
        return 0.0
    plugin = LateSubmissionPlugin(penalty_method=policy)
    # where only the platform knows how late, some moment: no method of the plugin's asks
    taken = plugin.late_submission_penalty(student, points, seconds or 1.0)
    return min(max(taken or 0.0, 0.0), max(points, 0.0))
