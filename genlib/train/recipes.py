"""Every model that `python -m genlib` can train, by name: how it is built, and how it is trained."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from genlib.adversarial import (
    GAN,
    LSGAN,
    WGANGP,
    DCGANDiscriminator,
    DCGANGenerator,
    MinimaxGAN,
    MLPDiscriminator,
    MLPGenerator,
    layer_norm,
)
from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, PixelModel, RowLSTM
from genlib.autoregressive.masks import MaskedConv2d
from genlib.data import ImageSet
from genlib.markov import GSN, RBM, PersistentRBM
from genlib.train.optimizers import muon_for_convolutions
from genlib.training import fall_in_second_half, gan_optimizers, warm_up_then_cosine
from genlib.validation import Shape
from genlib.variational import MLP, VAE, Autoencoder, ConvDecoder, ConvEncoder, LevelDecoder

Option = int | float | str


@dataclass(frozen=True)
class Images:
    """What a model must know of the images it is built for.

    Args:
        shape: (C, H, W).
        levels: number of values a channel can take.
        n_classes: number of labels, 0 for an unconditional model.
        mean: the mean image, (C, H, W) in [0, 1], where a model about to be trained may start from;
            None if weights are to be loaded anyway.
    """

    shape: Shape
    levels: int
    n_classes: int = 0
    mean: Tensor | None = None


@dataclass(frozen=True)
class Recipe:
    """How to build a model, and how to train it.

    Args:
        what: the model, in a line.
        build: takes `Images` and a value for each option.
        options: the options of `build`, with what they are by default.
        batch_size: images an update, by default.
        learning_rate: the highest that is reached, by default.
        schedule: the factor on it, given the share of the training that is done.
        conditional: whether it can be built with labels.
        binary: whether it is for black-and-white images only.
        optimizers: for a model and a learning rate; of a GAN the generator's, then the
            discriminator's.
    """

    what: str
    build: Callable[..., nn.Module]
    options: Mapping[str, Option]
    batch_size: int = 64
    learning_rate: float = 2e-3
    schedule: Callable[[float], float] = warm_up_then_cosine
    conditional: bool = True
    binary: bool = False
    optimizers: Callable[[nn.Module, float], tuple[Optimizer, ...]] = lambda model, rate: (
        AdamW(model.parameters(), lr=rate, fused=True),
    )


def pixel_model(family: Callable[..., PixelModel]) -> Callable[..., nn.Module]:
    """Builds a model of one of the four families that go pixel by pixel."""

    def build(images: Images, channels: int, depth: int, colours: str) -> nn.Module:
        one_of("order of colours", colours, ("ordered", "independent"))
        model = family(images.shape, images.levels, channels, depth, images.n_classes)
        return without_colour_order(model) if colours == "independent" else model

    return build


def without_colour_order(model: PixelModel) -> PixelModel:
    """Take from a new model what a pixel's own values say: its colours are independent given the past.

    So one sees what the order red, green, blue is worth. Only the first layer reads the image, and
    under mask A it reads of the own pixel just the colours before.

    Raises:
        ValueError: a DiagonalBiLSTM, each of whose layers reads the image.

    Example:
        >>> model = without_colour_order(PixelCNN((3, 4, 4), levels=8, channels=12, depth=1))
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
    images: Images, network: str, numbers: int, latent_dim: int, hidden_dim: int, depth: int, p: int
) -> tuple[nn.Module, nn.Module]:
    """An encoder to `numbers` numbers, and a decoder to p numbers a value of the image."""
    size, n_classes = math.prod(images.shape), images.n_classes
    hidden = (hidden_dim,) * depth
    one_of("network", network, ("mlp", "conv"))
    if network == "conv":
        return (
            ConvEncoder(images.shape, numbers, n_classes=n_classes),
            ConvDecoder(latent_dim, images.shape, p, n_classes=n_classes),
        )
    encoder = MLP((size, *hidden, numbers), n_classes)
    if p > 2:
        return encoder, LevelDecoder((latent_dim, *hidden), images.shape, p, n_classes)
    decoder = MLP((latent_dim, *hidden, p * size), n_classes)
    if p == 1 and images.mean is not None:
        with torch.no_grad():  # codes have only to say how an image differs from the mean one
            last: nn.Linear = decoder.rest[-1]  # type: ignore[assignment]
            last.bias.copy_(images.mean.flatten().clamp(1e-3, 1 - 1e-3).logit())
    return encoder, decoder


def vae(
    images: Images,
    latent_dim: int,
    network: str,
    hidden_dim: int,
    depth: int,
    likelihood: str,
    kl_weight: float,
) -> nn.Module:
    """A VAE; by default black-and-white pixels are Bernoulli, all others categorical."""
    per_value = {
        "bernoulli": 1,
        "categorical": images.levels,
        "gaussian": 2,
        "dequantised_gaussian": 2,
    }
    one_of("likelihood", likelihood, ("auto", *per_value))
    if likelihood == "auto":
        likelihood = "bernoulli" if images.levels == 2 else "categorical"
    encoder, decoder = networks(
        images, network, 2 * latent_dim, latent_dim, hidden_dim, depth, per_value[likelihood]
    )
    return VAE(
        images.shape,
        latent_dim,
        likelihood,
        images.levels,
        images.n_classes,
        encoder,
        decoder,
        kl_weight,
    )


