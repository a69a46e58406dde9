//! One bad record is data: it goes to the dead letters with its reason and its place, and everybody else's values are right.
//! A partition that lags makes nobody late, and a wrong clock makes nobody old.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::*;

/// A record as it is sent: its payload, the event that counts (if one does), what it says of the clock, and the reason it
/// is refused for (if it is).
struct Record {
    payload: Option<Vec<u8>>,
    event: Option<Event>,
    clock: Option<i64>,
    reason: Option<&'static str>,
}

fn good(event: Event) -> Record {
    Record { payload: Some(event.json().into()), clock: Some(event.arrived), event: Some(event), reason: None }
}

/// Refused by the source: it moves no clock.
fn refused(reason: &'static str, payload: impl Into<Vec<u8>>) -> Record {
    Record { payload: Some(payload.into()), event: None, clock: None, reason: Some(reason) }
}

/// What can be wrong with an event that passes `where` (of others nobody looks at key and amount).
fn bad(event: &Event) -> Vec<Record> {
    let json = event.json();
    let with = |old: &str, new: &str| {
        assert!(json.contains(old), "{old} in {json}");
        json.replace(old, new)
    };
    let field = |name: &str, value: String| {
        let (before, after) = json.split_once(&format!("{name:?}:")).unwrap();
        let end = after.find([',', '}']).unwrap();
        format!("{before}{name:?}:{value}{}", &after[end..])
    };
    let ms = |us: i64| (us / 1000).to_string();
    let clock = Some(event.arrived);
    let now = now_us();
    vec![
        refused("malformed", "no JSON"),
        refused("malformed", "[1]"),
        refused("malformed", ""),
        refused("malformed", [b"{\"card\":\"\xff\"}".as_slice()].concat()),
        refused("malformed", field("ts", "\"soon\"".into())),
        refused("malformed", field("arrived", "1.0".into())),
        // With an arrival, so it moves the clock.
        Record {
            payload: Some(field("ts", "null".into()).into()),
            event: None,
            clock,
            reason: Some("null event time"),
        },
        refused("future", field("ts", ms(event.arrived + HOUR + 1000))),
        refused("future", field("ts", ms(now + 3 * HOUR))),
        refused("future", with(&ms(event.arrived), &ms(now + 2 * HOUR))),
        Record { payload: Some(field("card", "null".into()).into()), event: None, clock, reason: Some("null key") },
        Record { payload: Some(field("card", "7".into()).into()), event: None, clock, reason: Some("expression") },
        Record { payload: Some(field("status", "7".into()).into()), event: None, clock, reason: Some("expression") },
        // It counts, without its amount.
        Record {
            payload: Some(field("amount", "\"12.5\"".into()).into()),
            event: Some(Event { amount: None, ..event.clone() }),
            clock,
            reason: Some("expression"),
        },
        // A tombstone is passed over.
        Record { payload: None, event: None, clock: None, reason: None },
    ]
}

fn visible_records(log: &[Vec<Record>]) -> (Vec<Visible>, i64, i64) {
    let first = |partition: &Vec<Record>| partition.iter().find_map(|record| record.clock);
    let s = up(log.iter().filter_map(first).min().unwrap(), TICK);
    let (mut all, mut newest) = (vec![], i64::MIN);
    for partition in log {
        let mut eff = i64::MIN;
        for record in partition {
            eff = eff.max(record.clock.unwrap_or(i64::MIN));
            let visible = |event: &Event| Visible { event: event.clone(), v: up(eff.max(event.ts).max(s), TICK) };
            all.extend(record.event.as_ref().map(visible));
        }
        newest = newest.max(eff);
    }
    (all, s, up(newest, TICK))
}

fn sent(case: &Case, log: &[Vec<Record>]) {
    let topic = Topic::new(&case.kafka, &case.name, log.len());
    for (p, partition) in log.iter().enumerate() {
        partition.iter().for_each(|record| topic.send(p, record.payload.as_deref(), START));
    }
    topic.flush();
}

fn dead_letters(log: &[Vec<Record>]) -> BTreeSet<(String, i64, i64, String)> {
    let mut dead_letters = BTreeSet::new();
    for (p, partition) in log.iter().enumerate() {
        for (o, record) in partition.iter().enumerate() {
            if let (Some(reason), Some(payload)) = (record.reason, &record.payload) {
                let text = String::from_utf8(payload.clone()).unwrap_or("base64".to_owned());
                dead_letters.insert((reason.to_owned(), p as i64, o as i64, text));
            }
        }
    }
    dead_letters
}

fn letter(line: &Value) -> (String, i64, i64, String) {
    assert_eq!(line["source"], "events");
    let payload = line.get("payload").and_then(Value::as_str);
    assert_eq!(payload.is_none(), line.get("payload_base64").is_some_and(Value::is_string), "{line}");
    let number = |name: &str| line[name].as_i64().unwrap();
    let text = payload.unwrap_or("base64").to_owned();
    (line["reason"].as_str().unwrap().to_owned(), number("partition"), number("offset"), text)
}

