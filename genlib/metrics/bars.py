"""How near a model is to `bars`, whose truth is known."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlib.data import image_index, load
from genlib.markov import GSN
from genlib.metrics.modes import mode_counts, mode_coverage
from genlib.surface import CanSample, HasBound, HasLogProb, is_flow_of_images, n_classes_of
from genlib.validation import check_images
from genlib.variational import log_prob_by_quadrature


@torch.no_grad()
def bars_kl(log_prob: Callable[[Tensor], Tensor]) -> float:
    r"""Exact $KL(p \| q) = \sum_x p(x) \log \frac{p(x)}{q(x)}$ in nats, p being `bars`.

    p puts 1/30 on each of 30 images and nothing elsewhere, so the sum has thirty terms and no
    estimate enters. Zero means that q is p; `math.inf` that q rules out one of the thirty.

    Args:
        log_prob: log q(x) in nats of images (B, 1, 4, 4), normalised over all 2^16 of them; for a
            model on a GPU, move the images there first.

    Raises:
        ValueError: it claims more than the whole probability for the 30 images alone, so it is
            not a normalised log-probability.

    Example:
        >>> uniform = lambda x: torch.full((len(x),), -16 * math.log(2))
        >>> round(bars_kl(uniform), 4) == round(16 * math.log(2) - math.log(30), 4)
        True
    """
    log_q = log_prob(load("bars").floats()).double()
    mass = log_q.exp().sum().item()
    if mass > 1 + 1e-3:
        raise ValueError(
            f"log_prob gives the 30 images of bars a probability of {mass:.3g}, more than 1: "
            "is it normalised, and in nats per image?"
        )
    return -math.log(len(log_q)) - log_q.mean().item()


def bars_counts(x: Tensor) -> dict[str, float]:
    r"""How samples compare with `bars`, by counting: for models that have nothing but samples.

    With $\hat q(x)$ the share of the N samples that are the image x, and p = 1/30 on thirty images:

    - `covered`: how many of the thirty come, each at least a tenth as often as it should;
    - `valid`: the share of samples that are one of the thirty;
    - `total_variation`: $\frac12 \sum_x |\hat q(x) - p(x)|$ over all images;
    - `kl_of_valid`: $KL(\hat r \,\|\, p) = \log 30 - H(\hat r)$ nats, $\hat r$ being the shares among
      the valid ones. The other direction is infinite as soon as one of the thirty is missing.

    These are plug-in estimates, shares in place of probabilities. Shares scatter, so the last two
    come out too large: for samples of `bars` itself by about $15 \sqrt{2 / \pi} \sqrt{p (1 - p) / N}$
    (0.028 with N = 6000) and $29 / 2N$ (0.0024; Miller, 1955). Differences of that size mean nothing.

    Args:
        x: samples; a pixel above one half counts as white.

    Shapes:
        x (N, 1, 4, 4) in [0, 1] -> four numbers

    Example:
        >>> bars = load("bars").floats()
        >>> counts = bars_counts(bars[:15])  # half of them, each once
        >>> counts["covered"], counts["valid"], round(counts["total_variation"], 3)
        (15, 1.0, 0.5)
    """
    check_images(x, (1, 4, 4))
    if not len(x):
        raise ValueError("there are no samples to count")
    bars = load("bars").floats().to(x.device)
    white = (x > 0.5).to(bars.dtype)
    counts = mode_counts(white, bars, radius=0.5)
    p, valid = 1 / len(bars), counts.sum().item() / len(x)
    total_variation = ((counts / len(x) - p).abs().sum().item() + 1 - valid) / 2
    r = counts.double() / counts.sum()  # without a valid sample 0 / 0, and no divergence either
    return {
        "covered": mode_coverage(white, bars, radius=0.5),
        "valid": valid,
        "total_variation": total_variation,
        "kl_of_valid": math.log(len(bars)) + torch.xlogy(r, r).sum().item(),
    }


@torch.no_grad()
def bars_report(model: nn.Module, *, n_samples: int = 6000) -> dict[str, str | float | None]:
    """What is known of a model that was trained on `bars`, by the best way its leaf allows.

    - `known`: how its probabilities are known: "exact" (it has `log_prob`, which a flow has of
      points only), "by quadrature" (a VAE of
      at most two latents), "by enumerating its chain" (it has `stationary_distribution`), or "by
      counting samples";
    - `kl`: exact KL(bars || model) in nats, None where there are samples only;
    - `covered`, `valid`, `total_variation`: counted from samples, see `bars_counts` for their bias.

    Args:
        model: unconditional, for images (1, 4, 4); on any device.
        n_samples: how many to draw and count.

    Raises:
        TypeError: the model cannot draw.
        ValueError: it is conditional.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> report = bars_report(PixelCNN((1, 4, 4), hidden_dim=8, depth=1), n_samples=100)
        >>> report["known"], report["kl"] > 0
        ('exact', True)
    """
    if not isinstance(model, CanSample):
        raise TypeError(f"{type(model).__name__} has no method `sample`: there is nothing to count")
    if n_classes_of(model):
        raise ValueError("this compares p(x): build the model without n_classes")
    device = next(model.parameters()).device
    known, log_prob = _log_prob_on_bars(model)
    kl = None if log_prob is None else bars_kl(lambda x: log_prob(x.to(device)).cpu())
    counts = bars_counts(model.sample(n_samples).cpu())
    del counts["kl_of_valid"]
    return {"known": known, "kl": kl, **counts}


def _log_prob_on_bars(model: nn.Module) -> tuple[str, Callable[[Tensor], Tensor] | None]:
    if isinstance(model, HasLogProb) and not is_flow_of_images(model):
        return "exact", model.log_prob
    if isinstance(model, HasBound) and model.latent_dim <= 2:
        return "by quadrature", lambda x: log_prob_by_quadrature(model, x)
    if isinstance(model, GSN):
        table = model.stationary_distribution()
        return "by enumerating its chain", lambda x: table[image_index(x.cpu())].log()
    return "by counting samples", None
