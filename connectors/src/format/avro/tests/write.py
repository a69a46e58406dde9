"""Writes `written.json`: Avro records as `fastavro` writes them, and as it reads them by a reader's schema. Run it where that is installed:

    python write.py > written.json
"""

import datetime as dt
import decimal
import io
import json
import random
import uuid

import fastavro

UTC = dt.timezone.utc


def record(name, *fields):
    return {"type": "record", "name": name, "fields": [dict(zip(("name", "type", "default"), f)) for f in fields]}


def logical(of, name, **more):
    return {"type": of, "logicalType": name, **more}


USER = record("User", ("id", "long"), ("name", "string"), ("tags", {"type": "array", "items": "string"}))
ALL = record(
    "All",
    ("i", "int"), ("l", "long"), ("f", "float"), ("d", "double"), ("b", "boolean"), ("s", "string"), ("raw", "bytes"),
    ("fix", {"type": "fixed", "name": "Four", "size": 4}),
    ("color", {"type": "enum", "name": "Color", "symbols": ["RED", "GREEN", "BLUE"]}),
    ("amount", logical("bytes", "decimal", precision=18, scale=2)),
    ("fee", {"type": "fixed", "name": "Fee", "size": 9, "logicalType": "decimal", "precision": 20, "scale": 4}),
    ("day", logical("int", "date")),
    ("ms", logical("long", "timestamp-millis")), ("us", logical("long", "timestamp-micros")),
    ("tms", logical("int", "time-millis")), ("tus", logical("long", "time-micros")),
    ("id", logical("string", "uuid")),
    ("maybe", ["null", "long"], None), ("user", ["null", USER], None), ("owner", "User"),
    ("counts", {"type": "map", "values": "long"}),
    ("users", {"type": "array", "items": ["null", "User"]}),
    ("several", ["null", "int", "long", "double"]),
)
COLUMNS = ["i", "l", "f", "d", "b", "s", "color", "amount", "fee", "day", "ms", "us", "id", "maybe", "user.id", "user.name",
           "user.tags", "owner.id", "counts", "users", "several", "fix", "raw"]

CASES = [
    ("every type", ALL, None, COLUMNS),
    ("promotions",
     record("P", ("a", "int"), ("b", "int"), ("c", "long"), ("d", "float"), ("e", "string"), ("f", "bytes")),
     record("P", ("a", "long"), ("b", "double"), ("c", "float"), ("d", "double"), ("e", "bytes"), ("f", "string")),
     ["a", "b", "c", "d", "e", "f"]),
    ("defaults",
     record("D", ("a", "int")),
     record("D", ("a", "int"), ("n", ["null", "int"], None), ("s", "string", "x"), ("l", {"type": "array", "items": "long"}, [1, 2]),
            ("u", record("U", ("id", "long", 7), ("m", {"type": "map", "values": "int"}, {"k": 1})), {"id": 7, "m": {"k": 1}}), ("d", "double", 1.5)),
     ["a", "n", "s", "l", "u.id", "u.m", "d"]),
    ("fewer and reordered",
     record("F", ("x", "string"), ("in", record("In", ("p", "int"), ("q", "string"), ("r", "long"))), ("y", "int")),
     record("F", ("y", "int"), ("in", record("In", ("r", "long"), ("p", "int")))),
     ["y", "in.r", "in.p"]),
    ("null or not",
     record("N", ("a", "int"), ("b", ["null", "int"])),
     record("N", ("a", ["null", "long"]), ("b", ["string", "long", "null"])),
     ["a"]),
]


def value(schema, names, rng):
    if isinstance(schema, list):
        return value(rng.choice(schema), names, rng)
    if isinstance(schema, str):
        schema = names.get(schema, {"type": schema})
    of, is_a = schema["type"], schema.get("logicalType")
    if isinstance(of, dict):
        return value(of, names, rng)
    if is_a == "decimal":
        digits = rng.randint(0, schema["precision"])
        return decimal.Decimal(rng.randint(-(10**digits) + 1, 10**digits - 1)).scaleb(-schema["scale"])
    if is_a == "date":
        return dt.date(1970, 1, 1) + dt.timedelta(days=rng.randint(-100_000, 100_000))
    if is_a in ("timestamp-millis", "timestamp-micros"):
        step = 1000 if is_a.endswith("millis") else 1
        return dt.datetime(1970, 1, 1, tzinfo=UTC) + dt.timedelta(microseconds=rng.randint(-(10**13), 10**13) * 1000 // step * step)
    if is_a in ("time-millis", "time-micros"):
        us = rng.randint(0, 86_399_999) * 1000
        return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=us)).time()
    if is_a == "uuid":
        return uuid.UUID(int=rng.getrandbits(128))
    match of:
        case "null":
            return None
        case "boolean":
            return rng.random() < 0.5
        case "int":
            return rng.choice([0, -1, 2**31 - 1, -(2**31), rng.randint(-1000, 1000)])
        case "long":
            return rng.choice([0, -1, 2**63 - 1, -(2**63), rng.randint(-(10**12), 10**12)])
        case "float" | "double":
            return rng.choice([0.0, 1.5, -2.25, 1e10, float(rng.randint(-100, 100)) / 8])
        case "string":
            return rng.choice(["", "a", "é\"\\\n", "\U0001f600", "x" * 100])
        case "bytes":
            return rng.choice([b"", b"abc", "é".encode()])
        case "fixed":
            return bytes(rng.choice(b"abcd") for _ in range(schema["size"]))
        case "enum":
            return rng.choice(schema["symbols"])
        case "array":
            return [value(schema["items"], names, rng) for _ in range(rng.randint(0, 3))]
        case "map":
            return {k: value(schema["values"], names, rng) for k in sorted(rng.sample("abcdé", rng.randint(0, 3)))}
        case "record":
            names[schema["name"]] = schema
            return {f["name"]: value(f["type"], names, rng) for f in schema["fields"]}
    raise ValueError(schema)


def plain(of):
    """A value as JSON, as Headwater writes it."""
    match of:
        case decimal.Decimal():
            return str(of) if of else f"{of:f}"
        case dt.datetime():
            us = (of - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1)
            digits = "" if us % 10**6 == 0 else f".{us // 1000 % 1000:03}" if us % 1000 == 0 else f".{us % 10**6:06}"
            return of.strftime("%4Y-%m-%dT%H:%M:%S") + digits + "Z"
        case dt.date() | dt.time():
            return of.isoformat()
        case uuid.UUID():
            return str(of)
        case bytes():
            return of.decode()
        case dict():
            return {k: plain(v) for k, v in of.items()}
        case list():
            return [plain(v) for v in of]
    return of


def at(of, path):
    for name in path.split("."):
        of = None if of is None else of[name]
    return of


def main():
    out = []
    for name, writer, reader, columns in CASES:
        rng, records = random.Random(name), []
        for _ in range(20):
            written = io.BytesIO()
            fastavro.schemaless_writer(written, fastavro.parse_schema(writer), value(writer, {"User": USER}, rng))
            data = written.getvalue()
            of_reader = fastavro.parse_schema(reader) if reader else None
            read = fastavro.schemaless_reader(io.BytesIO(data), fastavro.parse_schema(writer), of_reader)
            records.append({"bytes": data.hex(), "values": [plain(at(read, path)) for path in columns]})
        out.append({"name": name, "writer": writer, "reader": reader, "columns": columns, "records": records})
    print(json.dumps(out, ensure_ascii=False).replace('{"bytes"', '\n{"bytes"'))


main()
