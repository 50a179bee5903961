"""Every link from one page of the course to another leads somewhere."""

import json
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("notebooks/**/*.ipynb"),
    *ROOT.glob(
        "solutions/*.ipynb"
    ),  # those of problem sets have the links that their release needs
]


def links(text: str) -> list[str]:
    """Targets of Markdown links and pictures that are files of the course, without their anchors."""
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    targets = (target.split("#")[0] for target in found if "://" not in target)
    return [target for target in targets if target]


def missing(page: Path) -> list[str]:
    """Links of a page that lead to no file."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return [target for target in links(text) if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page: Path):
    lost = missing(page)
    assert not lost, f"{page.relative_to(ROOT)} links to {', '.join(lost)}: no such file"


def test_links_are_found_in_text():
    text = "[a](x.ipynb), ![b](docs/y.png), [c](https://example.org/z), [d](x.ipynb#e), [f](#g)"
    assert links(text) == ["x.ipynb", "docs/y.png", "x.ipynb"]


def test_files_that_pages_name_are_there():
    """What stands in backticks as a path of the course, in pages, sources and messages."""
    named = re.compile(
        r"`((?:genlib|course|benchmarks|tests|docs)(?:/[a-z_0-9]+)+\.(?:py|md|toml|json|css|js))`"
    )
    sources = [
        path for top in ("genlib", "course", "benchmarks") for path in (ROOT / top).rglob("*.py")
    ]
    pages = [*PAGES, *ROOT.glob("docs/**/*.md"), *sources]
    lost = {
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages
        for name in named.findall(page.read_text(encoding="utf-8"))
        if "/topic/" not in name and not (ROOT / name).exists()
    }
    assert not lost


def test_modules_and_names_that_pages_name_are_there():
    """What stands in backticks as `genlib.a.b` or `course.a.b`, in docstrings and pages."""
    named = re.compile(r"`((?:genlib|course|benchmarks)(?:\.\w+)+)`")
    sources = [
        path for top in ("genlib", "course", "benchmarks") for path in (ROOT / top).rglob("*.py")
    ]
    lost = set()
    for page in [*PAGES, *ROOT.glob("docs/**/*.md"), *sources]:
        for name in named.findall(page.read_text(encoding="utf-8")):
            try:
                pkgutil.resolve_name(name)
            except (ImportError, AttributeError):
                lost.add(f"{page.relative_to(ROOT)}: {name}")
    assert not lost
