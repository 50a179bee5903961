"""How each model is built for the images of a data set, from the options of its recipe."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genlib.adversarial import (
    GAN,
    WGANGP,
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
    layer_norm,
)
from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelModel
from genlib.autoregressive.masks import MaskedConv2d
from genlib.data import ImageSet
from genlib.diffusion import CosineSchedule, Diffusion, LinearSchedule
from genlib.flow_matching import FlowMatching, LinearPath, VariancePreservingPath
from genlib.markov import GSN, RBM
from genlib.networks import UNet
from genlib.validation import Shape
from genlib.variational import MLP, VAE, Autoencoder, ConvDecoder, ConvEncoder, LevelDecoder


@dataclass(frozen=True)
class Images:
    """What a model must know of the images it is built for."""

    shape: Shape
    levels: int  # values a channel can take
    n_classes: int = 0  # 0 for an unconditional model
    # the mean image, (C, H, W) in [0, 1], from which training may start
    mean: Tensor | None = None
    # the share of each level among all values, (levels,), none of them zero
    shares: Tensor | None = None

    def as_json(self) -> dict[str, Any]:
        """What a file holds of it: all but the mean and shares, from which training has started."""
        return {"shape": list(self.shape), "levels": self.levels, "n_classes": self.n_classes}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> "Images":
        """The same again."""
        channels, height, width = held["shape"]
        return cls((channels, height, width), held["levels"], held["n_classes"])


def images_of(data: ImageSet, conditional: bool = False, binary: bool = False) -> Images:
    """What a model that is to learn this data must know of it; if `binary`, drawn black or white.

    Example:
        >>> from genlib.data import load
        >>> images = images_of(load("digits"), binary=True)
        >>> images.shape, images.levels, images.mean.shape, images.shares
        ((1, 8, 8), 2, torch.Size([1, 8, 8]), tensor([0.6946, 0.3054]))
    """
    # in parts: floats of all images at once are four times what the data set takes
    parts = [part.double().sum(dim=0) for part in data.images.split(5000)]
    mean = (torch.stack(parts).sum(dim=0) / len(data) / (data.levels - 1)).float()
    if binary and data.levels > 2:
        white = mean.double().mean()
        levels, counts = 2, torch.stack([1 - white, white]) * data.images.numel()
    else:
        parts = [part.flatten().bincount(minlength=data.levels) for part in data.images.split(5000)]
        levels, counts = data.levels, torch.stack(parts).sum(dim=0)
    shares = ((counts + 1) / (counts + 1).sum()).float()  # plus one: any level may come yet
    n_classes = data.n_classes if conditional else 0
    return Images(data.shape, levels, n_classes, mean.clamp(0, 1), shares)


def pixel_model(
    family: Callable[..., PixelModel], images: Images, *, colours: str, **sizes: int
) -> nn.Module:
    """A model of one of the four families that go pixel by pixel."""
    model = family(images.shape, levels=images.levels, n_classes=images.n_classes, **sizes)
    return without_colour_order(model) if colours == "independent" else model


def without_colour_order(model: PixelModel) -> PixelModel:
    """Take from a new model what a pixel's own values say: its colours are independent given the past.

    So one sees what the order red, green, blue is worth. Only the first layer reads the image, and
    under mask A it reads of the own pixel just the colours before.

    Raises:
        ValueError: a DiagonalBiLSTM, each of whose layers reads the image.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> model = without_colour_order(PixelCNN((3, 4, 4), levels=8, hidden_dim=12, depth=1))
        >>> int(model.first.mask[:, :, -1, 3].sum())  # the own pixel's column of a 4 x 7 kernel
        0
    """
    if isinstance(model, DiagonalBiLSTM):
        raise ValueError(
            "colours=independent is for models that read the image in their first layer only: "
            "take pixelcnn, gated_pixelcnn or row_lstm"
        )
    name = "h_in" if isinstance(model, GatedPixelCNN) else "first"
    first: MaskedConv2d = getattr(model, name)
    own = first.pad[0]  # as many columns lie to its left
    first.mask[:, :, -1, own] = 0
    return model


def networks(
    images: Images,
    out_dim: int,
    latent_dim: int,
    p: int,
    *,
    network: str,
    hidden_dim: int,
    depth: int,
) -> tuple[nn.Module, nn.Module]:
    """An encoder to `out_dim` numbers, and a decoder to p numbers a value of the image."""
    size, n_classes = math.prod(images.shape), images.n_classes
    hidden = (hidden_dim,) * depth
    if network == "conv":
        return (
            ConvEncoder(images.shape, out_dim=out_dim, n_classes=n_classes),
            ConvDecoder(latent_dim, images.shape, p, n_classes=n_classes),
        )
    encoder = MLP((size, *hidden, out_dim), n_classes=n_classes)
    if p > 2:
        return encoder, LevelDecoder(
            (latent_dim, *hidden), shape=images.shape, levels=p, n_classes=n_classes
        )
    decoder = MLP((latent_dim, *hidden, p * size), n_classes=n_classes)
    if p == 1 and images.mean is not None:
        with torch.no_grad():  # codes have only to say how an image differs from the mean one
            last: nn.Linear = decoder.rest[-1]  # type: ignore[assignment]
            last.bias.copy_(images.mean.flatten().clamp(1e-3, 1 - 1e-3).logit())
    return encoder, decoder


def vae(
    images: Images, *, latent_dim: int, likelihood: str, kl_weight: float, **network: Any
) -> nn.Module:
    """A VAE; by default black-and-white pixels are Bernoulli, all others categorical."""
    if likelihood == "auto":
        likelihood = "bernoulli" if images.levels == 2 else "categorical"
    per_value = {"bernoulli": 1, "categorical": images.levels}.get(likelihood, 2)
    encoder, decoder = networks(images, 2 * latent_dim, latent_dim, per_value, **network)
    return VAE(
        images.shape,
        latent_dim=latent_dim,
        likelihood=likelihood,
        levels=images.levels,
        n_classes=images.n_classes,
        encoder=encoder,
        decoder=decoder,
        kl_weight=kl_weight,
    )


def autoencoder(images: Images, *, latent_dim: int, **network: Any) -> nn.Module:
    encoder, decoder = networks(images, latent_dim, latent_dim, 1, **network)
    decoder = nn.Sequential(decoder, nn.Sigmoid())
    return Autoencoder(images.shape, latent_dim=latent_dim, encoder=encoder, decoder=decoder)


def gan(
    objective: Callable[..., GAN],
    images: Images,
    *,
    network: str,
    latent_dim: int,
    hidden_dim: int,
    **options: float,
) -> nn.Module:
    """A GAN of this objective, with DCGAN's maps or with perceptrons of four times as many units."""
    _, height, width = shape = images.shape
    labels = {"n_classes": images.n_classes}
    halves = min(height, width) >= 8 and height % 2 == width % 2 == 0
    generator: nn.Module
    discriminator: nn.Module
    if network == "dcgan" or (network == "auto" and halves):
        norm = layer_norm if objective is WGANGP else nn.BatchNorm2d
        generator = DCGANGenerator(shape, latent_dim=latent_dim, hidden_dim=hidden_dim, **labels)
        discriminator = DCGANDiscriminator(shape, hidden_dim=hidden_dim, norm=norm, **labels)
    else:  # a map has many pixels, a unit one number: as many of these would be too few
        generator = MLPGenerator(shape, latent_dim=latent_dim, hidden_dim=4 * hidden_dim, **labels)
        discriminator = MLPDiscriminator(shape, hidden_dim=4 * hidden_dim, **labels)
    return objective(generator, discriminator, latent_dim=latent_dim, **options)


