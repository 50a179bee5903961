"""Chromium with the network cut, for the tests of pages that must open without one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from course.publish.browser import ARGUMENTS, CHROMIUM

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium found: install it (apt install chromium), or name it in $CHROMIUM",
)


@contextmanager
def offline_page(width: int = 1280, height: int = 720, colours: str = "light") -> Iterator:
    """A page of a browser that has no network; `page.complaints` lists what went wrong on it.

    Args:
        colours: "light" or "dark", as the system has it.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=ARGUMENTS,
        )
        context = browser.new_context(
            viewport={"width": width, "height": height},
            offline=True,
            reduced_motion="reduce",
            color_scheme=colours,
        )
        page = context.new_page()
        page.set_default_timeout(120_000)  # a loaded machine is slow
        page.complaints = []
        page.on(
            "requestfailed", lambda request: page.complaints.append(f"failed: {request.url[:90]}")
        )
        page.on("pageerror", lambda error: page.complaints.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                page.complaints.append(f"console: {message.text}")
                if message.type in ("error", "warning")
                else None
            ),
        )
        try:
            yield page
        finally:
            browser.close()


def url(path: Path) -> str:
    return path.resolve().as_uri()
