"""Make a deck of slides of every lesson, one HTML file that opens with no network.

    python -m course.publish.slides            all of them, into build/slides/
    python -m course.publish.slides 03         those whose name starts with 03
    python -m course.publish.slides --pdf      printed as well, a page a slide (needs Chromium)

A deck shows what its author put on the board (`course.publish.boards`), with the figures and values of the executed
notebook in notebooks/, so it shows what the tests compare. The text of the lesson stands in the speaker's notes (press
S). Nothing is shortened and nothing chosen here: a deck that a class could not follow is refused.
"""

import argparse
import base64
import html
import re
import struct
import sys
from pathlib import Path

import jinja2
from nbconvert.filters import Highlight2HTML, markdown2html
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from course import syllabus
from course.publish import boards, browser, build, pages

TEMPLATE = Path(__file__).with_name("slides.html.j2")
LARGER = 1.7  # how many times its own size a figure is drawn at most
BESIDE = 1.45  # a figure less wide than so many times its height stands beside the text


def to_html(text: str, decks: set[str]) -> str:
    """Markdown as HTML; links to other lessons lead to their decks, links to other files are only words."""

    def link(match: re.Match) -> str:
        words, target = match.groups()
        if "://" in target:
            return match.group(0)
        name = Path(target.split("#")[0]).stem
        return f"[{words}]({name}.html)" if name in decks else words

    return markdown2html(re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", link, text))


def size_of(output: NotebookNode) -> tuple[int, int]:
    """Width and height of a figure in pixels, from the header of its PNG."""
    data = output.data[pages.FIGURE].replace("\n", "")
    return struct.unpack(">II", base64.b64decode(data[:64])[16:24])


def figure(output: NotebookNode) -> str:
    wide, high = size_of(output)
    data = output.data[pages.FIGURE].replace("\n", "")
    alt = html.escape(output.metadata[pages.FIGURE]["alt"])
    picture = f'<img alt="{alt}" src="data:image/png;base64,{data}" width="{wide}" height="{high}">'
    style = f"flex: 1 1 {high}px; max-height: {LARGER * high:.0f}px"
    return f'<figure style="{style}">{picture}</figure>'


def block_html(block: boards.Block, deck: boards.Deck, decks: set[str]) -> str:
    match block.kind:
        case "figure":
            return figure(block.output)
        case "code":
            return Highlight2HTML()(block.text, language="python")
        case "values":
            return f'<pre class="printed">{html.escape(block.text)}</pre>'
        case "agenda":
            rows = "".join(
                f"<li><span>{heading_html(title, decks)}</span><span>{minutes} min</span></li>"
                for title, minutes in deck.minutes.items()
            )
            return f'<ol class="agenda">{rows}</ol>'
        case "question":
            return f'<div class="question">{to_html(block.text, decks)}</div>'
        case "answer":
            return f'<div class="answer fragment">{to_html(block.text, decks)}</div>'
    return f'<div class="text">{to_html(block.text, decks)}</div>'


def heading_html(text: str, decks: set[str]) -> str:
    numbered = re.sub(r"^(\d+)\.", r"\1\\.", text)  # no list of one item
    return re.sub(r"^<p>|</p>$", "", to_html(numbered, decks).strip())


def layout(slide: boards.Slide) -> str:
    """The class of a slide: with one figure about as high as wide, the text stands beside it."""
    shown = [block for block in slide.blocks if block.kind == "figure"]
    others = len(slide.blocks) - len(shown)
    if len(shown) == 1 and others and not any(b.kind in ("code", "values") for b in slide.blocks):
        wide, high = size_of(shown[0].output)
        return "beside" if wide < BESIDE * high else ""
    return ""


def deck_html(deck: boards.Deck, name: str, titles: dict[str, str], exercises: bool) -> str:
    """The HTML of a lesson's deck.

    Args:
        deck: what is on its slides.
        name: of the lesson, as its files are called.
        titles: of all lessons, by name and in order.
        exercises: whether it has any.
    """
    others, decks = set(titles), list(titles)
    columns: list[list[dict]] = []
    section = None
    for i, slide in enumerate(deck.slides):
        made = {
            "heading": heading_html(slide.heading, others),
            "kind": "title" if i == 0 else layout(slide),
            "blocks": [block_html(block, deck, others) for block in slide.blocks],
            "notes": to_html("\n\n".join(slide.notes), others),
        }
        if section != slide.section or not columns:
            columns.append([])
        columns[-1].append(made)
        section = slide.section
    after = decks.index(name) + 1
    dist = pages.folder_of("sphinx_revealjs", "_static", "revealjs")
    template = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined).from_string(
        TEMPLATE.read_text(encoding="utf-8")
    )
    return template.render(
        course=pages.COURSE,
        title=html.escape(titles[name]),
        columns=columns,
        exercises=f"notebooks/{name}_exercises.ipynb" if exercises else None,
        next=(decks[after], html.escape(titles[decks[after]])) if after < len(decks) else None,
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


def read_deck(root: Path, lesson: build.Lesson) -> boards.Deck:
    """What is on the slides of a lesson, with figures and values as stored.

    Raises:
        BuildError: there is no notebook, or it is not that of the source.
    """
    source = build.read_source(root, lesson, board=True)
    return boards.read(source, pages.read(root / lesson.executed), lesson.name)


def titles_of(root: Path) -> dict[str, str]:
    """Those of all lessons that have a deck, by name and in order."""
    return {x.name: pages.title_of(pages.read(root / x.executed)) for x in pages.decks(root)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("prefix", nargs="*", help="lessons whose name starts so (default: all)")
    parser.add_argument("--out", type=Path, help="where the decks go (default: build/slides)")
    parser.add_argument("--root", type=Path, default=build.ROOT, help="the course's folder")
    parser.add_argument("--pdf", action="store_true", help="print each deck too, a page a slide")
    args = parser.parse_args(argv)
    root, out = args.root, args.out or args.root / "build" / "slides"
    try:
        with_exercises = {x.name.removesuffix("_exercises") for x in pages.exercises(root)}
        weeks = {entry.notebook: len(entry.weeks) for entry in syllabus.lessons(root)}
        chosen = build.choose(pages.decks(root), args.prefix)
        titles, made, refused = titles_of(root), {}, []
        for lesson in chosen:
            deck = read_deck(root, lesson)
            faults = boards.faults(deck, weeks[lesson.name])
            refused += ["\n".join([f"{lesson.source}:", *faults])] if faults else []
            made[lesson.name] = deck_html(deck, lesson.name, titles, lesson.name in with_exercises)
        if refused:
            raise build.BuildError("\n".join(refused))
        written = [out / f"{name}.html" for name in made]
        for path, text in zip(written, made.values(), strict=True):
            build.write_text(path, text)
            print(f"{path.stat().st_size / 1e6:5.1f} MB  {path}")
        for path in written if args.pdf else []:
            printed = browser.print_deck(path)
            print(f"{printed.stat().st_size / 1e6:5.1f} MB  {printed}")
    except (build.BuildError, browser.NoBrowser, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
