"""Who is in the class: the roster's table, and groups that hand in together."""

import pytest
from grading_class import PS

from course.grading.feedback import Result, TaskResult
from course.grading.roster import BadTable, match, read_roster, shared
from course.grading.submissions import Handed, collect


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "class.csv"
    path.write_bytes(text.encode(encoding))
    return path


def handed(name, content=b"{}", **more):
    number = more.get("number", "")
    student = name.replace(" ", "_") + (f"_{number}" if number else "")
    return Handed(student, lambda: content, name=name, **more)


def points(*numbers):
    return [Result(name, "graded", tasks=[TaskResult("kl", n, 10)]) for name, n in numbers]


def test_a_roster_is_read_whatever_its_columns_are_called_and_separated_by(tmp_path):
    expected = {"student": "Zoë, B", "id": "7", "email": "z@x.org", "group": "G1"}
    text = 'Email, STUDENT ,group,ID\nz@x.org,"Zoë, B",G1,7\n\n'
    assert read_roster(written(tmp_path, text)) == [expected]
    assert read_roster(written(tmp_path, text, "utf-8-sig")) == [expected]
    text = "student;id\nAda;1\n"
    assert read_roster(written(tmp_path, text))[0] == {
        "student": "Ada",
        "id": "1",
        "email": "",
        "group": "",
    }
    # a decomposed umlaut is the same name
    assert read_roster(written(tmp_path, "student\nZoe\u0308\n"))[0]["student"] == "Zoë"


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is empty"),
        ("name,id\nAda,1\n", "unknown column 'name'. There may be: student, id, email, group"),
        ("student,ID,id\nAda,1,2\n", "the column 'id' is there twice"),
        ("id,group\n1,G\n", "no column 'student'"),
        ("student,id\nAda\n", "row 2 has 1 cells, not 2"),
        ("student,id\n,1\n", "row 2 names no student"),
        ("student\nAda\nAda\n", "the student 'Ada' is there twice"),
        ("student,id\nAda,1\nBob,1\n", "the id '1' is there twice"),
        ("student,email\nAda,a@x\nBob,a@x\n", "the email 'a@x' is there twice"),
    ],
)
def test_what_is_wrong_with_a_roster_is_said_in_one_line(text, words, tmp_path):
    with pytest.raises(BadTable, match=words) as refused:
        read_roster(written(tmp_path, text))
    assert "\n" not in str(refused.value) and "class.csv" in str(refused.value)


def test_a_roster_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(BadTable, match="cannot be read"):
        read_roster(tmp_path / "none.csv")
    with pytest.raises(BadTable, match="not text in UTF-8"):
        read_roster(written(tmp_path, "student\nZoë\n", "latin-1"))


def test_a_student_is_found_by_the_row_or_the_platforms_name(tmp_path):
    everybody = [handed("Ada Lovelace", number="4711", platform="moodle"), handed("bob")]
    path = written(tmp_path, "student,id,email\nAda Lovelace,1,a@x\nbob,2,b@x\nCleo,3,c@x\n")
    graded, roster = match(everybody, path)
    assert graded == everybody
    ada = roster.people["Ada_Lovelace_4711"]
    assert (ada.name, ada.number, ada.id, ada.email) == ("Ada Lovelace", "4711", "1", "a@x")
    assert roster.people["bob"].email == "b@x"
    assert roster.messages == ["Nothing was handed in by or for: Cleo."]
    path = written(tmp_path, "student\nAda_Lovelace_4711\n")
    assert match(everybody, path)[1].messages == ["Not in the roster: bob."]
    path = written(tmp_path, "student\nAda_Lovelace_4711\nAda Lovelace\n")
    with pytest.raises(BadTable, match="are the same student"):
        match(everybody, path)


