"""The same text, with NOW() replaced by a time, runs in DuckDB over the history and gives the same rows.

Statements and payments are made at random, a seed each. Left out is what DuckDB leaves open (ties of `mode`), what it has not (`top_k`, `last_n`),
and what both only estimate. Amounts are quarters, so that any order of adding gives the same sum.
"""

import datetime
import os
import random
import re

import pyarrow
import pyarrow.parquet
import pytest
from payments import ROOT, START
from same_text import assert_equal, by_key, database, in_duckdb, rows

import headwater as hw

#: More by hand: HEADWATER_SEEDS=200.
SEEDS = range(int(os.environ.get("HEADWATER_SEEDS", 6)))
DAYS = 5


BASKET = pyarrow.list_(pyarrow.struct([("sku", pyarrow.string()), ("price", pyarrow.float64())]))


def basket(dice):
    some = lambda of: None if dice.random() < 0.1 else of
    return [{"sku": some(f"s{dice.randrange(5)}"), "price": some(dice.randrange(400) / 4)} for _ in range(dice.randrange(4))]


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
            "basket": pyarrow.array([some(basket(dice)) for _ in times], BASKET),
        }
    )


NUMBERS = ["amount", "items", "amount * 2", "items + 1", "CASE WHEN country = 'US' THEN amount END", "coalesce(items, 0)", "abs(amount)", "length(country)"]
ANY = [*NUMBERS, "country", "lower(country)", "paid", "items % 3"]
TRUE = ["paid", "NOT paid", "amount > 100", "country <> 'US'", "country IN ('US', 'DE')", "items BETWEEN 3 AND 30", "amount IS NOT NULL", "lower(country) = 'fr' OR items > 40", "amount > items * 10"]
WINDOWS = ["1 hour", "90 minutes", "1 day", "36 hours", "3 days"]
OVER_NUMBERS = ["SUM", "AVG", "MEAN", "VAR_POP", "VAR_SAMP", "STDDEV_POP", "STDDEV", "VARIANCE", "STDDEV_SAMP"]


def aggregate(dice):
    kind = dice.randrange(6)
    if kind == 5:
        return f"{dice.choice(['FIRST', 'LAST'])}({dice.choice(['amount', 'country', 'items'])})"
    if kind == 0:
        return "COUNT(*)"
    if kind == 1:
        return f"COUNT({dice.choice(ANY)})"
    if kind == 2:
        return f"COUNT(DISTINCT {dice.choice(ANY)})"
    if kind == 3:
        return f"{dice.choice(['MIN', 'MAX'])}({dice.choice(NUMBERS)})"
    return f"{dice.choice(OVER_NUMBERS)}({dice.choice(NUMBERS)})"


def items(dice, true=TRUE, of=aggregate, windows=(*WINDOWS, None)):
    """What is selected, and the longest window in seconds; `None`: all."""
    found, longest = [], 0
    for n in range(dice.randrange(2, 8)):
        window = dice.choice(windows)
        conditions = [f"ts > NOW() - INTERVAL '{window}'"] if window else []
        conditions += [f"({dice.choice(true)})"] if dice.random() < 0.4 else []
        dice.shuffle(conditions)
        where = f" FILTER (WHERE {' AND '.join(conditions)})" if conditions else ""
        found.append(f"{of(dice)}{where} AS f{n}")
        longest = None if window is None or longest is None else max(longest, seconds(window))
    return found, longest


#: What SELECT has of a key, what GROUP BY has of it, and its names.
KEYS = [
    ("card_id", "card_id", ["card_id"]),
    ("country, card_id", "country, card_id", ["country", "card_id"]),
    ("card_id, paid", "card_id, paid", ["card_id", "paid"]),
    ("lower(country) AS land", "lower(country)", ["land"]),
    ("card_id, country || '/' || (items % 2) AS part", "country || '/' || (items % 2), card_id", ["card_id", "part"]),
    ("upper(country) AS country, upper(country) || '!' AS loud", "upper(country)", ["country"]),
]


