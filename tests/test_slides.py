"""Decks of slides: what is never on them; in a browser and on paper, that nothing overflows and all is there."""

import html
import json
import re

import pytest

from course.publish import browser, build, contents, pages, slides
from course.publish.student import answers
from tests.page_browser import needs_chromium, offline_page, url

DECKS = [lesson.name for lesson in pages.decks()]
PAGE = rb"/Type\s*/Page\b(?!s)"
SOURCES = {lesson.name: lesson.source for lesson in pages.decks()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    assert slides.main(["--out", str(folder)]) == 0
    return folder


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

# What is wrong with the slides shown within an element.
WRONG = """(root) => [...root.querySelectorAll(".slide")].map(slide => {
  const box = slide.getBoundingClientRect();
  if (!box.width) return [];
  const all = [...slide.querySelectorAll("*")].filter(x => !x.closest("mjx-assistive-mml"));
  const out = all.filter(x => {
    const r = x.getBoundingClientRect();
    const across = r.right > box.right + 1 || r.left < box.left - 1;
    return r.width && (across || r.bottom > box.bottom + 1 || r.top < box.top - 1);
  });
  const cut = [slide, ...slide.querySelectorAll(".body")].filter(
    x => x.scrollHeight > x.clientHeight + 1 || x.scrollWidth > x.clientWidth + 1);
  const tiny = [...slide.querySelectorAll("img")].filter(x => x.getBoundingClientRect().height < 120);
  const broken = [...slide.querySelectorAll("img")].filter(x => !x.naturalWidth);
  const small = [...slide.querySelectorAll("pre, code")].filter(x => parseFloat(getComputedStyle(x).fontSize) < 24);
  const dollars = all.filter(x => /^(H1|H2|P|LI|TD|TH)$/.test(x.tagName) && /\\$/.test(x.innerText));
  const formulas = [...slide.querySelectorAll("mjx-merror, [data-mjx-error]")];
  const kinds = {out, cut, tiny, broken, small, dollars, formulas};
  return Object.entries(kinds).filter(([, found]) => found.length)
    .map(([kind, found]) => `${slide.innerText.slice(0, 50)} | ${kind}: ${found[0].outerHTML.slice(0, 120)}`);
}).flat()"""


@needs_chromium
@pytest.mark.parametrize("name", DECKS)
def test_every_slide_of_a_deck_fits_on_the_screen_and_on_paper(name, folder):
    with offline_page() as page:
        page.goto(url(folder / f"{name}.html"))
        page.wait_for_function("window.Reveal && Reveal.isReady()")
        seen, wrong = 0, []
        while True:
            slide = page.evaluate_handle("Reveal.getCurrentSlide()")
            wrong += page.evaluate(WRONG, slide)
            seen += 1
            if page.evaluate("Reveal.isLastSlide()"):
                break
            page.evaluate(
                "Reveal.slide(Reveal.getIndices().h, Reveal.getIndices().v, 99); Reveal.next()"
            )
        assert not wrong, json.dumps(wrong, indent=1)
        assert seen == page.evaluate("Reveal.getTotalSlides()") > 20
        assert page.evaluate("document.querySelectorAll('.slide mjx-container').length") > 3
        # the speaker's window shows each formula of the notes once
        assert page.evaluate("document.querySelectorAll('aside.notes mjx-container').length") > 3
        assert not page.evaluate(
            "document.querySelectorAll('aside.notes mjx-assistive-mml').length"
        )
        assert not page.complaints
        page.goto(url(folder / f"{name}.html") + "?print-pdf")
        page.wait_for_selector("html.reveal-print .pdf-page")
        wrong = page.evaluate(f"({WRONG})(document.body)")
        assert not wrong, json.dumps(wrong, indent=1)
        hidden = "[...document.querySelectorAll('.fragment')].filter(x => getComputedStyle(x).opacity < 1)"
        assert page.evaluate(f"{hidden}.length") == 0  # answers stand on paper
        printed = page.pdf(prefer_css_page_size=True, print_background=True)
        assert len(re.findall(PAGE, printed)) == seen


@needs_chromium
def test_a_printed_deck_has_a_page_a_slide(folder):
    deck = folder / f"{DECKS[3]}.html"
    printed = browser.print_deck(deck)
    slides_of_it = 1 + deck.read_text(encoding="utf-8").count("<aside ")  # but the last
    assert len(re.findall(PAGE, printed.read_bytes())) == slides_of_it


def test_the_pages_that_list_the_lessons_count_these_slides(folder):
    for lesson in pages.decks():
        made = (folder / f"{lesson.name}.html").read_text(encoding="utf-8").count("<aside ") + 1
        assert contents.count_slides((build.ROOT / lesson.source).read_text("utf-8")) == made


def test_printing_without_a_browser_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(browser, "CHROMIUM", None)
    with pytest.raises(browser.NoBrowser, match="apt install chromium"):
        browser.print_deck(tmp_path / "deck.html")
    assert not list(tmp_path.iterdir())
