//! A group as SQL: the rows are those of the same group in TOML, in the job, in a file and from a file of several; and what is wrong is
//! told where it stands.

use std::fs;
use std::path::Path;

use crate::support::{Ran, headwater_in};

const SOURCE: &str = r#"
[sources.payments]
event_time = "at"
schema = { at = "timestamp", card = "string", country = "string", amount = "int64" }
stream = { type = "jsonl", path = "payments.jsonl" }
"#;

const TOML: &str = r#"
[features.spelled]
source = "payments"
key = "card"
where = "amount < 900"
[features.spelled.columns]
n_1h = { agg = "count", window = "1h" }
abroad = { agg = "sum", of = "amount * 2", where = "country <> 'DE'", window = "2h" }
top = { agg = "max", of = "amount", window = "all" }
[features.spelled.derived]
double = "n_1h * 2"
"#;

const SELECT: &str = "SELECT card,
       COUNT(*) FILTER (WHERE at > NOW() - INTERVAL '1 hour') AS n_1h,
       SUM(p.amount * 2) FILTER (WHERE country <> 'DE' AND NOW() - INTERVAL '2 hours' < p.at) AS abroad,
       MAX(amount) AS top,
       n_1h * 2 AS double
FROM payments AS p
WHERE amount < 900
GROUP BY card";

const HOURLY: &str = "SELECT country, count(*) n FROM payments GROUP BY country, TUMBLE(at, INTERVAL '1 hour')";

fn write_payments(dir: &Path) {
    let payment = |n: u32| {
        let (minute, country) = (n % 60, ["DE", "FR", "US"][n as usize % 3]);
        let at = format!("2026-01-01T{:02}:{minute:02}:00Z", 8 + n / 60);
        format!("{{\"at\":\"{at}\",\"card\":\"c{}\",\"country\":\"{country}\",\"amount\":{}}}\n", n % 7, n * 37 % 1000)
    };
    fs::write(dir.join("payments.jsonl"), (0..300).map(payment).collect::<String>()).unwrap();
}

fn export(dir: &Path, group: &str) -> String {
    let Ran { code, told } = headwater_in(dir, &["export", "job.toml", group]);
    assert_eq!(code, Some(0), "{told}");
    told
}

#[test]
fn gives_the_rows_of_the_same_group_in_toml() {
    let dir = tempfile::tempdir().unwrap();
    write_payments(dir.path());
    fs::write(dir.path().join("group.sql"), SELECT).unwrap();
    let several = format!("CREATE FEATURES one AS {SELECT};\n-- by country\nCREATE FEATURES hourly AS {HOURLY};\n");
    fs::write(dir.path().join("features.sql"), several).unwrap();
    let job = format!(
        "name = \"sql\"\ntick = \"1s\"\nfeatures_file = \"features.sql\"\n{SOURCE}{TOML}\
         [features.inline]\nsql = '''\n{SELECT}'''\n[features.filed]\nsql_file = \"group.sql\"\n\
         [features.spelled_hourly]\nsource = \"payments\"\nkey = \"country\"\nwindow = {{ tumbling = \"1h\" }}\n\
         columns = {{ n = {{ agg = \"count\" }} }}\n"
    );
    fs::write(dir.path().join("job.toml"), job).unwrap();
    let Ran { code, told } = headwater_in(dir.path(), &["run", "job.toml", "--until-end"]);
    assert_eq!(code, Some(0), "{told}");
    let spelled = export(dir.path(), "spelled");
    assert_eq!(spelled.lines().count(), 7, "{spelled}");
    for group in ["inline", "filed", "one"] {
        assert_eq!(export(dir.path(), group), spelled, "{group}");
    }
    let hourly = export(dir.path(), "hourly");
    assert!(hourly.lines().count() > 3, "{hourly}");
    assert_eq!(hourly, export(dir.path(), "spelled_hourly"));
}

#[test]
fn faults_are_told_where_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    write_payments(dir.path());
    fs::write(dir.path().join("group.sql"), "SELECT card,\n  SUM(amuont) AS s\nFROM payments GROUP BY card").unwrap();
    let job = format!(
        "name = \"sql\"\n{SOURCE}[features.a]\nsql = \"\"\"\nSELECT card, MAX(card) AS m,\n  SUM(country) AS s FROM payments\nGROUP BY card\"\"\"\n\
         [features.b]\nsql_file = \"group.sql\"\n"
    );
    fs::write(dir.path().join("job.toml"), job).unwrap();
    let Ran { code, told } = headwater_in(dir.path(), &["check", "job.toml"]);
    assert_eq!(code, Some(2), "{told}");
    for line in ["job.toml:10:7: error: sum needs a number, this is a string", "group.sql:2:7: error: "] {
        assert!(told.contains(line), "{told}");
    }
    assert!(told.contains("did you mean `amount`?"), "{told}");
}

