"""One row of figures for a model of any leaf, and rows as a table."""

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from genlib.data import ImageSet
from genlib.metrics.frechet import frechet_distance
from genlib.metrics.likelihood import log_likelihood
from genlib.metrics.precision_recall import precision_recall
from genlib.surface import CanSample, HasBound, n_classes_of


@torch.no_grad()
def report(
    model: nn.Module,
    data: ImageSet,
    features: Callable[[Tensor], Tensor],
    *,
    train: ImageSet | None = None,
    n_samples: int = 1000,
    k: int = 500,
) -> dict[str, str | float | None]:
    r"""The measures of a model of any leaf: its row in a table of all of them.

    - `known`: how $\log p(x)$ is known: "exact"; "bound", a VAE's `importance_bound`; "AIS", an RBM
      too large to enumerate, with `annealed_importance`; None for an implicit model;
    - `nats`: the mean of that over the images of `data`, nats an image; None without a density. A
      bound is too low by an unknown amount, and an estimate by AIS tends to be too high;
    - `gap`: how far the ELBO lies below the bound reported, nats; None for other models;
    - `error`: standard error of the AIS estimate, nats; None for other models;
    - `frechet`, `precision`, `recall`: of as many samples as there are images in `data`, against
      these; see `frechet_distance` for why the number counts;
    - `seconds`: to draw `n_samples` at once, in wall-clock time, with the model's default settings.

    Samples are rounded to the levels of `data` before they are measured. Generators of GANs return
    grey images also where the data are black and white, and a judge would see that first.

    Args:
        model: unconditional, of one of the leaves of `genlib.taxonomy`, on any device.
        data: images that the model was not trained on.
        features: what the judge sees in images on the CPU, (N, C, H, W) -> (N, D), usually
            `FeatureClassifier.features`.
        train: what the model was trained on, from which AIS starts, see `annealed_importance`.
        n_samples: how many to draw, at least as many as there are images in `data`.
        k: codes an image for a VAE's bound.

    Raises:
        TypeError: the model cannot draw.
        ValueError: it is conditional, or n_samples is below the number of images.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> model = PixelCNN((1, 4, 4), hidden_dim=8, depth=1)
        >>> row = report(model, load("bars"), lambda x: x.flatten(1), n_samples=50)
        >>> row["known"], row["gap"], 0 <= row["precision"] <= 1
        ('exact', None, True)
    """
    if not isinstance(model, CanSample):
        raise TypeError(
            f"{type(model).__name__} has no method `sample`: what cannot draw has nothing to be judged by"
        )
    if n_classes_of(model):
        raise ValueError("this compares p(x): build the model without n_classes")
    if n_samples < len(data):
        raise ValueError(
            f"n_samples must be at least {len(data)}, the number of images to compare with, "
            f"not {n_samples}"
        )
    row: dict[str, str | float | None] = dict.fromkeys(("known", "nats", "gap", "error"))
    if (likelihood := log_likelihood(model, data, train=train, k=k)) is not None:
        row["known"], row["error"] = likelihood.known, likelihood.error
        row["nats"] = nats = (likelihood.scores.mean() - likelihood.log_z).item()
        if isinstance(model, HasBound):
            images = data.floats().to(next(model.parameters()).device)
            row["gap"] = nats - model.elbo(images).mean().item()
    start = time.perf_counter()
    x = model.sample(n_samples).cpu()
    seconds = time.perf_counter() - start
    top = data.levels - 1
    real, fake = features(data.floats()), features((x[: len(data)] * top).round() / top)
    precision, recall = precision_recall(real, fake)
    return {
        **row,
        "frechet": frechet_distance(real, fake),
        "precision": precision,
        "recall": recall,
        "seconds": seconds,
    }


def format_table(rows: Mapping[str, Mapping[str, object]], *, digits: int = 3) -> str:
    """Rows of figures as text in columns: to print, and to compare line by line.

    Args:
        rows: name of a row -> name of a column -> what stands there: numbers are aligned at the
            right, floats rounded, None is "-", and so is a column that a row does not have.
        digits: of floats, after the point.

    Example:
        >>> print(format_table({"PixelCNN": {"KL": 0.0123, "valid": 1}, "GAN": {"KL": None}}))
                    KL  valid
        PixelCNN  0.012      1
        GAN          -      -
    """

    def text(value: object) -> str:
        if value is None:
            return "-"
        return f"{value:.{digits}f}" if isinstance(value, float) else str(value)

    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [["", *names]]
    cells += [[row, *(text(of.get(name)) for name in names)] for row, of in rows.items()]
    words = [
        k == 0 or any(isinstance(of.get(names[k - 1]), str) for of in rows.values())
        for k in range(len(names) + 1)
    ]
    widths = [max(len(line[k]) for line in cells) for k in range(len(names) + 1)]
    lines = (
        "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(line, widths, words, strict=True)
        ).rstrip()
        for line in cells
    )
    return "\n".join(lines)
