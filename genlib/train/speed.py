"""What the flags of speed switch on: TF32 and compilation. Autocast and channels last are a line each."""

import torch
from torch import nn

from genlib.adversarial import WGANGP
from genlib.autoregressive import PixelModel
from genlib.train.folder import RunError


def use_tf32(on: bool) -> None:
    """Whether float32 products on a GPU may be rounded to TF32's 10 bits, convolutions included.

    Torch allows it in convolutions and nowhere else unless it is told.

    Example:
        >>> use_tf32(False)
        >>> torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        ('highest', False)
    """
    torch.set_float32_matmul_precision("high" if on else "highest")
    torch.backends.cudnn.allow_tf32 = on


def compile_networks(model: nn.Module) -> None:
    """Have torch compile the networks of a model, at their first use.

    Raises:
        RunError: the model has none that could gain by it.
    """
    if isinstance(model, PixelModel):
        model.network = torch.compile(model.network)  # type: ignore[method-assign]
        return
    networks = [child for child in model.children() if next(child.parameters(), None) is not None]
    if isinstance(model, WGANGP):  # the penalty asks for a gradient of a gradient
        networks.remove(model.discriminator)
    if not networks:
        raise RunError(f"{type(model).__name__} is no network to compile: leave --compile out")
    for network in networks:
        network.compile()
