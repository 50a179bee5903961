r"""Checks for the exercises of lesson Diffusion: one `Step` each, whose form course/checking/step.py explains.

Noise levels are pairs alpha and sigma, (B,), one for each example. Where a formula holds for every schedule, most pairs
do not preserve the variance, so that `1 - alpha**2` does not pass for `sigma**2`.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, arange, cat, exp, linspace, log, logsumexp, softmax, tanh
from torch.autograd import grad

from course.checking.core import Answer, Case, Wrong, between, call, each, floats, normal, same
from course.checking.relations import factors
from course.checking.step import extreme, hard, step, tame

__all__ = [
    "convert", "ddim_step", "denoising_loss", "elbo_term", "flow_log_prob", "guided", "ideal_denoiser", "noisy",
    "noisy_mixture", "posterior",
]  # fmt: skip

LOG_2PI = math.log(2 * math.pi)


# ---------------------------------------------------------------- 1. noise in one go


def _to_corrupt(g: torch.Generator, *shape: int) -> dict[str, Tensor]:
    return {
        "x": normal(g, *shape),
        "eps": normal(g, *shape),
        "alpha": between(g, 0.2, 0.9, shape[0]),
        "sigma": between(g, 0.3, 2.0, shape[0]),
    }


@step(
    lambda g: [
        tame("4 images of 4 columns", **_to_corrupt(g, 4, 2, 3, 4)),
        tame("5 points in the plane", **_to_corrupt(g, 5, 2)),
        hard("as many points as dimensions", **_to_corrupt(g, 3, 3)),
        hard("series of three axes", **_to_corrupt(g, 2, 4, 3)),
        hard("a single point on the line", **_to_corrupt(g, 1, 1)),
        hard(
            "both ends of time, alpha = 1 with sigma = 0 and alpha = 0 with sigma = 1",
            **_to_corrupt(g, 2, 3) | {"alpha": floats(1, 0), "sigma": floats(0, 1)},
        ),
    ],
    gradient="x eps",
    probe=factors(x=lambda x, *rest: x, eps=lambda x, eps, *rest: eps),
    passes="every example has its own noise level, whatever its shape.",
)
def noisy(x: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    r"""Check `noisy(x, eps, alpha, sigma)`: $x_t = \alpha x + \sigma \epsilon$, each example at its own level.

    x and eps (B, ...), alpha and sigma (B,) -> (B, ...).

    Example:
        >>> from course import checks
        >>> checks.diffusion.noisy(lambda x, eps, alpha, sigma: alpha * x + sigma * eps)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: alpha and sigma run along the last axis: ...
    """
    return each(alpha, x) * x + each(sigma, x) * eps


def _mixed(a: Callable[..., Tensor], s: Callable[..., Tensor], shape: Any = each) -> Callable:
    """Noise with these two factors, made of alpha and sigma, (B,)."""
    return lambda x, eps, alpha, sigma: (
        shape(a(alpha, sigma), x) * x + shape(s(alpha, sigma), x) * eps
    )


noisy.wrong = {
    "alpha and sigma run along the last axis: shape them (B, 1, ...), with as many axes as x.":
        _mixed(lambda a, s: a, lambda a, s: s, lambda level, x: level),
    "alpha and sigma have four axes always: count those of x, points have two.":
        lambda x, eps, a, s: a.view(-1, 1, 1, 1) * x + s.view(-1, 1, 1, 1) * eps,
    "you use the levels of the first example for all: each has its own alpha and sigma.":
        _mixed(lambda a, s: a[:1], lambda a, s: s[:1]),
    "alpha and sigma have changed places: alpha belongs to x, sigma to the noise.":
        _mixed(lambda a, s: s, lambda a, s: a),
    "you square sigma: eps has the standard deviation 1, so sigma eps has sigma.":
        _mixed(lambda a, s: a, lambda a, s: s**2),
    "you take the roots of alpha and sigma: alpha multiplies x itself. (Ho et al.'s alpha-bar is its square.)":
        _mixed(lambda a, s: a.sqrt(), lambda a, s: s.sqrt()),
    "you take the root of alpha: here alpha multiplies x itself. (Ho et al.'s alpha-bar is its square.)":
        _mixed(lambda a, s: a.sqrt(), lambda a, s: s),
    "you take alpha for the alpha-bar of Ho et al., whose root multiplies x: here alpha does, and sigma is given.":
        _mixed(lambda a, s: a.sqrt(), lambda a, s: (1 - a).sqrt()),
    "your noise has the root of 1 - alpha^2 for its size: sigma is given, and alpha^2 + sigma^2 need not be 1.":
        _mixed(lambda a, s: a, lambda a, s: (1 - a**2).sqrt()),
    "you subtract the noise: add it.": _mixed(lambda a, s: a, lambda a, s: -s),
    "your noise has the size 1 - alpha: sigma is given.": _mixed(lambda a, s: a, lambda a, s: 1 - a),
    "you take the root of sigma: it is a standard deviation already.": _mixed(lambda a, s: a, lambda a, s: s.sqrt()),
}  # fmt: skip


# ---------------------------------------------------------------- 2. one step undone


def _step_of_time(
    g: torch.Generator, *shape: int, names: str = "x_t x", **fixed: Tensor
) -> dict[str, Tensor]:
    """Two tensors and the levels of two times, s with less noise than t."""
    b = shape[0]
    alpha_s, sigma_s = between(g, 0.6, 1.4, b), between(g, 0.2, 0.6, b)
    alpha_s, sigma_s = fixed.get("alpha_s", alpha_s), fixed.get("sigma_s", sigma_s)
    ratio = fixed.get("ratio", between(g, 0.3, 0.8, b))
    sigma_t = ((ratio * sigma_s) ** 2 + between(g, 0.5, 1.2, b) ** 2).sqrt()
    given = {name: 1.5 * normal(g, *shape) for name in names.split()}
    levels = {"alpha_t": ratio * alpha_s, "sigma_t": fixed.get("sigma_t", sigma_t)}
    return given | levels | {"alpha_s": alpha_s, "sigma_s": sigma_s}


def _times(g: torch.Generator, names: str, images: tuple[int, ...]) -> list[Case]:
    """Cases that `posterior`, `elbo_term` and `ddim_step` share."""
    given = _step_of_time(g, *images, names=names)
    for name, x in given.items():  # example 1 has the levels of example 0, and 2 its tensors
        x[2 if name in names.split() else 1] = x[0]
    return [
        tame(f"images {images}", **given),
        tame("4 points in the plane", **_step_of_time(g, 4, 2, names=names)),
        hard("as many points as dimensions", **_step_of_time(g, 3, 3, names=names)),
        hard("a single point", **_step_of_time(g, 1, 3, names=names)),
        hard("alpha_t = 0, at t = 1", **_step_of_time(g, 2, 4, names=names, ratio=floats(0, 0))),
    ]


def _added(a_t: Tensor, s_t: Tensor, a_s: Tensor, s_s: Tensor) -> Tensor:
    """The variance of the noise that comes between s and t."""
    return s_t**2 - (a_t / a_s * s_s) ** 2


def _means(of_x_t: Callable[..., Tensor], of_x: Callable[..., Tensor]) -> Callable:
    """A mean with these two factors, made of the four levels, and nothing said of the standard deviation."""
    return lambda x_t, x, *at: (each(of_x_t(*at), x) * x_t + each(of_x(*at), x) * x, None)


def _of_x_t(a_t: Tensor, s_t: Tensor, a_s: Tensor, s_s: Tensor) -> Tensor:
    return a_t / a_s * (s_s / s_t) ** 2


def _of_x(a_t: Tensor, s_t: Tensor, a_s: Tensor, s_s: Tensor) -> Tensor:
    return a_s * _added(a_t, s_t, a_s, s_s) / s_t**2


def _spread(std: Callable[..., Tensor]) -> Callable:
    return lambda x_t, x, *levels: (None, std(*levels))


def _with_added(added: Callable[..., Tensor]) -> Callable:
    """Both results, with another variance of the noise between s and t."""
    return lambda x_t, x, a_t, s_t, a_s, s_s: (
        each(_of_x_t(a_t, s_t, a_s, s_s), x) * x_t
        + each(a_s * added(a_t, s_t, a_s, s_s) / s_t**2, x) * x,
        added(a_t, s_t, a_s, s_s).sqrt() * s_s / s_t,
    )


def _at_s_zero(g: torch.Generator, names: str) -> Case:
    ends = {"alpha_s": floats(1, 1, 1), "sigma_s": floats(0, 0, 0)}
    return hard("sigma_s = 0, at s = 0", **_step_of_time(g, 3, 2, names=names, **ends))


@step(
    lambda g: [
        *_times(g, "x_t x", (3, 2, 2, 3)),
        _at_s_zero(g, "x_t x"),
        extreme(
            "very little noise",
            **_step_of_time(g, 2, 3, sigma_s=floats(1e-4, 2e-4), sigma_t=floats(2e-4, 5e-4)),
        ),
    ],
    results=("the mean", "the standard deviation"),
    probe=factors(x_t=lambda x_t, *rest: x_t, x=lambda x_t, x, *rest: x),
    passes="x_t and x share the mean, and the standard deviation is one number an example.",
)
def posterior(
    x_t: Tensor, x: Tensor, alpha_t: Tensor, sigma_t: Tensor, alpha_s: Tensor, sigma_s: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Check `posterior(x_t, x, alpha_t, sigma_t, alpha_s, sigma_s)`: the Gaussian $q(x_s \mid x_t, x)$.

    x_t and x (B, ...), the levels (B,) -> its mean (B, ...), and its standard deviation (B,).

    Example:
        >>> from course import checks
        >>> checks.diffusion.posterior(lambda x_t, x, alpha_t, sigma_t, alpha_s, sigma_s: (x, sigma_s))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: in example ... the factor of `x_t` is ...
    """
    levels = alpha_t, sigma_t, alpha_s, sigma_s
    mean = each(_of_x_t(*levels), x) * x_t + each(_of_x(*levels), x) * x
    return mean, _added(*levels).sqrt() * sigma_s / sigma_t


