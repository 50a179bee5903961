"""Every model that `python -m genlib` can train, by name: how it is built, and how it is trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

from genlib.adversarial import GAN, LSGAN, WGANGP, MinimaxGAN
from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, RowLSTM
from genlib.diffusion.diffusion import PREDICTIONS, WEIGHTINGS
from genlib.flow_matching.flow_matching import COUPLINGS
from genlib.markov import RBM, PersistentRBM
from genlib.train import builders
from genlib.train.builders import Images
from genlib.train.optimizers import muon_for_convolutions
from genlib.train.settings import Setting, Value, check_options
from genlib.train.updates import AveragedUpdate, CriticUpdate, GANUpdate, LossUpdate, VAEUpdate
from genlib.training import fall_in_second_half, gan_optimizers, warm_up_then_cosine
from genlib.validation import one_of

Option = Value


@dataclass(frozen=True)
class Recipe:
    """How to build a model, and how to train it.

    Example:
        >>> recipe("gsn").options
        {'hidden_dim': 400, 'walkback': 1, 'noise': 0.2}
    """

    what: str  # the model, in a line
    build: Callable[..., nn.Module]  # takes `Images` and a value for each option in `built_from`
    built_from: Mapping[str, Setting]
    update: type[LossUpdate] = LossUpdate  # once; it brings options of its own
    batch_size: int = 64
    learning_rate: float = 2e-3  # the highest that is reached
    schedule: Callable[[float], float] = warm_up_then_cosine  # factor on it, given the share done
    conditional: bool = True  # whether it can be built with labels
    binary: bool = False  # whether it is for black-and-white images only
    # for a model and a learning rate, in the order that `update` takes them in
    optimizers: Callable[[nn.Module, float], tuple[Optimizer, ...]] = lambda model, rate: (
        AdamW(model.parameters(), lr=rate, fused=True),
    )

    @property
    def settings(self) -> dict[str, Setting]:
        """All options, of the model and of its training, as they are declared."""
        return {**self.built_from, **self.update.settings}

    @property
    def options(self) -> dict[str, Option]:
        """All options, with what they are by default."""
        return {name: declared.default for name, declared in self.settings.items()}  # type: ignore[misc]


def counts(**defaults: int) -> dict[str, Setting]:
    """Options that count something: at least 1."""
    return {name: Setting(default, low=1) for name, default in defaults.items()}


def word(*choices: str) -> Setting:
    """An option that is one of some words, the first by default."""
    return Setting(choices[0], choices=choices)


_COLOURS = {"colours": word("ordered", "independent")}
_RECURRENT_OPTIONS = {**counts(hidden_dim=64, depth=2), **_COLOURS}
_CODE_OPTIONS = {**counts(latent_dim=16, hidden_dim=400, depth=1), "network": word("mlp", "conv")}
_GAN_OPTIONS = {
    **counts(latent_dim=64, hidden_dim=32),
    "network": word("auto", "mlp", "dcgan"),
}
_RBM_OPTIONS = counts(hidden_dim=100, cd_steps=1)

# chosen on held-out images of MNIST, see benchmarks/results.py; the recurrent models fared better with AdamW
_PIXELS: dict[str, Any] = {"batch_size": 32, "learning_rate": 4e-3}
_GANS: dict[str, Any] = {
    "update": GANUpdate,
    "learning_rate": 1e-3,
    "schedule": fall_in_second_half,
    "optimizers": gan_optimizers,
}
_BLACK_AND_WHITE: dict[str, Any] = {"conditional": False, "binary": True}

RECIPES: dict[str, Recipe] = {
    "pixelcnn": Recipe(
        "PixelCNN: masked convolutions, exact likelihood, a blind spot",
        partial(builders.pixel_model, PixelCNN),
        {**counts(hidden_dim=64, depth=7), **_COLOURS},
        optimizers=muon_for_convolutions,
        **_PIXELS,
    ),
    "gated_pixelcnn": Recipe(
        "GatedPixelCNN: two stacks and gates, exact likelihood",
        partial(builders.pixel_model, GatedPixelCNN),
        {**counts(hidden_dim=32, depth=7), **_COLOURS},
        optimizers=muon_for_convolutions,
        **_PIXELS,
    ),
    "row_lstm": Recipe(
        "RowLSTM: a PixelRNN that goes row by row, exact likelihood",
        partial(builders.pixel_model, RowLSTM),
        _RECURRENT_OPTIONS,
        **_PIXELS,
    ),
    "diagonal_bilstm": Recipe(
        "DiagonalBiLSTM: a PixelRNN along the diagonals, exact likelihood",
        partial(builders.pixel_model, DiagonalBiLSTM),
        _RECURRENT_OPTIONS,
        **_PIXELS,
    ),
    "vae": Recipe(
        "VAE: codes and a bound on the likelihood; network=mlp or conv",
        builders.vae,
        {
            **_CODE_OPTIONS,
            "likelihood": word(
                "auto", "bernoulli", "categorical", "gaussian", "dequantised_gaussian"
            ),
            "kl_weight": Setting(1.0, low=0),
        },
        VAEUpdate,
        batch_size=128,
    ),
    "autoencoder": Recipe(
        "Autoencoder: codes only, no `sample`; network=mlp or conv",
        builders.autoencoder,
        _CODE_OPTIONS,
        conditional=False,
    ),
    "gan": Recipe(
        "GAN: the non-saturating objective; network=mlp or dcgan",
        partial(builders.gan, GAN),
        _GAN_OPTIONS,
        **_GANS,
    ),
    "minimax_gan": Recipe(
        "MinimaxGAN: the objective as first written",
        partial(builders.gan, MinimaxGAN),
        _GAN_OPTIONS,
        **_GANS,
    ),
    "lsgan": Recipe(
        "LSGAN: least squares in place of logarithms",
        partial(builders.gan, LSGAN),
        _GAN_OPTIONS,
        **_GANS,
    ),
    "wgan_gp": Recipe(
        "WGANGP: a critic under a gradient penalty, five of its steps to one of the generator",
        partial(builders.gan, WGANGP),
        {**_GAN_OPTIONS, "penalty": Setting(10.0, low=0)},
        **{**_GANS, "update": CriticUpdate},
    ),
    "diffusion": Recipe(
        "Diffusion: noise undone step by step, a bound on the likelihood",
        builders.diffusion,
        {
            **counts(hidden_dim=32),
            "schedule": word("cosine", "linear"),
            "prediction": word(*PREDICTIONS),
            "weighting": word(*WEIGHTINGS),
        },
        AveragedUpdate,
    ),
    "flow_matching": Recipe(
        "FlowMatching: noise carried to data along a learnt velocity",
        builders.flow_matching,
        {
            **counts(hidden_dim=32),
            "path": word("linear", "variance_preserving"),
            "coupling": word(*COUPLINGS),
        },
        AveragedUpdate,
    ),
    "rbm": Recipe(
        "RBM: contrastive divergence, likelihood up to a constant; black and white",
        partial(builders.boltzmann_machine, RBM),
        _RBM_OPTIONS,
        learning_rate=1e-2,
        **_BLACK_AND_WHITE,
    ),
    "persistent_rbm": Recipe(
        "PersistentRBM: chains that never start anew; black and white",
        partial(builders.boltzmann_machine, PersistentRBM),
        {**_RBM_OPTIONS, **counts(chains=100)},
        learning_rate=1e-2,
        **_BLACK_AND_WHITE,
    ),
    "gsn": Recipe(
        "GSN: a Markov chain that corrupts and restores; black and white",
        builders.gsn,
        {**counts(hidden_dim=400, walkback=1), "noise": Setting(0.2, low=0, high=1, above=True)},
        **_BLACK_AND_WHITE,
    ),
}


def recipe(name: str) -> Recipe:
    """The recipe of this name, or a ValueError that names the nearest."""
    return RECIPES[one_of("model", name, tuple(RECIPES))]


def read_options(name: str, given: list[str]) -> dict[str, Option]:
    """Options of a model from words "name=value", each of the type that its default has.

    Raises:
        ValueError: an unknown option, a value of another type, or one that is not allowed.

    Example:
        >>> read_options("gated_pixelcnn", ["hidden_dim=8"])
        {'hidden_dim': 8}
    """
    declared, options = recipe(name).settings, dict[str, Option]()
    for word in given:
        key, _, text = (part.strip() for part in word.partition("="))
        one_of(f"option of {name}", key, tuple(declared))
        options[key] = declared[key].read(f"--set {key}", text)
    return options


def build_model(name: str, images: Images, options: Mapping[str, Option]) -> nn.Module:
    """A model with new weights, drawn from torch's random numbers; options not given are the recipe's.

    Raises:
        ValueError: an unknown name or option, labels for a model that takes none, grey images for
            one that is for black and white, or sizes that the model refuses.

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
    check_options(how.settings, options)
    options = {**how.options, **options}
    return how.build(images, **{option: options[option] for option in how.built_from})
