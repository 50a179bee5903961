"""A picture is redrawn in place and knows where the mouse is; an explorer leaves nothing behind."""

import base64
import copy
import io
import re
import time
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, rgb_to_hsv, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from course.explorers import core
from course.explorers.core import (
    CHOSEN,
    RED,
    STILL,
    Explorer,
    Picture,
    Player,
    own_random_numbers,
    percents,
    rounded,
    show_blocks,
    tile,
)
from course.publish.build import WIDGET_VIEW, clean_outputs
from genlib.plots import BLUE, GREEN, NOT_THERE, ORANGE
from genlib.plots import RED as OTHER_RED

RAISED, NORMAL = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"


class Dots(Explorer):
    """The smallest explorer: one slider, one line."""

    def __init__(self, fast: bool = True):
        self.many = ipywidgets.IntSlider(3, min=1, max=9, description="dots")
        self.redrawn = 0
        picture = Picture((4, 2), about="dots in a row")
        self.axes = picture.figure.add_subplot(xlim=(-1, 10), ylim=(-1, 1))
        (self.line,) = self.axes.plot([], [], "o")
        if fast:
            picture.move_only(self.line)
        super().__init__("dots", [self.many, picture], picture)
        self.redraw_with(self.many)

    def redraw(self) -> None:
        self.redrawn += 1
        self.line.set_data(range(self.many.value), [0] * self.many.value)
        self.picture.draw()


def pixels(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.value)))


def mouse(picture: Picture, kind: str, x: float, y: float, scale: float = 1.0, **more: int) -> None:
    """Send what ipyevents sends, for a mouse at (x, y) pixels from the top left of the figure."""
    width, height = picture.figure.bbox.size
    picture._handle({
        "type": kind, "relativeX": x * scale, "relativeY": y * scale,
        "boundingRectWidth": width * scale, "boundingRectHeight": height * scale, **more,
    })  # fmt: skip


def test_moving_a_control_changes_the_picture_and_moving_it_back_restores_it():
    dots = Dots()
    first = bytes(dots.picture.value)
    dots.many.value = 7
    assert bytes(dots.picture.value) != first
    dots.many.value = 3
    assert bytes(dots.picture.value) == first


def test_the_fast_way_of_drawing_gives_the_picture_of_the_slow_way():
    fast, slow = Dots(), Dots(fast=False)
    for many in (1, 9, 4):
        fast.many.value = slow.many.value = many
        assert np.array_equal(pixels(fast.picture), pixels(slow.picture))


def test_what_changes_outside_move_only_is_seen_when_everything_is_drawn():
    dots = Dots()
    dots.axes.set_title("new")
    before = bytes(dots.picture.value)
    dots.picture.draw()
    assert bytes(dots.picture.value) == before  # on the stored picture of all others
    dots.picture.draw(everything=True)
    assert bytes(dots.picture.value) != before


def test_the_layout_is_found_once():
    dots = Dots()
    where = dots.axes.get_position().bounds
    dots.axes.set_ylabel("a label\nof three\nlines")  # a layout would make room for it
    dots.picture.draw(everything=True)
    assert dots.axes.get_position().bounds == where


def test_several_changes_together_are_one_redraw():
    dots = Dots()
    dots.redrawn = 0
    with dots.together():
        with dots.together():
            dots.many.value = 5
        dots.many.value = 6
        assert dots.redrawn == 0
    assert dots.redrawn == 1
    dots.many.value = 7
    assert dots.redrawn == 2


def test_nothing_is_left_behind_by_two_hundred_moves():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    figures, dots = plt.get_fignums(), Dots()
    widgets = len(_instances)
    for i in range(200):
        dots.many.value = 1 + i % 9
    assert plt.get_fignums() == figures and len(_instances) == widgets
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("scale", [1.0, 0.5, 1.7])
def test_a_click_reports_the_coordinates_of_the_axes_at_any_size_on_the_page(scale: float):
    dots, clicks = Dots(), []
    dots.picture.on_click(dots.axes, lambda x, y: clicks.append((x, y)))
    height = dots.picture.figure.bbox.height
    x, y = dots.axes.transData.transform((4.0, 0.5))
    mouse(dots.picture, "click", x, height - y, scale)
    assert clicks == [pytest.approx((4.0, 0.5))]
    mouse(dots.picture, "click", 1, 1, scale)  # in the margin
    assert len(clicks) == 1


