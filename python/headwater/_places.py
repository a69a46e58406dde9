"""Where the user wrote something."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from types import FrameType

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


@dataclass(frozen=True)
class Place:
    """A line of a Python file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def here() -> Place | None:
    """The line outside of this package that led here."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    if frame is None:
        return None
    return Place(_shown(frame.f_code.co_filename), frame.f_lineno)


def _is_ours(frame: FrameType) -> bool:
    """A dataclass's own `__init__` is in no file."""
    module, file = frame.f_globals.get("__name__", ""), frame.f_code.co_filename
    return (file == "<string>" and module.startswith(__package__ or "")) or os.path.abspath(file).startswith(_PACKAGE)


def _shown(file: str) -> str:
    """Below the current directory as from there."""
    if not os.path.isabs(file):
        return file
    try:
        relative = os.path.relpath(file)
    except (OSError, ValueError):  # the current directory is gone, or on another drive
        return file
    return file if relative.startswith("..") else relative
