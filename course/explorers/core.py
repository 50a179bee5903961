"""What every explorer is made of: a picture that is redrawn in place, and controls around it.

An explorer draws with the Agg canvas of Matplotlib and never through pyplot, so it leaves no open
figure behind. Its picture is an ordinary image widget: each move of a control changes the data of
artists that are there already, and sends new PNG bytes to the notebook.
"""

import base64
import io
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ipywidgets
import numpy as np
import torch
from ipyevents import Event
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.transforms import Affine2D, Bbox
from PIL import Image
from torch import Tensor
from traitlets import Unicode

from genlib.plots import GREEN, NOT_THERE

DPI = 100
RED = "#C8102E"  # that of `genlib.plots` leans to orange, and beside its orange nobody calls it red
CHOSEN = GREEN  # frames what is chosen, as red marks what is spoken of
SLIDERS = (ipywidgets.IntSlider, ipywidgets.FloatSlider, ipywidgets.IntRangeSlider)
STILL = "still picture: run the cell to move it"
MOST_WRITTEN = 500  # texts that a picture keeps as pixels


class Picture(ipywidgets.Image):
    """One Matplotlib figure, shown as an image; call `draw` after the artists have changed.

    The layout is found once, by the first `draw`, and then kept: it would take most of the time. So
    the first thing drawn should have texts as long as any that follow.

    Args:
        size: width and height in inches; 100 pixels to the inch.
        about: what can be seen, for those who cannot see it; also shown when the mouse rests on it.

    Example:
        >>> picture = Picture((4, 3), about="a line")
        >>> axes = picture.figure.add_subplot()
        >>> (line,) = axes.plot([0, 1])
        >>> picture.draw()
        >>> bytes(picture.value[1:4])
        b'PNG'
    """

    # the browser shows no tooltip, and no picture either, on what has no description
    description = Unicode("").tag(sync=True)

    def __init__(self, size: tuple[float, float], about: str):
        # as wide as it is drawn, for a picture that is stretched is blurred; less on a narrow page
        layout = {"max_width": "100%", "align_self": "flex-start"}
        super().__init__(format="png", tooltip=about, layout=layout)
        self.about = about
        self.figure = Figure(figsize=size, dpi=DPI)
        self.figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
        self._canvas = FigureCanvasAgg(self.figure)
        self._laid_out = False
        self._moving: tuple[Artist, ...] | None = None
        self._still: Any = None
        self._written: dict[tuple[object, ...], Any] = {}  # texts, and their pixels
        # a notebook may answer a slider in another thread than the one that runs its cells
        self._one_at_a_time = threading.RLock()
        self._mouse: Event | None = None
        self._handlers: dict[str, list[tuple[Axes, Callable[..., None]]]] = {
            "click": [],
            "drag": [],
        }
        self._end: dict[Axes, Callable[[], None]] = {}
        self._places: list[tuple[Axes, tuple[float, float, float, float] | None, str]] = []
        self._dragged: Axes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return round(self.figure.bbox.width), round(self.figure.bbox.height)

    def draw(self, everything: bool = False) -> None:
        """Render the figure as it is now.

        Args:
            everything: also what `move_only` left out, because it has changed after all.
        """
        with self._one_at_a_time:
            self._render(everything)

    def _render(self, everything: bool) -> None:
        canvas = self._canvas
        if not self._laid_out:
            canvas.draw()
            self.figure.set_layout_engine("none")
            self._laid_out = True
            self._show_places()
        if self._moving is None:
            canvas.draw()
        else:
            if self._still is None or everything:
                for artist in self._moving:
                    artist.set_animated(True)  # so the canvas leaves it out
                canvas.draw()
                self._still = canvas.copy_from_bbox(self.figure.bbox)
                self._written.clear()
            canvas.restore_region(self._still)
            texts = [artist for artist in self._moving if isinstance(artist, Text)]
            for text in texts:
                self._write(text)
            for artist in self._moving:
                if artist not in texts:
                    self.figure.draw_artist(artist)
        png = io.BytesIO()
        pixels = canvas.buffer_rgba()
        picture = Image.frombuffer("RGBA", pixels.shape[1::-1], pixels, "raw", "RGBA", 0, 1)
        # the weakest compression takes half the time, and the bytes stay on this machine
        picture.convert("RGB").save(png, "png", compress_level=1)
        self.value = png.getvalue()

    def _write(self, text: Text) -> None:
        """Draw a text; one that stood there before is kept as pixels, since glyphs take long."""
        words = (text, text.get_text(), text.get_position(), text.get_color())
        if words in self._written:
            self._canvas.restore_region(self._written[words])
            return
        self.figure.draw_artist(text)
        room = Bbox.intersection(text.get_window_extent().padded(2), self.figure.bbox)
        if room is not None:
            if len(self._written) == MOST_WRITTEN:
                self._written.clear()
            self._written[words] = self._canvas.copy_from_bbox(room)

    def move_only(self, *artists: Artist) -> None:
        """Let `draw` render only these anew, on a stored picture of all others: several times faster.

        They are drawn above everything else, first the texts, then the others in this order: no text
        may lie where others move. Without this call `draw` renders all there is.
        """
        self._moving, self._still = artists, None

    def on_click(
        self,
        axes: Axes,
        callback: Callable[[float, float], None],
        where: Sequence[tuple[float, float, float, float]] = (),
    ) -> None:
        """Call `callback(x, y)`, in the axes' own coordinates, when somebody clicks inside them.

        Args:
            where: left, bottom, right and top, in the same coordinates, of each part that answers a
                click; by default all of the axes. Over these the mouse is a pointing hand.
        """
        self._watch("click")
        self._handlers["click"].append((axes, callback))
        boxes: Sequence[tuple[float, float, float, float] | None] = where or [None]
        self._places += [(axes, box, "pointer") for box in boxes]

    def on_drag(
        self,
        axes: Axes,
        callback: Callable[[float, float], None],
        end: Callable[[], None] = lambda: None,
        cursor: str = "grab",
    ) -> None:
        """Call `callback(x, y)` where a drag starts and on its way, and `end()` when it is over.

        A drag starts with the button going down inside the axes. It ends when the button goes up or
        the mouse leaves the picture; on the way it may leave the axes, so x and y can lie outside
        their limits. Positions come as fast as they can be drawn: a quick drag skips some.

        Args:
            cursor: of the mouse over the axes, by its name in CSS.
        """
        self._watch("mousedown", "mousemove", "mouseup", "mouseleave")
        self._handlers["drag"].append((axes, callback))
        self._end[axes] = end
        self._places.append((axes, None, cursor))

    def _show_places(self) -> None:
        """Tell the page where the mouse does something, in thousandths of the picture: live.js reads it.

        An image widget hands over nothing else than its classes.
        """
        width, height = self.figure.bbox.size
        for axes, box, cursor in self._places:
            if box is None:
                (left, bottom), (right, top) = axes.bbox.get_points()
            else:
                ends = axes.transData.transform([box[:2], box[2:]])
                (left, bottom), (right, top) = np.sort(ends, axis=0)
            x = [min(max(round(1000 * x / width), 0), 1000) for x in (left, right)]
            y = [min(max(round(1000 - 1000 * y / height), 0), 1000) for y in (top, bottom)]
            self.add_class(f"genlib-at-{cursor}-{x[0]}-{y[0]}-{x[1]}-{y[1]}")

    def _watch(self, *kinds: str) -> None:
        if self._mouse is None:
            self._mouse = Event(source=self, throttle_or_debounce="throttle", wait=40)
            self._mouse.on_dom_event(self._handle)
        self._mouse.watched_events = sorted({*self._mouse.watched_events, *kinds})
        # else the browser drags the image away as a whole
        self._mouse.prevent_default_action = "mousedown" in self._mouse.watched_events

    def _position(self, event: dict[str, Any]) -> tuple[float, float]:
        """Where the mouse is in the figure, in its pixels, y upwards; the page may have scaled it."""
        width, height = self.figure.bbox.width, self.figure.bbox.height
        x = event["relativeX"] / event["boundingRectWidth"] * width
        return x, height - event["relativeY"] / event["boundingRectHeight"] * height

    def _handle(self, event: dict[str, Any]) -> None:
        """What ipyevents reports of the mouse; one such call is one event."""
        position, kind = self._position(event), event["type"]
        if kind == "click":
            for axes, callback in self._handlers["click"]:
                if axes.bbox.contains(*position):
                    callback(*axes.transData.inverted().transform(position).tolist())
            return
        if kind == "mousedown":
            inside = (axes for axes, _ in self._handlers["drag"] if axes.bbox.contains(*position))
            self._dragged = next(inside, None)
        if self._dragged is None:
            return
        dragged, start = self._dragged, time.perf_counter()
        for axes, callback in self._handlers["drag"]:
            if axes is dragged and kind != "mouseleave":
                callback(*axes.transData.inverted().transform(position).tolist())
        self._slow_down(1000 * (time.perf_counter() - start))
        # a move with no button pressed: the button went up where nobody looked
        if kind in ("mouseup", "mouseleave") or event.get("buttons", 1) == 0:
            self._dragged = None
            self._end[dragged]()

    def _slow_down(self, milliseconds: float) -> None:
        """Let the browser report no more moves than can be drawn, or a drag would run on by itself."""
        assert self._mouse is not None
        wait = max(40, 10 * round(1.5 * milliseconds / 10))
        if wait > 1.5 * self._mouse.wait or wait < self._mouse.wait / 1.5:
            self._mouse.wait = wait


