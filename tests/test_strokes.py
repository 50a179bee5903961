"""Theorems about the handwriting simulator: what a factor says is what the picture shows."""

import importlib
import math
import time

import numpy as np
import pytest
import torch
from torch import nn

from genlib import data
from genlib.data import FACTORS, strokes
from genlib.data.strokes import (
    _COMPILED,
    N_STYLES,
    SIDE,
    STYLES,
    _draw,
    _read_style,
    cached_strokes,
)

# `genlib.data.strokes` names the function; the module of that name has to be asked for
module = importlib.import_module("genlib.data.strokes")


def box(images):
    """Edges (left, right, top, bottom) of what is at least half covered, pixels, each (n,)."""
    ink = images.floats()[:, 0] >= 0.5
    place = torch.arange(SIDE)
    edges = []
    for dim in (1, 2):  # columns, then rows, that hold ink
        line = ink.any(dim=dim)
        edges += [torch.where(line, place, SIDE).amin(1), torch.where(line, place, -1).amax(1)]
    return [edge.float() for edge in edges]


# --- the same numbers, the same images --------------------------------------------------------


def test_the_same_seed_draws_the_same_images_and_another_one_does_not():
    one, two, other = strokes(50, seed=4), strokes(50, seed=4), strokes(50, seed=5)
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
    assert all(torch.equal(one.factors[name], two.factors[name]) for name in one.factors)
    assert not (one.images == other.images).flatten(1).all(1).any()


@pytest.mark.parametrize("n", [1, 15, 16, 17, 100])
def test_a_smaller_set_is_the_beginning_of_a_larger_one(n):
    small, large = strokes(n), strokes(333)
    assert torch.equal(small.images, large.images[:n])
    assert torch.equal(small.factors["slant"], large.factors["slant"][:n])


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    strokes(10)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_image_is_a_function_of_its_row_whatever_else_is_drawn(monkeypatch):
    whole = strokes(40)
    monkeypatch.setattr(module, "CHUNK", 3)
    assert torch.equal(strokes(40).images, whole.images)


# --- the factors ------------------------------------------------------------------------------


def test_factors_fill_their_ranges_evenly_and_do_not_depend_on_each_other():
    n = 5_000
    images = strokes(n)
    values = torch.stack([images.factors[name] for name in FACTORS])
    for value, (low, high) in zip(values, FACTORS.values(), strict=True):
        counts = ((value - low) / (high - low) * 10).floor().long().bincount(minlength=10)
        assert len(counts) == 10
        assert ((counts / n - 0.1).abs() < 4.5 * math.sqrt(0.09 / n)).all()
    correlation = torch.corrcoef(values) - torch.eye(len(values))
    assert correlation.abs().max() < 4 / math.sqrt(n)
    assert ((images.labels.bincount() / n - 0.1).abs() < 4 * math.sqrt(0.09 / n)).all()
    for digit in range(10):
        style = images.factors["style"][images.labels == digit]
        assert style.unique().tolist() == list(range(int(N_STYLES[digit])))


def test_size_and_place_are_those_of_the_picture():
    images = strokes(400, seed=1)
    left, right, top, bottom = box(images)
    f = images.factors
    middle = (SIDE - 1) / 2
    # half a pixel of rounding at each edge, and a line that swells by up to a sixth
    assert ((left + right) / 2 - (middle + f["x"])).abs().max() < 1
    assert ((top + bottom) / 2 - (middle + f["y"])).abs().max() < 1
    longer = torch.maximum(right - left, bottom - top) + 1
    assert (longer - (f["size"] + f["thickness"])).abs().max() < 1.6


def test_no_digit_touches_the_border():
    images = strokes(3_000, seed=2).images
    for border in (images[..., 0], images[..., -1], images[..., 0, :], images[..., -1, :]):
        assert border.max() == 0


def test_the_ink_of_a_plain_one_is_its_length_times_its_thickness():
    images = strokes(300, labels=1, style=0, seed=1)
    f = images.factors
    ink = images.floats().sum((1, 2, 3))
    # a line of width t and length s / cos(slant), with a half disc at each end
    truth = f["thickness"] * f["size"] / f["slant"].deg2rad().cos()
    truth = truth + math.pi / 4 * f["thickness"] ** 2
    ratio = ink / truth
    assert (ratio - 1).abs().max() < 0.25  # the pressure and the hand's wobble are not reported
    assert abs(ratio.mean() - 1) < 0.04  # a bent line is a little longer than a straight one


