"""What `check` tells."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

from ._errors import Fault


@dataclass(repr=False)
class Report:
    """A job that is right: what a run would do. Printed it is text, in a notebook tables."""

    #: As `headwater check` prints it.
    text: str
    #: What is odd, and no error.
    warnings: list[Fault] = field(default_factory=list)
    #: Sources and groups, as `headwater catalog --json` has them.
    catalog: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.text.rstrip()

    def _repr_html_(self) -> str:
        parts = [f"<h4>{html.escape(self.catalog['job'])}</h4>"]
        parts += [f"<p><b>warning</b> {html.escape(f'{fault.place}: {fault.message}')}</p>" for fault in self.warnings]
        parts += [_group(group) for group in self.catalog["features"]]
        parts.append(f"<details><summary>sources, seam and sinks</summary><pre>{html.escape(self.text)}</pre></details>")
        return "\n".join(parts)


def _group(group: dict[str, Any]) -> str:
    key = [(key["name"], key.get("type", ""), "key") for key in group["key"]]
    columns = [(column["column"], column.get("type", ""), column["meaning"]) for column in group["columns"]]
    cells = ("".join(f"<td style='text-align:left'>{html.escape(text)}</td>" for text in row) for row in key + columns)
    rows = "".join(f"<tr>{row}</tr>" for row in cells)
    meaning = html.escape("; ".join(group["rows"]))
    return f"<b>{html.escape(group['features'])}</b><br><small>{meaning}</small><table>{rows}</table>"
