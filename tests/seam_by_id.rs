//! A seam by id: history and topic overlap, and the ids of the overlap say which records the history has. What somebody wrote
//! late, and is in the topic alone, counts; what both have counts once.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::support::*;

const BY_ID: &str = r#"by = "id", id = "id", overlap = "20m""#;
const OVERLAP: i64 = 20 * MINUTE;

/// An event and its id, and where it is.
#[derive(Clone, Debug)]
struct Known {
    event: Event,
    id: Option<String>,
}

impl Known {
    fn json(&self) -> String {
        let id = self.id.as_ref().map_or("null".to_owned(), |id| format!("{id:?}"));
        self.event.json().replacen('{', &format!("{{\"id\":{id},"), 1)
    }
}

/// History rows, and the topic's records by partition.
struct Sides {
    history: Vec<Known>,
    topic: Vec<Vec<Known>>,
}

impl Sides {
    /// The largest arrival of the history.
    fn c(&self) -> i64 {
        self.history.iter().map(|known| known.event.arrived).max().unwrap()
    }

    fn taken(&self) -> Vec<Vec<&Known>> {
        let from = self.c() - OVERLAP;
        let late = self.history.iter().filter(|known| known.event.arrived >= from);
        let held: HashSet<&String> = late.filter_map(|known| known.id.as_ref()).collect();
        let takes =
            |known: &&Known| known.event.arrived >= from && !known.id.as_ref().is_some_and(|id| held.contains(id));
        self.topic.iter().map(|records| records.iter().filter(takes).collect()).collect()
    }

    fn passed_over(&self) -> usize {
        let all: usize = self.topic.iter().map(Vec::len).sum();
        all - self.taken().iter().map(Vec::len).sum::<usize>()
    }

    /// What counts, and from when on.
    fn visible(&self) -> Vec<Visible> {
        let s = up(self.c(), TICK);
        let mut all: Vec<Visible> = self.history.iter().map(|k| Visible { event: k.event.clone(), v: s }).collect();
        for records in self.taken() {
            let mut eff = i64::MIN;
            for Known { event, .. } in records {
                eff = eff.max(event.arrived);
                all.push(Visible { event: event.clone(), v: up(eff.max(event.ts).max(s), TICK) });
            }
        }
        all
    }

    fn write(&self, case: &Case, topic: &Topic) {
        write_history(&case.path("history/a.parquet"), &self.history);
        for (partition, records) in self.topic.iter().enumerate() {
            records.iter().for_each(|known| send(topic, partition, known));
        }
        topic.flush();
    }
}

fn send(topic: &Topic, partition: usize, known: &Known) {
    topic.send(partition, Some(known.json().as_bytes()), known.event.arrived);
}

/// In groups of a few rows, so that statistics leave most of them out.
fn write_history(path: &Path, rows: &[Known]) {
    let us = |of: fn(&Event) -> i64| {
        let values: Vec<i64> = rows.iter().map(|known| of(&known.event)).collect();
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef
    };
    let text = |of: fn(&Known) -> Option<&str>| Arc::new(StringArray::from_iter(rows.iter().map(of))) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", text(|k| k.id.as_deref()), true),
        ("card", text(|k| Some(&k.event.card)), true),
        ("amount", Arc::new(Float64Array::from_iter(rows.iter().map(|k| k.event.amount))) as ArrayRef, true),
        ("status", text(|k| Some(if k.event.ok { "approved" } else { "declined" })), true),
        ("ts", us(|e| e.ts), true),
        ("arrived", us(|e| e.arrived), true),
    ])
    .unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(500)).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Two hours of events that end at `until`. The history has the first; the topic all but the first half hour. Of the last
/// quarter of an hour of the history every ninth row is in the topic alone: it was written late. Now and then an id is null,
/// on either side or both.
fn sides(random: &mut Random, until: i64, partitions: usize) -> Sides {
    let from = until - 2 * HOUR;
    let events = random.events(6000, 80, from, until);
    let mut sides = Sides { history: vec![], topic: vec![vec![]; partitions] };
    for (n, event) in events.into_iter().enumerate() {
        let id = (random.below(40) > 0).then(|| format!("event {n}"));
        let at = event.arrived - from;
        let late = at > 45 * MINUTE && random.below(9) == 0;
        let known = Known { event, id };
        if at <= HOUR && !late {
            sides.history.push(known.clone());
        }
        if at >= 30 * MINUTE {
            let records = &mut sides.topic[random.below(partitions as u64) as usize];
            records.push(known);
            // Not quite in the order of arrival.
            let (last, with) = (records.len() - 1, records.len().saturating_sub(1 + random.below(20) as usize));
            records.swap(last, with);
        }
    }
    sides
}

fn job_by_id(case: &Case) -> PathBuf {
    case.job("job.toml", &job(HISTORY, BY_ID, &(ALL_SINKS.to_owned() + &cards(&WINDOWS))))
}

fn approved<'a>(events: impl Iterator<Item = &'a Event>) -> usize {
    events.filter(|event| event.ok).count()
}

