"""course/syllabus.toml is the one place that knows the order of the lessons: a lesson is one block and one folder."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course import syllabus
from course.publish import book, build, contents, pages, slides

ROOT = build.ROOT
BEFORE, NAME = "vae", "flows"  # the new lesson and the one in front of which it goes
BLOCK = f"""\
[[lesson]]
name = "{NAME}"
title = "Flows"
question = "What if every layer can be undone?"
covers = "The change of variables"
weeks = ["the line", "the plane"]
builds_on = ["autoencoder"]
needs = "the Jacobian"

"""
LECTURE = """\
# %% [markdown] slideshow={"slide_type": "slide"}
# # Normalizing flows
#
# **What if every layer can be undone?** Lesson {{vae}} bounds the likelihood.

# %%
print(1 + 1)

# %% [markdown] slideshow={"slide_type": "skip"}
# {{before}} {{after}}
"""


def store(root: Path) -> None:
    """The notebooks as their sources say, with the outputs that are stored here; nothing is run."""
    stored = {lesson.source: ROOT / lesson.executed for lesson in build.find_lessons(ROOT)}
    for lesson in build.find_lessons(root):
        nb = build.read_source(root, lesson)
        if lesson.source in stored:
            old = nbformat.read(stored[lesson.source], as_version=4)
            for cell, was in zip(nb.cells, old.cells, strict=True):
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = was.outputs, was.execution_count
        build.write(nb, root / lesson.executed)
        if lesson.student:
            build.write(build.student_version(nb, lesson), root / lesson.student)


@pytest.fixture(scope="module")
def longer(tmp_path_factory) -> Path:
    """A copy of the course with one block more in its syllabus and one folder more, and nothing else edited."""
    root = tmp_path_factory.mktemp("longer")
    shutil.copytree(ROOT / "course", root / "course", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs", root / "docs")
    shutil.copy(ROOT / "README.md", root)
    path = root / syllabus.FILE
    place = f'[[lesson]]\nname = "{BEFORE}"\n'
    path.write_text(path.read_text().replace(place, BLOCK + place))
    folder = root / "course" / "lessons" / NAME
    folder.mkdir()
    (folder / "lecture.py").write_text(LECTURE)
    (folder / "checks.py").write_text("")
    store(root)
    contents.write(root)
    return root


def numbers(root: Path) -> dict[str, int]:
    return {entry.name: entry.place for entry in syllabus.lessons(root)}


# ---------------------------------------------------------------- the course as it stands


def test_the_stored_tables_come_from_the_syllabus():
    assert contents.check(ROOT) == []


def test_the_syllabus_names_every_problem_set():
    found = {lesson.name for lesson in pages.problem_sets()}
    assert {one.name for one in syllabus.problem_sets(ROOT)} == found


def test_every_lecture_says_where_it_stands():
    entries = syllabus.lessons(ROOT)
    for lesson in pages.lectures():
        end = nbformat.read(ROOT / lesson.executed, as_version=4).cells[-1].source
        for other, words in ((lesson.place - 1, "Before this"), (lesson.place + 1, "After this")):
            if 0 <= other < len(entries):
                assert f"{words}: [{entries[other].label}]" in end.replace("\n", " "), lesson.name


# courses of their own, and an example
TOYS = {"test_build.py", "test_datasets.py", "test_slides.py", "test_syllabus.py", "syllabus.py"}


def test_no_source_knows_the_number_of_a_lesson():
    """Who says its name need not be edited when another comes before it."""
    names = "|".join(numbers(ROOT))
    numbered = re.compile(rf"\b[Ll]essons? \d|\b\d\d_({names})\b")
    kept = {"README.md": {"lessons"}, "teach.md": {"term", "needs"}}  # made from the syllabus
    folders = ("genlib", "course", "benchmarks", "tests", "docs")
    files = [p for f in folders for kind in ("*.py", "*.md") for p in (ROOT / f).rglob(kind)]
    wrong = []
    for path in [*files, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "conftest.py"]:
        text = path.read_text("utf-8")
        for mark in kept.get(path.name, ()):
            text = re.sub(rf"<!-- {mark} -->.*<!-- /{mark} -->", "", text, flags=re.DOTALL)
        if path.name not in TOYS:
            wrong += [f"{path.relative_to(ROOT)}: {found[0]}" for found in numbered.finditer(text)]
    assert not wrong, "say the name of the lesson: " + "; ".join(wrong)


# ---------------------------------------------------------------- with a lesson more


def test_numbers_and_links_follow(longer: Path):
    was, now = numbers(ROOT), numbers(longer)
    assert now[NAME] == was[BEFORE]
    assert all(now[name] == place + (place >= was[BEFORE]) for name, place in was.items())
    entries = {entry.name: entry for entry in syllabus.lessons(longer)}
    new = nbformat.read(longer / "notebooks" / f"{entries[NAME].notebook}.ipynb", as_version=4)
    assert new.cells[0].source.startswith(f"# {now[NAME]}. Normalizing flows\n")
    assert f"Lesson {entries[BEFORE].number} bounds" in new.cells[0].source
    before, after = (entries[name] for name in ("autoencoder", BEFORE))
    assert new.cells[-1].source == (
        f"Before this: [{before.label}]({before.notebook}.ipynb). "
        f"After this: [{after.label}]({after.notebook}.ipynb)."
    )
    for name, words in ((before, "After this"), (after, "Before this")):
        nb = nbformat.read(longer / "notebooks" / f"{name.notebook}.ipynb", as_version=4)
        end = nb.cells[-1].source.replace("\n", " ")
        assert f"{words}: [{entries[NAME].label}]({entries[NAME].notebook}.ipynb)" in end


def test_every_link_between_notebooks_still_leads_somewhere(longer: Path):
    wrong = []
    for path in longer.glob("notebooks/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                links = re.findall(r"\]\(([^)\s#]+\.ipynb)", cell.source)
                wrong += [(path.name, x) for x in links if not (path.parent / x).exists()]
    assert not wrong


def test_the_stored_pages_follow(longer: Path):
    assert contents.check(longer) == []
    entries = {entry.name: entry for entry in syllabus.lessons(longer)}
    new, after = entries[NAME], entries[BEFORE]
    rows = (longer / "README.md").read_text().split("<!-- lessons -->")[1].splitlines()
    [row] = [row for row in rows if "Flows" in row]
    assert row == (
        f"| [{new.label}](notebooks/{new.notebook}.ipynb) | "
        "What if every layer can be undone? | 2 x 90 min | 2 |  |"
    )
    assert rows[rows.index(row) + 1].startswith(f"| [{after.label}](notebooks/{after.notebook}")
    teach = (longer / "docs/book/teach.md").read_text()
    weeks = 1 + sum(len(entry.weeks) for entry in entries.values())
    assert f"## A term of {weeks} weeks" in teach
    first = teach.index(f"[{new.label}](lessons/{new.notebook}.ipynb), the line |")
    assert first < teach.index(f"| {new.label}, the plane |") < teach.index(f"[{after.label}](")
    row = f"| {new.label} | The change of variables | Autoencoders | the Jacobian |"
    assert row in teach
    assert (ROOT / "README.md").read_text() != (longer / "README.md").read_text()


def test_what_is_due_stays_two_weeks_after_it_went_out(longer: Path):
    for root in (ROOT, longer):
        rows = (root / "docs/book/teach.md").read_text().splitlines()
        for one in syllabus.problem_sets(root):
            out, due = (
                next(i for i, row in enumerate(rows) if f"{one.title} {words}" in row)
                for words in ("goes out", "is due")
            )
            assert due - out == contents.HAND_OUT


def test_the_book_and_the_decks_follow(longer: Path, tmp_path: Path):
    book.write_source(longer, tmp_path / "source")
    entries = {entry.name: entry for entry in syllabus.lessons(longer)}
    new, after = entries[NAME], entries[BEFORE]
    index = (tmp_path / "source/lessons/index.md").read_text()
    assert f"autoencoder\n{new.notebook}\n{after.notebook}\n" in index
    assert f"{after.notebook}_exercises\n" in (tmp_path / "source/exercises/index.md").read_text()
    first = (tmp_path / "source/index.md").read_text()
    assert f'href="lessons/{new.notebook}.html"' in first and "every layer can be undone" in first
    assert f'href="lessons/{after.notebook}.html"' in first
    scale, comparison = (tmp_path / "source/scale.md").read_text(), entries["comparison"].notebook
    assert f"(lessons/{comparison}.ipynb)" in scale
    titles = slides.titles_of(longer)
    made = {x.name: x for x in build.find_lessons(longer)}
    deck, before = (
        slides.deck_html(slides.read_deck(longer, made[name]), name, titles, exercises=True)
        for name in (new.notebook, entries["autoencoder"].notebook)
    )
    assert f"{new.place}. Normalizing flows" in deck and f'"{after.notebook}.html"' in deck
    assert f'"{new.notebook}.html"' in before


def test_its_checks_are_found(longer: Path):
    code = f"from course import checks; print(checks.{NAME}.__name__)"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=longer, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"course.lessons.{NAME}.checks"


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ('[[lesson]]\nname = "a"\ntitle = "A"\n' * 2, "'a' stands there twice"),
        ('[[lesson]]\nname = "a"\ntitle = "A"\nbuilds_on = ["b"]\n', "not a lesson before it"),
        ('[[lesson]]\nname = "a"\ntitle = "A"\nlength = 3\n', "cannot be read.*length"),
        ("[[lesson", "cannot be read"),
    ],
)
def test_a_syllabus_that_cannot_be_is_refused(tmp_path: Path, rows: str, words: str):
    (tmp_path / "course").mkdir()
    (tmp_path / syllabus.FILE).write_text(rows)
    with pytest.raises(ValueError, match=words):
        syllabus.lessons(tmp_path)


def test_a_problem_set_after_no_lesson_is_refused(tmp_path: Path):
    (tmp_path / "course").mkdir()
    (tmp_path / syllabus.FILE).write_text('[[problem_set]]\nname = "ps1_a"\nafter = "b"\n')
    with pytest.raises(ValueError, match="no lesson with a week"):
        syllabus.problem_sets(tmp_path)


def test_a_page_without_its_marks_is_named(tmp_path: Path):
    (tmp_path / "course").mkdir()
    (tmp_path / syllabus.FILE).write_text('[[lesson]]\nname = "a"\ntitle = "A"\n')
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(ValueError, match=r"README.md: the page must hold <!-- lessons -->"):
        contents.write(tmp_path)
