"""The explorers of lessons PixelRNN and PixelCNN show what the models read, expect, draw and complete."""

import time

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances

from course import explorers
from course.explorers.core import own_random_numbers
from genlib.autoregressive import GatedPixelCNN, PixelCNN, receptive_field, receptive_fields

SHAPE, K = (1, 6, 5), 4
IMAGES = torch.randint(K, (3, *SHAPE), generator=torch.Generator().manual_seed(0)) / (K - 1)


@pytest.fixture
def models():
    return {
        "PixelCNN": PixelCNN(SHAPE, levels=K, hidden_dim=8, depth=2),
        "GatedPixelCNN": GatedPixelCNN(SHAPE, levels=K, hidden_dim=8, depth=2),
    }


@pytest.fixture
def model(models):
    return models["GatedPixelCNN"]


def mouse(explorer, axes, kind, x, y, **more):
    """What ipyevents sends for a mouse at (x, y) in the coordinates of some axes."""
    width, height = explorer.picture.figure.bbox.size
    left, up = axes.transData.transform((x, y))
    explorer.picture._handle({
        "type": kind, "relativeX": left, "relativeY": height - up,
        "boundingRectWidth": width, "boundingRectHeight": height, **more,
    })  # fmt: skip


def test_the_field_shown_is_zero_at_and_after_the_pixel_and_the_prediction_sums_to_one(models):
    explorer = explorers.pixel_explorer(models, IMAGES)
    place = torch.arange(30).reshape(6, 5)
    for i, j in ((0, 0), (2, 3), (5, 4)):
        explorer.row.value, explorer.column.value, explorer.image.value = i, j, (i + j) % 3
        for name, model in models.items():
            field = explorer.field(name)
            assert (field[place >= place[i, j]] == 0).all()
            torch.testing.assert_close(field, receptive_field(model, (i, j)))
            drawn, blind = (layer.get_array() for layer in explorer._drawn[name])
            assert np.array_equal(~np.ma.getmaskarray(drawn), (field > 0).numpy())
            unread = (field == 0) & (place < place[i, j])
            assert np.array_equal(~np.ma.getmaskarray(blind), unread.numpy())

            p = explorer.expected(name)
            assert p.sum().item() == pytest.approx(1, abs=1e-5)
            torch.testing.assert_close(torch.tensor(explorer._bars[name]._p.get_data().values), p)
            later = IMAGES[explorer.image.value].clone()
            later[0][place >= place[i, j]] = 0  # what comes later does not matter
            with torch.no_grad():
                torch.testing.assert_close(p, model(later[None]).softmax(dim=1)[0, :, 0, i, j])


def test_a_click_on_any_of_the_upper_panels_chooses_the_pixel(models):
    explorer = explorers.pixel_explorer(models, IMAGES, pixel=(0, 0))
    before = bytes(explorer.picture.value)
    for n, axes in enumerate(square.axes for square in explorer._squares):
        mouse(explorer, axes, "click", 3.3, 1.8 + n)
        assert (explorer.row.value, explorer.column.value) == (2 + n, 3)
        assert bytes(explorer.picture.value) != before
    assert explorer._squares[0].get_xy() == (2.5, 3.5)


@pytest.mark.parametrize("ahead", [0, 30])
def test_fields_are_those_of_each_pixel_and_computed_once(models, monkeypatch, ahead: int):
    calls = []
    monkeypatch.setattr(
        "course.explorers.pixels.receptive_fields",
        lambda model, pixels: (calls.append(len(pixels)), receptive_fields(model, pixels))[1],
    )
    monkeypatch.setattr("course.explorers.pixels.AHEAD", ahead)
    explorer = explorers.pixel_explorer(models, IMAGES, pixel=(1, 1))
    explorer.row.value = 2
    explorer.row.value = 1
    explorer.image.value = 1
    assert calls == ([30, 30] if ahead else [1, 1, 1, 1])
    for name, model in models.items():
        torch.testing.assert_close(explorer.field(name), receptive_field(model, (1, 1)))


