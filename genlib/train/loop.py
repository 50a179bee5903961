"""The loops of `genlib.training` on any number of devices, with checkpoints that survive a kill.

Lightning Fabric starts the processes, moves the model, and averages gradients. Here stand the order
of the images, the budget, the checkpoint, and when to stop.
"""

import contextlib
import math
import os
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.distributed
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.plugins.environments import TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn

from genlib.adversarial import GAN
from genlib.data import ImageSet, bernoulli_pixels
from genlib.train.config import Config, as_facts, fingerprint, load_weights
from genlib.train.folder import RunError, RunFolder, pack, restore_optimizer, unpack
from genlib.train.recipes import build_model, images_of, recipe
from genlib.train.speed import compile_networks, use_tf32
from genlib.training import GAN_RECORD, Machine, train_epoch, train_gan_epoch
from genlib.variational import VAE

ROW_EVERY = 100  # updates, or an epoch, if that is less ...
ROWS = 1000  # ... but no more rows than this; with a budget of time, one a second at most


class Diverged(RunError):
    """The loss or a weight is no longer a number."""


# The order of the images. ---------------------------------------------------------------------------


def seed_for(*what: object) -> int:
    """A seed for a purpose, so that two purposes never share their random numbers by accident.

    32 bits: the generator of a CPU looks at no more of its seed.

    Example:
        >>> seed_for(0, "order", 1) == seed_for(0, "order", 2)
        False
    """
    return zlib.crc32(repr(what).encode())


