//! Partitions that a topic gets while a job follows it: every event in them counts once, whoever reads them, before and after the
//! job is killed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::*;

const SHORT: [(&str, Option<i64>); 3] = [("3s", Some(3 * SECOND)), ("1h", Some(HOUR)), ("all", None)];

/// Windows that end before a new partition is seen, and take nothing late.
const SECONDS: &str = r#"
[features.seconds]
source = "events"
key    = "card"
window = { tumbling = "1s" }
retain = "1000d"
columns = { n = { agg = "count" } }
[state]
checkpoint_every = "200ms"
"#;

fn event(random: &mut Random, at: i64) -> Event {
    let (card, amount) = (format!("c{}", random.below(20)), random.below(400) as f64 / 4.0);
    Event { card, amount: Some(amount), ok: random.below(8) > 0, ts: at, arrived: at }
}

/// Events of this moment, in all partitions.
fn produce(topic: &Topic, random: &mut Random, log: &mut Log, n: usize) {
    let partitions = log.len();
    produce_in(partitions, topic, random, log, n);
}

/// In the first ones.
fn produce_in(partitions: usize, topic: &Topic, random: &mut Random, log: &mut Log, n: usize) {
    for _ in 0..n {
        let p = random.below(partitions as u64) as usize;
        let event = event(random, now_us() / 1000 * 1000);
        topic.send_event(p, &event);
        log[p].push(event);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    topic.flush();
}

/// Leaves what is in the topic. Of a partition that was just made, the broker may take a first record for one that it has already: then
/// it is acknowledged, and nowhere.
fn leave_held(case: &Case, topic: &Topic, log: &mut Log) {
    let mut lost = 0;
    for (events, held) in log.iter_mut().zip(records(&case.kafka, &topic.name)) {
        let (sent, mut held) = (events.len(), held.into_iter().map(|record| record.value).peekable());
        events.retain(|event| held.next_if_eq(&event.json()).is_some());
        assert_eq!(held.next(), None, "nothing else is there");
        lost += sent - events.len();
    }
    assert!(lost < 20, "{lost} records are not in the topic");
}

fn widen(topic: &Topic, log: &mut Log, partitions: usize) {
    topic.widen(partitions);
    log.resize(partitions, vec![]);
}

/// Waits until `T` has passed everything that was sent.
fn reached(case: &Case, log: &Log) {
    let newest = log.iter().flatten().map(|event| event.arrived).max().unwrap();
    let mut connection = connect(&case.redis);
    until("all events", || (as_of(&mut connection, &case.name, "cards")? > newest + SECOND).then_some(()));
}

/// Waits until the new partitions are seen, while the old ones go on and windows end.
fn seen(running: &Running, new: usize, topic: &Topic, random: &mut Random, log: &mut Log) {
    let old = log.len() - new;
    until("the new partitions", || {
        produce_in(old, topic, random, log, 20);
        (running.log().matches("a new partition").count() == new).then_some(())
    });
}

/// By card and start.
type Counts = BTreeMap<(String, i64), i64>;

fn assert_exact(case: &Case, path: &str, log: &Log, s: i64) {
    let (exported, as_of) = case.exported(path.as_ref(), "cards");
    let expected = rows(&visible(log, s, TICK), &SHORT, as_of);
    assert_rows("export", &exported, &expected);
    let stored = snapshot(&mut connect(&case.redis), &case.name, "cards");
    assert_rows("Redis", &stored.rows(&expected), &expected);
    let changes = case.lines("changes.jsonl").into_iter().filter(|line| line["features"] == "cards");
    assert_rows("the changelog", &play(&changes.collect::<Vec<_>>()), &expected);

    let mut counts = Counts::new();
    for event in log.iter().flatten() {
        *counts.entry((event.card.clone(), event.ts.div_euclid(SECOND) * SECOND)).or_default() += 1;
    }
    let row = |line: Value| {
        let start = micros(line["window"]["start"].as_str().unwrap());
        ((line["key"]["card"].as_str().unwrap().to_owned(), start), line["row"]["n"].as_i64().unwrap())
    };
    let found: Counts = json_lines(&finish(run(&["export", path, "seconds"]), 0).stdout).into_iter().map(row).collect();
    let differ: Vec<_> = counts.iter().filter(|(key, n)| found.get(*key) != Some(n)).take(5).collect();
    assert!(found == counts, "{} and {} windows, {differ:?}", found.len(), counts.len());
    assert_eq!(case.dead_letters(), [Value::Null; 0]);
}

fn partitions_that_come(test: &str, workers: [&str; 2], seed: u64) {
    let case = need!(Case::new(test));
    let mut random = Random(seed);
    let now = now_us() / 1000 * 1000;
    let past: Vec<Event> = (0..2000).map(|n| event(&mut random, now - HOUR + n * SECOND)).collect();
    let mut log = random.part(&past, 2, &[]);
    let cuts: Vec<usize> = log.iter().map(Vec::len).collect();
    write_parquet(&case.path("history/a.parquet"), &history_of(&log, &cuts));
    let s = up(past.last().unwrap().arrived, TICK);
    let topic = Topic::new(&case.kafka, &case.name, 2);
    topic.fill(&log);
    let job = case.job("job.toml", &job(HISTORY, BY_OFFSET, &(ALL_SINKS.to_owned() + &cards(&SHORT) + SECONDS)));
    let path = job.to_str().unwrap();

    let running = run(&["run", path, "--workers", workers[0]]);
    produce(&topic, &mut random, &mut log, 100);
    reached(&case, &log);
    widen(&topic, &mut log, 5);
    // These come before anybody has seen the partitions, and these after.
    produce(&topic, &mut random, &mut log, 500);
    seen(&running, 3, &topic, &mut random, &mut log);
    produce(&topic, &mut random, &mut log, 300);
    reached(&case, &log);
    let newest = newest_checkpoint(&case.local());
    until("two more checkpoints", || (newest_checkpoint(&case.local()) >= newest + 2).then_some(()));
    running.kill();

    // Killed, it goes on in them; and others have come meanwhile.
    widen(&topic, &mut log, 6);
    produce(&topic, &mut random, &mut log, 200);
    let running = run(&["run", path, "--workers", workers[1]]);
    reached(&case, &log);
    widen(&topic, &mut log, 8);
    produce(&topic, &mut random, &mut log, 300);
    seen(&running, 2, &topic, &mut random, &mut log);
    produce(&topic, &mut random, &mut log, 100);
    reached(&case, &log);
    leave_held(&case, &topic, &mut log);
    let sent: Vec<_> = log.iter().enumerate().map(|(p, events)| (p as i64, events.len() as i64)).collect();
    // A status is of some moments ago.
    until("all positions", || {
        // Each look is a process, and there is work to do for others.
        std::thread::sleep(std::time::Duration::from_millis(200));
        (positions(path) == sent).then_some(())
    });
    let log_text = running.log();
    assert!(log_text.contains("going on from a checkpoint"), "{log_text}");
    running.terminate();
    assert_exact(&case, path, &log, s);
    finish(run(&["run", path, "--until-end"]), 0);
    assert_exact(&case, path, &log, s);
}

/// By partition, as `status` tells it.
fn positions(path: &str) -> Vec<(i64, i64)> {
    let told: Value = serde_json::from_str(&finish(run(&["status", path, "--json"]), 0).stdout).unwrap();
    let position = |p: &Value| (p["partition"].as_i64().unwrap(), p["position"].as_i64().unwrap());
    told["sources"][0]["partitions"].as_array().unwrap().iter().map(position).collect()
}

#[test]
fn with_one_worker() {
    partitions_that_come("new_partitions_1", ["1", "3"], 80);
}

#[test]
fn with_three_workers() {
    partitions_that_come("new_partitions_3", ["3", "2"], 81);
}

/// What retention has taken from a partition that nobody has read yet is a gap.
#[test]
fn a_new_partition_that_has_lost_records() {
    let case = need!(Case::new("new_partition_gap"));
    let topic = Topic::new(&case.kafka, &case.name, 1);
    let (mut log, mut random): (Log, _) = (vec![vec![]], Random(82));
    let text = job(SCHEMA, "", &(ALL_SINKS.to_owned() + &cards(&SHORT)));
    let path = case.job("job.toml", &text);
    let path = path.to_str().unwrap();
    let running = run(&["run", path]);
    produce(&topic, &mut random, &mut log, 10);
    reached(&case, &log);
    running.terminate();
    widen(&topic, &mut log, 2);
    produce(&topic, &mut random, &mut log, 20);
    topic.cut(1, 3);
    let said = finish(run(&["run", path]), 3).stderr;
    assert!(said.contains("partition 1: offsets 0..2 are gone, the earliest held is 3"), "{said}");
    case.job("job.toml", &text.replace("[sources.events]\n", "[sources.events]\nseam = { allow_gap = true }\n"));
    finish(run(&["run", path, "--until-end"]), 0);
    log[1].drain(..3);
    let (exported, as_of) = case.exported(path.as_ref(), "cards");
    let first = log[0].first().unwrap().arrived;
    assert_rows("export", &exported, &rows(&visible(&log, first, TICK), &SHORT, as_of));
}
