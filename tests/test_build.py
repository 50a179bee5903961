"""course/publish/build.py on a toy course: what it builds, what it refuses, and what its check and nbval catch."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from queue import Empty

import nbformat
import pytest

from course.grading.jail import GradingKernel
from course.publish import build, first_cell

ROOT = Path(__file__).resolve().parent.parent

LECTURE = """\
# %% [markdown] slideshow={"slide_type": "slide"} editor="mine"
# # A toy

# %% slideshow={"slide_type": "skip"}
import os
import sys
import ipywidgets
import matplotlib.pyplot as plt
from genlib.training import progress

# %%
total = 0
with progress(3, what="adding", unit="number") as bar:
    for i in bar:
        total += i
print("total", total)
print("threads", os.environ["OMP_NUM_THREADS"])

# %% alt="A line, \\"rising\\"." color="mine"
plt.figure(figsize=(2, 1))
plt.plot([0, 1]);

# %% tags=["nbval-ignore-output"]
print("process", os.getpid())
print("a warning", file=sys.stderr)
ipywidgets.interact(lambda m: print("slider at", m), m=(0, 3));
"""

EXERCISES = """\
# %% [markdown]
# Write `double`.

# %%
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %%
assert double(2) == 4
print("well done")
"""

PROBLEM_SET = """\
# %% [markdown] nbgrader={"grade": false, "grade_id": "intro", "locked": true, "schema_version": 3, "solution": false}
# Write `triple`.

# %% nbgrader={"grade": false, "grade_id": "triple", "locked": false, "schema_version": 3, "solution": true}
def triple(x):
    ### BEGIN SOLUTION
    return 3 * x
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "t", "locked": true, "points": 2, "schema_version": 3, "solution": false}
assert triple(1) == 3
### BEGIN HIDDEN TESTS
assert triple(-7) == -21
### END HIDDEN TESTS
"""

MORTAL = """\
# %%
import os
if "DIE" in os.environ:
    os._exit(1)
print("alive")

# %%
print("still alive")
"""

LECTURE_NB = "notebooks/00_toy.ipynb"
STUDENT_NB = "notebooks/00_toy_exercises.ipynb"
ANSWERS_NB = "solutions/00_toy_exercises.ipynb"
RELEASE_NB = "notebooks/assignments/ps1_toy/ps1_toy.ipynb"
GRADED_NB = "solutions/ps1_toy/ps1_toy.ipynb"


def write_lesson(root, source, text):
    """A source in course/, and for a lecture its line in the syllabus, behind those that are there."""
    path = root / "course" / source
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    syllabus = root / "course" / "syllabus.toml"
    listed = syllabus.read_text() if syllabus.exists() else ""
    line = f'[[lesson]]\nname = "{path.parent.name}"\ntitle = "A toy"\n'
    syllabus.write_text(listed if path.name != "lecture.py" or line in listed else listed + line)


def take_out(root, name):
    """A lesson, its folder and its line."""
    shutil.rmtree(root / "course/lessons" / name)
    path = root / "course/syllabus.toml"
    rows = path.read_text().split("[[lesson]]")
    path.write_text("[[lesson]]".join(row for row in rows if f'"{name}"' not in row))


def read(root, name):
    return nbformat.read(root / name, as_version=4)


def edit(root, name, change):
    nb = read(root, name)
    change(nb)
    nbformat.write(nb, root / name)


@pytest.fixture(scope="module")
def foreign_kernel(tmp_path_factory):
    """A folder of kernels, ahead of all others in the search, whose `python3` does not even start."""
    folder = tmp_path_factory.mktemp("jupyter")
    spec = folder / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [shutil.which("false"), "{connection_file}"]
    spec.write_text(
        json.dumps({"argv": argv, "display_name": "not this one", "language": "python"})
    )
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory, foreign_kernel):
    """The toy course, built once: copy it before changing anything."""
    root = tmp_path_factory.mktemp("built")
    write_lesson(root, "lessons/toy/lecture.py", LECTURE)
    write_lesson(root, "lessons/toy/exercises.py", EXERCISES)
    write_lesson(root, "lessons/mortal/lecture.py", MORTAL)
    write_lesson(root, "assignments/ps1_toy/notebook.py", PROBLEM_SET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(foreign_kernel))
        patch.setenv("OMP_NUM_THREADS", "7")
        patch.setenv("MPLBACKEND", "agg")
        assert build.main(["--root", str(root)]) == 0
    return root


@pytest.fixture
def course(built, tmp_path):
    """A built toy course of one's own."""
    return Path(shutil.copytree(built, tmp_path / "course"))


