//! What a live run served, by its serve log, against backfills: every difference has a reason, and what was changed by hand has none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use serde_json::Value;

use super::served::{PARTITIONS, begin, live_job, send};
use super::{read_table, write_table};
use crate::support::*;

const LOG: &str = "[serve_log]\npath = \"served\"\nroll_every = \"300ms\"\n";

/// Asks the running job for rows, of keys that it has and of one that it has not, until it is told to stop. Returns how often.
fn ask(local: PathBuf, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let endpoint: Value = serde_json::from_slice(&std::fs::read(local.join("endpoint.json")).unwrap()).unwrap();
        let (url, token) = (endpoint["url"].as_str().unwrap(), endpoint["token"].as_str().unwrap());
        let mut asked = 0;
        while !stop.load(Ordering::Relaxed) {
            let key = ["k0", "k1", "k2", "k3", "nobody"][asked as usize % 5];
            for query in [format!("group=every&key=k%3D{key}"), format!("group=pairs&key=k%3D{key}&key=q%3D1")] {
                let answer = ureq::get(format!("{url}/get?{query}")).header("Authorization", format!("Bearer {token}"));
                match answer.call() {
                    Ok(_) | Err(ureq::Error::StatusCode(404)) => asked += 1,
                    Err(e) => panic!("{query}: {e}"),
                }
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        asked
    })
}

fn verify(case: &Case, more: &[&str], code: i32) -> (Value, String) {
    let out =
        finish(spawn(headwater().current_dir(case.dir.path()).args(["verify", "job.toml", "--json"]).args(more)), code);
    (serde_json::from_str(&out.stdout).unwrap_or_default(), out.stderr)
}

/// The sum of a number of all columns.
fn sum(report: &Value, pointer: &str) -> u64 {
    let groups = report["groups"].as_array().unwrap().iter();
    groups.flat_map(|g| g["columns"].as_array().unwrap()).map(|c| c.pointer(pointer).unwrap().as_u64().unwrap()).sum()
}

fn files(case: &Case) -> Vec<PathBuf> {
    let days = std::fs::read_dir(case.path("served")).unwrap().map(|day| day.unwrap().path());
    let mut files: Vec<PathBuf> =
        days.flat_map(|day| std::fs::read_dir(day).unwrap().map(|file| file.unwrap().path())).collect();
    files.sort();
    files
}

/// Changes a column of the first row of a file for which that can be done.
fn corrupt(file: &Path, column: &str, change: impl Fn(&str) -> Option<String>) {
    let rows = read_table(file);
    let texts = rows.column_by_name(column).unwrap().as_string::<i32>();
    let value = |row: usize| texts.is_valid(row).then(|| texts.value(row));
    let (at, changed) = (0..rows.num_rows()).find_map(|row| Some((row, change(value(row)?)?))).unwrap();
    let texts: ArrayRef = Arc::new(
        (0..rows.num_rows()).map(|r| if r == at { Some(changed.as_str()) } else { value(r) }).collect::<StringArray>(),
    );
    let place = rows.schema().index_of(column).unwrap();
    let columns =
        rows.columns().iter().enumerate().map(|(c, old)| if c == place { texts.clone() } else { old.clone() });
    write_table(file, &RecordBatch::try_new(rows.schema(), columns.collect()).unwrap());
}

