r"""Graders of problem set 1: Bayes' rule when the world changes, likelihoods, orders of pixels, a trained model.

Every task has a right function here, whose first argument is the variant, and the wrong ones that students
write. The functions are plain rather than fast; course/assignments/ps1_autoregressive/test_grader.py compares them with
brute force.
"""

import functools
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course.assignments.core import (
    Judge,
    Part,
    ProblemSet,
    Task,
    Variant,
    all_results,
    gradients,
    values,
    with_table,
)
from course.checking.core import Case, Mistakes, Right, Wrong
from course.checking.questions import Outcome, Question
from genlib.data import all_images, load

__all__ = ["PROBLEM_SET"]

CORNERS = ("upper left", "upper right", "lower left", "lower right")
ORDERS = [(scan, start) for scan in ("rows", "columns") for start in CORNERS][1:]  # not raster


def variant(seed: int) -> dict[str, Any]:
    """The constants of a variant. None is the choice of a lesson or a paper, and no two mistakes share a value.

    So the range is neither 1 nor 2 wide nor centred; orders are neither their own inverse nor raster order turned,
    which leaves columns and two orders of colours; and the pixel is told from its neighbours by any confusion.
    """
    draw = random.Random(
        f"ps1_autoregressive {seed}"
    )  # a number alone gives neighbours much in common
    new_prior = draw.choice([(0.6, 0.1, 0.3), (0.1, 0.6, 0.3), (0.2, 0.5, 0.3), (0.25, 0.35, 0.4)])
    low, high = draw.choice(
        [(-0.5, 2.0), (-0.5, 3.0), (-1.0, 2.0), (-1.0, 3.0), (-2.0, 1.5), (-2.0, 3.0)]
    )
    scan, start = "columns", draw.choice(["upper right", "lower left", "lower right"])
    return {
        "NEW_PRIOR": new_prior,
        "LOW": low,
        "HIGH": high,
        "LEVELS": draw.choice([8, 11, 16, 21, 32]),
        "SCAN": scan,
        "START": start,
        "COLOURS": draw.choice(["GBR", "BRG"]),
        "FIRST": draw.choice([5, 9]),
        "KL_FROM": draw.choice(["exact", "clamped"]),
        "UPDATES": draw.choice([250, 300, 350]),
        "PIXEL": draw.choice(_telling_pixels(scan, start)),
        # two coins, "both are white", "they differ": cheap in these orders and dear in raster order
        "WORLD": (0, 2, 5, 4),
    }


def _telling_pixels(scan: str, start: str) -> list[tuple[int, int]]:
    """Pixels of 4 x 4, neither among the first nor the last, which no misreading takes for themselves."""
    orders = [rank(s, c, 4, 4) for s in ("rows", "columns") for c in CORNERS]
    ours = rank(scan, start, 4, 4)
    told = []
    for i, j in itertools.product(range(4), range(4)):
        n = int(ours[i, j])
        earlier = {tuple((order < order[i, j]).flatten().tolist()) for order in orders}
        # neither (column, row), nor the number in the order for that in raster order, nor another order
        if 4 <= n <= 11 and i != j and n != 4 * i + j and len(earlier) == len(orders):
            told.append((i, j))
    return told


def rank(scan: str, start: str, height: int, width: int) -> Tensor:
    """The number of each pixel in an order, (H, W), the first being 0.

    Example:
        >>> rank("columns", "upper right", 2, 3)
        tensor([[4, 2, 0],
                [5, 3, 1]])
    """
    i, j = torch.arange(height)[:, None], torch.arange(width)[None, :]
    i = height - 1 - i if "lower" in start else i
    j = width - 1 - j if "right" in start else j
    return i * width + j if scan == "rows" else j * height + i


def in_order(v: Variant, height: int, width: int) -> Tensor:
    return rank(v["SCAN"], v["START"], height, width)


def opposite(v: Variant) -> Variant:
    """The same order, run through from its end."""
    swap = {"upper": "lower", "lower": "upper", "left": "right", "right": "left"}
    return {**v, "START": " ".join(swap[word] for word in v["START"].split())}


def raster(v: Variant) -> Variant:
    return {**v, "SCAN": "rows", "START": "upper left"}


# ---------------------------------------------------------------- judging one of several results

Results = tuple[Tensor, ...]
View = Callable[[Results], Tensor | Results]


def knows(judge: Judge, mistakes: Sequence[tuple[str, Callable[..., Any]]]) -> Judge:
    """The judge with its table, of functions whose first argument is the variant."""
    return with_table(
        judge,
        lambda v: [(words, all_results(functools.partial(wrong, v))) for words, wrong in mistakes],
    )


def judged(
    right: Callable[..., Any],
    mistakes: Sequence[tuple[str, Callable[..., Any]]],
    *,
    results: Sequence[str] = ("the result",),
    view: View | None = None,
    what: str = "the result",
    kind: str = "float",
    dtype_of: str | None = None,
    probe: Callable[[Case, Tensor, Tensor, Variant], str | None] | None = None,
) -> Judge:
    """As `values`, for functions whose first argument is the variant, and for a part of what they return.

    Args:
        right, mistakes, kind: as in `values`.
        results: what the tensors are that a student returns.
        view: all results -> the one that is judged; shapes are compared before.
        what: that one is.
        dtype_of: the argument whose dtype the result is to have, where the task says so.
        probe: as in `values`, with the variant as its last argument.
    """

    def judge_it(
        name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
    ) -> None:
        def seen(f: Callable[..., Any]) -> Right:
            def g(**arguments: Any) -> Any:
                made = f(v, **arguments)
                made = made if isinstance(made, tuple) else (made,)
                return made if view is None else view(made)

            return g

        for question, outcome in zip(questions, outcomes, strict=True):
            wanted = right(v, **question.arguments)
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            if len(outcome.tensors) != len(wanted):
                raise Wrong(
                    f"`{name}` returns {len(outcome.tensors)} results where {len(wanted)} "
                    f"{'is' if len(wanted) == 1 else 'are'} wanted."
                )
            for got, want, which in zip(outcome.tensors, wanted, results, strict=True):
                if got.shape != want.shape:
                    raise Wrong(
                        f"for {question.label} {which} of `{name}` has the shape {tuple(got.shape)} "
                        f"where {tuple(want.shape)} is wanted."
                    )
                if (
                    probe is not None
                    and got.isnan().any()
                    and (words := probe(question, got, want, v))
                ):
                    raise Wrong(words)  # `judge` would speak of NaN alone
            seen_results = outcome.tensors if view is None else view(outcome.tensors)
            for got in seen_results if isinstance(seen_results, tuple) else (seen_results,):
                if dtype_of and got.dtype != (dtype := question.arguments[dtype_of].dtype):
                    raise Wrong(
                        f"for {question.label} {what} of `{name}` is {got.dtype} where `{dtype_of}` is {dtype}: "
                        f"return the dtype of `{dtype_of}`."
                    )
        if view is not None:
            looked = [view(outcome.tensors) for outcome in outcomes]
            outcomes = [
                replace(outcome, tensors=x if isinstance(x, tuple) else (x,))
                for outcome, x in zip(outcomes, looked, strict=True)
            ]
        seen_mistakes: Mistakes = [(words, seen(mistake)) for words, mistake in mistakes]
        asked = None if probe is None else lambda case, got, want: probe(case, got, want, v)
        judge_values = values(
            seen(right),
            seen_mistakes,
            probe=asked,
            results=results if view is None else (what,),
            kind=kind,
        )
        judge_values(name, questions, outcomes, v)

    return knows(judge_it, mistakes)


def labelled(word: str) -> Callable[[Question], bool]:
    return lambda question: question.label.startswith(word)


def not_labelled(word: str) -> Callable[[Question], bool]:
    return lambda question: not question.label.startswith(word)


def underflow(case: Case, got: Tensor, want: Tensor, v: Variant) -> str | None:
    """Words for what happens to those who leave log-space."""
    if (got.isinf() & want.isfinite()).any() or got.isnan().any():
        return (
            f"for {case.label} an exponential overflows or underflows, though the result is an ordinary "
            "number: stay in log-space from the first line to the last."
        )
    return None


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def whole(generator: torch.Generator, low: int, high: int) -> int:
    """A whole number from low to high, both of them possible."""
    return int(torch.randint(low, high + 1, (), generator=generator))


