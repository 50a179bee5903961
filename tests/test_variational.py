"""Theorems about autoencoders and VAEs: constants, bounds, and the optimum where it is known."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Independent, Normal, kl_divergence

from genlib.data import all_images, independent_pixels, load
from genlib.metrics import bars_kl
from genlib.training import fit
from genlib.validation import Shape
from genlib.variational import (
    MLP,
    VAE,
    Autoencoder,
    ConvDecoder,
    ConvEncoder,
    importance_bound,
    kl_to_standard_normal,
    log_prob_by_quadrature,
    split_kl,
)
from genlib.variational.likelihoods import (
    BernoulliPixels,
)

EACH_LIKELIHOOD = [
    ("bernoulli", 2),
    ("categorical", 5),
    ("gaussian", 5),
    ("dequantised_gaussian", 5),
]
LIKELIHOODS = pytest.mark.parametrize("likelihood, levels", EACH_LIKELIHOOD)
EXACT_LIKELIHOODS = pytest.mark.parametrize(
    "likelihood, levels, shape",
    [
        ("bernoulli", 2, (1, 2, 3)),
        ("categorical", 3, (2, 1, 2)),
        ("categorical", 2, (1, 2, 2)),
        ("gaussian", 3, (2, 1, 2)),
    ],
)


def per_value(likelihood: str, levels: int) -> int:
    return {"bernoulli": 1, "categorical": levels}.get(likelihood, 2)


def random_vae(likelihood: str, levels: int, shape: Shape, **more) -> VAE:
    """Two latents, small networks, and weights that make codes and images depend on each other."""
    n, p = math.prod(shape), per_value(likelihood, levels)
    networks = {"encoder": MLP((n, 8, 4)), "decoder": MLP((2, 8, p * n))}
    model = VAE(shape, latent_dim=2, likelihood=likelihood, levels=levels, **{**networks, **more})
    for network, std in ((model.encoder, 0.25), (model.decoder, 0.7)):  # codes stay near the prior
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=std)
    if likelihood == "gaussian":  # a scale that runs over decades gives averages no draw can find
        with torch.no_grad():
            for parameter in list(model.decoder.parameters())[-2:]:
                parameter[n:] *= 0.1
    return model.double()


class Says(nn.Module):
    """A network that returns the same parameter to every image or code, one row or one each."""

    def __init__(self, what: Tensor):
        super().__init__()
        self.what = nn.Parameter(what.clone())

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.what.expand(len(x), *self.what.shape[1:])


def blind_vae(likelihood: str, levels: int, shape: Shape, parameters: Tensor, **more) -> VAE:
    """q(z | x) is the prior and p(x | z) ignores z, so p(x) = p(x | z) and the bound is tight."""
    return VAE(shape, latent_dim=2, likelihood=likelihood, levels=levels, encoder=Says(torch.zeros(1, 4)),
               decoder=Says(parameters[None]), **more)  # fmt: skip


def plane(reach: float = 7.0, points: int = 71) -> tuple[Tensor, float]:
    """Codes on a square grid, (points^2, 1, 2), and the logarithm of the area of one of its cells."""
    axis = torch.linspace(-reach, reach, points, dtype=torch.double)
    return torch.cartesian_prod(axis, axis)[:, None], 2 * math.log(2 * reach / (points - 1))


# for smooth integrands a coarse plane does: log p(x) converges very fast
log_evidence = partial(log_prob_by_quadrature, reach=7.0, points=71)


def assert_close_to(mean_of: Tensor, expected: Tensor | float, dim: int = 0) -> None:
    """The mean of draws is what is expected, within 4 standard errors."""
    error = mean_of.std(dim=dim) / mean_of.shape[dim] ** 0.5
    assert ((mean_of.mean(dim=dim) - expected).abs() < 4 * error + 1e-9).all()


# The KL term. --------------------------------------------------------------------------------------


def test_the_kl_in_closed_form_is_that_of_torch_distributions():
    mean, log_std = torch.randn(2, 6, 5, dtype=torch.double)
    q = Independent(Normal(mean, log_std.exp()), 1)
    p = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_std), kl_divergence(q, p))


def test_the_kl_in_closed_form_is_the_mean_of_log_q_minus_log_p():
    model = random_vae("bernoulli", 2, (1, 2, 3))
    x = all_images(2, (1, 2, 3)).double()
    q, p = model.posterior(x), model.prior()
    z = q.sample((20_000,))
    kl = kl_divergence(q.base_dist, p.base_dist.expand((len(x), 2))).sum(dim=1)
    mean, log_std = q.base_dist.loc, q.base_dist.scale.log()
    assert_close_to(q.log_prob(z) - p.log_prob(z), kl_to_standard_normal(mean, log_std))
    torch.testing.assert_close(kl_to_standard_normal(mean, log_std), kl)


def test_the_kl_has_its_minimum_zero_at_the_prior():
    zeros = torch.zeros(3, 4)
    assert torch.equal(kl_to_standard_normal(zeros, zeros), torch.zeros(3))
    assert (kl_to_standard_normal(zeros, torch.full((3, 4), 0.1)) > 0).all()
    assert (kl_to_standard_normal(zeros, torch.full((3, 4), -0.1)) > 0).all()


def test_the_information_is_log_n_for_separate_codes_and_zero_for_equal_ones():
    prior = Independent(Normal(torch.zeros(2).double(), 30.0), 1)
    apart = torch.tensor([[0.0, 0.0], [40.0, 0.0], [0.0, 40.0], [40.0, 40.0], [80.0, 0.0]]).double()
    for mean, information in ((apart, math.log(5)), (torch.ones(5, 2).double(), 0.0)):
        q = Independent(Normal(mean, 0.5), 1)
        estimate, marginal = split_kl(q, prior, draws=4000)
        assert estimate == pytest.approx(information, abs=1e-12)
        kl = kl_divergence(q.base_dist, prior.base_dist).sum(dim=1).mean().item()
        assert marginal == pytest.approx(kl - information, abs=0.02)


def test_both_parts_of_the_kl_are_the_integrals_that_define_them():
    mean, std = torch.tensor([[-1.0], [0.3], [2.0]]).double(), torch.tensor([[0.3], [0.8], [0.5]])
    q, prior = Independent(Normal(mean, std.double()), 1), Independent(Normal(torch.zeros(1), 1), 1)
    z = torch.linspace(-10, 10, 4001).double()[:, None, None]
    log_q, log_p = q.log_prob(z), prior.log_prob(z.float())[:, 0].double()  # (4001, 3), (4001,)
    log_all = log_q.logsumexp(dim=1) - math.log(3)
    step = 20 / 4000
    information = (log_q.exp() * (log_q - log_all[:, None])).sum().item() * step / 3
    marginal = (log_all.exp() * (log_all - log_p)).sum().item() * step
    n = 40_000
    estimate = split_kl(q, prior, draws=n)
    assert estimate == pytest.approx((information, marginal), abs=4 / n**0.5)
    kl = kl_to_standard_normal(mean, std.double().log()).mean().item()
    assert information + marginal == pytest.approx(kl, abs=1e-4)
    assert 0.5 < information < math.log(3) and marginal > 0.1


# The evidence, the ELBO and the importance bound. ---------------------------------------------------


@EXACT_LIKELIHOODS
def test_probabilities_of_all_images_sum_to_one(likelihood: str, levels: int, shape: Shape):
    model = random_vae(likelihood, levels, shape)
    total = log_evidence(model, all_images(levels, shape).double()).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-6)


@EXACT_LIKELIHOODS
def test_samples_follow_the_evidence(likelihood: str, levels: int, shape: Shape):
    n = 20_000
    model, images = random_vae(likelihood, levels, shape), all_images(levels, shape).double()
    p = log_evidence(model, images).exp()
    assert p.max() > 4 * p.min()
    drawn = (model.sample(n)[:, None] - images).abs().flatten(2).amax(dim=2) < 1e-6
    frequency = drawn.double().mean(dim=0)
    assert ((frequency - p).abs() < 4 * (p * (1 - p) / n).sqrt()).all()


@EXACT_LIKELIHOODS
def test_the_elbo_is_the_evidence_less_the_kl_to_the_true_posterior(
    likelihood: str, levels: int, shape: Shape
):
    model, x = random_vae(likelihood, levels, shape), all_images(levels, shape)[::7].double()
    (z, log_area), q = plane(), model.posterior(x)
    log_p = log_evidence(model, x)
    log_q = q.log_prob(z)
    log_posterior = model.log_likelihood(x, z) + model.prior().log_prob(z) - log_p
    gap = (log_q.exp() * (log_q - log_posterior)).sum(dim=0) * math.exp(log_area)
    assert (gap > 0.01).all()
    with torch.no_grad():
        draws = torch.stack([model.elbo(x) for _ in range(3000)])
    assert_close_to(draws, log_p - gap)
    assert (draws.mean(dim=0) < log_p).all()


@EXACT_LIKELIHOODS
def test_the_importance_bound_grows_with_k_and_converges_to_the_evidence(
    likelihood: str, levels: int, shape: Shape
):
    model, x = random_vae(likelihood, levels, shape), all_images(levels, shape)[3:4].double()
    evidence = log_evidence(model, x).item()
    n = {1: 6000, 4: 6000, 16: 3000, 64: 1500}
    draws = {k: importance_bound(model, x.expand(n[k], -1, -1, -1), k=k) for k in n}
    with torch.no_grad():
        elbo = model.elbo(x.expand(6000, -1, -1, -1))
    assert_close_to(
        draws[1], elbo.mean()
    )  # both are estimates, which 4 standard errors leave room for
    means = [draws[k].mean().item() for k in n]
    assert means == sorted(means)
    # theorem 1 of arXiv:1509.00519, and at most 4 standard errors of luck
    assert means[-1] < evidence + 4 * draws[64].std().item() / n[64] ** 0.5
    assert importance_bound(model, x, k=100_000).item() == pytest.approx(evidence, abs=0.03)


def test_the_evidence_given_a_label_and_its_bounds():
    networks = {"encoder": MLP((4, 8, 4), n_classes=3), "decoder": MLP((2, 8, 4), n_classes=3)}
    model = random_vae("bernoulli", 2, (1, 2, 2), n_classes=3, **networks)
    for parameter in model.encoder.parameters():  # q(z | x) is the prior: few codes are enough
        nn.init.zeros_(parameter)
    x = all_images(2, (1, 2, 2)).double()
    for label in range(3):
        y = torch.full((len(x),), label)
        evidence = log_evidence(model, x, y=y)
        assert evidence.exp().sum().item() == pytest.approx(1, abs=1e-6)
        bound = importance_bound(model, x, k=20_000, y=y)
        torch.testing.assert_close(bound, evidence, atol=0.05, rtol=0)
    other = log_evidence(model, x, y=torch.zeros(len(x), dtype=torch.long))
    assert (evidence - other).abs().max() > 0.1


@pytest.mark.parametrize("k, at_once", [(1, 1), (7, 1), (7, 3), (7, 7), (7, 16), (50, 1000)])
def test_chunks_do_not_change_the_importance_bound(k: int, at_once: int):
    logits = torch.randn(6)
    model = blind_vae("bernoulli", 2, (1, 2, 3), logits).double()
    x = all_images(2, (1, 2, 3)).double()
    bound = importance_bound(model, x, k=k, at_once=at_once)
    torch.testing.assert_close(bound, -F.softplus((1 - 2 * x.flatten(1)) * logits).sum(dim=1))


def test_the_importance_bound_encodes_an_image_once_and_decodes_no_more_than_it_may():
    encoded, decoded = [], []
    model = VAE((1, 4, 4), latent_dim=2)
    model.encoder.register_forward_hook(lambda net, x, z: encoded.append(len(x[0])))
    model.decoder.register_forward_hook(lambda net, z, x: decoded.append(len(z[0])))
    bound = importance_bound(model, load("bars").floats(), k=25, at_once=60)
    assert bound.shape == (30,) and not bound.requires_grad
    assert sum(encoded) == 30
    assert sum(decoded) == 30 * 25 and max(decoded) <= 60


@pytest.mark.parametrize("k, at_once", [(0, 10), (10, 0)])
def test_a_bound_from_no_codes_is_refused(k: int, at_once: int):
    with pytest.raises(ValueError, match="at least 1"):
        importance_bound(VAE((1, 4, 4), latent_dim=2), IMAGE, k=k, at_once=at_once)


class LinearGaussian(nn.Module):
    """Mean W z + b, and one standard deviation for all values: probabilistic PCA's decoder."""

    def __init__(self, latent_dim: int, n: int):
        super().__init__()
        self.mean = nn.Linear(latent_dim, n)
        self.log_std = nn.Parameter(torch.tensor(-2.0))

    def forward(self, z: Tensor) -> Tensor:
        mean = self.mean(z)
        return torch.stack([mean, self.log_std.expand_as(mean)], dim=1)


