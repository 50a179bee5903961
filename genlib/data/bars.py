"""Bars and stripes: thirty tiny images whose true distribution is known exactly."""

import itertools

import torch
from torch import Tensor

from genlib.data.imageset import ImageSet

LARGEST = 2**20  # 4x4 binary images are 2^16; a million is as far as a laptop enumerates in a blink


def all_images(levels: int, shape: tuple[int, int, int]) -> Tensor:
    r"""Every image on the grid, $K^{CHW}$ of them, to sum a probability over all there is.

    Args:
        levels: number K of values a pixel can take.
        shape: image shape (C, H, W).

    Shapes:
        -> (levels ** (C * H * W), C, H, W) float32 in [0, 1], the last pixel changing fastest

    Raises:
        ValueError: there are more than 2^20 such images, or levels is below 2.

    Example:
        >>> all_images(3, (1, 1, 2)).flatten(1)[:4]
        tensor([[0.0000, 0.0000],
                [0.0000, 0.5000],
                [0.0000, 1.0000],
                [0.5000, 0.0000]])
        >>> all_images(2, (1, 4, 4)).shape
        torch.Size([65536, 1, 4, 4])
    """
    channels, height, width = shape
    n_pixels = channels * height * width
    if levels < 2 or n_pixels < 1:
        raise ValueError(f"levels must be at least 2 and shape not empty, not {levels} and {shape}")
    if levels**n_pixels > LARGEST:
        raise ValueError(
            f"{levels}^{n_pixels} images are too many to list (more than 2^20): "
            f"take a smaller shape or fewer levels, or sample instead"
        )
    place = levels ** torch.arange(n_pixels - 1, -1, -1)
    digits = torch.arange(levels**n_pixels)[:, None] // place % levels  # (K^n, n) in base K
    return digits.reshape(-1, *shape).float() / (levels - 1)


def image_index(x: Tensor) -> Tensor:
    r"""Where black-and-white images stand in the list of `all_images(2, shape)`.

    An image is read as a binary number, its last pixel being the lowest digit.

    Shapes:
        (..., C, H, W) of zeros and ones -> (...), int64 in 0 .. 2^(C * H * W) - 1

    Example:
        >>> image_index(torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]]))
        tensor([6])
    """
    bits = x.flatten(-3).long()
    place = torch.arange(bits.shape[-1] - 1, -1, -1, device=x.device)
    return (bits << place).sum(dim=-1)


def bars() -> ImageSet:
    """Bars and stripes: all 30 binary 4x4 images made of whole columns or of whole rows.

    Of the 2^16 = 65,536 binary images, 2^4 consist of white or black columns ("bars") and 2^4 of
    rows ("stripes"); the empty and the full image are both, so 2 * 2^4 - 2 = 30 remain, each with
    probability 1/30. The entropy is therefore exactly ln 30 = 3.401 nats, and as all images can be
    listed (`all_images`) the KL divergence of any model with a likelihood is a finite sum.

    The task goes back to MacKay (2003), "Information theory, inference, and learning algorithms",
    section 43.

    Labels: 0 for bars, 1 for stripes (14 each), 2 for the two images that are both.

    Example:
        >>> data = bars()
        >>> data
        ImageSet(30 images of shape (1, 4, 4), levels=2, n_classes=3)
        >>> data.labels.bincount().tolist()
        [14, 14, 2]
    """
    patterns = torch.tensor(list(itertools.product([0, 1], repeat=4)), dtype=torch.uint8)
    columns = patterns[:, None, None, :].expand(-1, 1, 4, 4)
    rows = patterns[:, None, :, None].expand(-1, 1, 4, 4)
    plain = columns[[0, -1]]  # empty and full: the first and the last pattern
    images = torch.cat([columns[1:-1], rows[1:-1], plain])
    labels = torch.tensor([0] * 14 + [1] * 14 + [2] * 2)
    return ImageSet(images.clone(), labels, levels=2, n_classes=3)
