"""The website: it builds without a warning, every link leads somewhere, and it opens with no network."""

import html
import importlib
import os
import re
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from course import syllabus
from course.publish import book, build, pages
from course.publish.student import answers
from genlib.taxonomy import leaves
from tests.page_browser import needs_chromium, offline_page, url

NOTEBOOKS = {entry.name: entry.notebook for entry in syllabus.lessons(build.ROOT)}
AUTOENCODER, VAE = NOTEBOOKS["autoencoder"], NOTEBOOKS["vae"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("book")
    assert book.make_book(out) == 0, "Sphinx warns: see above"
    return out / "html"


class Page(HTMLParser):
    """What a page links to and shows."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.links, self.anchors, self.fetched, self.images = path, [], set(), [], []
        self.words: list[str] = []
        self._silent = False
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self._silent = tag in ("script", "style")
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "shortcut icon"):
            self.fetched.append(given["href"])
        if tag in ("script", "img", "iframe", "source", "video") and given.get("src"):
            self.fetched.append(given["src"])
        if tag == "img":
            self.images.append((given.get("src"), given.get("alt")))

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        if not self._silent:
            self.words.append(data)


@pytest.fixture(scope="module")
def site_pages(site):
    return {path: Page(path) for path in site.glob("**/*.html") if "_static" not in path.parts}


def test_every_link_and_anchor_leads_somewhere(site, site_pages):
    lost = []
    for path, page in site_pages.items():
        for target in page.links:
            parts = urllib.parse.urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = Path(os.path.normpath(path.parent / urllib.parse.unquote(parts.path)))
            to = path if not parts.path else to
            if not to.is_file():
                lost.append(f"{path.relative_to(site)}: {target}: no such file")
            elif parts.fragment and to in site_pages:
                anchor = urllib.parse.unquote(parts.fragment)
                if anchor not in site_pages[to].anchors:
                    lost.append(f"{path.relative_to(site)}: {target}: no such anchor")
    assert not lost, "\n".join(lost)


def test_nothing_is_fetched_from_the_network(site, site_pages):
    fetched = [(p.path.name, what) for p in site_pages.values() for what in p.fetched]
    assert fetched
    assert not [x for x in fetched if re.match(r"(https?:)?//", x[1])]
    for page in site_pages.values():
        text = page.path.read_text(encoding="utf-8")
        assert not re.search(r"@import\s+(url\()?[\"']?(https?:)?//|url\([\"']?https?:", text)


def test_every_image_has_a_text_that_stands_for_it(site_pages):
    images = [(p.path.name, *image) for p in site_pages.values() for image in p.images]
    assert len(images) > 100
    assert not [image for image in images if not (image[2] or "").strip()]
    assert not [image for image in images if image[2].startswith(("../", "_images"))]


def test_all_lessons_exercises_and_problem_sets_are_there(site):
    for folder, lessons in (
        ("lessons", pages.lectures()),
        ("exercises", pages.exercises()),
        ("problem_sets", pages.problem_sets()),
    ):
        assert lessons
        for lesson in lessons:
            assert (site / folder / f"{lesson.name}.html").is_file()


def test_pages_show_what_cells_printed(site, site_pages):
    nb = nbformat.read(build.ROOT / "notebooks" / f"{AUTOENCODER}.ipynb", as_version=4)
    page = site_pages[site / "lessons" / f"{AUTOENCODER}.html"]
    printed = [o.text for c in nb.cells for o in c.get("outputs", []) if "text" in o]
    text = re.sub(r"\s+", "", page.text)
    assert printed and all(re.sub(r"\s+", "", words) in text for words in printed)
    assert "it/s]" not in page.text and "epoch/s]" not in page.text  # no progress bars


def test_answers_of_exercises_are_folded(site):
    for lesson in pages.exercises():
        text = (site / "exercises" / f"{lesson.name}.html").read_text(encoding="utf-8")
        solved = nbformat.read(build.ROOT / lesson.executed, as_version=4)
        gaps = sum("### BEGIN SOLUTION" in cell.source for cell in solved.cells)
        assert text.count("Show the answer") == gaps > 0
        assert not re.search(r'<details class="hide[^>]*\bopen', text)
        outside = re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
        outside = re.sub(r"\s+", "", html.unescape(re.sub(r"<[^>]+>", "", outside)))
        mine = [x for x, source in answers(build.ROOT).items() if source == str(lesson.source)]
        assert mine and not [x for x in mine if re.sub(r"\s+", "", x) in outside]


def test_no_answer_of_a_problem_set_is_anywhere(site):
    shown = {  # an answer of an exercise may hold the same line, and stands there
        line.strip()
        for lesson in pages.exercises()
        for cell in nbformat.read(build.ROOT / lesson.executed, as_version=4).cells
        for line in cell.source.splitlines()
    }
    hidden = [x for x, y in answers(build.ROOT).items() if y.startswith("course/assignments")]
    hidden = [(x, re.sub(r"\s+", "", x)) for x in hidden if x not in shown]
    assert len(hidden) > 50
    for path in site.glob("**/*.html"):
        text = html.unescape(re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8")))
        text = re.sub(r"\s+", "", text)
        assert not [x for x, squeezed in hidden if squeezed in text], path
    assert not list(site.glob("**/*.ipynb"))  # nor a notebook to download with them


def test_the_reference_has_every_public_name(site, site_pages):
    names = book.public_modules()
    assert {"genlib.autoregressive.masks", "genlib.plots", "course.lessons.vae.checks"} <= set(
        names
    )
    assert not [name for name in names if name.startswith("course.assignments")]
    anchors = set().union(*(p.anchors for p in site_pages.values() if p.path.parent.name == "api"))
    missing = [
        f"{name}.{key}"
        for name in names
        for key, value in vars(importlib.import_module(name)).items()
        if callable(value)
        and getattr(value, "__module__", None) == name
        and not key.startswith("_")
        and value.__doc__
        and f"{name}.{key}" not in anchors
    ]
    assert not missing
    page = site_pages[site / "api" / "genlib.autoregressive.html"].text
    assert "A convolution that reads only earlier pixels" in page and "$" not in page


def test_the_map_shows_every_leaf_and_every_lesson_that_is_shown():
    entries = syllabus.lessons(build.ROOT)
    drawn = book.course_map(entries)
    for leaf in leaves():
        assert f">{leaf.name}</tspan> · p(x): {leaf.density}<" in drawn
        assert all(model.__name__ in drawn for model in leaf.classes)
        assert any(entry.family and book.builds(entry, leaf) for entry in entries)
    linked = re.findall(r'href="lessons/(\w+)\.html"', drawn)
    assert set(linked) == {entry.notebook for entry in entries if entry.weeks}


def test_links_lead_to_pages_or_become_words():
    where = book.places(build.ROOT)
    at = Path(f"notebooks/{AUTOENCODER}_exercises.ipynb")
    text = f"[a](../notebooks/{AUTOENCODER}.ipynb#x) [b](../README.md) [c](https://example.org)"
    got = book.redirect(text, at, where)
    assert got == f"[a](../lessons/{AUTOENCODER}.ipynb#x) b [c](https://example.org)"


def test_a_page_takes_in_another_without_its_title(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "grading.md").write_text("# Grading\n\nSo: [vae](../notebooks/v.ipynb).\n")
    where = {Path("notebooks/v.ipynb"): "lessons/v.ipynb"}
    text = book.include("# How\n\n<!-- grading -->\n\n<!-- else -->", tmp_path, where)
    assert text == "# How\n\nSo: [vae](lessons/v.ipynb).\n\n<!-- else -->"


def test_the_book_has_every_page_of_docs():
    marks = "".join(path.read_text() for path in book.WRITTEN.glob("*.md"))
    for path in (build.ROOT / "docs").glob("*.md"):
        assert (f"<!-- {path.stem} -->" in marks) == (path.stem != "for_students"), path


# ---------------------------------------------------------------- in a browser

WRONG = """() => ({
  broken: [...document.images].filter(x => x.complete && !x.naturalWidth).map(x => x.src),
  errors: document.querySelectorAll("mjx-merror, [data-mjx-error]").length,
  math: document.querySelectorAll("mjx-container").length,
  wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
})"""


@needs_chromium
@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        f"lessons/{VAE}.html",
        "api/genlib.autoregressive.html",
        f"exercises/{VAE}_exercises.html",
    ],
)
def test_a_page_opens_without_a_network(name, site):
    with offline_page(1300, 850) as page:
        page.goto(url(site / name))
        page.wait_for_function("document.querySelectorAll('mjx-container').length > 0")
        page.wait_for_function("!document.body.innerText.match(/\\\\\\((.|\\n)*?\\\\\\)/)")
        state = page.evaluate(WRONG)
        assert state["math"] and not state["broken"] and not state["errors"] and not state["wide"]
        assert not page.complaints


@needs_chromium
def test_the_map_leads_to_a_lesson(site):
    with offline_page() as page:
        page.goto(url(site / "index.html"))
        page.locator("svg.course-map a", has_text="VAE").click()
        page.wait_for_url(f"**/lessons/{VAE}.html")
        assert "autoencoders" in page.locator("h1").first.inner_text()
