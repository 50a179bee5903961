"""What a decoder says about a value: probabilities of levels that sum to one, and draws that follow them."""

import math

import pytest
import torch
import torch.nn.functional as F
from test_variational import LIKELIHOODS, assert_close_to, blind_vae, per_value, random_vae
from torch import Tensor
from torch.distributions import Categorical, Normal

from genlib.data import all_images
from genlib.variational import (
    VAE,
    importance_bound,
)
from genlib.variational.likelihoods import (
    DequantisedGaussianPixels,
    GaussianPixels,
)

# What the decoder says about a value. ---------------------------------------------------------------


@LIKELIHOODS
def test_the_log_likelihood_is_that_of_the_distribution(likelihood: str, levels: int):
    shape = (2, 2, 3)
    model = random_vae(likelihood, levels, shape)
    x = torch.randint(levels, (5, *shape)).double() / (levels - 1)
    z = torch.randn(7, 5, 2, dtype=torch.double)
    p = model.likelihood(z)
    torch.manual_seed(1)
    log_p = model.log_likelihood(x, z)
    if likelihood == "bernoulli":
        expected = p.log_prob(x)
    elif likelihood in ("categorical", "gaussian"):
        expected = p.log_prob((x * (levels - 1)).round())
    else:
        torch.manual_seed(1)
        u = torch.rand(7, 5, *shape, dtype=torch.double)
        # a level is 1 / (levels - 1) wide: its probability is the density times its width
        expected = p.log_prob(x + (u - 0.5) / (levels - 1)) - 12 * math.log(levels - 1)
    torch.testing.assert_close(log_p, expected)
    assert p.batch_shape == (7, 5) and p.event_shape == shape


@pytest.mark.parametrize("scale", [None, 0.15])
@pytest.mark.parametrize("levels", [2, 5])
def test_dequantised_gaussians_give_the_probability_of_the_levels(levels: int, scale: float | None):
    n, log_std = 100_000, math.log(scale or 0.2)
    parameters = torch.tensor([[0.3], [log_std]] if scale is None else [[0.3]]).double()
    parameters = parameters.view(-1, 1, 1, 1)
    pixels, cell = DequantisedGaussianPixels(levels, scale), 1 / (levels - 1)
    normal = Normal(torch.tensor(0.3).double(), math.exp(log_std))
    total = 0.0
    for level in range(levels):
        x = torch.full((n, 1, 1, 1), level / (levels - 1)).double()
        p = (normal.cdf(x[0] + cell / 2) - normal.cdf(x[0] - cell / 2)).item()
        log_p = pixels.log_prob(parameters.expand(n, -1, -1, -1, -1), x).flatten()
        assert_close_to(log_p.exp(), p)
        assert log_p.mean() < math.log(p)
        total += p
    assert total < 1


def test_the_dequantised_bound_tends_to_the_log_probability_of_the_image():
    levels, shape, mean, std = 5, (1, 1, 2), 0.4, 0.2
    parameters = torch.tensor([mean, mean, math.log(std), math.log(std)]).view(2, *shape)
    model = blind_vae("dequantised_gaussian", levels, shape, parameters).double()
    x = all_images(levels, shape)[6:20:4].double()
    normal, cell = Normal(torch.tensor(mean).double(), std), 1 / (levels - 1)
    log_p = (normal.cdf(x + cell / 2) - normal.cdf(x - cell / 2)).log().flatten(1).sum(dim=1)
    torch.testing.assert_close(importance_bound(model, x, k=100_000), log_p, atol=0.02, rtol=0)
    with torch.no_grad():
        elbo = torch.stack([model.elbo(x) for _ in range(500)])
    assert (elbo.mean(dim=0) < log_p).all()


@pytest.mark.parametrize("levels", [2, 3, 17])
@pytest.mark.parametrize("mean", [-0.3, 0.0, 0.4, 1.0, 2.5])
@pytest.mark.parametrize("std", [0.01, 0.15, 1.0, 30.0])
def test_a_gaussian_gives_each_level_the_mass_nearest_to_it(levels: int, mean: float, std: float):
    parameters = torch.tensor([mean, math.log(std)], dtype=torch.double).view(2, 1, 1, 1)
    pixels, x = (
        GaussianPixels(levels),
        torch.linspace(0, 1, levels, dtype=torch.double).view(-1, 1, 1, 1),
    )
    p = pixels.log_prob(parameters, x).exp().flatten()
    normal = Normal(torch.tensor(mean, dtype=torch.double), std)
    below = normal.cdf((torch.arange(levels - 1).double() + 0.5) / (levels - 1))
    expected = torch.cat([below, torch.ones(1).double()]).diff(prepend=torch.zeros(1).double())
    torch.testing.assert_close(p, expected, atol=1e-14, rtol=0)
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    assert pixels.mean(parameters).item() == pytest.approx((p * x.flatten()).sum().item())


