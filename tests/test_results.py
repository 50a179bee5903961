"""benchmarks/results.py: short runs from MNIST's files to figures, and from figures to the table in docs/results.md."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import results
from course.publish.markdown import between_marks
from genlib.autoregressive import PixelCNN
from genlib.data import ImageSet, all_images, strokes
from genlib.train import RunFolder, load_model

ROWS = {
    "gated_pixelcnn": results.Row(
        "Gated", "gated_pixelcnn --data mnist --binary --set hidden_dim=8 --set depth=1", "1.00"
    ),
    "vae": results.Row("VAE", "vae --data mnist --binary --set hidden_dim=16", "2.00"),
    "gan": results.Row(
        "GAN", "gan --data mnist --conditional --set network=mlp --set hidden_dim=16", "none"
    ),
}


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
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of this test's own, a page with nothing between its marks, and MNIST's training files."""
    monkeypatch.setattr(results, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(results, "FOUND", tmp_path / "found")
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "ROWS", ROWS)
    monkeypatch.setattr(results, "N_VALIDATION", 60)
    monkeypatch.setattr(results, "CODES", (1, 20))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/results.md").write_text(
        "before\n<!-- results -->\nold\n<!-- /results -->\nafter\n"
    )
    write_mnist(tmp_path, "train", strokes(300, seed=0))
    monkeypatch.setenv("GENLIB_DATA", str(tmp_path))
    return tmp_path


def run(*words: str) -> None:
    results.main([*words, "--minutes", "0.02", "--threads", "1", "--", "--accelerator", "cpu"])


def test_from_files_to_figures_and_a_table(place: Path, capsys):
    write_mnist(place, "t10k", strokes(50, seed=1))
    run()
    found = {path.stem: json.loads(path.read_text()) for path in place.glob("found/*.json")}
    assert found.keys() == {"gated_pixelcnn-cpu", "vae-cpu", "gan-cpu"}
    printed, page = capsys.readouterr().out, (place / "docs/results.md").read_text()
    for row in found.values():
        assert (row["split"], row["images"], row["training_images"]) == ("test", 50, 300)
        assert row["command"] in page and row["updates"] > 0
        for kind, values in row["figures"].items():
            assert results.say(row, kind, values) in printed
            assert results.say(row, kind, values) in page
    uniform = 784 * math.log(2)
    exact = found["gated_pixelcnn-cpu"]["figures"]["exact"]
    assert 0 < exact["nats"] < uniform
    assert exact["bits_per_dim"] == pytest.approx(exact["nats"] / uniform)
    assert exact["bits_error"] == pytest.approx(exact["standard_error"] / uniform)
    bounds = found["vae-cpu"]["figures"]
    assert bounds["at most, k = 1"]["nats"] > bounds["at most, k = 20"]["nats"]
    assert found["gan-cpu"]["figures"].keys() == {"Fréchet distance", "precision", "recall"}
    assert page.startswith("before\n<!-- results -->\n| model |") and page.endswith("-->\nafter\n")
    assert "old" not in page


def test_validation_never_opens_the_test_files_nor_touches_the_table(place: Path):
    assert not list(place.glob("MNIST/raw/t10k*"))
    run("gated_pixelcnn", "--validate")
    found = json.loads((place / "runs" / "gated_pixelcnn_validation" / "RESULT.json").read_text())
    assert (found["split"], found["images"], found["training_images"]) == ("validation", 60, 240)
    assert not (place / "found").exists() and "old" in (place / "docs/results.md").read_text()


def test_the_command_in_the_table_trains_that_model_and_the_same_command_goes_on(place: Path):
    write_mnist(place, "t10k", strokes(50, seed=1))
    run("vae")
    path = place / "runs" / "vae"
    model, metadata = load_model(RunFolder(path))
    assert model.decode(torch.zeros(1, 16)).shape == (1, 1, 28, 28)
    run("vae")  # its budget is used up: nothing is trained again
    assert load_model(RunFolder(path))[1]["step"] == metadata["step"]


