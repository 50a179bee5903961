"""Decks of slides: what is on them and what never is; in a browser, that nothing overflows and all is there."""

import html
import json
import re

import nbformat
import pytest

from course.publish import build, pages, slides
from course.publish.student import answers
from tests.page_browser import needs_chromium, offline_page, url

DECKS = [lesson.name for lesson in pages.decks()]
SOURCES = {lesson.name: lesson.source for lesson in pages.decks()}
BASE_FONT = 28  # pixels, on a page of 1280 x 720


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    assert slides.main(["--out", str(folder)]) == 0
    return folder


def notebook(*cells):
    """Cells given as (source, slide type) for Markdown and (source, slide type, outputs) for code."""
    nb = nbformat.v4.new_notebook()
    for source, mark, *outputs in cells:
        new = nbformat.v4.new_code_cell if outputs else nbformat.v4.new_markdown_cell
        cell = new(source, metadata={"slideshow": {"slide_type": mark}} if mark else {})
        if outputs:
            cell.outputs = outputs[0]
        nb.cells.append(cell)
    return nb


def says(text):
    return nbformat.v4.new_output("stream", text=text)


# ---------------------------------------------------------------- what goes on a slide


def test_a_slide_starts_at_a_mark_or_a_heading():
    nb = notebook(
        ("# 1. Title\n\n**Why?**", "slide"),
        ("## First\n\nText.\n\n### Second\n\nMore.", "slide"),
        ("Without a heading.", "subslide"),
        ("## Not shown", "skip"),
    )
    got = slides.slides_of(nb, set())
    assert [(s.heading, s.level) for s in got] == [
        ("1. Title", "title"),
        ("First", "slide"),
        ("Second", "subslide"),
        ("Second", "subslide"),
    ]


def test_a_paragraph_gives_one_sentence_and_the_notes_keep_all():
    text = "It is late. A **code** is short, e.g. $z = 1. 5$ (see 2. below). It ends."
    (title, slide) = slides.slides_of(
        notebook(("# T", "slide"), (f"## H\n\n{text}", "slide")), set()
    )
    assert "A <strong>code</strong> is short" in slide.blocks[0].html
    assert "late" not in slide.blocks[0].html and "ends" not in slide.blocks[0].html
    assert "late" in slide.notes[0] and "ends" in slide.notes[0]


def test_what_announces_an_equation_is_kept():
    text = "First this. Then make it small:\n\n$$L = 1$$\n\nDone. Really."
    kinds = slides.blocks_of_text(text)
    assert [kind for kind, _ in kinds] == ["paragraph", "equation", "paragraph"]
    assert slides.key_sentence(kinds[0][1], leads=True) == "Then make it small:"
    assert slides.key_sentence(kinds[2][1], leads=False) == "Done. Really."


def test_code_is_shown_where_it_is_asserted_or_marked():
    nb = notebook(
        ("# T", "slide"),
        ("x = load()", None, []),
        ("def f(x):\n    return x\n\n\nassert f(1) == 1", None, []),
        ("x = 3", "fragment", []),
        ("a = 5\nassert g(1)\nassert allclose(h, i)", None, []),  # only compares
        ("secret = 4", "skip", [says("nothing")]),
    )
    (slide,) = slides.slides_of(nb, set())
    text = re.sub("<[^>]+>", "", "".join(block.html for block in slide.blocks))
    assert "def f" in text and "x = 3" in text
    assert (
        "load" not in text
        and "allclose" not in text
        and "secret" not in text
        and "nothing" not in text
    )


def test_what_is_too_much_for_a_slide_goes_on_to_the_next():
    lines = says("".join(f"line {i}\n" for i in range(15)))
    nb = notebook(("# T", "slide"), ("## H\n\nText.", "slide"), ("f()", None, [lines, lines]))
    slide = slides.slides_of(nb, set())[1]
    parts = slides.fit(slide)
    assert [len(part.blocks) for part in parts] == [2, 1]
    assert all(part.heading == "H" for part in parts)


