"""Flow matching: learn the velocity of straight lines from noise to data, then follow it."""

import torch
from torch import Tensor, nn

from genlib.flow_matching.coupling import optimal_transport
from genlib.flow_matching.paths import LinearPath, Path
from genlib.from_noise import FromNoise
from genlib.ode import even_times, log_prob_of_flow, solve
from genlib.validation import check_examples, check_labels

COUPLINGS = ("independent", "ot")


class FlowMatching(FromNoise):
    r"""A velocity field that carries noise at t = 0 to data at t = 1, learnt by least squares.

    Draw an example x, noise $\epsilon$ and a time, take the point $x_t$ of the `path` between both, and let the network
    guess how fast that path moves there:

    $$E\, \|u(x_t, t) - (\dot\alpha_t x + \dot\sigma_t \epsilon)\|^2.$$

    The best guess is the mean over all pairs whose paths meet in $x_t$, and the flow that follows this marginal
    velocity has at each time the distribution of $x_t$ (Lipman et al., 2023, arXiv:2210.02747, theorems 1 and 2;
    Liu et al., 2023, arXiv:2209.03003, theorem 3.3; Albergo & Vanden-Eijnden, 2023, arXiv:2209.15571). It is a
    continuous normalising flow (Chen et al., 2018, arXiv:1806.07366), and training never solves its equation.

    Args:
        shape: of an example: images (C, H, W) in [0, 1], which are [-1, 1] inside, or points (D,) as they are.
        network: from x_t, t (B,) and, if conditional, y (B,) to a velocity, as x_t; label `n_classes` stands for
            "no label". None builds a `UNet` for images and a `TimeMLP` for points.
        levels: number of values a channel of an image can take, to which samples are rounded; 0 for points and for
            images of any grey.
        path: None is a `LinearPath`.
        coupling: "independent" pairs examples with any noise, "ot" by `optimal_transport` within a batch.
        n_classes: number of labels, 0 for an unconditional model.

    Shapes:
        velocity: x (B, *shape), t (B,), y (B,) -> (B, *shape), in the scale inside
        loss:     x (B, *shape), y -> scalar, of each value
        log_prob: x (B, D), y -> (B,), nats
        sample:   n, y (n,) -> (n, *shape)

    Raises:
        ValueError: an unknown coupling, a shape of neither kind, levels of points; examples of another shape, labels
            missing or surplus.

    Example:
        >>> model = FlowMatching((2,))
        >>> model.log_prob(model.sample(5, steps=4), steps=4).shape
        torch.Size([5])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        network: nn.Module | None = None,
        levels: int = 0,
        path: Path | None = None,
        coupling: str = "independent",
        n_classes: int = 0,
    ):
        if coupling not in COUPLINGS:
            raise ValueError(f"coupling must be one of {', '.join(COUPLINGS)}, not {coupling!r}")
        super().__init__(shape, network=network, levels=levels, n_classes=n_classes)
        self.path, self.coupling = path or LinearPath(), coupling

    def velocity(self, x: Tensor, t: Tensor, *, y: Tensor | None = None) -> Tensor:
        """Where x goes at time t."""
        return self.ask(x, t, y=y)

    def loss(self, x: Tensor, *, y: Tensor | None = None, start: Tensor | None = None) -> Tensor:
        """Squared error of the velocity at random times, averaged over values.

        Args:
            x: examples, where paths end.
            y: labels of a conditional model.
            start: where paths start, one for each example, in the scale inside, which leaves `coupling` nothing to
                do; None draws noise.

        Raises:
            ValueError: examples or starts of another shape, labels missing or surplus.
        """
        return self._error(*self._pairs(x, y, start)).mean()

    def _pairs(
        self, x: Tensor, y: Tensor | None, start: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Both ends of each path, and labels, some of which are forgotten."""
        x = self._inside(x, y)
        if start is None:
            start = torch.randn_like(x)
            if self.coupling == "ot":
                start = start[optimal_transport(start, x, y=y)]
        elif start.shape != x.shape:
            raise ValueError(
                f"start must be one for each example, {tuple(x.shape)}, not {tuple(start.shape)}"
            )
        return x, start, self._forgetting(y)

    def _error(self, x: Tensor, start: Tensor, y: Tensor | None) -> Tensor:
        t = self._times(x)
        x_t, velocity = self.path.at(x, start, t)
        return (self.velocity(x_t, t, y=y) - velocity).square()

    def log_prob(self, x: Tensor, *, y: Tensor | None = None, steps: int = 100) -> Tensor:
        r"""$\log p(x)$ in nats, (B, D) -> (B,), of the flow from N(0, I), by the classical method of Runge and Kutta.

        The density changes along the way by the divergence of the velocity, whose trace is exact. Up to the error of
        the steps, below 1e-3 nats with 100 of them for smooth velocities, which twice as many show.

        Raises:
            ValueError: images, or more than 64 dimensions.
        """
        check_examples(x, self.shape)
        check_labels(y, len(x), self.n_classes)
        times = even_times(1, 0, steps, x)
        return log_prob_of_flow(lambda x, t: self.velocity(x, t, y=y), x, times)

    @torch.no_grad()
    def carry(
        self,
        start: Tensor,
        *,
        y: Tensor | None = None,
        steps: int = 50,
        solver: str = "heun",
        guidance: float = 1.0,
    ) -> Tensor:
        """Carry what starts at t = 0 to t = 1, all in the scale inside, (B, *shape) -> (B, *shape).

        Args:
            start: noise, or what else `loss` was given as `start`.
            y: labels of a conditional model.
            steps: of equal time.
            solver: see `genlib.ode.solve`.
            guidance: w of u(x) + w (u(x, y) - u(x)): 0 forgets the label, 1 is the conditional model, more obeys
                more.

        Raises:
            ValueError: steps below 1, an unknown solver, guidance without labels, surplus labels.
        """
        if y is not None:
            check_labels(y, len(start), self.n_classes)
        velocity, times = self._guided(self.velocity, y, guidance), even_times(0, 1, steps, start)
        return solve(velocity, start, times, solver=solver)

    def sample(self, n: int, *, y: Tensor | None = None, steps: int = 50, **how) -> Tensor:
        """Draw `n` examples: noise, carried along; images in [0, 1], on the grid of levels where there is one.

        Args:
            n: how many.
            y: labels (n,) of a conditional model.
            steps, how: as in `carry`.

        Raises:
            ValueError: n below 1, labels missing or surplus, and what `carry` refuses.
        """
        return self.outside(self.carry(self.start(n, y=y), y=y, steps=steps, **how))
