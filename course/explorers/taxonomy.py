"""Explorers of lesson Taxonomy: the leaves of the tree on small data, and a threshold that refuses outliers."""

from collections.abc import Mapping

import ipywidgets
import numpy as np
import torch
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from course.explorers.core import (
    CHOSEN,
    RED,
    Explorer,
    Picture,
    fit,
    own_random_numbers,
    percents,
    show_blocks,
    tile,
)
from course.figures import draw_tree
from genlib.metrics import format_table
from genlib.plots import BLUE, ORANGE
from genlib.taxonomy import leaves, path, place

ACROSS, DOWN, PAGES = 15, 4, 5  # samples shown, and how often there are others
BINS, SHOWN = 48, 24  # of a histogram; images of each kind


class TaxonomyExplorer(Explorer):
    """What `taxonomy_explorer` makes: choose with `leaf`, see others with `more`."""

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        table: Mapping[str, Mapping[str, object]],
        truth: Tensor,
        seed: int,
    ):
        if not models:
            raise ValueError("there is nothing to explore without a model")
        on_leaf = {name: place(model) for name, model in models.items()}
        for name, leaf in on_leaf.items():
            if leaf is None:
                raise ValueError(
                    f"{name!r} is on no leaf of the tree, so there is none to show it at"
                )
            if name not in table:
                raise ValueError(f"the table has no row {name!r}, only {', '.join(table)}")
        self._here = {
            ", ".join(path(leaf)): (
                leaf,
                {name: model for name, model in models.items() if on_leaf[name] is leaf},
            )
            for leaf in leaves()
            if leaf in on_leaf.values()
        }
        self._spoken_of = sorted(frozenset[str]().union(*(leaf.methods for leaf in leaves())))
        self._table, self._page = table, 0
        real = {tuple(image.tolist()) for image in (truth.flatten(1) > 0.5)}
        with own_random_numbers(seed):
            self._samples = {
                name: (model.sample(PAGES * ACROSS * DOWN).cpu() > 0.5).float()  # type: ignore[operator]
                for name, model in models.items()
            }
        self._wrong = {
            name: torch.tensor([tuple(x.tolist()) not in real for x in images.flatten(1) > 0.5])
            for name, images in self._samples.items()
        }
        self.leaf = ipywidgets.Dropdown(
            options=list(self._here), description="leaf", layout={"width": "30em"}
        )
        self.more = ipywidgets.Button(description="other samples", icon="refresh")
        self.more.on_click(self._turn)
        picture = Picture((9.5, 7.6), about="the tree of generative models; click a leaf")
        self._make_figure(picture, models)
        places = [self._place[id(leaf)] for leaf, _ in self._here.values()]
        picture.on_click(
            self._tree, self._choose, [(x - 0.6, y - 0.5, 6.75, y + 0.5) for x, y in places]
        )
        super().__init__("taxonomy", [ipywidgets.HBox([self.leaf, self.more]), picture], picture)
        self.redraw_with(self.leaf)
        for name in reversed(self._here):  # ahead, for its words take longer to draw than to read
            self.leaf.value = name

    def _make_figure(self, picture: Picture, models: Mapping[str, nn.Module]) -> None:
        grid = picture.figure.add_gridspec(
            3, 2, height_ratios=(4.6, 1.7, 0.8), width_ratios=(5.6, 4)
        )
        self._tree = picture.figure.add_subplot(grid[0, :])
        self._place = {id(leaf): at for leaf, at in draw_tree(self._tree, models)}
        self._tree.set_ylim(-0.6, None)
        for leaf in leaves():
            x, y = self._place[id(leaf)]
            self._tree.text(x + 0.55, y - 0.2, f"p(x): {leaf.density}", va="center", color="0.3")
        self._frame = Rectangle(
            (0, 0), 3.5, 0.94, fill=False, edgecolor=CHOSEN, linewidth=2.5, clip_on=False
        )
        self._tree.add_patch(self._frame)
        shown, words, numbers = (
            picture.figure.add_subplot(cell) for cell in (grid[1, 0], grid[1, 1], grid[2, :])
        )
        for axes in (shown, words, numbers):
            axes.set_axis_off()
        blank = tile(torch.ones(ACROSS * DOWN, 1, 4, 4), ACROSS)
        self._images = show_blocks(shown, blank)
        self._title = shown.set_title(" ", loc="left")
        self._words = words.text(0, 1, "", va="top", linespacing=1.4)
        self._numbers = numbers.text(0, 1, "", va="top", family="monospace")
        picture.move_only(self._images, self._title, self._words, self._numbers, self._frame)

    def redraw(self) -> None:
        leaf, models = self._here[self.leaf.value]
        x, y = self._place[id(leaf)]
        self._frame.set_xy((x - 0.55, y - 0.47))
        images, wrong, names = self.shown()
        self._images.set_data(tile(images, ACROSS, wrong, line=0.7))
        self._title.set_text(
            f"{names}; red: {int(wrong.sum())} of {len(wrong)} are not in the data"
        )
        able = sorted(leaf.methods)
        lacks = [name for name in self._spoken_of if name not in leaf.methods]
        self._words.set_text(
            f"samples: {leaf.sampling}\ncomputes: {_lines(able)}\ndoes not: {_lines(lacks)}"
        )
        self._numbers.set_text(format_table({name: self._table[name] for name in models}))
        self.picture.draw()

    def shown(self) -> tuple[Tensor, Tensor, str]:
        """The samples in the picture (N, C, H, W), which of them are not in the data, and whose."""
        _, models = self._here[self.leaf.value]
        each = ACROSS * max(1, DOWN // len(models))
        page = slice(self._page * each, (self._page + 1) * each)
        images = torch.cat([self._samples[name][page] for name in models])
        wrong = torch.cat([self._wrong[name][page] for name in models])
        return images, wrong, ", then ".join(models)

    def _turn(self, _: ipywidgets.Button) -> None:
        self._page = (self._page + 1) % PAGES
        self.redraw()

    def _choose(self, x: float, y: float) -> None:
        for name, (leaf, _) in self._here.items():
            left, middle = self._place[id(leaf)]
            if x > left - 0.6 and abs(y - middle) < 0.5:
                self.leaf.value = name


def _lines(names: list[str], width: int = 34) -> str:
    """Names with commas, in lines that are short enough to stand beside the samples."""
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) > width:
            lines.append("")
        lines[-1] += f"{name}, "
    return "\n    ".join(lines).removesuffix(", ")


