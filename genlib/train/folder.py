"""The folder of a run: what was asked for, how it went, and a checkpoint that is never half written."""

import csv
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.optim import Optimizer

from genlib.data.folders import whole_file

FORMAT = "genlib run 1"
UNKNOWN = 64 * "0"  # in the place of a file's checksum, while that is computed


class RunError(Exception):
    """What is wrong with a run, in one line that says what to do about it."""


class RunFolder:
    """Where a run lives: `config.json`, `metrics.csv` and `checkpoint.safetensors`.

    The checkpoint is one file, so it is replaced in one move: weights, optimisers, random numbers and
    progress always belong together. It is in the safetensors format, which holds tensors and text and
    no code; a checksum tells a damaged file from a whole one. `config.json` is written once, before
    anything else. `metrics.csv` only grows: rows that a checkpoint does not know of are cut off when
    the run goes on from it.

    Args:
        path: the folder; it need not exist.

    Example:
        >>> import tempfile
        >>> folder = RunFolder(Path(tempfile.mkdtemp()) / "run")
        >>> folder.create({"model": "vae"})
        >>> folder.save({"w": torch.ones(2)}, {"step": 5})
        >>> tensors, facts = folder.load()
        >>> tensors["w"], facts["step"]
        (tensor([1., 1.]), 5)
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.metrics = path / "metrics.csv"
        self.checkpoint = path / "checkpoint.safetensors"

    # What was asked for. --------------------------------------------------------------------------

    def create(self, config: Mapping[str, object]) -> None:
        """Make the folder, and write down what was asked for.

        Raises:
            RunError: there is something in it already, or it cannot be written.
        """
        if self.config.exists():
            raise RunError(
                f"there is a run in {self.path} already: go on with it by --resume, "
                "or choose another --out"
            )
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunError(f"{self.path} is not an empty folder: choose another --out")
        self._write(self.config, json.dumps(config, indent=2).encode() + b"\n")

    def read_config(self) -> dict:
        """What was asked for.

        Raises:
            RunError: no run is here, or the file is damaged.
        """
        try:
            config = json.loads(self.config.read_bytes())
        except FileNotFoundError:
            raise RunError(
                f"there is no run in {self.path}: it has no config.json. "
                "`python -m genlib train` makes one"
            ) from None
        except OSError as error:
            raise RunError(f"cannot read {self.config}: {error.strerror}") from None
        except ValueError as error:
            raise RunError(
                f"{self.config} is damaged ({error}): restore it from a copy, or train anew"
            ) from None
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise RunError(f"{self.config} is not the configuration of a run of this version")
        return config

    def fingerprint(self) -> str:
        """Tells this run from any other: a checksum of its configuration."""
        return hashlib.sha256(self.config.read_bytes()).hexdigest()

    # The checkpoint. ------------------------------------------------------------------------------

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
        """Replace the checkpoint; if that fails, the one before is still there, whole.

        Args:
            tensors: by name, on any device.
            facts: whatever JSON can hold.

        Raises:
            RunError: it cannot be written; the disk is full, for instance.
        """
        held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps({**facts, "run": self.fingerprint()})
        notes = {"format": FORMAT, "facts": text, "checksum": UNKNOWN}
        data = safetensors.torch.save(held, notes)
        data = data.replace(UNKNOWN.encode(), hashlib.sha256(data).hexdigest().encode(), 1)
        # rows first: a checkpoint never knows of rows that are not on the disk
        if self.metrics.exists():
            with self.metrics.open("rb+") as file:
                os.fsync(file.fileno())
        self._write(self.checkpoint, data)

    def load(self) -> tuple[dict[str, Tensor], dict]:
        """The tensors and the facts of the last checkpoint.

        Raises:
            RunError: there is none, it is damaged, or it is another run's.
        """
        advice = "restore it from a copy, or train anew with another --out"
        try:
            data = self.checkpoint.read_bytes()
            size = int.from_bytes(data[:8], "little")
            notes = json.loads(data[8 : 8 + size]).get("__metadata__", {})
            if notes.get("format") != FORMAT:
                raise RunError(f"{self.checkpoint} is not a checkpoint of genlib: {advice}")
            blank = data.replace(notes["checksum"].encode(), UNKNOWN.encode(), 1)
            if hashlib.sha256(blank).hexdigest() != notes["checksum"]:
                raise ValueError("its checksum is wrong")
            tensors, facts = safetensors.torch.load(data), json.loads(notes["facts"])
        except FileNotFoundError:
            raise RunError(
                f"{self.path} has no checkpoint yet: go on with `python -m genlib train --out "
                f"{self.path} --resume`"
            ) from None
        except OSError as error:
            raise RunError(f"cannot read {self.checkpoint}: {error.strerror}") from None
        except (ValueError, KeyError, AttributeError, SafetensorError) as error:
            raise RunError(f"{self.checkpoint} is damaged ({error}): {advice}") from None
        if facts["run"] != self.fingerprint():
            raise RunError(
                f"{self.checkpoint} is the checkpoint of another run: its configuration is not "
                f"that in {self.config}. Put the two that belong together into one folder"
            )
        return tensors, facts

    # The metrics. ---------------------------------------------------------------------------------

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row; the first one brings the names of the columns with it.

        Raises:
            RunError: it cannot be written.
        """
        try:
            new = not self.metrics.exists()
            with self.metrics.open("a", newline="") as file:
                writer = csv.DictWriter(file, list(row))
                if new:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise _cannot_write(self.metrics, error) from None

    def rows(self) -> list[dict[str, float]]:
        """All whole rows so far; the last one may have been cut short by a kill, and is left out."""
        if not self.metrics.exists():
            return []
        text = self.metrics.read_text(errors="replace")
        whole = text[: text.rfind("\n") + 1]
        return [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(whole.splitlines())
        ]

    def forget_after(self, step: int) -> None:
        """Cut off the rows of updates after this one: the run goes on from there, and writes them anew.

        Raises:
            RunError: the file is not a table of steps, or cannot be written.
        """
        if not self.metrics.exists():
            return
        lines = self.metrics.read_text(errors="replace").splitlines(keepends=True)
        try:
            kept = [
                line
                for line in lines[1:]
                if line.endswith("\n") and int(line.split(",")[0]) <= step
            ]
            if lines and not lines[0].startswith("step,"):
                raise ValueError
        except ValueError:
            raise RunError(
                f"{self.metrics} is damaged: move it away, and the run goes on with a new one"
            ) from None
        if kept:
            self._write(self.metrics, "".join(lines[:1] + kept).encode())
        else:
            self.metrics.unlink()

    def clean(self) -> None:
        """Remove what writes that were killed have left: files that never got their real name."""
        for path in (self.checkpoint, self.metrics, self.config):
            for unfinished in self.path.glob(f"{path.stem}-????????{path.suffix}"):
                unfinished.unlink()

    def _write(self, path: Path, data: bytes) -> None:
        try:
            with whole_file(path) as unfinished:
                unfinished.write_bytes(data)
        except OSError as error:
            raise _cannot_write(path, error) from None


