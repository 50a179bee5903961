"""Explorers of lessons PixelRNN and PixelCNN: what a pixel model reads, expects, draws and completes."""

from collections.abc import Mapping

import ipywidgets
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from course.explorers.core import (
    CHOSEN,
    RED,
    Explorer,
    Picture,
    Player,
    own_random_numbers,
    rounded,
    show_blocks,
    tile,
)
from course.figures import READ, field_layers
from genlib.autoregressive import PixelModel, receptive_fields
from genlib.plots import BLUE, NOT_THERE, ORANGE, drawn_so_far
from genlib.validation import check_images

AHEAD = (
    256  # pixels of an image whose receptive fields are found beforehand; of a larger, when chosen
)


class _Levels:
    """Axes with a distribution over the levels of a pixel; the level that came is red."""

    def __init__(self, axes: Axes, levels: int):
        edges, empty = [k - 0.5 for k in range(levels + 1)], [0.0] * levels
        self._p = axes.stairs(empty, edges, fill=True, color=BLUE)
        self._came = axes.stairs(empty, edges, fill=True, color=RED)
        axes.set(xlabel="level", ylim=(0, 1))
        self._title = axes.set_title("comes: level 00, p = 0.0 × 10⁻⁵")
        self.artists = (self._p, self._came, self._title)

    def show(self, p: Tensor, level: int) -> None:
        self._p.set_data(p.numpy())
        self._came.set_data([p[k].item() if k == level else 0.0 for k in range(len(p))])
        self._title.set_text(f"comes: level {level}, p = {rounded(p[level].item(), 2)}")


def _square(axes: Axes) -> Rectangle:
    """A red frame for one pixel, which `_move` puts where it belongs."""
    square = Rectangle((-0.5, -0.5), 1, 1, fill=False, edgecolor=RED, linewidth=2.5, zorder=3)
    axes.add_patch(square)
    axes.set(xticks=[], yticks=[])
    axes.spines[["top", "right"]].set_visible(True)
    return square


def _rgb(image: Tensor) -> np.ndarray:
    """(C, H, W) -> (H, W, 3) for `show_blocks`; NaN, "not there", is grey-blue."""
    height, width = image.shape[1:]
    rgb = image.detach().float().cpu().expand(3, height, width).permute(1, 2, 0).numpy()
    return np.where(np.isnan(rgb), to_rgba(NOT_THERE)[:3], rgb)


@torch.no_grad()
def _predictions(model: PixelModel, images: Tensor, y: Tensor | None = None) -> Tensor:
    """The distributions over the levels of the first channel, (N, C, H, W) -> (N, K, H, W)."""
    device = next(model.parameters()).device
    return model(images.to(device), y=y).softmax(dim=1)[:, :, 0].cpu()


def _levels_of(images: Tensor, levels: int) -> Tensor:
    """The levels of the first channel, (N, C, H, W) -> (N, H, W)."""
    return (images[:, 0].cpu() * (levels - 1)).round().long()


def _unconditional(model: PixelModel) -> None:
    if model.n_classes:
        raise ValueError(
            f"this {type(model).__name__} wants labels: explore one that was built without n_classes"
        )


