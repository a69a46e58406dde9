//! With `--until-end` the output is a function of the input: the same bytes from one worker and from three, and once more.

use crate::support::*;

#[test]
fn one_worker_and_three_write_the_same() {
    let case = need!(Case::new("same_bytes"));
    let mut random = Random(80);
    let events = random.events(6000, 50, START, START + 2 * HOUR);
    let log = random.part(&events, 5, &[3]);
    let topic = Topic::new(&case.kafka, &case.name, 5);
    topic.fill(&log);
    (0..5).for_each(|p| topic.send(p, Some(b"no JSON"), START));
    topic.flush();
    let cuts: Vec<usize> = log.iter().map(|partition| partition.len() / 2).collect();
    let history = history_of(&log, &cuts);
    for (i, rows) in history.chunks(history.len() / 4).enumerate() {
        write_parquet(&case.path(&format!("history/{i}.parquet")), rows);
    }
    let outputs: Vec<_> = [("a", "1"), ("b", "3"), ("c", "3"), ("d", "4")]
        .iter()
        .map(|(name, workers)| {
            let sinks = format!(
                "[state]\npath = \"{name}\"\n[sinks.local]\ntype = \"embedded\"\n[sinks.changes]\ntype = \"jsonl\"\npath = \"{name}.jsonl\"\n"
            );
            let path = case.job(&format!("{name}.toml"), &job(HISTORY, BY_OFFSET, &(sinks + &cards(&WINDOWS))));
            let path = path.to_str().unwrap();
            finish(run(&["run", path, "--until-end", "--workers", workers]), 0);
            let exported = finish(run(&["export", path, "cards"]), 0).stdout;
            let mut dead_letters: Vec<String> =
                case.lines(&format!("{name}/dead_letters.jsonl")).iter().map(|line| line.to_string()).collect();
            dead_letters.sort();
            (std::fs::read_to_string(case.path(&format!("{name}.jsonl"))).unwrap(), exported, dead_letters)
        })
        .collect();
    assert!(outputs[0].0.lines().count() > 10_000, "there is something to compare");
    assert_eq!(outputs[0].2.len(), 5);
    for other in &outputs[1..] {
        let differs = outputs[0].0.lines().zip(other.0.lines()).find(|(a, b)| a != b);
        assert_eq!(differs, None, "the first line of the changelogs that differs");
        assert!(outputs[0].0 == other.0 && outputs[0].1 == other.1 && outputs[0].2 == other.2);
    }
}
