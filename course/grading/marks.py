"""What everybody gets: the tests' points and those that a person gave, in the table and on the pages."""

from collections.abc import Sequence

import nbformat
from nbgrader.api import Gradebook, MissingEntry

from course.grading.course import Course
from course.grading.feedback import Result, TaskResult, write_grades, write_page
from course.grading.late import charge
from course.grading.run import stored
from course.grading.submissions import Handed, is_answer


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
            result.notes = list(result.notes) + [
                f"the answer {name} changed after it was marked: it waits for a reader again"
                for name in about.get("changed", [])
                if name in grades and grades[name] is None
            ]
            for name, most in points.items():
                messages = about["tasks"].get(name, [])
                result.tasks.append(TaskResult(name, grades.get(name, 0.0), most, messages))
            charge(course, gradebook, result, handed)
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
        if grade.name in written:
            # an empty answer needs no reader
            if answers[grade.name].strip() in ("", release[grade.name].strip()):
                score = 0.0
            elif grade.manual_score is None:
                score = None
        points[grade.name] = None if score is None else score + (grade.extra_credit or 0.0)
    comments = {x.name: x.manual_comment for x in notebook.comments if x.manual_comment}
    return points, comments


def publish(course: Course, made: Sequence[Result]) -> None:
    """Write the table and the pages."""
    for result in made:
        path = course.path("autograded", result.source or result.student)
        nb = None
        if result.problem is None and path.exists():
            nb = nbformat.read(path, as_version=4)
        write_page(course.out / "feedback" / f"{result.student}.html", course.name, result, nb)
    write_grades(course.out / "grades.csv", made)
