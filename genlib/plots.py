"""Figures of the course: each comes from one call, in one style.

Every function draws a new figure and leaves it open, so that a notebook shows it below the cell.
Importing this module puts the style on every later figure, a student's own included. Colours are
from Okabe & Ito's palette, which colour-blind readers can tell apart.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_rgb
from matplotlib.patches import Circle, Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogFormatter, NullLocator
from torch import Tensor, nn

from genlib.autoregressive import PixelModel
from genlib.nn import MaskedConv2d
from genlib.taxonomy import TREE, Branch, Leaf, leaves, place

BLUE, ORANGE, GREEN, RED, SKY, PURPLE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
)
COLOURS = [BLUE, ORANGE, GREEN, RED, PURPLE, SKY]
# for labels, which are also written as numbers: six of the palette, and four that differ from them in brightness
TEN_COLOURS = [*COLOURS, "black", "0.6", "#7B3F00", "#8C8C00"]
NOT_THERE = "#B7CDE2"
READ = LinearSegmentedColormap.from_list("read", ["#C6DBEF", "#08306B"])  # its weakest is not white
# set for good and not in plt.rc_context: leaving that context undoes the choice of the notebook's
# backend if the first figure made it, and no later figure is shown
STYLE = {
    "font.size": 12,  # read from the last row of a lecture hall: nothing is smaller
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
}
plt.rcParams.update(STYLE)


def show_images(
    images: Tensor,
    *,
    columns: int | None = None,
    titles: Sequence[str] | None = None,
    title: str = "",
    size: float = 0.8,
) -> None:
    """A grid of images, grey or in colour.

    Args:
        images: (N, C, H, W) in [0, 1], C = 1 or 3; NaN pixels, "not there", are drawn grey-blue.
        columns: images in a row; a near-square grid by default.
        titles: one short text above each image.
        title: above the grid.
        size: width of an image in inches.

    Raises:
        ValueError: the shape is not that of a batch of grey or colour images, or there are more or
            fewer titles than images.

    Example:
        >>> show_images(torch.rand(8, 1, 4, 4), columns=4, title="noise")
        >>> len(plt.gca().images)
        8
        >>> plt.close()
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise ValueError(
            f"images must have shape (N, 1, H, W) or (N, 3, H, W), not {tuple(images.shape)}"
        )
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"each of {len(images)} images has a title, not {len(titles)} titles")
    columns = min(columns or math.ceil(math.sqrt(len(images))), len(images))
    rows = [images[i : i + columns] for i in range(0, len(images), columns)]
    _draw_rows(rows, size, titles=titles or [], title=title)


def show_rows(rows: Mapping[str, Tensor], *, title: str = "", size: float = 0.8) -> None:
    """Rows of images, each with its name at the left: to compare models, or stages.

    Args:
        rows: name -> images (N, C, H, W) in [0, 1]; NaN pixels, "not there", are drawn grey-blue.
        title: above the rows.
        size: width of an image in inches.

    Example:
        >>> show_rows({"noise": torch.rand(5, 1, 4, 4), "black": torch.zeros(5, 1, 4, 4)})
        >>> len(plt.gca().images)
        10
        >>> plt.close()
    """
    _draw_rows(list(rows.values()), size, names=list(rows), title=title)


def _draw_rows(
    rows: Sequence[Tensor],
    size: float,
    *,
    names: Sequence[str] = (),
    titles: Sequence[str] = (),
    title: str = "",
) -> None:
    """A figure of rows of images, all on one pair of axes: a pair for each takes five times as long.

    Lengths are inches, y goes downwards. An image is `size` wide with the gap at its side.

    Args:
        rows: each (N, C, H, W).
        size: width of an image.
        names: of the rows, at the left.
        titles: of the images, above each.
        title: above all.
    """
    gap, head = 0.04, 0.25 * bool(titles)
    wide = size - gap
    tall = wide * max(images.shape[2] / images.shape[3] for images in rows)
    width = max(len(images) for images in rows) * size - gap
    height = len(rows) * (head + tall + gap) - gap

    figure = plt.figure()
    figure.set_layout_engine("none")  # all places are known
    labels = [figure.text(0, 0, name, ha="right", va="center") for name in names]
    widest = max((label.get_window_extent().width / figure.dpi for label in labels), default=0)
    left, top = widest + 0.1 * bool(names), 0.35 * bool(title)
    figure.set_size_inches(left + width, top + height)
    axes = figure.add_axes(
        (left / (left + width), 0, width / (left + width), height / (top + height)),
        xlim=(0, width), ylim=(height, 0), autoscale_on=False,
    )  # fmt: skip
    axes.set_axis_off()

    frames, above = [], iter(titles)
    for i, images in enumerate(rows):
        middle = i * (head + tall + gap) + head + tall / 2
        if names:
            labels[i].set(transform=axes.transData, position=(-0.1, middle))
        for j, image in enumerate(images):
            high = wide * image.shape[1] / image.shape[2]
            x, y = j * size, middle - high / 2
            _imshow(axes, image, extent=(x, x + wide, y + high, y), aspect="auto")
            frames.append(Rectangle((x, y), wide, high))
            if titles:
                axes.text(x + wide / 2, y - 0.05, next(above), ha="center")
    # a thin frame, or a white image ends nowhere
    frame = PatchCollection(frames, facecolor="none", edgecolor="0.6", linewidth=0.5, zorder=3)
    frame.set_clip_on(False)
    axes.add_collection(frame)
    if title:
        figure.suptitle(title)


