r"""Checks for the exercises of lesson GAN architectures: one `Step` each, whose form course/checking/step.py explains.

Formulas and gradients are checked, never luck: no check depends on a training that could fail. Where a step draws
random numbers, hundreds are looked at, and the bounds are six standard errors wide.
"""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import (
    Tensor,
    acos,
    allclose,
    cat,
    cdist,
    cov,
    equal,
    isfinite,
    lerp,
    linspace,
    nn,
    rand,
    randint,
    randn,
    sigmoid,
    sin,
    where,
    zeros_like,
)
from torch.autograd import grad
from torch.linalg import eigh, eigvalsh
from torch.nn.functional import one_hot, softplus

from course.checking.core import Answer, Case, Wrong, as_tensor, call, normal, same
from course.checking.step import extreme, hard, step, tame

__all__ = [
    "between",
    "frechet",
    "gradient_penalty",
    "initialize",
    "joined",
    "least_squares",
    "nearness",
    "sides",
    "slerp",
    "wasserstein",
]


# ---------------------------------------------------------------- 1. sides of maps


def _sides(g: torch.Generator, kernel: int, stride: int, padding: int) -> dict[str, Any]:
    side = 8 + randint(0, 20, (1,), generator=g) + torch.arange(5)  # all remainders
    return {"side": side, "kernel": kernel, "stride": stride, "padding": padding}


