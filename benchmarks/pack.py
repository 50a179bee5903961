"""Pack a trained run into genlib/pretrained/, from where `pretrained.load(NAME)` loads it.

    make pack RUN=runs/first NAME=gated_pixelcnn-mnist [ARGS="--machine 'one core of an AMD EPYC'"]

RUN is a folder of `python -m genlib train`. Its weights are rounded to half precision and refused if
that changes what the model computes, if their file is above 3 MB, or if all together would be above 12 MB.
Then the rounded model is measured on test images, as `python -m genlib evaluate` does it, and
weights, card and catalogue are written whole, or not at all. What the run does not know, such as
the machine, comes from a file of benchmarks/results.py (--metrics, or RESULT.json in the run's folder).
`python -m benchmarks.pack --pages` only writes the cards and the table of docs/pretrained.md anew.
"""

import argparse
import copy
import hashlib
import json
import os
import re
import sys
import textwrap
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from course.publish import markdown
from genlib import pretrained
from genlib.adversarial import GAN
from genlib.autoregressive import PixelModel
from genlib.data import ImageSet, load
from genlib.data.folders import whole_file
from genlib.diffusion import Diffusion
from genlib.flow_matching import FlowMatching
from genlib.from_noise import FromNoise
from genlib.metrics import FeatureClassifier, bits_per_dim, frechet_distance, train_classifier
from genlib.pretrained import Card, Measured
from genlib.surface import n_classes_of
from genlib.train import (
    Config,
    RunError,
    RunFolder,
    load_model,
    measure,
    read_run,
    recipe,
)
from genlib.variational import VAE

ROOT = Path(__file__).resolve().parents[1]
NAME = re.compile(r"[a-z0-9_]+-[a-z0-9_]+")
LICENCE = "MIT"
PROBES = 100  # images or codes on which the rounded model is compared with the trained one
# the most that rounding may change, as a mean over them: a likelihood is printed with one digit after
# the point, and a screen shows 256 grey levels
NATS, GREY = 0.05, 0.5 / 255
CODES = (1, 50, 5000)  # of a VAE's bound: its ELBO, and the numbers of Burda et al. (2016), table 1
STEPS, IMAGES = 100, 500  # of a diffusion's bound, which takes a pass a step
UPPER = "upper bound on the negative log-likelihood"
BEFORE = "measured before the weights were rounded"
SAMPLES = 1000  # as `python -m genlib evaluate` takes
LARGEST = 3_000_000  # bytes of one file of weights
LARGEST_TOGETHER = 12_000_000  # of all: everybody who clones the course fetches them


# ---------------------------------------------------------------- rounding