# ---------------------------------------------------------------- what is built


def test_each_source_becomes_the_notebooks_that_its_name_promises(built):
    names = {path.relative_to(built).as_posix() for path in built.glob("**/*.ipynb")}
    assert names == {
        "notebooks/01_mortal.ipynb",
        LECTURE_NB,
        STUDENT_NB,
        ANSWERS_NB,
        RELEASE_NB,
        GRADED_NB,
    }


def test_a_build_leaves_no_other_file(built):
    assert not [
        x for x in built.glob("**/*") if x.is_file() and x.suffix not in (".py", ".ipynb", ".toml")
    ]


def test_lectures_and_solutions_hold_their_outputs(built):
    assert "total 3\nthreads 1\n" in [
        x.get("text") for x in read(built, LECTURE_NB).cells[2].outputs
    ]
    assert read(built, ANSWERS_NB).cells[-1].outputs[0].text == "well done\n"


def test_figures_are_drawn_inline_and_a_semicolon_keeps_the_last_line_quiet(built):
    (figure,) = read(built, LECTURE_NB).cells[3].outputs
    assert "image/png" in figure.data


def test_progress_bars_leave_nothing(built):
    printed = read(built, LECTURE_NB).cells[2].outputs
    assert [output.text for output in printed] == ["total 3\nthreads 1\n"]


def test_widgets_leave_no_random_ids_and_warnings_no_stain(built):
    assert "model_id" not in (built / LECTURE_NB).read_text()
    assert "a warning" not in json.dumps(read(built, LECTURE_NB).cells[-1].outputs)


def test_an_explorer_is_stored_as_its_first_picture(built):
    printed = [output.get("text", "") for output in read(built, LECTURE_NB).cells[-1].outputs]
    assert printed[1:] == ["slider at 1\n"]


def test_two_builds_differ_only_in_what_cells_print(built, course):
    before = {path: path.read_bytes() for path in course.glob("**/*.ipynb")}
    for path in before:
        path.unlink()
    assert build.main(["--root", str(course)]) == 0
    process = re.compile(rb"process \d+")
    for path, old in before.items():
        new = path.read_bytes()
        assert process.sub(b"", new) == process.sub(b"", old), path
        assert (new != old) == (path.name == "00_toy.ipynb"), "only one prints its process id"


def test_metadata_of_no_use_to_a_reader_is_dropped(built):
    nb = read(built, LECTURE_NB)
    assert nb.cells[0].metadata == {"slideshow": {"slide_type": "slide"}}
    assert nb.cells[2].metadata == {}
    assert nb.cells[3].metadata == {"alt": 'A line, "rising".'}
    assert nb.metadata == build.NOTEBOOK_METADATA | {"rise": build.LIVE_DECK}
    assert read(built, STUDENT_NB).metadata == build.NOTEBOOK_METADATA
    assert [cell.id for cell in nb.cells] == [f"00-{i:03d}" for i in range(5)]


