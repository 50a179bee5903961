"""The restricted Boltzmann machine: a likelihood up to a constant, learnt and sampled by a Markov chain."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.validation import Shape, at_least_one, check_images, check_labels, check_sizes

LARGEST = 20  # units of the smaller layer: 2^20 terms are as many as a laptop sums in a few seconds
NUMBERS = 2**22  # held at once while they are summed


class RBM(nn.Module):
    r"""A restricted Boltzmann machine: black-and-white pixels x, hidden units h, and weights between.

    Every joint state has an energy, and low energies are probable:

    $$E(x, h) = -b^T x - c^T h - x^T W h, \qquad p(x, h) = \frac{1}{Z} e^{-E(x, h)}$$

    No two pixels are joined, nor two hidden units. So the sum over all h is a product of sums over
    one unit each, and $p(x) = e^{-F(x)} / Z$ with the free energy

    $$F(x) = -b^T x - \sum_j \log(1 + e^{c_j + x^T W_{:j}}).$$

    The constant $Z = \sum_x e^{-F(x)}$, the partition function, has a term for every image there is.
    `log_partition` sums over the smaller of the two layers, where that can be done; elsewhere
    `genlib.markov.annealed_importance` estimates it.

    For the same reason, given one layer the units of the other are independent. Gibbs sampling draws
    the two alternately, and learning needs such draws: the gradient of the log-likelihood,

    $$-\nabla \log p(x) = \nabla F(x) - E_{x' \sim p} [\nabla F(x')],$$

    pushes the energy of data down, and that of the model's own images up. Contrastive divergence (CD)
    takes for x' the end of a short chain that starts at the data. It is biased: what lies far from
    all data is not seen, and may keep a low energy. The bias falls as `cd_steps` grows.
    `PersistentRBM` has chains that go on from update to update.

    Papers: Smolensky (1986), Information processing in dynamical systems; Hinton (2002), Training
    products of experts by minimizing contrastive divergence; Hinton (2012), A practical guide to
    training restricted Boltzmann machines, for the initial values: weights from N(0, 0.01^2), hidden
    biases zero, visible biases the log-odds of the pixels' means.

    Args:
        shape: image shape (C, H, W).
        hidden_dim: number of hidden units.
        cd_steps: Gibbs steps k of the chain in `loss`: CD-k.
        pixel_mean: the mean of the images to be learnt, (C, H, W) in [0, 1], from which the visible
            biases start; None starts them at zero.

    Shapes:
        free_energy:   x (B, C, H, W) of zeros and ones -> (B,), nats per image, up to a constant
        hidden:        x -> (B, hidden_dim), probabilities of h = 1 given x
        visible:       h (B, hidden_dim) -> (B, C, H, W), probabilities of white given h
        gibbs:         x, steps -> (B, C, H, W) of zeros and ones
        loss:          x -> scalar; its gradient is CD's, its value is no likelihood
        sample:        n -> (n, C, H, W) of zeros and ones
        log_partition: -> scalar, log Z in nats, exact
        log_prob:      x -> (B,), nats per image, exact

    Raises:
        ValueError: an impossible model, images that are not black and white, fewer than one step, or
            a partition function too large to enumerate.
        TypeError: images that are not a tensor of floats (`genlib.validation`).

    Example:
        >>> model = RBM(shape=(1, 4, 4), hidden_dim=8)
        >>> x = model.sample(5, steps=10)
        >>> model.log_prob(x).shape
        torch.Size([5])
        >>> from genlib.data import all_images
        >>> round(model.log_prob(all_images(2, (1, 4, 4))).exp().sum().item(), 3)
        1.0
    """

    n_classes = 0  # it knows no labels

    def __init__(
        self, shape: Shape, *, hidden_dim: int, cd_steps: int = 1, pixel_mean: Tensor | None = None
    ):
        super().__init__()
        self.shape = check_sizes(shape)
        at_least_one("hidden_dim", hidden_dim)
        self.hidden_dim = hidden_dim
        self.cd_steps = at_least_one("cd_steps", cd_steps)
        n_visible = math.prod(shape)
        self.weight = nn.Parameter(0.01 * torch.randn(n_visible, hidden_dim))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden_dim))
        bias = torch.zeros(n_visible)
        if pixel_mean is not None:
            check_images(pixel_mean[None], self.shape)
            # a pixel that is black in all the data is white in one image of a hundred all the same
            bias = torch.logit(pixel_mean.to(bias).flatten(), eps=0.01)
        self.visible_bias = nn.Parameter(bias)

    # Energies and probabilities. ------------------------------------------------------------------

    def free_energy(self, x: Tensor) -> Tensor:
        r"""$F(x) = -\log \sum_h e^{-E(x, h)}$ in nats, so that $p(x) = e^{-F(x)} / Z$."""
        return self._free_energy(self._flat(x))

    def log_partition(self) -> Tensor:
        r"""$\log Z = \log \sum_x e^{-F(x)}$, exact, by the sum over all states of the smaller layer.

        The energy treats both layers alike, so the hidden one may be summed over as well: its states
        have a free energy too, with the pixels summed out. Gradients flow, so that a small model can
        be trained by its exact likelihood. A ValueError where both layers have more than 20 units.
        """
        own: Tensor = self.visible_bias
        other: Tensor = self.hidden_bias
        weight: Tensor = self.weight
        if len(own) > len(other):
            own, other, weight = other, own, weight.T
        if len(own) > LARGEST:
            raise ValueError(
                f"log Z is a sum of 2^{len(own)} terms, too many to enumerate (at most 2^{LARGEST}): "
                "estimate it by genlib.markov.annealed_importance, or build the model with "
                f"hidden_dim <= {LARGEST}"
            )
        unit = torch.arange(len(own), device=weight.device)
        rows = max(1, NUMBERS // len(other))
        log_sums = []
        for state in torch.arange(2 ** len(own), device=weight.device).split(rows):
            s = (state[:, None] >> unit & 1).to(weight.dtype)  # (rows, units), bits of the number
            log_sums.append((s @ own + F.softplus(other + s @ weight).sum(dim=1)).logsumexp(dim=0))
        return torch.stack(log_sums).logsumexp(dim=0)

    def log_prob(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""Exact log-likelihood $-F(x) - \log Z$ in nats, (B, C, H, W) -> (B,).

        Every call sums up Z again: for many small batches, take `log_partition` once.
        """
        check_labels(y, len(x), self.n_classes)
        return -self.free_energy(x) - self.log_partition()

    def hidden(self, x: Tensor) -> Tensor:
        """The probability of each hidden unit to be on, given an image: features of the image."""
        return self._hidden(self._flat(x))

    def visible(self, h: Tensor) -> Tensor:
        """The probability of each pixel to be white, given the hidden units, as an image in [0, 1]."""
        if h.ndim != 2 or h.shape[1] != self.hidden_dim:
            raise ValueError(
                f"hidden units must have shape (B, {self.hidden_dim}), not {tuple(h.shape)}"
            )
        return self._visible(h).unflatten(1, self.shape)

    # The chain. -----------------------------------------------------------------------------------

    @torch.no_grad()
    def gibbs(self, x: Tensor, *, steps: int) -> Tensor:
        """Images after so many steps of Gibbs sampling: all hidden units, then all pixels.

        A step leaves the model's distribution as it is: draws from p(x) go in, draws from p(x) come
        out. From anywhere else it leads nearer to p(x), at an unknown rate.
        """
        at_least_one("steps", steps)
        return self._gibbs(self._flat(x), steps).unflatten(1, self.shape)

    def sample(self, n: int, *, y: Tensor | None = None, steps: int = 1000) -> Tensor:
        """Draw `n` images by as many chains of `steps` Gibbs steps, which start from random pixels.

        They follow p(x) as far as the chains have forgotten their start. Where the model has found
        separate modes, a chain stays with the one that it meets first, for a very long time.

        """
        at_least_one("n", n)
        check_labels(y, n, self.n_classes)
        return self.gibbs(torch.bernoulli(self.weight.new_full((n, *self.shape), 0.5)), steps=steps)

    def loss(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""Free energy of the data less that of the chains' ends, in the mean over each.

        The ends are constants: the gradient is the estimate of CD, $\nabla F(x) - \nabla F(x')$, for
        the weights $\langle x' p(h \mid x') \rangle - \langle x \, p(h \mid x) \rangle$. The value is
        a difference of energies and says nothing about how good the model is: a chain that does not
        move costs zero. `log_prob` says it.
        """
        check_labels(y, len(x), self.n_classes)
        data = self._flat(x)
        with torch.no_grad():
            ends = self._chain_ends(data)
        return self._free_energy(data).mean() - self._free_energy(ends).mean()

    def _chain_ends(self, data: Tensor) -> Tensor:
        """What stands for the model's own images: here, k steps from the data."""
        return self._gibbs(data, self.cd_steps)

    # Without checks, on flat images (B, C * H * W). -----------------------------------------------

    def _flat(self, x: Tensor) -> Tensor:
        check_images(x, self.shape, levels=2)
        return x.flatten(1)

    def _free_energy(self, x: Tensor) -> Tensor:
        on = self.hidden_bias + x @ self.weight  # (B, hidden_dim), log-odds
        return -x @ self.visible_bias - F.softplus(on).sum(dim=1)

    def _hidden(self, x: Tensor) -> Tensor:
        return (self.hidden_bias + x @ self.weight).sigmoid()

    def _visible(self, h: Tensor) -> Tensor:
        return (self.visible_bias + h @ self.weight.T).sigmoid()

    def _gibbs(self, x: Tensor, steps: int) -> Tensor:
        for _ in range(steps):
            h = torch.bernoulli(self._hidden(x))
            x = torch.bernoulli(self._visible(h))
        return x


class PersistentRBM(RBM):
    r"""An RBM trained by persistent contrastive divergence (PCD): its chains never start anew.

    In `loss`, chains go on from where the last update left them, instead of from the data. An update
    changes the model only a little, so chains that followed the old p(x) nearly follow the new one,
    and a few steps catch up. In this way they get far from the data, find what is probable under the model
    and the data do not show, and raise its energy. That asks for a learning rate low enough for the
    chains to keep up with.

    The chains are a buffer: they follow the model to a device, and are saved with it.

    Papers: Tieleman (2008), Training restricted Boltzmann machines using approximations to the
    likelihood gradient; before, for general Markov chains, Younes (1989).

    Args:
        shape, hidden_dim, pixel_mean: as of an `RBM`.
        cd_steps: Gibbs steps that the chains go on in each call of `loss`.
        chains: number of chains; the more, the less noise in the gradient.

    Shapes:
        as of an `RBM`

    Raises:
        ValueError: as an `RBM`, or fewer than one chain.

    Example:
        >>> model = PersistentRBM((1, 4, 4), hidden_dim=8, chains=20)
        >>> start = model.chains.clone()
        >>> loss = model.loss(torch.zeros(5, 1, 4, 4))
        >>> torch.equal(model.chains, start)
        False
    """

    chains: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        hidden_dim: int,
        cd_steps: int = 1,
        pixel_mean: Tensor | None = None,
        chains: int = 100,
    ):
        super().__init__(shape, hidden_dim=hidden_dim, cd_steps=cd_steps, pixel_mean=pixel_mean)
        at_least_one("chains", chains)
        white = self.visible_bias.detach().sigmoid()
        self.register_buffer("chains", torch.bernoulli(white.expand(chains, -1)))

    def _chain_ends(self, data: Tensor) -> Tensor:
        self.chains.copy_(self._gibbs(self.chains, self.cd_steps))
        return self.chains.clone()  # a later call moves the chains, and backward needs these