def test_a_drag_starts_inside_and_ends_once():
    dots, seen, ends = Dots(), [], []
    dots.picture.on_drag(dots.axes, lambda x, y: seen.append(x), lambda: ends.append(len(seen)))
    height = dots.picture.figure.bbox.height
    x, y = dots.axes.transData.transform((4.0, 0.5))
    y = height - y
    mouse(dots.picture, "mousemove", x, y, buttons=0)  # no button is down
    mouse(dots.picture, "mousedown", 1, 1, buttons=1)  # in the margin
    mouse(dots.picture, "mousemove", x, y, buttons=1)
    mouse(dots.picture, "mouseup", x, y, buttons=0)
    assert seen == [] and ends == []
    mouse(dots.picture, "mousedown", x, y, buttons=1)
    mouse(dots.picture, "mousemove", 1, y, buttons=1)  # out of the axes: the drag goes on
    mouse(dots.picture, "mouseup", x, y, buttons=0)
    mouse(dots.picture, "mousemove", x, y, buttons=1)  # late: the drag is over
    assert seen == [pytest.approx(4.0), pytest.approx(dots.axes.transData.inverted().transform((1, 1))[0]),
                    pytest.approx(4.0)]  # fmt: skip
    assert ends == [3]
    mouse(dots.picture, "mousedown", x, y, buttons=1)
    mouse(dots.picture, "mouseleave", 1, y, buttons=1)
    assert ends == [3, 4]


def test_a_drag_that_is_slow_to_draw_is_reported_less_often():
    dots = Dots()
    dots.picture.on_drag(dots.axes, lambda x, y: time.sleep(0.12))
    mouse(dots.picture, "mousedown", 200, 100, buttons=1)
    assert dots.picture._mouse.wait >= 150


def test_the_browser_sends_only_events_with_a_handler():
    dots = Dots()
    assert dots.picture._mouse is None
    dots.picture.on_click(dots.axes, lambda x, y: None)
    assert dots.picture._mouse.watched_events == ["click"]


def test_the_stored_form_is_a_picture_without_a_widget():
    dots = Dots()
    data, metadata = dots._repr_mimebundle_()
    assert WIDGET_VIEW in data
    output = nbformat.v4.new_output("execute_result", copy.deepcopy(data), metadata=metadata)
    cell = nbformat.v4.new_code_cell(
        "Dots()", outputs=[output], metadata={"tags": ["nbval-ignore-output"]}
    )
    nb = nbformat.v4.new_notebook(cells=[cell])
    clean_outputs(nb)
    (kept,) = nb.cells[0].outputs
    assert set(kept.data) == {"image/png", "text/plain"}
    assert dots.model_id not in nbformat.writes(nb)
    assert kept.metadata["image/png"]["alt"] == f"dots in a row; {STILL}"
    stored = np.asarray(Image.open(io.BytesIO(base64.b64decode(kept.data["image/png"]))))
    assert np.array_equal(stored[:200], pixels(dots.picture))
    words = stored[200:].min(axis=2)
    assert words.shape == (32, 400) and words.min() < 80 and words[:, [5, -5]].min() > 200


def test_an_explorer_can_be_found_on_the_page():
    assert set(Dots()._dom_classes) == {"genlib-explorer", "genlib-dots"}


def hue(colour: str) -> float:
    """0 is red, 1/3 green, 2/3 blue."""
    return rgb_to_hsv(to_rgb(colour))[0]


def test_colours_are_what_their_names_say():
    """The orange red of genlib.plots, at 26 degrees, was called red and taken for orange."""
    assert min(hue(RED), 1 - hue(RED)) < 0.04
    assert 0.08 < hue(ORANGE) < 0.12
    assert 0.4 < hue(GREEN) < 0.47 and CHOSEN == GREEN
    assert 0.53 < hue(BLUE) < 0.62


