"""Checks that a student calls after each step of an exercise; one file a lesson.

    checks.pixelcnn.mask(mask)

A check runs the student's function on random inputs of its own. It prints one line when the answer is
right and raises `Wrong` when it is not, with the likely mistake as its message.
"""

from course.checking.core import Unanswered, Wrong
from course.lessons.autoencoder import checks as autoencoder
from course.lessons.comparison import checks as comparison
from course.lessons.gan import checks as gan
from course.lessons.gan_architectures import checks as gan_architectures
from course.lessons.markov_chains import checks as markov_chains
from course.lessons.pixelcnn import checks as pixelcnn
from course.lessons.pixelrnn import checks as pixelrnn
from course.lessons.start_here import checks as start_here
from course.lessons.taxonomy import checks as taxonomy
from course.lessons.vae import checks as vae

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
