"""Mean flow: the velocity averaged over a span of time, so that one step goes all the way."""

from typing import Any

import torch
from torch import Tensor, nn

from genlib.flow_matching.flow_matching import FlowMatching
from genlib.from_noise import as_factor
from genlib.networks import network_for
from genlib.ode import derivative_along, even_times
from genlib.validation import check_labels


class MeanFlow(FlowMatching):
    r"""Flow matching whose network knows the average velocity from a time t to a later time r.

    With $\bar u(x_t, t, r) = \frac{1}{r - t} \int_t^r u(x_\tau, \tau)\, d\tau$ a step $x_r = x_t + (r - t)\,
    \bar u(x_t, t, r)$ is exact, however long. The integral is never taken: its derivative by t along the flow, r being
    held, says that

    $$\bar u(x_t, t, r) = u(x_t, t) + (r - t)\, \frac{d}{dt} \bar u(x_t, t, r), \qquad
    \frac{d}{dt} \bar u = \frac{\partial \bar u}{\partial x} u + \frac{\partial \bar u}{\partial t},$$

    and training makes both sides equal. No gradient goes through the right one. Its first u is the velocity of the
    path, whose mean is u; along the flow it is the network's own. For r = t this is flow matching.

    Paper: Geng et al. (2025), Mean flows for one-step generative modeling, arXiv:2505.13447, sections 4.1 to 4.3,
    whose time runs the other way. Departs from it: along the flow goes the network's velocity in place of the
    path's, which has less variance (Geng et al., 2025, Improved mean flows, arXiv:2512.02012); half of a batch jumps,
    at uniform times (a batch of one always does); errors are not divided by their size; guidance is not trained in.

    Args:
        shape, network, levels, path, coupling, n_classes: as of `FlowMatching`; the network reads t and r - t, as
            one (B, 2).

    Shapes:
        average_velocity: x (B, *shape), t, r (B,), y (B,) -> (B, *shape), in the scale inside
        the others as of `FlowMatching`; `velocity` is the average over no time

    Raises:
        ValueError: as of `FlowMatching`.

    Example:
        >>> MeanFlow((2,)).sample(5).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        network: nn.Module | None = None,
        n_classes: int = 0,
        **options: Any,
    ):
        if network is None:
            # the loss has a derivative by t in it: at high frequencies of t its errors feed on themselves
            network = network_for(tuple(shape), n_classes, times=2, highest=3.0)
        super().__init__(shape, network=network, n_classes=n_classes, **options)

    def average_velocity(
        self, x: Tensor, t: Tensor, r: Tensor, *, y: Tensor | None = None
    ) -> Tensor:
        """The constant velocity that takes x from where it is at time t to where it is at time r."""
        return self.ask(x, torch.stack([t, r - t], dim=1), y=y)

    def velocity(self, x: Tensor, t: Tensor, *, y: Tensor | None = None) -> Tensor:
        return self.average_velocity(x, t, t, y=y)

    def _error(self, x: Tensor, start: Tensor, y: Tensor | None) -> Tensor:
        t, r = torch.rand(2, len(x), device=x.device, dtype=x.dtype).sort(dim=0).values
        k = (len(x) + 1) // 2
        r[k:] = t[k:]  # the first half jumps
        x_t, target = self.path.at(x, start, t)
        with torch.no_grad():
            labels = None if y is None else y[:k]
            now = self.velocity(x_t[:k], t[:k], y=labels)

            def along(x_t: Tensor, t: Tensor) -> Tensor:
                return self.average_velocity(x_t, t, r[:k], y=labels)

            _, change = derivative_along(along, (x_t[:k], t[:k]), (now, torch.ones_like(t[:k])))
            target[:k] += as_factor(r[:k] - t[:k], x) * change
        return (self.average_velocity(x_t, t, r, y=y) - target).square()

    @torch.no_grad()
    def carry(  # type: ignore[override]  # a jump needs no solver
        self,
        start: Tensor,
        *,
        y: Tensor | None = None,
        steps: int = 1,
        guidance: float = 1.0,
    ) -> Tensor:
        """Carry what starts at t = 0 to t = 1, in jumps of equal time; see `FlowMatching.carry`."""
        if y is not None:
            check_labels(y, len(start), self.n_classes)
        x, times = start, even_times(0, 1, steps, start)
        for t, r in zip(times[:-1], times[1:], strict=True):

            def average(x: Tensor, t: Tensor, y: Tensor | None = None, r: Tensor = r) -> Tensor:
                return self.average_velocity(x, t, r.expand(len(x)), y=y)

            x = x + (r - t) * self._guided(average, y, guidance)(x, t.expand(len(x)))
        return x

    def sample(self, n: int, *, y: Tensor | None = None, steps: int = 1, **how) -> Tensor:
        return super().sample(n, y=y, steps=steps, **how)
