"""A lesson runs where the course is missing, as on Colab: its first cell installs it; elsewhere it does nothing."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from course import syllabus
from course.publish import build, first_cell

ROOT = build.ROOT
LESSONS = [lesson for lesson in build.find_lessons(ROOT) if not lesson.release]


def imports_of(nb):
    return next(cell.source for cell in nb.cells if cell.cell_type == "code")


def tracked(root: Path) -> list[Path]:
    """What a commit of everything here would hold; paths relative to the root."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout
    return sorted({Path(name) for name in names.split("\0") if name and (root / name).exists()})


def set_repository(root: Path, address: str) -> None:
    path = root / syllabus.FILE
    text, found = re.subn(
        r"^repository = .*$", f'repository = "{address}"', path.read_text(), flags=re.MULTILINE
    )
    assert found == 1
    path.write_text(text)


# ---------------------------------------------------------------- a kernel without the course


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """This course as a repository of its own, whose address stands in its syllabus."""
    root = tmp_path_factory.mktemp("hosted") / "course"
    for path in tracked(ROOT):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, root / path)
    set_repository(root, root.as_uri())
    someone = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=x"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run(["git", *someone, *words], cwd=root, check=True)
    return root


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A Python with everything that is here but the course."""
    folder = tmp_path_factory.mktemp("colab") / "python"
    venv.create(folder, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for here in map(Path, {p for p in sys.path if p.endswith("site-packages")}):
        for part in here.iterdir():
            there = folder / "lib" / version / "site-packages" / part.name
            if "genlib" not in part.name and not there.exists():
                there.symlink_to(part)
    return folder / "bin" / "python"


def run(python: Path, nb, folder: Path):
    """Run it in a kernel of this Python that finds no package index."""

    class ThatPython(build.ThisPython):
        @property
        def kernel_spec(self):
            spec = super().kernel_spec
            spec.argv[0] = str(python)
            return spec

    # pip builds with the setuptools that is there: its own copy would come from the network
    quiet = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    quiet["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    env = os.environ | build.ONE_THREAD | quiet | {"HOME": str(folder)}
    for name in ("PYTHONPATH", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        env.pop(name, None)
    client = NotebookClient(
        nb,
        timeout=300,
        kernel_name="python3",
        kernel_manager_class=ThatPython,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=env)
    return [
        "".join(output.get("text", "") for output in cell.get("outputs", ())) for cell in nb.cells
    ]


def test_the_first_cell_installs_the_course_and_the_others_find_it(repository, elsewhere, tmp_path):
    outside = [elsewhere, "-c", "import genlib"]
    missing = subprocess.run(outside, cwd=tmp_path, capture_output=True, text=True)
    assert "No module named 'genlib'" in missing.stderr
    sources = [imports_of(build.read_source(repository, lesson)) for lesson in LESSONS]
    assert len(sources) == 2 * len(syllabus.lessons(ROOT)) - 1  # the first has no exercises
    where = "import course; print(genlib.__file__, course.__file__, sep='\\n')"
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in [*sources, where]]
    )
    first, *others, found = run(elsewhere, nb, tmp_path)
    assert "restart the kernel" in first, "pip was called"
    assert "MISSING" not in first, "Start here finds all that the lessons need"
    assert set(others) == {""}, "and no other cell had anything to do"
    assert len(found.split()) == 2
    assert all(Path(path).is_relative_to(elsewhere.parents[1]) for path in found.split())

    # every file of the two packages has come along, and what JupyterLab needs for live decks
    installed = Path(found.split()[0]).parents[1]
    packages = [path for path in tracked(ROOT) if path.parts[0] in ("genlib", "course")]
    assert {p.suffix for p in packages} >= {".py", ".toml", ".safetensors", ".json", ".js", ".html"}
    assert [str(path) for path in packages if not (installed / path).exists()] == []
    assert (elsewhere.parents[1] / "share/jupyter/labextensions/genlib-live/package.json").exists()


# ---------------------------------------------------------------- what it calls, and what it says


def in_ipython(source: str, missing: bool) -> subprocess.CompletedProcess:
    """Run a cell where %pip only notes what it is asked for."""
    program = f"""
        import sys
        from IPython.core.interactiveshell import InteractiveShell
        if {missing}:
            sys.modules["genlib"] = None  # importing it fails from here on
        shell = InteractiveShell()
        def pip(line):
            print("pip", line)
            del sys.modules["genlib"]
        shell.register_magic_function(pip, "line", "pip")
        done = shell.run_cell({source!r})
        print("genlib" in shell.user_ns)
    """
    words = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)


ADDRESS = "https://example.org/somebody/course"


def test_pip_is_called_where_the_course_is_missing():
    done = in_ipython(first_cell.lines(ADDRESS) + "import genlib", missing=True)
    assert done.stdout == f"pip install -q git+{ADDRESS}\nTrue\n"


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_nothing_happens_where_it_is_there(address):
    done = in_ipython(first_cell.lines(address), missing=False)
    assert done.stdout == "True\n" and not done.stderr


def test_without_an_address_it_says_what_to_set():
    done = in_ipython(first_cell.lines(""), missing=True)
    (said,) = re.findall(r"ModuleNotFoundError.*: (genlib .*)", done.stdout)
    assert "`make lab`" in said and "`repository` in course/syllabus.toml" in said
    assert "pip" not in done.stdout.replace(said, "").split() and "git+" not in done.stdout


# ---------------------------------------------------------------- where it stands


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_stored_notebooks_begin_with_it_and_sources_do_not(lesson):
    begin = first_cell.lines(syllabus.repository(ROOT))
    for path in filter(None, (lesson.executed, lesson.student)):
        cells = [x.source for x in nbformat.read(ROOT / path, as_version=4).cells]
        assert imports_of(nbformat.read(ROOT / path, as_version=4)).startswith(begin)
        assert sum(begin in source for source in cells) == 1
    assert "%pip" not in (ROOT / lesson.source).read_text()
    assert "except ModuleNotFoundError" not in (ROOT / lesson.source).read_text()


@pytest.mark.parametrize(
    "address", ["github.com/a/b", "https://a b", "https://a;rm", "git@github.com:a/b.git"]
)
def test_an_address_that_pip_cannot_fetch_from_is_refused(tmp_path, address):
    (tmp_path / "course").mkdir()
    (tmp_path / syllabus.FILE).write_text(f'[course]\nrepository = "{address}"\n')
    with pytest.raises(ValueError, match=r"repository = '.*' is no address"):
        syllabus.repository(tmp_path)
    (tmp_path / syllabus.FILE).write_text(f'[course]\nrepository = "{ADDRESS}/"\n')
    assert syllabus.repository(tmp_path) == ADDRESS