@pytest.mark.parametrize("explorers", sorted(Path(core.__file__).parent.glob("*.py")))
def test_no_explorer_draws_the_orange_red_of_other_figures(explorers: Path):
    source = explorers.read_text()
    assert not re.search(r"genlib\.plots(\.style)? import [^\n]*\bRED\b", source)
    assert OTHER_RED not in source


def test_shares_add_up_to_a_hundred():
    torch.manual_seed(0)
    for counts in torch.randint(0, 60, (300, 3)).tolist():
        if sum(counts):
            shares = percents(counts)
            assert sum(shares) == 100
            assert all(
                abs(share - 100 * count / sum(counts)) < 1
                for share, count in zip(shares, counts, strict=True)
            )
    assert percents([215, 785]) == [22, 78]  # 21.5 and 78.5: each rounded alone, 101 in all


def test_a_number_has_three_significant_digits():
    for value in (3.84696, 38.4696, 384.696, 3846.96, 0.384696, 0.00384696, 0.0000384696):
        for digits in (2, 3):
            text = rounded(value, digits)
            figures, _, power = text.partition(" × 10")
            back = float(figures) * 10 ** int(power.translate(str.maketrans(RAISED, NORMAL)) or 0)
            assert back == pytest.approx(value, rel=0.5 * 10 ** (1 - digits))
            assert len(figures.replace(".", "").strip("0")) <= digits
    assert rounded(9.996) == "10.0" and rounded(-1.0) == "−1.00" and rounded(float("nan")) == "nan"


def test_the_page_learns_where_the_mouse_does_something():
    dots = Picture((4, 2), about="two axes")
    dots.figure.set_layout_engine("none")
    left, right = (dots.figure.add_axes((x, 0.25, 0.4, 0.5)) for x in (0.05, 0.55))
    right.set(xlim=(0, 10), ylim=(0, 1))
    dots.on_drag(left, lambda x, y: None, cursor="ew-resize")
    dots.on_click(right, lambda x, y: None, where=[(0, 0, 5, 0.5)])
    assert not dots._dom_classes
    dots.draw()
    dots.draw()
    assert dots._dom_classes == (
        "genlib-at-ew-resize-50-250-450-750",
        "genlib-at-pointer-550-500-750-750",
    )


def test_controls_fill_the_width_of_the_picture():
    dots = Dots()
    assert (dots.layout.width, dots.layout.max_width) == ("100%", "400px")
    assert dots.many.layout.width == "auto" and dots.many.layout.flex.startswith("1 1")
    assert dots.many.tooltip == dots.many.description


def test_a_player_steps_and_stops_at_the_ends():
    player = Player(last=2)
    seen = []
    player.slider.observe(lambda change: seen.append(change.new), names="value")
    for button in (player.back, player.forward, player.forward, player.forward, player.back):
        button.click()
    assert seen == [1, 2, 1]
    # play moves the slider in the browser; here only that the two are joined
    assert player._link.source == (player.play, "value")
    assert player._link.target == (player.slider, "value")
    with pytest.raises(ValueError, match="at least two frames"):
        Player(last=0)


def test_own_random_numbers_repeat_and_leave_the_others_alone():
    torch.manual_seed(1)
    a, b = torch.rand(1), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), a)
    with own_random_numbers(5):
        x = torch.rand(3)
    with own_random_numbers(5):
        assert torch.equal(torch.rand(3), x)
    assert torch.equal(torch.rand(1), b)