def statement(dice, source="payments"):
    """A statement, its key, and its longest window in seconds; `None`: all."""
    found, longest = items(dice)
    if dice.random() < 0.5 and not any(of in found[n] for n in (0, 1) for of in ("FIRST", "LAST")):
        found.append("f0 * 1.5 + coalesce(f1, 0) AS both")
    select, by, key = dice.choice(KEYS)
    where = f"\nWHERE {dice.choice(TRUE)}" if dice.random() < 0.5 else ""
    return f"SELECT {select}, {', '.join(found)}\nFROM {source}{where}\nGROUP BY {by}", key, longest


def seconds(window):
    number, unit = window.split()
    return int(number) * {"hour": 3600, "hours": 3600, "minutes": 60, "day": 86_400, "days": 86_400}[unit]


def their_rows(sql, table, now, key, longest=None, tables={}, **otherwise):
    """DuckDB's by key: of keys that are whole, and that have an event within the longest window."""
    # The history of that time has no later events.
    of_now = database(history=table, **tables)
    of_now.execute(f"CREATE VIEW payments AS SELECT * FROM history WHERE ts <= TIMESTAMP '{now}'")
    with_last = in_duckdb(sql, now, **otherwise).replace("SELECT ", "SELECT max(ts) AS last_ts, ", 1)
    inside = lambda row: longest is None or row.pop("last_ts") > now - datetime.timedelta(seconds=longest)
    found = [row for row in rows(of_now, with_last) if inside(row)]
    for row in found:
        row.pop("last_ts", None)
    return by_key(found, key)


def job_of(sql, sources=(), **groups):
    source = hw.Source("payments", event_time="ts", history=hw.parquet("payments.parquet"))
    features = [hw.Features(name, sql=of) for name, of in groups.items()]
    return hw.Job("equal", features=[*features, hw.Features("spelled", sql=sql)], sources=[source], tables=list(sources), tick="1s")


def our_rows(job, key):
    """Those of a run, by key, and the time that they are of."""
    job.run().wait(timeout=120)
    found = job.export("spelled").to_pyarrow().to_pylist()
    for row in found:
        for bound in ("window_start", "window_end"):
            if bound in row:
                row[bound] = row[bound].replace(tzinfo=None)
    return by_key(found, key), found[0]["as_of"].replace(tzinfo=None) if found else None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_has_the_rows_of_its_statement(seed):
    dice = random.Random(seed)
    table = events(dice)
    pyarrow.parquet.write_table(table, "payments.parquet", row_group_size=200)
    sql, key, longest = statement(dice)
    ours, now = our_rows(job_of(sql), key)
    now = now or table["ts"][-1].as_py()
    assert_equal(ours, their_rows(sql, table, now, key, longest), f"seed {seed}, {now}\n{sql}")


@pytest.mark.parametrize("seed", SEEDS)
def test_training_rows_are_those_of_the_statement_at_their_time(seed):
    dice = random.Random(1000 + seed)
    table = events(dice)
    pyarrow.parquet.write_table(table, "payments.parquet")
    sql, key, longest = statement(dice)
    # Keys of all times, as DuckDB makes them.
    whole = their_rows(sql, table, table["ts"][-1].as_py(), key)
    keys = sorted(whole)
    # At an event's own time, and at whole hours, where others end.
    nows = [table["ts"][dice.randrange(table.num_rows)].as_py().replace(microsecond=0) for _ in range(3)]
    nows += [START.replace(tzinfo=None) + datetime.timedelta(hours=dice.randrange(DAYS * 24)) for _ in range(3)]
    asked = [(of, now) for now in nows for of in keys]
    columns = {name: pyarrow.array([of[n] for of, _ in asked]) for n, name in enumerate(key)}
    spine = pyarrow.table(columns | {"at": pyarrow.array([now for _, now in asked], pyarrow.timestamp("us"))})
    training = job_of(sql).backfill(spine, time="at").to_pylist()
    for now in nows:
        theirs = their_rows(sql, table, now, key, longest)
        ours = {}
        for row in (row for row in training if row["at"] == now):
            of = tuple(row[name] for name in key)
            if of in theirs:
                ours[of] = {name.removeprefix("spelled__"): value for name, value in row.items() if name.startswith("spelled__")}
        assert_equal(ours, theirs, f"seed {seed}, {now}\n{sql}")


