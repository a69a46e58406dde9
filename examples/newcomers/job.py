"""What is known of somebody who has only just come: what he looked at, in this visit and at all."""

import headwater as hw

views = hw.Source(
    "views",
    event_time="ts",
    history=hw.parquet("data/views.parquet", complete_until="2026-04-11T12:00:00Z"),
    stream=hw.jsonl("data/live.jsonl"),
    description="a page of an item was looked at, or the item was bought",
)

user = hw.Features(
    "user",
    source=views,
    key="user",
    columns={
        "views": hw.count(windows=["10m", "1d", "all"]),
        "first_seen": hw.first("ts", window="all"),
        "shelves": hw.top_k("shelf", k=3, window="all"),
        "items": hw.last_n("item", n=4, window="1d"),
        "seconds": hw.avg("seconds", window="1h"),
        "bought": hw.count(where="bought", window="all"),
    },
    derived={"newness": "views_10m * 1.0 / views_all"},    # 1: all that is known of him is ten minutes old
)

visit = hw.Features(
    "visit",
    source=views,
    key="user",
    window=hw.session("30m"),
    columns={
        "views": hw.count(),
        "shelf": hw.mode("shelf"),
        "items": hw.count_distinct("item"),
        "bought": hw.last_n("item", n=3, where="bought"),
    },
)

item = hw.Features(
    "item",
    source=views,
    key="item",
    columns={"views": hw.count(windows=["1h", "all"]), "bought": hw.count(where="bought", window="all")},
    derived={"worth": "bought * 1.0 / views_all"},
)

job = hw.Job("newcomers", features=[user, visit, item], tick="1s")
