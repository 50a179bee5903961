"""The pictures of README.md: what each shows is made here, by what a reader would use, and nothing is drawn by hand.

    make pictures                      all of them, into docs/pictures/
    make pictures ARGS="-k slide"      one: explorer, slide or page

tests/test_pictures.py is what that runs.
"""

import io
import re
import shutil
from math import cos, hypot, pi, sin
from pathlib import Path

import nbformat
from PIL import Image

from course.grading.__main__ import main as grade
from course.grading.submissions import grade_id, is_answer
from course.publish import build, slides
from tests.lab_browser import Lab
from tests.page_browser import offline_page, url

ROOT = build.ROOT
FRAMES, PAUSE = 40, 120  # pictures of one round, and how many milliseconds each is shown

# ---------------------------------------------------------------- an explorer

# What the explorer of lesson VAE shows, trained as there; the lesson's own cells before it take most of its minute.
TRAINED = """
import torch

from course import explorers
from genlib.data import binarise, load
from genlib.training import fit
from genlib.variational import VAE

torch.set_num_threads(1)
torch.manual_seed(0)
train = binarise(load("digits"))
plane = VAE(train.shape, latent_dim=2)
fit(plane, train, epochs=60, batch_size=128, learning_rate=1e-2)
with torch.no_grad():
    codes = plane.posterior(train.floats()).sample()
"""
EXPLORER = "explorers.latent_explorer(plane.decode, codes[:400], train.labels[:400])"


def explorer_notebook() -> nbformat.NotebookNode:
    """The explorer of lesson VAE alone, with its model."""
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in (TRAINED, EXPLORER)]
    return nbformat.v4.new_notebook(cells=cells, metadata=build.NOTEBOOK_METADATA)


# On the picture, its sides 1 long and y downwards: a circle of radius 1.8 around (0, 0) on the map of codes.
MIDDLE, RADII = (0.301, 0.470), (0.1228, 0.240)


def places(number: int) -> list[tuple[float, float]]:
    """Places on the circle, one after the other, from the top and clockwise."""
    (x, y), (a, b) = MIDDLE, RADII
    turns = (2 * pi * i / number for i in range(number))
    return [(x + a * sin(turn), y - b * cos(turn)) for turn in turns]


def write_explorer(running: Lab, path: Path, number: int = FRAMES) -> None:
    """The explorer in JupyterLab, dragged once around the map of codes, and once around that of decodings."""
    notebook = path.with_name("explorer.ipynb")
    nbformat.write(explorer_notebook(), notebook)
    frames: list[Image.Image] = []
    try:
        with running.open(notebook) as opened:
            opened.run_all()
            (explorer,) = opened.explorers(1)

            def shoot() -> None:
                explorer.still()
                z1, z2 = (float(x.get_attribute("aria-valuenow")) for x in explorer.handles())
                assert 1.65 < hypot(z1, z2) < 1.95, f"({z1}, {z2}) is off the circle: set MIDDLE"
                box, inside = explorer.root.bounding_box(), explorer.picture.bounding_box()
                box["x"] -= 8  # labels begin at the very edge
                box["width"] = inside["x"] + inside["width"] - box["x"]  # no margin at the right
                frames.append(Image.open(io.BytesIO(opened.page.screenshot(clip=box))))

            start, *way = places(number)
            explorer.drag(start, *way, after=shoot)
            explorer.root.get_by_role("button", name="decodings").click()
            explorer.drag(start, *way, after=shoot)
            assert opened.complaints == []
    finally:
        notebook.unlink()
    write_animation(frames, path)


def write_animation(frames: list[Image.Image], path: Path) -> None:
    """An animated WebP that starts again at its end."""
    first, *others = (frame.convert("RGB") for frame in frames)
    first.save(
        path, save_all=True, append_images=others, duration=PAUSE, loop=0, quality=75, method=6
    )


# ---------------------------------------------------------------- a slide

