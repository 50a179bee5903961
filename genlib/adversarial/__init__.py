"""Implicit and direct: one pass from noise to an image, trained against a second network."""

from genlib.adversarial.gan import GAN, LSGAN, WGANGP, MinimaxGAN
from genlib.adversarial.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    InstanceNoise,
    MLPDiscriminator,
    MLPGenerator,
    layer_norm,
)

__all__ = [
    "GAN",
    "LSGAN",
    "WGANGP",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "InstanceNoise",
    "MLPDiscriminator",
    "MLPGenerator",
    "MinimaxGAN",
    "layer_norm",
]
