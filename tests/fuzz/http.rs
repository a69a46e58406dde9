//! Requests to a running job's endpoint: whatever is asked, the job runs on, and nobody is told more than that he was wrong.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use headwater::{Handle, Job, Options};
use serde_json::Value;

use super::Target;

const JOB: &str = r#"
name = "fuzz-http"
tick = "1s"
[sources.clicks]
event_time = "ts"
schema = { ts = "int64", user = "string" }
stream = { type = "jsonl", path = "clicks.jsonl" }
[features.users]
source = "clicks"
key = "user"
columns = { n = { agg = "count", window = "all" } }
[features.minutes]
source = "clicks"
key = "user"
window = { tumbling = "1m" }
retain = "1000000d"
columns = { n = { agg = "count" } }
"#;

/// A job that runs as long as this process does.
struct Running {
    _dir: tempfile::TempDir,
    handle: Handle,
    address: String,
    token: String,
}

static RUNNING: LazyLock<Running> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("clicks.jsonl"), "{\"ts\":1767268800000,\"user\":\"u1\"}\n").unwrap();
    let job = Job::from_toml(JOB, dir.path()).unwrap();
    let handle = headwater::run(job, Options { endpoint: true, ..Options::default() }).unwrap();
    let begun = Instant::now();
    while handle.get("users", &[("user", "u1")]).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the job has no row");
        std::thread::sleep(Duration::from_millis(5));
    }
    let endpoint = std::fs::read(dir.path().join(".headwater/fuzz-http/endpoint.json")).unwrap();
    let endpoint: Value = serde_json::from_slice(&endpoint).unwrap();
    let text = |name: &str| endpoint[name].as_str().unwrap().to_owned();
    let address = text("url").strip_prefix("http://").unwrap().to_owned();
    Running { _dir: dir, handle, address, token: text("token") }
});

pub(super) struct Http;

impl Target for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        let paths = [
            "/get?group=users&key=user%3Du1",
            "/get?group=minutes&key=user%3Du1&window=2026-01-01T12:00:00Z",
            "/export?group=minutes&sink=embedded",
            "/status",
            "/metrics",
            "/alive",
        ];
        let request = |path: &&str| {
            format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer TOKEN\r\nConnection: close\r\n\r\n"
            )
        };
        let chunked =
            "POST /get?group=users HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        paths.iter().map(request).chain([chunked.to_owned()]).map(String::into_bytes).collect()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "\r\n",
            "%",
            "%00",
            "%ff",
            "&key=",
            "&window=",
            "key=user%3D",
            "Content-Length: 99\r\n",
            "TOKEN",
            "Expect: 100-continue\r\n",
            "9999999999999999999",
            " HTTP/1.0",
        ]
    }

    fn read(&self, input: &[u8]) {
        let running = &*RUNNING;
        let request = replaced_in(input, b"TOKEN", running.token.as_bytes());
        let answer = ask(running, &request, true);
        let status = answer.get(9..12).unwrap_or_default();
        assert!(status != b"500", "{}", String::from_utf8_lossy(&answer));
        let alive = format!(
            "GET /alive HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            running.token
        );
        assert!(ask(running, alive.as_bytes(), false).starts_with(b"HTTP/1.1 200"));
        assert!(!running.handle.is_finished());
    }
}

/// `ends`: nothing follows, whatever the request says. A connection that ends so may be dropped without an answer.
fn ask(running: &Running, request: &[u8], ends: bool) -> Vec<u8> {
    let mut connection = TcpStream::connect(&running.address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A request that is wrong from its first line on is answered before it is read to its end.
    let _ = connection.write_all(request);
    if ends {
        let _ = connection.shutdown(Shutdown::Write);
    }
    let mut answer = vec![];
    let _ = connection.read_to_end(&mut answer);
    answer
}

/// With every `from` as `to`.
fn replaced_in(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut replaced, mut at) = (vec![], 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(from) {
            replaced.extend_from_slice(to);
            at += from.len();
        } else {
            replaced.push(bytes[at]);
            at += 1;
        }
    }
    replaced
}
