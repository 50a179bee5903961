"""What is evaluated and drawn from is the moving average of a diffusion's weights, as its formula says."""

from pathlib import Path

import pytest
import torch
from run_helpers import small, train
from torch import Tensor
from typer.testing import CliRunner

from genlib.data import load
from genlib.diffusion import Diffusion
from genlib.metrics import log_likelihood
from genlib.train import RunFolder, build_model, cli, images_of, load_model, loop, measure, read_run

SETTINGS = {"epochs": 5, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of twenty updates, whose weights are still far from their average."""
    path = tmp_path_factory.mktemp("run") / "diffusion"
    train(small("diffusion", "digits", size=32, **SETTINGS), path)
    return path


def weights_of(run: Path, prefix: str) -> dict[str, Tensor]:
    tensors, _ = RunFolder(run).load()
    found = {name: t for name, t in tensors.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): t for name, t in found.items()}


def with_weights(run: Path, prefix: str) -> Diffusion:
    config, images = read_run(RunFolder(run))
    model = build_model(config.model, images, config.options)
    model.load_state_dict(weights_of(run, prefix))
    return model.eval()


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999, 1.0])
def test_the_average_is_what_the_formula_says(decay: float, tmp_path: Path, monkeypatch):
    seen = []
    update = loop.Training.update

    def watched(training: loop.Training, progress: float) -> dict[str, float]:
        summed = update(training, progress)
        seen.append(training.model.network.first.weight.detach().double().clone())
        return summed

    monkeypatch.setattr(loop.Training, "update", watched)
    train(small("diffusion", options={"average": decay}, **SETTINGS), tmp_path)
    expected = seen[0]
    for n, weight in enumerate(seen[1:], start=1):
        d = min(decay, (1 + n) / (10 + n))
        expected = d * expected + (1 - d) * weight
    found = weights_of(tmp_path, "average.module.")["network.first.weight"].double()
    assert len(seen) == 20
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    last = weights_of(tmp_path, "model.")["network.first.weight"].double()
    assert torch.equal(found, last) == (decay == 0)


def test_a_run_is_loaded_with_its_averages(run: Path):
    model, _ = load_model(RunFolder(run))
    average, last = weights_of(run, "average.module."), weights_of(run, "model.")
    assert average.keys() == last.keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, average[name]), name
    assert any(not torch.equal(average[name], last[name]) for name in last)


def test_what_is_evaluated_and_drawn_is_the_average(run: Path, monkeypatch):
    """The command prints the bound of the averages, and draws their images: not those of the last weights."""
    drawn = []
    sample = Diffusion.sample
    monkeypatch.setattr(
        Diffusion, "sample", lambda *a, **how: drawn.append(sample(*a, **how)) or drawn[-1]
    )
    digits = load("digits", "test")
    words = ["evaluate", str(run), "--likelihood", "--steps", "7", "--accelerator", "cpu"]
    printed = CliRunner().invoke(cli.app, words).output
    words = ["sample", str(run), "--n", "6", "--seed", "3", "--accelerator", "cpu"]
    assert CliRunner().invoke(cli.app, words).exit_code == 0
    said = {}
    for prefix in ("average.module.", "model."):
        model = with_weights(run, prefix)
        torch.manual_seed(0)
        found = measure.likelihood(model, load("digits", size=32), digits, steps=7)
        line = cli.in_words(found["at most (ELBO, 7 steps)"], digits.shape)
        torch.manual_seed(3)
        said[prefix] = line in printed, torch.equal(sample(model, 6), drawn[0])
    assert said == {"average.module.": (True, True), "model.": (False, False)}, printed


# The bound that a recipe's model has.


def test_a_bound_is_that_of_the_model_in_so_many_steps_given_the_labels():
    data = load("digits", "test", size=20)
    model = build_model("diffusion", images_of(data, conditional=True), {"hidden_dim": 4})
    torch.manual_seed(1)
    known = log_likelihood(model, data, steps=3)
    torch.manual_seed(1)
    assert known.known == "bound"
    torch.testing.assert_close(known.nats, model.elbo(data.floats(), y=data.labels, steps=3))


def test_levels_come_with_their_shares_and_the_decoder_obeys_bayes_rule(run: Path):
    data = load("digits")
    images = images_of(data)
    counts = torch.stack([(data.images == k).sum() for k in range(data.levels)])
    torch.testing.assert_close(images.shares, (counts + 1) / (counts.sum() + data.levels))
    model = build_model("diffusion", images, {"hidden_dim": 4})
    zero, x_0 = torch.zeros(1), torch.linspace(-1.2, 1.2, 9).view(1, 1, 3, 3)
    grid, alpha, sigma = (
        torch.linspace(-1, 1, 17), model.schedule.alpha(zero), model.schedule.sigma(zero)
    )  # fmt: skip
    seen = torch.distributions.Normal(alpha * grid, sigma).log_prob(x_0[..., None]).exp()
    expected = images.shares * seen / (images.shares * seen).sum(dim=-1, keepdim=True)
    torch.testing.assert_close(model._level_logits(x_0, zero).softmax(dim=-1), expected)
    # a run's model has them from its checkpoint, since its folder holds no images
    held = load_model(RunFolder(run))[0].log_shares
    torch.testing.assert_close(held.exp(), images_of(data[:32]).shares)


def test_shares_of_black_and_white_are_those_that_a_drawn_pixel_has():
    data = load("digits")
    shares = images_of(data, binary=True).shares
    assert shares[1].item() == pytest.approx(data.floats().mean().item(), rel=1e-3)
    assert shares.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("shares", [torch.ones(3), torch.tensor([1.0, 0.0])])
def test_shares_that_are_none_are_refused(shares: Tensor):
    with pytest.raises(ValueError, match="shares must be 2 positive numbers"):
        Diffusion((1, 4, 4), levels=2, shares=shares)
