"""Deep generative models for the course: small, tested, on any device."""

__version__ = "0.1.0"
