//! A seam by offset: the history and the topic overlap, and every event counts once. Into Redis, the embedded store and a
//! changelog at the same time.

use crate::support::*;

/// `cuts`: how many records of each partition the history has; `deleted`: how many of them the topic lost.
fn check(test: &str, log: &Log, cuts: &[usize], deleted: &[usize]) {
    let case = need!(Case::new(test));
    let topic = Topic::new(&case.kafka, &case.name, log.len());
    topic.fill(log);
    deleted.iter().enumerate().filter(|(_, n)| **n > 0).for_each(|(p, n)| topic.cut(p, *n as i64));
    let history = history_of(log, cuts);
    let (older, newer) = history.split_at(history.len() / 3);
    write_parquet(&case.path("history/a.parquet"), older);
    write_parquet(&case.path("history/b.parquet"), newer);
    let path = case.job("job.toml", &job(HISTORY, BY_OFFSET, &(ALL_SINKS.to_owned() + &cards(&WINDOWS))));

    finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", "2"]), 0);

    let s = up(history.iter().map(|row| row.0.arrived).max().unwrap(), TICK);
    let t = up(log.iter().flatten().map(|event| event.arrived).max().unwrap(), TICK).max(s);
    let expected = rows(&visible(log, s, TICK), &WINDOWS, t);
    let (exported, as_of) = case.exported(&path, "cards");
    assert_eq!(as_of, t);
    assert_rows("export", &exported, &expected);
    let stored = snapshot(&mut connect(&case.redis), &case.name, "cards");
    assert_eq!((stored.as_of, stored.upto.is_some_and(|upto| upto <= t)), (Some(t), true));
    assert_rows("Redis", &stored.rows(&expected), &expected);
    let changes = case.lines("changes.jsonl");
    assert_eq!(micros(changes[0]["time"].as_str().unwrap()), s, "the history's result appears at the seam");
    assert_rows("the changelog", &play(&changes), &expected);
    assert_eq!(case.dead_letters().len(), 0);
}

#[test]
fn one_partition() {
    let mut random = Random(1);
    let log = vec![random.events(3000, 60, START, START + 2 * HOUR)];
    check("one_partition", &log, &[2000], &[1500]);
}

#[test]
fn three_partitions_that_end_apart() {
    let mut random = Random(3);
    let events = random.events(6000, 100, START, START + 2 * HOUR);
    let log = random.part(&events, 3, &[]);
    check("three_partitions", &log, &[100, 1500, 700], &[100, 0, 300]);
}

#[test]
fn eight_partitions_one_of_them_empty_one_unknown_to_the_history() {
    let mut random = Random(8);
    let events = random.events(8000, 100, START, START + 2 * HOUR);
    let log = random.part(&events, 8, &[5]);
    check("eight_partitions", &log, &[100, 900, 0, 500, 400, 0, 300, 200], &[100, 800, 0, 500, 0, 0, 0, 0]);
}