@step(
    lambda g: [
        tame("a kernel of 4, stride 2, padding 1", **_sides(g, 4, 2, 1)),
        tame("a kernel of 5, stride 3, padding 2", **_sides(g, 5, 3, 2)),
        tame("a kernel of 3, stride 1, no padding", **_sides(g, 3, 1, 0)),
        tame("a kernel of 7, stride 4, padding 1", **_sides(g, 7, 4, 1)),
        hard("a kernel as wide as the map", side=torch.tensor([4]), kernel=4, stride=3, padding=0),
        hard("a stride wider than the kernel", side=torch.tensor([9, 5]), kernel=2, stride=5, padding=0),
    ],
    results=("the side after the convolution", "the side after the transposed convolution"),
    passes="one counts the places of a kernel, the other how far its copies reach.",
)  # fmt: skip
def sides(side: Tensor, kernel: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    r"""Check `sides(side, kernel, stride, padding)`: what two kinds of convolution make of a side.

    side (n,) of integers -> (n,) after a convolution, (n,) after a transposed convolution.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.sides(lambda side, kernel, stride, padding: (side // 2, side * 2))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your convolution halves the side...
    """
    return (side + 2 * padding - kernel) // stride + 1, (side - 1) * stride + kernel - 2 * padding


sides.wrong = {  # of n, k, s and p, as the formulas name them
    "your convolution divides the side by the stride, which holds only where kernel and padding happen to fit: count "
    "the places where the kernel can lie.":
        lambda n, k, s, p: (n // s, None),
    "your convolution halves the side, whatever the stride: count the places where the kernel can lie.":
        lambda n, k, s, p: (n // 2, None),
    "after the convolution one place is missing: the kernel lies at the start, and then as often as it can move on. "
    "Add 1.":
        lambda n, k, s, p: ((n + 2 * p - k) // s, None),
    "you leave fractions: a kernel that would hang over the edge has no place there, so round down, `//`.":
        lambda n, k, s, p: ((n + 2 * p - k) / s + 1, None),
    "you round up: a kernel that would hang over the edge has no place there, so round down.":
        lambda n, k, s, p: (-((k - n - 2 * p) // s) + 1, None),
    "you round to the nearest whole number: a kernel that would hang over the edge has no place there, so round down.":
        lambda n, k, s, p: (((n + 2 * p - k) / s).round().long() + 1, None),
    "the 1 stands inside of what is divided by the stride: it is the first place, so add it after rounding down.":
        lambda n, k, s, p: ((n + 2 * p - k + 1) // s, None),
    "your convolution pads one end only: the padding is added on both.":
        lambda n, k, s, p: ((n + p - k) // s + 1, None),
    "your convolution does not pad: add the padding on both ends.": lambda n, k, s, p: ((n - k) // s + 1, None),
    "your convolution takes the padding away: it makes the input longer, on both ends.":
        lambda n, k, s, p: ((n - 2 * p - k) // s + 1, None),
    "the kernel is missing in your convolution: it is wide, and must lie inside as a whole.":
        lambda n, k, s, p: ((n + 2 * p) // s + 1, None),
    "you return the transposed convolution first: the plain one comes before it.":
        lambda n, k, s, p: ((n - 1) * s + k - 2 * p, None),
    "you divide the side alone: brackets around side + 2 padding - kernel.":
        lambda n, k, s, p: (n + 2 * p - k // s + 1, None),
    "your transposed convolution multiplies the side by the stride, which holds only where kernel and padding happen "
    "to fit: lay out the copies of the kernel and see how far they reach.":
        lambda n, k, s, p: (None, n * s),
    "your transposed convolution does not crop: cut the padding off both ends.":
        lambda n, k, s, p: (None, (n - 1) * s + k),
    "your transposed convolution adds the padding: here it is cut off, on both ends.":
        lambda n, k, s, p: (None, (n - 1) * s + k + 2 * p),
    "your transposed convolution crops one end only: the padding is cut off both.":
        lambda n, k, s, p: (None, (n - 1) * s + k - p),
    "in your transposed convolution there is one stride too many: n copies have n - 1 gaps between them.":
        lambda n, k, s, p: (None, n * s + k - 2 * p),
    "the width of the last copy is missing in your transposed convolution: it is one kernel wide, not one pixel.":
        lambda n, k, s, p: (None, (n - 1) * s + 1 - 2 * p),
    "the copies in your transposed convolution begin a kernel apart: they begin a stride apart, and may overlap.":
        lambda n, k, s, p: (None, n * k - 2 * p),
    "your two results are the same: a transposed convolution makes the side larger.":
        lambda n, k, s, p: (None, (n + 2 * p - k) // s + 1),
}  # fmt: skip


# ---------------------------------------------------------------- 2. where the weights start

STD = 0.02
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def _parameters(
    network: nn.Module, kinds: tuple[type, ...], what: str
) -> Iterator[tuple[str, Tensor]]:
    """The weights or biases of all layers of some kinds, by name."""
    for name, layer in network.named_modules():
        if type(layer) in kinds and hasattr(layer, what):
            parameter = getattr(layer, what)
            if parameter is None and not (what == "bias" and type(layer) in LAYERS):
                parameter = "lost"
            if isinstance(parameter, str):
                raise Wrong(
                    f"`{name}` has lost its {what}: change what stands in it, and leave it there."
                )
            if parameter is not None:
                yield f"{name}.{what}".lstrip("."), parameter  # fmt: skip


def _copied(network: Any) -> Any:
    """A copy with its own tensors; `copy.deepcopy` takes ten times as long."""
    made = copy.copy(network)
    made.__dict__ = {key: x.copy() if isinstance(x, dict) else x for key, x in vars(network).items()}  # fmt: skip
    for place in (made._parameters, made._buffers):
        for key, x in place.items():
            if x is not None:
                y = x.detach().clone()
                place[key] = nn.Parameter(y, x.requires_grad) if isinstance(x, nn.Parameter) else y
    for key, x in made._modules.items():
        made._modules[key] = _copied(x)
    return made


def _flat(tensors: list[Tensor]) -> Tensor:
    return cat([torch.zeros(0), *(x.detach().flatten() for x in tensors)])


def _initialized(answer: Answer) -> Answer:
    """What an answer makes of a copy: which parameters are new, and may still learn; biases, batch norm, weights."""

    def run(network: nn.Module) -> tuple[Tensor, ...]:
        made = _copied(network)
        before = dict(made.named_parameters())
        result = answer(made)
        if result is not None and result is not made:
            raise Wrong(
                f"`initialize` returns a {type(result).__name__}: change the network that is given, and return nothing."
            )
        if any(before.get(name) is not x for name, x in made.named_parameters()):
            raise Wrong(
                "you put new parameters in the place of the old ones, which an optimizer made before would go on "
                "changing: write into those that are there."
            )
        weights = dict(_parameters(made, LAYERS, "weight"))
        new = [not equal(weights[key], x) for key, x in _parameters(network, LAYERS, "weight")]
        biases = [x for _, x in _parameters(made, LAYERS, "bias")]
        norms = [
            x for what in ("weight", "bias") for _, x in _parameters(made, (nn.BatchNorm2d,), what)
        ]
        learns = [x.requires_grad for x in (*weights.values(), *biases, *norms)]
        return (
            torch.tensor([*new, *learns]),
            _flat(biases),
            _flat(norms),
            _flat(list(weights.values())),
        )

    return run  # fmt: skip


def _look_at_weights(
    case: Case, new: Tensor, biases: Tensor, norms: Tensor, weights: Tensor
) -> str | None:
    old = list(_parameters(case.arguments["network"], LAYERS, "weight"))
    for (name, _), changed in zip(old, new, strict=False):
        if not changed:
            return f"`{name}` stays as it was: every convolution, transposed convolution and linear layer is drawn."
    if not new.all():
        return "you switch off the gradients of some parameters and leave them off: `torch.no_grad()` is enough."
    if biases.any():
        return "you draw the biases too: set them to 0."
    scales, shifts = norms.chunk(2)
    if not ((scales == 1).all() and not shifts.any()):
        if abs(scales.mean() - 1) < 0.05:
            return (
                "you draw the weights of batch norm around 1, as some programs do: here it stays the identity, with "
                "weights of exactly 1."
            )
        return (
            "you draw the weights of batch norm too: it stays the identity, with weight 1 and bias 0, or it would undo "
            "its own work. Ask for the kind of layer before you draw."
        )
    parts = zip(weights.split([x.numel() for _, x in old]), (x.shape for _, x in old), strict=True)
    return next(filter(None, (_look_at_one_weight(x.view(shape)) for x, shape in parts)), None)  # fmt: skip


def _look_at_one_weight(weight: Tensor) -> str | None:
    """At least 4096 numbers: their standard deviation is off by 5 % once in a million layers."""
    if weight.any() and (weight == weight[:1]).all() and (weight != weight.flatten()[0]).any():
        return "all features of a layer get the same weights, and stay the same: draw for each its own."
    std, mean = weight.double().std().item(), weight.double().mean().item()
    if std < 1e-9:
        return (
            f"all weights of a layer are the same, {mean:.2g}: then all its features are the same, and stay so. Draw "
            "them at random."
        )
    for wrong_std, words in (
        (
            STD**2,
            "your weights have the standard deviation 0.0004: 0.02^2 is the variance, and torch wants the standard "
            "deviation.",
        ),
        (
            math.sqrt(STD),
            "your weights have the standard deviation 0.14, the root of 0.02: that is the standard deviation already, "
            "so take no root.",
        ),
        (
            1.0,
            "your weights have the standard deviation 1: say `std=0.02` by name, since the first number that `normal_` "
            "takes is the mean.",
        ),
    ):
        if abs(std / wrong_std - 1) < 0.08:
            return words
    if abs(mean) > 0.1 * std:
        return f"your weights lie around {mean:.2g}: they should lie around 0."
    if abs(std / STD - 1) > 0.08:
        return f"your weights have the standard deviation {std:.2g}: it should be 0.02."
    if weight.abs().max() < 2.2 * STD:
        return "your weights are cut off or uniform: draw them from a normal distribution."
    return None


def _blocks() -> nn.Module:
    block = [nn.Conv2d(16, 32, 4, bias=False), nn.BatchNorm2d(32), nn.ConvTranspose2d(32, 8, 4)]
    layers = [nn.Linear(64, 80), nn.Conv2d(20, 20, 4), nn.Linear(80, 64)]
    return nn.Sequential(*layers, nn.Sequential(*block))


def _drawing(
    kinds: tuple[type, ...] = LAYERS,
    walk: Callable[[nn.Module], Any] = nn.Module.modules,
    weight: Callable[[Tensor], Any] = lambda x: x.copy_(STD * randn(x.shape)),
    bias: Callable[[Tensor], Any] = lambda x: x.zero_(),
    norm: Callable[[Tensor], Any] = lambda x: None,
    after: Callable[[nn.Module], Any] = lambda network: None,
) -> Callable[[nn.Module], None]:
    """A walk through a network with something else in it."""

    def answer(network: nn.Module) -> None:
        with torch.no_grad():
            for layer in walk(network):
                if isinstance(layer, kinds):
                    weight(layer.weight)
                    if layer.bias is not None:
                        bias(layer.bias)
                elif isinstance(layer, nn.BatchNorm2d):
                    norm(layer.weight)
        after(network)

    return answer


@step(
    lambda g: [
        tame("a network of blocks", network=_blocks()),
        hard("a single layer", network=nn.Linear(64, 72)),
    ],
    around=_initialized,
    results=("what is new", "the biases", "batch norm", "the weights"),
    random=True,
    properties=[_look_at_weights],
    passes="small weights, no biases, and batch norm as it was.",
)
def initialize(network: nn.Module) -> None:
    r"""Check `initialize(network)`: weights from $N(0, 0.02^2)$, biases 0, batch norm as it is, in place.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.initialize(lambda network: None)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the network is as it was...
    """
    _drawing()(network)


initialize.wrong = {
    "the biases stay as they were: set them to 0.": _drawing(bias=lambda x: None),
    "the network is as it was. Return None if you like, but write into its own weights, as "
    "`nn.init.normal_(layer.weight, ...)` does; a copy, or a new tensor of the same name, is something else.":
        lambda network: None,
    "a network that is one single layer stays as it was: `children()` leaves out the network itself, `modules()` does "
    "not.":
        _drawing(walk=lambda network: list(network.modules())[1:]),
    "layers inside of blocks stay as they were: `network.modules()` walks through all depths, `children()` and a plain "
    "loop only through the first.":
        _drawing(walk=lambda network: list(network.children()) or [network]),
    "layers inside of blocks stay as they were, and so does a network of one layer: `network.modules()` walks through "
    "all depths, and begins with the network itself.":
        _drawing(walk=nn.Module.children),
    "the convolutions stay as they were: they get new weights too.": _drawing((nn.ConvTranspose2d, nn.Linear)),
    "the transposed convolutions stay as they were: they get new weights too.": _drawing((nn.Conv2d, nn.Linear)),
    "the linear layers stay as they were: they get new weights too.": _drawing((nn.Conv2d, nn.ConvTranspose2d)),
    "you switch off the gradients of the weights and leave them off, so the network could never learn: "
    "`torch.no_grad()` is enough, and `nn.init` needs nothing.":
        _drawing(after=lambda network: network.requires_grad_(False)),
    "you set the weights of batch norm to 0, and nothing would pass through it: leave it alone.":
        _drawing(norm=lambda x: x.zero_()),
    "your weights are NaN.": _drawing(weight=lambda x: x.fill_(math.nan)),
}  # fmt: skip


# ---------------------------------------------------------------- 3. least squares


def _outputs(g: torch.Generator, n: int, m: int, gap: float | None = None) -> dict[str, Tensor]:
    """What a network says of real and of fake examples; `gap` is that of their means, if it must be known."""
    real, fake = 2 * normal(g, n), 1 + 2 * normal(g, m)
    if gap is not None:
        real = real + gap + fake.mean() - real.mean()
    return {"real": real, "fake": fake}


def _squares_of_d(real: Tensor, fake: Tensor) -> Tensor:
    return (real - 1).square().mean() / 2 + fake.square().mean() / 2


def _squares_of_g(fake: Tensor) -> Tensor:
    return (fake - 1).square().mean() / 2


def _logs_of_d(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-real).mean() + softplus(fake).mean()


@step(
    lambda g: [
        tame("random outputs", **_outputs(g, 5, 3)),
        tame("as many fakes as real ones", **_outputs(g, 4, 4)),
        hard("a single output of each", **_outputs(g, 1, 1)),
    ],
    results=("the loss of D", "the loss of G"),
    gradient="real fake",
    parts=lambda real, fake: (
        {"the real half": (real - 1).square().mean() / 2, "the fake half": fake.square().mean() / 2}, {}),
    passes="D draws real ones to 1 and fakes to 0, and G draws its fakes to 1.",
)  # fmt: skip
def least_squares(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
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
    return _squares_of_d(real, fake), _squares_of_g(fake)


least_squares.wrong = {
    "the two halves in the loss of D are missing: each mean of squares is taken by 1/2.":
        lambda real, fake: (2 * _squares_of_d(real, fake), None),
    "in the loss of D you take a sigmoid: least squares draws the raw output to its target.":
        lambda real, fake: (_squares_of_d(sigmoid(real), sigmoid(fake)), None),
    "the loss of D is a sum: take the mean over the real ones and over the fakes.":
        lambda real, fake: ((real - 1).square().sum() / 2 + fake.square().sum() / 2, None),
    "the targets of D are swapped: real ones go to 1 and fakes to 0.":
        lambda real, fake: (_squares_of_d(fake, real), None),
    "D draws the fakes to -1: their target is 0.": lambda real, fake: (_squares_of_d(real, fake + 1), None),
    "D draws the fakes to 1 as well: that is the wish of the generator. For D their target is 0.":
        lambda real, fake: (_squares_of_d(real, fake - 1), None),
    "in the loss of D you take half a mean over real ones and fakes together: take half a mean of each.":
        lambda real, fake: (cat([real - 1, fake]).square().mean() / 2, None),
    "in the loss of D you average over real ones and fakes together: take a mean of each.":
        lambda real, fake: (cat([real - 1, fake]).square().mean(), None),
    "in the loss of D you take absolute values: square the differences.":
        lambda real, fake: ((real - 1).abs().mean() / 2 + fake.abs().mean() / 2, None),
    "in the loss of D you square the mean: take the mean of the squares, or errors of opposite sign cancel.":
        lambda real, fake: (_squares_of_d(real.mean(), fake.mean()), None),
    "this is the loss of lesson GAN, with logarithms: least squares has none.":
        lambda real, fake: (_logs_of_d(real, fake), None),
    "the generator's loss comes first: return that of D before it.": lambda real, fake: (_squares_of_g(fake), None),
    "your generator draws its fakes to 0, as D does: it wants them called real, so their target is 1.":
        lambda real, fake: (None, fake.square().mean() / 2),
    "your generator maximises the loss of D, and would drive its fakes away from 0 on either side: it draws them to 1.":
        lambda real, fake: (None, -fake.square().mean() / 2),
    "in the generator's loss you take a sigmoid: it too works on the raw output.":
        lambda real, fake: (None, _squares_of_g(sigmoid(fake))),
    "in the generator's loss you square the mean: take the mean of the squares.":
        lambda real, fake: (None, _squares_of_g(fake.mean())),
    "the generator's loss is minus the mean output, as in WGAN: here it is a square.":
        lambda real, fake: (None, -fake.mean()),
    "your generator looks at the real ones: its loss is about its fakes.":
        lambda real, fake: (None, _squares_of_g(real)),
    "both losses are that of D: the generator draws its fakes to 1.":
        lambda real, fake: (None, _squares_of_d(real, fake)),
    "the differences are not squared in the loss of D.": lambda real, fake: ((real.mean() - 1 + fake.mean()) / 2, None),
    "your generator's loss has the real ones in it, which it cannot change: leave them out.":
        lambda real, fake: (None, _squares_of_g(fake) + real.square().mean() / 2),
}  # fmt: skip


# ---------------------------------------------------------------- 4. the critic's score


@step(
    lambda g: [  # the critic is right in one, wrong in the other: no absolute value hides behind a sign
        tame("random scores", **_outputs(g, 5, 3, gap=3.0)),
        tame("as many fakes as real ones", **_outputs(g, 4, 4, gap=-2.0)),
        hard("a single score of each", **_outputs(g, 1, 1, gap=1.0)),
    ],
    results=("the loss of the critic", "the loss of the generator"),
    gradient="real fake",
    passes="the critic pulls the scores apart, the generator pushes its own up.",
)
def wasserstein(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    r"""Check `wasserstein(real, fake)`: the losses of the critic, without its penalty, and of the generator.

    real (n,) and fake (m,) are scores -> two numbers.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.wasserstein(lambda real, fake: (real.mean() - fake.mean(), -fake.mean()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is what the critic makes large...
    """
    return fake.mean() - real.mean(), -fake.mean()


wasserstein.wrong = {
    "this is what the critic makes large, the distance: a loss is made small, so turn the sign.":
        lambda real, fake: (real.mean() - fake.mean(), None),
    "you add the two means: the critic wants real ones high and fakes low, so their signs differ.":
        lambda real, fake: (real.mean() + fake.mean(), None),
    "you turn both signs: the critic wants real ones high, and fakes low.":
        lambda real, fake: (-real.mean() - fake.mean(), None),
    "the critic's loss is made of sums: take the mean over the real ones and over the fakes.":
        lambda real, fake: (fake.sum() - real.sum(), None),
    "the critic's scores go through a sigmoid: a score has no bounds, so use it as it is.":
        lambda real, fake: (sigmoid(fake).mean() - sigmoid(real).mean(), None),
    "the critic's loss has the logarithms of lesson GAN: a critic is no classifier, so take the plain means.":
        lambda real, fake: (_logs_of_d(real, fake), None),
    "the critic's loss has the squares of step 3: take the plain means.":
        lambda real, fake: (_squares_of_d(real, fake), None),
    "you take the absolute value: then the critic may as well call fakes real.":
        lambda real, fake: ((fake.mean() - real.mean()).abs(), None),
    "only the real half is in the critic's loss: it wants the fakes low too.": lambda real, fake: (-real.mean(), None),
    "only the fake half is in the critic's loss: it wants the real ones high too.":
        lambda real, fake: (fake.mean(), None),
    "the critic's loss has a margin, a hinge: a score has no bounds, so take the plain means.":
        lambda real, fake: ((1 - real).relu().mean() + (1 + fake).relu().mean(), None),
    "the generator's loss comes first: return that of the critic before it.": lambda real, fake: (-fake.mean(), None),
    "your generator wants low scores, as the critic does for fakes: turn the sign.":
        lambda real, fake: (None, fake.mean()),
    "your generator's loss has the real ones in it. They do not depend on the generator and change no gradient: leave "
    "them out.":
        lambda real, fake: (None, real.mean() - fake.mean()),
    "both losses are that of the critic: the players want opposite things.":
        lambda real, fake: (None, fake.mean() - real.mean()),
    "the generator's loss has the logarithm of lesson GAN: take minus the mean score.":
        lambda real, fake: (None, softplus(-fake).mean()),
    "the generator's loss is the square of step 3: take minus the mean score.":
        lambda real, fake: (None, _squares_of_g(fake)),
    "your generator scores the real ones: its loss is about its fakes.": lambda real, fake: (None, -real.mean()),
    "the generator's score goes through a sigmoid: use it as it is.": lambda real, fake: (None, -sigmoid(fake).mean()),
    "you square the gap: a critic makes the gap itself large.": lambda real, fake: (
        -(real.mean() - fake.mean()).square(), None),
}  # fmt: skip


# ---------------------------------------------------------------- 5. between real and fake


def _pairs(g: torch.Generator, *shape: int) -> dict[str, Tensor]:
    real = 2 * normal(g, *shape)
    way = normal(g, *shape).sign() * (1 + rand(shape, generator=g))
    return {"real": real, "fake": real + way.to(real)}


def _look_at_shares(case: Case, x: Tensor) -> str | None:
    """Why the places are not real ones and fakes mixed by one uniform number an example; None if they may be."""
    real, fake = case.arguments.values()
    share = ((x - fake) / (real - fake)).flatten(1)  # of the real one
    n, low, high = len(share), share.min().item(), share.max().item()
    outside = low < -1e-3 or high > 1 + 1e-3
    if same(share, share[:1, :1].expand_as(share)):
        return "you draw one number for the whole batch: draw one for each example, so that the places are spread out."
    if (share.amax(1) - share.amin(1)).max() > 1e-3:
        if same(share, share[:1].expand_as(share)):
            return (
                "your numbers belong to the columns of a picture, not to the examples: give them the shape (n, 1, 1, "
                "1), or (n, 1) for points, and they spread over the right axis."
            )
        ways = nn.functional.normalize((fake - real[:1]).flatten(1)) @ (x[0] - real[0]).flatten()
        if ways.abs().argmax() and ways.abs().max() > 0.999 * (x[0] - real[0]).norm():
            return "you mix a real example with the fake of another: a pair has one place in both."
        if outside:
            return (
                "your two weights do not add up to 1, so the place is not on the line between the two: draw one number "
                "u, and take u of one and 1 - u of the other."
            )
        return (
            "your picture mixes pixels at different shares, so it is not on the line between the two: draw one number "
            "an example, not one a pixel."
        )
    if outside:
        return (
            f"some places are not between the two (share {low if low < 0 else high:.1f}): take u of one and 1 - u of "
            "the other, with u from the uniform distribution on [0, 1], `torch.rand`."
        )
    share = share[:, 0].double()
    if ((share < 1e-4) | (share > 1 - 1e-4)).double().mean() > 0.9:
        return "you choose one of the two: a place in between is a mixture."
    if n < 100:
        return None
    if ((share < 1e-4) | (share > 1 - 1e-4)).double().mean() > 0.02:
        return "many places are exactly at an end: numbers that are cut to [0, 1] are not uniform."
    # six standard errors of the mean and of the mean square
    mean, square = share.mean().item(), (share - 0.5).square().mean().item()
    if abs(mean - 0.5) > 6 * math.sqrt(1 / 12 / n):
        return f"your places lie at {mean:.2f} of the way on average: a uniform number is 0.50 on average."
    if abs(square - 1 / 12) > 6 * math.sqrt(1 / 180 / n):
        return "your places are not spread evenly over the way: use the numbers of `torch.rand` as they are."
    if share.sort().values.diff().max() > 20 / n:
        return (
            "your places leave out a part of the way: use the numbers of `torch.rand` as they are."
        )
    return None  # fmt: skip


@step(
    lambda g: [  # as many examples as numbers in a row: numbers that spread over the wrong axis fit too, and are named
        tame("images", **_pairs(g, 16, 3, 16, 16)),
        tame("many images", **_pairs(g, 200, 1, 1, 200)),
        hard("points", **_pairs(g, 60, 60)),
        hard("sequences", **_pairs(g, 5, 4, 5)),
    ],
    random=True,
    dtype="same",
    properties=[_look_at_shares],
    passes="one number an example, anywhere on the way.",
)
def between(real: Tensor, fake: Tensor) -> Tensor:
    r"""Check `between(real, fake)`: a random place on the line from each real example to its fake.

    real and fake (n, ...) -> (n, ...), one uniform number an example.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.between(lambda real, fake: (real + fake) / 2)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: all your places lie at one share of the way...
    """
    u = rand(len(real), *[1] * (real.ndim - 1)).to(real)
    return u * real + (1 - u) * fake


between.wrong = {
    "all your places lie at one share of the way, the same in every call: draw a uniform number for each example.":
        lambda real, fake: (real + fake) / 2,
    "these are the real ones as they are: draw a place on the way to the fakes.": lambda real, fake: real,
    "these are the fakes as they are: draw a place on the way to the real ones.": lambda real, fake: fake,
}  # fmt: skip


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


def _trained_on(answer: Answer) -> Answer:
    """An answer on a copy of the critic: whether that is left clean, the penalty, the gradient that the critic gets."""

    def run(critic: _Critic, x: Tensor) -> tuple[Tensor, Any, Tensor]:
        made = _copied(critic)
        penalty = answer(made, x)
        parameters = list(made.parameters())
        clean = [all(p.requires_grad for p in parameters), all(p.grad is None for p in parameters)]
        gradient = cat([zeros_like(p).flatten() for p in parameters])
        if isinstance(penalty, Tensor) and penalty.requires_grad and clean[0]:
            found = grad(penalty.sum(), parameters, allow_unused=True, materialize_grads=True)
            gradient = cat([p.flatten() for p in found])
        if not isfinite(gradient).all():
            gradient = gradient * math.nan  # whichever of them it reaches
        return (
            torch.tensor(clean),
            penalty.detach() if isinstance(penalty, Tensor) else penalty,
            gradient,
        )

    return run  # fmt: skip


def _penalised(g: torch.Generator, n: int, *shape: int, flat: bool = False) -> dict[str, Any]:
    x = normal(g, n, *shape)
    if flat:  # one example stands where the critic is flat
        x[1] = 60 + x[1].abs()
    return {"critic": _Critic(g, shape), "x": x}


def _gradients(critic: Answer, x: Tensor, keep: bool = True) -> Tensor:
    x = x.detach().clone().requires_grad_()
    return grad(critic(x).sum(), x, create_graph=keep)[0]


def _norms(critic: Answer, x: Tensor, keep: bool = True) -> Tensor:
    return _gradients(critic, x, keep).flatten(1).norm(dim=1)


def _squared(critic: Answer, x: Tensor) -> Tensor:
    return _gradients(critic, x).flatten(1).square().sum(1)


@step(
    lambda g: [
        tame("images", **_penalised(g, 5, 2, 3, 2)),
        tame("images of one channel", **_penalised(g, 3, 1, 2, 4)),
        hard("a single point", **_penalised(g, 1, 3)),
        extreme("a critic that is flat somewhere", **_penalised(g, 5, 2, 3, 2, flat=True)),
    ],
    around=_trained_on,
    results=("how the critic is left", "the penalty", "the gradient that the critic gets"),
    passes="one norm an example, drawn to 1, and the critic can learn from it.",
)
def gradient_penalty(critic: Answer, x: Tensor) -> Tensor:
    r"""Check `gradient_penalty(critic, x)`: $E[(\lVert \nabla_x f(x) \rVert - 1)^2]$, to train the critic on.

    critic maps x (n, ...) to scores (n,), each example by itself -> one number.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.gradient_penalty(lambda critic, x: (critic(x) - 1).square().mean())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: you penalise the score itself...
    """
    return (_norms(critic, x) - 1).square().mean()


def _leaving(leave: Callable[[_Critic], Any]) -> Answer:
    def answer(critic: _Critic, x: Tensor) -> Tensor:
        penalty = (_norms(critic, x) - 1).square().mean()
        leave(critic)
        return penalty

    return answer


gradient_penalty.wrong = {
    "you leave gradients in the critic's parameters, by `backward`: `torch.autograd.grad(..., x)` asks for those of x "
    "alone.":
        _leaving(lambda critic: setattr(critic.last, "grad", zeros_like(critic.last))),
    "you switch off the gradients of the critic and leave them off, so it could never learn: leave its parameters "
    "alone.":
        _leaving(lambda critic: critic.requires_grad_(False)),
    "the value is right, but the critic cannot learn from it: the gradient itself must stay on the graph, "
    "`torch.autograd.grad(..., create_graph=True)`, and nothing be detached.":
        lambda critic, x: (_norms(critic, x, keep=False) - 1).square().mean(),
    "the value is right, but the gradient that the critic gets from it is not: is a part of it detached?":
        lambda critic, x: ((_norms(critic, x) - 1) * (_norms(critic, x) - 1).detach()).mean(),
    "where the critic is flat the gradient of your penalty is NaN or infinite: a root has an infinite slope at 0. Use "
    "`.norm(dim=1)`, or add 1e-12 under the root.":
        lambda critic, x: (_squared(critic, x).sqrt() - 1).square().mean(),
    "your penalty takes one norm over the whole batch: take one an example.":
        lambda critic, x: (_gradients(critic, x).norm() - 1).square(),
    "your norms run over the second axis alone, the channels: flatten each example first, `.flatten(1)`.":
        lambda critic, x: (_gradients(critic, x).norm(dim=1) - 1).square().mean(),
    "your norms run over the last axis alone, a row of pixels: flatten each example first, `.flatten(1)`.":
        lambda critic, x: (_gradients(critic, x).norm(dim=-1) - 1).square().mean(),
    "you compare each number of the gradient with 1: it is the norm, over all pixels, that should be 1.":
        lambda critic, x: (_gradients(critic, x) - 1).square().mean(),
    "you pull the norm to 0: subtract 1 before you square.": lambda critic, x: _squared(critic, x).mean(),
    "you subtract 1 from the squared norm: take the root first.":
        lambda critic, x: (_squared(critic, x) - 1).square().mean(),
    "the square is missing, so that norms below 1 are rewarded: (norm - 1)^2.":
        lambda critic, x: (_norms(critic, x) - 1).mean(),
    "you take the absolute value of norm - 1: take its square.": lambda critic, x: (_norms(critic, x) - 1).abs().mean(),
    "you average the norms before you subtract 1, and too steep cancels too flat: square first, for each example, and "
    "then take the mean.":
        lambda critic, x: (_norms(critic, x).mean() - 1).square(),
    "your gradients are divided by the number of examples: differentiate `critic(x).sum()`, not the mean.":
        lambda critic, x: (_norms(critic, x) / len(x) - 1).square().mean(),
    "your penalty is one-sided, for norms above 1 only: the formula asks for exactly 1.":
        lambda critic, x: (_norms(critic, x) - 1).clamp_min(0).square().mean(),
    "the weight 10 is in your penalty: leave it out, it comes in when the losses are joined.":
        lambda critic, x: 10 * (_norms(critic, x) - 1).square().mean(),
    "you add up absolute values: the norm is the root of the sum of squares.":
        lambda critic, x: (_gradients(critic, x).flatten(1).abs().sum(1) - 1).square().mean(),
    "your norm has a mean under its root: it is the root of the sum of squares.":
        lambda critic, x: (_gradients(critic, x).flatten(1).square().mean(1).sqrt() - 1).square().mean(),
    "you penalise the score itself: it is its gradient with respect to x that should have the norm 1.":
        lambda critic, x: (critic(x) - 1).square().mean(),
    "you return the norms: subtract 1, square, and take the mean.": _norms,
    "your norms run over the examples: flatten each example, and take its norm, over axis 1.":
        lambda critic, x: (_gradients(critic, x).flatten(1).norm(dim=0) - 1).square().mean(),
    "you add up the numbers of the gradient: its norm is the root of the sum of squares.":
        lambda critic, x: (_gradients(critic, x).flatten(1).sum(1) - 1).square().mean(),
    "your norms are taken channel by channel: take one an example, over all of its axes, `.flatten(1)`.":
        lambda critic, x: (_gradients(critic, x).flatten(min(2, x.ndim - 1)).norm(dim=-1) - 1).square().mean(),
}  # fmt: skip


# ---------------------------------------------------------------- 7. labels


def _labelled(g: torch.Generator, d: int, k: int, f: int, *labels: int) -> dict[str, Tensor]:
    y = torch.tensor(labels)
    return {"z": normal(g, len(y), d), "y": y, "weight": normal(g, f, d + k)}


def _of_z(z: Tensor, weight: Tensor) -> Tensor:
    return z @ weight[:, : z.shape[1]].T


def _of_y(z: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    return weight[:, z.shape[1] :].T[y]


@step(
    lambda g: [
        tame("ten labels", **_labelled(g, 12, 10, 3, 7, 0, 9, 4, 7, 2)),
        tame("three labels", **_labelled(g, 5, 3, 4, 1, 2, 0, 1)),
        hard(
            "labels of which the first and the last do not occur", **_labelled(g, 3, 6, 4, 2, 1, 4)
        ),
        hard("one example", **_labelled(g, 3, 2, 5, 0)),
    ],
    gradient="z weight",
    dtype="same",
    passes="a label joined to z is a learned bias, one for each label.",
)
def joined(z: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    r"""Check `joined(z, y, weight)`: a linear layer on z joined with the one-hot code of the label.

    z (n, d), y (n,) of labels 0 .. K-1, weight (F, d + K) -> (n, F).

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.joined(lambda z, y, weight: z @ weight[:, : z.shape[1]].T)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the label has no say...
    """
    return _of_z(z, weight) + _of_y(z, y, weight)


joined.wrong = {
    "the label has no say: its column of the weights is missing.": lambda z, y, weight: _of_z(z, weight),
    "the noise has no say: add what the first columns make of z.": _of_y,
    "you join the label before z: z comes first.":
        lambda z, y, weight: cat([one_hot(y, weight.shape[1] - z.shape[1]).to(z), z], 1) @ weight.T,
    "you look the label up among the columns of z: those of the labels begin at column d.":
        lambda z, y, weight: _of_z(z, weight) + weight.T[y],
    "you count the columns of the labels from the end: label 0 has the first of them.":
        lambda z, y, weight: _of_z(z, weight) + weight.T[-1 - y],
    "you are one column too far to the left: labels begin at 0.":
        lambda z, y, weight: _of_z(z, weight) + weight.T[z.shape[1] + y - 1],
    "every example gets the column of the first label: each has its own.":
        lambda z, y, weight: _of_z(z, weight) + weight[:, z.shape[1] + y[0]],
    "you add up the columns of all labels: only that of y counts.":
        lambda z, y, weight: _of_z(z, weight) + weight[:, z.shape[1] :].sum(1),
    "you multiply a column by the label as a number, so that 8 counts twice as much as 4: labels are names, each with "
    "a column of its own.":
        lambda z, y, weight: _of_z(z, weight) + y[:, None] * weight[:, z.shape[1]],
    "you multiply what comes of z and of y: joined inputs are added up.":
        lambda z, y, weight: _of_z(z, weight) * _of_y(z, y, weight),
    "you subtract the label's column: add it.": lambda z, y, weight: _of_z(z, weight) - _of_y(z, y, weight),
    "you put the weights of the labels into rows by `reshape`, which mixes them: transpose, `.T`.":
        lambda z, y, weight: _of_z(z, weight) + weight[:, z.shape[1] :].reshape(-1, len(weight))[y],
}  # fmt: skip


# ---------------------------------------------------------------- 8. on the sphere


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def _pair(
    g: torch.Generator, d: int, degrees: float, of_a: float, of_b: float, *t: float
) -> dict[str, Tensor]:
    """Two vectors of these lengths with this angle between them."""
    first, other = _unit(normal(g, d)), normal(g, d)
    second = _unit(other - (other @ first) * first)
    turn = math.radians(degrees)
    b = of_b * (math.cos(turn) * first + math.sin(turn) * second)
    return {"a": of_a * first, "b": b, "t": torch.tensor(t).to(b)}  # fmt: skip


def _axis(d: int, of_a: float, of_b: float) -> dict[str, Tensor]:
    """Codes along one axis: their cosine is exactly 1, by no luck of rounding."""
    axis = torch.eye(d, dtype=torch.get_default_dtype())[1]
    return {"a": of_a * axis, "b": of_b * axis, "t": torch.tensor([0.0, 0.3, 0.5, 0.9, 1.0]).to(axis)}  # fmt: skip


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return a @ b / (a.norm() * b.norm())


def _angle(a: Tensor, b: Tensor) -> Tensor:
    return acos(_cosine(a, b).clamp(-1, 1))


def _turn(
    omega: Tensor, a: Tensor, b: Tensor, t: Tensor, over: Callable[[Tensor], Tensor] = sin
) -> Tensor:
    t = t[:, None]
    return (sin((1 - t) * omega) * a + sin(t * omega) * b) / over(omega)  # fmt: skip


def _straight(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return lerp(a, b, t[:, None])


def _slerp(a: Tensor, b: Tensor, t: Tensor, omega: Tensor | None = None) -> Tensor:
    omega = _angle(a, b) if omega is None else omega
    return _straight(a, b, t) if omega < 1e-3 else _turn(omega, a, b, t)


def _rounded_cosines(answer: Answer, g: torch.Generator) -> str | None:
    """Fifty times codes that point the same way, whose cosine is rounded to a little above 1 now and then."""
    for _ in range(50):
        a, t = normal(g, 5), torch.tensor([0.0, 0.4, 1.0]).to(torch.get_default_dtype())
        case = Case("codes that point the same way", {"a": a, "b": 1.5 * a, "t": t})
        made, wanted = as_tensor("slerp", call("slerp", answer, case)), _straight(a, 1.5 * a, t)
        if not isfinite(made).all():
            return (
                "codes that point the same way have a cosine of 1, rounded now and then to a little above, which has "
                "no angle: `.clamp(-1, 1)` before `acos`."
            )
        if not allclose(made.to(wanted), wanted, rtol=1e-3, atol=1e-3):
            return "for codes that point the same way the result of `slerp` is wrong: return the straight line."
    return None


@step(
    lambda g: [
        tame(
            "codes an obtuse angle apart", **_pair(g, 4, 115.0, 1.2, 0.7, 0.0, 0.3, 0.5, 0.9, 1.0)
        ),
        tame("codes of 64 numbers", **_pair(g, 64, 70.0, 8.3, 7.6, 0.3, 0.5, 0.9)),
        tame("codes in the plane", **_pair(g, 2, 35.0, 2.0, 3.0, 0.0, 0.5, 1.0)),
        hard("a single place", **_pair(g, 3, 80.0, 1.5, 2.5, 0.2)),
        hard("codes a small angle apart", **_pair(g, 3, 3.0, 20.0, 25.0, 0.5)),
        extreme("codes that point the same way", **_axis(3, 2.0, 3.0)),
        extreme("the same code twice", **_axis(4, 2.0, 2.0)),
    ],
    dtype="same",
    live=[_rounded_cosines],
    parts=lambda a, b, t: {
        f"the part of {x}": _slerp(*pair, t, _angle(a, b))
        for x, pair in (("a", (a, 0 * b)), ("b", (0 * a, b)))
    },
    passes="a steady turn from a to b, and a straight line where there is nothing to turn.",
)
def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    r"""Check `slerp(a, b, t)`: the way from a to b at a constant turn of direction.

    a and b (d,), t (m,) in [0, 1] -> (m, d); the straight line where a and b point the same way.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.slerp(lambda a, b, t: torch.lerp(a, b, t[:, None]))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is the straight line...
    """
    return _slerp(a, b, t)


slerp.wrong = {
    "this is the straight line, which cuts through the inside of the sphere: weigh by sines of the angle.": _straight,
    "this is the straight line, pushed out to the sphere: it turns faster in its middle. Weigh by sines of the angle.":
        lambda a, b, t: _unit(_straight(a, b, t)) * lerp(a.norm(), b.norm(), t[:, None]),
    "your way begins at b: at t = 0 it is at a.": lambda a, b, t: _slerp(b, a, t),
    "you divide by the angle: divide by its sine.": lambda a, b, t: _turn(_angle(a, b), a, b, t, lambda omega: omega),
    "you do not divide by the sine of the angle, so your way does not begin at a.":
        lambda a, b, t: _turn(_angle(a, b), a, b, t, torch.ones_like),
    "your way has the length 1 everywhere: you take the directions of a and b into the sum. Use them for the angle "
    "only.":
        lambda a, b, t: _slerp(_unit(a), _unit(b), t),
    "you bring the result to length 1: leave it as long as it comes.": lambda a, b, t: _unit(_slerp(a, b, t)),
    "your angle is the cosine itself: take `torch.acos` of it.": lambda a, b, t: _turn(_cosine(a, b), a, b, t),
    "your cosine is the bare product of a and b: divide it by the lengths of both, or it is no cosine.":
        lambda a, b, t: _turn(acos(a @ b), a, b, t),
    "your cosine is the bare product of a and b, cut to 1: divide it by the lengths of both.":
        lambda a, b, t: _slerp(a, b, t, acos((a @ b).clamp(-1, 1))),
    "your angle is in degrees: sines of torch want radians, as `torch.acos` gives them.":
        lambda a, b, t: _turn(torch.rad2deg(_angle(a, b)), a, b, t),
    "your angle is that between the lines, never above 90 degrees: leave out the absolute value of the cosine.":
        lambda a, b, t: _slerp(a, b, t, acos(_cosine(a, b).abs().clamp(max=1))),
    "your angle is the arc sine of the product: its cosine is known, so take `torch.acos`.":
        lambda a, b, t: _turn(_cosine(a, b).clamp(-1, 1).asin(), a, b, t),
    "you divide the product by the squares of the lengths: divide by the lengths.":
        lambda a, b, t: _slerp(a, b, t, acos((a @ b / ((a @ a) * (b @ b))).clamp(-1, 1))),
    "you take the straight line for angles of some degrees too: only where the angle is as good as 0.":
        lambda a, b, t: _straight(a, b, t) if _angle(a, b) < 0.1 else _slerp(a, b, t),
    "by sines of the angle.":
        lambda a, b, t: (1 - t).sqrt()[:, None] * a + t.sqrt()[:, None] * b,
    "where a and b point the same way the angle is 0, and you get 0/0: there, return the straight line.":
        lambda a, b, t: _turn(_angle(a, b), a, b, t),
    "for codes that point the same way the result of `slerp` is wrong: you stay at a, where the straight line to b is "
    "wanted.":
        lambda a, b, t: a.expand(len(t), -1) if _angle(a, b) < 1e-3 else _slerp(a, b, t),
    "your angle is the cosine itself, below 0 for an obtuse one: take `torch.acos` of it.":
        lambda a, b, t: _slerp(a, b, t, _cosine(a, b)),
    "only the part of b is divided by the sine of the angle: divide both.":
        lambda a, b, t: _slerp(a * sin(_angle(a, b)), b, t, _angle(a, b)),
    "the angle is left out of the upper sines: they are those of (1 - t) omega and t omega.":
        lambda a, b, t: _turn(torch.ones(()), a, b, t, lambda one: sin(_angle(a, b))),
    "the angle stands outside the upper sines: they are those of (1 - t) omega and t omega.":
        lambda a, b, t: _turn(torch.ones(()), a, b, t, lambda one: sin(_angle(a, b)) / _angle(a, b)),
    "you divide the product by the square of one length: divide by the lengths of both.":
        lambda a, b, t: _slerp(a, b, t, acos((a @ b / (a @ a)).clamp(-1, 1))),
}  # fmt: skip


# ---------------------------------------------------------------- 9. the Frechet distance


def _features(g: torch.Generator, n: int, m: int, d: int) -> dict[str, Tensor]:
    """Features that go up and down together: all their covariances are above 0."""
    made = {}
    for key, size, scale in (("real", n, 1.0), ("fake", m, 1.8)):
        own, shared = normal(g, size, d), normal(g, size, 1)
        scales = scale * linspace(0.5, 1.5, d).to(own)[torch.randperm(d, generator=g)]
        made[key] = (0.8 * own + 1.5 * shared) * scales + normal(g, d)
    return made


def _means(real: Tensor, fake: Tensor) -> Tensor:
    return (real.double().mean(0) - fake.double().mean(0)).square().sum()


def _root(matrix: Tensor) -> Tensor:
    values, vectors = eigh(matrix)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T


def _by_rows(a: Tensor, b: Tensor) -> Tensor:
    values, vectors = eigh(a)
    root = vectors.T * values.clamp_min(0).sqrt() @ vectors
    return 2 * eigvalsh(root @ b @ root).clamp_min(0).sqrt().sum()


def _cross(a: Tensor, b: Tensor) -> Tensor:
    inner = _root(a) @ b @ _root(a)
    return eigvalsh((inner + inner.T) / 2).clamp_min(0).sqrt().sum()


def _spreads(a: Tensor, b: Tensor) -> Tensor:
    return a.trace() + b.trace() - 2 * _cross(a, b)


def _both(real: Tensor, fake: Tensor, less: int = 1) -> tuple[Tensor, Tensor]:
    return cov(real.double().T, correction=less), cov(fake.double().T, correction=less)


def _second_moments(x: Tensor) -> Tensor:
    return x.double().T @ x.double() / (len(x) - 1)


def _frechet(real: Tensor, fake: Tensor) -> Tensor:
    return _means(real, fake) + _spreads(*_both(real, fake))


def _other_cross(f: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The distance with another matrix, or number, in the place of the root of the product."""

    def distance(real: Tensor, fake: Tensor) -> Tensor:
        a, b = _both(real, fake)
        return _means(real, fake) + a.trace() + b.trace() - f(a, b)

    return distance


def _few(answer: Answer, g: torch.Generator) -> str | None:
    """Fewer examples than features. Small roots of rounded numbers: single precision leaves a hundredth open here."""
    for _ in range(6):  # which way a 0 is rounded is luck
        case = Case("fewer examples than features", _features(g, 4, 5, 6))
        got = torch.as_tensor(call("frechet", answer, case)).detach().double()
        want = _frechet(**case.arguments)
        if not isfinite(got).all():
            return (
                "for fewer examples than features a covariance has eigenvalues of 0, rounded to a little below, and "
                "their roots are NaN: `clamp_min(0)` before the root."
            )
        if got.shape != want.shape or not allclose(got, want, rtol=0.02, atol=0.01):
            return (
                f"for fewer examples than features your distance is {got.item():.4g}, not {want.item():.4g}: that must "
                "work without the inverse of a covariance."
            )
    return None


@step(
    lambda g: [
        tame("3 features", **_features(g, 60, 45, 3)),
        tame("5 features", **_features(g, 80, 80, 5)),
        hard("few examples", **_features(g, 4, 7, 2)),
        extreme(
            "features far from 0", **{key: 100 + x for key, x in _features(g, 9, 8, 3).items()}
        ),
        extreme("features near 0", **{key: x / 100 for key, x in _features(g, 9, 8, 3).items()}),
    ],
    live=[_few],
    parts=lambda a, b: {"the distance of the means": _means(a, b), "tr(Sigma_1 + Sigma_2)": sum(
        x.trace() for x in _both(a, b)), "- 2 times the trace of the root": -2 * _cross(*_both(a, b))},
    passes="the distance of the means, and how differently the two sets spread.",
)  # fmt: skip
def frechet(real: Tensor, fake: Tensor) -> Tensor:
    r"""Check `frechet(real, fake)`: the squared Frechet distance of two Gaussians fitted to features.

    real (n, d), fake (m, d) -> one number.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.frechet(lambda real, fake: (real.mean(0) - fake.mean(0)).square().sum())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: only the means are compared...
    """
    return _frechet(real, fake)


frechet.wrong = {
    "only the means are compared: add the part of the covariances.": _means,
    "the distance of the means is not squared.":
        lambda real, fake: _means(real, fake).sqrt() + _spreads(*_both(real, fake)),
    "you average over the features: add up the squared differences of the means.":
        lambda real, fake: _means(real, fake) / real.shape[1] + _spreads(*_both(real, fake)),
    "your covariances are divided by n: divide by n - 1, as `torch.cov` does.":
        lambda real, fake: _means(real, fake) + _spreads(*_both(real, fake, 0)),
    "your covariances still have the means in them: subtract the mean before you multiply.":
        lambda real, fake: _means(real, fake) + _spreads(_second_moments(real), _second_moments(fake)),
    "you take the root of each entry: a root of a matrix is a matrix whose product with itself it is.":
        _other_cross(lambda a, b: 2 * (a @ b).diagonal().sqrt().sum()),
    "you compare the variances of each feature alone, as if features were independent: the covariances count.":
        lambda real, fake: _means(real, fake) + (real.std(0) - fake.std(0)).double().square().sum(),
    "the root around your product is missing: tr(Sigma_1 Sigma_2) is no spread.":
        _other_cross(lambda a, b: 2 * (a @ b).trace()),
    "you multiply the roots of the two covariances: that is the root of the product only where they have the same "
    "axes.":
        _other_cross(lambda a, b: 2 * (_root(a) @ _root(b)).trace()),
    "you take the root of the trace: it is the trace of a root, the sum of the roots of the eigenvalues.":
        _other_cross(lambda a, b: 2 * (a @ b).trace().sqrt()),
    "your `eigvalsh` is for symmetric matrices, and Sigma_1 Sigma_2 is none: put Sigma_2 between two roots of Sigma_1.":
        _other_cross(lambda a, b: 2 * eigvalsh(a @ b).clamp_min(0).sqrt().sum()),
    "your root has the eigenvectors in its rows: they are the columns, vectors @ diag @ vectors.T.":
        _other_cross(_by_rows),
    "you compare the covariances entry by entry: their roots and traces are compared.":
        lambda real, fake: _means(real, fake) + (_both(real, fake)[0] - _both(real, fake)[1]).square().sum(),
    "the trace of Sigma_2 is missing.": lambda real, fake: _frechet(real, fake) - _both(real, fake)[1].trace(),
    "you add up all entries of the covariances: a trace is the sum of the diagonal.":
        lambda real, fake: _frechet(real, fake) + sum(x.sum() - x.trace() for x in _both(real, fake)),
    "you put Sigma_2 between Sigma_1 itself: it stands between two roots of Sigma_1.":
        _other_cross(lambda a, b: 2 * eigvalsh(a @ b @ a).clamp_min(0).sqrt().sum()),
}  # fmt: skip


# ---------------------------------------------------------------- 10. memorised images


def _three_sets(
    g: torch.Generator, n: int, known: int, m: int, d: int, offset: float = 0.0
) -> dict[str, Tensor]:
    """At most 25 of each: above, `torch.cdist` rounds small distances."""
    train, fresh = offset + normal(g, known, d), offset + normal(g, m, d)
    scale = linspace(0.1, 1.5, n).to(train)[:, None]  # from near copies to bad images
    samples = train[torch.arange(n) % known] + scale * normal(g, n, d)
    return {"samples": samples, "train": train, "fresh": fresh}


def _where_squares_cancel() -> float:
    """So far away that rounding the square of a feature moves it by about 1."""
    return torch.finfo(torch.get_default_dtype()).eps ** -0.5


def _with_copies(g: torch.Generator) -> dict[str, Tensor]:
    """On a grid of whole numbers, where distances are often equal, and often 0."""
    sizes = {"samples": 9, "train": 5, "fresh": 7}
    made = {key: randint(0, 4, (n, 2), generator=g) for key, n in sizes.items()}
    made["samples"][:2], made["fresh"][1:3] = made["train"][:2], made["train"][2:4]
    return {key: x.to(torch.get_default_dtype()) for key, x in made.items()}


def _nearest(x: Tensor, train: Tensor, p: float = 2.0) -> Tensor:
    return cdist(x, train, p).amin(1)


def _rank(ours: Tensor, theirs: Tensor, tie: float = 0.5) -> Tensor:
    """ours (n,), theirs (m,) -> share of theirs that is larger, (n,)."""
    larger, equal = theirs > ours[:, None], theirs == ours[:, None]
    return (larger.to(ours) + tie * equal.to(ours)).mean(1)


def _ranked_by(
    distance: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda samples, train, fresh: _rank(distance(samples, train), distance(fresh, train))


def _by_products(x: Tensor, train: Tensor) -> Tensor:
    squares = x.square().sum(1)[:, None] + train.square().sum(1) - 2 * x @ train.T
    return squares.amin(1)


@step(
    lambda g: [
        tame("10 samples", **_three_sets(g, 10, 12, 15, 3)),
        tame("20 samples", **_three_sets(g, 20, 7, 9, 5)),
        hard("exact copies and equal distances", **_with_copies(g)),
        hard("a single sample", **_three_sets(g, 1, 4, 6, 2)),
        hard("a single training image", **_three_sets(g, 5, 1, 8, 4)),
        extreme("features far from zero", **_three_sets(g, 12, 8, 9, 3, offset=_where_squares_cancel())),
    ],
    passes="a half on average for fresh images, and 1 for copies.",
)  # fmt: skip
def nearness(samples: Tensor, train: Tensor, fresh: Tensor) -> Tensor:
    r"""Check `nearness(samples, train, fresh)`: how many held-out images are farther from the training data.

    samples (n, d), train (N, d), fresh (m, d) -> (n,), ties by half.

    Example:
        >>> from course import checks
        >>> checks.gan_architectures.nearness(lambda samples, train, fresh: torch.cdist(samples, train).amin(1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: these are the distances...
    """
    return _rank(_nearest(samples, train), _nearest(fresh, train))


nearness.wrong = {
    "these are the distances to the nearest training image: compare each with those of all held-out images.":
        lambda samples, train, fresh: _nearest(samples, train),
    "this is the share of held-out images that are nearer: count those that are farther.":
        lambda samples, train, fresh: 1 - _rank(_nearest(samples, train), _nearest(fresh, train)),
    "equal distances count nothing: count them by half, or copies of copies look harmless.":
        lambda samples, train, fresh: _rank(_nearest(samples, train), _nearest(fresh, train), tie=0),
    "equal distances count in full: count them by half.":
        lambda samples, train, fresh: _rank(_nearest(samples, train), _nearest(fresh, train), tie=1),
    "you compare with the mean of the held-out distances: count how many of them are larger.":
        lambda samples, train, fresh: (_nearest(samples, train) < _nearest(fresh, train).mean()).to(samples),
    "you take half of everything: only equal distances count by half.":
        lambda samples, train, fresh: _rank(_nearest(samples, train), _nearest(fresh, train), tie=1) / 2,
    "you return one number for each held-out image: average over these, and keep the samples.":
        lambda samples, train, fresh: 1 - _rank(_nearest(fresh, train), _nearest(samples, train)),
    "you return every comparison, (n, m): average over the held-out images.":
        lambda samples, train, fresh: (_nearest(fresh, train) > _nearest(samples, train)[:, None]).to(samples),
    "you average the distances to all training images: take the nearest.":
        _ranked_by(lambda x, train: cdist(x, train).mean(1)),
    "you take the farthest training image: take the nearest.": _ranked_by(lambda x, train: cdist(x, train).amax(1)),
    "you add up absolute differences: take the Euclidean distance.": _ranked_by(lambda x, train: _nearest(x, train, 1)),
    "you look for the sample nearest to a held-out image: look for its nearest training image.":
        lambda samples, train, fresh: _rank(_nearest(samples, train), _nearest(fresh, samples)),
    "you look for the held-out image nearest to a sample: look for its nearest training image.":
        lambda samples, train, fresh: _rank(_nearest(samples, fresh), _nearest(fresh, train)),
    "you count the held-out images farther from the sample than its nearest training image: compare nearest distances.":
        lambda samples, train, fresh: cat([_rank(_nearest(x, train), cdist(x, fresh)[0]) for x in samples.split(1)]),
    "your distances come from |a|^2 + |b|^2 - 2 a b, which cancels where features are far from zero: subtract first, "
    "then square.":
        _ranked_by(_by_products),
    "equal distances count one and a half times: `>=` has them already.":
        lambda samples, train, fresh: _rank(_nearest(samples, train), _nearest(fresh, train), tie=1.5),
    "training and held-out images have changed places: distances are to the training images.":
        lambda samples, train, fresh: _rank(_nearest(samples, fresh), _nearest(train, fresh)),
    "you divide by the number of training images: r is a share of the held-out ones.":
        lambda samples, train, fresh: _rank(_nearest(samples, train), _nearest(fresh, train)) * len(fresh) / len(train),
}  # fmt: skip
