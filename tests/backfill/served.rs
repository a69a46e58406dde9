//! What a live run has published, with records that it read after `T` had passed their ticks: `--known served` finds it again to the bit,
//! and `--known arrival` does not.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::as_served::{Published, compare, published};
use super::data::{EVERY_AGGREGATE, Event, Sides, job};
use super::processes::same_bytes;
use crate::support::*;

pub const PARTITIONS: usize = 4;

/// A job over the case's topic that keeps admissions.
pub fn live_job(state: &str) -> String {
    live_job_of(EVERY_AGGREGATE, state)
}

/// The same of other features.
pub fn live_job_of(features: &str, state: &str) -> String {
    let text =
        job(Sides::Stream, features).replace("name = \"train\"\ntick = \"1s\"", "name = \"{NAME}\"\ntick = \"10ms\"");
    let kafka = "[sources.s.stream]\ntype = \"kafka\"\nbrokers = \"{BROKERS}\"\ntopic = \"{TOPIC}\"\n";
    text.replace("[sources.s.stream]\ntype = \"jsonl\"\npath = \"stream/*.jsonl\"\n", kafka) + "[state]\n" + state
}

/// By how much a record is later than those before it: longer than the time within which the broker confirms an end.
const LATER: i64 = 250_000;

/// Sends records of this moment to one partition, and to the others such as the clock has not waited for. It remembers for a minute by how
/// much it was wrong, so each of these is later than the ones before it; within its partition it is not.
pub fn send(topic: &Topic, random: &mut Random, steps: std::ops::Range<i64>) {
    for step in steps {
        for partition in 0..PARTITIONS {
            let lag = if partition == 0 { 0 } else { (step * 3 + partition as i64) * LATER };
            for _ in 0..2 {
                let arrived = (now_us() - lag) / 1000 * 1000;
                let event = Event {
                    k: format!("k{}", random.below(4)),
                    q: random.below(3) as i64,
                    x: (random.below(6) > 0).then(|| random.below(15) as i64 - 5),
                    f: random.below(900) as f64 / 7.0,
                    fee: random.below(5000) as i64,
                    m: ["a", "b", "c"][random.below(3) as usize],
                    // Some leave a window while it is looked at.
                    ts: arrived - if random.below(2) == 0 { 0 } else { 57 * SECOND },
                    arrived,
                };
                topic.send(partition, Some(event.json().trim_end().as_bytes()), arrived);
            }
            topic.flush();
            std::thread::sleep(Duration::from_micros(LATER as u64 * 4 / 5));
        }
    }
}

