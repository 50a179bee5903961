"""Theorems about the two PixelRNNs: what they read, in how many steps, and that loops agree."""

from collections.abc import Callable

import pytest
import torch
from test_autoregressive import SHAPES, earlier, reads
from torch import Tensor

from genlib.autoregressive import DiagonalBiLSTM, RowLSTM, diagonal_bilstm
from genlib.autoregressive.diagonal_bilstm import DiagonalBiLSTMLayer
from genlib.autoregressive.masks import MaskedConv2d, colour_groups
from genlib.autoregressive.row_lstm import RowLSTMLayer
from genlib.validation import Shape

# What they read


@SHAPES
@pytest.mark.parametrize("depth", [1, 2])
def test_diagonal_bilstm_reads_all_earlier_values_and_no_others(shape: Shape, depth: int):
    model = DiagonalBiLSTM(shape, levels=3, hidden_dim=48, depth=depth)
    assert torch.equal(reads(model), earlier(shape))


def visible_to_row_lstm(shape: Shape, depth: int) -> Tensor:
    """The triangle: what lies r rows up and at most r + 2 columns right, r + 3 + depth left.

    A state hears from the row above and (3 - 1) / 2 = 1 column beside: one column a row, to both
    sides. The first convolution adds 3 columns: to the left at no cost, to the right only together
    with a row up, so that 3 + (r - 1) are left of them. Each layer looks one more column to the left,
    none to the right, so depth widens the triangle on one side alone.
    """
    channels, height, width = shape
    place = torch.arange(height * width).repeat_interleave(channels)
    row, column = place // width, place % width
    up, right = row[:, None] - row, column - column[:, None]
    triangle = (up == 0) | (right <= up + 2)
    return earlier(shape) & triangle & (-right <= up + 3 + depth)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    "shape", [(1, 7, 7), (1, 4, 9), (1, 9, 4), (3, 4, 6), (2, 5, 3), (1, 3, 16), (3, 2, 10)]
)
def test_row_lstm_reads_exactly_its_triangle(shape: Shape, depth: int):
    model = RowLSTM(shape, levels=3, hidden_dim=48, depth=depth)
    assert torch.equal(reads(model), visible_to_row_lstm(shape, depth))


def test_the_triangle_of_one_layer_in_a_1x16_row_is_four_columns_long():
    reach = visible_to_row_lstm((1, 1, 16), depth=1).sum(dim=1)
    assert reach.tolist() == [0, 1, 2, 3] + 12 * [4]


# Mistakes that others have made. The exact pattern above notices each of them


def never_flipped_back(layer: DiagonalBiLSTMLayer, height: int, width: int) -> None:
    """The second direction reads the mirrored map, and its states stay mirrored."""
    n = height * width
    layer.back[n:] = n + layer.back[:n]


def rows_flipped(layer: DiagonalBiLSTMLayer, height: int, width: int) -> None:
    """The second direction starts at a lower corner: rows are mirrored where columns should be."""
    n = height * width
    upside_down = torch.arange(n).view(height, width).flip(0).flatten()
    layer.order[n:] = upside_down[layer.order[:n]]
    layer.back[n:] = n + layer.back[:n][upside_down]


def not_shifted(layer: DiagonalBiLSTMLayer, height: int, width: int) -> None:
    """The second direction is added where it stands, and tells a pixel what is to its right."""

    def forward(x: Tensor, image: Tensor, y: Tensor | None) -> Tensor:
        states = layer.scan(layer.gates_by_diagonal(x, image, y)).flatten(0, 1)
        states = states.index_select(0, layer.back).unflatten(0, (2, height, width))
        return x + layer.expand(states.sum(dim=0).permute(2, 3, 0, 1))

    layer.forward = forward  # type: ignore[method-assign]


# One layer and a wide image: further layers, and the first convolution, cover blind spots up
@pytest.mark.parametrize("shape", [(1, 4, 9), (2, 3, 10)])
@pytest.mark.parametrize(
    "mistake, leaks", [(never_flipped_back, False), (rows_flipped, True), (not_shifted, True)]
)
def test_the_jacobian_finds_known_mistakes(mistake: Callable, leaks: bool, shape: Shape):
    model = DiagonalBiLSTM(shape, levels=3, hidden_dim=48, depth=1)
    mistake(model.layers[0], *shape[1:])
    pattern = reads(model)
    assert not torch.equal(pattern, earlier(shape))
    assert (pattern & ~earlier(shape)).any() == leaks  # what does not leak goes blind instead


@pytest.mark.parametrize("shape", [(1, 7, 7), (1, 4, 9), (3, 4, 6)])
@pytest.mark.parametrize("depth", [1, 2])
def test_without_the_image_no_state_reads_the_last_value_of_the_row_above(shape: Shape, depth: int):
    """As published: mask A hides a value from its own pixel, where the way leftwards begins."""
    model = DiagonalBiLSTM(shape, levels=3, hidden_dim=48, depth=depth)
    channels, _, width = shape
    for layer in model.layers:
        layer.input_to_state.mask[:, -channels:] = 0
    place = torch.arange(len(earlier(shape)))
    row, column, colour = place // channels // width, place // channels % width, place % channels
    last = (column == width - 1) & (colour == channels - 1)
    far = column < width - 4  # nearer pixels read it by the first convolution
    hidden = (row[:, None] == row + 1) & far[:, None] & last
    assert torch.equal(reads(model), earlier(shape) & ~hidden)


# The fast pass is the loop that a reader of the paper would write


