"""One folder a lesson: the lecture, the exercises, their checks, and what tests the checks."""
