"""What an author puts on the board: the marks, read as written; what a class could not follow, refused."""

import nbformat
import pytest

from course.publish import boards, build, markdown, pages, slides

CELL = nbformat.v4.new_markdown_cell
PICTURE = nbformat.v4.new_output("display_data", data={pages.FIGURE: "iVBORw0KGgo="})
PROSE = """\
# 1. Title

<!-- board -->
**Why?**

Said, not shown.

<!-- slide: Where it ends -->
<!-- figure: end -->
<!-- slide -->
<!-- agenda -->"""
SECTION = """\
## First
<!-- minutes: 85 -->
<!-- slide: A statement -->
<!-- board -->
$$x = 1$$

Long prose.

<!-- board
Own words, with $x$ and
two lines.
-->
<!-- question: What is $x$? -->
<!-- answer: One. -->"""


def code(source, text="", board="", name="", figure=False):
    cell = nbformat.v4.new_code_cell(source)
    cell.metadata.update({k: v for k, v in {"board": board, "name": name}.items() if v})
    cell.outputs = [nbformat.v4.new_output("stream", text=text)] if text else []
    cell.outputs += [PICTURE] if figure else []
    return cell


def read(*cells):
    nb = nbformat.v4.new_notebook(cells=list(cells))
    return boards.read(nb, nb, "toy")


def lesson(*more):
    return read(CELL(PROSE), CELL(SECTION), code("f()", name="end", figure=True), *more)


def judged(text, weeks=1):
    """The faults of a lesson with a slide of this text, without those that come from its size."""
    deck = lesson(CELL(f"<!-- slide: More -->\n{text}"))
    return [fault for fault in boards.faults(deck, weeks) if fault.startswith("slide 5")]


def test_a_deck_holds_what_is_marked_in_its_order_and_the_notes_all_the_text():
    deck = lesson()
    assert [s.heading for s in deck.slides] == [
        "1. Title",
        "Where it ends",
        "1. Title",
        "A statement",
    ]
    shown = [[(b.kind, b.text) for b in s.blocks] for s in deck.slides]
    assert shown[0] == [("text", "**Why?**")] and shown[1] == [("figure", "")]
    assert shown[2] == [("agenda", "")] and deck.minutes == {"First": 85}
    assert shown[3] == [
        ("text", "$$x = 1$$"),
        ("text", "Own words, with $x$ and\ntwo lines."),
        ("question", "What is $x$?"),
        ("answer", "One."),
    ]
    assert "Said, not shown." in "".join(deck.slides[0].notes)
    assert "Long prose." in "".join(deck.slides[3].notes) and "Own" not in "".join(
        deck.slides[3].notes
    )


def test_a_claim_is_said_wherever_it_is_printed():
    assert "a above 1: True" in lesson(code("f()", "a above 1: True\n")).slides[-1].notes[-1]


def test_a_heading_is_judged_and_is_no_note():
    deck = lesson(CELL("<!-- slide: It rises -->\n<!-- board -->\nText.\n\n## Next"))
    assert any("its heading opens" in fault for fault in boards.faults(deck, 1))
    assert "Next" not in "".join(deck.slides[-1].notes)


def test_references_are_no_notes():
    cell = CELL("## References\n\n- A paper.", metadata={"slideshow": {"slide_type": "skip"}})
    assert "A paper" not in "".join(lesson(cell).slides[-1].notes)


def test_a_notebook_keeps_none_of_the_marks():
    kept = markdown.without_marks(SECTION)
    assert kept == "## First\n$$x = 1$$\n\nLong prose."
    assert markdown.without_marks("<!-- slide: A -->\n<!-- agenda -->") == ""
    assert (
        markdown.without_marks("a <!-- board --> b") == "a <!-- board --> b"
    )  # no mark: within a line


def test_values_are_shown_and_claims_said():
    cell = code("f()", "a is 1\nb is above 2: True\nc is 3\n", board="values")
    slide = lesson(cell).slides[-1]
    assert slide.blocks[-1].text == "a is 1\nc is 3"
    assert "b is above 2: True" in slide.notes[-1]
    assert (
        lesson(code("f()", "a is 1\nc is 3\n", board="values:c")).slides[-1].blocks[-1].text
        == "c is 3"
    )


def test_code_is_shown_whole_or_one_definition():
    source = "import x\n\n\n@x\ndef f(a):\n    return a\n\n\nb = f(1)"
    shown = lesson(code(source, board="code:f code:b code")).slides[-1].blocks[-3:]
    assert [block.text for block in shown] == ["@x\ndef f(a):\n    return a", "b = f(1)", source]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<!-- board\nIt rises.\n-->", "opens with"),
        ("<!-- board\n- One.\n- **But** two.\n-->", "opens with"),
        ("<!-- board\nRight.\n\nThey rise.\n-->", "opens with"),
        ("<!-- question: And $x$? -->\n<!-- answer: 1 -->", "opens with"),
        ("<!-- board\n" + "word " * 61 + "\n-->", "61 words"),
        ("Only said.", "empty"),
        ("<!-- question: Why? -->", "without an answer"),
        (
            "<!-- question: Why? -->\n<!-- question: How? -->\n<!-- answer: So. -->",
            "without an answer",
        ),
        ("<!-- answer: Because. -->", "without its question"),
    ],
)
def test_what_a_class_could_not_follow_is_refused(text, words):
    assert any(words in fault for fault in judged(text))


