"""Streaming: the same network, one pixel at a time, with what it will read again kept in a cache."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


@dataclass
class Walk:
    """Where a walk over n images in raster order stands; all streams of a network share it."""

    n: int
    width: int
    column: int = 0


class Stream(nn.Module):
    """A layer that meets its image pixel by pixel and remembers what it will need again.

    `start_row` comes before the first pixel of every row: the place for all that depends on finished
    rows only. Then every call takes and returns the features of one pixel, (n, F), at `walk.column`.
    There may be several calls at a pixel, one a colour; what came last is remembered.

    It defines `__call__`, not `forward`: there is one call a layer and pixel, and the way through
    the hooks of `nn.Module` would cost as much as the arithmetic.
    """

    def __init__(self, walk: Walk):
        super().__init__()
        self.walk = walk

    def start_row(self) -> None:
        raise NotImplementedError


@runtime_checkable
class Streamable(Protocol):
    """A layer that looks at other pixels, and has a form that remembers them."""

    def stream(self, walk: Walk) -> nn.Module: ...


def streaming(network: Network, walk: Walk) -> Network:
    """A copy of a network that walks over images in raster order and does only the new work.

    Features never change once they are made: a feature of a pixel depends on that pixel and earlier
    ones alone. So at every pixel it is enough to compute the features of that pixel, if the layers
    that look at other pixels remember what they will read again. Such a layer has a method
    `stream(walk)` that returns its streaming form. The copy has these forms in place of the layers
    and is otherwise the same code with the same parameters: ReLU, gate and sum work on the features
    (n, F) of one pixel as they do on maps (n, F, H, W). The network itself is left as it is.

    Source: Ramachandran et al. (2017), Fast Generation for Convolutional Autoregressive Models,
    arXiv:1704.06001; in addition, what finished rows contribute is computed a row at a time.

    Args:
        network: a module whose layers that look at other pixels have a method `stream`.
        walk: what the streams of the copy share; whoever walks sets `walk.column`.

    Example:
        >>> import torch
        >>> from genlib.autoregressive.masks import MaskedConv2d
        >>> one, walk = torch.zeros(1, dtype=torch.long), Walk(n=2, width=3)
        >>> net = nn.Sequential(MaskedConv2d(one, one, (2, 3), mask="A"), nn.Tanh())
        >>> x, stream, pixels = torch.rand(2, 1, 4, 3), streaming(net, walk), []
        >>> for i in range(4):
        ...     stream[0].start_row()
        ...     for j in range(3):
        ...         walk.column = j
        ...         pixels.append(stream(x[:, :, i, j]))
        >>> torch.allclose(torch.stack(pixels, dim=2).view(2, 1, 4, 3), net(x), atol=1e-6)
        True
    """
    # deepcopy takes over what it finds in `memo`, by identity, and copies the rest
    memo: dict[int, object] = {id(p): p for p in (*network.parameters(), *network.buffers())}
    for layer in _streamable_layers(network):
        memo[id(layer)] = layer.stream(walk)
    stream = copy.deepcopy(network, memo)
    for module in stream.modules():
        vars(module).update(module._modules)  # found at once, without the detour of nn.Module
    return stream


def _streamable_layers(network: nn.Module) -> Iterator[Streamable]:
    """The outermost ones: a layer that streams looks after those inside it."""
    if isinstance(network, Streamable):
        yield network
    else:
        for layer in network.children():
            yield from _streamable_layers(layer)
