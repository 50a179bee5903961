"""What a run was asked for: everything that decides how it ends, as config.json holds it."""

import dataclasses
import hashlib
from dataclasses import dataclass, field

from torch import nn

from genlib.data import ImageSet
from genlib.train.folder import FORMAT, RunError, RunFolder
from genlib.train.recipes import Images, Option, build_model, images_of, recipe

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
ACCELERATORS = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Config:
    """The settings of a run.

    Args:
        model: name of a recipe.
        data: name of a data set (`genlib.data.load`).
        options: of the model, all of them.
        epochs, minutes, cpu_minutes: the budget, one of the three: passes over the data, minutes by
            the clock on the wall, or minutes of processor time summed over threads and processes.
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

    Example:
        >>> Config("vae", "digits", epochs=3).world_size
        1
    """

    model: str
    data: str
    options: dict[str, Option] = field(default_factory=dict)
    epochs: float | None = None
    minutes: float | None = None
    cpu_minutes: float | None = None
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0
    size: int | None = None
    conditional: bool = False
    binary: bool = False
    accelerator: str = "cpu"
    devices: int = 1
    nodes: int = 1
    precision: str = "32-true"
    compile: bool = False
    channels_last: bool = False
    tf32: bool = False

    @property
    def world_size(self) -> int:
        """How many processes train together, one a device."""
        return self.devices * self.nodes

    @property
    def seconds(self) -> float | None:
        """The budget in seconds; None if it is counted in epochs."""
        minutes = self.cpu_minutes if self.minutes is None else self.minutes
        return None if minutes is None else 60 * minutes


def as_facts(config: Config, data: ImageSet) -> dict[str, object]:
    """What config.json holds: the settings, and what a model built from them must know of the data.

    Example:
        >>> from genlib.data import load
        >>> facts = as_facts(Config("vae", "bars", epochs=3), load("bars"))
        >>> facts["settings"]["model"], facts["images"]["shape"]
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
    facts = folder.read_config()
    try:
        config = Config(**facts["settings"])
        recipe(config.model)
        return config
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
    """The trained model of a run, on the CPU and in eval mode, and the facts of its checkpoint.

    Raises:
        RunError: there is no run or no checkpoint, or one of them is damaged.
    """
    config, images = read_settings(folder), images_in(folder)
    tensors, facts = folder.load()
    model = build_model(config.model, images, config.options)
    load_weights(model, tensors, folder)
    return model.eval(), facts


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
