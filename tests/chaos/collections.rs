//! Tables, lookups, replaced records, derived columns, views and links: which of them a round's job has, and how they are written.
//!
//! ```text
//! source s -> lifetime, recent, used, ... -----------------> views busy, total, best, windows -> links ring, money -> view rings
//!        '--> owned, owned_tens <- looked up in table shops ----> views owners, quiet
//!        '--> odd               <- looked up in group recent
//! source orders (replaced) ----> orders, orders_tens, both -----> view either
//! ```

use std::fmt::Write;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::feed::{Feed, ORDERS, SHOPS};
use crate::one_result::model::length;
use crate::support::SECOND;

pub struct Collections {
    to_end: bool,
    table: Option<Table>,
    replaced: Option<Replaced>,
    /// A group that looks up in the rows just before.
    before: bool,
    derived: bool,
    links: bool,
    views: Vec<View>,
    /// A changelog in a topic too.
    pub topic: bool,
    /// The windows of the group `recent`, and the size of a tumbling one.
    short: i64,
    long: i64,
    size: i64,
    lateness: i64,
}

struct Table {
    event_time: bool,
    lateness: i64,
    history: bool,
    /// What looks up is replaced itself.
    by_orders: bool,
    tumbling: bool,
}

struct Replaced {
    history: bool,
    tumbling: bool,
    union: bool,
}

