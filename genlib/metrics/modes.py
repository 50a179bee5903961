"""Which modes of a known density samples reach."""

import torch
from torch import Tensor

from genlib.metrics.precision_recall import _check_alike, _distances


def mode_counts(samples: Tensor, modes: Tensor, *, radius: float) -> Tensor:
    """How many samples fall to each mode: the nearest one, if it is no farther than the radius.

    For a mixture of Gaussians take its means and three standard deviations (Metz et al., 2017,
    arXiv:1611.02163, appendix); for `bars` its 30 images, samples of black and white pixels
    (`x > 0.5`) and a radius of 0.5, which lets only the image itself count.

    Args:
        samples, modes: points or images of one shape.
        radius: distance (Euclidean) up to which a sample counts.

    Shapes:
        (N, ...), (M, ...) -> (M,) int64; their sum is below N where samples fall to no mode

    Example:
        >>> modes = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
        >>> samples = torch.tensor([[0.1, 0.0], [0.0, 0.2], [3.9, 0.1], [2.0, 2.0]])
        >>> mode_counts(samples, modes, radius=0.5)
        tensor([2, 1, 0])
    """
    _check_alike(samples, modes, "modes")
    if radius < 0:
        raise ValueError(f"radius must be 0 or more, not {radius}")
    distance, mode = _distances(samples.flatten(1), modes.flatten(1)).min(dim=1)
    return torch.bincount(mode[distance <= radius], minlength=len(modes))


def mode_coverage(samples: Tensor, modes: Tensor, *, radius: float, share: float = 0.1) -> int:
    """How many modes the samples cover: those that get a tenth of what an equal share would be.

    A single stray sample does not make a mode covered; with N samples and M modes it takes
    `share * N / M`, and at least one.

    Args:
        samples, modes, radius: as `mode_counts`.
        share: the part of an equal share that is enough.

    Example:
        >>> from genlib.data import load
        >>> bars = load("bars").floats()
        >>> mode_coverage(bars[:12].repeat(5, 1, 1, 1), modes=bars, radius=0.5)
        12
    """
    counts = mode_counts(samples, modes, radius=radius)
    return int((counts >= max(1.0, share * len(samples) / len(modes))).sum())
