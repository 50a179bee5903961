"""Diagonal BiLSTM: a recurrent network that reads an image diagonal by diagonal."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.autoregressive.caching import CachedLayer, DecodingState
from genlib.autoregressive.masks import MaskedConv2d
from genlib.autoregressive.pixelrnn import PixelRNN, lstm
from genlib.validation import Shape


def diagonal_step(
    gates: Tensor, h_left: Tensor, h_up: Tensor, c_left: Tensor, W: Tensor
) -> tuple[Tensor, Tensor]:
    r"""$h_{x,y} = f(h_{x-1,y}, h_{x,y-1}, W)$, for any number of pixels and directions at once.

    Args:
        gates: what the pixels' own input adds to their gates, (directions, pixels, B, 4h).
        h_left: states of the pixels to their left, (directions, pixels, B, h).
        h_up: states of the pixels above them, likewise.
        c_left: memories of the pixels to their left, likewise.
        W: state-to-state weights, (directions, 2h, 4h).

    Returns:
        The pixels' own h and c, both (directions, pixels, B, h).
    """
    before = torch.cat([h_left, h_up], dim=-1)  # (directions, pixels, B, 2h)
    own = torch.baddbmm(gates.flatten(1, 2), before.flatten(1, 2), W)
    return lstm(own.view_as(gates), c_left, dim=-1)


class DiagonalBiLSTMLayer(nn.Module):
    """Reads the map from both upper corners to the lower ones, a diagonal at a step (section 3.2).

    The pixels of a diagonal do not need one another, so they are computed together. The paper skews
    the map to turn diagonals into columns, but half of a skewed map is padding; here the pixels are
    sorted by diagonal instead, and a step takes a slice that holds nothing else.
    """

    order: Tensor
    back: Tensor

    def __init__(self, group: Tensor, half: Tensor, shape: Shape, n_classes: int):
        super().__init__()
        n_colours, height, width = shape
        self.hidden = len(half)
        self.n_classes = n_classes
        # A layer reads the map and the image. A value is later than the features of its colour, so it
        # counts as the next colour. The second direction, which will move down a row, may read all
        reads = torch.cat([group, torch.arange(n_colours) + 1])
        gate_group = torch.cat([half.repeat(4), torch.full((4 * self.hidden,), n_colours)])
        self.input_to_state = MaskedConv2d(reads, gate_group, (1, 1), mask="B")
        # both neighbours are earlier in every colour, so these weights need no mask
        bound = (2 * self.hidden) ** -0.5
        self.state_to_state = nn.Parameter(
            torch.empty(2, 2 * self.hidden, 4 * self.hidden).uniform_(-bound, bound)
        )
        self.expand = MaskedConv2d(half, group, (1, 1), mask="B")
        if n_classes:
            self.class_bias = nn.Embedding(n_classes, 8 * self.hidden)

        # diagonal d holds the pixels with row + column = d, from its top row to its bottom row
        self.diagonals = [
            (max(0, d - width + 1), min(d, height - 1)) for d in range(height + width - 1)
        ]
        pixel = torch.arange(height * width)
        row, column = pixel // width, pixel % width
        order = ((row + column) * height + row).argsort()  # by diagonal, within it by row
        back = order.argsort()
        # the second direction does the same to the mirrored map, and is mirrored back at the end
        mirror = row * width + (width - 1 - column)
        self.register_buffer("order", torch.cat([order, mirror[order]]), persistent=False)
        self.register_buffer("back", torch.cat([back, len(pixel) + back[mirror]]), persistent=False)

    def forward(self, x: Tensor, image: Tensor, y: Tensor | None) -> Tensor:
        height, width = x.shape[2:]
        states = self.scan(self.gates_by_diagonal(x, image, y)).flatten(0, 1)  # (2 HW, B, h)
        states = states.index_select(0, self.back).unflatten(0, (2, height, width))
        left, right = states.permute(0, 3, 4, 1, 2)  # (B, h, H, W) each
        # `right` has read its own pixel and those to its right. Seen from one row below all of them
        # are in the past, so down it goes
        right = F.pad(right, (0, 0, 1, -1))
        return x + self.expand(left + right)

    def gates_by_diagonal(self, x: Tensor, image: Tensor, y: Tensor | None) -> Tensor:
        """`input_to_state` of the whole map, in the order of the scan, (2, HW, B, 4h).

        A 1 x 1 convolution is a matrix product, so it may as well come after the sorting: moving its
        input costs half of moving its output.
        """
        batch, _, height, width = x.shape
        pixels = torch.cat([x, image], dim=1).permute(2, 3, 0, 1).flatten(0, 1)  # (HW, B, F + C)
        pixels = pixels.index_select(0, self.order).unflatten(0, (2, -1))  # (2, HW, B, F + C)
        conv = self.input_to_state
        weight = (conv.weight * conv.mask).view(2, 4 * self.hidden, -1).mT  # (2, F + C, 4h)
        bias = conv.bias.view(2, 1, -1)  # type: ignore[union-attr]
        gates = torch.baddbmm(bias, pixels.flatten(1, 2), weight)  # (2, HW B, 4h)
        gates = gates.unflatten(1, (height * width, batch))
        if y is not None:  # the same at every pixel: what, not where
            gates = gates + self.class_bias(y).unflatten(1, (2, 1, -1)).permute(1, 2, 0, 3)
        return gates

    def scan(self, gates: Tensor) -> Tensor:
        """States of all pixels, a wavefront of H + W - 1 steps: (2, HW, B, 4h) -> (2, HW, B, h)."""
        h = c = gates.new_zeros(2, 0, gates.shape[2], self.hidden)  # no diagonal yet: no pixels
        first, last = 0, -1  # and no rows
        states = []
        lengths = [bottom - top + 1 for top, bottom in self.diagonals]
        for (top, bottom), own in zip(self.diagonals, gates.split(lengths, dim=1), strict=True):
            # Left neighbours are the same rows of the diagonal before, upper ones the rows above.
            # Those it lacks lie outside the image and are zeros; those it has too many are cut
            same_rows = (0, 0, 0, 0, first - top, bottom - last)
            rows_above = (0, 0, 0, 0, first - (top - 1), (bottom - 1) - last)
            h_left, h_up, c_left = F.pad(h, same_rows), F.pad(h, rows_above), F.pad(c, same_rows)
            h, c = diagonal_step(own, h_left, h_up, c_left, self.state_to_state)
            states.append(h)
            first, last = top, bottom
        return torch.cat(states, dim=1)

    def cached(self, decoding: DecodingState) -> "CachedDiagonalBiLSTM":
        """The same layer one pixel at a time, see `genlib.autoregressive.caching.cached`."""
        return CachedDiagonalBiLSTM(self, decoding)


class CachedDiagonalBiLSTM(CachedLayer):
    """`DiagonalBiLSTMLayer`, a pixel at a time.

    The first direction follows the raster order. It reads the state to its left, just computed, and
    the one above, which `start_row` multiplies by its weights for the whole row. The second direction is
    read from one row below only, so `start_row` computes it for the row just finished, from right to
    left.
    """

    def __init__(self, layer: DiagonalBiLSTMLayer, decoding: DecodingState):
        super().__init__(decoding)
        conv = layer.input_to_state
        assert conv.bias is not None
        # for each direction: from the input, masked once a sample, (F + C, 4h) and (4h,) ...
        self.input_weight = (conv.weight * conv.mask).detach().flatten(1).T.chunk(2, dim=1)
        self.input_bias = conv.bias.detach().chunk(2)
        # ... and from the state beside it in its row, and the one above, (h, 4h) each
        self.from_beside, self.from_up = (
            layer.state_to_state.detach().unflatten(1, (2, layer.hidden)).unbind(dim=1)
        )
        self.class_bias = layer.class_bias if layer.n_classes else None
        self.expand = layer.expand.cached(decoding)

        self.zeros = conv.weight.new_zeros(decoding.n, layer.hidden)
        self.h, self.c = [self.zeros] * decoding.width, [self.zeros] * decoding.width
        self.right = [self.zeros] * decoding.width  # the second direction's states of the row above
        self.inputs: dict[int, tuple[Tensor, Tensor]] = {}  # of this row
        self.y: Tensor | None = None

    def start_row(self) -> None:
        self.gates_from_up = (torch.stack(self.h) @ self.from_up[0]).unbind()
        if self.inputs:  # not on the first row
            self.right = self.second_direction()

    def second_direction(self) -> list[Tensor]:
        """Its states of the row just finished, whose values are all known by now."""
        x = torch.stack([torch.cat(self.inputs[j], dim=1) for j in range(self.decoding.width)])
        gates = self.input_to_state(1, x) + torch.stack(self.right) @ self.from_up[1]  # (W, n, 4h)
        h = c = self.zeros
        states = []
        for own in reversed(gates.unbind()):
            h, c = lstm(torch.addmm(own, h, self.from_beside[1]), c, dim=1)
            states.append(h)
        return states[::-1]

    def input_to_state(self, direction: int, x: Tensor) -> Tensor:
        gates = x @ self.input_weight[direction] + self.input_bias[direction]
        if self.class_bias is not None:
            gates = gates + self.class_bias(self.y).chunk(2, dim=1)[direction]
        return gates

    def __call__(self, x: Tensor, image: Tensor, y: Tensor | None) -> Tensor:
        j = self.decoding.column
        # not a copy: the image's own values are drawn after this, and the second direction reads them
        self.inputs[j], self.y = (x, image), y
        gates = self.input_to_state(0, torch.cat([x, image], dim=1)) + self.gates_from_up[j]
        h, c = (self.h[j - 1], self.c[j - 1]) if j else (self.zeros, self.zeros)
        self.h[j], self.c[j] = lstm(torch.addmm(gates, h, self.from_beside[0]), c, dim=1)
        return x + self.expand(self.h[j] + self.right[j])


class DiagonalBiLSTM(PixelRNN):
    r"""Diagonal BiLSTM: every pixel given the states to its left and above, in H + W - 1 steps.

    $$h_{x,y} = f(h_{x-1,y}, h_{x,y-1}, W)$$

    A state reads the pixel to its left and the one above, which read theirs: everything above and to
    the left. The pixels of a diagonal do not read one another, so a diagonal is one step, and N x N
    pixels take 2N - 1 steps instead of N^2. A second direction does the same from the upper right
    corner; its states move down a row before the two are added, for at their own place they would
    have read pixels still to come. Together they read every earlier pixel, in one layer.

    The steps concern training, where the whole image is known. A sample still comes value by value.

    Paper: van den Oord et al. (2016), arXiv:1601.06759, sections 3.2 and 3.3, table 1.
    Departs from it: each layer reads the image beside the map. In the paper the second direction
    reads the map alone, where the first mask hides each value from its own pixel, and begins at the
    right edge: no state reads the last value of a row for the far pixels of the next one. The map is
    sorted by diagonals, not skewed; class labels enter as a bias of the gates, as in
    arXiv:1606.05328, equation 4; the two convolutions of the head are as wide as the layers.

    Args:
        shape, levels, n_classes: as `PixelModel`.
        hidden_dim: width F of the residual stream, at least 2 C; a state has half of it.
        depth: number of recurrent layers.

    Shapes and errors: as `PixelModel`.

    Example:
        >>> model = DiagonalBiLSTM(shape=(1, 8, 8), levels=17, hidden_dim=16, depth=1)
        >>> x = model.sample(4)
        >>> model.log_prob(x).shape
        torch.Size([4])
    """

    supports_cache = True

    def layer(self, group: Tensor, half: Tensor) -> nn.Module:
        return DiagonalBiLSTMLayer(group, half, self.shape, self.n_classes)

    def network(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.first(x)
        for layer in self.layers:
            h = layer(h, x, y)
        return self.head(h).unflatten(1, (self.levels, -1))