class Blocks(AxesImage):
    """An image whose pixels are blocks, on axes that are neither turned nor bent.

    Matplotlib samples an image anew for any transform and filter. To look up the pixel at each place
    of the screen is enough here, and several times as fast.
    """

    def make_image(
        self, renderer: Any, magnification: float = 1.0, unsampled: bool = False
    ) -> tuple[np.ndarray, float, float, Affine2D]:
        pixels = self.to_rgba(np.ma.asarray(self.get_array()), bytes=True)
        height, width = pixels.shape[:2]
        left, right, bottom, top = self.get_extent()
        ends = self.get_transform().transform([(left, bottom), (right, top)])
        (x0, y0), (x1, y1) = ends.tolist()
        x, y = np.arange(round(x0), round(x1)) + 0.5, np.arange(round(y0), round(y1)) + 0.5
        column = np.clip(width * (x - x0) / (x1 - x0), 0, width - 1).astype(int)
        row = np.clip(height * (y1 - y) / (y1 - y0), 0, height - 1).astype(int)
        return pixels[row[:, None], column], round(x0), round(y0), Affine2D()


def show_blocks(
    axes: Axes,
    pixels: np.ndarray,
    extent: tuple[float, float, float, float] | None = None,
    cmap: Colormap | None = None,
    limits: tuple[float, float] | None = None,
) -> Blocks:
    """Like `axes.imshow`, with the origin above, but quick to draw again after `set_data`.

    Args:
        pixels: (H, W, 3) or (H, W, 4) in [0, 1], or (H, W), which `cmap` makes colours of.
        extent: left, right, bottom and top of the image; by default a pixel is one unit wide, with
            whole numbers at its middle.
        limits: the values at the ends of `cmap`; by default 0 and 1.

    Example:
        >>> axes = Figure().add_subplot()
        >>> show_blocks(axes, np.zeros((2, 3, 3))).get_extent()
        [-0.5, 2.5, 1.5, -0.5]
    """
    axes.set_aspect("equal")
    blocks = Blocks(
        axes, cmap=cmap, norm=Normalize(*(limits or (0, 1))), extent=extent, origin="upper"
    )
    blocks.set_data(pixels)
    blocks.set_clip_path(axes.patch)
    axes.add_image(blocks)
    blocks.set_extent(blocks.get_extent())  # the axes make room for it
    return blocks


