r"""Checks for the exercises of lesson PixelCNN: one `Step` each, whose form course/checking/step.py explains.

Samplers are given a model whose levels follow from each other, and which remembers what it was shown.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import (
    Tensor,
    arange,
    cat,
    multinomial,
    ones,
    rand,
    randint,
    roll,
    sigmoid,
    softmax,
    stack,
    tanh,
    where,
    zeros,
)
from torch.autograd import grad
from torch.nn.functional import conv2d, log_softmax
from torch.nn.functional import pad as pad_with

from course.checking.core import Answer, Case, Wrong, call, normal, same
from course.checking.step import extreme, hard, step, tame
from genlib.validation import Shape

__all__ = [
    "blind_spot",
    "colour_mask",
    "complete",
    "conditionals",
    "gate",
    "look_up",
    "mask",
    "masked_conv",
    "nll",
    "receptive_field",
    "sample",
]

# ---------------------------------------------------------------- 1. the chain rule


def _joints(table: Tensor) -> list[Tensor]:
    return [table.sum(dim=(1, 2, 3)), table.sum(dim=(2, 3)), table.sum(dim=3), table]


def _normalised(p: Tensor, dim: int = -1) -> Tensor:
    return p / p.sum(dim=dim, keepdim=True)


def _table(g: torch.Generator, scale: float = 1) -> dict[str, Tensor]:
    return {"table": softmax(scale * normal(g, 16), 0).reshape(2, 2, 2, 2)}


def _what_of_the_factor(case: Case, *results: Tensor) -> str | None:
    got = next(a for a, b in zip(results[:4], results[4:], strict=True) if not same(a, b))
    if case.kind == "extreme":
        return None
    if not same(got.sum(dim=-1), ones(got.shape[:-1])):
        return "a factor does not sum to one over its own pixel, the last axis: each row of it is a distribution."
    if got.ndim > 1 and same(got, got[:1].expand_as(got)):
        return f"your p(x{got.ndim} | earlier pixels) does not depend on x1: keep all earlier pixels as axes."
    return None


@step(
    lambda g: [
        tame("a random table", **_table(g)),
        tame("another table", **_table(g)),
        extreme("very unlikely images", **_table(g, 6)),
    ],
    results=[f"p(x{i} | earlier pixels)" for i in (1, 2, 3, 4)],
    probe=_what_of_the_factor,
    passes="each factor sums to one over its own pixel, and their product is the table.",
)
def conditionals(table: Tensor) -> list[Tensor]:
    r"""Check `conditionals(table)`: the 16 probabilities of 2x2 images -> the four factors.

    `table[a, b, c, d]` is the probability of the image with rows (a, b) and (c, d). Wanted are
    $p(x_1)$, $p(x_2|x_1)$, $p(x_3|x_1,x_2)$ and $p(x_4|x_1,x_2,x_3)$, each with the earlier pixels as
    its first axes and the pixel it is about as the last.

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.conditionals(lambda table: [table.sum((1, 2, 3)), table.sum((2, 3)), table.sum(3), table])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: these are the joint probabilities p(x1, ..., xi): ...
    """
    return [_normalised(p) for p in _joints(table)]


conditionals.wrong = {
    "these are the joint probabilities p(x1, ..., xi): divide each by the probability of the pixels that come before, "
    "p(x1, ..., xi-1).":
        _joints,
    "you divide by a sum over the first axis, x1: sum over the pixel that the factor is about, its last axis.":
        lambda table: [_normalised(p, dim=0) for p in _joints(table)],
    "broadcasting pairs the wrong pixels when you divide by p(x1, ..., xi-1): give that a last axis of length 1, "
    "`previous[..., None]`.":
        lambda table: [_joints(table)[0], *(b / a for a, b in itertools.pairwise(_joints(table)))],
    "these are the marginals p(xi), as if pixels were independent: keep the earlier pixels as axes and sum out only "
    "the later ones.":
        lambda table: [table.sum(dim=[k for k in range(4) if k != i]) for i in range(4)],
    "your factors condition on the later pixels, not on the earlier ones: the first is p(x1), the last "
    "p(x4 | x1, x2, x3).":
        lambda table: [_normalised(p) for p in _joints(table.permute(3, 2, 1, 0))],
    "you take a softmax of probabilities: divide them by their sum.":
        lambda table: [softmax(p, -1) for p in _joints(table)],
    "each of your factors conditions only on the pixel just before: keep all earlier pixels as axes.":
        lambda table: [_joints(table)[0], *(_normalised(table.sum(dim=d)) for d in ((2, 3), (0, 3), (0, 1)))],
}  # fmt: skip


# ---------------------------------------------------------------- 2. the masks


def _raster(kind: str, size: int) -> Tensor:
    return (arange(size * size) < size * size // 2 + (kind == "B")).long().reshape(size, size)


def _other(kind: str) -> str:
    return "B" if kind == "A" else "A"


def _only_zeros_and_ones(got: Tensor) -> str | None:
    return "a mask holds only zeros and ones." if ((got != 0) & (got != 1)).any() else None


def _what_of_the_mask(case: Case, got: Tensor, want: Tensor) -> str | None:
    if words := _only_zeros_and_ones(got):
        return words
    middle = case.arguments["size"] // 2
    if got[middle + 1 :].any():
        return "your mask keeps something below the centre row: those rows come later, hide them."
    if got[middle, middle + 1 :].any():
        return "your mask keeps pixels to the right of the centre in its own row: they come later."
    if not got[:middle].all():
        return "your mask hides part of the rows above: all of them come earlier, to both sides."
    if not got[middle, :middle].all():
        return "your mask hides pixels to the left of the centre in its own row: they come earlier."
    if got[middle, middle]:
        return "your mask A keeps the centre at this size: it hides it at every size."
    return "your mask B hides the centre at this size: it keeps it at every size."


def _multiplies_a_weight(case: Case, got: Tensor) -> str | None:
    needed = torch.get_default_dtype()
    if got.is_floating_point() and got.dtype != needed:
        return (
            f"the mask is right, but of {got.dtype}, and the next step multiplies a weight of {needed} by it: "
            "`F.conv2d` wants one dtype."
        )
    return None


@step(
    lambda g: [
        tame(f'mask("{kind}", {size})', kind=kind, size=size)
        for size in (3, 5, 7, 1)
        for kind in "AB"
    ],
    probe=_what_of_the_mask,
    properties=[_multiplies_a_weight],
    passes="mask A hides the centre, mask B keeps it, and both hide all that comes later.",
)
def mask(kind: str, size: int) -> Tensor:
    r"""Check `mask(kind, size)`: the (size, size) mask of a centred kernel, kind "A" or "B".

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.mask(lambda kind, size: torch.ones(size, size))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your mask keeps something below the centre row: ...
    """
    return _raster(kind, size)


mask.wrong = {
    "your mask A keeps the centre: that is mask B. The first layer needs A, or it reads its own answer.":
        lambda kind, size: _raster("B", size),
    "your mask B hides the centre: that is mask A. Later layers need B, since their centre is a feature of earlier "
    "pixels.":
        lambda kind, size: _raster("A", size),
    "A and B are the wrong way round: A hides the centre, B keeps it.": lambda kind, size: _raster(_other(kind), size),
    "your mask reads column by column: transpose it. Raster order goes row by row.":
        lambda kind, size: _raster(kind, size).T,
    "your mask keeps what comes later and hides what came before: swap zeros and ones.":
        lambda kind, size: 1 - _raster(_other(kind), size),
}  # fmt: skip


# ---------------------------------------------------------------- 3. the masked convolution


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _to_convolve(
    g: torch.Generator, size: int, height: int = 6, width: int = 5
) -> dict[str, Tensor]:
    holes = rand(size, size, generator=g) < 0.5
    holes[-1, -1], holes[0, -1], holes[0, 0] = False, False, True
    return {
        "x": normal(g, 3, 2, height, width),
        "weight": normal(g, 4, 2, size, size),
        "mask": holes.to(torch.get_default_dtype()),
        "bias": normal(g, 4),
    }  # fmt: skip


def _where_the_convolution_differs(case: Case, got: Tensor, want: Tensor) -> str | None:
    off, r = got - want, len(case.arguments["mask"]) // 2
    if same(off, off[:1, :, :1, :1].expand_as(off)):
        return "one number is added to each output channel: add the bias once, as it is."
    if r and same(got[..., r:-r, r:-r], want[..., r:-r, r:-r]):
        return "right inside, but not near the border: beyond the edge there is no pixel, so pad with zeros."
    if r and same(got[..., r:, r:], want[..., :-r, :-r]):
        return f"your result is moved by {r} to the right and down: pad half of the kernel's size on every side."
    return None


@step(
    lambda g: [
        tame("a 3 x 3 kernel", **_to_convolve(g, 3)),
        tame("a 5 x 5 kernel", **_to_convolve(g, 5)),
        hard("a 1 x 1 kernel", **_to_convolve(g, 1)),
        hard("an image as high as the kernel", **_to_convolve(g, 5, 5, 7)),
    ],
    gradient="x weight bias",
    dtype="same",
    probe=_where_the_convolution_differs,
    changed="you overwrite an argument (`weight *= mask`, or `weight.data`): the optimiser owns the weight. Multiply "
    "in the call, `weight * mask`, which makes a new tensor.",
    passes="the mask multiplies in the call, the weight stays whole and gets its gradient.",
)  # fmt: skip
def masked_conv(x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor) -> Tensor:
    r"""Check `masked_conv(x, weight, mask, bias)`: as large as x, the weight itself untouched.

    x (B, C, H, W), weight (F, C, k, k), mask (k, k), bias (F,) -> (B, F, H, W).

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.masked_conv(lambda x, weight, mask, bias: torch.conv2d(x, weight * mask, bias))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the image shrinks, because nothing is padded: ...
    """
    return _conv(x, weight * mask, bias)


masked_conv.wrong = {
    "the mask has no effect: convolve with `weight * mask`, not with `weight`.":
        lambda x, weight, mask, bias: _conv(x, weight, bias),
    "the image shrinks, because nothing is padded: `padding=size // 2` keeps it as large as it was.":
        lambda x, weight, mask, bias: conv2d(x, weight * mask, bias),
    "a padding of 1 fits a 3 x 3 kernel only: take half of the kernel's size.":
        lambda x, weight, mask, bias: conv2d(x, weight * mask, bias, padding=1),
    "the bias is missing.": lambda x, weight, mask, bias: _conv(x, weight * mask),
    "the kernel is turned upside down: `F.conv2d` does not flip it, and you should not either.":
        lambda x, weight, mask, bias: _conv(x, (weight * mask).flip(2, 3), bias),
    "you use a mask of your own, not the one that is given: later layers will give mask B, or a mask of one row.":
        lambda x, weight, mask, bias: _conv(x, weight * _raster("A", len(mask)), bias),
    "rows and columns of the kernel are the wrong way round.":
        lambda x, weight, mask, bias: _conv(x, weight.mT * mask, bias),
    "you hide where the mask is 1 and keep where it is 0: ones are kept.":
        lambda x, weight, mask, bias: _conv(x, weight * (1 - mask), bias),
}  # fmt: skip


# ---------------------------------------------------------------- 4. the receptive field


class _Wired:
    """A network whose wires are known: wires[i, j, k, c] are the pixels that output k at (i, j) reads.

    Every wire gives u^2/8 - u^4/4 with u = x - 1/2. So the gradient at 1 - x is minus that at x, and the two
    cancel in a sum; and at x = 0, 1/2 and 1 it is zero, as behind a ReLU that is shut.
    """

    def __init__(
        self, generator: torch.Generator, height: int, width: int, levels: int, weight: float
    ):
        shape = (height, width, levels, 2, height, width)
        wires = rand(*shape, generator=generator) < 0.12
        wires[..., 0, 0, 1, 1] |= wires[..., 1, 0, 1, 1]
        wires[2, 1, 0, :, 0, 3], wires[2, 1, 1, :, 0, 3] = False, True  # not by the first output
        wires[2, 1, :, 0, 3, 0], wires[2, 1, 2, 1, 3, 0] = False, True  # by the second channel only
        wires[2, 1, 0, 0, 3, 3] = wires[2, 1, 0, 0, 1, 2] = wires[2, 1, 0, 0, 2, 2] = True
        wires[2, 1, 0, 0, 0, 1] = True
        wires[..., 0, 0] = wires[..., 3, 2] = False  # read by no output at all
        self.wires, self.weight = wires, weight

    def __call__(self, x: Tensor) -> Tensor:
        square = (x - 0.5).square()
        bumps = square / 8 - square.square() / 4
        return self.weight * torch.einsum("bchw,ijkchw->bkij", bumps, self.wires.to(x.dtype))


def _wired(g: torch.Generator) -> list[Case]:
    """Several pixels of one network, and one whose weights are very small."""
    net, faint = _Wired(g, 4, 5, 3, 1.0), _Wired(g, 4, 5, 3, 1e-9)
    x = where(rand(2, 2, 4, 5, generator=g) < 0.5, 0.25, 0.75)
    # the second half mirrors the first, so that gradients of opposite sign meet, except in two rows, where all are
    # negative, or positive
    x = cat([x, 1 - x]).to(torch.get_default_dtype())
    x[:, :, 1], x[:, :, 2] = 0.25, 0.75
    x[0, :, 3, 3] = (
        0  # nothing to be seen here in the first image, nor there in the last two, but in their mean
    )
    x[:, :, 0, 1] = torch.tensor([0.75, 0.25, 1.0, 0.5])[:, None]
    return [
        *(tame(f"pixel {pixel}", net=net, x=x, pixel=pixel) for pixel in ((2, 1), (1, 3), (0, 2))),
        hard("a pixel in a corner", net=net, x=x, pixel=(3, 0)),
        extreme("very small weights", net=faint, x=x, pixel=(2, 1)),
    ]  # fmt: skip


def _read(net: _Wired, x: Tensor, pixel: tuple[int, int]) -> Tensor:
    return net.wires[pixel].any(0).any(0)


def _signed(net: _Wired, x: Tensor, pixel: tuple[int, int]) -> Tensor:
    x = x.clone().requires_grad_()
    return grad(net(x)[..., pixel[0], pixel[1]].sum(), x)[0]


@step(
    _wired,
    changed="you leave marks on the caller's images (`requires_grad`, or a `.grad` that the next call adds to): work "
    "on `x.clone().requires_grad_()`.",
    passes="the gradient of one output pixel says which inputs it reads.",
)  # fmt: skip
def receptive_field(net: _Wired, x: Tensor, pixel: tuple[int, int]) -> Tensor:
    r"""Check `receptive_field(net, x, pixel)`: which input pixels the output at one pixel reads.

    `net` maps x (B, C, H, W) to (B, K, H, W). Wanted are booleans (H, W): does any channel of the input
    pixel, in any image, change any of the K outputs at `pixel`?

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.receptive_field(lambda net, x, pixel: (net(x) != 0)[0, 0])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for pixel (2, 1) the result of `receptive_field` is wrong: ...
    """
    return _read(net, x, pixel)


receptive_field.wrong = {
    "this is the field of (column, row): `pixel` is (row, column).":
        lambda net, x, pixel: _read(net, x, pixel[::-1]),
    "you differentiate the whole output: pick the one output pixel first, `net(x)[:, :, row, column]`.":
        lambda net, x, pixel: net.wires.flatten(0, 3).any(0),
    "this is the reverse, which outputs the pixel reaches: wanted is which inputs the output at the pixel reads.":
        lambda net, x, pixel: net.wires[..., pixel[0], pixel[1]].flatten(2).any(2),
    "gradients of opposite sign cancel when you add up the images: take `.abs()` before the sum.":
        lambda net, x, pixel: _signed(net, x, pixel).sum(dim=(0, 1)) != 0,
    "you add up signed gradients and ask for `> 0`: take `.abs()` before the sum, and then ask for `!= 0`.":
        lambda net, x, pixel: _signed(net, x, pixel).sum(dim=(0, 1)) > 0,
    "a negative gradient is a dependence too: ask for `!= 0`, not for `> 0`.":
        lambda net, x, pixel: (_signed(net, x, pixel) > 0).any(0).any(0),
    "you look at the first of the K outputs only: add up all of them.":
        lambda net, x, pixel: net.wires[pixel][0].any(0),
    "you look at the first input channel only: a pixel counts as read if any of its channels is.":
        lambda net, x, pixel: net.wires[pixel].any(0)[0],
    "a pixel counts as read if any of its channels is, not only if all are.":
        lambda net, x, pixel: net.wires[pixel].any(0).all(0),
    "you look at the first image only: a ReLU may be shut there and open in another, so look at all.":
        lambda net, x, pixel: (_signed(net, x, pixel)[0] != 0).any(0),
    "a pixel counts as read if it is in any image, not only if it is in all.":
        lambda net, x, pixel: (_signed(net, x, pixel) != 0).any(1).all(0),
    "you return what is not read: turn it round.": lambda net, x, pixel: ~_read(net, x, pixel),
}  # fmt: skip


# ---------------------------------------------------------------- 5. the blind spot


def _earlier(read: Tensor, pixel: tuple[int, int], own: int = 0) -> Tensor:
    height, width = read.shape
    return arange(height * width).reshape(height, width) < pixel[0] * width + pixel[1] + own


def _rows(read: Tensor) -> Tensor:
    return arange(read.shape[0])[:, None].expand(read.shape)


def _partly_read(g: torch.Generator, height: int, width: int, pixel: tuple[int, int]) -> Case:
    """Some pixels of every kind are read, and some are not."""
    read = rand(height, width, generator=g) < 0.5
    i, j = pixel
    edge = i in (0, height - 1) or j in (0, width - 1)
    if not edge:
        read[i, j - 1 : j + 2] = read[0, :2] = read[-1, -1] = False
        read[0, 2] = read[i + 1, 0] = True
    kind = hard if edge else tame
    return kind(f"pixel {pixel} of {height} x {width}", read=read, pixel=pixel)


def _what_of_the_blind_spot(case: Case, got: Tensor, want: Tensor) -> str | None:
    read, pixel = case.arguments.values()
    own, missed = _rows(read) == pixel[0], want & ~got
    for words, wrong in {
        "you count {}, which comes later.": got & ~_earlier(read, pixel),
        "you count {}, which is read.": got & read,
        "you leave out {}, left of the pixel in its own row: it comes earlier too.": missed & own,
        "you leave out {}, in a row above: all of these are earlier, to both sides.": missed & ~own,
    }.items():
        if wrong.any():
            return f"for {case.label} {words.format(tuple(wrong.nonzero()[-1].tolist()))}"
    return None


@step(
    lambda g: [
        _partly_read(g, 5, 5, (2, 2)),
        _partly_read(g, 4, 6, (2, 3)),
        _partly_read(g, 6, 4, (3, 1)),
        _partly_read(g, 4, 6, (1, 5)),
        _partly_read(g, 5, 3, (3, 0)),
        _partly_read(g, 3, 7, (2, 4)),
        _partly_read(g, 6, 5, (5, 4)),
        _partly_read(g, 3, 5, (0, 2)),
        _partly_read(g, 2, 4, (0, 0)),
    ],
    probe=_what_of_the_blind_spot,
    passes="earlier in raster order, and never read.",
)
def blind_spot(read: Tensor, pixel: tuple[int, int]) -> Tensor:
    r"""Check `blind_spot(read, pixel)`: the pixels before `pixel`, in raster order, that are not read.

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.blind_spot(lambda read, pixel: ~read)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you count later pixels as blind: ...
    """
    return _earlier(read, pixel) & ~read


blind_spot.wrong = {
    "you count later pixels as blind: they must not be read, so only earlier ones can be missed.":
        lambda read, pixel: ~read,
    "you count the pixel itself: it is the answer, and not one of the earlier pixels.":
        lambda read, pixel: _earlier(read, pixel, own=1) & ~read,
    "you take what is above and to the left, as a rectangle: raster order takes the rows above whole.":
        lambda read, pixel: (_rows(read) <= pixel[0]) & (_rows(read.T).T < pixel[1]) & ~read,
    "this is what is seen among the earlier pixels; the blind spot is what is not.":
        lambda read, pixel: _earlier(read, pixel) & read,
    "you order the pixels column by column: raster order goes row by row.":
        lambda read, pixel: _earlier(read.T, pixel[::-1]).T & ~read,
}  # fmt: skip


# ---------------------------------------------------------------- 6. the vertical stack


def _up(x: Tensor, weight: Tensor, above: int, left: int | None = None) -> Tensor:
    """With as many zeros above, and the rest of what keeps the size below."""
    rows, columns = weight.shape[2:]
    left = columns // 2 if left is None else left
    return conv2d(pad_with(x, (left, columns - 1 - left, above, rows - 1 - above)), weight)


def _look_up(x: Tensor, weight: Tensor, strict: bool) -> Tensor:
    return _up(x, weight, weight.shape[2] - 1 + strict)


def _centred(x: Tensor, weight: Tensor) -> Tensor:
    return _up(x, weight, weight.shape[2] // 2)


def _without_last_row(weight: Tensor, strict: bool) -> Tensor:
    return weight * (arange(weight.shape[2]) < weight.shape[2] - int(strict))[:, None]


def _upwards(
    g: torch.Generator, rows: int, columns: int, strict: bool, height: int = 6, width: int = 7
) -> Case:
    x = normal(g, 3, 2, height, width)
    x[-1] = 0
    x[-1, :, height // 2, width // 2] = 1  # which outputs does this one pixel reach?
    kind = hard if 1 in (rows, columns) or height < rows else tame
    label = f"a {rows} x {columns} kernel with strict={strict}"
    return kind(label, x=x, weight=normal(g, 4, 2, rows, columns), strict=strict)


def _placeit_looks(case: Case, got: Tensor, want: Tensor) -> str | None:
    reached, row = got[-1].abs() > 1e-6, got.shape[2] // 2
    if reached[:, :row].any():
        return "your kernel reads rows below the pixel, which come later: pad above, not below."
    if case.arguments["strict"] and reached[:, row].any():
        return "with strict=True your kernel still reads the pixel's own row."
    if not reached[..., : got.shape[3] // 2].any():
        return "your kernel never looks to the right: pad the columns on both sides."
    if case.arguments["strict"] and got[:-1, :, 0].any():
        return "with strict=True the first row has nothing above: move in zeros, and roll and repeat no rows."
    return None


@step(
    lambda g: [
        *(_upwards(g, 2, 3, strict) for strict in (True, False)),
        *(_upwards(g, 3, 5, strict) for strict in (True, False)),
        *(_upwards(g, 1, 3, strict) for strict in (True, False)),
        _upwards(g, 3, 1, True),
        _upwards(g, 4, 3, True, height=3),
    ],
    gradient="x weight",
    dtype="same",
    probe=_placeit_looks,
    passes="rows above only, both sides, and with strict=True not the pixel's own row.",
)
def look_up(x: Tensor, weight: Tensor, strict: bool) -> Tensor:
    r"""Check `look_up(x, weight, strict)`: a convolution that reads upwards, to both sides.

    weight (F, C, R, 2r + 1); its last row lies on the pixel's own row, or with `strict` on the row above.

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.look_up(lambda x, weight, strict: x[:, :, :1])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for a 2 x 3 kernel with strict=True the result of `look_up` has the shape ...
    """
    return _look_up(x, weight, strict)


look_up.wrong = {
    "`strict` has no effect, so the own row is always read: in the first layer it holds the answer and the pixels "
    "right of it. Move down by one row.":
        lambda x, weight, strict: _look_up(x, weight, False),
    "you move down by one row even when `strict` is False: later layers may read their own row, which already stands "
    "for rows above.":
        lambda x, weight, strict: _look_up(x, weight, True),
    "your kernel is centred and reads rows below, which come later: pad above, not below.":
        lambda x, weight, strict: _centred(x, weight),
    "your kernel is centred before you move it down, so it still reads its own row or rows below: pad above by R - 1.":
        lambda x, weight, strict: pad_with(_centred(x, weight), (0, 0, int(strict), -int(strict))),
    "you move the image up by one row, so a pixel reads the row below: it must move down.":
        lambda x, weight, strict: _up(x, weight, weight.shape[2] - 1 - strict),
    "you pad the columns on the left only, so the kernel never looks right, and that is the blind spot again: pad both "
    "sides.":
        lambda x, weight, strict: _up(x, weight, weight.shape[2] - 1 + strict, left=weight.shape[3] - 1),
    "you blank the kernel's last row: all R rows should be used, so move the image down instead.":
        lambda x, weight, strict: _look_up(x, _without_last_row(weight, strict), False),
    "the kernel is turned upside down: its last row is the nearest one.":
        lambda x, weight, strict: _look_up(x, weight.flip(2), strict),
    "True and False are the wrong way round: `strict` leaves the own row out.":
        lambda x, weight, strict: _look_up(x, weight, not strict),
}  # fmt: skip


# ---------------------------------------------------------------- 7. the gate and the label


def _to_gate(
    g: torch.Generator, f: int, size: tuple[int, int], labels: list[int], classes: int, scale=1.0
) -> dict[str, Tensor]:
    y = torch.tensor(labels)
    features = scale * normal(g, len(y), 2 * f, *size)
    return {"features": features, "bias": 1 + normal(g, classes, 2 * f), "y": y}


def _halves(features: Tensor, bias: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    f, g = (features + bias[y][:, :, None, None]).chunk(2, dim=1)
    return f, g


def _gated(features: Tensor, bias: Tensor, y: Tensor) -> Tensor:
    f, g = _halves(features, bias, y)
    return tanh(f) * sigmoid(g)


def _joined_by(
    join: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda features, bias, y: join(*_halves(features, bias, y))


def _half(bias: Tensor, first: bool) -> Tensor:
    """A bias of zeros but for one half of the channels."""
    n = bias.shape[1] // 2
    return cat([bias[:, :n] * first, bias[:, n:] * (not first)], 1)


def _late(features: Tensor, bias: Tensor, y: Tensor) -> Tensor:
    f, g = features.chunk(2, dim=1)
    of_f, of_g = bias[y][:, :, None, None].chunk(2, dim=1)
    return (tanh(f) + of_f) * (sigmoid(g) + of_g)


def _apart(x: Tensor) -> Tensor:
    """Channels of two kinds that take turns, one kind after the other."""
    return cat([x[:, ::2], x[:, 1::2]], 1)


@step(
    lambda g: [
        tame("3 images with 2 features", **_to_gate(g, 2, (3, 2), [4, 0, 2], 5)),
        tame("4 images of two classes", **_to_gate(g, 3, (2, 5), [1, 1, 0, 1], 2)),
        hard("a single image", **_to_gate(g, 4, (2, 3), [2], 3)),
        hard("images of one pixel", **_to_gate(g, 1, (1, 1), [3, 1, 0, 2, 3], 4)),
        extreme("gates wide open or shut", **_to_gate(g, 2, (4, 4), [1, 2], 3, scale=1000.0)),
    ],
    gradient="features bias",
    passes="one half proposes, the other lets pass, and the label shifts both.",
)  # fmt: skip
def gate(features: Tensor, bias: Tensor, y: Tensor) -> Tensor:
    r"""Check `gate(features, bias, y)`: $\tanh(f + b_y) \odot \sigma(g + b_y)$, equation 4 of Gated PixelCNN.

    features (B, 2F, H, W), the halves f and g; bias (K, 2F), a row for each label; y (B,) -> (B, F, H, W).

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.gate(lambda features, bias, y: features.chunk(2, 1)[0])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for 3 images with 2 features the result of `gate` is wrong: ...
    """
    return _gated(features, bias, y)


gate.wrong = {
    "the halves are the wrong way round: the first F channels are f, for tanh, and the others g, for sigma.":
        _joined_by(lambda f, g: tanh(g) * sigmoid(f)),
    "the label is missing: add row y of the bias.": lambda features, bias, y: _gated(features, 0 * bias, y),
    "the label shifts f alone: g gets its half of the row too.":
        lambda features, bias, y: _gated(features, _half(bias, True), y),
    "the label shifts g alone: f gets its half of the row too.":
        lambda features, bias, y: _gated(features, _half(bias, False), y),
    "the halves of the bias are the wrong way round: the first F of a row belong to f.":
        lambda features, bias, y: _gated(features, roll(bias, bias.shape[1] // 2, 1), y),
    "every image gets the label of the first: each has its own.":
        lambda features, bias, y: _gated(features, bias, y[:1].expand(len(y))),
    "every image gets the bias of label 0: take the row of its own label.":
        lambda features, bias, y: _gated(features, bias, 0 * y),
    "you average the bias over the labels: each image takes the row of its own.":
        lambda features, bias, y: _gated(features, bias.mean(0, keepdim=True), 0 * y),
    "you take the rows in the order of the images: image i gets row y[i].":
        lambda features, bias, y: _gated(features, bias, arange(len(y)) % len(bias)),
    "you subtract the bias: add it.": lambda features, bias, y: _gated(features, -bias, y),
    "you multiply by the bias: add it.":
        lambda features, bias, y: _gated(features * bias[y][:, :, None, None], 0 * bias, y),
    "you add the bias after the squashing: add it to f and g themselves.":
        _late,
    "f and g take turns in your channels: the first F channels are f, the others g.":
        lambda features, bias, y: _gated(_apart(features), _apart(bias), y),
    "both halves pass through sigma: features may be negative, so f takes tanh.":
        _joined_by(lambda f, g: sigmoid(f) * sigmoid(g)),
    "both halves pass through tanh: a gate is between 0 and 1, so g takes sigma.":
        _joined_by(lambda f, g: tanh(f) * tanh(g)),
    "the tanh of f is missing.": _joined_by(lambda f, g: f * sigmoid(g)),
    "your gate is open or shut: sigma(g) lies between.": _joined_by(lambda f, g: tanh(f) * (g > 0)),
    "you take the row before that of the label: labels start at 0.":
        lambda features, bias, y: _gated(features, bias, y - 1),
    "the sigma of g is missing.": _joined_by(lambda f, g: tanh(f) * g),
    "nothing is squashed: f takes tanh, and g takes sigma.": _joined_by(lambda f, g: f * g),
    "nothing is gated: multiply tanh(f) by sigma(g).": _joined_by(lambda f, g: tanh(f)),
    "this is the gate alone: multiply it by tanh(f).": _joined_by(lambda f, g: sigmoid(g)),
    "you add the halves: multiply them, so that a gate can shut.": _joined_by(lambda f, g: tanh(f) + sigmoid(g)),
    "f passes through a ReLU: the paper takes tanh.": _joined_by(lambda f, g: f.relu() * sigmoid(g)),
    "tanh(f) is 2 sigma(2 f) - 1: the inner 2 is missing.": _joined_by(lambda f, g: tanh(f / 2) * sigmoid(g)),
    "your gate opens where it should shut: it is sigma(g), not 1 - sigma(g).":
        _joined_by(lambda f, g: tanh(f) * sigmoid(-g)),
}  # fmt: skip


# ---------------------------------------------------------------- 8. the likelihood


def _picked(scores: Tensor, level: Tensor) -> Tensor:
    return scores.gather(1, level[:, None]).flatten(1)  # (B, CHW)


def _nats(logits: Tensor, level: Tensor) -> Tensor:
    return -_picked(log_softmax(logits, dim=1), level).sum(dim=1)


def _bits(logits: Tensor, level: Tensor, dims: int | None = None) -> Tensor:
    return _nats(logits, level) / ((dims or level[0].numel()) * math.log(2))


def _likely(
    g: torch.Generator, b: int, k: int, *shape: int, scale: float = 2.0
) -> dict[str, Tensor]:
    level = randint(k, (b, *shape), generator=g)
    return {"logits": scale * normal(g, b, k, *shape), "level": level}


@step(
    lambda g: [
        tame("random logits", **_likely(g, 3, 4, 2, 3, 5)),
        tame("other logits", **_likely(g, 2, 5, 3, 4, 2)),
        hard("a single image", **_likely(g, 1, 3, 2, 2, 4)),
        extreme("very unlikely pixels", **_likely(g, 2, 3, 1, 2, 4, scale=2000.0)),
    ],
    results=("the nats", "the bits"),
    gradient="logits",
    passes="nats for a whole image, bits for one of its dimensions.",
)
def nll(logits: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `nll(logits, level)`: nats an image, and bits a dimension, both (B,).

    logits (B, K, C, H, W), level int64 (B, C, H, W).

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.nll(lambda logits, level: (logits.sum(), logits.mean()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for random logits the nats of `nll` has the shape () where (3,) is wanted.
    """
    return _nats(logits, level), _bits(logits, level)