def test_closed_cells_lose_what_a_gaussian_puts_beyond_black_and_white():
    parameters = torch.tensor([-0.3, math.log(0.15)], dtype=torch.double).view(2, 1, 1, 1)
    x = torch.linspace(0, 1, 17, dtype=torch.double).view(-1, 1, 1, 1)
    exact = GaussianPixels(17).log_prob(parameters, x)
    draws = DequantisedGaussianPixels(17).log_prob(parameters.expand(20_000, 1, 2, 1, 1, 1), x)
    assert (draws.mean(dim=0) < exact).all()
    normal = Normal(torch.tensor(-0.3).double(), 0.15)
    closed = normal.cdf(torch.tensor(33 / 32)) - normal.cdf(torch.tensor(-1 / 32))
    assert closed.item() == pytest.approx(0.0366, abs=1e-4)
    assert_close_to(draws.exp().sum(dim=1).flatten(), closed)


def test_samples_follow_the_discretised_gaussian():
    n, levels = 40_000, 5
    mean, std = torch.tensor([-0.3, 0.1, 0.5, 1.2]), torch.tensor([0.3, 0.1, 0.5, 0.15])
    parameters = torch.cat([mean, std.log()]).view(2, 1, 2, 2)
    for likelihood in ("gaussian", "dequantised_gaussian"):
        model = blind_vae(likelihood, levels, (1, 2, 2), parameters)
        level = (model.sample(n) * (levels - 1)).round().long()
        frequency = F.one_hot(level, levels).double().mean(dim=0)
        p = GaussianPixels(levels).distribution(parameters).probs
        assert ((frequency - p).abs() < 4 * (p * (1 - p) / n).sqrt() + 1e-6).all()


# distance a of a cell and its width w, in standard deviations, and log(Phi(-a) - Phi(-a - w)),
# computed by mpmath with 60 digits
TAILS = [
    (5.0, 0.001, -20.32919293697872),
    (5.0, 0.25, -15.3732958986657),
    (20.0, 0.001, -207.8366773114096),
    (20.0, 0.25, -203.9236266727323),
    (20.0, 10.0, -203.9171553710973),
    (20.0, math.inf, -203.9171553710973),
    (37.0, 0.25, -689.0306781114814),
    (37.0, math.inf, -689.0305855768906),
]


@pytest.mark.parametrize("distance, width, expected", TAILS)
def test_a_gaussian_keeps_its_digits_far_out_in_the_tails(
    distance: float, width: float, expected: float
):
    pixels = GaussianPixels(levels=3)  # cells end at 0.25 and 0.75
    open_cell = math.isinf(width)
    std = 1.0 if open_cell else 0.5 / width
    for dtype, digits in ((torch.double, 1e-9), (torch.float, 1e-6)):
        if dtype == torch.float and width < 0.1:
            continue  # in single precision means this far out are too coarse to place a thin cell
        gradients = []
        for level, border, side in (
            (1.0 if open_cell else 0.5, 0.75 if open_cell else 0.25, -1),
            (0.0 if open_cell else 0.5, 0.25 if open_cell else 0.75, 1),
        ):
            mean = border + side * distance * std
            parameters = torch.tensor([mean, math.log(std)], dtype=dtype).view(2, 1, 1, 1)
            parameters.requires_grad_()
            log_p = pixels.log_prob(parameters, torch.full((1, 1, 1), level, dtype=dtype))
            assert log_p.item() == pytest.approx(expected, rel=digits)
            log_p.backward()
            gradients.append(parameters.grad)
        # the tail falls like exp(-a^2 / 2): the gradient in the mean is about a / std
        assert -gradients[0][0].item() == pytest.approx(gradients[1][0].item(), rel=1e-3)
        assert distance < -side * std * gradients[1][0].item() < distance + 0.3 + 1 / distance


