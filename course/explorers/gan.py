"""An explorer of a GAN on a line, where the best discriminator is known at every step."""

import copy
from dataclasses import dataclass

import ipywidgets
import torch
from torch import Tensor
from torch.distributions import Distribution

from course.explorers.core import RED, Explorer, Picture, Player, own_random_numbers, rounded
from genlib.adversarial import GAN, MinimaxGAN
from genlib.plots import BLUE, GREEN, ORANGE
from genlib.training import train_gan_epoch
from genlib.validation import at_least_one

CELLS = 150  # of the line, to count fakes in
NOISES = 10_000  # spread evenly in N(0, 1), so that counting them adds hardly any noise
LOSSES: dict[str, type[GAN]] = {"minimax": MinimaxGAN, "non-saturating": GAN}


@dataclass
class Snapshot:
    """The GAN after some steps, seen in each cell of the line.

    Args:
        p_g: (cells,) the share of fakes in each; the first and the last cell are the two open ends.
        d: (cells - 2,) what the discriminator says in the middle of each cell between them.
        gradient: length of the generator's gradient.
    """

    p_g: Tensor
    d: Tensor
    gradient: float


class GANExplorer(Explorer):
    """See `gan_explorer`."""

    def __init__(
        self,
        model: GAN,
        data: Distribution,
        span: tuple[float, float],
        frames: int,
        steps: int,
        seed: int,
    ):
        at_least_one("frames", frames)
        at_least_one("steps", steps)
        if span[0] >= span[1]:
            raise ValueError(f"span must go from the left to the right, not {span}")
        if model.latent_dim != 1 or model.generate(torch.zeros(1, 1)).shape != (1, 1):
            raise ValueError(
                "the GAN lives on a line: the generator must turn one number into one number"
            )
        self._data, self.steps, self.seed = data, steps, seed
        self._edges = torch.linspace(*span, CELLS + 1)
        self._width = (span[1] - span[0]) / CELLS
        self.x = (self._edges[1:] + self._edges[:-1]) / 2  # (cells - 2,)
        # the open ends are cells too: nothing is lost, and divergences of cells are exact
        cdf = data.cdf(self._edges.double())  # double, or nothing is left of the right tail
        self.p_data = torch.cat([cdf[:1], cdf.diff(), 1 - cdf[-1:]]).float()  # (cells,)
        self._z = torch.special.ndtri((torch.arange(NOISES) + 0.5) / NOISES)[:, None]
        self.trajectories = {
            name: self._train(model, loss, frames) for name, loss in LOSSES.items()
        }

        self.loss = ipywidgets.ToggleButtons(
            options=list(LOSSES), description="loss of the generator"
        )
        self.player = Player(frames, interval=200, description="snapshot")
        picture = Picture(
            (8.6, 4.2), about="data, fakes, the discriminator and the best one, on a line"
        )
        axes = picture.figure.add_subplot()
        axes.fill_between(self.x, self.p_data[1:-1] / self._width, color=BLUE, alpha=0.25, lw=0)
        axes.plot(self.x, self.p_data[1:-1] / self._width, color=BLUE, label="data")
        (self._p_g,) = axes.plot([], [], color=ORANGE, label="generator")
        (self._d,) = axes.plot([], [], color=GREEN, linewidth=2.5, label="D")
        (self._best,) = axes.plot([], [], color=RED, linestyle="--", linewidth=2, label="best D")
        axes.set(xlim=span, ylim=(-0.03, 1.05), xlabel="x", ylabel="density, and D")
        self._title = axes.set_title(
            "non-saturating, step 0000: JSD 0.000 nats, length of G's gradient 0.00 × 10⁻⁵"
        )
        picture.figure.legend(loc="outside lower center", ncols=4, frameon=False)
        picture.move_only(self._p_g, self._d, self._best, self._title)
        super().__init__("gan", [self.loss, self.player, picture], picture)
        self.redraw_with(self.loss, self.player.slider)

    def _train(self, model: GAN, loss: type[GAN], frames: int) -> list[Snapshot]:
        """The whole training under one loss, `steps` between two snapshots; the model stays as it is."""
        model = copy.deepcopy(model)
        gan = loss(model.generator, model.discriminator, latent_dim=1)
        for_g = torch.optim.SGD(gan.generator.parameters(), lr=0.01)
        for_d = torch.optim.Adam(gan.discriminator.parameters(), lr=1e-3, fused=True)
        trajectory = [self._snapshot(gan)]
        with own_random_numbers(self.seed):
            for _ in range(frames):
                batches = ((self._data.sample((256, 1)), None) for _ in range(self.steps))
                train_gan_epoch(gan, batches, for_g, for_d)
                trajectory.append(self._snapshot(gan))
        return trajectory

    def _snapshot(self, gan: GAN) -> Snapshot:
        with torch.no_grad():
            fakes = gan.generate(self._z)[:, 0]
            d = gan(self.x[:, None]).sigmoid()
        cells = torch.bucketize(fakes, self._edges)
        p_g = cells.bincount(minlength=CELLS + 2) / NOISES
        some = gan.generator(self._z[:: NOISES // 250])
        loss = gan.generator_loss(len(some), fake=some)
        slopes = torch.autograd.grad(loss, list(gan.generator.parameters()))
        return Snapshot(p_g, d, torch.nn.utils.get_total_norm(slopes).item())

    @property
    def snapshot(self) -> Snapshot:
        """What is shown."""
        return self.trajectories[self.loss.value][self.player.slider.value]

    @property
    def best_d(self) -> Tensor:
        """The best discriminator, (cells - 2,); NaN where neither data nor fakes ever lie."""
        return (self.p_data / (self.p_data + self.snapshot.p_g))[1:-1]

    @property
    def jsd(self) -> float:
        """The Jensen-Shannon divergence of data and fakes in nats, of the shares of all cells."""
        p, q = self.p_data, self.snapshot.p_g
        middle = (p + q) / 2
        return sum(torch.xlogy(r, r / middle).nansum().item() for r in (p, q)) / 2

    def redraw(self) -> None:
        snapshot = self.snapshot
        self._p_g.set_data(self.x, snapshot.p_g[1:-1] / self._width)
        self._d.set_data(self.x, snapshot.d)
        self._best.set_data(self.x, self.best_d)
        self._title.set_text(
            f"{self.loss.value}, step {self.steps * self.player.slider.value}: "
            f"JSD {rounded(self.jsd)} nats, length of G's gradient {rounded(snapshot.gradient)}"
        )
        self.picture.draw()


def gan_explorer(
    model: GAN,
    data: Distribution,
    *,
    span: tuple[float, float] = (-6.0, 12.0),
    frames: int = 80,
    steps: int = 2,
    seed: int = 0,
) -> GANExplorer:
    """Play, pause and step the training of a GAN on a line, under the minimax or the non-saturating loss.

    Both GANs start from the same networks, use the same random numbers, and are trained when the
    explorer is made: the generator by plain gradient steps of 0.01, the discriminator by Adam at
    0.001, one step each in alternation, on 256 examples.

    Args:
        model: the networks to start from, on the CPU: generator one number -> one number,
            discriminator one number -> logit. They stay as they are.
        data: with a `cdf`, so that the probability of each cell of the line is exact.
        span: the part of the line to show.
        frames: snapshots to show, besides the start.
        steps: steps of each network from one snapshot to the next.
        seed: of the random numbers.

    Raises:
        ValueError: networks that do not map a line to a line, an empty span, frames or steps below 1.

    Example:
        >>> import math
        >>> from torch.distributions import Normal
        >>> model = GAN(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1), latent_dim=1)
        >>> explorer = gan_explorer(model, Normal(0.0, 1.0), span=(-4, 4), frames=2, steps=1)
        >>> explorer.loss.value = "non-saturating"
        >>> explorer.player.slider.value = 2
        >>> 0 <= explorer.jsd <= math.log(2)
        True
    """
    return GANExplorer(model, data, span, frames, steps, seed)
