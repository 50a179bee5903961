"""Questions to a student's function, what came of them, and the form in which that leaves the jail."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from course.checking.core import Answer, Case, Wrong, call, own_random_numbers

MIME = "application/vnd.genlib.answer+json"
MAX_BYTES = 4_000_000  # of one answer's tensors; the largest honest one takes a million

# dtypes that an answer may have: the comparisons, and safetensors, know what to do with them
_FLOATING = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_ORDINARY = _FLOATING | {
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
}


@dataclass(frozen=True)
class Question(Case):
    """One call of the student's function, and what is to be learnt from it.

    Args:
        label: what to call it in a message.
        arguments: by name, in order. They travel by pickle, so: tensors, numbers, strings, modules of
            torch or genlib, and nothing that course.assignments defines.
        trained: names of the arguments for which the gradient of a weighted sum of the results is wanted
            (`weights_of`). It is linear in the results: one that misses a constant has the right gradient.
        made: what functions of a table return for it, and their gradients, asked for once. It travels nowhere.
    """

    trained: tuple[str, ...] = ()
    made: dict[Any, tuple] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"made": {}}


@dataclass(frozen=True)
class Outcome:
    """What came of a question: words when it went wrong in the kernel, otherwise tensors.

    Args:
        words: what stopped it; None if nothing did.
        tensors: the results, one or several.
        several: whether the function returned a tuple or list.
        gradients: by name of the argument; empty where none was asked for.
    """

    words: str | None = None
    tensors: tuple[Tensor, ...] = ()
    several: bool = False
    gradients: tuple[tuple[str, Tensor], ...] = ()


def answer_questions(
    name: str, answer: Answer, questions: Sequence[Question], seed: int = 0
) -> list[Outcome]:
    """Call the student's function for every question.

    Args:
        name: of the function, for messages.
        answer: the function.
        questions: what to call it with.
        seed: of the random numbers that the function may draw.

    Example:
        >>> question = Question("two ones", {"x": torch.ones(2)}, trained=("x",))
        >>> [outcome] = answer_questions("double", lambda x: 2 * x, [question])
        >>> outcome.tensors
        (tensor([2., 2.]),)
        >>> outcome.gradients
        (('x', tensor([-2.9401,  2.4156])),)
        >>> answer_questions("half", lambda x: None, [question])[0].words
        '`half` returns None: is there a `return` at its end?'
    """
    outcomes = []
    for question in questions:
        with own_random_numbers(seed):
            try:
                outcomes.append(_outcome(name, answer, question))
            except Wrong as error:
                outcomes.append(Outcome(words=str(error)))
    return outcomes


def _outcome(name: str, answer: Answer, question: Question) -> Outcome:
    result = call(name, answer, question)
    several = isinstance(result, tuple | list)
    tensors = tuple(_tensor(name, x) for x in (result if several else (result,)))
    if not question.trained:
        return Outcome(tensors=tensors, several=several)
    leaves = {
        key: question.arguments[key].detach().clone().requires_grad_() for key in question.trained
    }
    learning = call(name, answer, Case(question.label, {**question.arguments, **leaves}))
    parts = [
        (weights_of(i, x) * x).sum()
        for i, x in enumerate(learning if isinstance(learning, tuple | list) else (learning,))
        if isinstance(x, Tensor) and x.is_floating_point()
    ]
    total = torch.stack(parts).sum() if parts else torch.zeros(())
    gradients: Sequence[Tensor | None] = [None] * len(leaves)
    if total.requires_grad:
        try:
            gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        except (Exception, SystemExit) as error:  # a backward of the student's own may raise any
            why = str(error)[:160]
            if "inplace operation" in why:
                why = (
                    "you write into a tensor that it still needs (`+=`, `*=`, or a slice on the left of `=`). "
                    "Compute a new one."
                )
            words = f"`{name}` gives values, but backward stops: {why}"
            return Outcome(words=words)
    named = tuple(
        (key, torch.zeros_like(leaf) if gradient is None else gradient)
        for (key, leaf), gradient in zip(leaves.items(), gradients, strict=True)
    )
    return Outcome(tensors=tensors, several=several, gradients=named)


def weights_of(index: int, result: Tensor) -> Tensor:
    """Weights of a result's numbers in the sum whose gradient is taken: of size 0.5 to 1.5 and random sign,
    always the same for the same place among the results and the same shape.

    They differ between the numbers, so that a sum which is the same for all arguments, as of
    probabilities, still has a gradient.

    Example:
        >>> weights_of(0, torch.zeros(2)).equal(weights_of(0, torch.ones(2)))
        True
    """
    generator = torch.Generator().manual_seed(index)
    sizes, signs = torch.rand(2, *result.shape, generator=generator, dtype=torch.float64)
    return ((0.5 + sizes) * torch.where(signs < 0.5, -1.0, 1.0)).to(result)


def _tensor(name: str, x: Any) -> Tensor:
    if isinstance(x, bool | int | float):
        try:
            return torch.tensor(x, dtype=torch.float64 if isinstance(x, float) else None)
        except (RuntimeError, ValueError, OverflowError):
            words = f"`{name}` returns a whole number that no tensor can hold: more than 64 bits."
            raise Wrong(words) from None
    if x is None:
        raise Wrong(f"`{name}` returns None: is there a `return` at its end?")
    if not isinstance(x, Tensor):
        raise Wrong(f"`{name}` returns a {type(x).__name__} where a tensor is wanted.")
    if x.dtype not in _ORDINARY or x.layout is not torch.strided:
        raise Wrong(f"`{name}` returns a tensor of {x.dtype}: return ordinary numbers.")
    return x.detach().cpu().contiguous().clone()


# ---------------------------------------------------------------- between the kernel and the grader


def pack(outcomes: Sequence[Outcome], flags: Sequence[str] = ()) -> dict[str, Any]:
    """Outcomes as plain data: JSON, with the tensors in safetensors' format.

    Example:
        >>> packed = pack([Outcome(tensors=(torch.ones(2),)), Outcome(words="no")], ["rebinds print"])
        >>> outcomes, flags = unpack(packed)
        >>> outcomes[0].tensors, outcomes[1].words, flags
        ((tensor([1., 1.]),), 'no', ['rebinds print'])
    """
    tensors = {}
    about = []
    for i, outcome in enumerate(outcomes):
        for j, x in enumerate(outcome.tensors):
            tensors[f"{i}.result.{j}"] = x
        for key, x in outcome.gradients:
            tensors[f"{i}.gradient.{key}"] = x.detach().cpu().contiguous().clone()
        about.append(
            {
                "words": outcome.words,
                "tensors": len(outcome.tensors),
                "several": outcome.several,
                "gradients": [key for key, _ in outcome.gradients],
            }
        )
    return {
        "outcomes": about,
        "tensors": base64.b64encode(save(tensors)).decode(),
        "flags": list(flags),
    }


def unpack(packed: Any) -> tuple[list[Outcome], list[str]]:
    """The outcomes and flags in what a kernel sent. Nothing in it is trusted, and nothing of it is run.

    Raises:
        ValueError: it is not what `pack` makes. Whether the gradients are the ones that were asked for, their
            judge finds out.
    """
    try:
        if len(packed["tensors"]) > MAX_BYTES:
            raise ValueError(f"the answer is larger than {MAX_BYTES:,} bytes")
        tensors = load(base64.b64decode(packed["tensors"], validate=True))
        outcomes = []
        for i, about in enumerate(packed["outcomes"]):
            words = about["words"]
            results = tuple(tensors[f"{i}.result.{j}"] for j in range(int(about["tensors"])))
            gradients = _gradients(i, about["gradients"], tensors)
            if any(x.dtype not in _ORDINARY for x in results):
                raise ValueError("a result is not of ordinary numbers")
            outcomes.append(
                Outcome(
                    words=None if words is None else _writable(words)[:1000],
                    tensors=results,
                    several=bool(about["several"]),
                    gradients=gradients,
                )
            )
        return outcomes, [_writable(flag)[:200] for flag in packed["flags"]][:20]
    except ValueError:
        raise
    except Exception as error:  # whatever a forged answer can provoke
        raise ValueError(f"the answer cannot be read ({type(error).__name__})") from error


def _writable(words: Any) -> str:
    """Text that can be written to a file: a lone surrogate, which UTF-8 refuses, becomes a question mark."""
    return str(words).encode("utf-8", "replace").decode()


def _gradients(i: int, names: Any, tensors: dict[str, Tensor]) -> tuple[tuple[str, Tensor], ...]:
    if not isinstance(names, list) or not all(isinstance(x, str) for x in names):
        raise ValueError("the gradients' names are not a list of names")
    if len(set(names)) < len(names):
        raise ValueError("a gradient is there twice")
    named = tuple((key, tensors[f"{i}.gradient.{key}"]) for key in names)
    if any(x.dtype not in _FLOATING for _, x in named):
        raise ValueError("a gradient is not of ordinary numbers")
    return named