def _imshow(axes: Axes, image: Tensor, **where: Any) -> None:
    """An image (C, H, W), grey or in colour; what is NaN is "not there"."""
    picture = image.detach().float().cpu().permute(1, 2, 0).numpy()
    if picture.shape[2] == 1:
        grey = plt.get_cmap("gray").with_extremes(bad=NOT_THERE)
        axes.imshow(np.ma.masked_invalid(picture[:, :, 0]), cmap=grey, vmin=0, vmax=1, **where)
    else:
        axes.imshow(np.where(np.isnan(picture), to_rgb(NOT_THERE), picture), **where)


def _draw_image(axes: Axes, image: Tensor) -> None:
    _imshow(axes, image)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():  # a thin frame, or a white image ends nowhere
        spine.set(visible=True, color="0.6", linewidth=0.5)


def drawn_so_far(image: Tensor, pixels: int) -> Tensor:
    """The first `pixels` pixels of an image in raster order; the others are NaN, not there yet.

    Shapes:
        (C, H, W) -> (C, H, W)

    Example:
        >>> drawn_so_far(torch.ones(1, 2, 2), 3)
        tensor([[[1., 1.],
                 [1., nan]]])
    """
    _, height, width = image.shape
    place = torch.arange(height * width, device=image.device).reshape(height, width)
    return torch.where(place < pixels, image, torch.nan)


