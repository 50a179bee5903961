"""tools/bench.py: what its figures mean, on a clock that the test turns."""

from types import SimpleNamespace

import pytest
import torch

from tools import bench


class Clock:
    """Time passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def process_time(self) -> float:
        return self.now

    def takes(self, *seconds: float):
        durations = iter(seconds)

        def way() -> None:
            self.now += next(durations)

        return way


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(bench, "time", clock)
    return clock


def test_the_fastest_run_counts_and_the_first_does_not(clock: Clock):
    slow, fast = clock.takes(1.0, 9.0, 7.0, 8.0), clock.takes(0.1, 2.0, 3.0, 4.0)
    assert bench.fastest(slow, fast, repeats=3) == pytest.approx([7.0, 2.0])


def test_a_ratio_counts_the_slow_way_as_often_as_it_would_run():
    row = bench.ratio("drawing", "a pass a pixel", "cached", [0.5, 2.0], times=784)
    assert row["ratio"] == 784 * 0.5 / 2.0
    assert "196.0 times" in bench.describe(row)


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_the_exponent_of_a_power_law_is_found(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, power: float
):
    def network(side: int) -> SimpleNamespace:
        return SimpleNamespace(sample=lambda n: clock.takes(1e-3 * side**power)())

    monkeypatch.setattr(bench, "NETWORKS", {"toy": network})
    row = bench.sampling_growth("toy")
    assert row["exponent"] == pytest.approx(power)
    assert f"{power:.2f}  (theory 2)" in bench.describe(row)


def test_both_training_steps_train():
    model = bench.PixelCNN((1, 4, 4), channels=8, depth=1)
    x = torch.zeros(2, 1, 4, 4)
    for fast in (False, True):
        step, before = bench.training_step(model, x, fast), model.loss(x).item()
        for _ in range(20):
            step()
        assert model.loss(x).item() < before


def test_learning_says_what_it_reached(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench, "ON_DIGITS", {"toy": (bench.PixelCNN, 8, 1, 1, 360, 1e-2)})
    row = bench.learning("toy")
    assert 2 < row["bits_per_dim"] < 4.2 and row["seconds"] > 0
    assert f"{row['bits_per_dim']:.3f} bits/dim after" in bench.describe(row)
