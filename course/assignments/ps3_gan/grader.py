"""Graders of problem set 3: games, ratios and distances.

Most tasks are functions with one right answer; `values` compares them with it and with what students
write in its place. Two are judged by what they must do: the critic of `wasserstein` (any that no slope
forbids and that finds the whole distance will do), and the generator that `ring` trains.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.assignments.core import (
    Judge,
    Part,
    ProblemSet,
    Table,
    Task,
    Variant,
    all_results,
    extreme,
    gradients,
    ordinary,
    values,
    with_table,
)
from course.checking.core import Wrong, as_tensor
from course.checking.questions import Outcome, Question
from genlib.data import EightGaussians
from genlib.metrics import mode_counts

DIVERGENCES = ("reverse KL", "KL", "squared Hellinger", "Pearson")
GAMES = ("minimax", "Wasserstein", "non-saturating")
SIDES = ("one-sided", "two-sided")


def variant(seed: int) -> dict[str, Any]:
    """The constants of a variant, by their names in the notebook.

    Example:
        >>> variant(0)["DIVERGENCE"], variant(1)["DIVERGENCE"]
        ('reverse KL', 'KL')
    """
    generator = torch.Generator().manual_seed(seed)

    def one_of(*choices: Any) -> Any:
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    return {
        "REAL_SHARE": one_of(0.2, 0.22, 0.3, 0.6, 0.7, 0.8),
        "DIVERGENCE": DIVERGENCES[seed % 4],
        "SLOPE": one_of(0.5, 1.7, 2.6),
        "PENALTY": SIDES[seed % 2],
        "GAME": GAMES[seed % 3],
        "LATENT": one_of(2, 3, 4),
        "RADIUS": one_of(1.8, 2.0, 2.2),
        "STD": one_of(0.2, 0.22, 0.24),
    }


# ---------------------------------------------------------------- what the tasks share

OfVariant = Callable[..., Any]  # the constants, then the arguments of the student's function
Mistakes = Sequence[tuple[str, OfVariant]]


def compare(
    right: OfVariant,
    mistakes: Mistakes | Callable[[Variant], Mistakes],
    results: Sequence[str],
    pick: int | None = None,
    probe: Callable[..., str | None] | None = None,
) -> Judge:
    """`values` for answers that depend on the variant, where wanted for one of several results.

    Args:
        right: the constants and the arguments -> all results, a tuple.
        mistakes: words, and a function like `right`; or the variant -> such pairs.
        results: what each result is.
        pick: which of them is judged; all if None.
        probe: as in `values`.
    """
    judged = results if pick is None else results[pick : pick + 1]

    def picked(function: OfVariant, v: Variant, **arguments: Any) -> Any:
        made = function(v, **arguments)
        return made if pick is None else made[pick]

    def judge_one(
        name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
    ) -> None:
        for outcome in outcomes:
            if len(outcome.tensors) != len(results):
                raise Wrong(
                    f"`{name}` returns {len(outcome.tensors)} results where {len(results)} are "
                    f"wanted: {', '.join(results)}."
                )
        if pick is not None:
            outcomes = [replace(x, tensors=x.tensors[pick : pick + 1]) for x in outcomes]
        values(partial(picked, right, v), known(v), results=judged, probe=probe)(
            name, questions, outcomes, v
        )

    def known(v: Variant) -> list[tuple[str, Callable[..., Any]]]:
        made = mistakes(v) if callable(mistakes) else mistakes
        return [(words, partial(picked, wrong, v)) for words, wrong in made]

    def table(v: Variant) -> Table:
        return [(words, all_results(wrong, pick or 0, len(results))) for words, wrong in known(v)]

    return with_table(judge_one, table)


def normal(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def log_odds(share: float) -> float:
    return math.log(share) - math.log(1 - share)


# ---------------------------------------------------------------- 1. the game with unequal shares


def skewed_game(v: Variant, log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """The best logit in each cell, and what the game is worth to the best discriminator, in nats."""
    return game_value(v, log_p, log_q, log_odds(v["REAL_SHARE"]))


def game_value(
    v: Variant,
    log_p: Tensor,
    log_q: Tensor,
    shift: float,
    shares: tuple[float, float] | None = None,
) -> tuple[Tensor, Tensor]:
    """The value at the discriminator whose logit is log p - log q + shift."""
    real, fake = shares or (v["REAL_SHARE"], 1 - v["REAL_SHARE"])
    nowhere = (log_p == -math.inf) & (log_q == -math.inf)
    logit = torch.where(nowhere, 0.0, log_p - log_q + shift)
    log_d, log_not_d = F.logsigmoid(logit), F.logsigmoid(-logit)
    by_real = torch.where(log_p == -math.inf, 0.0, real * log_p.exp() * log_d)
    by_fake = torch.where(log_q == -math.inf, 0.0, fake * log_q.exp() * log_not_d)
    return logit, (by_real + by_fake).sum()


def entropy_of_labels(v: Variant) -> float:
    share = v["REAL_SHARE"]
    return -share * math.log(share) - (1 - share) * math.log(1 - share)


GAME_RESULTS = ("the best logit", "the value")
LOGIT_MISTAKES: Mistakes = [
    (
        "this is the best logit where a batch holds as many fakes as real examples: yours does not.",
        lambda v, log_p, log_q: game_value(v, log_p, log_q, 0.0),
    ),
    (
        "you give the fakes the share of the real examples: which of the two is REAL_SHARE?",
        lambda v, log_p, log_q: game_value(v, log_p, log_q, -log_odds(v["REAL_SHARE"])),
    ),
    (
        "the signs of your logit are those of a discriminator that looks for fakes.",
        lambda v, log_p, log_q: (-skewed_game(v, log_p, log_q)[0], torch.zeros(())),
    ),
    (
        "this is D, between 0 and 1: the logit is wanted.",
        lambda v, log_p, log_q: (skewed_game(v, log_p, log_q)[0].sigmoid(), torch.zeros(())),
    ),
    (
        "this is log D: the logit is the logarithm of D / (1 - D).",
        lambda v, log_p, log_q: (F.logsigmoid(skewed_game(v, log_p, log_q)[0]), torch.zeros(())),
    ),
]
VALUE_MISTAKES: Mistakes = [
    (
        "you add up the two expectations as if each had the weight 1: they have the shares of a batch.",
        lambda v, log_p, log_q: game_value(
            v, log_p, log_q, log_odds(v["REAL_SHARE"]), shares=(1.0, 1.0)
        ),
    ),
    (
        "this is the value against the discriminator that would be best for equal shares.",
        lambda v, log_p, log_q: game_value(v, log_p, log_q, 0.0),
    ),
    (
        "in the value you give the fakes the share of the real examples.",
        lambda v, log_p, log_q: game_value(
            v, log_p, log_q, log_odds(v["REAL_SHARE"]), (1 - v["REAL_SHARE"], v["REAL_SHARE"])
        ),
    ),
    (
        "this is the discriminator's loss: it maximises the value, which is never positive.",
        lambda v, log_p, log_q: (log_p, -skewed_game(v, log_p, log_q)[1]),
    ),
    (
        "this is the divergence that the game measures: the value of knowing nothing, which is there "
        "even for p = q, is not in it.",
        lambda v, log_p, log_q: (log_p, skewed_game(v, log_p, log_q)[1] + entropy_of_labels(v)),
    ),
    (
        "you average over the cells: an expectation weighs each cell by its probability, and adds up.",
        lambda v, log_p, log_q: (log_p, skewed_game(v, log_p, log_q)[1] / len(log_p)),
    ),
    (
        "this is the value in bits: nats are wanted.",
        lambda v, log_p, log_q: (log_p, skewed_game(v, log_p, log_q)[1] / math.log(2)),
    ),
]


def cells(generator: torch.Generator, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Log probabilities of n cells."""
    return (1.5 * normal(generator, n, dtype=torch.float64)).log_softmax(dim=0).to(dtype)


