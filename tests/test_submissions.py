"""The parts of `make grade`: finding and reading what was handed in, and what is pointed out."""

import re
import subprocess
import sys
import zipfile

import nbformat
import pytest
from grading_class import FIRST, MASTER, PS, RELEASE, Student, content, place, release, with_cell

from course.grading.review import suspicious_code, untrained, without_magic
from course.grading.submissions import (
    Unreadable,
    collect,
    grade_id,
    is_answer,
    read_notebook,
    rebuild,
)
from course.publish.build import ROOT


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


def test_reading_takes_little_memory_whatever_is_read():
    """Of some MB of numbers in place of cells nbformat's complaint alone took a gigabyte."""
    code = (
        "import resource\n"
        "from course.grading.submissions import Unreadable, read_notebook\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000\n"
        'end = b\'], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\'\n'
        "before = peak()\n"
        "for cells in (b'1,' * 2_400_000 + b'1', b'[' * 2_400_000 + b']' * 2_400_000, b'{},' * 1_600_000 + b'{}'):\n"
        "    try: read_notebook(b'{\"cells\": [' + cells + end)\n"
        "    except Unreadable as error: print(error)\n"
        "print(int(peak() - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    *printed, megabytes = done.stdout.splitlines()
    assert len(printed) == 3, done.stderr
    assert int(megabytes) < 200  # 120 measured, the JSON itself; nbformat alone took over 1000


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


# ---------------------------------------------------------------- what platforms hand over


def zipped(path, *names, content=b"x"):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return {x.student: x for x in collect(path, PS)}


MOODLE = "_assignsubmission_file"


@pytest.mark.parametrize(
    "names, students",
    [
        # Moodle: folders, older folders with a text beside them, flat
        ([f"Bo Li_1{MOODLE}/{PS}.ipynb", f"Bo Li_2{MOODLE}/{PS}.ipynb"], {"Bo_Li_1", "Bo_Li_2"}),
        (
            [
                f"Bo Li_1{MOODLE}_/{PS}.ipynb",
                "Bo Li_1_assignsubmission_onlinetext_/onlinetext.html",
            ],
            {"Bo_Li_1"},
        ),
        ([f"Bo Li_1{MOODLE}_{PS}.ipynb", f"Ada_2{MOODLE}_my work.ipynb"], {"Bo_Li_1", "Ada_2"}),
        # Canvas: two users of one name, and a user late
        (
            [f"smithbob_13_20_{PS}.ipynb", f"smithbob_14_21_{PS}.ipynb"],
            {"smithbob_13", "smithbob_14"},
        ),
        ([f"smithbob_LATE_13_20_{PS}.ipynb"], {"smithbob_13"}),
        # one folder around all, or two; a file beside them is nobody's
        ([f"all/ada/{PS}.ipynb", f"all/bob/{PS}/{PS}.ipynb"], {"ada", "bob"}),
        ([f"all/{PS}/ada/{PS}.ipynb", f"all/{PS}/bob/x.ipynb", "list.csv"], {"ada", "bob"}),
        (["all/ada.ipynb", "all/bob.ipynb"], {"ada", "bob"}),
        ([f"all/Bo Li_1{MOODLE}/{PS}.ipynb"], {"Bo_Li_1"}),
        # a notebook, or odd names, beside the students' folders
        ([f"all/{PS}.ipynb", f"all/ada/{PS}.ipynb", "all/bob/x.ipynb"], {"ada", "bob", PS}),
        (["..", ".", f"ada/{PS}.ipynb", "bob/x.ipynb", "eve\\"], {"ada", "bob", "eve"}),
        # one file each, and not all of them notebooks
        (["ada.ipynb", "bob.pdf", "grades.csv"], {"ada", "bob"}),
        # one student
        ([f"ada/{PS}.ipynb", "ada/try.ipynb"], {"ada"}),
        ([f"ada/{PS}/{PS}.ipynb", "ada/old/try.ipynb"], {"ada"}),
        # umlauts, composed and not
        (["Zo\u00eb/a.ipynb", "Zoe\u0308/b.ipynb", "bob/a.ipynb"], {"Zo\u00eb", "bob"}),
        (["ada/essay.pdf", f"bob/{PS}.ipynb", "cleo/"], {"ada", "bob", "cleo"}),
        (
            ["__MACOSX/ada/._x.ipynb", f"ada/{PS}.ipynb", "ada/.DS_Store", "bob/x.ipynb"],
            {"ada", "bob"},
        ),
    ],
)
def test_every_student_of_a_platforms_zip_is_there_once(names, students, tmp_path):
    handed = zipped(tmp_path / "class.zip", *names)
    assert set(handed) == students
    if ".." in names:
        return
    with zipfile.ZipFile(tmp_path / "class.zip") as archive:
        archive.extractall(tmp_path / "class")
    if "\u00eb" not in "".join(names):  # two folders on this disk, one on others
        unpacked = {x.student: x for x in collect(tmp_path / "class", PS)}
        assert {k: (x.problem, x.notes) for k, x in unpacked.items()} == {
            k: (x.problem, x.notes) for k, x in handed.items()
        }


def test_a_class_marked_blind_keeps_its_200_rows(tmp_path):
    names = [f"Participant_{i}{MOODLE}/{PS}.ipynb" for i in range(4711, 4911)]
    assert len(zipped(tmp_path / "class.zip", *names)) == 200


def test_the_last_attempt_counts_and_the_choice_is_said(tmp_path):
    names = [
        f"smithbob_13_{n}_{PS}{x}.ipynb"
        for n, x in [(9, ""), (30, "-1"), (8, "-2"), (99, "_draft")]
    ]
    path = tmp_path / "class.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
        archive.writestr(f"lee_LATE_7_5_{PS}.ipynb", "x")
    bob, lee = sorted(collect(path, PS), key=lambda x: x.student, reverse=True)
    assert bob.content().decode() == names[2]
    assert all(name in " ".join(bob.notes) for name in names)
    assert lee.notes == ["handed in late, says Canvas"]
    handed = zipped(tmp_path / "b.zip", f"lee_7_5_{PS}.ipynb", "lee_7_30_final-1.ipynb")
    assert "lee_7_30_final-1.ipynb is graded" in handed["lee_7"].notes[0]


def test_a_link_to_a_folder_is_a_student_without_a_notebook(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.ipynb").write_text("x")
    for name in ("ada", "bob"):
        (tmp_path / "class" / name).mkdir(parents=True)
        (tmp_path / "class" / name / "a.ipynb").write_text("x")
    (tmp_path / "class" / "eve").symlink_to(tmp_path / "elsewhere")
    handed = {x.student: x.problem for x in collect(tmp_path / "class", PS)}
    assert handed == {"ada": None, "bob": None, "eve": "no notebook was handed in"}


def test_namesakes_and_what_is_no_notebook_are_said(tmp_path):
    handed = zipped(tmp_path / "a.zip", f"Bo_1{MOODLE}/{PS}.ipynb", f"Bo_2{MOODLE}/essay.pdf")
    assert "another student is called 'Bo' too: this is number 1" in handed["Bo_1"].notes
    assert handed["Bo_2"].problem == "no notebook was handed in, only essay.pdf"


def test_a_broken_entry_costs_that_entry(tmp_path):
    path = tmp_path / "class.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("ada", "bob"):
            archive.writestr(f"{name}/{PS}.ipynb", bytes(range(256)) * 40)
        archive.writestr("bob/older.ipynb", "older")
        at = archive.getinfo(f"bob/{PS}.ipynb").header_offset + 30 + len(f"bob/{PS}.ipynb")
    raw = bytearray(path.read_bytes())
    raw[at : at + 20] = b"\xff" * 20
    path.write_bytes(raw)
    ada, bob = collect(path, PS)
    assert ada.problem is None and len(ada.content()) == 256 * 40
    assert bob.content() == b"older" and "cannot be unpacked" in " ".join(bob.notes)


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
