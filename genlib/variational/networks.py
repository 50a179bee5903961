"""Encoders and decoders for images of any size from 4x4 to 32x32: fully connected, and convolutional."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from genlib.layers import at_every_pixel
from genlib.validation import Shape

HIDDEN = 400  # units of the hidden layer of the networks that a model has by default


class MLP(nn.Module):
    """A multilayer perceptron: linear maps with an activation between them.

    It serves as encoder and as decoder, since its input is flattened, and since the models give its
    output the shape they need. A label shifts the first hidden layer, which is what appending it to
    the input as a one-hot vector would do.

    Args:
        sizes: numbers of input, hidden and output units; "784-400-20" is (784, 400, 20).
        n_classes: number of labels, 0 for a network that is given none.
        activation: what follows every layer but the last.

    Shapes:
        x (B, ...) of sizes[0] numbers an image, y (B,) -> (B, sizes[-1])

    Example:
        >>> import torch
        >>> encoder = MLP((64, 100, 2 * 8))
        >>> encoder(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 16])
    """

    def __init__(
        self, sizes: Sequence[int], *, n_classes: int = 0, activation: type[nn.Module] = nn.GELU
    ):
        super().__init__()
        if len(sizes) < 3:
            raise ValueError(f"sizes must be input, hidden and output units, not {tuple(sizes)}")
        self.first = nn.Linear(sizes[0], sizes[1])
        if n_classes:
            self.class_bias = nn.Embedding(n_classes, sizes[1])
        rest: list[nn.Module] = []
        for n_in, n_out in zip(sizes[1:-1], sizes[2:], strict=True):
            rest += [activation(), nn.Linear(n_in, n_out)]
        self.rest = nn.Sequential(*rest)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.first(x.flatten(1))
        if y is not None:
            h = h + self.class_bias(y)
        return self.rest(h)


class LevelDecoder(nn.Module):
    """An MLP that returns a few features for each value, and one map from features to K logits.

    The map is the same for all values of the image. So what a dark pixel looks like is learnt once,
    from all of them, and the network stays small: 256 levels of 28x28 pixels would take 80 million
    weights in the last layer of an `MLP`, and take 5 million here.

    Args:
        sizes: numbers of units of the MLP, from the latent dimension to the last hidden layer.
        shape: image shape (C, H, W).
        levels: number K of logits a value.
        n_classes: number of labels, 0 for a network that is given none.
        hidden_dim: features of each value.

    Shapes:
        z (B, sizes[0]), y (B,) -> (B, K, C * H * W)

    Example:
        >>> import torch
        >>> LevelDecoder((16, 400), shape=(1, 8, 8), levels=17)(torch.zeros(5, 16)).shape
        torch.Size([5, 17, 64])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        shape: Shape,
        levels: int,
        n_classes: int = 0,
        hidden_dim: int = 16,
    ):
        super().__init__()
        n_values = math.prod(shape)
        self.mlp = MLP((*sizes, hidden_dim * n_values), n_classes=n_classes)
        self.to_features = nn.Unflatten(1, (hidden_dim, n_values))
        self.to_logits = nn.Conv1d(hidden_dim, levels, 1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.to_logits(F.gelu(self.to_features(self.mlp(z, y))))


class ConvEncoder(nn.Module):
    """Convolutions that halve an image twice, then a linear map: position counts, but late.

    Args:
        shape: image shape (C, H, W), at least 4x4; odd sizes are rounded up when halved.
        out_dim: numbers to return, the latent dimension of an autoencoder or twice that of a VAE.
        hidden_dim: feature maps of the first layer; the second has twice as many.
        n_classes: number of labels, 0 for a network that is given none.

    Shapes:
        x (B, C, H, W), y (B,) -> (B, out_dim)

    Example:
        >>> import torch
        >>> ConvEncoder((3, 7, 9), out_dim=16)(torch.zeros(5, 3, 7, 9)).shape
        torch.Size([5, 16])
    """

    def __init__(self, shape: Shape, *, out_dim: int, hidden_dim: int = 32, n_classes: int = 0):
        super().__init__()
        self.down = nn.Conv2d(shape[0], hidden_dim, 3, stride=2, padding=1)
        self.down_again = nn.Conv2d(hidden_dim, 2 * hidden_dim, 3, stride=2, padding=1)
        if n_classes:
            self.class_bias = nn.Embedding(n_classes, hidden_dim)
        height, width = _quarter(shape)
        self.out = nn.Linear(2 * hidden_dim * height * width, out_dim)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.down(x)
        if y is not None:
            h = h + at_every_pixel(self.class_bias(y), h)  # what, not where
        h = self.down_again(F.gelu(h))
        return self.out(F.gelu(h).flatten(1))


class ConvDecoder(nn.Module):
    """The mirror image of `ConvEncoder`: a linear map, then transposed convolutions that double.

    Args:
        latent_dim: size of a code.
        shape: image shape (C, H, W), at least 4x4; for odd sizes what sticks out is cut off.
        per_value: numbers to return for each value of the image: 1 for an autoencoder, more where a
            distribution has more parameters.
        hidden_dim: feature maps after the first doubling; before it there are twice as many.
        n_classes: number of labels, 0 for a network that is given none.

    Shapes:
        z (B, latent_dim), y (B,) -> (B, per_value * C, H, W); the colour changes fastest

    Example:
        >>> import torch
        >>> ConvDecoder(16, (3, 7, 9))(torch.zeros(5, 16)).shape
        torch.Size([5, 3, 7, 9])
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Shape,
        per_value: int = 1,
        hidden_dim: int = 32,
        n_classes: int = 0,
    ):
        super().__init__()
        self.rows, self.columns = shape[1:]
        height, width = _quarter(shape)
        self.first = nn.Linear(latent_dim, 2 * hidden_dim * height * width)
        if n_classes:
            self.class_bias = nn.Embedding(n_classes, 2 * hidden_dim * height * width)
        self.to_map = nn.Unflatten(1, (2 * hidden_dim, height, width))
        self.up = nn.ConvTranspose2d(2 * hidden_dim, hidden_dim, 4, stride=2, padding=1)
        self.up_again = nn.ConvTranspose2d(hidden_dim, hidden_dim, 4, stride=2, padding=1)
        self.out = nn.Conv2d(hidden_dim, per_value * shape[0], 1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.first(z)
        if y is not None:
            h = h + self.class_bias(y)
        h = self.up(F.gelu(self.to_map(h)))
        h = self.up_again(F.gelu(h))[..., : self.rows, : self.columns]
        return self.out(F.gelu(h))


def _quarter(shape: Shape) -> tuple[int, int]:
    """Rows and columns of an image halved twice, each time rounded up."""
    return -(-shape[1] // 4), -(-shape[2] // 4)
