//! `headwater catalog`: as text, JSON and Markdown, of a directory, and searched.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

const JOB: &str = r#"
name = "shop"
[sources.orders]
description = "What was bought | when"
owner = "data@shop"
event_time = "ts"
schema = { ts = "timestamp", user = "string", price = "float64", paid = "bool" }
stream = { type = "jsonl", path = "orders.jsonl" }
[features.user_orders]
description = "Orders of a user"
tags = ["pii", "ranking"]
source = "orders"
key = "user"
where = "paid"
[features.user_orders.columns]
n = { agg = "count", window = "1h" }
spend = { agg = "sum", of = "price", windows = ["1d", "all"], description = "Money", owner = "ml@shop" }
[features.user_orders.derived]
each = { of = "spend_all / nullif(n, 0)", description = "Of an order", owner = "growth@shop" }
[features.user_hourly]
source = "orders"
key = "user"
window = { tumbling = "1h" }
columns = { n = { agg = "count" } }
"#;

fn catalog(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let command = [&["catalog"], args].concat();
    let output = Command::new(env!("CARGO_BIN_EXE_headwater")).current_dir(dir).args(command).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn shop() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("jobs/deep")).unwrap();
    fs::write(dir.path().join("jobs/deep/shop.toml"), JOB).unwrap();
    fs::write(dir.path().join("jobs/deep/orders.jsonl"), "").unwrap();
    fs::write(dir.path().join("jobs/other.toml"), "[package]\nname = \"no job\"\n").unwrap();
    dir
}

