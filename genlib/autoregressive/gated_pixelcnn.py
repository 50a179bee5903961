"""Gated PixelCNN: a fast, exact-likelihood image model without a blind spot."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.autoregressive.pixel_model import PixelModel
from genlib.nn import MaskedConv2d, Shape, colour_groups


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

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pad))


def gate(x: Tensor) -> Tensor:
    r"""$\tanh(f) \odot \sigma(2g)$ of the two halves of the channels, 2F -> F (eq. 2).

    $\sigma(2g) = (1 + \tanh g) / 2$, so one tanh serves both halves; the weights absorb the 2.
    """
    f, g = x.tanh().chunk(2, dim=1)
    return f * (1 + g) / 2


class GatedLayer(nn.Module):
    """One layer of the two stacks (fig. 2); information flows only from `v` to `h`."""

    def __init__(self, group: Tensor, dilation: int, n_classes: int):
        super().__init__()
        channels = len(group)
        pair = group.repeat(2)  # the two halves that the gate joins carry the same colours
        self.vertical = VerticalConv(channels, 2 * channels, radius=1, dilation=dilation)
        self.horizontal = MaskedConv2d(
            group, pair, (1, 2), mask="B", dilation=dilation, left_only=True
        )
        # rows above are earlier in every colour, so this convolution needs no mask
        self.v_to_h = nn.Conv2d(channels, 2 * channels, kernel_size=1)
        self.mix = MaskedConv2d(group, group, (1, 1), mask="B")
        if n_classes:
            self.class_bias = nn.Embedding(n_classes, 4 * channels)

    def forward(self, v: Tensor, h: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        v_pre, h_pre = self.vertical(v), self.horizontal(h)
        if y is not None:  # the same bias at every pixel: "what", not "where" (eq. 4)
            v_bias, h_bias = self.class_bias(y)[:, :, None, None].chunk(2, dim=1)
            v_pre, h_pre = v_pre + v_bias, h_pre + h_bias
        v = gate(v_pre)
        return v, h + self.mix(gate(h_pre + self.v_to_h(v)))


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
        shape: image shape (C, H, W).
        levels: number K of values a channel can take; 2 for binary images.
        channels: width F of both stacks, at least C.
        depth: number of gated layers.
        n_classes: number of labels, 0 for an unconditional model.

    Shapes and errors: as `PixelModel`.

    Example:
        >>> model = GatedPixelCNN(shape=(1, 8, 8), levels=2, channels=16, depth=3)
        >>> x = model.sample(4)
        >>> model.log_prob(x).shape
        torch.Size([4])
    """

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        levels: int = 2,
        channels: int = 32,
        depth: int = 7,
        n_classes: int = 0,
    ):
        super().__init__(shape, levels, n_classes)
        n_colours, height, width = self.shape
        colour = torch.arange(n_colours)
        group = colour_groups(channels, n_colours)
        self.v_in = VerticalConv(n_colours, channels, radius=3, strict=True)
        self.h_in = MaskedConv2d(colour, group, (1, 4), mask="A", left_only=True)
        self.v_place = nn.Parameter(torch.zeros(channels, height, width))
        self.h_place = nn.Parameter(torch.zeros(channels, height, width))
        dilations = [(1, 2, 1, 4)[i % 4] for i in range(depth)]
        self.layers = nn.ModuleList(GatedLayer(group, d, n_classes) for d in dilations)
        self.head = nn.Sequential(
            nn.ReLU(),
            MaskedConv2d(group, group, (1, 1), mask="B"),
            nn.ReLU(),
            MaskedConv2d(group, colour.repeat(levels), (1, 1), mask="B"),
        )

    def network(self, x: Tensor, y: Tensor | None) -> Tensor:
        v, h = self.v_in(x), self.h_in(x)
        # cast: under autocast a float32 bias would turn both stacks back into float32
        v, h = v + self.v_place.to(v.dtype), h + self.h_place.to(h.dtype)
        for layer in self.layers:
            v, h = layer(v, h, y)
        return self.head(h).unflatten(1, (self.levels, -1))
