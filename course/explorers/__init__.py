"""Interactive explorers: `from course import explorers`, and one call makes one explorer."""

from course.explorers.chain import gibbs_explorer
from course.explorers.diffusion import denoising_explorer, guidance_explorer
from course.explorers.flow_matching import flow_explorer, paths_explorer
from course.explorers.gan import gan_explorer
from course.explorers.latent import factor_explorer, interpolation_explorer, latent_explorer
from course.explorers.pixels import completion_explorer, drawing_explorer, pixel_explorer
from course.explorers.taxonomy import outlier_explorer, taxonomy_explorer

__all__ = [
    "completion_explorer",
    "denoising_explorer",
    "drawing_explorer",
    "factor_explorer",
    "flow_explorer",
    "gan_explorer",
    "gibbs_explorer",
    "guidance_explorer",
    "interpolation_explorer",
    "latent_explorer",
    "outlier_explorer",
    "paths_explorer",
    "pixel_explorer",
    "taxonomy_explorer",
]
