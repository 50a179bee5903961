"""Explorers of what a decoder or a generator has learnt: one code, a path between two, single latents."""

import math
from collections.abc import Callable, Sequence

import ipywidgets
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Circle, Rectangle
from torch import Tensor

from course.explorers.core import (
    RED,
    Blocks,
    Explorer,
    Picture,
    Player,
    as_pixels,
    bare,
    rounded,
    show_blocks,
    show_image,
    tile,
)
from genlib.plots import BLUE, ORANGE, SKY, TEN_COLOURS
from genlib.variational import VAE

LIMIT = 3.0  # a standard normal number lies further out once in 370 times
STEP = 0.05  # of a slider
SIDE = 12  # decodings along each axis of the map
FRAMES = 20  # steps of an interpolation
SHOWN = 10  # of which a strip shows every second, and both ends
CHANGE = LinearSegmentedColormap.from_list("change", [BLUE, "white", RED])


class LatentExplorer(Explorer):
    """See `latent_explorer`."""

    def __init__(self, decode: Callable[[Tensor], Tensor], codes: Tensor, labels: Tensor):
        if codes.ndim != 2 or codes.shape[1] != 2:
            raise ValueError(f"codes must have shape (N, 2) to be a map, not {tuple(codes.shape)}")
        if labels.shape != codes.shape[:1]:
            raise ValueError(
                f"labels must have shape ({len(codes)},), one a code, not {tuple(labels.shape)}"
            )
        self._decode, self._at = decode, codes[:0]  # where the decoder computes, and in which type
        self.z1, self.z2 = (
            ipywidgets.FloatSlider(0, min=-LIMIT, max=LIMIT, step=STEP, description=name)
            for name in ("z₁", "z₂")
        )
        self.map = ipywidgets.ToggleButtons(
            options=["codes", "decodings"], description="the map shows"
        )
        picture = Picture((8.4, 4.3), about="a map of codes, and the decoding of one of them")
        left, right = picture.figure.subplots(1, 2, width_ratios=[1.05, 1])
        self._codes = _written(left, codes, labels)
        middle = (torch.arange(SIDE) + 0.5) / SIDE * 2 * LIMIT - LIMIT
        # the top row first: the second number of a code grows upwards
        z2, z1 = torch.meshgrid(middle.flip(0), middle, indexing="ij")
        grid = self.decoded(torch.stack([z1, z2], dim=2).flatten(0, 1))
        self._decodings = left.imshow(_mosaic(grid), extent=(-LIMIT, LIMIT, -LIMIT, LIMIT))
        self._rings = [
            left.add_patch(Circle((0, 0), radius, fill=False, linestyle="--", linewidth=1.5))
            for radius in (1, 2)
        ]
        (self._point,) = left.plot(
            [], [], "o", color=ORANGE, markersize=13, markeredgecolor="black", markeredgewidth=1.5
        )
        left.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), xlabel="$z_1$", ylabel="$z_2$")
        left.set(title="rings: 1 and 2 deviations of p(z)", aspect="equal")
        self._image = show_image(right, grid[0])
        self._title = right.set_title("decoding of z = (−0.00, −0.00)")
        picture.on_drag(left, self.move, cursor="move")
        picture.move_only(self._point, self._image, self._title)
        controls = ipywidgets.HBox([self.z1, self.z2])
        super().__init__("latent", [controls, self.map, picture], picture)
        self.map.observe(self._show, names="value")
        self._show()
        self.redraw_with(self.z1, self.z2)

    @property
    def z(self) -> Tensor:
        """The code chosen, (2,)."""
        return self._at.new_tensor([self.z1.value, self.z2.value])

    @torch.no_grad()
    def decoded(self, z: Tensor) -> Tensor:
        """What the decoder makes of codes (N, 2), on the CPU."""
        return self._decode(z.to(self._at)).cpu()

    def move(self, z1: float, z2: float) -> None:
        """Choose a code, as a click on the map does; the nearest on the map if it lies outside."""
        with self.together():
            # where the sliders can stand: the numbers beside them are then those of the picture
            self.z1.value, self.z2.value = (round(z / STEP) * STEP for z in (z1, z2))

    def _show(self, _: object = None) -> None:
        """The map with the codes or with the decodings."""
        shown = self.map.value == "codes"
        for artist in self._codes:
            artist.set_visible(shown)
        self._decodings.set_visible(not shown)
        for ring in self._rings:
            ring.set_edgecolor("0.35" if shown else SKY)
        self.picture.draw(everything=True)

    def redraw(self) -> None:
        z = self.z
        self._point.set_data([z[0].item()], [z[1].item()])
        self._image.set_data(as_pixels(self.decoded(z[None])[0]))
        z1, z2 = (f"{value:.2f}".replace("-", "−") for value in z.tolist())
        self._title.set_text(f"decoding of z = ({z1}, {z2})")
        self.picture.draw()