/// A view's name, its key, and its SQL, in which `{}` is the length of the short window.
type View = (&'static str, &'static str, &'static str);

const VIEWS: [View; 4] = [
    (
        "busy",
        "k",
        "SELECT r.k, r.n_{} AS n, l.n_all AS ever, l.s_all AS sum FROM recent AS r JOIN lifetime AS l ON r.k = l.k WHERE r.n_{} > 1",
    ),
    ("total", "one", "SELECT 'all' AS one, count(*) AS keys, sum(n_all) AS events, max(s_all) AS most FROM lifetime"),
    (
        "best",
        r#"["m", "place"]"#,
        "SELECT m, place, k, n FROM (SELECT *, row_number() OVER (PARTITION BY m ORDER BY n DESC) AS place FROM used) AS q WHERE place <= 2",
    ),
    (
        "windows",
        "k",
        "SELECT k, count(*) AS windows, sum(n) AS events, max(window_end) AS newest FROM tumbling GROUP BY k",
    ),
];
const OF_TABLES: [View; 2] = [
    (
        "owners",
        "owner",
        "SELECT t.owner, count(*) AS links, sum(u.n) AS events, min(t.rate) AS least FROM used AS u JOIN shops AS t ON u.m = t.m GROUP BY t.owner",
    ),
    ("quiet", "m", "SELECT m FROM shops EXCEPT SELECT m FROM used"),
];
const OF_REPLACED: View = (
    "either",
    "k",
    "SELECT coalesce(r.k, o.k) AS k, r.n_{} AS events, o.n_all AS orders, o.sum_all AS sum FROM recent AS r FULL JOIN orders AS o ON r.k = o.k",
);
const OF_LINKS: View = (
    "rings",
    "component",
    "SELECT component, count(*) AS keys, max(shared) AS things FROM ring WHERE size > 2 GROUP BY component",
);

impl Collections {
    /// `lateness` of the source `s`; the windows of the group `recent`.
    pub fn random(to_end: bool, lateness: i64, [short, long]: [i64; 2], rng: &mut StdRng) -> Collections {
        let table = rng.random_bool(0.7).then(|| Table {
            event_time: rng.random_bool(0.8),
            lateness: SECOND * [0, 2, 10].choose(rng).unwrap(),
            history: rng.random_bool(0.7),
            by_orders: rng.random_bool(0.4),
            tumbling: rng.random(),
        });
        let replaced = rng.random_bool(0.5).then(|| Replaced {
            history: rng.random_bool(0.7),
            tumbling: rng.random(),
            union: rng.random(),
        });
        let (before, links) = (replaced.is_none() && rng.random_bool(0.6), rng.random_bool(0.6));
        let all = VIEWS.into_iter().chain(OF_TABLES.into_iter().filter(|_| table.is_some()));
        let all = all.chain(replaced.is_some().then_some(OF_REPLACED)).chain(links.then_some(OF_LINKS));
        let views = all.filter(|_| rng.random_bool(0.6)).collect();
        Collections {
            to_end,
            table,
            replaced,
            before,
            derived: rng.random(),
            links,
            views,
            topic: rng.random_bool(0.4),
            short,
            long,
            size: SECOND * [1, 2, 5].choose(rng).unwrap(),
            lateness,
        }
    }

    /// What the round's line says of them.
    pub fn told(&self) -> String {
        let parts = [
            ("table", self.table.is_some()),
            ("replaced", self.replaced.is_some()),
            ("rows before", self.before),
            ("derived", self.derived),
            ("links", self.links),
            ("topic", self.topic),
        ];
        let parts = parts.iter().filter(|(_, there)| *there).map(|(name, _)| *name);
        parts.chain(self.views.iter().map(|(name, ..)| *name)).collect::<Vec<_>>().join(" ")
    }

    /// The topics beside that of the source `s`.
    pub fn feeds(&self) -> Vec<Feed> {
        let shops = self.table.as_ref().map(|table| Feed::new(SHOPS, table.history, self.to_end));
        let orders = self.replaced.as_ref().map(|replaced| Feed::new(ORDERS, replaced.history, self.to_end));
        shops.into_iter().chain(orders).collect()
    }

    pub fn has_feeds(&self) -> bool {
        self.table.is_some() || self.replaced.is_some()
    }

    fn needs_used(&self) -> bool {
        self.links || self.views.iter().any(|(.., sql)| sql.contains("used"))
    }

    /// Groups, views and links, each with how long a store keeps a row after its window's end.
    pub fn names(&self) -> Vec<(&'static str, i64)> {
        let of_table = self.table.iter().flat_map(|table| [("owned", true), ("owned_tens", table.tumbling)]);
        let of_replaced = self
            .replaced
            .iter()
            .flat_map(|replaced| [("orders", true), ("orders_tens", replaced.tumbling), ("both", replaced.union)]);
        let links = [("ring", self.links), ("money", self.links)];
        let groups = of_table.chain(of_replaced).chain([("used", self.needs_used()), ("odd", self.before)]);
        let there = groups.chain(links).filter(|(_, there)| *there).map(|(name, _)| name);
        let all = there.chain(self.views.iter().map(|(name, ..)| *name));
        all.map(|name| (name, if name.ends_with("_tens") { self.retain() } else { 0 })).collect()
    }

    /// No less than the lateness of any that reads tables.
    fn retain(&self) -> i64 {
        self.lateness.max(self.table.as_ref().map_or(0, |table| table.lateness)) + 2 * self.size
    }

    /// Whether the rows are a function of the log, live too. What is looked up in a row that was served just before depends on when a
    /// record was admitted that came late.
    pub fn is_of_the_log(&self, name: &str) -> bool {
        self.to_end || name != "odd"
    }

    /// Reasons of dead letters of the source `s` that are not these groups' too.
    pub fn leaves_to_others(&self, reason: &str) -> bool {
        let of_s = self.table.as_ref().filter(|_| !self.looks_up_orders());
        let late = reason == "late" && of_s.is_some_and(|table| table.tumbling);
        !(late || reason == "expression" && self.to_end && of_s.is_some())
    }

    fn looks_up_orders(&self) -> bool {
        self.replaced.is_some() && self.table.as_ref().is_some_and(|table| table.by_orders)
    }

    /// A part of a job. `changed`: as it is after it was changed.
    pub fn write(&self, text: &mut String, name: &str, brokers: &str, changed: bool) {
        let windows = format!("windows = [{:?}, {:?}]", length(Some(self.short)), length(Some(self.long)));
        if let Some(table) = &self.table {
            self.table(text, table, &windows, &self.stream(name, brokers, "shops", table.history), changed);
        }
        if let Some(replaced) = &self.replaced {
            self.replaced(text, replaced, &self.stream(name, brokers, "orders", replaced.history));
        }
        if self.needs_used() {
            let short = length(Some(self.short));
            writeln!(text, "[features.used]\nsource = \"s\"\nwhere = \"x > 850\"\nkey = [\"k\", \"m\"]").unwrap();
            writeln!(text, "columns = {{ n = {{ agg = \"count\", window = \"{short}\" }} }}").unwrap();
        }
        if self.before {
            let columns = r#"over = { agg = "count", where = "x > h.s_SHORT", windows }, most = { agg = "max", of = "h.n_SHORT", windows }, met = { agg = "count", where = "h._there", windows }"#;
            let columns = columns.replace("windows", &windows).replace("SHORT", &length(Some(self.short)));
            writeln!(text, "[features.odd]\nsource = \"s\"\nlookup.h = {{ features = \"recent\", on = \"k\" }}")
                .unwrap();
            writeln!(text, "key = \"k\"\ncolumns = {{ {columns} }}").unwrap();
        }
        if self.links {
            *text += "[links.ring]\nfrom = \"used\"\nentity = \"k\"\nshared = \"m\"\nmax_degree = 6\n";
            *text += "[links.money]\nfrom = \"used\"\na = \"k\"\nb = \"m\"\nmax_degree = 8\n";
        }
        for (view, key, sql) in &self.views {
            let key = if key.starts_with('[') { (*key).to_owned() } else { format!("{key:?}") };
            let mut sql = sql.replace("{}", &length(Some(self.short)));
            if changed {
                sql = sql.replace("max(s_all)", "min(s_all)").replace("min(t.rate)", "max(t.rate)");
            }
            writeln!(text, "[views.{view}]\nkey = {key}\nsql = \"\"\"{sql}\"\"\"").unwrap();
        }
    }

    fn stream(&self, name: &str, brokers: &str, feed: &str, history: bool) -> String {
        let mut text = format!(
            "arrival_time = \"a\"\ntime_unit = \"us\"\nstream = {{ type = \"kafka\", brokers = \"{brokers}\", topic = \"{name}_{feed}\", format = \"json\" }}\n"
        );
        if history {
            writeln!(text, "history = {{ type = \"jsonl\", path = \"{feed}.jsonl\" }}").unwrap();
            text += "seam = { by = \"offset\", partition = \"p\", offset = \"o\" }\n";
        }
        text
    }

    fn table(&self, text: &mut String, table: &Table, windows: &str, stream: &str, changed: bool) {
        writeln!(text, "[tables.shops]\nkey = \"m\"\ndeleted = \"rate < 0\"\n{stream}").unwrap();
        *text += "schema = { m = \"string\", ts = \"timestamp\", a = \"timestamp\", rate = \"int64\", owner = \"string\", p = \"int32\", o = \"int64\" }\n";
        writeln!(text, "lateness = \"{}ms\"", table.lateness / 1000).unwrap();
        if table.event_time {
            *text += "event_time = \"ts\"\n";
        }
        let source = if self.looks_up_orders() { "orders" } else { "s" };
        let looks = format!("source = \"{source}\"\nlookup.t = {{ table = \"shops\", on = \"m\" }}\n");
        let short = length(Some(self.short));
        let mut columns = format!(
            r#"n = {{ agg = "count", {windows} }}
spent = {{ agg = "sum", of = "x * t.rate", {windows} }}
rates = {{ agg = "last_n", n = 3, of = "t.rate", window = "{short}" }}
cards = {{ agg = "count_distinct", of = "k", window = "{short}" }}
dear = {{ agg = "count", where = "t.rate > 2", {windows} }}
"#
        );
        if self.to_end {
            writeln!(columns, r#"odd = {{ agg = "sum", of = "100 / (t.rate - 3)", {windows} }}"#).unwrap();
        }
        if changed {
            writeln!(columns, r#"least = {{ agg = "min", of = "t.rate", {windows} }}"#).unwrap();
        }
        let derived = if self.derived {
            let [short, long] = [self.short, self.long].map(|w| length(Some(w)));
            format!(
                "derived = {{ share = \"n_{short} * 1.0 / nullif(n_{long}, 0)\", odd_one = \"100 / (n_{short} - 3)\" }}\n"
            )
        } else {
            String::new()
        };
        write!(text, "[features.owned]\n{looks}key = \"t.owner\"\nwhere = \"t.owner IS NOT NULL\"\n{derived}").unwrap();
        write!(text, "[features.owned.columns]\n{columns}").unwrap();
        if table.tumbling {
            write!(text, "[features.owned_tens]\n{looks}key = \"k\"\n{}", self.tumbling()).unwrap();
            *text += r#"columns = { n = { agg = "count" }, worth = { agg = "sum", of = "x * t.rate" }, rate = { agg = "mode", of = "t.rate" } }
"#;
        }
    }

    fn tumbling(&self) -> String {
        format!("window = {{ tumbling = \"{}\" }}\nretain = \"{}ms\"\n", length(Some(self.size)), self.retain() / 1000)
    }

    fn replaced(&self, text: &mut String, replaced: &Replaced, stream: &str) {
        let lateness = self.lateness / 1000;
        writeln!(text, "[sources.orders]\nevent_time = \"ts\"\nlateness = \"{lateness}ms\"\n{stream}").unwrap();
        *text += "primary_key = \"id\"\ndeleted = \"gone\"\n";
        *text += "schema = { id = \"string\", ts = \"timestamp\", a = \"timestamp\", k = \"string\", m = \"string\", x = \"int64\", gone = \"bool\", p = \"int32\", o = \"int64\" }\n";
        let (short, of) = (length(Some(self.short)), "[features.orders]\nsource = \"orders\"\nkey = \"k\"\n");
        *text += of;
        if self.derived {
            *text += "derived = { mean = \"sum_all * 1.0 / n_all\" }\n";
        }
        let windows = format!("windows = [{short:?}, \"all\"]");
        let columns = r#"[features.orders.columns]
n = { agg = "count", windows }
sum = { agg = "sum", of = "x", windows }
most = { agg = "max", of = "x", windows }
last = { agg = "last", of = "m", windows }
shops = { agg = "count_distinct", of = "m", windows }
high = { agg = "approx_percentile", of = "x", p = 0.9, windows }
"#;
        *text += &columns.replace("windows", &windows);
        if replaced.tumbling {
            write!(text, "[features.orders_tens]\nsource = \"orders\"\nkey = \"k\"\n{}", self.tumbling()).unwrap();
            *text += r#"columns = { n = { agg = "count" }, sum = { agg = "sum", of = "x" }, least = { agg = "min", of = "x" } }
"#;
        }
        if replaced.union {
            write!(text, "[features.both]\nsource = [\"s\", \"orders\"]\nkey = \"k\"\n").unwrap();
            writeln!(text, "columns = {{ n = {{ agg = \"count\", {windows} }}, top = {{ agg = \"top_k\", k = 2, of = \"m\", {windows} }} }}").unwrap();
        }
    }
}
