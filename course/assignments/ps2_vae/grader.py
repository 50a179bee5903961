r"""The graders of problem set 2: how far a bound lies below the truth.

The prior is $N(m, s^2)$ in every dimension of a code, and m, s, the noise of the encoder and the threshold of
an active unit come from the variant. So every right function, and every mistake, is made from a variant.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, eye, logsumexp
from torch.nn.functional import softplus

from course.assignments.core import (
    Judge,
    Part,
    ProblemSet,
    Table,
    Task,
    Variant,
    all_results,
    extreme,
    gradients,
    ordinary,
    table_of,
    values,
    with_table,
)
from course.checking.core import Case, Wrong, as_tensor
from course.checking.questions import Outcome, Question
from genlib.data import binarise, load

EULER = 0.5772156649015329  # the mean of the standard Gumbel distribution
LOG_2PI = math.log(2 * math.pi)
PI = math.pi
NOISES = ("laplace", "logistic", "gumbel")


def variant(seed: int) -> dict[str, Any]:
    """The constants of a variant.

    Example:
        >>> variant(0)
        {'PRIOR_MEAN': -1.9, 'PRIOR_SCALE': 1.7, 'NOISE': 'gumbel', 'ACTIVE': 0.025}
    """
    generator = torch.Generator().manual_seed(seed)

    def one_of(choices: Sequence[Any]) -> Any:
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    return {
        "PRIOR_MEAN": one_of((-2.7, -2.3, -1.9, 1.9, 2.3, 2.7)),
        "PRIOR_SCALE": one_of((0.6, 0.7, 1.4, 1.7)),  # nobody takes the double for the square
        "NOISE": one_of(NOISES),
        "ACTIVE": one_of((0.025, 0.04, 0.08)),
    }


def of_variant(make: Callable[[Variant], Judge]) -> Judge:
    """A judge that is made anew for the variant at hand."""

    def judge(
        name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
    ) -> None:
        make(v)(name, questions, outcomes, v)

    return with_table(judge, lambda v: table_of(make(v), v))


def result(n: int, results: Sequence[str], judge: Judge) -> Judge:
    """A judge of one among several results."""

    def judge_one(
        name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
    ) -> None:
        for outcome in outcomes:
            if len(outcome.tensors) != len(results):
                raise Wrong(
                    f"`{name}` returns {len(outcome.tensors)} results where {len(results)} are wanted: "
                    f"{', '.join(results)}."
                )
        judge(name, questions, [Outcome(tensors=(x.tensors[n],)) for x in outcomes], v)

    def table(v: Variant) -> Table:
        def placed(wrong: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, ...]]:
            return all_results(lambda **named: wrong(**named)[0], n, len(results))

        return [(words, placed(wrong)) for words, wrong in table_of(judge, v)]

    return with_table(judge_one, table)


def one_judge(judges: Callable[[Variant], Sequence[Judge]], n: int, v: Variant) -> Judge:
    return judges(v)[n]


def by_place(
    right: Callable[..., Tensor],
    mistakes: Sequence[tuple[str, Callable[..., Tensor]]],
    probe: Callable[[Case, Tensor, Tensor], str | None] | None = None,
) -> Judge:
    """`values`, with functions that take their arguments by place and not by name."""

    def placed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda **named: function(*named.values())

    def finite(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """No answer agrees with NaN: what overflows is told so, whichever formula overflowed."""

        def kept(*arguments: Tensor) -> Tensor:
            made = function(*arguments)
            return made.where(torch.isfinite(made), torch.nan)

        return kept

    named = [(words, placed(finite(mistake))) for words, mistake in mistakes]
    return values(placed(right), named, probe=probe)


def normal(g: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)


def not_finite(case: Case, got: Tensor, want: Tensor) -> str | None:
    """A probe: what to say where numbers under- or overflow."""
    if torch.isfinite(got).all():
        return None
    return (
        f"for {case.label} a result is not finite: on the way a number is rounded to 0, or grows beyond "
        "what floating point can hold, before its logarithm is taken."
    )


# ---------------------------------------------------------------- 1. the price of a code


def kl_terms(v: Variant, mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(m, s^2)) of each entry by itself."""
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    return math.log(s) - log_std + ((2 * log_std).exp() + (mean - m) ** 2) / (2 * s**2) - 0.5


def kl(v: Variant, mean: Tensor, log_std: Tensor) -> Tensor:
    return kl_terms(v, mean, log_std).sum(dim=-1)


def kl_questions(g: torch.Generator, v: Variant) -> list[Question]:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]

    def question(
        label: str, *shape: int, dtype: torch.dtype = torch.float64, shift: float = 0.0
    ) -> Question:
        mean = m + 2 * s * normal(g, *shape, dtype=dtype)
        log_std = math.log(s) + 0.7 * normal(g, *shape, dtype=dtype) + shift
        return Question(label, {"mean": mean, "log_std": log_std}, ("mean", "log_std"))

    return [
        question("one code of one number", 1, 1),
        question("five codes of three numbers", 5, 3),
        question("codes in float32", 4, 8, dtype=torch.float32),
        question("several codes an image, (2, 3, 4)", 2, 3, 4),
        question("extremely narrow posteriors", 3, 2, dtype=torch.float32, shift=-60),
    ]


