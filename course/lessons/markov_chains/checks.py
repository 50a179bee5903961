r"""Checks for the exercises of lesson Markov chains: one `Step` each, whose form course/checking/step.py explains.

Formulas are checked, never luck: where a function draws, the check hands it the uniform random numbers to draw with,
so that one answer is right. An RBM is three tensors, weight (D, J), b (D,) and c (J,), with the energy
$E(x, h) = -b^T x - c^T h - x^T W h$.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import (
    Tensor,
    arange,
    cat,
    nn,
    outer,
    rand,
    sigmoid,
    softmax,
    stack,
    tanh,
    tensor,
    where,
    zeros_like,
)
from torch.autograd import grad
from torch.nn.functional import binary_cross_entropy_with_logits, softplus
from torch.overrides import TorchFunctionMode

from course.checking.core import Answer, Case, Wrong, call, normal, same
from course.checking.step import extreme, hard, step, tame

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
    "persistent",
    "walkback_loss",
]

LOG_2 = math.log(2)
SURE = 2000.0  # log-odds whose exponential is infinite in double precision too


def _uniform(g: torch.Generator, *shape: int) -> Tensor:
    return rand(shape, generator=g, dtype=torch.float64).to(torch.get_default_dtype())


def _bits(g: torch.Generator, *shape: int) -> Tensor:
    return (_uniform(g, *shape) < 0.5).to(torch.get_default_dtype())


def _first_off(x: Tensor) -> Tensor:
    return x * arange(len(x)).clamp(max=1)[:, None]


def _rbm(g: torch.Generator, d: int, j: int, scale: float = 1.0) -> dict[str, Tensor]:
    """The parameters of an RBM of d pixels and j hidden units."""
    sizes = {"weight": (d, j), "b": (d,), "c": (j,)}
    return {name: scale * normal(g, *size) for name, size in sizes.items()}


def _free(x: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return -(x @ b) - softplus(c + x @ weight).sum(dim=-1)


def _p(state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return sigmoid(bias + state @ weight)


def _draw(u: Tensor, p: Tensor) -> Tensor:
    return (u < p).to(p.dtype)


# ---------------------------------------------------------------- 1. a Gibbs sweep as a matrix


def _of_h(joint: Tensor) -> Tensor:  # p(h | x)
    return joint / joint.sum(dim=1, keepdim=True)


def _of_x(joint: Tensor) -> Tensor:  # p(x | h)
    return joint / joint.sum(dim=0)


def _sweep(joint: Tensor) -> Tensor:
    return _of_h(joint) @ _of_x(joint).T


def _table(g: torch.Generator, k: int, n: int, rare: float = 1.0) -> dict[str, Tensor]:
    table = (1.5 * normal(g, k, n)).exp()
    table[0] *= rare
    return {"joint": table / table.sum()}


def _rows_of_a_chain(case: Case, got: Tensor, want: Tensor) -> str | None:
    row = int((got.sum(1) - 1).abs().argmax())
    if same(got.sum(1)[row], want.sum(1)[row]) or "hardly ever" in case.label:
        return None
    told = f"for {case.label} row {row} of yours sums to {got[row].sum():.4g}, not to 1"
    return f"{told}: is a value of h left out, or a number added?"


@step(
    lambda g: [
        tame("a table of 3 x 3", **_table(g, 3, 3)),
        tame("a table of 3 x 4", **_table(g, 3, 4)),
        tame("a table of 4 x 2", **_table(g, 4, 2)),
        hard("a table of one column", **_table(g, 4, 1)),
        extreme("an x that hardly ever comes", **_table(g, 3, 2, rare=1e-10)),
    ],
    probe=_rows_of_a_chain,
    dtype="same",
    passes="from x to h and back, and p(x) stays as it is.",
)
def gibbs_matrix(joint: Tensor) -> Tensor:
    r"""Check `gibbs_matrix(joint)`: the probabilities of going from x to x' in one sweep of Gibbs sampling.

    joint (K, L) holds p(x, h), all above zero -> (K, K), the entry (i, j) being that of x' = j, given x = i.

    Example:
        >>> from course import checks
        >>> checks.markov_chains.gibbs_matrix(lambda joint: joint.sum(1).expand(len(joint), -1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: every row of yours is p(x): ...
    """
    return _sweep(joint)


gibbs_matrix.wrong = {
    "your matrix is transposed, or its two conditionals are in each other's place: a row is for where the chain "
    "stands, so it is the rows that sum to one.":
        lambda joint: _sweep(joint).T,
    "this is the chain on h: start at x, draw h, and end at the next x.": lambda joint: _sweep(joint.T),
    "your entries are joint probabilities of x and the next x: divide each row by p(x), so that it sums to one.":
        lambda joint: joint @ _of_x(joint).T,
    "the way back to x is no conditional yet: divide p(x, h) by p(h), the sums of the columns.":
        lambda joint: _of_h(joint) @ joint.T,
    "you multiply joint probabilities: a sweep is made of two conditionals, so divide by p(x) and by p(h).":
        lambda joint: joint @ joint.T,
    "you use p(h | x) for both halves: the way back is p(x | h), each column divided by its sum.":
        lambda joint: _of_h(joint) @ _of_h(joint).T,
    "you use p(x | h) for both halves: the way there is p(h | x), each row divided by its sum.":
        lambda joint: _of_x(joint) @ _of_x(joint).T,
    "the way back runs from x to h once more: transpose p(x | h), so that its rows are h.":
        lambda joint: _of_h(joint) @ _of_x(joint),
    "`joint.sum(dim=1)` lies along the columns, so each entry is divided by the sum of another row: give it "
    "`keepdim=True`.":
        lambda joint: joint / joint.sum(1) @ _of_x(joint).T,
    "you divide by the sums of the rows at the end: divide both times that the table comes in.":
        lambda joint: (joint @ joint.T) / (joint @ joint.T).sum(dim=1, keepdim=True),
    "you take a softmax of probabilities: divide by their sums.":
        lambda joint: softmax(joint, dim=1) @ softmax(joint, dim=0).T,
    "every row of yours is p(x): the next x depends on the last one, through h.":
        lambda joint: joint.sum(1).expand(len(joint), -1),
    "your second conditional is made of the first, where the joint table should stand (is it overwritten?).":
        lambda joint: _of_h(joint) @ _of_x(_of_h(joint)).T,
    "this is half a sweep, from x to h: multiply by p(x | h), and you are back at x.": _of_h,
    "these are two sweeps: one is asked for.": lambda joint: _sweep(joint) @ _sweep(joint),
}  # fmt: skip


# ---------------------------------------------------------------- 2. free energy


def _sure(g: torch.Generator) -> dict[str, Tensor]:
    rbm = _rbm(g, 4, 4)
    return {**rbm, "c": tensor([SURE, 0.3, -SURE, 1.0]).to(rbm["c"])}


def _on(x: Tensor, weight: Tensor, c: Tensor) -> Tensor:
    return c + x @ weight


def _where_off(given: str, alone: str) -> Callable[[Case, Tensor, Tensor], str | None]:
    """A probe: is it right where all units of the layer that is given are off?"""

    def words(case: Case, got: Tensor, want: Tensor) -> str | None:
        off = ~case.arguments[given].bool().any(dim=1)
        if case.kind == "extreme" or not off.any():
            return None
        if same(got[off], want[off]):
            return f"right where `{given}` is all 0, and wrong elsewhere: look at what `{given}` multiplies."
        a, b = (x[off].flatten()[0] for x in (got, want))
        return f"even where `{given}` is all 0 and only {alone} counts, {b:.4f}, you have {a:.4f}: look there."

    return words


def _slope_of_the_sure(answer: Answer, g: torch.Generator) -> str | None:
    given = {"x": _bits(g, 4, 4), **_sure(g)}
    given["c"] = given["c"].requires_grad_()
    free = call("free_energy", answer, Case("hidden units that are sure", given))
    if grad(free.sum(), given["c"])[0].isfinite().all():
        return None
    return (
        "the values are right, but for large inputs the gradient is NaN: `torch.where` differentiates what it leaves "
        "out as well, and there e^a is infinite. `F.softplus` is right for every number."
    )


@step(
    lambda g: [
        tame("a small RBM", x=_first_off(_bits(g, 5, 4)), **_rbm(g, 4, 4)),
        tame("a wide hidden layer", x=_bits(g, 3, 3), **_rbm(g, 3, 6)),
        hard("a single image", x=_bits(g, 1, 5), **_rbm(g, 5, 2)),
        extreme("hidden units that are sure", x=_bits(g, 4, 4), **_sure(g)),
    ],
    gradient="weight b c",
    probe=_where_off("x", "-softplus(c), summed over the hidden units,"),
    live=[_slope_of_the_sure],
    dtype="same",
    passes="all hidden states are summed out, one softplus a unit.",
)
def free_energy(x: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
    r"""Check `free_energy(x, weight, b, c)`: $F(x) = -b^T x - \sum_j \log(1 + e^{c_j + x^T W_{:j}})$.

    x (B, D) of zeros and ones, weight (D, J), b (D,), c (J,) -> (B,).

    Example:
        >>> from course import checks
        >>> checks.markov_chains.free_energy(lambda x, weight, b, c: -x @ b - (c + x @ weight).relu().sum(1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is the lowest energy ...
    """
    return _free(x, weight, b, c)


free_energy.wrong = {
    "this is the energy with every hidden unit on: put each input through softplus before you sum.":
        lambda x, weight, b, c: -(x @ b) - _on(x, weight, c).sum(1),
    "this is the lowest energy over h: F sums over both states of every unit, which makes softplus of max(0, .).":
        lambda x, weight, b, c: -(x @ b) - _on(x, weight, c).relu().sum(1),
    "the visible biases b are missing: subtract b^T x.":
        lambda x, weight, b, c: _free(x, weight, 0 * b, c),
    "the hidden biases c are missing: they belong inside softplus.":
        lambda x, weight, b, c: _free(x, weight, b, 0 * c),
    "you add b^T x: a white pixel with a large b has a low energy, so subtract it.":
        lambda x, weight, b, c: _free(x, weight, -b, c),
    "you add the softplus terms: subtract them, for F is minus a logarithm.":
        lambda x, weight, b, c: -(x @ b) + softplus(_on(x, weight, c)).sum(1),
    "you take the mean over the hidden units: the sum over h is a product of one factor a unit, whose logarithm is a "
    "sum.":
        lambda x, weight, b, c: -(x @ b) - softplus(_on(x, weight, c)).mean(1),
    "logsumexp over the hidden units is for one unit being on at a time: each is on or off by itself, so sum softplus.":
        lambda x, weight, b, c: -(x @ b) - _on(x, weight, c).logsumexp(1),
    "you sum before the logarithm: take the logarithm for each hidden unit, then the sum.":
        lambda x, weight, b, c: -(x @ b) - (1 + _on(x, weight, c).exp()).sum(1).log(),
    "you subtract c inside softplus: add it.": lambda x, weight, b, c: _free(x, weight, b, -c),
    "a sigmoid is the slope of softplus: take softplus itself.":
        lambda x, weight, b, c: -(x @ b) - _p(x, weight, c).sum(1),
    "you sum the inputs before softplus: take softplus of each, then the sum.":
        lambda x, weight, b, c: -(x @ b) - softplus(_on(x, weight, c).sum(1)),
    "this is the energy at the mean of h: F counts all h, each with its own energy.":
        lambda x, weight, b, c: -(x @ b) - (_p(x, weight, c) * _on(x, weight, c)).sum(1),
    "the hidden biases c stand outside of softplus: a unit that is off has no part in them.":
        lambda x, weight, b, c: -(x @ b) - c.sum() - softplus(x @ weight).sum(1),
    "log sigmoid is minus softplus of minus its input: take `F.softplus`.":
        lambda x, weight, b, c: -(x @ b) + softplus(-_on(x, weight, c)).sum(1),
    "softplus has the wrong sign inside: a unit that is on lowers the energy by its input c_j + x^T W_j.":
        lambda x, weight, b, c: _free(x, -weight, b, -c),
    "this is e^(-F), the unnormalised probability: return F.":
        lambda x, weight, b, c: (-_free(x, weight, b, c)).exp(),
    "the biases are in each other's place: b belongs to the pixels, c to the hidden units.":
        lambda x, weight, b, c: _free(x, weight, c, b),
    "the weights are transposed: row i belongs to pixel i, so write `x @ weight`.":
        lambda x, weight, b, c: _free(x, weight.T, b, c),
    "a large input makes your result infinite: its exponential is too big for a number. `F.softplus(a)` is log(1 + "
    "e^a) for every a.":
        lambda x, weight, b, c: -(x @ b) - (1 + _on(x, weight, c).exp()).log().sum(1),
}  # fmt: skip


# ---------------------------------------------------------------- 3. one layer given the other


def _no_clamp(case: Case, p: Tensor) -> str | None:
    if p[_p(**case.arguments) == 0].any():
        return "a clamp or a small number keeps your probabilities away from 0: a unit that is sure stays off."
    return None


@step(
    lambda g: [
        tame("layers of one size", state=_first_off(_bits(g, 5, 4)), weight=normal(g, 4, 4), bias=normal(g, 4)),
        tame("layers of two sizes", state=_bits(g, 3, 5), weight=normal(g, 5, 2), bias=normal(g, 2)),
        hard("a layer of one unit", state=_bits(g, 4, 3), weight=normal(g, 3, 1), bias=normal(g, 1)),
        extreme("units that are sure", state=_bits(g, 4, 2), weight=normal(g, 2, 3), bias=tensor([SURE, -SURE, 0.5])),
    ],
    probe=_where_off("state", "sigmoid(bias)"),
    properties=[_no_clamp],
    dtype="same",
    passes="a sigmoid of bias and weights, for either layer.",
)  # fmt: skip
def p_on(state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    r"""Check `p_on(state, weight, bias)`: the probability of every unit to be on, given the other layer.

    state (B, m) of zeros and ones, weight (m, n), bias (n,) -> (B, n).

    Example:
        >>> from course import checks
        >>> checks.markov_chains.p_on(lambda state, weight, bias: (state @ weight).sigmoid())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the biases are missing: ...
    """
    return _p(state, weight, bias)


p_on.wrong = {
    "this is softplus, which belongs to the free energy: a probability is its slope, the sigmoid.":
        lambda state, weight, bias: softplus(bias + state @ weight),
    "the biases are missing: add them before the sigmoid.":
        lambda state, weight, bias: sigmoid(state @ weight),
    "these are the log-odds: put them through a sigmoid.":
        lambda state, weight, bias: bias + state @ weight,
    "softmax lets the units compete: each is on or off by itself, so take a sigmoid.":
        lambda state, weight, bias: softmax(bias + state @ weight, dim=1),
    "tanh is for units that are -1 or 1: these are 0 or 1, so take a sigmoid.":
        lambda state, weight, bias: tanh(bias + state @ weight),
    "these are odds, p / (1 - p): divide by one plus them, which is the sigmoid.":
        lambda state, weight, bias: (bias + state @ weight).exp(),
    "the weights are transposed: row i of weight belongs to unit i of the layer that is given, so write "
    "`state @ weight`.":
        lambda state, weight, bias: _p(state, weight.T, bias),
    "you return the more probable value, 0 or 1: return the probability.":
        lambda state, weight, bias: _p(state, weight, bias).round(),
    "you subtract the biases: add them.": lambda state, weight, bias: _p(state, weight, -bias),
    "the biases are added after the sigmoid: they belong inside.":
        lambda state, weight, bias: sigmoid(state @ weight) + bias,
    "you average over the given units: their inputs add up.":
        lambda state, weight, bias: _p(state, weight / len(weight), bias),
    "large log-odds make yours NaN, infinity over infinity: `.sigmoid()` is right for every number.":
        lambda state, weight, bias: (bias + state @ weight).exp() / (1 + (bias + state @ weight).exp()),
}  # fmt: skip


# ---------------------------------------------------------------- 4. a Gibbs step


def _not_close(u: Tensor, p: Tensor) -> Tensor:
    return where((u - p).abs() < 0.002, p + 0.002, u)


def _numbers(g: torch.Generator, n: int, d: int, j: int, sure: bool = False) -> dict[str, Tensor]:
    """No close calls, which rounding would decide."""
    x, rbm = _bits(g, n, d), _rbm(g, d, j)
    if sure:
        rbm["b"][:2], rbm["c"][:2] = (tensor([SURE, -SURE]).to(x) for _ in range(2))
    u_h, u_x = _uniform(g, n, j), _uniform(g, n, d)
    u_h = _not_close(u_h, p := _p(x, rbm["weight"], rbm["c"]))
    u_x = _not_close(u_x, _p(_draw(u_h, p), rbm["weight"].T, rbm["b"]))
    return {"x": x, **rbm, "u_h": u_h, "u_x": u_x}


def _ties(g: torch.Generator) -> dict[str, Tensor]:
    """All probabilities are 1/2, and so are the numbers: h is 0, and any other h would move the pixels."""
    rbm = {name: x if name == "weight" else 0 * x for name, x in _rbm(g, 4, 3).items()}
    x = torch.zeros(6, 4).to(rbm["b"])
    return {"x": x, **rbm, "u_h": 0 * x[:, :3] + 0.5, "u_x": _bits(g, 6, 4) / 2}


def _just(case: Case, got: Tensor, want: Tensor) -> str | None:
    words = "a number that is just the probability leaves its unit off: compare with `<`, not `<=`."
    return words if "just the probability" in case.label else None


def _gibbs(x: Tensor, weight: Tensor, b: Tensor, c: Tensor, u_h: Tensor, u_x: Tensor) -> Tensor:
    return _draw(u_x, _p(_draw(u_h, _p(x, weight, c)), weight.T, b))


@step(
    lambda g: [
        tame("layers of one size", **_numbers(g, 40, 5, 5)),
        tame("more pixels than hidden units", **_numbers(g, 30, 6, 4)),
        hard("a single image", **_numbers(g, 1, 4, 7)),
        extreme("numbers that are just the probability", **_ties(g)),
        extreme("units that are sure", **_numbers(g, 5, 4, 3, sure=True)),
    ],
    probe=_just,
    dtype="same",
    passes="h is drawn from x, and the new image from h.",
)
def gibbs_step(x: Tensor, weight: Tensor, b: Tensor, c: Tensor, u_h: Tensor, u_x: Tensor) -> Tensor:
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
    return _gibbs(x, weight, b, c, u_h, u_x)


def _layer_by_layer(made: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A wrong step, of x, u_h, u_x, and the two layers: h from p(h | x), and p(x | h) from h."""
    return lambda x, weight, b, c, u_h, u_x: made(
        x, u_h, u_x, _p(x, weight, c), lambda h: _p(h, weight.T, b)
    )


gibbs_step.wrong = {
    "you return probabilities of the pixels: draw 0 or 1 from them, by comparing with u_x.":
        _layer_by_layer(lambda x, u_h, u_x, p, back: back(_draw(u_h, p))),
    "you pass the probabilities of h on to the pixels (mean field): draw h, 0 or 1, and pass that on. Else it is no "
    "Gibbs sampling.":
        _layer_by_layer(lambda x, u_h, u_x, p, back: _draw(u_x, back(p))),
    "nothing is drawn, neither h nor the pixels: compare u_h and u_x with the probabilities.":
        _layer_by_layer(lambda x, u_h, u_x, p, back: back(p)),
    "you return h: this is half a step, draw the pixels from it.":
        _layer_by_layer(lambda x, u_h, u_x, p, back: _draw(u_h, p)),
    "your chain stands still: return the new image, not x.": lambda x, *others: x,
    "your hidden units are on where u_h is above the probability: then they are on with probability 1 - p.":
        _layer_by_layer(lambda x, u_h, u_x, p, back: _draw(u_x, back(1 - _draw(u_h, p)))),
    "your pixels are white where u_x is above the probability: then they are white with probability 1 - p.":
        lambda *given: 1 - _gibbs(*given),
    "in both layers you compare the wrong way round: a unit is on where its number is below its probability.":
        _layer_by_layer(lambda x, u_h, u_x, p, back: 1 - _draw(u_x, back(1 - _draw(u_h, p)))),
    "your hidden units are -1 or 1: they are 0 or 1.":
        _layer_by_layer(lambda x, u_h, u_x, p, back: _draw(u_x, back(2 * _draw(u_h, p) - 1))),
    "both layers take the more probable value, with no chance in it: compare u_h and u_x with the probabilities.":
        _layer_by_layer(lambda x, u_h, u_x, p, back: _draw(0.5 + 0 * u_x, back(_draw(0.5 + 0 * u_h, p)))),
    "you take two steps with the same numbers: one is asked for.":
        lambda x, weight, b, c, u_h, u_x: _gibbs(_gibbs(x, weight, b, c, u_h, u_x), weight, b, c, u_h, u_x),
    "your h is the more probable value, with no chance in it: compare u_h with the probability, not 1/2.":
        _layer_by_layer(lambda x, u_h, u_x, p, back: _draw(u_x, back(p.round()))),
    "your pixels are the more probable value, with no chance in it: compare u_x with the probability, not 1/2.":
        _layer_by_layer(lambda x, u_h, u_x, p, back: back(_draw(u_h, p)).round()),
    "the way back uses the weights as they are: from h to the pixels they must be transposed, `weight.T`.":
        lambda x, weight, b, c, u_h, u_x: _draw(u_x, _p(_draw(u_h, _p(x, weight, c)), weight, b)),
    "the biases are in each other's place: b belongs to the pixels, c to the hidden units.":
        lambda x, weight, b, c, u_h, u_x: _gibbs(x, weight, c, b, u_h, u_x),
    "the random numbers are in each other's place: u_h draws h, u_x draws the pixels.":
        lambda x, weight, b, c, u_h, u_x: _gibbs(x, weight, b, c, u_x, u_h),
    "you draw h and the pixels with the same numbers, which ties them together: take u_x for the pixels.":
        lambda x, weight, b, c, u_h, u_x: _gibbs(x, weight, b, c, u_h, u_h),
    "the biases of the pixels, b, are missing.":
        lambda x, weight, b, c, u_h, u_x: _gibbs(x, weight, 0 * b, c, u_h, u_x),
    "the biases of the hidden units, c, are missing.":
        lambda x, weight, b, c, u_h, u_x: _gibbs(x, weight, b, 0 * c, u_h, u_x),
}  # fmt: skip


# ---------------------------------------------------------------- 5. what a chain is worth


def _chain(g: torch.Generator, n: int, memory: float) -> Tensor:
    noise = normal(g, n)
    states = noise.tolist()
    for t in range(1, n):
        states[t] = memory * states[t - 1] + (1 - memory**2) ** 0.5 * states[t]
    return 3 + 2 * tensor(states).to(noise)


def _products(f: Tensor, lags: int) -> Tensor:
    return stack([(f[: len(f) - t] * f[t:]).sum() for t in range(lags + 1)])


def _rho(f: Tensor, lags: int) -> Tensor:
    made = _products(f - f.mean(), lags)
    return made / made[0]


def _around(f: Tensor, lags: int) -> Tensor:
    f = f - f.mean()
    return stack([f @ f.roll(t) for t in range(lags + 1)]) / (f @ f)


def _piecewise(f: Tensor, lags: int) -> Tensor:
    made = []
    for t in range(lags + 1):
        a, b = f[: len(f) - t], f[t:]
        a, b = a - a.mean(), b - b.mean()
        made.append(a @ b / (a.norm() * b.norm()))
    return stack(made)


def _later(f: Tensor, lags: int) -> Tensor:  # the sum over the lags above 0
    return _rho(f, lags)[1:].sum()


@step(
    lambda g: [
        tame("a chain that remembers", f=_chain(g, 200, 0.8), lags=12),
        tame("a chain that swings to and fro", f=_chain(g, 300, -0.6), lags=2),
        hard("a short chain", f=_chain(g, 8, 0.5), lags=3),
        hard("lags = 0", f=_chain(g, 50, 0.8), lags=0),
    ],
    results=("the autocorrelation", "the effective size"),
    passes="a chain is worth its length over 1 + 2 (rho_1 + rho_2 + ...).",
)
def effective_size(f: Tensor, lags: int) -> tuple[Tensor, Tensor]:
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
    return _rho(f, lags), len(f) / (1 + 2 * _later(f, lags))


effective_size.wrong = {
    "the mean is not subtracted: a chain that stands at 5 would look correlated for ever.":
        lambda f, lags: (_products(f, lags) / _products(f, 0), None),
    "these are sums of products: divide them by the one of lag 0, so that rho_0 = 1.":
        lambda f, lags: (_products(f - f.mean(), lags), None),
    "these are autocovariances, which have the unit of f squared: divide them by the one of lag 0.":
        lambda f, lags: (_products(f - f.mean(), lags) / len(f), None),
    "lag 0 is missing: rho_0 = 1 comes first, and lags + 1 numbers are wanted.":
        lambda f, lags: (_rho(f, lags)[1:], None),
    "the last lag is missing: they go from 0 to `lags`, so there are lags + 1 of them.":
        lambda f, lags: (_rho(f, lags)[:-1], None),
    "`roll` joins the end of the chain to its beginning: leave those pairs out.":
        lambda f, lags: (_around(f, lags), None),
    "you average over the T - t pairs: that is used as well, but shakes at large lags. Here the sum is divided by that "
    "of lag 0 alone.":
        lambda f, lags: (_rho(f, lags) * len(f) / (len(f) - arange(lags + 1)), None),
    "you centre each stretch by a mean of its own, as `corrcoef` does: subtract the mean of the whole chain.":
        lambda f, lags: (_piecewise(f, lags), None),
    "the factor 2 is missing: each draw has neighbours before it and after it.":
        lambda f, lags: (None, len(f) / (1 + _later(f, lags))),
    "you count lag 0 among the neighbours: sum from lag 1 on.":
        lambda f, lags: (None, len(f) / (3 + 2 * _later(f, lags))),
    "the last lag is missing in your sum: it runs from 1 to `lags`.":
        lambda f, lags: (None, len(f) / (1 + 2 * _rho(f, lags)[1:-1].sum())),
    "you leave out negative autocorrelations: they count with their sign.":
        lambda f, lags: (None, len(f) / (1 + 2 * _rho(f, lags)[1:].clamp(min=0).sum())),
    "the 1 is missing: a draw also counts for itself.":
        lambda f, lags: (None, len(f) / (2 * _later(f, lags))),
    "this is the autocorrelation time: divide the length of the chain by it.":
        lambda f, lags: (None, 1 + 2 * _later(f, lags)),
    "this is one over the autocorrelation time: multiply by the length of the chain.":
        lambda f, lags: (None, 1 / (1 + 2 * _later(f, lags))),
    "you multiply by the autocorrelation time: the more neighbours are alike, the fewer draws they are worth, so "
    "divide.":
        lambda f, lags: (None, len(f) * (1 + 2 * _later(f, lags))),
    "this is the length of the chain: divide it by 1 + 2 (rho_1 + rho_2 + ...).":
        lambda f, lags: (None, zeros_like(f[0]) + len(f)),
    "you use rho_1 alone, as if all others were its powers: add up all of them.":
        lambda f, lags: (None, len(f) * (1 - _rho(f, 1)[1]) / (1 + _rho(f, 1)[1])),
    "you add up absolute values: a chain that swings to and fro gains by it, so leave the signs.":
        lambda f, lags: (None, len(f) / (1 + 2 * _rho(f, lags)[1:].abs().sum())),
}  # fmt: skip


# ---------------------------------------------------------------- 6. contrastive divergence


def _data_and_ends(g: torch.Generator, n: int, m: int, d: int, j: int) -> dict[str, Tensor]:
    x, ends = _bits(g, n, d), _bits(g, m, d)
    ends[0], x[0] = 1, 0  # far enough apart for every mistake to show
    x[-1] = 1 - ends[-1]
    return {"x": x, "ends": ends, **_rbm(g, d, j)}


def _together(x: Tensor, h: Tensor) -> Tensor:  # how often two units are on together
    return x.T @ h / len(x)


def _cd(x: Tensor, ends: Tensor, weight: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p, q = _p(x, weight, c), _p(ends, weight, c)
    return _together(ends, q) - _together(x, p), ends.mean(0) - x.mean(0), q.mean(0) - p.mean(0)


@step(
    lambda g: [
        tame("as many chains as images", **_data_and_ends(g, 5, 5, 4, 3)),
        tame("more chains than images", **_data_and_ends(g, 4, 7, 3, 5)),
        hard("a single image and two chains", **_data_and_ends(g, 1, 2, 4, 2)),
    ],
    results=("the gradient by weight", "the gradient by b", "the gradient by c"),
    dtype="same",
    passes="the chains less the data, each in the mean, for all three parameters.",
)
def cd_gradient(x: Tensor, ends: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> tuple:
    r"""Check `cd_gradient(x, ends, weight, b, c)`: of the mean F of the data less that of the chains' ends.

    x (B, D) are data, ends (M, D) the ends of chains -> the gradients by weight (D, J), b (D,) and c (J,).

    Example:
        >>> from course import checks
        >>> checks.markov_chains.cd_gradient(lambda x, ends, weight, b, c: (weight.T, b, c))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for as many chains as images the gradient by weight of `cd_gradient` ...
    """
    return _cd(x, ends, weight, c)


def _of_weight(made: Callable[..., Tensor]) -> Callable[..., tuple]:
    """A wrong gradient by weight, of the two batches and the probabilities of their hidden units."""
    return lambda x, ends, weight, b, c: (
        made(x, ends, _p(x, weight, c), _p(ends, weight, c)),
        None,
        None,
    )


def _of_b(made: Callable[..., Tensor]) -> Callable[..., tuple]:
    return lambda x, ends, weight, b, c: (None, made(x, ends), None)


def _of_c(made: Callable[..., Tensor]) -> Callable[..., tuple]:
    """A wrong gradient by c, of the inputs of the hidden units for the data and for the ends."""
    return lambda x, ends, weight, b, c: (None, None, made(c + x @ weight, c + ends @ weight))


cd_gradient.wrong = {
    "the sign is turned: this goes where data become more probable, but a gradient points uphill in the loss. It is "
    "the chains less the data.":
        _of_weight(lambda x, ends, p, q: _together(x, p) - _together(ends, q)),
    "the gradient by weight is a sum over images: take the mean over the data, and over the ends.":
        _of_weight(lambda x, ends, p, q: ends.T @ q - x.T @ p),
    "in the gradient by weight only the data are there: without the chains all energies would sink for ever.":
        _of_weight(lambda x, ends, p, q: -_together(x, p)),
    "in the gradient by weight only the chains are there: subtract the same of the data.":
        _of_weight(lambda x, ends, p, q: _together(ends, q)),
    "in the gradient by weight you add the two halves: the data pull one way, the chains the other.":
        _of_weight(lambda x, ends, p, q: _together(ends, q) + _together(x, p)),
    "you divide by the number of the others: the data by `len(x)`, the chains by `len(ends)`.":
        _of_weight(lambda x, ends, p, q: ends.T @ q / len(x) - x.T @ p / len(ends)),
    "you multiply the means of pixels and hidden units: the mean of their products is wanted, `x.T @ p / len(x)`.":
        _of_weight(lambda x, ends, p, q: outer(ends.mean(0), q.mean(0)) - outer(x.mean(0), p.mean(0))),
    "the gradient by weight is transposed: like weight it has a row for every pixel.":
        _of_weight(lambda x, ends, p, q: (_together(ends, q) - _together(x, p)).T),
    "you keep the hidden probabilities of the data for the chains: each image has its own.":
        _of_weight(lambda x, ends, p, q: _together(ends - x, p)),
    "you divide by the number of pixels, or of units: the mean is over images, `len(x)`.":
        _of_weight(lambda x, ends, p, q: (ends.T @ q - x.T @ p) / x.shape[1]),
    "you round p(h | x) to 0 or 1: the slopes hold the probabilities themselves.":
        _of_weight(lambda x, ends, p, q: _together(ends, q.round()) - _together(x, p.round())),
    "the hidden biases c are missing in p(h | x).":
        lambda x, ends, weight, b, c: (_cd(x, ends, weight, 0 * c)[0], None, None),
    "you take the inputs of the hidden units for their probabilities: put them through a sigmoid.":
        lambda x, ends, weight, b, c: (
            _together(ends, c + ends @ weight) - _together(x, c + x @ weight), None, None
        ),
    "you divide both halves by the number of data: there may be more chains, or fewer. Divide by `len(ends)` there.":
        _of_weight(lambda x, ends, p, q: (ends.T @ q - x.T @ p) / len(x)),
    "the gradient by b has the wrong sign: it is the mean of the ends less that of the data.":
        _of_b(lambda x, ends: x.mean(0) - ends.mean(0)),
    "the gradient by b is a sum over images: take means.": _of_b(lambda x, ends: ends.sum(0) - x.sum(0)),
    "the gradient by c stands in the place of that by b: the order is weight, b, c.":
        lambda x, ends, weight, b, c: (None, _cd(x, ends, weight, c)[2], None),
    "the gradient by b is one number: average over the images only, `.mean(dim=0)`.":
        _of_b(lambda x, ends: ends.mean() - x.mean()),
    "the gradient by c has the wrong sign: it is the chains less the data.":
        _of_c(lambda on, on_ends: sigmoid(on).mean(0) - sigmoid(on_ends).mean(0)),
    "the gradient by c is a sum over images: take means.":
        _of_c(lambda on, on_ends: sigmoid(on_ends).sum(0) - sigmoid(on).sum(0)),
}  # fmt: skip


# ---------------------------------------------------------------- 7. the partition function


class _Frugal(TorchFunctionMode):
    """While it is on, an answer that needs more numbers, or more operations, than the shorter sum is `Wrong`."""

    def __init__(self, words: str):
        super().__init__()
        self.words, self.calls = words, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        if self.calls > 10_000 or (isinstance(result, Tensor) and result.numel() > 2**17):
            raise Wrong(self.words)
        return result


def _takes_the_longer_sum(answer: Answer, g: torch.Generator) -> str | None:
    for label, d, j, words in (
        ("18 pixels and 3 hidden units", 18, 3,
         "you go through all images, 2^18 here, though there are only 2^3 hidden states: when the hidden layer is the "
         "smaller one, sum over that."),
        ("3 pixels and 18 hidden units", 3, 18,
         "you go through all hidden states, 2^18 here, though there are only 2^3 images: when the images are fewer, "
         "sum over those."),
    ):  # fmt: skip
        rbm = _rbm(g, d, j, scale=0.3)
        with _Frugal(words):
            result = call("log_partition", answer, Case(label, rbm))
        if not same(torch.as_tensor(result).detach(), _terms(**rbm).logsumexp(0)):
            return f"right for small layers, but not for {label}: does a number of the sizes stand in your code?"
    return None


def _smaller(weight: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return (weight, b, c) if len(b) < len(c) else (weight.T, c, b)


def _states(like: Tensor) -> Tensor:
    n = len(like)
    return (arange(2**n)[:, None] >> arange(n) & 1).to(like)


def _terms(
    weight: Tensor, b: Tensor, c: Tensor, states: Callable[[Tensor], Tensor] = _states
) -> Tensor:
    """-F of every state of the smaller layer."""
    weight, own, other = _smaller(weight, b, c)
    return -_free(states(own), weight, own, other)


def _alike(g: torch.Generator, n: int) -> dict[str, Tensor]:
    """Layers that are alike but for the order of units: a mistake looks the same whichever of them is summed over."""
    rbm = _rbm(g, n, n)
    return rbm | {"weight": (rbm["weight"] + rbm["weight"].T).roll(1, 1), "c": rbm["b"].roll(1)}


def _all_on(weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
    weight, own, other = _smaller(weight, b, c)
    return (_states(own) @ own + (other + _states(own) @ weight).sum(1)).logsumexp(0)


@step(
    lambda g: [
        tame("layers of one size", **_alike(g, 4)),
        tame("fewer hidden units", **_rbm(g, 5, 3)),
        tame("fewer pixels", **_rbm(g, 2, 5)),
        hard("a single pixel", **_rbm(g, 1, 3)),
        extreme("large weights", **_rbm(g, 4, 3, scale=SURE)),
    ],
    live=[_takes_the_longer_sum],
    passes="log Z, with as few terms as the smaller layer has states.",
)
def log_partition(weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
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
    return _terms(weight, b, c).logsumexp(0)


log_partition.wrong = {
    "this is Z itself: return its logarithm.": lambda *rbm: _terms(*rbm).logsumexp(0).exp(),
    "the other layer is missing: it is summed out by softplus, as in your free energy.":
        lambda *rbm: (_states(_smaller(*rbm)[1]) @ _smaller(*rbm)[1]).logsumexp(0),
    "the other layer is always on in your sum: sum over both states of each of its units, which makes a softplus.":
        _all_on,
    "you count every image 2^J times, once for each h, although F has summed h out already.":
        lambda weight, b, c: _terms(weight, b, c).logsumexp(0) + len(c) * LOG_2,
    "this is the mean over the states: Z is their sum.":
        lambda *rbm: _terms(*rbm).logsumexp(0) - math.log(len(_terms(*rbm))),
    "you add up logarithms: Z adds up the exponentials, so take logsumexp.": lambda *rbm: _terms(*rbm).sum(),
    "this is the mean of the logarithms: Z adds up the exponentials, so take logsumexp.":
        lambda *rbm: _terms(*rbm).mean(),
    "this is the largest term alone: add up all of them, by logsumexp.": lambda *rbm: _terms(*rbm).max(),
    "you sum e^F: low free energies are probable, so sum e^(-F).": lambda *rbm: (-_terms(*rbm)).logsumexp(0),
    "the largest is subtracted before the exponentials: add it back after the logarithm.":
        lambda *rbm: _terms(*rbm).logsumexp(0) - _terms(*rbm).max(),
    "a minus in front of `f.logsumexp(0)` comes last: `(-f).logsumexp(0)`, with brackets.":
        lambda *rbm: -(-_terms(*rbm)).logsumexp(0),
    "the sign is turned: this is -log Z.": lambda *rbm: -_terms(*rbm).logsumexp(0),
    "the state with all units off is missing: it counts too.": lambda *rbm: _terms(*rbm)[1:].logsumexp(0),
    "the last state, with all units on, is missing: there are 2^n, from 0 to 2^n - 1.":
        lambda *rbm: _terms(*rbm)[:-1].logsumexp(0),
    "your units are -1 or 1: here they are 0 or 1.":
        lambda *rbm: _terms(*rbm, lambda own: 2 * _states(own) - 1).logsumexp(0),
    "the biases are in each other's place: b belongs to the pixels, c to the hidden units.":
        lambda weight, b, c: _terms(weight, c, b).logsumexp(0),
}  # fmt: skip


# ---------------------------------------------------------------- 8. persistent chains

Parameters = tuple[Tensor, Tensor, Tensor]


def _updates(
    x: Tensor,
    chains: Tensor,
    weight: Tensor,
    b: Tensor,
    c: Tensor,
    rate: float,
    u_h: Tensor,
    u_x: Tensor,
    *,
    start: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda now, first, x: now,
    slopes: Callable[..., Parameters] = lambda x, before, ends, *rbm: _cd(x, ends, rbm[0], rbm[2]),
    moved_by: Callable[[Parameters, Parameters], Parameters] = lambda now, first: now,
) -> tuple[Tensor, ...]:
    """T updates, with what may go wrong: where a chain starts, the slopes, and the RBM that moves the chains."""
    now, rbm = chains, (weight, b, c)
    for one_h, one_x in zip(u_h, u_x, strict=True):
        before = start(now, chains, x)
        now = _gibbs(before, *moved_by(rbm, (weight, b, c)), one_h, one_x)
        made = slopes(x, before, now, *rbm)
        rbm = tuple(p - rate * slope for p, slope in zip(rbm, made, strict=True))
    return now, *rbm


def _chains(
    g: torch.Generator, n: int, m: int, d: int, j: int, updates: int, sure: bool = False
) -> dict[str, Any]:
    """Numbers of some updates, and no close calls on the right way."""
    x, chains, rbm, rate = _bits(g, n, d), _bits(g, m, d), _rbm(g, d, j), 0.7
    x[0], chains[0] = 0, 1
    if sure:
        rbm["b"][:2], rbm["c"][:2] = (tensor([SURE, -SURE]).to(x) for _ in range(2))
    now, last, u_h, u_x = chains, tuple(rbm.values()), [], []
    for _ in range(updates):
        u_h.append(_not_close(_uniform(g, m, j), p := _p(now, last[0], last[2])))
        u_x.append(_not_close(_uniform(g, m, d), _p(_draw(u_h[-1], p), last[0].T, last[1])))
        now, *last = _updates(x, now, *last, rate, u_h[-1][None], u_x[-1][None])
    return {"x": x, "chains": chains, **rbm, "rate": rate, "u_h": stack(u_h), "u_x": stack(u_x)}


@step(
    lambda g: [
        tame("three updates", **_chains(g, 6, 40, 4, 3, 3)),
        tame("more chains than images", **_chains(g, 5, 30, 3, 4, 4)),
        hard("fewer chains than images", **_chains(g, 7, 2, 5, 2, 2)),
        hard("a single update", **_chains(g, 4, 5, 3, 2, 1)),
        extreme("units that are sure", **_chains(g, 5, 4, 4, 3, 2, sure=True)),
    ],
    results=("the chains", "weight", "b", "c"),
    dtype="same",
    passes="the chains go on from where they stopped, and the RBM follows them.",
)  # fmt: skip
def persistent(
    x: Tensor, chains: Tensor, weight: Tensor, b: Tensor, c: Tensor, rate: float, u_h: Tensor, u_x: Tensor
) -> tuple[Tensor, ...]:  # fmt: skip
    r"""Check `persistent(x, chains, weight, b, c, rate, u_h, u_x)`: T updates by persistent contrastive divergence.

    x (B, D) are data, chains (M, D) the images where chains stopped before, u_h (T, M, J) and u_x (T, M, D)
    uniform random numbers -> the chains (M, D), then weight (D, J), b (D,) and c (J,) after the last update.

    Example:
        >>> from course import checks
        >>> def persistent(x, chains, weight, b, c, rate, u_h, u_x):
        ...     return chains, weight, b, c
        >>> checks.markov_chains.persistent(persistent)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your chains stand still: ...
    """
    return _updates(x, chains, weight, b, c, rate, u_h, u_x)


def _after(
    change: Callable[[Parameters, Parameters], Parameters],
) -> Callable[..., tuple[Tensor, ...]]:
    """The right chains, and parameters made of the first and of the last ones."""

    def wrong(x: Tensor, chains: Tensor, *others: Any) -> tuple[Tensor, ...]:
        now, *last = _updates(x, chains, *others)
        return now, *change(others[:3], tuple(last))

    return wrong


def _other(**other: Any) -> Callable[..., tuple[Tensor, ...]]:
    return lambda *given: _updates(*given, **other)


def _of_all(made: Callable[[Tensor, Tensor, Tensor, Parameters], Any]) -> Callable[..., Any]:
    """Updates with wrong slopes, which f of the data, the chains before and after, and the RBM gives."""
    return _other(slopes=lambda x, before, ends, *rbm: made(x, before, ends, rbm))


def _still(n: int, x: Tensor, ends: Tensor, rbm: Parameters) -> tuple[Tensor, ...]:
    return tuple(slope * (i != n) for i, slope in enumerate(_cd(x, ends, rbm[0], rbm[2])))


def _from_the_data(*given: Any) -> tuple[Tensor | None, ...]:
    x, chains = given[:2]
    again = x.repeat(-(-len(chains) // len(x)), 1)[: len(chains)]
    return _updates(*given, start=lambda now, first, x: again)


def _no_update(*given: Any) -> tuple[Tensor, ...]:
    x, chains, weight, b, c, rate, u_h, u_x = given
    return _updates(x, chains, weight, b, c, 0.0, u_h, u_x)


def _after_the_update(*given: Any) -> tuple[Tensor, ...]:
    """The RBM changes first, by the chains as they stand, and then they move."""
    x, now, *rbm, rate, u_h, u_x = given
    for one_h, one_x in zip(u_h, u_x, strict=True):
        rbm = [p - rate * slope for p, slope in zip(rbm, _cd(x, now, rbm[0], rbm[2]), strict=True)]
        now = _gibbs(now, *rbm, one_h, one_x)
    return now, *rbm


def _one_by_one(*given: Any) -> tuple[Tensor, ...]:
    """Each parameter changes before the slope of the next is known."""
    x, now, weight, b, c, rate, u_h, u_x = given
    for one_h, one_x in zip(u_h, u_x, strict=True):
        now = _gibbs(now, weight, b, c, one_h, one_x)
        weight = weight - rate * _cd(x, now, weight, c)[0]
        b, c = b - rate * _cd(x, now, weight, c)[1], c - rate * _cd(x, now, weight, c)[2]
    return now, weight, b, c


persistent.wrong = {
    "your chains stand still: move them by a Gibbs step before each update, and return where they stopped.":
        lambda x, chains, weight, b, c, *others: (chains, weight, b, c),
    "your chains go back to where they stood at first, update by update: start each Gibbs step from the ends of the "
    "last one.":
        _other(start=lambda now, first, x: first),
    "your chains start at the data, which is CD-1: start them where they stopped.": _from_the_data,
    "your RBM does not change between the Gibbs steps: go downhill on L after each of them.": _no_update,
    "you go uphill on L, so data become less probable: subtract the rate times the slopes of step 6.":
        _of_all(lambda x, before, ends, rbm: tuple(-slope for slope in _cd(x, ends, rbm[0], rbm[2]))),
    "the rate is missing: the slopes are multiplied by it.":
        lambda x, chains, weight, b, c, rate, u_h, u_x: _updates(x, chains, weight, b, c, 1.0, u_h, u_x),
    "your slopes hold the chains before the Gibbs step: move them first, then take the slopes at their ends.":
        _of_all(lambda x, before, ends, rbm: _cd(x, before, rbm[0], rbm[2])),
    "you update the RBM before the chains have moved: the Gibbs step comes first.": _after_the_update,
    "the RBM that moves the chains stays the first one: each Gibbs step takes the parameters of the last update.":
        _other(moved_by=lambda now, first: first),
    "the slopes of b and c belong to the RBM before the update: all three slopes first, then all three changes.":
        _one_by_one,
    "you return the chains as they came: return where they stopped, or the next call starts them anew.":
        lambda x, chains, *others: (chains, *_updates(x, chains, *others)[1:]),
    "this is the first update alone: one for each of the T numbers in u_h is asked for.":
        lambda *given: _updates(*given[:6], given[6][:1], given[7][:1]),
    "you stop one update too early: there are T of them.":
        lambda *given: _updates(*given[:6], given[6][:-1], given[7][:-1]),
    "only the weights change in your updates: b and c have slopes too.":
        _of_all(lambda x, before, ends, rbm: (_cd(x, ends, rbm[0], rbm[2])[0], 0 * rbm[1], 0 * rbm[2])),
    "b does not change in your updates.": _of_all(lambda x, before, ends, rbm: _still(1, x, ends, rbm)),
    "c does not change in your updates.": _of_all(lambda x, before, ends, rbm: _still(2, x, ends, rbm)),
    "the slopes of your updates all belong to the first RBM: take them at the parameters of the last update.":
        lambda *given: _updates(*given, slopes=lambda x, before, ends, *rbm: _cd(x, ends, given[2], given[4])),
    "you use the numbers of the first update in all of them: each has its own, `u_h[t]` and `u_x[t]`.":
        lambda *given: _updates(*given[:6], *(u[:1].expand_as(u) for u in given[6:])),
    "you return the first parameters: return those after the last update.": _after(lambda first, last: first),
}  # fmt: skip


# ---------------------------------------------------------------- 9. annealing


def _way(g: torch.Generator, n: int, betas: tuple[float, ...], d: int, j: int) -> dict[str, Tensor]:
    states = _bits(g, len(betas) - 1, n, d)
    return {"states": states, "betas": tensor(betas).to(states), **_rbm(g, d, j)}


def _large_way(g: torch.Generator) -> dict[str, Tensor]:
    """All terms of one sign: the difference of large numbers would be lost in single precision."""
    way = _way(g, 4, (0.0, 0.3, 1.0), 3, 4)
    return way | {key: SURE * (0.5 + way[key].abs()) for key in ("weight", "b", "c")}


def _steps(
    states: Tensor,
    betas: Tensor,
    weight: Tensor,
    b: Tensor,
    c: Tensor,
    grow: str = "b c",
    before: float = 1.0,
) -> Tensor:
    """log w of every step, (K, n)."""

    def free(x: Tensor, beta: Tensor) -> Tensor:
        return _free(x, beta * weight, beta * b if "b" in grow else b, beta * c if "c" in grow else c)  # fmt: skip

    pairs = zip(states, betas[:-1], betas[1:], strict=True)
    return stack([before * free(x, now) - free(x, then) for x, now, then in pairs])


@step(
    lambda g: [
        tame("three steps", **_way(g, 5, (0.0, 0.15, 0.4, 1.0), 4, 3)),
        tame("four steps", **_way(g, 3, (0.0, 0.1, 0.3, 0.6, 1.0), 3, 5)),
        hard("a single step", **_way(g, 6, (0.0, 1.0), 2, 4) | {"c": -2 - normal(g, 4).abs()}),
        hard("a single chain", **_way(g, 1, (0.0, 0.7, 1.0), 5, 2)),
        extreme("large weights", **_large_way(g)),
    ],
    passes="one ratio of unnormalised probabilities a step, their logarithms added.",
)
def ais_log_weights(states: Tensor, betas: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
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
    return _steps(states, betas, weight, b, c).sum(0)


ais_log_weights.wrong = {
    "the sign is turned: a weight is e^(-F) of the next RBM over e^(-F) of the last one.":
        lambda *given: -_steps(*given).sum(0),
    "you multiply F by beta: it is weight, b and c that grow with beta, and F is no multiple of them.":
        lambda states, betas, *rbm: (-betas.diff()[:, None] * _free(states, *rbm)).sum(0),
    "only the weights grow with beta: multiply b and c too.": lambda *given: _steps(*given, grow="").sum(0),
    "b does not grow with beta: multiply weight, b and c alike.": lambda *given: _steps(*given, grow="c").sum(0),
    "c does not grow with beta: multiply weight, b and c alike.": lambda *given: _steps(*given, grow="b").sum(0),
    "this is the mean over the steps: the ratios are multiplied, so their logarithms add up.":
        lambda *given: _steps(*given).mean(0),
    "this is one leap from beta = 0 to 1, at the first images: plain importance sampling. Use the images of all steps.":
        lambda states, betas, *rbm: _steps(states[:1], betas[[0, -1]], *rbm).sum(0),
    "only the last images count in yours, or all others cancel: both energies of step k are those of x_k.":
        lambda states, betas, *rbm: _steps(states[-1:], betas[[0, -1]], *rbm).sum(0),
    "half of every step is missing: subtract -F of the RBM that the chain comes from.":
        lambda *given: _steps(*given, before=0).sum(0),
    "you start from log Z_0: that comes in the next step, here are the weights alone.":
        lambda states, betas, weight, b, c: _steps(states, betas, weight, b, c).sum(0) + (len(b) + len(c)) * LOG_2,
    "you return every step by itself: add them up over k.": _steps,
    "you keep the last step alone: add up all of them.": lambda *given: _steps(*given)[-1],
    "the last step is missing, the one to beta = 1: there are as many steps as states.":
        lambda *given: _steps(*given)[:-1].sum(0),
    "the first step is missing, the one from beta = 0.": lambda *given: _steps(*given)[1:].sum(0),
    "you take steps of one size: those given in betas may differ.":
        lambda states, betas, *rbm: _steps(states, arange(len(betas)).to(betas) / (len(betas) - 1), *rbm).sum(0),
}  # fmt: skip


# ---------------------------------------------------------------- 10. log Z from weights


def _weights(g: torch.Generator, n: int, centre: float, spread: float = 1.5) -> Tensor:
    log_w = centre + spread * normal(g, n)
    log_w[0] = centre + 2.5  # never too much alike
    return log_w


def _log_mean(log_w: Tensor) -> Tensor:
    return log_w.logsumexp(0) - math.log(len(log_w))


def _scaled(log_w: Tensor) -> Tensor:
    """Weights, the largest being 1."""
    return (log_w - log_w.max()).exp()


def _error(w: Tensor) -> Tensor:
    """Of the logarithm of the mean of w, by the delta method."""
    return w.std() / (w.mean() * math.sqrt(len(w)))


@step(
    lambda g: [
        tame("five chains", log_w=_weights(g, 5, 1.0), n_visible=4, n_hidden=3),
        tame("eight chains", log_w=_weights(g, 8, -2.0), n_visible=3, n_hidden=6),
        hard("two chains", log_w=_weights(g, 2, 0.0), n_visible=2, n_hidden=5),
        extreme("large weights", log_w=_weights(g, 4, SURE), n_visible=5, n_hidden=2),
        extreme("small weights", log_w=_weights(g, 6, -SURE), n_visible=2, n_hidden=4),
        extreme("weights of all sizes", log_w=_weights(g, 5, 0.0, spread=2 * SURE), n_visible=3, n_hidden=3),
    ],
    results=("log Z", "the error of log Z"),
    passes="the logarithm of the mean, the start where Z is known, and how far the mean may be off.",
)  # fmt: skip
def ais_log_z(log_w: Tensor, n_visible: int, n_hidden: int) -> tuple[Tensor, Tensor]:
    r"""Check `ais_log_z(log_w, n_visible, n_hidden)`: log of the mean weight, plus $(D + J) \log 2$, and its error.

    log_w (n,), at least two -> two numbers, the second being the standard error of the mean weight over the mean.

    Example:
        >>> from course import checks
        >>> checks.markov_chains.ais_log_z(lambda log_w, d, j: (log_w.mean() + (d + j) * math.log(2), log_w.std()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you average the logarithms: ...
    """
    return _log_mean(log_w) + (n_visible + n_hidden) * LOG_2, _error(_scaled(log_w))


ais_log_z.wrong = {
    "you divide by the root of n - 1, but `.std()` has seen to that already: here it is the root of n.":
        lambda log_w, d, j: (None, _error(_scaled(log_w)) * math.sqrt(len(log_w) / (len(log_w) - 1))),
    "you take the variance of the weights: take its root, the standard deviation.":
        lambda log_w, d, j: (None, _error(_scaled(log_w)) * _scaled(log_w).std()),
    "you average the logarithms: that is always too low. Average the weights, and take the logarithm after.":
        lambda log_w, d, j: (log_w.mean() + (d + j) * LOG_2, None),
    "this is the sum of the weights: take their mean, so subtract log n.":
        lambda log_w, d, j: (log_w.logsumexp(0) + (d + j) * LOG_2, None),
    "the start is missing: the weights give Z / Z_0, so add log Z_0 = (D + J) log 2.":
        lambda log_w, d, j: (_log_mean(log_w), None),
    "your Z_0 counts the images alone: each comes with 2^J hidden states, so add J log 2.":
        lambda log_w, d, j: (_log_mean(log_w) + d * LOG_2, None),
    "your Z_0 counts the hidden states alone: each comes with 2^D images, so add D log 2.":
        lambda log_w, d, j: (_log_mean(log_w) + j * LOG_2, None),
    "you multiply the numbers of units: 2^D images times 2^J hidden states are 2^(D + J).":
        lambda log_w, d, j: (_log_mean(log_w) + d * j * LOG_2, None),
    "you add 2 (D + J): the logarithm of 2^(D + J) is (D + J) log 2.":
        lambda log_w, d, j: (_log_mean(log_w) + 2 * (d + j), None),
    "the largest weight is divided out: add its logarithm, `log_w.max()`, again.":
        lambda log_w, d, j: (_log_mean(log_w) - log_w.max() + (d + j) * LOG_2, None),
    "you add log n: a mean is the sum divided by n, so subtract it.":
        lambda log_w, d, j: (_log_mean(log_w) + 2 * math.log(len(log_w)) + (d + j) * LOG_2, None),
    "you subtract log Z_0: the weights give Z / Z_0, so add it.":
        lambda log_w, d, j: (_log_mean(log_w) - (d + j) * LOG_2, None),
    "you add D + J: the logarithm of 2^(D + J) is (D + J) log 2.": lambda log_w, d, j: (_log_mean(log_w) + d + j, None),
    "this is the largest weight alone: take the mean of all of them.":
        lambda log_w, d, j: (log_w.max() + (d + j) * LOG_2, None),
    "the sign is turned: this is -log Z.": lambda log_w, d, j: (-_log_mean(log_w) - (d + j) * LOG_2, None),
    "large or small weights make yours infinite: they overflow, or round to 0, before the mean. Stay with logarithms, "
    "`logsumexp` is log of the sum of exponentials.":
        lambda log_w, d, j: (log_w.exp().mean().log() + (d + j) * LOG_2, None),
    "this is how far a single weight scatters, over the mean: the mean of n of them is known better, by the root of n.":
        lambda log_w, d, j: (None, _scaled(log_w).std() / _scaled(log_w).mean()),
    "you divide by n: the standard error of a mean falls with the root of n.":
        lambda log_w, d, j: (None, _error(_scaled(log_w)) / len(log_w) ** 0.5),
    "this is the error of the mean of the logarithms: it is the weights whose mean is taken.":
        lambda log_w, d, j: (None, log_w.std() / len(log_w) ** 0.5),
    "this is the error of the mean weight: an error of its logarithm is smaller or larger by the slope 1 / mean.":
        lambda log_w, d, j: (None, log_w.exp().std() / len(log_w) ** 0.5),
    "this is the error of the mean weight with the largest set to 1: divide by the mean of these weights too.":
        lambda log_w, d, j: (None, _scaled(log_w).std() / len(log_w) ** 0.5),
    "this is the square of the error: take the root.": lambda log_w, d, j: (None, _error(_scaled(log_w)).square()),
    "you divide the squares by n: to estimate s from the same weights as their mean, divide by n - 1.":
        lambda log_w, d, j: (None, _error(_scaled(log_w)) * ((len(log_w) - 1) / len(log_w)) ** 0.5),
    "large or small weights make your error infinite or NaN: divide all weights by the largest first, which changes "
    "nothing in a quotient.":
        lambda log_w, d, j: (None, _error(log_w.exp())),
}  # fmt: skip


# ---------------------------------------------------------------- 11. walkback


def _walk(
    g: torch.Generator, n: int, d: int, steps: int, noise: float, sure: bool = False
) -> dict[str, Any]:
    network = nn.Sequential(nn.Linear(d, 5), nn.Tanh(), last := nn.Linear(5, d))
    for parameter in network.parameters():
        parameter.data = normal(g, *parameter.shape)
    if sure:
        last.bias.data[:2] = tensor([SURE, -SURE])
    x = _bits(g, n, d)
    x[0], x[-1] = 0, 1
    return {"network": network, "x": x, "noise": noise, "u": _uniform(g, steps, 3, n, d)}


def _nats(logits: Tensor, x: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)


def _corrupt(x: Tensor, noise: float, u: Tensor, white: float = 0.5) -> Tensor:
    return where(u[0] < noise, (u[1] < white).to(x), x)


def _onward(logits: Tensor, u: Tensor, corrupted: Tensor) -> Tensor:
    return _draw(u[2], sigmoid(logits))


def _nats_of_steps(
    network: Callable[[Tensor], Tensor],
    x: Tensor,
    noise: float,
    u: Tensor,
    *,
    corrupt: Callable[..., Tensor] = _corrupt,
    onward: Callable[..., Tensor] = _onward,
    target: str = "x",
    cost: Callable[..., Tensor] = _nats,
) -> Tensor:
    """(T, B)."""
    made, state = [], x
    for now in u:
        corrupted = corrupt(state, noise, now)
        logits = network(corrupted)
        made.append(cost(logits, {"x": x, "state": state, "corrupted": corrupted}[target]))
        state = onward(logits, now, corrupted)
    return stack(made)


def _gradient_of_the_walk(answer: Answer, g: torch.Generator) -> str | None:
    """The gradient that reaches the network must be that of all steps."""
    given = _walk(g, 16, 8, 3, 0.3)
    parameters = list(given["network"].parameters())
    loss = call("walkback_loss", answer, Case("a walk to train on", given))
    if any(p.grad is not None for p in parameters):
        return "the network has gradients already: leave `backward()` to the training loop."
    if (
        not isinstance(loss, Tensor)
        or not loss.requires_grad
        or not all(p.requires_grad for p in parameters)
    ):
        return (
            "no gradient reaches the network, so it could not learn: leave `torch.no_grad()`, `.detach()` and "
            "`.item()` away from the loss."
        )  # fmt: skip

    def slopes(loss: Tensor) -> Tensor:
        made = grad(loss, parameters, allow_unused=True, materialize_grads=True)
        return cat([slope.flatten() for slope in made])

    if not same(slopes(loss), slopes(_nats_of_steps(**given).mean())):
        return "the value is right, but the gradient that reaches the network is not: is one of the steps detached?"
    return None


@step(
    lambda g: [
        tame("a walk of three steps", **_walk(g, 16, 8, 3, 0.3)),
        tame("a walk of two steps", **_walk(g, 9, 6, 2, 0.8)),
        hard("a single image", **_walk(g, 1, 12, 2, 0.6)),
        hard("no noise", **_walk(g, 5, 4, 2, 0.0)),
        extreme("a network that is sure", **_walk(g, 4, 3, 2, 0.4, sure=True)),
    ],
    live=[_gradient_of_the_walk],
    passes="the walk leads away, and the network must still tell where it began.",
)
def walkback_loss(
    network: Callable[[Tensor], Tensor], x: Tensor, noise: float, u: Tensor
) -> Tensor:
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
    return _nats_of_steps(network, x, noise, u).mean()


def _with(**other: Any) -> Callable[..., Tensor]:
    return lambda *given: _nats_of_steps(*given, **other).mean()


def _from_x(network: Callable[[Tensor], Tensor], x: Tensor, noise: float, u: Tensor) -> Tensor:
    return stack([_nats_of_steps(network, x, noise, now[None]).mean() for now in u]).mean()


def _cut(logits: Tensor, x: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(logits, x, reduction="none").clamp(max=100).sum(1)


def _by_log(logits: Tensor, x: Tensor) -> Tensor:
    p = sigmoid(logits)
    return -(x * p.log() + (1 - x) * (1 - p).log()).sum(1)


walkback_loss.wrong = {
    "a replaced pixel is white where u[t, 1] is above 1/2 in yours: below it is white.":
        _with(corrupt=lambda x, noise, u: where(u[0] < noise, (u[1] > 0.5).to(x), x)),
    "you replace whole images, or rows of u: each pixel is hit by itself.":
        _with(corrupt=lambda x, noise, u: where(u[0, :, :1] < noise, (u[1] < 0.5).to(x), x)),
    "only white pixels count in yours: a black one costs -log(1 - p).":
        _with(cost=lambda logits, x: (x * softplus(-logits)).sum(1)),
    "you add up squares of differences: nats are logarithms of probabilities.":
        _with(cost=lambda logits, x: (x - sigmoid(logits)).square().sum(1)),
    "you ask for the image that the walk is at: walkback asks for x, where the walk began, at every step.":
        _with(target="state"),
    "you ask for the corrupted image, which the network has in front of it: ask for x.": _with(target="corrupted"),
    "every step corrupts x anew, so nothing walks: corrupt the image that was drawn in the step before.": _from_x,
    "you flip the pixels that are hit: salt-and-pepper noise replaces them by draws from Bernoulli(1/2), u[t, 1] < 1/2,"
    " which changes half of them.":
        _with(corrupt=lambda x, noise, u: where(u[0] < noise, 1 - x, x)),
    "you replace the pixels that should stay: those with u[t, 0] < noise are hit.":
        _with(corrupt=lambda x, noise, u: where(u[0] >= noise, (u[1] < 0.5).to(x), x)),
    "you replace a pixel with probability 1 - noise: those with u[t, 0] < noise are hit.":
        _with(corrupt=lambda x, noise, u: _corrupt(x, 1 - noise, u)),
    "you replace half of the pixels, whatever `noise` says: those with u[t, 0] < noise are hit.":
        _with(corrupt=lambda x, noise, u: _corrupt(x, 0.5, u)),
    "a replaced pixel is white with probability `noise`: it is white with probability 1/2, where u[t, 1] < 1/2.":
        _with(corrupt=lambda x, noise, u: _corrupt(x, noise, u, white=noise)),
    "u[t, 0] and u[t, 1] are in each other's place: the first says which pixels are replaced, the second by what.":
        _with(corrupt=lambda x, noise, u: _corrupt(x, noise, u[[1, 0]])),
    "a replaced pixel is always black: it is white where u[t, 1] < 1/2.":
        _with(corrupt=lambda x, noise, u: _corrupt(x, noise, u, white=0.0)),
    "a replaced pixel is always white: it is black where u[t, 1] is 1/2 or more.":
        _with(corrupt=lambda x, noise, u: _corrupt(x, noise, u, white=2.0)),
    "a replaced pixel holds u[t, 1] itself: it is white, 1, where u[t, 1] < 1/2, else 0.":
        _with(corrupt=lambda x, noise, u: where(u[0] < noise, u[1], x)),
    "no pixel is corrupted: without noise the network could copy its input.":
        _with(corrupt=lambda x, noise, u: x),
    "you average over the pixels: nats an image are the sum over its pixels.":
        lambda network, x, noise, u: _nats_of_steps(network, x, noise, u).mean() / x.shape[1],
    "only the last step counts in your loss: average over all of them.":
        lambda *given: _nats_of_steps(*given)[-1].mean(),
    "only the first step counts in your loss, as in a denoising autoencoder: go on walking.":
        lambda *given: _nats_of_steps(*given)[0].mean(),
    "you walk on with probabilities: draw the next image, 0 or 1, by comparing with u[t, 2].":
        _with(onward=lambda logits, u, corrupted: sigmoid(logits)),
    "your next image is the most probable one: draw it, u[t, 2] < sigmoid(logits).":
        _with(onward=lambda logits, u, corrupted: (logits > 0).to(logits)),
    "you walk on from the corrupted image: the next one is drawn from what the network says.":
        _with(onward=lambda logits, u, corrupted: corrupted),
    "you compare u[t, 2] with the logits: put them through a sigmoid first.":
        _with(onward=lambda logits, u, corrupted: _draw(u[2], logits)),
    "the next image is drawn the wrong way round: a pixel is white where u[t, 2] is below its probability.":
        _with(onward=lambda logits, u, corrupted: 1 - _onward(logits, u, corrupted)),
    "the sigmoid is taken twice: `F.binary_cross_entropy_with_logits` takes the logits themselves.":
        _with(cost=lambda logits, x: _nats(sigmoid(logits), x)),
    "`F.binary_cross_entropy` cuts a sure mistake off at 100 nats: use `F.binary_cross_entropy_with_logits`.":
        _with(cost=_cut),
    "a network that is sure makes your loss NaN: its sigmoid rounds to 0 or 1 before the logarithm. "
    "`F.binary_cross_entropy_with_logits` is safe for every logit.":
        _with(cost=_by_log),
}  # fmt: skip
