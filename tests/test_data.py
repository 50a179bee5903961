"""Theorems about the sets in memory: levels, batches, bars, digits, colours, binarisation, load."""

import importlib
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from genlib import data
from genlib.data import ImageSet, folders
from genlib.validation import check_labels


def small_set(n=10, levels=4, n_classes=10):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(levels, (n, 2, 3, 3), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(n) % n_classes, levels, n_classes)


# --- ImageSet ---------------------------------------------------------------------------------


def test_every_level_survives_the_way_to_floats_and_back():
    for levels in range(2, 257):
        image = torch.arange(levels, dtype=torch.uint8).reshape(1, 1, 1, -1)
        x = ImageSet(image, torch.zeros(1, dtype=torch.long), levels, 1).floats()
        assert x.min() == 0 and x.max() == 1
        assert torch.equal((x * (levels - 1)).round().to(torch.uint8), image)


def test_a_pass_over_the_batches_meets_every_image_once_with_its_label():
    images = small_set()
    x, y = (torch.cat(parts) for parts in zip(*images.batches(3), strict=True))
    order = y.argsort()
    assert torch.equal(y[order], images.labels)
    assert torch.equal(x[order], images.floats())


def test_batches_have_the_size_asked_for_and_the_last_one_the_rest():
    assert [len(x) for x, _ in small_set(10).batches(4)] == [4, 4, 2]


def test_unshuffled_batches_keep_the_order():
    y = torch.cat([y for _, y in small_set().batches(3, shuffle=False)])
    assert y.tolist() == list(range(10))


def test_shuffling_follows_the_generator_and_differs_from_pass_to_pass():
    images = small_set(10)

    def order(generator):
        return torch.cat([y for _, y in images.batches(4, generator=generator)]).tolist()

    one, two = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    first = order(one)
    assert first == order(two) != list(range(10))
    assert order(one) != first


def test_batches_arrive_on_the_device_asked_for():
    x, y = next(small_set().batches(2, device="meta"))
    assert x.device.type == y.device.type == "meta" and x.dtype == torch.float32


def test_a_subset_keeps_images_labels_and_factors_together():
    images = small_set()
    images = ImageSet(
        images.images, images.labels, 4, 10, {"mass": images.floats().mean((1, 2, 3))}
    )
    for rows in (slice(2, 7), images.labels > 4, torch.tensor([7, 3, 3])):
        part = images[rows]
        assert torch.equal(part.images, images.images[part.labels])
        assert torch.equal(part.factors["mass"], images.factors["mass"][part.labels])


def test_a_bare_number_is_no_index_so_iteration_ends():
    with pytest.raises(TypeError, match=r"\.floats\(\)\[i\]"):
        small_set()[0]
    with pytest.raises(TypeError, match="slice"):
        list(small_set())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": torch.zeros(10, 2, 3, 3)}, "uint8"),
        ({"images": torch.zeros(10, 3, 3, dtype=torch.uint8)}, r"\(N, C, H, W\)"),
        ({"labels": torch.zeros(9, dtype=torch.long)}, "one an image"),
        ({"labels": torch.zeros(10)}, "int64"),
        ({"labels": torch.full((10,), 10)}, "n_classes=10 allows 0 to 9"),
        ({"labels": torch.full((10,), -1)}, "n_classes=10 allows 0 to 9"),
        ({"levels": 3}, "level 3, but levels=3 allows 0 to 2"),
        ({"levels": 1}, "2 to 256"),
        ({"factors": {"mass": torch.zeros(3)}}, "'mass'"),
    ],
)
def test_an_image_set_refuses_what_does_not_fit(change, message):
    good = small_set()
    parts = {"images": good.images, "labels": good.labels, "levels": 4, "n_classes": 10}
    with pytest.raises(ValueError, match=message):
        ImageSet(**parts | change)


def test_a_batch_size_below_one_is_refused_at_once():
    with pytest.raises(ValueError, match="at least 1"):
        small_set().batches(0)


# --- binarisation -----------------------------------------------------------------------------


def test_threshold_keeps_what_is_at_least_half():
    images = small_set(levels=5)
    assert torch.equal(data.binarise(images).images, (images.images >= 2).to(torch.uint8))
    assert data.binarise(images).levels == 2


def test_a_stochastic_pixel_is_white_with_probability_equal_to_its_value():
    n = 20_000
    grey = torch.tensor([0, 1, 2, 3, 4], dtype=torch.uint8).expand(n, 1, 1, 5)
    images = ImageSet(grey, torch.zeros(n, dtype=torch.long), 5, 1)
    frequency = data.binarise(images, how="stochastic").floats().mean(0).flatten()
    p = torch.arange(5) / 4
    assert ((frequency - p).abs() <= 4 * (p * (1 - p) / n).sqrt()).all()  # 4 standard errors


