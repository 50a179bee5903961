"""The recurrent layers as the loops that a reader of the paper would write: tests hold them equal to the fast ones."""

import torch
from torch import Tensor

from genlib.autoregressive.diagonal_bilstm import DiagonalBiLSTMLayer
from genlib.autoregressive.masks import MaskedConv2d
from genlib.autoregressive.row_lstm import RowLSTMLayer


def at(conv: MaskedConv2d, tap: int) -> Tensor:
    """The matrix that a one-row kernel applies to the pixel at one of its taps."""
    return (conv.weight * conv.mask)[:, :, 0, tap]


def eq3(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The LSTM as the paper writes it, whose last gate has weights half as large."""
    o, f, i, g = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * (g / 2).tanh()
    return o.sigmoid() * c.tanh(), c


def row_lstm_pixel_by_pixel(layer: RowLSTMLayer, x: Tensor, y: Tensor | None) -> Tensor:
    """What a Row LSTM layer computes, one pixel after another."""
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
    """What a Diagonal BiLSTM layer computes, one pixel after another."""
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
