"""Curves, points and paths."""

from collections.abc import Callable, Collection, Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import LogFormatter, NullLocator
from torch import Tensor

from genlib.plots.style import BLUE, COLOURS, ORANGE, RED


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
