"""Explicit and tractable: p(x) as a product of one-value conditionals."""

from genlib.autoregressive.gated_pixelcnn import GatedPixelCNN
from genlib.autoregressive.pixel_model import PixelModel
from genlib.autoregressive.pixelcnn import PixelCNN

__all__ = ["GatedPixelCNN", "PixelCNN", "PixelModel"]
