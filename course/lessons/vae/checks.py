r"""Checks for the exercises of lesson VAE.

Each takes the student's function and compares it, on inputs of its own, with the right function and with
the wrong ones that students write. It prints one line, or raises `Wrong` with the likely mistake.
Another `seed` gives other inputs and the same verdict.

Steps that draw codes are held against the very codes that they draw: the check hands out an encoder
and a decoder of its own, and the decoder remembers what it was asked to decode.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, cartesian_prod, cat, isfinite, linspace, log, rand, randint, sigmoid
from torch.autograd import grad
from torch.nn.functional import softplus

from course.checking.core import (
    Answer,
    Case,
    Mistakes,
    Wrong,
    as_tensor,
    call,
    collect,
    judge,
    judge_gradient,
    normal,
    own_random_numbers,
    same,
)
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
]

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


def _infinite(case: Case, got: Tensor, want: Tensor) -> str | None:
    """A probe: what to say where a probability was rounded to zero before its logarithm."""
    if isfinite(got).all():
        return None
    return (
        f"for {case.label} your result is infinite: a probability is rounded to 0 before its "
        "logarithm. Never leave log-space; `torch.logsumexp` adds up there."
    )


# ---------------------------------------------------------------- 1. an image, given its code


def bernoulli_log_prob(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `bernoulli_log_prob(logits, x)`: $\log p(x|z)$ of binary images, one number an image.

    logits and x (..., C, H, W), whose axes in front broadcast -> (...).

    Example:
        >>> from course import checks
        >>> checks.vae.bernoulli_log_prob(lambda logits, x: (x * logits).sum((-3, -2, -1)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the logits are not normalised: ...
    """
    pixels = (-3, -2, -1)

    def right(logits: Tensor, x: Tensor) -> Tensor:
        return _bernoulli(logits, x).sum(dim=pixels)

    def logs(logits: Tensor, x: Tensor) -> Tensor:  # -inf where a probability is rounded to zero
        return log(torch.where(x > 0, sigmoid(logits), 1 - sigmoid(logits)))

    mistakes: Mistakes = [
        (
            "this is the cross-entropy, a loss: the log-likelihood is minus that.",
            lambda logits, x: -right(logits, x),
        ),
        (
            "you average over the pixels: log p(x|z) of an image is the sum over all of them.",
            lambda logits, x: _bernoulli(logits, x).mean(dim=pixels),
        ),
        (
            "you return one number for each pixel: sum over the last three axes, C, H and W.",
            _bernoulli,
        ),
        (
            "you sum over rows and columns, but not over the channels: sum over the last three axes.",
            lambda logits, x: _bernoulli(logits, x).sum(dim=(-2, -1)),
        ),
        (
            "you sum over the images too: return one number for each.",
            lambda logits, x: _bernoulli(logits, x).sum(),
        ),
        (
            "you average over everything, as a loss of torch does unless told `reduction='none'`: sum over "
            "the pixels of each image.",
            lambda logits, x: _bernoulli(logits, x).mean(),
        ),
        (
            "you sum over all axes but the first: there may be two in front of C, H and W, so sum over the "
            "last three.",
            lambda logits, x: _bernoulli(logits, x).flatten(1).sum(dim=1),
        ),
        (
            "the logits are not normalised: x times logit lacks log(1 + e^logit), which every pixel "
            "pays.",
            lambda logits, x: (x * logits).sum(dim=pixels),
        ),
        (
            "your black pixels count nothing: where x = 0 its probability 1 - sigmoid(logit) belongs into "
            "the sum.",
            lambda logits, x: (x * -softplus(-logits)).sum(dim=pixels),
        ),
        (
            "black and white are the wrong way round: sigmoid(logit) is the probability of a 1.",
            lambda logits, x: right(logits, 1 - x),
        ),
        (
            "you add up probabilities: take their logarithm first.",
            lambda logits, x: logs(logits, x).exp().sum(dim=pixels),
        ),
        (
            "an unlikely pixel makes your result infinite, since sigmoid rounds to 0 or 1: stay with the "
            "logits, `x * logits - F.softplus(logits)`.",
            lambda logits, x: logs(logits, x).sum(dim=pixels),
        ),
        (
            "`F.binary_cross_entropy` cuts every logarithm at -100, so an unlikely pixel is too cheap: use "
            "the one `..._with_logits`.",
            lambda logits, x: logs(logits, x).clamp(min=-100).sum(dim=pixels),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, front, image in (
            ("three images", (3,), (2, 3, 4)),
            ("logits of 5 codes, each with 3 images", (5, 1), (2, 2, 3)),
        ):
            logits = 2 * normal(generator, *front, *image)
            x = (rand(3, *image, generator=generator) < 0.5).to(logits.dtype)
            cases.append(Case(label, {"logits": logits, "x": x}))
        logits = 2000 * normal(generator, 2, 1, 2, 2)
        x = (logits < 0).to(logits.dtype)  # all that is nearly impossible happens
        cases.append(Case("very unlikely images", {"logits": logits, "x": x}))
        given = collect("bernoulli_log_prob", answer, cases)
        judge("bernoulli_log_prob", cases, given, right, mistakes)
        judge_gradient("bernoulli_log_prob", answer, cases[0], right, ("logits",))
    print("Right: one number an image, the sum over its pixels, and it never leaves log-space.")


# ---------------------------------------------------------------- 2. the density of a code


def gaussian_log_prob(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `gaussian_log_prob(z, mean, log_std)`: the log density of a diagonal Gaussian.

    All (..., D), whose axes in front broadcast -> (...).

    Example:
        >>> from course import checks
        >>> checks.vae.gaussian_log_prob(lambda z, mean, log_std: -0.5 * (z - mean).square().sum(-1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for codes of 3 entries the result of `gaussian_log_prob` is wrong: ...
    """

    def right(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        return _gaussian(z, mean, log_std).sum(dim=-1)

    def from_parts(square: Tensor, log_std: Tensor) -> Tensor:
        return (-0.5 * square - log_std - HALF_LOG_2PI).sum(dim=-1)

    def squared(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        return ((z - mean) / log_std.exp()).square()

    mistakes: Mistakes = [
        (
            "the constant is missing: every entry pays log(2 pi) / 2.",
            lambda z, mean, log_std: right(z, mean, log_std) + z.shape[-1] * HALF_LOG_2PI,
        ),
        (
            "the constant log(2 pi) / 2 is counted once for the whole code: each of the D entries pays "
            "it.",
            lambda z, mean, log_std: right(z, mean, log_std) + (z.shape[-1] - 1) * HALF_LOG_2PI,
        ),
        (
            "the constant of all D entries, D log(2 pi) / 2, is counted again in each of them: it belongs "
            "outside the sum.",
            lambda z, mean, log_std: (
                right(z, mean, log_std) - z.shape[-1] * (z.shape[-1] - 1) * HALF_LOG_2PI
            ),
        ),
        (
            "- log_std is missing: a wide Gaussian is lower everywhere.",
            lambda z, mean, log_std: right(z, mean, log_std) + log_std.sum(dim=-1),
        ),
        (
            "you add log_std: subtract it, since a wide Gaussian is lower.",
            lambda z, mean, log_std: right(z, mean, log_std) + 2 * log_std.sum(dim=-1),
        ),
        (
            "you take exp(log_std) for the variance: it is the standard deviation, so square it before you "
            "divide.",
            lambda z, mean, log_std: from_parts((z - mean).square() / log_std.exp(), 0.5 * log_std),
        ),
        (
            "you halve log_std, as if it were the log of the variance.",
            lambda z, mean, log_std: from_parts(squared(z, mean, log_std), 0.5 * log_std),
        ),
        (
            "you divide by the standard deviation, not by its square: the distance is squared as a "
            "whole, ((z - mean) / std) ** 2.",
            lambda z, mean, log_std: from_parts((z - mean).square() / log_std.exp(), log_std),
        ),
        (
            "the factor 1/2 before the square is missing.",
            lambda z, mean, log_std: from_parts(2 * squared(z, mean, log_std), log_std),
        ),
        (
            "the square has the wrong sign: further away is less likely.",
            lambda z, mean, log_std: from_parts(-squared(z, mean, log_std), log_std),
        ),
        (
            "you average over the entries of a code: their log densities add up.",
            lambda z, mean, log_std: _gaussian(z, mean, log_std).mean(dim=-1),
        ),
        (
            "you return one number for each entry: sum over the last axis.",
            _gaussian,
        ),
        (
            "you sum over the codes too: return one number for each code.",
            lambda z, mean, log_std: _gaussian(z, mean, log_std).sum(),
        ),
        (
            "you sum over all axes but the first: there may be two in front, so sum over the last "
            "axis alone.",
            lambda z, mean, log_std: _gaussian(z, mean, log_std).flatten(1).sum(dim=1),
        ),
        (
            "this is the density: wanted is its logarithm, computed without the exp.",
            lambda z, mean, log_std: right(z, mean, log_std).exp(),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, front, d, scale in (
            ("codes of 3 entries", (4,), 3, 1.0),
            ("5 codes under each of 3 Gaussians", (5, 1), 2, 1.0),
            ("codes far away", (3,), 2, 100.0),
        ):
            arguments = {
                "z": scale * (2 + normal(generator, *front, d)),
                "mean": normal(generator, 3 if len(front) == 2 else front[0], d),
                "log_std": 0.5 * normal(generator, 3 if len(front) == 2 else front[0], d),
            }
            cases.append(Case(label, arguments))
        given = collect("gaussian_log_prob", answer, cases)
        judge("gaussian_log_prob", cases, given, right, mistakes, probe=_infinite)
        judge_gradient("gaussian_log_prob", answer, cases[0], right, ("z", "mean", "log_std"))
    print("Right: one number a code, with every constant counted once for each entry.")


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


def log_evidence(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `log_evidence(log_likelihood, z, area)`: $\log \sum_j p(x|z_j) \, p(z_j) \, \Delta$.

    log_likelihood (n, B), z (n, D), area a number -> (B,). The prior is N(0, I).

    Example:
        >>> from course import checks
        >>> checks.vae.log_evidence(lambda log_likelihood, z, area: log_likelihood.logsumexp(0))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this adds up the likelihoods alone: ...
    """
    mistakes: Mistakes = [
        (
            "the prior is missing: a square of the grid weighs p(z) times its area.",
            lambda g: g.log_likelihood.logsumexp(0) + math.log(g.area),
        ),
        (
            "the area is missing: a sum becomes an integral when each term is multiplied by the area of its "
            "square.",
            lambda g: g.joint.logsumexp(0),
        ),
        (
            "this adds up the likelihoods alone: each needs the weight p(z) times the area.",
            lambda g: g.log_likelihood.logsumexp(0),
        ),
        (
            "you add the area to a logarithm: add its logarithm, `math.log(area)`.",
            lambda g: g.joint.logsumexp(0) + g.area,
        ),
        (
            "you divide by the number of points: the area already says how much each of them stands "
            "for.",
            lambda g: g.evidence - math.log(len(g.z)),
        ),
        (
            "this is the mean over points drawn from the prior: these points form a grid, so weigh each by "
            "p(z) times the area.",
            lambda g: g.log_likelihood.logsumexp(0) - math.log(len(g.z)),
        ),
        (
            "you add up logarithms: log p(x) is the logarithm of a sum, not the sum of logarithms.",
            lambda g: g.joint.sum(0) + math.log(g.area),
        ),
        (
            "you sum over the images: sum over the points of the grid, axis 0.",
            lambda g: g.joint.logsumexp(1) + math.log(g.area),
        ),
        (
            "the constant of the prior is missing: log N(z; 0, I) holds - D log(2 pi) / 2.",
            lambda g: g.evidence + g.z.shape[1] * HALF_LOG_2PI,
        ),
        (
            "you raise the area to the power D: it is the whole square's already.",
            lambda g: g.evidence + (g.z.shape[1] - 1) * math.log(g.area),
        ),
        (
            "this is p(x) itself: return its logarithm.",
            lambda g: g.evidence.exp(),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, sides, b, low in (
            ("a grid in the plane", (5, 4), 3, -8.0),
            ("a grid on the line", (9,), 2, -8.0),
            ("very unlikely images", (4, 4), 2, -3000.0),
        ):
            lines = [linspace(-2, 2, side).to(torch.get_default_dtype()) for side in sides]
            z = cartesian_prod(*lines).reshape(-1, len(sides))
            arguments = {
                "log_likelihood": low + 3 * normal(generator, len(z), b),
                "z": z,
                "area": math.prod(4 / (side - 1) for side in sides) / 2,
            }
            cases.append(Case(label, arguments))
        given = collect("log_evidence", answer, cases)
        told = [Case(case.label, {"g": _Grid(**case.arguments)}) for case in cases]
        judge("log_evidence", told, given, lambda g: g.evidence, mistakes, probe=_infinite)
    print("Right: the logarithm of a sum over the grid, each point weighed by prior and area.")


# ---------------------------------------------------------------- 4. draws that gradients pass


def reparameterise(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `reparameterise(mean, log_std, k)`: k draws $z = \mu + \sigma \varepsilon$ for each image.

    mean, log_std (B, D) -> (k, B, D), through which gradients reach both.

    Example:
        >>> from course import checks
        >>> checks.vae.reparameterise(lambda mean, log_std, k: mean + log_std * torch.randn(k, 1, 1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the spread of your draws is log_std itself: ...
    """
    k = 4000
    with own_random_numbers(seed) as generator:
        jitter = 0.05 * normal(generator, 2, 3, 2)
        mean = torch.tensor([[2.0, -3.0], [1.0, 4.0], [-2.0, 3.0]]).to(jitter) + jitter[0]
        log_std = torch.tensor([[-1.2, 0.4], [0.7, -0.7], [1.4, -1.7]]).to(jitter) + jitter[1]
        mean, log_std = mean.requires_grad_(), log_std.requires_grad_()
        arguments = {"mean": mean, "log_std": log_std, "k": k}
        case = Case(f"3 images and k = {k}", arguments)
        result = call("reparameterise", answer, case)
        z = as_tensor("reparameterise", result)
        if z.shape != (k, 3, 2):
            raise Wrong(
                f"`reparameterise` returns the shape {tuple(z.shape)} for k = {k} and mean of shape "
                f"(3, 2): {(k, 3, 2)} is wanted, k draws for each image."
            )
        if not isfinite(z).all():
            raise Wrong("your draws contain NaN or infinity.")
        words = _what_is_wrong_with_the_draws(z, mean.detach(), log_std.detach())
        if words:
            raise Wrong(words)
        if same(z, as_tensor("reparameterise", call("reparameterise", answer, case))):
            raise Wrong(
                "every call draws the same numbers: set no seed inside the function, or all images of a "
                "training see the same noise."
            )
        if not result.requires_grad:
            raise Wrong(
                "no gradient reaches mean and log_std, so the encoder could never learn: draw the noise, "
                "not z, and leave out `.detach()` and `torch.no_grad()`."
            )
        weight = normal(generator, 20, 3, 2)
        got = grad(
            (weight * result[:20]).sum(),
            (mean, log_std),
            allow_unused=True,
            materialize_grads=True,
        )
        wanted = weight.sum(dim=0), (weight * (z[:20] - mean.detach())).sum(dim=0)
        for name, a, b in zip(("mean", "log_std"), got, wanted, strict=True):
            if not a.any():
                raise Wrong(f"no gradient reaches {name}: use it as it is, without `.detach()`.")
            if not same(a, b):
                raise Wrong(
                    f"the draws are right, but their gradient with respect to {name} is not: leave it to "
                    "torch, z = mean + std * noise."
                )
    print("Right: every draw has its own noise, and gradients reach the mean and the spread.")


def _what_is_wrong_with_the_draws(z: Tensor, mean: Tensor, log_std: Tensor) -> str | None:
    """Why thousands of draws (k, B, D) are not those of N(mean, std^2); None if they may be."""
    k = len(z)
    if same(z[0], z[1]) and same(z[0], z[-1]):
        if same(z[0], mean):
            return "every draw is the mean: add exp(log_std) times normal noise."
        return (
            "all k draws of an image are the same: the noise needs an axis of length k in front, "
            "`torch.randn(k, B, D)`."
        )
    spread = z.std(dim=0)  # (B, D)
    std = log_std.exp()

    def is_like(other: Tensor) -> bool:  # far more than sampling error, far less than the mistakes
        return bool(((spread / other).log().abs() < 0.1).all())

    if not is_like(std):
        for words, other in (
            (
                "the spread of your draws is log_std itself: the standard deviation is exp(log_std).",
                log_std.abs(),
            ),
            (
                "the spread of your draws is the variance, exp(2 log_std): multiply the noise by the standard "
                "deviation.",
                std.square(),
            ),
            (
                "you take log_std for the log of the variance and halve it: the standard deviation is "
                "exp(log_std).",
                std.sqrt(),
            ),
            (
                "the spread is 1 whatever log_std says: multiply the noise by exp(log_std).",
                torch.ones_like(std),
            ),
            (
                "your noise is uniform, from `rand`: it must be normal, from `randn`.",
                std / math.sqrt(12),
            ),
        ):
            if is_like(other):
                return words
        return "the spread of your draws is not exp(log_std)."
    noise = (z - mean) / std
    center = z.mean(dim=0)
    allowed = 6 * std / math.sqrt(k)  # standard errors: a right answer fails once in many millions
    if not ((center - mean).abs() < allowed).all():
        if (center.abs() < allowed).all():
            return "the mean is missing: your draws lie around zero."
        return "your draws do not lie around the mean."
    if same(noise[:, :1].expand_as(noise), noise):
        return "all images share one noise: draw it for each of them, `torch.randn(k, B, D)`."
    if same(noise[..., :1].expand_as(noise), noise):
        return "the entries of a code share one noise: draw it for each of the D entries."
    inside = (noise.abs() < 1).double().mean().item()
    if abs(inside - 0.6827) > 6 * math.sqrt(0.6827 * 0.3173 / noise.numel()):
        return "your noise has the right mean and spread, but is not normal: take `torch.randn`."
    return None


# ---------------------------------------------------------------- 5. how far from the prior


def kl(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `kl(mean, log_std)`: $KL(N(\mu, \sigma^2) \| N(0, I))$, (B, D) -> (B,).

    Example:
        >>> from course import checks
        >>> checks.vae.kl(lambda mean, log_std: (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std).mean(1) / 2)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your KL is averaged over the latent dimensions; it must be summed...
    """

    def right(mean: Tensor, log_std: Tensor) -> Tensor:
        return _kl(mean, log_std).sum(dim=1)

    mistakes: Mistakes = [
        (
            "your KL is averaged over the latent dimensions; it must be summed, as the log-likelihood is over "
            "pixels.",
            lambda mean, log_std: _kl(mean, log_std).mean(dim=1),
        ),
        (
            "you return one number for each latent dimension: sum over the last axis.",
            _kl,
        ),
        (
            "your KL is summed over the images too: return one number for each.",
            lambda mean, log_std: _kl(mean, log_std).sum(),
        ),
        (
            "your KL is averaged over the images: return one number for each.",
            lambda mean, log_std: _kl(mean, log_std).sum(dim=1).mean(),
        ),
        (
            "your KL is averaged over images and latent dimensions: one number an image, summed over its "
            "latent dimensions.",
            lambda mean, log_std: _kl(mean, log_std).mean(),
        ),
        (
            "the sign is wrong: a KL is never negative.",
            lambda mean, log_std: -right(mean, log_std),
        ),
        (
            "the factor 1/2 is missing.",
            lambda mean, log_std: 2 * right(mean, log_std),
        ),
        (
            "you take log_std for the log of the variance: the variance is exp(2 log_std), its logarithm "
            "2 log_std.",
            lambda mean, log_std: _kl(mean, 0.5 * log_std).sum(dim=1),
        ),
        (
            "the variance is missing its square: exp(log_std) is the standard deviation.",
            lambda mean, log_std: (
                right(mean, log_std) + 0.5 * (log_std.exp() - (2 * log_std).exp()).sum(dim=1)
            ),
        ),
        (
            "the logarithm of the variance is 2 log_std: you subtract half of it.",
            lambda mean, log_std: (_kl(mean, log_std) + 0.5 * log_std).sum(dim=1),
        ),
        (
            "you add 2 log_std: subtract it, or a narrow q costs nothing.",
            lambda mean, log_std: (_kl(mean, log_std) + 2 * log_std).sum(dim=1),
        ),
        (
            "the - 1 is missing: at mean 0 and standard deviation 1, which is the prior, the KL must be "
            "0.",
            lambda mean, log_std: (_kl(mean, log_std) + 0.5).sum(dim=1),
        ),
        (
            "the mean is not squared: it may be negative, and its sign must not matter.",
            lambda mean, log_std: (_kl(mean, log_std) + 0.5 * (mean - mean.square())).sum(dim=1),
        ),
        (
            "the mean is missing: a q far from zero must cost more.",
            lambda mean, log_std: _kl(torch.zeros_like(mean), log_std).sum(dim=1),
        ),
        (
            "this is KL(prior || q), the other way round: the average must be taken under q.",
            lambda mean, log_std: (
                0.5 * ((-2 * log_std).exp() * (1 + mean.square()) - 1) + log_std
            ).sum(dim=1),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, b, d, shift in (
            ("4 images and 3 latents", 4, 3, 0.0),
            ("2 images and 5 latents", 2, 5, 0.0),
            ("a narrow q", 3, 2, -3.0),
        ):
            arguments = {
                "mean": normal(generator, b, d),
                "log_std": shift + 0.5 * normal(generator, b, d),
            }
            cases.append(Case(label, arguments))
        zeros = torch.zeros_like(cases[0].arguments["mean"])
        cases.append(Case("q equal to the prior", {"mean": zeros, "log_std": zeros.clone()}))
        given = collect("kl", answer, cases)
        judge("kl", cases, given, right, mistakes)
        judge_gradient("kl", answer, cases[0], right, ("mean", "log_std"))
    print("Right: one number an image, never negative, and zero where q is the prior.")


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
        return Case(label, {"encode": self.encode, "decode": self.decode, "x": self.x, **more})

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

    def recorded(self, case: Case, name: str, draws: int | None = None) -> Case:
        """The case again, with what its codes say in the place of the networks."""
        z = self.codes(name, draws)
        mean, log_std = (parameter.detach() for parameter in self.encode(self.x))
        terms = _Terms(
            log_p=_bernoulli(self.logits(z), self.x).flatten(2).sum(dim=2),
            log_prior=_prior(z),
            log_q=_gaussian(z, mean, log_std).sum(dim=2),
            kl=_kl(mean, log_std),
            pixels=self.x[0].numel(),
        )
        return Case(case.label, {"t": terms})


@dataclass(frozen=True)
class _Terms:
    """What the codes (k, B, D) that a student decoded say; bounds are made of it."""

    log_p: Tensor  # (k, B)
    log_prior: Tensor  # (k, B)
    log_q: Tensor  # (k, B)
    kl: Tensor  # (B, D)
    pixels: int

    @property
    def log_weight(self) -> Tensor:  # (k, B)
        return self.log_p + self.log_prior - self.log_q


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


def elbo(answer: Answer, *, seed: int = 0) -> None:
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

    def right(t: _Terms) -> Tensor:
        return t.log_p.mean(dim=0) - t.kl.sum(dim=1)

    mistakes: Mistakes = [
        (
            "the KL has the wrong sign: it is what a code costs, so subtract it.",
            lambda t: t.log_p.mean(0) + t.kl.sum(1),
        ),
        (
            "the KL is counted twice: subtract it once.",
            lambda t: t.log_p.mean(0) - 2 * t.kl.sum(1),
        ),
        (
            "the KL is counted half: a KL weight belongs into a loss, never into the bound.",
            lambda t: t.log_p.mean(0) - 0.5 * t.kl.sum(1),
        ),
        (
            "the KL is missing, so this is no bound: subtract it.",
            lambda t: t.log_p.mean(0),
        ),
        (
            "this is a loss: the ELBO is minus that.",
            lambda t: -right(t),
        ),
        (
            "the log-likelihood is averaged over pixels while the KL is summed: that multiplies the KL by the "
            "number of pixels. Sum both.",
            lambda t: t.log_p.mean(0) / t.pixels - t.kl.sum(1),
        ),
        (
            "the KL is averaged over latent dimensions while the log-likelihood is summed: sum both.",
            lambda t: t.log_p.mean(0) - t.kl.mean(1),
        ),
        (
            "both terms are averaged, over different numbers of elements: sum over pixels and over latent "
            "dimensions.",
            lambda t: t.log_p.mean(0) / t.pixels - t.kl.mean(1),
        ),
        (
            "each image pays the mean KL of all of them: subtract its own, before any mean over the batch.",
            lambda t: t.log_p.mean(0) - t.kl.sum(1).mean(),
        ),
        (
            "you average over the images: return one number for each, and leave the mean to the loss.",
            lambda t: right(t).mean(),
        ),
        (
            "the draw's axis is left over, so the result has the shape (1, B): take `[0]`, or the mean over "
            "draws.",
            lambda t: right(t)[None],
        ),
        (
            "you estimate the KL from the draw, log q(z|x) - log p(z): right on average, but you know it in "
            "closed form, without noise.",
            lambda t: t.log_weight.mean(0),
        ),
    ]
    with own_random_numbers(seed) as generator:
        models = [
            _Model(generator, 16, (1, 3, 4), latent_dim=3),
            _Model(generator, 12, (2, 3, 2), latent_dim=5),
        ]
        cases = [model.case(f"{len(model.x)} images") for model in models]
        given = collect("elbo", answer, cases)
        told = [model.recorded(case, "elbo") for model, case in zip(models, cases, strict=True)]
        judge("elbo", told, given, right, mistakes)
        _check_gradient(answer, models[0])
    print("Right: a bound for each image, in nats, and its gradient reaches the encoder.")


def _check_gradient(answer: Answer, model: _Model) -> None:
    """The gradient of the encoder must be that of the ELBO at the noise that was drawn."""
    model.seen.clear()
    result = call("elbo", answer, model.case("images to train on"))
    parameters = model.to_mean, model.to_spread
    if not result.requires_grad:
        raise Wrong(
            "no gradient comes through the ELBO: leave out `.detach()` and `torch.no_grad()`."
        )
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
        return
    if is_like(gradient(False, True)):
        raise Wrong(
            "the encoder learns from the KL alone: no gradient comes through the draw z. Take z from "
            "`reparameterise`, without `.detach()`."
        )
    if is_like(gradient(True, False)):
        raise Wrong(
            "no gradient comes through the KL: compute it from mean and log_std as they are."
        )
    raise Wrong(
        "the values are right, but the gradient that reaches the encoder is not the ELBO's."
    )


# ---------------------------------------------------------------- 7. the gap


def gap(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `gap(log_q, log_likelihood, z, area)`: $KL(q(z|x) \| p(z|x))$, summed over a grid.

    log_q and log_likelihood (n, B), z (n, D), area a number -> (B,). The prior is N(0, I).

    Example:
        >>> from course import checks
        >>> checks.vae.gap(lambda log_q, log_likelihood, z, area: (log_q - log_likelihood).mean(0))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for a grid in the plane the result of `gap` is wrong: ...
    """

    def expected(g: _Grid, log_q: Tensor, value: Tensor) -> Tensor:
        return (log_q.exp() * value).sum(dim=0) * g.area

    def right(g: _Grid, log_q: Tensor) -> Tensor:
        return expected(g, log_q, log_q - g.posterior)

    mistakes: Mistakes = [
        (
            "this is minus the ELBO: p(x, z) is not yet the posterior, divide it by p(x).",
            lambda g, log_q: expected(g, log_q, log_q - g.joint),
        ),
        (
            "this is the ELBO: the gap is log p(x) minus that.",
            lambda g, log_q: expected(g, log_q, g.joint - log_q),
        ),
        (
            "the sign is wrong: a KL is never negative.",
            lambda g, log_q: -right(g, log_q),
        ),
        (
            "this is KL(p(z|x) || q), the other way round: the average must be taken under q.",
            lambda g, log_q: expected(g, g.posterior, g.posterior - log_q),
        ),
        (
            "this is how far q lies from the prior: the gap compares it with the posterior p(z|x).",
            lambda g, log_q: expected(g, log_q, log_q - g.log_prior),
        ),
        (
            "the prior is missing in the posterior: p(z|x) is p(x|z) p(z) / p(x).",
            lambda g, log_q: expected(g, log_q, log_q - g.log_likelihood + g.evidence),
        ),
        (
            "the area is missing: the sum over the grid is an integral, so multiply it by the area.",
            lambda g, log_q: right(g, log_q) / g.area,
        ),
        (
            "you weigh by log q: an average under q has the weights q, which is `log_q.exp()`.",
            lambda g, log_q: (log_q * (log_q - g.posterior)).sum(0) * g.area,
        ),
        (
            "all points of the grid weigh the same: weigh the log ratio by q.",
            lambda g, log_q: (log_q - g.posterior).sum(0) * g.area,
        ),
        (
            "you average over the grid without weights: weigh the log ratio by q times the area, and sum.",
            lambda g, log_q: (log_q - g.posterior).mean(0),
        ),
        (
            "you sum over the images too: return one number for each.",
            lambda g, log_q: right(g, log_q).sum(),
        ),
        (
            "you sum over the images: sum over the points of the grid, axis 0.",
            lambda g, log_q: (log_q.exp() * (log_q - g.posterior)).sum(1) * g.area,
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases, told = [], []
        for label, d, b, side, low in (
            ("a grid in the plane", 2, 3, 33, 0.0),
            ("a grid on the line", 1, 2, 41, 0.0),
            ("very unlikely images", 1, 2, 41, -3000.0),
        ):
            # in double precision: right answers may subtract large numbers from each other
            line = linspace(-4, 4, side, dtype=torch.float64)
            z = cartesian_prod(*[line] * d).reshape(-1, d)
            mean = 0.6 * rand(b, d, generator=generator).to(z)
            log_std = (0.4 + 0.2 * rand(b, d, generator=generator)).log().to(z)
            log_q = _gaussian(z[:, None], mean, log_std).sum(dim=2)
            wave = 3 * (z @ normal(generator, b, d).T.to(z)).sin()  # (n, b)
            grid = _Grid(low + wave - z.square().sum(1, keepdim=True), z, (8 / (side - 1)) ** d)
            cases.append(Case(label, {"log_q": log_q, **vars(grid)}))
            told.append(Case(label, {"g": grid, "log_q": log_q}))
        given = collect("gap", answer, cases)
        judge("gap", told, given, right, mistakes, probe=_infinite)
    print("Right: an average under q of how much q overrates a code, and never negative.")


# ---------------------------------------------------------------- 8. more draws, a tighter bound


def importance_bound(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `importance_bound(encode, decode, x, k)`: $\log \frac1k \sum_j p(x|z_j) p(z_j) / q(z_j|x)$.

    `encode` and `decode` as in `elbo`; the k codes of an image are drawn from its q -> (B,).

    Example:
        >>> from course import checks
        >>> checks.vae.importance_bound(lambda encode, decode, x, k: decode(encode(x)[0]).sum((1, 2, 3)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: `decode` is given 6 codes in all for 6 images: draw k = 7 for each.
    """

    def log_mean(log_weight: Tensor) -> Tensor:
        return log_weight.logsumexp(dim=0) - math.log(len(log_weight))

    def right(t: _Terms) -> Tensor:
        return log_mean(t.log_weight)

    mistakes: Mistakes = [
        (
            "this is the mean of the logarithms, which is the ELBO however large k is: take the logarithm of "
            "the mean.",
            lambda t: t.log_weight.mean(0),
        ),
        (
            "this is the logarithm of the sum: a mean divides by k, so subtract log k.",
            lambda t: t.log_weight.logsumexp(0),
        ),
        (
            "you subtract k: the logarithm of 1/k is - log k.",
            lambda t: t.log_weight.logsumexp(0) - len(t.log_weight),
        ),
        (
            "the prior is missing in the weights: each is p(x|z) p(z) / q(z|x).",
            lambda t: log_mean(t.log_p - t.log_q),
        ),
        (
            "q is missing in the weights: codes that q draws too often must count less, so divide by "
            "q(z|x).",
            lambda t: log_mean(t.log_p + t.log_prior),
        ),
        (
            "you average p(x|z) alone, as if the codes came from the prior: weigh it by p(z) / q(z|x).",
            lambda t: log_mean(t.log_p),
        ),
        (
            "you multiply by q and divide by the prior: it is p(z) / q(z|x).",
            lambda t: log_mean(t.log_p + t.log_q - t.log_prior),
        ),
        (
            "you subtract the KL from the mean of p(x|z): here the KL has no place, each draw has its own "
            "weight p(z) / q(z|x).",
            lambda t: log_mean(t.log_p) - t.kl.sum(1),
        ),
        (
            "you average over the images, not over the draws: the draws are axis 0.",
            lambda t: log_mean(t.log_weight.T),
        ),
        (
            "you average over the images too: return one number for each.",
            lambda t: right(t).mean(),
        ),
        (
            "this is a loss: the bound is minus that.",
            lambda t: -right(t),
        ),
        (
            "these are the log weights of the draws: take the logarithm of their mean, over axis 0.",
            lambda t: t.log_weight,
        ),
    ]
    with own_random_numbers(seed) as generator:
        models = [
            _Model(generator, 6, (1, 4, 3), latent_dim=3),
            _Model(generator, 5, (2, 3, 2), latent_dim=4),
            _Model(generator, 6, (1, 4, 3), latent_dim=3, scale=1000.0),
        ]
        cases = [
            models[0].case("k = 7", k=7),
            models[1].case("k = 20", k=20),
            models[2].case("very unlikely images", k=5),
        ]
        given = collect("importance_bound", answer, cases)
        told = [
            model.recorded(case, "importance_bound", case.arguments["k"])
            for model, case in zip(models, cases, strict=True)
        ]
        judge("importance_bound", told, given, right, mistakes, probe=_infinite)
    print("Right: the logarithm of a mean of weights, and it never leaves log-space.")


# ---------------------------------------------------------------- 9. drawing an image


def sample(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `sample(decode, n, latent_dim)`: n images, z drawn from the prior and x from p(x|z).

    `decode` maps z (n, D) to the logits of Bernoulli pixels (n, C, H, W) -> (n, C, H, W) of 0 and 1.

    Example:
        >>> from course import checks
        >>> checks.vae.sample(lambda decode, n, latent_dim: decode(torch.randn(n, latent_dim)).sigmoid())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: these are the probabilities of the pixels: ...
    """
    with own_random_numbers(seed) as generator:
        for n, shape, latent_dim in ((2000, (1, 3, 2), 2), (1500, (2, 2, 2), 3)):
            model = _Model(generator, 0, shape, latent_dim, scale=3.0)
            arguments = {"decode": model.decode, "n": n, "latent_dim": latent_dim}
            case = Case(f"{n} images and {latent_dim} latents", arguments)
            x = as_tensor("sample", call("sample", answer, case))
            if not model.seen:
                raise Wrong("`sample` never calls `decode`: that is the model to draw from.")
            if x.shape != (n, *shape):
                raise Wrong(
                    f"`sample` returns the shape {tuple(x.shape)} for n = {n} and logits of shape "
                    f"{(n, *shape)}: {(n, *shape)} is wanted."
                )
            z = cat(model.seen)
            words = _not_from_the_prior(z, n) or _not_drawn(x, model.logits(z))
            if words:
                raise Wrong(words)
    print("Right: a code from the prior, and pixels drawn from its probabilities.")


def _not_from_the_prior(z: Tensor, n: int) -> str | None:
    """Why codes (N, D) are not n draws from N(0, I); None if they may be."""
    if len(z) not in (1, n):
        return f"`decode` is given {len(z)} codes for n = {n} images: draw one for each."
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
    logits = logits.detach()
    p = sigmoid(logits)
    if not isfinite(x).all():
        return "your images contain NaN or infinity."
    if same(x, logits):
        return "these are logits: draw each pixel, which is 1 with probability sigmoid(logit)."
    if same(x, p):
        return (
            "these are the probabilities of the pixels: they show the mean image. Draw each pixel from "
            "them, 0 or 1."
        )
    if ((x != 0) & (x != 1)).any():
        return "your images hold values that are neither 0 nor 1: draw each pixel."
    if same(x, (p > 0.5).to(x)):
        return (
            "every pixel takes its likelier value: draw it at random, 1 with probability "
            "sigmoid(logit)."
        )
    # where one number u decides for many pixels, as u < p, no white one has a smaller p than a black one
    for pixels, words in (
        (0, "all images share their random numbers: draw them for every pixel of every image."),
        ((1, 2, 3), "all pixels of an image share one random number: draw one for each pixel."),
    ):
        lightest_black, darkest_white = (p * (1 - x)).amax(pixels), (p * x + 1 - x).amin(pixels)
        if (lightest_black <= darkest_white + 1e-6).all():
            return words
    for weight in (torch.ones_like(p), p - 0.5):
        total, variance = ((x - p) * weight).sum(), (p * (1 - p) * weight.square()).sum()
        if abs(total) > 6 * variance.sqrt():
            return "the pixels are not drawn with the probabilities sigmoid(logits)."
    return None


# ---------------------------------------------------------------- 10. grey images


def grey_bits(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `grey_bits(log_density, level, u, levels)`: bits/dim of grey images by a density.

    level whole numbers (B, C, H, W) from 0 to K - 1, u uniform noise of the same shape; `log_density`
    maps images (B, C, H, W) in [0, 1] to $\log f(x)$ (B,) -> (B,).

    Example:
        >>> from course import checks
        >>> checks.vae.grey_bits(lambda log_density, level, u, levels: -log_density((level + u) / levels))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for 17 levels the result of `grey_bits` is wrong: ...
    """

    def bits(log_density, x: Tensor, cell: float) -> Tensor:
        # `cell` is the logarithm of the volume of a cell, per dimension
        size = x[0].numel()
        return -(log_density(x) + size * cell) / (size * math.log(2))

    def right(log_density, level: Tensor, u: Tensor, levels: int) -> Tensor:
        return bits(log_density, (level + u) / levels, -math.log(levels))

    mistakes: Mistakes = [
        (
            "the width of a cell is missing: a density becomes a probability when multiplied by (1/K)^CHW.",
            lambda log_density, level, u, levels: bits(log_density, (level + u) / levels, 0),
        ),
        (
            "the width of a cell has the wrong sign: a narrow cell holds less probability, log(1/K) is "
            "negative.",
            lambda log_density, level, u, levels: bits(
                log_density, (level + u) / levels, math.log(levels)
            ),
        ),
        (
            "the width of a cell is counted once for the whole image: each of its C H W dimensions has "
            "one.",
            lambda log_density, level, u, levels: bits(
                log_density, (level + u) / levels, -math.log(levels) / level[0].numel()
            ),
        ),
        (
            "each channel is a dimension of its own: there are C H W of them, not H W.",
            lambda log_density, level, u, levels: (
                right(log_density, level, u, levels) * level.shape[1]
            ),
        ),
        (
            "the noise is missing: without it a density may pile up on the levels, and its bits mean "
            "nothing.",
            lambda log_density, level, u, levels: bits(
                log_density, level / levels, -math.log(levels)
            ),
        ),
        (
            "the noise is added after you divide, so it is as wide as the whole range: (level + u) / K.",
            lambda log_density, level, u, levels: bits(
                log_density, level / levels + u, -math.log(levels)
            ),
        ),
        (
            "you divide by K - 1: with noise there are K cells between 0 and 1, and level + u reaches K.",
            lambda log_density, level, u, levels: bits(
                log_density, (level + u) / (levels - 1), -math.log(levels)
            ),
        ),
        (
            "a cell is 1/K wide, not 1/(K - 1).",
            lambda log_density, level, u, levels: bits(
                log_density, (level + u) / levels, -math.log(levels - 1)
            ),
        ),
        (
            "the density is asked at levels from 0 to K: it wants images in [0, 1].",
            lambda log_density, level, u, levels: bits(log_density, level + u, -math.log(levels)),
        ),
        (
            "these are nats per dimension: divide by ln 2 for bits.",
            lambda log_density, level, u, levels: (
                right(log_density, level, u, levels) * math.log(2)
            ),
        ),
        (
            "these are bits per image: divide by the number of dimensions, C H W.",
            lambda log_density, level, u, levels: (
                right(log_density, level, u, levels) * level[0].numel()
            ),
        ),
        (
            "these are nats per image: divide by C H W ln 2.",
            lambda log_density, level, u, levels: (
                right(log_density, level, u, levels) * level[0].numel() * math.log(2)
            ),
        ),
        (
            "the sign is wrong: bits are a cost, minus the log-probability.",
            lambda log_density, level, u, levels: -right(log_density, level, u, levels),
        ),
        (
            "you average over the images: return one number for each.",
            lambda log_density, level, u, levels: right(log_density, level, u, levels).mean(),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for levels, b, shape in ((17, 3, (1, 4, 3)), (8, 2, (3, 2, 2))):
            level = randint(levels, (b, *shape), generator=generator)
            at = rand(shape, generator=generator).to(torch.get_default_dtype())
            sharp = 1 + 3 * rand(shape, generator=generator).to(at)

            def log_density(x: Tensor, at: Tensor = at, sharp: Tensor = sharp) -> Tensor:
                return -(sharp * (x - at).abs().sqrt()).flatten(1).sum(dim=1)

            u = rand(level.shape, generator=generator).to(at)
            arguments = {"log_density": log_density, "level": level, "u": u, "levels": levels}
            cases.append(Case(f"{levels} levels", arguments))
        given = collect("grey_bits", answer, cases)
        judge("grey_bits", cases, given, right, mistakes)
    print("Right: noise fills the cells, and the density counts the probability of a cell.")
