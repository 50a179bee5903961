"""Problem set 2 under test: what its graders know, against brute force, and a bank of answers."""

import functools
import itertools
import math
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import (
    Gumbel,
    Independent,
    Laplace,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    Uniform,
    kl_divergence,
)
from torch.distributions.transforms import AffineTransform, SigmoidTransform

from course.assignments.bank import GraderBank, GradersOfAProblemSet
from course.assignments.core import grade
from course.assignments.ps2_vae import grader as graders
from course.checking.questions import Outcome, answer_questions, pack, unpack
from genlib.data import binarise, load

torch.set_num_threads(1)
VARIANTS = [graders.variant(seed) for seed in range(4)]
EULER = 0.5772156649
bank = GraderBank("ps2_vae", trained="model")


# ---------------------------------------------------------------- 1. kl


def price(mean, log_std, m, s):
    """Of each latent, as a student derives it."""
    ratio = (log_std - math.log(s)).exp()
    return 0.5 * (ratio**2 + ((mean - m) / s) ** 2 - 1) - (log_std - math.log(s))


@bank.right("kl")
def kl_by_ratios(v):
    return lambda mean, log_std: price(mean, log_std, v["PRIOR_MEAN"], v["PRIOR_SCALE"]).sum(-1)


@bank.wrong("kl", loses=4, says="is wrong")
def kl_doubles_for_squares(v):
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    return lambda mean, log_std: (
        (torch.exp(2 * log_std) + (mean - m) ** 2) / (2 * 2 * s) - 0.5 + math.log(s) - log_std
    ).sum(-1)


@bank.wrong(
    "kl",
    loses=1,
    says="an extreme case (-1): for very narrow posteriors the result of `kl` is infinite",
)
def kl_underflows(v):
    def kl(mean, log_std):
        prior = Normal(torch.full_like(mean, v["PRIOR_MEAN"]), v["PRIOR_SCALE"])
        return kl_divergence(Normal(mean, log_std.exp()), prior).sum(-1)

    return kl


@bank.wrong("kl", loses=1, says="the gradient of `log_std` is not right")
def kl_half_detached(v):
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
    return lambda mean, log_std: (
        ((2 * log_std.detach()).exp() + (mean - m) ** 2) / (2 * s**2) - 0.5 + math.log(s) - log_std
    ).sum(-1)


# ---------------------------------------------------------------- 2. log_evidence


def evidence_with(v, log_det, mean=0.0):
    def log_evidence(x, weight, bias, log_noise):
        n = len(bias)
        c = v["PRIOR_SCALE"] ** 2 * weight @ weight.T + torch.diag((2 * log_noise).exp().expand(n))
        r = x - bias - (v["PRIOR_MEAN"] + mean) * weight.sum(1)
        mahalanobis = (r * torch.linalg.solve(c, r.T).T).sum(1)
        return -0.5 * (mahalanobis + log_det(c) + n * math.log(2 * math.pi))

    return log_evidence


@bank.right("log_evidence")
def evidence_by_slogdet(v):
    return evidence_with(v, lambda c: torch.linalg.slogdet(c)[1])


@bank.wrong("log_evidence", loses=1, says="a number is rounded to 0")
def evidence_by_det(v):
    return evidence_with(v, lambda c: torch.linalg.det(c).log())


@bank.wrong("log_evidence", loses=4, says="is wrong")
def evidence_of_last_year(v):
    return evidence_with(v, torch.logdet, mean=0.5)


# ---------------------------------------------------------------- 3. posterior


@bank.right("posterior")
def posterior_by_gain(v):
    """In the space of pixels, as a Kalman filter does."""

    def posterior(x, weight, bias, log_noise):
        m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]
        identity = torch.eye(len(bias), dtype=x.dtype)
        of_x = s**2 * weight @ weight.T + torch.exp(log_noise) ** 2 * identity
        gain = s**2 * weight.T @ torch.linalg.inv(of_x)  # (D, N)
        mean = m + (x - bias - m * weight.sum(1)) @ gain.T
        covariance = s**2 * (torch.eye(weight.shape[1], dtype=x.dtype) - gain @ weight)
        return mean, covariance, -0.5 * torch.linalg.inv(covariance).diagonal().log()

    return posterior


