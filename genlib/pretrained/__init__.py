"""In the box: small trained models that come with the course, and what is known of each.

`pretrained.load("gated_pixelcnn-mnist")` loads one. A model is three things in this folder:
`NAME.safetensors`, its weights in half precision, a format that holds tensors and no code; an entry
in `box.json`, which says how to build it, how it was trained and how good it is, with the checksum of
its file; and `NAME.md`, the same to read. `make box` packs a run of `python -m genlib train` into it.
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
FORMAT = "genlib box 1"
RESTORE = "put it back with `git checkout -- genlib/pretrained`, or install the course anew"


class BoxError(Exception):
    """What is wrong with the box, in one line that says what to do about it."""


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
    """What is known of a model in the box.

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
    numbers: str  # the type they are stored in, "float16" or "bfloat16"
    size: int  # of the file in bytes
    sha256: str  # checksum of the file
    command: str  # what trained it
    machine: str  # on what
    minutes: float  # of training, by the clock
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
    """The models in a box; `folder` is None for the one that comes with the course.

    Raises:
        BoxError: box.json is missing or damaged.

    Example:
        >>> isinstance(names(), tuple)
        True
    """
    return tuple(_catalogue(folder or FOLDER))


def card(name: str, folder: Path | None = None) -> Card:
    """What is known of a model: how it was trained, on what, and how good it is.

    Raises:
        ValueError: no model has this name.
        BoxError: box.json is missing or damaged.

    Example:
        >>> [card(name).licence for name in names()[:1]]
        ['MIT']
    """
    folder = folder or FOLDER
    entries = _catalogue(folder)
    if not entries:
        raise ValueError(
            f"there is no model called {name!r}: the box is empty, `make box` packs one"
        )
    return entries[one_of("model in the box", name, tuple(entries))]


def load(name: str, folder: Path | None = None) -> nn.Module:
    """The model of this name; `pretrained.load` is the short way.

    The file's checksum is compared before anything is read from it. Random numbers are left as they
    were. The model comes in eval mode, in float32 and on the CPU.

    Raises:
        ValueError: no model has this name.
        BoxError: a file is missing or damaged, or belongs to another version.

    Example:
        >>> [load(name).training for name in names()[:1]]
        [False]
    """
    folder = folder or FOLDER
    about = card(name, folder)
    path = weights_file(name, folder)
    data = _bytes_of(path)
    if hashlib.sha256(data).hexdigest() != about.sha256:
        raise BoxError(f"{path} is damaged (its checksum is not that in box.json): {RESTORE}")
    try:
        weights = safetensors.torch.load(data)
    except SafetensorError as error:
        raise BoxError(f"{path} is damaged ({error}): {RESTORE}") from None
    try:
        # what a new model starts from is drawn at random, and overwritten at once
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            model = build_model(about.model, about.images, about.options)
        model.load_state_dict(weights)  # into float32, from whatever they are stored in
    except (RuntimeError, TypeError, ValueError) as error:
        raise BoxError(
            f"the weights in {path} do not fit the {about.model} of box.json "
            f"({str(error).splitlines()[-1].strip()}): the box and genlib are of different versions, "
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
        raise BoxError(f"{path} is missing: {RESTORE}") from None
    except OSError as error:
        raise BoxError(f"cannot read {path}: {error.strerror}") from None


def _catalogue(folder: Path) -> dict[str, Card]:
    path = folder / "box.json"
    text = _bytes_of(path)
    try:
        facts = json.loads(text)
        if facts.get("format") != FORMAT:
            raise BoxError(
                f"{path} is of another version than genlib: its format is not {FORMAT!r}; take both "
                "from one"
            )
        return {name: from_facts(name, entry) for name, entry in facts["models"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BoxError(f"{path} is damaged ({error}): {RESTORE}") from None


def from_facts(name: str, facts: dict) -> Card:
    """A card from what JSON holds of it.

    Raises:
        KeyError, TypeError, ValueError: something is missing, or of another kind.
    """
    read = {
        "name": name,
        "images": Images.from_json(facts["images"]),
        "rounding": Measured(**facts["rounding"]),
        "metrics": {key: Measured(**value) for key, value in facts["metrics"].items()},
    }
    return Card(**{**facts, **read})
