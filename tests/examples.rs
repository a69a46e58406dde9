//! The examples that need nothing else do what their pages say.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::headwater;

#[path = "../examples/embedded.rs"]
mod embedded;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn of_job(out: &Path, args: &[&str]) -> Output {
    let job = example("late/job.toml");
    let mut command = headwater();
    command.arg(args[0]).arg(job).args(&args[1..]).env("LATE_OUT", out);
    command.output().unwrap()
}

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Dead letters come in no promised order.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn late_writes_what_its_page_explains() {
    let expected = example("late/expected");
    for workers in ["1", "3"] {
        let dir = tempfile::tempdir().unwrap();
        stdout(of_job(dir.path(), &["run", "--until-end", "--fresh", "--workers", workers]));
        assert_eq!(read(&dir.path().join("changes.jsonl")), read(&expected.join("changes.jsonl")));
        let dead_letters = read(&dir.path().join("dead_letters.jsonl"));
        assert_eq!(sorted(&dead_letters), sorted(&read(&expected.join("dead_letters.jsonl"))));
        let groups = ["card_activity", "card_hourly", "user_hourly", "user_sessions"];
        let rows: String = groups.iter().map(|group| stdout(of_job(dir.path(), &["export", group]))).collect();
        assert_eq!(rows, read(&expected.join("export.jsonl")));
        let gone = of_job(dir.path(), &["get", "card_activity", "card=c1"]);
        assert_eq!(gone.status.code(), Some(1), "it has grown old");
    }
}

#[test]
fn check_says_what_the_rows_of_late_are() {
    let dir = tempfile::tempdir().unwrap();
    let told = stdout(of_job(dir.path(), &["check"]));
    for line in [
        "a row for each card, right as of now: it falls as events grow old, and is gone with the last of them",
        "tx    int64         events of the last 1h, by card",
        "a row for each card and 1h, such as [2026-03-02T10:00:00Z, 2026-03-02T11:00:00Z)",
        "an event is taken until 30m past the window's end (lateness); later ones are dead letters",
        "a row is kept in the store until 1h30m past its end (retain)",
        "a row for each user and 1h that begins every 30m, such as [2026-03-02T10:00:00Z, 2026-03-02T11:00:00Z) and",
        "a row for each user and session: events less than 20m apart; it ends 20m after the last",
        "an event is taken until 50m after it happened (gap + lateness)",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}

/// What the pages show is what is written.
#[test]
fn the_lines_that_pages_show_are_written() {
    let files = ["changes", "dead_letters", "export"];
    let written: String = files.iter().map(|file| read(&example(&format!("late/expected/{file}.jsonl")))).collect();
    for (page, lines) in [(example("late/README.md"), 2), (example("../docs/windows.md"), 6)] {
        let page = read(&page);
        let shown: Vec<&str> = page.lines().filter(|line| line.starts_with('{')).collect();
        assert_eq!(shown.len(), lines);
        for line in shown {
            assert!(written.lines().any(|other| other == line), "{line}");
        }
    }
}

/// What `docs/embedding.md` shows is what the example prints.
#[test]
fn embedded_tells_of_its_day() {
    let dir = tempfile::tempdir().unwrap();
    let told = embedded::story(dir.path()).unwrap();
    let page = read(&example("../docs/embedding.md"));
    assert!(page.contains(&format!("```text\n{told}```\n")), "{told}");
}

/// A venv with what `examples/train` asks for. `None`: the index of Python's packages may not be asked, which is said.
fn trainer() -> Option<PathBuf> {
    let may_ask = ["HEADWATER_TEST_REQUIRED", "HEADWATER_TEST_PIP"].iter().any(|name| std::env::var_os(name).is_some());
    if !may_ask {
        let why = "examples/train installs scikit-learn: set HEADWATER_TEST_PIP=1 to let it";
        writeln!(std::io::stderr(), "skipped: train: {why}").expect("stderr is there");
        return None;
    }
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("train");
    let python = venv.join("bin/python");
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    }
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "scikit-learn", "pyarrow"]));
    Some(python)
}

#[test]
fn fresh_features_train_a_model_and_are_served() {
    let Some(python) = trainer() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command.arg(example("train/experiment.py")).args(["--headwater", env!("CARGO_BIN_EXE_headwater"), "--data"]);
    let told = stdout(command.arg(dir.path()).output().unwrap());
    let result: Value = serde_json::from_str(&read(&dir.path().join("result.json"))).unwrap();
    let auc = |age: &str| result["auc"][age].as_f64().unwrap();
    assert!(auc("fresh") > 0.97 && result["before"].as_f64().unwrap() < auc("fresh"), "{told}");
    assert!(auc("a minute old") > auc("an hour old") + 0.2, "{told}");
    assert!(auc("a day old") < 0.7 && auc("an hour old") < 0.7, "{told}");
    assert!(result["importance"]["card__tx_10m"].as_f64() > Some(0.1), "{told}");
    assert_eq!((&result["asked"], &result["verified"]["unexplained"]), (&40.into(), &0.into()), "{told}");
    assert!(result["verified"]["rows"].as_u64() >= Some(40), "{told}");
    for line in ["a minute old", "importance of fresh features", "are what a model is trained on"] {
        assert!(told.contains(line), "{told}");
    }
}

/// What the page of `cancelled` shows is what the job writes.
#[test]
fn cancelled_writes_what_its_page_explains() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["job.toml", "payments.jsonl"] {
        std::fs::copy(example("cancelled").join(file), dir.path().join(file)).unwrap();
    }
    let page = read(&example("cancelled/README.md"));
    for workers in ["1", "3"] {
        let args = ["run", "job.toml", "--until-end", "--fresh", "--workers", workers];
        stdout(headwater().current_dir(dir.path()).args(args).output().unwrap());
        let changes = read(&dir.path().join("changes.jsonl"));
        assert!(page.contains(&format!("```text\n{changes}```")), "{changes}");
    }
}

/// What `docs/embedding.md` shows of Rust, so that it compiles: it names a broker.
#[allow(dead_code, unused_variables)]
#[rustfmt::skip]
fn shown_of_rust() -> Result<(), Box<dyn std::error::Error>> {
    use headwater::job::build::{Column, Features, Source, Table};
    use headwater::{Job, Options};

    let job = Job::builder("fraud")
        .source(
            "transactions",
            Source::new()
                .event_time("ts")
                .schema(Table::new().set("ts", "timestamp").set("card", "string").set("amount", "float64"))
                .stream(Table::of_type("kafka").set("brokers", "localhost:9092").set("topic", "transactions")),
        )
        .features(
            "card_activity",
            Features::new()
                .source("transactions")
                .key("card")
                .column("spend", Column::new("sum").of("amount").windows(["1h", "30d"])),
        )
        .build()?;

    let run = headwater::run(job, Options { workers: 4, ..Options::default() })?;
    // ... meanwhile
    let rows = run.get("card_activity", &[("card", "c1")])?;
    run.stop();
    let status = run.wait()?;
    Ok(())
}

#[test]
fn rust_that_is_shown_compiles() {
    let page = read(&example("../docs/embedding.md"));
    let shown = page.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n");
    assert!(lines(include_str!("examples.rs")).contains(lines(shown).trim()), "it shows what is not compiled here");
}
