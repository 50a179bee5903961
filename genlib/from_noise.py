"""What diffusion and flow matching share: one network that reads a time makes examples of noise."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlib.networks import network_for
from genlib.validation import at_least_one, check_examples, check_labels

AtTime = Callable[[Tensor, Tensor], Tensor]  # x (B, ...), t (B,) -> (B, ...)


def as_factor(value: Tensor, x: Tensor) -> Tensor:
    """View a number for each example, (B,), so that it multiplies all of `x`, (B, ...).

    Example:
        >>> as_factor(torch.zeros(5), torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 1, 1, 1])
    """
    return value.view(-1, *[1] * (x.ndim - 1))


class FromNoise(nn.Module):
    r"""Base of the models that carry noise to data.

    Images (C, H, W) in [0, 1] are [-1, 1] inside, points (D,) stay as they are. A conditional model hides each
    label with probability 0.1 in training. So one network knows what a label says and what is known without
    one, and guidance goes from the second beyond the first (Ho & Salimans, 2022, arXiv:2207.12598): it obeys more and
    varies less, and does not draw from $p(x)\, p(y \mid x)^w$ (Chidambaram et al., 2024, arXiv:2409.13074).

    Args:
        shape: of an example.
        network: from x_t, t and, if conditional, y (B,) to what it predicts, as x_t; label `n_classes` stands for
            "no label". None builds a `UNet` for images and a `TimeMLP` for points.
        levels: number of values a channel of an image can take; 0 for points and for images of any grey.
        n_classes: number of labels, 0 for an unconditional model.

    Raises:
        ValueError: a shape that is neither, levels of points.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        network: nn.Module | None,
        levels: int,
        n_classes: int,
    ):
        super().__init__()
        if len(shape) not in (1, 3) or min(shape) < 1:
            raise ValueError(f"shape must be (C, H, W) or (D,), all positive, not {shape}")
        if levels and (levels < 2 or len(shape) != 3):
            raise ValueError(f"levels are of images, and at least 2; 0 is for none, not {levels}")
        if n_classes < 0:
            raise ValueError(f"n_classes must be 0 (unconditional) or more, not {n_classes}")
        self.shape, self.levels, self.n_classes = tuple(shape), levels, n_classes
        self.network = network_for(self.shape, n_classes) if network is None else network

    def ask(self, x_t: Tensor, t: Tensor, *, y: Tensor | None = None) -> Tensor:
        """What the network returns; without labels a conditional one gets "no label"."""
        if self.n_classes and y is None:
            y = torch.full((len(x_t),), self.n_classes, device=x_t.device)
        return self.network(x_t, t) if y is None else self.network(x_t, t, y)

    def _forgetting(self, y: Tensor | None) -> Tensor | None:
        """Labels, of which training hides each with probability 0.1."""
        if y is None or not self.training:
            return y
        return y.masked_fill(torch.rand(len(y), device=y.device) < 0.1, self.n_classes)

    def _guided(self, f: Callable[..., Tensor], y: Tensor | None, guidance: float) -> AtTime:
        """f(x, t, y=) with labels, or beyond: f without them + guidance times what they change."""
        if guidance != 1 and not self.n_classes:
            raise ValueError("guidance is for a conditional model: build it with n_classes")
        if guidance != 1 and y is None:
            raise ValueError("guidance needs labels y")

        def guided(x: Tensor, t: Tensor) -> Tensor:
            conditional = f(x, t, y=y)
            if guidance == 1:
                return conditional
            unconditional = f(x, t)
            return unconditional + guidance * (conditional - unconditional)

        return guided

    def start(self, n: int, *, y: Tensor | None = None) -> Tensor:
        """Where n examples start."""
        at_least_one("n", n)
        check_labels(y, n, self.n_classes)
        like = next(self.parameters(), torch.empty(()))  # a known velocity may have none
        return torch.randn(n, *self.shape, device=like.device, dtype=like.dtype)

    @staticmethod
    def _times(x: Tensor) -> Tensor:
        """A random time for each example, evenly spread over the batch: less noise in the mean.

        (Kingma et al., 2021, arXiv:2107.00630, appendix I.1.)
        """
        places = torch.arange(len(x), device=x.device, dtype=x.dtype) / len(x)
        return (torch.rand((), device=x.device, dtype=x.dtype) + places) % 1

    def _inside(self, x: Tensor, y: Tensor | None) -> Tensor:
        check_labels(y, len(x), self.n_classes)
        check_examples(x, self.shape, self.levels or None)
        return x if len(self.shape) == 1 else 2 * x - 1

    def outside(self, x: Tensor) -> Tensor:
        """Points as they are; images in [0, 1], on the grid of levels where there is one."""
        if len(self.shape) == 1:
            return x
        x = ((x + 1) / 2).clamp(0, 1)
        return (x * (self.levels - 1)).round() / (self.levels - 1) if self.levels else x
