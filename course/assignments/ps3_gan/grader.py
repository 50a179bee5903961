"""Graders of problem set 3: games, ratios and distances.

Most tasks are functions with one right answer; each is a `Step` of the variant, with the wrong functions that
students write. Two are judged by what they must do: the critic of `wasserstein` (any that no slope forbids and that
finds the whole distance will do), and the generator that `ring` trains.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, cat, nn, stack
from torch.autograd import grad

from course.assignments.core import (
    Part,
    ProblemSet,
    Variant,
    compared,
    is_extreme,
    is_ordinary,
    labelled,
    task,
    trained,
)
from course.checking.core import Case, Wrong, as_tensor
from course.checking.questions import Outcome, Question
from course.checking.step import Step, extreme, hard, step, tame
from genlib.data import EightGaussians
from genlib.metrics import mode_counts

DIVERGENCES = ("reverse KL", "KL", "squared Hellinger", "Pearson")
GAMES = ("minimax", "Wasserstein", "non-saturating")
SIDES = ("one-sided", "two-sided")
DOUBLE = torch.float64


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


def normal(g: torch.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=g, dtype=DOUBLE).to(dtype)


def uniform(g: torch.Generator, n: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=g, dtype=DOUBLE)


def log_odds(share: float) -> float:
    return math.log(share) - math.log(1 - share)


# ---------------------------------------------------------------- 1. the game with unequal shares


def cells(g: torch.Generator, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Log probabilities of n cells."""
    return (1.5 * normal(g, n, dtype=DOUBLE)).log_softmax(dim=0).to(dtype)


def ask_skewed_game(g: torch.Generator) -> list[Case]:
    three = {"log_p": torch.tensor([0.5, 0.25, 0.25]), "log_q": torch.tensor([0.125, 0.125, 0.75])}
    cases = [tame("three cells", **{key: value.log() for key, value in three.items()})]
    for n, dtype in ((7, torch.float32), (1, torch.float32), (40, DOUBLE)):
        cases.append(
            tame(f"{n} cells, {dtype}", log_p=cells(g, n, dtype), log_q=cells(g, n, dtype))
        )
    log_p, log_q = cells(g, 9), cells(g, 9)
    log_p[[0, 3]], log_q[[1, 3]] = -math.inf, -math.inf
    zeros = {"log_p": log_p.log_softmax(dim=0), "log_q": log_q.log_softmax(dim=0)}
    log_p, log_q = cells(g, 8), cells(g, 8)
    log_p[2:6] = -150 - 600 * torch.rand(4, generator=g)
    log_q[4:7] = -150 - 600 * torch.rand(3, generator=g)
    log_p[2], log_q[6] = -750, -750  # where the other is not small: too much for float64 too
    tiny = {"log_p": log_p.log_softmax(dim=0), "log_q": log_q.log_softmax(dim=0)}
    return [
        *cases,
        extreme("cells of probability zero", **zeros),
        extreme("probabilities that round to zero", **tiny),
    ]


