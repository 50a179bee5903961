"""What `make` does before there is anything to run it with. Python is played by scripts, so nothing is installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TARGETS = [
    "help",
    "setup",
    "lab",
    "test",
    "check",
    "lessons",
    "release",
    "student",
    "grade",
    "marks",
    "slides",
    "book",
    "pictures",
    "datasets",
    "results",
    "pack",
    "bench",
    "format",
    "clean",
]

# Answers the questions that course/find_python.sh and the Makefile ask, and notes what it was told to do.
# `venv` makes .venv/bin/python a copy of itself; `pip` succeeds unless PIP_FAILS is set.
PYTHON = """#!/bin/sh
version="{version}"
case "$*" in
    *sys.version_info\\[:3\\]*) echo "$version.4" ;;
    *"sys.version_info < "*) [ "${{version#3.}}" -ge 11 ] ;;
    *ensurepip*) {has_venv} ;;
    "-m venv --clear .venv") echo "venv $version" >> log; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    "-m pip install "*) echo "pip $version" >> log; [ -z "$PIP_FAILS" ] ;;
    *) echo "unexpected: $*" >> log; exit 1 ;;
esac
"""
SHIM = '#!/bin/sh\necho "shim: no such version is installed" >&2\nexit 127\n'


@pytest.fixture
def checkout(tmp_path):
    """A bare checkout, and beside it bin/: the only commands there are."""
    root = tmp_path / "a checkout"  # with a blank, as in "My Documents"
    (root / "course").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "course/find_python.sh"):
        shutil.copy(ROOT / name, root / name)
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "make", "rm", "cp", "mkdir", "touch", "awk"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return root


def add_python(checkout, name, version="3.11", has_venv="true"):
    path = checkout.parent / "bin" / name
    path.write_text(SHIM if version is None else PYTHON.format(version=version, has_venv=has_venv))
    path.chmod(0o755)


def make(checkout, *arguments, **environment):
    env = {"PATH": str(checkout.parent / "bin"), "LC_ALL": "C", **environment}
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env=env, text=True, capture_output=True
    )


def log(checkout):
    path = checkout / "log"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def test_help_has_one_line_for_every_target(checkout):
    run = make(checkout, "help")
    assert re.findall(r"^  make (\w+) +\S", run.stdout, flags=re.MULTILINE) == TARGETS
    assert run.stdout.count("\n") == len(TARGETS)
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert declared.group(1).split() == TARGETS


def test_make_alone_helps(checkout):
    assert make(checkout).stdout == make(checkout, "help").stdout


def test_no_python_at_all_gives_one_line(checkout):
    run = make(checkout, "setup")
    assert run.returncode != 0
    assert run.stderr.splitlines()[0] == (
        "The course needs Python 3.11 or newer and found none of: "
        "python3 python3.14 python3.13 python3.12 python3.11. "
        "Install one, or name yours: make setup PYTHON=/path/to/python3"
    )
    assert len([line for line in run.stderr.splitlines() if not line.startswith("make")]) == 1
    assert not (checkout / ".venv").exists()


def test_each_python_that_will_not_do_is_named_with_its_fault(checkout):
    add_python(checkout, "python3", version="3.8")
    add_python(checkout, "python3.13", version=None)
    add_python(checkout, "python3.12", version="3.12", has_venv="false")
    run = make(checkout, "test")
    assert run.returncode != 0
    assert run.stderr.splitlines()[0].startswith(
        "The course needs Python 3.11 or newer and found python3 (3.8.4 is too old), "
        "python3.13 (does not run), python3.12 (3.12.4 lacks venv: install python3-venv). Install one"
    )


def test_the_first_python_that_runs_and_is_new_enough_is_taken(checkout):
    add_python(checkout, "python3", version="3.10")
    add_python(checkout, "python3.13", version=None)
    add_python(checkout, "python3.12", version="3.12")
    add_python(checkout, "python3.11", version="3.11")
    assert make(checkout, "setup").returncode == 0
    assert log(checkout) == ["venv 3.12", "pip 3.12"]


def test_a_named_python_is_taken_before_all_others(checkout):
    add_python(checkout, "python3", version="3.11")
    add_python(checkout, "mine", version="3.14")
    assert make(checkout, "setup", "PYTHON=mine").returncode == 0
    assert log(checkout) == ["venv 3.14", "pip 3.14"]


def test_a_named_python_that_will_not_do_is_refused(checkout):
    add_python(checkout, "python3", version="3.11")
    run = make(checkout, "setup", "PYTHON=/no/such/python")
    assert run.returncode != 0
    assert "found none of: /no/such/python." in run.stderr


def test_a_second_set_up_does_nothing(checkout):
    add_python(checkout, "python3")
    make(checkout, "setup")
    assert make(checkout, "setup").returncode == 0
    assert log(checkout) == ["venv 3.11", "pip 3.11"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_new_requirements_are_installed_into_the_same_venv(checkout, name):
    add_python(checkout, "python3")
    make(checkout, "setup")
    ready = (checkout / ".venv/.ready").stat().st_mtime
    os.utime(checkout / name, (ready + 10, ready + 10))
    os.utime(checkout / ".venv/.ready", (ready - 10, ready - 10))
    make(checkout, "setup")
    assert log(checkout) == ["venv 3.11", "pip 3.11", "pip 3.11"]


def test_a_set_up_that_failed_is_taken_up_again(checkout):
    add_python(checkout, "python3")
    assert make(checkout, "setup", PIP_FAILS="1").returncode != 0
    assert not (checkout / ".venv/.ready").exists()
    assert make(checkout, "setup").returncode == 0
    assert (checkout / ".venv/.ready").exists()
    assert log(checkout) == ["venv 3.11", "pip 3.11", "pip 3.11"]


def test_a_failed_renewal_takes_the_stamp_away(checkout):
    add_python(checkout, "python3")
    make(checkout, "setup")
    ready = (checkout / ".venv/.ready").stat().st_mtime
    os.utime(checkout / "constraints.txt", (ready + 10, ready + 10))
    make(checkout, "setup", PIP_FAILS="1")
    assert not (checkout / ".venv/.ready").exists()


@pytest.mark.parametrize("what", ["lab", "test", "check", "lessons", "results", "bench", "format"])
def test_every_command_sets_up_on_first_use(checkout, what):
    run = make(checkout, "-n", what)
    assert "pip install" in run.stdout
    (checkout / ".venv").mkdir()
    (checkout / ".venv/.ready").touch()
    assert "pip install" not in make(checkout, "-n", what).stdout


def test_arguments_reach_the_tools(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv/.ready").touch()
    assert "-m course.publish.build 03" in make(checkout, "-n", "lessons", "LESSON=03").stdout
    assert "--no-browser" in make(checkout, "-n", "lab", "LAB_ARGS=--no-browser").stdout
    assert (
        '-m benchmarks.pack "runs/a" b-c'
        in make(checkout, "-n", "pack", "RUN=runs/a", "NAME=b-c").stdout
    )
    assert "-m benchmarks.results --quick" in make(checkout, "-n", "results", "ARGS=--quick").stdout


def test_clean_spares_notebooks_data_grades_and_the_environment(checkout):
    kept = [
        ".venv/x",
        "notebooks/a.ipynb",
        "data/mnist",
        "grading/gradebook.db",
        "solutions/b.ipynb",
    ]
    gone = [
        "build/lib/x",
        ".pytest_cache/x",
        "genlib/__pycache__/x",
        "notebooks/.ipynb_checkpoints/a",
    ]
    for name in kept + gone:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).touch()
    (checkout.parent / "bin" / "find").symlink_to(shutil.which("find"))
    assert make(checkout, "clean").returncode == 0
    assert all((checkout / name).exists() for name in kept)
    assert not any((checkout / name).exists() for name in gone)
