"""Explorers of flow matching: how straight flows are in the plane, and images on their way from noise."""

import math
from collections.abc import Mapping

import ipywidgets
import numpy as np
import torch
from matplotlib.patches import Circle
from torch import Tensor

from course.explorers.core import (
    Explorer,
    Picture,
    bare,
    own_random_numbers,
    rounded,
    show_blocks,
    tile,
)
from genlib.data import EightGaussians
from genlib.flow_matching import FlowMatching, straightness
from genlib.metrics import mode_counts
from genlib.ode import Velocity, solve
from genlib.plots import COLOURS
from genlib.validation import at_least_one

DRAWN = 60  # paths that are drawn; the numbers are of all points
MOST, FINE = 50, 200  # steps that can be chosen, and those of the ends to compare with
KNOTS = (1, 2, 3, 4, 6, 8, 12, 16, 25, 50)  # steps at which a curve is computed
LINES = ("-", "--", "-.", ":")  # so that curves differ in more than colour
KEPT = 64  # trajectories of images, the latest


def euler(velocity: Velocity, start: Tensor, steps: int) -> Tensor:
    """All the places where Euler's method stops on its way from t = 0 to t = 1, (steps + 1, B, ...).

    Example:
        >>> euler(lambda x, t: 2 * torch.ones_like(x), torch.zeros(1), steps=2).flatten().tolist()
        [0.0, 1.0, 2.0]
    """
    times, stops = torch.linspace(0, 1, steps + 1).to(start), [start]
    for i in range(steps):
        stops.append(solve(velocity, stops[-1], times[i : i + 2], solver="euler"))
    return torch.stack(stops)


