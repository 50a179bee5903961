r"""Checks for the exercises of lesson PixelCNN.

Each takes the student's function and compares it, on inputs of its own, with the right function and with
the wrong ones that students write. It prints one line, or raises `Wrong` with the likely mistake.
Another `seed` gives other inputs and the same verdict.
"""

import itertools
import math

import torch
from torch import Tensor, arange, isfinite, ones, rand, randint, roll, softmax, stack, where, zeros
from torch.autograd import grad
from torch.nn.functional import conv2d, log_softmax
from torch.nn.functional import pad as pad_with

from course.checking.core import (
    Answer,
    Case,
    Mistakes,
    Wrong,
    as_tensor,
    call,
    collect,
    judge,
    judge_gradient,
    normal,
    own_random_numbers,
    same,
)
from genlib.validation import Shape

__all__ = [
    "blind_spot",
    "colour_mask",
    "complete",
    "conditionals",
    "look_up",
    "mask",
    "masked_conv",
    "nll",
    "receptive_field",
    "sample",
]

# ---------------------------------------------------------------- 1. the chain rule


def conditionals(answer: Answer, *, seed: int = 0) -> None:
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
    factors = [f"p(x{i} | earlier pixels)" for i in (1, 2, 3, 4)]

    def joints(table: Tensor) -> list[Tensor]:
        return [table.sum(dim=(1, 2, 3)), table.sum(dim=(2, 3)), table.sum(dim=3), table]

    def normalised(p: Tensor, dim: int = -1) -> Tensor:
        return p / p.sum(dim=dim, keepdim=True)

    mistakes: Mistakes = [
        (
            "these are the joint probabilities p(x1, ..., xi): divide each by the probability of the "
            "pixels that come before, p(x1, ..., xi-1).",
            joints,
        ),
        (
            "you divide by a sum over the first axis, x1: sum over the pixel that the factor is about, "
            "its last axis.",
            lambda table: [normalised(p, dim=0) for p in joints(table)],
        ),
        (
            "broadcasting pairs the wrong pixels when you divide by p(x1, ..., xi-1): give that a last "
            "axis of length 1, `previous[..., None]`.",
            lambda table: [
                table.sum(dim=(1, 2, 3)),
                *(b / a for a, b in itertools.pairwise(joints(table))),
            ],
        ),
        (
            "these are the marginals p(xi), as if pixels were independent: keep the earlier pixels as "
            "axes and sum out only the later ones.",
            lambda table: [table.sum(dim=[k for k in range(4) if k != i]) for i in range(4)],
        ),
        (
            "your factors condition on the later pixels, not on the earlier ones: the first is p(x1), "
            "the last p(x4 | x1, x2, x3).",
            lambda table: [normalised(p) for p in joints(table.permute(3, 2, 1, 0))],
        ),
        (
            "each of your factors conditions only on the pixel just before: keep all earlier pixels as "
            "axes.",
            lambda table: [
                table.sum(dim=(1, 2, 3)),
                *(normalised(table.sum(dim=d)) for d in ((2, 3), (0, 3), (0, 1))),
            ],
        ),
        (
            "these are logarithms: return the probabilities.",
            lambda table: [normalised(p).log() for p in joints(table)],
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = [
            Case("a random table", {"table": softmax(normal(generator, 16), 0).reshape(2, 2, 2, 2)})
            for _ in range(2)
        ]
        given = collect("conditionals", answer, cases, results=factors)
        judge(
            "conditionals",
            cases,
            given,
            lambda table: [normalised(p) for p in joints(table)],
            mistakes,
            probe=lambda case, got, want: (
                None
                if same(got.sum(dim=-1), ones(got.shape[:-1]))
                else "a factor does not sum to one over its own pixel, the last axis: each row of a "
                "conditional is a distribution."
            ),
            results=factors,
        )
    print("Right: each factor sums to one over its own pixel, and their product is the table.")


# ---------------------------------------------------------------- 2. the masks


def mask(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `mask(kind, size)`: the (size, size) mask of a centred kernel, kind "A" or "B".

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.mask(lambda kind, size: torch.ones(size, size))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your mask keeps something below the centre row: ...
    """

    def right(kind: str, size: int) -> Tensor:
        return (arange(size * size) < size * size // 2 + (kind == "B")).reshape(size, size)

    def other(kind: str, size: int) -> Tensor:
        return right("B" if kind == "A" else "A", size)

    mistakes: Mistakes = [
        (
            "your mask A keeps the centre: that is mask B. The first layer needs A, or it reads its own "
            "answer.",
            lambda kind, size: right("B", size),
        ),
        (
            "your mask B hides the centre: that is mask A. Later layers need B, since their centre is a "
            "feature of earlier pixels.",
            lambda kind, size: right("A", size),
        ),
        (
            "A and B are the wrong way round: A hides the centre, B keeps it.",
            other,
        ),
        (
            "your mask reads column by column: transpose it. Raster order goes row by row.",
            lambda kind, size: right(kind, size).T,
        ),
        (
            "your mask keeps what comes later and hides what came before: swap zeros and ones.",
            lambda kind, size: ~other(kind, size),
        ),
    ]

    def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
        middle = case.arguments["size"] // 2
        if ((got != 0) & (got != 1)).any():
            return "a mask holds only zeros and ones."
        if got[middle + 1 :].any():
            return (
                "your mask keeps something below the centre row: those rows come later, hide them."
            )
        if got[middle, middle + 1 :].any():
            return (
                "your mask keeps pixels to the right of the centre in its own row: they come later."
            )
        if not got[:middle].all():
            return (
                "your mask hides part of the rows above: all of them come earlier, to both sides."
            )
        if not got[middle, :middle].all():
            return "your mask hides pixels to the left of the centre in its own row: they come earlier."
        if got[middle, middle] and case.arguments["kind"] == "A":
            return "your mask A keeps the centre at this size: it hides it at every size."
        return None

    with own_random_numbers(seed):
        cases = [
            Case(f'mask("{kind}", {size})', {"kind": kind, "size": size})
            for size in (3, 5, 7)
            for kind in "AB"
        ]
        given = collect("mask", answer, cases, kind="any")
        judge("mask", cases, given, right, mistakes, probe=probe)
    print("Right: mask A hides the centre, mask B keeps it, and both hide all that comes later.")


# ---------------------------------------------------------------- 3. the masked convolution


def masked_conv(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `masked_conv(x, weight, mask, bias)`: as large as x, the weight itself untouched.

    x (B, C, H, W), weight (F, C, k, k), mask (k, k), bias (F,) -> (B, F, H, W).

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.masked_conv(lambda x, weight, mask, bias: torch.conv2d(x, weight * mask, bias))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the image shrinks, because nothing is padded: ...
    """

    def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    def right(x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor) -> Tensor:
        return conv(x, weight * mask, bias)

    def raster(weight: Tensor) -> Tensor:
        size = weight.shape[-1]
        return (arange(size * size) < size * size // 2).reshape(size, size)

    mistakes: Mistakes = [
        (
            "the mask has no effect: convolve with `weight * mask`, not with `weight`.",
            lambda x, weight, mask, bias: conv(x, weight, bias),
        ),
        (
            "the image shrinks, because nothing is padded: `padding=size // 2` keeps it as large as it "
            "was.",
            lambda x, weight, mask, bias: conv2d(x, weight * mask, bias),
        ),
        (
            "a padding of 1 fits a 3 x 3 kernel only: take half of the kernel's size.",
            lambda x, weight, mask, bias: conv2d(x, weight * mask, bias, padding=1),
        ),
        (
            "the bias is missing.",
            lambda x, weight, mask, bias: conv(x, weight * mask),
        ),
        (
            "the kernel is turned upside down: `F.conv2d` does not flip it, and you should not "
            "either.",
            lambda x, weight, mask, bias: conv(x, (weight * mask).flip(2, 3), bias),
        ),
        (
            "you use a mask of your own, not the one that is given: later layers will give mask B, or a "
            "mask of one row.",
            lambda x, weight, mask, bias: conv(x, weight * raster(weight), bias),
        ),
        (
            "the border repeats instead of being zero: beyond the edge there is no pixel, so pad with "
            "zeros.",
            lambda x, weight, mask, bias: conv2d(
                pad_with(x, [weight.shape[-1] // 2] * 4, mode="replicate"), weight * mask, bias
            ),
        ),
        (
            "you hide where the mask is 1 and keep where it is 0: ones are kept.",
            lambda x, weight, mask, bias: conv(x, weight * (1 - mask), bias),
        ),
    ]
    changed = (
        "you overwrite an argument (`weight *= mask`, or `weight.data`): the optimiser owns the "
        "weight. Multiply in the call, `weight * mask`, which makes a new tensor."
    )
    with own_random_numbers(seed) as generator:
        cases = []
        for size in (3, 5):
            holes = rand(size, size, generator=generator) < 0.5
            holes[0, 0], holes[-1, -1], holes[0, -1] = True, False, False
            arguments = {
                "x": normal(generator, 2, 2, 6, 5),
                "weight": normal(generator, 3, 2, size, size),
                "mask": holes.to(torch.get_default_dtype()),
                "bias": normal(generator, 3),
            }
            cases.append(Case(f"a {size} x {size} kernel", arguments))
        given = collect("masked_conv", answer, cases, changed=changed)
        judge("masked_conv", cases, given, right, mistakes)

        judge_gradient("masked_conv", answer, cases[0], right, trained=["weight"])
    print("Right: the mask multiplies in the call, the weight stays whole and gets its gradient.")


# ---------------------------------------------------------------- 4. the receptive field


def receptive_field(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `receptive_field(net, x, pixel)`: which input pixels the output at one pixel reads.

    `net` maps x (B, C, H, W) to (B, K, H, W). Wanted are booleans (H, W): does any channel of the input
    pixel, in any image, change any of the K outputs at `pixel`?

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.receptive_field(lambda net, x, pixel: net(x))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: `receptive_field` returns torch.float32: return True or False for ...
    """
    size, levels = 4, 3

    def truth(net: "_Wired", x: Tensor, pixel: tuple[int, int]) -> Tensor:
        return net.wires[pixel].any(0).any(0)

    def signed(net: "_Wired", x: Tensor, pixel: tuple[int, int]) -> Tensor:
        x = x.clone().requires_grad_()
        return grad(net(x)[..., pixel[0], pixel[1]].sum(), x)[0]

    mistakes: Mistakes = [
        (
            "this is the field of (column, row): `pixel` is (row, column).",
            lambda net, x, pixel: truth(net, x, pixel[::-1]),
        ),
        (
            "you differentiate the whole output: pick the one output pixel first, "
            "`net(x)[:, :, row, column]`.",
            lambda net, x, pixel: net.wires.flatten(0, 3).any(0),
        ),
        (
            "this is the reverse, which outputs the pixel reaches: wanted is which inputs the output at "
            "the pixel reads.",
            lambda net, x, pixel: net.wires[..., pixel[0], pixel[1]].flatten(2).any(2),
        ),
        (
            "gradients of opposite sign cancel when you add up the images: take `.abs()` before the "
            "sum.",
            lambda net, x, pixel: signed(net, x, pixel).sum(dim=(0, 1)) != 0,
        ),
        (
            "you add up signed gradients and ask for `> 0`: take `.abs()` before the sum, and then ask "
            "for `!= 0`.",
            lambda net, x, pixel: signed(net, x, pixel).sum(dim=(0, 1)) > 0,
        ),
        (
            "a negative gradient is a dependence too: ask for `!= 0`, not for `> 0`.",
            lambda net, x, pixel: (signed(net, x, pixel) > 0).any(0).any(0),
        ),
        (
            "you look at the first of the K outputs only: add up all of them.",
            lambda net, x, pixel: net.wires[pixel][0].any(0),
        ),
        (
            "you look at the first input channel only: a pixel counts as read if any of its channels "
            "is.",
            lambda net, x, pixel: net.wires[pixel].any(0)[0],
        ),
        (
            "you look at the first image only: a ReLU may be shut there and open in another, so look "
            "at all.",
            lambda net, x, pixel: (signed(net, x, pixel)[0] != 0).any(0),
        ),
        (
            "you return what is not read: turn it round.",
            lambda net, x, pixel: ~truth(net, x, pixel),
        ),
    ]
    changed = (
        "you leave marks on the caller's images (`requires_grad`, or a `.grad` that the next call adds "
        "to): work on `x.clone().requires_grad_()`."
    )
    with own_random_numbers(seed) as generator:
        net = _Wired(generator, levels, size)
        x = where(rand(2, 2, size, size, generator=generator) < 0.5, 0.25, 0.75)
        # the second half mirrors the first, so that gradients of opposite sign meet, except in one
        # row, where all are negative
        x = torch.cat([x, 1 - x]).to(torch.get_default_dtype())
        x[:, :, 1] = 0.25
        x[0, :, 3, 3] = 0.5  # nothing to be seen here in the first image
        cases = [
            Case(f"pixel {pixel}", {"net": net, "x": x, "pixel": pixel})
            for pixel in ((2, 1), (1, 3), (0, 2))
        ]
        given = collect("receptive_field", answer, cases, kind="bool", changed=changed)
        judge("receptive_field", cases, given, truth, mistakes)
    print("Right: the gradient of one output pixel says which inputs it reads.")


class _Wired:
    """A network whose wires are known: wires[i, j, k, c] are the pixels that output k at (i, j) reads.

    Every wire squares x - 1/2. So the gradient at 1 - x is minus that at x, and the two cancel in a sum;
    and at x = 1/2 it is zero, as behind a ReLU that is shut.
    """

    def __init__(self, generator: torch.Generator, levels: int, size: int):
        shape = (size, size, levels, 2, size, size)
        wires = rand(*shape, generator=generator) < 0.12
        wires[..., 0, 0, 1, 1] |= wires[..., 1, 0, 1, 1]
        wires[2, 1, 0, :, 0, 3], wires[2, 1, 1, :, 0, 3] = False, True  # not by the first output
        wires[2, 1, :, 0, 3, 0], wires[2, 1, 2, 1, 3, 0] = False, True  # by the second channel only
        wires[2, 1, 0, 0, 3, 3] = wires[2, 1, 0, 0, 1, 2] = True
        wires[..., 0, 0] = wires[..., 3, 2] = False  # read by no output at all
        self.wires = wires

    def __call__(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,ijkchw->bkij", (x - 0.5).square(), self.wires.to(x.dtype))


# ---------------------------------------------------------------- 5. the blind spot


def blind_spot(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `blind_spot(read, pixel)`: the pixels before `pixel`, in raster order, that are not read.

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.blind_spot(lambda read, pixel: ~read)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you count later pixels as blind: ...
    """

    def earlier(read: Tensor, pixel: tuple[int, int], own: int = 0) -> Tensor:
        height, width = read.shape
        return arange(height * width).reshape(height, width) < pixel[0] * width + pixel[1] + own

    def rows(read: Tensor) -> Tensor:
        return arange(read.shape[0])[:, None].expand(read.shape)

    mistakes: Mistakes = [
        (
            "you count later pixels as blind: they must not be read, so only earlier ones can be "
            "missed.",
            lambda read, pixel: ~read,
        ),
        (
            "you count the pixel itself: it is the answer, and not one of the earlier pixels.",
            lambda read, pixel: earlier(read, pixel, own=1) & ~read,
        ),
        (
            "you look at the rows above only: the pixels to the left in the pixel's own row are earlier "
            "too.",
            lambda read, pixel: (rows(read) < pixel[0]) & ~read,
        ),
        (
            "you take the whole of the pixel's own row: what is right of it comes later.",
            lambda read, pixel: (rows(read) <= pixel[0]) & ~read,
        ),
        (
            "this is what is seen among the earlier pixels; the blind spot is what is not.",
            lambda read, pixel: earlier(read, pixel) & read,
        ),
        (
            "you order the pixels column by column: raster order goes row by row.",
            lambda read, pixel: earlier(read.T, pixel[::-1]).T & ~read,
        ),
        (
            "these are all of the earlier pixels: keep only those that are not read.",
            earlier,
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for height, width, pixel in ((5, 5, (2, 2)), (4, 6, (2, 3)), (6, 4, (3, 1))):
            read = rand(height, width, generator=generator) < 0.5
            i, j = pixel
            read[i, j - 1 : j + 2] = read[0, :2] = read[-1, -1] = False  # some of every kind
            read[0, 2] = read[i + 1, 0] = True
            cases.append(
                Case(f"pixel {pixel} of {height} x {width}", {"read": read, "pixel": pixel})
            )
        given = collect("blind_spot", answer, cases, kind="bool")
        judge(
            "blind_spot", cases, given, lambda read, pixel: earlier(read, pixel) & ~read, mistakes
        )
    print("Right: earlier in raster order, and never read.")


# ---------------------------------------------------------------- 6. the vertical stack


def look_up(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `look_up(x, weight, strict)`: a convolution that reads upwards, to both sides.

    weight (F, C, R, 2r + 1); its last row lies on the pixel's own row, or with `strict` on the row above.

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.look_up(lambda x, weight, strict: torch.conv2d(x, weight))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for a 2 x 3 kernel with strict=True the result of `look_up` has the shape ...
    """

    def up(x: Tensor, weight: Tensor, above: int, left: int | None = None) -> Tensor:
        # as many zeros above, and the rest of what keeps the size below
        rows, columns = weight.shape[2:]
        left = columns // 2 if left is None else left
        return conv2d(pad_with(x, (left, columns - 1 - left, above, rows - 1 - above)), weight)

    def right(x: Tensor, weight: Tensor, strict: bool) -> Tensor:
        return up(x, weight, weight.shape[2] - 1 + strict)

    def without_last_row(weight: Tensor) -> Tensor:
        return weight * (arange(weight.shape[2]) < weight.shape[2] - 1)[:, None]

    mistakes: Mistakes = [
        (
            "`strict` has no effect, so the own row is always read: in the first layer it holds the answer "
            "and the pixels right of it. Move down by one row.",
            lambda x, weight, strict: right(x, weight, False),
        ),
        (
            "you move down by one row even when `strict` is False: later layers may read their own row, "
            "which already stands for rows above.",
            lambda x, weight, strict: right(x, weight, True),
        ),
        (
            "your kernel is centred and reads rows below, which come later: pad above, not below.",
            lambda x, weight, strict: up(x, weight, weight.shape[2] // 2),
        ),
        (
            "your kernel is centred before you move it down, so it still reads its own row or rows below: "
            "pad above by R - 1.",
            lambda x, weight, strict: pad_with(
                up(x, weight, weight.shape[2] // 2), (0, 0, int(strict), -int(strict))
            ),
        ),
        (
            "rolling wraps around, so the first row reads the last one: move in a row of zeros "
            "instead.",
            lambda x, weight, strict: roll(right(x, weight, False), int(strict), dims=2),
        ),
        (
            "you move the image up by one row, so a pixel reads the row below: it must move down.",
            lambda x, weight, strict: up(x, weight, weight.shape[2] - 1 - strict),
        ),
        (
            "you pad the columns on the left only, so the kernel never looks right, and that is the blind "
            "spot again: pad both sides.",
            lambda x, weight, strict: up(
                x, weight, weight.shape[2] - 1 + strict, left=weight.shape[3] - 1
            ),
        ),
        (
            "you blank the kernel's last row: all R rows should be used, so move the image down "
            "instead.",
            lambda x, weight, strict: right(
                x, without_last_row(weight) if strict else weight, False
            ),
        ),
        (
            "the kernel is turned upside down: its last row is the nearest one.",
            lambda x, weight, strict: right(x, weight.flip(2), strict),
        ),
        (
            "True and False are the wrong way round: `strict` leaves the own row out.",
            lambda x, weight, strict: right(x, weight, not strict),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for rows, columns, strict in ((2, 3, True), (2, 3, False), (3, 5, True), (3, 5, False)):
            arguments = {
                "x": normal(generator, 2, 2, 6, 7),
                "weight": normal(generator, 3, 2, rows, columns),
                "strict": strict,
            }
            cases.append(Case(f"a {rows} x {columns} kernel with strict={strict}", arguments))
        given = collect("look_up", answer, cases)

        def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
            dot = torch.zeros_like(case.arguments["x"])
            dot[:, :, 3, 3] = 1  # which outputs does this one pixel reach?
            dotted = Case("an image of one dot", {**case.arguments, "x": dot})
            (reached,) = collect("look_up", answer, [dotted])[0]
            if reached[:, :, :3].any():
                return "your kernel reads rows below the pixel, which come later: pad above, not below."
            if case.arguments["strict"] and reached[:, :, 3].any():
                return "with strict=True your kernel still reads the pixel's own row."
            if not reached[..., :3].any():
                return "your kernel never looks to the right: pad the columns on both sides."
            return None

        judge("look_up", cases, given, right, mistakes, probe=probe)
    print("Right: rows above only, both sides, and with strict=True not the pixel's own row.")


# ---------------------------------------------------------------- 7. the likelihood


def nll(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `nll(logits, level)`: nats an image, and bits a dimension, both (B,).

    logits (B, K, C, H, W), level int64 (B, C, H, W).

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.nll(lambda logits, level: (logits.sum(), logits.mean()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for random logits the nats of `nll` has the shape () where (3,) is wanted.
    """

    def picked(scores: Tensor, level: Tensor) -> Tensor:
        return scores.gather(1, level[:, None]).flatten(1)  # (B, CHW)

    def nats(logits: Tensor, level: Tensor) -> Tensor:
        return -picked(log_softmax(logits, dim=1), level).sum(dim=1)

    def bits(logits: Tensor, level: Tensor, dims: int | None = None) -> Tensor:
        return nats(logits, level) / ((dims or level[0].numel()) * math.log(2))

    wrong_nats: Mistakes = [
        (
            "this is the log-likelihood: the loss is minus that, a positive number.",
            lambda logits, level: -nats(logits, level),
        ),
        (
            "you average over the pixels: the log-probability of an image is the sum over all of "
            "them.",
            lambda logits, level: nats(logits, level) / level[0].numel(),
        ),
        (
            "you sum over the batch too: return one number for each image.",
            lambda logits, level: nats(logits, level).sum(),
        ),
        (
            "you average over the batch too: return one number for each image.",
            lambda logits, level: nats(logits, level).mean(),
        ),
        (
            "you average over everything, as `F.cross_entropy` does unless told `reduction='none'`: sum "
            "over the pixels of each image.",
            lambda logits, level: nats(logits, level).mean() / level[0].numel(),
        ),
        (
            "you return one number for each pixel: sum over the pixels of an image.",
            lambda logits, level: -picked(log_softmax(logits, dim=1), level).reshape(level.shape),
        ),
        (
            "you add up raw logits: only after `log_softmax` are they log-probabilities.",
            lambda logits, level: -picked(logits, level).sum(dim=1),
        ),
        (
            "your softmax runs over the wrong axis: the K levels are axis 1.",
            lambda logits, level: -picked(log_softmax(logits, dim=-1), level).sum(dim=1),
        ),
        (
            "these are bits already: nats come from the natural logarithm.",
            lambda logits, level: nats(logits, level) / math.log(2),
        ),
        (
            "you add up probabilities: take their logarithm first.",
            lambda logits, level: -picked(softmax(logits, dim=1), level).sum(dim=1),
        ),
    ]
    wrong_bits: Mistakes = [
        (
            "these are nats per dimension: divide by ln 2 for bits.",
            lambda logits, level: nats(logits, level) / level[0].numel(),
        ),
        (
            "these are bits per image: divide by the number of dimensions, C H W.",
            lambda logits, level: bits(logits, level, dims=1),
        ),
        (
            "you multiply by ln 2: a bit is ln 2 nats, so divide by it.",
            lambda logits, level: bits(logits, level) * math.log(2) ** 2,
        ),
        (
            "you divide by the number of pixels: each colour channel is a dimension of its own, C H W in "
            "all.",
            lambda logits, level: bits(logits, level, dims=level[0, 0].numel()),
        ),
        (
            "you count the K levels among the dimensions: there are C H W of them.",
            lambda logits, level: bits(logits, level, dims=logits[0].numel()),
        ),
        (
            "your bits are negative: they are a cost.",
            lambda logits, level: -bits(logits, level),
        ),
        (
            "you divide by the number of images too: the bits of an image do not depend on the others.",
            lambda logits, level: bits(logits, level, dims=level.numel()),
        ),
    ]

    def too_small(case: Case, got: Tensor, want: Tensor) -> str | None:
        if isfinite(got).all():
            return None
        return (
            "an unlikely pixel makes your result infinite: its probability is rounded to 0 before the "
            "logarithm. `log_softmax` or `cross_entropy` never leaves log-space."
        )

    with own_random_numbers(seed) as generator:
        cases = []
        for label, scale, size in (
            ("random logits", 2.0, (3, 4, 2, 3, 5)),
            ("other logits", 2.0, (2, 5, 3, 4, 2)),
            ("very unlikely pixels", 2000.0, (2, 3, 1, 2, 2)),
        ):
            b, k, *image = size
            level = randint(k, (b, *image), generator=generator)
            cases.append(Case(label, {"logits": scale * normal(generator, *size), "level": level}))
        given = collect("nll", answer, cases, results=("the nats", "the bits"))
        for i, (what, right, mistakes) in enumerate(
            (("the nats", nats, wrong_nats), ("the bits", bits, wrong_bits))
        ):
            parts = [(tensors[i],) for tensors in given]
            judge("nll", cases, parts, right, mistakes, probe=too_small, results=(what,))
    print("Right: nats for a whole image, bits for one of its dimensions.")


# ---------------------------------------------------------------- 8. drawing an image


def sample(answer: Answer, *, seed: int = 0) -> None:
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
    with own_random_numbers(seed):
        for shape in ((1, 2, 2), (2, 2, 3), (1, 3, 2)):
            chain = _Chain(shape)
            n = 40
            arguments = {"logits_of": chain, "n": n, "shape": shape, "levels": chain.levels}
            case = Case(f"images of shape {shape}", arguments)
            x = as_tensor("sample", call("sample", answer, case))
            if tuple(x.shape) != (n, *shape):
                raise Wrong(
                    f"`sample` returns the shape {tuple(x.shape)} for n={n} and shape={shape}: "
                    f"{(n, *shape)} is wanted."
                )
            chain.check_values(x)
            value = chain.in_order(x)
            if not chain.follows(value).all():
                raise Wrong(_what_went_wrong(chain, value))
        _check_frequencies(answer)
    print("Right: one value at a time, each drawn given those before it.")


class _Chain:
    """Logits that leave no choice: after level k at place t comes 1 + (k + t) % (K - 1), never 0.

    The first value of an image is free, levels 1 to K - 1 being equally likely. Zero means "not drawn
    yet", so the calls show in which order a sampler goes.
    """

    def __init__(self, shape: Shape, levels: int = 6):
        self.shape, self.levels = shape, levels
        self.seen: list[Tensor] = []  # what each call was shown, (n, CHW) levels in raster order

    def __call__(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or tuple(x.shape[1:]) != self.shape:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise Wrong(f"`logits_of` wants images of shape (n, C, H, W), and was given {got}.")
        x = x.detach()
        self.check_values(x)
        value = self.in_order(x)
        self.seen.append(value)
        level = self._next(value)  # (n, CHW)
        logits = (arange(self.levels) == level[..., None]).to(x.dtype) * 100  # (n, CHW, K)
        logits[:, 0] = 100 * (arange(self.levels) > 0)
        channels, height, width = self.shape
        return logits.reshape(len(x), height, width, channels, -1).permute(0, 4, 3, 1, 2)

    def _next(self, value: Tensor) -> Tensor:
        before = pad_with(value[:, :-1], (1, 0))
        return 1 + (before + arange(value.shape[1])) % (self.levels - 1)

    def in_order(self, x: Tensor) -> Tensor:
        """(n, C, H, W) in [0, 1] -> (n, CHW) levels in raster order, colours within a pixel."""
        return (x * (self.levels - 1)).round().long().permute(0, 2, 3, 1).flatten(1)

    def follows(self, value: Tensor) -> Tensor:
        """Which values are as the one before demands, (n, CHW)."""
        fits = value == self._next(value)
        fits[:, 0] = value[:, 0] > 0
        return fits

    def check_values(self, x: Tensor) -> None:
        level = x * (self.levels - 1)
        if same(level, level.round()) and x.min() >= 0 and x.max() <= 1:
            return
        if not isfinite(x).all():
            raise Wrong("your images contain NaN or infinity.")
        if same(x, x.round()) and x.min() >= 0:
            raise Wrong(
                "your images hold levels 0, 1, ..., K - 1: the model reads values from 0 to 1, so divide "
                "by levels - 1."
            )
        if same(x * self.levels, (x * self.levels).round()) and x.min() >= 0:
            raise Wrong("you divide by levels: divide by levels - 1, so that the last level is 1.")
        raise Wrong("your images hold values that are no level k / (levels - 1).")


def _what_went_wrong(chain: _Chain, value: Tensor) -> str:
    """Why values do not follow from those before, told from what each call was shown."""
    channels, height, width = chain.shape
    if not chain.seen:
        return "`sample` never calls `logits_of`: that is the model to draw from."
    drawn = [(seen != 0).any(dim=0) for seen in chain.seen]  # (CHW,) each
    if len(drawn) == 1:
        return (
            "you draw all pixels from one call, each given an empty image: draw one value, write it "
            "into x, and call `logits_of` again."
        )
    if not any(places.any() for places in drawn):
        return (
            "every call sees an empty image: write each drawn value into x before you call `logits_of` "
            "again."
        )
    if (value == 0).any():
        t = int((value == 0).any(dim=0).nonzero()[0])
        pixel, c = divmod(t, channels)
        return (
            f"a value is left undrawn, or drawn where its logits say never: channel {c} of pixel "
            f"{divmod(pixel, width)} of shape {chain.shape}. Do your loops reach the end?"
        )
    if channels > 1 and len(drawn) == height * width:
        return (
            "you draw the channels of a pixel together: green must see the red just drawn, so each "
            "channel needs a call of its own."
        )
    last = (value != 0).any(dim=0)
    order = [
        int((after & ~before).nonzero()[0]) if (after & ~before).sum() == 1 else -1
        for before, after in itertools.pairwise([*drawn, last])
    ]
    places = arange(channels * height * width).reshape(height, width, channels)
    if order == places.flatten().tolist():
        return (
            "the order is right, but the values do not follow their logits: draw the value of channel "
            "c at (i, j) from `logits[:, :, c, i, j]`."
        )
    if order == places.flatten().flip(0).tolist():
        return "you draw from the last value to the first: start at the upper left."
    if order == places.transpose(0, 1).flatten().tolist():
        return "you draw column by column: raster order goes row by row."
    if order == places.permute(2, 0, 1).flatten().tolist():
        return "you draw all of red before green: finish each pixel before you go to the next."
    return (
        "a value is not drawn given those before it: go row by row, left to right, channels inside."
    )


def _check_frequencies(answer: Answer, known: Tensor | None = None) -> None:
    """Draw two pixels of three levels many times, and compare with their probabilities."""
    levels, n = 3, 4000
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.3, 0.6, 2.2], [2.4, 0.9, 1.1]])  # given 0, 1, 2

    def logits_of(x: Tensor) -> Tensor:
        first = (x[:, 0, 0, 0] * 2).round().long()
        return stack([logits[1].expand(len(x), 3), logits[first]], dim=2)[:, :, None, None].to(x)

    def frequencies(again: int) -> Tensor:
        torch.default_generator.manual_seed(again)
        if known is None:
            shape = (1, 1, 2)
            arguments = {"logits_of": logits_of, "n": n, "shape": shape, "levels": levels}
            x = call("sample", answer, Case("two pixels", arguments))
        else:
            given = zeros(n, 1, 1, 2, dtype=torch.get_default_dtype())
            given[:, 0, 0, 0] = known.to(given)
            keep = torch.tensor([True, False]).expand(given.shape).clone()
            arguments = {"logits_of": logits_of, "known": given, "mask": keep, "levels": levels}
            x = call("complete", answer, Case("two pixels", arguments))
        pair = (x.detach() * 2).round().long().flatten(1)
        return (pair[:, 0] * 3 + pair[:, 1]).bincount(minlength=9) / n

    seed = torch.initial_seed()
    got = frequencies(seed + 1)
    row = logits.softmax(dim=1)
    first = row[1] if known is None else torch.tensor([0.0, 0.0, 1.0])
    want = (first[:, None] * row).flatten()
    # five standard errors: a right sampler fails once in a million seeds, and the seed is fixed
    if ((got - want).abs() < 5 * (want * (1 - want) / n).sqrt() + 1e-9).all():
        return
    if (got > 0).sum() == 1:
        if all(bool((frequencies(seed + again) == got).all()) for again in range(2, 22)):
            raise Wrong(
                "every image is the same: you take the most likely level. Draw one at random, with "
                "the probabilities softmax(logits)."
            )
        raise Wrong("all images of a call are the same: draw once for each image, not for all.")
    proportional = logits / logits.sum(dim=1, keepdim=True)
    first = proportional[1] if known is None else first
    if ((got - (first[:, None] * proportional).flatten()).abs() < 0.04).all():
        raise Wrong(
            "you use the logits as if they were probabilities: take their softmax first, or name "
            "them, `Categorical(logits=...)`."
        )
    raise Wrong("the levels are not drawn with the probabilities softmax(logits).")


# ---------------------------------------------------------------- 9. completing an image


def complete(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `complete(logits_of, known, mask, levels)`: keep where mask is true, draw the rest.

    known (n, C, H, W) in [0, 1]; mask (n, C, H, W) booleans. `logits_of` as in `sample`.

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.complete(lambda logits_of, known, mask, levels: known)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: nothing is drawn: ...
    """
    with own_random_numbers(seed) as generator:
        for shape, holes in (((1, 4, 3), False), ((1, 4, 4), True), ((2, 3, 2), True)):
            chain, n = _Chain(shape), 40
            level = randint(1, chain.levels, (n, *shape), generator=generator)
            known = level.to(torch.get_default_dtype()) / (chain.levels - 1)
            keep = zeros(n, *shape, dtype=torch.bool)
            keep[:, :, : shape[1] // 2] = True
            if holes:
                keep = rand(n, *shape, generator=generator) < 0.5
            label = "a mask with holes" if holes else "a known upper half"
            arguments = {"logits_of": chain, "known": known, "mask": keep, "levels": chain.levels}
            x = as_tensor("complete", call("complete", answer, Case(label, arguments)))
            if x.shape != known.shape:
                raise Wrong(
                    f"`complete` returns the shape {tuple(x.shape)} for known images of shape "
                    f"{tuple(known.shape)}: it should be the same."
                )
            chain.check_values(x)
            value, before, kept = (chain.in_order(z) for z in (x, known, keep * known))
            fits = where(kept > 0, value == before, chain.follows(value))
            if not fits.all():
                raise Wrong(_why_not_completed(chain, value, before, kept > 0, holes))
        _check_frequencies(answer, known=torch.tensor(1.0))
    print("Right: what is known stays, and the rest is drawn given it.")


def _why_not_completed(
    chain: _Chain, value: Tensor, before: Tensor, keep: Tensor, holes: bool
) -> str:
    stays = value == before
    if stays[~keep].all():
        if stays.all():
            return "nothing is drawn: where the mask is False a value must come from the model."
        return (
            "you keep where the mask is False and draw where it is True: it is the other way round."
        )
    if len(chain.seen) == 1:
        return (
            "you draw all missing values from one call: draw one value, write it into x, and call "
            "`logits_of` again."
        )
    if not stays[keep].all():
        if chain.follows(value).all():
            return "you draw every value anew: where the mask is True the known value must stay."
        if holes:
            return (
                "some known values are lost where the mask has holes: ask the mask at each value of "
                "each image, not once for all."
            )
        return "some known values are lost: where the mask is True the known value must stay."
    if chain.seen and any((seen != before)[keep].all() for seen in chain.seen):
        return (
            "the model never sees the known values while you draw, since they come back at the end: "
            "put them in first."
        )
    if chain.seen:
        return (
            "known values stay, but what you draw does not follow from them: by the time a value is "
            "drawn, all those before it must stand in x."
        )
    return "`complete` never calls `logits_of`: that is the model to draw from."


# ---------------------------------------------------------------- 10. the order of the colours


def colour_mask(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `colour_mask(kind, in_group, out_group)`: who reads whom within a pixel, (F, C).

    in_group (C,) and out_group (F,) hold the colour of each channel: 0 red, 1 green, 2 blue.

    Example:
        >>> from course import checks
        >>> checks.pixelcnn.colour_mask(lambda kind, in_group, out_group: in_group < in_group[:, None])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: ...
    """

    def right(kind: str, in_group: Tensor, out_group: Tensor) -> Tensor:
        return in_group < out_group[:, None] + (kind == "B")

    def other(kind: str, in_group: Tensor, out_group: Tensor) -> Tensor:
        return right("B" if kind == "A" else "A", in_group, out_group)

    mistakes: Mistakes = [
        (
            "rows and columns are the wrong way round: a weight is (out, in), so rows are outputs.",
            lambda kind, in_group, out_group: right(kind, in_group, out_group).T,
        ),
        (
            "your mask A lets a colour read itself: that is mask B. In the first layer it is the "
            "answer.",
            lambda kind, in_group, out_group: right("B", in_group, out_group),
        ),
        (
            "your mask B hides a colour from itself: that is mask A. Later layers may read their own "
            "group.",
            lambda kind, in_group, out_group: right("A", in_group, out_group),
        ),
        (
            "A and B are the wrong way round: under A a group reads smaller groups only.",
            other,
        ),
        (
            "the order is reversed, blue before green before red: a group reads smaller groups.",
            lambda kind, in_group, out_group: right(kind, -in_group, -out_group),
        ),
        (
            "your mask A hides only the own colour: it must hide the later colours too.",
            lambda kind, in_group, out_group: (
                (in_group != out_group[:, None])
                if kind == "A"
                else right(kind, in_group, out_group)
            ),
        ),
        (
            "each colour reads only itself or nothing: green also reads red, and blue reads both.",
            lambda kind, in_group, out_group: (in_group == out_group[:, None]) & (kind == "B"),
        ),
        (
            "you compare the places of the channels, not their groups: use the numbers in in_group and "
            "out_group.",
            lambda kind, in_group, out_group: right(
                kind, arange(len(in_group)), arange(len(out_group))
            ),
        ),
    ]

    def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
        if ((got != 0) & (got != 1)).any():
            return "a mask holds only zeros and ones."
        return None

    with own_random_numbers(seed):
        cases = []
        for in_group, out_group in (
            ([0, 1, 2], [0, 0, 1, 1, 2, 2]),
            ([0, 1, 2], [2, 0, 1]),
            ([0, 0, 1, 2, 2, 1, 1], [0, 1, 2, 0, 1, 2]),
        ):
            for kind in "AB":
                groups = {"in_group": torch.tensor(in_group), "out_group": torch.tensor(out_group)}
                cases.append(Case(f"groups {in_group} -> {out_group}", {"kind": kind, **groups}))
        given = collect("colour_mask", answer, cases, kind="any")
        judge("colour_mask", cases, given, right, mistakes, probe=probe)
    print("Right: red, then green given red, then blue given both.")
