"""The variational autoencoder: latent variables, and a bound on the likelihood they give."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from genlib.validation import Shape, at_least_one, check_images, check_labels, check_sizes
from genlib.variational.likelihoods import full_precision, independent, pixels_of
from genlib.variational.networks import HIDDEN, MLP, LevelDecoder


class VAE(nn.Module):
    r"""A variational autoencoder: codes z from a fixed prior, images x from a decoder.

    $$p(x) = \int p(x \mid z) \, p(z) \, dz, \qquad p(z) = N(0, I)$$

    The integral runs over all codes and cannot be evaluated. But an encoder that guesses which codes
    may have given an image, $q(z \mid x) = N(\mu(x), \operatorname{diag} \sigma^2(x))$, turns it into
    a bound from below, the ELBO (equation 3 of the paper):

    $$\log p(x) \ge E_{q(z \mid x)} [\log p(x \mid z)] - KL(q(z \mid x) \| p(z))$$

    The first term is estimated from one code, $z = \mu + \sigma \epsilon$ with
    $\epsilon \sim N(0, I)$, through which gradients flow to the encoder; the second is known in
    closed form. `genlib.variational.importance_bound` gives a tighter bound.

    What the decoder says about a value of the image is a distribution over the levels:
    `BernoulliPixels` for black and white, `CategoricalPixels`, or `GaussianPixels`, a bell curve cut
    into K cells; `DequantisedGaussianPixels` bounds the last one from below by the density at noisy
    levels. Bounds of all four compare with each other and with the exact likelihood of a `PixelCNN`,
    in nats an image or bits a dimension.

    Paper: Kingma & Welling (2014), Auto-Encoding Variational Bayes, arXiv:1312.6114, sections 2 and
    3, appendices B and C. A weight on the KL term: Higgins et al. (2017), beta-VAE. Labels: Kingma
    et al. (2014), arXiv:1406.5298, where encoder and decoder both read them.

    Args:
        shape: image shape (C, H, W).
        latent_dim: how many numbers a code has.
        likelihood: "bernoulli", "categorical", "gaussian" or "dequantised_gaussian".
        levels: number K of values a channel can take; 2 for binary images.
        n_classes: number of labels, 0 for an unconditional model.
        encoder: any network from images in [-1, 1], (B, C, H, W), to 2 * latent_dim numbers an image,
            $\mu$ and then $\log \sigma$.
        decoder: any network from codes (B, latent_dim) to P * C * H * W numbers an image, where a
            Bernoulli value has P = 1 parameter (its logit), a Gaussian one P = 2 (mean and log
            standard deviation) or 1 if the scale is fixed, a categorical one P = K logits; the
            parameter changes slowest. Both networks of a conditional model are called with the
            labels as second argument. Networks not given are `MLP`s with one hidden layer of 400
            units, for a categorical likelihood a `LevelDecoder`; `ConvEncoder` and `ConvDecoder` are
            the convolutional ones.
        kl_weight: weight of the KL term in `loss`, and nowhere else.
        scale: standard deviation of a Gaussian value, 1 being black to white; None learns it.

    Shapes:
        posterior:      x (B, C, H, W) in [0, 1], y (B,) -> q(z | x) over codes (B, latent_dim)
        prior:          -> p(z) over a code (latent_dim,)
        likelihood:     z (..., B, latent_dim), y (B,) -> p(x | z), see the four classes
        decode:         z, y -> (..., B, C, H, W) in [0, 1], the mean of p(x | z)
        log_likelihood: x, z (..., B or 1, latent_dim), y -> (..., B), nats per image
        elbo:           x, y -> (B,), nats per image, a draw whose mean lies below log p(x)
        loss:           x, y -> scalar, nats per image
        sample:         n, y (n,) -> (n, C, H, W) in [0, 1]
        reconstruct:    x, y -> (B, C, H, W) in [0, 1]

    Raises:
        ValueError: an impossible model, or grey images for a Bernoulli likelihood.
        TypeError, ValueError: images or labels that the model was not built for (`genlib.validation`).

    Example:
        >>> model = VAE(shape=(1, 8, 8), latent_dim=4, likelihood="categorical", levels=17)
        >>> x = model.sample(5)
        >>> model.elbo(x).shape
        torch.Size([5])
    """

    prior_mean: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        latent_dim: int,
        likelihood: str = "bernoulli",
        levels: int = 2,
        n_classes: int = 0,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        kl_weight: float = 1.0,
        scale: float | None = None,
    ):
        super().__init__()
        if kl_weight < 0:
            raise ValueError(f"kl_weight must be 0 or more, not {kl_weight}")
        self.shape = check_sizes(shape, levels, n_classes)
        self.latent_dim = at_least_one("latent_dim", latent_dim)
        self.pixels = pixels_of(likelihood, levels, scale)
        self.levels, self.n_classes, self.kl_weight = levels, n_classes, kl_weight
        size = math.prod(shape)
        if encoder is None:
            encoder = MLP((size, HIDDEN, 2 * latent_dim), n_classes=n_classes)
        if decoder is None and likelihood == "categorical":
            decoder = LevelDecoder(
                (latent_dim, HIDDEN), shape=self.shape, levels=levels, n_classes=n_classes
            )
        elif decoder is None:
            decoder = MLP((latent_dim, HIDDEN, self.pixels.per_value * size), n_classes=n_classes)
        self.encoder, self.decoder = encoder, decoder
        self.register_buffer("prior_mean", torch.zeros(latent_dim), persistent=False)

    # The three distributions. ---------------------------------------------------------------------

    def posterior(self, x: Tensor, *, y: Tensor | None = None) -> Independent:
        r"""$q(z \mid x)$: which codes may have given these images."""
        self._check(x, y)
        mean, log_std = self._encode(x, y)
        return independent(Normal(mean, log_std.exp(), validate_args=False), 1)

    def prior(self) -> Independent:
        """p(z), the same for all images: independent standard normal numbers."""
        std = torch.ones_like(self.prior_mean)
        return independent(Normal(self.prior_mean, std, validate_args=False), 1)

    def likelihood(self, z: Tensor, *, y: Tensor | None = None) -> Independent:
        r"""$p(x \mid z)$: the images that these codes may give, each value independent of the others."""
        check_labels(y, z.shape[-2], self.n_classes)
        return independent(self.pixels.distribution(self._decode(z, y)), 3)

    def decode(self, z: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""The mean of $p(x \mid z)$ as images in [0, 1], to look at: what all the draws have in common."""
        check_labels(y, z.shape[-2], self.n_classes)
        return self.pixels.mean(self._decode(z, y))

    # What is computed from them. ------------------------------------------------------------------

    def log_likelihood(self, x: Tensor, z: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""$\log p(x \mid z)$ in nats, (..., B): `z` may hold several codes an image.

        Codes that all images share, (..., 1, latent_dim), are decoded only once.
        """
        self._check(x, y)
        return self._log_likelihood(x, z, y)

    def elbo(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""One draw of a bound on $\log p(x)$, in nats with every constant: (B, C, H, W) -> (B,)."""
        reconstruction, kl = self._terms(x, y)
        return reconstruction - kl

    def loss(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        """Mean of -ELBO, nats per image, with `kl_weight` on the KL term."""
        reconstruction, kl = self._terms(x, y)
        return (self.kl_weight * kl - reconstruction).mean()

    @torch.no_grad()
    def sample(self, n: int, *, y: Tensor | None = None, mean: bool = False) -> Tensor:
        """Draw `n` images: a code from the prior, then an image from the decoder.

        Args:
            n: number of images.
            y: labels (n,) of a conditional model.
            mean: show the mean of p(x | z) instead of a draw from it. It looks smoother than any
                image the model would draw, since it leaves out the noise of the single values.

        Returns:
            Images in [0, 1]; draws lie on the grid of levels, means need not.
        """
        at_least_one("n", n)
        check_labels(y, n, self.n_classes)
        z = self.prior().sample((n,))
        return self.decode(z, y=y) if mean else self.pixels.draw(self._decode(z, y))

    @torch.no_grad()
    def reconstruct(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""The decoder's mean for the most likely code of each image, $z = \mu(x)$."""
        return self.decode(self.posterior(x, y=y).mean, y=y)

    # Without checks. ------------------------------------------------------------------------------

    def _check(self, x: Tensor, y: Tensor | None) -> None:
        check_images(x, self.shape, self.levels)
        check_labels(y, len(x), self.n_classes)

    def _encode(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(z | x), each (B, latent_dim)."""
        x = 2 * x - 1
        out = self.encoder(x) if y is None else self.encoder(x, y)
        mean, log_std = full_precision(out).reshape(len(x), 2, self.latent_dim).unbind(dim=1)
        return mean, log_std

    def _decode(self, z: Tensor, y: Tensor | None) -> Tensor:
        """The parameters of p(x | z), (..., B, P, C, H, W)."""
        codes = z.flatten(0, -2)
        if y is None:
            out = self.decoder(codes)
        else:
            out = self.decoder(codes, y.expand(z.shape[:-1]).flatten())
        return full_precision(out).reshape(*z.shape[:-1], self.pixels.per_value, *self.shape)

    def _log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None) -> Tensor:
        return self.pixels.log_prob(self._decode(z, y), x).flatten(-3).sum(dim=-1)

    def _terms(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """The two terms of the ELBO, each (B,) in nats: reconstruction, and KL to the prior."""
        self._check(x, y)
        mean, log_std = self._encode(x, y)
        z = mean + log_std.exp() * torch.randn_like(mean)
        return self._log_likelihood(x, z, y), kl_to_standard_normal(mean, log_std)


def kl_to_standard_normal(mean: Tensor, log_std: Tensor) -> Tensor:
    r"""$KL(N(\mu, \sigma^2) \| N(0, I)) = \frac12 \sum_j (\mu_j^2 + \sigma_j^2 - 1 - 2 \log \sigma_j)$.

    The KL divergence of a Gaussian from the standard normal prior, appendix B of arXiv:1312.6114.
    Summed over the dimensions of a code, never averaged.

    Shapes:
        mean $\mu$ and log_std $\log \sigma$, both (..., latent_dim) -> (...), nats

    Example:
        >>> kl_to_standard_normal(torch.tensor([3.0, 4.0]), torch.zeros(2))
        tensor(12.5000)
    """
    return 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std).sum(dim=-1)
