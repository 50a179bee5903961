r"""The graders of problem set 2: how far a bound lies below the truth.

The prior is $N(m, s^2)$ in every dimension of a code, and m, s, the noise of the encoder and the threshold of
an active unit come from the variant. So every right function, and every mistake, is made from a variant.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, eye, logsumexp
from torch.nn.functional import softplus

from course.assignments.core import (
    MakeStep,
    Part,
    ProblemSet,
    Variant,
    compared,
    is_extreme,
    is_ordinary,
    task,
    trained,
)
from course.checking.core import Case, Wrong, as_tensor
from course.checking.questions import Outcome, Question
from course.checking.step import Step, extreme, hard, step, tame
from genlib.data import binarise, load

EULER = 0.5772156649015329  # the mean of the standard Gumbel distribution
LOG_2PI = math.log(2 * math.pi)
PI = math.pi
NOISES = ("laplace", "logistic", "gumbel")
STANDARD = {"PRIOR_MEAN": 0.0, "PRIOR_SCALE": 1.0}  # the prior of the lesson
KINDS = {"tame": tame, "hard": hard, "extreme": extreme}


def variant(seed: int) -> dict[str, Any]:
    """The constants of a variant.

    Example:
        >>> variant(0)
        {'PRIOR_MEAN': -1.9, 'PRIOR_SCALE': 1.7, 'NOISE': 'gumbel', 'ACTIVE': 0.025}
    """
    generator = torch.Generator().manual_seed(seed)

    def one_of(choices: Sequence[Any]) -> Any:
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    return {
        "PRIOR_MEAN": one_of((-2.7, -2.3, -1.9, 1.9, 2.3, 2.7)),
        "PRIOR_SCALE": one_of((0.6, 0.7, 1.4, 1.7)),  # nobody takes the double for the square
        "NOISE": one_of(NOISES),
        "ACTIVE": one_of((0.025, 0.04, 0.08)),
    }


def normal(g: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)


# ---------------------------------------------------------------- 1. the price of a code


def each_divergence(v: Variant, mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(m, s^2)) of each entry by itself."""
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    return math.log(s) - log_std + ((2 * log_std).exp() + (mean - m) ** 2) / (2 * s**2) - 0.5


def divergence(v: Variant, mean: Tensor, log_std: Tensor) -> Tensor:
    return each_divergence(v, mean, log_std).sum(dim=-1)


def ask_kl(v: Variant, g: torch.Generator) -> list[Case]:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]

    def codes(
        label: str,
        *shape: int,
        dtype: torch.dtype = torch.float64,
        kind: str = "tame",
        shift: float = 0.0,
    ) -> Case:
        mean = m + 2 * s * normal(g, *shape, dtype=dtype)
        log_std = math.log(s) + 0.7 * normal(g, *shape, dtype=dtype) + shift
        return KINDS[kind](label, mean=mean, log_std=log_std)

    return [
        codes("one code of one number", 1, 1),
        codes("five codes of three numbers", 5, 3),
        codes("codes in float32", 4, 8, dtype=torch.float32),
        codes("several codes an image, (2, 3, 4)", 2, 3, 4, kind="hard"),
        codes("very narrow posteriors", 3, 2, dtype=torch.float32, kind="extreme", shift=-60),
    ]


@task(
    compared(2, "the values", only=is_ordinary),
    trained(1, "the gradient"),
    compared(1, "an extreme case", only=is_extreme),
)
def kl(v: Variant) -> Step:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    each = partial(each_divergence, v)

    def to(mean: float = m, scale: float = s) -> Callable[..., Tensor]:
        return partial(divergence, {"PRIOR_MEAN": mean, "PRIOR_SCALE": scale})

    @step(partial(ask_kl, v), gradient="mean log_std")
    def kl(mean: Tensor, log_std: Tensor) -> Tensor:
        return divergence(v, mean, log_std)

    def swapped(mean: Tensor, log_std: Tensor) -> Tensor:
        spread = s**2 + (mean - m) ** 2
        return (log_std - math.log(s) + spread / (2 * (2 * log_std).exp()) - 0.5).sum(dim=-1)

    kl.wrong = {
        "you average over the latent dimensions, where the divergence of a code adds them up.":
            lambda *a: each(*a).mean(-1),
        "you average over the codes as well: every code has a divergence of its own.": lambda *a: to()(*a).mean(),
        "you return one number for each latent dimension: the divergence of a code adds them up.": each,
        "this is the divergence from the standard normal distribution, the prior of the lesson, and not from the prior "
        "of this problem set.":
            to(0.0, 1.0),
        "you centre the prior where the lesson does: PRIOR_MEAN plays no role.": to(mean=0.0),
        "this is the divergence the other way round: of the prior from the posterior.": swapped,
        "the divergence is not 0 where the posterior is the prior: is every factor 1/2 in its place?":
            lambda mean, log_std: (2 * each(mean, log_std) - (math.log(s) - log_std)).sum(-1),
        "this is twice the divergence: the 1/2 in front is missing.": lambda *a: 2 * to()(*a),
        "you treat PRIOR_SCALE as a variance: it is a standard deviation.": to(scale=math.sqrt(s)),
        "you treat `log_std` as the logarithm of a variance: it is that of a standard deviation.":
            lambda mean, log_std: to()(mean, log_std / 2),
        "the logarithm of the prior's scale is missing.": lambda *a: (each(*a) - math.log(s)).sum(-1),
        "the - 1/2 of each latent is missing: where the posterior is the prior, the divergence must be 0.":
            lambda *a: (each(*a) + 0.5).sum(-1),
        "the sign is wrong: a divergence is never negative.": lambda *a: -to()(*a),
    }  # fmt: skip
    return kl


