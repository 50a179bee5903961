"""From whatever a class hands in to one clean notebook a student.

Nothing of a submission is trusted but the answers in it: they are put into the course's own notebook, so a
deleted or edited test, changed points, stripped or doubled metadata change nothing.
"""

import ast
import copy
import json
import lzma
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode

THEIRS = "theirs-"  # how the ids of cells begin that a student added
MAX_NOTEBOOK = 5_000_000  # bytes; a problem set with its figures has a tenth
MAX_CELLS = 1000
MAX_TEXT = 1_000_000  # of them without outputs; an honest one has a tenth
# What learning platforms put around a file. Moodle: in the name of a folder or, downloaded flat, of the file
# ("Ada Lovelace_4711_assignsubmission_file_/ps2_vae.ipynb"; marked blind, "Participant_4711_..."). Canvas: in that
# of the file ("lovelaceada_LATE_12_345_ps2_vae-1.ipynb": user 12, file 345, second upload). Numbers tell users apart.
PLATFORMS = (
    re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_[a-z]+_?(?P<file>.*)$"),
    re.compile(r"(?P<name>[^_]+)_(?P<late>LATE_)?(?P<id>\d+)_(?P<upload>\d+)_(?P<file>.+)$"),
)
# what can go wrong in one entry of a zip; it costs that entry
BROKEN = (RuntimeError, NotImplementedError, OSError, EOFError, ValueError)
BROKEN += (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
# what students hand in in place of a notebook, where each hands in one file
DOCUMENTS = {".pdf", ".doc", ".docx", ".odt", ".html", ".py", ".zip"}
NOTHING = "nothing"  # stands for the content of an empty folder


class Unreadable(Exception):
    """Why a submission is no notebook, in words for its feedback."""


class NoSubmissions(Exception):
    """Why there is nothing to grade."""


@dataclass
class Handed:
    """What one student handed in.

    Attributes:
        student: a name that is safe as the name of a folder.
        name: as the platform or the folder says it.
        number: that the platform gives the student; empty without one.
        platform: "moodle" or "canvas", where the file's name shows it.
        path: of the notebook, in the folder or zip.
        content: reads the file's bytes; none where there was no file.
        problem: why there is nothing to read; None where there is.
        notes: what a person should know.
        late: whether the platform says so.
        time: when it was handed in, and
        time_from: who says so; `late.py` fills both in.
    """

    student: str
    content: Callable[[], bytes] = bytes
    problem: str | None = None
    notes: list[str] = field(default_factory=list)
    name: str = ""
    number: str = ""
    platform: str = ""
    path: PurePosixPath | None = None
    late: bool = False
    time: datetime | None = None
    time_from: str = ""


# ---------------------------------------------------------------- finding

# Of a notebook: how to read it, since a class of large ones does not fit into memory; or what is wrong with it.
# None for a file that is no notebook.
Content = Callable[[], bytes] | str | None
Files = list[tuple[PurePosixPath, Content]]


def collect(where: Path, problem_set: str) -> list[Handed]:
    """Everybody's submission in a folder or zip, in the order of the names.

    Args:
        where: a folder with STUDENT/psN/psN.ipynb or STUDENT/anything.ipynb, or with one notebook a student
            (its name is then the student's); or a zip of either, as learning platforms make it. All of it may
            lie in one more folder.
        problem_set: its name.

    Raises:
        NoSubmissions: there is no such folder, or no notebook and no student in it.
    """
    if not where.exists():
        raise NoSubmissions(f"{where}: there is no such folder or zip.")
    found = from_zip(where) if where.is_file() else from_folder(where)
    files, outer = inside(
        [(path, x) for path, x in found if path.parts and not hidden(path)], problem_set
    )
    flat = any(len(path.parts) == 1 and content is not None for path, content in files)
    everybody: dict[tuple[str, str], Files] = {}
    for path, content in files:
        if content is None and len(path.parts) == 1 and platform(path.name) is None:
            if not (flat and path.suffix.lower() in DOCUMENTS):
                continue  # a file beside the students' folders is nobody's
        everybody.setdefault(student_of(path), []).append((path, content))
    if not everybody:
        raise NoSubmissions(
            f"{where}: no notebook in it. Wanted: STUDENT/{problem_set}/{problem_set}.ipynb, or one notebook a student."
        )
    handed: list[Handed] = []
    taken: set[str] = set()
    for name, number in sorted(everybody):
        # always with the platform's number: a row keeps its name when a namesake hands in later
        plain = safe_name(name) + (f"_{number}" if number else "")
        safe, n = plain, 2
        while (
            safe.casefold() in taken
        ):  # "a b" and "a_b" are two students, "Ada" and "ada" one folder on some disks
            safe, n = f"{plain}_{n}", n + 1
        taken.add(safe.casefold())
        one = choose(safe, everybody[name, number], problem_set)
        one.name, one.number = name, number
        if one.path is not None:
            one.path = PurePosixPath(outer) / one.path
        if safe != plain:
            one.notes.append(f"the name {name!r} would be {plain} too: this is {safe}")
        if sum(other == name for other, _ in everybody) > 1:
            one.notes.append(f"another student is called {name!r} too: this is number {number}")
        if outer:
            one.notes.append(f"found in the folder {outer}")
        handed.append(one)
    return handed


def hidden(path: PurePosixPath) -> bool:
    """Whether nobody handed a file in on purpose: caches, and what an operating system leaves."""
    return any(part.startswith((".", "__")) for part in path.parts)


def platform(name: str) -> re.Match | None:
    """What a learning platform says in the name of a file or folder."""
    return next((found for x in PLATFORMS if (found := x.match(name))), None)


def inside(files: Files, problem_set: str) -> tuple[Files, str]:
    """Without the folders around the whole class, and which these were.

    Example:
        >>> class_files = [(PurePosixPath(f"all/{name}/a.ipynb"), b"") for name in ("ada", "bob")]
        >>> inside(class_files, "ps2_vae")
        ([(PurePosixPath('ada/a.ipynb'), b''), (PurePosixPath('bob/a.ipynb'), b'')], 'all')
        >>> inside([(PurePosixPath("ada/ps2_vae/ps2_vae.ipynb"), b"")], "ps2_vae")[1]
        ''
    """
    outer: list[str] = []
    while True:
        within = [(path, x) for path, x in files if len(path.parts) > 1 or x is not None]
        tops = {path.parts[0] for path, _ in within}
        if len(tops) != 1 or any(len(path.parts) < 2 for path, _ in within):
            return files, "/".join(outer)
        [top] = tops
        if is_student(top, [path for path, _ in within], problem_set):
            return files, "/".join(outer)
        outer.append(top)
        files = [(PurePosixPath(*path.parts[1:]), x) for path, x in within]


def is_student(top: str, paths: list[PurePosixPath], problem_set: str) -> bool:
    """Whether the one folder that holds all paths is one student's and not the whole class's."""
    if platform(top):
        return True
    if top == problem_set:  # a zip of the problem set's folder
        return False
    folders = {path.parts[1] for path in paths if len(path.parts) > 2}
    direct = [path for path in paths if len(path.parts) == 2 and path.suffix == ".ipynb"]
    if any(platform(name) for name in folders | {path.name for path in direct}):
        return False
    if any(path.parts[1] == problem_set and len(path.parts) == 3 for path in paths):
        return True
    # of two wrong guesses this is the smaller one: a student in two rows is seen, two students in one are not
    if (
        len({path.parts[1] for path in paths if len(path.parts) > 2 and path.suffix == ".ipynb"})
        > 1
    ):
        return False
    if any(attempt(path.name)[0] == problem_set for path in direct):
        return True
    return not folders and len(direct) < 2


def student_of(path: PurePosixPath) -> tuple[str, str]:
    """Whose submission lies at a path: a name, and the number that a platform gives it ("" without one).

    Example:
        >>> student_of(PurePosixPath("ada/ps2_vae/ps2_vae.ipynb"))
        ('ada', '')
        >>> student_of(PurePosixPath("Ada Lovelace_4711_assignsubmission_file/ps2_vae.ipynb"))
        ('Ada Lovelace', '4711')
        >>> student_of(PurePosixPath("lovelaceada_LATE_12_345_ps2_vae-1.ipynb"))
        ('lovelaceada', '12')
    """
    about = platform(path.parts[0])
    name = about["name"] if about else path.parts[0]
    if about is None and len(path.parts) == 1:
        name = path.stem
    return unicodedata.normalize("NFC", name), about["id"] if about else ""


def attempt(name: str) -> tuple[str, int, int]:
    """What a notebook is called without a platform's words, and which attempt it is: (name, attempt, upload).

    Example:
        >>> attempt("smithbob_13_20_ps2_vae-2.ipynb"), attempt("ps2_vae.ipynb")
        (('ps2_vae', 2, 20), ('ps2_vae', 0, 0))
    """
    about = platform(name)
    upload = int(about.groupdict().get("upload") or 0) if about else 0
    stem = (about["file"] if about else name).removesuffix(".ipynb")
    again = re.fullmatch(r"(.+)-(\d{1,4})", stem)
    return (again[1], int(again[2]), upload) if again else (stem, 0, upload)


def from_folder(folder: Path) -> Iterator[tuple[PurePosixPath, Content]]:
    """(path, content) of each file; an empty folder counts as one file that is no notebook."""
    for path in sorted(folder.rglob("*")):
        relative = PurePosixPath(path.relative_to(folder).as_posix())
        try:
            about = path.lstat()
            if path.is_dir():  # a link to a folder is not followed
                if path.is_symlink() or not any(path.iterdir()):
                    yield relative / NOTHING, None
            elif path.suffix != ".ipynb":
                yield relative, None
            elif not stat.S_ISREG(about.st_mode):
                yield relative, "it is a link or a device, not a file"
            elif not path.resolve().is_relative_to(folder.resolve()):
                yield relative, "it lies behind a link"
            elif about.st_size > MAX_NOTEBOOK:
                yield relative, f"it is larger than {MAX_NOTEBOOK / 1e6:g} MB"
            else:
                path.open("rb").close()  # can it be read?
                yield relative, path.read_bytes
        except OSError as error:
            yield relative, f"it cannot be read ({error.strerror})"


def from_zip(archive: Path) -> Iterator[tuple[PurePosixPath, Content]]:
    """The same for a zip, without unpacking it anywhere."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in sorted(opened.infolist(), key=lambda x: x.filename):
                path = entry_path(entry)
                if readable(entry).endswith(
                    ("/", "\\")
                ):  # some programs write the folders of Windows
                    yield path / NOTHING, None
                elif path.suffix != ".ipynb":
                    yield path, None
                elif entry.file_size > MAX_NOTEBOOK:
                    yield path, f"it is larger than {MAX_NOTEBOOK / 1e6:g} MB"
                else:
                    read = partial(unpack_entry, archive, entry)
                    try:
                        read()
                        yield path, read
                    except BROKEN as error:
                        yield path, f"it cannot be unpacked ({error})"
    except zipfile.BadZipFile as error:
        raise NoSubmissions(f"{archive}: is no zip that can be read ({error}).") from error


def unpack_entry(archive: Path, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of an entry, however long it says it is."""
    with zipfile.ZipFile(archive) as opened, opened.open(entry) as file:
        return file.read(MAX_NOTEBOOK)


def entry_path(entry: zipfile.ZipInfo) -> PurePosixPath:
    """Where an entry lies, without anything that leads out of the zip."""
    parts = PurePosixPath(readable(entry).replace("\\", "/")).parts
    return PurePosixPath(*[part for part in parts if part not in ("/", "..")])


def readable(entry: zipfile.ZipInfo) -> str:
    """The name of an entry: many programs write UTF-8 and do not set the bit that says so."""
    if not entry.flag_bits & 0x800:
        try:
            return entry.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return entry.filename


def safe_name(name: str) -> str:
    """A name that can be a folder, a field of a table, and nothing else.

    Example:
        >>> safe_name("Zoë O'Hara"), safe_name("=cmd()"), safe_name("..")
        ('Zoë_O_Hara', 'cmd', 'nameless')
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("._-")[:100] or "nameless"


def choose(student: str, files: Files, problem_set: str) -> Handed:
    """The notebook to grade, if a student handed in several: the last attempt that can be read, and no draft."""
    handed = Handed(student)
    about = platform(files[0][0].parts[0])
    if about:
        handed.platform = "canvas" if "upload" in about.groupdict() else "moodle"
    notebooks = [(path, content) for path, content in files if content is not None]
    if not notebooks:
        others = ", ".join(path.name for path, _ in files if path.name != NOTHING)
        handed.problem = "no notebook was handed in" + (f", only {others}" if others else "")
        return handed

    def worth(file: tuple[PurePosixPath, Content]) -> tuple:
        stem, again, upload = attempt(file[0].name)
        read, draft, named = (
            callable(file[1]),
            "draft" in stem.lower(),
            stem == problem_set,
        )
        # Canvas counts uploads, and the last one counts whatever it is called
        return read, not draft, named and not upload, again, upload, named

    path, content = max(notebooks, key=worth)  # of equals the first
    handed.path = path
    if isinstance(content, str):
        handed.problem = content
    else:
        handed.content = content
    if len(notebooks) > 1:
        others = ", ".join(str(other) for other, _ in notebooks if other != path)
        handed.notes.append(f"several notebooks: {path} is graded, not {others}")
    for other, wrong in notebooks:
        if isinstance(wrong, str) and other != path:
            handed.notes.append(f"{other}: {wrong}")
    about = platform(path.parts[0])
    if about and about.groupdict().get("late"):
        handed.late = True
        handed.notes.append("handed in late, says Canvas")
    if len(path.parts) > 1 and path.name != f"{problem_set}.ipynb":
        handed.notes.append(f"called {path.name}, not {problem_set}.ipynb")
    return handed


# ---------------------------------------------------------------- reading


def read_notebook(content: bytes) -> NotebookNode:
    """A submission as a notebook.

    Raises:
        Unreadable: it is none.
    """
    if not content.strip():
        raise Unreadable("the file is empty")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable("the file is not text in UTF-8") from error
    try:
        # what is not read is dropped first: nbformat, and its complaints, take many times a file's size
        text = json.dumps(without_outputs(json.loads(text)))
        if len(text) <= MAX_TEXT:
            nb = nbformat.reads(text, as_version=4)
            [cell.source.strip() for cell in nb.cells]
    except Unreadable:
        raise
    except Exception as error:  # nbformat raises whatever its parts raise
        raise Unreadable(f"the file is no Jupyter notebook ({type(error).__name__})") from error
    if len(text) > MAX_TEXT:
        raise Unreadable(f"without outputs the notebook is longer than {MAX_TEXT / 1e6:g} MB")
    return nb


def without_outputs(notebook: dict) -> dict:
    """What is read of a notebook, as JSON of any version: sources, and what says which cell is which."""
    # version 3 has its cells in worksheets
    for sheet in [notebook, *notebook.get("worksheets", [])]:
        cells = sheet.get("cells", [])
        if len(cells) > MAX_CELLS:
            raise Unreadable(f"the notebook has more than {MAX_CELLS} cells")
        for cell in cells:
            cell.pop("attachments", None)
            if "outputs" in cell:
                cell["outputs"] = []
            about = cell.get("metadata", {})
            cell["metadata"] = {key: about[key] for key in ("nbgrader",) if key in about}
    about = notebook.get("metadata", {})
    notebook["metadata"] = {key: about[key] for key in ("genlib",) if key in about}
    return notebook


def rebuild(submitted: NotebookNode, master: NotebookNode, release: NotebookNode):
    """The course's notebook with a student's answers in it.

    Every cell comes from the master, apart from answers; cells that the student added stay where they
    stood. An answer is found by its `grade_id`, else by the cell's id, else by the function it defines.

    Args:
        submitted: the student's notebook.
        master: the problem set with its hidden tests.
        release: the same as students got it; its gaps stand where an answer is missing.

    Returns:
        The notebook, and notes on what was not as it was handed out.
    """
    notes = []
    answers = {grade_id(c): i for i, c in enumerate(master.cells) if is_answer(c)}
    ours = {grade_id(c): i for i, c in enumerate(master.cells) if grade_id(c)}
    ids = {c.id: i for i, c in enumerate(master.cells)}
    defines = {
        name: answers[grade_id(c)]
        for c in release.cells
        if is_answer(c) and c.cell_type == "code"
        for name in defined(c.source)
    }
    # which cell of the master each submitted cell is
    places: list[int | None] = []
    taken: set[int] = set()
    for cell in submitted.cells:
        place = ours.get(grade_id(cell))
        if place is None and not grade_id(cell):
            place = ids.get(cell.get("id"))
            if place in answers.values():
                notes.append("metadata was removed; answers were found by their place")
        if place in taken:
            notes.append(
                f"the cell {grade_id(cell) or cell.get('id')} is there twice; the first counts"
            )
            place = None
        if place is not None:
            taken.add(place)
        places.append(place)
    for i, cell in enumerate(submitted.cells):
        if places[i] is None and cell.cell_type == "code":
            for name in defined(cell.source):
                place = defines.get(name)
                if place is not None and place not in taken:
                    places[i] = place
                    taken.add(place)
                    notes.append("metadata was removed; answers were found by the functions' names")
    rebuilt = copy.deepcopy(master)
    for cell in rebuilt.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for i, cell in enumerate(release.cells):
        if is_answer(cell):  # a gap, until an answer fills it
            rebuilt.cells[i].source = cell.source
    added: dict[int, list[NotebookNode]] = {}
    last = -1
    for cell, place in zip(submitted.cells, places, strict=True):
        if place is None:
            extra = new_cell(cell)
            if extra is not None:
                extra.id = f"{THEIRS}{sum(map(len, added.values()))}"
                added.setdefault(last, []).append(extra)
            continue
        last = place
        expected = master.cells[place]
        if place in answers.values():
            rebuilt.cells[place].source = cell.source
        elif grade_id(expected) and cell.source not in (
            expected.source,
            release.cells[place].source,
        ):
            notes.append(f"the locked cell {grade_id(expected)} was edited; the original is used")
        about, original = cell.metadata.get("nbgrader", {}), expected.metadata.get("nbgrader", {})
        if isinstance(about, dict) and about and about.get("points") != original.get("points"):
            notes.append(
                f"the points of {grade_id(expected)} were edited; the original ones are used"
            )
    for name, place in ours.items():
        if place not in taken:
            notes.append(f"the cell {name} was missing; it was put back")
    variant = master.metadata.get("genlib", {}).get("variant", 0)
    about = submitted.metadata.get("genlib", {})
    if isinstance(about, dict) and about.get("variant", variant) != variant:
        notes.append(f"made for variant {about['variant']!r}, graded as variant {variant}")
    cells = list(added.get(-1, []))
    for i, cell in enumerate(rebuilt.cells):
        cells += [cell, *added.get(i, [])]
    rebuilt.cells = cells
    return rebuilt, list(dict.fromkeys(notes))


def grade_id(cell: NotebookNode) -> str | None:
    about = cell.metadata.get("nbgrader")
    name = about.get("grade_id") if isinstance(about, dict) else None
    return name if isinstance(name, str) else None


def is_answer(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def new_cell(cell: NotebookNode) -> NotebookNode | None:
    """A student's own cell without anything that means something to a grader."""
    if cell.cell_type == "code":
        return nbformat.v4.new_code_cell(cell.source)
    if cell.cell_type == "markdown":
        return nbformat.v4.new_markdown_cell(cell.source)
    return None


def defined(source: str) -> list[str]:
    """Names of the functions and classes that a cell defines."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [x.name for x in tree.body if isinstance(x, ast.FunctionDef | ast.ClassDef)]
