"""A day of payments, the same every time. Most cards are paid with from a device of their own; some share one, as families do. From 14:00 on
somebody pays with stolen cards from a handful of devices, a few payments a card, and is done by 16:00.

    data/payments.jsonl
"""

import datetime
import json
import pathlib
import random

START = datetime.datetime(2026, 6, 1, tzinfo=datetime.timezone.utc)
STOLEN = [f"x{n:02}" for n in range(12)]


def main():
    dice = random.Random(7)
    payments = [everyday(dice) for _ in range(4_000)]
    payments += [fraud(n) for n in range(36)]
    # It is midnight.
    payments.append({"ts": START + datetime.timedelta(days=1), "card": "c0", "device": "d0", "amount": 1.0})
    pathlib.Path("data").mkdir(exist_ok=True)
    payments.sort(key=lambda payment: payment["ts"])
    lines = (json.dumps(payment | {"ts": payment["ts"].isoformat()}) + "\n" for payment in payments)
    pathlib.Path("data/payments.jsonl").write_text("".join(lines))
    print(f"{len(payments):,} payments")


def everyday(dice):
    ts = START + datetime.timedelta(seconds=dice.randrange(24 * 3600))
    card = dice.randrange(300)
    # One in ten is paid from the device of the family, which has up to three cards.
    device = card // 3 * 3 if dice.randrange(10) == 0 else card
    return {"ts": ts, "card": f"c{card}", "device": f"d{device}", "amount": dice.randrange(100, 9000) / 100}


def fraud(n):
    """One every three minutes and twenty seconds. Each card goes from its device to the next one, and so ties them together."""
    ts = START + datetime.timedelta(hours=14, seconds=200 * n)
    card = n // 3
    return {"ts": ts, "card": STOLEN[card], "device": f"e{(card + n % 3) // 3}", "amount": 49.0}


main()
