//! One job, two sources: each has its seam and its own beginning, and nothing of a group is there before its source's.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::*;

/// The second source: a history alone, in JSON lines.
fn sales() -> String {
    let schema = SCHEMA.replace("events", "sales");
    let history = "[sources.sales.history]\ntype = \"jsonl\"\npath = \"sales/*.jsonl\"\n";
    let times = "[sources.sales]\nevent_time = \"ts\"\narrival_time = \"arrived\"\n";
    let group = cards(&WINDOWS).replace("features.cards", "features.sold").replace("\"events\"", "\"sales\"");
    format!("{times}{schema}{history}{group}")
}

fn write_sales(case: &Case, events: &[Event]) {
    std::fs::create_dir_all(case.path("sales")).unwrap();
    for (n, part) in events.chunks(events.len().div_ceil(3)).enumerate() {
        let lines: Vec<String> = part.iter().map(|event| event.json() + "\n").collect();
        std::fs::write(case.path(&format!("sales/{n}.jsonl")), lines.concat()).unwrap();
    }
}

fn two_sources(case: &Case) -> PathBuf {
    case.job("job.toml", &job(HISTORY, BY_OFFSET, &(ALL_SINKS.to_owned() + &cards(&WINDOWS) + &sales())))
}

fn newest<'a>(events: impl Iterator<Item = &'a Event>) -> i64 {
    up(events.map(|event| event.arrived).max().unwrap(), TICK)
}

fn of_group(changes: &[Value], group: &str) -> Vec<Value> {
    changes.iter().filter(|line| line["features"] == group).cloned().collect()
}

/// `sold_until`: where the second source's history ends, beside a first whose history ends an hour after `START` and whose
/// topic ends an hour later.
fn check(test: &str, sold_until: i64, workers: &str) {
    let case = need!(Case::new(test));
    let mut random = Random(60);
    let events = random.events(5000, 60, START, START + 2 * HOUR);
    let log = random.part(&events, 3, &[]);
    let cuts: Vec<usize> =
        log.iter().map(|records| records.partition_point(|event| event.arrived < START + HOUR)).collect();
    Topic::new(&case.kafka, &case.name, 3).fill(&log);
    let history = history_of(&log, &cuts);
    write_parquet(&case.path("history/a.parquet"), &history);
    let sold = random.events(3000, 60, sold_until - 2 * HOUR, sold_until);
    write_sales(&case, &sold);
    let path = two_sources(&case);
    finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", workers]), 0);

    let (s_cards, s_sold) = (newest(history.iter().map(|row| &row.0)), newest(sold.iter()));
    let t = newest(events.iter()).max(s_sold);
    assert_ne!(s_cards, s_sold);
    let changes = case.lines("changes.jsonl");
    let mut redis = connect(&case.redis);
    let groups =
        [("cards", s_cards, visible(&log, s_cards, TICK)), ("sold", s_sold, visible(&vec![sold], s_sold, TICK))];
    for (group, s, events) in groups {
        let expected = rows(&events, &WINDOWS, t);
        let (exported, as_of) = case.exported(&path, group);
        assert_eq!(as_of, t, "{group}");
        assert_rows(group, &exported, &expected);
        let stored = snapshot(&mut redis, &case.name, group);
        assert_eq!(stored.as_of, Some(t), "{group}");
        assert_rows(group, &stored.rows(&expected), &expected);
        let lines = of_group(&changes, group);
        assert_rows(group, &play(&lines), &expected);
        // It begins at its own seam, as a whole.
        let time = |line: &Value| micros(line["time"].as_str().unwrap());
        let first: Vec<Value> = lines.iter().filter(|line| time(line) <= s).cloned().collect();
        assert!(first.iter().all(|line| time(line) == s && line["diff"] == 1), "{group}");
        assert_rows(group, &play(&first), &rows(&events, &WINDOWS, s));
    }

    // A history alone is read once.
    let exported = || case.exported(&path, "sold").0;
    let before = exported();
    std::fs::write(case.path("sales/new.jsonl"), events[0].json() + "\n").unwrap();
    let again = finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", workers]), 0);
    assert!(again.stderr.contains("they wait for --fresh source=\"sales\" files=1"), "{}", again.stderr);
    assert_eq!(exported(), before);
}

#[test]
fn the_other_begins_later() {
    check("later_1", START + 90 * MINUTE, "1");
    check("later_3", START + 90 * MINUTE, "3");
}

#[test]
fn the_other_begins_earlier() {
    check("earlier_1", START + 30 * MINUTE, "1");
    check("earlier_3", START + 30 * MINUTE, "3");
}

#[test]
fn the_other_begins_after_the_end_of_the_stream() {
    check("after_1", START + 3 * HOUR, "1");
    check("after_3", START + 3 * HOUR, "3");
}

/// Live: the other's seam lies seconds ahead. Until then it has no row and no `_as_of`, and the first group goes on.
#[test]
fn a_seam_ahead_is_waited_for() {
    let case = need!(Case::new("ahead"));
    let mut random = Random(61);
    let now = now_us() / 1000 * 1000;
    let events = random.events(2000, 40, now - HOUR, now - MINUTE);
    let log = random.part(&events, 2, &[]);
    Topic::new(&case.kafka, &case.name, 2).fill(&log);
    write_parquet(&case.path("history/a.parquet"), &history_of(&log, &log.iter().map(Vec::len).collect::<Vec<_>>()));
    let mut sold = random.events(1000, 40, now - HOUR, now - MINUTE);
    let ahead = now + 15 * SECOND;
    sold.last_mut().unwrap().arrived = ahead;
    write_sales(&case, &sold);
    let path = two_sources(&case);
    let running = run(&["run", path.to_str().unwrap(), "--workers", "3"]);
    let mut redis = connect(&case.redis);
    let (s, mut before) = (up(ahead, TICK), 0);
    let stored = until("the seam ahead", || {
        let sold = snapshot(&mut redis, &case.name, "sold");
        let cards = snapshot(&mut redis, &case.name, "cards");
        // `T` is never past the wall clock.
        if now_us() < s {
            assert_eq!((sold.hashes.len(), sold.as_of), (0, None), "nothing before the seam");
            before += usize::from(cards.as_of.is_some());
        }
        sold.as_of.map(|_| sold)
    });
    assert!(before > 0, "the first group went on before");
    assert!(stored.as_of.unwrap() >= s);
    let expected = rows(&visible(&vec![sold], s, TICK), &WINDOWS, stored.as_of.unwrap());
    let found = stored.rows(&expected);
    // Rows may be newer than `_as_of`: lifetime columns do not change here.
    let all = |rows: &Rows| -> Vec<(String, Value)> {
        rows.iter().map(|(key, row)| (key.clone(), row["n_all"].clone())).collect()
    };
    assert_eq!(all(&found), all(&expected));
    running.terminate();
}
