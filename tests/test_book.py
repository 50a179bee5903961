"""The website: it builds without a warning, every link leads somewhere, and it opens with no network."""

import html
import importlib
import io
import os
import re
import shutil
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from course import syllabus
from course.publish import book, build, dark, glossary, pages
from course.publish.student import answers
from genlib import plots
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
        self.papers: dict[str, str] = {}  # what a link to another site says
        self._silent, self._link = False, ""
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self._silent = tag in ("script", "style")
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
            self._link = given["href"]
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "shortcut icon"):
            self.fetched.append(given["href"])
        if tag in ("script", "img", "iframe", "source", "video") and given.get("src"):
            self.fetched.append(given["src"])
        if tag == "img":
            self.images.append((given.get("src"), given.get("alt")))

    def handle_endtag(self, tag):
        self._silent = False
        self._link = "" if tag == "a" else self._link

    def handle_data(self, data):
        if not self._silent:
            self.words.append(data)
            if self._link.startswith("https://"):
                self.papers[data] = self._link


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


def test_each_figure_of_a_lesson_has_a_text_by_its_author(site, site_pages):
    seen = []
    for lesson in pages.lectures():
        nb = nbformat.read(build.ROOT / lesson.executed, as_version=4)
        page = site_pages[site / "lessons" / f"{lesson.name}.html"]
        shown = [alt for _, alt in page.images]
        for cell in nb.cells:
            if any(pages.FIGURE in output.get("data", {}) for output in cell.get("outputs", [])):
                text = cell.metadata.get("alt", "")
                assert 40 < len(text) < 300 and text.endswith("."), (lesson.name, cell.source, text)
                explorer = "explorer" in cell.source.splitlines()[-1]
                assert text.startswith("Still picture of") == explorer, text
                assert shown.count(text) in (2, 4), (lesson.name, text)  # for light and for dark
                seen.append(text)
            else:
                assert "alt" not in cell.metadata, (lesson.name, cell.source)
    assert len(seen) > 100


def test_no_notebook_holds_the_beginning_of_a_progress_bar():
    for lesson in build.find_lessons(build.ROOT):
        text = (build.ROOT / lesson.executed).read_text(encoding="utf-8")
        assert not build.PROGRESS.search(text), lesson.executed


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
    for path in site.glob("**/*.ipynb"):  # nor in a notebook to download
        cells = nbformat.read(path, as_version=4).cells
        text = re.sub(r"\s+", "", "".join(cell.source for cell in cells))
        assert not [x for x, squeezed in hidden if squeezed in text], path


def test_each_notebook_can_be_downloaded_as_students_get_it(site, site_pages):
    given = {x.student or x.executed: x.name for x in build.find_lessons(build.ROOT)}
    names = {path.relative_to(site) for path in site.glob("**/*.ipynb")}
    assert names == set(given)
    for path in given:
        assert (site / path).read_bytes() == (build.ROOT / path).read_bytes()
    for path, name in given.items():
        (page,) = (x for x in site_pages.values() if x.path.stem == name)
        links = re.findall(
            r'href="(.*?)"', book.ways_to_open(path, syllabus.repository(build.ROOT))
        )
        assert links[0] == f"../{path.as_posix()}" and set(links) <= set(page.links)


GITHUB = "https://github.com/someone/a-course"


def test_the_address_of_the_course_shows_in_links_and_only_then(tmp_path):
    """A site of one page, with all settings of the real one."""
    lesson = pages.lectures()[0]
    (tmp_path / "notebooks").mkdir()
    shutil.copy(build.ROOT / lesson.executed, tmp_path / lesson.executed)
    (tmp_path / "course").mkdir()
    (tmp_path / syllabus.FILE).write_text(f'[course]\nrepository = "{GITHUB}"\n')
    source = tmp_path / "out" / "source"
    shutil.copytree(book.WRITTEN, source, ignore=shutil.ignore_patterns("*.md"))
    shutil.copy(pages.mathjax(), source / "_static" / "tex-svg.js")
    (source / "index.md").write_text(
        f"# Site\n\n```{{toctree}}\nlessons/{lesson.name}\n```\n", encoding="utf-8"
    )
    nb = pages.read(tmp_path / lesson.executed)
    where = {lesson.executed: f"lessons/{lesson.name}.ipynb"}
    book.write_notebook(nb, lesson.executed, where, tmp_path, source)
    assert book.run_sphinx(tmp_path / "out", tmp_path) == 0
    page = Page(tmp_path / "out" / "html" / "lessons" / f"{lesson.name}.html")
    to = [x for x in page.links if x.startswith("https://") and "arxiv" not in x and "doi" not in x]
    path = lesson.executed.as_posix()
    assert set(to) == {
        GITHUB,
        f"{GITHUB}/blob/main/{path}",
        f"https://colab.research.google.com/github/someone/a-course/blob/main/{path}",
        f"https://mybinder.org/v2/gh/someone/a-course/main?labpath={path}",
    }
    elsewhere = book.ways_to_open(lesson.executed, "https://git.example.org/course")
    assert re.findall(r'href="(https[^"]*)"', elsewhere) == [
        f"https://git.example.org/course/blob/main/{path}"
    ]
    assert not re.findall(r'href="https[^"]*"', book.ways_to_open(lesson.executed, ""))


