"""Measure what the course says about speed: ratios, most claims in one run on one thread, then how cost grows.

    python -m benchmarks.bench [--parts ratios growth throughput flags lessons] [--out FILE.json]

Ratios and the seconds of lessons are made here; `benchmarks.scale` has the rest. All of them are process
time. The ways that a row of ratios compares take turns, and each counts with the fastest of its runs:
whatever else the machine does can only make a run slower. The figures move with the machine; the
ratios are what to look at.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import chain

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from benchmarks import scale
from benchmarks.scale import Job, Row, fastest
from course.publish.build import ROOT, Lesson, execute, find_lessons, read_source
from genlib.adversarial import GAN, DCGANDiscriminator, DCGANGenerator
from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, PixelModel, RowLSTM
from genlib.autoregressive.diagonal_bilstm import DiagonalBiLSTMLayer
from genlib.data import ImageSet, binarise, load
from genlib.metrics import bits_per_dim, log_probs
from genlib.training import (
    bf16_is_fast,
    fast_numbers,
    fit,
    gan_optimizers,
    train_epoch,
    train_gan_epoch,
)
from genlib.variational import VAE
from genlib.variational.networks import MLP

sys.path.insert(0, str(ROOT / "tests"))
from test_pixelrnn import diagonal_bilstm_pixel_by_pixel  # tests hold it equal to the layer

CPU = torch.device("cpu")
CONVOLUTIONAL: dict[str, Callable[[int], PixelModel]] = {
    "PixelCNN 7x64": lambda side: PixelCNN((1, side, side), channels=64, depth=7),
    "GatedPixelCNN 7x32": lambda side: GatedPixelCNN((1, side, side), channels=32, depth=7),
}
NETWORKS = CONVOLUTIONAL | {
    "RowLSTM 7x64": lambda side: RowLSTM((1, side, side), channels=64, depth=7),
    "DiagonalBiLSTM 7x64": lambda side: DiagonalBiLSTM((1, side, side), channels=64, depth=7),
}
BATCH = 16


def ratio(what: str, slow: str, fast: str, seconds: list[float], times: int = 1) -> Row:
    """One row of the table: the slow way takes `times` runs of what was measured."""
    slow_s, fast_s = times * seconds[0], seconds[1]
    return {"kind": "ratio", "what": what, "slow": slow, "fast": fast, "slow_s": slow_s,
            "fast_s": fast_s, "ratio": slow_s / fast_s}  # fmt: skip


def sampling(name: str) -> Row:
    model, x = NETWORKS[name](28), torch.zeros(BATCH, 1, 28, 28)

    def whole_pass() -> None:
        with torch.no_grad():
            model(x)

    seconds = fastest(whole_pass, lambda: model.sample(BATCH), repeats=7)
    return ratio(
        f"{name}: draw 16 images", "a whole pass a pixel", "cached", seconds, times=28 * 28
    )


def training_step(model: nn.Module, x: torch.Tensor, fast: bool) -> Callable[[], None]:
    if fast:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # one channel could be either order; what the first layer makes of it follows its strides
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        with fast_numbers(CPU) if fast else nullcontext():
            loss = model.loss(x)  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def training(name: str) -> Row:
    x = torch.bernoulli(torch.full((BATCH, 1, 28, 28), 0.2))
    plain, fast = (training_step(NETWORKS[name](28), x, fast) for fast in (False, True))
    seconds = fastest(plain, fast, repeats=7)
    how = "bf16, channels last" if bf16_is_fast(CPU) else "channels last (no bf16 units here)"
    return ratio(f"{name}: training step", "float32, contiguous", how, seconds)


def diagonals(hidden: int) -> Row:
    group = torch.zeros(2 * hidden, dtype=torch.long)
    layer = DiagonalBiLSTMLayer(group, group[:hidden], (1, 28, 28), n_classes=0)
    x = torch.randn(BATCH, 2 * hidden, 28, 28, requires_grad=True)
    image = torch.randn(BATCH, 1, 28, 28)
    seconds = fastest(
        lambda: diagonal_bilstm_pixel_by_pixel(layer, x, image, None).square().mean().backward(),
        lambda: layer(x, image, None).square().mean().backward(),
        repeats=5,
    )
    return ratio(f"DiagonalBiLSTM layer, hidden {hidden}: training step", "a pixel at a time",
                 "by diagonals", seconds)  # fmt: skip


class TutorialVAE(nn.Module):
    """The VAE of most tutorials: a sigmoid at the end, and the cross-entropy of what comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU())
        self.mean, self.log_var = nn.Linear(400, 20), nn.Linear(400, 20)
        self.decoder = nn.Sequential(
            nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid()
        )

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        h = self.encoder(x)
        mean, log_var = self.mean(h), self.log_var(h)
        std = torch.exp(0.5 * log_var)
        p = self.decoder(mean + std * torch.randn_like(std))
        missing = F.binary_cross_entropy(p, x.flatten(1), reduction="sum")
        return missing - 0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())


