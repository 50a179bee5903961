"""Checks that a student calls after each step of an exercise; one file a lesson, `course/lessons/NAME/checks.py`.

    checks.pixelcnn.mask(mask)

A check runs the student's function on random inputs of its own. It prints one line when the answer is
right and raises `Wrong` when it is not, with the likely mistake as its message.
"""

import importlib
from pathlib import Path

from course.checking.core import Unanswered, Wrong

__all__ = ["Unanswered", "Wrong"]

for _path in sorted((Path(__file__).parent / "lessons").glob("*/checks.py")):
    _name = _path.parent.name
    globals()[_name] = importlib.import_module(f"course.lessons.{_name}.checks")
    __all__ += [_name]