class PathsExplorer(Explorer):
    """See `paths_explorer`."""

    def __init__(
        self,
        models: Mapping[str, FlowMatching],
        density: EightGaussians,
        points: int,
        seed: int,
    ):
        if not models:
            raise ValueError("there must be at least one model: its name and a FlowMatching")
        if len(models) > len(COLOURS):
            raise ValueError(f"there are colours for {len(COLOURS)} models, not for {len(models)}")
        for name, model in models.items():
            if model.shape != (2,) or model.n_classes:
                raise ValueError(
                    "each model must be an unconditional one of points in the plane, (2,); "
                    f"{name!r} has shape {tuple(model.shape)} and {model.n_classes} classes"
                )
        at_least_one("points", points)
        self._models, self._density, self._points, self.seed = dict(models), density, points, seed
        self._new_noise()

        names = list(models)
        self.model = ipywidgets.ToggleButtons(options=names, description="model")
        self.steps = ipywidgets.IntSlider(4, min=1, max=MOST, description="Euler steps")
        self.again = ipywidgets.Button(description="other noise", icon="refresh")
        picture = Picture(
            (8.6, 5.2), about="paths from noise to samples, and their error against Euler steps"
        )
        plane, axes = picture.figure.subplots(1, 2, width_ratios=[1.4, 1])
        bare(plane)
        plane.set_title("from noise (circles) to ends (dots)")
        radius = 3 * density.std
        reach = max(3.5, density.means.abs().max().item() + radius + 0.2)
        plane.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        for mean in density.means.tolist():
            plane.add_patch(Circle(mean, radius, facecolor="0.9", edgecolor="0.6", linewidth=0.5))
        plane.plot(*density.means.T, "+", color="black", markersize=7)
        (self._paths,) = plane.plot([], [], ".-", color="0.45", linewidth=0.7)
        (self._starts,) = plane.plot([], [], "o", color="white", markersize=4)
        self._starts.set_markeredgecolor("black")
        (self._ends,) = plane.plot([], [], "o", markersize=4.5, markeredgecolor="white")
        self._ends.set_markeredgewidth(0.5)

        self._colours = dict(zip(names, COLOURS, strict=False))
        self._curves = {}
        for i, name in enumerate(names):
            (self._curves[name],) = axes.plot(
                [], [], LINES[i % 4], marker=".", color=self._colours[name], label=name
            )
        self._at = axes.axvline(1, color="0.5", linewidth=1)
        (self._marker,) = axes.plot([], [], "o", markersize=9, markeredgecolor="black")
        errors = [self.error(name, steps) for name in names for steps in KNOTS]
        # whole powers of ten, kept for all noise: a network's error hardly depends on it
        low = math.floor(math.log10(max(min(errors), 1e-5) / 1.3))
        high = math.ceil(math.log10(max(max(errors), 1e-5) * 1.3))
        decades = [10.0**power for power in range(low, high + 1)]
        self._least, self._most = decades[0], decades[-1]
        axes.set(
            xscale="log", yscale="log", xlim=(0.9, 1.1 * MOST), ylim=(self._least, self._most),
            xlabel="Euler steps", ylabel=f"mean distance from ends of {FINE} steps",
        )  # fmt: skip
        axes.set_xticks(ticks := [1, 2, 5, 10, 20, 50], labels=[f"{tick}" for tick in ticks])
        axes.set_yticks(decades, labels=[f"{decade:g}" for decade in decades])
        axes.minorticks_off()
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        picture.figure.legend(
            handles=list(self._curves.values()), loc="outside lower center", ncols=3, frameon=False
        )
        self._title = picture.figure.suptitle("name\nand numbers", fontsize=12)
        picture.draw()  # the layout has room for the title's two lines
        picture.move_only(
            self._title, self._paths, self._starts, self._ends, self._at, *self._curves.values(),
            self._marker,
        )  # fmt: skip
        top = ipywidgets.HBox([self.steps, self.again])
        super().__init__("paths", [self.model, top, picture], picture)
        self.again.on_click(self._other)
        self.redraw_with(self.model, self.steps)

    def _new_noise(self) -> None:
        with own_random_numbers(self.seed):
            self.noise = torch.randn(self._points, 2)
        self._known: dict[tuple[str, int], Tensor] = {}
        self._straight: dict[str, float] = {}

    def _other(self, _: object) -> None:
        with self.together():
            self.seed += 1
            self._new_noise()

    def _start(self, name: str) -> Tensor:
        return self.noise.to(next(self._models[name].parameters(), self.noise))

    @torch.no_grad()
    def path(self, name: str, steps: int) -> Tensor:
        """Where a model's points are after each of so many Euler steps, (steps + 1, points, 2)."""
        if (name, steps) not in self._known:
            self._known[name, steps] = euler(
                self._models[name].velocity, self._start(name), steps
            ).cpu()
        return self._known[name, steps]

    def error(self, name: str, steps: int) -> float:
        """How far the ends are from those of 200 steps, as a mean over all points."""
        away = self.path(name, steps)[-1] - self.path(name, FINE)[-1]
        return away.norm(dim=1).mean().item()

    def straightness(self, name: str) -> float:
        """See `genlib.flow_matching.straightness`; of all points."""
        if name not in self._straight:
            self._straight[name] = straightness(self._models[name].velocity, self._start(name))
        return self._straight[name]

    def share(self, name: str, steps: int) -> float:
        """Of the ends, how many lie within 3 standard deviations of a mode."""
        ends = self.path(name, steps)[-1]
        means = self._density.means.to(ends)
        return mode_counts(ends, means, radius=3 * self._density.std).sum().item() / len(ends)

    def _shown(self, error: float) -> float:
        return min(max(error, self._least), self._most)

    def redraw(self) -> None:
        name, steps = self.model.value, self.steps.value
        path = self.path(name, steps)[:, :DRAWN]
        # one line with gaps: NaN ends each path
        gap = path.new_full((1, *path.shape[1:]), torch.nan)
        self._paths.set_data(*torch.cat([path, gap]).transpose(0, 1).flatten(0, 1).T)
        self._paths.set_markersize(min(3.5, 24 / steps))  # many would hide the line
        self._starts.set_data(*path[0].T)
        self._ends.set_data(*path[-1].T)
        self._ends.set_markerfacecolor(self._colours[name])
        for each, curve in self._curves.items():
            curve.set_data(KNOTS, [self._shown(self.error(each, knot)) for knot in KNOTS])
        self._at.set_xdata([steps, steps])
        error = self.error(name, steps)
        self._marker.set_data([steps], [self._shown(error)])
        self._marker.set_markerfacecolor(self._colours[name])
        many = "1 step" if steps == 1 else f"{steps} steps"
        self._title.set_text(
            f"{name}, {many}: ends are {rounded(error)} from those of {FINE} steps\n"
            f"straightness {rounded(self.straightness(name))} (0: straight lines), "
            f"{100 * self.share(name, steps):.0f} % of ends within 3 std of a mode"
        )
        self.picture.draw()


def paths_explorer(
    models: Mapping[str, FlowMatching],
    *,
    density: EightGaussians,
    points: int = 300,
    seed: int = 0,
) -> PathsExplorer:
    r"""Follow flows from noise to samples with 1 to 50 Euler steps: straight ones need few.

    All models start from the same noise. The plane shows the paths of 60 points, from circles to dots; a small dot is a
    step, a grey disc is what lies within 3 standard deviations of a mode. The curves show for each model how far its
    ends are from those of 200 steps, as a mean distance. An error beyond the limits of the axes, which stay as the
    first noise needs them, is drawn at their border. The numbers of the title are of all points.

    Args:
        models: by name, of points (2,), without labels. A `MeanFlow` is followed by its `velocity`, not in jumps.
        density: whose modes are shown.
        points: that are carried.
        seed: of the noise.

    Raises:
        ValueError: no model or more than six, models of another shape or with labels, points below 1.

    Example:
        >>> models = {"independent": FlowMatching((2,)), "optimal transport": FlowMatching((2,))}
        >>> explorer = paths_explorer(models, density=EightGaussians(), points=20)
        >>> explorer.model.value, explorer.steps.value = "optimal transport", 3
        >>> explorer.path("optimal transport", 3).shape
        torch.Size([4, 20, 2])
    """
    return PathsExplorer(models, density, points, seed)


