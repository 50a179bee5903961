"""Grade submissions: one in a jail of its own, several at once, and none twice."""

import asyncio
import copy
import json
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import nbformat
import torch
from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbformat import NotebookNode
from nbgrader.api import MissingEntry
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    LimitOutput,
    NbGraderPreprocessor,
    SaveAutoGrades,
)
from tqdm import tqdm

from course.grading.course import CannotGrade, Course, digest
from course.grading.execution import Grading, Submission
from course.grading.jail import kernel_manager, kernel_settings, remove
from course.grading.late import tell_time
from course.grading.review import suspicious, untrained, without_magic
from course.grading.submissions import Handed, Unreadable, is_answer, read_notebook, rebuild
from course.publish.build import write, write_text


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
        # the jail gives the kernel less than that
        env = {**os.environ, **kernel_settings(inputs, course.limits)}
        with open(os.devnull, "w") as nowhere:
            client.execute(
                cwd=str(sockets), env=env, stdout=nowhere, stderr=nowhere, cleanup_kc=True
            )
    finally:
        remove(folder)
    return grading


def grade_one(course: Course, handed: Handed, key: str) -> None:
    """Grade a submission and leave what is known about it in results/STUDENT.json."""
    start = time.monotonic()
    about = {"key": key, "student": handed.student, "notes": list(handed.notes), "flags": []}
    about |= {"status": "graded", "problem": handed.problem, "tasks": {}}
    try:
        if handed.problem is not None:
            raise Unreadable(handed.problem)
        submitted = read_notebook(handed.content())
        nb, notes = rebuild(submitted, course.master, course.release)
        about["notes"] += notes
        about["flags"] += suspicious(nb) + untrained(nb, course.master, course.release)
        # before the new notebook is there: interrupted here, the next run finds the same changes
        about["changed"] = forget_marks(course, handed.student, nb)
        write(nb, course.path("submitted", handed.student))
        tell_time(course, handed)
        grading = autograde(course, handed.student)
        about["status"], about["flags"] = grading.status, about["flags"] + grading.flags
        about["tasks"] = {name: list(x.messages) for name, x in grading.verdicts.items()}
    except Unreadable as error:
        about |= {"status": "no notebook", "problem": str(error)}
    about["seconds"] = time.monotonic() - start
    write_text(course.out / "results" / f"{handed.student}.json", json.dumps(about, indent=1))


def forget_marks(course: Course, student: str, nb: NotebookNode) -> list[str]:
    """Take back what a person said of answers that are no longer the ones they read; the answers' names."""
    path = course.path("submitted", student)
    known = set(stored(course, student).get("changed", []))
    if not path.exists():
        return sorted(known)
    before = {
        c.metadata.nbgrader.grade_id: c.source
        for c in nbformat.read(path, as_version=4).cells
        if is_answer(c)
    }
    now = {c.metadata.nbgrader.grade_id: c.source for c in nb.cells if is_answer(c)}
    with course.gradebook() as gradebook:
        try:
            marked = gradebook.find_submission_notebook(course.name, course.name, student)
        except MissingEntry:
            return sorted(known)
        for grade in marked.grades:
            if before.get(grade.name) == now.get(grade.name):
                continue
            if grade.manual_score is not None:
                known.add(grade.name)
            grade.manual_score, grade.extra_credit, grade.needs_manual_grade = None, None, True
        for comment in marked.comments:
            if before.get(comment.name) != now.get(comment.name):
                comment.manual_comment = None
        gradebook.db.commit()
    return sorted(known)


def autograde(course: Course, student: str) -> Grading:
    """nbgrader's autograde, with the jail where it would have run the notebook."""
    done = []

    class RunInJail(NbGraderPreprocessor):
        def preprocess(self, nb, resources):
            flags = []
            if not course.jailed:
                nb, flags = without_magic(nb, course.master)
            done.append(run_notebook(nb, course))
            done[-1].flags.extend(flags)
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


def grade_all(course: Course, everybody: Sequence[Handed], jobs: int, anew: bool = False) -> None:
    """Grade whoever is not graded yet (or everybody anew), several at once, each in a process of its own."""
    waiting = []
    for handed in everybody:
        key = digest(course.key, handed.content(), handed.problem or "", str(handed.notes))
        if anew or stored(course, handed.student).get("key") != key:
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
    sys.stdout = sys.stderr = log  # which may have been others than these two
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
