"""What pages that report measurements have in common: the machine's name, tables, blocks between marks."""

import platform
import re
from collections.abc import Iterable
from pathlib import Path

import torch


def device_name(device: torch.device) -> str:
    """What the GPU, or else the processor, calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:  # another system than Linux
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


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