def at(conv: MaskedConv2d, tap: int) -> Tensor:
    """The matrix that a one-row kernel applies to the pixel at one of its taps."""
    return (conv.weight * conv.mask)[:, :, 0, tap]


def eq3(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The LSTM as the paper writes it, whose last gate has weights half as large."""
    o, f, i, g = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * (g / 2).tanh()
    return o.sigmoid() * c.tanh(), c


def row_lstm_pixel_by_pixel(layer: RowLSTMLayer, x: Tensor, y: Tensor | None) -> Tensor:
    batch, _, height, width = x.shape
    to_state, expand, W = layer.input_to_state, layer.expand, layer.recurrence.state_to_state.weight
    bias = to_state.bias + (0 if y is None else layer.class_bias(y))  # (B, 4h) or (4h,)
    zero = x.new_zeros(batch, W.shape[1])
    h, c, out = {}, {}, []
    for i in range(height):
        for j in range(width):
            gates = x[:, :, i, j] @ at(to_state, 1).T + bias
            if j > 0:
                gates = gates + x[:, :, i, j - 1] @ at(to_state, 0).T
            for tap in range(3):
                gates = gates + h.get((i - 1, j + tap - 1), zero) @ W[:, :, tap].T
            h[i, j], c[i, j] = eq3(gates, c.get((i - 1, j), zero))
            out.append(x[:, :, i, j] + h[i, j] @ at(expand, 0).T + expand.bias)
    return torch.stack(out, dim=2).view_as(x)


def diagonal_bilstm_pixel_by_pixel(
    layer: DiagonalBiLSTMLayer, x: Tensor, image: Tensor, y: Tensor | None
) -> Tensor:
    batch, _, height, width = x.shape
    to_state, expand, W = layer.input_to_state, layer.expand, layer.state_to_state
    bias = (to_state.bias + (0 if y is None else layer.class_bias(y))).chunk(2, dim=-1)
    zero = x.new_zeros(batch, W.shape[1] // 2)
    states = []
    for k, beside in enumerate([-1, 1]):  # the neighbour to the left, then the one to the right
        weight = at(to_state, 0).chunk(2)[k]
        h, c = {}, {}
        for i in range(height):
            for j in range(width)[::-beside]:
                own = torch.cat([x[:, :, i, j], image[:, :, i, j]], dim=1) @ weight.T + bias[k]
                h_side, h_up = h.get((i, j + beside), zero), h.get((i - 1, j), zero)
                gates = own + torch.cat([h_side, h_up], dim=1) @ W[k]
                h[i, j], c[i, j] = eq3(gates, c.get((i, j + beside), zero))
        states.append(h)
    left, right = states
    out = [
        x[:, :, i, j] + (left[i, j] + right.get((i - 1, j), zero)) @ at(expand, 0).T + expand.bias
        for i in range(height)
        for j in range(width)
    ]
    return torch.stack(out, dim=2).view_as(x)


def assert_same_values_and_gradients(fast: Tensor, slow: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(fast, slow)
    weight = torch.randn_like(fast)
    torch.testing.assert_close(
        torch.autograd.grad((fast * weight).sum(), inputs),
        torch.autograd.grad((slow * weight).sum(), inputs),
    )


SIZES = pytest.mark.parametrize("height, width", [(5, 5), (3, 6), (6, 3), (1, 4), (4, 1), (1, 1)])
LABELS = pytest.mark.parametrize("y", [None, torch.tensor([0, 3, 1])], ids=["no y", "y"])


@SIZES
@LABELS
def test_a_row_lstm_layer_equals_a_loop_over_pixels(height: int, width: int, y: Tensor | None):
    n_classes = 0 if y is None else 4
    layer = RowLSTMLayer(colour_groups(8, 3), colour_groups(4, 3), n_classes).double()
    x = torch.randn(3, 8, height, width, dtype=torch.double, requires_grad=True)
    slow = row_lstm_pixel_by_pixel(layer, x, y)
    assert_same_values_and_gradients(layer(x, y), slow, [x, *layer.parameters()])


@SIZES
@LABELS
def test_a_diagonal_bilstm_layer_equals_a_loop_over_pixels(
    height: int, width: int, y: Tensor | None
):
    n_classes, shape = 0 if y is None else 4, (3, height, width)
    layer = DiagonalBiLSTMLayer(colour_groups(8, 3), colour_groups(4, 3), shape, n_classes).double()
    x = torch.randn(3, 8, height, width, dtype=torch.double, requires_grad=True)
    image = torch.randn(3, *shape, dtype=torch.double, requires_grad=True)
    slow = diagonal_bilstm_pixel_by_pixel(layer, x, image, y)
    assert_same_values_and_gradients(layer(x, image, y), slow, [x, image, *layer.parameters()])


@pytest.mark.parametrize("shape", [(1, 7, 7), (1, 4, 9), (1, 9, 4), (1, 1, 5), (3, 5, 1)])
def test_both_directions_take_a_step_a_diagonal_and_touch_each_pixel_once(
    shape: Shape, monkeypatch: pytest.MonkeyPatch
):
    _, height, width = shape
    pixels = []

    def counted(gates: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        directions, n, batch, _ = gates.shape
        assert (directions, batch) == (2, 6)
        pixels.append(n)
        return diagonal_step(gates, *rest)

    diagonal_step = diagonal_bilstm.diagonal_step
    monkeypatch.setattr(diagonal_bilstm, "diagonal_step", counted)
    DiagonalBiLSTM(shape, hidden_dim=12, depth=1)(torch.rand(6, *shape))
    assert len(pixels) == height + width - 1  # 2N - 1 for a square
    assert sum(pixels) == height * width  # and nothing is spent on padding
