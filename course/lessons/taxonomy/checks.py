r"""Checks for the exercises of lesson taxonomy: one `Step` each, whose form course/checking/step.py explains.

A classifier that knows $p(x)$, by counting. Every step is a formula: what is drawn is drawn from random numbers that
the check hands over, and a threshold is judged by how many images lie below it, not by its value.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import torch
from torch import (
    Tensor,
    arange,
    bincount,
    cat,
    full_like,
    isfinite,
    logsumexp,
    rand,
    randint,
    randperm,
    softmax,
    tensor,
    where,
    zeros,
)
from torch.nn.functional import log_softmax, one_hot

from course.checking.core import Case, Wrong, normal
from course.checking.step import extreme, hard, number, step, tame

__all__ = [
    "auroc",
    "bayes",
    "bits",
    "decide",
    "draw",
    "log_joint",
    "place",
    "shares",
    "typical",
    "white",
]


def _uniform(g: torch.Generator, *shape: int) -> Tensor:
    return rand(shape, generator=g, dtype=torch.float64).to(torch.get_default_dtype())


def _floats(*values: float) -> Tensor:
    return tensor(values, dtype=torch.get_default_dtype())


def _shuffled(g: torch.Generator, x: Tensor) -> Tensor:
    return x[randperm(len(x), generator=g)]


def _labels(g: torch.Generator, n: int, n_classes: int) -> Tensor:
    """Labels among which each class occurs at least once, in no order."""
    return _shuffled(
        g, cat([arange(n_classes), randint(0, n_classes, (n - n_classes,), generator=g)])
    )


def _a_prior(g: torch.Generator, n_classes: int) -> Tensor:
    """Probabilities that are all different, in a random order."""
    parts = arange(1, n_classes + 1).to(torch.get_default_dtype())
    return _shuffled(g, parts / parts.sum())


# ---------------------------------------------------------------- 1. how common each class is


def _counts(y: Tensor, n_classes: int) -> Tensor:
    return bincount(y, minlength=n_classes).to(torch.get_default_dtype())


def _shares(y: Tensor, n_classes: int) -> Tensor:
    return _counts(y, n_classes) / len(y)


@step(
    lambda g: [
        tame("four classes", y=cat([tensor([0, 2, 2, 2]), _labels(g, 9, 4)]), n_classes=4),
        hard("a class that does not occur", y=_shuffled(g, tensor([0, 0, 3, 3, 3, 1])), n_classes=4),
        hard("a last class that does not occur", y=_shuffled(g, tensor([0, 0, 0, 1, 0, 1, 0])), n_classes=3),
        hard("two classes that do not occur", y=_shuffled(g, tensor([0, 0, 3, 3, 3, 1])), n_classes=5),
        hard("a single label", y=tensor([1]), n_classes=3),
        hard("a single class", y=zeros(5).long(), n_classes=1),
    ],
    passes="shares, one a class, that add up to one.",
)  # fmt: skip
def shares(y: Tensor, n_classes: int) -> Tensor:
    r"""Check `shares(y, n_classes)`: $p(y)$, the share of each class among the labels.

    y (N,) of integers -> (n_classes,).

    Example:
        >>> from course import checks
        >>> checks.taxonomy.shares(lambda y, n_classes: y.bincount(minlength=n_classes))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: these are counts: divide them by the number of labels, so that they add up to one.
    """
    return _shares(y, n_classes)


shares.wrong = {
    "these are counts: divide them by the number of labels, so that they add up to one.": _counts,
    "you divide by the number of classes: divide by the number of labels.": lambda y, K: _counts(y, K) / K,
    "you divide by the sum of the labels, as if they were amounts: divide by how many there are.":
        lambda y, K: _counts(y, K) / y.sum(),
    "you divide by the largest count: divide by the number of labels, so that the shares add up to one.":
        lambda y, K: _counts(y, K) / _counts(y, K).max(),
    "classes that do not occur are left out, and those after them slip to a wrong place: return a zero for each.":
        lambda y, K: _shares(y, K)[_shares(y, K) > 0],
    "your list ends with the largest label that occurs: `minlength=n_classes` makes room for the classes after it.":
        lambda y, K: _shares(y, int(y.max()) + 1),
    "you add one to each count. That comes in step 2; here the plain share is asked for.":
        lambda y, K: (_counts(y, K) + 1) / (len(y) + K),
    "you give every class the same share: count how often each occurs.":
        lambda y, K: full_like(_shares(y, K), 1 / K),
    "you take a softmax of the counts: counts are no logarithms. Divide them by their sum.":
        lambda y, K: softmax(_counts(y, K), 0),
    "these are logarithms: return the shares themselves.": lambda y, K: _shares(y, K).log(),
    "you return one number for each label: one for each class is asked for.": lambda y, K: _shares(y, K)[y],
    "your shares are sorted by size: place k belongs to class k.":
        lambda y, K: _shares(y, K).sort(descending=True).values,
}  # fmt: skip


# ---------------------------------------------------------------- 2. how often each pixel is white


def _ones(x: Tensor, y: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """How many pixels of each class are white, (K, D), and how many images it has, (K, 1)."""
    member = one_hot(y, n_classes).to(x)
    return member.T @ x, member.sum(0)[:, None]


def _by_counts(f: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, int], Tensor]:
    return lambda x, y, n_classes: f(*_ones(x, y, n_classes))


_laplace = _by_counts(lambda ones, images: (ones + 1) / (images + 2))


def _with_pixels(g: torch.Generator, y: Tensor, n_pixels: int, n_classes: int) -> dict[str, Any]:
    x = _uniform(g, len(y), n_pixels) < 0.2 + 0.6 * _uniform(g, n_pixels)
    x[:, 0], x[:, 1] = y > 0, y == 0  # always white or black in a class
    return {"x": x.to(torch.get_default_dtype()), "y": y, "n_classes": n_classes}


@step(
    lambda g: [
        tame("three classes", **_with_pixels(g, _labels(g, 14, 3), 5, 3)),
        tame("four classes", **_with_pixels(g, _labels(g, 23, 4), 7, 4)),
        hard("a last class without images", **_with_pixels(g, _labels(g, 9, 3), 4, 5)),
        hard("a class without images", **_with_pixels(g, 2 * _labels(g, 11, 2), 4, 3)),
        hard("a single image", **_with_pixels(g, tensor([1]), 6, 2)),
        hard("a single class", **_with_pixels(g, zeros(8).long(), 5, 1)),
    ],
    dtype="same",
    passes="one more white and one more black image in each class, then shares.",
)
def white(x: Tensor, y: Tensor, n_classes: int) -> Tensor:
    r"""Check `white(x, y, n_classes)`: $p(x_i = 1 \mid y)$ by Laplace's rule.

    x (N, D) of zeros and ones, y (N,) of integers -> (n_classes, D).

    Example:
        >>> from course import checks
        >>> checks.taxonomy.white(
        ...     lambda x, y, n_classes: torch.stack([x[y == k].mean(0) for k in range(n_classes)])
        ... )
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the counts are not raised...
    """
    return _laplace(x, y, n_classes)


white.wrong = {
    "the counts are not raised: a pixel that was never white would be impossible. Add 1 to the white ones, and 2 "
    "below.":
        _by_counts(lambda ones, images: ones / images),
    "you divide by the number of all images: divide by the number of images of the class.":
        lambda x, y, K: (_ones(x, y, K)[0] + 1) / (len(x) + 2),
    "you divide by the number of all images, and do not raise the counts: divide by the number of images of the class.":
        lambda x, y, K: _ones(x, y, K)[0] / len(x),
    "you add 1 above and nothing below, so that a pixel that is always white gets more than 1.":
        _by_counts(lambda ones, images: (ones + 1) / images),
    "you add 1 above and 1 below: one more white and one more black image make 2 more images.":
        _by_counts(lambda ones, images: (ones + 1) / (images + 1)),
    "you add 2 below and nothing above: of the two more images, one is white here.":
        _by_counts(lambda ones, images: ones / (images + 2)),
    "you add the number of classes below: what is counted is a pixel, which has two values.":
        _by_counts(lambda ones, images: (ones + 1) / (images + len(ones))),
    "you add the number of pixels below: every pixel has a distribution of its own, with two values.":
        _by_counts(lambda ones, images: (ones + 1) / (images + ones.shape[1])),
    "you add a half of an image of each kind: Laplace adds a whole one.":
        _by_counts(lambda ones, images: (ones + 0.5) / (images + 1)),
    "this is the probability of black: count the ones.": lambda x, y, K: 1 - _laplace(x, y, K),
    "all classes get the same row: count among the images of each class alone.":
        lambda x, y, K: ((x.sum(0) + 1) / (len(x) + 2)).expand(K, x.shape[1]),
    "your classes share one pixel, so the columns add up to one: that is p(y | x_i). Divide by the images of the "
    "class.":
        _by_counts(lambda ones, images: (ones + 1) / (ones + 1).sum(0)),
    "your pixels share one class, so the rows add up to one: each pixel has its own two probabilities, of white and "
    "of black.":
        _by_counts(lambda ones, images: (ones + 1) / (ones + 1).sum(1, keepdim=True)),
    "your table lies on its side: one row a class, one column a pixel.": lambda x, y, K: _laplace(x, y, K).T,
    "only the 1 is divided: put brackets around the sum of the counts and 1.":
        _by_counts(lambda ones, images: ones + 1 / (images + 2)),
    "these are counts: divide by the number of images of the class, and 2.":
        _by_counts(lambda ones, images: ones + 1),
    "these are logarithms: return the probabilities.": lambda x, y, K: _laplace(x, y, K).log(),
    "for a class without images you divide 0 by 0: the rule gives 1/2 there, if the counts are raised before you "
    "divide.":
        _by_counts(lambda ones, images: (ones / images + 1 / images) / (1 + 2 / images)),
    "classes without images are left out: they get a row too, of 1/2.":
        lambda x, y, K: _laplace(x, y, K)[y.unique()],
}  # fmt: skip


# ---------------------------------------------------------------- 3. log p(x, y)


def _pixels(x: Tensor, white: Tensor) -> Tensor:
    """Log-probability of each pixel, (N, K, D)."""
    return where(x[:, None] > 0.5, white.log(), (1 - white).log())


def _images(g: torch.Generator, n: int, k: int, d: int, rare: int = 0) -> dict[str, Tensor]:
    """Some images, a prior and a table, in which the first pixels are nearly always black; here they are white."""
    table, x = 0.1 + 0.8 * _uniform(g, k, d), (_uniform(g, n, d) < 0.5).to(_floats())
    table[:, :rare] *= 1e-6
    x[:, :rare] = 1
    return {"x": x, "prior": _a_prior(g, k), "white": table}


@step(
    lambda g: [
        tame("images of 6 pixels", **_images(g, 5, 3, 6)),
        tame("four classes", **_images(g, 7, 4, 9)),
        hard("a single image", **_images(g, 1, 4, 7)),
        hard("a single class", **_images(g, 6, 1, 5)),
        extreme("images of 3000 pixels", **_images(g, 2, 3, 3000)),
        extreme("pixels that are hardly ever white", **_images(g, 4, 3, 5, rare=3)),
    ],
    passes="every pixel adds its logarithm, white or black, and the class adds its own once.",
)
def log_joint(x: Tensor, prior: Tensor, white: Tensor) -> Tensor:
    r"""Check `log_joint(x, prior, white)`: $\log p(x \mid y) + \log p(y)$ for every class.

    x (N, D) of zeros and ones, prior (K,), white (K, D) -> (N, K), nats.

    Example:
        >>> from course import checks
        >>> checks.taxonomy.log_joint(lambda x, prior, white: x @ white.log().T + prior.log())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: only the white pixels count...
    """
    return _pixels(x, white).sum(2) + prior.log()


log_joint.wrong = {
    "only the white pixels count in yours: a black one has the probability 1 - p(white), and its logarithm belongs to "
    "the sum.":
        lambda x, prior, white: x @ white.log().T + prior.log(),
    "only the black pixels count in yours: add the logarithms of the white ones.":
        lambda x, prior, white: (1 - x) @ (1 - white).log().T + prior.log(),
    "you average over the pixels: independent probabilities multiply, so their logarithms add up.":
        lambda x, prior, white: _pixels(x, white).mean(2) + prior.log(),
    "the prior is missing: this is log p(x | y). Add log p(y).": lambda x, prior, white: _pixels(x, white).sum(2),
    "you add p(y) to a logarithm: add log p(y).": lambda x, prior, white: _pixels(x, white).sum(2) + prior,
    "you multiply by p(y): among logarithms a product is a sum. Add log p(y).":
        lambda x, prior, white: _pixels(x, white).sum(2) * prior,
    "you subtract log p(y): add it.": lambda x, prior, white: _pixels(x, white).sum(2) - prior.log(),
    "you take all classes for equally common: use the prior that is given.":
        lambda x, prior, white: _pixels(x, white).sum(2) - math.log(len(prior)),
    "log p(y) counts once for every pixel in yours: an image has one class, so add it once, after the sum.":
        lambda x, prior, white: _pixels(x, white).sum(2) + x.shape[1] * prior.log(),
    "you subtract what the black pixels add: all logarithms add up.":
        lambda x, prior, white: x @ white.log().T - (1 - x) @ (1 - white).log().T + prior.log(),
    "you take 1 minus the logarithm of p for a black pixel: take the logarithm of 1 - p.":
        lambda x, prior, white: x @ white.log().T + (1 - x) @ (1 - white.log()).T + prior.log(),
    "the sign of log p(x | y) is wrong, as of a loss (`binary_cross_entropy`): it is never above 0.":
        lambda x, prior, white: prior.log() - _pixels(x, white).sum(2),
    "white and black are swapped: where x is 1, the probability is `white`.":
        lambda x, prior, white: _pixels(1 - x, white).sum(2) + prior.log(),
    "the sign is wrong: a log-probability is never above 0.":
        lambda x, prior, white: -(_pixels(x, white).sum(2) + prior.log()),
    "these are probabilities, and of a large image they are 0: stay with the logarithms.":
        lambda x, prior, white: (_pixels(x, white).sum(2) + prior.log()).exp(),
    "you add up the probabilities of the pixels, then take the logarithm: take logarithms first.":
        lambda x, prior, white: _pixels(x, white).exp().sum(2).log() + prior.log(),
    "you normalise over the classes: that is log p(y | x), and the matter of step 4.":
        lambda x, prior, white: log_softmax(_pixels(x, white).sum(2) + prior.log(), 1),
    "your table lies on its side: one row an image, one column a class.":
        lambda x, prior, white: (_pixels(x, white).sum(2) + prior.log()).T,
    "your product of so many probabilities underflows to 0, and its logarithm is minus infinity: take logarithms "
    "first, then add.":
        lambda x, prior, white: (_pixels(x, white).exp().prod(2) * prior).log(),
}  # fmt: skip


# ---------------------------------------------------------------- 4. Bayes' rule


def _around(g: torch.Generator, level: float, n: int, k: int) -> Tensor:
    return level - 4 * _uniform(g, n, k)


def _shifted(shift: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Bayes' rule by a shift of each row, or of all."""

    def shifted(joint: Tensor) -> tuple[Tensor, Tensor]:
        p = (joint - shift(joint)).exp()
        return p.sum(1).log() + shift(joint).flatten(), p / p.sum(1, keepdim=True)

    return shifted


