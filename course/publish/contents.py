"""What stored pages hold of the syllabus: README.md's table and clone line, the term plan, what each lesson needs.

    python -m course.publish.contents     writes them anew; so does `make lessons`, and `make check` compares them

They stand between marks and come from course/syllabus.toml. Minutes and slides are counted in the lessons' sources.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from course import syllabus
from course.publish.markdown import between_marks, table
from genlib.data.folders import whole_file

ROOT = Path(__file__).resolve().parents[2]
HAND_OUT = 2  # weeks until a problem set is due
LECTURE = 90  # minutes


def source(root: Path, entry: syllabus.Entry, name: str) -> str:
    """The text of a lesson's source, empty if it has none of this name."""
    path = root / "course" / "lessons" / entry.name / f"{name}.py"
    return path.read_text("utf-8") if path.exists() else ""


def has_exercises(root: Path, entry: syllabus.Entry) -> bool:
    return bool(source(root, entry, "exercises"))


def minutes(text: str) -> int:
    """How long exercises take, by the cards of their steps.

    Example:
        >>> minutes("# *Difficulty 1 of 5 · importance 3 of 5 · 5 minutes*")
        5
    """
    return sum(map(int, re.findall(r"^# \*Difficulty .* · (\d+) minutes\*$", text, re.MULTILINE)))


def count_slides(text: str) -> int:
    """How many slides the deck of a lesson has: those that its author marks, the title and the last.

    Example:
        >>> count_slides("# # Title\\n# <!-- slide -->\\n# <!-- slide: Recap -->")
        4
    """
    return 2 + len(re.findall(r"^# <!-- slide\b", text, re.MULTILINE))


def lessons_table(root: Path) -> str:
    """What each lesson asks and how long it takes, with links to its notebooks from the root."""
    rows = []
    for entry in syllabus.lessons(root):
        row = [f"[{entry.label}](notebooks/{entry.notebook}.ipynb)", entry.question]
        times = f"{len(entry.weeks)} x " if len(entry.weeks) > 1 else ""
        row.append(f"{times}{LECTURE} min" if entry.weeks else "")
        slides = count_slides(source(root, entry, "lecture"))
        row.append(str(slides) if entry.weeks else "")
        if has_exercises(root, entry):
            took = minutes(source(root, entry, "exercises"))
            row.append(f"[{took} min](notebooks/{entry.notebook}_exercises.ipynb)")
        rows.append([*row, ""][:5])
    return table(["lesson", "the question it answers", "lecture", "slides", "exercises"], rows)


def clone(root: Path) -> str:
    """The commands that get the course and open it."""
    address = syllabus.repository(root)
    lines = [f"git clone {address or 'ADDRESS'} generative-models", "cd generative-models"]
    colab = "lessons run on Colab as they are: their first cell installs the course there."
    words = f"With that address {colab}"
    if not address:
        words = (
            f"ADDRESS is where you read this: `repository` in `{syllabus.FILE.as_posix()}` does not name it "
            f"yet. Once it does, {colab}"
        )
    return "\n".join(["```bash", *lines, "make lab", "```", "", words])


def term_plan(root: Path) -> str:
    """Week after week: the lecture, and what is done at home; links between pages of the book."""
    weeks: list[tuple[str, list[str]]] = []
    due: dict[int, list[str]] = {}
    waiting: list[syllabus.Entry] = []  # no week of their own
    exercises: list[str] = []
    problem_sets = syllabus.problem_sets(root)
    for entry in syllabus.lessons(root):
        lesson = f"[{entry.label}](lessons/{entry.notebook}.ipynb)"
        if not entry.weeks:
            waiting.append(entry)
            continue
        for i, words in enumerate(entry.weeks):
            first = [f"[{x.label}](lessons/{x.notebook}.ipynb)" for x in waiting]
            lecture = ", then ".join([*first, lesson if i == 0 else entry.label])
            at_home = [x.at_home for x in waiting if x.at_home]
            weeks.append((f"{lecture}, {words}" if words else lecture, at_home))
            waiting = []
        if entry.at_home:
            weeks[-1][1].append(entry.at_home)
        exercises = []
        if has_exercises(root, entry):
            page = f"exercises/{entry.notebook}_exercises.ipynb"
            exercises = [f"[exercises {entry.number}]({page})"]
            weeks[-1][1].extend(exercises)
        for one in problem_sets:
            if one.after == entry.name:
                weeks[-1][1].append(f"{one.title} goes out")
                due.setdefault(len(weeks) - 1 + HAND_OUT, []).append(f"{one.title} is due")
    if weeks and exercises:  # of the last lesson: they have a week more
        weeks[-1][1].remove(exercises[0])
    weeks.append(("questions; a lesson once more, on MNIST", exercises))
    rows = []
    for i, (lecture, at_home) in enumerate(weeks):
        late = [words for week, words in due.items() if min(week, len(weeks) - 1) == i]
        rows.append([str(i + 1), lecture, "; ".join([*at_home, *sum(late, [])])])
    plan = table(["week", "lecture", "at home"], rows)
    return f"## A term of {len(weeks)} weeks\n\n{TERM}\n\n{plan}"


TERM = f"""\
A lecture of {LECTURE} minutes a week. Exercises are for the days after it; a problem set gets two weeks."""


def needs_table(root: Path) -> str:
    """What each lesson builds on, and what a lecturer puts on the board before it."""
    entries = syllabus.lessons(root)
    titles = {entry.name: entry.title for entry in entries}
    rows = []
    for entry in entries:
        if not entry.weeks:
            continue
        builds_on = ", ".join(titles[name] for name in entry.builds_on)
        helps = "".join(f"; {titles[name]} helps" for name in entry.helped_by)
        rows.append([entry.label, entry.covers, f"{builds_on}{helps}", entry.needs])
    return table(["lesson", "covers", "builds on", "on the board beforehand"], rows)


# page -> the marks in it, and what stands between them
PAGES: dict[str, dict[str, Callable[[Path], str]]] = {
    "README.md": {"lessons": lessons_table, "clone": clone},
    "docs/book/teach.md": {"term": term_plan, "needs": needs_table},
}


def made(root: Path) -> dict[Path, str]:
    """Every such page of a checkout as it should be.

    Raises:
        ValueError: a page lacks a mark, or the syllabus cannot be read.
    """
    pages = {}
    for name, blocks in PAGES.items():
        path = root / name
        if path.exists():
            text = path.read_text(encoding="utf-8")
            for mark, make in blocks.items():
                try:
                    text = between_marks(text, mark, make(root))
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
            pages[path] = text
    return pages


def check(root: Path) -> list[str]:
    """What is wrong with the stored pages, one line each."""
    return [
        f"{path.relative_to(root)}: its tables do not come from {syllabus.FILE}. "
        "Run: python -m course.publish.contents"
        for path, text in made(root).items()
        if path.read_text(encoding="utf-8") != text
    ]


def write(root: Path) -> list[Path]:
    """Put the tables into the pages; those that changed."""
    changed = []
    for path, text in made(root).items():
        if path.read_text(encoding="utf-8") != text:
            with whole_file(path) as unfinished:
                unfinished.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    for page in write(ROOT):
        print(page.relative_to(ROOT))
    sys.exit(0)