#[test]
fn what_both_have_counts_once() {
    for (workers, seed) in [("1", 50), ("3", 51)] {
        let case = need!(Case::new(&format!("by_id_{workers}")));
        let sides = sides(&mut Random(seed), START + 2 * HOUR, 3);
        sides.write(&case, &Topic::new(&case.kafka, &case.name, 3));
        let path = job_by_id(&case);
        finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", workers]), 0);

        let (events, s) = (sides.visible(), up(sides.c(), TICK));
        let t = events.iter().map(|e| up(e.event.arrived, TICK)).max().unwrap();
        let expected = rows(&events, &WINDOWS, t);
        let (exported, as_of) = case.exported(&path, "cards");
        assert_eq!(as_of, t);
        assert_rows("export", &exported, &expected);
        let stored = snapshot(&mut connect(&case.redis), &case.name, "cards");
        assert_rows("Redis", &stored.rows(&expected), &expected);
        let changes = case.lines("changes.jsonl");
        assert_eq!(micros(changes[0]["time"].as_str().unwrap()), s);
        assert_rows("the changelog", &play(&changes), &expected);
        assert_eq!(case.dead_letters().len(), 0);

        // Every event with an id is counted once, wherever it was.
        let both = sides.history.iter().chain(sides.topic.iter().flatten());
        let ids: HashSet<&String> = both.clone().filter(|k| k.event.ok).filter_map(|k| k.id.as_ref()).collect();
        let from = sides.c() - OVERLAP;
        let compared = |known: &&Known| known.event.arrived >= from;
        let nameless = sides.history.iter().chain(sides.topic.iter().flatten().filter(compared));
        let counted: u64 = exported.values().map(|row| row["n_all"].as_u64().unwrap()).sum();
        let nameless = approved(nameless.filter(|known| known.id.is_none()).map(|known| &known.event));
        assert_eq!(counted as usize, ids.len() + nameless);
    }
}

#[test]
fn check_tells_the_seam_and_samples_by_it() {
    let case = need!(Case::new("by_id_check"));
    let sides = sides(&mut Random(52), START + 2 * HOUR, 2);
    sides.write(&case, &Topic::new(&case.kafka, &case.name, 2));
    let path = job_by_id(&case);
    let told = finish(run(&["check", path.to_str().unwrap(), "--sample", "100000"]), 0).stdout;
    assert!(told.contains("by id") && told.contains("ids are compared from"), "{told}");
    let events = sides.history.len() + sides.taken().iter().map(Vec::len).sum::<usize>();
    assert!(told.contains(&format!("what the {events} latest events")), "{told}");
}

/// While the history is read and after: new events, some that were written late, and some that the history has already.
#[test]
fn records_that_come_meanwhile() {
    let case = need!(Case::new("by_id_live"));
    let mut random = Random(53);
    let mut sides = sides(&mut random, now_us() / 1000 * 1000 - MINUTE, 2);
    let topic = Topic::new(&case.kafka, &case.name, 2);
    sides.write(&case, &topic);
    let path = job_by_id(&case);
    let running = run(&["run", path.to_str().unwrap(), "--workers", "2"]);
    let (from, c) = (sides.c() - OVERLAP, sides.c());
    for n in 0..1500 {
        let partition = n % 2;
        let again = &sides.history[random.below(sides.history.len() as u64) as usize];
        let mut known = again.clone();
        // Each partition begins with a new one: how far a record lags behind the end decides how far `T` goes.
        let kind = if n < 2 { 3 } else { random.below(4) };
        match kind {
            0 => {}
            1 => {
                known.id = Some(format!("late {n}"));
                known.event.arrived = from - MINUTE + random.below(((c - from + MINUTE) / 1000) as u64) as i64 * 1000;
            }
            _ => {
                let now = now_us() / 1000 * 1000;
                known.id = Some(format!("new {n}"));
                (known.event.arrived, known.event.ts) = (now, now - random.below(3000) as i64 * 1000);
            }
        }
        send(&topic, partition, &known);
        sides.topic[partition].push(known);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    topic.flush();
    let newest = sides.topic.iter().flatten().map(|known| known.event.arrived).max().unwrap();
    let mut connection = connect(&case.redis);
    until("all events", || as_of(&mut connection, &case.name, "cards").filter(|as_of| *as_of > newest + SECOND));
    let status = finish(run(&["status", path.to_str().unwrap(), "--json"]), 0).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["sources"][0]["passed_over"], sides.passed_over(), "{status}");
    running.terminate();

    let stored = snapshot(&mut connection, &case.name, "cards");
    let expected = rows(&sides.visible(), &WINDOWS, stored.as_of.unwrap());
    assert_rows("Redis", &stored.rows(&expected), &expected);
    assert_rows("the changelog", &play(&case.lines("changes.jsonl")), &expected);
}

/// The topic has to reach back to the end of the history, not to the overlap's begin.
#[test]
fn a_gap() {
    let case = need!(Case::new("by_id_gap"));
    let mut sides = sides(&mut Random(54), START + 2 * HOUR, 2);
    sides.topic.iter_mut().for_each(|records| records.sort_by_key(|known| known.event.arrived));
    let topic = Topic::new(&case.kafka, &case.name, 2);
    sides.write(&case, &topic);
    let path = job_by_id(&case);
    let until_end = ["run", path.to_str().unwrap(), "--until-end", "--fresh"];
    let c = sides.c();
    let first = |p: usize| sides.topic[p].iter().position(|known| known.event.arrived > c).unwrap();
    let cut = [first(0) - 1, first(1) + 2];
    topic.cut(0, cut[0] as i64);
    finish(run(&until_end), 0);
    topic.cut(1, cut[1] as i64);
    let stderr = finish(run(&until_end), 3).stderr;
    assert!(stderr.contains("partition 1") && !stderr.contains("partition 0:"), "{stderr}");
}
