//! Avro in a topic, by a registry: columns from its newest schema, writers that differ, a registry that is away, and what is pinned. Protobuf,
//! and what Kafka knows of a record.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::*;

const JOB: &str = r#"
name = "{NAME}"
[sources.events]
event_time = "at"
[sources.events.stream]
type    = "kafka"
brokers = "{BROKERS}"
topic   = "{TOPIC}"
format  = "avro"
[sources.events.stream.registry]
url  = "{REGISTRY}"
auth = { username = "me", password = "pass" }
[features.cards]
source = "events"
key    = "user.card"
columns.n     = { agg = "count", window = "all" }
columns.spend = { agg = "sum", of = "amount", window = "all" }
[sinks.local]
type = "embedded"
[dead_letters]
type = "jsonl"
path = "letters.jsonl"
[state]
path = "state"
checkpoint_every = "20ms"
"#;

/// Of which `amount` is a field.
fn schema(amount: Value, more: &[Value]) -> String {
    let user = json!({"type": "record", "name": "User", "fields": [{"name": "card", "type": "string"}]});
    let at = json!({"type": "long", "logicalType": "timestamp-millis"});
    let mut fields = vec![json!({"name": "at", "type": at}), json!({"name": "user", "type": ["null", user]}), amount];
    fields.extend_from_slice(more);
    json!({"type": "record", "name": "Payment", "namespace": "a.b", "fields": fields}).to_string()
}

fn amount(of: &str) -> Value {
    json!({"name": "amount", "type": of})
}

fn long(value: i64) -> Vec<u8> {
    let (mut word, mut bytes) = (((value << 1) ^ (value >> 63)) as u64, vec![]);
    while word >= 0x80 {
        bytes.push(word as u8 | 0x80);
        word >>= 7;
    }
    bytes.push(word as u8);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [long(text.len() as i64), text.as_bytes().to_vec()].concat()
}

/// Without what is around it. `amount`: as it is written.
fn record(at_us: i64, card: &str, amount: &[u8]) -> Vec<u8> {
    [&long(at_us / 1000)[..], &long(1), &text(card), amount].concat()
}

fn framed(id: u32, record: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], record].concat()
}

fn job_with(registry: &Registry, text: &str) -> String {
    text.replace("{REGISTRY}", &registry.url)
}

fn exported(job: &str) -> BTreeMap<String, Value> {
    let lines = json_lines(&finish(run(&["export", job, "cards"]), 0).stdout);
    lines.iter().map(|line| (line["key"]["card"].as_str().unwrap().to_owned(), line["row"].clone())).collect()
}

fn letters(case: &Case) -> Vec<(i64, String, String)> {
    let lines = std::fs::read_to_string(case.path("letters.jsonl")).unwrap();
    let mut letters: Vec<_> = json_lines(&lines)
        .iter()
        .map(|line| {
            let payload = line.get("payload_base64").or(line.get("payload")).unwrap().as_str().unwrap();
            (line["offset"].as_i64().unwrap(), line["reason"].as_str().unwrap().to_owned(), payload.to_owned())
        })
        .collect();
    letters.sort();
    letters
}

