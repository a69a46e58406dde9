//! A job built in Rust, by the keys that a job file has: it becomes the same tree, and is read by the same reader, with the same faults.
//!
//! ```
//! use headwater::job::build::{Column, Features, Source, Table};
//! use headwater::Job;
//!
//! # fn main() -> Result<(), headwater::Faults> {
//! let job = Job::builder("fraud")
//!     .tick("1s")
//!     .source(
//!         "transactions",
//!         Source::new()
//!             .event_time("ts")
//!             .lateness("1h")
//!             .schema(Table::new().set("ts", "timestamp").set("card", "string").set("amount", "float64"))
//!             .stream(Table::of_type("jsonl").set("path", "stream/*.jsonl")),
//!     )
//!     .features(
//!         "card_activity",
//!         Features::new()
//!             .source("transactions")
//!             .key("card")
//!             .where_("amount > 0")
//!             .column("tx", Column::new("count").windows(["1h", "1d"]))
//!             .column("spend", Column::new("sum").of("amount").window("all")),
//!     )
//!     .features(
//!         "card_hourly",
//!         Features::new()
//!             .source("transactions")
//!             .key(["card"])
//!             .window(Table::new().set("tumbling", "1h"))
//!             .column("n", Column::new("count")),
//!     )
//!     .table(
//!         "cards",
//!         Source::new()
//!             .key("card")
//!             .event_time("since")
//!             .schema(Table::new().set("since", "timestamp").set("card", "string").set("owner", "string"))
//!             .stream(Table::of_type("jsonl").set("path", "cards/*.jsonl")),
//!     )
//!     .features(
//!         "owners",
//!         Features::new()
//!             .source("transactions")
//!             .lookup("c", "cards", "card")
//!             .key("c.owner")
//!             .column("n", Column::new("count").window("1h")),
//!     )
//!     .sink("changes", Table::of_type("jsonl").set("path", "changes.jsonl"))
//!     .build()?;
//! assert_eq!(job.name(), "fraud");
//!
//! // What is wrong is told as of a file, all at once, with the key in place of line and column.
//! let wrong = Job::builder("fraud").tick("soon").features("f", Features::new().key("card").set("colums", "tx"));
//! let faults = wrong.build().unwrap_err().to_string();
//! assert!(faults.contains("tick: error: `tick`: "), "{faults}");
//! assert!(faults.contains("features.f.colums: error: unknown key `colums` in feature group `f`: did you mean `columns`?"), "{faults}");
//! # Ok(())
//! # }
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use super::Job;
use super::raw::{self, Entry, Kind, Node};
use super::variables::Text;
use crate::base::fault::{At, Faults, Places};

/// The value of a key: whatever a job file may have there.
#[derive(Clone, Debug)]
pub struct Value(Literal);

#[derive(Clone, Debug)]
enum Literal {
    Text { text: String, secret: bool },
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Value>),
    Table(Table),
}

/// A text that is never logged or shown, as what a job file takes out of `${...}`: a password, say, among a stream's `properties`.
pub fn secret(text: impl Into<String>) -> Value {
    Value(Literal::Text { text: text.into(), secret: true })
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value(Literal::Text { text: text.to_owned(), secret: false })
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value(Literal::Text { text, secret: false })
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Value {
        Value(Literal::Integer(integer))
    }
}

impl From<i32> for Value {
    fn from(integer: i32) -> Value {
        Value(Literal::Integer(integer.into()))
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Value {
        Value(Literal::Float(float))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value(Literal::Boolean(flag))
    }
}

impl<V: Into<Value>> From<Vec<V>> for Value {
    fn from(list: Vec<V>) -> Value {
        Value(Literal::List(list.into_iter().map(Into::into).collect()))
    }
}

impl<V: Into<Value>, const N: usize> From<[V; N]> for Value {
    fn from(list: [V; N]) -> Value {
        Value(Literal::List(list.into_iter().map(Into::into).collect()))
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Value {
        Value(Literal::Table(table))
    }
}

/// A table of keys, in the order in which they are set.
#[derive(Clone, Debug, Default)]
pub struct Table(Vec<(String, Value)>);

impl Table {
    /// Without any key.
    pub fn new() -> Table {
        Table::default()
    }

    /// With the key `type`: a history, a stream, a sink or dead letters of that kind.
    pub fn of_type(kind: &str) -> Table {
        Table::new().set("type", kind)
    }

    /// Sets a key. A name that is given twice is a fault.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Table {
        self.0.push((key.to_owned(), value.into()));
        self
    }

