"""Make the website of the course, from the executed notebooks and genlib's docstrings: build/book/html/index.html.

    python -m course.publish.book [--out build/book]

docs/book/ holds what is written for it; everything else is put together here, into build/book/source, and given to
Sphinx, which takes every warning for an error. Nothing on a page is fetched from the network.
"""

import argparse
import html
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import genlib
from course import syllabus
from course.checking.step import Step
from course.publish import build, dark, glossary, pages
from course.publish.student import imported
from genlib.taxonomy import TREE, Branch, Leaf

WRITTEN = build.ROOT / "docs" / "book"
ACROSS = 3  # what stands at no leaf, in a row below the tree
BRANCH = "main"  # of the repository, which links to it lead to


# ---------------------------------------------------------------- the map


def course_map(entries: Sequence[syllabus.Entry]) -> str:
    """The tree of models as SVG; its leaves link to the lessons that build them.

    Args:
        entries: of the syllabus.
    """
    wide, high, step, left = 164, 36, 190, 4
    boxes: list[str] = []
    lines: list[str] = []
    bottom = 0  # of the leaves so far

    def draw(node: Branch | Leaf, depth: int) -> float:
        nonlocal bottom
        x = left + depth * step
        if isinstance(node, Leaf):
            lessons = [entry for entry in entries if entry.family and builds(entry, node)]
            y = bottom + 36
            bottom += 62 + 21 * max(2, len(lessons))
            boxes.append(leaf_box(node, left + 3 * step, y, lessons))  # all in one column
        else:
            ends = [(draw(child, depth + 1), child) for child in node.children]
            y = sum(end for end, _ in ends) / len(ends)
            boxes.append(
                f'<g class="branch"><rect x="{x}" y="{y - high / 2}" width="{wide}" height="{high}" '
                f'rx="6"/><text x="{x + wide / 2}" y="{y + 5}" text-anchor="middle">'
                f"{html.escape(node.name)}</text></g>"
            )
            for end, child in ends:
                start, stop = x + wide, left + (3 if isinstance(child, Leaf) else depth + 1) * step
                middle = start + 17
                lines.append(f'<path class="line" d="M{start} {y} H{middle} V{end} H{stop}"/>')
        return y

    draw(TREE, 0)
    beside = [entry for entry in entries if entry.weeks and not entry.family]
    for i, entry in enumerate(beside):
        x, y = left + i % ACROSS * 330, bottom + 42 + i // ACROSS * 48
        words = html.escape(entry.beside or entry.question)
        boxes.append(f'{link(entry, x, y)}<text class="small" x="{x}" y="{y + 21}">{words}</text>')
    size = f"0 0 {left + 3 * step + 434} {bottom + 26 + 48 * -(-len(beside) // ACROSS)}"
    return (
        f'<svg class="course-map" viewBox="{size}" xmlns="http://www.w3.org/2000/svg" role="group" '
        f'aria-label="The tree of generative models; each leaf links to its lessons">'
        f"{''.join(lines)}{''.join(boxes)}</svg>"
    )


def course_list(entries: Sequence[syllabus.Entry]) -> str:
    """The same as a list, for a screen on which the map would be too small to read and to touch."""

    def item(node: Branch | Leaf) -> str:
        if isinstance(node, Branch):
            return f"<li>{html.escape(node.name)}<ul>{''.join(map(item, node.children))}</ul></li>"
        lessons = (entry for entry in entries if entry.family and builds(entry, node))
        links = "".join(f"<li>{anchor(entry)}</li>" for entry in lessons)
        words = f"<strong>{html.escape(node.name)}</strong>, p(x): {html.escape(node.density)}"
        return f"<li>{words}<ul>{links}</ul></li>"

    beside = (entry for entry in entries if entry.weeks and not entry.family)
    others = "".join(
        f"<li>{anchor(entry)}: {html.escape(entry.beside or entry.question)}</li>"
        for entry in beside
    )
    return f'<ul class="course-list">{"".join(map(item, TREE.children))}{others}</ul>'


def anchor(entry: syllabus.Entry) -> str:
    return f'<a href="lessons/{entry.notebook}.html">{html.escape(entry.label)}</a>'


