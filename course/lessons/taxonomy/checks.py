r"""Checks for the exercises of lesson taxonomy: a classifier that knows $p(x)$, by counting.

Each takes the student's function and compares it, on inputs of its own, with the right function and with
the wrong ones that students write. It prints one line, or raises `Wrong` with the likely mistake.
Another `seed` gives other inputs and the same verdict.

Every step is a formula. What is drawn is drawn from random numbers that the check hands over, and a
threshold is judged by how many images lie below it, not by its value.
"""

import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import torch
from torch import (
    Tensor,
    arange,
    bincount,
    cat,
    equal,
    full_like,
    isfinite,
    logsumexp,
    ones_like,
    rand,
    randint,
    randperm,
    softmax,
    tensor,
    where,
    zeros,
)
from torch.nn.functional import log_softmax, one_hot

from course.checking.core import (
    Answer,
    Case,
    Mistakes,
    Wrong,
    as_tensor,
    call,
    collect,
    judge,
    judge_parts,
    normal,
    own_random_numbers,
    same,
)

__all__ = [
    "auroc",
    "bayes",
    "bits",
    "decide",
    "draw",
    "log_joint",
    "place",
    "shares",
    "white",
]


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return rand(shape, generator=generator, dtype=torch.float64).to(torch.get_default_dtype())


def _labels(generator: torch.Generator, n: int, n_classes: int) -> Tensor:
    """Labels among which each class occurs at least once, in no order."""
    free = randint(0, n_classes, (n - n_classes,), generator=generator)
    return cat([arange(n_classes), free])[randperm(n, generator=generator)]


def _a_prior(generator: torch.Generator, n_classes: int) -> Tensor:
    """Probabilities that are all different, in a random order."""
    parts = arange(1, n_classes + 1).to(torch.get_default_dtype())
    return (parts / parts.sum())[randperm(n_classes, generator=generator)]


# ---------------------------------------------------------------- 1. how common each class is


