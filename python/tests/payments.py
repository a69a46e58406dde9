"""Payments, as the tests make them."""

import datetime
import os
from pathlib import Path

import pyarrow

#: Of the repository.
ROOT = Path(os.environ.get("HEADWATER_ROOT", Path(__file__).parents[2]))
START = datetime.datetime(2026, 1, 5, tzinfo=datetime.timezone.utc)


def at(minutes):
    return START + datetime.timedelta(minutes=minutes)


def payments(count, cards=7):
    """A payment a minute."""
    return pyarrow.table(
        {
            "card_id": [f"c{n % cards}" for n in range(count)],
            "ts": pyarrow.array([at(n) for n in range(count)], pyarrow.timestamp("us", "UTC")),
            "amount": [float(n % 50) for n in range(count)],
            "country": [("US", "DE", "FR")[n % 3] for n in range(count)],
        }
    )
