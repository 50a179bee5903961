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

from genlib.train.recipes import Images, Option, build_model, one_of

FOLDER = Path(__file__).parent
FORMAT = "genlib box 1"
LARGEST = 3_000_000  # bytes of one file of weights
LARGEST_TOGETHER = 12_000_000  # of all: everybody who clones the course fetches them
RESTORE = "put it back with `git checkout -- genlib/pretrained`, or install the course anew"


class BoxError(Exception):
    """What is wrong with the box, in one line that says what to do about it."""


@dataclass(frozen=True)
class Measured:
    """A figure on a card.

    Args:
        value: the figure.
        error: its standard error over the images; None where it has none.
        how: of what, on what, by what.
    """

    value: float
    error: float | None
    how: str

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.value:.4g}"
        digits = max(2, math.ceil(-math.log10(self.error))) if self.error > 0 else 2
        return f"{self.value:.{digits}f} ± {self.error:.{digits}f}"


@dataclass(frozen=True)
class Card:
    """What is known of a model in the box.

    A figure is of the model as it lies there, rounded, unless its `how` says otherwise.

    Args:
        name: in the box.
        what: the model, in a line.
        model: name of its recipe (`genlib.train.RECIPES`).
        options: all options of the recipe.
        images: what the images have that it knows: shape, levels, n_classes.
        data: the data set it was trained on (`genlib.data.load`).
        binary: whether its pixels were drawn black or white, anew in each batch.
        parameters: how many numbers it has learnt.
        numbers: the type they are stored in, "float16" or "bfloat16".
        size: of the file in bytes.
        sha256: checksum of the file.
        command: what trained it.
        machine: on what.
        minutes: of training, by the clock.
        seed: of weights, order and noise.
        updates: steps of the optimiser.
        rounding: what storing the weights in half precision changed.
        metrics: what was measured, by name.
        licence: of the weights.
    """

    name: str
    what: str
    model: str
    options: dict[str, Option]
    images: Images
    data: str
    binary: bool
    parameters: int
    numbers: str
    size: int
    sha256: str
    command: str
    machine: str
    minutes: float
    seed: int
    updates: int
    rounding: Measured
    metrics: dict[str, Measured]
    licence: str

    @property
    def training(self) -> str:
        """How long it was trained, and on what, in words."""
        minutes = f"{self.minutes:.{0 if self.minutes >= 10 else 1}f}"
        return f"{minutes} minutes on {self.machine}, {self.updates:,} updates"


def names(folder: Path | None = None) -> tuple[str, ...]:
    """The models there are.

    Args:
        folder: of the box; None for the one that comes with the course.

    Raises:
        BoxError: box.json is missing or damaged.

    Example:
        >>> isinstance(names(), tuple)
        True
    """
    return tuple(_catalogue(folder or FOLDER))


def card(name: str, folder: Path | None = None) -> Card:
    """What is known of a model: how it was trained, on what, and how good it is.

    Args:
        name: of the model.
        folder: of the box; None for the one that comes with the course.

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
    were.

    Args:
        name: of the model.
        folder: of the box; None for the one that comes with the course.

    Returns:
        The model in eval mode, in float32 and on the CPU.

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
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != about.sha256:
            raise BoxError(f"{path} is damaged (its checksum is not that in box.json): {RESTORE}")
        weights = safetensors.torch.load(data)
    except FileNotFoundError:
        raise BoxError(f"{path} is missing: {RESTORE}") from None
    except OSError as error:
        raise BoxError(f"cannot read {path}: {error.strerror}") from None
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


def _catalogue(folder: Path) -> dict[str, Card]:
    path = folder / "box.json"
    try:
        facts = json.loads(path.read_bytes())
        if facts.get("format") != FORMAT:
            raise BoxError(
                f"{path} is of another version than genlib: its format is not {FORMAT!r}; take both "
                "from one"
            )
        return {name: from_facts(name, entry) for name, entry in facts["models"].items()}
    except FileNotFoundError:
        raise BoxError(f"{path} is missing: {RESTORE}") from None
    except OSError as error:
        raise BoxError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BoxError(f"{path} is damaged ({error}): {RESTORE}") from None


def from_facts(name: str, facts: dict) -> Card:
    """A card from what JSON holds of it.

    Raises:
        KeyError, TypeError, ValueError: something is missing, or of another kind.
    """
    channels, height, width = facts["images"]["shape"]
    images = Images(
        (channels, height, width), facts["images"]["levels"], facts["images"]["n_classes"]
    )
    metrics = {key: Measured(**value) for key, value in facts["metrics"].items()}
    rounding = Measured(**facts["rounding"])
    return Card(
        **{**facts, "name": name, "images": images, "metrics": metrics, "rounding": rounding}
    )


def as_facts(about: Card) -> dict[str, object]:
    """The same, as JSON can hold it; its name is the key it stands under."""
    facts = dict(vars(about))
    del facts["name"]
    images = about.images
    facts["images"] = {
        "shape": list(images.shape),
        "levels": images.levels,
        "n_classes": images.n_classes,
    }
    facts["rounding"] = dict(vars(about.rounding))
    facts["metrics"] = {key: dict(vars(value)) for key, value in about.metrics.items()}
    return facts
