//! CSV: a history of files with headers and a topic of records without, joined by offset. What is no CSV, or does not decode, is a dead
//! letter, and harms nobody else.

use std::collections::BTreeSet;

use headwater_clocks::format_time;

use crate::support::*;

const SOURCE: &str = r#"
name = "{NAME}"
[sources.events]
event_time   = "ts"
arrival_time = "arrived"
seam = { by = "offset", partition = "kafka_partition", offset = "kafka_offset" }
[sources.events.history]
type = "csv"
path = "history/*.csv"
[sources.events.stream]
type      = "kafka"
brokers   = "{BROKERS}"
topic     = "{TOPIC}"
format    = "csv"
columns   = ["note", "card", "amount", "status", "ts", "arrived"]
delimiter = ";"
null      = "NULL"
[sources.events.schema]
card    = "string"
amount  = "float64"
status  = "string"
ts      = "timestamp"
arrived = "timestamp"
kafka_partition = "int32"
kafka_offset    = "int64"
"#;

/// A record of the topic; `amount` as it is spelled.
fn record(event: &Event, amount: &str) -> String {
    let status = if event.ok { "approved" } else { "declined" };
    let (ts, arrived) = (event.ts / 1000, format_time(event.arrived));
    format!("\"a \"\"note\"\";\n\";{};{amount};\"{status}\";{ts};{arrived}", event.card)
}

fn amount(event: &Event, null: &str) -> String {
    event.amount.map_or(null.to_owned(), |amount| format!("{amount:?}"))
}

/// The history in two files, whose columns have another order.
fn write_history(case: &Case, rows: &[(Event, i32, i64)]) {
    let (older, newer) = rows.split_at(rows.len() / 3);
    let status = |event: &Event| if event.ok { "approved" } else { "declined" };
    let line = |(event, p, o): &(Event, i32, i64)| {
        let (ts, arrived) = (event.ts / 1000, event.arrived / 1000);
        format!("{p},{o},\"{}\",{},{},\"two\nlines\",{ts},{arrived}\r\n", event.card, amount(event, ""), status(event))
    };
    let older: String = older.iter().map(line).collect();
    let line = |(event, p, o): &(Event, i32, i64)| {
        let (ts, arrived) = (format_time(event.ts), format_time(event.arrived));
        format!("{},{ts},{arrived},{p},{o},{},{}\n", event.card, status(event), amount(event, ""))
    };
    let newer: String = newer.iter().map(line).collect();
    std::fs::create_dir(case.path("history")).unwrap();
    let header = "\u{feff}kafka_partition,kafka_offset,card,amount,status,\"a\nnote\",ts,arrived\r\n";
    std::fs::write(case.path("history/a.csv"), header.to_owned() + &older).unwrap();
    let header = "card,ts,arrived,kafka_partition,kafka_offset,status,amount\n";
    std::fs::write(case.path("history/b.csv"), header.to_owned() + &newer).unwrap();
}

#[test]
fn a_history_and_a_topic_are_joined() {
    let case = need!(Case::new("csv"));
    let mut random = Random(51);
    let events = random.events(2000, 30, START, START + HOUR);
    let mut log = random.part(&events, 2, &[]);
    write_history(&case, &history_of(&log, &[500, 700]));
    let topic = Topic::new(&case.kafka, &case.name, log.len());
    let mut dead_letters = BTreeSet::new();
    for (p, events) in log.iter_mut().enumerate() {
        events.iter().for_each(|e| topic.send(p, Some(record(e, &amount(e, "NULL")).as_bytes()), START));
        let last = Event { ok: true, ..events[events.len() - 1].clone() };
        let good = record(&last, "1.0");
        let mut send = |reason: &str, record: &[u8]| {
            topic.send(p, Some(record), START);
            let told = String::from_utf8(record.to_vec()).unwrap_or("base64".to_owned());
            dead_letters.insert((reason.to_owned(), p as i64, told));
        };
        send("malformed", b"");
        send("malformed", good.replacen(';', ",", 3).as_bytes());
        send("malformed", (good.clone() + ";").as_bytes());
        send("malformed", (good.clone() + "\n" + &good).as_bytes());
        send("malformed", good.replace("\"\"", "\"").as_bytes());
        send("malformed", &[good.as_bytes(), b"\xff"].concat());
        send("malformed", good.replace("T", " ").as_bytes());
        send("null key", record(&Event { card: "NULL".into(), ..last.clone() }, "1").as_bytes());
        // It counts, without its amount.
        send("expression", record(&last, "1,5").as_bytes());
        events.push(Event { amount: None, ..last });
    }
    topic.flush();
    let path = case.job("job.toml", &(SOURCE.to_owned() + ALL_SINKS + &cards(&WINDOWS)));
    finish(run(&["check", path.to_str().unwrap(), "--sample", "3"]), 0);
    finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", "2"]), 0);

    let s = up(history_of(&log, &[500, 700]).iter().map(|row| row.0.arrived).max().unwrap(), TICK);
    let t = up(log.iter().flatten().map(|event| event.arrived).max().unwrap(), TICK).max(s);
    let expected = rows(&visible(&log, s, TICK), &WINDOWS, t);
    let (exported, as_of) = case.exported(&path, "cards");
    assert_eq!(as_of, t);
    assert_rows("export", &exported, &expected);
    assert_rows("the changelog", &play(&case.lines("changes.jsonl")), &expected);
    let found = case.dead_letters();
    let told: BTreeSet<_> = found
        .iter()
        .map(|line| {
            let payload = line["payload"].as_str().unwrap_or("base64").to_owned();
            (line["reason"].as_str().unwrap().to_owned(), line["partition"].as_i64().unwrap(), payload)
        })
        .collect();
    assert_eq!(told, dead_letters);
    assert_eq!(found.len(), dead_letters.len());
}

#[test]
fn a_file_that_cannot_be_used_ends_the_run_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let job = r#"
name = "wrong"
[sources.s]
event_time = "ts"
schema = { ts = "timestamp", k = "string" }
history = { type = "csv", path = "*.csv" }
[features.f]
source = "s"
key = "k"
columns = { n = { agg = "count", window = "all" } }
"#;
    std::fs::write(dir.path().join("job.toml"), job).unwrap();
    std::fs::write(dir.path().join("a.csv"), "ts,k\n2026-01-01T00:00:00Z,a\n").unwrap();
    for (file, wrong) in
        [("ts,k,k\n1,a,b\n", "it has two columns \"k\""), ("ts,\"k\n1,a\n", "its header breaks the rules of CSV")]
    {
        std::fs::write(dir.path().join("b.csv"), file).unwrap();
        let path = dir.path().join("job.toml");
        let out = finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 1);
        assert!(out.stderr.contains("b.csv") && out.stderr.contains(wrong), "{}", out.stderr);
    }
}
