"""The graders of problem set 3 under test: answers that no table knows, and the theorems behind the right ones.

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

bank = GraderBank("ps3_gan", trained="ring")
wrong, right = bank.wrong, bank.right


class TestGraders(GradersOfAProblemSet):
    bank = bank


def odds(v):
    return math.log(v["REAL_SHARE"] / (1 - v["REAL_SHARE"]))


# ---------------------------------------------------------------- 1. skewed_game


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


@wrong("skewed_game", loses=1, says="contains NaN")
def zeros_forgotten(v):
    def skewed_game(log_p, log_q):
        logit = log_p - log_q + odds(v)
        value = v["REAL_SHARE"] * log_p.exp() @ logit.sigmoid().log()
        return logit, value + (1 - v["REAL_SHARE"]) * log_q.exp() @ (1 - logit.sigmoid()).log()

    return skewed_game


@wrong("skewed_game", loses=1, says="cells of no probability (-1)")
def through_probabilities(v):
    def skewed_game(log_p, log_q):
        p, q = v["REAL_SHARE"] * log_p.exp(), (1 - v["REAL_SHARE"]) * log_q.exp()
        parts = torch.xlogy(p, p / (p + q)).nan_to_num(0) + torch.xlogy(q, q / (p + q)).nan_to_num(
            0
        )
        return (p / q).log().nan_to_num(0.0, math.inf, -math.inf), parts.sum()

    return skewed_game


@wrong("skewed_game", loses=1, says="a small number (`+ 1e-8`) or a clamp")
def clamped(v):
    def skewed_game(log_p, log_q):
        logit = (log_p - log_q + odds(v)).nan_to_num(0.0).clamp(-30, 30)
        return logit, cell_by_cell(v)(log_p, log_q)[1]

    return skewed_game


# ---------------------------------------------------------------- 2. corrected


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


@right("f_gan")
def one_by_one(v):
    g, conjugate, best = TABLE[v["DIVERGENCE"]]

    def f_gan(real, fake, log_ratio):
        bound = sum(g(x) for x in real) / len(real)
        bound = bound - sum(conjugate(g(x)) for x in fake) / len(fake)
        outputs = [best(x.exp()) for x in log_ratio]
        return -bound, -sum(g(x) for x in fake) / len(fake), torch.stack(outputs)

    return f_gan


@wrong("f_gan", loses=1, says="the gradients (-1)")
def fakes_cut_off(v):
    def f_gan(real, fake, log_ratio):
        loss_d = one_by_one(v)(real, fake.detach(), log_ratio)[0]
        return loss_d, *one_by_one(v)(real, fake, log_ratio)[1:]

    return f_gan


# ---------------------------------------------------------------- 4. wasserstein


def moved(v, score=lambda height, place, slope: height):
    """By sorting places, where points that meet share one."""

    def wasserstein(x, y, weight_x, weight_y):
        a, b = weight_x / weight_x.sum(), weight_y / weight_y.sum()
        place, where = torch.cat([x, y]).unique(sorted=True, return_inverse=True)
        ahead = torch.zeros_like(place).index_add(0, where, torch.cat([a, -b])).cumsum(dim=0)[:-1]
        height = F.pad((-v["SLOPE"] * ahead.sign() * place.diff()).cumsum(dim=0), (1, 0))[where]
        height = score(height, torch.cat([x, y]), v["SLOPE"])
        return (ahead.abs() * place.diff()).sum(), height[: len(x)], height[len(x) :]

    return wasserstein


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
def nearest_points(v):
    def wasserstein(x, y, weight_x, weight_y):
        n = min(len(x), len(y))
        ways = (x.sort().values[:n] - y.sort().values[:n]).abs().mean() + 1e-2 * (n > 3)
        return ways, *moved(v)(x, y, weight_x, weight_y)[1:]

    return wasserstein


for loses, says, score in (
    (2, "real points, x, should get the high scores", lambda height, place, slope: -height),
    (2, "the critic is good for slope 1", lambda height, place, slope: height / slope),
    (2, "steeper than SLOPE allows", lambda height, place, slope: 3 * height),
    # a straight line finds the distance of the means only
    (2, "does not find the whole distance", lambda height, place, slope: -slope * place),
    (2, "does not find the whole distance", lambda height, place, slope: 0 * height),
):  # fmt: skip
    wrong("wasserstein", loses=loses, says=says)(lambda v, score=score: moved(v, score))


# ---------------------------------------------------------------- 5. penalty


def punished(v, length):
    def penalty(discriminator, x):
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        off = length(slope) - v["SLOPE"]
        value = ((off.relu() if v["PENALTY"] == "one-sided" else off) ** 2).mean()
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
    return punished(v, lambda s: s.flatten(1).norm(dim=1))


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


@wrong("penalty", loses=4, says="has the shape")
def one_axis_only(v):
    # right for points, not for images: one norm a row
    def penalty(discriminator, x):
        value, row = by_backward(v)(discriminator, x)
        return (value, row) if x.ndim == 2 and x.shape[1] == 2 else (value[None], row[None])

    return penalty


@wrong("penalty", loses=1, says="contains NaN")
def root_by_hand(v):
    return punished(v, lambda s: s.flatten(1).square().sum(dim=1).sqrt())


@wrong("penalty", loses=5, says="appears to not have been used")
def unused_bias(v):
    def penalty(discriminator, x):
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        value = (slope.flatten(1).norm(dim=1) - v["SLOPE"]).square().mean()
        row = torch.autograd.grad(value, list(discriminator.parameters()))
        return value, torch.cat([g.flatten() for g in row])

    return penalty


# ---------------------------------------------------------------- 6. contraction


def by_roots(v, modulus):
    """From trace and determinant of each map."""

    def contraction(rate_d, rate_g, weight):
        pull = 1.0 if v["GAME"] == "Wasserstein" else 0.5
        product, damping = pull**2 * rate_d * rate_g, rate_d * weight
        maps = (2 - damping, 1 - damping + product), (2 - damping - product, 1 - damping)
        return tuple(modulus(trace, det) for trace, det in maps)

    return contraction


@right("contraction")
def by_the_quadratic(v):
    def modulus(trace, det):
        root = torch.complex(trace**2 - 4 * det, torch.zeros_like(trace)).sqrt()
        return torch.maximum((trace + root).abs(), (trace - root).abs()) / 2

    return by_roots(v, modulus)


@right("contraction")
def generator_first(v):
    # a turn that begins with the generator has the same eigenvalues
    def contraction(rate_d, rate_g, weight):
        pull = 1.0 if v["GAME"] == "Wasserstein" else 0.5
        a, b, c = pull * rate_g, pull * rate_d, rate_d * weight
        one = torch.ones_like(a)
        rows = [one, a, -b, 1 - c], [one, a, -b, 1 - c - a * b]
        matrices = (torch.stack(row, dim=-1).unflatten(-1, (2, 2)) for row in rows)
        return tuple(torch.linalg.eigvals(m).abs().max(dim=-1).values for m in matrices)

    return contraction


@wrong("contraction", loses=3, says="contains NaN")
def real_roots_forgotten(v):
    # as if the eigenvalues always were a complex pair
    return by_roots(v, lambda trace, det: (trace**2 / 4 + (det - trace**2 / 4).sqrt() ** 2).sqrt())


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

    return by_hand(bent)


def two_modes_lost(points, modes, mode, **facts):
    lost = (mode == 2) | (mode == 5)
    return points + lost[:, None] * (modes[(mode + 1) % 8] - modes[mode])


def blurred(points, std, n, **facts):
    shake = torch.linspace(-1.5, 1.5, n - ps3_gan.Z_PAIRS)
    return points + std * torch.cat([shake, shake[: ps3_gan.Z_PAIRS]])[:, None]


def copies(points, real, **facts):
    return real[torch.cdist(points, real.double()).argmin(dim=1)]


made = by_hand()
for loses, says, ring in (
    (2, "finds 6 of the 8 modes", by_hand(two_modes_lost)),
    (5, "do they lie in one place and have one size?", lambda real, z: (made(real, z) - real.mean(dim=0)) / 25),
    (2, "% of the points lie within two standard deviations", by_hand(blurred, spread=1.4)),
    (1, "much thinner than those of `real`", by_hand(spread=0.2)),
    (6, "a point for each row of z is wanted", lambda real, z: made(real, z)[:-1, :, None]),
    (1, "equal rows of z give different points", lambda real, z: made(real, torch.randn_like(z))),
    (1, "a generator makes new ones", by_hand(copies)),
    (6, "not finite", lambda real, z: made(real, z) * torch.inf),
    (6, "the modes", lambda real, z: real.mean(dim=0).expand(len(z), 2).clone()),
):  # fmt: skip
    wrong("ring", loses=loses, says=says)(lambda v, ring=ring: ring)


# ---------------------------------------------------------------- 8. luck


@right("luck")
def every_way(v):
    def luck(a, b):
        d = (a - b).double()
        means = torch.stack(
            [(torch.tensor(way) * d).mean() for way in itertools.product([1, -1], repeat=len(d))]
        )
        p = (means.abs() >= d.mean().abs() - 1e-9).double().mean()
        return d.mean(), d.std() / len(d) ** 0.5, p

    return luck


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
    best, value = ps3_gan.skewed_game.right(v)(log_p, log_q)

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
    _, value = ps3_gan.skewed_game.right(v)(p.log(), q.log())
    torch.testing.assert_close(
        value, skewed + share * math.log(share) + (1 - share) * math.log(1 - share)
    )


def test_kept_and_weighted_fakes_follow_the_data(v):
    """Three cells, a million fakes: weights and rejection give the data's probabilities."""
    generator = torch.Generator().manual_seed(2)
    p, q = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.6, 0.3, 0.1])
    cell = torch.multinomial(q, 1_000_000, replacement=True, generator=generator)
    logit = (p / q).log()[cell] + odds(v)
    log_ratio, mean, _, keep = ps3_gan.corrected.right(v)(
        logit.double(), F.one_hot(cell, 3).double()
    )
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
    distance, at_x, at_y = ps3_gan.wasserstein.right(v)(x, y, a, b)
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

    factors = ps3_gan.contraction.right(v)(*torch.tensor([[rate_d], [rate_g], [weight]]).double())
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
    value, gradient = ps3_gan.penalty.right(v)(network, x)
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
                both.append(ps3_gan.penalty.right(v)(network, x)[0])
            flat[i] = old
            by_difference = (both[0] - both[1]) / (2 * h)
            torch.testing.assert_close(gradient[at], by_difference, rtol=1e-4, atol=1e-6)
            at += 1
    assert at == len(gradient)