def test_pixel_explorer_refuses_what_it_cannot_show(models):
    with pytest.raises(ValueError, match="without a model"):
        explorers.pixel_explorer({}, IMAGES)
    with pytest.raises(ValueError, match="outside an image of 6 rows, 5 columns"):
        explorers.pixel_explorer(models, IMAGES, pixel=(6, 0))
    with pytest.raises(ValueError, match="one shape"):
        explorers.pixel_explorer(
            models | {"other": PixelCNN((1, 5, 5), levels=K, hidden_dim=8, depth=1)}, IMAGES
        )
    with pytest.raises(ValueError, match="wants labels"):
        explorers.pixel_explorer(
            {"labelled": PixelCNN(SHAPE, levels=K, hidden_dim=8, depth=1, n_classes=2)}, IMAGES
        )
    with pytest.raises(ValueError):
        explorers.pixel_explorer(models, IMAGES[:, :, :4])


def test_a_finished_drawing_is_the_samplers_image_and_each_frame_its_beginning(model):
    explorer = explorers.drawing_explorer(model, n=3, seed=5)
    with own_random_numbers(5):
        drawn = model.sample(3)
    place = torch.arange(30).reshape(6, 5)
    for t in (0, 7, 29, 30):
        explorer.player.slider.value = t
        frame = explorer.frame()
        assert torch.equal(frame.isnan(), (place >= t).expand(3, 1, 6, 5))
        assert torch.equal(frame.nan_to_num(-1.0), torch.where(place < t, drawn, -1.0))
    assert torch.equal(explorer.frame(), drawn)


def test_the_next_pixel_is_framed_with_the_distribution_it_is_drawn_from(model):
    explorer = explorers.drawing_explorer(model, n=2, seed=1)
    explorer.image.value = 1
    explorer.player.slider.value = 13
    so_far = explorer.frame()[1:].nan_to_num(0.0)
    with torch.no_grad():
        p = model(so_far).softmax(dim=1)[0, :, 0, 2, 3]
    torch.testing.assert_close(torch.tensor(explorer._bars._p.get_data().values), p)
    assert explorer._square.get_xy() == (2.5, 1.5)
    level = round(explorer.images[1, 0, 2, 3].item() * (K - 1))
    came = explorer._bars._came.get_data().values
    assert came[level] == pytest.approx(p[level].item(), rel=1e-4)
    assert sum(came) == came[level]


def test_a_model_with_labels_can_be_watched_too():
    model = PixelCNN(SHAPE, levels=K, hidden_dim=8, depth=1, n_classes=2)
    explorer = explorers.drawing_explorer(model, n=2, y=torch.tensor([0, 1]))
    assert int((~explorer.frame().isnan()).sum()) == 2 * 15
    explorer.player.forward.click()
    assert int((~explorer.frame().isnan()).sum()) == 2 * 16
    with pytest.raises((TypeError, ValueError)):
        explorers.drawing_explorer(model, n=2)
    with pytest.raises(ValueError, match="n must be"):
        explorers.drawing_explorer(PixelCNN(SHAPE, levels=K, hidden_dim=8, depth=1), n=0)


def test_completion_keeps_what_is_known_and_is_the_samplers(model):
    explorer = explorers.completion_explorer(model, IMAGES, n=5, seed=2)
    explorer.image.value = 1
    explorer.rows.value, explorer.columns.value = (1, 4), (2, 5)
    expected = torch.zeros(6, 5, dtype=torch.bool)
    expected[1:4, 2:5] = True
    assert torch.equal(explorer.erased, expected)
    # before the button is pressed the holes are shown, in every copy
    assert torch.equal(explorer.completions.isnan(), expected.expand(5, 1, 6, 5))
    explorer.complete.click()
    assert torch.equal(
        explorer.completions[:, :, ~expected], IMAGES[1][:, ~expected].expand(5, 1, 21)
    )
    with own_random_numbers(3):  # seed 2 was for the first
        drawn = model.sample(5, known=IMAGES[1], mask=~expected)
    assert torch.equal(explorer.completions, drawn)
    explorer.complete.click()
    assert not torch.equal(explorer.completions, drawn)


def test_too_late_counts_the_known_pixels_after_the_first_hole(model):
    explorer = explorers.completion_explorer(model, IMAGES, n=1)
    explorer.columns.value = (0, 5)
    for rows, late in (((3, 6), 0), ((0, 3), 15), ((2, 4), 10), ((2, 2), 0)):
        explorer.rows.value = rows
        assert explorer.too_late() == late
        assert f"{late} of " in explorer._title.get_text()


