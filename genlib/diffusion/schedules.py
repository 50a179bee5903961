r"""How much of an example is left at time t, and how much noise has come.

$$x_t = \alpha(t)\, x + \sigma(t)\, \epsilon, \qquad \epsilon \sim N(0, I), \qquad t \in [0, 1]$$

The schedules here preserve variance: $\alpha^2 + \sigma^2 = 1$. All that matters is then one number, the
logarithm of the signal-to-noise ratio, $\lambda(t) = \log(\alpha^2 / \sigma^2)$, which falls from `start` to
`end` (Kingma et al., 2021, arXiv:2107.00630, section 3.1).
"""

import math

import torch
from torch import Tensor


class Schedule:
    r"""Base of the schedules: $\alpha^2$ is the logistic function of $\lambda$, and $\sigma^2$ of $-\lambda$.

    Args:
        start: log signal-to-noise ratio at time 0. The higher, the less noise is left in what is drawn,
            and the more there is to learn.
        end: the same at time 1; where it is low enough, x_1 is nearly N(0, I).

    Shapes:
        log_snr, slope, alpha, sigma: t (...) in [0, 1] -> (...)

    Raises:
        ValueError: the ratio does not fall.
    """

    def __init__(self, start: float = 6.5, end: float = -6.0):
        if not math.inf > start > end > -math.inf:
            raise ValueError(
                f"the log signal-to-noise ratio must fall, not go from {start} to {end}"
            )
        self.start, self.end = start, end

    def log_snr(self, t: Tensor) -> Tensor:
        r"""$\lambda(t)$, falling."""
        raise NotImplementedError

    def slope(self, t: Tensor) -> Tensor:
        r"""$\lambda'(t)$, negative."""
        raise NotImplementedError

    def time(self, log_snr: Tensor) -> Tensor:
        r"""The time at which $\lambda$ has this value."""
        raise NotImplementedError

    def alpha(self, t: Tensor) -> Tensor:
        """The share of the example."""
        return self.log_snr(t).sigmoid().sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """The standard deviation of the noise."""
        return (-self.log_snr(t)).sigmoid().sqrt()


class LinearSchedule(Schedule):
    r"""$\lambda$ falls in a straight line, as where Kingma et al. (2021) let learning start.

    (The "linear" schedule of Ho et al., 2020, is another: there the variance added in a step grows linearly.)

    Example:
        >>> LinearSchedule(6, -6).log_snr(torch.tensor([0.0, 0.25, 1.0]))
        tensor([ 6.,  3., -6.])
    """

    def log_snr(self, t: Tensor) -> Tensor:
        return self.start + (self.end - self.start) * t

    def slope(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.end - self.start)

    def time(self, log_snr: Tensor) -> Tensor:
        return (log_snr - self.start) / (self.end - self.start)


class CosineSchedule(Schedule):
    r"""$\alpha = \cos(a)$ and $\sigma = \sin(a)$, where the angle a grows in a straight line.

    $\lambda = -2 \log \tan a$. Middle noise gets more of the time than by a straight $\lambda$ (Nichol & Dhariwal,
    2021, arXiv:2102.09672, section 3.2; with two ends as in Hoogeboom et al., 2023, arXiv:2301.11093).

    Example:
        >>> t = torch.tensor([0.0, 0.5, 1.0])
        >>> CosineSchedule(6, -6).log_snr(t).abs().round(decimals=4)
        tensor([6., 0., 6.])
    """

    def __init__(self, start: float = 6.5, end: float = -6.0):
        super().__init__(start, end)
        self._first = math.atan(math.exp(-start / 2))
        self._grows = math.atan(math.exp(-end / 2)) - self._first

    def log_snr(self, t: Tensor) -> Tensor:
        return -2 * (self._first + self._grows * t).tan().log()

    def slope(self, t: Tensor) -> Tensor:
        return -4 * self._grows / (2 * (self._first + self._grows * t)).sin()

    def time(self, log_snr: Tensor) -> Tensor:
        return ((-log_snr / 2).exp().atan() - self._first) / self._grows