def builds(entry: syllabus.Entry, leaf: Leaf) -> bool:
    """Whether a lesson builds the models of a leaf."""
    return leaf.classes[0].__module__.startswith(f"genlib.{entry.family}.")


def leaf_box(leaf: Leaf, x: float, y: float, lessons: Sequence[syllabus.Entry]) -> str:
    names = ", ".join(model.__name__ for model in leaf.classes)
    links = "".join(link(entry, x + 12, y + 33 + 21 * i) for i, entry in enumerate(lessons))
    return (
        f'<g class="leaf"><rect x="{x}" y="{y - 32}" width="430" height="{54 + 21 * len(lessons)}" rx="6"/>'
        f'<text x="{x + 12}" y="{y - 11}"><tspan class="name">{html.escape(leaf.name)}</tspan> · p(x): '
        f"{html.escape(leaf.density)}</text>"
        f'<text class="small" x="{x + 12}" y="{y + 10}">{names}</text>{links}</g>'
    )


def link(entry: syllabus.Entry, x: float, y: float) -> str:
    text = f'<text x="{x}" y="{y}">{html.escape(entry.label)}</text>'
    return f'<a href="lessons/{entry.notebook}.html">{text}</a>'


# ---------------------------------------------------------------- notebooks


def places(root: Path) -> dict[Path, str]:
    """Where the forms of every notebook stand in the book, by their path in the course."""
    where: dict[Path, str] = {}
    for lesson in pages.lectures(root):
        where[lesson.executed] = f"lessons/{lesson.name}.ipynb"
    for lesson in pages.exercises(root):
        where[lesson.executed] = where[lesson.student] = f"exercises/{lesson.name}.ipynb"
    for lesson in pages.problem_sets(root):
        where[lesson.student] = f"problem_sets/{lesson.name}.ipynb"
    return where


def redirect(text: str, at: Path, where: dict[Path, str]) -> str:
    """Links between files of the course become links between pages; those that leave the book become words.

    Args:
        text: Markdown.
        at: the file it stands in, relative to the course.
        where: what `places` says.
    """

    def new(match: re.Match) -> str:
        words, target, anchor = match.groups()
        if "://" in target or not target:
            return match.group(0)
        path = Path(os.path.normpath(at.parent / target))
        if path not in where:
            return words
        here = Path(where.get(at, "index.md")).parent
        return f"[{words}]({os.path.relpath(where[path], here)}{anchor or ''})"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s#]*)(#[^)\s]*)?\)", new, text)


def mark_figures(nb: NotebookNode) -> None:
    """Tell MyST-NB the texts that stand for the figures."""
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if pages.FIGURE in output.get("data", {}):
                cell.metadata["mystnb"] = {"image": {"alt": output.metadata[pages.FIGURE]["alt"]}}


def with_answers(student: NotebookNode, solved: NotebookNode) -> NotebookNode:
    """The students' notebook; below each gap the answer, and below each cell what it gives, folded."""
    if len(student.cells) != len(solved.cells):
        raise build.BuildError(
            "exercises and solutions are of different builds: run `make lessons`"
        )
    cells = []
    for gap, answer in zip(student.cells, solved.cells, strict=True):
        cells.append(gap)
        if gap.cell_type != "code":
            continue
        if gap.source != answer.source:
            answer.metadata["tags"] = ["hide-cell"]
            answer.metadata.setdefault("mystnb", {})["code_prompt_show"] = "Show the answer"
            answer.metadata["mystnb"]["code_prompt_hide"] = "Hide the answer"
            answer.source = re.sub(r"\n? *### (BEGIN|END) SOLUTION", "", answer.source)
            answer.id = f"{gap.id}-answer"
            cells.append(answer)
        elif answer.outputs:
            gap.outputs, gap.execution_count = answer.outputs, answer.execution_count
            gap.metadata["tags"] = ["hide-output"]
            shown = {"code_prompt_show": "Show what it prints", "code_prompt_hide": "Hide it"}
            gap.metadata["mystnb"] = {**answer.metadata.get("mystnb", {}), **shown}
    student.cells = cells
    return student


