"""How a problem set hands a student's function to its grader.

A test cell of a problem set ends with a line that students do not see:

    hand_in("ps2_vae", "elbo", elbo, VARIANT)

Where `make grade` runs it, the student's code shares a process with nothing worth stealing: this file calls
the function on inputs that the grader made up, and sends back what it returned. Right answers, known
mistakes and the comparison stay in another process, outside of the jail (course/grading/__main__.py). Whatever a
submission does to torch, to builtins or to this file, it can change only what it returns.

Where no grader waits, as in the solutions, the comparison takes place here and now.
"""

import builtins
import json
import os

import torch
from torch import Tensor

from course.checking.core import Answer, Wrong
from course.checking.questions import MIME, answer_questions, pack

INPUTS = "GENLIB_INPUTS"  # the environment variable that names the file with the grader's questions

# what the comparisons of visible examples rest on; an answer that replaces one of them is worth a look
_OURS = {
    "torch.allclose": (torch, "allclose", torch.allclose),
    "torch.equal": (torch, "equal", torch.equal),
    "torch.isclose": (torch, "isclose", torch.isclose),
    "torch.testing.assert_close": (torch.testing, "assert_close", torch.testing.assert_close),
    "torch.Tensor.__eq__": (Tensor, "__eq__", Tensor.__eq__),
    "torch.randn": (torch, "randn", torch.randn),
    "builtins.abs": (builtins, "abs", abs),
    "builtins.all": (builtins, "all", all),
    "builtins.isinstance": (builtins, "isinstance", isinstance),
    "builtins.open": (builtins, "open", open),
    "builtins.print": (builtins, "print", print),
    "builtins.__import__": (builtins, "__import__", __import__),
}


def rebound() -> list[str]:
    """Names of functions that no longer are what they were when this file was imported."""
    return [name for name, (owner, key, ours) in _OURS.items() if getattr(owner, key) is not ours]


def hand_in(problem_set: str, task: str, answer: Answer, variant: int = 0) -> None:
    """Hand a function to the grader of a task.

    Args:
        problem_set: its name, such as "ps2_vae".
        task: the task's name in it.
        answer: the student's function.
        variant: which variant of the problem set the notebook was released with.

    Raises:
        Wrong: no grader waits outside, and the one at hand finds a mistake.
    """
    path = os.environ.get(INPUTS)
    if path is None:
        from course.assignments import grade_here  # not in a student's copy of the course

        verdict = grade_here(problem_set, task, answer, variant)
        if verdict.points < verdict.max_points:
            raise Wrong(str(verdict))
        print(verdict)
        return
    from IPython.display import display

    # made by the grader, outside: what comes from there may be unpickled here, never the other way round
    questions, seed = torch.load(path, weights_only=False)[task]
    outcomes = answer_questions(task, answer, questions, seed)
    packed = pack(outcomes, [f"rebinds {name}" for name in rebound()])
    display({MIME: json.loads(json.dumps(packed | {"task": task}))}, raw=True)