@bank.wrong("posterior", loses=6, says="returns 2: return 3 tensors")
def posterior_without_widths(v):
    return lambda *arguments: posterior_by_gain(v)(*arguments)[:2]


# ---------------------------------------------------------------- 4. linear_elbo


def elbo_of(v, at_mean, spread):
    """From the density at the mean code, and the squared size of what q's spread does to the pixels."""

    def linear_elbo(x, weight, bias, log_noise, mean, log_std):
        moved = at_mean(Normal(mean @ weight.T + bias, log_noise.exp()).log_prob(x).sum(1))
        cost = spread(((2 * log_std).exp() @ weight.T**2).sum(1)) / (2 * (2 * log_noise).exp())
        paid = price(mean, log_std, v["PRIOR_MEAN"], v["PRIOR_SCALE"]).sum(1)
        return moved - cost - paid

    return linear_elbo


def as_it_is(x):
    return x


@bank.right("linear_elbo")
def elbo_by_entropy(v):
    """Expected joint density plus the entropy of q."""

    def linear_elbo(x, weight, bias, log_noise, mean, log_std):
        bounds = []
        for one, mu, log_tau in zip(x, mean, log_std, strict=True):
            var = torch.diag((2 * log_tau).exp())
            squared = (one - bias - weight @ mu).square().sum() + torch.trace(
                weight @ var @ weight.T
            )
            likelihood = -squared / (2 * (2 * log_noise).exp())
            likelihood = likelihood - len(one) * (log_noise + 0.5 * math.log(2 * math.pi))
            prior = Normal(v["PRIOR_MEAN"], v["PRIOR_SCALE"])
            expected = prior.log_prob(mu) - (2 * log_tau).exp() / (2 * v["PRIOR_SCALE"] ** 2)
            entropy = log_tau + 0.5 * math.log(2 * math.pi * math.e)
            bounds.append(likelihood + (expected + entropy).sum())
        return torch.stack(bounds)

    return linear_elbo


@bank.wrong("linear_elbo", loses=2, says="the gradient of `weight` is not right")
def elbo_detached_spread(v):
    return elbo_of(v, as_it_is, torch.Tensor.detach)


@bank.wrong("linear_elbo", loses=2, says="no gradient reaches `bias`")
def elbo_detached_mean(v):
    return elbo_of(v, torch.Tensor.detach, as_it_is)


@bank.wrong("linear_elbo", loses=5, says="derive the expectation")
def elbo_by_drawing(v):
    def linear_elbo(x, weight, bias, log_noise, mean, log_std):
        z = mean + log_std.exp() * torch.randn(3000, *mean.shape, dtype=x.dtype)
        likelihood = Normal(z @ weight.T + bias, log_noise.exp()).log_prob(x).sum(-1).mean(0)
        return likelihood - price(mean, log_std, v["PRIOR_MEAN"], v["PRIOR_SCALE"]).sum(1)

    return linear_elbo


# ---------------------------------------------------------------- 5. sweep


@bank.right("sweep")
def sweep_in_closed_form(v):
    """Everything from the eigenvalues: KL log(lambda / noise^2) / 2 of each living latent, and so on."""

    def sweep(x, latent_dim, noises):
        spectrum = torch.linalg.svdvals(x - x.mean(0)) ** 2 / len(x)
        used, var = spectrum[:latent_dim], noises[:, None] ** 2
        lives = used > var
        error = torch.where(lives, var**2 / used, used).sum(1) + spectrum[latent_dim:].sum()
        paid = torch.where(lives, 0.5 * (used / var).log(), 0).sum(1)
        return error, paid, ((1 - var / used) > v["ACTIVE"]).sum(1).to(x.dtype)

    return sweep


@bank.wrong("sweep", loses=1, says="`sweep` is wrong")
def sweep_of_living_latents_with_a_factor(v):
    def sweep(*arguments):
        error, paid, active = sweep_in_closed_form(v)(*arguments)
        return error, paid + 0.1 * active, active

    return sweep


@bank.wrong("sweep", loses=5, says="contains NaN")
def sweep_roots_of_negative_numbers(v):
    def sweep(x, latent_dim, noises):
        eigenvalues, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))
        eigenvalues, vectors = eigenvalues.flip(0)[:latent_dim], vectors.flip(1)[:, :latent_dim]
        rows = []
        for noise in noises:
            w = vectors * (eigenvalues - noise**2).sqrt() / v["PRIOR_SCALE"]
            rows.append(w.sum() * torch.ones(3, dtype=x.dtype))
        return tuple(torch.stack(rows).T)

    return sweep


