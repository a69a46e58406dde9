"""What can go wrong, as exceptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from . import _native


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a job, or odd, and where it was written."""

    #: As it is told: ``features.py:12: features.card.columns.spend.of``, or ``fraud.toml:9:5``.
    place: str
    message: str
    #: The job may run all the same.
    warning: bool = False
    #: The file: Python's, the job's, or one of SQL.
    file: str | None = None
    #: From 1.
    line: int | None = None
    #: From 1; ``None`` in Python, where a line is as near as one knows.
    column: int | None = None
    #: Of a job that was written in Python: which key it is, as in ``features.card.columns.spend.of``.
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.place}: {'warning' if self.warning else 'error'}: {self.message}"


class Error(Exception):
    """Whatever Headwater says no to."""


class JobError(Error):
    """The job is wrong. All of it is told at once: `faults`."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(map(str, self.faults)))


class UsageError(Error, ValueError):
    """What was asked for cannot be: a group that is not there, a key that is none."""


class SeamError(Error):
    """Records that are needed are gone, or a history file has changed: a start was refused."""


class RunError(Error):
    """It failed while running: the world outside, or Headwater itself."""


class NotFound(Error, KeyError):
    """There is no such row."""

    def __str__(self) -> str:
        return str(self.args[0])


class NotRunning(Error):
    """The job does not run."""


KINDS: dict[str, type[Error]] = {"usage": UsageError, "refused": SeamError, "running": RunError}

#: How a place of the job's text is told: from line and column, or `None` where that is not known.
Told = Callable[[int, int], "tuple[str, str | None, int | None, int | None, str | None] | None"]


def faults_of(told: Sequence[tuple[str, int, int, int, str, bool]], place_of: Told | None) -> list[Fault]:
    """Faults as the user wrote them."""
    faults = []
    for place, file, line, column, message, warning in told:
        found = place_of(line, column) if place_of and file == 0 else None
        if found is None:
            name = place.rsplit(":", 2)[0] if line else place
            found = (place, name, line or None, column or None, None)
        faults.append(Fault(found[0], message, warning, *found[1:]))
    return faults


def raise_from(error: _native.NativeError, place_of: Told | None) -> NoReturn:
    """What the library says, as an exception of this package."""
    kind, message, told = error.args
    if kind == "job":
        raise JobError(faults_of(told, place_of)) from None
    raise KINDS[kind](message) from None