def shares(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `shares(y, n_classes)`: $p(y)$, the share of each class among the labels.

    y (N,) of integers -> (n_classes,).

    Example:
        >>> from course import checks
        >>> checks.taxonomy.shares(lambda y, n_classes: y.bincount(minlength=n_classes))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: `shares` returns torch.int64...
    """

    def counts(y: Tensor, n_classes: int) -> Tensor:
        return bincount(y, minlength=n_classes).to(torch.get_default_dtype())

    def right(y: Tensor, n_classes: int) -> Tensor:
        return counts(y, n_classes) / len(y)

    def of_those_that_occur(y: Tensor, n_classes: int) -> Tensor:
        share = right(y, n_classes)
        return share[share > 0]

    mistakes: Mistakes = [
        (
            "these are counts: divide them by the number of labels, so that they add up to one.",
            counts,
        ),
        (
            "you divide by the number of classes: divide by the number of labels.",
            lambda y, n_classes: counts(y, n_classes) / n_classes,
        ),
        (
            "you divide by the sum of the labels, as if they were amounts: divide by how many there are.",
            lambda y, n_classes: counts(y, n_classes) / y.sum(),
        ),
        (
            "you divide by the largest count: divide by the number of labels, so that the shares add up "
            "to one.",
            lambda y, n_classes: counts(y, n_classes) / counts(y, n_classes).max(),
        ),
        (
            "classes that do not occur are left out, and those after them slip to a wrong place: return "
            "a zero for each.",
            of_those_that_occur,
        ),
        (
            "your list ends with the largest label that occurs: `minlength=n_classes` makes room for the "
            "classes after it.",
            lambda y, n_classes: right(y, int(y.max()) + 1),
        ),
        (
            "you add one to each count. That comes in step 2; here the plain share is asked for.",
            lambda y, n_classes: (counts(y, n_classes) + 1) / (len(y) + n_classes),
        ),
        (
            "you give every class the same share: count how often each occurs.",
            lambda y, n_classes: full_like(right(y, n_classes), 1 / n_classes),
        ),
        (
            "you take a softmax of the counts: counts are no logarithms. Divide them by their sum.",
            lambda y, n_classes: softmax(counts(y, n_classes), 0),
        ),
        (
            "these are logarithms: return the shares themselves.",
            lambda y, n_classes: right(y, n_classes).log(),
        ),
        (
            "these are percentages: a share lies between 0 and 1.",
            lambda y, n_classes: 100 * right(y, n_classes),
        ),
        (
            "you return one number for each label: one for each class is asked for.",
            lambda y, n_classes: right(y, n_classes)[y],
        ),
        (
            "your shares are added up from class to class: return each by itself.",
            lambda y, n_classes: right(y, n_classes).cumsum(0),
        ),
        (
            "your shares are sorted by size: place k belongs to class k.",
            lambda y, n_classes: right(y, n_classes).sort(descending=True).values,
        ),
    ]
    with own_random_numbers(seed) as generator:
        all_occur = cat([tensor([0, 2, 2, 2]), _labels(generator, 9, 4)])
        few = tensor([0, 0, 3, 3, 3, 1])[randperm(6, generator=generator)]
        cases = [
            Case("four classes", {"y": all_occur, "n_classes": 4}),
            Case("a class that does not occur", {"y": few, "n_classes": 4}),
            Case("a last class that does not occur", {"y": few % 3, "n_classes": 3}),
            Case("two classes that do not occur", {"y": few, "n_classes": 5}),
        ]
        given = collect("shares", answer, cases)
        judge("shares", cases, given, right, mistakes)
    print("Right: shares, one a class, that add up to one.")


# ---------------------------------------------------------------- 2. how often each pixel is white


def white(answer: Answer, *, seed: int = 0) -> None:
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

    def counts(x: Tensor, y: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
        """Of white pixels, (K, D), and of images, (K, 1)."""
        member = one_hot(y, n_classes).to(x)
        return member.T @ x, member.sum(0)[:, None]

    def by(f: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, int], Tensor]:
        return lambda x, y, n_classes: f(*counts(x, y, n_classes))

    def right(x: Tensor, y: Tensor, n_classes: int) -> Tensor:
        ones, images = counts(x, y, n_classes)
        return (ones + 1) / (images + 2)

    mistakes: Mistakes = [
        (
            "the counts are not raised: a pixel that was never white would be impossible. Add 1 to the "
            "white ones, and 2 below.",
            by(lambda ones, images: ones / images),
        ),
        (
            "you divide by the number of all images: divide by the number of images of the class.",
            lambda x, y, n_classes: (counts(x, y, n_classes)[0] + 1) / (len(x) + 2),
        ),
        (
            "you divide by the number of all images, and do not raise the counts: divide by the number "
            "of images of the class.",
            lambda x, y, n_classes: counts(x, y, n_classes)[0] / len(x),
        ),
        (
            "you add 1 above and nothing below, so that a pixel that is always white gets more than 1.",
            by(lambda ones, images: (ones + 1) / images),
        ),
        (
            "you add 1 above and 1 below: one more white and one more black image make 2 more images.",
            by(lambda ones, images: (ones + 1) / (images + 1)),
        ),
        (
            "you add 2 below and nothing above: of the two more images, one is white here.",
            by(lambda ones, images: ones / (images + 2)),
        ),
        (
            "you add the number of classes below: what is counted is a pixel, which has two values.",
            lambda x, y, n_classes: (
                (counts(x, y, n_classes)[0] + 1) / (counts(x, y, n_classes)[1] + n_classes)
            ),
        ),
        (
            "you add the number of pixels below: every pixel has a distribution of its own, with two "
            "values.",
            by(lambda ones, images: (ones + 1) / (images + ones.shape[1])),
        ),
        (
            "you add a half of an image of each kind: Laplace adds a whole one.",
            by(lambda ones, images: (ones + 0.5) / (images + 1)),
        ),
        (
            "this is the probability of black: count the ones.",
            lambda x, y, n_classes: 1 - right(x, y, n_classes),
        ),
        (
            "all classes get the same row: count among the images of each class alone.",
            lambda x, y, n_classes: ((x.sum(0) + 1) / (len(x) + 2)).expand(n_classes, x.shape[1]),
        ),
        (
            "your classes share one pixel, so the columns add up to one: that is p(y | x_i). Divide by "
            "the images of the class.",
            by(lambda ones, images: (ones + 1) / (ones + 1).sum(0)),
        ),
        (
            "your pixels share one class, so the rows add up to one: each pixel has its own two "
            "probabilities, of white and of black.",
            by(lambda ones, images: (ones + 1) / (ones + 1).sum(1, keepdim=True)),
        ),
        (
            "your table lies on its side: one row a class, one column a pixel.",
            lambda x, y, n_classes: right(x, y, n_classes).T,
        ),
        (
            "these are counts: divide by the number of images of the class, and 2.",
            by(lambda ones, images: ones + 1),
        ),
        (
            "these are logarithms: return the probabilities.",
            lambda x, y, n_classes: right(x, y, n_classes).log(),
        ),
    ]
    with own_random_numbers(seed) as generator:

        def images(n: int, n_pixels: int, n_classes: int) -> dict[str, Any]:
            y = _labels(generator, n, n_classes)
            x = _uniform(generator, n, n_pixels) < 0.2 + 0.6 * _uniform(generator, n_pixels)
            x[:, 0], x[:, 1] = y > 0, y == 0  # always white or black in a class
            return {"x": x.to(torch.get_default_dtype()), "y": y}

        cases = [
            Case("three classes", images(14, 5, 3) | {"n_classes": 3}),
            Case("four classes", images(23, 7, 4) | {"n_classes": 4}),
        ]
        empty = Case("a class without images", images(9, 4, 3) | {"n_classes": 5})
        given = collect("white", answer, [*cases, empty])
        judge("white", cases, given[:2], right, mistakes)
        if not isfinite(given[2][0]).all():
            raise Wrong(
                "for a class without images you divide 0 by 0: the rule gives 1/2 there, if the counts "
                "are raised before you divide."
            )
        judge("white", [*cases, empty], given, right, [])
    print("Right: one more white and one more black image in each class, then shares.")


# ---------------------------------------------------------------- 3. log p(x, y)


def log_joint(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `log_joint(x, prior, white)`: $\log p(x \mid y) + \log p(y)$ for every class.

    x (N, D) of zeros and ones, prior (K,), white (K, D) -> (N, K), nats.

    Example:
        >>> from course import checks
        >>> checks.taxonomy.log_joint(lambda x, prior, white: x @ white.log().T + prior.log())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: only the white pixels count...
    """

    def pixels(x: Tensor, white: Tensor) -> Tensor:
        """Log-probability of each pixel, (N, K, D)."""
        return where(x[:, None] > 0.5, white.log(), (1 - white).log())

    def right(x: Tensor, prior: Tensor, white: Tensor) -> Tensor:
        return pixels(x, white).sum(2) + prior.log()

    mistakes: Mistakes = [
        (
            "only the white pixels count in yours: a black one has the probability 1 - p(white), and "
            "its logarithm belongs to the sum.",
            lambda x, prior, white: x @ white.log().T + prior.log(),
        ),
        (
            "only the black pixels count in yours: add the logarithms of the white ones.",
            lambda x, prior, white: (1 - x) @ (1 - white).log().T + prior.log(),
        ),
        (
            "you average over the pixels: independent probabilities multiply, so their logarithms add up.",
            lambda x, prior, white: pixels(x, white).mean(2) + prior.log(),
        ),
        (
            "the prior is missing: this is log p(x | y). Add log p(y).",
            lambda x, prior, white: pixels(x, white).sum(2),
        ),
        (
            "you add p(y) to a logarithm: add log p(y).",
            lambda x, prior, white: pixels(x, white).sum(2) + prior,
        ),
        (
            "you multiply by p(y): among logarithms a product is a sum. Add log p(y).",
            lambda x, prior, white: pixels(x, white).sum(2) * prior,
        ),
        (
            "you subtract log p(y): add it.",
            lambda x, prior, white: pixels(x, white).sum(2) - prior.log(),
        ),
        (
            "you take all classes for equally common: use the prior that is given.",
            lambda x, prior, white: pixels(x, white).sum(2) - math.log(len(prior)),
        ),
        (
            "log p(y) counts once for every pixel in yours: an image has one class, so add it once, "
            "after the sum.",
            lambda x, prior, white: pixels(x, white).sum(2) + x.shape[1] * prior.log(),
        ),
        (
            "white and black are swapped: where x is 1, the probability is `white`.",
            lambda x, prior, white: pixels(1 - x, white).sum(2) + prior.log(),
        ),
        (
            "these are probabilities, and of a large image they are 0: stay with the logarithms.",
            lambda x, prior, white: right(x, prior, white).exp(),
        ),
        (
            "you add up the probabilities of the pixels, then take the logarithm: take logarithms first.",
            lambda x, prior, white: pixels(x, white).exp().sum(2).log() + prior.log(),
        ),
        (
            "you normalise over the classes: that is log p(y | x), and the matter of step 4.",
            lambda x, prior, white: log_softmax(right(x, prior, white), 1),
        ),
        (
            "the sign is wrong: a log-probability is never above 0.",
            lambda x, prior, white: -right(x, prior, white),
        ),
        (
            "these are bits: take natural logarithms.",
            lambda x, prior, white: right(x, prior, white) / math.log(2),
        ),
        (
            "your table lies on its side: one row an image, one column a class.",
            lambda x, prior, white: right(x, prior, white).T,
        ),
    ]
    of_large_images: Mistakes = [
        (
            "your product of so many probabilities underflows to 0, and its logarithm is minus infinity: "
            "take logarithms first, then add.",
            lambda x, prior, white: (pixels(x, white).exp().prod(2) * prior).log(),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, k, d in (
            ("images of 6 pixels", 5, 3, 6),
            ("four classes", 7, 4, 9),
            ("images of 3000 pixels", 2, 3, 3000),
        ):
            table = 0.1 + 0.8 * _uniform(generator, k, d)
            x = (_uniform(generator, n, d) < 0.5).to(table)
            cases.append(Case(label, {"x": x, "prior": _a_prior(generator, k), "white": table}))
        given = collect("log_joint", answer, cases)
        judge("log_joint", cases[:2], given[:2], right, mistakes)
        judge("log_joint", cases, given, right, of_large_images)
    print("Right: every pixel adds its logarithm, white or black, and the class adds its own once.")


# ---------------------------------------------------------------- 4. Bayes' rule


def bayes(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `bayes(joint)`: $\log p(x)$ and $p(y \mid x)$ from $\log p(x, y)$, without underflow.

    joint (N, K) in nats -> (N,) in nats, (N, K) of sum one.

    Example:
        >>> from course import checks
        >>> checks.taxonomy.bayes(lambda joint: (joint.amax(dim=1), joint.softmax(dim=1)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your log p(x) is that of the best class alone...
    """

    def evidence(joint: Tensor) -> Tensor:
        return logsumexp(joint, 1)

    def posterior(joint: Tensor) -> Tensor:
        return softmax(joint, 1)

    of_evidence: Mistakes = [
        (
            "your log p(x) is that of the best class alone: an image may come from any class, so add up "
            "the probabilities of all.",
            lambda joint: joint.amax(1),
        ),
        (
            "your log p(x) is a mean over the classes: the prior is in the joint already, so add up.",
            lambda joint: logsumexp(joint, 1) - math.log(joint.shape[1]),
        ),
        (
            "you add up logarithms, which multiplies the classes: take e to the power of each, add, and "
            "take the logarithm.",
            lambda joint: joint.sum(1),
        ),
        (
            "you average logarithms: take e to the power of each, add, and take the logarithm.",
            lambda joint: joint.mean(1),
        ),
        (
            "your first sum runs over the images: add up over the classes, axis 1.",
            lambda joint: logsumexp(joint, 0),
        ),
        (
            "you add up all images and classes into one number: one for each image is asked for.",
            lambda joint: logsumexp(joint, (0, 1)),
        ),
        (
            "your first result is p(x) itself: return its logarithm.",
            lambda joint: joint.exp().sum(1),
        ),
        (
            "the shift m does not come back: add it after the logarithm.",
            lambda joint: logsumexp(joint, 1) - joint.amax(1),
        ),
        (
            "you subtract the shift m at the end: it was subtracted inside, so add it.",
            lambda joint: logsumexp(joint, 1) - 2 * joint.amax(1),
        ),
        (
            "your log p(x) has the wrong sign.",
            lambda joint: -logsumexp(joint, 1),
        ),
        (
            "your log p(x) keeps the axis of the classes, (N, 1): return (N,).",
            lambda joint: logsumexp(joint, 1, keepdim=True),
        ),
        (
            "p(y | x) comes first in yours: return log p(x), then p(y | x).",
            posterior,
        ),
    ]
    of_posterior: Mistakes = [
        (
            "your posterior is normalised over the images: for each image the classes add up to one, "
            "axis 1.",
            lambda joint: softmax(joint, 0),
        ),
        (
            "your posterior is normalised over images and classes together: for each image the classes "
            "add up to one.",
            lambda joint: softmax(joint.flatten(), 0).view(joint.shape),
        ),
        (
            "your posterior is still a logarithm: take e to its power.",
            lambda joint: log_softmax(joint, 1),
        ),
        (
            "you divide logarithms: a quotient of probabilities is a difference of logarithms.",
            lambda joint: joint / joint.sum(1, keepdim=True),
        ),
        (
            "you divide by log p(x): subtract it, then take e to the power.",
            lambda joint: joint / logsumexp(joint, 1, keepdim=True),
        ),
        (
            "your second result is p(x, y), not divided by p(x): each row should add up to one.",
            lambda joint: joint.exp(),
        ),
        (
            "your second result is the joint as it came: subtract log p(x), then take e to the power.",
            lambda joint: joint,
        ),
        (
            "the largest probability of each image is 1 in yours: after the shift, divide by the sum.",
            lambda joint: (joint - joint.amax(1, keepdim=True)).exp(),
        ),
        (
            "you return the best class as zeros and a one: return how probable each class is.",
            lambda joint: one_hot(joint.argmax(1), joint.shape[1]).to(joint),
        ),
        (
            "your second result is the number of the best class: return how probable each class is.",
            lambda joint: joint.argmax(1),
        ),
        (
            "the sign in your posterior is wrong: it prefers the class that explains the image worst.",
            lambda joint: softmax(-joint, 1),
        ),
        (
            "you take the softmax twice.",
            lambda joint: softmax(softmax(joint, 1), 1),
        ),
    ]
    results = ("log p(x)", "p(y | x)")
    with own_random_numbers(seed) as generator:

        def around(level: float, n: int, k: int) -> Tensor:
            return level - 4 * _uniform(generator, n, k)

        mixed = cat([around(-20.0, 1, 4), around(-2000.0, 2, 4)])
        cases = [
            Case("three classes", {"joint": around(-1.0, 5, 3)}),
            Case("five classes", {"joint": around(-2.0, 3, 5)}),
            Case("images of -2000 nats", {"joint": around(-2000.0, 4, 3)}),
            Case("an image of -20 nats among others of -2000", {"joint": mixed}),
        ]
        given = collect("bayes", answer, cases, results=results)
        parts = ((evidence, of_evidence), (posterior, of_posterior))
        judge_parts("bayes", cases[:2], given[:2], parts, results)
        _look_at_underflow(cases, given)
        judge_parts("bayes", cases, given, ((evidence, []), (posterior, [])), results)
    print("Right: one sum over the classes gives p(x), and p(x) turns the joint into p(y | x).")


def _look_at_underflow(
    cases: list[Case],
    given: list[tuple[Tensor, ...]],
) -> None:
    """Raise `Wrong` where numbers as e^-2000, which is 0 to a computer, spoil a right formula."""
    deep, mixed = given[2], given[3]
    if isfinite(deep[0]).all() and isfinite(deep[1]).all():
        if not (isfinite(mixed[0]).all() and isfinite(mixed[1]).all()):
            raise Wrong(
                "an image of -2000 nats beside one of -20 gets no number: subtract the largest of each "
                "image, `amax(dim=1, keepdim=True)`, not the largest of all."
            )
        joint = cases[2].arguments["joint"]
        right = logsumexp(joint, 1)
        if deep[0].shape == right.shape and (deep[0] > right + 100).all():
            raise Wrong(
                f"for images of -2000 nats your log p(x) is {deep[0].max().item():.0f}: a small number "
                "inside the logarithm hides that e^-2000 is 0. Subtract the largest first."
            )
        if deep[1].shape == joint.shape and not same(deep[1].sum(1), ones_like(right)):
            raise Wrong(
                "for images of -2000 nats your posterior does not add up to one: e^-2000 is 0 to a "
                "computer, and a small number below does not help. Subtract the largest first."
            )
        return
    if not isfinite(deep[0]).all():
        raise Wrong(
            "for images of -2000 nats your log p(x) is infinite or NaN: e^-2000 is 0 to a computer. "
            "Subtract the largest number of each image first."
        )
    raise Wrong(
        "for images of -2000 nats your posterior is 0/0: e^-2000 is 0 to a computer. Subtract the "
        "largest first, or take e to the power of joint - log p(x)."
    )


# ---------------------------------------------------------------- 5. bits


def bits(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `bits(log_p, n_pixels)`: the mean of $-\log_2 p(x)$, a pixel.

    log_p (N,) in nats -> one number.

    Example:
        >>> from course import checks
        >>> checks.taxonomy.bits(lambda log_p, n_pixels: -log_p.mean() / n_pixels)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: these are nats a pixel...
    """

    def right(log_p: Tensor, n_pixels: int) -> Tensor:
        return -log_p.mean() / (n_pixels * math.log(2))

    mistakes: Mistakes = [
        (
            "these are nats a pixel: a bit is log 2 = 0.69 nats, so divide by it.",
            lambda log_p, n_pixels: -log_p.mean() / n_pixels,
        ),
        (
            "you multiply by log 2: there are more bits than nats, so divide by it.",
            lambda log_p, n_pixels: -log_p.mean() * math.log(2) / n_pixels,
        ),
        (
            "these are bits an image: divide by the number of pixels too.",
            lambda log_p, n_pixels: -log_p.mean() / math.log(2),
        ),
        (
            "these are nats an image, with the sign turned: divide by the number of pixels and by log 2.",
            lambda log_p, n_pixels: -log_p.mean(),
        ),
        (
            "the sign is wrong: bits are a length, and log p is never above 0. Begin with a minus.",
            lambda log_p, n_pixels: -right(log_p, n_pixels),
        ),
        (
            "this is the sum over the images: take their mean.",
            lambda log_p, n_pixels: len(log_p) * right(log_p, n_pixels),
        ),
        (
            "you return a number for each image: take their mean.",
            lambda log_p, n_pixels: -log_p / (n_pixels * math.log(2)),
        ),
        (
            "you divide by 2: one bit is log 2 nats.",
            lambda log_p, n_pixels: -log_p.mean() / (2 * n_pixels),
        ),
        (
            "these are decimal digits: divide by log 2, not by log 10.",
            lambda log_p, n_pixels: -log_p.mean() / (n_pixels * math.log(10)),
        ),
        (
            "you divide by the logarithm of the number of pixels: divide by the number itself, and log 2.",
            lambda log_p, n_pixels: -log_p.mean() / math.log(n_pixels),
        ),
        (
            "you average the probabilities, so that the best image decides alone: average the logarithms.",
            lambda log_p, n_pixels: (
                (math.log(len(log_p)) - logsumexp(log_p, 0)) / (n_pixels * math.log(2))
            ),
        ),
        (
            "you take the logarithm of what is a logarithm already: divide by log 2 instead.",
            lambda log_p, n_pixels: (-log_p).log2().mean() / n_pixels,
        ),
        (
            "this is a median: take the mean.",
            lambda log_p, n_pixels: -log_p.median() / (n_pixels * math.log(2)),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = [
            Case(
                label,
                {"log_p": -level * (0.5 + _uniform(generator, n).square()), "n_pixels": pixels},
            )
            for label, n, pixels, level in (
                ("images of 64 pixels", 7, 64, 30.0),
                ("images of 16 pixels", 4, 16, 9.0),
                ("images of 784 pixels", 5, 784, 90.0),
            )
        ]
        given = collect("bits", answer, cases)
        judge("bits", cases, given, right, mistakes)
    print("Right: a bit is log 2 nats, and the bits of an image are shared by its pixels.")


# ---------------------------------------------------------------- 6. draw


def draw(answer: Answer, *, seed: int = 0) -> None:
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

    def classes(prior: Tensor, white: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return (u[:, None] >= prior.cumsum(0)[:-1]).sum(1)

    def images(prior: Tensor, white: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return (v < white[classes(prior, white, u, v)]).to(v)

    def other_table(
        f: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """The right images of a wrong table: f of prior, white and y gives it."""
        return lambda prior, white, u, v: (v < f(prior, white, classes(prior, white, u, v))).to(v)

    of_classes: Mistakes = [
        (
            "your classes are all equally common: class k gets a part of [0, 1] that is prior[k] long.",
            lambda prior, white, u, v: (u * len(prior)).long(),
        ),
        (
            "you compare u with the probabilities themselves: compare it with their sums, "
            "`prior.cumsum(dim=0)`.",
            lambda prior, white, u, v: (u[:, None] >= prior).sum(1),
        ),
        (
            "you always take the most common class: a rare one must come as well, as often as it should.",
            lambda prior, white, u, v: prior.argmax().expand(len(u)),
        ),
        (
            "your classes count one too high: u below the first bound is class 0.",
            lambda prior, white, u, v: classes(prior, white, u, v) + 1,
        ),
        (
            "your classes count one too low: u below the first bound is class 0.",
            lambda prior, white, u, v: classes(prior, white, u, v) - 1,
        ),
        (
            "you count the bounds above u: count those below it, or at it.",
            lambda prior, white, u, v: (u[:, None] < prior.cumsum(0)).sum(1),
        ),
        (
            "your classes stand in the wrong order on [0, 1]: class 0 has the part that begins at 0.",
            lambda prior, white, u, v: classes(prior, white, 1 - u, v),
        ),
        (
            "all your images get the class of the first: each has a u of its own.",
            lambda prior, white, u, v: classes(prior, white, u[:1].expand(len(u)), v),
        ),
        (
            "x comes first in yours: return y, then x.",
            images,
        ),
        (
            "you return y as zeros and a one: return the number of the class.",
            lambda prior, white, u, v: one_hot(classes(prior, white, u, v), len(prior)),
        ),
    ]
    of_images: Mistakes = [
        (
            "white and black are swapped: v lies below p with probability p, so `v < p` is white.",
            lambda prior, white, u, v: 1 - images(prior, white, u, v),
        ),
        (
            "you return the probabilities: draw with them. A pixel is 0 or 1.",
            lambda prior, white, u, v: white[classes(prior, white, u, v)],
        ),
        (
            "you round the probabilities, so all images of a class are the same: compare them with v.",
            lambda prior, white, u, v: (white[classes(prior, white, u, v)] > 0.5).to(v),
        ),
        (
            "you round v and forget the table: a pixel is white where v lies below its probability.",
            lambda prior, white, u, v: (v < 0.5).to(v),
        ),
        (
            "all images come from the first class: look up the row of each one's own, `white[y]`.",
            other_table(lambda prior, white, y: white[0]),
        ),
        (
            "you average the table over the classes, so that the class is forgotten: use the row of y.",
            other_table(lambda prior, white, y: prior @ white),
        ),
        (
            "the class is forgotten: you average the rows. Use the row of y.",
            other_table(lambda prior, white, y: white.mean(0)),
        ),
        (
            "you take the rows of the table one after the other: use the row of y.",
            other_table(lambda prior, white, y: white[arange(len(y)) % len(white)]),
        ),
        (
            "the pixels of an image all use u, which chose the class: each has a number of its own in v.",
            lambda prior, white, u, v: (u[:, None] < white[classes(prior, white, u, v)]).to(v),
        ),
        (
            "all images use the first row of v: each has one of its own.",
            lambda prior, white, u, v: (v[0] < white[classes(prior, white, u, v)]).to(v),
        ),
        (
            "the pixels of an image all use one number of v: each has one of its own.",
            lambda prior, white, u, v: (v[:, :1] < white[classes(prior, white, u, v)]).to(v),
        ),
    ]
    results = ("y", "x")
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, k, d in (("four classes", 60, 4, 9), ("three classes", 50, 3, 6)):
            table = 0.05 + 0.9 * _uniform(generator, k, d)
            prior = _a_prior(generator, k)
            evenly = (arange(n) + 0.5).to(table) / n  # every class comes
            u = evenly[randperm(n, generator=generator)]
            rarest = prior.argmin()
            u[0] = prior[:rarest].sum() + prior[rarest] / 2
            v = _uniform(generator, n, d)
            cases.append(Case(label, {"prior": prior, "white": table, "u": u, "v": v}))
        given = collect("draw", answer, cases, kind="any", results=results)
        again = collect("draw", answer, cases[:1], kind="any", results=results)
        if not all(equal(a, b) for a, b in zip(given[0], again[0], strict=True)):
            if all(isfinite(x).all() for x in given[0]):
                raise Wrong(
                    "your function draws random numbers of its own: all it needs is in u and v, so that "
                    "the same numbers give the same images."
                )
        judge_parts("draw", cases, given, ((classes, of_classes), (images, of_images)), results)
        for _, x in given:
            as_tensor("draw", x, "float", "x")
    print("Right: first the class, then its pixels, each as often white as it should be.")


# ---------------------------------------------------------------- 7. refuse


def decide(answer: Answer, *, seed: int = 0) -> None:
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

    def refusing(threshold: Tensor, scores: Tensor, share: float) -> Tensor:
        """The threshold itself if that share of scores lies below it, up to one; else one that fits."""
        if threshold.ndim == 0:
            below = int((scores < threshold).sum())
            if abs(below - share * len(scores)) < 2 and isfinite(threshold):
                return threshold
        return scores.sort().values[min(int(share * len(scores)), len(scores) - 1)]

    def at(
        scores_and_share: Callable[[Tensor, Tensor, float], tuple[Tensor, float]],
    ) -> Callable[..., Tensor]:
        """A threshold that refuses another share, or a share of something else."""
        return lambda held_out, log_p, posterior, share, threshold: refusing(
            threshold, *scores_and_share(held_out, log_p, share)
        )

    def by(value: Callable[[Tensor, float], Tensor]) -> Callable[..., Tensor]:
        return lambda held_out, log_p, posterior, share, threshold: value(held_out, share)

    def number(value: float, like: Tensor) -> Tensor:
        return tensor(value).to(like)

    of_threshold: Mistakes = [
        (
            "your threshold is the mean: about half of the held-out images would be refused.",
            by(lambda held_out, share: held_out.mean()),
        ),
        (
            "your threshold is the share itself: return a log-probability, in nats.",
            by(lambda held_out, share: number(share, held_out)),
        ),
        (
            "your threshold is the logarithm of the share: look where the held-out images lie.",
            by(lambda held_out, share: number(math.log(share), held_out)),
        ),
        (
            "you go a share of the way from the smallest to the largest: count images instead, since "
            "they do not lie evenly.",
            by(lambda held_out, share: held_out.min() + share * (held_out.max() - held_out.min())),
        ),
        (
            "you multiply the smallest by the share: sort, and count off the share of the images.",
            by(lambda held_out, share: share * held_out.min()),
        ),
        (
            "you count off the share in the order in which the images came: sort them first.",
            by(lambda held_out, share: held_out[int(share * len(held_out))]),
        ),
        (
            "your threshold is two standard deviations below the mean, whatever the share: count images.",
            by(lambda held_out, share: held_out.mean() - 2 * held_out.std()),
        ),
        (
            "your threshold refuses nearly all held-out images, and keeps the share: take the lower end.",
            at(lambda held_out, log_p, share: (held_out, 1 - share)),
        ),
        (
            "you take the share of the new images: the threshold is chosen on those held out, or a flood "
            "of noise would move it.",
            at(lambda held_out, log_p, share: (log_p, share)),
        ),
        (
            "you refuse half the share: only one end is cut here, so all of it lies below.",
            at(lambda held_out, log_p, share: (held_out, share / 2)),
        ),
        (
            "you refuse hardly any held-out image: below the threshold lies the given share of them, and "
            "0.05 means 5 %.",
            at(lambda held_out, log_p, share: (held_out, 0.0)),
        ),
        (
            "your threshold is in the middle: half of the held-out images would be refused, not the share.",
            at(lambda held_out, log_p, share: (held_out, 0.5)),
        ),
    ]

    def labels(
        refused: Callable[..., Tensor] = lambda log_p, posterior, threshold, share: (
            log_p < threshold
        ),
        label: Callable[[Tensor], Tensor] = lambda posterior: posterior.argmax(1),
        mark: int = -1,
    ) -> Callable[..., Tensor]:
        """A decision, of which one part is another."""

        def decision(
            held_out: Tensor, log_p: Tensor, posterior: Tensor, share: float, threshold: Tensor
        ) -> Tensor:
            refuse = refused(log_p, posterior, threshold, share)
            return where(refuse, full_like(label(posterior), mark), label(posterior))

        return decision

    def kept(
        held_out: Tensor, log_p: Tensor, posterior: Tensor, share: float, threshold: Tensor
    ) -> Tensor:
        return posterior.argmax(1)[log_p >= threshold]

    right = labels()
    of_labels: Mistakes = [
        (
            "you refuse nothing: where log_p lies below the threshold the label is -1.",
            labels(lambda log_p, posterior, threshold, share: zeros(len(log_p)).bool()),
        ),
        (
            "you refuse what lies above the threshold: an image that no class explains lies below.",
            labels(lambda log_p, posterior, threshold, share: log_p >= threshold),
        ),
        (
            "you refuse by the posterior: it says which class, and adds up to one for noise too. Compare "
            "log_p with the threshold.",
            labels(lambda log_p, posterior, threshold, share: posterior.amax(1) < share),
        ),
        (
            "you refuse where the posterior is not sure: noise may have a posterior near 1 as well. Compare "
            "log_p with the threshold.",
            labels(lambda log_p, posterior, threshold, share: posterior.amax(1) < 1 - share),
        ),
        (
            "you compare log_p with the share: compare it with the threshold.",
            labels(lambda log_p, posterior, threshold, share: log_p < share),
        ),
        (
            "you refuse a share of the new images: compare each with the threshold. Of noise all may go.",
            labels(
                lambda log_p, posterior, threshold, share: (
                    log_p < log_p.sort().values[int(share * len(log_p))]
                )
            ),
        ),
        (
            "refused images get the label 0, which is a class: mark them by -1.",
            labels(mark=0),
        ),
        (
            "refused images get a label after the last class: mark them by -1.",
            lambda held_out, log_p, posterior, share, threshold: labels(mark=posterior.shape[1])(
                held_out, log_p, posterior, share, threshold
            ),
        ),
        (
            "you answer with the least probable class: take `argmax`.",
            labels(label=lambda posterior: posterior.argmin(1)),
        ),
        (
            "you answer with the probability of the best class: return its number.",
            labels(label=lambda posterior: posterior.amax(1)),
        ),
        (
            "your labels begin at 1: classes count from 0.",
            labels(label=lambda posterior: posterior.argmax(1) + 1),
        ),
        (
            "you say which images are refused: return the label of each, and -1 for the refused.",
            lambda held_out, log_p, posterior, share, threshold: log_p < threshold,
        ),
        (
            "you leave the refused images out: return a label for every image, -1 for the refused.",
            kept,
        ),
    ]
    results = ("the threshold", "the labels")
    with own_random_numbers(seed) as generator:
        cases = []
        for label, m, n, k, share in (
            ("a share of 5 %", 200, 40, 4, 0.05),
            ("a share of 20 %", 57, 30, 3, 0.2),
            ("a share of 30 %", 90, 25, 5, 0.3),
        ):
            held_out = -20 - 6 * normal(generator, m).abs() - _uniform(generator, m)
            log_p = cat([held_out[: n // 2] + 0.01, -60 - 8 * _uniform(generator, n - n // 2)])
            logits = 3 * normal(generator, n, k)
            logits[::3] *= 0.05  # of some the model is not sure
            arguments = {
                "held_out": held_out,
                "log_p": log_p[randperm(n, generator=generator)],
                "posterior": softmax(logits, 1),
                "share": share,
            }
            cases.append(Case(label, arguments))
        given = collect("decide", answer, cases, kind="any", results=results)
        for threshold, _ in given:
            as_tensor("decide", threshold, "float", results[0])
        told = [
            Case(case.label, {**case.arguments, "threshold": threshold})
            for case, (threshold, _) in zip(cases, given, strict=True)
        ]
        fits = at(lambda held_out, log_p, share: (held_out, share))
        judge_parts("decide", told, given, ((fits, of_threshold), (right, of_labels)), results)
    print("Right: the threshold comes from images held out, and refuses what no class explains.")


# ---------------------------------------------------------------- 8. the area under the curve


def auroc(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `auroc(in_scores, out_scores)`: the share of pairs in which the first scores higher.

    inside (N,), outside (M,) -> one number in [0, 1].

    Example:
        >>> from course import checks
        >>> checks.taxonomy.auroc(lambda inside, outside: (inside[:, None] > outside).float().mean())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: ties count for nothing...
    """

    def pairs(inside: Tensor, outside: Tensor) -> Tensor:
        """1 for a pair in the right order, 1/2 for a tie, (N, M)."""
        gap = inside[:, None] - outside
        return (gap.sign() + 1) / 2

    def right(inside: Tensor, outside: Tensor) -> Tensor:
        return pairs(inside, outside).mean()

    mistakes: Mistakes = [
        (
            "ties count for nothing in yours: where both score the same, the pair counts one half.",
            lambda inside, outside: (pairs(inside, outside) == 1).to(inside).mean(),
        ),
        (
            "ties count as won in yours: where both score the same, the pair counts one half.",
            lambda inside, outside: (pairs(inside, outside) > 0).to(inside).mean(),
        ),
        (
            "you count the pairs the wrong way round: those count in which the one inside is higher.",
            lambda inside, outside: 1 - right(inside, outside),
        ),
        (
            "these are counts: divide by the number of pairs, N times M.",
            lambda inside, outside: pairs(inside, outside).sum(),
        ),
        (
            "you divide by N alone: there are N times M pairs.",
            lambda inside, outside: pairs(inside, outside).sum() / len(inside),
        ),
        (
            "you divide by M alone: there are N times M pairs.",
            lambda inside, outside: pairs(inside, outside).sum() / len(outside),
        ),
        (
            "you divide by N + M: there are N times M pairs.",
            lambda inside, outside: pairs(inside, outside).sum() / (len(inside) + len(outside)),
        ),
        (
            "you return a number for each score inside: take the mean over all pairs.",
            lambda inside, outside: pairs(inside, outside).mean(1),
        ),
        (
            "you compare with the mean of those outside: compare with each one, and count.",
            lambda inside, outside: (inside > outside.mean()).to(inside).mean(),
        ),
        (
            "you compare the two means, which gives 0 or 1: compare all pairs, and count.",
            lambda inside, outside: (inside.mean() > outside.mean()).to(inside),
        ),
        (
            "this is the gap between the means: only the order of a pair counts, not by how much.",
            lambda inside, outside: inside.mean() - outside.mean(),
        ),
        (
            "you average the gaps' signs, which gives -1 to 1: lost pairs count 0, not -1.",
            lambda inside, outside: 2 * right(inside, outside) - 1,
        ),
        (
            "you turn the result round where it is below one half: a score that is the wrong way round "
            "should look so.",
            lambda inside, outside: right(inside, outside).maximum(1 - right(inside, outside)),
        ),
        (
            "you compare the first with the first, the second with the second: compare every one of in_scores "
            "with every one of out_scores, `in_scores[:, None]` with `out_scores`.",
            lambda inside, outside: (
                (inside[: len(outside)] - outside[: len(inside)]).sign() / 2 + 0.5
            ).mean(),
        ),
        (
            "you ask which share of those inside beats all outside: compare pair by pair.",
            lambda inside, outside: (inside > outside.max()).to(inside).mean(),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, m, shift in (
            ("few scores, with ties", 6, 4, 2),
            ("the wrong way round", 12, 16, -8),
            ("many scores", 25, 31, 3),
        ):
            inside = shift + randint(-6, 6, (n,), generator=generator)
            outside = randint(-6, 6, (m,), generator=generator)
            # a tie at 0 at least, whatever is drawn
            inside, outside = (
                cat([inside, tensor([0, 3 * shift, 1])]),
                cat([outside, tensor([0, shift, 5])]),
            )
            if shift < 0:
                inside[0] = 8  # the mean of one set does not tell all
            dtype = torch.get_default_dtype()
            cases.append(Case(label, {"inside": inside.to(dtype), "outside": outside.to(dtype)}))
        given = collect("auroc", answer, cases)
        judge("auroc", cases, given, right, mistakes)
    print("Right: the share of pairs in the right order, and half a pair for a tie.")


# ---------------------------------------------------------------- 9. on the tree

NOWHERE = "nowhere"
Methods = AbstractSet[str]
Leaves = Mapping[str, AbstractSet[str]]

COURSE = {
    "tractable": {"log_prob", "loss", "sample"},
    "variational": {"elbo", "likelihood", "loss", "posterior", "prior", "reconstruct", "sample"},
    "energy": {"free_energy", "gibbs", "log_partition", "log_prob", "loss", "sample"},
    "chain": {"loss", "sample", "chain"},
    "direct": {"discriminator_loss", "generate", "generator_loss", "sample"},
}
ORCHESTRA = {
    "strings": {"bow", "pluck", "tune"},
    "wind": {"blow", "finger", "tune"},
    "drums": {"strike"},
}


def place(answer: Answer, *, seed: int = 0) -> None:
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

    def number(leaf: str | None, leaves: Leaves) -> Tensor:
        return tensor(list(leaves).index(leaf) if leaf is not None else -1)

    def where_(
        belongs: Callable[[AbstractSet[str], AbstractSet[str], AbstractSet[str]], object],
    ) -> Callable[[Methods, Leaves], Tensor]:
        """The first leaf for which that holds of its methods, the model's, and all spoken of."""

        def placed(methods: Methods, leaves: Leaves) -> Tensor:
            spoken_of = frozenset[str]().union(*leaves.values())
            found = (leaf for leaf, own in leaves.items() if belongs(own, methods, spoken_of))
            return number(next(found, None), leaves)

        return placed

    def most_in_common(methods: Methods, leaves: Leaves) -> Tensor:
        return number(max(leaves, key=lambda leaf: len(leaves[leaf] & methods)), leaves)

    right = where_(lambda own, methods, spoken_of: own == methods & spoken_of)

    def never_nowhere(methods: Methods, leaves: Leaves) -> Tensor:
        return right(methods, leaves).clamp_min(0)

    def last_by_default(methods: Methods, leaves: Leaves) -> Tensor:
        at = right(methods, leaves)
        return at if at >= 0 else tensor(len(leaves) - 1)

    mistakes: Mistakes = [
        (
            "a model that has all methods of a leaf and one of another leaf besides claims to be two "
            "things: it belongs nowhere.",
            where_(lambda own, methods, spoken_of: own <= methods),
        ),
        (
            "a model has many methods that the tree does not speak of, such as `forward`: leave them out "
            "before you compare.",
            where_(lambda own, methods, spoken_of: own == methods),
        ),
        (
            "a model that lacks a method of the leaf does not keep its promise: it belongs nowhere.",
            where_(lambda own, methods, spoken_of: methods & spoken_of <= own),
        ),
        (
            "yours asks that a leaf promise all that a model has, `forward` and the rest as well, and "
            "nothing the other way round: compare for equality.",
            where_(lambda own, methods, spoken_of: methods <= own),
        ),
        (
            "one method in common is enough in yours: all of the leaf's must be there.",
            where_(lambda own, methods, spoken_of: own & methods),
        ),
        (
            "you take the leaf with most methods in common: all must agree, and if none does the model "
            "belongs nowhere.",
            most_in_common,
        ),
        (
            "you compare how many methods there are: compare which.",
            where_(lambda own, methods, spoken_of: len(own) == len(methods & spoken_of)),
        ),
        (
            "what fits no leaf lands on the first: it belongs nowhere.",
            never_nowhere,
        ),
        (
            "what fits no leaf lands on the last: it belongs nowhere.",
            last_by_default,
        ),
        (
            "everything is nowhere in yours.",
            where_(lambda own, methods, spoken_of: False),
        ),
    ]

    def name(case: Case, at: Tensor) -> str:
        return f'"{list(case.arguments["leaves"])[int(at)]}"' if at >= 0 else f'"{NOWHERE}"'

    def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
        return f"{case.label} is {name(case, want)}, and you say {name(case, got)}."

    with own_random_numbers(seed) as generator:

        def shuffled(tree: Mapping[str, set[str]]) -> dict[str, set[str]]:
            order = randperm(len(tree), generator=generator).tolist()
            return {leaf: set(tree[leaf]) for leaf in [list(tree)[n] for n in order]}

        others = {"forward", "parameters", "train"}
        kinds = [
            ("a model with log_prob, loss and sample", {"log_prob", "loss", "sample"}, COURSE),
            ("a PixelCNN with all its methods", COURSE["tractable"] | others, COURSE),
            ("a VAE with all its methods", COURSE["variational"] | others | {"encoder"}, COURSE),
            ("a GAN with all its methods", COURSE["direct"] | others, COURSE),
            ("a model with loss and nothing more", {"loss"}, COURSE),
            ("an autoencoder, with encode, decode and loss", {"encode", "decode", "loss"}, COURSE),
            (
                "a model with log_prob, loss, sample and elbo",
                COURSE["tractable"] | {"elbo"},
                COURSE,
            ),
            ("a PixelCNN that cannot sample", {"log_prob", "loss"} | others, COURSE),
            ("a VAE without a prior", COURSE["variational"] - {"prior"}, COURSE),
            ("a GAN with a chain", COURSE["direct"] | {"chain"}, COURSE),
            ("a k-means with fit and predict", {"fit", "predict"}, COURSE),
            ("a model with three methods of three leaves", {"elbo", "gibbs", "chain"}, COURSE),
            ("on another tree, a violin", ORCHESTRA["strings"] | {"open_case"}, ORCHESTRA),
            ("on another tree, a drum", {"strike", "carry"}, ORCHESTRA),
            ("on another tree, a drum with strings", {"strike", "pluck"}, ORCHESTRA),
        ]
        cases = [
            Case(label, {"methods": set(methods), "leaves": shuffled(tree)})
            for label, methods, tree in kinds
        ]
        given = []
        for case in cases:
            methods, leaves = case.arguments.values()
            before = set(methods), {leaf: set(own) for leaf, own in leaves.items()}
            leaf = call("place", answer, case)
            if (methods, leaves) != before:
                raise Wrong(
                    "`place` changes its argument, which the caller still needs: `a & b` and `a | b` "
                    "make new sets, `a &= b` and `a.remove` change one."
                )
            if not isinstance(leaf, str):
                raise Wrong(
                    f"`place` returns {'None' if leaf is None else f'a {type(leaf).__name__}'} for "
                    f'{case.label}: return the name of a leaf, or "{NOWHERE}".'
                )
            if leaf != NOWHERE and leaf not in leaves:
                raise Wrong(
                    f'`place` returns "{leaf[:40]}", which is not the name of a leaf: return a key of '
                    f'`leaves`, or "{NOWHERE}".'
                )
            given.append((number(None if leaf == NOWHERE else leaf, leaves),))
        judge("place", cases, given, right, mistakes, probe=probe)
    print("Right: a model belongs where it keeps each promise, and makes no other.")
