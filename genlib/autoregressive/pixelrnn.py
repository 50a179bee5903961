"""What the two PixelRNNs, `RowLSTM` and `DiagonalBiLSTM`, have in common."""

import torch
from torch import Tensor, nn

from genlib.autoregressive.heads import softmax_head
from genlib.autoregressive.masks import MaskedConv2d, colour_groups
from genlib.autoregressive.pixel_model import PixelModel
from genlib.validation import Shape


def lstm(gates: Tensor, c: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    r"""The core of a long short-term memory: new state h and memory c (eq. 3).

    $$[o, f, i, g] = \sigma(\text{gates}), \qquad
      c \leftarrow f \odot c + i \odot (2g - 1), \qquad h = o \odot \tanh(c)$$

    $2 \sigma(2a) - 1 = \tanh(a)$, so one $\sigma$ serves the content as well as the three gates; the
    weights absorb the inner 2. Features meet one to one, so each keeps its colour.

    Args:
        gates: what flows into the gates, 4h features along `dim`.
        c: memory before, h features along `dim`.
        dim: where the features are.

    Example:
        >>> h, c = lstm(torch.zeros(1, 8), torch.ones(1, 2), dim=1)
        >>> c.tolist()  # half forgotten, and nothing new
        [[0.5, 0.5]]
    """
    o, f, i, g = gates.sigmoid().chunk(4, dim)
    c = f * c + i * (2 * g - 1)
    return o * c.tanh(), c


class PixelRNN(PixelModel):
    """A masked convolution, recurrent layers, a head of two convolutions (table 1 of the paper).

    A subclass says what a recurrent layer is, and applies it in `network`.
    """

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        *,
        levels: int = 2,
        hidden_dim: int = 64,
        depth: int = 2,
        n_classes: int = 0,
    ):
        super().__init__(shape, levels=levels, n_classes=n_classes)
        n_colours = self.shape[0]
        colour = torch.arange(n_colours)
        group = colour_groups(hidden_dim, n_colours)
        half = colour_groups(hidden_dim // 2, n_colours)
        self.first = MaskedConv2d(colour, group, (4, 7), mask="A")
        self.layers = nn.ModuleList(self.layer(group, half) for _ in range(depth))
        self.head = softmax_head(group, n_colours, levels)

    def layer(self, group: Tensor, half: Tensor) -> nn.Module:
        """A recurrent layer; `group` are the colours of its input, `half` those of its state."""
        raise NotImplementedError
