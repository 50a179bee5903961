"""JupyterLab in a real browser: notebooks that run or show what they store, explorers that move, decks of slides."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest

from tests.explorer_browser import SLOW, ExplorerOnPage
from tests.page_browser import ARGUMENTS, CHROMIUM

# Of each page and each deck in one: what the kernel has not finished yet of all that it was sent, and when
# there was a message last, either way.
MESSAGES = """(() => {
    const kernel = window.kernel = {open: new Set(), last: 0};
    // in a message the headers come first, then what it says, then pictures
    function beginning(data) {
        kernel.last = performance.now();
        if (typeof data === "string") return data;
        return new TextDecoder("latin1").decode(new Uint8Array(data).subarray(0, 4000));
    }
    const ids = text => [...text.matchAll(/"msg_id": ?"([^"]+)"/g)].map(found => found[1]);
    window.WebSocket = class extends WebSocket {
        constructor(...where) {
            super(...where);
            if (!this.url.includes("/channels")) return;
            this.talks = true;
            kernel.cut = () => this.close();
            this.addEventListener("message", ({data}) => {
                const text = beginning(data);
                if (/"execution_state": ?"idle"/.test(text)) kernel.open.delete(ids(text)[1]);
            });
        }
        send(data) {
            if (this.talks) kernel.open.add(ids(beginning(data))[0]);
            super.send(data);
        }
    };
})()"""

# What has run, and what went wrong.
PROGRESS = """() => {
    const cells = [...document.querySelectorAll(".jp-Notebook .jp-CodeCell")];
    const prompts = cells.map(cell => cell.querySelector(".jp-InputPrompt").textContent.trim());
    const complaint = '[data-mime-type$="jupyter.error"], [data-mime-type$="jupyter.stderr"]';
    return {
        done: prompts.filter(prompt => /^\\[\\d+\\]:$/.test(prompt)).length,
        waiting: prompts.filter(prompt => prompt === "[*]:").length,
        all: cells.length,
        complaints: cells.flatMap((cell, i) => [...cell.querySelectorAll(complaint)]
            .map(output => `code cell ${i + 1}: ${output.textContent.trim().slice(-1500)}`)),
    };
}"""

# Where a live deck is.
PLACE = """() => {
    const slides = [...document.querySelectorAll(".reveal section > section")];
    const slide = document.querySelector(".reveal section.present > section.present");
    return {
        at: slides.indexOf(slide), all: slides.length,
        scrolled: Math.round(slide.scrollTop),
        below: Math.round(slide.scrollHeight - slide.clientHeight - slide.scrollTop),
        shown: slide.querySelectorAll(".fragment.visible").length,
        hidden: slide.querySelectorAll(".fragment:not(.visible)").length,
    };
}"""

# Whether all is there that a deck shows of a stored notebook: pictures, and text with its equations.
IS_THERE = """pictures => {
    const shown = [...document.querySelectorAll(".jp-OutputArea-output img")];
    return shown.length === pictures && shown.every(image => image.complete && image.naturalWidth) &&
        [...document.querySelectorAll(".jp-MarkdownCell")].every(cell => {
            const text = cell.querySelector(".jp-RenderedMarkdown")?.cloneNode(true);
            text?.querySelectorAll("code, pre").forEach(code => code.remove());
            return text && !text.textContent.includes("$");
        });
}"""

# What is wrong with the slide that is shown: what cannot be seen, not even by scrolling, and what is too
# small. Of what an ancestor scrolls, its own box must be in sight; what it clips must lie inside.
FAULTS = """() => {
    const slide = document.querySelector(".reveal section.present > section.present");
    const parts = "img, p, li, td, h1, h2, h3, pre, .cm-line, mjx-container, button, select, " +
        ".widget-label, .widget-readout, .noUi-target";
    const sides = [["left", "right", "overflowX", "scrollLeft", "scrollWidth", "innerWidth"],
                   ["top", "bottom", "overflowY", "scrollTop", "scrollHeight", "innerHeight"]];
    function isCut(part) {
        for (const [start, end, overflow, scrolled, size, inner] of sides) {
            let {[start]: from, [end]: to} = part.getBoundingClientRect();
            for (let box = part.parentElement; box; box = box.parentElement) {
                const view = box.getBoundingClientRect(), how = getComputedStyle(box)[overflow];
                if (how === "visible") continue;
                if (how === "auto" || how === "scroll") {
                    const first = view[start] - box[scrolled];
                    if (from < first - 2 || to > first + box[size] + 2) return true;
                } else if (from < view[start] - 2 || to > view[end] + 2) return true;
                [from, to] = [Math.max(from, view[start]), Math.min(to, view[end])];
            }
            if (from < -2 || to > window[inner] + 2) return true;
        }
        return false;
    }
    const seen = [...slide.querySelectorAll(parts)].filter(part => {
        const box = part.getBoundingClientRect();
        return box.width > 1 && box.height > 1 && !part.closest("mjx-assistive-mml");
    });
    const size = part => parseFloat(getComputedStyle(part).fontSize);
    return [
        ...seen.filter(isCut).map(part => `cut: ${part.outerHTML.slice(0, 150)}`),
        ...seen.filter(part => part.matches("p, li, pre") && size(part) < innerHeight / 48)
            .map(part => `small: ${part.textContent.slice(0, 60)}`),
        ...(seen.length ? [] : ["nothing on it"]),
    ];
}"""
# of a deck in half of the window, on what is left of it by the bars of JupyterLab
DECK_WINDOW = {"width": 2960, "height": 830}
DECK_FRAME = {"width": 1312, "height": 709}  # that is


class Lab:
    """A server whose files are copies of notebooks, and a browser beside it.

    Args:
        folder: what it shows; all it writes goes next to it, into a folder `lab`.
    """

    def __init__(self, folder: Path, context, url: str, token: str):
        self.folder, self._context, self.url, self._token = folder, context, url, token

    def _ask(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method)
        request.add_header("Authorization", f"token {self._token}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def ready(self) -> bool:
        try:
            self._ask("status")
        except OSError:
            return False
        return True

    def _kernel(self, name: str) -> str:
        (kernel,) = (
            session["kernel"]["id"]
            for session in json.loads(self._ask("sessions"))
            if session["path"] == name
        )
        return kernel

    def end_kernel(self, name: str) -> None:
        """Shut down the kernel of a notebook, as the list of all kernels does."""
        self._ask(f"kernels/{self._kernel(name)}", "DELETE")

    def kill_kernel(self, name: str) -> None:
        """Kill it, as a machine does that is out of memory."""
        kernel = self._kernel(name)
        (process,) = (
            child
            for child in psutil.Process().children(recursive=True)
            if f"kernel-{kernel}" in " ".join(child.cmdline())
        )
        process.kill()

    @contextmanager
    def _page(self, name: str, address: str, **viewport: int) -> Iterator["Notebook"]:
        page = self._context.new_page()
        try:
            page.set_viewport_size(viewport)
            page.set_default_timeout(SLOW)
            opened = Notebook(page, self.url)
            page.goto(f"{self.url}/{address}")
            yield opened
        finally:
            page.close()
            for session in json.loads(self._ask("sessions")):
                if session["path"] == name:
                    self._ask(f"sessions/{session['id']}", "DELETE")  # with its kernel

    @contextmanager
    def open(self, path: Path) -> Iterator["Notebook"]:
        """A copy of a notebook without its outputs, so that whatever is seen comes from this run."""
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, self.folder / path.name)
        address = f"lab/tree/{path.name}?token={self._token}&reset"
        with self._page(path.name, address, width=1440, height=1000) as opened:
            yield opened

    @contextmanager
    def stored(self, path: Path) -> Iterator[tuple["Notebook", "Deck"]]:
        """A copy of a notebook as it is stored, not run, as a live deck in a tab of its own."""
        shutil.copy(path, self.folder)
        cells = nbformat.read(path, as_version=4).cells
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        pictures = sum("image/png" in output.get("data", {}) for output in outputs)
        with self._page(path.name, f"rise/{path.name}?token={self._token}", **DECK_FRAME) as opened:
            deck = Deck(opened.page.main_frame)
            deck.until_shown()
            try:
                deck.frame.wait_for_function(IS_THERE, arg=pictures, timeout=SLOW)
            except Exception as error:  # Playwright's own error says less
                raise AssertionError(
                    f"{path.name}: {pictures} pictures are stored, or a text has equations, that the deck lacks"
                ) from error
            yield opened, deck


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """JupyterLab and a browser for an empty folder; both are gone afterwards, whatever happens."""
    from playwright.sync_api import sync_playwright

    own = folder.with_name("lab")
    settings = own / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # else only the cells in sight are in the page
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    (own / "config" / "labconfig").mkdir(parents=True)
    # no question over the page whether to show news
    news = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (own / "config" / "labconfig" / "page_config.json").write_text(json.dumps(news))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}",
        f"--LabApp.user_settings_dir={own / 'settings'}",
        f"--LabApp.workspaces_dir={own / 'workspaces'}",
    ]  # fmt: skip
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_DATA_DIR": str(own / "data"),
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
        "IPYTHONDIR": str(own / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",  # kernels of this Python, not of the user
        "OMP_NUM_THREADS": "1",
    }
    log = own / "log.txt"
    with log.open("w") as out:
        server = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=ARGUMENTS,
            )
            try:
                # one for all pages: what it has loaded and compiled once it keeps
                context = browser.new_context(
                    reduced_motion="reduce",  # a slide that scrolls is there at once
                )
                context.add_init_script(MESSAGES)
                running = Lab(folder, context, f"http://127.0.0.1:{port}", token)
                deadline = time.monotonic() + 120
                while not running.ready():
                    if server.poll() is not None or time.monotonic() > deadline:
                        pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
                    time.sleep(0.3)
                yield running
            finally:
                browser.close()
    finally:
        server.terminate()  # it ends its kernels first
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


class Notebook:
    """A notebook in the browser.

    `complaints` lists errors of the page itself, and requests that left this machine.
    """

    def __init__(self, page, home: str):
        self.page, self.complaints = page, []
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((home, "blob:", "data:"))
                else self.complaints.append(f"asked for {request.url[:90]}")
            ),
        )

    def run_all(self, seconds: float = 1200) -> None:
        """Run all cells; raises if one fails or warns, or if they take too long."""
        page = self.page
        page.locator(".jp-Notebook").wait_for()
        idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        idle.wait_for()
        page.locator(".jp-NotebookPanel-toolbar").get_by_text("Python 3").wait_for()
        deadline, asked, once_more = time.monotonic() + seconds, 0, False
        while True:
            now = page.evaluate(PROGRESS)
            if now["complaints"] or (now["all"] and now["done"] == now["all"]):
                break
            if time.monotonic() > deadline:
                pytest.fail(f"{now['done']} of {now['all']} cells ran in {seconds} seconds")
            # a page that is still connecting to its kernel drops the request without a word
            if not now["waiting"]:
                if (now["done"] and not once_more) or asked == 20:
                    pytest.fail(f"stopped after {now['done']} of {now['all']} cells")
                asks = page.locator("dialog")
                once_more = asks.count() > 0
                for question in asks.all_inner_texts():  # a slow machine has no kernel yet
                    assert question.startswith("Select Kernel"), question
                    asks.locator(".jp-mod-accept").click()
                    idle.wait_for()
                    page.wait_for_timeout(2000)
                page.get_by_role("menuitem", name="Run", exact=True).click()
                page.locator('li.lm-Menu-item[data-command="runmenu:run-all"]').click()
                asked += 1
                for _ in range(50):
                    page.wait_for_timeout(100)
                    now = page.evaluate(PROGRESS)
                    if now["waiting"] or now["done"]:
                        break
            page.wait_for_timeout(100)
        idle.wait_for()  # all outputs have come
        complaints = page.evaluate(PROGRESS)["complaints"]
        assert not complaints, "\n".join(complaints)

    def explorers(self, number: int) -> list["ExplorerOnPage"]:
        """All of this notebook, from top to bottom, once there are so many."""
        found = self.page.locator(".genlib-explorer")
        try:
            if number:
                found.nth(number - 1).locator("img.widget-image").wait_for()
        except Exception as error:  # Playwright's own error says less
            raise AssertionError(
                f"{found.count()} explorers came up where there must be {number}"
            ) from error
        return [ExplorerOnPage(self.page, found.nth(i)) for i in range(found.count())]

    def run_again(self) -> None:
        """Run all cells once more."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator('li.lm-Menu-item[data-command="runmenu:run-all"]').click()
        self.page.wait_for_function(f"({PROGRESS})().waiting > 0")
        self.run_all()

    def restart(self) -> None:
        """Restart the kernel by the menu."""
        self.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        self.page.locator('li.lm-Menu-item[data-command="kernelmenu:restart"]').click()
        self.page.locator("dialog .jp-mod-accept").click()
        self.page.locator("dialog").wait_for(state="detached")

    def deck_frames(self) -> list:
        """Those of live decks beside the notebook."""
        frames = self.page.locator(".jp-Document iframe").element_handles()
        return [frame.content_frame() for frame in frames]

    def present(self, number: int) -> "Deck":
        """Turn it into a live deck, as a lecturer does; what has run is not run again.

        Args:
            number: of its explorers.
        """
        self.page.set_viewport_size(DECK_WINDOW)
        self.page.locator(".jp-NotebookPanel-toolbar [data-command='RISE:preview']").click()
        frame = self.page.locator(".jp-Document iframe").element_handle().content_frame()
        deck = Deck(frame)
        deck.until_shown()
        # they are made anew, from what the kernel has
        found = frame.locator(".genlib-explorer img.widget-image")
        try:
            if number:
                found.nth(number - 1).wait_for(state="attached")
        except Exception as error:  # Playwright's own error says less
            raise AssertionError(
                f"{found.count()} explorers are in the live deck where there must be {number}"
            ) from error
        return deck


