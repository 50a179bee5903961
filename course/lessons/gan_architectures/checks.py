r"""Checks for the exercises of lesson GAN architectures.

Each takes the student's function and compares it, on inputs of its own, with the right function and with
the wrong ones that students write. It prints one line, or raises `Wrong` with the likely mistake.
Another `seed` gives other inputs and the same verdict.

Formulas and gradients are checked, never luck: no check depends on a training that could fail. Where a
step draws random numbers, thousands of them are looked at, and the bounds are five standard errors wide.
"""

import math
from collections.abc import Callable

import torch
from torch import (
    Tensor,
    acos,
    allclose,
    cat,
    cov,
    equal,
    isfinite,
    isnan,
    lerp,
    linspace,
    nn,
    rand,
    randint,
    sigmoid,
    sin,
    where,
    zeros_like,
)
from torch.autograd import grad
from torch.linalg import eigh, eigvalsh
from torch.nn.functional import one_hot, softplus

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
    judge_parts,
    normal,
    own_random_numbers,
    same,
)

__all__ = [
    "between",
    "frechet",
    "gradient_penalty",
    "initialize",
    "joined",
    "least_squares",
    "sides",
    "slerp",
    "wasserstein",
]


# ---------------------------------------------------------------- 1. sides of maps


def sides(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `sides(side, kernel, stride, padding)`: what two kinds of convolution make of a side.

    side (n,) of integers -> (n,) after a convolution, (n,) after a transposed convolution.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.sides(lambda side, kernel, stride, padding: (side // 2, side * 2))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your convolution halves the side...
    """

    def down(side: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
        return (side + 2 * padding - kernel) // stride + 1

    def up(side: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
        return (side - 1) * stride + kernel - 2 * padding

    of_down: Mistakes = [
        (
            "your convolution divides the side by the stride, which holds only where kernel and padding "
            "happen to fit: count the places where the kernel can lie.",
            lambda side, kernel, stride, padding: side // stride,
        ),
        (
            "your convolution halves the side, whatever the stride: count the places where the kernel "
            "can lie.",
            lambda side, kernel, stride, padding: side // 2,
        ),
        (
            "after the convolution one place is missing: the kernel lies at the start, and then as often "
            "as it can move on. Add 1.",
            lambda side, kernel, stride, padding: down(side, kernel, stride, padding) - 1,
        ),
        (
            "you leave fractions: a kernel that would hang over the edge has no place there, so round "
            "down, `//`.",
            lambda side, kernel, stride, padding: (side + 2 * padding - kernel) / stride + 1,
        ),
        (
            "you round up: a kernel that would hang over the edge has no place there, so round down.",
            lambda side, kernel, stride, padding: -((kernel - side - 2 * padding) // stride) + 1,
        ),
        (
            "your convolution pads one end only: the padding is added on both.",
            lambda side, kernel, stride, padding: (side + padding - kernel) // stride + 1,
        ),
        (
            "your convolution does not pad: add the padding on both ends.",
            lambda side, kernel, stride, padding: (side - kernel) // stride + 1,
        ),
        (
            "your convolution takes the padding away: it makes the input longer, on both ends.",
            lambda side, kernel, stride, padding: (side - 2 * padding - kernel) // stride + 1,
        ),
        (
            "the kernel is missing in your convolution: it is wide, and must lie inside as a whole.",
            lambda side, kernel, stride, padding: (side + 2 * padding) // stride + 1,
        ),
        (
            "you return the transposed convolution first: the plain one comes before it.",
            up,
        ),
        (
            "you divide the side alone: brackets around side + 2 padding - kernel.",
            lambda side, kernel, stride, padding: side + 2 * padding - kernel // stride + 1,
        ),
    ]
    of_up: Mistakes = [
        (
            "your transposed convolution multiplies the side by the stride, which holds only where kernel "
            "and padding happen to fit: lay out the copies of the kernel and see how far they reach.",
            lambda side, kernel, stride, padding: side * stride,
        ),
        (
            "your transposed convolution does not crop: cut the padding off both ends.",
            lambda side, kernel, stride, padding: (side - 1) * stride + kernel,
        ),
        (
            "your transposed convolution adds the padding: here it is cut off, on both ends.",
            lambda side, kernel, stride, padding: (side - 1) * stride + kernel + 2 * padding,
        ),
        (
            "your transposed convolution crops one end only: the padding is cut off both.",
            lambda side, kernel, stride, padding: (side - 1) * stride + kernel - padding,
        ),
        (
            "in your transposed convolution there is one stride too many: n copies have n - 1 gaps "
            "between them.",
            lambda side, kernel, stride, padding: side * stride + kernel - 2 * padding,
        ),
        (
            "the width of the last copy is missing in your transposed convolution: it is one kernel wide, "
            "not one pixel.",
            lambda side, kernel, stride, padding: (side - 1) * stride + 1 - 2 * padding,
        ),
        (
            "your two results are the same: a transposed convolution makes the side larger.",
            down,
        ),
    ]
    results = ("the side after the convolution", "the side after the transposed convolution")
    with own_random_numbers(seed) as generator:
        cases = []
        for label, kernel, stride, padding in (
            ("a kernel of 4, stride 2, padding 1", 4, 2, 1),
            ("a kernel of 5, stride 3, padding 2", 5, 3, 2),
            ("a kernel of 3, stride 1, no padding", 3, 1, 0),
            ("a kernel of 7, stride 4, padding 1", 7, 4, 1),
        ):
            side = 8 + randint(0, 20, (1,), generator=generator) + torch.arange(5)  # all remainders
            arguments = {"side": side, "kernel": kernel, "stride": stride, "padding": padding}
            cases.append(Case(label, arguments))
        given = collect("sides", answer, cases, kind="any", results=results)
        judge_parts("sides", cases, given, ((down, of_down), (up, of_up)), results)
    print("Right: one counts the places of a kernel, the other how far its copies reach.")


# ---------------------------------------------------------------- 2. where the weights start

STD = 0.02
Kind = type[nn.Module]


def initialize(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `initialize(network)`: weights from $N(0, 0.02^2)$, biases 0, batch norm as it is, in place.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.initialize(lambda network: None)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the network is as it was...
    """
    with own_random_numbers(seed):
        block = nn.Sequential(
            nn.Conv2d(16, 32, 4, bias=False), nn.BatchNorm2d(32), nn.ConvTranspose2d(32, 32, 4)
        )
        body = nn.Sequential(nn.Linear(64, 80), nn.Conv2d(20, 20, 4), nn.Linear(80, 64), block)
        for label, network in (
            ("a network of blocks", body),
            ("a single layer", nn.Linear(64, 72)),
        ):
            before = {key: value.clone() for key, value in network.state_dict().items()}
            result = call("initialize", answer, Case(label, {"network": network}))
            if result is not None and result is not network:
                raise Wrong(
                    f"`initialize` returns a {type(result).__name__}: change the network that is given, "
                    "and return nothing."
                )
            _look_at_weights(network, before)
    print("Right: small weights, no biases, and batch norm as it was.")


def _look_at_weights(network: nn.Module, before: dict[str, Tensor]) -> None:
    """Raise `Wrong` unless the weights are those of the DCGAN paper.

    Args:
        network: after the student's function.
        before: its state before.
    """
    names = {nn.Conv2d: "convolutions", nn.ConvTranspose2d: "transposed convolutions"}
    layers = {name: layer for name, layer in network.named_modules() if type(layer) in names}
    linear = {name: layer for name, layer in network.named_modules() if type(layer) is nn.Linear}
    layers |= linear

    def key(name: str, what: str) -> str:
        return f"{name}.{what}" if name else what

    for name, layer in network.named_modules():
        if type(layer) is nn.BatchNorm2d:
            _look_at_batch_norm(layer)
        for what, parameter in layer.named_parameters(recurse=False):
            if not parameter.requires_grad:
                raise Wrong(
                    "you switch off the gradients of the weights and leave them off, so the network could "
                    "never learn: `torch.no_grad()` is enough, and `nn.init` needs nothing."
                )
            if not isfinite(parameter).all():
                raise Wrong(f"there is a NaN or an infinity in {key(name, what)}.")
    same_as_before = {
        name: equal(layer.weight, before[key(name, "weight")]) for name, layer in layers.items()
    }
    if all(same_as_before.values()):
        if not list(network.children()):
            raise Wrong(
                "a network that is one single layer stays as it was: `children()` leaves out the network "
                "itself, `modules()` does not."
            )
        raise Wrong(
            "the network is as it was. Return None if you like, but write into its own weights, as "
            "`nn.init.normal_(layer.weight, ...)` does; a copy, or a new tensor of the same name, is "
            "something else."
        )
    inner = [name for name in layers if "." in name]
    outer = [name for name in layers if "." not in name]
    if all(same_as_before[name] for name in inner) and not any(same_as_before[n] for n in outer):
        if inner:
            raise Wrong(
                "layers inside of blocks stay as they were: `network.modules()` walks through all "
                "depths, `children()` and a plain loop only through the first."
            )
    for kind, plural in (*names.items(), (nn.Linear, "linear layers")):
        of_kind = [name for name, layer in layers.items() if type(layer) is kind]
        if of_kind and all(same_as_before[name] for name in of_kind):
            raise Wrong(f"the {plural} stay as they were: they get new weights too.")
    for name, layer in layers.items():
        assert isinstance(layer.weight, Tensor)
        _look_at_one_weight(layer.weight.detach().double())
        if layer.bias is not None:
            _look_at_bias(layer.bias.detach(), before[key(name, "bias")])


def _look_at_batch_norm(layer: nn.BatchNorm2d) -> None:
    weight, bias = layer.weight.detach(), layer.bias.detach()
    if not weight.any():
        raise Wrong(
            "you set the weights of batch norm to 0, and nothing would pass through it: leave it alone."
        )
    if (weight == 1).all() and not bias.any():
        return
    if abs(weight.mean() - 1) < 0.05 and not (weight == 1).all():
        raise Wrong(
            "you draw the weights of batch norm around 1, as some programs do: here it stays the "
            "identity, with weights of exactly 1."
        )
    raise Wrong(
        "you draw the weights of batch norm too: it stays the identity, with weight 1 and bias 0, or it "
        "would undo its own work. Ask for the kind of layer before you draw."
    )


def _look_at_one_weight(weight: Tensor) -> None:
    """At least 4096 numbers: their standard deviation is off by 5 % once in a million layers."""
    std, mean = weight.std().item(), weight.mean().item()
    if std < 1e-9:
        raise Wrong(
            f"all weights of a layer are the same, {mean:.2g}: then all its features are the same, and "
            "stay so. Draw them at random."
        )
    for wrong_std, words in (
        (
            STD**2,
            "your weights have the standard deviation 0.0004: 0.02^2 is the variance, and torch wants the "
            "standard deviation.",
        ),
        (
            math.sqrt(STD),
            "your weights have the standard deviation 0.14, the root of 0.02: that is the standard "
            "deviation already, so take no root.",
        ),
        (
            1.0,
            "your weights have the standard deviation 1: say `std=0.02` by name, since the first number "
            "that `normal_` takes is the mean.",
        ),
    ):
        if abs(std / wrong_std - 1) < 0.08:
            raise Wrong(words)
    if abs(mean) > 0.1 * std:
        raise Wrong(f"your weights lie around {mean:.2g}: they should lie around 0.")
    if abs(std / STD - 1) > 0.08:
        raise Wrong(f"your weights have the standard deviation {std:.2g}: it should be 0.02.")
    if weight.abs().max() < 2.2 * STD:
        raise Wrong("your weights are cut off or uniform: draw them from a normal distribution.")


def _look_at_bias(bias: Tensor, before: Tensor) -> None:
    if not bias.any():
        return
    if equal(bias, before):
        raise Wrong("the biases stay as they were: set them to 0.")
    raise Wrong("you draw the biases too: set them to 0.")


# ---------------------------------------------------------------- 3. least squares


def _raw_outputs(generator: torch.Generator) -> list[Case]:
    """What a network says of real and of fake examples, not always as many of both."""
    cases = []
    for label, n, m in (("random outputs", 5, 3), ("as many fakes as real ones", 4, 4)):
        arguments = {"real": 2 * normal(generator, n), "fake": 1 + 2 * normal(generator, m)}
        cases.append(Case(label, arguments))
    return cases


def least_squares(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `least_squares(real, fake)`: the two losses of LSGAN, of D and of G, from raw outputs.

    real (n,) and fake (m,) are what the network says, without a sigmoid -> two numbers.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.least_squares(
        ...     lambda real, fake: ((real - 1).square().mean() + fake.square().mean(), fake.mean())
        ... )
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the two halves in the loss of D...
    """

    def of_d(real: Tensor, fake: Tensor) -> Tensor:
        return (real - 1).square().mean() / 2 + fake.square().mean() / 2

    def of_g(real: Tensor, fake: Tensor) -> Tensor:
        return (fake - 1).square().mean() / 2

    mistakes_of_d: Mistakes = [
        (
            "the two halves in the loss of D are missing: each mean of squares is taken by 1/2.",
            lambda real, fake: 2 * of_d(real, fake),
        ),
        (
            "in the loss of D you take a sigmoid: least squares draws the raw output to its target.",
            lambda real, fake: of_d(sigmoid(real), sigmoid(fake)),
        ),
        (
            "the loss of D is a sum: take the mean over the real ones and over the fakes.",
            lambda real, fake: (real - 1).square().sum() / 2 + fake.square().sum() / 2,
        ),
        (
            "the targets of D are swapped: real ones go to 1 and fakes to 0.",
            lambda real, fake: real.square().mean() / 2 + (fake - 1).square().mean() / 2,
        ),
        (
            "D draws the fakes to -1: their target is 0.",
            lambda real, fake: (real - 1).square().mean() / 2 + (fake + 1).square().mean() / 2,
        ),
        (
            "D draws the fakes to 1 as well: that is the wish of the generator. For D their target is 0.",
            lambda real, fake: (real - 1).square().mean() / 2 + (fake - 1).square().mean() / 2,
        ),
        (
            "in the loss of D only the real half is there: add that of the fakes.",
            lambda real, fake: (real - 1).square().mean() / 2,
        ),
        (
            "in the loss of D only the fake half is there: add that of the real ones.",
            lambda real, fake: fake.square().mean() / 2,
        ),
        (
            "in the loss of D you average over real ones and fakes together: take a mean of each.",
            lambda real, fake: cat([(real - 1).square(), fake.square()]).mean(),
        ),
        (
            "in the loss of D you take absolute values: square the differences.",
            lambda real, fake: (real - 1).abs().mean() / 2 + fake.abs().mean() / 2,
        ),
        (
            "in the loss of D you square the mean: take the mean of the squares, or errors of opposite "
            "sign cancel.",
            lambda real, fake: (real.mean() - 1).square() / 2 + fake.mean().square() / 2,
        ),
        (
            "this is the loss of lesson GAN, with logarithms: least squares has none.",
            lambda real, fake: softplus(-real).mean() + softplus(fake).mean(),
        ),
        (
            "the generator's loss comes first: return that of D before it.",
            of_g,
        ),
    ]
    mistakes_of_g: Mistakes = [
        (
            "your generator draws its fakes to 0, as D does: it wants them called real, so their target "
            "is 1.",
            lambda real, fake: fake.square().mean() / 2,
        ),
        (
            "your generator maximises the loss of D, and would drive its fakes away from 0 on either "
            "side: it draws them to 1.",
            lambda real, fake: -fake.square().mean() / 2,
        ),
        (
            "your generator takes minus the whole loss of D: it draws its fakes to 1 instead.",
            lambda real, fake: -of_d(real, fake),
        ),
        (
            "the half in the generator's loss is missing.",
            lambda real, fake: (fake - 1).square().mean(),
        ),
        (
            "in the generator's loss you take a sigmoid: it too works on the raw output.",
            lambda real, fake: (sigmoid(fake) - 1).square().mean() / 2,
        ),
        (
            "the generator's loss is a sum: take the mean over the fakes.",
            lambda real, fake: (fake - 1).square().sum() / 2,
        ),
        (
            "the generator's loss is minus the mean output, as in WGAN: here it is a square.",
            lambda real, fake: -fake.mean(),
        ),
        (
            "your generator looks at the real ones: its loss is about its fakes.",
            lambda real, fake: (real - 1).square().mean() / 2,
        ),
        (
            "both losses are that of D: the generator draws its fakes to 1.",
            of_d,
        ),
    ]
    results = ("the loss of D", "the loss of G")
    with own_random_numbers(seed) as generator:
        cases = _raw_outputs(generator)
        given = collect("least_squares", answer, cases, results=results)
        parts = ((of_d, mistakes_of_d), (of_g, mistakes_of_g))
        judge_parts("least_squares", cases, given, parts, results)
        judge_gradient(
            "least_squares",
            answer,
            cases[0],
            lambda real, fake: (of_d(real, fake), of_g(real, fake)),
            ["real", "fake"],
        )
    print("Right: D draws real ones to 1 and fakes to 0, and G draws its fakes to 1.")


# ---------------------------------------------------------------- 4. the critic's score


def wasserstein(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `wasserstein(real, fake)`: the losses of the critic, without its penalty, and of the generator.

    real (n,) and fake (m,) are scores -> two numbers.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.wasserstein(lambda real, fake: (real.mean() - fake.mean(), -fake.mean()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is what the critic makes large...
    """

    def of_critic(real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()

    def of_g(real: Tensor, fake: Tensor) -> Tensor:
        return -fake.mean()

    mistakes_of_critic: Mistakes = [
        (
            "this is what the critic makes large, the distance: a loss is made small, so turn the sign.",
            lambda real, fake: real.mean() - fake.mean(),
        ),
        (
            "you add the two means: the critic wants real ones high and fakes low, so their signs differ.",
            lambda real, fake: real.mean() + fake.mean(),
        ),
        (
            "you turn both signs: the critic wants real ones high, and fakes low.",
            lambda real, fake: -real.mean() - fake.mean(),
        ),
        (
            "the critic's loss is made of sums: take the mean over the real ones and over the fakes.",
            lambda real, fake: fake.sum() - real.sum(),
        ),
        (
            "the critic's scores go through a sigmoid: a score has no bounds, so use it as it is.",
            lambda real, fake: sigmoid(fake).mean() - sigmoid(real).mean(),
        ),
        (
            "the critic's loss has the logarithms of lesson GAN: a critic is no classifier, so take the "
            "plain means.",
            lambda real, fake: softplus(-real).mean() + softplus(fake).mean(),
        ),
        (
            "the critic's loss has the squares of step 3: take the plain means.",
            lambda real, fake: (real - 1).square().mean() / 2 + fake.square().mean() / 2,
        ),
        (
            "you take the absolute value: then the critic may as well call fakes real.",
            lambda real, fake: (fake.mean() - real.mean()).abs(),
        ),
        (
            "only the real half is in the critic's loss: it wants the fakes low too.",
            lambda real, fake: -real.mean(),
        ),
        (
            "the critic's loss is halved: it is the plain difference of two means.",
            lambda real, fake: of_critic(real, fake) / 2,
        ),
        (
            "the generator's loss comes first: return that of the critic before it.",
            of_g,
        ),
    ]
    mistakes_of_g: Mistakes = [
        (
            "your generator wants low scores, as the critic does for fakes: turn the sign.",
            lambda real, fake: fake.mean(),
        ),
        (
            "your generator's loss has the real ones in it. They do not depend on the generator and "
            "change no gradient: leave them out.",
            lambda real, fake: real.mean() - fake.mean(),
        ),
        (
            "both losses are that of the critic: the players want opposite things.",
            of_critic,
        ),
        (
            "the generator's loss is a sum: take the mean over the fakes.",
            lambda real, fake: -fake.sum(),
        ),
        (
            "the generator's loss has the logarithm of lesson GAN: take minus the mean score.",
            lambda real, fake: softplus(-fake).mean(),
        ),
        (
            "the generator's loss is the square of step 3: take minus the mean score.",
            lambda real, fake: (fake - 1).square().mean() / 2,
        ),
        (
            "your generator scores the real ones: its loss is about its fakes.",
            lambda real, fake: -real.mean(),
        ),
        (
            "the generator's score goes through a sigmoid: use it as it is.",
            lambda real, fake: -sigmoid(fake).mean(),
        ),
    ]
    results = ("the loss of the critic", "the loss of the generator")
    with own_random_numbers(seed) as generator:
        cases = _raw_outputs(generator)
        for case, gap in zip(
            cases, (3.0, -2.0), strict=True
        ):  # no absolute value hides behind a sign
            real, fake = case.arguments.values()
            real += gap + fake.mean() - real.mean()
        given = collect("wasserstein", answer, cases, results=results)
        parts = ((of_critic, mistakes_of_critic), (of_g, mistakes_of_g))
        judge_parts("wasserstein", cases, given, parts, results)
        judge_gradient(
            "wasserstein",
            answer,
            cases[0],
            lambda real, fake: (of_critic(real, fake), of_g(real, fake)),
            ["real", "fake"],
        )
    print("Right: the critic pulls the scores apart, the generator pushes its own up.")


# ---------------------------------------------------------------- 5. between real and fake


def between(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `between(real, fake)`: a random place on the line from each real example to its fake.

    real and fake (n, ...) -> (n, ...), one uniform number an example.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.between(lambda real, fake: (real + fake) / 2)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: all your places lie at one share of the way...
    """
    with own_random_numbers(seed) as generator:
        for label, shape in (
            ("as many images as pixels in a row", (16, 1, 16, 16)),
            ("images", (2000, 2, 3, 2)),
            ("points in the plane", (2000, 2)),
        ):
            real = 2 * normal(generator, *shape)
            way = normal(generator, *shape).sign() * (1 + rand(shape, generator=generator))
            fake = real + way.to(real)
            case = Case(label, {"real": real, "fake": fake})
            places = [as_tensor("between", call("between", answer, case)) for _ in range(2)]
            for x in places:
                if x.shape != real.shape:
                    raise Wrong(
                        f"for {label} `between` has the shape {tuple(x.shape)} where "
                        f"{tuple(real.shape)} is wanted: a place for each pair."
                    )
                if isnan(x).any():
                    raise Wrong("your places contain NaN.")
            share, again = (((x - fake) / (real - fake)).flatten(1) for x in places)
            _look_at_shares(share, again)
    print("Right: one number an example, anywhere on the way.")


def _look_at_shares(share: Tensor, again: Tensor) -> None:
    """Raise `Wrong` unless a uniform number an example says how much of the real one there is.

    Args:
        share: x = share * real + (1 - share) * fake solved for it, (n, pixels).
        again: the same of a second call.
    """
    n, fixed = len(share), same(share, again)
    low, high, spread = share.min().item(), share.max().item(), share.amax(1) - share.amin(1)
    if same(share, share[:1, :1].expand_as(share)):
        if fixed:
            raise Wrong(
                "all your places lie at one share of the way, the same in every call: draw a uniform "
                "number for each example."
            )
        raise Wrong(
            "you draw one number for the whole batch: draw one for each example, so that the places "
            "are spread out."
        )
    if spread.max() > 1e-3:
        if same(share, share[:1].expand_as(share)):
            raise Wrong(
                "your numbers belong to the columns of a picture, not to the examples: give them the "
                "shape (n, 1, 1, 1), or (n, 1) for points, and they spread over the right axis."
            )
        if low < -1e-3 or high > 1 + 1e-3:
            raise Wrong(
                "your two weights do not add up to 1, so the place is not on the line between the two: "
                "draw one number u, and take u of one and 1 - u of the other."
            )
        raise Wrong(
            "your picture mixes pixels at different shares, so it is not on the line between the two: "
            "draw one number an example, not one a pixel."
        )
    if low < -1e-3 or high > 1 + 1e-3:
        raise Wrong(
            f"some places are not between the two (share {low if low < 0 else high:.1f}): draw from the "
            "uniform distribution on [0, 1], `torch.rand`."
        )
    if fixed:
        raise Wrong("a second call gives the same places: draw new numbers in every call.")
    share = share[:, 0]
    if ((share < 1e-4) | (share > 1 - 1e-4)).float().mean() > 0.9:
        raise Wrong("you choose one of the two: a place in between is a mixture.")
    if n < 100:
        return
    # five standard errors of the mean and of the mean square
    mean, square = share.double().mean().item(), (share.double() - 0.5).square().mean().item()
    if abs(mean - 0.5) > 5 * math.sqrt(1 / 12 / n):
        raise Wrong(
            f"your places lie at {mean:.2f} of the way on average: a uniform number is 0.50 on average."
        )
    if abs(square - 1 / 12) > 5 * math.sqrt(1 / 180 / n):
        raise Wrong(
            "your places are not spread evenly over the way: use the numbers of `torch.rand` as they are."
        )


# ---------------------------------------------------------------- 6. the gradient penalty


class _Critic(nn.Module):
    """A small critic, with a corner in which it is flat."""

    def __init__(self, generator: torch.Generator, shape: tuple[int, ...]):
        super().__init__()
        pixels = math.prod(shape)
        self.shape = shape
        self.first = nn.Parameter(1.5 * normal(generator, 6, pixels) / math.sqrt(pixels))
        self.offset = nn.Parameter(normal(generator, 6))
        self.last = nn.Parameter(normal(generator, 6))

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or tuple(x.shape[1:]) != self.shape:
            what = f"the shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise Wrong(f"the critic wants (n, {self.shape}), and was given {what}.")
        h = (x.flatten(1) @ self.first.T + self.offset).tanh()
        score = (h + h.square() / 2) @ self.last
        # a far corner in which nothing changes any more
        return where(x.flatten(1).amin(1) > 50, zeros_like(score), score)


def gradient_penalty(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `gradient_penalty(critic, x)`: $E[(\lVert \nabla_x f(x) \rVert - 1)^2]$, to train the critic on.

    critic maps x (n, ...) to scores (n,), each example by itself -> one number.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.gradient_penalty(lambda critic, x: (critic(x) - 1).square().mean())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you penalise the score itself...
    """

    def slope(critic: Answer, x: Tensor) -> Tensor:
        x = x.detach().clone().requires_grad_()
        return grad(critic(x).sum(), x, create_graph=True)[0]

    def norms(critic: Answer, x: Tensor) -> Tensor:
        return slope(critic, x).flatten(1).norm(dim=1)

    def right(critic: Answer, x: Tensor) -> Tensor:
        return (norms(critic, x) - 1).square().mean()

    mistakes: Mistakes = [
        (
            "your penalty takes one norm over the whole batch: take one an example.",
            lambda critic, x: (slope(critic, x).norm() - 1).square(),
        ),
        (
            "your norms run over the second axis alone, the channels: flatten each example first, "
            "`.flatten(1)`.",
            lambda critic, x: (slope(critic, x).norm(dim=1) - 1).square().mean(),
        ),
        (
            "your norms run over the last axis alone, a row of pixels: flatten each example first, "
            "`.flatten(1)`.",
            lambda critic, x: (slope(critic, x).norm(dim=-1) - 1).square().mean(),
        ),
        (
            "you compare each number of the gradient with 1: it is the norm, over all pixels, that "
            "should be 1.",
            lambda critic, x: (slope(critic, x).abs() - 1).square().mean(),
        ),
        (
            "you pull the norm to 0: subtract 1 before you square.",
            lambda critic, x: norms(critic, x).square().mean(),
        ),
        (
            "you subtract 1 from the squared norm: take the root first.",
            lambda critic, x: (norms(critic, x).square() - 1).square().mean(),
        ),
        (
            "the square is missing, so that norms below 1 are rewarded: (norm - 1)^2.",
            lambda critic, x: (norms(critic, x) - 1).mean(),
        ),
        (
            "you take the absolute value of norm - 1: take its square.",
            lambda critic, x: (norms(critic, x) - 1).abs().mean(),
        ),
        (
            "you average the norms before you subtract 1, and too steep cancels too flat: square first, "
            "for each example, and then take the mean.",
            lambda critic, x: (norms(critic, x).mean() - 1).square(),
        ),
        (
            "your penalty is a sum: take the mean over the examples.",
            lambda critic, x: (norms(critic, x) - 1).square().sum(),
        ),
        (
            "your gradients are divided by the number of examples: differentiate `critic(x).sum()`, not "
            "the mean.",
            lambda critic, x: (norms(critic, x) / len(x) - 1).square().mean(),
        ),
        (
            "your penalty is one-sided, for norms above 1 only: the formula asks for exactly 1.",
            lambda critic, x: (norms(critic, x) - 1).clamp_min(0).square().mean(),
        ),
        (
            "the weight 10 is in your penalty: leave it out, it comes in when the losses are joined.",
            lambda critic, x: 10 * right(critic, x),
        ),
        (
            "you add up absolute values: the norm is the root of the sum of squares.",
            lambda critic, x: (slope(critic, x).flatten(1).abs().sum(1) - 1).square().mean(),
        ),
        (
            "you penalise the score itself: it is its gradient with respect to x that should have the "
            "norm 1.",
            lambda critic, x: (critic(x) - 1).square().mean(),
        ),
        (
            "you return one number an example: take their mean.",
            lambda critic, x: (norms(critic, x) - 1).square(),
        ),
        (
            "you return the norms: subtract 1, square, and take the mean.",
            norms,
        ),
    ]
    changed = (
        "you leave marks on the caller's x (`requires_grad`, or a `.grad`): work on "
        "`x.detach().clone().requires_grad_()`."
    )
    with own_random_numbers(seed) as generator:
        cases = []
        for label, shape, n in (
            ("images", (2, 3, 2), 5),
            ("points in the plane", (2,), 4),
            ("images of one channel", (1, 2, 4), 3),
        ):
            critic = _Critic(generator, shape)
            cases.append(Case(label, {"critic": critic, "x": normal(generator, n, *shape)}))
        given = collect("gradient_penalty", answer, cases, changed=changed)
        for case in cases:
            if any(p.grad is not None for p in case.arguments["critic"].parameters()):
                raise Wrong(
                    "you leave gradients in the critic's parameters, by `backward`: "
                    "`torch.autograd.grad(..., x)` asks for those of x alone."
                )
        judge("gradient_penalty", cases, given, right, mistakes)
        for case in cases:
            _train_on_penalty(answer, case, right)
        # one example in a corner where the critic is flat
        critic, x = cases[0].arguments["critic"], cases[0].arguments["x"].clone()
        x[1] = 60 + x[1].abs()
        _train_on_penalty(
            answer, Case("a critic that is flat somewhere", {"critic": critic, "x": x}), right
        )
    print("Right: one norm an example, drawn to 1, and the critic can learn from it.")


def _train_on_penalty(answer: Answer, case: Case, right: Callable[..., Tensor]) -> None:
    """Does the critic get the gradient that it should? The values are right already."""
    name = "gradient_penalty"
    penalty = call(name, answer, case)
    parameters = list(case.arguments["critic"].parameters())
    if not penalty.requires_grad:
        raise Wrong(
            "the value is right, but the critic cannot learn from it: the gradient itself must stay on "
            "the graph, `torch.autograd.grad(..., create_graph=True)`, and nothing be detached."
        )

    def slopes(of: Tensor) -> Tensor:
        found = grad(of, parameters, allow_unused=True, materialize_grads=True)
        return cat([g.flatten() for g in found])

    given, wanted = slopes(penalty), slopes(right(**case.arguments))
    if not isfinite(given).all():
        raise Wrong(
            "where the critic is flat the gradient of your penalty is NaN or infinite: a root has an "
            "infinite slope at 0. Use `.norm(dim=1)`, or add 1e-12 under the root."
        )
    if not same(given, wanted):
        raise Wrong(
            "the value is right, but the gradient that the critic gets from it is not: is a part of it "
            "detached?"
        )


# ---------------------------------------------------------------- 7. labels


def joined(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `joined(z, y, weight)`: a linear layer on z joined with the one-hot code of the label.

    z (n, d), y (n,) of labels 0 .. K-1, weight (F, d + K) -> (n, F).

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.joined(lambda z, y, weight: z @ weight[:, : z.shape[1]].T)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the label has no say...
    """

    def of_z(z: Tensor, weight: Tensor) -> Tensor:
        return z @ weight[:, : z.shape[1]].T

    def right(z: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        return of_z(z, weight) + weight[:, z.shape[1] :].T[y]

    def coded(z: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        return one_hot(y, weight.shape[1] - z.shape[1]).to(z)

    mistakes: Mistakes = [
        (
            "the label has no say: its column of the weights is missing.",
            lambda z, y, weight: of_z(z, weight),
        ),
        (
            "the noise has no say: add what the first columns make of z.",
            lambda z, y, weight: weight[:, z.shape[1] :].T[y],
        ),
        (
            "you join the label before z: z comes first.",
            lambda z, y, weight: cat([coded(z, y, weight), z], 1) @ weight.T,
        ),
        (
            "you look the label up among the columns of z: those of the labels begin at column d.",
            lambda z, y, weight: of_z(z, weight) + weight.T[y],
        ),
        (
            "you count the columns of the labels from the end: label 0 has the first of them.",
            lambda z, y, weight: of_z(z, weight) + weight.T[-1 - y],
        ),
        (
            "you are one column too far to the left: labels begin at 0.",
            lambda z, y, weight: of_z(z, weight) + weight.T[z.shape[1] + y - 1],
        ),
        (
            "every example gets the column of the first label: each has its own.",
            lambda z, y, weight: of_z(z, weight) + weight[:, z.shape[1] + y[0]],
        ),
        (
            "you add up the columns of all labels: only that of y counts.",
            lambda z, y, weight: of_z(z, weight) + weight[:, z.shape[1] :].sum(1),
        ),
        (
            "you multiply a column by the label as a number, so that 8 counts twice as much as 4: labels "
            "are names, each with a column of its own.",
            lambda z, y, weight: of_z(z, weight) + y[:, None] * weight[:, z.shape[1]],
        ),
        (
            "you multiply what comes of z and of y: joined inputs are added up.",
            lambda z, y, weight: of_z(z, weight) * weight[:, z.shape[1] :].T[y],
        ),
        (
            "you subtract the label's column: add it.",
            lambda z, y, weight: of_z(z, weight) - weight[:, z.shape[1] :].T[y],
        ),
        (
            "you put the layer's ReLU into it: return the sum as it is.",
            lambda z, y, weight: right(z, y, weight).clamp_min(0),
        ),
        (
            "you average the two parts: add them up.",
            lambda z, y, weight: right(z, y, weight) / 2,
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, d, k, f in (
            ("ten labels", 6, 12, 10, 3),
            ("three labels", 4, 5, 3, 4),
            ("one example", 1, 3, 2, 5),
        ):
            arguments = {
                "z": normal(generator, n, d),
                "y": (torch.arange(n) + randint(0, k, (1,), generator=generator)) % k,
                "weight": normal(generator, f, d + k),
            }
            cases.append(Case(label, arguments))
        given = collect("joined", answer, cases)
        judge("joined", cases, given, right, mistakes)
        judge_gradient("joined", answer, cases[0], right, ["z", "weight"])
    print("Right: a label joined to z is a learned bias, one for each label.")


# ---------------------------------------------------------------- 8. on the sphere


def slerp(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `slerp(a, b, t)`: the way from a to b at a constant turn of direction.

    a and b (d,), t (m,) in [0, 1] -> (m, d); the straight line where a and b point the same way.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.slerp(lambda a, b, t: torch.lerp(a, b, t[:, None]))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is the straight line...
    """

    def angle(a: Tensor, b: Tensor) -> Tensor:
        return acos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))

    def by(
        omega: Tensor, a: Tensor, b: Tensor, t: Tensor, over: Callable[[Tensor], Tensor] = sin
    ) -> Tensor:
        t = t[:, None]
        return (sin((1 - t) * omega) * a + sin(t * omega) * b) / over(omega)

    def straight(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return lerp(a, b, t[:, None])

    def right(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        omega = angle(a, b)
        return by(omega, a, b, t) if omega > 1e-3 else straight(a, b, t)

    def unit(x: Tensor) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True)

    mistakes: Mistakes = [
        (
            "this is the straight line, which cuts through the inside of the sphere: weigh by sines of "
            "the angle.",
            straight,
        ),
        (
            "this is the straight line, pushed out to the sphere: it turns faster in its middle. Weigh "
            "by sines of the angle.",
            lambda a, b, t: (
                unit(straight(a, b, t)) * lerp(a.norm(), b.norm(), t[:, None].to(a.dtype))
            ),
        ),
        (
            "your way begins at b: at t = 0 it is at a.",
            lambda a, b, t: right(b, a, t),
        ),
        (
            "you divide by the angle: divide by its sine.",
            lambda a, b, t: by(angle(a, b), a, b, t, lambda omega: omega),
        ),
        (
            "you do not divide by the sine of the angle, so your way does not begin at a.",
            lambda a, b, t: by(angle(a, b), a, b, t, torch.ones_like),
        ),
        (
            "your way has the length 1 everywhere: you take the directions of a and b into the sum. Use "
            "them for the angle only.",
            lambda a, b, t: right(unit(a), unit(b), t),
        ),
        (
            "you bring the result to length 1: leave it as long as it comes.",
            lambda a, b, t: unit(right(a, b, t)),
        ),
        (
            "your angle is the cosine itself: take `torch.acos` of it.",
            lambda a, b, t: by(a @ b / (a.norm() * b.norm()), a, b, t),
        ),
        (
            "your angle is that between the lines, never above 90 degrees: leave out the absolute value "
            "of the cosine.",
            lambda a, b, t: by(acos((a @ b).abs() / (a.norm() * b.norm())), a, b, t),
        ),
        (
            "you weigh by square roots of t: that keeps the length where a and b stand at right angles, "
            "and only there. Weigh by sines of the angle.",
            lambda a, b, t: (1 - t).sqrt()[:, None] * a + t.sqrt()[:, None] * b,
        ),
        (
            "you weigh by a quarter turn, whatever the angle between a and b: compute it.",
            lambda a, b, t: by(torch.tensor(math.pi / 2), a, b, t),
        ),
        (
            "a is missing from your sum.",
            lambda a, b, t: sin(t * angle(a, b))[:, None] * b / sin(angle(a, b)),
        ),
    ]

    def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
        a, b, t = case.arguments.values()
        if same(got, by(acos(a @ b), a, b, t)):
            return (
                "your cosine is the bare product of a and b: divide it by the lengths of both, or it is "
                "no cosine."
            )
        return None

    with own_random_numbers(seed) as generator:

        def pair(d: int, degrees: float, of_a: float, of_b: float) -> tuple[Tensor, Tensor]:
            """Two vectors of these lengths with this angle between them."""
            first, other = unit(normal(generator, d)), normal(generator, d)
            second = unit(other - (other @ first) * first)
            turn = math.radians(degrees)
            return of_a * first, of_b * (math.cos(turn) * first + math.sin(turn) * second)

        few = torch.tensor([0.0, 0.3, 0.5, 0.9, 1.0]).to(normal(generator, 1))
        cases = []
        for label, d, degrees, lengths, t in (
            ("codes an obtuse angle apart", 4, 115.0, (1.2, 0.7), few),
            ("codes of 64 numbers", 64, 70.0, (8.3, 7.6), few[1:4]),
            ("codes in the plane", 2, 35.0, (2.0, 3.0), linspace(0, 1, 3).to(few)),
        ):
            a, b = pair(d, degrees, *lengths)
            cases.append(Case(label, {"a": a, "b": b, "t": t}))
        a, _ = pair(5, 90.0, 2.0, 1.0)
        cases.append(Case("codes that point the same way", {"a": a, "b": 1.5 * a, "t": few}))
        cases.append(Case("the same code twice", {"a": a, "b": a.clone(), "t": few}))
        # along an axis no processor rounds: the cosine is 1, and not a little less by luck
        axis = torch.tensor([0.0, 2.0, 0.0]).to(few)
        cases.append(Case("codes along one axis", {"a": axis, "b": 1.5 * axis, "t": few}))
        given = collect("slerp", answer, cases)
        judge("slerp", cases[:3], given[:3], right, mistakes, probe=probe)
        if not all(isfinite(got[0]).all() for got in given[3:]):
            raise Wrong(
                "where a and b point the same way the angle is 0, and you get 0/0 (or a cosine a "
                "little above 1, which has no angle): there, return the straight line."
            )
        judge("slerp", cases, given, right, [])
    print("Right: a steady turn from a to b, and a straight line where there is nothing to turn.")


# ---------------------------------------------------------------- 9. the Frechet distance


def frechet(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `frechet(real, fake)`: the squared Frechet distance of two Gaussians fitted to features.

    real (n, d), fake (m, d) -> one number.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.frechet(lambda real, fake: (real.mean(0) - fake.mean(0)).square().sum())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: only the means are compared...
    """

    def means(real: Tensor, fake: Tensor) -> Tensor:
        return (real.mean(0) - fake.mean(0)).square().sum()

    def root(matrix: Tensor) -> Tensor:
        values, vectors = eigh(matrix)
        return vectors * values.clamp_min(0).sqrt() @ vectors.T

    def cross(a: Tensor, b: Tensor) -> Tensor:
        inner = root(a) @ b @ root(a)
        return eigvalsh((inner + inner.T) / 2).clamp_min(0).sqrt().sum()

    def spreads(a: Tensor, b: Tensor) -> Tensor:
        return a.trace() + b.trace() - 2 * cross(a, b)

    def both(real: Tensor, fake: Tensor, less: int = 1) -> tuple[Tensor, Tensor]:
        return cov(real.double().T, correction=less), cov(fake.double().T, correction=less)

    def second_moments(x: Tensor) -> Tensor:
        return x.double().T @ x.double() / (len(x) - 1)

    def right(real: Tensor, fake: Tensor) -> Tensor:
        return means(real, fake) + spreads(*both(real, fake))

    def other_cross(
        f: Callable[[Tensor, Tensor], Tensor],
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The distance with another matrix, or number, in the place of the root of the product."""

        def distance(real: Tensor, fake: Tensor) -> Tensor:
            a, b = both(real, fake)
            return means(real, fake) + a.trace() + b.trace() - f(a, b)

        return distance

    mistakes: Mistakes = [
        (
            "only the means are compared: add the part of the covariances.",
            means,
        ),
        (
            "only the covariances are compared: add the squared distance of the means.",
            lambda real, fake: spreads(*both(real, fake)),
        ),
        (
            "the distance of the means is not squared.",
            lambda real, fake: means(real, fake).sqrt() + spreads(*both(real, fake)),
        ),
        (
            "you average over the features: add up the squared differences of the means.",
            lambda real, fake: means(real, fake) / real.shape[1] + spreads(*both(real, fake)),
        ),
        (
            "the factor 2 before the root is missing.",
            other_cross(cross),
        ),
        (
            "the root of the product is missing: subtract twice its trace.",
            other_cross(lambda a, b: zeros_like(a[0, 0])),
        ),
        (
            "you add the trace of the root: subtract it, or two equal sets are not at distance 0.",
            other_cross(lambda a, b: -2 * cross(a, b)),
        ),
        (
            "this is the root of the distance: return its square, as everybody reports.",
            lambda real, fake: right(real, fake).sqrt(),
        ),
        (
            "your covariances are divided by n: divide by n - 1, as `torch.cov` does.",
            lambda real, fake: means(real, fake) + spreads(*both(real, fake, 0)),
        ),
        (
            "your covariances still have the means in them: subtract the mean before you multiply.",
            lambda real, fake: (
                means(real, fake) + spreads(second_moments(real), second_moments(fake))
            ),
        ),
        (
            "you take the root of each entry: a root of a matrix is a matrix whose product with itself "
            "it is.",
            other_cross(lambda a, b: 2 * (a @ b).diagonal().sqrt().sum()),
        ),
        (
            "you compare the variances of each feature alone, as if features were independent: the "
            "covariances count.",
            lambda real, fake: (
                means(real, fake) + (real.std(0) - fake.std(0)).double().square().sum()
            ),
        ),
        (
            "the root around your product is missing: tr(Sigma_1 Sigma_2) is no spread.",
            other_cross(lambda a, b: 2 * (a @ b).trace()),
        ),
        (
            "you multiply the roots of the two covariances: that is the root of the product only where "
            "they have the same axes.",
            other_cross(lambda a, b: 2 * (root(a) @ root(b)).trace()),
        ),
        (
            "you compare the covariances entry by entry: their roots and traces are compared.",
            lambda real, fake: (
                means(real, fake) + (both(real, fake)[0] - both(real, fake)[1]).square().sum()
            ),
        ),
    ]
    with own_random_numbers(seed) as generator:

        def features(n: int, d: int, scale: float) -> Tensor:
            """Features that go up and down together: all their covariances are above 0."""
            own, shared = normal(generator, n, d), normal(generator, n, 1)
            scales = scale * linspace(0.5, 1.5, d).to(own)[torch.randperm(d, generator=generator)]
            return (0.8 * own + 1.5 * shared) * scales + normal(generator, d)

        cases = [
            Case(label, {"real": features(n, d, 1.0), "fake": features(m, d, 1.8)})
            for label, n, m, d in (("3 features", 60, 45, 3), ("5 features", 80, 80, 5))
        ]
        few = {"real": features(4, 6, 1.0), "fake": features(5, 6, 1.8)}
        cases.append(Case("fewer examples than features", few))
        given = collect("frechet", answer, cases)
        judge("frechet", cases[:2], given[:2], right, mistakes)
        # small roots of rounded numbers: single precision leaves a hundredth open here
        got, want = given[2][0].double(), right(**few)
        if not isfinite(got).all():
            raise Wrong(
                "for fewer examples than features a covariance has eigenvalues of 0, rounded to a "
                "little below, and their roots are NaN: `clamp_min(0)` before the root."
            )
        if got.shape != want.shape or not allclose(got, want, rtol=0.02, atol=0.01):
            raise Wrong(
                f"for fewer examples than features your distance is {got.item():.4g}, not "
                f"{want.item():.4g}: that must work without the inverse of a covariance."
            )
    print("Right: the distance of the means, and how differently the two sets spread.")
