"""Variants of problem sets: other constants in the notebook, the same in its hidden tests."""

import re
import shutil

import pytest

from course.assignments import problem_set
from course.publish.build import ROOT, BuildError, find_lessons, main, read_source, student_version

SETS = [lesson for lesson in find_lessons(ROOT) if lesson.release]


def variant_cell(nb):
    [cell] = [cell for cell in nb.cells if "variant" in cell.metadata.get("tags", [])]
    return cell


@pytest.mark.parametrize("lesson", SETS, ids=lambda lesson: lesson.name)
def test_a_variant_defines_the_constants_that_its_grader_has(lesson):
    sources = set()
    for seed in range(8):
        nb = student_version(read_source(ROOT, lesson, seed), lesson)
        defined: dict = {}
        exec(variant_cell(nb).source, defined)
        defined.pop("__builtins__")
        assert defined == {"VARIANT": seed, **problem_set(lesson.name).variant(seed)}
        assert nb.metadata["genlib"]["variant"] == seed
        assert variant_cell(nb).metadata["nbgrader"]["locked"]
        # no placeholder is left in the prose
        assert not [c for c in nb.cells if re.search(r"\{\{[A-Z_]+\}\}", c.source)]
        sources.add(variant_cell(nb).source.partition("\n")[2])
    assert len(sources) >= 5


@pytest.fixture
def course(tmp_path):
    """A problem set, and nothing else."""
    source = tmp_path / SETS[0].source
    source.parent.mkdir(parents=True)
    shutil.copy(ROOT / SETS[0].source, source)
    (tmp_path / "course" / "syllabus.toml").write_text("")
    return tmp_path


def test_constants_that_are_not_those_of_variant_0_are_refused(course, capsys):
    source = course / SETS[0].source
    text = source.read_text()
    source.write_text(text.replace("VARIANT = 0", "VARIANT = 1"))
    with pytest.raises(BuildError, match="its cell tagged `variant` must be this"):
        read_source(course, find_lessons(course)[0])
    assert main(["--check", "--root", str(course)]) == 1
    assert "VARIANT = 0" in capsys.readouterr().err
