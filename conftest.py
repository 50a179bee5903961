"""What every way of running pytest here shares: `make test`, `pytest tests/`, `pytest notebooks/03_pixelcnn.ipynb`."""

import os
import time
from collections import deque
from contextlib import suppress
from queue import Empty

from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

# One thread each, for this process and the kernels it starts: the number of threads changes the order of sums, and so
# the last printed digit, and two workers of many threads would fight over the cores. Set before torch is imported.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
# figures belong in the notebooks' outputs, whatever the shell says
os.environ.pop("MPLBACKEND", None)

# Students' versions have gaps to fill in and no outputs to compare: their solutions are run instead.
collect_ignore_glob = ["notebooks/*_exercises.ipynb", "notebooks/assignments/*"]


# ---------------------------------------------------------------- four things nbval 0.11 does otherwise than Jupyter


def execute_as_jupyter_does(kernel, source, allow_stdin=None):
    """With history: without it IPython does not see the `;` that keeps a last line quiet."""
    return kernel.kc.execute(
        source, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
    )


def await_reply_while_alive(kernel, msg_id, timeout=None, await_reply=RunningKernel.await_reply):
    """A kernel that died will not answer: say so at once, not after the whole timeout."""
    start = time.monotonic()
    while True:
        try:
            return await_reply(kernel, msg_id, timeout=0.2)
        except Empty:
            collect_outputs(kernel)
            if not kernel.is_alive():
                raise RuntimeError("the kernel died in this cell (out of memory?)") from None
            if timeout is not None and time.monotonic() - start > timeout:
                raise


def collect_outputs(kernel, get_message=RunningKernel.get_message):
    """Take what has been printed so far: of what nobody takes, only some thousand messages are kept."""
    with suppress(Empty):
        while True:
            outputs_of(kernel).append(get_message(kernel, "iopub", timeout=0))


def next_message(kernel, stream, timeout=None, get_message=RunningKernel.get_message):
    """What was collected comes first."""
    if stream == "iopub" and outputs_of(kernel):
        return outputs_of(kernel).popleft()
    return get_message(kernel, stream, timeout)


def outputs_of(kernel):
    return vars(kernel).setdefault("collected", deque())


def run_without_a_warning(cell, run=IPyNbCell.runtest):
    """In a lesson nothing may warn, also not where the output is not compared."""
    run(cell)
    warnings = [x.text for x in getattr(cell, "test_outputs", []) if x.get("name") == "stderr"]
    if warnings and cell.parent.path.parent.name == "notebooks":
        cell.raise_cell_error("the cell writes to stderr", "".join(warnings))


RunningKernel.get_message = next_message
RunningKernel.execute_cell_input = execute_as_jupyter_does
RunningKernel.await_reply = await_reply_while_alive
IPyNbCell.runtest = run_without_a_warning
# after a cell has run, nbval waits 5 seconds for each message it printed: too few where other work fills the machine
IPyNbCell.output_timeout = property(lambda cell: 60, lambda cell, seconds: None)
