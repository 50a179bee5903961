"""A run ends where it must, whatever happens to it on the way; what cannot go on says why."""

import copy
import json
import math
import random
import resource
import shutil
import time
import typing
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from run_helpers import assert_same_end, child, small, train, without_clock
from torch._subclasses.fake_tensor import FakeTensorMode

from genlib.autoregressive import PixelCNN
from genlib.data import load
from genlib.train import (
    RECIPES,
    Config,
    Images,
    RunError,
    RunFolder,
    build_model,
    load_model,
    loop,
)
from genlib.train.config import Checkpoints
from genlib.train.devices import compile_networks
from genlib.train.order import Order
from genlib.train.settings import Setting, flag_of, settings_of

# The order of the images.


@pytest.mark.parametrize("n, batch_size", [(30, 8), (7, 7), (5, 8), (101, 10)])
def test_an_epoch_shows_every_image_once(n: int, batch_size: int):
    order = Order(n, batch_size, seed=0)
    for epoch in range(3):
        seen = [order.batch(epoch * order.batches + i) for i in range(order.batches)]
        assert torch.cat(seen).sort().values.tolist() == list(range(n))
        sizes = [len(rows) for rows in seen]
        assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_share_a_batch_without_overlap_or_loss(world_size: int):
    order = Order(101, 10, seed=0)
    for i in range(2 * order.batches):
        shares = [order.share(i, rank, world_size) for rank in range(world_size)]
        assert sorted(torch.cat(shares).tolist()) == sorted(order.batch(i).tolist())
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_order_is_a_function_of_the_seed_and_new_in_each_epoch():
    order = Order(100, 100, seed=0)
    again = Order(100, 100, seed=0)
    assert torch.equal(again.batch(1), order.batch(1))  # not having seen epoch 0
    assert torch.equal(again.batch(0), order.batch(0))  # and going back
    assert not torch.equal(order.batch(0), order.batch(1))
    assert not torch.equal(order.batch(0), Order(100, 100, seed=1).batch(0))


def test_asking_for_the_order_leaves_the_random_numbers_alone():
    before = torch.get_rng_state()
    Order(10, 2, seed=0).batch(0)
    assert torch.equal(torch.get_rng_state(), before)


# Killed and gone on with.


@pytest.mark.parametrize("model", RECIPES)
def test_a_run_that_is_killed_in_mid_epoch_ends_where_it_would_have(model: str, tmp_path: Path):
    config = small(model, size=29)  # of 4 batches, the last ones smaller
    train(config, tmp_path / "whole", checkpoint_steps=3)
    # at update 4, a checkpoint at 3 behind it: one update is lost, and made again
    assert train(config, tmp_path / "killed", kill_at=4, checkpoint_steps=3) is None
    assert RunFolder(tmp_path / "killed").load()[1]["step"] == 3
    torch.manual_seed(5)  # whoever goes on has other random numbers
    train(config, tmp_path / "killed", resume=True, checkpoint_steps=3)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


