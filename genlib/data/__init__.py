"""Data for the course: every set is an `ImageSet` in memory, and `load` finds it by name.

Four sets need no network: `bars`, whose distribution is known exactly; `digits`, real handwriting
that ships with scikit-learn; `colour_digits`, for models that order the channels; and `strokes`, a
simulator with known factors. The rest are the real thing, from files or downloaded. The densities
in the plane (`EightGaussians`, `Spiral`, `Checkerboard`) have an exact `log_prob` and `sample`.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from genlib.data.bars import all_images, bars, image_index
from genlib.data.densities import Checkerboard, EightGaussians, Spiral
from genlib.data.digits import colour_digits, digits
from genlib.data.folders import cache_folder
from genlib.data.imageset import ImageSet, bernoulli_pixels, binarise, independent_pixels, is_train
from genlib.data.real import cifar10, cifar10_subset, fashion_mnist, mnist
from genlib.data.strokes import FACTORS, cached_strokes, strokes
from genlib.validation import one_of

_FINITE: dict[str, Callable[[str, str | Path | None], ImageSet]] = {
    "bars": lambda split, root: bars(),
    "digits": lambda split, root: digits(split),
    "colour_digits": lambda split, root: colour_digits(split),
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar10_subset": cifar10_subset,
}
NAMES = ("bars", "digits", "colour_digits", "strokes", *list(_FINITE)[3:])

STROKES_SIZE = {"train": 10_000, "test": 2_000}
STROKES_SEED = {"train": 0, "test": 20_160_601}  # a seed that nobody takes for more training data


def load(
    name: str, split: str = "train", *, size: int | None = None, root: str | Path | None = None
) -> ImageSet:
    """The data set called `name`, as bytes in memory.

    Args:
        name: "bars" (its 30 images are both splits), "digits", "colour_digits", "strokes"; or
            "mnist", "fashion_mnist", "cifar10", "cifar10_subset", which need files.
        split: "train" or "test".
        size: take the first `size` images; None takes all, of `strokes` 10,000 to train on and
            2,000 to test on. `strokes` draws any number.
        root: folder of the files, and of the drawn `strokes`. By default real data are in
            `$GENLIB_DATA` if that is set, and everything else in the user's cache folder.

    Raises:
        ValueError: an unknown name or split, a size below 1 or above what there is, a damaged file.
        FileNotFoundError: the files are not there and cannot be downloaded.

    Example:
        >>> load("digits", size=100)
        ImageSet(100 images of shape (1, 8, 8), levels=17, n_classes=10)
        >>> x, y = next(load("bars").batches(30))
        >>> x.shape, x.dtype
        (torch.Size([30, 1, 4, 4]), torch.float32)
    """
    one_of("data set", name, NAMES)
    is_train(split)  # refuses what is neither
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, not {size}; leave it out to take all images")
    with torch.device("cpu"):  # in memory, also where new tensors are made on another device
        if name == "strokes":
            folder = Path(root) if root else cache_folder()
            return cached_strokes(size or STROKES_SIZE[split], STROKES_SEED[split], folder)
        data = _FINITE[name](split, root)
    if size is not None and size > len(data):
        raise ValueError(
            f"{name} has {len(data)} {split} images, not {size}: leave size out to take all"
        )
    return data[:size]
