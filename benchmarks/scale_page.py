"""The tables of docs/book/scale.md, from what `benchmarks.scale` has measured: docs/results/scale_*.json.

    python -m benchmarks.scale_page     writes them anew

They stand behind marks such as <!-- scale: growth -->. A machine that has not been
measured has no column; without any, the page says how to measure one.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scale import LAWS, STEPS, TABLE, VARIED, Row
from course.publish.markdown import table
from genlib.train.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "book" / "scale.md"
# trainings that a course asks for: passes over the training images of MNIST and CIFAR-10
IMAGES = {"mnist": 60_000, "cifar": 50_000}
JOBS = (
    ("vae", "mnist", 100),
    ("gan", "mnist", 50),
    ("pixelcnn", "mnist", 20),
    ("gated_pixelcnn", "mnist", 20),
    ("diagonal_bilstm", "mnist", 20),
    ("gan", "cifar", 100),
    ("gated_pixelcnn", "cifar", 50),
)
NAMES = {"mnist": "MNIST", "cifar": "CIFAR-10"}


@dataclass(frozen=True)
class Machine:
    """A machine, and the rows that were measured on it."""

    facts: dict[str, str | int]
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """As a column is called.

        Example:
            >>> Machine({"device": "cuda", "name": "NVIDIA H100 80GB HBM3"}, ()).name
            'NVIDIA H100'
        """
        if self.facts["device"] == "cuda":
            return " ".join(str(self.facts["name"]).split()[:2])
        return "CPU core" if self.facts["threads"] == 1 else f"{self.facts['threads']} CPU cores"

    def of(self, kind: str, **wanted: object) -> list[Row]:
        """Its rows of a kind with these values."""
        return [
            row
            for row in self.rows
            if row["kind"] == kind and all(row[key] == value for key, value in wanted.items())
        ]


def machines(folder: Path) -> list[Machine]:
    """What was measured, processors first."""
    found = []
    for path in sorted(folder.glob("scale_*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))
        if rows:
            found.append(Machine(rows[0]["machine"], tuple(rows)))
    return sorted(found, key=lambda machine: machine.facts["device"] != "cpu")


def model_name(recipe: str) -> str:
    """What a recipe builds.

    Example:
        >>> model_name("gated_pixelcnn")
        'GatedPixelCNN'
    """
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
    for unit, length, most in (("s", 1, 100), ("min", 60, 100 * 60), ("h", 3600, 100 * 3600)):
        if seconds < most:
            return f"{number(seconds / length)} {unit}"
    return f"{number(seconds / 86400)} days"


# The tables. ----------------------------------------------------------------------------------------


def growth(measured: list[Machine]) -> str:
    """For each size that is varied: theory beside what was measured; folded, theory's reasons."""
    parts = []
    for varied, words in VARIED.items():
        models = [name for name in LAWS if varied in LAWS[name]]
        parts += [f"### {words[0].upper()}{words[1:]}", sizes_of(varied, measured)]
        head = ["model"]
        for what, title in TABLE.items():
            columns = measured_columns(what, measured)
            head += [f"{title}: theory", *(column for _, column, _, _ in columns)]
        rows = []
        for name in models:
            cells = [model_name(name)]
            for what in TABLE:
                law = LAWS[name][varied].get(what)
                cells.append(str(law) if law else "")
                cells += [
                    exponents(machine, name, varied, cost, quantity)
                    for machine, _, cost, quantity in measured_columns(what, measured)
                ]
            rows.append(cells)
        parts.append(table(head, rows))
        parts.append(folded("Why", "\n".join(reasons(varied, models))))
        parts.append(folded("Launches and work, counted", counted(varied, models, measured)))
    return "\n\n".join(parts)


def measured_columns(what: str, measured: list[Machine]) -> list[tuple[Machine, str, str, str]]:
    """What stands beside theory: a machine, what the column is called, and the cost and quantity it has.

    Bytes are counted and depend on the sizes alone; on a GPU the allocator's peak is measured as well.
    """
    if what != "memory":
        return [(machine, machine.name, what, "seconds") for machine in measured]
    columns = [(measured[0], f"counted, {measured[0].name}", "training", "bytes")]
    return columns + [
        (machine, f"allocated, {machine.name}", "training", "allocated")
        for machine in measured
        if machine.facts["device"] == "cuda"
    ]


