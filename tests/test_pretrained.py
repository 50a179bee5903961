"""Pretrained models: what was trained comes out as it went in, what is damaged is refused, and every card is true."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import safetensors.torch
import torch
from run_helpers import small, train
from torch import nn

from benchmarks import pack as packer
from course import explorers
from course.publish.build import ROOT
from course.publish.markdown import between_marks
from genlib import pretrained
from genlib.adversarial import GAN
from genlib.autoregressive import PixelModel
from genlib.data import ImageSet, binarise, load
from genlib.diffusion import Diffusion
from genlib.flow_matching import FlowMatching
from genlib.from_noise import FromNoise
from genlib.metrics import FeatureClassifier, log_probs, nearest_neighbours, train_classifier
from genlib.pretrained import PretrainedError
from genlib.train import Config, RunError, RunFolder, load_model, measure
from genlib.train.measure import as_trained, mean_and_error
from genlib.variational import VAE, importance_bound

KINDS = {
    "gated_pixelcnn-digits": ("gated_pixelcnn", {"binary": True, "size": 300}),
    "vae-digits": ("vae", {"binary": True, "size": 300}),
    "gan-digits": ("gan", {"conditional": True, "size": 300}),
    "diffusion-digits": ("diffusion", {"conditional": True, "size": 300}),
    "flow_matching-digits": ("flow_matching", {"conditional": True, "size": 300}),
}
IN_NATS = PixelModel | VAE  # whose rounding is measured in nats; of others in grey values
REAL = pretrained.names()
FAST = {"machine": "a laptop", "codes": (1, 10), "n": 40}


@pytest.fixture(scope="module", autouse=True)
def judges_are_trained_once():
    """The same images train the same judge, as tests/test_metrics.py shows: here one is kept for each."""
    known: dict[bytes, FeatureClassifier] = {}

    def trained_once(data: ImageSet) -> FeatureClassifier:
        key = bytes([data.levels % 256]) + data.images.numpy().tobytes()
        if key not in known:
            known[key] = train_classifier(data)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in (packer, measure):
            patch.setattr(module, "train_classifier", trained_once)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A small run of one model of each kind, which no test may change."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("runs")
    for name, (model, settings) in KINDS.items():
        train(small(model, "digits", epochs=2, batch_size=50, **settings), root / name)
    return {name: root / name for name in KINDS}


@pytest.fixture(scope="module")
def packed(runs, tmp_path_factory) -> Path:
    """A folder with all of them packed, which no test may change."""
    folder = empty(tmp_path_factory.mktemp("pretrained"))
    for name, run in runs.items():
        packer.pack(run, name, folder, **FAST)
    return folder


@pytest.fixture
def opened(packed, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(packed, tmp_path / "pretrained"))


def empty(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "models.json").write_text(json.dumps({"format": pretrained.FORMAT, "models": {}}))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def trained(run: Path) -> nn.Module:
    return load_model(RunFolder(run))[0]


# What comes out.


@pytest.mark.parametrize("name", KINDS)
def test_a_model_comes_out_with_the_weights_that_went_in_rounded(name: str, runs, packed):
    before, after = trained(runs[name]).state_dict(), pretrained.load(name, packed).state_dict()
    assert before.keys() == after.keys()
    for key, weight in before.items():
        if weight.is_floating_point():
            assert after[key].dtype == torch.float32
            assert torch.equal(after[key], weight.half().float())
        else:
            assert torch.equal(after[key], weight)


@pytest.mark.parametrize("name", KINDS)
def test_a_packed_model_computes_what_it_did_before(name: str, runs, packed):
    before, after = trained(runs[name]), pretrained.load(name, packed)
    data = load("digits", "test")
    data = binarise(data, how="stochastic") if isinstance(before, IN_NATS) else data
    x, y = packer.probes(before, data)
    change = (packer.outputs(after, x, y) - packer.outputs(before, x, y)).abs().mean().item()
    assert 0 < change < (packer.NATS if isinstance(before, IN_NATS) else packer.GREY)


def test_a_likelihood_moves_by_less_than_a_twentieth_of_a_nat(runs, packed):
    data = binarise(load("digits", "test"), how="stochastic")
    before, after = (
        log_probs(model, data).mean().item()
        for model in (
            trained(runs["gated_pixelcnn-digits"]),
            pretrained.load("gated_pixelcnn-digits", packed),
        )
    )
    assert before != after and abs(before - after) < 0.05


@pytest.mark.parametrize("name", KINDS)
def test_it_is_ready_to_draw_from(name: str, packed):
    model, about = pretrained.load(name, packed), pretrained.card(name, packed)
    assert not any(module.training for module in model.modules())
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    y = {"y": torch.arange(10)} if about.images.n_classes else {}
    x = model.sample(10, **y)
    assert x.shape == (10, *about.images.shape)
    assert 0 <= x.min() and x.max() <= 1
    if not isinstance(model, GAN):  # whose grey values are not on a grid
        steps = x * (about.images.levels - 1)
        assert torch.equal(steps, steps.round())


def test_loading_leaves_the_random_numbers_and_the_default_device_alone(packed):
    before = torch.get_rng_state()
    with torch.device("meta"):
        model = pretrained.load("vae-digits", packed)
    assert torch.equal(torch.get_rng_state(), before)
    assert next(model.parameters()).device.type == "cpu"


def test_the_short_way_is_a_function_of_genlib(opened, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", opened)
    assert isinstance(pretrained.load("vae-digits"), VAE)
    assert pretrained.load("vae-digits") is not pretrained.load("vae-digits")
    assert pretrained.names() == tuple(sorted(KINDS))


def test_importing_genlib_alone_imports_no_torch():
    code = "import genlib, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr


# What is refused.


def test_an_unknown_name_is_answered_with_all_there_are_and_the_nearest(packed):
    with pytest.raises(
        ValueError, match="there are diffusion-digits, .*did you mean 'gated_pixelcnn-digits'"
    ):
        pretrained.load("gatedpixelcnn-digits", packed)


def test_a_folder_without_models_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds none"):
        pretrained.card("vae-mnist", empty(tmp_path))


def test_one_flipped_byte_anywhere_is_refused(opened):
    path = pretrained.weights_file("vae-digits", opened)
    whole = path.read_bytes()
    for place in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        broken = bytearray(whole)
        broken[place] ^= 1
        path.write_bytes(bytes(broken))
        with pytest.raises(PretrainedError, match="is damaged .its checksum.*git checkout"):
            pretrained.load("vae-digits", opened)
    path.write_bytes(whole)
    pretrained.load("vae-digits", opened)


@pytest.mark.parametrize("length", [0, 9, -1])
def test_a_file_cut_short_is_refused(length: int, opened):
    path = pretrained.weights_file("vae-digits", opened)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(PretrainedError, match="vae-digits.safetensors is damaged"):
        pretrained.load("vae-digits", opened)


def test_a_missing_file_is_named_with_what_to_do(opened):
    pretrained.weights_file("vae-digits", opened).unlink()
    with pytest.raises(
        PretrainedError, match="vae-digits.safetensors is missing: put it back with `git"
    ):
        pretrained.load("vae-digits", opened)
    (opened / "models.json").unlink()
    with pytest.raises(PretrainedError, match="models.json is missing: put it back"):
        pretrained.names(opened)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "genlib pretrained 1"}'])
def test_a_damaged_catalogue_is_refused(text: str, opened):
    (opened / "models.json").write_text(text)
    with pytest.raises(PretrainedError, match="models.json is damaged"):
        pretrained.load("vae-digits", opened)


def test_a_catalogue_of_another_version_is_refused(opened):
    (opened / "models.json").write_text('{"format": "genlib pretrained 7", "models": {}}')
    with pytest.raises(PretrainedError, match="another version than genlib"):
        pretrained.names(opened)


def change_entry(folder: Path, name: str, **changes: object) -> None:
    catalogue = json.loads((folder / "models.json").read_text())
    catalogue["models"][name] |= changes
    (folder / "models.json").write_text(json.dumps(catalogue))


def test_weights_of_another_shape_are_refused(opened):
    about = pretrained.card("vae-digits", opened)
    change_entry(opened, "vae-digits", options={**about.options, "hidden_dim": 17})
    with pytest.raises(
        PretrainedError, match="do not fit the vae of models.json .*size mismatch.*different vers"
    ):
        pretrained.load("vae-digits", opened)
    change_entry(opened, "vae-digits", options={**about.options, "hidden": 17})
    with pytest.raises(PretrainedError, match="do not fit the vae of models.json"):
        pretrained.load("vae-digits", opened)


def test_what_is_no_file_of_tensors_is_refused_and_never_unpickled(opened):
    path = pretrained.weights_file("vae-digits", opened)
    torch.save({"w": torch.zeros(1)}, path)
    with pytest.raises(PretrainedError, match="its checksum"):
        pretrained.load("vae-digits", opened)
    sha256 = packer.hashlib.sha256(path.read_bytes()).hexdigest()
    change_entry(opened, "vae-digits", sha256=sha256)
    with pytest.raises(PretrainedError, match="is damaged"):
        pretrained.load("vae-digits", opened)


# Packing.


def test_the_same_run_gives_the_same_bytes(runs, packed, tmp_path):
    again = empty(tmp_path / "again")
    for name, run in reversed(runs.items()):
        packer.pack(run, name, again, **FAST)
    assert contents(again) == contents(packed)


def test_a_card_has_the_numbers_of_the_rounded_model(packed):
    model, about = (
        pretrained.load("gated_pixelcnn-digits", packed),
        pretrained.card("gated_pixelcnn-digits", packed),
    )
    config = Config(about.model, about.data, binary=about.binary)
    nats = -log_probs(model, as_trained(load("digits", "test"), config, "test"))
    assert (about.metrics["nats"].value, about.metrics["nats"].error) == pytest.approx(
        mean_and_error(nats), rel=1e-5
    )
    assert about.metrics["nats"].value < about.metrics["independent_pixels"].value + 20
    vae = pretrained.card("vae-digits", packed).metrics
    assert vae["elbo"].value > vae["bound_10"].value
    assert 0 <= pretrained.card("gan-digits", packed).metrics["obeyed"].value <= 1


def test_a_card_says_where_it_comes_from(packed):
    about = pretrained.card("gan-digits", packed)
    command = "train gan --data digits --out runs/gan-digits --epochs 2 --batch-size 50 --size 300"
    assert command in about.command and "--conditional" in about.command
    assert (about.machine, about.seed, about.licence) == ("a laptop", 0, "MIT")
    assert about.images.n_classes == 10 and about.parameters > 1000
    text = (packed / "gan-digits.md").read_text()
    for heading in ("Data", "Training", "How good it is", "What it is not for", "Licence"):
        assert f"## {heading}\n" in text
    assert (
        about.command in text and about.sha256 in text and 'pretrained.load("gan-digits")' in text
    )


def test_metadata_of_a_results_file_join_the_card(runs, tmp_path, capsys):
    run = Path(shutil.copytree(runs["gan-digits"], tmp_path / "run"))
    figures = {"machine": "one core of a Zen 4", "command": "make results", "figures": {}}
    (run / "RESULT.json").write_text(json.dumps(figures))
    folder = empty(tmp_path / "pretrained")
    words = [str(run), "gan-digits", "--folder", str(folder), "--samples", "40"]
    assert packer.main(words) == 0
    assert "gan-digits: 0." in capsys.readouterr().out
    about = pretrained.card("gan-digits", folder)
    assert (about.machine, about.command) == ("one core of a Zen 4", "make results")


def test_without_the_data_the_figures_of_the_results_file_are_taken(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(packer, "images_at_hand", lambda config: None)
    run, folder = runs["gated_pixelcnn-digits"], empty(tmp_path)
    with pytest.raises(RunError, match="nothing is known of how good it is: let GENLIB_DATA"):
        packer.pack(run, "gated_pixelcnn-digits", folder, **FAST)
    nats = {"nats": 33.3, "standard_error": 0.5, "bits_per_dim": 0.75, "bits_error": 0.01}
    figures = {"images": 360, "figures": {"exact": nats}}
    about = packer.pack(run, "gated_pixelcnn-digits", folder, figures=figures, **FAST)
    assert str(about.metrics["nats"]) == "33.30 ± 0.50"
    assert about.metrics["nats"].how.endswith(
        "on 360 test images; measured before the weights were rounded"
    )


def test_a_figure_of_the_results_file_stays_only_where_none_of_the_rounded_model_is(runs, tmp_path):
    of = {"nats": 1.0, "standard_error": 0.5, "bits_per_dim": 0.75, "bits_error": 0.01}
    found = {"samples": 7.0, "training images": 5.0}
    figures = {f"at most, k = {k}": of for k in (1, 10, 5000)} | {"Fréchet distance": found}
    figures = {"images": 360, "figures": figures}
    run, folder = runs["vae-digits"], empty(tmp_path)
    metrics = packer.pack(run, "vae-digits", folder, figures=figures, **FAST).metrics
    assert metrics["bound_5000"].value == 1.0 and "before" in metrics["bound_5000"].how
    for name in ("elbo", "bound_10", "frechet", "real_frechet"):
        assert metrics[name].value not in (1.0, 5.0, 7.0) and "before" not in metrics[name].how
    assert list(metrics)[:3] == ["elbo", "bound_10", "bound_5000"]


def test_two_packers_at_once_lose_nothing(runs, tmp_path, monkeypatch):
    folder, measured = empty(tmp_path), packer.measured

    def meanwhile(*arguments):
        monkeypatch.setattr(packer, "measured", measured)
        packer.pack(runs["gan-digits"], "gan-digits", folder, **FAST)
        return measured(*arguments)

    monkeypatch.setattr(packer, "measured", meanwhile)
    packer.pack(runs["vae-digits"], "vae-digits", folder, **FAST)
    assert pretrained.names(folder) == ("gan-digits", "vae-digits")
    assert all(pretrained.load(name, folder) for name in pretrained.names(folder))


def test_pages_are_written_anew_from_the_catalogue(opened):
    whole = contents(opened)
    change_entry(opened, "vae-digits", machine="a desktop")
    (opened / "gan-digits.md").unlink()
    assert packer.main(["--pages", "--folder", str(opened)]) == 0
    assert "0.0 minutes on a desktop" in (opened / "vae-digits.md").read_text()
    assert (opened / "gan-digits.md").read_bytes() == whole["gan-digits.md"]


@pytest.mark.parametrize(
    "value, error, words",
    [
        (78.248, 0.192, "78.25 ± 0.19"),
        (0.9987, 0.0004, "0.9987 ± 0.0004"),
        (1.0, 0.0, "1.00 ± 0.00"),
        (2.7888, None, "2.789"),
    ],
)
def test_a_figure_has_as_many_digits_as_its_error_lets_it(
    value: float, error: float | None, words: str
):
    assert str(pretrained.Measured(value, error, "so")) == words


def refused(words: str, run: Path, name: str, folder: Path, **how: object) -> None:
    """It cannot be packed, and the packed models are as they were."""
    before = contents(folder)
    with pytest.raises(RunError, match=words):
        packer.pack(run, name, folder, **{**FAST, **how})
    assert contents(folder) == before


def test_what_is_too_large_is_refused(runs, opened, monkeypatch):
    size = pretrained.card("vae-digits", opened).size
    run, together = runs["vae-digits"], sum(pretrained.card(name, opened).size for name in KINDS)
    monkeypatch.setattr(packer, "LARGEST", size - 1)
    refused("takes .* MB, and a pretrained model at most", run, "vae-digits", opened)
    monkeypatch.setattr(packer, "LARGEST", size)
    monkeypatch.setattr(packer, "LARGEST_TOGETHER", together - 1)
    refused("with vae-digits all models take", run, "vae-digits", opened)
    monkeypatch.setattr(packer, "LARGEST_TOGETHER", together)
    packer.pack(run, "vae-digits", opened, **FAST)  # in its own place it takes nothing more
    refused("with another-digits all models take", run, "another-digits", opened)


@pytest.mark.parametrize("name", KINDS)
def test_a_model_that_rounding_changes_is_refused(name: str, runs, opened, monkeypatch):
    monkeypatch.setattr(packer, "NATS", 1e-7)
    monkeypatch.setattr(packer, "GREY", 1e-9)
    refused("says something else: (nats|grey values)", runs[name], name, opened)


def test_weights_beyond_float16_are_kept_as_bfloat16():
    model = VAE((1, 4, 4), latent_dim=2)
    data = load("bars")
    with torch.no_grad():  # a unit that nothing comes out of, so that only the range matters
        model.decoder.rest[-1].weight[:, 0] = 0
        model.decoder.first.bias[0] = 1e6
    weights, dtype, _ = packer.half_precision(model, data)
    assert dtype == "bfloat16" and all(w.isfinite().all() for w in weights.values())
    model.decoder.first.bias.data[0] = 1.0
    assert packer.half_precision(model, data)[1] == "float16"


def test_other_refusals_say_what_to_do(runs, opened, tmp_path):
    run = runs["vae-digits"]
    refused("a name of a pretrained model is MODEL-DATA", run, "../vae", opened)
    refused("say what it was trained on: --machine", run, "vae-digits", opened, machine=None)
    refused("there is no run in", tmp_path / "nowhere", "vae-digits", opened)
    train(small("rbm"), tmp_path / "rbm")
    refused(
        "pack a pixel model, a VAE, a GAN, a diffusion or a flow",
        tmp_path / "rbm",
        "rbm-bars",
        opened,
    )
    model = VAE((1, 4, 4), latent_dim=2)
    nn.init.constant_(model.encoder.first.bias, torch.nan)
    with pytest.raises(RunError, match="encoder.first.bias holds what is no number"):
        packer.half_precision(model, load("bars"))


@pytest.mark.parametrize("stage", ["card_text", "json"])
def test_a_packer_that_fails_leaves_the_models_as_they_were(stage: str, runs, opened, monkeypatch):
    before = contents(opened)

    def fail(*arguments: object, **how: object) -> None:
        raise OSError("the disk is full")

    if stage == "card_text":
        monkeypatch.setattr(packer, "card_text", fail)
    else:  # when two of three files are written
        write, calls = Path.write_bytes, []

        def third(path: Path, content: bytes) -> int:
            calls.append(path)
            return write(path, content) if len(calls) < 3 else fail()

        monkeypatch.setattr(Path, "write_bytes", third)
    with pytest.raises(OSError, match="the disk is full"):
        packer.pack(runs["vae-digits"], "vae-digits", opened, **FAST)
    monkeypatch.undo()
    assert contents(opened) == before


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    assert packer.main([str(tmp_path), "vae-mnist", "--machine", "x"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pack: there is no run in")


# The models that the course comes with.


def test_the_folder_holds_what_its_catalogue_lists_and_nothing_else():
    files = {path.name for path in pretrained.FOLDER.iterdir() if path.name != "__pycache__"}
    listed = {f"{name}{suffix}" for name in REAL for suffix in (".safetensors", ".md")}
    assert files == {"__init__.py", "models.json"} | listed


def test_pretrained_files_are_small():
    sizes = {name: pretrained.weights_file(name, pretrained.FOLDER).stat().st_size for name in REAL}
    assert all(size <= 3_000_000 for size in sizes.values()) and sum(sizes.values()) <= 12_000_000
    assert (packer.LARGEST, packer.LARGEST_TOGETHER) == (3_000_000, 12_000_000)


def test_pages_and_lessons_name_models_that_are_there():
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("course/lessons/*/*.py")]
    for page in pages:
        named = re.findall(
            r'pretrained\.(?:load|card)\("([^"]+)"\)', page.read_text(encoding="utf-8")
        )
        assert set(named) <= set(REAL), page
    page = (ROOT / "docs" / "pretrained.md").read_text(encoding="utf-8")
    table = packer.table([pretrained.card(name) for name in REAL])
    assert between_marks(page, "pretrained", table) == page


def test_weights_and_cards_ship_with_the_package(tmp_path):
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(shipped["package-data"]["genlib.pretrained"]) == {"*.json", "*.md", "*.safetensors"}
    source = tmp_path / "course"
    shutil.copytree(
        ROOT / "genlib", source / "genlib", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "LICENSE", "LICENSE-text.md"):
        shutil.copy(ROOT / name, source / name)
    (source / "genlib" / "pretrained" / "x-y.safetensors").touch()
    (source / "genlib" / "pretrained" / "x-y.md").touch()
    code = "from setuptools import setup; setup()"
    words = [sys.executable, "-c", code, "-q", "build_py", "--build-lib", str(tmp_path / "built")]
    made = subprocess.run(words, cwd=source, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    inside = {path.name for path in (tmp_path / "built" / "genlib" / "pretrained").iterdir()}
    assert {"models.json", "x-y.safetensors", "x-y.md"} <= inside


@pytest.fixture(scope="module")
def judges() -> dict[int, FeatureClassifier]:
    """Who reads samples, by the number of levels: they learnt from simulated handwriting, no MNIST."""
    strokes = load("strokes", size=3000)
    return {
        2: train_classifier(binarise(strokes, how="stochastic")),
        256: train_classifier(strokes),
    }


@pytest.mark.parametrize("name", REAL)
def test_a_real_model_loads_and_its_card_is_its_entry(name: str):
    model, about = pretrained.load(name), pretrained.card(name)
    assert sum(p.numel() for p in model.parameters()) == about.parameters
    assert pretrained.weights_file(name, pretrained.FOLDER).stat().st_size == about.size
    file = safetensors.torch.load_file(pretrained.weights_file(name, pretrained.FOLDER))
    assert {str(w.dtype) for w in file.values()} <= {f"torch.{about.dtype}", "torch.int64"}
    assert (pretrained.FOLDER / f"{name}.md").read_text(encoding="utf-8") == packer.card_text(about)
    assert about.rounding.value <= (packer.NATS if isinstance(model, IN_NATS) else packer.GREY)
    assert about.metrics and about.licence == "MIT" and about.machine
    assert not re.search(r"(^|\s)/\w", about.command)  # no path of one machine


def sure(judge: FeatureClassifier, x: torch.Tensor) -> float:
    """The share of images of which a judge is sure, with more than 90 % for one digit."""
    with torch.no_grad():
        return (judge(x).softmax(dim=1).amax(dim=1) > 0.9).float().mean().item()


@pytest.mark.parametrize("name", REAL)
def test_samples_of_a_real_model_look_like_digits(name: str, judges):
    model, images = pretrained.load(name), pretrained.card(name).images
    y = torch.arange(100) % images.n_classes if images.n_classes else None
    few = {"steps": 20} if isinstance(model, FromNoise) else {}  # of a hundred passes each
    x = model.sample(100, y=y, **few)
    judge = judges[images.levels]
    noise = x.flatten(1)[:, torch.randperm(x[0].numel())].reshape(x.shape)  # as much ink, no shape
    # of binarised MNIST itself this judge is sure in three images of four
    assert sure(judge, x) > max(0.4, 2 * sure(judge, noise))
    assert 0.09 < x.mean() < 0.17  # MNIST has 0.13
    if y is not None:
        assert (judge.predict(x) == y).float().mean() > 0.6


@pytest.mark.parametrize("name", [n for n in REAL if not n.startswith(("gan", "flow_matching"))])
def test_the_likelihood_on_a_real_card_is_that_of_its_test_images(name: str):
    model, about = pretrained.load(name), pretrained.card(name)
    data = images_or_skip(about)
    if isinstance(model, Diffusion):
        figure, nats = about.metrics["elbo"], -model.elbo(data.floats(), y=data.labels)
    elif isinstance(model, PixelModel):
        figure, nats = about.metrics["nats"], -log_probs(model, data, batch_size=50)
    else:
        figure = about.metrics["bound_50"]
        nats = -importance_bound(model, data.floats(), k=50)
    mean, error = mean_and_error(nats)
    assert figure.error is not None
    # the card's own images are among these, so the two differ by less than independent ones would
    assert abs(mean - figure.value) < 4 * error


def test_samples_of_the_pixel_model_are_no_copies_as_lesson_pixelcnn_says():
    about = pretrained.card("gated_pixelcnn-mnist")
    test = images_or_skip(about)[torch.arange(100)].floats()
    known = binarise(load("mnist"), how="stochastic").floats()
    torch.manual_seed(0)
    samples = pretrained.load(about.name).sample(100)
    differ = [(nearest_neighbours(x, known)[0] ** 2).median().item() for x in (samples, test)]
    # of 100 images the median moves by two pixels or three
    assert differ == pytest.approx([43, 44], abs=5)


@pytest.mark.parametrize("name", [name for name in REAL if not name.startswith("diffusion")])
def test_explorers_open_on_a_real_model(name: str):
    model, images = pretrained.load(name), pretrained.card(name).images
    strokes = load("strokes", "test", size=8)
    strokes = binarise(strokes) if images.levels == 2 else strokes
    if isinstance(model, PixelModel):
        explorer = explorers.completion_explorer(model, strokes.floats(), n=2)
        explorer.rows.value = (20, 28)
        assert explorer.completions.isnan().any()  # until somebody asks for a completion
    elif isinstance(model, VAE):
        with torch.no_grad():
            codes = model.posterior(strokes.floats()).mean
        middle, across = codes.mean(dim=0), torch.linalg.svd(codes - codes.mean(dim=0)).Vh[:2]
        explorer = explorers.latent_explorer(
            lambda z: model.decode(middle + z @ across), (codes - middle) @ across.T, strokes.labels
        )
        explorer.z1.value = 1.0
        assert explorer.decoded(explorer.z[None]).shape == (1, *images.shape)
    elif isinstance(model, FlowMatching):
        explorer = explorers.flow_explorer(model, images=2)
        explorer.time.value = 1.0
    else:
        label = torch.full((1,), 3) if images.n_classes else None
        explorer = explorers.interpolation_explorer(
            lambda z: model.generate(z, y=None if label is None else label.expand(len(z))),
            model.noise(3),
        )
        explorer.end.value = 2
        assert explorer.images["straight"].shape[1:] == images.shape
    assert explorer.picture.value[1:4] == b"PNG"


def images_or_skip(about: pretrained.Card) -> ImageSet:
    """Every twentieth test image: the first 5,000 of MNIST are known to be easier than the others."""
    if about.data == "mnist" and not os.environ.get("GENLIB_DATA"):
        pytest.skip("no MNIST in $GENLIB_DATA")
    config = Config(about.model, about.data, binary=about.binary)
    test = as_trained(load(about.data, "test"), config, "test")
    return test[torch.arange(0, len(test), 20)]


def test_the_table_names_every_model_and_links_its_card(packed):
    table = packer.table([pretrained.card(name, packed) for name in KINDS])
    for name in KINDS:
        assert f"| [`{name}`](../genlib/pretrained/{name}.md) |" in table