def test_every_paper_is_a_link(site_pages):
    ids = re.compile(
        r"arXiv:[\w.-]+/\d{7}|arXiv:\d{4}\.\d{4,5}|doi:10\.\d{4,9}/\S*\w", re.IGNORECASE
    )
    named = set()
    for page in site_pages.values():
        if page.path.name in ("search.html", "genindex.html"):
            continue
        for word in page.words:
            for paper in ids.findall(word):
                name = paper.split(":", 1)[1]
                site = "arxiv.org/abs" if paper.lower().startswith("arxiv") else "doi.org"
                assert page.papers.get(paper) == f"https://{site}/{name}", (page.path.name, paper)
                named.add(name)
    assert len(named) > 40 and "physics/9803008" in named


def test_the_glossary_says_what_each_term_is_and_where_it_comes_from(site):
    text = (site / "glossary.html").read_text(encoding="utf-8")
    entries = re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", text, re.DOTALL)
    said = {html.unescape(term): words for term, words in entries}
    assert set(said) == {re.sub("'", "\u2019", term) for term in glossary.TERMS}
    for term, words in said.items():
        assert re.search(r'href="lessons/\w+\.html"', words), term
        assert f"<strong>{term.lower()}</strong>" in html.unescape(words).lower(), term


def test_figures_are_there_for_light_and_for_dark_pages(site, site_pages):
    pairs = 0
    for page in site_pages.values():
        figures = [x for x in page.images if "_images/" in x[0] and x[0].endswith(".png")]
        for (light, alt), (other, same) in zip(figures[::2], figures[1::2], strict=True):
            assert Path(other).name == f"dark-{Path(light).name}" and same == alt
            assert (page.path.parent / other).is_file()
            pairs += 1
    assert pairs > 200


def test_a_figure_for_a_dark_page_keeps_its_images_and_exchanges_the_rest():
    light = np.full((120, 200, 3), 255, np.uint8)
    light[20:80, 20:80] = np.kron(np.arange(36).reshape(6, 6), np.ones((10, 10)))[..., None] * 7
    light[20:80, [20, 79]] = light[[20, 79], 20:80] = 90  # its frame: what is white inside stays
    light[40:60, 40:60] = 255
    light[90:93, 10:190] = np.rint(255 * np.array(dark.to_rgb(plots.style.BLUE)))  # a curve
    light[100:112, 10:16] = 0  # a letter
    file = io.BytesIO()
    Image.fromarray(light).save(file, "PNG")
    got = np.asarray(Image.open(io.BytesIO(dark.for_dark_page(file.getvalue()))))
    assert (got[20:80, 20:80] == light[20:80, 20:80]).all()
    page, blue = (
        np.rint(255 * np.array(dark.to_rgb(x))) for x in (dark.PAGE, dark.INKS[plots.style.BLUE])
    )
    assert (got[:20] == page).all() and (got[90:93, 10:190] == blue).all()
    assert (got[100:112, 10:16] > 200).all()


def contrast(one, other):
    """Of WCAG 2, from 1 to 21."""

    def luminance(colour):
        c = np.array(dark.to_rgb(colour))
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [
            0.2126,
            0.7152,
            0.0722,
        ]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_ink_is_seen_on_a_dark_page():
    drawn = {
        colour for colour in plots.style.TEN_COLOURS if colour != "0.6"
    }  # a grey is some black
    assert drawn == set(dark.INKS)
    for ink in dark.INKS.values():
        assert contrast(ink, dark.PAGE) > 3.5, ink


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
    listed = book.course_list(entries)
    for form in (drawn, listed):
        linked = re.findall(r'href="lessons/(\w+)\.html"', form)
        assert set(linked) == {entry.notebook for entry in entries if entry.weeks}
    for leaf in leaves():
        assert f"<strong>{leaf.name}</strong>, p(x): {leaf.density}<" in listed


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


