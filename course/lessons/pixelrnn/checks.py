r"""Checks for the exercises of lesson PixelRNN: one `Step` each, whose form course/checking/step.py explains."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import (
    Tensor,
    arange,
    cat,
    full,
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
from torch.nn.functional import log_softmax
from torch.nn.functional import pad as pad_with
from torch.overrides import TorchFunctionMode

from course.checking.core import Answer, Case, Wrong, call, normal, same
from course.checking.step import extreme, hard, step, tame

__all__ = [
    "diagonal_scan",
    "draw",
    "histogram",
    "level_log_prob",
    "lstm",
    "plain_scan",
    "right_to_left",
    "skew",
]

# ---------------------------------------------------------------- 1. counting


def _count(level: Tensor, levels: int) -> Tensor:
    counts = stack([(level == k).sum(dim=0) for k in range(levels)])  # (K, C, H, W)
    return counts.to(torch.get_default_dtype())


def _shares(level: Tensor, levels: int, extra: float) -> Tensor:
    return (_count(level, levels) + extra) / (len(level) + levels * extra)


def _of_all_pixels(level: Tensor, levels: int, extra: float) -> Tensor:
    return _shares(level.reshape(-1, 1, 1, 1), levels, extra).expand(levels, *level.shape[1:])


def _levels(g: torch.Generator, levels: int, seen: int, extra: float, *size: int) -> dict[str, Any]:
    """Images in which only the first levels are `seen`."""
    level = randint(seen, size, generator=g)
    if len(level) > 1:
        level[0], level[1:3] = 0, 1
        level[3, :, 0, 0] = 1 - level[3, :, 0, 0].clamp(max=1)
    return {"level": level, "levels": levels, "extra": extra}


@step(
    lambda g: [
        tame("no extra counts", **_levels(g, 4, 4, 0.0, 12, 1, 2, 3)),
        tame("one extra count", **_levels(g, 5, 4, 1.0, 9, 2, 3, 2)),
        tame("half an extra count", **_levels(g, 3, 2, 0.5, 7, 1, 2, 2)),
        hard("a single image", **_levels(g, 6, 3, 2.0, 1, 1, 3, 2)),
    ],
    probe=lambda case, got, want: (
        None
        if same(got.sum(dim=0), ones(got.shape[1:]))
        else "your probabilities do not sum to one over the levels, the first axis."
    ),
    zeros="Or does `//` cut shares to whole numbers? `/` does not.",
    passes="counted at each pixel, with the extra counts above and below the line.",
)
def histogram(level: Tensor, levels: int, extra: float) -> Tensor:
    r"""Check `histogram(level, levels, extra)`: how often each level stood at each place.

    level (N, C, H, W), whole numbers; `extra` is added to the count of each of the `levels`. Wanted are
    probabilities, (levels, C, H, W).

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.histogram(lambda level, levels, extra: level.float())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for no extra counts the result of `histogram` has the shape ...
    """
    return _shares(level, levels, extra)


histogram.wrong = {
    "these are counts: divide them by how many there are, so that they become probabilities.":
        lambda level, levels, extra: _count(level, levels) + extra,
    "you divide by the number of images alone, and the extra counts make the sum larger than one: add K times `extra` "
    "below the line too.":
        lambda level, levels, extra: (_count(level, levels) + extra) / len(level),
    "you add `extra` only once below the line: each of the K levels got it, so add it K times.":
        lambda level, levels, extra: (_count(level, levels) + extra) / (len(level) + extra),
    "`extra` has no effect: this is the plain share of the images, and a level that never occurred stays impossible.":
        lambda level, levels, extra: _shares(level, levels, 0),
    "you always add one: add `extra`, which may be 0 or a half.":
        lambda level, levels, extra: _shares(level, levels, 1),
    "you add `extra` to the shares: add it to the counts, before you divide.":
        lambda level, levels, extra: (_shares(level, levels, 0) + extra) / (1 + levels * extra),
    "this is one histogram for all pixels together: each place in the image has its own, so count over the images "
    "alone.":
        _of_all_pixels,
    "the levels are your last axis: they should be the first, (levels, C, H, W).":
        lambda level, levels, extra: _shares(level, levels, extra).movedim(0, -1),
    "you make room only for the levels that occur: there are `levels` of them, whatever the images show.":
        lambda level, levels, extra: _shares(level, int(level.max()) + 1, extra),
    "you count the levels 1 to K: they are 0 to K - 1.":
        lambda level, levels, extra: _shares(level - 1, levels, extra),
    "you take a softmax of the counts: that is for logits. Divide counts by their sum.":
        lambda level, levels, extra: softmax(_count(level, levels) + extra, 0),
    "these are logarithms: return the probabilities.":
        lambda level, levels, extra: _shares(level, levels, extra).log(),
}  # fmt: skip


# ---------------------------------------------------------------- 2. a softmax over levels


def _pick(scores: Tensor, level: Tensor) -> Tensor:
    return scores.gather(1, level[:, None])[:, 0]


def _shifted(by: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """log p with logits from which a number is subtracted, as their own maximum should be."""

    def log_prob(logits: Tensor, level: Tensor) -> Tensor:
        shifted = logits - by(logits)
        return _pick(shifted, level) - shifted.exp().sum(dim=1).log()

    return log_prob


def _priced(g: torch.Generator, b: int, k: int, *image: int, unseen: int = 0) -> dict[str, Tensor]:
    level = randint(k - unseen, (b, *image), generator=g)
    return {"logits": 2 * normal(g, b, k, *image), "level": level}


def _far() -> float:
    """e^x overflows and e^-x is 0, but x is not so large that a difference loses digits."""
    return 120 if torch.get_default_dtype() == torch.float32 else 2000


def _distant(g: torch.Generator, *, pixels: bool) -> dict[str, Tensor]:
    """Logits that are far below those of the other image, or of the other pixels of the same one."""
    case = _priced(g, 2, 3, 2, 4)
    case["logits"][(slice(None), slice(None), 0) if pixels else 0] -= _far()
    return case


def _unlikely(g: torch.Generator) -> dict[str, Tensor]:
    """No level is nearly as likely as level 0, which came in the second image alone."""
    case = _priced(g, 2, 5, 3, 2)
    case["logits"][:, 0] += 2000
    case["level"][0], case["level"][1] = 1, 0
    return case


@step(
    lambda g: [
        tame("random logits", **_priced(g, 3, 4, 2, 5)),
        tame("a whole image", **_priced(g, 2, 5, 1, 3, 4)),
        hard("one pixel an image", **_priced(g, 4, 6, unseen=2)),
        extreme("large logits", **{k: x + _far() * (k == "logits") for k, x in _priced(g, 2, 3, 2, 2).items()}),
        extreme("an image with distant logits", **_distant(g, pixels=False)),
        extreme("pixels with distant logits", **_distant(g, pixels=True)),
        extreme("a very unlikely level", **_unlikely(g)),
    ],
    gradient="logits",
    passes="a log-softmax that stays finite, whatever the logits.",
)  # fmt: skip
def level_log_prob(logits: Tensor, level: Tensor) -> Tensor:
    r"""Check `level_log_prob(logits, level)`: $\log p$ of the level that came, under a softmax.

    logits (B, K, ...), level (B, ...) -> (B, ...). Large, distant and very unequal logits must do no harm.

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.level_log_prob(lambda logits, level: logits.log_softmax(1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you return all K log-probabilities: ...
    """
    return _pick(log_softmax(logits, 1), level)


level_log_prob.wrong = {
    "you return all K log-probabilities: pick that of the level, with `gather` along axis 1.":
        lambda logits, level: log_softmax(logits, 1),
    "this is minus the log-probability: the loss will turn the sign later.":
        lambda logits, level: -_pick(log_softmax(logits, 1), level),
    "these are probabilities: return their logarithm.": lambda logits, level: _pick(softmax(logits, 1), level),
    "this is the logit itself: subtract the logarithm of the sum over all levels.": _pick,
    "you subtract the largest logit and no more: subtract the logarithm of the sum over all levels too.":
        lambda logits, level: _pick(logits, level) - logits.amax(1),
    "this is the most likely level's log-probability: pick that of the level that came.":
        lambda logits, level: log_softmax(logits, 1).amax(1),
    "you subtract the largest logit in the sum but not in front of it (or add it back in one place only): both terms "
    "need the same shift.":
        lambda logits, level: _pick(logits, level) - (logits - logits.amax(1, keepdim=True)).logsumexp(1),
    "your sum runs over the last axis: the K levels are axis 1.":
        lambda logits, level: _pick(log_softmax(logits, -1), level),
    "your sum runs over the images, axis 0: the K levels are axis 1.":
        lambda logits, level: _pick(log_softmax(logits, 0), level),
    "this is one number, the mean cost of a level (of `F.cross_entropy`?): return log p of each pixel.":
        lambda logits, level: -_pick(log_softmax(logits, 1), level).mean(),
    "you add up the log-probabilities of an image: return one for each pixel.":
        lambda logits, level: _pick(log_softmax(logits, 1), level).reshape(len(level), -1).sum(dim=1),
    "the exponential of a large logit is infinite: subtract the largest logit before you take it. The shift cancels.":
        _shifted(lambda logits: 0),
    "you subtract one maximum from all images, and where the logits are far below it every exponential is 0: take the "
    "maximum over the levels, axis 1, of each pixel.":
        _shifted(lambda logits: logits.max()),
    "you subtract one maximum an image, and where a pixel's logits are far below it every exponential is 0: take the "
    "maximum over the levels, axis 1, of each pixel.":
        _shifted(lambda logits: logits.flatten(1).amax(1).reshape(-1, *[1] * (logits.ndim - 1))),
    "a very unlikely level makes your result infinite: its probability is rounded to 0 before you take the logarithm. "
    "Take the logarithm of the sum only, never of p.":
        lambda logits, level: _pick(softmax(logits, 1), level).log(),
}  # fmt: skip


# ---------------------------------------------------------------- 3. one step of an LSTM


def _lstm(gates: Tensor, c: Tensor, order: str = "ofig") -> tuple[Tensor, Tensor]:
    part = dict(zip(order, gates.chunk(4, 1), strict=True))
    c = sigmoid(part["f"]) * c + sigmoid(part["i"]) * tanh(part["g"])
    return sigmoid(part["o"]) * tanh(c), c


def _with_memory(
    rule: Callable[..., Tensor], gate: Callable[[Tensor], Tensor] = sigmoid
) -> Callable:
    """An LSTM whose new memory is made of f, i (behind their gates), g and c by another rule."""

    def mistaken(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        o, f, i, g = gates.chunk(4, 1)
        c = rule(gate(f), gate(i), g, c)
        return gate(o) * tanh(c), c

    return mistaken  # fmt: skip


def _with_state(rule: Callable[..., Tensor]) -> Callable:
    """An LSTM whose state is made of o (behind its gate), the old and the new memory by another rule."""

    def mistaken(gates: Tensor, c: Tensor) -> tuple[Tensor, None]:
        return rule(sigmoid(gates.chunk(4, 1)[0]), c, _lstm(gates, c)[1]), None

    return mistaken


def _which_result(case: Case, h: Tensor, c: Tensor, _: Tensor, right_c: Tensor) -> str | None:
    if same(c, right_c):
        return (
            "your memory is right, and your state is not: h = sigmoid(o) tanh(c), with the new c."
        )
    if same(h, sigmoid(case.arguments["gates"].chunk(4, 1)[0]) * tanh(c)):
        return "your state follows from your memory, and the memory is wrong: c = sigmoid(f) c + sigmoid(i) tanh(g)."
    return None


def _gates(g: torch.Generator, b: int, f: int, *rest: int, scale: float = 1.5) -> dict[str, Tensor]:
    return {"gates": scale * normal(g, b, 4 * f, *rest), "c": 1.5 * normal(g, b, f, *rest)}


@step(
    lambda g: [
        tame("one pixel an image", **_gates(g, 3, 2)),
        tame("a column of pixels", **_gates(g, 2, 3, 5)),
        hard("a single feature of a single image", **_gates(g, 1, 1, 2, 4)),
        extreme("gates that are shut or wide open", **_gates(g, 2, 5, 3, scale=2000.0)),
    ],
    results=("the state h", "the memory c"),
    probe=_which_result,
    gradient="gates c",
    dtype="same",
    passes="f keeps, i writes, o shows.",
)
def lstm(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `lstm(gates, c)`: the new state and the new memory, (B, F, ...) each.

    gates (B, 4 F, ...) holds what flows into o, f, i and g, in this order along axis 1; c (B, F, ...).

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.lstm(lambda gates, c: c)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: `lstm` returns one thing: return 2 tensors, the state h and the memory c.
    """
    return _lstm(gates, c)


lstm.wrong = {
    "you take the parts in PyTorch's order i, f, g, o: here it is o, f, i, g.":
        lambda gates, c: _lstm(gates, c, "ifgo"),
    "f and i have changed places: f multiplies the old memory, i the new content.":
        lambda gates, c: _lstm(gates, c, "oifg"),
    "you take the parts in the order f, i, o, g: here o comes first.": lambda gates, c: _lstm(gates, c, "fiog"),
    "i and g have changed places: the third part is the gate, the fourth the content.":
        lambda gates, c: _lstm(gates, c, "ofgi"),
    "you add the input gate: it multiplies tanh(g).": _with_memory(lambda f, i, g, c: f * c + i + tanh(g)),
    "1 - f multiplies your memory: an open gate f keeps it, so multiply by f.":
        _with_memory(lambda f, i, g, c: (1 - f) * c + i * tanh(g)),
    "the content g goes through a sigmoid and can never be negative: its place is in a tanh.":
        _with_memory(lambda f, i, g, c: f * c + i * sigmoid(g)),
    "the content g is not squashed: it goes through a tanh.": _with_memory(lambda f, i, g, c: f * c + i * g),
    "you use 1 - f for the input gate: i is a gate of its own, and both may be open.":
        _with_memory(lambda f, i, g, c: f * c + (1 - f) * tanh(g)),
    "the old memory is lost: add f times c.": _with_memory(lambda f, i, g, c: i * tanh(g)),
    "nothing is ever forgotten: f multiplies the old memory.": _with_memory(lambda f, i, g, c: c + i * tanh(g)),
    "your gates are the raw numbers: o, f and i each go through a sigmoid first.":
        _with_memory(lambda f, i, g, c: f * c + i * tanh(g), gate=lambda a: a),
    "the state is o times the memory itself: take tanh of the memory, so that it stays in [-1, 1].":
        _with_state(lambda o, c, new: o * new),
    "your memory itself went through a tanh: only the state h sees it so.":
        _with_memory(lambda f, i, g, c: tanh(f * c + i * tanh(g))),
    "the output gate is not used: h is o times tanh(c).": _with_state(lambda o, c, new: tanh(new)),
    "the state comes from the old memory: update c first, and then take h from the new one.":
        _with_state(lambda o, c, new: o * tanh(c)),
    "you cut axis 1 into groups of four, as if the four parts of a feature stood side by side: first come all of o, "
    "then all of f, and so on.":
        lambda gates, c: _lstm(cat([gates[:, n::4] for n in range(4)], 1), c),
}  # fmt: skip


# ---------------------------------------------------------------- 4. a pixel at a time

NOWHERE = (10**6, 10**6)


def _walk(
    gates: Tensor,
    w_left: Tensor,
    w_up: Tensor,
    *,
    left: tuple[int, int] = (0, -1),
    up: tuple[int, int] = (-1, 0),
    memory: tuple[tuple[int, int], ...] = ((0, -1),),
    carry: str = "",
    of: int = 0,
    order: str = "ofig",
    swapped: bool = False,
    of_memories: bool = False,
    backwards: bool = False,
) -> Tensor:
    """States of a two-dimensional LSTM, a pixel at a time, (B, 4 F, H, W) -> (B, F, H, W).

    Args:
        gates, w_left, w_up: as the student's function takes them.
        left, up: where the two neighbours lie, (row, column) from the pixel.
        memory: where the memories lie that are added up.
        carry: "h" or "c" or both, where the end of a row is to the left of the next one's beginning.
        of: 0 for the states, 1 for the memories.
        order: of the four parts of the gates.
        swapped: h and c take each other's place.
        of_memories: the weights multiply memories.
        backwards: from the last pixel to the first.
    """
    height, width = gates.shape[2:]
    zero = gates.new_zeros(len(gates), w_left.shape[1])
    done: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def at(i: int, j: int, step: tuple[int, int], which: int) -> Tensor:
        di, dj = step
        place = (i - di, j - dj) if backwards else (i + di, j + dj)
        if place[1] < 0 and "hc"[which] in carry:
            place = (i - 1, width - 1)
        return done[place][which] if place in done else zero

    pixels = list(itertools.product(range(height), range(width)))
    for i, j in reversed(pixels) if backwards else pixels:
        h_left, h_up = at(i, j, left, of_memories), at(i, j, up, of_memories)
        own = gates[:, :, i, j] + h_left @ w_left.T + h_up @ w_up.T
        new = _lstm(own, zero + sum(at(i, j, step, 1) for step in memory), order)
        done[i, j] = new[::-1] if swapped else new
    rows = [stack([done[i, j][of] for j in range(width)], -1) for i in range(height)]
    return stack(rows, -2)


def _but(**change: Any) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A walk with a mistake."""
    return lambda gates, w_left, w_up: _walk(gates, w_left, w_up, **change)


def _map(g: torch.Generator, b: int, f: int, height: int, width: int) -> dict[str, Tensor]:
    return {
        "gates": normal(g, b, 4 * f, height, width),
        "w_left": normal(g, 4 * f, f),
        "w_up": normal(g, 4 * f, f),
    }


def _maps(g: torch.Generator) -> list[Case]:
    """Inputs of a scan."""
    return [
        tame("a wide map", **_map(g, 3, 2, 3, 5)),
        tame("a tall map", **_map(g, 2, 3, 4, 2)),
        hard("a map of one row", **_map(g, 1, 2, 1, 3)),
        hard("a map of one column", **_map(g, 2, 1, 3, 1)),
    ]


@step(
    _maps,
    gradient="gates",
    dtype="same",
    zeros="Do the gates enter, and are they added?",
    passes="every state reads its left and its upper neighbour, and zeros beyond the edge.",
)
def plain_scan(gates: Tensor, w_left: Tensor, w_up: Tensor) -> Tensor:
    r"""Check `plain_scan(gates, w_left, w_up)`: a two-dimensional LSTM, a pixel at a time.

    gates (B, 4 F, H, W) is what each pixel's own input adds; w_left and w_up (4 F, F) weigh the states of
    the pixels to the left and above. The memory comes from the left. Wanted are the states (B, F, H, W).

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.plain_scan(lambda gates, w_left, w_up: gates)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for a wide map the result of `plain_scan` has the shape ...
    """
    return _walk(gates, w_left, w_up)


plain_scan.wrong = {
    "the state above is never read, so rows know nothing of each other: add w_up h_up.": _but(up=NOWHERE),
    "the state to the left is never read: add w_left h_left.": _but(left=NOWHERE),
    "w_left meets the state above, and w_up the one to the left: swap them.":
        lambda gates, w_left, w_up: _walk(gates, w_up, w_left),
    "in the place of the state above you read the one above and to the left: that is (i - 1, j), not (i - 1, j - 1).":
        _but(up=(-1, -1)),
    "your memory comes from above: let it come from the left, as w_left h_left does.": _but(memory=((-1, 0),)),
    "you add the memories from the left and from above, which may grow at every step: take the left one alone.":
        _but(memory=((0, -1), (-1, 0))),
    "the memory is zero at every pixel: hand the new c on to the next pixel of the row.": _but(memory=()),
    "state and memory run on from the end of a row to the beginning of the next: to the left of the first column both "
    "are zero.":
        _but(carry="hc"),
    "the memory runs on from the end of a row into the next: set c back to zero where a row begins.": _but(carry="c"),
    "the state runs on from the end of a row into the next: set h_left back to zero where a row begins.":
        _but(carry="h"),
    "you return the memories c: return the states h.": _but(of=1),
    "your cell takes the gates in PyTorch's order i, f, g, o: call your `lstm`.": _but(order="ifgo"),
    "h and c have changed places: your `lstm` returns `h, c`.": _but(swapped=True),
    "the weights multiply the memories c: they multiply the states h.": _but(of_memories=True),
    "in the place of the state above you read the one above and to the right: that is (i - 1, j), not (i - 1, j + 1).":
        _but(up=(-1, 1)),
    "you begin at the lower right, so each state reads the pixels to come: begin at the upper left.":
        _but(backwards=True),
}  # fmt: skip


# ---------------------------------------------------------------- 5. skewing


def _shear(x: Tensor, shifts: list[int], width: int) -> Tensor:
    """Row i moved to the right by shifts[i], on zeros; cut or filled up to a width."""
    rows = [
        pad_with(x[:, :, i], (n, width - n - x.shape[3]))
        for i, n in zip(range(x.shape[2]), shifts, strict=True)
    ]
    return stack(rows, 2)


def _skew(x: Tensor, wider: int = 0, first: int = 0) -> Tensor:
    """Row i moved by `first` + i; as wide as it should be, or wider."""
    height, width = x.shape[2:]
    return _shear(x, [*range(first, first + height)], width + height - 1 + wider)


def _edges(x: Tensor) -> Tensor:
    height, width = x.shape[2:]
    columns = [[0] * i + [*range(width)] + [-1] * (height - 1 - i) for i in range(height)]
    return stack([x[:, :, i, row] for i, row in enumerate(columns)], 2)


@step(
    lambda g: [
        tame("a 3 x 3 map", x=normal(g, 1, 1, 3, 3)),
        tame("a 3 x 5 map", x=normal(g, 2, 4, 3, 5)),
        tame("a 4 x 3 map", x=normal(g, 3, 2, 4, 3)),
        hard("a map of one row", x=normal(g, 2, 3, 1, 4)),
    ],
    gradient="x",
    dtype="same",
    passes="row i moves i places, and a diagonal has become a column.",
)
def skew(x: Tensor) -> Tensor:
    r"""Check `skew(x)`: row i moved i places to the right, (B, F, H, W) -> (B, F, H, W + H - 1).

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.skew(lambda x: x)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: right for a map of one row, but for a 3 x 3 map ...
    """
    return _skew(x)


skew.wrong = {
    "the top row moves furthest and the bottom row stays: it is the other way round, row i moves by i.":
        lambda x: _skew(x.flip(2)).flip(2),
    "the first row moves too: counted from 0, row i moves by i, so the map gains H - 1 columns.":
        lambda x: _skew(x, 1, first=1),
    "the map is a column too wide: the last row moves by H - 1, so H - 1 columns are enough.": lambda x: _skew(x, 1),
    "the ends of the lower rows fall off: the skewed map is wider, W + H - 1 columns.":
        lambda x: _skew(x, 1 - x.shape[2]),
    "your rows wrap around, and their ends come back at the left: move in zeros, and make the map wider by H - 1.":
        lambda x: stack([roll(x[:, :, i], i, 2) for i in range(x.shape[2])], 2),
    "your rows move to the left, around the end: move row i to the right.":
        lambda x: stack([roll(_skew(x)[:, :, i], -2 * i, 2) for i in range(x.shape[2])], 2),
    "you move columns down: move rows to the right.": lambda x: _skew(x.mT).mT,
    "every row moves by the same amount: row i moves by i.": lambda x: pad_with(x, (0, x.shape[2] - 1)),
    "you fill up with the values at the edge: fill up with zeros, so that no pixel counts twice.": _edges,
    "the map gains W - 1 columns: it should gain H - 1, as many as the last row moves.":
        lambda x: _skew(x, x.shape[3] - x.shape[2]),
}  # fmt: skip


def _width(x: Tensor) -> int:
    return x.shape[3] - x.shape[2] + 1


def _unskew(x: Tensor) -> Tensor:
    """Row i from column i on."""
    return stack([x[:, :, i, i : i + _width(x)] for i in range(x.shape[2])], 2)


# ---------------------------------------------------------------- 6. a diagonal at a time


class _CountSquashing(TorchFunctionMode):
    """Counts what a step of the scan calls a fixed number of times, however it writes its sigmoids."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "").rstrip("_")
        self.calls += name in ("sigmoid", "tanh", "exp", "expit", "special_expit")
        return func(*args, **(kwargs or {}))


def _down(x: Tensor) -> Tensor:
    """A column (B, F, H) moved down by a row, with a zero at the top."""
    return pad_with(x, (1, -1))


def _columns(
    above: Callable[[Tensor], Tensor] = _down,
    memory: Callable[[Tensor], Tensor] = lambda c: c,
    end: Callable[..., Tensor] = _unskew,
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The scan over skewed columns, with a mistake in what is read above, in the memory, or at its end."""

    def scan(gates: Tensor, w_left: Tensor, w_up: Tensor) -> Tensor:
        h = c = gates.new_zeros(len(gates), w_left.shape[1], gates.shape[2])
        states = []
        for own in _skew(gates).unbind(3):
            h, c = _lstm(own + w_left @ h + w_up @ above(h), memory(c))
            states.append(h)
        return end(stack(states, 3))

    return scan


def _takes_too_many_steps(answer: Answer, g: torch.Generator) -> str | None:
    """Steps are counted by what they call; what one pixel more calls in a row is a step."""

    def squashings(label: str, case: dict[str, Tensor]) -> int:
        with _CountSquashing() as counter:
            call("diagonal_scan", answer, Case(label, case))
        return counter.calls

    wide = _map(g, 2, 2, 3, 5)
    one, two = (
        squashings(
            f"a map of {n} x 1 pixels", wide | {"gates": wide["gates"][:, :, :1, :n].clone()}
        )
        for n in (1, 2)
    )
    steps = squashings("a wide map", wide) / (two - one) if two > one else 0
    if steps < 8:  # the first may take less than a step
        return None
    return (
        f"the states are right, but a 3 x 5 map takes you {steps:.0f} steps: a whole column of the skewed map at once "
        "takes 7."
    )


@step(
    _maps,
    gradient="gates w_left w_up",
    dtype="same",
    live=[_takes_too_many_steps],
    passes="the same states, a diagonal at a time.",
)
def diagonal_scan(gates: Tensor, w_left: Tensor, w_up: Tensor) -> Tensor:
    r"""Check `diagonal_scan(gates, w_left, w_up)`: the states of `plain_scan`, in H + W - 1 steps.

    Arguments and result as in `plain_scan`. Steps are counted by the calls of sigmoid, tanh and exp.

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.diagonal_scan(lambda gates, w_left, w_up: gates[:, : w_left.shape[1]])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for a wide map the result of `diagonal_scan` is wrong: ...
    """
    return _columns()(gates, w_left, w_up)


diagonal_scan.wrong = {
    "the state above is your own row's: in the column before, it stands one row higher. Move the column down by one "
    "row, `F.pad(h, (1, -1))`.":
        _columns(above=lambda h: h),
    "you move the column up, and read the state of the row below: move it down.":
        _columns(above=lambda h: pad_with(h, (-1, 1))),
    "rolling the column wraps around, so the first row reads the last one: nothing is above the first row, so move in "
    "a zero.":
        _columns(above=lambda h: roll(h, 1, 2)),
    "you move the memory down together with the state: memory comes from the left, its own row.":
        _columns(memory=_down),
    "the memory is zero in every column: hand the new c on to the next step.": _columns(memory=lambda c: 0 * c),
    "your states are still skewed: move them back with `unskew`.": _columns(end=lambda x: x),
    "you keep the last W columns of the skewed states, but row i begins at column i: move them back with `unskew`.":
        _columns(end=lambda x: x[..., -_width(x) :]),
    "you cut the skewed states to W columns, but row i of them begins at column i: move them back with `unskew`.":
        _columns(end=lambda x: x[..., : _width(x)]),
    "you scan the columns of the plain map, where the column before holds the state above and to the left: `skew` the "
    "gates first.":
        _but(up=(-1, -1)),
    "the state of the row above never enters: add w_up times the column before, moved down by one row.":
        _but(up=NOWHERE),
    "the state to the left never enters: add w_left times the column before, its own row.": _but(left=NOWHERE),
    "w_left meets the upper state and w_up the left one: swap them.":
        lambda gates, w_left, w_up: _walk(gates, w_up, w_left),
    "you return the memories: return the states h.": _but(of=1),
    "h and c have changed places: your `lstm` returns `h, c`.": _but(swapped=True),
    "you move the features, axis 1: the rows of a column are its last axis.":
        _columns(above=lambda h: pad_with(h, (0, 0, 1, -1))),
    "only the pixel's own gates enter: each column needs the states of the column before.":
        _but(left=NOWHERE, up=NOWHERE),
}  # fmt: skip


# ---------------------------------------------------------------- 7. the other direction


class _Spread:
    """A linear scan: a weighted sum of what is above and to the left, four features into one."""

    def __init__(self, generator: torch.Generator, height: int, width: int):
        def weights(n: int) -> Tensor:
            # by distance, so that a map moved down gives the same, moved
            by_distance = 0.5 + rand(n, generator=generator, dtype=torch.float64)
            distance = arange(n)[:, None] - arange(n)
            return by_distance[distance.abs()].tril().to(torch.get_default_dtype())

        self.down, self.across = weights(height), weights(width)

    def __call__(self, gates: Tensor) -> Tensor:
        if not isinstance(gates, Tensor) or gates.ndim != 4:
            got = tuple(gates.shape) if isinstance(gates, Tensor) else type(gates).__name__
            raise Wrong(f"`scan` wants gates of shape (B, 4 F, H, W), and was given {got}.")
        height, width = gates.shape[2:]
        if (height, width) != (len(self.down), len(self.across)):
            raise Wrong(
                f"you give `scan` a map of {height} x {width} where the gates are {len(self.down)} x "
                f"{len(self.across)}: it should keep its size."
            )
        x = stack(gates.chunk(4, 1)).sum(dim=0).to(self.down)  # (B, F, H, W)
        return self.down @ x @ self.across.T


def _to_scan(g: torch.Generator, label: str, height: int, width: int) -> Case:
    given = {"scan": _Spread(g, height, width), "gates": normal(g, 3, 8, height, width)}
    return (hard if 1 in (height, width) else tame)(label, **given)


def _moved(x: Tensor, right: int, down: int) -> Tensor:
    """A map moved by some columns and rows, with zeros at its edge."""
    return pad_with(x, (right, -right, down, -down))


def _mirrored(scan: Answer, gates: Tensor, dims: int | tuple[int, ...] = 3) -> Tensor:
    return scan(gates.flip(dims)).flip(dims)


@step(
    lambda g: [
        _to_scan(g, "a 4 x 4 map", 4, 4),
        _to_scan(g, "a 3 x 5 map", 3, 5),
        _to_scan(g, "a 4 x 3 map", 4, 3),
        _to_scan(g, "a map of one row", 1, 4),
        _to_scan(g, "a map of one column", 4, 1),
    ],
    gradient="gates",
    dtype="same",
    passes="from the upper right corner, and nothing that is still to come.",
)
def right_to_left(scan: Answer, gates: Tensor) -> Tensor:
    r"""Check `right_to_left(scan, gates)`: scanned from the upper right corner, and moved down a row.

    `scan` maps (B, 4 F, H, W) to (B, F, H, W), and each of its outputs reads its own pixel and those above
    and to the left. The states wanted read what lies above their own row, from their column to the right.

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.right_to_left(lambda scan, gates: scan(gates.flip(3)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you mirror, but neither mirror back nor move down: ...
    """
    return _moved(_mirrored(scan, gates), 0, 1)


right_to_left.wrong = {
    "you mirror, but neither mirror back nor move down: the states stand at the wrong columns and read pixels to come.":
        lambda scan, gates: scan(gates.flip(3)),
    "the states are never mirrored back: what belongs to the left edge stands at the right edge. Mirror the result of "
    "the scan again.":
        lambda scan, gates: _moved(scan(gates.flip(3)), 0, 1),
    "the states are not moved down a row: at its own place each has read its own pixel and those to the right, which "
    "are still to come.":
        _mirrored,
    "the first row is repeated on top: nothing is above it, so move in a row of zeros.":
        lambda scan, gates: cat([_mirrored(scan, gates)[:, :, :1], _mirrored(scan, gates)[:, :, :-1]], 2),
    "you set the first row to zero, but the others are not moved: move all states down by a row.":
        lambda scan, gates: _moved(_moved(_mirrored(scan, gates), 0, -1), 0, 1),
    "you move the states up: then a pixel sees the row below it. Move them down.":
        lambda scan, gates: _moved(_mirrored(scan, gates), 0, -1),
    "rolling wraps around, so the first row gets the states of the last, which come from the future: move in a row of "
    "zeros.":
        lambda scan, gates: roll(_mirrored(scan, gates), 1, 2),
    "you move the states by a column, not by a row: the pixel to the right is still to come, and only from a row below "
    "it is past.":
        lambda scan, gates: _moved(_mirrored(scan, gates), 1, 0),
    "the scan still starts at the upper left: mirror the gates before it.":
        lambda scan, gates: _moved(scan(gates), 0, 1),
    "you mirror after the scan only: mirror the gates before it, and the states after it.":
        lambda scan, gates: _moved(scan(gates).flip(3), 0, 1),
    "you turn the map upside down, so the scan starts at a lower corner: mirror columns (the last axis), not rows.":
        lambda scan, gates: _moved(_mirrored(scan, gates, 2), 0, 1),
    "you turn the map in both axes, so the scan starts at the lower right: mirror the columns alone.":
        lambda scan, gates: _moved(_mirrored(scan, gates, (2, 3)), 0, 1),
    "the first direction is added already: return the second alone.":
        lambda scan, gates: scan(gates) + _moved(_mirrored(scan, gates), 0, 1),
    "you push a row of zeros in at the top, but cut none at the bottom: the map should keep its height.":
        lambda scan, gates: pad_with(_mirrored(scan, gates), (0, 0, 1, 0)),
}  # fmt: skip


# ---------------------------------------------------------------- 8. drawing a level


def _warm(logits: Tensor, temperature: float = 1) -> Tensor:
    return softmax(logits.double() / temperature, 1)


def _passed(p: Tensor, u: Tensor) -> Tensor:
    """How many of the sums of p are at most u."""
    return (p.cumsum(1) <= u[:, None]).sum(dim=1)


def _draw(logits: Tensor, temperature: float, u: Tensor) -> Tensor:
    # there is no level K, however the sums are rounded
    return _passed(_warm(logits, temperature)[:, :-1], u)


def _repeated(g: torch.Generator, temperature: float, n: int, k: int) -> Case:
    """2 n draws, the second half of which are the first once more; u decides without doubt."""
    logits = 1.2 * normal(g, n, k)
    if temperature < 0.1:  # no doubt what wins
        logits[arange(n), randint(k, (n,), generator=g)] += 6.0
    p = _warm(logits, temperature)
    level = _draw(logits, temperature, rand(n, generator=g, dtype=torch.float64))[:, None]
    level = where(p.gather(1, level) > 0.01, level, p.argmax(1, keepdim=True))
    # near an end of its level: rounding decides nothing, and another temperature much
    inner = 0.005 + 0.99 * (rand(n, 1, generator=g, dtype=torch.float64) > 0.5)
    u = ((p.cumsum(1) - p).gather(1, level) + inner * p.gather(1, level))[:, 0].to(logits)
    arguments = {"logits": cat([logits, logits]), "temperature": temperature, "u": cat([u, u])}
    kind = extreme if temperature < 0.1 else tame
    return kind(f"a temperature of {temperature:g}", **arguments)


def _at_an_edge(impossible: int) -> dict[str, Any]:
    """Four equal probabilities behind impossible levels: u is a sum of them."""
    logits = cat([full((5, impossible), -2000.0), zeros(5, 4)], 1).to(torch.get_default_dtype())
    u = torch.tensor([0, 0.25, 0.5, 0.75, 0.25]).to(logits)
    return {"logits": logits, "temperature": 1.0, "u": u}


def _just_below_one(g: torch.Generator) -> dict[str, Any]:
    """The largest u there is, above the rounded sum of the probabilities in many rows."""
    logits = normal(g, 300, 17)
    logits[:60, -1] -= 7  # hardly ever the last level: here it is
    return {
        "logits": logits,
        "temperature": 1.0,
        "u": full((300,), 1 - torch.finfo(logits.dtype).eps / 2).to(logits),
    }


def _what_of_the_level(case: Case, got: Tensor, want: Tensor) -> str | None:
    n = len(got) // 2
    if case.label.startswith("a temperature") and not same(got[:n], got[n:]):
        return (
            "two draws with the same logits and the same u have different levels: u is the random number, and you need "
            "no other."
        )
    if case.label == "a temperature of 0.001":
        return (
            "at a low temperature e^(a/T) is infinite, and your probabilities are lost: take the softmax from torch, "
            "or subtract the largest logit first."
        )
    if case.label == "u just below 1" and (got[got != want] == 0).all():
        return (
            "a u above the rounded sum of all K probabilities draws level 0, as `argmax` does where nothing is true: "
            "it is of the last level."
        )
    if (got == case.arguments["logits"].shape[1]).any():
        return (
            "your level may be K, and there is none: rounded, the K probabilities may sum to a little less than the "
            "largest u. Leave out the last sum, which should be 1."
        )
    if case.label.startswith("u at an edge"):
        return (
            "where u equals a sum you take the level before: level k is drawn for sums larger than u, so compare "
            "`<= u`, or a level of probability 0 may come."
        )
    return None


def _whole(case: Case, level: Tensor) -> str | None:
    if level.is_floating_point():
        return f"the levels are right, but of {level.dtype}: return whole numbers, the next cell counts them."
    return None


@step(
    lambda g: [
        _repeated(g, 1.0, 30, 5),
        _repeated(g, 0.5, 25, 4),
        _repeated(g, 2.0, 35, 6),
        _repeated(g, 0.001, 20, 3),
        hard("u at an edge", **_at_an_edge(0)),
        hard("u at an edge, and a level that never comes", **_at_an_edge(1)),
        extreme("u just below 1", **_just_below_one(g)),
    ],
    probe=_what_of_the_level,
    properties=[_whole],
    passes="u picks the level, and the temperature says how boldly.",
)
def draw(logits: Tensor, temperature: float, u: Tensor) -> Tensor:
    r"""Check `draw(logits, temperature, u)`: the level at which the probabilities add up to more than u.

    logits (N, K), u (N,) in [0, 1) -> (N,) levels. The probabilities are the softmax of the logits
    divided by the temperature.

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.draw(lambda logits, temperature, u: logits.argmax(1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you always take the most likely level: ...
    """
    return _draw(logits, temperature, u)


draw.wrong = {
    "you always take the most likely level: let u decide, or every draw is the same.":
        lambda logits, T, u: logits.argmax(1),
    "the temperature has no effect: divide the logits by it.": lambda logits, T, u: _draw(logits, 1, u),
    "you multiply by the temperature: divide by it, so that a low one makes the likely levels likelier.":
        lambda logits, T, u: _draw(logits, 1 / T, u),
    "you divide probabilities by the temperature, and they no longer sum to one: divide the logits, before the "
    "softmax.":
        lambda logits, T, u: _passed((_warm(logits) / T)[:, :-1], u),
    "you take logits for probabilities: they need a softmax.":
        lambda logits, T, u: _passed((logits.double() / T)[:, :-1], u),
    "you are one level too high: u below the first probability is level 0.":
        lambda logits, T, u: _draw(logits, T, u) + 1,
    "you compare u with single probabilities: compare it with their sum from level 0 on (`cumsum`).":
        lambda logits, T, u: (_warm(logits, T) > u[:, None]).to(torch.uint8).argmax(1),
    "you count the levels whose single probability is at most u: compare u with their sum from level 0 on (`cumsum`).":
        lambda logits, T, u: (_warm(logits, T)[:, :-1] <= u[:, None]).sum(dim=1),
    "you add up from the last level downwards: begin at level 0.":
        lambda logits, T, u: logits.shape[1] - 1 - _draw(logits.flip(1), T, u),
    "you count the sums above u: count those that u has passed.":
        lambda logits, T, u: logits.shape[1] - 1 - _draw(logits, T, u),
    "you leave out the first sum: it is the last that is not needed.":
        lambda logits, T, u: (_warm(logits, T).cumsum(1)[:, 1:] <= u[:, None]).sum(dim=1),
    "you count from the last level: turn back what you have turned round.":
        lambda logits, T, u: _draw(logits.flip(1), T, u),
    "all draws use the first number of u: each has its own.": lambda logits, T, u: _draw(logits, T, u[:1].expand_as(u)),
    "your sums run over the draws, axis 0: a distribution over the K levels is a row.":
        lambda logits, T, u: (_warm(logits, T).cumsum(0)[:, :-1] <= u[:, None]).sum(dim=1),
    "your softmax runs over the draws, axis 0: the probabilities of a row sum to one.":
        lambda logits, T, u: _passed(softmax(logits.double() / T, 0)[:, :-1], u),
}  # fmt: skip