# ---------------------------------------------------------------- 7. draw


def of_torch(noise, mean, std):
    """The same family from torch.distributions, with this mean and standard deviation."""
    if noise == "laplace":
        return Laplace(mean, std / math.sqrt(2))
    if noise == "gumbel":
        scale = std * math.sqrt(6) / math.pi
        return Gumbel(mean - scale * EULER, scale)
    base = Uniform(torch.zeros_like(mean), torch.ones_like(mean))
    transforms = [SigmoidTransform().inv, AffineTransform(mean, std * math.sqrt(3) / math.pi)]
    return TransformedDistribution(base, transforms)


def standard_quantile(noise, u):
    if noise == "laplace":
        return torch.where(u < 0.5, torch.log(2 * u), -torch.log(2 * (1 - u)))
    return torch.log(u) - torch.log(1 - u) if noise == "logistic" else -torch.log(-torch.log(u))


def moments(noise):
    return {
        "laplace": (0, math.sqrt(2)),
        "logistic": (0, math.pi / math.sqrt(3)),
        "gumbel": (EULER, math.pi / math.sqrt(6)),
    }[noise]


def drawn(v, change=as_it_is):
    def draw(mean, log_std, u):
        center, spread = moments(v["NOISE"])
        return mean + change(log_std.exp()) * (standard_quantile(v["NOISE"], u) - center) / spread

    return draw


@bank.right("draw")
def draw_standardised(v):
    return drawn(v)


@bank.wrong("draw", loses=1, says="no gradient reaches `log_std`")
def draw_detached(v):
    return drawn(v, torch.Tensor.detach)


@bank.wrong("draw", loses=1, says="no gradient reaches `mean`")
def draw_without_gradients(v):
    return torch.no_grad()(drawn(v))


# ---------------------------------------------------------------- 8. importance_bound


def log_density(noise, z, mean, log_std):
    """log q of each entry."""
    center, spread = moments(noise)
    log_scale = log_std - math.log(spread)
    y = (z - mean) / log_scale.exp() + center
    if noise == "laplace":
        return -y.abs() - math.log(2) - log_scale
    if noise == "logistic":
        return F.logsigmoid(y) + F.logsigmoid(-y) - log_scale
    return -y - torch.exp(-y) - log_scale


def bound_with(v, mean, of_q=as_it_is):
    def importance_bound(log_likelihood, z, mean_of_q, log_std):
        prior = Normal(v["PRIOR_MEAN"], v["PRIOR_SCALE"]).log_prob(z).sum(-1)
        q = of_q(log_density(v["NOISE"], z, mean_of_q, log_std).sum(-1))
        return mean(log_likelihood + prior - q)

    return importance_bound


def log_mean_exp(log_weight):
    """The largest weight taken out, image by image."""
    largest = log_weight.max(0).values.detach()
    return largest + (log_weight - largest).exp().mean(0).log()


@bank.right("importance_bound")
def bound_by_hand(v):
    return bound_with(v, log_mean_exp)


@bank.wrong("importance_bound", loses=1, says="Stay in log-space")
def bound_leaves_log_space(v):
    return bound_with(v, lambda log_weight: log_weight.exp().mean(0).log())


@bank.wrong("importance_bound", loses=1, says="no gradient reaches `mean`")
def bound_detached_q(v):
    return bound_with(v, log_mean_exp, torch.Tensor.detach)


# ---------------------------------------------------------------- 9. a trained model


@functools.cache
def digits():
    return binarise(load("digits"))