def autoencoder(
    images: Images, latent_dim: int, network: str, hidden_dim: int, depth: int
) -> nn.Module:
    encoder, decoder = networks(images, network, latent_dim, latent_dim, hidden_dim, depth, 1)
    return Autoencoder(images.shape, latent_dim, encoder, nn.Sequential(decoder, nn.Sigmoid()))


def gan(objective: Callable[..., GAN]) -> Callable[..., nn.Module]:
    """Builds a GAN of this objective, with perceptrons or with the convolutions of DCGAN."""

    def build(
        images: Images,
        network: str,
        latent_dim: int,
        hidden_dim: int,
        channels: int,
        **options: float,
    ) -> nn.Module:
        one_of("network", network, ("auto", "mlp", "dcgan"))
        _, height, width = shape = images.shape
        halves = min(height, width) >= 8 and height % 2 == width % 2 == 0
        if network == "dcgan" or (network == "auto" and halves):
            norm = layer_norm if objective is WGANGP else nn.BatchNorm2d
            generator: nn.Module = DCGANGenerator(shape, latent_dim, channels, images.n_classes)
            discriminator: nn.Module = DCGANDiscriminator(shape, channels, images.n_classes, norm)
        else:
            generator = MLPGenerator(shape, latent_dim, hidden_dim, n_classes=images.n_classes)
            discriminator = MLPDiscriminator(shape, hidden_dim, n_classes=images.n_classes)
        return objective(generator, discriminator, latent_dim, **options)

    return build


def boltzmann_machine(family: Callable[..., RBM]) -> Callable[..., nn.Module]:
    """Builds an RBM, whose visible biases start from the mean image."""

    def build(images: Images, n_hidden: int, **options: int) -> nn.Module:
        return family(images.shape, n_hidden, pixel_mean=images.mean, **options)

    return build


def gsn(images: Images, hidden_dim: int, noise: float, walkback: int) -> nn.Module:
    return GSN(images.shape, hidden_dim, noise, walkback)


def _adversarial(what: str, objective: Callable[..., GAN], steps: int = 1, **more: float) -> Recipe:
    network: dict[str, Option] = {
        "network": "auto",
        "latent_dim": 64,
        "hidden_dim": 128,
        "channels": 32,
    }
    return Recipe(
        what,
        gan(objective),
        {**network, **more, "discriminator_steps": steps},
        learning_rate=1e-3,
        schedule=fall_in_second_half,
        optimizers=gan_optimizers,  # type: ignore[arg-type]
    )


# chosen on held-out images of MNIST, see benchmarks/results.py; the recurrent models fared better with AdamW
_PIXELS = {"batch_size": 32, "learning_rate": 4e-3}

_CODES: dict[str, Option] = {"latent_dim": 16, "network": "mlp", "hidden_dim": 400, "depth": 1}

RECIPES: dict[str, Recipe] = {
    "pixelcnn": Recipe(
        "PixelCNN: masked convolutions, exact likelihood, a blind spot",
        pixel_model(PixelCNN),
        {"channels": 64, "depth": 7, "colours": "ordered"},
        **_PIXELS,  # type: ignore[arg-type]
        optimizers=muon_for_convolutions,
    ),
    "gated_pixelcnn": Recipe(
        "GatedPixelCNN: two stacks and gates, exact likelihood",
        pixel_model(GatedPixelCNN),
        {"channels": 32, "depth": 7, "colours": "ordered"},
        **_PIXELS,  # type: ignore[arg-type]
        optimizers=muon_for_convolutions,
    ),
    "row_lstm": Recipe(
        "RowLSTM: a PixelRNN that goes row by row, exact likelihood",
        pixel_model(RowLSTM),
        {"channels": 64, "depth": 2, "colours": "ordered"},
        **_PIXELS,  # type: ignore[arg-type]
    ),
    "diagonal_bilstm": Recipe(
        "DiagonalBiLSTM: a PixelRNN along the diagonals, exact likelihood",
        pixel_model(DiagonalBiLSTM),
        {"channels": 64, "depth": 2, "colours": "ordered"},
        **_PIXELS,  # type: ignore[arg-type]
    ),
    "vae": Recipe(
        "VAE: codes and a bound on the likelihood; network=mlp or conv",
        vae,
        {**_CODES, "likelihood": "auto", "kl_weight": 1.0, "kl_climb": 0.3},
        batch_size=128,
    ),
    "autoencoder": Recipe(
        "Autoencoder: codes only, no `sample`; network=mlp or conv",
        autoencoder,
        _CODES,
        conditional=False,
    ),
    "gan": _adversarial("GAN: the non-saturating loss; network=mlp or dcgan", GAN),
    "minimax_gan": _adversarial("MinimaxGAN: the loss as first written", MinimaxGAN),
    "lsgan": _adversarial("LSGAN: least squares in place of logarithms", LSGAN),
    "wgan_gp": _adversarial(
        "WGANGP: a critic under a gradient penalty, five steps to the generator's one",
        WGANGP,
        steps=5,
        penalty=10.0,
    ),
    "rbm": Recipe(
        "RBM: contrastive divergence, likelihood up to a constant; black and white",
        boltzmann_machine(RBM),
        {"n_hidden": 100, "cd_steps": 1},
        learning_rate=1e-2,
        conditional=False,
        binary=True,
    ),
    "persistent_rbm": Recipe(
        "PersistentRBM: chains that never start anew; black and white",
        boltzmann_machine(PersistentRBM),
        {"n_hidden": 100, "cd_steps": 1, "chains": 100},
        learning_rate=1e-2,
        conditional=False,
        binary=True,
    ),
    "gsn": Recipe(
        "GSN: a Markov chain that spoils and restores; black and white",
        gsn,
        {"hidden_dim": 400, "noise": 0.2, "walkback": 1},
        conditional=False,
        binary=True,
    ),
}

