"""Deep generative models for the course: small, tested, on any device."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds to import, and `import genlib` alone needs none of it
    from torch import nn

__version__ = "0.1.0"


def pretrained(name: str) -> "nn.Module":
    """A small trained model that comes with the course, ready to draw from; nothing is downloaded.

    `genlib.box.names()` lists what there is, and `genlib.box.card(name)` says how each was trained
    and how good it is.

    Args:
        name: "gated_pixelcnn-mnist", for instance.

    Returns:
        The model in eval mode, in float32 and on the CPU, new in each call. Move it where you like.

    Raises:
        ValueError: no model has this name.
        genlib.box.BoxError: its file is missing or damaged, or belongs to another version.

    Example:
        >>> import genlib.box
        >>> [genlib.pretrained(name).training for name in genlib.box.names()[:1]]
        [False]
    """
    from genlib.box import load

    return load(name)
