"""What an author puts on the board: the marks in a lesson's source, read and judged.

The marks are comments, which no page shows and no notebook keeps, in the Markdown of course/lessons/NAME/lecture.py:

    <!-- slide: Two steps make an image -->    a slide begins, under this heading (without one: that of the section)
    <!-- board -->                             the block below (a paragraph, an equation, a list, a table) goes on it
    <!-- board                                 these words do, which stand nowhere else
    **Encoder** $q(z|x)$ ... -->
    <!-- question: Which one is larger? -->    a question to the class
    <!-- answer: The second. -->               its answer, which the next key press shows
    <!-- figure: samples -->                   the figure of the cell with name="samples", wherever it stands
    <!-- minutes: 10 -->                       below a heading `##`: how long a lecturer takes for that section
    <!-- agenda -->                            the sections and their minutes

and, in the line of a code cell, what of it stands on the board: # %% board="figure values" name="samples"

    figure        its figures; figure:2 the second of them
    values        what it prints, without the claims (lines that end in True or False); values:KL the lines with KL
    code          its code; code:train what it defines under the name train

A number like 0.25 that stands on the board alone must be one of the lesson, or of what its cells print, rounded.
Speakers read the whole text of a slide in its notes, and the claims.
"""

import ast
import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from nbformat import NotebookNode

from course.publish import build, first_cell, pages
from course.publish.markdown import MARK

CLAIM = re.compile(r"\b(True|False)\W*$")
# What stands on a board is read alone: none of these has anything to refer to.
OPENERS = set(
    "it its they them their theirs he she his her we our us this that these those such both "
    "and but or nor so yet because since while whereas although though then therefore thus hence".split()
)
NUMBER = re.compile(r"\d+\.\d+")  # which a run of the lesson may change
ITEM = re.compile(r"([-*+]|\d+\.) ")
WORDS = 60  # on a slide, a formula counting as one
CODE_WIDTH, CODE_LINES = 78, 17  # what fits on a slide of 1280 x 720 in letters of 24 pixels
PER_90_MINUTES = (25, 35)  # slides
QUESTION_EVERY = 10  # minutes, in the mean
LONGEST_WITHOUT = 20  # minutes without a question, where the slides of a section take equally long
RECAP = "Recap"


@dataclass
class Block:
    """A piece of a slide: "text", "question", "answer", "code", "values", "figure" or "agenda", and what it says."""

    kind: str
    text: str = ""
    output: NotebookNode | None = None  # of a figure

    @property
    def words(self) -> str:
        """What a class reads of it as prose."""
        return self.text if self.kind in ("text", "question", "answer") else ""


