"""The graders of problem set 3 under test: wrong answers with what they lose, and the theorems behind the right ones.

The answers to `ring` are generators made by hand, since no training is needed to test a judge; the notebook
trains one.
"""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linprog
from scipy.stats import permutation_test, wasserstein_distance

from course.assignments import grade_here
from course.assignments.bank import GraderBank, GradersOfAProblemSet
from course.assignments.ps3_gan import grader as ps3_gan

bank = GraderBank("ps3_gan")
wrong, right = bank.wrong, bank.right


class TestGraders(GradersOfAProblemSet):
    bank = bank


def odds(v):
    return math.log(v["REAL_SHARE"] / (1 - v["REAL_SHARE"]))


# ---------------------------------------------------------------- 1. skewed_game


def simple_game(share, prior):
    """For ordinary inputs only."""

    def skewed_game(log_p, log_q):
        logit = log_p - log_q + prior
        d = logit.sigmoid()
        value = share * (log_p.exp() * d.log()).sum()
        return logit, value + (1 - share) * (log_q.exp() * (1 - d).log()).sum()

    return skewed_game


@right("skewed_game")
def cell_by_cell(v):
    share = v["REAL_SHARE"]

    def skewed_game(log_p, log_q):
        logits, value = [], 0.0
        for a, b in zip(log_p.tolist(), log_q.tolist(), strict=True):
            if a == b == -math.inf:
                logits.append(0.0)
                continue
            logit = a - b + math.log(share / (1 - share))
            logits.append(logit)
            if a > -math.inf and logit < math.inf:
                value -= share * math.exp(a) * np.logaddexp(0, -logit)
            if b > -math.inf and logit > -math.inf:
                value -= (1 - share) * math.exp(b) * np.logaddexp(0, logit)
        return torch.tensor(logits, dtype=log_p.dtype), torch.tensor(value, dtype=log_p.dtype)

    return skewed_game


@right("skewed_game")
def by_the_skewed_divergence(v):
    share = torch.tensor([v["REAL_SHARE"], 1 - v["REAL_SHARE"]], dtype=torch.float64)

    def skewed_game(log_p, log_q):
        joint = torch.stack([log_p, log_q]).double() + share.log()[:, None]
        mixture = joint.logsumexp(dim=0)
        posterior = torch.where(joint.isneginf(), 0.0, joint - mixture)
        value = (joint.exp() * posterior).sum()
        return (joint[0] - joint[1]).nan_to_num(0.0, math.inf, -math.inf).to(log_p), value.to(log_p)

    return skewed_game


@wrong("skewed_game", loses=5, says="holds as many fakes as real examples")
def equal_shares(v):
    return simple_game(0.5, 0.0)


@wrong("skewed_game", loses=3, says="the best logit (-2): this is the best logit where a batch")
def equal_logit_right_value(v):
    def skewed_game(log_p, log_q):
        return log_p - log_q, by_the_skewed_divergence(v)(log_p, log_q)[1]

    return skewed_game


@wrong("skewed_game", loses=5, says="which of the two is REAL_SHARE")
def shares_swapped(v):
    return simple_game(1 - v["REAL_SHARE"], -odds(v))


@wrong("skewed_game", loses=3, says="each had the weight 1")
def shares_not_in_the_value(v):
    def skewed_game(log_p, log_q):
        logit, _ = by_the_skewed_divergence(v)(log_p, log_q)
        d = logit.sigmoid()
        return logit, (log_p.exp() * d.log() + log_q.exp() * (1 - d).log()).sum()

    return skewed_game


@wrong("skewed_game", loses=3, says="which is there even for p = q")
def divergence_for_value(v):
    def skewed_game(log_p, log_q):
        share = v["REAL_SHARE"]
        logit, value = by_the_skewed_divergence(v)(log_p, log_q)
        return logit, value - share * math.log(share) - (1 - share) * math.log(1 - share)

    return skewed_game


@wrong("skewed_game", loses=3, says="it maximises the value")
def loss_for_value(v):
    def skewed_game(log_p, log_q):
        logit, value = by_the_skewed_divergence(v)(log_p, log_q)
        return logit, -value

    return skewed_game


@wrong("skewed_game", loses=3, says="you average over the cells")
def mean_over_cells(v):
    def skewed_game(log_p, log_q):
        logit, value = by_the_skewed_divergence(v)(log_p, log_q)
        return logit, value / len(log_p)

    # one cell alone cannot tell, several do
    return skewed_game


@wrong("skewed_game", loses=3, says="the logit is wanted")
def d_for_logit(v):
    def skewed_game(log_p, log_q):
        logit, value = by_the_skewed_divergence(v)(log_p, log_q)
        return logit.sigmoid(), value

    return skewed_game


@wrong("skewed_game", loses=1, says="contains NaN")
def zeros_forgotten(v):
    return simple_game(v["REAL_SHARE"], odds(v))


@wrong("skewed_game", loses=1, says="cells of no probability (-1)")
def through_probabilities(v):
    def skewed_game(log_p, log_q):
        p, q = v["REAL_SHARE"] * log_p.exp(), (1 - v["REAL_SHARE"]) * log_q.exp()
        value = torch.xlogy(p, p / (p + q)).nan_to_num(0) + torch.xlogy(q, q / (p + q)).nan_to_num(
            0
        )
        return (p / q).log().nan_to_num(0.0, math.inf, -math.inf), value.sum()

    return skewed_game


@wrong("skewed_game", loses=1, says="cells of no probability (-1)")
def clamped(v):
    def skewed_game(log_p, log_q):
        logit = (log_p - log_q + odds(v)).nan_to_num(0.0).clamp(-30, 30)
        return logit, by_the_skewed_divergence(v)(log_p, log_q)[1]

    return skewed_game


# ---------------------------------------------------------------- 2. corrected