    /// The table under a key, made if it is not there.
    fn table(&mut self, key: &str) -> &mut Table {
        let is_table = |(name, value): &(String, Value)| name == key && matches!(value.0, Literal::Table(_));
        let at = self.0.iter().position(is_table).unwrap_or_else(|| {
            self.0.push((key.to_owned(), Table::new().into()));
            self.0.len() - 1
        });
        match &mut self.0[at].1.0 {
            Literal::Table(table) => table,
            _ => unreachable!("it is a table"),
        }
    }

    fn add(mut self, key: &str, name: &str, value: Value) -> Table {
        self.table(key).0.push((name.to_owned(), value));
        self
    }
}

/// A table whose keys are known: each has a method of its name.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident { $($(#[$key_doc:meta])* $method:ident => $key:literal)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name(Table);

        impl $name {
            #[cfg(test)]
            const KEYS: &[&str] = &[$($key),*];

            /// Sets any key by its name.
            pub fn set(self, key: &str, value: impl Into<Value>) -> $name {
                $name(self.0.set(key, value))
            }

            $(
                $(#[$key_doc])*
                pub fn $method(self, value: impl Into<Value>) -> $name {
                    self.set($key, value)
                }
            )*
        }

        impl From<$name> for Value {
            fn from(table: $name) -> Value {
                table.0.into()
            }
        }
    )*};
}

tables! {
    /// `[sources.NAME]`: where events are kept, where they arrive, and how the two meet.
    Source {
        /// The column with the time at which an event happened, or SQL that gives it.
        event_time => "event_time"
        /// The column with the time at which the system could first know it, or SQL that gives it.
        arrival_time => "arrival_time"
        /// How long past its end a window takes events, as in `"1h"`.
        lateness => "lateness"
        /// How far from the future an event may come.
        future_limit => "future_limit"
        /// The unit of integer times: `"s"`, `"ms"`, `"us"` or `"ns"`.
        time_unit => "time_unit"
        /// A table of columns and their types, where no file says them.
        schema => "schema"
        /// What it is, for people.
        description => "description"
        /// Who answers for it.
        owner => "owner"
        /// A list of words to find it by.
        tags => "tags"
        /// A table with the `type` of the history's files and their `path`.
        history => "history"
        /// A table with the `type` of the stream, and what goes with that.
        stream => "stream"
        /// A table that says `by` what records of history and stream are told apart.
        seam => "seam"
        /// Of a table: the column that tells its rows apart, or a list of them.
        key => "key"
        /// Of events that replace one another: the column that tells them apart, or a list of them.
        primary_key => "primary_key"
        /// Of either: what a record says of the row of its key: `"upsert"` or `"debezium"`.
        changes => "changes"
        /// Of either: SQL over a record's columns; one for which it is true removes the row of its key.
        deleted => "deleted"
    }

    /// `[features.NAME]`: a group of columns by a key.
    Features {
        /// The source whose events are aggregated, or a list of them.
        source => "source"
        /// The key: a column, a list of them, or a table of names and SQL.
        key => "key"
        /// A list in an event, which counts once for each of its elements.
        explode => "explode"
        /// SQL over an event's columns; those for which it is not true are left out.
        where_ => "where"
        /// What it is, for people.
        description => "description"
        /// Who answers for it.
        owner => "owner"
        /// A list of words to find it by.
        tags => "tags"
        /// The group as SQL, in place of source, key, where, window and columns.
        sql => "sql"
        /// The same in a file.
        sql_file => "sql_file"
        /// A table with the group's windows: `tumbling`, `hopping` and `every`, or `session`; of days, `zone` and `starts`. Without it, each column looks back from now.
        window => "window"
        /// How long past its end a window's row stays in the store.
        retain => "retain"
        /// How far back its rows can be read, as in `"10m"`.
        history => "history"
    }

    /// `columns.NAME` of a group: an aggregate, of what, and over which windows.
    Column {
        /// What is aggregated: SQL over an event's columns.
        of => "of"
        /// SQL over an event's columns, beside the group's: the column leaves out those for which it is not true.
        where_ => "where"
        /// How far back it looks, as in `"1h"`, or `"all"`.
        window => "window"
        /// Several of those: a column for each.
        windows => "windows"
        /// What it is, for people.
        description => "description"
        /// Who answers for it.
        owner => "owner"
        /// A list of words to find it by.
        tags => "tags"
        /// How many values `top_k` gives.
        k => "k"
        /// How many values `last_n` gives.
        n => "n"
        /// The share of `approx_percentile`, from 0 to 1.
        p => "p"
    }

    /// `[views.NAME]`: rows made of the rows of groups, tables and other views.
    View {
        /// The column of the result that tells its rows apart, or a list of them.
        key => "key"
        /// The query.
        sql => "sql"
        /// How far back its rows can be read, as in `"10m"`.
        history => "history"
        /// What it is, for people.
        description => "description"
        /// Who answers for it.
        owner => "owner"
        /// A list of words to find it by.
        tags => "tags"
    }

    /// `derived.NAME` of a group: SQL over the row's key and columns.
    Derived {
        /// The SQL.
        of => "of"
        /// What it is, for people.
        description => "description"
        /// Who answers for it.
        owner => "owner"
        /// A list of words to find it by.
        tags => "tags"
    }

    /// `[links.NAME]`: which entities hang together because they share something.
    Links {
        /// The group, table or view whose rows say who shares what.
        from => "from"
        /// The column with an entity.
        entity => "entity"
        /// The column with what entities share, or a list of them.
        shared => "shared"
        /// In place of `entity` and `shared`: a column with an entity that each row links to another.
        a => "a"
        /// The column with that other one.
        b => "b"
        /// What more entities share links none of them.
        max_degree => "max_degree"
        /// How far back its rows can be read, as in `"10m"`.
        history => "history"
        /// What it is, for people.
        description => "description"
        /// Who answers for it.
        owner => "owner"
        /// A list of words to find it by.
        tags => "tags"
    }

    /// `[state]`: where checkpoints are.
    State {
        /// A local path, or the URL of an object store.
        path => "path"
        /// As in `"30s"`.
        checkpoint_every => "checkpoint_every"
        /// Whether it is written down which records were admitted late, and when.
        admissions => "admissions"
        /// For how long that is kept, as in `"30d"`.
        admissions_keep => "admissions_keep"
    }

    /// `[serve_log]`: where it is written down what was served.
    ServeLog {
        /// A local directory, or a URL of an object store.
        path => "path"
        /// Of how many of the keys, as in 0.1.
        sample => "sample"
        /// How long what was served may wait to be written, as in `"1m"`.
        roll_every => "roll_every"
    }
}

