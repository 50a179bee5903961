"""What a decoder says about the values of an image: a distribution over their levels, for each likelihood."""

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, Normal


class Pixels(Protocol):
    """A distribution of one value of an image, given P parameters that a decoder returned for it.

    Shapes:
        parameters (..., P, C, H, W), x (..., C, H, W) in [0, 1] -> (..., C, H, W)
    """

    per_value: int  # P

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor: ...  # of each value, in nats

    def distribution(self, parameters: Tensor) -> Distribution: ...  # the same, as an object

    def draw(self, parameters: Tensor) -> Tensor: ...  # an image on the grid of levels

    def mean(self, parameters: Tensor) -> Tensor: ...  # the mean image


class BernoulliPixels:
    r"""Black or white: $p(x = 1) = 1 / (1 + e^{-l})$, and l is what the decoder returns.

    The distribution is over the values of images, 0 and 1. Grey values have no probability here:
    what some codes compute for them, the binary cross-entropy, is no log-likelihood.

    Example:
        >>> BernoulliPixels(levels=2).log_prob(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1))
        tensor([[[-0.6931]]])
    """

    per_value = 1

    def __init__(self, levels: int):
        if levels != 2:
            raise ValueError(
                f"a Bernoulli likelihood is for binary images, not for levels={levels}: binarise them "
                '(genlib.data.binarise), or take likelihood="categorical" or "gaussian"'
            )

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        logits = parameters.squeeze(-4)
        return x * logits - _log_one_plus_exp(logits)

    def distribution(self, parameters: Tensor) -> Bernoulli:
        return Bernoulli(logits=parameters.squeeze(-4), validate_args=False)

    def draw(self, parameters: Tensor) -> Tensor:
        return self.distribution(parameters).sample()

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.squeeze(-4).sigmoid()


class CategoricalPixels:
    """One of K levels, by a softmax over the K numbers that the decoder returns for a value.

    The distribution is over levels 0 .. K - 1; an image has level / (K - 1).

    Example:
        >>> CategoricalPixels(levels=4).mean(torch.zeros(4, 1, 1, 1))
        tensor([[[0.5000]]])
    """

    def __init__(self, levels: int):
        self.per_value = levels

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        log_p = parameters.log_softmax(dim=-4)
        level = (x * (self.per_value - 1)).round().long().unsqueeze(-4)
        batch = torch.broadcast_shapes(log_p.shape[:-4], level.shape[:-4])
        log_p, level = (t.expand(*batch, *t.shape[-4:]) for t in (log_p, level))
        return log_p.gather(-4, level).squeeze(-4)

    def distribution(self, parameters: Tensor) -> Categorical:
        return Categorical(logits=parameters.movedim(-4, -1), validate_args=False)

    def draw(self, parameters: Tensor) -> Tensor:
        return self.distribution(parameters).sample().to(parameters.dtype) / (self.per_value - 1)

    def mean(self, parameters: Tensor) -> Tensor:
        level = torch.arange(self.per_value, device=parameters.device, dtype=parameters.dtype)
        return (parameters.softmax(dim=-4) * level.view(-1, 1, 1, 1)).sum(dim=-4) / level.max()


