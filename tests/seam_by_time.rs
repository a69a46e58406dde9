//! A seam by time: what arrived up to the last row of the history is the history's, wherever it lies in the topic; the rest is
//! the stream's. With `complete_until` the job says itself where that is.

use crate::support::*;

/// What a run shows: history rows from the seam on, stream records by the running maximum of those that are taken.
fn visible_by_time(log: &Log, in_history: impl Fn(&Event) -> bool) -> (Vec<Visible>, i64) {
    let newest = log.iter().flatten().filter(|e| in_history(e)).map(|e| e.arrived).max().unwrap();
    let s = up(newest, TICK);
    let mut all = vec![];
    for partition in log {
        let mut eff = i64::MIN;
        for event in partition {
            let a = if in_history(event) { event.arrived } else { eff.max(event.arrived) };
            eff = if in_history(event) { eff } else { a };
            all.push(Visible { event: event.clone(), v: up(a.max(event.ts).max(s), TICK) });
        }
    }
    (all, s)
}

/// Arrivals that are not quite in the order of offsets.
fn disordered(mut random: Random, partitions: usize) -> Log {
    let events = random.events(5000, 80, START, START + 2 * HOUR);
    let mut log = random.part(&events, partitions, &[]);
    for partition in &mut log {
        for i in 0..partition.len() {
            let with = (i + random.below(30) as usize).min(partition.len() - 1);
            partition.swap(i, with);
        }
    }
    log
}

fn check(case: &Case, path: &std::path::Path, visible: &[Visible], s: i64) {
    let log = finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", "2"]), 0).stderr;
    let t = visible.iter().map(|e| up(e.event.arrived, TICK)).max().unwrap().max(s);
    let expected = rows(visible, &WINDOWS, t);
    let (exported, as_of) = case.exported(path, "cards");
    assert_eq!(as_of, t, "{log}");
    assert_rows("export", &exported, &expected);
    let stored = snapshot(&mut connect(&case.redis), &case.name, "cards");
    assert_rows("Redis", &stored.rows(&expected), &expected);
    let changes = case.lines("changes.jsonl");
    assert_eq!(micros(changes[0]["time"].as_str().unwrap()), s);
    assert_rows("the changelog", &play(&changes), &expected);
}

#[test]
fn by_arrival() {
    let case = need!(Case::new("by_arrival"));
    let log = disordered(Random(20), 3);
    let c = START + HOUR;
    Topic::new(&case.kafka, &case.name, 3).fill(&log);
    let rows = history_of(&log, &log.iter().map(Vec::len).collect::<Vec<_>>());
    let rows: Vec<_> = rows.into_iter().filter(|row| row.0.arrived <= c).collect();
    write_parquet(&case.path("history/a.parquet"), &rows);
    let path = case.job("job.toml", &job(HISTORY, "", &(ALL_SINKS.to_owned() + &cards(&WINDOWS))));
    let (visible, s) = visible_by_time(&log, |event| event.arrived <= c);
    check(&case, &path, &visible, s);
}

#[test]
fn complete_until() {
    let case = need!(Case::new("complete_until"));
    let log = disordered(Random(21), 2);
    Topic::new(&case.kafka, &case.name, 2).fill(&log);
    // The history goes on past the point up to which it is complete, with every second row.
    let until = START + HOUR;
    let all = history_of(&log, &log.iter().map(Vec::len).collect::<Vec<_>>());
    let rows: Vec<_> = all
        .into_iter()
        .enumerate()
        .filter(|(i, row)| row.0.arrived < until || i % 2 == 0)
        .map(|(_, row)| row)
        .collect();
    write_parquet(&case.path("history/a.parquet"), &rows);
    let history = HISTORY.to_owned() + "complete_until = \"2026-01-05T01:00:00Z\"\n";
    let path = case.job("job.toml", &job(&history, "by = \"time\"", &(ALL_SINKS.to_owned() + &cards(&WINDOWS))));
    let (visible, s) = visible_by_time(&log, |event| event.arrived < until);
    check(&case, &path, &visible, s);
}

/// Without arrivals the cut is by event time, and a stream record's arrival is its stamp.
#[test]
fn complete_until_by_event_time() {
    let case = need!(Case::new("complete_by_event_time"));
    let log = disordered(Random(22), 2);
    Topic::new(&case.kafka, &case.name, 2).fill(&log);
    let until = START + HOUR;
    let all = history_of(&log, &log.iter().map(Vec::len).collect::<Vec<_>>());
    let rows: Vec<_> = all.into_iter().filter(|row| row.0.ts < until).collect();
    write_parquet(&case.path("history/a.parquet"), &rows);
    let history = HISTORY.to_owned() + "complete_until = \"2026-01-05T01:00:00Z\"\n";
    let text =
        job(&history, "", &(ALL_SINKS.to_owned() + &cards(&WINDOWS))).replace("arrival_time = \"arrived\"\n", "");
    let path = case.job("job.toml", &text);
    // In the history an event has arrived when it happened.
    let mut known = log.clone();
    known.iter_mut().flatten().filter(|event| event.ts < until).for_each(|event| event.arrived = event.ts);
    let (visible, s) = visible_by_time(&known, |event| event.ts < until);
    check(&case, &path, &visible, s);
}

#[test]
fn by_event_time_alone_is_refused() {
    let case = need!(Case::new("event_time_alone"));
    let log = disordered(Random(23), 1);
    Topic::new(&case.kafka, &case.name, 1).fill(&log);
    write_parquet(&case.path("history/a.parquet"), &history_of(&log, &[1000]));
    let text = job(HISTORY, "", &(ALL_SINKS.to_owned() + &cards(&WINDOWS))).replace("arrival_time = \"arrived\"\n", "");
    let path = case.job("job.toml", &text);
    let stderr = finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 2).stderr;
    assert!(stderr.contains("job.toml:"), "it has its place: {stderr}");
    assert!(stderr.contains("complete_until") && stderr.contains("allow_gap"), "it says what helps: {stderr}");
}