# ---------------------------------------------------------------- 1. the world changes


def prior_shift(v: Variant, logits: Tensor, old_prior: Tensor) -> Results:
    """log p_new(y|x), (N, K), and log p_new(x) / p_old(x), (N,)."""
    new = torch.tensor(v["NEW_PRIOR"], dtype=logits.dtype)
    joint = logits.log_softmax(dim=1) + new.log() - old_prior.log()
    log_ratio = joint.logsumexp(dim=1)
    return joint - log_ratio[:, None], log_ratio


def _shifted(
    change: Callable[[Tensor, Tensor, Tensor], Results],
) -> Callable[..., Results]:
    """A mistake, from the old log-posterior and both priors."""

    def mistake(v: Variant, logits: Tensor, old_prior: Tensor) -> Results:
        return change(
            logits.log_softmax(dim=1), old_prior, torch.tensor(v["NEW_PRIOR"], dtype=logits.dtype)
        )

    return mistake


def _normalised(x: Tensor) -> Tensor:
    return x.log_softmax(dim=1)


def _ask_prior_shift(generator: torch.Generator, v: Variant) -> list[Question]:
    def prior() -> Tensor:
        return normal(generator, 3).softmax(dim=0)

    n = whole(generator, 4, 7)
    far = 1000 * normal(generator, n, 3) + 1000
    far[0] = torch.tensor([2000.0, 0.0, -2000.0])
    return [
        Question("logits of two images", {"logits": normal(generator, 2, 3), "old_prior": prior()}),
        Question(
            "random logits", {"logits": 2 * normal(generator, n, 3) + 1, "old_prior": prior()}
        ),
        Question(
            "logits in double precision",
            {"logits": normal(generator, 3, 3).double(), "old_prior": prior().double()},
        ),
        # double, since single precision has no digits left for a ratio of logits in the thousands
        Question("extreme logits", {"logits": far.double(), "old_prior": prior().double()}),
    ]


PRIOR_SHIFT = Task(
    _ask_prior_shift,
    [
        Part(
            2,
            "the posterior",
            judged(
                prior_shift,
                [
                    (
                        "this is the old posterior: the new proportions do not enter.",
                        _shifted(lambda p, old, new: (p, p[:, 0])),
                    ),
                    (
                        "you weigh with the new proportions but never take out the old ones, which "
                        "are in the classifier's answers already.",
                        _shifted(lambda p, old, new: (_normalised(p + new.log()), p[:, 0])),
                    ),
                    (
                        "old and new proportions are the wrong way round.",
                        _shifted(
                            lambda p, old, new: (_normalised(p - new.log() + old.log()), p[:, 0])
                        ),
                    ),
                    (
                        "the probabilities of the classes no longer sum to one: normalise after you weigh.",
                        _shifted(lambda p, old, new: (p + new.log() - old.log(), p[:, 0])),
                    ),
                    (
                        "these are probabilities: return their logarithms.",
                        _shifted(
                            lambda p, old, new: (
                                (p + new.log() - old.log()).softmax(dim=1),
                                p[:, 0],
                            )
                        ),
                    ),
                    (
                        "you normalise over the images, axis 0: the classes are axis 1.",
                        _shifted(
                            lambda p, old, new: (
                                (p + new.log() - old.log()).log_softmax(dim=0),
                                p[:, 0],
                            )
                        ),
                    ),
                ],
                results=("the first result", "the second result"),
                view=lambda results: results[0],
                what="the posterior",
                dtype_of="logits",
            ),
            only=not_labelled("extreme"),
        ),
        Part(
            1,
            "the ratio",
            judged(
                prior_shift,
                [
                    (
                        "this is the logarithm of p_old(x) over p_new(x): the ratio is upside down.",
                        lambda v, logits, old_prior: (
                            logits,
                            -prior_shift(v, logits, old_prior)[1],
                        ),
                    ),
                    (
                        "this is the ratio itself: return its logarithm.",
                        lambda v, logits, old_prior: (
                            logits,
                            prior_shift(v, logits, old_prior)[1].exp(),
                        ),
                    ),
                    (
                        "the sum runs over logits that are not normalised, and a classifier's logits may be "
                        "shifted by any number: begin with log p_old(y | x).",
                        lambda v, logits, old_prior: (
                            logits,
                            (
                                logits
                                + torch.tensor(v["NEW_PRIOR"]).to(logits).log()
                                - old_prior.log()
                            ).logsumexp(dim=1),
                        ),
                    ),
                    (
                        "in the sum over the classes each has the weight of its new proportion alone: "
                        "what the old world held has not been divided out.",
                        _shifted(lambda p, old, new: (p, (p + new.log()).logsumexp(dim=1))),
                    ),
                    (
                        "you weigh with the old proportions over the new ones: which world's density stands "
                        "above?",
                        _shifted(
                            lambda p, old, new: (p, (p - new.log() + old.log()).logsumexp(dim=1))
                        ),
                    ),
                ],
                results=("the first result", "the second result"),
                view=lambda results: results[1],
                what="the ratio",
                dtype_of="logits",
            ),
            only=not_labelled("extreme"),
        ),
        Part(
            1,
            "extreme logits",
            judged(
                prior_shift,
                [],
                results=("the posterior", "the ratio"),
                probe=underflow,
            ),
            only=labelled("extreme"),
        ),
    ],
)


# ---------------------------------------------------------------- 2. honest bits


def _step(v: Variant) -> float:
    return (v["HIGH"] - v["LOW"]) / v["LEVELS"]


def level_bits(v: Variant, log_density: Tensor, n_values: int) -> Tensor:
    """Bits a value of discrete images, (N,), from densities at dequantised ones, (S, N)."""
    log_p = (
        log_density.logsumexp(dim=0) - math.log(len(log_density)) + n_values * math.log(_step(v))
    )
    return -log_p / (n_values * math.log(2))


def _bits_with(log_p: Callable[[Variant, Tensor, int], Tensor]) -> Callable[..., Tensor]:
    def mistake(v: Variant, log_density: Tensor, n_values: int) -> Tensor:
        return -log_p(v, log_density, n_values) / (n_values * math.log(2))

    return mistake


def _log_mean(log_density: Tensor) -> Tensor:
    return log_density.logsumexp(dim=0) - math.log(len(log_density))


def _ask_level_bits(generator: torch.Generator, v: Variant) -> list[Question]:
    def ask(label: str, draws: int, n: int, values: int, scale: float = 2.0) -> Question:
        x = scale * normal(generator, draws, n) + 0.2 * values
        return Question(label, {"log_density": x, "n_values": values})

    draws, n = whole(generator, 5, 9), whole(generator, 3, 6)
    double = ask("densities in double precision", 4, 2, 7)
    extreme = ask("extreme densities, of images of 784 values", 3, n, 784, scale=900.0)
    extreme.arguments["log_density"][:, :2] += torch.tensor(
        [4000.0, -4000.0]
    )  # always out of range
    return [
        ask("one draw for each of two images", 1, 2, 4),
        ask("several draws", draws, n, whole(generator, 10, 20)),
        replace(
            double,
            arguments={**double.arguments, "log_density": double.arguments["log_density"].double()},
        ),
        extreme,
    ]


