"""From whatever a class hands in to one clean notebook a student.

Nothing of a submission is trusted but the answers in it: they are put into the course's own notebook, so a
deleted or edited test, changed points, stripped or doubled metadata change nothing.
"""

import ast
import copy
import re
import stat
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode

THEIRS = "theirs-"  # how the ids of cells begin that a student added
MAX_NOTEBOOK = 20_000_000  # bytes; a problem set with its figures has a tenth
# what learning platforms put around a student's name
MOODLE = re.compile(r"(?P<name>.+?)_\d+_assignsubmission_[a-z]+_?$")
CANVAS = re.compile(r"(?P<name>[^_]+)(_LATE)?_\d+_\d+_.+$")


class Unreadable(Exception):
    """Why a submission is no notebook, in words for its feedback."""


class NoSubmissions(Exception):
    """Why there is nothing to grade."""


@dataclass
class Handed:
    """What one student handed in.

    Attributes:
        student: a name that is safe as the name of a folder.
        content: the file's bytes; empty where there was none.
        problem: why there is nothing to read; None where there is.
        notes: what a person should know.
    """

    student: str
    content: bytes = b""
    problem: str | None = None
    notes: list[str] = field(default_factory=list)


# ---------------------------------------------------------------- finding


def collect(where: Path, problem_set: str) -> list[Handed]:
    """Everybody's submission in a folder or zip, in the order of the names.

    Args:
        where: a folder with STUDENT/psN/psN.ipynb or STUDENT/anything.ipynb, or with one notebook a student
            (its name is then the student's); or a zip of either, as learning platforms make it.
        problem_set: its name.

    Raises:
        NoSubmissions: there is no such folder, or no notebook and no student in it.
    """
    if not where.exists():
        raise NoSubmissions(f"{where}: there is no such folder or zip.")
    files = from_zip(where) if where.is_file() else from_folder(where)
    everybody: dict[str, list[tuple[PurePosixPath, bytes | str]]] = {}
    for path, content in files:
        everybody.setdefault(student_name(path, problem_set), []).append((path, content))
    if not everybody:
        raise NoSubmissions(
            f"{where}: no notebook in it. Wanted: STUDENT/{problem_set}/{problem_set}.ipynb, or one notebook a student."
        )
    handed, taken = [], set()
    for name in sorted(everybody):
        safe, n = safe_name(name), 2
        while safe in taken:  # "a b" and "a_b" are two students
            safe, n = f"{safe_name(name)}_{n}", n + 1
        taken.add(safe)
        handed.append(choose(safe, everybody[name], problem_set))
    return handed


def from_folder(folder: Path):
    """(path, bytes or what is wrong) of each notebook, and of each student's folder without one."""
    notebooks = [
        path
        for path in sorted(folder.rglob("*.ipynb"))
        if ".ipynb_checkpoints" not in path.parts and not path.name.startswith("._")
    ]
    for path in notebooks:
        relative = PurePosixPath(path.relative_to(folder).as_posix())
        try:
            about = path.lstat()
            if not stat.S_ISREG(about.st_mode):
                yield relative, "it is a link or a device, not a file"
            elif not path.resolve().is_relative_to(folder.resolve()):
                yield relative, "it lies behind a link"
            elif about.st_size > MAX_NOTEBOOK:
                yield relative, f"it is larger than {MAX_NOTEBOOK / 1e6:g} MB"
            else:
                yield relative, path.read_bytes()
        except OSError as error:
            yield relative, f"it cannot be read ({error.strerror})"
    with_notebook = {path.relative_to(folder).parts[0] for path in notebooks}
    for path in sorted(folder.iterdir()):
        if (
            path.is_dir()
            and path.name not in with_notebook
            and not path.name.startswith((".", "__"))
        ):
            yield PurePosixPath(path.name, "nothing"), "no notebook was handed in"


def from_zip(archive: Path):
    """The same for a zip, without unpacking it anywhere."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in sorted(opened.infolist(), key=lambda x: x.filename):
                path = PurePosixPath(entry.filename.replace("\\", "/"))
                hidden = any(part.startswith(("._", "__MACOSX", ".ipynb")) for part in path.parts)
                if entry.is_dir() or path.suffix != ".ipynb" or hidden:
                    continue
                path = PurePosixPath(*[part for part in path.parts if part not in ("/", "..")])
                if entry.file_size > MAX_NOTEBOOK:
                    yield path, f"it is larger than {MAX_NOTEBOOK / 1e6:g} MB"
                    continue
                try:
                    with opened.open(entry) as file:
                        yield path, file.read(MAX_NOTEBOOK)
                except (RuntimeError, zipfile.BadZipFile, NotImplementedError) as error:
                    yield path, f"it cannot be unpacked ({error})"
    except zipfile.BadZipFile as error:
        raise NoSubmissions(f"{archive}: is no zip that can be read ({error}).") from error


def student_name(path: PurePosixPath, problem_set: str) -> str:
    """Whose submission lies at a path.

    Example:
        >>> student_name(PurePosixPath("ada/ps2_vae/ps2_vae.ipynb"), "ps2_vae")
        'ada'
        >>> student_name(PurePosixPath("Ada Lovelace_4711_assignsubmission_file/ps2_vae.ipynb"), "ps2_vae")
        'Ada Lovelace'
        >>> student_name(PurePosixPath("lovelaceada_LATE_12_345_ps2_vae-1.ipynb"), "ps2_vae")
        'lovelaceada'
    """
    parts = [part for part in path.parts if part not in ("..", "/")]
    if len(parts) > 2 and parts[0] == problem_set:
        parts = parts[1:]  # a zip of the folder itself
    name = parts[0].removesuffix(".ipynb")
    for platform in (MOODLE, CANVAS):
        if match := platform.match(name):
            name = match["name"]
    return unicodedata.normalize("NFC", name)


def safe_name(name: str) -> str:
    """A name that can be a folder, a field of a table, and nothing else.

    Example:
        >>> safe_name("Zoë O'Hara"), safe_name("=cmd()"), safe_name("..")
        ('Zoë_O_Hara', 'cmd', 'nameless')
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("._-")[:100] or "nameless"


def choose(
    student: str, files: list[tuple[PurePosixPath, bytes | str]], problem_set: str
) -> Handed:
    """The notebook to grade, if a student handed in several."""
    wanted = f"{problem_set}.ipynb"
    named = [(path, content) for path, content in files if path.name == wanted]
    path, content = (named or files)[0]
    handed = Handed(student)
    if isinstance(content, str):
        handed.problem = content
    else:
        handed.content = content
    if len(files) > 1:
        others = ", ".join(str(other) for other, _ in files if other != path)
        handed.notes.append(f"several notebooks: {path} is graded, not {others}")
    if len(path.parts) > 1 and path.name not in (wanted, "nothing"):
        handed.notes.append(f"called {path.name}, not {wanted}")
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
        nb = nbformat.reads(text, as_version=4)
        cells = [cell for cell in nb.cells if isinstance(cell.source, str)]
    except Exception as error:  # nbformat raises whatever its parts raise
        raise Unreadable(f"the file is no Jupyter notebook ({type(error).__name__})") from error
    if len(cells) > 1000:
        raise Unreadable("the notebook has more than 1000 cells")
    return nb


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
