"""How far something is: a bar in a terminal, a line of text in a notebook, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

_WIDTH = 30
_EVERY_SECONDS = 0.1


class Bar:
    """Drawn anew with every call, and gone at the end."""

    def __init__(self) -> None:
        self._notebook = _display()
        self._terminal = self._notebook is None and sys.stderr.isatty()
        self._shown: Any = None
        self._drawn = 0.0

    def __call__(self, doing: str, counted: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if (self._terminal or self._notebook) and now - self._drawn >= _EVERY_SECONDS:
            self._drawn = now
            self._show(line(doing, counted, done, total))

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._show("")

    def _show(self, text: str) -> None:
        if self._terminal:
            sys.stderr.write(f"\r\x1b[2K{text}")
            sys.stderr.flush()
        elif self._shown is None:
            self._shown = self._notebook({"text/plain": text}, raw=True, display_id=True)
        else:
            self._shown.update({"text/plain": text}, raw=True)


def line(doing: str, counted: str, done: int, total: int | None) -> str:
    """A bar as text.

    >>> line("events", "records", 500, 1000)
    '###############                 50%  events: 500 of 1,000 records'
    >>> line("spine", "rows", 7, None)
    'spine: 7 rows'
    """
    if not counted:
        return doing
    if not total:
        return f"{doing}: {done:,} {counted}"
    share = min(done / total, 1.0)
    return f"{'#' * int(share * _WIDTH):{_WIDTH}} {share:4.0%}  {doing}: {done:,} of {total:,} {counted}"


def _display() -> Any:
    """Of a notebook; `None` elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display
