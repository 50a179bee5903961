"""How time and memory grow with the size of images, networks and batches, and what the speed flags gain.

    python -m benchmarks.scale [--device cuda] [--parts growth throughput flags] [--models vae gan] [--out FILE.json]

docs/book/scale.md says what theory expects, and shows what was measured. A second is process time on one
thread of a CPU; on a GPU it is wall-clock time, once the queue is empty. The fastest run counts, since
whatever else the machine does can only make one slower. Operations, products and bytes are counted.
"""

import argparse
import datetime
import functools
import gc
import json
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import flop_registry

from benchmarks.report import device_name
from genlib.execution import ExecutionContext, bf16_is_fast
from genlib.train import RECIPES, Images, build_model
from genlib.train.devices import compile_networks, use_tf32
from genlib.training import train_epoch, train_gan_epoch

Row = dict[str, Any]
Job = tuple[Any, ...]  # what yields rows, and its arguments
Part = Callable[[str, Sequence[str]], list[Job]]  # given the device and the models

# What is measured: a recipe, the kind of sizes it has, its option of width, and the sizes that are varied.
MODELS = {
    **dict.fromkeys(
        ("pixelcnn", "gated_pixelcnn", "row_lstm", "diagonal_bilstm"),
        ("pixels", "hidden_dim", "side levels width depth batch"),
    ),
    "vae": ("perceptrons", "hidden_dim", "side levels width depth batch"),
    "autoencoder": ("perceptrons", "hidden_dim", "side width depth batch"),
    **dict.fromkeys(("gan", "wgan_gp"), ("convolutions", "hidden_dim", "side width batch")),
    "rbm": ("chains", "hidden_dim", "side width batch chain"),
    "gsn": ("chains", "hidden_dim", "side width batch chain"),
}
# A kind of sizes, one of them, and the factor between the four values it is given in its turn; then, on a
# CPU and on a GPU, where it stays while another is varied, and the first of these values. Drawing differs
# from training only where it has a line of its own.
SIZES = (
    ("pixels", "side", 2, (16, 8), (32, 16)),
    ("pixels", "levels", 4, (2, 4), (2, 4)),
    ("pixels", "width", 2, (32, 16), (64, 64)),
    ("pixels", "depth", 2, (2, 1), (4, 2)),
    ("pixels", "batch", 4, (8, 2), (64, 16)),
    ("pixels, drawing", "side", 2, (8, 8), (8, 8)),
    ("pixels, drawing", "batch", 4, (16, 2), (256, 16)),
    ("perceptrons", "side", 2, (16, 8), (32, 16)),
    ("perceptrons", "levels", 4, (2, 4), (2, 4)),
    ("perceptrons", "width", 2, (256, 128), (1024, 512)),
    ("perceptrons", "depth", 2, (1, 1), (1, 1)),
    ("perceptrons", "batch", 4, (128, 32), (1024, 256)),
    ("convolutions", "side", 2, (16, 8), (32, 16)),
    ("convolutions", "levels", 1, (256, 256), (256, 256)),
    ("convolutions", "width", 2, (16, 8), (64, 32)),
    ("convolutions", "batch", 4, (16, 4), (64, 16)),
    ("chains", "side", 2, (16, 8), (32, 16)),
    ("chains", "width", 2, (256, 128), (1024, 512)),
    ("chains", "batch", 4, (64, 16), (1024, 256)),
    ("chains", "chain", 2, (1, 5), (1, 5)),
    ("chains, drawing", "chain", 2, (100, 5), (100, 5)),
)
IMAGES = {"mnist": Images((1, 28, 28), levels=2), "cifar": Images((3, 32, 32), levels=256)}
ON_CIFAR = ("gated_pixelcnn", "vae", "gan")
FLAGGED = ("gated_pixelcnn", "pixelcnn", "vae", "gan", "diagonal_bilstm")
# a batch larger than the recipes' is what a GPU wants
BATCHES = {"cpu": (32,), "cuda": (32, 256)}