@functools.cache
def networks(kl_weight=1.0, updates=1400, wide=True):
    """Encoder and decoder of a small VAE, in units of the prior: the same for every variant."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        if wide:
            encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 4))
            body = nn.Linear(2, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 64)
        else:
            encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 4))
            body = nn.Linear(2, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 64)
        decoder = nn.Sequential(*body, nn.Unflatten(1, (1, 8, 8)))
        parameters = [*encoder.parameters(), *decoder.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=4e-3)
        done = 0
        while done < updates:
            for x, _ in digits().batches(64):
                for group in optimizer.param_groups:
                    group["lr"] = 5e-3 * min(1, 20 * done / updates + 0.05, 2 - 2 * done / updates)
                mean, log_std = encoder(x - 0.5).chunk(2, 1)
                q = Normal(mean, log_std.exp())
                logits = decoder(q.rsample())
                reconstruction = -F.binary_cross_entropy_with_logits(logits, x, reduction="none")
                paid = kl_divergence(q, Normal(torch.zeros_like(mean), 1.0)).sum(1)
                loss = (kl_weight * paid - reconstruction.sum((1, 2, 3))).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                done += 1
                if done >= updates:
                    break

    return encoder, decoder


def of_prior(v, **options):
    """`encode` and `decode` for codes of a variant's prior."""
    encoder, decoder = networks(**options)
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]

    def encode(x):
        mean, log_std = encoder(x - 0.5).chunk(2, 1)
        return m + s * mean, log_std + math.log(s)

    def decode(z):
        return decoder((z - m) / s)

    return encode, decode


def _asked(encode, decode):
    def answer(what, values):
        with torch.no_grad():
            return decode(values) if what == "codes" else encode(values)

    return answer


@bank.right("model")
def model_like_ours(v):
    return _asked(*of_prior(v))


@bank.right("model")
def model_with_other_networks(v):
    return _asked(*of_prior(v, wide=False))


@bank.wrong("model", loses=6, says="elsewhere than the prior of this problem set")
def model_with_the_standard_prior(v):
    encode, decode = of_prior(v)
    m, s = v["PRIOR_MEAN"], v["PRIOR_SCALE"]

    def standard(x):
        mean, log_std = encode(x)
        return (mean - m) / s, log_std - math.log(s)

    return _asked(standard, lambda z: decode(m + s * z))


@bank.wrong("model", loses=6, says="logits are wanted, not probabilities")
def model_of_probabilities(v):
    encode, decode = of_prior(v)
    return _asked(encode, lambda z: decode(z).sigmoid())


@bank.wrong("model", loses=3, says="is it a log variance")
def model_with_log_variances(v):
    encode, decode = of_prior(v)
    return _asked(lambda x: (encode(x)[0], 2 * encode(x)[1]), decode)


@bank.wrong("model", loses=3, says="Is your `log_std` a standard deviation")
def model_with_standard_deviations(v):
    encode, decode = of_prior(v)
    return _asked(lambda x: (encode(x)[0], encode(x)[1].exp()), decode)


@bank.wrong("model", loses=1, says="still in training mode")
def model_in_training_mode(v):
    encode, decode = of_prior(v)
    return _asked(encode, lambda z: decode(z) + 0.1 * torch.randn(len(z), 1, 8, 8))


@bank.wrong("model", loses=1, says="still in training mode")
def model_that_draws_its_codes(v):
    encode, decode = of_prior(v)

    def drawn(x):
        mean, log_std = encode(x)
        return mean + 0.3 * log_std.exp() * torch.randn_like(mean), log_std

    return _asked(drawn, decode)


@bank.wrong("model", loses=6, says="Independent pixels do as well")
def model_untrained(v):
    return _asked(*of_prior(v, updates=0))


@bank.wrong("model", loses=6, says="Independent pixels do as well")
def model_collapsed(v):
    return _asked(*of_prior(v, kl_weight=64.0, updates=100))


@bank.wrong("model", loses=6, says="trained by the bound, with both")
def model_without_kl(v):
    return _asked(*of_prior(v, kl_weight=0.0, updates=200))


@bank.wrong("model", loses=7, says="your networks return")
def model_of_flat_images(v):
    encode, decode = of_prior(v)
    return _asked(encode, lambda z: decode(z).flatten(1))


class TestGraders(GradersOfAProblemSet):
    bank = bank


# ---------------------------------------------------------------- what the graders know is true


@pytest.fixture(params=range(4), ids=lambda seed: f"variant {seed}")
def v(request):
    return VARIANTS[request.param]