def ways_to_open(at: Path, repository: str) -> str:
    """Links below the title: to the notebook itself and, where the course has an address, to where it can be run.

    Args:
        at: the notebook, relative to the course.
        repository: the course's address; empty if it has none.

    Example:
        >>> print(ways_to_open(Path("notebooks/02_toy.ipynb"), ""))
        <p class="ways-to-open"><a href="../notebooks/02_toy.ipynb" download>Download the notebook</a></p>
    """
    links = [f'<a href="../{at.as_posix()}" download>Download the notebook</a>']
    path, name = urllib.parse.quote(at.as_posix()), repository.removeprefix("https://github.com/")
    # those two know GitHub, and a problem set has no cell that installs the course
    if name != repository and "assignments" not in at.parts:
        colab = f"https://colab.research.google.com/github/{name}/blob/{BRANCH}/{path}"
        binder = f"https://mybinder.org/v2/gh/{name}/{BRANCH}?labpath={path}"
        links += [f'<a href="{colab}">Open on Colab</a>', f'<a href="{binder}">Open on Binder</a>']
    if repository:
        links.append(f'<a href="{repository}/blob/{BRANCH}/{path}">See it in the repository</a>')
    return f'<p class="ways-to-open">{" · ".join(links)}</p>'


def write_notebook(
    nb: NotebookNode, at: Path, where: dict[Path, str], root: Path, source: Path
) -> None:
    """A page, and beside it the notebook at that place of the course, to be downloaded."""
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = redirect(cell.source, at, where)
    title, below, text = nb.cells[0].source.partition("\n")
    ways = ways_to_open(at, syllabus.repository(root))
    nb.cells[0].source = f"{title}\n\n{ways}\n{below}{text}"
    path = source / where[at]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, path)
    download = source / "_extra" / at
    download.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / at, download)


def write_notebooks(root: Path, source: Path) -> None:
    """All lessons, exercises and problem sets."""
    where = places(root)
    for lesson in pages.lectures(root):
        nb = pages.read(root / lesson.executed)
        mark_figures(nb)
        write_notebook(nb, lesson.executed, where, root, source)
    for lesson in pages.exercises(root):
        student, solved = pages.read(root / lesson.student), pages.read(root / lesson.executed)
        mark_figures(solved)
        write_notebook(with_answers(student, solved), lesson.student, where, root, source)
    for lesson in pages.problem_sets(root):
        nb = pages.read(root / lesson.student)
        write_notebook(nb, lesson.student, where, root, source)


# ---------------------------------------------------------------- the other pages


def contents(title: str, text: str, names: list[str]) -> str:
    listed = "\n".join(names)
    return f"# {title}\n\n{text}\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"


def write_contents(root: Path, source: Path) -> None:
    for folder, title, text, lessons in (
        (
            "lessons",
            "Lessons",
            "One question each, in the order of the course.",
            pages.lectures(root),
        ),
        (
            "exercises",
            "Exercises",
            "Small steps, and a check after each. Answers and outputs are folded: try first.",
            pages.exercises(root),
        ),
        (
            "problem_sets",
            "Problem sets",
            "What students get. They are graded by tests that are not shown.",
            pages.problem_sets(root),
        ),
    ):
        (source / folder).mkdir(parents=True, exist_ok=True)
        page = contents(title, text, [lesson.name for lesson in lessons])
        (source / folder / "index.md").write_text(page, encoding="utf-8")


