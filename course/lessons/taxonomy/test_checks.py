"""What no table of the checks knows: right answers in other styles, and wrong ones that are no entry."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course.checking.suite import Bank, StepsOfALesson
from course.lessons.taxonomy import checks
from genlib import bayes as of_genlib
from genlib import taxonomy
from genlib.metrics import bits_per_dim
from genlib.variational import Autoencoder

bank = Bank("taxonomy", whole="place")
shares, white, log_joint, bayes, bits, draw, typical, decide, auroc, place = (
    bank.solutions[step] for step in bank.steps
)


# ---------------------------------------------------------------- 1. shares


def shares_in_a_loop(y, n_classes):
    p = torch.zeros(n_classes)
    for label in y:
        p[label] += 1 / len(y)
    return p


bank.right(
    "shares",
    lambda y, n_classes: torch.stack([(y == k).float().mean() for k in range(n_classes)]),
    lambda y, n_classes: F.one_hot(y, n_classes).double().mean(dim=0),
    shares_in_a_loop,
)
bank.wrong("shares", {
    "these are percentages": lambda y, K: 100 * shares(y, K),
    "added up: return each by itself": lambda y, K: shares(y, K).cumsum(dim=0),
    "The number 4 of four classes stands in your code": lambda y, K: (y.bincount(minlength=4) / len(y))[: max(K, 4)],
    r"the shape \(3,\) where \(4,\)": lambda y, K: shares(y, K)[1:],
    "reverse order": lambda y, K: shares(y, K).flip(0),
})  # fmt: skip


# ---------------------------------------------------------------- 2. white


def white_by_two_more_images(x, y, n_classes):
    more = torch.cat([torch.zeros_like(x[:1]), torch.ones_like(x[:1])])
    return torch.stack([torch.cat([x[y == k], more]).mean(dim=0) for k in range(n_classes)])


def white_by_index_add(x, y, n_classes):
    counts = torch.zeros(n_classes, x.shape[1]).index_add(0, y, x)
    return (counts + 1) / (y.bincount(minlength=n_classes) + 2)[:, None]


def white_by_one_hot(x, y, n_classes):
    member = F.one_hot(y, n_classes).to(x)
    return (member.T @ x + 1) / (member.sum(dim=0)[:, None] + 2)


bank.right("white", white_by_one_hot, white_by_two_more_images, white_by_index_add)
bank.wrong("white", {
    "at .* it is 0, not 0.5": lambda x, y, K: white(x, y, K) * (y.bincount(minlength=K) > 0)[:, None],
    "float16, and the next cell needs|half precision": lambda x, y, K: white(x, y, K).half(),
    "rounded to whole numbers": lambda x, y, K: white(x, y, K).round(),
})  # fmt: skip


# ---------------------------------------------------------------- 3. log joint


def log_joint_by_bce(x, prior, white):
    columns = []
    for k in range(len(prior)):
        loss = F.binary_cross_entropy(white[k].expand_as(x), x, reduction="none")
        columns.append(prior[k].log() - loss.sum(dim=1))
    return torch.stack(columns, dim=1)


def log_joint_in_loops(x, prior, white):
    pixels = torch.distributions.Bernoulli(probs=white)
    return torch.stack([pixels.log_prob(image).sum(dim=1) + prior.log() for image in x])


def of_pixels(x, white):
    """The probability of each pixel, (N, K, D)."""
    return torch.where(x[:, None] == 1, white, 1 - white)


def with_a_small_number(x, prior, white):
    return x @ (white + 1e-6).log().T + (1 - x) @ (1 - white + 1e-6).log().T + prior.log()


bank.right(
    "log_joint",
    lambda x, prior, white: of_pixels(x, white).log().sum(dim=-1) + prior.log()[None],
    log_joint_by_bce,
    log_joint_in_loops,
)
bank.wrong("log_joint", {
    "these are bits where nats": lambda x, prior, white: of_pixels(x, white).log2().sum(dim=2) + prior.log2(),
    "hardly ever white.* a small number": with_a_small_number,
    "hardly ever white.* a clamp": lambda x, prior, white: log_joint(x, prior, white.clamp(1e-3, 1 - 1e-3)),
})  # fmt: skip


# ---------------------------------------------------------------- 4. Bayes' rule


def bayes_by_quotient(joint):
    m = joint.max(dim=1).values
    p = torch.exp(joint - m.unsqueeze(1))
    return torch.log(p.sum(1)) + m, p / p.sum(1, keepdim=True)


def bayes_one_image_at_a_time(joint):
    log_p = []
    for row in joint:
        log_p.append(row.max() + sum((one - row.max()).exp() for one in row).log())
    return [torch.stack(log_p), torch.exp(joint.T - torch.stack(log_p)).T]


def one_shift_for_the_posterior(joint):
    p = (joint - joint.max()).exp()
    return joint.logsumexp(dim=1), p / p.sum(dim=1, keepdim=True)


bank.right(
    "bayes",
    lambda joint: (joint.logsumexp(dim=1), joint.softmax(dim=1)),
    bayes_by_quotient,
    bayes_one_image_at_a_time,
)
bank.wrong("bayes", {
    "come in another order": lambda joint: bayes(joint)[::-1],
    "p.y . x. of `bayes` is wrong": lambda joint: (bayes(joint)[0], (joint + bayes(joint)[0][:, None]).exp()),
    "is -28: a small number inside the logarithm": lambda joint: ((joint.exp().sum(1) + 1e-12).log(), bayes(joint)[1]),
    "is -18: a small number": lambda joint: (joint.exp().sum(1).clamp(min=1e-8).log(), bayes(joint)[1]),
    "your posterior does not add up to one":
        lambda joint: (bayes(joint)[0], joint.exp() / (joint.exp().sum(dim=1, keepdim=True) + 1e-12)),
})  # fmt: skip


# ---------------------------------------------------------------- 5. bits

bank.right(
    "bits",
    lambda log_p, n_pixels: (-log_p * math.log2(math.e) / n_pixels).sum() / len(log_p),
    lambda log_p, n_pixels: (log_p / torch.tensor(0.5).log()).mean() / n_pixels,
    lambda log_p, n_pixels: bits(log_p, n_pixels).item(),
)
bank.wrong("bits", {
    "The number 64 of images of 64 pixels stands": lambda log_p, n_pixels: -log_p.mean() / (64 * math.log(2)),
    "at least one|wrong: it is|look at": lambda log_p, n_pixels: -log_p.amin() / (n_pixels * math.log(2)),
})  # fmt: skip


# ---------------------------------------------------------------- 6. draw


def draw_by_search(prior, white, u, v):
    y = torch.searchsorted(prior.cumsum(dim=0), u, right=True).clamp_max(len(prior) - 1)
    return y, torch.where(v < white[y], 1.0, 0.0)


def draw_in_loops(prior, white, u, v):
    labels, rows = [], []
    for n in range(len(u)):
        k, end = 0, prior[0].item()
        while u[n] >= end and k < len(prior) - 1:
            k += 1
            end += prior[k].item()
        labels.append(k)
        rows.append((white[k] - v[n] > 0).to(v))
    return torch.tensor(labels), torch.stack(rows)


def draw_by_argmax(prior, white, u, v):
    ends = torch.cat([prior.cumsum(dim=0)[:-1], torch.ones(1)])
    y = (u[:, None] < ends).int().argmax(dim=1)
    return [y, v.lt(white.index_select(0, y)).to(v)]


def with_own_numbers(prior, white, u, v):
    y = torch.multinomial(prior, len(u), replacement=True)
    return y, torch.bernoulli(white[y])


bank.right("draw", draw_by_search, draw_in_loops, draw_by_argmax)
bank.wrong("draw", {
    "draws random numbers of its own": with_own_numbers,
    "returns torch.bool as x": lambda *given: (draw(*given)[0], draw(*given)[1].bool()),
    "x of `draw` is torch.float16, and the next cell":
        lambda prior, white, u, v: (draw(prior, white, u, v)[0], draw(prior, white, u, v)[1].half()),
    r"x of `draw` has the shape \(60, 4, 9\)":
        lambda prior, white, u, v: (draw(prior, white, u, v)[0], (v[:, None] < white).to(v)),
    "return whole numbers, which index": lambda *given: (draw(*given)[0].float(), draw(*given)[1]),
    "stops for a u just below 1":
        lambda prior, white, u, v: (y := (u[:, None] >= prior.cumsum(0)).sum(1), (v < white[y]).to(v)),
})  # fmt: skip


# ---------------------------------------------------------------- 7. typical


def typical_by_distributions(white):
    pixels = torch.distributions.Bernoulli(probs=white)
    return -pixels.entropy().sum(dim=1), (pixels.variance * pixels.logits.square()).sum(
        dim=1
    ) ** 0.5


def typical_by_moments(white):
    p = torch.stack([white, 1 - white])
    mean = (p * p.log()).sum(dim=0)
    return mean.sum(dim=1), (p * (p.log() - mean).square()).sum(dim=0).sum(dim=1).sqrt()


def typical_by_all_images(white):
    means, stds = [], []
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * white.shape[1]).to(white)
    for p in white:
        log_p = (every.reshape(-1, len(p)) * p.logit()).sum(dim=1) + (1 - p).log().sum()
        means.append(log_p.exp() @ log_p)
        stds.append((log_p.exp() @ (log_p - means[-1]).square()).sqrt())
    return [torch.stack(means), torch.stack(stds)]


def typical_of_draws(white):
    x = torch.bernoulli(white.expand(2000, *white.shape))
    log_p = (x * white.log() + (1 - x) * (1 - white).log()).sum(dim=2)
    return log_p.mean(dim=0), log_p.std(dim=0)


def with_a_small_number_in_the_logarithms(white):
    a, b = (white + 1e-5).log(), (1 - white + 1e-5).log()
    return (white * a + (1 - white) * b).sum(1), (white * (1 - white) * (a - b) ** 2).sum(1).sqrt()


bank.right("typical", typical_by_distributions, typical_by_moments, typical_by_all_images)
bank.wrong("typical", {
    "come in another order": lambda white: typical(white)[::-1],
    "draws random numbers of its own": typical_of_draws,
    "hardly ever white.* a clamp": lambda white: typical(white.clamp(1e-4, 1 - 1e-4)),
    "hardly ever white.* small number": with_a_small_number_in_the_logarithms,
    "bits where nats": lambda white: tuple(result / math.log(2) for result in typical(white)),
})  # fmt: skip


# ---------------------------------------------------------------- 8. decide


def labels_at(threshold, log_p, posterior):
    return torch.where(log_p < threshold, -1, posterior.argmax(dim=1))


def decide_by_sorting(held_out, log_p, posterior, share):
    threshold = held_out.sort().values[int(share * len(held_out))]
    labels = posterior.argmax(dim=1)
    labels[log_p < threshold] = -1
    return threshold, labels


def decide_by_kth_value(held_out, log_p, posterior, share):
    threshold = held_out.kthvalue(max(1, round(share * len(held_out)))).values
    kept = (log_p >= threshold).long()
    return threshold, kept * (posterior.argmax(dim=1) + 1) - 1


def decide_in_double(held_out, log_p, posterior, share):
    lowest = held_out.double().topk(int(share * len(held_out)) + 1, largest=False).values
    answers = [p.argmax().item() if q >= lowest[-1] else -1 for p, q in zip(posterior, log_p)]  # noqa: B905
    return lowest[-1].item(), torch.tensor(answers)


def at(threshold):
    """Refuses at a threshold of its own."""

    def answer(held_out, log_p, posterior, share):
        t = threshold(held_out, log_p, share)
        return t, labels_at(t, log_p, posterior)

    return answer


bank.right(
    "decide",
    decide_by_sorting,
    decide_by_kth_value,
    decide_in_double,
    at(lambda held_out, log_p, share: -(-held_out).quantile(1 - share)),
)
bank.wrong("decide", {
    "the labels come first in yours": lambda *given: decide(*given)[::-1],
    "the threshold of `decide` has the shape": at(lambda held_out, log_p, share: held_out.quantile(share)[None]),
    "the threshold of `decide` is wrong|the threshold: ":
        at(lambda held_out, log_p, share: held_out.quantile(share) - 2),
    "returns torch.int64 as the threshold|the threshold.*cut to whole":
        lambda *given: (decide(*given)[0].long(), decide(*given)[1]),
})  # fmt: skip


# ---------------------------------------------------------------- 9. AUROC


def auroc_by_ranks(in_scores, out_scores):
    both = torch.cat([in_scores, out_scores]).sort().values
    first = torch.searchsorted(both, in_scores) + 1
    last = torch.searchsorted(both, in_scores, right=True)
    ranks = (first + last).double() / 2
    n, m = len(in_scores), len(out_scores)
    return (ranks.sum() - n * (n + 1) / 2) / (n * m)


def auroc_in_loops(in_scores, out_scores):
    won = 0.0
    for a in in_scores:
        for b in out_scores:
            won += 1.0 if a > b else 0.5 if a == b else 0.0
    return won / (len(in_scores) * len(out_scores))


def auroc_as_an_area(in_scores, out_scores):
    bounds = torch.cat([in_scores, out_scores]).unique().flip(0)
    hits = torch.stack([(in_scores >= t).double().mean() for t in bounds])
    alarms = torch.stack([(out_scores >= t).double().mean() for t in bounds])
    zero = torch.zeros(1).double()
    return torch.trapezoid(torch.cat([zero, hits]), torch.cat([zero, alarms]))


bank.right("auroc", auroc_by_ranks, auroc_in_loops, auroc_as_an_area)
bank.wrong("auroc", {
    "these are percentages": lambda in_scores, out_scores: 100 * auroc(in_scores, out_scores),
    "is wrong: it is": lambda in_scores, out_scores: torch.sigmoid(in_scores[:, None] - out_scores).mean(),
})  # fmt: skip


# ---------------------------------------------------------------- 10. place


def place_with_a_default(methods, leaves):
    spoken_of = {name for promised in leaves.values() for name in promised}
    able = sorted(name for name in methods if name in spoken_of)
    return next((leaf for leaf, names in leaves.items() if sorted(names) == able), "nowhere")


def place_by_exclusion(methods, leaves):
    found = "nowhere"
    for leaf, promised in leaves.items():
        others = set().union(*leaves.values()) - promised
        if not promised - methods and not others & methods:
            found = leaf
    return found


def in_place(methods, leaves):
    methods &= set().union(*leaves.values())
    return place(methods, leaves)


def in_the_leaves(methods, leaves):
    leaf = place(methods, leaves)
    leaves.pop(next(other for other in leaves if other != leaf))
    return leaf


def by_log_prob_alone(methods, leaves):
    return "tractable" if {"log_prob", "tractable"} <= methods | set(leaves) else place(methods, leaves)  # fmt: skip


bank.right("place", place_with_a_default, place_by_exclusion)
bank.wrong("place", {
    "returns None for": lambda methods, leaves: None if place(methods, leaves) == "nowhere" else place(methods, leaves),
    "returns a set for": lambda methods, leaves: leaves.get(place(methods, leaves), set()),
    "which is not the name of a leaf": lambda methods, leaves: place(methods, leaves).replace("nowhere", "none"),
    "changes its argument `methods`.*`a & b`": in_place,
    "changes its argument `leaves`": in_the_leaves,
    'is "nowhere", and you say "tractable"': by_log_prob_alone,
})  # fmt: skip


# ---------------------------------------------------------------- the bank, applied


class TestSteps(StepsOfALesson):
    bank = bank

    def test_a_result_of_another_kind_is_named(self, step):
        if step == "place":  # returns a name, and the bank says what else may come
            pytest.skip("this step returns a name, not a tensor")
        super().test_a_result_of_another_kind_is_named(step)


class Independent(nn.Module):
    """Pixels that are independent given the class, as a model of genlib's kind."""

    n_classes = 3

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(table)

    def log_prob(self, x, y):
        p = self.table[y]
        return torch.where(x.flatten(1) == 1, p, 1 - p).log().sum(dim=1)