class FlowExplorer(Explorer):
    """See `flow_explorer`."""

    def __init__(self, model: FlowMatching, seed: int, images: int):
        if len(model.shape) != 3 or not model.n_classes:
            raise ValueError(
                "the model must be a conditional one of images: build it with n_classes; "
                f"this one has shape {tuple(model.shape)} and {model.n_classes} classes"
            )
        at_least_one("images", images)
        self._model, self._images = model, images
        with own_random_numbers(seed):
            noise = torch.randn(images, *model.shape)
        self.noise = noise.to(next(model.parameters(), noise))
        self._known: dict[tuple[int, int, float], Tensor] = {}

        last = model.n_classes - 1
        self.label = ipywidgets.IntSlider(0, min=0, max=last, description="label")
        self.steps = ipywidgets.IntSlider(16, min=1, max=32, description="Euler steps")
        self.guidance = ipywidgets.FloatSlider(1, min=0, max=5, step=0.25, description="guidance w")
        self.time = ipywidgets.FloatSlider(0.5, min=0, max=1, step=0.01, description="time t")
        _, height, width = model.shape
        row = min(8.3 / images, 2.0) * height / width
        picture = Picture(
            (8.6, 2 * row + 1.2), about="images on their way from noise, and the ends expected"
        )
        self._rows = []
        titles = [r"on the way: $x_t$", r"expected at the end: $E[x_1 \mid x_t]$"]
        for axes, title in zip(picture.figure.subplots(2, 1), titles, strict=True):
            axes.set_title(title)
            bare(axes)
            self._rows.append(show_blocks(axes, self._tiled(self.noise)))
        self._title = picture.figure.suptitle("label and numbers")
        picture.draw()  # the layout has room for the title
        picture.move_only(self._title, *self._rows)
        top = ipywidgets.HBox([self.label, self.steps])
        bottom = ipywidgets.HBox([self.guidance, self.time])
        super().__init__("flow", [top, bottom, picture], picture)
        self.redraw_with(self.label, self.steps, self.guidance, self.time)

    def _tiled(self, x: Tensor) -> np.ndarray:
        """Images in the scale inside as one row; lines are grey, since images may be white."""
        return tile(((x + 1) / 2).clamp(0, 1), columns=self._images, line=0.6)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """The model's velocity with the label and the guidance chosen, (images, C, H, W)."""
        y, w = torch.full((len(x),), self.label.value, device=x.device), self.guidance.value
        if w == 0:
            return self._model.velocity(x, t)
        told = self._model.velocity(x, t, y=y)
        if w == 1:
            return told
        untold = self._model.velocity(x, t)
        return untold + w * (told - untold)

    @torch.no_grad()
    def trajectory(self) -> Tensor:
        """The images after each Euler step with the settings chosen, (steps + 1, images, C, H, W)."""
        settings = self.label.value, self.steps.value, self.guidance.value
        if settings not in self._known:
            if len(self._known) == KEPT:
                del self._known[next(iter(self._known))]  # the oldest
            self._known[settings] = euler(self.velocity, self.noise, self.steps.value)
        return self._known[settings]

    @torch.no_grad()
    def seen(self) -> dict[str, Tensor]:
        r"""What is shown, (images, C, H, W) in the scale inside: "x_t", and "expected", $E[x_1 \mid x_t]$."""
        stops, steps = self.trajectory(), self.steps.value
        # between two stops Euler's method goes straight on
        before = min(int(self.time.value * steps), steps - 1)
        x_t = torch.lerp(stops[before], stops[before + 1], self.time.value * steps - before)
        t = torch.full((len(x_t),), self.time.value, device=x_t.device, dtype=x_t.dtype)
        return {"x_t": x_t, "expected": self._model.path.ends(x_t, self.velocity(x_t, t), t)[0]}

    def redraw(self) -> None:
        for shown, x in zip(self._rows, self.seen().values(), strict=True):
            shown.set_data(self._tiled(x))
        w, steps = self.guidance.value, self.steps.value
        passes = steps if w in (0, 1) else 2 * steps
        self._title.set_text(
            f"label {self.label.value}, guidance w = {w:g}, t = {self.time.value:.2f}; "
            f"{passes} passes of the network in all"
        )
        self.picture.draw()


def flow_explorer(model: FlowMatching, *, seed: int = 0, images: int = 8) -> FlowExplorer:
    r"""Move images from noise to samples, by label, Euler steps and guidance, and see where the model takes them.

    The first row is $x_t$ on the way, the noise at t = 0 and the samples at t = 1; all settings start from the same
    noise. The second row is the end that the model expects from there, $E[x_1 \mid x_t]$, which its velocity at $x_t$
    determines: see `genlib.flow_matching.Path.ends`. Guidance w = 0 forgets the label, 1 is the conditional model,
    and the end is that of the guided velocity. Both rows are clipped to [0, 1].

    Args:
        model: of images, with labels.
        seed: of the noise.
        images: in a row.

    Raises:
        ValueError: a model of points or without labels, images below 1.

    Example:
        >>> model = FlowMatching((1, 8, 8), n_classes=3)
        >>> explorer = flow_explorer(model, images=2)
        >>> explorer.label.value, explorer.time.value = 2, 0.0
        >>> torch.equal(explorer.seen()["x_t"], explorer.noise)
        True
    """
    return FlowExplorer(model, seed, images)
