"""Drawn like the `digits`, and none of them: lines of a pen, and letters."""

import torch
import torch.nn.functional as F
from torch import Tensor

from genlib.data.imageset import ImageSet

# corners of a path, (x, y) on a grid of 7 by 9: "38" is three steps to the right and eight down
LETTERS = {
    "A": "08 30 68 55 15",
    "E": "60 00 04 54 04 08 68",
    "H": "00 08 04 64 60 68",
    "K": "00 08 04 60 04 68",
    "M": "08 00 35 60 68",
    "N": "08 00 68 60",
    "R": "08 00 50 54 04 68",
    "T": "00 60 30 38",
    "W": "00 18 33 58 60",
    "X": "00 68 34 60 08",
}
CORNER, STEP = (8.8, 3.0), (2.4, 3.3)  # on the sheet: as wide as digits are, and where they are


def pen_line(path: Tensor, like: ImageSet) -> Tensor:
    """Points joined by straight lines on a sheet of 32 by 32, made small: (1, 1, H, W) in [0, 1].

    So were the images of `digits` made: of each 4 by 4 block of a scan the ink was counted. The pen is
    4 to 5 pixels wide, at random.

    Args:
        path: the points (P, 2), x to the right and y down, 0 to 32.
        like: images whose size and levels it gets.

    Example:
        >>> from genlib.data import digits
        >>> pen_line(torch.tensor([[4.0, 16.0], [28.0, 16.0]]), digits()).amax(dim=3).squeeze()[[0, 7]]
        tensor([0., 0.])
    """
    pixel = torch.cartesian_prod(torch.arange(32.0), torch.arange(32.0)).flip(1) + 0.5  # x, y
    a, b = path[:-1, None], path[1:, None]
    t = ((pixel - a) * (b - a)).sum(dim=2) / (b - a).square().sum(dim=2)
    t = t.clamp(0, 1)[:, :, None]  # 0 to 1 along each piece: where it comes nearest to the pixel
    distance = (pixel - a - t * (b - a)).norm(dim=2).amin(dim=0)
    sheet = (distance < 2 + 0.5 * torch.rand(())).float().reshape(1, 1, 32, 32)
    small = F.interpolate(sheet, size=like.shape[1:], mode="area")
    return (small * (like.levels - 1)).round() / (like.levels - 1)


def synthetic_letters(each: int, like: ImageSet) -> tuple[Tensor, list[str]]:
    """Ten letters drawn by a hand that shakes a little: what a model of digits has never seen.

    Args:
        each: how many of each letter.
        like: images whose size and levels they get.

    Returns:
        Images (10 * each, 1, H, W) in [0, 1] and the name of each, the ten letters in turn.

    Example:
        >>> from genlib.data import digits
        >>> images, names = synthetic_letters(2, digits())
        >>> images.shape, "".join(names)
        (torch.Size([20, 1, 8, 8]), 'AEHKMNRTWXAEHKMNRTWX')
    """
    names = each * list(LETTERS)
    drawn = []
    for name in names:
        corners = torch.tensor([[float(c) for c in corner] for corner in LETTERS[name].split()])
        path = torch.tensor(CORNER) + torch.tensor(STEP) * corners + torch.randn(len(corners), 2)
        drawn.append(pen_line(path, like))
    return torch.cat(drawn), names
