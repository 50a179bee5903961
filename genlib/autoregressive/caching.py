"""Cached sampling: the same network, one pixel at a time, with what it will read again in a cache."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


@dataclass
class DecodingState:
    """The place in n images drawn in raster order; all cached layers of a network share it."""

    n: int
    width: int
    column: int = 0


class CachedLayer(nn.Module):
    """A layer that takes its image pixel by pixel and keeps in a cache what it will read again.

    `start_row` comes before the first pixel of every row: the place for all that depends on finished
    rows only. Then every call takes and returns the features of one pixel, (n, F), at `decoding.column`.
    There may be several calls at a pixel, one a colour; what came last is remembered.

    It defines `__call__`, not `forward`: there is one call a layer and pixel, and the way through
    the hooks of `nn.Module` would cost as much as the arithmetic.
    """

    def __init__(self, decoding: DecodingState):
        super().__init__()
        self.decoding = decoding

    def start_row(self) -> None:
        raise NotImplementedError


@runtime_checkable
class Cacheable(Protocol):
    """A layer that reads other pixels, and has a form that keeps them in a cache."""

    def cached(self, decoding: DecodingState) -> nn.Module: ...


def cached(network: Network, decoding: DecodingState) -> Network:
    """A copy of a network that takes images pixel by pixel in raster order and does only the new work.

    Features never change once they are made: a feature of a pixel depends on that pixel and earlier
    ones alone. So at every pixel it is enough to compute the features of that pixel, if the layers
    that read other pixels keep what they will read again in a cache. Such a layer has a method
    `cached(decoding)` that returns its cached form. The copy has these forms in place of the layers
    and is otherwise the same code with the same parameters: ReLU, gate and sum work on the features
    (n, F) of one pixel as they do on maps (n, F, H, W). The network itself is left as it is.

    Source: Ramachandran et al. (2017), Fast Generation for Convolutional Autoregressive Models,
    arXiv:1704.06001; in addition, what finished rows contribute is computed a row at a time.

    Args:
        network: a module whose layers that read other pixels have a method `cached`.
        decoding: what the cached layers of the copy share; the caller sets `decoding.column`.

    Example:
        >>> import torch
        >>> from genlib.autoregressive.masks import MaskedConv2d
        >>> one, decoding = torch.zeros(1, dtype=torch.long), DecodingState(n=2, width=3)
        >>> net = nn.Sequential(MaskedConv2d(one, one, (2, 3), mask="A"), nn.Tanh())
        >>> x, by_pixel, pixels = torch.rand(2, 1, 4, 3), cached(net, decoding), []
        >>> for i in range(4):
        ...     by_pixel[0].start_row()
        ...     for j in range(3):
        ...         decoding.column = j
        ...         pixels.append(by_pixel(x[:, :, i, j]))
        >>> torch.allclose(torch.stack(pixels, dim=2).view(2, 1, 4, 3), net(x), atol=1e-6)
        True
    """
    # deepcopy takes over what it finds in `memo`, by identity, and copies the rest
    memo: dict[int, object] = {id(p): p for p in (*network.parameters(), *network.buffers())}
    for layer in _cacheable_layers(network):
        memo[id(layer)] = layer.cached(decoding)
    copied = copy.deepcopy(network, memo)
    for module in copied.modules():
        vars(module).update(module._modules)  # found at once, without the detour of nn.Module
    return copied


def _cacheable_layers(network: nn.Module) -> Iterator[Cacheable]:
    """The outermost ones: the cached form of a layer takes care of the layers inside it."""
    if isinstance(network, Cacheable):
        yield network
    else:
        for layer in network.children():
            yield from _cacheable_layers(layer)