fn admitted(job: &Path) -> u64 {
    let status = finish(run(&["status", job.to_str().unwrap(), "--json"]), 0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    status["sources"][0]["admitted"].as_u64().unwrap_or_else(|| panic!("{status}"))
}

/// Starts the job, and waits until it publishes.
pub fn begin(case: &Case, job: &Path, workers: &str) -> Running {
    begin_with(case, job, workers, &[])
}

fn begin_with(case: &Case, job: &Path, workers: &str, env: &[(&str, String)]) -> Running {
    let mut running = run_with(&["run", job.to_str().unwrap(), "--workers", workers], env);
    until("rows are published", || {
        assert!(running.is_running(), "{}", running.log());
        let status = headwater().args(["status", job.to_str().unwrap(), "--json"]).output().unwrap();
        (status.status.success() && !case.lines("changes.jsonl").is_empty()).then_some(())
    });
    running
}

pub fn assert_served(case: &Case, about: &str, env: &[(&str, String)]) {
    assert_served_of(case, about, env, &published(case.dir.path(), i64::MIN));
}

pub fn assert_served_of(case: &Case, about: &str, env: &[(&str, String)], published: &Published) {
    let served = compare(case.dir.path(), published, TICK, &["--known", "served"], env);
    assert!(served.compared > 200, "{about}: there is something to compare: {}", served.compared);
    assert!(
        served.different.is_empty(),
        "{about}: {} of {}:\n{}",
        served.different.len(),
        served.compared,
        served.different[0]
    );
    let features: BTreeSet<&str> = published.keys().map(|(group, _)| group.as_str()).collect();
    let features = features.into_iter().collect::<Vec<_>>().join(",");
    same_bytes(case.dir.path(), &[(2, 2)], &["--known", "served", "--features", &features], env);
    let arrival = compare(case.dir.path(), published, TICK, &["--known", "arrival"], env);
    assert!(!arrival.different.is_empty(), "{about}: what was admitted late makes a difference");
}

#[test]
fn a_live_run_that_admits_records_late() {
    let case = need!(Case::new("served"));
    let topic = Topic::new(&case.kafka, &case.name, PARTITIONS);
    let mut random = Random(71);
    send(&topic, &mut random, 0..1);
    let job = case.job("job.toml", &live_job("admissions = true\n"));
    let running = begin(&case, &job, "2");
    send(&topic, &mut random, 0..6);
    until("what was late is admitted", || (admitted(&job) > 3).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    running.terminate();
    assert_served(&case, "stopped", &[]);
}

/// The log is the checkpoint's: what a run that was killed had admitted since is read again, and admitted anew, as the changelog has it.
#[test]
fn over_kills_and_other_numbers_of_workers() {
    let case = need!(Case::new("served_on"));
    let topic = Topic::new(&case.kafka, &case.name, PARTITIONS);
    let mut random = Random(72);
    send(&topic, &mut random, 0..1);
    let job = case.job("job.toml", &live_job("admissions = true\ncheckpoint_every = \"500ms\"\n"));
    let mut step = 0;
    for workers in ["2", "1", "3"] {
        let running = begin(&case, &job, workers);
        send(&topic, &mut random, step..step + 3);
        step += 3;
        let before = newest_checkpoint(&case.local());
        until("a checkpoint", || (newest_checkpoint(&case.local()) > before).then_some(()));
        send(&topic, &mut random, step..step + 1);
        step += 1;
        running.kill();
    }
    let running = begin(&case, &job, "1");
    send(&topic, &mut random, step..step + 1);
    running.terminate();
    assert_served(&case, "killed", &[]);

    let checkpoints = std::fs::read_dir(case.local().join("checkpoints")).unwrap().map(|found| found.unwrap().path());
    for file in checkpoints.flat_map(|dir| std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path())) {
        if file.file_name().unwrap().to_string_lossy().starts_with("admissions-") {
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&file, bytes).unwrap();
        }
    }
    let told = finish(super::backfill(case.dir.path(), &["--out", "out.parquet", "--known", "served"]), 1).stderr;
    assert!(told.contains("it is not as it was written"), "{told}");
}

#[test]
fn with_a_state_in_an_object_store() {
    let (case, s3) = (need!(Case::new("served_far")), need!(S3::shared()));
    let topic = Topic::new(&case.kafka, &case.name, PARTITIONS);
    let mut random = Random(75);
    send(&topic, &mut random, 0..1);
    let state = format!("admissions = true\ncheckpoint_every = \"500ms\"\npath = \"s3://headwater/{}\"\n", case.name);
    let text = live_job(&state).replace("type = \"embedded\"", "type = \"embedded\"\npath = \"rows\"");
    let job = case.job("job.toml", &(text + "[dead_letters]\npath = \"dead_letters.jsonl\"\n"));
    for workers in ["2", "1"] {
        let running = begin_with(&case, &job, workers, &s3.env());
        send(&topic, &mut random, 1..4);
        running.terminate();
    }
    assert_served(&case, "far away", &s3.env());
    assert!(s3.list(&case.name).iter().any(|name| name.contains("admissions-worker-")));
}

#[test]
fn what_cannot_be_known_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = super::data::log(8, 50, 1, 5);
    super::data::write_stream(dir, &log, None);
    let write =
        |state: &str| std::fs::write(dir.join("job.toml"), job(Sides::Stream, EVERY_AGGREGATE) + state).unwrap();
    let spine = arrow::array::RecordBatch::try_from_iter([
        ("k", super::texts([Some("k1")])),
        ("q", super::ints([Some(1)])),
        ("at", super::times([Some(START + 365 * 24 * HOUR)])),
    ]);
    super::write_table(&dir.join("spine.parquet"), &spine.unwrap());
    let served = |code| finish(super::backfill(dir, &["--out", "out.parquet", "--known", "served"]), code).stderr;
    write("");
    let told = served(2);
    assert!(told.contains("set `admissions = true` in [state]"), "{told}");
    write("[state]\nadmissions = true\n");
    let told = served(2);
    assert!(told.contains("run the job first"), "{told}");
    finish(spawn(headwater().current_dir(dir).args(["run", "job.toml", "--until-end"])), 0);
    let told = served(0);
    assert!(told.contains("the newest checkpoint is of"), "the label lies after it: {told}");
}
