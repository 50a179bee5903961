"""PixelCNN: masked convolutions, all pixels trained at once, and a blind spot."""

import torch
from torch import Tensor, nn

from genlib.autoregressive.heads import head
from genlib.autoregressive.masks import MaskedConv2d, colour_groups
from genlib.autoregressive.pixel_model import PixelModel
from genlib.layers import at_every_pixel
from genlib.validation import Shape


class ResidualBlock(nn.Module):
    """Reduce to half the width, read the neighbours (3 x 3), expand, add (fig. 5 of the paper, right)."""

    def __init__(self, group: Tensor, half: Tensor, n_classes: int):
        super().__init__()
        self.reduce = MaskedConv2d(group, half, (1, 1), mask="B")
        self.conv3x3 = MaskedConv2d(half, half, (2, 3), mask="B")
        self.expand = MaskedConv2d(half, group, (1, 1), mask="B")
        if n_classes:
            self.class_bias = nn.Embedding(n_classes, len(half))

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.conv3x3(self.reduce(x.relu()).relu())
        if y is not None:
            h = h + at_every_pixel(self.class_bias(y), h)  # what, not where
        return x + self.expand(h.relu())


class PixelCNN(PixelModel):
    r"""PixelCNN: a stack of masked convolutions with an exact likelihood.

    The first layer has a 7x7 kernel with mask A, which hides the value being predicted; residual
    blocks with 3x3 kernels and mask B widen the view. All conditionals come from one pass, so
    training sees every pixel of an image at once.

    The view has a hole. A 3x3 layer climbs one row and moves at most one column to the right, so the
    stack never reads the pixel $r$ rows up and more than $r + 2$ columns to the right. This blind
    spot (van den Oord et al., 2016, arXiv:1606.05328, section 2.2 and figure 1) is part of the model
    and is kept; `GatedPixelCNN` removes it.

    Paper: van den Oord et al. (2016), arXiv:1601.06759, sections 3.4 and 3.5, table 1.
    Departs from it: the residual stream has `hidden_dim` maps where the paper writes 2h; class labels
    enter as a bias, as in arXiv:1606.05328, equation 4.

    Args:
        shape, levels, n_classes: as `PixelModel`.
        hidden_dim: width F of the residual stream, at least 2 C.
        depth: number of residual blocks.
        n_logistics: logistics in the mixture that gives the levels their probabilities
            (`genlib.autoregressive.heads`), 0 for a softmax.

    Shapes and errors: as `PixelModel`.

    Example:
        >>> model = PixelCNN(shape=(1, 8, 8), levels=17, hidden_dim=16, depth=2)
        >>> x = model.sample(4)
        >>> model.log_prob(x).shape
        torch.Size([4])
    """

    supports_cache = True

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        *,
        levels: int = 2,
        hidden_dim: int = 64,
        depth: int = 7,
        n_classes: int = 0,
        n_logistics: int = 0,
    ):
        super().__init__(shape, levels=levels, n_classes=n_classes)
        n_colours = self.shape[0]
        colour = torch.arange(n_colours)
        group = colour_groups(hidden_dim, n_colours)
        half = colour_groups(hidden_dim // 2, n_colours)
        self.first = MaskedConv2d(colour, group, (4, 7), mask="A")
        self.blocks = nn.ModuleList(ResidualBlock(group, half, n_classes) for _ in range(depth))
        self.head = head(group, n_colours, levels, n_logistics)

    def network(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = block(h, y)
        return self.head(h).unflatten(1, (self.levels, -1))
