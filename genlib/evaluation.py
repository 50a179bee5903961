"""How good is a model? Measures that mean the same for every family."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from genlib.data import ImageSet, load
from genlib.nn import Shape


def bits_per_dim(nats: Tensor | float, shape: Shape) -> Tensor | float:
    r"""From nats per image to bits per dimension: $-\log p(x) / (CHW \ln 2)$.

    A dimension is one channel of one pixel, so images of different sizes can be compared. A model
    that knows nothing needs $\log_2 K$ bits a dimension; smaller is better.

    Args:
        nats: log-likelihood in nats per image, usually negative.
        shape: image shape (C, H, W).

    Example:
        >>> bits_per_dim(-64 * math.log(16), shape=(1, 8, 8))
        4.0
    """
    return -nats / (math.prod(shape) * math.log(2))


@torch.no_grad()
def log_probs(model: nn.Module, data: ImageSet, batch_size: int = 500) -> Tensor:
    """The model's log-likelihood of every image of a set, in nats and in the set's order.

    Args:
        model: has `log_prob(x)` or, if conditional, `log_prob(x, y)`.
        data: the images.
        batch_size: images a forward pass; changes the memory needed, not the result.

    Shapes:
        -> (N,) on the CPU

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> log_probs(PixelCNN((1, 4, 4), channels=8, depth=1), load("bars")).shape
        torch.Size([30])
    """
    device = next(model.parameters()).device
    conditional = getattr(model, "n_classes", 0) > 0
    log_prob: Callable[..., Tensor] = model.log_prob  # type: ignore[assignment]
    chunks = [
        (log_prob(x, y) if conditional else log_prob(x)).cpu()
        for x, y in data.batches(batch_size, shuffle=False, device=device)
    ]
    return torch.cat(chunks)


def independent_pixels(data: ImageSet) -> Categorical:
    r"""The opponent to beat: every value follows its own histogram and ignores all the others.

    Counted on the data, plus one for each level, so that none is impossible (Laplace's rule).

    Args:
        data: the images to count, usually those to train on.

    Returns:
        A distribution over levels for each value, batch shape (C, H, W): `log_prob(images.long())`
        gives nats a value, (N, C, H, W), and `sample((n,))` levels.

    Example:
        >>> opponent = independent_pixels(load("bars"))
        >>> opponent.probs[0, 0, 0]  # 15 of 30 images are white here
        tensor([0.5000, 0.5000])
        >>> opponent.sample((8,)).shape
        torch.Size([8, 1, 4, 4])
    """
    counts = [1 + (data.images == k).sum(dim=0) for k in range(data.levels)]
    return Categorical(probs=torch.stack(counts, dim=-1).float())


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
