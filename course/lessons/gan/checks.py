r"""Checks for the exercises of lesson GAN.

Each takes the student's function and compares it, on inputs of its own, with the right function and with
the wrong ones that students write. It prints one line, or raises `Wrong` with the likely mistake.
Another `seed` gives other inputs and the same verdict.

Formulas and gradients are checked, never luck: no check depends on a training that could fail. The two
steps of the two networks are taken once, on small networks with known weights, by plain gradient descent; so
where the parameters must stand afterwards is known too.
"""

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import (
    Tensor,
    allclose,
    cat,
    cdist,
    isfinite,
    isnan,
    linspace,
    logaddexp,
    nn,
    rand,
    sigmoid,
    stack,
    tanh,
    where,
    zeros_like,
)
from torch.autograd import grad
from torch.nn.functional import softplus

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
    "best_logit",
    "discriminator_loss",
    "discriminator_step",
    "generator_losses",
    "generator_step",
    "hits",
    "jsd",
    "pushforward",
    "slopes",
]

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
SURE = 2000.0  # a logit whose sigmoid is 0 or 1 in double precision too


# ---------------------------------------------------------------- 1. the density of what comes out


def pushforward(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `pushforward(g, z)`: x = g(z), and the log density of x when z is drawn from N(0, 1).

    g maps (n,) to (n,), each entry by itself, always rising or always falling; z (n,) -> (n,), (n,).

    Example:
        >>> from course import checks
        >>> checks.gan.pushforward(lambda g, z: (g(z), -0.5 * z**2 - 0.5 * math.log(2 * math.pi)))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is the log density of z: ...
    """

    def log_normal(z: Tensor) -> Tensor:
        return -0.5 * z.square() - HALF_LOG_2PI

    def slope(g: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
        z = z.detach().clone().requires_grad_()
        return grad(g(z).sum(), z)[0].abs()

    def right(g: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
        return g(z), log_normal(z) - slope(g, z).log()

    mistakes: Mistakes = [
        (
            "this is the log density of z: where g is steep the same probability is spread over more x, so "
            "subtract log |g'(z)|.",
            lambda g, z: (g(z), log_normal(z)),
        ),
        (
            "you add log |g'(z)|: a steep g spreads the probability out, so subtract it.",
            lambda g, z: (g(z), log_normal(z) + slope(g, z).log()),
        ),
        (
            "you put x into the normal density: it is z that is drawn from N(0, 1).",
            lambda g, z: (g(z), log_normal(g(z)) - slope(g, z).log()),
        ),
        (
            "this is the normal density of x, as if the generator did nothing: take that of z, and divide "
            "by the slope.",
            lambda g, z: (g(z), log_normal(g(z))),
        ),
        (
            "the constant of the normal density is missing: subtract log(2 pi) / 2.",
            lambda g, z: (g(z), right(g, z)[1] + HALF_LOG_2PI),
        ),
        (
            "you subtract log(2 pi): it stands under a square root, so subtract half of it.",
            lambda g, z: (g(z), right(g, z)[1] - HALF_LOG_2PI),
        ),
        (
            "this is the density: return its logarithm.",
            lambda g, z: (g(z), right(g, z)[1].exp()),
        ),
        (
            "you subtract the slope itself: subtract its logarithm.",
            lambda g, z: (g(z), log_normal(z) - slope(g, z)),
        ),
        (
            "you divide a logarithm by the slope: divide the density, which is to subtract log |g'(z)|.",
            lambda g, z: (g(z), log_normal(z) / slope(g, z)),
        ),
        (
            "your slopes are divided by the number of points: differentiate `g(z).sum()`, not the mean.",
            lambda g, z: (g(z), right(g, z)[1] + math.log(len(z))),
        ),
        (
            "you return z in the place of x: return g(z) first.",
            lambda g, z: (z, right(g, z)[1]),
        ),
    ]
    results = ("x", "log p(x)")
    changed = (
        "you leave marks on the caller's z (`requires_grad`, or a `.grad`): work on "
        "`z.clone().requires_grad_()`."
    )
    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, steep, far in (
            ("a rising generator", 6, 2.3, 1.0),
            ("a falling generator", 4, -1.7, 1.0),
            ("codes far out", 4, 1.4, 60.0),
        ):
            curve = 0.3 * float(rand(1, generator=generator)) + 0.2
            shift = torch.tensor(float(n), requires_grad=True)  # a parameter, as a network has
            z = far * (normal(generator, n).sign() * (0.5 + rand(n, generator=generator)))

            def g(z: Tensor, s: float = steep, c: float = curve, m: Tensor = shift) -> Tensor:
                return m + s * (z + c * tanh(z))

            cases.append(Case(label, {"g": g, "z": z.to(torch.get_default_dtype())}))
        given = collect("pushforward", answer, cases, results=results, changed=changed)
        if same(given[0][1], right(**cases[0].arguments)[1]):
            if isnan(given[1][1]).any():
                raise Wrong(
                    "where g falls its slope is negative, and your logarithm NaN: take the slope's absolute "
                    "value first."
                )
            if not isfinite(given[2][1]).all():
                raise Wrong(
                    "far out the density rounds to 0, and its logarithm is infinite: never leave log-space, "
                    "write log p(z) = - z^2 / 2 - log(2 pi) / 2."
                )
        judge("pushforward", cases, given, right, mistakes, results=results)
        if any(x.requires_grad for x in call("pushforward", answer, cases[0])):
            raise Wrong(
                "the values are right, but they still hang on the graph of the generator, and could not be "
                "drawn: end with `.detach()`, on both."
            )
    print("Right: log p(z), less the logarithm of how much g stretches.")


# ---------------------------------------------------------------- 2. the discriminator's loss


def discriminator_loss(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `discriminator_loss(real, fake)`: $-E \log D(x) - E \log(1 - D(G(z)))$, from logits.

    real (n,) and fake (m,) are logits, D = sigmoid(logit) -> one number.

    Example:
        >>> from course import checks
        >>> softplus = torch.nn.functional.softplus
        >>> checks.gan.discriminator_loss(lambda real, fake: softplus(real).mean() + softplus(-fake).mean())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the labels are swapped: ...
    """

    def right(real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean() + softplus(fake).mean()

    mistakes: Mistakes = [
        (
            "you take sums: an expectation is a mean, over the real ones and over the fakes each.",
            lambda real, fake: softplus(-real).sum() + softplus(fake).sum(),
        ),
        (
            "only the real half is there: D must also call the fakes fake.",
            lambda real, fake: softplus(-real).mean(),
        ),
        (
            "only the fake half is there: D must also call the real ones real.",
            lambda real, fake: softplus(fake).mean(),
        ),
        (
            "the labels are swapped: your D learns to call the fakes real. Real ones want a large logit.",
            lambda real, fake: softplus(real).mean() + softplus(-fake).mean(),
        ),
        (
            'both halves want the answer "real": for a fake it is log(1 - D) that counts.',
            lambda real, fake: softplus(-real).mean() + softplus(-fake).mean(),
        ),
        (
            "this is the value V(D, G), which D maximises: a loss is minimised, so turn the sign.",
            lambda real, fake: -right(real, fake),
        ),
        (
            "you average the two halves: add them up.",
            lambda real, fake: 0.5 * right(real, fake),
        ),
        (
            "you average over real ones and fakes together: take the mean of each, and add the two.",
            lambda real, fake: cat([softplus(-real), softplus(fake)]).mean(),
        ),
        (
            "the sigmoid is taken twice: `real` and `fake` are logits, so use them as they are.",
            lambda real, fake: right(sigmoid(real), sigmoid(fake)),
        ),
        (
            "the logarithm is missing: this is the mean of 1 - D and of D.",
            lambda real, fake: sigmoid(-real).mean() + sigmoid(fake).mean(),
        ),
        (
            "`F.binary_cross_entropy` cuts every logarithm at -100, so a sure mistake is too cheap: "
            "use softplus.",
            lambda real, fake: (
                softplus(-real).clamp(max=100).mean() + softplus(fake).clamp(max=100).mean()
            ),
        ),
    ]

    def probe(case: Case, got: Tensor, want: Tensor) -> str | None:
        if "sure" in case.label and isfinite(got) and got < want:
            return (
                "a sure mistake is too cheap: a small number inside your logarithm, or a clamp, cuts the "
                "loss off and ends its gradient. Use softplus, which needs neither."
            )
        return None

    with own_random_numbers(seed) as generator:
        cases = []
        for label, n, m in (("random logits", 5, 3), ("as many fakes as real ones", 4, 4)):
            arguments = {"real": 2 * normal(generator, n), "fake": 1 + 2 * normal(generator, m)}
            cases.append(Case(label, arguments))
        real, fake = normal(generator, 3), normal(generator, 2)
        real[0], fake[1] = -SURE, SURE
        cases.append(Case("a discriminator that is sure and wrong", {"real": real, "fake": fake}))
        given = collect("discriminator_loss", answer, cases)
        first = same(given[0][0], right(**cases[0].arguments))
        if first and not isfinite(given[2][0]).all():
            raise Wrong(
                "a sure discriminator makes your loss infinite or NaN: its sigmoid rounds to 0 or 1 "
                "before the logarithm. -log sigmoid(a) is softplus(-a), for every logit."
            )
        judge("discriminator_loss", cases, given, right, mistakes, probe=probe)
        judge_gradient("discriminator_loss", answer, cases[0], right, ["real", "fake"])
    print("Right: both halves, each a mean, and finite for every logit.")


# ---------------------------------------------------------------- 3. the best discriminator


def best_logit(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `best_logit(log_p_data, log_p_fake)`: the logit of $D^* = p_{data} / (p_{data} + p_g)$.

    Both log densities (...), which may be very low -> (...).

    Example:
        >>> from course import checks
        >>> checks.gan.best_logit(lambda log_p_data, log_p_fake: (log_p_data - log_p_fake).sigmoid())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is D* itself: ...
    """

    def right(log_p_data: Tensor, log_p_fake: Tensor) -> Tensor:
        return log_p_data - log_p_fake

    mistakes: Mistakes = [
        (
            "this is D* itself: return its logit, the number whose sigmoid it is.",
            lambda log_p_data, log_p_fake: sigmoid(log_p_data - log_p_fake),
        ),
        (
            "the two are swapped: D* must be large where the data are.",
            lambda log_p_data, log_p_fake: log_p_fake - log_p_data,
        ),
        (
            "this is the ratio D* / (1 - D*): the logit is its logarithm.",
            lambda log_p_data, log_p_fake: (log_p_data - log_p_fake).exp(),
        ),
        (
            "this is log D*: the logit is log D* - log(1 - D*).",
            lambda log_p_data, log_p_fake: log_p_data - logaddexp(log_p_data, log_p_fake),
        ),
        (
            "this is log p_data - log(p_data + p_fake) with a half in it: in the logit the sum "
            "p_data + p_fake cancels.",
            lambda log_p_data, log_p_fake: (
                log_p_data - logaddexp(log_p_data, log_p_fake) + math.log(2)
            ),
        ),
        (
            "you subtract the densities: subtract their logarithms.",
            lambda log_p_data, log_p_fake: log_p_data.exp() - log_p_fake.exp(),
        ),
        (
            "you divide one logarithm by the other: the logarithm of a ratio is a difference.",
            lambda log_p_data, log_p_fake: log_p_data / log_p_fake,
        ),
        (
            "you add the logarithms: the densities are divided, not multiplied.",
            lambda log_p_data, log_p_fake: log_p_data + log_p_fake,
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, shape, low in (
            ("random densities", (5,), -1.0),
            ("a grid of points", (2, 3), -1.0),
            ("points far from both", (4,), -SURE),
        ):
            both = low + 1.5 * normal(generator, 2, *shape)
            cases.append(Case(label, {"log_p_data": both[0], "log_p_fake": both[1]}))
        apart = torch.tensor([-1.0, -1500.0]).to(both)
        sure = {"log_p_data": apart, "log_p_fake": apart.flip(0)}
        cases.append(Case("points far from one of them", sure))
        given = collect("best_logit", answer, cases)
        judge("best_logit", cases[:2], given[:2], right, mistakes)
        # at logarithms as low as these single precision leaves a thousandth open
        wanted = [right(**case.arguments) for case in cases]
        if not isfinite(given[2][0]).all():
            raise Wrong(
                "far from both, the densities round to 0 and you get 0/0, which is NaN, or log 0: stay "
                "with the logarithms that are given."
            )
        if not isfinite(given[3][0]).all():
            raise Wrong(
                "far from one of them D* rounds to 0 or 1, and your logit is infinite: simplify on paper "
                "first, D* / (1 - D*) is a plain ratio."
            )
        if any(
            got.shape != want.shape
            or not allclose(got.double(), want.double(), rtol=0.001, atol=0.01)
            for (got,), want in zip(given[2:], wanted[2:], strict=True)
        ):
            raise Wrong(
                "where densities are tiny your logit is wrong: a small number or a clamp, put there "
                "against log 0, is larger than they are. Stay with the logarithms that are given."
            )
    print("Right: the logit of the best discriminator is a difference of log densities.")


# ---------------------------------------------------------------- 4. what the objective measures


def jsd(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `jsd(log_p, log_q, dx)`: the Jensen-Shannon divergence by quadrature, in nats.

    Log densities on the n cells of a grid and the widths of the cells, (n,) each -> one number.

    Example:
        >>> from course import checks
        >>> checks.gan.jsd(lambda log_p, log_q, dx: (log_p.exp() * (log_p - log_q) * dx).sum())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: this is KL(p || q): ...
    """

    def kl(log_a: Tensor, log_b: Tensor, dx: Tensor) -> Tensor:
        return (log_a.exp() * (log_a - log_b) * dx).sum()

    def middle(log_p: Tensor, log_q: Tensor) -> Tensor:
        return logaddexp(log_p, log_q) - math.log(2)

    def right(log_p: Tensor, log_q: Tensor, dx: Tensor) -> Tensor:
        m = middle(log_p, log_q)
        return 0.5 * kl(log_p, m, dx) + 0.5 * kl(log_q, m, dx)

    def to_geometric(log_p: Tensor, log_q: Tensor, dx: Tensor) -> Tensor:
        m = 0.5 * (log_p + log_q)
        return 0.5 * kl(log_p, m, dx) + 0.5 * kl(log_q, m, dx)

    def reverse(log_p: Tensor, log_q: Tensor, dx: Tensor) -> Tensor:
        m = middle(log_p, log_q)
        return 0.5 * kl(m, log_p, dx) + 0.5 * kl(m, log_q, dx)

    mistakes: Mistakes = [
        (
            "this is KL(p || q): compare p and q each with their mixture m.",
            lambda log_p, log_q, dx: kl(log_p, log_q, dx),
        ),
        (
            "this is KL(q || p): compare p and q each with their mixture m.",
            lambda log_p, log_q, dx: kl(log_q, log_p, dx),
        ),
        (
            "this is the mean of KL(p || q) and KL(q || p): put the mixture m in the second place of both.",
            lambda log_p, log_q, dx: 0.5 * (kl(log_p, log_q, dx) + kl(log_q, log_p, dx)),
        ),
        (
            "the factor 1/2 before the two divergences is missing.",
            lambda log_p, log_q, dx: 2 * right(log_p, log_q, dx),
        ),
        (
            "the part of q is missing: add half of KL(q || m).",
            lambda log_p, log_q, dx: 0.5 * kl(log_p, middle(log_p, log_q), dx),
        ),
        (
            "this is KL(p || m) alone: take half of it, and half of KL(q || m).",
            lambda log_p, log_q, dx: kl(log_p, middle(log_p, log_q), dx),
        ),
        (
            "your m is the sum p + q, not the mixture (p + q) / 2: subtract log 2 from its logarithm.",
            lambda log_p, log_q, dx: (
                0.5 * kl(log_p, logaddexp(log_p, log_q), dx)
                + 0.5 * kl(log_q, logaddexp(log_p, log_q), dx)
            ),
        ),
        (
            "you average the logarithms: m is the mean of the densities, so add them up with "
            "`torch.logaddexp`.",
            to_geometric,
        ),
        (
            "the divergences are the wrong way round: KL(p || m) averages under p, not under m.",
            reverse,
        ),
        (
            "this is the value V(D*, G), 2 JSD - log 4: return the JSD alone.",
            lambda log_p, log_q, dx: 2 * right(log_p, log_q, dx) - math.log(4),
        ),
        (
            "the widths dx are missing: a sum becomes an integral when each term is multiplied by its "
            "cell.",
            lambda log_p, log_q, dx: right(log_p, log_q, torch.ones_like(dx)),
        ),
        (
            "you use one width for all cells: they may differ, so multiply before you sum.",
            lambda log_p, log_q, dx: right(log_p, log_q, dx[:1]),
        ),
        (
            "this is the square root, which some libraries call the Jensen-Shannon distance: leave it "
            "out.",
            lambda log_p, log_q, dx: right(log_p, log_q, dx).sqrt(),
        ),
        (
            "these are bits: take natural logarithms.",
            lambda log_p, log_q, dx: right(log_p, log_q, dx) / math.log(2),
        ),
    ]
    with own_random_numbers(seed) as generator:

        def density(n: int, dx: Tensor) -> Tensor:
            log_p = normal(generator, n)
            return log_p - (log_p + dx.log()).logsumexp(0)

        cases = []
        for label, n in (("cells of different width", 6), ("more cells", 9)):
            dx = 0.2 + rand(n, generator=generator).to(torch.get_default_dtype())
            arguments = {"log_p": density(n, dx), "log_q": density(n, dx), "dx": dx}
            cases.append(Case(label, arguments))
        x = linspace(-70, 70, 141).to(dx)
        # far apart, with cells in between that neither density reaches
        apart = {
            "log_p": -0.5 * (x + 65).square() - HALF_LOG_2PI,
            "log_q": -0.5 * (x - 64.5).square() - HALF_LOG_2PI,
            "dx": torch.ones_like(x),
        }
        cases.append(Case("densities that never meet", apart))
        given = collect("jsd", answer, cases)
        if same(given[0][0], right(**cases[0].arguments)) and not isfinite(given[2][0]).all():
            raise Wrong(
                "where both densities round to 0 your result becomes NaN or infinite, by log 0 or 0/0: "
                "never leave log-space, `torch.logaddexp(log_p, log_q)` is log(p + q)."
            )
        judge("jsd", cases, given, right, mistakes)
    print("Right: half of each divergence from the mixture, between 0 and log 2.")


# ---------------------------------------------------------------- 5. two losses for the generator


def generator_losses(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `generator_losses(fake)`: $E \log(1 - D(G(z)))$ and $-E \log D(G(z))$, both to minimise.

    fake (n,) are the logits of fakes -> two numbers, the minimax loss and the non-saturating one.

    Example:
        >>> from course import checks
        >>> softplus = torch.nn.functional.softplus
        >>> checks.gan.generator_losses(lambda fake: (-softplus(fake).mean(), -softplus(-fake).mean()))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: your second loss is log D: ...
    """

    def minimax(fake: Tensor) -> Tensor:
        return -softplus(fake).mean()

    def non_saturating(fake: Tensor) -> Tensor:
        return softplus(-fake).mean()

    of_minimax: Mistakes = [
        (
            "the non-saturating loss comes first: return the minimax loss before it.",
            non_saturating,
        ),
        (
            "your minimax loss has the discriminator's sign, - log(1 - D): minimising that helps the "
            "discriminator. The generator minimises + log(1 - D).",
            lambda fake: softplus(fake).mean(),
        ),
        (
            "your minimax loss is log D: minimised, it would make D call the fakes fake. It is "
            "log(1 - D).",
            lambda fake: -softplus(-fake).mean(),
        ),
        (
            "your minimax loss is a sum: take the mean over the fakes.",
            lambda fake: -softplus(fake).sum(),
        ),
        (
            "your minimax loss is one number a fake: take the mean.",
            lambda fake: -softplus(fake),
        ),
        (
            "the logarithm in your minimax loss is missing: this is the mean of 1 - D.",
            lambda fake: sigmoid(-fake).mean(),
        ),
    ]
    of_non_saturating: Mistakes = [
        (
            "your second loss is log D: some lecture notes have the generator maximise -log D, but that "
            "makes its fakes worse. It minimises -log D.",
            lambda fake: -softplus(-fake).mean(),
        ),
        (
            "your second loss wants the fakes called fake: that is the discriminator's wish. The generator "
            "wants them called real, so the logit gets a minus inside softplus.",
            lambda fake: softplus(fake).mean(),
        ),
        (
            "both losses are the minimax loss: the second is -log D, not log(1 - D).",
            minimax,
        ),
        (
            "your second loss is a sum: take the mean over the fakes.",
            lambda fake: softplus(-fake).sum(),
        ),
        (
            "your second loss is 1 - D, without a logarithm: take -log D.",
            lambda fake: sigmoid(-fake).mean(),
        ),
        (
            "`F.binary_cross_entropy` cuts your second loss at 100, and its gradient with it, just where "
            "the generator needs it most: use softplus.",
            lambda fake: softplus(-fake).clamp(max=100).mean(),
        ),
    ]
    results = ("the minimax loss", "the non-saturating loss")
    with own_random_numbers(seed) as generator:
        cases = [
            Case(label, {"fake": shift + 2 * normal(generator, n)})
            for label, n, shift in (("random logits", 5, 0.0), ("fakes that D finds out", 3, -2.0))
        ]
        sure = normal(generator, 4)
        sure[0], sure[2] = SURE, -SURE
        cases.append(Case("a discriminator that is sure", {"fake": sure}))
        given = collect("generator_losses", answer, cases, results=results)
        _judge_each(
            "generator_losses",
            cases,
            given,
            ((minimax, of_minimax), (non_saturating, of_non_saturating)),
            results,
            "a probability rounds to 0 or 1 before its logarithm. softplus is safe for every logit.",
        )
        judge_gradient(
            "generator_losses",
            answer,
            cases[0],
            lambda fake: (minimax(fake), non_saturating(fake)),
            ["fake"],
        )
    print("Right: both want the fakes called real, and both are finite for every logit.")


def _judge_each(
    name: str,
    cases: Sequence[Case],
    given: Sequence[tuple[Tensor, ...]],
    parts: Sequence[tuple[Callable[..., Tensor], Mistakes]],
    results: Sequence[str],
    remedy: str,
) -> None:
    """Judge results of several one after the other, each with mistakes of its own.

    Args:
        name, cases, given, results: as in `judge`.
        parts: for each result the right function and its mistakes.
        remedy: what helps where the first case is right and the last, of sure logits, not finite.
    """
    for n, (right, _) in enumerate(parts):
        first = same(given[0][n], right(**cases[0].arguments))
        if first and not isfinite(given[-1][n]).all():
            raise Wrong(f"where D is sure, {results[n]} is infinite or NaN: {remedy}")
    judge_parts(name, cases, given, parts, results)


# ---------------------------------------------------------------- 6. how hard they pull


def slopes(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `slopes(fake)`: the derivatives of log(1 - D) and of -log D with respect to the logit.

    fake (n,) are logits -> two tensors (n,), one derivative for each fake by itself.

    Example:
        >>> from course import checks
        >>> checks.gan.slopes(lambda fake: (fake.sigmoid(), fake.sigmoid() - 1))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: the slope of the minimax loss has the wrong sign: ...
    """

    def minimax(fake: Tensor) -> Tensor:
        return -sigmoid(fake)

    def non_saturating(fake: Tensor) -> Tensor:
        return -sigmoid(-fake)

    of_minimax: Mistakes = [
        (
            "the slope of the minimax loss has the wrong sign: log(1 - D) falls when the logit rises.",
            lambda fake: sigmoid(fake),
        ),
        (
            "the slope of the non-saturating loss comes first: return that of the minimax loss before it.",
            non_saturating,
        ),
        (
            "for the minimax loss you differentiate with respect to D, - 1 / (1 - D): the logit comes "
            "before the sigmoid, so multiply by D (1 - D).",
            lambda fake: -1 / sigmoid(-fake),
        ),
        (
            "for the minimax loss this is the slope of 1 - D, without the logarithm: divide by 1 - D.",
            lambda fake: -sigmoid(fake) * sigmoid(-fake),
        ),
        (
            "your slopes are divided by the number of fakes: they are wanted for the loss of one fake, so "
            "differentiate the sum, not the mean.",
            lambda fake: -sigmoid(fake) / len(fake),
        ),
        (
            "this is the minimax loss itself: return its derivative.",
            lambda fake: -softplus(fake),
        ),
    ]
    of_non_saturating: Mistakes = [
        (
            "the slope of the non-saturating loss has the wrong sign: -log D falls when the logit rises.",
            lambda fake: sigmoid(-fake),
        ),
        (
            "for the non-saturating loss you differentiate with respect to D, - 1 / D: multiply by "
            "D (1 - D), the slope of the sigmoid.",
            lambda fake: -1 / sigmoid(fake),
        ),
        (
            "for the non-saturating loss this is the slope of 1 - D, without the logarithm: divide by D.",
            lambda fake: -sigmoid(fake) * sigmoid(-fake),
        ),
        (
            "your two slopes are the same: that of -log D is another.",
            minimax,
        ),
        (
            "this is the non-saturating loss itself: return its derivative.",
            lambda fake: softplus(-fake),
        ),
    ]
    results = ("the slope of the minimax loss", "the slope of the non-saturating loss")
    changed = (
        "you leave marks on the caller's logits (`requires_grad`, or a `.grad`): work on "
        "`fake.clone().requires_grad_()`."
    )
    with own_random_numbers(seed) as generator:
        cases = [
            Case(label, {"fake": shift + 2 * normal(generator, n)})
            for label, n, shift in (("random logits", 5, 0.0), ("fakes that D finds out", 3, -2.0))
        ]
        sure = normal(generator, 4)
        sure[1], sure[2] = SURE, -SURE
        cases.append(Case("a discriminator that is sure", {"fake": sure}))
        given = collect("slopes", answer, cases, results=results, changed=changed)
        _judge_each(
            "slopes",
            cases,
            given,
            ((minimax, of_minimax), (non_saturating, of_non_saturating)),
            results,
            "write it with `sigmoid`, or differentiate softplus.",
        )
    print("Right: one slope dies where D is sure of a fake, and the other is steepest there.")


# ---------------------------------------------------------------- 7. and 8. the two moves


class _Watched(nn.Module):
    """A small network that remembers what it was given."""

    def __init__(self, name: str, net: nn.Module, width: int):
        super().__init__()
        self.name, self.net, self.width = name, net, width
        self.seen: list[Tensor] = []
        self.with_graph = False

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != self.width:
            what = f"the shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise Wrong(f"`{self.name}` wants (n, {self.width}), and was given {what}.")
        self.seen.append(x.detach().clone())
        self.with_graph |= x.requires_grad
        return self.net(x)

    def saw(self, x: Tensor) -> bool:
        """Was every row of x among what it was given?"""
        rows = cat([*self.seen, x[:0]])
        return bool((rows[None] - x[:, None]).abs().amax(2).le(1e-5).any(1).all())


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return cat([x.detach().flatten() for x in tensors])


class _Game:
    """Two small networks with gradients left over from before, some data and some noise.

    `deal` hands out fresh copies with an optimizer for one of them, plain gradient descent. So a step
    ends where `after` says.
    """

    rate = 0.5

    def __init__(self, generator: torch.Generator, width: int, n: int, m: int):
        self.width = width
        self.x, self.z = 1 + normal(generator, n, width), normal(generator, m, width)
        self.nets = {
            "discriminator": nn.Sequential(
                nn.Linear(width, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0)
            ),
            "generator": nn.Sequential(nn.Linear(width, 4), nn.Tanh(), nn.Linear(4, width)),
        }
        for net in self.nets.values():
            for parameter in net.parameters():
                parameter.data = normal(generator, *parameter.shape)
                parameter.grad = normal(generator, *parameter.shape)

    def deal(self, player: str) -> tuple[dict[str, _Watched], torch.optim.Optimizer]:
        nets = {}
        for name, net in self.nets.items():
            fresh = copy.deepcopy(net)
            for old, new in zip(net.parameters(), fresh.parameters(), strict=True):
                new.grad = old.grad.clone() if old.grad is not None else None
            nets[name] = _Watched(name, fresh, self.width)
        return nets, torch.optim.SGD(nets[player].parameters(), lr=self.rate)

    def logits(self, *, noise: bool = False) -> tuple[Tensor, Tensor]:
        """What D says of the data and of the fakes, or of the noise in their place."""
        d, g = self.nets["discriminator"], self.nets["generator"]
        return d(self.x), d(self.z if noise else g(self.z))

    def after(
        self,
        player: str,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        downhill: Callable[[Tensor, Tensor], Tensor] | None = None,
        leftover: float = 0.0,
        moves: bool = True,
        noise: bool = False,
        late: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The loss, and the player's parameters after a step.

        Args:
            player: whose step it is.
            loss: of the logits of data and fakes.
            downhill: what the step makes smaller, if that is not the loss.
            leftover: how much of the old gradients is added.
            moves: False where the optimizer does nothing.
            noise: D is shown the noise in place of the fakes.
            late: the loss is computed after the step.
        """
        parameters = list(self.nets[player].parameters())
        value = loss(*self.logits(noise=noise))
        goal = (downhill or loss)(*self.logits(noise=noise))
        slopes = grad(goal, parameters, allow_unused=True, materialize_grads=True)
        moved = copy.deepcopy(self)
        for new, old, slope in zip(
            moved.nets[player].parameters(), parameters, slopes, strict=True
        ):
            junk = old.grad if old.grad is not None else zeros_like(old)
            new.data = old.data - moves * self.rate * (slope + leftover * junk)
        if late:
            value = loss(*moved.logits(noise=noise))
        return value.detach(), _flat(list(moved.nets[player].parameters()))


def _games(generator: torch.Generator) -> dict[str, _Game]:
    return {
        "points in the plane": _Game(generator, 2, 5, 4),
        "points in space, as many fakes as real ones": _Game(generator, 3, 4, 4),
    }


def _play(
    name: str, player: str, answer: Answer, label: str, game: _Game
) -> tuple[dict[str, _Watched], tuple[Tensor, Tensor]]:
    """One step by the student: the networks afterwards; the loss and the player's parameters."""
    nets, optimizer = game.deal(player)
    arguments = {**nets, "optimizer": optimizer, "x": game.x.clone(), "z": game.z.clone()}
    if player == "generator":
        del arguments["x"]
    loss = as_tensor(name, call(name, answer, Case(label, arguments)))
    for who, net in nets.items():
        if not all(parameter.requires_grad for parameter in net.parameters()):
            raise Wrong(
                f"you switch off the gradients of the {who} and leave them off, so it could never learn "
                "again: switch them on before you return, or do without."
            )
    other = "generator" if player == "discriminator" else "discriminator"
    if not same(_flat(list(nets[other].parameters())), _flat(list(game.nets[other].parameters()))):
        raise Wrong(
            f"the {other} moves too: this step changes the {player} alone, by the optimizer that is "
            "given."
        )
    return nets, (loss, _flat(list(nets[player].parameters())))


def _judge_step(
    name: str,
    player: str,
    answer: Answer,
    seed: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    mistakes: Mistakes,
    look: Callable[[_Game, dict[str, _Watched]], None],
    probe: Callable[[_Game, dict[str, _Watched]], str | None],
) -> None:
    """Let the student take a step of every GAN, and judge the loss and what becomes of the player.

    Args:
        name, answer, mistakes: as in `judge`; a mistake takes the game.
        player: whose step it is.
        seed: of the games.
        loss: the right one, of the logits of data and fakes.
        look: at the networks after a step, before it is judged; may raise `Wrong`.
        probe: as in `judge`, but asked with the game and the networks after the step.
    """
    with own_random_numbers(seed) as generator:
        games, given, watched = _games(generator), [], {}
        for label, game in games.items():
            watched[label], outcome = _play(name, player, answer, label, game)
            look(game, watched[label])
            given.append(outcome)
        judge(
            name,
            [Case(label, {"game": game}) for label, game in games.items()],
            given,
            lambda game: game.after(player, loss),
            mistakes,
            probe=lambda case, got, want: probe(games[case.label], watched[case.label]),
            results=("the loss", f"what becomes of {player[0].upper()}"),
        )


def discriminator_step(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `discriminator_step(discriminator, generator, optimizer, x, z)`: one update of D alone.

    `generator` maps noise z (m, d) to fakes, `discriminator` maps points (n, d) to logits (n,), and the
    optimizer holds the discriminator's parameters. Returned is the loss before the step. The generator
    must be as it was, its gradients included.

    Example:
        >>> from course import checks
        >>> checks.gan.discriminator_step(lambda discriminator, generator, optimizer, x, z: generator(z).sum())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: D never sees the real x.
    """
    name, player = "discriminator_step", "discriminator"

    def loss(real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean() + softplus(fake).mean()

    def real_half(real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean()

    mistakes: Mistakes = [
        (
            "the discriminator does not move: the order is `optimizer.zero_grad()`, `loss.backward()`, "
            "`optimizer.step()`.",
            lambda game: game.after(player, loss, moves=False),
        ),
        (
            "the gradients of the last generator step are still in D's parameters, and yours are added "
            "to them: call `optimizer.zero_grad()` before `backward`.",
            lambda game: game.after(player, loss, leftover=1.0),
        ),
        (
            "D learns nothing from the fakes: you detach what D says of them. Detach the fakes, before D "
            "sees them.",
            lambda game: game.after(player, loss, downhill=real_half),
        ),
        (
            "only the real half of the loss is there: D must see the fakes too.",
            lambda game: game.after(player, real_half),
        ),
        (
            "only the fake half of the loss is there: D must see the real x too.",
            lambda game: game.after(player, lambda real, fake: softplus(fake).mean()),
        ),
        (
            "D learns to call the fakes real and the data fake: real ones come first in your loss.",
            lambda game: game.after(
                player, lambda real, fake: softplus(real).mean() + softplus(-fake).mean()
            ),
        ),
        (
            "you train D on the generator's wish, that fakes are called real: take the discriminator's "
            "loss.",
            lambda game: game.after(player, lambda real, fake: softplus(-fake).mean()),
        ),
        (
            "you go uphill: the optimizer minimises, so give it the loss, not the value V(D, G).",
            lambda game: game.after(player, lambda real, fake: -loss(real, fake)),
        ),
        (
            "you show D the noise itself: a fake is what the generator makes of it.",
            lambda game: game.after(player, loss, noise=True),
        ),
        (
            "the step is right, but you return the loss after it: return the one you stepped on.",
            lambda game: game.after(player, loss, late=True),
        ),
    ]

    def look(game: _Game, nets: dict[str, _Watched]) -> None:
        before = _flat([p.grad for p in game.nets["generator"].parameters() if p.grad is not None])
        grads = [p.grad for p in nets["generator"].parameters() if p.grad is not None]
        if not grads or not _flat(grads).any():
            raise Wrong(
                "you clear the generator's gradients, which are not yours: detach the fakes, and none "
                "will arrive there."
            )
        if not same(_flat(grads), before):
            raise Wrong(
                "your loss sends a gradient into the generator, which should not hear of it: detach "
                "the fakes, `generator(z).detach()`."
            )

    def probe(game: _Game, nets: dict[str, _Watched]) -> str | None:
        if not nets["generator"].seen:
            return "the generator is never asked: the fakes are `generator(z)`."
        if not nets["generator"].saw(game.z):
            return "you draw noise of your own: give the generator the z that is handed to you."
        if not nets["discriminator"].saw(game.x):
            return "D never sees the real x."
        return None

    _judge_step(name, player, answer, seed, loss, mistakes, look, probe)
    print("Right: the discriminator moves, and the generator has not noticed.")


def generator_step(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `generator_step(discriminator, generator, optimizer, z)`: one update of G alone.

    As in `discriminator_step`, but the optimizer holds the generator's parameters, and the loss is the
    non-saturating one. What stands in the gradients of D afterwards does not matter.

    Example:
        >>> from course import checks
        >>> checks.gan.generator_step(lambda discriminator, generator, optimizer, z: discriminator(z).sum())
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: for points in the plane the loss of `generator_step` is wrong: ...
    """
    name, player = "generator_step", "generator"

    def loss(real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-fake).mean()

    mistakes: Mistakes = [
        (
            "the generator does not move: the order is `optimizer.zero_grad()`, `loss.backward()`, "
            "`optimizer.step()`.",
            lambda game: game.after(player, loss, moves=False),
        ),
        (
            "old gradients are still in the generator's parameters, and yours are added to them: call "
            "`optimizer.zero_grad()` before `backward`.",
            lambda game: game.after(player, loss, leftover=1.0),
        ),
        (
            "this is the minimax loss, log(1 - D), which stands still when D is sure: take the "
            "non-saturating one.",
            lambda game: game.after(player, lambda real, fake: -softplus(fake).mean()),
        ),
        (
            "your generator wants its fakes called fake, as the discriminator does: it wants them "
            "called real.",
            lambda game: game.after(player, lambda real, fake: softplus(fake).mean()),
        ),
        (
            "your generator maximises -log D, as some lecture notes say, and gets worse: it minimises "
            "-log D.",
            lambda game: game.after(player, lambda real, fake: -softplus(-fake).mean()),
        ),
        (
            "you step on the sum over the fakes: take the mean.",
            lambda game: game.after(player, lambda real, fake: softplus(-fake).sum()),
        ),
        (
            "you show D the noise itself, and the generator is not part of your loss: a fake is "
            "`generator(z)`.",
            lambda game: game.after(player, loss, noise=True, moves=False),
        ),
        (
            "the step is right, but you return the loss after it: return the one you stepped on.",
            lambda game: game.after(player, loss, late=True),
        ),
    ]

    def look(game: _Game, nets: dict[str, _Watched]) -> None:
        seen = nets["generator"].seen and nets["discriminator"].seen
        if seen and not nets["discriminator"].with_graph:
            raise Wrong(
                "your fakes are detached (`.detach()`, or `torch.no_grad()`), so no gradient reaches "
                "the generator: here it must go through D and into G."
            )

    def probe(game: _Game, nets: dict[str, _Watched]) -> str | None:
        if nets["generator"].seen and not nets["generator"].saw(game.z):
            return "you draw noise of your own: give the generator the z that is handed to you."
        return None

    _judge_step(name, player, answer, seed, loss, mistakes, look, probe)
    print("Right: the generator moves uphill in D's eyes, and D stands still.")


# ---------------------------------------------------------------- 9. counting modes


def hits(answer: Answer, *, seed: int = 0) -> None:
    r"""Check `hits(x, centers, radius)`: how many points belong to each mode, (M,).

    x (n, d), centers (M, d). A point belongs to its nearest center, if it lies within the radius of it.

    Example:
        >>> from course import checks
        >>> checks.gan.hits(lambda x, centers, radius: (torch.cdist(x, centers) <= radius).sum(0))
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: a point between two modes is counted for both: ...
    """

    def count(nearest: Tensor, centers: Tensor) -> Tensor:
        return nearest.bincount(minlength=len(centers))

    def right(x: Tensor, centers: Tensor, radius: float) -> Tensor:
        return by(cdist(x, centers), centers, radius)

    def by(distances: Tensor, centers: Tensor, radius: float) -> Tensor:
        distance, nearest = distances.min(dim=1)
        return count(nearest[distance <= radius], centers)

    def apart(x: Tensor, centers: Tensor) -> Tensor:
        return (x[:, None] - centers).abs()

    mistakes: Mistakes = [
        (
            "a point between two modes is counted for both: ask for the nearest center first.",
            lambda x, centers, radius: (cdist(x, centers) <= radius).sum(0),
        ),
        (
            "points far from every mode are counted too: ask whether the nearest center lies within the "
            "radius.",
            lambda x, centers, radius: count(cdist(x, centers).argmin(1), centers),
        ),
        (
            "you compare the squared distance with the radius: take its root, or square the radius.",
            lambda x, centers, radius: by(cdist(x, centers).square(), centers, radius),
        ),
        (
            "you add up the absolute differences of the coordinates: the distance is the root of the sum "
            "of their squares.",
            lambda x, centers, radius: by(apart(x, centers).sum(2), centers, radius),
        ),
        (
            "you ask each coordinate by itself, which makes a square of the disc: take the distance.",
            lambda x, centers, radius: by(apart(x, centers).amax(2), centers, radius),
        ),
        (
            "you say which modes are hit: return how many points hit each.",
            lambda x, centers, radius: right(x, centers, radius) > 0,
        ),
        (
            "you return the number of modes that are hit: return how many points hit each of them.",
            lambda x, centers, radius: (right(x, centers, radius) > 0).sum(),
        ),
        (
            "these are shares of all points: return the counts.",
            lambda x, centers, radius: right(x, centers, radius) / len(x),
        ),
        (
            "points beyond the radius are counted for mode 0: leave them out before you count.",
            lambda x, centers, radius: count(
                where(
                    cdist(x, centers).amin(1) <= radius,
                    cdist(x, centers).argmin(1),
                    0,
                ),
                centers,
            ),
        ),
        (
            "the last mode is missing from your counts, since no point hits it: `bincount` wants "
            "`minlength`.",
            lambda x, centers, radius: right(x, centers, radius)[
                : int(right(x, centers, radius).nonzero().max()) + 1
            ],
        ),
        (
            "you return a mode for each point: count the points of each mode.",
            lambda x, centers, radius: cdist(x, centers).argmin(1),
        ),
    ]
    with own_random_numbers(seed) as generator:
        cases = []
        for label, d, around, radius in (
            ("points in the plane", 2, (3, 5, 2, 4), 1.0),
            ("points on a line", 1, (4, 2, 3), 0.5),
            ("a last mode that nothing hits", 4, (2, 3, 4, 2, 0), 1.6),
        ):
            cases.append(Case(label, _scattered(generator, d, around, radius)))
        given = collect("hits", answer, cases, kind="any")
        judge("hits", cases, given, right, mistakes)
    print("Right: every point counts for its nearest mode, or for none.")


def _scattered(
    generator: torch.Generator, d: int, around: Sequence[int], radius: float
) -> dict[str, Tensor | float]:
    """Some points near each of several centers, some that two discs share, and strays.

    The centers lie on a line, 1.3 radii apart, so that neighbouring discs overlap.
    """
    centers = normal(generator, len(around), d)
    centers[:, 0] = 0
    centers = 0.01 * radius * centers
    centers[:, 0] = 1.3 * radius * torch.arange(len(around))
    points = []
    for center, n in zip(centers, around, strict=True):
        direction = normal(generator, n, d)
        direction = direction / direction.norm(dim=1, keepdim=True)
        points.append(center + direction * radius * (0.1 + 0.5 * rand(n, 1, generator=generator)))
    shared = 0.45 * centers[1] + 0.55 * centers[0]  # nearer to the first, in the discs of both
    # a square would hold it, a disc does not
    corner = centers[0] - 0.9 * radius * torch.ones(d).to(centers)
    # near by the sum of squares, not by the sum of absolute values
    slanted = centers[0] - 0.9 * radius / math.sqrt(d)
    strays = 3 * radius * torch.tensor([[1.0], [1.4], [2.0]]).to(centers)
    x = cat([*points, stack([shared, corner, slanted]), centers[0] - strays, centers[-1] + strays])
    return {
        "x": x[torch.randperm(len(x), generator=generator)],
        "centers": centers,
        "radius": radius,
    }
