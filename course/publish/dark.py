"""A figure for a dark page: paper and ink are exchanged, colours keep their hue, and images stay as they are."""

import io
import re
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image
from scipy import ndimage

from genlib.plots import style

PAGE = "#121212"  # the page of Sphinx's theme; tests/test_book.py compares them
PAPER = 0.975  # of white: a pixel as bright as this in all channels is paper
# what the course draws in, each with what is as easy to see on a dark page and as easy to tell from the others
INKS = {
    style.BLUE: "#62B4F0",
    style.ORANGE: "#E69F00",
    style.GREEN: "#1FBE90",
    style.RED: "#F2762E",
    style.SKY: "#2C78AB",
    style.PURPLE: "#E092BE",
    "black": "#E8E8E8",
    "#7B3F00": "#B9824A",
    "#8C8C00": "#C5C53A",
}
ALIKE = 0.04  # of a channel: further from every ink, a colour is none of them
SMALLEST = 20  # pixels: what is narrower is a letter or a marker, and no image
FULL = 0.85  # of its frame: what fills less is no image
PANEL, EMPTY = 150, 0.2  # what is larger than this and as empty is a frame around a chart


def twin(figure: Path) -> Path:
    """Where the form for a dark page lies.

    Example:
        >>> twin(Path("_images/a.png")).as_posix()
        '_images/dark-a.png'
    """
    return figure.with_name(f"dark-{figure.name}")


def with_twins(page: str) -> str:
    """HTML with both forms of every figure; the theme shows the one that suits the page, and loads no other.

    Example:
        >>> with_twins('<img alt="A 7." src="../_images/a.png" />').split("/> ")
        ['<img class="only-light" loading="lazy" alt="A 7." src="../_images/a.png" ',
         '<img class="only-dark" loading="lazy" alt="A 7." src="../_images/dark-a.png" />']
    """

    def both(image: re.Match) -> str:
        before, path, name, after = image.groups()
        attributes = re.sub(r'\bclass="[^"]*"', "", before).strip()
        return " ".join(
            f'<img class="only-{mode}" loading="lazy" {attributes} src="{path}{file}"{after}>'
            for mode, file in (("light", name), ("dark", twin(Path(name)).name))
        )

    return re.sub(r'<img\b([^>]*)\bsrc="((?:\.\./)*_images/)([^"]+\.png)"([^>]*)>', both, page)


def for_dark_page(png: bytes) -> bytes:
    """The figure as PNG bytes, on the colour of a dark page.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (4, 3), "white").save(file, "PNG")
        >>> dark = Image.open(io.BytesIO(for_dark_page(file.getvalue())))
        >>> dark.size, dark.getpixel((0, 0))
        ((4, 3), (18, 18, 18))
    """
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    stay = images(pixels)
    numbers, which = np.unique(pixels[~stay] @ [1 << 16, 1 << 8, 1], return_inverse=True)
    colours = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1) / 255
    changed = pixels.copy()
    changed[~stay] = np.rint(255 * exchanged(colours))[which]
    file = io.BytesIO()
    Image.fromarray(changed).save(file, "PNG")
    return file.getvalue()


def exchanged(colours: np.ndarray) -> np.ndarray:
    """The colours of a chart on a dark page, (N, 3) in [0, 1].

    A colour is an ink on white paper, more or less of it, and becomes the same share of the ink that stands for it.
    One that is none of `INKS` gets dark for bright, in the same hue.
    """
    page, light = np.array(to_rgb(PAGE)), 1 - colours
    middle = (colours.max(axis=1, keepdims=True) + colours.min(axis=1, keepdims=True)) / 2
    result = page + (1 - page) * np.clip(colours + 1 - 2 * middle, 0, 1)
    nearest = np.full(len(colours), ALIKE)
    for ink, dark in INKS.items():
        full = 1 - np.array(to_rgb(ink))  # what the ink takes from white
        share = np.clip(light @ full / (full @ full), 0, 1)[:, None]
        off = np.abs(light - share * full).max(axis=1)
        closer = off < nearest
        nearest = np.minimum(nearest, off)
        result[closer] = (page + share * (np.array(to_rgb(dark)) - page))[closer]
    return result


def images(pixels: np.ndarray) -> np.ndarray:
    """Where images are, (H, W): pixels that hang together and fill a rectangle, with all that it encloses.

    Args:
        pixels: (H, W, 3), from 0 to 255.
    """
    found = np.zeros(pixels.shape[:2], dtype=bool)
    parts, _ = ndimage.label(pixels.min(axis=2) < 255 * PAPER, structure=np.ones((3, 3)))
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        ink = parts[place] == number
        if min(ink.shape) < SMALLEST:
            continue
        whole = ndimage.binary_fill_holes(ink)
        chart = max(ink.shape) > PANEL and ink.mean() < EMPTY
        if whole.mean() >= FULL and not chart:
            # its edges without the ticks that stick out
            (top, bottom), (left, right) = edges(whole), edges(whole.T)
            found[place][top:bottom, left:right] = True
    return found


def edges(whole: np.ndarray) -> tuple[int, int]:
    """The rows between which most columns are full."""
    columns = whole[:, whole.any(axis=0)]
    first, last = columns.argmax(axis=0), len(columns) - columns[::-1].argmax(axis=0)
    return int(np.median(first)), int(np.median(last))
