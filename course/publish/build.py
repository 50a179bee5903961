"""Build every notebook from its one edited form, a jupytext percent file in course/.

    python -m course.publish.build            build all of them, executed
    python -m course.publish.build vae ps1    those of lesson vae, and those whose name starts with ps1
    python -m course.publish.build --keep-outputs   put text that changed into them, and run nothing
    python -m course.publish.build --check    fail, executing nothing, when a notebook does not come from its source

    course/lessons/topic/lecture.py           notebooks/NN_topic.ipynb             executed
    course/lessons/topic/exercises.py         solutions/NN_topic_exercises.ipynb   executed, with answers
                                              notebooks/NN_topic_exercises.ipynb   for students: no answers, no outputs
    course/assignments/psN_topic/notebook.py  solutions/psN_topic/psN_topic.ipynb  executed; nbgrader's source
                                              notebooks/assignments/psN_topic/psN_topic.ipynb
                                                                                   nbgrader's release: no hidden tests

NN is a lesson's place in course/syllabus.toml. A source never writes it: {{topic}} in its text stands for it,
{{before}} and {{after}} for links to its neighbours, and its title gets it in front. In front of the imports of a
lesson and of its exercises come the lines that install the course where it is missing (`first_cell`). The tables of
lessons in stored pages are written with the notebooks (`contents`). Two builds of the same source give the same bytes
apart from what cells print, so a diff shows what changed.
"""

import argparse
import copy
import importlib
import math
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty

import jupytext
import nbformat
import zmq
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert.exporters.exporter import ResourcesDict
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)
from traitlets import Type

from course import syllabus
from course.publish import contents, first_cell, markdown

ROOT = Path(__file__).resolve().parents[2]
KEPT_METADATA = {"alt", "nbgrader", "slideshow", "tags", "deletable", "editable"}
BOARD_METADATA = {"board", "name"}  # for the decks alone (`boards`)
# what a front end needs to know, without the versions of whoever built it
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
# How a lecture looks as a live deck (jupyterlab-rise); course/explorers/live/ does the rest.
LIVE_DECK = {
    "theme": "white",  # the default one asks the network for its fonts
    "start_slideshow_at": "beginning",  # after "run all cells" the last cell is selected
    "center": False,  # the style sheet does, also when an output comes late
    "scroll": True,  # where the style sheet is not installed
    "slideNumber": "c/t",
    "transition": "none",
}
# As `make test` sets them: the number of threads changes the order of sums, and so the last printed digit.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
CELL_TIMEOUT = 1200  # seconds; twice what the tests allow, so that a slow machine can still build
SLOW = 120  # seconds a lesson may take before a class grows restless
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PROGRESS = re.compile(r"\d+%\|.*\|")
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"

PROBLEM_SET = re.compile(r"ps\d+_[a-z0-9_]+")
TITLE = re.compile(r"\A# (?=\S)")


class BuildError(Exception):
    """What is wrong, in words that say where and what to do."""


@dataclass(frozen=True)
class Lesson:
    """One source, and where its forms go (paths relative to the root of the course)."""

    name: str  # of its notebook
    source: Path
    executed: Path
    student: Path | None  # none for a lecture: students get the executed notebook
    release: bool = False  # a problem set: nbgrader releases and grades it
    place: int | None = None  # in the order of the lessons


# ---------------------------------------------------------------- what there is to build