def test_a_plain_one_leans_by_its_slant():
    images = strokes(300, labels=1, style=0, seed=2)
    x = images.floats()[:, 0]
    place = torch.arange(SIDE) - (SIDE - 1) / 2
    mass = x.sum((1, 2))
    mean_x, mean_y = (x.sum(1) * place).sum(1) / mass, (x.sum(2) * place).sum(1) / mass
    covariance = (x * place[:, None] * place).sum((1, 2)) / mass - mean_x * mean_y
    variance = (x.sum(2) * place**2).sum(1) / mass - mean_y**2
    angle = -(covariance / variance).atan().rad2deg()  # y points down
    slope, offset = torch.linalg.lstsq(
        torch.stack([images.factors["slant"], torch.ones(300)], dim=1), angle
    ).solution.tolist()
    assert slope == pytest.approx(1, abs=0.05) and offset == pytest.approx(0, abs=1)


@pytest.mark.parametrize("digit", range(10))
def test_without_curvature_the_pen_goes_straight_and_with_any_it_meets_the_knots(digit):
    for style, text in zip(_COMPILED[digit], STYLES[digit], strict=True):
        at_knots = (style.bow == 0).all(1)
        passed = style.straight[at_knots] @ style.knots
        assert all((passed - knot).norm(dim=1).min() < 1e-12 for knot in style.knots)
        assert len(style.knots) == text.count(",")
        # between two knots A mixes only these two, with weights that sum to one
        assert torch.allclose(style.straight.sum(1), torch.ones((), dtype=torch.double))
        assert ((style.straight > 0).sum(1) <= 2).all() and (style.straight >= 0).all()


def test_a_spline_through_knots_on_a_parabola_is_the_parabola():
    style = _read_style("0,0 30,9 60,36 90,81 120,144")
    x, y = ((style.straight + style.bow) @ style.knots).T  # curvature 1
    torch.testing.assert_close(y, x**2)
    assert len(x) > len(style.knots) and (x.diff() > 0).all()


def test_a_corner_is_where_the_spline_forgets_what_came_before():
    style = _read_style("0,0 30,30 60,0! 90,30 120,0")
    mirrored = style.straight + style.bow
    path = mirrored @ style.knots
    torch.testing.assert_close(path.flip(0) * torch.tensor([-1, 1]), path - torch.tensor([1.2, 0]))
    before = path[:, 0] < 0.6
    assert (mirrored[before][:, 3:] == 0).all() and (mirrored[~before][:, :2] == 0).all()


def test_the_pen_is_lifted_between_strokes():
    crossed = _COMPILED[7][1]  # a seven with a bar
    steps = set(range(len(crossed.straight) - 1)) - set(crossed.starts.tolist())
    assert len(steps) == 1
    (lift,) = steps
    before, after = crossed.straight[[lift, lift + 1]] @ crossed.knots
    assert before.tolist() == [0.22, 1.0] and after.tolist() == [0.08, 0.52]


@pytest.mark.parametrize("name", FACTORS)
def test_fixing_a_factor_leaves_the_others_as_they_were(name):
    free, fixed = strokes(20), strokes(20, **{name: FACTORS[name][1]})
    assert torch.equal(free.labels, fixed.labels)
    assert (fixed.factors[name] == FACTORS[name][1]).all()
    for other in fixed.factors.keys() - {name}:
        assert torch.equal(free.factors[other], fixed.factors[other])
    assert not torch.equal(free.images, fixed.images)  # every factor shows


def test_the_same_hand_changes_only_what_is_asked_for():
    alike = strokes(5, labels=8, same_hand=True)
    assert (alike.images == alike.images[0]).all()
    x = torch.linspace(-1, 1, 3)
    moved = strokes(3, labels=8, same_hand=True, x=x)
    assert torch.equal(moved.images[0, :, :, :-2], moved.images[2, :, :, 2:])


