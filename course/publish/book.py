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
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import genlib
from benchmarks import scale_page
from course.publish import build, glossary, pages
from genlib.taxonomy import TREE, Branch, Leaf

WRITTEN = build.ROOT / "docs" / "book"
# which lessons build the models of a family
FAMILIES = {
    "genlib.autoregressive": ("02_pixelrnn", "03_pixelcnn"),
    "genlib.variational": ("05_vae",),
    "genlib.markov": ("08_markov_chains",),
    "genlib.adversarial": ("06_gan", "07_gan_architectures"),
}
# what stands at no leaf
BESIDE = {
    "01_taxonomy": "the tree itself, every leaf run",
    "04_autoencoder": "codes, without a distribution of them",
    "09_comparison": "every model on the same data",
}
# they hold the answers to the problem sets
NOT_SHOWN = ("course.assignments", "genlib.__main__")


# ---------------------------------------------------------------- the map


def course_map(titles: dict[str, str]) -> str:
    """The tree of models as SVG; its leaves link to lessons.

    Args:
        titles: of the lessons, by name.
    """
    wide, high, step, row = 164, 36, 190, 104
    boxes: list[str] = []
    lines: list[str] = []
    next_row = iter(range(100))

    def draw(node: Branch | Leaf, depth: int) -> float:
        x = 4 + depth * step
        if isinstance(node, Leaf):
            x = 4 + 3 * step  # all leaves in one column
            y = 36 + next(next_row) * row
            boxes.append(leaf_box(node, x, y))
        else:
            ends = [(draw(child, depth + 1), child) for child in node.children]
            y = sum(end for end, _ in ends) / len(ends)
            boxes.append(
                f'<g class="branch"><rect x="{x}" y="{y - high / 2}" width="{wide}" height="{high}" '
                f'rx="6"/><text x="{x + wide / 2}" y="{y + 5}" text-anchor="middle">'
                f"{html.escape(node.name)}</text></g>"
            )
            for end, child in ends:
                start, stop = x + wide, 4 + (3 if isinstance(child, Leaf) else depth + 1) * step
                middle = start + 17
                lines.append(f'<path class="line" d="M{start} {y} H{middle} V{end} H{stop}"/>')
        return y

    def leaf_box(leaf: Leaf, x: float, y: float) -> str:
        names = ", ".join(model.__name__ for model in leaf.classes)
        family = next(f for f in FAMILIES if leaf.classes[0].__module__.startswith(f + "."))
        links = "".join(
            link(lesson, x + 12, y + 33 + 21 * i, titles)
            for i, lesson in enumerate(FAMILIES[family])
        )
        below = 4 + 21 * len(FAMILIES[family])
        return (
            f'<g class="leaf"><rect x="{x}" y="{y - 32}" width="420" height="{50 + below}" rx="6"/>'
            f'<text x="{x + 12}" y="{y - 11}"><tspan class="name">{html.escape(leaf.name)}</tspan> · p(x): '
            f"{html.escape(leaf.density)}</text>"
            f'<text class="small" x="{x + 12}" y="{y + 10}">{names}</text>{links}</g>'
        )

    draw(TREE, 0)
    bottom = 36 + next(next_row) * row - 10
    for i, (lesson, words) in enumerate(BESIDE.items()):
        x = 4 + i * 330
        boxes.append(
            f'{link(lesson, x, bottom + 16, titles)}<text class="small" x="{x}" y="{bottom + 37}">'
            f"{html.escape(words)}</text>"
        )
    size = f"0 0 {4 + 3 * step + 424} {bottom + 48}"
    return (
        f'<svg class="course-map" viewBox="{size}" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="The tree of generative models; each leaf links to its lessons">'
        f"{''.join(lines)}{''.join(boxes)}</svg>"
    )


def link(lesson: str, x: float, y: float, titles: dict[str, str]) -> str:
    number = lesson.split("_")[0]
    words = f"{number} {re.sub(r'^[0-9]+[.] ', '', titles[lesson])}"
    return f'<a href="lessons/{lesson}.html"><text x="{x}" y="{y}">{html.escape(words)}</text></a>'


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