def test_students_get_neither_answers_nor_outputs(built):
    nb = read(built, STUDENT_NB)
    assert nb.cells[1].source == first_cell.lines("") + (
        "def double(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    )
    assert nb.cells[2].source == read(built, ANSWERS_NB).cells[2].source
    assert all(cell.get("outputs", []) == [] for cell in nb.cells)
    assert all(cell.get("execution_count") is None for cell in nb.cells)


def test_a_released_problem_set_has_no_answers_no_hidden_tests_and_locked_tests(built):
    nb = read(built, RELEASE_NB)
    text = "\n".join(cell.source for cell in nb.cells)
    assert "3 * x" not in text
    assert "-21" not in text
    assert "HIDDEN" not in text
    assert "assert triple(1) == 3" in text
    intro, answer, test = nb.cells
    assert intro.metadata.editable is False
    assert answer.metadata.get("editable", True) is True
    assert answer.metadata.deletable is False
    assert test.metadata.editable is False
    assert test.metadata.nbgrader.points == 2


def test_nbgrader_releases_the_same_problem_set(course):
    (course / "nbgrader_config.py").write_text(
        "c = get_config()\n"
        "c.CourseDirectory.course_id = 'toy'\n"
        f"c.CourseDirectory.root = {str(course)!r}\n"
        "c.CourseDirectory.source_directory = 'solutions'\n"
        "c.CourseDirectory.release_directory = 'released'\n"
    )
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", "--no-db", "ps1_toy"]
    run = subprocess.run(command, cwd=course, text=True, capture_output=True)
    assert run.returncode == 0, run.stderr
    released = course / "released/ps1_toy/ps1_toy.ipynb"
    assert released.read_bytes() == (course / RELEASE_NB).read_bytes()


def test_lesson_picks_those_whose_name_starts_so(course, capsys):
    before = (course / "notebooks/01_mortal.ipynb").stat().st_mtime_ns
    assert build.main(["--root", str(course), "00_toy_e", "ps1"]) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"\S+\.ipynb", printed) == [ANSWERS_NB, STUDENT_NB, GRADED_NB, RELEASE_NB]
    assert re.search(r"\d\.\d s  solutions/00_toy_exercises.ipynb", printed), "how long each took"
    assert (course / "notebooks/01_mortal.ipynb").stat().st_mtime_ns == before


def test_a_whole_name_means_that_notebook_alone(course):
    def chosen(*prefixes: str) -> list[str]:
        return [lesson.name for lesson in build.find_lessons(course, prefixes)]

    assert chosen("00_toy") == ["00_toy"]
    assert chosen("00_to") == chosen("00") == ["00_toy", "00_toy_exercises"]
    assert chosen("toy") == ["00_toy", "00_toy_exercises"], "the name of a lesson is all of it"
    assert chosen("00_toy", "01") == ["00_toy", "01_mortal"]


def test_a_slow_lesson_is_remarked_upon(course, capsys, monkeypatch):
    monkeypatch.setattr(build, "SLOW", 0)
    assert build.main(["--root", str(course), "01"]) == 0
    assert "slow: a lesson should run in" in capsys.readouterr().out


# ---------------------------------------------------------------- what is refused


def test_an_empty_course_and_an_unknown_lesson_are_named(course, tmp_path, capsys):
    assert build.main(["--root", str(tmp_path / "nothing")]) == 1
    assert "course/syllabus.toml cannot be read" in capsys.readouterr().err
    assert build.main(["--root", str(course), "02"]) == 1
    assert "no lesson's name starts with 02. There are: 00_toy" in capsys.readouterr().err


def test_a_lesson_and_its_line_in_the_syllabus_come_together(course, capsys):
    write_lesson(course, "lessons/more/exercises.py", EXERCISES)
    assert build.main(["--root", str(course), "--check"]) == 1
    printed = capsys.readouterr().err
    assert (
        "course/lessons/more/exercises.py: course/syllabus.toml does not name this lesson"
        in printed
    )
    shutil.rmtree(course / "course/lessons/mortal")
    assert build.main(["--root", str(course), "--check"]) == 1
    assert "course/lessons/mortal/lecture.py is missing: write it" in capsys.readouterr().err


def test_a_problem_set_has_a_number(course, capsys):
    write_lesson(course, "assignments/toy/notebook.py", PROBLEM_SET)
    assert build.main(["--root", str(course), "--check"]) == 1
    assert (
        "course/assignments/toy/notebook.py: no problem set has this name"
        in capsys.readouterr().err
    )


def test_a_failing_lesson_keeps_its_old_notebook_and_does_not_stop_the_others(course, capsys):
    write_lesson(course, "lessons/mortal/lecture.py", "# %%\nx = 0\n\n# %%\n# divide\n1 / x\n")
    write_lesson(course, "lessons/next/lecture.py", "# %%\nprint('built')\n")
    old = (course / "notebooks/01_mortal.ipynb").read_bytes()
    assert build.main(["--root", str(course), "01", "02"]) == 1
    printed = capsys.readouterr().err
    assert (
        "course/lessons/mortal/lecture.py: cell 2 of 2 (`# divide`) raised ZeroDivisionError: division by zero"
        in printed
    )
    assert (course / "notebooks/01_mortal.ipynb").read_bytes() == old
    assert (course / "notebooks/02_next.ipynb").exists()


