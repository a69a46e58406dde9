//! The client against a stub that speaks as a registry does: what it asks, keeps, tries again and gives up.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::config::Auth;
use super::stub::Stub;
use super::*;

fn config(urls: &[&str]) -> RegistryConfig {
    RegistryConfig { urls: urls.iter().map(|url| url.parse().unwrap()).collect(), ..RegistryConfig::default() }
}

#[test]
fn the_newest_schema_and_what_it_names() {
    let stub = Stub::start();
    let reference = |name: &str| format!(r#"{{"name": "{name}", "subject": "{name}-s", "version": 2}}"#);
    let of = |schema: &str, references: &[&str]| {
        let references: Vec<String> = references.iter().map(|name| reference(name)).collect();
        format!(r#"{{"schema": "{schema}", "schemaType": "PROTOBUF", "references": [{}]}}"#, references.join(","))
    };
    stub.answer("/r/subjects/a%2Fb%20c/versions/latest", 200, &of("main", &["x", "y"]));
    stub.answer("/r/subjects/x-s/versions/2", 200, &of("of x", &["y"]));
    stub.answer("/r/subjects/y-s/versions/2", 200, &of("of y", &[]));
    let registry = Registry::new(&RegistryConfig {
        auth: Auth::Basic { username: "me".into(), password: "pass".into() },
        // The first is away.
        ..config(&["http://127.0.0.1:1/", &format!("{}/r/", stub.url)])
    });
    let found = registry.unwrap().newest("a/b c").unwrap();
    assert_eq!((found.schema.as_str(), found.kind.as_str()), ("main", "PROTOBUF"));
    let named: Vec<&str> = found.references.iter().map(|(_, schema)| schema.as_str()).collect();
    assert_eq!(named, ["of y", "of x"]);
    assert!(stub.asked().iter().all(|(_, authorization)| authorization == "Basic bWU6cGFzcw=="));
}

#[test]
fn what_only_the_user_can_mend() {
    let stub = Stub::start();
    stub.answer("/subjects/secret/versions/latest", 401, "");
    stub.answer("/subjects/odd/versions/latest", 200, "<html>");
    stub.answer("/subjects/other/versions/latest", 200, "{}");
    let registry = Registry::new(&RegistryConfig { auth: Auth::Bearer("t".into()), ..config(&[&stub.url]) }).unwrap();
    for (subject, expected) in [
        ("none", "has no subject \"none\": name one with `subject`"),
        ("secret", "it does not let us in (401 Unauthorized): see `auth` of the registry"),
        ("odd", "its answer is no JSON"),
        ("other", "its answer has no `schema`: does it speak Confluent's REST?"),
    ] {
        let error = registry.newest(subject).unwrap_err();
        assert!(matches!(error, Error::Config(_)) && error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains(&stub.url), "{error}");
    }
    assert!(stub.asked().iter().all(|(_, authorization)| authorization == "Bearer t"));
}

#[test]
fn an_id_is_asked_for_once_and_until_it_is_there() {
    let stub = Stub::start();
    let registry = Registry::new(&config(&[&stub.url])).unwrap();
    let (sender, woken) = std::sync::mpsc::channel();
    let wake: Wake = Arc::new(move || _ = sender.send(()));
    let id = WriterId::Guid([0xab; 16]);
    let path = "/schemas/guids/abababab-abab-abab-abab-abababababab";
    stub.answer(path, 503, "");
    (0..3).for_each(|_| assert_eq!(registry.writer(id, Some(&wake)), None));
    while stub.asked().len() < 2 {
        std::thread::yield_now();
    }
    stub.schema(path, "\"string\"");
    woken.recv_timeout(Duration::from_secs(60)).unwrap();
    let found = registry.writer(id, Some(&wake)).unwrap();
    assert_eq!((found.schema.as_str(), found.kind.as_str()), ("\"string\"", "AVRO"));
    let asked = stub.asked().len();
    (0..3).for_each(|_| assert!(registry.writer(id, None).is_some()));
    assert_eq!(stub.asked().len(), asked);
    assert!(woken.try_recv().is_err(), "it was woken twice");
}

/// A registry behind a real TLS server, `openssl s_server`, with certificates of an authority of its own.
struct Tls {
    dir: tempfile::TempDir,
    server: Child,
    /// A server that nobody listens to would end.
    _told: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = (self.server.kill(), self.server.wait());
    }
}

fn openssl(dir: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split_whitespace()).current_dir(dir).output();
    let output = output.expect("openssl, which the tests need");
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Tls {
    /// `more`: what else the server is told.
    fn start(more: &[&str]) -> Tls {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let versions = at.join("subjects/t-value/versions");
        std::fs::create_dir_all(&versions).unwrap();
        std::fs::write(versions.join("latest"), r#"{"schema": "\"long\""}"#).unwrap();
        std::fs::write(at.join("san.txt"), "subjectAltName=DNS:localhost").unwrap();
        std::fs::write(at.join("ca.txt"), "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign").unwrap();
        for (name, subject) in [("ca", "/CN=authority"), ("server", "/CN=localhost"), ("client", "/CN=headwater")] {
            openssl(at, &format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"));
            openssl(at, &format!("req -new -key {name}.key -subj {subject} -out {name}.csr"));
        }
        openssl(at, "x509 -req -in ca.csr -signkey ca.key -days 2 -extfile ca.txt -out ca.pem");
        for name in ["server", "client"] {
            let signed = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san.txt";
            openssl(at, &format!("x509 -req -in {name}.csr {signed} -out {name}.pem"));
        }
        let mut server = Command::new("openssl");
        server.args(["s_server", "-accept", "127.0.0.1:0", "-WWW", "-cert", "server.pem", "-key", "server.key"]);
        server.args(more).current_dir(at).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = server.spawn().unwrap();
        let mut told = BufReader::new(server.stdout.take().unwrap()).lines();
        let port = told.find_map(|line| Some(line.unwrap().strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.to_owned()));
        let url = format!("https://localhost:{}", port.expect("a port"));
        Tls { dir, server, _told: told, url }
    }

    /// What it answers one who trusts and shows these.
    fn newest(&self, ca: Option<&str>, identity: Option<&str>) -> Result<String, String> {
        let path = |name: &str| self.dir.path().join(name);
        let identity = identity.map(|name| (path(&format!("{name}.pem")), path(&format!("{name}.key"))));
        let config = RegistryConfig { ca: ca.map(path), identity, ..config(&[&self.url]) };
        let registry = Registry::new(&config).map_err(|e| e.to_string())?;
        match runtime().unwrap().block_on(registry.asker.newest("t-value")) {
            Ok(found) => Ok(found.unwrap().schema),
            Err(Failure::Away(cause)) => Err(format!("away: {cause}")),
            Err(Failure::Refused(cause)) => Err(format!("refused: {cause}")),
        }
    }
}

#[test]
fn over_tls_it_is_trusted_by_its_authority() {
    let tls = Tls::start(&[]);
    assert_eq!(tls.newest(Some("ca.pem"), None).as_deref(), Ok("\"long\""));
    let told = tls.newest(None, None).unwrap_err();
    assert!(told.starts_with("refused: ") && told.ends_with("see `ca` of the registry"), "{told}");
    let told = tls.newest(Some("ca.key"), None).unwrap_err();
    assert!(told.contains("`ca` of the registry, ") && told.ends_with("it has no certificate in PEM"), "{told}");
    assert!(tls.newest(Some("none.pem"), None).unwrap_err().contains("none.pem: "));
}

#[test]
fn over_tls_it_may_ask_who_asks() {
    let tls = Tls::start(&["-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"]);
    assert_eq!(tls.newest(Some("ca.pem"), Some("client")).as_deref(), Ok("\"long\""));
    let told = tls.newest(Some("ca.pem"), None).unwrap_err();
    assert!(told.starts_with("away: "), "{told}");
    std::fs::write(tls.dir.path().join("torn.pem"), "nothing").unwrap();
    std::fs::write(tls.dir.path().join("torn.key"), "nothing").unwrap();
    let told = tls.newest(Some("ca.pem"), Some("torn")).unwrap_err();
    assert!(told.contains("`certificate` of the registry, ") && told.contains("torn.pem: "), "{told}");
}
