"""Run the lessons that offer DATASET on the other data they name, a small part of each.

    make datasets [LESSON=pixelcnn] [ARGS="--data strokes --images 500"]

A cell that fails there is a fault of the lesson, and so is a printed claim that reads False there and not in the
stored notebook. What a lesson claims of its own data alone, it asks of no other: `if DATASET == "digits":`.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat

from course.publish import build, pages
from genlib.data import NAMES

OFFER = re.compile(r'^(DATASET\b[^=\n]*= )"(\w+)"(.*)$', re.MULTILINE)
FALSE = re.compile(r"^.*: False\b.*$", re.MULTILINE)
# before anything else is imported: a lesson that asks for all images of the other data gets no more than so many
FEW = """\
import genlib.data


def few(name, split="train", *, size=None, root=None, load=genlib.data.load):
    if name != "{other}":
        return load(name, split, size=size, root=root)
    size = size or {images}
    if name == "strokes":
        return load(name, split, size=size, root=root)
    return load(name, split, root=root)[:size]


genlib.data.load = few"""


def offered(nb: nbformat.NotebookNode) -> tuple[str, ...]:
    """The other data sets that the line of a lesson's `DATASET` names; none if it has no such line.

    Example:
        >>> cell = nbformat.v4.new_code_cell('DATASET = "digits"  # or "strokes"')
        >>> offered(nbformat.v4.new_notebook(cells=[cell]))
        ('strokes',)
    """
    for cell in nb.cells:
        found = OFFER.search(cell.source) if cell.cell_type == "code" else None
        if found:
            named = re.findall(r'"(\w+)"', found[3])
            return tuple(name for name in named if name in NAMES)
    return ()


def on(nb: nbformat.NotebookNode, name: str, images: int) -> None:
    """Change a lesson so that it runs on other data."""
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.source = OFFER.sub(rf'\g<1>"{name}"\g<3>', cell.source)
    nb.cells.insert(0, nbformat.v4.new_code_cell(FEW.format(other=name, images=images)))


def printed(nb: nbformat.NotebookNode) -> str:
    """What all cells have printed."""
    outputs = (output for cell in nb.cells for output in cell.get("outputs", ()))
    return "\n".join(output.text for output in outputs if output.output_type == "stream")


def false_claims(nb: nbformat.NotebookNode) -> set[str]:
    """The printed lines that read False."""
    return {line.strip() for line in FALSE.findall(printed(nb))}


def runs(root: Path, lessons: Sequence[str], names: Sequence[str], images: int) -> Iterator[str]:
    """One line for each lesson and data set; lines about faults begin with FAILED."""
    for lesson in build.choose(pages.lectures(root), lessons):
        for name in offered(build.read_source(root, lesson)):
            if name not in names:
                continue
            nb = build.read_source(root, lesson)
            on(nb, name, images)
            try:
                build.execute(nb, root, lesson)
            except build.BuildError as error:
                yield f"FAILED {lesson.name} on {name}: {error}"
                continue
            stored = nbformat.read(root / lesson.executed, as_version=4)
            if wrong := false_claims(nb) - false_claims(stored):
                yield f"FAILED {lesson.name} on {name}: {'; '.join(sorted(wrong))}"
            else:
                yield f"{lesson.name} on {name}: every claim holds"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("lesson", nargs="*", help="run those whose name starts so (default: all)")
    parser.add_argument("--data", nargs="+", default=["digits", "strokes", "mnist"], choices=NAMES)
    parser.add_argument("--images", type=int, default=400, help="where a lesson asks for all (400)")
    args = parser.parse_args(argv)
    failed = 0
    try:
        for line in runs(build.ROOT, args.lesson, args.data, args.images):
            print(line, flush=True)
            failed += line.startswith("FAILED")
    except build.BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
