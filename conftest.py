"""What every way of running pytest here shares: `make test`, `pytest tests/`, `pytest notebooks/NN_pixelcnn.ipynb`."""

import os
import time
from functools import partial
from queue import Empty

# One thread each, for this process and the kernels it starts: the number of threads changes the order of sums, and so
# the last printed digit, and two workers of many threads would fight over the cores. Set before torch is imported.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
# figures belong in the notebooks' outputs, whatever the shell says
os.environ.pop("MPLBACKEND", None)

import matplotlib  # noqa: E402
import nbval.kernel  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
import zmq  # noqa: E402
from jupyter_client.blocking import BlockingKernelClient  # noqa: E402
from jupyter_client.manager import KernelManager  # noqa: E402
from nbval.kernel import RunningKernel  # noqa: E402
from nbval.plugin import IPyNbCell  # noqa: E402

matplotlib.use("agg")  # here and not in the environment: the kernels of notebooks draw inline
torch.set_num_threads(1)

# Students' versions have gaps to fill in and no outputs to compare: their solutions are run instead.
collect_ignore_glob = [
    "notebooks/*_exercises.ipynb",
    "notebooks/assignments/*",
    # sources of notebooks, no modules: to import one would run it
    "course/lessons/*/lecture.py",
    "course/lessons/*/exercises.py",
    "course/assignments/*/notebook.py",
]


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)


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
            if not kernel.is_alive():
                raise RuntimeError("the kernel died in this cell (out of memory?)") from None
            if timeout is not None and time.monotonic() - start > timeout:
                raise


class KeepsAll(BlockingKernelClient):
    """Of what nobody has read yet, ZeroMQ keeps a thousand messages: the last ones, and so the end, would be lost."""

    def _context_default(self):
        context = super()._context_default()
        context.setsockopt(zmq.RCVHWM, 0)  # for its sockets: no limit
        return context


def run_without_a_warning(cell, run=IPyNbCell.runtest):
    """In a lesson nothing may warn, also not where the output is not compared."""
    run(cell)
    warnings = [x.text for x in getattr(cell, "test_outputs", []) if x.get("name") == "stderr"]
    if warnings and cell.parent.path.parent.name == "notebooks":
        cell.raise_cell_error("the cell writes to stderr", "".join(warnings))


nbval.kernel.KernelManager = partial(KernelManager, client_factory=KeepsAll)
RunningKernel.execute_cell_input = execute_as_jupyter_does
RunningKernel.await_reply = await_reply_while_alive
IPyNbCell.runtest = run_without_a_warning
# after a cell has run, nbval waits 5 seconds for each message it printed: too few where other work fills the machine
IPyNbCell.output_timeout = property(lambda cell: 60, lambda cell, seconds: None)