def counted(varied: str, models: list[str], measured: list[Machine]) -> str:
    """The exponents of what a training step asks for, between which that of its seconds lies."""
    head, columns = ["model"], []
    for machine in measured:
        for quantity, words in (("launches", "launches"), ("flops", "work")):
            head.append(f"{words} ({machine.name}'s sizes)")
            columns.append((machine, quantity))
    return table(
        head,
        [
            [model_name(name)]
            + [exponents(machine, name, varied, "training", q) for machine, q in columns]
            for name in models
        ],
    )


def exponents(machine: Machine, name: str, varied: str, cost: str, quantity: str) -> str:
    """The exponent over all sizes, and between the largest two; nothing if it was not measured."""
    for row in machine.of("growth", model=name, varied=varied):
        found = row.get(cost, {})
        if quantity in found.get("exponents", {}):
            both = (found[key][quantity] + 0.0 for key in ("exponents", "last_exponents"))
            return "{:.2f} ({:.2f})".format(*both).replace("-0.00", "0.00")
    return ""


def folded(title: str, text: str) -> str:
    """Markdown that a reader opens."""
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def sizes_of(varied: str, measured: list[Machine]) -> str:
    """Which sizes were measured: they differ between kinds of models, and between machines."""
    words = []
    for machine in measured:
        sizes: dict[str, list[str]] = {}
        for row in machine.of("growth", varied=varied):
            trained = row["training"]["sizes"]
            drawn = row.get("drawing", {}).get("sizes", trained)
            values = ", ".join(f"{n:,}" for n in trained)
            if drawn != trained:
                values += f" (drawing {', '.join(f'{n:,}' for n in drawn)})"
            sizes.setdefault(values, []).append(model_name(row["model"]))
        if len(sizes) == 1:
            words.append(f"{machine.name}: {next(iter(sizes))}")
        elif sizes:
            each = "; ".join(f"{', '.join(names)} {values}" for values, names in sizes.items())
            words.append(f"{machine.name}: {each}")
    return "Sizes. " + ". ".join(words) + "." if words else ""


def reasons(varied: str, models: list[str]) -> list[str]:
    """Why theory says so: a line for each reason, with the models that it is true of."""
    why: dict[tuple[str, str], list[str]] = {}
    for name in models:
        for what, law in LAWS[name][varied].items():
            why.setdefault((TABLE[what], f"{law}: {law.why}"), []).append(model_name(name))
    everyone = [model_name(name) for name in models]
    return [
        f"- {what}, {'all' if names == everyone else ', '.join(names)}: {text}."
        for (what, text), names in why.items()
    ]


def steps(measured: list[Machine]) -> str:
    """The steps that must follow one another, counted."""
    rows = []
    for name in STEPS:
        for what, (_, words) in STEPS[name].items():
            varied = "chain" if "chain" in LAWS[name] else "side"
            for row in measured[0].of("growth", model=name, varied=varied):
                cost = row[what]
                rows.append([
                    model_name(name),
                    TABLE[what],
                    words,
                    ", ".join(map(str, cost["sizes"])),
                    ", ".join(f"{n:,}" for n in cost["steps"]),
                    f"{cost['exponents']['steps']:.2f}",
                ])  # fmt: skip
    return table(["model", "in", "steps", "N or k", "counted", "exponent"], rows)


def throughput(measured: list[Machine]) -> str:
    """Images a second of the recipes as they stand, and the memory they need."""
    head = ["model", "images", "batch", "parameters", "memory"]
    for machine in measured:
        head += [f"{machine.name}: images/s trained", f"{machine.name}: to draw 16"]
    rows = []
    for row in measured[0].of("throughput"):
        name, images = row["model"], row["images"]
        cells = [model_name(name), NAMES[images], str(row["batch"]), number(row["parameters"])]
        cells.append(f"{number(row['bytes'] / 2**20)} MiB")
        for machine in measured:
            found = machine.of("throughput", model=name, images=images)
            cells.append(number(found[0]["trained_per_second"]) if found else "")
            drawn = found[0].get("drawing_seconds") if found else None
            cells.append(duration(drawn) if drawn else "")
        rows.append(cells)
    return table(head, rows)


