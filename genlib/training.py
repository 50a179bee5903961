"""Training loops that fit on one screen. The model and the optimiser carry the state."""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count, islice
from typing import Protocol

from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from tqdm import auto as bars

from genlib.adversarial import GAN
from genlib.data import ImageSet
from genlib.data.imageset import batch_sizes
from genlib.execution import ExecutionContext, fast_autocast
from genlib.surface import HasLoss, n_classes_of
from genlib.validation import at_least_one

HERE = ExecutionContext()
REFRESH = 0.5  # seconds between two updates of a progress bar: a notebook is sent messages for each
GAN_RECORD = (
    "discriminator_loss", "generator_loss", "accuracy", "discriminator_gradient", "generator_gradient"
)  # fmt: skip


def progress(n: int, what: str, unit: str) -> bars.tqdm:
    """range(n) with a bar; in a notebook a widget alone, as the text beside it would be stored as 0 % for ever.

    Example:
        >>> with progress(3, what="VAE", unit="epoch") as bar:
        ...     sum(bar)
        3
    """
    if bars.notebook_tqdm is bars.std_tqdm:  # no notebook
        return bars.trange(n, desc=what, unit=unit, mininterval=REFRESH)
    from IPython.display import display

    bar = bars.trange(n, desc=what, unit=unit, mininterval=REFRESH, display=False)
    display(bar.container, exclude=["text/plain"])
    return bar


def warm_up_then_cosine(progress: float, warm_up: float = 0.05) -> float:
    """Factor on the learning rate: up in a line during the warm-up, then down half a cosine to 0.

    Both arguments are shares of the training: what is done, and what the rate climbs in.

    Example:
        >>> [round(warm_up_then_cosine(p), 6) for p in (0, 0.05, 1)]
        [0.0, 1.0, 0.0]
    """
    if progress < warm_up:
        return progress / warm_up
    fall = min(1.0, (progress - warm_up) / (1 - warm_up))
    return (1 + math.cos(math.pi * fall)) / 2


def fall_in_second_half(progress: float) -> float:
    """Factor on the learning rate: 1 in the first half, then down in a line to 0 at the end.

    Example:
        >>> [fall_in_second_half(p) for p in (0, 0.5, 0.75, 1)]
        [1.0, 1.0, 0.5, 0.0]
    """
    return min(1.0, max(0.0, 2 - 2 * progress))


def check_batch_norm(model: nn.Module, smallest: int) -> None:
    """Refuse, by a ValueError, batches of one example for a model that compares those of a batch."""
    if smallest < 2 and any(isinstance(layer, nn.BatchNorm1d) for layer in model.modules()):
        raise ValueError(
            f"{type(model).__name__} has batch norm, which compares the examples of a batch, and a "
            "batch would hold one only: take a larger batch size, and at least 2 images"
        )


