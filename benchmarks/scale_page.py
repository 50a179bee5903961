"""The tables of docs/book/scale.md, from what `benchmarks.scale` has measured: docs/results/scale_*.json.

    python -m benchmarks.scale_page     writes them anew

They stand between marks such as <!-- scale: throughput --> and <!-- /scale: throughput -->. A machine that has not been
measured has no column; without any, the page says how to measure one.
"""

import json
import re
from itertools import product
from pathlib import Path

from benchmarks.scale import MODELS, Row, fitted
from course.publish.markdown import table
from genlib.data.folders import whole_file
from genlib.train.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "book" / "scale.md"
VARIED = ("side", "levels", "width", "depth", "batch", "chain")
HEADS = ("side N", "levels K", "width F", "depth L", "batch B", "chain k")
DATA = {"mnist": ("MNIST", 60_000), "cifar": ("CIFAR-10", 50_000)}  # and images to train on


class Measured:
    """A machine, what its columns are called, and the rows that were measured on it."""

    def __init__(self, path: Path):
        stored = json.loads(path.read_text(encoding="utf-8"))
        self.machine, self.rows = stored["machine"], stored["rows"]
        gpu = self.machine["device"] == "cuda"
        self.name = " ".join(self.machine["name"].split()[:2]) if gpu else "CPU core"

    def of(self, kind: str, **wanted: object) -> list[Row]:
        """Its rows of a kind with these values."""
        wanted["kind"] = kind
        return [row for row in self.rows if wanted.items() <= {**row, "flags": None}.items()]


def model_name(recipe: str) -> str:
    """What a recipe builds: `model_name("gated_pixelcnn")` is "GatedPixelCNN"."""
    return RECIPES[recipe].what.split(":")[0]


def number(x: float) -> str:
    """Two significant digits, or a whole number with its thousands.

    Example:
        >>> number(0.01234), number(3.456), number(12345.6)
        ('0.012', '3.5', '12,000')
    """
    x = float(f"{x:.2g}")
    return f"{x:,.0f}" if x >= 10 else f"{x:g}"


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, with two digits.

    Example:
        >>> duration(0.5), duration(90), duration(7200), duration(1e6)
        ('0.5 s', '90 s', '2 h', '12 days')
    """
    for unit, length in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 100 * length:
            return f"{number(seconds / length)} {unit}"
    return f"{number(seconds / 86400)} days"


def growth(measured: list[Measured], what: str, *quantities: str) -> str:
    """Exponents of these quantities: a row for each model and machine, a column for each size."""
    rows = []
    for name, one, quantity in product(MODELS, measured, quantities):
        of = {r["varied"]: r for r in one.of("growth", model=name, what=what) if quantity in r}
        cells = [fitted(of[varied], quantity) if varied in of else "" for varied in VARIED]
        if of:
            words = one.name if len(quantities) == 1 else f"{one.name}, {quantity}"
            rows.append([model_name(name), words, *cells])
    return table(["model", "machine", *HEADS], rows)


def throughput(measured: list[Measured]) -> str:
    """Images a second of the recipes as they stand, a pass over all there are, and the memory it takes."""
    head = ["model", "images", "batch", "parameters", "memory"]
    for one in measured:
        head += [f"{one.name}: {what}" for what in ("images/s trained", "a pass", "to draw 16")]
    rows = []
    for row in measured[0].of("throughput"):
        data, n = DATA[row["images"]]
        cells = [model_name(row["model"]), data, str(row["batch"]), number(row["parameters"])]
        cells.append(f"{number(row['bytes'] / 2**20)} MiB")
        for one in measured:
            (found,) = one.of("throughput", model=row["model"], images=row["images"]) or [{}]
            rate, drawing = found.get("trained_per_second"), found.get("drawing_seconds")
            cells += [number(rate), duration(n / rate)] if rate else ["", ""]
            cells.append(duration(drawing) if drawing else "")
        rows.append(cells)
    return table(head, rows)


def flags(measured: list[Measured]) -> str:
    """How many times faster a training step is with the speed flags; a table a machine."""
    parts, waits = [], []
    for one in measured:
        found = one.of("flags")
        waits += [row["first_step_seconds"] for row in found if "compile" in row["flags"]]
        sets = list(dict.fromkeys(" + ".join(row["flags"]) for row in found))
        rows = []
        for name, batch in dict.fromkeys((row["model"], row["batch"]) for row in found):
            own = {" + ".join(r["flags"]): r for r in one.of("flags", model=name, batch=batch)}
            plain = f"{number(1000 * min(r['plain_seconds'] for r in own.values()))} ms"
            gains = {key: f"{r['plain_seconds'] / r['seconds']:.2f}" for key, r in own.items()}
            rows.append([model_name(name), str(batch), plain, *(gains.get(s, "") for s in sets)])
        units = "" if one.machine["bf16_units"] else "; this one has no units for bfloat16"
        if rows:
            head = table(["model", "batch", "plain float32", *sets], rows)
            parts.append(f"**{one.name}** ({one.machine['name']}{units})\n\n{head}")
    if waits:
        shortest, longest = duration(min(waits)), duration(max(waits))
        parts.append(f"Compiling takes {shortest} to {longest} before the first step.")
    return "\n\n".join(parts)


def machines(measured: list[Measured]) -> str:
    """What the columns are, a line each, and from where to where each size was varied."""
    lines = []
    for one in measured:
        grown = one.of("growth")
        values = [[n for r in grown if r["varied"] == v for n in r["sizes"]] for v in VARIED]
        spans = [f"{h} {min(n):,} to {max(n):,}" for h, n in zip(HEADS, values, strict=True) if n]
        m = one.machine
        line = f"- {one.name}: {m['name']}, torch {m['torch']}, {m['date']}; {', '.join(spans)}"
        lines.append(line)
    return "\n".join(lines)


TABLES = {make.__name__: make for make in (growth, throughput, flags, machines)}


def fill(text: str, folder: Path) -> str:
    """The page with its tables: each follows a mark, <!-- scale: flags --> for instance, and ends with another.

    Args:
        text: with marks, and whatever stood between them before.
        folder: where scale_*.json lie, if there are any.

    Raises:
        KeyError: a mark that no table belongs to.
    """
    measured = [Measured(path) for path in sorted(folder.glob("scale_*.json"))]
    measured.sort(key=lambda one: one.machine["device"] != "cpu")

    def made(mark: re.Match) -> str:
        name, *arguments = mark[1].split()
        table = '*Not measured yet: `make bench ARGS="--out docs/results/scale_cpu.json"`.*'
        make = TABLES[name]
        if measured:
            table = make(measured, *arguments)
        return f"<!-- scale: {mark[1]} -->\n{table}\n<!-- /scale: {mark[1]} -->"

    marks = r"<!-- scale: (.+?) -->(?:.*?<!-- /scale: \1 -->)?"
    return re.sub(marks, made, text, flags=re.DOTALL)


if __name__ == "__main__":
    page = fill(PAGE.read_text("utf-8"), ROOT / "docs" / "results")
    with whole_file(PAGE) as unfinished:
        unfinished.write_text(page, "utf-8")
