"""What a run was asked for: everything that decides how it ends, as config.json holds it."""

import dataclasses
import hashlib
from dataclasses import dataclass, field

from torch import nn

from genlib.data import ImageSet
from genlib.train.folder import FORMAT, RunError, RunFolder
from genlib.train.recipes import Images, Option, build_model, images_of, recipe
from genlib.train.settings import SEEDS, check_options, check_settings, setting

EPOCHS = 10.0  # of a run that was given no budget
MOST = 1e9  # passes or minutes: whatever is counted from them stays a finite number
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
ACCELERATORS = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Config:
    """The settings of a run, from which the options of `python -m genlib train` are made.

    Args:
        model: name of a recipe.
        data: name of a data set (`genlib.data.load`).
        options: of the model, all of them.
        epochs, minutes, cpu_minutes: the budget, one of the three: passes over the data, minutes of
            wall-clock time, or minutes of processor time summed over threads and processes.
        batch_size: images an update, over all devices together.
        learning_rate: the highest that is reached.
        seed: of weights, order and noise.
        size: take only the first images of the data set, None for all.
        conditional: give the model the labels.
        binary: draw each pixel black or white, with its value as the probability, anew in each batch.
        accelerator: "cpu", "cuda" or "mps".
        devices, nodes: how many in a machine, and how many machines.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        compile, channels_last, tf32: ways to be faster, all off by default.

    Raises:
        ValueError: a setting or an option that is not allowed, as the command line calls it.

    Example:
        >>> Config("vae", "digits", epochs=3).world_size
        1
        >>> Config("vae", "digits", {"latent_dim": 0})
        Traceback (most recent call last):
            ...
        ValueError: --set latent_dim must be at least 1, not 0
    """

    model: str = setting(help="what to train; `models` lists them")
    data: str = setting(help="bars, digits, colour_digits, strokes, mnist, ...", metavar="NAME")
    options: dict[str, Option] = field(default_factory=dict)
    epochs: float | None = setting(
        None, low=0, above=True, high=MOST, panel="Budget", help="passes over the data",
        default_text=f"{EPOCHS:g}",
    )  # fmt: skip
    minutes: float | None = setting(
        None, low=0, above=True, high=MOST, panel="Budget", help="or minutes of wall-clock time"
    )
    cpu_minutes: float | None = setting(
        None, low=0, above=True, high=MOST, panel="Budget",
        help="or minutes of processor time, all threads together",
    )  # fmt: skip
    batch_size: int = setting(
        64, low=1, panel="Training", help="images an update, on all devices",
        default_text="the model's",
    )  # fmt: skip
    learning_rate: float = setting(
        2e-3, low=0, above=True, panel="Training", help="the highest reached",
        default_text="the model's",
    )  # fmt: skip
    seed: int = setting(
        0, low=SEEDS[0], high=SEEDS[1], panel="Training", help="of weights, order and noise"
    )
    size: int | None = setting(None, low=1, panel="Training", help="take only the first images")
    conditional: bool = setting(False, panel="Model", help="give it the labels")
    binary: bool = setting(
        False, panel="Model", help="draw each pixel black or white, anew in each batch"
    )
    accelerator: str = setting(
        "cpu", choices=ACCELERATORS, panel="Machine", help="what computes",
        default_text="auto, a GPU if there is one",
    )  # fmt: skip
    devices: int = setting(1, low=1, panel="Machine", help="in this machine")
    nodes: int = setting(1, low=1, panel="Machine", help="machines")
    precision: str = setting(
        "32-true", choices=PRECISIONS, panel="Machine", help="of the arithmetic"
    )
    compile: bool = setting(False, panel="Machine", help="networks, by torch.compile")
    channels_last: bool = setting(False, panel="Machine", help="lay images out pixel by pixel")
    tf32: bool = setting(False, panel="Machine", help="short products on an NVIDIA GPU")

    def __post_init__(self) -> None:
        check_settings(self)
        check_options(recipe(self.model).settings, self.options)

    @property
    def world_size(self) -> int:
        """How many processes train together, one a device."""
        return self.devices * self.nodes

    @property
    def seconds(self) -> float | None:
        """The budget in seconds; None if it is counted in epochs."""
        minutes = self.cpu_minutes if self.minutes is None else self.minutes
        return None if minutes is None else 60 * minutes


