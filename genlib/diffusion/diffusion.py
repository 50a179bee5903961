"""Diffusion: noise comes in a thousand small steps, and a network learns to take each of them back."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.diffusion.samplers import draw
from genlib.diffusion.schedules import CosineSchedule, Schedule
from genlib.from_noise import FromNoise, as_factor
from genlib.ode import even_times

PREDICTIONS = ("v", "eps", "x")
WEIGHTINGS = (*PREDICTIONS, "elbo")


class Diffusion(FromNoise):
    r"""A diffusion model: data become noise in closed form, and one network undoes every step.

    $$x_t = \alpha_t x + \sigma_t \epsilon, \qquad \epsilon \sim N(0, I), \qquad 0 \le t \le 1$$

    The network looks at $x_t$ and t, and learns a mean by least squares, so that the best it can become is
    $E[x \mid x_t]$, `denoise`. What it returns may stand for x, for the noise, or for $v = \alpha \epsilon - \sigma x$
    (Salimans & Ho, 2022, arXiv:2202.00512): each gives the others, since $x_t$ is known. The same mean is the
    score of the noisy data, $\nabla \log p_t(x_t) = (\alpha_t E[x \mid x_t] - x_t) / \sigma_t^2$ (Tweedie's formula;
    Vincent, 2011), which `score` gives.

    In T steps of time it is a model with latent variables $x_1, \dots, x_0$, and has a bound like a VAE's
    (Kingma et al., 2021, arXiv:2107.00630, section 3):

    $$-\log p(x) \le KL(q(x_1 \mid x) \| N(0, I)) + E[-\log p(x \mid x_0)] + \sum_{i=1}^T
    KL(q(x_s \mid x_t, x) \| q(x_s \mid x_t, \hat x)),$$

    where s = (i - 1) / T and t = i / T. With $\lambda = \log(\alpha^2 / \sigma^2)$ a term of the sum is
    $\frac12 (e^{\lambda_s} - e^{\lambda_t}) \|x - \hat x(x_t)\|^2$. The decoder $p(x \mid x_0)$ learns nothing: each
    value is one of the levels v_k, as probable as $N(x_0; \alpha_0 v_k, \sigma_0^2)$ and `shares` make it, by Bayes'
    rule; without levels x is drawn from $N(x_0 / \alpha_0, \sigma_0^2 / \alpha_0^2)$.

    With labels one network knows $E[x \mid x_t, y]$ and $E[x \mid x_t]$, and guidance goes from the second beyond
    the first, see `genlib.from_noise.FromNoise`.

    Papers: Sohl-Dickstein et al. (2015), arXiv:1503.03585; Ho, Jain & Abbeel (2020), arXiv:2006.11239.

    Args:
        shape: of an example: images (C, H, W) in [0, 1], which are [-1, 1] inside, or points (D,) as they are.
        network: from x_t, t (B,) and, if conditional, y (B,) to what it predicts, as x_t; label `n_classes`
            stands for "no label". None builds a `UNet` for images and a `TimeMLP` for points.
        levels: number K of values a channel of an image can take; 0 for points and for images of any grey.
        shares: of the K levels among all values of the data, (K,), from which the decoder starts; None for
            equal ones. Where most values are black, it makes the bound much tighter.
        schedule: None is a `CosineSchedule`.
        prediction: what the network returns: "v", "eps" or "x".
        weighting: of the squared error in `loss` at time t: that of v, of eps or of x, or "elbo", with which
            the loss is the bound's sum in infinitely many steps.
        n_classes: number of labels, 0 for an unconditional model.

    Shapes:
        denoise, score: x_t (B, *shape), t (B,), y (B,) -> (B, *shape), in the scale inside
        loss:   x (B, *shape), y -> scalar, of each value
        elbo:   x, y -> (B,), nats an example, a draw whose mean lies below log p(x)
        sample: n, y (n,) -> (n, *shape)

    Raises:
        ValueError: an unknown prediction or weighting, shares that are not K positive numbers, examples of
            another shape, labels missing or surplus.

    Example:
        >>> model = Diffusion((1, 8, 8), levels=17)
        >>> x = model.sample(5, steps=3)
        >>> model.elbo(x, steps=3).shape
        torch.Size([5])
    """

    log_shares: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        network: nn.Module | None = None,
        levels: int = 0,
        shares: Tensor | None = None,
        schedule: Schedule | None = None,
        prediction: str = "v",
        weighting: str = "v",
        n_classes: int = 0,
    ):
        super().__init__(shape, network=network, levels=levels, n_classes=n_classes)
        for name, value, known in (
            ("prediction", prediction, PREDICTIONS),
            ("weighting", weighting, WEIGHTINGS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        if shares is not None and (shares.shape != (levels,) or not bool((shares > 0).all())):
            raise ValueError(f"shares must be {levels} positive numbers, one a level")
        self.register_buffer("log_shares", torch.zeros(levels) if shares is None else shares.log())
        self.prediction, self.weighting = prediction, weighting
        self.schedule = schedule or CosineSchedule()

    # What the network knows, in the scale inside. -------------------------------------------------

    def denoise(self, x_t: Tensor, t: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""$E[x \mid x_t]$, or $E[x \mid x_t, y]$ with labels, whatever the network predicts."""
        alpha, sigma = (as_factor(f(t), x_t) for f in (self.schedule.alpha, self.schedule.sigma))
        said = self.ask(x_t, t, y=y)
        if self.prediction == "v":
            return alpha * x_t - sigma * said
        return (x_t - sigma * said) / alpha if self.prediction == "eps" else said

    def score(self, x_t: Tensor, t: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""$\nabla \log p_t(x_t) = (\alpha_t E[x \mid x_t] - x_t) / \sigma_t^2$."""
        alpha, sigma = (as_factor(f(t), x_t) for f in (self.schedule.alpha, self.schedule.sigma))
        return (alpha * self.denoise(x_t, t, y=y) - x_t) / sigma**2

    def noisy(self, x: Tensor, t: Tensor) -> Tensor:
        r"""A draw of $x_t$ given x, both in the scale inside."""
        return as_factor(self.schedule.alpha(t), x) * x + as_factor(
            self.schedule.sigma(t), x
        ) * torch.randn_like(x)

    def weight(self, t: Tensor) -> Tensor:
        r"""What $\|x - \hat x\|^2$ at time t counts in `loss`.

        The error of the noise is that of x times the signal-to-noise ratio, the error of v that times
        the ratio and one. The bound weighs by half the rate at which the ratio falls.
        """
        snr = self.schedule.log_snr(t).exp()
        if self.weighting == "elbo":
            return -snr * self.schedule.slope(t) / 2
        return {"x": torch.ones_like(snr), "eps": snr, "v": 1 + snr}[self.weighting]

    # Training, the bound, drawing. ----------------------------------------------------------------

    def loss(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        """Weighted squared error of the denoised examples at random times, averaged over their values."""
        x = self._inside(x, y)
        t, y = self._times(x), self._forgetting(y)
        error = (x - self.denoise(self.noisy(x, t), t, y=y)).square().flatten(1).mean(dim=1)
        return (self.weight(t) * error).mean()

    @torch.no_grad()
    def bound(self, x: Tensor, *, y: Tensor | None = None, steps: int = 100) -> dict[str, Tensor]:
        """The three terms of -ELBO, each (B,) in nats: "prior", "decoder", "steps"."""
        levels = x
        x = self._inside(x, y)
        zero, one = x.new_zeros(len(x)), x.new_ones(len(x))
        alpha, variance = self.schedule.alpha(one), self.schedule.sigma(one) ** 2
        square = x.square().flatten(1)
        size = square.shape[1]
        prior = (alpha**2 * square.sum(dim=1) + size * (variance - 1 - variance.log())) / 2
        times = even_times(0, 1, steps, x)
        total = torch.zeros_like(prior)
        for s, t in zip(times[:-1], times[1:], strict=True):
            t, s = t.expand(len(x)), s.expand(len(x))
            error = (x - self.denoise(self.noisy(x, t), t, y=y)).square().flatten(1).sum(dim=1)
            snr_t, snr_s = (self.schedule.log_snr(u).exp() for u in (t, s))
            total += (snr_s - snr_t) / 2 * error
        return {"prior": prior, "decoder": self._decoder(levels, x, zero), "steps": total}

    def elbo(self, x: Tensor, *, y: Tensor | None = None, steps: int = 100) -> Tensor:
        r"""One draw of a bound on $\log p(x)$ in nats with every constant, (B, *shape) -> (B,).

        Args:
            x: examples; images in [0, 1].
            y: labels of a conditional model.
            steps: T of the model. It takes as many passes, and the bound rises with it.
        """
        return -torch.stack([*self.bound(x, y=y, steps=steps).values()]).sum(dim=0)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        y: Tensor | None = None,
        steps: int = 100,
        sampler: str = "ddpm",
        guidance: float = 1.0,
    ) -> Tensor:
        """Draw `n` examples, from noise in `steps` steps.

        Args:
            n: how many.
            y: labels (n,) of a conditional model.
            steps: as in `genlib.diffusion.draw`, and so is `sampler`. "ddpm" draws from the model whose bound
                `elbo` is; the others round its x_0 to the nearest level.
            guidance: w of $E[x | x_t] + w (E[x | x_t, y] - E[x | x_t])$: 0 forgets the label, 1 is the
                conditional model, more obeys more.

        Returns:
            Examples; images in [0, 1], on the grid of levels where there is one.

        Raises:
            ValueError: n or steps below 1, an unknown sampler, guidance of a model without labels.
        """
        x, denoise = self.start(n, y=y), self._guided(self.denoise, y, guidance)
        x_0 = draw(denoise, self.schedule, x, steps=steps, sampler=sampler)
        zero = x_0.new_zeros(n)
        if sampler != "ddpm":  # their x_0 still has a little noise, and no decoder
            return self.outside(denoise(x_0, zero))
        if self.levels:
            probable = self._level_logits(x_0, zero).softmax(dim=-1).flatten(0, -2)
            level = torch.multinomial(probable, 1).view(x_0.shape)
            return level.to(x_0) / (self.levels - 1)
        alpha, sigma = (as_factor(f(zero), x_0) for f in (self.schedule.alpha, self.schedule.sigma))
        return self.outside((x_0 + sigma * torch.randn_like(x_0)) / alpha)

    # The decoder. ---------------------------------------------------------------------------------

    def _level_logits(self, x_0: Tensor, zero: Tensor) -> Tensor:
        """What the decoder believes of each level, before normalising, (B, *shape, K)."""
        grid = torch.linspace(-1, 1, self.levels, device=x_0.device, dtype=x_0.dtype)
        alpha, sigma = self.schedule.alpha(zero)[0], self.schedule.sigma(zero)[0]
        return self.log_shares - (x_0[..., None] - alpha * grid) ** 2 / (2 * sigma**2)

    def _decoder(self, levels: Tensor, x: Tensor, zero: Tensor) -> Tensor:
        r"""A draw of $-\log p(x \mid x_0)$, (B,)."""
        x_0 = self.noisy(x, zero)
        if self.levels:
            target = (levels * (self.levels - 1)).round().long()
            logits = self._level_logits(x_0, zero).movedim(-1, 1)
            return F.cross_entropy(logits, target, reduction="none").flatten(1).sum(dim=1)
        alpha, sigma = (as_factor(f(zero), x) for f in (self.schedule.alpha, self.schedule.sigma))
        std = sigma / alpha
        nats = ((x - x_0 / alpha) / std) ** 2 / 2 + std.log() + math.log(2 * math.pi) / 2
        return nats.flatten(1).sum(dim=1)
