"""The same text, with NOW() replaced by a time, runs in DuckDB over the history and gives the same rows.

Statements and payments are made at random, a seed each. Left out is what DuckDB leaves open (`first`, ties of `mode`), what it has not (`top_k`,
`last_n`, windows but TUMBLE), and what both only estimate. Amounts are quarters, so that any order of adding gives the same sum.
"""

import datetime
import math
import os
import random
import re

import duckdb
import pyarrow
import pyarrow.parquet
import pytest
from payments import ROOT, START

import headwater as hw

#: More by hand: HEADWATER_SEEDS=200.
SEEDS = range(int(os.environ.get("HEADWATER_SEEDS", 6)))
DAYS = 5


def events(dice, count=1500):
    spans = [dice.randrange(DAYS * 86_400) for _ in range(count)]
    # A few share a time, and some lie at the very edge of a window.
    times = sorted(START + datetime.timedelta(seconds=span - span % dice.choice([1, 3600])) for span in spans)
    some = lambda of: None if dice.random() < 0.1 else of
    return pyarrow.table(
        {
            "ts": pyarrow.array([at.replace(tzinfo=None) for at in times], pyarrow.timestamp("us")),
            "card_id": pyarrow.array([some(f"c{dice.randrange(12)}") for _ in times], pyarrow.string()),
            "country": pyarrow.array([some(dice.choice(["US", "DE", "fr", ""])) for _ in times], pyarrow.string()),
            "amount": pyarrow.array([some(dice.randrange(-400, 4000) / 4) for _ in times], pyarrow.float64()),
            "items": pyarrow.array([some(dice.randrange(-5, 50)) for _ in times], pyarrow.int32()),
            "paid": pyarrow.array([some(dice.random() < 0.7) for _ in times], pyarrow.bool_()),
        }
    )


NUMBERS = ["amount", "items", "amount * 2", "items + 1", "CASE WHEN country = 'US' THEN amount END", "coalesce(items, 0)", "abs(amount)", "length(country)"]
ANY = [*NUMBERS, "country", "lower(country)", "paid", "items % 3"]
TRUE = ["paid", "NOT paid", "amount > 100", "country <> 'US'", "country IN ('US', 'DE')", "items BETWEEN 3 AND 30", "amount IS NOT NULL", "lower(country) = 'fr' OR items > 40", "amount > items * 10"]
WINDOWS = ["1 hour", "90 minutes", "1 day", "36 hours", "3 days"]
OVER_NUMBERS = ["SUM", "AVG", "MEAN", "VAR_POP", "VAR_SAMP", "STDDEV_POP", "STDDEV", "VARIANCE", "STDDEV_SAMP"]


def aggregate(dice):
    kind = dice.randrange(5)
    if kind == 0:
        return "COUNT(*)"
    if kind == 1:
        return f"COUNT({dice.choice(ANY)})"
    if kind == 2:
        return f"COUNT(DISTINCT {dice.choice(ANY)})"
    if kind == 3:
        return f"{dice.choice(['MIN', 'MAX'])}({dice.choice(NUMBERS)})"
    return f"{dice.choice(OVER_NUMBERS)}({dice.choice(NUMBERS)})"


def statement(dice):
    """A statement, and its longest window in seconds; `None`: all."""
    items, longest = [], 0
    for n in range(dice.randrange(2, 8)):
        window = dice.choice([*WINDOWS, None])
        conditions = [f"ts > NOW() - INTERVAL '{window}'"] if window else []
        conditions += [f"({dice.choice(TRUE)})"] if dice.random() < 0.4 else []
        dice.shuffle(conditions)
        where = f" FILTER (WHERE {' AND '.join(conditions)})" if conditions else ""
        items.append(f"{aggregate(dice)}{where} AS f{n}")
        longest = None if window is None or longest is None else max(longest, seconds(window))
    if dice.random() < 0.5:
        items.append("f0 * 1.5 + coalesce(f1, 0) AS both")
    key = dice.choice([["card_id"], ["country", "card_id"], ["card_id", "paid"]])
    where = f"\nWHERE {dice.choice(TRUE)}" if dice.random() < 0.5 else ""
    # Each key column is whole, where a row of DuckDB may have a null.
    return f"SELECT {', '.join([*key, *items])}\nFROM payments{where}\nGROUP BY {', '.join(key)}", key, longest


