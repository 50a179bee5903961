"""Tables, and blocks between marks, in pages that are partly written and partly made."""

from collections.abc import Iterable


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
