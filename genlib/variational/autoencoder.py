"""Autoencoder: an image becomes a short code, and the code an image again."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from genlib.validation import Shape, at_least_one, check_images, check_labels, check_sizes
from genlib.variational.networks import HIDDEN, MLP


class Autoencoder(nn.Module):
    r"""An encoder that reduces an image to a short code, and a decoder that restores the image.

    Both are trained together to make the squared error of the restored image small. No label is
    needed, and what passes the bottleneck are features of the data. The model has no distribution of
    codes, and so no `sample`. To draw new images, fit a density to the codes of training images and
    decode draws of it: ex-post density estimation (Ghosh et al., 2020, From variational to
    deterministic autoencoders, arXiv:1903.12436). That is still no bound on the likelihood of an
    image. A linear encoder and decoder find the space of the first principal components (Baldi &
    Hornik, 1989, Neural networks and principal component analysis).

    Paper: Hinton & Salakhutdinov (2006), Reducing the dimensionality of data with neural networks.
    Departs from it: layers are trained all at once from random weights, not one by one first.

    Args:
        shape: image shape (C, H, W).
        latent_dim: how many numbers a code has.
        encoder: any network from images in [-1, 1], (B, C, H, W), to `latent_dim` numbers an image.
        decoder: any network from codes (B, latent_dim) to C * H * W numbers an image. Networks not
            given are `MLP`s with one hidden layer of 400 units, and the decoder ends in a sigmoid;
            `ConvEncoder` and `ConvDecoder` are the convolutional ones.

    Shapes:
        encode:  x (B, C, H, W) in [0, 1] -> z (B, latent_dim)
        decode:  z -> (B, C, H, W)
        forward: x -> decode(encode(x))
        loss:    x -> scalar, squared error averaged over images and values

    Raises:
        ValueError: an impossible shape or latent_dim.
        TypeError, ValueError: images that the model was not built for (`genlib.validation`).

    Example:
        >>> import torch
        >>> model = Autoencoder(shape=(1, 8, 8), latent_dim=2)
        >>> z = model.encode(torch.rand(50, 1, 8, 8))
        >>> z.shape
        torch.Size([50, 2])
        >>> prior = torch.distributions.MultivariateNormal(z.mean(dim=0), torch.cov(z.T))  # fitted to codes
        >>> model.decode(prior.sample((3,))).shape
        torch.Size([3, 1, 8, 8])
    """

    n_classes = 0  # it needs no labels

    def __init__(
        self,
        shape: Shape,
        *,
        latent_dim: int,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ):
        super().__init__()
        self.shape = check_sizes(shape)
        self.latent_dim = at_least_one("latent_dim", latent_dim)
        size = math.prod(shape)
        if encoder is None:
            encoder = MLP((size, HIDDEN, latent_dim))
        if decoder is None:
            decoder = nn.Sequential(MLP((latent_dim, HIDDEN, size)), nn.Sigmoid())
        self.encoder, self.decoder = encoder, decoder

    def encode(self, x: Tensor) -> Tensor:
        """The codes of images."""
        check_images(x, self.shape)
        return self.encoder(2 * x - 1).flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        """The images of codes."""
        return self.decoder(z).reshape(len(z), *self.shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def loss(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        """Squared error of the restored images, averaged over images and values."""
        check_labels(y, len(x), self.n_classes)
        return F.mse_loss(self(x), x)
