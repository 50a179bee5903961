"""How good is a model? Measures that mean the same for every family."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

from genlib.data import ImageSet, load
from genlib.nn import Shape, check_labels


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


@torch.no_grad()
def importance_bound(
    model: nn.Module, x: Tensor, k: int, y: Tensor | None = None, at_once: int = 1000
) -> Tensor:
    r"""A lower bound on a VAE's $\log p(x)$ from `k` codes an image, in nats.

    $$\log p(x) \ge E\Big[\log \frac1k \sum_{i=1}^k \frac{p(x \mid z_i)\,p(z_i)}{q(z_i \mid x)}\Big],
    \qquad z_i \sim q(z \mid x)$$

    With k = 1 this is the ELBO. The bound rises with k and tends to $\log p(x)$: Burda et al. (2016),
    Importance Weighted Autoencoders, arXiv:1509.00519, theorem 1. What is returned is one draw of
    the right-hand side for each image; it may lie above $\log p(x)$ by chance, its mean does not.

    An image is encoded once. Codes are decoded in chunks, and of a chunk only one number an image is
    kept, so the memory needed hardly grows with k or with the number of images.

    Args:
        model: has `posterior`, `prior` and `log_likelihood`, as `VAE`; on the device of `x`.
        x: images.
        k: codes an image, at least 1.
        y: labels of a conditional model.
        at_once: codes decoded together. The memory needed grows with it and with the size of the
            decoder's output: 1000 codes of 784 numbers are 3 MB a tensor.

    Shapes:
        x (N, C, H, W) in [0, 1], y (N,) -> (N,)

    Raises:
        ValueError: k or at_once below 1; otherwise as the model.

    Example:
        >>> from genlib.variational import VAE
        >>> model = VAE((1, 4, 4), latent_dim=2)
        >>> importance_bound(model, load("bars").floats(), k=50).shape
        torch.Size([30])
    """
    if k < 1 or at_once < 1:
        raise ValueError(f"k and at_once must be at least 1, not {k} and {at_once}")
    check_labels(y, len(x), getattr(model, "n_classes", 0))
    log_likelihood: Callable[..., Tensor] = model.log_likelihood  # type: ignore[assignment]
    prior: Distribution = model.prior()  # type: ignore[operator]
    draws = min(k, at_once)
    bounds = []
    for rows in torch.arange(len(x), device=x.device).split(at_once // draws):
        images, labels = x[rows], None if y is None else y[rows]
        posterior: Distribution = model.posterior(images, labels)  # type: ignore[operator]
        log_sums = []  # of the weights p(x | z) p(z) / q(z | x), one for each chunk of codes
        for start in range(0, k, draws):
            z = posterior.sample((min(draws, k - start),))  # (draws, rows, latent_dim)
            log_joint = log_likelihood(images, z, labels) + prior.log_prob(z)
            log_sums.append((log_joint - posterior.log_prob(z)).logsumexp(dim=0))
        bounds.append(torch.stack(log_sums).logsumexp(dim=0) - math.log(k))
    return torch.cat(bounds)
