"""Train the course's models on real data, measure them, and put the table into docs/results.md.

    GENLIB_DATA=../shared/data python -m benchmarks.results                        # all rows, an hour each
    GENLIB_DATA=../shared/data python -m benchmarks.results vae gan --minutes 10   # some, more quickly
    python -m benchmarks.results --table                                           # the table alone

A row is trained by `python -m genlib train`, with the very words that the table shows, into a folder
of build/results/. Interrupted, the same command goes on. It is measured on test images, and what was
found is written to docs/results/trained/, from which the table is made.

Black-and-white digits are drawn from the grey ones: a pixel is white with probability intensity / 255
(Salakhutdinov & Murray, 2008). Those to be scored are drawn once, from a fixed seed; training draws
anew for every batch. `--validate` trains without the last 5,000 training images and scores these:
a recipe is chosen there and not on the test images (the VAE's was not: see at ROWS).
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import report
from course.publish import markdown
from genlib.adversarial import GAN
from genlib.autoregressive import PixelModel
from genlib.data import ImageSet, binarise, independent_pixels, load
from genlib.data.folders import whole_file
from genlib.metrics import bits_per_dim
from genlib.plots import drawn_so_far, show_rows
from genlib.train import Config, RunFolder, cli, load_model, read_run
from genlib.train.measure import (
    Measurement,
    as_trained,
    bound_name,
    compare_samples,
    likelihood,
    mean_and_error,
)

ROOT = Path(__file__).resolve().parent.parent
RUNS, FOUND, PAGE = (
    ROOT / "build" / "results",
    ROOT / "docs" / "results" / "trained",
    "docs/results.md",
)
N_VALIDATION, VALIDATION_SEED = 5_000, 1
CODES = (1, 50, 5000)  # an image, for a VAE's bound
N_SAMPLES = 10_000  # to compare with as many test images

PIXELRNN = "van den Oord et al., 2016, arXiv:1601.06759"


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        title: the model, as the table calls it.
        words: the arguments of `python -m genlib train`, but for the budget, the seed and the folder.
        paper: the published figure it stands beside, and where that is from.
    """

    title: str
    words: str
    paper: str


# Recipes of the CNNs were chosen with --validate, which is about 0.6 nats harder than the test images:
# the GatedPixelCNN of hidden_dim=32, depth=7 after 3 minutes of one core of a Zen 4, seed 0: Muon's rate
# 0.006 gave 84.9 nats, 0.01 84.0 (seed 1: 84.2), 0.015 84.2, and AdamW for all weights 86.4. That the
# recurrent models learn by AdamW comes from runs of half a minute, scored on training images held out
# by hand. The VAE's recipe was chosen on the test images, after a minute: the ELBO stood at 105.7 nats;
# with a KL weight that climbs 99.0; with the output's bias at the mean image 102.0.
MNIST = "--data mnist --binary"
COLOUR = "--data cifar10_subset --set hidden_dim=96 --set depth=6"
ROWS = {
    "pixelcnn": Row(
        "PixelCNN",
        f"pixelcnn {MNIST} --set hidden_dim=128 --set depth=10 --batch-size 128",
        f"81.30 ({PIXELRNN}, table 4)",
    ),
    "gated_pixelcnn": Row(
        "GatedPixelCNN",
        f"gated_pixelcnn {MNIST} --set hidden_dim=64 --set depth=12 --batch-size 128",
        "none for black-and-white digits",
    ),
    "row_lstm": Row(
        "RowLSTM",
        f"row_lstm {MNIST} --set hidden_dim=128 --set depth=4 --batch-size 128",
        f"80.54 ({PIXELRNN}, table 4)",
    ),
    "diagonal_bilstm": Row(
        "DiagonalBiLSTM",
        f"diagonal_bilstm {MNIST} --set hidden_dim=128 --set depth=4 --batch-size 128",
        f"79.20, 7 layers ({PIXELRNN}, table 4)",
    ),
    "vae": Row(
        "VAE",
        f"vae {MNIST} --set hidden_dim=200 --set depth=2 --set latent_dim=50",
        "86.76 with k = 5000 (Burda et al., 2016, arXiv:1509.00519, table 1)",
    ),
    "gan": Row(
        "LSGAN, conditional",
        "lsgan --data mnist --conditional --set hidden_dim=64 --batch-size 128 --learning-rate 5e-4",
        "none that compares: this distance depends on the classifier",
    ),
    "colour": Row(
        "PixelCNN, colours in order",
        f"pixelcnn {COLOUR}",
        f"3.14 ({PIXELRNN}, table 5), 20 times as many images",
    ),
    "colour_independent": Row(
        "PixelCNN, colours independent",
        f"pixelcnn {COLOUR} --set colours=independent",
        "none",
    ),
    "colour_small": Row(  # for minutes of one core: lesson PixelCNN shows its picture
        "GatedPixelCNN, small",
        "gated_pixelcnn --data cifar10_subset --set hidden_dim=30 --set depth=3 --batch-size 16",
        "none",
    ),
}


