r"""Checks for the exercises of lesson comparison: one `Step` each, whose form course/checking/step.py explains.

A measure is a formula, so nothing here is estimated and no verdict depends on luck.
"""

import math
from typing import Any

import torch
from torch import (
    Tensor,
    arange,
    cdist,
    eye,
    isinf,
    linspace,
    logaddexp,
    maximum,
    quantile,
    randint,
    randperm,
    softmax,
    tensor,
    xlogy,
    zeros_like,
)

from course.checking.core import Case, normal
from course.checking.step import extreme, hard, step, tame

__all__ = [
    "bits",
    "difference",
    "divergences",
    "entropy",
    "mixture",
    "precision_recall",
    "speed_up",
    "unbeaten",
]
LN2 = math.log(2)


# ---------------------------------------------------------------- 1. a difference and its error


def _two_models(g: torch.Generator, n: int, ahead: float) -> dict[str, Tensor]:
    image = -50 + 8 * normal(g, n)  # easy and hard ones, for both models
    swing = 5 * (-1.0) ** arange(n).to(image)  # none is ahead on all of them
    return {"a": image + ahead + swing, "b": image + normal(g, n) / 2}


def _lead(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).mean()


def _error(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).std() / math.sqrt(len(a))


@step(
    lambda g: [
        tame("7 images", **_two_models(g, 7, 3.0)),
        tame("21 images, b ahead", **_two_models(g, 21, -3.0)),
        hard("3 images", **_two_models(g, 3, 1.0)),
        extreme("a lead of thousands of nats", **_two_models(g, 13, 3e4)),
    ],
    results=("the lead of a", "its standard error"),
    passes="image by image, what is hard for both models cancels.",
)
def difference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `difference(a, b)`: by how much model a leads, and the standard error of that.

    a (n,), b (n,): $\log p$ of the same n images under two models -> two numbers.

    Example:
        >>> from course import checks
        >>> checks.comparison.difference(lambda a, b: ((a - b).mean(), (a - b).std()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is how much single images scatter...
    """
    return _lead(a, b), _error(a, b)


difference.wrong = {
    "the error comes first in your answer: return the lead before it.": lambda a, b: (_error(a, b), None),
    "the sign of the lead is wrong: it is positive where a gives the images more than b.":
        lambda a, b: (_lead(b, a), None),
    "your lead is a sum over the images: take the mean.": lambda a, b: ((a - b).sum(), None),
    "you take the absolute value of the lead: its sign says which model is ahead.":
        lambda a, b: (_lead(a, b).abs(), None),
    "you average absolute differences: where b is ahead on an image, that counts against a.":
        lambda a, b: ((a - b).abs().mean(), None),
    "this is the mean of a alone: subtract that of b.": lambda a, b: (a.mean(), None),
    "you average ratios of log-likelihoods: take differences, which are the logarithm of a ratio of probabilities.":
        lambda a, b: ((a / b).mean(), None),
    "you average ratios of probabilities: the lead is the mean of their logarithms, a - b.":
        lambda a, b: ((a - b).exp().mean(), None),
    "you divide the two means: log-likelihoods are compared by their difference, which is the logarithm of a ratio of "
    "probabilities.":
        lambda a, b: (a.mean() / b.mean(), None),
    "you take the median of the differences: the lead is their mean.": lambda a, b: (quantile(a - b, 0.5), None),
    "you count the images on which a is ahead: the lead is the mean difference, in nats.":
        lambda a, b: ((a > b).to(a).mean(), None),
    "this is how much single images scatter: a mean over n of them scatters less, by the root of n.":
        lambda a, b: (None, (a - b).std()),
    "this is the error for two models that were measured on different images. Here both saw the same ones: take the "
    "standard deviation of the differences, image by image.":
        lambda a, b: (None, ((a.var() + b.var()) / len(a)).sqrt()),
    "you add the errors of the two means: take the standard deviation of the differences.":
        lambda a, b: (None, (a.std() + b.std()) / math.sqrt(len(a))),
    "you subtract one error from the other: take the standard deviation of the differences.":
        lambda a, b: (None, (a.std() - b.std()).abs() / math.sqrt(len(a))),
    "you divide the standard deviation by n: divide by its root.": lambda a, b: (None, (a - b).std() / len(a)),
    "your standard deviation divides by n: with the mean taken from the same numbers it comes out too small, so divide "
    "by n - 1, as `.std()` does.":
        lambda a, b: (None, (a - b).std(correction=0) / math.sqrt(len(a))),
    "you divide by the root of n - 1, but `.std()` has seen to that already: here it is the root of n.":
        lambda a, b: (None, (a - b).std() / math.sqrt(len(a) - 1)),
    "this is the square of the error, the variance of the mean: take its root.":
        lambda a, b: (None, (a - b).var() / len(a)),
    "you take the variance of the differences: take their standard deviation.":
        lambda a, b: (None, (a - b).var() / math.sqrt(len(a))),
    "this is the error of the mean of a alone: the lead depends on b too.":
        lambda a, b: (None, a.std() / math.sqrt(len(a))),
    "your deviation is that of the sums a + b: take that of the differences.": lambda a, b: (None, _error(a, -b)),
    "this is 1.96 standard errors, half of an interval of 95 %: return one.":
        lambda a, b: (None, 1.96 * _error(a, b)),
    "this is the lead over its error, the value of a t-test: return the error itself.":
        lambda a, b: (None, _lead(a, b) / _error(a, b)),
    "you sort a and b by themselves first, so that images are mixed up: subtract image by image.":
        lambda a, b: (None, _error(a.sort().values, b.sort().values)),
    "you divide by the root of 2 n: an image gives one difference, not two.":
        lambda a, b: (None, _error(a, b) / math.sqrt(2)),
    "both your results are the lead: the second is its standard error.": lambda a, b: (None, _lead(a, b)),
}  # fmt: skip


# ---------------------------------------------------------------- 2. from densities to bits


def _densities(g: torch.Generator, levels: int, dims: int, n: int) -> Case:
    log_density = dims * (1 + normal(g, n) / 2)
    return tame(f"{levels} levels and {dims} values", log_density=log_density, levels=levels, dims=dims)  # fmt: skip


def _in_bits(log_density: Tensor, levels: int, dims: int) -> Tensor:
    return math.log2(levels) - log_density / (dims * LN2)


@step(
    lambda g: [
        _densities(g, 16, 64, 4),
        _densities(g, 3, 5, 6),
        _densities(g, 2, 100, 1),
        _densities(g, 256, 3072, 2),
        hard("a flat density", log_density=0 * normal(g, 3), levels=17, dims=12),
    ],
    passes="density times the width of a cell, for every value, and then in bits.",
)
def bits(log_density: Tensor, levels: int, dims: int) -> Tensor:
    r"""Check `bits(log_density, levels, dims)`: bits per dimension of a level, from a density on [0, 1].

    log_density (n,): nats an image, of `dims` values in [0, 1] -> (n,).

    Example:
        >>> from course import checks
        >>> checks.comparison.bits(lambda log_density, levels, dims: -log_density / (dims * 0.693147))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is the density, not yet a probability...
    """
    return _in_bits(log_density, levels, dims)


bits.wrong = {
    "this is the density, not yet a probability: a cell is 1/K wide along each value, and its width belongs to the "
    "probability.":
        lambda log_density, levels, dims: -log_density / (dims * LN2),
    "your correction has the wrong sign: a cell is narrow, so its probability is smaller than the density, and costs "
    "more bits.":
        lambda log_density, levels, dims: -log_density / (dims * LN2) - math.log2(levels),
    "you correct once an image: a cell is narrow along each of its values, so there is a log K for every one.":
        lambda log_density, levels, dims: (math.log(levels) - log_density) / (dims * LN2),
    "these are nats: a bit is ln 2 nats, so divide by ln 2.":
        lambda log_density, levels, dims: math.log(levels) - log_density / dims,
    "these are bits for the whole image: divide by the number of values.":
        lambda log_density, levels, dims: dims * math.log2(levels) - log_density / LN2,
    "your correction is in nats and the rest in bits: take `math.log2` of the levels.":
        lambda log_density, levels, dims: math.log(levels) - log_density / (dims * LN2),
    "your correction is in bits and the density in nats: divide the density's logarithm by ln 2.":
        lambda log_density, levels, dims: math.log2(levels) - log_density / dims,
    "your cells are 1/(K - 1) wide: K cells fill [0, 1], so each is 1/K wide.":
        lambda log_density, levels, dims: _in_bits(log_density, levels - 1, dims),
    "the sign is wrong: this is a log-probability, and bits are minus that.":
        lambda log_density, levels, dims: -_in_bits(log_density, levels, dims),
    "a high density costs you many bits: likely images should cost few, so subtract it.":
        lambda log_density, levels, dims: _in_bits(-log_density, levels, dims),
    "you multiply by ln 2: from nats to bits you divide.":
        lambda log_density, levels, dims: (math.log(levels) - log_density / dims) * LN2,
    "levels and dims are in each other's place: the third argument is the number of values.":
        lambda log_density, levels, dims: _in_bits(log_density, dims, levels),
    "your correction is in bits already, and you divide it by ln 2 once more: take `math.log` of the levels.":
        lambda log_density, levels, dims: (math.log2(levels) - log_density / dims) / LN2,
    "you divide by the number of images: divide by the number of values.":
        lambda log_density, levels, dims: dims / len(log_density) * _in_bits(log_density, levels, dims),
    "you divide by the levels: the number of values is `dims`.":
        lambda log_density, levels, dims: math.log2(levels) - log_density / (levels * LN2),
    "your correction is the number of levels: it is its logarithm.":
        lambda log_density, levels, dims: levels - log_density / (dims * LN2),
}  # fmt: skip


# ---------------------------------------------------------------- 3. two divergences


def _tables(
    g: torch.Generator, m: int, p_lacks: Any = (), q_lacks: Any = (), rare: float = -math.inf
) -> dict:
    tables = []
    for lacks in (p_lacks, q_lacks):
        logits = 1.5 * normal(g, m)
        logits[list(lacks)] = rare
        tables.append(softmax(logits, dim=0))
    return {"p": tables[0], "q": tables[1]}


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (xlogy(p, p) - xlogy(p, q)).sum()


def _both(made: Any) -> Any:
    """A mistake in each direction."""
    return lambda p, q: (made(p, q), made(q, p))


def _where_both(p: Tensor, q: Tensor) -> Tensor:
    both = (p > 0) & (q > 0)
    return _kl(p[both], q[both])


def _jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    return (_kl(p, (p + q) / 2) + _kl(q, (p + q) / 2)) / 2


@step(
    lambda g: [
        tame("tables without zeros", **_tables(g, 6)),
        tame("two larger tables", **_tables(g, 11)),
        hard("two equal tables", p=(table := _tables(g, 4)["p"]), q=table.clone()),
        extreme("a p with zeros", **_tables(g, 5, [1, 3])),
        extreme("a q with zeros", **_tables(g, 5, [], [0])),
        extreme("tables that share their zeros", **_tables(g, 7, [2, 6], [2, 6])),
        extreme("tables with zeros here and there", **_tables(g, 6, [0, 4], [4, 5])),
        extreme("entries that hardly ever come", **_tables(g, 5, [1], [2, 3], rare=-25.0)),
    ],
    results=("KL(p || q)", "KL(q || p)"),
    passes="each direction weighs by its own table, and a gap in the other costs without end.",
)
def divergences(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `divergences(p, q)`: $KL(p \,\|\, q)$ and $KL(q \,\|\, p)$ of two tables, in nats.

    p (m,), q (m,), each summing to 1, with zeros -> two numbers, or infinity.

    Example:
        >>> from course import checks
        >>> checks.comparison.divergences(lambda p, q: ((q * (q / p).log()).sum(), (p * (p / q).log()).sum()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the two are swapped...
    """
    return _kl(p, q), _kl(q, p)


divergences.wrong = {
    "the two are swapped: KL(p || q) comes first, which weighs by p.": lambda p, q: (_kl(q, p), None),
    "the sign of your KL is wrong: it is never negative. p belongs above q in the logarithm.":
        lambda p, q: (-_kl(p, q), None),
    "this is in bits: take the natural logarithm.": lambda p, q: (_kl(p, q) / LN2, None),
    "you average over the table: p already weighs its entries, so sum.": lambda p, q: (_kl(p, q) / len(p), None),
    "this is the cross-entropy: the entropy of p is still in it. KL(p || p) must be 0.":
        lambda p, q: (-xlogy(p, q).sum(), None),
    "this is minus the entropy of p: the logarithm is of p / q.": lambda p, q: (xlogy(p, p).sum(), None),
    "you subtract two entropies: p weighs both logarithms, that of p and that of q.":
        lambda p, q: (xlogy(p, p).sum() - xlogy(q, q).sum(), None),
    "in the first you weigh by q: p belongs in front of log(p / q).": lambda p, q: (-_kl(q, p), None),
    "the weights are missing: each logarithm counts as often as p draws its entry.":
        lambda p, q: ((p / q).log().sum(), None),
    "you average the two directions: return them one by one, for they say different things.":
        lambda p, q: ((_kl(p, q) + _kl(q, p)) / 2, None),
    "you take absolute values inside the sum: entries where q is larger count against the others.":
        lambda p, q: ((p * (p / q).log()).abs().sum(), None),
    "this is the total variation: half the sum of differences has no logarithm in it.":
        lambda p, q: ((p - q).abs().sum() / 2, None),
    "this is the Jensen-Shannon divergence of lesson GAN: here each is compared with the other, not with their mean.":
        lambda p, q: (_jensen_shannon(p, q), None),
    "you leave out entries where one of the two is 0. Where p is 0 that is right. But what p draws and q never does "
    "costs infinitely much.":
        lambda p, q: (_where_both(p, q), None),
    "a zero in either table makes both of yours infinite: what p never draws adds nothing to KL(p || q).":
        _both(lambda p, q: _kl(p, q) + (math.inf if (p == 0).any() or (q == 0).any() else 0)),
    "right for tables without zeros, but a zero makes a NaN: what p never draws adds nothing, so 0 log 0 is 0. "
    "`torch.xlogy` knows.":
        _both(lambda p, q: (p * (p / q).log()).sum()),
    "your two results are the same: the second is KL(q || p), which weighs by q.": lambda p, q: (None, _kl(p, q)),
    "in the second you turned the fraction and kept the weights: it weighs by q.": lambda p, q: (None, -_kl(p, q)),
    "in the second you weigh by q and kept the fraction: its logarithm is of q / p.":
        lambda p, q: (None, -_kl(q, p)),
    "in the second you leave out what q draws and p never does: it costs infinitely much.":
        lambda p, q: (None, _where_both(q, p)),
    "this compares with the mean of the two, as in the Jensen-Shannon divergence: compare each with the other.":
        _both(lambda p, q: _kl(p, (p + q) / 2)),
    "you take a softmax of probabilities: they sum to one as they are.":
        _both(lambda p, q: _kl(softmax(p, 0), softmax(q, 0))),
}  # fmt: skip


# ---------------------------------------------------------------- 4. a mixture with noise


def _good_and_noise(g: torch.Generator, n: int, weight: float, size: float, apart: float = 3.0) -> dict:  # fmt: skip
    log_p, log_noise = (-size + normal(g, n) / 2 for _ in range(2))
    log_p[::2] += apart  # images of p, and of the noise
    log_p[1::2] -= apart
    return {"log_p": log_p, "log_noise": log_noise, "weight": weight}


def _impossible(g: torch.Generator) -> dict:
    given = _good_and_noise(g, 5, 0.2, 20.0)
    given["log_p"][1], given["log_noise"][2] = -math.inf, -math.inf
    return given


def _mixed(log_p: Tensor, log_noise: Tensor, weight: float) -> Tensor:
    return logaddexp(log_p + math.log(weight), log_noise + math.log1p(-weight))


@step(
    lambda g: [
        tame("small images", **_good_and_noise(g, 6, 0.3, 5.0)),
        tame("a small weight", **_good_and_noise(g, 4, 0.001, 8.0)),
        hard("a single image", **_good_and_noise(g, 1, 0.9, 4.0)),
        extreme("images with very small probabilities", **_good_and_noise(g, 5, 0.01, 3000.0)),
        extreme("a model and noise that differ by a thousand nats", **_good_and_noise(g, 6, 0.4, 2000.0, 1000.0)),
        extreme("densities, which may be large", **_good_and_noise(g, 4, 0.25, -1500.0)),
        extreme("images that the model or the noise never draws", **_impossible(g)),
    ],
    passes="the mixture lies at most log(1/w) below p, whatever the noise.",
)  # fmt: skip
def mixture(log_p: Tensor, log_noise: Tensor, weight: float) -> Tensor:
    r"""Check `mixture(log_p, log_noise, weight)`: $\log (w\, p(x) + (1 - w)\, q(x))$ without underflow.

    log_p (n,), log_noise (n,), weight in (0, 1) -> (n,).

    Example:
        >>> from course import checks
        >>> checks.comparison.mixture(lambda log_p, log_noise, w: w * log_p + (1 - w) * log_noise)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you average logarithms...
    """
    return _mixed(log_p, log_noise, weight)


mixture.wrong = {
    "you average logarithms: a mixture averages probabilities, and the logarithm comes after.":
        lambda log_p, log_noise, w: w * log_p + (1 - w) * log_noise,
    "the weights are swapped: `weight` belongs to p, the rest to the noise.":
        lambda log_p, log_noise, w: _mixed(log_noise, log_p, w),
    "there are no weights in your mixture: w p + (1 - w) q.":
        lambda log_p, log_noise, w: logaddexp(log_p, log_noise),
    "the noise has no weight: what is left for it is 1 - w.":
        lambda log_p, log_noise, w: logaddexp(log_p + math.log(w), log_noise),
    "p has no weight: it gets w.":
        lambda log_p, log_noise, w: logaddexp(log_p, log_noise + math.log1p(-w)),
    "you multiply logarithms by the weights: a weight on a probability is *added*, as log w, to its logarithm.":
        lambda log_p, log_noise, w: logaddexp(w * log_p, (1 - w) * log_noise),
    "you add the weights to logarithms as they are: add their logarithms.":
        lambda log_p, log_noise, w: logaddexp(log_p + w, log_noise + 1 - w),
    "you subtract the logarithms of the weights, which divides by the weights: add them.":
        lambda log_p, log_noise, w: logaddexp(log_p - math.log(w), log_noise - math.log1p(-w)),
    "you take powers of 2 where the logarithms are in nats: `torch.logaddexp` and `math.log`.":
        lambda log_p, log_noise, w: torch.logaddexp2(log_p + math.log2(w), log_noise + math.log2(1 - w)),
    "you take the larger of the two parts: their probabilities add up.":
        lambda log_p, log_noise, w: maximum(log_p + math.log(w), log_noise + math.log1p(-w)),
    "this is the part of p alone, the bound from below: add the part of the noise.":
        lambda log_p, log_noise, w: log_p + math.log(w),
    "this is the part of the noise alone: add that of p.":
        lambda log_p, log_noise, w: log_noise + math.log1p(-w),
    "your mixture is half and half: it has the weights w and 1 - w.":
        lambda log_p, log_noise, w: logaddexp(log_p, log_noise) - LN2,
    "both parts have the weight w: what is left for the noise is 1 - w.":
        lambda log_p, log_noise, w: logaddexp(log_p, log_noise) + math.log(w),
    "the logarithm at the end is missing: this is the probability itself.":
        lambda log_p, log_noise, w: _mixed(log_p, log_noise, w).exp(),
    "you add logarithms, which multiplies the probabilities: a mixture adds them.":
        lambda log_p, log_noise, w: log_p + math.log(w) + log_noise + math.log1p(-w),
    "the sign is wrong: this is minus the log-likelihood.":
        lambda log_p, log_noise, w: -_mixed(log_p, log_noise, w),
    "right for small images, but exp(-3000) is 0 in any floating-point number, and its logarithm -inf: stay in "
    "log-space, with `torch.logaddexp`.":
        lambda log_p, log_noise, w: (w * log_p.exp() + (1 - w) * log_noise.exp()).log(),
    "a ratio of two probabilities overflows where they differ by a thousand nats: take the larger of the two out, as "
    "`torch.logaddexp` does.":
        lambda log_p, log_noise, w: log_p + (w + (1 - w) * (log_noise - log_p).exp()).log(),
}  # fmt: skip


# ---------------------------------------------------------------- 5. entropy of counts


def _counts(g: torch.Generator, m: int, zeros: int) -> dict[str, Tensor]:
    counts = 1 + randint(0, 4, (m,), generator=g) + 8 * arange(m)
    counts[randperm(m, generator=g)[:zeros]] = 0
    return {"counts": counts}


def _shares(counts: Tensor) -> Tensor:
    return counts.double() / counts.sum()


def _plain(counts: Tensor) -> Tensor:
    return -xlogy(_shares(counts), _shares(counts)).sum()


def _correction(counts: Tensor) -> Tensor:
    return ((counts > 0).sum() - 1) / (2 * counts.sum())


@step(
    lambda g: [
        tame("5 kinds, all seen", **_counts(g, 5, 0)),
        tame(
            "4 kinds, all seen, one of them once",
            counts=tensor([1, 4, 4, 7])[randperm(4, generator=g)],
        ),
        hard("a single kind", **_counts(g, 1, 0)),
        extreme("2000 kinds, each seen once", counts=torch.ones(2000).long()),
        extreme("9 kinds, 3 of them never seen", **_counts(g, 9, 3)),
        extreme("4 kinds, 2 of them never seen", **_counts(g, 4, 2)),
        extreme("4 kinds, of which one comes always", **_counts(g, 4, 3)),
    ],
    results=("the plain entropy", "the corrected entropy"),
    passes="shares weigh their logarithms, and what is missing on average comes on top.",
)
def entropy(counts: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `entropy(counts)`: the entropy of the shares in nats, plain and with Miller's correction.

    counts (m,) int64, some of them 0 -> two numbers.

    Example:
        >>> from course import checks
        >>> checks.comparison.entropy(lambda counts: (counts * counts.log(), counts.sum()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: `entropy` returns torch.int64 as the corrected entropy...
    """
    return _plain(counts), _plain(counts) + _correction(counts)


entropy.wrong = {
    "the corrected entropy comes first in your answer: return the plain one before it.":
        lambda counts: (_plain(counts) + _correction(counts), None),
    "this is in bits: take the natural logarithm.": lambda counts: (_plain(counts) / LN2, None),
    "the sign of your entropy is wrong: logarithms of shares are negative, so put a minus in front.":
        lambda counts: (-_plain(counts), None),
    "you work with the counts as they are: divide them by their sum, so that they are shares.":
        lambda counts: (-xlogy(counts.double(), counts.double()).sum(), None),
    "you average over the table: the shares already weigh their logarithms, so sum.":
        lambda counts: (_plain(counts) / len(counts), None),
    "this is the logarithm of how many kinds were seen: only where all are equally frequent that is the entropy.":
        lambda counts: ((counts > 0).sum().double().log(), None),
    "you add 1 to every count: the plain estimate takes them as they are.": lambda counts: (_plain(counts + 1), None),
    "this is the exponential of the entropy: leave the logarithm.": lambda counts: (_plain(counts).exp(), None),
    "the shares are missing in front of the logarithms: each counts as often as it comes.":
        lambda counts: (-_shares(counts)[counts > 0].log().sum(), None),
    "you multiply counts by logarithms of shares, which is N times the entropy: weigh by shares.":
        lambda counts: (_plain(counts) * counts.sum(), None),
    "you sum squares of shares: the entropy weighs logarithms.":
        lambda counts: (-_shares(counts).square().sum().log(), None),
    "right where every kind is seen, but a count of 0 makes a NaN: what never comes adds nothing, so 0 log 0 is 0. "
    "`torch.xlogy` knows.":
        lambda counts: (-(_shares(counts) * _shares(counts).log()).sum(), None),
    "you subtract the correction: the plain entropy comes out too small, so add it.":
        lambda counts: (None, _plain(counts) - _correction(counts)),
    "your correction counts all kinds of the table: m is how many were seen at least once.":
        lambda counts: (None, _plain(counts) + (len(counts) - 1) / (2 * counts.sum())),
    "your correction has m where it should have m - 1.":
        lambda counts: (None, _plain(counts) + (counts > 0).sum() / (2 * counts.sum())),
    "the 2 below your correction is missing: (m - 1) / (2 N).":
        lambda counts: (None, _plain(counts) + 2 * _correction(counts)),
    "this is the correction alone: add it to the plain entropy.": lambda counts: (None, _correction(counts)),
    "your two results are the same: the second has the correction added.": lambda counts: (None, _plain(counts)),
    "you multiply by N / 2: brackets around 2 N, (m - 1) / (2 * N).":
        lambda counts: (None, _plain(counts) + _correction(counts) * counts.sum().square()),
    "your correction divides by the length of the table: N is how many samples were counted.":
        lambda counts: (None, _plain(counts) + ((counts > 0).sum() - 1) / (2 * len(counts))),
    "you divide the plain entropy too by 2 N: brackets around (m - 1) / (2 N) alone.":
        lambda counts: (None, (_plain(counts) + (counts > 0).sum() - 1) / (2 * counts.sum())),
    "your N is the sum of the shares, which is 1: it is the sum of the counts.":
        lambda counts: (None, _plain(counts) + _correction(counts) * counts.sum()),
    "you count kinds that were seen twice or more: once is enough.":
        lambda counts: (None, _plain(counts) + ((counts > 1).sum() - 1) / (2 * counts.sum())),
    "you divide 1 alone by 2 N: brackets around m - 1.":
        lambda counts: (None, _plain(counts) + (counts > 0).sum() - 1 / (2 * counts.sum())),
    "your m is the largest count: it is how many kinds were seen.":
        lambda counts: (None, _plain(counts) + (counts.max() - 1) / (2 * counts.sum())),
    "your m is the number of samples: it is how many kinds were seen.":
        lambda counts: (None, _plain(counts) + (counts.sum() - 1) / (2 * counts.sum())),
    "you take a softmax of the counts: their shares are the counts over their sum.":
        lambda counts: (_plain(softmax(counts.double(), 0)), None),
}  # fmt: skip


# ---------------------------------------------------------------- 6. precision and recall


def _points(g: torch.Generator, n: int, m: int, d: int, k: int) -> dict[str, Any]:
    real = normal(g, n, d)
    spread = linspace(0.3, 2.5, m)[:, None].to(real)  # close together, and far apart
    return {"real": real, "fake": 0.7 + spread * normal(g, m, d), "k": k}


def _on_a_line(g: torch.Generator) -> dict[str, Any]:
    """Whole numbers: real ones that are equal, and fakes that lie on the edge of a ball."""
    start = randint(0, 9, (1, 1), generator=g).to(torch.get_default_dtype())
    real, fake = tensor([0, 0, 1, 3, 7, 7, 12]), tensor([-3, -1, 5, 17, 20])
    return {"real": start + real[:, None], "fake": start + fake[:, None], "k": 2}


def _radii(balls: Tensor, k: int) -> Tensor:
    return cdist(balls, balls).kthvalue(k + 1, dim=1).values


def _hits(x: Tensor, balls: Tensor, k: int) -> Tensor:
    """Which x lies in which ball, (len(x), len(balls))."""
    return cdist(x, balls) <= _radii(balls, k)


def _within(x: Tensor, balls: Tensor, k: int) -> Tensor:
    return _hits(x, balls, k).any(dim=1).to(x).mean()


def _of_radius(made: Any) -> Any:
    """Precision with other radii, made of the distances (n, n) among the balls and k."""
    return lambda real, fake, k: (
        (cdist(fake, real) <= made(cdist(real, real), k)).any(dim=1).to(real).mean(), None
    )  # fmt: skip


def _of_hits(made: Any) -> Any:
    """Precision made in another way of which fake lies in which ball, (m, n)."""
    return lambda real, fake, k: (made(_hits(fake, real, k)).to(real).mean(), None)


def _nearest_ball(real: Tensor, fake: Tensor, k: int) -> tuple:
    distance, ball = cdist(fake, real).min(dim=1)
    return (distance <= _radii(real, k)[ball]).to(real).mean(), None


@step(
    lambda g: [
        tame("points in the plane", **_points(g, 80, 70, 2, 3)),
        tame("k = 1", **_points(g, 60, 65, 2, 1)),
        tame("features of 8 numbers", **_points(g, 60, 60, 8, 5)),
        hard("few points on a line, and all are neighbours", **_points(g, 4, 6, 1, 3)),
        hard("whole numbers, some of them twice", **_on_a_line(g)),
    ],
    results=("precision", "recall"),
    passes="fakes within the balls of real ones, and real ones within the balls of fakes.",
)
def precision_recall(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
    r"""Check `precision_recall(real, fake, k)`: shares within balls that reach to the k-th neighbour.

    real (n, d), fake (m, d) -> two numbers in [0, 1].

    Example:
        >>> from course import checks
        >>> def recall_first(real, fake, k):
        ...     return genlib.metrics.precision_recall(fake, real, k=k)
        >>> import genlib.metrics
        >>> checks.comparison.precision_recall(recall_first)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the two are swapped...
    """
    return _within(fake, real, k), _within(real, fake, k)


precision_recall.wrong = {
    "the two are swapped: precision comes first, the share of fakes within the balls around real ones.":
        lambda real, fake, k: (_within(real, fake, k), None),
    "you count a point as its own nearest neighbour: it is the first of the sorted distances, at 0, so the k-th other "
    "one is the (k + 1)-th.":
        _of_radius(lambda among, k: among.kthvalue(k, dim=1).values),
    "you leave a point itself out by its distance 0, but `torch.cdist` rounds, and of many points finds a little more: "
    "leave it out by its place.":
        _of_radius(lambda among, k: among.masked_fill(among == 0, math.inf).kthvalue(k, dim=1).values),
    "your balls reach one neighbour too far: with the point itself left out, the k-th smallest is `kthvalue(k)`.":
        _of_radius(lambda among, k: among.fill_diagonal_(math.inf).kthvalue(k + 1, dim=1).values),
    "all your balls have one size, the mean of the radii: each reaches to its own k-th neighbour.":
        _of_radius(lambda among, k: among.kthvalue(k + 1, dim=1).values.mean()),
    "all your balls are as large as the largest: each reaches to its own k-th neighbour.":
        _of_radius(lambda among, k: among.kthvalue(k + 1, dim=1).values.max()),
    "your radius is the mean distance to the k nearest: it is the distance to the k-th.":
        _of_radius(lambda among, k: among.sort(dim=1).values[:, 1 : k + 1].mean(dim=1)),
    "your balls end before their edge: a point at the distance r is inside, `<=`.":
        lambda real, fake, k: ((cdist(fake, real) < _radii(real, k)).any(dim=1).to(real).mean(), None),
    "you compare with the radius of the fake: it is the ball of the real one that it must lie in.":
        lambda real, fake, k: ((cdist(fake, real).amin(1) <= _radii(fake, k)).to(real).mean(), None),
    "your radius is the distance to the k-th fake: it is that to the k-th other real example.":
        lambda real, fake, k: (
            (cdist(fake, real) <= cdist(real, fake).kthvalue(k, dim=1).values).any(dim=1).to(real).mean(), None
        ),
    "your radius is one of the largest distances: the nearest are wanted, `topk(..., largest=False)`.":
        _of_radius(lambda among, k: among.topk(k + 1, dim=1).values[:, -1]),
    "your radius is the k-th largest distance: the nearest are wanted, `topk(..., largest=False)`.":
        _of_radius(lambda among, k: among.topk(k, dim=1).values[:, -1]),
    "you add up absolute differences: take the Euclidean distance.":
        lambda real, fake, k: (
            (cdist(fake, real, 1) <= cdist(real, real, 1).kthvalue(k + 1, dim=1).values).any(1).to(real).mean(), None
        ),
    "you count a fake once for every ball that it lies in: one is enough, `.any(dim=1)`.":
        lambda real, fake, k: (_hits(fake, real, k).sum(1).to(real).mean(), None),
    "you divide the balls that each fake lies in by k (the density of Naeem et al., 2020): one ball is enough.":
        lambda real, fake, k: (_hits(fake, real, k).sum(1).to(real).mean() / k, None),
    "you compare squares of distances with radii that are not squared: both or neither.":
        lambda real, fake, k: (
            (cdist(fake, real).square() <= _radii(real, k)).any(dim=1).to(real).mean(), None
        ),
    "you count balls that have a fake inside: precision is a share of the fakes.": _of_hits(lambda hits: hits.any(0)),
    "you average over the balls too: a fake that lies in one of them counts as one, `.any(dim=1)`.":
        _of_hits(lambda hits: hits),
    "you ask for fakes that lie in every ball: one is enough, `.any(dim=1)`.": _of_hits(lambda hits: hits.all(1)),
    "you ask the nearest real example only: one that is farther may have a larger ball.": _nearest_ball,
    "this is a number of fakes: divide by how many there are.":
        lambda real, fake, k: (_within(fake, real, k) * len(fake), None),
    "you count the fakes outside of all balls: precision is the share inside.":
        lambda real, fake, k: (1 - _within(fake, real, k), None),
    "both results are the precision: for recall the balls are around the fakes, and the real ones are counted.":
        lambda real, fake, k: (None, _within(fake, real, k)),
    "for recall you count the balls around real examples that have a fake inside. That is the coverage of Naeem et al. "
    "(2020): here the balls are around the fakes.":
        lambda real, fake, k: (None, _hits(fake, real, k).any(dim=0).to(real).mean()),
    "for recall you count the fakes whose balls have a real example inside: count the real ones.":
        lambda real, fake, k: (None, _hits(real, fake, k).any(dim=0).to(real).mean()),
    "for recall you look for real examples in balls around real ones, and each lies in its own: the balls are around "
    "the fakes.":
        lambda real, fake, k: (None, _within(real, real, k)),
    "your recall is 1 minus the precision: the two are independent questions, and both may be high.":
        lambda real, fake, k: (None, 1 - _within(fake, real, k)),
    "in recall a fake counts as its own nearest neighbour: the k-th other one is the (k + 1)-th.":
        lambda real, fake, k: (None, _within(real, fake, k - 1)),
}  # fmt: skip


# ---------------------------------------------------------------- 7. a speed-up


def _timings(g: torch.Generator, n: int, seconds: float = 0.5) -> dict[str, Tensor]:
    slow, fast = (
        size * (1 + normal(g, n).abs()) for size in (seconds, seconds / 10)
    )  # no run takes less
    slow[0], fast[0] = 4 * slow[0], 9 * fast[0]  # the first runs warm up
    slow[2 % n], fast[1 % n] = (
        20 * slow[2 % n],
        30 * fast[1 % n],
    )  # and others wait for another program
    return {"slow": slow, "fast": fast}  # fmt: skip


def _ratio(slow: Tensor, fast: Tensor) -> Tensor:
    return quantile(slow, 0.5) / quantile(fast, 0.5)


@step(
    lambda g: [
        tame("6 runs of each", **_timings(g, 6)),
        tame("7 runs of each", **_timings(g, 7)),
        hard("2 runs of each", **_timings(g, 2)),
        hard("a single run of each", **_timings(g, 1)),
        hard("a second that is slower", slow=_timings(g, 5)["fast"], fast=_timings(g, 5)["slow"]),
        extreme("runs of nanoseconds", **_timings(g, 5, seconds=2e-9)),
    ],
    passes="medians forgive the run that was disturbed, and a ratio forgives a slow machine.",
)
def speed_up(slow: Tensor, fast: Tensor) -> Tensor:
    r"""Check `speed_up(slow, fast)`: the ratio of two medians of timings.

    slow (n,), fast (n,): seconds -> a number, 10 where the second is ten times as fast.

    Example:
        >>> from course import checks
        >>> checks.comparison.speed_up(lambda slow, fast: slow.mean() / fast.mean())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you compare means...
    """
    return _ratio(slow, fast)


def _in_order(place: Any) -> Any:
    """The ratio of the timings at some place, once they are sorted."""
    return lambda slow, fast: slow.sort().values[place(len(slow))] / fast.sort().values[place(len(fast))]  # fmt: skip


speed_up.wrong = {
    "you divide a median by a mean: take the median of both.": lambda slow, fast: quantile(slow, 0.5) / fast.mean(),
    "you compare geometric means: one run that was disturbed still moves them. Take medians.":
        lambda slow, fast: (slow.log().mean() - fast.log().mean()).exp(),
    "you take the median of the ratios of all pairs: take each median first.":
        lambda slow, fast: quantile((slow[:, None] / fast).flatten(), 0.5),
    "you compare means, or sums: one run that was disturbed moves them. Take medians.":
        lambda slow, fast: slow.mean() / fast.mean(),
    "your ratio is upside down: it is above 1 where the second is faster.": lambda slow, fast: _ratio(fast, slow),
    "of an even number of timings you take the lower of the two in the middle, as `torch.median` does: take their "
    "mean, as `torch.quantile(x, 0.5)` does.":
        _in_order(lambda n: (n - 1) // 2),
    "of an even number of timings you take the upper of the two in the middle: take their mean.":
        _in_order(lambda n: n // 2),
    "you average ratios, run by run: the runs are not pairs. Take each median first.":
        lambda slow, fast: (slow / fast).mean(),
    "you take the median of ratios, run by run: the runs are not pairs. Take each median first.":
        lambda slow, fast: quantile(slow / fast, 0.5),
    "this is the difference in seconds: a speed-up is a ratio, the same on a faster machine.":
        lambda slow, fast: quantile(slow, 0.5) - quantile(fast, 0.5),
    "this is the share of time that is saved: a speed-up is the ratio of the times.":
        lambda slow, fast: 1 - _ratio(fast, slow),
    "you subtract 1: ten times as fast is 10.": lambda slow, fast: _ratio(slow, fast) - 1,
    "you compare the best runs: a minimum falls the longer you try. Take medians.": _in_order(lambda n: 0),
    "you compare the worst runs: these say most about what else the machine did. Take medians.":
        _in_order(lambda n: -1),
    "you compare the first runs alone, and they are often slow: take medians over all.":
        lambda slow, fast: slow[0] / fast[0],
    "you throw the first run away: the median need not be told which run was disturbed.":
        lambda slow, fast: _ratio(slow[1:], fast[1:]),
    "this is a logarithm: return the ratio itself.": lambda slow, fast: _ratio(slow, fast).log(),
    "you take the element in the middle without sorting: sort the timings first.":
        lambda slow, fast: slow[len(slow) // 2] / fast[len(fast) // 2],
}  # fmt: skip


# ---------------------------------------------------------------- 8. who is not beaten

LEVELS = tensor(
    [
        [4, 1, 2],  # best in a column
        [4, 1, 2],  # and once more
        [4, 1, 1],  # beaten, but equal in two columns
        [3, 3, 3],  # unbeaten, and nowhere best
        [0, 4, 0],
        [1, 0, 4],
        [2, 2, 2],  # beaten everywhere
        [0, 0, 0],
    ]
)
# 0 has no likelihood; the second row is beaten by one that has none either, and by no other
NO_LIKELIHOOD = tensor([[0, 4], [0, 3], [2, 2], [1, 2], [3, 1], [3, 0]])


def _any_units(g: torch.Generator, whole: Tensor, lowest: float | None = None) -> dict[str, Tensor]:
    steps = normal(g, 5, whole.shape[1]).sort(dim=0).values
    if lowest is not None:
        steps[:, 0] -= 5000  # nats of large images
        steps[0, 0] = lowest
    table = steps.gather(0, whole)
    return {"table": table[randperm(len(table), generator=g)]}


def _one_best(g: torch.Generator) -> dict[str, Tensor]:
    table = normal(g, 5, 2)
    table[-1] = table.amax(dim=0) + 1
    return {"table": table}


def _compared(table: Tensor) -> tuple[Tensor, Tensor]:
    """[i, j, c]: is row j at least as good as row i, or better, in column c?"""
    return table[None] >= table[:, None], table[None] > table[:, None]


def _beats(table: Tensor) -> Tensor:
    """[i, j]: does row j beat row i?"""
    as_good, better = _compared(table)
    return as_good.all(dim=2) & better.any(dim=2)


def _wins_more(table: Tensor) -> Tensor:
    better = _compared(table)[1].sum(dim=2)
    return ~(better > better.T).any(dim=1)


def _best_mean_rank(table: Tensor) -> Tensor:
    rank = _compared(table)[1].sum(dim=1).sum(dim=1)  # how many are better, over all columns
    return rank == rank.min()


def _which_row(case: Case, got: Tensor, want: Tensor) -> str | None:
    table = case.arguments["table"]
    beats = _beats(table)
    row, digits = (
        int((got != want).nonzero()[0]),
        7 if "digit" in case.label or "hair" in case.label else 2,
    )
    if not beats[row].any():
        return f"for {case.label} no row beats row {row}, {_row(table[row], digits)}, and you call it beaten."
    by = int(beats[row].nonzero()[0])
    told = f"for {case.label} you call row {row} unbeaten, {_row(table[row], digits)}"
    return f"{told}, but row {by} beats it, {_row(table[by], digits)}."


def _row(values: Tensor, digits: int) -> str:
    return "(" + ", ".join(f"{value:.{digits}f}" for value in values.tolist()) + ")"


@step(
    lambda g: [
        tame("8 rows with ties", **_any_units(g, LEVELS)),
        tame("12 rows of 2 columns", table=normal(g, 12, 2)),
        tame("a table with one best row", **_one_best(g)),
        hard("a single row", table=normal(g, 1, 3)),
        hard("a single column", **_any_units(g, LEVELS[:, :1])),
        hard("rows that differ in the fourth digit", table=5 + normal(g, 9, 2) / 1000),
        hard("a lead by a hair", table=tensor([[1.0, 2.0], [1.0 + 3e-7, 2.0]])),
        hard("rows that are all equal", table=normal(g, 1, 2).repeat(3, 1)),
        hard("rows without a likelihood, -inf", **_any_units(g, NO_LIKELIHOOD, -math.inf)),
    ],
    zeros="Or is every row beaten by itself? One that is as good everywhere must also be better somewhere.",
    probe=_which_row,
    passes="a row is out when another is nowhere worse and somewhere better.",
)
def unbeaten(table: Tensor) -> Tensor:
    r"""Check `unbeaten(table)`: rows that no other row is at least as good as everywhere, and better once.

    table (m, c), larger is better, with ties and -inf -> (m,) of True and False.

    Example:
        >>> from course import checks
        >>> checks.comparison.unbeaten(lambda table: (table == table.amax(dim=0)).any(dim=1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you keep the best of each column...
    """
    return ~_beats(table).any(dim=1)


unbeaten.wrong = {
    "you return the rows that *are* beaten: turn it round.": lambda table: _beats(table).any(dim=1),
    "you keep the rows that beat no other: is smaller better for you, or does your last `.any` go along axis 0?":
        lambda table: ~_beats(table).any(dim=0),
    "for you a row is beaten only by one that is better in every column: to be as good in some and better in one is "
    "enough.":
        lambda table: ~_compared(table)[1].all(dim=2).any(dim=1),
    "two rows that are equal beat each other: to beat, a row must be better in some column.":
        lambda table: ~(_compared(table)[0].all(dim=2) & ~eye(len(table)).bool()).any(dim=1),
    "you keep the best of each column: a row that is second everywhere may be unbeaten too.":
        lambda table: (table == table.amax(dim=0)).any(dim=1),
    "for you a row that loses one column is out, so that only one which is best everywhere could stay: who beats it "
    "must also be as good in all the others.":
        lambda table: (table == table.amax(dim=0)).all(dim=1),
    "you add up the columns: nats and shares have no common unit.":
        lambda table: table.sum(dim=1) == table.sum(dim=1).max(),
    "you let columns vote: a row is beaten only by one that is nowhere worse.": _wins_more,
    "you look at the first column alone: all of them count.": lambda table: table[:, 0] == table[:, 0].max(),
    "you return the rows that beat another: a row may beat none and be unbeaten, or both beat and be beaten.":
        lambda table: _beats(table).any(dim=0),
    "you rank by places, added over the columns: that is another question. Ask for each row whether another beats it.":
        _best_mean_rank,
    "you keep every row: is each compared with all others, and is one that beats it enough (`any`)?":
        lambda table: zeros_like(table[:, 0]) == 0,
    "you take as beaten what is not best, or not finite: -inf loses its column, and no more.":
        lambda table: ~_beats(table).any(dim=1) & ~isinf(table).any(dim=1),
    "-inf minus -inf is NaN, and sums with -inf are all the same: compare the numbers, no differences and no sums.":
        lambda table: ~(
            ((table[None] - table[:, None]) >= 0).all(2) & ((table[None] - table[:, None]) > 0).any(2)
        ).any(dim=1),
}  # fmt: skip