def vae_epoch(n_images: int) -> Row:
    """An epoch from memory, against the same sizes fed by torchvision's MNIST through a DataLoader.

    Tutorials train on grey pixels. Ours are made black and white once, before the epoch.
    """
    images = torch.randint(256, (n_images, 1, 28, 28), dtype=torch.uint8)  # any will do
    data = ImageSet(images, torch.zeros(n_images, dtype=torch.long), levels=256, n_classes=1)
    mnist = MNIST.__new__(MNIST)  # its way to an image, without its files
    mnist.data, mnist.targets = images[:, 0], data.labels
    mnist.transform, mnist.target_transform = ToTensor(), None
    loader = DataLoader(mnist, batch_size=128, shuffle=True)
    encoder = MLP((784, 400, 2 * 20), activation=nn.ReLU)
    decoder = MLP((20, 400, 784), activation=nn.ReLU)
    tutorial, ours = TutorialVAE(), VAE((1, 28, 28), 20, encoder=encoder, decoder=decoder)
    slow, quick = (
        torch.optim.Adam(tutorial.parameters()),
        torch.optim.Adam(ours.parameters(), fused=True),
    )

    binary = binarise(data, "stochastic")

    def from_memory() -> None:
        with fast_numbers(CPU):
            train_epoch(ours, binary.batches(128), quick)

    seconds = fastest(lambda: train_epoch(tutorial, loader, slow), from_memory, repeats=3)
    return ratio(f"VAE 784-400-20: an epoch of {n_images} images", "DataLoader, as in tutorials",
                 "from memory", seconds)  # fmt: skip


