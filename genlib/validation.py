"""Input validation that all models share: sizes, images and labels, with what to pass instead."""

import difflib
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

Shape = tuple[int, int, int]


def check_sizes(shape: Shape, levels: int = 2, n_classes: int = 0) -> Shape:
    """Refuse, by a ValueError, images that no model can be built for; the shape comes back as a tuple.

    Example:
        >>> check_sizes((1, 8, 8), levels=1)
        Traceback (most recent call last):
            ...
        ValueError: levels must be at least 2, not 1: one level says nothing
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape must be (C, H, W), all positive, not {shape}")
    if levels < 2:
        raise ValueError(f"levels must be at least 2, not {levels}: one level says nothing")
    if n_classes < 0:
        raise ValueError(f"n_classes must be 0 (unconditional) or more, not {n_classes}")
    return shape[0], shape[1], shape[2]


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
    if kind := _no_floats(x):
        raise TypeError(
            f"images must be a float tensor in [0, 1], not {kind}: "
            "ImageSet.batches gives such tensors; for raw levels divide by levels - 1"
        )
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(shape):
        raise ValueError(
            f"images must have shape (B, {', '.join(map(str, shape))}), not {tuple(x.shape)}: "
            "build the model with the data's shape, or reshape the images"
        )
    if not values_are_free_to_read(x) or not x.numel():
        return
    low, high = (bound.item() for bound in x.aminmax())  # one pass; a NaN anywhere makes both NaN
    if math.isnan(low):
        raise ValueError("images contain NaN: look for the step that produced it")
    if low < 0 or high > 1:
        raise ValueError(
            f"images must lie in [0, 1], not in [{low:.3g}, {high:.3g}]: "
            "divide raw levels by levels - 1; a model rescales inside"
        )
    if levels is not None:
        level = x.detach() * (levels - 1)
        if (level - level.round()).abs_().max() > 1e-3:
            raise ValueError(
                f"images must lie on the grid of {levels} levels, k / {levels - 1}, and these do "
                "not: binarise them (genlib.data.binarise), or build the model with the data's "
                "levels"
            )


def check_examples(x: Tensor, shape: tuple[int, ...], levels: int | None = None) -> None:
    """Refuse what is not a batch of images (B, C, H, W), see `check_images`, or of points (B, D).

    Example:
        >>> check_examples(torch.zeros(5, 3), shape=(2,))
        Traceback (most recent call last):
            ...
        ValueError: points must have shape (B, 2), not (5, 3): that is what the generator makes
    """
    if len(shape) == 3:
        check_images(x, (shape[0], shape[1], shape[2]), levels)
        return
    if kind := _no_floats(x):
        raise TypeError(f"points must be a float tensor, not {kind}")
    if tuple(x.shape[1:]) != tuple(shape):
        raise ValueError(
            f"points must have shape (B, {', '.join(map(str, shape))}), not {tuple(x.shape)}: "
            "that is what the generator makes"
        )
    if values_are_free_to_read(x) and not x.isfinite().all():
        raise ValueError("points contain NaN or infinity: look for the step that produced it")


def _no_floats(x: object) -> str:
    """What `x` is, if it is no tensor of floats; otherwise nothing."""
    if not isinstance(x, Tensor):
        return type(x).__name__
    return "" if x.is_floating_point() else str(x.dtype)


def nearest(value: object, choices: Sequence[str]) -> str:
    """A hint at what may have been meant; empty if nothing is near."""
    close = difflib.get_close_matches(str(value), choices, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def one_of(name: str, value: str, choices: Sequence[str]) -> str:
    """The value itself, or a ValueError that names what there is, and the nearest of it.

    Example:
        >>> one_of("model", "gatedpixelcnn", ("vae", "gated_pixelcnn"))
        Traceback (most recent call last):
            ...
        ValueError: no model is called 'gatedpixelcnn', there are vae, gated_pixelcnn; did you mean 'gated_pixelcnn'?
    """
    if value not in choices:
        hint = nearest(value, choices)
        raise ValueError(f"no {name} is called {value!r}, there are {', '.join(choices)}{hint}")
    return value


def at_least_one(name: str, value: int) -> int:
    """The value itself, or a ValueError: what is to be counted is not even one.

    Example:
        >>> at_least_one("steps", 0)
        Traceback (most recent call last):
            ...
        ValueError: steps must be at least 1, not 0
    """
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def check_labels(y: Tensor | None, batch: int, n_classes: int) -> None:
    """Refuse labels that are missing, surplus, of the wrong shape or type, or out of range.

    Args:
        y: labels, int64 (batch,), or None for an unconditional model.
        batch: how many images they belong to.
        n_classes: what the model was built with; 0 for an unconditional model.

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
    if not isinstance(y, Tensor):
        raise TypeError(f"labels must be a tensor, not {type(y).__name__}: use torch.as_tensor(y)")
    if y.dtype != torch.int64:
        raise TypeError(f"labels must be int64, not {y.dtype}: use y.long()")
    if y.shape != (batch,):
        raise ValueError(f"labels must have shape ({batch},), one an image, not {tuple(y.shape)}")
    if values_are_free_to_read(y) and batch and (y.min() < 0 or y.max() >= n_classes):
        raise ValueError(
            f"labels must lie in 0..{n_classes - 1}, not in {int(y.min())}..{int(y.max())}"
        )


def values_are_free_to_read(x: Tensor) -> bool:
    """Whether a check may look at the values: not on a GPU, nor where there are none yet.

    Example:
        >>> values_are_free_to_read(torch.zeros(2)), values_are_free_to_read(torch.zeros(2, device="meta"))
        (True, False)
    """
    on_cpu = x.device.type == "cpu" and not isinstance(x, FakeTensor)
    return on_cpu and not torch.compiler.is_compiling()