def find_lessons(root, prefixes=()):
    """Every lesson that the prefixes `choose` (all of them without), in their order."""
    try:
        entries = syllabus.lessons(root)
    except ValueError as error:
        raise BuildError(str(error)) from error
    lessons = []
    for entry in entries:
        folder = Path("course/lessons", entry.name)
        if not (root / folder / "lecture.py").exists():
            raise BuildError(
                f"{folder / 'lecture.py'} is missing: write it, or take the lesson out of {syllabus.FILE}."
            )
        executed = Path("notebooks", f"{entry.notebook}.ipynb")
        lessons.append(
            Lesson(entry.notebook, folder / "lecture.py", executed, None, place=entry.place)
        )
        if (root / folder / "exercises.py").exists():
            name = f"{entry.notebook}_exercises"
            executed, student = (
                Path(where, f"{name}.ipynb") for where in ("solutions", "notebooks")
            )
            lessons.append(Lesson(name, folder / "exercises.py", executed, student))
    known = {entry.name for entry in entries}
    for path in sorted((root / "course/lessons").glob("*/*.py")):
        if path.name in ("lecture.py", "exercises.py") and path.parent.name not in known:
            raise BuildError(
                f"{path.relative_to(root)}: {syllabus.FILE} does not name this lesson. Put it in its place there."
            )
    for path in sorted((root / "course/assignments").glob("*/notebook.py")):
        name = path.parent.name
        if not PROBLEM_SET.fullmatch(name):
            raise BuildError(
                f"{path.relative_to(root)}: no problem set has this name. "
                "Call it psN_topic (small letters, digits and _)."
            )
        inside = Path(name, f"{name}.ipynb")
        student = Path("notebooks/assignments") / inside
        source = path.relative_to(root)
        lessons.append(Lesson(name, source, "solutions" / inside, student, release=True))
    if not lessons:
        raise BuildError(f"{syllabus.FILE} holds no lesson yet.")
    return choose(lessons, prefixes)


def choose(lessons, names):
    """Those of the notebooks that somebody names: "NN_topic" one, "topic" all of a lesson, else those that begin so.

    Raises:
        BuildError: there are none.
    """
    # the whole name of a notebook means it alone, also where others begin with it, and that of a folder what is in it
    whole = {x.name for x in lessons} | {x.source.parent.name for x in lessons}
    starts = tuple(set(names) - whole)
    chosen = [
        x
        for x in lessons
        if not names
        or x.name in names
        or x.source.parent.name in names
        or x.name.startswith(starts)
    ]
    if not chosen:
        raise BuildError(
            f"no lesson's name starts with {' or '.join(names)}. There are: "
            + ", ".join(x.name for x in lessons)
        )
    return chosen


# ---------------------------------------------------------------- source -> notebook


def read_source(root, lesson, variant=0, board=False):
    """The notebook with everything but its outputs.

    Args:
        variant: a problem set has its constants.
        board: whether it keeps the marks of `boards`.
    """
    try:
        nb = jupytext.read(root / lesson.source, fmt="py:percent")
    except (ValueError, nbformat.ValidationError) as error:
        what = str(error).splitlines()[0]
        raise BuildError(
            f"{lesson.source}: is no percent file that jupytext can read: {what}"
        ) from error
    kept = KEPT_METADATA | BOARD_METADATA if board else KEPT_METADATA
    if not board:
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                cell.source = markdown.without_marks(cell.source)
        # a cell of marks alone is none
        nb.cells = [cell for cell in nb.cells if cell.cell_type != "markdown" or cell.source]
    number = lesson.name.split("_")[0]
    marks = syllabus.marks(root, lesson.source.parent.name if lesson.student is None else "")
    for i, cell in enumerate(nb.cells):
        cell.id = f"{number}-{i:03d}"  # from the position: random ids would differ in every build
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key in kept}
        )
        if cell.cell_type == "markdown":
            cell.source = syllabus.fill(cell.source, marks)
    if lesson.place is not None:
        nb.cells[0].source = TITLE.sub(f"# {lesson.place}. ", nb.cells[0].source)
    if not lesson.release:
        cell = next((cell for cell in nb.cells if cell.cell_type == "code"), None)
        if cell:
            cell.source = first_cell.lines(syllabus.repository(root)) + cell.source
    nb.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    nb.nbformat, nb.nbformat_minor = 4, 5
    if lesson.student is None:
        nb.metadata["rise"] = nbformat.from_dict(LIVE_DECK)
    if lesson.release:
        nb.metadata["genlib"] = nbformat.from_dict({"variant": variant})
        set_variant(nb, lesson, variant)
    return nb