#[test]
fn writers_of_several_schemas() {
    let case = need!(Case::new("avro"));
    let registry = Registry::start(Some("Basic bWU6cGFzcw=="));
    let subject = format!("{}-value", case.name);
    registry.register(1, &subject, "AVRO", &schema(amount("int"), &[]));
    registry.register(2, &subject, "AVRO", &schema(amount("string"), &[]));
    let old = schema(json!({"name": "cents", "type": "double"}), &[amount("double")]);
    registry.register(3, &subject, "AVRO", &old);
    let guid = [7; 16];
    let body = json!({ "schema": schema(amount("float"), &[]) }).to_string();
    registry.answer("/schemas/guids/07070707-0707-0707-0707-070707070707", 200, &body);
    registry.register(
        9,
        &subject,
        "AVRO",
        &schema(amount("double"), &[json!({"name": "note", "type": "string", "default": ""})]),
    );
    let topic = Topic::new(&case.kafka, &case.name, 1);
    let send = |value: &[u8]| topic.send(0, Some(value), START);
    send(&framed(1, &record(START, "a", &long(2))));
    send(&framed(3, &record(START, "a", &[1.0f64.to_le_bytes(), 0.5f64.to_le_bytes()].concat())));
    // What does not resolve harms who asks for it.
    send(&framed(2, &record(START, "a", &text("12"))));
    // The registry's schema is in a header.
    let header = [&[1], &guid[..]].concat();
    let value = record(START, "b", &1.5f32.to_le_bytes());
    topic.send_with(0, (None, Some(&value)), START, &[("__value_schema_id", &header)]);
    // No record of its schema, one that says no schema, and a user that is null.
    send(&framed(1, &[0xff]));
    send(b"{}");
    send(&framed(1, &[&long(START / 1000)[..], &long(0), &long(3)].concat()));
    topic.flush();

    let path = case.job("job.toml", &job_with(&registry, JOB));
    let job = path.to_str().unwrap();
    let checked = finish(run(&["check", job]), 0).stdout;
    assert!(!checked.contains("pass"), "{checked}");
    finish(run(&["run", job, "--until-end"]), 0);
    // Once by each process, whoever of it reads.
    assert!((1..=2).contains(&registry.asked("/schemas/ids/1")), "{}", registry.asked("/schemas/ids/1"));
    let row = |n: i64, spend: f64| json!({ "n": n, "spend": spend });
    let expected = BTreeMap::from([("a".to_owned(), row(3, 2.5)), ("b".to_owned(), row(1, 1.5))]);
    assert_eq!(exported(job), expected);
    let reasons: Vec<(i64, String)> = letters(&case).into_iter().map(|(offset, reason, _)| (offset, reason)).collect();
    let reason = |offset: i64, reason: &str| (offset, reason.to_owned());
    assert_eq!(
        reasons,
        [reason(2, "expression"), reason(4, "malformed"), reason(5, "malformed"), reason(6, "null key")]
    );
    assert_eq!(letters(&case)[1].2, "AAAAAAH/", "the bytes of a dead letter");
    assert_eq!(letters(&case)[2].2, "{}");

    // What was pinned stays, whatever is the newest.
    registry.register(10, &subject, "AVRO", &schema(json!({"name": "other", "type": "int"}), &[]));
    send(&framed(9, &record(START, "b", &[&4.0f64.to_le_bytes()[..], &text("x")].concat())));
    topic.flush();
    finish(run(&["run", job, "--until-end"]), 0);
    assert_eq!(exported(job)["b"], row(2, 5.5));
    let log = finish(run(&["run", job, "--until-end", "--fresh"]), 2).stderr;
    assert!(log.contains("unknown column `amount`"), "{log}");
}

#[test]
fn a_registry_that_is_away_is_waited_for() {
    let case = need!(Case::new("avro_away"));
    let registry = Registry::start(None);
    let subject = format!("{}-value", case.name);
    registry.register(1, &subject, "AVRO", &schema(amount("double"), &[]));
    let topic = Topic::new(&case.kafka, &case.name, 1);
    let now = now_us();
    let value = |amount: f64| record(now, "a", &amount.to_le_bytes());
    topic.send(0, Some(&framed(1, &value(1.0))), now);
    topic.flush();
    let path = case.job("job.toml", &job_with(&registry, JOB));
    let job = path.to_str().unwrap();
    let running = run(&["run", job]);
    let spend = || {
        let got = headwater().args(["get", job, "cards", "card=a"]).output().unwrap();
        let rows = json_lines(&String::from_utf8(got.stdout).unwrap());
        rows.first().and_then(|line| line.get("row").unwrap_or(line)["spend"].as_f64())
    };
    until("the first record", || (spend() == Some(1.0)).then_some(()));
    registry.answer("/schemas/ids/2", 503, "");
    topic.send(0, Some(&framed(2, &value(2.0))), now);
    topic.send(0, Some(&framed(1, &value(4.0))), now);
    topic.flush();
    until("it is told", || running.log().contains("does not give the schema 2: it answers 503").then_some(()));
    assert_eq!(spend(), Some(1.0), "records behind it wait too");
    registry.register(2, &subject, "AVRO", &schema(amount("double"), &[]));
    until("what waited", || (spend() == Some(7.0)).then_some(()));
    assert!(running.log().contains("has the schema 2 after"));
    running.terminate();
    assert!(letters(&case).is_empty());
}

