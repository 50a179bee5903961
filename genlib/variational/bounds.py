"""What a VAE says about log p(x): a bound from many codes, and quadrature where codes are few-dimensional."""

import math

import torch
from torch import Tensor
from torch.distributions import Independent

from genlib.surface import HasBound
from genlib.validation import check_labels


@torch.no_grad()
def importance_bound(
    model: HasBound, x: Tensor, *, k: int, y: Tensor | None = None, at_once: int = 1000
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

    Example:
        >>> from genlib.data import load
        >>> from genlib.variational import VAE
        >>> model = VAE((1, 4, 4), latent_dim=2)
        >>> importance_bound(model, load("bars").floats(), k=50).shape
        torch.Size([30])
    """
    if k < 1 or at_once < 1:
        raise ValueError(f"k and at_once must be at least 1, not {k} and {at_once}")
    check_labels(y, len(x), model.n_classes)
    prior = model.prior()
    draws = min(k, at_once)
    bounds = []
    for rows in torch.arange(len(x), device=x.device).split(at_once // draws):
        images, labels = x[rows], None if y is None else y[rows]
        posterior = model.posterior(images, y=labels)
        log_sums = []  # of the weights p(x | z) p(z) / q(z | x), one for each chunk of codes
        for start in range(0, k, draws):
            z = posterior.sample((min(draws, k - start),))  # (draws, rows, latent_dim)
            log_joint = model.log_likelihood(images, z, y=labels) + prior.log_prob(z)
            log_sums.append((log_joint - posterior.log_prob(z)).logsumexp(dim=0))
        bounds.append(torch.stack(log_sums).logsumexp(dim=0) - math.log(k))
    return torch.cat(bounds)


@torch.no_grad()
def log_prob_by_quadrature(
    model: HasBound, x: Tensor, *, y: Tensor | None = None, reach: float = 6.0, points: int = 161
) -> Tensor:
    r"""A VAE's $\log p(x) = \log \int p(x \mid z)\, p(z)\, dz$, by a sum over a grid of codes, in nats.

    With one or two latents the integral that has no general solution can be computed: the
    mean of a smooth function over ever finer cells converges fast. It is as good as exact where it no
    longer changes with `points`; a decoder that turns sharply between two codes needs more of them.

    Args:
        model: has `prior`, `log_likelihood` and `latent_dim` 1 or 2, as `VAE`; on the device of `x`.
        x: images.
        y: labels of a conditional model.
        reach: how far the grid goes from the origin, in standard deviations of the prior, beyond
            which lies a probability of $2 \times 10^{-9}$ for each latent.
        points: codes along each latent, at least 2.

    Shapes:
        x (N, C, H, W) in [0, 1], y (N,) -> (N,)

    Raises:
        ValueError: more than two latents, fewer than 2 points, a reach that is not positive.

    Example:
        >>> from genlib.data import all_images
        >>> from genlib.variational import VAE
        >>> log_p = log_prob_by_quadrature(VAE((1, 2, 2), latent_dim=2), all_images(2, (1, 2, 2)))
        >>> round(log_p.exp().sum().item(), 4)  # a distribution over all 16 images
        1.0
    """
    latent_dim = model.latent_dim
    if latent_dim > 2:
        raise ValueError(
            f"a grid over {latent_dim} latents would have {points}^{latent_dim} codes: use "
            "importance_bound, or build the model with latent_dim=2"
        )
    if points < 2 or not reach > 0:
        raise ValueError(f"points must be at least 2 and reach positive, not {points} and {reach}")
    axis = torch.linspace(-reach, reach, points, dtype=torch.double)
    z = torch.cartesian_prod(*[axis] * latent_dim).view(-1, 1, latent_dim)  # (codes, 1, latents)
    log_cell = latent_dim * math.log(2 * reach / (points - 1))
    prior = model.prior()
    log_sums = []  # a chunk of codes at a time, of which one number an image is kept
    for codes in z.to(x).split(max(1, 2**22 // x.numel())):
        codes = codes if y is None else codes.expand(-1, len(x), -1)
        log_joint = model.log_likelihood(x, codes, y=y) + prior.log_prob(codes)
        log_sums.append(log_joint.logsumexp(dim=0))
    return torch.stack(log_sums).logsumexp(dim=0) + log_cell


@torch.no_grad()
def split_kl(q: Independent, prior: Independent, *, draws: int = 1) -> tuple[float, float]:
    r"""The KL term of a set in two parts: what codes say of their image, and what the prior lacks.

    Codes of a set of N images follow the aggregated posterior $q(z) = \frac1N \sum_n q(z \mid x_n)$.
    Averaged over the set,

    $$\frac1N \sum_n KL(q(z \mid x_n) \| p(z)) = I(n; z) + KL(q(z) \| p(z)),$$

    where $I(n; z)$, the mutual information of code and index, is at most $\log N$. The prior occurs in
    the second part alone, which is zero where the codes of the set follow the prior as a whole.

    Both are means of log ratios over draws of $q(z \mid x_n)$, without bias.

    Paper: Hoffman & Johnson (2016), ELBO surgery, NIPS workshop on advances in approximate Bayesian
    inference, equations 5 to 8.

    Args:
        q: posteriors of all N images of the set, batch shape (N,), as `VAE.posterior` returns them.
        prior: of one code.
        draws: codes drawn from each posterior. Draws x N x N densities are computed.

    Returns:
        I(n; z) and KL(q(z) || p(z)), nats an image.

    Example:
        >>> from torch.distributions import Normal
        >>> far = Independent(Normal(1000 * torch.eye(4), 1.0), 1)  # four images that no code confuses
        >>> prior = Independent(Normal(torch.zeros(4), 1000.0), 1)
        >>> information, marginal = split_kl(far, prior)
        >>> round(information, 4) == round(math.log(4), 4)
        True
    """
    z = q.sample((draws,))  # (draws, N, D)
    n = z.shape[1]
    parts = z.flatten(0, 1).split(max(1, 2**16 // n))  # a part at a time spares the memory
    log_q = torch.cat([q.log_prob(part[:, None]).logsumexp(dim=1) for part in parts]) - math.log(n)
    information = q.log_prob(z).mean() - log_q.mean()
    marginal = log_q.mean() - prior.log_prob(z).mean()
    return information.item(), marginal.item()
