"""An explorer in a real browser: it is moved by keys and mouse, and what is wrong with it is told."""

import statistics
from collections.abc import Callable, Sequence

# milliseconds that a loaded machine may take for what is there at once on a quiet one
SLOW = 60_000

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
