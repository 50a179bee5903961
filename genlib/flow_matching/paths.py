r"""Paths from noise to an example, and what a velocity on them says.

$$x_t = \alpha(t)\, x + \sigma(t)\, \epsilon, \qquad t \in [0, 1]$$

Here time runs from noise, t = 0, to data, t = 1; a diffusion's runs the other way. With both ends given, a point of
the path moves at $\dot\alpha x + \dot\sigma \epsilon$. What a model learns is the mean of that over all pairs of ends
whose paths meet at $x_t$, the marginal velocity $u(x_t, t) = \dot\alpha\, E[x \mid x_t] + \dot\sigma\,
E[\epsilon \mid x_t]$ (Lipman et al., 2023, arXiv:2210.02747, section 3; Albergo & Vanden-Eijnden, 2023,
arXiv:2209.15571). As $x_t$ is known, u, $E[x \mid x_t]$ and $E[\epsilon \mid x_t]$ are linear functions of each other,
and where the noise is Gaussian and independent of x, the score is one too.
"""

import math

import torch
from torch import Tensor

from genlib.from_noise import as_factor
from genlib.ideal import posterior_means


class Path:
    """Base of the paths.

    Shapes:
        alpha, sigma, alpha_slope, sigma_slope: t (B,) -> (B,); the slopes are derivatives by t
        at: x, noise (B, ...), t (B,) -> x_t and its velocity, (B, ...) each
        ends, score: x_t, velocity (B, ...), t (B,) -> (B, ...)
    """

    def alpha(self, t: Tensor) -> Tensor:
        """The share of the example."""
        raise NotImplementedError

    def sigma(self, t: Tensor) -> Tensor:
        """The standard deviation of the noise."""
        raise NotImplementedError

    def alpha_slope(self, t: Tensor) -> Tensor:
        """How fast the share of the example grows."""
        raise NotImplementedError

    def sigma_slope(self, t: Tensor) -> Tensor:
        """How fast the noise grows; negative."""
        raise NotImplementedError

    def _four(self, t: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        each = (self.alpha, self.sigma, self.alpha_slope, self.sigma_slope)
        return tuple(as_factor(f(t), x) for f in each)

    def at(self, x: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Where the path from `noise` to x is at time t, and how fast it goes."""
        alpha, sigma, alpha_slope, sigma_slope = self._four(t, x)
        return alpha * x + sigma * noise, alpha_slope * x + sigma_slope * noise

    def ends(self, x_t: Tensor, velocity: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        r"""$E[x \mid x_t]$ and $E[\epsilon \mid x_t]$, given the marginal velocity at x_t: two equations solved."""
        alpha, sigma, alpha_slope, sigma_slope = self._four(t, x_t)
        determinant = alpha * sigma_slope - alpha_slope * sigma  # never zero: the ratio grows
        clean = (sigma_slope * x_t - sigma * velocity) / determinant
        return clean, (alpha * velocity - alpha_slope * x_t) / determinant

    def score(self, x_t: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        r"""$\nabla \log p_t(x_t) = -E[\epsilon \mid x_t] / \sigma$ (Tweedie's formula), for t < 1.

        Only where the noise is Gaussian and independent of x: not with `coupling="ot"`, not for reflow pairs.
        """
        return -self.ends(x_t, velocity, t)[1] / as_factor(self.sigma(t), x_t)


class LinearPath(Path):
    r"""Straight lines at even speed, $x_t = t x + (1 - t) \epsilon$, whose velocity is $x - \epsilon$.

    Papers: Lipman et al. (2023), arXiv:2210.02747, example II with $\sigma_{min} = 0$; Liu et al. (2023),
    arXiv:2209.03003.

    Example:
        >>> x_t, velocity = LinearPath().at(torch.ones(1, 2), torch.zeros(1, 2), torch.tensor([0.25]))
        >>> x_t.tolist(), velocity.tolist()
        ([[0.25, 0.25]], [[1.0, 1.0]])
    """

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def sigma(self, t: Tensor) -> Tensor:
        return 1 - t

    def alpha_slope(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma_slope(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)


class VariancePreservingPath(Path):
    r"""Diffusion's path, $\alpha^2 + \sigma^2 = 1$: $x_t = \sin(a) x + \cos(a) \epsilon$ with $a = \pi t / 2$.

    It is the cosine schedule without the cut at its ends (Albergo & Vanden-Eijnden, 2023, arXiv:2209.15571).

    Example:
        >>> path, t = VariancePreservingPath(), torch.tensor([0.3])
        >>> (path.alpha(t) ** 2 + path.sigma(t) ** 2).item()
        1.0
    """

    def alpha(self, t: Tensor) -> Tensor:
        return (math.pi / 2 * t).sin()

    def sigma(self, t: Tensor) -> Tensor:
        return (math.pi / 2 * t).cos()

    def alpha_slope(self, t: Tensor) -> Tensor:
        return math.pi / 2 * self.sigma(t)

    def sigma_slope(self, t: Tensor) -> Tensor:
        return -math.pi / 2 * self.alpha(t)


def ideal_velocity(
    x: Tensor, t: Tensor, *, data: Tensor, std: float = 0.0, path: Path | None = None
) -> Tensor:
    r"""The marginal velocity at x, exactly, where every example is one of `data` and the noise is N(0, I).

    The best that any network could learn: $\dot\alpha E[x \mid x_t] + \dot\sigma E[\epsilon \mid x_t]$. With `std` the
    data are a mixture of Gaussians, see `genlib.ideal.posterior_means`.

    Args:
        x: places.
        t: times below 1, or up to 1 with `std`.
        data: all the examples that there are, or the means of the mixture.
        std: standard deviation of a component, 0 for points.
        path: None is a `LinearPath`.

    Shapes:
        x (B, ...), t (B,), data (N, ...) -> (B, ...)

    Example:
        >>> to_one_point = ideal_velocity(torch.zeros(1, 1), torch.tensor([0.5]), data=torch.ones(1, 1))
        >>> to_one_point.item()  # half of the time is left for the way to 1
        2.0
    """
    path = path or LinearPath()
    clean, noise = posterior_means(x, alpha=path.alpha(t), sigma=path.sigma(t), data=data, std=std)
    return path.at(clean, noise, t)[1]  # the velocity is linear in both ends
