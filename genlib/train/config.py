"""What a run was asked for: everything that decides how it ends, as config.json holds it."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from functools import partial

from torch import nn

from genlib.data import ImageSet
from genlib.train.builders import Images
from genlib.train.folder import FORMAT, RunError, RunFolder
from genlib.train.recipes import Option, build_model, recipe
from genlib.train.settings import SEEDS, check_options, check_settings, setting

EPOCHS = 10.0  # of a run that was given no budget
AVERAGE = "average.module."  # before the names of averaged weights in a checkpoint
MOST = 1e9  # passes or minutes: whatever is counted from them stays a finite number


# a number above zero, at first not given
budget = partial(setting, None, low=0, above=True, high=MOST, panel="Budget")
training = partial(setting, panel="Training")
machine = partial(setting, panel="Machine")


@dataclass(frozen=True)
class Config:
    """The settings of a run: here once, with their defaults, limits and help.

    The options of `python -m genlib train` are made from these lines. `options` are the model's, all of
    them; the command line sets them by `--set`.

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
    epochs: float | None = budget(help="passes over the data", default_text=f"{EPOCHS:g}")
    minutes: float | None = budget(help="or minutes of wall-clock time")
    cpu_minutes: float | None = budget(help="or minutes of processor time, all threads together")
    batch_size: int = training(
        64, low=1, help="images an update, on all devices", default_text="the model's"
    )
    learning_rate: float = training(
        2e-3, low=0, above=True, help="the highest reached", default_text="the model's"
    )
    seed: int = training(0, low=SEEDS[0], high=SEEDS[1], help="of weights, order and noise")
    size: int | None = training(None, low=1, help="take only the first images")
    conditional: bool = setting(False, panel="Model", help="give it the labels")
    binary: bool = setting(
        False, panel="Model", help="draw each pixel black or white, anew in each batch"
    )
    accelerator: str = machine(
        "cpu",
        choices=("auto", "cpu", "cuda", "mps"),
        help="what computes",
        default_text="auto, a GPU if there is one",
    )
    devices: int = machine(1, low=1, help="in this machine")
    nodes: int = machine(1, low=1, help="machines")
    precision: str = machine(
        "32-true", choices=("32-true", "bf16-mixed", "16-mixed"), help="of the arithmetic"
    )
    compile: bool = machine(False, help="networks, by torch.compile")
    channels_last: bool = machine(False, help="lay images out pixel by pixel")
    tf32: bool = machine(False, help="short products on an NVIDIA GPU")

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

    Example:
        >>> Checkpoints().seconds
        300.0
    """

    checkpoint_minutes: float = machine(
        5.0, low=0, above=True, high=MOST, help="between checkpoints"
    )
    checkpoint_steps: int | None = machine(None, low=1, help="or updates between checkpoints")

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def seconds(self) -> float:
        """Seconds between checkpoints."""
        return 60 * self.checkpoint_minutes


def run_metadata(config: Config, data: ImageSet, images: Images) -> dict[str, object]:
    """What config.json holds: the settings, and what tells the images from others."""
    return {
        "format": FORMAT,
        "settings": dataclasses.asdict(config),
        "images": {**images.as_json(), "number": len(data), "sha256": fingerprint(data)},
    }


def fingerprint(data: ImageSet) -> str:
    """Tells a data set from any other: a checksum of its images and labels."""
    checksum = hashlib.sha256(data.images.contiguous().numpy().data)
    checksum.update(data.labels.contiguous().numpy().data)
    return checksum.hexdigest()


def read_run(folder: RunFolder) -> tuple[Config, Images]:
    """The settings of the run in a folder, and what its model knows of its images, or a RunError."""
    held = folder.read_config()
    try:
        return Config(**held["settings"]), Images.from_json(held["images"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.config} is damaged ({error}): restore it from a copy") from None


def load_model(folder: RunFolder) -> tuple[nn.Module, dict]:
    """The trained model of a run, on the CPU and in eval mode, and the metadata of its checkpoint.

    Its weights are the averages, if its recipe keeps these.

    Raises:
        RunError: there is no run or no checkpoint, or one of them is damaged.
    """
    config, images = read_run(folder)
    tensors, metadata = folder.load()
    model = build_model(config.model, images, config.options)
    averaged = any(name.startswith(AVERAGE) for name in tensors)
    load_weights(model, tensors, folder, AVERAGE if averaged else "model.")
    return model.eval(), metadata


def load_weights(
    model: nn.Module, tensors: dict, folder: RunFolder, prefix: str = "model."
) -> None:
    """Give a model the weights of a checkpoint, or a RunError if they are another model's."""
    weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"the weights in {folder.checkpoint} do not fit {type(model).__name__} "
            f"({str(error).splitlines()[-1].strip()}): it was made by another version; train anew"
        ) from None
