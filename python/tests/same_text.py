"""A statement of a group as DuckDB runs it: docs/sql.md says what is written otherwise there, and has the macros."""

import math
import re

import duckdb
from payments import ROOT

INTERVAL = r"INTERVAL '[^']*'"


def macros():
    """Those of the document."""
    [found] = re.findall(r"```sql\n(CREATE MACRO .*?)```", (ROOT / "docs/sql.md").read_text(), re.DOTALL)
    return found


def database(**tables):
    database = duckdb.connect()
    database.execute(macros())
    for name, table in tables.items():
        database.register(name, table)
    return database


def in_duckdb(sql, now, of_time={}, just_before={}):
    """The text for DuckDB. `of_time`: by table, its event time. `just_before`: by group that is looked up, its statement and its longest window."""
    for group, (of, longest) in just_before.items():
        sql = looked_up_before(sql, group, of, longest)
    sql = re.sub(r"NOW\(\)", f"TIMESTAMP '{now}'", sql)
    # By time, and of one time the smaller or the greater.
    sql = re.sub(r"\bFIRST\((\w+)\)", r"arg_min(\1, (ts, \1))", sql)
    sql = re.sub(r"\bLAST\((\w+)\)", r"arg_max(\1, (ts, \1))", sql)
    for table, time in of_time.items():
        join = rf"((?:LEFT )?JOIN {table}) (?:FOR SYSTEM_TIME AS OF \S+ )?AS (\w+) ON ((\w+)\.\S+ = \S+|\S+ = (\w+)\.\S+)"
        sql = re.sub(join, rf"ASOF \1 AS \2 ON \3 AND ts >= \2.{time}", sql)
    sql = with_hops(sql)
    return with_sessions(sql)


def looked_up_before(sql, group, of, longest):
    """A row of a group as it was at the tick before the event's, a second."""
    [(join, alias, key)] = re.findall(rf"((?:LEFT )?JOIN) {group} AS (\w+) ON p\.(\w+) = \w+\.\w+", sql)
    before = "(p.ts - INTERVAL '1 second')"
    of = of.replace("NOW()", before).replace("\nWHERE ", f"\nWHERE ts <= {before} AND {key} = p.{key} AND ")
    inside = f" HAVING max(ts) > {before} - INTERVAL '{longest} seconds'" if longest else ""
    return re.sub(rf"{join} {group} AS {alias} ON \S+ = \S+", lambda _: f"{join} LATERAL ({of}{inside}) AS {alias} ON TRUE", sql)


def with_hops(sql):
    found = re.search(rf"HOP\((\w+), ({INTERVAL}), ({INTERVAL})\)", sql)
    if not found:
        return sql
    start = f"UNNEST(HOPS({found[1]}, {found[2]}, {found[3]})) AS w(window_start)"
    return re.sub(r"(FROM \w+)", rf"\1, {start}", sql.replace(found[0], "window_start"), count=1)


def with_sessions(sql):
    found = re.search(rf"(?:\nWHERE (.*))?\nGROUP BY (.*), SESSION\((\w+), ({INTERVAL})\)", sql)
    if not found:
        return sql
    where, key, ts, gap = found.groups()
    [source] = re.findall(r"FROM (\w+)", sql)
    over = f"OVER (PARTITION BY {key} ORDER BY {ts})"
    events = f"SELECT *, {ts} < lag({ts}) {over} + {gap} AS goes_on FROM {source} WHERE {where or True}"
    numbered = f"SELECT *, count(*) FILTER (WHERE goes_on IS NOT TRUE) {over} AS session FROM ({events})"
    sql = sql.replace(found[0], f"\nGROUP BY {key}, session")
    return re.sub(r"FROM \w+", lambda _: f"FROM ({numbered}) AS {source}", sql, count=1)


def rows(database, sql):
    found = database.execute(sql)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()]


def by_key(rows, key):
    """Of whole keys, and without what only a row of Headwater has."""
    beside = (*key, "changed_at", "as_of")
    parted = {tuple(row[name] for name in key): {name: of for name, of in row.items() if name not in beside} for row in rows}
    return {of: row for of, row in parted.items() if None not in of}


def equal(ours, theirs):
    if isinstance(ours, float) and isinstance(theirs, (int, float)):
        return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9)
    return ours == theirs


def assert_equal(ours, theirs, shown):
    assert ours.keys() == theirs.keys(), shown
    for key, row in theirs.items():
        wrong = {name: (ours[key][name], of) for name, of in row.items() if not equal(ours[key][name], of)}
        assert not wrong, f"{shown}\n{key}: (Headwater, DuckDB) {wrong}"
