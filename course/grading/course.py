"""A problem set as `make grade` sees it: its notebooks, its graders, its limits and where its work lies."""

import hashlib
import importlib.util
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from course.assignments import ProblemSet, Task, problem_set
from course.grading.jail import Limits
from course.publish.build import ROOT, find_lessons, write, write_text
from course.publish.release import released, released_variant

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
        due: until when to hand in.
        late: what late work costs, as nbgrader's LateSubmissionPlugin calls it.
    """

    def __init__(
        self,
        name: str,
        out: Path,
        jailed: bool = True,
        private: Path | None = None,
        seconds: float | None = None,
        due: datetime | None = None,
        late: str = "none",
    ):
        self.name, self.out, self.jailed = name, out, jailed
        self.due, self.late = due, late
        self.graders = graders_of(name)
        lesson = next(x for x in find_lessons(ROOT) if x.name == name)
        self.seed = released_variant(ROOT, lesson)
        self.master, self.release = (
            nbformat.read(path, as_version=4) for path in released(ROOT, lesson)
        )
        self.variant = self.graders.variant(self.seed)
        seconds = self.graders.seconds if seconds is None else seconds
        self.limits = Limits(seconds, seconds / 2)
        self.private, private_text = private_tasks(private, self.graders)
        # what a grade depends on, next to the submission: a change of any of it grades anew
        package = ROOT / "course"
        sources = [package / "assignments" / x for x in (f"{name}/grader.py", "core.py")]
        sources += [
            package / "checking" / x for x in ("questions.py", "hand_in.py", "output.py", "core.py")
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
        c.LateSubmissionPlugin.penalty_method = self.late
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
                f"{path}: TASKS[{name!r}] must be a course.assignments.Task for one of: {', '.join(graders.tasks)}."
            )
    return tasks, path.read_text()


def digest(*parts: str | bytes) -> str:
    """One name for all of it."""
    made = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode()
        made.update(len(raw).to_bytes(8, "big") + raw)
    return made.hexdigest()
