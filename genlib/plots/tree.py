"""The taxonomy as a tree."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from torch import nn

from genlib.plots.style import BLUE, RED
from genlib.taxonomy import TREE, Branch, Leaf, leaves, place


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
