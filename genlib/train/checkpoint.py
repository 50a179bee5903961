"""What a training must keep to resume where it stopped: weights, optimisers and random numbers."""

from collections.abc import Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer


def training_state(
    model: nn.Module, optimizers: Sequence[Optimizer], fabric: Fabric
) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Everything that changes in a training, as tensors by name and what JSON can hold.

    All processes must ask together, since each adds its random numbers.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    packed = pack([o.state_dict() for o in optimizers], "optimizer", tensors)
    tensors |= random_state(fabric)
    scaler = fabric.strategy.precision.state_dict()
    return tensors, {"optimizers": packed, "scaler": scaler}


def restore_training(
    optimizers: Sequence[Optimizer], fabric: Fabric, tensors: dict[str, Tensor], metadata: Mapping
) -> None:
    """Put back what `training_state` has taken, but for the weights.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: something is missing, or of another training.
    """
    states: list = unpack(metadata["optimizers"], tensors)  # type: ignore[assignment]
    for optimizer, state in zip(optimizers, states, strict=True):
        restore_optimizer(optimizer, state)
    if metadata["scaler"]:
        fabric.strategy.precision.load_state_dict(metadata["scaler"])
    restore_random_state(fabric, tensors)


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


# Optimisers as tensors and text. --------------------------------------------------------------------


def pack(state: object, name: str, tensors: dict[str, Tensor]) -> object:
    """A nested state as JSON can hold it; its tensors go into `tensors`, under names that start with `name`.

    Example:
        >>> import json
        >>> tensors = {}
        >>> packed = pack({"state": {0: {"step": torch.tensor(3.0)}}, "lr": 0.1}, "adam", tensors)
        >>> list(tensors)
        ['adam.state.0.step']
        >>> unpack(json.loads(json.dumps(packed)), tensors)
        {'state': {0: {'step': tensor(3.)}}, 'lr': 0.1}
    """
    if isinstance(state, Tensor):
        tensors[name] = state
        return {"tensor": name}
    if isinstance(state, Mapping):  # as pairs: keys may be numbers, which JSON would make text
        return {"dict": [[k, pack(v, f"{name}.{k}", tensors)] for k, v in state.items()]}
    if isinstance(state, list | tuple):
        kind = "list" if isinstance(state, list) else "tuple"
        return {kind: [pack(v, f"{name}.{i}", tensors) for i, v in enumerate(state)]}
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise TypeError(f"{name} is a {type(state).__name__}, which is neither a tensor nor JSON")


def unpack(packed: object, tensors: Mapping[str, Tensor]) -> object:
    """The state that `pack` has taken apart.

    Raises:
        KeyError: a tensor is missing.
    """
    if not isinstance(packed, dict):
        return packed
    ((kind, value),) = packed.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {k: unpack(v, tensors) for k, v in value}
    parts = [unpack(v, tensors) for v in value]
    return parts if kind == "list" else tuple(parts)


def restore_optimizer(optimizer: Optimizer, state: dict) -> None:
    """Give an optimiser the state that it had, laid out in memory as its parameters are.

    A fused optimiser goes over a parameter and its averages as they lie in memory. A file holds
    numbers in plain order, so those of a parameter that is channels last must be put in its order.
    """
    optimizer.load_state_dict(state)
    for p, of in optimizer.state.items():
        for name, value in of.items():
            if isinstance(value, Tensor) and value.shape == p.shape:
                of[name] = torch.empty_like(p, dtype=value.dtype).copy_(value)