# how a model is trained, not what it is: `build_model` does not pass these on
OF_TRAINING = ("discriminator_steps", "kl_climb")


def one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    """The value itself, or a refusal that names what there is, and the nearest of it.

    Raises:
        ValueError: the value is none of the choices.

    Example:
        >>> one_of("model", "gatedpixelcnn", ("vae", "gated_pixelcnn"))
        Traceback (most recent call last):
            ...
        ValueError: no model is called 'gatedpixelcnn', there are vae, gated_pixelcnn; did you mean 'gated_pixelcnn'?
    """
    if value not in choices:
        close = difflib.get_close_matches(value, choices, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"no {name} is called {value!r}, there are {', '.join(choices)}{hint}")
    return value


def recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ValueError: there is none.

    Example:
        >>> recipe("rbm").binary
        True
    """
    return RECIPES[one_of("model", name, tuple(RECIPES))]


def read_options(name: str, given: list[str]) -> dict[str, Option]:
    """Options of a model from words "name=value", each of the type that its default has.

    Raises:
        ValueError: an unknown option, or a value of another type.

    Example:
        >>> read_options("gated_pixelcnn", ["channels=8"])
        {'channels': 8}
    """
    defaults, options = recipe(name).options, dict[str, Option]()
    for word in given:
        key, _, text = word.partition("=")
        kind = type(defaults[one_of(f"option of {name}", key.strip(), tuple(defaults))])
        try:
            options[key.strip()] = kind(text.strip())
        except ValueError:
            raise ValueError(
                f"{key} of {name} is {'a whole number' if kind is int else 'a number'}, as in "
                f"--set {key}={defaults[key.strip()]}, not {text!r}"
            ) from None
    return options


def build_model(name: str, images: Images, options: Mapping[str, Option]) -> nn.Module:
    """A model with new weights, drawn from torch's random numbers.

    Args:
        name: of a recipe.
        images: what it is built for.
        options: as in the recipe; those not given are its defaults.

    Raises:
        ValueError: an unknown name, labels for a model that takes none, grey images for one that is
            for black and white, or sizes that the model refuses.

    Example:
        >>> model = build_model("vae", Images((1, 8, 8), levels=17), {"latent_dim": 4})
        >>> type(model).__name__, model.latent_dim
        ('VAE', 4)
    """
    how = recipe(name)
    if images.n_classes and not how.conditional:
        able = ", ".join(other for other in RECIPES if RECIPES[other].conditional)
        raise ValueError(f"{name} takes no labels: leave --conditional out, or train one of {able}")
    if how.binary and images.levels != 2:
        raise ValueError(f"{name} is for black-and-white images, not for {images.levels} levels")
    options = {**how.options, **options}
    return how.build(images, **{k: v for k, v in options.items() if k not in OF_TRAINING})


def images_of(data: ImageSet, conditional: bool = False, binary: bool = False) -> Images:
    """What a model that is to learn this data must know of it.

    Args:
        data: the training images.
        conditional: with labels.
        binary: as they are when each pixel is drawn black or white.

    Example:
        >>> from genlib.data import load
        >>> images = images_of(load("digits"), binary=True)
        >>> images.shape, images.levels, images.mean.shape
        ((1, 8, 8), 2, torch.Size([1, 8, 8]))
    """
    # in parts: floats of all images at once are four times what the data set takes
    parts = [part.double().sum(dim=0) for part in data.images.split(5000)]
    mean = (torch.stack(parts).sum(dim=0) / len(data) / (data.levels - 1)).float()
    levels = 2 if binary else data.levels
    return Images(data.shape, levels, data.n_classes if conditional else 0, mean.clamp(0, 1))