# Training and measuring. ----------------------------------------------------------------------------


def train(words: Sequence[str], folder: RunFolder) -> None:
    """Do what `python -m genlib train` does with these arguments; go on with what is there.

    Raises:
        SystemExit: it failed, with its reason; or it was stopped.
    """
    if folder.config.exists():
        words = ["train", "--out", str(folder.path), "--resume"]
    code = cli.app(list(words), standalone_mode=False)
    if code:
        sys.exit(code)


def likelihoods(
    model: nn.Module, train_set: ImageSet, data: ImageSet
) -> dict[str, dict[str, float]]:
    """Nats of each image on average: exact, or at most so many, by the number of codes an image."""
    found = likelihood(model, train_set, data, CODES)
    names = {"exact": "exact", **{bound_name(k): f"at most, k = {k}" for k in CODES}}
    return {names[name]: nats_and_bits(found[name], data) for name in found if name in names}


def nats_and_bits(nats: Measurement, data: ImageSet) -> dict[str, float]:
    assert nats.error is not None
    return {
        "nats": nats.value,
        "standard_error": nats.error,
        "bits_per_dim": float(bits_per_dim(-nats.value, data.shape)),
        "bits_error": float(bits_per_dim(-nats.error, data.shape)),
    }


def baselines(train_set: ImageSet, data: ImageSet) -> dict[str, dict[str, float]]:
    """Nats of each image on average under models that are counted and not trained."""
    pixels = independent_pixels(train_set).log_prob(data.images.long())
    named = {"independent pixels": pixels, "neighbours": log_by_neighbours(train_set, data)}
    return {
        name: nats_and_bits(Measurement(*mean_and_error(-log_p.flatten(1).sum(dim=1))), data)
        for name, log_p in named.items()
    }


def log_by_neighbours(train_set: ImageSet, data: ImageSet) -> Tensor:
    """Log probability of each value: one histogram a colour, of what a prediction from its neighbours leaves.

    The prediction is the median of left, upper, and left + upper - upper left, as in LOCO-I
    (Weinberger, Seroussi & Sapiro, 2000), plus what it was wrong by in the colour before. It reads
    only what comes earlier, and differences are taken modulo the number of levels. So the
    probabilities of all images sum to one. The counts are those of the training images, plus one.

    Shapes:
        -> (N, C, H, W), nats
    """

    def left_over(images: Tensor) -> Tensor:
        x = images.long()
        padded = F.pad(x, (1, 0, 1, 0))
        left, upper, corner = padded[..., 1:, :-1], padded[..., :-1, 1:], padded[..., :-1, :-1]
        wrong = x - torch.stack([left, upper, left + upper - corner]).median(dim=0).values
        return torch.cat([wrong[:, :1], wrong.diff(dim=1)], dim=1) % data.levels

    colours = zip(
        left_over(train_set.images).unbind(1), left_over(data.images).unbind(1), strict=True
    )
    log_p = []
    for seen, new in colours:
        counts = seen.flatten().bincount(minlength=data.levels) + 1.0
        log_p.append((counts / counts.sum()).log()[new])
    return torch.stack(log_p, dim=1)


def measure(model: nn.Module, train_set: ImageSet, data: ImageSet) -> dict[str, dict[str, float]]:
    """What the model's kind can compute, by name: a likelihood, or what its samples show."""
    if isinstance(model, GAN):
        return compare_samples(model, train_set, data, min(N_SAMPLES, len(data)))
    return likelihoods(model, train_set, data)