def latent_explorer(
    decode: Callable[[Tensor], Tensor], codes: Tensor, labels: Tensor
) -> LatentExplorer:
    """A map of two-dimensional codes: click on it or drag, or move two sliders, and see the decoding.

    Args:
        decode: codes (N, 2) -> images (N, C, H, W) in [0, 1], C = 1 or 3.
        codes: (N, 2) of images, on the device where `decode` computes; a few hundred can be told apart.
        labels: (N,) of integers, written in the map.

    Raises:
        ValueError: codes that are no map, or not one label a code.

    Example:
        >>> from genlib.variational import VAE
        >>> model = VAE((1, 8, 8), latent_dim=2)
        >>> explorer = latent_explorer(model.decode, torch.randn(20, 2), torch.arange(20) % 10)
        >>> explorer.z1.value = 1.5
        >>> explorer.z.tolist()
        [1.5, 0.0]
    """
    return LatentExplorer(decode, codes, labels)


class FactorExplorer(Explorer):
    """See `factor_explorer`."""

    def __init__(self, model: VAE, images: Tensor, explained: Tensor, factors: Sequence[str]):
        size = (len(factors), model.latent_dim)
        if explained.shape != size:
            raise ValueError(
                f"explained must have shape {size}, a row for each factor and a column for each "
                f"latent, not {tuple(explained.shape)}"
            )
        self._model = model
        with torch.no_grad():
            self.codes = model.posterior(images).mean  # (N, latent_dim)
            self._copies = model.decode(self.codes).cpu()
        self._images = images.cpu()
        self.image = ipywidgets.IntSlider(0, min=0, max=len(images) - 1, description="image")
        self.back = ipywidgets.Button(
            description="back to its code", icon="undo", tooltip="back to the code of the image"
        )
        # a slider reaches every code that it has to show
        limit = max(LIMIT, math.ceil(10 * self.codes.abs().max().item()) / 10)
        strength, best = explained.cpu().max(dim=0)
        self.latents, self.meanings = [], []
        for j in range(model.latent_dim):
            name = f"z{j + 1}".translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
            slider = ipywidgets.FloatSlider(
                self.codes[0, j].item(), min=-limit, max=limit, step=STEP, description=name
            )
            slider.style.description_width, slider.layout.flex = "2em", "1 1 14em"
            meaning = f"R² {strength[j]:.2f} {factors[int(best[j])]}"
            self.latents.append(slider)
            self.meanings.append(
                ipywidgets.Label(meaning, layout={"width": "max-content", "min_width": "11em"})
            )

        picture = Picture((8.4, 2.6), about="an image, its reconstruction, an edit, the difference")
        row = picture.figure.subplots(1, 4)
        titles = ["image", "its code, decoded", "your code, decoded", "change"]
        self._shown = [show_image(axes, self._images[0]) for axes in row[:3]]
        for axes, title in zip(row, titles, strict=True):
            axes.set_title(title)
        self._change = show_blocks(
            row[3], self._images[0].mean(dim=0).numpy(), cmap=CHANGE, limits=(-1, 1)
        )
        bare(row[3])
        picture.move_only(
            *self._shown, self._change, *row[3].spines.values()
        )  # white needs a border
        pairs = zip(self.latents, self.meanings, strict=True)
        rows = [ipywidgets.HBox(pair) for pair in pairs]
        half = (len(rows) + 1) // 2
        columns = ipywidgets.HBox([ipywidgets.VBox(rows[:half]), ipywidgets.VBox(rows[half:])])
        top = ipywidgets.HBox([self.image, self.back])
        super().__init__("factor", [top, columns, picture], picture)
        self.image.observe(self._start, names="value")
        self.back.on_click(self._start)
        self.redraw_with(*self.latents)

    @property
    def z(self) -> Tensor:
        """The code that the sliders stand for, (latent_dim,)."""
        return self.codes.new_tensor([slider.value for slider in self.latents])

    @torch.no_grad()
    def decoded(self) -> Tensor:
        """What the decoder makes of the code that the sliders stand for, (C, H, W)."""
        return self._model.decode(self.z[None])[0].cpu()

    def _start(self, _: object) -> None:
        with self.together():
            code = self.codes[self.image.value].tolist()
            for slider, value in zip(self.latents, code, strict=True):
                slider.value = value

    def redraw(self) -> None:
        i, edited = self.image.value, self.decoded()
        for shown, image in zip(
            self._shown, (self._images[i], self._copies[i], edited), strict=True
        ):
            shown.set_data(as_pixels(image))
        self._change.set_data((edited - self._copies[i]).mean(dim=0).numpy())
        self.picture.draw()


