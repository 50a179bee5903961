r"""Graders of problem set 1: Bayes' rule when the prior changes, likelihoods, orders of pixels, a trained model.

Every right function, and every mistake, is made from a variant. The functions are plain rather than fast;
test_grader.py compares them with brute force.
"""

import functools
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course.assignments.core import (
    MakeStep,
    Part,
    ProblemSet,
    Variant,
    compared,
    is_extreme,
    is_ordinary,
    task,
    trained,
)
from course.checking.core import Case, Wrong
from course.checking.questions import Outcome, Question
from course.checking.step import Step, extreme, hard, step, tame
from genlib.data import all_images, load

__all__ = ["PROBLEM_SET"]

CORNERS = ("upper left", "upper right", "lower left", "lower right")


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
        "PIXEL": draw.choice(telling_pixels(scan, start)),
        # two coins, "both are white", "they differ": cheap in these orders and dear in raster order
        "WORLD": (0, 2, 5, 4),
    }


@functools.cache
def telling_pixels(scan: str, start: str) -> list[tuple[int, int]]:
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


@functools.cache
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


def other_orders(v: Variant) -> list[Variant]:
    orders = [{**v, "SCAN": scan, "START": c} for scan in ("rows", "columns") for c in CORNERS]
    return [other for other in orders if other != v]


def pixels_of(v: Variant, height: int, width: int) -> Tensor:
    """Which pixel comes first, second, ..., (H W,)."""
    return in_order(v, height, width).flatten().argsort()


def raster(v: Variant) -> Variant:
    return {**v, "SCAN": "rows", "START": "upper left"}


# ---------------------------------------------------------------- parts

MakePart = Callable[[MakeStep], Part]


def of_any_dtype(part: MakePart) -> MakePart:
    """The part, where another may ask for the dtype."""

    def made(make: MakeStep) -> Part:
        def any_dtype(v: Variant) -> Step:
            step = make(v)
            step.dtype = None
            return step

        return part(any_dtype)

    return made


def split(
    part: MakePart,
    results: Callable[[Step, Sequence[Question], Sequence[Tensor]], list[tuple[Tensor, ...]]],
) -> MakePart:
    """The part, for a step with two results that a student returns in one tensor.

    Args:
        part: made by `compared`.
        results: the step, all questions and what came of each -> both results of each. May raise `Wrong`.
    """

    def made(make: MakeStep) -> Part:
        inner = part(make)

        def judge(
            name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
        ) -> None:
            for outcome in outcomes:
                if outcome.words or len(outcome.tensors) != 1:
                    raise Wrong(
                        outcome.words or f"`{name}` returns several things: return one tensor."
                    )
            both = results(make(v), questions, [outcome.tensors[0] for outcome in outcomes])
            split = [Outcome(tensors=tuple(x), several=True) for x in both]
            inner.judge(name, questions, split, v)

        return replace(inner, judge=judge)

    return made


def filled(
    right: Callable[..., Any], function: Callable[..., Any], *arguments: Any
) -> tuple[Tensor, ...]:
    """The results of a wrong function, and right ones where it says nothing."""
    pairs = zip(function(*arguments), right(*arguments), strict=True)
    return tuple(b if a is None else a for a, b in pairs)


def normal(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=g)


def whole(g: torch.Generator, low: int, high: int) -> int:
    """A whole number from low to high, both of them possible."""
    return int(torch.randint(low, high + 1, (), generator=g))


# ---------------------------------------------------------------- 1. another prior


def ask_prior_shift(g: torch.Generator) -> list[Case]:
    def prior() -> Tensor:
        return normal(g, 3).softmax(dim=0)

    n = whole(g, 4, 7)
    far = 1000 * normal(g, n, 3) + 1000
    far[0] = torch.tensor([2000.0, 0.0, -2000.0])
    double = {"logits": normal(g, 3, 3).double(), "old_prior": prior().double()}
    return [
        tame("logits of two images", logits=normal(g, 2, 3), old_prior=prior()),
        tame("random logits", logits=2 * normal(g, n, 3) + 1, old_prior=prior()),
        tame("logits in double precision", **double),
        # double, since single precision has no digits left for a ratio of logits in the thousands
        extreme("extreme logits", logits=far.double(), old_prior=prior().double()),
    ]