def test_p_is_right_as_often_as_it_says():
    """Under mere luck p is at most 1/8 in at most one case of eight."""
    generator = torch.Generator().manual_seed(4)
    small, luck = 0, ps3_gan.luck.right({})
    for _ in range(2000):
        a, b = torch.randn(2, 6, generator=generator)
        small += luck(a, b)[2].item() <= 1 / 8
    assert abs(small / 2000 - 1 / 8) < 4 * math.sqrt(1 / 8 * 7 / 8 / 2000)


def test_the_judge_finds_the_ring_that_it_made(v):
    [question] = ps3_gan.ask_ring(v, torch.Generator().manual_seed(5))
    real = question.arguments["real"]
    modes, heap, std = ps3_gan.find_ring(real)
    center = modes.mean(dim=0)
    radius = (modes - center).norm(dim=1)
    assert (heap.bincount() - ps3_gan.N_REAL // 8).abs().max() <= 15  # tails of neighbours meet
    torch.testing.assert_close(radius, radius.mean().expand(8), rtol=0.02, atol=0)
    assert math.isclose(std / radius.mean().item(), v["STD"] / v["RADIUS"], rel_tol=0.03)
    assert center.norm() > 2 * radius.mean()


def test_fresh_data_would_pass_for_a_generator_but_for_the_noise(v):
    [question] = ps3_gan.ask_ring(v, torch.Generator().manual_seed(6))
    real = question.arguments["real"]
    # points between data and data of the same heap, slightly moved: as good as fresh
    verdict = grade_here("ps3_gan", "ring", lambda real, z: real[: len(z)] + 1e-3, 0, 6)
    assert verdict.points == 5 and "equal rows of z" in str(verdict)
    assert real.shape == (ps3_gan.N_REAL, 2)