def run(name: str, budget: Sequence[str], seed: int, more: Sequence[str], validate: bool) -> dict:
    """Train and measure a row, and write down what was found."""
    row, folder = ROWS[name], RunFolder(RUNS / (name + ("_validation" if validate else "")))
    words = ["train", *shlex.split(row.words), "--seed", str(seed), *budget, *more]
    if validate:
        size = len(load(words[words.index("--data") + 1])) - N_VALIDATION
        words += ["--size", str(size)]
    train([*words, "--out", str(folder.path)], folder)

    config, _ = read_run(folder)
    model, metadata = load_model(folder)
    device = torch.device(config.accelerator)
    train_set, held_out = images_for(config, validate)
    start = time.perf_counter()
    torch.manual_seed(seed)
    found = {
        "row": name,
        "title": row.title,
        "command": shlex.join(["python", "-m", "genlib", *words, "--out", f"runs/{name}"]),
        "machine": machine(device),
        "accelerator": config.accelerator,
        "precision": config.precision,
        "torch": torch.__version__,
        "seed": seed,
        "minutes": metadata["seconds"] / 60,
        "cpu_minutes": metadata["cpu_seconds"] / 60,
        "budget": " ".join(budget),
        "updates": metadata["step"],
        "epochs": metadata["step"] * config.batch_size / len(train_set),
        "parameters": sum(p.numel() for p in model.parameters()),
        "training_images": len(train_set),
        "split": "validation" if validate else "test",
        "images": len(held_out),
        "figures": measure(model.to(device), train_set, held_out),
        "baselines": {} if isinstance(model, GAN) else baselines(train_set, held_out),
        "measuring_seconds": time.perf_counter() - start,
    }
    where = folder.path / "RESULT.json" if validate else FOUND / f"{name}-{config.accelerator}.json"
    for path in {where, folder.path / "RESULT.json"}:
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(found, indent=2) + "\n")
    return found


def images_for(config: Config, validate: bool) -> tuple[ImageSet, ImageSet]:
    """What the model was trained on, and what it is scored on, both as it knows them."""
    train_set = load(config.data, "train", size=config.size)
    if not validate:
        held_out = as_trained(load(config.data, "test"), config, "test")
    else:
        held_out = load(config.data)[-N_VALIDATION:]
        if config.binary:
            held_out = binarise(held_out, how="stochastic", seed=VALIDATION_SEED)
    return as_trained(train_set, config, "train"), held_out


def machine(device: torch.device) -> str:
    """What computed: the name of the GPU, or of the processor with its number of threads."""
    if device.type == "cuda":
        return report.device_name(device)
    threads = torch.get_num_threads()
    return f"{report.device_name(device)}, {threads} thread{'s' * (threads > 1)}"


