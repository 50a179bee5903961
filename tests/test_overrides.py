"""Points that a lecturer sets by hand, one student graded anew, and the pages of those who left."""

from types import SimpleNamespace

import nbformat
import pytest
from grading_class import (
    FIRST,
    FULL,
    PS,
    answered,
    grade,
    needs_jail,
    release,
    solution_tried,
    table,
)

from course.grading import again, overrides
from course.grading.course import CannotGrade
from course.grading.feedback import Result, TaskResult
from course.grading.submissions import Handed

HEAD = "student,task,points,reason\n"
MOST = {"elbo": 4, "kl": 3}


def read(folder, text):
    path = folder / "overrides.csv"
    path.write_text(text, encoding="utf-8")
    return overrides.read_overrides(path, MOST, {"ada", "bob"})


def test_an_override_changes_the_points_and_says_why(tmp_path):
    table = read(
        tmp_path, HEAD + 'ada,elbo,3,"The sign, and nothing else, was wrong."\n\nbob,kl,0,Copied.\n'
    )
    ada, eve = (
        Result(x, "graded", tasks=[TaskResult("elbo", 1.0, 4, ["wrong"]), TaskResult("kl", 3.0, 3)])
        for x in ("ada", "eve")
    )
    overrides.apply(table, [ada, eve])
    assert (ada.points, eve.points) == (6, 4)
    words = "3 instead of 1 points: The sign, and nothing else, was wrong."
    assert ada.notes == [f"elbo: {words}"] and eve.notes == []
    assert ada.tasks[0].messages == ["wrong", words] and ada.tasks[1].messages == ()