def set_variant(nb, lesson, variant):
    """Put a variant's constants into the cell with the tag `variant`, and for {{NAME}} in the prose."""
    cells = [cell for cell in nb.cells if "variant" in cell.metadata.get("tags", [])]
    if not cells:
        return
    graders = importlib.import_module(f"course.assignments.{lesson.name}.grader").PROBLEM_SET

    def constants(seed):
        named = {"VARIANT": seed, **graders.variant(seed)}
        return named, "\n".join(f"{name} = {value!r}" for name, value in named.items())

    # the source shows variant 0, so that it reads, and runs, like any other lesson
    (cell,), (_, written) = cells, constants(0)
    if cell.source != written:
        raise BuildError(f"{lesson.source}: its cell tagged `variant` must be this:\n{written}")
    named, cell.source = constants(variant)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(
                r"\{\{([A-Z_]+)\}\}", lambda name: str(named[name.group(1)]), cell.source
            )


def student_version(nb, lesson):
    """The notebook as students get it: answers, hidden tests and outputs taken out."""
    if lesson.release:
        # nbgrader's own order (GenerateAssignment) without its database, so that a release made by nbgrader is the same
        steps = [
            LockCells(),
            ClearSolutions(),
            ClearOutput(),
            CheckCellMetadata(),
            ComputeChecksums(),
            ClearHiddenTests(),
            ClearMarkScheme(),
            ComputeChecksums(),
            CheckCellMetadata(),
        ]
    else:
        # exercises are not graded, so a cell with an answer needs no nbgrader metadata
        steps = [ClearSolutions(enforce_metadata=False), ClearOutput()]
    student, resources = copy.deepcopy(nb), ResourcesDict()
    for step in steps:
        try:
            student, resources = step.preprocess(student, resources)
        except Exception as error:  # nbgrader raises plain RuntimeErrors, among others
            raise BuildError(
                f"{lesson.source}: {type(step).__name__} refuses it: {error}"
            ) from error
    if [cell.source for cell in student.cells] == [cell.source for cell in nb.cells]:
        raise BuildError(
            f"{lesson.source}: students would get the answers. "
            "Put each between ### BEGIN SOLUTION and ### END SOLUTION."
        )
    return student


# ---------------------------------------------------------------- running


