"""The probability flow: the same weights as a diffusion model, and no randomness on the way."""

import torch
from torch import Tensor, nn

from genlib.diffusion.diffusion import Diffusion
from genlib.from_noise import as_factor
from genlib.ode import even_times, log_prob_of_flow, solve
from genlib.validation import check_examples, check_labels


class ProbabilityFlow(nn.Module):
    r"""The ordinary differential equation whose densities are those of a diffusion, as a model of its own.

    If x is carried along by $v(x, t) = \dot\alpha_t E[x \mid x_t] + \dot\sigma_t E[\epsilon \mid x_t]$, its density at
    every time is that of $x_t$. So the flow from noise to data draws what the diffusion draws, as far as the
    denoiser is right, and it can be followed back: then $\log p(x)$ is a density that changes along the way by the
    divergence of v. At time 0 a little noise is left, so it is the density of $x + \sigma_0 \epsilon / \alpha_0$.

    `log_prob` is exact up to the error of the steps: for smooth densities below 1e-3 nats with 100 of them, which
    twice as many show. It takes the whole trace of the Jacobian, and so few dimensions. It is no bound
    on a diffusion's likelihood, and not that of `Diffusion.sample` with "ddpm", which is another model.

    Paper: Song et al. (2021), arXiv:2011.13456, sections 4.3 and D.2.

    Args:
        diffusion: gives the denoiser and the schedule.

    Shapes:
        velocity: x (B, *shape), t (B,), y (B,) -> (B, *shape), in the scale inside
        log_prob: x (B, D), y -> (B,), nats
        loss:     x (B, *shape), y -> scalar, the diffusion's: they have one denoiser
        sample:   n, y (n,) -> (n, *shape)

    Example:
        >>> flow = ProbabilityFlow(Diffusion((2,)))
        >>> flow.log_prob(flow.sample(5, steps=10), steps=10).shape
        torch.Size([5])
    """

    def __init__(self, diffusion: Diffusion):
        super().__init__()
        self.diffusion = diffusion
        self.shape, self.n_classes = diffusion.shape, diffusion.n_classes

    def velocity(self, x: Tensor, t: Tensor, *, y: Tensor | None = None) -> Tensor:
        """Where x goes at time t."""
        schedule = self.diffusion.schedule
        alpha, sigma, slope = (
            as_factor(f(t), x) for f in (schedule.alpha, schedule.sigma, schedule.slope)
        )
        clean = self.diffusion.denoise(x, t, y=y)
        noise = (x - alpha * clean) / sigma
        # alpha^2 = sigmoid(lambda), so alpha' = alpha sigma^2 lambda' / 2, and sigma' = -sigma alpha^2 lambda' / 2
        return slope / 2 * alpha * sigma * (sigma * clean - alpha * noise)

    def loss(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        """What trains the denoiser of both."""
        return self.diffusion.loss(x, y=y)

    def log_prob(self, x: Tensor, *, y: Tensor | None = None, steps: int = 100) -> Tensor:
        r"""$\log p(x)$ in nats, (B, D) -> (B,), by the classical method of Runge and Kutta.

        Raises:
            ValueError: images, or more than 64 dimensions.
        """
        check_examples(x, self.shape)
        check_labels(y, len(x), self.n_classes)
        schedule = self.diffusion.schedule
        alpha = schedule.alpha(x.new_zeros(()))
        # even steps of log SNR: near time 0 the noise doubles and doubles again in a moment
        log_snr = even_times(schedule.start, schedule.end, steps, x)
        log_p = log_prob_of_flow(
            lambda x, t: self.velocity(x, t, y=y), alpha * x, schedule.time(log_snr)
        )
        return log_p + self.shape[0] * alpha.log()

    @torch.no_grad()
    def sample(
        self, n: int, *, y: Tensor | None = None, steps: int = 50, solver: str = "heun"
    ) -> Tensor:
        """Draw `n` examples: noise, carried along; see `genlib.ode.solve` for the solvers."""
        x = self.diffusion.start(n, y=y)
        x = solve(
            lambda x, t: self.velocity(x, t, y=y), x, even_times(1, 0, steps, x), solver=solver
        )
        return self.diffusion.outside(x / self.diffusion.schedule.alpha(x.new_zeros(())))
