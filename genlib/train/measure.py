"""What can be said of a trained model: whatever its leaf of the taxonomy can honour, and no more."""

import torch
from torch import Tensor, nn

from genlib.data import ImageSet, binarise, independent_pixels
from genlib.metrics import (
    bars_report,
    bits_per_dim,
    frechet_distance,
    log_likelihood,
    precision_recall,
    train_classifier,
)
from genlib.train.config import Config
from genlib.train.folder import RunError
from genlib.variational import VAE, Autoencoder

BINARISE_SEED = {"test": 0, "train": 1}


def as_trained(data: ImageSet, config: Config, split: str) -> ImageSet:
    """A split as the model knows it: black and white, drawn once from a fixed seed, if it is for these.

    Example:
        >>> from genlib.data import load
        >>> as_trained(load("digits"), Config("rbm", "digits", binary=True), "test").levels
        2
    """
    if not config.binary or data.levels == 2:
        return data
    return binarise(data, "stochastic", BINARISE_SEED[split])


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean of some numbers, and its standard error.

    Example:
        >>> mean_and_error(torch.tensor([1.0, 3.0]))
        (2.0, 1.0)
    """
    values = values.double()
    return values.mean().item(), values.std().item() / len(values) ** 0.5


@torch.no_grad()
def likelihood_lines(
    model: nn.Module, train: ImageSet, data: ImageSet, codes: int
) -> dict[str, str]:
    """How probable the images are to the model: exact, a bound, or an estimate, each called by its name.

    Args:
        model: on any device.
        train: what it was trained on.
        data: the images.
        codes: codes an image for a VAE's bound.

    Raises:
        RunError: the model has no likelihood.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> model = PixelCNN((1, 4, 4), channels=8, depth=1)
        >>> list(likelihood_lines(model, load("bars"), load("bars"), codes=1))
        ['negative log-likelihood, exact', 'independent pixels, for comparison']
    """
    found = log_likelihood(model, data, train=train, k=codes)
    if found is None:
        raise RunError(
            f"{type(model).__name__} has no likelihood: how probable an image is, it cannot say. "
            "Judge it by its samples (--samples)"
        )
    lines = {}
    if isinstance(model, VAE):
        device = next(model.parameters()).device
        elbos = [
            model.elbo(x, y if model.n_classes else None).cpu()
            for x, y in data.batches(500, shuffle=False, device=device)
        ]
        lines["negative log-likelihood, at most (ELBO)"] = _nats(-torch.cat(elbos), data)
    how = {
        "exact": "exact",
        "bound": f"at most (importance bound, {codes} codes)",
        "AIS": "estimated (AIS, tends to flatter)",
    }[found.known]
    lines[f"negative log-likelihood, {how}"] = _nats(-found.nats, data, found.error)
    baseline = -independent_pixels(train).log_prob(data.images.long()).flatten(1).sum(dim=1)
    lines["independent pixels, for comparison"] = _nats(baseline, data)
    return lines


def _nats(nats: Tensor, data: ImageSet, error: float | None = None) -> str:
    mean, standard_error = mean_and_error(nats)
    if error is not None:  # of log Z, the same for all images
        standard_error = (standard_error**2 + error**2) ** 0.5
    bits = bits_per_dim(-mean, data.shape)
    return f"{mean:.2f} ± {standard_error:.2f} nats an image, {bits:.4f} bits/dim"


def sample_lines(model: nn.Module, train: ImageSet, data: ImageSet, n: int) -> dict[str, str]:
    """What `compare_samples` finds, as lines to print.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> model = PixelCNN((1, 8, 8), levels=17, channels=8, depth=1)
        >>> list(sample_lines(model, load("digits"), load("digits", "test"), n=20))
        ['Frechet distance', 'precision', 'recall']
    """
    found = compare_samples(model, train, data, n)
    distance = found.pop("Frechet distance")
    return {
        "Frechet distance": f"{distance['samples']:.2f} of {n} samples, "
        f"{distance['training images']:.2f} of as many training images",
        **{
            name: ", ".join(f"{share:.3f} of {of}" for of, share in shares.items())
            for name, shares in found.items()
        },
    }


def compare_samples(
    model: nn.Module, train: ImageSet, data: ImageSet, n: int
) -> dict[str, dict[str, float]]:
    """How the model's samples compare with real images, as a classifier trained on these sees them.

    Args:
        model: on any device.
        train: what it was trained on; the classifier is, too.
        data: real images to compare with.
        n: how many samples, and how many images.

    Returns:
        Frechet distance, precision and recall (the share of real images that the samples cover), each
        of `samples` and, to compare with, of as many `training images`.

    Raises:
        RunError: the model cannot sample, or there are too few images or no labels.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> from genlib.data import load
        >>> model = PixelCNN((1, 8, 8), levels=17, channels=8, depth=1)
        >>> found = compare_samples(model, load("digits"), load("digits", "test"), n=20)
        >>> found["recall"]["samples"] <= 1
        True
    """
    check_can_sample(model)
    if data.n_classes < 2:
        raise RunError("samples are judged by a classifier, and this data set has no labels")
    if not 4 <= n <= len(data):
        raise RunError(f"--n must be 4 to {len(data)}, the number of images, not {n}")
    device = next(model.parameters()).device
    labels = data.labels[:n].to(device)
    x = torch.cat([
        model.sample(len(y), *((y,) if getattr(model, "n_classes", 0) else ())).cpu()  # type: ignore[operator]
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
        "Frechet distance": {of: frechet_distance(real, x) for of, x in seen.items()},
        "precision": {of: precision for of, (precision, _) in shares.items()},
        "recall": {of: recall for of, (_, recall) in shares.items()},
    }


def check_can_sample(model: nn.Module) -> None:
    """Refuse to draw from what cannot draw.

    Raises:
        RunError: the model has no `sample`.
    """
    if not hasattr(model, "sample"):
        raise RunError(
            f"{type(model).__name__} cannot sample: it has no distribution of codes. "
            "Train a vae, which has one"
        )


def measure(
    model: nn.Module,
    config: Config,
    train: ImageSet,
    data: ImageSet,
    *,
    likelihood: bool = False,
    samples: bool = False,
    n: int = 1000,
    codes: int = 500,
) -> dict[str, str]:
    """All that can be said of a model on some images: lines to print, by name.

    Args:
        model: on any device, in eval mode.
        config: of its run.
        train: what it was trained on, as it knows it.
        data: what to measure on, as it knows it.
        likelihood: only that; samples: only these. With neither, everything the model can honour.
        n: samples to compare, at most as many as there are images.
        codes: codes an image for a VAE's bound.

    Raises:
        RunError: it was asked for something that it cannot honour.

    Example:
        >>> from genlib.data import load
        >>> from genlib.variational import Autoencoder
        >>> model, bars = Autoencoder((1, 4, 4), latent_dim=2), load("bars")
        >>> list(measure(model, Config("autoencoder", "bars"), bars, bars))
        ['squared error of a restored value', 'of the mean image, for comparison']
    """
    everything = not (likelihood or samples)
    lines: dict[str, str] = {}
    if isinstance(model, Autoencoder) and everything:
        x = data.floats().to(next(model.parameters()).device)
        with torch.no_grad():
            errors = [(model(part) - part).square().flatten(1).mean(dim=1) for part in x.split(500)]
        mean = (data.floats() - train.floats().mean(dim=0)).square().flatten(1).mean(dim=1)
        for name, values in (
            ("squared error of a restored value", torch.cat(errors).cpu()),
            ("of the mean image, for comparison", mean),
        ):
            lines[name] = "{:.5f} ± {:.5f}".format(*mean_and_error(values))
        return lines
    if likelihood or (everything and _has_likelihood(model)):
        lines |= likelihood_lines(model, train, data, codes)
    if everything and config.data == "bars" and not getattr(model, "n_classes", 0):
        report = bars_report(model)
        if report["kl"] is not None:
            lines[f"KL(bars || model), {report['known']}"] = f"{report['kl']:.4f} nats"
        lines["of 6000 samples"] = (
            f"{report['covered']} of 30 images are covered, {report['valid']:.1%} are one of them"
        )
    elif samples or (everything and data.n_classes > 1):
        lines |= sample_lines(model, train, data, min(n, len(data)))
    return lines


def _has_likelihood(model: nn.Module) -> bool:
    return hasattr(model, "log_prob") or hasattr(model, "elbo")