@needs_chromium
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_first_page_follows_the_system_and_leads_on(site, mode):
    with offline_page(colours=mode) as page:
        page.goto(url(site / "index.html"))
        assert page.evaluate("document.documentElement.dataset.theme") == mode
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        rgb = tuple(round(255 * x) for x in dark.to_rgb(dark.PAGE if mode == "dark" else "white"))
        assert paper == f"rgb{rgb}"
        image = page.locator(f"article img.only-{mode}").first
        assert image.is_visible() and image.evaluate("x => x.naturalWidth") > 500
        other = "light" if mode == "dark" else "dark"
        assert not page.locator(f"article img.only-{other}").first.is_visible()
        style = "x => [getComputedStyle(x).filter, getComputedStyle(x).padding]"
        assert image.evaluate(style) == ["none", "0px"]  # no mat
        page.get_by_role("link", name="Start here", exact=True).first.click()
        page.wait_for_url(f"**/{NOTEBOOKS['start_here']}.html")


@needs_chromium
def test_a_phone_shows_the_map_as_a_list_that_a_finger_can_use(site):
    with offline_page(390, 844) as page:
        page.goto(url(site / "index.html"))
        assert not page.locator("svg.course-map").is_visible()
        links = page.locator("ul.course-list a")
        boxes = [links.nth(i).bounding_box() for i in range(links.count())]
        assert len(boxes) >= 9 and all(box["height"] >= 24 for box in boxes)
        assert not page.evaluate(WRONG)["wide"]
    with offline_page() as page:
        page.goto(url(site / "index.html"))
        assert page.locator("svg.course-map").is_visible()
        assert not page.locator("ul.course-list").is_visible()


SCROLLS = """() => [...document.querySelectorAll("div.highlight pre")]
  .filter(x => !x.closest(".cell_output") && x.scrollWidth > x.clientWidth)
  .map(x => x.innerText.split("\\n").sort((a, b) => b.length - a.length)[0])"""


@needs_chromium
def test_no_code_scrolls_sideways_at_1280_pixels(site):
    with offline_page(1280, 900) as page:
        page.route("**/tex-svg.js", lambda route: route.abort())  # formulas take their time
        for path in sorted(site.glob("*/*.html")):
            if path.parent.name in ("lessons", "exercises", "problem_sets", "api"):
                page.goto(url(path), wait_until="domcontentloaded")
                page.add_style_tag(content="details > * { display: block !important }")
                assert page.evaluate(SCROLLS) == [], path.name


COPIED = """() => document.addEventListener("copy", () => {
  const field = document.activeElement
  window.taken = field.value || String(document.getSelection())
}, true)"""


@needs_chromium
def test_code_can_be_copied_without_prompts(site):
    with offline_page() as page:
        page.goto(url(site / "api" / "genlib.autoregressive.html"))
        block = page.locator("div.highlight", has_text=">>> ").first
        block.hover()
        button = block.locator("button.copybtn")
        assert button.count() == 1
        page.evaluate(COPIED)
        button.click()
        page.wait_for_function("window.taken !== undefined")
        taken = page.evaluate("window.taken")
        assert taken and ">>>" not in taken
        page.goto(url(site / "lessons" / f"{VAE}.html"))
        assert page.locator(".cell_input button.copybtn").count() > 50
        assert page.locator(".cell_output button.copybtn").count() == 0


AXE = os.environ.get("AXE")  # axe.min.js of the npm package axe-core


@needs_chromium
@pytest.mark.skipif(
    not AXE, reason="no axe-core: `npm pack axe-core`, and name its axe.min.js in $AXE"
)
@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize(
    "name", ["index.html", f"lessons/{VAE}.html", "api/genlib.autoregressive.html"]
)
def test_axe_finds_nothing_serious(site, name, mode):
    with offline_page(colours=mode) as page:
        page.goto(url(site / name))
        page.wait_for_function("document.querySelectorAll('mjx-container').length > 0")
        page.evaluate(Path(AXE).read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        serious = [x for x in found if x["impact"] in ("serious", "critical")]
        assert not serious, [(x["id"], [node["html"] for node in x["nodes"]]) for x in serious]
