"""Makes the files beside it: `pip install fastavro cramjam backports.zstd`, then `python make.py`."""

import datetime
import decimal
import pathlib

import fastavro

HERE = pathlib.Path(__file__).parent
UTC = datetime.timezone.utc
SCHEMA = {
    "type": "record",
    "name": "Payment",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "card", "type": ["null", "string"]},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["IN", "OUT"]}},
        {"name": "user", "type": ["null", {"type": "record", "name": "User", "fields": [
            {"name": "name", "type": "string"}, {"name": "age", "type": "int"}]}]},
        {"name": "items", "type": {"type": "array", "items": {"type": "record", "name": "Item", "fields": [
            {"name": "sku", "type": "string"}, {"name": "count", "type": "int"}]}}},
        {"name": "labels", "type": {"type": "map", "values": "double"}},
        {"name": "spare", "type": {"type": "fixed", "name": "Spare", "size": 4}},
    ],
}


def payment(n):
    return {
        "id": n,
        "card": None if n % 7 == 3 else f"c{n % 5}",
        "amount": decimal.Decimal(n * 25 - 1000) / 100,
        "at": datetime.datetime(2026, 1, 1, tzinfo=UTC) + datetime.timedelta(seconds=n, milliseconds=1),
        "kind": ["IN", "OUT"][n % 2],
        "user": None if n % 4 == 1 else {"name": f"u{n}", "age": n},
        "items": [{"sku": f"s{i}", "count": i} for i in range(n % 3)],
        "labels": {"x": n / 2},
        "spare": bytes([n % 256] * 4),
    }


for codec in ["null", "deflate", "snappy", "zstandard"]:
    with open(HERE / f"{codec}.avro", "wb") as out:
        fastavro.writer(out, SCHEMA, (payment(n) for n in range(300)), codec=codec, sync_interval=2000, sync_marker=b"0123456789abcdef")
# A later schema: a wider number, a field more, one less.
later = {"type": "record", "name": "Payment", "fields": [{"name": "id", "type": "int"}, {"name": "country", "type": "string"}]}
with open(HERE / "later.avro", "wb") as out:
    fastavro.writer(out, later, [{"id": 300, "country": "DE"}, {"id": 301, "country": "FR"}], sync_marker=b"0123456789abcdef")
with open(HERE / "empty.avro", "wb") as out:
    fastavro.writer(out, later, [], sync_marker=b"0123456789abcdef")
for codec in ["bzip2", "xz"]:
    with open(HERE / f"{codec}.avro", "wb") as out:
        fastavro.writer(out, later, [{"id": 1, "country": "DE"}], codec=codec, sync_marker=b"0123456789abcdef")
