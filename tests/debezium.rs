//! A real PostgreSQL, followed by a real Debezium into a real Kafka: what is in the tables is what the rows are of.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::*;

const JOB: &str = r#"
name = "{NAME}"
[sources.orders]
event_time = "placed_at"
primary_key = "id"
changes = "debezium"
schema = { id = "int64", placed_at = "timestamp", account = "int32", amount = "decimal128(12, 2)", odd = "decimal128(20, 3)", settled = "timestamp", due = "date", note = "string" }
stream = { type = "kafka", brokers = "{BROKERS}", topic = "{TOPIC}.public.orders" }
[tables.people]
key = "id"
changes = "debezium"
event_time = "since"
lateness = "9999d"
schema = { id = "int32", since = "timestamp", owner = "string", rate = "decimal128(6, 2)" }
stream = { type = "kafka", brokers = "{BROKERS}", topic = "{TOPIC}.public.accounts" }
[features.orders]
source = "orders"
key = "id"
[features.orders.columns]
amount = { agg = "last", of = "amount", window = "all" }
odd = { agg = "last", of = "odd", window = "all" }
settled = { agg = "last", of = "settled", window = "all" }
due = { agg = "last", of = "due", window = "all" }
[features.accounts]
source = "orders"
key = "account"
columns = { n = { agg = "count", window = "all" }, amount = { agg = "sum", of = "amount", window = "all" } }
[features.notes]
source = "orders"
key = "id"
columns = { length = { agg = "max", of = "length(note)", window = "all" } }
[features.owners]
source = "orders"
lookup.a = { table = "people", on = "account" }
key = "a.owner"
columns = { n = { agg = "count", window = "all" } }
[dead_letters]
type = "jsonl"
path = "dead_letters.jsonl"
"#;

const TABLES: &str = "
create table accounts (id int primary key, since timestamptz, owner text, rate numeric(6, 2));
create table orders (id bigint primary key, placed_at timestamptz, account int, amount numeric(12, 2), odd numeric, settled timestamp, due date, note text);
alter table orders alter note set storage external;
insert into accounts values (1, '2026-01-01 00:00:00+00', 'ann', 1.25), (2, '2026-01-01 00:00:00+00', 'bob', 0.5);
insert into orders values
    (1, '2026-01-05 10:00:00+00', 1, 12.34, 1.5, '2026-01-05 10:00:00.123456', '2026-02-01', repeat('x', 9000)),
    (2, '2026-01-05 10:01:00+00', 1, 1.00, 2, null, null, 'short'),
    (3, '2026-01-05 10:02:00+00', 2, -7.50, null, '1969-12-31 23:59:59.5', '1969-12-31', null);
";

/// What the database and its follower are.
struct World {
    case: Case,
    postgres: Service,
}