posterior.wrong = {
    "sigma_ts^2 lacks alpha_ts: it is sigma_t^2 - alpha_ts^2 sigma_s^2, since the old noise shrinks with x.":
        _with_added(lambda a_t, s_t, a_s, s_s: s_t**2 - s_s**2),
    "alpha_ts is not squared in sigma_ts^2: noise that is multiplied by it has its variance multiplied by the square.":
        _with_added(lambda a_t, s_t, a_s, s_s: s_t**2 - a_t / a_s * s_s**2),
    "sigma_ts^2 is 1 - alpha_ts^2 only where alpha^2 + sigma^2 = 1: take sigma_t^2 - alpha_ts^2 sigma_s^2.":
        _with_added(lambda a_t, s_t, a_s, s_s: 1 - (a_t / a_s) ** 2),
    "x_t and x have changed places in the mean.": lambda x_t, x, *levels: (posterior.right(x, x_t, *levels)[0], None),
    "t and s have changed places in the mean: the levels come as alpha_t, sigma_t, alpha_s, sigma_s.":
        lambda x_t, x, a_t, s_t, a_s, s_s: (posterior.right(x_t, x, a_s, s_s, a_t, s_t)[0], None),
    "this is the mean of q(x_s | x): the mean of q(x_s | x_t, x) has heard of x_t as well.":
        _means(lambda *levels: 0 * levels[0], lambda a_t, s_t, a_s, s_s: a_s),
    "this is the mean of q(x_t | x_s), forward in time: wanted is that of x_s.":
        _means(lambda a_t, s_t, a_s, s_s: a_t / a_s, lambda *levels: 0 * levels[0]),
    "this is ddim's step, which puts the noise of x_t back in: q's mean leans less on x_t, and draws new noise.":
        _means(lambda a_t, s_t, a_s, s_s: s_s / s_t, lambda a_t, s_t, a_s, s_s: a_s - a_t * s_s / s_t),
    "sigma_s / sigma_t is not squared in the factor of x_t.":
        _means(lambda a_t, s_t, a_s, s_s: a_t / a_s * s_s / s_t, _of_x),
    "the factor of x has sigma_ts / sigma_t, not its square.":
        _means(_of_x_t, lambda *levels: levels[2] * _added(*levels).sqrt() / levels[1]),
    "your standard deviation is the variance: take its root.":
        _spread(lambda a_t, s_t, a_s, s_s: _added(a_t, s_t, a_s, s_s) * (s_s / s_t) ** 2),
    "your standard deviation is that of the noise between s and t: x_t and x together say more, so it is times "
    "sigma_s / sigma_t.": _spread(lambda *levels: _added(*levels).sqrt()),
    "your standard deviation is sigma_s, that of x_s before x_t is known.": _spread(lambda a_t, s_t, a_s, s_s: s_s),
    "sigma_t is missing in your standard deviation: divide by it.": _spread(lambda *at: _added(*at).sqrt() * at[3]),
    "your standard deviation has sigma_ts^2 where sigma_ts belongs.": _spread(lambda *at: _added(*at) * at[3] / at[1]),
}  # fmt: skip


# ---------------------------------------------------------------- 3. the best denoiser


def _to_denoise(g: torch.Generator, b: int, n: int, d: int) -> dict[str, Tensor]:
    return {
        "x_t": 1.5 * normal(g, b, d),
        "alpha": between(g, 0.5, 1.3, b),
        "sigma": between(g, 0.6, 1.6, b),
        "data": normal(g, n, d),
    }


def _far_and_near(g: torch.Generator) -> dict[str, Tensor]:
    """A point so far that all weights round to zero, one near by, and one as far from two of the data."""
    data = cat([floats(-1, 1)[:, None] * floats(1, 0), 3 + between(g, 0, 1, 2, 2)])
    x_t = cat([1e4 * floats(1, 1)[None], normal(g, 1, 2), floats(0, -500)[None]])
    return {
        "x_t": x_t,
        "alpha": between(g, 0.5, 1, 3),
        "sigma": floats(0.5, 0.8, 0.3),
        "data": data,
    }


def _hardly_noisy(g: torch.Generator) -> dict[str, Tensor]:
    data = arange(5)[:, None] + between(g, 0, 0.5, 5, 3)
    return {
        "x_t": data[[1, 3]] + 0.1,
        "alpha": floats(1, 1),
        "sigma": floats(1e-3, 1e-2),
        "data": data,
    }


def _squares(x_t: Tensor, alpha: Tensor, data: Tensor) -> Tensor:
    """(x_t - alpha x_i)^2 of each value, (B, N, D)."""
    return (x_t[:, None] - alpha[:, None, None] * data).square()


def _logits(x_t: Tensor, alpha: Tensor, sigma: Tensor, data: Tensor) -> Tensor:
    """log p(x_i | x_t) but for a constant, (B, N)."""
    return -_squares(x_t, alpha, data).sum(2) / (2 * sigma[:, None] ** 2)


@step(
    lambda g: [
        tame("3 points and 5 data", **_to_denoise(g, 3, 5, 2)),
        tame("2 points and 4 data in three dimensions", **_to_denoise(g, 2, 4, 3)),
        hard("a single datum", **_to_denoise(g, 2, 1, 3)),
        hard("a single point", **_to_denoise(g, 1, 3, 4)),
        hard(
            "a point half-way between two data, one of which is there twice",
            x_t=floats(0, 0)[None], alpha=floats(0.8), sigma=floats(0.7),
            data=floats(1, -1, 1)[:, None] * normal(g, 1, 2),
        ),
        hard("t = 1, where alpha = 0", **_to_denoise(g, 2, 6, 2) | {"alpha": floats(0, 0)}),
        extreme("points far from all data", **_far_and_near(g)),
        extreme("hardly any noise", **_hardly_noisy(g)),
    ],
    passes="a mean over the data, weighted by Bayes' rule, in log-space.",
)  # fmt: skip
def ideal_denoiser(x_t: Tensor, alpha: Tensor, sigma: Tensor, data: Tensor) -> Tensor:
    r"""Check `ideal_denoiser(x_t, alpha, sigma, data)`: $E[x \mid x_t]$, x one of `data`, each as probable.

    x_t (B, D), alpha and sigma (B,), data (N, D) -> (B, D).

    Example:
        >>> from course import checks
        >>> checks.diffusion.ideal_denoiser(lambda x_t, alpha, sigma, data: x_t / alpha[:, None])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this divides x_t by alpha and leaves all noise in: ...
    """
    return softmax(_logits(x_t, alpha, sigma, data), dim=1) @ data


def _weighted(logits: Callable[..., Tensor]) -> Callable:
    return lambda x_t, a, s, data: softmax(logits(x_t, a, s, data), dim=1) @ data


