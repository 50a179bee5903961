"""Curves and points."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.patches import Circle
from matplotlib.ticker import LogFormatter, NullLocator
from torch import Tensor

from genlib.plots.style import BLUE, RED


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


def show_points(
    panels: Mapping[str, Tensor], *, modes: Tensor, radius: float, limit: float = 3.0
) -> None:
    """Points in the plane, a panel for each generator, with rings around the modes of the data.

    Args:
        panels: title -> points (N, 2); two thousand can still be seen.
        modes: (M, 2), a ring around each.
        radius: of the rings.
        limit: the panels reach from -limit to limit along both axes.

    Example:
        >>> import torch
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
