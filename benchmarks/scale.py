"""How time and memory grow with the size of images, levels, networks and batches; what the speed flags gain.

    python -m benchmarks.scale [--device cpu | cuda] [--out FILE.json] [--parts growth flags throughput compile]

**Growth.** For every model a size is varied and the rest held. A training step (an update as
`python -m genlib train` takes it) and drawing are timed, and an exponent a in cost ~ size^a is fitted
by least squares on logarithms. On paper,

    seconds = launches * what a launch costs + work / the machine's rate,

so theory gives two exponents, one of each part, and a measured one lies between them: nearer to the
first on a large machine with little to do, nearer to the second once that is busy. Both parts are
counted too: operations that torch is asked for, and floating point operations of its products. So
are the steps that must follow one another: N^2 values to draw, 2N - 1 diagonals, N rows.

**Memory** is what a training step must hold at once: parameters, their gradients and what the optimiser
remembers of them, and every storage that backward will read, counted once, at the moment when these
are most. It is counted, not measured, so it is the same on every machine. On a GPU the allocator's peak, which
has temporaries and what libraries take as well, stands beside it.

**Times** are process time on one thread of a CPU, and the clock on the wall with the queue waited
for on a GPU; the fastest run counts, since whatever else the machine does can only make one slower.
"""

import argparse
import contextlib
import datetime
import gc
import importlib
import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.report import device_name
from genlib.train.recipes import RECIPES, Images, Option, build_model, recipe
from genlib.train.speed import compile_networks, use_tf32
from genlib.training import Machine, bf16_is_fast, train_epoch, train_gan_epoch

Row = dict[str, Any]
Way = Callable[[], object]
Job = tuple[str, Callable[[], Iterable[Row]]]  # what it is called, and what yields its rows
PARTS = ("growth", "throughput", "flags", "compile")

# Clocks. --------------------------------------------------------------------------------------------