# ---------------------------------------------------------------- 2 to 4. the linear model


def linear_model(
    g: torch.Generator, v: Variant, b: int, n: int, d: int, log_noise: float, spread: float = 1.0
) -> dict:
    """Parameters, and images that the model might have drawn."""
    weight, bias = normal(g, n, d) / v["PRIOR_SCALE"], normal(g, n)
    z = v["PRIOR_MEAN"] + spread * v["PRIOR_SCALE"] * normal(g, b, d)
    x = z @ weight.T + bias + math.exp(log_noise) * normal(g, b, n)
    noise = torch.tensor(log_noise, dtype=torch.float64)
    return {"x": x, "weight": weight, "bias": bias, "log_noise": noise}


def covariance_of_x(v: Variant, weight: Tensor, log_noise: Tensor) -> Tensor:
    identity = eye(len(weight), dtype=weight.dtype)
    return v["PRIOR_SCALE"] ** 2 * weight @ weight.T + (2 * log_noise).exp() * identity


def evidence(v: Variant, x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
    """log N(x; b + W m, s^2 W W^T + sigma^2 I), (B,)."""
    factor = torch.linalg.cholesky(covariance_of_x(v, weight, log_noise))
    difference = x - bias - v["PRIOR_MEAN"] * weight.sum(dim=1)
    white = torch.linalg.solve_triangular(factor, difference.T, upper=False)
    log_det = 2 * factor.diagonal().log().sum()
    return -0.5 * (white.square().sum(dim=0) + log_det + x.shape[1] * LOG_2PI)


def ask_evidence(v: Variant, g: torch.Generator) -> list[Case]:
    return [
        tame("one pixel and one latent", **linear_model(g, v, 3, 1, 1, -0.4)),
        tame("four pixels and two latents", **linear_model(g, v, 5, 4, 2, -0.7)),
        tame("three pixels and five latents", **linear_model(g, v, 4, 3, 5, 0.3)),
        # of codes near the prior's mean, where what a wrong scale does to the two terms does not cancel
        extreme("very many pixels", **linear_model(g, v, 2, 300, 6, -6.0, spread=0.1)),
    ]


@task(compared(3, "the values", only=is_ordinary), compared(1, "an extreme case", only=is_extreme))
def log_evidence(v: Variant) -> Step:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    right = partial(evidence, v)

    def of(mean: float = m, scale: float = s) -> Callable[..., Tensor]:
        return partial(evidence, {"PRIOR_MEAN": mean, "PRIOR_SCALE": scale})

    @step(partial(ask_evidence, v))
    def log_evidence(x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
        return right(x, weight, bias, log_noise)

    log_evidence.wrong = {
        "this is the evidence under a standard normal prior, that of the lesson: ours has another mean and another "
        "scale.":
            of(0.0, 1.0),
        "the mean of x is not right: the codes have a mean too, and the weights carry it to the pixels.": of(mean=0.0),
        "the scale of the prior plays no role in your covariance: wider codes spread the images more.": of(scale=1.0),
        "the scale of the prior stands in your covariance without its square.": of(scale=math.sqrt(s)),
        "your covariance holds twice the prior's scale where its square belongs.": of(scale=math.sqrt(2 * s)),
        "this is the likelihood of one code, the mean of the prior. The evidence counts all codes: they add to the "
        "covariance.":
            of(scale=0.0),
        "you treat `log_noise` as the logarithm of a variance: it is that of a standard deviation.":
            lambda x, weight, bias, log_noise: right(x, weight, bias, log_noise / 2),
        "the constant with 2 pi is missing: your density does not add up to one.":
            lambda x, *a: right(x, *a) + 0.5 * x.shape[1] * LOG_2PI,
        "the constant with 2 pi is counted once for an image, where every pixel has one.":
            lambda x, *a: right(x, *a) + 0.5 * (x.shape[1] - 1) * LOG_2PI,
        "the logarithm of the determinant counts twice: mind the root in the density's normaliser.":
            lambda x, weight, bias, log_noise: right(x, weight, bias, log_noise)
            - 0.5 * torch.logdet(covariance_of_x(v, weight, log_noise)),
        "the sign is wrong: a log-density is wanted, not a loss.": lambda *a: -right(*a),
        "you average over the pixels, where the log-density of an image concerns all of them together.":
            lambda x, *a: right(x, *a) / x.shape[1],
        "you add up the batch: every image has an evidence of its own.": lambda *a: right(*a).sum(),
        "you return one number for the whole batch: every image has an evidence of its own.":
            lambda *a: right(*a).mean(),
    }  # fmt: skip
    return log_evidence


def bayes(
    v: Variant, x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (B, D) and covariance (D, D) of p(z | x), and log std (D,) of the best diagonal Gaussian."""
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    noise = (-2 * log_noise).exp()
    precision = noise * weight.T @ weight + eye(weight.shape[1], dtype=x.dtype) / s**2
    covariance = torch.linalg.inv(precision)
    mean = (noise * (x - bias) @ weight + m / s**2) @ covariance
    return mean, covariance, -0.5 * precision.diagonal().log()


def ask_posterior(v: Variant, g: torch.Generator) -> list[Case]:
    return [
        tame("two pixels and one latent", **linear_model(g, v, 3, 2, 1, -0.4)),
        tame("four pixels and two latents", **linear_model(g, v, 5, 4, 2, -0.2)),
        tame("six pixels and three latents", **linear_model(g, v, 4, 6, 3, 0.2)),
        tame("two pixels and four latents", **linear_model(g, v, 4, 2, 4, 0.1)),
    ]


POSTERIOR = ("the mean", "the covariance", "the log_std of the best diagonal Gaussian")


@task(*(compared(2, title, n) for n, title in enumerate(POSTERIOR)))
def posterior(v: Variant) -> Step:
    right = partial(bayes, v)

    @step(partial(ask_posterior, v), results=POSTERIOR)
    def posterior(x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> tuple[Tensor, ...]:
        return right(x, weight, bias, log_noise)

    def mean_of(**changed: float) -> Callable[..., tuple[Tensor | None, ...]]:
        return lambda *a: (bayes({**v, **changed}, *a)[0], None, None)

    posterior.wrong = {
        "this belongs to a standard normal prior, that of the lesson: ours has another mean and another scale.":
            partial(bayes, STANDARD),
        "you treat `log_noise` as the logarithm of a variance: it is that of a standard deviation.":
            lambda x, weight, bias, log_noise: right(x, weight, bias, log_noise / 2),
        "without any pixel the mean of the posterior must be that of the prior, and yours is zero.":
            mean_of(PRIOR_MEAN=0.0),
        "the bias of the decoder says nothing about the code: take it out of x.":
            lambda x, weight, bias, log_noise: (right(x, weight, 0 * bias, log_noise)[0], None, None),
        "this is the code that reconstructs x best, by least squares: the prior has no say in it.":
            lambda x, weight, bias, log_noise: ((x - bias) @ torch.linalg.pinv(weight).T, None, None),
        "the scale of the prior plays no role.": mean_of(PRIOR_SCALE=1.0),
        "PRIOR_SCALE is a standard deviation: the posterior needs its square.":
            lambda *a: (*bayes({**v, "PRIOR_SCALE": math.sqrt(v["PRIOR_SCALE"])}, *a)[:2], None),
        "this is the precision, the inverse of the covariance.":
            lambda *a: (None, torch.linalg.inv(right(*a)[1]), None),
        "these are the standard deviations of the posterior's marginals. The Gaussian that minimises this divergence "
        "is narrower where latents depend on each other: derive it, do not guess it.":
            lambda *a: (None, None, 0.5 * right(*a)[1].diagonal().log()),
        "these are logarithms of variances: log_std is wanted.": lambda *a: (None, None, 2 * right(*a)[2]),
        "these are the standard deviations: their logarithms are wanted.":
            lambda *a: (None, None, right(*a)[2].exp()),
        "the sign is wrong: a precise posterior is narrow.": lambda *a: (None, None, -right(*a)[2]),
    }  # fmt: skip
    return posterior


def elbo_terms(
    v: Variant,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    log_noise: Tensor,
    mean: Tensor,
    log_std: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """log p(x | mean), what the spread of q takes from it, and the KL: each (B,)."""
    precision = (-2 * log_noise).exp()
    at_mean = -0.5 * precision * (x - bias - mean @ weight.T).square() - log_noise - 0.5 * LOG_2PI
    spread = 0.5 * precision * (2 * log_std).exp() @ weight.square().sum(dim=0)
    return at_mean.sum(dim=1), spread, divergence(v, mean, log_std)


def elbo(v: Variant, *arguments: Tensor) -> Tensor:
    at_mean, spread, price = elbo_terms(v, *arguments)
    return at_mean - spread - price


def ask_elbo(v: Variant, g: torch.Generator) -> list[Case]:
    cases = []
    for label, sizes, log_noise in (
        ("one pixel and one latent", (3, 1, 1), -0.4),
        ("four pixels and two latents", (5, 4, 2), 0.3),
        ("six pixels and three latents", (4, 6, 3), -0.6),
        ("two pixels and four latents", (3, 2, 4), 0.2),
    ):
        model = linear_model(g, v, *sizes, log_noise)
        shape = sizes[0], sizes[2]
        mean = v["PRIOR_MEAN"] + v["PRIOR_SCALE"] * normal(g, *shape)
        log_std = math.log(v["PRIOR_SCALE"]) + 0.5 * normal(g, *shape)
        cases.append(tame(label, **model, mean=mean, log_std=log_std))
    return cases


def near_the_bound(case: Case, got: Tensor, want: Tensor) -> str | None:
    if not torch.allclose(got.double(), want.double(), rtol=0.15, atol=0.5):
        return None
    return (
        "your result is near the bound and not equal to it, as an average over draws would be: derive the "
        "expectation."
    )


@task(compared(3, "the values"), trained(2, "the gradient"))
def linear_elbo(v: Variant) -> Step:
    right = partial(elbo, v)

    @step(partial(ask_elbo, v), gradient="weight bias log_noise mean log_std", probe=near_the_bound)
    def linear_elbo(
        x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor, mean: Tensor, log_std: Tensor
    ) -> Tensor:
        return right(x, weight, bias, log_noise, mean, log_std)

    def combined(a: float = 1, b: float = -1, c: float = -1) -> Callable[..., Tensor]:
        return lambda *arguments: sum(
            n * term for n, term in zip((a, b, c), elbo_terms(v, *arguments), strict=True)
        )

    def pixels(x: Tensor, *a: Tensor) -> Tensor:
        one, two, three = elbo_terms(v, x, *a)
        return (one - two) / x.shape[1] - three

    def rows(
        x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor, mean: Tensor, log_std: Tensor
    ) -> Tensor:
        one, _, three = elbo_terms(v, x, weight, bias, log_noise, mean, log_std)
        spread = ((log_std.exp() @ weight.T).square() * (-2 * log_noise).exp()).sum(dim=1)
        return one - 0.5 * spread - three

    linear_elbo.wrong = {
        "you decode the mean of q alone: the other codes that q allows reconstruct x less well, and that counts too.":
            combined(b=0),
        "the spread of q makes the reconstruction worse: your sign says better.": combined(b=1),
        "the price of the spread is twice what it should be: a 1/2 is missing.": combined(b=-2),
        "you add up the spreads of the latents before squaring. Independent noises add their variances.": rows,
        "this is the reconstruction term alone: codes cost something.": combined(c=0),
        "you add the divergence: a bound pays for it.": combined(c=1),
        "the sign is wrong: this is the loss, not the bound.": combined(-1, 1, 1),
        "the divergence is that from a standard normal prior.": partial(elbo, STANDARD),
        "you average over the pixels, where a log-likelihood adds them up.": pixels,
        "the constant with 2 pi is missing, so this cannot be compared with the evidence.":
            lambda x, *a: right(x, *a) + 0.5 * x.shape[1] * LOG_2PI,
        "the constant with 2 pi is counted once for an image, where every pixel has one.":
            lambda x, *a: right(x, *a) + 0.5 * (x.shape[1] - 1) * LOG_2PI,
        "you return one number for the whole batch: every image has a bound of its own.": lambda *a: right(*a).mean(),
        "you add up the batch: every image has a bound of its own.": lambda *a: right(*a).sum(),
    }  # fmt: skip
    return linear_elbo


# ---------------------------------------------------------------- 5. which units die


def spectrum(x: Tensor, correction: int = 0) -> tuple[Tensor, Tensor]:
    """Eigenvalues of the covariance, falling, and eigenvectors as columns."""
    centred = x - x.mean(dim=0)
    eigenvalues, vectors = torch.linalg.eigh(centred.T @ centred / (len(x) - correction))
    return eigenvalues.flip(0), vectors.flip(1)


def swept(
    v: Variant, x: Tensor, latent_dim: int, noises: Tensor, correction: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Squared error, KL, active units (K,), and each unit's share of the prior's variance (K, D)."""
    s, m = v["PRIOR_SCALE"], v["PRIOR_MEAN"]
    eigenvalues, vectors = spectrum(x, correction)
    eigenvalues, vectors = eigenvalues[:latent_dim], vectors[:, :latent_dim]
    errors, prices, shares = [], [], []
    for noise in noises:
        weight = vectors * (eigenvalues - noise**2).clamp(min=0).sqrt() / s
        bias = x.mean(dim=0) - m * weight.sum(dim=1)
        mean, _, log_std = bayes(v, x, weight, bias, noise.log())
        errors.append((x - bias - mean @ weight.T).square().sum(dim=1).mean())
        prices.append(divergence(v, mean, log_std).mean())
        shares.append(mean.var(dim=0, correction=0) / s**2)
    share = torch.stack(shares)
    return torch.stack(errors), torch.stack(prices), count(share > v["ACTIVE"]), share


def count(active: Tensor) -> Tensor:
    return active.sum(dim=1).double()


def ask_sweep(v: Variant, g: torch.Generator) -> list[Case]:
    """Images with a chosen spectrum, so that no unit stands on the edge between dead and active.

    The first unit's share of the prior's variance takes values on both sides of the threshold, and of
    what a student may take for it.
    """
    active, s = v["ACTIVE"], v["PRIOR_SCALE"]
    taken = {active / s**2, active / s, 2 * active / s, active / s**4, active**2, 0.01}
    edges = sorted({active} | {x for x in taken if x < 0.5})
    between = [math.sqrt(a * b) for a, b in itertools.pairwise(edges)]
    shares = [-0.3, -0.02, edges[0] / 2, *between, 0.015, 0.04, 0.07, 0.3, 0.6, 0.9, 0.995]
    shares = [share for share in shares if abs(share / active - 1) > 0.06]
    shares.append(active * math.sqrt(4 / 5))  # of 5 images: dead, but not for who divides by B - 1
    cases = []
    for label, b, n, d in (
        ("5 images of 3 pixels, 2 latents", 5, 3, 2),
        ("20 images of 6 pixels, 4 latents", 20, 6, 4),
        ("15 images of 8 pixels, 8 latents", 15, 8, 8),
    ):
        eigenvalues = 5 * 0.45 ** torch.arange(n, dtype=torch.float64)
        columns = normal(g, b, n)
        columns = torch.linalg.qr(columns - columns.mean(dim=0))[0]
        vectors = torch.linalg.qr(normal(g, n, n))[0]
        x = math.sqrt(b) * columns * eigenvalues.sqrt() @ vectors.T + 2 * normal(g, n)
        noises = [math.sqrt(float(eigenvalues[0]) * (1 - share)) for share in shares]
        order = torch.randperm(len(noises), generator=g)
        stds = torch.tensor(noises, dtype=torch.float64)[order]
        cases.append(tame(label, x=x, latent_dim=d, noises=stds))
    return cases


SWEEP = ("the squared error", "the divergence", "the number of active units")


@task(
    *(
        compared(points, title, n)
        for n, (points, title) in enumerate(zip((2, 1, 2), SWEEP, strict=True))
    )
)
def sweep(v: Variant) -> Step:
    active, s = v["ACTIVE"], v["PRIOR_SCALE"]
    right = partial(swept, v)

    @step(partial(ask_sweep, v), results=SWEEP)
    def sweep(x: Tensor, latent_dim: int, noises: Tensor) -> tuple[Tensor, ...]:
        return right(x, latent_dim, noises)[:3]

    def drawn_error(x: Tensor, d: int, noises: Tensor) -> Tensor:
        eigenvalues = spectrum(x)[0][:d]
        spread = [
            (noise**2 * (eigenvalues - noise**2) / eigenvalues).clamp(min=0).sum()
            for noise in noises
        ]
        return right(x, d, noises)[0] + torch.stack(spread)

    def counted(alive: Callable[[Tensor, int], Tensor]) -> Callable[..., tuple[Tensor | None, ...]]:
        """From the shares of the prior's variance and the number of images."""
        return lambda x, *a: (None, None, count(alive(right(x, *a)[3], len(x))))

    sweep.wrong = {
        "your covariance is divided by one image less than there are: the model of highest likelihood divides by all "
        "of them, as the text says.":
            lambda *a: right(*a, 1)[:3],
        "you average the squared error over the pixels, where an image adds them up.":
            lambda x, *a: (right(x, *a)[0] / x.shape[1], None, None),
        "you return a root: the squared error is wanted.": lambda *a: (right(*a)[0].sqrt(), None, None),
        "you add up the images in the error: an average over them is wanted.":
            lambda x, *a: (right(x, *a)[0] * len(x), None, None),
        "decode the mean of each posterior, not draws from it.": lambda *a: (drawn_error(*a), None, None),
        "your error ends where PCA's does, whatever the noise: the posterior mean is no projection.":
            lambda x, d, noises: (spectrum(x)[0][d:].sum().expand(len(noises)), None, None),
        "you average the divergence over the latents, where a code adds them up.":
            lambda x, d, noises: (None, right(x, d, noises)[1] / d, None),
        "you add up the images in the divergence: an average over them is wanted.":
            lambda x, *a: (None, right(x, *a)[1] * len(x), None),
        "you count units whose posterior mean varies more than ACTIVE. The threshold is a share of the prior's "
        "variance.":
            counted(lambda share, n: share * s**2 > active),
        "in the variance of the posterior means you divide by one image less than there are: divide by B here too.":
            counted(lambda share, n: share * n / (n - 1) > active),
        "you compare standard deviations with a threshold for variances.":
            counted(lambda share, n: share.sqrt() > active),
        "you count the units that do NOT vary.": counted(lambda share, n: share <= active),
        "you return the share of active units: their number is wanted.":
            lambda x, d, noises: (None, None, right(x, d, noises)[2] / d),
        "you count with another threshold than ACTIVE.": counted(lambda share, n: share > 0.01),
        "you count units with any weight at all: measure how much their posterior mean varies.":
            counted(lambda share, n: share > 1e-9),
    }  # fmt: skip
    return sweep


# ---------------------------------------------------------------- 6. a posterior with heavier tails


def unit_quantile(noise: str, u: Tensor, euler: float = EULER) -> Tensor:
    """Inverse distribution function of the noise with mean 0 and standard deviation 1."""
    if noise == "laplace":
        tail = torch.where(u < 0.5, u, 1 - u)
        return torch.where(u < 0.5, (2 * tail).log(), -(2 * tail).log()) / math.sqrt(2)
    if noise == "logistic":
        return (u.log() - torch.log1p(-u)) * math.sqrt(3) / PI
    return (-(-u.log()).log() - euler) * math.sqrt(6) / PI


def unit_log_density(noise: str, y: Tensor, euler: float = EULER) -> Tensor:
    """log density of the noise with mean 0 and standard deviation 1."""
    if noise == "laplace":
        return -math.sqrt(2) * y.abs() - math.log(2) / 2
    scale = (math.sqrt(3) if noise == "logistic" else math.sqrt(6)) / PI
    standard = y / scale
    if noise == "logistic":
        standard = standard.abs()
        return -standard - 2 * torch.log1p((-standard).exp()) - math.log(scale)
    standard = standard + euler
    return -standard - (-standard).exp() - math.log(scale)


def raw_std(noise: str) -> float:
    """The standard deviation of the standard form of the noise, which is not 1."""
    return {"laplace": math.sqrt(2), "logistic": PI / math.sqrt(3), "gumbel": PI / math.sqrt(6)}[
        noise
    ]


def raw_mean(noise: str) -> float:
    return EULER if noise == "gumbel" else 0.0


DIGITS = range(2, 6)  # more of Euler's constant differ by less than is looked for


def rounded(v: Variant, n: int) -> Variant:
    """With so many digits of Euler's constant, which only the Gumbel distribution asks for."""
    return {**v, "EULER": round(EULER, n)}


def with_rounded(f: Callable[..., Tensor], v: Variant) -> dict[str, Callable[..., Tensor]]:
    words = (
        "your Euler's constant, the mean of the standard Gumbel distribution, is rounded too much, to {} digits: the "
        "table of task 7 has more."
    )
    return {words.format(n): partial(f, rounded(v, n)) for n in DIGITS}


def nearly_trained(points: float, title: str) -> Callable[[MakeStep], Part]:
    """As `trained`, where a rounded constant costs the values alone."""

    def made(make: MakeStep) -> Part:
        part = trained(points, title)(make)

        def judge(
            name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
        ) -> None:
            for n in DIGITS:
                try:
                    make(rounded(v, n)).judge_gradient(questions, outcomes)
                except Wrong:
                    continue
                return
            part.judge(name, questions, outcomes, v)

        return replace(part, judge=judge)

    return made


def drawn(v: Variant, mean: Tensor, log_std: Tensor, u: Tensor) -> Tensor:
    return mean + log_std.exp() * unit_quantile(v["NOISE"], u, v.get("EULER", EULER))


def ask_draw(v: Variant, g: torch.Generator) -> list[Case]:
    def draws(label: str, k: int, b: int, d: int, dtype: torch.dtype = torch.float64) -> Case:
        mean, log_std = normal(g, b, d, dtype=dtype), 0.6 * normal(g, b, d, dtype=dtype) - 0.3
        u = 0.02 + 0.96 * torch.rand(k, b, d, generator=g, dtype=torch.float64)
        return tame(label, mean=mean, log_std=log_std, u=u.to(dtype))

    edges = torch.tensor([1e-30, 1e-12, 1 - 2**-24]).expand(2, 2, 3).contiguous()
    log_std = 0.6 * normal(g, 2, 3, dtype=torch.float32) - 0.3
    # near zero, where a constant rounded to three digits shows
    u = 0.02 + 0.96 * torch.rand(2, 1, 3, generator=g, dtype=torch.float64)
    wide = torch.full((1, 3), 2.0, dtype=torch.float64)
    to_zero = -wide.exp() * unit_quantile(v["NOISE"], u[0])
    return [
        draws("one draw for one image", 1, 1, 1),
        draws("draws for three images", 5, 3, 2),
        draws("draws in float32", 4, 2, 6, torch.float32),
        extreme(
            "uniform numbers at the edges of (0, 1)",
            mean=torch.zeros(2, 3),
            log_std=log_std,
            u=edges,
        ),
        hard("wide draws near zero", mean=to_zero, log_std=wide, u=u),
    ]


@task(
    compared(2, "the values", only=is_ordinary),
    nearly_trained(1, "the gradient"),
    compared(1, "an extreme case", only=is_extreme),
)
def draw(v: Variant) -> Step:
    noise = v["NOISE"]
    right, center, spread = partial(drawn, v), raw_mean(noise), raw_std(noise)

    @step(partial(ask_draw, v), gradient="mean log_std")
    def draw(mean: Tensor, log_std: Tensor, u: Tensor) -> Tensor:
        return right(mean, log_std, u)

    def with_noise(change: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
        return lambda mean, log_std, u: mean + log_std.exp() * change(unit_quantile(noise, u))

    draw.wrong = {
        "you move and stretch the standard form of the noise, whose standard deviation is not 1: these draws do not "
        "have the mean and the standard deviation that are asked for.":
            with_noise(lambda y: y * spread + center),
        # without a mean to take away these are the standard form, or right
        "the noise has the right standard deviation, but its mean is not 0.": with_noise(lambda y: y + center / spread),
        "the noise has mean 0, but its standard deviation is not 1.": with_noise(lambda y: y * spread),
        **with_rounded(drawn, v),
        "small u should give small codes: yours fall where u grows.":
            lambda mean, log_std, u: right(mean, log_std, 1 - u),
        "you stretch by the variance: the standard deviation is wanted.":
            lambda mean, log_std, u: right(mean, 2 * log_std, u),
        "you treat `log_std` as the logarithm of a variance: it is that of a standard deviation.":
            lambda mean, log_std, u: right(mean, log_std / 2, u),
        "you stretch by the logarithm of the standard deviation.":
            lambda mean, log_std, u: mean + log_std * unit_quantile(noise, u),
        "your noise is Gaussian, not the one of this problem set.":
            lambda mean, log_std, u: mean + log_std.exp() * torch.special.ndtri(u),
        "near the edges of (0, 1) your draws are not right, since u is cut off there: the tails of a distribution live "
        "at the edges.":
            lambda mean, log_std, u: right(mean, log_std, u.clamp(1e-6, 1 - 1e-6)),
    }  # fmt: skip
    if not center:
        draw.wrong.pop("the noise has mean 0, but its standard deviation is not 1.")
    draw.wrong |= {
        f"your noise is {other}, not the one of this problem set.": partial(drawn, {"NOISE": other})
        for other in NOISES
        if other != noise
    }
    return draw


# ---------------------------------------------------------------- 7. a tighter bound


def log_prior(v: Variant, z: Tensor) -> Tensor:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    return (-0.5 * ((z - m) / s) ** 2 - math.log(s) - 0.5 * LOG_2PI).sum(dim=-1)


def log_q(v: Variant, z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    y = (z - mean) * (-log_std).exp()
    return (unit_log_density(v["NOISE"], y, v.get("EULER", EULER)) - log_std).sum(dim=-1)


def log_weights(v: Variant, likelihood: Tensor, z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    return likelihood + log_prior(v, z) - log_q(v, z, mean, log_std)


def mean_in_logs(log_weight: Tensor, dim: int = 0) -> Tensor:
    return logsumexp(log_weight, dim=dim) - math.log(log_weight.shape[dim])


def bound(v: Variant, *arguments: Tensor) -> Tensor:
    return mean_in_logs(log_weights(v, *arguments))


def ask_bound(v: Variant, g: torch.Generator) -> list[Case]:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]

    def draws(
        label: str,
        k: int,
        b: int,
        d: int,
        level: float = 5.0,
        dtype: torch.dtype = torch.float64,
        tail: float = 0.0,
        vary: float = 0.3,
        kind: str = "tame",
    ) -> Case:
        mean = m + 0.5 * s * normal(g, b, d, dtype=dtype)
        log_std = math.log(0.4 * s) + vary * normal(g, b, d, dtype=dtype)
        u = 0.05 + 0.9 * torch.rand(k, b, d, generator=g, dtype=torch.float64).to(dtype)
        z = drawn(v, mean, log_std, u)
        if tail:
            # on the other side of a Gumbel distribution is nothing at all
            gumbel = v["NOISE"] == "gumbel"
            side = torch.ones(b, 1) if gumbel else (-1.0) ** torch.arange(b)[:, None]
            z = z + tail * side * log_std.exp()
        likelihood = -level + normal(g, k, b, dtype=dtype)
        return KINDS[kind](label, log_likelihood=likelihood, z=z, mean=mean, log_std=log_std)

    # bounds of about 0, of codes on one side of q: nothing hides an error in its density
    _, z, mean, log_std = draws("", 2, 3, 5).arguments.values()
    z = drawn(v, mean, log_std, 0.9 + 0.02 * torch.rand(z.shape, generator=g, dtype=torch.float64))
    near = log_q(v, z, mean, log_std) - log_prior(v, z) + 0.01 * normal(g, 2, 3)
    return [
        draws("one draw for one image", 1, 1, 1),
        draws("four draws for three images", 4, 3, 2),
        hard("bounds near zero", log_likelihood=near, z=z, mean=mean, log_std=log_std),
        draws("as many draws as images", 3, 3, 4),
        draws("draws in float32", 16, 2, 5, dtype=torch.float32),
        draws("very unlikely images", 8, 3, 4, level=5000.0, vary=0.05, kind="extreme"),
        draws(
            "codes far in the tail of q",
            4,
            2,
            2,
            dtype=torch.float32,
            tail=120.0,
            vary=0.05,
            kind="extreme",
        ),
    ]


@task(
    compared(3, "the values", only=is_ordinary),
    nearly_trained(1, "the gradient"),
    compared(1, "extreme cases", only=is_extreme),
)
def importance_bound(v: Variant) -> Step:
    noise = v["NOISE"]
    weights = partial(log_weights, v)

    @step(partial(ask_bound, v), gradient="log_likelihood mean log_std")
    def importance_bound(
        log_likelihood: Tensor, z: Tensor, mean: Tensor, log_std: Tensor
    ) -> Tensor:
        return bound(v, log_likelihood, z, mean, log_std)

    def with_q(
        density: Callable[[Tensor, Tensor, Tensor], Tensor | float],
    ) -> Callable[..., Tensor]:
        return lambda ll, z, *q: mean_in_logs(ll + log_prior(v, z) - density(z, *q))

    def gaussian(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        y = (z - mean) * (-log_std).exp()
        return (-0.5 * y**2 - log_std - 0.5 * LOG_2PI).sum(dim=-1)

    def standard_form(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        return log_q(
            v, z, mean + log_std.exp() * raw_mean(noise), log_std + math.log(raw_std(noise))
        )

    importance_bound.wrong = {
        "the mean of k weights is their sum divided by k: you leave the sum.": lambda *a: logsumexp(weights(*a), dim=0),
        "you average the logarithms of the weights, which gives the ELBO again: take the logarithm of the average.":
            lambda *a: weights(*a).mean(0),
        "the weight lacks the prior of the codes.": lambda ll, z, *q: mean_in_logs(ll - log_q(v, z, *q)),
        "the weight lacks q: codes that q draws often must count less.": with_q(lambda *a: 0.0),
        "you average the likelihoods alone: these codes come from q, not from the prior.":
            lambda ll, *a: mean_in_logs(ll),
        "the prior and q have changed places.":
            lambda ll, z, *q: mean_in_logs(ll - log_prior(v, z) + log_q(v, z, *q)),
        "the prior in your weight is the standard normal, that of the lesson.": partial(bound, {**v, **STANDARD}),
        "the q in your weight is Gaussian, not the one that drew these codes.": with_q(gaussian),
        "the density of q lacks its scale: a narrow density is high.":
            lambda *a: mean_in_logs(weights(*a) - a[-1].sum(-1)),
        "your q is the standard form of the noise, moved and stretched: `mean` and `log_std` are those of the codes, "
        "and the standard form has another mean or standard deviation than 0 and 1.":
            with_q(standard_form),
        "you average over the images as well: every image has a bound of its own.": lambda *a: bound(v, *a).mean(),
        "you average over the images, where the k draws of one image are meant.":
            lambda *a: mean_in_logs(weights(*a), dim=1),
        "the sign is wrong: this is the loss, not the bound.": lambda *a: -bound(v, *a),
        **with_rounded(bound, v),
    }  # fmt: skip
    return importance_bound


# ---------------------------------------------------------------- 8. a trained model

STEP, RADIUS = 0.15, 4.2  # of the grid of codes, in scales of the prior
EVIDENCE_WANTED, BOUND_WANTED = -19.3, -20.6  # nats an image, on average over the test images


def ask_model(v: Variant, g: torch.Generator) -> list[Case]:
    """Codes before images, so that the decoder answers before it can know what it will be judged on."""
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    line = torch.arange(-RADIUS, RADIUS, STEP) + STEP * torch.rand((), generator=g)
    grid = torch.cartesian_prod(line, line)
    codes = m + s * grid[grid.norm(dim=1) < RADIUS]
    few = torch.randperm(len(codes), generator=g)[:50]
    x = binarise(load("digits", "test")).floats()
    some = torch.randperm(len(x), generator=g)[:20]
    return [
        tame("codes on a grid", what="codes", values=codes),
        tame("some of these codes again", what="codes", values=codes[few]),
        tame("the test images", what="images", values=x),
        tame("some of these images again", what="images", values=x[some]),
    ]


def measure(v: Variant, codes: Tensor, logits: Tensor, x: Tensor, mean: Tensor, log_std: Tensor):
    """log p(x) and the ELBO of each image, both by adding up over the grid: (B,) twice."""
    logits, x = logits.flatten(1).double(), x.flatten(1).double()
    codes, mean, log_std = codes.double(), mean.double(), log_std.double()
    likelihood = logits @ x.T - softplus(logits).sum(dim=1, keepdim=True)  # (n, B)
    area = (STEP * v["PRIOR_SCALE"]) ** 2
    evidence = logsumexp(likelihood + log_prior(v, codes)[:, None] + math.log(area), dim=0)
    y = (codes[:, None] - mean) * (-log_std).exp()  # (n, B, D)
    share = (-0.5 * y**2).sum(dim=2).softmax(dim=0)
    return evidence, (share * likelihood).sum(dim=0) - divergence(v, mean, log_std)


def checked_outcomes(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome]
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, mean and log_std, when all of them can be judged."""
    shapes = []
    for question in questions:
        n = len(question.arguments["values"])
        shapes.append([(n, 1, 8, 8)] if question.arguments["what"] == "codes" else [(n, 2), (n, 2)])
    for question, outcome, wanted in zip(questions, outcomes, shapes, strict=True):
        got = [tuple(as_tensor(name, x).shape) for x in outcome.tensors]
        if got != wanted:
            raise Wrong(
                f"for {question.label} your networks return {got} where {wanted} is wanted."
            )
        if not all(torch.isfinite(x).all() for x in outcome.tensors):
            raise Wrong(f"for {question.label} your networks return numbers that are not finite.")
    return (*outcomes[0].tensors, *outcomes[2].tensors)  # type: ignore[return-value]


def judge_company(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    """What a network says of one input must not depend on the others, nor on chance."""
    checked_outcomes(name, questions, outcomes)
    for all_of, some in ((0, 1), (2, 3)):
        everything = questions[all_of].arguments["values"]
        asked_again = questions[some].arguments["values"]
        place = torch.stack(
            [(everything == one).flatten(1).all(dim=1).int().argmax() for one in asked_again]
        )
        for first, second in zip(outcomes[all_of].tensors, outcomes[some].tensors, strict=True):
            if not torch.allclose(first[place].double(), second.double(), rtol=1e-3, atol=1e-2):
                raise Wrong(
                    f"asked about {questions[some].label.replace(' again', '')} a second time, your network says "
                    "something else: is it still in training mode, or does it draw or normalise over the batch?"
                )


def judge_evidence(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    logits, mean, log_std = checked_outcomes(name, questions, outcomes)
    codes, x = questions[0].arguments["values"], questions[2].arguments["values"]
    evidence = measure(v, codes, logits, x, mean, log_std)[0].mean()
    if evidence >= EVIDENCE_WANTED:
        return
    words = ""
    if logits.min() >= 0 and logits.max() <= 1:
        words = (
            " Your decoder returns numbers between 0 and 1: logits are wanted, not probabilities."
        )
    elif ((mean.double().mean(dim=0) - v["PRIOR_MEAN"]) / v["PRIOR_SCALE"]).abs().max() > 0.7:
        words = " The codes of your encoder lie elsewhere than the prior of this problem set."
    elif evidence < -24.5:
        words = " Independent pixels do as well: what in the images does your decoder learn from the code?"
    else:
        words = " Is it trained by the bound, with both of its terms?"
    raise Wrong(
        f"the test images have {evidence:.1f} nats, and at least {EVIDENCE_WANTED} are wanted.{words}"
    )


def judge_bound(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    logits, mean, log_std = checked_outcomes(name, questions, outcomes)
    codes, x = questions[0].arguments["values"], questions[2].arguments["values"]
    bound = measure(v, codes, logits, x, mean, log_std)[1].mean()
    if bound >= BOUND_WANTED:
        return
    words = (
        " Does the encoder return the logarithm of a standard deviation, and is the KL in the loss?"
    )
    for found, change in {
        " It would be higher if your `log_std` were half as large: is it a log variance?": log_std
        / 2,
        " Is your `log_std` a standard deviation, without the logarithm?": log_std.abs()
        .clamp(min=1e-8)
        .log(),
    }.items():
        if measure(v, codes, logits, x, mean, change)[1].mean() >= BOUND_WANTED:
            words = found
            break
    raise Wrong(f"the bound is {bound:.1f} nats, and at least {BOUND_WANTED} are wanted.{words}")


@task(
    Part(1, "the same answer in any company", judge_company),
    Part(3, "the evidence of test images", judge_evidence),
    Part(3, "the bound on test images", judge_bound),
)
def model(v: Variant) -> Step:
    @step(partial(ask_model, v))
    def model(what: str, values: Tensor) -> Tensor:
        """Any networks will do that pass the judges above."""
        raise NotImplementedError

    return model


PROBLEM_SET = ProblemSet(
    "ps2_vae",
    variant,
    {
        "kl": kl,
        "log_evidence": log_evidence,
        "posterior": posterior,
        "linear_elbo": linear_elbo,
        "sweep": sweep,
        "draw": draw,
        "importance_bound": importance_bound,
        "model": model,
    },
    seconds=240,
)
