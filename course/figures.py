"""Figures that one lesson or two need; those that serve all are in `genlib.plots`, whose style these share."""

from collections.abc import Callable, Collection, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor, nn

from genlib.autoregressive import PixelModel, receptive_field
from genlib.autoregressive.masks import MaskedConv2d
from genlib.plots import BLUE, COLOURS, ORANGE, RED, SKY
from genlib.plots.images import imshow
from genlib.taxonomy import TREE, Branch, Leaf, leaves, place

READ = LinearSegmentedColormap.from_list("read", ["#C6DBEF", "#08306B"])  # its weakest is not white


# The tree of lesson taxonomy. ---------------------------------------------------------------------


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
    figure, axes = plt.subplots(figsize=(12, 0.85 * len(list(leaves())) + 0.5 + 0.35 * bool(title)))
    found = draw_tree(axes, models)
    axes.set_xlim(right=8.6)  # room for six names on one leaf
    for leaf, (x, y) in found:
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
        [('tractable', 6.0), ('tractable by an ODE', 5.0)]
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


# What a pixel model reads and expects: lessons pixelrnn and pixelcnn. -----------------------------


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


def _draw_image(axes: Axes, image: Tensor) -> None:
    """One image in axes that are there already, with a frame around it and no ticks."""
    imshow(axes, image)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():  # a thin frame, or a white image ends nowhere
        spine.set(visible=True, color="0.6", linewidth=0.5)


def _mark(axes: Axes, pixel: tuple[int, int]) -> None:
    i, j = pixel
    axes.add_patch(
        Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=RED, linewidth=2, zorder=3)
    )


# Curves and paths of two players: lesson gan. -----------------------------------------------------


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


def show_flows(
    panels: Mapping[str, Tensor], *, modes: Tensor | None = None, limit: float = 3.0
) -> None:
    """Paths from noise to data, a panel each: on the line against time, in the plane seen from above.

    Args:
        panels: title -> places at even times from 0 to 1, (times, N, 1) or (times, N, 2).
        modes: (M, 2), a cross at each, in the plane.
        limit: the panels reach from -limit to limit.

    Raises:
        ValueError: places that lie neither on a line nor in a plane.

    Example:
        >>> show_flows({"noise to 0": torch.tensor([[[-1.0], [2.0]], [[0.0], [0.0]]])})
        >>> plt.gca().get_xlabel(), len(plt.gca().lines)
        ('time t', 2)
        >>> plt.close()
    """
    n = len(panels)
    size = (10, 0.6 + 10 / max(n, 3)) if n > 2 else (10, 3.8)
    figure, row = plt.subplots(1, n, figsize=size, squeeze=False, sharey=True)
    for axes, (title, paths) in zip(row[0], panels.items(), strict=True):
        if paths.ndim != 3 or paths.shape[2] not in (1, 2):
            raise ValueError(
                f"paths of {title!r} must be (times, N, 1) or (times, N, 2), not {tuple(paths.shape)}"
            )
        axes.set_title(title)
        if paths.shape[2] == 1:
            times = torch.linspace(0, 1, len(paths))
            axes.plot(times, paths[:, :, 0], color=BLUE, linewidth=0.8, alpha=0.7)
            axes.set(xlabel="time t", xlim=(0, 1), ylim=(-limit, limit), xticks=[0, 0.5, 1])
            continue
        for path in paths.unbind(dim=1):
            axes.plot(*path.T, color=BLUE, linewidth=0.7, alpha=0.6)
        axes.spines[:].set_visible(True)
        axes.plot(*paths[0].T, ".", color="0.6", markersize=4)
        axes.plot(*paths[-1].T, ".", color=ORANGE, markersize=5)
        if modes is not None:
            axes.plot(*modes.T, "+", color="black", markersize=9)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
    if next(iter(panels.values())).shape[2] == 1:
        row[0, 0].set_ylabel("place")


# All models in one plane: lesson comparison. ------------------------------------------------------


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