def public_gan_step(model: GAN, x: torch.Tensor) -> Callable[[], None]:
    """One turn as most public programs take it: three passes, each a cross-entropy with its labels."""
    for_d = torch.optim.Adam(model.discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    for_g = torch.optim.Adam(model.generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    real, fake_label = torch.ones(len(x)), torch.zeros(len(x))

    def step() -> None:
        for_d.zero_grad()
        F.binary_cross_entropy_with_logits(model.discriminator(x), real).backward()
        fake = model.generator(model.noise(len(x)))
        F.binary_cross_entropy_with_logits(
            model.discriminator(fake.detach()), fake_label
        ).backward()
        for_d.step()
        for_g.zero_grad()
        F.binary_cross_entropy_with_logits(model.discriminator(fake), real).backward()
        for_g.step()

    return step


def gan_step(channels: int) -> Row:
    """A turn of both players on colour images of 32x32, as `fit_gan` takes it and as most do."""

    def dcgan() -> GAN:
        shape, latent_dim = (3, 32, 32), 100
        generator = DCGANGenerator(shape, latent_dim, channels)
        return GAN(generator, DCGANDiscriminator(shape, channels), latent_dim)

    x = torch.rand(64, 3, 32, 32)
    ours = dcgan().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizers = gan_optimizers(ours, 2e-4)
    seconds = fastest(
        public_gan_step(dcgan(), x),
        lambda: train_gan_epoch(ours, [(x, None)], *optimizers, fast=True),
        repeats=5,
    )
    how = "bf16, channels last" if bf16_is_fast(CPU) else "channels last (no bf16 units here)"
    return ratio(f"DCGAN {channels} channels, 32x32: a turn", "float32, three passes", how, seconds)


# a model that fits digits in some ten seconds, with its channels, depth, epochs, batch and rate
ON_DIGITS: dict[str, tuple[type[PixelModel], int, int, int, int, float]] = {
    "PixelCNN": (PixelCNN, 64, 2, 13, 32, 2e-2),
    "DiagonalBiLSTM": (DiagonalBiLSTM, 48, 1, 10, 64, 2e-2),
}


def learning(name: str) -> Row:
    """Bits per dimension of held-out digits, and the seconds it took to get there."""
    train, test = load("digits"), load("digits", "test")
    family, channels, depth, epochs, batch_size, rate = ON_DIGITS[name]
    torch.manual_seed(0)
    model = family(train.shape, train.levels, channels, depth)
    start = time.process_time()
    fit(model, train, epochs=epochs, batch_size=batch_size, learning_rate=rate)
    seconds = time.process_time() - start
    bits = bits_per_dim(log_probs(model, test).mean().item(), test.shape)
    return {
        "kind": "ratio",
        "what": f"{name}: digits, held out",
        "bits_per_dim": float(bits),
        "seconds": seconds,
    }


def budget(lesson: Lesson) -> float:
    """Seconds that a notebook may take of one core with AVX-512."""
    if lesson.student is None or lesson.release:
        return 60.0  # a lecture, or a whole problem set
    return 30.0


def seconds_of(lesson: Lesson) -> Row:
    """A notebook as the tests run it: processor seconds of its kernel, which imports everything anew."""

    def clock() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    notebook = read_source(ROOT, lesson)
    start = clock()
    execute(notebook, ROOT, lesson)
    row = {"kind": "lesson", "what": str(lesson.executed), "seconds": clock() - start}
    return row | {"budget": budget(lesson)}


def lesson_jobs() -> Iterator[Job]:
    for lesson in find_lessons(ROOT):
        yield lesson.name, lambda lesson=lesson: iter([seconds_of(lesson)])


def ratio_jobs() -> Iterator[Job]:
    """What is measured here: a name for each, and what yields its row."""
    for measure, cases in (
        (sampling, NETWORKS),
        (training, CONVOLUTIONAL),
        (diagonals, (16, 32)),
        (vae_epoch, (12_800,)),
        (gan_step, (128,)),  # the paper's widths, without its largest map
        (learning, ON_DIGITS),
    ):
        for case in cases:
            yield f"{measure.__name__} of {case}", partial(one_row, measure, case)


def one_row(measure: Callable, case: str | int) -> Iterator[Row]:
    torch.manual_seed(0)  # the same networks, whatever was measured before
    yield measure(case)


def describe(row: Row) -> str:
    if row["kind"] == "lesson":
        over = "  too long" if row["seconds"] > row["budget"] else ""
        return f"{row['what']:<56} {row['seconds']:6.1f} s of {row['budget']:.0f}{over}"
    if row["kind"] != "ratio":
        return scale.describe(row)
    if "bits_per_dim" in row:
        return f"{row['what']:<56} {row['bits_per_dim']:6.3f} bits/dim after {row['seconds']:.1f} s"
    return (
        f"{row['what']:<56} {row['ratio']:6.1f} times  "
        f"({row['slow']} {row['slow_s']:.3f} s, {row['fast']} {row['fast_s']:.3f} s)"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parts = ("ratios", *scale.PARTS)
    scale.arguments_of(parser, (*parts, "lessons"))  # which takes minutes: only when it is named
    options = parser.parse_args(arguments)
    chosen = scale.chosen_parts(options, parts)
    jobs = scale.all_jobs(chosen, options.models, torch.device(options.device))
    ratios = ratio_jobs() if "ratios" in chosen and options.device == "cpu" else iter(())
    lessons = lesson_jobs() if "lessons" in chosen else iter(())
    return scale.run(chain(ratios, jobs, lessons), options, scale.Table(describe))


if __name__ == "__main__":
    sys.exit(main())