def diffusion(images: Images, *, hidden_dim: int, schedule: str, **how: str) -> nn.Module:
    """A diffusion model with a U-Net, whose decoder starts from the levels' shares."""
    return Diffusion(
        images.shape,
        network=UNet(images.shape, hidden_dim=hidden_dim, n_classes=images.n_classes),
        levels=images.levels,
        shares=images.shares,
        schedule=LinearSchedule() if schedule == "linear" else CosineSchedule(),
        n_classes=images.n_classes,
        **how,
    )


def flow_matching(images: Images, *, hidden_dim: int, path: str, coupling: str) -> nn.Module:
    """A flow from noise with a U-Net."""
    return FlowMatching(
        images.shape,
        network=UNet(images.shape, hidden_dim=hidden_dim, n_classes=images.n_classes),
        levels=images.levels,
        path=LinearPath() if path == "linear" else VariancePreservingPath(),
        coupling=coupling,
        n_classes=images.n_classes,
    )


def boltzmann_machine(family: Callable[..., RBM], images: Images, **options: int) -> nn.Module:
    """An RBM, whose visible biases start from the mean image."""
    return family(images.shape, pixel_mean=images.mean, **options)


def gsn(images: Images, **options: float) -> nn.Module:
    return GSN(images.shape, **options)  # type: ignore[arg-type]
