"""Tables, and blocks between marks, in pages that are partly written and partly made."""

import re
from collections.abc import Iterable

# A mark for the deck in a lesson's source: its name and its words (`boards`).
MARK = re.compile(
    r"^<!--\s*(slide|board|question|answer|figure|minutes|agenda)\b:?(.*?)-->[ ]*\n?",
    re.DOTALL | re.MULTILINE,
)


def without_marks(text: str) -> str:
    """A cell of a lesson without the marks for its deck.

    Example:
        >>> without_marks("## H\\n<!-- minutes: 5 -->\\n\\n<!-- board -->\\nText.")
        '## H\\n\\nText.'
    """
    if not MARK.search(text):
        return text
    return re.sub(r"\n{3,}", "\n\n", MARK.sub("", text)).strip("\n")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown.

    Example:
        >>> print(table(["a", "b"], [["1", "2"]]))
        | a | b |
        | --- | --- |
        | 1 | 2 |
    """
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def between_marks(page: str, name: str, text: str) -> str:
    """The page with this text in place of what stands between the two marks of that name.

    Raises:
        ValueError: the marks are not there, once each.

    Example:
        >>> between_marks("<!-- a -->old<!-- /a --> end", "a", "new")
        '<!-- a -->\\nnew\\n<!-- /a --> end'
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if page.count(start) != 1 or page.count(end) != 1:
        raise ValueError(f"the page must hold {start} and {end} once each: put them back")
    before, rest = page.split(start)
    return f"{before}{start}\n{text}\n{end}{rest.split(end)[1]}"