def seconds(window):
    number, unit = window.split()
    return int(number) * {"hour": 3600, "hours": 3600, "minutes": 60, "day": 86_400, "days": 86_400}[unit]


def in_duckdb(sql, table, now, key):
    """Its rows by key: of keys that are whole."""
    database = duckdb.connect()
    # The history of that time has no later events.
    database.register("history", table)
    database.execute(f"CREATE VIEW payments AS SELECT * FROM history WHERE ts <= TIMESTAMP '{now:%Y-%m-%d %H:%M:%S}'")
    found = database.execute(re.sub(r"NOW\(\)", f"TIMESTAMP '{now:%Y-%m-%d %H:%M:%S}'", sql))
    names = [column[0] for column in found.description]
    rows = [dict(zip(names, row)) for row in found.fetchall()]
    last = dict((row[:-1], row[-1]) for row in database.execute(f"SELECT {', '.join(key)}, max(ts) FROM payments {where_of(sql)} GROUP BY ALL").fetchall())
    by_key = {tuple(row.pop(name) for name in key): row for row in rows}
    return {of: row for of, row in by_key.items() if None not in of}, last


def where_of(sql):
    found = re.search(r"\nWHERE .*", sql)
    return found.group() if found else ""


def equal(ours, theirs):
    if isinstance(ours, float) and isinstance(theirs, (int, float)):
        return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9)
    return ours == theirs


def assert_equal(ours, theirs, shown):
    assert ours.keys() == theirs.keys(), shown
    for key, row in theirs.items():
        wrong = {name: (ours[key][name], of) for name, of in row.items() if not equal(ours[key][name], of)}
        assert not wrong, f"{shown}\n{key}: (Headwater, DuckDB) {wrong}"


def job_of(sql):
    source = hw.Source("payments", event_time="ts", history=hw.parquet("payments.parquet"))
    return hw.Job("equal", features=[hw.Features("spelled", sql=sql)], sources=[source], tick="1s")


def parts(row, key):
    return tuple(row[name] for name in key), {name: of for name, of in row.items() if name not in (*key, "changed_at", "as_of")}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_has_the_rows_of_its_statement(seed):
    dice = random.Random(seed)
    table = events(dice)
    pyarrow.parquet.write_table(table, "payments.parquet", row_group_size=200)
    sql, key, longest = statement(dice)
    job = job_of(sql)
    job.run().wait(timeout=60)
    rows = job.export("spelled").to_pyarrow().to_pylist()
    now = rows[0]["as_of"].replace(tzinfo=None) if rows else table["ts"][-1].as_py()
    theirs, last = in_duckdb(sql, table, now, key)
    if longest is not None:
        inside = now - datetime.timedelta(seconds=longest)
        theirs = {of: row for of, row in theirs.items() if last[of] > inside}
    assert_equal(dict(parts(row, key) for row in rows), theirs, f"seed {seed}, {now}\n{sql}")


@pytest.mark.parametrize("seed", SEEDS)
def test_training_rows_are_those_of_the_statement_at_their_time(seed):
    dice = random.Random(1000 + seed)
    table = events(dice)
    pyarrow.parquet.write_table(table, "payments.parquet")
    sql, key, longest = statement(dice)
    keys = sorted({of for of in zip(*(table[name].to_pylist() for name in key)) if None not in of})
    # At an event's own time, and at whole hours, where others end.
    nows = [table["ts"][dice.randrange(table.num_rows)].as_py().replace(microsecond=0) for _ in range(3)]
    nows += [START.replace(tzinfo=None) + datetime.timedelta(hours=dice.randrange(DAYS * 24)) for _ in range(3)]
    asked = [(of, now) for now in nows for of in keys]
    columns = {name: pyarrow.array([of[n] for of, _ in asked], table[name].type) for n, name in enumerate(key)}
    spine = pyarrow.table(columns | {"at": pyarrow.array([now for _, now in asked], pyarrow.timestamp("us"))})
    rows = job_of(sql).backfill(spine, time="at").to_pylist()
    for now in nows:
        theirs, last = in_duckdb(sql, table, now, key)
        ours = {}
        for row in (row for row in rows if row["at"] == now):
            of = tuple(row[name] for name in key)
            is_row = of in theirs and (longest is None or last[of] > now - datetime.timedelta(seconds=longest))
            if is_row:
                ours[of] = {name.removeprefix("spelled__"): value for name, value in row.items() if name.startswith("spelled__")}
            else:
                theirs.pop(of, None)
        # A backfill has derived columns where this version says so.
        have = {name for row in ours.values() for name in row}
        theirs = {of: {name: value for name, value in row.items() if name in have} for of, row in theirs.items()}
        assert_equal(ours, theirs, f"seed {seed}, {now}\n{sql}")