@pytest.mark.parametrize("levels", [2, 5])
def test_the_gradient_of_a_discretised_gaussian_is_right_and_finite(levels: int):
    pixels = GaussianPixels(levels)
    x = torch.linspace(0, 1, levels, dtype=torch.double).view(-1, 1, 1, 1)
    parameters = torch.randn(levels, 2, 1, 1, 1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: pixels.log_prob(p, x), parameters)
    for log_std in (-7.0, 0.0, 5.0):  # far sharper than a cell, and far wider than the grid
        for mean in (-2.0, 0.0, 1.0, 3.0):
            p = torch.tensor([mean, log_std]).view(2, 1, 1, 1).requires_grad_()
            pixels.log_prob(p, x.float()).sum().backward()
            assert p.grad is not None and p.grad.isfinite().all()


def moments(likelihood: str, levels: int) -> tuple[Tensor, dict, Tensor, Tensor]:
    """Parameters of a decoder for 4 values, arguments, and the moments that images must have."""
    if likelihood == "bernoulli":
        p = torch.tensor([0.1, 0.4, 0.6, 0.95])
        return p.logit(), {}, p, p * (1 - p)
    if likelihood == "categorical":
        p = torch.randn(levels, 4).softmax(dim=0)
        x = torch.arange(levels)[:, None] / (levels - 1)
        mean = (p * x).sum(dim=0)
        return p.log() + 3, {}, mean, (p * (x - mean) ** 2).sum(dim=0)
    # far from black and white, where no mass is lost, and much wider than a cell: rounding adds the variance of a cell
    mean, std = torch.tensor([0.4, 0.45, 0.5, 0.55]), torch.tensor([0.06, 0.07, 0.08, 0.09])
    return torch.cat([mean, std.log()]), {}, mean, std**2 + 1 / (12 * (levels - 1) ** 2)


@pytest.mark.parametrize(
    "likelihood, levels",
    [("bernoulli", 2), ("categorical", 5), ("gaussian", 33), ("dequantised_gaussian", 33)],
)
def test_samples_have_the_moments_that_the_decoder_says(likelihood: str, levels: int):
    n, shape = 40_000, (1, 2, 2)
    parameters, more, mean, variance = moments(likelihood, levels)
    model = blind_vae(likelihood, levels, shape, parameters, **more)
    x = model.sample(n).flatten(1)
    assert_close_to(x, mean)
    assert_close_to((x - mean) ** 2, variance)
    torch.testing.assert_close(model.sample(2, mean=True).flatten(1), mean.expand(2, 4))
    torch.testing.assert_close(
        model.reconstruct(torch.zeros(1, *shape)).flatten(1), mean.expand(1, 4)
    )


def test_a_fixed_scale_is_the_standard_deviation_of_every_value():
    model = VAE((1, 4, 4), latent_dim=2, likelihood="dequantised_gaussian", levels=17, scale=0.25)
    p = model.likelihood(torch.randn(3, 2))
    assert torch.equal(p.base_dist.stddev, torch.full((3, 1, 4, 4), 0.25))


@LIKELIHOODS
def test_samples_are_images_on_the_grid(likelihood: str, levels: int):
    wild = 3 * torch.randn(per_value(likelihood, levels), 1, 8, 8)  # means beyond black and white
    model = blind_vae(likelihood, levels, (1, 8, 8), wild)
    x = model.sample(20)
    level = x * (levels - 1)
    torch.testing.assert_close(level, level.round())
    assert x.min() == 0 and x.max() == 1
    shown = model.sample(20, mean=True)
    assert 0 <= shown.min() and shown.max() <= 1
    model.elbo(x)  # and the model takes them back


@LIKELIHOODS
def test_the_same_seed_draws_the_same_images(likelihood: str, levels: int):
    model = random_vae(likelihood, levels, (1, 3, 3))
    torch.manual_seed(3)
    first = model.sample(5)
    torch.manual_seed(3)
    assert torch.equal(model.sample(5), first)
    assert not torch.equal(model.sample(5), first)
    assert not first.requires_grad


@LIKELIHOODS
def test_reconstructions_come_from_the_mean_code_and_are_not_random(likelihood: str, levels: int):
    model = random_vae(likelihood, levels, (1, 3, 3))
    x = torch.randint(levels, (4, 1, 3, 3)).double() / (levels - 1)
    r = model.reconstruct(x)
    assert torch.equal(r, model.reconstruct(x)) and not r.requires_grad
    p = model.likelihood(model.posterior(x).mean).base_dist
    if isinstance(p, Categorical):  # the discretised Gaussian too
        expected = (p.probs * torch.arange(levels)).sum(dim=-1) / (levels - 1)
    else:
        expected = p.mean.clamp(0, 1)
    torch.testing.assert_close(r, expected)
