"""Where files are kept, and how they get there whole or not at all."""

import os
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# what numpy.load raises on a file that is missing, cut short, overwritten or of another kind
NPZ_ERRORS = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


def home_folder() -> Path | None:
    """The user's home; None where there is none, as for a user of a container without an entry in passwd."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def cache_folder() -> Path:
    """The user's cache folder for this course, as the operating system wants it.

    `~/Library/Caches/genlib` on macOS, `%LOCALAPPDATA%/genlib` on Windows, and elsewhere
    `$XDG_CACHE_HOME/genlib`, by default `~/.cache/genlib`. Where no home is known, it is a
    temporary folder of this user's, and a warning says so.
    """
    named = {"darwin": None, "win32": os.environ.get("LOCALAPPDATA")}
    base = named.get(sys.platform, os.environ.get("XDG_CACHE_HOME"))
    if base:
        return Path(base) / "genlib"
    home = home_folder()
    if home is None:
        user = os.getuid() if hasattr(os, "getuid") else "user"
        folder = Path(tempfile.gettempdir()) / f"genlib-{user}"
        warnings.warn(
            f"there is no home folder, so data are kept in {folder}, which may be emptied: set HOME, "
            "or XDG_CACHE_HOME, to a folder of yours",
            stacklevel=2,
        )
        return folder
    below = {"darwin": "Library/Caches", "win32": "AppData/Local"}
    return home / below.get(sys.platform, ".cache") / "genlib"


def data_folder(root: str | Path | None = None) -> Path:
    """Where real data are looked for: `root`, else `$GENLIB_DATA`, else `cache_folder()`."""
    folder = Path(root or os.environ.get("GENLIB_DATA") or cache_folder())
    try:
        return folder.expanduser()
    except RuntimeError:
        raise ValueError(
            f"{folder} lies below a home folder that is not known: write its name in full, or set "
            "HOME"
        ) from None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, which becomes `path` when the block ends without an error.

    Whoever reads meanwhile finds the old file or the new one, never half of it, and two processes
    that write at once do not meet. The new file is on the disk before it takes the old one's name,
    so a machine that loses its power at any moment is left with a whole file too.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole_file(folder / "a.txt") as unfinished:
        ...     _ = unfinished.write_text("all of it")
        >>> [p.name for p in folder.iterdir()]
        ['a.txt']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem + "-", suffix=path.suffix)
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        os.chmod(unfinished, 0o666 & ~_umask())  # mkstemp lets nobody else read
        os.replace(unfinished, path)
        if os.name == "posix":  # the folder holds the name
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
    finally:
        unfinished.unlink(missing_ok=True)


def _umask() -> int:
    """What new files are kept from others; it can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