@task(
    compared(2, "the best logit", 0, is_ordinary),
    compared(2, "the value", 1, is_ordinary),
    compared(1, "cells of no probability", only=is_extreme),
)
def skewed_game(v: Variant) -> Step:
    share = v["REAL_SHARE"]
    odds = log_odds(share)

    def game(
        log_p: Tensor,
        log_q: Tensor,
        shift: float = odds,
        real: float = share,
        fake: float = 1 - share,
    ) -> tuple[Tensor, Tensor]:
        """The logit log p - log q + shift, and the value of the discriminator that has it."""
        nowhere = (log_p == -math.inf) & (log_q == -math.inf)
        logit = torch.where(nowhere, 0.0, log_p - log_q + shift)
        by_real = torch.where(log_p == -math.inf, 0.0, real * log_p.exp() * F.logsigmoid(logit))
        by_fake = torch.where(log_q == -math.inf, 0.0, fake * log_q.exp() * F.logsigmoid(-logit))
        return logit, (by_real + by_fake).sum()

    @step(ask_skewed_game, results=("the best logit", "the value"))
    def skewed_game(log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
        """The best logit in each cell, and what the game is worth to the best discriminator, in nats."""
        return game(log_p, log_q)

    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    skewed_game.wrong = {
        "this is the best logit where a batch holds as many fakes as real examples: yours does not.":
            lambda *a: (game(*a, shift=0.0)[0], None),
        "you give the fakes the share of the real examples: which of the two is REAL_SHARE?":
            lambda *a: (game(*a, shift=-odds)[0], None),
        "the signs of your logit are those of a discriminator that looks for fakes.": lambda *a: (-game(*a)[0], None),
        "this is D, between 0 and 1: the logit is wanted.": lambda *a: (game(*a)[0].sigmoid(), None),
        "this is log D: the logit is the logarithm of D / (1 - D).": lambda *a: (F.logsigmoid(game(*a)[0]), None),
        "you add up the two expectations as if each had the weight 1: they have the shares of a batch.":
            lambda *a: (None, game(*a, real=1.0, fake=1.0)[1]),
        "this is the value against the discriminator that would be best for equal shares.":
            lambda *a: (None, game(*a, shift=0.0)[1]),
        "in the value you give the fakes the share of the real examples.":
            lambda *a: (None, game(*a, real=1 - share, fake=share)[1]),
        "in the value and in its logit you give the fakes the share of the real examples.":
            lambda *a: (None, game(*a, -odds, 1 - share, share)[1]),
        "this is the value for equal shares, as if a batch held as many fakes as real examples.":
            lambda *a: (None, game(*a, 0.0, 0.5, 0.5)[1]),
        "this is the discriminator's loss: it maximises the value, which is never positive.":
            lambda *a: (None, -game(*a)[1]),
        "this is the divergence that the game measures: the value of knowing nothing, which is there even for p = q, "
        "is not in it.":
            lambda *a: (None, game(*a)[1] + entropy),
        "you average over the cells: an expectation weighs each cell by its probability, and adds up.":
            lambda *a: (None, game(*a)[1] / len(a[0])),
    }  # fmt: skip
    return skewed_game


# ---------------------------------------------------------------- 2. what a discriminator corrects


def ask_corrected(g: torch.Generator) -> list[Case]:
    def fakes(kind: Callable[..., Case], label: str, logit: Tensor, d: int) -> Case:
        return kind(label, logit=logit, f=1 + normal(g, len(logit), d, dtype=logit.dtype))

    three = torch.tensor([2.0, 1.0, 1.0]).log()
    return [
        tame("three fakes", logit=three, f=torch.tensor([[1.0], [2.0], [3.0]])),
        fakes(tame, "9 fakes", 2 * normal(g, 9), 2),
        fakes(hard, "a single fake", 2 * normal(g, 1), 3),
        fakes(tame, "60 fakes in float64", 2 * normal(g, 60, dtype=DOUBLE), 1),
        fakes(extreme, "fakes that are all found out", normal(g, 6) - 1000, 2),
        fakes(extreme, "sure logits", normal(g, 5) + 1000, 2),
    ]


@task(
    compared(1, "the log ratio", 0, is_ordinary),
    compared(1, "the mean", 1, is_ordinary),
    compared(1, "the effective number", 2, is_ordinary),
    compared(1, "the chance to be kept", 3, is_ordinary),
    compared(1, "sure discriminators", only=is_extreme),
)
def corrected(v: Variant) -> Step:
    odds = log_odds(v["REAL_SHARE"])

    @step(
        ask_corrected,
        results=("the log ratio", "the mean", "the effective number", "the chance to be kept"),
    )
    def corrected(logit: Tensor, f: Tensor) -> tuple[Tensor, ...]:
        """Log ratio of the densities, weighted mean of f, effective number of fakes, chance to be kept."""
        weight = logit.softmax(dim=0)
        return logit - odds, weight @ f, 1 / weight.square().sum(), (logit - logit.max()).exp()

    def ratio(logit: Tensor) -> Tensor:
        return (logit - odds).exp()

    def number(weight: Tensor) -> Tensor:
        return 1 / weight.square().sum()

    corrected.wrong = {
        "this is the log ratio for a discriminator that saw as many fakes as real examples.":
            lambda logit, f: (logit, None, None, None),
        "you correct for the shares the wrong way round: many real examples in a batch make a logit large, whatever "
        "the densities.":
            lambda logit, f: (logit + odds, None, None, None),
        "this is the ratio: return its logarithm.": lambda logit, f: (ratio(logit), None, None, None),
        "this is the ratio of fake to real: the other way round is wanted.":
            lambda logit, f: (odds - logit, None, None, None),
        "this is log D: the ratio of the densities comes from D / (1 - D).":
            lambda logit, f: (F.logsigmoid(logit), None, None, None),
        "your weights are D: a fake's weight is the ratio of the densities, which D is not.":
            lambda logit, f: (None, logit.sigmoid() @ f / logit.sigmoid().sum(), None, None),
        "you do not weigh the fakes at all: this is the generator's own mean.":
            lambda logit, f: (None, f.mean(0), None, None),
        "you divide by the number of fakes: divide by the sum of the weights, so that a constant stays what it is.":
            lambda logit, f: (None, ratio(logit) @ f / len(f), None, None),
        "you add up and do not divide: a mean of ones must be one.":
            lambda logit, f: (None, ratio(logit) @ f, None, None),
        "your weights are largest for the worst fakes.": lambda logit, f: (None, (-logit).softmax(0) @ f, None, None),
        "the effective number is between 1 and n: yours is the inverse.":
            lambda logit, f: (None, None, logit.softmax(0).square().sum(), None),
        "this is the share of the fakes that count: the number is wanted.":
            lambda logit, f: (None, None, number(logit.softmax(0)) / len(logit), None),
        "you square the sum: add up the squares of the weights.":
            lambda logit, f: (None, None, logit.softmax(0).sum().square(), None),
        "your weights do not add up to 1 before you square them.":
            lambda logit, f: (None, None, number(ratio(logit)), None),
        "this is what the entropy of the weights gives: the variance asks for their squares.":
            lambda logit, f: (None, None, torch.distributions.Categorical(logits=logit).entropy().exp(), None),
        "you keep a fake with the probability D: then what is kept does not follow the data.":
            lambda logit, f: (None, None, None, logit.sigmoid()),
        "these are the weights of a mean, which add up to 1: every fake could be kept more often, as long as no "
        "chance exceeds 1.":
            lambda logit, f: (None, None, None, logit.softmax(0)),
        "you cut the ratio off at 1: all the fakes with a larger one would then be kept alike.":
            lambda logit, f: (None, None, None, ratio(logit).clamp(max=1)),
    }  # fmt: skip
    return corrected


# ---------------------------------------------------------------- 3. another divergence

F_GANS: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    # g(v), f*(g(v)), and g's inverse of f'(u), from log u
    "KL": (lambda x: x, lambda x: (x - 1).exp(), lambda log_ratio: 1 + log_ratio),
    "reverse KL": (lambda x: -(-x).exp(), lambda x: x - 1, lambda log_ratio: log_ratio),
    "Pearson": (lambda x: x, lambda x: x.square() / 4 + x, lambda log_ratio: 2 * log_ratio.expm1()),
    "squared Hellinger":
        (lambda x: 1 - (-x).exp(), lambda x: x.exp() - 1, lambda log_ratio: log_ratio / 2),
}  # fmt: skip
SAME_G = ("KL", "Pearson")  # their g is the identity, so T = v and their generators' losses are one
ANOTHER = "this belongs to the divergence {}: DIVERGENCE says another."


