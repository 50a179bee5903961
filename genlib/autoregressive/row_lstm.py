"""Row LSTM: a recurrent network that reads an image row by row."""

import torch
from torch import Tensor, nn

from genlib.autoregressive.caching import CachedLayer, DecodingState
from genlib.autoregressive.masks import MaskedConv2d
from genlib.autoregressive.pixelrnn import PixelRNN, lstm
from genlib.layers import at_every_pixel


class RowRecurrence(nn.Module):
    """Every state reads three of the row above: (B, 4h, H, W) gates -> (B, h, H, W) states."""

    def __init__(self, hidden: int):
        super().__init__()
        self.hidden = hidden
        # the row above is earlier in every colour, so this convolution needs no mask
        self.state_to_state = nn.Conv1d(hidden, 4 * hidden, 3, padding=1, bias=False)

    def forward(self, gates: Tensor) -> Tensor:
        h = c = gates.new_zeros(len(gates), self.hidden, gates.shape[3])  # above the top row
        states = []
        for row in gates.unbind(dim=2):
            h, c = lstm(row + self.state_to_state(h), c, dim=1)
            states.append(h)
        return torch.stack(states, dim=2)

    def cached(self, decoding: DecodingState) -> "CachedRowRecurrence":
        """The same recurrence one pixel at a time, see `genlib.autoregressive.caching.cached`."""
        return CachedRowRecurrence(self, decoding)


class CachedRowRecurrence(CachedLayer):
    """`RowRecurrence`, a pixel at a time, (n, 4h) -> (n, h): what it reads is known a row before."""

    def __init__(self, recurrence: RowRecurrence, decoding: DecodingState):
        super().__init__(decoding)
        self.state_to_state = recurrence.state_to_state
        zeros = self.state_to_state.weight.new_zeros(decoding.n, recurrence.hidden)
        # at the start of a row those of the row above; replaced from left to right
        self.h, self.c = [zeros] * decoding.width, [zeros] * decoding.width

    def start_row(self) -> None:
        self.c_above = list(self.c)
        self.from_above = self.state_to_state(torch.stack(self.h, dim=2)).unbind(dim=2)

    def __call__(self, gates: Tensor) -> Tensor:
        j = self.decoding.column
        self.h[j], self.c[j] = lstm(gates + self.from_above[j], self.c_above[j], dim=1)
        return self.h[j]


class RowLSTMLayer(nn.Module):
    """Reads the map from top to bottom, a row at a step (section 3.1)."""

    def __init__(self, group: Tensor, half: Tensor, n_classes: int):
        super().__init__()
        # the paper's kernel of 3 sees the left neighbour and the pixel; its right third is masked
        self.input_to_state = MaskedConv2d(group, half.repeat(4), (1, 2), mask="B", left_only=True)
        self.recurrence = RowRecurrence(len(half))
        self.expand = MaskedConv2d(half, group, (1, 1), mask="B")
        if n_classes:
            self.class_bias = nn.Embedding(n_classes, 4 * len(half))

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        gates = self.input_to_state(x)  # (B, 4h, H, W): the whole map, nothing recurrent yet
        if y is not None:
            gates = gates + at_every_pixel(self.class_bias(y), gates)  # what, not where
        return x + self.expand(self.recurrence(gates))


class RowLSTM(PixelRNN):
    r"""Row LSTM: an image read from top to bottom, each row given the state of the row above.

    A state reads its own pixel, the left neighbour, and three states of the row above. So a pixel
    depends on the row above and a column beside it, from the next row up and two columns, and so on
    without end: a triangle. All pixels of a row are computed at once, in H steps a layer.

    The triangle is not the whole past. Towards the right it gains one column a row, whatever the
    depth, because within a row a further layer looks only to the left. With the three columns of the
    first convolution, the pixel $r$ rows up and more than $r + 2$ columns to the right stays unseen,
    as in `PixelCNN`; to the left, more than $r + 3 + \text{depth}$ columns away. `DiagonalBiLSTM`
    sees everything.

    Paper: van den Oord et al. (2016), arXiv:1601.06759, sections 3.1 and 3.3, table 1.
    Departs from it: class labels enter as a bias of the gates, as in arXiv:1606.05328, equation 4;
    the two convolutions of the head are as wide as the layers.

    Args:
        shape, levels, n_classes: as `PixelModel`.
        hidden_dim: width F of the residual stream, at least 2 C; a state has half of it.
        depth: number of recurrent layers.

    Shapes and errors: as `PixelModel`.

    Example:
        >>> model = RowLSTM(shape=(1, 8, 8), levels=17, hidden_dim=16, depth=2)
        >>> x = model.sample(4)
        >>> model.log_prob(x).shape
        torch.Size([4])
    """

    supports_cache = True

    def layer(self, group: Tensor, half: Tensor) -> nn.Module:
        return RowLSTMLayer(group, half, self.n_classes)

    def network(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.first(x)
        for layer in self.layers:
            h = layer(h, y)
        return self.head(h).unflatten(1, (self.levels, -1))