def seconds(way: Callable[[], object], device: str, at_least: float = 0.15) -> float:
    """Seconds of the fastest run of this way, of as many as take `at_least` seconds together, one thread."""
    clock = {"timer": time.process_time} if device == "cpu" else {}  # a Timer's own waits for a GPU
    timer = Timer("way()", globals={"way": way}, **clock)
    return min(timer.blocked_autorange(min_run_time=at_least).times)


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


class Work(TorchDispatchMode):
    """Counts operations, where a view is none, and the arithmetic of products.

    torch's FlopCounterMode would do for the second, but it refuses the gradient of a gradient (WGAN-GP).
    """

    launches = flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.launches += not func.is_view
        if formula := flop_registry.get(func.overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out


def count_work(step: Callable[[], object]) -> tuple[int, int]:
    """Operations that a step asks for, and floating point operations of its products.

    Example:
        >>> a, b = torch.ones(2, 3), torch.ones(3, 4)
        >>> count_work(lambda: (a @ b).relu())
        (2, 48)
    """
    with Work() as work:
        step()
    return work.launches, work.flops


def bytes_to_hold(
    model: nn.Module, optimizers: Sequence[Optimizer], step: Callable[[], object]
) -> int:
    """Bytes that a training step must hold at once, which is the same on every machine.

    These are the parameters, a gradient of each, what the optimisers remember (they have taken a step
    before), and at their most the storages that backward will read, each counted once.

    Example:
        >>> layer = nn.Linear(3, 2, bias=False)  # 6 weights, and its input for their gradient
        >>> x = torch.zeros(5, 3)
        >>> bytes_to_hold(layer, (), lambda: layer(x).sum().backward())
        108
    """
    parameters = list(model.parameters())
    own = {p.untyped_storage().data_ptr() for p in parameters}
    held: Counter[int] = Counter()  # how often backward will read a storage
    now = most = 0

    class Held:
        """A tensor that backward will read; the graph lets go of it when it has."""

        def __init__(self, tensor: Tensor):
            nonlocal now, most
            self.tensor, storage = tensor, tensor.untyped_storage()
            self.place, self.size = storage.data_ptr(), storage.nbytes()
            held[self.place] += 1
            if held[self.place] == 1 and self.place not in own:
                now += self.size
                most = max(most, now)

        def __del__(self) -> None:
            nonlocal now
            held[self.place] -= 1
            if held[self.place] == 0 and self.place not in own:
                now -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        step()
    states = [state for optimizer in optimizers for state in optimizer.state.values()]
    values = [value for state in states for value in state.values()]
    remembered = [x for x in values if isinstance(x, Tensor) and x.ndim]  # not the count of steps
    return most + sum(x.nbytes for x in (*parameters, *parameters, *remembered))


class Case:
    """A recipe's model with random weights on a device, and random images for it."""

    def __init__(
        self, name: str, images: Images, options: Mapping, batch: int, device: str, chain: int = 100
    ):
        if device == "cuda":  # give back what the models before have left
            gc.collect()
            torch.cuda.empty_cache()
        self.before = torch.cuda.memory_allocated() if device == "cuda" else 0
        use_tf32(False)
        torch.manual_seed(0)
        self.chain, self.how, self.context = chain, RECIPES[name], ExecutionContext()
        self.model = build_model(name, images, options).to(device)
        self.optimizers = self.how.optimizers(self.model, self.how.learning_rate)
        levels = torch.randint(images.levels, (batch, *images.shape), device=device)
        self.x = levels / (images.levels - 1)

    def train(self) -> None:
        """One update, by the loops of `genlib.training`."""
        batch = (self.x, self.x.new_zeros(len(self.x), dtype=torch.long))
        if len(self.optimizers) == 1:
            train_epoch(self.model, [batch], *self.optimizers, context=self.context)
            return
        n = int(self.how.options["discriminator_steps"])
        more = {"discriminator_steps": n, "context": self.context}
        train_gan_epoch(self.model, n * [batch], *self.optimizers, **more)

    def draw(self, n: int | None = None) -> Tensor:
        """As many images as a batch has, or n."""
        steps = {"steps": self.chain} if self.how.binary else {}
        return self.model.sample(n or len(self.x), **steps)


def at_size(name: str, device: str, *, side: int, batch: int, width: int, **size: int) -> Case:
    """A model at a size: of the levels, depth and chain it takes what it knows.

    Example:
        >>> at_size("pixelcnn", "cpu", side=4, batch=2, width=8, depth=1).draw().shape
        torch.Size([2, 1, 4, 4])
    """
    options, chain = {MODELS[name][1]: width}, size.get("chain", 1)
    more = {"depth": size.get("depth", 1), "cd_steps": chain, "walkback": chain}
    options |= {key: value for key, value in more.items() if key in RECIPES[name].options}
    images = Images((size.get("colours", 1), side, side), size.get("levels", 2))
    return Case(name, images, options, batch, device, chain)


@functools.cache  # where one size stays, another was there before
def costs(name: str, what: str, device: str, **size: int) -> Row:
    """What a training step or a drawing costs at a size: seconds, and what is counted."""
    case = at_size(name, device, **size)
    if what == "drawing":
        return {"seconds": seconds(case.draw, device)}
    case.train()  # the optimiser begins to remember
    row: Row = {"bytes": bytes_to_hold(case.model, case.optimizers, case.train)}
    row["launches"], row["flops"] = count_work(case.train)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    row["seconds"] = seconds(case.train, device)
    if device == "cuda":
        row["allocated"] = torch.cuda.max_memory_allocated() - case.before
    return row


def growth(name: str, varied: str, device: str) -> Iterator[Row]:
    """A row for the training step and one for drawing, with one of the model's sizes varied."""
    kind = MODELS[name][0]
    for what in ("training", "drawing"):
        if what == "drawing" and name == "autoencoder":  # it has no law to draw codes from
            continue
        fixed, values = dict[str, int](), list[int]()
        for group, size, factor, *on in SIZES:  # a line for drawing comes after the other
            if group in (kind, f"{kind}, {what}"):
                stays, first = on[device == "cuda"]
                if size == varied:
                    values = [first * factor**i for i in range(4)]
                else:
                    fixed[size] = stays
        found = [costs(name, what, device, **fixed, **{varied: n}) for n in values]
        row: Row = {"kind": "growth", "model": name, "varied": varied, "what": what}
        row |= {"sizes": values, "fixed": fixed}
        yield row | {quantity: [cost[quantity] for cost in found] for quantity in found[0]}


def throughput(name: str, images: str, device: str) -> Iterator[Row]:
    """Images a second of a recipe as it stands, trained and drawn, on images of a size that people know."""
    batch = RECIPES[name].batch_size
    case = Case(name, IMAGES[images], {}, batch, device)
    case.train()
    row: Row = {"kind": "throughput", "model": name, "images": images, "batch": batch}
    row["parameters"] = sum(p.numel() for p in case.model.parameters())
    row["bytes"] = bytes_to_hold(case.model, case.optimizers, case.train)
    turns = int(RECIPES[name].options.get("discriminator_steps", 1))
    row["trained_per_second"] = turns * batch / seconds(case.train, device, at_least=0.5)
    if hasattr(case.model, "sample"):
        row["drawing_seconds"] = seconds(lambda: case.draw(16), device)
    yield row


def with_flags(name: str, batch: int, device: str, flags: Sequence[str]) -> Case:
    """A recipe on images of MNIST's size, as these flags of `python -m genlib train` make it."""
    case = Case(name, IMAGES["mnist"], {}, batch, device)
    use_tf32("tf32" in flags)
    if "channels-last" in flags:
        case.model.to(memory_format=torch.channels_last)
        case.x = case.x.to(memory_format=torch.channels_last)
    if "compile" in flags:
        torch.compiler.reset()
        compile_networks(case.model)
    if "bf16-mixed" in flags:
        case.context = ExecutionContext(functools.partial(torch.autocast, device, torch.bfloat16))
    return case


def flags_gain(name: str, batch: int, device: str) -> Iterator[Row]:
    """Seconds of a training step in plain float32, and with each set of flags: alone, then together."""
    alone = ("bf16-mixed", "channels-last", *(("tf32",) if device == "cuda" else ()))
    sets = [*((flag,) for flag in alone), alone]
    if device == "cuda":  # a CPU compiles for minutes
        sets += [("compile",), ("compile", *alone)]
    plain = seconds(with_flags(name, batch, device, ()).train, device, at_least=0.5)
    for flags in sets:
        row: Row = {"kind": "flags", "model": name, "batch": batch, "flags": list(flags)}
        case, start = with_flags(name, batch, device, flags), time.perf_counter()
        case.train()
        if "compile" in flags:
            row["first_step_seconds"] = time.perf_counter() - start
        row |= {"plain_seconds": plain, "seconds": seconds(case.train, device, at_least=0.5)}
        yield row


PARTS: dict[str, Part] = {
    "growth": lambda device, models: [
        (growth, name, size, device) for name in models for size in MODELS[name][2].split()
    ],
    "throughput": lambda device, models: [
        (throughput, name, images, device)
        for name in models
        for images in (("mnist", "cifar") if name in ON_CIFAR else ("mnist",))
    ],
    "flags": lambda device, models: [
        (flags_gain, name, batch, device)
        for name in FLAGGED
        if name in models
        for batch in BATCHES[device]
    ],
}


def rows_of(job: Job) -> Iterator[Row]:
    """The rows of a job; if it fails, one that says so in place of those that are missing."""
    measure, *arguments = job
    try:
        yield from measure(*arguments)
    except Exception as error:  # the jobs after it are still done, and the exit code says so
        traceback.print_exc()
        what = " ".join(map(str, (measure.__name__, *arguments)))
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        yield {"kind": "failed", "what": what, "error": line}


def run(jobs: Iterable[Job], device: str, out: Path | None) -> int:
    """Do the jobs, and write after every row; the exit code is 1 if any has failed."""
    machine = {
        "device": device,
        "name": device_name(torch.device(device)),
        "bf16_units": bf16_is_fast(torch.device(device)),
        "torch": torch.__version__,
        "threads": 1,
        "date": datetime.date.today().isoformat(),
    }
    rows: list[Row] = []
    for job in jobs:
        for row in rows_of(job):
            rows.append(row)
            print(describe(row), flush=True)
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(as_json(machine, rows), encoding="utf-8")
    return int(any(row["kind"] == "failed" for row in rows))


def as_json(machine: Row, rows: Iterable[Row]) -> str:
    """A row a line, for diffs, and five significant digits, which is more than a clock gives."""

    def short(value: str) -> float:
        return float(f"{float(value):.5g}")

    lines = [json.dumps(json.loads(json.dumps(row), parse_float=short)) for row in rows]
    return f'{{"machine": {json.dumps(machine)},\n"rows": [\n' + ",\n".join(lines) + "\n]}\n"


def fitted(row: Row, quantity: str) -> str:
    """The exponent over all sizes, and in parentheses that between the largest two.

    Example:
        >>> fitted({"sizes": [1, 2, 4], "seconds": [1, 1, 4]}, "seconds")
        '1.00 (2.00)'
    """
    sizes, cost = row["sizes"], row[quantity]
    found = f"{exponent(sizes, cost):.2f} ({exponent(sizes[-2:], cost[-2:]):.2f})"
    return found.replace("-0.00", "0.00")


def describe(row: Row) -> str:
    """A row as a line."""
    if row["kind"] == "growth":
        counted = [key for key in ("seconds", "launches", "flops", "bytes") if key in row]
        exponents = ", ".join(f"{key} {fitted(row, key)}" for key in counted)
        return f"{row['model']:<16} {row['what']} ~ {row['varied']}^a: {exponents}"
    words = [f"{x:.4g}" if isinstance(x, float) else str(x) for x in row.values()]
    return "; ".join(f"{key} {word}" for key, word in zip(row, words, strict=True))


def main(arguments: list[str] | None = None, parts: Mapping[str, Part] = PARTS) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the rows there too")
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL"
    )
    default = [part for part in parts if part != "lessons"]  # these take long: only if named
    parts_help = f"any of {', '.join(parts)}; by default {', '.join(default)}"
    parser.add_argument("--parts", nargs="+", choices=parts, default=default, help=parts_help)
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here: leave --device cuda out")
    jobs = (job for part in options.parts for job in parts[part](options.device, options.models))
    return run(jobs, options.device, options.out)


if __name__ == "__main__":
    sys.exit(main())
