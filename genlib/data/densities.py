r"""Densities in the plane whose exact value is known: what a model learns can be seen and measured.

Each has `log_prob(x)`, exact, in nats, (N, 2) -> (N,), and `sample(n)`, (n, 2). All fit in the
square [-4, 4] x [-4, 4]: completely or but for a tail that weighs less than one in a million.
"""

import math

import torch
from torch import Tensor


def _check_points(x: Tensor) -> None:
    if x.dim() != 2 or x.shape[1] != 2:
        raise ValueError(f"points must have shape (N, 2), not {tuple(x.shape)}")


class _Mixture:
    r"""Equal mixture of M round Gaussians: $p(x) = \frac{1}{M} \sum_m N(x; \mu_m, \sigma^2 I)$."""

    def __init__(self, means: Tensor, std: float):
        self.means = means  # (M, 2)
        self.std = std

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density in nats, (N, 2) -> (N,)."""
        _check_points(x)
        square = (x[:, None] - self.means.to(x)).square().sum(dim=2) / self.std**2  # (N, M)
        log_each = -square / 2 - math.log(2 * math.pi * self.std**2)
        return log_each.logsumexp(dim=1) - math.log(len(self.means))

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` points, (n, 2); `generator=None` follows `torch.manual_seed`."""
        which = torch.randint(len(self.means), (n,), generator=generator)
        return self.means[which] + self.std * torch.randn(n, 2, generator=generator)


class EightGaussians(_Mixture):
    r"""Eight round Gaussians on a ring: will a model find all the modes?

    $p(x) = \frac{1}{8} \sum_{k=0}^{7} N(x; \mu_k, \sigma^2 I)$ with
    $\mu_k = 2 (\cos \frac{k\pi}{4}, \sin \frac{k\pi}{4})$. The picture on which mode collapse is
    shown since Metz et al. (2017), "Unrolled generative adversarial networks", arXiv:1611.02163.

    Args:
        radius: of the ring.
        std: standard deviation of each Gaussian.

    Example:
        >>> density = EightGaussians()
        >>> x = density.sample(5, generator=torch.Generator().manual_seed(0))
        >>> density.log_prob(x).shape
        torch.Size([5])
    """

    def __init__(self, radius: float = 2.0, std: float = 0.2):
        angle = torch.arange(8) * (math.pi / 4)
        super().__init__(radius * torch.stack([angle.cos(), angle.sin()], dim=1), std)


class Spiral(_Mixture):
    r"""Two arms of a spiral: mass along thin curves, as images lie along thin surfaces.

    A curve has no density, a curve drawn with a soft pen has: here the pen stops at 100 places
    evenly spaced along each arm $r = 0.4 + 0.35\,\theta$, $0 \le \theta \le 2.5 \pi$, so the
    density is exactly a mixture of 200 Gaussians. The second arm is the first, turned by half a
    turn.

    Args:
        std: width of the pen, the standard deviation of each Gaussian.

    Example:
        >>> density = Spiral()
        >>> x = density.sample(4, generator=torch.Generator().manual_seed(0))
        >>> torch.allclose(density.log_prob(x), density.log_prob(-x))  # half a turn changes nothing
        True
    """

    def __init__(self, std: float = 0.1):
        angle = torch.linspace(0, 2.5 * math.pi, 10_000, dtype=torch.double)
        radius = 0.4 + 0.35 * angle
        curve = radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
        length = curve.diff(dim=0).norm(dim=1).cumsum(dim=0)
        places = (torch.arange(100) + 0.5) / 100 * length[-1]
        arm = curve[torch.searchsorted(length, places)].float()
        super().__init__(torch.cat([arm, -arm]), std)


class Checkerboard:
    r"""Uniform on the black squares of a 4x4 board: sharp edges, and nothing in between.

    The board covers [-4, 4] x [-4, 4] in squares of side 2, of which 8 of 16 are black, so
    $p(x) = \frac{1}{32}$ on black and 0 on white.

    Example:
        >>> Checkerboard().log_prob(torch.tensor([[1.0, 1.0], [1.0, 3.0]]))
        tensor([-3.4657,    -inf])
    """

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density in nats, (N, 2) -> (N,)."""
        _check_points(x)
        square = (x / 2).floor()  # -2 .. 1 on the board
        black = (square.sum(dim=1) % 2 == 0) & ((square >= -2) & (square < 2)).all(dim=1)
        log_prob = x.new_full((len(x),), -math.log(32))
        return log_prob.masked_fill(~black, -math.inf)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` points, (n, 2); `generator=None` follows `torch.manual_seed`."""
        column = torch.randint(-2, 2, (n,), generator=generator)
        # of each column's four squares, the two of the same parity are black
        row = 2 * torch.randint(-1, 1, (n,), generator=generator) + column % 2
        corner = torch.stack([column, row], dim=1)
        return 2 * (corner + torch.rand(n, 2, generator=generator))
