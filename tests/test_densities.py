"""Theorems about the densities in the plane: they integrate to one and samples follow them."""

import math

import pytest
import torch

from genlib.data import Checkerboard, EightGaussians, Spiral

DENSITIES = [EightGaussians(), Spiral(), Checkerboard()]
per_density = pytest.mark.parametrize("density", DENSITIES, ids=lambda d: type(d).__name__)


def grid(cells, per_cell):
    """Midpoints of a fine grid on [-4, 4]^2, (cells * cells, per_cell ** 2, 2), and their area."""
    side = cells * per_cell
    points = (torch.arange(side, dtype=torch.double) + 0.5) / side * 8 - 4
    x, y = torch.meshgrid(points, points, indexing="ij")
    xy = torch.stack([x, y], dim=2).reshape(cells, per_cell, cells, per_cell, 2)
    return xy.transpose(1, 2).reshape(cells * cells, per_cell**2, 2), (8 / side) ** 2


@per_density
def test_density_integrates_to_one(density):
    points, area = grid(cells=1, per_cell=200)  # a step of 0.04; the narrowest std is 0.1
    total = density.log_prob(points.flatten(0, 1)).exp().sum() * area
    assert total == pytest.approx(1, abs=1e-5)


@per_density
def test_samples_follow_the_density(density):
    n, cells = 40_000, 16
    points, area = grid(cells, per_cell=12)
    p = density.log_prob(points.flatten(0, 1)).exp().reshape(cells * cells, -1).sum(1) * area
    x = density.sample(n, generator=torch.Generator().manual_seed(0))
    cell = ((x + 4) / 8 * cells).floor().long()
    frequency = (cell[:, 0] * cells + cell[:, 1]).bincount(minlength=cells**2) / n
    # 5 standard errors: 256 cells are looked at; rare cells get room for one stray point
    assert ((frequency - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 2 / n).all()


@per_density
def test_mean_log_prob_of_samples_is_minus_the_entropy(density):
    points, area = grid(cells=1, per_cell=200)
    log_prob = density.log_prob(points.flatten(0, 1))
    entropy = -(log_prob.exp() * log_prob.clamp_min(-1e3)).sum() * area
    measured = -density.log_prob(density.sample(20_000, generator=torch.Generator().manual_seed(1)))
    error = measured.std() / math.sqrt(20_000)
    assert (measured.mean() - entropy).abs() <= 4 * error + 1e-5


@per_density
def test_samples_follow_the_generator_and_leave_the_global_one_alone(density):
    before = torch.get_rng_state()
    one = density.sample(100, generator=torch.Generator().manual_seed(3))
    two = density.sample(100, generator=torch.Generator().manual_seed(3))
    assert torch.equal(one, two) and one.shape == (100, 2)
    assert torch.equal(torch.get_rng_state(), before)


@per_density
def test_log_prob_keeps_the_precision_of_its_input(density):
    x = density.sample(10, generator=torch.Generator().manual_seed(3))
    assert density.log_prob(x).dtype == torch.float32
    assert density.log_prob(x.double()).dtype == torch.float64


@per_density
def test_points_of_another_shape_are_refused(density):
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        density.log_prob(torch.zeros(2))


def test_eight_gaussians_agree_with_torch_distributions():
    density = EightGaussians(radius=3.0, std=0.5)
    angle = torch.arange(8) * math.pi / 4
    means = 3 * torch.stack([angle.cos(), angle.sin()], dim=1)
    each = torch.distributions.Independent(torch.distributions.Normal(means, 0.5), 1)
    which = torch.distributions.Categorical(torch.ones(8))
    truth = torch.distributions.MixtureSameFamily(which, each)
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)) * 3
    torch.testing.assert_close(density.log_prob(x), truth.log_prob(x))


def test_eight_gaussians_have_eight_equal_modes_on_a_ring():
    density = EightGaussians()
    points, _ = grid(cells=1, per_cell=160)  # a step of 0.05
    height = density.log_prob(points.flatten(0, 1)).reshape(1, 1, 160, 160)
    highest = torch.nn.functional.max_pool2d(height, 5, stride=1, padding=2)
    modes = points.reshape(160, 160, 2)[((height == highest) & (height > -5))[0, 0]]
    which = (torch.atan2(modes[:, 1], modes[:, 0]) / (math.pi / 4)).round() % 8
    assert sorted(which.unique().tolist()) == list(range(8))
    assert (modes.norm(dim=1) - 2).abs().max() < 0.1  # two steps of the grid


def test_checkerboard_is_half_black_and_neighbours_differ():
    squares = torch.cartesian_prod(torch.arange(4), torch.arange(4)) * 2.0 - 3
    black = Checkerboard().log_prob(squares).isfinite().reshape(4, 4)
    assert black.sum() == 8
    assert (black[1:] != black[:-1]).all() and (black[:, 1:] != black[:, :-1]).all()
    assert Checkerboard().log_prob(torch.tensor([[4.5, 4.5], [-5.0, -5.0]])).isinf().all()
