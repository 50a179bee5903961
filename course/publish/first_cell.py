"""The lines in front of a lesson's imports: where the course is missing, as on Colab, they install it.

A lesson's source does not have them: the build puts them there, with the address that course/syllabus.toml gives.
"""

import re

INSTALL = """\
try:
    import genlib
except ModuleNotFoundError:  # as on Colab: install the course, once a session
    %pip install -q git+{repository}

"""
# as long as nobody has said where to get it
EXPLAIN = """\
try:
    import genlib
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "genlib is not in this Python. `make lab` opens the lessons with it. To install it here, "
        "as on Colab, set `repository` in course/syllabus.toml and run `make lessons`."
    ) from None

"""
OURS = re.compile(r"\Atry:\n    import genlib\n.*?\n\n", re.DOTALL)


def lines(repository: str) -> str:
    """What stands before the imports of a lesson.

    Args:
        repository: the address of the course; empty if it has none.

    Example:
        >>> print(lines("https://example.org/course"), end="")
        try:
            import genlib
        except ModuleNotFoundError:  # as on Colab: install the course, once a session
            %pip install -q git+https://example.org/course
        <BLANKLINE>
    """
    return INSTALL.format(repository=repository) if repository else EXPLAIN


def without(source: str) -> str:
    """The source of a cell as its author wrote it.

    Example:
        >>> without(lines("") + "import math") == without("import math")
        True
    """
    return OURS.sub("", source)