def test_nothing_is_compared_that_could_not_differ(tmp_path: Path):
    train(small("vae"), tmp_path / "a")
    train(small("vae", seed=1), tmp_path / "b")
    with pytest.raises(AssertionError):
        assert_same_end(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    "settings",
    [
        {"channels_last": True},
        {"precision": "bf16-mixed"},
        {"conditional": True},
        {"binary": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_it_ends_there_with_every_flag_on_as_well(settings: dict, tmp_path: Path):
    config = small("gated_pixelcnn", "digits", size=40, options={"hidden_dim": 16}, **settings)
    train(config, tmp_path / "whole", checkpoint_steps=3)
    train(config, tmp_path / "killed", kill_at=7, checkpoint_steps=3)
    train(config, tmp_path / "killed", resume=True, checkpoint_steps=3)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")
    train(
        small("gated_pixelcnn", "digits", size=40, options={"hidden_dim": 16}), tmp_path / "plain"
    )
    plain, flagged = (RunFolder(tmp_path / name).load()[0] for name in ("plain", "whole"))
    if "channels_last" not in settings:  # which is the same arithmetic in another order
        key = "model.head.1.weight"
        assert not torch.equal(plain[key].flatten()[:64], flagged[key].flatten()[:64])
    assert all(tensor.dtype != torch.bfloat16 for tensor in flagged.values())


def test_ten_sigkills_at_random_moments_change_nothing(tmp_path: Path):
    config = small("vae", "digits", size=100, epochs=60)  # 780 updates, a checkpoint every third
    train(config, tmp_path / "whole", checkpoint_steps=3)
    folder, chance, kills, resumed_from = RunFolder(tmp_path / "killed"), random.Random(0), 0, set()
    while True:
        process, started = child(config, folder.path, folder.config.exists(), checkpoint_steps=3)
        if kills < 10:
            if (
                chance.random() < 0.8
            ):  # the others die wherever they are, on the way in for instance
                assert started.wait(300)
            time.sleep(chance.uniform(0, 0.5))
            process.kill()
        process.join(300)
        if process.exitcode == 0:
            assert_same_end(tmp_path / "whole", folder.path)
            names = {path.name for path in folder.path.iterdir()}
            assert names == {"config.json", "metrics.csv", "checkpoint.safetensors"}  # no litter
            if kills >= 10:
                break
            shutil.rmtree(folder.path)  # too fast for us: another one
            continue
        assert process.exitcode == -9
        kills += 1
        if folder.checkpoint.exists():
            resumed_from.add(folder.load()[1]["step"])  # whole, whenever the kill came
    assert len(resumed_from) >= 4


def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path: Path):
    config = small("rbm")
    train(config, tmp_path / "whole")
    train(config, tmp_path / "killed", kill_at=1)
    (tmp_path / "killed" / "checkpoint.safetensors").unlink()
    train(config, tmp_path / "killed", resume=True)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


def test_rows_that_the_checkpoint_does_not_know_of_are_written_once(tmp_path: Path):
    folder = RunFolder(tmp_path)
    for step in (4, 8, 12):
        folder.append({"step": step, "loss": 0.1 * step})
    with folder.metrics.open("a") as file:
        file.write("16,0.")  # the kill came here
    assert [row["step"] for row in folder.rows()] == [4, 8, 12]
    folder.forget_after(8)
    folder.append({"step": 12, "loss": 1.0})
    assert [(row["step"], row["loss"]) for row in folder.rows()] == [(4, 0.4), (8, 0.8), (12, 1.0)]
    folder.forget_after(0)
    folder.append({"step": 4, "loss": 1.0})
    assert folder.metrics.read_text().startswith("step,loss\n4,")


def test_rows_average_over_examples_and_not_over_batches(tmp_path: Path):
    config = small("pixelcnn", "bars", size=29, epochs=1, learning_rate=1e-30)  # it stands still
    training = train(config, tmp_path)
    with torch.no_grad():
        expected = training.model.loss(load("bars", size=29).floats()).item()
    (row,) = RunFolder(tmp_path).rows()
    assert row["loss"] == pytest.approx(expected, rel=1e-5)
    assert row["step"] == 4 and row["epoch"] == 1


# The budget.


def test_minutes_count_what_was_spent_before_a_kill(tmp_path: Path, monkeypatch):
    tick = count().__next__  # a second passes whenever somebody looks
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=tick, process_time=lambda: 0.0))
    config = small("rbm", epochs=None, minutes=0.5)
    train(config, tmp_path / "whole", checkpoint_steps=5)
    seconds = [row["seconds"] for row in RunFolder(tmp_path / "whole").rows()]
    assert 30 <= seconds[-1] <= 32  # the last update ends after the budget, and no other begins
    train(config, tmp_path / "killed", kill_at=12, checkpoint_steps=5)
    spent = RunFolder(tmp_path / "killed").load()[1]["seconds"]
    training = train(config, tmp_path / "killed", resume=True, checkpoint_steps=5)
    assert training.before["seconds"] == spent > 5
    seconds = [row["seconds"] for row in RunFolder(tmp_path / "killed").rows()]
    assert 30 <= seconds[-1] <= 32 and seconds == sorted(seconds)


def test_cpu_minutes_are_minutes_of_the_processor(tmp_path: Path, monkeypatch):
    tick = count().__next__
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: 0.0, process_time=tick))
    train(small("rbm", epochs=None, cpu_minutes=0.5), tmp_path)
    assert 30 <= RunFolder(tmp_path).rows()[-1]["cpu_seconds"] <= 32


def test_the_learning_rate_follows_the_budget_to_its_end(tmp_path: Path):
    train(small("gan", epochs=10, batch_size=30), tmp_path)
    rates = [row["learning_rate"] for row in RunFolder(tmp_path).rows()]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 8e-4, 4e-4])  # 5 updates of 2 batches


def test_the_kl_weight_of_a_vae_climbs_to_what_was_set(tmp_path: Path):
    training = train(small("vae", options={"kl_weight": 4.0}), tmp_path)
    training.step = 0
    weights = []
    for done in (0.0, 0.15, 0.3, 1.0):
        training.update(done)
        weights.append(training.model.kl_weight)
    assert weights == pytest.approx([0, 2, 4, 4])


