"""Annealed importance sampling against partition functions that can be enumerated."""

import copy
import math

import pytest
import torch
from test_markov import SHAPE, assert_close_to, random_rbm
from torch import nn

from genlib.data import binarise, load
from genlib.markov import RBM, PersistentRBM, annealed_importance

# Annealed importance sampling. ----------------------------------------------------------------------


@pytest.mark.parametrize("std", [0.5, 2.0])
@pytest.mark.parametrize("n_hidden", [4, 15])
def test_ais_finds_log_z_within_three_standard_errors(n_hidden: int, std: float):
    for seed in range(3):
        torch.manual_seed(seed)
        model = random_rbm(n_hidden, std)
        exact = model.log_partition()
        log_z, error = annealed_importance(model, n_chains=200, n_temperatures=500)
        assert abs(log_z - exact) < 3 * error
        assert error < 0.1
        if std == 2 and n_hidden == 15:
            assert exact - (9 + 15) * math.log(2) > 10  # far from where the chains started


def test_the_estimate_of_z_is_unbiased_so_that_of_log_z_is_too_low():
    model = random_rbm(6)
    exact = model.log_partition()
    log_z, _ = zip(
        *(annealed_importance(model, n_chains=20, n_temperatures=5) for _ in range(1000)),
        strict=True,
    )
    off = torch.stack(log_z) - exact
    assert_close_to(off.exp(), 1.0)
    assert off.mean() < -4 * off.std() / math.sqrt(1000)


def test_the_error_of_ais_says_how_far_estimates_scatter():
    model = random_rbm(6)
    log_z, error = zip(
        *(annealed_importance(model, n_chains=100, n_temperatures=30) for _ in range(200)),
        strict=True,
    )
    # a standard deviation from 200 draws is off by 1 / sqrt(400) of itself
    scatter = torch.stack(log_z).std().item()
    assert torch.stack(error).mean().item() == pytest.approx(scatter, rel=4 / math.sqrt(400))


def test_the_error_of_ais_falls_as_one_over_the_root_of_the_number_of_chains():
    model = random_rbm(6)
    errors = {
        n: torch.stack(
            [annealed_importance(model, n_chains=n, n_temperatures=50)[1] for _ in range(10)]
        ).mean()
        for n in (100, 1600)
    }
    assert (errors[100] / errors[1600]).item() == pytest.approx(4, rel=0.15)


def test_one_temperature_is_importance_sampling_from_independent_pixels():
    model = random_rbm(6, std=0.3)
    torch.manual_seed(3)
    log_z, error = annealed_importance(model, n_chains=500, n_temperatures=1)
    torch.manual_seed(3)
    RBM(SHAPE, hidden_dim=6)  # takes the random numbers of its weights
    x = torch.bernoulli(torch.full((500, *SHAPE), 0.5).double())
    w = (9 * math.log(2) - model.free_energy(x)).exp()
    torch.testing.assert_close(log_z, w.mean().log())
    torch.testing.assert_close(error, w.std() / w.mean() / math.sqrt(500))


def test_the_base_may_have_the_pixel_means_of_data():
    bars = load("bars")[:10]  # bars only: pixels in the same column agree, and means are not 1/2
    model = RBM(bars.shape, hidden_dim=6, pixel_mean=bars.floats().mean(dim=0))
    nn.init.zeros_(model.weight)
    # no weights, and nearly the base's biases: hardly any weight differs from another
    by_data = annealed_importance(model, n_chains=50, n_temperatures=1, data=bars)
    by_pixels = annealed_importance(model, n_chains=50, n_temperatures=1)
    assert by_data[1] < 0.5 * by_pixels[1]
    nn.init.normal_(model.weight, std=1.0)
    exact = model.log_partition()
    log_z, error = annealed_importance(model, n_chains=200, n_temperatures=300, data=bars)
    assert abs(log_z - exact) < 3 * error < 0.3


def test_ais_leaves_the_model_alone_and_takes_large_ones():
    model = PersistentRBM((1, 8, 8), hidden_dim=40)
    before = copy.deepcopy(model.state_dict())
    log_z, error = annealed_importance(model, n_chains=20, n_temperatures=10)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    # with weights of 0.01 nearly 2^104 equal terms
    assert log_z.item() == pytest.approx(104 * math.log(2), abs=0.1) and error < 0.1
    assert not log_z.requires_grad and log_z.dtype == torch.float


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_chains": 1}, "n_chains must be at least 2"),
        ({"n_temperatures": 0}, "n_temperatures at least 1, not 100 and 0"),
        ({"data": load("digits", size=5)}, r"binary images of shape \(1, 4, 4\)"),
        ({"data": binarise(load("digits", size=5))}, r"binary images of shape \(1, 4, 4\)"),
    ],
)
def test_impossible_annealing_is_refused(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        annealed_importance(RBM((1, 4, 4), hidden_dim=4), **arguments)
