"""How a training computes: in which precision, and how a loss goes backward."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor


def bf16_is_fast(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 in hardware; elsewhere it would be slower.

    Example:
        >>> bf16_is_fast(torch.device("meta"))
        False
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    units = torch.cpu.get_capabilities()
    return any(units.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # last: Arm


def fast_autocast(device: torch.device) -> AbstractContextManager:
    """Compute in bfloat16 where that is fast; losses are in float32 either way.

    Example:
        >>> with fast_autocast(torch.device("meta")):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.float32
    """
    if not bf16_is_fast(device):
        return nullcontext()
    # autocast would keep the weights it has cast until its end, also while an optimiser moves them
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


@dataclass(frozen=True)
class ExecutionContext:
    """In which precision a loop computes, and how a loss goes backward: by default in the dtype of
    the weights, in one process.

    `genlib.train` gives the loops below another one, and so they train on several devices too.

    Args:
        autocast: a context in which losses are computed, `torch.autocast` for instance.
        backward: takes a loss and adds its gradients to the parameters.

    Example:
        >>> x = torch.ones(1, requires_grad=True)
        >>> ExecutionContext().backward(3 * x)
        >>> x.grad
        tensor([3.])
    """

    autocast: Callable[[], AbstractContextManager] = nullcontext
    backward: Callable[[Tensor], None] = Tensor.backward
