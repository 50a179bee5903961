"""What networks of several families share."""

from torch import Tensor


def at_every_pixel(bias: Tensor, x: Tensor) -> Tensor:
    """View a bias for each image, (n, F), so that it adds to all pixels of `x`, (n, F, ...).

    Example:
        >>> import torch
        >>> at_every_pixel(torch.zeros(2, 8), torch.zeros(2, 8, 5, 5)).shape
        torch.Size([2, 8, 1, 1])
    """
    return bias.view(*bias.shape, *[1] * (x.ndim - bias.ndim))
