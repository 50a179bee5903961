"""Likelihoods of any model, in nats or bits a dimension."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genlib.data import ImageSet
from genlib.markov import RBM, annealed_importance
from genlib.markov.rbm import LARGEST
from genlib.surface import HasBound, HasBoundInSteps, HasLogProb, is_flow_of_images, n_classes_of
from genlib.validation import Shape
from genlib.variational import importance_bound


def bits_per_dim(nats: Tensor | float, shape: Shape) -> Tensor | float:
    r"""From nats per image to bits per dimension: $-\log p(x) / (CHW \ln 2)$.

    A dimension is one channel of one pixel, so images of different sizes can be compared. A model
    of uniform levels needs $\log_2 K$ bits a dimension; smaller is better.

    Args:
        nats: log-likelihood in nats per image, usually negative.
        shape: image shape (C, H, W).

    Example:
        >>> bits_per_dim(-64 * math.log(16), shape=(1, 8, 8))
        4.0
    """
    return -nats / (math.prod(shape) * math.log(2))


@torch.no_grad()
def log_probs(model: nn.Module, data: ImageSet, *, batch_size: int = 500) -> Tensor:
    """The model's log-likelihood of every image of a set, in nats and in the set's order.

    Args:
        model: has `log_prob(x)` or, if conditional, `log_prob(x, y)`.
        data: the images.
        batch_size: images a forward pass; changes the memory needed, not the result.

    Shapes:
        -> (N,) on the CPU

    Raises:
        TypeError: the model has no `log_prob` of images.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> log_probs(PixelCNN((1, 4, 4), hidden_dim=8, depth=1), load("bars")).shape
        torch.Size([30])
    """
    device = next(model.parameters()).device
    if not isinstance(model, HasLogProb) or is_flow_of_images(model):
        raise TypeError(f"{type(model).__name__} has no `log_prob` of images: see `log_likelihood`")
    chunks = [
        (model.log_prob(x, y=y) if n_classes_of(model) else model.log_prob(x)).cpu()
        for x, y in data.batches(batch_size, shuffle=False, device=device)
    ]
    return torch.cat(chunks)


class LogLikelihood(NamedTuple):
    """What is known of log p(x), see `log_likelihood`."""

    known: str  # "exact", "bound" (from below) or "AIS" (an estimate)
    scores: Tensor  # nats of each image before normalisation, (N,) on the CPU
    log_z: Tensor | float = 0.0  # what normalises them, zero if they are
    error: float | None = None  # standard error of `log_z` in nats, if it is an estimate

    @property
    def nats(self) -> Tensor:
        """log p(x), or what stands for it, in nats of each image, (N,)."""
        return self.scores - self.log_z


@torch.no_grad()
def log_likelihood(
    model: nn.Module,
    data: ImageSet,
    *,
    train: ImageSet | None = None,
    k: int = 500,
    steps: int = 100,
) -> LogLikelihood | None:
    """The best available value of log p(x) of every image of a set; None for implicit models and flows of images.

    Args:
        model: of one of the leaves of `genlib.taxonomy`, on any device; a conditional one is given
            the labels.
        data: the images.
        train: what the model was trained on, from which AIS starts, see `annealed_importance`.
        k: codes an image for a VAE's bound.
        steps: of noise for a diffusion's bound, as many passes.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> known = log_likelihood(PixelCNN((1, 4, 4), hidden_dim=8, depth=1), load("bars"))
        >>> known.known, known.nats.shape
        ('exact', torch.Size([30]))
    """
    device = next(model.parameters()).device
    if isinstance(model, RBM):  # p(x) is exp(-F(x)) / Z, and Z the same for all images
        error = None
        if min(model.hidden_dim, math.prod(model.shape)) <= LARGEST:
            known, log_z = "exact", model.log_partition()
        else:
            known, (log_z, std) = "AIS", annealed_importance(model, data=train)
            error = std.item()
        scores = -model.free_energy(data.floats().to(device))
        return LogLikelihood(known, scores.cpu(), log_z.cpu(), error)
    if isinstance(model, HasLogProb) and not is_flow_of_images(model):
        return LogLikelihood("exact", log_probs(model, data))
    if isinstance(model, HasBound):
        y = data.labels.to(device) if n_classes_of(model) else None
        bound = importance_bound(model, data.floats().to(device), k=k, y=y)
        return LogLikelihood("bound", bound.cpu())
    if isinstance(model, HasBoundInSteps):
        bounds = [
            model.elbo(x, y=y if n_classes_of(model) else None, steps=steps).cpu()
            for x, y in data.batches(500, shuffle=False, device=device)
        ]
        return LogLikelihood("bound", torch.cat(bounds))
    return None
