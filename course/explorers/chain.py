"""An explorer of a Markov chain: play it, stop it, start it again, and see how slowly it forgets."""

import ipywidgets
import numpy as np
import torch
from torch import Tensor

from course.explorers.core import Explorer, Picture, Player, own_random_numbers, show_blocks, tile
from genlib.markov import RBM
from genlib.plots import BLUE, ORANGE
from genlib.validation import at_least_one, check_images

STRIP = 12  # frames that can be seen at once


class GibbsExplorer(Explorer):
    """See `gibbs_explorer`."""

    def __init__(self, model: RBM, images: Tensor, frames: int, seed: int):
        at_least_one("frames", frames)
        check_images(images, model.shape, levels=2)
        self._model, self._data, self.seed = model, images, seed
        self.start = ipywidgets.ToggleButtons(
            options=["an image", "noise"], description="start from"
        )
        self.image = ipywidgets.IntSlider(0, min=0, max=len(images) - 1, description="image")
        self.every = ipywidgets.ToggleButtons(options=[1, 10, 100], description="steps a frame")
        self.again = ipywidgets.Button(description="other random numbers", icon="refresh")
        self.player = Player(frames, interval=200)

        picture = Picture((8.6, 4.0), about="the images of a chain, and their free energies")
        grid = picture.figure.add_gridspec(2, 2, height_ratios=[2.4, 1], width_ratios=[1, 2.4])
        large, curve = (picture.figure.add_subplot(grid[0, i]) for i in range(2))
        strip = picture.figure.add_subplot(grid[1, :])
        self._run()
        self._new_chain, self._last = True, 0  # the step at which the axes end
        self._large = show_blocks(large, _in_a_row(self.chain[:1]))
        self._strip = show_blocks(strip, _in_a_row(torch.ones(STRIP, *model.shape)))
        for axes in (large, strip):
            axes.set_axis_off()
        self._title = large.set_title("step 00000")
        strip.set_title(f"the last {STRIP} frames, the newest at the right")
        (self._curve,) = curve.plot([], [], color=BLUE)
        (self._dot,) = curve.plot([], [], "o", color=BLUE, markersize=9)
        with torch.no_grad():
            self._level = model.free_energy(images).mean().item()
        curve.axhline(self._level, color=ORANGE, linestyle="--", label="mean over the images")
        curve.set(xlabel="step", ylabel="free energy, nats")
        self._axes = curve
        self._met = curve.set_title(f"{len(images)} of the {len(images)} images met so far")
        curve.legend(frameon=False, loc="upper right")
        longest = max(self.every.options) * frames
        curve.set(xlim=(-0.02 * longest, 1.02 * longest))
        picture.draw()  # the layout has room for the longest numbers
        picture.move_only(self._large, self._strip, self._curve, self._dot, self._title, self._met)
        top = ipywidgets.HBox([self.start, self.image])
        middle = ipywidgets.HBox([self.every, self.again])
        super().__init__("gibbs", [top, middle, self.player, picture], picture)
        for control in (self.start, self.image, self.every):
            control.observe(self._restart, names="value")
        self.again.on_click(self._other)
        self.redraw_with(self.player.slider)

    def _run(self) -> None:
        """The whole chain, from its start to the last frame."""
        with own_random_numbers(self.seed), torch.no_grad():
            if self.start.value == "noise":
                x = torch.bernoulli(torch.full_like(self._data[:1], 0.5))
            else:
                x = self._data[self.image.value, None]
            chain = [x]
            for _ in range(self.player.slider.max):
                chain.append(self._model.gibbs(chain[-1], steps=self.every.value))
            self.chain = torch.cat(chain)  # (frames + 1, C, H, W)
            self.energy = self._model.free_energy(self.chain).cpu()
        # which of the images each frame is, -1 for none of them
        same = (self.chain[:, None] == self._data).flatten(2).all(dim=2)  # (frames + 1, N)
        self.where = torch.where(same.any(dim=1), same.int().argmax(dim=1), -1).cpu()

    def _restart(self, _: object = None) -> None:
        with self.together():
            self.image.disabled = self.start.value == "noise"
            self._run()
            self._new_chain = True
            self.player.slider.value = 0

    def _other(self, _: object) -> None:
        self.seed += 1
        self._restart()

    @property
    def met(self) -> int:
        """How many of the images have come up to the frame that is shown."""
        seen = self.where[: self.player.slider.value + 1]
        return len(seen[seen >= 0].unique())

    def redraw(self) -> None:
        i, every = self.player.slider.value, self.every.value
        self._large.set_data(_in_a_row(self.chain[i, None]))
        seen = self.chain[max(0, i + 1 - STRIP) : i + 1]
        absent = seen.new_full((STRIP - len(seen), *seen.shape[1:]), torch.nan)
        self._strip.set_data(_in_a_row(torch.cat([absent, seen])))
        steps = every * torch.arange(i + 1)
        self._curve.set_data(steps, self.energy[: i + 1])
        self._dot.set_data([every * i], [self.energy[i].item()])
        self._title.set_text(f"step {every * i}")
        self._met.set_text(f"{self.met} of the {len(self._data)} images met so far")
        self.picture.draw(everything=self._new_chain and self._scale())
        self._new_chain = False

    def _scale(self) -> bool:
        """Axes on which the whole chain has room; False if it has room on those that are there."""
        low = min(self.energy.min().item(), self._level)
        high = max(self.energy.max().item(), self._level)
        margin = 0.1 * (high - low) + 0.1
        last = self.every.value * self.player.slider.max
        bottom, top = self._axes.get_ylim()
        if self._last == last and bottom <= low and high + 2 * margin <= top:
            return False
        self._last = last
        self._axes.set(xlim=(-0.02 * last, 1.02 * last), ylim=(low - margin, high + 3 * margin))
        return True


def _in_a_row(images: Tensor) -> np.ndarray:
    return tile(images, len(images), line=0.7)


def gibbs_explorer(
    model: RBM, images: Tensor, *, frames: int = 100, seed: int = 0
) -> GibbsExplorer:
    """Play, pause, step and restart a chain of Gibbs sampling, and watch what it draws.

    The chain starts at one of the images or at Bernoulli(1/2) pixels. A frame is 1, 10 or 100 steps:
    the random numbers are the same, so that more steps a frame show the same chain, thinned out. Above the
    curve of free energies stands how many of the images the frames have met.

    Args:
        model: the RBM.
        images: (N, C, H, W) of zeros and ones to start from, on the model's device; if they are all
            images of the data, the count tells how the chain mixes.
        frames: to show, besides the start; at least 1.
        seed: of the chain's random numbers.

    Raises:
        ValueError: images that the model was not built for, or frames < 1.

    Example:
        >>> from genlib.data import load
        >>> explorer = gibbs_explorer(RBM((1, 4, 4), hidden_dim=8), load("bars").floats(), frames=50)
        >>> explorer.player.slider.value = 50
        >>> explorer.chain.shape
        torch.Size([51, 1, 4, 4])
    """
    return GibbsExplorer(model, images, frames, seed)
