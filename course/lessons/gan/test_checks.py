"""Answers that no table of this lesson knows, and what the right ones must satisfy."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from course.checking.suite import Bank, StepsOfALesson

bank = Bank("gan", whole="hits")
pushforward, best_logit, jsd, generator_losses, slopes, discriminator_loss = (
    bank.solutions[name]
    for name in "pushforward best_logit jsd generator_losses slopes discriminator_loss".split()
)


def log_normal(z):
    return -(z**2) / 2 - math.log(2 * math.pi) / 2


# ---------------------------------------------------------------- 1. pushforward


def slope_of(g, z):
    z = z.clone().requires_grad_()
    g(z).sum().backward()
    return z.grad


def by_torch(g, z):
    prior = torch.distributions.Normal(torch.zeros_like(z), 1.0)
    return g(z).detach(), prior.log_prob(z) - slope_of(g, z).square().log() / 2


def by_the_jacobian(g, z):
    slope = torch.autograd.functional.jacobian(g, z.clone()).diagonal()
    return g(z).detach(), log_normal(z) - slope.abs().log()


def point_by_point(g, z):
    x, log_p = [], []
    for one in z.double():
        one = one[None].requires_grad_()
        y = g(one)
        y.backward()
        x.append(y.item())
        log_p.append((log_normal(one) - one.grad.abs().log()).item())
    return torch.tensor(x), torch.tensor(log_p)


def with_its_graph(g, z):
    z = z.clone().requires_grad_()
    x = g(z)
    (slope,) = torch.autograd.grad(x.sum(), z)
    return x, log_normal(z) - slope.abs().log()


def marks_z(g, z):
    z.requires_grad_()
    (slope,) = torch.autograd.grad(g(z).sum(), z)
    return g(z), log_normal(z) - slope.abs().log()


bank.right("pushforward", by_torch, by_the_jacobian, point_by_point)
bank.wrong(
    "pushforward",
    {
        "they still hang on the graph": with_its_graph,
        "leaves marks on its argument `z`": marks_z,
        "x of `pushforward` is torch.*, and the next cell needs": lambda g, z: tuple(
            x.double() if z.dtype == torch.float32 else x.float() for x in pushforward(g, z)
        ),
    },
)


# ---------------------------------------------------------------- 2. discriminator_loss


def by_bce(real, fake):
    bce = F.binary_cross_entropy_with_logits
    return bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))


def by_logsigmoid(real, fake):
    return -(F.logsigmoid(real).sum() / len(real) + F.logsigmoid(-fake).sum() / len(fake))


def by_logaddexp(real, fake):
    zero = torch.zeros(())
    return torch.logaddexp(zero, -real).mean() + torch.logaddexp(zero, fake).mean()


def epsilon(real, fake):
    real, fake = real.sigmoid(), fake.sigmoid()
    return -(real + 1e-8).log().mean() - (1 - fake + 1e-8).log().mean()


bank.right("discriminator_loss", by_bce, by_logsigmoid, by_logaddexp)
bank.wrong(
    "discriminator_loss",
    {
        "a small number": epsilon,
        "no gradient reaches `fake`": lambda real, fake: discriminator_loss(real, fake.detach()),
        "no gradient reaches `real` and `fake`": lambda real, fake: discriminator_loss(real, fake).item(),
    },
)  # fmt: skip


# ---------------------------------------------------------------- 3. and 4. the best discriminator, and its value


def by_two_logs(log_p_data, log_p_fake):
    log_sum = torch.logaddexp(log_p_data, log_p_fake)
    return (log_p_data - log_sum) - (log_p_fake - log_sum)


def stacked(log_p_data, log_p_fake):
    return torch.stack([log_p_fake, log_p_data]).diff(dim=0)[0].double()


def from_the_value(log_p, log_q, dx):
    """Half of the value at the best discriminator plus log 4."""
    logit = log_p - log_q
    value = -(log_p.exp() * F.softplus(-logit) + log_q.exp() * F.softplus(logit)) * dx
    mass = 0.5 * ((log_p.exp() + log_q.exp()) * dx).sum()  # 1, but for the grid
    return 0.5 * value.sum() + mass * math.log(2)


def by_kl_div(log_p, log_q, dx):
    m = torch.stack([log_p, log_q]).logsumexp(0) - math.log(2)
    both = torch.stack(
        [F.kl_div(m, log, log_target=True, reduction="none") for log in (log_p, log_q)]
    )
    return (both.mean(0) * dx).sum()  # fmt: skip


bank.right("best_logit", by_two_logs, stacked)
bank.wrong(
    "best_logit",
    {"a small number": lambda p, q: ((p.exp() + 1e-12) / (q.exp() + 1e-12)).log()},
)
bank.right("jsd", from_the_value, by_kl_div, lambda *arguments: jsd(*arguments).item())


# ---------------------------------------------------------------- 5. and 6. losses of the generator, and their slopes


def losses_by_logsigmoid(fake):
    return [F.logsigmoid(-fake).sum() / len(fake), -F.logsigmoid(fake).sum() / len(fake)]


def losses_by_bce(fake):
    bce = F.binary_cross_entropy_with_logits
    return -bce(fake, torch.zeros_like(fake)), bce(fake, torch.ones_like(fake))


def by_autograd(fake):
    fake = fake.clone().requires_grad_()
    losses = -F.softplus(fake), F.softplus(-fake)
    return tuple(torch.autograd.grad(loss.sum(), fake)[0] for loss in losses)


def by_exponentials(fake):
    return -1 / (1 + (-fake).exp()), -1 / (1 + fake.exp())


def marks_the_logits(fake):
    fake.requires_grad_()
    F.softplus(-fake).sum().backward()
    return -fake.detach().sigmoid(), fake.grad


bank.right("generator_losses", losses_by_bce, losses_by_logsigmoid)
bank.wrong(
    "generator_losses",
    {
        "no gradient reaches `fake`": lambda fake: generator_losses(fake.detach()),
        "is something on its way detached": lambda fake: (
            generator_losses(fake)[0],
            generator_losses(fake.detach())[1],
        ),
    },
)
bank.right("slopes", by_autograd, by_exponentials)
bank.wrong("slopes", {"leaves marks on its argument `fake`": marks_the_logits})


# ---------------------------------------------------------------- 7. and 8. the two steps


def without_a_graph(discriminator, generator, optimizer, x, z):
    with torch.no_grad():
        fake = generator(z)
    optimizer.zero_grad()
    loss = discriminator_loss(discriminator(x), discriminator(fake))
    loss.backward()
    optimizer.step()
    return loss.detach()


def in_one_pass(discriminator, generator, optimizer, x, z):
    logits = discriminator(torch.cat([x, generator(z).data]))
    loss = discriminator_loss(logits[: len(x)], logits[len(x) :])
    discriminator.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.clone()


def in_two_halves(discriminator, generator, optimizer, x, z):
    optimizer.zero_grad()
    real = F.softplus(-discriminator(x)).mean()
    real.backward()
    fake = F.softplus(discriminator(generator(z).detach())).mean()
    fake.backward()
    optimizer.step()
    return real + fake


def by_grad(discriminator, generator, optimizer, x, z):
    """Nothing is detached: only D's own gradients are asked for."""
    loss = discriminator_loss(discriminator(x), discriminator(generator(z)))
    parameters = list(discriminator.parameters())
    for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = slope
    optimizer.step()
    return loss


