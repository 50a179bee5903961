"""How straight a flow goes, and how it is made straighter."""

import torch
from torch import Tensor

from genlib.flow_matching.flow_matching import FlowMatching
from genlib.ode import Velocity, even_times


@torch.no_grad()
def straightness(velocity: Velocity, start: Tensor, *, steps: int = 100) -> float:
    r"""How far the paths are from straight lines at even speed: $\int_0^1 E\, \|(x_1 - x_0) - v(x_t, t)\|^2\, dt$.

    Zero if all are, and then one step of Euler's method is exact (Liu et al., 2023, arXiv:2209.03003).
    In squared units of x, summed over the values of an example.

    Args:
        velocity: x (B, ...), t (B,) -> (B, ...).
        start: where the paths start, (B, ...).
        steps: of Euler's method.

    Raises:
        ValueError: steps below 1.

    Example:
        >>> straightness(lambda x, t: torch.ones_like(x), torch.zeros(3, 2))
        0.0
    """
    times = even_times(0, 1, steps, start)
    x, speeds = start, []
    for t, s in zip(times[:-1], times[1:], strict=True):
        speeds.append(velocity(x, t.expand(len(x))))
        x = x + (s - t) * speeds[-1]
    errors = [(x - start - v).square().flatten(1).sum(dim=1).mean() for v in speeds]
    return torch.stack(errors).mean().item()


@torch.no_grad()
def reflow_pairs(
    model: FlowMatching, n: int, *, y: Tensor | None = None, steps: int = 50
) -> tuple[Tensor, Tensor]:
    """Noise, and where the model takes it: what a straighter model is trained on, `loss(x, start=noise)`.

    Lines between such pairs cross far less than those between independent ones (rectified flow: Liu et al., 2023,
    arXiv:2209.03003). The new model learns what the old one draws, errors included.

    Args:
        model: a trained model.
        n: how many pairs.
        y: labels (n,) of a conditional model.
        steps: of `model.carry`.

    Returns:
        The noise, (n, *shape), and the examples, (n, *shape), as `sample` gives them.

    Raises:
        ValueError: n or steps below 1, labels missing or surplus.

    Example:
        >>> noise, x = reflow_pairs(FlowMatching((2,)), 5)
        >>> noise.shape, x.shape
        (torch.Size([5, 2]), torch.Size([5, 2]))
    """
    noise = model.start(n, y=y)
    return noise, model.outside(model.carry(noise, y=y, steps=steps))