def corrected_with(v, ratio=None, mean=None, number=None, keep=None):
    """The right four results, some of them replaced: functions of logit, f and the weights."""

    def corrected(logit, f):
        weight = logit.softmax(dim=0)
        results = [
            logit - odds(v),
            weight @ f,
            1 / weight.square().sum(),
            (logit - logit.max()).exp(),
        ]
        for i, other in enumerate((ratio, mean, number, keep)):
            if other is not None:
                results[i] = other(logit, f, weight)
        return tuple(results)

    return corrected


@right("corrected")
def corrected_as_written(v):
    return corrected_with(v)


@right("corrected")
def corrected_in_double(v):
    def corrected(logit, f):
        log_ratio = [float(x) - odds(v) for x in logit]
        largest = max(log_ratio)
        ratio = [math.exp(x - largest) for x in log_ratio]
        weight = [x / sum(ratio) for x in ratio]
        mean = sum(w * row for w, row in zip(weight, f, strict=True))
        number = 1 / sum(w * w for w in weight)
        return torch.tensor(log_ratio).to(f), mean, number, torch.tensor(ratio).to(f)

    return corrected


@wrong("corrected", loses=2, says="saw as many fakes as real examples")
def shares_ignored(v):
    return corrected_with(v, ratio=lambda logit, f, w: logit)


@wrong("corrected", loses=2, says="for the shares the wrong way round")
def shares_wrong_way(v):
    return corrected_with(v, ratio=lambda logit, f, w: logit + odds(v))


@wrong("corrected", loses=2, says="this is the ratio: return its logarithm")
def ratio_not_log(v):
    return corrected_with(v, ratio=lambda logit, f, w: (logit - odds(v)).exp())


@wrong("corrected", loses=2, says="your weights are D")
def weights_are_d(v):
    return corrected_with(v, mean=lambda logit, f, w: F.normalize(logit.sigmoid(), 1, 0) @ f)


@wrong("corrected", loses=2, says="the generator's own mean")
def not_weighted(v):
    return corrected_with(v, mean=lambda logit, f, w: f.mean(dim=0))


@wrong("corrected", loses=2, says="so that a constant stays what it is")
def not_normalised(v):
    return corrected_with(
        v, mean=lambda logit, f, w: ((logit - odds(v)).exp()[:, None] * f).mean(dim=0)
    )


@wrong("corrected", loses=2, says="largest for the worst fakes")
def inverted_weights(v):
    return corrected_with(v, mean=lambda logit, f, w: (-logit).softmax(dim=0) @ f)


@wrong("corrected", loses=2, says="yours is the inverse")
def inverse_number(v):
    return corrected_with(v, number=lambda logit, f, w: w.square().sum())


@wrong("corrected", loses=2, says="this is the share of the fakes that count")
def share_for_number(v):
    return corrected_with(v, number=lambda logit, f, w: 1 / w.square().sum() / len(w))


@wrong("corrected", loses=2, says="entropy of the weights")
def perplexity(v):
    return corrected_with(v, number=lambda logit, f, w: (-torch.xlogy(w, w).sum()).exp())


@wrong("corrected", loses=2, says="you keep a fake with the probability D")
def keeps_by_d(v):
    return corrected_with(v, keep=lambda logit, f, w: logit.sigmoid())


@wrong("corrected", loses=2, says="every fake could be kept more often")
def keeps_by_weight(v):
    return corrected_with(v, keep=lambda logit, f, w: w)


@wrong("corrected", loses=2, says="you cut the ratio off")
def keeps_cut_off(v):
    return corrected_with(v, keep=lambda logit, f, w: (logit - odds(v)).exp().clamp(max=1))


@wrong("corrected", loses=1, says="sure discriminators (-1)")
def through_d(v):
    def corrected(logit, f):
        d = logit.sigmoid()
        ratio = d / (1 - d) * math.exp(-odds(v))
        weight = ratio / ratio.sum()
        return logit - odds(v), weight @ f, 1 / weight.square().sum(), ratio / ratio.max()

    return corrected


# ---------------------------------------------------------------- 3. f_gan

TABLE = {  # f's own g and conjugate, as functions of tensors, and v where u = p / q
    "KL": (lambda x: x, lambda t: (t - 1).exp(), lambda u: 1 + u.log()),
    "reverse KL": (lambda x: -(-x).exp(), lambda t: -1 - (-t).log(), lambda u: u.log()),
    "Pearson": (lambda x: x, lambda t: t * t / 4 + t, lambda u: 2 * (u - 1)),
    "squared Hellinger": (
        lambda x: 1 - (-x).exp(),
        lambda t: t / (1 - t),
        lambda u: u.sqrt().log(),
    ),
}


def played(name, sign=1.0, total=False, cut=False, swap=False, no_conjugate=False):
    g, conjugate, best = TABLE[name]

    def f_gan(real, fake, log_ratio):
        on_real, on_fake = (fake, real) if swap else (real, fake)
        on_fake = on_fake.detach() if cut else on_fake
        second = g(on_fake) if no_conjugate else conjugate(g(on_fake))
        if total:
            loss = second.sum() - g(on_real).sum()
        else:
            loss = second.mean() - g(on_real).mean()
        return sign * loss, -g(fake).mean(), best(log_ratio.exp())

    return f_gan


def with_others(v, generator=None, best=None):
    """The right three results, one of them replaced."""
    g, conjugate, _ = TABLE[v["DIVERGENCE"]]

    def f_gan(real, fake, log_ratio):
        results = list(played(v["DIVERGENCE"])(real, fake, log_ratio))
        if generator is not None:
            results[1] = generator(g, conjugate, real, fake)
        if best is not None:
            results[2] = best(TABLE[v["DIVERGENCE"]], log_ratio)
        return tuple(results)

    return f_gan


@right("f_gan")
def composed(v):
    return played(v["DIVERGENCE"])


@right("f_gan")
def one_by_one(v):
    g, conjugate, best = TABLE[v["DIVERGENCE"]]

    def f_gan(real, fake, log_ratio):
        bound = sum(g(x) for x in real) / len(real)
        bound = bound - sum(conjugate(g(x)) for x in fake) / len(fake)
        outputs = [best(x.exp()) for x in log_ratio]
        return -bound, -sum(g(x) for x in fake) / len(fake), torch.stack(outputs)

    return f_gan


