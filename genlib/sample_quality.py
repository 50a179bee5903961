"""How good are samples? Measures that need nothing but samples: they work where there is no p(x).

Two of them look at images through the features of a small classifier, trained on the same data.
None of them is a likelihood, and each can be fooled: read them together.
"""

import math
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR

from genlib.data import ImageSet
from genlib.nn import Shape, at_least_one, check_images
from genlib.training import train_epoch


class FeatureClassifier(nn.Module):
    """A small convolutional classifier; what it computes before its last layer are its features.

    Frechet distance and precision compare features, as pixels say little about likeness: a digit
    moved by a pixel is far from itself. The usual features come from a network trained on a million
    photographs (Heusel et al., 2017, arXiv:1706.08500); these come from the data at hand, so that
    numbers are comparable only within one data set and one `seed`.

    Args:
        shape: (C, H, W) of the images.
        n_classes: number of labels.
        n_features: numbers D that describe an image.

    Shapes:
        forward:  x (B, C, H, W) in [0, 1] -> logits (B, n_classes)
        loss:     x, y (B,) -> scalar, nats per image
        features: x -> (B, D), without gradients
        predict:  x -> labels (B,)

    Raises:
        TypeError, ValueError: images of another shape, or outside [0, 1].

    Example:
        >>> classifier = FeatureClassifier((1, 8, 8), n_classes=10)
        >>> classifier.features(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 32])
    """

    def __init__(self, shape: Shape, n_classes: int, n_features: int = 32):
        super().__init__()
        self.shape, self.n_classes = shape, n_classes
        self.to_features = nn.Sequential(
            nn.Conv2d(shape[0], 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(4),
            nn.Flatten(),
            nn.Linear(32 * 16, n_features),
        )
        self.to_logits = nn.Sequential(nn.ReLU(), nn.Linear(n_features, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        check_images(x, self.shape)
        return self.to_logits(self.to_features(2 * x - 1))

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy of the labels, nats per image."""
        return F.cross_entropy(self(x), y)

    @torch.no_grad()
    def features(self, x: Tensor, batch_size: int = 100) -> Tensor:
        """What an image looks like to the classifier, (B, C, H, W) -> (B, D)."""
        check_images(x, self.shape)
        return torch.cat([self.to_features(2 * part - 1) for part in x.split(batch_size)])

    @torch.no_grad()
    def predict(self, x: Tensor, batch_size: int = 100) -> Tensor:
        """The likeliest label of each image, (B, C, H, W) -> (B,)."""
        return torch.cat([self(part).argmax(dim=1) for part in x.split(batch_size)])


def train_classifier(data: ImageSet, updates: int = 400, seed: int = 0) -> FeatureClassifier:
    """Train a `FeatureClassifier` in seconds; the same data and seed give the same classifier.

    The random numbers of whoever calls are left as they were.

    Args:
        data: images with labels, usually the training split.
        updates: batches of 64 to learn from.
        seed: of the weights it starts from and of the batches.

    Raises:
        ValueError: updates < 1.

    Example:
        >>> from genlib.data import load
        >>> digits = load("digits", "test")
        >>> classifier = train_classifier(load("digits"))
        >>> bool((classifier.predict(digits.floats()) == digits.labels).float().mean() > 0.95)
        True
    """
    at_least_one("updates", updates)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = FeatureClassifier(data.shape, data.n_classes)
    optimizer = Adam(classifier.parameters())
    scheduler = OneCycleLR(optimizer, max_lr=3e-3, total_steps=updates)
    batches = islice(data.endless_batches(64, generator=generator), updates)
    train_epoch(classifier, batches, optimizer, scheduler)
    return classifier.eval().requires_grad_(False)


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    r"""Frechet distance between two sets of features, each taken for a Gaussian; smaller is better.

    $$d^2 = \lVert \mu_1 - \mu_2 \rVert^2 +
    \operatorname{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2})^{1/2})$$

    with the means and covariances of the two sets. It is zero between equal Gaussians only, but
    its estimate is not: between two samples of n from one standard Gaussian it comes to
    $(2 D + D (D + 1) / 2) / n$ on average, so fewer samples look worse. Compare models at one number
    of samples, and with what a fresh sample of real data gets.

    Paper: Heusel et al. (2017), GANs trained by a two time-scale update rule converge to a local
    Nash equilibrium, arXiv:1706.08500, equation 6; the bias: Chong & Forsyth (2020),
    arXiv:1911.07023.

    Args:
        real, fake: features of real images and of samples.

    Shapes:
        (N, D), (M, D) -> a number, in squared units of the features

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


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    r"""Do samples look real (precision), and is all that is real among them (recall)?

    Around each example of a set lies a ball that reaches to its k-th neighbour in the set; the balls
    together stand for where the set lives. Precision is the share of samples within the balls of
    the real examples, recall the share of real examples within the balls of the samples. A single
    image copied scores in precision, noise over everything in recall.

    Both grow with k, and even real against real stays below 1: compare with what fresh real examples
    get. The number of examples matters far less than to the Frechet distance: between samples of
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


def mode_counts(samples: Tensor, modes: Tensor, radius: float) -> Tensor:
    """How many samples fall to each mode: the nearest one, if it is no farther than the radius.

    For a mixture of Gaussians take its means and three standard deviations (Metz et al., 2017,
    arXiv:1611.02163, appendix); for `bars` its 30 images, samples of black and white pixels
    (`x > 0.5`) and a radius of 0.5, which lets only the image itself count.

    Args:
        samples: points or images.
        modes: points or images of the same shape.
        radius: distance (Euclidean) up to which a sample counts.

    Shapes:
        (N, ...), (M, ...) -> (M,) int64; their sum is below N where samples fall to no mode

    Raises:
        ValueError: another shape, or a radius below 0.

    Example:
        >>> modes = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
        >>> samples = torch.tensor([[0.1, 0.0], [0.0, 0.2], [3.9, 0.1], [2.0, 2.0]])
        >>> mode_counts(samples, modes, radius=0.5)
        tensor([2, 1, 0])
    """
    if samples.shape[1:] != modes.shape[1:]:
        raise ValueError(
            f"samples of shape {tuple(samples.shape[1:])} cannot be compared with modes of shape "
            f"{tuple(modes.shape[1:])}"
        )
    if radius < 0:
        raise ValueError(f"radius must be 0 or more, not {radius}")
    distance, mode = _distances(samples.flatten(1), modes.flatten(1)).min(dim=1)
    return torch.bincount(mode[distance <= radius], minlength=len(modes))


def mode_coverage(samples: Tensor, modes: Tensor, radius: float, share: float = 0.1) -> int:
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
    counts = mode_counts(samples, modes, radius)
    return int((counts >= max(1.0, share * len(samples) / len(modes))).sum())


def nearest_neighbours(samples: Tensor, data: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """The training examples nearest to each sample: has the model learnt them by heart?

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
    if samples.shape[1:] != data.shape[1:]:
        raise ValueError(
            f"samples of shape {tuple(samples.shape[1:])} cannot be compared with data of shape "
            f"{tuple(data.shape[1:])}"
        )
    if not 1 <= k <= len(data):
        raise ValueError(f"k must be 1 to {len(data)}, the number of training examples, not {k}")
    x, data = samples.flatten(1), data.flatten(1)
    found = [_distances(part, data).topk(k, dim=1, largest=False) for part in x.split(500)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


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
