"""Make the copy of the course that a class gets: build/student/, and the same as a zip.

    make student

It holds genlib, of this package what a notebook imports, the notebooks, and what sets up the environment: no
graders, no solutions, no sources of lessons, no tests. Before anything is written, every line of every answer is
looked for in it.
"""

import argparse
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path

import nbformat

from course.publish.build import ROOT, BuildError, find_lessons, read_source
from course.publish.release import released, released_variant

FILES = [
    "pyproject.toml",
    "setup.py",
    "constraints.txt",
    "LICENSE",
    "LICENSE-text.md",
    "CITATION.cff",
    "course/find_python.sh",
]
MAKE = {"help", "setup", "$(READY)", "lab", "clean"}  # the targets that work without the rest
SOLUTION_LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./)+solutions/[^)]*\)")
SHORT = 25  # characters: a shorter line stands in any program
# what JupyterLab leaves out for students, whoever's environment they use: nbgrader's menus
LAB = "course/lab/labconfig/page_config.json"
LAB_CONFIG = {"disabledExtensions": {"@jupyter/nbgrader": True}}
ZIP_TIME = (2000, 1, 1, 0, 0, 0)  # the same content makes the same zip


# of this package, what a notebook imports
IMPORTED = [
    "__init__.py",
    "checks.py",
    "figures.py",
    "start.py",
    "syllabus.py",
    "syllabus.toml",
    "checking/*.py",
    "explorers/**/*",
    "lessons/__init__.py",
    "lessons/*/__init__.py",
    "lessons/*/checks.py",
    "lessons/taxonomy/letters.py",
]


def imported(root: Path) -> list[Path]:
    """The files of this package that students have, and their code in the jail; paths relative to the root."""
    found = {path for pattern in IMPORTED for path in (root / "course").glob(pattern)}
    return sorted(
        path.relative_to(root)
        for path in found
        if path.is_file() and path.suffix != ".pyc" and path.name not in ("bank.py", "suite.py")
    )


class Leak(Exception):
    """Where an answer would reach students."""


HIDDEN = re.compile(r"### BEGIN (?:SOLUTION|HIDDEN TESTS|MARK SCHEME)\n(.*?)### END", re.DOTALL)


def answers(root: Path) -> dict[str, str]:
    """Every line that stands only in answers and hidden tests, and which source it comes from.

    What lessons show and exercises give is public, in whatever answer it may also stand.
    """
    hidden, public = {}, set()
    for lesson in find_lessons(root):
        variant = released_variant(root, lesson) if lesson.release else 0
        for cell in read_source(root, lesson, variant).cells:
            for part in HIDDEN.findall(cell.source):
                hidden |= {line.strip(): str(lesson.source) for line in part.splitlines()}
            public |= {line.strip() for line in HIDDEN.sub("", cell.source).splitlines()}
    return {k: v for k, v in hidden.items() if len(k) >= SHORT and k not in public}


def text_of(path: Path) -> str:
    """What a reader sees of a file: of a notebook its cells, line by line."""
    if path.suffix == ".ipynb":
        return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    return path.read_text(encoding="utf-8", errors="replace")


def check_leaks(folder: Path, root: Path) -> None:
    """Raise Leak for a line of an answer in the students' copy; its two packages are open."""
    secret = answers(root)
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.relative_to(folder).parts[0] in ("genlib", "course"):
            continue
        for line in {line.strip() for line in text_of(path).splitlines()} & secret.keys():
            raise Leak(
                f"{path.relative_to(folder)} shows a line of an answer of {secret[line]}: {line!r}"
            )


def make_copy(root: Path, folder: Path) -> None:
    """Write the students' copy into an empty folder."""
    hidden = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", ".*")
    shutil.copytree(root / "genlib", folder / "genlib", ignore=hidden)
    shutil.copytree(root / "notebooks", folder / "notebooks", ignore=hidden)
    for lesson in find_lessons(root):
        if lesson.release:  # the variant that was released
            shutil.copy2(released(root, lesson)[1], folder / lesson.student)
    for name in (*FILES, *imported(root)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, folder / name)  # with its date: `make` compares it
    shutil.copy2(root / "docs" / "for_students.md", folder / "README.md")
    environment = (root / "environment.yml").read_text()
    (folder / "environment.yml").write_text(environment.replace("[lab,dev]", "[lab]"))
    (folder / LAB).parent.mkdir(parents=True)
    (folder / LAB).write_text(json.dumps(LAB_CONFIG, indent=2) + "\n")
    (folder / "Makefile").write_text(student_makefile((root / "Makefile").read_text()))
    for path in folder.rglob("*.ipynb"):
        nb = nbformat.read(path, as_version=4)
        for cell in nb.cells:
            if cell.cell_type == "markdown":  # a link that would lead nowhere
                cell.source = SOLUTION_LINK.sub(r"\1", cell.source)
        nbformat.write(nb, path)


def student_makefile(text: str) -> str:
    """The Makefile with the targets that students need."""
    blocks = []
    for block in text.split("\n\n"):
        targets = re.findall(r"^([a-z]+|\$\(READY\)):", block, re.MULTILINE)
        if not targets or set(targets) <= MAKE:
            blocks.append(block)
    kept = "\n\n".join(blocks).replace(".[lab,dev]", ".[lab]")
    return re.sub(r"^\.PHONY:.*$", ".PHONY: help setup lab clean", kept, flags=re.MULTILINE)


def make_zip(folder: Path, path: Path) -> None:
    """The folder as a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                name = f"{path.stem}/{file.relative_to(folder).as_posix()}"
                entry = zipfile.ZipInfo(name, ZIP_TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = file.stat().st_mode << 16
                archive.writestr(entry, file.read_bytes())


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="where the copy goes")
    args = parser.parse_args(argv)
    folder, half = args.out / "student", args.out / ".student.tmp"
    shutil.rmtree(half, ignore_errors=True)
    try:
        make_copy(ROOT, half)
        check_leaks(half, ROOT)
    except (Leak, BuildError, OSError) as error:
        shutil.rmtree(half, ignore_errors=True)
        print(error, file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    half.replace(folder)
    archive = args.out / "deep-generative-models.zip"
    make_zip(folder, archive)
    print(f"{folder}\n{archive}  ({archive.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
