r"""Layers that several families share, their streaming forms, and the checks at the public door."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

Shape = tuple[int, int, int]
Network = TypeVar("Network", bound=nn.Module)


class MaskedConv2d(nn.Conv2d):
    r"""A convolution that reads only earlier pixels of the raster order.

    Output pixel $(i, j)$ reads the rows above it and, in its own row, the pixels to its left. Of its
    own pixel it reads what the colour order allows: every channel belongs to a group (red, green or
    blue), group $g$ reads groups $< g$ under mask A and groups $\le g$ under mask B. Mask A hides the
    value being predicted and belongs in the first layer; all later layers take mask B.

    A centred $k \times k$ kernel has nothing but zeros below its middle row, so those rows are not
    stored: the kernel has $\lfloor k/2 \rfloor + 1$ rows and its last one is the pixel's own. The mask
    multiplies the weight in the call; the parameter itself is never edited.

    Source: van den Oord et al. (2016), Pixel Recurrent Neural Networks, arXiv:1601.06759, section 3.4.

    Args:
        in_group: group of each input channel, a 1-D integer tensor.
        out_group: group of each output channel, likewise.
        kernel_size: (rows, columns), rows counted up from the own row; columns odd, or with
            `left_only` counted leftwards from the own pixel.
        mask: "A" or "B".
        dilation: distance between neighbouring taps.
        left_only: the kernel ends at the own pixel instead of being centred on it.

    Shapes:
        (B, len(in_group), H, W) -> (B, len(out_group), H, W)

    Example:
        >>> one = torch.zeros(1, dtype=torch.long)
        >>> conv = MaskedConv2d(one, one, kernel_size=(2, 3), mask="A")
        >>> conv.mask[0, 0].int().tolist()
        [[1, 1, 1], [1, 0, 0]]
    """

    mask: Tensor

    def __init__(
        self,
        in_group: Tensor,
        out_group: Tensor,
        kernel_size: tuple[int, int],
        mask: str,
        *,
        dilation: int = 1,
        left_only: bool = False,
    ):
        if mask not in ("A", "B"):
            raise ValueError(f'mask must be "A" or "B", not {mask!r}')
        super().__init__(len(in_group), len(out_group), kernel_size, dilation=dilation)
        rows, columns = kernel_size
        centre = columns - 1 if left_only else columns // 2
        allowed = torch.ones(self.weight.shape)
        allowed[:, :, -1, centre + 1 :] = 0
        later = in_group >= out_group[:, None] if mask == "A" else in_group > out_group[:, None]
        allowed[:, :, -1, centre].masked_fill_(later, 0)
        self.register_buffer("mask", allowed, persistent=False)
        # left, right, top, bottom: the output keeps the size of the input
        self.pad = (centre * dilation, (columns - 1 - centre) * dilation, (rows - 1) * dilation, 0)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(
            F.pad(x, self.pad), self.weight * self.mask, self.bias, dilation=self.dilation
        )

    def stream(self, walk: "Walk") -> "MaskedConvStream":
        """The same convolution one pixel at a time, see `streaming`."""
        return MaskedConvStream(self, walk)


# Streaming: the same network, one pixel at a time. --------------------------------------------------


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


class MaskedConvStream(Stream):
    r"""`MaskedConv2d`, a pixel at a time.

    A convolution adds up one matrix product a tap, $\sum_t W_t x_{p+t}$. Taps in the rows above read
    finished pixels, so `start_row` adds them up for the whole row, in one product. What is left at a
    pixel are the taps of its own row: those to the left, and the pixel itself.

    Inputs are remembered as they are, not copied. This matters in a first layer: mask A does not read
    the value about to be drawn, and when the next pixel reads it, it has been filled in.
    """

    def __init__(self, conv: MaskedConv2d, walk: Walk):
        super().__init__(walk)
        assert conv.bias is not None
        (left, right, n_above, _), (_, columns) = conv.pad, conv.kernel_size
        self.dilation = conv.dilation[0]
        self.columns = range(0, columns * self.dilation, self.dilation)  # of the taps

        weight = (conv.weight * conv.mask).detach()  # masked once a walk
        taps = weight.permute(2, 3, 1, 0).contiguous()  # (rows, columns, F, F')
        self.taps_above = taps[:-1].flatten(0, 2)
        *self.left_taps, (_, self.own_tap) = [
            (k, tap) for k, tap in zip(self.columns, taps[-1], strict=True) if k <= left
        ]
        self.bias = conv.bias.detach()  # (F',)

        # a row is a list of pixels (n, F), with zeros at both ends for taps beyond the image
        self.row = [weight.new_zeros(walk.n, conv.in_channels)] * (left + walk.width + right)
        self.own = left  # where column 0 lies in the list
        self.rows_above = [torch.stack(self.row)] * n_above
        # what comes out at each pixel of the row, (n, F'), and the part that rows above contribute
        self.out = weight.new_empty(walk.width, walk.n, conv.out_channels).unbind()
        self.from_above = (self.bias.repeat(walk.n, 1),) * walk.width

    def start_row(self) -> None:
        if not self.rows_above:
            return
        self.rows_above = [*self.rows_above[1:], torch.stack(self.row)]
        width = self.walk.width
        read = [
            row[k : k + width] for row in self.rows_above[:: self.dilation] for k in self.columns
        ]
        x = torch.cat(read, dim=2)  # (W, n, rows * columns * F)
        out = torch.addmm(self.bias, x.flatten(0, 1), self.taps_above)
        self.from_above = out.unflatten(0, (width, -1)).unbind()

    def __call__(self, x: Tensor) -> Tensor:
        column, row = self.walk.column, self.row
        row[self.own + column] = x
        # a sum and a product in one, written to memory that is there already
        out = torch.addmm(self.from_above[column], x, self.own_tap, out=self.out[column])
        for k, tap in self.left_taps:
            out.addmm_(row[column + k], tap)
        return out


def at_every_pixel(bias: Tensor, x: Tensor) -> Tensor:
    """View a bias for each image, (n, F), so that it adds to all pixels of `x`, (n, F, ...).

    Example:
        >>> at_every_pixel(torch.zeros(2, 8), torch.zeros(2, 8, 5, 5)).shape
        torch.Size([2, 8, 1, 1])
    """
    return bias.view(*bias.shape, *[1] * (x.ndim - bias.ndim))


def colour_groups(features: int, n_colours: int) -> Tensor:
    """Share `features` channels out among the colours, as evenly as they go: (features,) integers.

    Feature maps carry a colour too, so that green's features may read red's and not the reverse.

    Raises:
        ValueError: fewer features than colours; one of them would have no feature of its own.

    Example:
        >>> colour_groups(8, 3).tolist()
        [0, 0, 0, 1, 1, 1, 2, 2]
    """
    if features < n_colours:
        raise ValueError(
            f"{features} feature maps cannot be shared out among {n_colours} colours: "
            "give the model more channels"
        )
    return torch.arange(features) * n_colours // features


def check_sizes(shape: Shape, levels: int = 2, n_classes: int = 0) -> Shape:
    """Refuse images that no model can be built for; the shape comes back as a tuple.

    Raises:
        ValueError: with what to pass instead.

    Example:
        >>> check_sizes((1, 8, 8), levels=1)
        Traceback (most recent call last):
            ...
        ValueError: levels must be at least 2, not 1: one level says nothing
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape must be (C, H, W), all positive, not {shape}")
    if levels < 2:
        raise ValueError(f"levels must be at least 2, not {levels}: one level says nothing")
    if n_classes < 0:
        raise ValueError(f"n_classes must be 0 (unconditional) or more, not {n_classes}")
    return shape[0], shape[1], shape[2]