def _wrong_nats(scores: Callable[[Tensor], Tensor]) -> Callable:
    """A sum over the pixels of other scores."""
    return lambda logits, level: (-_picked(scores(logits), level).sum(dim=1), None)


nll.wrong = {
    "this is the log-likelihood: the loss is minus that, a positive number.":
        lambda logits, level: (-_nats(logits, level), None),
    "you average over the pixels: the log-probability of an image is the sum over all of them.":
        lambda logits, level: (_nats(logits, level) / level[0].numel(), None),
    "you average over everything, as `F.cross_entropy` does unless told `reduction='none'`: sum over the pixels of "
    "each image.":
        lambda logits, level: (_nats(logits, level).mean() / level[0].numel(), None),
    "you return one number for each pixel: sum over the pixels of an image.":
        lambda logits, level: (-_picked(log_softmax(logits, dim=1), level).reshape(level.shape), None),
    "you add up raw logits: only after `log_softmax` are they log-probabilities.": _wrong_nats(lambda logits: logits),
    "two softmaxes follow each other: `F.cross_entropy` and `log_softmax` take the logits themselves.":
        _wrong_nats(lambda logits: log_softmax(softmax(logits, 1), 1)),
    "your softmax runs over the wrong axis: the K levels are axis 1.":
        _wrong_nats(lambda logits: log_softmax(logits, -1)),
    "these are bits already: nats come from the natural logarithm.":
        lambda logits, level: (_nats(logits, level) / math.log(2), None),
    "you add up probabilities: take their logarithm first.": _wrong_nats(lambda logits: softmax(logits, 1)),
    "an unlikely pixel makes your result infinite: its probability is rounded to 0 before the logarithm. `log_softmax` "
    "or `cross_entropy` never leaves log-space.":
        _wrong_nats(lambda logits: softmax(logits, 1).log()),
    "these are nats per dimension: divide by ln 2 for bits.":
        lambda logits, level: (None, _nats(logits, level) / level[0].numel()),
    "these are bits per image: divide by the number of dimensions, C H W.":
        lambda logits, level: (None, _bits(logits, level, dims=1)),
    "you multiply by ln 2: a bit is ln 2 nats, so divide by it.":
        lambda logits, level: (None, _bits(logits, level) * math.log(2) ** 2),
    "you divide by the number of pixels: each colour channel is a dimension of its own, C H W in all.":
        lambda logits, level: (None, _bits(logits, level, dims=level[0, 0].numel())),
    "you count the K levels among the dimensions: there are C H W of them.":
        lambda logits, level: (None, _bits(logits, level, dims=logits[0].numel())),
    "you divide by the logarithm of K: a bit is ln 2 nats, with any number of levels.":
        lambda logits, level: (None, _bits(logits, level) * math.log(2) / math.log(logits.shape[1])),
    "your bits are negative: they are a cost.": lambda logits, level: (None, -_bits(logits, level)),
    "you divide by the number of images too: the bits of an image do not depend on the others.":
        lambda logits, level: (None, _bits(logits, level, dims=level.numel())),
}  # fmt: skip