@pytest.mark.parametrize(
    "text",
    [
        "<!-- board\n" + "word " * 60 + "\n-->",
        "<!-- board\n" + "$a b c d$ " * 30 + "\n-->",  # a formula is read as one word
        "<!-- board\nItaly and Butter.\n\n- $p$ it\n-->",
        "<!-- question: Why? -->\n<!-- answer: Noise. -->",
    ],
)
def test_and_nothing_else(text):
    assert not judged(text)


def test_code_smaller_than_24_pixels_is_refused():
    for source in ("x = 1\n" * 18, "x = " + "1" * 75):
        deck = lesson(CELL("<!-- slide: Code -->"), code(source, board="code"))
        assert any("24 pixels" in fault for fault in boards.faults(deck, 1))
    deck = lesson(CELL("<!-- slide: Code -->"), code("x = 1\n" * 17, board="code"))
    assert not any("24 pixels" in fault for fault in boards.faults(deck, 1))


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (code("f()", "a: True\nb: False\n", board="values"), "nothing of the kind"),
        (code("f()", board="figure"), "nothing of the kind"),
        (code("f()", board="code:g"), "nothing of the kind"),
        (code("f()", board="picture"), "write figure"),
        (CELL("<!-- figure: none -->"), "no cell has"),
        (CELL("<!-- board\nA loss of 1.39 nats.\n-->"), "no number 1.39"),
        (CELL("<!-- board -->\n\n## Next"), "above nothing"),
        (CELL("1. One.\n\n<!-- board -->\n2. Two."), "a list is cut"),
        (CELL("- One.\n<!-- board -->\n- Two."), "a list is cut"),
        (CELL("<!-- board -->\n1. One.\n\n2. Two."), "a list is cut"),
        (CELL("1. One.\n\n<!-- question: Q? -->\n<!-- answer: A. -->\n<!-- board -->\n2. Two."), "a list is cut"),
        (CELL("<!-- qestion: Why? -->"), "this is no mark"),
        (CELL("<!-- minutes: ten -->"), "a whole number"),
        (CELL("<!-- board\nText.\n-->", metadata={"slideshow": {"slide_type": "skip"}}), "none is read"),
        (code("f()", figure=True, board="figure:2"), "nothing of the kind"),
    ],
)  # fmt: skip
def test_a_mark_that_shows_nothing_is_refused(cell, words):
    assert any(words in fault for fault in boards.faults(lesson(cell), 1))


def test_a_deck_needs_a_picture_an_agenda_a_recap_questions_and_its_time():
    whole = boards.faults(lesson(), 1)
    for words in ("no slide is called Recap", "1 questions", "5 slides: 25 to 35"):
        assert any(words in fault for fault in whole), words
    assert not any("picture" in f or "agenda" in f or "85 minutes: 80" in f for f in whole)
    bare = boards.faults(read(CELL("# T"), CELL("## S\n<!-- slide -->\n<!-- board -->\nText.")), 1)
    for words in ("no picture", "no agenda", "0 minutes", "'S' has no minutes"):
        assert any(words in fault for fault in bare), words
    assert any("85 minutes: 160 to 180 fit 2" in fault for fault in boards.faults(lesson(), 2))


def test_a_number_of_the_lesson_or_of_its_outputs_may_stand_on_the_board():
    words = CELL("<!-- board\nFrom 1.39 to 0.25 nats.\n-->\n\nIn theory it starts at 1.39.")
    assert not any("number" in x for x in lesson(words, code("f()", "loss 0.25\n")).faults)


def test_a_class_is_not_left_without_a_question_for_long():
    asked = "<!-- slide -->\n<!-- question: Q? -->\n<!-- answer: A. -->\n"
    talk = "<!-- slide -->\n<!-- board -->\nText.\n\n"
    for text, minutes in ((asked + talk * 3, 45), (talk * 2 + asked + talk, 45), (asked * 4, 15)):
        deck = read(CELL("# T"), CELL(f"## S\n<!-- minutes: 60 -->\n{text}"))
        assert boards.longest_without_question(deck) == minutes
        assert any("without a question" in x for x in boards.faults(deck, 1)) == (minutes > 20)


def test_a_notebook_of_another_source_is_refused():
    nb, other = (nbformat.v4.new_notebook(cells=[code(source)]) for source in ("a", "b"))
    with pytest.raises(build.BuildError, match="make lessons"):
        boards.read(nb, other, "toy")


def test_a_refused_deck_is_not_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(boards, "faults", lambda deck, weeks: ["no recap"])
    assert slides.main(["--out", str(tmp_path), pages.decks()[0].name]) == 1
    assert "no recap" in capsys.readouterr().err and not list(tmp_path.iterdir())