def ask_skewed_game(generator: torch.Generator, v: Variant) -> list[Question]:
    three = {"log_p": torch.tensor([0.5, 0.25, 0.25]), "log_q": torch.tensor([0.125, 0.125, 0.75])}
    questions = [Question("three cells", {key: value.log() for key, value in three.items()})]
    for n, dtype in ((7, torch.float32), (1, torch.float32), (40, torch.float64)):
        two = {key: cells(generator, n, dtype) for key in ("log_p", "log_q")}
        questions.append(Question(f"{n} cells, {dtype}", two))
    log_p, log_q = cells(generator, 9), cells(generator, 9)
    log_p[[0, 3]], log_q[[1, 3]] = -math.inf, -math.inf
    zeros = {"log_p": log_p.log_softmax(dim=0), "log_q": log_q.log_softmax(dim=0)}
    questions.append(Question("extreme: cells of probability zero", zeros))
    log_p, log_q = cells(generator, 8), cells(generator, 8)
    log_p[2:6] = -150 - 600 * torch.rand(4, generator=generator)
    log_q[4:7] = -150 - 600 * torch.rand(3, generator=generator)
    log_p[2], log_q[6] = -750, -750  # where the other is not small: too much for float64 too
    tiny = {"log_p": log_p.log_softmax(dim=0), "log_q": log_q.log_softmax(dim=0)}
    return [*questions, Question("extreme: probabilities that round to zero", tiny)]


# ---------------------------------------------------------------- 2. what a discriminator corrects


