"""Codes of an autoencoder in the plane."""

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from genlib.plots.style import ORANGE, TEN_COLOURS


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