def as_pixels(image: Tensor) -> np.ndarray:
    """An image (C, H, W), C = 1 or 3, as `show_blocks` takes it: (H, W, 3), grey as colour.

    Example:
        >>> as_pixels(torch.zeros(1, 4, 5)).shape
        (4, 5, 3)
    """
    return image.detach().float().cpu().expand(3, *image.shape[1:]).permute(1, 2, 0).numpy()


def show_image(axes: Axes, image: Tensor) -> Blocks:
    """An image (C, H, W) in [0, 1] with a thin line around; the next one is set by `as_pixels`.

    Example:
        >>> show_image(Figure().add_subplot(), torch.zeros(1, 4, 5)).get_extent()
        [-0.5, 4.5, 3.5, -0.5]
    """
    bare(axes)
    return show_blocks(axes, as_pixels(image))


def bare(axes: Axes) -> None:
    """Axes with a thin line around, and no numbers.

    Example:
        >>> bare(Figure().add_subplot())
    """
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color="0.6", linewidth=0.5)


class Explorer(ipywidgets.VBox):
    """Controls and a picture: a subclass makes both, and says in `redraw` how one follows the other.

    Where no kernel runs, in a stored notebook, on a page or on paper, the picture stands still and
    the controls are not there. Where there is one, the controls are as wide as the picture (see `fit`).

    Args:
        name: for the style sheet and the tests; the class is `genlib-NAME`.
        children: what stands below each other.
        picture: of all pictures, the one to show where no kernel runs.

    Example:
        >>> class Dots(Explorer):
        ...     def __init__(self):
        ...         self.many = ipywidgets.IntSlider(3, min=1, max=9, description="dots")
        ...         picture = Picture((4, 2), about="dots in a row")
        ...         (self._line,) = picture.figure.add_subplot(xlim=(0, 10)).plot([], [], "o")
        ...         super().__init__("dots", [self.many, picture], picture)
        ...         self.redraw_with(self.many)
        ...
        ...     def redraw(self):
        ...         self._line.set_data(range(self.many.value), [0] * self.many.value)
        ...         self.picture.draw()
        >>> dots = Dots()
        >>> before = dots.picture.value
        >>> dots.many.value = 5
        >>> dots.picture.value == before
        False
    """

    def __init__(self, name: str, children: Sequence[ipywidgets.Widget], picture: Picture):
        width, _ = picture.size
        # in a column a slider would grow downwards
        rows = [
            ipywidgets.HBox([child]) if isinstance(child, SLIDERS) else child for child in children
        ]
        super().__init__(rows, layout={"width": "100%", "max_width": f"{width}px"})
        fit(self)
        self.name, self.picture = name, picture
        # JupyterLab hands some events to the kernel's main thread and others to a subshell's, at the
        # same time: who changes what is shown, or draws it, does so alone
        self.alone = threading.RLock()
        self._together = 0
        self.add_class("genlib-explorer")
        self.add_class(f"genlib-{name}")

    def redraw(self) -> None:
        """Bring the picture in step with the controls."""
        raise NotImplementedError

    def redraw_with(self, *controls: ipywidgets.Widget) -> None:
        """Redraw now, and whenever the value of one of these changes."""
        for control in controls:
            control.observe(self._on_change, names="value")
        self.redraw()

    def _on_change(self, change: Any) -> None:
        with self.alone:
            if not self._together:
                self.redraw()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Inside, several controls may change; one redraw follows."""
        with self.alone:
            self._together += 1
            try:
                yield
            finally:
                self._together -= 1
            if not self._together:
                self.redraw()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """The widget, and for those who have no kernel a still picture and a line of text."""
        data = dict(super()._repr_mimebundle_(**kwargs))
        data["text/plain"] = f"{self.name} explorer: run this cell to move it"
        data["image/png"] = base64.b64encode(still(self.picture)).decode()
        return data, {"image/png": {"alt": f"{self.picture.about}; {STILL}"}}


def still(picture: Picture) -> bytes:
    """A picture as PNG bytes, and below it, in words, that it stands still.

    Example:
        >>> picture = Picture((4, 3), about="nothing")
        >>> picture.draw()
        >>> Image.open(io.BytesIO(still(picture))).size
        (400, 332)
    """
    width, height = picture.size
    words = Figure(figsize=(width / DPI, 0.32), dpi=DPI, facecolor="0.92")
    words.text(0.5, 0.45, STILL, ha="center", va="center", fontsize=12, style="italic")
    canvas = FigureCanvasAgg(words)
    canvas.draw()
    strip = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    both = Image.new("RGB", (width, height + strip.height))
    both.paste(Image.open(io.BytesIO(picture.value)), (0, 0))
    both.paste(strip, (0, height))
    png = io.BytesIO()
    both.save(png, "png", optimize=True)
    return png.getvalue()


def fit(widget: ipywidgets.Widget) -> None:
    """Give a control, and all inside it, the room it needs: sliders fill their row, and no word is cut.

    A row that is too narrow for its controls goes on below. A control without a tooltip gets its
    description as one, or the browser would show "null".

    Example:
        >>> row = ipywidgets.HBox([ipywidgets.IntSlider(description="rows")])
        >>> fit(row)
        >>> row.layout.flex_flow, row.children[0].layout.flex
        ('row wrap', '1 1 28em')
    """
    if isinstance(widget, (*SLIDERS, ipywidgets.Dropdown, ipywidgets.ToggleButtons)):
        widget.style.description_width = widget.style.description_width or "initial"
        widget.tooltip = widget.tooltip or widget.description
    if isinstance(widget, SLIDERS):
        values = (widget.max - widget.min) / widget.step
        widget.layout.width, widget.layout.min_width = "auto", "13em"
        widget.layout.flex = widget.layout.flex or f"1 1 {'17em' if values <= 20 else '28em'}"
    elif isinstance(widget, ipywidgets.ToggleButtons):
        widget.style.button_width, widget.layout.width = "auto", "auto"
        widget.layout.display, widget.layout.align_items = "flex", "center"
        widget.layout.flex_flow = "row wrap"
    elif isinstance(widget, ipywidgets.Dropdown):
        widget.layout.max_width = "100%"
    elif isinstance(widget, ipywidgets.Button):
        widget.layout.width, widget.layout.flex = widget.layout.width or "auto", "0 0 auto"
    elif isinstance(widget, ipywidgets.HBox):
        widget.layout.flex_flow, widget.layout.align_items = "row wrap", "center"
    elif isinstance(widget, ipywidgets.VBox) and not isinstance(widget, Explorer):
        widget.layout.flex = "1 1 20em"
    if isinstance(widget, Player):
        widget.layout.width = "100%"
    for child in getattr(widget, "children", ()):
        fit(child)


def rounded(value: float, digits: int = 3) -> str:
    """A number in so many significant digits, as a text shows it.

    Example:
        >>> [rounded(value) for value in (3.84696, 0.5, -12.345, 1234.5, 0.0000487, 0.0)]
        ['3.85', '0.500', '−12.3', '1230', '4.87 × 10⁻⁵', '0']
        >>> rounded(0.0996, digits=2)
        '0.10'
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}".replace("-", "−")
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    places = digits - 1 - int(power)
    if int(power) < -3:
        raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa} × 10{raised}".replace("-", "−")
    return f"{round(value, places):.{max(places, 0)}f}".replace("-", "−")


