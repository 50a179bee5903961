r"""Checks for the exercises of lesson Flow matching: one `Step` each, whose form course/checking/step.py explains.

Time runs from the noise at t = 0 to the data at t = 1; times are (B,), one for each example.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, arange, cat, exp, full, softmax, stack, tanh
from torch.autograd import grad
from torch.func import jvp

from course.checking.core import Answer, Case, Wrong, between, call, each, floats, normal, same
from course.checking.relations import factors
from course.checking.step import extreme, hard, step, tame

__all__ = [
    "average_velocity_target", "couple", "dictionary", "guided", "ideal_velocity", "matching_loss", "on_the_path",
    "sample", "straightness",
]  # fmt: skip


# ---------------------------------------------------------------- 1. a straight path


def _ends(g: torch.Generator, *shape: int, **fixed: Tensor) -> dict[str, Tensor]:
    given = {"start": normal(g, *shape), "end": 0.5 + normal(g, *shape)}
    return given | {"t": between(g, 0.15, 0.85, shape[0])} | fixed


@step(
    lambda g: [
        tame("4 square images", **_ends(g, 4, 2, 4, 4)),
        tame("5 points in the plane", **_ends(g, 5, 2)),
        hard("as many points as dimensions", **_ends(g, 3, 3)),
        hard("series of three axes", **_ends(g, 2, 4, 3)),
        hard("a single point on the line", **_ends(g, 1, 1)),
        hard("both ends of time, t = 0 and t = 1", **_ends(g, 2, 3, t=floats(0, 1))),
    ],
    results=("x_t", "the velocity"),
    gradient="start end",
    probe=factors("x_t", "the velocity", start=lambda a, *rest: a, end=lambda a, b, *rest: b),
    passes="a straight line between the ends, at one velocity all the way.",
)
def on_the_path(start: Tensor, end: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Check `on_the_path(start, end, t)`: the place at time t between two ends, and the velocity there.

    start and end (B, ...), t (B,) -> x_t (B, ...) and the velocity (B, ...).

    Example:
        >>> from course import checks
        >>> checks.flow_matching.on_the_path(lambda start, end, t: ((1 - t) * start + t * end, end - start))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: t runs along the last axis: ...
    """
    return _between(start, end, each(t, start)), end - start


