r"""Checks for the exercises of lesson Markov chains.

Each takes the student's function and compares it, on inputs of its own, with the right function and with
the wrong ones that students write. It prints one line, or raises `Wrong` with the likely mistake.
Another `seed` gives other inputs and the same verdict.

Formulas are checked, never luck: where a function draws, the check hands it the uniform random numbers to
draw with, so that one answer is right. An RBM is three tensors, weight (D, J), b (D,) and c (J,), with
the energy $E(x, h) = -b^T x - c^T h - x^T W h$.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import (
    Tensor,
    arange,
    cat,
    eye,
    isfinite,
    isnan,
    nn,
    outer,
    rand,
    sigmoid,
    softmax,
    stack,
    tanh,
    tensor,
    where,
    zeros,
    zeros_like,
)
from torch.autograd import grad
from torch.nn.functional import binary_cross_entropy_with_logits, softplus
from torch.overrides import TorchFunctionMode

from course.checking.core import (
    Answer,
    Case,
    Mistakes,
    Right,
    Wrong,
    call,
    collect,
    judge,
    judge_gradient,
    judge_parts,
    normal,
    own_random_numbers,
    same,
)

__all__ = [
    "ais_log_weights",
    "ais_log_z",
    "cd_gradient",
    "effective_size",
    "free_energy",
    "gibbs_matrix",
    "gibbs_step",
    "log_partition",
    "p_on",
    "walkback_loss",
]

LOG_2 = math.log(2)
SURE = 2000.0  # log-odds whose exponential is infinite in double precision too
TOO_MANY = 2**17  # numbers in a tensor; a sum over 2^18 states needs more


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return rand(shape, generator=generator, dtype=torch.float64).to(torch.get_default_dtype())


def _bits(generator: torch.Generator, *shape: int) -> Tensor:
    return (_uniform(generator, *shape) < 0.5).to(torch.get_default_dtype())


def _rbm(generator: torch.Generator, d: int, j: int, scale: float = 1.0) -> dict[str, Tensor]:
    """The parameters of an RBM of d pixels and j hidden units."""
    sizes = {"weight": (d, j), "b": (d,), "c": (j,)}
    return {name: scale * normal(generator, *size) for name, size in sizes.items()}


def _free(x: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return -(x @ b) - softplus(c + x @ weight).sum(dim=-1)


def _collect(
    name: str,
    answer: Answer,
    cases: Sequence[Case],
    judged: Callable[[Sequence[Case], list[tuple[Tensor, ...]]], None],
    results: Sequence[str] = ("",),
) -> list[tuple[Tensor, ...]]:
    """As `collect`, but an answer that stops somewhere is first judged by the example alone.

    There two layers are of one size, or two batches, so that a mistake which is an error elsewhere has a
    result by which it is known.
    """
    try:
        return collect(name, answer, cases, results=results)
    except Wrong:
        judged(cases[:1], collect(name, answer, cases[:1], results=results))
        raise


def _draws_by_itself(name: str, answer: Answer, case: Case) -> bool:
    """Does the same call have another result the second time?"""
    first, second = (call(name, answer, case) for _ in range(2))
    return not same(first.detach(), second.detach())


# ---------------------------------------------------------------- 1. a Gibbs sweep as a matrix


def gibbs_matrix(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `gibbs_matrix(joint)`: the probabilities of going from x to x' in one sweep of Gibbs sampling.

    joint (K, L) holds p(x, h), all above zero -> (K, K), the entry (i, j) being that of x' = j, given x = i.

    Example:
        >>> from course import checks
        >>> checks.markov_chains.gibbs_matrix(lambda joint: joint.sum(1).expand(len(joint), -1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: every row of yours is p(x): ...
    """

    def of_h(joint: Tensor) -> Tensor:  # p(h | x)
        return joint / joint.sum(dim=1, keepdim=True)

    def of_x(joint: Tensor) -> Tensor:  # p(x | h)
        return joint / joint.sum(dim=0)

    def right(joint: Tensor) -> Tensor:
        return of_h(joint) @ of_x(joint).T

    mistakes: Mistakes = [
        (
            "your matrix is transposed, or its two conditionals are in each other's place: a row is for where "
            "the chain stands, so it is the rows that sum to one.",
            lambda joint: right(joint).T,
        ),
        (
            "this is the chain on h: start at x, draw h, and end at the next x.",
            lambda joint: right(joint.T),
        ),
        (
            "your entries are joint probabilities of x and the next x: divide each row by p(x), so that it "
            "sums to one.",
            lambda joint: joint @ of_x(joint).T,
        ),
        (
            "the way back to x is no conditional yet: divide p(x, h) by p(h), the sums of the columns.",
            lambda joint: of_h(joint) @ joint.T,
        ),
        (
            "you multiply joint probabilities: a sweep is made of two conditionals, so divide by p(x) and "
            "by p(h).",
            lambda joint: joint @ joint.T,
        ),
        (
            "you use p(h | x) for both halves: the way back is p(x | h), each column divided by its sum.",
            lambda joint: of_h(joint) @ of_h(joint).T,
        ),
        (
            "you use p(x | h) for both halves: the way there is p(h | x), each row divided by its sum.",
            lambda joint: of_x(joint) @ of_x(joint).T,
        ),
        (
            "every row of yours is p(x): the next x depends on the last one, through h.",
            lambda joint: joint.sum(1).expand(len(joint), -1),
        ),
        (
            "this is half a sweep, from x to h: multiply by p(x | h), and you are back at x.",
            of_h,
        ),
        (
            "these are two sweeps: one is asked for.",
            lambda joint: right(joint) @ right(joint),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, shape in (
            ("a table of 3 x 4", (3, 4)),
            ("a table of 4 x 2", (4, 2)),
            ("a table of 3 x 3", (3, 3)),
        ):
            table = (1.5 * normal(generator, *shape)).exp()
            cases.append(Case(label, {"joint": table / table.sum()}))
        given = collect("gibbs_matrix", answer, cases)
        judge("gibbs_matrix", cases, given, right, mistakes)
    print("Right: from x to h and back, and p(x) stays as it is.")


# ---------------------------------------------------------------- 2. free energy


def free_energy(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `free_energy(x, weight, b, c)`: $F(x) = -b^T x - \sum_j \log(1 + e^{c_j + x^T W_{:j}})$.

    x (B, D) of zeros and ones, weight (D, J), b (D,), c (J,) -> (B,).

    Example:
        >>> from course import checks
        >>> checks.markov_chains.free_energy(lambda x, weight, b, c: -x @ b - (c + x @ weight).relu().sum(1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is the lowest energy ...
    """

    def on(x: Tensor, weight: Tensor, c: Tensor) -> Tensor:
        return c + x @ weight

    mistakes: Mistakes = [
        (
            "this is -F, the logarithm of the unnormalised probability: turn the sign.",
            lambda x, weight, b, c: -_free(x, weight, b, c),
        ),
        (
            "this is the energy with every hidden unit on: put each input through softplus before you sum.",
            lambda x, weight, b, c: -(x @ b) - on(x, weight, c).sum(1),
        ),
        (
            "this is the lowest energy over h: F sums over both states of every unit, which makes softplus "
            "of max(0, .).",
            lambda x, weight, b, c: -(x @ b) - on(x, weight, c).relu().sum(1),
        ),
        (
            "the visible biases b are missing: subtract b^T x.",
            lambda x, weight, b, c: -softplus(on(x, weight, c)).sum(1),
        ),
        (
            "the hidden biases c are missing: they belong inside softplus.",
            lambda x, weight, b, c: -(x @ b) - softplus(x @ weight).sum(1),
        ),
        (
            "you add b^T x: a white pixel with a large b has a low energy, so subtract it.",
            lambda x, weight, b, c: x @ b - softplus(on(x, weight, c)).sum(1),
        ),
        (
            "you add the softplus terms: subtract them, for F is minus a logarithm.",
            lambda x, weight, b, c: -(x @ b) + softplus(on(x, weight, c)).sum(1),
        ),
        (
            "you take the mean over the hidden units: the sum over h is a product of one factor a unit, "
            "whose logarithm is a sum.",
            lambda x, weight, b, c: -(x @ b) - softplus(on(x, weight, c)).mean(1),
        ),
        (
            "logsumexp over the hidden units is for one unit being on at a time: each is on or off by "
            "itself, so sum softplus.",
            lambda x, weight, b, c: -(x @ b) - on(x, weight, c).logsumexp(1),
        ),
        (
            "you sum the inputs before softplus: take softplus of each, then the sum.",
            lambda x, weight, b, c: -(x @ b) - softplus(on(x, weight, c).sum(1)),
        ),
        (
            "this is the energy at the mean of h: F counts all h, each with its own energy.",
            lambda x, weight, b, c: (
                -(x @ b) - (sigmoid(on(x, weight, c)) * on(x, weight, c)).sum(1)
            ),
        ),
        (
            "softplus has the wrong sign inside: a unit that is on lowers the energy by its input "
            "c_j + x^T W_j.",
            lambda x, weight, b, c: -(x @ b) - softplus(-on(x, weight, c)).sum(1),
        ),
        (
            "this is e^(-F), the unnormalised probability: return F.",
            lambda x, weight, b, c: (-_free(x, weight, b, c)).exp(),
        ),
        (
            "you return one number for the batch: F is a number for each image.",
            lambda x, weight, b, c: _free(x, weight, b, c).sum(),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = [
            Case(label, {"x": _bits(generator, n, d), **_rbm(generator, d, j)})
            for label, n, d, j in (("a small RBM", 5, 4, 3), ("a wide hidden layer", 3, 3, 6))
        ]
        sure = _rbm(generator, 4, 4)
        sure["c"] = tensor([SURE, 0.3, -SURE, 1.0]).to(sure["c"])
        cases.append(Case("hidden units that are sure", {"x": _bits(generator, 4, 4), **sure}))
        given = collect("free_energy", answer, cases)
        if same(given[0][0], _free(**cases[0].arguments)) and not isfinite(given[2][0]).all():
            raise Wrong(
                "a large input makes your result infinite: its exponential is too big for a number. "
                "`F.softplus(a)` is log(1 + e^a) for every a."
            )
        judge("free_energy", cases, given, _free, mistakes)
        judge_gradient("free_energy", answer, cases[0], _free, ["weight", "b", "c"])
    print("Right: all hidden states are summed out, one softplus a unit.")


# ---------------------------------------------------------------- 3. one layer given the other


def p_on(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `p_on(state, weight, bias)`: the probability of every unit to be on, given the other layer.

    state (B, m) of zeros and ones, weight (m, n), bias (n,) -> (B, n).

    Example:
        >>> from course import checks
        >>> checks.markov_chains.p_on(lambda state, weight, bias: (state @ weight).sigmoid())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the biases are missing: ...
    """

    def odds(state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return bias + state @ weight

    def right(state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return sigmoid(odds(state, weight, bias))

    def transposed(state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        square = weight.shape[0] == weight.shape[1]
        return right(state, weight.T, bias) if square else zeros(0)

    mistakes: Mistakes = [
        (
            "this is softplus, which belongs to the free energy: a probability is its slope, the sigmoid.",
            lambda state, weight, bias: softplus(odds(state, weight, bias)),
        ),
        (
            "the biases are missing: add them before the sigmoid.",
            lambda state, weight, bias: sigmoid(state @ weight),
        ),
        (
            "this is the probability to be off: low energy means on, so there is no minus in the sigmoid.",
            lambda state, weight, bias: sigmoid(-odds(state, weight, bias)),
        ),
        (
            "these are the log-odds: put them through a sigmoid.",
            odds,
        ),
        (
            "softmax lets the units compete: each is on or off by itself, so take a sigmoid.",
            lambda state, weight, bias: softmax(odds(state, weight, bias), dim=1),
        ),
        (
            "tanh is for units that are -1 or 1: these are 0 or 1, so take a sigmoid.",
            lambda state, weight, bias: tanh(odds(state, weight, bias)),
        ),
        (
            "these are odds, p / (1 - p): divide by one plus them, which is the sigmoid.",
            lambda state, weight, bias: odds(state, weight, bias).exp(),
        ),
        (
            "the weights are transposed: row i of weight belongs to unit i of the layer that is given, so "
            "write `state @ weight`.",
            transposed,
        ),
        (
            "you return the more probable value, 0 or 1: return the probability.",
            lambda state, weight, bias: (odds(state, weight, bias) > 0).to(weight.dtype),
        ),
        (
            "the biases are added after the sigmoid: they belong inside.",
            lambda state, weight, bias: sigmoid(state @ weight) + bias,
        ),
        (
            "you average over the given units: their inputs add up.",
            lambda state, weight, bias: sigmoid(bias + state @ weight / len(weight)),
        ),
        (
            "this is the logarithm of the probability: return the probability.",
            lambda state, weight, bias: -softplus(-odds(state, weight, bias)),
        ),
    ]

    def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
        if ((got == 0) | (got == 1)).all() and not ((want == 0) | (want == 1)).all():
            return "you draw already: here the probabilities are wanted. Drawing comes in the next step."
        return None

    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, m, k in (("layers of one size", 5, 4, 4), ("layers of two sizes", 3, 5, 2)):
            rbm = _rbm(generator, m, k)
            arguments = {"state": _bits(generator, n, m), "weight": rbm["weight"], "bias": rbm["c"]}
            cases.append(Case(label, arguments))
        bias = tensor([SURE, -SURE, 0.5]).to(rbm["weight"])
        sure = {
            "state": _bits(generator, 4, 2),
            "weight": normal(generator, 2, 3),
            "bias": bias,
        }
        cases.append(Case("units that are sure", sure))

        def judged(cases: Sequence[Case], given: list[tuple[Tensor, ...]]) -> None:
            judge("p_on", cases, given, right, mistakes, probe=probe)

        given = _collect("p_on", answer, cases, judged)
        if same(given[1][0], right(**cases[1].arguments)) and isnan(given[2][0]).any():
            raise Wrong(
                "large log-odds make yours NaN, infinity over infinity: `.sigmoid()` is right for "
                "every number."
            )
        judged(cases, given)
    print("Right: a sigmoid of bias and weights, for either layer.")


# ---------------------------------------------------------------- 4. a Gibbs step


def gibbs_step(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `gibbs_step(x, weight, b, c, u_h, u_x)`: draw all h given x, then all pixels given h.

    x (B, D), weight (D, J), b (D,), c (J,), uniform random numbers u_h (B, J) and u_x (B, D) -> (B, D)
    of zeros and ones. A unit is on where its number is below its probability.

    Example:
        >>> from course import checks
        >>> checks.markov_chains.gibbs_step(lambda x, weight, b, c, u_h, u_x: x)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your chain stands still: ...
    """

    def p_h(x: Tensor, weight: Tensor, c: Tensor) -> Tensor:
        return sigmoid(c + x @ weight)

    def p_x(h: Tensor, weight: Tensor, b: Tensor) -> Tensor:
        return sigmoid(b + h @ weight.T)

    def draw(u: Tensor, p: Tensor) -> Tensor:
        return (u < p).to(p.dtype)

    def right(x: Tensor, weight: Tensor, b: Tensor, c: Tensor, u_h: Tensor, u_x: Tensor) -> Tensor:
        return draw(u_x, p_x(draw(u_h, p_h(x, weight, c)), weight, b))

    def if_square(made: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def mistake(weight: Tensor, **others: Tensor) -> Tensor:
            square = weight.shape[0] == weight.shape[1]
            return made(weight=weight, **others) if square else zeros(0)

        return mistake

    mistakes: Mistakes = [
        (
            "you return probabilities of the pixels: draw 0 or 1 from them, by comparing with u_x.",
            lambda x, weight, b, c, u_h, u_x: p_x(draw(u_h, p_h(x, weight, c)), weight, b),
        ),
        (
            "you pass the probabilities of h on to the pixels (mean field): draw h, 0 or 1, and pass that "
            "on. Else it is no Gibbs sampling.",
            lambda x, weight, b, c, u_h, u_x: draw(u_x, p_x(p_h(x, weight, c), weight, b)),
        ),
        (
            "nothing is drawn, neither h nor the pixels: compare u_h and u_x with the probabilities.",
            lambda x, weight, b, c, u_h, u_x: p_x(p_h(x, weight, c), weight, b),
        ),
        (
            "you return h: this is half a step, draw the pixels from it.",
            lambda x, weight, b, c, u_h, u_x: draw(u_h, p_h(x, weight, c)),
        ),
        (
            "your chain stands still: return the new image, not x.",
            lambda x, weight, b, c, u_h, u_x: x,
        ),
        (
            "your hidden units are on where u_h is above the probability: then they are on with "
            "probability 1 - p.",
            lambda x, weight, b, c, u_h, u_x: draw(
                u_x, p_x(1 - draw(u_h, p_h(x, weight, c)), weight, b)
            ),
        ),
        (
            "your pixels are white where u_x is above the probability: then they are white with "
            "probability 1 - p.",
            lambda x, weight, b, c, u_h, u_x: 1 - right(x, weight, b, c, u_h, u_x),
        ),
        (
            "in both layers you compare the wrong way round: a unit is on where its number is below its "
            "probability.",
            lambda x, weight, b, c, u_h, u_x: (
                1 - draw(u_x, p_x(1 - draw(u_h, p_h(x, weight, c)), weight, b))
            ),
        ),
        (
            "your h is the more probable value, with no chance in it: compare u_h with the probability, "
            "not 1/2.",
            lambda x, weight, b, c, u_h, u_x: draw(
                u_x, p_x((p_h(x, weight, c) > 0.5).to(x), weight, b)
            ),
        ),
        (
            "your pixels are the more probable value, with no chance in it: compare u_x with the "
            "probability, not 1/2.",
            lambda x, weight, b, c, u_h, u_x: (
                p_x(draw(u_h, p_h(x, weight, c)), weight, b) > 0.5
            ).to(x),
        ),
        (
            "the way back uses the weights as they are: from h to the pixels they must be transposed, "
            "`weight.T`.",
            if_square(
                lambda x, weight, b, c, u_h, u_x: draw(
                    u_x, p_x(draw(u_h, p_h(x, weight, c)), weight.T, b)
                )
            ),
        ),
        (
            "the biases are in each other's place: b belongs to the pixels, c to the hidden units.",
            if_square(lambda x, weight, b, c, u_h, u_x: right(x, weight, c, b, u_h, u_x)),
        ),
        (
            "the random numbers are in each other's place: u_h draws h, u_x draws the pixels.",
            if_square(lambda x, weight, b, c, u_h, u_x: right(x, weight, b, c, u_x, u_h)),
        ),
        (
            "you draw h and the pixels with the same numbers, which ties them together: take u_x for the "
            "pixels.",
            if_square(lambda x, weight, b, c, u_h, u_x: right(x, weight, b, c, u_h, u_h)),
        ),
        (
            "the biases of the pixels, b, are missing.",
            lambda x, weight, b, c, u_h, u_x: right(x, weight, zeros_like(b), c, u_h, u_x),
        ),
        (
            "the biases of the hidden units, c, are missing.",
            lambda x, weight, b, c, u_h, u_x: right(x, weight, b, zeros_like(c), u_h, u_x),
        ),
    ]

    def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
        if _draws_by_itself("gibbs_step", answer, case):
            return (
                "you draw random numbers of your own, so no two calls agree: take those that are given, "
                "u_h and u_x."
            )
        return None

    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, d, j in (
            ("layers of one size", 40, 5, 5),
            ("more pixels than hidden units", 30, 6, 4),
        ):
            x, rbm = _bits(generator, n, d), _rbm(generator, d, j)
            u_h, u_x = _uniform(generator, n, j), _uniform(generator, n, d)
            p = p_h(x, rbm["weight"], rbm["c"])  # no close calls, which rounding would decide
            u_h = where((u_h - p).abs() < 0.002, p + 0.002, u_h)
            p = p_x(draw(u_h, p), rbm["weight"], rbm["b"])
            u_x = where((u_x - p).abs() < 0.002, p + 0.002, u_x)
            cases.append(Case(label, {"x": x, **rbm, "u_h": u_h, "u_x": u_x}))

        def judged(cases: Sequence[Case], given: list[tuple[Tensor, ...]]) -> None:
            judge("gibbs_step", cases, given, right, mistakes, probe=probe)

        judged(cases, _collect("gibbs_step", answer, cases, judged))
    print("Right: h is drawn from x, and the new image from h.")


# ---------------------------------------------------------------- 5. what a chain is worth


def effective_size(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `effective_size(f, lags)`: autocorrelations, and the number of independent draws they leave.

    f (T,) are values along a chain -> $\rho_0, \dots, \rho_{lags}$, (lags + 1,), and
    $T / (1 + 2 \sum_{t=1}^{lags} \rho_t)$, one number.

    Example:
        >>> from course import checks
        >>> def cov(f, lags):
        ...     return torch.stack([f[: len(f) - t] @ f[t:] for t in range(lags + 1)])
        >>> checks.markov_chains.effective_size(lambda f, lags: (cov(f, lags) / cov(f, 0), torch.ones(())))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the mean is not subtracted: ...
    """

    def products(f: Tensor, lags: int) -> Tensor:
        return stack([(f[: len(f) - t] * f[t:]).sum() for t in range(lags + 1)])

    def rho(f: Tensor, lags: int) -> Tensor:
        made = products(f - f.mean(), lags)
        return made / made[0]

    def around(f: Tensor, lags: int) -> Tensor:
        f = f - f.mean()
        return stack([f @ f.roll(t) for t in range(lags + 1)]) / (f @ f)

    def pairs(f: Tensor, lags: int) -> Tensor:
        return rho(f, lags) * len(f) / (len(f) - arange(lags + 1))

    def piecewise(f: Tensor, lags: int) -> Tensor:
        made = []
        for t in range(lags + 1):
            a, b = f[: len(f) - t], f[t:]
            a, b = a - a.mean(), b - b.mean()
            made.append(a @ b / (a.norm() * b.norm()))
        return stack(made)

    def later(f: Tensor, lags: int) -> Tensor:  # the sum over the lags above 0
        return rho(f, lags)[1:].sum()

    def size(f: Tensor, lags: int) -> Tensor:
        return len(f) / (1 + 2 * later(f, lags))

    of_rho: Mistakes = [
        (
            "the mean is not subtracted: a chain that stands at 5 would look correlated for ever.",
            lambda f, lags: products(f, lags) / products(f, 0),
        ),
        (
            "these are sums of products: divide them by the one of lag 0, so that rho_0 = 1.",
            lambda f, lags: products(f - f.mean(), lags),
        ),
        (
            "these are autocovariances, which have the unit of f squared: divide them by the one of lag 0.",
            lambda f, lags: products(f - f.mean(), lags) / len(f),
        ),
        (
            "lag 0 is missing: rho_0 = 1 comes first, and lags + 1 numbers are wanted.",
            lambda f, lags: rho(f, lags)[1:],
        ),
        (
            "the last lag is missing: they go from 0 to `lags`, so there are lags + 1 of them.",
            lambda f, lags: rho(f, lags)[:-1],
        ),
        (
            "`roll` joins the end of the chain to its beginning: leave those pairs out.",
            around,
        ),
        (
            "you average over the T - t pairs: that is used as well, but shakes at large lags. Here the sum "
            "is divided by that of lag 0 alone.",
            pairs,
        ),
        (
            "you centre each stretch by a mean of its own, as `corrcoef` does: subtract the mean of the "
            "whole chain.",
            piecewise,
        ),
        (
            "these are squared: leave the autocorrelations as they are, with their sign.",
            lambda f, lags: rho(f, lags).square(),
        ),
    ]
    of_size: Mistakes = [
        (
            "the factor 2 is missing: each draw has neighbours before it and after it.",
            lambda f, lags: len(f) / (1 + later(f, lags)),
        ),
        (
            "you count lag 0 among the neighbours: sum from lag 1 on.",
            lambda f, lags: len(f) / (1 + 2 * rho(f, lags).sum()),
        ),
        (
            "the 1 is missing: a draw also counts for itself.",
            lambda f, lags: len(f) / (2 * later(f, lags)),
        ),
        (
            "this is the autocorrelation time: divide the length of the chain by it.",
            lambda f, lags: 1 + 2 * later(f, lags),
        ),
        (
            "this is one over the autocorrelation time: multiply by the length of the chain.",
            lambda f, lags: 1 / (1 + 2 * later(f, lags)),
        ),
        (
            "you multiply by the autocorrelation time: the more neighbours are alike, the fewer draws they "
            "are worth, so divide.",
            lambda f, lags: len(f) * (1 + 2 * later(f, lags)),
        ),
        (
            "this is the length of the chain: divide it by 1 + 2 (rho_1 + rho_2 + ...).",
            lambda f, lags: zeros_like(f[0]) + len(f),
        ),
        (
            "you use rho_1 alone, as if all others were its powers: add up all of them.",
            lambda f, lags: len(f) * (1 - rho(f, 1)[1]) / (1 + rho(f, 1)[1]),
        ),
        (
            "you add up absolute values: a chain that swings to and fro gains by it, so leave the signs.",
            lambda f, lags: len(f) / (1 + 2 * rho(f, lags)[1:].abs().sum()),
        ),
        (
            "you divide the number of lags: divide the length of the chain.",
            lambda f, lags: lags / (1 + 2 * later(f, lags)),
        ),
    ]
    results = ("the autocorrelation", "the effective size")
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, lags, memory in (
            ("a chain that remembers", 200, 12, 0.8),
            ("a chain that swings to and fro", 300, 2, -0.6),
        ):
            state, f = normal(generator, 1), []
            for _ in range(n):
                state = memory * state + (1 - memory**2) ** 0.5 * normal(generator, 1)
                f.append(3 + 2 * state)
            cases.append(Case(label, {"f": cat(f), "lags": lags}))
        given = collect("effective_size", answer, cases, results=results)
        judge_parts("effective_size", cases, given, ((rho, of_rho), (size, of_size)), results)
    print("Right: a chain is worth its length over 1 + 2 (rho_1 + rho_2 + ...).")


# ---------------------------------------------------------------- 6. contrastive divergence


def cd_gradient(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `cd_gradient(x, ends, weight, b, c)`: of the mean F of the data less that of the chains' ends.

    x (B, D) are data, ends (M, D) the ends of chains -> the gradients by weight (D, J), b (D,) and c (J,).

    Example:
        >>> from course import checks
        >>> checks.markov_chains.cd_gradient(lambda x, ends, weight, b, c: (weight.T, b, c))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for as many chains as images the gradient by weight of `cd_gradient` ...
    """

    def p(x: Tensor, weight: Tensor, c: Tensor) -> Tensor:
        return sigmoid(c + x @ weight)

    def both(x: Tensor, h: Tensor) -> Tensor:  # how often a pixel and a hidden unit are on together
        return x.T @ h / len(x)

    def by_weight(x: Tensor, ends: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return both(ends, p(ends, weight, c)) - both(x, p(x, weight, c))

    def by_b(x: Tensor, ends: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return ends.mean(0) - x.mean(0)

    def by_c(x: Tensor, ends: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return p(ends, weight, c).mean(0) - p(x, weight, c).mean(0)

    def of_data_h(x: Tensor, ends: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return both(ends - x, p(x, weight, c)) if len(x) == len(ends) else zeros(0)

    of_weight: Mistakes = [
        (
            "the sign is turned: this goes where data become more probable, but a gradient points uphill in "
            "the loss. It is the chains less the data.",
            lambda x, ends, weight, b, c: -by_weight(x, ends, weight, b, c),
        ),
        (
            "the gradient by weight is a sum over images: take the mean over the data, and over the ends.",
            lambda x, ends, weight, b, c: ends.T @ p(ends, weight, c) - x.T @ p(x, weight, c),
        ),
        (
            "in the gradient by weight only the data are there: without the chains all energies would sink "
            "for ever.",
            lambda x, ends, weight, b, c: -both(x, p(x, weight, c)),
        ),
        (
            "in the gradient by weight only the chains are there: subtract the same of the data.",
            lambda x, ends, weight, b, c: both(ends, p(ends, weight, c)),
        ),
        (
            "in the gradient by weight you add the two halves: the data pull one way, the chains the other.",
            lambda x, ends, weight, b, c: both(ends, p(ends, weight, c)) + both(x, p(x, weight, c)),
        ),
        (
            "you multiply the means of pixels and hidden units: the mean of their products is wanted, "
            "`x.T @ p / len(x)`.",
            lambda x, ends, weight, b, c: (
                outer(ends.mean(0), p(ends, weight, c).mean(0))
                - outer(x.mean(0), p(x, weight, c).mean(0))
            ),
        ),
        (
            "the gradient by weight is transposed: like weight it has a row for every pixel.",
            lambda x, ends, weight, b, c: by_weight(x, ends, weight, b, c).T,
        ),
        (
            "you keep the hidden probabilities of the data for the chains: each image has its own.",
            of_data_h,
        ),
        (
            "the hidden biases c are missing in p(h | x).",
            lambda x, ends, weight, b, c: by_weight(x, ends, weight, b, zeros_like(c)),
        ),
        (
            "you take the inputs of the hidden units for their probabilities: put them through a sigmoid.",
            lambda x, ends, weight, b, c: both(ends, c + ends @ weight) - both(x, c + x @ weight),
        ),
        (
            "you divide both halves by the number of data: there may be more chains, or fewer. Divide by "
            "`len(ends)` there.",
            lambda x, ends, weight, b, c: (
                (ends.T @ p(ends, weight, c) - x.T @ p(x, weight, c)) / len(x)
            ),
        ),
    ]
    of_b: Mistakes = [
        (
            "the gradient by b has the wrong sign: it is the mean of the ends less that of the data.",
            lambda x, ends, weight, b, c: -by_b(x, ends, weight, b, c),
        ),
        (
            "the gradient by b is a sum over images: take means.",
            lambda x, ends, weight, b, c: ends.sum(0) - x.sum(0),
        ),
        (
            "in the gradient by b the chains are missing.",
            lambda x, ends, weight, b, c: -x.mean(0),
        ),
        (
            "in the gradient by b the data are missing.",
            lambda x, ends, weight, b, c: ends.mean(0),
        ),
        (
            "the gradient by c stands in the place of that by b: the order is weight, b, c.",
            by_c,
        ),
        (
            "the gradient by b is one number: average over the images only, `.mean(dim=0)`.",
            lambda x, ends, weight, b, c: ends.mean() - x.mean(),
        ),
    ]
    of_c: Mistakes = [
        (
            "the gradient by c has the wrong sign: it is the chains less the data.",
            lambda x, ends, weight, b, c: -by_c(x, ends, weight, b, c),
        ),
        (
            "the gradient by c is a sum over images: take means.",
            lambda x, ends, weight, b, c: p(ends, weight, c).sum(0) - p(x, weight, c).sum(0),
        ),
        (
            "in the gradient by c the chains are missing.",
            lambda x, ends, weight, b, c: -p(x, weight, c).mean(0),
        ),
        (
            "in the gradient by c the data are missing.",
            lambda x, ends, weight, b, c: p(ends, weight, c).mean(0),
        ),
        (
            "the gradient by c holds softplus, the energy itself: its slope is the sigmoid.",
            lambda x, ends, weight, b, c: (
                softplus(c + ends @ weight).mean(0) - softplus(c + x @ weight).mean(0)
            ),
        ),
        (
            "the gradient by c is that of the inputs: put them through a sigmoid before the mean.",
            lambda x, ends, weight, b, c: (ends @ weight).mean(0) - (x @ weight).mean(0),
        ),
    ]
    results = ("the gradient by weight", "the gradient by b", "the gradient by c")
    parts = ((by_weight, of_weight), (by_b, of_b), (by_c, of_c))
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, m, d, j in (
            ("as many chains as images", 5, 5, 4, 3),
            ("more chains than images", 4, 7, 3, 5),
        ):
            x, ends = _bits(generator, n, d), _bits(generator, m, d)
            ends[0], x[0], x[-1] = 1, 0, 1 - ends[-1]  # far enough apart for every mistake to show
            cases.append(Case(label, {"x": x, "ends": ends, **_rbm(generator, d, j)}))

        def judged(cases: Sequence[Case], given: list[tuple[Tensor, ...]]) -> None:
            judge_parts("cd_gradient", cases, given, parts, results)

        judged(cases, _collect("cd_gradient", answer, cases, judged, results))
    print("Right: the chains less the data, each in the mean, for all three parameters.")


# ---------------------------------------------------------------- 7. the partition function


class _Frugal(TorchFunctionMode):
    """While it is on, a tensor larger than any that is needed is an error with words."""

    def __init__(self, words: str):
        super().__init__()
        self.words = words

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.numel() > TOO_MANY:
            raise Wrong(self.words)
        return result


def log_partition(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `log_partition(weight, b, c)`: log Z, summed over the states of the smaller layer.

    weight (D, J), b (D,), c (J,) -> one number.

    Example:
        >>> from course import checks
        >>> def by_images(weight, b, c):
        ...     x = (torch.arange(2 ** len(b))[:, None] >> torch.arange(len(b)) & 1).to(b)
        ...     return (x @ b + torch.nn.functional.softplus(c + x @ weight).sum(1)).logsumexp(0)
        >>> checks.markov_chains.log_partition(by_images)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you go through all images, ...
    """

    def smaller(weight: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (weight, b, c) if len(b) < len(c) else (weight.T, c, b)

    def states(n: int, like: Tensor) -> Tensor:
        return (arange(2**n)[:, None] >> arange(n) & 1).to(like)

    def terms(s: Tensor, weight: Tensor, own: Tensor, other: Tensor) -> Tensor:  # -F of each
        return s @ own + softplus(other + s @ weight).sum(1)

    def every(weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        weight, own, other = smaller(weight, b, c)
        return terms(states(len(own), own), weight, own, other)

    def right(weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return every(weight, b, c).logsumexp(0)

    def without_other(weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        _, own, _ = smaller(weight, b, c)
        return (states(len(own), own) @ own).logsumexp(0)

    def one_on(weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        weight, own, other = smaller(weight, b, c)
        return terms(eye(len(own)).to(own), weight, own, other).logsumexp(0)

    def spins(weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        weight, own, other = smaller(weight, b, c)
        return terms(2 * states(len(own), own) - 1, weight, own, other).logsumexp(0)

    def swapped(weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return right(weight, c, b) if len(b) == len(c) else zeros(0)

    def all_on(weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        weight, own, other = smaller(weight, b, c)
        s = states(len(own), own)
        return (s @ own + (other + s @ weight).sum(1)).logsumexp(0)

    mistakes: Mistakes = [
        (
            "this is Z itself: return its logarithm.",
            lambda weight, b, c: right(weight, b, c).exp(),
        ),
        (
            "the other layer is missing: it is summed out by softplus, as in your free energy.",
            without_other,
        ),
        (
            "the other layer is always on in your sum: sum over both states of each of its units, which "
            "makes a softplus.",
            all_on,
        ),
        (
            "you count every image 2^J times, once for each h, although F has summed h out already.",
            lambda weight, b, c: right(weight, b, c) + len(c) * LOG_2,
        ),
        (
            "you count every h 2^D times, once for each image, although the images are summed out already.",
            lambda weight, b, c: right(weight, b, c) + len(b) * LOG_2,
        ),
        (
            "this is the mean over the states: Z is their sum.",
            lambda weight, b, c: right(weight, b, c) - min(len(b), len(c)) * LOG_2,
        ),
        (
            "you add up logarithms: Z adds up the exponentials, so take logsumexp.",
            lambda weight, b, c: every(weight, b, c).sum(),
        ),
        (
            "this is the mean of the logarithms: Z adds up the exponentials, so take logsumexp.",
            lambda weight, b, c: every(weight, b, c).mean(),
        ),
        (
            "this is the largest term alone: add up all of them, by logsumexp.",
            lambda weight, b, c: every(weight, b, c).max(),
        ),
        (
            "you sum e^F: low free energies are probable, so sum e^(-F).",
            lambda weight, b, c: (-every(weight, b, c)).logsumexp(0),
        ),
        (
            "the sign is turned: this is -log Z.",
            lambda weight, b, c: -right(weight, b, c),
        ),
        (
            "you sum over states with one unit on: any number of units may be on, 2^n states.",
            one_on,
        ),
        (
            "the state with all units off is missing: it counts too.",
            lambda weight, b, c: every(weight, b, c)[1:].logsumexp(0),
        ),
        (
            "the last state, with all units on, is missing: there are 2^n, from 0 to 2^n - 1.",
            lambda weight, b, c: every(weight, b, c)[:-1].logsumexp(0),
        ),
        (
            "your units are -1 or 1: here they are 0 or 1.",
            spins,
        ),
        (
            "the biases are in each other's place: b belongs to the pixels, c to the hidden units.",
            swapped,
        ),
    ]
    of_images = (
        "you go through all images, 2^18 here, though there are only 2^3 hidden states: when the hidden "
        "layer is the smaller one, sum over that."
    )
    of_hidden = (
        "you go through all hidden states, 2^18 here, though there are only 2^3 images: when the images "
        "are fewer, sum over those."
    )
    with own_random_numbers(seed) as generator:
        cases = [
            Case(label, dict(_rbm(generator, d, j)))
            for label, d, j in (
                ("layers of one size", 4, 4),
                ("fewer hidden units", 5, 3),
                ("fewer pixels", 2, 5),
            )
        ]
        cases.append(Case("large weights", dict(_rbm(generator, 4, 3, scale=SURE))))

        def judged(cases: Sequence[Case], given: list[tuple[Tensor, ...]]) -> None:
            judge("log_partition", cases, given, right, mistakes)

        given = _collect("log_partition", answer, cases, judged)
        if all(same(given[i][0], right(**cases[i].arguments)) for i in (1, 2)) and not isfinite(
            given[3][0]
        ):
            raise Wrong(
                "large weights make yours infinite or NaN: no exponential of a large number fits. "
                "`logsumexp` takes the largest out first."
            )
        judged(cases, given)
        for label, d, j, words in (
            ("18 pixels and 3 hidden units", 18, 3, of_images),
            ("3 pixels and 18 hidden units", 3, 18, of_hidden),
        ):
            cases.append(Case(label, dict(_rbm(generator, d, j, scale=0.3))))
            with _Frugal(words):
                given += collect("log_partition", answer, cases[-1:])
        judged(cases, given)
    print("Right: log Z, with as few terms as the smaller layer has states.")


# ---------------------------------------------------------------- 8. annealing


def ais_log_weights(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `ais_log_weights(states, betas, weight, b, c)`: $\sum_k F_{\beta_k}(x_k) - F_{\beta_{k+1}}(x_k)$.

    states (K, n, D): images of n chains at each of K steps; betas (K + 1,) from 0 to 1 -> (n,).
    $F_\beta$ is the free energy of the RBM with weights, b and c all multiplied by beta.

    Example:
        >>> from course import checks
        >>> checks.markov_chains.ais_log_weights(lambda states, betas, weight, b, c: states[:, :, 0].sum(0))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for three steps the result of `ais_log_weights` is wrong: ...
    """

    def energies(x: Tensor, beta: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return _free(x, beta * weight, beta * b, beta * c)

    def steps(states: Tensor, betas: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        made = [
            energies(x, now, weight, b, c) - energies(x, then, weight, b, c)
            for x, now, then in zip(states, betas[:-1], betas[1:], strict=True)
        ]
        return stack(made)

    def right(states: Tensor, betas: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return steps(states, betas, weight, b, c).sum(0)

    def two_states(states: Tensor, betas: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        every = [energies(x, beta, weight, b, c) for x, beta in zip(states, betas, strict=False)]
        return every[0] - every[-1]

    def arrived(states: Tensor, betas: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        pairs = zip(states, betas[1:], strict=True)
        return -stack([energies(x, beta, weight, b, c) for x, beta in pairs]).sum(0)

    def one_leap(states: Tensor, betas: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return energies(states[0], betas[0], weight, b, c) - energies(
            states[0], betas[-1], weight, b, c
        )

    def last_state(states: Tensor, betas: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return one_leap(states[-1:], betas, weight, b, c)

    def by_factor(states: Tensor, betas: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return (-betas.diff()[:, None] * _free(states, weight, b, c)).sum(0)

    def scaled(with_b: bool, with_c: bool) -> Callable[..., Tensor]:
        """Only some of the biases grow with beta."""

        def mistake(states: Tensor, betas: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
            total = zeros_like(states[0, :, 0])
            for x, now, then in zip(states, betas[:-1], betas[1:], strict=True):
                for beta, sign in ((now, 1), (then, -1)):
                    of_b, of_c = (beta if with_b else 1), (beta if with_c else 1)
                    total = total + sign * _free(x, beta * weight, of_b * b, of_c * c)
            return total

        return mistake

    def even(states: Tensor, betas: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        betas = arange(len(betas)).to(betas) / (len(betas) - 1)
        return right(states, betas, weight, b, c)

    mistakes: Mistakes = [
        (
            "the sign is turned: a weight is e^(-F) of the next RBM over e^(-F) of the last one.",
            lambda *given: -right(*given),
        ),
        (
            "you compare two models at two states: both energies of a step are those of x_k, the image that "
            "the chain had before it moved on.",
            two_states,
        ),
        (
            "you multiply F by beta: it is weight, b and c that grow with beta, and F is no multiple of "
            "them.",
            by_factor,
        ),
        (
            "only the weights grow with beta: multiply b and c too.",
            scaled(False, False),
        ),
        (
            "b does not grow with beta: multiply weight, b and c alike.",
            scaled(False, True),
        ),
        (
            "c does not grow with beta: multiply weight, b and c alike.",
            scaled(True, False),
        ),
        (
            "this is the mean over the steps: the ratios are multiplied, so their logarithms add up.",
            lambda *given: steps(*given).mean(0),
        ),
        (
            "these are the weights: return their logarithms, which do not overflow.",
            lambda *given: right(*given).exp(),
        ),
        (
            "this is one leap from beta = 0 to 1, at the first images: plain importance sampling. Use the "
            "images of all steps.",
            one_leap,
        ),
        (
            "you take the last images for every step: step k belongs to x_k.",
            last_state,
        ),
        (
            "half of every step is missing: subtract -F of the RBM that the chain comes from.",
            arrived,
        ),
        (
            "you return one number for all chains: each has a weight of its own. Averaging comes next.",
            lambda *given: right(*given).mean(),
        ),
        (
            "you return every step by itself: add them up over k.",
            steps,
        ),
        (
            "the last step is missing, the one to beta = 1: there are as many steps as states.",
            lambda *given: steps(*given)[:-1].sum(0),
        ),
        (
            "the first step is missing, the one from beta = 0.",
            lambda *given: steps(*given)[1:].sum(0),
        ),
        (
            "you take steps of one size: those given in betas may differ.",
            even,
        ),
    ]
    in_order = [(words, _by_name(made)) for words, made in mistakes]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, betas, d, j in (
            ("three steps", 5, (0.0, 0.15, 0.4, 1.0), 4, 3),
            ("four steps", 3, (0.0, 0.1, 0.3, 0.6, 1.0), 3, 5),
        ):
            arguments = {
                "states": _bits(generator, len(betas) - 1, n, d),
                "betas": tensor(betas).to(torch.get_default_dtype()),
                **_rbm(generator, d, j),
            }
            cases.append(Case(label, arguments))
        given = collect("ais_log_weights", answer, cases)
        judge("ais_log_weights", cases, given, right, in_order, results=("the result",))
    print("Right: one ratio of unnormalised probabilities a step, their logarithms added.")


def _by_name(made: Right) -> Right:
    """A function of arguments in order, called with names."""
    return lambda **arguments: made(*arguments.values())


# ---------------------------------------------------------------- 9. log Z from weights


def ais_log_z(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `ais_log_z(log_w, n_visible, n_hidden)`: log of the mean weight, plus $(D + J) \log 2$.

    log_w (n,) -> one number.

    Example:
        >>> from course import checks
        >>> checks.markov_chains.ais_log_z(lambda log_w, d, j: log_w.mean() + (d + j) * math.log(2))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you average the logarithms: ...
    """

    def mean_weight(log_w: Tensor) -> Tensor:
        return log_w.logsumexp(0) - math.log(len(log_w))

    def right(log_w: Tensor, n_visible: int, n_hidden: int) -> Tensor:
        return mean_weight(log_w) + (n_visible + n_hidden) * LOG_2

    mistakes: Mistakes = [
        (
            "you average the logarithms: that is always too low. Average the weights, and take the "
            "logarithm after.",
            lambda log_w, d, j: log_w.mean() + (d + j) * LOG_2,
        ),
        (
            "this is the sum of the weights: take their mean, so subtract log n.",
            lambda log_w, d, j: log_w.logsumexp(0) + (d + j) * LOG_2,
        ),
        (
            "you divide the logarithm by n: divide the sum of the weights, which is to subtract log n.",
            lambda log_w, d, j: log_w.logsumexp(0) / len(log_w) + (d + j) * LOG_2,
        ),
        (
            "the start is missing: the weights give Z / Z_0, so add log Z_0 = (D + J) log 2.",
            lambda log_w, d, j: mean_weight(log_w),
        ),
        (
            "your Z_0 counts the images alone: each comes with 2^J hidden states, so add J log 2.",
            lambda log_w, d, j: mean_weight(log_w) + d * LOG_2,
        ),
        (
            "your Z_0 counts the hidden states alone: each comes with 2^D images, so add D log 2.",
            lambda log_w, d, j: mean_weight(log_w) + j * LOG_2,
        ),
        (
            "you multiply the numbers of units: 2^D images times 2^J hidden states are 2^(D + J).",
            lambda log_w, d, j: mean_weight(log_w) + d * j * LOG_2,
        ),
        (
            "you subtract log Z_0: the weights give Z / Z_0, so add it.",
            lambda log_w, d, j: mean_weight(log_w) - (d + j) * LOG_2,
        ),
        (
            "you add D + J: the logarithm of 2^(D + J) is (D + J) log 2.",
            lambda log_w, d, j: mean_weight(log_w) + d + j,
        ),
        (
            "this is the largest weight alone: take the mean of all of them.",
            lambda log_w, d, j: log_w.max() + (d + j) * LOG_2,
        ),
        (
            "this is the middle weight: the median is not the mean, and only the mean is unbiased.",
            lambda log_w, d, j: log_w.median() + (d + j) * LOG_2,
        ),
        (
            "the sign is turned: this is -log Z.",
            lambda log_w, d, j: -right(log_w, d, j),
        ),
    ]
    in_order = [(words, _by_name(made)) for words, made in mistakes]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, centre, d, j in (
            ("five chains", 5, 1.0, 4, 3),
            ("eight chains", 8, -2.0, 3, 6),
            ("large weights", 4, SURE, 5, 2),
            ("small weights", 6, -SURE, 2, 4),
        ):
            log_w = centre + 1.5 * normal(generator, n)
            log_w[0] = centre + 2.5  # never too much alike
            cases.append(Case(label, {"log_w": log_w, "n_visible": d, "hidden_dim": j}))
        given = collect("ais_log_z", answer, cases)
        if same(given[0][0], right(**cases[0].arguments)) and not all(
            isfinite(x).all() for (x,) in given
        ):
            raise Wrong(
                "large or small weights make yours infinite: they overflow, or round to 0, before the "
                "mean. Stay with logarithms, `logsumexp` is log of the sum of exponentials."
            )
        judge("ais_log_z", cases, given, right, in_order)
    print("Right: the logarithm of the mean, and the start where Z is known.")


# ---------------------------------------------------------------- 10. walkback


def walkback_loss(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `walkback_loss(network, x, noise, u)`: nats an image to tell x, in the mean over a walk from it.

    `network` maps corrupted images (B, D) to logits (B, D); x (B, D) of zeros and ones; u (T, 3, B, D) are
    uniform random numbers. At step t pixels with u[t, 0] < noise are replaced by u[t, 1] < 1/2, and the
    next image is u[t, 2] < sigmoid(logits). -> one number.

    Example:
        >>> from course import checks
        >>> checks.markov_chains.walkback_loss(lambda network, x, noise, u: network(x).mean())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for a walk of three steps the result of `walkback_loss` is wrong: ...
    """
    Net = Callable[[Tensor], Tensor]

    def nats(logits: Tensor, x: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)

    def corrupt(x: Tensor, noise: float, u: Tensor) -> Tensor:
        return where(u[0] < noise, (u[1] < 0.5).to(x), x)

    def flip(x: Tensor, noise: float, u: Tensor) -> Tensor:
        return where(u[0] < noise, 1 - x, x)

    def rest(x: Tensor, noise: float, u: Tensor) -> Tensor:
        return where(u[0] >= noise, (u[1] < 0.5).to(x), x)

    def draw(logits: Tensor, u: Tensor, corrupted: Tensor) -> Tensor:
        return (u[2] < sigmoid(logits)).to(logits)

    def steps(
        network: Net,
        x: Tensor,
        noise: float,
        u: Tensor,
        *,
        corrupt: Callable[..., Tensor] = corrupt,
        onward: Callable[..., Tensor] = draw,
        target: str = "x",
        cost: Callable[..., Tensor] = nats,
    ) -> Tensor:
        """The nats of each step, (T, B)."""
        made, state = [], x
        for now in u:
            corrupted = corrupt(state, noise, now)
            logits = network(corrupted)
            made.append(cost(logits, {"x": x, "state": state, "corrupted": corrupted}[target]))
            state = onward(logits, now, corrupted)
        return stack(made)

    def right(network: Net, x: Tensor, noise: float, u: Tensor) -> Tensor:
        return steps(network, x, noise, u).mean()

    def with_(**other: Any) -> Callable[..., Tensor]:
        return lambda network, x, noise, u: steps(network, x, noise, u, **other).mean()

    def from_x(network: Net, x: Tensor, noise: float, u: Tensor) -> Tensor:
        return stack([steps(network, x, noise, now[None]).mean() for now in u]).mean()

    def cut(logits: Tensor, x: Tensor) -> Tensor:
        each = binary_cross_entropy_with_logits(logits, x, reduction="none")
        return each.clamp(max=100).sum(1)

    mistakes: Mistakes = [
        (
            "you ask for the image that the walk is at: walkback asks for x, where the walk began, at every "
            "step.",
            with_(target="state"),
        ),
        (
            "you ask for the corrupted image, which the network has in front of it: ask for x.",
            with_(target="corrupted"),
        ),
        (
            "every step corrupts x anew, so nothing walks: corrupt the image that was drawn in the step before.",
            from_x,
        ),
        (
            "you flip the pixels that are hit: salt-and-pepper noise replaces them by draws from Bernoulli(1/2), "
            "u[t, 1] < 1/2, which changes half of them.",
            with_(corrupt=flip),
        ),
        (
            "you replace the pixels that should stay: those with u[t, 0] < noise are hit.",
            with_(corrupt=rest),
        ),
        (
            "no pixel is corrupted: without noise the network could copy its input.",
            with_(corrupt=lambda x, noise, u: x),
        ),
        (
            "you average over the pixels: nats an image are the sum over its pixels.",
            lambda network, x, noise, u: right(network, x, noise, u) / x.shape[1],
        ),
        (
            "you sum over the images: take the mean.",
            lambda network, x, noise, u: right(network, x, noise, u) * len(x),
        ),
        (
            "you sum over the steps: take the mean.",
            lambda network, x, noise, u: right(network, x, noise, u) * len(u),
        ),
        (
            "you return a number for each image: take the mean over them.",
            lambda network, x, noise, u: steps(network, x, noise, u).mean(0),
        ),
        (
            "only the last step counts in your loss: average over all of them.",
            lambda network, x, noise, u: steps(network, x, noise, u)[-1].mean(),
        ),
        (
            "only the first step counts in your loss, as in a denoising autoencoder: go on walking.",
            lambda network, x, noise, u: steps(network, x, noise, u)[0].mean(),
        ),
        (
            "you walk on with probabilities: draw the next image, 0 or 1, by comparing with u[t, 2].",
            with_(onward=lambda logits, u, corrupted: sigmoid(logits)),
        ),
        (
            "your next image is the most probable one: draw it, u[t, 2] < sigmoid(logits).",
            with_(onward=lambda logits, u, corrupted: (logits > 0).to(logits)),
        ),
        (
            "you walk on from the corrupted image: the next one is drawn from what the network says.",
            with_(onward=lambda logits, u, corrupted: corrupted),
        ),
        (
            "you compare u[t, 2] with the logits: put them through a sigmoid first.",
            with_(onward=lambda logits, u, corrupted: (u[2] < logits).to(logits)),
        ),
        (
            "the next image is drawn the wrong way round: a pixel is white where u[t, 2] is below its "
            "probability.",
            with_(onward=lambda logits, u, corrupted: (u[2] > sigmoid(logits)).to(logits)),
        ),
        (
            "the sigmoid is taken twice: `F.binary_cross_entropy_with_logits` takes the logits themselves.",
            with_(cost=lambda logits, x: nats(sigmoid(logits), x)),
        ),
        (
            "the sign is turned: a loss is minus the log probability.",
            lambda network, x, noise, u: -right(network, x, noise, u),
        ),
        (
            "`F.binary_cross_entropy` cuts a sure mistake off at 100 nats: use "
            "`F.binary_cross_entropy_with_logits`.",
            with_(cost=cut),
        ),
    ]

    def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
        if _draws_by_itself("walkback_loss", answer, case):
            return (
                "you draw random numbers of your own, so no two calls agree: take those given in u."
            )
        return None

    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, d, t, sure in (
            ("a walk of three steps", 16, 8, 3, False),
            ("a walk of two steps", 5, 4, 2, False),
            ("a network that is sure", 4, 3, 2, True),
        ):
            last = nn.Linear(5, d)
            network = nn.Sequential(nn.Linear(d, 5), nn.Tanh(), last)
            for parameter in network.parameters():
                parameter.data = normal(generator, *parameter.shape)
            if sure:
                last.bias.data[:2] = tensor([SURE, -SURE])
            x = _bits(generator, n, d)
            x[0], x[1] = 0, 1
            arguments = {"network": network, "x": x, "noise": 0.5}
            cases.append(Case(label, {**arguments, "u": _uniform(generator, t, 3, n, d)}))
        given = collect("walkback_loss", answer, cases)
        if same(given[0][0], right(**cases[0].arguments)) and not isfinite(given[2][0]).all():
            raise Wrong(
                "a network that is sure makes your loss infinite or NaN: its sigmoid rounds to 0 or 1 "
                "before the logarithm. `F.binary_cross_entropy_with_logits` is safe for every logit."
            )
        judge("walkback_loss", cases, given, right, mistakes, probe=probe)
        _judge_training("walkback_loss", answer, cases[0], right)
    print("Right: the walk leads away, and the network must still tell where it began.")


def _judge_training(name: str, answer: Answer, case: Case, right: Right) -> None:
    """Return when the gradient that reaches the network of a case is the right one."""
    loss, parameters = call(name, answer, case), list(case.arguments["network"].parameters())
    if not loss.requires_grad:
        raise Wrong(
            "no gradient reaches the network, so it could not learn: leave `torch.no_grad()`, `.detach()` "
            "and `.item()` away from the loss."
        )

    def slopes(loss: Any) -> Tensor:
        made = grad(loss, parameters, allow_unused=True, materialize_grads=True)
        return cat([slope.flatten() for slope in made])

    if not same(slopes(loss), slopes(right(**case.arguments))):
        raise Wrong(
            "the value is right, but the gradient that reaches the network is not: is one of the steps "
            "detached?"
        )