def test_a_linear_gaussian_vae_learns_probabilistic_pca():
    n, d, levels = 6, 2, 256
    latent = torch.randn(400, d) @ (0.08 * torch.randn(d, n))
    x = (0.5 + latent + 0.03 * torch.randn(400, n)).clamp(0, 1)
    x = (x * (levels - 1)).round() / (levels - 1)

    # Tipping & Bishop (1999), equations 7 and 8: the maximum of the likelihood in closed form, of
    # the values with their noise, which has the variance of a uniform one on a cell
    noise = 1 / (12 * (levels - 1) ** 2)
    variances = torch.linalg.eigvalsh(x.T.cov(correction=0)).double() + noise  # ascending
    rest = variances[: n - d].mean()
    log_det = variances[n - d :].log().sum() + (n - d) * rest.log()
    exact = -0.5 * (n * math.log(2 * math.pi) + log_det + n) - n * math.log(levels - 1)

    model = VAE((1, 2, 3), latent_dim=d, likelihood="dequantised_gaussian", levels=levels,
                encoder=nn.Sequential(nn.Flatten(), nn.Linear(n, 2 * d)), decoder=LinearGaussian(d, n))  # fmt: skip
    x = x.view(-1, 1, 2, 3)
    steps = 1500
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = model.loss(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        elbo = torch.stack([model.elbo(x).mean() for _ in range(300)])
    error = elbo.std() / len(elbo) ** 0.5
    assert exact - 0.02 < elbo.mean() < exact + 4 * error
    assert error < 0.01
    scale = model.decoder.get_parameter("log_std").exp()
    assert scale.item() == pytest.approx(rest.sqrt().item(), rel=0.02)


def test_the_exact_kl_on_bars_lies_between_zero_and_what_the_bounds_say():
    bars = load("bars")
    model = VAE((1, 4, 4), latent_dim=2)
    untrained = bars_kl(lambda x: log_evidence(model, x))
    fit(model, bars, epochs=1000, batch_size=30, learning_rate=1e-2)
    with torch.no_grad():
        exact, finer = (
            bars_kl(partial(log_prob_by_quadrature, model, points=n)) for n in (121, 161)
        )
        x = bars.floats()
        by_elbo = -math.log(30) - torch.stack([model.elbo(x) for _ in range(300)]).mean().item()
        by_importance = -math.log(30) - importance_bound(model, x, k=5000).mean().item()
    assert exact == pytest.approx(finer, abs=1e-3)  # the sum over the plane has converged
    assert 0 < exact < 3 < 6 < untrained
    assert exact < by_elbo
    assert by_importance == pytest.approx(exact, abs=0.02)


# Gradients. -----------------------------------------------------------------------------------------


def test_gradients_by_reparameterisation_and_by_the_score_function_have_the_same_mean():
    n, shape = 100_000, (1, 1, 3)
    model = random_vae("bernoulli", 2, shape)
    x = torch.tensor([1.0, 0.0, 1.0]).double().expand(n, *shape)
    code = torch.tensor([0.7, -0.4, -0.3, 0.2]).double().expand(n, 4)  # mean and log std, twice
    model.encoder = Says(code)
    what = model.encoder.get_parameter("what")

    (by_path,) = torch.autograd.grad(model.elbo(x).sum(), what)
    q = model.posterior(x)
    z = q.sample()
    log_p = model.log_likelihood(x, z).detach()
    kl = kl_to_standard_normal(*what.chunk(2, dim=1))
    # any constant may be taken off log p(x | z), since the score has mean zero
    score_function = (log_p - log_p.mean()) * q.log_prob(z) - kl
    (by_score,) = torch.autograd.grad(score_function.sum(), what)

    error = ((by_path.var(dim=0) + by_score.var(dim=0)) / n).sqrt()
    difference = by_path.mean(dim=0) - by_score.mean(dim=0)
    assert (difference.abs() < 4 * error).all()
    assert (by_path.mean(dim=0).abs() > 8 * error).all()  # so a factor of 1.5 would be seen
    assert (by_path.var(dim=0) < by_score.var(dim=0)).all()  # and this is why VAEs train


def test_the_loss_trains_every_parameter():
    for likelihood, levels in EACH_LIKELIHOOD:
        model = VAE((1, 4, 4), latent_dim=3, likelihood=likelihood, levels=levels, n_classes=2)
        model.loss(torch.ones(4, 1, 4, 4), y=torch.tensor([0, 1, 1, 0])).backward()
        assert all(p.grad is not None and (p.grad != 0).any() for p in model.parameters())


def test_the_kl_weight_acts_in_the_loss_and_nowhere_else():
    plain, weighted = (random_vae("bernoulli", 2, (1, 2, 3), kl_weight=w) for w in (1.0, 4.0))
    weighted.load_state_dict(plain.state_dict())
    x = all_images(2, (1, 2, 3)).double()

    def same_noise(f: Callable[[Tensor], Tensor]) -> Tensor:
        torch.manual_seed(5)
        return f(x)

    assert torch.equal(same_noise(plain.elbo), same_noise(weighted.elbo))
    torch.testing.assert_close(same_noise(plain.loss), -same_noise(plain.elbo).mean())
    q, prior = plain.posterior(x).base_dist, plain.prior().base_dist
    kl = kl_divergence(q, prior.expand((len(x), 2))).sum(dim=1).mean()
    torch.testing.assert_close(same_noise(weighted.loss) - same_noise(plain.loss), 3 * kl)


def test_the_fast_softplus_is_softplus_and_so_is_its_gradient():
    logits = torch.tensor([-1000.0, -30.0, -1.0, 0.0, 1e-3, 1.0, 30.0, 1000.0], dtype=torch.double)
    parameters = logits.view(-1, 1, 1, 1, 1).requires_grad_()
    for value in (0.0, 1.0):
        log_p = BernoulliPixels(2).log_prob(parameters, torch.full((1, 1, 1), value).double())
        x = torch.full_like(parameters, value)
        expected = -F.binary_cross_entropy_with_logits(parameters, x, reduction="none")
        torch.testing.assert_close(log_p.flatten(), expected.flatten())
        gradients = [torch.autograd.grad(t.sum(), parameters)[0] for t in (log_p, expected)]
        torch.testing.assert_close(*gradients)


# Networks. ------------------------------------------------------------------------------------------

SHAPES = pytest.mark.parametrize(
    "shape", [(1, 4, 4), (3, 4, 4), (1, 5, 7), (3, 9, 4), (1, 28, 28), (3, 32, 32), (1, 31, 30)]
)


def convolutional(shape: Shape, likelihood: str, levels: int, n_classes: int) -> dict:
    p = per_value(likelihood, levels)
    return {
        "encoder": ConvEncoder(shape, out_dim=2 * 3, hidden_dim=4, n_classes=n_classes),
        "decoder": ConvDecoder(3, shape, p, hidden_dim=4, n_classes=n_classes),
    }


@SHAPES
@LIKELIHOODS
@pytest.mark.parametrize("conv", [False, True])
def test_networks_fit_images_of_any_size(shape: Shape, likelihood: str, levels: int, conv: bool):
    for n_classes in (0, 3):
        networks = convolutional(shape, likelihood, levels, n_classes) if conv else {}
        model = VAE(shape, latent_dim=3, likelihood=likelihood, levels=levels,
                    n_classes=n_classes, **networks)  # fmt: skip
        y = torch.tensor([0, 2]) if n_classes else None
        x = model.sample(2, y=y)
        assert x.shape == (2, *shape)
        assert model.elbo(x, y=y).shape == (2,)
        assert model.reconstruct(x, y=y).shape == x.shape
        assert model.posterior(x, y=y).event_shape == (3,)


@SHAPES
@pytest.mark.parametrize("conv", [False, True])
def test_autoencoders_fit_images_of_any_size(shape: Shape, conv: bool):
    networks = {"encoder": ConvEncoder(shape, out_dim=3), "decoder": ConvDecoder(3, shape)}
    model = Autoencoder(shape, latent_dim=3, **(networks if conv else {}))
    x = torch.rand(2, *shape)
    z = model.encode(x)
    assert z.shape == (2, 3)
    assert model.decode(z).shape == x.shape
    torch.testing.assert_close(model.loss(x), ((model.decode(z) - x) ** 2).mean())
    model.loss(x).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("conv", [False, True])
@LIKELIHOODS
def test_encoder_and_decoder_both_read_the_label_of_their_own_image(
    likelihood: str, levels: int, conv: bool
):
    shape = (1, 5, 6)
    networks = convolutional(shape, likelihood, levels, 3) if conv else {}
    model = VAE(shape, latent_dim=3, likelihood=likelihood, levels=levels, n_classes=3, **networks)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)  # so that some means lie between black and white
    x, z = torch.zeros(2, *shape), torch.zeros(2, 3)
    y, other = torch.tensor([0, 1]), torch.tensor([2, 1])
    for before, after in (
        (model.posterior(x, y=y).mean, model.posterior(x, y=other).mean),
        (model.decode(z, y=y), model.decode(z, y=other)),
    ):
        assert (before[0] != after[0]).any()
        torch.testing.assert_close(before[1], after[1])