def f_gan_as(divergence: str, real: Tensor, fake: Tensor, log_ratio: Tensor) -> tuple[Tensor, ...]:
    """Both losses, and the best raw output at places with this log ratio of the densities."""
    activated, conjugate, best = F_GANS[divergence]
    loss_d = conjugate(fake).mean() - activated(real).mean()
    return loss_d, -activated(fake).mean(), best(log_ratio)


def ask_f_gan(g: torch.Generator) -> list[Case]:
    def outputs(n: int, m: int, k: int, dtype: torch.dtype = torch.float32) -> Case:
        real, fake = 0.5 + normal(g, n, dtype=dtype), normal(g, m, dtype=dtype) - 0.5
        log_ratio = 0.3 + normal(g, k, dtype=dtype)
        return tame(f"{n} real and {m} fake outputs", real=real, fake=fake, log_ratio=log_ratio)

    return [outputs(3, 3, 1), outputs(5, 8, 4), outputs(64, 30, 6, DOUBLE)]


@task(
    compared(2, "the discriminator's loss", 0),
    compared(1, "the generator's loss", 1),
    compared(1, "the best output", 2),
    trained(1, "the gradients"),
)
def f_gan(v: Variant) -> Step:
    name = v["DIVERGENCE"]
    g, conjugate, best = F_GANS[name]

    @step(
        ask_f_gan,
        gradient="real fake",
        results=("the discriminator's loss", "the generator's loss", "the best output"),
    )
    def f_gan(real: Tensor, fake: Tensor, log_ratio: Tensor) -> tuple[Tensor, ...]:
        return f_gan_as(name, real, fake, log_ratio)

    f_gan.wrong = {
        "this is the bound, which the discriminator raises: return a loss, which it lowers.":
            lambda real, fake, u: (g(real).mean() - conjugate(fake).mean(), None, None),
        "the conjugate is missing: fakes do not enter as real examples do.":
            lambda real, fake, u: (g(fake).mean() - g(real).mean(), None, None),
        "you give the real outputs to the conjugate: it belongs to the fakes.":
            lambda real, fake, u: (conjugate(real).mean() - g(fake).mean(), None, None),
        "you add up over the batch where expectations, so means, are wanted.":
            lambda real, fake, u: (conjugate(fake).sum() - g(real).sum(), None, None),
        "this is the part of the bound that depends on the generator. The task wants the other loss, which does not "
        "fade when fakes are found out.":
            lambda real, fake, u: (None, -conjugate(fake).mean(), None),
        "the generator would learn to be found out: look at the sign of its loss.":
            lambda real, fake, u: (None, g(fake).mean(), None),
        "you take the generator's loss of the real outputs, which it cannot change.":
            lambda real, fake, u: (None, -g(real).mean(), None),
        "you add up over the fakes where a mean is wanted.": lambda real, fake, u: (None, -g(fake).sum(), None),
        "this is the best output for the ratio of fake to real.": lambda real, fake, u: (None, None, best(-u)),
        "you return the ratio itself: which output does the discriminator's best T come from?":
            lambda real, fake, u: (None, None, u.exp()),
        "this is the best T = g(v): the raw output v is wanted.": lambda real, fake, u: (None, None, g(best(u))),
    }  # fmt: skip

    def another(other: str, *a: Tensor) -> tuple[Tensor | None, ...]:
        loss_d, loss_g, output = f_gan_as(other, *a)
        return loss_d, None if other in SAME_G else loss_g, output

    others = [other for other in DIVERGENCES if other != name]
    f_gan.wrong |= {ANOTHER.format(other): partial(another, other) for other in others}
    f_gan.wrong[ANOTHER.format(" or ".join(SAME_G))] = lambda real, fake, u: (
        None,
        -fake.mean(),
        None,
    )
    return f_gan


# ---------------------------------------------------------------- 4. moving earth on the line


@dataclass(frozen=True)
class Line:
    """Two weighted sets of points on a line."""

    x: Tensor
    y: Tensor
    weight_x: Tensor
    weight_y: Tensor

    @cached_property
    def order(self) -> Tensor:
        return cat([self.x, self.y]).argsort()

    @cached_property
    def gap(self) -> Tensor:
        """From each place to the next."""
        return cat([self.x, self.y])[self.order].diff()

    @cached_property
    def ahead(self) -> Tensor:
        """In each gap by how much the distribution function of y lies above that of x."""
        shares = cat([-self.weight_x / self.weight_x.sum(), self.weight_y / self.weight_y.sum()])
        return shares[self.order].cumsum(dim=0)[:-1]

    @property
    def distance(self) -> Tensor:
        return (self.gap * self.ahead.abs()).sum()

    @property
    def between_means(self) -> Tensor:
        mean_x, mean_y = (
            (weight * place).sum() / weight.sum()
            for place, weight in ((self.x, self.weight_x), (self.y, self.weight_y))
        )
        return mean_x - mean_y

    def critic(self, slope: float) -> tuple[Tensor, Tensor]:
        """A best critic's scores at x and at y."""
        scores = self.gap.new_zeros(len(self.order))
        scores[self.order[1:]] = (slope * self.gap * self.ahead.sign()).cumsum(dim=0)
        return scores[: len(self.x)], scores[len(self.x) :]

    def in_pairs(self, by_size: bool) -> Tensor:
        """The ways from x to y, as if there were as many of both and none had a weight."""
        n = min(len(self.x), len(self.y))
        x, y = self.x[:n], self.y[:n]
        return x.sort().values - y.sort().values if by_size else x - y