def flags(measured: list[Machine]) -> str:
    """How many times faster a training step is with the speed flags; a table a machine."""
    parts = []
    for machine in measured:
        found = machine.of("flags")
        if not found:
            continue
        sets = list(dict.fromkeys(tuple(row["flags"]) for row in found))
        rows = []
        for name, batch in dict.fromkeys((row["model"], row["batch"]) for row in found):
            own = {tuple(r["flags"]): r for r in machine.of("flags", model=name, batch=batch)}
            plain = min(row["plain_seconds"] for row in own.values())
            cells = [f"{own[s]['ratio']:.2f}" if s in own else "" for s in sets]
            rows.append([model_name(name), str(batch), f"{number(1000 * plain)} ms", *cells])
        units = "" if found[0]["bf16_units"] else "; this one has no units for bfloat16"
        head = ["model", "batch", "plain float32", *(" + ".join(s) for s in sets)]
        parts.append(f"**{machine.name}** ({machine.facts['name']}{units})\n\n{table(head, rows)}")
    compiled = [
        row for machine in measured for row in machine.of("flags") if "compile" in row["flags"]
    ]
    if compiled:
        waits = [row["first_step_seconds"] for row in compiled]
        parts.append(
            f"Compiling costs time before the first step: {duration(min(waits))} to "
            f"{duration(max(waits))} here."
        )
    return "\n\n".join(parts)


def jobs(measured: list[Machine]) -> str:
    """How long the trainings of a course take: images over images a second."""
    head = ["training", "passes", *(machine.name for machine in measured)]
    fast = [machine for machine in measured if machine.of("flags")]
    head += [f"{machine.name}, best batch and flags" for machine in fast]
    rows = []
    for name, images, passes in JOBS:
        total = passes * IMAGES[images]
        cells = [f"{model_name(name)} on {NAMES[images]}", str(passes)]
        for machine in measured:
            found = machine.of("throughput", model=name, images=images)
            cells.append(duration(total / found[0]["trained_per_second"]) if found else "")
        for machine in fast:
            own = machine.of("flags", model=name) if images == "mnist" else []
            rates = [row["batch"] / row[k] for row in own for k in ("plain_seconds", "seconds")]
            rates += [
                r["trained_per_second"] for r in machine.of("throughput", model=name, images=images)
            ]
            cells.append(duration(total / max(rates)) if own else "")
        rows.append(cells)
    return table(head, rows)


def machines_measured(measured: list[Machine]) -> str:
    """What the columns are, a line each."""
    return "\n".join(
        f"- {machine.name}: {machine.facts['name']}, torch {machine.facts['torch']}, "
        f"{machine.facts['date']}"
        for machine in measured
    )


TABLES: dict[str, Callable[[list[Machine]], str]] = {
    "growth": growth,
    "steps": steps,
    "throughput": throughput,
    "flags": flags,
    "jobs": jobs,
    "machines": machines_measured,
}


def fill(text: str, folder: Path) -> str:
    """The page with its tables: each follows its mark, <!-- scale: growth --> for instance, and ends with another.

    Args:
        text: with marks, and whatever stood between them before.
        folder: where scale_*.json lie, if there are any.

    Raises:
        KeyError: a mark that no table belongs to.
    """
    measured = machines(folder)

    def made(mark: re.Match) -> str:
        table = '*Not measured yet: `make bench ARGS="--out docs/results/scale_cpu.json"`.*'
        make = TABLES[mark[1]]
        if measured:
            table = make(measured)
        return f"<!-- scale: {mark[1]} -->\n{table}\n<!-- /scale: {mark[1]} -->"

    marks = r"<!-- scale: (.+?) -->(?:.*?<!-- /scale: \1 -->)?"
    return re.sub(marks, made, text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text("utf-8"), ROOT / "docs" / "results"), "utf-8")
