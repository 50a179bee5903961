"""Explorers of diffusion: what the denoiser and the score say as noise comes, and what guidance draws."""

import ipywidgets
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor

from course.explorers.core import (
    Explorer,
    Picture,
    as_pixels,
    bare,
    own_random_numbers,
    rounded,
    show_blocks,
    show_image,
)
from genlib.data import EightGaussians
from genlib.diffusion import CosineSchedule, Diffusion, draw, ideal_denoiser
from genlib.plots import BLUE, ORANGE
from genlib.validation import at_least_one, check_images

DOTS = 400  # of the cloud
REACH, ARROWS = 3.4, 17  # half the side of the plane shown, and arrows along its middle
CELLS = 200  # along each side of the square on which a law is summed up
LAW = LinearSegmentedColormap.from_list("law", ["white", "0.45"])


class DenoisingExplorer(Explorer):
    """See `denoising_explorer`."""

    def __init__(
        self,
        model: Diffusion,
        images: Tensor,
        training: Tensor,
        points: Diffusion,
        density: EightGaussians,
        seed: int,
    ):
        if len(model.shape) != 3 or points.shape != (2,):
            raise ValueError(
                "the first model must be of images and the second of points in the plane, "
                f"not of shapes {model.shape} and {points.shape}"
            )
        for some in (images, training):
            check_images(
                some, (model.shape[0], model.shape[1], model.shape[2]), model.levels or None
            )
        ends = torch.tensor([0.0, 0.5, 1.0])
        if not torch.equal(model.schedule.log_snr(ends), points.schedule.log_snr(ends)):
            raise ValueError("both models must have the same schedule: there is one slider of time")
        self._model, self._points, self._density, self.seed = model, points, density, seed
        self._at, self._plane = (next(it.parameters()) for it in (model, points))
        self._images, self._known = (2 * some.to(self._at) - 1 for some in (images, training))
        with own_random_numbers(seed):
            self._dots = density.sample(DOTS).double()
        side = torch.linspace(-REACH, REACH, ARROWS + 2)[1:-1].double()
        places = torch.cartesian_prod(side, side)
        # in the corners are no points, but the longest arrows: all others would be too short to see
        self.places = places[places.norm(dim=1) < REACH]  # (arrows, 2)

        self.time = ipywidgets.FloatSlider(0.4, min=0, max=1, step=0.01, description="time t")
        self.image = ipywidgets.IntSlider(0, min=0, max=len(images) - 1, description="image")
        self.field = ipywidgets.ToggleButtons(options=["exact", "learnt"], description="score")
        self.again = ipywidgets.Button(description="other noise", icon="refresh")
        picture = Picture(
            (8.6, 4.9), about="an image, its noisy form, two denoised ones, and a score field"
        )
        grid = picture.figure.add_gridspec(2, 3, width_ratios=[1, 1, 2.25])
        self._shown = []
        titles = [
            "image $x$", "noisy $x_t$", r"network's $E[x \mid x_t]$", "ideal, training set",
        ]  # fmt: skip
        for i, title in enumerate(titles):
            axes = picture.figure.add_subplot(grid[i // 2, i % 2])
            axes.set_title(title)
            self._shown.append(show_image(axes, images[0]))
        plane = picture.figure.add_subplot(grid[:, 2])
        (self._cloud,) = plane.plot([], [], ".", color=BLUE, markersize=4)
        # lengths are set anew at each time: scores at little noise are hundreds of times as long
        self._arrows = plane.quiver(
            *self.places.T, *self.places.T, color=ORANGE, angles="xy", scale_units="xy", width=0.005
        )
        bare(plane)
        plane.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
        self._title = plane.set_title("score, learnt: off by 00.0 %, longest arrow 00.00")
        self._numbers = picture.figure.suptitle(
            "t = 0.00:  log SNR = −0.00,  $\\alpha_t$ = 0.00,  $\\sigma_t$ = 0.00"
        )
        picture.draw()  # the layout has room for the longest texts
        picture.move_only(*self._shown, self._cloud, self._arrows, self._title, self._numbers)
        bottom = ipywidgets.HBox([self.field, self.again])
        super().__init__(
            "denoising", [ipywidgets.HBox([self.time, self.image]), bottom, picture], picture
        )
        self._new_noise()
        self.again.on_click(self._other)
        self.redraw_with(self.time, self.image, self.field)

    def _new_noise(self) -> None:
        with own_random_numbers(self.seed):
            self._noise = torch.randn(1, *self._model.shape).to(self._at)
            self._push = torch.randn(DOTS, 2).double()

    def _other(self, _: object) -> None:
        with self.together():
            self.seed += 1
            self._new_noise()

    def _level(self, at: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """The time chosen, alpha and sigma, each (n,), as `at`."""
        t = torch.full((n,), self.time.value, device=at.device, dtype=at.dtype)
        return t, self._model.schedule.alpha(t), self._model.schedule.sigma(t)

    @torch.no_grad()
    def denoised(self) -> dict[str, Tensor]:
        """Of the image chosen: "x", "x_t", and E[x | x_t] by the "network" and the "ideal", (1, C, H, W) each.

        All are in the scale inside, [-1, 1] for an image; the ideal denoiser is that of the training set.
        """
        x = self._images[self.image.value, None]
        t, alpha, sigma = self._level(x, 1)
        x_t = alpha * x + sigma * self._noise
        ideal = ideal_denoiser(x_t, alpha=alpha, sigma=sigma, data=self._known)
        return {"x": x, "x_t": x_t, "network": self._model.denoise(x_t, t), "ideal": ideal}

    @property
    def cloud(self) -> Tensor:
        """The points with the noise of the time chosen, (DOTS, 2)."""
        _, alpha, sigma = self._level(self._dots, 1)
        return alpha * self._dots + sigma * self._push

    @torch.no_grad()
    def score(self, x_t: Tensor, which: str) -> Tensor:
        """The "exact" or the "learnt" score at points (N, 2), at the time chosen, -> (N, 2)."""
        if which == "learnt":
            t, _, _ = self._level(self._plane, len(x_t))
            return self._points.score(x_t.to(self._plane), t).to(x_t)
        _, alpha, sigma = self._level(x_t, len(x_t))
        mean = ideal_denoiser(
            x_t, alpha=alpha, sigma=sigma, data=self._density.means, std=self._density.std
        )
        return (alpha[:, None] * mean - x_t) / sigma[:, None] ** 2

    @property
    def off_by(self) -> float:
        """How far the learnt score is from the exact one at the cloud's points: root mean square, relative."""
        exact, learnt = (self.score(self.cloud, which) for which in self.field.options)
        return ((learnt - exact).norm() / exact.norm()).item()

    def redraw(self) -> None:
        for shown, image in zip(self._shown, self.denoised().values(), strict=True):
            shown.set_data(as_pixels(((image[0] + 1) / 2).clamp(0, 1)))
        self._cloud.set_data(*self.cloud.T)
        arrows = self.score(self.places, self.field.value)
        longest = arrows.norm(dim=1).max().item()
        self._arrows.set_UVC(*arrows.T.numpy())
        self._arrows.scale = longest
        words = f"score, {self.field.value}"
        if self.field.value == "learnt":
            words += f": off by {rounded(100 * self.off_by, 2)} %"
        self._title.set_text(f"{words}, longest arrow {rounded(longest)}")
        t, alpha, sigma = self._level(self.places, 1)
        snr = f"{self._model.schedule.log_snr(t).item():.2f}".replace("-", "−")
        self._numbers.set_text(
            f"t = {t.item():.2f}:  log SNR = {snr},  $\\alpha_t$ = {alpha.item():.2f},  "
            f"$\\sigma_t$ = {sigma.item():.2f}"
        )
        self.picture.draw()


def denoising_explorer(
    model: Diffusion,
    images: Tensor,
    training: Tensor,
    *,
    points: Diffusion,
    density: EightGaussians,
    seed: int = 0,
) -> DenoisingExplorer:
    r"""Move through time: an image with its noise, what denoisers make of it, and a score field in the plane.

    Beside the network's $E[x \mid x_t]$ stands that of the ideal denoiser of the training set, which knows these
    images and no others. The field is $\nabla \log p_t$, exact for the mixture or by the network, drawn so that its
    longest arrow always has the same length, which the title gives. "Off by" is the root mean squared
    difference between both fields at the points of the cloud, in percent of that of the exact one from zero.

    Args:
        model: of images.
        images: (N, C, H, W) in [0, 1] to choose from.
        training: (M, C, H, W) in [0, 1], what the ideal denoiser knows.
        points: a model of points (2,), with the schedule of `model`.
        density: that of the points.
        seed: of points and noise.

    Raises:
        ValueError: models of other shapes or of two schedules, images that the model was not built for.

    Example:
        >>> model, points = Diffusion((1, 8, 8)), Diffusion((2,))
        >>> images = torch.rand(5, 1, 8, 8)
        >>> explorer = denoising_explorer(model, images, images, points=points, density=EightGaussians())
        >>> explorer.time.value = 0.0  # hardly any noise: the ideal denoiser knows the image again
        >>> said = explorer.denoised()
        >>> torch.allclose(said["ideal"], said["x"])
        True
    """
    return DenoisingExplorer(model, images, training, points, density, seed)


class _Panel:
    """Samples in the plane, blue where they obey the label, on cells that are the darker, the more probable.

    Args:
        axes: where to draw.
        name: of the law of the cells.
        means: (classes, 2), one of them that of `label`.
        span: half the side of the square of cells.
        room: half the side of the part that is shown.
    """

    def __init__(
        self, axes: Axes, name: str, *, means: Tensor, label: int, span: float, room: float
    ):
        bare(axes)
        extent = (-span, span, -span, span)
        self.cells = show_blocks(axes, np.zeros((CELLS, CELLS)), extent, LAW)
        (modes,) = axes.plot(*means.T, "+", color="black", markersize=7)
        (self.yes,) = axes.plot([], [], ".", color=BLUE, markersize=2.5, label="label obeyed")
        (self.no,) = axes.plot([], [], ".", color=ORANGE, markersize=2.5, label="not obeyed")
        self._name, self.title = name, axes.set_title("")
        self.artists = (self.cells, modes, *axes.spines.values(), self.yes, self.no, self.title)
        # guidance moves samples outwards: there is more room on that side
        x, y = (0.45 * means[label]).tolist()
        axes.set(xlim=(x - room, x + room), ylim=(y - room, y + room))

    def show(self, w: float, share: Tensor, x: Tensor, obeyed: Tensor, numbers: dict) -> None:
        """Show shares (cells,) and samples (N, 2), and write their numbers above."""
        self.cells.set_data((share / share.max()).view(CELLS, CELLS).numpy())
        self.yes.set_data(*x[obeyed].T)
        self.no.set_data(*x[~obeyed].T)
        self.title.set_text(
            f"w = {w:g}: label obeyed {_percent(numbers['obeyed'])}, spread {numbers['spread']:.2f}\n"
            f"grey, ${self._name}$: {_percent(numbers['obeyed in grey'])}, "
            f"spread {numbers['spread in grey']:.2f}\nmeans {numbers['apart']:.2f} apart"
        )


def _percent(share: float) -> str:
    return f"{rounded(100 * share)} %" if share < 1 else "100 %"


class GuidanceExplorer(Explorer):
    """See `guidance_explorer`."""

    def __init__(self, density: EightGaussians, label: int, samples: int, steps: int, seed: int):
        at_least_one("samples", samples)
        at_least_one("steps", steps)
        self._means, self._std, self._steps = density.means, density.std, steps
        if not 0 <= label < len(self._means):
            raise ValueError(f"label must be one of 0 to {len(self._means) - 1}, not {label}")
        self.label = label
        self._schedule = CosineSchedule(9.0, -9.0)  # so wide that its ends add no error to speak of
        with own_random_numbers(seed):
            self._noise = torch.randn(samples, 2)
        self._drawn: dict[float, Tensor] = {}
        radius = self._means.norm(dim=1).max().item()
        span = radius + 6 * self._std  # what lies outside weighs nothing
        side = (torch.arange(CELLS).double() + 0.5) / CELLS * 2 * span - span
        # in the order of an image, the top row first
        y, x = torch.meshgrid(side.flip(0), side, indexing="ij")
        self.places = torch.stack([x, y], dim=2).flatten(0, 1)  # (cells, 2)
        self._log_p = density.log_prob(self.places)
        self._inside = self.obeyed(self.places).double()
        square = torch.cdist(self.places, self._means.double()).square()
        self._told = (-square / (2 * self._std**2)).log_softmax(dim=1)[:, label]  # log p(y | x)

        self.guidance = ipywidgets.FloatSlider(3, min=0, max=6, step=0.25, description="guidance w")
        picture = Picture((8.6, 5.2), about="samples at guidance 1 and at w, on densities in grey")
        # the layout reckons too little room for titles over axes that it makes square
        picture.figure.set_layout_engine("constrained", rect=(0, 0, 1, 0.97))
        room = radius + 4.5 * self._std
        names = [r"p(x \mid y)", r"p(x)\,p(y \mid x)^w"]
        self._plain, self._guided = (
            _Panel(axes, name, means=self._means, label=label, span=span, room=room)
            for axes, name in zip(picture.figure.subplots(1, 2), names, strict=True)
        )
        self._show(self._plain, 1.0)
        self._show(self._guided, 0.25)  # the longest title
        picture.figure.legend(
            handles=[self._plain.yes, self._plain.no],
            loc="outside lower center",
            ncols=2,
            frameon=False,
            markerscale=4,
        )
        picture.draw()
        picture.move_only(*self._guided.artists)
        super().__init__("guidance", [self.guidance, picture], picture)
        self.redraw_with(self.guidance)

    def obeyed(self, x: Tensor) -> Tensor:
        """Whether the label is the most probable one at points (N, 2), -> (N,)."""
        return torch.cdist(x, self._means.to(x)).argmin(dim=1) == self.label

    def samples(self, w: float) -> Tensor:
        """What guidance w makes of the noise, which is the same for all w, (samples, 2)."""
        if w not in self._drawn:

            def denoise(x_t: Tensor, t: Tensor) -> Tensor:
                alpha, sigma = self._schedule.alpha(t), self._schedule.sigma(t)
                told, untold = (
                    ideal_denoiser(x_t, alpha=alpha, sigma=sigma, data=data, std=self._std)
                    for data in (self._means[self.label, None], self._means)
                )
                return untold + w * (told - untold)

            self._drawn[w] = draw(
                denoise, self._schedule, self._noise, steps=self._steps, sampler="heun"
            )
        return self._drawn[w]

    def law(self, w: float) -> Tensor:
        """The shares that p(x) p(y | x)^w / Z has in the cells of the square, (cells,)."""
        return (self._log_p + w * self._told).softmax(dim=0)

    def numbers(self, w: float) -> dict[str, float]:
        """Label obeyed and spread, of the samples and of the law in grey, and how far apart their means are."""
        x, law = self.samples(w).double(), self.law(w)
        mean = law @ self.places
        return {
            "obeyed": self.obeyed(x).double().mean().item(),
            "spread": x.var(dim=0, correction=0).mean().sqrt().item(),
            "obeyed in grey": (law @ self._inside).item(),
            "spread in grey": (law @ (self.places - mean).square()).mean().sqrt().item(),
            "apart": (x.mean(dim=0) - mean).norm().item(),
        }

    def _show(self, panel: _Panel, w: float) -> None:
        x = self.samples(w)
        panel.show(w, self.law(w), x, self.obeyed(x), self.numbers(w))

    def redraw(self) -> None:
        self._show(self._guided, self.guidance.value)
        self.picture.draw()


def guidance_explorer(
    density: EightGaussians,
    *,
    label: int = 0,
    samples: int = 1000,
    steps: int = 60,
    seed: int = 0,
) -> GuidanceExplorer:
    r"""Move guidance from 0 to 6: samples of the ideal denoisers of a mixture, whose components are the classes.

    At the left are samples of the conditional model, w = 1, at the right those of w from the same noise. In grey lies
    what one might expect them to follow: $p(x \mid y)$, and $p(x)\,p(y \mid x)^w$ summed up over small cells. A sample
    obeys the label if no other is more probable there. The spread is the standard deviation of a coordinate: the root
    of the mean of both variances.

    Args:
        density: in the plane; components that overlap make it worth while.
        label: the component asked for.
        samples: at each w.
        steps: of Heun's sampler.
        seed: of the noise.

    Raises:
        ValueError: no such label, samples or steps below 1.

    Example:
        >>> explorer = guidance_explorer(EightGaussians(std=0.7), samples=200, steps=20)
        >>> explorer.guidance.value = 6.0
        >>> guided, plain = explorer.numbers(6.0), explorer.numbers(1.0)
        >>> guided["obeyed"] > plain["obeyed"], guided["spread"] < plain["spread"]
        (True, True)
    """
    return GuidanceExplorer(density, label, samples, steps, seed)
