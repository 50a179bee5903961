"""Decks on paper: Chromium prints what it shows."""

import os
import shutil
from pathlib import Path

from genlib.data.folders import whole_file

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = ["--disable-gpu", "--disable-dev-shm-usage"]
# in a container; Chromium's own jail needs another user
if hasattr(os, "geteuid") and os.geteuid() == 0:
    ARGUMENTS.append("--no-sandbox")


class NoBrowser(Exception):
    """What is missing to print, and how to get it."""


def print_deck(deck: Path) -> Path:
    """Print a deck, a page a slide, beside its file; answers of questions are shown.

    Raises:
        NoBrowser: there is no Chromium, or no playwright to drive it.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        raise NoBrowser("printing needs playwright: run `make setup`") from error
    if CHROMIUM is None:
        raise NoBrowser("printing needs Chromium: apt install chromium, or name it in $CHROMIUM")
    target = deck.with_suffix(".pdf")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            page = browser.new_context(offline=True).new_page()
            page.set_default_timeout(120_000)
            page.goto(f"{deck.resolve().as_uri()}?print-pdf")
            page.wait_for_selector("html.reveal-print .pdf-page")
            data = page.pdf(prefer_css_page_size=True, print_background=True)
        finally:
            browser.close()
    with whole_file(target) as unfinished:
        unfinished.write_bytes(data)
    return target
