"""Mean flow: the velocity averaged over a stretch of time, so that one step goes all the way."""

import torch
from torch import Tensor

from genlib.flow_matching.flow_matching import FlowMatching
from genlib.from_noise import as_factor
from genlib.ode import derivative_along
from genlib.validation import at_least_one


class MeanFlow(FlowMatching):
    r"""Flow matching whose network knows the mean velocity from a time t to a later time r.

    With $u(x_t, t, r) = \frac{1}{r - t} \int_t^r v(x_\tau, \tau)\, d\tau$ a step $x_r = x_t + (r - t)\,
    u(x_t, t, r)$ is exact, however long. The integral is never taken: its derivative by t along the flow says that

    $$u(x_t, t, r) = v(x_t, t) + (r - t)\, \frac{d}{dt} u(x_t, t, r), \qquad
    \frac{d}{dt} u = \frac{\partial u}{\partial x} v + \frac{\partial u}{\partial t},$$

    and training makes both sides equal. No gradient goes through the right one, where the path's own velocity stands
    for v, and along the flow what the network says of it. For r = t this is flow matching: half of a batch learns it.

    Paper: Geng et al. (2025), Mean flows for one-step generative modeling, arXiv:2505.13447, sections 4.1 to 4.3,
    whose time runs the other way. Departs from it: the derivative follows the network's velocity in place of the
    path's, which is the same in the mean with less noise (Geng et al., 2025, Improved mean flows,
    arXiv:2512.02012), errors are not divided by their size, and guidance is not trained in.

    Args:
        shape, network, levels, path, coupling, n_classes: as of `FlowMatching`; the network reads t and r - t, as
            one (B, 2).

    Shapes:
        mean_velocity: x (B, *shape), t, r (B,), y (B,) -> (B, *shape), in the scale inside
        the others as of `FlowMatching`; `velocity` is the mean over no time

    Example:
        >>> MeanFlow((2,)).sample(5).shape
        torch.Size([5, 2])
    """

    def __init__(self, shape: tuple[int, ...], **options):
        # the loss has a derivative by t in it: at high frequencies of t its errors feed on themselves
        super().__init__(shape, times=2, highest=3.0, **options)

    def mean_velocity(self, x: Tensor, t: Tensor, r: Tensor, *, y: Tensor | None = None) -> Tensor:
        """Where x at time t is at time r, as a velocity of constant speed."""
        return self.ask(x, torch.stack([t, r - t], dim=1), y=y)

    def velocity(self, x: Tensor, t: Tensor, *, y: Tensor | None = None) -> Tensor:
        return self.mean_velocity(x, t, t, y=y)

    def _error(self, x: Tensor, start: Tensor, y: Tensor | None) -> Tensor:
        t, r = torch.rand(2, len(x), device=x.device, dtype=x.dtype).sort(dim=0).values
        k = (len(x) + 1) // 2
        r[k:] = t[k:]  # the others jump
        x_t, v = self.path.at(x, start, t)
        target = v.clone()
        with torch.no_grad():
            labels = None if y is None else y[:k]
            now = self.velocity(x_t[:k], t[:k], y=labels)

            def along(x_t: Tensor, t: Tensor) -> Tensor:
                return self.mean_velocity(x_t, t, r[:k], y=labels)

            _, change = derivative_along(along, (x_t[:k], t[:k]), (now, torch.ones_like(t[:k])))
            target[:k] += as_factor(r[:k] - t[:k], x) * change
        return (self.mean_velocity(x_t, t, r, y=y) - target).square()

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
        x, times = start, torch.linspace(0, 1, at_least_one("steps", steps) + 1).to(start)
        for t, r in zip(times[:-1], times[1:], strict=True):

            def mean(x: Tensor, t: Tensor, y: Tensor | None = None, r: Tensor = r) -> Tensor:
                return self.mean_velocity(x, t, r.expand(len(x)), y=y)

            x = x + (r - t) * self._guided(mean, y, guidance)(x, t.expand(len(x)))
        return x

    def sample(self, n: int, *, y: Tensor | None = None, steps: int = 1, **how) -> Tensor:
        return super().sample(n, y=y, steps=steps, **how)
