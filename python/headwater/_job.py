"""A job: what is wanted, and what one can do with it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import _native
from ._errors import NotRunning, UsageError, faults_of, raise_from
from ._parts import Duration, Features, Kind, Links, Part, Sink, Source, State, Table, View
from ._places import Place
from ._progress import Bar
from ._report import Report
from ._running import Endpoint, Row, Running, Scalar, as_text, child, failure
from ._sections import parts_of, write
from ._tables import Rows, given_back, handed_in
from ._toml import Text, key as written_key


@dataclass
class Job(Part):
    """Where events are, and which features are wanted of them.

    >>> import headwater as hw
    >>> tx = hw.Source(
    ...     "transactions",
    ...     event_time="ts",
    ...     schema={"ts": "timestamp", "card_id": "string", "amount": "float64"},
    ...     stream=hw.jsonl("transactions.jsonl"),
    ... )
    >>> card = hw.Features("card", source=tx, key="card_id", columns={"spend": hw.sum("amount", windows=["1h", "30d"])})
    >>> job = hw.Job("fraud", features=[card])
    >>> print(job.to_toml())
    name = "fraud"
    <BLANKLINE>
    [sources.transactions]
    event_time = "ts"
    stream = { type = "jsonl", path = "transactions.jsonl" }
    <BLANKLINE>
    [sources.transactions.schema]
    ts = "timestamp"
    card_id = "string"
    amount = "float64"
    <BLANKLINE>
    [features.card]
    source = "transactions"
    key = "card_id"
    <BLANKLINE>
    [features.card.columns]
    spend = { agg = "sum", of = "amount", windows = ["1h", "30d"] }
    <BLANKLINE>
    """

    name: str
    features: Sequence[Features] = ()
    #: Those that the features name come by themselves.
    sources: Sequence[Source] = ()
    #: Those that lookups name come by themselves.
    tables: Sequence[Table] = ()
    #: Rows made of rows.
    views: Sequence[View] = ()
    links: Sequence[Links] = ()
    #: Without any, rows go to an embedded store below the state.
    sinks: Sequence[Sink] = ()
    tick: Duration | None = None
    stall_limit: Duration | None = None
    idle_limit: Duration | None = None
    #: A file of `CREATE FEATURES` statements.
    features_file: str | None = None
    dead_letters: Kind | None = None
    #: Where it is written down what was served, for `verify`: `{"path": "served"}`.
    serve_log: Mapping[str, Any] | None = None
    state: State | None = None
    #: Where relative paths start.
    dir: str = field(default_factory=os.getcwd)
    extra: Mapping[str, Any] = field(default_factory=dict)
    _place: Place | None = field(default=None, init=False, repr=False, compare=False)
    #: The text that it was read from, what places call it, and what it looked like then.
    _origin: tuple[str, str, str] | None = field(default=None, init=False, repr=False, compare=False)
    _known: tuple[str, str, _native.Job] | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def from_toml(cls, job: str | os.PathLike[str], dir: str | os.PathLike[str] | None = None) -> Job:
        """From a job file, or from the text of one (which has several lines); `dir`: where relative paths of a text start.

        >>> import headwater as hw
        >>> hw.Job.from_toml('name = "fraud"\\ntick = "soon"\\n')
        Traceback (most recent call last):
            ...
        headwater.JobError: job.toml:1:1: error: the job has no `sources`: name at least one under [sources.NAME]
        job.toml:1:1: error: the job has no `features`: name at least one group under [features.NAME]
        job.toml:2:8: error: `tick`: `soon` is not a duration: expected numbers with a unit of us, ms, s, m, h, d or w, like "30s" or "1h30m"
        """
        if isinstance(job, str) and "\n" in job:
            text, shown, start = job, "job.toml", os.fspath(dir) if dir is not None else os.getcwd()
        else:
            path = Path(job)
            text, shown, start = path.read_text(encoding="utf-8"), str(path), str(path.absolute().parent)
        try:
            _native.Job(shown, text, start)
        except _native.NativeError as error:
            raise_from(error, None)
        made = cls(**parts_of(_native.parse_toml(text)), dir=start)
        made._origin = (text, shown, str(made._rendered()))
        return made

    def to_toml(self, path: str | os.PathLike[str] | None = None) -> str:
        """The text of a job file that is the same job; written to `path` too, if one is given."""
        text = str(self._rendered())
        if path is not None:
            to = Path(path)
            if to.absolute().parent != Path(self.dir).absolute():
                raise UsageError(f"relative paths of the job start at {self.dir}: write it there, or give the job another `dir`")
            to.write_text(text, encoding="utf-8")
        return text

    def fingerprint(self) -> str:
        """What its rows mean, as a number: jobs that have the same one, however they are written, go on from each other's state."""
        return str(self._asked(lambda native: native.fingerprint()))

    def check(self, *, sample: int | None = None) -> Report:
        """What a run would do, without doing it; or every fault at once, as a `JobError`. With `sample`, what so many of the newest records of
        each source come to as well."""
        text = self._asked(lambda native: native.check())
        if sample is not None:
            text = self._command(["check", "-", "--sample", str(sample)])
        return Report(text, faults_of(self._native().warnings, self._place_of()), self.catalog())

    def catalog(self) -> dict[str, Any]:
        """What there is, as `headwater catalog --json` says it of a job: sources and tables with their schemas, columns with their types, meanings and
        lineage, where they are served; of a job that runs, how fresh its rows are."""
        known: dict[str, Any] = json.loads(self._asked(lambda native: native.catalog()))
        return known

    def backfill(
        self,
        spine: Any,
        *,
        time: str,
        known: str = "arrival",
        features: Iterable[str | Features | View | Links] | None = None,
        workers: int | None = None,
        memory: str | None = None,
    ) -> Any:
        """Training rows: for each row of `spine` what the features were at its `time`, in its order, beside its own columns.

        `spine` is a table of pyarrow, Polars, pandas or DuckDB, or anything else that has `__arrow_c_stream__`; what comes back is of the
        same kind. `known` is `"arrival"` (what a run would have served), `"event"` (in hindsight) or `"served"` (as `"arrival"`, with what a run
        admitted late, which `[state] admissions = true` keeps). `features` are trailing and lifetime groups, otherwise all of them; views and
        links are among them where they are named.
        """
        if workers is not None and workers < 1:
            raise UsageError(f"workers={workers}: at least one does the work")
        named = None if features is None else [getattr(group, "name", group) for group in features]
        table = handed_in(spine)
        with Bar() as bar:
            rows = self._asked(lambda native: native.backfill(table, time, known, named, workers, memory, bar))
        return given_back(rows, spine)

    def run(self, *, until_end: bool = False, fresh: bool = False, workers: int = 1, log: bool = False) -> Running:
        """Starts the job in a process of its own. `log`: what it says goes to stderr as well."""
        if workers < 1:
            raise UsageError(f"workers={workers}: at least one does the work")
        self._asked(lambda native: native.open())
        flags = {"--until-end": until_end, "--fresh": fresh}
        arguments = [flag for flag, is_set in flags.items() if is_set]
        return Running(self, [*arguments, "--workers", str(workers)], log)

    def get(
        self,
        group: str | Features,
        key: Mapping[str, Scalar] | None = None,
        *,
        window: Scalar = None,
        sink: str | None = None,
        at: Scalar = None,
        **columns: Scalar,
    ) -> Any:
        """A key's row, whether the job runs or not: ``job.get("card", card_id="c1")``. Of a group with windows of its own a list, one row for
        each window, or the one that starts at `window`. A key without a row is a `NotFound`.

        `at`: the row as it was at an earlier time, at the last tick until then. The job has to run, and the group, view or links to have
        `history`; what is read at one time is of one tick. A time that is not kept, or still to come, is a `UsageError`."""
        name, key = str(getattr(group, "name", group)), {**(key or {}), **columns}
        rows = Endpoint(self._native().endpoint).get(name, key, window, sink, at)
        if rows is None:
            arguments = [f"{column}={as_text(of)}" for column, of in key.items()]
            arguments += ["--window", as_text(window)] if window is not None else []
            arguments += ["--sink", sink] if sink is not None else []
            arguments += ["--at", as_text(at)] if at is not None else []
            rows = [Row.of(line) for line in self._command(["get", "-", name, *arguments]).splitlines()]
        return self._one_or_all(group, rows, only_one=window is not None)

    def export(self, group: str | Features, *, sink: str | None = None) -> Rows:
        """Every row of a group, whether the job runs or not."""
        name = getattr(group, "name", group)
        return Rows(self._asked(lambda native: native.export(name, sink)))

    def status(self) -> dict[str, Any]:
        """How the running job is, as `headwater status --json` says it. One that does not run is a `NotRunning`."""
        answer = Endpoint(self._native().endpoint).ask("/status")
        if answer is None:
            raise NotRunning(f"{self.name} does not run")
        status: dict[str, Any] = json.loads(answer)
        return status

    def verify(self, **options: Any) -> dict[str, Any]:
        """What was served, by the job's `serve_log`, against what a backfill gives, as `headwater verify --json` tells it. `options` are those
        of the command: ``since="1d"``. Where something was served that nothing explains, that is a `RunError`."""
        flags = [text for name, of in options.items() for text in (f"--{name.replace('_', '-')}", as_text(of))]
        report: dict[str, Any] = json.loads(self._command(["verify", "-", "--json", *flags]))
        return report

    def _command(self, arguments: list[str]) -> str:
        process = child(self, arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        told, log = process.communicate()
        if process.returncode == 0:
            return told
        if "unrecognized subcommand" in log:
            raise UsageError(f"this version of Headwater has no command `{arguments[0]}`")
        raise failure(process.returncode, log)

    def _one_or_all(self, group: str | Features, rows: list[Row], only_one: bool = False) -> Any:
        is_windowed = bool(rows) and rows[0].window is not None
        return rows if is_windowed and not only_one else rows[0]

    def _asked(self, ask: Any) -> Any:
        native = self._native()
        try:
            return ask(native)
        except _native.NativeError as error:
            raise_from(error, self._place_of())

    def _native(self) -> _native.Job:
        """The job as the library knows it, validated."""
        text, shown = self._text(), self._origin[1] if self._is_as_read() and self._origin else "the job"
        if self._known is None or self._known[:2] != (text, self.dir):
            try:
                self._known = (text, self.dir, _native.Job(shown, text, self.dir))
            except _native.NativeError as error:
                raise_from(error, self._place_of())
        return self._known[2]

    def _is_as_read(self) -> bool:
        return self._origin is not None and str(self._rendered()) == self._origin[2]

    def _text(self) -> str:
        """As it was read, if it is still that; else as it is written now."""
        return self._origin[0] if self._origin and self._is_as_read() else str(self._rendered())

    def _place_of(self) -> Any:
        """Where something of the text was written in Python; `None`: in the file that it was read from."""
        return None if self._is_as_read() else self._rendered().told

    def _all_sources(self) -> list[Source]:
        return _with(self.sources, (source for group in self.features for source in group._sources()))

    def _all_tables(self) -> list[Table]:
        return _with(self.tables, (table for group in self.features for table in group._tables()))

    def _rendered(self) -> Text:
        text = Text()
        plain = {"name": self.name, "tick": self.tick, "stall_limit": self.stall_limit, "idle_limit": self.idle_limit}
        plain |= {"features_file": self.features_file}
        plain |= {name: of for name, of in self.extra.items() if not isinstance(of, Mapping)}
        for name, value in plain.items():
            if value is not None:
                text.key("", name, value, self._place)
        for name, part in (("state", self.state), ("dead_letters", self.dead_letters)):
            if part is not None:
                write(text, name, part._keys(), part._place)
        if self.serve_log is not None:
            write(text, "serve_log", self.serve_log, self._place)
        sections: dict[str, Sequence[Source | Table | Features | View | Links | Sink]] = {
            "sources": self._all_sources(),
            "tables": self._all_tables(),
            "features": self.features,
            "views": self.views,
            "links": self.links,
            "sinks": self.sinks,
        }
        for section, parts in sections.items():
            for of in parts:
                write(text, f"{section}.{written_key(of.name)}", of._keys(), of._place)
        for name, table in self.extra.items():
            if isinstance(table, Mapping):
                write(text, written_key(name), table, self._place)
        return text


def _with(own: Sequence[Any], named: Iterable[Any]) -> list[Any]:
    """Those that are named besides, each once."""
    found = list(own)
    for one in named:
        if not any(one is known for known in found):
            found.append(one)
    return found
