"""Writes tables with the writers that people use, and tells what their readers read of them.

write.py BASE [ENDPOINT]    BASE: a directory, or s3://BUCKET/PREFIX at an endpoint. Prints cases as JSON: how a job names the table, the
                            version that is to be told, and its rows; or what the refusal has to say.
write.py --catalog URL      The same of Iceberg tables in a catalogue that speaks REST, which says where files lie, and by whose leave.
"""

import copy
import datetime
import io
import json
import os
import sys
import tempfile
import time

import deltalake
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType, StructType, TimestamptzType

CATALOG = sys.argv[2] if sys.argv[1] == "--catalog" else None
BASE = sys.argv[1]
ENDPOINT = sys.argv[2] if len(sys.argv) > 2 and not CATALOG else None
UTC = datetime.timezone.utc
START = datetime.datetime(2026, 1, 1, tzinfo=UTC)
#: One needs escapes in a path, one is null.
COUNTRIES = ["DE", "F R/é=%", None]
CASES = []


def rows(low, high):
    ids = range(low, high)
    return pa.table({
        "id": pa.array(ids, pa.int64()),
        "card": [None if n % 7 == 3 else f"c{n % 5}" for n in ids],
        "ts": pa.array([START + datetime.timedelta(hours=n) for n in ids], pa.timestamp("us", "UTC")),
        "country": pa.array([COUNTRIES[n % 3] for n in ids], pa.string()),
        "user": pa.array([None if n % 4 == 1 else {"name": f"u{n}", "age": n} for n in ids], pa.struct([("name", pa.string()), ("age", pa.int64())])),
    })


def case(name, history, version, table, card="card", name_of_user="name", where=None):
    found = []
    for row in table.to_pylist():
        if where is None or row["country"] == where:
            user = row["user"] and row["user"][name_of_user]
            found.append([row["id"], row[card], row["country"], user])
    CASES.append({"name": name, "history": history, "version": version, "card": card, "user": name_of_user, "where": where, "rows": sorted(found, key=lambda row: row[0])})


def refused(name, history, told):
    CASES.append({"name": name, "history": history, "told": told})


def iso(us):
    return (datetime.datetime(1970, 1, 1, tzinfo=UTC) + datetime.timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")


def delta():
    path = f"{BASE}/delta"
    options = None
    if ENDPOINT:
        options = {"AWS_ENDPOINT_URL": ENDPOINT, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "aws_conditional_put": "etag"}

    def append(low, high, **more):
        deltalake.write_deltalake(path, rows(low, high), mode="append", storage_options=options, **more)
        time.sleep(0.05)

    def at(version):
        return deltalake.DeltaTable(path, version=version, storage_options=options)

    append(0, 30, partition_by=["country"])
    append(30, 50)
    at(1).delete("id = 5 or id = 33")
    time.sleep(0.05)
    at(2).create_checkpoint()
    append(50, 60)
    at(3).optimize.compact()
    text = f'type = "delta"\npath = "{path}"'
    case("delta, the newest", text, "version 4", at(4).to_pyarrow_table())
    for version in range(4):
        case(f"delta, version {version}", f"{text}\nversion = {version}", f"version {version}", at(version).to_pyarrow_table())
    case("delta, a partition", text, "version 4", at(4).to_pyarrow_table(), where="DE")
    if not ENDPOINT:
        moment = os.stat(f"{path}/_delta_log/{1:020}.json").st_mtime_ns // 1000 + 1
        case("delta, as of", f'{text}\nas_of = "{iso(moment)}"', "version 1", at(1).to_pyarrow_table())
    refused("delta, too new", f"{text}\nversion = 5", "has no version 5: its newest is 4")


SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=False),
    NestedField(2, "card", StringType(), required=False),
    NestedField(3, "ts", TimestamptzType(), required=False),
    NestedField(4, "country", StringType(), required=False),
    NestedField(5, "user", StructType(NestedField(6, "name", StringType(), required=False), NestedField(7, "age", LongType(), required=False)), required=False),
)


