"""What diffusion and flow matching share: labels that training hides, and the grid of levels."""

import pytest
import torch
from torch import Tensor

from genlib.data import load
from genlib.diffusion import Diffusion, ProbabilityFlow
from genlib.flow_matching import (
    FlowMatching,
    LinearPath,
    MeanFlow,
    Path,
    VariancePreservingPath,
    reflow_pairs,
)
from genlib.from_noise import FromNoise
from genlib.metrics import bars_report, log_likelihood, log_probs
from genlib.networks import TimeMLP
from genlib.train import Config, RunError, build_model, measure
from genlib.train.builders import images_of

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
def test_without_a_label_the_network_gets_the_one_that_stands_for_none(family: type[FromNoise]):
    model = family((2,), n_classes=3)
    x, t = torch.randn(5, 2), torch.rand(5)
    unconditional = model.network(x, t, torch.full((5,), 3))
    assert torch.equal(model.ask(x, t), unconditional)
    assert not torch.equal(model.ask(x, t, y=torch.zeros(5, dtype=torch.long)), unconditional)


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


def test_times_are_spread_evenly_over_a_batch():
    first, second = (FromNoise._times(torch.zeros(8, 2, dtype=torch.double)) for _ in range(2))
    for t in (first, second):
        assert t.dtype == torch.double and (t >= 0).all() and (t < 1).all()
        torch.testing.assert_close(t.sort().values.diff(), torch.full((7,), 1 / 8).double())
    assert not torch.equal(first, second)


def test_samples_carry_no_gradients():
    models = [
        Diffusion((2,)),
        ProbabilityFlow(Diffusion((2,))),
        FlowMatching((2,)),
        MeanFlow((2,)),
    ]
    drawn = [model.sample(2, steps=1) for model in models]
    drawn += [part for model in models[2:] for part in reflow_pairs(model, 2, steps=1)]
    assert not any(x.requires_grad for x in drawn)


@pytest.mark.parametrize("kind", [Diffusion, ProbabilityFlow, FlowMatching, MeanFlow])
def test_every_pass_of_the_network_is_given_the_labels(kind):
    seen: list[Tensor | None] = []

    class Watched(TimeMLP):
        def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            seen.append(y)
            return super().forward(x, t, y)

    network = Watched((2,), n_classes=3, times=2 if kind is MeanFlow else 1)
    family = Diffusion if kind is ProbabilityFlow else kind
    model = family((2,), network=network, n_classes=3).eval()
    model = ProbabilityFlow(model).eval() if kind is ProbabilityFlow else model
    x, labels = torch.randn(6, 2), torch.tensor([2, 0, 1, 0, 1, 2])
    calls = {
        "loss": lambda: model.loss(x, y=labels),
        "sample": lambda: model.sample(6, y=labels, steps=2),
    }
    if kind is Diffusion:
        calls["elbo"] = lambda: model.elbo(x, y=labels, steps=2)
    else:
        calls["log_prob"] = lambda: model.log_prob(x, y=labels, steps=1)
    if isinstance(model, FlowMatching):
        calls["reflow"] = lambda: reflow_pairs(model, 6, y=labels, steps=2)
    for name, call in calls.items():
        seen.clear()
        call()
        # a mean flow asks for the derivative of the first half only
        assert seen, name
        assert all(y is not None and torch.equal(y, labels[: len(y)]) for y in seen), name


# What measures and recipes make of them. ------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [FlowMatching((1, 4, 4), levels=2), ProbabilityFlow(Diffusion((1, 4, 4), levels=2))],
    ids=lambda model: type(model).__name__,
)
def test_a_flow_of_images_is_judged_by_its_samples(model):
    bars = load("bars")
    report = bars_report(model, n_samples=20)
    assert report["known"] == "by counting samples" and report["kl"] is None
    assert log_likelihood(model, bars) is None
    with pytest.raises(TypeError, match="no `log_prob` of images"):
        log_probs(model, bars)


def test_measures_of_a_flow_are_those_of_its_samples(monkeypatch: pytest.MonkeyPatch):
    bars, config = load("bars"), Config("flow_matching", "bars")
    flow = FlowMatching((1, 4, 4), levels=2)
    monkeypatch.setattr(flow, "sample", lambda n: torch.rand(n, 1, 4, 4).round())
    found = measure.measure(flow, config, bars, bars)
    assert list(found) == ["images among 6000 samples", "samples that are one of them"]
    with pytest.raises(RunError, match="points only"):
        measure.measure(flow, config, bars, bars, only="likelihood")


@pytest.mark.parametrize("coupling", ["independent", "ot"])
@pytest.mark.parametrize(
    "path, kind", [("linear", LinearPath), ("variance_preserving", VariancePreservingPath)]
)
def test_the_options_of_a_flow_reach_it(path: str, kind: type[Path], coupling: str):
    images = images_of(load("digits"), conditional=True)
    options = {"hidden_dim": 4, "path": path, "coupling": coupling}
    model = build_model("flow_matching", images, options)
    assert type(model.path) is kind and model.coupling == coupling
    assert (model.levels, model.n_classes) == (17, 10)
