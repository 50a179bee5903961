r"""Checks for the exercises of lesson PixelRNN.

Each takes the student's function and compares it, on inputs of its own, with the right function and with
the wrong ones that students write. It prints one line, or raises `Wrong` with the likely mistake.
Another `seed` gives other inputs and the same verdict.
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
    isfinite,
    ones,
    rand,
    randint,
    roll,
    sigmoid,
    softmax,
    stack,
    tanh,
    where,
    zeros_like,
)
from torch.nn.functional import log_softmax
from torch.nn.functional import pad as pad_with
from torch.overrides import TorchFunctionMode

from course.checking.core import (
    Answer,
    Case,
    Mistakes,
    Wrong,
    call,
    collect,
    judge,
    judge_gradient,
    normal,
    own_random_numbers,
    same,
)

__all__ = [
    "diagonal_scan",
    "draw",
    "histogram",
    "level_log_prob",
    "lstm",
    "plain_scan",
    "right_to_left",
    "skew",
    "unskew",
]

# ---------------------------------------------------------------- 1. counting


def histogram(answer: Answer, *, seed: int = 0) -> None:
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

    def count(level: Tensor, levels: int) -> Tensor:
        counts = stack([(level == k).sum(dim=0) for k in range(levels)])  # (K, C, H, W)
        return counts.to(torch.get_default_dtype())

    def right(level: Tensor, levels: int, extra: float) -> Tensor:
        return (count(level, levels) + extra) / (len(level) + levels * extra)

    def of_all_pixels(level: Tensor, levels: int, extra: float) -> Tensor:
        pooled = right(level.flatten()[:, None, None, None], levels, extra)
        return pooled.expand(levels, *level.shape[1:])

    def over_pixels(level: Tensor, levels: int, extra: float) -> Tensor:
        counts = count(level, levels) + extra
        return counts / counts.sum(dim=(1, 2, 3), keepdim=True)

    mistakes: Mistakes = [
        (
            "these are counts: divide them by how many there are, so that they become probabilities.",
            lambda level, levels, extra: count(level, levels) + extra,
        ),
        (
            "you divide by the number of images alone, and the extra counts make the sum larger than "
            "one: add K times `extra` below the line too.",
            lambda level, levels, extra: (count(level, levels) + extra) / len(level),
        ),
        (
            "you add `extra` only once below the line: each of the K levels got it, so add it K times.",
            lambda level, levels, extra: (count(level, levels) + extra) / (len(level) + extra),
        ),
        (
            "`extra` has no effect: this is the plain share of the images, and a level that never "
            "occurred stays impossible.",
            lambda level, levels, extra: right(level, levels, 0),
        ),
        (
            "you always add one: add `extra`, which may be 0 or a half.",
            lambda level, levels, extra: right(level, levels, 1),
        ),
        (
            "you add `extra` to the shares: add it to the counts, before you divide.",
            lambda level, levels, extra: (right(level, levels, 0) + extra) / (1 + levels * extra),
        ),
        (
            "this is one histogram for all pixels together: each place in the image has its own, so "
            "count over the images alone.",
            of_all_pixels,
        ),
        (
            "you divide by a sum over the pixels: at each pixel the levels sum to one, so divide by "
            "the number of images and extra counts.",
            over_pixels,
        ),
        (
            "the levels are your last axis: they should be the first, (levels, C, H, W).",
            lambda level, levels, extra: right(level, levels, extra).movedim(0, -1),
        ),
        (
            "you make room only for the levels that occur: there are `levels` of them, whatever the "
            "images show.",
            lambda level, levels, extra: right(level, int(level.max()) + 1, extra),
        ),
        (
            "you take a softmax of the counts: that is for logits. Divide counts by their sum.",
            lambda level, levels, extra: softmax(count(level, levels) + extra, 0),
        ),
        (
            "these are logarithms: return the probabilities.",
            lambda level, levels, extra: right(level, levels, extra).log(),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, extra, size, levels in (
            ("no extra counts", 0.0, (12, 1, 2, 3), 4),
            ("one extra count", 1.0, (9, 2, 3, 2), 5),
            ("half an extra count", 0.5, (7, 1, 2, 2), 3),
        ):
            # with extra counts the last level never occurs
            level = randint(levels - (extra > 0), size, generator=generator)
            level[0] = 0
            level[1:3] = 1
            level[3, :, 0, 0] = 1 - level[3, :, 0, 0].clamp(max=1)
            cases.append(Case(label, {"level": level, "levels": levels, "extra": extra}))
        given = collect("histogram", answer, cases)
        judge(
            "histogram",
            cases,
            given,
            right,
            mistakes,
            probe=lambda case, got, want: (
                None
                if same(got.sum(dim=0), ones(got.shape[1:]))
                else "your probabilities do not sum to one over the levels, the first axis."
            ),
        )
    print("Right: counted at each pixel, with the extra counts above and below the line.")


# ---------------------------------------------------------------- 2. a softmax over levels


def level_log_prob(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `level_log_prob(logits, level)`: $\log p$ of the level that came, under a softmax.

    logits (B, K, ...), level (B, ...) -> (B, ...). Large, distant and very unequal logits must do no harm.

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.level_log_prob(lambda logits, level: logits.log_softmax(1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you return all K log-probabilities: ...
    """

    def pick(scores: Tensor, level: Tensor) -> Tensor:
        return scores.gather(1, level[:, None])[:, 0]

    def right(logits: Tensor, level: Tensor) -> Tensor:
        return pick(log_softmax(logits, 1), level)

    mistakes: Mistakes = [
        (
            "you return all K log-probabilities: pick that of the level, with `gather` along axis 1.",
            lambda logits, level: log_softmax(logits, 1),
        ),
        (
            "this is minus the log-probability: the loss will turn the sign later.",
            lambda logits, level: -right(logits, level),
        ),
        (
            "these are probabilities: return their logarithm.",
            lambda logits, level: right(logits, level).exp(),
        ),
        (
            "this is the logit itself: subtract the logarithm of the sum over all levels.",
            lambda logits, level: pick(logits, level),
        ),
        (
            "you subtract the sum over the levels without its logarithm.",
            lambda logits, level: (
                pick(logits, level) - logits.amax(1) - (logits - logits.amax(1, True)).exp().sum(1)
            ),
        ),
        (
            "you subtract the largest logit in the sum but not in front of it (or add it back in one "
            "place only): both terms need the same shift.",
            lambda logits, level: (
                pick(logits, level) - (logits - logits.amax(1, keepdim=True)).logsumexp(1)
            ),
        ),
        (
            "your sum runs over the last axis: the K levels are axis 1.",
            lambda logits, level: pick(log_softmax(logits, -1), level),
        ),
        (
            "these are bits: take the natural logarithm.",
            lambda logits, level: right(logits, level) / math.log(2),
        ),
        (
            "you add up the log-probabilities of an image: return one for each pixel.",
            lambda logits, level: right(logits, level).reshape(len(level), -1).sum(dim=1),
        ),
        (
            "a sigmoid judges each level alone, and the K probabilities do not sum to one: divide by "
            "the sum over the levels.",
            lambda logits, level: pick(-(1 + (-logits).exp()).log(), level),
        ),
    ]
    infinite = {
        "logits near 100": "e^100 is infinite in single precision: subtract the largest logit before you "
        "take the exponential. The shift cancels.",
        "pixels with distant logits": "you subtract one maximum from all pixels, and where the logits "
        "are far below it every exponential is 0: take the maximum over the levels, axis 1, of each.",
        "a very unlikely level": "a very unlikely level makes your result infinite: its probability is "
        "rounded to 0 before you take the logarithm. Take the logarithm of the sum only, never of p.",
    }
    with own_random_numbers(seed) as generator:
        cases = []
        for label, scale, shift, size in (
            ("random logits", 1.0, 0.0, (3, 4, 2, 5)),
            ("one pixel an image", 1.0, 0.0, (4, 6)),
            ("logits near 100", 1.0, 100.0, (2, 3, 2, 2)),
            ("pixels with distant logits", 1.0, 0.0, (2, 3, 2, 2)),
            ("a very unlikely level", 0.0, 0.0, (2, 3, 2, 2)),
        ):
            b, k, *image = size
            logits = 2 * scale * normal(generator, *size) + shift
            level = randint(k, (b, *image), generator=generator)
            if label == "pixels with distant logits":
                logits[0] -= 120.0
            if label == "a very unlikely level":
                logits[:, 0], level[0] = 2000.0, 1
            cases.append(Case(label, {"logits": logits, "level": level}))
        given = collect("level_log_prob", answer, cases)
        if same(given[0][0], right(**cases[0].arguments)):
            for case, (got,) in zip(cases, given, strict=True):
                if case.label in infinite and not isfinite(got).all():
                    raise Wrong(infinite[case.label])
        judge("level_log_prob", cases, given, right, mistakes)
        judge_gradient("level_log_prob", answer, cases[0], right, ["logits"])
    print("Right: a log-softmax that stays finite, whatever the logits.")


