"""What a job is made of: plain objects, with the names that a job file has."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Union

from ._places import Place, here

#: `"1h30m"`, or a `timedelta`.
Duration = Union[str, datetime.timedelta]
#: Names of something, or the things themselves.
Names = Union[str, "Source", Sequence[Union[str, "Source"]]]


def _place() -> Any:
    return field(default=None, init=False, repr=False, compare=False)


def _extra() -> Any:
    return field(default_factory=dict)


class Part:
    """A section of a job. Keys that are `None` are left out."""

    #: Fields that are no keys of the section.
    _NOT_KEYS = frozenset({"_place", "name", "extra"})
    _place: Place | None

    def __post_init__(self) -> None:
        self._place = here()

    def _keys(self) -> dict[str, Any]:
        """Key by key, as a job file has them."""
        keys = {}
        for known in fields(self):  # type: ignore[arg-type]
            value = getattr(self, known.name)
            if known.name not in self._NOT_KEYS and value is not None:
                keys[known.name] = value
        return keys | dict(getattr(self, "extra", {}))


@dataclass
class Kind(Part):
    """Something of a `type`, with the keys that go with it: a history, a stream, what a sink writes to, dead letters.

    >>> Kind("parquet", {"path": "data/*.parquet"}) == parquet("data/*.parquet")
    True
    """

    type: str | None
    keys: Mapping[str, Any] = field(default_factory=dict)
    _place: Place | None = _place()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.keys = {name: value for name, value in self.keys.items() if value is not None}

    def _keys(self) -> dict[str, Any]:
        return {**({} if self.type is None else {"type": self.type}), **self.keys}


def parquet(path: str, *, complete_until: datetime.datetime | str | None = None, partitions: Mapping[str, str] | None = None) -> Kind:
    """A history of Parquet files."""
    return Kind("parquet", {"path": path, "complete_until": complete_until, "partitions": partitions})


def jsonl(path: str, **keys: Any) -> Kind:
    """JSON lines: a history, a stream, a changelog or dead letters."""
    return Kind("jsonl", {"path": path, **keys})


def csv(path: str, **keys: Any) -> Kind:
    """CSV: a history or a stream."""
    return Kind("csv", {"path": path, **keys})


def avro(path: str, **keys: Any) -> Kind:
    """A history of Avro's own files."""
    return Kind("avro", {"path": path, **keys})


def delta(path: str, *, version: int | None = None, as_of: datetime.datetime | str | None = None, **keys: Any) -> Kind:
    """A history that is a Delta table at a version, or as of a time; else at its newest version.

    >>> delta("s3://lake/payments", version=42).keys["version"]
    42
    """
    return Kind("delta", {"path": path, "version": version, "as_of": as_of, **keys})


def iceberg(metadata: str | None = None, *, catalog: Mapping[str, Any] | None = None, table: str | None = None, **keys: Any) -> Kind:
    """A history that is an Iceberg table, by its metadata file or by a catalogue: at a `snapshot`, `tag`, `branch` or `as_of` a time; else
    at its newest snapshot.

    >>> iceberg(catalog={"url": "http://localhost:8181"}, table="shop.payments", tag="first").type
    'iceberg'
    """
    return Kind("iceberg", {"metadata": metadata, "table": table, **keys, "catalog": catalog})


def kafka(brokers: str, topic: str, *, format: str | None = None, properties: Mapping[str, str] | None = None, **keys: Any) -> Kind:
    """A topic: a stream (of which `format` says what a record is), a changelog or dead letters."""
    return Kind("kafka", {"brokers": brokers, "topic": topic, "format": format, **keys, "properties": properties})


def redis(url: str) -> Kind:
    """Rows in Redis."""
    return Kind("redis", {"url": url})


def embedded(path: str | None = None) -> Kind:
    """Rows in a store in a local directory."""
    return Kind("embedded", {"path": path})


@dataclass
class Seam(Part):
    """How records of history and stream are told apart: see `by_offset`, `by_time` and `by_id`."""

    by: str | None = None
    partition: str | None = None
    offset: str | None = None
    id: str | None = None
    overlap: Duration | None = None
    allow_gap: bool | None = None
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()


def by_offset(partition: str, offset: str, *, allow_gap: bool | None = None) -> Seam:
    """The history has two columns that say where in the topic each row came from."""
    return Seam("offset", partition=partition, offset=offset, allow_gap=allow_gap)


def by_time(*, allow_gap: bool | None = None) -> Seam:
    """A record of the stream is taken if it is later than the history's last."""
    return Seam("time", allow_gap=allow_gap)


