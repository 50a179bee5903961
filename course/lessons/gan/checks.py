r"""Checks for the exercises of lesson GAN: one `Step` each, whose form course/checking/step.py explains.

Formulas and gradients are checked, never luck: no check depends on a training that could fail. The two steps of the two
networks are taken once, on copies of small networks; right and wrong ones are written as a student writes them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import (
    Tensor,
    cat,
    cdist,
    linspace,
    logaddexp,
    nn,
    ones_like,
    rand,
    sigmoid,
    stack,
    tanh,
    where,
    zeros_like,
)
from torch.autograd import grad
from torch.nn.functional import binary_cross_entropy, softplus

from course.checking.core import Answer, Case, Wrong, call, normal, same
from course.checking.step import extreme, hard, step, tame

__all__ = [
    "best_logit",
    "discriminator_loss",
    "discriminator_step",
    "generator_losses",
    "generator_step",
    "hits",
    "jsd",
    "pushforward",
    "slopes",
]

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
LARGE = 50.0  # a logit whose sigmoid rounds to 1 in double precision too; its exp is finite
SURE = 2000.0  # one whose exp overflows in double precision too


# ---------------------------------------------------------------- 1. the density of what comes out


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * z.square() - HALF_LOG_2PI


def _slope(g: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    z = z.detach().clone().requires_grad_()
    return grad(g(z).sum(), z)[0]


def _curve(g: torch.Generator, n: int, steep: float, far: float = 1.0) -> dict:
    curve = 0.3 * float(rand(1, generator=g)) + 0.2
    shift = torch.tensor(float(n), requires_grad=True)  # a parameter, as a network has
    z = far * normal(g, n).sign() * (0.5 + rand(n, generator=g))
    return {"g": lambda z: shift + steep * (z + curve * tanh(z)), "z": z.to(torch.get_default_dtype())}  # fmt: skip


def _detached(answer: Answer, g: torch.Generator) -> str | None:
    made = call("pushforward", answer, tame("a rising generator", **_curve(g, 3, 2.0)))
    return (
        "the values are right, but they still hang on the graph of the generator, and could not be drawn: end with "
        "`.detach()`, on both."
        if any(x.requires_grad for x in made) else None
    )  # fmt: skip


@step(
    lambda g: [
        tame("a rising generator", **_curve(g, 6, 2.3)),
        tame("a falling generator", **_curve(g, 4, -1.7)),
        hard("a generator that squeezes", **_curve(g, 5, 0.3)),
        hard("a single point", **_curve(g, 1, 1.6)),
        extreme("codes far out", **_curve(g, 4, 1.4, far=60.0)),
        extreme("a generator that hardly rises", **_curve(g, 3, 1e-8)),
    ],
    results=("x", "log p(x)"),
    dtype="same",
    live=[_detached],
    parts=lambda g, z: ({}, {
        "- z^2 / 2": -0.5 * z.square(), "the constant, - log(2 pi) / 2,": 0 * z - HALF_LOG_2PI,
        "- log |g'(z)|": -_slope(g, z).abs().log()}),
    passes="log p(z), less the logarithm of how much g stretches.",
)  # fmt: skip
def pushforward(g: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `pushforward(g, z)`: x = g(z), and the log density of x when z is drawn from N(0, 1).

    g maps (n,) to (n,), each entry by itself, always rising or always falling; z (n,) -> (n,), (n,).

    Example:
        >>> from course import checks
        >>> checks.gan.pushforward(lambda g, z: (g(z), -0.5 * z**2 - 0.5 * math.log(2 * math.pi)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is the log density of z: ...
    """
    return g(z).detach(), _log_normal(z) - _slope(g, z).abs().log()


