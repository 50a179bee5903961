"""Muon: what its step is, that AdamW takes care of the rest, and that a run goes on with both."""

import copy

import pytest
import torch
from torch import nn

from genlib.autoregressive import GatedPixelCNN, PixelCNN
from genlib.train.optimizers import Muon, muon_for_convolutions, orthogonalise


def test_orthogonalised_matrices_stretch_no_direction_much_more_than_another():
    g = torch.randn(3, 16, 48) * torch.logspace(-2, 0, 16)[:, None]
    stretch = torch.linalg.svdvals(orthogonalise(g))
    assert torch.linalg.svdvals(g / g.norm(dim=(1, 2), keepdim=True)).min() < 0.01
    assert ((stretch > 0.3) & (stretch < 1.3)).all()


def test_muon_takes_the_steps_of_torch_optim_muon():
    ours = [nn.Parameter(torch.randn(12, 4, 1, 2)) for _ in range(3)]
    theirs = [nn.Parameter(w.detach().flatten(1).clone()) for w in ours]
    muon = Muon([{"params": ours, "lr": 0.1, "momentum": 0.95}])
    reference = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0)
    for _ in range(3):
        for w, t in zip(ours, theirs, strict=True):
            w.grad = torch.randn_like(w)
            t.grad = w.grad.flatten(1).clone()
        muon.step()
        reference.step()
    for w, t in zip(ours, theirs, strict=True):
        # theirs computes in bfloat16, to 3 digits, and an update has entries of about 0.1
        torch.testing.assert_close(w.flatten(1), t, atol=0.01, rtol=0)


def test_a_group_without_momentum_takes_the_steps_of_adamw():
    w, matrix = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(4, 4))
    twin = nn.Parameter(w.detach().clone())
    both = Muon([{"params": [matrix], "lr": 0.1, "momentum": 0.95}, {"params": [w], "lr": 0.01}])
    adamw = torch.optim.AdamW([twin], lr=0.01, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    for _ in range(3):
        w.grad, matrix.grad = torch.randn(5), torch.randn(4, 4)
        twin.grad = w.grad.clone()
        both.step()
        adamw.step()
    assert torch.equal(w, twin)


def test_a_restored_optimizer_goes_on_to_the_bit():
    weights = [nn.Parameter(torch.randn(6, 3)) for _ in range(2)] + [nn.Parameter(torch.randn(5))]

    def optimizer(on: list[nn.Parameter]) -> Muon:
        return Muon(
            [{"params": on[:2], "lr": 0.1, "momentum": 0.95}, {"params": on[2:], "lr": 0.1}]
        )

    gradients = [[torch.randn_like(w) for w in weights] for _ in range(4)]

    def go(on: list[nn.Parameter], how: Muon, steps: slice) -> None:
        for step in gradients[steps]:
            for w, g in zip(on, step, strict=True):
                w.grad = g.clone()
            how.step()

    first = optimizer(weights)
    go(weights, first, slice(2))
    copies = [nn.Parameter(w.detach().clone()) for w in weights]
    second = optimizer(copies)
    second.load_state_dict(
        copy.deepcopy(first.state_dict())
    )  # else they would share their averages
    go(weights, first, slice(2, None))
    go(copies, second, slice(2, None))
    assert all(torch.equal(w, c) for w, c in zip(weights, copies, strict=True))


@pytest.mark.parametrize("family", [PixelCNN, GatedPixelCNN])
def test_muon_has_the_convolutions_of_the_layers_and_adamw_every_other_parameter_once(family):
    model = family((1, 8, 8), hidden_dim=8, depth=3)
    (optimizer,) = muon_for_convolutions(model, 1e-3)
    muon = [p for g in optimizer.param_groups if "momentum" in g for p in g["params"]]
    rest = [p for g in optimizer.param_groups if "momentum" not in g for p in g["params"]]
    inside = model.layers if family is GatedPixelCNN else model.blocks
    assert {id(p) for p in muon} == {id(p) for p in inside.parameters() if p.ndim == 4}
    assert sorted(map(id, muon + rest)) == sorted(map(id, model.parameters()))
    assert {g["lr"] for g in optimizer.param_groups} == {1e-3, 2.5e-3}