# ---------------------------------------------------------------- 9. drawing an image


class _Chain:
    """Logits that leave no choice: after level k at place t comes 1 + (k + t) % (K - 1), never 0.

    The first value of an image is free, levels 1 to K - 1 being equally likely. What the calls were shown tells in
    which order a sampler goes, whatever it starts from.
    """

    def __init__(self, shape: Shape, levels: int = 7):  # the mean of 1, ..., 6 is no level
        self.shape, self.levels = shape, levels
        self.seen: list[Tensor] = []  # what each call was shown, (n, CHW) levels in raster order

    def __call__(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or tuple(x.shape[1:]) != self.shape:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise Wrong(f"`logits_of` wants images of shape (n, C, H, W), and was given {got}.")
        needed = torch.get_default_dtype()
        if x.dtype != needed:
            raise Wrong(
                f"`logits_of` is given images of {x.dtype}: a network of {needed} would stop here."
            )
        self.seen.append(self.in_order(x))
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        level = self._next(self.in_order(x))  # (n, CHW)
        logits = (arange(self.levels) == level[..., None]).to(x.dtype) * 100  # (n, CHW, K)
        logits[:, 0] = 100 * (arange(self.levels) > 0)
        channels, height, width = self.shape
        return logits.reshape(len(x), height, width, channels, -1).permute(0, 4, 3, 1, 2)

    def _next(self, value: Tensor) -> Tensor:
        before = pad_with(value[:, :-1], (1, 0))
        return 1 + (before + arange(value.shape[1])) % (self.levels - 1)

    def in_order(self, x: Tensor) -> Tensor:
        """(n, C, H, W) in [0, 1] -> (n, CHW) levels in raster order, colours within a pixel."""
        return (x.detach() * (self.levels - 1)).round().long().permute(0, 2, 3, 1).flatten(1)

    def follows(self, value: Tensor) -> Tensor:
        """Which values are as the one before demands, (n, CHW)."""
        fits = value == self._next(value)
        fits[:, 0] = value[:, 0] > 0
        return fits

    def no_levels(self, x: Tensor) -> str | None:
        """Why these are no images of this many levels."""
        level = x * (self.levels - 1)
        if same(level, level.round()) and x.min() >= 0 and x.max() <= 1:
            return None
        if same(x, x.round()) and x.min() >= 0:
            return "your images hold levels 0, 1, ..., K - 1: the model reads values from 0 to 1. Divide by levels - 1."
        if same(x * self.levels, (x * self.levels).round()) and x.min() >= 0:
            return "you divide by levels: divide by levels - 1, so that the last level is 1."
        return "your images hold values that are no level k / (levels - 1)."


MOST_LIKELY = (
    "you take the most likely level: draw one at random, with the probabilities softmax(logits)."
)
OF_OTHER_PROBABILITIES = "the levels are not drawn with the probabilities softmax(logits)."
ALL_THE_SAME = "all images of a call are the same: draw once for each image, not for all."


def _drawn(logits: Tensor) -> Tensor:
    return multinomial(softmax(logits, 1), 1)[:, 0]


def _likeliest(logits: Tensor) -> Tensor:
    return logits.argmax(1)


def _filled(
    logits_of: Answer, x: Tensor, keep: Tensor, levels: int, choose: Answer = _drawn
) -> Tensor:
    """Images (n, C, H, W), drawn value by value where they are not kept."""
    x = x.clone()
    for i, j, c in itertools.product(*(range(x.shape[k]) for k in (2, 3, 1))):
        level = choose(logits_of(x)[:, :, c, i, j]).to(x)
        x[:, c, i, j] = where(keep[:, c, i, j], x[:, c, i, j], level / (levels - 1))
    return x


def _asked(case: Case) -> dict[str, Any]:
    """The arguments, with a model that no longer records."""
    if not case.about.seen and 1 not in case.about.shape[1:]:  # of one row, loops may miss that
        raise Wrong("`sample` never calls `logits_of`: that is the model to draw from.")
    return {**case.arguments, "logits_of": case.about.logits}


def _what_went_wrong(case: Case, x: Tensor) -> str | None:
    """Why values do not follow from those before, told from what each call was shown."""
    chain = case.about
    value = chain.in_order(x)
    if words := chain.no_levels(x):
        return words
    if chain.follows(value).all():
        return ALL_THE_SAME if same(value[:1].expand_as(value), value) else None
    channels, height, width = chain.shape
    if len(chain.seen) == 1:
        return (
            "you draw all pixels from one call, each given an empty image: draw one value, write it into x, and call "
            "`logits_of` again."
        )
    drawn = [
        (after != before).any(dim=0) for before, after in itertools.pairwise([*chain.seen, value])
    ]
    if not any(places.any() for places in drawn[:-1]):
        return "every call sees an empty image: write each drawn value into x before you call `logits_of` again."
    drawn = [new for new in drawn if new.any()]  # the model may be asked twice for a value
    if len(chain.seen) > 1 and chain.seen[-1][:, 0].max() >= chain.levels:
        return "while you draw, the model is shown levels: write level / (levels - 1) into x at once, not at the end."
    if channels > 1 and len(drawn) == height * width:
        return "you draw the channels of a pixel together: green must see the red just drawn, so ask again for each."
    order = [int(new.nonzero()[0]) if new.sum() == 1 else -1 for new in drawn]
    places = arange(channels * height * width).reshape(height, width, channels)
    left = set(range(places.numel())) - set(order)
    if left and -1 not in order:
        pixel, c = divmod(min(left), channels)
        place = f"channel {c} of pixel {divmod(pixel, width)} of shape {chain.shape}"
        return f"a value is left undrawn: {place}. Do your loops reach the end?"
    if left:
        return "a call changes more than one value of an image: draw and write `x[:, c, i, j]`."
    if order == places.flatten().tolist() and (value == 0).any():  # which no logits ask for
        return OF_OTHER_PROBABILITIES
    for words, other in {
        "the order is right, but the values do not follow their logits: draw the value of channel c at (i, j) from "
        "`logits[:, :, c, i, j]`.": places,
        "you draw from the last value to the first: start at the upper left.": places.flip(0, 1, 2),
        "you draw blue before green before red: channels go in order.": places.flip(2),
        "you draw column by column: raster order goes row by row.": places.transpose(0, 1),
        "you draw all of red before green: finish each pixel before you go to the next.": places.movedim(
            2, 0
        ),
    }.items():
        if order == other.flatten().tolist():
            return words
    return (
        "a value is not drawn given those before it: go row by row, left to right, channels inside."
    )


def _not_as_often(
    name: str, known: float | None = None
) -> Callable[[Answer, torch.Generator], str | None]:
    """Draw two pixels of three levels many times, the first may be known, and compare with their probabilities."""
    levels, n = 3, 2000
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.3, 0.6, 2.2], [2.4, 0.9, 1.1]])  # given 0, 1, 2

    def logits_of(x: Tensor) -> Tensor:
        first = (x[:, 0, 0, 0].detach() * 2).round().long().clamp(0, 2)
        return stack([logits[1].expand(len(x), 3), logits[first]], dim=2)[:, :, None, None].to(x)

    def expected(row: Tensor) -> Tensor:  # (K, K) given the first level -> (9,)
        first = row[1] if known is None else torch.tensor([0.0, 0.0, 1.0])
        return (first[:, None] * row).flatten()

    def question(answer: Answer, g: torch.Generator) -> str | None:
        told: dict[str, Any] = {"n": n, "shape": (1, 1, 2)}
        if known is not None:
            keep = torch.tensor([True, False]).expand(n, 1, 1, 2).clone()
            told = {"known": known * keep.to(torch.get_default_dtype()), "mask": keep}
        asked = Case("two pixels", {"logits_of": logits_of, **told, "levels": levels})
        drawn = call(name, answer, asked).detach()
        if known is not None and not same(drawn[..., 0], known * ones(n, 1, 1)):
            return "a known value that lies between two levels is changed: keep it as it is."
        pair = (drawn * 2).round().long().flatten(1)
        got = (pair[:, 0] * 3 + pair[:, 1]).bincount(minlength=9) / n
        want = expected(logits.softmax(dim=1))
        # six standard errors: a right sampler fails once in many millions
        if ((got - want).abs() < 6 * (want * (1 - want) / n).sqrt() + 1e-9).all():
            return None
        if (got > 0).sum() == 1:
            return ALL_THE_SAME
        if ((got - expected(logits / logits.sum(dim=1, keepdim=True))).abs() < 0.04).all():
            return (
                "you use the logits as if they were probabilities: take their softmax first, or name them, "
                "`Categorical(logits=...)`."
            )
        return OF_OTHER_PROBABILITIES

    return question