def rounded(weights: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights in another type; counters, which are whole numbers, stay what they are.

    Example:
        >>> rounded({"w": torch.tensor([1 / 3]), "n": torch.tensor(7)}, torch.float16)
        {'w': tensor([0.3333], dtype=torch.float16), 'n': tensor(7)}
    """
    return {
        k: (w.to(dtype) if w.is_floating_point() else w.clone()).contiguous()
        for k, w in weights.items()
    }


def with_weights(model: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """A copy of the model with these weights, in its own precision."""
    other = copy.deepcopy(model)
    other.load_state_dict(weights)
    return other


@torch.no_grad()
def outputs(model: nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
    """What a model computes, as numbers to compare: nats of images, or grey values made from one noise."""
    torch.manual_seed(0)
    if isinstance(model, PixelModel):
        return torch.cat([model.log_prob(part, y=labels) for part, labels in _parts(x, y)])
    if isinstance(model, VAE):
        return model.elbo(x, y=y)
    if isinstance(model, Diffusion):
        t = torch.arange(len(x)) / len(x)
        return (model.denoise(model.noisy(2 * x - 1, t), t, y=y) + 1) / 2
    if isinstance(model, FlowMatching):
        t = torch.arange(len(x)) / len(x)
        x_t, _ = model.path.at(2 * x - 1, torch.randn_like(x), t)
        return (model.path.ends(x_t, model.velocity(x_t, t, y=y), t)[0] + 1) / 2
    assert isinstance(model, GAN)
    return model.generate(model.noise(len(x)), y=y)


def _parts(x: Tensor, y: Tensor | None, size: int = 50) -> list[tuple[Tensor, Tensor | None]]:
    labels = [None] * len(x.split(size)) if y is None else y.split(size)
    return list(zip(x.split(size), labels, strict=True))


def probes(model: nn.Module, data: ImageSet | None) -> tuple[Tensor, Tensor | None]:
    """Images to compare models on, and their labels: of the data, or the model's own."""
    n_classes = n_classes_of(model)
    if data is not None:
        x, y = data[:PROBES].floats(), data.labels[:PROBES]
        return x, y if n_classes else None
    y = torch.arange(PROBES) % n_classes if n_classes else None
    torch.manual_seed(1)
    return model.sample(PROBES, y=y), y  # type: ignore[operator]


def half_precision(
    model: nn.Module, data: ImageSet | None
) -> tuple[dict[str, Tensor], str, Measured]:
    """The model's weights in the half precision that changes less of what it says.

    Args:
        model: as it was trained.
        data: test images, None to compare on the model's own.

    Returns:
        The weights, the name of their type, and how much changes.

    Raises:
        RunError: either changes more than is allowed, or a weight is not a number.
    """
    if not isinstance(model, PixelModel | VAE | GAN | FromNoise):
        raise RunError(
            f"{type(model).__name__} cannot be packed: pack a pixel model, a VAE, a GAN, a diffusion or a flow"
        )
    weights = model.state_dict()
    broken = [k for k, w in weights.items() if not w.isfinite().all()]
    if broken:
        raise RunError(f"{broken[0]} holds what is no number: train anew with a lower rate")
    x, y = probes(model, data)
    before = outputs(model, x, y)
    change: dict[str, Tensor] = {}
    for dtype in (torch.float16, torch.bfloat16):
        half = rounded(weights, dtype)
        if all(w.isfinite().all() for w in half.values()):  # float16 ends at 65,504
            after = outputs(with_weights(model, half), x, y)
            change[str(dtype).removeprefix("torch.")] = (after - before).abs()
    dtype, least = min(change.items(), key=lambda item: item[1].mean().item())
    nats = isinstance(model, PixelModel | VAE)
    allowed, value = NATS if nats else GREY, least.mean().item()
    if not value <= allowed:  # a NaN is refused too
        raise RunError(
            f"in {dtype}, the better one, the model says something else: "
            f"{'nats an image' if nats else 'grey values'} change by {value:.2g} on average, and "
            f"{allowed:.2g} is allowed. Train it longer at a falling rate, or in bf16-mixed"
        )
    of = "test images" if data is not None else "images of its own"
    about = (
        f"nats that the {'log-likelihood' if isinstance(model, PixelModel) else 'ELBO'} of {len(x)} "
        f"{of} changes by, on average (at most {least.max():.2g}; {NATS} is allowed)"
        if nats
        else f"that a grey value between 0 and 1 changes by, on average over {len(x)} "
        f"{'samples' if isinstance(model, GAN) else 'noisy images that it denoises'} "
        f"(at most {least.max():.2g}; {GREY:.2g} is allowed)"
    )
    half = rounded(weights, getattr(torch, dtype))
    return half, dtype, Measured(value, None, about)


# ---------------------------------------------------------------- measuring


def measured(
    model: nn.Module,
    train: ImageSet,
    test: ImageSet,
    where: str,
    codes: tuple[int, ...] = CODES,
    n: int = SAMPLES,
) -> dict[str, Measured]:
    """What a card says of a model.

    Args:
        model: with the packed weights.
        train, test: as the model knows them.
        where: the test images, in words.
        codes: an image, for the bounds of a VAE.
        n: samples to compare with as many test images.
    """
    metrics: dict[str, Measured] = {}
    if not isinstance(model, GAN | FlowMatching):
        torch.manual_seed(0)
        words = {
            "exact": ("nats", "exact negative log-likelihood, nats an image"),
            **{measure.bound_name(k): (bound_name(k), bound_words(k)) for k in codes},
            measure.in_steps(STEPS): ("elbo", f"{UPPER} (ELBO, {STEPS} steps), nats an image"),
        }
        likelihoods = measure.likelihood(model, train, scored(model, test), codes, STEPS)
        for name, nats in likelihoods.items():
            about = ("independent_pixels", "independent pixels, for comparison: nats an image")
            key, how = words.get(name, about)
            metrics[key] = Measured(nats.value, nats.error, f"{how}, {where}")
            in_bits = key == ("elbo" if isinstance(model, Diffusion) else "nats")
            if in_bits and nats.error is not None:
                bits = [float(bits_per_dim(-v, test.shape)) for v in (nats.value, nats.error)]
                how = f"the same in bits a dimension, {where}"
                metrics["bits_per_dim"] = Measured(*bits, how)
    if test.n_classes > 1:
        n = min(n, len(test))
        torch.manual_seed(0)
        metrics |= of_samples(measure.compare_samples(model, train, test, n), f"{n:,}", where)
    if test.n_classes > 1 and model.n_classes:
        judge, y = train_classifier(train), test.labels[:n]
        x = model.sample(n, y=y)  # type: ignore[operator]
        for name, images, whose in (
            ("obeyed", x, "samples in which it reads the label they were drawn with"),
            ("real_obeyed", test[:n].floats(), "test images in which it reads their own"),
        ):
            right = (judge.predict(images) == y).double()
            how = f"what that classifier sees of labels: the share of {n:,} {whose}"
            metrics[name] = Measured(*measure.mean_and_error(right), how)
        metrics["real_frechet_same_labels"] = same_labels(judge, train, test[:n])
    return metrics


def same_labels(judge: FeatureClassifier, train: ImageSet, test: ImageSet) -> Measured:
    """How far training images are that have the labels of the test images, as the samples have.

    Images whose labels are in other proportions are farther, and would flatter the samples.
    """
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    rows = torch.empty_like(test.labels)
    for label in test.labels.unique():
        here = test.labels == label
        rows[here] = order[train.labels[order] == label][: int(here.sum())]
    real, same = (judge.features(images.floats()) for images in (test, train[rows]))
    how = "Fréchet distance, of as many training images with the labels of the test images, as the samples have"
    return Measured(frechet_distance(real, same), None, how)


def of_samples(found: dict[str, dict[str, float]], n: str, where: str) -> dict[str, Measured]:
    """What `compare_samples` has found, as a card has it: of samples, and `real_` of training images."""
    entries = {
        "Fréchet distance": (
            "frechet", "Fréchet distance to as many test images, in features of a small classifier"
        ),
        "precision": ("precision", "share of them that lie among as many test images"),
        "recall": ("recall", "share of as many test images that lie among them"),
    }  # fmt: skip
    metrics = {}
    for kind, prefix in (("samples", ""), ("training images", "real_")):
        for name, values in found.items():
            if name in entries:
                key, how = entries[name]
                metrics[prefix + key] = Measured(values[kind], None, f"{how}, of {n} {kind}")
    return metrics


def images_at_hand(config: Config) -> tuple[ImageSet, ImageSet] | None:
    """The run's data as its model knows them, training and test; None where they are not."""
    try:
        train, test = load(config.data, "train", size=config.size), load(config.data, "test")
    except FileNotFoundError:
        return None
    return measure.as_trained(train, config, "train"), measure.as_trained(test, config, "test")


def from_results(found: dict) -> dict[str, Measured]:
    """What benchmarks/results.py has measured before the weights were rounded, for what is not measured here.

    Args:
        found: the content of its file.

    Example:
        >>> nats = {"nats": 80.5, "standard_error": 0.2, "bits_per_dim": 0.148, "bits_error": 0.001}
        >>> metrics = from_results({"images": 10_000, "figures": {"exact": nats}})
        >>> print(metrics["nats"], metrics["bits_per_dim"].value)
        80.50 ± 0.20 0.148
    """
    metrics: dict[str, Measured] = {}
    where = f"on {found.get('images', 0):,} {found.get('split', 'test')} images"
    for kind, values in found.get("figures", {}).items():
        if kind == "exact":
            how = f"exact negative log-likelihood, nats an image, {where}; {BEFORE}"
            metrics["nats"] = Measured(values["nats"], values["standard_error"], how)
            how = f"the same in bits a dimension; {BEFORE}"
            metrics["bits_per_dim"] = Measured(values["bits_per_dim"], values["bits_error"], how)
        if codes := re.fullmatch(r"at most, k = (\d+)", kind):
            how = f"{bound_words(int(codes[1]))}, {where}; {BEFORE}"
            name = bound_name(int(codes[1]))
            metrics[name] = Measured(values["nats"], values["standard_error"], how)
    samples = {kind: v for kind, v in found.get("figures", {}).items() if "samples" in v}
    return metrics | {
        name: Measured(figure.value, None, f"{figure.how}; {BEFORE}")
        for name, figure in of_samples(samples, "as many", where).items()
    }


def bound_name(k: int) -> str:
    """What a card calls the bound from k codes an image."""
    return "elbo" if k == 1 else f"bound_{k}"


def bound_words(k: int) -> str:
    how = "ELBO, 1 code an image" if k == 1 else f"importance bound, {k} codes an image"
    return f"{UPPER} ({how}), nats an image"


# ---------------------------------------------------------------- packing


def command_of(config: Config, name: str) -> str:
    """The command that trains such a run: what differs from the defaults.

    Example:
        >>> config = Config("vae", "digits", {"latent_dim": 8}, epochs=3, batch_size=128)
        >>> command_of(config, "vae-digits")
        'python -m genlib train vae --data digits --out runs/vae-digits --epochs 3 --set latent_dim=8'
    """
    how = recipe(config.model)
    words = [f"python -m genlib train {config.model} --data {config.data} --out runs/{name}"]
    usual = {**vars(Config(config.model, config.data)), "batch_size": how.batch_size}
    usual |= {"learning_rate": how.learning_rate, "binary": how.binary}
    for key, value in vars(config).items():
        if key in ("model", "data", "options", "accelerator") or value == usual[key]:
            continue
        flag = "--" + key.replace("_", "-")
        text = f"{value:g}" if isinstance(value, float) else value
        words.append(flag if value is True else f"{flag} {text}")
    words += [f"--set {k}={v}" for k, v in config.options.items() if v != how.options.get(k)]
    return " ".join(words)


def pack(
    run: Path,
    name: str,
    folder: Path | None = None,
    *,
    figures: dict | None = None,
    machine: str | None = None,
    codes: tuple[int, ...] = CODES,
    n: int = SAMPLES,
) -> Card:
    """Put the model of a run among the pretrained ones, with its card.

    Args:
        run: folder of the run.
        name: MODEL-DATA.
        folder: of the pretrained models; None for the one that comes with the course.
        figures: what benchmarks/results.py has written of this run.
        machine: it was trained on, if they do not say.
        codes: an image, for the bounds of a VAE.
        n: samples to compare with real images.

    Raises:
        RunError: the run is damaged, or its model cannot be packed: too large, changed by rounding,
            of a kind that is not packed, or nothing is known of where it was trained.
        pretrained.PretrainedError: a file of another model is damaged.
    """
    folder, figures = folder or pretrained.FOLDER, figures or {}
    if not NAME.fullmatch(name):
        raise RunError(
            f"a name of a pretrained model is MODEL-DATA, as in gated_pixelcnn-mnist, not {name!r}"
        )
    config, images = read_run(RunFolder(run))
    model, metadata = load_model(RunFolder(run))
    machine = machine or figures.get("machine")
    if not machine:
        raise RunError("say what it was trained on: --machine 'one core of ...'")
    data = images_at_hand(config)
    weights, dtype, change = half_precision(model, data[1] if data else None)
    # one note only: the format promises no order of several, and the same run gives the same bytes
    file = safetensors.torch.save(weights, {"format": pretrained.FORMAT})
    check_size(name, len(file), others_in(folder, name))
    half = with_weights(model, weights)
    metrics = from_results(figures)
    if data:
        where = describe(config, data[1], len(scored(model, data[1])))
        metrics |= measured(half, *data, where, codes, n)
    if not metrics:
        raise RunError(
            f"nothing is known of how good it is: let GENLIB_DATA name the folder of {config.data}, "
            "or give --metrics"
        )
    about = Card(
        name=name,
        what=recipe(config.model).what.partition(";")[0],
        model=config.model,
        options=config.options,
        images=images,
        data=config.data,
        binary=config.binary,
        parameters=sum(p.numel() for p in model.parameters()),
        dtype=dtype,
        size=len(file),
        sha256=hashlib.sha256(file).hexdigest(),
        command=figures.get("command") or command_of(config, name),
        machine=machine,
        minutes=metadata["seconds"] / 60,
        seed=config.seed,
        updates=metadata["step"],
        rounding=change,
        metrics=metrics,
        licence=LICENCE,
    )
    # read again: measuring takes minutes, and somebody may have packed another model meanwhile
    others = others_in(folder, name)
    check_size(name, len(file), others)
    cards = dict(sorted({**others, name: about}.items()))
    catalogue = {
        "format": pretrained.FORMAT,
        "models": {k: as_metadata(v) for k, v in cards.items()},
    }
    written = {
        folder / "models.json": json.dumps(catalogue, indent=2, ensure_ascii=False).encode()
        + b"\n",
        folder / f"{name}.md": card_text(about).encode(),
        pretrained.weights_file(name, folder): file,
    }
    with ExitStack() as stack:  # all of them are whole before the first takes its place
        for path, content in written.items():
            stack.enter_context(whole_file(path)).write_bytes(content)
    return about


def others_in(folder: Path, name: str) -> dict[str, Card]:
    """The cards of all models but this."""
    return {
        other: pretrained.card(other, folder) for other in pretrained.names(folder) if other != name
    }


def as_metadata(about: Card) -> dict[str, object]:
    """A card as JSON can hold it, see `pretrained.from_metadata`; its name is the key it stands under."""
    metadata = {**asdict(about), "images": about.images.as_json()}
    del metadata["name"]
    return metadata


def check_size(name: str, size: int, others: dict[str, Card]) -> None:
    """Refuse what would make the course slow to fetch.

    Raises:
        RunError: the file, or all files with it, are too large.
    """
    if size > LARGEST:
        raise RunError(
            f"{name} takes {_mb(size)}, and a pretrained model at most {_mb(LARGEST)}: train a "
            "smaller one (--set hidden_dim, depth)"
        )
    together = size + sum(other.size for other in others.values())
    if together > LARGEST_TOGETHER:
        raise RunError(
            f"with {name} all models take {_mb(together)}, and at most {_mb(LARGEST_TOGETHER)}: "
            f"take one out of genlib/pretrained/ and its models.json ({', '.join(others)})"
        )


def _mb(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


# ---------------------------------------------------------------- the card


def scored(model: nn.Module, test: ImageSet) -> ImageSet:
    """The test images whose likelihood is measured: all, but of a diffusion's at most the first 500."""
    return test[:IMAGES] if isinstance(model, Diffusion) else test


def describe(config: Config, test: ImageSet, n: int) -> str:
    """The first n test images, in words."""
    which = f"all {n:,}" if n == len(test) else f"the first {n:,} of {len(test):,}"
    binary = " binarised once from seed 0" if config.binary else ""
    return f"on {which} test images of {config.data}{binary}"


DATA = {
    "mnist": """MNIST: 60,000 grey images of handwritten digits to train on and 10,000 to test on, 28 x 28 pixels
(LeCun, Bottou, Bengio and Haffner, 1998, *Gradient-based learning applied to document recognition*).
No image of it is in the file, which holds the network's weights only.""",
    "strokes": """`strokes`: digits drawn by the course's own simulator of handwriting (`genlib.data.strokes`).""",
    "digits": """`digits`: the 8 x 8 handwritten digits that scikit-learn ships with.""",
}
BINARISED = """Pixels are black or white: each is drawn white with its grey value as the probability, anew in each batch
of the training, and once and for all, from seed 0, in the test images (Salakhutdinov and Murray, 2008).
Likelihoods on other binarisations are near but not the same task."""
LIMITS = """It is an example to teach with. It was trained on {images} and on nothing else: other pictures, other
handwriting, another size or scale of grey values are out-of-distribution. Do not use it to read
or to check handwriting, nor its samples in place of data. {own}"""
OWN_LIMITS = {
    PixelModel: """Its likelihood compares with others on the same images and the same binarisation only;
a low one does not make an image an outlier (lesson Taxonomy). A sample takes a step a pixel, and completing an
image heeds only what comes before in raster order (lesson PixelCNN).""",
    VAE: """What it gives of the likelihood is a bound. Its draws take each pixel on its own, and its means
blur (lesson VAE); its codes have no meaning of their own.""",
    GAN: """It has no likelihood and no encoder. What it leaves out of the data cannot be seen in its
samples, and its scores are those of one small judge (lesson GAN architectures).""",
    Diffusion: """What it gives of the likelihood is a bound, of one draw an image. A sample takes a pass a step,
a hundred unless told otherwise; with guidance above 1 it obeys its label more and varies less, and does not draw
from p(x) p(y | x)^w (lesson Diffusion).""",
    FlowMatching: """Its likelihood is of points only: of images this large it would take too long. A sample takes a
hundred passes unless told otherwise (50 steps of Heun's method); with guidance above 1 it obeys its label more and
varies less, and does not draw from p(x) p(y | x)^w (lesson Flow matching).""",
}
LICENCES = """The weights and the code that made them are under the MIT licence of this course (LICENSE).{terms}"""
TERMS = {"mnist": " MNIST's own terms apply to its images, none of which is here."}


def limits_of(about: Card) -> str:
    """What a model should not be used for."""
    from genlib.train import build_model

    model = build_model(about.model, about.images, about.options)
    own = next(words for kind, words in OWN_LIMITS.items() if isinstance(model, kind))
    images = f"the images of {about.data}" + (", binarised," if about.binary else "")
    return LIMITS.format(images=images, own=own)


def card_text(about: Card) -> str:
    """The card of a model, as Markdown."""
    channels, height, width = about.images.shape
    labels = f"conditional on {about.images.n_classes} labels" if about.images.n_classes else ""
    table = "\n".join(
        f"| `{name}` | {figure} | {figure.how} |" for name, figure in about.metrics.items()
    )
    options = ", ".join(f"{k}={v}" for k, v in about.options.items())
    draw = "model.sample(16)" if not labels else "model.sample(10, y=torch.arange(10))"
    needed = "import torch\n\n" * bool(labels) + "from genlib import pretrained"
    paragraphs = [
        f"# {about.name}",
        f"{about.what}. {about.parameters:,} parameters, for images of {channels} x {height} x {width} "
        f"values with {about.images.levels} levels{', ' + labels if labels else ''}. "
        f"Options: {options}.",
        f"The weights are stored as {about.dtype} ({_mb(about.size)}) and computed with as float32. "
        f"Rounding them: {about.rounding.value:.2g} {about.rounding.how}. SHA-256 `{about.sha256}`.",
        "## How to load it",
        f'```python\n{needed}\n\nmodel = pretrained.load("{about.name}")\nx = {draw}\n```',
        f'Nothing is downloaded. `pretrained.card("{about.name}")` gives the metadata on this page.',
        "## Data",
        DATA.get(about.data, f"`genlib.data.load({about.data!r})`."),
        *([BINARISED] if about.binary else []),
        "## Training",
        f"    {about.command}",
        f"{about.training}, seed {about.seed}.",
        "## How good it is",
        "Figures are of the model as it lies here, rounded, unless noted otherwise. ± is the standard "
        "error over the images.",
        f"| figure | value | how |\n| --- | --- | --- |\n{table}",
        "## What it is not for",
        limits_of(about),
        "## Licence",
        LICENCES.format(terms=TERMS.get(about.data, "")),
    ]
    return "\n\n".join(map(_wrapped, paragraphs)) + "\n"


def _wrapped(paragraph: str) -> str:
    """Prose in lines of one length; code and tables as they are."""
    prose = not paragraph.startswith(("    ", "```", "|"))
    return textwrap.fill(paragraph, 110, break_long_words=False) if prose else paragraph


# ---------------------------------------------------------------- the table


def table(cards: list[Card]) -> str:
    """The pretrained models as a table: what docs/pretrained.md shows."""
    rows = []
    for about in cards:
        labels = ", conditional" if about.images.n_classes else ""
        rows.append([
            f"[`{about.name}`](../genlib/pretrained/{about.name}.md)", f"{about.what}{labels}", about.training,
            _mb(about.size), headline(about),
        ])  # fmt: skip
    return markdown.table(["`pretrained.load(...)`", "what", "trained", "file", "how good"], rows)


def headline(about: Card) -> str:
    """The figure that says most of a model, in a few words."""
    bounds = [name for name in about.metrics if name.startswith(("elbo", "bound_"))]
    if "nats" in about.metrics:
        return f"{about.metrics['nats']} nats an image"
    if "bits_per_dim" in about.metrics:
        return f"at most {about.metrics['bits_per_dim']} bits a dimension"
    if bounds:
        return f"at most {about.metrics[bounds[-1]]} nats an image"
    return (
        f"Fréchet distance {about.metrics['frechet']}, real images {about.metrics['real_frechet']}"
    )


def write_pages(folder: Path) -> None:
    """All cards anew from the catalogue; if it is the course's own, the table of docs/pretrained.md too."""
    cards = [pretrained.card(name, folder) for name in pretrained.names(folder)]
    pages = {folder / f"{about.name}.md": card_text(about) for about in cards}
    page = ROOT / "docs" / "pretrained.md"
    if folder == pretrained.FOLDER:
        text = page.read_text(encoding="utf-8")
        pages[page] = markdown.between_marks(text, "pretrained", table(cards))
    for path, text in pages.items():
        with whole_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=Path, nargs="?", help="folder of a run")
    parser.add_argument("name", nargs="?", help="MODEL-DATA")
    parser.add_argument(
        "--metrics", type=Path, metavar="FILE.json", help="of benchmarks/results.py"
    )
    parser.add_argument("--machine", help="it was trained on, in words")
    parser.add_argument(
        "--folder",
        type=Path,
        default=pretrained.FOLDER,
        help="another folder than genlib/pretrained",
    )
    parser.add_argument("--samples", type=int, default=SAMPLES, help=f"to judge ({SAMPLES})")
    parser.add_argument(
        "--codes", type=int, nargs="+", default=CODES, help="an image, for a VAE's bounds"
    )
    parser.add_argument(
        "--pages",
        action="store_true",
        help="only write cards and docs/pretrained.md anew, from models.json",
    )
    options = parser.parse_args(arguments)
    if not options.pages and not options.name:
        parser.error("say what to pack: RUN and NAME")
    try:
        if options.pages:
            write_pages(options.folder)
            return 0
        beside = options.run / "RESULT.json"
        path = options.metrics or (beside if beside.exists() else None)
        figures = json.loads(path.read_text()) if path else {}
        about = pack(
            options.run,
            options.name,
            options.folder,
            figures=figures,
            machine=options.machine,
            codes=tuple(options.codes),
            n=options.samples,
        )
        write_pages(options.folder)
    except (RunError, pretrained.PretrainedError, OSError, ValueError) as error:
        print(f"pack: {error}", file=sys.stderr)
        return 1
    print(f"{about.name}: {_mb(about.size)} in {about.dtype}, {headline(about)}")
    print(f"rounding: {about.rounding.value:.2g} {about.rounding.how}")
    late = [name for name, figure in about.metrics.items() if BEFORE in figure.how]
    if late:
        print(f"{BEFORE}, for want of {about.data} or of time: {', '.join(late)}")
    print(
        f"Commit {os.path.relpath(options.folder)} and docs/pretrained.md, and build the lessons that use it."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