def kl_judge(v: Variant) -> Judge:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]

    def swapped(mean: Tensor, log_std: Tensor) -> Tensor:
        spread = s**2 + (mean - m) ** 2
        return (log_std - math.log(s) + spread / (2 * (2 * log_std).exp()) - 0.5).sum(dim=-1)

    return by_place(
        lambda mean, log_std: kl(v, mean, log_std),
        [
            (
                "you average over the latent dimensions, where the divergence of a code adds them up.",
                lambda mean, log_std: kl_terms(v, mean, log_std).mean(dim=-1),
            ),
            (
                "you average over the codes as well: every code has a divergence of its own.",
                lambda mean, log_std: kl(v, mean, log_std).mean(),
            ),
            (
                "you return one number for each latent dimension: the divergence of a code adds them up.",
                lambda mean, log_std: kl_terms(v, mean, log_std),
            ),
            (
                "this is the divergence from the standard normal distribution, the prior of the lesson, and not "
                "from the prior of this problem set.",
                lambda mean, log_std: kl({"PRIOR_MEAN": 0.0, "PRIOR_SCALE": 1.0}, mean, log_std),
            ),
            (
                "you centre the prior where the lesson does: PRIOR_MEAN plays no role.",
                lambda mean, log_std: kl({**v, "PRIOR_MEAN": 0.0}, mean, log_std),
            ),
            (
                "this is the divergence the other way round: of the prior from the posterior.",
                swapped,
            ),
            (
                "the divergence is not 0 where the posterior is the prior: is every factor 1/2 in its place?",
                lambda mean, log_std: (
                    2 * kl_terms(v, mean, log_std) - (math.log(s) - log_std)
                ).sum(dim=-1),
            ),
            (
                "this is twice the divergence: the 1/2 in front is missing.",
                lambda mean, log_std: 2 * kl(v, mean, log_std),
            ),
            (
                "you treat PRIOR_SCALE as a variance: it is a standard deviation.",
                lambda mean, log_std: kl({**v, "PRIOR_SCALE": math.sqrt(s)}, mean, log_std),
            ),
            (
                "you treat `log_std` as the logarithm of a variance: it is that of a standard deviation.",
                lambda mean, log_std: kl(v, mean, log_std / 2),
            ),
            (
                "the logarithm of the prior's scale is missing.",
                lambda mean, log_std: (kl_terms(v, mean, log_std) - math.log(s)).sum(dim=-1),
            ),
            (
                "the sign is wrong: a divergence is never negative.",
                lambda mean, log_std: -kl(v, mean, log_std),
            ),
        ],
        probe=not_finite,
    )


KL_VALUES = of_variant(kl_judge)  # one judge, so that two parts share its table
KL = Task(
    kl_questions,
    [
        Part(2, "the values", KL_VALUES, ordinary),
        Part(
            1,
            "the gradient",
            of_variant(lambda v: gradients(lambda mean, log_std: kl(v, mean, log_std))),
            ordinary,
        ),
        Part(1, "an extreme case", KL_VALUES, extreme),
    ],
)


# ---------------------------------------------------------------- 2 to 4. the linear model


def linear_model(
    g: torch.Generator, v: Variant, b: int, n: int, d: int, log_noise: float, spread: float = 1.0
) -> dict:
    """Parameters, and images that the model might have drawn."""
    weight, bias = normal(g, n, d) / v["PRIOR_SCALE"], normal(g, n)
    z = v["PRIOR_MEAN"] + spread * v["PRIOR_SCALE"] * normal(g, b, d)
    x = z @ weight.T + bias + math.exp(log_noise) * normal(g, b, n)
    noise = torch.tensor(log_noise, dtype=torch.float64)
    return {"x": x, "weight": weight, "bias": bias, "log_noise": noise}


def log_gaussian(difference: Tensor, covariance: Tensor) -> Tensor:
    """log N(difference; 0, covariance), (B, N) and (N, N) -> (B,)."""
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(factor, difference.T, upper=False)
    log_det = 2 * factor.diagonal().log().sum()
    return -0.5 * (white.square().sum(dim=0) + log_det + difference.shape[1] * LOG_2PI)


