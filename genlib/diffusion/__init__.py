"""Diffusion models: noise comes in steps that are known, and a network learns to undo them."""

from genlib.diffusion.diffusion import Diffusion
from genlib.diffusion.probability_flow import ProbabilityFlow
from genlib.diffusion.samplers import draw, posterior_of_a_step
from genlib.diffusion.schedules import CosineSchedule, LinearSchedule, Schedule
from genlib.ideal import ideal_denoiser

__all__ = [
    "CosineSchedule", "Diffusion", "LinearSchedule", "ProbabilityFlow", "Schedule", "draw",
    "ideal_denoiser", "posterior_of_a_step",
]  # fmt: skip