def write_notebook(nb: NotebookNode, at: Path, where: dict[Path, str], source: Path) -> None:
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = redirect(cell.source, at, where)
    path = source / where[at]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, path)


def write_notebooks(root: Path, source: Path) -> dict[str, str]:
    """All lessons, exercises and problem sets; their titles by name."""
    where, titles = places(root), {}
    for lesson in pages.lectures(root):
        nb = pages.read(root / lesson.executed)
        mark_figures(nb)
        titles[lesson.name] = pages.title_of(nb)
        write_notebook(nb, lesson.executed, where, source)
    for lesson in pages.exercises(root):
        student, solved = pages.read(root / lesson.student), pages.read(root / lesson.executed)
        mark_figures(solved)
        titles[lesson.name] = pages.title_of(student)
        write_notebook(with_answers(student, solved), lesson.student, where, source)
    for lesson in pages.problem_sets(root):
        nb = pages.read(root / lesson.student)
        titles[lesson.name] = pages.title_of(nb)
        write_notebook(nb, lesson.student, where, source)
    return titles


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
    """Names of all modules that a reader may import, in alphabetical order, packages first."""
    names = ["genlib"]
    for module in pkgutil.walk_packages(genlib.__path__, "genlib."):
        if not module.name.startswith(NOT_SHOWN) and "._" not in module.name:
            names.append(module.name)
    return sorted(names)


def members(name: str) -> str:
    """The option that documents what a module itself defines, and not what it takes from others."""
    module = importlib.import_module(name)
    own = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and getattr(value, "__module__", None) == name
        and callable(value)
    ]
    return f"   :members: {', '.join(own)}\n" if own else ""


def write_reference(source: Path) -> None:
    """A page for each module that stands directly in genlib, its own modules below each other on it."""
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
        "What `genlib` has, from its docstrings. A name promises: `log_prob` is exact, `elbo` is a bound, `loss` is a "
        "scalar to minimise, `sample` draws without gradients. Images are (B, C, H, W) in [0, 1]; log probabilities "
        "are in nats, one number an image."
    )
    page = contents("Reference", text, ["genlib", *listed])
    (source / "api" / "index.md").write_text(page, encoding="utf-8")


def grading_section(readme: str) -> str:
    """What README.md says about grading between the marks <!-- grading -->, or under such a heading."""
    found = re.search(r"<!-- grading -->\n(.*?)<!-- /grading -->", readme, re.DOTALL) or re.search(
        r"^(## [^\n]*[Gg]rad[^\n]*\n.*?)(?=^## |\Z)", readme, re.DOTALL | re.MULTILINE
    )
    return re.sub(r"^## .*\n", "", found.group(1).strip() + "\n", count=1) if found else ""


def write_source(root: Path, source: Path) -> None:
    """Everything that Sphinx reads."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(root / "docs" / "book", source)
    titles = write_notebooks(root, source)
    write_contents(root, source)
    write_reference(source)
    (source / "glossary.md").write_text(glossary.glossary(root), encoding="utf-8")
    shutil.copy(pages.mathjax(), source / "_static" / "tex-svg.js")
    first = source / "index.md"
    text = first.read_text(encoding="utf-8")
    first.write_text(text.replace("<!-- map -->", course_map(titles)), encoding="utf-8")
    grade = source / "grade.md"
    readme = (root / "README.md").read_text(encoding="utf-8")
    section = redirect(grading_section(readme), Path("README.md"), places(root))
    text = grade.read_text(encoding="utf-8").replace("<!-- grading -->", section)
    grade.write_text(text, encoding="utf-8")
    scale = source / "scale.md"
    text = scale_page.fill(scale.read_text(encoding="utf-8"), root / "docs" / "results")
    scale.write_text(text, encoding="utf-8")


def make_book(out: Path, root: Path = build.ROOT) -> int:
    """Write out/source and build out/html; the exit code of Sphinx."""
    write_source(root, out / "source")
    shutil.rmtree(out / "html", ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-W", "--keep-going"]
    folders = ["-d", str(out / "doctrees"), str(out / "source"), str(out / "html")]
    return subprocess.run([*command, *folders], check=False, cwd=root).returncode


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