def test_dragging_erases_without_gaps_and_completes_at_the_end(model):
    explorer = explorers.completion_explorer(model, IMAGES, n=2)
    explorer.restore.click()
    assert not explorer.erased.any()
    axes = explorer._given.axes
    mouse(explorer, axes, "mousedown", 0, 5, buttons=1)
    mouse(explorer, axes, "mousemove", 4, 1, buttons=1)  # four pixels at once
    assert explorer.completions.isnan().any()
    mouse(explorer, axes, "mouseup", 4, 1, buttons=0)
    diagonal = torch.zeros(6, 5, dtype=torch.bool)
    diagonal[[5, 4, 3, 2, 1], [0, 1, 2, 3, 4]] = True
    assert (explorer.erased & diagonal).sum() == 5
    assert not explorer.erased[0].any() and not explorer.erased[5, 2:].any()
    assert not explorer.completions.isnan().any()
    # the next drag begins anew: nothing between the two
    mouse(explorer, axes, "mousedown", 0, 0, buttons=1)
    mouse(explorer, axes, "mouseup", 0, 0, buttons=0)
    assert explorer.erased[0, 0] and not explorer.erased[0, 1:].any()


def test_completion_explorer_refuses_what_it_cannot_complete(model):
    with pytest.raises(ValueError, match="at least once"):
        explorers.completion_explorer(model, IMAGES, n=0)
    with pytest.raises(ValueError, match="wants labels"):
        explorers.completion_explorer(
            PixelCNN(SHAPE, levels=K, hidden_dim=8, depth=1, n_classes=2), IMAGES
        )
    with pytest.raises(ValueError):
        explorers.completion_explorer(model, IMAGES[:, :, 1:])


def test_each_control_changes_the_picture(models, model):
    pixel = explorers.pixel_explorer(models, IMAGES, pixel=(4, 2))
    drawing = explorers.drawing_explorer(model, n=3)
    drawing.player.slider.value = 12
    completion = explorers.completion_explorer(model, IMAGES)
    for explorer, control, value in (
        (pixel, pixel.image, 1), (pixel, pixel.row, 2), (pixel, pixel.column, 4),
        (drawing, drawing.player.slider, 20), (drawing, drawing.image, 1),
        (completion, completion.image, 1), (completion, completion.rows, (1, 3)),
        (completion, completion.columns, (1, 3)),
    ):  # fmt: skip
        before = bytes(explorer.picture.value)
        control.value = value
        assert bytes(explorer.picture.value) != before
    for explorer, button in ((completion, completion.complete), (completion, completion.restore),
                             (drawing, drawing.player.back)):  # fmt: skip
        before = bytes(explorer.picture.value)
        button.click()
        assert bytes(explorer.picture.value) != before


def test_colour_images_and_large_ones_can_be_explored():
    colour = PixelCNN((3, 4, 4), levels=3, hidden_dim=12, depth=1)
    x = torch.randint(3, (2, 3, 4, 4)) / 2
    pixel = explorers.pixel_explorer({"colour": colour}, x)
    assert np.allclose(pixel._shown.get_array(), x[0].permute(1, 2, 0))
    assert explorers.drawing_explorer(colour, n=1).frame().shape == (1, 3, 4, 4)
    large = PixelCNN((1, 32, 32), hidden_dim=8, depth=1)
    explorer = explorers.completion_explorer(large, torch.zeros(1, 1, 32, 32), n=1)
    explorer.restore.click()
    explorer._brush(10, 10)
    assert int(explorer.erased.sum()) == 25  # the eraser is wider where pixels are small


def test_nothing_is_left_behind_by_two_hundred_moves(models, model):
    torch.manual_seed(3)
    expected, figures = torch.rand(4), plt.get_fignums()
    torch.manual_seed(3)
    pixel, drawing, completion = (
        explorers.pixel_explorer(models, IMAGES),
        explorers.drawing_explorer(model),
        explorers.completion_explorer(model, IMAGES),
    )
    known, seconds = len(_instances), []
    for i in range(70):
        start = time.perf_counter()
        pixel.column.value = i % 5
        drawing.player.slider.value = i % 30
        completion.rows.value = (i % 5, 6)
        seconds.append((time.perf_counter() - start) / 3)
        if i % 10 == 0:
            completion.complete.click()
    print(f"median redraw {1000 * sorted(seconds)[35]:.0f} ms")
    assert plt.get_fignums() == figures and len(_instances) == known
    assert torch.equal(torch.rand(4), expected)
    assert all(parameter.grad is None for parameter in model.parameters())
