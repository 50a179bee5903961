"""The mixture of discretised logistics: it sums to one, in the middle and far out."""

import pytest
import torch
from torch import Tensor

from genlib.autoregressive.heads import SMALLEST, LogisticMixtureHead, log_discretised_logistic


def by_definition(mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Differences of the distribution function at the middles between levels, one level after the other."""
    h = 1 / (levels - 1)
    rows = []
    for k in range(levels):
        v = 2 * k / (levels - 1) - 1
        upper = torch.sigmoid((v + h - mean) / log_scale.exp()) if k < levels - 1 else 1.0
        lower = torch.sigmoid((v - h - mean) / log_scale.exp()) if k > 0 else 0.0
        rows.append(torch.as_tensor(upper - lower).expand_as(mean))
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_each_level_has_the_probability_of_its_interval(levels: int):
    mean, log_scale = 2 * torch.randn(2, 40, 3, dtype=torch.double)
    p = log_discretised_logistic(mean, log_scale, levels).exp()
    assert p.shape == (40, levels, 3)
    torch.testing.assert_close(p, by_definition(mean, log_scale, levels))
    torch.testing.assert_close(p.sum(dim=1), torch.ones(40, 3, dtype=torch.double))


def test_far_out_the_logarithms_are_still_right_and_have_gradients():
    # in float32 a difference of distribution functions is 0 there, and its logarithm infinite
    mean = torch.tensor([5.0, -5.0, 0.0], requires_grad=True)
    log_scale = torch.full((3,), -3.0, requires_grad=True)
    log_p = log_discretised_logistic(mean, log_scale, 17)
    wanted = by_definition(mean.detach().double(), log_scale.detach().double(), 17).log()
    near = wanted > -30  # further out the double's difference is lost, too
    torch.testing.assert_close(log_p[near], wanted[near].float(), rtol=1e-4, atol=1e-4)
    log_p.sum().backward()
    assert log_p.min() < -100 and log_p.isfinite().all()
    assert mean.grad.isfinite().all() and log_scale.grad.isfinite().all()


def test_no_scale_is_so_small_that_a_level_between_two_has_no_gradient():
    log_p = log_discretised_logistic(torch.zeros(1), torch.tensor([-50.0]), 256)
    assert torch.equal(
        log_p, log_discretised_logistic(torch.zeros(1), torch.tensor([SMALLEST]), 256)
    )
    assert log_p.isfinite().all()


def test_a_mixture_is_the_weighted_sum_and_its_levels_sum_to_one():
    group = torch.tensor([0, 0, 1, 1])
    head = LogisticMixtureHead(group, n_colours=2, levels=9, n_logistics=3).double()
    x = torch.randn(5, 4, 2, 3, dtype=torch.double)
    log_weight, mean, log_scale = head.parameters_of(x).unflatten(1, (3, 3, 2)).unbind(dim=1)
    weight = log_weight.softmax(dim=1)
    wanted = sum(
        weight[:, None, m] * by_definition(mean[:, m], log_scale[:, m], 9) for m in range(3)
    )
    p = head(x).unflatten(1, (9, 2)).exp()
    torch.testing.assert_close(p, wanted)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(5, 2, 2, 3, dtype=torch.double))
