//! Tables of Delta and Iceberg that real writers have written, and what their own readers read of them: see `lakes/write.py`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::python::{python, run};
use crate::support::{S3, Service, headwater, need, now_us, run_with, service, until as until_told};

const JOB: &str = r#"
name = "lakes"
tick = "1s"
[sources.payments]
event_time = "ts"
[sources.payments.history]
HISTORY
[features.f]
source = "payments"
key = "id"
WHERE
[features.f.columns]
card = { agg = "last", of = "CARD", window = "all" }
country = { agg = "last", of = "country", window = "all" }
user = { agg = "last", of = "user.USER", window = "all" }
n = { agg = "count", window = "all" }
"#;

/// A job's directory, and what is in its environment.
struct Place {
    dir: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

impl Place {
    fn new(env: &[(&'static str, String)]) -> Place {
        Place { dir: tempfile::tempdir().unwrap(), env: env.to_vec() }
    }

    fn job(&self, case: &Value, history: &str) {
        let text = |key: &str, default: &str| case[key].as_str().unwrap_or(default).to_owned();
        let filter =
            case["where"].as_str().map_or_else(String::new, |country| format!("where = \"country = '{country}'\""));
        let job = JOB.replace("HISTORY", history).replace("WHERE", &filter);
        let job = job.replace("CARD", &text("card", "card")).replace("USER", &text("user", "name"));
        std::fs::write(self.dir.path().join("job.toml"), job).unwrap();
    }

    /// The exit code, what it put out, and all that it said.
    fn headwater(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = headwater();
        let ran = command.current_dir(self.dir.path()).args(args).envs(self.env.iter().cloned()).output().unwrap();
        let [out, err] = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (ran.status.code(), out.clone(), out + &err)
    }

    /// Runs a job over a table, and holds its rows against the case's.
    fn check(&self, case: &Value, history: &str) {
        let name = case["name"].as_str().unwrap();
        self.job(case, history);
        if let Some(expected) = case["told"].as_str() {
            let (code, _, told) = self.headwater(&["check", "job.toml"]);
            assert!(code != Some(0) && told.contains(expected), "{name}: {code:?} {told}");
            return;
        }
        let version = case["version"].as_str().unwrap();
        std::fs::remove_dir_all(self.dir.path().join(".headwater")).ok();
        for command in [["check", "job.toml"].as_slice(), &["catalog", "job.toml"]] {
            let (code, out, told) = self.headwater(command);
            assert!(code == Some(0) && out.contains(&format!(", {version}")), "{name}: {told}");
        }
        let (code, _, told) = self.headwater(&["run", "job.toml", "--until-end", "--fresh"]);
        assert_eq!(code, Some(0), "{name}: {told}");
        let plan = std::fs::read_to_string(self.dir.path().join(".headwater/lakes/plan.json")).unwrap();
        assert!(plan.contains(&format!("\"{version}\"")), "{name}: the plan does not say {version}");
        let (_, out, _) = self.headwater(&["export", "job.toml", "f"]);
        let row = |line: &str| {
            let Value::Object(line) = serde_json::from_str(line).unwrap() else { panic!("{line}") };
            let row = &line["row"];
            json!([line["key"]["id"], row["card"], row["country"], row["user"], row["n"]]).to_string()
        };
        let found: BTreeSet<String> = out.lines().map(row).collect();
        let expected = case["rows"].as_array().unwrap().iter().map(|row| {
            let mut row = row.as_array().unwrap().clone();
            row.push(json!(1));
            Value::Array(row).to_string()
        });
        assert_eq!(found, expected.collect(), "{name}");
    }
}

/// Writes the tables; the cases that came of it, of which there are no fewer than so many.
fn written(python: &Path, args: &[&str], least: usize) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lakes/write.py");
    let output = run(Command::new(python).arg(script).args(args)).unwrap_or_else(|told| panic!("{told}"));
    let Value::Array(cases) = serde_json::from_slice(&output.stdout).unwrap() else { panic!("no cases") };
    assert!(cases.len() >= least, "{} cases", cases.len());
    cases
}

fn python_with_writers() -> Option<std::path::PathBuf> {
    python(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lakes/requirements.txt"))
}

#[test]
fn tables_are_read_as_their_own_readers_read_them() {
    let python = need!(python_with_writers());
    let (tables, place) = (tempfile::tempdir().unwrap(), Place::new(&[]));
    let cases = written(&python, &[tables.path().to_str().unwrap()], 30);
    for case in &cases {
        place.check(case, case["history"].as_str().unwrap());
    }
    through_a_catalogue(&place, &cases);
    a_running_job_tells_its_version(&place, &cases);
    what_is_vacuumed_is_gone(&place, tables.path(), &cases);
}

#[test]
fn tables_in_an_object_store() {
    let python = need!(python_with_writers());
    let s3 = need!(S3::shared());
    let base = format!("s3://headwater/lakes_{:x}", now_us());
    let cases = written(&python, &[&base, &format!("http://{}", s3.address)], 29);
    let place = Place::new(&s3.env());
    for case in &cases {
        place.check(case, case["history"].as_str().unwrap());
    }
}

/// Iceberg's own catalogue, and tables that were written through it.
fn in_a_catalogue(python: &Path, settings: &[&str]) {
    let scripts = need!(service("HEADWATER_TEST_SERVICES"));
    let place = Place::new(&[]);
    let catalogue = place.dir.path().join("catalogue");
    let warehouse = catalogue.join("warehouse").display().to_string();
    let settings = if settings.is_empty() { &[warehouse.as_str()] } else { settings };
    let catalogue = Service::start_in(&Path::new(&scripts).join("iceberg"), &catalogue, settings);
    for case in written(python, &["--catalog", &format!("http://{}", catalogue.address)], 18) {
        place.check(&case, case["history"].as_str().unwrap());
    }
}

#[test]
fn tables_of_a_real_catalogue() {
    in_a_catalogue(&need!(python_with_writers()), &[]);
}

/// Where files lie, and a key for them, is known from the catalogue alone.
#[test]
fn tables_of_a_real_catalogue_in_an_object_store() {
    let (python, s3) = (need!(python_with_writers()), need!(S3::shared()));
    let warehouse = format!("s3://headwater/catalogue_{:x}", now_us());
    let (endpoint, told) = (format!("http://{}", s3.address), keys_told(&s3.address));
    let vended = format!("http://{}", told.0);
    let settings = [
        &warehouse,
        "io-impl=org.apache.iceberg.aws.s3.S3FileIO",
        "s3.path-style-access=true",
        "s3.access-key-id=the-catalogues-own",
        "s3.secret-access-key=x",
        &format!("s3.endpoint={endpoint}"),
        &format!("vended.s3.endpoint={vended}"),
        "vended.client.region=us-east-1",
        "vended.s3.access-key-id=lent",
        "vended.s3.secret-access-key=not-to-be-shown",
    ];
    in_a_catalogue(&python, &settings);
    assert_eq!(*told.1.lock().unwrap(), BTreeSet::from(["lent".to_owned()]));
}

/// A place before an S3 server that passes everything on, and notes by whose keys requests are signed.
fn keys_told(server: &str) -> (SocketAddr, Arc<Mutex<BTreeSet<String>>>) {
    let (server, told) = (server.to_owned(), Arc::new(Mutex::new(BTreeSet::new())));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let noted = told.clone();
    let pass = |mut from: TcpStream, mut to: TcpStream, note: Option<Arc<Mutex<BTreeSet<String>>>>| {
        let (mut buffer, mut seen) = (vec![0; 1 << 16], String::new());
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if let Some(note) = &note {
                // A header may come in two parts.
                seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
                let keys =
                    seen.split("Credential=").skip(1).filter_map(|rest| Some(rest.split_once('/')?.0.to_owned()));
                note.lock().unwrap().extend(keys);
                let from = (seen.len().saturating_sub(200)..=seen.len()).find(|at| seen.is_char_boundary(*at));
                seen.drain(..from.unwrap_or_default());
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&server).unwrap();
            let (of_client, of_server, noted) =
                (client.try_clone().unwrap(), server.try_clone().unwrap(), noted.clone());
            std::thread::spawn(move || pass(client, server, Some(noted)));
            std::thread::spawn(move || pass(of_server, of_client, None));
        }
    });
    (address, told)
}

/// Beside a stream, while it runs.
fn a_running_job_tells_its_version(place: &Place, cases: &[Value]) {
    let case = cases.iter().find(|case| case["version"] == "version 2").unwrap();
    std::fs::write(place.dir.path().join("s.jsonl"), "").unwrap();
    let until = "complete_until = \"2030-01-01T00:00:00Z\"";
    let stream = "[sources.payments.stream]\ntype = \"jsonl\"\npath = \"s.jsonl\"";
    place.job(case, &format!("{}\n{until}\n{stream}", case["history"].as_str().unwrap()));
    let job = place.dir.path().join("job.toml").display().to_string();
    let running = run_with(&["run", &job, "--fresh"], &place.env);
    let told = until_told("the status of a running job", || {
        let (code, out, _) = place.headwater(&["status", "job.toml"]);
        (code == Some(0) && out.contains("history   ")).then_some(out)
    });
    assert!(told.contains("  history   version 2\n"), "{told}");
    running.terminate();
}

/// A pinned version whose files are removed ends a run as any history does whose files go.
fn what_is_vacuumed_is_gone(place: &Place, tables: &Path, cases: &[Value]) {
    let case = cases.iter().find(|case| case["version"] == "version 0").unwrap();
    place.job(case, case["history"].as_str().unwrap());
    let log = std::fs::read_to_string(tables.join("delta/_delta_log/00000000000000000000.json")).unwrap();
    let adds = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["add"]["path"].as_str().map(str::to_owned));
    let file = adds.into_iter().find(|path| path.contains("country=DE")).unwrap();
    std::fs::remove_file(tables.join("delta").join(&file)).unwrap();
    let (code, _, told) = place.headwater(&["run", "job.toml", "--until-end", "--fresh"]);
    assert!(code == Some(3) && told.contains(&file) && told.contains("version 0"), "{code:?} {told}");
}

