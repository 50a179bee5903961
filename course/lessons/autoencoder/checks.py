r"""Checks for the exercises of lesson autoencoders.

Each takes the student's function and compares it, on inputs of its own, with the right function and with
the wrong ones that students write. It prints one line, or raises `Wrong` with the likely mistake.
Another `seed` gives other inputs and the same verdict.
"""

from collections.abc import Callable

import torch
from torch import Tensor, cat, cdist, diag, isfinite, ones, rand, stack, where, zeros
from torch.linalg import cholesky, qr, svd, svdvals

from course.checking.core import (
    Answer,
    Case,
    Mistakes,
    Wrong,
    as_tensor,
    call,
    collect,
    judge,
    judge_gradient,
    normal,
    own_random_numbers,
    same,
)

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


def _orthonormal(generator: torch.Generator, n: int, columns: int) -> Tensor:
    """Random orthonormal columns, (n, columns), each orthogonal to the vector of ones."""
    x = torch.randn(n, columns, generator=generator, dtype=torch.float64)
    return qr(cat([ones(n, 1, dtype=torch.float64), x], dim=1)).Q[:, 1:]


def _cloud(generator: torch.Generator, n: int, std: list[float]) -> Tensor:
    """n vectors around a mean far from zero, with exactly these standard deviations along their axes.

    So no two directions can be mistaken for each other, whatever the seed.
    """
    dims = len(std)
    turn = qr(torch.randn(dims, dims, generator=generator, dtype=torch.float64)).Q
    mean = 1 + rand(dims, generator=generator, dtype=torch.float64)
    scaled = _orthonormal(generator, n, dims) * n**0.5 * torch.tensor(std, dtype=torch.float64)
    return (mean + scaled @ turn.T).to(torch.get_default_dtype())


# ---------------------------------------------------------------- 1. the reconstruction error