def test_the_classifier_is_that_of_genlib():
    prior, table = torch.tensor([0.5, 0.3, 0.2]), 0.1 + 0.8 * torch.rand(3, 6)
    x = (torch.rand(40, 1, 2, 3) < 0.5).float()
    theirs = of_genlib.GenerativeClassifier(Independent(table), prior)
    joint = log_joint(x.flatten(1), prior, table)
    mine, p = bayes(joint)
    assert torch.allclose(joint, theirs.log_joint(x), atol=1e-5)
    assert torch.allclose(mine, theirs.log_prob(x), atol=1e-5)
    assert torch.allclose(p, theirs.posterior(x), atol=1e-5)
    threshold, labels = decide(mine, mine + 1e-4, p, 0.25)
    assert torch.equal(labels, theirs.predict(x, reject_below=threshold.item() - 1e-4))


def test_the_probabilities_of_all_images_add_up_to_one():
    table = 0.1 + 0.8 * torch.rand(3, 8)
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 8)
    log_p, _ = bayes(log_joint(every, torch.tensor([0.5, 0.3, 0.2]), table))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_samples_follow_the_joint():
    prior, table = torch.tensor([0.5, 0.3, 0.2]), 0.1 + 0.8 * torch.rand(3, 2)
    n = 100_000
    y, x = draw(prior, table, torch.rand(n), torch.rand(n, 2))
    for k in range(3):
        for image in ([0.0, 1.0], [1.0, 1.0]):
            expected = log_joint(torch.tensor([image]), prior, table)[0, k].exp()
            found = ((y == k) & (x == torch.tensor(image)).all(dim=1)).float().mean()
            assert abs(found - expected) < 4 * (expected / n).sqrt()


