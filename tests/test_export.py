"""Grades in the form that Moodle, Canvas and Gradescope read."""

import csv
import json

import pytest
from grading_class import PS, grade

from course.grading.export import PLATFORMS, export
from course.grading.feedback import Result, TaskResult
from course.grading.late import read_time
from course.grading.roster import Person

PEOPLE = {
    "ada": Person("Ada Lövelace, Countess", "4711", "moodle", "77", "ada@x.org"),
    "cmd": Person("=cmd()", "12", "canvas", "=2+3", "@SUM(1)"),
    "eve": Person("Eve", id="Participant 9", email="+1@x.org"),
    "fay": Person("Fay"),
    "gus": Person("Gus", "4", "moodle"),
}
TIMES = {"ada": read_time("2026-12-01 23:59", "")}


def made():
    """A whole grade, a late one, one of a group, one that waits for a reader, one the grader failed at."""
    tasks = [TaskResult("kl", 7.5, 10, ["nearly: a < b"]), TaskResult("why", 2.0, 5)]
    ada = Result("ada", "graded", tasks=tasks, comments={"why": "good, “very”"}, notes=["a note"])
    cmd = Result("cmd", "graded", tasks=tasks, late="1.5", penalty=9.5)
    eve = Result("eve", "no notebook", problem="it is empty", source="ada")
    eve.tasks = [TaskResult("kl", 0.0, 10), TaskResult("why", 0.0, 5)]
    fay = Result("fay", "graded", tasks=[TaskResult("kl", 10.0, 10), TaskResult("why", None, 5)])
    gus = Result("gus", "grader failed", tasks=[TaskResult("kl", 0.0, 10), TaskResult("why", 0, 5)])
    return [ada, cmd, eve, fay, gus]


def written(platform, folder, **more):
    messages = export(platform, folder, "ps2_vae", made(), PEOPLE, TIMES, **more)
    path = folder / f"{platform}.csv"
    if not path.exists():
        return [], messages
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file)), messages


def test_moodles_worksheet_has_every_value_in_its_place(tmp_path):
    rows, messages = written("moodle", tmp_path)
    head = "Identifier|Full name|ID number|Email address|Status|Grade|Maximum Grade"
    head += (
        "|Grade can be changed|Last modified (submission)|Last modified (grade)|Feedback comments"
    )
    done = "Submitted for grading"
    assert rows == [
        head.split("|"),
        ["Participant 4711", "Ada Lövelace, Countess", "77", "ada@x.org", done, "9.50", "15.00"]
        + ["Yes", "2026-12-01 23:59", ""]
        + ["kl 7.5 of 10: nearly: a &lt; b<br>why 2 of 5: good, “very”<br>a note"],
        ["", "'=cmd()", "'=2+3", "'@SUM(1)", done, "0.00", "15.00", "Yes", "", ""]
        + ["kl 7.5 of 10: nearly: a &lt; b<br>why 2 of 5<br>handed in 1.5 hours late: -9.5"],
        ["Participant 9", "Eve", "", "'+1@x.org", "No submission", "0.00", "15.00", "Yes"]
        + ["2026-12-01 23:59", ""]
        + ["Your notebook could not be graded: it is empty.<br>kl 0 of 10<br>why 0 of 5"],
        ["", "Fay", "", "", done, "", "15.00", "Yes", "", "", ""],
        ["Participant 4", "Gus", "", "", done, "", "15.00", "Yes", "", "", ""],
    ]
    assert "skip 2 rows without an Identifier (cmd, fay)" in messages[1]
    assert "2 of 5 grades are withheld" in messages[2] and "(fay, gus)" in messages[2]


def test_canvass_gradebook_has_every_value_in_its_place(tmp_path):
    rows, messages = written("canvas", tmp_path, assignment="Problem set 2 (1234)")
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    assert rows == [
        [*head, "Problem set 2 (1234)"],
        ["    Points Possible", "", "", "", "", "15.00"],
        # Moodle's number is not Canvas's: under ID it would be somebody else
        ["Ada Lövelace, Countess", "", "77", "ada@x.org", "", "9.50"],
        ["'=cmd()", "12", "'=2+3", "'@SUM(1)", "", "0.00"],
        ["Eve", "", "Participant 9", "'+1@x.org", "", "0.00"],
        ["Fay", "", "", "", "", ""],
        ["Gus", "", "", "", "", ""],
    ]
    assert "2 of 5 grades are withheld" in messages[1]
    assert written("canvas", tmp_path)[0][0] == [*head, "ps2_vae"]


def test_gradescopes_results_have_every_value_in_their_place(tmp_path):
    old = tmp_path / "gradescope" / "fay" / "results.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")  # of an earlier export, when nothing waited
    messages = written("gradescope", tmp_path)[1]
    found = {x.parent.name: x for x in (tmp_path / "gradescope").glob("*/results.json")}
    assert set(found) == {"ada", "cmd", "eve"}
    assert json.loads(found["ada"].read_text(encoding="utf-8")) == {
        "score": 9.5,
        "output": "a note",
        "visibility": "after_published",
        "stdout_visibility": "hidden",
        "tests": [
            {
                "name": "kl",
                "score": 7.5,
                "max_score": 10,
                "output": "nearly: a < b",
                "visibility": "after_published",
            },
            {
                "name": "why",
                "score": 2.0,
                "max_score": 5,
                "output": "good, “very”",
                "visibility": "after_published",
            },
        ],
    }
    late = json.loads(found["cmd"].read_text())
    assert late["score"] == 0 and late["output"] == "handed in 1.5 hours late: -9.5"
    assert [x["score"] for x in late["tests"]] == [7.5, 2]
    unread = json.loads(found["eve"].read_text())
    assert unread["output"] == "The notebook could not be graded: it is empty."
    assert "2 of 5 grades are withheld" in messages[1]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_when_nothing_waits_nothing_is_withheld(platform, tmp_path):
    messages = export(platform, tmp_path, "ps2_vae", made()[:1], PEOPLE)
    assert len(messages) == 1 and messages[0].startswith("Export: ")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--export", "excel"), "EXPORT=excel: it may be moodle, canvas, gradescope"),
        (("--late", "half"), "LATE=half: it may be none or zero"),
        (("--due", "soon"), "DUE: 'soon' is no date and time"),
        (("--roster", "none.csv"), "none.csv: it cannot be read"),
    ],
)
def test_a_wrong_word_is_said_before_anything_is_written(arguments, words, tmp_path):
    (tmp_path / "ada.ipynb").write_text("{}")
    refused = grade(PS, tmp_path, "--out", tmp_path / "out", "--unsafe", *arguments)
    assert refused.returncode == 2 and words in refused.stderr
    assert "Traceback" not in refused.stderr and not (tmp_path / "out").exists()