def _between(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return (1 - t) * a + t * b


def _place(x_t: Callable[..., Tensor] = _between, shape: Callable = each) -> Callable:
    """Wrong in x_t, made of the ends and of t."""
    return lambda a, b, t: (x_t(a, b, shape(t, a)), None)


def _speed(velocity: Callable[..., Tensor]) -> Callable:
    """Wrong in the velocity, made of the ends and of t."""
    return lambda a, b, t: (None, velocity(a, b, each(t, a)))


on_the_path.wrong = {
    "t runs along the last axis: shape it (B, 1, ...), with as many axes as start.": _place(shape=lambda t, a: t),
    "t has four axes always: count those of start, points have two.": _place(shape=lambda t, a: t.view(-1, 1, 1, 1)),
    "t has two axes always: count those of start, images have four.": _place(shape=lambda t, a: t[:, None]),
    "you use the time of the first example for all: each has its own t.": _place(shape=lambda t, a: t[0]),
    "you use the mean of the times for all: each has its own t.": _place(shape=lambda t, a: t.mean()),
    "the ends have changed places: at t = 0 you are at `end`.": _place(lambda a, b, t: _between(b, a, t)),
    "`start` keeps its whole size: it is multiplied by 1 - t.": _place(lambda a, b, t: a + t * b),
    "the straight path has t and 1 - t, not their roots.": _place(lambda a, b, t: (1 - t).sqrt() * a + t.sqrt() * b),
    "`start` has the factor 1 - t, not the root of 1 - t^2.": _place(lambda a, b, t: (1 - t**2).sqrt() * a + t * b),
    "your path is a quarter of a circle, with cosine and sine: the straight path has 1 - t and t.":
        _place(lambda a, b, t: (t * torch.pi / 2).cos() * a + (t * torch.pi / 2).sin() * b),
    "the velocity has the wrong sign: it leads from `start` to `end`.": _speed(lambda a, b, t: a - b),
    "your velocity is the way that is left, end - x_t: a straight path has the whole way, end - start, at all times.":
        _speed(lambda a, b, t: (1 - t) * (b - a)),
    "your velocity is the way so far, x_t - start: it is all of it, end - start.": _speed(lambda a, b, t: t * (b - a)),
    "your velocity is `end`, a place: the velocity is end - start.": _speed(lambda a, b, t: b),
    "your velocity is end + start: it is their difference.": _speed(lambda a, b, t: b + a),
    "your velocity has the length 1: it leads the whole way in the time 1, so do not divide by its norm.":
        _speed(lambda a, b, t: (b - a) / each((b - a).flatten(1).norm(dim=1), a)),
    "(end - x_t) / (1 - t) is 0/0 at 1: take end - start.": _speed(lambda a, b, t: (b - _between(a, b, t)) / (1 - t)),
    "(x_t - start) / t is 0/0 at t = 0: end - start is the same.": _speed(lambda a, b, t: (_between(a, b, t) - a) / t),
}  # fmt: skip


# ---------------------------------------------------------------- 2. the best velocity


def _to_flow(g: torch.Generator, b: int, n: int, d: int, **fixed: Tensor) -> dict[str, Tensor]:
    given = {"x": 1.5 * normal(g, b, d), "t": between(g, 0.2, 0.7, b), "data": normal(g, n, d)}
    return given | fixed


def _far_away(g: torch.Generator) -> dict[str, Tensor]:
    """A point so far that all weights round to zero, one near by, and one as far from two of the data."""
    data = cat([floats(-1, 1)[:, None] * floats(1, 0), 3 + between(g, 0, 1, 2, 2)])
    x = cat([1e4 * floats(1, 1)[None], normal(g, 1, 2), floats(0, -500)[None]])
    return {"x": x, "t": floats(0.5, 0.3, 0.7), "data": data}


def _nearly_there(g: torch.Generator) -> dict[str, Tensor]:
    data, t = arange(5)[:, None] + between(g, 0, 0.5, 5, 3), 1 - floats(2**-5, 2**-7)
    return {"x": t[:, None] * data[[1, 3]] + 0.2, "t": t, "data": data}


def _squares(x: Tensor, t: Tensor, data: Tensor) -> Tensor:
    """(x - t x_i)^2 of each value, (B, N, D)."""
    return (x[:, None] - t[:, None, None] * data).square()


def _logits(x: Tensor, t: Tensor, data: Tensor) -> Tensor:
    """log p(x_i | x_t) but for a constant, (B, N)."""
    return -_squares(x, t, data).sum(2) / (2 * (1 - t[:, None]) ** 2)


@step(
    lambda g: [
        tame("3 points and 5 data", **_to_flow(g, 3, 5, 4)),
        tame("2 points and 4 data in three dimensions", **_to_flow(g, 2, 4, 3)),
        hard("a single datum", **_to_flow(g, 2, 1, 3)),
        hard("a single point", **_to_flow(g, 1, 3, 4)),
        hard(
            "a point half-way between two data, one of which is there twice",
            x=floats(0, 0)[None], t=floats(0.4), data=floats(1, -1, 1)[:, None] * normal(g, 1, 2),
        ),
        hard("t = 0, where all is noise", **_to_flow(g, 2, 6, 2, t=floats(0, 0))),
        extreme("points far from all data", **_far_away(g)),
        extreme("times near 1", **_nearly_there(g)),
    ],
    probe=factors(**{
        "E[x_1 | x_t]": lambda *given: softmax(_logits(*given), dim=1) @ given[2], "x": lambda x, *rest: x,
    }),
    passes="where the path leads on average, given where it is.",
)  # fmt: skip
def ideal_velocity(x: Tensor, t: Tensor, data: Tensor) -> Tensor:
    r"""Check `ideal_velocity(x, t, data)`: $E[x_1 - x_0 \mid x_t]$ for noise $x_0$ and $x_1$ one of `data`.

    x (B, D), t (B,) below 1, data (N, D), each as probable -> (B, D).

    Example:
        >>> from course import checks
        >>> checks.flow_matching.ideal_velocity(lambda x, t, data: data.mean(dim=0) - x)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for 3 points and 5 data your result is not one number an example times ...
    """
    return _toward(softmax(_logits(x, t, data), dim=1) @ data, x, t)


def _toward(mean: Tensor, x: Tensor, t: Tensor) -> Tensor:
    return (mean - x) / (1 - t[:, None])


def _weighted(logits: Callable, shares: Callable = lambda z: softmax(z, dim=1)) -> Callable:
    """Another mean of the data."""
    return lambda x, t, data: _toward(shares(logits(x, t, data)) @ data, x, t)


def _from_mean(velocity: Callable[..., Tensor]) -> Callable:
    """Made of E[x_1 | x_t], x and t (B, 1)."""
    return lambda x, t, data: velocity(softmax(_logits(x, t, data), dim=1) @ data, x, t[:, None])


def _with_scale(change: Callable[[Tensor], Tensor]) -> Callable:
    """The exponents times something made of t."""
    return _weighted(lambda x, t, data: _logits(x, t, data) * change(t[:, None]))


ideal_velocity.wrong = {
    "this is E[x_1 | x_t]: subtract x, and divide by the time left, 1 - t.": _from_mean(lambda mean, x, t: mean),
    "you do not divide by the time that is left, 1 - t.": _from_mean(lambda mean, x, t: mean - x),
    "you divide by t: the way from x to the end takes the time 1 - t.": _from_mean(lambda mean, x, t: (mean - x) / t),
    "the velocity has the wrong sign: it leads to the mean.": _from_mean(lambda mean, x, t: (x - mean) / (1 - t)),
    "the mean is of the data themselves, not of t x_i.": _from_mean(lambda mean, x, t: (t * mean - x) / (1 - t)),
    "you go to the nearest datum: take the mean of all.": lambda *at: _toward(at[2][_logits(*at).argmax(1)], *at[:2]),
    "this is the mean of all data: those more probable weigh more.": lambda x, t, data: _toward(data.mean(0), x, t),
    "the factor 1/2 in the exponent is missing: the square is divided by 2 (1 - t)^2.": _with_scale(lambda t: 2),
    "the square is multiplied by (1 - t)^2: it is divided by 2 (1 - t)^2.": _with_scale(lambda t: (1 - t) ** 4),
    "1 - t is not squared: the square is divided by 2 (1 - t)^2.": _with_scale(lambda t: 1 - t),
    "you take t for the size of the noise: at time t it is 1 - t.": _with_scale(lambda t: ((1 - t) / t) ** 2),
    "your time runs the other way: the noise is at t = 0.": lambda x, t, data: ideal_velocity.right(x, 1 - t, data),
    "t is missing in the distance: the noise lies around t x_i.":
        _weighted(lambda x, t, data: -(x[:, None] - data).square().sum(2) / (2 * (1 - t[:, None]) ** 2)),
    "the distance is not squared.": _weighted(lambda *at: _logits(*at) / _squares(*at).sum(2).sqrt()),
    "you average the squares over an axis: sum them.": _weighted(lambda x, t, data: _logits(x, t, data) / x.shape[1]),
    "the exponent has the wrong sign: the data furthest away get the largest weights.": _with_scale(lambda t: -1),
    "your weights add up to one over the batch, not over the data.": _weighted(_logits, lambda z: softmax(z, dim=0)),
    "your weights do not add up to one: divide by their sum over the data.": _weighted(_logits, exp),
    "far from all data every weight rounds to zero, and 0/0 is NaN: keep the exponents, and take their `softmax`.":
        _weighted(_logits, lambda z: exp(z) / exp(z).sum(1, keepdim=True)),
    "you use the first time for all: each has its own.": lambda x, t, data: ideal_velocity.right(x, 0 * t + t[0], data),
}  # fmt: skip


# ---------------------------------------------------------------- 3. the loss


def _check_times(x: Tensor, **times: Any) -> None:
    """Refuse what is no time an example, as networks do."""
    for name, t in times.items():
        if not isinstance(t, Tensor) or t.shape != x.shape[:1]:
            shape = tuple(t.shape) if isinstance(t, Tensor) else "of no tensor"
            words = f"the function that you call is given a `{name}` of the shape {shape}:"
            raise Wrong(f"{words} it takes one for each example, (B,).")


def _field(g: torch.Generator, *shape: int) -> Answer:
    """A velocity, of x (B, *shape) and t (B,), with parameters of its own for each value."""
    scale, shift = 1.5 * normal(g, *shape), normal(g, *shape)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        _check_times(x, t=t)
        return tanh(scale * x + 2 * each(t, x)) + each(t, x) ** 2 * shift

    return velocity


def _to_match(g: torch.Generator, *shape: int, **fixed: Tensor) -> dict[str, Any]:
    return {"velocity": _field(g, *shape[1:]), **_ends(g, *shape, **fixed)}


def _gradient_of_the_loss(answer: Answer, g: torch.Generator) -> str | None:
    given = _to_match(g, 5, 2, 3)
    plain, size = given["velocity"], floats(0.7).requires_grad_()

    def learning(x: Tensor, t: Tensor) -> Tensor:
        return size * plain(x, t)

    case = Case("a velocity that learns", given | {"velocity": learning})
    loss = call("matching_loss", answer, case)
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        return "no gradient reaches the velocity: leave out `.item()`, `.detach()` and `torch.no_grad()`."
    got = grad(loss, size, allow_unused=True, materialize_grads=True)[0]
    wanted = grad(matching_loss.right(learning, *list(given.values())[1:]), size)[0]
    if not same(100 * got, 100 * wanted):
        return "the loss is right, but the gradient that reaches the velocity is not: is something detached?"
    return None


@step(
    lambda g: [
        tame("4 series of 4 places", **_to_match(g, 4, 3, 4)),
        tame("3 images", **_to_match(g, 3, 2, 2, 5)),
        tame("5 points in the plane", **_to_match(g, 5, 2)),
        hard("a single point", **_to_match(g, 1, 3)),
        hard("both ends of time, t = 0 and t = 1", **_to_match(g, 2, 4, t=floats(0, 1))),
    ],
    live=[_gradient_of_the_loss],
    passes="the mean square between the velocity at x_t and that of the path.",
)
def matching_loss(velocity: Answer, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Check `matching_loss(velocity, start, end, t)`: the conditional flow matching loss of a batch.

    `velocity` maps x (B, ...) and t (B,) to (B, ...); start and end (B, ...) -> a number, the mean square over all
    values of all examples.

    Example:
        >>> from course import checks
        >>> checks.flow_matching.matching_loss(lambda f, start, end, t: (f(start, t) - end).square().mean())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for 4 series of 4 places the result of `matching_loss` is wrong: ...
    """
    return _misses(velocity, start, end, t).square().mean()


def _misses(velocity: Answer, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    x_t, wanted = on_the_path.right(start, end, t)
    return velocity(x_t, t) - wanted


def _mean_of(number: Callable[[Tensor], Tensor]) -> Callable:
    """Another number made of the errors, (B, D)."""
    return lambda *given: number(_misses(*given).flatten(1))


def _asked(
    place: Callable[..., Tensor] = _between,
    time: Callable[[Tensor], Tensor] = lambda t: t,
    target: Callable[..., Tensor] = lambda a, b, x_t, t: b - a,
) -> Callable:
    """The loss with the velocity asked somewhere else, or held against something else."""

    def wrong(f: Answer, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        x_t = place(a, b, each(t, a))
        return (f(x_t, time(t)) - target(a, b, x_t, each(t, a))).square().mean()

    return wrong


matching_loss.wrong = {
    "the velocity is asked at `end`: ask it at x_t.": _asked(lambda a, b, t: b),
    "the velocity is asked at `start`: ask it at x_t.": _asked(lambda a, b, t: a),
    "x_t and velocity have changed places.": _asked(lambda a, b, t: b - a, target=lambda a, b, _, t: _between(a, b, t)),
    "the ends have changed places in x_t: at t = 0 it is `start`.": _asked(lambda a, b, t: _between(b, a, t)),
    "the ends have changed places, in path and target.": lambda f, a, b, t: matching_loss.right(f, b, a, t),
    "the velocity is asked at t = 0 alone: ask it at t.": _asked(time=lambda t: 0 * t),
    "the velocity is asked at the time 1 - t: ask it at t.": _asked(time=lambda t: 1 - t),
    "you use the first time for all: each has its own.": lambda f, a, b, t: matching_loss.right(f, a, b, 0 * t + t[0]),
    "the target is `end`, as of a denoiser: that of a velocity is end - start.": _asked(target=lambda a, b, x_t, t: b),
    "the target is `start`, the noise: that of a velocity is end - start.": _asked(target=lambda a, b, x_t, t: a),
    "the target has the wrong sign: the velocity of the path is end - start.": _asked(target=lambda a, b, *at: a - b),
    "the target is x_t: it is end - start.": _asked(target=lambda a, b, x_t, t: x_t),
    "the target is the way that is left: it is end - start.": _asked(target=lambda a, b, x_t, t: b - x_t),
    "at t = 1 your target is 0, as (end - x_t) / (1 - t) is with a small number added: it is end - start.":
        _asked(target=lambda a, b, x_t, t: (b - a) * (t < 1)),
    "the error is not squared: this is its size.": _mean_of(lambda e: e.abs().mean()),
    "you average before you square, and errors cancel: square each.": _mean_of(lambda e: e.mean().square()),
    "this is the root of the loss: it is the mean square itself.": _mean_of(lambda e: e.square().mean().sqrt()),
    "you sum over the values of an example: average over them.": _mean_of(lambda e: e.square().sum(1).mean()),
    "you sum over the examples: average over them.": _mean_of(lambda e: e.square().mean(1).sum()),
    "you return one number an example: average over them too.": _mean_of(lambda e: e.square().mean(1)),
}  # fmt: skip


# ---------------------------------------------------------------- 4. a sampler


def _to_follow(g: torch.Generator, steps: int, *shape: int, **fixed: Any) -> dict[str, Any]:
    given = {"velocity": _field(g, *shape[1:]), "start": 1.5 * normal(g, *shape), "steps": steps}
    return given | fixed


@step(
    lambda g: [
        tame("4 points and 5 steps", **_to_follow(g, 5, 4, 3)),
        tame("3 images and 3 steps", **_to_follow(g, 3, 3, 1, 2, 2)),
        hard("a single step", **_to_follow(g, 1, 3, 2)),
        hard("a single point on the line", **_to_follow(g, 2, 1, 1)),
        hard("a velocity of the time alone", **_to_follow(g, 4, 2, 3, velocity=lambda x, t: 0 * x + each(t, x) ** 2)),
        hard("a velocity of the place alone", **_to_follow(g, 4, 3, 2, velocity=lambda x, t: -2 * x)),
        extreme("points far away", **_to_follow(g, 4, 3, 2, start=500 + 100 * normal(g, 3, 2))),
    ],
    passes="from 0 to 1, and each step looks at its middle first.",
)  # fmt: skip
def sample(velocity: Answer, start: Tensor, steps: int) -> Tensor:
    """Check `sample(velocity, start, steps)`: from t = 0 to 1 in even steps of the midpoint rule.

    `velocity` maps x (B, ...) and t (B,) to dx/dt (B, ...); start (B, ...) -> x at t = 1, (B, ...).

    Example:
        >>> from course import checks
        >>> checks.flow_matching.sample(lambda velocity, start, steps: start)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for 4 points and 5 steps the result of `sample` is wrong: ...
    """
    return _march(velocity, start, _even(steps), _midpoint)


def _even(steps: int) -> list[float]:
    return [k / steps for k in range(steps + 1)]


def _march(velocity: Answer, x: Tensor, times: list[float], rule: Callable[..., Tensor]) -> Tensor:
    """x at the last of these times, by a rule that is given v(x, t), x, t and the length of the step."""

    def v(x: Tensor, t: float) -> Tensor:
        return velocity(x, full((len(x),), t).to(x))

    for t, s in zip(times[:-1], times[1:], strict=True):
        x = rule(v, x, t, s - t)
    return x


def _midpoint(v: Callable, x: Tensor, t: float, h: float) -> Tensor:
    return x + h * v(x + h / 2 * v(x, t), t + h / 2)


def _euler(v: Callable, x: Tensor, t: float, h: float) -> Tensor:
    return x + h * v(x, t)


def _by(rule: Callable[..., Tensor]) -> Callable:
    """Even steps of another rule."""
    return lambda velocity, start, steps: _march(velocity, start, _even(steps), rule)


def _from_middle(rule: Callable[..., Tensor]) -> Callable:
    """A rule that is also given the middle, x + h/2 v(x, t)."""
    return _by(lambda v, x, t, h: rule(v, x, x + h / 2 * v(x, t), t, h))


def _at_times(times: Callable[[int], list[float]]) -> Callable:
    return lambda velocity, start, steps: _march(velocity, start, times(steps), _midpoint)


sample.wrong = {
    "these are Euler's steps: take each with the velocity in its middle.": _by(_euler),
    "these are Heun's steps, with the mean of the velocities at both ends: take the one in the middle.":
        _by(lambda v, x, t, h: x + h / 2 * (v(x, t) + v(x + h * v(x, t), t + h))),
    "you go a whole step to the middle: it is h/2 v.": _by(lambda v, x, t, h: x + h * v(x + h * v(x, t), t + h / 2)),
    "h/2 later you ask where the step begins: go half a step first.": _by(lambda v, x, t, h: x + h * v(x, t + h / 2)),
    "the middle is at t + h/2: you ask there at t.": _from_middle(lambda v, x, m, t, h: x + h * v(m, t)),
    "the middle is at t + h/2: you ask there at t + h.": _from_middle(lambda v, x, m, t, h: x + h * v(m, t + h)),
    "your times are late by a step: the first begins at t = 0.": _by(lambda v, x, t, h: _midpoint(v, x, t + h, h)),
    "your times are 0, 1, 2 and so on: step k begins at k h.": _by(lambda v, x, t, h: _midpoint(v, x, t / h, h)),
    "your last step begins at t = 1, not 1 - h.": _by(lambda v, x, t, h: _midpoint(v, x, t / max(1 - h, h), h)),
    "you take the whole step from the middle: take it from where the step begins.":
        _from_middle(lambda v, x, m, t, h: m + h * v(m, t + h / 2)),
    "this is the mean of both velocities, or two Euler steps of half the length: take the one in the middle alone.":
        _from_middle(lambda v, x, m, t, h: m + h / 2 * v(m, t + h / 2)),
    "each step begins at `start`: it begins where the last one ended.": lambda f, a, n:
        _march(f, a, _even(n), lambda v, x, t, h: _midpoint(v, x, t, h) + a - x),
    "x goes against the velocity: add h v.": _by(lambda v, x, t, h: x - h * v(x - h / 2 * v(x, t), t + h / 2)),
    "x moves by v, not by h v.": _from_middle(lambda v, x, m, t, h: x + v(m, t + h / 2)),
    "you go from t = 1 to t = 0: the noise is at 0 and the data at 1.": _at_times(lambda n: _even(n)[::-1]),
    "the last step is missing: `steps` steps of the length 1 / steps.": _at_times(lambda n: _even(n)[:-1]),
    "the first step is missing: begin at t = 0.": _at_times(lambda n: _even(n)[1:]),
    "you take a step too many, beyond t = 1.": _at_times(lambda n: [*_even(n), 1 + 1 / n]),
    "only one step is taken: does `return` stand in the loop?": _at_times(lambda n: _even(n)[:2]),
    "you return the middle of the last step: return its end.": lambda f, x, n: _march(
        f, _march(f, x, _even(n)[:-1], _midpoint), [1 - 1 / n, 1], lambda v, x, t, h: x + h / 2 * v(x, t)),
    "you return all places on the way: return the last.":
        lambda f, a, n: stack([_march(f, a, _even(n)[: k + 1], _midpoint) for k in range(n + 1)]),
}  # fmt: skip


# ---------------------------------------------------------------- 5. the dictionary


def _to_translate(g: torch.Generator, *shape: int, **fixed: Tensor) -> dict[str, Tensor]:
    names = "alpha", "sigma", "alpha_slope", "sigma_slope"
    ranges = (0.2, 0.9), (0.3, 1.5), (0.5, 1.5), (-1.5, -0.5)
    levels = {name: between(g, *both, shape[0]) for name, both in zip(names, ranges, strict=True)}
    return {"u": normal(g, *shape), "x_t": 1.5 * normal(g, *shape)} | levels | fixed


@step(
    lambda g: [
        tame("4 square images", **_to_translate(g, 4, 2, 4, 4)),
        tame("5 points in the plane", **_to_translate(g, 5, 2)),
        hard("as many points as dimensions", **_to_translate(g, 3, 3)),
        hard("a single point", **_to_translate(g, 1, 4)),
        hard("the straight path", **_to_translate(
            g, 1, 3, alpha=floats(0.2), sigma=floats(0.8), alpha_slope=floats(1), sigma_slope=floats(-1))),
        hard("alpha = 0, at t = 0", **_to_translate(g, 2, 3, alpha=floats(0, 0), sigma=floats(1, 1))),
        hard("little noise", **_to_translate(g, 2, 3, sigma=floats(2**-6, 2**-7))),
    ],
    results=("the denoised x", "the noise", "the score"),
    gradient="u x_t",
    probe=factors(
        "the denoised x", "the noise", "the score", u=lambda u, *rest: u, x_t=lambda u, x_t, *rest: x_t
    ),
    passes="one velocity gives the denoised x, the noise and the score, on every path.",
)  # fmt: skip
def dictionary(
    u: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor, alpha_slope: Tensor, sigma_slope: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Check `dictionary(u, x_t, alpha, sigma, alpha_slope, sigma_slope)`: what follows from a velocity.

    u, the velocity at x_t (B, ...); the path's factors and their derivatives by t, (B,) -> $E[x \mid x_t]$,
    $E[\epsilon \mid x_t]$ and the score, (B, ...) each.

    Example:
        >>> from course import checks
        >>> checks.flow_matching.dictionary(
        ...     lambda u, x_t, alpha, sigma, alpha_slope, sigma_slope: (x_t + u, x_t, -x_t)
        ... )
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: in the denoised x of example ... the factor of `u` is ...
    """
    return _translated(u, x_t, alpha, sigma, alpha_slope, sigma_slope)


Level = Callable[..., Any]


def _translated(
    u: Tensor,
    x_t: Tensor,
    *levels: Tensor,
    denoised: Level = lambda u, x_t, a, s, da, ds, d: (ds * x_t - s * u) / d,
    noise: Level = lambda u, x_t, a, s, da, ds, d: (a * u - da * x_t) / d,
    score: Level = lambda noise, s: -noise / s,
    d: Level = lambda a, s, da, ds: a * ds - da * s,
    shape: Level = each,
) -> tuple:
    shaped = [shape(level, x_t) for level in levels]
    given = (u, x_t, *shaped, d(*shaped))
    eps = noise(*given)
    return denoised(*given), eps, score(eps, shaped[1])


def _but(**change: Level) -> Callable:
    """The three results with some of this otherwise."""
    return lambda *given: _translated(*given, **change)


dictionary.wrong = {
    "the levels run along the last axis: shape them (B, 1, ...), as x_t has axes.": _but(shape=lambda level, x: level),
    "the levels have two axes always: images have four.": _but(shape=lambda level, x: level[:, None]),
    "you use the levels of the first example for all: each has its own.": _but(shape=lambda level, x: level[0]),
    "these are the formulas of the straight path, whose slopes are 1 and -1: use those that are given.":
        _but(denoised=lambda u, x_t, a, s, *rest: x_t + s * u, noise=lambda u, x_t, a, s, *rest: x_t - a * u),
    "d is -1 on the straight path alone: alpha sigma' - alpha' sigma.": _but(d=lambda *levels: -1),
    "sigma' is -alpha' on the straight path alone: use both.": lambda *given: dictionary.right(*given[:-1], -given[-2]),
    "d has the wrong sign: alpha sigma' - alpha' sigma.": _but(d=lambda a, s, da, ds: da * s - a * ds),
    "d is a difference: alpha sigma' - alpha' sigma.": _but(d=lambda a, s, da, ds: a * ds + da * s),
    "d is missing: divide by alpha sigma' - alpha' sigma.": _but(d=lambda a, s, da, ds: 1),
    "the denoised x has the wrong sign: (sigma' x_t - sigma u) / d.":
        _but(denoised=lambda u, x, a, s, da, ds, d: (s * u - ds * x) / d),
    "the noise has the wrong sign: alpha u is first.": _but(noise=lambda u, x, a, s, da, ds, d: (da * x - a * u) / d),
    "u and x_t have changed places.": lambda u, x_t, *levels: dictionary.right(x_t, u, *levels),
    "the score is made of the noise, - noise / sigma, not of the denoised x.":
        lambda *given: (None, None, -dictionary.right(*given)[0] / each(given[3], given[1])),
    "the denoised x and the noise have changed places (or alpha and sigma).": lambda *given: (
        lambda x, eps, score: (eps, x, -x / each(given[3], x)))(*dictionary.right(*given)),
    "(x_t - sigma noise) / alpha is 0/0 at alpha = 0: (sigma' x_t - sigma u) / d holds there too.":
        _but(denoised=lambda u, x_t, a, s, da, ds, d: (x_t - s * (a * u - da * x_t) / d) / a),
    "the score has the wrong sign: it is - noise / sigma.": _but(score=lambda eps, s: eps / s),
    "the score is not divided by sigma: - noise / sigma.": _but(score=lambda eps, s: -eps),
    "the score is divided by sigma^2: it is - noise / sigma.": _but(score=lambda eps, s: -eps / s**2),
}  # fmt: skip


# ---------------------------------------------------------------- 6. couplings


def _to_couple(g: torch.Generator, *shape: int, **fixed: Tensor) -> dict[str, Tensor]:
    return {"start": normal(g, *shape), "end": 0.3 + 1.5 * normal(g, *shape)} | fixed


def _apart(start: Tensor, end: Tensor) -> Tensor:
    return (start[:, None] - end[None]).flatten(2)


def _costs(start: Tensor, end: Tensor) -> Tensor:
    """The squared distance of each start from each end, (B, B)."""
    return _apart(start, end).square().sum(2)


def _least(costs: Tensor) -> Tensor:
    """For each end the start that goes with it where the sum is least."""
    return torch.as_tensor(linear_sum_assignment(costs.T.detach().numpy())[1])


def _canonical(made: Any, start: Tensor, end: Tensor) -> Any:
    """The right result in the place of any that is as good; all else as it is."""
    if not isinstance(made, Tensor) or made.shape != start.shape or not _is_rearranged(made, start):
        return made
    best = couple.right(start, end)
    costs = [(x - end).detach().double().square().sum().item() for x in (made, best)]
    return best if costs[0] <= costs[1] + 1e-5 * (1 + costs[1]) else made


def _is_rearranged(made: Tensor, start: Tensor) -> bool:
    rows = [sorted(x.flatten(1).tolist()) for x in (made, start)]
    return made.is_floating_point() and rows[0] == rows[1]


def _no_rearrangement(case: Case, got: Tensor, want: Tensor) -> str:
    if not _is_rearranged(got, want):
        return f"for {case.label} your result is no other order of `start`: each of its examples must stand there once."
    sums = [f"{(x - case.arguments['end']).square().sum().item():.5g}" for x in (got, want)]
    of = f"for {case.label} the squared distances of your pairs add up to {sums[0]}, and"
    return f"{of} {sums[1]} is possible: do you add up squares, and is the order the best of all?"


@step(
    lambda g: [
        tame("9 points in the plane", **_to_couple(g, 9, 2)),
        tame("6 images", **_to_couple(g, 6, 1, 2, 3)),
        hard("a long way and none, or two middling ones",
             start=floats(0, 0, 4, 1).view(2, 2), end=floats(4, 1, 7, 0).view(2, 2)),
        hard("one way, or two shorter ones", start=floats(0, 0, 5, 4).view(2, 2), end=floats(0, 0, 5, -4).view(2, 2)),
        hard("an end whose nearest start another end needs more",
             start=floats(0, 1, 5)[:, None], end=floats(0.6, 2, 6)[:, None] + between(g, 0, 0.1, 1, 1)),
        hard("as many points as dimensions", **_to_couple(g, 4, 4)),
        hard("5 points on the line", **_to_couple(g, 5, 1)),
        hard("a single pair", **_to_couple(g, 1, 3)),
        hard("a start that is there twice", start=floats(1, 1, -2)[:, None], end=floats(-1, 0, 2)[:, None]),
        hard("a tie", start=floats(1, 0, -1, 0).view(2, 2), end=floats(0, 1, 0, -1).view(2, 2)),
    ],
    read=_canonical,
    probe=_no_rearrangement,
    passes="the pairs with the least sum of squared distances.",
)  # fmt: skip
def couple(start: Tensor, end: Tensor) -> Tensor:
    """Check `couple(start, end)`: `start` in the order whose squared distances from `end` add up to least.

    start and end (B, ...) -> (B, ...), each example of start once. Of several best orders any will do.

    Example:
        >>> from course import checks
        >>> checks.flow_matching.couple(lambda start, end: start)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you return `start` as it came: ...
    """
    return start[_least(_costs(start, end))]


def _greedy(costs: Tensor) -> Tensor:
    """For each row in turn the cheapest column that is left."""
    costs, chosen = costs.clone(), []
    for row in costs:
        chosen.append(int(row.argmin()))
        costs[:, chosen[-1]] = torch.inf
    return torch.as_tensor(chosen)


def _by_costs(costs: Callable[..., Tensor]) -> Callable:
    return lambda start, end: start[_least(costs(start, end))]


def _sorted_alike(start: Tensor, end: Tensor) -> Tensor:
    first = [x.flatten(1)[:, 0].argsort() for x in (start, end)]
    return start[first[0]][first[1].argsort()]


couple.wrong = {
    "you return `start` as it came: its order is in `columns`, not in `rows`.": lambda start, end: start,
    "you put `end` in another order: do so with `start`.": lambda start, end: end[_least(_costs(end, start))],
    "each end takes the nearest start, and some come twice.": lambda start, end: start[_costs(start, end).argmin(0)],
    "you return the nearest end of each start: reorder `start`.": lambda start, end: end[_costs(start, end).argmin(1)],
    "each end in turn takes the nearest start that is left, and the last ones pay for it: minimise the whole sum.":
        lambda start, end: start[_greedy(_costs(start, end).T)],
    "each start in turn takes the nearest end that is left, and the last ones pay for it: minimise the whole sum.":
        lambda start, end: start[_greedy(_costs(start, end)).argsort()],
    "`columns` says which end belongs to each start: you need the start of each end, so let rows be ends (`.T`).":
        lambda start, end: start[_least(_costs(start, end)).argsort()],
    "the distances are not squared.": _by_costs(lambda a, b: _costs(a, b).sqrt()),
    "you add up the sizes of the differences: square them.": _by_costs(lambda a, b: _apart(a, b).abs().sum(2)),
    "you square the sum of the differences: square each.": _by_costs(lambda a, b: _apart(a, b).sum(2).square()),
    "you sum over the starts, not the values.": lambda a, b: a[linear_sum_assignment(_apart(b, a).square().sum(1))[1]],
    "the sum is as large as it can be: make it as small.": _by_costs(lambda a, b: -_costs(a, b)),
    "only the first coordinate counts, as if you sort by it: this is best on the line alone.": _sorted_alike,
    "you return the order: return `start` in this order.": lambda start, end: _least(_costs(start, end)),
}  # fmt: skip


# ---------------------------------------------------------------- 7. straightness


@step(
    lambda g: [
        tame("4 points and 5 steps", **_to_follow(g, 5, 4, 3)),
        tame("3 images and 3 steps", **_to_follow(g, 3, 3, 1, 2, 2)),
        hard("a single step", **_to_follow(g, 1, 3, 2)),
        hard("two steps of a point on the line", **_to_follow(g, 2, 1, 1)),
        hard("a straight path", **_to_follow(g, 4, 2, 3, velocity=lambda x, t: 0 * x + 1.5)),
        hard("a velocity of the time alone", **_to_follow(g, 4, 2, 3, velocity=lambda x, t: 0 * x + each(t, x) ** 2)),
        hard("a velocity of the place alone", **_to_follow(g, 4, 3, 2, velocity=lambda x, t: -2 * x)),
    ],
    passes="0 for straight paths at even speed, and for no others.",
)  # fmt: skip
def straightness(velocity: Answer, start: Tensor, steps: int) -> Tensor:
    r"""Check `straightness(velocity, start, steps)`: the mean of $\|(x_1 - x_0) - v(x_t, t)\|^2$ along Euler's path.

    `velocity` maps x (B, ...) and t (B,) to (B, ...); start (B, ...) -> a number: summed over the values of an
    example, averaged over steps and examples.

    Example:
        >>> from course import checks
        >>> checks.flow_matching.straightness(lambda velocity, start, steps: start.square().sum())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for 4 points and 5 steps the result of `straightness` is wrong: ...
    """
    return _mean_square(_bends(velocity, start, steps))


def _bends(
    velocity: Answer,
    start: Tensor,
    steps: int,
    rule: Callable[..., Tensor] = _euler,
    way: Callable[..., Tensor] = lambda x, end: end - x,
    ask: Callable[..., Tensor] = lambda v, x, start, t, h: v(x, t),
) -> Tensor:
    """(x_1 - x_0) - v for each step, (steps, B, D): with another rule, or a velocity that is asked elsewhere."""
    asked = []

    def remembers(v: Callable, x: Tensor, t: float, h: float) -> Tensor:
        asked.append(ask(v, x, start, t, h))
        return rule(v, x, t, h)

    end = _march(velocity, start, _even(steps), remembers)
    return (way(start, end) - stack(asked)).flatten(2)


def _mean_square(bends: Tensor) -> Tensor:
    return bends.square().sum(2).mean()


def _bent(number: Callable[[Tensor], Tensor] = _mean_square, **change: Callable) -> Callable:
    return lambda velocity, start, steps: number(_bends(velocity, start, steps, **change))


def _as_it_is(number: Callable[[Tensor], Tensor]) -> Callable:
    return lambda f, x, n: number(_bends(f, x, n).view(n, *x.shape))


def _later(velocity: Answer, start: Tensor, steps: int, by: float) -> Tensor:
    return straightness.right(lambda x, t: velocity(x, t + by / steps), start, steps)


straightness.wrong = {
    "you average over the values of an example: sum over them.": _bent(lambda bends: bends.square().mean()),
    "you sum over the last axis alone: over all (`flatten(2)`).": _as_it_is(lambda e: e.square().sum(-1).mean()),
    "you sum over one axis alone: over all (`flatten(2)`).": _as_it_is(lambda e: e.square().sum(2).mean()),
    "you sum over the steps: average over them.": _bent(lambda bends: bends.square().sum(2).mean(1).sum()),
    "you divide by steps - 1: divide by steps.": _bent(
        lambda bends: (bends - bends.mean(0)).square().sum(2).mean(1).sum() / (len(bends) - 1)),
    "only the last step counts: average over all.": _bent(lambda bends: bends[-1].square().sum(1).mean()),
    "you sum over the examples: average over them.": _bent(lambda bends: bends.square().sum(2).mean(0).sum()),
    "you take the root of the sum: the norm is squared.": _bent(lambda bends: bends.square().sum(2).sqrt().mean()),
    "you add up the sizes of the differences: square each.": _bent(lambda bends: bends.abs().sum(2).mean()),
    "you average over the steps before you square, and it cancels.": _bent(lambda bends: bends.mean(0).square().sum()),
    "you return one number an example: average over them too.": _bent(lambda bends: bends.square().sum(2).mean(0)),
    "the way has the wrong sign, or the velocity is added: (x_1 - x_0) - v.": _bent(way=lambda x, end: x - end),
    "the way is missing: subtract the velocity from x_1 - x_0.": _bent(way=lambda x, end: 0 * x),
    "x_1 is a place: the way is x_1 - x_0.": _bent(way=lambda x, end: end),
    "the way is x_1 - x_0 at all times, not x_1 - x_t.": _bent(ask=lambda v, x, a, t, h: v(x, t) + x - a),
    "you take the way so far: it is all of it, x_1 - x_0.":
        _bent(way=lambda a, _: -a, ask=lambda v, x, a, t, h: (1 - h) * v(x, t) - x),
    "you compare the way with h v: compare it with v.": _bent(ask=lambda v, x, a, t, h: h * v(x, t)),
    "the velocity is asked at `start` at all times: ask on the path.": _bent(ask=lambda v, x, a, t, h: v(a, t)),
    "you ask where each step ends: ask where it begins.": _bent(ask=lambda v, x, a, t, h: v(x + h * v(x, t), t + h)),
    "the velocity is asked on the straight line from x_0 to x_1: ask it on the path.": lambda f, a, n: _mean_square(
        _bends(f, a, n, ask=lambda v, x, a, t, h: v(torch.lerp(a, _march(f, a, _even(n), _euler), t), t))),
    "your times are late by a step: the first is 0.": lambda f, x, n: _later(f, x, n, 1),
    "your times are the middles of the steps: ask where each begins.": lambda f, x, n: _later(f, x, n, 0.5),
    "x moves by v, not by h v.": _bent(rule=lambda v, x, t, h: x + v(x, t)),
    "x_1 comes from the midpoint rule: it is the end of Euler's path, whose velocities you compare.":
        lambda f, x, n: _mean_square(_bends(f, x, n, way=lambda a, end: sample.right(f, a, n) - a)),
    "x_1 is where the last step ends: yours is where it begins.": lambda f, x, n: _mean_square(
        _bends(f, x, n, way=lambda a, end: _march(f, a, _even(n)[:-1], _euler) - a)),
    "these are the steps of the midpoint rule: go Euler's.": _bent(rule=_midpoint),
}  # fmt: skip


# ---------------------------------------------------------------- 8. guidance


def _to_guide(g: torch.Generator, w: float, y: list[int], none: int, *shape: int) -> dict[str, Any]:
    plain, b = _field(g, *shape), len(y)
    shift = normal(g, max(*y, none) + 2, *shape)  # so that label -1 is none of them

    def velocity(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        _check_times(x, t=t, y=y)
        if y.is_floating_point():
            words = "whole numbers, as y is, and come last, after x and t."
            raise Wrong(f"`velocity` is given labels of {y.dtype}: they are {words}")
        return plain(x, t) + (1 + each(t, x)) * shift[y]

    x, t = 1.5 * normal(g, b, *shape), between(g, 0.1, 0.9, b)
    return {"velocity": velocity, "x": x, "t": t, "y": torch.tensor(y), "none": none, "w": w}


@step(
    lambda g: [
        tame("4 images and w = 3", **_to_guide(g, 3.0, [2, 1, 3, 1], 4, 2, 2, 2)),
        tame("3 points and w = 1.5", **_to_guide(g, 1.5, [1, 2, 1], 3, 2)),
        hard("w = 0, where the labels do not count", **_to_guide(g, 0.0, [0, 1], 2, 3)),
        hard("w = 1, where only they count", **_to_guide(g, 1.0, [0, 1, 1], 2, 2)),
        hard("w = 1/2 and a single point", **_to_guide(g, 0.5, [3], 5, 3)),
        hard("`none` = 0", **_to_guide(g, 7.5, [2, 1], 0, 4)),
    ],
    probe=factors(**{
        "u(y)": lambda f, x, t, y, *rest: f(x, t, y), "u(none)": lambda f, x, t, y, none, w: f(x, t, 0 * y + none),
    }),
    passes="from the velocity without a label, w times the way to that with it.",
)  # fmt: skip
def guided(velocity: Answer, x: Tensor, t: Tensor, y: Tensor, none: int, w: float) -> Tensor:
    """Check `guided(velocity, x, t, y, none, w)`: a velocity with classifier-free guidance.

    `velocity` maps x (B, ...), t and labels (B,) to (B, ...); y are the labels wanted, `none` is the label that
    stands for "not told", w a number -> u(none) + w (u(y) - u(none)), (B, ...).

    Example:
        >>> from course import checks
        >>> checks.flow_matching.guided(lambda velocity, x, t, y, none, w: w * velocity(x, t, y))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: u(none) is missing, ...
    """
    without = velocity(x, t, 0 * y + none)
    return without + w * (velocity(x, t, y) - without)


def _both(mix: Callable[..., Tensor]) -> Callable:
    """From the velocity with the label, that without it, and w."""
    return lambda velocity, x, t, y, none, w: mix(
        velocity(x, t, y), velocity(x, t, 0 * y + none), w
    )


guided.wrong = {
    "u(none) is missing, or cancels: go from there, w times u(y) - u(none).": _both(lambda a, b, w: w * a),
    "u(y) and u(none) have changed places: w = 0 must forget the label.": _both(lambda a, b, w: a + w * (b - a)),
    "w = 1 must be u(y), which is yours at w = 0, as Ho & Salimans count.": _both(lambda a, b, w: a + w * (a - b)),
    "the difference has the wrong sign: the way leads from u(none) to u(y).": _both(lambda a, b, w: b + w * (b - a)),
    "you add all of u(y): add the difference, u(y) - u(none).": _both(lambda a, b, w: b + w * a),
    "this is a mean of both, with the weights 1 and w.": _both(lambda a, b, w: (b + w * a) / (1 + w)),
    "this is the difference alone: begin at u(none).": _both(lambda a, b, w: w * (a - b)),
    "the weight is missing: this is u(y).": _both(lambda a, b, w: a),
    "the label is missing: this is u(none).": _both(lambda a, b, w: b),
    "1 - w is negative for w above 1: no absolute value.": _both(lambda a, b, w: w * a + abs(1 - w) * b),
    "you stop at u(y): with w above 1 guidance goes beyond.": _both(lambda a, b, w: b + min(w, 1.0) * (a - b)),
    "below w = 1 you return u(y): w counts there too.": _both(lambda a, b, w: b + max(w, 1.0) * (a - b)),
    'you take label 0 for "not told": it is `none`.': lambda f, x, t, y, none, w: guided.right(f, x, t, y, 0, w),
    'you take label -1 for "not told": it is `none`.': lambda f, x, t, y, none, w: guided.right(f, x, t, y, -1, w),
    "the first label is used for all: each has one.": lambda f, x, t, y, *at: guided.right(f, x, t, 0 * y + y[0], *at),
}  # fmt: skip


# ---------------------------------------------------------------- 9. the average velocity


def _to_average(g: torch.Generator, *shape: int, **fixed: Any) -> dict[str, Any]:
    scale, shift, b = normal(g, *shape[1:]), normal(g, *shape[1:]), shape[0]

    def u(x: Tensor, t: Tensor, r: Tensor) -> Tensor:
        _check_times(x, t=t, r=r)
        t, r = each(t, x), each(r, x)
        return tanh(scale * x + x.roll(1, -1) - t) + shift * t**2 + torch.sin(2 * r) * (1 + t * x)

    t, gap = between(g, 0.1, 0.5, b), between(g, 0.2, 0.5, b)
    x, v = normal(g, *shape), 1 + normal(g, *shape)
    return {"u": u, "x": x, "t": t, "r": t + gap, "v": v} | fixed


def _detached(answer: Answer, g: torch.Generator) -> str | None:
    given, size = _to_average(g, 3, 2), floats(0.7).requires_grad_()
    plain = given["u"]

    def learning(x: Tensor, t: Tensor, r: Tensor) -> Tensor:
        return size * plain(x, t, r)

    made = call("average_velocity_target", answer, Case("a u that learns", given | {"u": learning}))
    if isinstance(made, Tensor) and made.requires_grad:
        return "the values are right, but a gradient flows through your target: return it with `.detach()`."
    return None


@step(
    lambda g: [
        tame("4 series of 4 places", **_to_average(g, 4, 4, 4)),
        tame("3 images", **_to_average(g, 3, 2, 2, 5)),
        tame("5 points in the plane", **_to_average(g, 5, 2)),
        hard("a single point on the line", **_to_average(g, 1, 1)),
        hard("r = t, with nothing between", **_to_average(g, 2, 3, t=floats(0.2, 0.6), r=floats(0.2, 0.6))),
        hard("the whole way, from 0 to 1", **_to_average(g, 3, 3, t=floats(0, 0, 0), r=floats(1, 1, 1))),
    ],
    probe=factors(v=lambda *given: given[4], **{"du/dt": lambda u, x, t, r, v: _slope(u, x, t, r, (v, t**0, 0 * r))}),
    live=[_detached],
    passes="v, and how the average changes where the path goes.",
)  # fmt: skip
def average_velocity_target(u: Answer, x: Tensor, t: Tensor, r: Tensor, v: Tensor) -> Tensor:
    r"""Check `average_velocity_target(u, x, t, r, v)`: what u should be, $v + (r - t) \frac{d}{dt} u$.

    `u` maps x (B, ...), t and r (B,) to (B, ...), the average velocity from t to r; x and v (B, ...), t and r >= t
    (B,) -> (B, ...), detached. The derivative is along the path: x moves with v, t with 1, and r stays.

    Example:
        >>> from course import checks
        >>> checks.flow_matching.average_velocity_target(lambda u, x, t, r, v: v)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is v, the target of flow matching: ...
    """
    return v + each(r - t, x) * _slope(u, x, t, r, (v, torch.ones_like(t), torch.zeros_like(r)))


def _slope(u: Answer, x: Tensor, t: Tensor, r: Tensor, moves: tuple[Tensor, ...]) -> Tensor:
    """The derivative of u where x, t and r move so fast."""
    with warnings.catch_warnings():  # torch's own, at the first derivative of a process
        warnings.simplefilter("ignore", FutureWarning)
        return jvp(u, (x, t, r), moves)[1].detach()


def _moving(
    moves: Callable[..., tuple] = lambda u, v, x, one: (v, one, 0 * one),
    target: Callable[..., Tensor] = lambda v, slope, gap, u: v + gap * slope,
    gap: Callable[..., Tensor] = lambda t, r, x: each(r - t, x),
) -> Callable:
    """Wrong in what moves in the derivative, or in what is made of it."""

    def wrong(u: Answer, x: Tensor, t: Tensor, r: Tensor, v: Tensor) -> Tensor:
        now = u(x, t, r)
        slope = _slope(u, x, t, r, moves(now.detach(), v, x, torch.ones_like(t)))
        return target(v, slope, gap(t, r, x), now).detach()

    return wrong


average_velocity_target.wrong = {
    "this is v, the target of flow matching: add (r - t) du/dt.": _moving(target=lambda v, slope, gap, u: v),
    "du/dt has the wrong sign: times r - t, not t - r.": _moving(target=lambda v, slope, gap, u: v - gap * slope),
    "r - t is missing: v + (r - t) du/dt.": _moving(target=lambda v, slope, gap, u: v + slope),
    "r - t multiplies v too: v + (r - t) du/dt.": _moving(target=lambda v, slope, gap, u: gap * (v + slope)),
    "v is missing: v + (r - t) du/dt.": _moving(target=lambda v, slope, gap, u: gap * slope),
    "u stands where v belongs: v + (r - t) du/dt.": _moving(target=lambda v, slope, gap, u: u + gap * slope),
    "you solve for v: what u should be is v + (r - t) du/dt.": _moving(target=lambda v, slope, gap, u: u - gap * slope),
    "you return u less its target: return the target.": _moving(target=lambda v, slope, gap, u: u - v - gap * slope),
    "this is u as it is now: the target is v + (r - t) du/dt.": _moving(target=lambda v, slope, gap, u: u),
    "u stands where du/dt does, the second that `jvp` returns.": _moving(target=lambda v, slope, gap, u: v + gap * u),
    "r - t runs along the last axis: shape it (B, 1, ...).": _moving(gap=lambda t, r, x: r - t),
    "r - t has two axes always: count those of x.": _moving(gap=lambda t, r, x: (r - t)[:, None]),
    "you use r - t of the first example for all: each has its own.": _moving(gap=lambda t, r, x: (r - t)[0]),
    "t does not move in your derivative: it moves with 1.": _moving(lambda u, v, x, one: (v, 0 * one, 0 * one)),
    "x does not move in your derivative: it moves with v.": _moving(lambda u, v, x, one: (0 * v, one, 0 * one)),
    "x moves with 1 in your derivative: it moves with v.": _moving(lambda u, v, x, one: (v**0, one, 0 * one)),
    "x moves with u in your derivative: it moves with v.": _moving(lambda u, v, x, one: (u, one, 0 * one)),
    "the gradient of a sum mixes all values of an example: use `jvp`.": lambda u, x, t, r, v: v + each(r - t, x) * (
        lambda gx, gt: gx * v + each(gt, x))(*torch.func.grad(lambda x, t: u(x, t, r).sum(), (0, 1))(x, t)),
    "r moves too in your derivative: it stays, with 0.": _moving(lambda u, v, x, one: (v, one, one)),
    "r moves in your derivative, and t stays: t moves with 1.": _moving(lambda u, v, x, one: (v, 0 * one, one)),
    "u is asked with r and t in the wrong order: u(x, t, r).": lambda u, x, t, r, v:
        v + each(r - t, x) * _slope(lambda x, t, r: u(x, r, t), x, t, r, (v, torch.ones_like(t), 0 * r)),
}  # fmt: skip