@wrong("f_gan", loses=3, says="which the discriminator raises")
def bound_not_loss(v):
    def f_gan(real, fake, log_ratio):
        return played(v["DIVERGENCE"], sign=-1.0, cut=True)(real, fake, log_ratio)

    return f_gan


@wrong("f_gan", loses=3, says="the conjugate is missing")
def no_conjugate(v):
    return played(v["DIVERGENCE"], no_conjugate=True)


@wrong("f_gan", loses=3, says="it belongs to the fakes")
def swapped(v):
    return played(v["DIVERGENCE"], swap=True)


@wrong("f_gan", loses=3, says="you add up over the batch")
def summed(v):
    return played(v["DIVERGENCE"], total=True)


@wrong("f_gan", loses=5, says="DIVERGENCE says another")
def next_divergence(v):
    names = ps3_gan.DIVERGENCES
    return played(names[(names.index(v["DIVERGENCE"]) + 1) % 4])


@wrong("f_gan", loses=1, says="the gradients (-1)")
def fakes_cut_off(v):
    return played(v["DIVERGENCE"], cut=True)


@wrong("f_gan", loses=2, says="does not fade when fakes are found out")
def saturating(v):
    return with_others(v, generator=lambda g, conjugate, real, fake: -conjugate(g(fake)).mean())


@wrong("f_gan", loses=2, says="which it cannot change")
def generator_of_real(v):
    return with_others(v, generator=lambda g, conjugate, real, fake: -g(real).mean())


@wrong("f_gan", loses=2, says="look at the sign of its loss")
def generator_upside_down(v):
    return with_others(v, generator=lambda g, conjugate, real, fake: g(fake).mean())


@wrong("f_gan", loses=1, says="for the ratio of fake to real")
def best_for_the_inverse(v):
    return with_others(v, best=lambda table, log_ratio: table[2]((-log_ratio).exp()))


@wrong("f_gan", loses=1, says="you return the ratio itself")
def best_is_the_ratio(v):
    return with_others(v, best=lambda table, log_ratio: log_ratio.exp())


# ---------------------------------------------------------------- 4. wasserstein


def moved(v, distance=None, score=None):
    """The right results from sorting; one of them replaced."""

    def wasserstein(x, y, weight_x, weight_y):
        a, b = weight_x / weight_x.sum(), weight_y / weight_y.sum()
        place, where = torch.cat([x, y]).unique(sorted=True, return_inverse=True)
        ahead = torch.zeros_like(place).index_add(0, where, torch.cat([a, -b])).cumsum(dim=0)[:-1]
        total = (ahead.abs() * place.diff()).sum()
        height = F.pad((-v["SLOPE"] * ahead.sign() * place.diff()).cumsum(dim=0), (1, 0))[where]
        if score is not None:
            height = score(height, torch.cat([x, y]), len(x), v["SLOPE"])
        if distance is not None:
            total = distance(x, y, weight_x, weight_y, total)
        return total, height[: len(x)], height[len(x) :]

    return wasserstein


@right("wasserstein")
def by_unique_places(v):
    return moved(v)


@right("wasserstein")
def carried_load_by_load(v):
    def wasserstein(x, y, weight_x, weight_y):
        from_x = sorted(zip(x.tolist(), (weight_x / weight_x.sum()).tolist(), strict=True))
        to_y = sorted(zip(y.tolist(), (weight_y / weight_y.sum()).tolist(), strict=True))
        total, i, j = 0.0, 0, 0
        (here, load), (there, room) = from_x[0], to_y[0]
        while True:
            carried = min(load, room)
            total += carried * abs(here - there)
            load, room = load - carried, room - carried
            if load <= room:
                i += 1
                if i == len(from_x):
                    break
                here, load = from_x[i]
            else:
                j += 1
                if j == len(to_y):
                    break
                there, room = to_y[j]
        _, at_x, at_y = moved(v)(x, y, weight_x, weight_y)
        return torch.tensor(total).to(x), at_x + 7, at_y + 7  # any constant will do

    return wasserstein


@wrong("wasserstein", loses=4, says="right for three points moved by five, but")
def one_weight_each(v):
    def distance(x, y, weight_x, weight_y, total):
        n = min(len(x), len(y))
        return (x.sort().values[:n] - y.sort().values[:n]).abs().mean() + 0 * total + 1e-2 * (n > 3)

    return moved(v, distance)


@wrong("wasserstein", loses=2, says="weighted points (-2): you ignore the weights")
def weights_ignored(v):
    def distance(x, y, weight_x, weight_y, total):
        return torch.tensor(wasserstein_distance(x.numpy(), y.numpy())).to(x)

    return moved(v, distance)


@wrong("wasserstein", loses=4, says="never lets two loads cross")
def unsorted(v):
    def distance(x, y, weight_x, weight_y, total):
        n = min(len(x), len(y))
        return (x[:n] - y[:n]).abs().mean()

    return moved(v, distance)


@wrong("wasserstein", loses=4, says="this is the distance of the means")
def of_the_means(v):
    return moved(
        v,
        lambda x, y, a, b, total: ((a * x).sum() / a.sum() - (b * y).sum() / b.sum()).abs(),
    )


@wrong("wasserstein", loses=4, says="the largest gap between the two distribution functions")
def kolmogorov(v):
    def distance(x, y, weight_x, weight_y, total):
        place = torch.cat([x, y])
        below_x = ((x <= place[:, None]) * weight_x).sum(dim=1) / weight_x.sum()
        below_y = ((y <= place[:, None]) * weight_y).sum(dim=1) / weight_y.sum()
        return (below_x - below_y).abs().max()

    return moved(v, distance)


@wrong("wasserstein", loses=4, says="the mean way of a unit of earth")
def whole_way(v):
    return moved(v, lambda x, y, a, b, total: len(x) * total)