impl Source {
    /// Without any key.
    pub fn new() -> Source {
        Source::default()
    }
}

impl View {
    /// Without any key.
    pub fn new() -> View {
        View::default()
    }
}

impl Links {
    /// Without any key.
    pub fn new() -> Links {
        Links::default()
    }
}

impl Features {
    /// Without any key.
    pub fn new() -> Features {
        Features::default()
    }

    /// Looks the group's events up in a table: `on` is a column, SQL, or a list of these.
    pub fn lookup(self, name: &str, table: &str, on: impl Into<Value>) -> Features {
        let lookup = Table::new().set("table", table).set("on", on);
        Features(self.0.add("lookup", name, lookup.into()))
    }

    /// What its events look up in the row that another group had just before. `on`: as of `lookup`.
    pub fn lookup_before(self, name: &str, features: &str, on: impl Into<Value>) -> Features {
        let lookup = Table::new().set("features", features).set("on", on);
        Features(self.0.add("lookup", name, lookup.into()))
    }

    /// Adds a column that is SQL over the row's key and columns: the SQL, or a [`Derived`] with what people should know of it. Such come
    /// behind the others.
    pub fn derived(self, name: &str, of: impl Into<Value>) -> Features {
        Features(self.0.add("derived", name, of.into()))
    }

    /// Adds a column, or one for each of its windows. Their order is that of the row.
    pub fn column(self, name: &str, column: Column) -> Features {
        Features(self.0.add("columns", name, column.into()))
    }
}

impl Column {
    /// A column of this aggregate.
    pub fn new(agg: &str) -> Column {
        Column(Table::new().set("agg", agg))
    }
}

impl Derived {
    /// A column that is this SQL.
    pub fn new(sql: &str) -> Derived {
        Derived(Table::new().set("of", sql))
    }
}

impl State {
    /// Without any key.
    pub fn new() -> State {
        State::default()
    }
}

impl ServeLog {
    /// Without any key.
    pub fn new() -> ServeLog {
        ServeLog::default()
    }
}

/// A job while it is built: the keys of a job file, by name. See the module for an example.
#[derive(Clone, Debug)]
pub struct JobBuilder {
    root: Table,
    pub(crate) dir: Option<PathBuf>,
}