class LooksAgain(AsyncZMQSocketChannel):
    """A channel that looks each second whether there is a message: a lost wake-up would be waited for in vain."""

    async def get_msg(self, timeout=None):
        """As in its parent: raises queue.Empty after so many seconds, None waits for ever."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            try:
                return await super().get_msg(max(0.0, min(1.0, left)))
            except Empty:
                if left <= 1:
                    raise


class Client(AsyncKernelClient):
    """For all who run notebooks here: no message is missed, and none is too many."""

    shell_channel_class = iopub_channel_class = Type(LooksAgain)

    def _context_default(self):
        context = super()._context_default()
        # for its sockets: of what nobody has read yet, a thousand messages would be kept, and the end of others lost
        context.setsockopt(zmq.RCVHWM, 0)
        return context


class ThisPython(AsyncKernelManager):
    """Run notebooks in the Python that builds them, whatever kernels the user has installed."""

    client_factory = Type(Client)

    @property
    def kernel_spec(self):
        # quiet: every kernel would warn that it listens on this machine without encryption
        return KernelSpec(**get_kernel_dict(extra_arguments=["--log-level=ERROR"]))


def execute(nb, root, lesson):
    """Fill in the outputs; raise BuildError for a cell that fails or whose output no other run can repeat."""
    at = 0

    def remember(cell, cell_index):
        nonlocal at
        at = cell_index

    env = {**os.environ, **ONE_THREAD}
    env.pop("MPLBACKEND", None)  # figures belong in the notebook, whatever the shell says
    client = NotebookClient(
        nb,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        kernel_manager_class=ThisPython,
        # where nbval, and a reader, run it
        resources={"metadata": {"path": str((root / lesson.executed).parent)}},
        record_timing=False,
        coalesce_streams=True,  # one print or two in a packet is chance
        on_cell_start=remember,
    )
    try:
        client.execute(env=env)
    except CellExecutionError as error:
        what = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback)  # without the colours
        raise BuildError(
            f"{where(lesson, nb, at)} raised {error.ename}: {error.evalue}\n{what}"
        ) from error
    except CellTimeoutError as error:
        raise BuildError(f"{where(lesson, nb, at)} took more than {CELL_TIMEOUT} s.") from error
    except DeadKernelError as error:
        raise BuildError(f"{where(lesson, nb, at)} ended its kernel (out of memory?).") from error
    clean_outputs(nb)
    refuse_outputs(nb, root, lesson)


def clean_outputs(nb):
    """Take out what differs from run to run and means nothing on another machine."""
    widgets = nb.metadata.pop("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    nb.metadata.update(nbformat.from_dict(NOTEBOOK_METADATA))  # execution adds versions
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        compared = "nbval-ignore-output" not in cell.metadata.get("tags", [])
        kept = []
        for output in cell.outputs:
            # refers to a widget by a random id; what a front end can show without one stays
            view = output.get("data", {}).pop(WIDGET_VIEW, None)
            inside = shown_inside(widgets, view["model_id"]) if view and not compared else []
            if inside:
                kept += inside  # whoever reads without running sees the explorer's first picture
            elif output.get("data") != {} and (compared or output.get("name") != "stderr"):
                kept.append(output)
        cell.outputs = kept


def shown_inside(widgets, model_id):
    """What the output areas within a widget show."""
    state = widgets.get(model_id, {}).get("state", {})
    outputs = list(state.get("outputs", []))
    for child in state.get("children", []):
        outputs += shown_inside(widgets, child.removeprefix("IPY_MODEL_"))
    return outputs


def refuse_outputs(nb, root, lesson):
    """Raise BuildError for an output that no reader wants or no other run repeats."""
    for i, cell in enumerate(nb.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                raise BuildError(
                    f"{where(lesson, nb, i)} shows the error {output.ename}: {output.evalue}. "
                    "To show that something fails, catch it and print it."
                )
            text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
            if output.get("name") == "stderr":
                raise BuildError(
                    f"{where(lesson, nb, i)} writes to stderr, which no two runs do alike: {text.strip()[:200]!r}. "
                    "Mend the warning, take bars from genlib.training.progress, or tag the cell nbval-ignore-output."
                )
            if PROGRESS.search(text):
                raise BuildError(
                    f"{where(lesson, nb, i)} stores a progress bar as it began: {text.strip()[:80]!r}. "
                    "Take bars from genlib.training.progress, which store nothing."
                )
            if str(root) in text:
                raise BuildError(
                    f"{where(lesson, nb, i)} prints a path of this machine: {text.strip()[:200]!r}. "
                    "Its test would fail on any other: print less of it."
                )


def where(lesson, nb, i):
    """Say where to look: a lesson, a cell (counted from 1, as a reader does) and how it begins."""
    cell = nb.cells[i]
    written = first_cell.without(cell.source)
    first = next((x.strip() for x in written.splitlines() if x.strip()), "")
    return f"{lesson.source}: cell {i + 1} of {len(nb.cells)} (`{first}`)"


# ---------------------------------------------------------------- build


def write_text(path, text):
    """All of a file or nothing: an interruption leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.tmp")
    try:
        half.write_text(text, encoding="utf-8")
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def write(nb, path):
    """The same for a notebook."""
    write_text(path, nbformat.writes(nb).rstrip("\n") + "\n")


def build_lesson(root, lesson):
    nb = read_source(root, lesson)
    student = student_version(nb, lesson) if lesson.student else None
    (root / lesson.executed).parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    execute(nb, root, lesson)
    seconds = time.monotonic() - start
    write(nb, root / lesson.executed)
    print(f"{seconds:6.1f} s  {lesson.executed}", flush=True)
    if seconds > SLOW:
        print(f"          slow: a lesson should run in {SLOW} s. Train less, or on smaller images.")
    if student:
        write(student, root / lesson.student)
        print(f"          {lesson.student}", flush=True)


def keep_outputs(root, lesson):
    """Put text that changed, and the address of the course, into notebooks without running them."""
    nb, path = read_source(root, lesson), root / lesson.executed
    again = f"Run: make lessons LESSON={lesson.name}"
    try:
        stored = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise BuildError(f"{lesson.executed}: cannot be read. {again}") from error

    def ran(cells):
        return [(x.cell_type, first_cell.without(x.source)) for x in cells if x.cell_type == "code"]

    if ran(nb.cells) != ran(stored.cells):
        raise BuildError(
            f"{lesson.source}: its code changed, so its outputs may have changed too. {again}"
        )
    outputs = (cell for cell in stored.cells if cell.cell_type == "code")
    for cell in nb.cells:
        if cell.cell_type == "code":
            was = next(outputs)
            cell.outputs, cell.execution_count = was.outputs, was.execution_count
    write(nb, root / lesson.executed)
    if lesson.student:
        write(student_version(read_source(root, lesson), lesson), root / lesson.student)


