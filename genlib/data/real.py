"""MNIST, Fashion-MNIST and CIFAR-10: the real thing, from files or by way of torchvision."""

import gzip
import math
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlib.data.folders import NPZ_ERRORS, data_folder
from genlib.data.imageset import ImageSet, is_train

OFFLINE = "bars, digits, colour_digits and strokes need no files and no network"

# no network, no answer, a broken connection, a wrong checksum, an archive cut short, a full disk
DOWNLOAD_ERRORS = (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError, zlib.error)


def mnist(split: str = "train", root: str | Path | None = None) -> ImageSet:
    """MNIST: handwritten digits, 1x28x28 with 256 levels, 60,000 to train on, 10,000 to test on.

    LeCun, Bottou, Bengio & Haffner (1998), "Gradient-based learning applied to document
    recognition". Files that are already in `ROOT/MNIST/raw`, as torchvision lays them out (plain
    or .gz), are read as they are, also from a folder that cannot be written; files that are
    missing are downloaded.

    Args:
        split: "train" or "test".
        root: folder of the data; by default `$GENLIB_DATA`, else the user's cache folder.

    Raises:
        FileNotFoundError: the files are not there and cannot be downloaded.
        ValueError: a file is damaged.
    """
    return _mnist_like("MNIST", split, root)


def fashion_mnist(split: str = "train", root: str | Path | None = None) -> ImageSet:
    """Fashion-MNIST: ten kinds of clothes in the format of MNIST, from `ROOT/FashionMNIST/raw`.

    Xiao, Rasul & Vollgraf (2017), arXiv:1708.07747. Arguments and errors are those of `mnist`.
    """
    return _mnist_like("FashionMNIST", split, root)


def cifar10(split: str = "train", root: str | Path | None = None) -> ImageSet:
    """CIFAR-10: colour photographs, 3x32x32 with 256 levels, 50,000 to train on, 10,000 to test on.

    Krizhevsky (2009), "Learning multiple layers of features from tiny images". From
    `ROOT/cifar-10-batches-py`; arguments and errors are those of `mnist`.
    """
    from torchvision.datasets import CIFAR10  # here, because it takes a second to import
    from torchvision.datasets.utils import check_integrity

    train = is_train(split)
    folder = data_folder(root) / CIFAR10.base_folder
    md5 = dict(CIFAR10.train_list + CIFAR10.test_list)
    md5[CIFAR10.meta["filename"]] = CIFAR10.meta["md5"]
    _fetch(CIFAR10, folder.parent, CIFAR10.base_folder, md5)
    for name, expected in md5.items():  # before unpickling: only these exact files are safe
        if not check_integrity(str(folder / name), expected):
            raise ValueError(_damaged(folder / name, "its MD5 checksum is wrong"))
    data = CIFAR10(folder.parent, train=train)
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.tensor(data.targets), levels=256, n_classes=10)


def cifar10_subset(split: str = "train", root: str | Path | None = None) -> ImageSet:
    """A few CIFAR-10 images without labels, 3x32x32, from `ROOT/cifar10-subset/images.npz`.

    Every sixth image is a test image: 500 of 3,000. There is one class, 0. The file holds an array
    `images`, uint8 of shape (N, 32, 32, 3); it is never downloaded.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it holds something else.
    """
    train = is_train(split)
    path = data_folder(root) / "cifar10-subset" / "images.npz"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist, and is not to be had from the network: load 'cifar10', which "
            f"is downloaded, or set GENLIB_DATA or root= to the folder that holds it; {OFFLINE}"
        )
    try:
        with np.load(path) as arrays:
            images = torch.from_numpy(arrays["images"])
    except NPZ_ERRORS as error:
        raise ValueError(
            f"{path} is damaged (no array `images` can be read: {error}): put a whole file in its "
            f"place; {OFFLINE}"
        ) from error
    if images.dtype != torch.uint8 or images.shape[1:] != (32, 32, 3):
        raise ValueError(f"{path} must hold uint8 images of shape (N, 32, 32, 3)")
    images = images.permute(0, 3, 1, 2)
    is_test = torch.arange(len(images)) % 6 == 5
    images = images[~is_test if train else is_test].contiguous()
    return ImageSet(images, torch.zeros(len(images), dtype=torch.long), levels=256, n_classes=1)


def _mnist_like(kind: str, split: str, root: str | Path | None) -> ImageSet:
    import torchvision.datasets

    prefix = "train" if is_train(split) else "t10k"
    names = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
    inside = f"{kind}/raw"
    _fetch(getattr(torchvision.datasets, kind), data_folder(root), inside, names)
    folder = data_folder(root) / inside
    images, labels = _read_idx(folder / names[0], 3), _read_idx(folder / names[1], 1)
    if len(images) != len(labels):
        raise ValueError(
            f"{folder / names[0]} holds {len(images)} images, but {names[1]} holds "
            f"{len(labels)} labels: copy both files of one set there"
        )
    return ImageSet(images[:, None], labels.long(), levels=256, n_classes=10)


def _there(path: Path) -> Path | None:
    """The file, plain or packed, or None."""
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.exists():
            return candidate
    return None


def _read_idx(path: Path, n_dims: int) -> Tensor:
    """An array of bytes in the IDX format: 0 0 8 n_dims, then n_dims big-endian sizes, then data.

    The format is described at the end of http://yann.lecun.com/exdb/mnist/.
    """
    path = _there(path) or path
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(_damaged(path, str(error))) from error
    start = 4 + 4 * n_dims
    if len(raw) < start or raw[:4] != bytes([0, 0, 8, n_dims]):
        raise ValueError(_damaged(path, f"it does not begin as an IDX file of {n_dims} dimensions"))
    sizes = np.frombuffer(raw, dtype=">i4", count=n_dims, offset=4).tolist()
    if len(raw) != start + math.prod(sizes):
        raise ValueError(
            _damaged(path, f"{len(raw):,} bytes, but its header says {start + math.prod(sizes):,}")
        )
    # a copy, because torch wants memory that it may write
    return torch.from_numpy(np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(sizes).copy())


def _damaged(path: Path, why: str) -> str:
    return (
        f"{path} is damaged ({why}): delete it, and it is downloaded again, or copy a whole file "
        f"there; {OFFLINE}"
    )


def _fetch(dataset: Any, root: Path, inside: str, names: Iterable[str]) -> None:
    """Have torchvision download what is missing of `names` in `root/inside`, each file whole.

    It works in a temporary folder beside the place, checks the checksums there, and only then the
    files move; a file that is already there stays as it is.
    """
    folder = root / inside
    if all(_there(folder / name) for name in names):
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix="download-") as unfinished:
            dataset(unfinished, download=True)
            folder.mkdir(parents=True, exist_ok=True)
            for path in (Path(unfinished) / inside).iterdir():
                if path.suffix != ".gz" and not _there(folder / path.name):
                    os.replace(path, folder / path.name)
    except DOWNLOAD_ERRORS as error:
        raise FileNotFoundError(
            f"{folder} lacks {' or '.join(n for n in names if not _there(folder / n))}, and the "
            f"download failed ({error}). Connect to the network, or copy the files there, or set "
            f"GENLIB_DATA or root= to the folder that holds {inside}; {OFFLINE}"
        ) from error