def iceberg(version):
    properties = {"warehouse": BASE if "://" in BASE else f"file://{BASE}"}
    if ENDPOINT:
        properties |= {"s3.endpoint": ENDPOINT, "s3.access-key-id": "test", "s3.secret-access-key": "test", "s3.region": "us-east-1"}
    if CATALOG:
        catalog = RestCatalog("test", uri=CATALOG)
    else:
        catalog = SqlCatalog("test", uri=f"sqlite:///{tempfile.mkdtemp()}/catalog.db", **properties)
    catalog.create_namespace(f"v{version}")
    spec = PartitionSpec(PartitionField(4, 1000, IdentityTransform(), "country"), PartitionField(3, 1001, DayTransform(), "ts_day"))
    table = catalog.create_table(f"v{version}.payments", SCHEMA, partition_spec=spec, properties={"format-version": str(version)})
    what = f"iceberg {version}"
    empty = rows(0, 0)

    def text(place=None):
        if CATALOG:
            return f'type = "iceberg"\ntable = "v{version}.payments"\ncatalog = {{ url = "{CATALOG}" }}'
        place = (place or table.metadata_location).removeprefix("file://")
        return f'type = "iceberg"\nmetadata = "{place}"'

    if not CATALOG:
        case(f"{what}, nothing yet", text(), "no snapshot", empty)
    table.append(rows(0, 30))
    first = table.current_snapshot()
    table.manage_snapshots().create_tag(first.snapshot_id, "first").commit()
    table.manage_snapshots().create_branch(first.snapshot_id, "side").commit()
    time.sleep(0.01)
    table.append(rows(30, 50))
    second = table.current_snapshot()
    time.sleep(0.01)
    table.delete("id = 5 or id = 33")
    with table.update_schema() as update:
        update.rename_column("card", "card_id")
        update.rename_column(("user", "name"), "called")
    table.append(rows(50, 60).rename_columns(["id", "card_id", "ts", "country", "user"]).set_column(4, "user", pa.array(
        [user and {"called": user["name"], "age": user["age"]} for user in rows(50, 60)["user"].to_pylist()], pa.struct([("called", pa.string()), ("age", pa.int64())]))))
    newest = table.current_snapshot()

    def read(snapshot):
        return table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()

    of_today = {"card": "card_id", "name_of_user": "called"}
    case(f"{what}, the newest", text(), f"snapshot {newest.snapshot_id}", table.scan().to_arrow(), **of_today)
    case(f"{what}, main", f'{text()}\nbranch = "main"', f"snapshot {newest.snapshot_id}", table.scan().to_arrow(), **of_today)
    case(f"{what}, a partition", text(), f"snapshot {newest.snapshot_id}", table.scan().to_arrow(), where="DE", **of_today)
    case(f"{what}, a tag", f'{text()}\ntag = "first"', f"snapshot {first.snapshot_id}", read(first))
    case(f"{what}, a snapshot", f"{text()}\nsnapshot = {second.snapshot_id}", f"snapshot {second.snapshot_id}", read(second))
    case(f"{what}, as of", f'{text()}\nas_of = "{iso(second.timestamp_ms * 1000)}"', f"snapshot {second.snapshot_id}", read(second))
    refused(f"{what}, no tag", f'{text()}\ntag = "last"', "has no tag `last`: there is `first`")
    refused(f"{what}, no snapshot", f"{text()}\nsnapshot = 7", "has no snapshot 7: it may have expired")
    refused(f"{what}, too early", f'{text()}\nas_of = "2020-01-01T00:00:00Z"', "has no snapshot as old as 2020-01-01 00:00:00 UTC")
    if version == 2 and not CATALOG:
        deleted = with_deletes(table, 1)
        told = StaticTable.from_metadata(deleted, properties=properties).scan().to_arrow()
        snapshot = json.loads(read_file(table, deleted))["current-snapshot-id"]
        case(f"{what}, deleted by position", text(deleted), f"snapshot {snapshot}", told, **of_today)
        refused(f"{what}, deleted by value", text(with_deletes(table, 2)), "equality deletes")
    CASES[-1]["metadata"] = table.metadata_location


