"""Is everything there that the course needs? Lesson Start here asks; each answer comes with its cure.

It imports nothing but the standard library before it has looked, so that it can say what is missing.
"""

import importlib
import importlib.metadata
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# what the lessons import, by the name of the package that brings it
NEEDED = {
    "genlib": "genlib",
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "matplotlib": "matplotlib",
    "scikit-learn": "sklearn",
    "tqdm": "tqdm",
    "ipywidgets": "ipywidgets",
    "ipyevents": "ipyevents",
    "safetensors": "safetensors",
}
REAL = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw", "cifar10": "cifar-10-batches-py"}
SET_UP = "run `make setup` in the folder of the course, then restart the kernel"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Args:
        what: its name.
        found: what is there, in a few words.
        good: whether the lessons can do with it as it is.
        cure: what to do, where there is something to do.
    """

    what: str
    found: str
    good: bool = True
    cure: str = ""

    def __str__(self) -> str:
        line = f"{'ok     ' if self.good else 'MISSING'} {self.what:<14} {self.found}"
        return line + (f"\n{'':23}-> {self.cure}" if self.cure else "")


def check_environment() -> list[Finding]:
    """Everything that lesson Start here looks for: versions, device, threads, data.

    Example:
        >>> from course import start
        >>> [finding.what for finding in start.check_environment()][:2]
        ['Python', 'genlib']
    """
    return [*versions(), *hardware(), *data()]


def ready(findings: list[Finding]) -> bool:
    """Whether the lessons can run.

    Example:
        >>> ready([Finding("torch", "not installed", good=False, cure="install it")])
        False
    """
    return all(finding.good for finding in findings)


def versions() -> Iterator[Finding]:
    """Python, and each package that the lessons import: there, of the right version, and importable."""
    new_enough = sys.version_info >= (3, 11)
    cure = "" if new_enough else "install Python 3.11 or newer, delete .venv, run `make setup`"
    yield Finding("Python", ".".join(map(str, sys.version_info[:3])), new_enough, cure)
    ranges = _ranges()
    for package, module in NEEDED.items():
        try:
            version = importlib.metadata.version(package)
            importlib.import_module(module)
        except ImportError as error:  # not there, or there and broken
            yield Finding(package, f"cannot be imported: {error}", False, SET_UP)
            continue
        wanted = ranges.get(package)
        if wanted is None or wanted.contains(version, prereleases=True):
            yield Finding(package, version)
        else:
            yield Finding(package, f"{version}, but the course needs {wanted}", False, SET_UP)


def _ranges() -> dict[str, Any]:
    """Which versions of each package the course needs, as its installation says."""
    try:
        from packaging.requirements import Requirement

        lines = importlib.metadata.requires("genlib") or []
    except ImportError:  # `versions` says what follows from it
        return {}
    needs = [Requirement(line) for line in lines]
    return {need.name: need.specifier for need in needs if need.marker is None}


def hardware() -> Iterator[Finding]:
    """Where the lessons compute, and on how many threads."""
    try:
        import torch
    except ImportError:
        return  # `versions` has said so
    if torch.cuda.is_available():
        yield Finding("device", f"cuda, {torch.cuda.get_device_name()}")
    else:
        yield Finding("device", "cpu: enough for every lesson on its own data")
    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    cure = "on a machine that others use, set OMP_NUM_THREADS=1 before Jupyter starts"
    yield Finding("threads", f"{threads} on {cores} cores", cure=cure if threads > 1 else "")


def data() -> Iterator[Finding]:
    """The data of the course, each set loaded; the real ones, looked for and not downloaded."""
    try:
        from genlib.data import load
        from genlib.data.folders import cache_folder, data_folder, home_folder
    except ImportError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no home is a finding of its own, below
        for name in ("bars", "digits", "colour_digits", "strokes"):
            yield _loaded(name, partial(load, name, size=10))
        folder, where = cache_folder(), _data_folder(data_folder)
    if home_folder() is None:
        cure = "set HOME to a folder of yours; what lies in a temporary folder may be lost"
        yield Finding("home folder", f"there is none: data are kept in {folder}", cure=cure)
    if not _writable(folder):
        cure = (
            "set XDG_CACHE_HOME to a folder of yours; without one, strokes are drawn anew each time"
        )
        yield Finding("cache folder", f"{_short(folder)} cannot be written", cure=cure)
    if isinstance(where, str):
        yield Finding("GENLIB_DATA", where, cure="give it the full name of a folder")
        return
    for name, inside in REAL.items():
        if os.path.isdir(where / inside):
            yield Finding(name, f"in {_short(where)}")
        else:
            cure = f'not needed; load("{name}") downloads it, or set GENLIB_DATA to where it lies'
            yield Finding(name, f"not in {_short(where)}", cure=cure)


def _data_folder(data_folder: Callable[[], Path]) -> Path | str:
    """Where real data are looked for, or why that cannot be said."""
    try:
        return data_folder()
    except ValueError as error:
        return str(error)


def _loaded(name: str, load: Callable[[], object]) -> Finding:
    try:
        load()
    except Exception as error:  # whatever it is, the reader must see it beside its cure
        return Finding(name, f"cannot be loaded: {error}", False, SET_UP)
    return Finding(name, "loads")


def _writable(folder: Path) -> bool:
    """Whether it can be written, or made where it is not there yet."""
    while not os.path.exists(folder):  # false as well where we may not look
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _short(folder: Path) -> str:
    """Its name as a reader would write it."""
    from genlib.data.folders import home_folder

    home = home_folder()
    below = home is not None and folder.is_relative_to(home)
    return f"~/{folder.relative_to(home)}" if home and below else str(folder)