impl Job {
    /// Begins to build a job.
    pub fn builder(name: &str) -> JobBuilder {
        JobBuilder { root: Table::new().set("name", name), dir: None }
    }
}

impl JobBuilder {
    /// Where relative paths start; otherwise at the current directory.
    pub fn dir(self, dir: impl Into<PathBuf>) -> JobBuilder {
        JobBuilder { dir: Some(dir.into()), ..self }
    }

    /// Sets any key of the job by its name.
    pub fn set(self, key: &str, value: impl Into<Value>) -> JobBuilder {
        JobBuilder { root: self.root.set(key, value), ..self }
    }

    /// Results change only at multiples of it.
    pub fn tick(self, tick: &str) -> JobBuilder {
        self.set("tick", tick)
    }

    /// How long a partition whose end is not known is waited for.
    pub fn stall_limit(self, limit: &str) -> JobBuilder {
        self.set("stall_limit", limit)
    }

    /// How long a partition may be at its end and still keep windows open.
    pub fn idle_limit(self, limit: &str) -> JobBuilder {
        self.set("idle_limit", limit)
    }

    /// Adds a source.
    pub fn source(self, name: &str, source: Source) -> JobBuilder {
        JobBuilder { root: self.root.add("sources", name, source.into()), ..self }
    }

    /// Adds a table that groups look up in.
    pub fn table(self, name: &str, table: Source) -> JobBuilder {
        JobBuilder { root: self.root.add("tables", name, table.into()), ..self }
    }

    /// Adds a group of columns. Their order is that of the changelog.
    pub fn features(self, name: &str, features: Features) -> JobBuilder {
        JobBuilder { root: self.root.add("features", name, features.into()), ..self }
    }

    /// Adds a view over the rows of groups, tables and other views.
    pub fn view(self, name: &str, view: View) -> JobBuilder {
        JobBuilder { root: self.root.add("views", name, view.into()), ..self }
    }

    /// Adds links between what shares something.
    pub fn links(self, name: &str, links: Links) -> JobBuilder {
        JobBuilder { root: self.root.add("links", name, links.into()), ..self }
    }

    /// A file of `CREATE FEATURES` statements.
    pub fn features_file(self, path: &str) -> JobBuilder {
        self.set("features_file", path)
    }

    /// Adds a sink: a table with its `type`, and what goes with that. Without any, rows go to an embedded store.
    pub fn sink(self, name: &str, sink: Table) -> JobBuilder {
        JobBuilder { root: self.root.add("sinks", name, sink.into()), ..self }
    }

    /// Where records go that could not be used.
    pub fn dead_letters(self, to: Table) -> JobBuilder {
        self.set("dead_letters", to)
    }

    /// Where checkpoints are, and how often one is taken.
    pub fn state(self, state: State) -> JobBuilder {
        self.set("state", state)
    }

    /// Where it is written down what was served.
    pub fn serve_log(self, log: ServeLog) -> JobBuilder {
        self.set("serve_log", log)
    }

    /// The tree that the reader reads, with the places of its keys.
    pub(crate) fn raw(self) -> (raw::Table, Faults) {
        // What is missing altogether is a fault of the job itself.
        let mut tree = Tree { keys: vec!["the job".to_owned()], twice: vec![] };
        let root = tree.table("", self.root);
        let mut faults = Faults::new(Places { keys: Arc::from(tree.keys), ..Places::default() });
        for (at, name) in tree.twice {
            faults.error(at, format!("`{name}` is given twice: expected each name once in a table"));
        }
        (root, faults)
    }
}

/// The places of the keys, by number, while the tree is made.
struct Tree {
    keys: Vec<String>,
    twice: Vec<(At, String)>,
}

impl Tree {
    fn table(&mut self, path: &str, table: Table) -> raw::Table {
        let mut entries: Vec<Entry> = vec![];
        for (name, value) in table.0 {
            let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let shown = if name.chars().all(is_bare) { name.clone() } else { format!("\"{name}\"") };
            let path = if path.is_empty() { shown } else { format!("{path}.{shown}") };
            let value = self.node(path, value);
            match entries.iter().any(|entry| entry.name == name) {
                true => self.twice.push((value.at, name)),
                false => entries.push(Entry { name, at: value.at, value }),
            }
        }
        raw::Table { entries }
    }

