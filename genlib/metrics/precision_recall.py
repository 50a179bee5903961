"""Precision, recall and nearest neighbours of samples among real images."""

import torch
from torch import Tensor

from genlib.validation import at_least_one


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 3) -> tuple[float, float]:
    r"""Do samples look real (precision), and do they cover all that is real (recall)?

    Around each example of a set lies a ball that reaches to its k-th neighbour in the set; the balls
    together stand for where the set lives. Precision is the share of samples within the balls of
    the real examples, recall the share of real examples within the balls of the samples. A single
    image copied scores in precision, noise over everything in recall.

    Both grow with k, and even real against real stays below 1: compare with what fresh real examples
    get. The number of examples matters far less than to the Fréchet distance: between samples of
    one 8-dimensional Gaussian (k = 3) both are 0.86 with 25 examples and 0.87 with 400.

    Paper: Kynkaanniemi et al. (2019), Improved precision and recall metric for assessing generative
    models, arXiv:1904.06991, section 2.

    Args:
        real, fake: features of real images and of samples; take as many of both.
        k: which neighbour a ball reaches to.

    Shapes:
        (N, D), (M, D) -> precision, recall, both in [0, 1]

    Raises:
        ValueError: not features of one kind, or no more than k of them.

    Example:
        >>> square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> precision_recall(square, torch.full((4, 2), 0.5), k=1)  # near all, but on one spot
        (1.0, 0.0)
    """
    at_least_one("k", k)
    _check_features(real, fake, least=k + 1)
    apart = _far(fake, real)  # (M, N)
    return _share_within(apart, real, k), _share_within(apart.T, fake, k)


def _share_within(apart: Tensor, manifold: Tensor, k: int) -> float:
    """How many of N points, so far `apart` from M others, lie in a ball around one of these, (N, M) -> share."""
    # the nearest of all is the point itself, at distance 0
    radius = _far(manifold, manifold).kthvalue(k + 1, dim=1).values  # (M,)
    return (apart <= radius).any(dim=1).float().mean().item()


def nearest_neighbours(samples: Tensor, data: Tensor, *, k: int = 1) -> tuple[Tensor, Tensor]:
    """The training examples nearest to each sample: has the model memorised them?

    Args:
        samples: images, or points, or features.
        data: what the model was trained on, of the same shape.
        k: how many neighbours.

    Shapes:
        (N, ...), (M, ...) -> distances (N, k), Euclidean, ascending, and rows of `data` (N, k)

    Raises:
        ValueError: another shape, or k not in 1 .. M.

    Example:
        >>> data = torch.tensor([[0.0], [1.0], [5.0]])
        >>> nearest_neighbours(torch.tensor([[4.0], [0.25]]), data)
        (tensor([[1.0000], [0.2500]]), tensor([[2], [0]]))
    """
    _check_alike(samples, data, "data")
    if not 1 <= k <= len(data):
        raise ValueError(f"k must be 1 to {len(data)}, the number of training examples, not {k}")
    x, data = samples.flatten(1), data.flatten(1)
    found = [_distances(part, data).topk(k, dim=1, largest=False) for part in x.split(500)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _check_alike(samples: Tensor, others: Tensor, what: str) -> None:
    ours, theirs = tuple(samples.shape[1:]), tuple(others.shape[1:])
    if ours != theirs:
        raise ValueError(
            f"samples of shape {ours} cannot be compared with {what} of shape {theirs}"
        )


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (N, D), (M, D) -> (N, M), without the shortcut that rounds small ones."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _far(a: Tensor, b: Tensor) -> Tensor:
    r"""Distances of features, (N, D), (M, D) -> (N, M) in single precision; where D is large, several times as fast.

    $\lVert a - b \rVert^2 = \lVert a \rVert^2 + \lVert b \rVert^2 - 2 a^T b$ is a matrix product. It
    cancels for near points, so it is computed in doubles, and what is below their accuracy is zero.
    """
    if a.shape[1] < 64:
        return _distances(a, b).float()
    a, b = a.double(), b.double()
    sizes = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)
    squares = sizes - 2 * a @ b.T
    return squares.where(squares > 1e-12 * sizes, 0).sqrt().float()


def _check_features(real: Tensor, fake: Tensor, least: int) -> None:
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"features must be (N, D) and (M, D), not {tuple(real.shape)} and {tuple(fake.shape)}: "
            "FeatureClassifier.features gives such, or flatten the images"
        )
    if min(len(real), len(fake)) < least:
        raise ValueError(
            f"this takes at least {least} examples of both, not {len(real)} and {len(fake)}"
        )
    if not (real.isfinite().all() and fake.isfinite().all()):
        raise ValueError("features contain NaN or infinity: look for the step that produced it")