DECK, HEADING = "pixelcnn", "A wedge is never read"
# to the slide of this heading that has a picture, with all that comes up on it
TURN = """heading => {
    const slides = [...document.querySelectorAll(".reveal .slides section")]
        .filter(slide => !slide.querySelector("section"));
    const words = slide => slide.querySelector("h1, h2, h3")?.textContent.trim() ?? "";
    const chosen = slides.find(slide => words(slide).startsWith(heading) && slide.querySelector("img"));
    if (!chosen) return false;
    const {h, v} = Reveal.getIndices(chosen);
    Reveal.slide(h, v);
    while (Reveal.availableFragments().next) Reveal.nextFragment();
    return true;
}"""


def write_slide(path: Path) -> None:
    """A slide with a figure, of the deck that `make slides` writes, in a browser with no network."""
    out = path.with_name(f".{path.stem}")
    try:
        assert slides.main(["--out", str(out), DECK]) == 0
        (deck,) = out.glob("*.html")
        with offline_page() as page:
            page.goto(url(deck))
            page.wait_for_function("window.Reveal && Reveal.isReady()")
            assert page.evaluate(TURN, HEADING), (
                f"deck {DECK} has no slide {HEADING!r} with a picture: choose another in tests/pictures.py"
            )
            page.wait_for_timeout(1500)  # the slide has moved to its place, formulas are set
            page.screenshot(path=path)
            assert not page.complaints
    finally:
        shutil.rmtree(out, ignore_errors=True)


# ---------------------------------------------------------------- a graded page

PROBLEM_SET, STUDENT = "ps2_vae", "student_07"
# task -> what stands in the model answer, and the mistake in its place
MISTAKES = {
    "kl": (
        "    each = math.log(PRIOR_SCALE) - log_std + ",
        "    each = math.log(PRIOR_SCALE) - 0.5 * var.log() + ",
    ),
    "posterior": (
        "    return mean, torch.linalg.inv(precision), -0.5 * precision.diagonal().log()",
        "    return mean, torch.linalg.inv(precision), 0.5 * torch.linalg.inv(precision).diagonal().log()",
    ),
    "importance_bound": (
        "    return torch.logsumexp(log_likelihood + log_prior - log_q, dim=0) - math.log(len(z))",
        "    return torch.exp(log_likelihood + log_prior - log_q).mean(dim=0).log()",
    ),
}


def with_mistakes() -> nbformat.NotebookNode:
    """The problem set as somebody hands it in: the model answers, three of them with a mistake."""
    (lesson,) = build.find_lessons(ROOT, [PROBLEM_SET])
    solved = build.read_source(ROOT, lesson)
    nb = build.student_version(solved, lesson)
    for cell, answer in zip(nb.cells, solved.cells, strict=True):
        if is_answer(cell):
            cell.source = re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", answer.source)
            right, wrong = MISTAKES.get((grade_id(cell) or "").removesuffix("-answer"), ("", ""))
            assert right in cell.source, f"the model answer has no line {right!r}"
            cell.source = cell.source.replace(right, wrong) if right else cell.source
    return nb


def write_page(path: Path) -> None:
    """The top of the page that `make grade` writes for a student."""
    out = path.with_name(f".{path.stem}")
    try:
        (out / "handed_in").mkdir(parents=True)
        nbformat.write(with_mistakes(), out / "handed_in" / f"{STUDENT}.ipynb")
        assert grade([PROBLEM_SET, str(out / "handed_in"), "--out", str(out), "--jobs", "1"]) == 0
        with offline_page(width=900, height=1400) as page:
            page.goto(url(out / PROBLEM_SET / "feedback" / f"{STUDENT}.html"))
            table = page.locator("table").bounding_box()
            height = table["y"] + table["height"] + 24
            page.screenshot(path=path, clip={"x": 0, "y": 0, "width": 900, "height": height})
            assert not page.complaints
    finally:
        shutil.rmtree(out, ignore_errors=True)