@pytest.mark.parametrize("seed", range(4))
def test_tumbling_windows(seed):
    """TUMBLE is no function of DuckDB, and is made one: time_bucket."""
    dice = random.Random(2000 + seed)
    table = events(dice)
    pyarrow.parquet.write_table(table, "payments.parquet")
    items = [f"{aggregate(dice)} AS f{n}" for n in range(4)]
    window = dice.choice(["1 hour", "1 day", "6 hours"])
    sql = f"SELECT card_id, {', '.join(items)}\nFROM payments\nGROUP BY card_id, TUMBLE(ts, INTERVAL '{window}')"
    job = job_of(sql)
    job.features[0].retain = "1000d"
    job.run().wait(timeout=60)
    rows = job.export("spelled").to_pyarrow().to_pylist()
    database = duckdb.connect()
    database.register("payments", table)
    # Buckets of DuckDB begin on a Monday of the year 2000, and ours in 1970: whole days from one another.
    database.execute("CREATE MACRO TUMBLE(ts, size) AS time_bucket(size, ts, TIMESTAMP '1970-01-01')")
    with_start = sql.replace("SELECT card_id,", f"SELECT card_id, TUMBLE(ts, INTERVAL '{window}') AS window_start,")
    found = database.execute(with_start)
    names = [column[0] for column in found.description]
    theirs = [dict(zip(names, row)) for row in found.fetchall()]
    theirs = dict(parts(row, ("card_id", "window_start")) for row in theirs if row["card_id"] is not None)
    for row in rows:
        row["window_start"] = row["window_start"].replace(tzinfo=None)
        del row["window_end"]
    assert_equal(dict(parts(row, ("card_id", "window_start")) for row in rows), theirs, f"seed {seed}\n{sql}")


def test_count_if_of_no_event_is_0_here():
    """The one difference that is known: there it is null."""
    table = events(random.Random(5))
    pyarrow.parquet.write_table(table, "payments.parquet")
    sql = "SELECT card_id, COUNT_IF(paid) AS n, COUNT_IF(paid) FILTER (WHERE amount > 99999) AS none\nFROM payments\nGROUP BY card_id"
    job = job_of(sql)
    job.run().wait(timeout=60)
    ours = dict(parts(row, ["card_id"]) for row in job.export("spelled").to_pyarrow().to_pylist())
    theirs, _ = in_duckdb(sql, table, table["ts"][-1].as_py(), ["card_id"])
    assert {row["none"] for row in ours.values()} == {0} and {row["none"] for row in theirs.values()} == {None}
    assert {of: row["n"] for of, row in ours.items()} == {of: row["n"] for of, row in theirs.items()}


def test_the_statement_of_the_document():
    dice = random.Random(7)
    table = events(dice)
    table = table.append_column("status", pyarrow.array([dice.choice(["approved", "declined"]) for _ in range(table.num_rows)]))
    pyarrow.parquet.write_table(table, "payments.parquet")
    [sql] = re.findall(r'sql = """\n(SELECT.*?)"""', (ROOT / "docs/sql.md").read_text(), re.DOTALL)
    sql = sql.replace("transactions", "payments")
    job = job_of(sql)
    job.run().wait(timeout=60)
    rows = job.export("spelled").to_pyarrow().to_pylist()
    theirs, _ = in_duckdb(sql, table, rows[0]["as_of"].replace(tzinfo=None), ["card_id"])
    assert_equal(dict(parts(row, ["card_id"]) for row in rows), theirs, sql)
    assert len(rows) == 12