def _hidden_underflow(case: Case, log_p: Tensor, posterior: Tensor, *_: Tensor) -> str | None:
    """Whatever small number was added: without the right shift all images of -2000 nats are the same."""
    [joint] = case.arguments.values()
    if joint.max() > -1000:
        return None
    if (log_p == log_p[0]).all() and (log_p > joint.max()).all():
        return (
            f"for images of -2000 nats your log p(x) is {log_p[0].item():.0f}: a small number inside the logarithm, or "
            "a clamp, hides that e^-2000 is 0. Subtract the largest first."
        )
    if not posterior.any():
        return (
            "for images of -2000 nats your posterior does not add up to one: e^-2000 is 0 to a computer, and a small "
            "number below does not help. Subtract the largest first."
        )
    return None


@step(
    lambda g: [
        tame("three classes", joint=_around(g, -1.0, 5, 3)),
        tame("five classes", joint=_around(g, -2.0, 3, 5)),
        hard("a single image", joint=_around(g, -1.0, 1, 4)),
        hard("a single class", joint=_around(g, -1.0, 4, 1)),
        extreme("images of -2000 nats", joint=_around(g, -2000.0, 4, 3)),
        extreme("an image of -20 nats among others of -2000",
                joint=cat([_around(g, -20.0, 1, 4), _around(g, -2000.0, 2, 4)])),
        extreme("classes far apart", joint=_around(g, -20.0, 4, 3) - _floats(1000.0, 0.0, 2000.0)),
        extreme("a class of probability 0", joint=_around(g, -5.0, 3, 4) + _floats(0.0, -math.inf, 0.0, 0.0)),
    ],
    results=("log p(x)", "p(y | x)"),
    probe=_hidden_underflow,
    passes="one sum over the classes gives p(x), and p(x) turns the joint into p(y | x).",
)  # fmt: skip
def bayes(joint: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `bayes(joint)`: $\log p(x)$ and $p(y \mid x)$ from $\log p(x, y)$, without underflow.

    joint (N, K) in nats -> (N,) in nats, (N, K) of sum one.

    Example:
        >>> from course import checks
        >>> checks.taxonomy.bayes(lambda joint: (joint.amax(dim=1), joint.softmax(dim=1)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your log p(x) is that of the best class alone...
    """
    return logsumexp(joint, 1), softmax(joint, 1)


bayes.wrong = {
    "your log p(x) is that of the best class alone: an image may come from any class, so add up the probabilities of "
    "all.":
        lambda joint: (joint.amax(1), None),
    "your log p(x) is a mean over the classes: the prior is in the joint already, so add up.":
        lambda joint: (logsumexp(joint, 1) - math.log(joint.shape[1]), None),
    "you add up logarithms, which multiplies the classes: take e to the power of each, add, and take the logarithm.":
        lambda joint: (joint.sum(1), None),
    "you average logarithms: take e to the power of each, add, and take the logarithm.":
        lambda joint: (joint.mean(1), None),
    "your first sum runs over the images: add up over the classes, axis 1.":
        lambda joint: (logsumexp(joint, 0), None),
    "you add up all images and classes into one number: one for each image is asked for.":
        lambda joint: (logsumexp(joint, (0, 1)), None),
    "your first result is p(x) itself: return its logarithm.": lambda joint: (joint.exp().sum(1), None),
    "the shift m does not come back: add it after the logarithm.":
        lambda joint: (logsumexp(joint, 1) - joint.amax(1), None),
    "you subtract the shift m at the end: it was subtracted in_scores, so add it.":
        lambda joint: (logsumexp(joint, 1) - 2 * joint.amax(1), None),
    "your log p(x) has the wrong sign.": lambda joint: (-logsumexp(joint, 1), None),
    "your log p(x) keeps the axis of the classes, (N, 1): return (N,).":
        lambda joint: (logsumexp(joint, 1, keepdim=True), None),
    "for images of -2000 nats your log p(x) is infinite or NaN: e^-2000 is 0 to a computer. Subtract the largest "
    "number of each image first.":
        lambda joint: (joint.exp().sum(1).log(), None),
    "an image of -2000 nats beside one of -20 gets no number: subtract the largest of each image, "
    "`amax(dim=1, keepdim=True)`, not the largest of all.":
        _shifted(lambda joint: joint.max()),
    "you subtract the mean or the smallest number of each image: where classes are far apart an exp overflows. "
    "Subtract the largest.":
        _shifted(lambda joint: joint.mean(1, keepdim=True)),
    "your posterior is normalised over the images: for each image the classes add up to one, axis 1.":
        lambda joint: (None, softmax(joint, 0)),
    "your posterior is normalised over images and classes together: for each image the classes add up to one.":
        lambda joint: (None, softmax(joint.flatten(), 0).view(joint.shape)),
    "your posterior is still a logarithm: take e to its power.": lambda joint: (None, log_softmax(joint, 1)),
    "you divide logarithms: a quotient of probabilities is a difference of logarithms.":
        lambda joint: (None, joint / joint.sum(1, keepdim=True)),
    "you divide by log p(x): subtract it, then take e to the power.":
        lambda joint: (None, joint / logsumexp(joint, 1, keepdim=True)),
    "your second result is p(x, y), not divided by p(x): each row should add up to one.":
        lambda joint: (None, joint.exp()),
    "your second result is the joint as it came: subtract log p(x), then take e to the power.":
        lambda joint: (None, joint),
    "the largest probability of each image is 1 in yours: after the shift, divide by the sum.":
        lambda joint: (None, (joint - joint.amax(1, keepdim=True)).exp()),
    "you return the best class as zeros and a one: return how probable each class is.":
        lambda joint: (None, one_hot(joint.argmax(1), joint.shape[1]).to(joint)),
    "your second result is the number of the best class: return how probable each class is.":
        lambda joint: (None, joint.argmax(1)),
    "the sign in your posterior is wrong: it prefers the class that explains the image worst.":
        lambda joint: (None, softmax(-joint, 1)),
    "you take the softmax twice.": lambda joint: (None, softmax(softmax(joint, 1), 1)),
    "for images of -2000 nats your posterior is 0/0: e^-2000 is 0 to a computer. Subtract the largest first, or take e "
    "to the power of joint - log p(x).":
        lambda joint: (None, joint.exp() / joint.exp().sum(1, keepdim=True)),
}  # fmt: skip


# ---------------------------------------------------------------- 5. bits


def _scores(g: torch.Generator, n: int, n_pixels: int, level: float) -> dict[str, Any]:
    return {"log_p": -level * (0.5 + _uniform(g, n).square()), "n_pixels": n_pixels}


@step(
    lambda g: [
        tame("images of 64 pixels", **_scores(g, 7, 64, 30.0)),
        tame("images of 16 pixels", **_scores(g, 4, 16, 9.0)),
        tame("images of 784 pixels", **_scores(g, 5, 784, 90.0)),
        hard("a single image", **_scores(g, 1, 9, 6.0)),
        hard("images of a single pixel", **_scores(g, 6, 1, 2.0)),
    ],
    passes="a bit is log 2 nats, and the bits of an image are shared by its pixels.",
)
def bits(log_p: Tensor, n_pixels: int) -> Tensor:
    r"""Check `bits(log_p, n_pixels)`: the mean of $-\log_2 p(x)$, a pixel.

    log_p (N,) in nats -> one number.

    Example:
        >>> from course import checks
        >>> checks.taxonomy.bits(lambda log_p, n_pixels: -log_p.mean() / n_pixels)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: these are nats a pixel...
    """
    return -log_p.mean() / (n_pixels * math.log(2))


bits.wrong = {
    "these are nats a pixel: a bit is log 2 = 0.69 nats, so divide by it.":
        lambda log_p, n_pixels: -log_p.mean() / n_pixels,
    "you multiply by log 2: there are more bits than nats, so divide by it.":
        lambda log_p, n_pixels: -log_p.mean() * math.log(2) / n_pixels,
    "these are bits an image: divide by the number of pixels too.":
        lambda log_p, n_pixels: -log_p.mean() / math.log(2),
    "these are nats an image, with the sign turned: divide by the number of pixels and by log 2.":
        lambda log_p, n_pixels: -log_p.mean(),
    "the sign is wrong: bits are a length, and log p is never above 0. Begin with a minus.":
        lambda log_p, n_pixels: log_p.mean() / (n_pixels * math.log(2)),
    "this is the sum over the images: take their mean.":
        lambda log_p, n_pixels: -log_p.sum() / (n_pixels * math.log(2)),
    "you return a number for each image: take their mean.": lambda log_p, n_pixels: -log_p / (n_pixels * math.log(2)),
    "you divide by the number of images twice: a mean has done so.":
        lambda log_p, n_pixels: -log_p.mean() / (len(log_p) * n_pixels * math.log(2)),
    "you divide by 2: one bit is log 2 nats.": lambda log_p, n_pixels: -log_p.mean() / (2 * n_pixels),
    "these are decimal digits: divide by log 2, not by log 10.":
        lambda log_p, n_pixels: -log_p.mean() / (n_pixels * math.log(10)),
    "you divide by the logarithm of 2 to base 10: the natural one is `math.log(2)`.":
        lambda log_p, n_pixels: -log_p.mean() / (n_pixels * math.log10(2)),
    "you divide by the logarithm of the number of pixels: divide by the number itself, and log 2.":
        lambda log_p, n_pixels: -log_p.mean() / tensor(float(n_pixels)).log(),
    "you average the probabilities, so that the best image decides alone: average the logarithms.":
        lambda log_p, n_pixels: (math.log(len(log_p)) - logsumexp(log_p, 0)) / (n_pixels * math.log(2)),
    "you take the logarithm of what is a logarithm already: divide by log 2 instead.":
        lambda log_p, n_pixels: (-log_p).log2().mean() / n_pixels,
    "this is a median: take the mean.": lambda log_p, n_pixels: -log_p.median() / (n_pixels * math.log(2)),
}  # fmt: skip


# ---------------------------------------------------------------- 6. draw


def _classes(prior: Tensor, u: Tensor) -> Tensor:
    return (u[:, None] >= prior.cumsum(0)[:-1]).sum(1)


def _numbers(g: torch.Generator, n: int, k: int, d: int) -> dict[str, Tensor]:
    prior, u = _a_prior(g, k), (arange(n) + 0.5).to(_floats()) / n  # evenly, so every class comes
    u, rarest = _shuffled(g, u), prior.argmin()
    u[0] = prior[:rarest].sum() + prior[rarest] / 2
    return {"prior": prior, "white": 0.05 + 0.9 * _uniform(g, k, d), "u": u, "v": _uniform(g, n, d)}


def _on_the_bounds(*prior: float) -> dict[str, Tensor]:
    """Each u and v is exactly a bound, or 0; of powers of two, so nothing is rounded."""
    u, v = _floats(0.0, 0.25, 0.5, 0.75), _floats(0.0, 0.25, 0.5, 0.75, 0.5)
    white = _floats(0.0, 0.25, 0.5, 1.0, 0.75) * _floats(1.0, 0.5, 1.0)[:, None]
    return {"prior": _floats(*prior), "white": white, "u": u, "v": v.expand(4, 5).clone()}


def _above_the_sum(g: torch.Generator) -> dict[str, Tensor]:
    """Rounding may put the last bound below 1, and a u above it; that one is of the last class."""
    given = _numbers(g, 3, 4, 5)
    eps = torch.finfo(given["u"].dtype).eps
    given["prior"] *= 1 - 4 * eps
    given["u"][1] = 1 - eps / 2
    return given


def _of_kinds(case: Case, y: Tensor, x: Tensor) -> str | None:
    v = case.arguments["v"]
    if y.is_floating_point():
        return f"the classes are right, but y of `draw` is {y.dtype}: return whole numbers, which index a table."
    if x.dtype not in (v.dtype, torch.float32):
        return f"the values are right, but x of `draw` is {x.dtype}, and the next cell needs {v.dtype}, as v is."
    return None


def _of_table(f: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., tuple[None, Tensor]]:
    """The right classes, and pixels by wrong probabilities: f of prior, white and y gives them."""
    return lambda prior, white, u, v: (
        None,
        (v < f(prior, white, _classes(prior, u))).to(v),
    )


@step(
    lambda g: [
        tame("four classes", **_numbers(g, 60, 4, 9)),
        tame("three classes", **_numbers(g, 50, 3, 6)),
        hard("a single image", **_numbers(g, 1, 3, 4)),
        hard("numbers u and v on the very bounds", **_on_the_bounds(0.25, 0.25, 0.5)),
        hard("a class of probability 0", **_on_the_bounds(0.0, 0.5, 0.5)),
        extreme("a u just below 1, above the last bound", **_above_the_sum(g)),
    ],
    results=("y", "x"),
    properties=[_of_kinds],
    passes="first the class, then its pixels, each as often white as it should be.",
)
def draw(prior: Tensor, white: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `draw(prior, white, u, v)`: classes and images from given uniform random numbers.

    prior (K,), white (K, D), u (N,), v (N, D) -> y (N,) of integers, x (N, D) of zeros and ones.

    Example:
        >>> from course import checks
        >>> def draw(prior, white, u, v):
        ...     y = (u * len(prior)).long()
        ...     return y, (v < white[y]).float()
        >>> checks.taxonomy.draw(draw)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your classes are all equally common...
    """
    y = _classes(prior, u)
    return y, (v < white[y]).to(v)


draw.wrong = {
    "your classes are all equally common: class k gets a part of [0, 1] that is prior[k] long.":
        lambda prior, white, u, v: ((u * len(prior)).long(), None),
    "the probabilities add up to a little less than 1 by rounding, and a u above their sum draws a class that does not "
    "exist: leave out the last bound.":
        lambda prior, white, u, v: ((u[:, None] >= prior.cumsum(0)).sum(1), None),
    "the probabilities add up to a little less than 1 by rounding, and a u above their sum draws class 0, as `argmax` "
    "does where nothing is true: it is of the last class.":
        lambda prior, white, u, v: ((u[:, None] < prior.cumsum(0)).int().argmax(1), None),
    "you leave out the first bound: it is the last that is not needed.":
        lambda prior, white, u, v: ((u[:, None] >= prior.cumsum(0)[1:]).sum(1), None),
    "you compare u with single probabilities: compare it with their sums, `prior.cumsum(dim=0)`.":
        lambda prior, white, u, v: ((u[:, None] >= prior[:-1]).sum(1), None),
    "you compare u with the probabilities themselves: compare it with their sums, `prior.cumsum(dim=0)`.":
        lambda prior, white, u, v: ((u[:, None] >= prior).sum(1), None),
    "you always take the most common class: a rare one must come as well, as often as it should.":
        lambda prior, white, u, v: (prior.argmax().expand(len(u)), None),
    "your classes count one too high: u below the first bound is class 0.":
        lambda prior, white, u, v: (_classes(prior, u) + 1, None),
    "your classes count one too low: u below the first bound is class 0.":
        lambda prior, white, u, v: (_classes(prior, u) - 1, None),
    "you count the bounds above u: count those below it, or at it.":
        lambda prior, white, u, v: ((u[:, None] < prior.cumsum(0)).sum(1), None),
    "you count the bounds above u, all but the last: count those below it, or at it.":
        lambda prior, white, u, v: ((u[:, None] < prior.cumsum(0)[:-1]).sum(1), None),
    "your classes stand in the wrong order on [0, 1]: class 0 has the part that begins at 0.":
        lambda prior, white, u, v: (_classes(prior, 1 - u), None),
    "all your images get the class of the first: each has a u of its own.":
        lambda prior, white, u, v: (_classes(prior, u[:1].expand(len(u))), None),
    "x comes first in yours: return y, then x.":
        lambda prior, white, u, v: ((v < white[_classes(prior, u)]).to(v), _classes(prior, u)),
    "you return y as zeros and a one: return the number of the class.":
        lambda prior, white, u, v: (one_hot(_classes(prior, u), len(prior)), None),
    "a u that is exactly a bound belongs to the class above it: a class k has u < p(0) + ... + p(k).":
        lambda prior, white, u, v: ((u[:, None] > prior.cumsum(0)[:-1]).sum(1), None),
    "white and black are swapped: v lies below p with probability p, so `v < p` is white.":
        lambda prior, white, u, v: (None, (v >= white[_classes(prior, u)]).to(v)),
    "white and black are swapped: a pixel is white where v lies below p, and yours where it lies above.":
        lambda prior, white, u, v: (None, (v > white[_classes(prior, u)]).to(v)),
    "a pixel of probability 0 may turn white in yours, where v is 0: white is `v < p`, not `v <= p`.":
        lambda prior, white, u, v: (None, (v <= white[_classes(prior, u)]).to(v)),
    "you return the probabilities: draw with them. A pixel is 0 or 1.":
        lambda prior, white, u, v: (None, white[_classes(prior, u)]),
    "you round the probabilities, so all images of a class are the same: compare them with v.":
        lambda prior, white, u, v: (None, (white[_classes(prior, u)] > 0.5).to(v)),
    "you round v and forget the table: a pixel is white where v lies below its probability.":
        lambda prior, white, u, v: (None, (v < 0.5).to(v)),
    "all images come from the first class: look up the row of each one's own, `white[y]`.":
        _of_table(lambda prior, white, y: white[0]),
    "you average the table over the classes, so that the class is forgotten: use the row of y.":
        _of_table(lambda prior, white, y: prior @ white),
    "the class is forgotten: you average the rows. Use the row of y.": _of_table(lambda prior, white, y: white.mean(0)),
    "you take the rows of the table one after the other: use the row of y.":
        _of_table(lambda prior, white, y: white[arange(len(y)) % len(white)]),
    "the pixels of an image all use u, which chose the class: each has a number of its own in v.":
        lambda prior, white, u, v: (None, (u[:, None] < white[_classes(prior, u)]).to(v)),
    "all images use the first row of v: each has one of its own.":
        lambda prior, white, u, v: (None, (v[0] < white[_classes(prior, u)]).to(v)),
    "the pixels of an image all use one number of v: each has one of its own.":
        lambda prior, white, u, v: (None, (v[:, :1] < white[_classes(prior, u)]).to(v)),
}  # fmt: skip


# ---------------------------------------------------------------- 7. probable is not typical


def _mean(p: Tensor) -> Tensor:
    return (p * p.log() + (1 - p) * (1 - p).log()).sum(1)


def _variances(p: Tensor) -> Tensor:
    """Of what each pixel adds, (K, D)."""
    return p * (1 - p) * (p.log() - (1 - p).log()).square()


def _std(p: Tensor) -> Tensor:
    return _variances(p).sum(1).sqrt()


def _between(g: torch.Generator, k: int, d: int) -> dict[str, Tensor]:
    return {"white": 0.05 + 0.9 * _uniform(g, k, d)}


@step(
    lambda g: [
        tame("three classes of 6 pixels", **_between(g, 3, 6)),
        tame("five classes of 4 pixels", **_between(g, 5, 4)),
        hard("a single class", **_between(g, 1, 7)),
        hard("a single pixel", **_between(g, 4, 1)),
        hard("pixels of probability 1/2", white=full_like(_uniform(g, 2, 5), 0.5)),
        extreme("pixels that are hardly ever white", white=1e-6 * (1 + _uniform(g, 3, 5))),
    ],
    results=("the mean", "the standard deviation"),
    passes="means add up, variances add up, and the root comes last.",
)
def typical(white: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `typical(white)`: mean and standard deviation of $\log p(x \mid y)$ of images drawn from each class.

    white (K, D), probabilities of independent pixels inside (0, 1) -> (K,), (K,), nats.

    Example:
        >>> from course import checks
        >>> def typical(white):
        ...     return white.maximum(1 - white).log().sum(1), torch.ones(len(white))
        >>> checks.taxonomy.typical(typical)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your mean is log p(x) of the most probable image...
    """
    return _mean(white), _std(white)


typical.wrong = {
    "your mean is log p(x) of the most probable image: weigh both values of a pixel by how often they are drawn.":
        lambda p: (p.maximum(1 - p).log().sum(1), None),
    "your mean is the entropy, which is minus what is asked for: log p(x) is never above 0.":
        lambda p: (-_mean(p), None),
    "only the white pixels count in your mean: a pixel adds log (1 - p) with probability 1 - p.":
        lambda p: ((p * p.log()).sum(1), None),
    "only the black pixels count in your mean: a pixel adds log p with probability p.":
        lambda p: (((1 - p) * (1 - p).log()).sum(1), None),
    "your mean is that of one pixel: the terms of log p(x) add up.": lambda p: (_mean(p) / p.shape[1], None),
    "your mean weighs white and black alike, as fair coins would: white comes with probability p.":
        lambda p: ((p.log() + (1 - p).log()).sum(1) / 2, None),
    "you take 1 minus the logarithm of p for a black pixel: take the logarithm of 1 - p.":
        lambda p: ((p * p.log() + (1 - p) * (1 - p.log())).sum(1), None),
    "your mean weighs a white pixel by 1 - p and a black one by p: turn them round.":
        lambda p: (((1 - p) * p.log() + p * (1 - p).log()).sum(1), None),
    "your mean is the logarithm of the mean of p(x): the mean of the logarithm is asked for.":
        lambda p: ((p.square() + (1 - p).square()).log().sum(1), None),
    "you sum over the classes: sum over the pixels, axis 1.":
        lambda p: (_mean(p.T), _variances(p).sum(0).sqrt()),
    "you add up what each pixel adds over all classes too: one number a class.":
        lambda p: (_mean(p).sum(), None),
    "this is the variance: take its root.": lambda p: (None, _variances(p).sum(1)),
    "you take the root before the sum: variances add up, standard deviations do not.":
        lambda p: (None, _variances(p).sqrt().sum(1)),
    "this is the standard deviation of how many pixels are white: each counts with the square of log p - log (1 - p).":
        lambda p: (None, (p * (1 - p)).sum(1).sqrt()),
    "you add the two logarithms: the variance of a pixel has their difference, (a - b) squared.":
        lambda p: (None, (p * (1 - p) * (p.log() + (1 - p).log()).square()).sum(1).sqrt()),
    "the square is missing: the variance of a pixel has (a - b) squared.":
        lambda p: (None, (p * (1 - p) * p.logit().abs()).sum(1).sqrt()),
    "the square is missing, so that white and black pixels cancel: the variance of a pixel has (a - b) squared.":
        lambda p: (None, (p * (1 - p) * p.logit()).sum(1).sqrt()),
    "the factor p (1 - p) is missing from your variance: a pixel that is nearly always black hardly varies.":
        lambda p: (None, p.logit().square().sum(1).sqrt()),
    "your variance has p in the place of p (1 - p).": lambda p: (None, (p * p.logit().square()).sum(1).sqrt()),
    "the square of the mean is missing from your variance: it is E[a^2] - E[a]^2 for each pixel.":
        lambda p: (None, (p * p.log().square() + (1 - p) * (1 - p).log().square()).sum(1).sqrt()),
    "you average the variances over the pixels: they add up.": lambda p: (None, _variances(p).mean(1).sqrt()),
    "you divide by the number of pixels: this is the standard deviation of log p(x) a pixel.":
        lambda p: (None, _std(p) / p.shape[1]),
    "your second result is how the means of the pixels differ: it should be how log p(x) differs from draw to draw.":
        lambda p: (None, (p * p.log() + (1 - p) * (1 - p).log()).std(1)),
}  # fmt: skip


# ---------------------------------------------------------------- 8. refuse


def _some_refused(
    g: torch.Generator, m: int, n: int, k: int, share: float, ties: int = 0, level: float = -20
) -> dict[str, Any]:
    """Scores of which the lower ones are those of nonsense; `ties` held-out images on both sides score the same.

    No new image scores as the held-out ones beside the threshold, so all right thresholds refuse the same ones.
    """
    held_out = (level - 6 * normal(g, m).abs() - _uniform(g, m)).sort().values
    below = round(share * m)
    if ties:
        held_out[below - ties : below + ties + 1] = held_out[below]
        apart = arange(max(below - 1, 0), min(below + 2, m))  # the tie itself is asked for
    else:
        apart = arange(max(below - 2, 0), below + 2)
    ranks = arange(m)[~torch.isin(arange(m), apart)]
    ranks = cat([ranks[:1], ranks[below : below + 1], _shuffled(g, ranks)])[: n // 2]
    logits = 3 * normal(g, n, k)
    logits[::3] *= 0.05  # of some the model is not sure
    return {
        "held_out": _shuffled(g, held_out),
        "log_p": _shuffled(g, cat([held_out[ranks], level - 40 - 8 * _uniform(g, n - n // 2)])),
        "posterior": softmax(logits, 1),
        "share": share,
    }


def _as_counted(made: Any, held_out: Tensor, log_p: Tensor, posterior: Tensor, share: float) -> Any:
    """One threshold for all that have the same number of images below, up to one: that of the lowest number.

    Only where that number is one of those that somebody may want: a share, or that of the new images.
    """
    if not isinstance(made, tuple | list) or len(made) != 2:
        return made
    threshold, labels = number(made[0]), number(made[1])
    if (
        all(isinstance(x, Tensor) for x in (threshold, labels))
        and threshold.ndim > labels.ndim == 0
    ):
        raise Wrong("the labels come first in yours: return the threshold, then the labels.")
    if not isinstance(threshold, Tensor) or threshold.ndim or not threshold.is_floating_point():
        return made
    if not isfinite(threshold):
        return made
    every, of = cat([held_out, log_p]), (share, 0.0, share / 2, 0.5, 1 - share)
    own = (log_p, (share,)) if threshold < held_out.min() - 5 else (held_out, of)
    for scores, parts in (own, (every, (share,))):
        below = int((scores < threshold).sum())
        for wanted in (round(part * len(scores)) for part in parts):
            if abs(below - wanted) <= 1:
                return scores.sort().values[min(wanted, len(scores) - 1)].to(threshold), labels
    return threshold, labels


def _quantile(scores: Tensor, share: float) -> Tensor:
    return scores.sort().values[min(int(share * len(scores)), len(scores) - 1)]


def _at(threshold: Callable[[Tensor, Tensor, float], Any]) -> Callable[..., tuple[Any, None]]:
    return lambda held_out, log_p, posterior, share: (threshold(held_out, log_p, share), None)


def _answering(
    refused: Callable[
        [Tensor, Tensor, Tensor, float], Tensor
    ] = lambda log_p, t, posterior, share: log_p < t,
    label: Callable[[Tensor], Tensor] = lambda posterior: posterior.argmax(1),
    mark: Callable[[Tensor], int] = lambda posterior: -1,
) -> Callable[..., tuple[Tensor, Tensor]]:
    """The right threshold, and labels of which one part is another."""

    def answer(
        held_out: Tensor, log_p: Tensor, posterior: Tensor, share: float
    ) -> tuple[Tensor, Tensor]:
        t, labels = _quantile(held_out, share), label(posterior)
        refuse = refused(log_p, t, posterior, share)
        return t, where(refuse, full_like(labels, mark(posterior)), labels)

    return answer


@step(
    lambda g: [
        tame("a share of 5 %", **_some_refused(g, 200, 40, 4, 0.05)),
        tame("a share of 20 %", **_some_refused(g, 60, 30, 3, 0.2)),
        tame("a share of 25 %", **_some_refused(g, 80, 20, 5, 0.25)),
        hard("many images at the threshold", **_some_refused(g, 120, 24, 4, 0.25, ties=5)),
        hard("a share of 0", **_some_refused(g, 50, 16, 3, 0.0)),
        extreme("images of -2000 nats", **_some_refused(g, 50, 16, 3, 0.2, level=-2000)),
    ],
    results=("the threshold", "the list of labels"),
    read=_as_counted,
    passes="the threshold comes from images held out, and refuses what no class explains.",
)
def decide(
    held_out: Tensor, log_p: Tensor, posterior: Tensor, share: float
) -> tuple[Tensor, Tensor]:
    r"""Check `decide(held_out, log_p, posterior, share)`: a threshold, and labels with -1 for refused.

    held_out (M,) and log_p (N,) in nats, posterior (N, K) -> one number, (N,) of integers. A threshold is
    right if the share of `held_out` below it is as asked, up to one image.

    Example:
        >>> from course import checks
        >>> def decide(held_out, log_p, posterior, share):
        ...     return held_out.quantile(1 - share), posterior.argmax(dim=1)
        >>> checks.taxonomy.decide(decide)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your threshold refuses nearly all held-out images...
    """
    return _answering()(held_out, log_p, posterior, share)


decide.wrong = {
    "your threshold is the mean: about half of the held-out images would be refused.":
        _at(lambda held_out, log_p, share: held_out.mean()),
    "your threshold is the share itself: return a log-probability, in nats.":
        _at(lambda held_out, log_p, share: _floats(share)[0]),
    "your threshold is the logarithm of the share: look where the held-out images lie.":
        _at(lambda held_out, log_p, share: _floats(share)[0].log()),
    "you go a share of the way from the smallest to the largest: count images instead, since they do not lie evenly.":
        _at(lambda held_out, log_p, share: held_out.min() + share * (held_out.max() - held_out.min())),
    "you multiply the smallest by the share: sort, and count off the share of the images.":
        _at(lambda held_out, log_p, share: share * held_out.min()),
    "you count off the share in the order in which the images came: sort them first.":
        _at(lambda held_out, log_p, share: held_out[int(share * len(held_out))]),
    "you count off from the other images too: the threshold comes from those held out alone.":
        _at(lambda held_out, log_p, share: _quantile(cat([held_out, log_p]), share)),
    "for a share of 0 your place is -1, which is the largest: count places from 0.":
        _at(lambda held_out, log_p, share: held_out.sort().values[int(share * len(held_out)) - 1]),
    "you compare probabilities, and those of -2000 nats are all 0: compare their logarithms.":
        lambda held_out, log_p, posterior, share: (
            _quantile(held_out.exp(), share).log(),
            where(log_p.exp() < _quantile(held_out.exp(), share), -1, posterior.argmax(1)),
        ),
    "your threshold is two standard deviations below the mean, whatever the share: count images.":
        _at(lambda held_out, log_p, share: held_out.mean() - 2 * held_out.std()),
    "your threshold refuses nearly all held-out images, and keeps the share: take the lower end.":
        _at(lambda held_out, log_p, share: _quantile(held_out, 1 - share)),
    "you take the share of the new images: the threshold is chosen on those held out, or a flood of noise would move "
    "it.":
        _at(lambda held_out, log_p, share: _quantile(log_p, share)),
    "you refuse half the share: only one end is cut here, so all of it lies below.":
        _at(lambda held_out, log_p, share: _quantile(held_out, share / 2)),
    "you refuse hardly any held-out image: below the threshold lies the given share of them, and 0.05 means 5 %.":
        _at(lambda held_out, log_p, share: held_out.min()),
    "your threshold is in the middle: half of the held-out images would be refused, not the share.":
        _at(lambda held_out, log_p, share: _quantile(held_out, 0.5)),
    "you refuse nothing: where log_p lies below the threshold the label is -1.":
        _answering(lambda log_p, t, posterior, share: log_p > math.inf),
    "you refuse what lies above the threshold: an image that no class explains lies below.":
        _answering(lambda log_p, t, posterior, share: log_p >= t),
    "you refuse what lies above the threshold, and answer below it: turn the comparison round.":
        _answering(lambda log_p, t, posterior, share: log_p > t),
    "an image exactly at the threshold is answered: refuse where `log_p < threshold`, without the =.":
        _answering(lambda log_p, t, posterior, share: log_p <= t),
    "you refuse by the posterior: it says which class, and adds up to one for noise too. Compare log_p with the "
    "threshold.":
        _answering(lambda log_p, t, posterior, share: posterior.amax(1) < share),
    "you refuse where the posterior is not sure: noise may have a posterior near 1 as well. Compare log_p with the "
    "threshold.":
        _answering(lambda log_p, t, posterior, share: posterior.amax(1) < 1 - share),
    "you compare log_p with the share: compare it with the threshold.":
        _answering(lambda log_p, t, posterior, share: log_p < share),
    "you refuse a share of the new images: compare each with the threshold. Of noise all may go.":
        _answering(lambda log_p, t, posterior, share: log_p < log_p.sort().values[int(share * len(log_p))]),
    "refused images get the label 0, which is a class: mark them by -1.": _answering(mark=lambda posterior: 0),
    "refused images get a label after the last class: mark them by -1.":
        _answering(mark=lambda posterior: posterior.shape[1]),
    "you answer with the least probable class: take `argmax`.": _answering(label=lambda posterior: posterior.argmin(1)),
    "you answer with the probability of the best class: return its number.":
        _answering(label=lambda posterior: posterior.amax(1)),
    "your labels begin at 1: classes count from 0.": _answering(label=lambda posterior: posterior.argmax(1) + 1),
    "you say which images are refused: return the label of each, and -1 for the refused.":
        lambda held_out, log_p, posterior, share: (None, log_p < _quantile(held_out, share)),
    "you leave the refused images out: return a label for every image, -1 for the refused.":
        lambda held_out, log_p, posterior, share: (None, posterior.argmax(1)[log_p >= _quantile(held_out, share)]),
}  # fmt: skip


# ---------------------------------------------------------------- 9. the area under the curve


def _pairs(in_scores: Tensor, out_scores: Tensor) -> Tensor:
    """1 for a pair in the right order, 1/2 for a tie, (N, M)."""
    return ((in_scores[:, None] - out_scores).sign() + 1) / 2


def _two_sets(g: torch.Generator, n: int, m: int, shift: int) -> dict[str, Tensor]:
    in_scores, out_scores = (
        shift + randint(-6, 6, (n,), generator=g),
        randint(-6, 6, (m,), generator=g),
    )
    # a tie at 0 at least, whatever is drawn
    in_scores = cat([in_scores, tensor([0, 3 * shift, 1])])
    out_scores = cat([out_scores, tensor([0, shift, 5])])
    if shift < 0:
        in_scores[0] = 8  # the mean of one set does not tell all
    return {"in_scores": in_scores.to(_floats()), "out_scores": out_scores.to(_floats())}


@step(
    lambda g: [
        tame("few scores, with ties", **_two_sets(g, 6, 4, 2)),
        tame("the wrong way round", **_two_sets(g, 12, 16, -8)),
        tame("many scores, close together", **{key: x / 32 for key, x in _two_sets(g, 25, 31, 3).items()}),
        hard("a tie of one with one", in_scores=_floats(-3.0), out_scores=_floats(-3.0)),
        extreme("scores of -2000 nats", **{key: x / 64 - 2000 for key, x in _two_sets(g, 9, 5, 2).items()}),
    ],
    passes="the share of pairs in the right order, and half a pair for a tie.",
)  # fmt: skip
def auroc(in_scores: Tensor, out_scores: Tensor) -> Tensor:
    r"""Check `auroc(in_scores, out_scores)`: the share of pairs in which the first scores higher.

    in_scores (N,), out_scores (M,) -> one number in [0, 1].

    Example:
        >>> from course import checks
        >>> checks.taxonomy.auroc(lambda in_scores, out_scores: (in_scores[:, None] > out_scores).float().mean())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: ties count for nothing...
    """
    return _pairs(in_scores, out_scores).mean()


auroc.wrong = {
    "ties count for nothing in yours: where both score the same, the pair counts one half.":
        lambda a, b: (_pairs(a, b) == 1).to(a).mean(),
    "ties count as won in yours: where both score the same, the pair counts one half.":
        lambda a, b: (_pairs(a, b) > 0).to(a).mean(),
    "you count the pairs the wrong way round: those count in which the first is higher.":
        lambda a, b: _pairs(b, a).mean(),
    "these are counts: divide by the number of pairs, N times M.": lambda a, b: _pairs(a, b).sum(),
    "won pairs and ties count one half each: a won one counts 1.":
        lambda a, b: (_pairs(a, b) > 0).to(a).mean() / 2,
    "you divide by N alone: there are N times M pairs.": lambda a, b: _pairs(a, b).sum() / len(a),
    "you divide by M alone: there are N times M pairs.": lambda a, b: _pairs(a, b).sum() / len(b),
    "you divide by N + M: there are N times M pairs.": lambda a, b: _pairs(a, b).sum() / (len(a) + len(b)),
    "you return a number for each score in_scores: take the mean over all pairs.": lambda a, b: _pairs(a, b).mean(1),
    "you compare with the mean of those out_scores: compare with each one, and count.":
        lambda a, b: (a > b.mean()).to(a).mean(),
    "you compare the two means, which gives 0 or 1: compare all pairs, and count.":
        lambda a, b: (a.mean() > b.mean()).to(a),
    "this is the gap between the means: only the order of a pair counts, not by how much.":
        lambda a, b: a.mean() - b.mean(),
    "you average the gaps' signs, which gives -1 to 1: lost pairs count 0, not -1.":
        lambda a, b: (a[:, None] - b).sign().mean(),
    "you turn the result round where it is below one half: a score that is the wrong way round should look so.":
        lambda a, b: _pairs(a, b).mean().maximum(_pairs(b, a).mean()),
    "you compare the first with the first, the second with the second: compare every one of the first with every "
    "one of the second, `in_scores[:, None]` with `out_scores`.":
        lambda a, b: ((a[: len(b)] - b[: len(a)]).sign() / 2 + 0.5).mean(),
    "you ask which share of the first beats all of the second: compare pair by pair.":
        lambda a, b: (a > b.max()).to(a).mean(),
    "you compare probabilities, and those of -2000 nats are all 0: compare their logarithms, as they come.":
        lambda a, b: _pairs(a.exp(), b.exp()).mean(),
}  # fmt: skip


# ---------------------------------------------------------------- 10. on the tree

NOWHERE = "nowhere"
Methods = AbstractSet[str]
Leaves = Mapping[str, AbstractSet[str]]

COURSE = {
    "tractable": {"log_prob", "loss", "sample"},
    "ode": {"log_prob", "loss", "sample", "velocity"},
    "variational": {"elbo", "likelihood", "loss", "posterior", "prior", "reconstruct", "sample"},
    "steps": {"denoise", "elbo", "loss", "sample", "score"},
    "energy": {"free_energy", "gibbs", "log_partition", "log_prob", "loss", "sample"},
    "chain": {"loss", "sample", "chain"},
    "direct": {"discriminator_loss", "generate", "generator_loss", "sample"},
}
ORCHESTRA = {
    "strings": {"bow", "pluck", "tune"},
    "wind": {"blow", "finger", "tune"},
    "drums": {"strike"},
}
DUO = {leaf: ORCHESTRA[leaf] for leaf in ("strings", "drums")}
STONES: Leaves = {"silence": set(), "noise": {"hiss"}}


def _models(g: torch.Generator) -> Iterator[Case]:
    others = {"forward", "parameters", "train"}
    for label, methods, tree in (
        ("a model with log_prob, loss and sample", {"log_prob", "loss", "sample"}, COURSE),
        ("a PixelCNN with all its methods", COURSE["tractable"] | others, COURSE),
        ("a VAE with all its methods", COURSE["variational"] | others | {"encoder"}, COURSE),
        ("a GAN with all its methods", COURSE["direct"] | others, COURSE),
        ("a model with loss and nothing more", {"loss"}, COURSE),
        ("a model without methods", set[str](), COURSE),
        ("an autoencoder, with encode, decode and loss", {"encode", "decode", "loss"}, COURSE),
        ("a model with log_prob, loss, sample and elbo", COURSE["tractable"] | {"elbo"}, COURSE),
        ("a PixelCNN that cannot sample", {"log_prob", "loss"} | others, COURSE),
        ("a VAE without a prior", COURSE["variational"] - {"prior"}, COURSE),
        ("a GAN with a chain", COURSE["direct"] | {"chain"}, COURSE),
        ("a k-means with fit and predict", {"fit", "predict"}, COURSE),
        ("a model with three methods of three leaves", {"elbo", "gibbs", "chain"}, COURSE),
        ("on another tree, a violin", ORCHESTRA["strings"] | {"open_case"}, ORCHESTRA),
        ("on another tree, a drum", {"strike", "carry"}, ORCHESTRA),
        ("on a tree with a leaf that promises nothing, a stone", {"lie"}, STONES),
        ("on a tree of two, one that plays both", DUO["strings"] | DUO["drums"], DUO),
        ("on another tree, a drum with strings", {"strike", "pluck"}, ORCHESTRA),
    ):
        leaves = [list(tree)[i] for i in randperm(len(tree), generator=g).tolist()]
        yield tame(label, methods=set(methods), leaves={leaf: set(tree[leaf]) for leaf in leaves})


def _as_number(leaf: Any, methods: Methods, leaves: Leaves) -> Tensor:
    """The place of a leaf among all, from 1 on, or -1 for nowhere."""
    if not isinstance(leaf, str):
        got = "None" if leaf is None else f"a {type(leaf).__name__}"
        raise Wrong(
            f'`place` returns {got} for a model: return the name of a leaf, or "{NOWHERE}".'
        )
    if leaf != NOWHERE and leaf not in leaves:
        raise Wrong(
            f'`place` returns "{leaf[:40]}", which is not the name of a leaf: return a key of `leaves`, or "{NOWHERE}".'
        )
    return tensor(-1 if leaf == NOWHERE else 1 + list(leaves).index(leaf))


def _names(case: Case, *at: Tensor) -> str:
    got, want = (NOWHERE if n < 0 else list(case.arguments["leaves"])[int(n) - 1] for n in at)
    return f'{case.label} is "{want}", and you say "{got}".'


def _first(
    belongs: Callable[[AbstractSet[str], AbstractSet[str], AbstractSet[str]], object],
) -> Callable[[Methods, Leaves], str]:
    """The first leaf for which that holds of its methods, the model's, and all that the tree speaks of."""

    def placed(methods: Methods, leaves: Leaves) -> str:
        spoken_of = frozenset[str]().union(*leaves.values())
        return next(
            (leaf for leaf, own in leaves.items() if belongs(own, methods, spoken_of)), NOWHERE
        )

    return placed


def _or_else(i: int) -> Callable[[Methods, Leaves], str]:
    """What fits no leaf lands on that one."""

    def placed(methods: Methods, leaves: Leaves) -> str:
        leaf = place.right(methods, leaves)
        return list(leaves)[i] if leaf == NOWHERE else leaf

    return placed


@step(
    lambda g: list(_models(g)),
    read=_as_number,
    probe=_names,
    passes="a model belongs where it keeps each promise, and makes no other.",
)
def place(methods: Methods, leaves: Leaves) -> str:
    r"""Check `place(methods, leaves)`: the leaf whose promises a model keeps, and no others, or "nowhere".

    methods: a set of names. leaves: the name of a leaf -> the set of methods that it promises.

    Example:
        >>> from course import checks
        >>> def place(methods, leaves):
        ...     for leaf, promised in leaves.items():
        ...         if promised <= methods:
        ...             return leaf
        ...     return "nowhere"
        >>> checks.taxonomy.place(place)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: a model that has all methods of a leaf and one of another...
    """
    return _first(lambda own, methods, spoken_of: own == methods & spoken_of)(methods, leaves)


place.wrong = {
    "a model that has all methods of a leaf and one of another leaf besides claims to be two things: it belongs "
    "nowhere.":
        _first(lambda own, methods, spoken_of: own <= methods),
    "a model has many methods that the tree does not speak of, such as `forward`: leave them out before you compare.":
        _first(lambda own, methods, spoken_of: own == methods),
    "a model that lacks a method of the leaf does not keep its promise: it belongs nowhere.":
        _first(lambda own, methods, spoken_of: methods & spoken_of <= own),
    "yours asks that a leaf promise all that a model has, `forward` and the rest as well, and nothing the other way "
    "round: compare for equality.":
        _first(lambda own, methods, spoken_of: methods <= own),
    "one method in common is enough in yours: all of the leaf's must be there.":
        _first(lambda own, methods, spoken_of: own & methods),
    "you take the leaf with most methods in common: all must agree, and if none does the model belongs nowhere.":
        lambda methods, leaves: max(leaves, key=lambda leaf: len(leaves[leaf] & methods)),
    "you compare how many methods there are: compare which.":
        _first(lambda own, methods, spoken_of: len(own) == len(methods & spoken_of)),
    "the methods of the last leaf are missing in your T: collect those of all leaves.":
        lambda methods, leaves: _first(lambda own, methods, spoken_of: own == methods)(
            methods & set[str]().union(*[*leaves.values()][:-1]), leaves),
    "what fits no leaf lands on the first: it belongs nowhere.": _or_else(0),
    "what fits no leaf lands on the last: it belongs nowhere.": _or_else(-1),
    "everything is nowhere in yours.": lambda methods, leaves: NOWHERE,
}  # fmt: skip
