"""pyproject.toml says what the course needs, constraints.txt which versions, environment.yml the same for conda."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import genlib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [
    Requirement(line)
    for lines in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for line in lines
]
CONSTRAINTS = [
    line
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
FLOOR = re.fullmatch(r">=(\d+\.\d+)", PROJECT["requires-python"]).group(1)


def pins():
    """Package -> version, for each line of constraints.txt."""
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in CONSTRAINTS}


def test_constraints_are_exact_versions_and_nothing_else():
    for line in CONSTRAINTS:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*", line), line


def test_constraints_are_sorted_and_name_each_package_once():
    names = [line.split("==")[0].lower() for line in CONSTRAINTS]
    assert names == sorted(set(names))


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_every_direct_dependency_is_pinned_within_its_range(requirement):
    name = canonicalize_name(requirement.name)
    assert name in pins(), f"{name} has no line in constraints.txt"
    assert Version(pins()[name]) in requirement.specifier


def test_torch_and_torchvision_are_the_pair_the_outputs_were_made_with():
    assert pins()["torch"] == "2.14.1"
    assert pins()["torchvision"] == "0.29.1"


def test_constraints_leave_the_packages_of_one_platform_to_torch():
    assert not [name for name in pins() if re.match("nvidia-|cuda-|triton", name)]


def test_conda_has_the_python_that_pyproject_starts_from():
    assert f"python={FLOOR}" in CONDA["dependencies"]


def test_conda_installs_the_course_with_the_same_constraints_and_extras():
    (with_pip,) = [entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict)]
    assert "pip" in CONDA["dependencies"]
    extras = ",".join(PROJECT["optional-dependencies"])
    assert with_pip == ["--constraint constraints.txt", f"--editable .[{extras}]"]
    assert f"-c constraints.txt -e '.[{extras}]'" in (ROOT / "Makefile").read_text()


def test_other_files_say_the_same_least_python():
    script = (ROOT / "course" / "find_python.sh").read_text()
    assert f'least="{FLOOR}"' in script
    assert f"sys.version_info < ({FLOOR.replace('.', ', ')})" in script
    assert f"sys.version_info < ({FLOOR.replace('.', ', ')})" in (ROOT / "Makefile").read_text()


def test_the_library_and_its_citation_have_the_projects_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert genlib.__version__ == PROJECT["version"] == citation["version"]


def test_no_file_names_a_package_index_or_a_folder_of_one_machine():
    for name in ("pyproject.toml", "constraints.txt", "environment.yml", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text()
        assert not re.search(r"index-url|find-links|file://|https?://|/opt/|/home/|/tmp/", text), (
            name
        )


def test_the_extension_for_live_decks_is_installed_as_it_stands_here():
    """An editable install copies it: setup.py sees to that, and `make setup` to the next copy."""
    source = ROOT / "course" / "explorers" / "live"
    installed = Path(sys.prefix, "share", "jupyter", "labextensions", "genlib-live")
    places = {
        "package.json": "package.json",
        "live.js": "static/live.js",
        "live.css": "static/live.css",
    }
    assert places.keys() == {path.name for path in source.iterdir()}
    for name, place in places.items():
        assert (installed / place).read_bytes() == (source / name).read_bytes(), "Run: make setup"
