"""benchmarks/bench.py: what its figures mean. tests/test_scale.py has the clock, and how cost grows."""

import subprocess
import sys

import pytest
import torch

from benchmarks import bench
from course import syllabus

NOTEBOOKS = {entry.name: entry.notebook for entry in syllabus.lessons(bench.ROOT)}


def test_a_ratio_counts_the_slow_way_as_often_as_it_would_run():
    row = bench.ratio("drawing", "a pass a pixel", "cached", [0.5, 2.0], times=784)
    assert row["ratio"] == 784 * 0.5 / 2.0
    assert "196.0 times" in bench.describe(row)


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


def test_ratios_come_first_and_one_part_can_be_had(monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []

    def run(jobs, options, say) -> int:
        done.extend(what for what, _ in jobs)
        return 0

    monkeypatch.setattr(bench.scale, "run", run)
    assert bench.main(["--models", "rbm"]) == 0
    assert done[0] == "sampling of PixelCNN 7x64" and done[-1] == "throughput of rbm, mnist"
    done.clear()
    bench.main(["--parts", "ratios"])
    assert done[-1] == "learning of DiagonalBiLSTM"
    done.clear()
    bench.main(["--parts", "growth", "--models", "rbm"])
    assert done == ["rbm, side", "rbm, width", "rbm, batch", "rbm, chain"]


def test_a_lesson_stands_beside_its_budget(monkeypatch: pytest.MonkeyPatch):
    lessons = {lesson.name: lesson for lesson in bench.find_lessons(bench.ROOT)}
    first, vae = NOTEBOOKS["start_here"], NOTEBOOKS["vae"]
    budgets = {name: bench.budget(lesson) for name, lesson in lessons.items()}
    assert budgets[vae] == budgets["ps2_vae"] == 60 and budgets[f"{vae}_exercises"] == 30

    def work(notebook, root, lesson) -> None:
        busy = "import time\nwhile time.process_time() < 1: pass"
        subprocess.run([sys.executable, "-c", busy], check=True)

    monkeypatch.setattr(bench, "execute", work)
    row = bench.seconds_of(lessons[first])
    assert 1 <= row["seconds"] < 3
    assert f"notebooks/{first}.ipynb" in bench.describe(row) and "of 60" in bench.describe(row)
    assert bench.describe(row | {"seconds": 60.1}).endswith("too long")
    assert "too long" not in bench.describe(row)