def ask_wasserstein(g: torch.Generator) -> list[Case]:
    def case(label: str, x: Tensor, y: Tensor, weigh: bool, gap: float | None = None) -> Case:
        """`gap`: of the weighted means, on either side somewhere, so that a lost sign shows."""
        weights = [torch.ones_like(a) for a in (x, y)]
        if weigh:
            weights = [(0.2 + torch.rand(len(a), generator=g)).to(a) for a in (x, y)]
            weights[0][0] = 0.0
        if gap is not None:
            x = x + gap - Line(x, y, *weights).between_means
        return tame(label, x=x, y=y, weight_x=weights[0], weight_y=weights[1])

    three = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([5.0, 6.0, 8.0])
    cases = [case("three points moved by five", *three, False)]
    for n, gap, dtype in ((6, 0.3, torch.float32), (50, -0.3, DOUBLE)):
        x, y = normal(g, n, dtype=dtype), 2 * normal(g, n, dtype=dtype)
        cases.append(case(f"{n} points on each side", x, y, False, gap))
    # two of them at 2 and two at 3, where there are points of y too, whatever the order
    x = (torch.randperm(8, generator=g) % 4).float()
    cases.append(case("points that meet", x, 3 - x.roll(1) / 2, False))
    for n, m, gap, dtype in ((4, 7, 0.3, torch.float32), (40, 25, -0.3, DOUBLE)):
        x, y = normal(g, n, dtype=dtype), 2 * normal(g, m, dtype=dtype)
        cases.append(case(f"weights: {n} and {m} points", x, y, True, gap))
    return cases


def judge_critic(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    """Any scores will do that no slope forbids and whose gap is the largest there is."""
    for question, outcome in zip(questions, outcomes, strict=True):
        if len(outcome.tensors) != 3:
            raise Wrong(f"`{name}` returns {len(outcome.tensors)} results where 3 are wanted.")
        line = Line(*(a.double() for a in question.arguments.values()))
        at_x, at_y = (as_tensor(name, s).double() for s in outcome.tensors[1:])
        if at_x.shape != line.x.shape or at_y.shape != line.y.shape:
            raise Wrong(f"for {question.label} the critic does not give every point one score.")
        score, place = cat([at_x, at_y]), cat([line.x, line.y])
        if not score.isfinite().all():
            raise Wrong(f"for {question.label} not every score is a finite number.")
        slope = v["SLOPE"]
        rise = (score[:, None] - score).abs()
        way = (place[:, None] - place).abs()
        tolerance = 1e-4 * (1 + slope * float(place.max() - place.min()))
        gap = Line(at_x, at_y, line.weight_x, line.weight_y).between_means
        largest = slope * line.distance
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


def unweighted(question: Question) -> bool:
    return not labelled("weights: ")(question)


@task(
    compared(2, "as many points on both sides", 0, unweighted),
    compared(2, "weighted points", 0, labelled("weights: ")),
    Part(2, "the critic", judge_critic),
)
def wasserstein(v: Variant) -> Step:
    @step(
        ask_wasserstein,
        results=("the distance", "the scores at x", "the scores at y"),
        view=lambda *a: {"line": Line(*a)},
    )
    def wasserstein(line: Line) -> tuple[Tensor, Tensor, Tensor]:
        """The distance, and a best critic's scores at x and at y."""
        return line.distance, *line.critic(v["SLOPE"])

    def only(distance: Callable[[Line], Tensor]) -> Callable[[Line], tuple[Tensor | None, ...]]:
        return lambda line: (distance(line), None, None)

    def unnormalised(line: Line) -> Tensor:
        shares = cat([line.weight_x, -line.weight_y])
        return (line.gap * shares[line.order].cumsum(dim=0)[:-1].abs()).sum()

    wasserstein.wrong = {
        "you pair the points in the order they come in. The cheapest way to move earth along a line never lets two "
        "loads cross.":
            only(lambda line: line.in_pairs(by_size=False).abs().mean()),
        "this is the distance of the means. Two heaps with one mean may still be far apart.":
            only(lambda line: line.between_means.abs()),
        "in this integral the parts where one distribution function lies above the other cancel those where it lies "
        "below.":
            only(lambda line: line.between_means),
        "these signs cancel too: this is a difference of means.": only(lambda line: -line.between_means),
        "you ignore the weights: a point holds the share of the earth that its weight says.":
            only(lambda line: Line(line.x, line.y, torch.ones_like(line.x), torch.ones_like(line.y)).distance),
        "you add up the way of all the points: distance is the mean way of a unit of earth.":
            only(lambda line: len(line.x) * line.distance),
        "this is the largest gap between the two distribution functions, which says nothing about how far the earth "
        "must go.":
            only(lambda line: (line.ahead.abs() * (line.gap > 0)).max()),
        "SLOPE belongs to the critic: the distance is what slope 1 would find.":
            only(lambda line: v["SLOPE"] * line.distance),
        "you square: the distance adds up ways, not their squares.":
            only(lambda line: line.in_pairs(by_size=True).square().mean()),
        "this is the root of a mean of squares, another distance: here ways are averaged as they are.":
            only(lambda line: line.in_pairs(by_size=True).square().mean().sqrt()),
        "your weights do not add up to 1 on either side before you compare.": only(unnormalised),
    }  # fmt: skip
    return wasserstein


# ---------------------------------------------------------------- 5. a penalty on the slope


def euclidean(slope: Tensor) -> Tensor:
    return slope.flatten(1).norm(dim=1)


def by_parameters(value: Tensor, network: nn.Module) -> Tensor:
    """The gradient in one row, zero for parameters that do not matter."""
    parameters = list(network.parameters())
    return cat(
        [x.flatten() for x in grad(value, parameters, allow_unused=True, materialize_grads=True)]
    )


def small_network(
    g: torch.Generator, inputs: int, hidden: int, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """Scores (n,) of examples of any shape, with weights drawn from the generator."""
    last = nn.Linear(hidden, 1)
    layers = nn.Flatten(), nn.Linear(inputs, hidden), nn.Tanh(), last, nn.Flatten(0)
    network = nn.Sequential(*layers).to(dtype)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(2 * normal(g, *p.shape) / math.sqrt(p.shape[-1]))
        last.weight.mul_(3)  # steep enough that some slopes lie above SLOPE, whatever it is
    return network


def ask_penalty(slope: float, g: torch.Generator) -> list[Case]:
    def line(label: str, length: float) -> Case:
        layer = nn.Linear(2, 1)
        with torch.no_grad():
            layer.weight.copy_(length * torch.tensor([[0.6, 0.8]]))
            layer.bias.fill_(1.0)
        x = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
        return hard(label, discriminator=nn.Sequential(layer, nn.Flatten(0)), x=x)

    # above SLOPE and below it, whatever the networks that follow are
    cases = [line("a straight line", 5.0), line("a line that rises little", 0.4 * slope)]
    for n, shape, dtype in (
        (7, (2,), torch.float32),
        (5, (1, 2, 3), torch.float32),
        (12, (3,), DOUBLE),
    ):
        x = normal(g, n, *shape, dtype=dtype)
        network = small_network(g, math.prod(shape), 6, dtype)
        cases.append(tame(f"examples of shape {shape}", discriminator=network, x=x))
    flat = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1), nn.Flatten(0))
    with torch.no_grad():
        for p in flat.parameters():
            p.copy_(1 + torch.rand(p.shape, generator=g))
    # where x is far below zero every unit is off, and the slope exactly zero
    x = cat([-10 - torch.rand(3, 2, generator=g), torch.ones(2, 2)])
    return [*cases, extreme("places where the discriminator is flat", discriminator=flat, x=x)]