class GaussianPixels:
    r"""A normal distribution, cut into one cell for each level: the discretised Gaussian.

    A normal number v is drawn, and the image has the level nearest to v. With levels
    $\delta = 1 / (K - 1)$ apart, the probability of a level is the mass of its cell,

    $$P(x) = \Phi \left( \frac{x + \delta/2 - \mu}{\sigma} \right)
    - \Phi \left( \frac{x - \delta/2 - \mu}{\sigma} \right),$$

    where the cells of black and white are open: all of v below $\delta/2$ is black, all above
    $1 - \delta/2$ white. So the K probabilities sum to one for every mean, also for one beyond black
    or white, and that is how a bell curve says "surely black". With the logistic distribution in
    place of the normal one this is the likelihood of PixelCNN++ (Salimans et al., 2017,
    arXiv:1701.05517, section 2.1); with the normal one, that of the last step of a diffusion model
    (Ho et al., 2020, arXiv:2006.11239, section 3.3).

    `log_prob` subtracts in log-space, on the side of the tail, so that it is exact to single
    precision at 20 standard deviations too, where the probability itself is not a number any more.
    It needs a cell to be wider than $10^{-5}$ standard deviations. The distribution is over levels
    0 .. K - 1, as for `CategoricalPixels`.

    Args:
        levels: number K of levels of the images.
        scale: standard deviation, 1 being black to white; None for one that the decoder returns for
            each value, as a logarithm, after all means.

    Example:
        >>> pixels = GaussianPixels(levels=3, scale=0.25)  # black ends one deviation above 0
        >>> pixels.distribution(torch.zeros(1, 1, 1, 1)).probs
        tensor([[[[0.8413, 0.1573, 0.0013]]]])
    """

    def __init__(self, levels: int, scale: float | None = None):
        if scale is not None and not 0 < scale < math.inf:
            raise ValueError(f"scale must be a positive number, or None to learn it, not {scale}")
        self.per_value = 2 if scale is None else 1
        self.levels = levels
        self.scale = scale

    def _mean_and_log_std(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        if self.scale is not None:
            mean = parameters.squeeze(-4)
            return mean, torch.full_like(mean, math.log(self.scale))
        mean, log_std = parameters.unbind(dim=-4)
        return mean, log_std

    def _normal(self, parameters: Tensor) -> Normal:
        mean, log_std = self._mean_and_log_std(parameters)
        return Normal(mean, log_std.exp(), validate_args=False)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        return self._log_mass(*self._mean_and_log_std(parameters), x)

    def _log_mass(self, mean: Tensor, log_std: Tensor, x: Tensor) -> Tensor:
        half, sharpness = 0.5 / (self.levels - 1), (-log_std).exp()
        low, high = (x - half - mean) * sharpness, (x + half - mean) * sharpness
        black, white = x < half, x > 1 - half
        # the upper tail is the lower one of -v: there the cdf is small and its logarithm precise
        mirrored = white | ~black & (low + high > 0)
        low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
        log_below = torch.special.log_ndtr(high)
        log_ratio = torch.special.log_ndtr(low) - log_below
        # an open cell has nothing on its other side; filled in here, its gradient is 0 and not NaN
        log_ratio = log_ratio.masked_fill(black | white, -math.inf)
        return log_below + (-log_ratio.expm1()).log()

    def distribution(self, parameters: Tensor) -> Distribution:
        mean, log_std = (t[..., None] for t in self._mean_and_log_std(parameters))
        grid = torch.linspace(0, 1, self.levels, dtype=mean.dtype, device=mean.device)
        return Categorical(logits=self._log_mass(mean, log_std, grid), validate_args=False)

    def draw(self, parameters: Tensor) -> Tensor:
        v = self._normal(parameters).sample().clamp(0, 1)
        return (v * (self.levels - 1)).round() / (self.levels - 1)

    def mean(self, parameters: Tensor) -> Tensor:
        # a level counts the K - 1 borders between cells that lie below v
        mean, log_std = (t[..., None] for t in self._mean_and_log_std(parameters))
        border = torch.arange(self.levels - 1, dtype=mean.dtype, device=mean.device) + 0.5
        above = (mean - border / (self.levels - 1)) * (-log_std).exp()
        return torch.special.ndtr(above).mean(dim=-1)


class DequantisedGaussianPixels(GaussianPixels):
    r"""A bound on `GaussianPixels`: a normal density at levels with noise.

    A density of the levels themselves could grow without limit, by narrow peaks at each of them, and
    is no probability. So uniform noise fills the gaps: $v = x + (u - \frac12) \delta$, where
    $\delta = 1 / (K - 1)$ is the distance between levels and $u$ is uniform on [0, 1]. The cells of
    the K levels touch and do not overlap. The mass of a cell is

    $$\int_{x - \delta/2}^{x + \delta/2} p(v) \, dv = \delta \, E_u [p(v)],$$

    and for D values, since the logarithm of a mean is at least the mean of the logarithm,

    $$\log P(x) \ge E_u [\log p(v)] + D \log \delta = E_u [\log p(v)] - D \log (K - 1).$$

    `log_prob` returns $\log p(v) + \log \delta$ with noise drawn anew in each call, so the ELBO is a
    bound on the probability of the levels (Theis et al., 2016, arXiv:1511.01844, section 3.1). In an
    importance-sampled bound every code comes with noise of its own; then the logarithm stands outside
    the mean over u as well, and the bound tends to the mass of the cells.

    The bound has two costs. Jensen's inequality is one: it is large where sigma is smaller than a
    cell. And all cells are closed, those of black and white too, so what v puts beyond them is
    thrown away: with 17 levels, mean -0.3 and sigma 0.15 the cells hold 0.04 in all. Images are drawn
    as from `GaussianPixels`, whose probabilities are those of the draws. Take that class, unless you
    study this bound, or need a loss that is quadratic in the mean.

    The distribution is over v, and `mean` is the mean of v, brought into [0, 1].

    Args:
        levels: number K of levels of the images.
        scale: standard deviation, as for `GaussianPixels`.

    Example:
        >>> pixels = DequantisedGaussianPixels(levels=17, scale=0.1)
        >>> pixels.mean(torch.tensor([0.3, 1.2]).view(2, 1, 1, 1, 1))
        tensor([[[[0.3000]]], [[[1.0000]]]])
    """

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        mean, log_std = self._mean_and_log_std(parameters)
        v = x + (torch.rand_like(mean) - 0.5) / (self.levels - 1)
        log_density = (
            -0.5 * ((v - mean) / log_std.exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
        )
        return log_density - math.log(self.levels - 1)

    def distribution(self, parameters: Tensor) -> Distribution:
        return self._normal(parameters)

    def mean(self, parameters: Tensor) -> Tensor:
        return self._mean_and_log_std(parameters)[0].clamp(0, 1)


_GAUSSIAN = {"gaussian": GaussianPixels, "dequantised_gaussian": DequantisedGaussianPixels}


def pixels_of(likelihood: str, levels: int, scale: float | None) -> Pixels:
    if likelihood in _GAUSSIAN:
        return _GAUSSIAN[likelihood](levels, scale)
    if scale is not None:
        raise ValueError(
            f"only a Gaussian likelihood has a scale, not {likelihood!r}: leave it out"
        )
    if likelihood == "bernoulli":
        return BernoulliPixels(levels)
    if likelihood == "categorical":
        return CategoricalPixels(levels)
    raise ValueError(
        'likelihood must be "bernoulli", "categorical", "gaussian" or "dequantised_gaussian", not '
        f"{likelihood!r}"
    )


def _log_one_plus_exp(logits: Tensor) -> Tensor:
    r"""$\log(1 + e^l) = m + \log(e^{-m} + e^{l-m})$ with $m = \max(l, 0)$, so that nothing overflows.

    Softplus, at four times the speed that torch's has on a CPU: `log1p` is slow there, and its extra
    digits are lost when the terms are added up.
    """
    m = logits.detach().clamp_min(0)  # any m gives the same value, so it needs no gradient
    return m + ((-m).exp() + (logits - m).exp()).log()


def independent(distribution: Distribution, dims: int) -> Independent:
    """The last `dims` dimensions as one event: one log-probability for all of them."""
    return Independent(distribution, dims, validate_args=False)


def full_precision(x: Tensor) -> Tensor:
    """Networks may compute in bfloat16; log-probabilities are in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
