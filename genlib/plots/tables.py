"""Tables of probabilities."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor

from genlib.plots.style import BLUE


def show_tables(
    tables: Mapping[str, Tensor], *, rows: Sequence[str], columns: Sequence[str], title: str = ""
) -> None:
    """Small tables of shares side by side: each number written in its cell, the darker the larger.

    Args:
        tables: name -> (len(rows), len(columns)) of numbers in [0, 1].
        rows, columns: their names, written at the left and below.
        title: above the tables.

    Example:
        >>> import torch
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
