"""Writes `written.json`: records of `every.proto` as Google's library writes them. Run it where `grpcio-tools` is installed:

    python write.py > written.json
"""

import datetime as dt
import json
import pathlib
import random
import sys
import tempfile

from grpc_tools import protoc

COLUMNS = ["i32", "i64", "u32", "u64", "s32", "s64", "f32", "f64", "sf32", "sf64", "f", "d", "b", "s", "raw", "color", "at", "maybe",
           "text", "opt", "user.id", "user.name", "user.since", "numbers", "tags", "users", "counts", "by_id", "a", "z", "who.id", "unpacked"]

HERE = pathlib.Path(__file__).parent


def time(of):
    us = of.seconds * 10**6 + of.nanos // 1000
    at = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=us)
    digits = "" if us % 10**6 == 0 else f".{us // 1000 % 1000:03}" if us % 1000 == 0 else f".{us % 10**6:06}"
    return at.strftime("%4Y-%m-%dT%H:%M:%S") + digits + "Z"


def user(of):
    name = of.name if of.HasField("name") else None
    colors = [["NONE", "RED", "GREEN"][c] for c in of.colors]
    return {"id": of.id, "name": name, "colors": colors, "since": time(of.since) if of.HasField("since") else None}


def value(of, path):
    match path:
        case "color":
            return ["NONE", "RED", "GREEN"][of.color]
        case "raw":
            return of.raw.decode()
        case "at":
            return time(of.at) if of.HasField("at") else None
        case "maybe" | "text":
            return getattr(of, path).value if of.HasField(path) else None
        case "opt" | "a" | "z":
            return getattr(of, path) if of.HasField(path) else None
        case "user.id" | "user.name" | "user.since":
            return user(of.user)[path[5:]] if of.HasField("user") else None
        case "who.id":
            return of.who.id if of.HasField("who") else None
        case "numbers" | "tags" | "unpacked":
            return list(getattr(of, path))
        case "users":
            return [user(one) for one in of.users]
        case "counts":
            return dict(of.counts)
        case "by_id":
            return {str(key): user(one) for key, one in of.by_id.items()}
    return getattr(of, path)


def fill(of, rng):
    some = lambda: rng.random() < 0.7  # noqa: E731
    for name, bits in (("i32", 32), ("i64", 64), ("s32", 32), ("s64", 64), ("sf32", 32), ("sf64", 64)):
        if some():
            setattr(of, name, rng.choice([0, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), rng.randint(-1000, 1000)]))
    for name, bits in (("u32", 32), ("u64", 64), ("f32", 32), ("f64", 64)):
        if some():
            setattr(of, name, rng.choice([0, 1, 2**bits - 1, rng.randint(0, 1000)]))
    if some():
        of.f, of.d = rng.randint(-100, 100) / 8, rng.choice([0.0, -0.5, 1e300, 0.1])
    if some():
        of.b, of.s, of.raw = True, rng.choice(["", "é\"\n", "x" * 200]), rng.choice([b"", b"abc"])
    if some():
        of.color = rng.randint(0, 2)
        of.at.seconds, of.at.nanos = rng.randint(-(10**9), 10**10), rng.choice([0, 5_000_000, 999_999_999])
    if some():
        of.maybe.value, of.text.value = rng.choice([0, 7]), rng.choice(["", "a"])
    if some():
        of.opt = rng.choice([0, 5])
    people = [of.user] if some() else []
    people += [of.users.add() for _ in range(rng.randint(0, 2))] + [of.by_id[n] for n in rng.sample(range(-2, 3), rng.randint(0, 2))]
    match rng.randint(0, 3):
        case 0:
            of.a = rng.choice([0, 9])
        case 1:
            of.z = rng.choice(["", "z"])
        case 2:
            people.append(of.who)
            of.who.SetInParent()
    for one in people:
        one.id = rng.randint(0, 3)
        if some():
            one.name = rng.choice(["", "n"])
        one.colors.extend(rng.randint(0, 2) for _ in range(rng.randint(0, 3)))
        if some():
            one.since.seconds = rng.randint(0, 10**9)
    of.numbers.extend(rng.randint(-300, 300) for _ in range(rng.randint(0, 3)))
    of.tags.extend(rng.choice(["", "t", "ü"]) for _ in range(rng.randint(0, 3)))
    of.unpacked.extend(rng.randint(-8, 8) / 2 for _ in range(rng.randint(0, 3)))
    for key in rng.sample(["", "k", "é"], rng.randint(0, 3)):
        of.counts[key] = rng.randint(-5, 5)
    if some():
        of.next.i32 = 1


def main():
    with tempfile.TemporaryDirectory() as out:
        protoc.main(["protoc", f"-I{HERE}", f"-I{pathlib.Path(protoc.__file__).parent / '_proto'}", f"--python_out={out}", "every.proto"])
        sys.path.insert(0, out)
        import every_pb2  # noqa: PLC0415

        rng, records = random.Random(1), []
        for _ in range(60):
            of = every_pb2.Every()
            fill(of, rng)
            records.append({"bytes": of.SerializeToString().hex(), "values": [value(of, path) for path in COLUMNS]})
    print(json.dumps({"columns": COLUMNS, "records": records}, ensure_ascii=False).replace('{"bytes"', '\n{"bytes"'))


main()