def _to_sample(shape: Shape) -> Case:
    chain = _Chain(shape)
    given = {"logits_of": chain, "n": 24, "shape": shape, "levels": chain.levels}
    return Case(f"images of shape {shape}", given, about=chain)


@step(
    lambda g: [_to_sample((1, 2, 2)), _to_sample((2, 2, 2)), _to_sample((1, 3, 2)), _to_sample((3, 1, 2))],
    random=True,
    told=_asked,
    play=lambda wrong: wrong,
    properties=[_what_went_wrong],
    live=[_not_as_often("sample")],
    passes="one value at a time, each drawn given those before it.",
)  # fmt: skip
def sample(logits_of: Answer, n: int, shape: Shape, levels: int) -> Tensor:
    r"""Check `sample(logits_of, n, shape, levels)`: n images, drawn value by value.

    `logits_of` maps images (n, C, H, W) in [0, 1] to logits (n, K, C, H, W). The check's own one asks
    that each value follow from the one before, so an image shows whether it was drawn in order; then
    thousands of images of two pixels are held against their probabilities.

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.sample(lambda logits_of, n, shape, levels: torch.rand(n, *shape).round())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: `sample` never calls `logits_of`: ...
    """
    x = zeros(n, *shape)
    return _filled(logits_of, x, x > 0, levels)