    fn node(&mut self, path: String, value: Value) -> Node {
        self.keys.push(path.clone());
        let at = At { line: self.keys.len(), column: 1, file: 0 };
        let kind = match value.0 {
            Literal::Text { text, secret } => {
                Kind::String(Text { filled: if secret { vec![text.clone()] } else { vec![] }, text, starts: None })
            }
            Literal::Integer(integer) => Kind::Integer(integer),
            Literal::Float(float) => Kind::Float(float),
            Literal::Boolean(flag) => Kind::Boolean(flag),
            Literal::List(list) => {
                let nodes = (0..).zip(list).map(|(n, value)| self.node(format!("{path}[{n}]"), value));
                Kind::Array(nodes.collect())
            }
            Literal::Table(table) => Kind::Table(self.table(&path, table)),
        };
        Node { at, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::super::validate::keys;
    use super::*;

    /// What has a method of another kind, or goes with a table as a whole.
    const ELSEWHERE: [&str; 4] = ["agg", "columns", "derived", "lookup"];

    #[test]
    fn every_key_of_a_job_file_has_a_method() {
        for (section, known) in keys() {
            let methods: &[&str] = match section {
                "source" | "table" => Source::KEYS,
                "features" => Features::KEYS,
                "column" => Column::KEYS,
                "derived" => Derived::KEYS,
                "view" => View::KEYS,
                "links" => Links::KEYS,
                "state" => State::KEYS,
                "serve_log" => ServeLog::KEYS,
                // Each is called as in `JobBuilder` below; the others are tables that are set as a whole.
                _ => continue,
            };
            let lacks = known.iter().filter(|key| !methods.contains(key) && !ELSEWHERE.contains(key));
            assert_eq!(lacks.collect::<Vec<_>>(), Vec::<&&str>::new(), "{section}");
        }
        let all = Job::builder("all").tick("1s").stall_limit("1s").idle_limit("1s").source("s", Source::new());
        let all = all.table("t", Source::new()).features("f", Features::new()).features_file("f.sql");
        let all = all.view("v", View::new()).links("l", Links::new()).sink("x", Table::new());
        let all = all.dead_letters(Table::new()).state(State::new()).serve_log(ServeLog::new());
        let mut set: Vec<&str> = all.root.0.iter().map(|(name, _)| name.as_str()).collect();
        let mut known = keys().into_iter().find(|(section, _)| *section == "job").unwrap().1;
        set.sort_unstable();
        known.sort_unstable();
        assert_eq!(set, known);
    }

    /// `docs/jobs.md` has all, and nothing else.
    #[test]
    fn every_key_is_in_the_docs() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/jobs.md")).unwrap();
        let sections = [
            ("job", "Top"),
            ("source", "`[sources.NAME]`"),
            ("seam", "`[sources.NAME.seam]`"),
            ("table", "`[tables.NAME]`"),
            ("features", "`[features.NAME]`"),
            ("view", "`[views.NAME]`"),
            ("links", "`[links.NAME]`"),
            ("state", "`[state]`"),
            ("serve_log", "`[serve_log]`"),
        ];
        let of = |title: &str| {
            let from = page.split(&format!("\n## {title}\n")).nth(1).unwrap_or_else(|| panic!("no section {title}"));
            from.split("\n## ").next().unwrap()
        };
        let known = keys();
        let keys_of = |section: &str| &known.iter().find(|(name, _)| *name == section).unwrap().1;
        for (section, title) in sections {
            let text = of(title);
            let is_told = |key: &&&str| {
                // A table of the job is a source with more, and has what sources have; sections have titles.
                let told = ["`KEY`", "`KEY.", "`KEY = ", ".KEY]", "## `[KEY"].map(|told| told.replace("KEY", key));
                told.iter().any(|told| text.contains(told) || told.starts_with("##") && page.contains(told))
            };
            let of_source = keys_of("source");
            let lacks = keys_of(section).iter().filter(|key| section != "table" || !of_source.contains(key));
            let lacks: Vec<_> = lacks.filter(|key| !is_told(key)).collect();
            assert_eq!(lacks, Vec::<&&str>::new(), "{title} lacks what may stand there");
        }
        for (section, title) in sections.iter().filter(|(section, _)| !["seam", "source"].contains(section)) {
            let table = of(title).split("| key |").nth(1).into_iter().flat_map(|table| table.lines().skip(2));
            let first = table.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
            for key in first.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
                let key = key.split('.').next().unwrap();
                assert!(keys_of(section).contains(&key), "{title} tells of `{key}`, which is not known");
            }
        }
    }
}
