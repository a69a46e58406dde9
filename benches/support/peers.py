"""What the bench `backfill` asks of DuckDB and of Polars: for each label count, sum and max over 1h, 1d and 7d of its card's events, in
hindsight. Each in the form that was fastest of those tried: DuckDB's window functions, and Polars' rolling groups, over labels and
events as one sorted table.

    peers.py ENGINE DIR OUT     compares nothing; DIR has history/*.parquet and spine.parquet
    peers.py compare A B...     exit 1 unless all of A's columns `card__*` are the same in the others
"""
import sys

SECONDS = {"1h": 3_600, "1d": 86_400, "7d": 604_800}


def duckdb(dir, out):
    import duckdb
    aggregates = [("n", "count(cents)"), ("s", "sum(cents)"), ("m", "max(cents)")]
    columns = ", ".join(f"({sql} OVER w{w})::BIGINT AS card__{name}_{w}" for name, sql in aggregates for w in SECONDS)
    # The window excludes its start.
    windows = ", ".join(f"w{w} AS (PARTITION BY card_id ORDER BY t RANGE BETWEEN {s * 1_000_000 - 1} PRECEDING AND CURRENT ROW)"
                        for w, s in SECONDS.items())
    duckdb.connect().execute(f"""
        COPY (SELECT * EXCLUDE (t, cents) FROM (SELECT card_id, t, cents, id, {columns} FROM (
            SELECT card_id, epoch_us(ts) AS t, cents, NULL::BIGINT AS id FROM '{dir}/history/*.parquet' UNION ALL
            SELECT card_id, epoch_us("at"), NULL, file_row_number FROM read_parquet('{dir}/spine.parquet', file_row_number = true)
        ) WINDOW {windows}) WHERE id IS NOT NULL ORDER BY id) TO '{out}' (FORMAT parquet)""")


def polars(dir, out):
    import polars as pl
    events = pl.scan_parquet(f"{dir}/history/*.parquet").select("card_id", t="ts", cents="cents", id=pl.lit(None, pl.UInt32))
    labels = pl.scan_parquet(f"{dir}/spine.parquet").with_row_index("id")
    labels = labels.select("card_id", t="at", cents=pl.lit(None, pl.Int64), id="id")
    both = pl.concat([events, labels]).sort("card_id", "t").collect()
    cents = pl.col("cents")

    def over(w):
        groups = both.rolling(index_column="t", period=w, closed="right", group_by="card_id")
        rows = groups.agg(**{f"card__n_{w}": cents.count(), f"card__s_{w}": cents.sum(), f"card__m_{w}": cents.max()})
        return rows.drop("card_id", "t")
    rows = pl.concat([both.select("id"), *map(over, SECONDS)], how="horizontal")
    rows.filter(pl.col("id").is_not_null()).sort("id").write_parquet(out)


def compare(first, *others):
    import polars as pl
    ours = pl.read_parquet(first)
    for path in others:
        theirs = pl.read_parquet(path)
        for name in (c for c in ours.columns if c.startswith("card__")):
            # The sum of nothing is null, and for Polars 0.
            a, b = (t[name].cast(pl.Int64).fill_null(0) for t in (ours, theirs))
            if different := (a != b).sum():
                sys.exit(f"{path}: {name} differs in {different} of {len(a)} rows")
        print(f"{len(ours)} rows are the same")


{"duckdb": duckdb, "polars": polars, "compare": compare}[sys.argv[1]](*sys.argv[2:])
