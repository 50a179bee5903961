"""Measure speed on one core: ratios, how cost grows (benchmarks.scale), or the seconds of every notebook.

    python -m benchmarks.bench [--parts ratios growth throughput flags lessons] [--out FILE.json]

All parts but lessons are measured by default. Figures move with the machine, ratios much less.
"""

import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from benchmarks import scale
from benchmarks.scale import Job, Row, seconds
from course.publish.build import ROOT, Lesson, execute, find_lessons, read_source
from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, RowLSTM
from genlib.data import ImageSet, bernoulli_pixels, binarise
from genlib.train import Images, build_model
from genlib.training import train_epoch

PIXEL_MODELS = ((PixelCNN, 64), (GatedPixelCNN, 32), (RowLSTM, 64), (DiagonalBiLSTM, 64))


def ratio(
    what: str,
    slow: tuple[str, Callable[[], object]],
    fast: tuple[str, Callable[[], object]],
    times: int = 1,
) -> Row:
    """How many times faster the second way is; the slow one takes `times` runs of what is given."""
    slow_s, fast_s = times * seconds(slow[1], "cpu", 0.5), seconds(fast[1], "cpu", 0.5)
    return {
        "kind": "ratio",
        "what": what,
        slow[0]: slow_s,
        fast[0]: fast_s,
        "ratio": slow_s / fast_s,
    }


def drawing(family: Callable, channels: int) -> Iterator[Row]:
    """Sixteen images of MNIST's size: a whole pass for every pixel, or a network that remembers."""
    model, x = family((1, 28, 28), hidden_dim=channels, depth=7), torch.zeros(16, 1, 28, 28)

    def whole_pass() -> None:
        with torch.no_grad():
            model(x)

    name = f"{family.__name__} 7x{channels}: draw 16 images"
    cached = partial(model.sample, 16)
    yield ratio(name, ("a pass a pixel", whole_pass), ("cached", cached), times=28 * 28)


def reading(n_images: int) -> Iterator[Row]:
    """An epoch of a VAE on images from memory, or through torchvision's MNIST and a DataLoader."""
    images = torch.randint(256, (n_images, 1, 28, 28), dtype=torch.uint8)  # any will do
    data = ImageSet(images, torch.zeros(n_images, dtype=torch.long), levels=256, n_classes=1)
    mnist = MNIST.__new__(MNIST)  # its way to an image, without its files
    mnist.data, mnist.targets = images[:, 0], data.labels
    mnist.transform, mnist.target_transform = lambda x: ToTensor()(x).round(), None
    loader, binary = (
        DataLoader(mnist, batch_size=128, shuffle=True),
        binarise(data, how="stochastic"),
    )
    vae = build_model("vae", Images((1, 28, 28), levels=2), {})
    adam = torch.optim.Adam(vae.parameters())
    yield ratio(
        f"VAE: an epoch of {n_images} images",
        ("DataLoader", lambda: train_epoch(vae, loader, adam)),
        ("from memory", lambda: train_epoch(vae, binary.batches(128), adam)),
    )


def bernoulli() -> Iterator[Row]:
    """Bernoulli draws, by torch and by `genlib.data`."""
    p, generator = torch.rand(128, 1, 28, 28), torch.Generator().manual_seed(0)
    yield ratio(
        "draw each pixel of 128 images, Bernoulli",
        ("torch.bernoulli", lambda: torch.bernoulli(p)),
        ("ours", lambda: bernoulli_pixels(p, generator=generator)),
    )


def ratio_jobs(device: str, models: Sequence[str]) -> list[Job]:
    return [*((drawing, *model) for model in PIXEL_MODELS), (reading, 12_800), (bernoulli,)]


def lesson(lesson: Lesson) -> Iterator[Row]:
    """A notebook as the tests run it: processor seconds of its kernel, which imports everything anew."""

    def clock() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    whole = lesson.student is None or lesson.release  # a lecture or a problem set
    notebook, start = read_source(ROOT, lesson), clock()
    execute(notebook, ROOT, lesson)
    taken, budget = clock() - start, 60 if whole else 30
    row = {"kind": "lesson", "what": str(lesson.executed), "seconds": taken, "budget": budget}
    yield row | ({"too long by": taken - budget} if taken > budget else {})


def lesson_jobs(device: str, models: Sequence[str]) -> list[Job]:
    return [(lesson, found) for found in find_lessons(ROOT)]


PARTS = {"ratios": ratio_jobs, **scale.PARTS, "lessons": lesson_jobs}

if __name__ == "__main__":
    sys.exit(scale.main(parts=PARTS))