def check_images(x: Tensor, shape: Shape, levels: int | None = None) -> None:
    """Refuse what is not a batch of images, and say what to pass instead.

    Shape and type are always checked. The values are looked at only where looking is free: on a GPU
    it would stall the queue, and fake tensors or a compiled graph have no values to look at.

    Args:
        x: the images, (B, C, H, W) floats in [0, 1].
        shape: (C, H, W) that the model was built for.
        levels: if given, values must also lie on the grid k / (levels - 1).

    Raises:
        TypeError: `x` is not a tensor of floats.
        ValueError: wrong shape, a NaN, a value outside [0, 1], or one off the grid.

    Example:
        >>> check_images(torch.full((2, 1, 4, 4), 0.5), shape=(1, 4, 4), levels=2)
        Traceback (most recent call last):
            ...
        ValueError: images must lie on the grid of 2 levels, k / 1, and these do not: ...
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(
            f"images must be a float tensor in [0, 1], not {kind}: "
            "ImageSet.batches gives such tensors; for raw levels divide by levels - 1"
        )
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(shape):
        raise ValueError(
            f"images must have shape (B, {', '.join(map(str, shape))}), not {tuple(x.shape)}: "
            "build the model with the data's shape, or reshape the images"
        )
    if not values_are_free_to_read(x) or not x.numel():
        return
    low, high = (bound.item() for bound in x.aminmax())  # one pass; a NaN anywhere makes both NaN
    if math.isnan(low):
        raise ValueError("images contain NaN: look for the step that produced it")
    if low < 0 or high > 1:
        raise ValueError(
            f"images must lie in [0, 1], not in [{low:.3g}, {high:.3g}]: "
            "divide raw levels by levels - 1; a model rescales inside"
        )
    if levels is not None:
        level = x.detach() * (levels - 1)
        if (level - level.round()).abs_().max() > 1e-3:
            raise ValueError(
                f"images must lie on the grid of {levels} levels, k / {levels - 1}, and these do "
                "not: binarise them (genlib.data.binarise), or build the model with the data's "
                "levels"
            )


def at_least_one(name: str, value: int) -> int:
    """The value itself, or a refusal of what is to be counted and is not even one.

    Raises:
        ValueError: the value is below 1.

    Example:
        >>> at_least_one("steps", 0)
        Traceback (most recent call last):
            ...
        ValueError: steps must be at least 1, not 0
    """
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def check_labels(y: Tensor | None, batch: int, n_classes: int) -> None:
    """Refuse labels that are missing, surplus, of the wrong shape or type, or out of range.

    Args:
        y: labels, int64 (batch,), or None for an unconditional model.
        batch: how many images they belong to.
        n_classes: what the model was built with; 0 for an unconditional model.

    Raises:
        ValueError, TypeError: with what to pass instead.

    Example:
        >>> check_labels(None, batch=2, n_classes=10)
        Traceback (most recent call last):
            ...
        ValueError: this model is conditional (n_classes=10): pass labels y, int64 of shape (2,)
    """
    if n_classes == 0:
        if y is not None:
            raise ValueError(
                "this model is unconditional: leave the labels y out, or build it with n_classes"
            )
        return
    if y is None:
        raise ValueError(
            f"this model is conditional (n_classes={n_classes}): "
            f"pass labels y, int64 of shape ({batch},)"
        )
    if y.dtype != torch.int64:
        raise TypeError(f"labels must be int64, not {y.dtype}: use y.long()")
    if y.shape != (batch,):
        raise ValueError(f"labels must have shape ({batch},), one an image, not {tuple(y.shape)}")
    if values_are_free_to_read(y) and batch and (y.min() < 0 or y.max() >= n_classes):
        raise ValueError(
            f"labels must lie in 0..{n_classes - 1}, not in {int(y.min())}..{int(y.max())}"
        )


def values_are_free_to_read(x: Tensor) -> bool:
    """Whether a check may look at the values: not on a GPU, nor where there are none yet.

    Example:
        >>> values_are_free_to_read(torch.zeros(2)), values_are_free_to_read(torch.zeros(2, device="meta"))
        (True, False)
    """
    on_cpu = x.device.type == "cpu" and not isinstance(x, FakeTensor)
    return on_cpu and not torch.compiler.is_compiling()
