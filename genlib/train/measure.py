"""The measures of a trained model: those that its leaf of the taxonomy has, and no more."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genlib.data import ImageSet, binarise, independent_pixels
from genlib.metrics import (
    bars_report,
    frechet_distance,
    log_likelihood,
    precision_recall,
    train_classifier,
)
from genlib.surface import (
    CanSample,
    HasBound,
    HasBoundInSteps,
    HasLogProb,
    is_flow_of_images,
    n_classes_of,
)
from genlib.train.config import Config
from genlib.train.folder import RunError
from genlib.variational import VAE, Autoencoder

NATS = "nats an image"
BINARISE_SEED = {"test": 0, "train": 1}


@dataclass(frozen=True)
class Measurement:
    """A number that was measured."""

    value: float
    error: float | None = None  # its standard error, where it has one that is known
    unit: str = ""  # what it counts; "share" for a part of a whole


def as_trained(data: ImageSet, config: Config, split: str) -> ImageSet:
    """A split as the model knows it: black and white, drawn once from a fixed seed, if it is for these.

    Example:
        >>> from genlib.data import load
        >>> as_trained(load("digits"), Config("rbm", "digits", binary=True), "test").levels
        2
    """
    if not config.binary or data.levels == 2:
        return data
    return binarise(data, how="stochastic", seed=BINARISE_SEED[split])


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean of some numbers, and its standard error."""
    values = values.double()
    return values.mean().item(), values.std().item() / len(values) ** 0.5


@torch.no_grad()
def likelihood(
    model: nn.Module,
    train: ImageSet,
    data: ImageSet,
    codes: Sequence[int] = (1, 500),
    steps: int = 100,
) -> dict[str, Measurement]:
    """Negative log-likelihoods: exact, a bound, or an estimate, each called by its name.

    Args:
        model: on any device, trained on `train`.
        data: the images.
        codes: codes an image for a VAE's bounds, one number a bound; one code gives the ELBO.
        steps: of noise for a diffusion's bound.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> model = PixelCNN((1, 4, 4), hidden_dim=8, depth=1)
        >>> list(likelihood(model, load("bars"), load("bars")))
        ['exact', 'independent pixels, for comparison']
    """
    found: dict[str, Measurement] = {}
    for k in codes if isinstance(model, VAE) else codes[:1]:
        known = log_likelihood(model, data, train=train, k=k, steps=steps)
        if known is None:
            why = (
                "has a likelihood of points only: of an image it takes a derivative for each value"
                if is_flow_of_images(model)
                else "has no likelihood: how probable an image is, it cannot say"
            )
            raise RunError(f"{type(model).__name__} {why}. Judge it by its samples (--samples)")
        name = {
            "exact": "exact",
            "bound": bound_name(k) if isinstance(model, HasBound) else in_steps(steps),
            "AIS": "estimated (AIS, tends to flatter)",
        }[known.known]
        mean, error = mean_and_error(-known.nats)
        if known.error is not None:  # of log Z, the same for all images
            error = (error**2 + known.error**2) ** 0.5
        found[name] = Measurement(mean, error, NATS)
    baseline = -independent_pixels(train).log_prob(data.images.long()).flatten(1).sum(dim=1)
    found["independent pixels, for comparison"] = Measurement(*mean_and_error(baseline), NATS)
    return found


def bound_name(k: int) -> str:
    """What a VAE's bound from k codes an image is called."""
    return f"at most ({'ELBO' if k == 1 else f'importance bound, {k} codes'})"


def in_steps(steps: int) -> str:
    """What a diffusion's bound by so many steps is called."""
    return f"at most (ELBO, {steps} steps)"


