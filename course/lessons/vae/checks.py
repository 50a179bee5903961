r"""Checks for the exercises of lesson VAE: one `Step` each, whose form course/checking/step.py explains.

Steps that draw codes are held against the very codes that they draw: the check hands out an encoder and a decoder of
its own, and the decoder remembers what it was asked to decode.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import (
    Tensor,
    bernoulli,
    cartesian_prod,
    cat,
    isfinite,
    linspace,
    log,
    rand,
    randint,
    randn,
    sigmoid,
)
from torch.autograd import grad
from torch.nn.functional import softplus

from course.checking.core import Answer, Case, Wrong, call, normal, same
from course.checking.step import extreme, hard, step, tame
from genlib.validation import Shape

__all__ = [
    "bernoulli_log_prob",
    "elbo",
    "gap",
    "gaussian_log_prob",
    "grey_bits",
    "importance_bound",
    "kl",
    "log_evidence",
    "reparameterise",
    "sample",
    "weighted_loss",
]

NARROW = math.exp(-16)  # a spread small beside a small number in a student's code
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x) of each pixel by itself."""
    return x * logits - softplus(logits)


def _gaussian(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(z; mean, std^2) of each entry by itself."""
    return -0.5 * ((z - mean) / log_std.exp()).square() - log_std - HALF_LOG_2PI


def _prior(z: Tensor) -> Tensor:
    """log N(z; 0, I), (..., D) -> (...)."""
    return (-0.5 * z.square() - HALF_LOG_2PI).sum(-1)


def _kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)) of each entry by itself."""
    return 0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std


PIXELS = (-3, -2, -1)


def _images(g: torch.Generator, *shape: int) -> Tensor:
    return (rand(shape, generator=g) < 0.5).to(torch.get_default_dtype())


# ---------------------------------------------------------------- 1. an image, given its code


def _logs(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x) of each pixel by way of sigmoid: -inf where a probability is rounded to zero."""
    return log(torch.where(x > 0, sigmoid(logits), 1 - sigmoid(logits)))


def _unlikely(label: str, logits: Tensor) -> Case:
    """All that is nearly impossible happens."""
    return extreme(label, logits=logits, x=(logits < 0).to(logits))


@step(
    lambda g: [
        tame("three images", logits=2 * normal(g, 3, 2, 3, 4), x=_images(g, 3, 2, 3, 4)),
        tame("logits of 5 codes, each with 3 images", logits=2 * normal(g, 5, 1, 2, 2, 3), x=_images(g, 3, 2, 2, 3)),
        hard("a single image", logits=normal(g, 1, 1, 5, 2), x=_images(g, 1, 1, 5, 2)),
        _unlikely("very unlikely images", 2000 * normal(g, 2, 1, 2, 2)),
        _unlikely("unlikely white pixels", -1000 - 500 * normal(g, 2, 1, 2, 2).abs()),
    ],
    gradient="logits",
    parts=lambda logits, x: {
        "x times the logit": (x * logits).sum(PIXELS), "- softplus": -softplus(logits).sum(PIXELS),
    },
    passes="one number an image, the sum over its pixels, and it never leaves log-space.",
)  # fmt: skip
def bernoulli_log_prob(logits: Tensor, x: Tensor) -> Tensor:
    r"""Check `bernoulli_log_prob(logits, x)`: $\log p(x|z)$ of binary images, one number an image.

    logits and x (..., C, H, W), whose axes in front broadcast -> (...).

    Example:
        >>> from course import checks
        >>> checks.vae.bernoulli_log_prob(lambda logits, x: (x * logits).sum((-3, -2, -1)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the logits are not normalised: ...
    """
    return _bernoulli(logits, x).sum(dim=PIXELS)


bernoulli_log_prob.wrong = {
    "this is the cross-entropy, a loss: the log-likelihood is minus that.":
        lambda logits, x: -_bernoulli(logits, x).sum(PIXELS),
    "you average over the pixels: log p(x|z) of an image is the sum over all of them.":
        lambda logits, x: _bernoulli(logits, x).mean(PIXELS),
    "you return one number for each pixel: sum over the last three axes, C, H and W.": _bernoulli,
    "you sum over rows and columns, but not over the channels: sum over the last three axes.":
        lambda logits, x: _bernoulli(logits, x).sum((-2, -1)),
    "image.":
        lambda logits, x: _bernoulli(logits, x).mean(),
    "you sum over all axes but the first: there may be two in front of C, H and W, so sum over the last three.":
        lambda logits, x: _bernoulli(logits, x).flatten(1).sum(1),
    "the logits are not normalised: x times logit lacks log(1 + e^logit), which every pixel pays.":
        lambda logits, x: (x * logits).sum(PIXELS),
    "your black pixels count nothing: where x = 0 its probability 1 - sigmoid(logit) belongs into the sum.":
        lambda logits, x: (x * -softplus(-logits)).sum(PIXELS),
    "your white pixels count nothing: where x = 1 the logarithm of sigmoid(logit) belongs into the sum.":
        lambda logits, x: ((1 - x) * -softplus(logits)).sum(PIXELS),
    "log(1 + e^logit) is softplus of the logit itself, without a minus.":
        lambda logits, x: (x * logits - softplus(-logits)).sum(PIXELS),
    "log(1 + e^logit) is paid by every pixel, black or white: leave out the factor 1 - x before it.":
        lambda logits, x: (x * logits - (1 - x) * softplus(logits)).sum(PIXELS),
    "black and white are the wrong way round: sigmoid(logit) is the probability of a 1.":
        lambda logits, x: _bernoulli(logits, 1 - x).sum(PIXELS),
    "you add up probabilities: take their logarithm first.": lambda logits, x: _logs(logits, x).exp().sum(PIXELS),
    "your softplus is that of x times the logit: every pixel, black or white, pays log(1 + e^logit).":
        lambda logits, x: (x * logits - softplus(x * logits)).sum(PIXELS),
    "this is a squared error: log p(x|z) is a sum of logarithms.":
        lambda logits, x: -(x - sigmoid(logits)).square().sum(PIXELS),
    "for a black pixel you take log sigmoid(logit) too: its probability is 1 - sigmoid(logit), or sigmoid(-logit).":
        lambda logits, x: -softplus(-logits).expand_as(x * logits).sum(PIXELS),
    "an unlikely pixel makes your result infinite, since sigmoid rounds to 0 or 1: stay with the logits, "
    "`x * logits - F.softplus(logits)`.":
        lambda logits, x: _logs(logits, x).sum(PIXELS),
    "`F.binary_cross_entropy` cuts every logarithm at -100, so an unlikely pixel is too cheap: use the one "
    "`..._with_logits`.":
        lambda logits, x: _logs(logits, x).clamp(min=-100).sum(PIXELS),
    "log(1 + e^logit) overflows for a large logit: `F.softplus` does not.":
        lambda logits, x: (x * logits - log(1 + logits.exp())).sum(PIXELS),
}  # fmt: skip


# ---------------------------------------------------------------- 2. the density of a code


def _far(
    g: torch.Generator, d: int, codes: tuple[int, ...], means: int, scale: float = 1.0
) -> dict[str, Tensor]:
    z, mean = scale * (2 + normal(g, *codes, d)), normal(g, means, d)
    return {"z": z, "mean": mean, "log_std": 0.5 * normal(g, means, d)}


def _narrow(g: torch.Generator) -> dict[str, Tensor]:
    far = _far(g, 2, (3,), 3)
    return {"z": NARROW * far["z"], "mean": NARROW * far["mean"], "log_std": far["log_std"] - 16}


@step(
    lambda g: [
        tame("codes of 3 entries", **_far(g, 3, (4,), 4)),
        tame("5 codes under each of 3 Gaussians", **_far(g, 2, (5, 1), 3)),
        hard("a single entry", **_far(g, 1, (2,), 2)),
        extreme("codes far away", **_far(g, 2, (3,), 3, scale=100.0)),
        extreme("a very narrow Gaussian", **_narrow(g)),
    ],
    gradient="z mean log_std",
    parts=lambda z, mean, log_std: {
        "the square with its - 1/2": _over_variance((z - mean).square(), log_std).sum(-1) / -2,
        "- log_std": -log_std.sum(-1),
        "the constant, - log(2 pi) / 2 for each entry,": 0 * z.sum(-1) - z.shape[-1] * HALF_LOG_2PI},
    passes="one number a code, with every constant counted once for each entry.",
)  # fmt: skip
def gaussian_log_prob(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    r"""Check `gaussian_log_prob(z, mean, log_std)`: the log density of a diagonal Gaussian.

    All (..., D), whose axes in front broadcast -> (...).

    Example:
        >>> from course import checks
        >>> checks.vae.gaussian_log_prob(lambda z, mean, log_std: -0.5 * (z - mean).square().sum(-1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for codes of 3 entries the result of `gaussian_log_prob` is wrong: ...
    """
    return _gaussian(z, mean, log_std).sum(dim=-1)


def _by_parts(
    square: Callable[[Tensor, Tensor], Tensor], scale: float = 1, constant: float = 1
) -> Callable:
    """A wrong log density: from (z - mean)^2 and log_std, the weight of log_std, and that of the constant."""
    return lambda z, mean, log_std: (
        -0.5 * square((z - mean).square(), log_std) - scale * log_std - constant * HALF_LOG_2PI
    ).sum(-1)  # fmt: skip


def _over_variance(square: Tensor, log_std: Tensor) -> Tensor:
    return square / (2 * log_std).exp()


gaussian_log_prob.wrong = {
    "the constant log(2 pi) / 2 is counted once for the whole code: each of the D entries pays it.":
        lambda z, mean, log_std: _gaussian(z, mean, log_std).sum(-1) + (z.shape[-1] - 1) * HALF_LOG_2PI,
    "the constant of all D entries, D log(2 pi) / 2, is counted again in each of them: it belongs outside the sum.":
        lambda z, mean, log_std: (_gaussian(z, mean, log_std) - (z.shape[-1] - 1) * HALF_LOG_2PI).sum(-1),
    "you take exp(log_std) for the variance: it is the standard deviation, so square it before you divide.":
        lambda z, mean, log_std: _gaussian(z, mean, log_std / 2).sum(-1),
    "you halve log_std, as if it were the log of the variance.": _by_parts(_over_variance, scale=0.5),
    "you divide by the standard deviation, not by its square: the distance is squared as a whole, "
    "((z - mean) / std) ** 2.":
        _by_parts(lambda square, log_std: square / log_std.exp()),
    "you multiply by the standard deviation: divide by it, before you square.":
        _by_parts(lambda square, log_std: square * (2 * log_std).exp()),
    "you divide by log_std: the standard deviation is exp(log_std).":
        _by_parts(lambda square, log_std: square / log_std.square()),
    "you take the variance, exp(2 log_std), for the standard deviation.":
        lambda z, mean, log_std: _gaussian(z, mean, 2 * log_std).sum(-1),
    "the distance from the mean is not squared: it is ((z - mean) / std) ** 2.":
        _by_parts(lambda square, log_std: square.sqrt() / log_std.exp()),
    "you average over the entries of a code: their log densities add up.":
        lambda z, mean, log_std: _gaussian(z, mean, log_std).mean(-1),
    "you sum over all axes but the first: there may be two in front, so sum over the last axis alone.":
        lambda z, mean, log_std: _gaussian(z, mean, log_std).flatten(1).sum(1),
    "this is the density: wanted is its logarithm, computed without the exp.":
        lambda z, mean, log_std: _gaussian(z, mean, log_std).sum(-1).exp(),
}  # fmt: skip


# ---------------------------------------------------------------- 3. the evidence on a grid


@dataclass(frozen=True)
class _Grid:
    """What the points of a grid say about images, for `log_evidence` and `gap`."""

    log_likelihood: Tensor  # (n, B)
    z: Tensor  # (n, D)
    area: float

    @property
    def log_prior(self) -> Tensor:  # (n, 1)
        return _prior(self.z)[:, None]

    @property
    def joint(self) -> Tensor:  # (n, B)
        return self.log_likelihood + self.log_prior

    @property
    def evidence(self) -> Tensor:  # (B,)
        return self.joint.logsumexp(dim=0) + math.log(self.area)

    @property
    def posterior(self) -> Tensor:  # (n, B), a log density
        return self.joint - self.evidence

    def mean(self, log_q: Tensor, value: Tensor) -> Tensor:
        """Under a density on the grid, (n, B) -> (B,)."""
        return (log_q.exp() * value).sum(dim=0) * self.area


def _on_a_grid(
    g: torch.Generator, sides: tuple[int, ...], b: int, low: float, spread: float = 3.0
) -> dict:
    lines = [linspace(-2, 2, side).to(torch.get_default_dtype()) for side in sides]
    z = cartesian_prod(*lines).reshape(-1, len(sides))
    area = math.prod(4 / (side - 1) for side in sides) / 2
    return {"log_likelihood": low + spread * normal(g, len(z), b), "z": z, "area": area}


@step(
    lambda g: [
        tame("a grid in the plane", **_on_a_grid(g, (5, 4), 3, -8.0)),
        tame("a grid on the line", **_on_a_grid(g, (9,), 2, -8.0)),
        hard("a single image", **_on_a_grid(g, (3, 4), 1, -8.0)),
        extreme("very unlikely images", **_on_a_grid(g, (4, 4), 2, -3000.0)),
        extreme("codes that explain an image much better", **_on_a_grid(g, (4, 5), 2, 0.0, 2000.0)),
    ],
    view=lambda log_likelihood, z, area: {"g": _Grid(log_likelihood, z, area)},
    gradient="log_likelihood",
    passes="the logarithm of a sum over the grid, each point weighed by prior and area.",
)
def log_evidence(g: _Grid) -> Tensor:
    r"""Check `log_evidence(log_likelihood, z, area)`: $\log \sum_j p(x|z_j) \, p(z_j) \, \Delta$.

    log_likelihood (n, B), z (n, D), area a number -> (B,). The prior is N(0, I).

    Example:
        >>> from course import checks
        >>> checks.vae.log_evidence(lambda log_likelihood, z, area: log_likelihood.logsumexp(0))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this adds up the likelihoods alone: ...
    """
    return g.evidence


log_evidence.wrong = {
    "the prior is missing: a square of the grid weighs p(z) times its area.":
        lambda g: g.log_likelihood.logsumexp(0) + math.log(g.area),
    "the area is missing: a sum becomes an integral when each term is multiplied by the area of its square.":
        lambda g: g.joint.logsumexp(0),
    "this adds up the likelihoods alone: each needs the weight p(z) times the area.":
        lambda g: g.log_likelihood.logsumexp(0),
    "you multiply a logarithm by the area: add log(area) to it.": lambda g: g.joint.logsumexp(0) * g.area,
    "you take the mean over the points: weigh each by the area, and add up.":
        lambda g: g.joint.logsumexp(0) - math.log(len(g.z)),
    "this is the average of log p(x|z) under the prior: log p(x) is the logarithm of the average of p(x|z).":
        lambda g: (g.log_prior.exp() * g.log_likelihood).sum(0) * g.area,
    "you keep the likeliest code alone: add up over all of them.":
        lambda g: g.joint.amax(0) + math.log(g.area),
    "you add the area to a logarithm: add its logarithm, `math.log(area)`.":
        lambda g: g.joint.logsumexp(0) + g.area,
    "you divide by the number of points: the area already says how much each of them stands for.":
        lambda g: g.evidence - math.log(len(g.z)),
    "this is the mean over points drawn from the prior: these points form a grid, so weigh each by p(z) times the "
    "area.":
        lambda g: g.log_likelihood.logsumexp(0) - math.log(len(g.z)),
    "your prior is as wide as e: the log_std of N(0, I) is 0, not 1.":
        lambda g: (g.joint - g.z.shape[1] + 0.5 * (1 - math.exp(-2)) * g.z.square().sum(1, keepdim=True)).logsumexp(0)
        + math.log(g.area),
    "you divide by the area: multiply by it.": lambda g: g.evidence - 2 * math.log(g.area),
    "the prior divides in your sum: it is a product, p(x|z) p(z), so add log p(z).":
        lambda g: (g.log_likelihood - g.log_prior).logsumexp(0) + math.log(g.area),
    "you add p(z) to a logarithm: add log p(z).":
        lambda g: (g.log_likelihood + g.log_prior.exp()).logsumexp(0) + math.log(g.area),
    "you sum over likelihoods and priors apart: each likelihood belongs to the prior of its own code.":
        lambda g: g.log_likelihood.logsumexp(0) + g.log_prior.logsumexp(0) + math.log(g.area),
    "you add up logarithms: log p(x) is the logarithm of a sum, not the sum of logarithms.":
        lambda g: g.joint.sum(0) + math.log(g.area),
    "you sum over the images: sum over the points of the grid, axis 0.":
        lambda g: g.joint.logsumexp(1) + math.log(g.area),
    "the constant of the prior is missing: log N(z; 0, I) holds - D log(2 pi) / 2.":
        lambda g: g.evidence + g.z.shape[1] * HALF_LOG_2PI,
    "you raise the area to the power D: it is the whole square's already.":
        lambda g: g.evidence + (g.z.shape[1] - 1) * math.log(g.area),
}  # fmt: skip


# ---------------------------------------------------------------- 4. draws that gradients pass


def _what_is_wrong_with_the_draws(case: Case, z: Tensor) -> str | None:
    """Why thousands of draws (k, B, D) are not those of N(mean, std^2); None if they may be."""
    k, mean, log_std = len(z), case.arguments["mean"], case.arguments["log_std"]
    noise = (z - mean) / log_std.exp()
    if same(noise[0], noise[1]) and same(noise[0], noise[-1]):
        return (
            "all k draws of an image are the same: the noise needs an axis of length k in front, "
            "`torch.randn(k, B, D)`."
        )
    spread, std = z.std(dim=0), log_std.exp()  # (B, D)
    spreads = {
        "the spread of your draws is not exp(log_std).": std,
        "the spread of your draws is log_std itself: the standard deviation is exp(log_std).": log_std.abs(),
        "the spread of your draws is the variance, exp(2 log_std): multiply the noise by the standard deviation.":
            std.square(),
        "you take log_std for the log of the variance and halve it: the standard deviation is exp(log_std).":
            std.sqrt(),
        "the spread is 1 whatever log_std says: multiply the noise by exp(log_std).": torch.ones_like(std),
        "your noise is uniform, from `rand`: it must be normal, from `randn`.": std / math.sqrt(12),
    }  # fmt: skip
    # far more than sampling error, far less than the mistakes
    like = [words for words, x in spreads.items() if ((spread / x).log().abs() < 0.1).all()]
    right = next(iter(spreads))
    if right not in like:
        if case.kind == "extreme":
            return "a clamp or a small number in your code widens a very narrow q: its spread is exp(log_std)."
        return like[0] if like else right
    center = z.mean(dim=0)
    allowed = 6 * std / math.sqrt(k)  # standard errors: a right answer fails once in many millions
    if not ((center - mean).abs() < allowed).all():
        zero = (center.abs() < allowed).all()
        return (
            "the mean is missing: your draws lie around zero." if zero
            else "your draws do not lie around the mean."
        )  # fmt: skip
    if same(noise[:, :1].expand_as(noise), noise):
        return "all images share one noise: draw it for each of them, `torch.randn(k, B, D)`."
    if same(noise[..., :1].expand_as(noise), noise):
        return "the entries of a code share one noise: draw it for each of the D entries."
    if noise.abs().amax((1, 2)).min() < 1e-3:
        return "one of your draws is the mean itself: every draw has its own noise."
    if len((1e4 * noise[:, 0, 0].abs()).round().unique()) < 0.7 * k:
        return "some of your draws repeat others, or mirror them: every draw has its own noise."
    for width, share in ((1, 0.6827), (2, 0.9545)):
        inside = (noise.abs() < width).double().mean().item()
        if abs(inside - share) < 6 * math.sqrt(share * (1 - share) / noise.numel()):
            continue
        return "your noise has the right mean and spread, but is not normal: take `torch.randn`."
    return None


def _gradient_of_the_draws(answer: Answer, g: torch.Generator) -> str | None:
    mean, log_std = (normal(g, 3, 2).requires_grad_() for _ in range(2))
    result = call(
        "reparameterise", answer, Case("20 draws", {"mean": mean, "log_std": log_std, "k": 20})
    )
    weight = normal(g, 20, 3, 2)
    loss = (weight * result).sum() + 0 * mean.sum()
    got = grad(loss, (mean, log_std), allow_unused=True, materialize_grads=True)
    if not any(x.any() for x in got):
        return (
            "no gradient reaches mean and log_std, so the encoder could never learn: draw the noise, not z, and leave "
            "out `.detach()` and `torch.no_grad()`."
        )
    wanted = weight.sum(dim=0), (weight * (result - mean).detach()).sum(dim=0)
    for name, a, b in zip(("mean", "log_std"), got, wanted, strict=True):
        if not a.any():
            return f"no gradient reaches {name}: use it as it is, without `.detach()`."
        if not same(a, b):
            return (
                f"the draws are right, but their gradient with respect to {name} is not: leave it to torch, "
                "z = mean + std * noise."
            )
    return None  # fmt: skip


def _three_posteriors(g: torch.Generator, scale: float = 1.0) -> dict:
    """Means and spreads that are far from each other, and from what a mistake would make of them."""
    jitter = 0.05 * normal(g, 2, 3, 2)
    mean = torch.tensor([[2.0, -3.0], [1.0, 4.0], [-2.0, 3.0]]).to(jitter) + jitter[0]
    log_std = torch.tensor([[-1.2, 0.4], [0.7, -0.7], [1.4, -1.7]]).to(jitter) + jitter[1]
    return {"mean": scale * mean, "log_std": log_std + math.log(scale)}


@step(
    lambda g: [
        tame("3 images and k = 4000", **_three_posteriors(g), k=4000),
        extreme("a very narrow q", **_three_posteriors(g, NARROW), k=4000),
    ],
    random=True,
    properties=[_what_is_wrong_with_the_draws],
    live=[_gradient_of_the_draws],
    passes="every draw has its own noise, and gradients reach the mean and the spread.",
)
def reparameterise(mean: Tensor, log_std: Tensor, k: int) -> Tensor:
    r"""Check `reparameterise(mean, log_std, k)`: k draws $z = \mu + \sigma \varepsilon$ for each image.

    mean, log_std (B, D) -> (k, B, D), through which gradients reach both.

    Example:
        >>> from course import checks
        >>> checks.vae.reparameterise(lambda mean, log_std, k: mean + log_std * torch.randn(k, 1, 1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the spread of your draws is log_std itself: ...
    """
    return mean + log_std.exp() * randn(k, *mean.shape)


reparameterise.wrong = {
    "every draw is the mean: add exp(log_std) times normal noise.": lambda mean, log_std, k: (
        mean.expand(k, -1, -1)
    ),
}


# ---------------------------------------------------------------- 5. how far from the prior


@step(
    lambda g: [
        tame("4 images and 3 latents", mean=normal(g, 4, 3), log_std=0.5 * normal(g, 4, 3)),
        tame("2 images and 5 latents", mean=normal(g, 2, 5), log_std=0.5 * normal(g, 2, 5)),
        hard("a narrow q", mean=normal(g, 3, 2), log_std=0.5 * normal(g, 3, 2) - 3),
        hard("q equal to the prior", mean=0 * normal(g, 4, 3), log_std=0 * normal(g, 4, 3)),
        hard("a single image", mean=normal(g, 1, 4), log_std=0.5 * normal(g, 1, 4)),
        extreme("a very narrow q", mean=normal(g, 2, 2), log_std=0.5 * normal(g, 2, 2) - 40),
    ],
    gradient="mean log_std",
    parts=lambda mean, log_std: {
        "the squared mean": 0.5 * mean.square().sum(1), "the variance": 0.5 * (2 * log_std).exp().sum(1),
        "the - 1 of each latent": -0.5 * torch.ones_like(mean).sum(1), "- 2 log_std": -log_std.sum(1)},
    passes="one number an image, never negative, and zero where q is the prior.",
)  # fmt: skip
def kl(mean: Tensor, log_std: Tensor) -> Tensor:
    r"""Check `kl(mean, log_std)`: $KL(N(\mu, \sigma^2) \| N(0, I))$, (B, D) -> (B,).

    Example:
        >>> from course import checks
        >>> checks.vae.kl(lambda mean, log_std: (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std).mean(1) / 2)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your KL is averaged over the latent dimensions; it must be summed...
    """
    return _kl(mean, log_std).sum(dim=1)


kl.wrong = {
    "your KL is averaged over the latent dimensions; it must be summed, as the log-likelihood is over pixels.":
        lambda mean, log_std: _kl(mean, log_std).mean(1),
    "you take log_std for the log of the variance: the variance is exp(2 log_std), its logarithm 2 log_std.":
        lambda mean, log_std: _kl(mean, 0.5 * log_std).sum(1),
    "the variance is missing its square: exp(log_std) is the standard deviation.":
        lambda mean, log_std: (_kl(mean, log_std) + 0.5 * (log_std.exp() - (2 * log_std).exp())).sum(1),
    "the - 1 is counted once for the whole code: each of the D latents has one.":
        lambda mean, log_std: _kl(mean, log_std).sum(1) + 0.5 * (mean.shape[1] - 1),
    "sigma^2 is the square of exp(log_std), not of log_std.": lambda mean, log_std: (
        0.5 * (mean.square() + log_std.square() - 1) - log_std).sum(1),
    "sigma^2 is exp(2 log_std), not 2 exp(log_std).": lambda mean, log_std: (
        0.5 * (mean.square() + 2 * log_std.exp() - 1) - log_std).sum(1),
    "the means are added up before they are squared: square first.": lambda mean, log_std: (
        _kl(0 * mean, log_std).sum(1) + 0.5 * mean.sum(1).square()),
    "the mean is not squared: it may be negative, and its sign must not matter.":
        lambda mean, log_std: (_kl(mean, log_std) + 0.5 * (mean - mean.square())).sum(1),
    "this is KL(prior || q), the other way round: the average must be taken under q.":
        lambda mean, log_std: (0.5 * ((-2 * log_std).exp() * (1 + mean.square()) - 1) + log_std).sum(1),
}  # fmt: skip


# ---------------------------------------------------------------- 6. the ELBO


class _Model:
    """An encoder and a decoder without layers, with images; remembers the codes it is asked to decode.

    The means lie far from zero and from each other, and the spreads are small. So a code shows which
    image it belongs to, and whether it was drawn from q or from the prior.
    """

    def __init__(
        self, generator: torch.Generator, n: int, shape: Shape, latent_dim: int, scale: float = 1.0
    ):
        pixels = math.prod(shape)
        to_mean, to_spread = (normal(generator, pixels, latent_dim) for _ in range(2))
        self.to_mean = (2 * to_mean).requires_grad_()
        self.to_spread = to_spread.requires_grad_()
        self.to_pixels = 0.3 * scale * normal(generator, latent_dim, pixels)
        self.shape, self.latent_dim = shape, latent_dim
        self.x = (rand(n, *shape, generator=generator) < 0.5).to(to_mean.dtype)
        self.seen: list[Tensor] = []  # (N, D) of each call

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.flatten(1)
        return x @ self.to_mean, 0.3 * (x @ self.to_spread).tanh() - 1.5

    def decode(self, z: Tensor) -> Tensor:
        if not isinstance(z, Tensor) or z.shape[-1:] != (self.latent_dim,):
            what = f"the shape {tuple(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
            raise Wrong(
                f"`decode` is given {what}: it wants codes (..., {self.latent_dim}), with the latent "
                "dimensions last."
            )
        self.seen.append(z.detach().reshape(-1, self.latent_dim))
        return self.logits(z)

    def logits(self, z: Tensor) -> Tensor:
        return (z @ self.to_pixels).unflatten(-1, self.shape)

    def case(self, label: str, **more: int) -> Case:
        given = {"encode": self.encode, "decode": self.decode, "x": self.x, **more}
        return Case(
            label, given, about=self, kind="extreme" if label.startswith("very") else "tame"
        )

    def codes(self, name: str, draws: int | None = None) -> Tensor:
        """What was decoded as (k, B, D), whatever the order of the calls; `Wrong` if not drawn from q.

        Args:
            name: of the student's function.
            draws: how many codes an image should have; any number by default.
        """
        if not self.seen:
            raise Wrong(f"`{name}` never calls `decode`: the likelihood needs its logits.")
        rows, n = cat(self.seen), len(self.x)
        if len(rows) != n * (draws or max(1, len(rows) // n)):
            wanted = f"k = {draws} for each" if draws else "one for each"
            raise Wrong(
                f"`decode` is given {len(rows)} codes in all for {n} images: draw {wanted}."
            )
        mean, log_std = (parameter.detach() for parameter in self.encode(self.x))

        def noise(z: Tensor) -> Tensor:
            return (z - mean) / log_std.exp()

        by_draw = rows.reshape(-1, n, self.latent_dim)
        by_image = rows.reshape(n, -1, self.latent_dim).transpose(0, 1)
        z = min((by_draw, by_image), key=lambda z: noise(z).square().sum().item())
        words = _not_from_q(z, noise(z), mean, log_std)
        if words:
            raise Wrong(words)
        return z


@dataclass(frozen=True)
class _Terms:
    """What the codes (k, B, D) that a student decoded say; bounds are made of it."""

    log_p: Tensor  # (k, B)
    twice: Tensor  # (k, B), the same with sigmoid(logits) for the logits
    log_prior: Tensor  # (k, B)
    log_q: Tensor  # (k, B)
    kl: Tensor  # (B, D)
    pixels: int

    @property
    def log_weight(self) -> Tensor:  # (k, B)
        return self.log_p + self.log_prior - self.log_q

    @classmethod
    def of(cls, logits: Tensor, z: Tensor, x: Tensor, mean: Tensor, log_std: Tensor) -> "_Terms":
        log_p, twice = (_bernoulli(y, x).flatten(2).sum(dim=2) for y in (logits, sigmoid(logits)))
        log_q = _gaussian(z, mean, log_std).sum(dim=2)
        return cls(log_p, twice, _prior(z), log_q, _kl(mean, log_std), x[0].numel())


def _recorded(name: str) -> Callable[[Case], dict[str, _Terms]]:
    """What the codes say that an answer has decoded."""

    def told(case: Case) -> dict[str, _Terms]:
        model = case.about
        z = model.codes(name, case.arguments.get("k"))
        mean, log_std = (parameter.detach() for parameter in model.encode(model.x))
        return {"t": _Terms.of(model.logits(z), z, model.x, mean, log_std)}

    return told


def _playing(wrong: Callable[[_Terms], Tensor]) -> Answer:
    """An answer that draws and decodes as it should, and then makes a mistake."""

    def answer(encode: Answer, decode: Answer, x: Tensor, k: int = 1) -> Tensor:
        mean, log_std = encode(x)
        z = mean + log_std.exp() * randn(k, *mean.shape)
        return wrong(_Terms.of(decode(z), z, x, mean, log_std))

    return answer


def _not_from_q(z: Tensor, noise: Tensor, mean: Tensor, log_std: Tensor) -> str | None:
    """Why codes (k, B, D) are not draws from N(mean, std^2); None if they may be."""

    def size(x: Tensor) -> float:  # root mean square
        return x.square().mean().sqrt().item()

    if not isfinite(z).all():
        return "the codes that you decode contain NaN or infinity."
    if size(noise) < 1e-3:
        return (
            "you decode the mean: the ELBO is an average over draws from q(z|x), so decode "
            "`reparameterise(mean, log_std, ...)`."
        )
    if len(z) > 1 and same(noise[:1].expand_as(noise), noise):
        return "all draws of an image are the same: each needs its own noise."
    if same(noise[:, :1].expand_as(noise), noise):
        return "all images share one noise: draw it for each of them."
    if not 0.5 < size(noise) < 1.5:  # far more than sampling error, far less than the mistakes
        if size(z) < 1.5:
            return "your codes are drawn from the prior: draw them from q(z|x), around the mean."
        if 0.5 < size((z - log_std) / mean.exp()) < 1.5:
            return "mean and log_std are the wrong way round: `encode` returns the mean first."
        return "your codes are not draws from q(z|x), with mean and exp(log_std) from `encode`."
    return None


def _gradient_of_the_bound(answer: Answer, g: torch.Generator) -> str | None:
    """The gradient of the encoder must be that of the ELBO at the noise that was drawn."""
    model = _Model(g, 16, (1, 3, 4), latent_dim=3)
    result = call("elbo", answer, model.case("images to train on"))
    parameters = model.to_mean, model.to_spread
    if not result.requires_grad:
        return "no gradient comes through the ELBO: leave out `.detach()` and `torch.no_grad()`."
    got = grad(result.sum(), parameters, allow_unused=True, materialize_grads=True)
    z = model.codes("elbo")

    def gradient(through_the_draw: bool, through_the_kl: bool) -> tuple[Tensor, ...]:
        mean, log_std = model.encode(model.x)
        noise = ((z - mean) / log_std.exp()).detach()
        drawn = mean + noise * log_std.exp() if through_the_draw else z
        log_p = _bernoulli(model.logits(drawn), model.x).flatten(2).sum(dim=2).mean(dim=0)
        cost = _kl(mean, log_std).sum()
        return grad(log_p.sum() - (cost if through_the_kl else cost.detach()), parameters)

    def is_like(wanted: tuple[Tensor, ...]) -> bool:
        return all(same(a, b) for a, b in zip(got, wanted, strict=True))

    if is_like(gradient(True, True)):
        return None
    if is_like(gradient(False, True)):
        return (
            "the encoder learns from the KL alone: no gradient comes through decoder and draw. Take z from "
            "`reparameterise`, and leave out `.detach()` and `torch.no_grad()`."
        )
    if is_like(gradient(True, False)):
        return "no gradient comes through the KL: compute it from mean and log_std as they are."
    return "the values are right, but the gradient that reaches the encoder is not the ELBO's."


@step(
    lambda g: [
        _Model(g, 16, (1, 3, 4), latent_dim=3).case("16 images"),
        _Model(g, 12, (2, 3, 2), latent_dim=5).case("12 images"),
    ],
    random=True,
    compared=True,
    told=_recorded("elbo"),
    play=_playing,
    live=[_gradient_of_the_bound],
    passes="a bound for each image, in nats, and its gradient reaches the encoder.",
)
def elbo(t: _Terms) -> Tensor:
    r"""Check `elbo(encode, decode, x)`: $\log p(x|z) - KL(q(z|x) \| p(z))$ for a z drawn from q.

    `encode` maps x (B, C, H, W) to mean and log_std (B, D), `decode` maps z (..., D) to the logits of
    Bernoulli pixels (..., C, H, W) -> (B,).

    Example:
        >>> from course import checks
        >>> checks.vae.elbo(lambda encode, decode, x: decode(encode(x)[0]).flatten(1).sum(1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you decode the mean: ...
    """
    return t.log_p.mean(dim=0) - t.kl.sum(dim=1)


elbo.wrong = {
    "the KL has the wrong sign: it is what a code costs, so subtract it.": lambda t: t.log_p.mean(0) + t.kl.sum(1),
    "the KL is counted twice: subtract it once.": lambda t: t.log_p.mean(0) - 2 * t.kl.sum(1),
    "the KL is counted half: a KL weight belongs into a loss, never into the bound.":
        lambda t: t.log_p.mean(0) - 0.5 * t.kl.sum(1),
    "the KL is missing, so this is no bound: subtract it.": lambda t: t.log_p.mean(0),
    "this is a loss: the ELBO is minus that.": lambda t: t.kl.sum(1) - t.log_p.mean(0),
    "the log-likelihood is averaged over pixels while the KL is summed: that multiplies the KL by the number of "
    "pixels. Sum both.":
        lambda t: t.log_p.mean(0) / t.pixels - t.kl.sum(1),
    "the KL is averaged over latent dimensions while the log-likelihood is summed: sum both.":
        lambda t: t.log_p.mean(0) - t.kl.mean(1),
    "both terms are averaged, over different numbers of elements: sum over pixels and over latent dimensions.":
        lambda t: t.log_p.mean(0) / t.pixels - t.kl.mean(1),
    "each image pays the mean KL of all of them: subtract its own, before any mean over the batch.":
        lambda t: t.log_p.mean(0) - t.kl.sum(1).mean(),
    "you average over the images: return one number for each, and leave the mean to the loss.":
        lambda t: (t.log_p.mean(0) - t.kl.sum(1)).mean(),
    "the draw's axis is left over, so the result has the shape (1, B): take `[0]`, or the mean over draws.":
        lambda t: (t.log_p.mean(0) - t.kl.sum(1))[None],
    "the sigmoid is taken twice: `decode` returns logits, and so does your log-likelihood take them.":
        lambda t: t.twice.mean(0) - t.kl.sum(1),
    "log q(z|x) is missing: you add log p(z), and the KL is the average of log q(z|x) - log p(z).":
        lambda t: (t.log_p + t.log_prior).mean(0),
    "you estimate the KL from the draw, log q(z|x) - log p(z): right on average, but you know it in closed form, "
    "without noise.":
        lambda t: t.log_weight.mean(0),
}  # fmt: skip


# ---------------------------------------------------------------- 7. the gap


def _posteriors(
    g: torch.Generator, d: int, b: int, side: int, low: float = 0.0, pull: float = 0.0
) -> dict:
    # in double precision: right answers may subtract large numbers from each other
    line = linspace(-4, 4, side, dtype=torch.float64)
    z = cartesian_prod(*[line] * d).reshape(-1, d)
    mean = 0.6 * rand(b, d, generator=g).to(z)
    log_std = (0.4 + 0.2 * rand(b, d, generator=g)).log().to(z)
    log_q = _gaussian(z[:, None], mean, log_std).sum(dim=2)
    wave = 3 * (z @ normal(g, b, d).T.to(z)).sin()  # (n, b)
    log_likelihood = low + wave - (z.square() + pull * (z - 3).square()).sum(1, keepdim=True)
    return {"log_q": log_q, "log_likelihood": log_likelihood, "z": z, "area": (8 / (side - 1)) ** d}


@step(
    lambda g: [
        tame("a grid in the plane", **_posteriors(g, 2, 3, 33)),
        tame("a grid on the line", **_posteriors(g, 1, 2, 41)),
        extreme("very unlikely images", **_posteriors(g, 1, 2, 41, low=-3000.0)),
        extreme("a posterior far from q", **_posteriors(g, 1, 2, 41, pull=200.0)),
    ],
    view=lambda log_q, log_likelihood, z, area: {"g": _Grid(log_likelihood, z, area), "log_q": log_q},
    parts=lambda g, log_q: {
        "log q": g.mean(log_q, log_q), "- log p(x|z)": -g.mean(log_q, g.log_likelihood),
        "- log p(z)": -g.mean(log_q, g.log_prior), "log p(x)": g.evidence},
    passes="an average under q of how much q overrates a code, and never negative.",
)  # fmt: skip
def gap(g: _Grid, log_q: Tensor) -> Tensor:
    r"""Check `gap(log_q, log_likelihood, z, area)`: $KL(q(z|x) \| p(z|x))$, summed over a grid.

    log_q and log_likelihood (n, B), z (n, D), area a number -> (B,). The prior is N(0, I).

    Example:
        >>> from course import checks
        >>> checks.vae.gap(lambda log_q, log_likelihood, z, area: (log_q - log_likelihood).mean(0))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for a grid in the plane the result of `gap` is wrong: ...
    """
    return g.mean(log_q, log_q - g.posterior)


gap.wrong = {
    "this is minus the ELBO: p(x, z) is not yet the posterior, divide it by p(x).":
        lambda g, log_q: g.mean(log_q, log_q - g.joint),
    "this is the ELBO: the gap is log p(x) minus that.": lambda g, log_q: g.mean(log_q, g.joint - log_q),
    "this is KL(p(z|x) || q), the other way round: the average must be taken under q.":
        lambda g, log_q: g.mean(g.posterior, g.posterior - log_q),
    "this is how far q lies from the prior: the gap compares it with the posterior p(z|x).":
        lambda g, log_q: g.mean(log_q, log_q - g.log_prior),
    "you divide the logarithms: the logarithm of q / p(z|x) is a difference.":
        lambda g, log_q: g.mean(log_q, log_q / g.posterior),
    "you average the difference of the densities, not of their logarithms.":
        lambda g, log_q: (log_q.exp() - g.posterior.exp()).sum(0) * g.area,
    "the area is missing: the sum over the grid is an integral, so multiply it by the area.":
        lambda g, log_q: g.mean(log_q, log_q - g.posterior) / g.area,
    "you weigh by log q: an average under q has the weights q, which is `log_q.exp()`.":
        lambda g, log_q: (log_q * (log_q - g.posterior)).sum(0) * g.area,
    "all points of the grid weigh the same: weigh the log ratio by q.":
        lambda g, log_q: (log_q - g.posterior).sum(0) * g.area,
    "you average over the grid without weights: weigh the log ratio by q times the area, and sum.":
        lambda g, log_q: (log_q - g.posterior).mean(0),
    "you sum over the images: sum over the points of the grid, axis 0.":
        lambda g, log_q: (log_q.exp() * (log_q - g.posterior)).sum(1) * g.area,
}  # fmt: skip


# ---------------------------------------------------------------- 8. more draws, a tighter bound


def _log_mean(log_weight: Tensor) -> Tensor:
    return log_weight.logsumexp(dim=0) - math.log(len(log_weight))


@step(
    lambda g: [
        _Model(g, 6, (1, 4, 3), latent_dim=3).case("k = 7", k=7),
        _Model(g, 5, (2, 3, 2), latent_dim=4).case("k = 20", k=20),
        _Model(g, 6, (1, 4, 3), latent_dim=3, scale=1000.0).case("very unlikely images", k=5),
    ],
    random=True,
    compared=True,
    told=_recorded("importance_bound"),
    play=_playing,
    parts=lambda t: {"log of the sum": t.log_weight.logsumexp(0), "- log k": 0 * t.log_p[0] - math.log(len(t.log_q))},
    passes="the logarithm of a mean of weights, and it never leaves log-space.",
)  # fmt: skip
def importance_bound(t: _Terms) -> Tensor:
    r"""Check `importance_bound(encode, decode, x, k)`: $\log \frac1k \sum_j p(x|z_j) p(z_j) / q(z_j|x)$.

    `encode` and `decode` as in `elbo`; the k codes of an image are drawn from its q -> (B,).

    Example:
        >>> from course import checks
        >>> checks.vae.importance_bound(lambda encode, decode, x, k: decode(encode(x)[0]).sum((1, 2, 3)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: `decode` is given 6 codes in all for 6 images: draw k = 7 for each.
    """
    return _log_mean(t.log_weight)


importance_bound.wrong = {
    "this is the mean of the logarithms, which is the ELBO however large k is: take the logarithm of the mean.":
        lambda t: t.log_weight.mean(0),
    "this is the logarithm of the sum: a mean divides by k, so subtract log k.": lambda t: t.log_weight.logsumexp(0),
    "you divide a logarithm by k: subtract log k from it.": lambda t: t.log_weight.logsumexp(0) / len(t.log_weight),
    "you keep the largest weight alone: take the mean of all k.": lambda t: t.log_weight.amax(0),
    "you subtract k: the logarithm of 1/k is - log k.": lambda t: t.log_weight.logsumexp(0) - len(t.log_weight),
    "you divide by the number of images: k counts the draws.":
        lambda t: t.log_weight.logsumexp(0) - math.log(t.kl.shape[0]),
    "you average the log weights by their weights: take the logarithm of the plain mean of the weights.":
        lambda t: (t.log_weight.softmax(0) * t.log_weight).sum(0),
    "this is the mean of k ELBOs: take the logarithm of the mean of the weights.":
        lambda t: t.log_p.mean(0) - t.kl.sum(1),
    "the prior is missing in the weights: each is p(x|z) p(z) / q(z|x).": lambda t: _log_mean(t.log_p - t.log_q),
    "q is missing in the weights: codes that q draws too often must count less, so divide by q(z|x).":
        lambda t: _log_mean(t.log_p + t.log_prior),
    "you average p(x|z) alone, as if the codes came from the prior: weigh it by p(z) / q(z|x).":
        lambda t: _log_mean(t.log_p),
    "you multiply by q and divide by the prior: it is p(z) / q(z|x).":
        lambda t: _log_mean(t.log_p + t.log_q - t.log_prior),
    "you subtract the KL from the mean of p(x|z): here the KL has no place, each draw has its own weight "
    "p(z) / q(z|x).":
        lambda t: _log_mean(t.log_p) - t.kl.sum(1),
    "you average over the images, not over the draws: the draws are axis 0.": lambda t: _log_mean(t.log_weight.T),
    "these are the log weights of the draws: take the logarithm of their mean, over axis 0.": lambda t: t.log_weight,
}  # fmt: skip


# ---------------------------------------------------------------- 9. drawing an image


def _not_from_the_prior(z: Tensor) -> str | None:
    """Why codes (N, D) are not n draws from N(0, I); None if they may be."""
    if not isfinite(z).all():
        return "the codes that you decode contain NaN or infinity."
    if not z.any():
        return (
            "every code is zero, the mean of the prior: draw z with `torch.randn(n, latent_dim)`."
        )
    if len(z) == 1 or same(z[:1].expand_as(z), z):
        return "all images have the same code: draw one for each."
    if same(z[:, :1].expand_as(z), z):
        return "the entries of a code are all the same: draw each of them."
    error = 1 / math.sqrt(len(z))
    if z.min() >= 0 and z.max() <= 1:
        return "your codes are uniform, from `rand`: the prior is normal, `randn`."
    inside = (z.abs() < 1).double().mean().item()
    # six standard errors: a right answer fails once in many millions
    if z.mean(0).abs().max() > 6 * error or (z.std(0) - 1).abs().max() > 6 * error:
        return "your codes do not have the mean 0 and the standard deviation 1 of the prior."
    if abs(inside - 0.6827) > 6 * 0.4655 / math.sqrt(z.numel()):
        return "your codes have the mean and spread of the prior, but are not normal: take `randn`."
    return None


def _not_drawn(x: Tensor, logits: Tensor) -> str | None:
    """Why pixels x are not draws from Bernoulli(sigmoid(logits)); None if they may be."""
    p = sigmoid(logits)
    if ((x != 0) & (x != 1)).any():
        return "your images hold values that are neither 0 nor 1: draw each pixel."
    # where one number u decides for many pixels, as u < p, no white one has a smaller p than a black one
    row = "the pixels of a row, a column or a colour share one random number: draw one for each pixel."
    lines = [(axis, row) for axis in (1, 2, 3) if x.shape[axis] > 1]
    for pixels, words in (
        (0, "all images share their random numbers: draw them for every pixel of every image."),
        ((1, 2, 3), "all pixels of an image share one random number: draw one for each pixel."),
        *lines,
    ):
        lightest_black, darkest_white = (p * (1 - x)).amax(pixels), (p * x + 1 - x).amin(pixels)
        if 0 < x.mean() < 1 and (lightest_black <= darkest_white + 1e-6).all():
            return words

    def fits(x: Tensor) -> bool:
        variance = p * (1 - p)
        weights = torch.ones_like(p), p - 0.5
        return all(
            abs(((x - p) * weight).sum()) < 6 * (variance * weight.square()).sum().sqrt()
            for weight in weights
        )

    if fits(x):
        return None
    if fits(1 - x):
        return "black and white are the wrong way round: white is where a random number lies below sigmoid(logit)."
    return "the pixels are not drawn with the probabilities sigmoid(logits)."


def _asked_to_decode(case: Case) -> dict[str, Tensor]:
    model, n = case.about, case.arguments["n"]
    if not model.seen:
        raise Wrong("`sample` never calls `decode`: that is the model to draw from.")
    z = cat(model.seen)
    if len(z) not in (1, n):
        raise Wrong(f"`decode` is given {len(z)} codes for n = {n} images: draw one for each.")
    return {"logits": model.logits(z).expand(n, *model.shape)}


def _how_drawn(case: Case, x: Tensor) -> str | None:
    z = cat(case.about.seen)
    return _not_from_the_prior(z) or _not_drawn(x, case.about.logits(z))


def _to_draw_from(g: torch.Generator, n: int, shape: Shape, latent_dim: int) -> Case:
    model = _Model(g, 0, shape, latent_dim, scale=3.0)
    given = {"decode": model.decode, "n": n, "latent_dim": latent_dim}
    return Case(f"{n} images and {latent_dim} latents", given, about=model)


@step(
    lambda g: [_to_draw_from(g, 2000, (1, 3, 2), 2), _to_draw_from(g, 1500, (2, 2, 2), 3)],
    random=True,
    told=_asked_to_decode,
    play=lambda wrong: lambda decode, n, latent_dim: wrong(decode(randn(n, latent_dim))),
    properties=[_how_drawn],
    passes="a code from the prior, and pixels drawn from its probabilities.",
)
def sample(logits: Tensor) -> Tensor:
    r"""Check `sample(decode, n, latent_dim)`: n images, z drawn from the prior and x from p(x|z).

    `decode` maps z (n, D) to the logits of Bernoulli pixels (n, C, H, W) -> (n, C, H, W) of 0 and 1.

    Example:
        >>> from course import checks
        >>> checks.vae.sample(lambda decode, n, latent_dim: decode(torch.randn(n, latent_dim)).sigmoid())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: these are the probabilities of the pixels: ...
    """
    return bernoulli(sigmoid(logits))


sample.wrong = {
    "these are logits: draw each pixel, which is 1 with probability sigmoid(logit).": lambda logits: logits,
    "these are the probabilities of the pixels: they show the mean image. Draw each pixel from them, 0 or 1.":
        lambda logits: sigmoid(logits),
    "every pixel takes its likelier value: draw it at random, 1 with probability sigmoid(logit).":
        lambda logits: (logits > 0).to(logits),
}  # fmt: skip


# ---------------------------------------------------------------- 10. grey images


def _grey(g: torch.Generator, levels: int, b: int, shape: Shape) -> Case:
    level = randint(1 + levels // 2, (b, *shape), generator=g)  # most are not used
    at = rand(shape, generator=g).to(torch.get_default_dtype())
    sharp = 1 + 3 * rand(shape, generator=g).to(at)

    def log_density(x: Tensor) -> Tensor:
        return -(sharp * (x - at).abs().sqrt()).flatten(1).sum(dim=1)

    u = rand(level.shape, generator=g).to(at)
    label = f"{levels} levels and images {(b, *shape)}"
    return tame(label, log_density=log_density, level=level, u=u, levels=levels)


def _bits(log_density: Answer, x: Tensor, width: float) -> Tensor:
    """Bits/dim of x by a density, where a cell has this width in each dimension."""
    return -(log_density(x) / x[0].numel() + math.log(width)) / math.log(2)


@step(
    lambda g: [
        _grey(g, 17, 3, (1, 4, 3)), _grey(g, 8, 2, (3, 2, 2)), _grey(g, 2, 1, (2, 3, 1)), _grey(g, 17, 2, (1, 28, 28))],
    passes="noise fills the cells, and the density counts the probability of a cell.",
)  # fmt: skip
def grey_bits(log_density: Answer, level: Tensor, u: Tensor, levels: int) -> Tensor:
    r"""Check `grey_bits(log_density, level, u, levels)`: bits/dim of grey images by a density.

    level whole numbers (B, C, H, W) from 0 to K - 1, u uniform noise of the same shape; `log_density`
    maps images (B, C, H, W) in [0, 1] to $\log f(x)$ (B,) -> (B,).

    Example:
        >>> from course import checks
        >>> checks.vae.grey_bits(lambda log_density, level, u, levels: -log_density((level + u) / levels))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for 17 levels and images (3, 1, 4, 3) the result of `grey_bits` is wrong: ...
    """
    return _bits(log_density, (level + u) / levels, 1 / levels)


grey_bits.wrong = {
    "the width of a cell is missing: a density becomes a probability when multiplied by (1/K)^CHW.":
        lambda f, level, u, K: _bits(f, (level + u) / K, 1),
    "the width of a cell has the wrong sign: a narrow cell holds less probability, log(1/K) is negative.":
        lambda f, level, u, K: _bits(f, (level + u) / K, K),
    "the width of a cell is counted once for the whole image: each of its C H W dimensions has one.":
        lambda f, level, u, K: _bits(f, (level + u) / K, K ** (-1 / level[0].numel())),
    "each channel is a dimension of its own: there are C H W of them, not H W.":
        lambda f, level, u, K: _bits(f, (level + u) / K, K ** (-1 / level.shape[1])) * level.shape[1],
    "you divide by the size of the whole batch: C H W, of one image, is `level[0].numel()`.":
        lambda f, level, u, K: _bits(f, (level + u) / K, 1.0 / K ** len(level)) / len(level),
    "you count the levels that occur: there are `levels` of them, also where no pixel is white.":
        lambda f, level, u, K: _bits(f, (level + u) / (level.max() + 1), 1 / (level.max().item() + 1)),
    "log2 K is in bits already, and the density in nats: take `math.log(levels)`.":
        lambda f, level, u, K: _bits(f, (level + u) / K, K ** (-1 / math.log(2))),
    "the noise is missing: without it a density may pile up on the levels, and its bits mean nothing.":
        lambda f, level, u, K: _bits(f, level / K, 1 / K),
    "the noise is added after you divide, so it is as wide as the whole range: (level + u) / K.":
        lambda f, level, u, K: _bits(f, level / K + u, 1 / K),
    "you divide by K - 1: with noise there are K cells between 0 and 1, and level + u reaches K.":
        lambda f, level, u, K: _bits(f, (level + u) / (K - 1), 1 / K),
    "your noise is centred: with u from 0 to 1 the cells fill the range from 0 to 1, so add u as it is.":
        lambda f, level, u, K: _bits(f, (level + u - 0.5) / K, 1 / K),
    "a cell is 1/K wide, not 1/(K - 1).": lambda f, level, u, K: _bits(f, (level + u) / K, 1 / (K - 1)),
    "the density is asked at levels from 0 to K: it wants images in [0, 1].":
        lambda f, level, u, K: _bits(f, level + u, 1 / K),
    "these are nats per dimension: divide by ln 2 for bits.":
        lambda f, level, u, K: _bits(f, (level + u) / K, 1 / K) * math.log(2),
    "these are bits per image: divide by the number of dimensions, C H W.":
        lambda f, level, u, K: _bits(f, (level + u) / K, 1 / K) * level[0].numel(),
}  # fmt: skip


# ---------------------------------------------------------------- 11. the weight of the KL


def _batch(g: torch.Generator, b: int, d: int, weight: float, narrow: float = 0.0) -> dict:
    """What a batch of images says; the last of the latents is dead."""
    mean, log_std = normal(g, b, d), 0.5 * normal(g, b, d) - narrow
    mean[:, d - 1], log_std[:, d - 1] = 0.0, 0.0
    log_likelihood = 3 * normal(g, b) - 20
    return {"log_likelihood": log_likelihood, "mean": mean, "log_std": log_std, "weight": weight}


def _gradient_of_the_loss(answer: Answer, g: torch.Generator) -> str | None:
    """Of the loss alone: what is only reported may be detached."""
    given = _batch(g, 5, 3, weight=3.0, narrow=0.5)
    trained = [given[key].requires_grad_() for key in ("log_likelihood", "mean", "log_std")]
    loss = call("weighted_loss", answer, Case("a batch to train on", given))[0]
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        return "no gradient comes through the loss: leave out `.item()`, `.detach()` and `torch.no_grad()`."
    got = grad(loss, trained, allow_unused=True, materialize_grads=True)
    wanted = grad(_weigh(*given.values())[0], trained)
    for key, a, b in zip(given, got, wanted, strict=False):
        if not same(100 * a, 100 * b):
            return f"the loss is right, but its gradient with respect to {key} is not: is something detached?"
    return None  # fmt: skip


def _weigh(
    log_likelihood: Tensor, mean: Tensor, log_std: Tensor, weight: float
) -> tuple[Tensor, Tensor]:
    each = _kl(mean, log_std)
    return weight * each.sum(1).mean() - log_likelihood.mean(), each.mean(0)


@step(
    lambda g: [
        tame("6 images and 3 latents", **_batch(g, 6, 3, weight=4.0)),
        tame("5 images and 4 latents", **_batch(g, 5, 4, weight=0.5)),
        hard("a weight of 0", **_batch(g, 3, 5, weight=0.0)),
        hard("a single image", **_batch(g, 1, 3, weight=2.0)),
        extreme("very narrow q", **_batch(g, 4, 2, weight=3.0, narrow=40.0)),
    ],
    results=("the loss", "the KL of each latent"),
    live=[_gradient_of_the_loss],
    parts=lambda ll, mean, log_std, w: (
        {"the KL, times its weight,": w * _kl(mean, log_std).sum(1).mean(), "- log p(x|z)": -ll.mean()}, {}),
    passes="the weight stands on the KL alone, and a dead latent shows as 0 nats.",
)  # fmt: skip
def weighted_loss(
    log_likelihood: Tensor, mean: Tensor, log_std: Tensor, weight: float
) -> tuple[Tensor, Tensor]:
    r"""Check `weighted_loss(log_likelihood, mean, log_std, weight)`: the loss of a batch, and what each latent costs.

    log_likelihood (B,), mean and log_std (B, D), weight a number -> $\beta KL - \log p(x|z)$ averaged over the
    images, one number, and the KL of each latent averaged over them, (D,).

    Example:
        >>> from course import checks
        >>> checks.vae.weighted_loss(lambda likelihood, mean, log_std, weight: (-likelihood.mean(), mean[0]))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the KL is missing from your loss.
    """
    return _weigh(log_likelihood, mean, log_std, weight)


weighted_loss.wrong = {
    "the KL is missing from your loss.": lambda ll, mean, log_std, w: (-ll.mean(), None),
    "the weight is missing from your loss.": lambda ll, mean, log_std, w: (_weigh(ll, mean, log_std, 1)[0], None),
    "you divide the loss by the weight: that stands on the KL, and the log-likelihood counts once.":
        lambda ll, mean, log_std, w: (_kl(mean, log_std).sum(1).mean() - (ll / w).mean(), None),
    "your log-likelihood has the wrong sign: a loss falls when it rises.":
        lambda ll, mean, log_std, w: (_weigh(-ll, mean, log_std, w)[0], None),
    "your weight stands on the log-likelihood: it belongs on the KL.":
        lambda ll, mean, log_std, w: (_weigh(w * ll, mean, log_std, 1)[0], None),
    "your weight stands on both terms: it belongs on the KL alone.":
        lambda ll, mean, log_std, w: (w * _weigh(ll, mean, log_std, 1)[0], None),
    "you divide the log-likelihood by the number of latents too: the loss averages over images alone.":
        lambda ll, mean, log_std, w: (_weigh(ll / mean.shape[1], mean, log_std, w / mean.shape[1])[0], None),
    "the KL of your loss is averaged over the latents: it must be summed, as in `kl`.":
        lambda ll, mean, log_std, w: (_weigh(ll, mean, log_std, w / mean.shape[1])[0], None),
    "the KL of your loss is summed over the images, while the log-likelihood is averaged: average both.":
        lambda ll, mean, log_std, w: (_weigh(ll, mean, log_std, w * len(ll))[0], None),
    "you take log_std for the log of the variance: the variance is exp(2 log_std), its logarithm 2 log_std.":
        lambda ll, mean, log_std, w: _weigh(ll, mean, 0.5 * log_std, w),
    "the KL of each latent carries the weight: what is reported carries none.":
        lambda ll, mean, log_std, w: (None, w * _kl(mean, log_std).mean(0)),
    "your second result has one number an image: average over the images, axis 0, and keep the latents.":
        lambda ll, mean, log_std, w: (None, _kl(mean, log_std).sum(1)),
    "your second result is averaged over the latents: average over the images, axis 0.":
        lambda ll, mean, log_std, w: (None, _kl(mean, log_std).mean(1)),
    "your second result is the KL of each latent of each image: average over the images, axis 0.":
        lambda ll, mean, log_std, w: (None, _kl(mean, log_std)),
    "your second result is the whole KL: keep its parts, one a latent.":
        lambda ll, mean, log_std, w: (None, _kl(mean, log_std).sum(1).mean()),
    "your second result is summed over the images: average over them.":
        lambda ll, mean, log_std, w: (None, _kl(mean, log_std).sum(0)),
    "you average mean and log_std over the images before you take the KL: the means of a busy latent cancel.":
        lambda ll, mean, log_std, w: (None, _kl(mean.mean(0), log_std.mean(0))),
    "your second result says which latents are in use: return their KL itself.":
        lambda ll, mean, log_std, w: (None, (_kl(mean, log_std).mean(0) > 0.1).to(ll)),
}  # fmt: skip
