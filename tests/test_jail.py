"""The limits of a submission: the watch over a jail, and what a cell may print."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import zmq

from course.checking import output
from course.checking.questions import MIME
from course.grading.jail import (
    MAX_MESSAGE,
    Limits,
    Watch,
    folder_size,
    kernel_manager,
    remove,
    used,
)


def test_the_watch_counts_shared_memory_once():
    hold = "import os, time\nx = b'x' * 200_000_000\nfor i in range(4): os.fork()\ntime.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", hold], start_new_session=True)
    try:
        family = []
        while len(family) < 16:
            time.sleep(0.2)
            family = [
                psutil.Process(process.pid),
                *psutil.Process(process.pid).children(recursive=True),
            ]
        assert used(family, "rss") > 3_000_000_000 > 1_000_000_000 > used(family, "pss")
        watch = Watch(
            os.getpid(), Path("/nonexistent"), Limits(memory=2_000_000_000, processes=500)
        )
        assert watch.too_much() is None
        assert (
            "processes" in Watch(os.getpid(), Path("/nonexistent"), Limits(processes=8)).too_much()
        )
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_the_grader_reads_no_message_above_its_limit(tmp_path):
    client = kernel_manager(
        sockets=tmp_path, inputs=tmp_path, limits=Limits(), jailed=False
    ).client()
    with client.context.socket(zmq.SUB) as socket:
        assert socket.getsockopt(zmq.MAXMSGSIZE) == MAX_MESSAGE
    client.context.term()


def test_a_watch_that_fails_ends_the_jail(tmp_path):
    process = subprocess.Popen(["sleep", "60"])
    watch = Watch(process.pid, tmp_path, Limits())
    watch.too_much = lambda: 1 / 0
    watch.run()
    assert process.wait(5) == -signal.SIGKILL
    assert "ZeroDivisionError" in watch.reason


def test_what_cannot_be_counted_is_too_much_and_is_removed(tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "one").write_bytes(b"x" * 1000)
    assert folder_size(full) == 1000
    at = os.open(full, os.O_RDONLY)
    for _ in range(3000):  # by file descriptors: the path is longer than any call takes
        os.mkdir("x", dir_fd=at)
        below = os.open("x", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    assert folder_size(full) == float("inf")
    remove(full)
    assert not full.exists()


class Shell:
    """What the extension needs of a kernel; keeps what was sent."""

    def __init__(self):
        self.sent, self.hooks = [], {}
        self.kernel = SimpleNamespace(session=SimpleNamespace(send=self.send))
        self.events = SimpleNamespace(register=self.hooks.__setitem__)

    def send(self, stream, message, content=None, *args, **options):
        self.sent.append(message["content"] if isinstance(message, dict) else content)


def test_a_cell_sends_no_more_than_its_limit_and_an_answer_whole(monkeypatch):
    monkeypatch.setenv(output.LIMIT, "1000")
    shell, long = Shell(), "x" * 10_000_000
    output.load_ipython_extension(shell)
    send = shell.kernel.session.send
    messages = {
        "stream": {"name": "stdout", "text": long},
        "execute_result": {"data": {"text/plain": long, "text/html": long}, "metadata": {}},
        "error": {"ename": "ValueError", "evalue": long, "traceback": [long, long]},
        "execute_reply": {"status": "error", "ename": "E", "evalue": "", "traceback": [long]},
    }
    for kind, content in messages.items():
        shell.hooks["pre_run_cell"]()
        send(None, {"msg_type": kind, "content": content})
        send(None, kind, content)
        assert len(str(shell.sent)) < 3000, kind
        assert {**content, **shell.sent[0]}.keys() == content.keys()
        shell.sent.clear()
    send(None, {"msg_type": "status", "content": {"execution_state": "idle"}})
    send(None, {"msg_type": "display_data", "content": {"data": {MIME: long, "text/plain": long}}})
    assert shell.sent[0] == {"execution_state": "idle"}
    assert shell.sent[1]["data"] == {MIME: long, "text/plain": "x" * 1000}
