r"""Ordinary differential equations $dx/dt = v(x, t)$ that carry one distribution to another.

Diffusion and flow matching both end in one: where it starts at x(t_0), a density changes along the way by

$$\frac{d}{dt} \log p_t(x(t)) = -\operatorname{div} v(x(t), t)$$

(Chen et al., 2018, Neural ordinary differential equations, arXiv:1806.07366, theorem 1).
"""

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp

from genlib.validation import at_least_one

Velocity = Callable[[Tensor, Tensor], Tensor]  # x (B, ...), t (B,) -> dx/dt, as x
SOLVERS = ("euler", "midpoint", "heun", "rk4")
LARGEST = 64  # dimensions: the trace takes a forward derivative for each


def even_times(first: float, last: float, steps: int, x: Tensor) -> Tensor:
    """Times of so many equal steps, (steps + 1,), on the device and in the precision of x.

    Example:
        >>> even_times(1, 0, 2, torch.zeros(5, 2))
        tensor([1.0000, 0.5000, 0.0000])
    """
    n = at_least_one("steps", steps) + 1
    return torch.linspace(first, last, n, device=x.device, dtype=x.dtype)


def derivative_along(
    f: Callable[..., Tensor], at: tuple[Tensor, ...], along: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    r"""f(at), and how it changes when `at` moves `along`: a forward-mode derivative, no Jacobian built.

    Example:
        >>> derivative_along(lambda x: x**2, (torch.tensor(3.0),), (torch.tensor(1.0),))
        (tensor(9.), tensor(6.))
    """
    with warnings.catch_warnings():  # torch's own, at the first derivative of a process
        warnings.simplefilter("ignore", FutureWarning)
        value, change, *_ = jvp(f, at, along)
    return value, change


def solve(velocity: Velocity, x: Tensor, times: Tensor, *, solver: str = "heun") -> Tensor:
    """Follow the equation from x at `times[0]` through all of them to x at `times[-1]`.

    The error of a step falls with its length h as h^2 for Euler's method, h^3 for midpoint and Heun, h^5
    for the classical method of Runge and Kutta, and that of the whole way by one power less. They call
    the velocity once, twice, twice and four times a step.

    Args:
        velocity: x (B, ...), t (B,) -> (B, ...).
        x: where to start.
        times: at least two, in either direction.
        solver: "euler", "midpoint", "heun" or "rk4".

    Raises:
        ValueError: another solver, or fewer than two times.

    Example:
        >>> x = solve(lambda x, t: x, torch.ones(1), torch.linspace(0, 1, 11), solver="rk4")
        >>> round(x.item(), 4)  # e
        2.7183
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, not {solver!r}")
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"times must be two or more in a row, not of shape {tuple(times.shape)}")

    def v(x: Tensor, t: Tensor) -> Tensor:
        return velocity(x, t.expand(len(x)))

    for t, s in zip(times[:-1], times[1:], strict=True):
        h = s - t
        k1 = v(x, t)
        if solver == "euler":
            x = x + h * k1
        elif solver == "midpoint":
            x = x + h * v(x + h / 2 * k1, t + h / 2)
        elif solver == "heun":
            x = x + h / 2 * (k1 + v(x + h * k1, s))
        else:
            k2 = v(x + h / 2 * k1, t + h / 2)
            k3 = v(x + h / 2 * k2, t + h / 2)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + v(x + h * k3, s))
    return x


def solve_with_divergence(
    velocity: Velocity, x: Tensor, times: Tensor, *, solver: str = "rk4"
) -> tuple[Tensor, Tensor]:
    r"""The same, and the integral of the divergence along the way: $\log p(x(t_0)) - \log p(x(t_1))$.

    The divergence is the exact trace of the Jacobian, by one forward-mode derivative a dimension, so this is for
    few dimensions. An example must not depend on the others of its batch.

    Args:
        velocity, times, solver: as in `solve`.
        x: where to start, (B, ...).

    Returns:
        x at the last time, (B, ...), and the integral, (B,).

    Example:
        >>> x, integral = solve_with_divergence(lambda x, t: -x, torch.ones(1, 3), torch.linspace(0, 1, 9))
        >>> round(integral.item(), 4)  # three dimensions shrink at rate 1
        -3.0
    """

    def both(state: Tensor, t: Tensor) -> Tensor:
        points = state[:, :-1].contiguous()

        def v(points: Tensor) -> Tensor:
            return velocity(points.view(x.shape), t).flatten(1)

        value, divergence = v(points), torch.zeros_like(state[:, -1])
        for i in range(points.shape[1]):
            axis = torch.zeros_like(points)
            axis[:, i] = 1
            column = derivative_along(v, (points,), (axis,))[1]  # of the Jacobian
            divergence = divergence + column[:, i]
        return torch.cat([value, divergence[:, None]], dim=1)

    state = torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], dim=1)
    state = solve(both, state, times, solver=solver)
    return state[:, :-1].view(x.shape), state[:, -1]


def log_prob_of_flow(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    r"""$\log p(x)$ in nats of a flow from N(0, I), x standing at `times[0]` and the noise at `times[-1]`.

    By the classical method of Runge and Kutta, with the exact trace.

    Args:
        velocity, times: as in `solve`.
        x: points, (B, D).

    Returns:
        (B,)

    Raises:
        ValueError: images, or more than 64 dimensions.

    Example:
        >>> still = log_prob_of_flow(lambda x, t: 0 * x, torch.zeros(1, 2), torch.linspace(1, 0, 3))
        >>> round(still.item(), 4)  # noise that stays where it is
        -1.8379
    """
    if x.ndim != 2 or x.shape[1] > LARGEST:
        raise ValueError(
            f"the exact trace is for points (B, D) of at most {LARGEST} dimensions, not for {tuple(x.shape)}"
        )
    noise, integral = solve_with_divergence(velocity, x, times)
    return integral - (noise.square().sum(dim=1) + x.shape[1] * math.log(2 * math.pi)) / 2
