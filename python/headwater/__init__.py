"""Headwater keeps machine-learning features fresh: history from files, then the stream, one job for both.

A job is written as plain objects, with the names that a job file has; it is the same job, checked by the same code:

>>> import headwater as hw
>>> tx = hw.Source(
...     "transactions",
...     event_time="ts",
...     schema={"ts": "timestamp", "card_id": "string", "amount": "float64"},
...     stream=hw.jsonl("transactions.jsonl"),
... )
>>> card = hw.Features("card", source=tx, key="card_id", columns={"spend": hw.sum("amuont", windows=["1h", "30d"])})
>>> hw.Job("fraud", features=[card]).check()
Traceback (most recent call last):
    ...
headwater.JobError: <doctest headwater[2]>:1: features.card.columns.spend.of: error: unknown column `amuont`, did you mean `amount`?
"""

from ._errors import Error, Fault, JobError, NotFound, NotRunning, RunError, SeamError, UsageError
from ._job import Job
from ._parts import (
    Column,
    Derived,
    Features,
    Kind,
    Links,
    Lookup,
    Seam,
    Sink,
    Source,
    State,
    Table,
    View,
    Window,
    approx_count_distinct,
    approx_percentile,
    avg,
    avro,
    by_id,
    by_offset,
    by_time,
    count,
    count_distinct,
    csv,
    delta,
    embedded,
    first,
    hopping,
    iceberg,
    jsonl,
    kafka,
    last,
    last_n,
    lookup,
    max,
    min,
    mode,
    parquet,
    redis,
    session,
    stddev_pop,
    stddev_samp,
    sum,
    top_k,
    tumbling,
    var_pop,
    var_samp,
)
from ._native import __version__
from ._places import Place
from ._report import Report
from ._running import Row, Running
from ._tables import Rows

__all__ = [*(name for name in dir() if not name.startswith("_")), "__version__"]

# Where they are found, and not where they are written.
for _error in (Error, JobError, NotFound, NotRunning, RunError, SeamError, UsageError):
    _error.__module__ = __name__