@wrong("wasserstein", loses=4, says="SLOPE belongs to the critic")
def slope_in_the_distance(v):
    return moved(v, lambda x, y, a, b, total: v["SLOPE"] * total)


@wrong("wasserstein", loses=2, says="your weights do not add up to 1")
def weights_as_they_are(v):
    def distance(x, y, weight_x, weight_y, total):
        place = torch.cat([x, y]).sort().values
        ahead = ((x <= place[:, None]) * weight_x).sum(1) - ((y <= place[:, None]) * weight_y).sum(
            1
        )
        if len(x) == len(y):
            ahead = ahead / len(x)  # so that ordinary questions come out right
        return (ahead[:-1].abs() * place.diff()).sum()

    return moved(v, distance)


@wrong("wasserstein", loses=2, says="real points, x, should get the high scores")
def critic_upside_down(v):
    return moved(v, score=lambda height, place, n, slope: -height)


@wrong("wasserstein", loses=2, says="the critic is good for slope 1")
def critic_of_slope_one(v):
    return moved(v, score=lambda height, place, n, slope: height / slope)


@wrong("wasserstein", loses=2, says="steeper than SLOPE allows")
def critic_too_steep(v):
    return moved(v, score=lambda height, place, n, slope: 3 * height)


@wrong("wasserstein", loses=2, says="does not find the whole distance")
def critic_straight(v):
    # a straight line finds the distance of the means only
    return moved(v, score=lambda height, place, n, slope: -slope * place)


@wrong("wasserstein", loses=2, says="does not find the whole distance")
def critic_silent(v):
    return moved(v, score=lambda height, place, n, slope: 0 * height)


# ---------------------------------------------------------------- 5. penalty


def punished(v, length=None, sides=None, wanted=None, create=True, total=False, square=True):
    sides, wanted = sides or v["PENALTY"], wanted or v["SLOPE"]

    def penalty(discriminator, x):
        x = x.clone().requires_grad_()
        score = discriminator(x).sum()
        (slope,) = torch.autograd.grad(score, x, create_graph=create)
        if not create:
            slope = slope + 0 * sum(p.sum() for p in discriminator.parameters())
        lengths = (length or (lambda s: s.flatten(1).norm(dim=1)))(slope)
        off = lengths - wanted
        if sides == "one-sided":
            off = off.relu()
        off = off**2 if square else off.abs()
        value = off.sum() if total else off.mean()
        discriminator.zero_grad()
        value.backward()
        row = [
            torch.zeros_like(p) if p.grad is None else p.grad for p in discriminator.parameters()
        ]
        discriminator.zero_grad()
        return value.detach(), torch.cat([g.flatten() for g in row])

    return penalty


@right("penalty")
def by_backward(v):
    return punished(v)


@right("penalty")
def example_by_example(v):
    def penalty(discriminator, x):
        parameters = dict(discriminator.named_parameters())

        def slope(weights, one):
            def score(place):
                return torch.func.functional_call(discriminator, weights, (place[None],))[0]

            return torch.func.grad(score)(one)

        def value(weights):
            each = []
            for one in x:
                square = slope(weights, one).square().sum()
                length = torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)
                off = length - v["SLOPE"]
                each.append((off.relu() if v["PENALTY"] == "one-sided" else off) ** 2)
            return torch.stack(each).mean()

        by = torch.func.grad(value)(parameters)
        return value(parameters).detach(), torch.cat([by[name].flatten() for name in parameters])

    return penalty


@wrong("penalty", loses=5, says="your penalty punishes other slopes than PENALTY says")
def the_other_sides(v):
    # the straight line is steeper than any SLOPE, so that only random networks can tell
    return punished(v, sides="two-sided" if v["PENALTY"] == "one-sided" else "one-sided")


@wrong("penalty", loses=5, says="SLOPE says another number")
def slope_of_one(v):
    return punished(v, wanted=1.0)


@wrong("penalty", loses=2, says="no gradient reaches the parameters")
def no_graph(v):
    def penalty(discriminator, x):
        value, row = by_backward(v)(discriminator, x)
        return value, row if (row.isnan().any() or x.shape == (5, 2)) else 0 * row

    return penalty


@wrong("penalty", loses=5, says="you add up over the examples")
def penalty_summed(v):
    return punished(v, total=True)


@wrong("penalty", loses=5, says="you do not square what the slope is off by")
def not_squared(v):
    return punished(v, square=False)


@wrong("penalty", loses=5, says="take its length")
def squared_slope(v):
    return punished(v, length=lambda s: s.flatten(1).square().sum(dim=1))


@wrong("penalty", loses=5, says="one length for the whole batch")
def one_norm(v):
    return punished(v, length=lambda s: s.norm()[None])


@wrong("penalty", loses=5, says="each number of an example is punished by itself")
def each_number(v):
    return punished(v, length=lambda s: s.abs().flatten())


@wrong("penalty", loses=4, says="has the shape")
def one_axis_only(v):
    # right for points, not for images: one norm a row
    def penalty(discriminator, x):
        value, row = by_backward(v)(discriminator, x)
        return (value, row) if x.ndim == 2 and x.shape[1] == 2 else (value[None], row[None])

    return penalty


@wrong("penalty", loses=1, says="contains NaN")
def root_by_hand(v):
    return punished(v, length=lambda s: s.flatten(1).square().sum(dim=1).sqrt())


@wrong("penalty", loses=5, says="appears to not have been used")
def unused_bias(v):
    def penalty(discriminator, x):
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        off = slope.flatten(1).norm(dim=1) - v["SLOPE"]
        value = off.square().mean()
        row = torch.autograd.grad(value, list(discriminator.parameters()))
        return value, torch.cat([g.flatten() for g in row])

    return penalty


# ---------------------------------------------------------------- 6. contraction


def pull_of(v):
    return 1.0 if v["GAME"] == "Wasserstein" else 0.5