def test_a_lesson_whose_kernel_dies_is_named(course, capsys, monkeypatch):
    monkeypatch.setenv("DIE", "1")
    old = (course / "notebooks/01_mortal.ipynb").read_bytes()
    assert build.main(["--root", str(course), "01"]) == 1
    assert (
        "course/lessons/mortal/lecture.py: cell 1 of 2 (`import os`) ended its kernel"
        in capsys.readouterr().err
    )
    assert (course / "notebooks/01_mortal.ipynb").read_bytes() == old


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("import warnings\nwarnings.warn('beware')", "writes to stderr"),
        ("import os\nprint(os.getcwd())", "prints a path of this machine"),
        ("from tqdm.auto import tqdm\nlist(tqdm([1]));", "stores a progress bar as it began"),
    ],
)
def test_outputs_that_no_other_machine_repeats_are_refused(tmp_path, capsys, cell, message):
    write_lesson(tmp_path, "lessons/bad/lecture.py", f"# %%\n{cell}\n")
    assert build.main(["--root", str(tmp_path)]) == 1
    assert (
        f"course/lessons/bad/lecture.py: cell 1 of 1 (`{cell.splitlines()[0]}`) {message}"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "notebooks/00_bad.ipynb").exists()


def test_text_that_changed_is_taken_over_and_nothing_runs(course, monkeypatch, capsys):
    monkeypatch.setattr(build, "execute", lambda *arguments: pytest.fail("it runs a notebook"))
    before = {path: path.read_text() for path in course.glob("**/*.ipynb")}
    edit_source(course)
    path = course / "course/syllabus.toml"
    path.write_text('[course]\nrepository = "https://example.org/toy"\n' + path.read_text())
    assert build.main(["--root", str(course), "--keep-outputs"]) == 0
    assert build.check(course) == []
    nb = read(course, LECTURE_NB)
    assert nb.cells[0].source == "# 0. Another toy"
    assert "%pip install -q git+https://example.org/toy\n\nimport os" in nb.cells[1].source
    old = nbformat.reads(before[course / LECTURE_NB], as_version=4)
    assert [x.get("outputs") for x in nb.cells] == [x.get("outputs") for x in old.cells]
    edit_answer(course)
    assert build.main(["--root", str(course), "--keep-outputs"]) == 1
    said = capsys.readouterr().err
    assert "exercises.py: its code changed" in said and f"{AGAIN}00_toy_exercises" in said


def test_an_expected_error_may_not_be_stored(tmp_path, capsys):
    write_lesson(tmp_path, "lessons/bad/lecture.py", '# %% tags=["raises-exception"]\n1 / 0\n')
    assert build.main(["--root", str(tmp_path)]) == 1
    assert "shows the error ZeroDivisionError: division by zero. To show" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            EXERCISES.replace("### BEGIN SOLUTION", "").replace("### END SOLUTION", ""),
            "would get the answers",
        ),
        (EXERCISES.replace("### END SOLUTION", ""), "no end solution statement found"),
    ],
)
def test_answers_that_are_not_marked_are_refused(course, capsys, source, message):
    write_lesson(course, "lessons/toy/exercises.py", source)
    assert build.main(["--root", str(course), "00_toy_exercises"]) == 1
    printed = capsys.readouterr().err
    assert "course/lessons/toy/exercises.py: " in printed
    assert message in printed


