"""tools/results.py: the schedule, the budget, and one short run from MNIST's files to a figure."""

import itertools
import json
import math
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genlib.data import ImageSet, bars, strokes
from genlib.training import warm_up_then_cosine
from tools import results


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(results, "CHANNELS", 8)
    monkeypatch.setattr(results, "DEPTH", 2)
    monkeypatch.setattr(results, "HIDDEN", 16)
    monkeypatch.setattr(results, "LATENT", 4)
    monkeypatch.setattr(results, "CODES", 20)
    monkeypatch.setattr(results, "N_VALIDATION", 60)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """One second passes whenever somebody looks, so a budget is a number of steps."""
    tick = itertools.count().__next__
    monkeypatch.setattr(results, "time", SimpleNamespace(process_time=tick, perf_counter=tick))
    return tick


def write_mnist(root: Path, prefix: str, data: ImageSet) -> None:
    """The two files of a split, in the IDX format that torchvision downloads."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    n, _, height, width = data.images.shape
    images = struct.pack(">IIII", 0x803, n, height, width) + data.images.numpy().tobytes()
    labels = struct.pack(">II", 0x801, n) + data.labels.numpy().astype(np.uint8).tobytes()
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(images)
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)


@pytest.fixture
def training_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_mnist(tmp_path, "train", strokes(300, seed=0))
    monkeypatch.setenv("GENLIB_DATA", str(tmp_path))
    return tmp_path


def test_learning_rate_climbs_to_its_peak_at_the_end_of_the_warm_up_then_falls_to_zero():
    rate = [warm_up_then_cosine(i / 1000) for i in range(1001)]
    peak = 50  # a twentieth is the warm-up
    assert rate[0] == 0 and rate[peak] == pytest.approx(1) and rate[-1] == pytest.approx(0)
    assert rate[: peak + 1] == sorted(rate[: peak + 1])
    assert rate[peak:] == sorted(rate[peak:], reverse=True)
    assert warm_up_then_cosine(1.2) == pytest.approx(0)  # the last step may end after the budget


def test_orthogonalised_matrices_stretch_no_direction_much_more_than_another():
    g = torch.randn(3, 16, 48) * torch.logspace(-2, 0, 16)[:, None]
    stretch = torch.linalg.svdvals(results.orthogonalise(g))
    assert torch.linalg.svdvals(g / g.norm(dim=(1, 2), keepdim=True)).min() < 0.01
    assert ((stretch > 0.3) & (stretch < 1.3)).all()


def test_muon_takes_the_steps_of_torch_optim_muon():
    ours = [torch.nn.Parameter(torch.randn(12, 4, 1, 2)) for _ in range(3)]
    theirs = [torch.nn.Parameter(w.detach().flatten(1).clone()) for w in ours]
    muon = results.Muon([{"params": ours, "lr": 0.1}])
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


@pytest.mark.parametrize("recipe", results.RECIPES.values(), ids=results.RECIPES)
def test_training_stops_when_the_budget_is_used_up(recipe: results.Recipe, clock):
    _, cost = results.train(recipe, bars(), budget=5, device=torch.device("cpu"), clock=clock)
    # looked at before the start (0), before each step (1, 2, 3, 4 used), then 5 of 5 are used
    assert cost == {"steps": 4, "seconds": 6}


def test_training_draws_every_image_anew_and_keeps_it_binary():
    grey = ImageSet(torch.full((1, 1, 4, 4), 128, dtype=torch.uint8), torch.zeros(1).long(), 256, 1)
    first, second = itertools.islice(results.endless_batches(grey, 1, torch.device("cpu")), 2)
    assert first.unique().tolist() == [0, 1] and not torch.equal(first, second)


def test_the_kl_weight_of_a_vae_climbs_to_one_and_stays(clock):
    seen = []

    class Remembering(results.VAE):
        def loss(self, x):
            seen.append(self.kl_weight)
            return super().loss(x)

    recipe = replace(results.RECIPES["vae"], build=lambda data: Remembering(data.shape, 2))
    model, _ = results.train(recipe, bars(), budget=21, device=torch.device("cpu"), clock=clock)
    assert seen[:6] == pytest.approx([k / 21 / 0.3 for k in range(1, 7)])
    assert seen[6:] == [1.0] * (len(seen) - 6) and model.kl_weight == 1


def test_a_vae_starts_from_the_mean_image():
    grey = ImageSet(torch.full((5, 1, 4, 4), 51, dtype=torch.uint8), torch.zeros(5).long(), 256, 1)
    model = results.vae(grey)
    assert torch.allclose(model.decode(torch.zeros(1, 4)).mean(), torch.tensor(0.2), atol=0.15)


@pytest.mark.parametrize("name", results.RECIPES)
def test_from_files_to_a_likelihood_better_than_fair_coins(
    name: str, training_files: Path, clock, capsys
):
    write_mnist(training_files, "t10k", strokes(50, seed=1))
    out = training_files / "figures.json"
    figures = results.main(["--model", name, "--minutes", "1", "--out", str(out)])
    assert figures["split"] == "test" and figures["images"] == 50
    assert figures["steps"] == 59
    assert 0 < figures["nats"] < 0.8 * 784 * math.log(2)
    assert figures["bits_per_dim"] == pytest.approx(figures["nats"] / 784 / math.log(2))
    assert json.loads(out.read_text()) == figures
    assert f"{figures['nats']:.4g}" in capsys.readouterr().out


def test_validation_never_opens_the_test_files(training_files: Path, clock):
    assert not list(training_files.glob("MNIST/raw/t10k*"))
    figures = results.main(["--minutes", "0.1", "--validate"])
    assert figures["split"] == "validation" and figures["images"] == 60


def test_missing_mnist_is_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    def missing(*_: str) -> ImageSet:
        raise FileNotFoundError("set GENLIB_DATA to the folder that holds MNIST/raw")

    monkeypatch.setattr(results, "load", missing)
    with pytest.raises(SystemExit, match="GENLIB_DATA"):
        results.main([])


def test_only_a_pixel_model_is_drawn_pixel_by_pixel(tmp_path: Path, capsys):
    with pytest.raises(SystemExit):
        results.main(["--model", "vae", "--samples", str(tmp_path / "digits.png")])
    assert "pixel by pixel" in capsys.readouterr().err
