"""Figures made of images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from torch import Tensor

from genlib.plots.style import NOT_THERE


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
        names: of the rows, at the left.
        titles: of the images, above each.
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
            imshow(axes, image, extent=(x, x + wide, y + high, y), aspect="auto")
            frames.append(Rectangle((x, y), wide, high))
            if titles:
                axes.text(x + wide / 2, y - 0.05, next(above), ha="center")
    # a thin frame, or a white image ends nowhere
    frame = PatchCollection(frames, facecolor="none", edgecolor="0.6", linewidth=0.5, zorder=3)
    frame.set_clip_on(False)
    axes.add_collection(frame)
    if title:
        figure.suptitle(title)


def imshow(axes: Axes, image: Tensor, **where: Any) -> None:
    """An image (C, H, W), grey or in colour; what is NaN is "not there"."""
    picture = image.detach().float().cpu().permute(1, 2, 0).numpy()
    if picture.shape[2] == 1:
        grey = plt.get_cmap("gray").with_extremes(bad=NOT_THERE)
        axes.imshow(np.ma.masked_invalid(picture[:, :, 0]), cmap=grey, vmin=0, vmax=1, **where)
    else:
        axes.imshow(np.where(np.isnan(picture), to_rgb(NOT_THERE), picture), **where)


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
