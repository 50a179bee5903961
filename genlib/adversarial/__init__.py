"""Implicit and direct: one pass from noise to an image, trained against a second network."""

from genlib.adversarial.gan import GAN, LSGAN, HingeGAN, MinimaxGAN
from genlib.adversarial.gradient_penalty import R1GAN, WGANGP
from genlib.adversarial.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    InstanceNoise,
    MLPDiscriminator,
    MLPGenerator,
    average_weights,
    layer_norm,
    spectral_norm,
)
