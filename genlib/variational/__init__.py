"""Explicit but intractable: latent variables, and a lower bound on log p(x) that can be trained."""

from genlib.variational.autoencoder import Autoencoder
from genlib.variational.bounds import importance_bound, log_prob_by_quadrature, split_kl
from genlib.variational.networks import MLP, ConvDecoder, ConvEncoder, LevelDecoder
from genlib.variational.vae import VAE, kl_to_standard_normal
