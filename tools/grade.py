"""Grade a class's submissions of a problem set, each in a jail of its own.

    make grade PS=ps2_vae SUBMISSIONS=folder [JOBS=2] [PRIVATE_TESTS=folder] [UNSAFE=1]

Leaves grading/ps2_vae/ with grades.csv, feedback/STUDENT.html and nbgrader's gradebook, in which the written
answers wait for a reader. Run it again to go on after an interruption, to grade what has come in since, or
to bring marks that a person gave into the table and the pages; what is graded already is not graded again.
"""

import argparse
import asyncio
import copy
import hashlib
import importlib.util
import json
import multiprocessing
import os
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
import torch
from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    LimitOutput,
    NbGraderPreprocessor,
    SaveAutoGrades,
)
from tqdm import tqdm
from traitlets.config import Config

from genlib.evaluation import format_table
from genlib.graders import ProblemSet, Task, problem_set
from tools.build import ROOT, BuildError, find_lessons, write, write_text
from tools.grading.execution import Grading, Submission
from tools.grading.feedback import Result, TaskResult, write_grades, write_page
from tools.grading.jail import Limits, NoJail, check_jail, kernel_manager, kernel_settings
from tools.grading.submissions import (
    Handed,
    NoSubmissions,
    Unreadable,
    collect,
    is_answer,
    read_notebook,
    rebuild,
    suspicious,
)

CONFIG = '''"""For nbgrader's formgrader, which `make marks` opens: where the work of this problem set lies."""

import os

c = get_config()  # noqa: F821
here = os.path.dirname(os.path.abspath(__file__))
c.CourseDirectory.root = here
c.CourseDirectory.course_id = "genlib"
c.CourseDirectory.db_url = f"sqlite:///{here}/gradebook.db"
'''


class CannotGrade(Exception):
    """Why there is no grading, and what to do."""


class Course:
    """What all submissions of one problem set share.

    Args:
        name: of the problem set.
        out: where everything goes.
        jailed: False runs strangers' code in the open.
        private: a folder with a lecturer's own tests.
        seconds: a submission may run, if not as long as the problem set says.
    """

    def __init__(
        self,
        name: str,
        out: Path,
        jailed: bool = True,
        private: Path | None = None,
        seconds: float | None = None,
    ):
        self.name, self.out, self.jailed = name, out, jailed
        self.graders = graders_of(name)
        lesson = next(x for x in find_lessons(ROOT) if x.name == name)
        try:
            self.master = nbformat.read(ROOT / lesson.executed, as_version=4)
            self.release = nbformat.read(ROOT / lesson.student, as_version=4)
        except OSError as error:
            raise CannotGrade(
                f"{error.filename} is missing. Run: make release PS={name}"
            ) from error
        self.seed = self.master.metadata.get("genlib", {}).get("variant", 0)
        self.variant = self.graders.variant(self.seed)
        seconds = self.graders.seconds if seconds is None else seconds
        self.limits = Limits(seconds, seconds / 2)
        self.private, private_text = private_tasks(private, self.graders)
        # what a grade depends on, next to the submission: a change of any of it grades anew
        sources = [
            ROOT / "genlib" / "graders" / f"{name}.py",
            ROOT / "genlib" / "graders" / "core.py",
        ]
        text = "".join(path.read_text() for path in sources)
        self.key = digest(nbformat.writes(self.master), text, private_text, str(self.limits))

    def path(self, stage: str, student: str) -> Path:
        return self.out / stage / student / self.name / f"{self.name}.ipynb"

    def config(self) -> Config:
        c = Config()
        c.CourseDirectory.root = str(self.out)
        c.CourseDirectory.course_id = "genlib"
        # several graders write to it by turns
        c.CourseDirectory.db_url = f"sqlite:///{self.out}/gradebook.db?timeout=60"
        c.Autograde.log_level = c.GenerateAssignment.log_level = "WARNING"
        return c

    def nbgrader(self, config: Config) -> NbGraderAPI:
        return NbGraderAPI(CourseDirectory(config=config), config=config)

    def gradebook(self) -> Gradebook:
        return Gradebook(self.config().CourseDirectory.db_url, "genlib")

    def prepare(self) -> None:
        """Tell nbgrader what the problem set's cells are."""
        for stage in ("results", "feedback"):
            (self.out / stage).mkdir(parents=True, exist_ok=True)
        write_text(self.out / "nbgrader_config.py", CONFIG)
        stamp = self.out / ".prepared"
        if stamp.exists() and stamp.read_text() == self.key:
            return
        source = self.out / "source" / self.name / f"{self.name}.ipynb"
        write(self.master, source)
        made = self.nbgrader(self.config()).generate_assignment(self.name, force=True)
        if not made["success"]:
            raise CannotGrade(
                f"nbgrader refuses the problem set:\n{made.get('log') or made['error']}"
            )
        write_text(stamp, self.key)