#[test]
fn bad_records_harm_nobody_else() {
    let case = need!(Case::new("bad_records"));
    let mut random = Random(50);
    let events = random.events(1500, 30, START, START + HOUR);
    let mut log: Vec<Vec<Record>> = vec![vec![], vec![]];
    for (i, event) in events.iter().enumerate() {
        if i % 100 == 50 {
            log[i % 2].extend(bad(&Event { ok: true, ..event.clone() }));
        }
        log[(random.below(2)) as usize].push(good(event.clone()));
    }
    sent(&case, &log);
    let path = case.job("job.toml", &job(SCHEMA, "", &(ALL_SINKS.to_owned() + &cards(&WINDOWS))));
    finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", "2"]), 0);

    let (events, s, t) = visible_records(&log);
    let expected = rows(&events, &WINDOWS, t);
    let (exported, as_of) = case.exported(&path, "cards");
    assert_eq!(as_of, t, "no wrong clock moved it");
    assert_rows("export", &exported, &expected);
    let changes = case.lines("changes.jsonl");
    assert!(micros(changes[0]["time"].as_str().unwrap()) >= s);
    assert_rows("the changelog", &play(&changes), &expected);
    let found = case.dead_letters();
    let (told, expected) = (found.iter().map(letter).collect::<BTreeSet<_>>(), dead_letters(&log));
    let differ: Vec<_> = told.symmetric_difference(&expected).take(5).collect();
    assert!(differ.is_empty(), "only in one of them: {differ:?}");
    assert_eq!(found.len(), expected.len(), "one line for each record and reason");
}

/// Producers change what they write, each at its time: a field more harms nobody, one less is null, and one of another type is a dead
/// letter where somebody uses it.
#[test]
fn fields_come_and_go() {
    let case = need!(Case::new("fields"));
    let mut random = Random(52);
    let events = random.events(300, 30, START, START + HOUR);
    let changed = |i: usize, event: Event| {
        let json = event.json();
        let without = |name: &str| {
            let (before, after) = json.split_once(&format!("{name:?}:")).unwrap();
            format!("{before}{}", after.split_once(',').unwrap().1)
        };
        let record = |payload: String, event: Option<Event>, reason| Record {
            payload: Some(payload.into()),
            clock: event.as_ref().map(|e| e.arrived),
            event,
            reason,
        };
        let more = |field: &str| json.replacen('{', &format!("{{{field},"), 1);
        let no_amount = Event { amount: None, ..event.clone() };
        let clock = Some(event.arrived);
        match i % 12 {
            1 => record(more(r#""added":{"a":[1,"x"]}"#), Some(event), None),
            2 => record(without("amount"), Some(no_amount), None),
            3 if event.ok => Record { clock, ..record(without("card"), None, Some("null key")) },
            // Without a status it is not approved.
            4 => Record { clock, ..record(without("status"), None, None) },
            5 if event.ok => {
                let text = without("amount").replacen('{', r#"{"amount":"1.5","#, 1);
                record(text, Some(no_amount), Some("expression"))
            }
            // The job names it, and nobody uses it.
            6 => record(more(r#""note":7"#), Some(event), None),
            7 => record(more(r#""note":"seven""#), Some(event), None),
            _ => good(event),
        }
    };
    let log = vec![events.into_iter().enumerate().map(|(i, event)| changed(i, event)).collect::<Vec<_>>()];
    sent(&case, &log);
    let schema = format!("{SCHEMA}note = \"string\"\n");
    let path = case.job("job.toml", &job(&schema, "", &(ALL_SINKS.to_owned() + &cards(&WINDOWS))));
    finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 0);
    let (events, _, t) = visible_records(&log);
    assert_rows("export", &case.exported(&path, "cards").0, &rows(&events, &WINDOWS, t));
    let told: BTreeSet<_> = case.dead_letters().iter().map(letter).collect();
    assert_eq!(told, dead_letters(&log));
    assert!(told.len() > 20);
}

/// One partition is half an hour behind the other: the changes are the same as if both had come in the order of arrival.
#[test]
fn a_partition_that_lags() {
    let case = need!(Case::new("lags"));
    let mut random = Random(51);
    let ahead = random.events(2000, 30, START + HOUR / 2, START + HOUR);
    let behind = random.events(2000, 30, START, START + HOUR / 2);
    let both = [ahead, behind];
    let log: Vec<Vec<Record>> = both.iter().map(|events| events.iter().cloned().map(good).collect()).collect();
    sent(&case, &log);
    let path = case.job("job.toml", &job(SCHEMA, "", &(ALL_SINKS.to_owned() + &cards(&WINDOWS))));
    finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 0);

    let (events, _, t) = visible_records(&log);
    assert_rows("export", &case.exported(&path, "cards").0, &rows(&events, &WINDOWS, t));
    // Not only at the end: in between too.
    let changes = case.lines("changes.jsonl");
    let mut looks = 0;
    for i in (0..changes.len() - 1).step_by(changes.len() / 20) {
        let time = micros(changes[i]["time"].as_str().unwrap());
        let upto =
            changes.iter().position(|line| micros(line["time"].as_str().unwrap()) > time).unwrap_or(changes.len());
        assert_rows(&format!("at {time}"), &play(&changes[..upto]), &rows(&events, &WINDOWS, time));
        looks += 1;
    }
    assert!(looks > 10);
}