def test_several_codes_an_image_go_with_the_label_of_that_image():
    model = VAE((1, 2, 2), latent_dim=2, n_classes=3).double()
    x, y = torch.zeros(3, 1, 2, 2).double(), torch.tensor([2, 0, 1])
    z = torch.randn(5, 3, 2).double()
    together = model.log_likelihood(x, z, y=y)
    for i in range(5):
        torch.testing.assert_close(together[i], model.log_likelihood(x, z[i], y=y))


def test_an_mlp_has_the_units_it_is_given():
    sizes = [p.shape for p in MLP((784, 400, 20)).parameters() if p.ndim == 2]
    assert sizes == [(400, 784), (20, 400)]
    with pytest.raises(ValueError, match="sizes"):
        MLP((784, 20))


# Training. ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "likelihood, epochs", [("categorical", 12), ("gaussian", 12), ("dequantised_gaussian", 40)]
)
def test_a_vae_learns_digits(likelihood: str, epochs: int):
    train, test = load("digits"), load("digits", "test")
    baseline = independent_pixels(train).log_prob(test.images.long()).flatten(1).sum(dim=1).mean()
    model = VAE(train.shape, latent_dim=16, likelihood=likelihood, levels=train.levels)
    fit(model, train, epochs=epochs)
    with torch.no_grad():
        elbo = model.elbo(test.floats()).mean()
        restored = (model.reconstruct(test.floats()) - test.floats()).square().mean()
    # the dequantised bound throws away what lies beyond black and white: it costs tens of nats
    assert elbo > baseline + (-25 if likelihood == "dequantised_gaussian" else 5)
    assert restored < 0.5 * test.floats().var(dim=0).mean()


