"""Make a deck of slides of every lesson, one HTML file that opens with no network.

    python -m course.publish.slides         all of them, into build/slides/
    python -m course.publish.slides 03      those whose name starts with 03

A deck is made from the executed notebook in notebooks/, so it shows what the tests compare. The marks of the lesson
(slide, subslide, skip, notes) say where a slide begins. Of the prose a slide shows what a lecturer would write on the
board: headings, equations, lists, tables, and of each paragraph one sentence, the one with a term in bold if there is
one. All of the prose stands in the speaker notes (press S). Figures and printed results are shown. Code is shown where
it is the point: where a cell builds something by hand and asserts that it is right, or carries the mark fragment. What
is too much for one slide goes on to the next, under the same heading.
"""

import argparse
import base64
import html
import re
import struct
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from nbconvert.filters import Highlight2HTML, markdown2html
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from course.publish import build, pages

TEMPLATE = Path(__file__).with_name("slides.html.j2")

# The slide is a page of 1280 x 720; these estimate how much of its height a block takes, in pixels.
WIDTH, ROOM = 1150, 560
LINE, CHARACTERS = 39, 86  # of prose
SMALL_LINE = 25  # of code, and of what a cell prints
EQUATION, EQUATION_LINE = 62, 50
GAP = 16  # between blocks
LARGER = 1.7  # how many times its own size a figure is drawn at most
SMALLER = 0.62  # and the share of the size it could have below which it gets a slide of its own
LONGEST_CODE = 22  # lines


@dataclass
class Block:
    """A piece of a slide: its HTML and the height it takes; a figure can do with less than it would like."""

    html: str
    height: float
    least: float
    kind: str = "text"  # or "figure", "code", "printed"
    longer: "Block | None" = None  # the same with a sentence more, where there is room for it


@dataclass
class Slide:
    heading: str
    level: str  # "title", "slide", "subslide"
    blocks: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    inherits: bool = False  # its heading is that of the slide before


# ---------------------------------------------------------------- prose


