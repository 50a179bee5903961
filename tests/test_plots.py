"""A figure shows what its numbers say: what is read, what is not, and what is not there yet."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_rgb

from course import figures
from genlib import plots
from genlib.autoregressive import GatedPixelCNN, PixelCNN, receptive_field
from genlib.autoregressive.masks import MaskedConv2d


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def test_the_receptive_field_is_the_mean_size_of_the_gradient():
    model, pixel = PixelCNN((2, 4, 5), levels=3, hidden_dim=12, depth=2), (2, 3)
    field = receptive_field(model, pixel, n_images=2)
    x = torch.rand(2, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    jacobian = torch.autograd.functional.jacobian(
        lambda x: model(x)[:, :, :, 2, 3].sum(dim=(1, 2)), x
    )
    own = jacobian.diagonal(dim1=0, dim2=1).movedim(-1, 0)  # an image's logits read only that image
    torch.testing.assert_close(field, own.abs().sum(dim=1).mean(dim=0))


def test_the_blind_spot_is_drawn_where_it_is_and_vanishes_with_two_stacks():
    torch.manual_seed(1)
    models = {
        "PixelCNN": PixelCNN((1, 9, 9), hidden_dim=16, depth=6),
        "GatedPixelCNN": GatedPixelCNN((1, 9, 9), hidden_dim=16, depth=6),
    }
    figures.show_receptive_fields(models, pixel=(4, 2))
    orange = [int((axes.images[1].get_array().filled(0) == 1).sum()) for axes in plt.gcf().axes]
    # one row up: columns 6 to 8; two: 7 and 8; three: 8
    assert orange == [3 + 2 + 1, 0]


def test_a_pixel_outside_the_image_is_refused():
    with pytest.raises(ValueError, match="outside an image of 4 rows"):
        receptive_field(PixelCNN((1, 4, 4), hidden_dim=8, depth=1), pixel=(4, 0))


def test_drawn_so_far_keeps_the_first_pixels_in_raster_order():
    image = torch.arange(12.0).reshape(2, 2, 3)
    shown = plots.drawn_so_far(image, 4)
    assert torch.equal(shown.isnan()[0], torch.tensor([[False] * 3, [False, True, True]]))
    assert torch.equal(shown[:, 0], image[:, 0])
    assert torch.equal(plots.drawn_so_far(image, 6), image)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (5, 2, 4, 4), (0, 1, 4, 4)])
def test_what_is_not_a_batch_of_images_is_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"\(N, 1, H, W\) or \(N, 3, H, W\)"):
        plots.show_images(torch.zeros(shape))


def test_images_are_drawn_as_they_are_grey_or_in_colour():
    grey, colour = torch.rand(1, 1, 3, 4), torch.rand(1, 3, 3, 4)
    plots.show_images(grey)
    drawn = torch.from_numpy(plt.gca().images[0].get_array().data).float()
    torch.testing.assert_close(drawn, grey[0, 0])
    plots.show_images(colour)
    drawn = torch.from_numpy(plt.gca().images[0].get_array().data).float()
    torch.testing.assert_close(drawn, colour[0].permute(1, 2, 0))


def test_rows_of_unequal_length_leave_the_rest_empty():
    plots.show_rows({"three": torch.zeros(3, 1, 2, 2), "one": torch.ones(1, 1, 2, 2)})
    white = [float(image.get_array().mean()) for image in plt.gca().images]
    assert white == [0, 0, 0, 1]
    left, top = zip(
        *((image.get_extent()[0], image.get_extent()[3]) for image in plt.gca().images), strict=True
    )
    assert left[0] < left[1] < left[2] and left[3] == left[0]
    assert top[0] == top[1] == top[2] < top[3]
    assert plt.gca().get_xlim()[1] == pytest.approx(left[2] + left[1] - left[0], abs=0.05)


def test_images_do_not_overlap_and_each_has_its_title_above_it():
    plots.show_images(torch.rand(5, 1, 6, 3), columns=3, titles=list("abcde"))
    extents = [image.get_extent() for image in plt.gca().images]
    for i, (left, right, bottom, top) in enumerate(extents):
        assert bottom - top == pytest.approx(2 * (right - left))
        for other in extents[i + 1 :]:
            assert right < other[0] or other[1] < left or bottom < other[3] or other[2] < top
    for text, (left, right, _, top) in zip(plt.gca().texts, extents, strict=True):
        x, y = text.get_position()
        assert x == pytest.approx((left + right) / 2) and top - 0.2 < y < top


def test_a_long_name_of_a_row_is_not_cut():
    plots.show_rows({"a name that is WWWWider than its images": torch.zeros(1, 1, 2, 2)})
    figure = plt.gcf()
    (name,) = figure.texts
    assert name.get_window_extent().x0 >= 0
    (image,) = plt.gca().images
    box = image.get_window_extent()
    assert box.width == pytest.approx(box.height)
    assert box.width == pytest.approx(0.76 * figure.dpi)


def test_a_mask_is_drawn_as_the_whole_kernel_of_the_textbook():
    one = torch.zeros(1, dtype=torch.long)
    figures.show_masks({"A": MaskedConv2d(one, one, (2, 3), "A")})
    drawn = plt.gca().images[0].get_array()
    assert drawn.tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]


def test_a_curve_may_have_a_band_of_its_own_colour():
    curves, spread = {"a": [1.0, 2.0], "b": [3.0, 4.0]}, {"a": [0.5, 1.0]}
    plots.show_curves(curves, spread=spread, x=[0, 1], xlabel="x", ylabel="y")
    (band,) = plt.gca().collections
    assert band.get_facecolor()[0, :3] == pytest.approx(to_rgb(plt.gca().lines[0].get_color()))
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == 0.5 and corners[:, 1].max() == 3
    plt.close()


def test_a_power_law_is_a_straight_line_on_logarithmic_axes():
    x = (8, 16, 64)
    plots.show_curves({"square": [v**2 for v in x]}, x=x, xlabel="n", ylabel="s", log=True)
    plt.gcf().canvas.draw()
    axes = plt.gca()
    line = axes.transData.transform(axes.lines[0].get_xydata())
    (dx0, dy0), (dx1, dy1) = line[1] - line[0], line[2] - line[1]
    assert dy0 / dx0 == pytest.approx(dy1 / dx1)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["8", "16", "64"]


def test_a_map_writes_labels_as_numbers_and_colours_other_values():
    codes, labels = torch.randn(30, 2), torch.arange(30) % 3
    plots.show_codes(codes, {"digit": labels, "slant": codes[:, 0]})
    digits, slant = plt.gcf().axes[:2]
    assert len(digits.collections) == 3  # one marker a label
    for label, dots in enumerate(digits.collections):
        drawn = torch.as_tensor(dots.get_offsets().data, dtype=torch.float32)
        torch.testing.assert_close(drawn, codes[labels == label])
    (dots,) = slant.collections
    coloured_by = torch.from_numpy(dots.get_array().data)
    torch.testing.assert_close(coloured_by, codes[:, 0], check_dtype=False)


@pytest.mark.parametrize(
    "shape, n, named", [((9, 3), 9, r"\(N, 2\)"), ((9, 2), 8, "one value a code")]
)
def test_what_is_no_map_is_refused(shape: tuple[int, ...], n: int, named: str):
    with pytest.raises(ValueError, match=named):
        plots.show_codes(torch.zeros(shape), {"digit": torch.zeros(n)})


def test_every_code_lies_in_a_cell_that_is_not_empty():
    codes = torch.randn(200, 2)
    low, high = codes.amin(dim=0), codes.amax(dim=0)
    empty = plots.empty_cells(codes, low, high, side=7)
    for z in codes:
        i, j = ((z - low) / (high - low) * 7).long().clamp(max=6).tolist()
        assert not empty[i, j]
    assert (~empty).sum() <= len(codes)
    outside = torch.tensor([[5.0, 0.0], [0.0, -5.0]])
    assert plots.empty_cells(outside, -torch.ones(2), torch.ones(2), side=3).all()


def test_a_decoded_plane_puts_each_image_where_its_code_lies():
    def decode(z):  # a left half as bright as the first number, a right half as the second
        return z[:, None, None, :].expand(-1, 1, 3, -1)

    low, high = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.5])
    plots.show_code_grid(decode, low, high, side=2)
    picture = torch.from_numpy(plt.gca().images[0].get_array().data)[
        ::3
    ]  # one row of pixels a cell
    # z1 grows to the right: 0.25, 0.75; z2 upwards: 0.125 below 0.375
    expected = torch.tensor([[0.25, 0.375, 0.75, 0.375], [0.25, 0.125, 0.75, 0.125]])
    torch.testing.assert_close(picture, expected[:, :, None].expand(-1, -1, 3))
    assert plt.gca().images[0].get_extent() == [0.0, 1.0, 0.0, 0.5]


def test_cells_without_a_code_turn_orange_and_no_other():
    codes = torch.tensor([[0.1, 0.9], [0.2, 0.8]])  # the upper left one of four
    plots.show_code_grid(
        lambda z: torch.ones(len(z), 1, 1, 1), torch.zeros(2), torch.ones(2), side=2, codes=codes
    )
    picture = torch.from_numpy(plt.gca().images[0].get_array().data)
    orange = torch.tensor(to_rgb(plots.ORANGE))
    assert torch.equal(picture[0, 0], torch.ones(3))
    for i, j in ((0, 1), (1, 0), (1, 1)):
        torch.testing.assert_close(picture[i, j], orange)


def test_a_table_writes_each_number_in_its_cell_and_makes_the_larger_darker():
    shares = torch.tensor([[0.0, 0.25, 1.0], [0.5, 0.75, 0.126]])
    plots.show_tables({"a": shares, "b": 1 - shares}, rows=["r", "s"], columns=["x", "y", "z"])
    plt.gcf().canvas.draw()
    for axes, table in zip(plt.gcf().axes, (shares, 1 - shares), strict=True):
        for text in axes.texts:
            j, i = text.get_position()
            assert text.get_text() == f"{table[i, j].item():.2f}"
        (picture,) = axes.images
        colours = picture.cmap(picture.norm(table.flatten().sort().values.numpy()))
        assert (colours[1:, 0] < colours[:-1, 0]).all()  # less red: a darker blue
    named = [label.get_text() for label in plt.gcf().axes[0].get_yticklabels()]
    assert named == ["r", "s"]  # once, at the left


def test_a_table_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"'R2' must have shape \(1, 2\)"):
        plots.show_tables({"R2": torch.zeros(2, 1)}, rows=["slant"], columns=["a", "b"])


def test_a_curve_has_one_colour_and_one_style_in_all_panels_and_its_name_in_the_first():
    stages = {"start": {"data": [0.0, 1.0], "D": [0.5, 0.5]}, "end": {"D": [0.2, 0.8]}, "late": {}}
    at = {"data": (0.1, 0.2), "D": (0.3, 0.6)}
    figures.show_panels(stages, x=[0, 1], xlabel="x", top=2.0, labels=at, dashed=["D"])
    start, end, _ = plt.gcf().axes  # the fourth place stays empty
    data, first, later = *start.lines, *end.lines
    assert first.get_color() == later.get_color() != data.get_color()
    assert [line.get_linestyle() for line in (data, first, later)] == ["-", "--", "--"]
    assert list(later.get_ydata()) == [0.2, 0.8]
    assert start.get_ylim() == end.get_ylim() == (-0.06, 2.0)
    assert {text.get_text(): text.get_position() for text in start.texts} == at
    assert [text.get_color() for text in start.texts] == [data.get_color(), first.get_color()]


def test_a_path_is_drawn_over_the_field_that_it_follows():
    path = torch.tensor([[1.0, 2.0], [0.5, -1.0], [0.0, 0.0]])
    figures.show_paths({"way": (path, lambda x, y: (y, -2 * x))}, xlabel="a", ylabel="b", limit=2.0)
    (axes,) = plt.gcf().axes
    (arrows,) = axes.collections
    x, y = arrows.get_offsets().T
    assert x.min() == y.min() == -2 and x.max() == y.max() == 2
    assert (arrows.U == y).all() and (arrows.V == -2 * x).all()
    assert axes.lines[0].get_xydata().tolist() == path.tolist()
    assert axes.lines[1].get_xydata().tolist() == [[1.0, 2.0]]  # the dot at its beginning
    with pytest.raises(ValueError, match=r"'way' must have shape \(N, 2\), not \(3, 3\)"):
        figures.show_paths(
            {"way": (torch.zeros(3, 3), lambda x, y: (x, y))}, xlabel="a", ylabel="b"
        )


def test_points_are_drawn_where_they_lie_with_a_ring_around_each_mode():
    points, modes = torch.randn(30, 2), torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    plots.show_points({"real": points, "fake": -points}, modes=modes, radius=0.3)
    for axes, expected in zip(plt.gcf().axes, (points, -points), strict=True):
        (dots,) = axes.collections
        drawn = torch.as_tensor(dots.get_offsets().data, dtype=torch.float32)
        torch.testing.assert_close(drawn, expected)
        assert [tuple(ring.center) for ring in axes.patches] == [(1.0, 0.0), (0.0, -1.0)]
        assert all(ring.radius == 0.3 for ring in axes.patches)


def test_points_outside_the_plane_are_refused():
    with pytest.raises(ValueError, match=r"'fake' must have shape \(N, 2\)"):
        plots.show_points({"fake": torch.zeros(5, 3)}, modes=torch.zeros(1, 2), radius=1.0)


def test_the_tree_names_each_model_on_the_leaf_of_its_methods():
    lacking = type("Lacking", (PixelCNN,), {"log_prob": None})
    figures.show_tree({"mine": PixelCNN, "lacking": lacking, "other": GatedPixelCNN})
    texts = [text.get_text() for text in plt.gca().texts]
    assert "mine, other" in texts and "on no leaf: lacking" in texts
    assert texts.count("none here") == 6  # the other leaves stay, without a model
    assert sum(text.startswith("p(x): ") for text in texts) == 7
