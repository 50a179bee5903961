"""A small classifier whose features judge samples, as an Inception network does for photographs."""

from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR

from genlib.data import ImageSet
from genlib.training import train_epoch
from genlib.validation import Shape, at_least_one, check_images


class FeatureClassifier(nn.Module):
    """A small convolutional classifier; what it computes before its last layer are its features.

    Fréchet distance and precision compare features, as pixels say little about likeness: a digit
    moved by a pixel is far from itself. The usual features come from a network trained on a million
    photographs (Heusel et al., 2017, arXiv:1706.08500); these come from the data at hand, so that
    numbers are comparable only within one data set and one `seed`.

    Args:
        shape: (C, H, W) of the images.
        n_classes: number of labels.
        hidden_dim: numbers D that describe an image: the width of the last hidden layer.

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

    def __init__(self, shape: Shape, *, n_classes: int, hidden_dim: int = 32):
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
            nn.Linear(32 * 16, hidden_dim),
        )
        self.to_logits = nn.Sequential(nn.ReLU(), nn.Linear(hidden_dim, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        check_images(x, self.shape)
        return self.to_logits(self.to_features(2 * x - 1))

    def loss(self, x: Tensor, *, y: Tensor) -> Tensor:
        """Mean cross-entropy of the labels, nats per image."""
        return F.cross_entropy(self(x), y)

    @torch.no_grad()
    def features(self, x: Tensor, batch_size: int = 100) -> Tensor:
        """The classifier's features of an image, (B, C, H, W) -> (B, D)."""
        check_images(x, self.shape)
        return torch.cat([self.to_features(2 * part - 1) for part in x.split(batch_size)])

    @torch.no_grad()
    def predict(self, x: Tensor, batch_size: int = 100) -> Tensor:
        """The likeliest label of each image, (B, C, H, W) -> (B,)."""
        return torch.cat([self(part).argmax(dim=1) for part in x.split(batch_size)])


def train_classifier(data: ImageSet, *, updates: int = 400, seed: int = 0) -> FeatureClassifier:
    """Train a `FeatureClassifier` in seconds; the same data and seed give the same classifier.

    The caller's random numbers are left as they were.

    Args:
        data: images with labels, usually the training split.
        updates: batches of 64 to learn from.
        seed: of the weights it starts from and of the batches.

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
        classifier = FeatureClassifier(data.shape, n_classes=data.n_classes)
    optimizer = Adam(classifier.parameters())
    scheduler = OneCycleLR(optimizer, max_lr=3e-3, total_steps=updates)
    batches = islice(data.endless_batches(64, generator=generator), updates)
    train_epoch(classifier, batches, optimizer, scheduler)
    return classifier.eval().requires_grad_(False)
