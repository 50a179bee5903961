r"""A handwriting simulator: digits drawn by a pen, with every factor of variation known.

A digit is written in one of a few styles. A style is a list of knots that the pen passes, joined by
a cardinal spline; random numbers move the knots, bend and slant the whole, and set how thick and
where it is drawn. A pixel is as bright as the pen's line covers it.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlib.data.folders import NPZ_ERRORS, whole_file
from genlib.data.imageset import ImageSet
from genlib.validation import one_of

SIDE = 28  # pixels, as MNIST
EDGE = 1.5  # width of the grey border of a line, pixels
CHUNK = 16  # images drawn at once: so few that the work stays in the processor's cache

FACTORS: dict[str, tuple[float, float]] = {
    "slant": (-12.0, 32.0),  # degrees from upright, positive leans to the right
    "thickness": (1.7, 3.6),  # width of the line, pixels
    "curvature": (0.4, 1.6),  # 0 draws straight lines from knot to knot, 1 a smooth spline
    "size": (15.0, 18.5),  # longer side of the box around the pen's path, pixels
    "width": (0.8, 1.25),  # of the digit before it is slanted, relative to its style
    "x": (-1.3, 1.3),  # centre of the box, pixels right of the centre of the image
    "y": (-1.3, 1.3),  # and pixels below it
}
HAND = ("tilt", "taper", "waist", "belly", "pressure", "ebb")  # small, unnamed in the result
WOBBLE = 0.032  # standard deviation of a knot's place, in heights of a digit

# A digit and one of its styles a line. Each knot is "x,y" in hundredths of the digit's height, y
# downwards. "!" marks a corner, where the pen turns sharply, and ";" lifts the pen.
_TABLE = """
0: 46,0 14,16 2,60 26,99 60,84 72,38 52,4 38,2
0: 58,12 32,0 4,40 12,86 38,100 66,62 58,18 34,6
0: 40,6 14,20 2,60 24,96 58,88 74,48 62,8 36,0 22,14
1: 30,0 31,50 30,100
1: 14,22 36,0! 35,50 34,100
1: 12,20 36,0! 36,50 34,98 ; 8,100 62,97
2: 5,22 30,0 56,22 40,58 4,98! 34,94 68,97
2: 6,20 32,0 56,22 40,62 12,97 2,85 20,80 44,94 74,90
2: 2,12 34,0 56,16 34,56 2,98! 36,96 78,92
2: 2,8 30,2 58,8! 32,56 4,96! 40,90 72,100
3: 6,12 34,0 52,20 22,46! 58,70 34,100 0,88
3: 6,2 54,4! 26,40! 58,66 34,100 0,90
3: 4,12 36,0 50,22 28,46 58,70 32,100 -4,86
3: 0,16 30,0 52,16 30,44 16,50 30,46 56,68 30,100 -8,84
4: 14,0 3,54! 68,48 ; 52,10 46,55 42,100
4: 42,100 48,0! 2,64! 70,60
4: 4,2 6,42 30,50 54,36 ; 56,0 52,50 48,100
4: 20,6 2,46 20,54 66,38 ; 62,0 50,48 40,100
5: 14,4 8,44! 38,38 58,68 34,98 0,90 ; 14,4 64,0
5: 62,2 20,6! 12,42! 40,42 52,72 26,100 -4,90
5: 62,0 24,8 16,34 42,50 50,80 22,100 -4,86
5: 26,10 18,42! 44,46 50,74 26,100 -6,88 ; 26,10 54,8 82,0
6: 48,0 16,36 4,72 24,100 52,84 40,56 6,74
6: 34,0 8,50 10,90 34,100 56,78 38,56 10,76
6: 54,8 34,2 8,44 8,84 32,100 54,78 36,58 10,70
7: 2,6 28,6 60,2! 36,46 24,100
7: 2,4 56,2! 34,50 22,100 ; 8,52 56,48
7: 2,20 6,4! 36,6 64,2! 40,45 30,100
7: 0,10 30,4 56,4 52,24 34,58 18,100
8: 54,12 28,0 10,20 30,46 54,76 28,100 6,78 30,48 54,20 44,4
8: 32,0 10,22 32,45 54,22 30,0 ; 32,45 4,73 30,100 60,73 30,45
8: 58,6 30,4 16,24 34,48 46,74 22,100 2,84 24,54 60,22 54,4
9: 54,14 32,0 5,26 24,50 50,30 55,12! 52,60 44,100
9: 52,14 30,0 5,26 24,50 50,30 53,12! 52,70 30,100 6,90
9: 58,8 22,12 6,36 24,50 58,8! 46,54 36,100
9: 46,44 14,44 12,10 42,2 54,30 46,66 34,100
"""
STYLES: dict[int, list[str]] = {digit: [] for digit in range(10)}
for _line in _TABLE.split("\n")[1:-1]:
    STYLES[int(_line[0])].append(_line[3:])


@dataclass(frozen=True)
class _Style:
    r"""A style as matrices: the pen passes the points $(A + \kappa B) v$ of the knots $v$.

    $A$ goes straight from knot to knot, $B$ adds the bow of a cardinal spline (both by the cubic
    Hermite basis), and $\kappa$ is the curvature.
    """

    knots: Tensor  # v (V, 2)
    straight: Tensor  # A (P, V)
    bow: Tensor  # B (P, V)
    starts: Tensor  # (S,) the points from which the pen draws a line to the next point


def _read_style(text: str) -> _Style:
    """Compile one entry of STYLES."""
    knots: list[tuple[float, float]] = []
    straight: list[Tensor] = []
    bow: list[Tensor] = []
    starts: list[int] = []
    eye = torch.eye(text.count(","), dtype=torch.double)  # row i picks knot i
    n_points = 0
    for stroke in text.split(";"):
        words = stroke.split()
        first = len(knots)
        for word in words:
            x, y = word.rstrip("!").split(",")
            knots.append((int(x) / 100, int(y) / 100))
        corners = [i for i, word in enumerate(words) if word.endswith("!")]
        ends = [0, *corners, len(words) - 1]
        for a, b in zip(ends[:-1], ends[1:], strict=True):  # from corner to corner
            v = eye[first + a : first + b + 1]
            tangent = _tangents(v)
            for i in range(b - a):
                length = math.dist(knots[first + a + i], knots[first + a + i + 1])
                steps = max(2, math.ceil(length / 0.1))
                t = torch.arange(steps, dtype=torch.double)[:, None] / steps
                straight.append(v[i] + t * t * (3 - 2 * t) * (v[i + 1] - v[i]))
                bow.append(t * (1 - t) ** 2 * tangent[i] - t * t * (1 - t) * tangent[i + 1])
        straight.append(v[-1:])
        bow.append(torch.zeros_like(v[-1:]))
        total = sum(len(piece) for piece in straight)
        starts += range(n_points, total - 1)  # none from the last point: there the pen is lifted
        n_points = total
    return _Style(
        torch.tensor(knots, dtype=torch.double),
        torch.cat(straight),
        torch.cat(bow),
        torch.tensor(starts),
    )


def _tangents(v: Tensor) -> Tensor:
    """Direction of the pen at each knot of a smooth run, (V, ...) -> (V, ...)."""
    before, after = 2 * v[0] - v[1], 2 * v[-1] - v[-2]
    if len(v) > 2:  # at its ends the run goes on as the parabola through three knots does
        before, after = 3 * v[0] - 3 * v[1] + v[2], 3 * v[-1] - 3 * v[-2] + v[-3]
    v = torch.cat([before[None], v, after[None]])
    return (v[2:] - v[:-2]) / 2


_COMPILED = {digit: [_read_style(text) for text in texts] for digit, texts in STYLES.items()}
N_STYLES = torch.tensor([len(texts) for texts in STYLES.values()])
_MOST_KNOTS = max(len(style.knots) for styles in _COMPILED.values() for style in styles)
_N_UNIFORMS = 2 + len(FACTORS) + len(HAND) + 2 * _MOST_KNOTS


def _pen_path(style: _Style, factor: dict[str, Tensor], hand: dict[str, Tensor]) -> Tensor:
    """Where the pen goes, in pixels of the image: numbers (n, 1), wobble (n, V, 2) -> (n, P, 2)."""
    knots = style.knots + WOBBLE * hand["wobble"][:, : len(style.knots)]  # (n, V, 2)
    spline = style.straight + factor["curvature"][..., None] * style.bow  # (n, P, V)
    x, y = (spline @ knots).unbind(dim=2)  # (n, P)
    x, y = x - 0.3, y - 0.5
    x = x * (1 + 0.15 * hand["taper"] * y) + 0.1 * hand["belly"] * (0.25 - y * y)
    y = y + 0.1 * hand["waist"] * (0.25 - y * y) + 0.1 * hand["tilt"] * x
    x = factor["width"] * x - factor["slant"].deg2rad().tan() * y  # minus: y points down
    points = torch.stack([x, y], dim=2)
    low, high = points.amin(dim=1, keepdim=True), points.amax(dim=1, keepdim=True)
    scale = factor["size"][..., None] / (high - low).amax(dim=2, keepdim=True)
    centre = torch.stack([factor["x"], factor["y"]], dim=2) + (SIDE - 1) / 2  # (n, 1, 2)
    return (points - (low + high) / 2) * scale + centre


def _pen_radius(n_points: int, factor: dict[str, Tensor], hand: dict[str, Tensor]) -> Tensor:
    """Half the width of the line along the way, in pixels, (n, P): it is pressed unevenly."""
    way = torch.linspace(0, 1, n_points, dtype=torch.double)
    swell = 0.12 * torch.sin(2 * math.pi * way + 2 * hand["pressure"])
    fade = 0.05 * hand["ebb"] * (1 - 2 * way)
    return factor["thickness"] / 2 * (1 + swell + fade)


def _draw(path: Tensor, radius: Tensor, starts: Tensor) -> Tensor:
    """How far the line covers each pixel, (n, SIDE, SIDE) in [0, 1].

    The pen's points (n, P, 2) and half the line's width there (n, P) are in pixels; from the points
    `starts` (S,) a line goes to the next.
    """
    a, b = path[:, starts], path[:, starts + 1]
    v = b - a
    along = v / (v * v).sum(dim=2, keepdim=True).clamp_min(1e-12)
    pixel = torch.arange(SIDE, dtype=path.dtype)
    dx, dy = pixel - a[..., 0, None], pixel - a[..., 1, None]  # (n, S, SIDE)
    # t in [0, 1]: the point of the segment that is nearest to the pixel
    t = (dy * along[..., 1, None])[..., :, None] + (dx * along[..., 0, None])[..., None, :]
    t = t.clamp_(0, 1)  # (n, S, SIDE, SIDE)
    across = torch.addcmul(dx[..., None, :], t, v[..., 0, None, None], value=-1)
    down = torch.addcmul(dy[..., :, None], t, v[..., 1, None, None], value=-1)
    distance = across.square_().addcmul_(down, down).sqrt_()
    depth = (radius[:, starts, None, None] - distance).amax(dim=1)  # inside the line: positive
    ramp = (0.5 + depth / EDGE).clamp_(0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def strokes(
    n: int = 10_000,
    *,
    seed: int = 0,
    labels: int | Tensor | None = None,
    same_hand: bool = False,
    **factors: float | Tensor,
) -> ImageSet:
    r"""Simulated handwriting: digits 0 to 9, 1x28x28 with 256 grey levels, as many as you like.

    An image is a function of its label, its style, the seven `FACTORS`, each uniform over its range
    and independent of the others, and of small unreported movements of the hand. All of them come
    from one row of uniform numbers per image, so the first images of a larger set are those of a
    smaller one with the same seed, and fixing one factor leaves the others as they were.

    Args:
        n: number of images.
        seed: the same seed gives the same images.
        labels: the digit to write, one number or one an image; None draws them.
        same_hand: every image uses the random numbers of the first, so that only what you give
            as a tensor differs between them.
        factors: fix a factor to one number or to one an image: any name of `FACTORS`, or `style`.

    Shapes:
        -> images (n, 1, 28, 28), factors each (n,): slant in degrees; thickness, size, x and y in
        pixels; curvature and width relative to the style; style a whole number

    Raises:
        ValueError: n is below 1, a label is no digit, a factor is unknown or impossible.

    Example:
        >>> data = strokes(4, seed=1)
        >>> data
        ImageSet(4 images of shape (1, 28, 28), levels=256, n_classes=10)
        >>> sorted(data.factors)
        ['curvature', 'size', 'slant', 'style', 'thickness', 'width', 'x', 'y']
        >>> leaning = strokes(5, labels=4, same_hand=True, slant=torch.linspace(-10, 30, 5))
        >>> leaning.factors["slant"], leaning.factors["thickness"].unique().numel()
        (tensor([-10.,   0.,  10.,  20.,  30.]), 1)
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(n, _N_UNIFORMS, generator=generator, dtype=torch.double)
    if same_hand:
        u = u[:1].expand(n, -1)
    digit = (10 * u[:, 0]).floor() if labels is None else _one_each(labels, n, "labels")
    if not bool(((digit >= 0) & (digit <= 9) & (digit == digit.floor())).all()):
        raise ValueError("labels must be digits, 0 to 9")
    digit = digit.long()
    drawn = {"style": (N_STYLES[digit] * u[:, 1]).floor()}
    for i, (name, (low, high)) in enumerate(FACTORS.items()):
        drawn[name] = low + (high - low) * u[:, 2 + i]
    for name in factors:
        one_of("factor", name, ("style", *FACTORS))
    drawn |= {name: _one_each(value, n, name) for name, value in factors.items()}
    _check_values(drawn, N_STYLES[digit])

    normal = torch.special.ndtri(u[:, 2 + len(FACTORS) :].clamp(0.01, 0.99))  # cut at 2.3
    factor = {name: value[:, None] for name, value in drawn.items()}
    hand = {name: normal[:, i, None] for i, name in enumerate(HAND)}
    hand["wobble"] = normal[:, len(HAND) :].unflatten(1, (-1, 2))  # (n, V, 2)
    images = torch.empty(n, 1, SIDE, SIDE, dtype=torch.uint8)
    for d, styles in _COMPILED.items():
        for k, style in enumerate(styles):
            mine = ((digit == d) & (drawn["style"] == k)).nonzero()[:, 0]
            for rows in mine.split(CHUNK):
                factor_rows = {name: value[rows] for name, value in factor.items()}
                hand_rows = {name: value[rows] for name, value in hand.items()}
                path = _pen_path(style, factor_rows, hand_rows)
                radius = _pen_radius(path.shape[1], factor_rows, hand_rows)
                cover = _draw(path.float(), radius.float(), style.starts)
                images[rows, 0] = (255 * cover).round().to(torch.uint8)
    reported = {name: value.float() for name, value in drawn.items()}
    reported["style"] = drawn["style"].long()
    return ImageSet(images, digit, levels=256, n_classes=10, factors=reported)


