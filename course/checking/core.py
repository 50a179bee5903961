"""What all checks share: call a student's function with care, compare, and say what is wrong.

A student's code shares the process with the check. So what the comparison needs from torch is
bound here at import, inputs are drawn from a generator of the check's own, and the global random
numbers are as they were before.
"""

import contextlib
import copy
import inspect
import linecache
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, allclose, equal, get_rng_state, set_rng_state

Answer = Callable[..., Any]
NOT_YET = "\x1b[1;31mNot yet:\x1b[0m"


class Wrong(AssertionError):
    """An answer that is not right. The message names the likely mistake; Jupyter shows nothing else.

    Example:
        >>> raise Wrong("your mask keeps the centre")
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your mask keeps the centre
    """

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [f"{NOT_YET} {self}"]


class Unanswered(NotImplementedError):
    """What an open step raises. Jupyter shows one line, which says what is still to be written.

    An exercise notebook gives it the name that stands in the gaps:

        NotImplementedError = checks.Unanswered
    """

    def _render_traceback_(self) -> list[str]:
        name, at = "this cell", self.__traceback__
        while at is not None:
            if at.tb_frame.f_code.co_name != "<module>":
                name = f"`{at.tb_frame.f_code.co_name}`"
            at = at.tb_next
        return [f"{NOT_YET} {name} is still to be written: {TODO}"]


TODO = "put your code in the place of `raise NotImplementedError()` and run that cell again."


@dataclass(frozen=True)
class Case:
    """One call of the student's function: its arguments by name, in order, and what to call it."""

    label: str
    arguments: Mapping[str, Any]
    # of a step (step.py): "tame", "hard" or "extreme", and whatever its check wants to find again
    kind: str = field(default="tame", kw_only=True)
    about: Any = field(default=None, kw_only=True, repr=False)


@contextlib.contextmanager
def own_random_numbers(seed: int) -> Iterator[torch.Generator]:
    """A generator for the inputs; whatever the answer draws leaves the global random numbers alone.

    Gradients are on inside, so that a check means the same under `torch.no_grad()`.
    """
    states = get_rng_state(), random.getstate(), np.random.get_state()
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    try:
        with torch.enable_grad():
            yield torch.Generator().manual_seed(seed)
    finally:
        set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Normal random numbers in the dtype that the student computes in."""
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return x.to(torch.get_default_dtype())


def between(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Uniform random numbers in the dtype that the student computes in."""
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    return low + (high - low) * x.to(torch.get_default_dtype())


def floats(*numbers: float) -> Tensor:
    """These numbers in the dtype that the student computes in."""
    return torch.tensor(numbers, dtype=torch.get_default_dtype())


def each(value: Tensor, x: Tensor) -> Tensor:
    """A number for each example, (B,), with as many axes as x: (B, 1, ...)."""
    return value.reshape(-1, *[1] * (x.ndim - 1))


# ---------------------------------------------------------------- calling


def call(name: str, answer: Answer, case: Case, changed: str | None = None) -> Any:
    """What the student's function returns for a case.

    Args:
        name: of the function, as the exercise calls it.
        answer: the student's function.
        case: its arguments.
        changed: what to say when it changes an argument, if there is more to say than that.

    Raises:
        Wrong: it is no function, not written yet, stops with an error, or changes an argument.
    """
    if not callable(answer):
        raise Wrong(
            f"the check wants the function itself, not what it returns: give it `{name}`, "
            f"without brackets."
        )
    before = {key: _photograph(value) for key, value in case.arguments.items()}
    try:
        result = answer(*case.arguments.values())
    except Wrong:  # from what the check gave the student to call
        raise
    except NotImplementedError as error:
        if error.args:  # torch has such errors too, and they say something
            raise Wrong(_crash(name, answer, case, error)) from None
        raise Wrong(f"`{name}` is still to be written: {TODO}") from None
    except (Exception, SystemExit) as error:
        raise Wrong(_crash(name, answer, case, error)) from None
    for key, value in case.arguments.items():
        if not _as_photographed(value, before[key]):
            if (
                changed is None
                and isinstance(value, Tensor)
                and equal(value.detach(), before[key][0])
            ):
                raise Wrong(
                    f"`{name}` leaves marks on its argument `{key}` (`requires_grad`, or a `.grad`): work on "
                    f"`{key}.detach().clone().requires_grad_()`."
                )
            raise Wrong(
                changed
                or f"`{name}` changes its argument `{key}`, which the caller still needs: work on a copy "
                + (
                    "(`.clone()`), or compute a new tensor."
                    if isinstance(value, Tensor)
                    else "(`.copy()`); `a & b` and `a | b` make new sets, `a &= b` and `a.remove` change one."
                )
            )
    return result


def _crash(name: str, answer: Answer, case: Case, error: BaseException) -> str:
    what = (str(error).strip().splitlines() or [""])[0][:160]
    kind = type(error).__name__
    code = getattr(inspect.unwrap(answer), "__code__", None)
    place, at = "", error.__traceback__
    while at is not None:
        if code is not None and at.tb_frame.f_code.co_filename == code.co_filename:
            place = linecache.getline(code.co_filename, at.tb_lineno).strip()
        at = at.tb_next
    where = f", at `{place}`" if place else ""
    return f"`{name}` stops for {case.label}{where}, with {kind}{': ' * bool(what)}{what}"


def _photograph(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone(), value.requires_grad, value.grad is None
    return copy.deepcopy(value) if _is_of_sets(value) else None


def _is_of_sets(value: Any) -> bool:
    """A set, or a dictionary of sets."""
    if isinstance(value, dict):
        return all(isinstance(x, set) for x in value.values())
    return isinstance(value, set)


def _as_photographed(value: Any, photo: Any) -> bool:
    if not isinstance(value, Tensor):
        return photo is None or bool(value == photo)
    values, requires_grad, no_grad = photo
    same_values = value.shape == values.shape and equal(value.detach(), values)
    return same_values and value.requires_grad == requires_grad and (value.grad is None) == no_grad


def as_tensor(name: str, result: Any) -> Tensor:
    """The result as a detached tensor of floating-point numbers.

    Args:
        name: of the student's function.
        result: what it returned.

    Raises:
        Wrong: it is no tensor, or one of other numbers.
    """
    if result is None:
        raise Wrong(f"`{name}` returns None: is there a `return` at its end?")
    if not isinstance(result, Tensor):
        raise Wrong(f"`{name}` returns a {type(result).__name__}: return a tensor.")
    if not result.is_floating_point():
        raise Wrong(
            f"`{name}` returns {result.dtype}: return floating-point numbers, as its inputs are (`.float()`)."
        )
    return result.detach()


# ---------------------------------------------------------------- comparing


def same(a: Tensor, b: Tensor) -> bool:
    """Equal in shape, and in value up to what float32 leaves open.

    Example:
        >>> same(torch.ones(2), torch.ones(2, dtype=torch.float64) + 1e-7)
        True
        >>> same(torch.ones(2), torch.ones(1, 2))
        False
    """
    return a.shape == b.shape and allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)
