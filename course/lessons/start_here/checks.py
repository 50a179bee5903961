"""The check of the first lesson, which shows how the checks of the exercises work."""

from torch import Tensor, rand

from course.checking.step import step, tame

__all__ = ["brightness"]


@step(
    lambda g: [
        tame(f"{n} images of shape {shape}", x=rand(n, *shape, generator=g))
        for n, shape in ((3, (1, 2, 2)), (2, (3, 4, 5)))
    ],
    passes="one number for each image.",
)
def brightness(x: Tensor) -> Tensor:
    """Check `brightness(x)`: the mean of the pixels of each image, (B, C, H, W) -> (B,).

    Example:
        >>> from course import checks
        >>> checks.start_here.brightness(lambda x: x.mean(dim=(1, 2, 3)))
        Right: one number for each image.
        >>> checks.start_here.brightness(lambda x: x.sum(dim=(1, 2, 3)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is the sum over the pixels: divide by their number...
    """
    return x.mean(dim=(1, 2, 3))


brightness.wrong = {
    "this is the mean over all images together: return one number for each image.": lambda x: x.mean(),
    "this is the sum over the pixels: divide by their number.": lambda x: x.sum(dim=(1, 2, 3)),
    "this is the mean over the images, axis 0: average over the other axes.": lambda x: x.mean(dim=0),
    "you average over the last axis only: channels, rows and columns all belong to the image.":
        lambda x: x.mean(dim=-1),
}  # fmt: skip