def test_the_same_seed_binarises_alike_and_another_one_does_not():
    images = data.load("digits", size=50)
    first = data.binarise(images, how="stochastic", seed=3).images
    assert torch.equal(first, data.binarise(images, how="stochastic", seed=3).images)
    assert not torch.equal(first, data.binarise(images, how="stochastic", seed=4).images)


def test_binarising_keeps_labels_and_factors():
    images = data.strokes(5)
    binary = data.binarise(images, how="stochastic")
    assert torch.equal(binary.labels, images.labels)
    assert binary.factors.keys() == images.factors.keys()


def test_binarising_refuses_other_ways_and_other_values():
    with pytest.raises(ValueError, match='"threshold" or "stochastic"'):
        data.binarise(small_set(), how="round")
    for bad in (torch.tensor([0.5, 1.5]), torch.tensor([-0.1]), torch.tensor([math.nan])):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            data.bernoulli_pixels(bad)


# --- bars -------------------------------------------------------------------------------------


def test_all_images_lists_every_image_once():
    x = data.all_images(3, (2, 1, 2))
    assert x.shape == (81, 2, 1, 2)
    assert len(x.unique(dim=0)) == 81
    assert x.unique().tolist() == [0, 0.5, 1]


def test_all_images_refuses_more_than_memory_holds():
    assert len(data.all_images(2, (1, 4, 5))) == 2**20
    with pytest.raises(ValueError, match="too many"):
        data.all_images(2, (1, 3, 7))
    with pytest.raises(ValueError, match="at least 2"):
        data.all_images(1, (1, 2, 2))


def test_bars_are_exactly_the_images_made_of_whole_columns_or_whole_rows():
    every = data.all_images(2, (1, 4, 4))
    columns = (every == every[:, :, :1]).flatten(1).all(1)
    rows = (every == every[..., :1]).flatten(1).all(1)
    truth = every[columns | rows]
    images = data.bars()
    assert len(images) == len(truth) == 30
    assert torch.equal(images.floats().unique(dim=0), truth.unique(dim=0))


def test_labels_of_bars_say_column_row_or_both():
    images = data.bars()
    x = images.floats()
    column = (x == x[:, :, :1]).flatten(1).all(1)
    row = (x == x[..., :1]).flatten(1).all(1)
    assert torch.equal(images.labels, torch.where(column & row, 2, row.long()))


# --- digits -----------------------------------------------------------------------------------


def test_digits_split_is_a_partition_with_balanced_classes():
    train, test = data.load("digits", "train"), data.load("digits", "test")
    assert (len(train), len(test), train.shape, train.levels) == (1437, 360, (1, 8, 8), 17)
    whole = torch.cat([train.images, test.images])[:, 0]
    truth = torch.from_numpy(load_digits().images).to(torch.uint8)
    assert torch.equal(whole.flatten(1).unique(dim=0), truth.flatten(1).unique(dim=0))
    assert ((test.labels.bincount() - 36).abs() <= 4).all()
    assert ((train.labels.bincount() - 143.7).abs() <= 12).all()


def test_colour_digits_are_the_digits_painted():
    for split in ("train", "test"):
        grey, colour = data.load("digits", split), data.load("colour_digits", split)
        assert colour.shape == (3, 8, 8) and colour.levels == 8 and len(colour) == len(grey)
        assert torch.equal(colour.labels, grey.labels)
    # pixels with the same ink have the same colour, those with none and full ink are far apart
    ink, painted = grey.images[:, 0].flatten(1), colour.floats().flatten(2)
    for i in range(100):
        for level in ink[i].unique():
            assert len(painted[i, :, ink[i] == level].unique(dim=1).T) == 1
        full, none = painted[i, :, ink[i].argmax()], painted[i, :, ink[i].argmin()]
        assert (full - none).abs().max() > 0.3


def test_green_and_blue_follow_from_red():
    """Mutual information of two channels of a pixel, within an image, against shuffled pixels."""

    def mutual_information(a, b):  # plug-in estimate, bits, mean over images
        def entropy(codes):
            counts = torch.nn.functional.one_hot(codes.long(), 64).sum(1).double() / 64
            return torch.special.entr(counts).sum(1).mean() / math.log(2)

        return entropy(a) + entropy(b) - entropy(8 * a.long() + b)

    channels = data.load("colour_digits", size=300).images.flatten(2)
    shuffled = channels[:, :, torch.randperm(64, generator=torch.Generator().manual_seed(0))]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        measured = mutual_information(channels[:, first], channels[:, second])
        chance = mutual_information(channels[:, first], shuffled[:, second])
        assert measured > chance + 0.5


