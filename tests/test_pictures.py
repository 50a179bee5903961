"""README.md's pictures, taken anew by `make pictures`. Without PICTURES only the quick one is, and is thrown away."""

import os
from pathlib import Path

import pytest
from PIL import Image

from tests import pictures
from tests.grading_class import needs_jail
from tests.lab_browser import lab
from tests.page_browser import needs_chromium

PICTURES = os.environ.get("PICTURES")
on_request = pytest.mark.skipif(not PICTURES, reason="it takes minutes: make pictures")


@pytest.fixture
def folder(tmp_path):
    path = Path(PICTURES) if PICTURES else tmp_path / "pictures"
    path.mkdir(parents=True, exist_ok=True)
    return path


@needs_chromium
def test_slide(folder):
    pictures.write_slide(folder / "slide.png")
    with Image.open(folder / "slide.png") as picture:
        assert picture.size == (1280, 720) and len(picture.convert("RGB").getcolors(10**6)) > 100


@needs_chromium
@on_request
def test_explorer(folder, tmp_path):
    (tmp_path / "notebooks").mkdir()
    with lab(tmp_path / "notebooks") as running:
        pictures.write_explorer(running, folder / "explorer.webp")


@needs_chromium
@needs_jail
@on_request
def test_page(folder):
    pictures.write_page(folder / "page.png")