def show_curves(
    curves: Mapping[str, Sequence[float]],
    *,
    x: Sequence[float] | None = None,
    xlabel: str,
    ylabel: str,
    baselines: Mapping[str, float] | None = None,
    spread: Mapping[str, Sequence[float]] | None = None,
    marks: Mapping[str, float] | None = None,
    title: str = "",
    log: bool = False,
) -> None:
    """Lines over a common axis, with dashed horizontal lines to compare them with.

    Args:
        curves: name -> values.
        x: where the values lie; 1, 2, 3, ... by default.
        xlabel, ylabel: with their units.
        baselines: name -> value.
        spread: name of a curve -> half the height of a band around it, a standard deviation for instance.
        marks: name -> a place on the x axis, marked by a dotted line.
        title: above the figure.
        log: logarithmic axes, where a power law is a straight line; a tick at every `x`.

    Example:
        >>> show_curves({"loss": [3, 2, 1]}, xlabel="epoch", ylabel="nats", baselines={"best": 0.5})
        >>> [line.get_label() for line in plt.gca().lines]
        ['loss', 'best']
        >>> plt.close()
    """
    _, axes = plt.subplots(figsize=(8, 3.6))
    for name, values in curves.items():
        at = list(x if x is not None else range(1, len(values) + 1))
        (line,) = axes.plot(at, values, label=name)
        if spread and name in spread:
            low, high = zip(
                *((v - s, v + s) for v, s in zip(values, spread[name], strict=True)), strict=True
            )
            axes.fill_between(at, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    for (name, value), style in zip((baselines or {}).items(), ("--", ":", "-."), strict=False):
        axes.axhline(value, color="0.35", linestyle=style, linewidth=1.2, label=name)
    for name, place_on_x in (marks or {}).items():
        axes.axvline(place_on_x, color="black", linestyle=":")
        axes.annotate(
            name, (place_on_x, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom"
        )
    if log:
        axes.loglog()
        axes.set_xticks(axes.lines[0].get_xdata(), minor=False)
        axes.xaxis.set(major_formatter="{x:g}", minor_locator=NullLocator())
        # 20, not 2 x 10^1, where there is less than a decade
        axes.yaxis.set(minor_formatter=LogFormatter())
        axes.grid(alpha=0.3)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def show_scatter(
    points: Mapping[str, tuple[float, float]],
    *,
    groups: Mapping[str, str],
    xlabel: str,
    ylabel: str,
    log: bool = False,
) -> None:
    """Named points in a plane of two measures: one for each model, in the colour of its group.

    Args:
        points: name -> (x, y); the name stands at the point, or higher and joined to it by a line
            where another is near.
        groups: name -> the group whose colour it has; names that are not among the points do no harm.
        xlabel, ylabel: with their units.
        log: a logarithmic x-axis.

    Example:
        >>> groups = {"A": "letters", "B": "letters"}
        >>> show_scatter({"A": (1, 2), "B": (2, 1)}, groups=groups, xlabel="x", ylabel="y")
        >>> [text.get_text() for text in plt.gca().texts]
        ['B', 'A']
        >>> plt.close()
    """
    figure, axes = plt.subplots(figsize=(8.5, 4.2))
    colours: dict[str, str] = {}
    for name, (x, y) in points.items():
        colour = colours.setdefault(groups[name], COLOURS[len(colours) % len(COLOURS)])
        axes.scatter(x, y, color=colour, s=40, zorder=2)
    if log:
        axes.set_xscale("log")
    axes.margins(x=0.08, y=0.12)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    handles = [Patch(facecolor=colour, label=name) for name, colour in colours.items()]
    axes.legend(handles=handles, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.draw_without_rendering()  # the legend narrows the axes, and only now are places known
    # for the names at the right, which the legend must not meet
    room = axes.transAxes.transform((1.2, 0))
    axes.set_xlim(right=axes.transData.inverted().transform(room)[0])
    axes.autoscale(False)
    names = sorted(points, key=lambda name: points[name][1])
    places = axes.transData.transform([points[name] for name in names])  # dots of the screen
    # what a name must not cover, points and other names: left end, right end, height
    taken = [(at - 5, at + 5, level) for at, level in places]
    for name, (at, level) in zip(names, places, strict=True):
        left, right, up = at + 8, at + 20 + 9 * len(name), level
        while any(left < end and start < right and abs(up - h) < 19 for start, end, h in taken):
            up += 3
        taken.append((left, right, up))
        if up > level:  # joined to its point
            end = axes.transData.inverted().transform((left, up))
            axes.plot(*zip(points[name], end, strict=True), color="0.6", linewidth=0.8, zorder=1)
        axes.annotate(name, points[name], xytext=(8, 0.72 * (up - level)),
                      textcoords="offset points", va="center", color="0.2")  # fmt: skip


def show_panels(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    x: Sequence[float],
    xlabel: str,
    labels: Mapping[str, tuple[float, float]],
    ylabel: str = "",
    top: float | None = None,
    dashed: Collection[str] = (),
) -> None:
    """Panels of curves, two in a row, on the same axes: stages of a training, for instance.

    A curve of one name has one colour in all panels. Its name stands at it, in the first.

    Args:
        panels: title -> name -> values, one for each of x.
        x: where the values lie.
        xlabel, ylabel: with their units.
        labels: name -> where its left lower corner stands in the first panel, in the axes' units.
        top: where the panels end; a curve that rises above is cut off.
        dashed: names of curves that are drawn dashed.

    Example:
        >>> stages = {"start": {"D": [0.5, 0.5]}, "end": {"D": [0.1, 0.9]}}
        >>> show_panels(stages, x=[0, 1], xlabel="x", labels={"D": (0.2, 0.55)})
        >>> [axes.get_title() for axes in plt.gcf().axes]
        ['start', 'end']
        >>> plt.close()
    """
    rows = -(-len(panels) // 2)
    figure, grid = plt.subplots(
        rows, 2, figsize=(10, 2.8 * rows), squeeze=False, sharex=True, sharey=True
    )
    colours: dict[str, str] = {}
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        for name, values in curves.items():
            colour = colours.setdefault(name, COLOURS[len(colours) % len(COLOURS)])
            axes.plot(x, values, "--" if name in dashed else "-", color=colour)
        axes.set_title(title)
    for name, (right, up) in labels.items():
        grid[0, 0].text(right, up, name, color=colours[name])
    grid[0, 0].set_ylim(None if top is None else (-0.03 * top, top))
    figure.supxlabel(xlabel, fontsize=12)
    figure.supylabel(ylabel, fontsize=12)
    for axes in grid.flat[len(panels) :]:
        axes.remove()


def show_paths(
    panels: Mapping[str, tuple[Tensor, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]],
    *,
    xlabel: str,
    ylabel: str,
    limit: float = 3.0,
) -> None:
    """Paths in the plane, a panel each, over the arrows of the vector field that they follow.

    A dot marks where a path begins, a cross the origin.

    Args:
        panels: title -> a path (N, 2), and the field (x, y) -> (its two components) behind it.
        xlabel, ylabel: what the two coordinates are.
        limit: the panels reach from -limit to limit along both axes.

    Raises:
        ValueError: a path that does not lie in the plane.

    Example:
        >>> path = torch.tensor([[1.0, 0.0], [0.9, 0.1]])
        >>> show_paths({"a step": (path, lambda x, y: (-x, y))}, xlabel="x", ylabel="y")
        >>> plt.gca().get_title()
        'a step'
        >>> plt.close()
    """
    _, row = plt.subplots(
        1, len(panels), figsize=(10, 0.5 + 10 / len(panels)), squeeze=False, sharey=True
    )
    ticks = torch.linspace(-limit, limit, 13)
    x, y = torch.meshgrid(ticks, ticks, indexing="xy")
    for axes, (title, (path, field)) in zip(row[0], panels.items(), strict=True):
        if path.ndim != 2 or path.shape[1] != 2:
            raise ValueError(f"{title!r} must have shape (N, 2), not {tuple(path.shape)}")
        axes.quiver(x.numpy(), y.numpy(), *(part.numpy() for part in field(x, y)), color="0.7")
        axes.plot(*path.T.numpy(), color=BLUE, linewidth=1)
        axes.plot(*path[0].tolist(), "o", color=ORANGE)
        axes.plot(0, 0, "+", color="black", markersize=10)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        axes.set(title=title, xlabel=xlabel)
    row[0, 0].set_ylabel(ylabel)


def show_points(
    panels: Mapping[str, Tensor],
    *,
    modes: Tensor,
    radius: float,
    limit: float = 3.0,
) -> None:
    """Points in the plane, a panel for each generator, with rings around the modes of the data.

    Args:
        panels: title -> points (N, 2); two thousand can still be seen.
        modes: (M, 2), a ring around each.
        radius: of the rings.
        limit: the panels reach from -limit to limit along both axes.

    Raises:
        ValueError: points that do not lie in the plane.

    Example:
        >>> show_points({"noise": torch.randn(20, 2)}, modes=torch.zeros(1, 2), radius=0.5)
        >>> len(plt.gca().patches)
        1
        >>> plt.close()
    """
    _, row = plt.subplots(1, len(panels), figsize=(2.6 * len(panels), 2.9), squeeze=False)
    for axes, (title, points) in zip(row[0], panels.items(), strict=True):
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"{title!r} must have shape (N, 2), not {tuple(points.shape)}")
        axes.scatter(*points.detach().float().cpu().T.numpy(), s=3, color=BLUE, linewidths=0)
        for centre in modes.tolist():
            axes.add_patch(Circle(centre, radius, fill=False, edgecolor=RED, linewidth=1))
        axes.set(title=title, xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[])
        axes.set_aspect("equal")
        axes.spines[["top", "right"]].set_visible(True)


def show_codes(
    codes: Tensor,
    values: Mapping[str, Tensor],
    *,
    title: str = "",
    size: float = 3.7,
    labels: tuple[str, str] = ("$z_1$", "$z_2$"),
) -> None:
    """A map of two-dimensional codes: one panel for each thing that is known of the images.

    A label is written as its number, so that nobody has to tell ten colours apart; any other value
    goes from dark to bright, with a bar at the side.

    Args:
        codes: (N, 2); a thousand can still be told apart.
        values: name -> (N,), of integers for labels, else of floats.
        title: above the panels.
        size: width of a panel in inches; its marks grow with it.
        labels: of the two axes.

    Raises:
        ValueError: codes of another size, or not one value a code.

    Example:
        >>> codes, labels = torch.randn(20, 2), torch.arange(20) % 10
        >>> show_codes(codes, {"digit": labels, "slant": torch.rand(20)})
        >>> [axes.get_title() for axes in plt.gcf().axes]
        ['digit', 'slant', '']
        >>> plt.close()
    """
    if codes.ndim != 2 or codes.shape[1] != 2:
        raise ValueError(f"codes must have shape (N, 2) to be a map, not {tuple(codes.shape)}")
    for name, value in values.items():
        if value.shape != codes.shape[:1]:
            raise ValueError(
                f"{name!r} must have shape ({len(codes)},), one value a code, "
                f"not {tuple(value.shape)}"
            )
    figure, row = plt.subplots(
        1, len(values), figsize=(size * len(values), size - 0.2 + 0.35 * bool(title)), squeeze=False
    )
    area = (size / 3.7) ** 2
    x, y = codes.detach().float().cpu().T.numpy()
    for axes, (name, value) in zip(row[0], values.items(), strict=True):
        known = value.detach().cpu().numpy()
        if value.is_floating_point():
            dots = axes.scatter(x, y, c=known, s=7 * area, cmap="viridis", linewidths=0)
            figure.colorbar(dots, ax=axes, shrink=0.85)
        else:
            for i, label in enumerate(np.unique(known)):
                here, colour = known == label, TEN_COLOURS[i % 10]
                axes.scatter(
                    x[here], y[here], s=24 * area, marker=f"${label}$", color=colour, linewidths=0
                )
        axes.set(title=name, xlabel=labels[0])
    row[0, 0].set_ylabel(labels[1])
    if title:
        figure.suptitle(title)


def empty_cells(codes: Tensor, low: Tensor, high: Tensor, side: int) -> Tensor:
    """Where no code lies: a rectangle of the plane, cut into side x side cells.

    Args:
        codes: (N, 2); those outside the rectangle do not count.
        low, high: its corners (2,), lower left and upper right.
        side: cells along each axis.

    Shapes:
        -> (side, side) of bool, first index along the first axis of the codes

    Example:
        >>> codes = torch.tensor([[0.1, 0.1], [0.9, 0.2], [5.0, 5.0]])
        >>> empty_cells(codes, torch.tensor([0.0, 0.0]), torch.tensor([1.0, 1.0]), side=2)
        tensor([[False,  True],
                [False,  True]])
    """
    inside = codes[((codes >= low) & (codes <= high)).all(dim=1)]
    cell = ((inside - low) / (high - low) * side).long().clamp(max=side - 1)
    empty = torch.ones(side, side, dtype=torch.bool, device=codes.device)
    empty[cell[:, 0], cell[:, 1]] = False
    return empty


def show_code_grid(
    decode: Callable[[Tensor], Tensor],
    low: Tensor,
    high: Tensor,
    *,
    side: int = 16,
    codes: Tensor | None = None,
    title: str = "",
    size: float = 0.4,
    symbol: str = "z",
) -> None:
    """What a decoder makes of a plane: each image stands where its code lies.

    A rectangle is cut into side x side cells, and the code in the middle of each is decoded.

    Args:
        decode: codes (side * side, 2) -> images (side * side, C, H, W) in [0, 1], C = 1 or 3.
        low, high: corners (2,) of the rectangle, lower left and upper right, where `decode` computes.
        side: cells along each axis.
        codes: (N, 2), of training images for instance; cells where none of them lies turn orange.
        title: above the map.
        size: width of an image in inches.
        symbol: letter of the two axes.

    Example:
        >>> low, high = torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.0])
        >>> show_code_grid(lambda z: torch.rand(len(z), 1, 4, 4), low, high, side=3)
        >>> plt.gca().images[0].get_array().shape
        (12, 12, 3)
        >>> plt.close()
    """
    middle = (torch.arange(side, device=low.device) + 0.5) / side
    z = low + (high - low) * torch.cartesian_prod(middle, middle)
    with torch.no_grad():
        images = decode(z)
    images = images.detach().expand(-1, 3, -1, -1).unflatten(0, (side, side))  # (i, j, 3, H, W)
    if codes is not None:
        empty = empty_cells(codes.to(low.device), low, high, side)
        orange = torch.tensor(to_rgb(ORANGE), dtype=images.dtype, device=images.device)
        tint = torch.where(empty[:, :, None], orange, torch.ones_like(orange))  # (i, j, 3)
        images = images * tint[..., None, None]
    # the second number of a code grows upwards, rows of a picture are counted downwards
    height, width = images.shape[-2:]
    mosaic = images.flip(1).permute(1, 3, 0, 4, 2).reshape(side * height, side * width, 3)
    edges = (low[0].item(), high[0].item(), low[1].item(), high[1].item())
    tall = height / width
    _, axes = plt.subplots(
        figsize=(side * size + 0.6, side * size * tall + 0.5 + 0.35 * bool(title))
    )
    axes.imshow(mosaic.float().cpu().numpy(), extent=edges, aspect="auto", vmin=0, vmax=1)
    axes.set(xlabel=f"${symbol}_1$", ylabel=f"${symbol}_2$", title=title)


def show_tables(
    tables: Mapping[str, Tensor], *, rows: Sequence[str], columns: Sequence[str], title: str = ""
) -> None:
    """Small tables of shares side by side: each number written in its cell, the darker the larger.

    Args:
        tables: name -> (len(rows), len(columns)) of numbers in [0, 1].
        rows: one name a row, written at the left.
        columns: one name a column, written below.
        title: above the tables.

    Raises:
        ValueError: a table of another size.

    Example:
        >>> shares = torch.tensor([[0.9, 0.0], [0.1, 0.4]])
        >>> show_tables({"R2": shares}, rows=["slant", "size"], columns=["$z_1$", "$z_2$"])
        >>> [text.get_text() for text in plt.gca().texts]
        ['0.90', '0.00', '0.10', '0.40']
        >>> plt.close()
    """
    size = (len(rows), len(columns))
    for name, table in tables.items():
        if table.shape != size:
            raise ValueError(f"{name!r} must have shape {size}, not {tuple(table.shape)}")
    margin = 0.1 * max(len(name) for name in rows)
    width = len(tables) * (0.5 * len(columns) + 0.2) + margin
    height = 0.42 * len(rows) + 0.75 + 0.35 * bool(title)
    figure, row = plt.subplots(1, len(tables), figsize=(width, height), squeeze=False, sharey=True)
    white_to_blue = LinearSegmentedColormap.from_list("shares", ["white", BLUE])
    for axes, (name, table) in zip(row[0], tables.items(), strict=True):
        values = table.detach().float().cpu()
        axes.imshow(values.numpy(), cmap=white_to_blue, vmin=0, vmax=1, aspect="auto")
        for i in range(len(rows)):
            for j in range(len(columns)):
                value = values[i, j].item()
                colour = "white" if value > 0.5 else "black"
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour)
        axes.set_xticks(range(len(columns)), labels=columns)
        axes.set_yticks(range(len(rows)), labels=rows)
        axes.tick_params(length=0)
        axes.set_title(name)
    if title:
        figure.suptitle(title)


def show_tree(models: Mapping[str, nn.Module | type[nn.Module]], *, title: str = "") -> None:
    """The tree of generative models, with each of these models on the leaf where its methods put it.

    Nothing is drawn by hand: the branches are `genlib.taxonomy.TREE`, and `genlib.taxonomy.place`
    finds each model's leaf. A model that belongs nowhere is named below the tree.

    Args:
        models: name -> model or class.
        title: above the tree.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.variational import Autoencoder
        >>> show_tree({"PixelCNN": PixelCNN, "Autoencoder": Autoencoder})
        >>> [text.get_text() for text in plt.gca().texts if "Auto" in text.get_text()]
        ['on no leaf: Autoencoder']
        >>> plt.close()
    """
    figure, axes = plt.subplots(figsize=(10, 0.85 * len(list(leaves())) + 0.5 + 0.35 * bool(title)))
    for leaf, (x, y) in draw_tree(axes, models):
        axes.text(x + 0.55, y - 0.02, f"p(x): {leaf.density}\nsamples: {leaf.sampling}",
                  va="top", linespacing=1.1, color="0.3")  # fmt: skip
    nowhere = [name for name, model in models.items() if place(model) is None]
    if nowhere:
        axes.text(4.35, -0.8, f"on no leaf: {', '.join(nowhere)}",
                  va="center", color=RED)  # fmt: skip
    if title:
        figure.suptitle(title)


def draw_tree(
    axes: Axes, models: Mapping[str, nn.Module | type[nn.Module]]
) -> list[tuple[Leaf, tuple[float, float]]]:
    """The tree of `show_tree` in axes that are there already, with models at their leaves.

    Args:
        axes: empty ones, about two and a half times as wide as high.
        models: name -> model or class.

    Returns:
        Each leaf, and the middle of its box: 1 apart from top to bottom; the names begin 0.55 to the
        right of it.

    Example:
        >>> found = draw_tree(plt.figure().add_subplot(), {})
        >>> [(leaf.name, y) for leaf, (x, y) in found][:2]
        [('tractable', 4.0), ('variational', 3.0)]
        >>> plt.close()
    """
    found = {name: place(model) for name, model in models.items()}
    lines = list(leaves())
    height = {id(leaf): 1.0 * (len(lines) - 1 - i) for i, leaf in enumerate(lines)}
    columns = [0.0, 1.5, 2.65, 3.8]  # of the root, two levels of branches, and the leaves
    axes.set(xlim=(-0.65, 6.75), ylim=(-1.0, len(lines) - 0.5))
    axes.set_axis_off()

    def draw(node: Branch | Leaf, depth: int) -> tuple[float, float]:
        if isinstance(node, Leaf):
            x, y = columns[-1], height[id(node)]
            here = [name for name, leaf in found.items() if leaf is node]
            axes.text(x + 0.55, y + 0.14, ", ".join(here) or "none here", va="center",
                      weight="bold" if here else "normal", color=BLUE if here else "0.5")  # fmt: skip
        else:
            below = [draw(child, depth + 1) for child in node.children]
            x, y = columns[depth], sum(y for _, y in below) / len(below)
            for to_x, to_y in below:
                axes.plot([x, x + 0.6, x + 0.6, to_x], [y, y, to_y, to_y], color="0.6", zorder=0)
        axes.text(x, y, node.name.replace(" ", "\n", 1), ha="center", va="center", linespacing=1.0,
                  bbox={"facecolor": "white", "edgecolor": "0.6", "boxstyle": "round"})  # fmt: skip
        return x, y

    draw(TREE, 0)
    return [(leaf, (columns[-1], height[id(leaf)])) for leaf in lines]


def show_masks(convs: Mapping[str, MaskedConv2d]) -> None:
    """Which inputs a masked convolution reads for the pixel in the middle, 1 or 0 in each cell.

    Drawn as the centred kernel of textbooks: the rows below the middle, which the layer does not
    store, are filled in with zeros. Shown for the first input and output channel.

    Args:
        convs: name -> layer, centred (not `left_only`).

    Example:
        >>> one = torch.zeros(1, dtype=torch.long)
        >>> show_masks({"mask A": MaskedConv2d(one, one, (2, 3), "A")})
        >>> plt.gca().get_title()
        'mask A'
        >>> plt.close()
    """
    _, row = plt.subplots(1, len(convs), figsize=(2.9 * len(convs), 3.1), squeeze=False)
    for axes, (name, conv) in zip(row[0], convs.items(), strict=True):
        stored = conv.mask[0, 0].cpu()
        rows, columns = stored.shape
        whole = torch.cat([stored, torch.zeros(rows - 1, columns)])
        axes.imshow(whole.numpy(), cmap=ListedColormap(["white", SKY]), vmin=0, vmax=1)
        for i in range(whole.shape[0]):
            for j in range(columns):
                axes.text(j, i, int(whole[i, j]), ha="center", va="center")
                axes.add_patch(
                    Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="0.8", lw=0.6)
                )
        _mark(axes, (rows - 1, columns // 2))
        axes.set_title(name)
        axes.set_axis_off()


def receptive_field(model: PixelModel, pixel: tuple[int, int], n_images: int = 16) -> Tensor:
    r"""How strongly the prediction of one pixel depends on every pixel of the input.

    The mean over random images of $|\partial \ell / \partial x_{ij}|$, where $\ell$ is the sum of the
    pixel's logits, summed over the colours of the input. It is exactly zero where the network does
    not look.

    Args:
        model: unconditional.
        pixel: (row, column).
        n_images: how many random images to average over.

    Shapes:
        -> (H, W)

    Raises:
        ValueError: the pixel lies outside the image.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> field = receptive_field(PixelCNN((1, 4, 4), channels=8, depth=1), pixel=(2, 1))
        >>> bool(field[1, 1] > 0), field[2, 1].item(), field[3, 3].item()
        (True, 0.0, 0.0)
    """
    return receptive_fields(model, [pixel], n_images)[0]


def receptive_fields(
    model: PixelModel, pixels: Sequence[tuple[int, int]], n_images: int = 16
) -> Tensor:
    """What `receptive_field` computes, of P pixels in one pass: (P, H, W).

    Raises:
        ValueError: one of the pixels lies outside the image.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> receptive_fields(PixelCNN((1, 4, 4), channels=8, depth=1), [(2, 1), (0, 0)]).shape
        torch.Size([2, 4, 4])
    """
    _, height, width = model.shape
    for i, j in pixels:
        if not (0 <= i < height and 0 <= j < width):
            raise ValueError(
                f"pixel {(i, j)} lies outside an image of {height} rows, {width} columns"
            )
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n_images, *model.shape, generator=generator).to(device)
    x = images.repeat(len(pixels), 1, 1, 1).requires_grad_()  # the same images for every pixel
    i, j = torch.tensor(pixels, device=device).repeat_interleave(n_images, dim=0).T
    logits = model(x)[torch.arange(len(x), device=device), :, :, i, j]
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    return gradient.abs().sum(dim=1).unflatten(0, (len(pixels), n_images)).mean(dim=1)


def field_layers(field: Tensor, pixel: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """What there is to draw of a receptive field: how strongly a pixel is read, and the blind spot.

    Args:
        field: (H, W), from `receptive_field`.
        pixel: (row, column) of the pixel predicted.

    Returns:
        The logarithm to base 10 of the field over its largest value, NaN where nothing is read; and
        booleans, true for what comes earlier than the pixel and is never read.

    Example:
        >>> strength, blind = field_layers(torch.tensor([[0.01, 0.0], [1.0, 0.0]]), (1, 1))
        >>> strength.tolist(), blind.tolist()
        ([[-2.0, nan], [0.0, nan]], [[False, True], [False, False]])
    """
    height, width = field.shape
    place = torch.arange(height * width).reshape(height, width)
    blind = (field == 0) & (place < pixel[0] * width + pixel[1])
    strength = torch.where(field > 0, field / field.max(), torch.nan).log10()
    return strength.numpy(), blind.numpy()


def show_receptive_fields(models: Mapping[str, PixelModel], pixel: tuple[int, int]) -> None:
    """What each model reads to predict one pixel: the receptive field, and the blind spot if any.

    Darker blue means a larger gradient (a logarithmic scale over four powers of ten); orange is earlier than the pixel
    and yet never read; white comes later. A red frame marks the pixel itself.

    Args:
        models: name -> unconditional model, all of one image size.
        pixel: (row, column) of the pixel predicted.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> show_receptive_fields({"PixelCNN": PixelCNN((1, 5, 5), channels=8, depth=1)}, (3, 2))
        >>> plt.gcf().axes[0].get_title()
        'PixelCNN'
        >>> plt.close()
    """
    figure, row = plt.subplots(1, len(models), figsize=(3.3 * len(models), 3.9), squeeze=False)
    for axes, (name, model) in zip(row[0], models.items(), strict=True):
        field = receptive_field(model, pixel).cpu()
        height, width = field.shape
        strength, blind = field_layers(field, pixel)
        axes.imshow(strength, cmap=READ, vmin=-4, vmax=0)
        axes.imshow(np.where(blind, 1.0, np.nan), cmap=ListedColormap([ORANGE]))
        axes.set_xticks(np.arange(width + 1) - 0.5, labels=[])
        axes.set_yticks(np.arange(height + 1) - 0.5, labels=[])
        axes.grid(color="0.9", linewidth=0.4)
        axes.tick_params(length=0)
        _mark(axes, pixel)
        axes.set_title(name)
    handles = [
        Patch(facecolor="#4292C6", label="read"),
        Patch(facecolor=ORANGE, label="earlier, yet never read"),
        Patch(facecolor="white", edgecolor="0.7", label="later"),
        Patch(facecolor="none", edgecolor=RED, linewidth=2, label="predicted"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def _mark(axes: Axes, pixel: tuple[int, int]) -> None:
    i, j = pixel
    axes.add_patch(
        Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=RED, linewidth=2, zorder=3)
    )


def show_predictions(model: PixelModel, image: Tensor, pixels: Sequence[tuple[int, int]]) -> None:
    """What a model expects at chosen pixels, given everything before them, and what came.

    At the left the image with the pixels framed and numbered; beside it, for each of them, the
    distribution over the levels of its first channel, the true level in red.

    Args:
        model: unconditional.
        image: (C, H, W) in [0, 1].
        pixels: (row, column) of each.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> model = PixelCNN((1, 4, 4), levels=5, channels=8, depth=1)
        >>> show_predictions(model, torch.zeros(1, 4, 4), pixels=[(0, 0), (2, 1)])
        >>> len(plt.gcf().axes)
        3
        >>> plt.close()
    """
    with torch.no_grad():
        p = model(image[None]).softmax(dim=1)[0, :, 0].cpu()  # (K, H, W)
    level = (image[0] * (model.levels - 1)).round().long().cpu()
    width = 2.2 * len(pixels)
    figure, row = plt.subplots(
        1, 1 + len(pixels), width_ratios=[1.4, *[1] * len(pixels)], figsize=(width + 3.2, 3.0)
    )
    _draw_image(row[0], image)
    for n, (axes, (i, j)) in enumerate(zip(row[1:], pixels, strict=True), start=1):
        _mark(row[0], (i, j))
        number = row[0].text(j, i, str(n), color=RED, ha="center", va="center", weight="bold")
        # an outline, or it could not be read on every grey
        number.set_path_effects([withStroke(linewidth=5, foreground="white")])
        colours = [RED if k == level[i, j] else BLUE for k in range(model.levels)]
        axes.bar(range(model.levels), p[:, i, j].numpy(), color=colours, width=0.9)
        axes.set(title=f"pixel {n}", xlabel="level", ylim=(0, 1))
    row[1].set_ylabel("probability")
    for axes in row[2:]:
        axes.set_yticklabels([])
