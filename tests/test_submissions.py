"""The parts of `make grade`: finding and reading what was handed in, the watch, what is pointed out."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from grading_class import FIRST, MASTER, PS, RELEASE, Student, content, place, release, with_cell

from tools.grading.jail import Limits, Watch, folder_size, remove, used
from tools.grading.review import suspicious_code, untrained, without_magic
from tools.grading.submissions import (
    Unreadable,
    collect,
    grade_id,
    is_answer,
    read_notebook,
    rebuild,
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


def test_an_answer_stands_where_the_student_had_it_with_what_they_added():
    nb = with_cell("helper = 1")
    rebuilt, notes = rebuild(nb, MASTER, RELEASE)
    assert notes == []
    at = place(rebuilt, FIRST)
    assert rebuilt.cells[at - 1].source == "helper = 1"
    assert (
        rebuilt.cells[at].source == MASTER.cells[place(MASTER, FIRST)].source
    )  # with its hidden tests
    # no other answer of the course comes along
    for cell, gap in zip(
        [c for c in rebuilt.cells if is_answer(c)],
        [c for c in RELEASE.cells if is_answer(c)],
        strict=True,
    ):
        if grade_id(cell) != f"{FIRST}-answer":
            assert cell.source == gap.source


def test_reading_refuses_what_is_no_notebook():
    for text in (
        b"",
        b"   ",
        b"\xff\xfe\x00",
        b"{}",
        b"[]",
        b'{"cells": [{"source": 3}]}',
        b"null",
    ):
        with pytest.raises(Unreadable):
            read_notebook(text)
    assert len(read_notebook(b"\xef\xbb\xbf" + content(Student(release))).cells) == len(
        RELEASE.cells
    )


def test_names_of_students_are_safe_and_nobody_is_lost(tmp_path):
    names = ["ada", "..", "a b", "a_b", "=cmd()", "x" * 100]
    handed = []
    for name in names[:1] + names[2:]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.ipynb").write_text("x")
        (tmp_path / name / "two.ipynb").write_text("y")
    handed = collect(tmp_path, PS)
    assert all(re.fullmatch(r"[\w.-]+", x.student) for x in handed)
    assert all("several notebooks" in " ".join(x.notes) for x in handed)
    assert len({x.student for x in handed}) == len(handed) == 5


def test_what_does_not_belong_in_an_answer_is_pointed_out():
    assert suspicious_code("x = torch.ones(3)\nx.data = y\nself.weight = 3") == []
    assert suspicious_code("import torch.nn as nn\nfrom torch import optim\nimport math") == []
    assert suspicious_code("setattr(torch, 'allclose', print)") == ["assigns an attribute of torch"]
    assert suspicious_code("from urllib.request import urlopen") == ["imports urllib.request"]
    assert suspicious_code("!ls") == ["uses a magic or shell command", "calls get_ipython"]
    assert suspicious_code("x = torch.load('a.pt')") == ["uses torch.load"]
    assert suspicious_code("import glob") == ["imports glob"]
    assert suspicious_code("list(Path('.').rglob('*'))") == ["uses rglob"]
    assert suspicious_code("Path('/proc/1')") == ["mentions /proc"]
    assert suspicious_code("Path('data/processed')") == []
    assert suspicious_code("pickle.loads(x)") == ["uses pickle.loads"]


# what is asked for and missing, and what is not run without a jail


def small(*sources, answer=None):
    cells = [nbformat.v4.new_code_cell(x) for x in sources]
    if answer is not None:
        about = {"grade_id": "train-answer", "solution": True}
        cells.append(nbformat.v4.new_code_cell(answer, metadata={"nbgrader": about}))
    return nbformat.v4.new_notebook(cells=cells)


def test_an_answer_that_does_not_train_is_pointed_out():
    master = small("setup = 'optim'", answer="torch.optim.Adam(p)")
    gap = small("setup = 'optim'", answer="...")
    words = ["train-answer: no optimiser in the answer, and training was asked"]
    assert untrained(small("setup = 'optim'", answer="return 1"), master, gap) == words
    assert untrained(small("loss.backward()", answer="return 1"), master, gap) == []
    assert untrained(small(answer="fit(model)"), master, gap) == []
    assert untrained(gap, master, gap) == []
    assert untrained(master, master, gap) == []


def test_no_magic_is_run_without_a_jail():
    bad = ["!ls", "x = !ls", "x = %pip", "%%bash\nls", "if 1:\n    %run a.py", "get_ipython()"]
    nb, flags = without_magic(small("%ours", *bad, "x = 5 % 3", "pip install x"), small("%ours"))
    assert flags == [f"cell {i} was not run: it uses a shell command or magic" for i in range(2, 8)]
    assert nb.cells[0].source == "%ours"
    assert all("raise RuntimeError" in c.source for c in nb.cells[1:7])
    # IPython takes bare names for magics in cells of one line only
    assert all(len(c.source.splitlines()) > 1 for c in nb.cells[7:])
    assert "x = 5 % 3" in nb.cells[7].source
