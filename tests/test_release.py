"""`make release`: a variant in a folder of its own, which students get and `make grade` grades."""

import shutil
import subprocess

import nbformat
import pytest

from course.assignments import problem_set
from course.grading import course as grading
from course.publish import build, release, student
from course.publish.build import ROOT, BuildError

NAME = "ps2_vae"
SEED = 7


def git(root, *arguments):
    about = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(
        ["git", *about, *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A repository with the problem sets, and what `make student` copies."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("course", "notebooks/assignments", "solutions"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitignore", root)
    for name in (
        "genlib",
        "docs",
        "environment.yml",
        "Makefile",
        *(name for name in student.FILES if not name.startswith("course/")),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(ROOT / name)
    git(root, "init", "-q")
    git(root, "add", ".gitignore", "course", "notebooks", "solutions")
    git(root, "commit", "-q", "-m", "the course")
    return root


@pytest.fixture
def course(checkout, monkeypatch):
    """The same, with nothing released; notebooks are not run, which would take a minute each."""

    def execute(nb, root, lesson):
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.execution_count = 1

    monkeypatch.setattr(build, "execute", execute)
    monkeypatch.setattr(student, "ROOT", checkout)
    monkeypatch.setattr(grading, "ROOT", checkout)
    shutil.rmtree(checkout / "release", ignore_errors=True)
    return checkout


def call(root, *arguments):
    return release.main([NAME, "--root", str(root), *map(str, arguments)])


def changed(root):
    """What git would tell of the course's own files."""
    output = git(root, "status", "--porcelain", "--", "release", "course", "notebooks", "solutions")
    return output.splitlines()


def constants(nb):
    [cell] = [cell for cell in nb.cells if "variant" in cell.metadata.get("tags", [])]
    defined: dict = {}
    exec(cell.source, defined)
    del defined["__builtins__"]
    return defined


EXPECTED = {"VARIANT": SEED, **problem_set(NAME).variant(SEED)}


def test_a_release_leaves_the_checkout_clean(course, capsys):
    assert call(course, "--seed", SEED) == 0
    assert changed(course) == []
    assert f"release/{NAME}/{NAME}.ipynb" in capsys.readouterr().out
    folder = course / "release" / NAME
    assert sorted(x.name for x in (course / "release").iterdir()) == [NAME]
    assert {x.name for x in folder.iterdir()} == {f"{NAME}.ipynb", f"{NAME}_solution.ipynb"}
    handed_out = nbformat.read(folder / f"{NAME}.ipynb", as_version=4)
    solution = nbformat.read(folder / f"{NAME}_solution.ipynb", as_version=4)
    assert constants(handed_out) == constants(solution) == EXPECTED
    text = "\n".join(cell.source for cell in handed_out.cells)
    assert "HIDDEN" not in text and "raise NotImplementedError()" in text
    # and the repository's own notebooks are still the repository's own
    assert build.main(["--check", NAME, "--root", str(course)]) == 0


def test_students_get_the_released_variant(course, tmp_path):
    call(course, "--seed", SEED)
    assert student.main(["--out", str(tmp_path)]) == 0
    sets = tmp_path / "student" / "notebooks" / "assignments"
    assert constants(nbformat.read(sets / NAME / f"{NAME}.ipynb", as_version=4)) == EXPECTED
    other = "ps3_gan"
    assert constants(nbformat.read(sets / other / f"{other}.ipynb", as_version=4))["VARIANT"] == 0
    assert not list((tmp_path / "student").rglob("*_solution.ipynb"))


def test_the_released_variant_is_graded(course, tmp_path):
    own = grading.Course(NAME, tmp_path)
    call(course, "--seed", SEED)
    made = grading.Course(NAME, tmp_path)
    assert own.seed == 0 and made.seed == SEED and own.key != made.key
    assert made.variant == problem_set(NAME).variant(SEED)
    assert constants(made.master) == constants(made.release) == EXPECTED


def test_without_a_seed_the_repositorys_own_is_back(course, tmp_path, capsys):
    call(course, "--seed", SEED)
    assert call(course) == 0
    assert "repository's own, variant 0" in capsys.readouterr().out
    assert list((course / "release").iterdir()) == [] and changed(course) == []
    assert grading.Course(NAME, tmp_path).seed == 0
    assert call(course) == 0
    assert "No other variant was released" in capsys.readouterr().out


@pytest.mark.parametrize("error", [BuildError("cell 3 raised"), KeyboardInterrupt()])
def test_a_release_that_fails_leaves_the_one_before(course, monkeypatch, error):
    call(course, "--seed", SEED)

    def fail(nb, root, lesson):
        raise error

    monkeypatch.setattr(build, "execute", fail)
    if isinstance(error, BuildError):
        assert call(course, "--seed", SEED + 1) == 1
    else:
        with pytest.raises(KeyboardInterrupt):
            call(course, "--seed", SEED + 1)
    [lesson] = build.find_lessons(course, [NAME])
    assert release.released_variant(course, lesson) == SEED
    assert sorted(x.name for x in (course / "release").iterdir()) == [NAME]


def test_what_a_killed_release_left_is_removed_and_what_it_put_aside_comes_back(course):
    call(course, "--seed", SEED)
    folder = course / "release" / NAME
    folder.replace(folder.with_name(f".{NAME}.old"))
    folder.with_name(f".{NAME}.new").mkdir()
    release.restore(folder, folder.with_name(f".{NAME}.new"), folder.with_name(f".{NAME}.old"))
    assert sorted(x.name for x in (course / "release").iterdir()) == [NAME]


def test_two_variants_in_one_release_are_refused(course, tmp_path):
    call(course, "--seed", SEED)
    folder = course / "release" / NAME
    shutil.copy(course / "solutions" / NAME / f"{NAME}.ipynb", folder / f"{NAME}_solution.ipynb")
    with pytest.raises(BuildError, match="its notebooks are two variants"):
        grading.Course(NAME, tmp_path)
    (folder / f"{NAME}.ipynb").unlink()
    with pytest.raises(BuildError, match=f"{NAME}.ipynb: is no notebook of a problem set"):
        grading.Course(NAME, tmp_path)


def test_an_unknown_problem_set_is_said_in_one_line(course, capsys):
    assert release.main(["ps9", "--seed", "1", "--root", str(course)]) == 1
    assert "There are: ps1_autoregressive" in capsys.readouterr().err