@dataclass(frozen=True)
class Order:
    """Which images each update of a training sees: a function of the seed and nothing else.

    An epoch is a new random order of all images, cut into batches as equal as they go. So a training
    that stopped in the middle of an epoch goes on with the image that comes next, and of several
    processes each takes its share of every batch, without a word between them.

    Args:
        n: number of images.
        batch_size: images a batch, at most; of all processes together.
        seed: of the orders.

    Raises:
        ValueError: there is no image, or batch_size is below 1.

    Example:
        >>> order = Order(n=10, batch_size=4, seed=0)
        >>> [len(order.batch(i)) for i in range(order.batches)]  # of the first epoch
        [4, 3, 3]
        >>> sorted(torch.cat([order.batch(i) for i in range(order.batches)]).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        >>> order.share(1, rank=0, world_size=2), order.share(1, rank=1, world_size=2)
        (tensor([...]), tensor([...]))
    """

    n: int
    batch_size: int
    seed: int
    # of the epoch asked for last, since the next question is usually about the same
    _last: dict[int, tuple[Tensor, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.n < 1 or self.batch_size < 1:
            raise ValueError(
                f"n and batch_size must be at least 1, not {self.n}, {self.batch_size}"
            )

    @property
    def batches(self) -> int:
        """How many batches make an epoch."""
        return -(-self.n // self.batch_size)

    def batch(self, i: int) -> Tensor:
        """Rows of the i-th batch of the training, counted from 0 through all epochs."""
        epoch, i = divmod(i, self.batches)
        if epoch not in self._last:
            generator = torch.Generator().manual_seed(seed_for(self.seed, "order", epoch))
            rows = torch.randperm(self.n, generator=generator)
            self._last.clear()
            self._last[epoch] = rows.tensor_split(self.batches)
        return self._last[epoch][i]

    def share(self, i: int, rank: int, world_size: int) -> Tensor:
        """The part of the i-th batch that the process of this rank takes."""
        return self.batch(i)[rank::world_size]


# Batch norm over several processes. -----------------------------------------------------------------


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor) -> Tensor:
        x = x.clone()
        torch.distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        torch.distributed.all_reduce(gradient)
        return gradient


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm with the means and variances of the whole batch, also where processes share it.

    Without it a training on several devices would be another one than on a single device. Torch's
    own `nn.SyncBatchNorm` does the same, and refuses to run on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        dims, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        dtype, x = x.dtype, x.float()
        count = x.new_tensor([x.numel() / x.shape[1]])
        total = _SumOverProcesses.apply(torch.cat([x.sum(dims), count]))
        n = total[-1].detach()
        mean = total[:-1] / n
        centred = x - mean.view(shape)
        variance = _SumOverProcesses.apply(centred.square().sum(dims)) / n
        with torch.no_grad():
            momentum = self.momentum or 0.0
            self.running_mean.lerp_(mean, momentum)  # type: ignore[union-attr]
            self.running_var.lerp_(variance * n / (n - 1), momentum)  # type: ignore[union-attr]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        y = centred * (variance + self.eps).rsqrt().view(shape)
        return (y * self.weight.view(shape) + self.bias.view(shape)).to(dtype)

    def _check_input_dim(self, x: Tensor) -> None:
        pass  # of 1 or 2 dimensions, the layer that was here before knew which


def share_batch_norm(model: nn.Module) -> None:
    """Turn every batch norm of a model into a `SharedBatchNorm`, with the parameters it has."""
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.__class__ = SharedBatchNorm


# Devices. -------------------------------------------------------------------------------------------


class _Mixed(MixedPrecision):
    """Autocast alone: images stay as they are, or their values would leave the grid of levels."""

    def convert_input(self, data):
        return data


def choose_accelerator(name: str) -> str:
    """What "auto" means on this machine: a GPU if there is one.

    Example:
        >>> choose_accelerator("cpu")
        'cpu'
    """
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def launched_by_torchrun() -> tuple[int, int] | None:
    """Processes on this machine, and machines, if torchrun has started them; otherwise None."""
    if not TorchElasticEnvironment.detect():
        return None
    here, all_of_them = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return here, all_of_them // here


def check_devices(config: Config) -> None:
    """Refuse devices that are not there.

    Raises:
        RunError: with what there is.
    """
    what = config.accelerator
    there = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }.get(what, config.devices)
    if there < config.devices:
        raise RunError(
            f"there is no such device: this machine has {there} of kind {what}, not "
            f"{config.devices}; take fewer --devices, or --accelerator cpu"
        )
    if config.precision == "16-mixed" and what != "cuda":
        raise RunError("16-mixed is for CUDA only: take --precision bf16-mixed")
    torchrun = launched_by_torchrun()
    if torchrun and torchrun != (config.devices, config.nodes):
        raise RunError(
            f"torchrun has started {torchrun[0]} processes on each of {torchrun[1]} machines, but "
            f"the run asks for --devices {config.devices} --nodes {config.nodes}: make them equal"
        )


def make_fabric(config: Config) -> Fabric:
    """Fabric for the devices and the precision of a run; the processes are not launched yet."""
    use_tf32(config.tf32)
    strategy: str | DDPStrategy = "auto"
    if config.world_size > 1:
        # a GAN's update leaves one of its networks alone; its buffers are equal in all processes,
        # and to copy them between two losses would spoil the gradient of the first
        gan = is_gan(config.model)
        strategy = DDPStrategy(find_unused_parameters=gan, forward_sync_buffers=not gan)
    mixed = config.precision != "32-true"
    return Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=strategy,
        plugins=[_Mixed(config.precision, config.accelerator)] if mixed else None,  # type: ignore[arg-type]
    )


def is_gan(name: str) -> bool:
    """Whether the recipe of this name builds a GAN: its optimisers are two."""
    return "discriminator_steps" in recipe(name).options


# Training. ------------------------------------------------------------------------------------------


@dataclass
class Watcher:
    """Who is told how a training goes; by default nobody is.

    Args:
        progress: called after every update with the share that is done, in [0, 1], and the last row.
        say: called with a line to read, now and then.
    """

    progress: Callable[[float, dict[str, float]], None] = lambda done, row: None
    say: Callable[[str], None] = lambda line: None


