"""What a training must keep to resume where it stopped: weights, their average, optimisers and random numbers."""

from collections.abc import Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer


def training_state(
    model: nn.Module,
    average: nn.Module | None,
    optimizers: Sequence[Optimizer],
    fabric: Fabric,
) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Everything that changes in a training, as tensors by name and what JSON can hold.

    All processes must ask together, since each adds its random numbers.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    groups = []
    for k, optimizer in enumerate(optimizers):
        state = optimizer.state_dict()
        groups.append(state["param_groups"])
        for i, values in state["state"].items():  # averages of the i-th parameter
            tensors |= {f"optimizer.{k}.{i}.{name}": value for name, value in values.items()}
    scaler = fabric.strategy.precision.state_dict()
    return tensors | random_state(fabric), {"optimizers": groups, "scaler": scaler}


def restore_training(
    optimizers: Sequence[Optimizer], fabric: Fabric, tensors: dict[str, Tensor], metadata: Mapping
) -> None:
    """Put back what `training_state` has taken, but for the weights."""
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, k, i, what = name.split(".")
            states[int(k)].setdefault(int(i), {})[what] = value
    for optimizer, state, groups in zip(optimizers, states, metadata["optimizers"], strict=True):
        restore_optimizer(optimizer, {"state": state, "param_groups": groups})
    if metadata["scaler"]:
        fabric.strategy.precision.load_state_dict(metadata["scaler"])
    restore_random_state(fabric, tensors)


def restore_optimizer(optimizer: Optimizer, state: dict) -> None:
    """Give an optimiser the state that it had, laid out in memory as its parameters are.

    A fused optimiser walks over a parameter and its averages as they lie in memory. A file holds
    numbers in plain order, so those of a parameter that is channels last must be put in its order.
    """
    optimizer.load_state_dict(state)
    for p, of in optimizer.state.items():
        for name, value in of.items():
            if isinstance(value, Tensor) and value.shape == p.shape:
                of[name] = torch.empty_like(p, dtype=value.dtype).copy_(value)


# Random numbers. ------------------------------------------------------------------------------------


def random_state(fabric: Fabric) -> dict[str, Tensor]:
    """The random numbers of all processes, a row each."""
    states, device = {"random.cpu": torch.get_rng_state()}, fabric.device
    if device.type != "cpu":
        states[f"random.{device.type}"] = torch.get_device_module(device).get_rng_state()
    tables = {}
    for name, state in states.items():
        table = torch.zeros(fabric.world_size, len(state), dtype=torch.int32)
        table[fabric.global_rank] = state
        if fabric.world_size > 1:
            table = fabric.all_reduce(table.to(device), reduce_op="sum").cpu()  # type: ignore[union-attr]
        tables[name] = table.to(torch.uint8)
    return tables


def restore_random_state(fabric: Fabric, tensors: Mapping[str, Tensor]) -> None:
    """Go on with the random numbers that `random_state` has seen."""
    rank, device = fabric.global_rank, fabric.device
    torch.set_rng_state(tensors["random.cpu"][rank].clone())
    if device.type != "cpu":
        state = tensors[f"random.{device.type}"][rank].clone()
        torch.get_device_module(device).set_rng_state(state)