def build(root, prefixes=(), step=build_lesson):
    """Build the chosen lessons; one that fails keeps its old notebooks and does not stop the others."""
    failed = []
    lessons = find_lessons(root, prefixes)
    try:
        for page in contents.write(root):
            print(f"          {page.relative_to(root)}", flush=True)
    except ValueError as error:
        failed.append(str(error))
    for lesson in lessons:
        try:
            step(root, lesson)
        except BuildError as error:
            failed.append(str(error))
            print(f"  failed  {lesson.source}", flush=True)
    return failed


# ---------------------------------------------------------------- check


def check(root, prefixes=()):
    """What is wrong with the notebooks that are there, one line each."""
    lessons = find_lessons(root, prefixes)
    wrong = []
    for lesson in lessons:
        try:
            expected = read_source(root, lesson)
            wrong += compare(root, lesson, lesson.executed, expected, executed=True)
            if lesson.student:
                student = student_version(expected, lesson)
                wrong += compare(root, lesson, lesson.student, student, executed=False)
        except BuildError as error:
            wrong.append(str(error))
    if not prefixes:
        try:
            wrong += contents.check(root)
        except ValueError as error:
            wrong.append(str(error))
        ours = {x.executed for x in lessons} | {x.student for x in lessons}
        for folder in ("notebooks", "solutions"):
            for path in sorted((root / folder).glob("**/*.ipynb")):
                name = path.relative_to(root)
                if ".ipynb_checkpoints" not in path.parts and name not in ours:
                    wrong.append(
                        f"{name}: has no source in course/. Delete it, or keep it elsewhere."
                    )
    return wrong


def compare(root, lesson, path, expected, executed):
    again = f"Run: make lessons LESSON={lesson.name}"
    if not (root / path).exists():
        return [f"{path}: is missing. {again}"]
    try:
        stored = nbformat.read(root / path, as_version=4)
    except (ValueError, nbformat.reader.NotJSONError) as error:
        return [f"{path}: cannot be read ({error.__class__.__name__}). {again}"]
    if executed:
        for i, cell in enumerate(stored.cells):
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            if any(x.output_type == "error" for x in cell.outputs):
                return [f"{path}: cell {i + 1} holds an error. Mend {lesson.source}. {again}"]
            if cell.execution_count is None:
                return [
                    f"{path}: cell {i + 1} has not been executed, or its output was cleared. {again}"
                ]
            cell.execution_count, cell.outputs = None, []
    difference = first_difference(stored, expected)
    if difference:
        return [
            f"{path}: does not come from {lesson.source}, {difference}. "
            f"Edit only {lesson.source}, never the notebook. {again}"
        ]
    return []


def first_difference(stored, expected):
    """Where two notebooks first differ, in words; None when they are the same."""
    for i, (a, b) in enumerate(zip(stored.cells, expected.cells, strict=False)):
        for part in ("cell_type", "source", "metadata", "id", "execution_count", "outputs"):
            if a.get(part) != b.get(part):
                return f"first in the {part.replace('_', ' ')} of cell {i + 1}"
    if len(stored.cells) != len(expected.cells):
        return f"{len(stored.cells)} cells instead of {len(expected.cells)}"
    if stored != expected:
        return "in the metadata of the notebook"
    return None


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "prefix", nargs="*", help="build the lessons whose name starts so (default: all)"
    )
    parser.add_argument(
        "--check", action="store_true", help="compare only; execute and write nothing"
    )
    parser.add_argument(
        "--keep-outputs", action="store_true", help="take over text that changed; execute nothing"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the course's folder")
    args = parser.parse_args(argv)
    try:
        if args.check:
            wrong = check(args.root.resolve(), args.prefix)
        else:
            step = keep_outputs if args.keep_outputs else build_lesson
            wrong = build(args.root.resolve(), args.prefix, step)
    except BuildError as error:
        wrong = [str(error)]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
