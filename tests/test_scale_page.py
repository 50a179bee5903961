"""benchmarks/scale_page.py: tables from whatever was measured, also from nothing."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import scale_page
from course.publish import build

PAGE = build.ROOT / "docs" / "book" / "scale.md"
RESULTS = build.ROOT / "docs" / "results"
CPU = {"device": "cpu", "name": "Some CPU", "bf16_units": False, "torch": "2", "date": "2030-01-02"}
GPU = {**CPU, "device": "cuda", "name": "NVIDIA X1 80GB", "bf16_units": True}


def growth(what: str, **costs: list[float]) -> dict:
    row = {"kind": "growth", "model": "diagonal_bilstm", "varied": "side", "what": what}
    return row | {"sizes": [8, 16, 32], "fixed": {"batch": 8}, **costs}


def throughput(rate: float) -> dict:
    return {
        "kind": "throughput", "model": "vae", "images": "mnist", "batch": 128, "parameters": 648_000,
        "bytes": 12 * 2**20, "trained_per_second": rate, "drawing_seconds": 0.002,
    }  # fmt: skip


def flag(*flags: str, seconds: float, **more: float) -> dict:
    row = {"kind": "flags", "model": "vae", "batch": 256, "flags": list(flags), **more}
    return row | {"plain_seconds": 0.02, "seconds": seconds}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cpu = [growth("training", seconds=[1, 2, 8], flops=[1, 4, 16]), throughput(10_000)]
    gpu = [
        {"kind": "failed", "what": "growth gan side cuda", "error": "out of memory"},
        growth("training", seconds=[1, 2, 4], allocated=[1, 1, 1]),
        growth("drawing", seconds=[1, 4, 16]),
        throughput(100_000),
        flag("tf32", seconds=0.01),
        flag("compile", "tf32", seconds=0.0005, first_step_seconds=30),
    ]
    for machine, rows in ((GPU, gpu), (CPU, cpu)):
        stored = {"machine": machine, "rows": rows}
        (tmp_path / f"scale_{machine['device']}.json").write_text(json.dumps(stored))
    return tmp_path


def cells(text: str, start: str) -> list[str]:
    (line,) = [x for x in text.splitlines() if x.startswith(f"| {start} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_exponents_are_those_of_what_is_stored(folder: Path):
    text = scale_page.fill("<!-- scale: growth training seconds -->", folder)
    assert cells(text, "DiagonalBiLSTM | CPU core")[2:] == ["1.50 (2.00)", *5 * [""]]
    assert cells(text, "DiagonalBiLSTM | NVIDIA X1")[2:] == ["1.00 (1.00)", *5 * [""]]
    assert "| GAN" not in text  # it failed, and no number is made up
    text = scale_page.fill("<!-- scale: growth drawing seconds -->", folder)
    assert "CPU core" not in text and "2.00 (2.00)" in text
    text = scale_page.fill("<!-- scale: growth training flops allocated -->", folder)
    assert cells(text, "DiagonalBiLSTM | CPU core, flops")[2] == "2.00 (2.00)"
    assert cells(text, "DiagonalBiLSTM | NVIDIA X1, allocated")[2] == "0.00 (0.00)"


def test_times_follow_from_images_a_second(folder: Path):
    text = scale_page.fill("<!-- scale: throughput -->", folder)
    # a pass over 60,000 images
    assert cells(text, "VAE")[3:] == [
        "650,000", "12 MiB", "10,000", "6 s", "0.002 s", "100,000", "0.6 s", "0.002 s"
    ]  # fmt: skip


def test_flags_are_columns_and_what_compiling_costs_is_said(folder: Path):
    text = scale_page.fill("<!-- scale: flags -->", folder)
    assert cells(text, "VAE") == ["VAE", "256", "20 ms", "2.00", "40.00"]
    assert "30 s to 30 s" in text and "no units" not in text


def test_machines_say_what_was_varied(folder: Path):
    text = scale_page.fill("<!-- scale: machines -->", folder)
    assert text.splitlines()[1] == "- CPU core: Some CPU, torch 2, 2030-01-02; side N 8 to 32"


def test_one_machine_is_enough_and_none_is_said(folder: Path, tmp_path: Path):
    (folder / "scale_cuda.json").unlink()
    text = scale_page.fill(PAGE.read_text(), folder)
    assert "NVIDIA" not in text and "Some CPU" in text
    none = scale_page.fill(PAGE.read_text(), tmp_path / "none")
    assert "Not measured yet" in none and "Some CPU" not in none


def test_every_table_has_a_mark_and_every_mark_a_table():
    marks = re.findall(r"<!-- scale: (\w+)", PAGE.read_text())
    assert set(marks) == set(scale_page.TABLES)
    assert scale_page.fill(PAGE.read_text(), RESULTS) == PAGE.read_text(), (
        "Run: python -m benchmarks.scale_page"
    )
    with pytest.raises(KeyError, match="nonsense"):
        scale_page.fill("<!-- scale: nonsense -->", RESULTS)