WINDOWED = [
    ("TUMBLE", ["INTERVAL '1 hour'", "INTERVAL '1 day'", "INTERVAL '6 hours'", "INTERVAL '1 day', zone => 'Europe/Berlin'", "INTERVAL '2 weeks', starts => 'sunday'"]),
    ("HOP", ["INTERVAL '15 minutes', INTERVAL '1 hour'", "INTERVAL '7 hours', INTERVAL '1 day'", "INTERVAL '3 hours', INTERVAL '1 hour'"]),
    ("SESSION", ["INTERVAL '30 minutes'", "INTERVAL '2 hours'", "INTERVAL '7200001 ms'"]),
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("window", "of"), [(window, of) for window, all in WINDOWED for of in all])
def test_windows_in_group_by(window, of, seed):
    dice = random.Random(f"{window} {of} {seed}")
    table = events(dice)
    pyarrow.parquet.write_table(table, "payments.parquet")
    found, _ = items(dice, windows=[None])
    where = f"\nWHERE {dice.choice(TRUE)}" if dice.random() < 0.5 else ""
    sql = f"SELECT card_id, {', '.join(found)}\nFROM payments{where}\nGROUP BY card_id, {window}(ts, {of})"
    job = job_of(sql)
    job.features[0].retain = "1000d"
    ours, now = our_rows(job, ("card_id", "window_start"))
    gap = of if window == "SESSION" else None
    start = {"TUMBLE": f"TUMBLE(ts, {of})", "HOP": "window_start", "SESSION": "min(ts)"}[window]
    end = f", max(ts) + {gap} AS window_end" if gap else ""
    text = in_duckdb(sql, now).replace("SELECT ", f"SELECT {start} AS window_start{end}, ", 1)
    theirs = by_key(rows(database(payments=table), text), ("card_id", "window_start"))
    if not gap:
        ours = {of: {name: value for name, value in row.items() if name != "window_end"} for of, row in ours.items()}
    assert len(theirs) >= 12
    assert_equal(ours, theirs, f"seed {seed}\n{text}")


def test_a_list_that_is_taken_apart():
    for seed in range(4):
        dice = random.Random(3000 + seed)
        table = events(dice)
        pyarrow.parquet.write_table(table, "payments.parquet")
        of_items = lambda dice: dice.choice(["COUNT(*)", "SUM(item.price)", "MAX(t.item.price * amount)", "COUNT(DISTINCT p.card_id)", "AVG(item.price)"])
        found, longest = items(dice, [*TRUE, "item.price > 20", "item.sku <> 's1'"], of_items)
        sql = f"SELECT item.sku, {', '.join(found)}\nFROM payments AS p CROSS JOIN UNNEST(p.basket) AS t(item)\nWHERE item.price > 5 OR paid\nGROUP BY item.sku"
        ours, now = our_rows(job_of(sql), ["sku"])
        assert len(ours) == 5
        assert_equal(ours, their_rows(sql, table, now, ["sku"], longest), f"seed {seed}\n{sql}")


