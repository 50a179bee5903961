"""The folder of a run: what was asked for, how it went, and a checkpoint that is never half written."""

import csv
import errno
import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from genlib.data.folders import whole_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = "genlib run 2"
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
        >>> import tempfile, torch
        >>> folder = RunFolder(Path(tempfile.mkdtemp()) / "run")
        >>> folder.create({"model": "vae"})
        >>> folder.save({"w": torch.ones(2)}, {"step": 5})
        >>> tensors, metadata = folder.load()
        >>> tensors["w"], metadata["step"]
        (tensor([1., 1.]), 5)
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.metrics = path / "metrics.csv"
        self.checkpoint = path / "checkpoint.safetensors"

    # What was asked for. --------------------------------------------------------------------------

    def create(self, config: Mapping[str, object]) -> None:
        """Make the folder, and write down what was asked for; one with something in it is refused."""
        if self.config.exists():
            raise RunError(
                f"there is a run in {self.path} already: go on with it by --resume, "
                "or choose another --out"
            )
        with _reading(self.path):
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise RunError(f"{self.path} is not an empty folder: choose another --out")
        self._write(self.config, json.dumps(config, indent=2).encode() + b"\n")

    def read_config(self) -> dict:
        """What was asked for; a RunError where no run is, or the file is damaged."""
        if not self.config.exists():
            raise RunError(
                f"there is no run in {self.path}: it has no config.json. "
                "`python -m genlib train` makes one"
            )
        try:
            config = json.loads(_bytes_of(self.config))
        except ValueError as error:
            raise RunError(
                f"{self.config} is damaged ({error}): restore it from a copy, or train anew"
            ) from None
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise RunError(f"{self.config} is not the configuration of a run of this version")
        return config

    def fingerprint(self) -> str:
        """Tells this run from any other: a checksum of its configuration."""
        return hashlib.sha256(_bytes_of(self.config)).hexdigest()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep the run to this process until the block ends, or the process does, however it does.

        The lock is the system's own, on `config.json`: a process that was killed leaves none behind.
        Where there are no such locks (Windows, some network disks), nothing is refused.

        Raises:
            RunError: another process trains this run.
        """
        with _writing(self.config):
            file = self.config.open("rb+")  # a network disk locks only what may be written
        with file:
            try:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise RunError(
                        f"another process is training the run in {self.path}: wait for it, or stop "
                        "it, and go on with --resume then"
                    ) from None
            yield

    # The checkpoint. ------------------------------------------------------------------------------

    def save(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, object]) -> None:
        """Replace the checkpoint by tensors, on any device, and what JSON can hold.

        Raises:
            RunError: the disk is full, for instance; then the checkpoint before is still there, whole.
        """
        held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps({**metadata, "run": self.fingerprint()})
        notes = {"format": FORMAT, "metadata": text, "checksum": UNKNOWN}
        data = safetensors.torch.save(held, notes)
        data = data.replace(UNKNOWN.encode(), hashlib.sha256(data).hexdigest().encode(), 1)
        # rows first: a checkpoint never knows of rows that are not on the disk
        if self.metrics.exists():
            with _writing(self.metrics), self.metrics.open("rb+") as file:
                os.fsync(file.fileno())
        self._write(self.checkpoint, data)

    def load(self) -> tuple[dict[str, Tensor], dict]:
        """The tensors and the metadata of the last checkpoint.

        Raises:
            RunError: there is none, it is damaged, or it is another run's.
        """
        advice = "restore it from a copy, or train anew with another --out"
        if not self.checkpoint.exists():
            raise RunError(
                f"{self.path} has no checkpoint yet: go on with `python -m genlib train --out "
                f"{shlex.quote(str(self.path))} --resume`"
            )
        data = _bytes_of(self.checkpoint)
        try:
            size = int.from_bytes(data[:8], "little")
            notes = json.loads(data[8 : 8 + size]).get("__metadata__", {})
            if notes.get("format") != FORMAT:
                raise RunError(f"{self.checkpoint} is not a checkpoint of genlib: {advice}")
            blank = data.replace(notes["checksum"].encode(), UNKNOWN.encode(), 1)
            if hashlib.sha256(blank).hexdigest() != notes["checksum"]:
                raise ValueError("its checksum is wrong")
            tensors, metadata = safetensors.torch.load(data), json.loads(notes["metadata"])
        except (ValueError, KeyError, AttributeError, SafetensorError) as error:
            raise RunError(f"{self.checkpoint} is damaged ({error}): {advice}") from None
        if metadata["run"] != self.fingerprint():
            raise RunError(
                f"{self.checkpoint} is the checkpoint of another run: its configuration is not "
                f"that in {self.config}. Put the two that belong together into one folder"
            )
        return tensors, metadata

    # The metrics. ---------------------------------------------------------------------------------

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row; the first one brings the names of the columns with it."""
        new = not self.metrics.exists()
        with _writing(self.metrics), self.metrics.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)

    def rows(self) -> list[dict[str, float]]:
        """All whole rows so far; the last one may have been cut short by a kill, and is left out."""
        if not self.metrics.exists():
            return []
        text = _bytes_of(self.metrics).decode(errors="replace")
        whole = text[: text.rfind("\n") + 1]
        return [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(whole.splitlines())
        ]

    def forget_after(self, step: int) -> None:
        """Cut off the rows of updates after this one: the run goes on from there, and writes them anew."""
        if not self.metrics.exists():
            return
        lines = _bytes_of(self.metrics).decode(errors="replace").splitlines(keepends=True)
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
            with _writing(self.metrics):
                self.metrics.unlink()

    def clean(self) -> None:
        """Remove what writes that were killed have left: files that never got their real name."""
        for path in (self.checkpoint, self.metrics, self.config):
            for unfinished in self.path.glob(f"{path.stem}-????????{path.suffix}"):
                with _writing(unfinished):
                    unfinished.unlink()

    def _write(self, path: Path, data: bytes) -> None:
        with _writing(path), whole_file(path) as unfinished:
            unfinished.write_bytes(data)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror}. What was there before is untouched: make room, "
            "or mend the folder, and go on with --resume"
        ) from None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None


def _bytes_of(path: Path) -> bytes:
    with _reading(path):
        return path.read_bytes()
