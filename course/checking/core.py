"""What all checks share: call a student's function with care, compare, and name the mistake.

A check of a deterministic function is a table: some cases, the right function, and the wrong ones that
students write, each with the words that help. `collect` calls the answer, `judge` compares. A check of
a sampler looks at properties instead, and uses `call` and `as_tensor` directly.

A student's code shares the process with the check. So what the comparison needs from torch is
bound here at import, inputs are drawn from a generator of the check's own, and the global random
numbers are as they were before.
"""

import contextlib
import copy
import inspect
import linecache
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, allclose, equal, get_rng_state, isnan, set_rng_state, stack
from torch.autograd import grad

Answer = Callable[..., Any]
Right = Callable[..., Tensor | Sequence[Tensor]]
Mistakes = Sequence[
    tuple[str, Right]
]  # the words that help, and the function of a student who needs them
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


def as_tensor(name: str, result: Any, kind: str = "float", what: str = "") -> Tensor:
    """The result as a detached tensor of the right kind of numbers.

    Args:
        name: of the student's function.
        result: what it returned.
        kind: "float", "bool", or "any".
        what: which of several results it is.

    Raises:
        Wrong: it is no tensor, or one of other numbers.
    """
    of = f" as {what}" if what else ""
    if result is None:
        raise Wrong(f"`{name}` returns None{of}: is there a `return` at its end?")
    if not isinstance(result, Tensor):
        raise Wrong(f"`{name}` returns a {type(result).__name__}{of}: return a tensor.")
    if kind == "float" and not result.is_floating_point():
        raise Wrong(
            f"`{name}` returns {result.dtype}{of}: return floating-point numbers, "
            "as its inputs are (`.float()`)."
        )
    if kind == "bool" and result.dtype != torch.bool:
        raise Wrong(
            f"`{name}` returns {result.dtype}{of}: return True or False for each pixel, "
            "as a comparison does (`... != 0`)."
        )
    return result.detach()


def collect(
    name: str,
    answer: Answer,
    cases: Sequence[Case],
    *,
    kind: str = "float",
    results: Sequence[str] = ("",),
    changed: str | None = None,
) -> list[tuple[Tensor, ...]]:
    """What the answer returns for every case: one tensor, or as many as there are `results`.

    Args:
        name, answer, changed: as in `call`.
        cases: the calls to make; the first is the example of the exercise.
        kind: as in `as_tensor`.
        results: what the tensors are, where the function returns several.

    Raises:
        Wrong: as `call` and `as_tensor`, or the number of results is another.
    """
    collected = []
    for case in cases:
        result = call(name, answer, case, changed)
        if len(results) == 1:
            result = (result,)
        if not isinstance(result, tuple | list) or len(result) != len(results):
            got = f"{len(result)}" if isinstance(result, tuple | list) else "one thing"
            if result is None:
                got = "None"
            raise Wrong(f"`{name}` returns {got}: return {len(results)} tensors, {_list(results)}.")
        collected.append(
            tuple(as_tensor(name, x, kind, what) for x, what in zip(result, results, strict=True))
        )
    return collected


def _list(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1]


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