def test_an_interrupted_write_leaves_the_old_notebook(course, monkeypatch):
    old = (course / LECTURE_NB).read_bytes()

    whole = Path.write_text

    def stop_half_way(path, text, **options):
        whole(path, text[: len(text) // 2], **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        build.write(nbformat.v4.new_notebook(), course / LECTURE_NB)
    assert (course / LECTURE_NB).read_bytes() == old
    assert not list(course.glob("**/.*"))


# ---------------------------------------------------------------- what the check catches


def complaints(root, capsys, *arguments):
    failed = build.main(["--root", str(root), "--check", *arguments])
    printed = capsys.readouterr().err
    assert failed == bool(printed)
    return printed


def test_the_check_passes_a_fresh_build_and_executes_nothing(built, capsys, monkeypatch):
    monkeypatch.setattr(build, "execute", lambda *_: pytest.fail("executed"))
    before = {path: path.read_bytes() for path in built.glob("**/*.ipynb")}
    assert complaints(built, capsys) == ""
    assert {path: path.read_bytes() for path in built.glob("**/*.ipynb")} == before


def edit_source(root):
    source = root / "course/lessons/toy/lecture.py"
    source.write_text(source.read_text().replace("# # A toy", "# # Another toy"))


def edit_answer(root):
    source = root / "course/lessons/toy/exercises.py"
    source.write_text(source.read_text().replace("2 * x", "x + x"))


def edit_release(root):
    def hand_out_the_answer(nb):
        nb.cells[1].source = "def triple(x):\n    return 3 * x"

    edit(root, RELEASE_NB, hand_out_the_answer)


def clear_outputs(nb):
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def add_error(nb):
    nb.cells[3].outputs = [
        nbformat.v4.new_output("error", ename="ValueError", evalue="x", traceback=[])
    ]


def save_in_jupyterlab(nb):
    nb.metadata.language_info.version = "3.13.1"


def do_the_exercise(nb):
    nb.cells[2].outputs = [nbformat.v4.new_output("stream", text="well done\n")]


AGAIN = "Run: make lessons LESSON="


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            edit_source,
            f"{LECTURE_NB}: does not come from course/lessons/toy/lecture.py, first in the source of cell 1. "
            f"Edit only course/lessons/toy/lecture.py, never the notebook. {AGAIN}00_toy",
        ),
        (edit_answer, f"{ANSWERS_NB}: does not come from course/lessons/toy/exercises.py"),
        (edit_release, f"{RELEASE_NB}: does not come from course/assignments/ps1_toy/notebook.py"),
        (
            lambda root: edit(root, LECTURE_NB, clear_outputs),
            f"{LECTURE_NB}: cell 2 has not been executed, or its output was cleared. {AGAIN}00_toy",
        ),
        (
            lambda root: edit(root, LECTURE_NB, add_error),
            f"{LECTURE_NB}: cell 4 holds an error. Mend course/lessons/toy/lecture.py. {AGAIN}00_toy",
        ),
        (
            lambda root: edit(root, LECTURE_NB, save_in_jupyterlab),
            f"{LECTURE_NB}: does not come from course/lessons/toy/lecture.py, in the metadata of the notebook",
        ),
        (
            lambda root: edit(root, LECTURE_NB, lambda nb: nb.cells.pop()),
            f"{LECTURE_NB}: does not come from course/lessons/toy/lecture.py, 4 cells instead of 5",
        ),
        (
            lambda root: edit(root, STUDENT_NB, do_the_exercise),
            f"{STUDENT_NB}: does not come from course/lessons/toy/exercises.py, first in the outputs of cell 3",
        ),
        (lambda root: (root / GRADED_NB).unlink(), f"{GRADED_NB}: is missing. {AGAIN}ps1_toy"),
        (
            lambda root: (root / LECTURE_NB).write_text("<<<<<<< HEAD"),
            f"{LECTURE_NB}: cannot be read (NotJSONError). {AGAIN}00_toy",
        ),
        (
            lambda root: take_out(root, "mortal"),
            "notebooks/01_mortal.ipynb: has no source in course/. Delete it, or keep it elsewhere.",
        ),
    ],
)
def test_the_check_says_which_notebook_is_wrong_and_what_to_do(course, capsys, harm, message):
    harm(course)
    printed = complaints(course, capsys)
    assert printed.startswith(message)
    assert printed.count("\n") == 1, "one notebook is wrong, and one line says so"


def test_what_lessons_print_is_left_to_nbval(course, capsys):
    edit(course, LECTURE_NB, lambda nb: nb.cells[2].outputs.pop())
    assert complaints(course, capsys) == ""


# ---------------------------------------------------------------- what nbval catches