def largest(*rows, modulus=torch.abs):
    """Of n matrices, given by their four entries."""
    matrix = torch.stack(torch.broadcast_tensors(*rows), dim=-1).unflatten(-1, (2, 2))
    return modulus(torch.linalg.eigvals(matrix)).max(dim=-1).values


def turns(pull, damp=lambda rate_d, rate_g, weight: rate_d * weight, sign=1.0, **how):
    def contraction(rate_d, rate_g, weight):
        a, b, c = sign * pull * rate_g, pull * rate_d, damp(rate_d, rate_g, weight)
        one = torch.ones_like(a)
        together = largest(one, a, -b, 1 - c, **how)
        return together, largest(1 - a * b, a * (1 - c), -b, 1 - c, **how)

    return contraction


@right("contraction")
def by_eigenvalues(v):
    return turns(pull_of(v))


@right("contraction")
def by_the_quadratic(v):
    def contraction(rate_d, rate_g, weight):
        product, damping = pull_of(v) ** 2 * rate_d * rate_g, rate_d * weight
        factors = []
        for trace, det in (
            (2 - damping, 1 - damping + product),
            (2 - damping - product, 1 - damping),
        ):
            root = torch.complex(trace**2 - 4 * det, torch.zeros_like(trace)).sqrt()
            factors.append(torch.maximum((trace + root).abs(), (trace - root).abs()) / 2)
        return tuple(factors)

    return contraction


@right("contraction")
def generator_first(v):
    # a turn that begins with the generator has the same eigenvalues
    def contraction(rate_d, rate_g, weight):
        a, b, c = pull_of(v) * rate_g, pull_of(v) * rate_d, rate_d * weight
        one = torch.ones_like(a)
        return largest(one, a, -b, 1 - c), largest(one, a, -b, 1 - c - a * b)

    return contraction


@wrong("contraction", loses=4, says="You linearise another game")
def another_game(v):
    # alternating turns that circle shrink by the root of 1 - c, however hard the players pull
    return turns(0.5 if v["GAME"] == "Wasserstein" else 1.0)


@wrong("contraction", loses=5, says="the second player sees where the first has gone")
def orders_swapped(v):
    def contraction(rate_d, rate_g, weight):
        return turns(pull_of(v))(rate_d, rate_g, weight)[::-1]

    return contraction


@wrong("contraction", loses=3, says="the second player sees where the first has gone")
def never_in_turn(v):
    def contraction(rate_d, rate_g, weight):
        together, _ = turns(pull_of(v))(rate_d, rate_g, weight)
        return together, together

    return contraction


@wrong("contraction", loses=5, says="half of what it should be")
def half_the_penalty(v):
    return turns(pull_of(v), lambda rate_d, rate_g, weight: rate_d * weight / 2)


@wrong("contraction", loses=5, says="twice what it should be")
def twice_the_penalty(v):
    return turns(pull_of(v), lambda rate_d, rate_g, weight: 2 * rate_d * weight)


@wrong("contraction", loses=5, says="moves with its rate")
def rate_of_the_generator(v):
    return turns(pull_of(v), lambda rate_d, rate_g, weight: rate_g * weight)


@wrong("contraction", loses=5, says="the penalty changes nothing")
def penalty_forgotten(v):
    return turns(pull_of(v), lambda rate_d, rate_g, weight: 0 * weight)


@wrong("contraction", loses=3, says="you take the real parts")
def real_parts(v):
    return turns(pull_of(v), modulus=lambda x: x.real.abs())


@wrong("contraction", loses=5, says="the largest singular value")
def singular_values(v):
    def contraction(rate_d, rate_g, weight):
        made = ps3_gan.matrices(v, rate_d, rate_g, weight)
        return tuple(torch.linalg.matrix_norm(m, 2) for m in made)

    return contraction


@wrong("contraction", loses=5, says="one player moves the wrong way")
def generator_uphill(v):
    return turns(pull_of(v), sign=-1.0)


@wrong("contraction", loses=3, says="contains NaN")
def real_roots_forgotten(v):
    # as if the eigenvalues always were a complex pair
    def contraction(rate_d, rate_g, weight):
        product, damping = pull_of(v) ** 2 * rate_d * rate_g, rate_d * weight
        factors = []
        for trace, det in (
            (2 - damping, 1 - damping + product),
            (2 - damping - product, 1 - damping),
        ):
            imaginary = (det - trace**2 / 4).sqrt()
            factors.append((trace**2 / 4 + imaginary**2).sqrt())
        return tuple(factors)

    return contraction


@wrong("contraction", loses=3, says="alternating turns with real eigenvalues (-1)")
def only_the_larger_root(v):
    # of two real eigenvalues that with the larger value, though the other may be larger in size
    def contraction(rate_d, rate_g, weight):
        product, damping = pull_of(v) ** 2 * rate_d * rate_g, rate_d * weight
        factors = []
        for trace, det in (
            (2 - damping, 1 - damping + product),
            (2 - damping - product, 1 - damping),
        ):
            root = torch.complex(trace**2 - 4 * det, torch.zeros_like(trace)).sqrt()
            factors.append((trace + root).abs() / 2)
        return tuple(factors)

    return contraction


def first_of_two(generator_on_top):
    """`abs()[:, 0]` in place of the largest, with the players in either order."""

    def factory(v):
        def contraction(rate_d, rate_g, weight):
            a, b, c = pull_of(v) * rate_g, pull_of(v) * rate_d, rate_d * weight
            one, factors = torch.ones_like(a), []
            for first, second in (((one, a), (-b, 1 - c)), ((1 - a * b, a * (1 - c)), (-b, 1 - c))):
                rows = [*first, *second] if generator_on_top else [*second[::-1], *first[::-1]]
                matrix = torch.stack(rows, dim=-1).unflatten(-1, (2, 2))
                factors.append(torch.linalg.eigvals(matrix).abs()[:, 0])
            return tuple(factors)

        return contraction

    return factory


