"""The Fréchet distance between the features of real and of drawn images; with Inception features, FID."""

import math

import torch
from torch import Tensor

from genlib.metrics.precision_recall import _check_features


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    r"""Fréchet distance between two sets of features, each taken for a Gaussian; smaller is better.

    $$d^2 = \lVert \mu_1 - \mu_2 \rVert^2 +
    \operatorname{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2})^{1/2})$$

    with the means and covariances of the two sets. It is zero between equal Gaussians only, but
    its estimate is not: between two samples of n from one standard Gaussian it comes to
    $(2 D + D (D + 1) / 2) / n$ on average, so fewer samples look worse. Compare models at one number
    of samples, and with what a fresh sample of real data gets.

    Paper: Heusel et al. (2017), GANs trained by a two time-scale update rule converge to a local
    Nash equilibrium, arXiv:1706.08500, equation 6; the bias: Chong & Forsyth (2020),
    arXiv:1911.07023.

    Shapes:
        features (N, D) of real images, (M, D) of samples -> a number, in their squared units

    Raises:
        ValueError: not features of one kind, or fewer than two.

    Example:
        >>> x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
        >>> round(frechet_distance(x, x + 2.0), 4)  # moved by 2 along each of 3 axes
        12.0
    """
    _check_features(real, fake, least=2)
    real, fake = real.double(), fake.double()
    mean1, mean2 = real.mean(dim=0), fake.mean(dim=0)
    if max(len(real), len(fake)) >= real.shape[1]:
        return gaussian_frechet(mean1, real.T.cov(), mean2, fake.T.cov())
    # fewer examples than features: with Sigma = A^T A the trace of the root is the sum of the
    # singular values of A_1 A_2^T, which is (N, M) and so smaller than any of the covariances
    a1, a2 = (real - mean1) / math.sqrt(len(real) - 1), (fake - mean2) / math.sqrt(len(fake) - 1)
    cross = torch.linalg.svdvals(a1 @ a2.T).sum()
    distance = (mean1 - mean2).square().sum() + a1.square().sum() + a2.square().sum() - 2 * cross
    return max(distance.item(), 0.0)


def gaussian_frechet(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    r"""The formula of `frechet_distance`, for two Gaussians that are known.

    Square roots go by eigenvalues, which are real here and may be rounded to 0 from below: so it
    also holds where a covariance has no inverse.

    Shapes:
        (D,), (D, D), (D,), (D, D) -> a number

    Example:
        >>> eye = torch.eye(2)
        >>> round(gaussian_frechet(torch.zeros(2), eye, torch.zeros(2), 9 * eye), 4)  # 2 (3 - 1)^2
        8.0
    """
    values, vectors = torch.linalg.eigh(cov1.reshape(len(mean1), -1))
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T  # cov1^(1/2)
    inner = root @ cov2.reshape(len(mean2), -1) @ root
    cross = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp_min(0).sqrt().sum()
    distance = (mean1 - mean2).square().sum() + values.sum() + cov2.diagonal().sum() - 2 * cross
    return max(distance.item(), 0.0)
