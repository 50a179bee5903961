r"""Checks for the exercises of lesson autoencoders: one `Step` each, whose form course/checking/step.py explains.

What is drawn is judged by what must hold of it: the model that `denoising_loss` is given remembers what it was shown,
and draws of codes are held against the mean and the covariance that they should have.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import (
    Tensor,
    arange,
    bincount,
    cat,
    cdist,
    diag,
    full,
    isin,
    ones,
    ones_like,
    outer,
    rand,
    rand_like,
    randn,
    randperm,
    stack,
    tensor,
)
from torch.autograd import grad
from torch.linalg import cholesky, qr, solve, svd, svdvals

from course.checking.core import Answer, Case, Wrong, call, normal, same
from course.checking.step import extreme, hard, step, tame

__all__ = [
    "denoising_loss",
    "draw_codes",
    "gradients",
    "mse",
    "nearest_centroid",
    "pca",
    "pca_errors",
    "reconstruct",
]


def _floats(x: Tensor) -> Tensor:
    return x.to(torch.get_default_dtype())


def _orthonormal(g: torch.Generator, n: int, columns: int) -> Tensor:
    """Random orthonormal columns, (n, columns), each orthogonal to the vector of ones."""
    x = randn(n, columns, generator=g, dtype=torch.float64)
    return qr(cat([ones(n, 1, dtype=torch.float64), x], dim=1)).Q[:, 1:]


def _cloud(g: torch.Generator, n: int, *std: float) -> Tensor:
    """n vectors around a mean far from zero, with exactly these standard deviations along their axes.

    So no two directions can be mistaken for each other, whatever the seed.
    """
    dims = len(std)
    turn = qr(randn(dims, dims, generator=g, dtype=torch.float64)).Q
    mean = 1 + rand(dims, generator=g, dtype=torch.float64)
    scaled = _orthonormal(g, n, dims) * n**0.5 * tensor(std, dtype=torch.float64)
    return _floats(mean + scaled @ turn.T)


# ---------------------------------------------------------------- 1. the reconstruction error


def _square(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square()


def _mse(x: Tensor, y: Tensor) -> Tensor:
    return _square(x, y).flatten(1).mean(dim=1)


@step(
    lambda g: [
        tame("grey images", x=normal(g, 3, 1, 4, 5), y=normal(g, 3, 1, 4, 5)),
        tame("colour images", x=normal(g, 2, 3, 3, 4), y=normal(g, 2, 3, 3, 4)),
        tame("vectors", x=normal(g, 5, 6), y=normal(g, 5, 6)),
        hard("a single image", x=normal(g, 1, 2, 3, 5), y=normal(g, 1, 2, 3, 5)),
        hard("a single vector", x=normal(g, 1, 7), y=normal(g, 1, 7)),
        extreme(
            "levels around 200", x=(levels := 200 + normal(g, 3, 8)), y=levels + normal(g, 3, 8)
        ),
    ],
    gradient="y",
    dtype="same",
    passes="the squared differences of an image, averaged: one number for each.",
)
def mse(x: Tensor, y: Tensor) -> Tensor:
    r"""Check `mse(x, y)`: the mean squared error, one number an image, (B, ...) -> (B,).

    Example:
        >>> from course import checks
        >>> checks.autoencoder.mse(lambda x, y: (x - y).square().flatten(1).sum(1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is the sum over the values of an image: ...
    """
    return _mse(x, y)


mse.wrong = {
    "this is the sum over the values of an image: divide by their number, so that images of another size can be "
    "compared.":
        lambda x, y: _square(x, y).flatten(1).sum(1),
    "you average over the batch too: return one number for each image.": lambda x, y: _square(x, y).mean(),
    "you return one number for each value: average over all axes but the first.": _square,
    "you average over the images, axis 0: average over the values of each image, all the other axes.":
        lambda x, y: _square(x, y).mean(0),
    "you average over the last axis only: all axes but the first belong to the image.":
        lambda x, y: _square(x, y).mean(-1),
    "you divide by the number of images: divide by the number of values in an image.":
        lambda x, y: _square(x, y).flatten(1).sum(1) / len(x),
    "this is the root of the mean squared error: leave the square.": lambda x, y: _mse(x, y).sqrt(),
    "these are absolute differences: square them.": lambda x, y: (x - y).abs().flatten(1).mean(1),
    "differences of opposite sign cancel: square each before you average.": lambda x, y: (x - y).flatten(1).mean(1),
    "this is the variance of the differences, around their mean: average their squares.":
        lambda x, y: (x - y).flatten(1).var(1),
    "you square the mean difference, in which opposite signs cancel: square first, then average.":
        lambda x, y: (x - y).flatten(1).mean(1).square(),
}  # fmt: skip


# ---------------------------------------------------------------- 2. principal components


def _directions(x: Tensor) -> Tensor:
    return svd(x, full_matrices=False).Vh


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(0)


def _without_signs(made: Any, x: Tensor, k: int) -> Any:
    """Each component from that end of its axis which lies on one side of a fixed direction."""
    if not isinstance(made, tuple | list) or len(made) != 2:
        return made
    mean, v = made
    if (
        isinstance(mean, Tensor) and mean.ndim == 2 and isinstance(v, Tensor) and v.ndim == 1
    ):  # the wrong way round
        return _without_signs((v, mean), x, k)[::-1]
    if not isinstance(v, Tensor) or v.ndim != 2 or v.shape[1] != x.shape[1] or not v.is_floating_point():  # fmt: skip
        return mean, v
    side = v @ arange(1, v.shape[1] + 1).to(v).sqrt().cos()
    return mean, v * (1 - 2 * (side < 0).to(v))[:, None]


def _what_the_components_are(
    case: Case, mean: Tensor, v: Tensor, right_mean: Tensor, want: Tensor
) -> str | None:
    if not same(mean, right_mean):
        return None
    axes, wanted = (x[:, :, None] * x[:, None, :] for x in (v.to(want), want))  # (k, D, D)
    if not same(axes.diagonal(dim1=1, dim2=2).sum(dim=1), ones_like(axes[:, 0, 0])):
        return "your components are not of length 1."
    if same(axes, wanted):
        return None
    if same(axes.sum(dim=0), wanted.sum(dim=0)):
        return (
            "your components span the right plane, but they are not its axes: the first is the one direction of "
            "largest variance, the next the largest of what is left."
        )
    row = next(i for i, (a, b) in enumerate(zip(axes, wanted, strict=True)) if not same(a, b))
    return (
        f"row {row} of your components is not the direction in which the images vary most around their mean, of all "
        "those at right angles to the rows before."
    )


@step(
    lambda g: [
        tame("k=2", x=_cloud(g, 12, 2.0, 1.5, 1.0, 0.7, 0.4), k=2),
        tame("k=3", x=_cloud(g, 20, 1.8, 1.4, 1.0, 0.7, 0.5, 0.3, 0.2), k=3),
        hard("k=1", x=_cloud(g, 9, 1.5, 1.0, 0.6, 0.3), k=1),
        hard("k=D", x=_cloud(g, 11, 2.0, 1.3, 0.5), k=3),
    ],
    results=("the mean", "the matrix of components"),
    read=_without_signs,
    probe=_what_the_components_are,
    dtype="same",
    passes="the mean, and k directions of largest variance around it.",
)
def pca(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    r"""Check `pca(x, k)`: x (N, D) -> the mean (D,) and the k directions of largest variance (k, D).

    A direction and its opposite are the same axis, so signs are not compared.

    Example:
        >>> from course import checks
        >>> checks.autoencoder.pca(lambda x, k: (x.mean(), torch.eye(k)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your mean is one number for everything: ...
    """
    return x.mean(dim=0), _directions(_centred(x))[:k]


pca.wrong = {
    "your mean is one number for everything: average over the images, axis 0, and keep one number a pixel.":
        lambda x, k: (x.mean(), None),
    "your mean is one number an image: average over the images, axis 0.": lambda x, k: (x.mean(1), None),
    "your mean is 0: take it before you subtract it.": lambda x, k: (0 * x.mean(0), None),
    "you leave the first direction out: Python counts from 0, `Vh[:k]`.":
        lambda x, k: (None, _directions(_centred(x))[1 : k + 1]),
    "you forget to subtract the mean before the SVD, so the first direction points from zero to the mean.":
        lambda x, k: (None, _directions(x)[:k]),
    "you subtract from each image its own brightness: subtract the mean image, one number a pixel.":
        lambda x, k: (None, _directions(x - x.mean(1, keepdim=True))[:k]),
    "you divide each pixel by its standard deviation: the error counts all pixels alike, so leave their scale.":
        lambda x, k: (None, _directions(_centred(x) / x.std(0))[:k]),
    "the right directions in reverse order: the largest variance comes first.":
        lambda x, k: (None, _directions(_centred(x))[:k].flip(0)),
    "these are the directions of smallest variance: `svd` gives the largest first, `eigh` the smallest.":
        lambda x, k: (None, _directions(_centred(x)).flip(0)[:k]),
    "your components are scaled by their singular values: return directions, of length 1.":
        lambda x, k: (None, _directions(_centred(x))[:k] * svdvals(_centred(x))[:k, None]),
    "you take columns of Vh: its rows are the directions.":
        lambda x, k: (None, _directions(_centred(x))[:, :k].T),
    "your components stand in columns, (D, k): return them as rows, (k, D).":
        lambda x, k: (None, _directions(_centred(x))[:k].T),
    "these are codes, one row an image: the directions are in Vh, not in U.":
        lambda x, k: (None, svd(_centred(x), full_matrices=False).U[:, :k]),
    "these are all D directions: return the first k.": lambda x, k: (None, _directions(_centred(x))),
}  # fmt: skip


# ---------------------------------------------------------------- 3. to a code and back


def _encode(x: Tensor, mean: Tensor, components: Tensor) -> Tensor:
    return (x - mean) @ components.T


def _decode(x: Tensor, mean: Tensor, components: Tensor) -> Tensor:
    return mean + _encode(x, mean, components) @ components


def _to_encode(g: torch.Generator, n: int, dims: int, k: int) -> dict[str, Tensor]:
    mean = _floats(1 + rand(dims, generator=g))
    return {"x": normal(g, n, dims), "mean": mean, "components": qr(normal(g, dims, k)).Q.T.contiguous()}  # fmt: skip


@step(
    lambda g: [
        tame("a code of 2", **_to_encode(g, 4, 6, 2)),
        tame("a code of 3", **_to_encode(g, 7, 5, 3)),
        hard("a code of 1", **_to_encode(g, 3, 4, 1)),
        hard("a single image", **_to_encode(g, 1, 6, 3)),
    ],
    results=("the tensor of codes", "the reconstruction"),
    dtype="same",
    passes="subtract the mean and project; go back along the components and add the mean.",
)
def reconstruct(x: Tensor, mean: Tensor, components: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `reconstruct(x, mean, components)`: the codes (N, k), and what they give back (N, D).

    mean (D,); components (k, D), orthonormal rows.

    Example:
        >>> from course import checks
        >>> checks.autoencoder.reconstruct(lambda x, mean, v: (x @ v.T, x @ v.T @ v))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you do not subtract the mean before you encode: ...
    """
    return _encode(x, mean, components), _decode(x, mean, components)


reconstruct.wrong = {
    "you do not subtract the mean before you encode: the mean image has the code zero.":
        lambda x, mean, v: (x @ v.T, None),
    "you add the mean before you encode: subtract it.": lambda x, mean, v: (_encode(x, -mean, v), None),
    "you subtract the mean of these images: subtract the one that is given, which comes from the training images.":
        lambda x, mean, v: (_encode(x, x.mean(0), v), None),
    "your codes have the wrong sign: encode x - mean, not mean - x.": lambda x, mean, v: (-_encode(x, mean, v), None),
    "your codes stand in columns: return one row an image, (N, k).": lambda x, mean, v: (_encode(x, mean, v).T, None),
    "the mean is not added back: decoding ends with `mean + ...`.":
        lambda x, mean, v: (None, _decode(x, mean, v) - mean),
    "you subtract the mean once more when you decode: add it back.":
        lambda x, mean, v: (None, _decode(x, mean, v) - 2 * mean),
    "you return x itself: decode the codes.": lambda x, mean, v: (None, x),
    "this is what gets lost, x minus its reconstruction: return the reconstruction itself.":
        lambda x, mean, v: (None, x - _decode(x, mean, v)),
    "you decode another code, that of x with its mean still in it: decode the code you return.":
        lambda x, mean, v: (None, mean + x @ v.T @ v),
}  # fmt: skip


# ---------------------------------------------------------------- 4. what PCA leaves out


def _variances(x: Tensor) -> Tensor:
    return svdvals(_centred(x)) ** 2 / len(x)


def _left_out(values: Tensor) -> Tensor:
    return cat([values.flip(0).cumsum(0).flip(0), values.new_zeros(1)]) / len(values)


@step(
    lambda g: [
        tame("12 images", x=_cloud(g, 12, 2.0, 1.5, 1.0, 0.7, 0.4)),
        tame("8 images", x=_cloud(g, 8, 1.8, 1.4, 0.9)),
        tame("30 images", x=_cloud(g, 30, 2.0, 1.9, 1.7, 1.3, 0.9, 0.3)),
        hard("as many images as pixels", x=2 + normal(g, 4, 4)),
    ],
    dtype="same",
    passes="the error with k numbers is the variance along the directions left out.",
)
def pca_errors(x: Tensor) -> Tensor:
    r"""Check `pca_errors(x)`: x (N, D) -> the error of PCA with k = 0, ..., D numbers, (D + 1,).

    $E_k = \frac{1}{D} \sum_{j > k} \lambda_j$ with $\lambda_j = s_j^2 / N$, from the singular values $s_j$
    of the centred images.

    Example:
        >>> from course import checks
        >>> checks.autoencoder.pca_errors(lambda x: torch.linalg.svdvals(x))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for 12 images the result of `pca_errors` has the shape (5,) where (6,) is wanted.
    """
    return _left_out(_variances(x))


pca_errors.wrong = {
    "you do not subtract the mean first: PCA spends no number on it.": lambda x: _left_out(svdvals(x) ** 2 / len(x)),
    "you add up singular values: a variance is s squared, divided by N.":
        lambda x: _left_out(svdvals(_centred(x)) / len(x)),
    "you divide by N - 1: the error is an average over N images.":
        lambda x: _left_out(_variances(x)) * len(x) / (len(x) - 1),
    "you do not divide by N: the error is an average over the images.": lambda x: _left_out(_variances(x)) * len(x),
    "this is the error of a whole image: divide by D, as a mean squared error does.":
        lambda x: _left_out(_variances(x)) * x.shape[1],
    "this is what k numbers keep: the error is what they leave out.":
        lambda x: _left_out(_variances(x))[0] - _left_out(_variances(x)),
    "you leave out the largest variances first: k numbers keep the k largest (`eigvalsh` gives the smallest first).":
        lambda x: _left_out(_variances(x).flip(0)),
    "this is the fraction of the variance that is left out: return the error itself.":
        lambda x: _left_out(_variances(x)) / _left_out(_variances(x))[0],
    "your list starts at k = 1: begin with k = 0, where the mean alone stands for every image.":
        lambda x: _left_out(_variances(x))[1:],
    "your list ends before k = D: there nothing is left out, and the error is 0.":
        lambda x: _left_out(_variances(x))[:-1],
    "these are the variances of single pixels: PCA leaves out variances along its directions.":
        lambda x: _left_out(_centred(x).square().mean(0).sort(descending=True).values),
    "you are one step ahead: for k = 0 all variance is left out, and place k wants what k numbers leave.":
        lambda x: cat([_left_out(_variances(x))[1:], x.new_zeros(1)]),
    "these are the variances one by one: the error with k numbers is the sum of all that are left out.":
        lambda x: _variances(x) / x.shape[1],
}  # fmt: skip


# ---------------------------------------------------------------- 5. a linear autoencoder learns


def _error(x: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
    return x @ encoder.T @ decoder.T - x  # (N, D)


def _back(x: Tensor, error: Tensor, decoder: Tensor, came: Tensor | None = None) -> Tensor:
    """The encoder's gradient, of an error that comes back through a decoder to what came in."""
    return 2 / x.numel() * (error @ decoder).T @ (x if came is None else came)


def _scaled(by: Callable[[Tensor], float]) -> Callable[..., tuple[Tensor, ...]]:
    return lambda x, encoder, decoder: tuple(by(x) * a for a in gradients.right(x, encoder, decoder))  # fmt: skip


def _linear(g: torch.Generator, n: int, dims: int, k: int) -> dict[str, Tensor]:
    return {"x": normal(g, n, dims), "encoder": normal(g, k, dims), "decoder": normal(g, dims, k)}


@step(
    lambda g: [
        tame("a code of 2", **_linear(g, 7, 5, 2)),
        tame("a code of 3", **_linear(g, 4, 6, 3)),
        hard("a single image", **_linear(g, 1, 5, 3)),
        hard("a code of 1", **_linear(g, 6, 4, 1)),
        hard("a code as large as the image", **_linear(g, 5, 3, 3)),
    ],
    results=("the encoder's gradient", "the decoder's gradient"),
    dtype="same",
    passes="the error times what came in, averaged; to the encoder it comes through the decoder.",
)
def gradients(x: Tensor, encoder: Tensor, decoder: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `gradients(x, encoder, decoder)`: of the mean squared error of a linear autoencoder.

    x (N, D), encoder W (k, D), decoder V (D, k); the code is $W x$, the reconstruction $V W x$. Wanted are
    the gradients in the shapes of W and V.

    Example:
        >>> from course import checks
        >>> checks.autoencoder.gradients(lambda x, encoder, decoder: (encoder, decoder.T))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for a code of 2 the encoder's gradient of `gradients` is wrong: ...
    """
    error = _error(x, encoder, decoder)
    return _back(x, error, decoder), 2 / x.numel() * error.T @ (x @ encoder.T)


gradients.wrong = {
    "the encoder's gradient has the wrong sign, and the decoder's has not.":
        lambda x, encoder, decoder: (-gradients.right(x, encoder, decoder)[0], None),
    "the decoder's gradient has the wrong sign, and the encoder's has not.":
        lambda x, encoder, decoder: (None, -gradients.right(x, encoder, decoder)[1]),
    "both gradients have the wrong sign: the error is reconstruction minus x. Descent subtracts the gradient later.":
        _scaled(lambda x: -1),
    "the factor 2 is missing: it comes from the square.": _scaled(lambda x: 1 / 2),
    "the factor 2 / (N D) is missing.": _scaled(lambda x: x.numel() / 2),
    "you subtract the mean of x: it comes with its mean subtracted.":
        lambda x, encoder, decoder: gradients.right(_centred(x), encoder, decoder),
    "the encoder's gradient ends with the error: it ends with what came in, x.":
        lambda x, encoder, decoder: (_back(x, _error(x, encoder, decoder), decoder, _error(x, encoder, decoder)), None),
    "you add up all squared errors: their mean has a factor 1 / (N D).": _scaled(lambda x: x.numel()),
    "you add up the images: average over them too, with a factor 1 / N.": _scaled(len),
    "you add up the values of an image: average over them too, with a factor 1 / D.": _scaled(lambda x: x.shape[1]),
    "the encoder's gradient carries the error back through the encoder: it flows back through the decoder, "
    "`error @ decoder`.":
        lambda x, encoder, decoder: (_back(x, _error(x, encoder, decoder), encoder.T), None),
    "the encoder's gradient uses the reconstruction where the error belongs.":
        lambda x, encoder, decoder: (_back(x, x @ encoder.T @ decoder.T, decoder), None),
    "the decoder's gradient uses the reconstruction where the error belongs.":
        lambda x, encoder, decoder: (None, 2 / x.numel() * (x @ encoder.T @ decoder.T).T @ (x @ encoder.T)),
    "the encoder's gradient is on its side: it has the shape of the encoder, (k, D).":
        lambda x, encoder, decoder: (gradients.right(x, encoder, decoder)[0].T, None),
    "the decoder's gradient is the transposed error times x: it wants the codes, (D, N) by (N, k).":
        lambda x, encoder, decoder: (None, 2 / x.numel() * _error(x, encoder, decoder).T @ x),
    "the decoder's gradient is on its side: it has the shape of the decoder, (D, k).":
        lambda x, encoder, decoder: (None, gradients.right(x, encoder, decoder)[1].T),
}  # fmt: skip


# ---------------------------------------------------------------- 6. denoising


class _Painter:
    """A model with one weight, 0.3 + weight * x, that remembers the images it was shown."""

    def __init__(self, shape: tuple[int, ...], weight: Tensor | float = 0.4):
        self.shape, self.weight = shape, weight
        self.seen: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or tuple(x.shape) != self.shape:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise Wrong(f"the model wants images of the shape {self.shape}, and was given {got}.")
        self.seen.append(x.detach().clone())
        return 0.3 + self.weight * x


def _to_repair(g: torch.Generator, shape: tuple[int, ...], drop: float) -> Case:
    model, x = _Painter(shape), _floats(0.2 + 0.7 * rand(shape, generator=g, dtype=torch.float64))
    return Case(f"drop={drop:g}", {"model": model, "x": x, "drop": drop}, about=model)


def _shown(case: Case) -> dict[str, Tensor]:
    """The clean images, what the model saw, and what it made of that."""
    _, x, drop = case.arguments.values()
    seen = case.about.seen
    if not seen:
        raise Wrong("your loss never calls the model.")
    if len(seen) > 1:
        raise Wrong(
            f"your loss calls the model {len(seen)} times: one call, on the corrupted images."
        )
    if drop and same(seen[0], x):
        raise Wrong(
            "the model sees the clean images: corrupt them before the call, or it has nothing to repair."
        )
    words = _not_dropped(x, seen[0], drop)
    if words:
        raise Wrong(words)
    return {"clean": x, "seen": seen[0], "out": _Painter(case.about.shape)(seen[0])}


def _not_dropped(x: Tensor, seen: Tensor, drop: float) -> str | None:
    """Why it is not so that each value of x was set to 0 with this probability on its own; None if it may be."""
    dropped, p = seen == 0, drop
    left_alone = seen[~dropped], x[~dropped]
    if not same(*left_alone):
        if 0 < p < 1 and same(left_alone[0], left_alone[1] / (1 - p)):
            return (
                "what is not dropped grows by 1 / (1 - drop), as in `F.dropout`: leave it as it is."
            )
        if not dropped.any() and (seen == 1).any():
            return "dropped values become 1: set them to 0."
        return "what the model sees is neither 0 nor the value of the image: no other noise, no scaling."
    share = dropped.double().mean().item()
    # independent values leave a share this close: six standard errors, one seed in many millions
    close = 6 * (p * (1 - p) / x.numel()) ** 0.5 + 1e-9
    if 0 < p < 1:
        for words, together in {
            "you drop whole images: decide for each value on its own.": dropped[:, :1, :1, :1],
            "all images of a batch lose the same values: draw a mask as large as x.": dropped[:1],
            "all colours of a pixel drop together: decide for each value on its own.": dropped[:, :1],
            "all values of a column drop together: decide for each value on its own.": dropped[:, :, :1],
            "all values of a row drop together: decide for each value on its own.": dropped[..., :1],
        }.items():  # fmt: skip
            if together.shape != dropped.shape and (dropped == together).all():
                return words
    if abs(share - p) > close:
        if abs(share - (1 - p)) <= close:
            return "you keep with probability `drop`: `drop` is the probability to lose a value."
        return f"with drop={p} you drop {share:.0%} of the values."
    if not 0 < p < 1:
        return None
    if len(x) > 20 and (dropped.flatten(1).sum(dim=1) == dropped[0].sum()).all():
        return (
            "every image loses exactly as many values: decide for each value on its own, with "
            "`torch.rand_like(x) < drop`."
        )
    odd = dropped.double() - p  # of mean 0 and variance p (1 - p), independent
    for axis in range(4):
        n = odd.shape[axis] - 1
        pairs = odd.narrow(axis, 0, n) * odd.narrow(axis, 1, n)
        if pairs.numel() and abs(pairs.sum()) > 6 * p * (1 - p) * pairs.numel() ** 0.5:
            return (
                f"neighbours along axis {axis} of x drop together too often or too rarely: decide for each value on "
                "its own."
            )
    weight = x.double() - x.double().mean()
    if abs((odd * weight).sum()) > 6 * (p * (1 - p) * weight.square().sum()).sqrt():
        return "which values you drop depends on the image: draw them at random, whatever x is."
    return None


def _gradient_of_the_loss(answer: Answer, g: torch.Generator) -> str | None:
    x, weight = _floats(0.2 + 0.7 * rand(3, 1, 4, 5, generator=g)), normal(g, 1).requires_grad_()
    weigh = _floats(tensor([1.0, -2.0, 0.5]))
    given = {"model": _Painter(tuple(x.shape), weight), "x": x, "drop": 0.0}
    result = call("denoising_loss", answer, Case("a model to train", given))
    got = grad((weigh * result).sum(), weight)[0] if result.requires_grad else 0 * weight
    if not got.any():
        return (
            "no gradient reaches `model`, so nothing could learn: leave out `.detach()`, `.data`, `.item()` and "
            "`torch.no_grad()`."
        )
    [wanted] = grad((weigh * _mse(0.3 + weight * x, x)).sum(), weight)
    if not same(got, wanted):
        return "the values are right, but the gradient of `model` is not: is something on its way detached?"
    return None


def _repairing(wrong: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Answer:
    """An answer that drops as it should, and then makes a mistake."""

    def answer(model: Answer, x: Tensor, drop: float) -> Tensor:
        seen = x * (rand_like(x) >= drop)
        return wrong(x, seen, model(seen))

    return answer


@step(
    lambda g: [
        _to_repair(g, (120, 1, 6, 6), 0.25),
        _to_repair(g, (80, 3, 4, 5), 0.7),
        _to_repair(g, (10, 1, 3, 4), 0.0),
        _to_repair(g, (1, 2, 30, 40), 0.4),
    ],
    random=True,
    compared=True,
    told=_shown,
    play=_repairing,
    live=[_gradient_of_the_loss],
    passes="the model sees the holes, and is compared with the whole image.",
)
def denoising_loss(clean: Tensor, seen: Tensor, out: Tensor) -> Tensor:
    r"""Check `denoising_loss(model, x, drop)`: clean images against what the model makes of dropped ones.

    Each value of x (B, C, H, W) becomes 0 with probability `drop`, on its own. One number an image, (B,).
    The check's own model remembers what it was shown.

    Example:
        >>> from course import checks
        >>> checks.autoencoder.denoising_loss(lambda model, x, drop: (model(x) - x).square().mean((1, 2, 3)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the model sees the clean images: ...
    """
    return _mse(out, clean)


denoising_loss.wrong = {
    "your target is the corrupted image: compare with the clean one, or the model learns to leave the holes.":
        lambda clean, seen, out: _mse(out, seen),
    "you compare the corrupted image with the clean one: compare what the model makes of it.":
        lambda clean, seen, out: _mse(seen, clean),
    "you count the dropped values only: the model must give back the whole image.":
        lambda clean, seen, out: (_square(out, clean) * (seen == 0)).flatten(1).mean(1),
    "you count only what was not dropped: the holes are what the model must fill.":
        lambda clean, seen, out: (_square(out, clean) * (seen != 0)).flatten(1).mean(1),
    "you average over the batch too: return one number for each image, as `mse` does.":
        lambda clean, seen, out: _square(out, clean).mean(),
    "this is the sum over the values of an image: take their mean, as `mse` does.":
        lambda clean, seen, out: _square(out, clean).flatten(1).sum(1),
}  # fmt: skip


# ---------------------------------------------------------------- 7. few labels


def _centroids(codes: Tensor, labels: Tensor) -> Tensor:
    return stack([codes[labels == c].mean(dim=0) for c in labels.unique()])


def _nearest(
    far: Callable[[Tensor, Tensor], Tensor], centroids: Callable[[Tensor, Tensor], Tensor] = _centroids
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:  # fmt: skip
    """The class whose centroid is nearest, with another distance or other centroids."""
    return lambda codes, labels, queries: labels.unique()[far(queries, centroids(codes, labels)).argmin(1)]  # fmt: skip


def _of_all_up_to_the_largest(empty: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A centroid for every class, with that number where one has no label."""

    def nearest(codes: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
        there = bincount(labels) > 0
        centroids = full((len(there), codes.shape[1]), empty).to(codes)
        centroids[there] = _centroids(codes, labels)
        distances = cdist(queries, centroids)
        distances[:, ~there] = distances[:, ~there].nan_to_num(-1.0)  # `argmin` picks NaN
        return distances.argmin(dim=1)

    return nearest


def _labelled(g: torch.Generator, counts: dict[int, int], k: int, queries: int) -> Case:
    labels = tensor(list(counts)).repeat_interleave(tensor(list(counts.values())))
    labels = labels[randperm(len(labels), generator=g)]
    middle = 1.5 * normal(g, max(counts) + 1, k)
    if k == 1:  # on both sides of 0, so that angles are no ties
        middle = 3 * (-1.0) ** arange(len(middle))[:, None].to(middle)
    return tame(
        f"the labels {list(counts)}" + f" and {queries} query" * (queries == 1),
        codes=middle[labels] + normal(g, len(labels), k),
        labels=labels,
        queries=1.5 * normal(g, queries, k),
    )


def _which_is_nearer(case: Case, got: Tensor, want: Tensor) -> str | None:
    codes, labels, queries = case.arguments.values()
    if not isin(got.double(), labels.double()).all():
        return "you return a class that has no labelled code: return one of `labels`."
    n = int((got != want).nonzero()[0])
    a, b = ((queries[n] - codes[labels == c[n]].mean(0)).norm() for c in (got, want))
    return (
        f"for {case.label} query {n} gets the class {got[n]:g}, whose centroid is {a:.3g} away; that of {want[n]:g} is "
        f"nearer, {b:.3g} away."
    )


@step(
    lambda g: [
        _labelled(g, {0: 2, 1: 5, 2: 3, 3: 7}, 3, 150),
        _labelled(g, {2: 4, 5: 9, 7: 2}, 3, 140),
        _labelled(g, {3: 1, 8: 1, 41: 1}, 2, 60),
        _labelled(g, {4: 3}, 2, 5),
        _labelled(g, {1: 6, 6: 2}, 1, 40),
        _labelled(g, {0: 3, 9: 4}, 4, 1),
    ],
    probe=_which_is_nearer,
    passes="one centroid a class, and each query goes to the nearest.",
)
def nearest_centroid(codes: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    r"""Check `nearest_centroid(codes, labels, queries)`: the class whose mean code is nearest, (M,).

    codes (N, k) with labels (N,), whole numbers of any kind; queries (M, k).

    Example:
        >>> from course import checks
        >>> checks.autoencoder.nearest_centroid(lambda codes, labels, q: labels[torch.cdist(q, codes).argmin(1)])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you take the class of the nearest code: ...
    """
    return _nearest(cdist)(codes, labels, queries)


nearest_centroid.wrong = {
    "you return the place of the centroid in your list: return its class, `classes[place]`. Labels need not be 0, 1, "
    "2.":
        lambda codes, labels, queries: cdist(queries, _centroids(codes, labels)).argmin(1),
    "you take the class of the nearest code: average the codes of each class first.":
        lambda codes, labels, queries: labels[cdist(queries, codes).argmin(1)],
    "you add up the codes of a class: a centroid is their mean.":
        _nearest(cdist, lambda codes, labels: stack([codes[labels == c].sum(0) for c in labels.unique()])),
    "you take the median of the codes of a class: a centroid is their mean.":
        _nearest(cdist, lambda codes, labels: stack([codes[labels == c].median(0).values for c in labels.unique()])),
    "you take the farthest centroid: `argmin`, not `argmax`.": _nearest(lambda a, b: -cdist(a, b)),
    "you take the largest dot product, which prefers long centroids: take the smallest distance.":
        _nearest(lambda a, b: -(a @ b.T)),
    "you take the smallest angle, in which lengths do not count: take the smallest distance.":
        _nearest(lambda a, b: -(a @ b.T) / b.norm(dim=1)),
    "you add up absolute differences: the distance is the root of the sum of squares.":
        _nearest(lambda a, b: cdist(a, b, p=1)),
    "you take the largest of the differences: the distance is the root of the sum of squares.":
        _nearest(lambda a, b: cdist(a, b, p=math.inf)),
    "you add up the differences, in which opposite signs cancel: square them first.":
        _nearest(lambda a, b: (a[:, None] - b).sum(2)),
    "these are the distances to all centroids: return the class of the nearest.":
        lambda codes, labels, queries: cdist(queries, _centroids(codes, labels)),
    "you classify the labelled codes: classify the queries.":
        lambda codes, labels, queries: nearest_centroid.right(codes, labels, codes),
    "a class without a single label gets a centroid of NaN, and `argmin` picks it: go through `labels.unique()`.":
        _of_all_up_to_the_largest(math.nan),
    "a class without a single label gets its centroid at 0: go through `labels.unique()`.":
        _of_all_up_to_the_largest(0.0),
}  # fmt: skip


# ---------------------------------------------------------------- 8. new codes

# what the draws of each mistake have for a mean and a covariance
_MOMENTS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "these are standard normal numbers: give them the mean and the covariance of the codes.":
        lambda mean, cov: (0 * mean, torch.eye(len(mean)).to(cov)),
    "your draws have the right mean, but a covariance of 1: multiply the noise by a root of the covariance.":
        lambda mean, cov: (mean, torch.eye(len(mean)).to(cov)),
    "your draws lie around zero: add the mean of the codes.": lambda mean, cov: (0 * mean, cov),
    "the numbers of a code are drawn each on its own: their correlations are lost. Use the whole covariance.":
        lambda mean, cov: (mean, diag(cov.diagonal())),
    "you do not subtract the mean before you multiply the codes by themselves: `torch.cov` does.":
        lambda mean, cov: (mean, cov + outer(mean, mean)),
    "this is the root of the correlations: take that of the covariance.":
        lambda mean, cov: (mean, cov / outer(cov.diagonal(), cov.diagonal()).sqrt()),
    "you multiply the noise by the covariance itself: multiply by its root, from `cholesky`.":
        lambda mean, cov: (mean, cov @ cov),
    "the Cholesky factor is transposed: a row of noise becomes `noise @ L.T`.":
        lambda mean, cov: (mean, cholesky(cov).T @ cholesky(cov)),
    "you multiply the noise by variances: multiply by a root of the covariance.":
        lambda mean, cov: (mean, diag(cov.diagonal() ** 2)),
    "your noise is uniform between 0 and 1: `torch.randn` is normal, `torch.rand` is not.":
        lambda mean, cov: (mean + cholesky(cov).sum(dim=1) / 2, cov / 12),
}  # fmt: skip


def _written(numbers: Tensor) -> str:
    return ", ".join(f"{x:.3g}" for x in numbers.tolist())


def _has_moments(draws: Tensor, mean: Tensor, cov: Tensor) -> bool:
    """The draws have this mean and covariance, up to six standard errors and a division by N - 1."""
    n, variance = len(draws), cov.diagonal()
    draws = draws.double()
    near_mean = (draws.mean(dim=0) - mean).abs() <= 6 * (variance / n).sqrt()
    spread = (variance[:, None] * variance + cov**2).sqrt()  # of a product of two normal numbers
    near_cov = (draws.T.cov() - cov).abs() <= 6 * spread / n**0.5 + 0.004 * spread
    return bool(near_mean.all() and near_cov.all())


def _not_from_the_gaussian(case: Case, draws: Tensor) -> str | None:
    codes, n = case.arguments.values()
    if n == 1:
        return None
    if (draws == draws[:1]).all():
        return "all draws are the same: draw noise once for each code, (n, k)."
    if (draws[:50, None] == codes).all(dim=2).any(dim=1).all():
        return "these are the given codes again: draw new ones from a Gaussian."
    if len(draws[:, 0].unique()) < 0.9 * n:
        return "many of your draws are the same: draw noise for each code, (n, k)."
    if n < 1000:
        return None
    mean, cov = codes.double().mean(dim=0), codes.double().T.cov()
    if not _has_moments(draws, mean, cov):
        for words, moments in _MOMENTS.items():
            if _has_moments(draws, *moments(mean, cov)):
                return words
        own_mean, own = draws.double().mean(dim=0), draws.double().T.cov()
        if _has_moments(draws, own_mean, cov):
            return (
                f"the covariance of your draws is right, their mean is not: {_written(own_mean)}, and that of the "
                f"codes {_written(mean)}."
            )
        if (own.det().abs() / own.diagonal().prod()) < 1e-6:
            return "the numbers of a code share one noise: draw noise for each of them, (n, k)."
        times = own.trace() / cov.trace()
        if not 0.8 < times < 1.25 and _has_moments(draws, mean, times * cov):
            return f"the covariance of your draws is {times:.3g} times that of the codes."
        if _has_moments(draws, mean, own):
            return (
                f"the mean of your draws is right, their covariance is not: their variances are "
                f"{_written(own.diagonal())}, and those of the codes {_written(cov.diagonal())}."
            )
        return "your draws have neither the mean nor the covariance of the codes."
    white = solve(cholesky(cov), (draws.double() - mean).T)
    # a normal number has the fourth moment 3, and its estimate a variance of 96 / n: six standard errors
    if ((white**4).mean(dim=1) - 3).abs().max() > 0.7:
        return "your draws have the right mean and covariance, but they are not normal: start from `torch.randn`."
    return None


def _to_imitate(g: torch.Generator, k: int, *sizes: int) -> list[Case]:
    root = (normal(g, k, k).tril(-1).sign() + torch.eye(k)) * tensor([1.6, 0.7, 0.9])[:k, None]
    codes = _floats(tensor([2.0, -1.5, 1.0])[:k] + normal(g, 400, k) @ _floats(root).T)
    return [tame(f"n={n} and codes of {k} numbers", codes=codes, n=n) for n in sizes]


@step(
    lambda g: [*_to_imitate(g, 3, 7, 7_000), *_to_imitate(g, 2, 1, 7_000)],
    random=True,
    dtype="same",
    properties=[_not_from_the_gaussian],
    passes="new codes with the mean and the covariance of the old ones.",
)
def draw_codes(codes: Tensor, n: int) -> Tensor:
    r"""Check `draw_codes(codes, n)`: n draws from the Gaussian with the codes' mean and covariance.

    codes (N, k) -> (n, k). Thousands of draws are held against that mean and covariance.

    Example:
        >>> from course import checks
        >>> checks.autoencoder.draw_codes(lambda codes, n: torch.randn(n, codes.shape[1]))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: these are standard normal numbers: ...
    """
    return codes.mean(dim=0) + randn(n, codes.shape[1]).to(codes) @ cholesky(codes.T.cov()).T


draw_codes.wrong = {
    "all draws are the mean of the codes: add noise of their covariance.":
        lambda codes, n: codes.mean(0).expand(n, -1),
}  # fmt: skip
