//! Inputs as others have them: directories, packed files, nested columns, values spelled loosely.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int64Type};

use crate::support::{headwater_in as headwater, reasons_of_dead_letters, texts, times, write_columns as write};

/// 2026-01-01T12:00:00Z
const NOON: i64 = 1_767_268_800_000_000;

/// The rows of group `f`, once the job has run: `{key}: {row}`.
fn rows_of(dir: &Path, job: &str) -> String {
    std::fs::write(dir.join("job.toml"), job).unwrap();
    let ran = headwater(dir, &["run", "job.toml", "--until-end", "--fresh"]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    rows(dir)
}

fn rows(dir: &Path) -> String {
    let ran = headwater(dir, &["export", "job.toml", "f"]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    let row = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        format!("{} {}", line["key"], line["row"])
    };
    ran.told.lines().map(row).collect::<Vec<_>>().join("; ")
}

fn dead_letters(dir: &Path) -> Vec<String> {
    reasons_of_dead_letters(dir, "inputs")
}

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // As stored: no compressor is at hand here, and a reader does not mind.
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()));
    }
    let length = u16::try_from(bytes.len()).unwrap();
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    packed.extend(length.to_le_bytes().into_iter().chain((!length).to_le_bytes()));
    packed.extend_from_slice(bytes);
    packed.extend((!crc).to_le_bytes().into_iter().chain(u32::from(length).to_le_bytes()));
    packed
}

const LINES: &str = r#"
name = "inputs"
tick = "1s"
[sources.e]
event_time = "ts"
schema = { ts = "timestamp", k = "string", x = "int64" }
[sources.e.SIDE]
type = "jsonl"
path = "PATH"
[features.f]
source = "e"
key = "k"
columns = { x = { agg = "sum", of = "x", window = "all" } }
"#;

fn line(x: i64) -> String {
    format!("{{\"ts\":\"2026-01-01T10:00:0{}Z\",\"k\":\"a\",\"x\":{x}}}\n", x % 10)
}

#[test]
fn a_directory_and_packed_files() {
    for side in ["history", "stream"] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::create_dir_all(dir.join("in/more/_temporary")).unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(dir.join("in").join(name), bytes).unwrap();
        put("a.jsonl", line(1).as_bytes());
        put("b.jsonl.gz", &[gzip(line(2).as_bytes()), gzip(line(4).as_bytes())].concat());
        put("more/c.jsonl", line(8).as_bytes());
        put("more/_temporary/d.jsonl", line(16).as_bytes());
        put("_SUCCESS", b"");
        put(".a.jsonl.crc", b"nonsense");
        let job = |path: &str| LINES.replace("SIDE", side).replace("PATH", path);
        for (path, sum) in [("in", 15), ("in/*", 7), ("in/**", 15), ("in/{a,b}.jsonl*", 7), ("./in/../in/more", 8)] {
            assert_eq!(rows_of(dir, &job(path)), format!("{{\"k\":\"a\"}} {{\"x\":{sum}}}"), "{path} as {side}");
        }
        assert_eq!(dead_letters(dir), [""; 0]);
        // What is cut short is told before anything is published.
        let whole = gzip(line(2).as_bytes());
        put("b.jsonl.gz", &whole[..whole.len() - 5]);
        std::fs::write(dir.join("job.toml"), job("in")).unwrap();
        let ran = headwater(dir, &["run", "job.toml", "--until-end", "--fresh"]);
        assert_eq!(ran.code, Some(1), "{}", ran.told);
        assert!(ran.told.contains("in/b.jsonl.gz: it is no whole gzip file: "), "{}", ran.told);
    }
}

