r"""Layers that several families share, and the checks at every model's public door."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

Shape = tuple[int, int, int]


class MaskedConv2d(nn.Conv2d):
    r"""A convolution that reads only earlier pixels of the raster order.

    Output pixel $(i, j)$ reads the rows above it and, in its own row, the pixels to its left. Of its
    own pixel it reads what the colour order allows: every channel belongs to a group (red, green or
    blue), group $g$ reads groups $< g$ under mask A and groups $\le g$ under mask B. Mask A hides the
    value being predicted and belongs in the first layer; all later layers take mask B.

    A centred $k \times k$ kernel has nothing but zeros below its middle row, so those rows are not
    stored: the kernel has $\lfloor k/2 \rfloor + 1$ rows and its last one is the pixel's own. The mask
    multiplies the weight in the call; the parameter itself is never edited.

    Source: van den Oord et al. (2016), Pixel Recurrent Neural Networks, arXiv:1601.06759, section 3.4.

    Args:
        in_group: group of each input channel, a 1-D integer tensor.
        out_group: group of each output channel, likewise.
        kernel_size: (rows, columns), rows counted up from the own row; columns odd, or with
            `left_only` counted leftwards from the own pixel.
        mask: "A" or "B".
        dilation: distance between neighbouring taps.
        left_only: the kernel ends at the own pixel instead of being centred on it.

    Shapes:
        (B, len(in_group), H, W) -> (B, len(out_group), H, W)

    Example:
        >>> one = torch.zeros(1, dtype=torch.long)
        >>> conv = MaskedConv2d(one, one, kernel_size=(2, 3), mask="A")
        >>> conv.mask[0, 0].int().tolist()
        [[1, 1, 1], [1, 0, 0]]
    """

    mask: Tensor

    def __init__(
        self,
        in_group: Tensor,
        out_group: Tensor,
        kernel_size: tuple[int, int],
        mask: str,
        *,
        dilation: int = 1,
        left_only: bool = False,
    ):
        if mask not in ("A", "B"):
            raise ValueError(f'mask must be "A" or "B", not {mask!r}')
        super().__init__(len(in_group), len(out_group), kernel_size, dilation=dilation)
        rows, columns = kernel_size
        centre = columns - 1 if left_only else columns // 2
        allowed = torch.ones(self.weight.shape)
        allowed[:, :, -1, centre + 1 :] = 0
        later = in_group >= out_group[:, None] if mask == "A" else in_group > out_group[:, None]
        allowed[:, :, -1, centre].masked_fill_(later, 0)
        self.register_buffer("mask", allowed, persistent=False)
        # left, right, top, bottom: the output keeps the size of the input
        self.pad = (centre * dilation, (columns - 1 - centre) * dilation, (rows - 1) * dilation, 0)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(
            F.pad(x, self.pad), self.weight * self.mask, self.bias, dilation=self.dilation
        )


def colour_groups(features: int, n_colours: int) -> Tensor:
    """Share `features` channels out among the colours, as evenly as they go: (features,) integers.

    Feature maps carry a colour too, so that green's features may read red's and not the reverse.

    Raises:
        ValueError: fewer features than colours; one of them would have no feature of its own.

    Example:
        >>> colour_groups(8, 3).tolist()
        [0, 0, 0, 1, 1, 1, 2, 2]
    """
    if features < n_colours:
        raise ValueError(
            f"{features} feature maps cannot be shared out among {n_colours} colours: "
            "give the model more channels"
        )
    return torch.arange(features) * n_colours // features


def check_images(x: Tensor, shape: Shape, levels: int | None = None) -> None:
    """Refuse what is not a batch of images, and say what to pass instead.

    Shape and type are always checked. The values are looked at only where looking is free: on a GPU
    it would stall the queue, and fake tensors or a compiled graph have no values to look at.

    Args:
        x: the images, (B, C, H, W) floats in [0, 1].
        shape: (C, H, W) that the model was built for.
        levels: if given, values must also lie on the grid k / (levels - 1).

    Raises:
        TypeError: `x` is not a tensor of floats.
        ValueError: wrong shape, a NaN, a value outside [0, 1], or one off the grid.

    Example:
        >>> check_images(torch.full((2, 1, 4, 4), 0.5), shape=(1, 4, 4), levels=2)
        Traceback (most recent call last):
            ...
        ValueError: images must lie on the grid of 2 levels, k / 1, and these do not: ...
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(
            f"images must be a float tensor in [0, 1], not {kind}: "
            "ImageSet.batches gives such tensors; for raw levels divide by levels - 1"
        )
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(shape):
        raise ValueError(
            f"images must have shape (B, {', '.join(map(str, shape))}), not {tuple(x.shape)}: "
            "build the model with the data's shape, or reshape the images"
        )
    if not _values_are_free_to_read(x):
        return
    if x.isnan().any():
        raise ValueError("images contain NaN: look for the step that produced it")
    if x.numel() and (x.min() < 0 or x.max() > 1):
        raise ValueError(
            f"images must lie in [0, 1], not in [{x.min():.3g}, {x.max():.3g}]: "
            "divide raw levels by levels - 1; a model rescales inside"
        )
    if levels is not None and x.numel():
        level = x * (levels - 1)
        if (level - level.round()).abs().max() > 1e-3:
            raise ValueError(
                f"images must lie on the grid of {levels} levels, k / {levels - 1}, and these do "
                "not: binarise them (genlib.data.binarise), or build the model with the data's "
                "levels"
            )


def check_labels(y: Tensor | None, batch: int, n_classes: int) -> None:
    """Refuse labels that are missing, surplus, of the wrong shape or type, or out of range.

    Args:
        y: labels, int64 (batch,), or None for an unconditional model.
        batch: how many images they belong to.
        n_classes: what the model was built with; 0 for an unconditional model.

    Raises:
        ValueError, TypeError: with what to pass instead.

    Example:
        >>> check_labels(None, batch=2, n_classes=10)
        Traceback (most recent call last):
            ...
        ValueError: this model is conditional (n_classes=10): pass labels y, int64 of shape (2,)
    """
    if n_classes == 0:
        if y is not None:
            raise ValueError(
                "this model is unconditional: leave the labels y out, or build it with n_classes"
            )
        return
    if y is None:
        raise ValueError(
            f"this model is conditional (n_classes={n_classes}): "
            f"pass labels y, int64 of shape ({batch},)"
        )
    if y.dtype != torch.int64:
        raise TypeError(f"labels must be int64, not {y.dtype}: use y.long()")
    if y.shape != (batch,):
        raise ValueError(f"labels must have shape ({batch},), one an image, not {tuple(y.shape)}")
    if _values_are_free_to_read(y) and batch and (y.min() < 0 or y.max() >= n_classes):
        raise ValueError(
            f"labels must lie in 0..{n_classes - 1}, not in {int(y.min())}..{int(y.max())}"
        )


def _values_are_free_to_read(x: Tensor) -> bool:
    on_cpu = x.device.type == "cpu" and not isinstance(x, FakeTensor)
    return on_cpu and not torch.compiler.is_compiling()
