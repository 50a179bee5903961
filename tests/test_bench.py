"""benchmarks/bench.py: what its figures mean. tests/test_scale.py has how cost grows."""

import subprocess
import sys

import pytest

from benchmarks import bench
from course import syllabus

NOTEBOOKS = {entry.name: entry.notebook for entry in syllabus.lessons(bench.ROOT)}
FIRST, VAE = NOTEBOOKS["start_here"], NOTEBOOKS["vae"]


def test_a_ratio_counts_the_slow_way_as_often_as_it_would_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench, "seconds", lambda way, device, at_least: way())
    row = bench.ratio(
        "drawing", ("a pass a pixel", lambda: 0.5), ("cached", lambda: 2.0), times=784
    )
    assert row["ratio"] == 784 * 0.5 / 2.0


def test_a_lesson_stands_beside_its_budget(monkeypatch: pytest.MonkeyPatch):
    def work(notebook, root, lesson) -> None:
        busy = "import time\nwhile time.process_time() < 1: pass"
        subprocess.run([sys.executable, "-c", busy], check=True)

    monkeypatch.setattr(bench, "execute", work)
    lessons = {lesson.name: lesson for lesson in bench.find_lessons(bench.ROOT)}
    for name, budget in ((VAE, 60), ("ps2_vae", 60), (f"{VAE}_exercises", 30)):
        (row,) = bench.lesson(lessons[name])
        assert row["what"] == str(lessons[name].executed) and row["budget"] == budget
        assert 1 <= row["seconds"] < 3 and "too long by" not in row