def log_evidence(v: Variant, x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    identity = eye(len(bias), dtype=x.dtype)
    covariance = s**2 * weight @ weight.T + (2 * log_noise).exp() * identity
    return log_gaussian(x - bias - m * weight.sum(dim=1), covariance)


def evidence_questions(g: torch.Generator, v: Variant) -> list[Question]:
    return [
        Question("one pixel and one latent", linear_model(g, v, 3, 1, 1, -0.4)),
        Question("four pixels and two latents", linear_model(g, v, 5, 4, 2, -0.7)),
        Question("three pixels and five latents", linear_model(g, v, 4, 3, 5, 0.3)),
        # of codes near the prior's mean, where what a wrong scale does to the two terms does not cancel
        Question("extremely many pixels", linear_model(g, v, 2, 300, 6, -6.0, spread=0.1)),
    ]


def evidence_judge(v: Variant) -> Judge:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]

    def with_prior(mean: float, scale: float) -> Callable[..., Tensor]:
        other = {"PRIOR_MEAN": mean, "PRIOR_SCALE": scale}
        return lambda x, weight, bias, log_noise: log_evidence(other, x, weight, bias, log_noise)

    def at_the_mean(x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
        return log_evidence({**v, "PRIOR_SCALE": 0.0}, x, weight, bias, log_noise)

    def no_constant(x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
        return log_evidence(v, x, weight, bias, log_noise) + 0.5 * x.shape[1] * LOG_2PI

    def one_constant(x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
        return no_constant(x, weight, bias, log_noise) - 0.5 * LOG_2PI

    def no_root(x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
        identity = eye(len(bias), dtype=x.dtype)
        covariance = s**2 * weight @ weight.T + (2 * log_noise).exp() * identity
        return log_evidence(v, x, weight, bias, log_noise) - 0.5 * torch.logdet(covariance)

    return by_place(
        lambda x, weight, bias, log_noise: log_evidence(v, x, weight, bias, log_noise),
        [
            (
                "this is the evidence under a standard normal prior, that of the lesson: ours has another mean and "
                "another scale.",
                with_prior(0.0, 1.0),
            ),
            (
                "the mean of x is not right: the codes have a mean too, and the weights carry it to the pixels.",
                with_prior(0.0, s),
            ),
            (
                "the scale of the prior plays no role in your covariance: wider codes spread the images more.",
                with_prior(m, 1.0),
            ),
            (
                "the scale of the prior stands in your covariance without its square.",
                with_prior(m, math.sqrt(s)),
            ),
            (
                "your covariance holds twice the prior's scale where its square belongs.",
                with_prior(m, math.sqrt(2 * s)),
            ),
            (
                "this is the likelihood of one code, the mean of the prior. The evidence counts all codes: they add to "
                "the covariance.",
                at_the_mean,
            ),
            (
                "you treat `log_noise` as the logarithm of a variance: it is that of a standard deviation.",
                lambda x, weight, bias, log_noise: log_evidence(v, x, weight, bias, log_noise / 2),
            ),
            (
                "the constant with 2 pi is missing: your density does not add up to one.",
                no_constant,
            ),
            (
                "the constant with 2 pi is counted once for an image, where every pixel has one.",
                one_constant,
            ),
            (
                "the logarithm of the determinant counts twice: mind the root in the density's normaliser.",
                no_root,
            ),
            (
                "the sign is wrong: a log-density is wanted, not a loss.",
                lambda *a: -log_evidence(v, *a),
            ),
            (
                "you average over the pixels, where the log-density of an image concerns all of them together.",
                lambda x, *a: log_evidence(v, x, *a) / x.shape[1],
            ),
            (
                "you return one number for the whole batch: every image has an evidence of its own.",
                lambda *a: log_evidence(v, *a).sum(),
            ),
            (
                "you return one number for the whole batch: every image has an evidence of its own.",
                lambda *a: log_evidence(v, *a).mean(),
            ),
        ],
        probe=not_finite,
    )


EVIDENCE_VALUES = of_variant(evidence_judge)  # one judge, so that two parts share its table
EVIDENCE = Task(
    evidence_questions,
    [
        Part(3, "the values", EVIDENCE_VALUES, ordinary),
        Part(1, "an extreme case", EVIDENCE_VALUES, extreme),
    ],
)


def posterior(
    v: Variant, x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (B, D) and covariance (D, D) of p(z | x), and log std (D,) of the best diagonal Gaussian."""
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    noise = (-2 * log_noise).exp()
    precision = noise * weight.T @ weight + eye(weight.shape[1], dtype=x.dtype) / s**2
    covariance = torch.linalg.inv(precision)
    mean = (noise * (x - bias) @ weight + m / s**2) @ covariance
    return mean, covariance, -0.5 * precision.diagonal().log()


POSTERIOR = ("the mean", "the covariance", "the log_std of the best diagonal Gaussian")


def posterior_questions(g: torch.Generator, v: Variant) -> list[Question]:
    return [
        Question("two pixels and one latent", linear_model(g, v, 3, 2, 1, -0.4)),
        Question("four pixels and two latents", linear_model(g, v, 5, 4, 2, -0.2)),
        Question("six pixels and three latents", linear_model(g, v, 4, 6, 3, 0.2)),
        Question("two pixels and four latents", linear_model(g, v, 4, 2, 4, 0.1)),
    ]


def posterior_judges(v: Variant) -> Sequence[Judge]:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]

    def changed(
        n: int, mean: float = m, scale: float = s, log_noise_times: float = 1.0
    ) -> Callable[..., Tensor]:
        other = {"PRIOR_MEAN": mean, "PRIOR_SCALE": scale}
        return lambda x, weight, bias, log_noise: posterior(
            other, x, weight, bias, log_noise_times * log_noise
        )[n]

    def no_bias(x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
        return posterior(v, x, weight, 0 * bias, log_noise)[0]

    def least_squares(x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
        return (x - bias) @ torch.linalg.pinv(weight).T

    def precision(x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
        return torch.linalg.inv(posterior(v, x, weight, bias, log_noise)[1])

    def marginal(x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
        return 0.5 * posterior(v, x, weight, bias, log_noise)[1].diagonal().log()

    def standard(n: int) -> tuple[str, Callable[..., Tensor]]:
        return (
            "this belongs to a standard normal prior, that of the lesson: ours has another mean and another scale.",
            changed(n, mean=0.0, scale=1.0),
        )

    def variance(n: int) -> tuple[str, Callable[..., Tensor]]:
        return (
            "you treat `log_noise` as the logarithm of a variance: it is that of a standard deviation.",
            changed(n, log_noise_times=0.5),
        )

    return [
        by_place(
            lambda *a: posterior(v, *a)[0],
            [
                standard(0),
                variance(0),
                (
                    "without any pixel the mean of the posterior must be that of the prior, and yours is zero.",
                    changed(0, mean=0.0),
                ),
                ("the bias of the decoder says nothing about the code: take it out of x.", no_bias),
                (
                    "this is the code that reconstructs x best, by least squares: the prior has no say in it.",
                    least_squares,
                ),
                ("the scale of the prior plays no role.", changed(0, scale=1.0)),
                (
                    "PRIOR_SCALE is a standard deviation: the posterior needs its square.",
                    changed(0, scale=math.sqrt(s)),
                ),
            ],
        ),
        by_place(
            lambda *a: posterior(v, *a)[1],
            [
                standard(1),
                variance(1),
                ("this is the precision, the inverse of the covariance.", precision),
                (
                    "PRIOR_SCALE is a standard deviation: the posterior needs its square.",
                    changed(1, scale=math.sqrt(s)),
                ),
            ],
        ),
        by_place(
            lambda *a: posterior(v, *a)[2],
            [
                (
                    "these are the standard deviations of the posterior's marginals. The Gaussian that minimises this "
                    "divergence is narrower where latents depend on each other: derive it, do not guess it.",
                    marginal,
                ),
                standard(2),
                variance(2),
                (
                    "these are logarithms of variances: log_std is wanted.",
                    lambda *a: 2 * posterior(v, *a)[2],
                ),
                (
                    "these are the standard deviations: their logarithms are wanted.",
                    lambda *a: posterior(v, *a)[2].exp(),
                ),
                (
                    "the sign is wrong: a precise posterior is narrow.",
                    lambda *a: -posterior(v, *a)[2],
                ),
            ],
        ),
    ]


POSTERIOR_TASK = Task(
    posterior_questions,
    [
        Part(2, title, result(n, POSTERIOR, of_variant(partial(one_judge, posterior_judges, n))))
        for n, title in enumerate(POSTERIOR)
    ],
)


def elbo_terms(
    v: Variant,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    log_noise: Tensor,
    mean: Tensor,
    log_std: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """log p(x | mean), what the spread of q takes from it, and the KL: each (B,)."""
    precision = (-2 * log_noise).exp()
    at_mean = -0.5 * precision * (x - bias - mean @ weight.T).square() - log_noise - 0.5 * LOG_2PI
    spread = 0.5 * precision * (2 * log_std).exp() @ weight.square().sum(dim=0)
    return at_mean.sum(dim=1), spread, kl(v, mean, log_std)


def elbo(v: Variant, *arguments: Tensor) -> Tensor:
    at_mean, spread, price = elbo_terms(v, *arguments)
    return at_mean - spread - price


def elbo_questions(g: torch.Generator, v: Variant) -> list[Question]:
    questions = []
    for label, sizes, log_noise in (
        ("one pixel and one latent", (3, 1, 1), -0.4),
        ("four pixels and two latents", (5, 4, 2), 0.3),
        ("six pixels and three latents", (4, 6, 3), -0.6),
        ("two pixels and four latents", (3, 2, 4), 0.2),
    ):
        model = linear_model(g, v, *sizes, log_noise)
        shape = sizes[0], sizes[2]
        mean = v["PRIOR_MEAN"] + v["PRIOR_SCALE"] * normal(g, *shape)
        log_std = math.log(v["PRIOR_SCALE"]) + 0.5 * normal(g, *shape)
        trained = ("weight", "bias", "log_noise", "mean", "log_std")
        questions.append(Question(label, {**model, "mean": mean, "log_std": log_std}, trained))
    return questions


def elbo_judge(v: Variant) -> Judge:
    standard = {"PRIOR_MEAN": 0.0, "PRIOR_SCALE": 1.0}

    def combine(a: float = 1, b: float = -1, c: float = -1) -> Callable[..., Tensor]:
        def combined(*arguments: Tensor) -> Tensor:
            one, two, three = elbo_terms(v, *arguments)
            return a * one + b * two + c * three

        return combined

    def pixels(x: Tensor, *a: Tensor) -> Tensor:
        one, two, three = elbo_terms(v, x, *a)
        return (one - two) / x.shape[1] - three

    def no_constant(x: Tensor, *a: Tensor) -> Tensor:
        return elbo(v, x, *a) + 0.5 * x.shape[1] * LOG_2PI

    def rows(
        x: Tensor, weight: Tensor, bias: Tensor, log_noise: Tensor, mean: Tensor, log_std: Tensor
    ) -> Tensor:
        one, _, three = elbo_terms(v, x, weight, bias, log_noise, mean, log_std)
        spread = ((log_std.exp() @ weight.T).square() * (-2 * log_noise).exp()).sum(dim=1)
        return one - 0.5 * spread - three

    return by_place(
        lambda *a: elbo(v, *a),
        [
            (
                "you decode the mean of q alone: the other codes that q allows reconstruct x less well, and that "
                "counts too.",
                combine(b=0),
            ),
            (
                "the spread of q makes the reconstruction worse: your sign says better.",
                combine(b=1),
            ),
            (
                "the price of the spread is twice what it should be: a 1/2 is missing.",
                combine(b=-2),
            ),
            (
                "you add up the spreads of the latents before squaring. Independent noises add their variances.",
                rows,
            ),
            ("this is the reconstruction term alone: codes cost something.", combine(c=0)),
            ("you add the divergence: a bound pays for it.", combine(c=1)),
            ("the sign is wrong: this is the loss, not the bound.", combine(-1, 1, 1)),
            (
                "the divergence is that from a standard normal prior.",
                lambda *a: elbo(standard, *a),
            ),
            ("you average over the pixels, where a log-likelihood adds them up.", pixels),
            (
                "the constant with 2 pi is missing, so this cannot be compared with the evidence.",
                no_constant,
            ),
            (
                "the constant with 2 pi is counted once for an image, where every pixel has one.",
                lambda *a: no_constant(*a) - 0.5 * LOG_2PI,
            ),
            (
                "you return one number for the whole batch: every image has a bound of its own.",
                lambda *a: elbo(v, *a).mean(),
            ),
            (
                "you return one number for the whole batch: every image has a bound of its own.",
                lambda *a: elbo(v, *a).sum(),
            ),
        ],
        probe=lambda case, got, want: (
            f"for {case.label} your result is near the bound and not equal to it, as an average over draws would "
            "be: derive the expectation."
            if torch.allclose(got.double(), want.double(), rtol=0.15, atol=0.5)
            else None
        ),
    )


ELBO = Task(
    elbo_questions,
    [
        Part(3, "the values", of_variant(elbo_judge)),
        Part(2, "the gradient", of_variant(lambda v: gradients(lambda *a: elbo(v, *a)))),
    ],
)


# ---------------------------------------------------------------- 5. which units die


def spectrum(x: Tensor, correction: int = 0) -> tuple[Tensor, Tensor]:
    """Eigenvalues of the covariance, falling, and eigenvectors as columns."""
    centred = x - x.mean(dim=0)
    eigenvalues, vectors = torch.linalg.eigh(centred.T @ centred / (len(x) - correction))
    return eigenvalues.flip(0), vectors.flip(1)


def sweep(
    v: Variant, x: Tensor, latent_dim: int, noises: Tensor, correction: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Squared error, KL, active units (K,), and each unit's share of the prior's variance (K, D)."""
    s, m = v["PRIOR_SCALE"], v["PRIOR_MEAN"]
    eigenvalues, vectors = spectrum(x, correction)
    eigenvalues, vectors = eigenvalues[:latent_dim], vectors[:, :latent_dim]
    errors, prices, shares = [], [], []
    for noise in noises:
        weight = vectors * (eigenvalues - noise**2).clamp(min=0).sqrt() / s
        bias = x.mean(dim=0) - m * weight.sum(dim=1)
        mean, _, log_std = posterior(v, x, weight, bias, noise.log())
        errors.append((x - bias - mean @ weight.T).square().sum(dim=1).mean())
        prices.append(kl(v, mean, log_std).mean())
        shares.append(mean.var(dim=0, correction=0) / s**2)
    share = torch.stack(shares)
    active = (share > v["ACTIVE"]).sum(dim=1).double()
    return torch.stack(errors), torch.stack(prices), active, share


def sweep_questions(g: torch.Generator, v: Variant) -> list[Question]:
    """Images with a chosen spectrum, so that no unit stands on the edge between dead and active.

    The first unit's share of the prior's variance takes values on both sides of the threshold, and of
    what a student may take for it.
    """
    active, s = v["ACTIVE"], v["PRIOR_SCALE"]
    taken = {active / s**2, active / s, 2 * active / s, active / s**4, active**2, 0.01}
    edges = sorted({active} | {x for x in taken if x < 0.5})
    between = [math.sqrt(a * b) for a, b in itertools.pairwise(edges)]
    shares = [-0.3, -0.02, edges[0] / 2, *between, 0.015, 0.04, 0.07, 0.3, 0.6, 0.9, 0.995]
    shares = [share for share in shares if abs(share / active - 1) > 0.06]
    shares.append(active * math.sqrt(4 / 5))  # of 5 images: dead, but not for who divides by B - 1
    questions = []
    for label, b, n, d in (
        ("5 images of 3 pixels, 2 latents", 5, 3, 2),
        ("20 images of 6 pixels, 4 latents", 20, 6, 4),
        ("15 images of 8 pixels, 8 latents", 15, 8, 8),
    ):
        eigenvalues = 5 * 0.45 ** torch.arange(n, dtype=torch.float64)
        columns = normal(g, b, n)
        columns = torch.linalg.qr(columns - columns.mean(dim=0))[0]
        vectors = torch.linalg.qr(normal(g, n, n))[0]
        x = math.sqrt(b) * columns * eigenvalues.sqrt() @ vectors.T + 2 * normal(g, n)
        noises = [math.sqrt(float(eigenvalues[0]) * (1 - share)) for share in shares]
        order = torch.randperm(len(noises), generator=g)
        stds = torch.tensor(noises, dtype=torch.float64)[order]
        questions.append(Question(label, {"x": x, "latent_dim": d, "noises": stds}))
    return questions


SWEEP = ("the squared error", "the divergence", "the number of active units")


def sweep_judges(v: Variant) -> Sequence[Judge]:
    s = v["PRIOR_SCALE"]

    def per(x: Tensor, d: int, noises: Tensor) -> Tensor:
        return sweep(v, x, d, noises)[0] / x.shape[1]

    def drawn_error(x: Tensor, d: int, noises: Tensor) -> Tensor:
        eigenvalues = spectrum(x)[0][:d]
        spread = [
            (noise**2 * (eigenvalues - noise**2) / eigenvalues).clamp(min=0).sum()
            for noise in noises
        ]
        return sweep(v, x, d, noises)[0] + torch.stack(spread)

    biased = (
        "your covariance is divided by one image less than there are: the model of highest likelihood divides by "
        "all of them, as the text says."
    )
    return [
        by_place(
            lambda *a: sweep(v, *a)[0],
            [
                (biased, lambda x, d, noises: sweep(v, x, d, noises, 1)[0]),
                (
                    "you average the squared error over the pixels, where an image adds them up.",
                    per,
                ),
                (
                    "you return a root: the squared error is wanted.",
                    lambda *a: sweep(v, *a)[0].sqrt(),
                ),
                (
                    "you add up the images: an average over them is wanted.",
                    lambda x, *a: sweep(v, x, *a)[0] * len(x),
                ),
                ("decode the mean of each posterior, not draws from it.", drawn_error),
                (
                    "your error ends where PCA's does, whatever the noise: the posterior mean is no projection.",
                    lambda x, d, noises: spectrum(x)[0][d:].sum().expand(len(noises)),
                ),
            ],
        ),
        by_place(
            lambda *a: sweep(v, *a)[1],
            [
                (biased, lambda x, d, noises: sweep(v, x, d, noises, 1)[1]),
                (
                    "you average the divergence over the latents, where a code adds them up.",
                    lambda x, d, noises: sweep(v, x, d, noises)[1] / d,
                ),
                (
                    "you add up the images: an average over them is wanted.",
                    lambda x, *a: sweep(v, x, *a)[1] * len(x),
                ),
            ],
        ),
        by_place(
            lambda *a: sweep(v, *a)[2],
            [
                (biased, lambda x, d, noises: sweep(v, x, d, noises, 1)[2]),
                (
                    "you count units whose posterior mean varies more than ACTIVE. The threshold is a share of the "
                    "prior's variance.",
                    lambda *a: (sweep(v, *a)[3] * s**2 > v["ACTIVE"]).sum(dim=1).double(),
                ),
                (
                    "in the variance of the posterior means you divide by one image less than there are: divide by B "
                    "here too.",
                    lambda x, *a: (
                        (sweep(v, x, *a)[3] * len(x) / (len(x) - 1) > v["ACTIVE"])
                        .sum(dim=1)
                        .double()
                    ),
                ),
                (
                    "you compare standard deviations with a threshold for variances.",
                    lambda *a: (sweep(v, *a)[3].sqrt() > v["ACTIVE"]).sum(dim=1).double(),
                ),
                (
                    "you count the units that do NOT vary.",
                    lambda *a: (sweep(v, *a)[3] <= v["ACTIVE"]).sum(dim=1).double(),
                ),
                (
                    "you return the share of active units: their number is wanted.",
                    lambda x, d, noises: sweep(v, x, d, noises)[2] / d,
                ),
                (
                    "you count with another threshold than ACTIVE.",
                    lambda *a: (sweep(v, *a)[3] > 0.01).sum(dim=1).double(),
                ),
                (
                    "you count units with any weight at all: measure how much their posterior mean varies.",
                    lambda *a: (sweep(v, *a)[3] > 1e-9).sum(dim=1).double(),
                ),
            ],
        ),
    ]


SWEEP_TASK = Task(
    sweep_questions,
    [
        Part(points, title, result(n, SWEEP, of_variant(partial(one_judge, sweep_judges, n))))
        for n, (points, title) in enumerate(zip((2, 1, 2), SWEEP, strict=True))
    ],
)


# ---------------------------------------------------------------- 6. a posterior with heavier tails


def unit_quantile(noise: str, u: Tensor, euler: float = EULER) -> Tensor:
    """Inverse distribution function of the noise with mean 0 and standard deviation 1."""
    if noise == "laplace":
        tail = torch.where(u < 0.5, u, 1 - u)
        return torch.where(u < 0.5, (2 * tail).log(), -(2 * tail).log()) / math.sqrt(2)
    if noise == "logistic":
        return (u.log() - torch.log1p(-u)) * math.sqrt(3) / PI
    return (-(-u.log()).log() - euler) * math.sqrt(6) / PI


def unit_log_density(noise: str, y: Tensor, euler: float = EULER) -> Tensor:
    """log density of the noise with mean 0 and standard deviation 1."""
    if noise == "laplace":
        return -math.sqrt(2) * y.abs() - math.log(2) / 2
    scale = (math.sqrt(3) if noise == "logistic" else math.sqrt(6)) / PI
    standard = y / scale
    if noise == "logistic":
        standard = standard.abs()
        return -standard - 2 * torch.log1p((-standard).exp()) - math.log(scale)
    standard = standard + euler
    return -standard - (-standard).exp() - math.log(scale)


def raw_std(noise: str) -> float:
    """The standard deviation of the standard form of the noise, which is not 1."""
    return {"laplace": math.sqrt(2), "logistic": PI / math.sqrt(3), "gumbel": PI / math.sqrt(6)}[
        noise
    ]


def raw_mean(noise: str) -> float:
    return EULER if noise == "gumbel" else 0.0


def draw(v: Variant, mean: Tensor, log_std: Tensor, u: Tensor, euler: float = EULER) -> Tensor:
    return mean + log_std.exp() * unit_quantile(v["NOISE"], u, euler)


def with_rounded(f: Callable[..., Tensor], v: Variant) -> list[tuple[str, Callable[..., Tensor]]]:
    """A function with Euler's constant rounded to 2 to 5 digits; more differ by less than is looked for."""
    words = (
        "your Euler's constant, the mean of the standard Gumbel distribution, is rounded too much: the table of "
        "task 7 has more digits."
    )
    digits = range(2, 6) if v["NOISE"] == "gumbel" else ()
    return [(words, partial(f, v, euler=round(EULER, n))) for n in digits]


def rounded_gradients(f: Callable[..., Tensor], v: Variant) -> Judge:
    """Of gradients, where a rounded constant costs the values alone."""
    as_good = [wrong for _, wrong in with_rounded(f, v)]
    return gradients(lambda *a: f(v, *a), as_good=as_good)


def draw_questions(g: torch.Generator, v: Variant) -> list[Question]:
    def question(
        label: str, k: int, b: int, d: int, dtype: torch.dtype = torch.float64
    ) -> Question:
        mean, log_std = normal(g, b, d, dtype=dtype), 0.6 * normal(g, b, d, dtype=dtype) - 0.3
        u = 0.02 + 0.96 * torch.rand(k, b, d, generator=g, dtype=torch.float64)
        arguments = {"mean": mean, "log_std": log_std, "u": u.to(dtype)}
        return Question(label, arguments, ("mean", "log_std"))

    edge = question("extreme uniform numbers", 2, 2, 3, torch.float32)
    u = torch.tensor([1e-30, 1e-12, 1 - 2**-24]).expand(2, 2, 3).contiguous()
    # far from zero, so that a constant rounded to three digits, which the values show, costs nothing here
    mean = torch.zeros(2, 3)
    near = question("wide draws near zero", 2, 1, 3)
    wide = torch.full((1, 3), 2.0, dtype=torch.float64)
    to_zero = -wide.exp() * unit_quantile(v["NOISE"], near.arguments["u"][0])
    return [
        question("one draw for one image", 1, 1, 1),
        question("draws for three images", 5, 3, 2),
        question("draws in float32", 4, 2, 6, torch.float32),
        Question(edge.label, {**edge.arguments, "mean": mean, "u": u}),
        Question(near.label, {**near.arguments, "mean": to_zero, "log_std": wide}, near.trained),
    ]


def draw_judge(v: Variant) -> Judge:
    noise = v["NOISE"]

    def standard_form(mean: Tensor, log_std: Tensor, u: Tensor) -> Tensor:
        return mean + log_std.exp() * (unit_quantile(noise, u) * raw_std(noise) + raw_mean(noise))

    def not_centred(mean: Tensor, log_std: Tensor, u: Tensor) -> Tensor:
        return draw(v, mean, log_std, u) + log_std.exp() * raw_mean(noise) / raw_std(noise)

    def not_scaled(mean: Tensor, log_std: Tensor, u: Tensor) -> Tensor:
        return mean + log_std.exp() * unit_quantile(noise, u) * raw_std(noise)

    # without a mean to take away these are the standard form, or right
    not_standard = [
        ("the noise has the right standard deviation, but its mean is not 0.", not_centred),
        ("the noise has mean 0, but its standard deviation is not 1.", not_scaled),
    ]
    others = [
        (
            f"your noise is {other}, not the one of this problem set.",
            partial(draw, {"NOISE": other}),
        )
        for other in NOISES
        if other != noise
    ]
    return by_place(
        lambda *a: draw(v, *a),
        [
            (
                "you move and stretch the standard form of the noise, whose standard deviation is not 1: these "
                "draws do not have the mean and the standard deviation that are asked for.",
                standard_form,
            ),
            *(not_standard if raw_mean(noise) else []),
            *with_rounded(draw, v),
            (
                "small u should give small codes: yours fall where u grows.",
                lambda mean, log_std, u: draw(v, mean, log_std, 1 - u),
            ),
            (
                "you stretch by the variance: the standard deviation is wanted.",
                lambda mean, log_std, u: draw(v, mean, 2 * log_std, u),
            ),
            (
                "you treat `log_std` as the logarithm of a variance: it is that of a standard deviation.",
                lambda mean, log_std, u: draw(v, mean, log_std / 2, u),
            ),
            (
                "you stretch by the logarithm of the standard deviation.",
                lambda mean, log_std, u: mean + log_std * unit_quantile(noise, u),
            ),
            (
                "your noise is Gaussian, not the one of this problem set.",
                lambda mean, log_std, u: mean + log_std.exp() * torch.special.ndtri(u),
            ),
            *others,
        ],
        probe=lambda case, got, want: (
            "near the edges of (0, 1) your draws are not right: what is rounded there, or cut off? The tails of "
            "a distribution live at the edges."
            if case.label.startswith("extreme")
            else None
        ),
    )


DRAW_VALUES = of_variant(draw_judge)  # one judge, so that two parts share its table
DRAW = Task(
    draw_questions,
    [
        Part(2, "the values", DRAW_VALUES, ordinary),
        Part(
            1,
            "the gradient",
            of_variant(partial(rounded_gradients, draw)),
            lambda question: bool(question.trained),
        ),
        Part(1, "an extreme case", DRAW_VALUES, extreme),
    ],
)


# ---------------------------------------------------------------- 7. a tighter bound


def log_prior(v: Variant, z: Tensor) -> Tensor:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    return (-0.5 * ((z - m) / s) ** 2 - math.log(s) - 0.5 * LOG_2PI).sum(dim=-1)


def log_q(v: Variant, z: Tensor, mean: Tensor, log_std: Tensor, euler: float = EULER) -> Tensor:
    y = (z - mean) * (-log_std).exp()
    return (unit_log_density(v["NOISE"], y, euler) - log_std).sum(dim=-1)


def log_weights(
    v: Variant,
    likelihood: Tensor,
    z: Tensor,
    mean: Tensor,
    log_std: Tensor,
    euler: float = EULER,
) -> Tensor:
    return likelihood + log_prior(v, z) - log_q(v, z, mean, log_std, euler)


def mean_in_logs(log_weight: Tensor) -> Tensor:
    return logsumexp(log_weight, dim=0) - math.log(len(log_weight))


def importance_bound(
    v: Variant,
    likelihood: Tensor,
    z: Tensor,
    mean: Tensor,
    log_std: Tensor,
    euler: float = EULER,
) -> Tensor:
    return mean_in_logs(log_weights(v, likelihood, z, mean, log_std, euler))


def bound_questions(g: torch.Generator, v: Variant) -> list[Question]:
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]

    def question(
        label: str,
        k: int,
        b: int,
        d: int,
        level: float = 5.0,
        dtype: torch.dtype = torch.float64,
        tail: float = 0.0,
        vary: float = 0.3,
    ) -> Question:
        mean = m + 0.5 * s * normal(g, b, d, dtype=dtype)
        log_std = math.log(0.4 * s) + vary * normal(g, b, d, dtype=dtype)
        u = 0.05 + 0.9 * torch.rand(k, b, d, generator=g, dtype=torch.float64).to(dtype)
        z = draw(v, mean, log_std, u)
        if tail:
            # on the other side of a Gumbel distribution is nothing at all
            side = (
                torch.ones(b, 1) if v["NOISE"] == "gumbel" else (-1.0) ** torch.arange(b)[:, None]
            )
            z = z + tail * side * log_std.exp()
        likelihood = -level + normal(g, k, b, dtype=dtype)
        arguments = {"log_likelihood": likelihood, "z": z, "mean": mean, "log_std": log_std}
        return Question(label, arguments, ("log_likelihood", "mean", "log_std"))

    # bounds of about 0, of codes on one side of q: nothing hides an error in its density
    near = question("bounds near zero", 2, 3, 5)
    _, z, mean, log_std = near.arguments.values()
    z = draw(v, mean, log_std, 0.9 + 0.02 * torch.rand(z.shape, generator=g, dtype=torch.float64))
    likelihood = log_q(v, z, mean, log_std) - log_prior(v, z) + 0.01 * normal(g, 2, 3)
    arguments = {**near.arguments, "z": z, "log_likelihood": likelihood}
    return [
        question("one draw for one image", 1, 1, 1),
        question("four draws for three images", 4, 3, 2),
        Question(near.label, arguments, near.trained),
        question("as many draws as images", 3, 3, 4),
        question("draws in float32", 16, 2, 5, dtype=torch.float32),
        question("extremely unlikely images", 8, 3, 4, level=5000.0, vary=0.05),
        question(
            "extreme codes, far in the tail of q",
            4,
            2,
            2,
            dtype=torch.float32,
            tail=120.0,
            vary=0.05,
        ),
    ]


def bound_judge(v: Variant) -> Judge:
    standard = {**v, "PRIOR_MEAN": 0.0, "PRIOR_SCALE": 1.0}

    def gaussian(likelihood: Tensor, z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        y = (z - mean) * (-log_std).exp()
        density = (-0.5 * y**2 - log_std - 0.5 * LOG_2PI).sum(dim=-1)
        return mean_in_logs(likelihood + log_prior(v, z) - density)

    def unscaled(likelihood: Tensor, z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        return mean_in_logs(log_weights(v, likelihood, z, mean, log_std) - log_std.sum(dim=-1))

    def standard_form(likelihood: Tensor, z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        std = raw_std(v["NOISE"])
        moved = mean + log_std.exp() * raw_mean(v["NOISE"])
        density = log_q(v, z, moved, log_std + math.log(std))
        return mean_in_logs(likelihood + log_prior(v, z) - density)

    return by_place(
        lambda *a: importance_bound(v, *a),
        [
            (
                "the mean of k weights is their sum divided by k: you leave the sum.",
                lambda *a: logsumexp(log_weights(v, *a), dim=0),
            ),
            (
                "you average the logarithms of the weights, which gives the ELBO again: take the logarithm of the "
                "average.",
                lambda *a: log_weights(v, *a).mean(dim=0),
            ),
            (
                "the weight lacks the prior of the codes.",
                lambda ll, z, mean, log_std: mean_in_logs(ll - log_q(v, z, mean, log_std)),
            ),
            (
                "the weight lacks q: codes that q draws often must count less.",
                lambda ll, z, mean, log_std: mean_in_logs(ll + log_prior(v, z)),
            ),
            (
                "you average the likelihoods alone: these codes come from q, not from the prior.",
                lambda ll, z, mean, log_std: mean_in_logs(ll),
            ),
            (
                "the prior and q have changed places.",
                lambda ll, z, mean, log_std: mean_in_logs(
                    ll - log_prior(v, z) + log_q(v, z, mean, log_std)
                ),
            ),
            (
                "the prior in your weight is the standard normal, that of the lesson.",
                lambda *a: importance_bound(standard, *a),
            ),
            ("the q in your weight is Gaussian, not the one that drew these codes.", gaussian),
            (
                "the density of q lacks its scale: a narrow density is high.",
                unscaled,
            ),
            (
                "your q is the standard form of the noise, moved and stretched: `mean` and `log_std` are those of the "
                "codes, and the standard form has another mean or standard deviation than 0 and 1.",
                standard_form,
            ),
            (
                "you average over the images as well: every image has a bound of its own.",
                lambda *a: importance_bound(v, *a).mean(),
            ),
            (
                "you average over the images, where the k draws of one image are meant.",
                lambda *a: logsumexp(log_weights(v, *a), dim=1) - math.log(a[0].shape[1]),
            ),
            (
                "the sign is wrong: this is the loss, not the bound.",
                lambda *a: -importance_bound(v, *a),
            ),
            *with_rounded(importance_bound, v),
        ],
        probe=not_finite,
    )


BOUND_VALUES = of_variant(bound_judge)  # one judge, so that two parts share its table
BOUND = Task(
    bound_questions,
    [
        Part(3, "the values", BOUND_VALUES, ordinary),
        Part(
            1,
            "the gradient",
            of_variant(partial(rounded_gradients, importance_bound)),
            ordinary,
        ),
        Part(1, "extreme cases", BOUND_VALUES, extreme),
    ],
)


# ---------------------------------------------------------------- 8. a trained model

STEP, RADIUS = 0.15, 4.2  # of the grid of codes, in scales of the prior
EVIDENCE_WANTED, BOUND_WANTED = -19.3, -20.6  # nats an image, on average over the test images


def model_questions(g: torch.Generator, v: Variant) -> list[Question]:
    """Codes before images, so that the decoder answers before it can know what it will be judged on."""
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    line = torch.arange(-RADIUS, RADIUS, STEP) + STEP * torch.rand((), generator=g)
    grid = torch.cartesian_prod(line, line)
    codes = m + s * grid[grid.norm(dim=1) < RADIUS]
    few = torch.randperm(len(codes), generator=g)[:50]
    x = binarise(load("digits", "test")).floats()
    some = torch.randperm(len(x), generator=g)[:20]
    return [
        Question("codes on a grid", {"what": "codes", "values": codes}),
        Question("some of these codes again", {"what": "codes", "values": codes[few]}),
        Question("the test images", {"what": "images", "values": x}),
        Question("some of these images again", {"what": "images", "values": x[some]}),
    ]


def measure(v: Variant, codes: Tensor, logits: Tensor, x: Tensor, mean: Tensor, log_std: Tensor):
    """log p(x) and the ELBO of each image, both by adding up over the grid: (B,) twice."""
    logits, x = logits.flatten(1).double(), x.flatten(1).double()
    codes, mean, log_std = codes.double(), mean.double(), log_std.double()
    likelihood = logits @ x.T - softplus(logits).sum(dim=1, keepdim=True)  # (n, B)
    area = (STEP * v["PRIOR_SCALE"]) ** 2
    evidence = logsumexp(likelihood + log_prior(v, codes)[:, None] + math.log(area), dim=0)
    y = (codes[:, None] - mean) * (-log_std).exp()  # (n, B, D)
    share = (-0.5 * y**2).sum(dim=2).softmax(dim=0)
    return evidence, (share * likelihood).sum(dim=0) - kl(v, mean, log_std)


def checked_outcomes(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome]
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, mean and log_std, when all of them can be judged."""
    shapes = []
    for question in questions:
        n = len(question.arguments["values"])
        shapes.append([(n, 1, 8, 8)] if question.arguments["what"] == "codes" else [(n, 2), (n, 2)])
    for question, outcome, wanted in zip(questions, outcomes, shapes, strict=True):
        got = [tuple(as_tensor(name, x).shape) for x in outcome.tensors]
        if got != wanted:
            raise Wrong(
                f"for {question.label} your networks return {got} where {wanted} is wanted."
            )
        if not all(torch.isfinite(x).all() for x in outcome.tensors):
            raise Wrong(f"for {question.label} your networks return numbers that are not finite.")
    return (*outcomes[0].tensors, *outcomes[2].tensors)  # type: ignore[return-value]


def judge_company(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    """What a network says of one input must not depend on the others, nor on chance."""
    checked_outcomes(name, questions, outcomes)
    for all_of, some in ((0, 1), (2, 3)):
        everything = questions[all_of].arguments["values"]
        asked_again = questions[some].arguments["values"]
        place = torch.stack(
            [(everything == one).flatten(1).all(dim=1).int().argmax() for one in asked_again]
        )
        for first, second in zip(outcomes[all_of].tensors, outcomes[some].tensors, strict=True):
            if not torch.allclose(first[place].double(), second.double(), rtol=1e-3, atol=1e-2):
                raise Wrong(
                    f"asked about {questions[some].label.replace(' again', '')} a second time, your network says "
                    "something else: is it still in training mode, or does it draw or normalise over the batch?"
                )


def judge_evidence(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    logits, mean, log_std = checked_outcomes(name, questions, outcomes)
    codes, x = questions[0].arguments["values"], questions[2].arguments["values"]
    evidence = measure(v, codes, logits, x, mean, log_std)[0].mean()
    if evidence >= EVIDENCE_WANTED:
        return
    words = ""
    if logits.min() >= 0 and logits.max() <= 1:
        words = (
            " Your decoder returns numbers between 0 and 1: logits are wanted, not probabilities."
        )
    elif ((mean.double().mean(dim=0) - v["PRIOR_MEAN"]) / v["PRIOR_SCALE"]).abs().max() > 0.7:
        words = " The codes of your encoder lie elsewhere than the prior of this problem set."
    elif evidence < -24.5:
        words = " Independent pixels do as well: what in the images does your decoder learn from the code?"
    else:
        words = " Is it trained by the bound, with both of its terms?"
    raise Wrong(
        f"the test images have {evidence:.1f} nats, and at least {EVIDENCE_WANTED} are wanted.{words}"
    )


def judge_bound(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
) -> None:
    logits, mean, log_std = checked_outcomes(name, questions, outcomes)
    codes, x = questions[0].arguments["values"], questions[2].arguments["values"]
    bound = measure(v, codes, logits, x, mean, log_std)[1].mean()
    if bound >= BOUND_WANTED:
        return
    words = (
        " Does the encoder return the logarithm of a standard deviation, and is the KL in the loss?"
    )
    for change, found in (
        (
            log_std / 2,
            " It would be higher if your `log_std` were half as large: is it a log variance?",
        ),
        (
            log_std.abs().clamp(min=1e-8).log(),
            " Is your `log_std` a standard deviation, without the logarithm?",
        ),
    ):
        if measure(v, codes, logits, x, mean, change)[1].mean() >= BOUND_WANTED:
            words = found
            break
    raise Wrong(f"the bound is {bound:.1f} nats, and at least {BOUND_WANTED} are wanted.{words}")


MODEL = Task(
    model_questions,
    [
        Part(1, "the same answer in any company", judge_company),
        Part(3, "the evidence of test images", judge_evidence),
        Part(3, "the bound on test images", judge_bound),
    ],
)


PROBLEM_SET = ProblemSet(
    "ps2_vae",
    variant,
    {
        "kl": KL,
        "log_evidence": EVIDENCE,
        "posterior": POSTERIOR_TASK,
        "linear_elbo": ELBO,
        "sweep": SWEEP_TASK,
        "draw": DRAW,
        "importance_bound": BOUND,
        "model": MODEL,
    },
    seconds=240,
)
