"""Explicit and tractable: p(x) as a product of one-value conditionals."""

from genlib.autoregressive.diagonal_bilstm import DiagonalBiLSTM
from genlib.autoregressive.gated_pixelcnn import GatedPixelCNN
from genlib.autoregressive.pixel_model import PixelModel
from genlib.autoregressive.pixelcnn import PixelCNN
from genlib.autoregressive.receptive_field import receptive_field, receptive_fields
from genlib.autoregressive.row_lstm import RowLSTM
