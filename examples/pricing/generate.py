"""Two days of orders, and the prices that were in force, the same every time. One price was entered wrong, and corrected an hour and a half later.

    data/prices.jsonl    each price with the time from which it is in force, and the time at which it was told
    data/orders.jsonl    what was ordered: there is no price in it
"""

import datetime
import json
import pathlib
import random

START = datetime.datetime(2026, 6, 1, tzinfo=datetime.timezone.utc)
HOUR = datetime.timedelta(hours=1)


def main():
    dice = random.Random(99)
    prices = [price for n in range(20) for price in prices_of(dice, f"i{n}")]
    # From 20:00 on i3 was to cost 11.90, and 119.00 was entered.
    evening = START + 44 * HOUR
    prices = [price for price in prices if not (price["item"] == "i3" and price["from"] >= evening - 2 * HOUR)]
    prices.append({"item": "i3", "from": evening, "told": evening, "price": 119.0, "cost": 7.5})
    prices.append({"item": "i3", "from": evening, "told": evening + 1.5 * HOUR, "price": 11.9, "cost": 7.5})
    orders = [order(dice) for _ in range(6_000)]
    pathlib.Path("data").mkdir(exist_ok=True)
    write("data/prices.jsonl", sorted(prices, key=lambda price: price["told"]))
    write("data/orders.jsonl", sorted(orders, key=lambda order: order["ts"]))
    print(f"{len(orders):,} orders, {len(prices)} prices of 20 items")


def prices_of(dice, item):
    """Told when they begin, or some hours before."""
    begins, price = START - 5 * HOUR, dice.randrange(40, 400) / 10
    while begins < START + 46 * HOUR:
        told = max(START - 6 * HOUR, begins - dice.choice([0, 2]) * HOUR)
        yield {"item": item, "from": begins, "told": told, "price": round(price, 1), "cost": round(price * 0.7, 2)}
        begins += dice.randrange(3, 12) * HOUR
        price *= dice.choice([0.9, 0.95, 1.05, 1.1])


def order(dice):
    ts = START + datetime.timedelta(seconds=dice.randrange(48 * 3600))
    return {"ts": ts, "item": f"i{min(dice.randrange(20), dice.randrange(20))}", "quantity": dice.choice([1, 1, 1, 2, 5])}


def write(path, records):
    shown = ({name: of.isoformat() if isinstance(of, datetime.datetime) else of for name, of in record.items()} for record in records)
    pathlib.Path(path).write_text("".join(json.dumps(record) + "\n" for record in shown))


main()