def _density(f: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable:
    """x, and what is made of x, z and the slope."""
    return lambda g, z: (g(z).detach(), f(g(z).detach(), z, _slope(g, z)))


pushforward.wrong = {
    "this is the log density of z: where g is steep the same probability is spread over more x, so subtract "
    "log |g'(z)|.":
        _density(lambda x, z, slope: _log_normal(z)),
    "you put x into the normal density: it is z that is drawn from N(0, 1).":
        _density(lambda x, z, slope: _log_normal(x) - slope.abs().log()),
    "this is the normal density of x, as if the generator did nothing: take that of z, and divide by the slope.":
        _density(lambda x, z, slope: _log_normal(x)),
    "this is the density: return its logarithm.": _density(lambda x, z, slope: _log_normal(z).exp() / slope.abs()),
    "you subtract the slope itself: subtract its logarithm.":
        _density(lambda x, z, slope: _log_normal(z) - slope.abs()),
    "you divide a logarithm by the slope: divide the density, which is to subtract log |g'(z)|.":
        _density(lambda x, z, slope: _log_normal(z) / slope.abs()),
    "your slopes are divided by the number of points: differentiate `g(z).sum()`, not the mean.":
        _density(lambda x, z, slope: _log_normal(z) - (slope.abs() / len(z)).log()),
    "where g falls its slope is negative, and your logarithm NaN: take the slope's absolute value first.":
        _density(lambda x, z, slope: _log_normal(z) - slope.log()),
    "far out the density rounds to 0, and its logarithm is infinite: never leave log-space, write log p(z) = "
    "- z^2 / 2 - log(2 pi) / 2.":
        _density(lambda x, z, slope: (_log_normal(z).exp() / slope.abs()).log()),
    "you return z in the place of x: return g(z) first.": lambda g, z: (z, None),
}  # fmt: skip


# ---------------------------------------------------------------- 2. the discriminator's loss


def _logits(g: torch.Generator, n: int, m: int) -> dict[str, Tensor]:
    return {"real": 2 * normal(g, n), "fake": 1 + 2 * normal(g, m)}


def _mistaken(g: torch.Generator, logit: float) -> dict[str, Tensor]:
    """A real point that is surely a fake, and the other way round; both in one call hide which half is at fault."""
    real, fake = normal(g, 3), normal(g, 2)
    real[0], fake[1] = -logit, logit
    return {"real": real, "fake": fake}


def _of_d(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-real).mean() + softplus(fake).mean()


def _cross_entropy(probability: Tensor, label: int) -> Tensor:
    return binary_cross_entropy(probability, torch.full_like(probability, label))


@step(
    lambda g: [
        tame("random logits", **_logits(g, 5, 3)),
        tame("as many fakes as real ones", **_logits(g, 4, 4)),
        hard("a single point of each", **_logits(g, 1, 1)),
        extreme("a discriminator that is sure and wrong", **_mistaken(g, LARGE)),
        extreme("a discriminator that is surer still, and wrong", **_mistaken(g, SURE)),
    ],
    gradient="real fake",
    parts=lambda real, fake: {
        "the real half": softplus(-real).mean(),
        "the fake half": softplus(fake).mean(),
    },
    passes="both halves, each a mean, and finite for every logit.",
)
def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    r"""Check `discriminator_loss(real, fake)`: $-E \log D(x) - E \log(1 - D(G(z)))$, from logits.

    real (n,) and fake (m,) are logits, D = sigmoid(logit) -> one number.

    Example:
        >>> from course import checks
        >>> softplus = torch.nn.functional.softplus
        >>> checks.gan.discriminator_loss(lambda real, fake: softplus(real).mean() + softplus(-fake).mean())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the labels are swapped: ...
    """
    return _of_d(real, fake)


discriminator_loss.wrong = {
    "you take sums: an expectation is a mean, over the real ones and over the fakes each.":
        lambda real, fake: softplus(-real).sum() + softplus(fake).sum(),
    "the labels are swapped: your D learns to call the fakes real. Real ones want a large logit.":
        lambda real, fake: _of_d(-real, -fake),
    'both halves want the answer "real": for a fake it is log(1 - D) that counts.':
        lambda real, fake: _of_d(real, -fake),
    "this is the value V(D, G), which D maximises: a loss is minimised, so turn the sign.":
        lambda real, fake: -_of_d(real, fake),
    "you average over real ones and fakes together: take the mean of each, and add the two.":
        lambda real, fake: softplus(cat([-real, fake])).mean(),
    "the sigmoid is taken twice: `real` and `fake` are logits, so use them as they are.":
        lambda real, fake: _of_d(sigmoid(real), sigmoid(fake)),
    "the logarithm is missing: this is the mean of 1 - D and of D.":
        lambda real, fake: sigmoid(-real).mean() + sigmoid(fake).mean(),
    "you take the mean of the logits first: take it last, of the losses.":
        lambda real, fake: _of_d(real.mean(), fake.mean()),
    "`F.binary_cross_entropy` cuts every logarithm at -100, so a sure mistake is too cheap: use softplus.":
        lambda real, fake: _cross_entropy(sigmoid(real), 1) + _cross_entropy(sigmoid(fake), 0),
    "a sure discriminator makes your loss infinite: 1 - sigmoid rounds to 0 before the logarithm. -log(1 - sigmoid(a)) "
    "is softplus(a), for every logit.":
        lambda real, fake: -sigmoid(real).log().mean() - (1 - sigmoid(fake)).log().mean(),
    "a logit of 2000 makes your loss infinite: an exp overflows, in log(1 + e^a) as in the sigmoid. `F.softplus` takes "
    "every logit.":
        lambda real, fake: (1 + (-real).exp()).log().mean() + (1 + fake.exp()).log().mean(),
    "your real half is log(1 - D): what counts for a real point is - log D, softplus of minus the logit.":
        lambda real, fake: -softplus(real).mean() + softplus(fake).mean(),
    "this is a hinge, with a margin of 1: take the logarithms of the formula, as softplus.":
        lambda real, fake: (1 - real).relu().mean() + (1 + fake).relu().mean(),
}  # fmt: skip


# ---------------------------------------------------------------- 3. the best discriminator


def _densities(both: Tensor) -> dict[str, Tensor]:
    return {"log_p_data": both[0], "log_p_fake": both[1]}


def _from_densities(p: Tensor, q: Tensor) -> Tensor:
    return (p.exp() / q.exp()).log()


@step(
    lambda g: [
        tame("random densities", **_densities(-1 + 1.5 * normal(g, 2, 5))),
        tame("a grid of points", **_densities(-1 + 1.5 * normal(g, 2, 2, 3))),
        hard("densities above 1", **_densities(3 + normal(g, 2, 4))),
        hard("points where both are as likely", **_densities(normal(g, 1, 3).expand(2, 3))),
        extreme("points far from one of them", **_densities(torch.tensor([[-1.0, -1500.0], [-1500.0, -1.0]]))),
        extreme("points far from both", **_densities(-SURE + 1.5 * normal(g, 2, 4))),
    ],
    passes="the logit of the best discriminator is a difference of log densities.",
)  # fmt: skip
def best_logit(log_p_data: Tensor, log_p_fake: Tensor) -> Tensor:
    r"""Check `best_logit(log_p_data, log_p_fake)`: the logit of $D^* = p_{data} / (p_{data} + p_g)$.

    Both log densities (...), which may be very low -> (...).

    Example:
        >>> from course import checks
        >>> checks.gan.best_logit(lambda log_p_data, log_p_fake: (log_p_data - log_p_fake).sigmoid())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is D* itself: ...
    """
    return log_p_data - log_p_fake


best_logit.wrong = {
    "this is D* itself: return its logit, the number whose sigmoid it is.": lambda p, q: sigmoid(p - q),
    "the two are swapped: D* must be large where the data are.": lambda p, q: q - p,
    "this is the ratio D* / (1 - D*): the logit is its logarithm.": lambda p, q: (p - q).exp(),
    "this is log D*: the logit is log D* - log(1 - D*).": lambda p, q: p - logaddexp(p, q),
    "this is log p_data - log(p_data + p_fake) with a half in it: in the logit the sum p_data + p_fake cancels.":
        lambda p, q: p - logaddexp(p, q) + math.log(2),
    "you subtract the densities: subtract their logarithms.": lambda p, q: p.exp() - q.exp(),
    "you divide one logarithm by the other: the logarithm of a ratio is a difference.": lambda p, q: p / q,
    "you add the logarithms: the densities are divided, not multiplied.": lambda p, q: p + q,
    "far from one of them D* rounds to 0 or 1, and your logit is infinite: simplify on paper first, D* / (1 - D*) is a "
    "plain ratio.":
        lambda p, q: torch.logit(sigmoid(p - q)),
    "far from both, the densities round to 0 and you get 0/0, which is NaN, or log 0: stay with the logarithms that "
    "are given.":
        _from_densities,
}  # fmt: skip


# ---------------------------------------------------------------- 4. what the objective measures


def _cells(g: torch.Generator, n: int) -> dict[str, Tensor]:
    dx = (0.2 + rand(n, generator=g)).to(torch.get_default_dtype())
    log_p = normal(g, 2, n)
    log_p = log_p - (log_p + dx.log()).logsumexp(1, keepdim=True)
    return {"log_p": log_p[0], "log_q": log_p[1], "dx": dx}


def _wide_cells(g: torch.Generator, n: int) -> dict[str, Tensor]:
    """In small units, so that densities are small; in double precision, since their entropies are large."""
    log_p, log_q, dx = (x.double() for x in _cells(g, n).values())
    return {"log_p": log_p - 60, "log_q": log_q - 60, "dx": dx * math.exp(60)}


def _apart() -> dict[str, Tensor]:
    """Far apart, with cells in between that neither density reaches."""
    x = linspace(-70, 70, 141).to(torch.get_default_dtype())
    return {"log_p": _log_normal(x + 65), "log_q": _log_normal(x - 64.5), "dx": ones_like(x)}


def _kl(log_a: Tensor, log_b: Tensor, dx: Tensor) -> Tensor:
    return (log_a.exp() * (log_a - log_b) * dx).sum()


def _middle(log_p: Tensor, log_q: Tensor) -> Tensor:
    return logaddexp(log_p, log_q) - math.log(2)


def _half_each(log_p: Tensor, log_q: Tensor, m: Tensor, dx: Tensor) -> Tensor:
    return 0.5 * _kl(log_p, m, dx) + 0.5 * _kl(log_q, m, dx)


def _jsd(log_p: Tensor, log_q: Tensor, dx: Tensor) -> Tensor:
    return _half_each(log_p, log_q, _middle(log_p, log_q), dx)


def _by_densities(log_p: Tensor, log_q: Tensor, dx: Tensor) -> Tensor:
    p, q = log_p.exp(), log_q.exp()
    m = (p + q) / 2
    return 0.5 * ((p * (p / m).log() + q * (q / m).log()) * dx).sum()


@step(
    lambda g: [
        tame("cells of different width", **_cells(g, 6)),
        tame("more cells", **_cells(g, 9)),
        hard("two cells", **_cells(g, 2)),
        extreme("densities that never meet", **_apart()),
        extreme("very wide cells", **_wide_cells(g, 5)),
    ],
    parts=lambda p, q, dx: {
        f"half of KL({x} || m)": 0.5 * _kl(y, _middle(p, q), dx) for x, y in (("p", p), ("q", q))
    },
    passes="half of each divergence from the mixture, between 0 and log 2.",
)
def jsd(log_p: Tensor, log_q: Tensor, dx: Tensor) -> Tensor:
    r"""Check `jsd(log_p, log_q, dx)`: the Jensen-Shannon divergence by quadrature, in nats.

    Log densities on the n cells of a grid and the widths of the cells, (n,) each -> one number.

    Example:
        >>> from course import checks
        >>> checks.gan.jsd(lambda log_p, log_q, dx: (log_p.exp() * (log_p - log_q) * dx).sum())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is KL(p || q): ...
    """
    return _jsd(log_p, log_q, dx)


jsd.wrong = {
    "this is KL(p || q): compare p and q each with their mixture m.": lambda p, q, dx: _kl(p, q, dx),
    "this is KL(q || p): compare p and q each with their mixture m.": lambda p, q, dx: _kl(q, p, dx),
    "this is the mean of KL(p || q) and KL(q || p): put the mixture m in the second place of both.":
        lambda p, q, dx: 0.5 * (_kl(p, q, dx) + _kl(q, p, dx)),
    "your m is the sum p + q, not the mixture (p + q) / 2: subtract log 2 from its logarithm.":
        lambda p, q, dx: _half_each(p, q, logaddexp(p, q), dx),
    "you average the logarithms: m is the mean of the densities, so add them up with `torch.logaddexp`.":
        lambda p, q, dx: _half_each(p, q, 0.5 * (p + q), dx),
    "the divergences are the wrong way round: KL(p || m) averages under p, not under m.":
        lambda p, q, dx: 0.5 * _kl(_middle(p, q), p, dx) + 0.5 * _kl(_middle(p, q), q, dx),
    "this is the value V(D*, G), 2 JSD - log 4: return the JSD alone.":
        lambda p, q, dx: 2 * _jsd(p, q, dx) - math.log(4),
    "the widths dx are missing: a sum becomes an integral when each term is multiplied by its cell.":
        lambda p, q, dx: _jsd(p, q, ones_like(dx)),
    "you average over the cells: add them up, each times its width.":
        lambda p, q, dx: _jsd(p, q, ones_like(dx) / len(dx)),
    "you use one width for all cells: they may differ, so multiply before you sum.":
        lambda p, q, dx: _jsd(p, q, dx[:1]),
    "you use the mean width for all cells: they may differ, so multiply before you sum.":
        lambda p, q, dx: _jsd(p, q, dx.mean()),
    "this is the square root, which some libraries call the Jensen-Shannon distance: leave it out.":
        lambda p, q, dx: _jsd(p, q, dx).sqrt(),
    "where both densities round to 0 your result becomes NaN or infinite, by log 0 or 0/0: never leave log-space, "
    "`torch.logaddexp(log_p, log_q)` is log(p + q).":
        _by_densities,
    "you add log 2 to log(p + q): subtract it, to halve the sum.":
        lambda p, q, dx: _half_each(p, q, logaddexp(p, q) + math.log(2), dx),
    "you halve the logarithm of p + q: subtract log 2 from it, to halve the sum.":
        lambda p, q, dx: _half_each(p, q, logaddexp(p, q) / 2, dx),
    "you weigh by log p and log q: an average under p has the weights p, which is `log_p.exp()`.":
        lambda p, q, dx: 0.5 * ((p * (p - _middle(p, q)) + q * (q - _middle(p, q))) * dx).sum(),
    "you average over the cells, after their widths: add them up.": lambda p, q, dx: _jsd(p, q, dx / len(dx)),
}  # fmt: skip


# ---------------------------------------------------------------- 5. two losses for the generator


def _fakes(g: torch.Generator) -> list[Case]:
    """Logits of fakes; every result of one number a fake comes in its shape."""
    cases = [
        tame("random logits", fake=2 * normal(g, 5)),
        tame("fakes that D finds out", fake=2 * normal(g, 3) - 2),
        hard("a single fake", fake=normal(g, 1)),
    ]
    for label, logit in (
        ("a discriminator that is sure", LARGE),
        ("a discriminator that is surer still", SURE),
    ):
        sure = normal(g, 4)
        sure[0], sure[2] = logit, -logit
        cases.append(extreme(label, fake=sure))
    return cases  # fmt: skip


@step(
    _fakes,
    results=("the minimax loss", "the non-saturating loss"),
    gradient="fake",
    passes="both want the fakes called real, and both are finite for every logit.",
)
def generator_losses(fake: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `generator_losses(fake)`: $E \log(1 - D(G(z)))$ and $-E \log D(G(z))$, both to minimise.

    fake (n,) are the logits of fakes -> two numbers, the minimax loss and the non-saturating one.

    Example:
        >>> from course import checks
        >>> softplus = torch.nn.functional.softplus
        >>> checks.gan.generator_losses(lambda fake: (-softplus(fake).mean(), -softplus(-fake).mean()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your second loss is log D: ...
    """
    return -softplus(fake).mean(), softplus(-fake).mean()


generator_losses.wrong = {
    "the non-saturating loss comes first: return the minimax loss before it.":
        lambda fake: (softplus(-fake).mean(), None),
    "your minimax loss has the discriminator's sign, - log(1 - D): minimising that helps the discriminator. The "
    "generator minimises + log(1 - D).":
        lambda fake: (softplus(fake).mean(), None),
    "your minimax loss is log D: minimised, it would make D call the fakes fake. It is log(1 - D).":
        lambda fake: (-softplus(-fake).mean(), None),
    "your minimax loss is a sum: take the mean over the fakes.": lambda fake: (-softplus(fake).sum(), None),
    "the logarithm in your minimax loss is missing: this is the mean of 1 - D.":
        lambda fake: (sigmoid(-fake).mean(), None),
    "`F.binary_cross_entropy` cuts your minimax loss at -100, and its gradient with it: use softplus.":
        lambda fake: (-_cross_entropy(sigmoid(fake), 0), None),
    "where D is sure, your minimax loss is infinite: 1 - sigmoid rounds to 0 before the logarithm. softplus is safe "
    "for every logit.":
        lambda fake: ((1 - sigmoid(fake)).log().mean(), None),
    "for a logit of 2000 your minimax loss is infinite: an exp overflows. softplus is safe for every logit.":
        lambda fake: (-(1 + fake.exp()).log().mean(), None),
    "you average D before the logarithm: average the logarithms.":
        lambda fake: ((1 - sigmoid(fake).mean()).log(), None),
    "your second loss is log D: some lecture notes have the generator maximise -log D, but that makes its fakes worse. "
    "It minimises -log D.":
        lambda fake: (None, -softplus(-fake).mean()),
    "your second loss wants the fakes called fake: that is the discriminator's wish. The generator wants them called "
    "real, so the logit gets a minus inside softplus.":
        lambda fake: (None, softplus(fake).mean()),
    "both losses are the minimax loss: the second is -log D, not log(1 - D).":
        lambda fake: (None, -softplus(fake).mean()),
    "your second loss is a sum: take the mean over the fakes.": lambda fake: (None, softplus(-fake).sum()),
    "your second loss is 1 - D, without a logarithm: take -log D.": lambda fake: (None, sigmoid(-fake).mean()),
    "`F.binary_cross_entropy` cuts your second loss at 100, and its gradient with it, just where the generator needs "
    "it most: use softplus.":
        lambda fake: (None, _cross_entropy(sigmoid(fake), 1)),
    "for a logit of -2000 the non-saturating loss is infinite: an exp overflows, in log(1 + e^a) as in the sigmoid. "
    "softplus is safe for every logit.":
        lambda fake: (None, -sigmoid(fake).log().mean()),
}  # fmt: skip


# ---------------------------------------------------------------- 6. gradient magnitudes


def _slope_of_sigmoid(fake: Tensor) -> Tensor:
    return sigmoid(fake) * (1 - sigmoid(fake))


@step(
    lambda g: [*_fakes(g), hard("a grid of logits", fake=2 * normal(g, 2, 3))],
    results=("the slope of the minimax loss", "the slope of the non-saturating loss"),
    passes="one slope dies where D is sure of a fake, and the other is steepest there.",
)
def slopes(fake: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `slopes(fake)`: the derivatives of log(1 - D) and of -log D with respect to the logit.

    fake (...) are logits -> two tensors (...), one derivative for each fake by itself.

    Example:
        >>> from course import checks
        >>> checks.gan.slopes(lambda fake: (fake.sigmoid(), fake.sigmoid() - 1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the slope of the minimax loss has the wrong sign: ...
    """
    return -sigmoid(fake), -sigmoid(-fake)


slopes.wrong = {
    "the slope of the minimax loss has the wrong sign: log(1 - D) falls when the logit rises.":
        lambda fake: (sigmoid(fake), None),
    "the slope of the non-saturating loss comes first: return that of the minimax loss before it.":
        lambda fake: (-sigmoid(-fake), None),
    "for the minimax loss you differentiate with respect to D, - 1 / (1 - D): the logit comes before the sigmoid, so "
    "multiply by D (1 - D).":
        lambda fake: (-1 / (1 - sigmoid(fake)), None),
    "for the minimax loss this is the slope of 1 - D, without the logarithm: divide by 1 - D.":
        lambda fake: (-_slope_of_sigmoid(fake), None),
    "your slopes are divided by the number of fakes: they are wanted for the loss of one fake, so differentiate the "
    "sum, not the mean.":
        lambda fake: (-sigmoid(fake) / fake.numel(), None),
    "this is the minimax loss itself: return its derivative.": lambda fake: (-softplus(fake), None),
    "where D is sure, the slope of the minimax loss is NaN, 0/0: write it with `sigmoid`, or differentiate softplus.":
        lambda fake: (-_slope_of_sigmoid(fake) / (1 - sigmoid(fake)), None),
    "for a logit of 2000 the slope of the minimax loss is NaN, inf/inf, since e^a overflows: write it with `sigmoid`.":
        lambda fake: (-fake.exp() / (1 + fake.exp()), None),
    "the slope of the non-saturating loss has the wrong sign: -log D falls when the logit rises.":
        lambda fake: (None, sigmoid(-fake)),
    "for the non-saturating loss you differentiate with respect to D, - 1 / D: multiply by D (1 - D), the slope of the "
    "sigmoid.":
        lambda fake: (None, -1 / sigmoid(fake)),
    "for the non-saturating loss this is the slope of 1 - D, without the logarithm: divide by D.":
        lambda fake: (None, -_slope_of_sigmoid(fake)),
    "your two slopes are the same: that of -log D is another.": lambda fake: (None, -sigmoid(fake)),
    "this is the non-saturating loss itself: return its derivative.": lambda fake: (None, softplus(-fake)),
    "where D is sure, the slope of the non-saturating loss is NaN, 0/0: write it with `sigmoid`, or differentiate "
    "softplus.":
        lambda fake: (None, -_slope_of_sigmoid(fake) / sigmoid(fake)),
}  # fmt: skip


# ---------------------------------------------------------------- 7. and 8. the two steps


class _Seen(list):
    """What a network was given; its copies write here too."""

    def __deepcopy__(self, memo: dict) -> "_Seen":
        return self


class _Net(nn.Module):
    """A small network with gradients left over from before, (n, width) -> (n, width), or logits (n,)."""

    def __init__(self, name: str, weights: Sequence[Tensor], slopes: Sequence[Tensor]):
        super().__init__()
        self.name, self.width, self.seen = name, len(weights[0]), _Seen()
        for layer, x, slope in zip("abcd", weights, slopes, strict=True):
            setattr(self, layer, nn.Parameter(x))
            getattr(self, layer).grad = slope

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != self.width:
            what = f"the shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise Wrong(f"`{self.name}` wants (n, {self.width}), and was given {what}.")
        self.seen.append(x)
        return ((x @ self.a + self.b).tanh() @ self.c + self.d).squeeze(1)

    def saw(self, x: Tensor) -> bool:
        """Was every row of x among what it was given?"""
        rows = cat([*(y.detach() for y in self.seen), x[:0]])
        return bool((rows[None] - x[:, None]).abs().amax(2).le(1e-5).any(1).all())

    def state(self) -> Tensor:
        return cat([x.detach().flatten() for x in self.parameters()])

    def slopes(self) -> Tensor:
        none = [zeros_like(x) if x.grad is None else x.grad for x in self.parameters()]
        return cat([x.flatten() for x in none])

    def learns(self) -> bool:
        return all(x.requires_grad for x in self.parameters())

    def fresh(self) -> "_Net":
        both = zip(*((x.detach().clone(), x.grad.clone()) for x in self.parameters()), strict=True)
        return _Net(self.name, *both)


def _taking(player: str) -> Callable[[Answer], Answer]:
    """Let an answer take a step on copies: the first thing amiss in how, the loss, and what becomes of the player."""

    def around(answer: Answer) -> Answer:
        def run(
            discriminator: _Net, generator: _Net, optimizer: torch.optim.Optimizer, *data: Tensor
        ):
            d, g = discriminator.fresh(), generator.fresh()
            mine, other, before = (
                (d, g, generator) if player == "discriminator" else (g, d, discriminator)
            )
            loss = answer(
                d, g, torch.optim.SGD(mine.parameters(), lr=optimizer.param_groups[0]["lr"]), *data
            )
            if isinstance(loss, float):
                raise Wrong(
                    "your loss is a Python number: return the tensor, whose `.item()` the caller takes."
                )
            amiss = [not d.learns(), not d.training, not g.learns(), not g.training]
            amiss += [not same(other.state(), before.state()), d.saw(data[-1])]
            if player == "discriminator":
                amiss += [not g.slopes().any(), not same(g.slopes(), generator.slopes())]
            else:
                amiss += [bool(g.seen and d.seen) and not any(x.requires_grad for x in d.seen)]
            amiss += [not g.seen, not g.saw(data[-1]), not d.saw(data[0][: len(data) - 1])]
            return torch.tensor([*amiss, True].index(True)), loss, mine.state()

        return run

    return around  # fmt: skip


def _game(player: str, label: str, g: torch.Generator, width: int, n: int, m: int) -> Case:
    nets = {}
    for name, outputs in (("discriminator", 1), ("generator", width)):
        shapes = [(width, 4), (4,), (4, outputs), (outputs,)]
        nets[name] = _Net(name, *([normal(g, *shape) for shape in shapes] for _ in range(2)))
    optimizer = torch.optim.SGD(nets[player].parameters(), lr=0.5)
    data = {"x": 1 + normal(g, n, width), "z": normal(g, m, width)}
    if player == "generator":
        del data["x"]
    return tame(label, **nets, optimizer=optimizer, **data)  # fmt: skip


def _games(player: str) -> Callable[[torch.Generator], list[Case]]:
    return lambda g: [
        _game(player, "points in the plane", g, 2, 5, 4),
        _game(player, "points in space, as many fakes as real ones", g, 3, 4, 4),
    ]


def _d_step(
    loss: Callable[[Tensor, Tensor], Tensor] = _of_d,
    goal: Callable[[Tensor, Tensor], Tensor] | None = None,
    clear: bool = True,
    move: bool = True,
    fakes: Callable[[_Net, Tensor], Tensor] = lambda g, z: g(z).detach(),
    after: Callable[[_Net, _Net], Any] = lambda d, g: None,
    looks: bool = True,
) -> Answer:
    """A step of D with something else in it; `goal` is what the step makes smaller, if that is not the loss."""

    def answer(discriminator, generator, optimizer, x, z):
        real = discriminator(x) if looks else x
        fake = discriminator(fakes(generator, z))
        if clear:
            optimizer.zero_grad()
        made = loss(real, fake)
        (goal(real, fake) if goal else made).backward()
        if move:
            optimizer.step()
        after(discriminator, generator)
        return made

    return answer


def _in_both_steps(take: Callable[..., Answer], loss: Callable[..., Tensor]) -> dict[str, Answer]:
    """Entries for what is switched off in one of the players and never on again, and for what comes too late."""

    def afterwards(discriminator, generator, optimizer, *data):
        take()(discriminator, generator, optimizer, *data)
        return loss(*map(discriminator, data[:-1]), discriminator(generator(data[-1]).detach()))

    off = {
        "you switch off the gradients of the {} and leave them off, so it could never learn again: switch them on "
        "before you return, or do without.":
            lambda net: net.requires_grad_(False),
        "you leave the {} in the mode of evaluation: call `.train()` before you return, or do without `.eval()`.":
            nn.Module.eval,
    }  # fmt: skip
    return {
        "you return the loss after the step: return the one you stepped on.": afterwards,
        "you take two steps on one batch: take one.": lambda *given: [take()(*given) for _ in range(2)][1],
    } | {
        words.format(name): take(after=lambda *nets, i=i, switch=switch: switch(nets[i]))
        for i, name in enumerate(("discriminator", "generator")) for words, switch in off.items()
    }  # fmt: skip


def _not_by_the_optimizer(case: Case, *results: Tensor) -> str | None:
    loss, right_loss = results[1::3]
    return (
        "the loss is right, but not where the step leads: take one `optimizer.step()`, of the optimizer that is given, "
        "along the gradient of this loss as it is."
        if same(loss, right_loss) else None
    )  # fmt: skip


@step(
    _games("discriminator"),
    around=_taking("discriminator"),
    results=("how the step is taken", "the loss", "what becomes of D"),
    probe=_not_by_the_optimizer,
    passes="the discriminator moves, and the generator has not noticed.",
)
def discriminator_step(discriminator, generator, optimizer, x, z):
    r"""Check `discriminator_step(discriminator, generator, optimizer, x, z)`: one update of D alone.

    `generator` maps noise z (m, d) to fakes, `discriminator` maps points (n, d) to logits (n,), and the
    optimizer holds the discriminator's parameters. Returned is the loss before the step. The generator
    must be as it was, its gradients included.

    Example:
        >>> from course import checks
        >>> checks.gan.discriminator_step(lambda discriminator, generator, optimizer, x, z: generator(z).sum())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: D never sees the real x.
    """
    return _d_step()(discriminator, generator, optimizer, x, z)


def _nudge(net: _Net) -> None:
    for parameter in net.parameters():
        parameter.data += 1


discriminator_step.wrong = {
    **_in_both_steps(_d_step, _of_d),
    "the generator moves too: this step changes the discriminator alone, by the optimizer that is given.":
        _d_step(after=lambda d, g: _nudge(g)),
    "you clear the generator's gradients, which are not yours: detach the fakes, and none will arrive there.":
        _d_step(after=lambda d, g: g.zero_grad()),
    "your loss sends a gradient into the generator, which should not hear of it: detach the fakes, "
    "`generator(z).detach()`.":
        _d_step(fakes=lambda g, z: g(z)),
    "you show D the noise itself: a fake is what the generator makes of it.": _d_step(fakes=lambda g, z: z),
    "the generator is never asked: the fakes are `generator(z)`.": _d_step(fakes=lambda g, z: z + 1),
    "you draw noise of your own: give the generator the z that is handed to you.":
        _d_step(fakes=lambda g, z: g(-z).detach()),
    "D never sees the real x.": lambda d, g, optimizer, x, z: _d_step()(d, g, optimizer, g(z).detach(), z),
    "the discriminator does not move: the order is `optimizer.zero_grad()`, `loss.backward()`, `optimizer.step()`, and "
    "its logits keep their history.":
        _d_step(move=False),
    "the gradients of the last generator step are still in D's parameters, and yours are added to them: call "
    "`optimizer.zero_grad()` before `backward`.":
        _d_step(clear=False),
    "D learns nothing from the fakes: you detach what D says of them. Detach the fakes, before D sees them.":
        _d_step(goal=lambda real, fake: softplus(-real).mean()),
    "D learns nothing from the real ones: you detach what D says of them.":
        _d_step(goal=lambda real, fake: softplus(fake).mean()),
    "only the real half of the loss is there: D must see the fakes too.":
        _d_step(lambda real, fake: softplus(-real).mean()),
    "only the fake half of the loss is there: D must see the real x too.":
        _d_step(lambda real, fake: softplus(fake).mean(), looks=False),
    "you average over real ones and fakes together: take the mean of each, and add the two.":
        _d_step(lambda real, fake: softplus(cat([-real, fake])).mean()),
    "D learns to call the fakes real and the data fake: real ones come first in the loss, and their label is 1.":
        _d_step(lambda real, fake: _of_d(fake, real)),
    "you train D on the generator's wish, that fakes are called real: take the discriminator's loss.":
        _d_step(lambda real, fake: softplus(-fake).mean(), looks=False),
    "you go uphill: the optimizer minimises, so give it the loss, not the value V(D, G).":
        _d_step(lambda real, fake: -_of_d(real, fake)),
    "you return the value V(D, G): return the loss that you stepped on.":
        _d_step(lambda real, fake: -_of_d(real, fake), goal=_of_d),
    "you step on half of the loss: it is the sum of both halves.": _d_step(lambda real, fake: 0.5 * _of_d(real, fake)),
    "the sigmoid is taken twice: your loss wants the logits that D returns.":
        _d_step(lambda real, fake: _of_d(sigmoid(real), sigmoid(fake))),
}  # fmt: skip


def _of_g(fake: Tensor) -> Tensor:
    return softplus(-fake).mean()


def _g_step(
    loss: Callable[[Tensor], Tensor] = _of_g,
    clear: bool = True,
    move: bool = True,
    fakes: Callable[[_Net, Tensor], Tensor] = lambda g, z: g(z),
    after: Callable[[_Net, _Net], Any] = lambda d, g: None,
) -> Answer:
    """A step of G with something else in it."""

    def answer(discriminator, generator, optimizer, z):
        made = loss(discriminator(fakes(generator, z)))
        if clear:
            optimizer.zero_grad()
        made.backward()
        if move:
            optimizer.step()
        after(discriminator, generator)
        return made

    return answer


@step(
    _games("generator"),
    around=_taking("generator"),
    results=("how the step is taken", "the loss", "what becomes of G"),
    probe=_not_by_the_optimizer,
    passes="the generator moves uphill in D's eyes, and D stands still.",
)
def generator_step(discriminator, generator, optimizer, z):
    r"""Check `generator_step(discriminator, generator, optimizer, z)`: one update of G alone.

    As in `discriminator_step`, but the optimizer holds the generator's parameters, and the loss is the
    non-saturating one. What stands in the gradients of D afterwards does not matter.

    Example:
        >>> from course import checks
        >>> checks.gan.generator_step(lambda discriminator, generator, optimizer, z: discriminator(z).sum())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you show D the noise itself, and the generator is not part of your loss: ...
    """
    return _g_step()(discriminator, generator, optimizer, z)


generator_step.wrong = {
    **_in_both_steps(_g_step, _of_g),
    "the discriminator moves too: this step changes the generator alone, by the optimizer that is given.":
        _g_step(after=lambda d, g: _nudge(d)),
    "your fakes are detached (`.detach()`, or `torch.no_grad()`), so no gradient reaches the generator: here it must "
    "go through D and into G.":
        _g_step(fakes=lambda g, z: g(z).detach()),
    "you show D the noise itself, and the generator is not part of your loss: a fake is `generator(z)`.":
        _g_step(fakes=lambda g, z: z),
    "the generator is never asked: the fakes are `generator(z)`.": _g_step(fakes=lambda g, z: z + 1),
    "you draw noise of your own: give the generator the z that is handed to you.": _g_step(fakes=lambda g, z: g(-z)),
    "the generator does not move: the order is `optimizer.zero_grad()`, `loss.backward()`, `optimizer.step()`, and the "
    "logits keep their history.":
        _g_step(move=False),
    "old gradients are still in the generator's parameters, and yours are added to them: call `optimizer.zero_grad()` "
    "before `backward`.":
        _g_step(clear=False),
    "this is the minimax loss, log(1 - D), which stands still when D is sure: take the non-saturating one.":
        _g_step(lambda fake: -softplus(fake).mean()),
    "your generator wants its fakes called fake, as the discriminator does: it wants them called real.":
        _g_step(lambda fake: softplus(fake).mean()),
    "your generator maximises -log D, as some lecture notes say, and gets worse: it minimises -log D.":
        _g_step(lambda fake: -_of_g(fake)),
    "you step on both losses at once: take the non-saturating one.":
        _g_step(lambda fake: softplus(-fake).mean() - softplus(fake).mean()),
    "you step on the sum over the fakes: take the mean.": _g_step(lambda fake: softplus(-fake).sum()),
    "the sigmoid is taken twice: your loss wants the logits of D.": _g_step(lambda fake: _of_g(sigmoid(fake))),
}  # fmt: skip


# ---------------------------------------------------------------- 9. counting modes


def _scattered(
    g: torch.Generator, d: int, around: Sequence[int], radius: float
) -> dict[str, Tensor | float]:
    """Some points near each of several centers, some that two discs share, and strays.

    The centers lie on a line, 1.3 radii apart, so that neighbouring discs overlap.
    """
    centers = 0.01 * radius * normal(g, len(around), d)
    centers[:, 0] = 1.3 * radius * torch.arange(len(around))
    points = []
    for center, n in zip(centers, around, strict=True):
        direction = normal(g, n, d)
        direction = direction / direction.norm(dim=1, keepdim=True)
        points.append(center + direction * radius * (0.1 + 0.5 * rand(n, 1, generator=g)))
    shared = 0.45 * centers[1] + 0.55 * centers[0]  # nearer to the first, in the discs of both
    # a square would hold it, a disc does not
    corner = centers[0] - 0.9 * radius * torch.ones(d).to(centers)
    # near by the sum of squares, not by the sum of absolute values
    slanted = centers[0] - 0.9 * radius / math.sqrt(d)
    # near by the mean of squares, not by their sum
    outside = (centers[:1] - 0.2 * radius).repeat(
        2, 1
    )  # far away in one coordinate, the first or the last
    outside[0, 0], outside[1, -1] = centers[0, 0] - 1.1 * radius, centers[0, -1] - 1.1 * radius
    strays = 3 * radius * torch.tensor([[1.0], [1.4], [2.0]]).to(centers)
    x = cat(
        [
            *points,
            stack([shared, corner, slanted, *outside]),
            centers[0] - strays,
            centers[-1] + strays,
        ]
    )
    return {"x": x[torch.randperm(len(x), generator=g)], "centers": centers, "radius": radius}  # fmt: skip


def _line(*x: float) -> dict[str, Tensor | float]:
    """Points on a line with modes at 0, 2 and 4; their distances are exact numbers."""
    column = torch.tensor(x)[:, None].to(torch.get_default_dtype())
    return {"x": column, "centers": torch.tensor([[0.0], [2.0], [4.0]]).to(column), "radius": 0.5}


def _apart_from(x: Tensor, centers: Tensor) -> Tensor:
    return (x[:, None] - centers).abs()  # (n, M, d)


def _counted_twice(answer: Answer, g: torch.Generator) -> str | None:
    """Which of two modes gets a point midway between them is not said, but only one does."""
    given = {**_line(1.0, 3.0, 3.0), "radius": 1.0}
    n = call("hits", answer, Case("points midway between two modes", given)).sum()
    words = "a point as near to two modes counts for both: it belongs to one of them."
    return words if n > 3 else None


def _count(distances: Tensor, radius: float) -> Tensor:
    distance, nearest = distances.min(dim=1)
    return nearest[distance <= radius].bincount(minlength=distances.shape[1])


@step(
    lambda g: [
        tame("points in the plane", **_scattered(g, 2, (3, 5, 2, 4), 0.8)),
        tame("points on a line", **_scattered(g, 1, (4, 2, 3), 0.5)),
        hard("a last mode that nothing hits", **_scattered(g, 4, (2, 3, 4, 2, 0), 1.6)),
        hard("points exactly on the rim", **_line(0.0, -0.5, 2.5, 2.25, 4.75)),
        hard("a single point", **_line(2.25)),
        hard("points near no mode at all", **_line(-2.0, 0.75, 5.0, 9.0)),
    ],
    live=[_counted_twice],
    passes="every point counts for its nearest mode, or for none.",
)
def hits(x: Tensor, centers: Tensor, radius: float) -> Tensor:
    r"""Check `hits(x, centers, radius)`: how many points belong to each mode, (M,).

    x (n, d), centers (M, d). A point belongs to its nearest center, if it lies within the radius of it.

    Example:
        >>> from course import checks
        >>> checks.gan.hits(lambda x, centers, radius: (torch.cdist(x, centers) <= radius).sum(0))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: a point between two modes is counted for both: ...
    """
    return _count(cdist(x, centers), radius)


hits.wrong = {
    "a point between two modes is counted for both: ask for the nearest center first.":
        lambda x, centers, radius: (cdist(x, centers) <= radius).sum(0),
    "points far from every mode are counted too: ask whether the nearest center lies within the radius.":
        lambda x, centers, radius: _count(cdist(x, centers), math.inf),
    "points exactly on the rim are left out: a distance equal to the radius counts, `<=`.":
        lambda x, centers, radius: _count(cdist(x, centers), radius * (1 - 1e-6)),
    "you count the points beyond the radius: count those within.":
        lambda x, centers, radius: (
            cdist(x, centers).argmin(1)[cdist(x, centers).amin(1) > radius].bincount(minlength=len(centers))
        ),
    "you compare the squared distance with the radius: take its root, or square the radius.":
        lambda x, centers, radius: _count(cdist(x, centers).square(), radius),
    "you add up the absolute differences of the coordinates: the distance is the root of the sum of their squares.":
        lambda x, centers, radius: _count(_apart_from(x, centers).sum(2), radius),
    "you ask each coordinate by itself, which makes a square of the disc: take the distance.":
        lambda x, centers, radius: _count(_apart_from(x, centers).amax(2), radius),
    "you average the squared differences of the coordinates: the distance is the root of their sum.":
        lambda x, centers, radius: _count(_apart_from(x, centers).square().mean(2).sqrt(), radius),
    "you say which modes are hit: return how many points hit each.":
        lambda x, centers, radius: _count(cdist(x, centers), radius) > 0,
    "you count the points near any mode: return how many hit each.":
        lambda x, centers, radius: _count(cdist(x, centers), radius).sum(),
    "these are shares of all points: return the counts.":
        lambda x, centers, radius: _count(cdist(x, centers), radius) / len(x),
    "points beyond the radius are counted for mode 0: leave them out before you count.":
        lambda x, centers, radius: where(
            cdist(x, centers).amin(1) <= radius, cdist(x, centers).argmin(1), 0
        ).bincount(minlength=len(centers)),
    "the last mode is missing from your counts, since no point hits it: `bincount` wants `minlength`.":
        lambda x, centers, radius: cdist(x, centers).argmin(1)[cdist(x, centers).amin(1) <= radius].bincount(),
    "you return a mode for each point: count the points of each mode.":
        lambda x, centers, radius: cdist(x, centers).argmin(1),
    "you halve the radius: it is no diameter.": lambda x, centers, radius: _count(cdist(x, centers), radius / 2),
    "you square the radius and not the distance: compare the two as they are.":
        lambda x, centers, radius: _count(cdist(x, centers), radius**2),
}  # fmt: skip