def compare_samples(
    model: nn.Module, train: ImageSet, data: ImageSet, n: int
) -> dict[str, dict[str, float]]:
    """How `n` of the model's samples compare with as many images of `data`, as a classifier sees them.

    The classifier is trained on `train`, as the model was.

    Returns:
        Fréchet distance, precision and recall (the share of real images that the samples cover), each
        of `samples` and, to compare with, of as many `training images`.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> model = PixelCNN((1, 8, 8), levels=17, hidden_dim=8, depth=1)
        >>> found = compare_samples(model, load("digits"), load("digits", "test"), n=20)
        >>> found["recall"]["samples"] <= 1
        True
    """
    drawn_from = check_can_sample(model)
    if data.n_classes < 2:
        raise RunError("samples are judged by a classifier, and this data set has no labels")
    if not 4 <= n <= len(data):
        raise RunError(f"--n must be 4 to {len(data)}, the number of images, not {n}")
    device = next(model.parameters()).device
    labels = data.labels[:n].to(device)
    x = torch.cat([
        drawn_from.sample(len(y), y=y if n_classes_of(model) else None).cpu()
        for y in labels.split(1000)
    ])  # fmt: skip
    top = data.levels - 1
    judge = train_classifier(train)
    real = judge.features(data[:n].floats())
    rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:n]
    seen = {
        "samples": judge.features((x * top).round() / top),
        "training images": judge.features(train[rows].floats()),
    }
    shares = {of: precision_recall(real, features) for of, features in seen.items()}
    return {
        "Fréchet distance": {of: frechet_distance(real, x) for of, x in seen.items()},
        "precision": {of: precision for of, (precision, _) in shares.items()},
        "recall": {of: recall for of, (_, recall) in shares.items()},
    }


def check_can_sample(model: nn.Module) -> CanSample:
    """The model; a RunError if it has no `sample`."""
    if not isinstance(model, CanSample):
        raise RunError(
            f"{type(model).__name__} cannot sample: it has no distribution of codes. "
            "Train a vae, which has one"
        )
    return model


def measure(
    model: nn.Module,
    config: Config,
    train: ImageSet,
    data: ImageSet,
    *,
    only: str | None = None,
    n: int = 1000,
    codes: int = 500,
    steps: int = 100,
) -> dict[str, Measurement]:
    """All measures of a model on some images, by name.

    Args:
        model, config: of a run; on any device, in eval mode.
        train, data: what it was trained on, and what to measure on, as it knows them (`as_trained`).
        only: "likelihood" or "samples"; None for everything the model can honour.
        n: samples to compare, at most as many as there are images.
        codes: codes an image for a VAE's bound, which comes beside the ELBO.
        steps: of noise for a diffusion's bound.

    Raises:
        RunError: it was asked for something that it cannot compute.

    Example:
        >>> from genlib.data import load
        >>> from genlib.variational import Autoencoder
        >>> model, bars = Autoencoder((1, 4, 4), latent_dim=2), load("bars")
        >>> list(measure(model, Config("autoencoder", "bars"), bars, bars))
        ['squared error of a restored value', 'of the mean image, for comparison']
    """
    if isinstance(model, Autoencoder) and only is None:
        return _restored(model, train, data)
    found: dict[str, Measurement] = {}
    explicit = isinstance(model, HasLogProb | HasBound | HasBoundInSteps) and not is_flow_of_images(
        model
    )
    if only == "likelihood" or (only is None and explicit):
        for name, measured in likelihood(model, train, data, sorted({1, codes}), steps).items():
            known = "" if name.startswith("independent") else "negative log-likelihood, "
            found[known + name] = measured
    if only is None and config.data == "bars" and not n_classes_of(model):
        found |= _bars(model)
    elif only == "samples" or (only is None and data.n_classes > 1):
        n = min(n, len(data))
        for name, shares in compare_samples(model, train, data, n).items():
            unit = "distance" if name == "Fréchet distance" else "share"
            for kind, value in shares.items():
                found[f"{name} of {n} {kind}"] = Measurement(value, None, unit)
    return found


def _restored(model: Autoencoder, train: ImageSet, data: ImageSet) -> dict[str, Measurement]:
    x = data.floats().to(next(model.parameters()).device)
    with torch.no_grad():
        errors = [(model(part) - part).square().flatten(1).mean(dim=1) for part in x.split(500)]
    mean = (data.floats() - train.floats().mean(dim=0)).square().flatten(1).mean(dim=1)
    unit = "squared grey value"
    return {
        "squared error of a restored value": Measurement(
            *mean_and_error(torch.cat(errors).cpu()), unit
        ),
        "of the mean image, for comparison": Measurement(*mean_and_error(mean), unit),
    }


def _bars(model: nn.Module) -> dict[str, Measurement]:
    report: dict[str, Any] = bars_report(model)
    found = {}
    if report["kl"] is not None:
        found[f"KL(bars || model), {report['known']}"] = Measurement(report["kl"], None, "nats")
    found["images among 6000 samples"] = Measurement(report["covered"], None, "of 30")
    found["samples that are one of them"] = Measurement(report["valid"], None, "share")
    return found
