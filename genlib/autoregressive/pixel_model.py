"""What all pixel-by-pixel models share: exact likelihood, loss and sampling."""

import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.autoregressive.caching import CachedLayer, DecodingState, cached
from genlib.validation import Shape, at_least_one, check_images, check_labels, check_sizes

# a step of sampling: where, (c, i, j), and the logits of p(x_cij | all before it), (n, K)
Step = tuple[tuple[int, int, int], Tensor]


class PixelModel(nn.Module):
    r"""Base of the models that factorise an image into its values by the chain rule.

    $$p(x) = \prod_{i=1}^{CHW} p(x_i \mid x_1, \dots, x_{i-1})$$

    Values come in raster order, and within a pixel in the order of its channels: red, green given
    red, blue given both (van den Oord et al., 2016, arXiv:1601.06759, section 2.1). A subclass writes
    `network`, whose logits for a value may depend on earlier values alone; likelihood, loss and
    sampling follow from that and stand here.

    There are two samplers, which draw the same images from the same random numbers.
    `sample_by_definition` runs the whole network for every value. `sample` goes pixel by pixel
    through a copy of the network with a cache (`cached`), and computes at every pixel what is new
    there. A subclass says with `supports_cache = True` that its layers have a cached form; without
    it, `sample` goes by the definition too. A network that has a part which depends on rows above only puts it
    into `above` and the rest into `across`; cached sampling calls `above` once a row.

    Args:
        shape: image shape (C, H, W).
        levels: number K of values that a channel of a pixel can take; 2 for binary images.
        n_classes: number of labels, 0 for an unconditional model.

    Shapes:
        forward:  x (B, C, H, W) in [0, 1], y (B,) -> logits (B, K, C, H, W)
        log_prob: x, y -> (B,), nats per image, exact
        loss:     x, y -> scalar, nats per image
        sample:   n, y (n,) -> (n, C, H, W) in [0, 1], and sample_by_definition likewise

    Raises:
        TypeError, ValueError: images or labels that the model was not built for (`genlib.validation`).
    """

    supports_cache = False

    def __init__(self, shape: Shape, *, levels: int, n_classes: int = 0):
        super().__init__()
        self.shape = check_sizes(shape, levels, n_classes)
        self.levels = levels
        self.n_classes = n_classes

    def network(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The logits, (B, K, C, H, W), of images already rescaled to [-1, 1]."""
        raise NotImplementedError

    def above(self, x: Tensor, y: Tensor | None, rows: slice = slice(None)) -> tuple[Tensor, ...]:
        """Maps (B, F, H, W) of what rows above say; `x` holds the given rows of the images."""
        return ()

    def across(self, x: Tensor, y: Tensor | None, *above: Tensor) -> Tensor:
        """The logits, given what `above` returned; with a cache for one pixel, (n, C) -> (n, K, C)."""
        return self.network(x, y)

    def forward(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        """Logits of p(x_i | earlier values) for every value at once, (B, K, C, H, W)."""
        check_images(x, self.shape)
        check_labels(y, len(x), self.n_classes)
        return self.network(2 * x - 1, y)

    def log_prob(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""Exact log-likelihood $\sum_i \log p(x_i \mid x_{<i})$ in nats, (B, C, H, W) -> (B,)."""
        check_images(x, self.shape, self.levels)
        target = (x * (self.levels - 1)).round().long()
        nats = F.cross_entropy(self(x, y=y), target, reduction="none")  # (B, C, H, W)
        return -nats.flatten(1).sum(dim=1)

    def loss(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        """Mean negative log-likelihood, nats per image."""
        return -self.log_prob(x, y=y).mean()

    def sample(
        self,
        n: int,
        *,
        y: Tensor | None = None,
        known: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        r"""Draw `n` images, value by value in raster order, computing at each pixel only what is new.

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
        x, mask = self._canvas(n, known, mask)
        check_labels(y, n, self.n_classes)
        with torch.inference_mode(), torch.autocast(x.device.type, enabled=False):
            steps = self._cached_passes(x, y) if self.supports_cache else self._whole_passes(x, y)
            self._draw(x, mask, steps)
        return x

    def sample_by_definition(
        self,
        n: int,
        *,
        y: Tensor | None = None,
        known: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The images that `sample` draws, by one whole forward pass a value: slow, and right by definition."""
        x, mask = self._canvas(n, known, mask)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            self._draw(x, mask, self._whole_passes(x, y))
        return x

    def _canvas(
        self, n: int, known: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The images before anything is drawn, zero but for known values, and the mask of these."""
        at_least_one("n", n)
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
        return x, mask

    def _draw(self, x: Tensor, mask: Tensor | None, steps: Iterator[Step]) -> None:
        """Take the logits of one value after the other, and write what is drawn into `x`."""
        uniform = torch.rand(math.prod(self.shape), len(x), 1, device=x.device, dtype=x.dtype)
        for u, ((c, i, j), logits) in zip(uniform.unbind(), steps, strict=True):
            value = draw_level(logits, u) / (self.levels - 1)
            if mask is not None:
                value = torch.where(mask[:, c, i, j], x[:, c, i, j], value)
            x[:, c, i, j] = value

    def _whole_passes(self, x: Tensor, y: Tensor | None) -> Iterator[Step]:
        """The steps of sampling by definition; whoever takes a step writes its value into `x`."""
        channels, height, width = self.shape
        for i, j, c in itertools.product(range(height), range(width), range(channels)):
            yield (c, i, j), self(x, y=y)[:, :, c, i, j]

    def _cached_passes(self, x: Tensor, y: Tensor | None) -> Iterator[Step]:
        """The same steps, from a copy of the network with a cache: only new work is done."""
        channels, height, width = self.shape
        decoding = DecodingState(n=len(x), width=width)
        network = cached(self, decoding)
        layers = [layer for layer in network.modules() if isinstance(layer, CachedLayer)]
        # the images as the network reads them, in [-1, 1]; layers keep views of it, not copies
        seen = x.new_zeros(height, width, len(x), channels)
        minus_one = x.new_full((), -1.0)
        for i in range(height):
            for layer in layers:
                layer.start_row()
            row = seen[i].permute(1, 2, 0)[:, :, None]  # (n, C, 1, W)
            above = [
                features.squeeze(2).permute(2, 0, 1).contiguous()  # (W, n, F)
                for features in network.above(row, y, rows=slice(i, i + 1))
            ]
            for j in range(width):
                decoding.column = j
                above_here = [features[j] for features in above]
                for c in range(channels):
                    logits = network.across(seen[i, j], y, *above_here)  # (n, K, C)
                    yield (c, i, j), logits[:, :, c]
                    torch.add(minus_one, x[:, c, i, j], alpha=2, out=seen[i, j, :, c])


def draw_level(logits: Tensor, u: Tensor) -> Tensor:
    """Draw a level from each row of logits by inverting the cumulative distribution, (n, K) -> (n,).

    Args:
        logits: (n, K).
        u: a uniform random number a row, (n, 1). Two samplers fed the same numbers draw the same.

    Example:
        >>> draw_level(torch.tensor([0.2, 0.5, 0.3]).log().expand(2, 3), torch.tensor([[0.1], [0.6]]))
        tensor([0, 1])
    """
    cumulative = logits.softmax(dim=1).cumsum(dim=1)
    # the last sum may round to a hair below 1, so it is left out of the count
    return (u > cumulative[:, :-1]).sum(dim=1)


def _broadcast(name: str, value: Tensor, size: tuple[int, ...]) -> Tensor:
    try:
        return value.expand(size)
    except RuntimeError:
        raise ValueError(f"{name} must broadcast to {size}, not {tuple(value.shape)}") from None
