"""Blocks of documents: each with its kind; and a piece of a job, made a whole one."""

import re

from payments import ROOT

from headwater import _native

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")])


def blocks(document):
    return BLOCK.findall((ROOT / document).read_text())


def shown(kind):
    return [(document, text) for document in DOCUMENTS for of, text in blocks(document) if of == kind]


#: The columns of the sources that documents name.
SCHEMAS = {
    "transactions": "ts = 'timestamp', event_id = 'string', card_id = 'string', device = 'string', status = 'string', country = 'string', amount = 'float64'",
    "payments": "ts = 'timestamp', card = 'string', card_id = 'string', device = 'string', merchant_id = 'string', amount = 'int64'",
    "orders": "ts = 'timestamp', email = 'string', rate = 'float64', status = 'string', items = 'list<struct<sku: string, price: float64, count: int64>>'",
}
TABLE = """
[tables.merchants]
key = "merchant_id"
schema = { merchant_id = "string", rate = "int64", owner = "string" }
history = { type = "jsonl", path = "shown.jsonl" }
"""
FEATURES_FILE = "CREATE FEATURES card_activity AS SELECT card_id, COUNT(*) FILTER (WHERE ts > NOW() - INTERVAL '1 hour') AS tx_1h FROM transactions GROUP BY card_id;"


def put(text, section, lines):
    """More keys of a section, under its header if that is there."""
    header = f"[{section}]\n"
    added = "".join(f"{line}\n" for line in lines)
    if not added or re.search(rf"^{re.escape(header)}", text, re.MULTILINE):
        return text.replace(header, header + added, 1)
    return f"{text}\n{header}{added}"


def whole_source(text, name, source):
    lines, stream, history = [], source.get("stream"), source.get("history")
    by_id = source.get("seam", {}).get("by") == "id"
    if "event_time" not in source:
        lines.append('event_time = "ts"')
    if stream is None and (history is None or by_id):
        lines.append('stream = { type = "jsonl", path = "shown.jsonl" }')
    if history is None and by_id:
        lines.append('history = { type = "jsonl", path = "shown.jsonl" }')
    if stream and history and "seam" not in source:
        lines.append("seam = { allow_gap = true }")
    has_types = (history or {}).get("type") in ("parquet", "delta", "iceberg") or (stream or {}).get("format") in ("avro", "protobuf")
    if "schema" not in source and not has_types:
        lines.append(f"schema = {{ {SCHEMAS[name]} }}")
    if stream is not None and "type" not in stream:
        text = put(text, f"sources.{name}.stream", ['type = "kafka"', 'brokers = "localhost:9092"', 'topic = "shown"'])
    return put(text, f"sources.{name}", lines)


def whole_group(text, name, group):
    if "sql" in group:
        return text
    lines = []
    if "source" not in group:
        lines.append('source = "transactions"')
    if "key" not in group:
        lines.append('key = ["card_id", "device"]')
    if "columns" not in group:
        lines.append('columns = { tx = { agg = "count", windows = ["1h", "30d"] } }')
    return put(text, f"features.{name}", lines)


def whole(text):
    """A job that has a piece of one. A file `features.sql` is beside it, and `shown.jsonl`."""
    keys = _native.parse_toml(text)
    if all(isinstance(of, dict) and "agg" in of for of in keys.values()):
        text = "[features.card_activity.columns]\n" + text
        keys = _native.parse_toml(text)
    groups = keys.get("features", {})
    # What people should know of a group of a `features_file`.
    if any("owner" in group and "key" not in group for group in groups.values()) and "features_file" not in keys:
        text, keys["features_file"], groups = 'features_file = "features.sql"\n' + text, "features.sql", {}
    read = [group.get("source") or re.search(r"FROM (\w+)", group["sql"])[1] for group in groups.values() if "source" in group or "sql" in group]
    sources = {name: {} for name in read} | keys.get("sources", {}) or {"transactions": {}}
    if any("source" not in group and "sql" not in group for group in groups.values()) or "features_file" in keys:
        sources.setdefault("transactions", {})
    for name, source in sources.items():
        text = whole_source(text, name, source)
    if not groups and "features_file" not in keys:
        name, source = next(iter(sources.items()))
        is_key = lambda of: of == "string" or of.startswith("int")
        types = source.get("schema", {}).items() if isinstance(source.get("schema"), dict) else ()
        key = next((column for column, of in types if is_key(of)), "card_id")
        text = put(text, "features.shown", [f'source = "{name}"', f'key = "{key}"', 'columns = { n = { agg = "count", window = "1h" } }'])
    for name, group in groups.items():
        text = whole_group(text, name, group)
    for name, view in keys.get("views", {}).items():
        missing = [] if "sql" in view else ['key = "card_id"', 'sql = "SELECT card_id, spent_1h FROM cards"']
        text = put(text, f"views.{name}", missing)
    if re.search(r"JOIN merchants|table = \"merchants\"", text) and "[tables.merchants]" not in text:
        text += TABLE
    if "FROM ring" in text:
        text += '[features.used]\nsource = "transactions"\nkey = ["card_id", "device"]\ncolumns = { n = { agg = "count", window = "6h" } }\n'
        text += '[links.ring]\nfrom = "used"\nentity = "card_id"\nshared = "device"\n'
    if str(keys.get("state", {}).get("path")).startswith("s3:") and "sinks" not in keys:
        text += '[sinks.shown]\ntype = "jsonl"\npath = "changes.jsonl"\n'
    return text if "name" in keys else 'name = "shown"\n' + text