def test_log_p_of_draws_is_as_wide_as_it_should_be():
    table, n = 0.05 + 0.9 * torch.rand(1, 12), 100_000
    _, x = draw(torch.ones(1), table, torch.rand(n), torch.rand(n, 12))
    log_p, (mean, std) = log_joint(x, torch.ones(1), table)[:, 0], typical(table)
    assert abs(log_p.mean() - mean) < 4 * std / math.sqrt(n)
    assert log_p.std().item() == pytest.approx(std.item(), rel=0.02)


def test_laplaces_rule_is_the_mean_of_a_uniform_prior():
    p = torch.linspace(0, 1, 10_001).double()
    likelihood = p.pow(3) * (1 - p).pow(5)  # 3 of 8 images white
    x, y = torch.tensor([[1.0]] * 3 + [[0.0]] * 5), torch.zeros(8).long()
    mean = (p * likelihood).sum() / likelihood.sum()
    assert white(x, y, 1).item() == pytest.approx(mean.item(), abs=1e-6)


def test_numbers_are_those_of_genlib():
    in_scores, out_scores = torch.randint(9, (50,)).float(), torch.randint(7, (30,)).float()
    assert auroc(in_scores, out_scores).item() == pytest.approx(
        of_genlib.auroc(in_scores, out_scores)
    )
    log_p = -40 * torch.rand(20)
    assert bits(log_p, 64).item() == pytest.approx(bits_per_dim(log_p.mean().item(), (1, 8, 8)))


def test_models_stand_where_genlib_puts_them():
    leaves = {", ".join(taxonomy.path(leaf)): set(leaf.methods) for leaf in taxonomy.leaves()}
    assert place(set(dir(Autoencoder)), leaves) == "nowhere"
    for leaf in taxonomy.leaves():
        for kind in leaf.classes:
            assert place(set(dir(kind)), leaves) == ", ".join(taxonomy.path(leaf))


def test_the_check_knows_the_tree_of_genlib():
    assert sorted(map(sorted, checks.COURSE.values())) == sorted(
        sorted(leaf.methods) for leaf in taxonomy.leaves()
    )


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for name in ("allclose", "equal", "isfinite", "where", "logsumexp", "softmax"):
        monkeypatch.setattr(torch, name, lambda *args, **kwargs: True)
    assert "these are percentages" in bank.verdict("shares", lambda y, K: 100 * shares(y, K))
    assert "the wrong way round" in bank.verdict("auroc", lambda a, b: auroc(b, a))