# --- load -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bars", "digits", "colour_digits", "strokes"])
def test_offline_sets_load_twice_alike_and_leave_the_global_generator_alone(name, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two = data.load(name, size=20, root=tmp_path), data.load(name, size=20, root=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
    assert len(one) == 20 and one.images.dtype == torch.uint8 and one.labels.dtype == torch.int64


@pytest.mark.parametrize("name", ["digits", "colour_digits", "strokes"])
def test_size_takes_the_first_images(name, tmp_path):
    few, more = data.load(name, size=7, root=tmp_path), data.load(name, size=31, root=tmp_path)
    assert torch.equal(few.images, more.images[:7])


@pytest.mark.parametrize("name", ["digits", "colour_digits", "strokes"])
def test_no_image_is_in_both_splits(name, tmp_path):
    sizes = {"train": 400, "test": 300}
    train, test = (
        data.load(name, s, size=size, root=tmp_path).images.flatten(1) for s, size in sizes.items()
    )
    assert len(torch.cat([train, test]).unique(dim=0)) == len(train) + len(test)


def test_bars_are_the_same_thirty_images_in_both_splits():
    assert torch.equal(data.load("bars", "train").images, data.load("bars", "test").images)


def test_an_unknown_name_lists_the_known_ones_and_the_closest():
    with pytest.raises(ValueError, match="strokes.*did you mean 'fashion_mnist'"):
        data.load("fashion-mnist")


@pytest.mark.parametrize("name", data.NAMES)
def test_a_wrong_split_is_refused_by_every_set(name):
    with pytest.raises(ValueError, match='"train" or "test", not \'valid\''):
        data.load(name, "valid")


@pytest.mark.parametrize(
    "read",
    [
        data.digits,
        data.colour_digits,
        data.mnist,
        data.fashion_mnist,
        data.cifar10,
        data.cifar10_subset,
    ],
)
def test_a_wrong_split_is_refused_before_any_file_is_looked_for(read, tmp_path, monkeypatch):
    monkeypatch.setenv("GENLIB_DATA", str(tmp_path))
    with pytest.raises(ValueError, match='"train" or "test"'):
        read("Train")


def test_sizes_that_cannot_be_had_are_refused():
    for size in (0, -3):
        with pytest.raises(ValueError, match="at least 1"):
            data.load("digits", size=size)
    with pytest.raises(ValueError, match="360 test images, not 361"):
        data.load("digits", "test", size=361)


@pytest.mark.parametrize("name", ["bars", "digits", "colour_digits", "strokes"])
def test_images_are_in_memory_whatever_the_device_of_new_tensors(name: str):
    with torch.device("meta"):
        images = data.load(name, size=10).images
    assert images.device.type == "cpu" and torch.equal(images, data.load(name, size=10).images)


def test_digits_asked_for_first_on_another_device_are_not_corrupted():
    module = importlib.import_module("genlib.data.digits")
    module._all_digits.cache_clear()
    with torch.device("meta"):
        module.digits()
    assert data.load("digits").floats().mean() > 0


def test_without_a_home_data_are_kept_in_a_temporary_folder_and_that_is_said(monkeypatch):
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "GENLIB_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.warns(UserWarning, match="there is no home folder.*set HOME"):
        folder = folders.cache_folder()
    assert folder.is_relative_to(tempfile.gettempdir()) and folder.name.startswith("genlib")
    monkeypatch.setattr(Path, "expanduser", lambda path: nobody())
    with pytest.raises(ValueError, match="write its name in full"):
        folders.data_folder("~/data")


# What comes from NumPy.


def test_arrays_of_numpy_are_images_too():
    images, labels = np.zeros((5, 1, 2, 2), dtype=np.uint8), np.arange(5)
    data = ImageSet(images, labels, levels=2, n_classes=5)
    assert isinstance(data.images, Tensor) and data.images.dtype == torch.uint8
    assert next(data.batches(5, shuffle=False))[1].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((5, 1, 2, 2)), np.arange(5), "uint8 levels .*, not torch.float64"),
        (
            np.zeros((5, 1, 2, 2), np.uint8),
            np.arange(5, dtype=np.int32),
            "int64 .*, not torch.int32",
        ),
        (np.zeros((5, 8, 8, 1), np.uint8), np.arange(5), r"channels last.*permute\(0, 3, 1, 2\)"),
        ([[0]], np.arange(5), "images must be a tensor or a NumPy array, not list"),
    ],
)
def test_a_wrong_array_gets_one_error_that_names_the_fault(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ImageSet(images, labels, levels=2, n_classes=5)


def test_labels_of_numpy_are_refused_as_what_they_are():
    with pytest.raises(TypeError, match="must be a tensor, not ndarray: use torch.as_tensor"):
        check_labels(np.arange(2), batch=2, n_classes=3)