# What cannot be written.


def test_a_full_disk_loses_nothing(tmp_path: Path):
    config = small("gated_pixelcnn", "digits", size=40)
    train(config, tmp_path / "whole", checkpoint_steps=3)
    train(config, tmp_path / "run", kill_at=7, checkpoint_steps=3)
    files = sorted(tmp_path.glob("run/*"))
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limit[1]))
        with pytest.raises(RunError, match="cannot write .*checkpoint.*make room"):
            train(config, tmp_path / "run", resume=True, checkpoint_steps=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before
    assert sorted(tmp_path.glob("run/*")) == files  # half a checkpoint does not stay
    train(config, tmp_path / "run", resume=True, checkpoint_steps=3)
    assert_same_end(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("model, rate", [("pixelcnn", 1e25), ("rbm", 1e38), ("lsgan", 1e25)])
def test_a_training_that_diverges_keeps_the_last_good_checkpoint(
    model: str, rate: float, tmp_path: Path
):
    with pytest.raises(
        RunError, match="last good checkpoint is kept. Train anew with a lower rate"
    ):
        train(small(model, learning_rate=rate, epochs=40), tmp_path, checkpoint_steps=1)
    weights, metadata = load_model(RunFolder(tmp_path))
    assert all(p.isfinite().all() for p in weights.parameters())
    assert metadata["step"] < 120


def not_a_number(model: PixelCNN) -> torch.Tensor:
    return torch.tensor(math.nan)  # it has no gradient: the weights stay what they are


def infinite_slope(model: PixelCNN) -> torch.Tensor:
    return (0 * model.first.bias).square().sum().sqrt()  # zero, and its gradient is 0 / 0


@pytest.mark.parametrize(
    "added, what", [(not_a_number, "the loss is no"), (infinite_slope, "a weight is no")]
)
def test_a_loss_or_a_weight_alone_is_enough_to_stop(added, what: str, tmp_path: Path, monkeypatch):
    loss = PixelCNN.loss
    monkeypatch.setattr(PixelCNN, "loss", lambda self, x: loss(self, x) + added(self))
    with pytest.raises(RunError, match=what):
        train(small("pixelcnn"), tmp_path, checkpoint_steps=1)
    assert load_model(RunFolder(tmp_path))[1]["step"] == 0


# What cannot be asked for.


def outside(declared: Setting) -> list[float]:
    """Numbers that a setting may not be."""
    beyond = [declared.low if declared.above else declared.low - 1, math.nan, math.inf, -math.inf]
    return beyond + [declared.high + 1] * (declared.high < math.inf)


@pytest.mark.parametrize("model", RECIPES)
def test_every_option_of_every_model_has_a_range_which_is_checked_first(model: str):
    images = Images((1, 8, 8), 2)
    for name, declared in RECIPES[model].settings.items():
        if declared.choices:
            wrong: list = ["nothing like it"]
        else:
            assert declared.low > -math.inf, f"{name} of {model} has no range"
            wrong = [*outside(declared), "7"]
        for value in wrong:
            with pytest.raises(ValueError, match=f"--set {name} must be"):
                Config(model, "bars", {name: value})
            with pytest.raises(ValueError, match=f"--set {name} must be"):
                build_model(model, images, {name: value})
    with pytest.raises(ValueError, match="no option is called 'chanels'"):
        Config(model, "bars", {"chanels": 3})


@pytest.mark.parametrize("kind", [Config, Checkpoints])
def test_every_number_among_the_settings_of_a_run_has_a_range(kind: type):
    needed = {"model": "rbm", "data": "bars"} if kind is Config else {}
    hints = typing.get_type_hints(kind)
    for name, declared in settings_of(kind).items():
        if hints[name] in (int, float, int | None, float | None):
            for value in outside(declared):
                with pytest.raises(ValueError, match=f"{flag_of(name)} must be"):
                    kind(**needed, **{name: value})


@pytest.mark.parametrize("model", RECIPES)
def test_a_model_trains_with_each_option_at_either_end_or_refuses_first(model: str, tmp_path: Path):
    for name, declared in RECIPES[model].settings.items():
        low = 1e-6 if declared.above else declared.low
        ends = declared.choices or [low] + [declared.high] * (declared.high < math.inf)
        for i, end in enumerate(ends):
            path, value = tmp_path / f"{name}-{i}", type(declared.default)(end)
            try:
                train(small(model, size=16, epochs=1, options={name: value}), path)
            except ValueError:
                assert not path.exists()


@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"size": 1}, {"size": 3, "batch_size": 2}])
def test_a_batch_of_one_is_refused_for_batch_norm_before_anything_is_written(settings, tmp_path):
    with pytest.raises(ValueError, match="compares the examples of a batch"):
        train(small("gan", **settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train(small("vae", **settings), tmp_path / "run")  # which compares none


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path: Path):
    config, folder = small("rbm"), RunFolder(tmp_path / "run")
    train(config, tmp_path / "whole")
    train(config, folder.path, kill_at=5, checkpoint_steps=2)
    before = {path: path.read_bytes() for path in folder.path.iterdir()}
    with folder.lock():
        with pytest.raises(RunError, match=f"another process is training the run in {folder.path}"):
            train(config, folder.path, resume=True)
        assert {path: path.read_bytes() for path in folder.path.iterdir()} == before
    train(config, folder.path, resume=True)
    assert_same_end(tmp_path / "whole", folder.path)


# What cannot be read.


@pytest.fixture
def finished(tmp_path: Path) -> RunFolder:
    train(small("rbm"), tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_a_flipped_bit_anywhere_is_noticed(finished: RunFolder):
    whole = finished.checkpoint.read_bytes()
    for place in range(0, len(whole), 97):
        broken = bytearray(whole)
        broken[place] ^= 1
        finished.checkpoint.write_bytes(bytes(broken))
        with pytest.raises(RunError, match="is damaged|is not a checkpoint"):
            finished.load()
    finished.checkpoint.write_bytes(whole)
    assert finished.load()[1]["step"] == 12


@pytest.mark.parametrize("name", ["config.json", "metrics.csv", "checkpoint.safetensors"])
def test_a_file_that_cannot_be_read_is_named(name: str, finished: RunFolder, monkeypatch):
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(RunError, match=f"cannot read .*{name}: Permission denied"):
        finished.load()
        finished.rows()


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_checkpoint_cut_short_is_noticed(length: int, finished: RunFolder):
    finished.checkpoint.write_bytes(finished.checkpoint.read_bytes()[:length])
    with pytest.raises(RunError, match="is damaged"):
        finished.load()


def test_somebody_elses_checkpoint_is_refused(finished: RunFolder, tmp_path: Path):
    train(small("rbm", seed=1), tmp_path / "other")
    other = RunFolder(tmp_path / "other")
    other.checkpoint.replace(finished.checkpoint)
    with pytest.raises(RunError, match="checkpoint of another run"):
        finished.load()
    safetensors.torch.save_file({"weight": torch.zeros(3)}, finished.checkpoint)
    with pytest.raises(RunError, match="not a checkpoint of genlib"):
        finished.load()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": "genlib run 2", "settings": {"model": 3}}']
)
def test_a_damaged_configuration_is_refused(text: str, finished: RunFolder):
    finished.config.write_text(text)
    with pytest.raises(RunError, match=r"damaged|not the configuration"):
        load_model(finished)


def test_other_images_under_the_same_name_are_refused(finished: RunFolder, tmp_path: Path):
    config = small("rbm")
    with pytest.raises(RunError, match="not those the run in .* began with"):
        loop.train(config, load("bars", size=29), finished, resume=True)


def test_a_run_is_made_of_json_csv_and_safetensors_only(finished: RunFolder):
    assert {path.suffix for path in finished.path.iterdir()} == {".json", ".csv", ".safetensors"}
    assert json.loads(finished.config.read_text())["settings"]["model"] == "rbm"
    assert "model.weight" in safetensors.torch.load_file(finished.checkpoint)
    for path in finished.path.iterdir():
        assert path.stat().st_mode & 0o044 == 0o044  # a colleague may read it


# What a recipe builds.


@pytest.mark.parametrize("name", ["pixelcnn", "gated_pixelcnn", "row_lstm"])
def test_independent_colours_say_nothing_of_each_other_and_all_of_the_pixels_before(name: str):
    def read_by_the_pixel_at_1_1(colours: str) -> torch.Tensor:
        torch.manual_seed(0)
        images = Images((3, 3, 3), levels=4)
        model = build_model(name, images, {"hidden_dim": 12, "depth": 2, "colours": colours})
        x = torch.rand(1, 3, 3, 3, requires_grad=True)
        model.network(x, None)[0, :, :, 1, 1].square().sum().backward()
        assert torch.equal(*two_ways_to_sample(model))
        return x.grad[0].abs().sum(dim=0) > 0  # (H, W), over the colours that were read

    ordered, independent = map(read_by_the_pixel_at_1_1, ("ordered", "independent"))
    assert ordered[1, 1] and not independent[1, 1]
    before = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
    assert torch.equal(independent, before)


def two_ways_to_sample(model) -> list[torch.Tensor]:
    """By cached sampling and by definition, from the same random numbers."""
    images = []
    for sample in (model.sample, model.sample_by_definition):
        torch.manual_seed(1)
        images.append(sample(4))
    return images


def test_colours_that_every_layer_reads_cannot_be_made_independent():
    images = Images((3, 4, 4), levels=4)
    with pytest.raises(ValueError, match="take pixelcnn"):
        build_model("diagonal_bilstm", images, {"hidden_dim": 12, "colours": "independent"})
    with pytest.raises(ValueError, match="'independant'.*did you mean 'independent'"):
        build_model("pixelcnn", images, {"hidden_dim": 12, "colours": "independant"})


# Devices.


@pytest.mark.parametrize("model", RECIPES)
def test_no_tensor_of_a_recipe_stays_behind_on_the_cpu(model: str):
    config = small(
        model, options={"network": "dcgan"} if "gan" in model and model != "wgan_gp" else {}
    )
    how = RECIPES[model]
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            images = Images((1, 8, 8), 2, 10 if how.conditional else 0)
            net = build_model(model, images, config.options)
            x, y = torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)
        given = {"y": y} if how.conditional else {}
        if model == "wgan_gp":
            assert net(x, **given).is_cuda  # fake tensors cannot go backwards, as its penalty does
        elif "discriminator_steps" in how.options:
            assert net.discriminator_loss(x, **given).is_cuda
            assert net.generator_loss(4, **given).is_cuda
        else:
            assert net.loss(x, **given).is_cuda


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("model", RECIPES)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_gpu_trains_and_goes_on_after_a_kill(model: str, precision: str, tmp_path: Path):
    config = small(model, accelerator="cuda", precision=precision, tf32=True)
    train(config, tmp_path, kill_at=4, checkpoint_steps=3)
    train(config, tmp_path, resume=True, checkpoint_steps=3)
    assert RunFolder(tmp_path).load()[1]["step"] == RunFolder(tmp_path).rows()[-1]["step"]
    model, _ = load_model(RunFolder(tmp_path))
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("model", ["gated_pixelcnn", "vae", "wgan_gp", "gsn"])
def test_compiled_networks_train_and_save_under_the_same_names(model: str, tmp_path: Path):
    # whether what it compiles is right is torch's business; this checks that it is what is called
    compiled = []
    config = small(model, epochs=1)
    with torch.compiler.set_stance("force_eager"), pytest.MonkeyPatch.context() as patch:
        real = torch.compile
        patch.setattr(torch, "compile", lambda f, *a, **k: compiled.append(f) or real(f, *a, **k))
        train(replace(config, compile=True), tmp_path / "compiled")
    train(config, tmp_path / "plain")
    assert compiled
    plain, other = (RunFolder(tmp_path / name).load()[0] for name in ("plain", "compiled"))
    assert all(torch.equal(plain[name], other[name]) for name in plain)
    with pytest.raises(RunError, match="no network to compile"):
        train(small("rbm", compile=True), tmp_path / "rbm")


@pytest.mark.parametrize(
    "model", ["pixelcnn", "gated_pixelcnn", "row_lstm", "diagonal_bilstm", "gan"]
)
def test_a_compiled_model_draws_and_its_copy_has_weights_of_its_own(model: str, monkeypatch):
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, *a, **k: real(f, backend="eager"))
    torch.manual_seed(0)
    net = build_model(model, Images((1, 8, 8), 2), small(model).options).eval()
    x = (torch.rand(4, 1, 8, 8) > 0.5).float()
    plain, drawn = net(x), draw(net)
    compile_networks(net)
    torch.testing.assert_close(net(x), plain)
    assert torch.equal(draw(net), drawn)
    other = copy.deepcopy(net)
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    assert (other(x) - plain).abs().max() > 1e-3 and not torch.equal(other(x), net(x))
    torch.testing.assert_close(net(x), plain)


def draw(model) -> torch.Tensor:
    torch.manual_seed(1)
    return model.sample(3)


def test_two_uninterrupted_runs_write_the_same_rows(tmp_path: Path):
    for name in "ab":
        train(small("wgan_gp"), tmp_path / name)
    assert without_clock(RunFolder(tmp_path / "a")) == without_clock(RunFolder(tmp_path / "b"))
