"""A jail for one kernel: bubblewrap around it, and a watch over what it uses.

The code inside sees Python, its packages, genlib and what a notebook imports, all read-only, an empty /tmp, and
nothing else: no network, no home, no solutions, no gradebook, nobody else's work, no process but its own.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import zmq
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from traitlets import Type

from course.checking.hand_in import INPUTS
from course.checking.output import LIMIT
from course.publish.build import ROOT, Client
from course.publish.student import imported

INSTALL = "sudo apt install bubblewrap"
# files of /etc that programs read; the rest of it is nobody's business
ETC = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "fonts",
    "localtime",
    "timezone",
)


MAX_MESSAGE = 8_000_000  # bytes; the largest answer, written as text, takes less


class NoJail(Exception):
    """Why there can be no jail here, and what to do."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Args:
        seconds: for the whole notebook.
        cell_seconds: for one cell.
        memory: bytes, of all its processes together.
        processes: how many, threads not counted.
        files: bytes it may write, and bytes of its largest file.
        output: bytes that one cell may print.
        pictures: bytes of the pictures that one cell may show.
        grader: bytes by which the grader may grow while it reads what is sent.
    """

    seconds: float = 300
    cell_seconds: float = 150
    memory: int = 3_000_000_000
    processes: int = 64
    files: int = 64_000_000
    output: int = 200_000
    pictures: int = 5_000_000
    grader: int = 150_000_000


def check_jail() -> None:
    """Raise NoJail where bubblewrap is missing or cannot work."""
    if shutil.which("bwrap") is None:
        raise NoJail(
            "Grading runs code that strangers wrote, so it runs in a jail, and bubblewrap, which makes the jail, "
            f"is not installed:\n\n    {INSTALL}\n\n"
            "UNSAFE=1 grades without a jail: only for code that you would run anyway."
        )
    tried = subprocess.run(
        ["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"], capture_output=True, text=True
    )
    if tried.returncode:
        raise NoJail(
            f"bubblewrap is installed but cannot make a jail here: {tried.stderr.strip()}\n"
            "It needs user namespaces, which containers and some systems forbid. Grade on another machine, or with "
            "UNSAFE=1 code that you would run anyway."
        )


def jail(argv: list[str], *, sockets: Path, inputs: Path, limits: Limits) -> list[str]:
    """The command that runs another one in the jail.

    Args:
        argv: what to run inside.
        sockets: the folder through which the kernel talks, the only one outside that it can write to.
        inputs: a file to show it at the same place.
        limits: of memory and files; the `Watch` keeps the others.
    """
    environment = Path(sys.prefix)
    # bubblewrap stays inside as the first process, and /proc shows its environment: it gets an empty one
    command = ["env", "-i", shutil.which("bwrap") or "bwrap"]
    command += ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--hostname", "jail", "--clearenv"]
    command += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            command += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            command += ["--ro-bind", str(path), str(path)]
    for name in ETC:
        command += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    command += ["--size", str(limits.files), "--tmpfs", "/dev/shm"]
    command += ["--size", str(limits.files), "--tmpfs", "/tmp"]
    for path in {sys.base_prefix, str(environment), str(ROOT / "genlib")}:
        command += ["--ro-bind", path, path]
    for path in imported(ROOT):
        command += ["--ro-bind", str(ROOT / path), str(ROOT / path)]
    command += ["--bind", str(sockets), str(sockets), "--ro-bind", str(inputs), str(inputs)]
    settings = {
        "PATH": f"{environment}/bin:/usr/bin:/bin",
        "HOME": "/tmp/home",
        "LANG": "C.UTF-8",
        "MPLCONFIGDIR": "/tmp/matplotlib",
        "PYTHONDONTWRITEBYTECODE": "1",
        **kernel_settings(inputs, limits),
    }
    for key, value in settings.items():
        command += ["--setenv", key, value]
    command += ["--dir", "/tmp/work", "--chdir", "/tmp/work", "--remount-ro", "/"]
    return [*command, "--", "prlimit", f"--fsize={limits.files}", "--core=0", *argv]


def kernel_settings(inputs: Path, limits: Limits) -> dict[str, str]:
    """What every grading kernel finds in its environment, jailed or not."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    # twice what is shown: the grader sees that there was more
    return {
        **one,
        INPUTS: str(inputs),
        LIMIT: str(2 * limits.output),
        "CUDA_VISIBLE_DEVICES": "",
    }


class GradingKernel(AsyncKernelManager):
    """Starts the kernel of one submission; `kernel_manager` says with which command."""

    client_factory = Type(Client)

    @property
    def kernel_spec(self) -> KernelSpec:
        return self._grading_spec

    def client(self, **kwargs: object) -> Client:
        context = zmq.asyncio.Context()
        # for its sockets: a larger message is not read at all
        context.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        return super().client(context=context, **kwargs)


