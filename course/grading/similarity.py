"""Which submissions read alike: similar.csv, pairs for a person to judge. It costs no points.

Code is compared by its fingerprints (Schleimer, Wilkerson and Aiken, Winnowing: Local Algorithms for Document
Fingerprinting, SIGMOD 2003) after the names that a student gave, literals, comments and layout are taken out;
written answers by their words. What the course gives, and what many write, does not count. copydetect, a library
for the same, is not used: it has had no release since March 2024, and compares files of code, so that tasks, answers
moved to another cell, and prose would all be written around it.
"""

import ast
import csv
import io
import itertools
import keyword
import re
import tokenize
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course.grading.course import Course
from course.grading.feedback import is_theirs
from course.grading.submissions import grade_id
from course.publish.build import ROOT, write_text

GRAM = {"code": 10, "markdown": 5}  # tokens of code, words of text in a fingerprint
WINDOW = 4  # of so many neighbouring fingerprints one is kept
FEWEST = 16  # fingerprints: in a shorter answer there is one way to say it
SHARE = (
    0.5  # of an answer that stands in another submission too: tests/test_similarity.py measures it
)
COMMON = 10  # submissions, or a quarter of them: what more have is common knowledge
LONGEST = 50_000  # characters of a cell
OWN = "own cells"  # all that a student added
Prints = Mapping[str, set[int]]  # by task


class Plain(ast.NodeTransformer):
    """Code without the names that it gives itself, without literals and docstrings."""

    def __init__(self, tree: ast.AST):
        nodes = list(ast.walk(tree))
        self.names = {
            x.id for x in nodes if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)
        }
        self.names |= {x.arg for x in nodes if isinstance(x, ast.arg)}
        self.names |= {x.name for x in nodes if isinstance(x, ast.FunctionDef | ast.ClassDef)}
        self.fields = {
            x.attr for x in nodes if isinstance(x, ast.Attribute) and isinstance(x.ctx, ast.Store)
        }
        classes = [x for x in nodes if isinstance(x, ast.ClassDef)]
        self.fields |= {x.name for y in classes for x in y.body if isinstance(x, ast.FunctionDef)}

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Name) and node.id in self.names:
            node.id = "v"
        elif isinstance(node, ast.arg):
            node.arg, node.annotation = "v", None
        elif isinstance(node, ast.Attribute) and node.attr in self.fields:
            node.attr = "v"
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.name, node.decorator_list = "v", []
            if isinstance(node, ast.FunctionDef):
                node.returns = None
        elif isinstance(node, ast.Constant) and not isinstance(node.value, bool | None):
            node.value = "" if isinstance(node.value, str | bytes) else 7
        elif isinstance(node, ast.JoinedStr):
            return ast.Constant("")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return ast.Pass()  # a docstring, or nothing
        return node


def tokens(source: str) -> list[str]:
    """Code as what matters of it.

    Example:
        >>> tokens("area = (math.pi * r**2)  # of a disc")
        ['v', '=', 'math', '.', 'pi', '*', 'r', '**', '7']
    """
    source = source[:LONGEST]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what strangers wrote
            tree = ast.parse(source)
        plain = ast.unparse(ast.fix_missing_locations(Plain(tree).visit(tree)))
        read = tokenize.generate_tokens(io.StringIO(plain).readline)
        return [x.string for x in read if x.string.strip()]
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        found = re.findall(r"[A-Za-z_]\w*|\d[\w.]*|[^\w\s]", re.sub(r"#.*", "", source))
        return [
            "7" if x[0].isdigit() else "v" if x.isidentifier() and not keyword.iskeyword(x) else x
            for x in found
        ]


def grams(source: str, kind: str) -> list[int]:
    """The hashes of all runs of some tokens, or words."""
    parts = tokens(source) if kind == "code" else re.findall(r"\w+", source[:LONGEST].lower())
    size = GRAM[kind]
    return [
        zlib.crc32("\0".join(parts[i : i + size]).encode("utf-8", "replace"))
        for i in range(len(parts) - size + 1)
    ]


def winnow(hashes: Sequence[int]) -> set[int]:
    """The smallest hash of every window: two texts that share a run of GRAM + WINDOW - 1 tokens share one of them."""
    return {min(hashes[i : i + WINDOW]) for i in range(max(1, len(hashes) - WINDOW + 1)) if hashes}


@cache
def public() -> frozenset[int]:
    """What the course shows everybody: genlib and the lessons."""
    found: set[int] = set()
    shown = (*(ROOT / "genlib").rglob("*.py"), *(ROOT / "course/lessons").glob("*/checks.py"))
    for path in sorted(shown):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.parse(text).body:
            code = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            found.update(grams(code, "code"))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        found.update(given(nbformat.read(path, as_version=4)))
    return frozenset(found)


def given(nb: NotebookNode) -> set[int]:
    """All that stands in a notebook."""
    cells = [cell for cell in nb.cells if cell.cell_type in GRAM]
    return {x for cell in cells for x in grams(cell.source, cell.cell_type)}


def prints(nb: NotebookNode, ignored: set[int] | frozenset[int]) -> dict[str, set[int]]:
    """The fingerprints of a submission's answers."""
    made: dict[str, set[int]] = {}
    for cell in nb.cells:
        if is_theirs(cell) and cell.cell_type in GRAM:
            name = (grade_id(cell) or OWN).removesuffix("-answer")
            made.setdefault(name, set()).update(
                winnow(grams(cell.source, cell.cell_type)) - ignored
            )
    return made


def alike(everybody: Mapping[str, Prints]) -> Iterator[tuple[str, str, list[tuple[float, str]]]]:
    """Pairs with the tasks in which more than SHARE of one's answer stands in the other's submission."""
    whole = {name: set().union(*x.values()) for name, x in everybody.items()}
    common = max(COMMON, len(whole) / 4)
    many = {x for x, n in Counter(x for one in whole.values() for x in one).items() if n > common}
    for first, second in itertools.combinations(sorted(everybody), 2):
        shares: dict[str, float] = {}
        for one, other in ((first, second), (second, first)):
            for task, found in everybody[one].items():
                if len(found - many) >= FEWEST:
                    share = len((found & whole[other]) - many) / len(found - many)
                    shares[task] = max(share, shares.get(task, 0.0))
        most = sorted(((x, task) for task, x in shares.items() if x > SHARE), reverse=True)
        if most:
            yield first, second, most


def write_similar(course: Course, students: Sequence[str]) -> int:
    """Write the table, pairs that share most first; how many there are."""
    ignored = public() | given(course.release)
    everybody = {}
    for name in students:
        path: Path = course.path("submitted", name)
        if path.exists():
            everybody[name] = prints(nbformat.read(path, as_version=4), ignored)
    pairs = sorted(alike(everybody), key=lambda x: (-len(x[2]), -x[2][0][0], x[:2]))
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["first", "second", "share", "tasks"])
    for first, second, most in pairs:
        tasks = "; ".join(f"{task} {x:.2f}" for x, task in most)
        writer.writerow([first, second, f"{most[0][0]:.2f}", tasks])
    write_text(course.out / "similar.csv", table.getvalue())
    return len(pairs)