@dataclass
class Slide:
    heading: str
    section: str  # the notebook's heading `##` above it
    blocks: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # Markdown

    def words(self) -> int:
        """How many words a class has to read."""
        text = " ".join(block.words for block in self.blocks)
        text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`", " formula ", text, flags=re.DOTALL)
        return len(re.findall(r"\w[\w'.-]*", text))


@dataclass
class Deck:
    slides: list[Slide]
    minutes: dict[str, int]  # of each section
    faults: list[str] = field(default_factory=list)  # of its marks


def read(source: NotebookNode, executed: NotebookNode, name: str) -> Deck:
    """The slides of a lesson.

    Args:
        source: the lesson with its marks, `build.read_source(..., board=True)`.
        executed: the same, stored, with outputs.
        name: of the lesson, for messages.

    Raises:
        BuildError: the two are not the same lesson.
    """
    ran = [cell for cell in executed.cells if cell.cell_type == "code"]
    codes = [cell for cell in source.cells if cell.cell_type == "code"]
    if [cell.source for cell in codes] != [cell.source for cell in ran]:
        raise build.BuildError(
            f"{name}: its notebook is not the one of its source. Run: make lessons"
        )
    stored = [cell.outputs for cell in ran]
    following = iter(stored)
    named = {
        cell.metadata["name"]: out
        for cell, out in zip(codes, stored, strict=True)
        if "name" in cell.metadata
    }
    reader = Reader(named)
    for cell in source.cells:
        skipped = cell.metadata.get("slideshow", {}).get("slide_type") == "skip"
        if cell.cell_type == "markdown":
            if odd := re.search(
                "<!--.*", MARK.sub("", cell.source) if not skipped else cell.source
            ):
                reader.faults.append(
                    f"this is no mark, or stands where none is read: {odd[0][:60]}"
                )
            if not skipped:  # such as the references
                reader.markdown(cell.source)
        elif cell.cell_type == "code":
            reader.code(cell, next(following))
    prose = [MARK.sub("", cell.source) for cell in source.cells]
    stated = set(NUMBER.findall(" ".join([*prose, *(x for out in stored for x in printed(out))])))
    reader.faults += [
        f"{slide.heading!r}: the lesson has no number {number}"
        for slide in reader.slides
        for block in slide.blocks
        for number in NUMBER.findall(block.words)
        if not any(f"{float(x):.{len(number.split('.')[1])}f}" == number for x in stated)
    ]
    return Deck(reader.slides, reader.minutes, reader.faults)


class Reader:
    """Goes through a lesson, cell by cell, and collects its slides."""

    def __init__(self, named: dict[str, list[NotebookNode]]) -> None:
        self.named = named
        self.slides: list[Slide] = []
        self.minutes: dict[str, int] = {}
        self.faults: list[str] = []
        self.section = self.heading = ""

    def put(self, *blocks: Block) -> None:
        if self.slides:
            self.slides[-1].blocks += blocks
        else:
            self.faults.append("something stands before the first slide")

    def note(self, text: str) -> None:
        for level, title in re.findall(r"^(#+) +(.+)$", text, re.MULTILINE):
            self.heading = title
            if level == "##":
                self.section = title
        text = re.sub(r"^#+ .+$", "", text, flags=re.MULTILINE).strip()  # they stand on the board
        if text and self.slides:
            self.slides[-1].notes.append(text)

    def markdown(self, text: str) -> None:
        if not self.slides and (title := re.search(r"^# +(.+)$", text, re.MULTILINE)):
            self.slides.append(Slide(title.group(1), ""))
        parts = MARK.split(text)  # prose, (mark, words, prose) ...
        self.note(parts[0])
        before = parts[0]
        for mark, words, after in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            words = textwrap.dedent(words).strip()
            # what a mark opens comes before the prose below it
            if mark == "slide":
                self.slides.append(Slide(words or self.heading, self.section))
            elif mark == "board" and not words:
                block, *rest = after.strip().split("\n\n")
                if not block or block.startswith("#"):
                    self.faults.append(
                        f"`<!-- board -->` stands above nothing, in {self.heading!r}"
                    )
                around = [before.strip().split("\n\n")[-1], *rest[:1]]
                if ITEM.match(block) and any(ITEM.match(x) for x in around):
                    self.faults.append(f"a list is cut in {self.heading!r}")
                self.put(Block("text", block))
            elif mark == "figure":
                if words in self.named:
                    self.put(*figures(self.named[words]))
                else:
                    self.faults.append(f"no cell has name={words!r}")
            elif mark == "minutes":
                if words.isdecimal():
                    self.minutes[self.section] = int(words)
                else:
                    self.faults.append(f"minutes are a whole number, not {words!r}")
            elif mark == "agenda":
                self.put(Block("agenda"))
            else:
                self.put(Block("text" if mark == "board" else mark, words))
            self.note(after)
            before += after

    def code(self, cell: NotebookNode, outputs: list[NotebookNode]) -> None:
        for what in cell.metadata.get("board", "").split():
            kind, _, which = what.partition(":")
            if kind == "figure":
                blocks = figures(outputs)
                if which:
                    blocks = blocks[int(which) - 1 : int(which)] if which.isdecimal() else []
            elif kind == "values":
                lines = [x for x in printed(outputs) if which in x and not CLAIM.search(x)]
                blocks = [Block("values", "\n".join(lines).strip("\n"))] if any(lines) else []
            elif kind == "code":
                source = first_cell.without(cell.source)
                code = defined(source, which) if which else source
                blocks = [Block("code", code)] if code else []
            else:
                self.faults.append(f'board="{what}": write figure, values or code')
                continue
            if not blocks:
                self.faults.append(
                    f'board="{what}" below {self.heading!r}: the cell has nothing of the kind'
                )
            self.put(*blocks)
        claims = [line for line in printed(outputs) if CLAIM.search(line)]
        if claims and self.slides:
            self.slides[-1].notes.append("```text\n" + "\n".join(claims) + "\n```")


def figures(outputs: list[NotebookNode]) -> list[Block]:
    return [Block("figure", output=x) for x in outputs if pages.FIGURE in x.get("data", {})]


def printed(outputs: list[NotebookNode]) -> list[str]:
    """The lines that a cell prints or shows as text."""
    lines: list[str] = []
    for output in outputs:
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        if output.get("name") != "stderr" and pages.FIGURE not in output.get("data", {}):
            lines += text.rstrip().splitlines()
    return lines


def defined(source: str, name: str) -> str:
    """The statement of a cell that defines a name, as it is written, or nothing."""
    for node in ast.parse(source).body:
        names: Iterable[Any] = [getattr(node, "name", None)]
        if isinstance(node, ast.Assign):
            names = (x.id for x in node.targets if isinstance(x, ast.Name))
        if name in names:
            start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            return "\n".join(source.splitlines()[start - 1 : node.end_lineno])
    return ""


# ---------------------------------------------------------------- judged


def faults(deck: Deck, weeks: int) -> list[str]:
    """What a class could not follow in a deck of so many weeks of 90 minutes, one line each."""
    found = [*deck.faults]
    for number, slide in enumerate(deck.slides, start=1):
        found += [f"slide {number} ({slide.heading}): {fault}" for fault in faults_of(slide)]
    kinds = [{block.kind for block in slide.blocks} for slide in deck.slides]
    if not any("figure" in here for here in kinds[:3]):
        found.append("no picture of where it ends within the first three slides")
    if not any("agenda" in here for here in kinds):
        found.append("no agenda")
    if not any(slide.heading == RECAP for slide in deck.slides):
        found.append(f"no slide is called {RECAP}")
    minutes, asked = sum(deck.minutes.values()), sum("question" in here for here in kinds)
    if not 80 * weeks <= minutes <= 90 * weeks:
        found.append(f"{minutes} minutes: {80 * weeks} to {90 * weeks} fit {weeks} week(s)")
    least, most = (weeks * x for x in PER_90_MINUTES)
    slides = len(deck.slides) + 1  # the build adds the last
    if not least <= slides <= most:
        found.append(f"{slides} slides: {least} to {most} fit {weeks} week(s)")
    if asked < minutes / QUESTION_EVERY - 1:
        found.append(
            f"{asked} questions to the class in {minutes} minutes: one every {QUESTION_EVERY}"
        )
    if (longest := longest_without_question(deck)) > LONGEST_WITHOUT:
        found.append(f"{longest:.0f} minutes without a question, of at most {LONGEST_WITHOUT}")
    for title in dict.fromkeys(slide.section for slide in deck.slides if slide.section):
        if title not in deck.minutes:
            found.append(f"the section {title!r} has no minutes")
    return found


def longest_without_question(deck: Deck) -> float:
    """Minutes from one question to the next, or to the end, at most."""
    slides_in = Counter(slide.section for slide in deck.slides)
    longest = since = 0.0
    for slide in deck.slides:
        since += deck.minutes.get(slide.section, 0) / slides_in[slide.section]
        longest = max(longest, since)
        if any(block.kind == "question" for block in slide.blocks):
            since = 0.0
    return longest


def faults_of(slide: Slide) -> list[str]:
    found = []
    if opens(slide.heading):
        found.append(f"its heading opens with {slide.heading.split()[0]!r}")
    if not slide.blocks:
        found.append("it is empty")
    if (words := slide.words()) > WORDS:
        found.append(f"{words} words, of at most {WORDS}")
    kinds = ["", *(block.kind for block in slide.blocks), ""]
    for before, kind in pairwise(kinds):
        if kind == "answer" and before != "question":
            found.append("an answer without its question before it")
        if before == "question" and kind != "answer":
            found.append("a question without an answer right after it")
    for block in slide.blocks:
        if block.kind in ("code", "values"):
            lines = block.text.splitlines()
            if len(lines) > CODE_LINES or max(map(len, lines)) > CODE_WIDTH:
                found.append(
                    f"{block.kind} of {len(lines)} lines, {max(map(len, lines))} wide: letters of 24 pixels leave "
                    f"{CODE_LINES} lines, {CODE_WIDTH} wide"
                )
        found += [
            f"{line[:40]!r} opens with a word that refers to what is not there"
            for line in openings(block.words)
            if opens(line)
        ]
    return found


def opens(line: str) -> bool:
    """Whether it begins with a pronoun or a conjunction.

    Example:
        >>> opens("**It** rises."), opens("Italy")
        (True, False)
    """
    first = re.match(r"\W*(\w+)", line)
    return first is not None and first.group(1).lower() in OPENERS


def openings(text: str) -> list[str]:
    """The first words of each paragraph and of each item of a list; formulas and tables have none."""
    text = re.sub(r"\$\$.*?\$\$[.,;]?", "", text, flags=re.DOTALL)
    pieces = re.split(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+\.) )", text)
    pieces = [re.sub(r"^\s*(?:[-*+]|\d+\.) +", "", piece).strip() for piece in pieces]
    return [x for x in pieces if x and not x.startswith(("$", "|", "#"))]