#[test]
fn directories_are_columns_and_prune() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (day, country, x) in [(1, "de", 1), (1, "fr", 2), (2, "de", 4), (2, "__HIVE_DEFAULT_PARTITION__", 8)] {
        let path = dir.join(format!("h/dt=2026-01-0{day}/country={country}/p.parquet"));
        let file_says = texts(&["file"; 2]);
        write(&path, &[("ts", times(&[NOON, NOON + 1])), ("x", longs(&[x, x])), ("country", file_says)]);
    }
    let job = |filter: &str| {
        format!(
            "name = \"inputs\"\ntick = \"1s\"\n[sources.e]\nevent_time = \"ts\"\n[sources.e.history]\ntype = \"parquet\"\n\
             path = \"h\"\npartitions = {{ dt = \"date\", country = \"string\" }}\n[features.f]\nsource = \"e\"\n\
             key = \"country\"\n{filter}\ncolumns = {{ x = {{ agg = \"sum\", of = \"x\", window = \"all\" }}, \
             d = {{ agg = \"max\", of = \"dt\", window = \"all\" }} }}\n"
        )
    };
    let all =
        "{\"country\":\"de\"} {\"d\":\"2026-01-02\",\"x\":10}; {\"country\":\"fr\"} {\"d\":\"2026-01-01\",\"x\":4}";
    assert_eq!(rows_of(dir, &job("")), all);
    assert_eq!(dead_letters(dir), ["null key"; 2]);
    // A file that no group takes anything of is not read: its pages may be what they like.
    let path = dir.join("h/dt=2026-01-01/country=fr/p.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4..60].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let second = "{\"country\":\"de\"} {\"d\":\"2026-01-02\",\"x\":8}";
    assert_eq!(rows_of(dir, &job("where = \"dt = DATE '2026-01-02' AND country IS NOT NULL\"")), second);
    assert_eq!(dead_letters(dir), [""; 0]);
    let ran = headwater(dir, &["run", "job.toml", "--fresh"]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    std::fs::write(dir.join("job.toml"), job("where = \"x > 3\"")).unwrap();
    let ran = headwater(dir, &["run", "job.toml", "--fresh"]);
    assert!(ran.code == Some(1) && ran.told.contains("country=fr/p.parquet"), "{}", ran.told);
    std::fs::write(dir.join("job.toml"), job("").replace("dt = \"date\"", "dt = \"int64\"")).unwrap();
    let ran = headwater(dir, &["check", "job.toml"]);
    assert!(ran.code == Some(2) && ran.told.contains("`dt=2026-01-01` is no Int64"), "{}", ran.told);
}

/// The same two events in Parquet and in JSON lines.
fn nested(dir: &Path) {
    let fields = |fields: Vec<(&str, ArrayRef)>| -> ArrayRef {
        let (names, columns): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
        let fields = names.iter().zip(&columns).map(|(n, c)| Field::new(*n, c.data_type().clone(), true));
        Arc::new(StructArray::new(fields.collect::<Fields>(), columns, None))
    };
    let list = |values: ArrayRef, lengths: [usize; 3]| -> ArrayRef {
        let item = Arc::new(Field::new("element", values.data_type().clone(), true));
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), values, None))
    };
    let user = fields(vec![
        ("id", Arc::new(Int64Array::from(vec![Some(7), Some(7), None]))),
        ("a.b", texts(&["x", "y", "z"])),
    ]);
    let items =
        fields(vec![("sku", texts(&["s1", "s2", "s1"])), ("price", Arc::new(Float64Array::from(vec![1.5, 2.0, 4.0])))]);
    let payload = fields(vec![
        ("ts", times(&[NOON, NOON + 1_000_000, NOON])),
        ("user", user),
        ("items", list(items, [2, 1, 0])),
        ("other", Arc::new(BinaryArray::from(vec![&b"\xff"[..]; 3]))),
    ]);
    let tags =
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(3), Some(4)]), Some(vec![]), None]));
    let mut attributes = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for value in [Some(5), None, Some(6)] {
        if let Some(value) = value {
            attributes.keys().append_value("n");
            attributes.values().append_value(value);
        }
        attributes.append(true).unwrap();
    }
    let columns: [(&str, ArrayRef); 3] =
        [("payload", payload), ("tags", tags), ("attributes", Arc::new(attributes.finish()))];
    write(&dir.join("h/a.parquet"), &columns);
    let json = [
        r#"{"payload":{"ts":"2026-01-01T12:00:00Z","user":{"id":7,"a.b":"x"},"items":[{"sku":"s1","price":1.5},{"price":2.0,"sku":"s2"}],"other":{}},"tags":[3,4],"attributes":{"n":5}}"#,
        r#"{"attributes":{},"payload":{"ts":"2026-01-01T12:00:01Z","user":{"a.b":"y","id":7},"items":[{"sku":"s1","price":4}]},"tags":[]}"#,
        r#"{"payload":{"ts":"2026-01-01T12:00:00Z","user":{"id":null,"a.b":"z"},"items":[]},"attributes":{"n":6}}"#,
    ];
    let mut file = File::create(dir.join("s.jsonl")).unwrap();
    json.iter().for_each(|line| writeln!(file, "{line}").unwrap());
}