class PixelExplorer(Explorer):
    """What `pixel_explorer` makes: choose with `image`, `row` and `column`."""

    def __init__(self, models: Mapping[str, PixelModel], images: Tensor, pixel: tuple[int, int]):
        if not models:
            raise ValueError("there is nothing to explore without a model")
        shape, levels = (next(iter(models.values())).shape, next(iter(models.values())).levels)
        for model in models.values():
            _unconditional(model)
            if (model.shape, model.levels) != (shape, levels):
                raise ValueError("all models must be for images of one shape and number of levels")
        check_images(images, shape, levels)
        _, height, width = shape
        if not (0 <= pixel[0] < height and 0 <= pixel[1] < width):
            raise ValueError(
                f"pixel {pixel} lies outside an image of {height} rows, {width} columns"
            )
        self._models, self._images = models, images.cpu()
        self._level = _levels_of(images, levels)
        self._expected = {name: _predictions(model, images) for name, model in models.items()}
        self._fields: dict[tuple[str, int, int], Tensor] = {}
        if height * width <= AHEAD:
            pixels = [divmod(place, width) for place in range(height * width)]
            for name, model in models.items():
                fields = receptive_fields(model, pixels).cpu()
                self._fields |= {
                    (name, *at): field for at, field in zip(pixels, fields, strict=True)
                }
        self.image = ipywidgets.IntSlider(0, min=0, max=len(images) - 1, description="image")
        self.row, self.column = (
            ipywidgets.IntSlider(at, min=0, max=size - 1, description=name)
            for name, at, size in (("row", pixel[0], height), ("column", pixel[1], width))
        )
        picture = Picture(
            (2.7 * (1 + len(models)) + 0.5, 5.1),
            about="a pixel of an image, what each model reads to predict it, and what it expects",
        )
        self._make_figure(picture, (height, width), levels)
        controls = ipywidgets.HBox([self.image, self.row, self.column])
        super().__init__("pixel", [controls, picture], picture)
        self.redraw_with(self.image, self.row, self.column)

    def _make_figure(self, picture: Picture, size: tuple[int, int], levels: int) -> None:
        figure, n = picture.figure, 1 + len(self._models)
        rows = figure.subplots(2, n, squeeze=False, height_ratios=(1.5, 1))
        blank = np.zeros((*size, 4))
        first = rows[0, 0]
        self._shown = show_blocks(first, blank[..., :3])
        self._veil = show_blocks(first, blank)
        first.set_title("click a pixel")
        self._squares, self._drawn, self._bars = [_square(first)], {}, {}
        picture.on_click(first, self._choose)
        for name, axes, below in zip(self._models, rows[0, 1:], rows[1, 1:], strict=True):
            read = show_blocks(axes, np.zeros(size), cmap=READ, limits=(-4, 0))
            blind = show_blocks(axes, np.zeros(size), cmap=ListedColormap([ORANGE]))
            axes.set_title(name)
            self._drawn[name] = (read, blind)
            self._squares.append(_square(axes))
            self._bars[name] = _Levels(below, levels)
            picture.on_click(axes, self._choose)
        rows[1, 1].set_ylabel("probability")
        rows[1, 0].set_axis_off()
        handles = [
            Patch(facecolor="#4292C6", label="read"),
            Patch(facecolor=ORANGE, label="earlier, yet\nnever read"),
            Patch(facecolor="white", edgecolor="0.7", label="later"),
            Patch(facecolor="none", edgecolor=RED, linewidth=2, label="predicted"),
        ]
        rows[1, 0].legend(handles=handles, loc="center", frameon=False)
        layers = (layer for drawn in self._drawn.values() for layer in drawn)
        bars = (artist for levels in self._bars.values() for artist in levels.artists)
        picture.move_only(self._shown, self._veil, *layers, *self._squares, *bars)

    def field(self, name: str) -> Tensor:
        """The receptive field (H, W) of a model at the pixel that is chosen; computed once."""
        key = (name, self.row.value, self.column.value)
        if key not in self._fields:
            self._fields[key] = receptive_fields(self._models[name], [key[1:]])[0].cpu()
        return self._fields[key]

    def expected(self, name: str) -> Tensor:
        """What a model expects at the pixel that is chosen, given all before it: (K,), of sum one."""
        return self._expected[name][self.image.value, :, self.row.value, self.column.value]

    def redraw(self) -> None:
        n, i, j = self.image.value, self.row.value, self.column.value
        self._shown.set_data(_rgb(self._images[n]))
        later = drawn_so_far(self._images[n], i * self._images.shape[3] + j + 1)[0].isnan()
        self._veil.set_data(np.where(later[..., None], to_rgba(NOT_THERE, 0.6), 0.0))
        for square in self._squares:
            square.set_xy((j - 0.5, i - 0.5))
        for name in self._models:
            strength, blind = field_layers(self.field(name), (i, j))
            read, never = self._drawn[name]
            read.set_data(np.ma.masked_invalid(strength))
            never.set_data(np.ma.masked_where(~blind, np.ones(blind.shape)))
            self._bars[name].show(self.expected(name), int(self._level[n, i, j]))
        self.picture.draw()

    def _choose(self, x: float, y: float) -> None:
        with self.together():
            self.row.value, self.column.value = round(y), round(x)


