//! The commands as a user meets them: the built binary, small jobs of files, what is printed and how it exits.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow::array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use headwater_clocks::format_time;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use serde_json::Value;

use crate::support::{headwater, spawn, until};

/// 2026-01-01T10:00:00Z.
const TEN: i64 = 1_767_261_600_000_000;
const MINUTE: i64 = 60_000_000;

struct Outcome {
    code: i32,
    out: String,
    err: String,
}

/// A directory with a job and its data.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(job: &str) -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        place.write("job.toml", job);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = headwater();
        command.current_dir(self.dir.path()).args(args).stdin(Stdio::null());
        command
    }

    fn headwater(&self, args: &[&str]) -> Outcome {
        let output = self.command(args).output().unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn good(&self, args: &[&str]) -> Outcome {
        let outcome = self.headwater(args);
        assert_eq!(outcome.code, 0, "{args:?}\n{}\n{}", outcome.out, outcome.err);
        outcome
    }

    fn endpoint(&self) -> Value {
        let text = fs::read(self.path(".headwater/cards/endpoint.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

/// (card, minutes after ten, amount, status); a null card where it is empty.
fn write_parquet(place: &Place, name: &str, rows: &[(&str, i64, f64, &str)]) {
    let cards: StringArray = rows.iter().map(|r| (!r.0.is_empty()).then_some(r.0)).collect();
    let times =
        TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| TEN + r.1 * MINUTE)).with_timezone("UTC");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("card_id", Arc::new(cards)),
        ("ts", Arc::new(times)),
        ("amount", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.2)))),
        ("status", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.3)))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(place.path(name)).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

const FEATURES: &str = r#"
[features.activity]
source = "tx"
key    = "card_id"
where  = "status = 'approved'"
columns = { n = { agg = "count", windows = ["1h", "all"] }, spend = { agg = "sum", of = "amount", windows = ["all"] } }
"#;

const HISTORY: &str = r#"
name = "cards"
[sources.tx]
event_time = "ts"
[sources.tx.history]
type = "parquet"
path = "*.parquet"
"#;

/// A job of a history alone: a at 10:00 and 10:50, b at 9:00, a declined one, one without a card.
fn history() -> Place {
    let place = Place::new(&format!("{HISTORY}{FEATURES}"));
    let rows = [("a", 0, 1.5, "approved"), ("a", 50, 2.0, "approved"), ("b", -60, 7.0, "approved")];
    write_parquet(&place, "1.parquet", &rows);
    write_parquet(&place, "2.parquet", &[("c", 10, 9.0, "declined"), ("", 55, 0.5, "approved")]);
    place
}

const ROW_A: &str = r#"{"key":{"card_id":"a"},"row":{"n_1h":2,"n_all":2,"spend_all":3.5},"changed_at":"2026-01-01T10:55:00Z","as_of":"2026-01-01T10:55:00Z"}"#;
const ROW_B: &str = r#"{"key":{"card_id":"b"},"row":{"n_1h":0,"n_all":1,"spend_all":7.0},"changed_at":"2026-01-01T10:55:00Z","as_of":"2026-01-01T10:55:00Z"}"#;

