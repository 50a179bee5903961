"""What diffusion and flow matching share: labels that training hides, and the grid of levels."""

import pytest
import torch
from torch import Tensor

from genlib.diffusion import Diffusion, ProbabilityFlow
from genlib.flow_matching import FlowMatching, MeanFlow, reflow_pairs
from genlib.from_noise import FromNoise
from genlib.networks import TimeMLP

FAMILIES = pytest.mark.parametrize("family", [Diffusion, FlowMatching])


@FAMILIES
def test_a_label_is_hidden_in_training_and_nowhere_else(family: type[FromNoise]):
    seen = []

    class Watched(TimeMLP):
        def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            seen.append(y)
            return super().forward(x, t, y)

    model = family((2,), network=Watched((2,), n_classes=3), n_classes=3)
    x, y = torch.randn(4000, 2), torch.arange(4000) % 3
    model.loss(x, y=y)
    assert (seen.pop() == 3).double().mean().item() == pytest.approx(0.1, abs=0.02)
    model.eval()
    model.loss(x, y=y)
    assert torch.equal(seen.pop(), y)


@FAMILIES
def test_without_a_label_the_network_gets_not_told(family: type[FromNoise]):
    model = family((2,), n_classes=3)
    x, t = torch.randn(5, 2), torch.rand(5)
    untold = model.network(x, t, torch.full((5,), 3))
    assert torch.equal(model.ask(x, t), untold)
    assert not torch.equal(model.ask(x, t, y=torch.zeros(5, dtype=torch.long)), untold)


def on_the_grid(x: Tensor, levels: int) -> bool:
    level = x * (levels - 1)
    return bool((level - level.round()).abs().max() < 1e-5 and x.min() >= 0 and x.max() <= 1)


@pytest.mark.parametrize("n_classes", [0, 3])
def test_samples_lie_on_the_grid_of_levels(n_classes: int):
    y = torch.tensor([0, 1, 2]) if n_classes else None
    how = {"levels": 5, "n_classes": n_classes}
    diffusion = Diffusion((1, 4, 4), **how)
    drawn = [
        diffusion.sample(3, y=y, steps=2, sampler=sampler) for sampler in ("ddpm", "ddim", "heun")
    ]
    drawn.append(ProbabilityFlow(diffusion).sample(3, y=y, steps=2))
    for family in (FlowMatching, MeanFlow):
        model = family((1, 4, 4), **how)
        drawn += [model.sample(3, y=y, steps=2), reflow_pairs(model, 3, y=y, steps=2)[1]]
    assert all(on_the_grid(x, 5) for x in drawn)


def test_the_start_follows_the_model():
    """Its shape and its precision; n and labels are checked before anything is drawn."""
    model = FlowMatching((2,), n_classes=3).double()
    assert model.start(4, y=torch.tensor([0, 1, 2, 0])).dtype == torch.double
    for n, y, message in ((0, None, "n must be at least 1"), (2, None, "pass labels")):
        with pytest.raises(ValueError, match=message):
            model.start(n, y=y)