def looks_first(discriminator, generator, optimizer, x, z):
    """Extra passes through D are no mistake."""
    with torch.no_grad():
        discriminator(x).mean(), discriminator(generator(z)).mean()
    return without_a_graph(discriminator, generator, optimizer, x, z)


def cleared_too_late(discriminator, generator, optimizer, x, z):
    loss = discriminator_loss(discriminator(x), discriminator(generator(z).detach()))
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss


def own_noise(discriminator, generator, optimizer, x, z):
    return without_a_graph(discriminator, generator, optimizer, x, torch.randn(len(x), x.shape[1]))


def moves_both(discriminator, generator, optimizer, x, z):
    players = [*discriminator.parameters(), *generator.parameters()]
    loss = discriminator_loss(discriminator(x), discriminator(generator(z)))
    loss.backward()
    torch.optim.SGD(players, lr=0.1).step()
    return loss


bank.right("discriminator_step", without_a_graph, in_one_pass, in_two_halves, by_grad, looks_first)


def with_d_frozen(discriminator, generator, optimizer, z):
    discriminator.requires_grad_(False)
    loss = generator_losses(discriminator(generator(z)))[1]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    discriminator.requires_grad_(True)
    return loss.detach()


def that_clears_both(discriminator, generator, optimizer, z):
    generator.zero_grad()
    logits = discriminator(generator(z))
    loss = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    loss.backward()
    optimizer.step()
    discriminator.zero_grad()
    return loss


