import math
import statistics

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, kl_divergence

from course.checking.suite import Bank, StepsOfALesson
from genlib import metrics
from genlib.data import load
from genlib.metrics import bars_counts, bars_kl, bits_per_dim

bank = Bank("comparison")
difference, bits, divergences, mixture, entropy, precision_recall, speed_up, unbeaten = (
    bank.solutions[step] for step in bank.steps
)


# ---------------------------------------------------------------- 1. difference


def by_hand(a, b):
    n, ahead = len(a), a - b
    mean = ahead.sum() / n
    return mean, (((ahead - mean) ** 2).sum() / (n * (n - 1))).sqrt()


def by_covariances(a, b):
    c = torch.cov(torch.stack([a, b]).double())
    return a.mean() - b.mean(), ((c[0, 0] + c[1, 1] - 2 * c[0, 1]) / len(a)).sqrt()


def by_population_over_n_minus_1(a, b):
    return (a - b).mean(), (a - b).std(correction=0) / math.sqrt(len(a) - 1)


def as_numbers(answer):
    return lambda *given: tuple(float(x) for x in answer(*given))


bank.right(
    "difference", by_hand, by_covariances, by_population_over_n_minus_1, as_numbers(difference)
)
bank.wrong(
    "difference",
    {
        "contains NaN": lambda a, b: ((a - b).mean(), difference(a, b)[1] * 0 / 0),
        "has the shape .* average over axis 0 too|has the shape": lambda a, b: (
            a - b,
            difference(a, b)[1],
        ),
    },
)


# ---------------------------------------------------------------- 2. bits


def in_two_parts(log_density, levels, dims):
    return math.log2(levels) - log_density / math.log(2) / dims


def with_genlib(log_density, levels, dims):
    width = torch.tensor(1 / levels, dtype=torch.float64)
    return bits_per_dim(log_density + dims * width.log(), (1, 1, dims))


bank.right("bits", in_two_parts, with_genlib)
bank.wrong(
    "bits",
    {
        "you average over everything": lambda *given: bits(*given).mean(),
        "right for 16 levels and 64 values, but for 3 levels .* The number 16 ": (
            lambda log_density, levels, dims: bits(log_density, 16, dims)
        ),
    },
)


# ---------------------------------------------------------------- 3. divergences


def where_there_is_something(p, q):
    result = []
    for a, b in ((p, q), (q, p)):
        seen = a > 0
        result.append((a[seen] * (a[seen].log() - b[seen].log())).sum())
    return result


def by_a_loop(p, q):
    def one(p, q):
        total = 0.0
        for a, b in zip(p.tolist(), q.tolist(), strict=True):
            if a > 0:
                total += a * math.log(a / b) if b > 0 else math.inf
        return total

    return one(p, q), one(q, p)


def of_torch(p, q):
    p, q = Categorical(probs=p.double()), Categorical(probs=q.double())
    return kl_divergence(p, q), kl_divergence(q, p)


def changed(change):
    """The solution of tables whose entries are changed first."""
    return lambda p, q: divergences(change(p), change(q))


bank.right("divergences", where_there_is_something, by_a_loop, of_torch)
bank.wrong(
    "divergences",
    {
        "a small number": changed(lambda p: p + 1e-8),
        "or a clamp": changed(lambda p: p.clamp(min=1e-6)),
        "a small number .*in": lambda p, q: tuple(
            (a * ((a + 1e-10).log() - (b + 1e-10).log())).sum() for a, b in ((p, q), (q, p))
        ),
    },
)


# ---------------------------------------------------------------- 4. mixture


def by_logsumexp(log_p, log_noise, weight):
    parts = torch.stack([log_p, log_noise], dim=1)
    return (parts + torch.tensor([weight, 1 - weight]).to(parts).log()).logsumexp(dim=1)


def around(centre):
    """Probabilities over some number, which is put back at the end."""

    def answer(log_p, log_noise, weight):
        c = centre(log_p, log_noise)
        return c + (weight * (log_p - c).exp() + (1 - weight) * (log_noise - c).exp()).log()

    return answer