def _one_each(value: float | Tensor, n: int, name: str) -> Tensor:
    """One number an image, (n,) float64."""
    value = torch.as_tensor(value, dtype=torch.double)
    if value.shape not in ((), (n,)):
        raise ValueError(
            f"{name} must be one number or a tensor of shape ({n},), not {tuple(value.shape)}"
        )
    return value.expand(n)


def _check_values(factors: Mapping[str, Tensor], n_styles: Tensor) -> None:
    for name, value in factors.items():
        if not bool(value.isfinite().all()):
            raise ValueError(f"{name} must be finite")
        if name in ("thickness", "size", "width") and not bool((value > 0).all()):
            raise ValueError(f"{name} must be positive; its usual range is {FACTORS[name]}")
    if not bool((factors["slant"].abs() < 90).all()):
        raise ValueError("slant must lie between -90 and 90 degrees: at 90 a digit is a line")
    style = factors["style"]
    if not bool(((style >= 0) & (style < n_styles) & (style == style.floor())).all()):
        raise ValueError(
            "style must be a whole number from 0, below the number of styles of the digit: "
            + ", ".join(f"{digit} has {count}" for digit, count in enumerate(N_STYLES.tolist()))
        )


def cached_strokes(n: int, seed: int, folder: Path) -> ImageSet:
    """What `strokes(n, seed)` returns, read from `folder` if it was drawn before.

    The file's name holds a hash of this source file and the version of torch, so a simulator that
    has changed never meets old images. A damaged file is drawn anew; where the folder cannot be
    written, nothing is kept.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     drawn = cached_strokes(3, 0, Path(folder))
        ...     read = cached_strokes(3, 0, Path(folder))
        >>> torch.equal(drawn.images, read.images)
        True
    """
    recipe = Path(__file__).read_bytes() + torch.__version__.encode()
    version = hashlib.sha256(recipe).hexdigest()[:12]
    path = folder / "strokes" / f"{n}-images-seed-{seed}-{version}.npz"
    try:
        with np.load(path) as file:
            tensors = {name: torch.from_numpy(file[name]) for name in file.files}
        images, labels = tensors.pop("images"), tensors.pop("labels")
        return ImageSet(images, labels, levels=256, n_classes=10, factors=tensors)
    except NPZ_ERRORS:
        pass  # not there, or damaged: draw it
    data = strokes(n, seed=seed)
    tensors = {"images": data.images, "labels": data.labels, **data.factors}
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    try:
        with whole_file(path) as unfinished:
            np.savez_compressed(unfinished, **arrays)
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else
    return data