def linear_case(v, n=3, d=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    return list(graders.linear_model(g, v, 4, n, d, -0.2).values())


def fine_grid(v, width=9.0, side=801):
    """Codes (side^2, 2) over the plane and the area that each stands for."""
    line = torch.linspace(-width, width, side, dtype=torch.float64)
    codes = v["PRIOR_MEAN"] + v["PRIOR_SCALE"] * torch.cartesian_prod(line, line)
    return codes, (2 * width / (side - 1) * v["PRIOR_SCALE"]) ** 2


def test_the_variants_tried_have_every_noise():
    assert {v["NOISE"] for v in VARIANTS} == set(graders.NOISES)


@pytest.mark.parametrize("seed", range(50))
def test_no_two_meanings_of_a_constant_share_a_value(seed):
    v = graders.variant(seed)
    m, s, active = v["PRIOR_MEAN"], v["PRIOR_SCALE"], v["ACTIVE"]
    for meanings in (
        (1.0, 2.0, s, s**2, 2 * s, s / 2, s**0.5, 1 / s, 1 / s**2, 2 * s**2),
        (0.0, m, -m, m**2, 2 * m, m * s, m / s, m / s**2),
        (active, active / s**2, active / s, 2 * active / s, active**2, active**0.5, 0.01),
    ):
        for one, other in itertools.combinations(meanings, 2):
            assert not math.isclose(one, other, rel_tol=0.01), (meanings, v)


def test_kl_agrees_with_torch(v):
    g = torch.Generator().manual_seed(0)
    mean, log_std = graders.normal(g, 5, 3), graders.normal(g, 5, 3)
    prior = Normal(torch.full_like(mean, v["PRIOR_MEAN"]), v["PRIOR_SCALE"])
    torch.testing.assert_close(
        graders.divergence(v, mean, log_std),
        kl_divergence(Normal(mean, log_std.exp()), prior).sum(1),
    )


def test_the_evidence_is_the_sum_over_all_codes(v):
    x, weight, bias, log_noise = linear_case(v)
    codes, area = fine_grid(v)
    likelihood = Normal(codes @ weight.T + bias, log_noise.exp())
    joint = torch.stack([likelihood.log_prob(one).sum(1) for one in x], 1)
    joint = joint + graders.log_prior(v, codes)[:, None]
    by_sum = joint.logsumexp(0) + math.log(area)
    torch.testing.assert_close(graders.evidence(v, x, weight, bias, log_noise), by_sum)


def test_the_posterior_is_that_of_bayes_rule(v):
    x, weight, bias, log_noise = linear_case(v, n=4, d=3)
    mean, covariance, _ = graders.bayes(v, x, weight, bias, log_noise)
    z = graders.normal(torch.Generator().manual_seed(1), 50, 1, 3)
    joint = Normal(z @ weight.T + bias, log_noise.exp()).log_prob(x).sum(-1)
    joint = joint + graders.log_prior(v, z)
    evidence = joint - MultivariateNormal(mean, covariance).log_prob(z)
    wanted = graders.evidence(v, x, weight, bias, log_noise)
    torch.testing.assert_close(evidence, wanted.expand(50, -1))


def test_the_gap_of_the_elbo_is_the_divergence_from_the_posterior(v):
    x, weight, bias, log_noise = linear_case(v, n=4, d=3)
    g = torch.Generator().manual_seed(2)
    mean, log_std = graders.normal(g, 4, 3), graders.normal(g, 4, 3)
    at, covariance, _ = graders.bayes(v, x, weight, bias, log_noise)
    q = MultivariateNormal(mean, torch.diag_embed((2 * log_std).exp()))
    gap = graders.evidence(v, x, weight, bias, log_noise) - graders.elbo(
        v, x, weight, bias, log_noise, mean, log_std
    )
    torch.testing.assert_close(gap, kl_divergence(q, MultivariateNormal(at, covariance)))


def test_no_diagonal_gaussian_does_better(v):
    case = linear_case(v, n=4, d=3)
    mean, _, log_std = graders.bayes(v, *case)
    best = graders.elbo(v, *case, mean, log_std.expand(4, 3))
    g = torch.Generator().manual_seed(3)
    for _ in range(50):
        near = mean + 0.02 * graders.normal(g, 4, 3)
        width = log_std + 0.02 * graders.normal(g, 4, 3)
        assert (graders.elbo(v, *case, near, width) < best).all()


def test_the_swept_model_has_the_highest_likelihood(v):
    [question] = graders.ask_sweep(v, torch.Generator().manual_seed(4))[1:2]
    x, d = question.arguments["x"], question.arguments["latent_dim"]
    values, vectors = graders.spectrum(x)
    noise = torch.tensor(0.7, dtype=torch.float64)
    weight = vectors[:, :d] * (values[:d] - noise**2).clamp(min=0).sqrt() / v["PRIOR_SCALE"]
    bias = x.mean(0) - v["PRIOR_MEAN"] * weight.sum(1)
    best = graders.evidence(v, x, weight, bias, noise.log()).mean()
    g = torch.Generator().manual_seed(5)
    for _ in range(50):
        other = weight + 0.03 * graders.normal(g, *weight.shape)
        moved = bias + 0.03 * graders.normal(g, *bias.shape)
        assert graders.evidence(v, x, other, moved, noise.log()).mean() < best


def test_no_unit_stands_on_the_edge_between_dead_and_active(v):
    for seed in range(5):
        for question in graders.ask_sweep(v, torch.Generator().manual_seed(seed)):
            share = graders.swept(v, *question.arguments.values())[3]
            assert ((share / v["ACTIVE"] - 1).abs() > 0.04).all()


def test_noise_has_mean_0_and_deviation_1_and_its_density():
    u = (torch.arange(2_000_000, dtype=torch.float64) + 0.5) / 2_000_000
    for noise in graders.NOISES:
        y = graders.unit_quantile(noise, u)
        assert abs(y.mean()) < 1e-4 and abs(y.std() - 1) < 1e-4
        between = graders.unit_log_density(noise, (y[1:] + y[:-1]) / 2).exp() * y.diff()
        torch.testing.assert_close(between[1000:-1000], u.diff()[1000:-1000], rtol=1e-3, atol=0)
        mean, std = torch.tensor(0.7).double(), torch.tensor(1.6).double()
        z = mean + std * y[::1000]
        ours = graders.unit_log_density(noise, (z - mean) / std) - std.log()
        torch.testing.assert_close(ours, of_torch(noise, mean, std).log_prob(z))


def test_importance_weights_average_to_the_evidence(v):
    x, weight, bias, log_noise = [t[:1] if n == 0 else t for n, t in enumerate(linear_case(v))]
    mean, _, log_std = graders.bayes(v, x, weight, bias, log_noise)
    log_std = log_std[None] + math.log(2)
    u = torch.rand(200_000, 1, 2, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    z = graders.drawn(v, mean, log_std, u)
    likelihood = Normal(z @ weight.T + bias, log_noise.exp()).log_prob(x).sum(-1)
    bound = graders.bound(v, likelihood, z, mean, log_std)
    wanted = graders.evidence(v, x, weight, bias, log_noise)
    torch.testing.assert_close(bound, wanted, rtol=0, atol=0.05)  # 200,000 draws leave about 0.01


def test_the_measure_of_a_decoder_that_ignores_its_code_is_exact(v):
    codes, _, images, _ = graders.ask_model(v, torch.Generator().manual_seed(7))
    codes, x = codes.arguments["values"], images.arguments["values"]
    logits = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(8))
    mean = torch.full((len(x), 2), v["PRIOR_MEAN"] + 0.3)
    log_std = torch.full((len(x), 2), math.log(v["PRIOR_SCALE"] / 2))
    evidence, bound = graders.measure(
        v, codes, logits.expand(len(codes), 1, 8, 8), x, mean, log_std
    )
    exact = -F.binary_cross_entropy_with_logits(logits.expand_as(x), x, reduction="none").sum(
        (1, 2, 3)
    )
    torch.testing.assert_close(evidence, exact.double(), rtol=0, atol=2e-3)  # the prior's far tail
    price_of_q = graders.divergence(v, mean.double(), log_std.double())
    torch.testing.assert_close(bound, exact.double() - price_of_q, rtol=0, atol=1e-4)


def test_the_measured_bound_lies_below_the_evidence_and_on_draws(v):
    encode, decode = of_prior(v)
    questions = graders.ask_model(v, torch.Generator().manual_seed(9))
    codes, x = questions[0].arguments["values"], questions[2].arguments["values"]
    with torch.no_grad():
        mean, log_std = encode(x)
        evidence, bound = graders.measure(v, codes, decode(codes), x, mean, log_std)
        draws = []
        for _ in range(100):
            logits = decode(mean + log_std.exp() * torch.randn_like(mean))
            draws.append(Independent(torch.distributions.Bernoulli(logits=logits), 3).log_prob(x))
    by_draws = torch.stack(draws).mean(0) - graders.divergence(v, mean, log_std)
    # where q is narrower than the step of the grid, the nearest code of it stands for q
    assert (bound <= evidence + 0.5).all() and bound.mean() < evidence.mean() - 0.5
    assert abs(by_draws.mean() - bound.mean()) < 0.1
    assert evidence.mean() - graders.EVIDENCE_WANTED > 0.5
    assert bound.mean() - graders.BOUND_WANTED > 0.4


def test_the_decoder_answers_before_images_are_shown(v):
    kinds = [q.arguments["what"] for q in graders.ask_model(v, torch.Generator())]
    assert kinds == sorted(kinds)


def test_the_release_holds_no_answer_and_no_rubric():
    root = Path(__file__).resolve().parents[3]
    release = nbformat.read(root / "notebooks/assignments/ps2_vae/ps2_vae.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in release.cells)
    for never in ("Rubric", "MARK SCHEME", "SOLUTION", "HIDDEN", "hand_in", "spread of q"):
        assert never not in text, never
    assert text.count("YOUR ANSWER HERE") == 2
    assert text.count("raise NotImplementedError()") == 8


# ---------------------------------------------------------------- what is a wrong constant, and what is detached


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("kl", "the - 1/2 of each latent is missing"),
        ("linear_elbo", "the constant with 2 pi is missing"),
        ("importance_bound", "you leave the sum"),
    ],
)
def test_a_wrong_constant_keeps_the_gradients_points_and_detached_does_not(task, words):
    factory = next(x for known, x in bank.known(task).items() if words in known)
    for variant in range(4):
        assert "the gradient" not in str(bank.verdict(task, factory, variant))

        def detached(v):
            answer = factory(v)
            return lambda *arguments: answer(*arguments).detach()

        assert "no gradient reaches" in str(bank.verdict(task, detached, variant))


