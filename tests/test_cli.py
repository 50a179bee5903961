"""`python -m genlib`: what each command prints, and that it refuses in one line."""

import re
import shlex
import signal
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from run_helpers import assert_same_end, command, small, train
from typer.testing import CliRunner

from genlib.data import binarise, load
from genlib.metrics import bits_per_dim, log_probs
from genlib.train import RECIPES, Config, RunFolder, load_model
from genlib.train.cli import app
from genlib.train.config import Checkpoints
from genlib.train.settings import flag_of, settings_of

TINY = ("--data", "bars", "--epochs", 2, "--batch-size", 8)


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="python -m genlib")


def refused(*words: object) -> str:
    """What a command that must not work says: one line, exit code 2, no traceback."""
    result = run(*words)
    assert isinstance(result.exception, SystemExit) and result.exit_code == 2, result.output
    assert result.stdout == "" or "images of" in result.stdout  # the line that names the run
    (line,) = result.stderr.splitlines()
    assert line.startswith("genlib: ") and len(line) > 30
    return line


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A small run of one model of each kind, which no test may change."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("runs")
    kinds = {
        "gated_pixelcnn": {"conditional": True, "size": 300},
        "vae": {"binary": True, "size": 300},
        "lsgan": {"size": 300, "options": {"network": "dcgan"}},
        "rbm": {"size": 300},
        "autoencoder": {"size": 300},
    }
    for model, settings in kinds.items():
        train(small(model, "digits", epochs=1, batch_size=50, **settings), root / model)
    return {model: root / model for model in kinds}


# Help.


def test_help_names_every_command_and_how_to_begin():
    result = run("--help")
    assert result.exit_code == 0
    for word in ("train", "sample", "evaluate", "info", "models", "runs/first"):
        assert word in result.output
    for name in ("train", "sample", "evaluate", "info", "models"):
        assert run(name, "--help").exit_code == 0
    text = run("train", "--help").output
    for flag in ("--resume", "--minutes", "--devices", "--nodes", "--precision", "--compile"):
        assert flag in text


def test_models_lists_each_with_its_options():
    lines = run("models").output
    for name, how in RECIPES.items():
        assert name in lines and all(f"{k}={v}" in lines for k, v in how.options.items())


# Train.


def test_from_nothing_to_a_run_and_its_picture(tmp_path: Path):
    out = tmp_path / "run"
    result = run(
        "train", "gan", *TINY, "--out", out, "--set", "hidden_dim=16", "--set", "network=mlp"
    )
    assert result.exit_code == 0, result.output
    assert "done: 8 updates" in result.output and f"sample {out}" in result.output
    assert RunFolder(out).read_config()["settings"]["options"]["hidden_dim"] == 16
    assert run("sample", out, "--n", 9).exit_code == 0 and (out / "samples.png").exists()


def test_the_command_does_what_the_library_does(tmp_path: Path):
    options = [f"--set={k}={v}" for k, v in small("vae").options.items()]
    assert (
        run(
            "train", "vae", *TINY, "--learning-rate", 1e-3, *options, "--out", tmp_path / "a"
        ).exit_code
        == 0
    )
    train(small("vae", epochs=2), tmp_path / "b")
    assert_same_end(tmp_path / "a", tmp_path / "b")


def test_going_on_needs_no_more_than_the_folder(tmp_path: Path):
    config = small("rbm")
    train(config, tmp_path / "whole")
    train(config, tmp_path / "run", kill_at=5, checkpoint_steps=2)
    assert run("train", "--out", tmp_path / "run", "--resume").exit_code == 0
    assert_same_end(tmp_path / "whole", tmp_path / "run")
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    result = run("train", "rbm", "--data", "bars", "--out", tmp_path / "run", "--resume")
    assert result.exit_code == 0 and "done: 12 updates" in result.output  # there was nothing to do
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path):
    out = tmp_path / "run"
    process = command("train", "rbm", "--data", "bars", "--minutes", 10, "--out", out)
    until = time.monotonic() + 300
    while not RunFolder(out).rows() and time.monotonic() < until:
        time.sleep(0.05)
    step = RunFolder(out).load()[1]["step"]
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr
    assert f"Go on with: python -m genlib train --out {out} --resume" in stdout
    assert "Traceback" not in stderr
    assert RunFolder(out).load()[1]["step"] > step
    rows = RunFolder(out).rows()
    assert len({row["step"] for row in rows}) == len(rows)


# What `train` refuses.


