"""Checks that a student calls after each step of an exercise; one file a lesson.

    checks.pixelcnn.mask(mask)

A check runs the student's function on random inputs of its own. It prints one line when the answer is
right and raises `Wrong` when it is not, with the likely mistake as its message.
"""

from genlib.checks import (
    autoencoder,
    comparison,
    gan,
    gan_architectures,
    markov_chains,
    pixelcnn,
    pixelrnn,
    start_here,
    taxonomy,
    vae,
)
from genlib.checks.core import Unanswered, Wrong

__all__ = [
    "Unanswered",
    "Wrong",
    "autoencoder",
    "comparison",
    "gan",
    "gan_architectures",
    "markov_chains",
    "pixelcnn",
    "pixelrnn",
    "start_here",
    "taxonomy",
    "vae",
]
