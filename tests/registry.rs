//! A real schema registry, and Confluent's own serializers as who writes: what is read is what their deserializers read of it
//! (`registry/write.py`).

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::python::{python, run as run_python};
use crate::support::*;

const JOB: &str = r#"
name = "{NAME}"
[sources.events]
event_time = "at"
SCHEMA
[sources.events.stream]
type    = "kafka"
brokers = "{BROKERS}"
topic   = "TOPIC"
format  = "FORMAT"
registry = { url = "http://REGISTRY/apis/ccompat/v7" }
MESSAGE
[features.f]
source = "events"
key    = "id"
[features.f.columns]
at     = { agg = "last", of = "at", window = "all" }
card   = { agg = "last", of = "user.card", window = "all" }
amount = { agg = "last", of = "AMOUNT", window = "all" }
kind   = { agg = "last", of = "kind", window = "all" }
note   = { agg = "last", of = "note", window = "all" }
fee    = { agg = "last", of = "fee", window = "all" }
tags   = { agg = "last", of = "coalesce(array_length(tags), 0)", window = "all" }
[sinks.local]
type = "embedded"
[dead_letters]
type = "jsonl"
path = "letters.jsonl"
[state]
path = "state_FORMAT"
checkpoint_every = "20ms"
"#;

/// JSON's columns are the job's to say.
const SCHEMA: &str = "schema = { id = \"int64\", at = \"timestamp\", \"user.card\" = \"string\", cents = \"int64\", kind = \"string\", \
                      note = \"string\", fee = \"float64\", tags = \"list<string>\" }";

struct World {
    case: Case,
    registry: Service,
    python: PathBuf,
}

impl World {
    fn topic(&self, format: &str) -> String {
        format!("{}_{format}", self.case.name)
    }

    fn job(&self, format: &str) -> String {
        let (schema, message, amount) = match format {
            "avro" => ("", "", "amount"),
            "protobuf" => ("", "message = \"shop.Payment\"", "cents"),
            _ => (SCHEMA, "", "cents"),
        };
        let text = JOB.replace("SCHEMA", schema).replace("MESSAGE", message).replace("AMOUNT", amount);
        let text = text.replace("FORMAT", format).replace("REGISTRY", &self.registry.address);
        let path = self.case.job(&format!("{format}.toml"), &text.replace("TOPIC", &self.topic(format)));
        path.display().to_string()
    }

    /// Registers the first schemas of a format, and writes records by some of them: what Confluent's deserializers read.
    fn write(&self, format: &str, schemas: u32, by: &[u32]) -> Vec<Value> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry/write.py");
        let mut command = Command::new(&self.python);
        let url = format!("http://{}/apis/ccompat/v7", self.registry.address);
        command.arg(script).args([&url, &self.case.kafka, &self.topic(format), format, &schemas.to_string()]);
        command.args(by.iter().map(u32::to_string));
        let output = run_python(&mut command).unwrap_or_else(|told| panic!("{told}"));
        let Value::Array(told) = serde_json::from_slice(&output.stdout).unwrap() else { panic!("no records") };
        assert_eq!(told.len(), 10 * by.len());
        told
    }

    fn agrees(&self, job: &str, expected: &[Value]) {
        let row = |line: Value| {
            let of = |column: &str| line["row"][column].clone();
            let at = micros(line["row"]["at"].as_str().unwrap());
            json!([line["key"]["id"], at, of("card"), of("amount"), of("kind"), of("note"), of("fee"), of("tags")])
        };
        let exported = json_lines(&finish(run(&["export", job, "f"]), 0).stdout);
        let mut found: Vec<Value> = exported.into_iter().map(row).collect();
        found.sort_by_key(|row| row[0].as_i64());
        assert_eq!(found, expected, "{job}");
        assert_eq!(self.case.lines("letters.jsonl"), Vec::<Value>::new(), "{job}");
    }
}

#[test]
fn what_confluents_serializers_write() {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry/requirements.txt");
    let (case, python) = (need!(Case::new("confluent")), need!(python(&requirements)));
    let world = World { registry: Service::start(&case, "registry"), case, python };
    for format in ["avro", "protobuf", "json"] {
        Topic::new(&world.case.kafka, &world.topic(format), 1);
        let mut expected = world.write(format, 2, &[1, 2]);
        let job = world.job(format);
        finish(run(&["run", &job, "--until-end"]), 0);
        world.agrees(&job, &expected);
        // A writer's schema that is newer than what was pinned; and the registry knows nothing for a while, then what it knew.
        expected.extend(world.write(format, 3, &[3]));
        if format == "avro" {
            world.registry.stop("KILL");
            let running = run(&["run", &job, "--until-end"]);
            until("it is told", || running.log().contains("Records wait for it").then_some(()));
            world.registry.again();
            world.write(format, 3, &[]);
            assert!(finish(running, 0).stderr.contains("reading goes on"));
        } else {
            finish(run(&["run", &job, "--until-end", "--workers", "2"]), 0);
        }
        world.agrees(&job, &expected);
        finish(run(&["run", &job, "--until-end", "--workers", "3"]), 0);
        world.agrees(&job, &expected);
    }
}
