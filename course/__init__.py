"""What makes genlib a course: lessons, exercises and their checks, problem sets, explorers, grading, publishing.

`syllabus.toml` knows the order of the lessons, and nothing else does.
"""