#[test]
fn check_tells_what_a_job_means_and_writes_nothing() {
    let place = history();
    let told = place.good(&["check", "job.toml"]).out;
    for part in [
        "source tx",
        "2 files, 5 rows",
        "S = 2026-01-01T10:55:00Z",
        "n_1h       int64         events of the last 1h, by card_id, where status = 'approved'",
        "n_all      int64         events of all time, by card_id",
        "spend_all  float64       sum of amount over all time, by card_id",
        "card_id    string        key",
        "embedded: embedded store in",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert!(!place.path(".headwater").exists());
}

#[test]
fn check_samples_the_latest_events() {
    let place = history();
    let told = place.good(&["check", "job.toml", "--sample", "3"]).out;
    let told = &told[told.find("what the 3 latest events of `tx`").unwrap()..];
    assert!(told.contains("activity: 1 rows"), "{told}");
    assert!(told.contains(r#"{"key":{"card_id":"a"},"row":{"n_1h":1,"n_all":1,"spend_all":2.0}"#), "{told}");
    assert!(told.contains(r#""reason":"null key""#), "{told}");
    let all = place.good(&["check", "job.toml", "--sample", "100"]).out;
    assert!(all.contains(ROW_A) && all.contains(ROW_B), "{all}");
}

#[test]
fn check_samples_a_stream_and_its_malformed_records() {
    let place = following();
    place.write("live.jsonl", "{\"card_id\":\"a\",\"ts\":\"2026-01-01T10:00:00Z\"}\nno json\n");
    let told = place.good(&["check", "job.toml", "--sample", "2"]).out;
    assert!(told.contains(r#"{"key":{"card_id":"a"},"row":{"n":1}"#), "{told}");
    assert!(
        told.contains(r#""reason":"malformed","partition":0,"offset":1,"arrival":null,"payload":"no json""#),
        "{told}"
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let job =
        format!("{HISTORY}{FEATURES}").replace("\"ts\"", "\"tss\"").replace("of = \"amount\"", "of = \"amont * 2\"");
    let place = history();
    place.write("job.toml", &job);
    let told = place.headwater(&["check", "job.toml"]);
    assert_eq!(told.code, 2);
    assert!(
        told.err.contains("job.toml:4:14: error: unknown column `tss` of source `tx`: did you mean `ts`?"),
        "{}",
        told.err
    );
    assert!(told.err.contains("amont"), "{}", told.err);
    // A fault of syntax hides none of the others.
    place.write("job.toml", &format!("{job}retian = \"1h\"\n"));
    for command in ["check", "run"] {
        let told = place.headwater(&[command, "job.toml"]);
        assert_eq!((told.code, told.err.matches(": error: ").count()), (2, 3), "{}", told.err);
    }
}

#[test]
fn wrong_usage_is_exit_2() {
    let place = history();
    for args in [&["get", "job.toml", "activity"][..], &["nothing"], &["check", "job.toml", "--sample", "0"], &["run"]]
    {
        assert_eq!(place.headwater(args).code, 2, "{args:?}");
    }
    let help = place.good(&["get", "--help"]).out;
    assert!(help.contains("headwater get fraud.toml card_activity card_id=c1"), "{help}");
    assert!(place.good(&["help"]).out.contains("Exit: 0 done"));
}

#[test]
fn rows_are_read_back() {
    let place = history();
    let ran = place.good(&["run", "job.toml", "--until-end"]);
    assert_eq!(ran.out, "");
    assert!(ran.err.contains("bootstrap done: 5 rows"), "{}", ran.err);
    assert!(
        ran.err.contains("done: 2 rows, 3 events, dead letters: 1 null key, T = 2026-01-01T10:55:00Z"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains('\x1b'), "no colours where no terminal is: {}", ran.err);

    assert_eq!(place.good(&["get", "job.toml", "activity", "card_id=a"]).out, format!("{ROW_A}\n"));
    assert_eq!(place.good(&["export", "job.toml", "activity"]).out, format!("{ROW_A}\n{ROW_B}\n"));
    place.good(&["export", "job.toml", "activity", "--out", "rows.jsonl"]);
    assert_eq!(fs::read_to_string(place.path("rows.jsonl")).unwrap(), format!("{ROW_A}\n{ROW_B}\n"));

    let table = [
        (
            &["get", "job.toml", "activity", "card_id=z"][..],
            1,
            "not found: `activity` has no row of {\"card_id\":\"z\"}",
        ),
        (&["get", "job.toml", "activity", "card=a"], 2, "`card` is no key column of `activity`: expected `card_id`"),
        (&["get", "job.toml", "activity", "a"], 2, "expected COL=VALUE, like card_id=..."),
        (&["get", "job.toml", "activity", "card_id=a", "card_id=b"], 2, "given twice"),
        (&["get", "job.toml", "activty", "card_id=a"], 2, "unknown feature group `activty`: did you mean `activity`?"),
        (&["get", "job.toml", "activity", "card_id=a", "--sink", "embeded"], 2, "did you mean `embedded`?"),
        (&["get", "job.toml", "activity", "card_id=a", "--window", "2026-01-01T00:00:00Z"], 2, "has no windows"),
        (&["status", "job.toml"], 1, "cards is not running"),
    ];
    for (args, code, message) in table {
        let told = place.headwater(args);
        assert_eq!((told.code, told.out.as_str()), (code, ""), "{args:?} {}", told.err);
        assert!(told.err.contains(message), "{args:?} {}", told.err);
    }
}

#[test]
fn rows_are_exported_as_parquet() {
    let place = history();
    place.good(&["run", "job.toml"]);
    place.good(&["export", "job.toml", "activity", "--out", "rows.parquet"]);
    let file = fs::File::open(place.path("rows.parquet")).unwrap();
    let batch = ParquetRecordBatchReader::try_new(file, 10).unwrap().next().unwrap().unwrap();
    let fields: Vec<_> = batch.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let expected = [
        ("card_id", DataType::Utf8),
        ("n_1h", DataType::Int64),
        ("n_all", DataType::Int64),
        ("spend_all", DataType::Float64),
        ("changed_at", time.clone()),
        ("as_of", time),
    ];
    assert_eq!(fields, expected.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!(batch.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values(), &[2, 0]);
    assert_eq!(batch.column(3).as_primitive::<Float64Type>().values(), &[3.5, 7.0]);
    assert_eq!(batch.column(5).as_primitive::<TimestampMicrosecondType>().value(0), TEN + 55 * MINUTE);
}

#[test]
fn keys_of_every_type_are_read_as_events_are() {
    let place = Place::new(
        r#"
name = "cards"
[sources.tx]
event_time = "ts"
time_unit = "s"
[sources.tx.schema]
ts = "timestamp"
i = "int64"
b = "bool"
d = "date32"
t = "timestamp"
m = "decimal128(18, 2)"
[sources.tx.history]
type = "jsonl"
path = "h.jsonl"
[features.all]
source = "tx"
key = ["i", "b", "d", "t", "m"]
columns = { n = { agg = "count", window = "all" } }
"#,
    );
    place.write(
        "h.jsonl",
        "{\"ts\":1,\"i\":-7,\"b\":true,\"d\":\"2026-01-31\",\"t\":\"2026-01-31T01:00:00+01:00\",\"m\":1.5}\n",
    );
    place.good(&["run", "job.toml"]);
    let key = r#"{"i":-7,"b":true,"d":"2026-01-31","t":"2026-01-31T00:00:00Z","m":"1.50"}"#;
    let ask = |t: &str, m: &str| place.headwater(&["get", "job.toml", "all", t, "i=-7", "b=true", "d=2026-01-31", m]);
    for (t, m) in [("t=2026-01-31T00:00:00Z", "m=1.5"), ("t=2026-01-31T05:30:00+05:30", "m=1.500")] {
        let told = ask(t, m);
        assert!(told.out.starts_with(&format!("{{\"key\":{key},")), "{} {}", told.out, told.err);
    }
    for (t, m, message) in [
        ("t=2026-01-31", "m=1.5", "t: `2026-01-31` is no timestamp: expected a time like"),
        ("t=2026-01-31T00:00:00Z", "m=1.505", "m: `1.505` is no decimal128(18, 2)"),
        ("t=2026-01-31T00:00:00Z", "m=x\",\"i\":\"", "is no decimal128(18, 2)"),
    ] {
        let told = ask(t, m);
        assert_eq!(told.code, 2);
        assert!(told.err.contains(message), "{}", told.err);
    }
    let told = place.headwater(&["get", "job.toml", "all", "i=7"]);
    assert!(told.err.contains("the key of `all` is not whole: add b=... d=... t=... m=..."), "{}", told.err);
}

/// A job that follows a file.
fn following() -> Place {
    let place = Place::new(
        r#"
name = "cards"
[sources.tx]
event_time = "ts"
[sources.tx.schema]
ts = "timestamp"
card_id = "string"
[sources.tx.stream]
type = "jsonl"
path = "live.jsonl"
[features.activity]
source = "tx"
key = "card_id"
columns = { n = { agg = "count", window = "all" } }
"#,
    );
    place.write("live.jsonl", "{\"card_id\":\"a\",\"ts\":\"2026-01-01T10:00:00Z\"}\nno json\n");
    place
}

/// The status and the body of an answer.
fn http(endpoint: &Value, path: &str, token: Option<&str>) -> (u16, String) {
    let address = endpoint["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let auth = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{auth}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn a_running_job_answers() {
    let place = following();
    let running = spawn(&mut place.command(&["run", "job.toml"]));
    let get = |n: u64| {
        let told = place.headwater(&["get", "job.toml", "activity", "card_id=a"]);
        told.out.contains(&format!("\"row\":{{\"n\":{n}}}")).then_some(told)
    };
    until("the first row", || get(1));

    let status = until("a whole store", || {
        let told = place.headwater(&["status", "job.toml", "--json"]);
        let status: Value = serde_json::from_str(&told.out).ok()?;
        status["groups"][0]["staleness_seconds"].is_number().then_some(status)
    });
    assert_eq!(status["phase"], "following");
    assert_eq!(status["sources"][0]["seam"]["s"], "2026-01-01T10:00:00Z");
    assert_eq!(status["sources"][0]["partitions"][0]["position"], 2);
    assert_eq!(status["sources"][0]["dead_letters"]["malformed"], 1);
    assert_eq!(status["groups"][0]["rows"], 1);
    assert!(status["checkpoint"]["number"].is_u64() && status["checkpoint"]["age_seconds"].is_number(), "{status}");
    let table = place.good(&["status", "job.toml"]).out;
    for part in [
        "job cards, process",
        ": following",
        "\ncheckpoint  ",
        "seam by time at 2026-01-01T10:00:00Z",
        "1 malformed",
        "1 of 1 keys",
    ] {
        assert!(table.contains(part), "{part}\n{table}");
    }

    let endpoint = place.endpoint();
    assert_eq!(fs::metadata(place.path(".headwater/cards/endpoint.json")).unwrap().permissions().mode() & 0o777, 0o600);
    let token = endpoint["token"].as_str().unwrap();
    for path in ["/status", "/get?group=activity&key=card_id%3Da", "/export?group=activity", "/alive", "/nothing"] {
        assert_eq!(http(&endpoint, path, None).0, 401, "{path}");
        assert_eq!(http(&endpoint, path, Some("wrong")).0, 401, "{path}");
    }
    assert_eq!(http(&endpoint, "/status", Some(token)).0, 200);
    let (code, metrics) = http(&endpoint, "/metrics", None);
    assert_eq!(code, 200);
    for line in [
        "# TYPE headwater_events_total counter",
        "headwater_events_total{group=\"activity\"} 1",
        "headwater_rows{group=\"activity\"} 1",
        "headwater_dead_letters_total{source=\"tx\",reason=\"malformed\"} 1",
        "headwater_partition_lag_records{source=\"tx\",partition=\"0\"} 0",
        "headwater_staleness_seconds{group=\"activity\"} ",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }

    let mut live = fs::OpenOptions::new().append(true).open(place.path("live.jsonl")).unwrap();
    // Its arrival is its event time: one that lay far back would tell the clock to wait for others like it.
    let now = format_time(crate::support::now_us());
    live.write_all(format!("{{\"card_id\":\"a\",\"ts\":\"{now}\"}}\n").as_bytes()).unwrap();
    until("the second event", || get(2));
    let missing = place.headwater(&["get", "job.toml", "activity", "card_id=z"]);
    assert_eq!((missing.code, missing.err.contains("not found")), (1, true), "{}", missing.err);
    let wrong = place.headwater(&["get", "job.toml", "activity", "crd_id=z"]);
    assert_eq!((wrong.code, wrong.err.contains("did you mean `card_id`?")), (2, true), "{}", wrong.err);
    assert_eq!(place.good(&["export", "job.toml", "activity"]).out.lines().count(), 1);
    place.good(&["export", "job.toml", "activity", "--out", "rows.parquet"]);
    assert!(place.path("rows.parquet").exists());

    let log = running.terminate().stderr;
    assert!(!place.path(".headwater/cards/endpoint.json").exists());
    assert!(log.contains("done: 1 rows, 2 events, dead letters: 1 malformed"), "{log}");
    assert!(!log.contains(token), "{log}");
    assert!(get(2).is_some(), "the store is read without the job");
}

#[test]
fn the_endpoint_of_a_dead_job_is_not_believed() {
    let place = following();
    let running = spawn(&mut place.command(&["run", "job.toml"]));
    until("the first row", || {
        place.headwater(&["get", "job.toml", "activity", "card_id=a"]).out.contains("\"n\":1").then_some(())
    });
    running.kill();
    assert!(place.path(".headwater/cards/endpoint.json").exists());
    assert!(place.good(&["get", "job.toml", "activity", "card_id=a"]).out.contains("\"n\":1"));
    assert_eq!(place.headwater(&["status", "job.toml"]).code, 1);
}

#[test]
fn rows_are_read_while_kafka_is_away() {
    let place = history();
    place.good(&["run", "job.toml"]);
    let stream = r#"
[sources.tx.stream]
type = "kafka"
brokers = "127.0.0.1:1"
topic = "tx"
format = "json"
[sources.tx.seam]
by = "time"
allow_gap = true
"#;
    place.write("job.toml", &format!("{HISTORY}{stream}{FEATURES}"));
    assert_eq!(place.good(&["get", "job.toml", "activity", "card_id=a"]).out, format!("{ROW_A}\n"));
}

#[test]
fn secrets_are_never_shown() {
    let place = history();
    let sink = "[sinks.online]\ntype = \"redis\"\nurl = \"redis://model:${REDIS_PASSWORD}@127.0.0.1:1/0\"\n";
    place.write("job.toml", &format!("{HISTORY}{FEATURES}{sink}"));
    for args in [
        &["check", "job.toml"][..],
        &["run", "job.toml"],
        &["--log-json", "run", "job.toml"],
        &["get", "job.toml", "activity", "card_id=a"],
        &["export", "job.toml", "activity"],
    ] {
        let output =
            place.command(args).env("REDIS_PASSWORD", "hunter2-and-more").env("HEADWATER_LOG", "debug").output();
        let output = output.unwrap();
        let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(i32::from(args[0] != "check")), "{args:?} {told}");
        assert!(!told.contains("hunter2"), "{args:?} {told}");
        assert!(told.contains("127.0.0.1:1"), "{args:?} {told}");
    }
}