class Deck:
    """A live deck of slides (jupyterlab-rise), beside the notebook that it shows, or in a tab of its own."""

    def __init__(self, frame):
        self.frame = frame

    def until_shown(self) -> None:
        """Wait for its first slide."""
        self.frame.locator(".reveal section.present > section.present").wait_for()

    def size(self) -> dict[str, int]:
        return self.frame.evaluate("() => ({width: innerWidth, height: innerHeight})")

    def screenshot(self, path: Path) -> None:
        self.frame.locator("body").screenshot(path=path)

    def place(self) -> dict[str, int]:
        return self.frame.evaluate(PLACE)

    def press(self, key: str) -> None:
        """Press a key that goes on or back, and wait until the deck has moved."""
        before = self.place()
        # as by a click into it; where it has the keyboard, this changes nothing
        if self.frame.parent_frame:
            self.frame.frame_element().focus()
        self.frame.page.keyboard.press(key)
        try:
            self.frame.wait_for_function(
                f"""before => {{
                    const now = ({PLACE})();
                    return ["at", "scrolled", "shown"].some(it => now[it] !== before[it]);
                }}""",
                arg=before,
                timeout=SLOW,
            )
        except Exception as error:  # Playwright's own error says less
            where = f"slide {before['at'] + 1} of {before['all']}"
            raise AssertionError(f"{where}: the key {key!r} did nothing") from error

    def walk(self) -> Iterator[int]:
        """Go through it with the space bar alone: the number of each slide, from 0, when all of it was seen."""
        while True:
            place = self.place()
            if place["below"] <= 4 and not place["hidden"]:
                yield place["at"]
                if place["at"] == place["all"] - 1:
                    return
            self.press(" ")

    def faults(self) -> list[str]:
        """What is wrong with the slide that is shown."""
        return self.frame.evaluate(FAULTS)

    def explorers(self) -> list["ExplorerOnPage"]:
        """Those on the slide that is shown."""
        found = self.frame.locator("section.present > section.present .genlib-explorer")
        return [ExplorerOnPage(self.frame, found.nth(i)) for i in range(found.count())]