# ---------------------------------------------------------------- 3. one step of an LSTM


def lstm(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `lstm(gates, c)`: the new state and the new memory, (B, F, ...) each.

    gates (B, 4 F, ...) holds what flows into o, f, i and g, in this order along axis 1; c (B, F, ...).

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.lstm(lambda gates, c: c)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: `lstm` returns one thing: return 2 tensors, the state h and the memory c.
    """

    def step(gates: Tensor, c: Tensor, order: str = "ofig") -> tuple[Tensor, Tensor]:
        part = dict(zip(order, gates.chunk(4, 1), strict=True))
        c = sigmoid(part["f"]) * c + sigmoid(part["i"]) * tanh(part["g"])
        return sigmoid(part["o"]) * tanh(c), c

    def parts(gates: Tensor) -> list[Tensor]:
        return list(gates.chunk(4, 1))

    def with_memory(rule: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
        def mistaken(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            o, f, i, g = parts(gates)
            c = rule(f, i, g, c)
            return sigmoid(o) * tanh(c), c

        return mistaken

    def with_state(rule: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
        def mistaken(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            new = step(gates, c)[1]
            return rule(parts(gates)[0], c, new), new

        return mistaken

    mistakes: Mistakes = [
        (
            "you return the memory first: return `h, c`, the state before the memory.",
            lambda gates, c: step(gates, c)[::-1],
        ),
        (
            "you take the parts in PyTorch's order i, f, g, o: here it is o, f, i, g.",
            lambda gates, c: step(gates, c, "ifgo"),
        ),
        (
            "f and i have changed places: f multiplies the old memory, i the new content.",
            lambda gates, c: step(gates, c, "oifg"),
        ),
        (
            "you take the parts in the order f, i, o, g: here o comes first.",
            lambda gates, c: step(gates, c, "fiog"),
        ),
        (
            "the content g goes through a sigmoid and can never be negative: its place is in a tanh.",
            with_memory(lambda f, i, g, c: sigmoid(f) * c + sigmoid(i) * sigmoid(g)),
        ),
        (
            "the content g is not squashed: it goes through a tanh.",
            with_memory(lambda f, i, g, c: sigmoid(f) * c + sigmoid(i) * g),
        ),
        (
            "you use 1 - f for the input gate: i is a gate of its own, and both may be open.",
            with_memory(lambda f, i, g, c: sigmoid(f) * c + (1 - sigmoid(f)) * tanh(g)),
        ),
        (
            "the old memory is lost: add f times c.",
            with_memory(lambda f, i, g, c: sigmoid(i) * tanh(g)),
        ),
        (
            "nothing is ever forgotten: f multiplies the old memory.",
            with_memory(lambda f, i, g, c: c + sigmoid(i) * tanh(g)),
        ),
        (
            "your gates are the raw numbers: o, f and i each go through a sigmoid first.",
            lambda gates, c: (
                parts(gates)[0]
                * tanh(parts(gates)[1] * c + parts(gates)[2] * tanh(parts(gates)[3])),
                parts(gates)[1] * c + parts(gates)[2] * tanh(parts(gates)[3]),
            ),
        ),
        (
            "the state is o times the memory itself: take tanh of the memory, so that it stays in "
            "[-1, 1].",
            with_state(lambda o, c, new: sigmoid(o) * new),
        ),
        (
            "the output gate is not used: h is o times tanh(c).",
            with_state(lambda o, c, new: tanh(new)),
        ),
        (
            "the state comes from the old memory: update c first, and then take h from the new one.",
            with_state(lambda o, c, new: sigmoid(o) * tanh(c)),
        ),
        (
            "you cut axis 1 into groups of four, as if the four parts of a feature stood side by side: "
            "first come all of o, then all of f, and so on.",
            lambda gates, c: step(
                cat([gates[:, n::4] for n in range(4)], 1),
                c,
            ),
        ),
    ]
    results = ("the state h", "the memory c")
    with own_random_numbers(seed) as generator:
        cases = [
            Case(
                label,
                {
                    "gates": 1.5 * normal(generator, b, 4 * f, *rest),
                    "c": 1.5 * normal(generator, b, f, *rest),
                },
            )
            for label, b, f, *rest in (
                ("one pixel an image", 3, 2),
                ("a column of pixels", 2, 3, 5),
            )
        ]
        given = collect("lstm", answer, cases, results=results)
        judge("lstm", cases, given, step, mistakes, results=results)
        judge_gradient("lstm", answer, cases[0], step, ["gates", "c"])
    print("Right: f keeps, i writes, o shows.")


# ---------------------------------------------------------------- 4. a pixel at a time


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
    backwards: bool = False,
) -> Tensor:
    """States of a two-dimensional LSTM, a pixel at a time, (B, 4 F, H, W) -> (B, F, H, W).

    Args:
        gates, w_left, w_up: as the student's function takes them.
        left, up: where the two neighbours lie, (row, column) from the pixel.
        memory: where the memories lie that are added up.
        carry: "h" or "c" or both, where the end of a row is to the left of the next one's beginning.
        of: 0 for the states, 1 for the memories.
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
        own = gates[:, :, i, j] + at(i, j, left, 0) @ w_left.T + at(i, j, up, 0) @ w_up.T
        o, f, n, g = own.chunk(4, 1)
        before = zero + sum(at(i, j, step, 1) for step in memory)
        c = sigmoid(f) * before + sigmoid(n) * tanh(g)
        done[i, j] = sigmoid(o) * tanh(c), c
    rows = [stack([done[i, j][of] for j in range(width)], -1) for i in range(height)]
    return stack(rows, -2)


NOWHERE = (10**6, 10**6)


def _maps(generator: torch.Generator) -> list[Case]:
    """Inputs of a scan: a wide map, a tall one and a single row."""
    cases = []
    for label, b, f, height, width in (
        ("a wide map", 2, 2, 3, 5),
        ("a tall map", 2, 3, 4, 2),
        ("a map of one row", 1, 2, 1, 3),
    ):
        arguments = {
            "gates": normal(generator, b, 4 * f, height, width),
            "w_left": normal(generator, 4 * f, f),
            "w_up": normal(generator, 4 * f, f),
        }
        cases.append(Case(label, arguments))
    return cases


def plain_scan(answer: Answer, *, seed: int = 0) -> None:
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
    mistakes: Mistakes = [
        (
            "the state above is never read, so rows know nothing of each other: add w_up h_up.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, up=NOWHERE),
        ),
        (
            "the state to the left is never read: add w_left h_left.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, left=NOWHERE),
        ),
        (
            "w_left meets the state above, and w_up the one to the left: swap them.",
            lambda gates, w_left, w_up: _walk(gates, w_up, w_left),
        ),
        (
            "in the place of the state above you read the one above and to the left: that is (i - 1, j), "
            "not (i - 1, j - 1).",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, up=(-1, -1)),
        ),
        (
            "your memory comes from above: let it come from the left, as w_left h_left does.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, memory=((-1, 0),)),
        ),
        (
            "you add the memories from the left and from above, which may grow at every step: take the "
            "left one alone.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, memory=((0, -1), (-1, 0))),
        ),
        (
            "the memory is zero at every pixel: hand the new c on to the next pixel of the row.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, memory=()),
        ),
        (
            "state and memory run on from the end of a row to the beginning of the next: to the left of "
            "the first column both are zero.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, carry="hc"),
        ),
        (
            "the memory runs on from the end of a row into the next: set c back to zero where a row "
            "begins.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, carry="c"),
        ),
        (
            "the state runs on from the end of a row into the next: set h_left back to zero where a row "
            "begins.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, carry="h"),
        ),
        (
            "you return the memories c: return the states h.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, of=1),
        ),
        (
            "you begin at the lower right, so each state reads the pixels to come: begin at the upper "
            "left.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, backwards=True),
        ),
        (
            "the pixel's own gates are missing: add gates[:, :, i, j].",
            lambda gates, w_left, w_up: _walk(zeros_like(gates), w_left, w_up),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = _maps(generator)
        given = collect("plain_scan", answer, cases)
        judge("plain_scan", cases, given, _walk, mistakes)
    print("Right: every state reads its left and its upper neighbour, and zeros beyond the edge.")


# ---------------------------------------------------------------- 5. and 6. skewing


def _shear(x: Tensor, shifts: list[int], width: int) -> Tensor:
    """Row i moved to the right by shifts[i], on zeros; cut or filled up to a width."""
    rows = [
        pad_with(x[:, :, i], (n, width - n - x.shape[3]))
        for i, n in zip(range(x.shape[2]), shifts, strict=True)
    ]
    return stack(rows, 2)


def skew(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `skew(x)`: row i moved i places to the right, (B, F, H, W) -> (B, F, H, W + H - 1).

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.skew(lambda x: x)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for a 3 x 3 map the result of `skew` has the shape (1, 1, 3, 3) ...
    """

    def right(x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        return _shear(x, list(range(height)), width + height - 1)

    def edges(x: Tensor) -> Tensor:
        height = x.shape[2]
        return stack([x[:, :, i, [0] * i + [*range(x.shape[3])] + [-1] * (height - 1 - i)]
                      for i in range(height)], 2)  # fmt: skip

    mistakes: Mistakes = [
        (
            "the top row moves furthest and the bottom row stays: it is the other way round, row i moves "
            "by i.",
            lambda x: _shear(x, [*range(x.shape[2])][::-1], x.shape[3] + x.shape[2] - 1),
        ),
        (
            "the first row moves too: counted from 0, row i moves by i, so the map gains H - 1 columns.",
            lambda x: _shear(x, [*range(1, x.shape[2] + 1)], x.shape[3] + x.shape[2]),
        ),
        (
            "the map is a column too wide: the last row moves by H - 1, so H - 1 columns are enough.",
            lambda x: _shear(x, [*range(x.shape[2])], x.shape[3] + x.shape[2]),
        ),
        (
            "the ends of the lower rows fall off: the skewed map is wider, W + H - 1 columns.",
            lambda x: _shear(x, [*range(x.shape[2])], x.shape[3]),
        ),
        (
            "your rows wrap around, and their ends come back at the left: move in zeros, and make the map "
            "wider by H - 1.",
            lambda x: stack([roll(x[:, :, i], i, 2) for i in range(x.shape[2])], 2),
        ),
        (
            "you move columns down: move rows to the right.",
            lambda x: right(x.mT).mT,
        ),
        (
            "every row moves by the same amount: row i moves by i.",
            lambda x: pad_with(x, (0, x.shape[2] - 1)),
        ),
        (
            "you fill up with the values at the edge: fill up with zeros, so that no pixel counts twice.",
            edges,
        ),
        (
            "the map gains W - 1 columns: it should gain H - 1, as many as the last row moves.",
            lambda x: _shear(x, [*range(x.shape[2])], 2 * x.shape[3] - 1),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = [
            Case(f"a {size[2]} x {size[3]} map", {"x": normal(generator, *size)})
            for size in ((1, 1, 3, 3), (2, 3, 3, 5), (2, 2, 4, 3))
        ]
        given = collect("skew", answer, cases)
        judge("skew", cases, given, right, mistakes)
    print("Right: row i moves i places, and a diagonal has become a column.")


def unskew(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `unskew(x)`: row i moved back by i places, (B, F, H, W + H - 1) -> (B, F, H, W).

    What stands in the padding of x does not matter, and is not zero here.

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.unskew(lambda x: x)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for a 3 x 3 map the result of `unskew` has the shape (1, 1, 3, 5) ...
    """

    def size(x: Tensor) -> tuple[int, int]:
        return x.shape[2], x.shape[3] - x.shape[2] + 1

    def rows_from(x: Tensor, starts: list[int], width: int) -> Tensor:
        around = cat([x, x], 3)  # a row that runs out begins again
        return stack([around[:, :, i, n : n + width] for i, n in enumerate(starts)], 2)

    def right(x: Tensor) -> Tensor:
        return rows_from(x, [*range(x.shape[2])], size(x)[1])

    mistakes: Mistakes = [
        (
            "you cut the map without moving the rows back: row i begins at column i.",
            lambda x: x[..., : size(x)[1]],
        ),
        (
            "you keep the last W columns of every row: row i begins at column i.",
            lambda x: x[..., size(x)[0] - 1 :],
        ),
        (
            "you undo a skew the other way round, with the top row furthest to the right: row i begins at "
            "column i.",
            lambda x: rows_from(x, [*range(x.shape[2])][::-1], size(x)[1]),
        ),
        (
            "you are one column too far to the right: counted from 0, row i begins at column i.",
            lambda x: rows_from(x, [*range(1, x.shape[2] + 1)], size(x)[1]),
        ),
        (
            "a column is lost: the skewed map has W + H - 1 columns, so W is that minus H, plus 1.",
            lambda x: rows_from(x, [*range(x.shape[2])], size(x)[1] - 1),
        ),
        (
            "the rows are back in place, but the map is still wide: keep only the first W columns.",
            lambda x: rows_from(x, [*range(x.shape[2])], x.shape[3]),
        ),
        (
            "you move the rows further to the right, as `skew` does: move them back.",
            lambda x: rows_from(x, [(-i) % x.shape[3] for i in range(x.shape[2])], size(x)[1]),
        ),
        (
            "you keep as many columns as there are rows: a map need not be square, W is the width minus "
            "H, plus 1.",
            lambda x: rows_from(x, [*range(x.shape[2])], x.shape[2]),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = [
            Case(f"a {h} x {w} map", {"x": normal(generator, b, f, h, w + h - 1)})
            for b, f, h, w in ((1, 1, 3, 3), (2, 3, 3, 5), (2, 2, 5, 3))
        ]
        given = collect("unskew", answer, cases)
        judge("unskew", cases, given, right, mistakes)
    print("Right: every row is back in its place, and the padding is gone.")


# ---------------------------------------------------------------- 7. a diagonal at a time


class _CountSquashing(TorchFunctionMode):
    """Counts calls of sigmoid and tanh: a step of the scan makes a fixed number of them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += getattr(func, "__name__", "") in ("sigmoid", "sigmoid_", "tanh", "tanh_")
        return func(*args, **(kwargs or {}))


def diagonal_scan(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `diagonal_scan(gates, w_left, w_up)`: the states of `plain_scan`, in H + W - 1 steps.

    Arguments and result as in `plain_scan`. Steps are counted by the calls of sigmoid and tanh.

    Example:
        >>> from course import checks
        >>> checks.pixelrnn.diagonal_scan(lambda gates, w_left, w_up: gates[:, : w_left.shape[1]])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for a wide map the result of `diagonal_scan` is wrong: ...
    """

    def columns(
        gates: Tensor,
        w_left: Tensor,
        w_up: Tensor,
        above: Callable[[Tensor], Tensor] = lambda h: pad_with(h, (1, -1)),
        memory: Callable[[Tensor], Tensor] = lambda c: c,
    ) -> Tensor:
        """The scan over skewed columns, not yet moved back."""
        height, width = gates.shape[2:]
        h = c = gates.new_zeros(len(gates), w_left.shape[1], height)
        states = []
        for own in _shear(gates, [*range(height)], width + height - 1).unbind(3):
            o, f, n, g = (own + w_left @ h + w_up @ above(h)).chunk(4, 1)
            c = sigmoid(f) * memory(c) + sigmoid(n) * tanh(g)
            h = sigmoid(o) * tanh(c)
            states.append(h)
        return stack(states, 3)

    def back(x: Tensor) -> Tensor:
        height, width = x.shape[2], x.shape[3] - x.shape[2] + 1
        return stack([x[:, :, i, i : i + width] for i in range(height)], 2)

    mistakes: Mistakes = [
        (
            "the state above is your own row's: in the column before, it stands one row higher. Move the "
            "column down by one row, `F.pad(h, (1, -1))`.",
            lambda gates, w_left, w_up: back(columns(gates, w_left, w_up, above=lambda h: h)),
        ),
        (
            "you move the column up, and read the state of the row below: move it down.",
            lambda gates, w_left, w_up: back(
                columns(gates, w_left, w_up, above=lambda h: pad_with(h, (-1, 1)))
            ),
        ),
        (
            "rolling the column wraps around, so the first row reads the last one: nothing is above the "
            "first row, so move in a zero.",
            lambda gates, w_left, w_up: back(
                columns(gates, w_left, w_up, above=lambda h: roll(h, 1, 2))
            ),
        ),
        (
            "you move the memory down together with the state: memory comes from the left, its own row.",
            lambda gates, w_left, w_up: back(
                columns(gates, w_left, w_up, memory=lambda c: pad_with(c, (1, -1)))
            ),
        ),
        (
            "the memory is zero in every column: hand the new c on to the next step.",
            lambda gates, w_left, w_up: back(columns(gates, w_left, w_up, memory=zeros_like)),
        ),
        (
            "your states are still skewed: move them back with `unskew`.",
            columns,
        ),
        (
            "you cut the skewed states to W columns, but row i of them begins at column i: move them back "
            "with `unskew`.",
            lambda gates, w_left, w_up: columns(gates, w_left, w_up)[..., : gates.shape[3]],
        ),
        (
            "you scan the columns of the plain map, where the column before holds the state above and to "
            "the left: `skew` the gates first.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, up=(-1, -1)),
        ),
        (
            "the state of the row above never enters: add w_up times the column before, moved down by "
            "one row.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, up=NOWHERE),
        ),
        (
            "the state to the left never enters: add w_left times the column before, its own row.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, left=NOWHERE),
        ),
        (
            "w_left meets the upper state and w_up the left one: swap them.",
            lambda gates, w_left, w_up: _walk(gates, w_up, w_left),
        ),
        (
            "you return the memories: return the states h.",
            lambda gates, w_left, w_up: _walk(gates, w_left, w_up, of=1),
        ),
    ]

    def squashings(case: Case) -> int:
        with _CountSquashing() as counter:
            call("diagonal_scan", answer, case)
        return counter.calls

    with own_random_numbers(seed) as generator:
        cases = _maps(generator)
        given = collect("diagonal_scan", answer, cases)
        judge("diagonal_scan", cases, given, _walk, mistakes)

        wide = cases[0]
        height, width = wide.arguments["gates"].shape[2:]
        pixel = {**wide.arguments, "gates": wide.arguments["gates"][:, :, :1, :1].clone()}
        a_step = squashings(Case("a map of one pixel", pixel))
        steps = squashings(wide) / a_step if a_step else 0
        if steps > height + width - 1:
            raise Wrong(
                f"the states are right, but a {height} x {width} map takes you {steps:.0f} steps: a whole "
                f"column of the skewed map at once takes {height + width - 1}."
            )
        judge_gradient("diagonal_scan", answer, wide, _walk, ["gates", "w_left", "w_up"])
    print("Right: the same states, a diagonal at a time.")


# ---------------------------------------------------------------- 8. the other direction


def right_to_left(answer: Answer, *, seed: int = 0) -> None:
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

    def mirror(x: Tensor) -> Tensor:
        return x.flip(3)

    def down(x: Tensor) -> Tensor:
        return pad_with(x, (0, 0, 1, -1))

    mistakes: Mistakes = [
        (
            "you mirror, but neither mirror back nor move down: the states stand at the wrong columns and "
            "read pixels to come.",
            lambda scan, gates: scan(mirror(gates)),
        ),
        (
            "the states are never mirrored back: what belongs to the left edge stands at the right edge. "
            "Mirror the result of the scan again.",
            lambda scan, gates: down(scan(mirror(gates))),
        ),
        (
            "the states are not moved down a row: at its own place each has read its own pixel and those "
            "to the right, which are still to come.",
            lambda scan, gates: mirror(scan(mirror(gates))),
        ),
        (
            "you move the states up: then a pixel sees the row below it. Move them down.",
            lambda scan, gates: pad_with(mirror(scan(mirror(gates))), (0, 0, -1, 1)),
        ),
        (
            "rolling wraps around, so the first row gets the states of the last, which come from the "
            "future: move in a row of zeros.",
            lambda scan, gates: roll(mirror(scan(mirror(gates))), 1, 2),
        ),
        (
            "you move the states by a column, not by a row: the pixel to the right is still to come, and "
            "only from a row below it is past.",
            lambda scan, gates: pad_with(mirror(scan(mirror(gates))), (1, -1)),
        ),
        (
            "you move the states by a column to the left: that lets them see even more of what is to "
            "come. Move them down by a row.",
            lambda scan, gates: pad_with(mirror(scan(mirror(gates))), (-1, 1)),
        ),
        (
            "the scan still starts at the upper left: mirror the gates before it.",
            lambda scan, gates: down(scan(gates)),
        ),
        (
            "you mirror after the scan only: mirror the gates before it, and the states after it.",
            lambda scan, gates: down(mirror(scan(gates))),
        ),
        (
            "you turn the map upside down, so the scan starts at a lower corner: mirror columns (the last "
            "axis), not rows.",
            lambda scan, gates: down(scan(gates.flip(2)).flip(2)),
        ),
        (
            "you turn the map in both axes, so the scan starts at the lower right: mirror the columns "
            "alone.",
            lambda scan, gates: down(scan(gates.flip(2, 3)).flip(2, 3)),
        ),
        (
            "the first direction is added already: return the second alone.",
            lambda scan, gates: scan(gates) + down(mirror(scan(mirror(gates)))),
        ),
        (
            "you push a row of zeros in at the top, but cut none at the bottom: the map should keep its "
            "height.",
            lambda scan, gates: pad_with(mirror(scan(mirror(gates))), (0, 0, 1, 0)),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for height, width in ((4, 4), (3, 5), (4, 3)):
            arguments = {
                "scan": _Spread(generator, height, width),
                "gates": normal(generator, 2, 8, height, width),
            }
            cases.append(Case(f"a {height} x {width} map", arguments))
        given = collect("right_to_left", answer, cases)
        judge(
            "right_to_left",
            cases,
            given,
            lambda scan, gates: down(mirror(scan(mirror(gates)))),
            mistakes,
        )
    print("Right: from the upper right corner, and nothing that is still to come.")


class _Spread:
    """A linear scan: a weighted sum of what is above and to the left, four features into one."""

    def __init__(self, generator: torch.Generator, height: int, width: int):
        def weights(
            n: int,
        ) -> Tensor:  # by distance, so that a map moved down gives the same, moved
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


# ---------------------------------------------------------------- 9. drawing a level


def draw(answer: Answer, *, seed: int = 0) -> None:
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

    def reach(p: Tensor, u: Tensor) -> Tensor:
        return (p.cumsum(1) <= u[:, None]).sum(dim=1)

    def right(logits: Tensor, temperature: float, u: Tensor) -> Tensor:
        return reach(softmax(logits.double() / temperature, 1), u)

    def warm(logits: Tensor) -> Tensor:
        return softmax(logits.double(), 1)

    def first_larger(p: Tensor, u: Tensor) -> Tensor:
        return (p > u[:, None]).to(torch.uint8).argmax(1)

    mistakes: Mistakes = [
        (
            "you always take the most likely level: let u decide, or every draw is the same.",
            lambda logits, temperature, u: logits.argmax(1),
        ),
        (
            "the temperature has no effect: divide the logits by it.",
            lambda logits, temperature, u: reach(warm(logits), u),
        ),
        (
            "you multiply by the temperature: divide by it, so that a low one makes the likely levels "
            "likelier.",
            lambda logits, temperature, u: right(logits, 1 / temperature, u),
        ),
        (
            "you divide probabilities by the temperature, and they no longer sum to one: divide the "
            "logits, before the softmax.",
            lambda logits, temperature, u: reach(warm(logits) / temperature, u),
        ),
        (
            "you take logits for probabilities: they need a softmax.",
            lambda logits, temperature, u: reach(logits.double() / temperature, u),
        ),
        (
            "you are one level too high: u below the first probability is level 0.",
            lambda logits, temperature, u: right(logits, temperature, u) + 1,
        ),
        (
            "you are one level too low: wanted is the level whose probability takes the sum beyond u.",
            lambda logits, temperature, u: right(logits, temperature, u) - 1,
        ),
        (
            "you compare u with single probabilities: compare it with their sum from level 0 on "
            "(`cumsum`).",
            lambda logits, temperature, u: first_larger(
                softmax(logits.double() / temperature, 1), u
            ),
        ),
        (
            "you count the levels whose single probability is at most u: compare u with their sum from "
            "level 0 on (`cumsum`).",
            lambda logits, temperature, u: (
                softmax(logits.double() / temperature, 1) <= u[:, None]
            ).sum(dim=1),
        ),
        (
            "you add up from the last level downwards: begin at level 0.",
            lambda logits, temperature, u: (
                logits.shape[1] - 1 - right(logits.flip(1), temperature, u)
            ),
        ),
        (
            "you count the sums above u: count those that u has passed.",
            lambda logits, temperature, u: logits.shape[1] - right(logits, temperature, u),
        ),
        (
            "all draws use the first number of u: each has its own.",
            lambda logits, temperature, u: right(logits, temperature, u[:1].expand_as(u)),
        ),
        (
            "your sums run over the draws, axis 0: a distribution over the K levels is a row.",
            lambda logits, temperature, u: (
                softmax(logits.double() / temperature, 1).cumsum(0) <= u[:, None]
            ).sum(dim=1),
        ),
    ]

    def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
        torch.default_generator.manual_seed(seed + 1)
        if not same(collect("draw", answer, [case], kind="any")[0][0], got):
            return (
                "two calls with the same u give different levels: u is the random number, and you "
                "need no other."
            )
        if case.label == "a temperature of 0.01":
            return (
                "at a low temperature e^(a/T) is infinite, and your probabilities are lost: take the "
                "softmax from torch, or subtract the largest logit first."
            )
        return None

    with own_random_numbers(seed) as generator:
        cases = []
        for temperature, n, k in ((1.0, 60, 5), (0.5, 50, 4), (2.0, 60, 6), (0.01, 40, 3)):
            logits = 1.2 * normal(generator, n, k)
            if temperature < 0.1:  # no doubt what wins
                logits[arange(n), randint(k, (n,), generator=generator)] += 6.0
            p = softmax(logits.double() / temperature, 1)
            u = rand(n, generator=generator, dtype=torch.float64)
            level = where(
                p.gather(1, reach(p, u).clamp(max=k - 1)[:, None])[:, 0] > 0.01,
                reach(p, u).clamp(max=k - 1),
                p.argmax(1),
            )[:, None]
            # in the inner part of its level, so that rounding decides nothing
            inner = 0.1 + 0.8 * rand(n, 1, generator=generator, dtype=torch.float64)
            below = (p.cumsum(1) - p).gather(1, level)
            u = (below + inner * p.gather(1, level))[:, 0].to(logits.dtype)
            arguments = {"logits": logits, "temperature": temperature, "u": u}
            cases.append(Case(f"a temperature of {temperature:g}", arguments))
        given = collect("draw", answer, cases, kind="any")
        judge("draw", cases, given, right, mistakes, probe=probe)
    print("Right: u picks the level, and the temperature says how boldly.")
