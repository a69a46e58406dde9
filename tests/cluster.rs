//! Several processes: the same output as one, strangers stay outside, and a lost peer ends all.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{Running, finish, free_port, headwater, spawn, until};

/// A job in a directory of its own, over data that others may share.
struct Case {
    dir: TempDir,
}

impl Case {
    fn new(data: &Path) -> Case {
        Case::with(&job(data))
    }

    fn with(text: &str) -> Case {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("job.toml"), text).unwrap();
        Case { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn export(&self, group: &str) -> String {
        let out = headwater().args(["export", "job.toml", group]).current_dir(self.dir.path()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// All that a finished run leaves behind.
    fn outcome(&self) -> [String; 4] {
        let mut dead_letters: Vec<String> =
            self.read(".headwater/t/dead_letters.jsonl").lines().map(str::to_owned).collect();
        dead_letters.sort();
        [self.export("by_card"), self.export("by_shop"), self.read("changes.jsonl"), dead_letters.join("\n")]
    }

    fn alone(&self) -> [String; 4] {
        finish(self.run(&["--until-end"], ""), 0);
        self.outcome()
    }

    fn run(&self, args: &[&str], secret: &str) -> Running {
        let mut command = headwater();
        command.args(["run", "job.toml"]).args(args).current_dir(self.dir.path());
        spawn(command.env("HEADWATER_SECRET", secret).env("NO_COLOR", "1"))
    }
}

/// The addresses of a cluster, as its hosts file and its arguments.
struct Hosts {
    names: Vec<String>,
    file: PathBuf,
    workers: String,
}

impl Hosts {
    fn new(case: &Case, processes: usize, workers: usize) -> Hosts {
        let names: Vec<String> = (0..processes).map(|_| format!("127.0.0.1:{}", free_port())).collect();
        let file = case.path("hosts");
        fs::write(&file, names.join("\n")).unwrap();
        Hosts { names, file, workers: workers.to_string() }
    }

    fn start(&self, case: &Case, process: usize, more: &[&str], secret: &str) -> Running {
        let (processes, number) = (self.names.len().to_string(), process.to_string());
        let mut args = vec!["--processes", &processes, "--process", &number, "--workers", &self.workers];
        args.extend(["--hosts", self.file.to_str().unwrap()]);
        args.extend(more);
        case.run(&args, secret)
    }
}

fn job(data: &Path) -> String {
    let data = data.display();
    format!(
        r#"
name = "t"
tick = "1s"

[sources.payments]
event_time = "ts"
schema = {{ ts = "timestamp", card = "string", shop = "int64", amount = "float64" }}
history = {{ type = "jsonl", path = "{data}/history/*.jsonl", complete_until = 2024-05-01T01:00:00Z }}
stream = {{ type = "jsonl", path = "{data}/stream/*.jsonl" }}

[features.by_card]
source = "payments"
key = "card"
columns = {{ n = {{ agg = "count", windows = ["10m", "all"] }}, spent = {{ agg = "sum", of = "amount", window = "1h" }} }}

[features.by_shop]
source = "payments"
key = ["shop"]
where = "10 / shop > 0"
columns = {{ most = {{ agg = "max", of = "amount", window = "30m" }}, mean = {{ agg = "avg", of = "amount", window = "1h" }} }}

[sinks.online]
type = "embedded"

[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
"#
    )
}

/// Some records at every second that a range names. A few are no good.
fn lines(seconds: std::ops::Range<u64>) -> String {
    let mut text = String::new();
    for s in seconds {
        let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
        let (card, shop, amount) = (s * 7919 % 53, s * 31 % 11, (s * 104_729 % 10_007) as f64 / 8.0);
        let card = if s % 97 == 0 { "null".to_owned() } else { format!("\"c{card}\"") };
        let ts = format!("2024-05-01T{hour:02}:{minute:02}:{second:02}Z");
        text += &match s % 211 {
            0 => "{\"ts\": no record\n".to_owned(),
            _ => format!("{{\"ts\":\"{ts}\",\"card\":{card},\"shop\":{shop},\"amount\":{amount}}}\n"),
        };
    }
    text
}

/// A history of one hour in four files, and twenty minutes of two partitions that go on from there.
fn data() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (folder, files, from, length) in [("history", 4, 0, 900), ("stream", 2, 3600, 600)] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        for file in 0..files {
            let from = from + file * length;
            fs::write(dir.path().join(folder).join(format!("{file}.jsonl")), lines(from..from + length)).unwrap();
        }
    }
    dir
}

#[test]
fn any_number_of_processes_gives_the_same() {
    let data = data();
    let expected = Case::new(data.path()).alone();
    for (i, text) in expected.iter().enumerate() {
        assert!(text.lines().count() > 5, "output {i} is nearly empty: {text}");
    }
    for (processes, workers, order) in [(2, 2, [1, 0].as_slice()), (3, 1, &[1, 0, 2])] {
        let case = Case::new(data.path());
        let hosts = Hosts::new(&case, processes, workers);
        let mut runs = vec![];
        for process in order {
            runs.push(hosts.start(&case, *process, &["--until-end"], "s3cret"));
            // The next one starts when this one waits for it, or has found it.
            let run = runs.last().unwrap();
            until("a process that waits", || (run.log().contains("waiting for")).then_some(()));
        }
        runs.into_iter().for_each(|run| drop(finish(run, 0)));
        let outcome = case.outcome();
        for (i, (ours, expected)) in outcome.iter().zip(&expected).enumerate() {
            let differs = ours.lines().zip(expected.lines()).find(|(a, b)| a != b);
            assert!(ours == expected, "{processes} x {workers}, output {i} differs: {differs:?}");
        }
    }
}

/// Every process finds the ids that the history holds for itself.
#[test]
fn a_seam_by_id() {
    let data = data();
    let expected = Case::new(data.path()).alone();
    // Ten minutes of the history are in the stream too. An event is known by its second.
    let again = lines(3000..3600) + &fs::read_to_string(data.path().join("stream/0.jsonl")).unwrap();
    fs::write(data.path().join("stream/0.jsonl"), again).unwrap();
    let text = job(data.path()).replace(", complete_until = 2024-05-01T01:00:00Z", "").replace(
        "[features.by_card]",
        "[sources.payments.seam]\nby = \"id\"\nid = \"ts\"\noverlap = \"15m\"\n[features.by_card]",
    );
    let case = Case::with(&text);
    let hosts = Hosts::new(&case, 2, 2);
    let runs: Vec<Running> = (0..2).map(|p| hosts.start(&case, p, &["--until-end"], "s3cret")).collect();
    runs.into_iter().for_each(|run| drop(finish(run, 0)));
    // But for the dead letters, which have no id.
    assert_eq!(case.outcome()[..3], expected[..3]);
}

#[test]
fn strangers_stay_outside() {
    let data = data();
    let case = Case::new(data.path());
    let hosts = Hosts::new(&case, 2, 1);
    let first = hosts.start(&case, 0, &["--until-end"], "s3cret");
    until("process 0", || (first.log().contains(&format!("waiting for {}", hosts.names[1]))).then_some(()));

    let mut garbage = TcpStream::connect(&hosts.names[0]).unwrap();
    let silent = TcpStream::connect(&hosts.names[0]).unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = vec![];
    // The connection may be closed or reset, but nothing is told.
    let _ = garbage.read_to_end(&mut answer);
    assert_eq!(answer, b"");
    let wrong = hosts.start(&case, 1, &["--until-end", "--join-timeout", "1s"], "wrong");
    let told = finish(wrong, 1).stderr;
    let missing =
        format!("{} (process 0): it closed the connection: is its HEADWATER_SECRET another one?", hosts.names[0]);
    assert!(told.contains(&missing), "{told}");

    let second = hosts.start(&case, 1, &["--until-end"], "s3cret");
    finish(second, 0);
    let told = finish(first, 0).stderr;
    drop(silent);
    for why in ["it is no headwater process", "it does not know the secret"] {
        assert!(told.contains(&format!("refused a connection from 127.0.0.1: {why}")), "{told}");
    }
    assert_eq!(case.outcome(), Case::new(data.path()).alone());
}

#[test]
fn another_job_is_refused() {
    let data = data();
    let case = Case::new(data.path());
    let hosts = Hosts::new(&case, 2, 1);
    let mut first = hosts.start(&case, 0, &["--until-end"], "s3cret");
    let other = Case::with(&(job(data.path()) + "# another\n"));
    let second = hosts.start(&other, 1, &["--until-end"], "s3cret");
    let told = finish(second, 2).stderr;
    assert!(told.contains("it runs another job"), "{told}");
    let third = hosts.start(&case, 1, &["--until-end", "--fresh"], "s3cret");
    let told = finish(third, 2).stderr;
    assert!(told.contains("it has the options `--until-end`"), "{told}");
    assert!(first.is_running(), "{}", first.log());
    first.signal("TERM");
    let told = finish(first, 1).stderr;
    assert!(told.contains("refused a connection from 127.0.0.1: it runs another job"), "{told}");
}

#[test]
fn what_is_missing_is_named() {
    let data = data();
    let case = Case::new(data.path());
    let hosts = Hosts::new(&case, 2, 1);
    let told = finish(hosts.start(&case, 0, &[], ""), 2).stderr;
    assert!(told.contains("set HEADWATER_SECRET"), "{told}");
    let told = finish(hosts.start(&case, 0, &["--join-timeout", "300ms"], "s3cret"), 1).stderr;
    assert!(told.contains("these are still missing") && told.contains(&hosts.names[1]), "{told}");
}

#[test]
fn a_failure_of_the_plan_is_everyones() {
    let data = tempfile::tempdir().unwrap();
    let case = Case::new(data.path());
    let hosts = Hosts::new(&case, 2, 1);
    let runs = [0, 1].map(|process| hosts.start(&case, process, &["--until-end"], "s3cret"));
    let [first, second] = runs.map(|run| finish(run, 2).stderr);
    let fault = first.lines().find(|line| line.contains("job.toml:")).unwrap();
    assert!(second.contains("(process 0) failed:") && second.contains(fault), "{second}");
}

/// Two processes that follow their streams.
fn following(data: &Path) -> (Case, Hosts, [Running; 2]) {
    let case = Case::new(data);
    let hosts = Hosts::new(&case, 2, 2);
    let runs = [0, 1].map(|process| hosts.start(&case, process, &[], "s3cret"));
    until("the first changes", || (!case.read("changes.jsonl").is_empty()).then_some(()));
    (case, hosts, runs)
}

#[test]
fn a_lost_peer_ends_all() {
    let data = data();
    let (_case, hosts, [first, second]) = following(data.path());
    second.kill();
    let told = finish(first, 1).stderr;
    let lost: Vec<&str> = told.lines().filter(|line| line.contains("lost")).collect();
    assert_eq!(lost.len(), 1, "{told}");
    assert!(lost[0].starts_with(&format!("error: lost {} (process 1): ", hosts.names[1])), "{told}");
    assert!(!told.contains("panicked"), "{told}");
}

/// Before the start too: who waits for the plan would wait for ever for one that was replaced.
#[test]
fn a_peer_that_is_lost_before_the_start_ends_those_that_wait() {
    let data = data();
    // Process 0 looks for its topic for half a minute.
    let away = r#"{ type = "kafka", brokers = "127.0.0.1:1", topic = "t", format = "json" }"#;
    let own = format!(r#"{{ type = "jsonl", path = "{}/stream/*.jsonl" }}"#, data.path().display());
    let case = Case::with(&job(data.path()).replace(&own, away));
    let hosts = Hosts::new(&case, 3, 1);
    let runs = [0, 1, 2].map(|process| hosts.start(&case, process, &[], "s3cret"));
    until("all", || (runs[1..].iter().all(|run| run.log().contains("waiting for the plan"))).then_some(()));
    let [_first, second, third] = runs;
    second.kill();
    let told = finish(third, 1).stderr;
    assert!(told.contains(&format!("error: lost {} (process 1): it closed the connection", hosts.names[1])), "{told}");
}

#[test]
fn a_signal_to_one_ends_all() {
    let data = data();
    for stopped in [0, 1] {
        let (_case, _hosts, runs) = following(data.path());
        runs[stopped].signal("TERM");
        for run in runs {
            let told = finish(run, 0).stderr;
            assert!(!told.contains("lost") && !told.contains("panicked"), "{told}");
        }
    }
}
