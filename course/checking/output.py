"""What a cell prints without end is cut where it is printed, before it floods whoever reads it.

`make grade` starts every kernel with this file as an IPython extension. It is there for honest mistakes, a
print in an endless loop: who wants to can undo it, and then meets the limits outside.
"""

import os
from typing import Any

from course.checking.questions import MIME

LIMIT = "GENLIB_OUTPUT"  # the environment variable with the characters that one cell may print
_WHOLE = {MIME, "image/png"}  # other limits are for these
_SENT = {"stream", "display_data", "update_display_data", "execute_result", "error"}
_TEXTS = ("text", "data", "evalue", "traceback")  # where the content of a message is long


def cut(value: Any, room: int) -> tuple[Any, int]:
    """Shorten the texts in a value to what there is room for.

    Args:
        value: text, or lists and dictionaries of it, as in the messages of Jupyter's protocol.
        room: characters.

    Returns:
        The value, and the room that is left.

    Example:
        >>> cut(["a loop", {"text/plain": "without end"}], 13)
        (['a loop', {'text/plain': 'without'}], 0)
    """
    if isinstance(value, str):
        value = value[:room]
        return value, room - len(value)
    if isinstance(value, (list, tuple)):
        items = []
        for item in value:
            item, room = cut(item, room)
            items.append(item)
        return items, room
    if isinstance(value, dict):
        about = {}
        for key, item in value.items():
            about[key], room = (item, room) if key in _WHOLE else cut(item, room)
        return about, room
    return value, room


def shorten(content: dict[str, Any], room: int) -> tuple[dict[str, Any], int]:
    """The same for the content of a whole message, whose short fields must stay."""
    content = dict(content)
    for name in _TEXTS:
        if name in content:
            content[name], room = cut(content[name], room)
    return content, room


def load_ipython_extension(shell: Any) -> None:
    """Called by IPython; from then on a cell sends no more than its limit."""
    session, limit = shell.kernel.session, int(os.environ[LIMIT])
    send, left = session.send, limit

    def new_cell(*_: Any) -> None:
        nonlocal left
        left = limit

    def send_short(stream: Any, message: Any, content: Any = None, *args: Any, **more: Any) -> Any:
        nonlocal left
        whole = isinstance(message, dict)
        kind, shown = (message["msg_type"], message["content"]) if whole else (message, content)
        if kind == "stream" and left == 0:
            return None
        if kind in _SENT:
            shown, left = shorten(shown, left)
        elif kind == "execute_reply":  # repeats the text of an error
            shown, _ = shorten(shown, limit)
        if whole:
            return send(stream, {**message, "content": shown}, None, *args, **more)
        return send(stream, message, shown, *args, **more)

    session.send = send_short
    shell.events.register("pre_run_cell", new_cell)