@task(
    compared(2, "the penalty", 0, is_ordinary),
    compared(2, "its gradient", 1, is_ordinary),
    compared(1, "where the slope is zero", only=is_extreme),
)
def penalty(v: Variant) -> Step:
    one_sided = v["PENALTY"] == "one-sided"

    def penalised(
        discriminator: nn.Module,
        x: Tensor,
        one_sided: bool = one_sided,
        wanted: float = v["SLOPE"],
        length: Callable[[Tensor], Tensor] = euclidean,
        each: Callable[[Tensor], Tensor] = torch.square,
        over_scores: Callable[[Tensor], Tensor] = torch.sum,
        over_examples: Callable[[Tensor], Tensor] = torch.mean,
    ) -> tuple[Tensor, Tensor]:
        x = x.detach().clone().requires_grad_()
        [slope] = grad(over_scores(discriminator(x)), x, create_graph=True)
        off = length(slope) - wanted
        value = over_examples(each(off.clamp_min(0) if one_sided else off))
        return value.detach(), by_parameters(value, discriminator)

    @step(partial(ask_penalty, v["SLOPE"]), results=("the penalty", "its gradient"))
    def penalty(discriminator: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """The penalty, and its gradient by the discriminator's parameters, in one row."""
        return penalised(discriminator, x)

    penalty.wrong = {
        "no gradient reaches the parameters: the slope must stay on the graph while you differentiate by x, or "
        "nothing can differentiate it again.":
            lambda *a: (None, torch.zeros_like(penalised(*a)[1])),
        "the signs of the gradient are those of a step: return the gradient itself.":
            lambda *a: (None, -penalised(*a)[1]),
        "this is how the scores, not the penalty, depend on the parameters.":
            lambda network, x: (None, by_parameters(network(x).sum(), network)),
        "your penalty punishes other slopes than PENALTY says: above SLOPE only, or on both sides of it?":
            lambda *a: penalised(*a, one_sided=not one_sided),
        "you hold the slope against 1: SLOPE says another number.": lambda *a: penalised(*a, wanted=1.0),
        "you differentiate the mean of the scores, so that every example's slope is divided by the size of the batch.":
            lambda *a: penalised(*a, over_scores=torch.mean),
        "you add up over the examples where the penalty is their mean.":
            lambda *a: penalised(*a, over_examples=torch.sum),
        "you do not square what the slope is off by.": lambda *a: penalised(*a, each=torch.abs),
        "you square the slope before you compare it with SLOPE: take its length.":
            lambda *a: penalised(*a, length=lambda s: s.flatten(1).square().sum(dim=1)),
        "one length for the whole batch: every example has a slope of its own.":
            lambda *a: penalised(*a, length=lambda s: s.norm()[None]),
        "each number of an example is punished by itself: the slope is one length for an example.":
            lambda *a: penalised(*a, length=lambda s: s.abs().flatten()),
        "this adds up the sizes of the partial derivatives: the length is Euclidean.":
            lambda *a: penalised(*a, length=lambda s: s.flatten(1).abs().sum(dim=1)),
    }  # fmt: skip
    return penalty


# ---------------------------------------------------------------- 6. does the game settle?


def ask_contraction(g: torch.Generator) -> list[Case]:
    def case(
        kind: Callable[..., Case],
        label: str,
        n: int,
        rate_d: tuple[float, float],
        rate_g: tuple[float, float],
        weight: tuple[float, float],
    ) -> Case:
        drawn = {"rate_d": rate_d, "rate_g": rate_g, "weight": weight}
        return kind(label, **{key: uniform(g, n, *ends) for key, ends in drawn.items()})

    one = {"rate_d": 0.2, "rate_g": 0.1, "weight": 0.2}
    slow, far = (0.02, 0.05), (4.5, 6.0)
    return [
        tame(
            "one pair of rates", **{key: torch.tensor([x], dtype=DOUBLE) for key, x in one.items()}
        ),
        case(hard, "no penalty", 6, (0.3, 0.5), (0.5, 0.9), (0.0, 0.0)),
        case(tame, "a small penalty", 9, (0.3, 0.5), (0.5, 0.9), (0.1, 0.3)),
        # no rotation is left. LAPACK names first the eigenvalue that is near the first number of the diagonal, so with
        # the generator's row on top the larger is the first of the one question and the second of the other
        case(hard, "real: a strong penalty", 8, (0.1, 0.3), slow, (2.5, 3.0)),
        case(hard, "real: a penalty too strong for the step", 8, (1.0, 1.2), slow, (2.7, 3.2)),
        case(extreme, "steps that are far too long", 8, far, far, (0.0, 0.1)),
    ]


def circling(question: Question) -> bool:
    return is_ordinary(question) and not labelled("real: ")(question)


@task(
    compared(1, "simultaneous turns that circle", 0, circling),
    compared(1, "alternating turns that circle", 1, circling),
    compared(1, "simultaneous turns with real eigenvalues", 0, labelled("real: ")),
    compared(1, "alternating turns with real eigenvalues", 1, labelled("real: ")),
    compared(1, "steps that are far too long", only=is_extreme),
)
def contraction(v: Variant) -> Step:
    pull = 1.0 if v["GAME"] == "Wasserstein" else 0.5

    def matrices(
        rate_d: Tensor, rate_g: Tensor, weight: Tensor, pull: float = pull
    ) -> list[Tensor]:
        """The two linear maps of (theta, psi), each (n, 2, 2)."""
        one, zero = torch.ones_like(rate_d), torch.zeros_like(rate_d)
        a, b, c = pull * rate_g, -pull * rate_d, one - rate_d * weight
        together, d_moves, g_moves = (
            stack(rows, dim=1).unflatten(1, (2, 2))
            for rows in ([one, a, b, c], [one, zero, b, c], [one, a, zero, one])
        )
        return [together, g_moves @ d_moves]

    def largest(m: Tensor) -> Tensor:
        """The largest modulus of the eigenvalues, from the trace and the determinant."""
        half, determinant = m.diagonal(dim1=1, dim2=2).sum(dim=1) / 2, torch.linalg.det(m)
        under = half.square() - determinant
        real = half.abs() + under.clamp_min(0).sqrt()
        return torch.where(under < 0, determinant.clamp_min(0).sqrt(), real)

    def of(
        modulus: Callable[[Tensor], Tensor], *a: Tensor, **changed: float
    ) -> tuple[Tensor, Tensor]:
        together, in_turn = map(modulus, matrices(*a, **changed))
        return together, in_turn

    names = "the factor of simultaneous turns", "the factor of alternating turns"

    @step(ask_contraction, results=names)
    def contraction(rate_d: Tensor, rate_g: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """By what factor a turn changes the distance from rest: both at once, and one after the other."""
        return of(largest, rate_d, rate_g, weight)

    eigenvalues = torch.linalg.eigvals
    contraction.wrong = {
        "this is the factor of alternating turns: when both move at once, each sees where the other was.":
            lambda *a: (of(largest, *a)[1], None),
        "this is the factor of simultaneous turns: the second player sees where the first has gone.":
            lambda *a: (None, of(largest, *a)[0]),
        "how hard do the players of GAME pull at rest? You linearise another game.":
            lambda *a: of(largest, *a, pull=1.5 - pull),
        "your gradient of the penalty is half of what it should be, or its weight is.":
            lambda rate_d, rate_g, weight: of(largest, rate_d, rate_g, weight / 2),
        "your gradient of the penalty is twice what it should be, or its weight is.":
            lambda rate_d, rate_g, weight: of(largest, rate_d, rate_g, weight * 2),
        "the penalty belongs to the discriminator, and moves with its rate.":
            lambda rate_d, rate_g, weight: of(largest, rate_d, rate_g, weight * rate_g / rate_d),
        "the penalty changes nothing in your turns.":
            lambda rate_d, rate_g, weight: of(largest, rate_d, rate_g, 0 * weight),
        "this is the root of the determinant's size, which is the modulus of a complex pair alone: two real "
        "eigenvalues need not be of one size.":
            lambda *a: of(lambda m: torch.linalg.det(m).abs().sqrt(), *a),
        "you take the real parts of the eigenvalues. Where the players circle, that is not how far from rest they "
        "are: the modulus is.":
            lambda *a: of(lambda m: eigenvalues(m).real.abs().amax(1), *a),
        "this is the largest singular value, what a single turn can do at worst: over many turns the eigenvalues "
        "rule.":
            lambda *a: of(lambda m: torch.linalg.svdvals(m)[:, 0], *a),
        "this is the smaller of the two moduli: in the long run the larger rules.":
            lambda *a: of(lambda m: eigenvalues(m).abs().amin(1), *a),
        "you take the eigenvalue that comes first, or has the larger value: `eigvals` sorts by nothing, and the other "
        "may have the larger modulus.":
            lambda *a: of(lambda m: eigenvalues(m).abs()[:, 0], *a),
        "you take the eigenvalue that comes first: `eigvals` sorts by nothing, and the other may have the larger "
        "modulus.":
            lambda *a: of(lambda m: eigenvalues(m.flip(1, 2)).abs()[:, 0], *a),
        "one player moves the wrong way: both go downhill on a loss of their own.":
            lambda rate_d, rate_g, weight: of(largest, rate_d, -rate_g, weight),
    }  # fmt: skip
    return contraction


# ---------------------------------------------------------------- 7. a generator for any ring

Z_PAIRS = 50  # rows of the noise that come twice
N_FAKES = 2000
N_REAL = 4000
NEAR = 0.6  # share of the points within two standard deviations of a mode; of the data it is 0.86
THINNEST = 0.5  # of the data's root mean square distance from the own mode, among near points


def ask_ring(v: Variant, g: torch.Generator) -> list[Case]:
    """Points on a ring of eight heaps that lies anywhere, is of any size and turned by any angle."""
    heaps = EightGaussians(v["RADIUS"], v["STD"])
    points = heaps.means.repeat(N_REAL // 8, 1) + heaps.std * normal(g, N_REAL, 2)
    angle, *rest = torch.rand(4, generator=g).tolist()
    turn = 2 * math.pi * angle
    matrix = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    size, place = 10 + 20 * rest[0], torch.tensor([100 + 50 * rest[1], -100 - 50 * rest[2]])
    real = size * points @ matrix.T + place
    real = real[torch.randperm(N_REAL, generator=g)]
    z = normal(g, N_FAKES, v["LATENT"])
    z[-Z_PAIRS:] = z[:Z_PAIRS]
    return [tame("a ring far from the origin", real=real, z=z)]


def find_ring(real: Tensor) -> tuple[Tensor, Tensor, float]:
    """The modes (8, 2), each point's heap, and a heap's standard deviation, from as many points of each."""
    real = real.double()
    centre = real.mean(dim=0)
    arm = torch.view_as_complex((real - centre).contiguous())
    phase = (8 * arm.angle()).mul(1j).exp().mean().angle() / 8
    angle = phase + torch.arange(8) * math.pi / 4
    ray = stack([angle.cos(), angle.sin()], dim=1)
    heap = torch.cdist(real, centre + arm.abs().mean() * ray).argmin(dim=1)
    modes = stack([real[heap == k].mean(dim=0) for k in range(8)])
    return modes, heap, float((real - modes[heap]).square().mean().sqrt())


def of_points(judge: Callable[[Tensor, Tensor], None]) -> Callable[..., None]:
    """A judge of `ring` made of one that is given the points and the real ones, in float64."""

    def judge_points(
        name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
    ) -> None:
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
        judge(x, question.arguments["real"].double())

    return judge_points


@of_points
def judge_modes(x: Tensor, real: Tensor) -> None:
    modes, _, std = find_ring(real)
    found = int((mode_counts(x, modes, radius=3 * std) >= 0.1 * len(x) / 8).sum())
    if found < 7:
        raise Wrong(
            f"the generator finds {found} of the 8 modes. Look at points of `real` and of your own in "
            "one figure: do they lie in one place and have one size?"
        )


@of_points
def judge_near(x: Tensor, real: Tensor) -> None:
    modes, _, std = find_ring(real)
    near = mode_counts(x, modes, radius=2 * std).sum().item() / len(x)
    if near < NEAR:
        raise Wrong(
            f"{100 * near:.0f} % of the points lie within two standard deviations of a mode, where "
            f"{100 * NEAR:.0f} % are asked for."
        )


@of_points
def judge_spread(x: Tensor, real: Tensor) -> None:
    modes, _, std = find_ring(real)

    def spread(points: Tensor) -> float:
        way = torch.cdist(points, modes).min(dim=1).values
        return float(way[way < 2 * std].square().mean().sqrt())

    if not spread(x) > THINNEST * spread(real):
        raise Wrong(
            "the heaps of your points are much thinner than those of `real`, or there are none: the "
            "generator knows where the modes lie, and not how wide they are."
        )


@of_points
def judge_function(x: Tensor, real: Tensor) -> None:
    """What comes out is made from the noise: the same for the same noise, and no point of the data."""
    size = float(real.std())
    if float((x[:Z_PAIRS] - x[-Z_PAIRS:]).abs().max()) > 1e-3 * size:
        raise Wrong(
            "equal rows of z give different points: return what the generator makes of the given z."
        )
    if float(x.std(dim=0).min()) < 1e-3 * size:
        raise Wrong("all the rows of z give one point, or points on one line.")
    if float((torch.cdist(x, real) < 1e-6 * size).any(dim=1).float().mean()) > 0.5:
        raise Wrong("most of your points are points of `real`: a generator makes new ones.")


@task(
    Part(2, "the modes", judge_modes),
    Part(2, "how near the points are", judge_near),
    Part(1, "how wide the heaps are", judge_spread),
    Part(1, "a function of the noise", judge_function),
)
def ring(v: Variant) -> Step:
    @step(partial(ask_ring, v))
    def ring(real: Tensor, z: Tensor) -> Tensor:
        """Any generator will do that passes the judges above."""
        raise NotImplementedError

    return ring


# ---------------------------------------------------------------- 8. is it luck?


def flipped(difference: Tensor) -> Tensor:
    """The mean difference under all the 2^n choices of signs."""
    n = len(difference)
    signs = 1 - 2 * (torch.arange(2**n)[:, None] >> torch.arange(n) & 1)
    return signs.double() @ difference / n


def share(ways: Tensor) -> Tensor:
    return ways.double().mean()


def ask_luck(g: torch.Generator) -> list[Case]:
    def dyadic(x: Tensor) -> Tensor:
        """In 64ths: their sums are exact, so whether an answer leaves slack for rounding decides nothing."""
        return (64 * x).round() / 64

    cases = [tame("three pairs", a=torch.tensor([3.0, 5.0, 4.0]), b=torch.tensor([1.0, 4.0, 1.0]))]
    for n, sign, dtype in ((5, -1, torch.float32), (8, 1, torch.float32), (11, -1, DOUBLE)):
        seed = dyadic(3 * normal(g, n, dtype=dtype))  # what a seed does to both
        difference = 0.7 * normal(g, n, dtype=dtype)
        difference = dyadic(difference - difference.mean() + sign * 0.4)  # the sign is sure
        cases.append(tame(f"{n} pairs", a=seed + difference, b=seed))
    a, b = (torch.randint(9, (7,), generator=g).float() for _ in range(2))
    a[0] = b[0] + 2  # not all differences are zero
    return [*cases, hard("7 pairs of whole numbers", a=a, b=b)]


@task(
    compared(1, "the mean difference", 0),
    compared(1, "the standard error", 1),
    compared(1, "p", 2),
)
def luck(v: Variant) -> Step:
    @step(
        ask_luck,
        results=("the mean difference", "the standard error", "p"),
        view=lambda a, b: {"a": a.double(), "b": b.double(), "d": (a - b).double()},
    )
    def luck(a: Tensor, b: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean difference, its standard error, and how often mere signs would make one as large."""
        p = share(flipped(d).abs() >= d.mean().abs() - slack(d))
        return d.mean(), d.std() / math.sqrt(len(d)), p

    def slack(d: Tensor) -> Tensor:
        return 1e-9 * d.abs().max()

    def by_bell(d: Tensor) -> Tensor:
        return 2 * torch.special.ndtr(-(d.mean() / d.std() * math.sqrt(len(d))).abs())

    luck.wrong = {
        "you subtract a from b: the other way round is wanted.": lambda a, b, d: (-d.mean(), None, None),
        "you add up the differences: their mean is wanted.": lambda a, b, d: (d.sum(), None, None),
        "a difference has a sign, and yours lost it.": lambda a, b, d: (d.mean().abs(), None, None),
        "this is the standard deviation of one difference: the mean of n is known better.":
            lambda a, b, d: (None, d.std(), None),
        "a and b come in pairs, from one seed each. Your error forgets that, and holds what the seed does to both "
        "against you.":
            lambda a, b, d: (None, ((a.var() + b.var()) / len(d)).sqrt(), None),
        "the standard deviation is estimated around a mean that is estimated too: which number do you divide the "
        "squares by?":
            lambda a, b, d: (None, d.std(correction=0) / math.sqrt(len(d)), None),
        "you divide by n where its root is wanted.": lambda a, b, d: (None, d.std() / len(d), None),
        "this is the square of the standard error.": lambda a, b, d: (None, d.var() / len(d), None),
        "you count only one side: a difference as large of the other sign would have surprised as much.":
            lambda a, b, d: (None, None, share(flipped(d) >= d.mean() - slack(d))),
        "you count only one side: take the sizes of the means.":
            lambda a, b, d: (None, None, share(flipped(d) <= d.mean() + slack(d))),
        "you leave out the ways that make a mean exactly as large, and the observed one is among them.":
            lambda a, b, d: (None, None, share(flipped(d).abs() > d.mean().abs() + slack(d))),
        "this is the share of the ways that make a smaller mean: p is what is left.":
            lambda a, b, d: (None, None, share(flipped(d).abs() < d.mean().abs() - slack(d))),
        "this is the number of ways: divide by how many there are.":
            lambda a, b, d: (None, None, (flipped(d).abs() >= d.mean().abs() - slack(d)).double().sum()),
        "this is what a normal distribution says. With so few pairs count: it is exact.":
            lambda a, b, d: (None, None, by_bell(d)),
    }  # fmt: skip
    return luck


PROBLEM_SET = ProblemSet(
    "ps3_gan",
    variant,
    {
        "skewed_game": skewed_game,
        "corrected": corrected,
        "f_gan": f_gan,
        "wasserstein": wasserstein,
        "penalty": penalty,
        "contraction": contraction,
        "ring": ring,
        "luck": luck,
    },
    seconds=240,
)