@dataclass(frozen=True)
class Checkpoints:
    """When a checkpoint is written, which changes nothing of how a run ends.

    Args:
        checkpoint_minutes: between checkpoints.
        checkpoint_steps: updates between checkpoints, in place of minutes.

    Raises:
        ValueError: a setting that is not allowed, as the command line calls it.

    Example:
        >>> Checkpoints().seconds
        300.0
    """

    checkpoint_minutes: float = setting(
        5.0, low=0, above=True, high=MOST, panel="Machine", help="between checkpoints"
    )
    checkpoint_steps: int | None = setting(
        None, low=1, panel="Machine", help="or updates between checkpoints"
    )

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def seconds(self) -> float:
        """Seconds between checkpoints."""
        return 60 * self.checkpoint_minutes


def run_metadata(config: Config, data: ImageSet) -> dict[str, object]:
    """What config.json holds: the settings, and what a model built from them must know of the data.

    Example:
        >>> from genlib.data import load
        >>> metadata = run_metadata(Config("vae", "bars", epochs=3), load("bars"))
        >>> metadata["settings"]["model"], metadata["images"]["shape"]
        ('vae', [1, 4, 4])
    """
    images = images_of(data, config.conditional, config.binary)
    return {
        "format": FORMAT,
        "settings": dataclasses.asdict(config),
        "images": {
            "shape": list(images.shape),
            "levels": images.levels,
            "n_classes": images.n_classes,
            "number": len(data),
            "sha256": fingerprint(data),
        },
    }


def fingerprint(data: ImageSet) -> str:
    """Tells a data set from any other: a checksum of its images and labels.

    Example:
        >>> from genlib.data import load
        >>> fingerprint(load("bars"))[:8] == fingerprint(load("bars")[:29])[:8]
        False
    """
    checksum = hashlib.sha256(data.images.contiguous().numpy().data)
    checksum.update(data.labels.contiguous().numpy().data)
    return checksum.hexdigest()


def read_settings(folder: RunFolder) -> Config:
    """The settings of the run in a folder.

    Raises:
        RunError: there is none, or its config.json is damaged.
    """
    held = folder.read_config()
    try:
        return Config(**held["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.config} is damaged ({error}): restore it from a copy") from None


def images_in(folder: RunFolder) -> Images:
    """What the run's model knows of its images.

    Raises:
        RunError: config.json is damaged.
    """
    try:
        images = folder.read_config()["images"]
        channels, height, width = images["shape"]
        return Images((channels, height, width), images["levels"], images["n_classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.config} is damaged ({error}): restore it from a copy") from None


def load_model(folder: RunFolder) -> tuple[nn.Module, dict]:
    """The trained model of a run, on the CPU and in eval mode, and the metadata of its checkpoint.

    Raises:
        RunError: there is no run or no checkpoint, or one of them is damaged.
    """
    config, images = read_settings(folder), images_in(folder)
    tensors, metadata = folder.load()
    model = build_model(config.model, images, config.options)
    load_weights(model, tensors, folder)
    return model.eval(), metadata


def load_weights(model: nn.Module, tensors: dict, folder: RunFolder) -> None:
    """Give a model the weights of a checkpoint.

    Raises:
        RunError: they are another model's.
    """
    prefix = "model."
    weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"the weights in {folder.checkpoint} do not fit {type(model).__name__} "
            f"({str(error).splitlines()[-1].strip()}): it was made by another version; train anew"
        ) from None