def test_tiles_stand_in_rows_and_are_as_they_were():
    images = torch.rand(5, 1, 4, 8)
    grid = torch.from_numpy(tile(images, columns=2, marked=torch.arange(5) == 3))
    high, wide = 4 * 8 + 6, 8 * 8 + 6
    assert grid.shape == (3 * high, 2 * wide, 3)
    for n, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]):
        cell = grid[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        for colour in range(3):
            assert torch.equal(cell[3 + 4 : -3 : 8, 3 + 4 : -3 : 8, colour], images[n, 0])
        frame = to_rgb(RED) if n == 3 else (1.0, 1.0, 1.0)
        assert cell[0, 0].tolist() == pytest.approx(frame)
    assert (grid[2 * high :, wide:] == 1).all()


def test_white_images_end_at_grey_lines():
    grid = tile(torch.ones(3, 1, 32, 32), columns=2, marked=torch.arange(3) == 1, line=0.5)
    assert (grid[:3, :38] == 0.5).all()
    assert grid[38:, 38:].min() == grid[38:, 38:].max() == 0.5  # where there is no image
    assert grid[0, 38].tolist() == pytest.approx(to_rgb(RED))
    assert (grid[3:35, 3:35] == 1).all()


def test_a_pixel_that_is_not_there_is_grey_blue():
    grid = tile(torch.full((1, 3, 32, 32), torch.nan), columns=1)
    assert grid[20, 20].tolist() == pytest.approx(to_rgb(NOT_THERE))


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (5, 2, 4, 4), (0, 1, 4, 4)])
def test_what_cannot_be_tiled_is_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"\(N, 1, H, W\) or \(N, 3, H, W\)"):
        tile(torch.zeros(shape), columns=2)
    with pytest.raises(ValueError, match="at least one column"):
        tile(torch.zeros(2, 1, 4, 4), columns=0)


@pytest.mark.parametrize("extent", [None, (-3.0, 3.0, -2.0, 2.0)])
def test_blocks_are_where_matplotlib_draws_them(extent):
    """Their middles, that is: along an edge one may round otherwise."""
    torch.manual_seed(0)
    pixels = torch.rand(4, 6, 3).numpy()
    drawn = []
    for draw in (show_blocks, lambda axes, pixels, extent: axes.imshow(pixels, extent=extent)):
        figure = Figure(figsize=(4, 3), dpi=100)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        image = draw(axes, pixels, extent)
        image.set_interpolation("nearest")
        canvas.draw()
        left, right, bottom, top = image.get_extent()
        x = left + (torch.arange(6) + 0.5) * (right - left) / 6
        y = top + (torch.arange(4) + 0.5) * (bottom - top) / 4
        middles = torch.cartesian_prod(y, x).flip(1)
        column, row = axes.transData.transform(middles.numpy()).astype(int).T
        drawn.append(np.asarray(canvas.buffer_rgba())[::-1][row, column])
    assert (drawn[0] == drawn[1]).all()
    given = torch.cat([torch.from_numpy(pixels).reshape(24, 3), torch.ones(24, 1)], dim=1)
    torch.testing.assert_close(
        torch.from_numpy(drawn[0] / 255).float(), given, atol=1 / 255, rtol=0
    )


def test_blocks_have_colours_of_a_map_and_leave_out_what_is_masked():
    figure = Figure(figsize=(2, 2), dpi=100, layout="none")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    two = np.ma.masked_invalid(np.array([[0.0, np.nan], [2.0, 4.0]]))
    show_blocks(axes, two, cmap=ListedColormap(["black", "red"]), limits=(0, 4))
    canvas.draw()
    seen = np.asarray(canvas.buffer_rgba())[50::100, 50::100, :3]
    assert seen.tolist() == [[[0, 0, 0], [255, 255, 255]], [[255, 0, 0], [255, 0, 0]]]


def test_a_text_that_was_kept_looks_as_if_it_were_drawn_anew(monkeypatch):
    monkeypatch.setattr("course.explorers.core.MOST_WRITTEN", 2)
    picture = Picture((3, 2), about="a title and a line")
    axes = picture.figure.add_subplot()
    (line,) = axes.plot([0, 1])
    title = axes.set_title("the longest of all titles")
    picture.draw()
    picture.move_only(line, title)
    drawn: dict[tuple[str, str], bytes] = {}
    for words, colour in [("one", "red"), ("two", "red"), ("two", "blue"), ("", "red")] * 2:
        title.set(text=words, color=colour)
        picture.draw()
        seen = bytes(picture.value)
        picture.draw(everything=True)  # forgets what was kept
        assert bytes(picture.value) == seen == drawn.setdefault((words, colour), seen)
    assert len(set(drawn.values())) == 4
    for words in ("one", "two", "three", "one"):  # more than are kept
        title.set(text=words, color="red")
        picture.draw()
    assert bytes(picture.value) == drawn["one", "red"]