_LEVEL_BITS_MISTAKES: list[tuple[str, Callable[..., Any]]] = [
    (
        "these are bits of the density, whose size depends on the units of y: the width of a level does not "
        "enter.",
        _bits_with(lambda v, x, d: _log_mean(x)),
    ),
    (
        "the width of a level enters with the wrong sign: is the probability of a level larger or smaller "
        "than the density, where a level is narrow?",
        _bits_with(lambda v, x, d: _log_mean(x) - d * math.log(_step(v))),
    ),
    (
        "the width of a level enters once an image: a cell has a width in every one of its values.",
        _bits_with(lambda v, x, d: _log_mean(x) + math.log(_step(v))),
    ),
    (
        "you average the log-densities, which gives a bound: the estimate is the logarithm of the "
        "averaged density.",
        _bits_with(lambda v, x, d: x.mean(dim=0) + d * math.log(_step(v))),
    ),
    (
        "you add up the densities of the draws where their mean is wanted: more draws would make an image "
        "more probable.",
        _bits_with(lambda v, x, d: x.logsumexp(dim=0) + d * math.log(_step(v))),
    ),
    (
        "a level is as wide as if y went from 0 to 1: look at LOW and HIGH.",
        _bits_with(lambda v, x, d: _log_mean(x) - d * math.log(v["LEVELS"])),
    ),
    (
        "a level is as wide as if y went from -1 to 1: look at LOW and HIGH.",
        _bits_with(lambda v, x, d: _log_mean(x) + d * math.log(2 / v["LEVELS"])),
    ),
    (
        "a level is as wide as if LOW were -HIGH: look at LOW.",
        _bits_with(lambda v, x, d: _log_mean(x) + d * math.log(2 * v["HIGH"] / v["LEVELS"])),
    ),
    (
        "a level is too wide: K levels, each as wide as the noise, fill the range from LOW to HIGH, so that "
        "there are K widths and not K - 1.",
        _bits_with(
            lambda v, x, d: _log_mean(x) + d * math.log((v["HIGH"] - v["LOW"]) / (v["LEVELS"] - 1))
        ),
    ),
    (
        "these are bits an image: divide by the number of values.",
        lambda v, log_density, n_values: level_bits(v, log_density, n_values) * n_values,
    ),
    (
        "these are nats: one bit is ln 2 nats.",
        lambda v, log_density, n_values: level_bits(v, log_density, n_values) * math.log(2),
    ),
    (
        "the sign is wrong: an improbable image costs many bits.",
        lambda v, log_density, n_values: -level_bits(v, log_density, n_values),
    ),
]

LEVEL_BITS = Task(
    _ask_level_bits,
    [
        Part(
            3,
            "the bits",
            judged(level_bits, _LEVEL_BITS_MISTAKES),
            only=not_labelled("extreme"),
        ),
        Part(
            1,
            "extreme densities",
            judged(level_bits, _LEVEL_BITS_MISTAKES, probe=underflow),
            only=labelled("extreme"),
        ),
    ],
)


# ---------------------------------------------------------------- 3. a distribution on levels