const SCHEMA: &str = r#"
[sources.e.schema]
"payload.ts" = "timestamp"
payload.user.id = "int64"
'payload.user."a.b"' = "string"
"payload.items" = "list<struct<sku: string, price: float64>>"
tags = "list<int64>"
attributes = "map<string, int64>"
"#;

/// A job over the nested events, of a history in Parquet and of a stream in JSON.
fn jobs_over_nested(group: &str) -> [String; 2] {
    let job = |source: &str| {
        format!("name = \"inputs\"\ntick = \"1s\"\n[sources.e]\n{source}\n[features.f]\nsource = \"e\"\n{group}\n")
    };
    [
        job("event_time = \"payload.ts\"\nhistory = { type = \"parquet\", path = \"h/*.parquet\" }"),
        job(&format!("event_time = \"payload.ts\"\nstream = {{ type = \"jsonl\", path = \"s.jsonl\" }}\n{SCHEMA}")),
    ]
}

/// Rows, and the reasons of dead letters; of Parquet and of JSON alike.
#[test]
fn nested_fields_in_parquet_and_json() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    nested(dir);
    let tables: &[(&str, &str, &[&str])] = &[
        (
            r#"key = "payload.user.id"
               columns = { n = { agg = "count", window = "all" }, l = { agg = "last", of = "payload.user.\"a.b\"", window = "all" } }"#,
            r#"{"id":7} {"l":"y","n":2}"#,
            &["null key"],
        ),
        (
            r#"key = { who = "coalesce(payload.user.id, -1)", "of" = "upper(payload.user.\"a.b\")" }
               where = "payload.user.id IS NOT NULL"
               columns = { t = { agg = "sum", of = "tags[1] + array_length(tags)", window = "all" }, a = { agg = "sum", of = "attributes['n']", window = "all" }, c = { agg = "count", of = "nullif(array_contains(tags, 4), FALSE)", window = "all" } }"#,
            r#"{"of":"X","who":7} {"a":5,"c":1,"t":5}; {"of":"Y","who":7} {"a":null,"c":0,"t":null}"#,
            &[],
        ),
        (
            r#"key = "item.sku"
               explode = "payload.items"
               where = "item.price > 1.6 OR payload.user.\"a.b\" = 'x'"
               columns = { n = { agg = "count", window = "all" }, p = { agg = "sum", of = "item.price", window = "all" } }"#,
            r#"{"sku":"s1"} {"n":2,"p":5.5}; {"sku":"s2"} {"n":1,"p":2.0}"#,
            &[],
        ),
    ];
    for (group, expected, letters) in tables {
        for job in jobs_over_nested(group) {
            assert_eq!(rows_of(dir, &job), *expected, "{job}");
            assert_eq!(dead_letters(dir), *letters, "{job}");
        }
    }
    for (group, told) in [
        ("key = \"payload.usr.id\"", "`payload` of source `e` has no field `usr`: did you mean `user`?"),
        ("key = \"payload.user\"", "is of type struct<id: int64, a.b: string>: a key must be"),
        (
            "key = \"payload.user.id\"\nwhere = \"payload.user.idd > 1\"",
            "`payload.user` has no field `idd`, did you mean `id`?",
        ),
        ("key = \"payload.user.id\"\nexplode = \"payload.user\"", "only a list can be exploded"),
        ("key = { k = \"tags\" }", "an expression of type List(Int64) is not supported"),
    ] {
        let group = format!("{group}\ncolumns = {{ n = {{ agg = \"count\", window = \"all\" }} }}");
        for job in jobs_over_nested(&group) {
            std::fs::write(dir.join("job.toml"), &job).unwrap();
            let ran = headwater(dir, &["check", "job.toml"]);
            assert!(ran.code == Some(2) && ran.told.contains(told), "{}", ran.told);
        }
    }
}

