"""The commands of `python -m genlib`: what they take, what they print, how they refuse."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console(highlight=False)

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Split = Literal["train", "test"]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a run")]


class Refused(Exception):
    """One line that says what is wrong and what to do."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What goes wrong for a reason that the user can mend is said in one line; exit code 2."""
    from genlib.train import RunError

    try:
        yield
    except (Refused, RunError, ValueError, FileNotFoundError) as error:
        typer.echo(f"genlib: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(_exit_code()) from None


def _exit_code() -> int:
    """2; in the helpers that Fabric has started 0, since it would kill the first process otherwise."""
    helper = int(os.environ.get("LOCAL_RANK", 0)) > 0 and "TORCHELASTIC_RUN_ID" not in os.environ
    return 0 if helper else 2


@app.callback()
def genlib() -> None:
    """Train the models of the course on a laptop or on many GPUs, draw from them, measure them.

    A run lives in a folder: its settings, its metrics, and a checkpoint that survives a kill.

    Begin with `python -m genlib train gated_pixelcnn --data digits --out runs/first --epochs 5`,
    and go on with `sample`, `evaluate` or `info`, and the folder.
    """


@app.command()
def train(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="what to train; `models` lists them", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder of the run", show_default=False)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="bars, digits, colour_digits, strokes, mnist, ..."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with the run in DIR, from its last checkpoint")
    ] = False,
    epochs: Annotated[
        float | None,
        typer.Option(help="passes over the data (default 10)", rich_help_panel="Budget"),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="or minutes by the clock on the wall", rich_help_panel="Budget"),
    ] = None,
    cpu_minutes: Annotated[
        float | None,
        typer.Option(
            help="or minutes of processor time, all threads together", rich_help_panel="Budget"
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="an option of the model, as in --set channels=64",
            rich_help_panel="Model",
        ),
    ] = None,
    conditional: Annotated[
        bool | None,
        typer.Option("--conditional", help="give it the labels", rich_help_panel="Model"),
    ] = None,
    binary: Annotated[
        bool | None,
        typer.Option(
            "--binary",
            help="draw each pixel black or white, anew in each batch",
            rich_help_panel="Model",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="images an update, on all devices (default: the model's)",
            rich_help_panel="Training",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="the highest reached (default: the model's)", rich_help_panel="Training"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="of weights, order and noise (default 0)", rich_help_panel="Training"),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="take only the first images", rich_help_panel="Training")
    ] = None,
    accelerator: Annotated[
        Accelerator | None,
        typer.Option(help="default: auto, a GPU if there is one", rich_help_panel="Machine"),
    ] = None,
    devices: Annotated[
        int | None, typer.Option(help="in this machine (default 1)", rich_help_panel="Machine")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(help="machines (default 1)", rich_help_panel="Machine")
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(help="of the arithmetic (default 32-true)", rich_help_panel="Machine"),
    ] = None,
    compile: Annotated[
        bool | None,
        typer.Option("--compile", help="networks, by torch.compile", rich_help_panel="Machine"),
    ] = None,
    channels_last: Annotated[
        bool | None,
        typer.Option(
            "--channels-last", help="lay images out pixel by pixel", rich_help_panel="Machine"
        ),
    ] = None,
    tf32: Annotated[
        bool | None,
        typer.Option("--tf32", help="short products on an NVIDIA GPU", rich_help_panel="Machine"),
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(help="between checkpoints", rich_help_panel="Machine")
    ] = 5.0,
    checkpoint_steps: Annotated[
        int | None,
        typer.Option(help="or updates between checkpoints", rich_help_panel="Machine"),
    ] = None,
) -> None:
    """Train MODEL and keep it in DIR; with --resume, go on where it stopped.

    Ctrl-C saves a checkpoint first. A run that was killed goes on from its last one, and ends where
    it would have ended without the kill, to the bit, if its budget is in epochs.
    """
    given = {
        "model": model, "data": data, "epochs": epochs, "minutes": minutes,
        "cpu_minutes": cpu_minutes, "batch_size": batch_size, "learning_rate": learning_rate,
        "seed": seed, "size": size, "conditional": conditional, "binary": binary,
        "accelerator": accelerator, "devices": devices, "nodes": nodes, "precision": precision,
        "compile": compile, "channels_last": channels_last, "tf32": tf32,
    }  # fmt: skip
    with one_line_errors():
        if out is None:
            raise Refused("say where the run is to be kept: --out DIR")
        if checkpoint_minutes <= 0 or (checkpoint_steps is not None and checkpoint_steps < 1):
            raise Refused("--checkpoint-minutes must be above 0 and --checkpoint-steps at least 1")
        _train(
            {name: value for name, value in given.items() if value is not None},
            set_ or [],
            out,
            resume,
            60 * checkpoint_minutes,
            checkpoint_steps,
        )