/// The same topic as Protobuf by a file, and what Kafka knows of each record.
#[test]
fn protobuf_and_what_kafka_knows() {
    let case = need!(Case::new("protobuf"));
    let proto = "syntax = \"proto3\";\npackage shop;\nmessage Payment { User user = 1; double amount = 2; message User { string card = 1; } }\n\
                 message Other { int64 x = 1; }\n";
    std::fs::write(case.path("payment.proto"), proto).unwrap();
    let topic = Topic::new(&case.kafka, &case.name, 2);
    let record = |card: &str, amount: f64| {
        let user = [&[10, card.len() as u8], card.as_bytes()].concat();
        [&[10, user.len() as u8], &user[..], &[17], &amount.to_le_bytes()].concat()
    };
    let trace = ("trace", &b"t"[..]);
    topic.send_with(0, (Some(b"k1"), Some(&record("a", 1.5))), START, &[("trace", b"first"), trace]);
    topic.send_with(1, (Some(b"k2"), Some(&record("a", 2.0))), START + SECOND, &[]);
    topic.send_with(1, (None, Some(&record("b", 4.0))), START + SECOND, &[trace]);
    topic.send_with(0, (Some(b"k1"), Some(b"\x08")), START, &[]);
    topic.flush();
    let text = r#"
name = "{NAME}"
[sources.events]
event_time = "kafka.timestamp"
[sources.events.stream]
type    = "kafka"
brokers = "{BROKERS}"
topic   = "{TOPIC}"
format  = "protobuf"
schema  = "payment.proto"
message = "Payment"
[features.cards]
source = "events"
key    = "user.card"
columns.spend  = { agg = "sum", of = "amount", window = "all" }
columns.traced = { agg = "count", where = "kafka.headers.trace = 't'", window = "all" }
columns.last   = { agg = "last", of = "kafka.offset * 10 + kafka.partition", window = "all" }
[features.keys]
source = "events"
key    = "kafka.key"
columns.n = { agg = "count", window = "all" }
[features.traces]
source = "events"
key    = "kafka.headers.trace"
columns.n = { agg = "count", window = "all" }
[sinks.local]
type = "embedded"
[dead_letters]
type = "jsonl"
path = "letters.jsonl"
"#;
    let path = case.job("job.toml", text);
    let job = path.to_str().unwrap();
    finish(run(&["run", job, "--until-end"]), 0);
    let cards = exported(job);
    assert_eq!(cards["a"], json!({"spend": 3.5, "traced": 1, "last": 1}));
    assert_eq!(cards["b"], json!({"spend": 4.0, "traced": 1, "last": 11}));
    let rows = |group: &str| {
        let lines = json_lines(&finish(run(&["export", job, group]), 0).stdout);
        lines.iter().map(|line| (line["key"].clone(), line["row"]["n"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(rows("keys"), [(json!({"key": "k1"}), json!(1)), (json!({"key": "k2"}), json!(1))]);
    assert_eq!(rows("traces"), [(json!({"trace": "t"}), json!(2))]);
    let mut reasons: Vec<(i64, String)> = letters(&case).into_iter().map(|(at, reason, _)| (at, reason)).collect();
    reasons.sort();
    let reason = |at: i64, reason: &str| (at, reason.to_owned());
    assert_eq!(reasons, [reason(0, "null key"), reason(1, "malformed"), reason(1, "null key")]);
}
