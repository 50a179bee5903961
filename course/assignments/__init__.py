"""What homework is compared with: for every problem set its variants, its tasks and the mistakes they know.

Students' copies of the course come without this folder, and the jail in which `make grade` runs their
code does not show it.
"""

from course.assignments.core import (
    Part,
    ProblemSet,
    Task,
    Verdict,
    compared,
    grade,
    grade_here,
    problem_set,
    task,
)

__all__ = [
    "Part",
    "ProblemSet",
    "Task",
    "Verdict",
    "compared",
    "grade",
    "grade_here",
    "problem_set",
    "task",
]
