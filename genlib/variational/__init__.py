"""Explicit but intractable: latent variables, and a lower bound on log p(x) that can be trained."""

from genlib.variational.autoencoder import Autoencoder
from genlib.variational.networks import MLP, ConvDecoder, ConvEncoder, LevelDecoder
from genlib.variational.vae import VAE, kl_to_standard_normal, split_kl

__all__ = [
    "MLP",
    "VAE",
    "Autoencoder",
    "ConvDecoder",
    "ConvEncoder",
    "LevelDecoder",
    "kl_to_standard_normal",
    "split_kl",
]
