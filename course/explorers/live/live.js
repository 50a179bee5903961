// What jupyterlab-rise 0.43 lacks for a lecture. JupyterLab loads this file as an extension into its own
// page, where it does nothing, and into the page of a live deck (/rise/...). `make setup` installs it.

(() => {
    // The deck's page shares no `@jupyterlab/console`, of which ipywidgets 8.1 asks only whether there is
    // a console. Without the module it does not load at all, and explorers stay still pictures.
    const noConsole = { "4.0.0": { get: async () => () => ({}), from: "genlib-live", loaded: true } };
    window._JUPYTERLAB ??= {};
    window._JUPYTERLAB["genlib-live"] = {
        init(shared) {
            shared["@jupyterlab/console"] ??= noConsole;
        },
    };

    // everything in the style sheet is about decks only
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = document.currentScript.src.replace(/live\.js/, "live.css");
    document.head.append(style);

    const TYPING = "input, textarea, select, [contenteditable=true], .jp-Dialog";
    const EXPLORER = ".genlib-explorer";
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