#[test]
fn every_difference_has_a_reason() {
    let case = need!(Case::new("verified"));
    let topic = Topic::new(&case.kafka, &case.name, PARTITIONS);
    let mut random = Random(73);
    send(&topic, &mut random, 0..1);
    let job = case.job("job.toml", &(live_job("admissions = true\ncheckpoint_every = \"500ms\"\n") + LOG));
    let running = begin(&case, &job, "2");
    let stop = Arc::new(AtomicBool::new(false));
    let asking = ask(case.local(), stop.clone());
    send(&topic, &mut random, 0..5);
    // A group with windows of its own has no moment to be compared at.
    finish(run(&["get", job.to_str().unwrap(), "hourly", "k=k1"]), 0);
    std::thread::sleep(Duration::from_millis(500));
    stop.store(true, Ordering::Relaxed);
    let asked = asking.join().unwrap();
    running.terminate();
    assert!(files(&case).len() > 3, "a file is written when it is old enough");

    let (report, told) = verify(&case, &[], 0);
    let whole = |report: &Value| {
        let left_out = report["left_out"]["before_the_store_was_whole"].as_u64().unwrap();
        assert!(left_out < 50 && report["left_out"]["after_the_checkpoint"] == 0, "{report}");
        report["rows"].as_u64().unwrap() + left_out
    };
    assert_eq!(whole(&report), asked, "{report}");
    assert!(asked > 100 && sum(&report, "/compared") > 1000, "{asked}");
    assert_eq!(report["unexplained"], 0, "{report}");
    for reason in ["staleness", "late_admission", "late_arrivals"] {
        assert!(sum(&report, &format!("/explained/{reason}")) > 0, "{reason}: {report}");
    }
    assert!(sum(&report, "/equal_to_arrival") > sum(&report, "/equal"), "late arrivals are hindsight: {report}");
    assert!(!told.contains("nothing explains"), "{told}");
    let table = finish(spawn(headwater().current_dir(case.dir.path()).args(["verify", "job.toml"])), 0).stdout;
    assert!(table.contains("n_1m") && table.contains("unexplained") && table.contains("pairs:"), "{table}");
    assert!(!case.local().read_dir().unwrap().any(|f| f.unwrap().file_name().to_string_lossy().starts_with("verify")));

    // Without what was admitted late, that is unexplained.
    let with = std::fs::read_to_string(&job).unwrap();
    std::fs::write(&job, with.replace("admissions = true\n", "")).unwrap();
    let (report, told) = verify(&case, &[], 1);
    assert!(report["unexplained"].as_u64() > Some(0) && told.contains("`admissions = true`"), "{told}");
    std::fs::write(&job, with).unwrap();

    // A value, a row, a key that are not what was served.
    let of_value = |text: &str| {
        let (before, rest) = text.split_once("\"n_2h\":")?;
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        Some(format!("{before}\"n_2h\":{}{}", rest[..digits].parse::<u64>().unwrap() + 7, &rest[digits..]))
    };
    corrupt(&files(&case)[0], "row", of_value);
    let (report, told) = verify(&case, &[], 1);
    assert_eq!(report["unexplained"], 1, "{report}");
    let columns = report["groups"][0]["columns"].as_array().unwrap();
    let found = columns.iter().find(|c| c["column"] == "n_2h").unwrap();
    let number = |name: &str| found["examples"][0][name].as_str().unwrap().parse::<i64>().unwrap();
    assert_eq!((&found["unexplained"], number("served") - number("expected")), (&1.into(), 7), "{found}");
    assert!(told.contains("1 values were served that no run"), "{told}");
    corrupt(&files(&case)[1], "row", |text| Some(text.replace('}', "")));
    assert_eq!(verify(&case, &[], 1).0["unexplained"], 2);
    let other = |text: &str| text.strip_prefix("{\"k\":\"k").map(|rest| format!("{{\"k\":\"x{rest}"));
    corrupt(files(&case).last().unwrap(), "key", other);
    let unexplained = verify(&case, &[], 1).0["unexplained"].as_u64().unwrap();
    assert!(unexplained > 2, "a row of another key: {unexplained}");

    let (_, told) = verify(&case, &["--until", "2026-01-01T00:00:00Z"], 1);
    assert!(told.contains("nothing to compare"), "{told}");
    let (report, _) = verify(&case, &["--since", "1h"], 1);
    assert_eq!(whole(&report), asked, "all of it is of this hour");
}

