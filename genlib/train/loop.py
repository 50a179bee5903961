"""The loops of `genlib.training` on any number of devices, with checkpoints that survive a kill.

Lightning Fabric starts the processes, moves the model, and averages gradients. Here stand the budget,
the rows of metrics, and when to save and to stop.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from genlib.data import ImageSet, bernoulli_pixels
from genlib.execution import ExecutionContext
from genlib.train.builders import images_of
from genlib.train.checkpoint import restore_training, training_state
from genlib.train.config import Checkpoints, Config, load_weights, run_metadata
from genlib.train.devices import compile_networks, first_process, make_fabric, share_batch_norm
from genlib.train.folder import RunError, RunFolder
from genlib.train.guards import check, go_back_to_checkpoint, stop_when_asked
from genlib.train.order import Order, seed_for
from genlib.train.recipes import build_model, recipe

ROW_EVERY = 100  # updates, or an epoch, if that is less ...
ROWS = 1000  # ... but no more rows than this; with a budget of time, one a second at most


@dataclass
class Callbacks:
    """What is called as a training goes on; by default nothing."""

    # after every update: the share that is done, in [0, 1], and the last row
    progress: Callable[[float, dict[str, float]], None] = lambda done, row: None
    # now and then: a line to read
    say: Callable[[str], None] = lambda line: None


class Training:
    """A run on its way: everything that a checkpoint holds, and what is needed to go on.

    The data are all of the training images, Fabric is launched, and the model has its first weights.
    """

    def __init__(
        self, config: Config, data: ImageSet, folder: RunFolder, fabric: Fabric, model: nn.Module
    ):
        self.started, self.cpu_started = time.perf_counter(), time.process_time()
        self.config, self.data, self.folder, self.fabric = config, data, folder, fabric
        self.recipe = recipe(config.model)
        self.order = Order(len(data), config.batch_size, config.seed)
        self.recipe_update = self.recipe.update({**self.recipe.options, **config.options})
        self.batches_an_update = self.recipe_update.batches
        self.step, self.stop = 0, 0
        self.before = {"seconds": 0.0, "cpu_seconds": 0.0}  # spent before this process began
        self.sums: dict[str, float] = {}  # since the last row, over examples
        self.share = 1.0
        self.model = model
        if config.world_size > 1:
            share_batch_norm(model)
        self.wrapped = fabric.setup_module(model)
        self.average = self.recipe_update.averaged(model)
        for name in self.recipe_update.methods:
            self.wrapped.mark_forward_method(name)
        self.optimizers = self.recipe.optimizers(model, config.learning_rate)
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["peak"] = group["lr"]
        self.fabric_optimizers: list[Optimizer] = [
            fabric.setup_optimizers(o)  # type: ignore[misc]
            for o in self.optimizers
        ]
        self.context = ExecutionContext(fabric.autocast, self.backward)
        torch.manual_seed(seed_for(config.seed, "noise", fabric.global_rank))

    # One update. ----------------------------------------------------------------------------------

    def backward(self, loss: Tensor) -> None:
        """Gradients are averaged over processes, whose shares of the batch may differ by an image."""
        self.fabric.backward(loss if self.share == 1 else loss * self.share)

    def batches(self, first: int, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of some batches, as the model is given them."""
        world = self.config.world_size
        for i in range(first, first + number):
            rows = self.order.share(i, self.fabric.global_rank, world)
            x, y = self.data.batch(rows, device=self.fabric.device)
            if self.config.binary and self.data.levels > 2:
                x = bernoulli_pixels(x)
            if self.config.channels_last:
                x = x.to(memory_format=torch.channels_last)
            self.share = world * len(rows) / len(self.order.batch(i))
            self.examples += len(rows)
            yield x, y

    def update(self, progress: float) -> dict[str, float]:
        """One update of the weights; returns what it saw, summed over this process's examples."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * self.recipe.schedule(progress)
        self.recipe_update.begin(self.model, progress)
        self.examples = 0
        batches = self.batches(self.step * self.batches_an_update, self.batches_an_update)
        seen = self.recipe_update(self.wrapped, batches, self.fabric_optimizers, self.context)
        if self.average is not None:
            self.average.update_parameters(self.model)
        return {name: value * self.examples for name, value in seen.items()}

    # The budget. ----------------------------------------------------------------------------------

    @property
    def updates(self) -> int | None:
        """How many updates the budget comes to; None if it is one of time."""
        if self.config.epochs is None:
            return None
        return max(1, int(self.config.epochs * self.order.batches / self.batches_an_update))

    @property
    def epoch(self) -> float:
        """Passes over the data so far."""
        return self.step * self.batches_an_update / self.order.batches

    def spent(self) -> dict[str, float]:
        """Seconds of this run in wall-clock time, and of this process's processor time."""
        return {
            "seconds": self.before["seconds"] + time.perf_counter() - self.started,
            "cpu_seconds": self.before["cpu_seconds"] + time.process_time() - self.cpu_started,
        }

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes: what they decide by must be the same everywhere."""
        if self.config.world_size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.fabric.device)
        return self.fabric.all_reduce(total, reduce_op="sum").tolist()  # type: ignore[union-attr]

    # The loop. ------------------------------------------------------------------------------------

    def run(self, callbacks: Callbacks, checkpoints: Checkpoints) -> str:
        """Train until the budget is used up, or is stopped: returns "done" or "stopped".

        Raises:
            RunError: the loss or a weight is not a number, or a file cannot be written; the last
                checkpoint is whole, and from before.
        """
        first = self.fabric.is_global_zero
        clock = "seconds" if self.config.cpu_minutes is None else "cpu_seconds"
        spent = self._spent()
        row: dict[str, float] = {}
        row_every = max(1, min(ROW_EVERY, self.order.batches // self.batches_an_update))
        row_every = max(row_every, (self.updates or 0) // ROWS)
        row_at = spent["seconds"]
        if self.step == 0:
            self.save()
        saved, saved_at = self.step, spent["seconds"]
        while True:
            done = self._done(spent[clock])
            if done >= 1 or self.stop:
                break
            try:
                seen = self.update(done)
            except RuntimeError:
                self._refuse_what_is_not_finite()  # if that is why
                raise
            self.step += 1
            own = self.spent()
            wall = own["seconds"] if first else 0.0  # one clock for all; processor time adds up
            names = list(seen)
            *sums, examples, self.stop, seconds, cpu = self.all_reduce_sum(  # type: ignore[assignment]
                [*seen.values(), self.examples, self.stop, wall, own["cpu_seconds"]]
            )
            spent = {"seconds": seconds, "cpu_seconds": cpu}
            if not all(math.isfinite(value) for value in sums):
                raise self._diverged("the loss")
            for name, value in zip([*names, "examples"], [*sums, examples], strict=True):
                self.sums[name] = self.sums.get(name, 0.0) + value
            done = self._done(spent[clock])
            hurried = self.updates is None and spent["seconds"] - row_at < 1
            if (self.step % row_every == 0 and not hurried) or done >= 1:
                row_at = spent["seconds"]
                row = self.row(spent)
                self.attempt(lambda row=row: self.folder.append(row))  # type: ignore[misc]
            callbacks.progress(min(1.0, done), row)
            if every := checkpoints.checkpoint_steps:
                due = self.step % every == 0
            else:
                due = spent["seconds"] - saved_at > checkpoints.seconds
            if due:
                self.save()
                saved, saved_at = self.step, spent["seconds"]
                callbacks.say(self.describe(row, spent))
        if self.step != saved:
            self.save()
        return "stopped" if self.stop and self._done(spent[clock]) < 1 else "done"

    def _spent(self) -> dict[str, float]:
        own = self.spent()
        wall = own["seconds"] if self.fabric.is_global_zero else 0.0
        seconds, cpu = self.all_reduce_sum([wall, own["cpu_seconds"]])
        return {"seconds": seconds, "cpu_seconds": cpu}

    def _done(self, spent: float) -> float:
        """The share of the budget that is used up."""
        if self.updates is not None:
            return self.step / self.updates
        assert self.config.seconds is not None
        return spent / self.config.seconds

    def row(self, spent: dict[str, float]) -> dict[str, float]:
        """A row of metrics.csv: averages over the examples since the row before.

        A critic's `accuracy` is an average over processes, each of which has a boundary of its own,
        halfway between the mean scores of its share.
        """
        examples = self.sums.pop("examples")
        averages = {name: total / examples for name, total in self.sums.items()}
        self.sums = {}
        return {
            "step": self.step,
            "epoch": self.epoch,
            **averages,
            "learning_rate": self.optimizers[0].param_groups[0]["lr"],
            **{name: round(seconds, 3) for name, seconds in spent.items()},
        }

    def describe(self, row: dict[str, float], spent: dict[str, float]) -> str:
        """A line of progress."""
        losses = "".join(f", {k} {v:.4g}" for k, v in row.items() if "loss" in k)
        minutes = spent["seconds"] / 60
        return f"step {self.step}, epoch {self.epoch:.2f}{losses}, {minutes:.1f} min: saved"

    def _diverged(self, what: str) -> RunError:
        rate = self.config.learning_rate
        return RunError(
            f"{what} is no longer a finite number at update {self.step}, with learning rate {rate:g}: "
            f"the last good checkpoint is kept. Train anew with a lower rate (--learning-rate "
            f"{rate / 3:.1g}), or with --precision 32-true if it was a lower one"
        )

    def _refuse_what_is_not_finite(self) -> None:
        if not all(p.isfinite().all() for p in self.model.parameters()):
            raise self._diverged("a weight") from None

    # The checkpoint. ------------------------------------------------------------------------------

    def attempt(self, write: Callable[[], None]) -> None:
        """Write in the first process; if it fails, all of them stop by a RunError."""
        problem = ""
        if self.fabric.is_global_zero:
            try:
                write()
            except RunError as error:
                problem = str(error)
        if self.config.world_size > 1:
            problem = self.fabric.broadcast(problem)
        if problem:
            raise RunError(problem)

    def save(self) -> None:
        """Replace the checkpoint, unless a weight is not a number."""
        self._refuse_what_is_not_finite()
        tensors, metadata = training_state(self.model, self.average, self.optimizers, self.fabric)
        own = self.spent()
        (cpu,) = self.all_reduce_sum([own["cpu_seconds"]])
        metadata |= {
            "step": self.step,
            "seconds": own["seconds"],
            "cpu_seconds": cpu,
            "sums": self.sums,
        }
        self.attempt(lambda: self.folder.save(tensors, metadata))

    def load(self) -> None:
        """Go on from the checkpoint; from the beginning if the run was killed before its first."""
        if not self.folder.checkpoint.exists():
            return
        tensors, metadata = self.folder.load()
        load_weights(self.model, tensors, self.folder)
        if self.average is not None:
            load_weights(self.average, tensors, self.folder, "average.")
        try:
            self.step, self.sums = metadata["step"], metadata["sums"]
            # processor time is summed over processes, and the first of them carries the past
            self.before["seconds"] = metadata["seconds"]
            self.before["cpu_seconds"] = metadata["cpu_seconds"] * self.fabric.is_global_zero
            restore_training(self.optimizers, self.fabric, tensors, metadata)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{self.folder.checkpoint} lacks what is needed to go on ({error}): it was made by "
                "another version; train anew"
            ) from None


def train(
    config: Config,
    data: ImageSet,
    folder: RunFolder,
    *,
    resume: bool = False,
    callbacks: Callbacks | None = None,
    checkpoints: Checkpoints | None = None,
    model: nn.Module | None = None,
) -> tuple[str, Training]:
    """Train a model, in as many processes as the settings ask for, and keep it in a folder.

    Fabric starts the other processes by running the same command again, so each of them comes by
    here; only the first prepares and writes.

    Args:
        config, data, folder: the settings, the training images, and where the run is kept.
        resume: go on with what is in the folder.
        callbacks, checkpoints: what is called as it goes on, and when it is saved.
        model: a model that is not built from the recipe, but trained by it.

    Returns:
        "done" or "stopped", and the training.

    Raises:
        RunError, ValueError: one line that says what is wrong and what to do.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from genlib.data import load
        >>> folder = RunFolder(Path(tempfile.mkdtemp()) / "run")
        >>> config = Config("rbm", "bars", {"hidden_dim": 4, "cd_steps": 1}, epochs=2, batch_size=10)
        >>> train(config, load("bars"), folder)[0], folder.rows()[-1]["step"]
        ('done', 6.0)
    """
    images = images_of(data, config.conditional, config.binary)
    torch.manual_seed(config.seed)
    if model is None:
        model = build_model(config.model, images, config.options)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    if config.compile:
        compile_networks(model)
    with contextlib.ExitStack() as stack:
        if first_process(config):
            check(config, len(data), model)
            if not resume:
                folder.create(run_metadata(config, data, images))
            stack.enter_context(folder.lock())
            if resume:
                go_back_to_checkpoint(config, data, folder)
        fabric = make_fabric(config)
        fabric.launch()
        training = Training(config, data, folder, fabric, model)
        with stop_when_asked(training):
            if resume:
                training.load()
            fabric.barrier()  # nobody writes before everybody has read
            outcome = training.run(callbacks or Callbacks(), checkpoints or Checkpoints())
            return outcome, training
