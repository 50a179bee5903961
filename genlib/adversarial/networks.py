"""Pairs of networks for a GAN: two small perceptrons, and the convolutions of DCGAN."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from genlib.surface import n_classes_of
from genlib.validation import at_least_one

# (C, H, W) of images in [0, 1], or (D,) of points, which may lie anywhere
ExampleShape = tuple[int, int, int] | tuple[int]


class MLPGenerator(nn.Module):
    r"""A perceptron from noise to points or small images, with batch norm before every ReLU.

    Batch norm counts here: without it, a generator soon sends all noise to one image (Radford et al.,
    2016, arXiv:1511.06434, section 3, found the same).

    A class label enters as a learned bias in the first layer, which is what joining a one-hot label
    to z comes to (Mirza & Osindero, 2014, Conditional generative adversarial nets, arXiv:1411.1784).
    Images leave through a sigmoid, points as they are.

    Args:
        shape: (C, H, W) of the images, or (D,) of points.
        latent_dim: numbers in z.
        hidden_dim: width of the hidden layers.
        depth: number of hidden layers, at least 1.
        n_classes: number of labels, 0 for an unconditional generator.

    Shapes:
        z (B, latent_dim), y (B,) -> (B, C, H, W) in [0, 1], or (B, D)

    Example:
        >>> MLPGenerator((1, 4, 4), latent_dim=8)(torch.randn(5, 8)).shape
        torch.Size([5, 1, 4, 4])
    """

    def __init__(
        self,
        shape: ExampleShape,
        *,
        latent_dim: int,
        hidden_dim: int = 128,
        depth: int = 2,
        n_classes: int = 0,
    ):
        super().__init__()
        _check_mlp(shape, depth)
        self.shape, self.latent_dim, self.n_classes = shape, latent_dim, n_classes
        self.first = nn.Linear(latent_dim, hidden_dim)
        self.class_bias = nn.Embedding(n_classes, hidden_dim) if n_classes else None
        layers: list[nn.Module] = []
        for k in range(depth):
            out_dim = hidden_dim if k < depth - 1 else math.prod(shape)
            layers += [nn.BatchNorm1d(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim)]
        self.rest = nn.Sequential(*layers)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.first(z)
        if self.class_bias is not None:
            h = h + self.class_bias(y)
        x = self.rest(h).unflatten(1, self.shape)
        return x.sigmoid() if len(self.shape) == 3 else x


class MLPDiscriminator(nn.Module):
    r"""A perceptron from points or small images to a logit.

    With classes it has one logit for each, and the label picks: "a real 3?", "a real 4?" (the
    projection discriminator of Miyato & Koyama, 2018, arXiv:1802.05637, equation 3, says the same
    with a part that the classes share).

    Args:
        shape: (C, H, W) of the images, or (D,) of points.
        hidden_dim: width of the hidden layers.
        depth: number of hidden layers, at least 1.
        n_classes: number of labels, 0 for an unconditional discriminator.

    Shapes:
        x (B, C, H, W) in [0, 1] or (B, D), y (B,) -> logits (B,)

    Example:
        >>> MLPDiscriminator((2,))(torch.randn(5, 2)).shape
        torch.Size([5])
    """

    def __init__(
        self, shape: ExampleShape, *, hidden_dim: int = 128, depth: int = 2, n_classes: int = 0
    ):
        super().__init__()
        _check_mlp(shape, depth)
        self.shape, self.n_classes = shape, n_classes
        self.first = nn.Linear(math.prod(shape), hidden_dim)
        layers: list[nn.Module] = []
        for k in range(depth):
            out_dim = hidden_dim if k < depth - 1 else max(n_classes, 1)
            layers += [nn.LeakyReLU(0.2), nn.Linear(hidden_dim, out_dim)]
        self.rest = nn.Sequential(*layers)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        x = 2 * x - 1 if len(self.shape) == 3 else x
        return pick(self.rest(self.first(x.flatten(1))), y)


class DCGANGenerator(nn.Module):
    r"""From noise to an image by convolutions that double its sides, with batch norm between them.

    z becomes a small map of many features; every transposed convolution doubles its sides and halves
    the number of features, until the image is there. 28 goes 7, 14, 28; 32 goes 4, 8, 16, 32.

    Paper: Radford et al. (2016), Unsupervised representation learning with deep convolutional
    generative adversarial networks, arXiv:1511.06434, section 3, figure 1; weights start from
    N(0, 0.02^2), section 4.
    Departs from it: few features by default, for a CPU; kernels of 4x4, which a stride of 2 divides,
    so that no checkerboard appears; images in [0, 1], (tanh + 1) / 2; a class label enters as a
    learned bias next to z.

    Args:
        shape: (C, H, W) of the images; sides even and at least 8.
        latent_dim: numbers in z.
        hidden_dim: features F before the last layer; twice as many in each layer before it.
        n_classes: number of labels, 0 for an unconditional generator.

    Shapes:
        z (B, latent_dim), y (B,) -> (B, C, H, W) in [0, 1]

    Raises:
        ValueError: sides that cannot be halved down to less than 8.

    Example:
        >>> DCGANGenerator((1, 28, 28), latent_dim=64)(torch.randn(5, 64)).shape
        torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        *,
        latent_dim: int = 64,
        hidden_dim: int = 32,
        n_classes: int = 0,
    ):
        super().__init__()
        self.shape, self.latent_dim, self.n_classes = shape, latent_dim, n_classes
        halvings, height, width = halve(shape)
        widths = [hidden_dim * 2**k for k in reversed(range(halvings))]  # of the maps
        self.first_map = (height, width, widths[0])
        self.first = nn.Linear(latent_dim, math.prod(self.first_map), bias=False)
        self.class_bias = nn.Embedding(n_classes, math.prod(self.first_map)) if n_classes else None
        layers: list[nn.Module] = []
        for narrower, wider in zip([*widths[1:], shape[0]], widths, strict=True):
            # batch norm takes the mean away, and with it any bias that the layer before has added
            layers += [nn.BatchNorm2d(wider), nn.ReLU(inplace=True)]
            last = len(layers) == 2 * len(widths)
            layers += [nn.ConvTranspose2d(wider, narrower, 4, stride=2, padding=1, bias=last)]
        self.rest = nn.Sequential(*layers)
        initialize(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.first(z)
        if self.class_bias is not None:
            h = h + self.class_bias(y).to(h.dtype)
        # a pixel's features lie next to each other: the layout in which convolutions are fastest
        h = self.rest(h.unflatten(1, self.first_map).permute(0, 3, 1, 2))
        return (h.to(z.dtype).tanh() + 1) / 2


class DCGANDiscriminator(nn.Module):
    r"""From an image to a logit by convolutions that halve its sides: the generator in a mirror.

    Every strided convolution halves the sides and doubles the number of features; what is left is
    flattened and weighed by one linear layer. Leaky ReLU, and batch norm after every convolution but
    the first. With classes there is one logit for each, and the label picks.

    Paper: as `DCGANGenerator`. A critic with a gradient penalty takes `norm=layer_norm`
    (Gulrajani et al., 2017, arXiv:1704.00028, section 4).

    Args:
        shape: (C, H, W) of the images; sides even and at least 8.
        hidden_dim: features F after the first layer; twice as many after each further one.
        n_classes: number of labels, 0 for an unconditional discriminator.
        norm: makes the normalisation for a number of features: `nn.BatchNorm2d` or `layer_norm`.

    Shapes:
        x (B, C, H, W) in [0, 1], y (B,) -> logits (B,)

    Example:
        >>> DCGANDiscriminator((3, 32, 32))(torch.rand(5, 3, 32, 32)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        *,
        hidden_dim: int = 32,
        n_classes: int = 0,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        self.shape, self.n_classes = shape, n_classes
        halvings, height, width = halve(shape)
        layers: list[nn.Module] = [
            nn.Conv2d(shape[0], hidden_dim, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for _ in range(halvings - 1):
            layers += [nn.Conv2d(hidden_dim, 2 * hidden_dim, 4, stride=2, padding=1, bias=False)]
            layers += [norm(2 * hidden_dim), nn.LeakyReLU(0.2, inplace=True)]
            hidden_dim = 2 * hidden_dim
        self.convolutions = nn.Sequential(*layers)
        self.last = nn.Linear(hidden_dim * height * width, max(n_classes, 1))
        initialize(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.convolutions(2 * x - 1)
        # features last, as in the generator: an order that needs no copy in the fast layout
        return pick(self.last(h.permute(0, 2, 3, 1).flatten(1)), y)


class InstanceNoise(nn.Module):
    r"""A discriminator that sees everything, real or fake, through noise: $D(x + \sigma \epsilon)$.

    Images on a grid of values and the output of a generator have no point in common, so a
    discriminator can be sure and its slope says nothing. Noise spreads both until they overlap;
    then an optimal discriminator exists and its slope points from one to the other.

    Paper: Sonderby et al. (2017), Amortised MAP inference for image super-resolution,
    arXiv:1610.04490; Arjovsky & Bottou (2017), arXiv:1701.04862, section 3.

    Args:
        discriminator: the network behind the noise.
        std: standard deviation sigma of the noise, in the units of x.

    Shapes: as the discriminator's.

    Example:
        >>> InstanceNoise(MLPDiscriminator((1, 4, 4)), std=0.5)(torch.rand(5, 1, 4, 4)).shape
        torch.Size([5])
    """

    def __init__(self, discriminator: nn.Module, *, std: float):
        super().__init__()
        if std < 0:
            raise ValueError(f"std must be 0 or more, not {std}")
        self.discriminator, self.std = discriminator, std
        self.n_classes = n_classes_of(discriminator)

    def forward(self, x: Tensor, *y: Tensor) -> Tensor:
        return self.discriminator(x + self.std * torch.randn_like(x), *y)


def layer_norm(features: int) -> nn.Module:
    """Layer norm of a map: over all its values, example by example.

    Example:
        >>> x = layer_norm(8)(torch.rand(2, 8, 4, 4))
        >>> torch.allclose(x.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5)
        True
    """
    return nn.GroupNorm(1, features)


def spectral_norm(network: nn.Module) -> nn.Module:
    r"""Divide every weight matrix of a discriminator by its largest singular value; changes it in place.

    A linear layer then stretches no vector, nor does a leaky ReLU, and so the network's slope is
    bounded without a penalty. A convolution's kernel is taken for the matrix (out, in * k * k), as in
    the paper. Where patches overlap the layer can still stretch, by the root of the number of
    patches that a pixel lies in: by k / stride. The singular value comes from one step of power
    iteration each time the network runs in training.

    Paper: Miyato et al. (2018), Spectral normalization for generative adversarial networks,
    arXiv:1802.05957, section 2 and algorithm 1; torch's `parametrizations.spectral_norm` does it.

    Example:
        >>> layer = spectral_norm(nn.Linear(5, 3)).eval()
        >>> torch.allclose(torch.linalg.matrix_norm(layer.weight, 2), torch.tensor(1.0), atol=0.05)
        True
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            parametrizations.spectral_norm(layer)
    return network


@torch.no_grad()
def average_weights(average: nn.Module, network: nn.Module, *, decay: float = 0.99) -> None:
    r"""Move an exponential moving average of a network's weights on: $\bar w \leftarrow \beta \bar w + (1 - \beta) w$.

    Call it after every update. Averages over about $1 / (1 - \beta)$ updates even out the swings of
    training. Buffers, such as batch norm's running averages, are copied.

    Paper: Yazici et al. (2019), The unusual effectiveness of averaging in GAN training,
    arXiv:1806.04498.

    Args:
        average: a copy of the network from the start (`copy.deepcopy`), changed in place.
        network: the network in training.
        decay: beta, from 0 (a copy) to below 1.

    Example:
        >>> network, average = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> average_weights(average, network, decay=0.0)
        >>> bool(average.weight == network.weight)
        True
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be at least 0 and below 1, not {decay}")
    for old, new in zip(average.parameters(), network.parameters(), strict=True):
        old.lerp_(new, 1 - decay)
    for kept, current in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(current)


def pick(logits: Tensor, y: Tensor | None) -> Tensor:
    """The logit of each example's class, (B, n_classes) -> (B,); of the only one without labels.

    Example:
        >>> pick(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
        tensor([2., 3.])
    """
    return logits.squeeze(1) if y is None else logits.gather(1, y[:, None]).squeeze(1)


def halve(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """How often the sides of an image can be halved until one is below 8, and what is then left.

    Example:
        >>> halve((1, 28, 28)), halve((3, 64, 64))
        ((2, 7, 7), (4, 4, 4))
    """
    _, height, width = shape
    halvings = 0
    while min(height, width) >= 8 and height % 2 == width % 2 == 0:
        halvings, height, width = halvings + 1, height // 2, width // 2
    if halvings == 0:
        raise ValueError(
            f"DCGAN halves the sides of an image, which must be even and at least 8, not "
            f"{shape[1]} x {shape[2]}: take the MLP pair for smaller images"
        )
    return halvings, height, width


def initialize(network: nn.Module) -> None:
    """Start as the DCGAN paper does: weights from N(0, 0.02^2), biases 0; norms stay the identity.

    Example:
        >>> conv = nn.Conv2d(64, 64, 4)
        >>> initialize(conv)
        >>> abs(conv.weight.std() - 0.02) < 1e-3
        tensor(True)
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
            nn.init.normal_(layer.weight, std=0.02)
            if getattr(layer, "bias", None) is not None:
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def _check_mlp(shape: ExampleShape, depth: int) -> None:
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise ValueError(f"shape must be (C, H, W) or (D,), all positive, not {shape}")
    at_least_one("depth", depth)