sample.wrong = {
    MOST_LIKELY: lambda logits_of, n, shape, levels:
        _filled(logits_of, zeros(n, *shape), zeros(n, *shape) > 0, levels, _likeliest),
}  # fmt: skip


# ---------------------------------------------------------------- 10. completing an image


def _to_complete(g: torch.Generator, label: str, shape: Shape) -> Case:
    chain, n = _Chain(shape), 24
    known = randint(1, chain.levels, (n, *shape), generator=g).to(torch.get_default_dtype()) / (
        chain.levels - 1
    )
    keep = zeros(n, *shape, dtype=torch.bool)
    if label == "a known upper half":
        keep[:, :, : shape[1] // 2] = True
    elif label.startswith("a mask"):
        keep = rand(n, *shape, generator=g) < 0.5
    elif label == "all known":
        keep = ~keep
    arguments = {"logits_of": chain, "known": known, "mask": keep, "levels": chain.levels}
    return Case(label, arguments, about=chain)


def _why_not_completed(case: Case, x: Tensor) -> str | None:
    chain, keep = case.about, case.about.in_order(case.arguments["mask"].double()) > 0
    value, before = chain.in_order(x), chain.in_order(case.arguments["known"])
    if words := chain.no_levels(x):
        return words
    stays = value == before
    if where(keep, stays, chain.follows(value)).all():
        return None
    if stays[~keep].all():
        if stays.all():
            return "nothing is drawn: where the mask is False a value must come from the model."
        return (
            "you keep where the mask is False and draw where it is True: it is the other way round."
        )
    if len(chain.seen) == 1:
        return "you draw all missing values from one call: draw one value, write it into x, and call `logits_of` again."
    if not stays[keep].all():
        if chain.follows(value).all():
            return "you draw every value anew: where the mask is True the known value must stay."
        return (
            "some known values are lost: where the mask is True the known value must stay. Ask the mask at each value "
            "of each image, not once for all."
        )
    as_it_began = keep | stays | (value == 0)
    if as_it_began[:, (~keep).sum(dim=0) > 5].all(dim=0).any():
        return (
            "a value is left undrawn where the mask is False in that image, and perhaps not in another: do your loops "
            "reach the end, and ask the mask of each image?"
        )
    if (value == 0)[~keep].any():  # which no logits ask for
        return OF_OTHER_PROBABILITIES
    if any((seen != before)[keep].all() for seen in chain.seen):
        return "the model never sees the known values while you draw, they come back at the end: put them in first."
    return (
        "known values stay, but what you draw does not follow from them: by the time a value is drawn, all those "
        "before it must stand in x."
    )


@step(
    lambda g: [
        _to_complete(g, "a mask with holes", (1, 3, 3)),
        _to_complete(g, "a known upper half", (1, 2, 3)),
        _to_complete(g, "a mask with holes in every colour", (2, 3, 2)),
        _to_complete(g, "nothing known", (2, 1, 2)),
        _to_complete(g, "all known", (1, 1, 2)),
    ],
    random=True,
    # that no model is asked may be right, where nothing is to be drawn
    told=lambda case: {**case.arguments, "logits_of": case.about.logits},
    play=lambda wrong: wrong,
    properties=[_why_not_completed],
    live=[_not_as_often("complete", known=0.9)],
    passes="what is known stays, and the rest is drawn given it.",
)
def complete(logits_of: Answer, known: Tensor, mask: Tensor, levels: int) -> Tensor:
    r"""Check `complete(logits_of, known, mask, levels)`: keep where mask is true, draw the rest.

    known (n, C, H, W) in [0, 1]; mask (n, C, H, W) booleans. `logits_of` as in `sample`.

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.complete(lambda logits_of, known, mask, levels: known.clone())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: nothing is drawn: ...
    """
    return _filled(logits_of, known, mask, levels)


complete.wrong = {
    MOST_LIKELY: lambda logits_of, known, mask, levels: _filled(logits_of, known, mask, levels, _likeliest),
}  # fmt: skip


# ---------------------------------------------------------------- 11. the order of the colours


def _reads(kind: str, in_group: Tensor, out_group: Tensor) -> Tensor:
    return (in_group < out_group[:, None] + (kind == "B")).long()


def _grouped(in_group: list[int], out_group: list[int]) -> list[Case]:
    groups = {"in_group": torch.tensor(in_group), "out_group": torch.tensor(out_group)}
    shape = f"{in_group} -> {out_group}"
    return [tame(f"mask {kind} of groups {shape}", kind=kind, **groups) for kind in "AB"]


def _who_reads_whom(case: Case, got: Tensor, want: Tensor) -> str | None:
    if words := _only_zeros_and_ones(got):
        return words
    kind, in_group, out_group = case.arguments.values()
    f, c = (got != want).nonzero()[0].tolist()
    must = "must" if want[f, c] else "must not"
    return f"under mask {kind} an output of group {out_group[f]} {must} read an input of group {in_group[c]}."


@step(
    lambda g: [
        *_grouped([0, 1, 2], [0, 0, 1, 1, 2, 2]),
        *_grouped([0, 1, 2], [2, 0, 1]),
        *_grouped([0, 0, 1, 2, 2, 1, 1], [0, 1, 2, 0, 1, 2]),
        *_grouped([1], [0, 2, 1, 1]),
    ],
    probe=_who_reads_whom,
    passes="red, then green given red, then blue given both.",
)
def colour_mask(kind: str, in_group: Tensor, out_group: Tensor) -> Tensor:
    r"""Check `colour_mask(kind, in_group, out_group)`: who reads whom within a pixel, (F, C).

    in_group (C,) and out_group (F,) hold the colour of each channel: 0 red, 1 green, 2 blue.

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.colour_mask(lambda kind, in_group, out_group: in_group < in_group[:, None])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: ...
    """
    return _reads(kind, in_group, out_group)


colour_mask.wrong = {
    "rows and columns are the wrong way round: a weight is (out, in), so rows are outputs.":
        lambda kind, in_group, out_group: _reads(kind, in_group, out_group).T,
    "your mask A lets a colour read itself: that is mask B. In the first layer it is the answer.":
        lambda kind, in_group, out_group: _reads("B", in_group, out_group),
    "your mask B hides a colour from itself: that is mask A. Later layers may read their own group.":
        lambda kind, in_group, out_group: _reads("A", in_group, out_group),
    "A and B are the wrong way round: under A a group reads smaller groups only.":
        lambda kind, in_group, out_group: _reads(_other(kind), in_group, out_group),
    "the order is reversed, blue before green before red: a group reads smaller groups.":
        lambda kind, in_group, out_group: _reads(kind, -in_group, -out_group),
    "you compare the places of the channels, not their groups: use the numbers in in_group and out_group.":
        lambda kind, in_group, out_group: _reads(kind, arange(len(in_group)), arange(len(out_group))),
}  # fmt: skip
