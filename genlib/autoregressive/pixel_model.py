"""What all pixel-by-pixel models share: exact likelihood, loss and sampling."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.nn import Shape, check_images, check_labels


class PixelModel(nn.Module):
    r"""Base of the models that factorise an image into its values by the chain rule.

    $$p(x) = \prod_{i=1}^{CHW} p(x_i \mid x_1, \dots, x_{i-1})$$

    Values come in raster order, and within a pixel in the order of its channels: red, green given
    red, blue given both (van den Oord et al., 2016, arXiv:1601.06759, section 2.1). A subclass writes
    `network`, whose logits for a value may depend on earlier values alone; likelihood, loss and
    sampling follow from that and stand here.

    Args:
        shape: image shape (C, H, W).
        levels: number K of values that a channel of a pixel can take; 2 for binary images.
        n_classes: number of labels, 0 for an unconditional model.

    Shapes:
        forward:  x (B, C, H, W) in [0, 1], y (B,) -> logits (B, K, C, H, W)
        log_prob: x, y -> (B,), nats per image, exact
        loss:     x, y -> scalar, nats per image
        sample:   n, y (n,) -> (n, C, H, W) in [0, 1]

    Raises:
        TypeError, ValueError: images or labels that the model was not built for (`genlib.nn`).
    """

    def __init__(self, shape: Shape, levels: int, n_classes: int = 0):
        super().__init__()
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape must be (C, H, W), all positive, not {shape}")
        if levels < 2:
            raise ValueError(f"levels must be at least 2, not {levels}: one level says nothing")
        if n_classes < 0:
            raise ValueError(f"n_classes must be 0 (unconditional) or more, not {n_classes}")
        self.shape: Shape = (shape[0], shape[1], shape[2])
        self.levels = levels
        self.n_classes = n_classes

    def network(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The logits, (B, K, C, H, W), of images already rescaled to [-1, 1]."""
        raise NotImplementedError

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits of p(x_i | earlier values) for every value at once, (B, K, C, H, W)."""
        check_images(x, self.shape)
        check_labels(y, len(x), self.n_classes)
        return self.network(2 * x - 1, y)

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        r"""Exact log-likelihood $\sum_i \log p(x_i \mid x_{<i})$ in nats, (B, C, H, W) -> (B,)."""
        check_images(x, self.shape, self.levels)
        target = (x * (self.levels - 1)).round().long()
        nats = F.cross_entropy(self(x, y), target, reduction="none")  # (B, C, H, W)
        return -nats.flatten(1).sum(dim=1)

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Mean negative log-likelihood, nats per image."""
        return -self.log_prob(x, y).mean()

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        *,
        known: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        r"""Draw `n` images, value by value in raster order, one forward pass a value.

        With `known` and `mask` the model completes an image: where `mask` is true the known value
        stays, elsewhere it is drawn given all values before it. This is a draw from
        $p(\text{unknown} \mid \text{known})$ when the known values come first in raster order, the
        upper half of an image for instance. Known values that come later do not reach back: the model
        has no cheap way to condition on its own future.

        Args:
            n: number of images.
            y: labels (n,) of a conditional model.
            known: images whose masked values are kept, broadcastable to (n, C, H, W).
            mask: booleans, true where a value is known, broadcastable to (n, C, H, W).

        Raises:
            ValueError: n < 1, only one of `known` and `mask`, or a shape that does not broadcast.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        if (known is None) != (mask is None):
            raise ValueError("to complete an image pass both known and mask")
        parameter = next(self.parameters())
        size = (n, *self.shape)
        x = torch.zeros(size, device=parameter.device, dtype=parameter.dtype)
        if known is not None and mask is not None:
            if mask.dtype != torch.bool:
                raise ValueError(f"mask must be boolean, true where known, not {mask.dtype}")
            known, mask = _broadcast("known", known, size), _broadcast("mask", mask, size)
            check_images(known, self.shape)
            x = torch.where(mask, known.to(x), x)
        channels, height, width = self.shape
        for i, j, c in itertools.product(range(height), range(width), range(channels)):
            logits = self(x, y)[:, :, c, i, j]  # (n, K)
            value = draw_level(logits) / (self.levels - 1)
            x[:, c, i, j] = (
                value if mask is None else torch.where(mask[:, c, i, j], x[:, c, i, j], value)
            )
        return x


def draw_level(logits: Tensor) -> Tensor:
    """Draw a level from each row of logits by inverting the cumulative distribution, (n, K) -> (n,).

    One uniform number decides a value, so two samplers fed the same numbers draw the same image.

    Example:
        >>> draw_level(torch.tensor([[-50.0, 50.0, -50.0]])).tolist()
        [1]
    """
    cumulative = logits.softmax(dim=1).cumsum(dim=1)
    u = torch.rand(len(logits), 1, device=logits.device, dtype=cumulative.dtype)
    # the last sum may round to a hair below 1, so it is left out of the count
    return (u > cumulative[:, :-1]).sum(dim=1)


def _broadcast(name: str, value: Tensor, size: tuple[int, ...]) -> Tensor:
    try:
        return value.expand(size)
    except RuntimeError:
        raise ValueError(f"{name} must broadcast to {size}, not {tuple(value.shape)}") from None
