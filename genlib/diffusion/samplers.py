"""Ways back from noise to data, given a denoiser: the same steps for a trained network and the ideal one."""

import torch
from torch import Tensor

from genlib.diffusion.schedules import Schedule
from genlib.from_noise import AtTime, as_factor
from genlib.ode import even_times

SAMPLERS = ("ddpm", "ddim", "heun")


def posterior_of_a_step(
    schedule: Schedule, x_t: Tensor, x: Tensor, *, t: Tensor, s: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Mean and standard deviation of $q(x_s \mid x_t, x)$, where s < t: one step of noise undone, x known.

    $$\frac{\alpha_{t|s} \sigma_s^2}{\sigma_t^2} x_t + \frac{\alpha_s \sigma_{t|s}^2}{\sigma_t^2} x, \qquad
    \frac{\sigma_{t|s} \sigma_s}{\sigma_t}$$

    with $\alpha_{t|s} = \alpha_t / \alpha_s$ and $\sigma_{t|s}^2 = \sigma_t^2 - \alpha_{t|s}^2 \sigma_s^2$
    (Kingma et al., 2021, arXiv:2107.00630, appendix A.2).

    Args:
        schedule: gives alpha and sigma.
        x_t: noisy examples, (B, ...).
        x: the examples, or what stands for them.
        t, s: times, (B,).

    Returns:
        The mean, (B, ...), and the standard deviation, (B, 1, ...).
    """
    alpha_t, alpha_s = (as_factor(schedule.alpha(u), x) for u in (t, s))
    sigma_t, sigma_s = (as_factor(schedule.sigma(u), x) for u in (t, s))
    # sigma_{t|s}^2 / sigma_t^2 = 1 - SNR(t) / SNR(s), without a difference of nearly equal numbers
    new = -torch.expm1(as_factor(schedule.log_snr(t) - schedule.log_snr(s), x))
    mean = alpha_t / alpha_s * (sigma_s / sigma_t) ** 2 * x_t + alpha_s * new * x
    return mean, new.sqrt() * sigma_s


def draw(
    denoise: AtTime,
    schedule: Schedule,
    x: Tensor,
    *,
    steps: int,
    sampler: str = "ddpm",
    eta: float | None = None,
) -> Tensor:
    r"""From x_1, pure noise, to x_0 in steps of equal time.

    - "ddpm" draws each x_s from $q(x_s \mid x_t, \hat x)$, with what the denoiser says for x (Ho et al., 2020,
      arXiv:2006.11239, algorithm 2).
    - "ddim" puts the noise that it has found back in, $\alpha_s \hat x + \sigma_s \hat \epsilon$, and draws nothing
      (Song et al., 2021, arXiv:2010.02502, equation 12). `eta` mixes new noise in; with `eta=1` it is ddpm.
    - "heun" takes ddim's step for a first guess, and the mean of the slopes at its two ends for the step (Karras
      et al., 2022, arXiv:2206.00364, algorithm 1). It asks the denoiser twice a step.

    Args:
        denoise: x_t (B, ...), t (B,) -> E[x | x_t].
        schedule: that x_t follows.
        x: where to start, (B, ...), drawn from N(0, I).
        steps: at least 1.
        sampler: "ddpm", "ddim" or "heun".
        eta: share of new noise in "ddim", 0 to 1; None for 0.

    Raises:
        ValueError: another sampler, fewer than one step, or eta for another sampler.

    Example:
        >>> from genlib.diffusion import CosineSchedule
        >>> zeros = draw(lambda x, t: 0 * x, CosineSchedule(), torch.randn(5, 2), steps=10, sampler="ddim")
        >>> zeros.abs().max() < 0.5
        tensor(True)
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, not {sampler!r}")
    if eta is not None and (sampler != "ddim" or not 0 <= eta <= 1):
        raise ValueError(f"eta is a share from 0 to 1 for ddim, not {eta} for {sampler}")
    eta = 1.0 if sampler == "ddpm" else eta or 0.0
    times = even_times(1, 0, steps, x)
    for t, s in zip(
        times[:-1, None].expand(-1, len(x)), times[1:, None].expand(-1, len(x)), strict=True
    ):
        alpha_t, alpha_s = (as_factor(schedule.alpha(u), x) for u in (t, s))
        sigma_t, sigma_s = (as_factor(schedule.sigma(u), x) for u in (t, s))
        clean = denoise(x, t)
        noise = (x - alpha_t * clean) / sigma_t
        if sampler == "heun":  # on x / alpha, whose slope by sigma / alpha is the noise
            first = alpha_s * clean + sigma_s * noise
            noise_after = (first - alpha_s * denoise(first, s)) / sigma_s
            change = sigma_s / alpha_s - sigma_t / alpha_t
            x = alpha_s * (x / alpha_t + change * (noise + noise_after) / 2)
            continue
        std = eta * posterior_of_a_step(schedule, x, clean, t=t, s=s)[1]
        x = alpha_s * clean + (sigma_s**2 - std**2).sqrt() * noise
        if eta:
            x = x + std * torch.randn_like(x)
    return x