bank.right("mixture", by_logsumexp, around(torch.maximum))
bank.wrong(
    "mixture",
    {
        "you average over everything": lambda *given: mixture(*given).mean(),
        "is infinite|NaN": around(lambda p, noise: (p + noise) / 2),
        "is infinite|NaN|nan": around(torch.minimum),
        "is infinite|NaN|inf": around(lambda p, noise: torch.maximum(p, noise).max()),
        "is infinite|NaN|a ratio": around(lambda p, noise: noise),
        "small number|is infinite": lambda log_p, log_noise, weight: (
            weight * log_p.exp() + (1 - weight) * log_noise.exp() + 1e-30
        ).log(),
    },
)


# ---------------------------------------------------------------- 5. entropy


def of_the_seen(counts):
    counts = counts[counts > 0].double()
    n = counts.sum()
    plain = n.log() - (counts * counts.log()).sum() / n
    return [plain, plain + 0.5 * (len(counts) - 1) / n]


def with_entr(counts):
    plain = torch.special.entr(counts / counts.sum()).sum()
    return plain, plain + (torch.count_nonzero(counts) - 1) / counts.sum() / 2


def a_small_number(counts):
    shares = (counts + 0.01 * (counts == 0)) / counts.sum()
    plain = -(shares * shares.log()).sum()
    return plain, plain + (counts.count_nonzero() - 1) / counts.sum() / 2


bank.right("entropy", of_the_seen, with_entr, as_numbers(entropy))
bank.wrong("entropy", {"for 9 kinds.* a small number": a_small_number})


# ---------------------------------------------------------------- 6. precision and recall


def apart(a, b):
    return (a[:, None] - b[None]).square().sum(dim=2).sqrt()


def of_genlib(real, fake, k):
    return metrics.precision_recall(real, fake, k=k)


def without_the_point_itself(real, fake, k):
    def inside(x, balls):
        among = apart(balls, balls)
        among.fill_diagonal_(math.inf)
        radius = among.topk(k, dim=1, largest=False).values[:, -1]
        return (apart(x, balls) <= radius).sum(dim=1).clamp(max=1).float().mean()

    return [inside(fake, real), inside(real, fake)]


def point_by_point(real, fake, k):
    def inside(x, balls):
        radius = apart(balls, balls).sort(dim=1).values[:, k]
        hit = [bool(((balls - point).norm(dim=1) <= radius).any()) for point in x]
        return torch.tensor(hit).double().mean()

    return inside(fake, real), inside(real, fake)


bank.right("precision_recall", of_genlib, without_the_point_itself, point_by_point)
bank.wrong(
    "precision_recall",
    {
        "right for points in the plane, but for k = 1": lambda real, fake, k: precision_recall(
            real, fake, 3
        )
    },
)


# ---------------------------------------------------------------- 7. a speed-up


