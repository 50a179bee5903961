"""What can be set, and to what: the settings of a run and the options of its model, declared once.

The command line, its checks and its help are made from these declarations.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genlib.validation import nearest, one_of

Value = int | float | str
SEEDS = (0, 2**63 - 1)  # what torch takes on every device


@dataclass(frozen=True)
class Setting:
    """A default, and the values that may take its place.

    Example:
        >>> Setting(0.2, low=0, high=1, above=True).check("noise", 0.0)
        Traceback (most recent call last):
            ...
        ValueError: noise must be above 0 and at most 1, not 0.0
    """

    default: Value | bool | None = None
    low: float = -math.inf  # the least number and the greatest; infinity and NaN are never taken
    high: float = math.inf
    above: bool = False  # greater than `low`, not equal to it
    choices: tuple[str, ...] = ()  # the words there are; empty for a number
    help: str = ""
    default_text: str | None = None  # as help shows it, where that is another than `default`
    panel: str | None = None  # of the help page
    metavar: str | None = None

    def check(self, name: str, value: object) -> None:
        """Refuse a value that is not allowed, by a ValueError that says which are."""
        if self.choices:
            if value not in self.choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(self.choices)}, not {value!r}"
                    f"{nearest(value, self.choices)}"
                )
            return
        whole = type(self.default) is int
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            if whole or type(self.default) is float:
                raise ValueError(f"{name} must be {self.kind}, not {value!r}")
            return  # a flag, or a name that is looked up elsewhere
        enough = value > self.low if self.above else value >= self.low
        if not (enough and value <= self.high and abs(value) < math.inf):
            raise ValueError(f"{name} must be {self.range}, not {value}")

    def read(self, name: str, text: str) -> Value:
        """The value that stands in a text, of the type that the default has; refused as in `check`.

        Example:
            >>> Setting(64, low=1).read("hidden_dim", "8")
            8
        """
        kinds: dict[type, type[Value]] = {int: int, float: float}
        try:
            value: Value = kinds.get(type(self.default), str)(text)
        except ValueError:
            raise ValueError(
                f"{name} must be {self.kind}, as in {name}={self.default}, not {text!r}"
            ) from None
        self.check(name, value)
        return value

    @property
    def kind(self) -> str:
        """What sort of thing it is, in words."""
        return "a whole number" if type(self.default) is int else "a number"

    @property
    def range(self) -> str:
        """The numbers that are allowed, in words."""
        low = f"{'above' if self.above else 'at least'} {self.low:g}"
        parts = [low] if self.low > -math.inf else []
        if self.high < math.inf:
            parts.append(f"at most {self.high:g}")
        return " and ".join(parts) or "finite"


def setting(default: Any = dataclasses.MISSING, **about: Any) -> Any:
    """A field of a dataclass of settings; the arguments are those of `Setting`."""
    declared = None if default is dataclasses.MISSING else default
    return field(default=default, metadata={"setting": Setting(declared, **about)})


def settings_of(kind: type) -> dict[str, Setting]:
    """The declarations of a dataclass, by the name of the field."""
    return {f.name: f.metadata["setting"] for f in dataclasses.fields(kind) if f.metadata}


def check_settings(settings: object) -> None:
    """Refuse a dataclass one of whose settings is not allowed, by a ValueError that names the flag."""
    for name, declared in settings_of(type(settings)).items():
        value = getattr(settings, name)
        if value is not None:
            declared.check(flag_of(name), value)


def flag_of(name: str) -> str:
    """What the command line calls a setting: "--batch-size", for instance."""
    return "MODEL" if name == "model" else "--" + name.replace("_", "-")


def check_options(declared: Mapping[str, Setting], options: Mapping[str, object]) -> None:
    """Refuse options that a model does not have, and values that they may not take, by a ValueError."""
    for name, value in options.items():
        one_of("option", name, tuple(declared))
        declared[name].check(f"--set {name}", value)