def _cannot_write(path: Path, error: OSError) -> RunError:
    return RunError(
        f"cannot write {path}: {error.strerror}. What was there before is untouched: make room, or "
        "mend the folder, and go on with --resume"
    )


# Optimisers as tensors and text. --------------------------------------------------------------------


def pack(state: object, name: str, tensors: dict[str, Tensor]) -> object:
    """A nested state as JSON can hold it; its tensors go into `tensors`, under names that start with `name`.

    Example:
        >>> tensors = {}
        >>> packed = pack({"state": {0: {"step": torch.tensor(3.0)}}, "lr": 0.1}, "adam", tensors)
        >>> list(tensors)
        ['adam.state.0.step']
        >>> unpack(json.loads(json.dumps(packed)), tensors)
        {'state': {0: {'step': tensor(3.)}}, 'lr': 0.1}
    """
    if isinstance(state, Tensor):
        tensors[name] = state
        return {"tensor": name}
    if isinstance(state, Mapping):  # as pairs: keys may be numbers, which JSON would make text
        return {"dict": [[k, pack(v, f"{name}.{k}", tensors)] for k, v in state.items()]}
    if isinstance(state, list | tuple):
        kind = "list" if isinstance(state, list) else "tuple"
        return {kind: [pack(v, f"{name}.{i}", tensors) for i, v in enumerate(state)]}
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise TypeError(f"{name} is a {type(state).__name__}, which is neither a tensor nor JSON")


def unpack(packed: object, tensors: Mapping[str, Tensor]) -> object:
    """The state that `pack` has taken apart.

    Raises:
        KeyError: a tensor is missing.
    """
    if not isinstance(packed, dict):
        return packed
    ((kind, value),) = packed.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {k: unpack(v, tensors) for k, v in value}
    parts = [unpack(v, tensors) for v in value]
    return parts if kind == "list" else tuple(parts)


def restore_optimizer(optimizer: Optimizer, state: dict) -> None:
    """Give an optimiser the state that it had, laid out in memory as its parameters are.

    A fused optimiser walks over a parameter and its averages as they lie in memory. A file holds
    numbers in plain order, so those of a parameter that is channels last must be put in its order.
    """
    optimizer.load_state_dict(state)
    for p, of in optimizer.state.items():
        for name, value in of.items():
            if isinstance(value, Tensor) and value.shape == p.shape:
                of[name] = torch.empty_like(p, dtype=value.dtype).copy_(value)