def logistic_edges(
    v: Variant,
    mean: Tensor,
    log_scale: Tensor,
    level: Tensor,
    half: float | None = None,
    centre: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Where a level begins and ends, in units of the scale from the mean."""
    top = v["LEVELS"] - 1
    x = 2 * level / top - 1 if centre is None else centre
    half = 1 / top if half is None else half
    scale = log_scale.exp()
    return (x - half - mean) / scale, (x + half - mean) / scale


def _log_between(v: Variant, a: Tensor, b: Tensor, level: Tensor) -> Tensor:
    """log(sigmoid(b) - sigmoid(a)), where the outer levels reach to infinity."""
    top = v["LEVELS"] - 1
    inside = F.logsigmoid(b) + F.logsigmoid(-a) + torch.log(-torch.expm1(a - b))
    outer = torch.where(level == 0, F.logsigmoid(b), F.logsigmoid(-a))
    return torch.where((level == 0) | (level == top), outer, inside)


def logistic_log_prob(v: Variant, mean: Tensor, log_scale: Tensor, level: Tensor) -> Tensor:
    r"""log p(level), of which the logistic distribution has between the level's edges.

    With $\sigma(b) - \sigma(a) = \sigma(b)\,\sigma(-a)\,(1 - e^{a-b})$ nothing cancels and nothing underflows.
    Source: Salimans et al. (2017), arXiv:1701.05517, section 2.1.
    """
    a, b = logistic_edges(v, mean, log_scale, level)
    return _log_between(v, a, b, level)


def _logistic_with(half: Callable[[int], float]) -> Callable[..., Tensor]:
    def mistake(v: Variant, mean: Tensor, log_scale: Tensor, level: Tensor) -> Tensor:
        return _log_between(v, *logistic_edges(v, mean, log_scale, level, half(v["LEVELS"])), level)

    return mistake


def _no_ends(v: Variant, mean: Tensor, log_scale: Tensor, level: Tensor) -> Tensor:
    return _log_between(v, *logistic_edges(v, mean, log_scale, level), torch.ones_like(level))


def _ends_swapped(v: Variant, mean: Tensor, log_scale: Tensor, level: Tensor) -> Tensor:
    a, b = logistic_edges(v, mean, log_scale, level)
    top = v["LEVELS"] - 1
    inside = _log_between(v, a, b, torch.ones_like(level))
    swapped = torch.where(level == 0, F.logsigmoid(-b), F.logsigmoid(a))
    return torch.where((level == 0) | (level == top), swapped, inside)


def _midpoint(v: Variant, mean: Tensor, log_scale: Tensor, level: Tensor) -> Tensor:
    top = v["LEVELS"] - 1
    z = (2 * level / top - 1 - mean) / log_scale.exp()
    return F.logsigmoid(z) + F.logsigmoid(-z) - log_scale + math.log(2 / top)


def _from_zero(v: Variant, mean: Tensor, log_scale: Tensor, level: Tensor) -> Tensor:
    top = v["LEVELS"] - 1
    edges = logistic_edges(v, mean, log_scale, level, 0.5 / top, level / top)
    return _log_between(v, *edges, level)


def _ask_logistic(generator: torch.Generator, v: Variant) -> list[Question]:
    levels = v["LEVELS"]

    def ask(label: str, *shape: int, **options: Any) -> Question:
        level = torch.randint(levels, shape, generator=generator)
        level.view(-1)[:2] = torch.tensor([0, levels - 1])  # both ends, always
        arguments = {
            # near enough that the plain difference of sigmoids is right as well
            "mean": 1.6 * torch.rand(shape, generator=generator) - 0.8,
            "log_scale": 1.3 * torch.rand(shape, generator=generator) - 1,
            "level": level,
        }
        return Question(label, {**arguments, **options}, trained=("mean", "log_scale"))

    every = torch.arange(levels)
    one = ask("one", 2).arguments
    # a scale above 1: who divides by its logarithm gets numbers here, and none where it is negative
    above = 0.05 + 0.25 * torch.rand(1, generator=generator)
    same = [x.expand(levels).clone() for x in (one["mean"][:1], above)]
    double = ask("double precision", 7)
    arguments = {k: x.double() if x.is_floating_point() else x for k, x in double.arguments.items()}
    # and one that is near, at which the gradient of a detached answer is told from one that ends far away
    far = torch.tensor([-6.0, 5.0, 6.0, 0.3]).repeat_interleave(levels)
    wide = torch.linspace(-0.9, 0.9, levels)
    return [
        Question(
            "all levels of one distribution",
            {"mean": same[0], "log_scale": same[1], "level": every},
            trained=("mean", "log_scale"),
        ),
        ask("a batch of images", 3, 1, 4, 5),
        replace(double, arguments=arguments),
        Question(
            "extreme: a mean far away",
            {"mean": far, "log_scale": torch.full_like(far, -3.0), "level": every.repeat(4)},
            trained=("mean", "log_scale"),
        ),
        Question(
            "extreme: a very wide distribution",
            {"mean": wide, "log_scale": torch.full_like(wide, 15.0), "level": every},
        ),
    ]


_LOG_SCALE = "you divide by log_scale, which is the logarithm of the scale."


def _logistic_probe(case: Case, got: Tensor, want: Tensor, v: Variant) -> str | None:
    level, lost = case.arguments["level"], got.isnan()
    above = case.arguments["log_scale"] > 0
    if lost.any() and above.any() and not lost[above].any():
        return _LOG_SCALE
    ends = (level == 0) | (level == v["LEVELS"] - 1)
    wrong = ~((got.double() - want.double()).abs() <= 1e-3)  # NaN is wrong
    if not wrong[~ends].any():
        return "only the lowest or the highest level is wrong: where do their cells end?"
    return None


def _logistic_far(case: Case, got: Tensor, want: Tensor, v: Variant) -> str | None:
    if words := underflow(case, got, want, v):
        return words
    if got.min() > want.min() + 1:
        return (
            "the log-probability stops falling far from the mean: a probability is clamped, or something is "
            "added to it, so that far away no gradient says where to go."
        )
    return None


def _logistic_wide(case: Case, got: Tensor, want: Tensor, v: Variant) -> str | None:
    return _logistic_probe(case, got, want, v) or (
        "for a very wide distribution you subtract two numbers that are nearly equal, and no digits are left: "
        "find a form, and functions, with which you do not."
    )


_LOGISTIC_MISTAKES: list[tuple[str, Callable[..., Any]]] = [
    (
        "the outer levels end like the others, so the levels do not sum to one: nothing lies below the lowest "
        "and above the highest level.",
        _no_ends,
    ),
    ("the two ends are mixed up.", _ends_swapped),
    (
        "you take the density in the middle of a cell times its width: take what lies between its edges.",
        _midpoint,
    ),
    ("the levels stand between 0 and 1 in your code: here they go from -1 to 1.", _from_zero),
    (
        "neighbouring cells do not meet: how far apart are two levels, and which half of it belongs to each?",
        _logistic_with(lambda levels: 1 / levels),
    ),
    (
        "neighbouring cells overlap: a cell reaches half of the way to the next level.",
        _logistic_with(lambda levels: 2 / (levels - 1)),
    ),
    (
        "your cells have the width of 256 levels, those of the paper: look at LEVELS.",
        _logistic_with(lambda levels: 1 / 255),
    ),
    (
        "you multiply by the scale where you should divide: a larger scale makes the distribution wider.",
        lambda v, mean, log_scale, level: logistic_log_prob(v, mean, -log_scale, level),
    ),
    (
        "these are probabilities: return their logarithms.",
        lambda v, mean, log_scale, level: logistic_log_prob(v, mean, log_scale, level).exp(),
    ),
]

# very far out the middle of a cell is as good as its edges, and the ends are alike
_WIDE_MISTAKES = [
    *(entry for entry in _LOGISTIC_MISTAKES if entry[1] not in (_midpoint, _ends_swapped)),
    (
        _LOG_SCALE,
        lambda v, mean, log_scale, level: _log_between(
            v, *logistic_edges(v, mean, log_scale.log(), level), level
        ),
    ),
]


def _judge_logistic_gradient(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    gradients(lambda *arguments: logistic_log_prob(v, *arguments))(name, questions, outcomes, v)


_judge_far_values = judged(logistic_log_prob, _LOGISTIC_MISTAKES, probe=_logistic_far)


def _judge_far(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    """Values, and gradients where any come: to have none at all costs the points of the gradient alone."""
    _judge_far_values(name, questions, outcomes, v)
    for question, outcome in zip(questions, outcomes, strict=True):
        come = tuple((key, x) for key, x in outcome.gradients if x.any())
        asked = replace(question, trained=tuple(key for key, _ in come))
        _judge_logistic_gradient(name, [asked], [replace(outcome, gradients=come)], v)


knows(_judge_far, _LOGISTIC_MISTAKES)

LOGISTIC = Task(
    _ask_logistic,
    [
        Part(
            3,
            "the values",
            judged(
                logistic_log_prob,
                _LOGISTIC_MISTAKES,
                what="the log-probability",
                dtype_of="mean",
                probe=_logistic_probe,
            ),
            only=not_labelled("extreme"),
        ),
        Part(
            1,
            "the gradient",
            _judge_logistic_gradient,
            only=not_labelled("extreme"),
        ),
        Part(
            1,
            "far from the mean",
            _judge_far,
            only=labelled("extreme: a mean"),
        ),
        Part(
            1,
            "very wide",
            judged(logistic_log_prob, _WIDE_MISTAKES, probe=_logistic_wide),
            only=labelled("extreme: a very wide"),
        ),
    ],
)


# ---------------------------------------------------------------- 4. masks for another order


def order_mask(v: Variant, kind: str, size: int, in_group: Tensor, out_group: Tensor) -> Tensor:
    """The mask of a weight, (F, C, size, size): zeros and ones."""
    number, middle = in_order(v, size, size), size // 2
    mask = (number < number[middle, middle]).expand(len(out_group), len(in_group), -1, -1).clone()
    mask[:, :, middle, middle] = _colours_read(v, kind, in_group, out_group)
    return mask.float()


def _colours_read(v: Variant, kind: str, in_group: Tensor, out_group: Tensor) -> Tensor:
    place = torch.tensor([v["COLOURS"].index(colour) for colour in "RGB"])
    before, after = place[in_group], place[out_group][:, None]
    return before < after if kind == "A" else before <= after  # (F, C)


def _other(kind: str) -> str:
    return "B" if kind == "A" else "A"


def _off_centre(results: Results) -> Tensor:
    mask = results[0].double().clone()
    middle = mask.shape[-1] // 2
    mask[..., middle, middle] = 0
    return mask


def _at_centre(results: Results) -> Tensor:
    middle = results[0].shape[-1] // 2
    return results[0][..., middle, middle].double()


def _mask_pixels(case: Case, got: Tensor, want: Tensor, v: Variant) -> str | None:
    if ((got != 0) & (got != 1)).any():
        return "a mask holds only zeros and ones."
    for scan, start in [("rows", "upper left"), *ORDERS]:
        if torch.equal(
            got, _off_centre((order_mask({**v, "SCAN": scan, "START": start}, **case.arguments),))
        ):
            which = "raster order" if start == "upper left" and scan == "rows" else "another order"
            return f"your mask runs through the pixels in {which}: read SCAN and START again."
    middle = got.shape[-1] // 2
    flat, right = got[0, 0], want[0, 0]
    if (flat[middle] != right[middle]).any() or (flat[:, middle] != right[:, middle]).any():
        return "your mask is wrong in the row or the column of the centre: which of the pixels there come first?"
    return "your mask is wrong away from the centre: which pixels of the square come before its middle?"


def _ask_order_mask(generator: torch.Generator, v: Variant) -> list[Question]:
    grey, colours = torch.zeros(1, dtype=torch.long), torch.arange(3)
    many = torch.randint(3, (whole(generator, 7, 9),), generator=generator)
    few = torch.cat([colours, torch.randint(3, (2,), generator=generator)])
    asked = [
        (3, grey, grey),
        (5, colours, colours),
        (3, colours, many),
        (7, many, few),
        (1, few, few),
    ]
    return [
        Question(
            f"mask {kind}, {size} x {size}, groups {i.tolist()} to {o.tolist()}",
            {"kind": kind, "size": size, "in_group": i, "out_group": o},
        )
        for size, i, o in asked
        for kind in "AB"
    ]


ORDER_MASK = Task(
    _ask_order_mask,
    [
        Part(
            3,
            "the pixels",
            judged(
                order_mask,
                [
                    (
                        "your mask keeps what comes later and hides what came before.",
                        lambda v, **a: order_mask(opposite(v), **a),
                    ),
                    (
                        "your mask is transposed: SCAN says whether rows or columns are finished first.",
                        lambda v, **a: order_mask(v, **a).mT,
                    ),
                ],
                view=_off_centre,
                what="the mask around the centre",
                probe=_mask_pixels,
                kind="any",
            ),
        ),
        Part(
            2,
            "the colours at the centre",
            judged(
                order_mask,
                [
                    (
                        "A and B are the wrong way round: in the first layer, A, the centre holds the answer.",
                        lambda v, kind, **a: order_mask(v, _other(kind), **a),
                    ),
                    (
                        "your mask A lets a colour read itself, and that is its own answer.",
                        lambda v, kind, **a: order_mask(v, "B", **a),
                    ),
                    (
                        "your mask B hides a colour from itself: in later layers it may read its own features.",
                        lambda v, kind, **a: order_mask(v, "A", **a),
                    ),
                    (
                        "you take the colours in the order red, green, blue: look at COLOURS.",
                        lambda v, **a: order_mask({**v, "COLOURS": "RGB"}, **a),
                    ),
                    (
                        "you run through COLOURS from its end.",
                        lambda v, **a: order_mask({**v, "COLOURS": v["COLOURS"][::-1]}, **a),
                    ),
                    (
                        "the centre is a yes or no for all channels alike: it depends on both colours.",
                        lambda v, kind, in_group, out_group, **a: order_mask(
                            v, kind, in_group=0 * in_group, out_group=0 * out_group, **a
                        ),
                    ),
                    (
                        "COLOURS lists colours by their place; you need the place of each colour, which is the "
                        "inverse of that list.",
                        lambda v, **a: order_mask({**v, "COLOURS": _inverse(v["COLOURS"])}, **a),
                    ),
                ],
                view=_at_centre,
                what="the centre of the mask",
                kind="any",
            ),
        ),
    ],
)


def _inverse(colours: str) -> str:
    places = ["RGB".index(colour) for colour in colours]
    return "".join("RGB"[places.index(i)] for i in range(3))


# ---------------------------------------------------------------- 5. what a stack reads


def reads(v: Variant, height: int, width: int, depth: int, pixel: tuple[int, int]) -> Results:
    """What the output at a pixel reads, and what comes earlier but is read at no depth; (H, W) each."""
    number = in_order(v, height, width)
    read = _read_from(v, height, width, depth, pixel)
    ever = _read_from(v, height, width, height * width, pixel)
    return read, (number < number[pixel]) & ~ever


def _read_from(
    v: Variant,
    height: int,
    width: int,
    depth: int,
    pixel: tuple[int, int],
    kinds: str = "AB",
    first: int | None = None,
) -> Tensor:
    """Go back from the output, a layer at a time: the set of pixels that can still reach it."""

    def back(reached: Tensor, size: int, kind: str) -> Tensor:
        number = in_order(v, size, size)
        middle = number[size // 2, size // 2]
        kernel = (number < middle if kind == "A" else number <= middle).float()
        # each reached pixel passes its kernel's footprint on, which is a convolution's transpose
        spread = F.conv_transpose2d(reached[None, None], kernel[None, None], padding=size // 2)
        return (spread[0, 0] > 0).float()

    reached = torch.zeros(height, width)
    reached[pixel] = 1
    for _ in range(depth):
        further = back(reached, 3, kinds[1])
        if torch.equal(further, reached):
            break  # and so it stays
        reached = further
    return back(reached, first or v["FIRST"], kinds[0]).bool()


def _reads_with(**change: Any) -> Callable[..., Results]:
    """A mistake in the first result; the second is made from the same stack."""

    def mistake(v: Variant, height: int, width: int, depth: int, pixel: tuple[int, int]) -> Results:
        deeper = change.get("deeper", 0)
        rest = {key: value for key, value in change.items() if key != "deeper"}
        read = _read_from(v, height, width, max(depth + deeper, 0), pixel, **rest)
        return read, read

    return mistake


def _without_masks(
    v: Variant, height: int, width: int, depth: int, pixel: tuple[int, int]
) -> Results:
    i, j = torch.arange(height)[:, None], torch.arange(width)[None, :]
    reach = v["FIRST"] // 2 + depth
    square = ((i - pixel[0]).abs() <= reach) & ((j - pixel[1]).abs() <= reach)
    return square, square


def _earlier(v: Variant, height: int, width: int, pixel: tuple[int, int]) -> Tensor:
    number = in_order(v, height, width)
    return number < number[pixel]


def _all_earlier(
    v: Variant, height: int, width: int, depth: int, pixel: tuple[int, int]
) -> Results:
    earlier = _earlier(v, height, width, pixel)
    return earlier, earlier


def _masked_square(
    v: Variant, height: int, width: int, depth: int, pixel: tuple[int, int]
) -> Results:
    square = _without_masks(v, height, width, depth, pixel)[0]
    read = square & _earlier(v, height, width, pixel)
    return read, read


def _blind(change: Callable[..., Tensor]) -> Callable[..., Results]:
    def mistake(v: Variant, **arguments: Any) -> Results:
        blind = change(v, **arguments)
        return blind, blind

    return mistake


def _blind_at_depth(
    v: Variant, height: int, width: int, depth: int, pixel: tuple[int, int]
) -> Tensor:
    return _earlier(v, height, width, pixel) & ~_read_from(v, height, width, depth, pixel)


def _ask_reads(generator: torch.Generator, v: Variant) -> list[Question]:
    def ask(height: int, width: int, depth: int, pixel: tuple[int, int]) -> Question:
        return Question(
            f"depth {depth} and pixel {pixel} of {height} x {width}",
            {"height": height, "width": width, "depth": depth, "pixel": pixel},
        )

    def at(height: int, width: int, i: int, j: int) -> tuple[int, int]:
        """The pixel i rows and j columns from where the order starts."""
        row = i if "upper" in v["START"] else height - 1 - i
        return row, j if "left" in v["START"] else width - 1 - j

    asked = [ask(7, 7, 0, (3, 3))]
    # far from the start, so that every layer up to these shows, and one that is missing or too many
    asked += [ask(10, 12, depth, at(10, 12, 5, 11)) for depth in range(6)]
    # long and thin: no depth that stands in the code, nor that of the other side, is deep enough
    asked += [ask(3, 24, 2, at(3, 24, 1, 23)), ask(24, 3, 2, at(24, 3, 23, 1))]
    # at the edges and the start
    asked += [ask(8, 9, 1, at(8, 9, *place)) for place in ((0, 6), (7, 6), (4, 0), (0, 0))]
    for _ in range(2):
        height, width = whole(generator, 6, 12), whole(generator, 6, 12)
        pixel = whole(generator, 0, height - 1), whole(generator, 0, width - 1)
        asked.append(ask(height, width, whole(generator, 0, 5), pixel))
    return asked


READS = Task(
    _ask_reads,
    [
        Part(
            3,
            "what is read",
            judged(
                reads,
                [
                    (
                        "your first layer has mask B, so that the output reads its own pixel.",
                        _reads_with(kinds="BB"),
                    ),
                    (
                        "your later layers have mask A: they may keep the pixel where they stand.",
                        _reads_with(kinds="AA"),
                    ),
                    (
                        "your stack has one layer too few: `depth` layers come after the first.",
                        _reads_with(deeper=-1),
                    ),
                    (
                        "your stack has one layer too many: `depth` layers come after the first.",
                        _reads_with(deeper=1),
                    ),
                    (
                        "your first layer is 3 x 3 like the others: its size is FIRST.",
                        _reads_with(first=3),
                    ),
                    (
                        "this is the field of a stack without masks: a square.",
                        _without_masks,
                    ),
                    (
                        "these are all earlier pixels: how far does a stack of this depth see?",
                        _all_earlier,
                    ),
                    (
                        "you cut the square of a stack without masks at the pixel, but a path must obey the masks "
                        "in each of its steps.",
                        _masked_square,
                    ),
                    (
                        "these are the pixels whose outputs read this one: you follow the kernels in the "
                        "wrong direction.",
                        lambda v, **a: reads(opposite(v), **a),
                    ),
                    (
                        "your masks are those of raster order: read SCAN and START.",
                        lambda v, **a: reads(raster(v), **a),
                    ),
                ],
                results=("the first result", "the second result"),
                view=lambda results: results[0],
                what="what is read",
                kind="bool",
            ),
        ),
        Part(
            2,
            "the blind spot",
            judged(
                reads,
                [
                    (
                        "these are the earlier pixels that a stack of this depth misses. Some of them only wait for "
                        "more layers: the blind spot is what no depth reads.",
                        _blind(_blind_at_depth),
                    ),
                    (
                        "the pixel itself and those after it must not be read, so they are no blind spot.",
                        _blind(
                            lambda v, height, width, depth, pixel: (
                                ~_read_from(v, height, width, height * width, pixel)
                            )
                        ),
                    ),
                    (
                        "that is what is not read at this depth, later pixels included.",
                        _blind(lambda v, **a: ~reads(v, **a)[0]),
                    ),
                    (
                        "the blind spot is not empty: try a pixel in the middle and follow the masks step by step.",
                        _blind(lambda v, **a: torch.zeros_like(reads(v, **a)[0])),
                    ),
                    (
                        "that is what a deep stack reads: the blind spot is the rest of what comes earlier.",
                        _blind(
                            lambda v, height, width, depth, pixel: _read_from(
                                v, height, width, height * width, pixel
                            )
                        ),
                    ),
                    (
                        "your earlier pixels are those of raster order: read SCAN and START.",
                        lambda v, **a: reads(raster(v), **a),
                    ),
                ],
                results=("the first result", "the second result"),
                view=lambda results: results[1],
                what="the blind spot",
                kind="bool",
            ),
        ),
    ],
)


# ---------------------------------------------------------------- 6. completing an image, exactly


def completions(v: Variant, log_factors: Tensor, known: Tensor) -> Results:
    """log p(unknown | known), the log-probability that the sampler gives it, and the KL divergence."""
    exact = log_factors.sum(dim=1).log_softmax(dim=0)
    clamped = log_factors[:, ~known].sum(dim=1)
    return exact, clamped, _divergence(v, exact, clamped)


def _divergence(v: Variant, exact: Tensor, clamped: Tensor) -> Tensor:
    p, q = (exact, clamped) if v["KL_FROM"] == "exact" else (clamped, exact)
    return torch.where(p == -torch.inf, 0, p.exp() * (p - q)).sum()


def _weighed_by_logs(v: Variant, exact: Tensor, clamped: Tensor) -> Tensor:
    p, q = (exact, clamped) if v["KL_FROM"] == "exact" else (clamped, exact)
    return (p * (p - q)).sum()


def _turned(v: Variant) -> Variant:
    return {**v, "KL_FROM": "clamped" if v["KL_FROM"] == "exact" else "exact"}


def _completed(n: int, change: Callable[..., Tensor]) -> Callable[..., Results]:
    """A mistake in the n-th of the three results."""

    def mistake(v: Variant, log_factors: Tensor, known: Tensor) -> Results:
        made = [*completions(v, log_factors, known)]
        made[n] = change(v, log_factors, known)
        return tuple(made)

    return mistake


def chain_factors(joint: Tensor) -> Tensor:
    """Log-probabilities of all binary images, (2,) * D -> log p(x_i | earlier) of each, (2^D, D).

    Rows are in the order of `all_images`. Sums are taken in log-space.
    """
    joint = joint - joint.flatten().logsumexp(dim=0)
    n = joint.ndim
    before = torch.zeros(())
    factors = []
    for i in range(n):
        later = tuple(range(i + 1, n))
        now = joint.logsumexp(dim=later) if later else joint  # (2,) * (i + 1)
        factor = now - before[..., None] if i else now
        factors.append(factor[(...,) + (None,) * len(later)].expand(joint.shape).flatten())
        before = now
    return torch.stack(factors, dim=1)


def _ask_completions(generator: torch.Generator, v: Variant) -> list[Question]:
    def ask(
        label: str,
        known: Tensor,
        scale: float,
        *,
        never: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> Question:
        n = len(known)
        joint = scale * normal(generator, 2**n).double().reshape((2,) * n)
        if never:  # where the second pixel is white, the last one cannot be
            joint[:, 1, ..., 1] = -torch.inf
        images = all_images(2, (1, 1, n)).flatten(1)
        shown = (normal(generator, n) > 0).float()
        agree = (images == shown)[:, known].all(dim=1)
        factors = chain_factors(joint)[agree]
        return Question(label, {"log_factors": factors.to(dtype), "known": known})

    def some(n: int) -> Tensor:
        known = normal(generator, n) > 0
        known[0], known[-1] = False, True  # a later known pixel, so that the two differ
        return known

    hole = torch.tensor([True, False, True, False, True, False])
    return [
        ask("one unknown pixel of two", torch.tensor([False, True]), 1.5),
        ask("the lower half known", torch.arange(6) >= 3, 1.5),
        ask("a random mask", some(whole(generator, 5, 7)), 1.5),
        ask("double precision", some(5), 1.5, dtype=torch.float64),
        # sums of thousands keep no fourth digit after the point in single precision
        ask("extreme factors", hole, 2000.0, dtype=torch.float64),
        ask("extreme: completions that never happen", hole, 1.5, never=True),
    ]


def _of_completions(n: int, what: str, mistakes: list[tuple[str, Callable[..., Any]]]) -> Judge:
    return judged(
        completions,
        mistakes,
        results=("the first result", "the second result", "the third result"),
        view=lambda results: results[n],
        what=what,
    )


def _completions_probe(case: Case, got: Tensor, want: Tensor, v: Variant) -> str | None:
    if "never" in case.label:
        return (
            "a completion that never happens must have log-probability minus infinity, and no part in the "
            "divergence: 0 log 0 counts as 0."
        )
    return underflow(case, got, want, v)


COMPLETIONS = Task(
    _ask_completions,
    [
        Part(
            1,
            "exact completion",
            _of_completions(
                0,
                "the exact completion",
                [
                    (
                        "these are the joint log-probabilities of whole images: the known pixels are given, so their "
                        "probability is to be divided out.",
                        _completed(0, lambda v, x, known: x.sum(dim=1)),
                    ),
                    (
                        "this is what the sampler does, which never looks at known pixels that come later: use "
                        "Bayes' rule.",
                        _completed(0, lambda v, x, known: x[:, ~known].sum(dim=1)),
                    ),
                    (
                        "these are probabilities: return their logarithms.",
                        _completed(0, lambda v, x, known: x.sum(dim=1).softmax(dim=0)),
                    ),
                ],
            ),
            only=not_labelled("extreme"),
        ),
        Part(
            2,
            "what the sampler draws",
            _of_completions(
                1,
                "the sampler's log-probability",
                [
                    (
                        "this is the exact completion: the sampler draws each unknown pixel given the ones before it, "
                        "and knows nothing of later ones.",
                        _completed(1, lambda v, x, known: x.sum(dim=1).log_softmax(dim=0)),
                    ),
                    (
                        "you add up the factors of the known pixels: those are not drawn.",
                        _completed(1, lambda v, x, known: x[:, known].sum(dim=1)),
                    ),
                    (
                        "these are the log-probabilities of whole images: the known pixels are not drawn.",
                        _completed(1, lambda v, x, known: x.sum(dim=1)),
                    ),
                    (
                        "these are probabilities: return their logarithms.",
                        _completed(1, lambda v, x, known: x[:, ~known].sum(dim=1).exp()),
                    ),
                    (
                        "you average the factors of an image: the chain rule multiplies them.",
                        _completed(1, lambda v, x, known: x[:, ~known].mean(dim=1)),
                    ),
                ],
            ),
            only=not_labelled("extreme"),
        ),
        Part(
            1,
            "the divergence",
            _of_completions(
                2,
                "the divergence",
                [
                    (
                        "this is the divergence in the other direction: KL_FROM says over which of the two the "
                        "expectation is taken.",
                        lambda v, **a: completions(_turned(v), **a),
                    ),
                    (
                        "the sign is wrong: a divergence is never negative.",
                        _completed(2, lambda v, x, known: -completions(v, x, known)[2]),
                    ),
                    (
                        "this is in bits: return nats.",
                        _completed(
                            2, lambda v, x, known: completions(v, x, known)[2] / math.log(2)
                        ),
                    ),
                    (
                        "you average over the completions where an expectation weighs each with its probability.",
                        _completed(2, lambda v, x, known: completions(v, x, known)[2] / len(x)),
                    ),
                    (
                        "all completions have the same weight in your sum: weigh each with its probability.",
                        _completed(
                            2,
                            lambda v, x, known: (
                                (-1) ** (v["KL_FROM"] != "exact")
                                * (completions(v, x, known)[0] - completions(v, x, known)[1]).mean()
                            ),
                        ),
                    ),
                    (
                        "the weights are logarithms: weigh with probabilities.",
                        _completed(
                            2,
                            lambda v, x, known: _weighed_by_logs(v, *completions(v, x, known)[:2]),
                        ),
                    ),
                ],
            ),
            only=not_labelled("extreme"),
        ),
        Part(
            1,
            "extremes",
            judged(
                completions,
                [],
                results=("the exact completion", "the sampler's log-probability", "the divergence"),
                probe=_completions_probe,
            ),
            only=labelled("extreme"),
        ),
    ],
)


# ---------------------------------------------------------------- 7. a trained model

N_ALL = 2**16
LEARNED, WELL = 1.5, 0.15  # nats of KL divergence from the truth to the model


def truth(v: Variant) -> tuple[Tensor, Tensor]:
    """The 30 images of `bars`, and their probabilities where the classes have the new proportions."""
    bars = load("bars")
    prior = torch.tensor(v["NEW_PRIOR"], dtype=torch.float64)
    return bars.floats(), (prior / bars.labels.bincount())[bars.labels]


def _tables(name: str, outcomes: Sequence[Outcome]) -> list[Results]:
    """Both tables, untrained and trained: log p(x) and log p(pixel | earlier) of all images."""
    for outcome in outcomes:
        if len(outcome.tensors) != 2:
            raise Wrong(f"`{name}` returns {len(outcome.tensors)} results where 2 are wanted.")
        for x in outcome.tensors:
            if x.shape != (N_ALL,):
                raise Wrong(
                    f"`{name}` returns the shape {tuple(x.shape)} for {N_ALL} images: return one number an "
                    "image."
                )
            if not x.is_floating_point() or x.isnan().any():
                raise Wrong(f"`{name}` returns NaN, or numbers that are no logarithms.")
    return [(o.tensors[0].double(), o.tensors[1].double()) for o in outcomes]


def _sums_to_one(log_p: Tensor, when: str) -> None:
    total = log_p.exp().sum().item()
    if total > 1 + 1e-3:
        raise Wrong(
            f"{when} the probabilities of all images add up to more than one: does a prediction read its own "
            "pixel or later ones, or do you average where the chain rule multiplies?"
        )
    if total < 1 - 1e-3:
        raise Wrong(
            f"{when} the probabilities of all images add up to less than one: is every pixel counted once, and "
            "black as well as white? Or does a prediction read its own pixel or later ones?"
        )


def _judge_sums(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    untrained, trained = _tables(name, outcomes)
    _sums_to_one(untrained[0], "before training")
    _sums_to_one(trained[0], "after training")


def conditional(log_p: Tensor, number: Tensor, pixel: tuple[int, int]) -> Tensor:
    """log p(pixel | all pixels earlier in an order) of all images, (2^D,), from the table of log p(x)."""
    joint = log_p.double().reshape((2,) * number.numel())

    def marginal(kept: Tensor) -> Tensor:
        gone = tuple((~kept).flatten().nonzero().flatten().tolist())
        return joint.logsumexp(dim=gone, keepdim=True) if gone else joint

    conditioned = marginal(number <= number[pixel]) - marginal(number < number[pixel])
    return conditioned.expand(joint.shape).flatten()


def _judge_pixel(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    for log_p, given in _tables(name, outcomes):
        _sums_to_one(log_p, "in one of the two tables")

        def fits(other: Variant, log_p: Tensor = log_p, given: Tensor = given) -> bool:
            want = conditional(log_p, in_order(other, 4, 4), v["PIXEL"])
            return bool(((given - want).abs() < 1e-2 + 1e-3 * want.abs()).all())

        if fits(v):
            continue
        if fits(raster(v)):
            raise Wrong("your network predicts the pixels in raster order: read SCAN and START.")
        if any(fits({**v, "SCAN": scan, "START": start}) for scan, start in ORDERS):
            raise Wrong("your network predicts the pixels in another order: read SCAN and START.")
        if (given > 1e-4).any():
            raise Wrong(
                "the second result holds logarithms above 0: they are to be log-probabilities."
            )
        if torch.allclose(given, log_p):
            raise Wrong("both results are the same: the second is one summand of the first.")
        raise Wrong(
            "the second result is not log p(PIXEL | pixels that come earlier in the order), as it follows from "
            "your own first result by summing over the pixels that come later: is it the right pixel, and "
            "the probability of the value that it has?"
        )


def _judge_kl(threshold: float) -> Judge:
    def judge_kl(
        name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
    ) -> None:
        (untrained, _), (trained, _) = _tables(name, outcomes)
        _sums_to_one(untrained, "before training")
        _sums_to_one(trained, "after training")
        images, p = truth(v)
        place = (images.flatten(1).long() << torch.arange(15, -1, -1)).sum(dim=1)

        def kl(log_q: Tensor) -> float:
            return float((p * (p.log() - log_q[place])).sum())

        if kl(untrained) < 2:
            raise Wrong(
                "with 0 updates the model knows the images already: build and train it inside the function, for "
                "as many updates as the argument says."
            )
        got = kl(trained)
        if got > kl(untrained) - 1:
            raise Wrong("training changes next to nothing: does every update reach the weights?")
        if got >= threshold:
            log_uniform = trained[place].exp().sum().log()
            share = trained[place].exp() / log_uniform.exp()
            even = (share - 1 / 30).abs().max() < 0.01
            raise Wrong(
                f"the divergence from the truth is {got:.2f} nats, and the bound is {threshold:g}."
                + (
                    " Your model thinks all 30 images equally probable: look at the proportions of the truth."
                    if even
                    else ""
                )
            )

    return judge_kl


def _ask_bars(generator: torch.Generator, v: Variant) -> list[Question]:
    images = all_images(2, (1, 4, 4))
    return [
        Question("an untrained network", {"updates": 0, "images": images}),
        Question("a trained network", {"updates": v["UPDATES"], "images": images}),
    ]


BARS = Task(
    _ask_bars,
    [
        Part(2, "a distribution", _judge_sums),
        Part(2, "the order", _judge_pixel),
        Part(1, f"less than {LEARNED:g} nats from the truth", _judge_kl(LEARNED)),
        Part(2, f"less than {WELL:g} nats from the truth", _judge_kl(WELL)),
    ],
)


# ---------------------------------------------------------------- 8. two orders


def logistic_chain_kl(p: Tensor, order: Tensor) -> float:
    """KL(p || q), nats, for the best q whose conditionals are logistic regressions on earlier pixels.

    Each of them is a convex problem of its own; Newton's method with a line search ends at its minimum.

    Args:
        p: (2^D,), positive, in the order of `all_images`.
        order: (D,), which pixel comes first, second, ...
    """
    return _logistic_chain_kl(tuple(p.tolist()), tuple(order.tolist()))


@functools.lru_cache(
    maxsize=100
)  # what is compared with a wrong answer asks for the same fits again
def _logistic_chain_kl(probabilities: tuple[float, ...], order: tuple[int, ...]) -> float:
    p = torch.tensor(probabilities, dtype=torch.float64)
    x = all_images(2, (1, 1, len(order))).flatten(1).double()[:, list(order)]
    cross_entropy = 0.0
    for i in range(len(order)):
        features = torch.cat([torch.ones_like(x[:, :1]), x[:, :i]], dim=1)
        cross_entropy += _logistic_regression(features, x[:, i], p)
    return cross_entropy + float((p * p.log()).sum())


def _logistic_regression(features: Tensor, y: Tensor, p: Tensor) -> float:
    """The smallest expected negative log-likelihood."""
    w = features.new_zeros(features.shape[1])

    def loss(w: Tensor) -> float:
        nats = F.binary_cross_entropy_with_logits(features @ w, y, reduction="none")
        return float((p * nats).sum())

    for _ in range(50):
        q = (features @ w).sigmoid()
        slope = features.T @ (p * (q - y))
        curvature = (features.T * (p * q * (1 - q))) @ features
        step = torch.linalg.solve(curvature + 1e-12 * torch.eye(len(w)).to(w), slope)
        size, before = 1.0, loss(w)
        while loss(w - size * step) > before and size > 1e-6:
            size /= 2
        w = w - size * step
        if before - loss(w) < 1e-12:
            break
    return loss(w)


def two_orders(v: Variant, p: Tensor, height: int, width: int) -> Tensor:
    """The divergence in raster order and in the variant's, (2,)."""
    orders = [torch.arange(height * width), in_order(v, height, width).flatten().argsort()]
    return torch.tensor([logistic_chain_kl(p, order) for order in orders])


def half_adder(places: tuple[int, ...], n: int, noise: float) -> Tensor:
    """Two coins, whether both are white, whether they differ, and other pixels that are coins, (2^n,)."""
    images = all_images(2, (1, 1, n)).flatten(1)
    a, b, both, differ = (images[:, place] for place in places)
    fits = (both == a * b) & (differ == (a - b).abs())
    return (1 - noise) * fits / fits.sum() + noise / 2**n


def independent_kl(p: Tensor) -> float:
    """KL from p to the product of its pixels."""
    n = int(math.log2(len(p)))
    x = all_images(2, (1, 1, n)).flatten(1).double()
    white = p.double() @ x
    log_q = torch.where(x > 0, white.log(), (1 - white).log()).sum(dim=1)
    return float((p.double() * (p.double().log() - log_q)).sum())


def _entropy(p: Tensor) -> float:
    return float(-(p.double() * p.double().log()).sum())


def _orders_with(change: Callable[[Tensor, Tensor], float]) -> Callable[..., Tensor]:
    """A mistake, from the table and an order."""

    def mistake(v: Variant, p: Tensor, height: int, width: int) -> Tensor:
        orders = [torch.arange(height * width), in_order(v, height, width).flatten().argsort()]
        return torch.tensor([change(p, order) for order in orders])

    return mistake


_OTHER_ORDER_MISTAKES: list[tuple[str, Callable[..., Tensor]]] = [
    (
        "both numbers are those of raster order: read SCAN and START.",
        lambda v, **a: two_orders(raster(v), **a),
    ),
    (
        "SCAN and START give every pixel a number; you take the numbers for the pixels, which is the "
        "inverse of the order.",
        lambda v, p, height, width: torch.tensor(
            [
                logistic_chain_kl(p, torch.arange(height * width)),
                logistic_chain_kl(p, in_order(v, height, width).flatten()),
            ]
        ),
    ),
]

_ORDER_MISTAKES: list[tuple[str, Callable[..., Tensor]]] = [
    (
        "the two orders are the wrong way round: raster order comes first.",
        lambda v, **a: two_orders(v, **a).flip(0),
    ),
    (
        "this is the cross-entropy, the nats that an image costs: the entropy of the truth is still in it.",
        _orders_with(lambda p, order: logistic_chain_kl(p, order) + _entropy(p)),
    ),
    (
        "this is in bits: return nats.",
        _orders_with(lambda p, order: logistic_chain_kl(p, order) / math.log(2)),
    ),
    (
        "this is the divergence a pixel: return that of the image.",
        _orders_with(lambda p, order: logistic_chain_kl(p, order) / len(order)),
    ),
    (
        "the pixels are independent in your model: each is to be predicted from all earlier ones.",
        _orders_with(lambda p, order: independent_kl(p)),
    ),
    (
        "the divergence is zero for every order, as if any conditional were possible: these can do no more than "
        "a logistic regression.",
        _orders_with(lambda p, order: 0.0),
    ),
    (
        "you fit to all images alike: the images have the probabilities p.",
        _orders_with(lambda p, order: math.log(len(p)) - _entropy(p)),  # q is uniform
    ),
    (
        "you run through your order from its end.",
        _orders_with(lambda p, order: logistic_chain_kl(p, order.flip(0))),
    ),
]


def _judge_orders(
    places: tuple[int, ...], mistakes: Sequence[tuple[str, Callable[..., Tensor]]]
) -> Judge:
    def judge_orders(
        name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
    ) -> None:
        for outcome in outcomes:
            shapes = [tuple(x.shape) for x in outcome.tensors]
            if shapes != [(2,)] or not outcome.tensors[0].is_floating_point():
                raise Wrong(
                    f"`{name}` returns {shapes}: return one tensor of two numbers, in nats."
                )
            if outcome.tensors[0].isnan().any():
                raise Wrong(f"`{name}` returns NaN.")
        got = torch.stack([outcome.tensors[0].double() for outcome in outcomes])

        def gap(f: Callable[..., Tensor], which: Sequence[int]) -> Tensor:
            want = torch.stack([f(v, **question.arguments).double() for question in questions])
            return (got - want).abs()[:, which]

        wrong = gap(two_orders, places)
        if (wrong < NEAR).all():
            return
        for which in (range(2), places):
            for words, mistake in mistakes:
                if which == places and "wrong way round" in words:
                    continue  # that takes both numbers to tell
                if (gap(mistake, which) < NEAR).all():
                    raise Wrong(words)
        want = torch.stack([two_orders(v, **question.arguments) for question in questions])
        low = (got - want)[:, places] < -NEAR
        label = questions[int((wrong >= NEAR).any(dim=1).nonzero()[0])].label
        if low.any():
            raise Wrong(
                f"for {label} the divergence is smaller than any such model can reach in this order: do the "
                "conditionals read more than the earlier pixels, or more than linearly?"
            )
        raise Wrong(
            f"for {label} the divergence is larger than that of the best model in this order: is the fit at its "
            "end, does each pixel have a bias, and does it read all earlier pixels?"
        )

    return knows(judge_orders, mistakes)


NEAR = 4e-3  # nats; a fit that ends this close to the minimum is good enough


def _telling_places(
    generator: torch.Generator, v: Variant, height: int, width: int
) -> list[tuple[int, ...]]:
    """Half adders that are dear in one order and cheap in another, until every order is told from ours,
    and those that have words of their own from each other."""

    def dear(order: list[int], places: tuple[int, ...]) -> bool:
        a, b, both, differ = (order.index(place) for place in places)
        return both > max(a, b, differ)

    def order_of(other: Variant) -> list[int]:
        return in_order(other, height, width).flatten().argsort().tolist()

    ours = order_of(v)
    others = [order_of({**v, "SCAN": s, "START": c}) for s in ("rows", "columns") for c in CORNERS]
    # raster order, ours from its end, and numbers taken for pixels
    named = [order_of(raster(v)), ours[::-1], [ours.index(i) for i in range(len(ours))]]
    left = [(order, ours) for order in [*others, *named] if order != ours]
    left += itertools.combinations(named, 2)
    all_places = list(itertools.permutations(range(height * width), 4))
    chosen = []
    for i in torch.randperm(len(all_places), generator=generator).tolist():
        told = [pair for pair in left if len({dear(order, all_places[i]) for order in pair}) == 2]
        if told:
            chosen.append(all_places[i])
            left = [pair for pair in left if pair not in told]
    return chosen


def _ask_orders(generator: torch.Generator, v: Variant) -> list[Question]:
    def ask(label: str, p: Tensor, height: int, width: int) -> Question:
        return Question(label, {"p": p.double(), "height": height, "width": width})

    def table(n: int) -> Tensor:
        return (1.2 * normal(generator, 2**n)).softmax(dim=0)

    coins = 0.2 + 0.6 * torch.rand(6, generator=generator)
    x = all_images(2, (1, 2, 3)).flatten(1)
    independent = torch.where(x > 0, coins, 1 - coins).prod(dim=1)
    return [
        ask("independent pixels", independent, 2, 3),
        ask("the world of the notebook", half_adder(v["WORLD"], 6, 0.05), 2, 3),
        ask("a random table of 2 x 3 pixels", table(6), 2, 3),
        ask("a random table of 2 x 2 pixels", table(4), 2, 2),
        *(  # random tables hardly tell orders apart
            ask("a half adder of 3 x 2 pixels", half_adder(places, 6, 0.05), 3, 2)
            for places in _telling_places(generator, v, 3, 2)
        ),
    ]


TWO_ORDERS = Task(
    _ask_orders,
    [
        Part(2, "raster order", _judge_orders((0,), _ORDER_MISTAKES)),
        Part(2, "the other order", _judge_orders((1,), [*_OTHER_ORDER_MISTAKES, *_ORDER_MISTAKES])),
    ],
)

PROBLEM_SET = ProblemSet(
    "ps1_autoregressive",
    variant,
    {
        "prior_shift": PRIOR_SHIFT,
        "level_bits": LEVEL_BITS,
        "logistic_log_prob": LOGISTIC,
        "order_mask": ORDER_MASK,
        "reads": READS,
        "completions": COMPLETIONS,
        "bars_log_prob": BARS,
        "two_orders": TWO_ORDERS,
    },
    seconds=60,
)