ideal_denoiser.wrong = {
    "this divides x_t by alpha and leaves all noise in: which of the data may it come from?":
        lambda x_t, a, s, data: x_t / a[:, None],
    "you return the nearest of the data: the mean is over all of them, each weighted by its probability.":
        lambda x_t, a, s, data: data[_logits(x_t, a, s, data).argmax(1)],
    "this is the mean of the data without weights: those near x_t are more probable.":
        lambda x_t, a, s, data: data.mean(0).expand_as(x_t),
    "the factor 1/2 in the exponent is missing: the square is divided by 2 sigma^2.":
        _weighted(lambda *given: 2 * _logits(*given)),
    "the square is multiplied by sigma^2: brackets around 2 sigma^2 in the denominator.":
        _weighted(lambda x_t, a, s, data: _logits(x_t, a, s, data) * s[:, None] ** 4),
    "you divide by 2 sigma: the square of the distance is divided by 2 sigma^2.":
        _weighted(lambda x_t, a, s, data: _logits(x_t, a, s, data) * s[:, None]),
    "sigma is missing: the more noise, the less a distance says.":
        _weighted(lambda x_t, a, s, data: _logits(x_t, a, s, data) * s[:, None] ** 2),
    "the distance is not squared.":
        _weighted(lambda x_t, a, s, data: -_squares(x_t, a, data).sum(2).sqrt() / (2 * s[:, None] ** 2)),
    "you take the mean of the squares over the D values: the log density of all of them is a sum.":
        _weighted(lambda x_t, a, s, data: _logits(x_t, a, s, data) / x_t.shape[1]),
    "alpha is missing in the distance: the noise lies around alpha x_i.":
        _weighted(lambda x_t, a, s, data: _logits(x_t, a**0, s, data)),
    "alpha belongs to the data in the distance, not to x_t.":
        _weighted(lambda x_t, a, s, data: _logits(a[:, None] * x_t, a**0, s, data)),
    "the exponent has the wrong sign: your weights are largest for the data that are furthest away.":
        _weighted(lambda *given: -_logits(*given)),
    "this is the mean of alpha x: wanted is that of x.":
        lambda x_t, a, s, data: a[:, None] * ideal_denoiser.right(x_t, a, s, data),
    "this is the noise, (x_t - alpha E[x | x_t]) / sigma: return the mean of x itself.":
        lambda x_t, a, s, data: (x_t - a[:, None] * ideal_denoiser.right(x_t, a, s, data)) / s[:, None],
    "your weights add up to one over the batch: for each x_t they add up to one over the data.":
        lambda *given: softmax(_logits(*given), dim=0) @ given[3],
    "your weights do not add up to one: divide by their sum over the data.":
        lambda *given: exp(_logits(*given)) @ given[3],
    "you return the probabilities of the data: take their mean, weighted by these.":
        lambda *given: softmax(_logits(*given), dim=1),
    "each value has weights of its own: one weight a datum, from the distance of all D values together.":
        lambda x_t, a, s, data:
            (softmax(-_squares(x_t, a, data) / (2 * s[:, None, None] ** 2), dim=1) * data).sum(1),
    "far from all data every weight rounds to zero, and 0/0 is NaN: keep the exponents, and take their `softmax`.":
        lambda *given: exp(_logits(*given)) @ given[3] / exp(_logits(*given)).sum(1, keepdim=True),
    "`log_softmax` gives logarithms: take their exp.": lambda *given: _logits(*given).log_softmax(1) @ given[3],
    "`softmax` takes the exp by itself: give it the exponents.": _weighted(lambda *given: exp(_logits(*given))),
    "x_t / alpha lies around x_i with the noise sigma / alpha: yours has the noise sigma.":
        _weighted(lambda x_t, a, s, data: _logits(x_t / a[:, None], a**0, s, data)),
    "you use the levels of the first point for all: each has its own.":
        _weighted(lambda x_t, a, s, data: _logits(x_t, a[:1], s[:1], data)),
}  # fmt: skip


# ---------------------------------------------------------------- 4. x, eps and v


def _said(g: torch.Generator, kind: str, *shape: int, **fixed: Tensor) -> dict[str, Any]:
    angle = between(g, 0.3, 1.2, shape[0])
    levels = {"alpha": angle.cos(), "sigma": angle.sin()} | fixed
    return {"kind": kind, "said": normal(g, *shape), "x_t": 1.5 * normal(g, *shape)} | levels


