"""What pixel models read and predict."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from genlib.autoregressive import PixelModel, field_layers, receptive_field
from genlib.autoregressive.masks import MaskedConv2d
from genlib.plots.images import _draw_image
from genlib.plots.style import BLUE, ORANGE, READ, RED, SKY


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


def show_receptive_fields(models: Mapping[str, PixelModel], pixel: tuple[int, int]) -> None:
    """What each model reads to predict one pixel: the receptive field, and the blind spot if any.

    Darker blue means a larger gradient (a logarithmic scale over four powers of ten); orange is earlier than the pixel
    and yet never read; white comes later. A red frame marks the pixel itself.

    Args:
        models: name -> unconditional model, all of one image size.
        pixel: (row, column) of the pixel predicted.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> show_receptive_fields({"PixelCNN": PixelCNN((1, 5, 5), hidden_dim=8, depth=1)}, (3, 2))
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
        >>> model = PixelCNN((1, 4, 4), levels=5, hidden_dim=8, depth=1)
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