impl World {
    fn sql(&self, text: &str) -> String {
        let (host, port) = self.postgres.address.split_once(':').unwrap();
        let mut psql = Command::new("psql");
        psql.args([
            "-X",
            "-q",
            "-t",
            "-A",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            host,
            "-p",
            port,
            "-U",
            "headwater",
            "postgres",
            "-c",
            text,
        ]);
        let out = psql.output().unwrap();
        assert!(out.status.success(), "{text}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// The rows of a query, each as JSON.
    fn rows(&self, query: &str) -> Vec<Value> {
        json_lines(&self.sql(&format!("select row_to_json(q) from ({query}) q")))
    }

    /// A topic holds so many records.
    fn wait_for(&self, table: &str, records: usize) {
        let topic = Topic::known(&self.case.kafka, &format!("{}.public.{table}", self.case.name));
        until(&format!("{records} records of {table}"), || (topic.records(0) >= records).then_some(()));
    }

    fn exported(&self, job: &std::path::Path, group: &str) -> BTreeMap<String, Value> {
        let out = finish(run(&["export", job.to_str().unwrap(), group]), 0).stdout;
        let one = |line: Value| {
            let key = line["key"].as_object().unwrap().values().next().unwrap().clone();
            (key.as_str().map_or(key.to_string(), str::to_owned), line["row"].clone())
        };
        json_lines(&out).into_iter().map(one).collect()
    }

    /// The rows of the job are what the database says.
    fn agrees(&self, job: &std::path::Path) {
        let accounts =
            self.rows("select account::text k, count(*) n, sum(amount)::text amount from orders group by account");
        let expected = accounts
            .iter()
            .map(|row| (row["k"].as_str().unwrap().to_owned(), json!({ "n": row["n"], "amount": row["amount"] })));
        assert_eq!(self.exported(job, "accounts"), expected.collect());
        let orders = self.rows(
            "select id::text k, amount::text amount, odd::numeric(20, 3)::text odd, due::text due,
                    to_char(settled, 'YYYY-MM-DD\"T\"HH24:MI:SS.US') settled from orders",
        );
        let found = self.exported(job, "orders");
        assert_eq!(found.len(), orders.len());
        for row in &orders {
            let found = &found[row["k"].as_str().unwrap()];
            for column in ["amount", "odd", "due"] {
                assert_eq!(found[column], row[column], "{column} of {row}");
            }
            let settled =
                |value: &Value| value.as_str().map(|text| micros(&format!("{}Z", text.trim_end_matches('Z'))));
            assert_eq!(settled(&found["settled"]), settled(&row["settled"]), "{row}");
        }
    }
}

#[test]
fn the_rows_are_those_of_the_database() {
    let case = need!(Case::new("debezium"));
    let postgres = Service::start(&case, "postgres");
    let world = World { postgres, case };
    world.sql(TABLES);
    let (host, port) = world.postgres.address.split_once(':').unwrap();
    let settings = [
        format!("bootstrap.servers={}", world.case.kafka),
        format!("database.hostname={host}"),
        format!("database.port={port}"),
        format!("topic.prefix={}", world.case.name),
        "table.include.list=public.orders,public.accounts".to_owned(),
        "slot.name=headwater".to_owned(),
        "publication.name=headwater".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let connector = Service::start_with(&world.case, "debezium", &settings);
    let job = world.case.job("job.toml", JOB);
    let to_end = |more: &[&str]| finish(run(&[&["run", job.to_str().unwrap(), "--until-end"], more].concat()), 0);

    // What the tables had.
    world.wait_for("orders", 3);
    world.wait_for("accounts", 2);
    to_end(&[]);
    world.agrees(&job);
    assert_eq!(world.exported(&job, "notes")["1"], json!({ "length": 9000 }));
    assert_eq!(world.exported(&job, "owners")["ann"], json!({ "n": 2 }));

    // What becomes of them: a note that the log does not have, since it has not changed, fails what is of it.
    world.sql("update orders set amount = 99.99, settled = '2026-03-01 00:00:00.000001' where id = 1");
    world.sql("insert into orders values (4, '2026-01-05 10:03:00+00', 2, 0.01, 12345.678, null, '2026-12-31', 'n')");
    world.sql("delete from orders where id = 2");
    world.sql("update orders set id = 5 where id = 3");
    // 3, and 1 + 1 + (1 and a record without a value) + (2 and 1)
    world.wait_for("orders", 10);
    to_end(&["--workers", "2"]);
    world.agrees(&job);
    assert_eq!(world.exported(&job, "notes")["1"], json!({ "length": null }));
    assert_eq!(world.exported(&job, "owners")["ann"], json!({ "n": 1 }));
    let letters = world.case.lines("dead_letters.jsonl");
    // An order may come before its account: then nobody owns it for a moment.
    let letters = letters.iter().filter(|letter| letter["reason"] != "null key");
    let reasons: Vec<_> = letters.map(|letter| (&letter["reason"], letter["offset"].as_i64())).collect();
    assert_eq!(reasons, [(&json!("expression"), Some(3))]);

    // A connector that has forgotten how far it was tells everything once more.
    connector.stop("KILL");
    world.sql("update orders set amount = amount + 1, note = 'new' where id = 4");
    let drop_slot = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active";
    let slots = "select count(*) from pg_replication_slots";
    until("nobody uses the slot", || {
        world.sql(drop_slot);
        (world.sql(slots).trim() == "0").then_some(())
    });
    std::fs::remove_file(world.case.path("debezium/offsets")).unwrap();
    connector.again();
    world.wait_for("orders", 13);
    to_end(&[]);
    world.agrees(&job);
    to_end(&["--fresh", "--workers", "3"]);
    world.agrees(&job);
    assert_eq!(world.exported(&job, "notes")["1"], json!({ "length": 9000 }));
}
