"""`python -m genlib train`: what was asked for becomes the settings of a run."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from genlib.train.config import EPOCHS, Checkpoints, Config, read_run
from genlib.train.folder import RunError, RunFolder
from genlib.train.recipes import read_options, recipe
from genlib.train.settings import flag_of, settings_of
from genlib.train.terminal import (
    command_line,
    one_line_errors,
    progress_bar,
    with_settings,
)

BUDGETS = ("epochs", "minutes", "cpu_minutes")


@with_settings(Config, Checkpoints)
def train(
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder of the run", show_default=False)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with the run in DIR, from its last checkpoint")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="an option of the model, as in --set hidden_dim=64",
            rich_help_panel="Model",
        ),
    ] = None,
    **given: Any,
) -> None:
    """Train MODEL and keep it in DIR; with --resume, go on where it stopped.

    Ctrl-C saves a checkpoint first. A run that was killed goes on from its last one, and ends where
    it would have ended without the kill, to the bit, if its budget is in epochs.
    """
    with one_line_errors():
        if out is None:
            raise RunError("say where the run is to be kept: --out DIR")
        asked = {name: value for name, value in given.items() if value is not None}
        when = {name: asked.pop(name) for name in settings_of(Checkpoints) if name in asked}
        _train(asked, set_ or [], out, resume, Checkpoints(**when))


def _train(
    given: dict[str, Any], options: list[str], out: Path, resume: bool, checkpoints: Checkpoints
) -> None:
    from genlib.data import load
    from genlib.train import devices, loop

    folder = RunFolder(out)
    if "accelerator" in given:
        given["accelerator"] = devices.choose_accelerator(given["accelerator"])
    if resume:
        config, _ = read_run(folder)
        refuse_changes(config, given, options)
    else:
        config = new_settings(given, options)
    data = load(config.data, "train", size=config.size)
    first = devices.first_process(config)
    with progress_bar(show=first) as (bar, say):
        if first:
            say(f"{config.model} on {len(data):,} images of {config.data}, in {out}")
        outcome, training = loop.train(
            config,
            data,
            folder,
            resume=resume,
            callbacks=loop.Callbacks(bar, say),
            checkpoints=checkpoints,
        )
    if not training.fabric.is_global_zero:
        return
    step, minutes = training.step, training.spent()["seconds"] / 60
    if outcome == "stopped":
        go_on = command_line("train", "--out", out, "--resume")
        typer.echo(f"stopped at update {step}, and saved. Go on with: {go_on}")
        raise typer.Exit(130)
    last = (folder.rows() or [{}])[-1]
    losses = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if "loss" in name)
    typer.echo(f"done: {step:,} updates in {minutes:.1f} minutes; {losses}")
    drawn = f"{command_line('sample', out)} or " if hasattr(training.model, "sample") else ""
    typer.echo(f"Next: {drawn}{command_line('evaluate', out)}")


def new_settings(given: dict[str, Any], options: list[str]) -> Config:
    """The settings of a new run: what was given, and defaults for the rest; refuses the impossible."""
    from genlib.train import devices

    for name, hint in (("model", "MODEL"), ("data", "--data NAME")):
        if name not in given:
            raise RunError(f"say what to train, and on what: {hint} is missing")
    budget = [name for name in BUDGETS if name in given]
    if len(budget) > 1:
        flags = ", ".join(map(flag_of, budget))
        raise RunError(f"a run has one budget, not {len(budget)}: choose one of {flags}")
    how = recipe(given["model"])
    defaults: dict[str, Any] = {"batch_size": how.batch_size, "learning_rate": how.learning_rate}
    if not budget:
        defaults["epochs"] = EPOCHS
    if how.binary:
        defaults["binary"] = True  # that is what it is for
    torchrun = devices.launched_by_torchrun()
    if torchrun:
        defaults["devices"], defaults["nodes"] = torchrun
    defaults["accelerator"] = devices.choose_accelerator("auto")
    chosen = {**how.options, **read_options(given["model"], options)}
    return Config(**{**defaults, **given, "options": chosen})


def refuse_changes(config: Config, given: dict[str, Any], options: list[str]) -> None:
    """A run goes on as it began: each setting that is asked for and differs is refused."""
    was = dataclasses.asdict(config)
    changed = [
        f"{flag_of(name)} was {was[name]}, not {value}"
        for name, value in given.items()
        if value != was[name]
    ]
    if "model" not in given or given["model"] == config.model:
        held = {**recipe(config.model).options, **config.options}
        changed += [
            f"--set {name} was {held[name]}, not {value}"
            for name, value in read_options(config.model, options).items()
            if value != held[name]
        ]
    if changed:
        raise RunError(
            f"--resume goes on with the settings the run began with: {'; '.join(changed)}. Leave "
            "them out, or begin a new run in another --out"
        )