def test_namesakes_must_be_told_apart(tmp_path):
    everybody = [handed("Bo", number="1"), handed("Bo", number="2")]
    with pytest.raises(BadTable, match="'Bo' may be any of Bo_1, Bo_2: write which"):
        match(everybody, written(tmp_path, "student\nBo\n"))
    assert match(everybody, written(tmp_path, "student,id\nBo_2,9\n"))[1].people["Bo_2"].id == "9"


def test_what_the_platform_says_of_a_student_is_kept(tmp_path):
    for name in ("Zoë Ü_4711_assignsubmission_file", "ben_LATE_12_345_x.ipynb", "cleo"):
        path = tmp_path / "class" / name / f"{PS}.ipynb"
        if name.endswith(".ipynb"):
            path = tmp_path / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    zoe, ben, cleo = sorted(collect(tmp_path / "class", PS), key=lambda x: x.name)
    assert (zoe.name, zoe.number, zoe.platform, zoe.late) == ("Zoë Ü", "4711", "moodle", False)
    assert (ben.name, ben.number, ben.platform, ben.late) == ("ben", "12", "canvas", True)
    assert (cleo.name, cleo.number, cleo.platform) == ("cleo", "", "")
    assert str(cleo.path) == f"cleo/{PS}.ipynb"


GROUP = "student,group\nada,G1\nben,G1\nCleo Ü,G1\ndan,G2\n"


def test_of_a_group_one_hands_in_and_all_get_the_points(tmp_path):
    graded, roster = match([handed("ada"), handed("dan")], written(tmp_path, GROUP))
    assert [x.student for x in graded] == ["ada", "dan"]
    rows = {x.student: x for x in shared(points(("ada", 7.0), ("dan", 3.0)), roster)}
    assert {k: x.points for k, x in rows.items()} == {"ada": 7, "ben": 7, "Cleo_Ü": 7, "dan": 3}
    assert rows["ben"].notes == ["handed in by ada for group G1"]
    assert rows["ben"].source == "ada"
    assert "also those of ben, Cleo_Ü" in rows["ada"].notes[0]
    assert rows["dan"].notes == [] and roster.messages == []


def test_the_same_notebook_twice_is_graded_once(tmp_path):
    late = [handed("ada", late=True), handed("ben")]
    graded, roster = match(late, written(tmp_path, GROUP))
    assert [x.student for x in graded] == ["ben"]  # the one that was in time
    rows = {x.student: x for x in shared(points(("ben", 7.0)), roster)}
    assert set(rows) == {"ada", "ben", "Cleo_Ü"}
    assert "their own file does not count: it is the same notebook" in rows["ada"].notes


def test_different_notebooks_of_a_group_are_graded_each(tmp_path):
    both = [handed("ada", b"1"), handed("ben", b"2")]
    graded, roster = match(both, written(tmp_path, GROUP))
    assert graded == both
    rows = {x.student: x for x in shared(points(("ada", 7.0), ("ben", 4.0)), roster)}
    assert {k: x.points for k, x in rows.items()} == {"ada": 7, "ben": 4}
    for row in rows.values():
        assert "ada, ben handed in different notebooks" in row.notes[0]
        assert "Cleo_Ü has no notebook" in row.notes[1]
    assert roster.messages == ["Nothing was handed in by or for: Cleo_Ü, dan."]


def test_a_file_that_cannot_be_read_does_not_count_for_a_group(tmp_path):
    both = [handed("ada", b"", problem="the file is empty"), handed("ben", b"2")]
    graded, roster = match(both, written(tmp_path, GROUP))
    assert [x.student for x in graded] == ["ben"]
    rows = {x.student: x for x in shared(points(("ben", 4.0)), roster)}
    assert rows["ada"].points == 4
    assert rows["ada"].notes[1] == "their own file does not count: the file is empty"


def test_without_a_roster_nothing_changes():
    everybody = [handed("ada"), handed("ben")]
    graded, roster = match(everybody, None)
    assert graded == everybody
    [row] = shared(points(("ada", 1.0)), roster)
    assert (row.student, row.notes, row.points) == ("ada", [], 1)