def clock_of(device: torch.device) -> Callable[[], float]:
    """Seconds: of this process on a CPU; by the wall, once the queue is empty, on a GPU."""
    if device.type != "cuda":
        return time.process_time

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def fastest(
    *ways: Way,
    repeats: int,
    enough: float = math.inf,
    warm_ups: int = 1,
    clock: Callable[[], float] = lambda: time.process_time(),
) -> list[float]:
    """Seconds of the fastest run of each way; ways take turns, and the first runs do not count.

    Args:
        ways: what to run.
        repeats: runs that count, at most.
        enough: seconds of all of them together after which there are no more; one counts at least.
        warm_ups: runs that do not count.
        clock: seconds so far.

    Example:
        >>> ticks = iter([0, 5, 5, 7, 7, 10])  # a warm-up of 5 seconds, then 2, then 3
        >>> fastest(lambda: None, repeats=2, clock=lambda: next(ticks))
        [2]
    """
    best, spent = [math.inf] * len(ways), 0.0
    for run in range(warm_ups + repeats):
        for k, way in enumerate(ways):
            start = clock()
            way()
            seconds = clock() - start
            if run >= warm_ups:
                best[k], spent = min(best[k], seconds), spent + seconds
        if run >= warm_ups and spent > enough:
            break
    return best


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The a in cost ~ size^a, by least squares on logarithms.

    Raises:
        ValueError: fewer than two sizes, or a cost that is not positive.

    Example:
        >>> round(exponent([1, 2, 4, 8], [3, 12, 48, 192]), 6)
        2.0
    """
    if len(sizes) < 2 or len(sizes) != len(costs) or min(costs) <= 0:
        raise ValueError(f"no power law through sizes {list(sizes)} and costs {list(costs)}")
    x, y = torch.tensor(sizes).double().log(), torch.tensor(costs).double().log()
    x = x - x.mean()
    return ((x * y).sum() / x.square().sum()).item()


# Counting. ------------------------------------------------------------------------------------------


@dataclass
class Ledger:
    """How many bytes backward will read, now and at most, each storage once.

    The parameters' own storages are left out: they are there anyway.
    """

    known: set[int]
    bytes: int = 0
    peak: int = 0
    held: dict[int, int] = field(default_factory=dict)  # how often a storage is held

    def hold(self, tensor: Tensor) -> "Held":
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self.known:
            place, size = 0, 0
        if self.held.setdefault(place, 0) == 0:
            self.bytes += size
            self.peak = max(self.peak, self.bytes)
        self.held[place] += 1
        return Held(tensor, self, place, size)

    def release(self, place: int, size: int) -> None:
        self.held[place] -= 1
        if self.held[place] == 0:
            self.bytes -= size


class Held:
    """A tensor that backward will read; the graph forgets it when it has."""

    def __init__(self, tensor: Tensor, ledger: Ledger, place: int, size: int):
        self.tensor, self.ledger, self.place, self.size = tensor, ledger, place, size

    def __del__(self) -> None:
        self.ledger.release(self.place, self.size)


def bytes_to_hold(model: nn.Module, optimizers: Sequence[Optimizer], step: Way) -> int:
    """Bytes that a training step must hold at once: see the top of this file.

    Args:
        model: whose parameters are counted twice, for there is a gradient of each.
        optimizers: whose state is counted; they have taken a step before.
        step: takes a training step.

    Example:
        >>> layer = nn.Linear(3, 2, bias=False)  # 6 weights, and its input for their gradient
        >>> x = torch.zeros(5, 3)
        >>> bytes_to_hold(layer, (), lambda: layer(x).sum().backward())
        108
    """
    parameters = list(model.parameters())
    ledger = Ledger({p.untyped_storage().data_ptr() for p in parameters})
    with torch.autograd.graph.saved_tensors_hooks(ledger.hold, lambda held: held.tensor):
        step()
    remembered = [
        value
        for optimizer in optimizers
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.ndim  # but not the count of steps
    ]
    return ledger.peak + sum(x.nbytes for x in (*parameters, *parameters, *remembered))


class Work(TorchDispatchMode):
    """Counts what torch is asked for: operations, where a view is none, and the arithmetic of products."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.launches += not func.is_view
        if formula := flop_registry.get(func.overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out


def count_work(step: Way) -> tuple[int, int]:
    """Operations that a step asks for, and floating point operations of its products.

    Example:
        >>> a, b = torch.ones(2, 3), torch.ones(3, 4)
        >>> count_work(lambda: (a @ b).relu())
        (2, 48)
    """
    with Work() as work:
        step()
    return work.launches, work.flops


@contextlib.contextmanager
def calls_of(place: str) -> Iterator[list[int]]:
    """Counts the calls of a function while the context lasts.

    Args:
        place: "module:name" or "module:class.name".

    Example:
        >>> with calls_of("math:sqrt") as calls:
        ...     roots = [math.sqrt(x) for x in range(3)]
        >>> calls
        [3]
    """
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    function, calls = getattr(owner, name), [0]

    def counted(*args, **kwargs):
        calls[0] += 1
        return function(*args, **kwargs)

    setattr(owner, name, counted)
    try:
        yield calls
    finally:
        setattr(owner, name, function)


# What must follow one another: where it is counted, and how often a layer or a chain takes it.
DRAWN_VALUES = ("genlib.autoregressive.pixel_model:draw_level", "N^2 values a colour")
STEPS: dict[str, dict[str, tuple[str, str]]] = {
    "pixelcnn": {"drawing": DRAWN_VALUES},
    "gated_pixelcnn": {"drawing": DRAWN_VALUES},
    "row_lstm": {
        "training": ("genlib.autoregressive.row_lstm:lstm", "N rows a layer"),
        "drawing": DRAWN_VALUES,
    },
    "diagonal_bilstm": {
        "training": (
            "genlib.autoregressive.diagonal_bilstm:diagonal_step",
            "2N - 1 diagonals a layer",
        ),
        "drawing": DRAWN_VALUES,
    },
    "rbm": {
        "training": ("genlib.markov.rbm:RBM._visible", "k rounds"),
        "drawing": ("genlib.markov.rbm:RBM._visible", "k rounds"),
    },
    "gsn": {
        "training": ("genlib.markov.gsn:GSN._corrupt", "k steps"),
        "drawing": ("genlib.markov.gsn:GSN._corrupt", "k steps"),
    },
}


# Theory. --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Law:
    """What theory says of an exponent.

    Args:
        low: of the part that grows least: launches for times, what stays for memory.
        high: of the part that grows most, and wins in the end.
        why: the two parts, in a few words.
        log: whether the part that wins has a logarithm as a factor besides.

    Example:
        >>> str(Law(1, 2, "rows one after another; pixels of work"))
        '1 to 2'
    """

    low: float
    high: float
    why: str
    log: bool = False

    def __str__(self) -> str:
        high = f"{self.high:g}{', log' if self.log else ''}"
        return high if self.low == self.high else f"{self.low:g} to {high}"


Laws = dict[str, dict[str, Law]]  # by what varies, and of what

VARIED = {
    "side": "image side N",
    "levels": "levels K",
    "width": "width F",
    "depth": "depth L",
    "batch": "batch B",
    "chain": "chain k",
}
TABLE = {"training": "training step", "drawing": "drawing", "memory": "memory"}


def pixel_laws(low: float, rows: str) -> Laws:
    """Of a model that goes pixel by pixel, whose training takes launches ~ N^low."""
    return {
        "side": {
            "training": Law(low, 2, f"{rows}; N^2 pixels of work"),
            "drawing": Law(2, 2, "N^2 steps one after another, each of one pixel"),
            "memory": Law(0, 2, "weights stay; maps of N^2 pixels"),
        },
        "levels": {
            "training": Law(0, 1, "the body knows no K; K logits a value"),
            "drawing": Law(0, 1, "the body knows no K; K logits a value"),
            "memory": Law(0, 1, "the body knows no K; K logits a value"),
        },
        "width": {
            "training": Law(
                0, 3, "launches stay; F x F weights at every pixel; F^3 a step for Muon"
            ),
            "drawing": Law(0, 2, "launches stay; products of F x F weights"),
            "memory": Law(1, 2, "maps F; weights F x F"),
        },
        "depth": {
            "training": Law(0, 1, "first layer and head stay; every layer costs the same"),
            "drawing": Law(0, 1, "first layer and head stay; every layer costs the same"),
            "memory": Law(0, 1, "first layer and head stay; every layer keeps its maps"),
        },
        "batch": {
            "training": Law(0, 1, "launches stay; every image costs the same"),
            "drawing": Law(0, 1, "launches stay; every image costs the same"),
            "memory": Law(0, 1, "weights stay; maps of every image"),
        },
    }


def perceptron_laws() -> Laws:
    """Of a VAE or an autoencoder with one hidden layer of F units on each side."""
    return {
        "side": {
            "training": Law(0, 2, "launches stay; N^2 weights a hidden unit"),
            "drawing": Law(0, 2, "launches stay; N^2 weights a hidden unit"),
            "memory": Law(0, 2, "codes and hidden units stay; N^2 weights a hidden unit"),
        },
        "levels": {
            "training": Law(0, 1, "the perceptrons know no K; K logits a value"),
            "drawing": Law(0, 1, "the perceptrons know no K; K logits a value"),
            "memory": Law(0, 1, "the perceptrons know no K; K logits a value"),
        },
        "width": {
            "training": Law(0, 1, "launches stay; N^2 F weights, for there is one hidden layer"),
            "drawing": Law(0, 1, "launches stay; N^2 F weights, for there is one hidden layer"),
            "memory": Law(0, 1, "the images stay; N^2 F weights"),
        },
        "depth": {
            "training": Law(0, 1, "the two ends stay; F^2 weights for every layer between"),
            "drawing": Law(0, 1, "the two ends stay; F^2 weights for every layer between"),
            "memory": Law(0, 1, "the two ends stay; F^2 weights for every layer between"),
        },
        "batch": {
            "training": Law(0, 1, "launches and the update of the weights stay; products B"),
            "drawing": Law(0, 1, "launches stay; products B"),
            "memory": Law(0, 1, "weights stay; what every image leaves for backward"),
        },
    }


def dcgan_laws() -> Laws:
    doubling = "launches log N; N^2 log N of work, for half the side has twice the width"
    return {
        "side": {
            "training": Law(0, 2, doubling, log=True),
            "drawing": Law(0, 2, doubling, log=True),
            "memory": Law(
                1, 2, "weights beside z grow with N; maps N^2, the deepest weights (N F)^2"
            ),
        },
        "width": {
            "training": Law(0, 2, "launches stay; maps F, products of F x F weights"),
            "drawing": Law(0, 2, "launches stay; maps F, products of F x F weights"),
            "memory": Law(1, 2, "maps F; weights F x F"),
        },
        "batch": {
            "training": Law(0, 1, "launches and the update of the weights stay; maps B"),
            "drawing": Law(0, 1, "launches stay; maps B"),
            "memory": Law(0, 1, "weights stay; maps of every image"),
        },
    }


def rbm_laws() -> Laws:
    return {
        "side": {
            "training": Law(0, 2, "launches stay; N^2 F weights"),
            "drawing": Law(0, 2, "k rounds whatever N is; N^2 F weights in each"),
            "memory": Law(0, 2, "hidden units stay; N^2 F weights"),
        },
        "width": {
            "training": Law(0, 1, "launches stay; N^2 F weights"),
            "drawing": Law(0, 1, "launches and N^2 coins stay; N^2 F weights"),
            "memory": Law(0, 1, "the images stay; N^2 F weights"),
        },
        "batch": {
            "training": Law(0, 1, "launches and the update of the weights stay; products B"),
            "drawing": Law(0, 1, "launches stay; products B"),
            "memory": Law(0, 1, "weights stay; what every image leaves for backward"),
        },
        "chain": {
            "training": Law(0, 1, "one update; k rounds of CD-k before it"),
            "drawing": Law(1, 1, "k rounds, one after another"),
            "memory": Law(0, 0, "no gradient flows through a chain"),
        },
    }


def gsn_laws() -> Laws:
    square = Law(0, 2, "launches stay; N^2 F and F x F weights")
    return {
        "side": {
            "training": Law(0, 2, "launches stay; N^2 F weights beside F x F"),
            "drawing": Law(0, 2, "k steps whatever N is; N^2 F weights beside F x F"),
            "memory": Law(0, 2, "F x F weights stay; N^2 F weights"),
        },
        "width": {
            "training": square,
            "drawing": square,
            "memory": Law(0, 2, "the images stay; N^2 F and F x F weights"),
        },
        "batch": rbm_laws()["batch"],
        "chain": {
            "training": Law(0, 1, "one update; k steps of walkback before it"),
            "drawing": Law(1, 1, "k steps, one after another"),
            "memory": Law(0, 1, "weights stay; every step keeps what backward needs"),
        },
    }


def without(laws: Laws, varied: str = "", of: str = "") -> Laws:
    """The same, but for what the model has not."""
    return {
        v: {q: law for q, law in by_quantity.items() if q != of}
        for v, by_quantity in laws.items()
        if v != varied
    }


LAWS: dict[str, Laws] = {
    "pixelcnn": pixel_laws(0, "launches stay, all pixels at once"),
    "gated_pixelcnn": pixel_laws(0, "launches stay, all pixels at once"),
    "row_lstm": pixel_laws(1, "N rows one after another"),
    "diagonal_bilstm": pixel_laws(1, "2N - 1 diagonals one after another"),
    "vae": perceptron_laws(),
    "autoencoder": without(perceptron_laws(), varied="levels", of="drawing"),
    "gan": dcgan_laws(),
    "wgan_gp": dcgan_laws(),
    "rbm": rbm_laws(),
    "gsn": gsn_laws(),
}

# Sizes. ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """What is varied; a model takes of it what it knows."""

    side: int
    batch: int
    width: int
    levels: int = 2
    depth: int = 1
    chain: int = 1
    colours: int = 1


WIDTH = {  # the option of each recipe
    **dict.fromkeys(("pixelcnn", "gated_pixelcnn", "row_lstm", "diagonal_bilstm"), "channels"),
    **dict.fromkeys(("vae", "autoencoder", "gsn"), "hidden_dim"),
    **dict.fromkeys(("gan", "wgan_gp"), "channels"),
    "rbm": "n_hidden",
}
PIXELS = ("pixelcnn", "gated_pixelcnn", "row_lstm", "diagonal_bilstm")
BINARY = ("rbm", "gsn")
LONG_CHAIN = 100  # of what is drawn from an RBM or a GSN, where the chain is not what varies


@dataclass(frozen=True)
class Plan:
    """The sizes to measure a kind of model at: `base`, and from it one of them varied at a time."""

    base: Size
    varied: dict[str, tuple[int, ...]]
    # drawing pixel by pixel is slow whatever the machine: smaller images serve
    drawing_base: Size | None = None
    drawing_side: tuple[int, ...] | None = None


PLANS: dict[str, dict[str, Plan]] = {
    "cpu": {
        "pixels": Plan(
            Size(side=16, batch=8, width=32, depth=2),
            {
                "side": (8, 16, 32, 64),
                "levels": (4, 16, 64, 256),
                "width": (16, 32, 64, 128),
                "depth": (1, 2, 4, 8),
                "batch": (2, 8, 32, 128),
            },
            drawing_base=Size(side=8, batch=16, width=32, depth=2),
        ),
        "perceptrons": Plan(
            Size(side=16, batch=128, width=256, levels=2),
            {
                "side": (8, 16, 32, 64),
                "levels": (4, 16, 64, 256),
                "width": (128, 256, 512, 1024),
                "depth": (1, 2, 4, 8),
                "batch": (32, 128, 512, 2048),
            },
        ),
        "convolutions": Plan(
            Size(side=16, batch=16, width=16, levels=256),
            {"side": (8, 16, 32, 64), "width": (8, 16, 32, 64), "batch": (4, 16, 64, 256)},
        ),
        "chains": Plan(
            Size(side=16, batch=64, width=256),
            {
                "side": (8, 16, 32, 64),
                "width": (128, 256, 512, 1024),
                "batch": (16, 64, 256, 1024),
                "chain": (5, 10, 20, 40),
            },
        ),
    },
    "cuda": {
        "pixels": Plan(
            Size(side=32, batch=64, width=64, depth=4),
            {
                "side": (16, 32, 64, 128),
                "levels": (4, 16, 64, 256),
                "width": (64, 128, 256, 512),
                "depth": (2, 4, 8, 16),
                "batch": (16, 64, 256, 1024),
            },
            drawing_base=Size(side=8, batch=256, width=64, depth=4),
            drawing_side=(8, 16, 32, 64),
        ),
        "perceptrons": Plan(
            Size(side=32, batch=1024, width=1024, levels=2),
            {
                "side": (16, 32, 64, 128),
                "levels": (4, 16, 64, 256),
                "width": (512, 1024, 2048, 4096),
                "depth": (1, 2, 4, 8),
                "batch": (256, 1024, 4096, 16384),
            },
        ),
        "convolutions": Plan(
            Size(side=32, batch=64, width=64, levels=256),
            {"side": (16, 32, 64, 128), "width": (32, 64, 128, 256), "batch": (16, 64, 256, 1024)},
        ),
        "chains": Plan(
            Size(side=32, batch=1024, width=1024),
            {
                "side": (16, 32, 64, 128),
                "width": (512, 1024, 2048, 4096),
                "batch": (256, 1024, 4096, 16384),
                "chain": (5, 10, 20, 40),
            },
        ),
    },
}
PLAN_OF = {
    **dict.fromkeys(PIXELS, "pixels"),
    **dict.fromkeys(("vae", "autoencoder"), "perceptrons"),
    **dict.fromkeys(("gan", "wgan_gp"), "convolutions"),
    **dict.fromkeys(BINARY, "chains"),
}


# A model at a size. ---------------------------------------------------------------------------------


@dataclass
class Bench:
    """A model on a device, ready to train and to draw.

    Args:
        name: of a recipe.
        model: built from it.
        optimizers: the recipe's.
        x: a batch of images, (B, C, H, W), random.
        chain: steps of the chain that it draws by, of an RBM or a GSN.
    """

    name: str
    model: nn.Module
    optimizers: tuple[Optimizer, ...]
    x: Tensor
    chain: int = LONG_CHAIN
    machine: Machine = field(default_factory=Machine)

    def train(self) -> None:
        """One update, by the loops of `genlib.training`."""
        batches = [(self.x, self.x.new_zeros(len(self.x), dtype=torch.long))]
        if len(self.optimizers) == 2:
            turns = int(recipe(self.name).options["discriminator_steps"])
            train_gan_epoch(
                self.model,  # type: ignore[arg-type]
                turns * batches,
                *self.optimizers,  # type: ignore[arg-type]
                discriminator_steps=turns,
                machine=self.machine,
            )
        else:
            train_epoch(self.model, batches, *self.optimizers, machine=self.machine)

    def draw(self) -> Tensor:
        """As many images as a batch has."""
        steps = {"steps": self.chain} if self.name in BINARY else {}
        return self.model.sample(len(self.x), **steps)  # type: ignore[operator]


def set_up(
    name: str,
    images: Images,
    options: dict[str, Option],
    batch: int,
    device: torch.device,
    chain: int = LONG_CHAIN,
) -> Bench:
    """A recipe's model with random weights, and random images for it."""
    torch.manual_seed(0)
    model = build_model(name, images, options).to(device)
    levels = torch.randint(images.levels, (batch, *images.shape), device=device)
    rate = recipe(name).learning_rate
    return Bench(
        name, model, recipe(name).optimizers(model, rate), levels / (images.levels - 1), chain
    )


def at_size(name: str, size: Size, device: torch.device, long_chain: bool = True) -> Bench:
    """A model at a size.

    Example:
        >>> bench = at_size("pixelcnn", Size(side=4, batch=2, width=8), torch.device("cpu"))
        >>> bench.draw().shape
        torch.Size([2, 1, 4, 4])
    """
    options: dict[str, Option] = {WIDTH[name]: size.width}
    if "depth" in recipe(name).options:
        options["depth"] = size.depth
    if name == "rbm":
        options["cd_steps"] = size.chain
    if name == "gsn":
        options["walkback"] = size.chain
    images = Images((size.colours, size.side, size.side), size.levels)
    chain = LONG_CHAIN if long_chain else size.chain
    return set_up(name, images, options, size.batch, device, chain)


# Growth. --------------------------------------------------------------------------------------------


def training_costs(name: str, size: Size, device: torch.device) -> Row:
    """What a training step costs at a size: seconds, bytes, and what is counted."""
    free(device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    bench = at_size(name, size, device)
    bench.train()  # the optimiser begins to remember
    costs: Row = {"bytes": bytes_to_hold(bench.model, bench.optimizers, bench.train)}
    where = STEPS.get(name, {}).get("training")
    with calls_of(where[0]) if where else contextlib.nullcontext() as calls:
        costs["launches"], costs["flops"] = count_work(bench.train)
    if calls:
        costs["steps"] = calls[0] // size.depth
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    (costs["seconds"],) = fastest(
        bench.train, repeats=30, enough=SPEND[device.type], warm_ups=0, clock=clock_of(device)
    )
    if device.type == "cuda":
        costs["allocated"] = torch.cuda.max_memory_allocated(device) - before
    return costs


def drawing_costs(name: str, size: Size, device: torch.device, long_chain: bool) -> Row:
    """What drawing a batch costs at a size: seconds, and the steps that follow one another."""
    free(device)
    bench, costs = at_size(name, size, device, long_chain), Row()
    where = STEPS.get(name, {}).get("drawing")
    with calls_of(where[0]) if where else contextlib.nullcontext() as calls:
        bench.draw()
    if calls:
        costs["steps"] = calls[0]
    (costs["seconds"],) = fastest(
        bench.draw, repeats=30, enough=SPEND[device.type], warm_ups=0, clock=clock_of(device)
    )
    return costs


SPEND = {"cpu": 0.15, "cuda": 0.12}  # seconds on the runs of a measurement that count


def free(device: torch.device) -> None:
    """Give a GPU back what the models before have left; a CPU does so by itself."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def growth(name: str, varied: str, device: torch.device, seen: dict[Any, Row]) -> Iterator[Row]:
    """A row of the table: a model, and one of its sizes varied.

    Args:
        name: of the model.
        varied: "side", "levels", "width", "depth", "batch" or "chain".
        device: where.
        seen: what was measured before, which is not measured again.
    """
    plan = PLANS[device.type][PLAN_OF[name]]
    row: Row = {"kind": "growth", "model": name, "varied": varied}
    for what, measure in (
        ("training", training_costs),
        ("drawing", partial(drawing_costs, long_chain=varied != "chain")),
    ):
        if what not in LAWS[name][varied]:
            continue
        base, sizes = plan.base, plan.varied[varied]
        if what == "drawing":
            base = plan.drawing_base or base
            sizes = plan.drawing_side or sizes if varied == "side" else sizes
        costs: dict[str, list[float]] = {}
        for value in sizes:
            size = replace(base, **{varied: value})
            key = (name, what, size, varied == "chain")
            if key not in seen:
                seen[key] = measure(name, size, device)
            for quantity, cost in seen[key].items():
                costs.setdefault(quantity, []).append(cost)
        fixed = {k: v for k, v in asdict(base).items() if k != varied}
        row[what] = {"sizes": list(sizes), "fixed": fixed, **costs, **fits(sizes, costs)}
    for what, law in LAWS[name][varied].items():
        row.setdefault("theory", {})[what] = asdict(law)
    yield row


def fits(sizes: Sequence[int], costs: dict[str, list[float]]) -> Row:
    """Exponents of all costs over the sizes, and those between the largest two."""
    found = {quantity: exponent(sizes, cost) for quantity, cost in costs.items() if min(cost) > 0}
    last = {q: exponent(sizes[-2:], costs[q][-2:]) for q in found}
    return {"exponents": found, "last_exponents": last}


# Throughput, and what flags gain. -------------------------------------------------------------------

MNIST = Images((1, 28, 28), levels=2)
CIFAR = Images((3, 32, 32), levels=256)
FLAGGED = ("gated_pixelcnn", "pixelcnn", "vae", "gan", "diagonal_bilstm")
# a batch larger than the recipes' is what a GPU wants
BATCHES = {"cpu": (32,), "cuda": (32, 256)}


def throughput(name: str, what: str, device: torch.device) -> Iterator[Row]:
    """Images a second of a recipe as it stands, trained and drawn, on images of a size that people know."""
    free(device)
    images = {"mnist": MNIST, "cifar": CIFAR}[what]
    batch = recipe(name).batch_size
    bench = set_up(name, images, {}, batch, device)
    bench.train()
    row: Row = {"kind": "throughput", "model": name, "images": what, "batch": batch}
    row["parameters"] = sum(p.numel() for p in bench.model.parameters())
    row["bytes"] = bytes_to_hold(bench.model, bench.optimizers, bench.train)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    clock = clock_of(device)
    (row["training_seconds"],) = fastest(
        bench.train, repeats=20, enough=0.5, warm_ups=0, clock=clock
    )
    if device.type == "cuda":
        row["allocated"] = torch.cuda.max_memory_allocated(device)
    turns = int(recipe(name).options.get("discriminator_steps", 1))
    row["trained_per_second"] = turns * batch / row["training_seconds"]
    if hasattr(bench.model, "sample"):
        bench.x = bench.x[:16]
        (row["drawing_seconds"],) = fastest(bench.draw, repeats=1, warm_ups=0, clock=clock)
        row["drawn"] = len(bench.x)
    yield row


THROUGHPUT = (
    *((name, "mnist") for name in RECIPES if name in LAWS),
    *((name, "cifar") for name in ("gated_pixelcnn", "vae", "gan")),
)


def autocast_bf16(device: torch.device) -> contextlib.AbstractContextManager:
    """What `--precision bf16-mixed` computes losses in."""
    return torch.autocast(device.type, torch.bfloat16)


def with_flags(name: str, batch: int, device: torch.device, flags: Sequence[str]) -> Way:
    """A training step of a recipe on images of MNIST's size, as these flags of `train` make it."""
    bench = set_up(name, MNIST, {}, batch, device)
    if "channels-last" in flags:
        bench.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        bench.x = bench.x.to(memory_format=torch.channels_last)
    if "compile" in flags:
        compile_networks(bench.model)
    if "bf16-mixed" in flags:
        bench.machine = Machine(partial(autocast_bf16, device))

    def step() -> None:
        use_tf32("tf32" in flags)
        bench.train()

    return step


def flag_sets(device: torch.device, compiled: bool) -> list[tuple[str, ...]]:
    """The flags alone, then all together; those with `compile` are a part of their own."""
    alone = ["bf16-mixed", "channels-last", *(["tf32"] if device.type == "cuda" else [])]
    if compiled:
        return [("compile",), ("compile", *alone)]
    return [*((flag,) for flag in alone), tuple(alone)]


def flags_gain(name: str, batch: int, device: torch.device, compiled: bool) -> Iterator[Row]:
    """A row for each set of flags: how many times faster than plain float32 a training step is."""
    for flags in flag_sets(device, compiled):
        free(device)
        if compiled:
            torch.compiler.reset()
        plain, fast = (with_flags(name, batch, device, f) for f in ((), flags))
        clock = clock_of(device)
        start = time.perf_counter()
        fast()  # compiles, if it is to
        first = time.perf_counter() - start
        seconds = fastest(plain, fast, repeats=20, enough=3 * SPEND[device.type], clock=clock)
        use_tf32(False)
        yield {
            "kind": "flags",
            "model": name,
            "batch": batch,
            "flags": list(flags),
            "plain_seconds": seconds[0],
            "seconds": seconds[1],
            "ratio": seconds[0] / seconds[1],
            "first_step_seconds": first,
            "bf16_units": bf16_is_fast(device),
        }


# All of it. -----------------------------------------------------------------------------------------


def machine_facts(device: torch.device) -> dict[str, str | int]:
    """What was measured on, for every row."""
    return {
        "device": device.type,
        "name": device_name(device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "date": datetime.date.today().isoformat(),
    }


def all_jobs(parts: Sequence[str], models: Sequence[str], device: torch.device) -> Iterator[Job]:
    """What there is to measure of these parts and models."""
    seen: dict[Any, Row] = {}
    if "growth" in parts:
        for name in models:
            for varied in LAWS[name]:
                yield f"{name}, {varied}", partial(growth, name, varied, device, seen)
    if "throughput" in parts:
        for name, what in THROUGHPUT:
            if name in models:
                yield f"throughput of {name}, {what}", partial(throughput, name, what, device)
    for part in ("flags", "compile"):
        for name in FLAGGED if part in parts else ():
            for batch in BATCHES[device.type] if name in models else ():
                job = partial(flags_gain, name, batch, device, part == "compile")
                yield f"{part} of {name}, batch {batch}", job


def measure(
    jobs: Iterable[Job],
    device: torch.device,
    out: Path | None = None,
    say: Callable[[Row], None] = lambda row: None,
) -> tuple[list[Row], list[str]]:
    """Do the jobs, and write after every row: what is measured is not lost by what fails after it.

    Args:
        jobs: what is measured, and a function that yields rows.
        device: that it is measured on; every row says so.
        out: the file, if there is to be one.
        say: is told each row.

    Returns:
        The rows, and what has failed, a line each.
    """
    rows: list[Row] = []
    failed: list[str] = []
    facts = machine_facts(device)
    for what, job in jobs:
        try:
            for row in job():
                rows.append({**row, "machine": facts})
                say(row)
                write(out, rows)
        except Exception as error:  # reported at the end, and the exit code says so
            traceback.print_exc()
            failed.append(f"{what}: {type(error).__name__}: {error}".splitlines()[0])
            rows.append({"kind": "failed", "what": what, "error": failed[-1], "machine": facts})
            write(out, rows)
    return rows, failed


def write(out: Path | None, rows: list[Row]) -> None:
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(rounded(row)) for row in rows)  # a row a line, for diffs
        out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def rounded(value: Any) -> Any:
    """The same with five significant digits, which is more than a clock gives.

    Example:
        >>> rounded({"seconds": [0.123456789, 2]})
        {'seconds': [0.12346, 2]}
    """
    if isinstance(value, dict):
        return {key: rounded(x) for key, x in value.items()}
    if isinstance(value, list):
        return [rounded(x) for x in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def describe(row: Row) -> str:
    """A row as a line of the table."""
    if row["kind"] == "flags":
        words = " ".join(row["flags"])
        return (
            f"{row['model']:<16} batch {row['batch']:<4} {words:<42} {row['ratio']:6.2f} times  "
            f"({row['plain_seconds']:.4f} s, {row['seconds']:.4f} s)"
        )
    if row["kind"] == "throughput":
        drawn = ""
        if "drawing_seconds" in row:
            drawn = f"; {row['drawn']} drawn in {row['drawing_seconds']:.3f} s"
        return (
            f"{row['model']:<16} {row['images']:<6} batch {row['batch']:<4} "
            f"{row['trained_per_second']:9.0f} images/s trained, "
            f"{row['bytes'] / 2**20:7.0f} MiB{drawn}"
        )
    cells = [f"{row['model']:<16} {VARIED[row['varied']]:<13}"]
    for what in TABLE:
        found = fitted(row, what)
        if found is None:
            cells.append(" " * 27)
            continue
        theory = str(Law(**row["theory"][what]))
        cells.append(f"{found[0]:6.2f} ({found[1]:5.2f}) {theory:<12}")
    return ("".join(cells) + "; ".join(counted_steps(row))).rstrip()


def counted_steps(row: Row) -> list[str]:
    """The steps that must follow one another, where their number changes."""
    return [
        f"{what} {STEPS[row['model']][what][1]}: {', '.join(str(n) for n in row[what]['steps'])}, "
        f"exponent {row[what]['exponents']['steps']:.2f}"
        for what in ("training", "drawing")
        if len(set(row.get(what, {}).get("steps", ()))) > 1
    ]


def fitted(row: Row, what: str) -> tuple[float, float] | None:
    """The exponent over all sizes and that of the largest two, of a column of the table."""
    if what not in row["theory"]:
        return None
    cost, quantity = {
        "training": ("training", "seconds"),
        "drawing": ("drawing", "seconds"),
        "memory": ("training", "bytes"),
    }[what]
    return row[cost]["exponents"][quantity], row[cost]["last_exponents"][quantity]


HEADS = {
    "growth": "Exponents, fitted over all sizes (between the largest two), and theory's\n"
    + f"{'model':<16} {'grows with':<13} "
    + "".join(f"{title:<27}" for title in TABLE.values()),
    "throughput": "Recipes as they stand, on images of MNIST's and CIFAR-10's size",
    "flags": "Training steps with the speed flags, against plain float32",
}


def arguments_of(parser: argparse.ArgumentParser, parts: Sequence[str]) -> None:
    """What both this and `benchmarks.bench` can be told."""
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the rows there too")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=parts,
        metavar="PART",
        help=f"any of {', '.join(parts)}; all by default, but lessons never and compile, which is slow, on cuda only",
    )
    parser.add_argument(
        "--models", nargs="+", choices=tuple(LAWS), default=tuple(LAWS), metavar="MODEL"
    )


def chosen_parts(options: argparse.Namespace, parts: Sequence[str]) -> Sequence[str]:
    return options.parts or [p for p in parts if p != "compile" or options.device == "cuda"]


def run(jobs: Iterable[Job], options: argparse.Namespace, say: Callable[[Row], None]) -> int:
    """Do the jobs on one thread and in plain float32; the exit code is 1 if any has failed."""
    torch.set_num_threads(1)
    use_tf32(False)
    _, failed = measure(jobs, torch.device(options.device), options.out, say)
    for line in failed:
        print(f"FAILED {line}", file=sys.stderr)
    return 1 if failed else 0


class Table:
    """Prints rows as they come, with a head above those that grow."""

    def __init__(self, describe: Callable[[Row], str] = describe):
        self.describe, self.kind = describe, ""

    def __call__(self, row: Row) -> None:
        if row["kind"] != self.kind:
            self.kind = row["kind"]
            print(f"\n{HEADS.get(self.kind, '')}".rstrip("\n"))
        print(self.describe(row), flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments_of(parser, PARTS)
    options = parser.parse_args(arguments)
    parts = chosen_parts(options, PARTS)
    jobs = all_jobs(parts, options.models, torch.device(options.device))
    return run(jobs, options, Table())


if __name__ == "__main__":
    sys.exit(main())
