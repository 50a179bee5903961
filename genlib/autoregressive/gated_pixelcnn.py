"""Gated PixelCNN: a fast, exact-likelihood image model without a blind spot."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.autoregressive.caching import DecodingState
from genlib.autoregressive.heads import head
from genlib.autoregressive.masks import MaskedConv2d, colour_groups
from genlib.autoregressive.pixel_model import PixelModel
from genlib.validation import Shape


class VerticalConv(nn.Conv2d):
    """Reads upwards, columns to both sides; `strict` starts one row up, at the row above."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        radius: int,
        *,
        strict: bool = False,
        dilation: int = 1,
    ):
        kernel_size = (radius + 1 - strict, 2 * radius + 1)
        super().__init__(in_channels, out_channels, kernel_size, dilation=dilation)
        side, up = radius * dilation, (radius - strict) * dilation
        # left, right, top, bottom: one row more above and one less below moves the image down,
        # so that the kernel's last row lies on the row above the pixel
        self.pad = (side, side, up + strict, -int(strict))
        self.strict = strict

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pad))

    def cached(self, decoding: DecodingState) -> "CachedVerticalConv":
        """The same convolution one row at a time, see `genlib.autoregressive.caching.cached`."""
        return CachedVerticalConv(self, decoding)


class CachedVerticalConv(nn.Module):
    """`VerticalConv`, a row at a time, (n, F, 1, W) -> (n, F', 1, W): it remembers the rows above."""

    def __init__(self, conv: VerticalConv, decoding: DecodingState):
        super().__init__()
        self.conv = conv
        up = conv.pad[2]
        above_the_image = conv.weight.new_zeros(decoding.n, conv.in_channels, 1, decoding.width)
        self.rows = [above_the_image] * (up + 1)

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        self.rows = [*self.rows[1:], x]
        # a strict kernel ends one row above `x`, which is only about to be drawn
        read = self.rows[: -1 if conv.strict else None : conv.dilation[0]]
        return F.conv2d(
            torch.cat(read, dim=2),
            conv.weight,
            conv.bias,
            padding=(0, conv.pad[0]),  # as much to the left as to the right
            dilation=(1, conv.dilation[1]),
        )


def gate(x: Tensor) -> Tensor:
    r"""$\tanh(f) \odot \sigma(g)$ of the two halves of the channels, 2F -> F (eq. 2).

    $\tanh(f) = 2 \sigma(2f) - 1$, so one $\sigma$, which is quicker, serves both halves; the weights
    absorb the inner 2.
    """
    f, g = x.sigmoid().chunk(2, dim=1)
    return (f + f - 1) * g  # a sum is quicker than a product with a number