def kernel_manager(*, sockets: Path, inputs: Path, limits: Limits, jailed: bool) -> GradingKernel:
    """A kernel manager whose kernel is in the jail and talks through files, since it has no network.

    Args:
        sockets: an empty folder with a short path: names of sockets have room for 100 characters.
        inputs: the grader's questions.
        limits: see `jail`.
        jailed: False runs the kernel in the open.
    """
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    argv += ["--log-level=ERROR", "--HistoryManager.enabled=False"]
    argv += ["--IPKernelApp.extra_extensions=course.checking.output"]
    if jailed:
        argv = jail(argv, sockets=sockets, inputs=inputs, limits=limits)
    manager = GradingKernel(
        transport="ipc",
        ip=str(sockets / "k"),
        connection_file=str(sockets / "connection.json"),
    )
    # a signal would reach bubblewrap and not the kernel
    manager._grading_spec = KernelSpec(argv=argv, interrupt_mode="message", language="python")
    return manager


class Watch(threading.Thread):
    """Ends the jail when it uses more than it may: what a limit for one process cannot see.

    Args:
        process: id of the jail's first process.
        sockets: the folder outside that it can write to.
        limits: what it may use.

    Attributes:
        reason: why it was ended; None while it was not.
    """

    def __init__(self, process: int, sockets: Path, limits: Limits):
        super().__init__(daemon=True)
        self.process, self.sockets, self.limits = process, sockets, limits
        self.deadline = (
            time.monotonic() + limits.seconds + 30
        )  # the last word, should all others fail
        self.reason: str | None = None
        self.grader = psutil.Process()
        self.grader_at_first = self.grader.memory_info().rss
        self.over = threading.Event()

    def run(self) -> None:
        try:
            while not self.over.wait(0.2):
                self.reason = self.too_much()
                if self.reason:
                    break
        except BaseException as error:  # nothing runs unwatched, whatever ended the watch
            self.reason = f"what it used could not be measured ({type(error).__name__})"
        if self.reason:
            self.end()

    def too_much(self) -> str | None:
        """Which limit is passed, in words."""
        try:
            processes = psutil.Process(self.process).children(recursive=True)
        except psutil.NoSuchProcess:
            return None
        if len(processes) > self.limits.processes:
            return f"it started more than {self.limits.processes} processes"
        # pages that forks share count several times in the first, quick sum
        unmapped = memory_files(processes)
        if used(processes, "rss") + unmapped > self.limits.memory and (
            used(processes, "pss") + unmapped > self.limits.memory
        ):
            return f"it used more than {self.limits.memory / 1e9:g} GB of memory"
        if folder_size(self.sockets) > self.limits.files:
            return f"it wrote more than {self.limits.files / 1e6:g} MB of files"
        if self.grader.memory_info().rss - self.grader_at_first > self.limits.grader:
            return "it sent more than the grader can take in"
        if time.monotonic() > self.deadline:
            return f"it ran for more than {self.limits.seconds:g} s and could not be stopped"
        return None

    def end(self) -> None:
        """End every process: with the first process of a jail the kernel ends all the others in it."""
        try:
            root = psutil.Process(self.process)
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue

    def stop(self) -> None:
        """No more watching."""
        self.over.set()
        self.join()


def used(processes: list[psutil.Process], kind: str) -> int:
    """Bytes of memory of some processes: "rss", or "pss", in which a shared page counts once in all."""
    total = 0
    for process in processes:
        try:
            about = process.memory_full_info() if kind == "pss" else process.memory_info()
            total += getattr(about, kind)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def memory_files(processes: list[psutil.Process]) -> int:
    """Bytes of the files in memory (memfd_create) that processes hold open: no process's own memory counts them."""
    sizes = {}
    for process in processes:
        try:
            for entry in os.scandir(f"/proc/{process.pid}/fd"):
                try:
                    if os.readlink(entry.path).startswith("/memfd:"):
                        about = os.stat(entry.path)
                        sizes[about.st_dev, about.st_ino] = 512 * about.st_blocks
                except OSError:  # closed in the meantime
                    continue
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return sum(sizes.values())


MAX_DEPTH, MAX_ENTRIES = 20, 10_000  # of a folder that a submission fills


def folder_size(folder: Path) -> float:
    """Bytes in a folder's files; infinite where they are too deep or too many to be counted.

    Example:
        >>> folder_size(Path("/nonexistent"))
        0
    """
    size, entries, waiting = 0, 0, [(str(folder), 0)]
    while waiting:
        path, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return float("inf")
        try:
            with os.scandir(path) as found:
                for entry in found:
                    entries += 1
                    if entries > MAX_ENTRIES:
                        return float("inf")
                    try:
                        size += entry.stat(follow_symlinks=False).st_size
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append((entry.path, depth + 1))
                    except FileNotFoundError:
                        continue
        except FileNotFoundError:  # removed in the meantime
            continue
        except OSError:  # locked against whoever counts
            return float("inf")
    return size


def remove(folder: Path) -> None:
    """Remove a folder that a submission filled, however deep: Python's own way ends in a RecursionError."""
    subprocess.run(["/bin/rm", "-rf", "--", str(folder)], capture_output=True)