/// The same table by a catalogue that speaks REST: its metadata is what the catalogue says.
fn through_a_catalogue(place: &Place, cases: &[Value]) {
    let metadata = cases.iter().filter_map(|case| case["metadata"].as_str()).next_back().unwrap();
    let metadata = std::fs::read_to_string(metadata.trim_start_matches("file://")).unwrap();
    let case = cases.iter().find(|case| case["name"] == "iceberg 2, the newest").unwrap();
    let answers = vec![
        ("/v1/config?warehouse=lake".to_owned(), r#"{"defaults":{},"overrides":{"prefix":"a/b"}}"#.to_owned()),
        ("/v1/a/b/namespaces/shop%1Feu/tables/payments".to_owned(), format!("{{\"metadata\":{metadata}}}")),
    ];
    let url = serve(answers);
    let history = |table: &str| {
        let catalog = format!("{{ url = \"{url}\", warehouse = \"lake\", auth = {{ token = \"let-me-in\" }} }}");
        format!("type = \"iceberg\"\ntable = \"{table}\"\ncatalog = {catalog}")
    };
    place.check(case, &history("shop.eu.payments"));
    let told = json!({ "name": "no such table", "told": format!("there is no Iceberg table shop.other of {url}") });
    place.check(&told, &history("shop.other"));
}

/// Answers by path to who may ask.
fn serve(answers: Vec<(String, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let Some(first) = lines.next() else { continue };
            let may_ask = lines.any(|line| line.eq_ignore_ascii_case("authorization: bearer let-me-in"));
            let path = first.split(' ').nth(1).unwrap_or_default();
            let found = answers.iter().find(|(known, _)| may_ask && known == path).map(|(_, body)| body.as_str());
            let (status, body) = found.map_or((404, "{}"), |body| (200, body));
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = (&stream).write_all((head + body).as_bytes());
        }
    });
    url
}