def by_id(id: str, overlap: Duration, *, allow_gap: bool | None = None) -> Seam:
    """A column identifies an event, on both sides of an overlap."""
    return Seam("id", id=id, overlap=overlap, allow_gap=allow_gap)


@dataclass
class Source(Part):
    """Where events are kept, where they arrive, and how the two meet.

    >>> tx = Source("transactions", event_time="ts", lateness="1h", history=parquet("data/*.parquet"))
    >>> tx.event_time
    'ts'
    """

    name: str
    event_time: str | None = None
    arrival_time: str | None = None
    lateness: Duration | None = None
    primary_key: str | Sequence[str] | None = None
    changes: str | None = None
    deleted: str | None = None
    future_limit: Duration | None = None
    time_unit: str | None = None
    schema: Mapping[str, str] | None = None
    history: Kind | None = None
    stream: Kind | None = None
    seam: Seam | None = None
    description: str | None = None
    owner: str | None = None
    tags: Sequence[str] | None = None
    #: Keys that have no field of their own here.
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()


@dataclass
class Table(Part):
    """Rows that have versions, to be looked up in: what a source has, with a `key`.

    >>> merchants = Table("merchants", key="merchant_id", event_time="valid_from", history=parquet("merchants.parquet"))
    >>> lookup(merchants, on="merchant_id").on
    'merchant_id'
    """

    name: str
    key: str | Sequence[str] | None = None
    event_time: str | None = None
    arrival_time: str | None = None
    lateness: Duration | None = None
    changes: str | None = None
    deleted: str | None = None
    future_limit: Duration | None = None
    time_unit: str | None = None
    schema: Mapping[str, str] | None = None
    history: Kind | None = None
    stream: Kind | None = None
    seam: Seam | None = None
    description: str | None = None
    owner: str | None = None
    tags: Sequence[str] | None = None
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()


@dataclass
class Lookup(Part):
    """What a group's events look up, in a table or in the row that another group had just before: `NAME.COLUMN` in its SQL. See `lookup`."""

    table: str | Table | None = None
    on: str | Sequence[str] | None = None
    features: str | Features | None = None
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()

    def _keys(self) -> dict[str, Any]:
        keys = super()._keys()
        return keys | {name: _name(getattr(self, name)) for name in ("table", "features") if name in keys}


def lookup(
    table: str | Table | None = None, on: str | Sequence[str] | None = None, *, features: str | Features | None = None
) -> Lookup:
    """A row of a table, or the one that a group had just before, by a column or SQL of the event, or a list as long as the key there.

    >>> lookup(features="card_activity", on="card_id").features
    'card_activity'
    """
    return Lookup(table, on, features)


@dataclass
class Window(Part):
    """Windows of a group: see `tumbling`, `hopping` and `session`."""

    tumbling: Duration | None = None
    hopping: Duration | None = None
    every: Duration | None = None
    session: Duration | None = None
    zone: str | None = None
    starts: str | None = None
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()


def tumbling(size: Duration, *, zone: str | None = None, starts: str | None = None) -> Window:
    """A row for each key and `size` by the clock. With a `zone`, like ``"Europe/Berlin"``, by its calendar: whole days, from midnight to
    midnight there. Weeks begin on the day that `starts` says.

    >>> tumbling("1w", zone="Europe/Berlin", starts="monday").starts
    'monday'
    """
    return Window(tumbling=size, zone=zone, starts=starts)


def hopping(size: Duration, *, every: Duration, zone: str | None = None, starts: str | None = None) -> Window:
    """A row for each key and `size` by the clock, of which one begins `every` so often. `zone` and `starts`: see `tumbling`."""
    return Window(hopping=size, every=every, zone=zone, starts=starts)


def session(gap: Duration) -> Window:
    """A row for each key and chain of events, each less than `gap` after the one before."""
    return Window(session=gap)


@dataclass
class Column(Part):
    """An aggregate, of what, and over which windows. `window` makes one column, `windows` one for each.

    >>> Column("sum", of="amount", windows=["1h", "all"]) == sum("amount", windows=["1h", "all"])
    True
    """

    #: What stands beside the SQL of a group has none: its `description`, `owner` and `tags` alone.
    agg: str | None = None
    of: str | None = None
    where: str | None = None
    window: Duration | None = None
    windows: Sequence[Duration] | None = None
    k: int | None = None
    n: int | None = None
    p: float | None = None
    description: str | None = None
    owner: str | None = None
    tags: Sequence[str] | None = None
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()