def taxonomy_explorer(
    models: Mapping[str, nn.Module],
    table: Mapping[str, Mapping[str, object]],
    truth: Tensor,
    seed: int = 0,
) -> TaxonomyExplorer:
    """The tree of generative models: choose a leaf, and see what its models draw and compute.

    Click a leaf, or choose it in the list; it is framed in green. Below the tree stand samples of the
    models on this leaf, those that are not in the data framed in red; what it can and cannot compute;
    and its part of a table. All samples are drawn when the explorer is made.

    Args:
        models: name -> model, unconditional, trained on binary images; each is on some leaf.
        table: name -> its row, for each of the models; as `format_table` takes it.
        truth: (N, C, H, W), all images that there are in the data.
        seed: of the samples.

    Raises:
        ValueError: no model, one that is on no leaf, or one that has no row in the table.

    Example:
        >>> from genlib.adversarial import GAN, MLPDiscriminator, MLPGenerator
        >>> from genlib.data import load
        >>> shape = (1, 4, 4)
        >>> gan = GAN(MLPGenerator(shape, latent_dim=2), MLPDiscriminator(shape), latent_dim=2)
        >>> table = {"GAN": {"kl": None}}
        >>> explorer = taxonomy_explorer({"GAN": gan}, table, load("bars").floats())
        >>> explorer.leaf.options
        ('implicit density, direct',)
    """
    return TaxonomyExplorer(models, table, truth, seed)