def test_a_picture_is_drawn(place: Path):
    write_mnist(place, "t10k", strokes(50, seed=1))
    run("gated_pixelcnn", "--samples", str(place / "digits.png"))
    assert (place / "digits.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pixelcn"], "no row is called 'pixelcn'"),
        (["vae", "--samples", "a.png"], "pixel by pixel"),
        (["vae", "--minutes", "1", "--cpu-minutes", "1"], "one budget"),
        (["vae", "--threads", "0"], "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_trained(words, message, place, capsys):
    with pytest.raises(SystemExit):
        results.main(words)
    assert message in capsys.readouterr().err and not (place / "runs").exists()


def test_photographs_are_completed_below_the_half_that_is_given():
    x = torch.rand(2, 3, 4, 4)
    rows = results.completions(PixelCNN((3, 4, 4), levels=4, hidden_dim=6, depth=1), x)
    assert list(rows) == ["real", "given", "draw 1", "draw 2", "draw 3", "new"]
    assert (
        torch.equal(rows["given"][:, :, :2], x[:, :, :2]) and rows["given"][:, :, 2:].isnan().all()
    )
    for k in (1, 2, 3):
        assert torch.equal(rows[f"draw {k}"][:, :, :2], x[:, :, :2])
        assert not torch.equal(rows[f"draw {k}"][:, :, 2:], x[:, :, 2:])


def test_the_baseline_of_neighbours_is_a_distribution_that_reads_only_the_past():
    labels, shape = torch.zeros(50, dtype=torch.long), (2, 2, 2)
    some = ImageSet(torch.randint(3, (50, *shape), dtype=torch.uint8), labels, 3, 1)
    every = all_images(3, shape).mul(2).to(torch.uint8)  # 3 ** 8 images
    images = ImageSet(every, torch.zeros(len(every), dtype=torch.long), 3, 1)
    log_p = results.log_by_neighbours(some, images)
    assert log_p.flatten(1).sum(dim=1).exp().sum().item() == pytest.approx(1, abs=1e-4)
    steps = ImageSet(torch.arange(16).reshape(1, 1, 4, 4).to(torch.uint8), labels[:1], 16, 1)
    after = results.log_by_neighbours(steps, steps).exp()[0, 0, :, 1:]
    # the median is the left neighbour: 12 of the 16 values lie 1 above, and 1 is added to each count
    torch.testing.assert_close(after, torch.full((4, 3), 13 / 32))


def test_missing_mnist_is_one_line_that_says_what_to_do(place: Path, monkeypatch, capsys):
    def missing(*_: object, **__: object) -> ImageSet:
        raise FileNotFoundError("set GENLIB_DATA to the folder that holds MNIST/raw")

    monkeypatch.setattr("genlib.data.load", missing)
    with pytest.raises(SystemExit):
        run("vae")
    assert "GENLIB_DATA" in capsys.readouterr().err


def test_a_page_without_the_marks_is_left_as_it_is(place: Path):
    (place / "docs/results.md").write_text("no marks")
    with pytest.raises(ValueError, match="must hold"):
        results.put_into_page("table")
    assert (place / "docs/results.md").read_text() == "no marks"


# The table as it stands.


def test_the_table_in_the_page_is_made_from_what_was_found():
    page = (results.ROOT / "docs/results.md").read_text()
    made = between_marks(page, "results", results.table())
    assert page == made, "Run: python -m benchmarks.results --table"


def test_every_row_was_trained_by_the_words_that_stand_here():
    found = [json.loads(path.read_text()) for path in results.FOUND.glob("*.json")]
    assert {row["row"] for row in found} == set(results.ROWS)
    for row in found:
        assert row["command"].startswith(
            f"python -m genlib train {results.ROWS[row['row']].words} "
        )
        assert row["split"] == "test" and f"--seed {row['seed']} " in row["command"]


def test_the_lesson_and_the_page_say_what_was_found_of_photographs():
    found = json.loads((results.FOUND / "colour_small-cpu.json").read_text())
    bits = {name: f"{values['bits_per_dim']:.2f}" for name, values in found["baselines"].items()}
    network = f"{found['figures']['exact']['bits_per_dim']:.2f}"
    lesson = (
        (results.ROOT / "course" / "lessons" / "pixelcnn" / "lecture.py")
        .read_text()
        .replace("\n# ", " ")
    )
    for message in (
        f"{found['training_images']:,} of them, and {found['cpu_minutes']:.0f} minutes of one processor core",
        f"It needs {network} bits/dim on {found['images']} test images",
        f"Independent pixels need {bits['independent pixels']}",
        f"2000): {bits['neighbours']}.",
        f"saw each photograph about {found['epochs']:.0f} times",
    ):
        assert message in lesson
    page = (results.ROOT / "docs/results.md").read_text().replace("\n", " ")
    assert f"independent pixels need {bits['independent pixels']} bits/dim" in page
    assert f"from three neighbours and the colour before needs {bits['neighbours']}" in page


def test_what_a_theory_promises_holds_in_the_table():
    found = {path.stem: json.loads(path.read_text()) for path in results.FOUND.glob("*.json")}
    bounds = [found["vae-cuda"]["figures"][f"at most, k = {k}"]["nats"] for k in results.CODES]
    assert bounds == sorted(bounds, reverse=True)
    ordered, independent = (
        found[name]["figures"]["exact"]["bits_per_dim"]
        for name in ("colour-cuda", "colour_independent-cuda")
    )
    assert ordered < independent
    fakes = found["gan-cuda"]["figures"]["Fréchet distance"]
    assert fakes["samples"] > fakes["training images"]