def g_by_grad(discriminator, generator, optimizer, z):
    loss = -F.logsigmoid(discriminator(generator(z))).mean()
    parameters = list(generator.parameters())
    for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = slope
    optimizer.step()
    return loss


def through_a_copy(discriminator, generator, optimizer, z):
    """D copied, so that its own gradients stay as they were: dear, but right."""
    loss = F.softplus(-copy.deepcopy(discriminator)(generator(z))).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


bank.right("generator_step", with_d_frozen, that_clears_both, g_by_grad, through_a_copy)


# ---------------------------------------------------------------- 9. hits


def by_one_hot(x, centers, radius):
    squares = (x[:, None] - centers).square().sum(dim=2)
    belongs = F.one_hot(squares.argmin(dim=1), len(centers)).bool()
    return (belongs & (squares <= radius**2)).sum(dim=0).float()


def by_loops(x, centers, radius):
    counts = [0] * len(centers)
    for point in x:
        distances = [math.dist(point, center) for center in centers]
        if min(distances) <= radius:
            counts[distances.index(min(distances))] += 1
    return torch.tensor(counts)


bank.right("hits", by_one_hot, by_loops)


class TestSteps(StepsOfALesson):
    bank = bank


# ---------------------------------------------------------------- what is true of right answers


def test_steps_that_are_no_entry_as_they_stand_get_the_words_of_one():
    for answer, says in (
        (cleared_too_late, "the discriminator does not move"),
        (own_noise, "you draw noise of your own"),
        (moves_both, "the generator moves too"),
    ):
        assert says in bank.verdict("discriminator_step", answer)


@pytest.mark.parametrize("distance", [0.0, 0.5, 2.0, 6.0])
def test_the_value_at_the_best_discriminator_is_twice_the_jsd_less_log_4(distance):
    x = torch.linspace(-12, 12 + distance, 4001, dtype=torch.double)
    dx = torch.full_like(x, (24 + distance) / 4000)
    log_p, log_q = log_normal(x), log_normal(x - distance)
    logit = best_logit(log_p, log_q)
    loss = ((log_p.exp() * F.softplus(-logit) + log_q.exp() * F.softplus(logit)) * dx).sum()
    expected = 2 * jsd(log_p, log_q, dx) - math.log(4)
    assert abs(-loss.item() - expected.item()) < 1e-9


def test_no_other_logit_beats_the_best_one():
    x = torch.linspace(-10, 10, 2001, dtype=torch.double)
    p, q = log_normal(x).exp(), log_normal((x - 1) / 0.5).exp() / 0.5
    best = best_logit(p.log(), q.log())

    def loss(logit):
        return (p * F.softplus(-logit) + q * F.softplus(logit)).sum()

    for change in (0.1, -0.1, 0.1 * x, x.sin()):
        assert loss(best + change) > loss(best)


def test_slopes_are_those_of_the_losses():
    fake = torch.randn(7, dtype=torch.double, requires_grad=True)
    for loss, slope in zip(generator_losses(fake), slopes(fake), strict=True):
        (gradient,) = torch.autograd.grad(loss * len(fake), fake)
        assert torch.allclose(gradient, slope)


@pytest.mark.parametrize("a, b", [(2.0, 1.0), (-0.5, 3.0)])
def test_a_linear_generator_makes_a_gaussian(a, b):
    z = torch.randn(9, dtype=torch.double)
    x, log_p = pushforward(lambda z: a * z + b, z)
    assert torch.allclose(log_p, torch.distributions.Normal(b, abs(a)).log_prob(x).double())


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for module, name in ((torch, "allclose"), (torch, "equal"), (F, "softplus"), (torch, "cdist")):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: True)
    assert bank.verdict("discriminator_loss", lambda real, fake: F.softplus(real)) is not None
    assert "this is D* itself" in bank.verdict("best_logit", lambda p, q: (p - q).sigmoid())
    assert "wrong sign" in bank.verdict("slopes", lambda x: (x.sigmoid(), -(-x).sigmoid()))
