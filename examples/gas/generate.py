"""Fees of transactions on two chains over four hours, the same every time. In the last hour something is minted, and everybody is in a hurry.

    data/fees-0.csv.gz ... fees-2.csv.gz    what is kept: an hour each
    data/live.csv                           what arrives: the last hour, and some minutes late
"""

import datetime
import gzip
import pathlib
import random

START = datetime.datetime(2026, 5, 4, 12, tzinfo=datetime.timezone.utc)
HOUR = datetime.timedelta(hours=1)


def main():
    dice = random.Random(1559)
    pathlib.Path("data").mkdir(exist_ok=True)
    count = 0
    for hour in range(4):
        begins = START + hour * HOUR
        rows = sorted(fee(dice, begins + datetime.timedelta(seconds=dice.random() * 3600), hour == 3) for _ in range(4_000))
        count += len(rows)
        lines = [f"{line}\n" for _, line in rows]
        if hour < 3:
            text = "ts,chain,kind,tip\n" + "".join(lines)
            pathlib.Path(f"data/fees-{hour}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        else:
            # A node was away: what it saw comes later than what others saw.
            late = [line for line in lines if dice.random() < 0.02]
            pathlib.Path("data/live.csv").write_text("".join([line for line in lines if line not in late] + late))
    print(f"{count:,} transactions, those of the last hour on the stream")


def fee(dice, ts, minting):
    """When, and as a line: chain, what for, and the tip for a unit of gas, in gwei."""
    chain = "one" if dice.random() < 0.7 else "two"
    kind = "mint" if minting and chain == "one" and ts.minute >= 40 and dice.random() < 0.5 else dice.choice(["transfer", "swap"])
    tip = dice.lognormvariate(0.5 if chain == "one" else -1.5, 0.6) * (12 if kind == "mint" else 1)
    shown = ts.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return ts, f"{shown},{chain},{kind},{tip:.3f}"


main()