/// What a run served that was killed, after its last checkpoint, is told as that; and a command that reads a store by itself logs too.
#[test]
fn over_a_kill() {
    let case = need!(Case::new("verified_on"));
    let topic = Topic::new(&case.kafka, &case.name, PARTITIONS);
    let mut random = Random(74);
    send(&topic, &mut random, 0..1);
    let text = live_job("admissions = true\ncheckpoint_every = \"2s\"\n") + LOG;
    let job = case.job("job.toml", &text.replace("type = \"embedded\"", "type = \"redis\"\nurl = \"{REDIS}\""));
    for workers in ["1", "2"] {
        let running = begin(&case, &job, workers);
        let stop = Arc::new(AtomicBool::new(false));
        let asking = ask(case.local(), stop.clone());
        send(&topic, &mut random, 0..3);
        stop.store(true, Ordering::Relaxed);
        asking.join().unwrap();
        std::thread::sleep(Duration::from_millis(600));
        running.kill();
    }
    let running = begin(&case, &job, "1");
    until("the newest checkpoint has what was served", || {
        let (report, _) = verify(&case, &["--since", "1h"], 0);
        (report["left_out"]["after_the_checkpoint"] == 0).then_some(())
    });
    let before = files(&case).len();
    finish(run(&["get", job.to_str().unwrap(), "every", "k=k1"]), 0);
    assert_eq!(files(&case).len(), before + 1, "the command has written what it served");
    running.terminate();
    let (report, _) = verify(&case, &[], 0);
    assert!(report["rows"].as_u64() > Some(100), "{report}");
}

#[test]
fn a_log_in_an_object_store() {
    let s3 = need!(S3::shared());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = super::data::log(9, 50, 1, 5);
    super::data::write_stream(dir, &log, None);
    let place = format!("served/{:x}", now_us());
    let text = super::data::job(super::data::Sides::Stream, super::data::EVERY_AGGREGATE);
    std::fs::write(dir.join("job.toml"), format!("{text}[serve_log]\npath = \"s3://headwater/{place}\"\n")).unwrap();
    let command = |args: &[&str]| finish(spawn(headwater().current_dir(dir).args(args).envs(s3.env())), 0).stdout;
    command(&["run", "job.toml", "--until-end"]);
    for key in ["k=k1", "k=k2", "k=k3"] {
        command(&["get", "job.toml", "every", key]);
    }
    assert_eq!(s3.list(&place).len(), 3);
    let told = command(&["verify", "job.toml"]);
    assert!(told.contains("3 rows that were served"), "{told}");
}

#[test]
fn what_cannot_be_verified_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = super::data::log(8, 50, 1, 5);
    super::data::write_stream(dir, &log, None);
    let write = |rest: &str| {
        std::fs::write(
            dir.join("job.toml"),
            super::data::job(super::data::Sides::Stream, super::data::EVERY_AGGREGATE) + rest,
        )
        .unwrap();
    };
    let verify = |code| finish(spawn(headwater().current_dir(dir).args(["verify", "job.toml"])), code).stderr;
    write("");
    assert!(verify(2).contains("the job has no serve log"));
    write(LOG);
    assert!(verify(1).contains("nothing to compare"));
    finish(spawn(headwater().current_dir(dir).args(["run", "job.toml", "--until-end"])), 0);
    // Of a job that does not run, with an embedded store, and keys that are and are not there.
    finish(spawn(headwater().current_dir(dir).args(["get", "job.toml", "every", "k=k1"])), 0);
    finish(spawn(headwater().current_dir(dir).args(["get", "job.toml", "every", "k=nobody"])), 1);
    let told = finish(spawn(headwater().current_dir(dir).args(["verify", "job.toml"])), 0).stdout;
    assert!(told.contains("2 rows that were served"), "{told}");
    std::fs::write(dir.join("served/served-1-2-3-4.parquet"), "no file of it").unwrap();
    assert!(verify(1).contains("served-1-2-3-4.parquet"));
}
