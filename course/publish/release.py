"""Release a variant of a problem set: other constants in the notebook, the same ones in its hidden tests.

    make release PS=ps2_vae SEED=7    build variant 7: `make student` hands it out, and `make grade` grades it
    make release PS=ps2_vae           go back to the repository's own, variant 0

The variant lies in release/ps2_vae/, which git ignores, so the checkout stays clean:

    ps2_vae.ipynb             for students: no answers, no outputs, no hidden tests
    ps2_vae_solution.ipynb    executed, with answers and tests; nbgrader's source
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

from course.publish import build
from course.publish.build import ROOT, BuildError, Lesson


def problem_set(root: Path, name: str) -> Lesson:
    lessons = [x for x in build.find_lessons(root) if x.release]
    for lesson in lessons:
        if lesson.name == name:
            return lesson
    raise BuildError(
        f"no problem set is called {name!r}. There are: {', '.join(x.name for x in lessons)}."
    )


def released(root: Path, lesson: Lesson) -> tuple[Path, Path]:
    """Where a problem set's solution and its students' notebook lie: the released ones, else the repository's own."""
    folder = root / "release" / lesson.name
    if not folder.exists():
        return root / lesson.executed, root / lesson.student
    return folder / f"{lesson.name}_solution.ipynb", folder / f"{lesson.name}.ipynb"


def released_variant(root: Path, lesson: Lesson) -> int:
    """Which variant students get.

    Raises:
        BuildError: a notebook is missing, cannot be read, or is of another variant than its partner.
    """
    again = (
        f"Run: make release PS={lesson.name} SEED=... (without SEED: back to the repository's own)"
    )
    variants = []
    for path in released(root, lesson):
        try:
            nb = nbformat.read(path, as_version=4)
            variants.append(int(nb.metadata["genlib"]["variant"]))
        except (OSError, ValueError, KeyError, TypeError, nbformat.reader.NotJSONError) as error:
            raise BuildError(
                f"{path.relative_to(root)}: is no notebook of a problem set. {again}"
            ) from error
    if variants[0] != variants[1]:
        raise BuildError(f"release/{lesson.name}: its notebooks are two variants. {again}")
    return variants[0]


def release(root: Path, name: str, seed: int) -> Path:
    """Build a variant into its folder: all of it or, after a failure, what was there before."""
    lesson = problem_set(root, name)
    folder = root / "release" / name
    half, old = folder.with_name(f".{name}.new"), folder.with_name(f".{name}.old")
    restore(folder, half, old)
    try:
        nb = build.read_source(root, lesson, seed)
        student = build.student_version(nb, lesson)
        (root / lesson.executed).parent.mkdir(parents=True, exist_ok=True)  # where it runs
        build.execute(nb, root, lesson)
        build.write(student, half / f"{name}.ipynb")
        build.write(nb, half / f"{name}_solution.ipynb")
        if folder.exists():
            folder.replace(old)
        half.replace(folder)
    finally:
        restore(folder, half, old)
    return folder


def restore(folder: Path, half: Path, old: Path) -> None:
    """Remove what an interrupted release left, and bring back what it had put aside."""
    shutil.rmtree(half, ignore_errors=True)
    if old.exists() and not folder.exists():
        old.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def withdraw(root: Path, name: str) -> bool:
    """Go back to the repository's own variant; whether another was released."""
    folder = root / "release" / problem_set(root, name).name
    restore(folder, folder.with_name(f".{name}.new"), folder.with_name(f".{name}.old"))
    there = folder.exists()
    if there:  # whole, then not at all
        gone = folder.with_name(f".{name}.new")
        folder.replace(gone)
        shutil.rmtree(gone)
    return there


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("problem_set", help="its name: ps2_vae")
    parser.add_argument("--seed", type=int, help="of the variant (default: the repository's own)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the course's folder")
    args = parser.parse_args(argv)
    root, name = args.root.resolve(), args.problem_set
    try:
        if args.seed is None:
            gone = withdraw(root, name)
            was = "The released variant is removed" if gone else "No other variant was released"
            print(f"{was}: {name} is the repository's own, variant 0.")
            return 0
        folder = release(root, name, args.seed).relative_to(root)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Variant {args.seed} of {name}:")
    print(f"  for students  {folder / name}.ipynb")
    print(f"  solution      {folder / name}_solution.ipynb")
    print("make student and make grade use it from now on.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
