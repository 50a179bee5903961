"""Late work: when it was handed in, what that costs, and what nbgrader is told."""

import csv
import json
import os
import zipfile
from datetime import datetime
from pathlib import PurePosixPath

import nbformat
import pytest
from grading_class import (
    FIRST,
    FULL,
    PS,
    RELEASE,
    answered,
    grade,
    needs_jail,
    place,
    release,
    solution_tried,
    table,
)
from nbgrader.api import Gradebook

from course.grading.course import CannotGrade
from course.grading.feedback import Result, TaskResult, write_grades, write_page
from course.grading.late import hours_late, read_time, set_times, zip_times
from course.grading.roster import BadTable
from course.grading.submissions import collect, grade_id, is_answer

DUE = "2026-12-01 23:59"


def moment(text):
    return datetime.fromisoformat(text).astimezone()


def class_folder(tmp_path, **dates):
    """One notebook a student, dated."""
    folder = tmp_path / "handed in"
    folder.mkdir(exist_ok=True)
    for name, date in dates.items():
        path = folder / f"{name}.ipynb"
        path.write_text("{}")
        os.utime(path, (moment(date).timestamp(),) * 2)
    return folder


def late_after(folder, due=DUE, times=None, policy="none"):
    everybody = collect(folder, PS)
    messages = set_times(everybody, read_time(due, "DUE") if due else None, times, folder, policy)
    return {x.student: x for x in everybody}, messages


def test_a_time_is_local_unless_it_names_its_zone():
    assert read_time(" 2026-12-01 23:59 ", "DUE") == moment("2026-12-01 23:59")
    assert read_time("2026-12-01T23:59+05:00", "DUE") == moment("2026-12-01 18:59+00:00")