def public_modules() -> list[str]:
    """Names of all modules that a notebook may import, in alphabetical order, packages first."""
    genlibs = (module.name for module in pkgutil.walk_packages(genlib.__path__, "genlib."))
    files = (path for path in imported(build.ROOT) if path.suffix == ".py")
    written = (path for path in files if (build.ROOT / path).read_text("utf-8").strip())
    courses = (".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in written)
    names = {"genlib", *genlibs, *courses} - {"genlib.__main__"}
    # the command line says itself what it takes: --help
    return sorted(name for name in names if "._" not in name and ".cli" not in name)


def members(name: str) -> str:
    """What documents all that a module itself defines, and not what it takes from others."""
    module = importlib.import_module(name)
    own = {
        key: value
        for key, value in vars(module).items()
        if not key.startswith("_")
        and getattr(value, "__module__", None) == name
        and callable(value)
    }
    steps = [key for key, value in own.items() if isinstance(value, Step)]
    others = ", ".join(key for key in own if key not in steps)
    # a check stands for a function, which Sphinx does not see by itself
    functions = "".join(f"\n.. autofunction:: {name}.{key}\n" for key in steps)
    return (f"   :members: {others}\n" if others else "") + functions


def write_reference(source: Path) -> None:
    """A page for each module that stands directly in a package, its own modules below each other on it."""
    (source / "api").mkdir(parents=True, exist_ok=True)
    families: dict[str, list[str]] = {}
    for name in public_modules():
        families.setdefault(".".join(name.split(".")[:2]), []).append(name)
    for family, names in families.items():
        page = [f"# `{family}`\n"]
        for name in names:
            if name != family:
                page.append(f"## `{name}`\n")
            page.append(f"```{{eval-rst}}\n.. automodule:: {name}\n{members(name)}```\n")
        (source / "api" / f"{family}.md").write_text("\n".join(page), encoding="utf-8")
    listed = [name for name in families if name != "genlib"]
    text = (
        "What `genlib` has, and of `course` what notebooks import, from their docstrings. "
        "A name promises: `log_prob` is exact, `elbo` is a bound, `loss` is a "
        "scalar to minimise, `sample` draws without gradients. Images are (B, C, H, W) in [0, 1]; log probabilities "
        "are in nats, one number an image."
    )
    page = contents("Reference", text, ["genlib", *listed])
    (source / "api" / "index.md").write_text(page, encoding="utf-8")


def include(text: str, root: Path, where: dict[Path, str]) -> str:
    """A page with docs/NAME.md, without its title, in place of a line <!-- NAME -->, for every such file.

    Args:
        text: of the page, which stands at the top of the book.
        root: of the course.
        where: what `places` says.
    """
    for path in sorted((root / "docs").glob("*.md")):
        mark = f"<!-- {path.stem} -->"
        if mark in text:
            section = re.sub(r"\A# .*\n+", "", path.read_text(encoding="utf-8"))
            section = redirect(section, path.relative_to(root), where)
            text = text.replace(mark, section.rstrip())
    return text


def write_source(root: Path, source: Path) -> None:
    """Everything that Sphinx reads."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(root / "docs" / "book", source)
    write_notebooks(root, source)
    write_contents(root, source)
    write_reference(source)
    shutil.copy(pages.mathjax(), source / "_static" / "tex-svg.js")
    shutil.copy(root / "docs" / "mnist_samples.png", source)
    where, numbers = places(root), syllabus.marks(root)
    entries = syllabus.lessons(root)
    for page in source.glob("*.md"):
        text = include(page.read_text(encoding="utf-8"), root, where)
        text = syllabus.fill(text, numbers)
        text = text.replace("<!-- map -->", course_map(entries) + course_list(entries))
        page.write_text(text, encoding="utf-8")
    (source / "glossary.md").write_text(glossary.glossary(root), encoding="utf-8")


def run_sphinx(out: Path, root: Path) -> int:
    """Build out/html from out/source; the exit code of Sphinx."""
    shutil.rmtree(out / "html", ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-W", "--keep-going"]
    folders = ["-d", str(out / "doctrees"), str(out / "source"), str(out / "html")]
    env = {**os.environ, "REPOSITORY": syllabus.repository(root)}
    code = subprocess.run([*command, *folders], check=False, cwd=build.ROOT, env=env).returncode
    for figure in sorted((out / "html" / "_images").glob("*.png")):
        dark.twin(figure).write_bytes(dark.for_dark_page(figure.read_bytes()))
    return code


def make_book(out: Path, root: Path = build.ROOT) -> int:
    """Write out/source and build out/html; the exit code of Sphinx."""
    write_source(root, out / "source")
    return run_sphinx(out, root)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=build.ROOT / "build" / "book")
    args = parser.parse_args(argv)
    try:
        code = make_book(args.out.resolve())
    except build.BuildError as error:
        print(error, file=sys.stderr)
        return 1
    if code == 0:
        print(args.out / "html" / "index.html")
    return code


if __name__ == "__main__":
    sys.exit(main())
