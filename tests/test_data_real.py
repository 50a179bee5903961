"""Files of real data: read as they are, refused when damaged, downloaded whole or not at all.

The files here are tiny ones in the real formats; nothing touches the network. The last test reads
real MNIST where GENLIB_DATA names a folder that holds it.
"""

import gzip
import hashlib
import math
import os
import pickle
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision.datasets
from torchvision.datasets import CIFAR10, MNIST

from genlib import data
from genlib.data import folders
from genlib.data.folders import cache_folder, data_folder, whole_file

N = {"train": 6, "t10k": 4}


def idx(array):
    """The bytes of an IDX file."""
    return struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist_files():
    rng = np.random.default_rng(0)
    files = {}
    for prefix, n in N.items():
        files[f"{prefix}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (n, 28, 28), np.uint8))
        files[f"{prefix}-labels-idx1-ubyte"] = idx(rng.integers(0, 10, n, np.uint8))
    return files


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Downloads fail as they do on a laptop in a lecture hall, half of a file being there."""

    def download(self):
        write(Path(self.raw_folder), {"train-images-idx3-ubyte.gz": b"half of"})
        raise URLError("no network")

    def download_cifar(self):
        write(Path(self.root), {"cifar-10-python.tar.gz": b"half of"})
        raise URLError("no network")

    monkeypatch.setattr(MNIST, "download", download)
    monkeypatch.setattr(CIFAR10, "download", download_cifar)
    monkeypatch.delenv("GENLIB_DATA", raising=False)


# --- MNIST and its kin ------------------------------------------------------------------------


@pytest.mark.parametrize("name, folder", [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
@pytest.mark.parametrize("packed", [False, True])
def test_files_that_are_there_are_read_as_torchvision_reads_them(name, folder, packed, tmp_path):
    files = mnist_files()
    raw = tmp_path / folder / "raw"
    write(raw, files)
    truth = getattr(torchvision.datasets, folder)(tmp_path, train=False)
    if packed:
        for path in raw.iterdir():
            path.unlink()
        write(raw, {name + ".gz": gzip.compress(content) for name, content in files.items()})
    before = listing(tmp_path)
    images = data.load(name, "test", root=tmp_path)
    assert images.shape == (1, 28, 28) and images.levels == 256 and images.n_classes == 10
    assert torch.equal(images.images[:, 0], truth.data)
    assert torch.equal(images.labels, truth.targets)
    assert len(data.load(name, "train", root=tmp_path, size=5)) == 5
    assert listing(tmp_path) == before


def test_one_split_needs_only_its_own_files(tmp_path):
    files = mnist_files()
    write(tmp_path / "MNIST/raw", {k: v for k, v in files.items() if k.startswith("t10k")})
    assert len(data.load("mnist", "test", root=tmp_path)) == N["t10k"]


def test_the_folder_is_root_then_the_variable_then_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENLIB_DATA", str(tmp_path / "variable"))
    write(tmp_path / "variable/MNIST/raw", mnist_files())
    assert len(data.load("mnist", "test")) == N["t10k"]
    assert data_folder("argument") == Path("argument")
    monkeypatch.delenv("GENLIB_DATA")
    assert data_folder() == cache_folder()


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_the_cache_is_where_the_system_keeps_caches(system, monkeypatch):
    monkeypatch.setattr(folders.sys, "platform", system)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    monkeypatch.setenv("HOME", "/home/me")
    here = {"linux": "/x/genlib", "darwin": "/home/me/Library/Caches/genlib"}
    assert cache_folder() == Path(here.get(system, "/local/genlib"))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("keep", [0, 3, 7, 15, 500, -1])
def test_a_truncated_file_is_named_and_left_alone(keep, packed, tmp_path):
    files = mnist_files()
    name = "train-images-idx3-ubyte"
    content = gzip.compress(files.pop(name)) if packed else files.pop(name)
    name += ".gz" if packed else ""
    write(tmp_path / "MNIST/raw", files | {name: content[:keep]})
    with pytest.raises(ValueError, match=f"{name} is damaged.*delete it.*digits"):
        data.load("mnist", root=tmp_path)
    assert (tmp_path / "MNIST/raw" / name).read_bytes() == content[:keep]


def test_a_file_of_something_else_is_refused(tmp_path):
    files = mnist_files()
    name = "train-images-idx3-ubyte"
    for wrong in (b"<html>404</html>" * 100, files["train-labels-idx1-ubyte"], files[name] + b"\0"):
        write(tmp_path / "MNIST/raw", files | {name: wrong})
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            data.load("mnist", root=tmp_path)


def test_images_and_labels_of_different_sets_are_refused(tmp_path):
    files = mnist_files()
    files["train-labels-idx1-ubyte"] = files["t10k-labels-idx1-ubyte"]
    write(tmp_path / "MNIST/raw", files)
    with pytest.raises(ValueError, match="6 images, but .* 4 labels"):
        data.load("mnist", root=tmp_path)


# --- downloading ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, inside",
    [
        ("mnist", "MNIST/raw"),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("cifar10", "cifar-10-batches-py"),
    ],
)
def test_without_network_the_error_says_what_to_do_and_nothing_is_left_behind(
    name, inside, tmp_path
):
    with pytest.raises(FileNotFoundError) as caught:
        data.load(name, root=tmp_path)
    for part in (str(tmp_path / inside), "no network", "GENLIB_DATA", "digits", "strokes"):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_gives_the_same_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileNotFoundError, match="copy the files there"):
        data.load("mnist", root=tmp_path / "file")


def test_a_download_arrives_whole_and_spares_what_was_there(tmp_path, monkeypatch):
    files = mnist_files()
    asked = []

    def download(self):
        asked.append(self.root)
        packed = {name + ".gz": gzip.compress(content) for name, content in files.items()}
        write(Path(self.raw_folder), files | packed)

    monkeypatch.setattr(MNIST, "download", download)
    mine = idx(np.ones((6, 28, 28), np.uint8))
    write(tmp_path / "MNIST/raw", {"train-images-idx3-ubyte": mine})
    assert (data.load("mnist", root=tmp_path).images == 1).all()
    assert listing(tmp_path) == sorted(f"MNIST/raw/{name}" for name in files)
    assert len(asked) == 1 and Path(asked[0]) != tmp_path
    data.load("mnist", "test", root=tmp_path)
    assert len(asked) == 1  # the second time nothing is missing


def test_a_half_written_file_never_has_the_real_name(tmp_path):
    path = tmp_path / "new" / "a.bin"
    with pytest.raises(KeyboardInterrupt), whole_file(path) as unfinished:
        unfinished.write_text("half of")
        assert not path.exists()
        raise KeyboardInterrupt
    assert listing(tmp_path) == []


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "a.bin"
    with whole_file(path) as one, whole_file(path) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert path.read_text() in ("one", "two") and listing(tmp_path) == ["a.bin"]


# --- CIFAR-10 ---------------------------------------------------------------------------------


@pytest.fixture
def tiny_cifar(tmp_path, monkeypatch):
    """Five training batches of 3 images and a test batch, in CIFAR's own format."""
    rng = np.random.default_rng(0)

    def batch(n):
        pixels = rng.integers(0, 256, (n, 3072), np.uint8)
        return {"data": pixels, "labels": rng.integers(0, 10, n).tolist()}

    entries = {f"data_batch_{i}": batch(3) for i in range(1, 6)} | {"test_batch": batch(2)}
    files = {name: pickle.dumps(entry) for name, entry in entries.items()}
    files["batches.meta"] = pickle.dumps({"label_names": list("abcdefghij")})
    write(tmp_path / "cifar-10-batches-py", files)
    md5 = [[name, hashlib.md5(content).hexdigest()] for name, content in files.items()]
    monkeypatch.setattr(CIFAR10, "train_list", md5[:5])
    monkeypatch.setattr(CIFAR10, "test_list", md5[5:6])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5[6][1]})
    return tmp_path, entries


