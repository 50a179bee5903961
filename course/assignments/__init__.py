"""What homework is compared with: for every problem set its variants, its tasks and the mistakes they know.

Students' copies of the course come without this folder, and the jail in which `make grade` runs their
code does not show it.
"""

from course.assignments.core import (
    Part,
    ProblemSet,
    Task,
    Verdict,
    grade,
    grade_here,
    gradients,
    problem_set,
    values,
)

__all__ = [
    "Part",
    "ProblemSet",
    "Task",
    "Verdict",
    "grade",
    "grade_here",
    "gradients",
    "problem_set",
    "values",
]