#[test]
fn as_json_with_lineage() {
    let dir = shop();
    let (code, out, err) = catalog(dir.path(), &["jobs", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    let [job] = found["jobs"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!((&job["job"], &job["sources"][0]["owner"]), (&json!("shop"), &json!("data@shop")));
    let group = &job["features"][0];
    assert_eq!((&group["tags"], &group["window"]), (&json!(["pii", "ranking"]), &json!("trailing")));
    let column = |name: &str| {
        let columns = group["columns"].as_array().unwrap();
        columns.iter().find(|column| column["column"] == name).unwrap_or_else(|| panic!("{name} in {group}"))
    };
    for (name, of_type, from) in [
        ("n", "int64", json!(["orders.paid", "orders.ts"])),
        ("spend_1d", "float64", json!(["orders.paid", "orders.price", "orders.ts"])),
        ("spend_all", "float64", json!(["orders.paid", "orders.price"])),
        ("each", "float64", json!(["orders.paid", "orders.price", "orders.ts"])),
    ] {
        assert_eq!((&column(name)["type"], &column(name)["from"]), (&json!(of_type), &from), "{name}");
    }
    assert_eq!(column("spend_1d")["description"], "Money");
    assert_eq!(
        (&column("each")["description"], &column("each")["owner"]),
        (&json!("Of an order"), &json!("growth@shop"))
    );
    assert_eq!(group["key"], json!([{ "name": "user", "type": "string", "from": ["orders.user"] }]));
    // A lifetime column is of events of all time.
    assert_eq!((&job["sources"][0]["kind"], &job["sources"][0]["retention"]), (&json!("source"), &json!("all")));
}

/// A table, events that replace one another, a key that is SQL; and a group that a file of statements has, with what people should know.
#[test]
fn what_a_job_of_sql_tells() {
    let dir = tempfile::tempdir().unwrap();
    let job = r#"
name = "told"
features_file = "features.sql"
[sources.orders]
event_time = "ts"
primary_key = "id"
lateness = "1h"
schema = { id = "int64", ts = "timestamp", user = "string", price = "float64" }
stream = { type = "jsonl", path = "orders.jsonl" }
[tables.shops]
key = ["id", "kind"]
event_time = "since"
schema = { id = "string", kind = "string", since = "timestamp", city = "string" }
stream = { type = "jsonl", path = "orders.jsonl" }
[features.hourly]
description = "By the hour"
owner = "data@shop"
columns.n = { description = "how many", tags = ["volume"] }
columns.twice = { description = "and again" }
[features.mails]
source = "orders"
key = { mail = "lower(user)" }
columns = { n = { agg = "count", window = "7d" } }
"#;
    let statement = "CREATE FEATURES hourly AS SELECT user, COUNT(*) AS n, n * 2 AS twice FROM orders GROUP BY user, \
                     TUMBLE(ts, INTERVAL '1 hour');";
    fs::write(dir.path().join("job.toml"), job).unwrap();
    fs::write(dir.path().join("features.sql"), statement).unwrap();
    fs::write(dir.path().join("orders.jsonl"), "").unwrap();
    let (code, out, err) = catalog(dir.path(), &["job.toml", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    let job = &found["jobs"][0];
    let (orders, shops) = (&job["sources"][0], &job["sources"][1]);
    assert_eq!((&orders["primary_key"], &orders["retention"]), (&json!(["id"]), &json!("7d")), "{orders}");
    assert_eq!((&shops["kind"], &shops["primary_key"]), (&json!("table"), &json!(["id", "kind"])), "{shops}");
    assert_eq!(shops.get("retention"), None);
    let (hourly, mails) = (&job["features"][0], &job["features"][1]);
    assert_eq!((&hourly["description"], &hourly["owner"]), (&json!("By the hour"), &json!("data@shop")));
    let said = |at: usize| (hourly["columns"][at]["column"].clone(), hourly["columns"][at]["description"].clone());
    assert_eq!([said(0), said(1)], [(json!("n"), json!("how many")), (json!("twice"), json!("and again"))]);
    assert_eq!(mails["key"], json!([{ "name": "mail", "type": "string", "from": ["orders.user"] }]));
    let (_, out, _) = catalog(dir.path(), &["job.toml", "--search", "volume"]);
    assert!(out.contains("features hourly") && !out.contains("mails"), "{out}");
    let (_, page, _) = catalog(dir.path(), &["job.toml", "--markdown"]);
    assert!(page.contains("### Table `shops`") && page.contains("- a row by `id`, `kind`"), "{page}");
    assert!(page.contains("by `mail string` (from `orders.user`)") && page.contains("events of the last 7d"), "{page}");
}

#[test]
fn lineage_of_what_is_looked_up() {
    let dir = tempfile::tempdir().unwrap();
    let job = r#"
name = "lookups"
[sources.orders]
event_time = "ts"
schema = { ts = "timestamp", user = "string", shop = "string", price = "float64" }
stream = { type = "jsonl", path = "orders.jsonl" }
[tables.shops]
key = "id"
event_time = "since"
schema = { id = "string", since = "timestamp", city = "string", rate = "float64" }
stream = { type = "jsonl", path = "orders.jsonl" }
[features.cities]
source = "orders"
lookup.s = { table = "shops", on = "shop" }
key = "s.city"
columns = { spend = { agg = "sum", of = "price * s.rate", window = "1h" } }
[features.odd]
source = "orders"
lookup.s = { table = "shops", on = "lower(shop)" }
lookup.c = { features = "cities", on = "s.city" }
key = "user"
columns = { n = { agg = "count", where = "c.spend > 2", window = "all" } }
[views.rated]
key = "city"
sql = "SELECT shops.city, sum(spend * rate) AS rated, count(*) AS n FROM cities JOIN shops USING (city) WHERE spend > 2 GROUP BY shops.city"
"#;
    fs::write(dir.path().join("job.toml"), job).unwrap();
    fs::write(dir.path().join("orders.jsonl"), "").unwrap();
    let (code, out, err) = catalog(dir.path(), &["job.toml", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    let from = |group: usize| found["jobs"][0]["features"][group]["columns"][0]["from"].clone();
    assert_eq!(from(0), json!(["orders.price", "orders.shop", "orders.ts", "shops.rate"]));
    assert_eq!(from(1), json!(["cities.spend", "orders.shop", "shops.city"]));
    let of_view: Vec<&Value> = found["jobs"][0]["views"][0]["columns"].as_array().unwrap().iter().collect();
    assert_eq!(of_view[0]["from"], json!(["cities.city", "cities.spend", "shops.city", "shops.rate"]), "{of_view:?}");
    assert_eq!(of_view[1]["from"], json!(["cities.city", "cities.spend", "shops.city"]), "{of_view:?}");
    let (_, page, _) = catalog(dir.path(), &["job.toml", "--markdown"]);
    assert!(page.contains("| `n` | int64 | `cities.city`, `cities.spend`, `shops.city` |"), "{page}");
    let (_, out, _) = catalog(dir.path(), &["job.toml"]);
    assert!(out.contains("from cities.city, cities.spend, shops.city, shops.rate"), "{out}");
}

#[test]
fn searched_and_as_a_page() {
    let dir = shop();
    let (_, out, _) = catalog(dir.path(), &["jobs", "--search", "money ML@shop"]);
    assert!(out.contains("spend_1d") && !out.contains("user_hourly") && !out.contains(" n "), "{out}");
    let (code, out, err) = catalog(dir.path(), &["jobs/deep/shop.toml", "--search", "unheard"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("nothing here has `unheard`"), "{err}");
    let (_, page, _) = catalog(dir.path(), &["jobs", "--markdown"]);
    for part in [
        "### Source `orders`",
        "What was bought | when",
        "- tags: pii, ranking",
        "| `each` | float64 |",
        "- owner: data@shop",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let (code, _, err) = catalog(dir.path(), &["jobs/other.toml"]);
    assert_eq!(code, Some(2), "{err}");
    let (code, _, err) = catalog(dir.path(), &["."]);
    assert_eq!(code, Some(0), "{err}");
}
