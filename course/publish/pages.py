"""What the slides and the book have in common: the stored notebooks, made fit to be read on a page."""

import ast
import importlib.util
import inspect
import re
from pathlib import Path

import nbformat

from course import syllabus
from course.publish import build, first_cell
from genlib import plots

FIGURE = "image/png"
COURSE = "Deep generative models"


def lectures(root: Path = build.ROOT) -> list[build.Lesson]:
    """Every lesson, without exercises and problem sets."""
    return [lesson for lesson in build.find_lessons(root) if lesson.student is None]


def decks(root: Path = build.ROOT) -> list[build.Lesson]:
    """The lessons that are shown to a class: those with a week in the syllabus."""
    shown = {entry.notebook for entry in syllabus.lessons(root) if entry.weeks}
    return [lesson for lesson in lectures(root) if lesson.name in shown]


def exercises(root: Path = build.ROOT) -> list[build.Lesson]:
    return [x for x in build.find_lessons(root) if x.student is not None and not x.release]


def problem_sets(root: Path = build.ROOT) -> list[build.Lesson]:
    return [lesson for lesson in build.find_lessons(root) if lesson.release]


def read(path: Path) -> nbformat.NotebookNode:
    """A stored notebook, each of its figures with a text that stands for it.

    A lesson's author writes it in the line of the cell, `# %% alt="..."`. Without one, an explorer says what it is,
    and otherwise the call that draws the figure does.
    """
    if not path.exists():
        raise build.BuildError(f"{path} is missing. Run: make lessons LESSON={path.stem}")
    nb = nbformat.read(path, as_version=4)
    heading = path.stem
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            titles = re.findall(r"^#+ +(.+)$", cell.source, re.MULTILINE)
            heading = plain(titles[-1]) if titles else heading
        for output in cell.get("outputs", []):
            if FIGURE in output.get("data", {}):
                stored = output.setdefault("metadata", {}).get(FIGURE, {})
                alt = cell.metadata.get("alt") or stored.get("alt")
                alt = alt or about_figure(cell.source, heading)
                output.metadata[FIGURE] = {**stored, "alt": alt}
    return nb


def title_of(nb: nbformat.NotebookNode) -> str:
    """The text of its first heading."""
    for cell in nb.cells:
        found = re.search(r"^# +(.+)$", cell.source, re.MULTILINE)
        if cell.cell_type == "markdown" and found:
            return plain(found.group(1))
    raise build.BuildError("a notebook has no title: begin it with a line `# N. Title`")


def about_figure(source: str, heading: str) -> str:
    """What a figure shows, in words: what kind it is, as its function says, and the names in the call."""
    calls = [
        node
        for node in ast.walk(
            ast.parse(re.sub(r"^[%!].*$", "", first_cell.without(source), flags=re.MULTILINE))
        )
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "plots"
    ]
    if not calls:
        return f"{heading}: a figure drawn by the code above it."
    call = calls[-1]
    function = getattr(plots, call.func.attr)
    kind = (inspect.getdoc(function) or "a figure.").splitlines()[0].split(": ")[0].rstrip(".")
    names = [
        node.value
        for node in ast.walk(call)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ]
    keys = [
        key.value
        for node in ast.walk(call)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    ]
    shown = list(dict.fromkeys(str(name) for name in [*keys, *names]))
    words = f" ({', '.join(shown)})" if shown else ""
    return f"{heading}: {kind[0].lower()}{kind[1:]}{words}."


def plain(text: str) -> str:
    """Markdown without its marks, for a title or a text that stands for a picture."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"[*`]|(?<!\\)\$", "", text).strip()


def folder_of(package: str, *inside: str) -> Path:
    """Where an installed package keeps something.

    Raises:
        BuildError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent.joinpath(*inside) if spec and spec.origin else None
    if path is None or not path.exists():
        raise build.BuildError(f"the package {package} is missing or incomplete: run `make setup`")
    return path


def mathjax() -> Path:
    """One script that sets TeX as SVG: it needs no font files, so it works wherever the page lies."""
    return folder_of("sphinx-mathjax-offline", "static", "mathjax", "tex-svg.js")