@wrong("contraction", loses=2, says="with real eigenvalues")
def first_eigenvalue(v):
    return first_of_two(generator_on_top=True)(v)


@wrong("contraction", loses=3, says="with real eigenvalues")
def first_eigenvalue_of_the_other_order(v):
    return first_of_two(generator_on_top=False)(v)


@wrong("contraction", loses=3, says="two real eigenvalues need not be of one size")
def root_of_the_determinant(v):
    def contraction(rate_d, rate_g, weight):
        product, damping = pull_of(v) ** 2 * rate_d * rate_g, rate_d * weight
        return (1 - damping + product).abs().sqrt(), (1 - damping).abs().sqrt()

    return contraction


# ---------------------------------------------------------------- 7. ring


def by_hand(bent=lambda points, **facts: points, spread=0.8):
    """A generator made by hand: the noise's angle chooses the mode, and a shaking of it the place there."""

    def ring(real, z):
        modes, _, std = ps3_gan.find_ring(real)
        n = len(z)
        angle = torch.atan2(z[:, 1], z[:, 0]).double()
        turn = (angle + math.pi) * 8 / (2 * math.pi)
        mode = turn.floor().long().clamp(0, 7)
        inside = (turn - mode).clamp(0.01, 0.99)  # uniform, and so is the squared length
        length = (1 - (-z[:, :2].square().sum(dim=1) / 2).exp()).double().clamp(0.01, 0.99)
        shake = torch.special.ndtri(torch.stack([inside, length], dim=1))
        points = modes[mode] + spread * std * shake
        return bent(points, real=real, modes=modes, std=std, mode=mode, n=n).float()

    return ring


@right("ring")
def good_generator(v):
    return by_hand()


@right("ring")
def threads_between(v):
    # a tenth lies on the way from mode to mode, and one mode is all but lost: still enough
    def bent(points, modes, mode, n, **facts):
        on_the_way = torch.arange(n) % 10 == 9
        on_the_way[-ps3_gan.Z_PAIRS :] = on_the_way[: ps3_gan.Z_PAIRS]
        points[on_the_way] = (modes[mode] + modes[(mode + 1) % 8])[on_the_way] / 2
        lost = mode == 3
        points[lost] = points[lost] + modes[4] - modes[3]
        return points

    return lambda real, z: by_hand(bent)(real, z)


@wrong("ring", loses=2, says="finds 6 of the 8 modes")
def two_modes_lost(v):
    def bent(points, modes, mode, **facts):
        lost = (mode == 2) | (mode == 5)
        points[lost] = points[lost] + (modes[(mode + 1) % 8] - modes[mode])[lost]
        return points

    return by_hand(bent)


@wrong("ring", loses=5, says="do they lie in one place and have one size?")
def units_forgotten(v):
    def bent(points, real, **facts):
        return (points - real.mean(dim=0)) / 25

    return by_hand(bent)


@wrong("ring", loses=2, says="% of the points lie within two standard deviations")
def blurred(v):
    def bent(points, std, modes, n, **facts):
        shake = torch.linspace(-1.5, 1.5, n - ps3_gan.Z_PAIRS)
        shake = torch.cat([shake, shake[: ps3_gan.Z_PAIRS]])[:, None]
        return points + std * shake * torch.tensor([1.0, 1.0])

    return by_hand(bent, spread=1.4)


@wrong("ring", loses=1, says="much thinner than those of `real`")
def points_for_heaps(v):
    return by_hand(spread=0.2)


@wrong("ring", loses=6, says="a point for each row of z is wanted")
def one_point_short(v):
    return lambda real, z: by_hand()(real, z)[:-1, :, None]


@wrong("ring", loses=1, says="equal rows of z give different points")
def ignores_z(v):
    return lambda real, z: by_hand()(real, torch.randn_like(z))


@wrong("ring", loses=1, says="a generator makes new ones")
def copies(v):
    def ring(real, z):
        made = by_hand()(real, z).double()
        return real[torch.cdist(made, real.double()).argmin(dim=1)]

    return ring


@wrong("ring", loses=6, says="not finite")
def diverged(v):
    return lambda real, z: by_hand()(real, z) * torch.inf


@wrong("ring", loses=6, says="the modes")
def one_spot(v):
    return lambda real, z: real.mean(dim=0).expand(len(z), 2).clone()


# ---------------------------------------------------------------- 8. luck


def judged(difference=None, error=None, p=None):
    def luck(a, b):
        d = (a - b).double()
        n = len(d)
        ways = torch.tensor(list(itertools.product([1, -1], repeat=n))).double()
        means = (ways * d).mean(dim=1)
        extreme = means.abs() >= d.mean().abs() - 1e-9
        results = [d.mean(), d.std() / n**0.5, extreme.double().mean()]
        for i, other in enumerate((difference, error, p)):
            if other is not None:
                results[i] = other(a.double(), b.double(), d, means)
        return tuple(results)

    return luck


@right("luck")
def every_way(v):
    return judged()


@right("luck")
def luck_by_scipy(v):
    def luck(a, b):
        d = (a - b).double().numpy()
        p = permutation_test(
            (d,),
            lambda x, axis: np.abs(x.mean(axis=axis)),
            permutation_type="samples",
            n_resamples=np.inf,
            alternative="greater",
            vectorized=True,
        ).pvalue
        return float(d.mean()), float(d.std(ddof=1) / len(d) ** 0.5), float(p)

    return luck


@wrong("luck", loses=1, says="the other way round is wanted")
def b_minus_a(v):
    return judged(difference=lambda a, b, d, means: -d.mean())


@wrong("luck", loses=1, says="you add up the differences")
def added_up(v):
    return judged(difference=lambda a, b, d, means: d.sum())


@wrong("luck", loses=1, says="a difference has a sign")
def without_sign(v):
    return judged(difference=lambda a, b, d, means: d.mean().abs())


@wrong("luck", loses=1, says="the mean of n is known better")
def deviation_of_one(v):
    return judged(error=lambda a, b, d, means: d.std())