def test_links_lead_to_decks_or_nowhere():
    text = "[a](02_toy.ipynb) [b](02_toy_exercises.ipynb) [c](https://example.org)"
    got = slides.to_html(text, {"02_toy"})
    assert re.findall(r'href="([^"]+)"', got) == ["02_toy.html", "https://example.org"]


# ---------------------------------------------------------------- what is never on a slide


@pytest.mark.parametrize("name", DECKS)
def test_a_deck_needs_no_other_file_and_shows_no_solution(name, folder):
    page = (folder / f"{name}.html").read_text(encoding="utf-8")
    body = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", page, flags=re.DOTALL)
    assert not re.findall(r"<(?:script|link|iframe)[^>]+(?:src|href)=", body)
    assert all(src.startswith("data:") for src in re.findall(r'<img[^>]*\ssrc="([^"]+)"', body))
    assert all(alt.strip() for alt in re.findall(r'<img alt="([^"]*)"', body))
    assert len(re.findall("<img ", body)) == len(re.findall("<img alt=", body)) > 0
    text = re.sub(r"<[^>]+>", "", body)
    assert "SOLUTION" not in text
    text, lesson = (
        re.sub(r"\s+", "", words)
        for words in (
            html.unescape(text),
            (build.ROOT / SOURCES[name]).read_text("utf-8"),
        )
    )
    hidden = [re.sub(r"\s+", "", line) for line in answers(build.ROOT)]
    assert hidden and not [line for line in hidden if line in text and line not in lesson]


# ---------------------------------------------------------------- in a browser

STATE = """() => {
  const slide = Reveal.getCurrentSlide().querySelector(".slide");
  const box = slide.getBoundingClientRect();
  const out = [...slide.querySelectorAll("*")].filter(x => !x.closest("mjx-assistive-mml")).filter(x => {
    const r = x.getBoundingClientRect();
    const across = r.right > box.right + 1 || r.left < box.left - 1;
    return r.width && (across || r.bottom > box.bottom + 1 || r.top < box.top - 1);
  }).map(x => x.outerHTML.slice(0, 120));
  const small = [...slide.querySelectorAll("img")].filter(x => x.getBoundingClientRect().height < 60)
    .map(x => x.alt);
  return {
    at: Reveal.getIndices(), words: slide.innerText.length, font: parseFloat(getComputedStyle(slide).fontSize),
    overflows: [slide, ...slide.querySelectorAll(".body")].some(
      x => x.scrollHeight > x.clientHeight || x.scrollWidth > x.clientWidth), out, small,
    broken: [...slide.querySelectorAll("img")].filter(x => !x.naturalWidth).length,
    dollars: [...slide.querySelectorAll("h1, h2, p, li, td, th")].map(x => x.innerText).filter(x => /\\$/.test(x)),
    errors: slide.querySelectorAll("mjx-merror, [data-mjx-error]").length, last: Reveal.isLastSlide(),
    math: slide.querySelectorAll("mjx-container").length,
  };
}"""


@needs_chromium
@pytest.mark.parametrize("name", DECKS)
def test_every_slide_of_a_deck_fits_and_is_complete(name, folder):
    with offline_page() as page:
        page.goto(url(folder / f"{name}.html"))
        page.wait_for_function("window.Reveal && Reveal.isReady()")
        formulas, seen, wrong = 0, 0, []
        while True:
            state = page.evaluate(STATE)
            seen, formulas = seen + 1, formulas + state["math"]
            too_small = state["font"] < 0.75 * BASE_FONT
            if state["overflows"] or state["out"] or state["small"] or state["broken"] or too_small:
                wrong.append(state)
            if state["dollars"] or state["errors"] or not state["words"]:
                wrong.append(state)
            if state["last"]:
                break
            page.evaluate("Reveal.next()")
        assert not wrong, json.dumps(wrong, indent=1)
        assert seen == page.evaluate("Reveal.getTotalSlides()") > 10
        assert formulas > 3
        assert not page.complaints