def mse(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `mse(x, y)`: the mean squared error, one number an image, (B, ...) -> (B,).

    Example:
        >>> from course import checks
        >>> checks.autoencoder.mse(lambda x, y: (x - y).square().flatten(1).sum(1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is the sum over the values of an image: ...
    """

    def square(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square()

    def right(x: Tensor, y: Tensor) -> Tensor:
        return square(x, y).flatten(1).mean(dim=1)

    mistakes: Mistakes = [
        (
            "this is the sum over the values of an image: divide by their number, so that images of "
            "another size can be compared.",
            lambda x, y: square(x, y).flatten(1).sum(dim=1),
        ),
        (
            "you average over the batch too: return one number for each image.",
            lambda x, y: right(x, y).mean(),
        ),
        (
            "you return one number for each value: average over all axes but the first.",
            square,
        ),
        (
            "you average over the images, axis 0: average over the values of each image, all the other "
            "axes.",
            lambda x, y: square(x, y).mean(dim=0),
        ),
        (
            "you average over the last axis only: all axes but the first belong to the image.",
            lambda x, y: square(x, y).mean(dim=-1),
        ),
        (
            "you divide by the number of images: divide by the number of values in an image.",
            lambda x, y: square(x, y).flatten(1).sum(dim=1) / len(x),
        ),
        (
            "this is the root of the mean squared error: leave the square.",
            lambda x, y: right(x, y).sqrt(),
        ),
        (
            "these are absolute differences: square them.",
            lambda x, y: (x - y).abs().flatten(1).mean(dim=1),
        ),
        (
            "differences of opposite sign cancel: square each before you average.",
            lambda x, y: (x - y).flatten(1).mean(dim=1),
        ),
        (
            "you square the mean difference, in which opposite signs cancel: square first, then average.",
            lambda x, y: (x - y).flatten(1).mean(dim=1).square(),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = [
            Case(label, {"x": normal(generator, *shape), "y": normal(generator, *shape)})
            for label, shape in (
                ("grey images", (3, 1, 4, 5)),
                ("colour images", (2, 3, 3, 4)),
                ("vectors", (5, 6)),
            )
        ]
        judge("mse", cases, collect("mse", answer, cases), right, mistakes)

        judge_gradient("mse", answer, cases[0], right, ["y"])
    print("Right: the squared differences of an image, averaged: one number for each.")


# ---------------------------------------------------------------- 2. principal components


def pca(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `pca(x, k)`: x (N, D) -> the mean (D,) and the k directions of largest variance (k, D).

    A direction and its opposite are the same axis, so $v_j v_j^\top$ is compared and not $v_j$.

    Example:
        >>> from course import checks
        >>> checks.autoencoder.pca(lambda x, k: (x.mean(), torch.eye(k)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your mean is one number for everything: ...
    """

    def mean(x: Tensor, k: int) -> Tensor:
        return x.mean(dim=0)

    def directions(x: Tensor) -> Tensor:
        return svd(x, full_matrices=False).Vh

    def axes(components: Tensor) -> Tensor:
        return components[:, :, None] * components[:, None, :]  # (k, D, D)

    def right(x: Tensor, k: int) -> Tensor:
        return axes(directions(x - x.mean(dim=0))[:k])

    wrong_means: Mistakes = [
        (
            "your mean is one number for everything: average over the images, axis 0, and keep one number "
            "a pixel.",
            lambda x, k: x.mean(),
        ),
        (
            "your mean is one number an image: average over the images, axis 0.",
            lambda x, k: x.mean(dim=1),
        ),
    ]
    wrong_axes: Mistakes = [
        (
            "you forget to subtract the mean before the SVD, so the first direction points from zero to the "
            "mean.",
            lambda x, k: axes(directions(x)[:k]),
        ),
        (
            "you subtract from each image its own brightness: subtract the mean image, one number a "
            "pixel.",
            lambda x, k: axes(directions(x - x.mean(dim=1, keepdim=True))[:k]),
        ),
        (
            "you divide each pixel by its standard deviation: the error counts all pixels alike, so leave "
            "their scale.",
            lambda x, k: axes(directions((x - x.mean(dim=0)) / x.std(dim=0))[:k]),
        ),
        (
            "these are the directions of smallest variance: `svd` gives the largest first, `eigh` the "
            "smallest.",
            lambda x, k: axes(directions(x - x.mean(dim=0)).flip(0)[:k]),
        ),
        (
            "the right directions in reverse order: the largest variance comes first.",
            lambda x, k: right(x, k).flip(0),
        ),
        (
            "your components are scaled by their singular values: return directions, of length 1.",
            lambda x, k: right(x, k) * svdvals(x - x.mean(dim=0))[:k, None, None] ** 2,
        ),
        (
            "you take columns of Vh: its rows are the directions.",
            lambda x, k: axes(directions(x - x.mean(dim=0))[:, :k].T),
        ),
    ]

    def probe(case: Case, got: Tensor, want: Tensor) -> str:
        if not same(got.diagonal(dim1=1, dim2=2).sum(dim=1), ones(len(got))):
            return "your components are not of length 1."
        if same(got.sum(dim=0), want.sum(dim=0)):
            return (
                "your components span the right plane, but they are not its axes: the first is the one "
                "direction of largest variance, the next the largest of what is left."
            )
        row = next(i for i, (a, b) in enumerate(zip(got, want, strict=True)) if not same(a, b))
        return (
            f"row {row} of your components is not the direction in which the images vary most around their "
            "mean, of all those at right angles to the rows before."
        )

    with own_random_numbers(seed) as generator:
        cases = []
        for n, k, std in (
            (12, 2, [2.0, 1.5, 1.0, 0.7, 0.4]),
            (20, 3, [1.8, 1.4, 1.0, 0.7, 0.5, 0.3, 0.2]),
            (9, 1, [1.5, 1.0, 0.6, 0.3]),
        ):
            cases.append(Case(f"k={k}", {"x": _cloud(generator, n, std), "k": k}))
        given = collect("pca", answer, cases, results=("the mean", "the components"))
        parts = [(centre,) for centre, _ in given]
        judge("pca", cases, parts, mean, wrong_means, results=("the mean",))
        squared = []
        for case, (_, components) in zip(cases, given, strict=True):
            x, k = case.arguments.values()
            shape, (n, dims) = tuple(components.shape), x.shape
            if shape == (dims, k):
                raise Wrong(
                    f"your components have the shape {shape}: return them as rows, (k, D) = {(k, dims)}."
                )
            if shape == (n, k):
                raise Wrong(
                    f"your components have the shape {shape}, one row an image: these are codes. The "
                    "directions are in Vh, not in U."
                )
            if shape == (dims, dims):
                raise Wrong(
                    f"your components have the shape {shape}, all D directions: return the first k."
                )
            if shape != (k, dims):
                raise Wrong(
                    f"your components have the shape {shape} where (k, D) = {(k, dims)} is wanted."
                )
            squared.append((axes(components),))
        judge("pca", cases, squared, right, wrong_axes, probe=probe, results=("v times v",))
    print("Right: the mean, and k directions of largest variance around it.")


# ---------------------------------------------------------------- 3. to a code and back


def reconstruct(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `reconstruct(x, mean, components)`: the codes (N, k), and what they give back (N, D).

    mean (D,); components (k, D), orthonormal rows.

    Example:
        >>> from course import checks
        >>> checks.autoencoder.reconstruct(lambda x, mean, v: (x @ v.T, x @ v.T @ v))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you do not subtract the mean before you encode: ...
    """

    def encode(x: Tensor, mean: Tensor, components: Tensor) -> Tensor:
        return (x - mean) @ components.T

    def decode(x: Tensor, mean: Tensor, components: Tensor) -> Tensor:
        return mean + encode(x, mean, components) @ components

    wrong_codes: Mistakes = [
        (
            "you do not subtract the mean before you encode: the mean image has the code zero.",
            lambda x, mean, components: x @ components.T,
        ),
        (
            "you add the mean before you encode: subtract it.",
            lambda x, mean, components: encode(x, -mean, components),
        ),
        (
            "you subtract the mean of these images: subtract the one that is given, which comes from the "
            "training images.",
            lambda x, mean, components: encode(x, x.mean(dim=0), components),
        ),
        (
            "your codes have the wrong sign: encode x - mean, not mean - x.",
            lambda x, mean, components: -encode(x, mean, components),
        ),
        (
            "your codes stand in columns: return one row an image, (N, k).",
            lambda x, mean, components: encode(x, mean, components).T,
        ),
    ]
    wrong_images: Mistakes = [
        (
            "the mean is not added back: decoding ends with `mean + ...`.",
            lambda x, mean, components: decode(x, mean, components) - mean,
        ),
        (
            "you subtract the mean once more when you decode: add it back.",
            lambda x, mean, components: decode(x, mean, components) - 2 * mean,
        ),
        (
            "this is what gets lost, x minus its reconstruction: return the reconstruction itself.",
            lambda x, mean, components: x - decode(x, mean, components),
        ),
        (
            "you decode another code, that of x with its mean still in it: decode the code you return.",
            lambda x, mean, components: mean + x @ components.T @ components,
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for n, dims, k in ((4, 6, 2), (7, 5, 3), (3, 4, 1)):
            arguments = {
                "x": normal(generator, n, dims),
                "mean": 1 + rand(dims, generator=generator).to(torch.get_default_dtype()),
                "components": _orthonormal(generator, dims, k).T.to(torch.get_default_dtype()),
            }
            cases.append(Case(f"a code of {k}", arguments))
        results = ("the codes", "the reconstruction")
        given = collect("reconstruct", answer, cases, results=results)
        for i, (right, mistakes) in enumerate(((encode, wrong_codes), (decode, wrong_images))):
            parts = [(tensors[i],) for tensors in given]
            judge("reconstruct", cases, parts, right, mistakes, results=(results[i],))
    print("Right: subtract the mean and project; go back along the components and add the mean.")


# ---------------------------------------------------------------- 4. what PCA leaves out


def pca_errors(answer: Answer, *, seed: int = 0) -> None:
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

    def variances(x: Tensor) -> Tensor:
        return svdvals(x - x.mean(dim=0)) ** 2 / len(x)

    def left(values: Tensor) -> Tensor:
        return cat([values.flip(0).cumsum(0).flip(0), values.new_zeros(1)]) / len(values)

    def right(x: Tensor) -> Tensor:
        return left(variances(x))

    mistakes: Mistakes = [
        (
            "you do not subtract the mean first: PCA spends no number on it.",
            lambda x: left(svdvals(x) ** 2 / len(x)),
        ),
        (
            "you add up singular values: a variance is s squared, divided by N.",
            lambda x: left(svdvals(x - x.mean(dim=0)) / len(x)),
        ),
        (
            "you divide by N - 1: the error is an average over N images.",
            lambda x: right(x) * len(x) / (len(x) - 1),
        ),
        (
            "you do not divide by N: the error is an average over the images.",
            lambda x: right(x) * len(x),
        ),
        (
            "this is the error of a whole image: divide by D, as a mean squared error does.",
            lambda x: right(x) * x.shape[1],
        ),
        (
            "this is what k numbers keep: the error is what they leave out.",
            lambda x: right(x)[0] - right(x),
        ),
        (
            "you leave out the largest variances first: k numbers keep the k largest (`eigvalsh` gives the "
            "smallest first).",
            lambda x: left(variances(x).flip(0)),
        ),
        (
            "this is the fraction of the variance that is left out: return the error itself.",
            lambda x: right(x) / right(x)[0],
        ),
        (
            "your list starts at k = 1: begin with k = 0, where the mean alone stands for every image.",
            lambda x: right(x)[1:],
        ),
        (
            "your list ends before k = D: there nothing is left out, and the error is 0.",
            lambda x: right(x)[:-1],
        ),
        (
            "these are the variances one by one: the error with k numbers is the sum of all that are left "
            "out.",
            lambda x: variances(x) / x.shape[1],
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = [
            Case(f"{n} images", {"x": _cloud(generator, n, std)})
            for n, std in (
                (12, [2.0, 1.5, 1.0, 0.7, 0.4]),
                (8, [1.8, 1.4, 0.9]),
                (30, [2.0, 1.9, 1.7, 1.3, 0.9, 0.3]),
            )
        ]
        judge("pca_errors", cases, collect("pca_errors", answer, cases), right, mistakes)
    print("Right: the error with k numbers is the variance along the directions left out.")


# ---------------------------------------------------------------- 5. a linear autoencoder learns


def gradients(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `gradients(x, encoder, decoder)`: of the mean squared error of a linear autoencoder.

    x (N, D), encoder W (k, D), decoder V (D, k); the code is $W x$, the reconstruction $V W x$. Wanted are
    the gradients in the shapes of W and V.

    Example:
        >>> from course import checks
        >>> checks.autoencoder.gradients(lambda x, encoder, decoder: (encoder, decoder.T))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the gradient of the decoder has the shape (2, 5): ...
    """

    def error(x: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
        return x @ encoder.T @ decoder.T - x  # (N, D)

    def right(x: Tensor, encoder: Tensor, decoder: Tensor) -> tuple[Tensor, Tensor]:
        r = error(x, encoder, decoder)
        scale = 2 / x.numel()
        return scale * (r @ decoder).T @ x, scale * r.T @ (x @ encoder.T)

    def scaled(by: Callable[[Tensor], float]) -> Callable[..., list[Tensor]]:
        return lambda x, encoder, decoder: [by(x) * g for g in right(x, encoder, decoder)]

    mistakes: Mistakes = [
        (
            "both gradients have the wrong sign: the error is reconstruction minus x. Descent subtracts the "
            "gradient later.",
            scaled(lambda x: -1),
        ),
        (
            "the factor 2 is missing: it comes from the square.",
            scaled(lambda x: 1 / 2),
        ),
        (
            "you add up all squared errors: their mean has a factor 1 / (N D).",
            scaled(lambda x: x.numel()),
        ),
        (
            "you add up the images: average over them too, with a factor 1 / N.",
            scaled(lambda x: len(x)),
        ),
        (
            "you add up the values of an image: average over them too, with a factor 1 / D.",
            scaled(lambda x: x.shape[1]),
        ),
        (
            "the encoder's gradient carries the error back through the encoder: it flows back through the "
            "decoder, `error @ decoder`.",
            lambda x, encoder, decoder: (
                2 / x.numel() * (error(x, encoder, decoder) @ encoder.T).T @ x,
                right(x, encoder, decoder)[1],
            ),
        ),
        (
            "the encoder's gradient uses the reconstruction where the error belongs.",
            lambda x, encoder, decoder: (
                2 / x.numel() * (x @ encoder.T @ decoder.T @ decoder).T @ x,
                right(x, encoder, decoder)[1],
            ),
        ),
        (
            "the decoder's gradient uses the reconstruction where the error belongs.",
            lambda x, encoder, decoder: (
                right(x, encoder, decoder)[0],
                2 / x.numel() * (x @ encoder.T @ decoder.T).T @ (x @ encoder.T),
            ),
        ),
    ]

    with own_random_numbers(seed) as generator:
        cases = []
        for n, dims, k in ((7, 5, 2), (4, 6, 3)):
            arguments = {
                "x": normal(generator, n, dims),
                "encoder": normal(generator, k, dims),
                "decoder": normal(generator, dims, k),
            }
            cases.append(Case(f"a code of {k}", arguments))
        results = ("the encoder's gradient", "the decoder's gradient")
        given = collect("gradients", answer, cases, results=results)
        for case, (for_encoder, for_decoder) in zip(cases, given, strict=True):
            _, encoder, decoder = case.arguments.values()
            if for_encoder.shape == decoder.shape and for_decoder.shape == encoder.shape:
                raise Wrong("the order is reversed: return the encoder's gradient first.")
            for name, got, of in (
                ("encoder", for_encoder, encoder),
                ("decoder", for_decoder, decoder),
            ):
                if got.shape != of.shape:
                    raise Wrong(
                        f"the gradient of the {name} has the shape {tuple(got.shape)}: it must be that of the "
                        f"{name}, {tuple(of.shape)}."
                    )

        def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
            if not isfinite(got).all():
                return None
            if got.shape[0] < got.shape[1]:  # the encoder's, for a code smaller than the image
                return (
                    "the encoder's gradient is wrong: carry the error back through the decoder, to (N, k); its "
                    "transpose times x is (k, D)."
                )
            return (
                "the encoder's gradient is right, the decoder's is not: the transposed error times the codes, "
                "(D, N) by (N, k)."
            )

        judge("gradients", cases, given, right, mistakes, probe=probe, results=results)
    print(
        "Right: the error times what came in, averaged; to the encoder it comes through the decoder."
    )


# ---------------------------------------------------------------- 6. denoising


def denoising_loss(answer: Answer, *, seed: int = 0) -> None:
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
    name = "denoising_loss"

    def error(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().flatten(1).mean(dim=1)

    def right(clean: Tensor, seen: Tensor, out: Tensor) -> Tensor:
        return error(out, clean)

    mistakes: Mistakes = [
        (
            "your target is the corrupted image: compare with the clean one, or the model learns to leave "
            "the holes.",
            lambda clean, seen, out: error(out, seen),
        ),
        (
            "you compare the corrupted image with the clean one: compare what the model makes of it.",
            lambda clean, seen, out: error(seen, clean),
        ),
        (
            "you count the dropped values only: the model must give back the whole image.",
            lambda clean, seen, out: ((out - clean).square() * (seen == 0)).flatten(1).mean(dim=1),
        ),
        (
            "you count only what was not dropped: the holes are what the model must fill.",
            lambda clean, seen, out: ((out - clean).square() * (seen != 0)).flatten(1).mean(dim=1),
        ),
        (
            "you average over the batch too: return one number for each image, as `mse` does.",
            lambda clean, seen, out: error(out, clean).mean(),
        ),
        (
            "this is the sum over the values of an image: take their mean, as `mse` does.",
            lambda clean, seen, out: (out - clean).square().flatten(1).sum(dim=1),
        ),
    ]
    with own_random_numbers(seed) as generator:
        for label, shape, drop in (
            ("drop=0.25", (120, 1, 6, 6), 0.25),
            ("drop=0.7", (80, 3, 4, 5), 0.7),
            ("drop=0", (10, 1, 3, 4), 0.0),
        ):
            model = _Painter(shape)
            x = 0.2 + 0.7 * rand(shape, generator=generator).to(torch.get_default_dtype())
            case = Case(label, {"model": model, "x": x, "drop": drop})
            given = as_tensor(name, call(name, answer, case))
            if not model.seen:
                raise Wrong("your loss never calls the model.")
            if len(model.seen) > 1:
                raise Wrong(
                    f"your loss calls the model {len(model.seen)} times: one call, on the corrupted images."
                )
            seen = model.seen[0]
            if drop and same(seen, x):
                raise Wrong(
                    "the model sees the clean images: corrupt them before the call, or it has nothing to "
                    "repair."
                )
            _check_dropped(x, seen, drop)
            told = Case(label, {"clean": x, "seen": seen, "out": model(seen)})
            judge(name, [told], [(given,)], right, mistakes)
        model, x = _Painter((20, 1, 6, 6)), ones(20, 1, 6, 6, dtype=torch.get_default_dtype())
        for _ in range(2):
            call(name, answer, Case("a second call", {"model": model, "x": x, "drop": 0.5}))
        if same(model.seen[0], model.seen[1]):
            raise Wrong("two calls drop the same values: draw anew in each call, without a seed.")

        x = 0.2 + 0.7 * rand(3, 1, 4, 5, generator=generator).to(torch.get_default_dtype())
        judge_gradient(
            name,
            lambda weight: answer(_Painter(x.shape, weight), x, 0.0),
            Case("a model to train", {"model": normal(generator, 1)}),
            lambda model: error(0.3 + model * x, x),
            ["model"],
        )
    print("Right: the model sees the holes, and is compared with the whole image.")


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


def _check_dropped(x: Tensor, seen: Tensor, drop: float) -> None:
    """Each value of x was set to 0 with probability `drop`, on its own; the rest was left alone."""
    dropped = seen == 0
    left_alone = seen[~dropped], x[~dropped]
    if not same(*left_alone):
        if drop and same(left_alone[0], left_alone[1] / (1 - drop)):
            raise Wrong(
                "what is not dropped grows by 1 / (1 - drop), as in `F.dropout`: leave it as it is."
            )
        if not dropped.any() and (seen == 1).any():
            raise Wrong("dropped values become 1: set them to 0.")
        raise Wrong(
            "what the model sees is neither 0 nor the value of the image: no other noise, no scaling."
        )
    n = len(x)
    share = dropped.double().mean().item()
    # independent values leave a share this close: five standard errors, one seed in a million
    close = 5 * (drop * (1 - drop) / x.numel()) ** 0.5 + 1e-9
    if drop and (dropped.flatten(1).all(dim=1) | ~dropped.flatten(1).any(dim=1)).all():
        raise Wrong("you drop whole images: decide for each value on its own.")
    if drop and (dropped == dropped[:1]).all():
        raise Wrong("all images of a batch lose the same values: draw a mask as large as x.")
    if drop and x.shape[1] > 1 and (dropped == dropped[:, :1]).all():
        raise Wrong("all colours of a pixel drop together: decide for each value on its own.")
    if abs(share - drop) > close:
        if abs(share - (1 - drop)) <= close:
            raise Wrong(
                "you keep with probability `drop`: `drop` is the probability to lose a value."
            )
        raise Wrong(f"with drop={drop} you drop {share:.0%} of the values.")
    if drop and (dropped.flatten(1).sum(dim=1) == dropped[0].sum()).all() and n > 20:
        raise Wrong(
            "every image loses exactly as many values: decide for each value on its own, with "
            "`torch.rand_like(x) < drop`."
        )


# ---------------------------------------------------------------- 7. few labels


def nearest_centroid(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `nearest_centroid(codes, labels, queries)`: the class whose mean code is nearest, (M,).

    codes (N, k) with labels (N,), whole numbers of any kind; queries (M, k).

    Example:
        >>> from course import checks
        >>> checks.autoencoder.nearest_centroid(lambda codes, labels, q: labels[torch.cdist(q, codes).argmin(1)])
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you take the class of the nearest code: ...
    """

    def centroids(codes: Tensor, labels: Tensor) -> Tensor:
        return stack([codes[labels == c].mean(dim=0) for c in labels.unique()])

    def place(codes: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
        return cdist(queries, centroids(codes, labels)).argmin(dim=1)

    def right(codes: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
        return labels.unique()[place(codes, labels, queries)]

    def empty_first(codes: Tensor, labels: Tensor, queries: Tensor, value: float) -> Tensor:
        means = [
            codes[labels == c].mean(dim=0) if (labels == c).any() else zeros(codes.shape[1]) + value
            for c in range(int(labels.max()) + 1)
        ]
        return cdist(queries, stack(means).to(queries)).argmin(dim=1)

    mistakes: Mistakes = [
        (
            "you return the place of the centroid in your list: return its class, `classes[place]`. "
            "Labels need not be 0, 1, 2.",
            place,
        ),
        (
            "you take the class of the nearest code: average the codes of each class first.",
            lambda codes, labels, queries: labels[cdist(queries, codes).argmin(dim=1)],
        ),
        (
            "you add up the codes of a class: a centroid is their mean.",
            lambda codes, labels, queries: labels.unique()[
                cdist(
                    queries, stack([codes[labels == c].sum(dim=0) for c in labels.unique()])
                ).argmin(dim=1)
            ],
        ),
        (
            "you take the farthest centroid: `argmin`, not `argmax`.",
            lambda codes, labels, queries: labels.unique()[
                cdist(queries, centroids(codes, labels)).argmax(dim=1)
            ],
        ),
        (
            "you take the largest dot product, which prefers long centroids: take the smallest "
            "distance.",
            lambda codes, labels, queries: labels.unique()[
                (queries @ centroids(codes, labels).T).argmax(dim=1)
            ],
        ),
        (
            "you add up absolute differences: the distance is the root of the sum of squares.",
            lambda codes, labels, queries: labels.unique()[
                cdist(queries, centroids(codes, labels), p=1).argmin(dim=1)
            ],
        ),
        (
            "these are the distances to all centroids: return the class of the nearest.",
            lambda codes, labels, queries: cdist(queries, centroids(codes, labels)),
        ),
        (
            "you classify the labelled codes: classify the queries.",
            lambda codes, labels, queries: right(codes, labels, codes),
        ),
        (
            "a class without a single label gets a centroid of NaN, and `argmin` picks it: go through "
            "`labels.unique()`.",
            lambda codes, labels, queries: where(
                (torch.bincount(labels) == 0).any(),
                (torch.bincount(labels) == 0).double().argmax(),
                right(codes, labels, queries),
            ),
        ),
        (
            "a class without a single label gets its centroid at 0: go through `labels.unique()`.",
            lambda codes, labels, queries: empty_first(codes, labels, queries, 0.0),
        ),
    ]

    def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
        if isfinite(got).all() and not torch.isin(got, case.arguments["labels"].to(got)).all():
            return "you return a class that has no labelled code: return one of `labels`."
        return None

    with own_random_numbers(seed) as generator:
        cases = []
        for classes, counts in (([0, 1, 2, 3], [2, 5, 3, 7]), ([2, 5, 7], [4, 9, 2])):
            labels = torch.tensor(classes).repeat_interleave(torch.tensor(counts))
            labels = labels[torch.randperm(len(labels), generator=generator)]
            middle = 1.5 * normal(generator, max(classes) + 1, 3)
            arguments = {
                "codes": middle[labels] + normal(generator, len(labels), 3),
                "labels": labels,
                "queries": 1.5 * normal(generator, 150, 3),
            }
            cases.append(Case(f"the labels {classes}", arguments))
        given = collect("nearest_centroid", answer, cases, kind="any")
        judge("nearest_centroid", cases, given, right, mistakes, probe=probe)
    print("Right: one centroid a class, and each query goes to the nearest.")


# ---------------------------------------------------------------- 8. new codes


def draw_codes(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `draw_codes(codes, n)`: n draws from the Gaussian with the codes' mean and covariance.

    codes (N, k) -> (n, k). Thousands of draws are held against that mean and covariance.

    Example:
        >>> from course import checks
        >>> checks.autoencoder.draw_codes(lambda codes, n: torch.randn(n, codes.shape[1]))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: these are standard normal numbers: ...
    """
    n = 20_000
    # what the draws of each mistake have for a mean and a covariance
    mistakes: Mistakes = [
        (
            "these are standard normal numbers: give them the mean and the covariance of the codes.",
            lambda mean, cov: [0 * mean, torch.eye(len(mean)).to(cov)],
        ),
        (
            "your draws have the right mean, but a covariance of 1: multiply the noise by a root of the "
            "covariance.",
            lambda mean, cov: [mean, torch.eye(len(mean)).to(cov)],
        ),
        (
            "your draws lie around zero: add the mean of the codes.",
            lambda mean, cov: [0 * mean, cov],
        ),
        (
            "the numbers of a code are drawn each on its own: their correlations are lost. Use the whole "
            "covariance.",
            lambda mean, cov: [mean, diag(cov.diagonal())],
        ),
        (
            "you multiply the noise by the covariance itself: multiply by its root, from `cholesky`.",
            lambda mean, cov: [mean, cov @ cov],
        ),
        (
            "the Cholesky factor is transposed: a row of noise becomes `noise @ L.T`.",
            lambda mean, cov: [mean, cholesky(cov).T @ cholesky(cov)],
        ),
        (
            "you multiply the noise by variances: multiply by a root of the covariance.",
            lambda mean, cov: [mean, diag(cov.diagonal() ** 2)],
        ),
        (
            "your noise is uniform between 0 and 1: `torch.randn` is normal, `torch.rand` is not.",
            lambda mean, cov: [mean + cholesky(cov).sum(dim=1) / 2, cov / 12],
        ),
    ]
    with own_random_numbers(seed) as generator:
        for label, k in (("codes of 3 numbers", 3), ("codes of 2 numbers", 2)):
            root = (normal(generator, k, k).tril(-1).sign() + torch.eye(k)).to(
                torch.get_default_dtype()
            ) * torch.tensor([1.6, 0.7, 0.9])[:k, None]
            codes = torch.tensor([2.0, -1.5, 1.0])[:k] + normal(generator, 400, k) @ root.T
            codes = codes.to(torch.get_default_dtype())
            for size in (7, n):
                case = Case(label, {"codes": codes, "n": size})
                given = as_tensor("draw_codes", call("draw_codes", answer, case))
                if given.shape != (size, k):
                    raise Wrong(
                        f"`draw_codes` returns the shape {tuple(given.shape)} for n={size} and codes of the "
                        f"shape {tuple(codes.shape)}: return {(size, k)}."
                    )
            if not isfinite(given).all():
                raise Wrong("your draws contain NaN or infinity.")
            if (given == given[:1]).all():
                raise Wrong("all draws are the same: draw noise once for each code, (n, k).")
            if (given[:50, None] == codes).all(dim=2).any(dim=1).all():
                raise Wrong("these are the given codes again: draw new ones from a Gaussian.")
            mean, cov = codes.double().mean(dim=0), codes.double().T.cov()
            if not _has_moments(given, mean, cov):
                for words, moments in mistakes:
                    if _has_moments(given, *moments(mean, cov)):
                        raise Wrong(words)
                if _has_moments(given, given.double().mean(dim=0), cov):
                    raise Wrong("the covariance of your draws is right, their mean is not.")
                if _has_moments(given, mean, given.double().T.cov()):
                    raise Wrong("the mean of your draws is right, their covariance is not.")
                raise Wrong("your draws have neither the mean nor the covariance of the codes.")
            white = torch.linalg.solve(cholesky(cov), (given.double() - mean).T)
            # a normal number has the fourth moment 3, and its estimate a variance of 96 / n
            if ((white**4).mean(dim=1) - 3).abs().max() > 0.5:
                raise Wrong(
                    "your draws have the right mean and covariance, but they are not normal: start from "
                    "`torch.randn`."
                )
    print("Right: new codes with the mean and the covariance of the old ones.")


def _has_moments(draws: Tensor, mean: Tensor, cov: Tensor) -> bool:
    """The draws have this mean and covariance, up to six standard errors and a division by N - 1."""
    n, variance = len(draws), cov.diagonal()
    draws = draws.double()
    near_mean = (draws.mean(dim=0) - mean).abs() <= 6 * (variance / n).sqrt()
    spread = (variance[:, None] * variance + cov**2).sqrt()  # of a product of two normal numbers
    near_cov = (draws.T.cov() - cov).abs() <= 6 * spread / n**0.5 + 0.004 * spread
    return bool(near_mean.all() and near_cov.all())