@task(
    compared(2, "the posterior", 0, is_ordinary),
    compared(1, "the ratio", 1, is_ordinary),
    of_any_dtype(compared(1, "extreme logits", only=is_extreme)),
)
def prior_shift(v: Variant) -> Step:
    def logarithms(logits: Tensor, old_prior: Tensor) -> dict[str, Tensor]:
        new = torch.tensor(v["NEW_PRIOR"], dtype=logits.dtype).log()
        return {
            "p": logits.log_softmax(dim=1),
            "old": old_prior.log(),
            "new": new,
            "logits": logits,
        }

    @step(ask_prior_shift, results=("the posterior", "the ratio"), dtype="same", view=logarithms)
    def prior_shift(p: Tensor, old: Tensor, new: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """log p_new(y|x), (N, 3), and log p_new(x) / p_old(x), (N,)."""
        joint = p + new - old
        return joint.log_softmax(dim=1), joint.logsumexp(dim=1)

    prior_shift.wrong = {
        "this is the old posterior: the new proportions do not enter.":
            lambda p, *_: (p, torch.zeros_like(p[:, 0])),
        "you weigh with the new proportions but never take out the old ones, which are in the classifier's answers "
        "already.":
            lambda p, old, new, _: ((p + new).log_softmax(1), (p + new).logsumexp(1)),
        "old and new proportions are the wrong way round.":
            lambda p, old, new, _: ((p - new + old).log_softmax(1), (p - new + old).logsumexp(1)),
        "the probabilities of the classes no longer sum to one: normalise after you weigh.":
            lambda p, old, new, _: (p + new - old, None),
        "these are probabilities: return their logarithms.": lambda p, old, new, _: ((p + new - old).softmax(1), None),
        "you normalise over the images, axis 0: the classes are axis 1.":
            lambda p, old, new, _: ((p + new - old).log_softmax(0), None),
        "the sum runs over logits that are not normalised, and a classifier's logits may be shifted by any number: "
        "begin with log p_old(y | x).":
            lambda p, old, new, logits: (None, (logits + new - old).logsumexp(1)),
        "this is the ratio itself: return its logarithm.": lambda p, old, new, _: (None, (p + new - old).exp().sum(1)),
        "this is the logarithm of p_old(x) over p_new(x): the ratio is upside down.":
            lambda p, old, new, _: (None, -(p + new - old).logsumexp(1)),
    }  # fmt: skip
    return prior_shift


# ---------------------------------------------------------------- 2. bits per dimension


def ask_level_bits(g: torch.Generator) -> list[Case]:
    def densities(draws: int, n: int, values: int, scale: float = 2.0) -> dict[str, Any]:
        x = scale * normal(g, draws, n) + 0.2 * values
        return {"log_density": x, "n_values": values}

    several = densities(whole(g, 5, 9), whole(g, 3, 6), whole(g, 10, 20))
    double = densities(4, 2, 7)
    far = densities(3, whole(g, 3, 6), 784, scale=900.0)
    far["log_density"][:, :2] += torch.tensor([4000.0, -4000.0])  # always out of range
    return [
        tame("one draw for each of two images", **densities(1, 2, 4)),
        tame("several draws", **several),
        tame(
            "densities in double precision",
            **{**double, "log_density": double["log_density"].double()},
        ),
        extreme("extreme densities, of images of 784 values", **far),
    ]


def mean_in_logs(log_density: Tensor) -> Tensor:
    return log_density.logsumexp(dim=0) - math.log(len(log_density))


@task(compared(3, "the bits", only=is_ordinary), compared(1, "extreme densities", only=is_extreme))
def level_bits(v: Variant) -> Step:
    high, levels = v["HIGH"], v["LEVELS"]
    step_width = (high - v["LOW"]) / levels

    def bits(
        log_density: Tensor,
        n_values: int,
        width: float = step_width,
        mean: Callable[[Tensor], Tensor] = mean_in_logs,
    ) -> Tensor:
        log_p = mean(log_density) + n_values * math.log(width)
        return -log_p / (n_values * math.log(2))

    @step(ask_level_bits)
    def level_bits(log_density: Tensor, n_values: int) -> Tensor:
        """Bits a value of discrete images, (N,), from densities at dequantised ones, (S, N)."""
        return bits(log_density, n_values)

    level_bits.wrong = {
        "these are bits of the density, whose size depends on the units of y: the width of a level does not enter.":
            partial(bits, width=1),
        "the width of a level enters with the wrong sign: is the probability of a level larger or smaller than the "
        "density, where a level is narrow?":
            partial(bits, width=1 / step_width),
        "the width of a level enters once an image: a cell has a width in every one of its values.":
            lambda x, d: bits(x, d, step_width ** (1 / d)),
        "you average the log-densities, which gives a bound: the estimate is the logarithm of the averaged density.":
            partial(bits, mean=lambda x: x.mean(0)),
        "you add up the densities of the draws where their mean is wanted: more draws would make an image more "
        "probable.":
            partial(bits, mean=lambda x: x.logsumexp(0)),
        "a level is as wide as if y went from 0 to 1: look at LOW and HIGH.": partial(bits, width=1 / levels),
        "a level is as wide as if y went from -1 to 1: look at LOW and HIGH.": partial(bits, width=2 / levels),
        "a level is as wide as if LOW were -HIGH: look at LOW.": partial(bits, width=2 * high / levels),
        "a level is too wide: K levels, each as wide as the noise, fill the range from LOW to HIGH, so that there are "
        "K widths and not K - 1.":
            partial(bits, width=(high - v["LOW"]) / (levels - 1)),
        "these are bits an image: divide by the number of values.": lambda x, d: d * bits(x, d),
    }  # fmt: skip
    return level_bits


# ---------------------------------------------------------------- 3. a distribution on levels


def ask_logistic(levels: int, g: torch.Generator) -> list[Case]:
    def some(*shape: int) -> dict[str, Tensor]:
        level = torch.randint(levels, shape, generator=g)
        level.view(-1)[:2] = torch.tensor([0, levels - 1])  # both ends, always
        # near enough that the plain difference of sigmoids is right as well
        mean = 1.6 * torch.rand(shape, generator=g) - 0.8
        log_scale = 1.3 * torch.rand(shape, generator=g) - 1
        return {"mean": mean, "log_scale": log_scale, "level": level}

    every = torch.arange(levels)
    # a scale above 1: who divides by its logarithm gets numbers here, and none where it is negative
    mean, above = some(2)["mean"][:1], 0.05 + 0.25 * torch.rand(1, generator=g)
    one = {"mean": mean.repeat(levels), "log_scale": above.repeat(levels), "level": every}
    double = {k: x.double() if x.is_floating_point() else x for k, x in some(7).items()}
    # and one that is near, at which the gradient of a detached answer is told from one that ends far away
    far = torch.tensor([-6.0, 5.0, 6.0, 0.3]).repeat_interleave(levels)
    narrow = {"mean": far, "log_scale": torch.full_like(far, -3.0), "level": every.repeat(4)}
    middles = torch.linspace(-0.9, 0.9, levels)
    wide = {"mean": middles, "log_scale": torch.full_like(middles, 15.0), "level": every}
    return [
        tame("all levels of one distribution", **one),
        tame("a batch of images", **some(3, 1, 4, 5)),
        tame("double precision", **double),
        hard("a mean far away", **narrow),
        extreme("a very wide distribution", **wide),
    ]


def is_tame(question: Question) -> bool:
    return question.kind == "tame"


def far_from_the_mean(make: MakeStep) -> Part:
    """Values, and gradients where any come: to have none at all costs the points of the gradient alone."""
    values = of_any_dtype(compared(1, "far from the mean", only=lambda x: x.kind == "hard"))(make)

    def judge(
        name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
    ) -> None:
        values.judge(name, questions, outcomes, v)
        for question, outcome in zip(questions, outcomes, strict=True):
            if values.only(question):
                come = tuple((key, x) for key, x in outcome.gradients if x.any())
                asked = replace(question, trained=tuple(key for key, _ in come))
                make(v).judge_gradient([asked], [replace(outcome, gradients=come)])

    return replace(values, judge=judge)


@task(
    compared(3, "the values", only=is_tame),
    trained(1, "the gradient", only=is_tame),
    far_from_the_mean,
    of_any_dtype(compared(1, "very wide", only=is_extreme)),
)
def logistic_log_prob(v: Variant) -> Step:
    levels, top = v["LEVELS"], v["LEVELS"] - 1

    def log_prob(
        mean: Tensor,
        log_scale: Tensor,
        level: Tensor,
        half: float = 1 / top,
        place: Callable[[Tensor], Tensor] = lambda level: 2 * level / top - 1,
        scale: Callable[[Tensor], Tensor] = torch.exp,
        gap: Callable[[Tensor], Tensor] = lambda x: torch.log(-torch.expm1(x)),
        outer: Callable[..., Tensor] = lambda low, a, b: torch.where(
            low, F.logsigmoid(b), F.logsigmoid(-a)
        ),
    ) -> Tensor:
        a, b = ((place(level) + edge - mean) / scale(log_scale) for edge in (-half, half))
        inside = F.logsigmoid(b) + F.logsigmoid(-a) + gap(a - b)
        return torch.where((level == 0) | (level == top), outer(level == 0, a, b), inside)

    def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
        level = case.arguments["level"]
        wrong = (got.double() - want.double()).abs() > 1e-3
        if not wrong[(level > 0) & (level < top)].any():
            return "only the lowest or the highest level is wrong: where do their cells end?"
        if case.kind == "extreme":
            return (
                "for a very wide distribution you subtract two numbers that are nearly equal, and no digits are left: "
                "find a form, and functions, with which you do not."
            )
        if case.kind == "hard" and got.min() > want.min() + 1:
            return (
                "the log-probability stops falling far from the mean: a probability is clamped, or something is "
                "added to it, so that far away no gradient says where to go."
            )
        return None

    @step(partial(ask_logistic, levels), gradient="mean log_scale", dtype="same", probe=probe)
    def logistic_log_prob(mean: Tensor, log_scale: Tensor, level: Tensor) -> Tensor:
        r"""log p(level), of which the logistic distribution has between the level's edges.

        With $\sigma(b) - \sigma(a) = \sigma(b)\,\sigma(-a)\,(1 - e^{a-b})$ nothing cancels and nothing underflows.
        Source: Salimans et al. (2017), arXiv:1701.05517, section 2.1.
        """
        return log_prob(mean, log_scale, level)

    def density(mean: Tensor, log_scale: Tensor, level: Tensor) -> Tensor:
        z = (2 * level / top - 1 - mean) / log_scale.exp()
        return F.logsigmoid(z) + F.logsigmoid(-z) - log_scale + math.log(2 / top)

    logistic_log_prob.wrong = {
        "the outer levels end like the others, so the levels do not sum to one: nothing lies below the lowest and "
        "above the highest level.":
            partial(
                log_prob, outer=lambda low, a, b: F.logsigmoid(b) + F.logsigmoid(-a) + torch.log(-torch.expm1(a - b))
            ),
        "the two ends are mixed up.":
            partial(log_prob, outer=lambda low, a, b: torch.where(low, F.logsigmoid(-b), F.logsigmoid(a))),
        "you take the density in the middle of a cell times its width: take what lies between its edges.": density,
        "the levels stand between 0 and 1 in your code: here they go from -1 to 1.":
            partial(log_prob, half=0.5 / top, place=lambda level: level / top),
        "neighbouring cells do not meet: how far apart are two levels, and which half of it belongs to each?":
            partial(log_prob, half=1 / levels),
        "neighbouring cells overlap: a cell reaches half of the way to the next level.":
            partial(log_prob, half=2 / top),
        "your cells have the width of 256 levels, those of the paper: look at LEVELS.":
            partial(log_prob, half=1 / 255),
        "you multiply by the scale where you should divide: a larger scale makes the distribution wider.":
            partial(log_prob, scale=lambda x: (-x).exp()),
        "you divide by log_scale, which is the logarithm of the scale.": partial(log_prob, scale=lambda x: x),
        "these are probabilities: return their logarithms.": lambda *a: log_prob(*a).exp(),
        "you take an exponential from 1: for a very wide distribution no digits are left. The text names a function "
        "that is made for this.":
            partial(log_prob, gap=lambda x: torch.log1p(-x.exp())),
    }  # fmt: skip
    return logistic_log_prob


# ---------------------------------------------------------------- 4. masks for another order


def ask_order_mask(g: torch.Generator) -> list[Case]:
    grey, colours = torch.zeros(1, dtype=torch.long), torch.arange(3)
    many = torch.randint(3, (whole(g, 7, 9),), generator=g)
    few = torch.cat([colours, torch.randint(3, (2,), generator=g)])
    asked = [
        (3, grey, grey),
        (5, colours, colours),
        (3, colours, many),
        (7, many, few),
        (1, few, few),
    ]
    return [
        tame(
            f"mask {kind}, {size} x {size}, groups {i.tolist()} to {o.tolist()}",
            kind=kind,
            size=size,
            in_group=i,
            out_group=o,
        )
        for size, i, o in asked
        for kind in "AB"
    ]


def around_and_at_the_centre(
    step: Step, questions: Sequence[Question], masks: Sequence[Tensor]
) -> list[tuple[Tensor, ...]]:
    both: list[tuple[Tensor, ...]] = []
    for question, mask in zip(questions, masks, strict=True):
        _, size, in_group, out_group = question.arguments.values()
        wanted, middle = (len(out_group), len(in_group), size, size), size // 2
        if tuple(mask.shape) != wanted:
            raise Wrong(
                f"for {question.label} `{step.name}` returns the shape {tuple(mask.shape)} where {wanted} is wanted."
            )
        around = mask.double().clone()
        around[..., middle, middle] = 0
        both.append((around, mask[..., middle, middle].double()))
    return both


def off_centre(case: Case, got: Tensor, want: Tensor) -> str | None:
    if ((got != 0) & (got != 1)).any():
        return "a mask holds only zeros and ones."
    middle = got.shape[-1] // 2
    wrong = (got != want)[0, 0]
    if wrong[middle].any() or wrong[:, middle].any():
        return "your mask is wrong in the row or the column of the centre: which of the pixels there come first?"
    return "your mask is wrong away from the centre: which pixels of the square come before its middle?"


@task(
    split(compared(3, "the pixels", 0, probe=off_centre), around_and_at_the_centre),
    split(compared(2, "the colours at the centre", 1), around_and_at_the_centre),
)
def order_mask(v: Variant) -> Step:
    ours = v["COLOURS"]

    def around(v: Variant, size: int, in_group: Tensor, out_group: Tensor) -> Tensor:
        number = in_order(v, size, size)
        earlier = (number < number[size // 2, size // 2]).double()
        return earlier.expand(len(out_group), len(in_group), -1, -1)

    def centre(kind: str, in_group: Tensor, out_group: Tensor, *, colours: str = ours) -> Tensor:
        place = torch.tensor([colours.index(colour) for colour in "RGB"])
        before, after = place[in_group], place[out_group][:, None]
        return (before < after if kind == "A" else before <= after).double()

    def right(kind: str, size: int, *groups: Tensor) -> tuple[Tensor, Tensor]:
        return around(v, size, *groups), centre(kind, *groups)

    def as_mask(function: Callable[..., Any]) -> Callable[..., Tensor]:
        def answer(kind: str, size: int, in_group: Tensor, out_group: Tensor) -> Tensor:
            pixels, colours = filled(right, function, kind, size, in_group, out_group)
            mask = pixels.float().clone()
            mask[:, :, size // 2, size // 2] = colours.float()
            return mask

        return answer

    @step(
        ask_order_mask,
        results=("the mask around the centre", "the centre of the mask"),
        play=as_mask,
    )
    def order_mask(
        kind: str, size: int, in_group: Tensor, out_group: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mask of a weight, (F, C, size, size), but for its centre, and that, (F, C)."""
        return right(kind, size, in_group, out_group)

    def along(v: Variant) -> Callable[..., Any]:
        return lambda kind, *a: (around(v, *a), None)

    def coloured(change: Callable[..., Tensor]) -> Callable[..., Any]:
        return lambda kind, size, *groups: (None, change(kind, *groups))

    places = ["RGB".index(colour) for colour in ours]
    inverse = "".join("RGB"[places.index(i)] for i in range(3))
    order_mask.wrong = {
        "your mask keeps what comes later and hides what came before.": along(opposite(v)),
        **{
            f"your mask runs through the pixels by {other['SCAN']} from the {other['START']} corner: read SCAN and "
            "START again.":
                along(other)
            for other in other_orders(v)
            if other != opposite(v)
        },
        "A and B are the wrong way round: in the first layer, A, the centre holds the answer.":
            coloured(lambda kind, *a: centre("B" if kind == "A" else "A", *a)),
        "your mask A lets a colour read itself, and that is its own answer.":
            coloured(lambda kind, *a: centre("B", *a)),
        "your mask B hides a colour from itself: in later layers it may read its own features.":
            coloured(lambda kind, *a: centre("A", *a)),
        "you take the colours in the order red, green, blue: look at COLOURS.":
            coloured(partial(centre, colours="RGB")),
        "you run through COLOURS from its end.": coloured(partial(centre, colours=ours[::-1])),
        "the centre is a yes or no for all channels alike: it depends on both colours.":
            coloured(lambda kind, *a: centre(kind, *(0 * x for x in a))),
        "COLOURS lists colours by their place; you need the place of each colour, which is the inverse of that list.":
            coloured(partial(centre, colours=inverse)),
    }  # fmt: skip
    return order_mask


# ---------------------------------------------------------------- 5. what a stack reads


def read_from(
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


def ask_reads(v: Variant, g: torch.Generator) -> list[Case]:
    def ask(height: int, width: int, depth: int, pixel: tuple[int, int]) -> Case:
        label = f"depth {depth} and pixel {pixel} of {height} x {width}"
        return tame(label, height=height, width=width, depth=depth, pixel=pixel)

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
        height, width = whole(g, 6, 12), whole(g, 6, 12)
        pixel = whole(g, 0, height - 1), whole(g, 0, width - 1)
        asked.append(ask(height, width, whole(g, 0, 5), pixel))
    return asked


@task(compared(3, "what is read", 0), compared(2, "the blind spot", 1))
def reads(v: Variant) -> Step:
    def earlier(v: Variant, height: int, width: int, pixel: tuple[int, int]) -> Tensor:
        number = in_order(v, height, width)
        return number < number[pixel]

    def ever(v: Variant, height: int, width: int, pixel: tuple[int, int]) -> Tensor:
        return read_from(v, height, width, height * width, pixel)

    def both(
        v: Variant, h: int, w: int, depth: int, pixel: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        return read_from(v, h, w, depth, pixel), earlier(v, h, w, pixel) & ~ever(v, h, w, pixel)

    @step(partial(ask_reads, v), results=("what is read", "the blind spot"))
    def reads(height: int, width: int, depth: int, pixel: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What the output at a pixel reads, and what comes earlier but is read at no depth; (H, W) each."""
        return both(v, height, width, depth, pixel)

    def square(h: int, w: int, depth: int, pixel: tuple[int, int]) -> Tensor:
        i, j = torch.arange(h)[:, None], torch.arange(w)[None, :]
        reach = v["FIRST"] // 2 + depth
        return ((i - pixel[0]).abs() <= reach) & ((j - pixel[1]).abs() <= reach)

    def changed(n: int = 0, **options: Any) -> Callable[..., Any]:
        return lambda h, w, d, pixel: (read_from(v, h, w, max(d + n, 0), pixel, **options), None)

    reads.wrong = {
        "your first layer has mask B, so that the output reads its own pixel.":
            changed(kinds="BB"),
        "your later layers have mask A: they may keep the pixel where they stand.":
            changed(kinds="AA"),
        "your stack has one layer too few: `depth` layers come after the first.": changed(-1),
        "your stack has one layer too many: `depth` layers come after the first.": changed(1),
        "your first layer is 3 x 3 like the others: its size is FIRST.": changed(first=3),
        "this is the field of a stack without masks: a square.": lambda *a: (square(*a), None),
        "these are all earlier pixels: how far does a stack of this depth see?":
            lambda h, w, depth, pixel: (earlier(v, h, w, pixel), None),
        "you cut the square of a stack without masks at the pixel, but a path must obey the masks in each of its "
        "steps.":
            lambda h, w, depth, pixel: (square(h, w, depth, pixel) & earlier(v, h, w, pixel), None),
        "these are the pixels whose outputs read this one: you follow the kernels in the wrong direction.":
            lambda *a: (read_from(opposite(v), *a), None),
        "your masks are those of raster order: read SCAN and START.": partial(both, raster(v)),
        "these are the earlier pixels that a stack of this depth misses. Some of them only wait for more layers: the "
        "blind spot is what no depth reads.":
            lambda h, w, depth, pixel: (None, earlier(v, h, w, pixel) & ~read_from(v, h, w, depth, pixel)),
        "the pixel itself and those after it must not be read, so they are no blind spot.":
            lambda h, w, depth, pixel: (None, ~ever(v, h, w, pixel)),
        "that is what is not read at this depth, later pixels included.": lambda *a: (None, ~read_from(v, *a)),
        "the blind spot is not empty: try a pixel in the middle and follow the masks step by step.":
            lambda h, w, *_: (None, torch.zeros(h, w, dtype=torch.bool)),
        "that is what a deep stack reads: the blind spot is the rest of what comes earlier.":
            lambda h, w, depth, pixel: (None, ever(v, h, w, pixel)),
    }  # fmt: skip
    return reads


# ---------------------------------------------------------------- 6. completing an image, exactly


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


def ask_completions(g: torch.Generator) -> list[Case]:
    def factors(known: Tensor, scale: float = 1.5, *, never: bool = False) -> dict[str, Tensor]:
        n = len(known)
        joint = scale * normal(g, 2**n).double().reshape((2,) * n)
        if never:  # where the second pixel is white, the last one cannot be
            joint[:, 1, ..., 1] = -torch.inf
        images = all_images(2, (1, 1, n)).flatten(1)
        shown = (normal(g, n) > 0).float()
        agree = (images == shown)[:, known].all(dim=1)
        return {"log_factors": chain_factors(joint)[agree], "known": known}

    def some(n: int) -> Tensor:
        known = normal(g, n) > 0
        known[0], known[-1] = False, True  # a later known pixel, so that the two differ
        return known

    def single(log_factors: Tensor, known: Tensor) -> dict[str, Tensor]:
        return {"log_factors": log_factors.float(), "known": known}

    hole = torch.tensor([True, False, True, False, True, False])
    return [
        tame("one unknown pixel of two", **single(**factors(torch.tensor([False, True])))),
        tame("the lower half known", **single(**factors(torch.arange(6) >= 3))),
        tame("a random mask", **single(**factors(some(whole(g, 5, 7))))),
        tame("double precision", **factors(some(5))),
        # sums of thousands keep no fourth digit after the point in single precision
        extreme("extreme factors", **factors(hole, 2000.0)),
        extreme("completions that never happen", **single(**factors(hole, never=True))),
    ]


@task(
    compared(1, "exact completion", 0, is_ordinary),
    compared(2, "what the sampler draws", 1, is_ordinary),
    compared(1, "the divergence", 2, is_ordinary),
    compared(1, "extremes", only=is_extreme),
)
def completions(v: Variant) -> Step:
    def terms(exact: Tensor, clamped: Tensor, turned: bool = False) -> Tensor:
        p, q = (exact, clamped) if (v["KL_FROM"] == "exact") != turned else (clamped, exact)
        return torch.where(p == -torch.inf, 0, p.exp() * (p - q))

    @step(
        ask_completions,
        results=("the exact completion", "the sampler's log-probability", "the divergence"),
        view=lambda x, known: {
            "exact": x.sum(dim=1).log_softmax(dim=0),
            "clamped": x[:, ~known].sum(dim=1),
            "x": x,
            "known": known,
        },
    )
    def completions(
        exact: Tensor, clamped: Tensor, x: Tensor, known: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log p(unknown | known), the log-probability that the sampler gives it, and the KL divergence."""
        return exact, clamped, terms(exact, clamped).sum()

    def divergence(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
        def made(exact: Tensor, clamped: Tensor, *_: Tensor) -> tuple[None, None, Tensor]:
            pair = (exact, clamped) if v["KL_FROM"] == "exact" else (clamped, exact)
            return None, None, change(*pair)

        return made

    completions.wrong = {
        "these are the joint log-probabilities of whole images: the known pixels are given, so their probability is to "
        "be divided out.":
            lambda exact, clamped, x, known: (x.sum(1), None, None),
        "this is what the sampler does, which never looks at known pixels that come later: use Bayes' rule.":
            lambda exact, clamped, *_: (clamped, None, None),
        "this is the exact completion: the sampler draws each unknown pixel given the ones before it, and knows "
        "nothing of later ones.":
            lambda exact, *_: (None, exact, None),
        "these are probabilities: return their logarithms.":
            lambda exact, clamped, *_: (exact.exp(), clamped.exp(), None),
        "you add up the factors of the known pixels: those are not drawn.":
            lambda exact, clamped, x, known: (None, x[:, known].sum(1), None),
        "these are the log-probabilities of whole images: the known pixels are not drawn.":
            lambda exact, clamped, x, known: (None, x.sum(1), None),
        "you average the factors of an image: the chain rule multiplies them.":
            lambda exact, clamped, x, known: (None, x[:, ~known].mean(1), None),
        "this is the divergence in the other direction: KL_FROM says over which of the two the expectation is taken.":
            lambda exact, clamped, *_: (None, None, terms(exact, clamped, turned=True).sum()),
        "this is in bits: return nats.": lambda *a: (None, None, terms(*a[:2]).sum() / math.log(2)),
        "you average over the completions where an expectation weighs each with its probability.":
            lambda exact, clamped, *_: (None, None, terms(exact, clamped).mean()),
        "all completions have the same weight in your sum: weigh each with its probability.":
            divergence(lambda p, q: (p - q).mean()),
        "the weights are logarithms: weigh with probabilities.": divergence(lambda p, q: (p * (p - q)).sum()),
        "a completion that never happens must have no part in the divergence: 0 log 0 counts as 0.":
            divergence(lambda p, q: (p.exp() * (p - q)).sum()),
    }  # fmt: skip
    return completions


# ---------------------------------------------------------------- 7. a trained model

N_ALL = 2**16
LEARNED, WELL = 1.5, 0.15  # nats of KL divergence from the truth to the model


def truth(v: Variant) -> tuple[Tensor, Tensor]:
    """The 30 images of `bars`, and their probabilities where the classes have the new proportions."""
    bars = load("bars")
    prior = torch.tensor(v["NEW_PRIOR"], dtype=torch.float64)
    return bars.floats(), (prior / bars.labels.bincount())[bars.labels]


def tables(name: str, outcomes: Sequence[Outcome]) -> list[tuple[Tensor, Tensor]]:
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


def sums_to_one(log_p: Tensor, when: str) -> None:
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


def judge_sums(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    untrained, trained = tables(name, outcomes)
    sums_to_one(untrained[0], "before training")
    sums_to_one(trained[0], "after training")


def conditional(log_p: Tensor, number: Tensor, pixel: tuple[int, int]) -> Tensor:
    """log p(pixel | all pixels earlier in an order) of all images, (2^D,), from the table of log p(x)."""
    joint = log_p.double().reshape((2,) * number.numel())

    def marginal(kept: Tensor) -> Tensor:
        gone = tuple((~kept).flatten().nonzero().flatten().tolist())
        return joint.logsumexp(dim=gone, keepdim=True) if gone else joint

    conditioned = marginal(number <= number[pixel]) - marginal(number < number[pixel])
    return conditioned.expand(joint.shape).flatten()


def judge_pixel(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    for log_p, given in tables(name, outcomes):
        sums_to_one(log_p, "in one of the two tables")

        def fits(other: Variant, log_p: Tensor = log_p, given: Tensor = given) -> bool:
            want = conditional(log_p, in_order(other, 4, 4), v["PIXEL"])
            return bool(((given - want).abs() < 1e-2 + 1e-3 * want.abs()).all())

        if fits(v):
            continue
        if fits(raster(v)):
            raise Wrong("your network predicts the pixels in raster order: read SCAN and START.")
        if any(map(fits, other_orders(v))):
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


def judge_kl(
    threshold: float,
    name: str,
    questions: Sequence[Question],
    outcomes: Sequence[Outcome],
    v: Variant,
) -> None:
    (untrained, _), (trained, _) = tables(name, outcomes)
    sums_to_one(untrained, "before training")
    sums_to_one(trained, "after training")
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


def ask_bars(v: Variant, g: torch.Generator) -> list[Case]:
    images = all_images(2, (1, 4, 4))
    return [
        tame("an untrained network", updates=0, images=images),
        tame("a trained network", updates=v["UPDATES"], images=images),
    ]


@task(
    Part(2, "a distribution", judge_sums),
    Part(2, "the order", judge_pixel),
    Part(1, f"less than {LEARNED:g} nats from the truth", partial(judge_kl, LEARNED)),
    Part(2, f"less than {WELL:g} nats from the truth", partial(judge_kl, WELL)),
)
def bars_log_prob(v: Variant) -> Step:
    @step(partial(ask_bars, v))
    def bars_log_prob(updates: int, images: Tensor) -> Tensor:
        """Any network will do that passes the judges above."""
        raise NotImplementedError

    return bars_log_prob


# ---------------------------------------------------------------- 8. two orders


def logistic_chain_kl(p: Tensor, order: Tensor) -> float:
    """KL(p || q), nats, for the best q whose conditionals are logistic regressions on earlier pixels.

    Each of them is a convex problem of its own; Newton's method with a line search ends at its minimum.

    Args:
        p: (2^D,), positive, in the order of `all_images`.
        order: (D,), which pixel comes first, second, ...
    """
    return fitted_chain_kl(tuple(p.tolist()), tuple(order.tolist()))


@functools.lru_cache(
    maxsize=1000
)  # what is compared with a wrong answer asks for the same fits again
def fitted_chain_kl(probabilities: tuple[float, ...], order: tuple[int, ...]) -> float:
    p = torch.tensor(probabilities, dtype=torch.float64)
    x = all_images(2, (1, 1, len(order))).flatten(1).double()[:, list(order)]
    cross_entropy = 0.0
    for i in range(len(order)):
        features = torch.cat([torch.ones_like(x[:, :1]), x[:, :i]], dim=1)
        cross_entropy += logistic_regression(features, x[:, i], p)
    return cross_entropy + float((p * p.log()).sum())


def logistic_regression(features: Tensor, y: Tensor, p: Tensor) -> float:
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


def entropy(p: Tensor) -> float:
    return float(-(p.double() * p.double().log()).sum())


NEAR = 4e-3  # nats; a fit that ends this close to the minimum is good enough


def telling_places(
    v: Variant, g: torch.Generator, height: int, width: int
) -> list[tuple[int, ...]]:
    """Half adders that are dear in one order and cheap in another, until every order is told from ours,
    and those that have words of their own from each other."""

    def dear(order: list[int], places: tuple[int, ...]) -> bool:
        a, b, both, differ = (order.index(place) for place in places)
        return both > max(a, b, differ)

    ours = pixels_of(v, height, width).tolist()
    others = [pixels_of(other, height, width).tolist() for other in other_orders(v)]
    # raster order, ours from its end, and numbers taken for pixels
    named = [list(range(len(ours))), ours[::-1], [ours.index(i) for i in range(len(ours))]]
    left = [(order, ours) for order in [*others, *named] if order != ours]
    left += itertools.combinations(named, 2)
    all_places = list(itertools.permutations(range(height * width), 4))
    chosen = []
    for i in torch.randperm(len(all_places), generator=g).tolist():
        told = [pair for pair in left if len({dear(order, all_places[i]) for order in pair}) == 2]
        if told:
            chosen.append(all_places[i])
            left = [pair for pair in left if pair not in told]
    return chosen


def ask_two_orders(v: Variant, g: torch.Generator) -> list[Case]:
    def ask(label: str, p: Tensor, height: int, width: int) -> Case:
        return tame(label, p=p.double(), height=height, width=width)

    def table(n: int) -> Tensor:
        return (1.2 * normal(g, 2**n)).softmax(dim=0)

    coins = 0.2 + 0.6 * torch.rand(6, generator=g)
    x = all_images(2, (1, 2, 3)).flatten(1)
    independent = torch.where(x > 0, coins, 1 - coins).prod(dim=1)
    return [
        ask("independent pixels", independent, 2, 3),
        ask("the world of the notebook", half_adder(v["WORLD"], 6, 0.05), 2, 3),
        ask("a random table of 2 x 3 pixels", table(6), 2, 3),
        ask("a random table of 2 x 2 pixels", table(4), 2, 2),
        *(  # random tables hardly tell orders apart
            ask("a half adder of 3 x 2 pixels", half_adder(places, 6, 0.05), 3, 2)
            for places in telling_places(v, g, 3, 2)
        ),
    ]


def nearly(
    step: Step, questions: Sequence[Question], pairs: Sequence[Tensor]
) -> list[tuple[Tensor, ...]]:
    """What is near the right results for all questions, or near those of a wrong function, in their place."""
    for x in pairs:
        if x.shape != (2,) or not x.is_floating_point():
            raise Wrong(
                f"`{step.name}` returns {tuple(x.shape)}: return one tensor of two numbers, in nats."
            )
        if x.isnan().any():
            raise Wrong(f"`{step.name}` returns NaN.")
    got = torch.stack([x.double() for x in pairs])  # (questions, orders)
    right, *wrongs = [
        torch.stack([torch.stack(filled(step.right, f, *q.arguments.values())) for q in questions])
        for f in (step.right, *step.wrong.values())
    ]
    near = torch.where((got - right).abs() < NEAR, right, got)
    for order in range(2):
        for made in (right, *wrongs):
            if ((got - made)[:, order].abs() < NEAR).all():
                near[:, order] = made[:, order]
                break
    return [tuple(x) for x in near]


def below_or_above(case: Case, got: Tensor, want: Tensor) -> str:
    if got < want:
        return (
            f"for {case.label} the divergence is smaller than any such model can reach in this order: do the "
            "conditionals read more than the earlier pixels, or more than linearly?"
        )
    return (
        f"for {case.label} the divergence is larger than that of the best model in this order: is the fit at its "
        "end, does each pixel have a bias, and does it read all earlier pixels?"
    )


ORDERS = ("raster order", "the other order")


@task(
    *(split(compared(2, title, n, probe=below_or_above), nearly) for n, title in enumerate(ORDERS))
)
def two_orders(v: Variant) -> Step:
    def both(change: Callable[[Tensor, Tensor], float]) -> Callable[..., Any]:
        """From the table and an order."""

        def made(p: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
            orders = torch.arange(height * width), pixels_of(v, height, width)
            return tuple(torch.tensor(change(p, order), dtype=p.dtype) for order in orders)

        return made

    fitted = both(logistic_chain_kl)

    @step(
        partial(ask_two_orders, v),
        results=ORDERS,
        play=lambda f: lambda *a: torch.stack(filled(fitted, f, *a)),
    )
    def two_orders(p: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The divergence in raster order and in the variant's."""
        return fitted(p, height, width)

    two_orders.wrong = {
        "your second number is that of raster order: read SCAN and START.": lambda *a: (None, fitted(*a)[0]),
        "your first number is that of your own order: raster order comes first.": lambda *a: (fitted(*a)[1], None),
        "SCAN and START give every pixel a number; you take the numbers for the pixels, which is the inverse of the "
        "order.":
            lambda *a: (None, both(lambda p, order: logistic_chain_kl(p, order.argsort()))(*a)[1]),
        "this is the cross-entropy, the nats that an image costs: the entropy of the truth is still in it.":
            both(lambda p, order: logistic_chain_kl(p, order) + entropy(p)),
        "this is in bits: return nats.": both(lambda p, order: logistic_chain_kl(p, order) / math.log(2)),
        "this is the divergence a pixel: return that of the image.":
            both(lambda p, order: logistic_chain_kl(p, order) / len(order)),
        "the pixels are independent in your model: each is to be predicted from all earlier ones.":
            both(lambda p, order: independent_kl(p)),
        "the divergence is zero for every order, as if any conditional were possible: these can do no more than a "
        "logistic regression.":
            both(lambda p, order: 0.0),
        "you fit to all images alike: the images have the probabilities p.":
            both(lambda p, order: math.log(len(p)) - entropy(p)),  # q is uniform
        "you run through your order from its end.": both(lambda p, order: logistic_chain_kl(p, order.flip(0))),
    }  # fmt: skip
    return two_orders


PROBLEM_SET = ProblemSet(
    "ps1_autoregressive",
    variant,
    {
        "prior_shift": prior_shift,
        "level_bits": level_bits,
        "logistic_log_prob": logistic_log_prob,
        "order_mask": order_mask,
        "reads": reads,
        "completions": completions,
        "bars_log_prob": bars_log_prob,
        "two_orders": two_orders,
    },
    seconds=60,
)