def test_a_linear_autoencoder_finds_the_principal_components():
    x = load("digits", size=300).floats()
    n, d = 64, 4
    model = Autoencoder((1, 8, 8), latent_dim=d, encoder=nn.Sequential(nn.Flatten(), nn.Linear(n, d)),
                        decoder=nn.Linear(d, n))  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(2000):
        loss = model.loss(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    lost = torch.linalg.eigvalsh(x.flatten(1).T.cov(correction=0))[: n - d].sum() / n
    assert lost * 0.9999 < loss < lost * 1.01


def test_a_name_promises_what_the_model_can_do():
    assert not hasattr(VAE((1, 4, 4), latent_dim=2), "log_prob")
    assert not hasattr(Autoencoder((1, 4, 4), latent_dim=2), "sample")


# Devices and number formats. ------------------------------------------------------------------------


def everything(model: VAE, x: Tensor, y: Tensor | None) -> list[Tensor]:
    z, n = model.posterior(x, y=y).rsample(), len(x)
    return [
        z,
        model.prior().sample((n,)),
        model.likelihood(z, y=y).sample(),
        model.decode(z, y=y),
        model.log_likelihood(x, z, y=y),
        model.elbo(x, y=y),
        model.loss(x, y=y),
        model.sample(n, y=y),
        model.sample(n, y=y, mean=True),
        model.reconstruct(x, y=y),
        importance_bound(model, x, k=5, y=y, at_once=4),
    ]


@LIKELIHOODS
@pytest.mark.parametrize("n_classes", [0, 10])
@pytest.mark.parametrize("conv", [False, True])
def test_no_tensor_stays_behind_on_the_cpu(
    likelihood: str, levels: int, n_classes: int, conv: bool
):
    shape = (3, 5, 4)
    with FakeTensorMode():  # raises FakeTensorDeviceMismatchError if one does
        with torch.device("cuda"):  # not around the calls: there it would help a forgetful factory
            networks = convolutional(shape, likelihood, levels, n_classes) if conv else {}
            model = VAE(shape, latent_dim=3, likelihood=likelihood, levels=levels,
                        n_classes=n_classes, **networks)  # fmt: skip
            x = torch.rand(2, *shape)
            y = torch.zeros(2, dtype=torch.long) if n_classes else None
        assert all(result.device.type == "cuda" for result in everything(model, x, y))


def test_no_tensor_of_an_autoencoder_stays_behind_on_the_cpu():
    with FakeTensorMode():
        with torch.device("cuda"):
            model, x = Autoencoder((3, 5, 4), latent_dim=2), torch.rand(2, 3, 5, 4)
        assert model(x).device.type == model.loss(x).device.type == "cuda"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@LIKELIHOODS
def test_a_gpu_gives_the_likelihood_the_cpu_gives(likelihood: str, levels: int):
    model = VAE((3, 5, 4), latent_dim=3, likelihood=likelihood, levels=levels, n_classes=2)
    if likelihood == "dequantised_gaussian":
        model.decoder.requires_grad_(False).get_parameter("rest.1.bias")[60:] = (
            5.0  # noise is nothing
        )
    x, y = torch.randint(levels, (4, 3, 5, 4)) / (levels - 1), torch.tensor([0, 1, 1, 0])
    z = torch.randn(4, 3)
    on_cpu = model.log_likelihood(x, z, y=y)
    on_gpu = model.cuda().log_likelihood(x.cuda(), z.cuda(), y=y.cuda())
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-3, atol=1e-2)
    assert all(result.is_cuda for result in everything(model, x.cuda(), y.cuda()))
    model.loss(x.cuda(), y=y.cuda()).backward()