def graders_of(name: str) -> ProblemSet:
    try:
        return problem_set(name)
    except ValueError as error:
        names = sorted(x.name for x in find_lessons(ROOT) if x.release)
        raise CannotGrade(
            f"no problem set is called {name!r}. There are: {', '.join(names)}."
        ) from error


def private_tasks(folder: Path | None, graders: ProblemSet) -> tuple[Mapping[str, Task], str]:
    """A lecturer's own tests, from outside of the repository: FOLDER/psN_topic.py with TASKS = {task: Task}."""
    if folder is None:
        return {}, ""
    path = folder / f"{graders.name}.py"
    if not path.exists():
        raise CannotGrade(f"PRIVATE_TESTS: there is no {path}.")
    spec = importlib.util.spec_from_file_location("private_tests", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        tasks = dict(module.TASKS)
    except Exception as error:
        raise CannotGrade(f"{path} does not run: {type(error).__name__}: {error}") from error
    for name, task in tasks.items():
        if name not in graders.tasks or not isinstance(task, Task):
            raise CannotGrade(
                f"{path}: TASKS[{name!r}] must be a genlib.graders.Task for one of: {', '.join(graders.tasks)}."
            )
    return tasks, path.read_text()


def digest(*parts: str | bytes) -> str:
    """One name for all of it."""
    made = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode()
        made.update(len(raw).to_bytes(8, "big") + raw)
    return made.hexdigest()


# ---------------------------------------------------------------- one submission


def run_notebook(nb: NotebookNode, course: Course) -> Grading:
    """Execute a notebook in the jail and judge what it hands in; its outputs hold the verdicts."""
    # never the numbers of another run; a student could not foresee them
    grading = Grading(
        course.graders, course.private, course.variant, course.limits, secrets.randbelow(2**31)
    )
    folder = Path(
        tempfile.mkdtemp(prefix="gk")
    )  # short: names of sockets have room for 100 characters
    try:
        inputs, sockets = folder / "inputs.pt", folder / "s"
        sockets.mkdir()
        torch.save(grading.inputs(), inputs)
        manager = kernel_manager(
            sockets=sockets, inputs=inputs, limits=course.limits, jailed=course.jailed
        )
        client = Submission(nb, grading, sockets, km=manager)
        env = {**os.environ, **kernel_settings(inputs)}  # the jail gives the kernel less than that
        with open(os.devnull, "w") as nowhere:
            client.execute(
                cwd=str(sockets), env=env, stdout=nowhere, stderr=nowhere, cleanup_kc=True
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return grading


def grade_one(course: Course, handed: Handed, key: str) -> None:
    """Grade a submission and leave what is known about it in results/STUDENT.json."""
    start = time.monotonic()
    about = {"key": key, "student": handed.student, "notes": list(handed.notes), "flags": []}
    about |= {"status": "graded", "problem": handed.problem, "tasks": {}}
    try:
        if handed.problem is not None:
            raise Unreadable(handed.problem)
        submitted = read_notebook(handed.content)
        nb, notes = rebuild(submitted, course.master, course.release)
        about["notes"] += notes
        about["flags"] += suspicious(nb)
        write(nb, course.path("submitted", handed.student))
        grading = autograde(course, handed.student)
        about["status"], about["flags"] = grading.status, about["flags"] + grading.flags
        about["tasks"] = {name: list(x.messages) for name, x in grading.verdicts.items()}
    except Unreadable as error:
        about |= {"status": "no notebook", "problem": str(error)}
    about["seconds"] = time.monotonic() - start
    write_text(course.out / "results" / f"{handed.student}.json", json.dumps(about, indent=1))


def autograde(course: Course, student: str) -> Grading:
    """nbgrader's autograde, with the jail where it would have run the notebook."""
    done = []

    class RunInJail(NbGraderPreprocessor):
        def preprocess(self, nb, resources):
            done.append(run_notebook(nb, course))
            return nb, resources

    config = course.config()
    config.Autograde.autograde_preprocessors = [
        RunInJail,
        ClearMetadataPreprocessor,
        LimitOutput,
        SaveAutoGrades,
        AssignLatePenalties,
        CheckCellMetadata,
    ]
    made = course.nbgrader(config).autograde(course.name, student, force=True)
    if not made["success"] or not done:
        raise RuntimeError(made.get("log") or made.get("error") or "nbgrader did not run")
    return done[0]


# ---------------------------------------------------------------- all of them


def grade_all(course: Course, everybody: Sequence[Handed], jobs: int) -> None:
    """Grade whoever is not graded yet, several at once, each in a process of its own."""
    waiting = []
    for handed in everybody:
        key = digest(course.key, handed.content, handed.problem or "", str(handed.notes))
        if stored(course, handed.student).get("key") != key:
            waiting.append((handed, key))
    fork = multiprocessing.get_context("fork")  # imports are paid for once
    running: dict[Handed, tuple] = {}
    with tqdm(
        total=len(everybody), initial=len(everybody) - len(waiting), unit="submission"
    ) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    handed, key = waiting.pop(0)
                    log = tempfile.TemporaryFile("w+")
                    worker = fork.Process(target=in_worker, args=(course, handed, key, log))
                    worker.start()
                    running[handed.student] = (worker, handed, log, time.monotonic())
                for name, (worker, handed, log, start) in list(running.items()):
                    worker.join(0.1)
                    # the watch in the jail ends it long before; this is for the grader's own troubles
                    if worker.is_alive() and time.monotonic() - start > course.limits.seconds + 300:
                        worker.kill()
                        worker.join()
                    if not worker.is_alive():
                        if worker.exitcode:
                            note_failure(course, handed, worker.exitcode, log)
                        log.close()
                        del running[name]
                        bar.update()
        finally:
            for worker, *_ in running.values():
                worker.kill()
                worker.join()


def in_worker(course: Course, handed: Handed, key: str, log) -> None:
    """The life of a grading process; what it says goes into the log, for when it fails."""
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    asyncio.set_event_loop(asyncio.new_event_loop())
    try:
        grade_one(course, handed, key)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # what the parent has open is the parent's to close


def note_failure(course: Course, handed: Handed, code: int, log) -> None:
    """The grader's own failure costs nobody a point and is tried again next time."""
    log.seek(0)
    text = log.read()[-4000:]
    about = {"key": None, "student": handed.student, "status": "grader failed", "seconds": 0.0}
    about |= {"problem": f"the grader ended with {code}; it is no fault of yours", "tasks": {}}
    about |= {
        "notes": list(handed.notes),
        "flags": [f"grader failed: see results/{handed.student}.log"],
    }
    write_text(course.out / "results" / f"{handed.student}.log", text)
    write_text(course.out / "results" / f"{handed.student}.json", json.dumps(about, indent=1))


def stored(course: Course, student: str) -> dict:
    """What is known about a submission; nothing where that cannot be read."""
    try:
        return json.loads((course.out / "results" / f"{student}.json").read_text())
    except (OSError, ValueError):
        return {}


def results(course: Course, everybody: Sequence[Handed]) -> list[Result]:
    """Everybody's points as the gradebook has them: the tests', and those that a person gave."""
    made = []
    with course.gradebook() as gradebook:
        assignment = gradebook.find_assignment(course.name)
        points = {x.name: x.max_score for x in assignment.notebooks[0].grade_cells}
        written = {c.metadata.nbgrader.grade_id for c in course.master.cells if is_answer(c)}
        for handed in everybody:
            about = stored(course, handed.student)
            result = Result(handed.student, about["status"], about["seconds"], about["problem"])
            result.notes, result.flags = about["notes"], about["flags"]
            grades = {}
            if about["status"] not in ("no notebook", "grader failed"):
                grades, result.comments = given(gradebook, course, handed.student, written)
            for name, most in points.items():
                messages = about["tasks"].get(name, [])
                result.tasks.append(TaskResult(name, grades.get(name, 0.0), most, messages))
            made.append(result)
    return made


def given(gradebook: Gradebook, course: Course, student: str, written: set[str]):
    """A student's points and comments, by cell; None for a written answer that waits for a reader."""
    try:
        notebook = gradebook.find_submission_notebook(course.name, course.name, student)
    except MissingEntry:
        return {}, {}
    release = {c.metadata.nbgrader.grade_id: c.source for c in course.release.cells if is_answer(c)}
    answers = {
        c.metadata.nbgrader.grade_id: c.source
        for c in nbformat.read(course.path("submitted", student), as_version=4).cells
        if is_answer(c)
    }
    points = {}
    for grade in notebook.grades:
        score = grade.manual_score if grade.manual_score is not None else grade.auto_score
        if grade.name in written and grade.manual_score is None:
            # an empty answer needs no reader
            score = 0.0 if answers[grade.name] == release[grade.name] else None
        points[grade.name] = None if score is None else score + (grade.extra_credit or 0.0)
    comments = {x.name: x.manual_comment for x in notebook.comments if x.manual_comment}
    return points, comments


def publish(course: Course, made: Sequence[Result]) -> None:
    """Write the table and the pages."""
    for result in made:
        path = course.path("autograded", result.student)
        nb = None
        if result.problem is None and path.exists():
            nb = nbformat.read(path, as_version=4)
        write_page(course.out / "feedback" / f"{result.student}.html", course.name, result, nb)
    write_grades(course.out / "grades.csv", made)


def try_solution(course: Course) -> None:
    """Grade the solution first: where it loses points, so would everybody."""
    stamp = course.out / ".tried"
    key = digest(course.key, str(course.jailed))
    if stamp.exists() and stamp.read_text() == key:
        return
    grading = run_notebook(copy.deepcopy(course.master), course)
    lost = [f"{name}: {x}" for name, x in grading.verdicts.items() if x.points < x.max_points]
    if lost or len(grading.verdicts) != len(course.graders.tasks):
        raise CannotGrade(
            "the solution itself does not get full marks, so nothing was graded "
            f"(status: {grading.status}).\n" + "\n".join(lost)
        )
    write_text(stamp, key)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("problem_set", help="its name: ps2_vae")
    parser.add_argument(
        "submissions", type=Path, help="a folder, or a zip from a learning platform"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--private-tests", type=Path, help="a folder with tests of your own")
    parser.add_argument("--seconds", type=float, help="a submission may run, on a slow machine")
    parser.add_argument("--out", type=Path, default=ROOT / "grading", help="where grades go")
    parser.add_argument("--unsafe", action="store_true", help="run strangers' code without a jail")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    # nbgrader calls one of its helpers by its bare name
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    out = args.out.resolve() / args.problem_set
    try:
        if args.jobs < 1:
            raise CannotGrade(f"JOBS={args.jobs}: at least one.")
        if args.unsafe:
            print("UNSAFE: the submissions run without a jail, with all that you may do.")
        else:
            check_jail()
        everybody = collect(args.submissions, args.problem_set)
        course = Course(args.problem_set, out, not args.unsafe, args.private_tests, args.seconds)
        course.prepare()
        try_solution(course)
        grade_all(course, everybody, args.jobs)
    except (CannotGrade, NoJail, NoSubmissions, BuildError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on where this one stopped.", file=sys.stderr)
        return 130
    made = results(course, everybody)
    publish(course, made)
    rows = {
        x.student: {
            "points": f"{x.points:g} of {x.max_points:g}",
            "status": x.status,
            "to read": x.waiting,
            "look at": len(x.flags),
            "seconds": f"{x.seconds:.1f}",
        }
        for x in made
    }
    print(format_table(rows))
    short = out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out
    print(f"\nGrades: {short / 'grades.csv'}\nPages:  {short / 'feedback'}/STUDENT.html")
    if any(x.waiting for x in made):
        print(
            f"Written answers wait for a reader: make marks PS={args.problem_set}, then this again."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