def read_file(table, path):
    with table.io.new_input(path).open() as file:
        return file.read()


def write_file(table, path, data):
    with table.io.new_output(path).create(overwrite=True) as file:
        file.write(data)


def avro(table, path):
    reader = fastavro.reader(io.BytesIO(read_file(table, path)))
    records = list(reader)
    return records, reader.writer_schema, {key: value for key, value in reader.metadata.items() if not key.startswith("avro.")}


def with_deletes(table, content):
    """A snapshot more, in which two rows of a file are deleted: as engines write that merge on read."""
    metadata = json.loads(read_file(table, table.metadata_location))
    snapshot = next(one for one in metadata["snapshots"] if one["snapshot-id"] == metadata["current-snapshot-id"])
    manifests, list_schema, list_metadata = avro(table, snapshot["manifest-list"])
    entries, schema, of_manifest = avro(table, manifests[0]["manifest_path"])
    entry = next(entry for entry in entries if entry["status"] != 2)
    directory = f"{metadata['location']}/metadata/deletes-{content}"
    file = io.BytesIO()
    ids = [pa.field("file_path", pa.string(), metadata={"PARQUET:field_id": "2147483546"}), pa.field("pos", pa.int64(), metadata={"PARQUET:field_id": "2147483545"})]
    pq.write_table(pa.table([[entry["data_file"]["file_path"]] * 2, [0, 2]], schema=pa.schema(ids)), file)
    write_file(table, f"{directory}.parquet", file.getvalue())
    sequence, number = metadata["last-sequence-number"] + 1, 1_000_000 + content
    delete = copy.deepcopy(entry)
    delete |= {"status": 1, "snapshot_id": number, "sequence_number": sequence, "file_sequence_number": sequence}
    delete["data_file"] |= {"content": content, "file_path": f"{directory}.parquet", "record_count": 2, "file_size_in_bytes": len(file.getvalue())}
    for bounds in ["column_sizes", "value_counts", "null_value_counts", "nan_value_counts", "lower_bounds", "upper_bounds", "split_offsets", "sort_order_id", "equality_ids"]:
        if bounds in delete["data_file"]:
            delete["data_file"][bounds] = [1] if content == 2 and bounds == "equality_ids" else None
    out = io.BytesIO()
    fastavro.writer(out, schema, [delete], metadata=of_manifest | {"content": "deletes"}, codec="deflate")
    write_file(table, f"{directory}-m.avro", out.getvalue())
    listed = manifests[0] | {"manifest_path": f"{directory}-m.avro", "manifest_length": len(out.getvalue()), "content": 1, "sequence_number": sequence, "min_sequence_number": sequence, "added_snapshot_id": number}
    out = io.BytesIO()
    fastavro.writer(out, list_schema, [*manifests, listed], metadata=list_metadata, codec="null")
    write_file(table, f"{directory}-list.avro", out.getvalue())
    more = snapshot | {"snapshot-id": number, "parent-snapshot-id": snapshot["snapshot-id"], "sequence-number": sequence, "manifest-list": f"{directory}-list.avro"}
    metadata["snapshots"].append(more)
    metadata |= {"current-snapshot-id": number, "last-sequence-number": sequence}
    metadata["refs"]["main"]["snapshot-id"] = number
    write_file(table, f"{directory}.metadata.json", json.dumps(metadata).encode())
    return f"{directory}.metadata.json"


if not CATALOG:
    delta()
iceberg(1)
iceberg(2)
print(json.dumps(CASES))