class GatedLayer(nn.Module):
    """One layer of the two stacks (fig. 2); information flows only from `v` to `h`."""

    def __init__(self, group: Tensor, dilation: int, n_classes: int):
        super().__init__()
        hidden_dim = len(group)
        pair = group.repeat(2)  # the two halves that the gate joins carry the same colours
        self.vertical = VerticalConv(hidden_dim, 2 * hidden_dim, radius=1, dilation=dilation)
        self.horizontal = MaskedConv2d(
            group, pair, (1, 2), mask="B", dilation=dilation, left_only=True
        )
        # rows above are earlier in every colour, so this convolution needs no mask
        self.v_to_h = nn.Conv2d(hidden_dim, 2 * hidden_dim, kernel_size=1)
        self.mix = MaskedConv2d(group, group, (1, 1), mask="B")
        if n_classes:
            self.class_bias = nn.Embedding(n_classes, 4 * hidden_dim)

    def down(self, v: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """The layer's vertical half: its features, and what the horizontal half gets from them."""
        if y is None:
            v = gate(self.vertical(v))
            return v, self.v_to_h(v)
        # the same bias at every pixel: "what", not "where" (eq. 4)
        v_bias, h_bias = self.class_bias(y)[:, :, None, None].chunk(2, dim=1)
        v = gate(self.vertical(v) + v_bias)
        return v, self.v_to_h(v) + h_bias

    def across(self, h: Tensor, from_v: Tensor) -> Tensor:
        """The layer's horizontal half."""
        return h + self.mix(gate(self.horizontal(h) + from_v))


class GatedPixelCNN(PixelModel):
    r"""Gated PixelCNN, optionally class-conditional.

    The image is read in raster order. A vertical stack `v` summarises the rows above a pixel, a
    horizontal stack `h` the pixels to its left; `h` reads `v`, never the reverse, so together they
    see every earlier pixel and no later one: there is no blind spot. Within a pixel, red comes
    first, then green given red, then blue given both: the features of `h` carry colours and its
    masks keep their order, while `v`, which reads whole rows above, needs none.

    Paper: van den Oord et al. (2016), arXiv:1606.05328, section 2 and figure 2.
    Departs from it: a learned bias for each pixel tells both stacks where they are, which counts
    where pictures are centred, as digits are; kernels are dilated by 1, 2, 1, 4 in turn, which
    widens the view at no cost; `h` reads `v` after its gate, not before it, which halves that
    convolution; the head has no skip connections. `make results` measures what comes of it.

    Args:
        shape, levels, n_classes: as `PixelModel`.
        hidden_dim: width F of both stacks, at least C.
        depth: number of gated layers.
        n_logistics: logistics in the mixture that gives the levels their probabilities
            (`genlib.autoregressive.heads`), 0 for a softmax.

    Shapes and errors: as `PixelModel`.

    Example:
        >>> model = GatedPixelCNN(shape=(1, 8, 8), levels=2, hidden_dim=16, depth=3)
        >>> x = model.sample(4)
        >>> model.log_prob(x).shape
        torch.Size([4])
    """

    supports_cache = True
    layers: list[GatedLayer]  # a ModuleList, typed by what it holds

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        *,
        levels: int = 2,
        hidden_dim: int = 32,
        depth: int = 7,
        n_classes: int = 0,
        n_logistics: int = 0,
    ):
        super().__init__(shape, levels=levels, n_classes=n_classes)
        n_colours, height, width = self.shape
        colour = torch.arange(n_colours)
        group = colour_groups(hidden_dim, n_colours)
        self.v_in = VerticalConv(n_colours, hidden_dim, radius=3, strict=True)
        self.h_in = MaskedConv2d(colour, group, (1, 4), mask="A", left_only=True)
        self.v_place = nn.Parameter(torch.zeros(hidden_dim, height, width))
        self.h_place = nn.Parameter(torch.zeros(hidden_dim, height, width))
        dilations = [(1, 2, 1, 4)[i % 4] for i in range(depth)]
        self.layers = nn.ModuleList(  # type: ignore[assignment]
            GatedLayer(group, d, n_classes) for d in dilations
        )
        self.head = head(group, n_colours, levels, n_logistics)

    def network(self, x: Tensor, y: Tensor | None) -> Tensor:
        return self.across(x, y, *self.above(x, y))

    def above(self, x: Tensor, y: Tensor | None, rows: slice = slice(None)) -> tuple[Tensor, ...]:
        """What the horizontal stack reads: the place, then the vertical stack's features for each layer."""
        v = self.v_in(x)
        # cast: under autocast a float32 bias would turn both stacks back into float32
        h_place = self.h_place[None, :, rows].to(v.dtype)
        v = v + self.v_place[:, rows].to(v.dtype)
        from_v = []
        for layer in self.layers:
            v, features = layer.down(v, y)
            from_v.append(features)
        return h_place, *from_v

    def across(self, x: Tensor, y: Tensor | None, *above: Tensor) -> Tensor:
        h_place, *from_v = above
        h = self.h_in(x) + h_place
        for layer, features in zip(self.layers, from_v, strict=True):
            h = layer.across(h, features)
        return self.head(h).unflatten(1, (self.levels, -1))
