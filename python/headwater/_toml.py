"""A job as the text of a job file, with the place in Python that each piece of it comes from."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._places import Place

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_UNITS = (("w", 604_800_000_000), ("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1))


@dataclass(frozen=True)
class Spot:
    """A piece of the text: lines and columns from 1, its end exclusive."""

    start: tuple[int, int]
    end: tuple[int, int]
    key: str
    place: Place | None
    #: Where the value of a text of several lines begins.
    text_line: int | None = None


class Text:
    """Lines, as they are written."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._spots: list[Spot] = []

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def table(self, path: str, place: Place | None) -> None:
        """A header."""
        if self._lines:
            self._lines.append("")
        self._lines.append(f"[{path}]")
        self._spots.append(Spot((len(self._lines), 1), (len(self._lines), len(path) + 3), path, place))

    def key(self, path: str, name: str, value: Any, place: Place | None) -> None:
        """A key and its value."""
        line = len(self._lines) + 1
        place = getattr(value, "_place", None) or place
        path = f"{path}.{key(name)}" if path else key(name)
        start = f"{key(name)} = "
        if isinstance(value, str) and "\n" in value and _is_raw(value):
            self._lines.extend(f"{start}'''\n{value}'''".split("\n"))
            end = (len(self._lines), len(self._lines[-1]) + 1)
            self._spots.append(Spot((line, 1), end, path, place, text_line=line + 1))
            return
        inside: list[Spot] = []
        text = start + _value(value, path, place, (line, len(start) + 1), inside)
        self._lines.append(text)
        self._spots.append(Spot((line, 1), (line, len(text) + 1), path, place))
        self._spots.extend(inside)

    def told(self, line: int, column: int) -> tuple[str, str | None, int | None, int | None, str | None] | None:
        """What is at a place of the text: as it is told, with file, line, column and key."""
        # The innermost: of those that hold it the one that was begun last.
        holding = [spot for spot in self._spots if spot.start <= (line, column) < spot.end]
        spot = max(holding, key=lambda spot: spot.start) if holding else None
        if spot is None:
            return None
        # What is missing altogether is told at the beginning, and is a fault of the job itself.
        key = "the job" if (line, column) == (1, 1) else spot.key
        shown = key
        if spot.text_line is not None and line >= spot.text_line:
            shown = f"{key}, line {line - spot.text_line + 1}, column {column}"
        if spot.place is None:
            return shown, None, None, None, key
        return f"{spot.place}: {shown}", spot.place.file, spot.place.line, None, key


def key(name: str) -> str:
    """A name as it stands before `=` or between dots."""
    return name if _BARE.match(name) else _string(name)


def _is_raw(text: str) -> bool:
    """Whether it can stand as it is between three quotes."""
    control = any(ord(c) < 32 and c not in "\n\t" or ord(c) == 127 for c in text)
    return "''" not in text and not text.endswith("'") and not control


def _string(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    plain = (escapes.get(c) or (f"\\u{ord(c):04X}" if ord(c) < 32 or ord(c) == 127 else c) for c in text)
    return '"' + "".join(plain) + '"'


def _value(value: Any, path: str, place: Place | None, at: tuple[int, int], spots: list[Spot]) -> str:
    """`at`: where it begins. Pieces of it are added to `spots`."""
    if isinstance(value, Mapping):
        text = "{ "
        for name, inner in value.items():
            text += ", " if len(text) > 2 else ""
            text += f"{key(name)} = "
            text += _piece(inner, f"{path}.{key(name)}", place, (at[0], at[1] + len(text)), spots)
        return text + (" }" if value else "}")
    if isinstance(value, (list, tuple)):
        text = "["
        for n, inner in enumerate(value):
            text += ", " if n else ""
            text += _piece(inner, f"{path}[{n}]", place, (at[0], at[1] + len(text)), spots)
        return text + "]"
    if hasattr(value, "_keys"):
        return _value(value._keys(), path, place, at, spots)
    return _plain(value, path)


def _piece(value: Any, path: str, place: Place | None, at: tuple[int, int], spots: list[Spot]) -> str:
    place = getattr(value, "_place", None) or place
    own = len(spots)
    text = _value(value, path, place, at, spots)
    spots.insert(own, Spot(at, (at[0], at[1] + len(text)), path, place))
    return text


def _plain(value: Any, path: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, datetime.timedelta):
        return _string(duration(value))
    if isinstance(value, datetime.datetime):
        return _string(time(value))
    raise TypeError(f"{path}: a {type(value).__name__} is no value of a job: expected text, a number, True or False, a list or a dict")


def duration(value: datetime.timedelta) -> str:
    """As a job has it: in the largest unit that divides it.

    >>> duration(datetime.timedelta(minutes=90))
    '90m'
    """
    us = value // datetime.timedelta(microseconds=1)
    unit, size = next((unit, size) for unit, size in _UNITS if us % size == 0)
    return f"{us // size}{unit}"


def time(value: datetime.datetime) -> str:
    """RFC 3339, in UTC; without a zone it is UTC already."""
    zoned = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
    return zoned.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
