"""`make datasets`: lessons on other data than their own."""

from course.publish import datasets

LESSON = """\
# %% [markdown]
# # Toy

# %%
from genlib.data import load

DATASET, EPOCHS = "bars", 2  # or "digits", "strokes"; not "anything"

# %%
data = load(DATASET)
print(f"there are {len(data)}")
print(f"its own data: {DATASET == 'bars'}")
assert data.shape != (1, 8, 8), "too small"
"""


def test_each_lesson_runs_on_the_data_it_names_and_says_what_fails_there(tmp_path):
    folder = tmp_path / "course" / "lessons" / "toy"
    folder.mkdir(parents=True)
    (folder / "lecture.py").write_text(LESSON)
    (tmp_path / "course" / "syllabus.toml").write_text('[[lesson]]\nname = "toy"\ntitle = "Toy"\n')
    (tmp_path / "notebooks").mkdir()
    lines = list(datasets.runs(tmp_path, (), ("digits", "strokes", "mnist"), images=20))
    assert len(lines) == 2
    assert lines[0].startswith("FAILED 00_toy on digits: ") and "too small" in lines[0]
    assert lines[1] == "00_toy on strokes: runs; False there: its own data"
    assert not any((tmp_path / "notebooks").iterdir())
    assert list(datasets.runs(tmp_path, ("toy",), ("letters",), images=20)) == []


def test_no_more_images_than_asked_for(tmp_path):
    space: dict = {}
    exec(datasets.FEW.format(images=20), space)
    try:
        load = space["genlib"].data.load
        assert [len(load(name)) for name in ("digits", "strokes", "bars")] == [20, 20, 30]
        assert len(load("digits", size=7)) == 7
    finally:
        space["genlib"].data.load = space["few"].__defaults__[-1]