@pytest.mark.parametrize(
    "words, message",
    [
        (("train",), "--out DIR"),
        (("train", "vae", "--out", "OUT"), "--data NAME is missing"),
        (("train", "--data", "bars", "--out", "OUT"), "MODEL is missing"),
        (("train", "gatedpixelcnn", *TINY, "--out", "OUT"), "did you mean 'gated_pixelcnn'"),
        (("train", "vae", "--data", "digit", "--out", "OUT"), "did you mean 'digits'"),
        (("train", "vae", *TINY, "--minutes", 3, "--out", "OUT"), "one budget, not 2"),
        (("train", "vae", "--data", "bars", "--epochs", 0, "--out", "OUT"), "--epochs must be above 0"),
        (("train", "vae", *TINY, "--learning-rate", -1, "--out", "OUT"), "--learning-rate must be"),
        (("train", "vae", *TINY, "--set", "channels=3", "--out", "OUT"), "no option of vae is called"),
        (("train", "vae", *TINY, "--set", "latent_dim=x", "--out", "OUT"), "must be a whole number"),
        (("train", "vae", *TINY, "--set", "network=cnn", "--out", "OUT"), "must be one of mlp, conv, not 'cnn'"),
        (("train", "gan", *TINY, "--set", "network=dcgan", "--out", "OUT"), "take the MLP pair"),
        (("train", "rbm", *TINY, "--conditional", "--out", "OUT"), "takes no labels"),
        (("train", "vae", *TINY, "--size", 99, "--out", "OUT"), "bars has 30 train images"),
        (("train", "vae", *TINY, "--devices", 9, "--out", "OUT"), "cannot be shared out among 9"),
        (("train", "vae", *TINY, "--checkpoint-steps", 0, "--out", "OUT"), "at least 1"),
        (("train", "vae", *TINY, "--precision", "16-mixed", "--accelerator", "cpu", "--out", "OUT"), "CUDA only"),
        (("train", "--resume", "--out", "OUT"), "there is no run in"),
        (("train", "gan", *TINY, "--set", "discriminator_steps=0", "--out", "OUT"), "must be at least 1, not 0"),
        (("train", "gan", *TINY, "--set", "hidden_dim=0", "--out", "OUT"), "hidden_dim must be at least 1"),
        (("train", "vae", *TINY, "--set", "latent_dim=-3", "--out", "OUT"), "latent_dim must be at least 1"),
        (("train", "vae", *TINY, "--set", "kl_climb=nan", "--out", "OUT"), "kl_climb must be at least 0 and at most 1"),
        (("train", "pixelcnn", *TINY, "--set", "depth=-1", "--out", "OUT"), "depth must be at least 1"),
        (("train", "rbm", "--data", "bars", "--epochs", "inf", "--out", "OUT"), "--epochs must be above 0 and at most"),
        (("train", "rbm", *TINY, "--checkpoint-minutes", "nan", "--out", "OUT"), "-minutes must be above 0"),
        (("train", "rbm", *TINY, "--seed", 2**64, "--out", "OUT"), "--seed must be at least 0"),
        (("train", "rbm", *TINY, "--precision", "bf16mixed", "--out", "OUT"), "did you mean 'bf16-mixed'"),
        (("train", "gan", "--data", "bars", "--size", 4, "--batch-size", 1, "--out", "OUT"), "a larger batch size"),
    ],
)  # fmt: skip
def test_train_refuses_what_cannot_be(words: tuple, message: str, tmp_path: Path):
    out = tmp_path / "run"
    assert message in refused(*(out if word == "OUT" else word for word in words))
    assert not out.exists()  # and nothing was begun


def test_the_corrected_command_finds_nothing_in_its_way(tmp_path: Path):
    words = ("train", "gan", "--data", "bars", "--size", 4, "--epochs", 1, "--out", tmp_path / "a")
    refused(*words, "--batch-size", 1)
    assert run(*words, "--batch-size", 4, "--set", "hidden_dim=8").exit_code == 0