def corrected(v: Variant, logit: Tensor, f: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log ratio of the densities, weighted mean of f, effective number of fakes, chance to be kept."""
    return corrected_by(v, logit, f, logit.softmax(dim=0))


def corrected_by(
    v: Variant, logit: Tensor, f: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    log_ratio = logit - log_odds(v["REAL_SHARE"])
    return log_ratio, weight @ f, 1 / weight.square().sum(), (logit - logit.max()).exp()


def ratio_as_is(v: Variant, logit: Tensor) -> Tensor:
    return (logit - log_odds(v["REAL_SHARE"])).exp()


CORRECTED_RESULTS = ("the log ratio", "the mean", "the effective number", "the chance to be kept")
RATIO_MISTAKES: Mistakes = [
    (
        "this is the log ratio for a discriminator that saw as many fakes as real examples.",
        lambda v, logit, f: (logit,),
    ),
    (
        "you correct for the shares the wrong way round: many real examples in a batch make a logit "
        "large, whatever the densities.",
        lambda v, logit, f: (logit + log_odds(v["REAL_SHARE"]),),
    ),
    (
        "this is the ratio: return its logarithm.",
        lambda v, logit, f: (ratio_as_is(v, logit),),
    ),
    (
        "this is the ratio of fake to real: the other way round is wanted.",
        lambda v, logit, f: (log_odds(v["REAL_SHARE"]) - logit,),
    ),
    (
        "this is log D: the ratio of the densities comes from D / (1 - D).",
        lambda v, logit, f: (F.logsigmoid(logit),),
    ),
]
MEAN_MISTAKES: Mistakes = [
    (
        "your weights are D: a fake's weight is the ratio of the densities, which D is not.",
        lambda v, logit, f: (0, (logit.sigmoid() / logit.sigmoid().sum()) @ f),
    ),
    (
        "you do not weigh the fakes at all: this is the generator's own mean.",
        lambda v, logit, f: (0, f.mean(dim=0)),
    ),
    (
        "you divide by the number of fakes: divide by the sum of the weights, so that a constant stays "
        "what it is.",
        lambda v, logit, f: (0, (ratio_as_is(v, logit)[:, None] * f).mean(dim=0)),
    ),
    (
        "you add up and do not divide: a mean of ones must be one.",
        lambda v, logit, f: (0, ratio_as_is(v, logit) @ f),
    ),
    (
        "your weights are largest for the worst fakes.",
        lambda v, logit, f: (0, (-logit).softmax(dim=0) @ f),
    ),
]
NUMBER_MISTAKES: Mistakes = [
    (
        "the effective number is between 1 and n: yours is the inverse.",
        lambda v, logit, f: (0, 0, logit.softmax(dim=0).square().sum()),
    ),
    (
        "this is the share of the fakes that count: the number is wanted.",
        lambda v, logit, f: (0, 0, 1 / logit.softmax(dim=0).square().sum() / len(logit)),
    ),
    (
        "you square the sum: add up the squares of the weights.",
        lambda v, logit, f: (0, 0, logit.softmax(dim=0).sum().square()),
    ),
    (
        "this is what the entropy of the weights gives: the variance asks for their squares.",
        lambda v, logit, f: (0, 0, torch.distributions.Categorical(logits=logit).entropy().exp()),
    ),
]
KEPT_MISTAKES: Mistakes = [
    (
        "you keep a fake with the probability D: then what is kept does not follow the data.",
        lambda v, logit, f: (0, 0, 0, logit.sigmoid()),
    ),
    (
        "these are the weights of a mean, which add up to 1: every fake could be kept more often, as "
        "long as no chance exceeds 1.",
        lambda v, logit, f: (0, 0, 0, logit.softmax(dim=0)),
    ),
    (
        "you cut the ratio off at 1: all the fakes with a larger one would then be kept alike.",
        lambda v, logit, f: (0, 0, 0, ratio_as_is(v, logit).clamp(max=1)),
    ),
]


def ask_corrected(generator: torch.Generator, v: Variant) -> list[Question]:
    three = {"logit": torch.tensor([2.0, 1.0, 1.0]).log(), "f": torch.tensor([[1.0], [2.0], [3.0]])}
    questions = [Question("three fakes", three)]
    for n, d, dtype in ((9, 2, torch.float32), (1, 3, torch.float32), (60, 1, torch.float64)):
        arguments = {"logit": 2 * normal(generator, n, dtype=dtype)}
        arguments["f"] = 1 + normal(generator, n, d, dtype=dtype)
        questions.append(Question(f"{n} fakes, {dtype}", arguments))
    for words, level, n in (
        ("fakes that are all found out", -1000.0, 6),
        ("sure logits", 1000.0, 5),
    ):
        arguments = {"logit": level + normal(generator, n), "f": normal(generator, n, 2)}
        questions.append(Question(f"extreme: {words}", arguments))
    return questions


# ---------------------------------------------------------------- 3. another divergence


def f_gan_as(divergence: str, real: Tensor, fake: Tensor, log_ratio: Tensor) -> tuple[Tensor, ...]:
    """Both losses, and the best raw output at places with this log ratio of the densities."""
    activated, conjugate, best = {
        # g(v), f*(g(v)), and g's inverse of f'(u)
        "KL": (lambda x: x, lambda x: (x - 1).exp(), 1 + log_ratio),
        "reverse KL": (lambda x: -(-x).exp(), lambda x: x - 1, log_ratio),
        "Pearson": (lambda x: x, lambda x: x.square() / 4 + x, 2 * log_ratio.expm1()),
        "squared Hellinger": (lambda x: 1 - (-x).exp(), lambda x: x.exp() - 1, log_ratio / 2),
    }[divergence]
    loss_d = conjugate(fake).mean() - activated(real).mean()
    return loss_d, -activated(fake).mean(), best


def f_gan(v: Variant, real: Tensor, fake: Tensor, log_ratio: Tensor) -> tuple[Tensor, ...]:
    return f_gan_as(v["DIVERGENCE"], real, fake, log_ratio)


def swapped_divergence(
    divergence: str, v: Variant, real: Tensor, fake: Tensor, log_ratio: Tensor
) -> tuple[Tensor, ...]:
    return f_gan_as(divergence, real, fake, log_ratio)


def conjugate_of_scores(v: Variant, fake: Tensor) -> Tensor:
    """f*(g(v)) for each fake."""
    return torch.stack([f_gan(v, torch.zeros(1), x[None], x[None])[0] for x in fake]) + activated(
        v, torch.zeros(1)
    )


def activated(v: Variant, x: Tensor) -> Tensor:
    """The mean of g(v)."""
    return -f_gan(v, x, x, x)[1]


F_RESULTS = ("the discriminator's loss", "the generator's loss", "the best output")
ANOTHER = "this belongs to the divergence {}: DIVERGENCE says another."
SAME_G = {"KL", "Pearson"}  # their g is the identity, so T = v and their generators' losses are one


def others(v: Variant, same: Collection[str] = ()) -> Mistakes:
    """What belongs to another divergence; of those in `same` the first speaks for all."""
    names = [name for name in DIVERGENCES if name != v["DIVERGENCE"]]
    if v["DIVERGENCE"] in same:
        names = [name for name in names if name not in same]
    alike = [name for name in names if name in same]
    return [
        (
            ANOTHER.format(" or ".join(alike) if name in same else name),
            partial(swapped_divergence, name),
        )
        for name in names
        if name not in alike[1:]
    ]


LOSS_D_MISTAKES: Mistakes = [
    (
        "this is the bound, which the discriminator raises: return a loss, which it lowers.",
        lambda v, real, fake, log_ratio: (-f_gan(v, real, fake, log_ratio)[0],),
    ),
    (
        "the conjugate is missing: fakes do not enter as real examples do.",
        lambda v, real, fake, log_ratio: (activated(v, fake) - activated(v, real),),
    ),
    (
        "you give the real outputs to the conjugate: it belongs to the fakes.",
        lambda v, real, fake, log_ratio: (f_gan(v, fake, real, log_ratio)[0],),
    ),
    (
        "you add up over the batch where expectations, so means, are wanted.",
        lambda v, real, fake, log_ratio: (
            conjugate_of_scores(v, fake).sum() - len(real) * activated(v, real),
        ),
    ),
]
LOSS_G_MISTAKES: Mistakes = [
    (
        "this is the part of the bound that depends on the generator. The task wants the other loss, "
        "which does not fade when fakes are found out.",
        lambda v, real, fake, log_ratio: (0, -conjugate_of_scores(v, fake).mean()),
    ),
    (
        "the generator would learn to be found out: look at the sign of its loss.",
        lambda v, real, fake, log_ratio: (0, activated(v, fake)),
    ),
    (
        "you take the generator's loss of the real outputs, which it cannot change.",
        lambda v, real, fake, log_ratio: (0, -activated(v, real)),
    ),
    (
        "you add up over the fakes where a mean is wanted.",
        lambda v, real, fake, log_ratio: (0, -len(fake) * activated(v, fake)),
    ),
]
BEST_MISTAKES: Mistakes = [
    (
        "this is the best output for the ratio of fake to real.",
        lambda v, real, fake, log_ratio: (0, 0, f_gan(v, real, fake, -log_ratio)[2]),
    ),
    (
        "you return the ratio itself: which output does the discriminator's best T come from?",
        lambda v, real, fake, log_ratio: (0, 0, log_ratio.exp()),
    ),
    (
        "this is the best T = g(v): the raw output v is wanted.",
        lambda v, real, fake, log_ratio: (
            0,
            0,
            torch.stack([activated(v, x[None]) for x in f_gan(v, real, fake, log_ratio)[2]]),
        ),
    ),
]


def f_gan_mistakes(pick: int, v: Variant) -> Mistakes:
    """What is known of one result in a variant."""
    if pick == 0:
        return [*LOSS_D_MISTAKES, *others(v)]
    if pick == 1:
        return [*LOSS_G_MISTAKES, *others(v, SAME_G)]
    *known, best_t = BEST_MISTAKES
    return [*known, *others(v), *([] if v["DIVERGENCE"] in SAME_G else [best_t])]


def judge_f_gan_gradient(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    gradients(partial(f_gan, v))(name, questions, outcomes, v)


def ask_f_gan(generator: torch.Generator, v: Variant) -> list[Question]:
    questions = []
    for n, m, k, dtype in (
        (3, 3, 1, torch.float32),
        (5, 8, 4, torch.float32),
        (64, 30, 6, torch.float64),
    ):
        arguments = {"real": 0.5 + normal(generator, n, dtype=dtype)}
        arguments["fake"] = normal(generator, m, dtype=dtype) - 0.5
        arguments["log_ratio"] = 0.3 + normal(generator, k, dtype=dtype)
        words = f"{n} real and {m} fake outputs"
        questions.append(Question(words, arguments, trained=("real", "fake")))
    return questions


# ---------------------------------------------------------------- 4. moving earth on the line


def steps_of(
    x: Tensor, y: Tensor, weight_x: Tensor, weight_y: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All places in order, the gaps between neighbours, and both distribution functions in each gap."""
    place, order = torch.cat([x, y]).sort()
    zero_x, zero_y = torch.zeros_like(weight_x), torch.zeros_like(weight_y)
    in_x = torch.cat([weight_x / weight_x.sum(), zero_y])[order].cumsum(dim=0)[:-1]
    in_y = torch.cat([zero_x, weight_y / weight_y.sum()])[order].cumsum(dim=0)[:-1]
    return order, place.diff(), in_x, in_y


def distance_1d(x: Tensor, y: Tensor, weight_x: Tensor, weight_y: Tensor) -> Tensor:
    _, gap, in_x, in_y = steps_of(x, y, weight_x, weight_y)
    return (gap * (in_x - in_y).abs()).sum()


def wasserstein(
    v: Variant, x: Tensor, y: Tensor, weight_x: Tensor, weight_y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The distance, and a best critic's scores at x and at y."""
    order, gap, in_x, in_y = steps_of(x, y, weight_x, weight_y)
    rise = v["SLOPE"] * gap * (in_y - in_x).sign()
    scores = torch.zeros(len(x) + len(y), dtype=x.dtype)
    scores[order] = torch.cat([rise.new_zeros(1), rise.cumsum(dim=0)])
    return distance_1d(x, y, weight_x, weight_y), scores[: len(x)], scores[len(x) :]


def same_number(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    n = min(len(x), len(y))
    return x[:n], y[:n]


W_RESULTS = ("the distance", "the scores at x", "the scores at y")
W_MISTAKES: Mistakes = [
    (
        "you pair the points in the order they come in. The cheapest way to move earth along a line "
        "never lets two loads cross.",
        lambda v, x, y, weight_x, weight_y: (torch.sub(*same_number(x, y)).abs().mean(),),
    ),
    (
        "this is the distance of the means. Two heaps with one mean may still be far apart.",
        lambda v, x, y, weight_x, weight_y: (mean_gap(x, y, weight_x, weight_y).abs(),),
    ),
    (
        "in this integral the parts where one distribution function lies above the other cancel those "
        "where it lies below.",
        lambda v, x, y, weight_x, weight_y: (mean_gap(x, y, weight_x, weight_y),),
    ),
    (
        "these signs cancel too: this is a difference of means.",
        lambda v, x, y, weight_x, weight_y: (-mean_gap(x, y, weight_x, weight_y),),
    ),
    (
        "you ignore the weights: a point holds the share of the earth that its weight says.",
        lambda v, x, y, weight_x, weight_y: (
            distance_1d(x, y, torch.ones_like(x), torch.ones_like(y)),
        ),
    ),
    (
        "you add up the way of all the points: distance is the mean way of a unit of earth.",
        lambda v, x, y, weight_x, weight_y: (len(x) * distance_1d(x, y, weight_x, weight_y),),
    ),
    (
        "this is the largest gap between the two distribution functions, which says nothing about how "
        "far the earth must go.",
        lambda v, x, y, weight_x, weight_y: (largest_gap(x, y, weight_x, weight_y),),
    ),
    (
        "SLOPE belongs to the critic: the distance is what slope 1 would find.",
        lambda v, x, y, weight_x, weight_y: (v["SLOPE"] * distance_1d(x, y, weight_x, weight_y),),
    ),
    (
        "you square: the distance adds up ways, not their squares.",
        lambda v, x, y, weight_x, weight_y: (squared_1d(x, y, weight_x, weight_y),),
    ),
    (
        "this is the root of a mean of squares, another distance: here ways are averaged as they are.",
        lambda v, x, y, weight_x, weight_y: (squared_1d(x, y, weight_x, weight_y).sqrt(),),
    ),
    (
        "your weights do not add up to 1 on either side before you compare.",
        lambda v, x, y, weight_x, weight_y: (unnormalised(x, y, weight_x, weight_y),),
    ),
]


def mean_gap(x: Tensor, y: Tensor, weight_x: Tensor, weight_y: Tensor) -> Tensor:
    return (weight_x * x).sum() / weight_x.sum() - (weight_y * y).sum() / weight_y.sum()


def largest_gap(x: Tensor, y: Tensor, weight_x: Tensor, weight_y: Tensor) -> Tensor:
    _, gap, in_x, in_y = steps_of(x, y, weight_x, weight_y)
    return ((in_x - in_y).abs() * (gap > 0)).max()


def squared_1d(x: Tensor, y: Tensor, weight_x: Tensor, weight_y: Tensor) -> Tensor:
    """The mean square of the ways, with as many points of one weight on both sides."""
    x, y = same_number(x, y)
    return (x.sort().values - y.sort().values).square().mean()


def unnormalised(x: Tensor, y: Tensor, weight_x: Tensor, weight_y: Tensor) -> Tensor:
    _, gap, in_x, in_y = steps_of(x, y, weight_x, weight_y)
    return (gap * (in_x * weight_x.sum() - in_y * weight_y.sum()).abs()).sum()


def judge_critic(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    """Any scores will do that no slope forbids and whose gap is the largest there is."""
    for question, outcome in zip(questions, outcomes, strict=True):
        if len(outcome.tensors) != 3:
            raise Wrong(f"`{name}` returns {len(outcome.tensors)} results where 3 are wanted.")
        x, y, weight_x, weight_y = (a.double() for a in question.arguments.values())
        at_x, at_y = (as_tensor(name, s).double() for s in outcome.tensors[1:])
        if at_x.shape != x.shape or at_y.shape != y.shape:
            raise Wrong(f"for {question.label} the critic does not give every point one score.")
        score, place = torch.cat([at_x, at_y]), torch.cat([x, y])
        if not score.isfinite().all():
            raise Wrong(f"for {question.label} not every score is a finite number.")
        slope = v["SLOPE"]
        rise = (score[:, None] - score).abs()
        way = (place[:, None] - place).abs()
        tolerance = 1e-4 * (1 + slope * float(place.max() - place.min()))
        shares = weight_x / weight_x.sum(), weight_y / weight_y.sum()
        gap = (shares[0] * at_x).sum() - (shares[1] * at_y).sum()
        largest = slope * distance_1d(x, y, weight_x, weight_y)
        if bool((rise[way == 0] > tolerance).any()):
            raise Wrong(f"for {question.label} the critic gives two scores to one place.")
        if slope != 1 and float((slope * gap - largest).abs()) < tolerance:
            if not bool((rise > way + tolerance).any()):
                raise Wrong("the critic is good for slope 1: SLOPE allows another slope.")
        if bool((rise > slope * way + tolerance).any()):
            raise Wrong(
                f"for {question.label} the critic is somewhere steeper than SLOPE allows: the score "
                "rises more between two points than SLOPE times their distance."
            )
        if float((gap + largest).abs()) < tolerance:
            raise Wrong("the critic scores y above x: real points, x, should get the high scores.")
        if float((gap - largest).abs()) > tolerance:
            raise Wrong(
                f"for {question.label} the critic does not find the whole distance: a critic within "
                "the same slope has a larger gap. Where should it rise, and where fall?"
            )


def ask_wasserstein(generator: torch.Generator, v: Variant) -> list[Question]:
    def question(
        words: str, x: Tensor, y: Tensor, weigh: bool, gap: float | None = None
    ) -> Question:
        """`gap`: of the weighted means, on either side somewhere, so that a lost sign shows."""
        weights = [torch.ones_like(a) for a in (x, y)]
        if weigh:
            weights = [(0.2 + torch.rand(len(a), generator=generator)).to(a) for a in (x, y)]
            weights[0][0] = 0.0
        if gap is not None:
            x = x + gap - mean_gap(x, y, *weights)
        arguments = {"x": x, "y": y, "weight_x": weights[0], "weight_y": weights[1]}
        return Question(words, arguments)

    three = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([5.0, 6.0, 8.0])
    questions = [question("three points moved by five", *three, False)]
    for n, gap, dtype in ((6, 0.3, torch.float32), (50, -0.3, torch.float64)):
        x, y = normal(generator, n, dtype=dtype), 2 * normal(generator, n, dtype=dtype)
        questions.append(question(f"{n} points on each side", x, y, False, gap))
    # two of them at 2 and two at 3, where there are points of y too, whatever the order
    x = (torch.randperm(8, generator=generator) % 4).float()
    questions.append(question("points that meet", x, 3 - x.roll(1) / 2, False))
    for n, m, gap, dtype in ((4, 7, 0.3, torch.float32), (40, 25, -0.3, torch.float64)):
        x, y = normal(generator, n, dtype=dtype), 2 * normal(generator, m, dtype=dtype)
        questions.append(question(f"weights: {n} and {m} points", x, y, True, gap))
    return questions


def weighted(question: Question) -> bool:
    return question.label.startswith("weights: ")


# ---------------------------------------------------------------- 5. a penalty on the slope


def penalty(v: Variant, discriminator: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The penalty, and its gradient by the discriminator's parameters, in one row."""
    return penalty_as(v["PENALTY"], v["SLOPE"], discriminator, x)


def penalty_as(
    sides: str,
    wanted: float,
    discriminator: nn.Module,
    x: Tensor,
    length: Callable[[Tensor], Tensor] = lambda slope: slope.flatten(1).norm(dim=1),
    batch_mean: bool = False,
    root: bool = False,
    total: bool = False,
) -> tuple[Tensor, Tensor]:
    x = x.detach().clone().requires_grad_()
    score = discriminator(x)
    [slope] = torch.autograd.grad(score.mean() if batch_mean else score.sum(), x, create_graph=True)
    off = length(slope) - wanted
    if sides == "one-sided":
        off = off.clamp_min(0)
    each = off.abs() if root else off.square()
    value = each.sum() if total else each.mean()
    parameters = list(discriminator.parameters())
    by = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return value.detach(), torch.cat([g.flatten() for g in by])


def other_sides(v: Variant) -> str:
    return SIDES[1 - SIDES.index(v["PENALTY"])]


def bent(v: Variant, discriminator: nn.Module, x: Tensor, **how: Any) -> tuple[Tensor, Tensor]:
    return penalty_as(v["PENALTY"], v["SLOPE"], discriminator, x, **how)


PENALTY_RESULTS = ("the penalty", "its gradient")
PENALTY_MISTAKES: Mistakes = [
    (
        "your penalty punishes other slopes than PENALTY says: above SLOPE only, or on both sides of it?",
        lambda v, **a: penalty_as(other_sides(v), v["SLOPE"], **a),
    ),
    (
        "you hold the slope against 1: SLOPE says another number.",
        lambda v, **a: penalty_as(v["PENALTY"], 1.0, **a),
    ),
    (
        "you differentiate the mean of the scores, so that every example's slope is divided by the size "
        "of the batch.",
        lambda v, **a: bent(v, batch_mean=True, **a),
    ),
    (
        "you add up over the examples where the penalty is their mean.",
        lambda v, **a: bent(v, total=True, **a),
    ),
    (
        "you do not square what the slope is off by.",
        lambda v, **a: bent(v, root=True, **a),
    ),
    (
        "you square the slope before you compare it with SLOPE: take its length.",
        lambda v, **a: bent(v, length=lambda s: s.flatten(1).square().sum(dim=1), **a),
    ),
    (
        "one length for the whole batch: every example has a slope of its own.",
        lambda v, **a: bent(v, length=lambda s: s.norm()[None], **a),
    ),
    (
        "each number of an example is punished by itself: the slope is one length for an example.",
        lambda v, **a: bent(v, length=lambda s: s.abs().flatten(), **a),
    ),
    (
        "this adds up the sizes of the partial derivatives: the length is Euclidean.",
        lambda v, **a: bent(v, length=lambda s: s.flatten(1).abs().sum(dim=1), **a),
    ),
]
GRADIENT_MISTAKES: Mistakes = [
    (
        "no gradient reaches the parameters: the slope must stay on the graph while you differentiate "
        "by x, or nothing can differentiate it again.",
        lambda v, **a: (0, torch.zeros_like(penalty(v, **a)[1])),
    ),
    (
        "the signs of the gradient are those of a step: return the gradient itself.",
        lambda v, **a: (0, -penalty(v, **a)[1]),
    ),
    (
        "this is how the scores, not the penalty, depend on the parameters.",
        lambda v, discriminator, x: (
            0,
            torch.cat(
                [
                    g.flatten()
                    for g in torch.autograd.grad(
                        discriminator(x).sum(), list(discriminator.parameters())
                    )
                ]
            ),
        ),
    ),
    *PENALTY_MISTAKES,
]


def small_network(
    generator: torch.Generator, inputs: int, hidden: int, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """Scores (n,) of examples of any shape, with weights drawn from the generator."""
    last = nn.Linear(hidden, 1)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, hidden), nn.Tanh(), last, nn.Flatten(0)
    ).to(dtype)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(2 * normal(generator, *p.shape) / math.sqrt(p.shape[-1]))
        last.weight.mul_(3)  # steep enough that some slopes lie above SLOPE, whatever it is
    return network


def ask_penalty(generator: torch.Generator, v: Variant) -> list[Question]:
    def line(length: float) -> nn.Module:
        layer = nn.Linear(2, 1)
        with torch.no_grad():
            layer.weight.copy_(length * torch.tensor([[0.6, 0.8]]))
            layer.bias.fill_(1.0)
        return nn.Sequential(layer, nn.Flatten(0))

    # above SLOPE and below it, whatever the networks that follow are
    questions = []
    for words, length in (("a straight line", 5.0), ("a line that rises little", 0.4 * v["SLOPE"])):
        arguments = {"discriminator": line(length), "x": torch.tensor([[0.0, 0.0], [1.0, 2.0]])}
        questions.append(Question(words, arguments))
    for n, shape, dtype in (
        (7, (2,), torch.float32),
        (5, (1, 2, 3), torch.float32),
        (12, (3,), torch.float64),
    ):
        x = normal(generator, n, *shape, dtype=dtype)
        network = small_network(generator, math.prod(shape), 6, dtype)
        questions.append(Question(f"examples of shape {shape}", {"discriminator": network, "x": x}))
    flat = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1), nn.Flatten(0))
    with torch.no_grad():
        for p in flat.parameters():
            p.copy_(1 + torch.rand(p.shape, generator=generator))
    # where x is far below zero every unit is off, and the slope exactly zero
    x = torch.cat([-10 - torch.rand(3, 2, generator=generator), torch.ones(2, 2)])
    far = Question(
        "extreme: places where the discriminator is flat", {"discriminator": flat, "x": x}
    )
    return [*questions, far]


# ---------------------------------------------------------------- 6. does the game settle?


def radius_of(trace: Tensor, determinant: Tensor) -> Tensor:
    """The largest modulus of the eigenvalues of a 2 x 2 matrix."""
    under = trace.square() / 4 - determinant
    real = trace.abs() / 2 + under.clamp_min(0).sqrt()
    return torch.where(under < 0, determinant.clamp_min(0).sqrt(), real)


def contraction(
    v: Variant, rate_d: Tensor, rate_g: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """By what factor a turn changes the distance from rest: both at once, and one after the other."""
    pull = 1.0 if v["GAME"] == "Wasserstein" else 0.5
    return contraction_at(pull, rate_d, rate_g, weight)


def contraction_at(
    pull: float, rate_d: Tensor, rate_g: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    product, damping = pull**2 * rate_d * rate_g, rate_d * weight
    together = radius_of(2 - damping, 1 - damping + product)
    in_turn = radius_of(2 - damping - product, 1 - damping)
    return together, in_turn


def wrong_pull(v: Variant) -> float:
    return 0.5 if v["GAME"] == "Wasserstein" else 1.0


def matrices(v: Variant, rate_d: Tensor, rate_g: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The two linear maps of (theta, psi), each (n, 2, 2)."""
    pull = 1.0 if v["GAME"] == "Wasserstein" else 0.5
    one, damping = torch.ones_like(rate_d), rate_d * weight
    rows = [one, pull * rate_g, -pull * rate_d, one - damping]
    together = torch.stack(rows, dim=1).unflatten(1, (2, 2))
    zero = torch.zeros_like(one)
    d_moves = torch.stack([one, zero, rows[2], rows[3]], dim=1).unflatten(1, (2, 2))
    g_moves = torch.stack([one, rows[1], zero, one], dim=1).unflatten(1, (2, 2))
    return together, g_moves @ d_moves


CONTRACTION_RESULTS = ("the factor of simultaneous turns", "the factor of alternating turns")


def contraction_mistakes(which: int) -> Mistakes:
    common: Mistakes = [
        (
            "how hard do the players of GAME pull at rest? You linearise another game.",
            lambda v, **a: contraction_at(wrong_pull(v), **a),
        ),
        (
            "your gradient of the penalty is half of what it should be, or its weight is.",
            lambda v, rate_d, rate_g, weight: contraction(v, rate_d, rate_g, weight / 2),
        ),
        (
            "your gradient of the penalty is twice what it should be, or its weight is.",
            lambda v, rate_d, rate_g, weight: contraction(v, rate_d, rate_g, weight * 2),
        ),
        (
            "the penalty belongs to the discriminator, and moves with its rate.",
            lambda v, rate_d, rate_g, weight: contraction(
                v, rate_d, rate_g, weight * rate_g / rate_d
            ),
        ),
        (
            "the penalty changes nothing in your turns.",
            lambda v, rate_d, rate_g, weight: contraction(v, rate_d, rate_g, 0 * weight),
        ),
        (
            "this is the root of the determinant's size, which is the modulus of a complex pair alone: two real "
            "eigenvalues need not be of one size.",
            lambda v, **a: tuple(torch.linalg.det(m).abs().sqrt() for m in matrices(v, **a)),
        ),
        (
            "you take the real parts of the eigenvalues. Where the players circle, that is not how far "
            "from rest they are: the modulus is.",
            lambda v, **a: tuple(
                torch.linalg.eigvals(m).real.abs().max(dim=1).values for m in matrices(v, **a)
            ),
        ),
        (
            "this is the largest singular value, what a single turn can do at worst: over many turns "
            "the eigenvalues rule.",
            lambda v, **a: tuple(torch.linalg.svdvals(m)[:, 0] for m in matrices(v, **a)),
        ),
        (
            "this is the smaller of the two moduli: in the long run the larger rules.",
            lambda v, **a: tuple(
                torch.linalg.eigvals(m).abs().min(dim=1).values for m in matrices(v, **a)
            ),
        ),
        (
            "one player moves the wrong way: both go downhill on a loss of their own.",
            lambda v, rate_d, rate_g, weight: contraction(v, rate_d, -rate_g, weight),
        ),
    ]
    words = (
        "this is the factor of alternating turns: when both move at once, each sees where the other was.",
        "this is the factor of simultaneous turns: the second player sees where the first has gone.",
    )
    return [(words[which], lambda v, **a: contraction(v, **a)[::-1]), *common]


def rates(generator: torch.Generator, n: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)


def ask_contraction(generator: torch.Generator, v: Variant) -> list[Question]:
    one = {"rate_d": 0.2, "rate_g": 0.1, "weight": 0.2}
    example = {key: torch.tensor([x], dtype=torch.float64) for key, x in one.items()}
    questions = [Question("one pair of rates", example)]
    for n, weight in ((6, (0.0, 0.0)), (9, (0.1, 0.3))):
        arguments = {"rate_d": rates(generator, n, 0.3, 0.5)}
        arguments["rate_g"] = rates(generator, n, 0.5, 0.9)
        arguments["weight"] = rates(generator, n, *weight)
        words = "no penalty" if weight[1] == 0 else "a small penalty"
        questions.append(Question(words, arguments))
    # no rotation is left. LAPACK names first the eigenvalue that is near the first number of the diagonal, so
    # with the generator's row on top the larger is the first of the one question and the second of the other
    for words, step, strong in (
        ("real: a strong penalty", (0.1, 0.3), (2.5, 3.0)),
        ("real: a penalty too strong for the step", (1.0, 1.2), (2.7, 3.2)),
    ):
        arguments = {"rate_d": rates(generator, 8, *step)}
        arguments["rate_g"] = rates(generator, 8, 0.02, 0.05)
        arguments["weight"] = rates(generator, 8, *strong)
        questions.append(Question(words, arguments))
    arguments = {"rate_d": rates(generator, 8, 4.5, 6.0), "rate_g": rates(generator, 8, 4.5, 6.0)}
    arguments["weight"] = rates(generator, 8, 0.0, 0.1)
    return [*questions, Question("extreme: steps that are far too long", arguments)]


def real(question: Question) -> bool:
    return question.label.startswith("real: ")


def circling(question: Question) -> bool:
    return ordinary(question) and not real(question)


TOGETHER, IN_TURN = (
    compare(contraction, contraction_mistakes(n), CONTRACTION_RESULTS, n) for n in range(2)
)


# ---------------------------------------------------------------- 7. a generator for any ring

Z_PAIRS = 50  # rows of the noise that come twice
N_FAKES = 2000
N_REAL = 4000
NEAR = 0.6  # share of the points within two standard deviations of a mode; of the data it is 0.86
THINNEST = 0.5  # of the data's root mean square distance from the own mode, among near points


def ask_ring(generator: torch.Generator, v: Variant) -> list[Question]:
    """Points on a ring of eight heaps that lies anywhere, is of any size and turned by any angle."""
    ring = EightGaussians(v["RADIUS"], v["STD"])
    points = ring.means.repeat(N_REAL // 8, 1) + ring.std * normal(generator, N_REAL, 2)
    angle, *rest = torch.rand(4, generator=generator).tolist()
    turn = 2 * math.pi * angle
    matrix = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    size, place = 10 + 20 * rest[0], torch.tensor([100 + 50 * rest[1], -100 - 50 * rest[2]])
    real = size * points @ matrix.T + place
    real = real[torch.randperm(N_REAL, generator=generator)]
    z = normal(generator, N_FAKES, v["LATENT"])
    z[-Z_PAIRS:] = z[:Z_PAIRS]
    return [Question("a ring far from the origin", {"real": real, "z": z})]


def find_ring(real: Tensor) -> tuple[Tensor, Tensor, float]:
    """The centre's modes (8, 2), and the standard deviation of a heap, from as many points of each."""
    real = real.double()
    centre = real.mean(dim=0)
    arm = torch.view_as_complex((real - centre).contiguous())
    phase = (8 * arm.angle()).mul(1j).exp().mean().angle() / 8
    angle = phase + torch.arange(8) * math.pi / 4
    heap = torch.cdist(real, centre + arm.abs().mean() * ray(angle)).argmin(dim=1)
    modes = torch.stack([real[heap == k].mean(dim=0) for k in range(8)])
    return modes, heap, float((real - modes[heap]).square().mean().sqrt())


def ray(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def drawn(name: str, questions: Sequence[Question], outcomes: Sequence[Outcome]) -> Tensor:
    [question], [outcome] = questions, outcomes
    if len(outcome.tensors) != 1:
        raise Wrong(f"`{name}` returns {len(outcome.tensors)} results where 1 is wanted.")
    x, n = as_tensor(name, outcome.tensors[0]).double(), len(question.arguments["z"])
    if x.shape != (n, 2):
        raise Wrong(
            f"`{name}` returns the shape {tuple(x.shape)}: a point for each row of z is wanted."
        )
    if not x.isfinite().all():
        raise Wrong(f"`{name}` returns points that are not finite: has the training diverged?")
    return x


def judge_modes(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    x = drawn(name, questions, outcomes)
    modes, _, std = find_ring(questions[0].arguments["real"])
    found = int((mode_counts(x, modes, radius=3 * std) >= 0.1 * len(x) / 8).sum())
    if found < 7:
        raise Wrong(
            f"the generator finds {found} of the 8 modes. Look at points of `real` and of your own in "
            "one figure: do they lie in one place and have one size?"
        )


def judge_near(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    x = drawn(name, questions, outcomes)
    modes, heap, std = find_ring(questions[0].arguments["real"])
    near = mode_counts(x, modes, radius=2 * std).sum().item() / len(x)
    if near < NEAR:
        raise Wrong(
            f"{100 * near:.0f} % of the points lie within two standard deviations of a mode, where "
            f"{100 * NEAR:.0f} % are asked for."
        )


def judge_spread(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    x, real = drawn(name, questions, outcomes), questions[0].arguments["real"].double()
    modes, _, std = find_ring(real)

    def spread(points: Tensor) -> float:
        way = torch.cdist(points, modes).min(dim=1).values
        return float(way[way < 2 * std].square().mean().sqrt())

    if not spread(x) > THINNEST * spread(real):
        raise Wrong(
            "the heaps of your points are much thinner than those of `real`, or there are none: the "
            "generator knows where the modes lie, and not how wide they are."
        )


def judge_function(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    """What comes out is made from the noise: the same for the same noise, and no point of the data."""
    x, real = drawn(name, questions, outcomes), questions[0].arguments["real"].double()
    size = float(real.std())
    if float((x[:Z_PAIRS] - x[-Z_PAIRS:]).abs().max()) > 1e-3 * size:
        raise Wrong(
            "equal rows of z give different points: return what the generator makes of the given z."
        )
    if float(x.std(dim=0).min()) < 1e-3 * size:
        raise Wrong("all the rows of z give one point, or points on one line.")
    if float((torch.cdist(x, real) < 1e-6 * size).any(dim=1).float().mean()) > 0.5:
        raise Wrong("most of your points are points of `real`: a generator makes new ones.")


# ---------------------------------------------------------------- 8. is it luck?


def luck(v: Variant, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean difference, its standard error, and how often mere signs would make one as large."""
    difference = (a - b).double()
    n = len(difference)
    error = difference.std() / math.sqrt(n)
    return (
        difference.mean(),
        error,
        (flipped(difference).abs() >= limit(difference)).double().mean(),
    )


def limit(difference: Tensor) -> Tensor:
    """As large as what was seen, but for rounding."""
    return difference.mean().abs() - 1e-9 * difference.abs().max()


def flipped(difference: Tensor) -> Tensor:
    """The mean difference under all the 2^n choices of signs."""
    n = len(difference)
    signs = 1 - 2 * (torch.arange(2**n)[:, None] >> torch.arange(n) & 1)
    return signs.double() @ difference / n


LUCK_RESULTS = ("the mean difference", "the standard error", "p")
DIFFERENCE_MISTAKES: Mistakes = [
    ("you subtract a from b: the other way round is wanted.", lambda v, a, b: ((b - a).mean(),)),
    ("you add up the differences: their mean is wanted.", lambda v, a, b: ((a - b).sum(),)),
    ("a difference has a sign, and yours lost it.", lambda v, a, b: ((a - b).mean().abs(),)),
]
ERROR_MISTAKES: Mistakes = [
    (
        "this is the standard deviation of one difference: the mean of n is known better.",
        lambda v, a, b: (0, (a - b).std()),
    ),
    (
        "a and b come in pairs, from one seed each. Your error forgets that, and holds what the seed "
        "does to both against you.",
        lambda v, a, b: (0, ((a.var() + b.var()) / len(a)).sqrt()),
    ),
    (
        "the standard deviation is estimated around a mean that is estimated too: which number do you "
        "divide the squares by?",
        lambda v, a, b: (0, (a - b).std(correction=0) / math.sqrt(len(a))),
    ),
    (
        "you divide by n where its root is wanted.",
        lambda v, a, b: (0, (a - b).std() / len(a)),
    ),
    (
        "this is the square of the standard error.",
        lambda v, a, b: (0, (a - b).var() / len(a)),
    ),
]
P_MISTAKES: Mistakes = [
    (
        "you count only one side: a difference as large of the other sign would have surprised as much.",
        lambda v, a, b: (0, 0, one_side(a, b)),
    ),
    (
        "you count only one side: take the sizes of the means.",
        lambda v, a, b: (0, 0, one_side(b, a)),
    ),
    (
        "you leave out the ways that make a mean exactly as large, and the observed one is among them.",
        lambda v, a, b: (
            0,
            0,
            (
                flipped((a - b).double()).abs()
                > 2 * (a - b).double().mean().abs() - limit((a - b).double())
            )
            .double()
            .mean(),
        ),
    ),
    (
        "this is the share of the ways that make a smaller mean: p is what is left.",
        lambda v, a, b: (0, 0, 1 - luck(v, a, b)[2]),
    ),
    (
        "this is the number of ways: divide by how many there are.",
        lambda v, a, b: (0, 0, luck(v, a, b)[2] * 2 ** len(a)),
    ),
    (
        "this is what a normal distribution says. With so few pairs count: it is exact.",
        lambda v, a, b: (0, 0, by_bell(a, b)),
    ),
]


def one_side(a: Tensor, b: Tensor) -> Tensor:
    difference = (a - b).double()
    slack = 1e-9 * difference.abs().max()
    return (flipped(difference) >= difference.mean() - slack).double().mean()


def by_bell(a: Tensor, b: Tensor) -> Tensor:
    difference = (a - b).double()
    score = difference.mean() / difference.std() * math.sqrt(len(difference))
    return 2 * torch.special.ndtr(-score.abs())


def dyadic(x: Tensor) -> Tensor:
    """Rounded to 64ths: their sums are exact, so whether an answer leaves slack for rounding decides nothing."""
    return (64 * x).round() / 64


def ask_luck(generator: torch.Generator, v: Variant) -> list[Question]:
    up = {"a": torch.tensor([3.0, 5.0, 4.0]), "b": torch.tensor([1.0, 4.0, 1.0])}
    questions = [Question("three pairs", up)]
    for n, sign, dtype in ((5, -1, torch.float32), (8, 1, torch.float32), (11, -1, torch.float64)):
        seed = dyadic(3 * normal(generator, n, dtype=dtype))  # what a seed does to both
        difference = 0.7 * normal(generator, n, dtype=dtype)
        difference = dyadic(difference - difference.mean() + sign * 0.4)  # the sign is sure
        questions.append(Question(f"{n} pairs", {"a": seed + difference, "b": seed}))
    a = torch.randint(9, (7,), generator=generator).float()
    b = torch.randint(9, (7,), generator=generator).float()
    a[0] = b[0] + 2  # not all differences are zero
    return [*questions, Question("7 pairs of whole numbers", {"a": a, "b": b})]


# ---------------------------------------------------------------- the problem set

DISTANCE = compare(wasserstein, W_MISTAKES, W_RESULTS, 0)  # one judge: two parts share its table

PROBLEM_SET = ProblemSet(
    "ps3_gan",
    variant,
    {
        "skewed_game": Task(
            ask_skewed_game,
            [
                Part(
                    2,
                    "the best logit",
                    compare(skewed_game, LOGIT_MISTAKES, GAME_RESULTS, 0),
                    ordinary,
                ),
                Part(
                    2, "the value", compare(skewed_game, VALUE_MISTAKES, GAME_RESULTS, 1), ordinary
                ),
                Part(1, "cells of no probability", compare(skewed_game, [], GAME_RESULTS), extreme),
            ],
        ),
        "corrected": Task(
            ask_corrected,
            [
                Part(
                    1,
                    "the log ratio",
                    compare(corrected, RATIO_MISTAKES, CORRECTED_RESULTS, 0),
                    ordinary,
                ),
                Part(
                    1, "the mean", compare(corrected, MEAN_MISTAKES, CORRECTED_RESULTS, 1), ordinary
                ),
                Part(
                    1,
                    "the effective number",
                    compare(corrected, NUMBER_MISTAKES, CORRECTED_RESULTS, 2),
                    ordinary,
                ),
                Part(
                    1,
                    "the chance to be kept",
                    compare(corrected, KEPT_MISTAKES, CORRECTED_RESULTS, 3),
                    ordinary,
                ),
                Part(1, "sure discriminators", compare(corrected, [], CORRECTED_RESULTS), extreme),
            ],
        ),
        "f_gan": Task(
            ask_f_gan,
            [
                Part(
                    2,
                    "the discriminator's loss",
                    compare(f_gan, partial(f_gan_mistakes, 0), F_RESULTS, 0),
                ),
                Part(
                    1,
                    "the generator's loss",
                    compare(f_gan, partial(f_gan_mistakes, 1), F_RESULTS, 1),
                ),
                Part(
                    1, "the best output", compare(f_gan, partial(f_gan_mistakes, 2), F_RESULTS, 2)
                ),
                Part(1, "the gradients", judge_f_gan_gradient),
            ],
        ),
        "wasserstein": Task(
            ask_wasserstein,
            [
                Part(
                    2,
                    "as many points on both sides",
                    DISTANCE,
                    lambda question: not weighted(question),
                ),
                Part(2, "weighted points", DISTANCE, weighted),
                Part(2, "the critic", judge_critic),
            ],
        ),
        "penalty": Task(
            ask_penalty,
            [
                Part(
                    2,
                    "the penalty",
                    compare(penalty, PENALTY_MISTAKES, PENALTY_RESULTS, 0),
                    ordinary,
                ),
                Part(
                    2,
                    "its gradient",
                    compare(penalty, GRADIENT_MISTAKES, PENALTY_RESULTS, 1),
                    ordinary,
                ),
                Part(1, "where the slope is zero", compare(penalty, [], PENALTY_RESULTS), extreme),
            ],
        ),
        "contraction": Task(
            ask_contraction,
            [
                Part(1, "simultaneous turns that circle", TOGETHER, circling),
                Part(1, "alternating turns that circle", IN_TURN, circling),
                Part(1, "simultaneous turns with real eigenvalues", TOGETHER, real),
                Part(1, "alternating turns with real eigenvalues", IN_TURN, real),
                Part(
                    1,
                    "steps that are far too long",
                    compare(contraction, [], CONTRACTION_RESULTS),
                    extreme,
                ),
            ],
        ),
        "ring": Task(
            ask_ring,
            [
                Part(2, "the modes", judge_modes),
                Part(2, "how near the points are", judge_near),
                Part(1, "how wide the heaps are", judge_spread),
                Part(1, "a function of the noise", judge_function),
            ],
        ),
        "luck": Task(
            ask_luck,
            [
                Part(1, "the mean difference", compare(luck, DIFFERENCE_MISTAKES, LUCK_RESULTS, 0)),
                Part(1, "the standard error", compare(luck, ERROR_MISTAKES, LUCK_RESULTS, 1)),
                Part(1, "p", compare(luck, P_MISTAKES, LUCK_RESULTS, 2)),
            ],
        ),
    },
    seconds=240,
)