def test_gradients_that_were_not_asked_for_are_refused_in_words():
    task = graders.PROBLEM_SET.tasks["kl"]
    v = VARIANTS[0]
    questions = task.questions(torch.Generator().manual_seed(0), v)
    outcomes = answer_questions("kl", kl_by_ratios(v), questions)
    for change in (lambda g: g[:1], lambda g: g[::-1], lambda g: (*g, *g)):
        forged = [replace(x, gradients=change(x.gradients)) for x in outcomes]
        assert "not the ones asked for" in str(grade(task, "kl", questions, forged, v))


def test_a_result_of_no_ordinary_numbers_is_refused_in_words():
    answer = bank.verdict("kl", lambda v: lambda mean, _: mean.sum(-1).to(torch.float8_e4m3fn))
    assert answer.points == 0 and "return ordinary numbers" in str(answer)


def test_words_that_no_file_takes_are_changed():
    [outcome], [flag] = unpack(pack([Outcome(words="a\ud800b")], ["\udfff"]))
    assert (outcome.words, flag) == ("a?b", "?")


@pytest.mark.parametrize(
    "gradients",
    [
        (("x", torch.ones(2)), ("x", torch.ones(2))),
        (("x", torch.ones(2, dtype=torch.int64)),),
        (("x", torch.ones(2).to(torch.float8_e4m3fn)),),
    ],
)
def test_forged_gradients_are_not_unpacked(gradients):
    with pytest.raises(ValueError, match="a gradient is"):
        unpack(pack([Outcome(tensors=(torch.ones(2),), gradients=gradients)]))


@pytest.mark.parametrize("huge", [10**30, -(10**30), 2**64])
def test_a_whole_number_that_no_tensor_holds_is_refused_in_words(huge):
    for result in (huge, (torch.ones(2), huge)):
        verdict = bank.verdict("kl", lambda v, result=result: lambda mean, _: result)
        assert verdict.points == 0 and "a whole number that no tensor can hold" in str(verdict)


@pytest.mark.parametrize("error", [ValueError, KeyError, NotImplementedError, SystemExit])
def test_whatever_stops_a_backward_of_ones_own_is_told(error):
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            raise error("not thought of")

    def factory(v):
        right = kl_by_ratios(v)
        return lambda mean, log_std: right(Own.apply(mean), log_std)

    verdict = bank.verdict("kl", factory)
    assert verdict.points == 1  # of the extreme case, where no gradient is asked for
    assert "backward stops" in str(verdict) and "not thought of" in str(verdict)