@pytest.mark.parametrize("text", ["1.12.2026 23:59", "tomorrow", "2026-12-01", "2026-13-01 23:59"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(BadTable, match="DUE: .* is no date and time. Write it as 2026-12-01 23:59"):
        read_time(text, "DUE")


def test_lateness_is_rounded_up_to_a_tenth_of_an_hour():
    assert [hours_late(x) for x in (-1, 0, 1, 360, 361, 36000)] == [
        "",
        "",
        "0.1",
        "0.1",
        "0.2",
        "10.0",
    ]


def test_times_come_from_the_table_else_from_the_file(tmp_path):
    folder = class_folder(tmp_path, ada="2026-11-30 12:00", bob="2026-12-02 12:00")
    times = tmp_path / "times.csv"
    times.write_text("Time,Student\n2026-12-02 00:59,ada\n,bob\n2026-12-01 10:00,cleo\n")
    everybody, messages = late_after(folder, times=times)
    ada, bob = everybody["ada"], everybody["bob"]
    assert (ada.time, ada.time_from) == (moment("2026-12-02 00:59"), "times.csv")
    assert (bob.time, bob.time_from) == (moment("2026-12-02 12:00"), "the date of the file")
    assert messages == [f"{times}: nothing was handed in by cleo."]


def test_without_a_due_date_no_file_is_dated(tmp_path):
    everybody, messages = late_after(class_folder(tmp_path, ada="2026-11-30 12:00"), due=None)
    assert everybody["ada"].time is None and messages == []


@pytest.mark.parametrize(
    "text, words",
    [
        ("student,when\nada,1\n", "unknown column 'when'"),
        ("student,time\nada,1.12.\n", "times.csv: ada: '1.12.' is no date and time"),
        ("student,time\nada,2026-12-01 10:00\nada,2026-12-01 11:00\n", "'ada' is there twice"),
    ],
)
def test_what_is_wrong_with_the_times_is_said(text, words, tmp_path):
    folder = class_folder(tmp_path, ada="2026-11-30 12:00")
    (tmp_path / "times.csv").write_text(text)
    with pytest.raises(BadTable, match=words):
        late_after(folder, times=tmp_path / "times.csv")


def test_a_penalty_needs_something_to_go_by(tmp_path):
    folder = class_folder(tmp_path, ada="2026-11-30 12:00")
    with pytest.raises(CannotGrade, match="LATE=zero needs DUE"):
        late_after(folder, due=None, policy="zero")
    with pytest.raises(CannotGrade, match="TIMES without DUE"):
        late_after(folder, due=None, times=tmp_path / "times.csv")


def test_a_folder_that_was_copied_says_nothing_of_when_it_was_handed_in(tmp_path):
    folder = class_folder(tmp_path, **dict.fromkeys(("ada", "bob", "eve"), "2026-12-05 12:00"))
    assert "All 3 files are dated within 2 minutes" in late_after(folder)[1][0]
    with pytest.raises(CannotGrade, match="Give TIMES=table.csv"):
        late_after(folder, policy="zero")
    class_folder(tmp_path, eve="2026-12-01 12:00")
    assert late_after(folder, policy="zero")[1] == []


def test_a_zip_keeps_the_dates_of_its_entries(tmp_path):
    archive = tmp_path / "class.zip"
    names = {
        "all/Zoë_1_assignsubmission_file/a.ipynb": (2026, 12, 2, 0, 5, 0),
        "all/Bo_2_assignsubmission_file/a.ipynb": (1980, 1, 1, 0, 0, 0),
    }
    with zipfile.ZipFile(archive, "w") as file:
        for name, date in names.items():
            file.writestr(zipfile.ZipInfo(name, date), "{}")
    everybody, _ = late_after(archive)
    assert everybody["Zoë_1"].time == moment("2026-12-02 00:05")
    assert everybody["Bo_2"].time is None  # 1980 is how a zip says that it knows no date
    assert list(zip_times(archive)) == [PurePosixPath("all/Zoë_1_assignsubmission_file/a.ipynb")]


def test_of_canvas_the_word_late_counts_and_not_the_date_of_the_download(tmp_path):
    folder = class_folder(
        tmp_path, **{"ada_LATE_12_345_x": "2026-12-05 12:00", "bob_13_346_x": "2026-12-05 12:00"}
    )
    everybody, _ = late_after(folder, policy="zero")
    assert {x.name: (x.late, x.time) for x in everybody.values()} == {
        "ada": (True, None),
        "bob": (False, None),
    }


def test_a_penalty_is_a_column_and_a_line_of_its_own(tmp_path):
    late = Result("ada", "graded", tasks=[TaskResult("kl", 8.0, 10)], late="1.5", penalty=8.0)
    noted = Result("bob", "graded", tasks=[TaskResult("kl", 8.0, 10)], late="yes")
    noted.notes = ["=cmd()/x.ipynb: it is larger"]
    write_grades(tmp_path / "grades.csv", [late, noted])
    with (tmp_path / "grades.csv").open(encoding="utf-8") as file:
        ada, bob = csv.DictReader(file)
    assert (ada["points"], ada["kl"], ada["late"], ada["late_penalty"]) == ("0", "8", "1.5", "8")
    assert (bob["points"], bob["late"], bob["late_penalty"]) == ("8", "yes", "")
    assert bob["notes"] == "'=cmd()/x.ipynb: it is larger"
    for result in (late, noted):
        write_page(tmp_path / f"{result.student}.html", PS, result, None)
    page = (tmp_path / "ada.html").read_text()
    assert "handed in late" in page and "−8" in page and "1.5 hours late" in page
    assert "handed in late" not in (tmp_path / "bob.html").read_text()  # nothing is subtracted


@needs_jail
def test_a_class_with_groups_and_a_due_date_goes_back_to_the_platform(tmp_path):
    written = next(
        grade_id(c) for c in RELEASE.cells if is_answer(c) and c.metadata.nbgrader.get("grade")
    )
    folder = tmp_path / "handed in"
    reads = answered()
    reads.cells[place(reads, written)].source = "Because it is."
    for name, nb in {"Ada Ü_1": answered(), "Bo_2": release(), "Cleo_3": reads}.items():
        path = folder / f"{name}_assignsubmission_file" / f"{PS}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(nb, path)
    roster, times = tmp_path / "class.csv", tmp_path / "times.csv"
    roster.write_text(
        "student,id,email,group\nAda Ü,77,a@x.org,G1\n=Eve,Participant 9,e@x.org,G1\n"
    )
    times.write_text("student,time\nAda Ü,2026-12-02 01:29\nBo,2026-12-01 12:00\nCleo,2026-12-02\n")

    def run(*more):
        return grade(PS, folder, "--out", tmp_path, "--roster", roster, *more)

    bad = run("--due", DUE, "--times", times)
    assert bad.returncode == 2 and "Cleo: '2026-12-02' is no date and time" in bad.stderr
    assert not (tmp_path / PS).exists()
    solution_tried(tmp_path)
    times.write_text(times.read_text().replace("Cleo,2026-12-02", "Cleo,2026-12-02 23:59"))
    done = run("--due", DUE, "--times", times, "--late", "zero", "--export", "moodle")
    assert done.returncode == 0, done.stderr
    assert "Not in the roster: Bo_2, Cleo_3." in done.stdout
    assert "1 of 4 grades are withheld" in done.stdout and "(Cleo_3)" in done.stdout
    rows = table(tmp_path)
    assert {k: (x["points"], x["late"], x["late_penalty"]) for k, x in rows.items()} == {
        "Ada_Ü_1": ("0", "1.5", f"{FULL:g}"),
        "Eve": ("0", "1.5", f"{FULL:g}"),
        "Bo_2": ("0", "", ""),
        "Cleo_3": ("0", "24.0", f"{FULL:g}"),
    }
    assert rows["Eve"][FIRST] == f"{FULL:g}"
    assert rows["Eve"]["notes"] == "handed in by Ada_Ü_1 for group G1"
    assert "1.5 hours late" in (tmp_path / PS / "feedback" / "Eve.html").read_text()
    with (tmp_path / PS / "export" / "moodle.csv").open(encoding="utf-8", newline="") as file:
        sheet = {x["Identifier"]: x for x in csv.DictReader(file)}
    assert {k: x["Grade"] for k, x in sheet.items()} == {
        "Participant 1": "0.00",
        "Participant 9": "0.00",
        "Participant 2": "0.00",
        "Participant 3": "",
    }
    assert sheet["Participant 9"]["Full name"] == "'=Eve"

    def known(student):
        with Gradebook(f"sqlite:///{tmp_path}/{PS}/gradebook.db", "genlib") as gradebook:
            found = gradebook.find_submission(PS, student)
            return found.duedate, found.total_seconds_late, found.late_submission_penalty

    assert known("Ada_Ü_1")[1:] == (5400, FULL) and known("Bo_2")[1:] == (0, 0)
    stamp = tmp_path / PS / "submitted" / "Ada_Ü_1" / PS / "timestamp.txt"
    assert stamp.read_text().endswith(" UTC")
    # a reader's points are late too; and a new due date runs no notebook again
    with Gradebook(f"sqlite:///{tmp_path}/{PS}/gradebook.db", "genlib") as gradebook:
        gradebook.find_grade(written, PS, PS, "Cleo_3").manual_score = 2
        gradebook.db.commit()
    result = tmp_path / PS / "results" / "Ada_Ü_1.json"
    before = result.stat().st_mtime_ns
    more = ("--due", "2026-12-02 12:00", "--times", times, "--late", "zero")
    done = run(*more, "--export", "gradescope")
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path)
    assert (rows["Cleo_3"]["points"], rows["Cleo_3"]["late"]) == ("0", "12.0")
    assert rows["Cleo_3"]["late_penalty"] == f"{FULL + 2:g}"
    assert (rows["Eve"]["points"], rows["Eve"]["late"]) == (f"{FULL:g}", "")
    assert known("Ada_Ü_1")[1:] == (0, 0) and result.stat().st_mtime_ns == before
    scope = tmp_path / PS / "export" / "gradescope" / "Cleo_3" / "results.json"
    assert json.loads(scope.read_text())["score"] == 0
    # without a due date nobody is late, and a note says so
    done = run()
    assert "without DUE nobody is late now" in done.stdout
    assert table(tmp_path)["Cleo_3"]["points"] == f"{FULL + 2:g}"
    assert known("Cleo_3") == (None, 0, 0) and not stamp.exists()