def test_help_is_made_from_the_settings(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = run("train", "--help").output
    for kind in (Config, Checkpoints):
        for name, declared in settings_of(kind).items():
            assert flag_of(name) in text and declared.help.split("`")[0] in text


def test_commands_to_come_next_can_be_pasted_into_a_shell(tmp_path: Path):
    out = tmp_path / "my run; it's new"
    (line,) = [
        line
        for line in run("train", "rbm", *TINY, "--out", out).output.splitlines()
        if "Next" in line
    ]
    for command_ in line.removeprefix("Next: ").split(" or "):
        assert shlex.split(command_)[-1] == str(out)
    (out / "checkpoint.safetensors").unlink()
    message = refused("info", out)
    assert shlex.split(message[message.index("`") + 1 : message.rindex("`")])[-2] == str(out)


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"},
        {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "3", "SLURM_LOCALID": "3"},
        {"LOCAL_RANK": "", "RANK": "", "WORLD_SIZE": ""},
    ],
    ids=["an allocation of four tasks", "a shell in its last task", "empty variables"],
)
def test_one_device_trains_whatever_a_launcher_has_left_behind(environment, tmp_path, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = run("train", "rbm", *TINY, "--out", tmp_path / "run")
    assert result.exit_code == 0 and "done: 8 updates" in result.output, result.output
    assert "there is a run in" in refused("train", "rbm", *TINY, "--out", tmp_path / "run")


def test_processes_of_srun_must_be_as_many_as_are_asked_for(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    words = ("train", "rbm", *TINY, "--out", tmp_path / "run", "--accelerator", "cpu")
    assert "srun has started 4 processes" in refused(*words)
    assert "srun has started 4 processes" in refused(*words, "--devices", 2)
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there_is_refused(tmp_path: Path, monkeypatch, runs):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ("train", "vae", *TINY, "--out", tmp_path / "a", "--accelerator", "cuda")
    assert "this machine has 0 of kind cuda, not 1" in refused(*words)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert "has 2 of kind cuda, not 4" in refused(*words, "--devices", 4)
    monkeypatch.undo()
    if not torch.cuda.is_available():
        assert "no such device" in refused("sample", runs["vae"], "--accelerator", "cuda")


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("ten years of work")
    assert "not an empty folder" in refused("train", "rbm", *TINY, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    train(small("rbm"), tmp_path / "run")
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    assert "by --resume" in refused("train", "rbm", *TINY, "--out", tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before
    assert "not an empty folder" in refused("train", "rbm", *TINY, "--out", tmp_path / "thesis.tex")


def test_going_on_with_other_settings_is_refused(tmp_path: Path):
    train(small("rbm"), tmp_path, kill_at=5, checkpoint_steps=2)
    go_on = ("train", "--out", tmp_path, "--resume")
    changes = {
        ("--learning-rate", 0.5): "--learning-rate was 0.001, not 0.5",
        ("--epochs", 9): "--epochs was 3, not 9",
        ("--data", "digits"): "--data was bars, not digits",
        ("--seed", 1): "--seed was 0, not 1",
        ("--precision", "bf16-mixed"): "--precision was 32-true",
        ("--set", "hidden_dim=9"): "--set hidden_dim was 8, not 9",
        ("vae",): "MODEL was rbm, not vae",
    }
    for words, message in changes.items():
        assert message in refused(*go_on, *words)
    both = refused(*go_on, "--seed", 1, "--batch-size", 9)
    assert "--seed" in both and "--batch-size" in both
    assert (
        run(*go_on, "--epochs", 3, "--set", "hidden_dim=8").exit_code == 0
    )  # the same is no change


def test_a_loss_that_is_not_a_number_ends_the_run_in_one_line(tmp_path: Path):
    words = ("train", "pixelcnn", *TINY, "--set", "hidden_dim=8", "--set", "depth=1")
    line = refused(
        *words, "--learning-rate", 1e25, "--checkpoint-steps", 1, "--out", tmp_path / "run"
    )
    assert "last good checkpoint is kept" in line and "--learning-rate" in line
    assert run("info", tmp_path / "run").exit_code == 0


def test_a_damaged_checkpoint_is_one_line_for_every_command(tmp_path: Path):
    train(small("rbm"), tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not tensors")
    for words in (("train", "--resume", "--out"), ("sample",), ("evaluate",), ("info",)):
        assert "checkpoint.safetensors is damaged" in refused(*words, tmp_path)
    for name in ("sample", "evaluate", "info"):
        assert "there is no run in" in refused(name, tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "checkpoint.safetensors", "metrics.csv"])
def test_a_folder_in_the_place_of_a_file_is_one_line(name: str, tmp_path: Path):
    train(small("rbm"), tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert name in refused("info", tmp_path)
    assert name in refused("train", "--out", tmp_path, "--resume")


def test_what_the_system_refuses_is_said_in_one_line(tmp_path: Path, monkeypatch):
    def unreadable(*_: object, **__: object):
        raise PermissionError(13, "Permission denied", "/data/images")

    monkeypatch.setattr("genlib.data.load", unreadable)
    message = refused("train", "rbm", *TINY, "--out", tmp_path / "run")
    assert "cannot use /data/images: Permission denied" in message


# Sample.


def test_the_same_seed_draws_the_same_images_and_another_others(tmp_path: Path, runs):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out = tmp_path / f"{name}.png"
        assert run("sample", runs["vae"], "--n", 6, "--seed", seed, "--out", out).exit_code == 0
    a, b, c = (torch.from_numpy(plt.imread(tmp_path / f"{name}.png")) for name in "abc")
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_conditional_model_draws_the_label_it_is_given(tmp_path: Path, runs, monkeypatch):
    seen = []
    sample = type(load_model(RunFolder(runs["gated_pixelcnn"]))[0]).sample
    monkeypatch.setattr(
        "genlib.autoregressive.GatedPixelCNN.sample",
        lambda self, n, *, y=None: seen.append(y.tolist()) or sample(self, n, y=y),
    )
    out = tmp_path / "a.png"
    assert (
        run("sample", runs["gated_pixelcnn"], "--n", 3, "--label", 7, "--out", out).exit_code == 0
    )
    assert run("sample", runs["gated_pixelcnn"], "--n", 12, "--out", out).exit_code == 0
    assert seen == [[7, 7, 7], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]]


def test_sample_refuses_what_cannot_be(tmp_path: Path, runs):
    assert "cannot sample" in refused("sample", runs["autoencoder"])
    assert "--label must be 0 to 9, not 10" in refused(
        "sample", runs["gated_pixelcnn"], "--label", 10
    )
    assert "learnt no labels" in refused("sample", runs["vae"], "--label", 1)
    assert "--n must be at least 1" in refused("sample", runs["vae"], "--n", 0)
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused(
        "sample", runs["vae"], "--n", 1, "--out", tmp_path / "file" / "a.png"
    )


# Evaluate.


def number(output: str, name: str) -> float:
    """The first number on the line of this name."""
    (line,) = [line for line in output.splitlines() if line.strip().startswith(name)]
    return float(re.search(r"-?\d+\.\d+", line[line.index(name) + len(name) :])[0])


def test_an_exact_likelihood_is_what_the_library_computes(runs):
    result = run("evaluate", runs["gated_pixelcnn"], "--likelihood", "--size", 50)
    model, _ = load_model(RunFolder(runs["gated_pixelcnn"]))
    nats = log_probs(model, load("digits", "test", size=50))
    assert "50 test images of digits" in result.output
    assert number(result.output, "negative log-likelihood, exact") == pytest.approx(
        -nats.mean().item(), abs=0.006
    )
    assert f"{bits_per_dim(nats.mean().item(), (1, 8, 8)):.4f} bits/dim" in result.output


def test_bounds_are_called_bounds_and_more_codes_tighten_them(runs):
    result = run("evaluate", runs["vae"], "--likelihood", "--codes", 100)
    elbo = number(result.output, "negative log-likelihood, at most (ELBO)")
    name = "negative log-likelihood, at most (importance bound, 100 codes)"
    assert number(result.output, name) < elbo
    assert "black or white" in result.output


def test_binary_test_images_are_drawn_once_and_for_all(runs):
    first, second = (run("evaluate", runs["rbm"], "--likelihood").output for _ in range(2))
    assert first == second and "exact" in first  # 8 hidden units can be enumerated
    model, _ = load_model(RunFolder(runs["rbm"]))
    with torch.no_grad():
        nats = model.log_prob(binarise(load("digits", "test"), how="stochastic", seed=0).floats())
    assert number(first, "negative log-likelihood, exact") == pytest.approx(
        -nats.mean().item(), abs=0.006
    )


def test_samples_are_compared_with_what_real_images_get(runs):
    result = run("evaluate", runs["lsgan"], "--n", 100)
    assert "log-likelihood" not in result.output  # it has none, and is not asked
    ours = number(result.output, "Fréchet distance of 100 samples")
    theirs = number(result.output, "Fréchet distance of 100 training images")
    assert 0 < theirs < ours
    assert {"precision", "recall"} <= set(result.output.split())


def test_a_gan_asked_for_a_likelihood_refuses(runs):
    assert "LSGAN has no likelihood" in refused("evaluate", runs["lsgan"], "--likelihood")
    assert "Autoencoder cannot sample" in refused("evaluate", runs["autoencoder"], "--samples")
    assert "of the mean image" in run("evaluate", runs["autoencoder"]).output


def test_evaluate_refuses_images_of_another_shape(runs):
    assert "made for (1, 8, 8)" in refused("evaluate", runs["vae"], "--data", "bars")
    assert "--codes must be at least 1" in refused("evaluate", runs["vae"], "--codes", 0)


# Info.


def test_info_prints_settings_parameters_progress_and_metrics(runs):
    output = run("info", runs["gated_pixelcnn"]).output
    model, metadata = load_model(RunFolder(runs["gated_pixelcnn"]))
    parameters = sum(p.numel() for p in model.parameters())
    for text in (
        "gated_pixelcnn",
        "digits",
        "conditional",
        f"{parameters:,}",
        "300 of shape (1, 8, 8)",
    ):
        assert text in output
    loss = RunFolder(runs["gated_pixelcnn"]).rows()[-1]["loss"]
    assert f"{loss:.5g}" in output and re.search(rf"updates +{metadata['step']}\b", output)
