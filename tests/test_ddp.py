"""Two processes train to where one goes with the same images an update: on the CPU, over gloo."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from run_helpers import ROOT, assert_same_end, command, small, train, without_clock

from genlib.train import RunFolder

# Sums in another order: after some 20 updates weights of size 0.1 to 1 differed by 1e-7 at most, and Adam may turn
# a gradient that is all rounding into a step of the learning rate, 1e-3. A wrong share of the gradient
# moves them by 1e-2.
TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}


def assert_same_weights(one: Path, other: Path) -> None:
    tensors, others = (RunFolder(path).load()[0] for path in (one, other))
    names = [name for name in tensors if name.startswith("model.") and "num_batches" not in name]
    assert names
    for name in names:
        torch.testing.assert_close(
            others[name], tensors[name], **TOLERANCE, msg=lambda m, n=name: f"{n}: {m}"
        )


# 43 digits in batches of 14 or 15: two processes never take the same number of each
PIXELS = ("train", "gated_pixelcnn", "--data", "digits", "--size", 43, "--batch-size", 15, "--epochs",
          6, "--set", "hidden_dim=8", "--set", "depth=2", "--learning-rate", 1e-3, "--accelerator", "cpu")  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("alone") / "run"
    options = {"hidden_dim": 8, "depth": 2}
    config = small("gated_pixelcnn", "digits", size=43, batch_size=15, epochs=6, options=options)
    train(config, path)
    return path


@pytest.mark.parametrize("launcher", ["fabric", "torchrun"])
def test_two_processes_train_a_pixel_model_as_one_does(launcher: str, alone: Path, tmp_path: Path):
    out = tmp_path / "run"
    if launcher == "fabric":
        process = command(*PIXELS, "--out", out, "--devices", 2)
    else:
        torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
        process = command(*PIXELS, "--out", out, launcher=torchrun)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert stdout.count("done: 18 updates") == 1  # the first process speaks, the other does not
    assert RunFolder(out).read_config()["settings"]["devices"] == 2
    assert_same_weights(alone, out)
    for row, other in zip(
        without_clock(RunFolder(alone)), without_clock(RunFolder(out)), strict=True
    ):
        assert other == pytest.approx(
            row, rel=1e-5
        )  # the average is over all images, not one share


GAN_SCRIPT = """
    import sys
    from pathlib import Path

    import torch
    from run_helpers import small, train

    from genlib.adversarial import WGANGP, MLPGenerator, DCGANDiscriminator, DCGANGenerator, layer_norm
    from genlib.train import loop
    from genlib.train.order import Order

    world = int(sys.argv[2])
    config = small("wgan_gp", "digits", size=43, batch_size=15, epochs=6, devices=world)
    order = Order(43, 15, config.seed)


    class SameNoise(WGANGP):
        '''Draws for the whole batch and takes its share: one process and two see the same noise.'''

        batch = 0

        def rows(self):
            whole = order.batch(self.batch)
            share = order.share(self.batch, torch.distributed.get_rank() if world > 1 else 0, world)
            return len(whole), (whole[:, None] == share).int().argmax(dim=0)

        def noise(self, n):
            size, rows = self.rows()
            return torch.randn(size, self.latent_dim, generator=self.chance)[rows]

        def gradient_penalty(self, x, fake, y=None):
            size, rows = self.rows()
            share = torch.rand(size, 1, 1, 1, generator=self.chance)[rows]
            between = torch.lerp(fake, x, share).requires_grad_()
            (slope,) = torch.autograd.grad(self(between, y=y).sum(), between, create_graph=True)
            self.batch += 1  # it comes last
            return (slope.flatten(1).norm(dim=1) - 1).square().mean()


    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = (1, 8, 8)
    generator = DCGANGenerator(shape, latent_dim=4, hidden_dim=8)
    discriminator = DCGANDiscriminator(shape, hidden_dim=8, norm=layer_norm)
    model = SameNoise(generator, discriminator, latent_dim=4)
    model.chance = torch.Generator().manual_seed(1)
    train(config, Path(sys.argv[1]), model=model)
"""


def test_two_processes_train_a_gan_as_one_does(tmp_path: Path):
    # with batch norm in the generator, a gradient of a gradient, and two networks that take steps alternately
    script = tmp_path / "gan.py"
    script.write_text(textwrap.dedent(GAN_SCRIPT))
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": ""}
    for world in (1, 2):
        words = [sys.executable, script, tmp_path / str(world), str(world)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert_same_weights(tmp_path / "1", tmp_path / "2")
    a, b = (RunFolder(tmp_path / name).rows()[-1] for name in "12")
    for name in ("discriminator_loss", "generator_loss"):
        assert b[name] == pytest.approx(a[name], rel=1e-3)


def test_two_processes_that_are_killed_end_where_they_would_have(tmp_path: Path):
    # a VAE draws noise, so each process must go on with its own random numbers
    options = [f"--set={k}={v}" for k, v in small("vae").options.items()]
    words = ("train", "vae", "--data", "bars", "--batch-size", 8, "--epochs", 15, *options)
    words = (*words, "--devices", 2, "--accelerator", "cpu", "--checkpoint-steps", 5)
    process = command(*words, "--out", tmp_path / "whole")
    assert "done: 60 updates" in process.communicate(timeout=300)[0]
    folder = RunFolder(tmp_path / "killed")
    process = command(*words, "--out", folder.path, start_new_session=True)
    until = time.monotonic() + 300
    while time.monotonic() < until:
        if folder.checkpoint.exists() and folder.load()[1]["step"] >= 5:
            break
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)  # both of them
    process.communicate(timeout=60)
    assert 5 <= folder.load()[1]["step"] < 60
    process = command("train", "--out", folder.path, "--resume", "--checkpoint-steps", 5)
    stdout, stderr = process.communicate(timeout=300)
    assert "done: 60 updates" in stdout, stderr
    assert_same_end(tmp_path / "whole", folder.path)
    states = folder.load()[0]["random.cpu"]
    assert len(states) == 2 and not torch.equal(states[0], states[1])
