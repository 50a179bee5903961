"""Where things stand: who may import whom, how long a file may be, and that one command finds what one looks for."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "genlib": {"genlib"},
    "course": {"course", "genlib"},
    "benchmarks": {"benchmarks", "course", "genlib"},
}
SOURCES = ("lecture.py", "exercises.py", "notebook.py")  # notebooks as text
LONGEST, LONGEST_OF_GENLIB = 700, 400
# Tables of checks and graders, with the banks that test them: as long as there are mistakes.
TABLES = ("checks.py", "test_checks.py", "grader.py", "test_grader.py")


def files_of(top: str) -> list[Path]:
    return sorted(path for path in (ROOT / top).rglob("*.py") if path.name not in SOURCES)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for top in (*ALLOWED, "tests") for path in files_of(top)}


def imports(text: str, package: str, modules=MODULES) -> set[str]:
    """Names of modules that a source imports, anywhere in it; also by `import_module` with a name that it spells.

    Args:
        text: the source.
        package: that it stands in, for relative imports.
        modules: those that there are, so that `from a import b` can be the module a.b or a name in a.
    """
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else base for name in names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            if node.args and isinstance(node.args[0], ast.Constant):
                found.add(node.args[0].value)
    return found


def imports_of(name: str) -> set[str]:
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return imports(path.read_text("utf-8"), package)


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The groups of names each of which leads back to itself through all the others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        new = set(arrows[start])
        while new:
            seen |= new
            new = {end for name in new for end in arrows.get(name, ())} - seen
        return seen

    leads = {name: reached(name) for name in arrows}
    within = {name: sorted(x for x in leads[name] if name in leads.get(x, ())) for name in arrows}
    return sorted(map(list, {tuple(group) for group in within.values() if group}))


# ---------------------------------------------------------------- arrows


@pytest.mark.parametrize("top", ALLOWED)
def test_arrows_point_one_way(top: str):
    ours = {*ALLOWED, "tests"}
    wrong = [
        f"{name} imports {other}"
        for name in MODULES
        if name.split(".")[0] == top
        for other in imports_of(name)
        if other.split(".")[0] in ours - ALLOWED[top] or re.match(r"test_|conftest", other)
    ]
    assert not wrong


def test_lessons_import_nothing_that_students_do_not_have():
    for path in (ROOT / "course").rglob("*.py"):
        if path.name in SOURCES:
            code = "\n".join(
                line for line in path.read_text("utf-8").splitlines() if line[:1] not in "%!#"
            )
            tops = {name.split(".")[0] for name in imports(code, "")}
            assert not tops & {"benchmarks", "tests"}, path


@pytest.mark.parametrize("top", ALLOWED)
def test_no_circle_not_even_a_lazy_one(top: str):
    ours = {name for name in MODULES if name.split(".")[0] == top}
    arrows = {name: (imports_of(name) & ours) - {name} for name in ours}
    assert sum(map(len, arrows.values())) > 2, "imports were found"
    assert circles(arrows) == []


def test_a_lazy_circle_and_a_relative_import_would_be_seen():
    modules = {"a": None, "a.b": None, "a.c": None}
    lazy = "def f():\n    from a import c\n    import_module('a.b')\n"
    assert imports(lazy, "a", modules) == {"a.c", "a.b"}
    assert imports("from . import c\nfrom .b import x\nimport a", "a", modules) == {
        "a.c", "a.b", "a",
    }  # fmt: skip
    arrows = {"x": {"y"}, "y": {"z"}, "z": {"y"}, "w": {"x"}}
    assert circles(arrows) == [["y", "z"]]


# ---------------------------------------------------------------- sizes


def lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_no_file_is_too_long():
    for name, path in MODULES.items():
        table = name.startswith("course.") and path.name in TABLES
        most = LONGEST_OF_GENLIB if name.split(".")[0] == "genlib" else LONGEST
        assert table or lines(path) <= most, f"split {path.relative_to(ROOT)}"


def test_readme_stays_short():
    assert lines(ROOT / "README.md") <= 150


# ---------------------------------------------------------------- plain words

# words that the field does not use, see CONTRIBUTING.md, split so that this file is clean
RIDDLES = re.compile(
    r"Frechet [a-z]|[Oo]ppo""nent|public ""door|Box""Error|coin ""toss|[Mm]oving ""earth|"
    r"fast_""numbers|game_""explorer|learnt by ""heart"
)  # fmt: skip


def test_sources_and_pages_use_the_fields_words():
    texts = [path for top in (*ALLOWED, "tests") for path in (ROOT / top).rglob("*.py")]
    texts += [*ROOT.glob("README.md"), *(ROOT / "docs").rglob("*.md")]
    texts = [path for path in texts if path.name not in TABLES]
    found = [f"{path}: {x}" for path in texts for x in RIDDLES.findall(path.read_text("utf-8"))]
    assert len(texts) > 100 and not found


# ---------------------------------------------------------------- finding one's way


def table_of_commands() -> list[tuple[str, str, str]]:
    rows = re.findall(
        r"^\| ([^|]+) \| `(git [^`]+)` \| `([^`]+)` \|$",
        (ROOT / "CONTRIBUTING.md").read_text("utf-8"),
        re.MULTILINE,
    )
    return [(what, command, there) for what, command, there in rows]


def test_there_are_ten_commands():
    assert len(table_of_commands()) == 10


@pytest.mark.parametrize(
    ("command", "there"), [row[1:] for row in table_of_commands()], ids=lambda words: words
)
def test_a_command_leads_where_it_should(command: str, there: str):
    run = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True)
    found = list(dict.fromkeys(line.split(":")[0] for line in run.stdout.splitlines()))
    assert 1 <= len(found) <= 3, f"{command}: {found}"
    line = re.compile(rf"^\s*{re.escape(there)}(?!\w)", re.MULTILINE)
    assert any(line.search((ROOT / name).read_text("utf-8")) for name in found), found
