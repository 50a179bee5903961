"""The course as a student sees it: every lesson run in JupyterLab, every explorer moved by keys and mouse.

And as a class sees it: the same lesson, still running, as a live deck of slides, gone through with the space bar.

    .venv/bin/python -m pytest tests/test_browser.py -s -k 06              one lesson, and its times
    SCREENSHOTS=shots .venv/bin/python -m pytest tests/test_browser.py     pictures of all explorers and slides

Times are printed and not judged: on a loaded machine they say nothing.
"""

import os
import re
import time
from pathlib import Path

import pytest

from genlib import widgets
from tests.lab_browser import Deck, ExplorerOnPage, lab, timing_table
from tests.page_browser import needs_chromium

ROOT = Path(__file__).parents[1]
LESSONS = sorted(
    path for path in (ROOT / "notebooks").glob("0*.ipynb") if not path.stem.endswith("_exercises")
)
SCREENSHOTS = os.environ.get("SCREENSHOTS")

# lesson -> its explorers, from top to bottom
EXPLORERS = {
    "00_start_here": [],
    "01_taxonomy": ["outlier", "taxonomy"],
    "02_pixelrnn": ["pixel", "drawing"],
    "03_pixelcnn": ["pixel", "drawing", "completion"],
    "04_autoencoder": [],
    "05_vae": ["latent", "factor"],
    "06_gan": ["game"],
    "07_gan_architectures": ["interpolation"],
    "08_markov_chains": ["gibbs"],
    "09_comparison": [],
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


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The server, and all explorers that were moved."""
    folder = tmp_path_factory.mktemp("course") / "notebooks"
    folder.mkdir()
    moved: list[tuple[str, ExplorerOnPage]] = []
    with lab(folder) as running:
        yield running, moved
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


def move_a_little(explorer: ExplorerOnPage) -> None:
    """What a lecturer does first: drag or click, and a step of a slider or two."""
    explorer.click(*CLICKS.get(explorer.name, [])[:1])
    if explorer.name in DRAGS:
        explorer.drag(*DRAGS[explorer.name][:3])
    for handle in explorer.handles()[:2]:
        explorer.push(handle)


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
            deck.frame.frame_element().screenshot(
                path=Path(SCREENSHOTS) / f"{lesson}_slide_{at + 1:02}.png"
            )
        for explorer in deck.explorers():
            move_a_little(explorer)
            moved.append(explorer)
        assert deck.place()["at"] == at
    assert seen == list(range(deck.place()["all"]))
    assert not faults, "\n".join(faults)
    return moved


def test_the_table_has_every_lesson_and_every_explorer():
    assert list(EXPLORERS) == [path.stem for path in LESSONS]
    shown = {f"{name}_explorer" for names in EXPLORERS.values() for name in names}
    assert shown == set(widgets.__all__)


def test_the_table_has_what_the_lessons_call():
    for path in LESSONS:
        source = (ROOT / "lessons" / f"{path.stem}.py").read_text()
        assert EXPLORERS[path.stem] == re.findall(r"^.*widgets\.(\w+)_explorer\(", source, re.M)


@needs_chromium
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_lesson_runs_and_presents_and_its_explorers_move(path, opened, record_property):
    running, moved = opened
    names = EXPLORERS[path.stem]
    with running.open(path) as notebook:
        notebook.run_all()
        explorers = notebook.explorers(len(names))
        assert [explorer.name for explorer in explorers] == names
        for explorer in explorers:
            explorer.root.scroll_into_view_if_needed()
            if SCREENSHOTS:
                shot = Path(SCREENSHOTS) / f"{path.stem}_{explorer.name}.png"
                explorer.root.screenshot(path=shot)
            move_everything(explorer)
            moved.append((path.stem[:2], explorer))
            record_property(f"{explorer.name}, median ms", round(explorer.median()))
        began = time.monotonic()
        shown = go_through(notebook.present(len(names)), path.stem)
        record_property("live deck, seconds", round(time.monotonic() - began))
        moved += [(f"{path.stem[:2]} live", explorer) for explorer in shown]
        assert [explorer.name for explorer in shown] == names
        assert notebook.complaints == []
