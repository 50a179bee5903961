// What JupyterLab and jupyterlab-rise 0.43 lack for the explorers of this course: in JupyterLab's own page
// and in that of a live deck (/rise/...), names for those who cannot see, a mouse that shows where it does
// something, and words where no kernel answers; in a deck, slides that scroll. `make setup` installs it.

(() => {
    const EXPLORER = ".genlib-explorer";
    let notebooks = {}; // JupyterLab's module of that name, in each of its versions

    // The deck's page shares no `@jupyterlab/console`, of which ipywidgets 8.1 asks only whether there is
    // a console. Without the module it does not load at all, and explorers stay still pictures.
    const noConsole = { "4.0.0": { get: async () => () => ({}), from: "genlib-live", loaded: true } };
    window._JUPYTERLAB ??= {};
    window._JUPYTERLAB["genlib-live"] = {
        init(shared) {
            shared["@jupyterlab/console"] ??= noConsole;
            notebooks = shared["@jupyterlab/notebook"] ?? {};
        },
        async get() {
            const notebook = (await Object.values(notebooks)[0].get())();
            const plugin = {
                id: "genlib-live:kernel",
                autoStart: true,
                requires: [notebook.INotebookTracker],
                activate(_, tracker) {
                    tracker.forEach(follow);
                    tracker.widgetAdded.connect((_, panel) => follow(panel));
                },
            };
            return () => ({ __esModule: true, default: plugin });
        },
    };

    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = document.currentScript.src.replace(/live\.js/, "live.css");
    document.head.append(style);

    // ---------------------------------------------------------------- whether a kernel answers

    const ENDS = ["restarting", "autorestarting", "terminating", "dead"];
    const WORDS = {
        dead: "The kernel is dead, so this picture stands still. Restart the kernel and run the cell again.",
        restarting: "The kernel restarts. Then run this cell again: until then the picture stands still.",
        another: "The kernel was restarted, so this picture stands still. Run the cell again to move it.",
        away: "No connection to the kernel: the picture stands still until it is back.",
    };

    // A kernel that ends takes what its explorers are made of along, and the next one does not know them.
    function follow(panel) {
        const context = panel.sessionContext, orphans = new WeakSet();
        const explorers = () => panel.content.widgets.flatMap(cell => [...cell.node.querySelectorAll(EXPLORER)]);

        function look() {
            if (panel.isDisposed) return;
            const kernel = context.session?.kernel, status = kernel?.status ?? "dead";
            if (ENDS.includes(status)) explorers().forEach(explorer => orphans.add(explorer));
            for (const explorer of explorers()) {
                let words = "";
                if (orphans.has(explorer)) {
                    words = status === "dead" || status === "terminating" ? WORDS.dead
                        : status.endsWith("restarting") ? WORDS.restarting : WORDS.another;
                } else if (kernel?.connectionStatus !== "connected") {
                    words = WORDS.away;
                }
                say(explorer, words);
            }
        }
        for (const signal of ["statusChanged", "connectionStatusChanged"]) context[signal].connect(look);
        context.kernelChanged.connect((_, { oldValue }) => {
            if (oldValue) explorers().forEach(explorer => orphans.add(explorer));
            look();
        });
    }

    function say(explorer, words) {
        let line = explorer.querySelector(":scope > .genlib-words");
        if (!words || line?.textContent === words) return words || line?.remove();
        if (!line) {
            line = document.createElement("p");
            line.className = "genlib-words";
            line.setAttribute("role", "alert");
            explorer.prepend(line);
        }
        line.textContent = words;
    }

    // ---------------------------------------------------------------- names

    // ipywidgets 8.1 writes a slider's name beside it, and tells nobody that it is its name
    function nameAll(explorer) {
        const text = part => part?.textContent.trim() ?? "";
        for (const control of explorer.querySelectorAll(".widget-slider")) {
            const name = text(control.querySelector(".widget-label"));
            const handles = control.querySelectorAll(".noUi-handle");
            handles.forEach((handle, i) => {
                handle.setAttribute("aria-label", handles.length > 1 ? `${name}, ${i ? "end" : "start"}` : name);
            });
            const number = control.querySelector(".widget-readout");
            if (!number) continue;
            number.setAttribute("role", "textbox");
            number.setAttribute("aria-label", `${name}, as a number`);
        }
        for (const play of explorer.querySelectorAll(".widget-play")) {
            ["play or pause", "stop, and back to the start", "repeat"].forEach((name, i) => {
                const button = play.querySelectorAll("button")[i];
                button?.setAttribute("aria-label", name);
                button?.setAttribute("title", name);
            });
        }
        for (const toggles of explorer.querySelectorAll(".widget-toggle-buttons")) {
            const name = text(toggles.querySelector(".widget-label"));
            toggles.setAttribute("role", "group");
            toggles.setAttribute("aria-label", name);
            for (const button of toggles.querySelectorAll("button")) {
                const down = button.classList.contains("mod-active");
                button.setAttribute("aria-pressed", down);
                if (!button.title) button.title = `${name}: ${text(button)}`;
            }
        }
        for (const button of explorer.querySelectorAll("button.widget-button")) {
            button.setAttribute("aria-label", text(button) || button.title);
        }
        for (const icon of explorer.querySelectorAll("button i")) icon.setAttribute("aria-hidden", true);
        for (const picture of explorer.querySelectorAll("img.widget-image")) picture.alt = picture.title;
    }

    // controls come after their explorer, some much later; a toggle changes its class only
    let waits = false;
    const changes = new MutationObserver(() => {
        if (waits) return;
        waits = true;
        setTimeout(() => {
            waits = false;
            document.querySelectorAll(EXPLORER).forEach(nameAll);
        }, 100);
    });
    changes.observe(document, { childList: true, subtree: true });
    document.addEventListener("click", event => {
        const explorer = event.target.closest?.(EXPLORER);
        if (explorer) setTimeout(() => nameAll(explorer));
    });

    // ---------------------------------------------------------------- where the mouse does something

    // as course/explorers/core.py says it: genlib-at-CURSOR-left-top-right-bottom, in thousandths
    const PLACE = /^genlib-at-(.+)-(\d+)-(\d+)-(\d+)-(\d+)$/;

    function point({ target, clientX, clientY, buttons }) {
        const picture = target.closest?.(`${EXPLORER} img.widget-image`);
        if (!picture) return;
        const box = picture.getBoundingClientRect();
        const x = 1000 * (clientX - box.left) / box.width, y = 1000 * (clientY - box.top) / box.height;
        const place = [...picture.classList].map(name => PLACE.exec(name)).find(place => place &&
            x >= +place[2] && y >= +place[3] && x <= +place[4] && y <= +place[5]);
        const dead = picture.closest(EXPLORER).querySelector(":scope > .genlib-words");
        if (buttons && !dead) return; // on its way
        picture.style.cursor = place ? dead ? "not-allowed" : place[1] : "";
    }
    document.addEventListener("mousemove", point, true);

    // ---------------------------------------------------------------- decks

    const TYPING = "input, textarea, select, [contenteditable=true], .jp-Dialog";
    const SCROLLS = { "ArrowDown": 0.4, "ArrowUp": -0.4, " ": 0.85, "PageDown": 0.85, "PageUp": -0.85 };
    const TURNS = [" ", "PageDown", "PageUp", "ArrowRight", "ArrowLeft"];

    // Space and the keys of a clicker show the rest of a long slide before they turn the page; the arrows
    // up and down only scroll.
    function scroll(slide, share) {
        const above = slide.scrollTop, below = slide.scrollHeight - slide.clientHeight - above;
        if ((share < 0 ? above : below) <= 4) return false;
        slide.scrollBy({ top: share * slide.clientHeight });
        return true;
    }

    // before JupyterLab, to which an arrow is the next cell
    window.addEventListener("keydown", event => {
        const slide = document.querySelector(".rise-enabled section.present > section.present");
        const { key, keyCode, shiftKey, target } = event;
        if (!slide || event.ctrlKey || event.metaKey || event.altKey || target.closest?.(TYPING)) return;
        const turns = TURNS.includes(key);
        if (target.closest?.(EXPLORER)) {
            target.setAttribute("data-lm-suppress-shortcuts", "");
            if (!turns || key.startsWith("Arrow")) return;
            document.activeElement.blur(); // a slider that was just moved: it keeps the arrows, no more
        }
        if (key === "c" && !shiftKey) {
            document.body.classList.toggle("genlib-no-code");
        } else if (key in SCROLLS && scroll(slide, shiftKey ? -SCROLLS[key] : SCROLLS[key])) {
            // that is all
        } else if (turns && target === document.body) {
            return; // the deck's own keys, and JupyterLab sees no cell that they could be for
        } else if (turns) {
            const again = { key, keyCode, shiftKey, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new KeyboardEvent("keydown", again));
        } else if (!(key in SCROLLS)) {
            return;
        }
        event.preventDefault();
        event.stopImmediatePropagation();
    }, true);

    // An arrow that moves a slider does not turn the page as well: the deck listens above the body.
    document.body.addEventListener("keydown", event => {
        if (event.target.closest?.(EXPLORER)) event.stopPropagation();
    });
})();
