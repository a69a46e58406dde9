"""Tables of other libraries, handed in and given back, by Arrow's C data interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _native

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class Rows:
    """A table in memory. Whatever knows Arrow takes it as it is, without a copy: ``pyarrow.table(rows)``, ``polars.DataFrame(rows)``."""

    def __init__(self, native: _native.Rows) -> None:
        self._native = native

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._native.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return len(self._native)

    @property
    def schema(self) -> dict[str, str]:
        """The columns' names and types."""
        return dict(self._native.schema)

    def to_pyarrow(self) -> pyarrow.Table:
        """As a table of pyarrow."""
        import pyarrow

        return pyarrow.table(self)

    def to_polars(self) -> polars.DataFrame:
        """As a data frame of Polars."""
        import polars

        return polars.DataFrame(self)

    def to_pandas(self) -> pandas.DataFrame:
        """As a data frame of pandas."""
        return self.to_pyarrow().to_pandas()

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}: {kind}" for name, kind in self.schema.items())
        return f"<{len(self)} rows of {columns}>"


def _library(table: object) -> str:
    return type(table).__module__.split(".")[0].lstrip("_")


def handed_in(table: Any) -> Any:
    """What has `__arrow_c_stream__`."""
    if _library(table) == "polars" and hasattr(table, "collect"):
        table = table.collect()
    if hasattr(table, "__arrow_c_stream__"):
        return table
    kind = type(table).__name__
    hint = "pyarrow.table(...)" if isinstance(table, (dict, list)) else "a table of pyarrow, Polars, pandas or DuckDB"
    raise TypeError(f"a {kind} is no table that Arrow knows (it has no __arrow_c_stream__): expected {hint}")


def given_back(native: _native.Rows, like: Any) -> Any:
    """Rows as a table of the library that `like` is of."""
    rows = Rows(native)
    library = _library(like)
    if library == "pyarrow":
        return rows.to_pyarrow()
    if library == "polars":
        return rows.to_polars().lazy() if hasattr(like, "collect") else rows.to_polars()
    if library == "pandas":
        return rows.to_pandas()
    if library == "duckdb":
        import duckdb

        return duckdb.from_arrow(rows.to_pyarrow())
    return rows
