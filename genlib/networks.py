"""Networks that read a noisy example and a time, which diffusion and flow matching both train."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.layers import at_every_pixel
from genlib.validation import Shape, at_least_one


class TimeEmbedding(nn.Module):
    r"""Times in [0, 1], and labels, as vectors: $(\cos \omega_k t, \sin \omega_k t)_k$ through an MLP.

    A network that is given the bare number t can hardly change its mind fast enough near the ends.
    Of cosines and sines with frequencies from 1 to 1000 some change fast everywhere (Vaswani et al.,
    2017, arXiv:1706.03762, section 3.5).

    Args:
        dim: of the vectors, even.
        n_classes: number of labels, 0 for none. Label `n_classes` stands for "no label".
        times: how many times there are for each example.
        highest: of the frequencies; the derivative by t is of this size.

    Shapes:
        t (B,), or (B, times) for more than one, y (B,) -> (B, dim)

    Example:
        >>> TimeEmbedding(16)(torch.rand(5)).shape
        torch.Size([5, 16])
    """

    frequency: Tensor

    def __init__(self, dim: int, *, n_classes: int = 0, times: int = 1, highest: float = 1000.0):
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"dim must be even and positive, not {dim}")
        self.register_buffer("frequency", torch.logspace(0, math.log10(highest), dim // 2), False)
        self.mlp = nn.Sequential(nn.Linear(times * dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.labels = nn.Embedding(n_classes + 1, dim) if n_classes else None

    def forward(self, t: Tensor, y: Tensor | None = None) -> Tensor:
        angle = t[..., None] * self.frequency
        h = self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1).flatten(1))
        return h if y is None or self.labels is None else h + self.labels(y)


class TimeMLP(nn.Module):
    """A perceptron that reads points and a time.

    Args:
        shape: of an example; (2,) for points in the plane.
        hidden_dim: units of each hidden layer, even.
        depth: hidden layers.
        n_classes: number of labels, 0 for none.
        time: `times` and `highest` of its `TimeEmbedding`.

    Shapes:
        x (B, *shape), t (B,) in [0, 1], y (B,) -> (B, *shape)

    Raises:
        ValueError: depth < 1, or an odd hidden_dim.

    Example:
        >>> TimeMLP((2,))(torch.randn(5, 2), torch.rand(5)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        hidden_dim: int = 128,
        depth: int = 3,
        n_classes: int = 0,
        **time: Any,
    ):
        super().__init__()
        at_least_one("depth", depth)
        self.n_classes = n_classes
        size = math.prod(shape)
        self.embed = TimeEmbedding(hidden_dim, n_classes=n_classes, **time)
        self.first = nn.Linear(size, hidden_dim)
        self.hidden = nn.ModuleList(nn.Linear(hidden_dim, hidden_dim) for _ in range(depth - 1))
        self.last = nn.Linear(hidden_dim, size)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        when = self.embed(t, y)
        h = self.first(x.flatten(1)) + when
        for layer in self.hidden:
            h = h + layer(F.silu(h) + when)  # every layer hears what time it is
        return self.last(F.silu(h)).view_as(x)


class _Block(nn.Module):
    """Two 3x3 convolutions around a shortcut; time and label scale and shift the maps between them."""

    def __init__(self, in_dim: int, out_dim: int, time_dim: int):
        super().__init__()
        self.norm = nn.GroupNorm(1, in_dim)
        self.conv = nn.Conv2d(in_dim, out_dim, 3, padding=1)
        self.when = nn.Linear(time_dim, 2 * out_dim)
        self.norm_again = nn.GroupNorm(1, out_dim)
        self.conv_again = nn.Conv2d(out_dim, out_dim, 3, padding=1)
        self.shortcut = nn.Conv2d(in_dim, out_dim, 1) if in_dim != out_dim else nn.Identity()
        nn.init.zeros_(self.conv_again.weight)  # a new block passes its input on

    def forward(self, x: Tensor, when: Tensor) -> Tensor:
        h = self.conv(F.silu(self.norm(x)))
        scale, shift = self.when(when).chunk(2, dim=1)
        h = self.norm_again(h) * (1 + at_every_pixel(scale, h)) + at_every_pixel(shift, h)
        return self.shortcut(x) + self.conv_again(F.silu(h))


class UNet(nn.Module):
    """A U-Net: maps of half and a quarter of the side see the whole, shortcuts keep the detail.

    Papers: Ronneberger et al. (2015), arXiv:1505.04597, for the shape; Ho et al. (2020),
    arXiv:2006.11239, appendix B, for a U-Net that reads a time. Departs from it: no attention, one block
    a side of the U, and a learnt bias for each pixel, since digits stand upright in the middle.

    Args:
        shape: image shape (C, H, W), for sides from 4 to 32.
        hidden_dim: maps of the full size, even; twice as many at half and at a quarter of the side.
        n_classes: number of labels, 0 for none.
        time: `times` and `highest` of its `TimeEmbedding`.

    Shapes:
        x (B, C, H, W), t (B,) in [0, 1], y (B,) -> (B, C, H, W)

    Example:
        >>> UNet((1, 8, 8), hidden_dim=8)(torch.randn(5, 1, 8, 8), torch.rand(5)).shape
        torch.Size([5, 1, 8, 8])
    """

    def __init__(self, shape: Shape, *, hidden_dim: int = 32, n_classes: int = 0, **time: Any):
        super().__init__()
        channels, height, width = shape
        f, dim = hidden_dim, 2 * hidden_dim
        self.n_classes = n_classes
        self.embed = TimeEmbedding(dim, n_classes=n_classes, **time)
        self.first = nn.Conv2d(channels, f, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(f, height, width))  # what is where
        self.high = _Block(f, f, dim)
        self.to_half = nn.Conv2d(f, 2 * f, 3, stride=2, padding=1)
        self.middle = _Block(2 * f, 2 * f, dim)
        self.to_quarter = nn.Conv2d(2 * f, 2 * f, 3, stride=2, padding=1)
        self.low = _Block(2 * f, 2 * f, dim)
        self.middle_again = _Block(4 * f, 2 * f, dim)
        self.high_again = _Block(3 * f, f, dim)
        self.last = nn.Conv2d(f, channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        when = self.embed(t, y)
        high = self.high(self.first(x) + self.place, when)
        middle = self.middle(self.to_half(high), when)
        low = self.low(self.to_quarter(middle), when)
        up = F.interpolate(low, size=middle.shape[2:])  # each value four times
        up = self.middle_again(torch.cat([up, middle], dim=1), when)
        up = F.interpolate(up, size=high.shape[2:])
        return self.last(F.silu(self.high_again(torch.cat([up, high], dim=1), when)))


def network_for(shape: tuple[int, ...], n_classes: int = 0, **time: Any) -> nn.Module:
    """The network of a model that is given none: a `UNet` for images, a `TimeMLP` for points.

    Example:
        >>> type(network_for((2,))).__name__
        'TimeMLP'
    """
    if len(shape) == 3:
        return UNet((shape[0], shape[1], shape[2]), n_classes=n_classes, **time)
    return TimeMLP(shape, n_classes=n_classes, **time)