class Aggregate(Protocol):
    """An aggregate of an expression over an event's columns. `window` makes one column, `windows` one for each of them; in a group with windows of
    its own there is neither. `where` leaves events out of the column alone."""

    def __call__(
        self,
        of: str | None = None,
        *,
        where: str | None = None,
        window: Duration | None = None,
        windows: Sequence[Duration] | None = None,
        description: str | None = None,
        owner: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> Column: ...


def _aggregate(name: str, doc: str) -> Aggregate:
    def of_values(
        of: str | None = None,
        *,
        where: str | None = None,
        window: Duration | None = None,
        windows: Sequence[Duration] | None = None,
        description: str | None = None,
        owner: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> Column:
        return Column(name, of=of, where=where, window=window, windows=windows, description=description, owner=owner, tags=tags)

    of_values.__name__ = of_values.__qualname__ = name
    of_values.__doc__ = doc
    return of_values


count = _aggregate(
    "count",
    """How many events; with `of`, how many values that are not null.

    >>> count(windows=["1h", "all"]).windows
    ['1h', 'all']
    """,
)
sum = _aggregate(
    "sum",
    """Their sum, exact.

    >>> sum("amount", window="30d").of
    'amount'
    """,
)
avg = _aggregate(
    "avg",
    """Their mean.

    >>> avg("amount", window="1d").agg
    'avg'
    """,
)
min = _aggregate(
    "min",
    """The least.

    >>> min("amount", window="all").window
    'all'
    """,
)
max = _aggregate(
    "max",
    """The greatest.

    >>> max("amount", where="country <> 'US'", window="1d").where
    "country <> 'US'"
    """,
)
var_pop = _aggregate(
    "var_pop",
    """Their variance.

    >>> var_pop("amount", window="1d").agg
    'var_pop'
    """,
)
var_samp = _aggregate(
    "var_samp",
    """Their variance, as of a sample.

    >>> var_samp("amount", window="1d").agg
    'var_samp'
    """,
)
stddev_pop = _aggregate(
    "stddev_pop",
    """Their standard deviation.

    >>> stddev_pop("amount", window="1d").agg
    'stddev_pop'
    """,
)
stddev_samp = _aggregate(
    "stddev_samp",
    """Their standard deviation, as of a sample.

    >>> stddev_samp("amount", window="1d").agg
    'stddev_samp'
    """,
)
first = _aggregate(
    "first",
    """The oldest, by event time.

    >>> first("country", window="7d").of
    'country'
    """,
)
last = _aggregate(
    "last",
    """The newest, by event time.

    >>> last("country", window="7d", owner="risk").owner
    'risk'
    """,
)
count_distinct = _aggregate(
    "count_distinct",
    """How many different ones, exactly.

    >>> count_distinct("merchant_id", window="1d").of
    'merchant_id'
    """,
)
mode = _aggregate(
    "mode",
    """The most frequent; of those that are equally frequent the smaller.

    >>> mode("country", window="30d").agg
    'mode'
    """,
)
approx_count_distinct = _aggregate(
    "approx_count_distinct",
    """About how many different ones, in little memory.

    >>> approx_count_distinct("merchant_id", window="all").agg
    'approx_count_distinct'
    """,
)


def top_k(
    of: str,
    *,
    k: int,
    where: str | None = None,
    window: Duration | None = None,
    windows: Sequence[Duration] | None = None,
    description: str | None = None,
    owner: str | None = None,
    tags: Sequence[str] | None = None,
) -> Column:
    """The `k` most frequent.

    >>> top_k("merchant_id", k=3, window="30d").k
    3
    """
    return Column(
        "top_k", of=of, where=where, window=window, windows=windows, k=k, description=description, owner=owner, tags=tags
    )


def last_n(
    of: str,
    *,
    n: int,
    where: str | None = None,
    window: Duration | None = None,
    windows: Sequence[Duration] | None = None,
    description: str | None = None,
    owner: str | None = None,
    tags: Sequence[str] | None = None,
) -> Column:
    """The `n` newest, the newest first.

    >>> last_n("country", n=5, window="all").n
    5
    """
    return Column(
        "last_n", of=of, where=where, window=window, windows=windows, n=n, description=description, owner=owner, tags=tags
    )


def approx_percentile(
    of: str,
    *,
    p: float,
    where: str | None = None,
    window: Duration | None = None,
    windows: Sequence[Duration] | None = None,
    description: str | None = None,
    owner: str | None = None,
    tags: Sequence[str] | None = None,
) -> Column:
    """About the value below which the share `p` of them lies.

    >>> approx_percentile("amount", p=0.95, window="1d").p
    0.95
    """
    return Column(
        "approx_percentile", of=of, where=where, window=window, windows=windows, p=p, description=description, owner=owner, tags=tags
    )


@dataclass
class Derived(Part):
    """A column that is SQL over the row's key and columns, with what people should know of it. Without that, the SQL alone will do.

    >>> Derived("abroad / nullif(spend, 0)", description="The share that was spent abroad").of
    'abroad / nullif(spend, 0)'
    """

    of: str
    description: str | None = None
    owner: str | None = None
    tags: Sequence[str] | None = None
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()


@dataclass
class Features(Part):
    """A group: columns by a key.

    >>> card = Features("card", source="tx", key="card_id", columns={"n": count(windows=["1h", "1d"])})
    >>> card.columns["n"].windows
    ['1h', '1d']
    >>> by_sql = Features("card", sql="SELECT card_id, COUNT(*) AS n FROM tx GROUP BY card_id")
    """

    name: str
    source: Names | None = None
    key: str | Sequence[str] | Mapping[str, str] | None = None
    where: str | None = None
    explode: str | None = None
    lookup: Mapping[str, Lookup] | None = None
    sql: str | None = None
    sql_file: str | None = None
    window: Window | None = None
    retain: Duration | None = None
    #: How far back its rows can be read: ``job.get("card", at=...)``.
    history: Duration | None = None
    description: str | None = None
    owner: str | None = None
    tags: Sequence[str] | None = None
    columns: Mapping[str, Column] | None = None
    derived: Mapping[str, str | Derived] | None = None
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()

    def _keys(self) -> dict[str, Any]:
        keys = super()._keys()
        if "source" in keys:
            several = isinstance(self.source, (list, tuple))
            keys["source"] = [*map(_name, self.source)] if several else _name(self.source)  # type: ignore[arg-type]
        return keys

    def _tables(self) -> Iterator[Table]:
        """Those that were given as objects."""
        given = (of.table for of in (self.lookup or {}).values())
        return (table for table in given if isinstance(table, Table))

    def _sources(self) -> Iterator[Source]:
        """Those that were given as objects."""
        given = self.source if isinstance(self.source, (list, tuple)) else [self.source]
        return (source for source in given if isinstance(source, Source))


@dataclass
class View(Part):
    """Rows made of the rows of groups, tables and other views, by SQL.

    >>> owners = View("owners", key="owner", sql="SELECT owner, count(*) AS cards FROM cards GROUP BY owner")
    >>> owners.key
    'owner'
    """

    name: str
    key: str | Sequence[str] | None = None
    sql: str | None = None
    #: How far back its rows can be read, as of `Features`.
    history: Duration | None = None
    description: str | None = None
    owner: str | None = None
    tags: Sequence[str] | None = None
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()


@dataclass
class Links(Part):
    """Which entities hang together since they share something, directly or through others.

    >>> Links("rings", from_="card_devices", entity="card_id", shared="device_id").shared
    'device_id'
    """

    name: str
    #: A group, table or view: `from` is a word of Python's own.
    from_: str | Features | Table | View | None = None
    entity: str | None = None
    shared: str | Sequence[str] | None = None
    #: In place of `entity` and `shared`: two columns of one kind.
    a: str | None = None
    b: str | None = None
    max_degree: int | None = None
    #: How far back its rows can be read, as of `Features`.
    history: Duration | None = None
    description: str | None = None
    owner: str | None = None
    tags: Sequence[str] | None = None
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()

    def _keys(self) -> dict[str, Any]:
        return {name.removesuffix("_"): _name(of) for name, of in super()._keys().items()}


def _name(of: Any) -> Any:
    return getattr(of, "name", of)


@dataclass
class Sink(Part):
    """Where rows go: to a store, or into a changelog.

    >>> Sink("online", redis("redis://localhost:6379/0"), features=["card"]).to.type
    'redis'
    """

    name: str
    to: Kind
    features: Sequence[str | Features] | None = None
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()

    def _keys(self) -> dict[str, Any]:
        only = {} if self.features is None else {"features": [*map(_name, self.features)]}
        return {**self.to._keys(), **only, **self.extra}


@dataclass
class State(Part):
    """Where checkpoints are, how often one is taken, and what is kept beside them."""

    path: str | None = None
    checkpoint_every: Duration | None = None
    admissions: bool | None = None
    #: For how long.
    admissions_keep: Duration | None = None
    extra: Mapping[str, Any] = _extra()
    _place: Place | None = _place()