def rates(dice):
    countries = ["US", "DE", "fr"]
    # No two versions of one time.
    times = dice.sample(range(DAYS * 86_400), 60)
    return pyarrow.table(
        {
            "land": pyarrow.array([dice.choice(countries) for _ in times]),
            "valid_from": pyarrow.array([START.replace(tzinfo=None) + datetime.timedelta(seconds=at) for at in times], pyarrow.timestamp("us")),
            "rate": pyarrow.array([None if dice.random() < 0.1 else dice.randrange(16) / 4 for _ in times], pyarrow.float64()),
            "zone": pyarrow.array([dice.choice(["east", "west", None]) for _ in times]),
        }
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_table_as_it_was_at_the_event(seed):
    dice = random.Random(4000 + seed)
    table, of_rates = events(dice), rates(dice)
    pyarrow.parquet.write_table(table, "payments.parquet")
    pyarrow.parquet.write_table(of_rates, "rates.parquet")
    of_rows = lambda dice: dice.choice(["COUNT(*)", "SUM(amount * r.rate)", "MAX(r.rate)", "COUNT(DISTINCT r.zone)", "COUNT(r.rate)"])
    found, longest = items(dice, [*TRUE, "r.rate > 1", "r.zone = 'east'"], of_rows)
    select, key = dice.choice([("card_id", ["card_id"]), ("r.zone", ["zone"]), ("r.zone, card_id", ["zone", "card_id"])])
    join = dice.choice(["LEFT JOIN rates FOR SYSTEM_TIME AS OF p.ts AS r ON p.country = r.land", "JOIN rates AS r ON r.land = p.country"])
    where = f"\nWHERE {dice.choice([*TRUE, 'r.rate < 3'])}" if dice.random() < 0.5 else ""
    sql = f"SELECT {select}, {', '.join(found)}\nFROM payments AS p {join}{where}\nGROUP BY {select}"
    versions = hw.Table("rates", key="land", event_time="valid_from", history=hw.parquet("rates.parquet"))
    ours, now = our_rows(job_of(sql, [versions]), key)
    theirs = their_rows(sql, table, now, key, longest, {"rates": of_rates}, of_time={"rates": "valid_from"})
    assert_equal(ours, theirs, f"seed {seed}, {now}\n{sql}")


@pytest.mark.parametrize("seed", range(4))
def test_a_group_as_it_was_just_before_the_event(seed):
    dice = random.Random(5000 + seed)
    table = events(dice, 600)
    pyarrow.parquet.write_table(table, "payments.parquet")
    before, longest_before = items(dice, of=lambda dice: dice.choice(["COUNT(*)", "SUM(amount)", "LAST(items)", "COUNT(DISTINCT country)"]))
    of_card = f"SELECT card_id, {', '.join(before)}\nFROM payments\nWHERE {dice.choice(TRUE)}\nGROUP BY card_id"
    of_rows = lambda dice: dice.choice(["COUNT(*)", "SUM(h.f0)", "MAX(amount - h.f0)", "COUNT(h.f1)"])
    found, longest = items(dice, [*TRUE, "h.f0 > 3", "h.f1 IS NULL"], of_rows)
    join = dice.choice(["LEFT JOIN", "JOIN"])
    sql = f"SELECT country, {', '.join(found)}\nFROM payments AS p {join} card AS h ON p.card_id = h.card_id\nGROUP BY country"
    ours, now = our_rows(job_of(sql, card=of_card), ["country"])
    theirs = their_rows(sql, table, now, ["country"], longest, just_before={"card": (of_card, longest_before)})
    assert_equal(ours, theirs, f"seed {seed}, {now}\n{of_card}\n{sql}")


def test_count_if_of_no_event_is_0_here():
    """The one difference that is known: there it is null."""
    table = events(random.Random(5))
    pyarrow.parquet.write_table(table, "payments.parquet")
    sql = "SELECT card_id, COUNT_IF(paid) AS n, COUNT_IF(paid) FILTER (WHERE amount > 99999) AS none\nFROM payments\nGROUP BY card_id"
    ours, now = our_rows(job_of(sql), ["card_id"])
    theirs = their_rows(sql, table, now, ["card_id"])
    assert {row["none"] for row in ours.values()} == {0} and {row["none"] for row in theirs.values()} == {None}
    assert {of: row["n"] for of, row in ours.items()} == {of: row["n"] for of, row in theirs.items()}


def test_the_statement_of_the_document():
    dice = random.Random(7)
    table = events(dice)
    table = table.append_column("status", pyarrow.array([dice.choice(["approved", "declined"]) for _ in range(table.num_rows)]))
    pyarrow.parquet.write_table(table, "payments.parquet")
    [sql] = re.findall(r'\[features.card_activity\]\nsql = """\n(SELECT.*?)"""', (ROOT / "docs/sql.md").read_text(), re.DOTALL)
    sql = sql.replace("transactions", "payments")
    ours, now = our_rows(job_of(sql), ["card_id"])
    assert_equal(ours, their_rows(sql, table, now, ["card_id"]), sql)
    assert len(ours) == 12
