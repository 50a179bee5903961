"""What a training computes on: devices, processes and their launchers, and the flags of speed."""

import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce  # a sum over processes, with its gradient

from genlib.adversarial import WGANGP
from genlib.autoregressive import PixelModel
from genlib.train.config import Config
from genlib.train.folder import RunError
from genlib.train.recipes import recipe

# What each launcher tells the processes it starts. ---------------------------------------------------


def variable(name: str) -> int:
    """A whole number from the environment; 0 where there is none, also where the variable is empty."""
    text = os.environ.get(name, "").strip()
    return int(text) if text.isdigit() else 0


def launched_by_torchrun() -> tuple[int, int] | None:
    """Processes on this machine, and machines, if torchrun has started them; otherwise None."""
    if not TorchElasticEnvironment.detect():
        return None
    here, all_of_them = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return here, all_of_them // here


def tasks_of_srun() -> int:
    """How many processes srun has started together; 1 if it has started none, or only this one.

    An allocation of several tasks (SLURM_NTASKS) says nothing of it: a script of sbatch is one
    process whatever it has asked for.
    """
    return max(1, variable("SLURM_STEP_NUM_TASKS"))


def first_process(config: Config) -> bool:
    """Whether this process is the first of all, also before they are launched."""
    if config.world_size == 1:
        return True
    names = ["RANK", "LOCAL_RANK", "NODE_RANK"] + ["SLURM_PROCID"] * (tasks_of_srun() > 1)
    return all(variable(name) == 0 for name in names)


def choose_accelerator(name: str) -> str:
    """What "auto" means on this machine: a GPU if there is one. Other names stay what they are."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_devices(config: Config) -> None:
    """Refuse, by a RunError, devices that are not there, and another number of processes than was started."""
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
    asked = f"the run asks for --devices {config.devices} --nodes {config.nodes}: make them equal"
    torchrun, tasks = launched_by_torchrun(), tasks_of_srun()
    if torchrun and torchrun != (config.devices, config.nodes):
        raise RunError(
            f"torchrun has started {torchrun[0]} processes on each of {torchrun[1]} machines, but "
            f"{asked}"
        )
    if not torchrun and tasks not in (1, config.world_size):
        raise RunError(f"srun has started {tasks} processes, but {asked}")


class _Mixed(MixedPrecision):
    """Autocast alone: images stay as they are, or their values would leave the grid of levels."""

    def convert_input(self, data):
        return data


def make_fabric(config: Config) -> Fabric:
    """Fabric for the devices and the precision of a run; the processes are not launched yet."""
    use_tf32(config.tf32)
    strategy: str | DDPStrategy = "auto"
    if config.world_size > 1:
        # where an update leaves one of a model's networks alone, as a GAN's does, its buffers are
        # equal in all processes, and to copy them between two losses would corrupt the first gradient
        partial = recipe(config.model).update.leaves_weights_out
        strategy = DDPStrategy(find_unused_parameters=partial, forward_sync_buffers=not partial)
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE"):
        if os.environ.get(name) == "":
            del os.environ[name]  # Fabric takes what is empty for a number
    plugins: list = []
    if config.precision != "32-true":
        plugins.append(_Mixed(config.precision, config.accelerator))  # type: ignore[arg-type]
    if launched_by_torchrun() is None:
        # by itself Fabric would take any allocation of several tasks for processes of srun
        plugins.append(SLURMEnvironment() if tasks_of_srun() > 1 else LightningEnvironment())
    try:
        return Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy=strategy,
            plugins=plugins,
        )
    except (RuntimeError, ValueError) as error:
        raise RunError(f"the devices cannot be set up: {error}") from None


# Batch norm over several processes. -----------------------------------------------------------------


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
        total = all_reduce(torch.cat([x.sum(dims), count]))
        n = total[-1].detach()
        mean = total[:-1] / n
        centred = x - mean.view(shape)
        variance = all_reduce(centred.square().sum(dims)) / n
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


# The flags of speed. Autocast and channels last are a line each. ------------------------------------


def use_tf32(on: bool) -> None:
    """Whether float32 products on a GPU may be rounded to TF32's 10 bits, convolutions included.

    Torch allows it in convolutions and nowhere else by default.
    """
    torch.set_float32_matmul_precision("high" if on else "highest")
    torch.backends.cudnn.allow_tf32 = on


def compile_networks(model: nn.Module) -> None:
    """Have torch compile the networks of a model, at their first use.

    A module forgets what was compiled for it when it is copied, so a copy computes with its own
    weights, and a pixel model draws with a copy that is not compiled.
    """
    if isinstance(model, PixelModel):
        model.compile()  # the call of the whole model: its parts are called one by one in cached sampling
        return
    networks = [child for child in model.children() if next(child.parameters(), None) is not None]
    if isinstance(model, WGANGP):  # the penalty asks for a gradient of a gradient
        networks.remove(model.discriminator)
    if not networks:
        raise RunError(f"{type(model).__name__} is no network to compile: leave --compile out")
    for network in networks:
        network.compile()