def _train(
    given: dict[str, Any],
    options: list[str],
    out: Path,
    resume: bool,
    checkpoint_seconds: float,
    checkpoint_steps: int | None,
) -> None:
    from genlib.data import load
    from genlib.train import RunFolder, loop, read_settings

    folder = RunFolder(out)
    if "accelerator" in given:
        given["accelerator"] = loop.choose_accelerator(given["accelerator"])
    if resume:
        config = read_settings(folder)
        refuse_changes(config, given, options)
    else:
        config = new_settings(given, options)
    data = load(config.data, "train", config.size)
    with progress_bar(show=loop.first_process()) as (bar, say):
        if loop.first_process():
            say(f"{config.model} on {len(data):,} images of {config.data}, in {out}")
        outcome, training = loop.train(
            config,
            data,
            folder,
            resume=resume,
            watcher=loop.Watcher(bar, say),
            checkpoint_seconds=checkpoint_seconds,
            checkpoint_steps=checkpoint_steps,
        )
    if not training.fabric.is_global_zero:
        return
    step, minutes = training.step, training.spent()["seconds"] / 60
    if outcome == "stopped":
        typer.echo(
            f"stopped at update {step}, and saved. Go on with: "
            f"python -m genlib train --out {out} --resume"
        )
        raise typer.Exit(130)
    last = (folder.rows() or [{}])[-1]
    losses = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if "loss" in name)
    typer.echo(f"done: {step:,} updates in {minutes:.1f} minutes; {losses}")
    drawn = "" if config.model == "autoencoder" else f"python -m genlib sample {out} or "
    typer.echo(f"Next: {drawn}python -m genlib evaluate {out}")


def new_settings(given: dict[str, Any], options: list[str]) -> Any:
    """The settings of a new run: what was given, and defaults for the rest.

    Raises:
        Refused, ValueError: something is missing or impossible.
    """
    from genlib.train import Config, loop, read_options, recipe

    for name, hint in (("model", "MODEL"), ("data", "--data NAME")):
        if name not in given:
            raise Refused(f"say what to train, and on what: {hint} is missing")
    budget = [name for name in ("epochs", "minutes", "cpu_minutes") if name in given]
    if len(budget) > 1:
        raise Refused(f"a run has one budget, not {len(budget)}: choose one of {_flags(budget)}")
    if not budget:
        given["epochs"] = 10.0
    for name in (*budget, "batch_size", "learning_rate", "devices", "nodes"):
        if name in given and not given[name] > 0:
            raise Refused(f"{_flag(name)} must be above 0, not {given[name]}")
    how = recipe(given["model"])
    defaults: dict[str, Any] = {"batch_size": how.batch_size, "learning_rate": how.learning_rate}
    if how.binary:
        defaults["binary"] = True  # that is what it is for
    torchrun = loop.launched_by_torchrun()
    if torchrun:
        defaults["devices"], defaults["nodes"] = torchrun
    defaults["accelerator"] = loop.choose_accelerator("auto")
    return Config(
        **{
            **defaults,
            **given,
            "options": {**how.options, **read_options(given["model"], options)},
        }
    )