def percents(counts: Sequence[int]) -> list[int]:
    """Shares in whole percent that add up to 100: those with the largest remainders are rounded up.

    Example:
        >>> percents([43, 157]), percents([1, 1, 1]), percents([0, 5])
        ([22, 78], [34, 33, 33], [0, 100])
    """
    whole, rest = zip(*(divmod(100 * count, sum(counts)) for count in counts), strict=True)
    up = sorted(range(len(counts)), key=lambda i: -rest[i])[: 100 - sum(whole)]
    return [percent + (i in up) for i, percent in enumerate(whole)]


class Player(ipywidgets.HBox):
    """A slider over the frames of a trajectory, with play and pause, and buttons for one step.

    Observe `slider`: whatever is pressed moves it, and the last frame is a frame like any other.

    Args:
        last: number of the last frame; the first is 0.
        interval: milliseconds between two frames.
        description: what is counted.

    Example:
        >>> player = Player(last=10)
        >>> player.forward.click()
        >>> player.slider.value
        1
    """

    def __init__(self, last: int, interval: int = 150, description: str = "step"):
        if last < 1:
            raise ValueError(
                f"a trajectory needs at least two frames, so last must be 1 or more, not {last}"
            )
        self.slider = ipywidgets.IntSlider(0, min=0, max=last, description=description)
        self.play = ipywidgets.Play(0, min=0, max=last, interval=interval, show_repeat=False)
        self.back, self.forward = (
            ipywidgets.Button(icon=icon, tooltip=tooltip, layout={"width": "3em"})
            for icon, tooltip in (
                ("step-backward", f"{description}: one back"),
                ("step-forward", f"{description}: one on"),
            )
        )
        # in the browser: by way of the kernel, a late answer would set a running trajectory back
        self._link = ipywidgets.jslink((self.play, "value"), (self.slider, "value"))
        self.back.on_click(lambda _: self._step(-1))
        self.forward.on_click(lambda _: self._step(1))
        super().__init__([self.play, self.back, self.forward, self.slider])

    def _step(self, by: int) -> None:
        # the slider keeps itself within its ends
        self.slider.value += by


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Draws inside come from `seed`; outside, random numbers go on as if it had not been.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> with own_random_numbers(7):
        ...     inside = torch.rand(3)
        >>> after = torch.rand(1)
        >>> _ = torch.manual_seed(0)
        >>> bool(torch.rand(1) == after)
        True
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def tile(
    images: Tensor,
    columns: int,
    marked: Tensor | None = None,
    line: float = 1.0,
    colour: str = RED,
) -> np.ndarray:
    """Many small images as one large one for `show_blocks`: much faster to draw than many axes.

    Pixels become blocks, and lines part the images. NaN pixels, "not there", are grey-blue.

    Args:
        images: (N, C, H, W) in [0, 1], C = 1 or 3.
        columns: images in a row.
        marked: booleans (N,), true for an image that gets a frame; none by default.
        line: grey level of the lines, and of what remains of the last row. White images need grey
            ones, or they end nowhere.
        colour: of the frames.

    Shapes:
        -> (rows * (zoom * H + 6), columns * (zoom * W + 6), 3), zoom such that H has 32 or more

    Raises:
        ValueError: the shape is not that of a batch of grey or colour images, or columns < 1.

    Example:
        >>> tile(torch.zeros(5, 1, 8, 8), columns=4).shape
        (76, 152, 3)
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise ValueError(
            f"images must have shape (N, 1, H, W) or (N, 3, H, W), not {tuple(images.shape)}"
        )
    if columns < 1:
        raise ValueError(f"a row has at least one column, not {columns}")
    n, _, height, width = images.shape
    zoom = -(-32 // height)
    rgb = images.detach().float().cpu().expand(n, 3, height, width)
    rgb = torch.where(rgb.isnan(), torch.tensor(to_rgb(NOT_THERE))[:, None, None], rgb)
    rgb = rgb.repeat_interleave(zoom, dim=2).repeat_interleave(zoom, dim=3)
    rows = -(-n // columns)
    cells = torch.full((rows * columns, 3, zoom * height + 6, zoom * width + 6), line)
    if marked is not None:
        cells[:n][marked.cpu()] = torch.tensor(to_rgb(colour))[:, None, None]
    cells[:n, :, 3:-3, 3:-3] = rgb
    grid = cells.unflatten(0, (rows, columns))  # (rows, columns, 3, h, w)
    return grid.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2).numpy()
