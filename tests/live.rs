//! Following a topic: while the history is read and after, rows become what the model says, and fall as events grow old.

use std::path::Path;

use crate::support::*;

const SHORT: [(&str, Option<i64>); 3] = [("3s", Some(3 * SECOND)), ("1h", Some(HOUR)), ("all", None)];

/// Events of this moment, a few of them late, sent as they are made.
fn produce(topic: &Topic, random: &mut Random, log: &mut Log, n: usize) {
    for _ in 0..n {
        let p = random.below(log.len() as u64) as usize;
        let arrived = now_us() / 1000 * 1000;
        let late = if random.below(4) == 0 { random.below(2000) as i64 * 1000 } else { 0 };
        let event = Event {
            card: format!("c{}", random.below(40)),
            amount: Some(random.below(400) as f64 / 4.0),
            ok: random.below(8) > 0,
            ts: arrived - late,
            arrived,
        };
        topic.send_event(p, &event);
        log[p].push(event);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    topic.flush();
}

/// The history: an hour up to a minute ago.
fn past(case: &Case, random: &mut Random, partitions: usize) -> (Log, i64) {
    let now = now_us() / 1000 * 1000;
    let events = random.events(20_000, 40, now - HOUR, now - MINUTE);
    let log = random.part(&events, partitions, &[]);
    let cuts: Vec<usize> = log.iter().map(Vec::len).collect();
    write_parquet(&case.path("history/a.parquet"), &history_of(&log, &cuts));
    (log, up(events.iter().map(|event| event.arrived).max().unwrap(), TICK))
}

/// The store at this moment is what the model says: each row at its last change, or at `_as_of` if that is later.
fn is_right(stored: &Snapshot, events: &[Visible]) {
    let as_of = stored.as_of.unwrap();
    let now = rows(events, &SHORT, as_of);
    let found = stored.rows(&now);
    let newer = |key: &String| stored.changed_at(key).max(as_of);
    let expected =
        found.keys().filter_map(|key| Some((key.clone(), rows(events, &SHORT, newer(key)).remove(key)?))).collect();
    assert_rows(&format!("as of {as_of}"), &found, &expected);
    assert!(found.len() == now.len(), "lifetime rows stay");
}

/// Waits until the store has come past everything that was sent, and looks at it again and again while values fall.
fn watch(case: &Case, log: &Log, s: i64) {
    let mut connection = connect(&case.redis);
    let newest = log.iter().flatten().map(|event| event.arrived).max().unwrap();
    let events = visible(log, s, TICK);
    let mut looks = 0;
    until("all events, and the time until they are old", || {
        let stored = snapshot(&mut connection, &case.name, "cards");
        if stored.as_of.is_none_or(|as_of| as_of < newest + SECOND) {
            return None;
        }
        is_right(&stored, &events);
        looks += 1;
        (stored.as_of.unwrap() > newest + 4 * SECOND).then_some(())
    });
    assert!(looks > 1);
}

#[test]
fn rows_follow_the_topic_and_the_clock() {
    let case = need!(Case::new("live"));
    let mut random = Random(40);
    let (mut log, s) = past(&case, &mut random, 3);
    let topic = Topic::new(&case.kafka, &case.name, 3);
    topic.fill(&log);
    let path = case.job("job.toml", &job(HISTORY, BY_OFFSET, &(ALL_SINKS.to_owned() + &cards(&SHORT))));
    let running = run(&["run", path.to_str().unwrap(), "--workers", "2"]);
    produce(&topic, &mut random, &mut log, 1000);
    watch(&case, &log, s);
    produce(&topic, &mut random, &mut log, 300);
    watch(&case, &log, s);
    running.terminate();

    // After a clean end everything up to `_as_of` is everywhere.
    let stored = snapshot(&mut connect(&case.redis), &case.name, "cards");
    let expected = rows(&visible(&log, s, TICK), &SHORT, stored.as_of.unwrap());
    assert_rows("Redis", &stored.rows(&expected), &expected);
    let (exported, as_of) = case.exported(&path, "cards");
    assert_rows("export", &exported, &rows(&visible(&log, s, TICK), &SHORT, as_of));
    assert_rows("the changelog", &play(&case.lines("changes.jsonl")), &exported);
}

/// Killed while events come, with others that come while it is down, and gone on from its checkpoint by other workers: nothing is
/// lost or counted twice, and the history is not read again.
#[test]
fn killed_and_gone_on() {
    let case = need!(Case::new("gone_on"));
    let mut random = Random(43);
    let (mut log, s) = past(&case, &mut random, 3);
    let topic = Topic::new(&case.kafka, &case.name, 3);
    topic.fill(&log);
    let state = "\n[state]\ncheckpoint_every = \"200ms\"\n";
    let path = case.job("job.toml", &job(HISTORY, BY_OFFSET, &(ALL_SINKS.to_owned() + &cards(&SHORT) + state)));
    for workers in ["2", "3", "1"] {
        let running = run(&["run", path.to_str().unwrap(), "--workers", workers]);
        let newest = newest_checkpoint(&case.local());
        for _ in 0..2 {
            let before = newest_checkpoint(&case.local());
            until("another checkpoint", || {
                produce(&topic, &mut random, &mut log, 50);
                (newest_checkpoint(&case.local()) > before).then_some(())
            });
        }
        assert_eq!(running.log().contains("going on from a checkpoint"), newest > 0, "{}", running.log());
        running.kill();
        produce(&topic, &mut random, &mut log, 300);
    }
    let running = run(&["run", path.to_str().unwrap(), "--workers", "2"]);
    watch(&case, &log, s);
    let log_text = running.log();
    running.terminate();
    assert!(log_text.contains("going on from a checkpoint"), "{log_text}");
    let stored = snapshot(&mut connect(&case.redis), &case.name, "cards");
    let expected = rows(&visible(&log, s, TICK), &SHORT, stored.as_of.unwrap());
    assert_rows("Redis", &stored.rows(&expected), &expected);
    let (exported, as_of) = case.exported(&path, "cards");
    assert_rows("export", &exported, &rows(&visible(&log, s, TICK), &SHORT, as_of));
    assert_rows("the changelog", &play(&case.lines("changes.jsonl")), &exported);

    // A clean end leaves a checkpoint of its last tick.
    let last = newest_checkpoint(&case.local());
    let running = run(&["run", path.to_str().unwrap()]);
    until("a checkpoint after the clean end", || (newest_checkpoint(&case.local()) > last).then_some(()));
    running.terminate();
    let (exported, as_of) = case.exported(&path, "cards");
    assert_rows("export", &exported, &rows(&visible(&log, s, TICK), &SHORT, as_of));
}

/// A record that comes while the job is down, with an arrival that `T` has passed: a run that ends goes as far as it counts.
#[test]
fn behind_the_clock_at_the_end() {
    let case = need!(Case::new("behind"));
    let mut random = Random(44);
    let (mut log, s) = past(&case, &mut random, 2);
    let topic = Topic::new(&case.kafka, &case.name, 2);
    topic.fill(&log);
    let path = case.job("job.toml", &job(HISTORY, BY_OFFSET, &(ALL_SINKS.to_owned() + &cards(&SHORT))));
    let running = run(&["run", path.to_str().unwrap()]);
    produce(&topic, &mut random, &mut log, 100);
    watch(&case, &log, s);
    running.terminate();

    let (_, stood) = case.exported(&path, "cards");
    let arrived = stood - 3 * SECOND / 2;
    let event = Event { card: "behind".to_owned(), amount: Some(1.0), ok: true, ts: arrived, arrived };
    topic.send_event(1, &event);
    topic.flush();
    log[1].push(event);
    for _ in 0..2 {
        finish(run(&["run", "--until-end", path.to_str().unwrap()]), 0);
        let (exported, as_of) = case.exported(&path, "cards");
        assert_eq!(as_of, stood + TICK, "the first tick that was not published, and no further");
        assert_rows("export", &exported, &rows(&visible(&log, s, TICK), &SHORT, as_of));
        assert_rows("the changelog", &play(&case.lines("changes.jsonl")), &exported);
    }
}

/// Without a history, and with nothing in the topic, it begins now.
#[test]
fn an_empty_start() {
    let case = need!(Case::new("empty_start"));
    let topic = Topic::new(&case.kafka, &case.name, 2);
    let path = case.job("job.toml", &job(SCHEMA, "", &(REDIS_SINK.to_owned() + &cards(&SHORT))));
    let before = now_us();
    let running = run(&["run", path.to_str().unwrap()]);
    let mut connection = connect(&case.redis);
    let first = until("the first `_as_of`", || as_of(&mut connection, &case.name, "cards"));
    assert!(first >= before, "the seam is the wall clock of the start");
    let mut log = vec![vec![], vec![]];
    produce(&topic, &mut Random(41), &mut log, 100);
    watch(&case, &log, before);
    running.terminate();
}

/// Whether or not anything happens, SIGTERM and SIGINT end a run.
#[test]
fn a_signal_ends_it_early() {
    let case = need!(Case::new("signals"));
    let mut random = Random(42);
    let (log, _) = past(&case, &mut random, 1);
    Topic::new(&case.kafka, &case.name, 1).fill(&log);
    let path = case.job("job.toml", &job(HISTORY, BY_OFFSET, &(ALL_SINKS.to_owned() + &cards(&SHORT))));
    for signal in ["TERM", "INT"] {
        let running = run(&["run", path.to_str().unwrap()]);
        until("the seam", || running.log().contains("seam").then_some(()));
        running.signal(signal);
        finish(running, 0);
    }
    let _: &Path = &path;
}
