"""What the commands of `python -m genlib` share: refusals in one line, a bar, options made from settings."""

import inspect
import os
import shlex
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from genlib.train.folder import RunError
from genlib.train.settings import Setting, flag_of, settings_of

console = Console(highlight=False)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What goes wrong for a reason that the user can mend is reported in one line; exit code 2."""
    try:
        yield
    except BrokenPipeError:  # the reader has closed the pipe
        raise
    except (RunError, ValueError, OSError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename:  # the system's own words
            text = f"cannot use {error.filename}: {error.strerror}"
        typer.echo(f"genlib: {' '.join(text.split())}", err=True)
        raise typer.Exit(_exit_code()) from None


def _exit_code() -> int:
    """2; in the helpers that Fabric has started 0, since it would kill the first process otherwise."""
    helper = os.environ.get("LOCAL_RANK", "").strip() not in ("", "0")
    return 0 if helper and "TORCHELASTIC_RUN_ID" not in os.environ else 2


def command_line(*words: object) -> str:
    """A command as a shell reads it.

    Example:
        >>> print(command_line("sample", "my runs/first"))
        python -m genlib sample 'my runs/first'
    """
    return shlex.join(["python", "-m", "genlib", *map(str, words)])


def with_settings(*kinds: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each setting of some dataclasses, in place of its `**given`.

    What was not asked for comes as None, so that a command can tell it from a default.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command)
        parameters = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        for kind in kinds:
            hints = typing.get_type_hints(kind)
            parameters += [
                _parameter(name, hints[name], declared)
                for name, declared in settings_of(kind).items()
            ]
        command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def _parameter(name: str, hint: Any, declared: Setting) -> inspect.Parameter:
    default = declared.default_text
    if default is None and declared.default is not None and declared.default is not False:
        number = isinstance(declared.default, float)
        default = f"{declared.default:g}" if number else str(declared.default)
    text = declared.help + ("" if default is None else f" (default: {default})")
    if name == "model":
        about: Any = typer.Argument(metavar="MODEL", help=text, show_default=False)
    else:
        about = typer.Option(
            flag_of(name),
            metavar=declared.metavar or "|".join(declared.choices) or None,
            help=text,
            rich_help_panel=declared.panel,
            show_default=False,
        )
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=Annotated[hint | None, about])


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
