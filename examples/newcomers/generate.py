"""What people looked at in a shop within a day, the same every time.

    data/views.parquet    what is kept: until noon
    data/live.jsonl       what arrives
"""

import datetime
import json
import pathlib
import random

import polars

START = datetime.datetime(2026, 4, 11, tzinfo=datetime.timezone.utc)
SHELVES = {"shoes": 40, "tents": 12, "maps": 30, "lamps": 25, "ropes": 18}


def main():
    dice = random.Random(11)
    came = [(f"u{n}", dice.randrange(86_000)) for n in range(400)] + [(f"n{n}", 86_400 - dice.randrange(300, 600)) for n in range(5)]
    views = sorted((view for user, at in came for view in views_of(dice, user, at)), key=lambda view: view["ts"])
    views = [view for view in views if view["ts"] < START + datetime.timedelta(days=1)]
    noon = START + datetime.timedelta(hours=12)
    kept = [view for view in views if view["ts"] < noon]
    live = [view for view in views if view["ts"] >= noon]
    pathlib.Path("data").mkdir(exist_ok=True)
    polars.DataFrame(kept).write_parquet("data/views.parquet")
    lines = (json.dumps(view | {"ts": view["ts"].isoformat()}) + "\n" for view in live)
    pathlib.Path("data/live.jsonl").write_text("".join(lines))
    print(f"{len(kept):,} views until noon, {len(live):,} since")


def views_of(dice, user, at):
    """Somebody has one shelf in mind, mostly, and comes once or several times."""
    mind = dice.choice(list(SHELVES))
    ts = START + datetime.timedelta(seconds=at)
    for _ in range(dice.choice([1, 1, 2, 3])):
        for _ in range(dice.randrange(1, 12)):
            shelf = mind if dice.random() < 0.7 else dice.choice(list(SHELVES))
            item = f"{shelf}-{min(dice.randrange(SHELVES[shelf]), dice.randrange(SHELVES[shelf]))}"
            bought = dice.random() < 0.04
            yield {"ts": ts, "user": user, "shelf": shelf, "item": item, "seconds": dice.randrange(2, 180), "bought": bought}
            ts += datetime.timedelta(seconds=dice.randrange(10, 240))
        ts += datetime.timedelta(minutes=dice.randrange(40, 400))


main()
