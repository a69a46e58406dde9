//! A gap between history and topic: exit 3, with what is missing, unless the job allows it.

use crate::support::*;

struct Gap {
    case: Case,
    log: Log,
    topic: Topic,
}

fn gap(test: &str) -> Option<Gap> {
    let case = Case::new(test)?;
    let mut random = Random(30);
    let events = random.events(600, 30, START, START + HOUR);
    let log = random.part(&events, 2, &[]);
    let topic = Topic::new(&case.kafka, &case.name, 2);
    topic.fill(&log);
    Some(Gap { case, log, topic })
}

impl Gap {
    fn job(&self, seam: &str) -> std::path::PathBuf {
        self.case.job("job.toml", &job(HISTORY, seam, &(ALL_SINKS.to_owned() + &cards(&WINDOWS))))
    }

    /// Refused; each of these texts is in the message, and nothing was written.
    fn refused(&self, seam: &str, told: &[&str]) {
        let path = self.job(seam);
        let stderr = finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 3).stderr;
        for text in [&self.case.name, "allow_gap"].iter().chain(told) {
            assert!(stderr.contains(text), "{text:?} is not in: {stderr}");
        }
        assert_eq!(keys(&mut connect(&self.case.redis), &self.case.name), Vec::<String>::new());
        assert_eq!(self.case.lines("changes.jsonl"), Vec::<serde_json::Value>::new());
    }
}

#[test]
fn records_that_the_topic_lost() {
    let gap = need!(gap("lost"));
    write_parquet(&gap.case.path("history/a.parquet"), &history_of(&gap.log, &[100, 120]));
    gap.topic.cut(0, 100);
    gap.topic.cut(1, 150);
    gap.refused(BY_OFFSET, &["partition 1", "120", "150"]);

    let path = gap.job(&format!("{BY_OFFSET}, allow_gap = true"));
    let stderr = finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 0).stderr;
    assert!(stderr.contains("partition 1") && stderr.contains("150"), "it is told all the same: {stderr}");
    let mut held = gap.log.clone();
    held[1].drain(120..150);
    let newest = |rows: &mut dyn Iterator<Item = &Event>| up(rows.map(|event| event.arrived).max().unwrap(), TICK);
    let s = newest(&mut gap.log[0][..100].iter().chain(&gap.log[1][..120]));
    let t = newest(&mut held.iter().flatten());
    let expected = rows(&visible(&held, s, TICK), &WINDOWS, t);
    assert_rows("export", &gap.case.exported(&path, "cards").0, &expected);
}

#[test]
fn a_history_of_another_topic() {
    let gap = need!(gap("beyond"));
    let mut rows = history_of(&gap.log, &[100, 120]);
    rows.last_mut().unwrap().2 = 9_999;
    write_parquet(&gap.case.path("history/a.parquet"), &rows);
    gap.refused(BY_OFFSET, &["partition 1", "9999"]);
}

#[test]
fn a_partition_that_the_topic_lacks() {
    let gap = need!(gap("lacks"));
    let mut rows = history_of(&gap.log, &[100, 120]);
    rows.last_mut().unwrap().1 = 7;
    write_parquet(&gap.case.path("history/a.parquet"), &rows);
    gap.refused(BY_OFFSET, &["partition 7"]);
}

#[test]
fn a_topic_that_begins_after_the_history() {
    let gap = need!(gap("after"));
    let c = START + 10 * MINUTE;
    let all = history_of(&gap.log, &gap.log.iter().map(Vec::len).collect::<Vec<_>>());
    let rows: Vec<_> = all.into_iter().filter(|row| row.0.arrived <= c).collect();
    write_parquet(&gap.case.path("history/a.parquet"), &rows);
    let first = |p: usize, from: i64| gap.log[p].iter().position(|event| event.arrived > from).unwrap() as i64;
    // This one still holds a record of the history's time, that one does not.
    gap.topic.cut(0, first(0, c) - 1);
    gap.topic.cut(1, first(1, c) + 5);
    gap.refused("by = \"time\"", &["partition 1", &(first(1, c) + 5).to_string()]);
}

/// As many records as before, and more: by offsets alone nothing is wrong.
#[test]
fn a_topic_that_was_made_anew() {
    let mut gap = need!(gap("anew"));
    write_parquet(&gap.case.path("history/a.parquet"), &history_of(&gap.log, &[100, 120]));
    let path = gap.job(BY_OFFSET);
    let path = path.to_str().unwrap().to_owned();
    finish(run(&["run", &path, "--until-end"]), 0);

    // What retention removes is no sign of anything.
    gap.topic.cut(0, gap.log[0].len() as i64);
    finish(run(&["run", &path, "--until-end"]), 0);

    gap.topic = gap.topic.anew(&gap.case.kafka, 2);
    let mut other = gap.log.clone();
    other.iter_mut().for_each(|events| events.push(events[0].clone()));
    let last = gap.log[1].len() - 1;
    other[1][last].amount = Some(0.25);
    gap.topic.fill(&other);
    let stderr = finish(run(&["run", &path, "--until-end"]), 3).stderr;
    let told = format!(
        "partition 1: offset {last}, the last that was read, holds another record: its bytes are not what they were"
    );
    assert!(stderr.contains(&told) && !stderr.contains("partition 0: offset"), "{stderr}");

    // The same bytes, stamped otherwise.
    gap.topic = gap.topic.anew(&gap.case.kafka, 2);
    other[1][last] = gap.log[1][last].clone();
    gap.topic.fill(&other);
    finish(run(&["run", &path, "--until-end"]), 0);
    gap.topic = gap.topic.anew(&gap.case.kafka, 2);
    for (partition, events) in other.iter().enumerate() {
        events
            .iter()
            .for_each(|event| gap.topic.send(partition, Some(event.json().as_bytes()), event.arrived + SECOND));
    }
    gap.topic.flush();
    let stderr = finish(run(&["run", &path, "--until-end"]), 3).stderr;
    assert!(
        stderr.contains("its timestamp was") && stderr.contains("made anew?") && stderr.contains("--fresh"),
        "{stderr}"
    );

    gap.job(&format!("{BY_OFFSET}, allow_gap = true"));
    let stderr = finish(run(&["run", &path, "--until-end"]), 0).stderr;
    assert!(stderr.contains("holds another record"), "it is told all the same: {stderr}");
}