def factor_explorer(
    model: VAE, images: Tensor, explained: Tensor, factors: Sequence[str]
) -> FactorExplorer:
    r"""Move the latents of an image, one slider each, and see what changes.

    At each slider stands the factor that its latent tells most of, and how much: the share $R^2$ of
    the factor's variance. In the last picture red has become brighter, blue darker.

    Args:
        model: unconditional.
        images: (N, C, H, W) to choose from, on the model's device.
        explained: (factors, latents) in [0, 1], the share of each factor's variance that each latent
            explains, measured.
        factors: a name a row.

    Raises:
        ValueError: a table of another size; images that the model was not built for.

    Example:
        >>> model = VAE((1, 8, 8), latent_dim=3)
        >>> explained = torch.tensor([[0.1, 0.8, 0.0], [0.3, 0.1, 0.0]])
        >>> explorer = factor_explorer(model, torch.ones(2, 1, 8, 8), explained, ["slant", "size"])
        >>> [label.value for label in explorer.meanings]
        ['R² 0.30 size', 'R² 0.80 slant', 'R² 0.00 slant']
    """
    return FactorExplorer(model, images, explained, factors)


class InterpolationExplorer(Explorer):
    """See `interpolation_explorer`."""

    def __init__(self, generate: Callable[[Tensor], Tensor], noises: Tensor):
        if noises.ndim != 2 or len(noises) < 2:
            raise ValueError(
                f"noises must have shape (N, latent_dim) with N >= 2, not {tuple(noises.shape)}: "
                "an interpolation needs two ends"
            )
        self._generate, self._noises = generate, noises
        self._t = torch.linspace(0, 1, FRAMES + 1)
        last = len(noises) - 1
        self.start = ipywidgets.IntSlider(0, min=0, max=last, description="from noise")
        self.end = ipywidgets.IntSlider(1, min=0, max=last, description="to noise")
        self.player = Player(FRAMES, interval=200, description="step")
        self.player.slider.value = FRAMES // 2  # half-way, where the two paths differ most
        picture = Picture((8.6, 4.7), about="images on two ways between two noises, and lengths")
        grid = picture.figure.add_gridspec(
            3, 3, height_ratios=[2.6, 1, 1], width_ratios=[1, 1, 1.9]
        )
        large = [picture.figure.add_subplot(grid[0, i]) for i in range(2)]
        lengths = picture.figure.add_subplot(grid[0, 2])
        strips = [picture.figure.add_subplot(grid[i, :]) for i in (1, 2)]

        self._interpolate()
        self._large = [
            show_image(axes, self.images[name][0]) for axes, name in zip(large, WAYS, strict=True)
        ]
        self._strips: list[Blocks] = []
        self._frames: list[Rectangle] = []
        for axes, name, colour in zip(strips, WAYS, (BLUE, ORANGE), strict=True):
            step = 1 / SHOWN
            mosaic = tile(self.images[name][::2], SHOWN + 1)
            tall = step * mosaic.shape[0] / (mosaic.shape[1] / (SHOWN + 1))
            extent = (-step / 2, 1 + step / 2, 0, tall)  # so that x is t
            self._strips.append(show_blocks(axes, mosaic, extent))
            frame = Rectangle(
                (-step / 2, 0), step, tall, fill=False, ec=colour, lw=4, clip_on=False
            )
            axes.add_patch(frame)
            self._frames.append(frame)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.set_ylabel(
                name.replace(" ", "\n", 1), color=colour, rotation=0, ha="right", va="center"
            )
            picture.on_drag(axes, self._drag, cursor="ew-resize")
        for axes, name, colour in zip(large, WAYS, (BLUE, ORANGE), strict=True):
            axes.set_title(name, color=colour)
            for spine in axes.spines.values():
                spine.set(color=colour, linewidth=3)
        self._lengths, self._dots = [], []
        for name, colour in zip(WAYS, (BLUE, ORANGE), strict=True):
            self._lengths += lengths.plot(self._t, self.lengths[name], color=colour)
            self._dots += lengths.plot([], [], "o", color=colour, markersize=10)
        lengths.axhline(noises.shape[1] ** 0.5, color="0.35", linestyle="--", label="root of d")
        top = 1.12 * max(noises.norm(dim=1).max().item(), noises.shape[1] ** 0.5)
        lengths.legend(frameon=False, loc="lower right")
        lengths.set(xlim=(-0.03, 1.03), ylim=(0, top), xlabel="t")
        self._title = lengths.set_title("length of z(t): 00.0 and 00.0")
        borders = [spine for axes in large for spine in axes.spines.values()]
        images, curves = [*self._large, *self._strips], [*self._lengths, *self._dots]
        picture.move_only(*images, *borders, *self._frames, *curves, self._title)
        ends = ipywidgets.HBox([self.start, self.end])
        super().__init__("interpolation", [ends, self.player, picture], picture)
        for control in (self.start, self.end):
            control.observe(self._interpolate_anew, names="value")
        self.redraw_with(self.player.slider)

    def _interpolate_anew(self, _: object) -> None:
        with self.together():
            self._interpolate()

    def _interpolate(self) -> None:
        """Both ways, and all the images on them."""
        a, b = (self._noises[slider.value, None] for slider in (self.start, self.end))
        t = self._t[:, None].to(self._noises.device)
        with torch.no_grad():
            codes = {name: way(a, b, t) for name, way in WAYS.items()}
            images = self._generate(torch.cat(list(codes.values()))).cpu()
        self.images = dict(zip(WAYS, images.chunk(2), strict=True))
        self.lengths = {name: z.norm(dim=1).cpu() for name, z in codes.items()}

    def _drag(self, t: float, _: float) -> None:
        self.player.slider.value = round(FRAMES * t)  # the slider keeps itself within its ends

    def redraw(self) -> None:
        i = self.player.slider.value
        for n, name in enumerate(WAYS):
            images, lengths = self.images[name], self.lengths[name]
            self._large[n].set_data(as_pixels(images[i]))
            self._strips[n].set_data(tile(images[::2], SHOWN + 1))
            self._frames[n].set_x(i / FRAMES - 0.5 / SHOWN)
            self._lengths[n].set_ydata(lengths)
            self._dots[n].set_data([self._t[i].item()], [lengths[i].item()])
        shown = " and ".join(rounded(self.lengths[name][i].item()) for name in WAYS)
        self._title.set_text(f"length of z(t): {shown}")
        self.picture.draw()


