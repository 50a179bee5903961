"""What the prediction of a pixel depends on: receptive fields, measured by gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from genlib.autoregressive.pixel_model import PixelModel


def receptive_field(model: PixelModel, pixel: tuple[int, int], *, n_images: int = 16) -> Tensor:
    r"""How strongly the prediction of one pixel depends on every pixel of the input.

    The mean over random images of $|\partial \ell / \partial x_{ij}|$, where $\ell$ is the sum of the
    pixel's logits, summed over the colours of the input. It is exactly zero where the network does
    not look.

    Args:
        model: unconditional.
        pixel: (row, column).
        n_images: how many random images to average over.

    Shapes:
        -> (H, W)

    Raises:
        ValueError: the pixel lies outside the image.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> field = receptive_field(PixelCNN((1, 4, 4), hidden_dim=8, depth=1), pixel=(2, 1))
        >>> bool(field[1, 1] > 0), field[2, 1].item(), field[3, 3].item()
        (True, 0.0, 0.0)
    """
    return receptive_fields(model, [pixel], n_images=n_images)[0]


def receptive_fields(
    model: PixelModel, pixels: Sequence[tuple[int, int]], *, n_images: int = 16
) -> Tensor:
    """What `receptive_field` computes, of P pixels in one pass: (P, H, W).

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> receptive_fields(PixelCNN((1, 4, 4), hidden_dim=8, depth=1), [(2, 1), (0, 0)]).shape
        torch.Size([2, 4, 4])
    """
    _, height, width = model.shape
    for i, j in pixels:
        if not (0 <= i < height and 0 <= j < width):
            raise ValueError(
                f"pixel {(i, j)} lies outside an image of {height} rows, {width} columns"
            )
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n_images, *model.shape, generator=generator).to(device)
    x = images.repeat(len(pixels), 1, 1, 1).requires_grad_()  # the same images for every pixel
    i, j = torch.tensor(pixels, device=device).repeat_interleave(n_images, dim=0).T
    logits = model(x)[torch.arange(len(x), device=device), :, :, i, j]
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    return gradient.abs().sum(dim=1).unflatten(0, (len(pixels), n_images)).mean(dim=1)