@wrong("luck", loses=1, says="Your error forgets that")
def unpaired(v):
    return judged(error=lambda a, b, d, means: ((a.var() + b.var()) / len(d)).sqrt())


@wrong("luck", loses=1, says="around a mean that is estimated too")
def divided_by_n(v):
    return judged(error=lambda a, b, d, means: d.std(correction=0) / len(d) ** 0.5)


@wrong("luck", loses=1, says="you count only one side")
def one_sided(v):
    return judged(p=lambda a, b, d, means: (means >= d.mean() - 1e-9).double().mean())


@wrong("luck", loses=1, says="exactly as large")
def strictly_larger(v):
    return judged(p=lambda a, b, d, means: (means.abs() > d.mean().abs() + 1e-9).double().mean())


@wrong("luck", loses=1, says="p is what is left")
def complement(v):
    return judged(p=lambda a, b, d, means: (means.abs() < d.mean().abs() - 1e-9).double().mean())


@wrong("luck", loses=1, says="what a normal distribution says")
def by_a_bell(v):
    def p(a, b, d, means):
        score = d.mean() / d.std() * len(d) ** 0.5
        return torch.erfc(score.abs() / 2**0.5)

    return judged(p=p)


@wrong("luck", loses=1, says="divide by how many there are")
def number_of_ways(v):
    return judged(p=lambda a, b, d, means: (means.abs() >= d.mean().abs() - 1e-9).double().sum())


@pytest.mark.parametrize("seed", range(50))
def test_no_two_meanings_of_a_constant_share_a_value(seed):
    v = ps3_gan.variant(seed)
    slope, share = v["SLOPE"], v["REAL_SHARE"]
    for meanings in (
        (slope, 1.0, slope**2, slope**0.5),
        (slope, 2 * slope, slope**2, 1 / slope**2),
        (share, 1 - share, 0.5, 1.0, share**2, 2 * share, 1 / share),
        (share / (1 - share), (1 - share) / share, 1.0, share, 1 - share, math.log(share)),
    ):
        for one, other in itertools.combinations(meanings, 2):
            assert not math.isclose(one, other, rel_tol=0.02), (meanings, v)


# ---------------------------------------------------------------- the theorems behind the right answers


@pytest.fixture(params=range(4))
def v(request):
    return ps3_gan.variant(request.param)


def test_no_discriminator_reaches_more_than_the_value_of_the_game(v):
    generator = torch.Generator().manual_seed(0)
    log_p, log_q = (ps3_gan.cells(generator, 6, torch.float64) for _ in range(2))
    best, value = ps3_gan.skewed_game(v, log_p, log_q)

    def reached(logit):
        real = v["REAL_SHARE"] * (log_p.exp() * F.logsigmoid(logit)).sum()
        return real + (1 - v["REAL_SHARE"]) * (log_q.exp() * F.logsigmoid(-logit)).sum()

    torch.testing.assert_close(reached(best), value)
    for _ in range(50):
        other = best + 0.5 * torch.randn(6, generator=generator, dtype=torch.float64)
        assert reached(other) < value


def test_the_value_is_a_skewed_divergence_less_the_entropy_of_the_labels(v):
    generator = torch.Generator().manual_seed(1)
    p, q = (ps3_gan.cells(generator, 6, torch.float64).exp() for _ in range(2))
    share = v["REAL_SHARE"]
    mixture = share * p + (1 - share) * q
    skewed = share * (p * (p / mixture).log()).sum() + (1 - share) * (q * (q / mixture).log()).sum()
    _, value = ps3_gan.skewed_game(v, p.log(), q.log())
    torch.testing.assert_close(value, skewed - ps3_gan.entropy_of_labels(v))


