"""`make datasets`: lessons on other data than their own."""

import nbformat

from course.publish import datasets

LESSON = """\
# %% [markdown]
# # Toy

# %%
from genlib.data import load

DATASET, EPOCHS = "bars", 2  # or {others}; not "anything"

# %%
data = load(DATASET)
print(f"there are {{len(data)}}")
print(f"black is a level: {{bool(data.images.min() == 0)}}")
print(f"colour: {{data.shape[0] == 3}}")
{claim}
assert data.shape != (1, 8, 8), "too small"
"""
CLAIM = """print(f"two levels: {data.levels == 2}, no more")"""
OWN = 'if DATASET == "bars":\n    ' + CLAIM


def toy(root, claim, others):
    """A lesson, and its notebook with what the cells print on its own data."""
    for folder in ("course/lessons/toy", "notebooks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "course" / "syllabus.toml").write_text('[[lesson]]\nname = "toy"\ntitle = "Toy"\n')
    (root / "course" / "lessons" / "toy" / "lecture.py").write_text(
        LESSON.format(claim=claim, others=others)
    )
    text = "there are 30\nblack is a level: True\ncolour: False\ntwo levels: True, no more\n"
    output = nbformat.v4.new_output("stream", text=text)
    stored = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    nbformat.write(stored, root / "notebooks" / "00_toy.ipynb")


def test_a_lesson_fails_where_it_stops_or_claims_what_does_not_hold_there(tmp_path):
    toy(tmp_path, CLAIM, '"digits", "strokes"')
    before = (tmp_path / "notebooks" / "00_toy.ipynb").read_bytes()
    lines = list(datasets.runs(tmp_path, (), ("digits", "strokes", "mnist"), images=20))
    assert len(lines) == 2
    assert lines[0].startswith("FAILED 00_toy on digits: ") and "too small" in lines[0]
    assert lines[1] == "FAILED 00_toy on strokes: two levels: False, no more"
    assert (tmp_path / "notebooks" / "00_toy.ipynb").read_bytes() == before
    assert list(datasets.runs(tmp_path, ("toy",), ("letters",), images=20)) == []


def test_a_claim_that_is_not_asked_there_is_no_fault(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(datasets.build, "ROOT", tmp_path)
    toy(tmp_path, OWN, '"strokes"')
    assert datasets.main([]) == 0
    assert capsys.readouterr().out == "00_toy on strokes: every claim holds\n"
    toy(tmp_path, CLAIM, '"strokes"')
    assert datasets.main([]) == 1


def test_a_lesson_that_asks_for_all_images_gets_so_many_of_the_other_data(tmp_path):
    space: dict = {}
    exec(datasets.FEW.format(other="digits", images=20), space)
    try:
        load = space["genlib"].data.load
        assert [len(load(name)) for name in ("digits", "bars")] == [20, 30]
        assert len(load("digits", size=70)) == 70
        assert len(load("colour_digits")) > 20
    finally:
        space["genlib"].data.load = space["few"].__kwdefaults__["load"]
