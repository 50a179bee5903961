r"""Checks for the exercises of lesson comparison: measures of models, built by hand.

Each takes the student's function and compares it, on inputs of its own, with the right function and with
the wrong ones that students write. It prints one line, or raises `Wrong` with the likely mistake.
Another `seed` gives other inputs and the same verdict.

A measure is a formula, so nothing here is estimated and no verdict depends on luck.
"""

import math
from collections.abc import Sequence

import torch
from torch import (
    Tensor,
    cdist,
    isinf,
    isnan,
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

from course.checking.core import (
    Answer,
    Case,
    Mistakes,
    Right,
    Wrong,
    collect,
    judge,
    judge_parts,
    normal,
    own_random_numbers,
)

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


def difference(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `difference(a, b)`: by how much model a leads, and the standard error of that.

    a (n,), b (n,): $\log p$ of the same n images under two models -> two numbers.

    Example:
        >>> from course import checks
        >>> checks.comparison.difference(lambda a, b: ((a - b).mean(), (a - b).std()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is how much single images scatter...
    """

    def lead(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).mean()

    def error(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).std() / math.sqrt(len(a))

    of_lead: Mistakes = [
        (
            "the sign of the lead is wrong: it is positive where a gives the images more than b.",
            lambda a, b: (b - a).mean(),
        ),
        (
            "your lead is a sum over the images: take the mean.",
            lambda a, b: (a - b).sum(),
        ),
        (
            "you take the absolute value of the lead: its sign says which model is ahead.",
            lambda a, b: (a - b).mean().abs(),
        ),
        (
            "you average absolute differences: where b is ahead on an image, that counts against a.",
            lambda a, b: (a - b).abs().mean(),
        ),
        (
            "this is the mean of a alone: subtract that of b.",
            lambda a, b: a.mean(),
        ),
        (
            "you divide the two means: log-likelihoods are compared by their difference, which is the "
            "logarithm of a ratio of probabilities.",
            lambda a, b: a.mean() / b.mean(),
        ),
        (
            "you take the median of the differences: the lead is their mean.",
            lambda a, b: quantile(a - b, 0.5),
        ),
        (
            "you count the images on which a is ahead: the lead is the mean difference, in nats.",
            lambda a, b: (a > b).to(a).mean(),
        ),
        (
            "the error comes first in your answer: return the lead before it.",
            error,
        ),
    ]
    of_error: Mistakes = [
        (
            "this is how much single images scatter: a mean over n of them scatters less, by the root of n.",
            lambda a, b: (a - b).std(),
        ),
        (
            "this is the error for two models that were measured on different images. Here both saw the "
            "same ones: take the standard deviation of the differences, image by image.",
            lambda a, b: ((a.var() + b.var()) / len(a)).sqrt(),
        ),
        (
            "you add the errors of the two means: take the standard deviation of the differences.",
            lambda a, b: (a.std() + b.std()) / math.sqrt(len(a)),
        ),
        (
            "you subtract one error from the other: take the standard deviation of the differences.",
            lambda a, b: (a.std() - b.std()).abs() / math.sqrt(len(a)),
        ),
        (
            "you divide the standard deviation by n: divide by its root.",
            lambda a, b: (a - b).std() / len(a),
        ),
        (
            "your standard deviation divides by n: with the mean taken from the same numbers it comes out "
            "too small, so divide by n - 1, as `.std()` does.",
            lambda a, b: (a - b).std(correction=0) / math.sqrt(len(a)),
        ),
        (
            "you divide by the root of n - 1, but `.std()` has seen to that already: here it is the root "
            "of n.",
            lambda a, b: (a - b).std() / math.sqrt(len(a) - 1),
        ),
        (
            "this is the square of the error, the variance of the mean: take its root.",
            lambda a, b: (a - b).var() / len(a),
        ),
        (
            "this is the error of the mean of a alone: the lead depends on b too.",
            lambda a, b: a.std() / math.sqrt(len(a)),
        ),
        (
            "your deviation is that of the sums a + b: take that of the differences.",
            lambda a, b: (a + b).std() / math.sqrt(len(a)),
        ),
        (
            "this is 1.96 standard errors, half of an interval of 95 %: return one.",
            lambda a, b: 1.96 * error(a, b),
        ),
        (
            "you divide by the root of 2 n: an image gives one difference, not two.",
            lambda a, b: (a - b).std() / math.sqrt(2 * len(a)),
        ),
        (
            "both your results are the lead: the second is its standard error.",
            lead,
        ),
    ]
    results = ("the lead of a", "its standard error")
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, ahead in (
            ("6 images", 6, 3.0),
            ("2 images", 2, 1.0),
            ("20 images, b ahead", 20, -3.0),
        ):
            image = -50 + 8 * normal(generator, n)  # easy and hard ones, for both models
            swing = 5 * (-1.0) ** torch.arange(n).to(image)  # none is ahead on all of them
            a, b = image + ahead + swing, image + normal(generator, n) / 2
            cases.append(Case(label, {"a": a, "b": b}))
        given = collect("difference", answer, cases, results=results)
        judge_parts("difference", cases, given, ((lead, of_lead), (error, of_error)), results)
    print("Right: image by image, what is hard for both models cancels.")


# ---------------------------------------------------------------- 2. from densities to bits


def bits(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `bits(log_density, levels, dims)`: bits per dimension of a level, from a density on [0, 1].

    log_density (n,): nats an image, of `dims` values in [0, 1] -> (n,).

    Example:
        >>> from course import checks
        >>> checks.comparison.bits(lambda log_density, levels, dims: -log_density / (dims * 0.693147))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is the density, not yet a probability...
    """

    def right(log_density: Tensor, levels: int, dims: int) -> Tensor:
        return math.log2(levels) - log_density / (dims * LN2)

    mistakes: Mistakes = [
        (
            "this is the density, not yet a probability: a cell is 1/K wide along each value, and its "
            "width belongs to the probability.",
            lambda log_density, levels, dims: -log_density / (dims * LN2),
        ),
        (
            "your correction has the wrong sign: a cell is narrow, so its probability is smaller than the "
            "density, and costs more bits.",
            lambda log_density, levels, dims: -log_density / (dims * LN2) - math.log2(levels),
        ),
        (
            "you correct once an image: a cell is narrow along each of its values, so there is a log K for "
            "every one.",
            lambda log_density, levels, dims: (math.log(levels) - log_density) / (dims * LN2),
        ),
        (
            "these are nats: a bit is ln 2 nats, so divide by ln 2.",
            lambda log_density, levels, dims: math.log(levels) - log_density / dims,
        ),
        (
            "these are bits for the whole image: divide by the number of values.",
            lambda log_density, levels, dims: dims * math.log2(levels) - log_density / LN2,
        ),
        (
            "your correction is in nats and the rest in bits: take `math.log2` of the levels.",
            lambda log_density, levels, dims: math.log(levels) - log_density / (dims * LN2),
        ),
        (
            "your correction is in bits and the density in nats: divide the density's logarithm by ln 2.",
            lambda log_density, levels, dims: math.log2(levels) - log_density / dims,
        ),
        (
            "your cells are 1/(K - 1) wide: K cells fill [0, 1], so each is 1/K wide.",
            lambda log_density, levels, dims: math.log2(levels - 1) - log_density / (dims * LN2),
        ),
        (
            "the sign is wrong: this is a log-probability, and bits are minus that.",
            lambda log_density, levels, dims: -right(log_density, levels, dims),
        ),
        (
            "a high density costs you many bits: likely images should cost few, so subtract it.",
            lambda log_density, levels, dims: math.log2(levels) + log_density / (dims * LN2),
        ),
        (
            "your correction is 8 bits, for 256 levels: it is log2 of the levels that are given.",
            lambda log_density, levels, dims: 8 - log_density / (dims * LN2),
        ),
        (
            "you multiply by ln 2: from nats to bits you divide.",
            lambda log_density, levels, dims: (math.log(levels) - log_density / dims) * LN2,
        ),
        (
            "you divide by the levels: the number of values is `dims`.",
            lambda log_density, levels, dims: math.log2(levels) - log_density / (levels * LN2),
        ),
        (
            "your correction is the number of levels: it is its logarithm.",
            lambda log_density, levels, dims: levels - log_density / (dims * LN2),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = [
            Case(
                f"{levels} levels and {dims} values",
                {
                    "log_density": dims * (1 + normal(generator, n) / 2),
                    "levels": levels,
                    "dims": dims,
                },
            )
            for levels, dims, n in ((16, 64, 4), (3, 5, 6), (2, 100, 1))
        ]
        given = collect("bits", answer, cases)
        judge("bits", cases, given, right, mistakes)
    print("Right: density times the width of a cell, for every value, and then in bits.")


# ---------------------------------------------------------------- 3. two divergences


def divergences(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `divergences(p, q)`: $KL(p \,\|\, q)$ and $KL(q \,\|\, p)$ of two tables, in nats.

    p (m,), q (m,), each summing to 1, with zeros -> two numbers, or infinity.

    Example:
        >>> from course import checks
        >>> checks.comparison.divergences(lambda p, q: ((q * (q / p).log()).sum(), (p * (p / q).log()).sum()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the two are swapped...
    """

    def kl(p: Tensor, q: Tensor) -> Tensor:
        return (xlogy(p, p) - xlogy(p, q)).sum()

    def backwards(p: Tensor, q: Tensor) -> Tensor:
        return kl(q, p)

    def on_both(p: Tensor, q: Tensor) -> Tensor:
        both = (p > 0) & (q > 0)
        return kl(p[both], q[both])

    of_first: Mistakes = [
        (
            "the two are swapped: KL(p || q) comes first, which weighs by p.",
            backwards,
        ),
        (
            "the sign of your KL is wrong: it is never negative. p belongs above q in the logarithm.",
            lambda p, q: -kl(p, q),
        ),
        (
            "this is in bits: take the natural logarithm.",
            lambda p, q: kl(p, q) / LN2,
        ),
        (
            "you average over the table: p already weighs its entries, so sum.",
            lambda p, q: kl(p, q) / len(p),
        ),
        (
            "this is the cross-entropy: the entropy of p is still in it. KL(p || p) must be 0.",
            lambda p, q: -xlogy(p, q).sum(),
        ),
        (
            "this is minus the entropy of p: the logarithm is of p / q.",
            lambda p, q: xlogy(p, p).sum(),
        ),
        (
            "the weights are missing: each logarithm counts as often as p draws its entry.",
            lambda p, q: (p / q).log().sum(),
        ),
        (
            "you average the two directions: return them one by one, for they say different things.",
            lambda p, q: (kl(p, q) + kl(q, p)) / 2,
        ),
        (
            "you take absolute values inside the sum: entries where q is larger count against the others.",
            lambda p, q: (p * (p / q).log()).abs().sum(),
        ),
        (
            "this is the total variation: half the sum of differences has no logarithm in it.",
            lambda p, q: (p - q).abs().sum() / 2,
        ),
        (
            "this is the Jensen-Shannon divergence of lesson GAN: here each is compared with the other, not "
            "with their mean.",
            lambda p, q: (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2,
        ),
        (
            "you leave out entries where one of the two is 0. Where p is 0 that is right. But what p draws "
            "and q never does costs infinitely much.",
            on_both,
        ),
    ]
    of_second: Mistakes = [
        (
            "your two results are the same: the second is KL(q || p), which weighs by q.",
            kl,
        ),
        (
            "in the second you turned the fraction and kept the weights: it weighs by q.",
            lambda p, q: -kl(p, q),
        ),
        (
            "in the second you weigh by q and kept the fraction: its logarithm is of q / p.",
            lambda p, q: -kl(q, p),
        ),
        (
            "in the second you leave out what q draws and p never does: it costs infinitely much.",
            lambda p, q: on_both(q, p),
        ),
    ]
    results = ("KL(p || q)", "KL(q || p)")
    with own_random_numbers(seed) as generator:
        cases = []
        for label, m, p_lacks, q_lacks in (
            ("tables without zeros", 6, [], []),
            ("a p with zeros", 5, [1, 3], []),
            ("a q with zeros", 5, [], [0]),
            ("tables that share their zeros", 7, [2, 6], [2, 6]),
            ("tables with zeros here and there", 6, [0, 4], [4, 5]),
        ):
            tables = []
            for lacks in (p_lacks, q_lacks):
                logits = 1.5 * normal(generator, m)
                logits[lacks] = -math.inf
                tables.append(softmax(logits, dim=0))
            cases.append(Case(label, {"p": tables[0], "q": tables[1]}))
        given = collect("divergences", answer, cases, results=results)
        parts = ((kl, of_first), (backwards, of_second))
        judge_parts(
            "divergences", cases[:1], given[:1], parts, results
        )  # the formula, then its zeros
        if any(isnan(x).any() for several in given for x in several):
            raise Wrong(
                "right for tables without zeros, but a zero makes a NaN: what p never draws adds nothing, "
                "so 0 log 0 is 0. `torch.xlogy` knows."
            )
        without = (on_both, lambda p, q: on_both(q, p))
        _no_small_number_for_a_zero(cases, given, (kl, backwards), without)
        judge_parts("divergences", cases, given, parts, results)
    print(
        "Right: each direction weighs by its own table, and a gap in the other costs without end."
    )


def _no_small_number_for_a_zero(
    cases: Sequence[Case],
    given: Sequence[tuple[Tensor, ...]],
    rights: Sequence[Right],
    dropped: Sequence[Right],
) -> None:
    """Raise `Wrong` where a finite number came for an infinity, and not because terms were left out."""
    for case, several in zip(cases, given, strict=True):
        for got, right, left_out in zip(several, rights, dropped, strict=True):
            want, without = right(**case.arguments), left_out(**case.arguments)
            assert isinstance(want, Tensor) and isinstance(without, Tensor)
            if got.ndim or not isinf(want) or isinf(got) or (got - without).abs() < 1e-3:
                continue
            raise Wrong(
                f"for {case.label} a divergence is infinite, and you return {got.item():.3g}: did you put a "
                "small number in the place of a zero? Then that number decides the result."
            )


# ---------------------------------------------------------------- 4. a mixture with noise


def mixture(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `mixture(log_p, log_noise, weight)`: $\log (w\, p(x) + (1 - w)\, q(x))$ without underflow.

    log_p (n,), log_noise (n,), weight in (0, 1) -> (n,).

    Example:
        >>> from course import checks
        >>> checks.comparison.mixture(lambda log_p, log_noise, w: w * log_p + (1 - w) * log_noise)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you average logarithms...
    """

    def right(log_p: Tensor, log_noise: Tensor, weight: float) -> Tensor:
        return logaddexp(log_p + math.log(weight), log_noise + math.log1p(-weight))

    mistakes: Mistakes = [
        (
            "you average logarithms: a mixture averages probabilities, and the logarithm comes after.",
            lambda log_p, log_noise, weight: weight * log_p + (1 - weight) * log_noise,
        ),
        (
            "the weights are swapped: `weight` belongs to p, the rest to the noise.",
            lambda log_p, log_noise, weight: right(log_noise, log_p, weight),
        ),
        (
            "there are no weights in your mixture: w p + (1 - w) q.",
            lambda log_p, log_noise, weight: logaddexp(log_p, log_noise),
        ),
        (
            "the noise has no weight: what is left for it is 1 - w.",
            lambda log_p, log_noise, weight: logaddexp(log_p + math.log(weight), log_noise),
        ),
        (
            "p has no weight: it gets w.",
            lambda log_p, log_noise, weight: logaddexp(log_p, log_noise + math.log1p(-weight)),
        ),
        (
            "you multiply logarithms by the weights: a weight on a probability is *added*, as log w, to its "
            "logarithm.",
            lambda log_p, log_noise, weight: logaddexp(weight * log_p, (1 - weight) * log_noise),
        ),
        (
            "you take the larger of the two parts: their probabilities add up.",
            lambda log_p, log_noise, weight: maximum(
                log_p + math.log(weight), log_noise + math.log1p(-weight)
            ),
        ),
        (
            "this is the part of p alone, the bound from below: add the part of the noise.",
            lambda log_p, log_noise, weight: log_p + math.log(weight),
        ),
        (
            "this is the part of the noise alone: add that of p.",
            lambda log_p, log_noise, weight: log_noise + math.log1p(-weight),
        ),
        (
            "your mixture is half and half: it has the weights w and 1 - w.",
            lambda log_p, log_noise, weight: logaddexp(log_p, log_noise) - LN2,
        ),
        (
            "the noise has the weight 1 + w: `math.log1p` is the logarithm of 1 plus its argument, so give it "
            "-w.",
            lambda log_p, log_noise, weight: logaddexp(
                log_p + math.log(weight), log_noise + math.log1p(weight)
            ),
        ),
        (
            "both parts have the weight w: what is left for the noise is 1 - w.",
            lambda log_p, log_noise, weight: logaddexp(log_p, log_noise) + math.log(weight),
        ),
        (
            "the logarithm at the end is missing: this is the probability itself.",
            lambda log_p, log_noise, weight: right(log_p, log_noise, weight).exp(),
        ),
        (
            "you add logarithms, which multiplies the probabilities: a mixture adds them.",
            lambda log_p, log_noise, weight: (
                log_p + math.log(weight) + log_noise + math.log1p(-weight)
            ),
        ),
        (
            "the sign is wrong: this is minus the log-likelihood.",
            lambda log_p, log_noise, weight: -right(log_p, log_noise, weight),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, weight, size in (
            ("small images", 6, 0.3, 5.0),
            ("images with very small probabilities", 5, 0.01, 3000.0),
            ("a small weight", 4, 0.001, 8.0),
        ):
            log_p, log_noise = (-size + normal(generator, n) / 2 for _ in range(2))
            log_p[::2] += 3.0  # images of p, and of the noise
            log_p[1::2] -= 3.0
            arguments = {"log_p": log_p, "log_noise": log_noise, "weight": weight}
            cases.append(Case(label, arguments))
        given = collect("mixture", answer, cases)
        judge("mixture", cases[:1], given[:1], right, mistakes)
        large = given[1][0]
        if large.shape == cases[1].arguments["log_p"].shape and isinf(large).all():
            raise Wrong(
                "right for small images, but exp(-3000) is 0 in any floating-point number, and its logarithm "
                "-inf: stay in log-space, with `torch.logaddexp`."
            )
        judge("mixture", cases, given, right, mistakes)
    print("Right: the mixture lies at most log(1/w) below p, whatever the noise.")


# ---------------------------------------------------------------- 5. entropy of counts


def entropy(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `entropy(counts)`: the entropy of the shares in nats, plain and with Miller's correction.

    counts (m,) int64, some of them 0 -> two numbers.

    Example:
        >>> from course import checks
        >>> checks.comparison.entropy(lambda counts: (counts * counts.log(), counts.sum()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: `entropy` returns torch.int64 as the corrected entropy...
    """

    def shares(counts: Tensor) -> Tensor:
        return counts.double() / counts.sum()

    def plain(counts: Tensor) -> Tensor:
        return -xlogy(shares(counts), shares(counts)).sum()

    def correction(counts: Tensor) -> Tensor:
        return ((counts > 0).sum() - 1) / (2 * counts.sum())

    def corrected(counts: Tensor) -> Tensor:
        return plain(counts) + correction(counts)

    def smoothed(counts: Tensor) -> Tensor:
        return plain(counts + 1)

    of_plain: Mistakes = [
        (
            "this is in bits: take the natural logarithm.",
            lambda counts: plain(counts) / LN2,
        ),
        (
            "the sign of your entropy is wrong: logarithms of shares are negative, so put a minus in front.",
            lambda counts: -plain(counts),
        ),
        (
            "you work with the counts as they are: divide them by their sum, so that they are shares.",
            lambda counts: -xlogy(counts.double(), counts.double()).sum(),
        ),
        (
            "you average over the table: the shares already weigh their logarithms, so sum.",
            lambda counts: plain(counts) / len(counts),
        ),
        (
            "this is the logarithm of how many kinds were seen: only where all are equally frequent that is "
            "the entropy.",
            lambda counts: (counts > 0).sum().double().log(),
        ),
        (
            "you add 1 to every count: the plain estimate takes them as they are.",
            smoothed,
        ),
        (
            "this is the exponential of the entropy: leave the logarithm.",
            lambda counts: plain(counts).exp(),
        ),
        (
            "the shares are missing in front of the logarithms: each counts as often as it comes.",
            lambda counts: -shares(counts)[counts > 0].log().sum(),
        ),
        (
            "you multiply counts by logarithms of shares, which is N times the entropy: weigh by shares.",
            lambda counts: plain(counts) * counts.sum(),
        ),
        (
            "you sum squares of shares: the entropy weighs logarithms.",
            lambda counts: -shares(counts).square().sum().log(),
        ),
        (
            "the corrected entropy comes first in your answer: return the plain one before it.",
            corrected,
        ),
    ]
    of_corrected: Mistakes = [
        (
            "you subtract the correction: the plain entropy comes out too small, so add it.",
            lambda counts: plain(counts) - correction(counts),
        ),
        (
            "your correction counts all kinds of the table: m is how many were seen at least once.",
            lambda counts: plain(counts) + (len(counts) - 1) / (2 * counts.sum()),
        ),
        (
            "your correction has m where it should have m - 1.",
            lambda counts: plain(counts) + (counts > 0).sum() / (2 * counts.sum()),
        ),
        (
            "the 2 below your correction is missing: (m - 1) / (2 N).",
            lambda counts: plain(counts) + 2 * correction(counts),
        ),
        (
            "this is the correction alone: add it to the plain entropy.",
            correction,
        ),
        (
            "your two results are the same: the second has the correction added.",
            plain,
        ),
        (
            "you multiply by N / 2: brackets around 2 N, (m - 1) / (2 * N).",
            lambda counts: plain(counts) + correction(counts) * counts.sum().square(),
        ),
        (
            "your correction divides by the length of the table: N is how many samples were counted.",
            lambda counts: plain(counts) + ((counts > 0).sum() - 1) / (2 * len(counts)),
        ),
        (
            "your correction is in bits: (m - 1) / (2 N) is in nats, as the entropy is.",
            lambda counts: plain(counts) + correction(counts) / LN2,
        ),
    ]
    results = ("the plain entropy", "the corrected entropy")
    with own_random_numbers(seed) as generator:
        cases = []
        for label, m, zeros in (
            ("5 kinds, all seen", 5, 0),
            ("9 kinds, 3 of them never seen", 9, 3),
            ("4 kinds, 2 of them never seen", 4, 2),
        ):
            counts = 1 + randint(0, 4, (m,), generator=generator) + 8 * torch.arange(m)
            counts[randperm(m, generator=generator)[:zeros]] = 0
            cases.append(Case(label, {"counts": counts}))
        given = collect("entropy", answer, cases, results=results)
        parts = ((plain, of_plain), (corrected, of_corrected))
        judge_parts("entropy", cases[:1], given[:1], parts, results)  # the formula, then its zeros
        if any(isnan(x).any() for several in given for x in several):
            raise Wrong(
                "right where every kind is seen, but a count of 0 makes a NaN: what never comes adds "
                "nothing, so 0 log 0 is 0. `torch.xlogy` knows."
            )
        judge_parts("entropy", cases, given, parts, results)
    print("Right: shares weigh their logarithms, and what is missing on average comes on top.")


# ---------------------------------------------------------------- 6. precision and recall


def precision_recall(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `precision_recall(real, fake, k)`: shares within balls that reach to the k-th neighbour.

    real (n, d), fake (m, d) -> two numbers in [0, 1].

    Example:
        >>> from course import checks
        >>> def recall_first(real, fake, k):
        ...     return genlib.metrics.precision_recall(fake, real, k)
        >>> import genlib.metrics
        >>> checks.comparison.precision_recall(
        ...     lambda real, fake, k: [torch.tensor(share) for share in recall_first(real, fake, k)]
        ... )
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the two are swapped...
    """

    def radii(balls: Tensor, k: int) -> Tensor:
        return cdist(balls, balls).kthvalue(k + 1, dim=1).values

    def hits(x: Tensor, balls: Tensor, k: int) -> Tensor:
        """Which x lies in which ball, (len(x), len(balls))."""
        return cdist(x, balls) <= radii(balls, k)

    def within(x: Tensor, balls: Tensor, k: int) -> Tensor:
        return hits(x, balls, k).any(dim=1).to(x).mean()

    def within_radius(x: Tensor, balls: Tensor, radius: Tensor) -> Tensor:
        return (cdist(x, balls) <= radius).any(dim=1).to(x).mean()

    def nearest_ball(x: Tensor, balls: Tensor, k: int) -> Tensor:
        distance, ball = cdist(x, balls).min(dim=1)
        return (distance <= radii(balls, k)[ball]).to(x).mean()

    def mean_of_k(balls: Tensor, k: int) -> Tensor:
        return cdist(balls, balls).sort(dim=1).values[:, 1 : k + 1].mean(dim=1)

    def precision(real: Tensor, fake: Tensor, k: int) -> Tensor:
        return within(fake, real, k)

    def recall(real: Tensor, fake: Tensor, k: int) -> Tensor:
        return within(real, fake, k)

    of_precision: Mistakes = [
        (
            "the two are swapped: precision comes first, the share of fakes within the balls around real "
            "ones.",
            recall,
        ),
        (
            "you count a point as its own nearest neighbour: it is the first of the sorted distances, at 0, "
            "so the k-th other one is the (k + 1)-th.",
            lambda real, fake, k: (
                (cdist(fake, real) <= cdist(real, real).kthvalue(k, dim=1).values)
                .any(dim=1)
                .to(real)
                .mean()
            ),
        ),
        (
            "your balls reach one neighbour too far: `kthvalue` counts from 1, and the point itself is the "
            "first.",
            lambda real, fake, k: within(fake, real, k + 1),
        ),
        (
            "all your balls have one size, the mean of the radii: each reaches to its own k-th neighbour.",
            lambda real, fake, k: within_radius(fake, real, radii(real, k).mean()),
        ),
        (
            "all your balls are as large as the largest: each reaches to its own k-th neighbour.",
            lambda real, fake, k: within_radius(fake, real, radii(real, k).max()),
        ),
        (
            "your radius is the mean distance to the k nearest: it is the distance to the k-th.",
            lambda real, fake, k: within_radius(fake, real, mean_of_k(real, k)),
        ),
        (
            "you compare squares of distances with radii that are not squared: both or neither.",
            lambda real, fake, k: (
                (cdist(fake, real).square() <= radii(real, k)).any(dim=1).to(real).mean()
            ),
        ),
        (
            "you count balls that have a fake inside: precision is a share of the fakes.",
            lambda real, fake, k: hits(fake, real, k).any(dim=0).to(real).mean(),
        ),
        (
            "you average over the balls too: a fake that lies in one of them counts as one, `.any(dim=1)`.",
            lambda real, fake, k: hits(fake, real, k).to(real).mean(),
        ),
        (
            "you ask for fakes that lie in every ball: one is enough, `.any(dim=1)`.",
            lambda real, fake, k: hits(fake, real, k).all(dim=1).to(real).mean(),
        ),
        (
            "you ask the nearest real example only: one that is farther may have a larger ball.",
            lambda real, fake, k: nearest_ball(fake, real, k),
        ),
        (
            "this is a number of fakes: divide by how many there are.",
            lambda real, fake, k: precision(real, fake, k) * len(fake),
        ),
        (
            "you count the fakes outside of all balls: precision is the share inside.",
            lambda real, fake, k: 1 - precision(real, fake, k),
        ),
    ]
    of_recall: Mistakes = [
        (
            "both results are the precision: for recall the balls are around the fakes, and the real ones are "
            "counted.",
            precision,
        ),
        (
            "for recall you count the balls around real examples that have a fake inside. That is the coverage "
            "of Naeem et al. (2020): here the balls are around the fakes.",
            lambda real, fake, k: hits(fake, real, k).any(dim=0).to(real).mean(),
        ),
        (
            "for recall you count the fakes whose balls have a real example inside: count the real ones.",
            lambda real, fake, k: hits(real, fake, k).any(dim=0).to(real).mean(),
        ),
        (
            "for recall you look for real examples in balls around real ones, and each lies in its own: the "
            "balls are around the fakes.",
            lambda real, fake, k: within(real, real, k),
        ),
        (
            "your recall is 1 minus the precision: the two are independent questions, and both may be high.",
            lambda real, fake, k: 1 - precision(real, fake, k),
        ),
        (
            "in recall a fake counts as its own nearest neighbour: the k-th other one is the (k + 1)-th.",
            lambda real, fake, k: (
                (cdist(real, fake) <= cdist(fake, fake).kthvalue(k, dim=1).values)
                .any(dim=1)
                .to(real)
                .mean()
            ),
        ),
    ]
    results = ("precision", "recall")
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, m, d, k in (
            ("points in the plane", 150, 130, 2, 3),
            ("k = 1", 120, 110, 2, 1),
            ("features of 8 numbers", 140, 120, 8, 5),
        ):
            real = normal(generator, n, d)
            spread = torch.linspace(0.3, 2.5, m)[:, None].to(real)  # close together, and far apart
            fake = 0.7 + spread * normal(generator, m, d)
            cases.append(Case(label, {"real": real, "fake": fake, "k": k}))
        given = collect("precision_recall", answer, cases, results=results)
        parts = ((precision, of_precision), (recall, of_recall))
        judge_parts("precision_recall", cases, given, parts, results)
    print("Right: fakes within the balls of real ones, and real ones within the balls of fakes.")


# ---------------------------------------------------------------- 7. a speed-up


def speed_up(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `speed_up(slow, fast)`: the ratio of two medians of timings.

    slow (n,), fast (n,): seconds -> a number, 10 where the second is ten times as fast.

    Example:
        >>> from course import checks
        >>> checks.comparison.speed_up(lambda slow, fast: slow.mean() / fast.mean())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you compare means...
    """

    def right(slow: Tensor, fast: Tensor) -> Tensor:
        return quantile(slow, 0.5) / quantile(fast, 0.5)

    def lower(x: Tensor) -> Tensor:
        return x.sort().values[(len(x) - 1) // 2]

    def upper(x: Tensor) -> Tensor:
        return x.sort().values[len(x) // 2]

    mistakes: Mistakes = [
        (
            "you compare means, or sums: one run that was disturbed moves them. Take medians.",
            lambda slow, fast: slow.mean() / fast.mean(),
        ),
        (
            "your ratio is upside down: it is above 1 where the second is faster.",
            lambda slow, fast: quantile(fast, 0.5) / quantile(slow, 0.5),
        ),
        (
            "of an even number of timings you take the lower of the two in the middle, as `torch.median` does: "
            "take their mean, as `torch.quantile(x, 0.5)` does.",
            lambda slow, fast: lower(slow) / lower(fast),
        ),
        (
            "of an even number of timings you take the upper of the two in the middle: take their mean.",
            lambda slow, fast: upper(slow) / upper(fast),
        ),
        (
            "you average ratios, run by run: the runs are not pairs. Take each median first.",
            lambda slow, fast: (slow / fast).mean(),
        ),
        (
            "you take the median of ratios, run by run: the runs are not pairs. Take each median first.",
            lambda slow, fast: quantile(slow / fast, 0.5),
        ),
        (
            "this is the difference in seconds: a speed-up is a ratio, the same on a faster machine.",
            lambda slow, fast: quantile(slow, 0.5) - quantile(fast, 0.5),
        ),
        (
            "this is the share of time that is saved: a speed-up is the ratio of the times.",
            lambda slow, fast: 1 - quantile(fast, 0.5) / quantile(slow, 0.5),
        ),
        (
            "you subtract 1: ten times as fast is 10.",
            lambda slow, fast: right(slow, fast) - 1,
        ),
        (
            "this is in percent: ten times as fast is 10.",
            lambda slow, fast: 100 * right(slow, fast),
        ),
        (
            "you compare the best runs: a minimum falls the longer you try. Take medians.",
            lambda slow, fast: slow.min() / fast.min(),
        ),
        (
            "you compare the worst runs: these say most about what else the machine did. Take medians.",
            lambda slow, fast: slow.max() / fast.max(),
        ),
        (
            "you compare the first runs alone, and they are often slow: take medians over all.",
            lambda slow, fast: slow[0] / fast[0],
        ),
        (
            "you throw the first run away: the median need not be told which run was disturbed.",
            lambda slow, fast: right(slow[1:], fast[1:]),
        ),
        (
            "this is a logarithm: return the ratio itself.",
            lambda slow, fast: right(slow, fast).log(),
        ),
        (
            "you take the element in the middle without sorting: sort the timings first.",
            lambda slow, fast: slow[len(slow) // 2] / fast[len(fast) // 2],
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n in (("6 runs of each", 6), ("7 runs of each", 7)):
            slow, fast = (
                size * (1 + normal(generator, n).abs()) for size in (0.5, 0.05)
            )  # no run takes less
            slow[0], fast[0] = 4 * slow[0], 9 * fast[0]  # the first runs warm up
            slow[2], fast[1] = 20 * slow[2], 30 * fast[1]  # and others wait for another program
            cases.append(Case(label, {"slow": slow, "fast": fast}))
        given = collect("speed_up", answer, cases)
        judge("speed_up", cases, given, right, mistakes)
    print("Right: medians forgive the run that was disturbed, and a ratio forgives a slow machine.")


# ---------------------------------------------------------------- 8. who is not beaten


def unbeaten(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `unbeaten(table)`: rows that no other row is at least as good as everywhere, and better once.

    table (m, c), larger is better, with ties and -inf -> (m,) of True and False.

    Example:
        >>> from course import checks
        >>> checks.comparison.unbeaten(lambda table: (table == table.amax(dim=0)).any(dim=1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you keep the best of each column...
    """

    def compared(table: Tensor) -> tuple[Tensor, Tensor]:
        """[i, j, c]: is row j at least as good as row i, or better, in column c?"""
        return table[None] >= table[:, None], table[None] > table[:, None]

    def right(table: Tensor) -> Tensor:
        as_good, better = compared(table)
        return ~(as_good.all(dim=2) & better.any(dim=2)).any(dim=1)

    def as_good_and_another(table: Tensor) -> Tensor:
        beats = compared(table)[0].all(dim=2)
        return ~(beats & ~torch.eye(len(table), dtype=torch.bool)).any(dim=1)

    def wins_more(table: Tensor) -> Tensor:
        better = compared(table)[1].sum(dim=2)
        return ~(better > better.T).any(dim=1)

    def beats_one(table: Tensor) -> Tensor:
        as_good, better = compared(table)
        return (as_good.all(dim=2) & better.any(dim=2)).any(dim=0)

    def best_mean_rank(table: Tensor) -> Tensor:
        rank = compared(table)[1].sum(dim=1).sum(dim=1)  # how many are better, over all columns
        return rank == rank.min()

    mistakes: Mistakes = [
        (
            "you return the rows that *are* beaten: turn it round.",
            lambda table: ~right(table),
        ),
        (
            "for you smaller is better: in this table larger is.",
            lambda table: right(-table),
        ),
        (
            "for you a row is beaten only by one that is better in every column: to be as good in some and "
            "better in one is enough.",
            lambda table: ~compared(table)[1].all(dim=2).any(dim=1),
        ),
        (
            "every row is beaten, by itself: one that is as good everywhere must also be better somewhere.",
            lambda table: ~compared(table)[0].all(dim=2).any(dim=1),
        ),
        (
            "two rows that are equal beat each other: to beat, a row must be better in some column.",
            as_good_and_another,
        ),
        (
            "you keep the best of each column: a row that is second everywhere may be unbeaten too.",
            lambda table: (table == table.amax(dim=0)).any(dim=1),
        ),
        (
            "for you a row that loses one column is out, so that only one which is best everywhere could stay: "
            "who beats it must also be as good in all the others.",
            lambda table: (table == table.amax(dim=0)).all(dim=1),
        ),
        (
            "you add up the columns: nats and shares have no common unit.",
            lambda table: table.sum(dim=1) == table.sum(dim=1).max(),
        ),
        (
            "you let columns vote: a row is beaten only by one that is nowhere worse.",
            wins_more,
        ),
        (
            "you look at the first column alone: all of them count.",
            lambda table: table[:, 0] == table[:, 0].max(),
        ),
        (
            "you return the rows that beat another: a row may beat none and be unbeaten, or both beat and be "
            "beaten.",
            beats_one,
        ),
        (
            "you rank by places, added over the columns: that is another question. Ask for each row whether "
            "another beats it.",
            best_mean_rank,
        ),
        (
            "you keep every row: is the comparison of each with all others there?",
            lambda table: zeros_like(table[:, 0]) == 0,
        ),
        (
            "you take as beaten what is not best, or not finite: -inf loses its column, and no more.",
            lambda table: right(table) & ~isinf(table).any(dim=1),
        ),
    ]

    def probe(case: Case, got: Tensor, want: Tensor) -> str:
        row = int((got != want).nonzero()[0])
        table: Tensor = case.arguments["table"]
        if want[row]:
            return f"for {case.label} no row beats row {row}, {_row(table[row])}, and you call it beaten."
        as_good, better = compared(table)
        by = int((as_good.all(dim=2) & better.any(dim=2))[row].nonzero()[0])
        return (
            f"for {case.label} you call row {row} unbeaten, {_row(table[row])}, but row {by} beats it, "
            f"{_row(table[by])}."
        )

    levels = tensor(
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
    no_likelihood = tensor([[0, 4], [0, 3], [2, 2], [1, 3], [3, 1], [3, 0]])
    with own_random_numbers(seed) as generator:
        tables = []
        for whole in (levels, no_likelihood):
            steps = normal(generator, 5, whole.shape[1]).sort(dim=0).values  # any units
            table = steps.gather(0, whole)
            tables.append(table[randperm(len(table), generator=generator)])
        lowest = tables[1][:, 0].min()
        tables[1][:, 0] = tables[1][:, 0].where(tables[1][:, 0] > lowest, -math.inf)
        best = normal(generator, 5, 2)
        best[3] = best.amax(dim=0) + 1
        cases = [
            Case("8 rows with ties", {"table": tables[0]}),
            Case("rows without a likelihood, -inf", {"table": tables[1]}),
            Case("12 rows of 2 columns", {"table": normal(generator, 12, 2)}),
            Case("a table with one best row", {"table": best}),
        ]
        given = collect("unbeaten", answer, cases, kind="any")
        for (row,) in given:
            if row.dtype != torch.bool:
                raise Wrong(
                    f"`unbeaten` returns {row.dtype}: return True or False for each row, as a comparison "
                    "does."
                )
        judge("unbeaten", cases, given, right, mistakes, probe=probe)
    print("Right: a row is out when another is nowhere worse and somewhere better.")


def _row(values: Tensor) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in values.tolist()) + ")"