def test_labels_can_be_given():
    digits = torch.arange(10).repeat(3)
    assert torch.equal(strokes(30, labels=digits).labels, digits)
    assert (strokes(3, labels=7).labels == 7).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n": 0}, "at least 1"),
        ({"n": 2, "labels": 10}, "digits, 0 to 9"),
        ({"n": 2, "labels": 2.5}, "digits, 0 to 9"),
        ({"n": 2, "labels": torch.tensor([1, 2, 3])}, r"shape \(2,\)"),
        ({"n": 2, "thicknes": 2.0}, "did you mean 'thickness'"),
        ({"n": 2, "slant": torch.zeros(3)}, r"shape \(2,\)"),
        ({"n": 2, "thickness": 0.0}, "positive"),
        ({"n": 2, "slant": 90.0}, "between -90 and 90"),
        ({"n": 2, "x": math.nan}, "finite"),
        ({"n": 2, "labels": 0, "style": 9}, "0 has 3"),
        ({"n": 2, "style": 0.5}, "whole number"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        strokes(**arguments)


# --- the drawing ------------------------------------------------------------------------------


def test_a_line_is_drawn_as_brute_force_draws_it():
    path = torch.tensor([[[5.0, 6.0], [20.0, 9.0], [12.0, 22.0]]])
    radius = torch.full((1, 3), 1.5)
    drawn = _draw(path, radius, torch.tensor([0, 1]))[0]
    t = torch.linspace(0, 1, 2_000)[:, None]
    a, b, c = path[0]
    points = torch.cat([a + t * (b - a), b + t * (c - b)])
    pixel = torch.arange(SIDE).float()
    centres = torch.cartesian_prod(pixel, pixel).flip(1)  # (y, x) in raster order -> (x, y)
    distance = torch.cdist(centres, points).amin(1).reshape(SIDE, SIDE)
    assert (drawn[distance < 0.7] == 1).all() and (drawn[distance > 2.3] == 0).all()
    on_the_edge = (distance - 1.5).abs() < 0.05
    assert on_the_edge.any() and (drawn[on_the_edge] - 0.5).abs().max() < 0.06
    order = distance.flatten().argsort()
    assert (drawn.flatten()[order].diff() <= 1e-3).all()  # the further away, the darker


def test_the_pictures_are_as_bright_and_as_soft_as_mnist():
    x = strokes(1_000).floats()
    # MNIST's first 5,000: mean 0.130, std 0.308, 11 % of the pixels between black and white
    assert x.mean() == pytest.approx(0.130, abs=0.01)
    assert x.std() == pytest.approx(0.308, abs=0.01)
    assert ((x > 0.02) & (x < 0.98)).float().mean() == pytest.approx(0.114, abs=0.015)


def test_ten_thousand_images_take_less_than_fifteen_seconds():
    start = time.process_time()  # of this process on all its cores: other work does not count
    strokes(2_500)
    assert 4 * (time.process_time() - start) < 15


def test_a_small_classifier_reads_the_digits():
    train, test = strokes(4_000, seed=10), strokes(1_000, seed=11)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 5, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 4 * 4, 10),
        )
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(4):
            for x, y in train.batches(50):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimiser.step()
    right = (model(test.floats()).argmax(1) == test.labels).float().mean()
    assert right >= 0.95


# --- the cache --------------------------------------------------------------------------------


def forbid_drawing(monkeypatch):
    def refuse(*args, **more):
        raise AssertionError("drawn again")

    monkeypatch.setattr(module, "strokes", refuse)


def same(one, two):
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
    assert one.factors.keys() == two.factors.keys()
    return all(torch.equal(one.factors[name], two.factors[name]) for name in one.factors)


def test_what_was_drawn_once_is_read_the_next_time(tmp_path, monkeypatch):
    drawn = data.load("strokes", "test", size=30, root=tmp_path)
    assert len(list(tmp_path.rglob("*.*"))) == 1  # the one file, nothing half-written beside it
    forbid_drawing(monkeypatch)
    assert same(data.load("strokes", "test", size=30, root=tmp_path), drawn)
    with pytest.raises(AssertionError, match="drawn again"):  # another size is another file
        data.load("strokes", "test", size=31, root=tmp_path)


def test_load_gives_what_strokes_draws(tmp_path):
    assert same(data.load("strokes", size=30, root=tmp_path), strokes(30))


def test_the_cache_is_in_the_users_folder_and_never_among_the_data(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("GENLIB_DATA", str(tmp_path / "data"))
    data.load("strokes", size=5)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize("damage", ["empty", "half", "other", "flipped", "foreign"])
def test_a_damaged_cache_is_drawn_anew_and_mended(damage, tmp_path, monkeypatch):
    drawn = cached_strokes(20, 0, tmp_path)
    (path,) = (tmp_path / "strokes").iterdir()
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "foreign":
        np.savez(path, something=np.zeros(3))
    else:
        path.write_bytes(
            {
                "empty": b"",
                "half": content[:middle],
                "other": b"not an archive",
                "flipped": content[:middle]
                + bytes([content[middle] ^ 255])
                + content[middle + 1 :],
            }[damage]
        )
    assert same(cached_strokes(20, 0, tmp_path), drawn)
    forbid_drawing(monkeypatch)
    assert same(cached_strokes(20, 0, tmp_path), drawn)


def test_another_recipe_never_meets_old_images(tmp_path, monkeypatch):
    cached_strokes(5, 0, tmp_path)
    changed = tmp_path / "strokes.py"
    changed.write_bytes(
        open(module.__file__, "rb").read().replace(b"WOBBLE = 0.0", b"WOBBLE = 0.1")
    )
    monkeypatch.setattr(module, "__file__", str(changed))
    forbid_drawing(monkeypatch)
    with pytest.raises(AssertionError, match="drawn again"):
        cached_strokes(5, 0, tmp_path)


def test_where_nothing_can_be_written_the_images_come_all_the_same(tmp_path, recwarn):
    (tmp_path / "strokes").write_text("a file where the folder should be")
    assert same(cached_strokes(5, 0, tmp_path), strokes(5))
    assert len(recwarn) == 0


def test_a_cache_that_fails_half_way_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(path, **arrays):
        path.write_bytes(b"half of")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    assert same(cached_strokes(5, 0, tmp_path), strokes(5))
    assert list(tmp_path.rglob("*.*")) == []
