"""Real handwritten digits that ship with scikit-learn, in grey and in colour."""

import colorsys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genlib.data.imageset import ImageSet, is_train

N_TRAIN = 1437  # of 1797: 80 %


@cache
def _all_digits() -> tuple[Tensor, Tensor]:
    """Levels (1797, 1, 8, 8) in 0 .. 16 and labels (1797,), in a fixed random order."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the digits are a file of scikit-learn: pip install scikit-learn")
    # a row is 64 levels and the label; to import sklearn.datasets for that takes a second or more
    rows = np.loadtxt(Path(spec.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    with torch.device("cpu"):  # what is kept must not depend on the device of whoever asks first
        table = torch.from_numpy(rows)
        # the file is ordered by writer and counts 0 to 9 over and over, so a split needs a shuffle;
        # seed 42 is one that leaves 33 to 40 images of each class to test on
        order = torch.randperm(len(table), generator=torch.Generator().manual_seed(42))
        images = table[:, :64].to(torch.uint8).unflatten(1, (1, 8, 8))
        return images[order], table[order, 64].long()


def _half(split: str) -> slice:
    return slice(None, N_TRAIN) if is_train(split) else slice(N_TRAIN, None)


def digits(split: str = "train") -> ImageSet:
    """Handwritten digits, 1x8x8 with 17 grey levels: 1437 to train on, 360 to test on.

    They are the test half of the UCI set "Optical recognition of handwritten digits" (Alpaydin &
    Kaynak, 1998, doi:10.24432/C50P49), as scikit-learn ships it: 32x32 bitmaps, each 4x4 block
    counted, so a level is a number of ink pixels, 0 to 16. The split is fixed and random; the
    same 13 writers are in both halves.

    Args:
        split: "train" or "test".

    Example:
        >>> digits("test")
        ImageSet(360 images of shape (1, 8, 8), levels=17, n_classes=10)
    """
    images, labels = _all_digits()
    half = _half(split)
    return ImageSet(images[half].clone(), labels[half].clone(), levels=17, n_classes=10)


def _random_colours(n: int) -> tuple[Tensor, Tensor]:
    """Foreground and background colours, each (n, 3) in [0, 1]: unlike in hue and in brightness.

    Three in four are bright on dark, the rest dark on bright.
    """
    u = torch.rand(n, 5, generator=torch.Generator().manual_seed(0), dtype=torch.double).tolist()
    pairs = []
    for hue, apart, dark, bright, flip in u:
        other = (hue + 0.3 + 0.4 * apart) % 1.0  # at least 0.3 of a turn away
        deep = colorsys.hsv_to_rgb(other, 0.9, 0.15 + 0.25 * dark)
        vivid = colorsys.hsv_to_rgb(hue, 0.35 + 0.4 * bright, 1.0)
        pairs.append((deep, vivid) if flip < 0.25 else (vivid, deep))
    foreground, background = torch.tensor(pairs).unbind(dim=1)
    return foreground, background


def colour_digits(split: str = "train") -> ImageSet:
    r"""The digits in random colours, 3x8x8 with 8 levels: for models that order R, G and B.

    Pixel $i$ of an image is $b + a_i (f - b)$, rounded to 8 levels, where $a_i$ is the ink of
    `digits` and foreground $f$ and background $b$ are drawn once an image. The three channels of a
    pixel share one $a_i$: R determines G and B almost entirely, so a model that takes the
    channels of a pixel as independent pays for it in bits (a test measures the mutual information).

    Args:
        split: "train" or "test"; the same 1437 and 360 digits as `digits`.

    Example:
        >>> colour_digits("test")
        ImageSet(360 images of shape (3, 8, 8), levels=8, n_classes=10)
    """
    ink, labels = _all_digits()
    foreground, background = (c[:, :, None, None] for c in _random_colours(len(ink)))
    x = background + ink / 16 * (foreground - background)  # (N, 3, 8, 8)
    images = (x * 7).round().to(torch.uint8)
    half = _half(split)
    return ImageSet(images[half].clone(), labels[half].clone(), levels=8, n_classes=10)