def train_epoch(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: Optimizer,
    scheduler: LRScheduler | None = None,
    context: ExecutionContext = HERE,
) -> float:
    """One pass over the batches, one update a batch.

    A conditional model (`model.n_classes > 0`) is given the labels, any other one only the images.

    Args:
        model: has `loss(x)` or, if conditional, `loss(x, y)`.
        batches: pairs of images (B, C, H, W) and labels (B,), as `ImageSet.batches` yields them.
        optimizer: holds the model's parameters.
        scheduler: if given, steps after every update.
        context: in which precision the loss is computed, and how it goes backward.

    Returns:
        The loss averaged over examples (not over batches: the last one may be smaller), in the
        units of `model.loss`. The parameters move during the pass, so this trails the loss after it.

    Example:
        >>> import torch
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> model = PixelCNN((1, 4, 4), hidden_dim=16, depth=1)
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        >>> losses = [train_epoch(model, load("bars").batches(10), optimizer) for _ in range(5)]
        >>> losses[-1] < losses[0]
        True
    """
    if not isinstance(model, HasLoss):
        raise TypeError(
            f"{type(model).__name__} has no method `loss`: there is nothing to minimise"
        )
    labels, total, count = n_classes_of(model) > 0, 0.0, 0
    for x, y in batches:
        with context.autocast():
            loss = model.loss(x, y=y) if labels else model.loss(x)
        optimizer.zero_grad()
        context.backward(loss)
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
        ValueError: epochs < 1, or batches too small for batch norm.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> model = PixelCNN((1, 4, 4), hidden_dim=16, depth=1)
        >>> len(fit(model, load("bars"), epochs=3))
        3
    """
    at_least_one("epochs", epochs)
    sizes = batch_sizes(len(data), batch_size)
    check_batch_norm(model, min(sizes))
    device = next(model.parameters()).device
    optimizer = AdamW(model.parameters(), lr=learning_rate)
    updates = epochs * len(sizes)
    # the schedule needs an update to climb on, so a training of very few stops half-way through it
    steps = max(updates, 8)
    scheduler = OneCycleLR(optimizer, max_lr=learning_rate, total_steps=steps, pct_start=0.25)
    losses = []
    with progress(epochs, what=type(model).__name__, unit="epoch") as bar:
        for _ in bar:
            batches = data.batches(batch_size, device=device)
            losses.append(train_epoch(model, batches, optimizer, scheduler))
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    return losses


def train_gan_epoch(
    model: GAN,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    generator_optimizer: Optimizer,
    discriminator_optimizer: Optimizer,
    *,
    discriminator_steps: int = 1,
    fast: bool = False,
    context: ExecutionContext = HERE,
) -> dict[str, float]:
    """One pass over the batches: an update of the discriminator each, now and then of the generator.

    Each batch is new to the discriminator; after every `discriminator_steps` batches the generator
    is updated once, from the fakes that the discriminator has just learnt to tell from the last of
    them (Goodfellow et al., 2014, arXiv:1406.2661, algorithm 1, draws others: to take these saves
    a run of the generator, and is what most programs do).

    Args:
        model: a `GAN` of any objective.
        batches: pairs of real examples and labels; the labels of an unconditional model may be None.
        generator_optimizer: holds the generator's parameters and no others.
        discriminator_optimizer: holds the discriminator's.
        discriminator_steps: updates of the discriminator for one of the generator.
        fast: compute in bfloat16 where that is fast; it pays for convolutions, not for small MLPs.
        context: in which precision losses are computed otherwise, and how they go backward.

    Returns:
        Averages over the pass: `discriminator_loss` and `generator_loss`; `accuracy`, the share of
        real examples and fakes that the discriminator classified right, before it learnt from them;
        `discriminator_gradient` and `generator_gradient`, norms over all parameters at once.

    Raises:
        ValueError: discriminator_steps < 1, or too few batches for one update of the generator.

    Example:
        >>> from genlib.adversarial import MLPDiscriminator, MLPGenerator
        >>> from genlib.data import load
        >>> model = GAN(MLPGenerator((1, 4, 4), latent_dim=8), MLPDiscriminator((1, 4, 4)), latent_dim=8)
        >>> for_generator, for_discriminator = gan_optimizers(model)
        >>> seen = train_gan_epoch(model, load("bars").batches(10), for_generator, for_discriminator)
        >>> 0 <= seen["accuracy"] <= 1
        True
    """
    at_least_one("discriminator_steps", discriminator_steps)
    total, examples, fakes = dict.fromkeys(GAN_RECORD, 0.0), 0, 0
    for i, (x, y) in enumerate(batches, start=1):
        y, n = y if model.n_classes else None, len(x)
        autocast = partial(fast_autocast, x.device) if fast else context.autocast
        with autocast():
            fake = model.fakes(n, y=y)  # for both: the generator is the same until its own step
            loss = model.discriminator_loss(x, y=y, fake=fake)
        total["discriminator_gradient"] += n * _step(discriminator_optimizer, loss, context)
        total["discriminator_loss"] += n * loss.item()
        total["accuracy"] += n * model.accuracy()
        examples += n
        if i % discriminator_steps == 0:
            with autocast():
                loss = model.generator_loss(n, y=y, fake=fake)
            total["generator_gradient"] += n * _step(generator_optimizer, loss, context)
            total["generator_loss"] += n * loss.item()
            fakes += n
    if fakes == 0:
        raise ValueError(
            f"there are fewer than {discriminator_steps} batches, too few for one update of the "
            "generator: smaller batches, or several passes over the data"
        )
    return {
        name: value / (fakes if name.startswith("generator") else examples)
        for name, value in total.items()
    }


def _step(optimizer: Optimizer, loss: Tensor, context: ExecutionContext) -> float:
    """One step downhill; returns the norm of the gradient, over all parameters at once."""
    optimizer.zero_grad()
    context.backward(loss)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    optimizer.step()
    return norm.item()


def gan_optimizers(model: GAN, learning_rate: float = 1e-3) -> tuple[Adam, Adam]:
    """Adam for the generator and for the discriminator, with the short memory of the DCGAN paper.

    The other network moves, so old gradients mislead: beta1 is 0.5 instead of 0.9 (Radford et al., 2016,
    arXiv:1511.06434, section 4).

    Example:
        >>> from genlib.adversarial import MLPDiscriminator, MLPGenerator
        >>> model = GAN(MLPGenerator((2,), latent_dim=8), MLPDiscriminator((2,)), latent_dim=8)
        >>> [optimizer.defaults["betas"] for optimizer in gan_optimizers(model)]
        [(0.5, 0.999), (0.5, 0.999)]
    """
    # fused: one pass over all numbers of a parameter; for small networks a sixth of an update's time
    adam = partial(Adam, lr=learning_rate, betas=(0.5, 0.999), fused=True)
    return adam(model.generator.parameters()), adam(model.discriminator.parameters())


class Density(Protocol):
    """What points are drawn from: `EightGaussians`, for instance."""

    def sample(self, n: int) -> Tensor: ...


def fit_gan(
    model: GAN,
    data: ImageSet | Density,
    *,
    updates: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    discriminator_steps: int = 1,
    fast: bool = False,
) -> dict[str, list[float]]:
    """Train generator and discriminator in alternating steps, and show a bar.

    A GAN's budget is counted in updates of the generator: with more `discriminator_steps`, an
    update sees more data. The learning rate falls to zero over the second half, which lets the two
    come to rest. Batches go to the device of the model's parameters.

    Args:
        model: a `GAN` of any objective.
        data: images, shuffled anew in every pass; or a density in the plane, sampled anew for every
            batch.
        updates: updates of the generator, at least 1.
        batch_size: examples an update.
        learning_rate: of both, in the first half.
        discriminator_steps: updates of the discriminator for one of the generator.
        fast: compute in bfloat16 where that is fast, as in `train_gan_epoch`.

    Returns:
        What `train_gan_epoch` returns, a list of one number an update.

    Example:
        >>> from genlib.adversarial import MLPDiscriminator, MLPGenerator
        >>> from genlib.data import EightGaussians
        >>> model = GAN(MLPGenerator((2,), latent_dim=8), MLPDiscriminator((2,)), latent_dim=8)
        >>> len(fit_gan(model, EightGaussians(), updates=3)["generator_loss"])
        3
    """
    at_least_one("updates", updates)
    sizes = batch_sizes(len(data), batch_size) if isinstance(data, ImageSet) else [batch_size]
    check_batch_norm(model, min(sizes))
    optimizers = gan_optimizers(model, learning_rate)
    device = next(model.parameters()).device
    if isinstance(data, ImageSet):
        stream: Iterator = data.endless_batches(batch_size, device=device)
    else:
        stream = ((data.sample(batch_size).to(device), None) for _ in count())
    record: dict[str, list[float]] = {name: [] for name in GAN_RECORD}
    with progress(updates, what=type(model).__name__, unit="update") as bar:
        for i in bar:
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = learning_rate * fall_in_second_half(i / updates)
            seen = train_gan_epoch(
                model,
                islice(stream, discriminator_steps),
                *optimizers,
                discriminator_steps=discriminator_steps,
                fast=fast,
            )
            for name, value in seen.items():
                record[name].append(value)
    return record