@LIKELIHOODS
def test_bfloat16_networks_leave_the_constants_in_full_precision(likelihood: str, levels: int):
    model = VAE((1, 8, 8), latent_dim=4, likelihood=likelihood, levels=levels)
    x = torch.randint(levels, (64, 1, 8, 8)) / (levels - 1)

    def elbo(fast: bool) -> Tensor:
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            return model.elbo(x)

    assert elbo(fast=True).dtype == torch.float32
    # bfloat16 keeps 8 bits of each of the decoder's numbers, whose errors are independent
    torch.testing.assert_close(elbo(fast=True), elbo(fast=False), rtol=2e-3, atol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        x = model.sample(2)
        assert x.dtype == model.reconstruct(x).dtype == torch.float32
        assert importance_bound(model, x, k=3).dtype == torch.float32
        model.loss(x).backward()


def test_a_model_in_double_precision_computes_in_it():
    for likelihood, levels in EACH_LIKELIHOOD:
        model = VAE((1, 4, 4), latent_dim=2, likelihood=likelihood, levels=levels).double()
        results = everything(model, torch.zeros(2, 1, 4, 4).double(), None)
        assert all(r.dtype in (torch.double, torch.int64) for r in results)


# Input validation: what is refused, each by name. --------------------------------------------------------

IMAGE = torch.zeros(2, 1, 4, 4)
TAKES_IMAGES = [
    lambda model, x, y: model.posterior(x, y=y),
    lambda model, x, y: model.log_likelihood(x, torch.zeros(2, 3), y=y),
    lambda model, x, y: model.elbo(x, y=y),
    lambda model, x, y: model.loss(x, y=y),
    lambda model, x, y: model.reconstruct(x, y=y),
    lambda model, x, y: importance_bound(model, x, k=3, y=y),
]
TAKES_LABELS = [
    *TAKES_IMAGES,
    lambda model, x, y: model.likelihood(torch.zeros(2, 3), y=y),
    lambda model, x, y: model.decode(torch.zeros(2, 3), y=y),
    lambda model, x, y: model.sample(2, y=y),
]
BAD_IMAGES = [
    (IMAGE.long(), TypeError, "float tensor"),
    (IMAGE[0], ValueError, r"shape \(B, 1, 4, 4\), not \(1, 4, 4\)"),
    (torch.zeros(2, 1, 4, 5), ValueError, r"not \(2, 1, 4, 5\)"),
    (IMAGE + 2, ValueError, r"must lie in \[0, 1\], not in \[2, 2\]"),
    (IMAGE - 0.1, ValueError, r"must lie in \[0, 1\]"),
    (IMAGE * float("nan"), ValueError, "NaN"),
]


@pytest.mark.parametrize("x, error, message", BAD_IMAGES)
def test_bad_images_are_refused(x: Tensor, error: type, message: str):
    for likelihood, levels in EACH_LIKELIHOOD:
        model = VAE((1, 4, 4), latent_dim=3, likelihood=likelihood, levels=levels)
        for call in TAKES_IMAGES:
            with pytest.raises(error, match=message):
                call(model, x, None)


@pytest.mark.parametrize("x, error, message", BAD_IMAGES)
def test_an_autoencoder_refuses_bad_images(x: Tensor, error: type, message: str):
    model = Autoencoder((1, 4, 4), latent_dim=3)
    for call in (model.encode, model.loss, model):
        with pytest.raises(error, match=message):
            call(x)


def test_grey_images_are_refused_where_the_levels_are_fewer():
    grey = IMAGE + 0.3
    for likelihood, levels in EACH_LIKELIHOOD:
        for call in TAKES_IMAGES:
            with pytest.raises(ValueError, match=f"grid of {levels} levels.*binarise"):
                call(VAE((1, 4, 4), latent_dim=3, likelihood=likelihood, levels=levels), grey, None)


@pytest.mark.parametrize(
    "y, error, message",
    [
        (None, ValueError, r"conditional \(n_classes=3\): pass labels"),
        (torch.tensor([0]), ValueError, r"shape \(2,\)"),
        (torch.tensor([0.0, 1.0]), TypeError, "int64"),
        (torch.tensor([0, 3]), ValueError, r"0\.\.2, not in 0\.\.3"),
    ],
)
def test_bad_labels_are_refused(y: Tensor | None, error: type, message: str):
    model = VAE((1, 4, 4), latent_dim=3, n_classes=3)
    for call in TAKES_LABELS:
        with pytest.raises(error, match=message):
            call(model, IMAGE, y)


def test_labels_for_an_unconditional_model_are_refused():
    model = VAE((1, 4, 4), latent_dim=3)
    for call in TAKES_LABELS:
        with pytest.raises(ValueError, match="unconditional"):
            call(model, IMAGE, torch.tensor([0, 1]))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"shape": (4, 4)}, "shape"),
        ({"shape": (1, 0, 4)}, "shape"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"levels": 17}, "Bernoulli likelihood is for binary images.*binarise"),
        ({"likelihood": "categorical", "levels": 1}, "levels"),
        ({"likelihood": "normal"}, 'must be "bernoulli", "categorical", "gaussian" or'),
        ({"likelihood": "gaussian", "scale": 0.0}, "scale must be a positive number"),
        ({"likelihood": "gaussian", "scale": math.nan}, "scale must be a positive number"),
        ({"scale": 0.1}, "only a Gaussian likelihood has a scale"),
        ({"n_classes": -1}, "n_classes"),
        ({"kl_weight": -1.0}, "kl_weight"),
    ],
)
def test_impossible_models_are_refused(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        VAE(**{"shape": (1, 4, 4), "latent_dim": 2, **arguments})


def test_impossible_autoencoders_are_refused():
    with pytest.raises(ValueError, match="shape"):
        Autoencoder((4, 4), latent_dim=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="latent_dim"):
        Autoencoder((1, 4, 4), latent_dim=0)


def test_no_images_cannot_be_drawn():
    with pytest.raises(ValueError, match="n must be at least 1"):
        VAE((1, 4, 4), latent_dim=2).sample(0)