def refuse_changes(config: Any, given: dict[str, Any], options: list[str]) -> None:
    """A run goes on as it began; whatever else is asked for would make it another run.

    Raises:
        Refused: with each setting that differs.
    """
    from genlib.train import read_options

    was = dataclasses.asdict(config)
    changed = [
        f"{_flag(name)} was {was[name]}, not {value}"
        for name, value in given.items()
        if value != was[name]
    ]
    if "model" not in given or given["model"] == config.model:
        changed += [
            f"--set {name} was {config.options[name]}, not {value}"
            for name, value in read_options(config.model, options).items()
            if value != config.options[name]
        ]
    if changed:
        raise Refused(
            f"--resume goes on with the settings the run began with: {'; '.join(changed)}. Leave "
            "them out, or begin a new run in another --out"
        )


def _flag(name: str) -> str:
    return "MODEL" if name == "model" else "--" + name.replace("_", "-")


def _flags(names: Sequence[str]) -> str:
    return ", ".join(map(_flag, names))


@contextmanager
def progress_bar(
    show: bool,
) -> Iterator[tuple[Callable[[float, dict[str, float]], None], Callable[[str], None]]]:
    """A bar where somebody can see it move, lines elsewhere: what it shows, and what it says."""
    if not show:
        yield (lambda done, row: None), (lambda line: None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    moving = console.is_terminal
    with Progress(*columns, console=console, disable=not moving, transient=True) as progress:
        task = progress.add_task("training", total=1.0)

        def bar(done: float, row: dict[str, float]) -> None:
            losses = " ".join(f"{k} {v:.3f}" for k, v in row.items() if "loss" in k)
            progress.update(task, completed=done, description=losses or "training")

        def say(line: str) -> None:
            console.print(escape(line), soft_wrap=True)

        yield bar, say


@app.command()
def sample(
    folder: Folder,
    n: Annotated[int, typer.Option(help="how many images")] = 64,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="default: DIR/samples.png", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="the same seed draws the same images")] = 0,
    label: Annotated[
        int | None, typer.Option(help="of a conditional model: draw this class only")
    ] = None,
    accelerator: Annotated[Accelerator, typer.Option(help="where to draw")] = "auto",
) -> None:
    """Draw images from the model in DIR, and make a picture of them."""
    with one_line_errors():
        import matplotlib
        import torch

        matplotlib.use("agg")
        import matplotlib.pyplot as plt

        from genlib.data.folders import whole_file
        from genlib.plots import show_images
        from genlib.train.measure import check_can_sample

        if n < 1:
            raise Refused(f"--n must be at least 1, not {n}")
        model, _, _ = load_run(folder, accelerator)
        check_can_sample(model)
        n_classes = getattr(model, "n_classes", 0)
        if label is not None and not 0 <= label < n_classes:
            raise Refused(
                f"--label must be 0 to {n_classes - 1}, not {label}"
                if n_classes
                else "this model has learnt no labels: leave --label out, or train it --conditional"
            )
        torch.manual_seed(seed)
        device = next(model.parameters()).device
        labels = torch.arange(n) % n_classes if n_classes else None
        if labels is not None and label is not None:
            labels = torch.full((n,), label)
        x = model.sample(n, *(() if labels is None else (labels.to(device),))).cpu()
        path = out or folder / "samples.png"
        try:
            show_images(x)
            with whole_file(path) as unfinished:
                plt.savefig(unfinished, format="png")
        except OSError as error:
            raise Refused(f"cannot write {path}: {error.strerror}") from None
        finally:
            plt.close("all")
        typer.echo(f"{n} images drawn with seed {seed}: {path}")