def draw(model: PixelModel, data: ImageSet, path: Path) -> None:
    """A picture: of twelve new digits, a quarter more of each in every row; or of photographs completed."""
    if data.shape[0] == 3:
        rows = completions(model, data[:10].floats())
    else:
        images = model.sample(12).cpu()
        n_pixels = model.shape[1] * model.shape[2]
        stages = [n_pixels * quarters // 4 for quarters in (1, 2, 3, 4)]
        rows = {f"{n} pixels": torch.stack([drawn_so_far(x, n) for x in images]) for n in stages}
    show_rows(rows)
    with whole_file(path) as unfinished:
        plt.savefig(unfinished, format="png")
    plt.close()


def completions(model: PixelModel, x: Tensor) -> dict[str, Tensor]:
    """Images, their upper halves, each completed three times, and as many new ones."""
    known = torch.zeros(x.shape[1:], dtype=torch.bool)
    known[:, : x.shape[2] // 2] = True
    device = next(model.parameters()).device
    parts = model.sample(3 * len(x), known=x.repeat(3, 1, 1, 1).to(device), mask=known.to(device))
    return {
        "real": x,
        "given": torch.where(known, x, torch.nan),
        **{f"draw {k}": part.cpu() for k, part in enumerate(parts.chunk(3), start=1)},
        "new": model.sample(len(x)).cpu(),
    }


# The table. -----------------------------------------------------------------------------------------


def table() -> str:
    """The table of everything found, in Markdown, with the command of each row below it."""
    found = [json.loads(path.read_text()) for path in sorted(FOUND.glob("*.json"))]
    order = list(ROWS)
    found.sort(key=lambda row: (order.index(row["row"]), row["accelerator"]))
    head = [
        "model", "parameters", "machine", "minutes", "passes over the data", "seed", "test images",
        "figure", "the paper's",
    ]  # fmt: skip
    rows = [
        [
            row["title"], f"{row['parameters']:,}", row["machine"], spent(row),
            f"{row['epochs']:.0f}", str(row["seed"]), f"{row['images']:,}",
            "; ".join(say(row, kind, values) for kind, values in row["figures"].items()),
            ROWS[row["row"]].paper,
        ]
        for row in found
    ]  # fmt: skip
    commands = "\n".join("    " + row["command"] for row in found)
    return f"{markdown.table(head, rows)}\n\nThe commands, from top to bottom:\n\n{commands}"


def spent(row: dict) -> str:
    if "cpu" in row["budget"]:
        return f"{row['cpu_minutes']:.0f} of processor time"
    return f"{row['minutes']:.0f}"


def say(row: dict, kind: str, values: dict[str, float]) -> str:
    """A figure in words."""
    if "nats" in values:
        how = "" if kind == "exact" else f"{kind}: "
        if "cifar" in row["command"]:
            return f"{how}{values['bits_per_dim']:.3f} ± {values['bits_error']:.3f} bits/dim"
        return f"{how}{values['nats']:.2f} ± {values['standard_error']:.2f} nats"
    return f"{kind} {values['samples']:.3g} (training images {values['training images']:.3g})"


def put_into_page(text: str) -> None:
    """Replace what stands between the marks.

    Raises:
        ValueError: the marks are not there, once each.
    """
    path = ROOT / PAGE
    page = markdown.between_marks(path.read_text(), "results", text)
    with whole_file(path) as unfinished:
        unfinished.write_text(page)


# The command. ---------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results",
        description=__doc__.partition("\n")[0],
        epilog="Words after -- go to `python -m genlib train`: -- --precision bf16-mixed, for instance.",
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)} (all)")
    parser.add_argument("--minutes", type=float, help="of training a row, in wall-clock time (60)")
    parser.add_argument("--cpu-minutes", type=float, help="or minutes of processor time")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (0)")
    parser.add_argument("--threads", type=int, help="of a processor (torch's choice)")
    parser.add_argument(
        "--validate", action="store_true", help="score held-out training images, and no table"
    )
    parser.add_argument(
        "--samples",
        type=Path,
        metavar="FILE.png",
        help="draw new digits there, or complete photographs",
    )
    parser.add_argument("--table", action="store_true", help="only make the table")
    words = sys.argv[1:] if arguments is None else arguments
    own = words.index("--") if "--" in words else len(words)
    options, more = parser.parse_args(words[:own]), words[own + 1 :]
    names = options.rows or list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        parser.error(f"no row is called {unknown[0]!r}: there are {', '.join(ROWS)}")
    if options.minutes and options.cpu_minutes:
        parser.error("a row has one budget: --minutes or --cpu-minutes")
    if options.threads is not None and options.threads < 1:
        parser.error("--threads must be at least 1")
    if options.samples and (len(names) != 1 or "vae" in names or "gan" in names):
        parser.error("--samples draws pixel by pixel: it goes with one row of a pixel model")
    budget = ["--minutes", f"{options.minutes or 60:g}"]
    if options.cpu_minutes:
        budget = ["--cpu-minutes", f"{options.cpu_minutes:g}"]
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        for name in [] if options.table else names:
            found = run(name, budget, options.seed, more, options.validate)
            for kind, values in found["figures"].items():
                print(f"{found['title']}: {say(found, kind, values)}", flush=True)
    except FileNotFoundError as error:  # it says which folder and what to do
        sys.exit(f"results needs real data: {error}")
    if options.samples:
        folder = RunFolder(RUNS / names[0])
        data = load(read_run(folder)[0].data, "test")
        draw(load_model(folder)[0], data, options.samples)  # type: ignore[arg-type]
    if not options.validate:
        put_into_page(table())


if __name__ == "__main__":
    main()