# a long training whose progress bar sends more than what is kept of messages that nobody takes
TALKATIVE = (
    """\
import ipywidgets
bar = ipywidgets.IntProgress(max=15_000)
display(bar)
for i in range(15_000):
    bar.value = i""",
    "done = True",
)


@pytest.fixture(scope="module")
def nbval_report(built, tmp_path_factory, foreign_kernel):
    """pytest's words on the toy course, one printed number changed and one kernel dying, run as `make test` does."""
    root = Path(shutil.copytree(built, tmp_path_factory.mktemp("nbval") / "course"))
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy(ROOT / name, root)
    changed = root / "notebooks/02_changed.ipynb"
    changed.write_text((root / LECTURE_NB).read_text().replace("total 3", "total 4"))
    cells = [nbformat.v4.new_code_cell(source) for source in TALKATIVE]
    cells[0].metadata.tags = ["nbval-ignore-output"]
    talkative = nbformat.v4.new_notebook(cells=cells)
    nbformat.write(talkative, root / "notebooks/03_talkative.ipynb")
    env = {**os.environ, "DIE": "1", "JUPYTER_PATH": str(foreign_kernel)}
    env |= {"OMP_NUM_THREADS": "7", "MPLBACKEND": "agg"}
    env = {key: value for key, value in env.items() if not key.startswith("PYTEST_")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--color=no"],
        cwd=root, env=env, text=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return run.stdout


def verdicts(report, name):
    """What became of each code cell of a notebook, in order."""
    found = re.findall(
        rf"^(PASSED|FAILED) {re.escape(name)}::Cell (\d+)", report, flags=re.MULTILINE
    )
    return [verdict for verdict, _ in sorted(found, key=lambda pair: int(pair[1]))]


def test_stored_notebooks_pass_nbval_in_this_python_whatever_kernels_there_are(nbval_report):
    # the last cell warns: its output is not compared, but a reader would see it
    assert verdicts(nbval_report, LECTURE_NB) == [*["PASSED"] * 3, "FAILED"], nbval_report
    assert "the cell writes to stderr" in nbval_report
    assert verdicts(nbval_report, ANSWERS_NB) == ["PASSED"] * 2
    assert verdicts(nbval_report, GRADED_NB) == ["PASSED"] * 2


def test_nbval_does_not_run_what_students_are_to_fill_in(nbval_report):
    assert verdicts(nbval_report, STUDENT_NB) == []
    assert verdicts(nbval_report, RELEASE_NB) == []


def test_a_changed_number_fails_nbval(nbval_report):
    name = "notebooks/02_changed.ipynb"
    assert verdicts(nbval_report, name)[:3] == ["PASSED", "FAILED", "PASSED"]
    assert "total 4" in nbval_report


def test_a_cell_that_sends_very_many_messages_passes(nbval_report):
    assert verdicts(nbval_report, "notebooks/03_talkative.ipynb") == ["PASSED"] * 2, nbval_report


def test_a_kernel_that_dies_fails_at_once(nbval_report):
    assert verdicts(nbval_report, "notebooks/01_mortal.ipynb") == ["FAILED", "FAILED"]
    assert "the kernel died in this cell" in nbval_report


def test_a_message_whose_wake_up_is_lost_is_found(monkeypatch):
    """As seen once under load: a reply lay there, and who waited for it was never woken."""
    messages, waits = [{"msg_type": "execute_reply"}], []

    async def get_msg(channel, timeout):
        waits.append(timeout)
        if len(waits) < 3 or not messages:  # not woken, and the time is over
            raise Empty
        return messages.pop()

    monkeypatch.setattr(build.AsyncZMQSocketChannel, "get_msg", get_msg)
    channel = object.__new__(build.LooksAgain)
    assert asyncio.run(channel.get_msg(timeout=None)) == {"msg_type": "execute_reply"}
    assert waits == [1, 1, 1]
    with pytest.raises(Empty):
        asyncio.run(channel.get_msg(timeout=0.5))
    assert len(waits) == 4 and 0 < waits[-1] <= 0.5
    for manager in (build.ThisPython, GradingKernel):
        client = manager().client_factory
        assert client().shell_channel_class is client().iopub_channel_class is build.LooksAgain