def judge(
    name: str,
    cases: Sequence[Case],
    given: Sequence[Sequence[Tensor]],
    right: Right,
    mistakes: Mistakes,
    *,
    probe: Callable[[Case, Tensor, Tensor], str | None] | None = None,
    results: Sequence[str] = ("the result",),
    reveal: bool = True,
) -> None:
    """Return when every given tensor is right; else raise `Wrong` with the best diagnosis there is.

    Args:
        name: of the student's function.
        cases: the calls made; the first is the example of the exercise.
        given: what `collect` brought back for each.
        right: what should have come: a tensor, or several.
        mistakes: words, and the function that a student with this mistake writes. The first that
            agrees with the answer in all cases gives its words.
        probe: a case, the first wrong tensor (of the right shape) and the right one -> words, or
            None. Asked when no mistake fits as a whole.
        results: what the tensors are, where there are several.
        reveal: whether a last word may say what would have been right, as for exercises.
    """
    wanted = [_several(right(**case.arguments)) for case in cases]
    fits = [_all_same(a, b) for a, b in zip(given, wanted, strict=True)]
    if all(fits):
        return
    for words, mistake in mistakes:
        made = (_several(mistake(**case.arguments)) for case in cases)
        if all(_all_same(a, b) for a, b in zip(given, made, strict=True)):
            raise Wrong(words)
    first = fits.index(False)
    case = cases[first]
    got, want, what = next(
        (a, b, c)
        for a, b, c in zip(given[first], wanted[first], results, strict=True)
        if not same(a, b)
    )
    but = f"right for {cases[0].label}, but " if fits[0] else ""
    ask = " Does a number of the example stand in your code?" if fits[0] else ""
    start = f"{but}for {case.label} {what} of `{name}`"
    if got.shape != want.shape:
        raise Wrong(
            f"{start} has the shape {tuple(got.shape)} where {tuple(want.shape)} is wanted.{ask}"
        )
    if isnan(got).any():
        raise Wrong(f"{start} contains NaN: look for 0/0, or for infinities that meet.{ask}")
    words_found = probe(case, got, want) if probe is not None else None
    if words_found:
        raise Wrong(words_found)
    gap = (got.double() - want.double()).abs()
    place = np.unravel_index(int(gap.argmax()), tuple(gap.shape))
    where = f"at {[int(i) for i in place]} it is " if place else "it is "
    instead = f", not {want[place].item():.4g}" if reveal else ""
    raise Wrong(f"{start} is wrong: {where}{got[place].item():.4g}{instead}.{ask}")


def judge_parts(
    name: str,
    cases: Sequence[Case],
    given: Sequence[tuple[Tensor, ...]],
    parts: Sequence[tuple[Right, Mistakes]],
    results: Sequence[str],
) -> None:
    """Judge several results one after the other, each with mistakes of its own.

    Args:
        name, cases, given, results: as in `judge`.
        parts: for each result the right function and its mistakes.

    Raises:
        Wrong: as `judge`, for the first result that is not right.

    Example:
        >>> case = Case("ones", {"x": torch.ones(2)})
        >>> given = [(-torch.ones(2), torch.ones(2).expm1())]
        >>> parts = [(torch.neg, []), (torch.exp, [("1 is missing.", torch.expm1)])]
        >>> judge_parts("both", [case], given, parts, ["minus x", "e to the x"])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: 1 is missing.
    """
    for n, (right, mistakes) in enumerate(parts):
        one = [(several[n],) for several in given]
        judge(name, cases, one, right, mistakes, results=results[n : n + 1])


def judge_gradient(
    name: str, answer: Answer, case: Case, right: Right, trained: Sequence[str]
) -> None:
    """Return when training through the answer works as through the right function.

    Args:
        name, answer, right: as in `judge`; the values are right already.
        case: a call.
        trained: names of the arguments that should get a gradient.

    Raises:
        Wrong: no gradient arrives, backward stops, or the gradient is another.
    """
    leaves = {key: case.arguments[key].detach().clone().requires_grad_() for key in trained}
    learning = Case(case.label, {**case.arguments, **leaves})
    names = " and ".join(f"`{key}`" for key in trained)

    def gradients(results: Any) -> Sequence[Tensor]:
        total = stack([x.square().sum() for x in _several(results)]).sum()
        return grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)

    results = call(name, answer, learning)
    if not all(x.requires_grad for x in _several(results)):
        raise Wrong(
            f"no gradient reaches {names}, so nothing could learn: leave out `.detach()`, `.data`, "
            "`.item()` and `torch.no_grad()`."
        )
    try:
        given = gradients(results)
    except RuntimeError as error:
        if "inplace" not in str(error):
            raise Wrong(f"the values are right, but backward stops: {str(error)[:120]}") from None
        raise Wrong(
            "the values are right, but backward stops: you write into a tensor that it still needs "
            "(`+=`, `*=`, or a slice on the left of `=`). Compute a new one."
        ) from None
    if not _all_same(given, gradients(right(**learning.arguments))):
        raise Wrong(
            f"the values are right, but the gradient of {names} is not: is something on its way "
            "detached?"
        )


def _several(result: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return (result,) if isinstance(result, Tensor) else result


def _all_same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return all(same(x, y) for x, y in zip(a, b, strict=True))