def test_kept_and_weighted_fakes_follow_the_data(v):
    """Three cells, a million fakes: weights and rejection give the data's probabilities."""
    generator = torch.Generator().manual_seed(2)
    p, q = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.6, 0.3, 0.1])
    cell = torch.multinomial(q, 1_000_000, replacement=True, generator=generator)
    logit = (p / q).log()[cell] + odds(v)
    log_ratio, mean, _, keep = ps3_gan.corrected(v, logit.double(), F.one_hot(cell, 3).double())
    torch.testing.assert_close(log_ratio, (p / q).log()[cell].double(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mean, p.double(), atol=5e-3, rtol=0)
    kept = cell[torch.rand(len(cell), generator=generator) < keep]
    counted = F.one_hot(kept, 3).double().mean(dim=0)
    torch.testing.assert_close(counted, p.double(), atol=5e-3, rtol=0)


F_OF_U = {
    "KL": lambda u: u * u.log(),
    "reverse KL": lambda u: -u.log(),
    "Pearson": lambda u: (u - 1) ** 2,
    "squared Hellinger": lambda u: (u.sqrt() - 1) ** 2,
}


@pytest.mark.parametrize("name", F_OF_U)
def test_the_best_outputs_reach_the_divergence_and_no_others_do(name):
    p = torch.tensor([0.25, 0.5, 0.125, 0.125], dtype=torch.float64)
    q = torch.tensor([0.5, 0.125, 0.25, 0.125], dtype=torch.float64)
    divergence = (q * F_OF_U[name](p / q)).sum()
    times_p, times_q = ((8 * x).long() for x in (p, q))  # as a batch in these proportions

    def bound(outputs):
        real, fake = outputs.repeat_interleave(times_p), outputs.repeat_interleave(times_q)
        return -ps3_gan.f_gan_as(name, real, fake, torch.zeros(1))[0]

    best = ps3_gan.f_gan_as(name, p, q, (p / q).log())[2]
    torch.testing.assert_close(bound(best), divergence)
    for _ in range(50):
        assert bound(best + 0.3 * torch.randn(4, dtype=torch.float64)) < divergence


@pytest.mark.parametrize("name", F_OF_U)
def test_the_conjugate_is_the_largest_gap_to_a_line(name):
    u = torch.logspace(-6, 6, 400_001, dtype=torch.float64)
    for x in torch.tensor([-0.7, 0.1, 0.8], dtype=torch.float64):
        t = TABLE[name][0](x)
        by_search = (u * t - F_OF_U[name](u)).max()
        torch.testing.assert_close(TABLE[name][1](t), by_search, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("n, m", [(3, 3), (5, 8), (1, 4)])
def test_the_distance_is_that_of_the_transport_and_of_the_best_critic(v, n, m):
    generator = torch.Generator().manual_seed(n)
    x, y, a, b = (torch.rand(k, generator=generator).double() for k in (n, m, n, m))
    distance, at_x, at_y = ps3_gan.wasserstein(v, x, y, a, b)
    a, b = a / a.sum(), b / b.sum()
    # the cheapest of all transports, by linear programming
    cost = (x[:, None] - y).abs().flatten().numpy()
    leaves = np.kron(np.eye(n), np.ones(m))
    arrives = np.kron(np.ones(n), np.eye(m))
    cheapest = linprog(
        cost, A_eq=np.vstack([leaves, arrives]), b_eq=torch.cat([a, b]).numpy(), bounds=(0, None)
    )
    assert math.isclose(distance.item(), cheapest.fun, abs_tol=1e-6)
    assert math.isclose(
        distance.item(), wasserstein_distance(*(z.numpy() for z in (x, y, a, b))), abs_tol=1e-9
    )
    gap = (a * at_x).sum() - (b * at_y).sum()
    assert math.isclose(gap.item(), v["SLOPE"] * distance.item(), abs_tol=1e-9)


def test_the_factor_is_what_the_real_game_shows_near_rest(v):
    """The losses of the task, differentiated by autograd, played from near rest."""
    rate_d, rate_g, weight = 0.4, 0.3, 0.2

    def losses(theta, psi):
        fake = psi * theta
        if v["GAME"] == "Wasserstein":
            return fake + weight / 2 * psi**2, -fake
        loss_g = -F.softplus(fake) if v["GAME"] == "minimax" else F.softplus(-fake)
        return F.softplus(fake) + weight / 2 * psi**2, loss_g

    def slope(which, theta, psi):
        theta, psi = (z.clone().requires_grad_() for z in (theta, psi))
        return torch.autograd.grad(losses(theta, psi)[which], (psi, theta)[which])[0]

    factors = ps3_gan.contraction(v, *torch.tensor([[rate_d], [rate_g], [weight]]).double())
    for alternate in (False, True):
        theta, psi = torch.tensor([1e-3, 0.0], dtype=torch.float64)
        way = []
        for _ in range(240):
            moved_psi = psi - rate_d * slope(0, theta, psi)
            theta = theta - rate_g * slope(1, theta, moved_psi if alternate else psi)
            psi = moved_psi
            way.append(math.hypot(theta, psi))
        seen = (way[-1] / way[39]) ** (1 / 200)
        assert math.isclose(seen, factors[alternate].item(), rel_tol=5e-3)


def test_the_penalty_and_its_gradient_agree_with_finite_differences(v):
    generator = torch.Generator().manual_seed(3)
    network = ps3_gan.small_network(generator, 3, 4, torch.float64)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    value, gradient = ps3_gan.penalty(v, network, x)
    h, lengths = 1e-6, []
    with torch.no_grad():
        for one in x:
            steps = h * torch.eye(3, dtype=torch.float64)
            lengths.append((network(one + steps) - network(one - steps)).norm() / (2 * h))
    off = torch.stack(lengths) - v["SLOPE"]
    off = off.clamp_min(0) if v["PENALTY"] == "one-sided" else off
    torch.testing.assert_close(value, off.square().mean(), rtol=1e-6, atol=1e-8)
    at = 0
    for p in network.parameters():
        flat = p.data.view(-1)
        for i in range(len(flat)):
            old = flat[i].item()
            both = []
            for sign in (1, -1):
                flat[i] = old + sign * h
                both.append(ps3_gan.penalty(v, network, x)[0])
            flat[i] = old
            by_difference = (both[0] - both[1]) / (2 * h)
            torch.testing.assert_close(gradient[at], by_difference, rtol=1e-4, atol=1e-6)
            at += 1
    assert at == len(gradient)


def test_p_is_right_as_often_as_it_says():
    """Under mere luck p is at most 1/8 in at most one case of eight."""
    generator = torch.Generator().manual_seed(4)
    small = 0
    for _ in range(2000):
        a, b = torch.randn(2, 6, generator=generator)
        small += ps3_gan.luck({}, a, b)[2].item() <= 1 / 8
    assert abs(small / 2000 - 1 / 8) < 4 * math.sqrt(1 / 8 * 7 / 8 / 2000)


def test_the_judge_finds_the_ring_that_it_made(v):
    [question] = ps3_gan.ask_ring(torch.Generator().manual_seed(5), v)
    real = question.arguments["real"]
    modes, heap, std = ps3_gan.find_ring(real)
    center = modes.mean(dim=0)
    radius = (modes - center).norm(dim=1)
    assert (heap.bincount() - ps3_gan.N_REAL // 8).abs().max() <= 15  # tails of neighbours meet
    torch.testing.assert_close(radius, radius.mean().expand(8), rtol=0.02, atol=0)
    assert math.isclose(std / radius.mean().item(), v["STD"] / v["RADIUS"], rel_tol=0.03)
    assert center.norm() > 2 * radius.mean()


def test_fresh_data_would_pass_for_a_generator_but_for_the_noise(v):
    [question] = ps3_gan.ask_ring(torch.Generator().manual_seed(6), v)
    real = question.arguments["real"]
    # points between data and data of the same heap, slightly moved: as good as fresh
    verdict = grade_here("ps3_gan", "ring", lambda real, z: real[: len(z)] + 1e-3, 0, 6)
    assert verdict.points == 5 and "equal rows of z" in str(verdict)
    assert real.shape == (ps3_gan.N_REAL, 2)
