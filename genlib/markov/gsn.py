"""The generative stochastic network: a Markov chain trained to be stationary on the data."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.data import all_images
from genlib.validation import Shape, at_least_one, check_images, check_labels, check_sizes

ROWS = 2048  # of tables at once: what fits a processor's cache
LARGEST = 16  # pixels: a table of 2^16 probabilities, and a quarter of a gigabyte to compute it


class GSN(nn.Module):
    r"""A generative stochastic network: corrupt an image, guess what it was, and again.

    A step of its chain has two halves. The first corrupts the image by a known noise
    $C(\tilde x \mid x)$: each pixel is replaced, with probability `noise`, by a draw from Bernoulli(1/2)
    (salt-and-pepper noise). In the second, a network looks at the corrupted image, says for every pixel
    how probably the clean one is white, and the next image is drawn from that:

    $$\tilde x_t \sim C(\tilde x \mid x_t), \qquad x_{t+1} \sim P_\theta(x \mid \tilde x_t)
    = \prod_i P_\theta(x_i \mid \tilde x_t)$$

    The network learns to undo the noise, an ordinary task of prediction: no sum over all images, and
    no second network. If it gives the true $P(x \mid \tilde x)$, the chain leaves the distribution of
    the data as it is, and tends to it from anywhere (theorem 1 of arXiv:1305.6663). What the model
    says about images is what its chain tends to; no formula gives it, so there is no `log_prob`. On
    tiny images `stationary_distribution` computes it all the same.

    Two things stand between theory and practice. Given $\tilde x$ the pixels of the network's guess
    are independent, those of the true one in general not: the guess fits if the noise leaves little
    doubt about the image, but with little noise the chain moves slowly. And training shows the
    network corrupted data only, while the chain also meets images that are no data, and what it does
    there it was never trained. Walkback training does: it lets the chain run a few steps from the
    data, and asks the network at each of them for the image the chain began with. It has a price: a
    chain that has reached another image still asks for the first, and the network learns to doubt.
    The more noise, the shorter the chain should be; lesson Markov chains measures both.

    Papers: Bengio, Yao, Alain & Vincent (2013), Generalized denoising auto-encoders as generative
    models, arXiv:1305.6663, for the theorem and for walkback, there with chains of random length, here
    of a fixed one; Bengio, Thibodeau-Laufer, Alain & Yosinski (2014), Deep generative stochastic
    networks trainable by backprop, arXiv:1306.1091, for the general form, whose chain has hidden
    units with noise of their own. Here noise enters at the pixels alone: the denoising autoencoder,
    the simplest GSN, whose chain lives on images and can be enumerated.

    Args:
        shape: image shape (C, H, W).
        hidden_dim: units in each of the network's two hidden layers.
        noise: probability that a pixel is replaced by a draw from Bernoulli(1/2), in (0, 1].
        walkback: steps of the chain in `loss`; 1 is a denoising autoencoder.

    Shapes:
        forward: corrupted x (B, C, H, W) of zeros and ones -> logits (B, C, H, W) of a clean white pixel
        corrupt: x (B, C, H, W) of zeros and ones -> likewise
        loss:    x -> scalar, nats per image and step of the chain
        chain:   x, steps -> (steps, B, C, H, W) of zeros and ones
        sample:  n -> (n, C, H, W) of zeros and ones
        stationary_distribution: -> (2^(C * H * W),), probabilities in the order of `all_images`

    Raises:
        ValueError: an impossible model, images that are not black and white, fewer than one step.
        TypeError: images that are not a tensor of floats (`genlib.validation`).

    Example:
        >>> model = GSN(shape=(1, 2, 3), hidden_dim=16, noise=0.3)
        >>> model.chain(model.sample(5), steps=4).shape
        torch.Size([4, 5, 1, 2, 3])
    """

    n_classes = 0  # it knows no labels

    def __init__(self, shape: Shape, *, hidden_dim: int, noise: float, walkback: int = 5):
        super().__init__()
        self.shape = check_sizes(shape)
        at_least_one("hidden_dim", hidden_dim)
        if not 0 < noise <= 1:
            raise ValueError(
                f"noise must lie in (0, 1], not {noise}: without noise the chain cannot move"
            )
        self.noise = noise
        self.walkback = at_least_one("walkback", walkback)
        n_pixels = math.prod(shape)
        self.network = nn.Sequential(
            nn.Linear(n_pixels, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, n_pixels),
        )

    # A step of the chain. -------------------------------------------------------------------------

    def corrupt(self, x: Tensor) -> Tensor:
        """Replace each pixel, with probability `noise`, by a draw from Bernoulli(1/2)."""
        check_images(x, self.shape, levels=2)
        return self._corrupt(x)

    def forward(self, x: Tensor) -> Tensor:
        """The network's guess of the clean image: the logit of white for every pixel."""
        check_images(x, self.shape, levels=2)
        return self._logits(x)

    def loss(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""$-\log P_\theta(x \mid \tilde x_t)$ in nats an image, averaged over the steps of a chain from x.

        The target stays the same: at every step it is the image x that the chain began with.
        The images of the chain are constants to the gradient.
        """
        check_images(x, self.shape, levels=2)
        check_labels(y, len(x), self.n_classes)
        nats, state = [], x
        for _ in range(self.walkback):
            logits = self._logits(self._corrupt(state))
            nats.append(F.binary_cross_entropy_with_logits(logits, x, reduction="none"))
            state = torch.bernoulli(logits.detach().sigmoid())
        return torch.stack(nats).flatten(2).sum(dim=2).mean()

    @torch.no_grad()
    def chain(self, x: Tensor, *, steps: int) -> Tensor:
        """The images of chains that take `steps` steps from x, without x itself."""
        check_images(x, self.shape, levels=2)
        images = []
        for _ in range(at_least_one("steps", steps)):
            x = self._step(x)
            images.append(x)
        return torch.stack(images)

    @torch.no_grad()
    def sample(self, n: int, *, y: Tensor | None = None, steps: int = 100) -> Tensor:
        """Draw `n` images: the ends of as many chains, which start from random pixels.

        They follow the model as far as the chains have forgotten their start.

        """
        check_labels(y, n, self.n_classes)
        size = (at_least_one("n", n), *self.shape)
        x = torch.bernoulli(next(self.parameters()).new_full(size, 0.5))
        for _ in range(at_least_one("steps", steps)):
            x = self._step(x)
        return x

    def _corrupt(self, x: Tensor) -> Tensor:
        # a replaced pixel keeps its value half the time
        flip = torch.bernoulli(torch.full_like(x, self.noise / 2))
        return (x - flip).abs()

    def _logits(self, x: Tensor) -> Tensor:
        return self.network(2 * x.flatten(1) - 1).unflatten(1, self.shape)

    def _step(self, x: Tensor) -> Tensor:
        return torch.bernoulli(self._logits(self._corrupt(x)).sigmoid())

    # What the chain tends to. ---------------------------------------------------------------------

    @torch.no_grad()
    def stationary_distribution(self, tolerance: float = 1e-6) -> Tensor:
        r"""The stationary distribution of the chain: the probability of every image, by enumeration.

        Both halves of a step act on the table of all $2^n$ probabilities. Noise flips each pixel on
        its own, so it takes n passes over the table. The guess is a product over pixels, so of a
        product of the first n / 2 and one of the others, A and B: summed over corrupted images s with
        their probabilities $w_s$, the next table is the matrix product $A^T \operatorname{diag}(w) B$.

        Repeating steps would get there, but for a chain that seldom leaves a mode it takes thousands.
        So each step starts from that mixture of the last thirty tables which the chain moves least
        (Anderson acceleration). For 16 pixels this takes 5 to 30 seconds on a laptop, the longer the
        less noise there is.

        Args:
            tolerance: how much probability a step of the chain may still move in the table returned.
                Where the chain mixes slowly, the table is further from the truth than that.

        Returns:
            Probabilities in the order of `all_images(2, shape)`, doubles on the CPU; `image_index`
            finds an image in it, so `bars_kl(lambda x: p[image_index(x)].log())` is exact.

        Raises:
            ValueError: more than 16 pixels; a tolerance that is not positive.
            RuntimeError: no such table after 300 steps: the chain mixes too slowly.

        Example:
            >>> p = GSN((1, 2, 3), hidden_dim=16, noise=0.3).stationary_distribution()
            >>> p.shape, round(p.sum().item(), 6)
            (torch.Size([64]), 1.0)
        """
        n = math.prod(self.shape)
        if n > LARGEST:
            raise ValueError(
                f"there are 2^{n} images of {n} pixels, too many for a table (at most 2^{LARGEST}): "
                "take a smaller shape, or judge the model by its samples"
            )
        if not tolerance > 0:
            raise ValueError(f"tolerance must be positive, not {tolerance}")
        images = all_images(2, self.shape).to(next(self.parameters()))
        # (2^n, n): every image taken for corrupted
        white = self._logits(images).sigmoid().flatten(1)
        first, last = _products(white[:, : n // 2]), _products(white[:, n // 2 :])

        def one_step(p: Tensor) -> Tensor:
            corrupted = _flip_pixels(p, self.noise / 2).to(white)
            parts = zip(first.split(ROWS), corrupted.split(ROWS), last.split(ROWS), strict=True)
            table = sum(a.T @ (w[:, None] * b) for a, w, b in parts)
            return torch.as_tensor(table).flatten().cpu().double()

        start = torch.full((2**n,), 0.5**n, dtype=torch.double)
        return _fixed_point(one_step, start, tolerance)


def _products(white: Tensor) -> Tensor:
    """Probabilities of all images of n independent pixels, in the order of `all_images`.

    Shapes:
        (rows, n) -> (rows, 2^n)
    """
    table = white.new_ones(len(white), 1)
    for p in white.T[:, :, None]:
        table = torch.stack([table * (1 - p), table * p], dim=2).flatten(1)
    return table


def _flip_pixels(p: Tensor, flip: float) -> Tensor:
    """A table of 2^n probabilities of images, after each of the n pixels was flipped by chance."""
    shape = p.shape
    for pixel in range(len(p).bit_length() - 1):
        p = p.view(-1, 2, 2**pixel)
        p = torch.lerp(p, p.flip(1), flip)
    return p.reshape(shape)


def _fixed_point(
    one_step: Callable[[Tensor], Tensor], p: Tensor, tolerance: float, memory: int = 30
) -> Tensor:
    r"""The table of probabilities that a step of a Markov chain leaves as it is.

    A step is linear: it takes a mixture of tables to the mixture of what it makes of them, and moves
    it by the mixture of their moves. Weights that add up to one and make that move smallest come
    from a problem of least squares. Anderson (1965), Iterative procedures for nonlinear integral
    equations.
    """
    nexts: list[Tensor] = []
    moves: list[Tensor] = []
    for _ in range(300):
        q = one_step(p)
        move = q - p
        if move.abs().sum() / 2 < tolerance:
            q = q.clamp_min(0)  # a mixture may have weights below zero, and round off to as little
            return q / q.sum()
        nexts, moves = [*nexts[-memory:], q], [*moves[-memory:], move]
        p = q
        if len(moves) > 1:
            weights = torch.linalg.lstsq(torch.stack(moves).diff(dim=0).T, move[:, None]).solution
            p = q - torch.stack(nexts).diff(dim=0).T @ weights[:, 0]
    raise RuntimeError(
        f"the chain mixes too slowly: after 300 steps one more still moves {move.abs().sum() / 2:.1g} "
        f"of the probability (tolerance {tolerance:g}). Give the model more noise, or allow more"
    )