/// What does not decode fails what names it, and nothing else.
#[test]
fn nested_fields_that_do_not_decode() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let lines = [
        r#"{"t":1,"a":{"b":1,"l":[1,2]}}"#,
        r#"{"t":2,"a":{"b":"no","l":[1,"no"]}}"#,
        r#"{"t":3,"a":"no"}"#,
        r#"{"t":4,"a":null}"#,
        r#"{"t":5,"a":{"b":1},"a":{}}"#,
    ];
    std::fs::write(dir.join("s.jsonl"), lines.join("\n")).unwrap();
    let job = "name = \"inputs\"\ntick = \"1s\"\n[sources.e]\nevent_time = \"t\"\nschema = { t = \"int64\", a.b = \"int64\", a.l = \"list<int64>\" }\n\
        stream = { type = \"jsonl\", path = \"s.jsonl\" }\n[features.f]\nsource = \"e\"\nkey = { k = \"1\" }\n\
        columns = { n = { agg = \"count\", window = \"all\" }, b = { agg = \"sum\", of = \"a.b\", window = \"all\" }, l = { agg = \"sum\", of = \"a.l[2]\", window = \"all\" } }\n";
    assert_eq!(rows_of(dir, job), r#"{"k":1} {"b":1,"l":2,"n":5}"#);
    assert_eq!(dead_letters(dir), ["expression"; 2]);
    let exploded = job.replace("key =", "explode = \"a.l\"\nkey =").replace("a.l[2]", "item");
    assert_eq!(rows_of(dir, &exploded), r#"{"k":1} {"b":2,"l":3,"n":2}"#);
    assert_eq!(dead_letters(dir), ["expression"; 2]);
    // A field of an element harms nobody who does not name it.
    let lines = [
        r#"{"t":1,"a":{"b":1,"l":[{"x":1,"y":2},{"x":4,"y":8}]}}"#,
        r#"{"t":2,"a":{"b":1,"l":[{"x":16,"y":"no"},null]}}"#,
        r#"{"t":3,"a":{"b":1,"l":[{"x":16},"no"]}}"#,
    ];
    std::fs::write(dir.join("s.jsonl"), lines.join("\n")).unwrap();
    let by_field = exploded.replace("list<int64>", "list<struct<x: int64, y: int64, z: int64>>");
    let by_field = by_field.replace("\"a.b\", window", "\"item.x\", window").replace("\"item\"", "\"item.y\"");
    assert_eq!(rows_of(dir, &by_field), r#"{"k":1} {"b":21,"l":10,"n":4}"#);
    assert_eq!(dead_letters(dir), ["expression"; 2]);
}

/// Two sources whose column `u` has other fields in each.
const TWO: &str = r#"
name = "inputs"
tick = "1s"
[sources.a]
event_time = "ts"
schema = { ts = "timestamp", "u.id" = "int64", "u.name" = "string", x = "int64" }
history = { type = "jsonl", path = "a.jsonl" }
[sources.b]
event_time = "to_timestamp_millis(t.at)"
schema = { "t.at" = "int64", "u.id" = "int64", "u.level" = "int64", "u.more.z" = "int64", l = "list<int64>" }
history = { type = "jsonl", path = "b.jsonl" }
[features.f]
source = ["a", "b"]
KEYS
[features.f.columns]
level = { agg = "max", of = "u.level", window = "all" }
n = { agg = "count", window = "all" }
nameless = { agg = "count", where = "u.name is null", window = "all" }
x = { agg = "sum", of = "x + coalesce(u.more.z, 0)", where = "u.id > 0", window = "all" }
"#;

#[test]
fn keys_over_several_sources() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let a = |name: &str, x: i64| {
        format!("{{\"ts\":\"2026-01-01T10:00:00Z\",\"u\":{{\"id\":1,\"name\":{name}}},\"x\":{x}}}\n")
    };
    let b = |level: &str| {
        let at = NOON / 1000;
        format!("{{\"t\":{{\"at\":{at}}},\"u\":{{\"id\":1,\"level\":{level},\"more\":{{\"z\":8}}}},\"l\":[1]}}\n")
    };
    std::fs::write(dir.join("a.jsonl"), a("\"Ann\"", 1) + &a("\"ann\"", 2) + &a("null", 4) + &a("[]", 8)).unwrap();
    std::fs::write(dir.join("b.jsonl"), b("3") + &b("5") + &b("\"high\"")).unwrap();
    for (keys, expected) in [
        ("key = \"u.id\"", r#"{"id":1} {"level":5,"n":7,"nameless":4,"x":15}"#),
        (
            "key = { who = \"coalesce(lower(u.name), 'nobody')\" }",
            r#"{"who":"ann"} {"level":null,"n":2,"nameless":0,"x":3}; {"who":"nobody"} {"level":5,"n":4,"nameless":4,"x":4}"#,
        ),
        (
            "key = [\"u.id\", \"u.name\"]\nwhere = \"u.level is null\"",
            r#"{"id":1,"name":"Ann"} {"level":null,"n":1,"nameless":0,"x":1}; {"id":1,"name":"ann"} {"level":null,"n":1,"nameless":0,"x":2}"#,
        ),
    ] {
        assert_eq!(rows_of(dir, &TWO.replace("KEYS", keys)), expected, "{keys}");
    }
    for (keys, expected) in [
        ("key = \"u.id\"\nexplode = \"l\"", "15:11: error: a group over several sources explodes no list"),
        ("key = \"u.i\"", "`u` of sources `a` and `b` has no field `i`: did you mean `id`?"),
        ("key = { k = \"u.i\" }", "`u.i`: `u` has no field `i`"),
        ("key = \"u.id\"\nwhere = \"u is null\"", "column `u` does not have the same fields in each source"),
    ] {
        std::fs::write(dir.join("job.toml"), TWO.replace("KEYS", keys)).unwrap();
        let ran = headwater(dir, &["check", "job.toml"]);
        assert_eq!(ran.code, Some(2), "{}", ran.told);
        assert!(ran.told.contains(expected), "{}", ran.told);
    }
}

#[test]
fn times_that_are_sql() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let lines = [
        r#"{"day":"2026-01-01","h":10,"k":"a"}"#,
        r#"{"day":"nonsense","h":11,"k":"a"}"#,
        r#"{"day":null,"h":11,"k":"a"}"#,
    ];
    std::fs::write(dir.join("s.jsonl"), lines.join("\n")).unwrap();
    let job = "name = \"inputs\"\ntick = \"1s\"\n[sources.e]\nevent_time = \"to_timestamp(day || ' ' || h || ':00', '%Y-%m-%d %H:%M')\"\narrival_time = \"to_timestamp_seconds(1767261600 + h)\"\n\
        schema = { day = \"string\", h = \"int64\", k = \"string\" }\nstream = { type = \"jsonl\", path = \"s.jsonl\" }\n\
        [features.f]\nsource = \"e\"\nkey = \"k\"\nwindow = { tumbling = \"1h\" }\nretain = \"1000000d\"\ncolumns = { n = { agg = \"count\" } }\n";
    assert_eq!(rows_of(dir, job), r#"{"k":"a"} {"n":1}"#);
    assert_eq!(dead_letters(dir), ["malformed", "null event time"]);
    std::fs::write(dir.join("job.toml"), job.replace("to_timestamp_seconds(1767261600 + h)", "upper(day)")).unwrap();
    let ran = headwater(dir, &["check", "job.toml"]);
    assert!(
        ran.code == Some(2) && ran.told.contains("a time must be a timestamp, and this SQL gives a string"),
        "{}",
        ran.told
    );
}

#[test]
fn json_that_is_less_strict() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let lines = [
        r#"{"ts":"2026-01-01T10:00:00Z","k":"a","x":1}"#,
        r#"{"ts":"2026-01-01 10:00","k":"a","x":"2"}"#,
        r#"{"ts":"2026-01-01","k":"a","x":4.0}"#,
        r#"{"ts":"2026-01-01T10:00:00Z","k":"a","x":"8.0"}"#,
    ];
    std::fs::write(dir.join("s.jsonl"), lines.join("\n")).unwrap();
    let job = |json: &str| {
        LINES.replace("SIDE", "stream").replace("PATH", "s.jsonl").replace("[features", &format!("{json}\n[features"))
    };
    let all = "json = { numbers_as_text = true, integral_floats = true, times = \"sql\" }";
    for (json, sum, letters) in [("", 1, 3), ("json = { times = \"sql\" }", 1, 3), (all, 15, 0)] {
        assert_eq!(rows_of(dir, &job(json)), format!("{{\"k\":\"a\"}} {{\"x\":{sum}}}"));
        assert_eq!(dead_letters(dir).len(), letters, "{json}");
    }
    std::fs::write(dir.join("job.toml"), job("json = { number_as_text = true, times = \"iso\" }")).unwrap();
    let told = headwater(dir, &["check", "job.toml"]).told;
    assert!(
        told.contains("unknown key `number_as_text` in `json`") && told.contains("unknown `times` `iso`"),
        "{told}"
    );
}

/// As pandas narrows columns, and as Impala and old Hive write texts.
#[test]
fn narrow_integers_and_texts_without_a_type() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let columns: [(&str, ArrayRef); 7] = [
        ("ts", times(&[NOON, NOON])),
        ("k", Arc::new(BinaryArray::from(vec![&b"a"[..], b"\xff"]))),
        ("u", Arc::new(UInt8Array::from(vec![200, 200]))),
        ("v", Arc::new(UInt8Array::from(vec![100, 100]))),
        ("qty", Arc::new(Int16Array::from(vec![300, 300]))),
        ("price", Arc::new(Int16Array::from(vec![200, 200]))),
        ("big", longs(&[i64::MAX, 1])),
    ];
    write(&dir.join("h/a.parquet"), &columns);
    let job = "name = \"inputs\"\ntick = \"1s\"\n[sources.e]\nevent_time = \"ts\"\nhistory = { type = \"parquet\", path = \"h\" }\n\
        [features.f]\nsource = \"e\"\nkey = \"k\"\ncolumns = { u = { agg = \"sum\", of = \"u + v\", window = \"all\" }, p = { agg = \"sum\", of = \"qty * price\", window = \"all\" }, \
        b = { agg = \"max\", of = \"big + 1\", window = \"all\" }, d = { agg = \"count_distinct\", of = \"k\", window = \"all\" } }\n";
    assert_eq!(rows_of(dir, job), r#"{"k":"a"} {"b":null,"d":1,"p":60000,"u":300}"#);
    assert_eq!(dead_letters(dir), ["expression"; 2]);
    let ran = headwater(dir, &["check", "job.toml"]);
    assert!(ran.told.contains("int64"), "{}", ran.told);
    assert_eq!(DataType::UInt8, *columns[2].1.data_type());
}

/// What a user probably meant is told where a name is not known.
#[test]
fn names_that_were_meant_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let item = DataType::Struct(Fields::from(vec![Field::new("x", DataType::Int64, true)]));
    let item = Arc::new(Field::new("item", item, true));
    let items = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, true)), longs(&[1, 2]))]);
    let items = ListArray::new(item, OffsetBuffer::from_lengths([1, 1]), Arc::new(items), None);
    let columns: [(&str, ArrayRef); 3] =
        [("ts", times(&[NOON, NOON])), ("k", texts(&["a", "b"])), ("lines", Arc::new(items))];
    write(&dir.join("h/dt=2026-01-01/hour=05/a.parquet"), &columns);
    let job = |key: &str, condition: &str| {
        format!(
            "name = \"inputs\"\n[sources.e]\nevent_time = \"ts\"\nhistory = {{ type = \"parquet\", path = \"h\" }}\n\
             [features.f]\nsource = \"e\"\nkey = {key}\nwhere = \"{condition}\"\ncolumns = {{ n = {{ agg = \"count\", window = \"all\" }} }}\n"
        )
    };
    let date = "unknown column `dt`: its history has directories `dt=...`, which are columns with partitions = { dt = \"date\" }";
    let element = "so the elements of a list are called in a group that has explode = \"lines\"";
    for (key, condition, expected) in [
        ("\"k\"", "year(ts) = 2026", "8:9: error: unknown function `year`: write `date_part('year', ts)`".to_owned()),
        ("\"k\"", "item.x > 1", format!("8:9: error: `item.x`: unknown column `item`: {element}")),
        ("\"item.x\"", "true", format!("7:7: error: unknown column `item` of source `e`: {element}")),
        (
            "\"lower(k)\"",
            "true",
            "7:7: error: unknown column `lower(k)`: a key that is SQL has a name, like key = { k = \"lower(k)\" }".to_owned(),
        ),
        (
            "[\"k\", \"1 + 1\"]",
            "true",
            "7:13: error: unknown column `1 + 1`: a key that is SQL has a name, like key = { name = \"1 + 1\" }".to_owned(),
        ),
        ("\"k\"", "dt > '2026-01-01'", format!("8:9: error: {date}")),
        (
            "\"hour\"",
            "true",
            "7:7: error: unknown column `hour` of source `e`: its history has directories `hour=...`, which are columns with \
             partitions = { hour = \"int64\" }"
                .to_owned(),
        ),
    ] {
        std::fs::write(dir.join("job.toml"), job(key, condition)).unwrap();
        let ran = headwater(dir, &["check", "job.toml"]);
        assert_eq!(ran.code, Some(2), "{}", ran.told);
        assert!(ran.told.contains(&expected), "{expected}: {}", ran.told);
    }
    // Where records have no schema of their own, the job says that they have such a column, and they do not.
    std::fs::create_dir_all(dir.join("l/dt=2026-01-01")).unwrap();
    std::fs::write(dir.join("l/dt=2026-01-01/a.jsonl"), "{\"ts\":1767268800000,\"k\":\"a\"}\n").unwrap();
    let lines = LINES
        .replace("SIDE", "history")
        .replace("PATH", "l/*/*")
        .replace("k = \"string\"", "k = \"string\", dt = \"date32\"");
    std::fs::write(dir.join("job.toml"), &lines).unwrap();
    let ran = headwater(dir, &["check", "job.toml"]);
    let note = "note      `dt` is read of the records, not of the directories `dt=...`: with partitions = { dt = \"date\" } on the history they are it";
    assert!(ran.code == Some(0) && ran.told.contains(note), "{}", ran.told);
}