def test_cifar_keeps_channels_and_order(tiny_cifar):
    root, entries = tiny_cifar
    train, test = data.load("cifar10", root=root), data.load("cifar10", "test", root=root)
    assert len(train) == 15 and train.shape == (3, 32, 32) and train.levels == 256
    # the file holds 1024 reds, then 1024 greens, then 1024 blues of an image, row by row
    assert test.images.flatten(1).tolist() == entries["test_batch"]["data"].tolist()
    assert test.labels.tolist() == entries["test_batch"]["labels"]
    assert train.images[3].flatten().tolist() == entries["data_batch_2"]["data"][0].tolist()


def test_a_damaged_cifar_file_is_named_and_never_unpickled(tiny_cifar):
    root, _ = tiny_cifar
    path = root / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="data_batch_3 is damaged.*MD5"):
        data.load("cifar10", root=root)


def test_cifar_subset_is_split_five_to_one(tmp_path):
    pixels = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    pixels[..., 0] = 99
    (tmp_path / "cifar10-subset").mkdir()
    np.savez(tmp_path / "cifar10-subset/images.npz", images=pixels)
    train = data.load("cifar10_subset", "train", root=tmp_path)
    test = data.load("cifar10_subset", "test", root=tmp_path)
    assert test.images[:, 1, 0, 0].tolist() == [5, 11] and len(train) == 10
    assert (test.images[:, 0] == 99).all() and (test.labels == 0).all() and test.n_classes == 1


def test_cifar_subset_says_what_it_misses(tmp_path):
    with pytest.raises(FileNotFoundError, match="images.npz does not exist.*'cifar10'"):
        data.load("cifar10_subset", root=tmp_path)
    path = tmp_path / "cifar10-subset/images.npz"
    for content in (b"", b"PK\3\4 half of", b"no archive"):
        write(path.parent, {"images.npz": content})
        with pytest.raises(ValueError, match="images.npz is damaged"):
            data.load("cifar10_subset", root=tmp_path)
    np.savez(path, images=np.zeros((3, 3, 32, 32), np.uint8))
    with pytest.raises(ValueError, match=r"\(N, 32, 32, 3\)"):
        data.load("cifar10_subset", root=tmp_path)


# --- the real thing ---------------------------------------------------------------------------

REAL = os.environ.get("GENLIB_DATA", "")


@pytest.mark.skipif(not Path(REAL, "MNIST/raw").is_dir(), reason="GENLIB_DATA holds no MNIST")
def test_real_mnist_has_its_known_counts():
    train, test = data.load("mnist", "train", root=REAL), data.load("mnist", "test", root=REAL)
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert train.labels.bincount().tolist()[:3] == [5923, 6742, 5958]
    # the mean that everybody's Normalize((0.1307,), ...) subtracts
    assert math.isclose(train.floats().mean(), 0.1307, abs_tol=5e-5)


@pytest.mark.skipif(not Path(REAL, "cifar10-subset").is_dir(), reason="GENLIB_DATA holds no subset")
def test_real_cifar_subset_loads():
    test = data.load("cifar10_subset", "test", root=REAL)
    assert len(test) == 500 and test.shape == (3, 32, 32)
