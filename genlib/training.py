"""Training loops that fit on one screen. The model and the optimiser carry the state."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from tqdm.auto import trange

from genlib.data import ImageSet


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


def fast_numbers(device: torch.device) -> AbstractContextManager:
    """Compute in bfloat16 where that is fast; losses are in float32 either way.

    Example:
        >>> with fast_numbers(torch.device("meta")):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.float32
    """
    if not bf16_is_fast(device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def train_epoch(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: Optimizer,
    scheduler: LRScheduler | None = None,
) -> float:
    """One pass over the batches, one update a batch.

    A conditional model (`model.n_classes > 0`) is given the labels, any other one only the images.

    Args:
        model: has `loss(x)` or, if conditional, `loss(x, y)`.
        batches: pairs of images (B, C, H, W) and labels (B,), as `ImageSet.batches` yields them.
        optimizer: holds the model's parameters.
        scheduler: if given, steps after every update.

    Returns:
        The loss averaged over examples (not over batches: the last one may be smaller), in the
        units of `model.loss`. The parameters move during the pass, so this trails the loss after it.

    Raises:
        ValueError: there are no batches.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
        <torch._C.Generator ...>
        >>> model = PixelCNN((1, 4, 4), channels=16, depth=1)
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        >>> losses = [train_epoch(model, load("bars").batches(10), optimizer) for _ in range(5)]
        >>> losses[-1] < losses[0]
        True
    """
    total, count = 0.0, 0
    for x, y in batches:
        loss = model.loss(x, y) if getattr(model, "n_classes", 0) else model.loss(x)  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        total += loss.item() * len(x)
        count += len(x)
    if count == 0:
        raise ValueError("there are no batches to train on: a used-up iterator? Make a new one")
    return total / count


def fit(
    model: nn.Module,
    data: ImageSet,
    *,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
) -> list[float]:
    """Train with AdamW under a one-cycle learning rate, and show a bar.

    The rate climbs over the first quarter of the updates and falls to almost nothing at the end
    (Smith & Topin, 2017, arXiv:1708.07120): a short training ends at a better place than under a
    constant rate. Batches go to the device of the model's parameters.

    Args:
        model: as in `train_epoch`.
        data: the images to train on, shuffled anew every epoch.
        epochs: passes over the data, at least 1.
        batch_size: images an update.
        learning_rate: the highest rate reached.

    Returns:
        The average loss of each epoch.

    Raises:
        ValueError: epochs < 1.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> model = PixelCNN((1, 4, 4), channels=16, depth=1)
        >>> len(fit(model, load("bars"), epochs=3))
        3
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, not {epochs}")
    device = next(model.parameters()).device
    optimizer = AdamW(model.parameters(), lr=learning_rate)
    updates = epochs * -(-len(data) // batch_size)
    # the schedule needs an update to climb on, so a training of very few stops half-way through it
    steps = max(updates, 8)
    scheduler = OneCycleLR(optimizer, max_lr=learning_rate, total_steps=steps, pct_start=0.25)
    losses = []
    with trange(epochs, desc=type(model).__name__, unit="epoch") as bar:
        for _ in bar:
            batches = data.batches(batch_size, device=device)
            losses.append(train_epoch(model, batches, optimizer, scheduler))
            bar.set_postfix(loss=f"{losses[-1]:.3f}")
    return losses