def interpolation_explorer(
    generate: Callable[[Tensor], Tensor], noises: Tensor
) -> InterpolationExplorer:
    """Interpolate from one noise to another, in a straight line and on the sphere, and see the images.

    Two sliders choose the ends; play, step or drag along the strips of images. A curve shows
    how long the noise is on the way: `N(0, I)` in d dimensions has hardly a noise much shorter than
    the root of d, and the straight line leads through such noises.

    Args:
        generate: noises (n, d) -> images (n, C, H, W) in [0, 1], C = 1 or 3.
        noises: (N, d) to choose the ends from, at least two, on the device where `generate` computes.

    Raises:
        ValueError: fewer than two noises, or noises of another shape.

    Example:
        >>> from genlib.adversarial import GAN, MLPDiscriminator, MLPGenerator
        >>> shape = (1, 8, 8)
        >>> gan = GAN(MLPGenerator(shape, latent_dim=64), MLPDiscriminator(shape), latent_dim=64)
        >>> explorer = interpolation_explorer(gan.generate, torch.randn(4, 64))
        >>> explorer.player.slider.value = 10
        >>> explorer.images["straight"].shape
        torch.Size([21, 1, 8, 8])
    """
    return InterpolationExplorer(generate, noises)


def _straight(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return torch.lerp(a, b, t)


def _on_the_sphere(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Rotate a towards b at a constant rate: slerp (White, 2016, arXiv:1609.04468)."""
    cosine = torch.cosine_similarity(a, b, dim=1)
    if cosine.abs().item() > 0.9999:  # a and b on one ray, or opposite: no plane to rotate in
        return torch.lerp(a, b, t)
    angle = cosine.acos()
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()


WAYS = {"straight": _straight, "on the sphere": _on_the_sphere}


def _written(axes: Axes, codes: Tensor, labels: Tensor) -> list:
    """Each code as its label; returns the artists."""
    x, y = codes.detach().float().cpu().T.numpy()
    known = labels.cpu().numpy()
    return [
        axes.scatter(
            x[known == label], y[known == label],
            s=28, marker=f"${label}$", color=TEN_COLOURS[i % 10], linewidths=0,
        )
        for i, label in enumerate(np.unique(known))
    ]  # fmt: skip


def _mosaic(images: Tensor) -> np.ndarray:
    """The decodings of the map, (SIDE * SIDE, C, H, W), as one picture with grey lines between them."""
    parted = F.pad(images.float().expand(-1, 3, -1, -1), (0, 1, 0, 1), value=0.5)
    rows = parted.unflatten(0, (SIDE, SIDE))  # (row, column, 3, h, w)
    return rows.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2).numpy()