def pixel_explorer(
    models: Mapping[str, PixelModel], images: Tensor, pixel: tuple[int, int] | None = None
) -> PixelExplorer:
    """Choose a pixel of an image: what each model reads to predict it, and what it expects there.

    Click a pixel, or move the sliders. At the left the image, with a veil over what comes later.
    Beside it, for each model, its receptive field (see `genlib.autoregressive.receptive_field`): the darker
    the blue, the larger the gradient; orange is earlier and yet never read. Below, its distribution
    over the levels of the pixel's first channel given all pixels before it; the level that came is
    red.

    Args:
        models: name -> unconditional model, all of one shape and number of levels.
        images: (N, C, H, W) in [0, 1] to choose from.
        pixel: (row, column) to start at; the middle by default.

    Raises:
        ValueError: no model, a conditional one, models or images of different shapes, or a pixel
            outside the image.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> model = PixelCNN((1, 5, 5), hidden_dim=8, depth=1)
        >>> explorer = pixel_explorer({"PixelCNN": model}, torch.zeros(2, 1, 5, 5))
        >>> explorer.row.value, explorer.column.value = 1, 3
        >>> explorer.field("PixelCNN")[1].gt(0).tolist()
        [True, True, True, False, False]
    """
    height, width = images.shape[-2:]
    return PixelExplorer(models, images, pixel or (height // 2, width // 2))


class DrawingExplorer(Explorer):
    """What `drawing_explorer` makes: `player.slider` counts the pixels, `image` chooses one."""

    def __init__(self, model: PixelModel, n: int, y: Tensor | None, seed: int):
        with own_random_numbers(seed):
            images = model.sample(n, y=y)
        self._expected = _predictions(model, images, y)
        self._level = _levels_of(images, model.levels)
        self.images = images.cpu()
        _, self._height, self._width = model.shape
        last = self._height * self._width
        self.player = Player(last, interval=max(40, 10_000 // last), description="pixels")
        # half-way, so that there is something to see where no kernel runs
        self.player.slider.value = self.player.play.value = last // 2
        self.image = ipywidgets.IntSlider(0, min=0, max=n - 1, description="image")
        picture = Picture((9.5, 3.9), about="images as a model draws them, pixel by pixel")
        figure = picture.figure
        large, bars, small = figure.subplots(1, 3, width_ratios=(3, 3, 3.2))
        self._large = show_blocks(large, _rgb(self.images[0]))
        self._large_title = large.set_title("drawn: 0")
        self._square = _square(large)
        bars.set_ylabel("probability")
        self._bars = _Levels(bars, model.levels)
        self._columns = -(-n // -(-n // 4))  # rows of at most four, as even as can be
        self._small = show_blocks(small, tile(self.images, self._columns))
        small.set_axis_off()
        small.set_title("all of them,\ngreen: the one at the left")
        picture.move_only(
            self._large, self._square, self._large_title, *self._bars.artists, self._small
        )
        super().__init__("drawing", [self.player, self.image, picture], picture)
        self.redraw_with(self.player.slider, self.image)

    def frame(self) -> Tensor:
        """All images (n, C, H, W) as far as they are drawn; what is not there yet is NaN."""
        drawn = self.player.slider.value
        return torch.stack([drawn_so_far(image, drawn) for image in self.images])

    def redraw(self) -> None:
        n, drawn, frame = self.image.value, self.player.slider.value, self.frame()
        last = self._height * self._width
        self._large.set_data(_rgb(frame[n]))
        # in the last frame nothing is to come: it keeps what was drawn last
        i, j = divmod(min(drawn, last - 1), self._width)
        self._square.set_xy((j - 0.5, i - 0.5))
        self._square.set_visible(drawn < last)
        self._large_title.set_text(f"{drawn} of {last} pixels")
        self._bars.show(self._expected[n, :, i, j], int(self._level[n, i, j]))
        chosen = torch.arange(len(frame)) == n
        self._small.set_data(tile(frame, self._columns, chosen, colour=CHOSEN))
        self.picture.draw()


def drawing_explorer(
    model: PixelModel, n: int = 8, y: Tensor | None = None, seed: int = 0
) -> DrawingExplorer:
    """Watch a model draw images pixel by pixel: play, pause, or go step by step, from half-way.

    At the left one image as far as it is drawn, with a frame around the pixel that comes next. In
    the middle the distribution over the levels (of its first channel) from which this pixel is drawn,
    and in red the level that will be drawn. At the right all images, that one framed in green. They
    are drawn when the explorer is made, by `model.sample`.

    Args:
        model: a pixel model, on any device.
        n: number of images.
        y: labels (n,) of a conditional model.
        seed: of the random numbers of `sample`.

    Raises:
        ValueError: n < 1, or labels that do not fit the model.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> explorer = drawing_explorer(PixelCNN((1, 4, 4), hidden_dim=8, depth=1), n=2)
        >>> explorer.player.slider.value = 5
        >>> explorer.frame().isnan().sum(dim=(1, 2, 3)).tolist()
        [11, 11]
    """
    return DrawingExplorer(model, n, y, seed)


class CompletionExplorer(Explorer):
    """What `completion_explorer` makes: erase with `rows` and `columns`, then press `complete`."""

    def __init__(self, model: PixelModel, images: Tensor, n: int, seed: int):
        _unconditional(model)
        check_images(images, model.shape, model.levels)
        if n < 1:
            raise ValueError(f"an image is completed at least once, not {n} times")
        self._model, self._images, self._n, self._seed = model, images.cpu(), n, seed
        _, self._height, self._width = model.shape
        self._reach = self._height // 16  # of the eraser: large images have small pixels
        self._before: tuple[float, float] | None = None
        self.image = ipywidgets.IntSlider(0, min=0, max=len(images) - 1, description="image")
        self.rows, self.columns = (
            ipywidgets.IntRangeSlider(value=at, min=0, max=size, description=name)
            for name, at, size in (
                ("rows", (self._height // 2, self._height), self._height),
                ("columns", (0, self._width), self._width),
            )
        )
        self.complete = ipywidgets.Button(description="complete", icon="pencil")
        self.restore = ipywidgets.Button(description="restore all", icon="undo")
        self.complete.on_click(lambda _: self._complete())
        self.restore.on_click(lambda _: self._restore())
        picture = Picture((9.5, 3.7), about="an image, partly erased, and completed by a model")
        self._make_figure(picture)
        super().__init__(
            "completion",
            [
                ipywidgets.HBox([self.image, self.rows, self.columns]),
                ipywidgets.HBox([self.complete, self.restore]),
                picture,
            ],
            picture,
        )
        self.rows.observe(self._erase_rectangle, names="value")
        self.columns.observe(self._erase_rectangle, names="value")
        self.image.observe(lambda _: self._forget(), names="value")
        self._erase_rectangle(None)
        self._complete()

    def _make_figure(self, picture: Picture) -> None:
        given, draws = picture.figure.subplots(1, 2, width_ratios=(1, 1.9))
        self._given = show_blocks(given, _rgb(self._images[0]))
        given.set(xticks=[], yticks=[], title="drag to erase")
        given.spines[["top", "right"]].set_visible(True)
        self._across = -(-self._n // (2 if self._n > 3 else 1))
        blank = self._images[:1].expand(self._n, -1, -1, -1)
        self._draws = show_blocks(draws, tile(blank, self._across))
        draws.set_axis_off()
        self._title = draws.set_title("known pixels after the first hole: 0 of 0")
        picture.move_only(self._given, self._draws, self._title)
        picture.on_drag(given, self._brush, self._brushed, cursor="crosshair")

    def redraw(self) -> None:
        self._given.set_data(_rgb(self.given()))
        self._draws.set_data(tile(self.completions, self._across))
        known = int((~self.erased).sum())
        self._title.set_text(f"known pixels after the first hole: {self.too_late()} of {known}")
        self.picture.draw()

    def given(self) -> Tensor:
        """The image (C, H, W) that is chosen; what is erased is NaN."""
        return torch.where(self.erased, torch.nan, self._images[self.image.value])

    def too_late(self) -> int:
        """How many known pixels come later than the first that is erased, which cannot heed them."""
        erased = self.erased.flatten()
        return int((~erased[erased.nonzero().min() :]).sum()) if erased.any() else 0

    def _forget(self) -> None:
        """What was completed belongs to another erasure: show the holes instead."""
        self.completions = self.given().expand(self._n, -1, -1, -1)
        self.redraw()

    def _erase_rectangle(self, _: object) -> None:
        self.erased = torch.zeros(self._height, self._width, dtype=torch.bool)
        (top, bottom), (left, right) = self.rows.value, self.columns.value
        self.erased[top:bottom, left:right] = True
        self._forget()

    def _restore(self) -> None:
        self.erased = torch.zeros_like(self.erased)
        self._forget()

    def _brush(self, x: float, y: float) -> None:
        """Erase where the mouse is, and on the straight way from where it was."""
        before = self._before or (x, y)
        self._before = (x, y)
        steps = 1 + int(2 * max(abs(x - before[0]), abs(y - before[1])))
        for t in torch.linspace(0, 1, steps + 1).tolist():
            j, i = round(before[0] + t * (x - before[0])), round(before[1] + t * (y - before[1]))
            around = slice(max(0, i - self._reach), max(0, i + self._reach + 1))
            across = slice(max(0, j - self._reach), max(0, j + self._reach + 1))
            self.erased[around, across] = True
        self._forget()

    def _brushed(self) -> None:
        self._before = None
        self._complete()

    def _complete(self) -> None:
        """Draw what is erased anew, each time from other random numbers."""
        image = self._images[self.image.value]
        with own_random_numbers(self._seed):
            drawn = self._model.sample(self._n, known=image, mask=~self.erased)
        self._seed += 1
        self.completions = drawn.cpu()
        self.redraw()


def completion_explorer(
    model: PixelModel, images: Tensor, n: int = 8, seed: int = 0
) -> CompletionExplorer:
    """Erase part of an image, and watch a model complete it in several ways.

    Erase by dragging over the image, or a rectangle by the sliders. At the end of a drag, and
    whenever `complete` is pressed, the model draws what is missing, n times (`sample(known=, mask=)`).
    Pixels are drawn in raster order and heed only what comes before them: the title counts known
    pixels that the first erased one cannot heed.

    Args:
        model: an unconditional pixel model, on any device.
        images: (N, C, H, W) in [0, 1] to choose from.
        n: how often an image is completed.
        seed: of the first n; the next take the next seed.

    Raises:
        ValueError: a conditional model, images that it was not built for, or n < 1.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> model = PixelCNN((1, 4, 4), hidden_dim=8, depth=1)
        >>> explorer = completion_explorer(model, torch.ones(1, 1, 4, 4), n=3)
        >>> explorer.rows.value = (2, 3)
        >>> explorer.too_late()
        4
        >>> explorer.complete.click()
        >>> explorer.completions[:, :, :2].eq(1).all().item()
        True
    """
    return CompletionExplorer(model, images, n, seed)