class Training:
    """A run on its way: everything that a checkpoint holds, and what is needed to go on.

    Args:
        config: the settings.
        data: the training images, all of them.
        folder: where the run is kept.
        fabric: launched.
        model: to be trained; built from the recipe by default.
    """

    def __init__(
        self,
        config: Config,
        data: ImageSet,
        folder: RunFolder,
        fabric: Fabric,
        model: nn.Module | None = None,
    ):
        self.started, self.cpu_started = time.perf_counter(), time.process_time()
        self.config, self.data, self.folder, self.fabric = config, data, folder, fabric
        self.recipe = recipe(config.model)
        self.order = Order(len(data), config.batch_size, config.seed)
        self.per_update = int(config.options.get("discriminator_steps", 1))  # batches an update
        self.step, self.stop = 0, 0
        self.before = {"seconds": 0.0, "cpu_seconds": 0.0}  # spent before this process began
        self.sums: dict[str, float] = {}  # since the last row, over examples
        self.share = 1.0

        torch.manual_seed(config.seed)
        if model is None:
            images = images_of(data, config.conditional, config.binary)
            model = build_model(config.model, images, config.options)
        self.model = model
        if config.channels_last:
            model.to(memory_format=torch.channels_last)
        if config.compile:
            compile_networks(model)
        if config.world_size > 1:
            share_batch_norm(model)
        self.wrapped = fabric.setup_module(model)
        for name in ("loss", "fakes", "discriminator_loss", "generator_loss"):
            if hasattr(model, name):
                self.wrapped.mark_forward_method(name)
        self.optimizers = self.recipe.optimizers(model, config.learning_rate)
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["peak"] = group["lr"]
        self.fabric_optimizers = [fabric.setup_optimizers(o) for o in self.optimizers]
        self.machine = Machine(fabric.autocast, self.backward)
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
            x, y = self.data.batch(rows, self.fabric.device)
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
        if isinstance(self.model, VAE):
            climb, top = (float(self.config.options[k]) for k in ("kl_climb", "kl_weight"))
            self.model.kl_weight = top * min(1.0, progress / climb) if climb else top
        self.examples = 0
        batches = self.batches(self.step * self.per_update, self.per_update)
        if len(self.optimizers) == 2:
            gan: GAN = self.wrapped  # type: ignore[assignment]
            seen = train_gan_epoch(
                gan,
                batches,
                *self.fabric_optimizers,  # type: ignore[arg-type]
                discriminator_steps=self.per_update,
                machine=self.machine,
            )
            seen = {name: seen[name] for name in GAN_RECORD[:3]}
        else:
            (only,) = self.fabric_optimizers
            loss = train_epoch(self.wrapped, batches, only, machine=self.machine)  # type: ignore[arg-type]
            seen = {"loss": loss}
        return {name: value * self.examples for name, value in seen.items()}

    # The budget. ----------------------------------------------------------------------------------

    @property
    def updates(self) -> int | None:
        """How many updates the budget comes to; None if it is one of time."""
        if self.config.epochs is None:
            return None
        return max(1, int(self.config.epochs * self.order.batches / self.per_update))

    def spent(self) -> dict[str, float]:
        """Seconds of this run by the clock on the wall, and of this process's processor time."""
        return {
            "seconds": self.before["seconds"] + time.perf_counter() - self.started,
            "cpu_seconds": self.before["cpu_seconds"] + time.process_time() - self.cpu_started,
        }

    def agree(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes: what they decide by must be the same everywhere."""
        if self.config.world_size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.fabric.device)
        return self.fabric.all_reduce(total, reduce_op="sum").tolist()  # type: ignore[union-attr]

    # The loop. ------------------------------------------------------------------------------------

    def run(
        self,
        watcher: Watcher,
        checkpoint_seconds: float = 300.0,
        checkpoint_steps: int | None = None,
    ) -> str:
        """Train until the budget is used up, or somebody says stop: returns "done" or "stopped".

        Raises:
            Diverged: the loss or a weight is not a number; the last checkpoint is from before.
            RunError: a file cannot be written; the last checkpoint is whole.
        """
        first = self.fabric.is_global_zero
        clock = "seconds" if self.config.cpu_minutes is None else "cpu_seconds"
        spent = self._spent()
        row: dict[str, float] = {}
        row_every = max(1, min(ROW_EVERY, self.order.batches // self.per_update))
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
            *sums, examples, self.stop, seconds, cpu = self.agree(  # type: ignore[assignment]
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
            watcher.progress(min(1.0, done), row)
            due = checkpoint_steps and self.step % checkpoint_steps == 0
            if due or (not checkpoint_steps and spent["seconds"] - saved_at > checkpoint_seconds):
                self.save()
                saved, saved_at = self.step, spent["seconds"]
                watcher.say(self.describe(row, spent))
        if self.step != saved:
            self.save()
        return "stopped" if self.stop and self._done(spent[clock]) < 1 else "done"

    def _spent(self) -> dict[str, float]:
        own = self.spent()
        wall = own["seconds"] if self.fabric.is_global_zero else 0.0
        seconds, cpu = self.agree([wall, own["cpu_seconds"]])
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
            "epoch": self.step * self.per_update / self.order.batches,
            **averages,
            "learning_rate": self.optimizers[0].param_groups[0]["lr"],
            **{name: round(seconds, 3) for name, seconds in spent.items()},
        }

    def describe(self, row: dict[str, float], spent: dict[str, float]) -> str:
        """A line for those who read along."""
        losses = "".join(f", {k} {v:.4g}" for k, v in row.items() if "loss" in k)
        epoch = self.step * self.per_update / self.order.batches
        return (
            f"step {self.step}, epoch {epoch:.2f}{losses}, {spent['seconds'] / 60:.1f} min: saved"
        )

    def _diverged(self, what: str) -> Diverged:
        rate = self.config.learning_rate
        return Diverged(
            f"{what} is no longer a finite number at update {self.step}, with learning rate {rate:g}: "
            f"the last good checkpoint is kept. Train anew with a lower rate (--learning-rate "
            f"{rate / 3:.1g}), or with --precision 32-true if it was a lower one"
        )

    def _refuse_what_is_not_finite(self) -> None:
        if not all(p.isfinite().all() for p in self.model.parameters()):
            raise self._diverged("a weight") from None

    # The checkpoint. ------------------------------------------------------------------------------

    def attempt(self, write: Callable[[], None]) -> None:
        """Write in the first process; if it fails, all of them stop.

        Raises:
            RunError: it has failed.
        """
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
        """Replace the checkpoint.

        Raises:
            Diverged: a weight is not a number, and the checkpoint stays what it was.
            RunError: it cannot be written.
        """
        self._refuse_what_is_not_finite()
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        state = [o.state_dict() for o in self.optimizers]
        optimizers = pack(state, "optimizer", tensors)
        tensors |= self.random_state()
        own = self.spent()
        (cpu,) = self.agree([own["cpu_seconds"]])
        facts = {
            "step": self.step,
            "seconds": own["seconds"],
            "cpu_seconds": cpu,
            "sums": self.sums,
            "optimizers": optimizers,
            "scaler": self.fabric.strategy.precision.state_dict(),
        }
        self.attempt(lambda: self.folder.save(tensors, facts))

    def load(self) -> None:
        """Go on from the checkpoint; from the beginning if the run was killed before its first.

        Raises:
            RunError: it is damaged, or another run's.
        """
        if not self.folder.checkpoint.exists():
            return
        tensors, facts = self.folder.load()
        load_weights(self.model, tensors, self.folder)
        try:
            states: list = unpack(facts["optimizers"], tensors)  # type: ignore[assignment]
            for optimizer, state in zip(self.optimizers, states, strict=True):
                restore_optimizer(optimizer, state)
            if facts["scaler"]:
                self.fabric.strategy.precision.load_state_dict(facts["scaler"])
            self.step, self.sums = facts["step"], facts["sums"]
            # processor time is summed over processes, and the first of them carries the past
            self.before["seconds"] = facts["seconds"]
            self.before["cpu_seconds"] = facts["cpu_seconds"] * self.fabric.is_global_zero
            self.restore_random_state(tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{self.folder.checkpoint} lacks what is needed to go on ({error}): it was made by "
                "another version; train anew"
            ) from None

    def random_state(self) -> dict[str, Tensor]:
        """The random numbers of all processes, a row each."""
        states = {"random.cpu": torch.get_rng_state()}
        device = self.fabric.device
        if device.type != "cpu":
            states[f"random.{device.type}"] = torch.get_device_module(device).get_rng_state()
        tables = {}
        for name, state in states.items():
            table = torch.zeros(self.config.world_size, len(state), dtype=torch.int32)
            table[self.fabric.global_rank] = state
            if self.config.world_size > 1:
                table = self.fabric.all_reduce(table.to(device), reduce_op="sum").cpu()  # type: ignore[union-attr]
            tables[name] = table.to(torch.uint8)
        return tables

    def restore_random_state(self, tensors: dict[str, Tensor]) -> None:
        """Go on with the random numbers that `random_state` has seen."""
        rank, device = self.fabric.global_rank, self.fabric.device
        torch.set_rng_state(tensors["random.cpu"][rank].clone())
        if device.type != "cpu":
            state = tensors[f"random.{device.type}"][rank].clone()
            torch.get_device_module(device).set_rng_state(state)


@contextlib.contextmanager
def stop_when_asked(training: Training) -> Iterator[None]:
    """Ctrl-C, or a SIGTERM from a cluster's scheduler, ends the training after the current update.

    A second one ends it at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        if training.stop:
            raise KeyboardInterrupt
        training.stop = 1

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def prepare(config: Config, data: ImageSet, folder: RunFolder, resume: bool) -> None:
    """Make the folder of a new run, or check that an old one can go on; in one process, before launch.

    Raises:
        RunError, ValueError: whatever would make the training fail, said before it begins.
    """
    check_devices(config)
    images = images_of(data, config.conditional, config.binary)
    model = build_model(config.model, images, config.options)  # refuses what cannot be built
    if config.compile:
        compile_networks(model)
    order = Order(len(data), config.batch_size, config.seed)
    smallest = len(order.batch(order.batches - 1))
    if smallest < config.world_size:
        raise RunError(
            f"batches of {smallest} images cannot be shared out among {config.world_size} devices: "
            "take a larger --batch-size, or fewer devices"
        )
    if not resume:
        folder.create(as_facts(config, data))
        return
    if folder.read_config()["images"]["sha256"] != fingerprint(data):
        raise RunError(
            f"the images of {config.data} are not those the run in {folder.path} began with: "
            "set GENLIB_DATA to the folder they were in, or train anew"
        )
    folder.clean()
    step = folder.load()[1]["step"] if folder.checkpoint.exists() else 0
    folder.forget_after(step)


def train(
    config: Config,
    data: ImageSet,
    folder: RunFolder,
    *,
    resume: bool = False,
    watcher: Watcher | None = None,
    checkpoint_seconds: float = 300.0,
    checkpoint_steps: int | None = None,
    model: nn.Module | None = None,
) -> tuple[str, Training]:
    """Train a model, in as many processes as the settings ask for, and keep it in a folder.

    Fabric starts the other processes by running the same command again, so each of them comes by
    here; only the first prepares and writes.

    Args:
        config: the settings.
        data: the training images.
        folder: where the run is kept.
        resume: go on with what is in the folder.
        watcher: who is told how it goes.
        checkpoint_seconds: seconds between checkpoints.
        checkpoint_steps: updates between checkpoints, in place of seconds.
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
        >>> config = Config("rbm", "bars", {"n_hidden": 4, "cd_steps": 1}, epochs=2, batch_size=10)
        >>> train(config, load("bars"), folder)[0], folder.rows()[-1]["step"]
        ('done', 6.0)
    """
    if first_process():
        prepare(config, data, folder, resume)
    fabric = make_fabric(config)
    fabric.launch()
    training = Training(config, data, folder, fabric, model)
    with stop_when_asked(training):
        if resume:
            training.load()
        fabric.barrier()  # nobody writes before everybody has read
        return training.run(watcher or Watcher(), checkpoint_seconds, checkpoint_steps), training


def first_process() -> bool:
    """Whether this process is the first of all, also before they are launched."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK")
    return all(int(os.environ.get(name, 0)) == 0 for name in names)