def _of_all(x: Tensor, eps: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x, eps, a * eps - s * x


@step(
    lambda g: [
        tame("v of 3 images", **_said(g, "v", 3, 2, 2, 3)),
        tame("eps of 4 points", **_said(g, "eps", 4, 3)),
        tame("x of 2 images", **_said(g, "x", 2, 1, 3, 2)),
        hard("v of a single point", **_said(g, "v", 1, 3)),
        hard("v of 3 points of 3 values", **_said(g, "v", 3, 3)),
        hard(
            "v at both ends of time, where sigma = 0 or alpha = 0",
            **_said(g, "v", 2, 4, alpha=floats(1, 0), sigma=floats(0, 1)),
        ),
        hard("eps where sigma = 0", **_said(g, "eps", 1, 2, alpha=floats(1), sigma=floats(0))),
        hard("x where alpha = 0", **_said(g, "x", 1, 2, alpha=floats(0), sigma=floats(1))),
        extreme("eps where alpha is tiny", **_said(g, "eps", 2, 2, alpha=floats(1e-5, 1e-4), sigma=floats(1, 1))),
        extreme("x where sigma is tiny", **_said(g, "x", 2, 2, alpha=floats(1, 1), sigma=floats(1e-5, 1e-4))),
    ],
    results=("x", "eps", "v"),
    probe=factors(said=lambda kind, said, *at: said, x_t=lambda kind, said, x_t, *at: x_t),
    passes="each of the three gives the two others, and v does so at both ends of time.",
)  # fmt: skip
def convert(
    kind: str, said: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Check `convert(kind, said, x_t, alpha, sigma)`: x, eps and v of what a network says for one of them.

    kind "x", "eps" or "v"; said and x_t (B, ...), alpha and sigma (B,) with $\alpha^2 + \sigma^2 = 1$ -> three
    tensors (B, ...).

    Example:
        >>> from course import checks
        >>> checks.diffusion.convert(lambda kind, said, x_t, alpha, sigma: (said, said, said))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you return `said` for all three: ...
    """
    a, s = each(alpha, x_t), each(sigma, x_t)
    if kind == "v":
        return _of_all(a * x_t - s * said, s * x_t + a * said, a, s)
    if kind == "x":
        return _of_all(said, (x_t - a * said) / s, a, s)
    return _of_all((x_t - s * said) / a, said, a, s)


def _but_for(kind: str, x_and_eps: Callable[..., Any]) -> Callable:
    """Wrong for one kind: its x and eps are made of said, x_t, alpha and sigma, and v follows."""

    def wrong(given: str, said: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> tuple:
        if given != kind:
            return convert.right(given, said, x_t, alpha, sigma)
        a, s = each(alpha, x_t), each(sigma, x_t)
        return _of_all(*x_and_eps(said, x_t, a, s), a, s)

    return wrong


def _other_v(v: Callable[..., Tensor]) -> Callable:
    def wrong(kind: str, said: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> tuple:
        x, eps, _ = convert.right(kind, said, x_t, alpha, sigma)
        return None, None, v(x, eps, each(alpha, x_t), each(sigma, x_t))

    return wrong


convert.wrong = {
    "your v is `said`, whatever `kind` says: v = alpha eps - sigma x.":
        lambda kind, said, x_t, alpha, sigma: (None, None, said),
    "you return `said` for all three: it is one of them, and with x_t it gives the others.":
        lambda kind, said, x_t, alpha, sigma: (said, said, said),
    "you take `said` for v, whatever `kind` says.":
        lambda kind, said, x_t, alpha, sigma: convert.right("v", said, x_t, alpha, sigma),
    "x of v has the wrong sign: x = alpha x_t - sigma v.":
        _but_for("v", lambda v, x_t, a, s: (a * x_t + s * v, s * x_t + a * v)),
    "eps of v has the wrong sign: eps = sigma x_t + alpha v.":
        _but_for("v", lambda v, x_t, a, s: (a * x_t - s * v, s * x_t - a * v)),
    "alpha and sigma have changed places where v is given: put v = alpha eps - sigma x into your x.":
        _but_for("v", lambda v, x_t, a, s: (s * x_t - a * v, a * x_t + s * v)),
    "x and eps have changed places where v is given.":
        _but_for("v", lambda v, x_t, a, s: (s * x_t + a * v, a * x_t - s * v)),
    "eps of v is divided by sigma, and 0/0 is NaN at sigma = 0: sigma x_t + alpha v needs no division.":
        _but_for("v", lambda v, x_t, a, s: (a * x_t - s * v, (x_t - a * (a * x_t - s * v)) / s)),
    "x of v is divided by alpha, and 0/0 is NaN at alpha = 0: alpha x_t - sigma v needs no division.":
        _but_for("v", lambda v, x_t, a, s: ((x_t - s * (s * x_t + a * v)) / a, s * x_t + a * v)),
    "eps of x is not divided by sigma: solve x_t = alpha x + sigma eps for it.":
        _but_for("x", lambda x, x_t, a, s: (x, x_t - a * x)),
    "eps of x is divided by sigma^2: that is minus the score. Divide by sigma.":
        _but_for("x", lambda x, x_t, a, s: (x, (x_t - a * x) / s**2)),
    "eps of x has the wrong sign.": _but_for("x", lambda x, x_t, a, s: (x, (a * x - x_t) / s)),
    "x of eps is not divided by alpha: solve x_t = alpha x + sigma eps for it.":
        _but_for("eps", lambda eps, x_t, a, s: (x_t - s * eps, eps)),
    "x of eps adds the noise: take it away.": _but_for("eps", lambda eps, x_t, a, s: ((x_t + s * eps) / a, eps)),
    "v has the wrong sign: v = alpha eps - sigma x.": _other_v(lambda x, eps, a, s: s * x - a * eps),
    "your v is x_t once more: v = alpha eps - sigma x.": _other_v(lambda x, eps, a, s: a * x + s * eps),
    "v has a plus: v = alpha eps - sigma x.": _other_v(lambda x, eps, a, s: a * eps + s * x),
    "alpha and sigma have changed places in v: v = alpha eps - sigma x.":
        _other_v(lambda x, eps, a, s: s * eps - a * x),
    "x and eps have changed places in v: v = alpha eps - sigma x.": _other_v(lambda x, eps, a, s: a * x - s * eps),
    "x of eps is divided by sigma: by alpha.": _but_for("eps", lambda eps, x_t, a, s: ((x_t - s * eps) / s, eps)),
    "eps of x is divided by alpha: by sigma.": _but_for("x", lambda x, x_t, a, s: (x, (x_t - a * x) / a)),
    'the kinds "x" and "eps" have changed places.':
        lambda kind, *rest: convert.right({"x": "eps", "eps": "x"}.get(kind, kind), *rest),
    'the kind "eps" is taken for "v": how do you spell its name?':
        _but_for("eps", lambda v, x_t, a, s: (a * x_t - s * v, s * x_t + a * v)),
    "v is taken for x and for eps: it is alpha eps - sigma x.":
        _but_for("v", lambda v, x_t, a, s: ((x_t - s * v) / a, (x_t - a * v) / s)),
}  # fmt: skip


# ---------------------------------------------------------------- 5. the loss


def _denoiser(g: torch.Generator, *shape: int) -> Answer:
    """A function of x_t (B, ...), alpha and sigma (B,), which are told apart, and a mean of its own for each value."""
    scale, shift = normal(g, *shape), normal(g, *shape)

    def denoiser(x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        for level in (alpha, sigma):
            if level.shape != x_t.shape[:1]:
                raise Wrong(
                    f"a denoiser is given a level of shape {tuple(level.shape)}: they are (B,), as you got them."
                )
        return tanh(scale * x_t) * each(alpha, x_t) + each(sigma, x_t) * shift

    return denoiser


def _to_train(g: torch.Generator, *shape: int) -> dict[str, Any]:
    given = {"denoiser": _denoiser(g, *shape[1:]), **_to_corrupt(g, *shape)}
    return given | {"weight": between(g, 0.3, 3.0, shape[0])}


def _error(
    denoiser: Answer, x: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor, *rest: Tensor
) -> Tensor:
    """The squared error of each value, (B, ...)."""
    return (x - denoiser(noisy.right(x, eps, alpha, sigma), alpha, sigma)).square()


def _per_example(error: Tensor) -> Tensor:
    return error.flatten(1).mean(1)


def _gradient_of_the_loss(answer: Answer, g: torch.Generator) -> str | None:
    given = _to_train(g, 5, 2, 3)
    plain, size = given["denoiser"], floats(0.7).requires_grad_()

    def learning(x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return size * plain(x_t, alpha, sigma)

    loss = call("denoising_loss", answer, Case("a denoiser that learns", given | {"denoiser": learning}))  # fmt: skip
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        return "no gradient reaches the denoiser: leave out `.item()`, `.detach()` and `torch.no_grad()`."
    got = grad(loss, size, allow_unused=True, materialize_grads=True)[0]
    wanted = grad(denoising_loss.right(learning, *list(given.values())[1:]), size)[0]
    if not same(100 * got, 100 * wanted):
        return "the loss is right, but the gradient that reaches the denoiser is not: is something detached?"
    return None


@step(
    lambda g: [
        tame("4 series of 4 places", **_to_train(g, 4, 3, 4)),
        tame("3 images", **_to_train(g, 3, 2, 2, 5)),
        tame("5 points in the plane", **_to_train(g, 5, 2)),
        hard("a single point", **_to_train(g, 1, 3)),
        hard("a weight of 0", **_to_train(g, 2, 3) | {"weight": floats(0, 1.5)}),
        hard("x_t without noise and x_t of noise alone",
             **_to_train(g, 2, 4) | {"alpha": floats(1, 0), "sigma": floats(0, 1)}),
    ],
    live=[_gradient_of_the_loss],
    passes="a weighted mean of squares, and the denoiser learns from it.",
)  # fmt: skip
def denoising_loss(
    denoiser: Answer, x: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor, weight: Tensor
) -> Tensor:
    r"""Check `denoising_loss(denoiser, x, eps, alpha, sigma, weight)`: the weighted squared error of a batch.

    `denoiser` maps x_t (B, ...), alpha and sigma (B,) to (B, ...); x and eps (B, ...), weight (B,) -> a number, the
    mean over the examples of weight times the mean square over the values.

    Example:
        >>> from course import checks
        >>> checks.diffusion.denoising_loss(
        ...     lambda denoiser, x, eps, alpha, sigma, weight: (x - denoiser(x + eps, alpha, sigma)).square().mean()
        ... )
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for 4 series of 4 places the result of `denoising_loss` is wrong: ...
    """
    return (weight * _per_example(_error(denoiser, x, eps, alpha, sigma))).mean()


denoising_loss.wrong = {
    "the denoiser is shown x itself: give it x_t.":
        lambda f, x, eps, a, s, w: (w * _per_example((x - f(x, a, s)).square())).mean(),
    "the denoiser is shown the noise alone: give it x_t.":
        lambda f, x, eps, a, s, w: (w * _per_example((x - f(eps, a, s)).square())).mean(),
    "the weight is missing.": lambda *given: _error(*given).mean(),
    "the weight runs along the last axis: average over the values first, and weigh what is left.":
        lambda *given: (given[-1] * _error(*given)).mean(),
    "the weight is averaged by itself: each example's error has its own weight.":
        lambda *given: given[-1].mean() * _error(*given).mean(),
    "you divide by the weight: multiply by it.": lambda *given: (_per_example(_error(*given)) / given[-1]).mean(),
    "you divide by the sum of the weights: divide by the number of examples.":
        lambda *given: (given[-1] * _per_example(_error(*given))).sum() / given[-1].sum(),
    "the error is not squared: this is its size.":
        lambda *given: (given[-1] * _per_example(_error(*given).sqrt())).mean(),
    "you take the root of the mean square: the loss is the mean square itself.":
        lambda *given: (given[-1] * _per_example(_error(*given)).sqrt()).mean(),
    "you sum over the values of an example: average over them.":
        lambda *given: (given[-1] * _error(*given).flatten(1).sum(1)).mean(),
    "you sum over the examples: average over them.": lambda *given: (given[-1] * _per_example(_error(*given))).sum(),
    "D counts all values of an example, not those along axis 1.":
        lambda *given: (given[-1] * _error(*given).flatten(1).sum(1)).mean() / given[1].shape[1],
    "D counts all values of an example, not those along the last axis.":
        lambda *given: (given[-1] * _error(*given).flatten(1).sum(1)).mean() / given[1].shape[-1],
    "the weight is squared with the error: square first.":
        lambda *given: (given[-1] ** 2 * _per_example(_error(*given))).mean(),
    "you average the errors of an example, and square the mean: square each error first.":
        lambda f, x, eps, a, s, w: (w * _per_example(x - f(noisy.right(x, eps, a, s), a, s)) ** 2).mean(),
    "your weight is SNR, whatever is given: multiply by `weight`.":
        lambda *given: ((given[3] / given[4]) ** 2 * _per_example(_error(*given))).mean(),
    "you return one number an example: average over them.": lambda *given: given[-1] * _per_example(_error(*given)),
    "the result is held against x_t: a denoiser is to find x.":
        lambda f, x, eps, a, s, w:
            (w * _per_example((noisy.right(x, eps, a, s) - f(noisy.right(x, eps, a, s), a, s)).square())).mean(),
    "the result is held against eps: a denoiser is to find x.":
        lambda f, x, eps, a, s, w: (w * _per_example((eps - f(noisy.right(x, eps, a, s), a, s)).square())).mean(),
    "the denoiser gets sigma and alpha in the wrong order: denoiser(x_t, alpha, sigma).":
        lambda f, x, eps, a, s, w: (w * _per_example((x - f(noisy.right(x, eps, a, s), s, a)).square())).mean(),
    "x and eps have changed places in x_t: alpha x + sigma eps.":
        lambda f, x, eps, a, s, w: (w * _per_example((x - f(noisy.right(eps, x, a, s), a, s)).square())).mean(),
}  # fmt: skip


# ---------------------------------------------------------------- 6. a term of the bound


def _square(x: Tensor, x_hat: Tensor) -> Tensor:
    return (x - x_hat).square().flatten(1).sum(1)


def _snr(alpha: Tensor, sigma: Tensor) -> Tensor:
    return (alpha / sigma) ** 2


def _square_or_weight(case: Case, got: Tensor, want: Tensor) -> str | None:
    """By what `_times` gives alike to examples 0, 1 and 2 of the images."""
    if not case.label.startswith("images") or torch.isclose(got, want).any():
        return None
    times = (got / want).tolist()
    if math.isclose(times[0], times[1], rel_tol=1e-3):
        return f"the square is right, but its weight is not: in example 0 it is {times[0]:.4g} times the right one."
    if math.isclose(times[0], times[2], rel_tol=1e-3):
        return "the weight is right, but what it multiplies is not: one sum of (x - x_hat)^2 an example."
    return None


@step(
    lambda g: [
        *_times(g, "x x_hat", (3, 2, 2, 3)),
        extreme("very little noise", **_near(g)),
    ],
    gradient="x_hat",
    probe=_square_or_weight,
    passes="the square of the whole error, weighted by what the signal-to-noise ratio gains.",
)
def elbo_term(
    x: Tensor, x_hat: Tensor, alpha_t: Tensor, sigma_t: Tensor, alpha_s: Tensor, sigma_s: Tensor
) -> Tensor:
    r"""Check `elbo_term(x, x_hat, alpha_t, sigma_t, alpha_s, sigma_s)`: what a step costs, in nats.

    $\frac12 (SNR(s) - SNR(t)) \|x - \hat x\|^2$, the KL of $q(x_s \mid x_t, x)$ to $q(x_s \mid x_t, \hat x)$. x and
    x_hat (B, ...), the levels (B,) -> (B,).

    Example:
        >>> from course import checks
        >>> checks.diffusion.elbo_term(
        ...     lambda x, x_hat, *levels: (x - x_hat).square().flatten(1).sum(1) / 2
        ... )
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the weight is missing: ...
    """
    return (_snr(alpha_s, sigma_s) - _snr(alpha_t, sigma_t)) / 2 * _square(x, x_hat)


def _near(g: torch.Generator) -> dict[str, Tensor]:
    given = _step_of_time(
        g, 2, 3, names="x x_hat", sigma_s=floats(1e-4, 2e-4), sigma_t=floats(2e-4, 5e-4)
    )
    return given | {"x_hat": given["x"] + 0.01 * (1 + given["x_hat"].abs())}


def _half(a_t: Tensor, s_t: Tensor, a_s: Tensor, s_s: Tensor) -> Tensor:
    return (_snr(a_s, s_s) - _snr(a_t, s_t)) / 2


def _weighed(weight: Callable[..., Tensor]) -> Callable:
    return lambda x, x_hat, *levels: weight(*levels) * _square(x, x_hat)


def _with_snr(snr: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    return _weighed(lambda a_t, s_t, a_s, s_s: (snr(a_s, s_s) - snr(a_t, s_t)) / 2)


elbo_term.wrong = {
    "the weight is missing: half of what the signal-to-noise ratio gains from t to s.":
        lambda x, x_hat, *levels: _square(x, x_hat) / 2,
    "the factor 1/2 is missing.": _weighed(lambda a_t, s_t, a_s, s_s: _snr(a_s, s_s) - _snr(a_t, s_t)),
    "s and t have changed places: at s, nearer to the data, the ratio is larger, and a KL is never negative.":
        _weighed(lambda a_t, s_t, a_s, s_s: (_snr(a_t, s_t) - _snr(a_s, s_s)) / 2),
    "SNR(t) is missing: only what the ratio gains from t to s counts.":
        _weighed(lambda a_t, s_t, a_s, s_s: _snr(a_s, s_s) / 2),
    "SNR(s) is missing: only what the ratio gains from t to s counts.":
        _weighed(lambda a_t, s_t, a_s, s_s: _snr(a_t, s_t) / 2),
    "the factor 1/2 reaches SNR(s) alone: brackets around the difference.":
        _weighed(lambda a_t, s_t, a_s, s_s: _snr(a_s, s_s) / 2 - _snr(a_t, s_t)),
    "each ratio is squared by itself, before the difference.":
        _weighed(lambda a_t, s_t, a_s, s_s: (a_s / s_s - a_t / s_t) ** 2 / 2),
    "the signal-to-noise ratio is alpha^2 / sigma^2: yours is not squared.": _with_snr(lambda a, s: a / s),
    "alpha is not squared in your signal-to-noise ratio.": _with_snr(lambda a, s: a / s**2),
    "sigma is not squared in your signal-to-noise ratio.": _with_snr(lambda a, s: a**2 / s),
    "alpha is missing in the signal-to-noise ratio.": _with_snr(lambda a, s: s**-2),
    "the signal-to-noise ratio is upside down: alpha^2 / sigma^2.": _with_snr(lambda a, s: (s / a) ** 2),
    "you take 1 - alpha^2 for sigma^2: that is given.": _with_snr(lambda a, s: a**2 / (1 - a**2)),
    "you take the logarithm of the ratios: the difference is of SNR.": _with_snr(lambda a, s: log(_snr(a, s))),
    "you average over the values: the KL of an example is the sum over all of them.":
        lambda x, x_hat, *levels: elbo_term.right(x, x_hat, *levels) / x[0].numel(),
    "you take the root of the sum of squares: the norm is squared.":
        lambda x, x_hat, *levels: _half(*levels) * _square(x, x_hat).sqrt(),
    "you add up the sizes of the errors: square each before the sum.":
        lambda x, x_hat, *levels: _half(*levels) * (x - x_hat).abs().flatten(1).sum(1),
    "you sum over the last axis alone: over all values of an example.":
        lambda x, x_hat, *levels: each(_half(*levels), x)[..., 0] * (x - x_hat).square().sum(-1),
    "you sum over the examples too: return one number for each.":
        lambda x, x_hat, *levels: elbo_term.right(x, x_hat, *levels).sum(),
}  # fmt: skip


# ---------------------------------------------------------------- 7. a step without new noise


@step(
    lambda g: [
        *_times(g, "x_t x_hat", (3, 2, 2, 3)),
        _at_s_zero(g, "x_t x_hat"),
        hard("s = t, which changes nothing", **_step_of_time(
            g, 2, 3, names="x_t x_hat", ratio=floats(1, 1), sigma_s=floats(0.6, 0.8), sigma_t=floats(0.6, 0.8))),
        extreme("an x_t that is far away for so little noise", **_step_of_time(
            g, 2, 3, names="x_t x_hat", sigma_s=floats(4e-6, 1e-5), sigma_t=floats(1e-5, 3e-5))),
    ],
    probe=factors(x_t=lambda x_t, *rest: x_t, x_hat=lambda x_t, x_hat, *rest: x_hat),
    passes="the noise that was found goes back in, as much of it as belongs to s.",
)  # fmt: skip
def ddim_step(
    x_t: Tensor, x_hat: Tensor, alpha_t: Tensor, sigma_t: Tensor, alpha_s: Tensor, sigma_s: Tensor
) -> Tensor:
    r"""Check `ddim_step(x_t, x_hat, alpha_t, sigma_t, alpha_s, sigma_s)`: $\alpha_s \hat x + \sigma_s \hat \epsilon$.

    x_t and x_hat (B, ...), the levels (B,) -> x_s (B, ...); $\hat \epsilon = (x_t - \alpha_t \hat x) / \sigma_t$.

    Example:
        >>> from course import checks
        >>> checks.diffusion.ddim_step(lambda x_t, x_hat, *levels: x_hat)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this goes to the end in one step: ...
    """
    eps = (x_t - each(alpha_t, x_t) * x_hat) / each(sigma_t, x_t)
    return each(alpha_s, x_t) * x_hat + each(sigma_s, x_t) * eps


def _moved(to: Callable[..., Tensor]) -> Callable:
    """Wrong with the levels shaped for x_t."""
    return lambda x_t, x_hat, *levels: to(x_t, x_hat, *(each(level, x_t) for level in levels))


ddim_step.wrong = {
    "this goes to the end in one step: at s some noise is left, alpha_s x_hat + sigma_s eps.":
        lambda x_t, x_hat, *levels: x_hat,
    "the noise is missing: add sigma_s eps.": _moved(lambda x_t, x, a_t, s_t, a_s, s_s: a_s * x),
    "t and s have changed places: the levels come as alpha_t, sigma_t, alpha_s, sigma_s.":
        _moved(lambda x_t, x, a_t, s_t, a_s, s_s: a_t * x + s_t * (x_t - a_s * x) / s_s),
    "the noise is not divided by sigma_t: eps = (x_t - alpha_t x_hat) / sigma_t.":
        _moved(lambda x_t, x, a_t, s_t, a_s, s_s: a_s * x + s_s * (x_t - a_t * x)),
    "alpha_t is missing in the noise: eps = (x_t - alpha_t x_hat) / sigma_t.":
        _moved(lambda x_t, x, a_t, s_t, a_s, s_s: a_s * x + s_s * (x_t - x) / s_t),
    "the noise is found with alpha_s: x_t is alpha_t x + sigma_t eps.":
        _moved(lambda x_t, x, a_t, s_t, a_s, s_s: a_s * x + s_s * (x_t - a_s * x) / s_t),
    "the noise keeps its size: at s it is sigma_s eps, with eps = (x_t - alpha_t x_hat) / sigma_t.":
        _moved(lambda x_t, x, a_t, s_t, a_s, s_s: a_s * x + x_t - a_t * x),
    "sigma_s is missing: at s the noise is sigma_s eps.":
        _moved(lambda x_t, x, a_t, s_t, a_s, s_s: a_s * x + (x_t - a_t * x) / s_t),
    "alpha_s is missing: at s the example is alpha_s x_hat.":
        _moved(lambda x_t, x, a_t, s_t, a_s, s_s: x + s_s * (x_t - a_t * x) / s_t),
    "you take the noise away: add it, sigma_s eps.":
        _moved(lambda x_t, x, a_t, s_t, a_s, s_s: a_s * x - s_s * (x_t - a_t * x) / s_t),
    "this is the mean of q(x_s | x_t, x_hat), ddpm's step without its new noise: ddim keeps all the noise it found.":
        _moved(lambda x_t, x, *levels: _of_x_t(*levels) * x_t + _of_x(*levels) * x),
    "x_t is only divided by alpha_t and multiplied by alpha_s: the noise must shrink to sigma_s.":
        _moved(lambda x_t, x, a_t, s_t, a_s, s_s: a_s / a_t * x_t),
    "you take x_hat for the noise: it is the guess of x.":
        _moved(lambda x_t, x, a_t, s_t, a_s, s_s: a_s * (x_t - s_t * x) / a_t + s_s * x),
}  # fmt: skip


# ---------------------------------------------------------------- 8. guidance


def _to_guide(g: torch.Generator, weight: float, *shape: int) -> dict[str, Any]:
    denoisers = {"told": _denoiser(g, *shape[1:]), "untold": _denoiser(g, *shape[1:])}
    x_t, _, alpha, sigma = _to_corrupt(g, *shape).values()
    return denoisers | {"weight": weight, "x_t": 2 * x_t, "alpha": alpha, "sigma": sigma}


@step(
    lambda g: [
        tame("3 images and w = 3", **_to_guide(g, 3.0, 3, 2, 2, 2)),
        tame("4 points and w = 1.5", **_to_guide(g, 1.5, 4, 2)),
        hard("w = 0, where the label does not count", **_to_guide(g, 0.0, 2, 3)),
        hard("w = 1, where only it counts", **_to_guide(g, 1.0, 3, 2)),
        hard("w = 1/2 and a single point", **_to_guide(g, 0.5, 1, 3)),
        hard("w = 7.5", **_to_guide(g, 7.5, 2, 4)),
        hard("an `untold` that returns x_t", **_to_guide(g, 2.0, 2, 3) | {"untold": lambda x_t, alpha, sigma: x_t}),
    ],
    probe=factors(told=lambda told, untold, w, *at: told(*at), untold=lambda told, untold, w, *at: untold(*at)),
    passes="from what is said without the label, w times the way to what is said with it.",
)  # fmt: skip
def guided(
    told: Answer, untold: Answer, weight: float, x_t: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    r"""Check `guided(told, untold, weight, x_t, alpha, sigma)`: guidance, with a denoiser that knows the label.

    `told` and `untold` map x_t (B, ...), alpha and sigma (B,) to (B, ...); weight is a number w -> $\hat x + w (\hat
    x_y - \hat x)$, (B, ...).

    Example:
        >>> from course import checks
        >>> checks.diffusion.guided(
        ...     lambda told, untold, weight, x_t, alpha, sigma: weight * told(x_t, alpha, sigma)
        ... )
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: `untold` is missing, ...
    """
    without = untold(x_t, alpha, sigma)
    return without + weight * (told(x_t, alpha, sigma) - without)


def _both(mix: Callable[..., Tensor]) -> Callable:
    """From what is said with the label, without it, and w."""
    return lambda told, untold, w, *at: mix(told(*at), untold(*at), w)


guided.wrong = {
    "`untold` is missing, or cancels: go from there, w times (told - untold).": _both(lambda a, b, w: w * a),
    "`told` and `untold` have changed places: w = 0 must forget the label.": _both(lambda a, b, w: a + w * (b - a)),
    "here w = 1 is the denoiser with the label; yours is that at w = 0, as Ho & Salimans count.":
        _both(lambda a, b, w: a + w * (a - b)),
    "the difference has the wrong sign: the way leads from `untold` to `told`.": _both(lambda a, b, w: b + w * (b - a)),
    "you add all that `told` says: add the difference, told - untold.": _both(lambda a, b, w: b + w * a),
    "this is the difference alone: begin at what `untold` says.": _both(lambda a, b, w: w * (a - b)),
    "the weight is missing: this is what `told` says.": _both(lambda a, b, w: a),
    "the label is missing: this is what `untold` says.": _both(lambda a, b, w: b),
    "you add both: w told + (1 - w) untold, and 1 - w is negative for w above 1.":
        _both(lambda a, b, w: w * a + abs(1 - w) * b),
    "you stop at `told` or before: with w above 1 guidance goes beyond it.":
        _both(lambda a, b, w: b + min(w, 1.0) * (a - b)),
    "your result is cut off at -1 and 1: these values have no bounds.":
        _both(lambda a, b, w: (b + w * (a - b)).clamp(-1, 1)),
    "the denoisers get sigma and alpha in the wrong order: told(x_t, alpha, sigma).":
        lambda told, untold, w, x_t, alpha, sigma: guided.right(told, untold, w, x_t, sigma, alpha),
}  # fmt: skip


# ---------------------------------------------------------------- 9. the score of a mixture


def _mixture(g: torch.Generator, b: int, n: int, d: int) -> dict[str, Tensor]:
    share = between(g, 0.3, 1.5, n)
    return {
        "x_t": 1.5 * normal(g, b, d),
        "alpha": between(g, 0.5, 1.3, b),
        "sigma": between(g, 0.4, 1.2, b),
        "means": 1.5 * normal(g, n, d),
        "stds": between(g, 0.4, 1.6, n),
        "weights": share / share.sum(),
    }


def _far_mixture(g: torch.Generator) -> dict[str, Tensor]:
    given = _mixture(g, 3, 3, 2)
    x_t = cat([1000 * floats(1, 2)[None], normal(g, 1, 2), floats(-700, 300)[None]])
    return given | {"x_t": x_t, "stds": floats(0.3, 0.6, 0.2), "sigma": floats(0.5, 0.7, 0.2)}


def _variance(alpha: Tensor, sigma: Tensor, stds: Tensor) -> Tensor:
    """Of each component at each level, (B, N)."""
    return (alpha[:, None] * stds) ** 2 + sigma[:, None] ** 2


def _joint(x_t: Tensor, alpha: Tensor, means: Tensor, v: Tensor, weights: Tensor) -> Tensor:
    """log w_i N(x_t; alpha mu_i, v_i), (B, N)."""
    square = _squares(x_t, alpha, means).sum(2)
    return log(weights) - square / (2 * v) - x_t.shape[1] / 2 * (log(v) + LOG_2PI)


def _pulls(x_t: Tensor, alpha: Tensor, means: Tensor, v: Tensor) -> Tensor:
    """The score of each component by itself, (B, N, D)."""
    return (alpha[:, None, None] * means - x_t[:, None]) / v[..., None]


def _log_p_and_score(
    x_t: Tensor, alpha: Tensor, means: Tensor, v: Tensor, weights: Tensor, more: Any = 0
) -> tuple[Tensor, Tensor]:
    joint = _joint(x_t, alpha, means, v, weights) + more
    score = (softmax(joint, dim=1)[..., None] * _pulls(x_t, alpha, means, v)).sum(1)
    return logsumexp(joint, dim=1), score


@step(
    lambda g: [
        tame("3 points and 4 Gaussians", **_mixture(g, 3, 4, 2)),
        tame("4 points and 2 Gaussians on the line", **_mixture(g, 4, 2, 1)),
        hard("a single Gaussian", **_mixture(g, 2, 1, 3)),
        hard("a single point", **_mixture(g, 1, 3, 4)),
        hard("as many points as Gaussians and dimensions", **_mixture(g, 3, 3, 3)),
        hard("t = 1, where alpha = 0", **_mixture(g, 2, 3, 2) | {"alpha": floats(0, 0), "sigma": floats(1, 1)}),
        hard("t = 0, where sigma = 0", **_mixture(g, 2, 3, 2) | {"alpha": floats(1, 1), "sigma": floats(0, 0)}),
        hard("components without width", **_mixture(g, 3, 4, 2) | {"stds": floats(0, 0, 0, 0)}),
        extreme("points far from all of them", **_far_mixture(g)),
    ],
    results=("log p", "the score"),
    gradient="x_t",
    passes="exact at every noise level, in log-space, and what follows can differentiate both.",
)  # fmt: skip
def noisy_mixture(
    x_t: Tensor, alpha: Tensor, sigma: Tensor, means: Tensor, stds: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Check `noisy_mixture(x_t, alpha, sigma, means, stds, weights)`: $\log p_t(x_t)$, and its gradient by x_t.

    x is drawn from $\sum_i w_i N(\mu_i, s_i^2 I)$. x_t (B, D), alpha and sigma (B,), means (N, D), stds and weights
    (N,) -> (B,) and (B, D).

    Example:
        >>> from course import checks
        >>> checks.diffusion.noisy_mixture(
        ...     lambda x_t, alpha, sigma, means, stds, weights: (-x_t.square().sum(1) / 2, -x_t)
        ... )
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for 3 points and 4 Gaussians log p of `noisy_mixture` is wrong: ...
    """
    return _log_p_and_score(x_t, alpha, means, _variance(alpha, sigma, stds), weights)


def _with_variance(variance: Callable[..., Tensor]) -> Callable:
    """Both results, with another variance of the components at the noise level."""
    return lambda x_t, a, s, means, stds, w: _log_p_and_score(
        x_t, a, means, variance(a[:, None], s[:, None], stds), w
    )


def _with_more(more: Callable[..., Tensor]) -> Callable:
    """Both results, with a term too many in the log density of each component, of v, D and the squares."""

    def wrong(x_t: Tensor, a: Tensor, s: Tensor, means: Tensor, stds: Tensor, w: Tensor) -> tuple:
        v, square = _variance(a, s, stds), _squares(x_t, a, means).sum(2)
        return _log_p_and_score(x_t, a, means, v, w, more(v, x_t.shape[1], square))

    return wrong


def _parts(function: Callable[..., tuple]) -> Callable:
    """From log w_i N(x_t; ...) of each component, their scores, the weights and v."""

    def wrong(x_t: Tensor, a: Tensor, s: Tensor, means: Tensor, stds: Tensor, w: Tensor) -> tuple:
        v = _variance(a, s, stds)
        return function(_joint(x_t, a, means, v, w), _pulls(x_t, a, means, v), w, v)

    return wrong


noisy_mixture.wrong = {
    "the noise is missing: at level t the variance of a component is alpha^2 s^2 + sigma^2.":
        _with_variance(lambda a, s, std: (a * std) ** 2),
    "this is the mixture of the data: at level t the means are alpha mu, the variances alpha^2 s^2 + sigma^2.":
        lambda x_t, a, s, *rest: noisy_mixture.right(x_t, a**0, 0 * s, *rest),
    "alpha is missing in the means: a component lies around alpha mu.":
        lambda x_t, a, s, means, stds, w: _log_p_and_score(x_t, a**0, means, _variance(a, s, stds), w),
    "alpha is missing in the variance: x has s^2, alpha x has alpha^2 s^2.":
        _with_variance(lambda a, s, std: a**0 * std**2 + s**2),
    "the width of the components is missing: the variance is alpha^2 s^2 + sigma^2.":
        _with_variance(lambda a, s, std: 0 * std + s**2),
    "you take the stds for variances: square them.": _with_variance(lambda a, s, std: a**2 * std + s**2),
    "your variance is the standard deviation, the root of alpha^2 s^2 + sigma^2: leave out the root.":
        _with_variance(lambda a, s, std: ((a * std) ** 2 + s**2).sqrt()),
    "log p lacks the constant: each of the D values pays log(2 pi) / 2.":
        lambda x_t, *rest: (noisy_mixture.right(x_t, *rest)[0] + x_t.shape[1] * LOG_2PI / 2, None),
    "the constant log(2 pi) / 2 is counted once: each of the D values pays it.":
        lambda x_t, *rest: (noisy_mixture.right(x_t, *rest)[0] + (x_t.shape[1] - 1) * LOG_2PI / 2, None),
    "log v / 2 is counted once: each of the D values pays it.":
        _with_more(lambda v, d, square: (d - 1) / 2 * log(v)),
    "log v / 2 is missing: a wide component is lower, also in its share of the score.":
        _with_more(lambda v, d, square: d / 2 * log(v)),
    "the factor 1/2 before the square is missing: (x_t - alpha mu)^2 / (2 v).":
        _with_more(lambda v, d, square: -square / (2 * v)),
    "the weights of the components are missing: each density is multiplied by w_i.":
        lambda *given: noisy_mixture.right(*given[:-1], given[-1] ** 0),
    "every component weighs 1/N: they have weights of their own.":
        lambda *given: noisy_mixture.right(*given[:-1], given[-1] ** 0 / len(given[-1])),
    "you multiply logarithms by the weights: log p is the logarithm of a sum of densities.":
        _parts(lambda joint, pulls, w, v: ((w * (joint - log(w))).sum(1), None)),
    "you keep the likeliest component alone: log p adds up all of them, with `logsumexp`.":
        _parts(lambda joint, pulls, w, v: (joint.amax(1), None)),
    "your score takes the likeliest component alone: each counts with its probability given x_t.":
        _parts(lambda joint, pulls, w, v: (None, pulls[arange(len(pulls)), joint.argmax(1)])),
    "your score weighs the components by w_i: weigh them by their probability given x_t, a `softmax`.":
        _parts(lambda joint, pulls, w, v: (None, (w[:, None] * pulls).sum(1))),
    "this is the gradient of p, not of log p: divide by p, which a `softmax` does.":
        _parts(lambda joint, pulls, w, v: (None, (joint.exp()[..., None] * pulls).sum(1))),
    "your score is not divided by the variance: (alpha mu - x_t) / v.":
        _parts(lambda joint, pulls, w, v: (None, (joint.softmax(1)[..., None] * pulls * v[..., None]).sum(1))),
    "your variance has alpha, not its square.": _with_variance(lambda a, s, std: a * std**2 + s**2),
    "you square the sum of two: square each, and add.": _with_variance(lambda a, s, std: (a * std + s) ** 2),
    "the weights stand where their logarithms belong.": lambda *given: noisy_mixture.right(*given[:-1], exp(given[-1])),
    "the normalising constant is missing: each of the D values pays log(2 pi v) / 2, also in the shares.":
        _with_more(lambda v, d, square: d / 2 * (log(v) + LOG_2PI)),
    "log(2 pi v) / 2 is counted once: each of the D values pays it.":
        _with_more(lambda v, d, square: (d - 1) / 2 * (log(v) + LOG_2PI)),
    "the factor 1/2 before log(2 pi v) is missing.": _with_more(lambda v, d, square: -d / 2 * (log(v) + LOG_2PI)),
    "the square is divided by v^2: v is a variance.": _with_more(lambda v, d, square: square / (2 * v) * (1 - 1 / v)),
    "the square is multiplied by v: brackets around 2 v.": _with_more(lambda v, d, square: square / 2 * (1 / v - v)),
    "you add up logarithms: log p is a `logsumexp`.": _parts(lambda joint, pulls, w, v: (joint.sum(1), None)),
    "your score is divided by the root of the variance: (alpha mu - x_t) / v.":
        _parts(lambda joint, pulls, w, v: (None, (joint.softmax(1)[..., None] * pulls * v.sqrt()[..., None]).sum(1))),
    "your score adds up all components: each counts with its probability given x_t, a `softmax`.":
        _parts(lambda joint, pulls, w, v: (None, pulls.sum(1))),
    "your shares add up to one over the batch: for each x_t they add up to one over the components.":
        _parts(lambda joint, pulls, w, v: (None, (joint.softmax(0)[..., None] * pulls).sum(1))),
}  # fmt: skip


# ---------------------------------------------------------------- 10. a likelihood along the way


def _field(g: torch.Generator) -> Answer:
    """A velocity on the line, of x (n,) and of a time."""
    a, b, c = (float(x) for x in between(g, 0.5, 1.5, 3))

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return a * tanh(b * x + t) - 0.3 * x + c * t

    return velocity


def _to_follow(g: torch.Generator, n: int, times: Tensor) -> dict[str, Any]:
    return {"velocity": _field(g), "x": 1.5 * normal(g, n), "times": times}


def _uneven(g: torch.Generator, k: int) -> Tensor:
    return between(g, 0.05, 0.4, k + 1).cumsum(0)


@step(
    lambda g: [
        tame("4 points and 5 uneven steps", **_to_follow(g, 4, _uneven(g, 5))),
        tame("3 points and 7 uneven steps", **_to_follow(g, 3, _uneven(g, 7))),
        hard("a u that is alike for all x", **_to_follow(g, 3, _uneven(g, 3)) | {"velocity": lambda x, t: 0 * x + t}),
        hard("a single step", **_to_follow(g, 3, floats(0.2, 0.9))),
        hard("a single point and even steps", **_to_follow(g, 1, linspace(0, 1, 5).to(floats(0)))),
        hard("times that fall", **_to_follow(g, 5, _uneven(g, 3).flip(0))),
        hard("a line that shrinks", **_to_follow(g, 4, _uneven(g, 4)) | {"velocity": lambda x, t: -2 * x}),
        extreme("points far away", **_to_follow(g, 3, _uneven(g, 4)) | {"x": 500 + 100 * normal(g, 3)}),
    ],
    passes="Euler's steps, the density at their end, and the derivative of u along the way.",
)  # fmt: skip
def flow_log_prob(velocity: Answer, x: Tensor, times: Tensor) -> Tensor:
    r"""Check `flow_log_prob(velocity, x, times)`: $\log p(x)$ by an ordinary differential equation, in Euler's steps.

    `velocity` maps x (n,) and a time to dx/dt (n,), each by itself; x (n,), times (K + 1,) -> (n,). At the last time
    the density is N(0, 1).

    Example:
        >>> from course import checks
        >>> checks.diffusion.flow_log_prob(lambda velocity, x, times: -x.square() / 2)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for 4 points and 5 uneven steps the result of `flow_log_prob` is wrong: ...
    """
    return _total(velocity, x, times[:-1], times.diff())


def _log_normal(z: Tensor) -> Tensor:
    return -z.square() / 2 - LOG_2PI / 2


def _slope(velocity: Answer, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    v = velocity(x, t)
    return v.detach(), grad(v.sum(), x)[0]


def _total(
    velocity: Answer,
    x: Tensor,
    at: Tensor,
    lengths: Tensor,
    move: Callable[..., Tensor] = lambda x, h, v: x + h * v,
    add: Callable[..., Tensor] = lambda h, slope: h * slope,
    density: Callable[..., Tensor] = lambda end, start: _log_normal(end),
) -> Tensor:
    """The slopes asked for at these times, for steps of these lengths; what x becomes, and what a step adds."""
    start, integral = x, 0 * x
    for t, h in zip(at, lengths, strict=True):
        v, slope = _slope(velocity, x, t)
        x, integral = move(x, h, v), integral + add(h, slope)
    return density(x, start) + integral


def _other(**change: Callable[..., Tensor]) -> Callable:
    return lambda velocity, x, times: _total(velocity, x, times[:-1], times.diff(), **change)


def _heun(velocity: Answer, x: Tensor, times: Tensor, after: bool = False) -> Tensor:
    """Heun's steps, or Euler's with the derivative where the step has led, `after`."""
    integral = 0 * x
    for t, s in zip(times[:-1], times[1:], strict=True):
        v, slope = _slope(velocity, x, t)
        moved = x + (s - t) * v
        v_there, slope_there = _slope(velocity, moved, t if after else s)
        x = moved if after else x + (s - t) * (v + v_there) / 2
        integral = integral + (s - t) * (slope_there if after else (slope + slope_there) / 2)
    return _log_normal(x) + integral


def _timed(at_and_lengths: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Callable:
    return lambda velocity, x, times: _total(velocity, x, *at_and_lengths(times))


flow_log_prob.wrong = {
    "the derivative of u is subtracted: log p(x) is log N at the end plus the integral.":
        _other(add=lambda h, slope: -h * slope),
    "the integral is missing: add h du/dx in each step, for where the flow squeezes, the density changes.":
        _other(add=lambda h, slope: 0 * slope),
    "the derivative of u is not multiplied by the length of the step.": _other(add=lambda h, slope: slope),
    "this is the exact change of Euler's map, log |1 + h du/dx|: asked is its first term, h du/dx.":
        _other(add=lambda h, slope: log((1 + h * slope).abs())),
    "the derivatives of all points are added up: each point has its own.":
        _other(add=lambda h, slope: h * slope.sum().expand_as(slope)),
    "the density at the end is missing: add log N(x(1); 0, 1).": _other(density=lambda end, start: 0 * end),
    "you take the density of N(0, 1) at x itself: take it where the way ends.":
        _other(density=lambda end, start: _log_normal(start)),
    "the constant of the density at the end is missing: - log(2 pi) / 2.":
        _other(density=lambda end, start: -end.square() / 2),
    "x does not move: it becomes x + h u.": _other(move=lambda x, h, v: x),
    "x moves by u, not by h u.": _other(move=lambda x, h, v: x + v),
    "you begin at the last time: x is where the flow is at times[0].":
        lambda velocity, x, times: flow_log_prob.right(velocity, x, times.flip(0)),
    "each step asks for u where it ends: Euler's asks where it begins.": _timed(lambda t: (t[1:], t.diff())),
    "each step asks for u at its middle: Euler's where it begins.": _timed(lambda t: ((t[:-1] + t[1:]) / 2, t.diff())),
    "you ask for u at h: ask at the time where the step begins.": _timed(lambda t: (t.diff(), t.diff())),
    "h has the wrong sign: it is the next time minus this one.": _timed(lambda t: (t[:-1], -t.diff())),
    "1/K is the length of even steps from 0 to 1: h is the next time minus this one.":
        _timed(lambda t: (t[:-1], 0 * t[1:] + 1 / (len(t) - 1))),
    "the last step is missing: K + 1 times make K steps.":
        lambda velocity, x, times: flow_log_prob.right(velocity, x, times[:-1]),
    "the derivative is taken after x has moved: take it where u is.":
        lambda velocity, x, times: _heun(velocity, x, times, after=True),
    "these are Heun's steps, and better ones: here Euler's are asked, one slope a step.": _heun,
    "all steps have the same length: each has its own, the next time minus this one.":
        _timed(lambda t: (t[:-1], t.diff() * 0 + t.diff().mean())),
    "you differentiate the mean of u, which is too small n times: its sum.":
        _other(add=lambda h, slope: h * slope / len(slope)),
    "you add h u to the integral: add h du/dx.":
        _other(add=lambda h, slope: 0 * slope, density=lambda end, start: _log_normal(end) + end - start),
    "only the last step is in your integral: add up all of them.": lambda velocity, x, times: (
        flow_log_prob.right(velocity, x, times) - _other(density=lambda end, start: 0 * end)(velocity, x, times[:-1])),
    "the first step is missing: K + 1 times make K steps.":
        lambda velocity, x, times: flow_log_prob.right(velocity, x, times[1:]),
    "x moves against u: it becomes x + h u.": _other(move=lambda x, h, v: x - h * v),
    "the half is missing in log N: - x^2 / 2.": _other(density=lambda end, start: -end.square() - LOG_2PI / 2),
    "you add the density at the end: its logarithm.": _other(density=lambda end, start: exp(_log_normal(end))),
}  # fmt: skip
