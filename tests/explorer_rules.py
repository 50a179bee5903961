"""What holds for every explorer: the tests of each call these with one of their own."""

import base64
import gc
import io
from collections.abc import Callable, Sequence

import ipywidgets
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import torch
from ipywidgets.widgets.widget import _instances  # every widget that is open
from PIL import Image

from course.explorers.core import STILL, Explorer
from course.publish import build


def leaves_nothing_behind(make: Callable[[], Explorer], moves: Sequence[Callable], times=200):
    """No figure, no widget and no random number goes, whether it is made or moved.

    Args:
        make: makes the explorer.
        moves: what can be done to it: functions of the explorer and of how many moves came before.
        times: moves in all.
    """
    figures, state = plt.get_fignums(), torch.get_rng_state()
    explorer = make()
    for i, move in enumerate(moves):  # the first of each may make something that is kept
        move(explorer, i)
    gc.collect()
    widgets = len(_instances)
    for i in range(times):
        moves[i % len(moves)](explorer, i)
    gc.collect()
    assert len(_instances) == widgets
    assert plt.get_fignums() == figures
    assert torch.equal(torch.get_rng_state(), state)


def each_control_redraws(explorer: Explorer, settings: dict[ipywidgets.Widget, object]):
    """Another value of a control is another picture, and the old value is the old picture again."""
    for control, value in settings.items():
        before, old = explorer.picture.value, control.value
        assert value != old
        control.value = value
        assert explorer.picture.value != before, f"{control.description!r} did not redraw"
        control.value = old


def is_stored_as_a_picture(explorer: Explorer, name: str):
    """A stored notebook shows the first picture, says that it stands still, and refers to no widget."""
    assert {"genlib-explorer", f"genlib-{name}"} <= set(explorer._dom_classes)
    data, metadata = explorer._repr_mimebundle_()
    assert build.WIDGET_VIEW in data  # else the next lines would prove nothing
    cell = nbformat.v4.new_code_cell("explorer", metadata={"tags": ["nbval-ignore-output"]})
    cell.outputs = [nbformat.v4.new_output("execute_result", data=data, metadata=metadata)]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    build.clean_outputs(notebook)
    (output,) = notebook.cells[0].outputs
    assert output.data.keys() == {"text/plain", "image/png"}
    assert output.data["text/plain"] == f"{name} explorer: run this cell to move it"
    assert output.metadata["image/png"]["alt"] == f"{explorer.picture.about}; {STILL}"
    stored = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
    (width, height), seen = explorer.picture.size, Image.open(io.BytesIO(explorer.picture.value))
    assert seen.size == (width, height) and stored.size == (width, height + 32)
    assert np.array_equal(np.asarray(stored)[:height], np.asarray(seen))
    rows, columns = (np.asarray(stored)[height:].min(axis=2) < 80).nonzero()  # dark on grey
    assert len(rows) and 5 < columns.min() and columns.max() < width - 5  # and no word is cut
    assert 0 < rows.min() and rows.max() < 31
    assert output.data["image/png"].startswith("iVBORw0KGgo")  # a PNG's first bytes
    assert explorer.model_id not in nbformat.writes(notebook)