#[test]
fn joins_are_lookups() {
    let dir = tempfile::tempdir().unwrap();
    write_payments(dir.path());
    let rates = [("DE", 8, 1), ("DE", 11, 5), ("FR", 9, 2)];
    let rate = |(country, hour, rate): (&str, u32, i64)| {
        format!(
            "{{\"c\":\"{country}\",\"from\":\"2026-01-01T{hour:02}:30:00Z\",\"rate\":{rate},\"zone\":\"z{rate}\"}}\n"
        )
    };
    fs::write(dir.path().join("rates.jsonl"), rates.map(rate).concat()).unwrap();
    let job = format!(
        r#"name = "sql"
tick = "1s"
{SOURCE}
[tables.rates]
key = "c"
event_time = "from"
schema = {{ c = "string", from = "timestamp", rate = "int64", zone = "string" }}
history = {{ type = "jsonl", path = "rates.jsonl" }}
[features.spelled]
source = "payments"
lookup.r = {{ table = "rates", on = "country" }}
key = "r.zone"
where = "amount < 900"
columns = {{ n = {{ agg = "count", window = "all" }}, spend = {{ agg = "sum", of = "amount * r.rate", window = "3h" }} }}
[features.left]
sql = """
SELECT r.zone, COUNT(*) AS n, SUM(p.amount * r.rate) FILTER (WHERE at > NOW() - INTERVAL '3 hours') AS spend
FROM payments AS p LEFT JOIN rates FOR SYSTEM_TIME AS OF p.at AS r ON p.country = r.c
WHERE amount < 900
GROUP BY r.zone
"""
[features.only_found]
source = "payments"
lookup.rates = {{ table = "rates", on = "country" }}
key = "card"
where = "rates.c IS NOT NULL"
columns = {{ n = {{ agg = "count", window = "all" }} }}
[features.inner]
sql = "SELECT card, COUNT(*) AS n FROM payments JOIN rates ON rates.c = country GROUP BY card"
"#
    );
    fs::write(dir.path().join("job.toml"), job).unwrap();
    let Ran { code, told } = headwater_in(dir.path(), &["run", "job.toml", "--until-end"]);
    assert_eq!(code, Some(0), "{told}");
    for (sql, toml, rows) in [("left", "spelled", 3), ("inner", "only_found", 7)] {
        let spelled = export(dir.path(), toml);
        assert_eq!(spelled.lines().count(), rows, "{spelled}");
        assert_eq!(export(dir.path(), sql), spelled);
    }
}

/// Each pair is one group, in SQL and in TOML.
#[test]
fn keys_that_are_sql_lists_and_calendars() {
    let dir = tempfile::tempdir().unwrap();
    let order = |n: u32| {
        let (day, items) =
            (1 + n / 50, (0..n % 4).map(|at| format!("{{\"sku\":\"s{}\",\"price\":{at}}}", (n + at) % 3)));
        let items = items.collect::<Vec<_>>().join(",");
        let email = ["Ann@x", "ann@X", "BOB@x"][n as usize % 3];
        format!("{{\"at\":\"2026-03-{day:02}T{:02}:59:00Z\",\"email\":\"{email}\",\"items\":[{items}]}}\n", n % 24)
    };
    fs::write(dir.path().join("orders.jsonl"), (0..300).map(order).collect::<String>()).unwrap();
    let job = r#"
name = "sql"
tick = "1s"
[sources.orders]
event_time = "at"
lateness = "1d"
schema = { at = "timestamp", email = "string", items = "list<struct<sku: string, price: int64>>" }
stream = { type = "jsonl", path = "orders.jsonl" }
[features.a_sql]
sql = "SELECT lower(o.email) AS who, count(*) AS n, who || lower(email) AS twice FROM orders o GROUP BY lower(email)"
[features.a_toml]
source = "orders"
key = { who = "lower(email)" }
columns = { n = { agg = "count", window = "all" } }
derived = { twice = "who || who" }
[features.b_sql]
sql = "SELECT item.sku, SUM(t.item.price) AS sum FROM orders CROSS JOIN UNNEST(orders.items) AS t(item) WHERE item.price > 0 GROUP BY item.sku"
[features.b_toml]
source = "orders"
explode = "items"
key = "item.sku"
where = "item.price > 0"
columns = { sum = { agg = "sum", of = "item.price", window = "all" } }
[features.c_sql]
retain = "90d"
sql = "SELECT count(*) AS n, email FROM orders GROUP BY email, TUMBLE(at, INTERVAL '1 week', zone => 'Europe/Berlin', starts => 'monday')"
[features.c_toml]
source = "orders"
key = "email"
window = { tumbling = "1w", zone = "Europe/Berlin", starts = "monday" }
retain = "90d"
columns = { n = { agg = "count" } }
"#;
    fs::write(dir.path().join("job.toml"), job).unwrap();
    let Ran { code, told } = headwater_in(dir.path(), &["run", "job.toml", "--until-end"]);
    assert_eq!(code, Some(0), "{told}");
    for (group, rows) in [("a", 2), ("b", 3), ("c", 6)] {
        let spelled = export(dir.path(), &format!("{group}_toml"));
        assert_eq!(spelled.lines().count(), rows, "{spelled}");
        assert_eq!(export(dir.path(), &format!("{group}_sql")), spelled);
    }
}
