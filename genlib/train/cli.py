"""The commands of `python -m genlib`: what they take, what they print, how they refuse."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from genlib.train.cli_train import train
from genlib.train.folder import RunError
from genlib.train.settings import SEEDS, Setting
from genlib.train.terminal import one_line_errors

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Split = Literal["train", "test"]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a run")]
COUNT, SEED = Setting(1, low=1), Setting(0, low=SEEDS[0], high=SEEDS[1])


@app.callback()
def genlib() -> None:
    """Train the models of the course on a laptop or on many GPUs, draw from them, measure them.

    A run lives in a folder: its settings, its metrics, and a checkpoint that survives a kill.

    Begin with `python -m genlib train gated_pixelcnn --data digits --out runs/first --epochs 5`,
    and go on with `sample`, `evaluate` or `info`, and the folder.
    """


app.command()(train)


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
        from genlib.surface import n_classes_of
        from genlib.train.measure import check_can_sample

        COUNT.check("--n", n)
        SEED.check("--seed", seed)
        model, _, _ = load_run(folder, accelerator)
        check_can_sample(model)
        n_classes = n_classes_of(model)
        if label is not None and not 0 <= label < n_classes:
            raise RunError(
                f"--label must be 0 to {n_classes - 1}, not {label}"
                if n_classes
                else "this model has learnt no labels: leave --label out, or train it --conditional"
            )
        torch.manual_seed(seed)
        device = next(model.parameters()).device
        labels = torch.arange(n) % n_classes if n_classes else None
        if labels is not None and label is not None:
            labels = torch.full((n,), label)
        x = model.sample(n, y=None if labels is None else labels.to(device)).cpu()
        path = out or folder / "samples.png"
        try:
            show_images(x)
            with whole_file(path) as unfinished:
                plt.savefig(unfinished, format="png")
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}") from None
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
            "--samples", help="only what samples show: Fréchet distance, precision, recall"
        ),
    ] = False,
    n: Annotated[int, typer.Option(help="samples to compare with as many images")] = 1000,
    codes: Annotated[int, typer.Option(help="codes an image for a VAE's bound")] = 500,
    steps: Annotated[int, typer.Option(help="of noise for a diffusion's bound")] = 100,
    size: Annotated[int | None, typer.Option(help="take only the first images")] = None,
    seed: Annotated[int, typer.Option(help="of whatever is drawn")] = 0,
    accelerator: Annotated[Accelerator, typer.Option(help="where to compute")] = "auto",
) -> None:
    """Measure the model in DIR, by what its kind can compute: a likelihood, a bound, or samples only."""
    with one_line_errors():
        import torch

        from genlib.data import load
        from genlib.train import measure

        if likelihood and samples:
            raise RunError("--likelihood and --samples: each says only that, so leave one out")
        counted = {"--codes": codes, "--steps": steps, "--n": n, "--size": size or 1}
        for flag, number in counted.items():
            COUNT.check(flag, number)
        SEED.check("--seed", seed)
        model, config, metadata = load_run(folder, accelerator)
        train_set = load(config.data, "train", size=config.size)
        name = data or config.data
        images = load(name, split, size=size)
        if images.shape != train_set.shape or (images.levels != train_set.levels):
            raise RunError(
                f"{name} has images {images.shape} of {images.levels} levels, and the model was made "
                f"for {train_set.shape} of {train_set.levels}"
            )
        torch.manual_seed(seed)
        found = measure.measure(
            model,
            config,
            measure.as_trained(train_set, config, "train"),
            measure.as_trained(images, config, split),
            only="likelihood" if likelihood else "samples" if samples else None,
            n=n,
            codes=codes,
            steps=steps,
        )
        how = (
            ", drawn black or white from a fixed seed"
            if config.binary and images.levels > 2
            else ""
        )
        typer.echo(
            f"{config.model} after {metadata['step']:,} updates, on {len(images):,} {split} images of "
            f"{name}{how}"
        )
        width = max(map(len, found))
        for what, measured in found.items():
            typer.echo(f"  {what:{width}}  {in_words(measured, images.shape)}")


DIGITS = {"nats": 4, "distance": 2, "share": 3, "squared grey value": 5, "of 30": 0}


def in_words(measured: Any, shape: tuple[int, int, int]) -> str:
    """A measurement as a line shows it; nats of an image of this shape in bits as well.

    Example:
        >>> from genlib.train.measure import Measurement
        >>> in_words(Measurement(44.361, 0.5, "nats an image"), (1, 8, 8))
        '44.36 ± 0.50 nats an image, 1.0000 bits/dim'
    """
    from genlib.metrics import bits_per_dim

    digits = DIGITS.get(measured.unit, 2)
    text = f"{measured.value:.{digits}f}"
    if measured.error is not None:
        text += f" ± {measured.error:.{digits}f}"
    if measured.unit == "nats an image":
        return f"{text} nats an image, {bits_per_dim(-measured.value, shape):.4f} bits/dim"
    return f"{text} {measured.unit}" if measured.unit in ("nats", "of 30") else text


@app.command()
def info(folder: Folder) -> None:
    """Print the settings of the run in DIR, how far it is, and its last metrics."""
    with one_line_errors():
        from genlib.train import RunFolder

        model, config, metadata = load_run(folder, "cpu")
        rows = RunFolder(folder).rows()[-5:]
        images = RunFolder(folder).read_config()["images"]
        asked = dataclasses.asdict(config).items()
        shown = {name: value for name, value in asked if value is not None and value is not False}
        shown["options"] = " ".join(f"{k}={v}" for k, v in config.options.items())
        parameters = sum(p.numel() for p in model.parameters())
        shown |= {
            "images": f"{images['number']:,} of shape {tuple(images['shape'])}, "
            f"{images['levels']} levels",
            "parameters": f"{parameters:,} in {type(model).__name__}",
            "updates": f"{metadata['step']:,}",
            "time": f"{metadata['seconds'] / 60:.1f} min of wall-clock time, "
            f"{metadata['cpu_seconds'] / 60:.1f} of processor time",
        }
        for name, value in shown.items():
            typer.echo(f"{name.replace('_', ' '):15} {value}")
        width = {name: max(len(name), 9) for row in rows[:1] for name in row}
        typer.echo("  ".join(f"{name.replace('_', ' '):>{n}}" for name, n in width.items()))
        for row in rows:
            typer.echo("  ".join(f"{value:{width[name]}.5g}" for name, value in row.items()))


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
    """The model of a run on a device, its settings, and the metadata of its checkpoint."""
    import torch

    from genlib.train import RunFolder, load_model, read_run

    run = RunFolder(folder)
    config, _ = read_run(run)
    model, metadata = load_model(run)
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    there = accelerator == "cpu" or torch.get_device_module(accelerator).is_available()
    if not there:
        raise RunError(f"there is no such device: {accelerator}; take --accelerator cpu")
    return model.to(accelerator), config, metadata
