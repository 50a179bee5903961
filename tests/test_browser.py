"""The course as a student and a class see it: JupyterLab in a real browser.

Lessons are not run here: nbval does that. What they store is shown as a live deck of slides, gone through with the
space bar. Their explorers, each on the slide that its lesson has for it, stand in one notebook of models that take no
time (`explorer_slides.py`). That one is run, every control is moved by keys and mouse, and it is presented live. Only
the first lesson, which takes seconds, is run as a whole.

    .venv/bin/python -m pytest tests/test_browser.py -s -k markov_chains   one lesson: its slides, its explorers' times
    SCREENSHOTS=shots .venv/bin/python -m pytest tests/test_browser.py     pictures of all explorers and slides

Times are printed and not judged: on a loaded machine they say nothing.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from course import explorers, syllabus
from tests.explorer_browser import ExplorerOnPage, timing_table
from tests.explorer_slides import GIVEN, explorer_slides, holds_an_explorer
from tests.lab_browser import DECK_FRAME, Deck, lab
from tests.page_browser import needs_chromium

ROOT = Path(__file__).parents[1]
LESSONS = {
    entry.name: ROOT / "notebooks" / f"{entry.notebook}.ipynb" for entry in syllabus.lessons(ROOT)
}
SCREENSHOTS = os.environ.get("SCREENSHOTS")

# lesson -> its explorers, from top to bottom; those that have any
EXPLORERS = {
    "taxonomy": ["outlier", "taxonomy"],
    "pixelrnn": ["pixel", "drawing"],
    "pixelcnn": ["pixel", "drawing", "completion"],
    "vae": ["latent", "factor"],
    "gan": ["gan"],
    "gan_architectures": ["interpolation"],
    "markov_chains": ["gibbs"],
    "diffusion": ["denoising", "guidance"],
    "flow_matching": ["paths", "flow"],
}
# where to click on the picture, and along which way to drag; its sides are 1 long, y goes downwards
CLICKS = {
    "pixel": [(0.1, 0.2), (0.15, 0.3)],
    "taxonomy": [(0.7, 0.2), (0.7, 0.3)],
}
DRAGS = {
    "outlier": [(0.3, 0.2), (0.35, 0.2), (0.4, 0.2), (0.5, 0.25)],
    "completion": [(0.1, 0.2), (0.15, 0.2), (0.2, 0.3)],
    "latent": [(0.2, 0.3), (0.25, 0.3), (0.3, 0.4), (0.35, 0.5)],
    "interpolation": [(0.3, 0.7), (0.5, 0.7), (0.8, 0.7), (0.6, 0.7)],
}
MOVES = 20  # at least, of each explorer
# whatever an explorer says about its kernel, one after the other
LISTEN = """() => {
    window.heard = [];
    new MutationObserver(() => {
        const words = document.querySelector(".genlib-words")?.textContent ?? "";
        if (words !== (heard.at(-1) ?? "")) heard.push(words);
    }).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""


# of all lessons, one after the other
SHOWN = [(lesson, name) for lesson in LESSONS for name in EXPLORERS.get(lesson, [])]
WITH = list(dict.fromkeys(lesson for lesson, _ in SHOWN))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course") / "notebooks"
    folder.mkdir()
    with lab(folder) as running:
        yield running


@pytest.fixture(scope="module")
def opened(running, tmp_path_factory):
    """The notebook of all explorers, run, and a list of those that were moved."""
    path = tmp_path_factory.mktemp("written") / "explorers.ipynb"
    nbformat.write(explorer_slides(WITH), path)
    moved: list[tuple[str, ExplorerOnPage]] = []
    with running.open(path) as notebook:
        notebook.run_all()
        yield notebook, moved
    if moved:
        print(f"\n\nfrom an event to the changed picture\n{timing_table(moved)}")


def move_everything(explorer: ExplorerOnPage) -> None:
    """Each control there is, as often as needed, and the mouse where it does something."""
    explorer.click(*CLICKS.get(explorer.name, []))
    if explorer.name in DRAGS:
        explorer.drag(*DRAGS[explorer.name])
    explorer.push_all(times=2)
    explorer.press_buttons()
    explorer.toggle()
    explorer.choose()
    while len(explorer.moves) < MOVES:
        explorer.push_all()
        explorer.press_buttons()
    explorer.play()


def move_a_little(explorer: ExplorerOnPage) -> Iterator[str]:
    """What a lecturer does first: drag or click, and a step of a slider or two; says what was done."""
    if explorer.name in CLICKS:
        explorer.click(CLICKS[explorer.name][0])
        yield "a click"
    if explorer.name in DRAGS:
        explorer.drag(*DRAGS[explorer.name][:3])
        yield "a drag"
    for handle in explorer.handles()[:2]:
        explorer.push(handle)
        yield explorer.moves[-1][0]


def go_through(deck: Deck, lesson: str) -> list[ExplorerOnPage]:
    """Every slide, all of it; each explorer is moved on its slide, and does not turn the page."""
    seen: list[int] = []
    faults: list[str] = []
    moved: list[ExplorerOnPage] = []
    for at in deck.walk():
        if at in seen:  # an explorer was scrolled to
            continue
        seen.append(at)
        faults += [f"slide {at + 1}: {fault}" for fault in deck.faults()]
        if SCREENSHOTS:
            deck.screenshot(Path(SCREENSHOTS) / f"{lesson}_slide_{at + 1:02}.png")
        for explorer in deck.explorers():
            for what in move_a_little(explorer):
                turned = f"slide {at + 1}, {explorer.name} explorer: {what} turned the page"
                assert deck.place()["at"] == at, turned
            moved.append(explorer)
    assert seen == list(range(deck.place()["all"]))
    assert not faults, "\n".join(faults)
    return moved


def test_the_table_has_every_lesson_and_every_explorer():
    assert set(EXPLORERS) == set(GIVEN) == set(WITH)
    shown = {f"{name}_explorer" for names in EXPLORERS.values() for name in names}
    assert shown == set(explorers.__all__)


def test_the_table_has_what_the_lessons_call():
    for lesson in LESSONS:
        source = (ROOT / "course" / "lessons" / lesson / "lecture.py").read_text()
        called = re.findall(r"^.*explorers\.(\w+)_explorer\(", source, re.M)
        assert EXPLORERS.get(lesson, []) == called


def test_the_notebook_of_explorers_has_the_very_cells_of_the_lessons():
    sources = [cell.source for cell in explorer_slides(WITH).cells]
    shown = re.findall(r"^.*explorers\.(\w+)_explorer\(", "\n".join(sources), re.M)
    assert shown == [name for _, name in SHOWN]
    for lesson in WITH:
        stored = nbformat.read(LESSONS[lesson], as_version=4)
        calls = [cell for cell in stored.cells if holds_an_explorer(cell)]
        assert len(calls) == len(EXPLORERS[lesson])
        for cell in calls:
            assert cell.source in sources


@needs_chromium
@pytest.mark.parametrize("lesson", LESSONS)
def test_every_slide_of_a_stored_lesson_fits(lesson, running):
    with running.stored(LESSONS[lesson]) as (notebook, deck):
        go_through(deck, lesson)
        assert notebook.complaints == []


@needs_chromium
def test_a_whole_lesson_runs(running):
    with running.open(next(iter(LESSONS.values()))) as notebook:
        notebook.run_all()
        assert notebook.complaints == []


@needs_chromium
@pytest.mark.parametrize("which", range(len(SHOWN)), ids=["-".join(shown) for shown in SHOWN])
def test_an_explorer_follows_keys_and_mouse(which, opened, record_property):
    notebook, moved = opened
    lesson, name = SHOWN[which]
    explorers = notebook.explorers(len(SHOWN))
    assert [explorer.name for explorer in explorers] == [name for _, name in SHOWN]
    explorer = explorers[which]
    explorer.root.scroll_into_view_if_needed()
    if SCREENSHOTS:
        explorer.root.screenshot(path=Path(SCREENSHOTS) / f"{lesson}_{name}.png")
    move_everything(explorer)
    moved.append((lesson, explorer))
    record_property("median ms", round(explorer.median()))
    assert notebook.complaints == []


@needs_chromium
@pytest.mark.parametrize("width", [1280, 760])
def test_explorers_fit_the_page_and_show_what_moves(width, opened):
    notebook, _ = opened
    notebook.page.set_viewport_size({"width": width, "height": 900})
    notebook.page.wait_for_timeout(1000)
    faults = []
    for (lesson, name), explorer in zip(SHOWN, notebook.explorers(len(SHOWN)), strict=True):
        if SCREENSHOTS:
            explorer.root.screenshot(path=Path(SCREENSHOTS) / f"{lesson}_{name}_{width}.png")
        faults += [f"{lesson}, {name}: {fault}" for fault in explorer.faults()]
        for place in CLICKS.get(name, []) + DRAGS.get(name, []):
            if explorer.cursor(*place) in ("auto", "default"):
                faults.append(f"{lesson}, {name}: the mouse at {place} shows nothing")
        if explorer.cursor(0.003, 0.997) not in ("auto", "default"):
            faults.append(f"{lesson}, {name}: the mouse in a corner shows that something moves")
    notebook.page.set_viewport_size({"width": 1440, "height": 1000})
    assert not faults, "\n".join(faults)


@needs_chromium
def test_a_screen_reader_can_tell_the_parts_of_an_explorer(opened):
    notebook, _ = opened
    for (lesson, name), explorer in zip(SHOWN, notebook.explorers(len(SHOWN)), strict=True):
        where = f"{lesson}, {name}"
        assert len(explorer.accessible("image")) == 1, where
        assert len(explorer.accessible("slider")) >= len(explorer.handles()), where
        for role in ("image", "slider", "button", "textbox", "combobox", "group"):
            names = explorer.accessible(role)
            assert all(re.search("[a-z₀-₉]", it, re.I) or it.isdigit() for it in names), (
                where,
                role,
                names,
            )
            if role != "group":
                assert len(set(names)) == len(names), (where, role, names)
        assert explorer.words() == ""


@needs_chromium
def test_teachers_have_the_menus_of_nbgrader(opened):
    """Students do not: tests/test_student_copy.py."""
    page = opened[0].page
    assert page.get_by_role("menuitem", name="Nbgrader").is_visible()
    assert page.get_by_text("Validate", exact=True).is_visible()


@needs_chromium
def test_an_explorer_says_where_no_kernel_answers_and_moves_again(running, tmp_path):
    path = tmp_path / "one.ipynb"
    nbformat.write(explorer_slides(["markov_chains"]), path)
    with running.open(path) as notebook:
        notebook.run_all()
        (explorer,) = notebook.explorers(1)
        notebook.page.evaluate(LISTEN)
        notebook.page.evaluate("kernel.cut()")
        notebook.page.wait_for_function("heard.length == 2")
        first, then = notebook.page.evaluate("heard")
        assert first.startswith("No connection to the kernel") and then == ""
        explorer.push_all()  # it is back
        notebook.restart()
        notebook.page.wait_for_function("heard.at(-1).includes('was restarted')")
        assert "Run the cell again" in explorer.words()
        notebook.run_again()
        (explorer,) = notebook.explorers(1)
        assert explorer.words() == ""
        explorer.push_all()
        running.end_kernel(path.name)
        notebook.page.wait_for_function("heard.at(-1).startsWith('The kernel is dead')")


@needs_chromium
def test_explorers_move_on_their_slides_and_turn_no_page(opened):
    notebook, moved = opened
    deck = notebook.present(len(SHOWN))
    assert deck.size() == DECK_FRAME  # as of the stored decks
    shown = go_through(deck, "explorers")
    assert [explorer.name for explorer in shown] == [name for _, name in SHOWN]
    moved += [
        (f"{lesson} live", explorer) for (lesson, _), explorer in zip(SHOWN, shown, strict=True)
    ]
    assert notebook.complaints == []


@needs_chromium
def test_each_explorer_says_that_its_kernel_was_killed(running, opened):
    """The last test of all: in the notebook and in its live deck."""
    notebook, _ = opened
    explorers = notebook.explorers(len(SHOWN))
    assert [explorer.words() for explorer in explorers] == [""] * len(SHOWN)
    running.kill_kernel("explorers.ipynb")
    lines = ".genlib-explorer > .genlib-words"
    frames = [notebook.page.main_frame, *notebook.deck_frames()]
    for frame in frames:
        frame.wait_for_function(
            f"() => [...document.querySelectorAll('{lines}')].filter(it => /restarted/.test(it.textContent))"
            f".length === {len(SHOWN)}"
        )
    for explorer in explorers:
        assert explorer.words().startswith(
            "The kernel was restarted, so this picture stands still."
        )
