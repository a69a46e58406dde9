//! The client against a stub that speaks as a registry does: what it asks, keeps, tries again and gives up.

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
