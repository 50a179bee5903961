"""JupyterLab in a real browser: notebooks that run or show what they store, explorers that move, decks of slides."""

import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest

from tests.page_browser import CHROMIUM

# milliseconds that a loaded machine may take for what is there at once on a quiet one
SLOW = 60_000

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

# Remembers when something was pressed, and when the pixels of the picture became others.
WATCH = """async root => {
    const image = root.querySelector("img.widget-image");
    await image.decode();
    const canvas = document.createElement("canvas");
    let last = null;
    function pixels() {
        canvas.width = image.naturalWidth;
        canvas.height = image.naturalHeight;
        const context = canvas.getContext("2d", {willReadFrequently: true});
        context.drawImage(image, 0, 0);
        return new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    }
    const watch = root.watch = {pressed: null, changes: [], loaded: 0};
    image.addEventListener("load", () => {
        const now = performance.now(), before = last;
        last = pixels();
        watch.loaded = now;
        if (last.some((value, i) => value !== before[i])) watch.changes.push(now);
    });
    function press(event) {
        // a mouse that moves with no button down does nothing
        if (event.type === "mousemove" && !event.buttons) return;
        watch.pressed ??= event.timeStamp;
    }
    // a list tells only of the choice
    for (const kind of ["keydown", "mousedown", "mousemove", "change"])
        window.addEventListener(kind, press, true);
    last = pixels();
}"""

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
# What is wrong with an explorer at the width that it has.
EXPLORER_FAULTS = """root => {
    const faults = [], image = root.querySelector("img.widget-image").getBoundingClientRect();
    const seen = part => part.getBoundingClientRect().width > 1;
    const all = selector => [...root.querySelectorAll(selector)].filter(seen);
    for (const part of all(".widget-label, button, .widget-readout, select")) {
        const {left, right} = part.getBoundingClientRect(), text = part.textContent.slice(0, 40);
        if (part.scrollWidth > part.clientWidth + 1) faults.push(`cut: ${text}`);
        if (left < image.left - 3 || right > Math.max(image.right, root.clientWidth + image.left) + 3)
            faults.push(`outside: ${text}`);
    }
    // the controls beside each other, and whether they reach as far as the picture
    const lines = new Map();
    for (const slider of all(".widget-slider")) {
        const box = slider.getBoundingClientRect(), track = slider.querySelector(".noUi-target").clientWidth;
        const name = slider.querySelector(".widget-label").textContent;
        const handle = slider.querySelector(".noUi-handle");
        const values = handle.getAttribute("aria-valuemax") - handle.getAttribute("aria-valuemin");
        if (track < 110 || track < Math.min(1.5 * values, 0.4 * image.width))
            faults.push(`short: slider ${name}, ${track} of ${Math.round(image.width)} px`);
        const row = Math.round(box.top / 8);
        lines.set(row, Math.max(lines.get(row) ?? 0, box.right, ...all("button, .widget-label")
            .map(part => part.getBoundingClientRect()).filter(part => Math.abs(part.top - box.top) < 12)
            .map(part => part.right)));
    }
    for (const right of lines.values())
        if (right < 0.94 * image.width + image.left)
            faults.push(`a row of sliders ends ${image.right - right} px before the picture`);
    for (const part of all("button, select, .noUi-target:not([disabled]) .noUi-handle"))
        if (!/pointer|grab/.test(getComputedStyle(part).cursor))
            faults.push(`no cursor: ${part.outerHTML.slice(0, 80)}`);
    if (root.querySelector("[title=null]")) faults.push("a tooltip that says null");
    return faults;
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
                args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
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


class ExplorerOnPage:
    """An explorer as a user meets it: keys, buttons and a mouse.

    `name` comes from its class; `moves` has what was done, and how many milliseconds it took from
    the event in the browser until the page had the changed picture.
    """

    def __init__(self, page, root):
        self.page, self.root, self.mouse = page, root, root.page.mouse  # a frame has no mouse
        classes = root.get_attribute("class").split()
        (self.name,) = (
            name.removeprefix("genlib-")
            for name in classes
            if name.startswith("genlib-") and name != "genlib-explorer"
        )
        self.picture = root.locator("img.widget-image").first
        self.moves: list[tuple[str, float]] = []
        self._step = 1
        self._element = root.element_handle()
        self._element.evaluate(WATCH)

    def median(self) -> float:
        return statistics.median(milliseconds for _, milliseconds in self.moves)

    def _until(self, condition: str, otherwise: str) -> None:
        try:
            self.page.wait_for_function(
                f"root => {condition}", arg=self._element, timeout=SLOW, polling=20
            )
        except Exception as error:  # Playwright's own error says less
            raise AssertionError(f"{self.name} explorer: {otherwise}") from error

    def still(self) -> None:
        """Wait until the kernel has answered all that it was asked, and its last picture is there."""
        self._until(
            "!kernel.open.size && root.querySelector('img.widget-image').complete &&"
            " performance.now() - Math.max(kernel.last, root.watch.loaded) > 80",
            "the kernel does not answer, or the picture goes on changing",
        )

    def changes(self, what: str, number: int = 1) -> None:
        """Wait for so many other pictures."""
        self._until(
            f"root.watch.changes.length >= {number}", f"{what}, and the picture stayed as it was"
        )

    def _forget(self) -> None:
        self._element.evaluate("root => { root.watch.pressed = null; root.watch.changes = []; }")

    def move(self, what: str, action: Callable[[], object]) -> None:
        """Do something, after which the picture must be another."""
        self.still()
        self._forget()
        action()
        self.changes(what)
        took = self._element.evaluate("root => root.watch.changes[0] - root.watch.pressed")
        self.moves.append((what, took))

    # ------------------------------------------------------------ what is seen, and heard

    def words(self) -> str:
        """What stands on it about its kernel; empty while that answers."""
        return " ".join(self.root.locator(".genlib-words").all_inner_texts())

    def accessible(self, role: str) -> list[str]:
        """The names of all parts of this role, as Chromium tells them to a screen reader; "" for none."""
        cdp = self.page.context.new_cdp_session(self.page)
        here = "[...document.querySelectorAll('.genlib-explorer')].find(it => it.watch?.here)"
        self._element.evaluate("root => { root.watch.here = true; }")
        node = cdp.send("Runtime.evaluate", {"expression": here})["result"]["objectId"]
        found = cdp.send("Accessibility.queryAXTree", {"objectId": node, "role": role})["nodes"]
        self._element.evaluate("root => { root.watch.here = false; }")
        cdp.detach()
        return [node["name"]["value"].strip() for node in found if not node["ignored"]]

    def faults(self) -> list[str]:
        """What is cut, what is shorter than the picture is wide, and what the mouse does not point at."""
        return self._element.evaluate(EXPLORER_FAULTS)

    def cursor(self, x: float, y: float) -> str:
        """What the mouse looks like at a place on the picture, of which both sides are 1 long."""
        self.picture.scroll_into_view_if_needed()
        self._go(x, y)
        return self.picture.evaluate("image => getComputedStyle(image).cursor")

    # ------------------------------------------------------------ controls

    def handles(self) -> list:
        """Of all sliders in sight that are not disabled; a range has two."""
        found = self.root.locator(".widget-slider .noUi-target:not([disabled]) .noUi-handle")
        return [handle for handle in found.all() if handle.is_visible()]

    def push(self, handle) -> None:
        """Move a slider one step; the other way, where it stands at its end."""
        now, least, most = (
            float(handle.get_attribute(f"aria-value{name}")) for name in ("now", "min", "max")
        )
        right = now < most and (self._step > 0 or now <= least)
        key = "ArrowRight" if right else "ArrowLeft"
        title = handle.evaluate(
            "handle => handle.closest('.widget-slider').querySelector('.widget-label').textContent"
        )
        self.move(f"{key} on slider {title!r} at {now:g}", lambda: handle.press(key))

    def push_all(self, times: int = 1) -> None:
        """All sliders on; the next time all back, so that none arrives at its end."""
        for handle in self.handles():
            for _ in range(times):
                self.push(handle)
        self._step = -self._step

    def press_buttons(self) -> None:
        """Each button; before each, all sliders move on, so that it has something to undo."""
        for button in self.root.locator("button.widget-button").all():
            if self.root.locator(".widget-play").locator(button).count():
                continue
            self.push_all()
            title = button.get_attribute("title") or button.inner_text()
            self.move(f"button {title!r}", button.click)

    def toggle(self) -> None:
        """Each toggle but the one that is down, then that one again."""
        for group in self.root.locator(".widget-toggle-buttons").all():
            buttons = group.locator("button.widget-toggle-button").all()
            down = ["mod-active" in button.get_attribute("class") for button in buttons].index(True)
            for button in [*buttons[:down], *buttons[down + 1 :], buttons[down]]:
                self.move(f"toggle {button.inner_text()!r}", button.click)
                self.push_all()  # it may have brought other sliders

    def choose(self) -> None:
        """Each entry of each list but the one that is chosen, then that one again."""
        for menu in self.root.locator("select").all():
            chosen = menu.evaluate("menu => menu.selectedIndex")
            others = [i for i in range(menu.locator("option").count()) if i != chosen]
            for i in [*others, chosen]:
                # an open list is Chromium's own window: this is what it tells the page at the end
                self.move(
                    f"entry {i} of a list", lambda menu=menu, i=i: menu.select_option(index=i)
                )

    def play(self) -> None:
        """From the start of the trajectory: play goes on by itself, and pause stops it; then back to the start.

        A trajectory that stood where it happened to stop might stand where the next move wants to go.
        """
        for play in self.root.locator(".widget-play").all():
            handle = play.locator("xpath=..").locator(".noUi-handle")

            def position(handle=handle):
                return float(handle.get_attribute("aria-valuenow"))

            handle.press("Home")
            self.still()
            assert position() == 0
            self._forget()
            button = play.locator("button").first
            button.click()
            self.changes("play was pressed", number=2)
            button.click()
            self.still()
            at, last = position(), float(handle.get_attribute("aria-valuemax"))
            assert 0 < at < last, (
                f"{self.name} explorer: the player was not stopped: {at} of {last}"
            )
            self._forget()
            self.page.wait_for_timeout(1500)  # of more than five frames
            went_on = position() != at or self._element.evaluate("root => root.watch.changes")
            assert not went_on, f"{self.name} explorer: the player went on after pause"
            handle.press("Home")
            self.still()

    # ------------------------------------------------------------ the mouse on the picture

    def _go(self, x: float, y: float) -> None:
        """To a place on the picture, of which both sides are 1 long, y downwards."""
        box = self.picture.bounding_box()
        self.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])

    def click(self, *places: tuple[float, float]) -> None:
        for place in places:
            self.picture.scroll_into_view_if_needed()
            self._go(*place)
            self.move(f"click at {place}", lambda: (self.mouse.down(), self.mouse.up()))

    def drag(
        self,
        start: tuple[float, float],
        *way: tuple[float, float],
        after: Callable[[], object] = lambda: None,
    ) -> None:
        """Press the button at the start, and go along the way: each point changes the picture.

        Args:
            after: called at each point, while the button is down.
        """
        self.picture.scroll_into_view_if_needed()
        self._go(*start)
        self.move(f"mouse down at {start}", self.mouse.down)
        after()
        for place in way:
            self.move(f"drag to {place}", lambda place=place: self._go(*place))
            after()
        self.mouse.up()
        self.still()


def timing_table(rows: Sequence[tuple[str, ExplorerOnPage]]) -> str:
    """Explorers and their times, a line each."""
    lines = [f"{'lesson':<24}{'explorer':<16}{'moves':>5}{'median ms':>11}   slowest"]
    for lesson, explorer in rows:
        what, took = max(explorer.moves, key=lambda move: move[1])
        lines.append(
            f"{lesson:<24}{explorer.name:<16}{len(explorer.moves):>5}{explorer.median():>11.0f}"
            f"   {took:.0f}: {what}"
        )
    return "\n".join(lines)