@pytest.mark.parametrize(
    "row, words",
    [
        ("eve,elbo,3,why", "line 2: there is no student 'eve'"),
        ("ada,elbow,3,why", "no test judges 'elbow'. There are: elbo, kl"),
        ("ada,elbo,5,why", "points are from 0 to 4, not '5'"),
        ("ada,elbo,-1,why", "points are from 0 to 4"),
        ("ada,elbo,nan,why", "points are from 0 to 4"),
        ("ada,elbo,,why", "points are from 0 to 4"),
        ("ada,elbo,3, ", "a reason is missing"),
        ("ada,elbo,3", "3 fields, not 4"),
        ("ada,elbo,3,well, yes", "A reason with a comma needs quotes"),
        ("ada,elbo,3,why\nada,elbo,2,why", "line 3: ada and elbo stand in the table twice"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused_in_one_line(row, words, tmp_path):
    with pytest.raises(CannotGrade) as refused:
        read(tmp_path, HEAD + row + "\n")
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_table_saved_by_a_spreadsheet_program_is_read(tmp_path):
    text = "\ufeffstudent;task;points;reason\r\nada;elbo;2,5;nearly, but for a sign\r\n"
    made = read(tmp_path, text)
    assert made == {("ada", "elbo"): overrides.Override(2.5, "nearly, but for a sign")}
    (tmp_path / "overrides.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(CannotGrade, match="no text in UTF-8"):
        overrides.read_overrides(tmp_path / "overrides.csv", MOST, {"ada"})
    with pytest.raises(CannotGrade, match="its first line must be student,task,points,reason"):
        read(tmp_path, "ada,elbo,3,why\n")


def test_the_template_is_written_once(tmp_path):
    path = tmp_path / "overrides.csv"
    assert overrides.read_overrides(path, MOST, set()) == {}
    overrides.template(path)
    assert path.read_text() == HEAD and overrides.read_overrides(path, MOST, set()) == {}
    path.write_text(HEAD + "ada,elbo,3,why\n")
    overrides.template(path)
    assert "ada" in path.read_text()


# ---------------------------------------------------------------- one student anew, and those who left


def test_a_name_that_nobody_has_is_refused_with_those_near_it():
    everybody = [Handed(x) for x in ("Ada_Lovelace_4711", "Bob_4712", "ada_2")]
    assert again.only_one(everybody, "Bob_4712") is everybody[1]
    for name, near in (
        ("ada", "ada_2, Ada_Lovelace_4711"),
        ("Bob", "Bob_4712"),
        ("lovelace", "Ada_Lovelace_4711"),
    ):
        with pytest.raises(CannotGrade, match=f"ONLY={name}: .* Near it: {near}"):
            again.only_one(everybody, name)
    with pytest.raises(CannotGrade, match="There are: Ada_Lovelace_4711, Bob_4712, ada_2"):
        again.only_one(everybody, "xyz")


def test_the_table_stays_complete_when_one_is_graded_anew(tmp_path):
    (tmp_path / "results").mkdir()
    for name in ("ada", "bob", "eve", "left"):
        (tmp_path / "results" / f"{name}.json").write_text('{"key": 1}')
    (tmp_path / "grades.csv").write_text("student,points\nada,1\neve,2\nlost,3\n")
    everybody = [Handed(x) for x in ("ada", "bob", "new")]  # only now; eve is in the table
    course = SimpleNamespace(out=tmp_path)
    made = again.beside(course, everybody, everybody[0])
    assert [x.student for x in made] == ["ada", "bob", "eve"]
    assert made[0] is everybody[0]


def test_pages_of_those_who_left_are_put_aside_and_none_is_lost(tmp_path):
    for times in range(3):
        for name in ("ada", "bob"):
            (tmp_path / f"{name}.html").write_text(f"{name} {times}")
        assert again.put_aside(tmp_path, ["ada"]) == ["bob"]
    assert [x.name for x in tmp_path.glob("*.html")] == ["ada.html"]
    kept = {x.name: x.read_text() for x in (tmp_path / "left").iterdir()}
    assert kept == {"bob.html": "bob 0", "bob_2.html": "bob 1", "bob_3.html": "bob 2"}
    assert again.put_aside(tmp_path, ["ada"]) == []


@needs_jail
def test_override_one_anew_and_who_left_through_the_command(tmp_path):
    folder, out = tmp_path / "handed in", tmp_path / PS
    folder.mkdir()
    solution_tried(tmp_path)
    for name, nb in {"ada": answered(), "bob": release()}.items():
        nbformat.write(nb, folder / f"{name}.ipynb")
    command = (PS, folder, "--out", tmp_path)
    assert grade(*command).returncode == 0
    assert (out / "similar.csv").read_text() == "first,second,share,tasks\n"
    path = out / "overrides.csv"
    assert path.read_text() == HEAD
    path.write_text(HEAD + f"bob,{FIRST},1,By <b>mail</b>.\n")
    (out / "results" / "bob.json").touch()
    stamps = {x.name: x.stat().st_mtime_ns for x in (out / "results").iterdir()}
    pages = {x.name: x.stat().st_mtime_ns for x in (out / "feedback").iterdir()}
    # a wrong table stops the command before anything is written
    path.write_text(path.read_text() + f"cleo,{FIRST},1,Late.\n")
    refused = grade(*command, "--only", "ada")
    assert refused.returncode == 2 and "no student 'cleo'" in refused.stderr
    assert {x.name: x.stat().st_mtime_ns for x in (out / "feedback").iterdir()} == pages
    path.write_text(HEAD + f"bob,{FIRST},1,By <b>mail</b>.\n")
    refused = grade(*command, "--only", "eda")
    assert refused.returncode == 2 and "Near it: ada" in refused.stderr
    # ada alone is graded anew, though nothing changed, and the table has both
    done = grade(*command, "--only", "ada")
    assert done.returncode == 0, done.stderr
    now = {x.name: x.stat().st_mtime_ns for x in (out / "results").iterdir()}
    assert now["ada.json"] != stamps["ada.json"] and now["bob.json"] == stamps["bob.json"]
    rows = table(tmp_path)
    assert {name: float(row["points"]) for name, row in rows.items()} == {"ada": FULL, "bob": 1}
    assert rows["bob"]["notes"].endswith(f"{FIRST}: 1 instead of 0 points: By <b>mail</b>.")
    page = (out / "feedback" / "bob.html").read_text()
    assert (
        page.count("1 instead of 0 points: By &lt;b&gt;mail&lt;/b&gt;.") == 2
    )  # above, and at the task
    (folder / "bob.ipynb").unlink()
    done = grade(*command)
    assert done.returncode == 0, done.stderr
    assert "No longer here: bob" in done.stdout and set(table(tmp_path)) == {"ada"}
    assert (out / "feedback" / "left" / "bob.html").read_text() == page