def blocks_of_text(source: str) -> list[tuple[str, str]]:
    """Split Markdown into (kind, text): heading, equation, list, table, code or paragraph."""
    parts = re.split(r"(^\$\$.*?\$\$[.,;]?$|^```.*?^```$)", source, flags=re.DOTALL | re.MULTILINE)
    found = []
    for part in parts:
        if part.startswith(("$$", "```")):
            found.append(("equation" if part.startswith("$$") else "code", part))
            continue
        for text in re.split(r"\n\s*\n|(?=^#+ )|(?<=\n)(?=^#+ )", part.strip(), flags=re.MULTILINE):
            text = text.strip()
            heading = re.match(r"(#+) +(.+)(?:\n|$)", text)
            if heading:
                found.append(("heading", heading.group(0).strip()))
                text = text[heading.end() :].strip()
            if not text:
                continue
            if text.startswith("|"):
                kind = "table"
            elif re.match(r"([-*+]|\d+\.) ", text):
                kind = "list"
            else:
                kind = "paragraph"
            found.append((kind, text))
    return found


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph; a full stop within mathematics, code or a bracket ends none."""
    hidden: list[str] = []

    def hide(match: re.Match) -> str:
        hidden.append(match.group(0))
        return f"\x00{len(hidden) - 1}\x00"

    text = re.sub(r"\$[^$]+\$|`[^`]+`|\([^()]*\)", hide, " ".join(text.split()))
    text = re.sub(r"(\*\*[^*]+\*\*)", hide, text)
    pieces = re.split(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!al\.)[\"*]*\s+", text)

    def show(piece: str) -> str:
        while "\x00" in piece:
            piece = re.sub(r"\x00(\d+)\x00", lambda m: hidden[int(m.group(1))], piece)
        return piece

    return [show(piece) for piece in pieces if piece.strip()]


def key_sentence(text: str, leads: bool, more: int = 0) -> str:
    """What a lecturer would write down of a paragraph.

    Args:
        text: the paragraph.
        leads: whether an equation, a list or a table follows, which its last sentence announces.
        more: how many of the sentences after the key sentence may follow it.
    """
    parts = sentences(text)
    if leads and parts[-1].endswith((":", ",")):
        chosen = parts[-1]
    else:
        bold = [s for s in parts if "**" in s]
        chosen = (bold or parts)[0]
    at = parts.index(chosen)
    end = at + 1 + more + (len(chosen) < 45)  # "Who wins?" needs its answer
    return " ".join(parts[at:end])


def first_words(item: str) -> str:
    """Of a long item of a list, its first sentence."""
    mark, text = re.match(r"((?:[-*+]|\d+\.) +)(.*)", item, re.DOTALL).groups()
    parts = sentences(text)
    short = parts[0]
    if len(short) < 25 and len(parts) > 1:
        short += " " + parts[1]
    return mark + short


def to_html(text: str, decks: set[str]) -> str:
    """Markdown as HTML; links to other lessons lead to their decks, links to other files are only words."""

    def link(match: re.Match) -> str:
        words, target = match.groups()
        if "://" in target:
            return match.group(0)
        name = Path(target.split("#")[0]).stem
        return f"[{words}]({name}.html)" if name in decks else words

    return markdown2html(re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", link, text))


def prose(kind: str, text: str, decks: set[str], leads: bool = False) -> Block:
    if kind == "equation":
        lines = 1 + len(re.findall(r"\\\\|\n.*\S.*\n", text))
        height = EQUATION + EQUATION_LINE * (lines - 1)
        return Block(to_html(text, decks), height, height)
    if kind == "code":
        height = SMALL_LINE * len(text.splitlines())
        return Block(to_html(text, decks), height, height)
    if kind == "table":
        rows = [row for row in text.splitlines() if not re.fullmatch(r"[|\s:-]+", row)]
        height = sum(12 + 32 * (1 + len(row) // 100) for row in rows)
        return Block(to_html(text, decks), height, height)
    if kind == "list":
        items = [first_words(x) for x in re.split(r"\n(?=(?:[-*+]|\d+\.) )", text)]
        height = sum(8 + LINE * lines_of(item) for item in items)
        return Block(to_html("\n".join(items), decks), height, height)
    short, long = (key_sentence(text, leads, more) for more in (0, 1))
    height = LINE * lines_of(short)
    longer = Block(to_html(long, decks), LINE * lines_of(long), LINE * lines_of(long))
    return Block(to_html(short, decks), height, height, longer=longer)


def lines_of(text: str) -> int:
    """How many lines it takes; a command of TeX is about as wide as two letters."""
    return 1 + len(re.sub(r"\\[a-zA-Z]+", "xx", pages.plain(text))) // CHARACTERS


# ---------------------------------------------------------------- code and outputs


def is_the_point(cell: NotebookNode) -> bool:
    """Whether a lecture shows the code of this cell, and not only what comes of it."""
    if cell.metadata.get("slideshow", {}).get("slide_type") == "fragment":
        return True
    lines = [line.strip() for line in cell.source.splitlines() if line.strip()]
    asserts = sum(line.startswith("assert ") for line in lines)
    builds = sum(not line.startswith(("assert ", "print(")) for line in lines)
    by_hand = re.search(r"^(@|def |class )|allclose", cell.source, re.MULTILINE) is not None
    return by_hand and 0 < asserts < builds and len(cell.source.splitlines()) <= LONGEST_CODE


def code(cell: NotebookNode) -> Block:
    source = re.sub(r"\n\n\n+", "\n\n", cell.source)
    height = SMALL_LINE * len(source.splitlines()) + 20
    return Block(Highlight2HTML()(source, language="python"), height, height, "code")


def figure(output: NotebookNode) -> Block:
    data = output.data[pages.FIGURE].replace("\n", "")
    wide, high = struct.unpack(">II", base64.b64decode(data[:64])[16:24])  # in the PNG's header
    scale = min(LARGER, WIDTH / wide, (ROOM - 10) / high)
    alt = html.escape(output.metadata[pages.FIGURE]["alt"])
    style = f"flex: 1 1 {high * scale:.0f}px; max-height: {high * scale:.0f}px"
    picture = f'<img alt="{alt}" src="data:image/png;base64,{data}" width="{wide}" height="{high}">'
    text = f'<figure style="{style}">{picture}</figure>'
    if "explorer: run this cell" in output.data.get("text/plain", ""):
        text += '<p class="live">A still picture: it moves in the notebook.</p>'
    return Block(text, high * scale, SMALLER * high * scale, "figure")


def printed(output: NotebookNode) -> Block | None:
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    text = text.rstrip()
    if not text or output.get("name") == "stderr" or text.startswith("<Figure"):
        return None
    lines = []
    for line in text.splitlines():
        lines += [line] if len(line) <= 100 else textwrap.wrap(line, 100, subsequent_indent="    ")
    height = SMALL_LINE * len(lines) + 20
    words = html.escape("\n".join(lines))
    return Block(f'<pre class="printed">{words}</pre>', height, height, "printed")


# ---------------------------------------------------------------- slides


def slides_of(nb: NotebookNode, decks: set[str]) -> list[Slide]:
    """What the lecture shows, a slide for each heading or mark, however long."""
    slides: list[Slide] = []
    heading = ""
    for cell in nb.cells:
        mark = cell.metadata.get("slideshow", {}).get("slide_type", "-")
        if mark == "skip":
            continue
        if mark == "notes":
            if slides:
                slides[-1].notes.append(to_html(cell.source, decks))
            continue
        if cell.cell_type == "markdown":
            texts = blocks_of_text(cell.source)
            if mark in ("slide", "subslide") and texts[0][0] != "heading":
                slides.append(Slide(heading, mark, inherits=True))
            for i, (kind, text) in enumerate(texts):
                if kind == "heading":
                    hashes, heading = text.split(" ", 1)
                    first = not slides
                    level = "title" if first else "slide" if hashes == "##" else "subslide"
                    slides.append(Slide(heading, level))
                    continue
                leads = i + 1 < len(texts) and texts[i + 1][0] not in ("heading", "paragraph")
                slides[-1].blocks.append(prose(kind, text, decks, leads))
                slides[-1].notes.append(to_html(text, decks))
        elif cell.cell_type == "code":
            if is_the_point(cell):
                slides[-1].blocks.append(code(cell))
            for output in cell.outputs:
                if pages.FIGURE in output.get("data", {}):
                    slides[-1].blocks.append(figure(output))
                elif block := printed(output):
                    slides[-1].blocks.append(block)
    return slides


def fits(blocks: list[Block]) -> bool:
    """With a line or two of what a cell prints the rest may shrink a little more."""
    room = ROOM + 70 * (blocks[-1].kind == "printed" and blocks[-1].height < 4 * SMALL_LINE)
    return sum(block.least + GAP for block in blocks) - GAP <= room


def say_more(blocks: list[Block]) -> list[Block]:
    """Where there is little on a slide, and no figure: of each paragraph a sentence more."""
    if any(block.kind != "text" for block in blocks) or sum(b.height for b in blocks) > 4 * LINE:
        return blocks
    return [block.longer or block for block in blocks]


def join(slides: list[Slide]) -> list[Slide]:
    """A sentence or two about what was just shown stand below it, if they fit there."""
    joined: list[Slide] = []
    for slide in slides:
        remark = slide.inherits and all(block.kind == "text" for block in slide.blocks)
        if remark and joined[-1].level != "title" and fits([*joined[-1].blocks, *slide.blocks]):
            joined[-1].blocks += slide.blocks
            joined[-1].notes += slide.notes
        else:
            joined.append(slide)
    return joined


def fit(slide: Slide) -> list[Slide]:
    """Spread what a slide holds over as many as it needs; figures shrink a little before that."""
    if slide.level == "title":  # the question; the rest is what the lecturer says
        return [Slide(slide.heading, slide.level, slide.blocks[:1], slide.notes)]
    parts: list[list[Block]] = [[]]
    for block in slide.blocks:
        if parts[-1] and not fits([*parts[-1], block]):
            parts.append([])
        parts[-1].append(block)
    for before, after in zip(parts, parts[1:], strict=False):
        # what announces an equation goes with it
        if len(before) > 1 and re.search(r"[:,]</p>\s*$", before[-1].html):
            after.insert(0, before.pop())
    parts = [say_more(blocks) for blocks in parts]
    return [
        Slide(slide.heading, slide.level if i == 0 else "subslide", blocks, slide.notes)
        for i, blocks in enumerate(parts)
    ]


def deck(nb: NotebookNode, name: str, titles: dict[str, str], exercises: bool) -> str:
    """The HTML of a lesson's deck.

    Args:
        nb: the lesson, executed.
        name: of the lesson, as its files are called.
        titles: of all lessons, by name and in order.
        exercises: whether it has any.
    """
    others, decks = set(titles), list(titles)
    columns: list[list[Slide]] = []
    for slide in join(slides_of(nb, others)):
        while slide.blocks and re.search(r":</p>\s*$", slide.blocks[-1].html):
            slide.blocks.pop()  # it announces code that is not shown
        if not slide.blocks and slide.level != "title":
            continue
        for part in fit(slide):
            if part.level == "subslide" and columns:
                columns[-1].append(part)
            else:
                columns.append([part])
    after = decks.index(name) + 1
    dist = pages.folder_of("sphinx_revealjs", "_static", "revealjs")
    template = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined).from_string(
        TEMPLATE.read_text(encoding="utf-8")
    )
    return template.render(
        course=pages.COURSE,
        title=html.escape(pages.title_of(nb)),
        columns=columns,
        heading=lambda text: re.sub(r"^<p>|</p>$", "", to_html(text, others).strip()),
        exercises=f"notebooks/{name}_exercises.ipynb" if exercises else None,
        next=(decks[after], titles[decks[after]]) if after < len(decks) else None,
        styles=[
            (dist / "dist" / f"{x}.css").read_text(encoding="utf-8") for x in ("reset", "reveal")
        ],
        colours=HtmlFormatter(style="default").get_style_defs(".highlight"),
        mathjax=script(pages.mathjax()),
        scripts=[script(dist / "dist/reveal.js"), script(dist / "plugin/notes/notes.js")],
    )


def script(path: Path) -> str:
    """JavaScript that can stand within a page: nothing in it ends the element, or starts another."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"</(?=script)", r"<\\/", text, flags=re.IGNORECASE).replace("<!--", "\\x3C!--")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("prefix", nargs="*", help="lessons whose name starts so (default: all)")
    parser.add_argument("--out", type=Path, help="where the decks go (default: build/slides)")
    parser.add_argument("--root", type=Path, default=build.ROOT, help="the course's folder")
    args = parser.parse_args(argv)
    root, out = args.root, args.out or args.root / "build" / "slides"
    lessons = pages.decks(root)
    with_exercises = {x.name.removesuffix("_exercises") for x in pages.exercises(root)}
    try:
        chosen = build.choose(lessons, args.prefix)
        notebooks = {x.name: pages.read(root / x.executed) for x in lessons}
        titles = {name: pages.title_of(nb) for name, nb in notebooks.items()}
        for lesson in chosen:
            nb = notebooks[lesson.name]
            text = deck(nb, lesson.name, titles, lesson.name in with_exercises)
            path = out / f"{lesson.name}.html"
            build.write_text(path, text)
            print(f"{path.stat().st_size / 1e6:5.1f} MB  {path}")
    except build.BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