class OutlierExplorer(Explorer):
    """What `outlier_explorer` makes: choose with `kind` and `by`, refuse with `low` and `high`."""

    def __init__(
        self,
        images: Mapping[str, Tensor],
        scores: Mapping[str, Mapping[str, Tensor]],
        thresholds: Mapping[str, float],
    ):
        if len(images) < 2:
            raise ValueError("give the data and at least one kind of outliers")
        for name, x in images.items():
            for by in thresholds:
                of = scores.get(name, {}).get(by)
                if of is None or of.shape != (len(x),) or not of.isfinite().all():
                    raise ValueError(
                        f"there must be a finite score {by!r} for each of the {len(x)} images {name!r}"
                    )
        self._images, self._scores, self._thresholds = images, scores, thresholds
        self._data, *others = images
        self.kind = ipywidgets.Dropdown(options=others, description="outliers")
        self.by = ipywidgets.ToggleButtons(options=list(thresholds), description="score")
        # a pair for each score: a slider that is given other ends loses its place in the browser
        self._pairs = {by: self._sliders(by, float(at)) for by, at in thresholds.items()}
        self._moving: ipywidgets.FloatSlider | None = None
        self._drawn = ""
        picture = Picture(
            (9.5, 5.4), about="scores of data and outliers, and which images a threshold refuses"
        )
        self._make_figure(picture)
        picture.on_drag(self._axes, self._drag, self._drop)
        top = ipywidgets.HBox([self.kind, self.by])
        for pair in self._pairs.values():
            fit(ipywidgets.HBox(pair))  # also those that are not shown yet
        self._bottom = ipywidgets.HBox(self._pairs[self.by.value])
        super().__init__("outlier", [top, self._bottom, picture], picture)
        self.by.observe(self._on_score, names="value")
        self.redraw_with(
            self.by, self.kind, *(slider for pair in self._pairs.values() for slider in pair)
        )

    def _sliders(self, by: str, threshold: float) -> tuple[ipywidgets.FloatSlider, ...]:
        """Two sliders over all values of a score: refuse below, and above."""
        every = torch.cat([self._scores[name][by].flatten().cpu() for name in self._images])
        least, most = every.min().item(), every.max().item()
        return tuple(
            ipywidgets.FloatSlider(
                start,
                min=least,
                max=most,
                step=(most - least) / 400,
                readout_format=".3r",
                description=f"refuse {side}",
            )
            for side, start in (("below", threshold), ("above", most))
        )

    @property
    def low(self) -> ipywidgets.FloatSlider:
        """The lower threshold on the score that is chosen."""
        return self._pairs[self.by.value][0]

    @property
    def high(self) -> ipywidgets.FloatSlider:
        """The upper threshold on the score that is chosen."""
        return self._pairs[self.by.value][1]

    def _make_figure(self, picture: Picture) -> None:
        grid = picture.figure.add_gridspec(3, 2, height_ratios=(2.4, 1, 1))
        self._axes = picture.figure.add_subplot(grid[0, :], ylabel="share of the images", yticks=[])
        empty, edges = [0.0] * BINS, list(range(BINS + 1))
        self._stairs = [
            self._axes.stairs(empty, edges, fill=True, color=colour, alpha=0.65, label=" " * 12)
            for colour in (BLUE, ORANGE)
        ]
        self._lines = [self._axes.axvline(0, color=RED, linewidth=2) for _ in "lh"]
        self._handles = [  # a dot on each line, and an arrow in it
            Line2D([0], [0.5], marker=marker, color=colour, markersize=size, markeredgewidth=0)
            for marker, colour, size in (("o", RED, 20), (r"$\leftrightarrow$", "white", 13))
            for _ in self._lines
        ]
        for dot in self._handles:
            dot.set(transform=self._axes.get_xaxis_transform(), clip_on=False, zorder=3)
            self._axes.add_artist(dot)
        self._legend = self._axes.legend(frameon=False, loc="upper left")
        blank = tile(torch.ones(SHOWN, 1, 8, 8), SHOWN // 2)
        self._cells = {}
        for row, column in ((i, j) for i in (0, 1) for j in (0, 1)):
            axes = picture.figure.add_subplot(grid[1 + row, column])
            axes.set_axis_off()
            title = axes.set_title(" ", loc="left", style="normal" if row == column else "italic")
            self._cells[row, column] = (show_blocks(axes, blank), title)
        shown = (artist for cell in self._cells.values() for artist in cell)
        picture.move_only(*self._stairs, *self._lines, *self._handles, self._legend, *shown)

    def _on_score(self, _: object) -> None:
        self._bottom.children = self._pairs[self.by.value]

    def refused(self, name: str) -> Tensor:
        """Which images of the data, or of a kind of outliers, are refused: booleans (N,)."""
        score = self._scores[name][self.by.value].cpu()
        return (score < self.low.value) | (score > self.high.value)

    @property
    def errors(self) -> dict[str, float]:
        """The share of the data that is refused, and the share of the outliers that pass."""
        return {
            "data refused": self.refused(self._data).float().mean().item(),
            "outliers let pass": 1 - self.refused(self.kind.value).float().mean().item(),
        }

    def redraw(self) -> None:
        least, most = self.low.min, self.low.max
        edges = torch.linspace(least, most, BINS + 1)
        highest = 0.0
        for i, name in enumerate((self._data, self.kind.value)):
            score, refused = self._scores[name][self.by.value].cpu(), self.refused(name)
            share = torch.histc(score, BINS, least, most) / len(score)
            highest = max(highest, share.max().item())
            self._stairs[i].set_data(share.numpy(), edges.numpy())
            self._legend.get_texts()[i].set_text(name)
            share_of = percents([int((~refused).sum()), int(refused.sum())])
            for j, chosen in enumerate((~refused, refused)):
                image, title = self._cells[i, j]
                what = "refused" if j else "let pass"
                mistake = " by mistake" if i != j else ""
                title.set_text(
                    f"{name} {what}{mistake}: {int(chosen.sum())} of {len(chosen)}, {share_of[j]} %"
                )
                image.set_data(self._nearest(name, chosen))
        thresholds = (self.low.value, self.high.value)
        for line, threshold in zip(self._lines, thresholds, strict=True):
            line.set_xdata([threshold, threshold])
        for dot, threshold in zip(self._handles, 2 * thresholds, strict=True):
            dot.set_xdata([threshold])
        beside = 0.02 * (most - least)
        self._axes.set(
            xlim=(least - beside, most + beside), ylim=(0, 1.05 * highest), xlabel=self.by.value
        )
        self.picture.draw(everything=self.by.value != self._drawn)  # another score, another axis
        self._drawn = self.by.value

    def _nearest(self, name: str, chosen: Tensor) -> np.ndarray:
        """Of the images chosen, those whose score is nearest to a threshold, nearest first."""
        score = self._scores[name][self.by.value].cpu()[chosen]
        distance = torch.minimum((score - self.low.value).abs(), (score - self.high.value).abs())
        images = self._images[name].cpu()[chosen][distance.argsort()[:SHOWN]]
        white = torch.ones(SHOWN - len(images), *self._images[name].shape[1:])
        return tile(torch.cat([images, white]), SHOWN // 2)

    def _drag(self, x: float, y: float) -> None:
        if self._moving is None:  # the line that is nearer at the start is the one that moves
            self._moving = min((self.low, self.high), key=lambda slider: abs(slider.value - x))
        self._moving.value = min(max(x, self._moving.min), self._moving.max)

    def _drop(self) -> None:
        self._moving = None


def outlier_explorer(
    images: Mapping[str, Tensor],
    scores: Mapping[str, Mapping[str, Tensor]],
    thresholds: Mapping[str, float],
) -> OutlierExplorer:
    """Move a threshold on a score, and see which images it refuses: rightly, or by mistake.

    An image is refused if its score lies below the lower threshold or above the upper one, which
    refuses nothing at first. Drag a threshold in the picture or move its slider. Of each sort the
    images nearest to a threshold are shown, and both kinds of mistake are counted.

    Args:
        images: name -> (N, C, H, W) in [0, 1]; the data first, then the kinds of outliers.
        scores: name -> name of a score -> (N,), finite: higher means more like the data.
        thresholds: name of a score -> where its lower threshold starts.

    Raises:
        ValueError: no kind of outliers, or not one finite score for each image.

    Example:
        >>> images = {"digits": torch.rand(5, 1, 8, 8), "blank": torch.zeros(1, 1, 8, 8)}
        >>> scores = {"digits": {"ink": torch.arange(5.0)}, "blank": {"ink": torch.zeros(1)}}
        >>> explorer = outlier_explorer(images, scores, {"ink": 1.0})
        >>> {name: round(share, 2) for name, share in explorer.errors.items()}
        {'data refused': 0.2, 'outliers let pass': 0.0}
    """
    return OutlierExplorer(images, scores, thresholds)
