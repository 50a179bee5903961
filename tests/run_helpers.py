"""What the tests of runs share: small settings, runs in processes that can be killed, and what must be equal."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import torch

from genlib.data import ImageSet, load
from genlib.train import RECIPES, Config, RunFolder, loop
from genlib.train.config import Checkpoints

ROOT = Path(__file__).resolve().parent.parent
# of each model that has it
SMALL = {"hidden_dim": 8, "depth": 1, "latent_dim": 4, "chains": 8}


def small(model: str, data: str = "bars", **settings) -> Config:
    """Settings that train in a moment."""
    how = RECIPES[model]
    options = {k: SMALL.get(k, v) for k, v in how.options.items()}
    if "discriminator_steps" in options:
        options["discriminator_steps"] = 2
    options |= settings.pop("options", {})
    defaults = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3, "binary": how.binary}
    return Config(model, data, options, **{**defaults, **settings})


class Killed(BaseException):
    """Stands for a SIGKILL where a process of its own would be too slow: nothing catches it."""


def train(
    config: Config,
    path: Path,
    kill_at: int | None = None,
    checkpoint_steps: int | None = None,
    **how,
) -> loop.Training | None:
    """Train in this process; with `kill_at`, it is over in the middle of that update."""
    updates = 0

    def killer(done: float, row: dict) -> None:
        nonlocal updates
        updates += 1
        if updates == kill_at:
            raise Killed

    try:
        data = load(config.data, size=config.size)
        how |= {"checkpoints": Checkpoints(checkpoint_steps=checkpoint_steps)}
        return loop.train(
            config, data, RunFolder(path), callbacks=loop.Callbacks(progress=killer), **how
        )[1]
    except Killed:
        return None


def _child(config: Config, data: ImageSet, path: Path, resume: bool, steps: int, started) -> None:
    torch.set_num_threads(1)
    callbacks = loop.Callbacks(progress=lambda done, row: started.set())
    checkpoints = Checkpoints(checkpoint_steps=steps)
    loop.train(
        config, data, RunFolder(path), resume=resume, checkpoints=checkpoints, callbacks=callbacks
    )


def child(config: Config, path: Path, resume: bool, checkpoint_steps: int):
    """The same in a process that can be killed, and an event that is set when it trains."""
    context = multiprocessing.get_context("forkserver")  # fork alone would copy our threads' locks
    context.set_forkserver_preload(["genlib.train.loop"])
    started = context.Event()
    data = load(config.data, size=config.size)
    arguments = (config, data, path, resume, checkpoint_steps, started)
    process = context.Process(target=_child, args=arguments)
    process.start()
    return process, started


def command(*arguments: object, launcher: tuple[str, ...] = (), **how) -> subprocess.Popen:
    """`python -m genlib` in a process of its own; `launcher` stands before `-m genlib`."""
    words = [sys.executable, *launcher, "-m", "genlib", *map(str, arguments)]
    environment = {
        k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")
    }
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=environment, **pipes, **how)


def without_clock(folder: RunFolder) -> list[dict[str, float]]:
    """The rows of metrics.csv, without what a clock has said."""
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in folder.rows()]


def assert_same_end(one: Path, other: Path) -> None:
    """Two runs ended at the same place: weights, optimisers, random numbers, metrics, to the bit."""
    (tensors, metadata), (others, other_metadata) = RunFolder(one).load(), RunFolder(other).load()
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name]), name
    for name in ("step", "sums", "optimizers"):
        assert metadata[name] == other_metadata[name]
    assert without_clock(RunFolder(one)) == without_clock(RunFolder(other)) != []