def by_sorting(slow, fast):
    def median(x):
        x, n = x.sort().values, len(x)
        return (x[(n - 1) // 2] + x[n // 2]) / 2

    return median(slow) / median(fast)


def of_the_standard_library(slow, fast):
    return statistics.median(slow.tolist()) / statistics.median(fast.tolist())


def by_two_medians_of_torch(slow, fast):
    upper = -torch.median(-slow), -torch.median(-fast)
    return (slow.median() + upper[0]) / (fast.median() + upper[1])


bank.right("speed_up", by_sorting, of_the_standard_library, by_two_medians_of_torch)
bank.wrong(
    "speed_up",
    {"a small number": lambda slow, fast: slow.quantile(0.5) / (fast.quantile(0.5) + 1e-8)},
)


# ---------------------------------------------------------------- 8. unbeaten


def with_a_loop(table):
    keep = []
    for row in table:
        rivals = [r for r in table if (r >= row).all() and (r > row).any()]
        keep.append(not rivals)
    return torch.tensor(keep)


def row_by_row(table):
    keep = torch.ones(len(table), dtype=torch.bool)
    for i, row in enumerate(table):
        nowhere_worse = (table >= row).all(dim=1)
        same = (table == row).all(dim=1)
        keep[i] = not bool((nowhere_worse & ~same).any())
    return keep


def with_a_margin(table):
    a, b = table[:, None], table[None] - 1e-3
    return ~((b >= a).all(dim=2) & (b > a).any(dim=2)).any(dim=1)


def the_first_of_equals(table):
    keep = unbeaten(table)
    for i in range(len(table)):
        for j in range(i):
            if (table[i] == table[j]).all():
                keep[i] = False
    return keep


bank.right("unbeaten", with_a_loop, row_by_row)
bank.wrong(
    "unbeaten",
    {
        "every row beaten by itself": lambda table: (
            ~(table[None] >= table[:, None]).all(dim=2).any(dim=1)
        ),
        "return True or False": lambda table: unbeaten(table).float(),
        "has the shape": lambda table: unbeaten(table).nonzero()[:, 0] >= 0,
        "beats it, \\(": with_a_margin,
        "and you call it beaten": the_first_of_equals,
    },
)


# ---------------------------------------------------------------- the bank, applied


class TestSteps(StepsOfALesson):
    bank = bank


def test_half_of_the_runs_take_longer_than_the_median():
    times = torch.tensor([1.0, 2.0, 4.0, 100.0])
    assert speed_up(times, torch.ones(4)).item() == pytest.approx(3)


def test_a_uniform_density_costs_log2_of_the_levels():
    assert bits(torch.zeros(3), 16, 64).tolist() == pytest.approx([4, 4, 4])


def test_bits_of_a_histogram_are_those_of_its_density():
    """Inside a cell of width 1/K the density of a histogram is K times the probability."""
    log_p = torch.randn(5, 12, 17).log_softmax(dim=2)[..., 3]  # 12 values, all of level 3
    log_density = (log_p + math.log(17)).sum(dim=1)
    assert torch.allclose(bits(log_density, 17, 12), bits_per_dim(log_p.sum(dim=1), (1, 3, 4)))


def test_the_divergence_is_that_of_genlib_on_bars():
    bars = load("bars")
    white = torch.rand(16, generator=torch.Generator().manual_seed(0))

    def log_q(x):
        x = x.flatten(1)
        return (x * white.log() + (1 - x) * (1 - white).log()).sum(dim=1)

    q = log_q(bars.floats()).exp()
    p = torch.full_like(q, 1 / 30)
    table_p, table_q = torch.cat([p, p.new_zeros(1)]), torch.cat([q, 1 - q.sum()[None]])
    forward, back = divergences(table_p, table_q)
    assert forward.item() == pytest.approx(bars_kl(log_q), rel=1e-5)
    assert back.item() == math.inf


def test_the_entropy_is_that_of_genlibs_counts():
    x = load("bars").floats()[torch.randint(30, (200,))]
    counts = (x[:, None] == load("bars").floats()).flatten(2).all(dim=2).sum(dim=0)
    assert math.log(30) - entropy(counts)[0].item() == pytest.approx(
        bars_counts(x)["kl_of_valid"], abs=1e-5
    )


def test_millers_correction_removes_most_of_the_bias():
    n, m = 100, 10
    draws = torch.randint(m, (4000, n), generator=torch.Generator().manual_seed(0))
    both = torch.stack([torch.stack(entropy(torch.bincount(row, minlength=m))) for row in draws])
    missing = math.log(m) - both.mean(dim=0)
    assert abs(missing[1]) < missing[0] / 5


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for name in ("cdist", "xlogy", "quantile", "isnan", "isinf", "logaddexp"):
        monkeypatch.setattr(torch, name, lambda *args, **kwargs: True)
    assert "you average ratios" in bank.verdict("speed_up", lambda slow, fast: (slow / fast).mean())
    assert "you average absolute" in bank.verdict("difference", lambda a, b: (F.l1_loss(a, b), 0.0))
