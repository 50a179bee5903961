"""Small trained models that come with the course, and what is known of each.

`pretrained.load("gated_pixelcnn-mnist")` loads one. A model is three things in this folder:
`NAME.safetensors`, its weights in half precision, a format that holds tensors and no code; an entry
in `models.json`, which says how to build it, how it was trained and how good it is, with the checksum of
its file; and `NAME.md`, the same to read. `make pack` packs a run of `python -m genlib train` into it.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from genlib.train.builders import Images
from genlib.train.recipes import Option, build_model
from genlib.validation import one_of

FOLDER = Path(__file__).parent
FORMAT = "genlib pretrained 1"
RESTORE = "put it back with `git checkout -- genlib/pretrained`, or install the course anew"


class PretrainedError(Exception):
    """What is wrong with the files of pretrained models, in one line that says what to do about it."""


@dataclass(frozen=True)
class Measured:
    """A figure on a card."""

    value: float
    error: float | None  # its standard error over the images, where it has one
    how: str  # of what, on what, by what

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.value:.4g}"
        digits = max(2, math.ceil(-math.log10(self.error))) if self.error > 0 else 2
        return f"{self.value:.{digits}f} ± {self.error:.{digits}f}"


@dataclass(frozen=True)
class Card:
    """What is known of a pretrained model.

    A figure is of the model as it lies there, rounded, unless its `how` says otherwise.
    """

    name: str
    what: str  # the model, in a line
    model: str  # name of its recipe, `genlib.train.RECIPES`
    options: dict[str, Option]  # all that the recipe has
    images: Images
    data: str  # what it was trained on, by its name in `genlib.data.load`
    binary: bool  # whether each pixel was drawn black or white, anew in each batch
    parameters: int
    dtype: str  # the type they are stored in, "float16" or "bfloat16"
    size: int  # of the file in bytes
    sha256: str  # checksum of the file
    command: str  # what trained it
    machine: str  # on what
    minutes: float  # of training, in wall-clock time
    seed: int  # of weights, order and noise
    updates: int
    rounding: Measured  # what storing the weights in half precision changed
    metrics: dict[str, Measured]
    licence: str  # of the weights

    @property
    def training(self) -> str:
        """How long it was trained, and on what, in words."""
        minutes = f"{self.minutes:.{0 if self.minutes >= 10 else 1}f}"
        return f"{minutes} minutes on {self.machine}, {self.updates:,} updates"


def names(folder: Path | None = None) -> tuple[str, ...]:
    """The models there are; `folder` is None for the one that comes with the course.

    Raises:
        PretrainedError: models.json is missing or damaged.

    Example:
        >>> isinstance(names(), tuple)
        True
    """
    return tuple(_catalogue(folder or FOLDER))


def card(name: str, folder: Path | None = None) -> Card:
    """What is known of a model: how it was trained, on what, and how good it is.

    Raises:
        ValueError: no model has this name.
        PretrainedError: models.json is missing or damaged.

    Example:
        >>> [card(name).licence for name in names()[:1]]
        ['MIT']
    """
    folder = folder or FOLDER
    entries = _catalogue(folder)
    if not entries:
        raise ValueError(
            f"there is no model called {name!r}: {folder} holds none, `make pack` packs one"
        )
    return entries[one_of("pretrained model", name, tuple(entries))]


def load(name: str, folder: Path | None = None) -> nn.Module:
    """The model of this name; `pretrained.load` is the short way.

    The file's checksum is compared before anything is read from it. Random numbers are left as they
    were. The model comes in eval mode, in float32 and on the CPU.

    Raises:
        ValueError: no model has this name.
        PretrainedError: a file is missing or damaged, or belongs to another version.

    Example:
        >>> [load(name).training for name in names()[:1]]
        [False]
    """
    folder = folder or FOLDER
    about = card(name, folder)
    path = weights_file(name, folder)
    data = _bytes_of(path)
    if hashlib.sha256(data).hexdigest() != about.sha256:
        raise PretrainedError(
            f"{path} is damaged (its checksum is not that in models.json): {RESTORE}"
        )
    try:
        weights = safetensors.torch.load(data)
    except SafetensorError as error:
        raise PretrainedError(f"{path} is damaged ({error}): {RESTORE}") from None
    try:
        # what a new model starts from is drawn at random, and overwritten at once
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            model = build_model(about.model, about.images, about.options)
        model.load_state_dict(weights)  # into float32, from whatever they are stored in
    except (RuntimeError, TypeError, ValueError) as error:
        raise PretrainedError(
            f"the weights in {path} do not fit the {about.model} of models.json "
            f"({str(error).splitlines()[-1].strip()}): models and genlib are of different versions, "
            "take both from one"
        ) from None
    return model.eval()


def weights_file(name: str, folder: Path) -> Path:
    """Where the weights of a model lie."""
    return folder / f"{name}.safetensors"


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PretrainedError(f"{path} is missing: {RESTORE}") from None
    except OSError as error:
        raise PretrainedError(f"cannot read {path}: {error.strerror}") from None


def _catalogue(folder: Path) -> dict[str, Card]:
    path = folder / "models.json"
    text = _bytes_of(path)
    try:
        metadata = json.loads(text)
        if metadata.get("format") != FORMAT:
            raise PretrainedError(
                f"{path} is of another version than genlib: its format is not {FORMAT!r}; take both "
                "from one"
            )
        return {name: from_metadata(name, entry) for name, entry in metadata["models"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PretrainedError(f"{path} is damaged ({error}): {RESTORE}") from None


def from_metadata(name: str, metadata: dict) -> Card:
    """A card from what JSON holds of it.

    Raises:
        KeyError, TypeError, ValueError: something is missing, or of another kind.
    """
    read = {
        "name": name,
        "images": Images.from_json(metadata["images"]),
        "rounding": Measured(**metadata["rounding"]),
        "metrics": {key: Measured(**value) for key, value in metadata["metrics"].items()},
    }
    return Card(**{**metadata, **read})
