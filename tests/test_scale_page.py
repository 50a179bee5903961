"""benchmarks/scale_page.py: tables from whatever was measured, also from nothing."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import scale_page
from benchmarks.scale import LAWS, VARIED

PAGE, RESULTS = scale_page.PAGE, scale_page.ROOT / "docs" / "results"
CPU = {"device": "cpu", "name": "Some CPU", "torch": "2", "threads": 1, "date": "2030-01-02"}
GPU = {**CPU, "device": "cuda", "name": "NVIDIA X1 80GB"}


def growth(machine: dict, seconds: float, **more: float) -> dict:
    costs = {
        "bytes": 2.0,
        "launches": -1e-9,
        "flops": 2.0,
        "steps": 1.03,
        "seconds": seconds,
        **more,
    }
    cost = {"sizes": [8, 16], "steps": [15, 31], "exponents": costs, "last_exponents": costs}
    return {
        "kind": "growth", "model": "diagonal_bilstm", "varied": "side", "machine": machine,
        "training": cost, "drawing": {**cost, "steps": [64, 256]},
    }  # fmt: skip


def throughput(machine: dict, per_second: float) -> dict:
    return {
        "kind": "throughput", "model": "vae", "images": "mnist", "batch": 128, "parameters": 648_000,
        "bytes": 12 * 2**20, "trained_per_second": per_second, "drawing_seconds": 0.002, "drawn": 16,
        "machine": machine,
    }  # fmt: skip


def flag(machine: dict, *flags: str, seconds: float) -> dict:
    return {
        "kind": "flags", "model": "vae", "batch": 256, "flags": list(flags), "plain_seconds": 0.02,
        "seconds": seconds, "ratio": 0.02 / seconds, "first_step_seconds": 30.0, "bf16_units": True,
        "machine": machine,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    failed = {"kind": "failed", "what": "gan, side", "error": "out of memory", "machine": GPU}
    for name, rows in {
        "cpu": [growth(CPU, 1.5), throughput(CPU, 10_000.0)],
        "gpu": [failed, growth(GPU, 1.04, allocated=1.9), throughput(GPU, 100_000.0),
                flag(GPU, "tf32", seconds=0.01), flag(GPU, "compile", "tf32", seconds=0.0005)],
    }.items():  # fmt: skip
        (tmp_path / f"scale_{name}.json").write_text(json.dumps(rows))
    return tmp_path


def cells(text: str, start: str) -> list[str]:
    (line,) = [x for x in text.splitlines() if x.startswith(f"| {start} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_theory_stands_beside_both_machines(folder: Path):
    side = scale_page.fill("<!-- scale: growth -->", folder).split("### Levels")[0]
    main, folded = side.split("<details>", 1)
    assert cells(main, "model") == [
        "model", "training step: theory", "CPU core", "NVIDIA X1", "drawing: theory", "CPU core",
        "NVIDIA X1", "memory: theory", "counted, CPU core", "allocated, NVIDIA X1",
    ]  # fmt: skip
    assert cells(main, "DiagonalBiLSTM") == [
        "DiagonalBiLSTM", "1 to 2", "1.50 (1.50)", "1.04 (1.04)", "2", "1.50 (1.50)",
        "1.04 (1.04)", "0 to 2", "2.00 (2.00)", "1.90 (1.90)",
    ]  # fmt: skip
    assert cells(main, "GAN")[1:4] == [
        "0 to 2, log",
        "",
        "",
    ]  # failed: an empty cell, and no number
    assert "RowLSTM: 1 to 2: N rows one after another" in folded
    assert cells(folded, "DiagonalBiLSTM")[1:3] == ["0.00 (0.00)", "2.00 (2.00)"]


def test_every_size_has_a_table_with_every_model_it_belongs_to(folder: Path):
    text = scale_page.fill("<!-- scale: growth -->", folder)
    parts = text.split("### ")[1:]
    assert len(parts) == len(VARIED)
    for varied, part in zip(VARIED, parts, strict=True):
        for name in LAWS:
            assert (f"| {scale_page.model_name(name)} |" in part) == (varied in LAWS[name])


def test_times_follow_from_images_a_second(folder: Path):
    text = scale_page.fill("<!-- scale: jobs -->", folder)
    # 100 passes over 60,000 images: at 10,000 a second, at 100,000, and at 256 in half a millisecond
    assert cells(text, "VAE on MNIST") == ["VAE on MNIST", "100", "10 min", "60 s", "12 s"]
    assert cells(text, "GAN on MNIST")[2:] == ["", "", ""]


def test_flags_are_columns_and_what_compiling_costs_is_said(folder: Path):
    text = scale_page.fill("<!-- scale: flags -->", folder)
    assert cells(text, "VAE") == ["VAE", "256", "20 ms", "2.00", "40.00"]
    assert "30 s to 30 s" in text and "no units" not in text


def test_counted_steps_are_shown(folder: Path):
    text = scale_page.fill("<!-- scale: steps -->", folder)
    assert "2N - 1 diagonals a layer | 8, 16 | 15, 31 | 1.03 |" in text


def test_one_machine_is_enough_and_none_is_said(folder: Path, tmp_path: Path):
    (folder / "scale_gpu.json").unlink()
    text = scale_page.fill(PAGE.read_text(), folder)
    assert "NVIDIA" not in text and "Some CPU" in text
    none = scale_page.fill(PAGE.read_text(), tmp_path / "none")
    assert none.count("Not measured yet") == len(scale_page.TABLES)


def test_every_mark_of_the_page_has_a_table():
    marks = re.findall(r"<!-- scale: (\w+) -->", PAGE.read_text())
    assert sorted(marks) == sorted(scale_page.TABLES)
    with pytest.raises(KeyError, match="nonsense"):
        scale_page.fill("<!-- scale: nonsense -->", RESULTS)


def test_the_page_as_it_stands_has_the_tables_of_what_was_measured():
    assert scale_page.fill(PAGE.read_text(), RESULTS) == PAGE.read_text(), (
        "Run: python -m benchmarks.scale_page"
    )
