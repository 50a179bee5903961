"""What README.md promises holds."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageChops

from course import checks, syllabus
from course.publish import contents

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
PICTURES = dict(re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", PAGE))


def between(mark: str) -> str:
    return PAGE.split(f"<!-- {mark} -->")[1].split(f"<!-- /{mark} -->")[0]


# ---------------------------------------------------------------- what it shows


def test_it_shows_an_explorer_a_slide_and_a_graded_page():
    names = [Path(path).name for path in PICTURES.values()]
    assert names == ["explorer.webp", "slide.png", "page.png", "mnist_samples.png"]
    assert all(len(words) > 40 for words in PICTURES), "a picture says what it shows"


def test_the_explorer_moves_and_is_small():
    path = ROOT / "docs" / "pictures" / "explorer.webp"
    assert path.stat().st_size <= 2_000_000
    with Image.open(path) as picture:
        frames = []
        for i in range(picture.n_frames):
            picture.seek(i)
            frames.append(picture.convert("RGB"))
    assert len(frames) >= 40 and frames[0].width >= 800
    after = [*frames[1:], frames[0]]  # it starts again at its end
    moved = [ImageChops.difference(a, b).getbbox() for a, b in zip(frames, after, strict=True)]
    assert all(moved), "each frame differs from the next"


def test_the_other_pictures_are_small_and_sharp():
    for name, width in (("slide.png", 1280), ("page.png", 900)):
        path = ROOT / "docs" / "pictures" / name
        with Image.open(path) as picture:
            assert picture.width == width and picture.height >= 500
        assert path.stat().st_size <= 300_000


def test_the_check_says_what_stands_there():
    code, printed = re.findall(r"```(?:python|text)\n(.*?)```", between("check"), re.DOTALL)
    with pytest.raises(checks.Wrong) as mistake:
        exec(code, {"checks": checks})
    assert printed.strip() == f"{mistake.type.__name__}: {mistake.value}"
    right = code.replace("log_std.exp()", "(2 * log_std).exp()")
    assert right != code
    exec(right, {"checks": checks})  # and nothing else was wrong with it


# ---------------------------------------------------------------- how to get it


def test_it_is_read_in_half_a_minute():
    assert len(PAGE.splitlines()) <= 150
    assert PAGE.index("explorer.webp") < PAGE.index("<!-- check -->") < PAGE.index("git clone")
    assert PAGE.index("git clone") < PAGE.index("<!-- lessons -->") < 6000


def test_tables_and_the_clone_line_come_from_the_syllabus(tmp_path):
    assert contents.check(ROOT) == []
    (tmp_path / "course").mkdir()
    (tmp_path / syllabus.FILE).write_text('[course]\nrepository = "https://example.org/c"\n')
    assert "git clone https://example.org/c generative-models\n" in contents.clone(tmp_path)
    (tmp_path / syllabus.FILE).write_text('[course]\nrepository = ""\n')
    assert "`repository` in `course/syllabus.toml` does not name it yet" in contents.clone(tmp_path)


def test_what_it_says_of_the_set_up_is_so():
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"\bmake ([a-z]+)\b", re.sub(r"has no make|git make|git and make", "", PAGE))
    assert {"lab", "test", "slides", "grade"} <= set(named) <= set(targets)
    assert yaml.safe_load((ROOT / "environment.yml").read_text())["name"] == "genlib"
    assert "`conda activate genlib`" in PAGE
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Python {project['requires-python'].removeprefix('>=')} or newer" in WORDS
    for system in ("Linux", "macOS", "Windows"):
        assert f"| {system} |" in PAGE


# ---------------------------------------------------------------- what it covers


def test_every_lesson_stands_there_with_its_minutes():
    rows = between("lessons").strip().splitlines()[2:]
    entries = syllabus.lessons(ROOT)
    assert len(rows) == len(entries)
    for row, entry in zip(rows, entries, strict=True):
        assert f"(notebooks/{entry.notebook}.ipynb)" in row and entry.question in row
        path = ROOT / "course" / "lessons" / entry.name / "exercises.py"
        if path.exists():
            intro = re.sub(r"\n# ?", " ", path.read_text("utf-8").split("# %% [markdown]")[1])
            (said,) = re.findall(r"about (\d+) minutes", intro)
            assert f"[{said} min](notebooks/{entry.notebook}_exercises.ipynb)" in row
    numbers = {1: "One", 2: "Two", 3: "Three", 4: "Four", 5: "Five"}
    assert f"{numbers[len(syllabus.problem_sets(ROOT))]} [problem sets]" in PAGE


FAMILIES = {
    "diffusion": "diffusion",
    "flow matching": "flow_matching",
    "normalizing flows": "flows",
}


@pytest.mark.parametrize("words", FAMILIES)
def test_what_is_not_there_yet_is_called_so(words):
    (not_yet,) = re.findall(r"\*\*Not yet\*\*: (.*?) \*\*", WORDS)
    (covered,) = re.findall(r"\*\*Covered\*\*: (.*?) \*\*", WORDS)
    there = (ROOT / "genlib" / FAMILIES[words]).exists()
    assert (words in covered, words in not_yet) == (there, not there)


def test_it_names_who_may_be_cited_and_how_to_help():
    assert "(CITATION.cff)" in PAGE and "(CONTRIBUTING.md)" in PAGE
    assert "MIT licence" in PAGE and (ROOT / "LICENSE").read_text().startswith("MIT")
    assert "CC BY 4.0" in PAGE
    assert "Attribution 4.0" in " ".join((ROOT / "LICENSE-text.md").read_text().split())


def test_courses_are_compared_with_links_to_what_they_say():
    rows = re.findall(r"^\| (\[?[^|]+\]?[^|]*) \| [^|]+ \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
    others = [row for row in rows if "](https://" in row]
    assert len(others) == 5 and "this one" in rows
