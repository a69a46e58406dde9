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
        parts += [_source(source) for source in self.catalog["sources"]]
        parts += [_group(group) for group in self.catalog["features"]]
        parts += [_view(view) for view in self.catalog.get("views", [])]
        parts.append(f"<details><summary>sources, seam and sinks</summary><pre>{html.escape(self.text)}</pre></details>")
        return "\n".join(parts)


def _source(source: dict[str, Any]) -> str:
    places = [source[side] for side in ("history", "stream") if side in source]
    key = [("by", ", ".join(source["primary_key"]))] if source.get("primary_key") else []
    said = "; ".join([*(f"{what} {text}" for what, text in key), *places])
    rows = [(column["name"], column.get("type", ""), "") for column in source["columns"]]
    return _table(f"{source['kind']} {source['source']}", said, rows)


def _group(group: dict[str, Any]) -> str:
    key = [(key["name"], key.get("type", ""), "key") for key in group["key"]]
    columns = [(column["column"], column.get("type", ""), column["meaning"]) for column in group["columns"]]
    return _table(group["features"], "; ".join(group["rows"]), key + columns)


def _view(view: dict[str, Any]) -> str:
    key = [(key["name"], key.get("type", ""), "key") for key in view["key"]]
    columns = [(column["name"], column.get("type", ""), "from " + ", ".join(column["from"])) for column in view["columns"]]
    return _table(f"view {view['view']}", view["sql"], key + columns)


def _table(name: str, said: str, rows: list[tuple[str, str, str]]) -> str:
    cells = ("".join(f"<td style='text-align:left'>{html.escape(text)}</td>" for text in row) for row in rows)
    table = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<b>{html.escape(name)}</b><br><small>{html.escape(said)}</small><table>{table}</table>"