@app.command()
def evaluate(
    folder: Folder,
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="default: what it was trained on", show_default=False),
    ] = None,
    split: Annotated[Split, typer.Option(help="which images")] = "test",
    likelihood: Annotated[
        bool, typer.Option("--likelihood", help="only the likelihood, or the bound on it")
    ] = False,
    samples: Annotated[
        bool,
        typer.Option(
            "--samples", help="only what samples show: Frechet distance, precision, recall"
        ),
    ] = False,
    n: Annotated[int, typer.Option(help="samples to compare with as many images")] = 1000,
    codes: Annotated[int, typer.Option(help="codes an image for a VAE's bound")] = 500,
    size: Annotated[int | None, typer.Option(help="take only the first images")] = None,
    seed: Annotated[int, typer.Option(help="of whatever is drawn")] = 0,
    accelerator: Annotated[Accelerator, typer.Option(help="where to compute")] = "auto",
) -> None:
    """Measure the model in DIR, by what its kind can honour: a likelihood, a bound, or samples only."""
    with one_line_errors():
        import torch

        from genlib.data import load
        from genlib.train import measure

        if codes < 1:
            raise Refused(f"--codes must be at least 1, not {codes}")
        model, config, facts = load_run(folder, accelerator)
        train_set = load(config.data, "train", config.size)
        name = data or config.data
        images = load(name, split, size)
        if images.shape != train_set.shape or (images.levels != train_set.levels):
            raise Refused(
                f"{name} has images {images.shape} of {images.levels} levels, and the model was made "
                f"for {train_set.shape} of {train_set.levels}"
            )
        torch.manual_seed(seed)
        lines = measure.measure(
            model,
            config,
            measure.as_trained(train_set, config, "train"),
            measure.as_trained(images, config, split),
            likelihood=likelihood,
            samples=samples,
            n=n,
            codes=codes,
        )
        how = (
            ", drawn black or white from a fixed seed"
            if config.binary and images.levels > 2
            else ""
        )
        typer.echo(
            f"{config.model} after {facts['step']:,} updates, on {len(images):,} {split} images of "
            f"{name}{how}"
        )
        width = max(map(len, lines))
        for what, value in lines.items():
            typer.echo(f"  {what:{width}}  {value}")


@app.command()
def info(folder: Folder) -> None:
    """Print the settings of the run in DIR, how far it is, and its last metrics."""
    with one_line_errors():
        from genlib.train import RunFolder, load_model, read_settings

        run = RunFolder(folder)
        config = read_settings(run)
        model, facts = load_model(run)
        images = run.read_config()["images"]
        settings = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in dataclasses.asdict(config).items():
            if value is None or value is False:
                continue
            text = " ".join(f"{k}={v}" for k, v in value.items()) if name == "options" else value
            settings.add_row(name.replace("_", " "), escape(str(text)))
        parameters = sum(p.numel() for p in model.parameters())
        settings.add_row(
            "images",
            f"{images['number']:,} of shape {tuple(images['shape'])}, {images['levels']} levels",
        )
        settings.add_row("parameters", f"{parameters:,} in {type(model).__name__}")
        settings.add_row("updates", f"{facts['step']:,}")
        settings.add_row(
            "time",
            f"{facts['seconds'] / 60:.1f} min by the clock, {facts['cpu_seconds'] / 60:.1f} of processor time",
        )
        console.print(settings)
        rows = run.rows()[-5:]
        if rows:
            metrics = Table(box=None, padding=(0, 2, 0, 0))
            for name in rows[0]:
                metrics.add_column(name.replace("_", " "), justify="right")
            for row in rows:
                metrics.add_row(*(f"{value:.5g}" for value in row.values()))
            console.print()
            console.print(metrics)


@app.command()
def models() -> None:
    """List the models that `train` knows, with their options."""
    with one_line_errors():
        from genlib.train import RECIPES

        for name, how in RECIPES.items():
            typer.echo(f"{name:16} {how.what}")
            options = " ".join(f"{k}={v}" for k, v in how.options.items())
            typer.echo(f"{'':16} --set {options}")


def load_run(folder: Path, accelerator: str) -> tuple[Any, Any, dict]:
    """The model of a run on a device, its settings, and the facts of its checkpoint."""
    import torch

    from genlib.train import RunFolder, load_model, read_settings

    run = RunFolder(folder)
    config = read_settings(run)
    model, facts = load_model(run)
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    there = accelerator == "cpu" or torch.get_device_module(accelerator).is_available()
    if not there:
        raise Refused(f"there is no such device: {accelerator}; take --accelerator cpu")
    return model.to(accelerator), config, facts
