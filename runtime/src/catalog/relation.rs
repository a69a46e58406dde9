//! Views, opened: each query compiled over what it reads, in an order in which each stands behind that.
//!
//! | what it reads | its columns | what tells its rows apart |
//! |---|---|---|
//! | a group | key, columns, derived columns | the key |
//! | a windowed group | the same, `window_start` and `window_end` | the key with either of them |
//! | a table | all that a feature can have, at any tick what is in force | the key |
//! | a view | key, columns | the key |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use headwater_connectors::sink::GroupShape;
use headwater_expression::relation::{AggregateFunction, Collection, Node, Query, column_type, named};
use headwater_operators::aggregate::{AGGREGATES, Definition, every_name, find};
use headwater_operators::changes;
use headwater_operators::value::Kind as Values;

use super::graph::Kind;
use super::group::Compiled;
use super::links;
use super::opened::OpenView;
use crate::base::fault::Faults;
use crate::base::id::{GroupId, IdVec, SourceId, ViewId};
use crate::job::nearest::expected;
use crate::job::validate::names::is_key;
use crate::job::validate::types;
use crate::job::view::{Of, Sql};
use crate::job::{Job, View, Window};

/// The columns of windowed rows.
const WINDOW: [&str; 2] = ["window_start", "window_end"];

/// By view, what its query names. Names that nothing has are told when it is compiled.
pub fn reads(job: &Job) -> IdVec<ViewId, Vec<Kind>> {
    let of = |view: &View| match &view.of {
        Of::Sql(sql) => named(&sql.text).iter().filter_map(|name| kind(job, name)).collect(),
        Of::Links(links) => kind(job, &links.from.text).into_iter().collect(),
    };
    job.views.iter().map(of).collect()
}

fn kind(job: &Job, name: &str) -> Option<Kind> {
    let table = || job.sources.find(|source| source.table.is_some() && source.name == name).map(Kind::Source);
    let group = || job.groups.find(|group| group.name == name).map(Kind::Group);
    let view = || job.views.find(|view| view.name == name).map(Kind::View);
    group().or_else(table).or_else(view)
}

/// The views of which each reads nothing that it is read by, in an order in which each stands behind what it reads; the others are told.
pub fn in_order(job: &Job, reads: &IdVec<ViewId, Vec<Kind>>, faults: &mut Faults) -> Vec<ViewId> {
    let mut order: Vec<ViewId> = vec![];
    loop {
        let is_next = |view: &ViewId| {
            let is_known = |kind: &Kind| !matches!(kind, Kind::View(other) if !order.contains(other));
            !order.contains(view) && reads[*view].iter().all(is_known)
        };
        match job.views.ids().find(is_next) {
            Some(next) => order.push(next),
            None => break,
        }
    }
    for view in job.views.ids().filter(|view| !order.contains(view)) {
        if let Some(circle) = circle(view, reads) {
            let names: Vec<&str> = circle.iter().map(|view| job.views[*view].name.as_str()).collect();
            let message = format!("views and links must not go in circles: {}", names.join(" reads "));
            faults.error(job.views[view].at, message);
        }
    }
    order
}

/// The way from a view back to it.
fn circle(from: ViewId, reads: &IdVec<ViewId, Vec<Kind>>) -> Option<Vec<ViewId>> {
    let (mut ways, mut seen) = (vec![vec![from]], BTreeSet::new());
    while let Some(way) = ways.pop() {
        for kind in &reads[*way.last()?] {
            let Kind::View(next) = *kind else { continue };
            let further = [way.clone(), vec![next]].concat();
            if next == from {
                return Some(further);
            }
            if seen.insert(next) {
                ways.push(further);
            }
        }
    }
    None
}

/// What views are compiled with.
pub struct Readable<'a> {
    pub job: &'a Job,
    pub schemas: &'a IdVec<SourceId, Option<SchemaRef>>,
    pub groups: &'a IdVec<GroupId, Option<Compiled>>,
}

/// Compiles the views. `None` for each that has faults, or reads what has.
pub fn compile(
    of: &Readable,
    reads: &IdVec<ViewId, Vec<Kind>>,
    faults: &mut Faults,
) -> IdVec<ViewId, Option<OpenView>> {
    let mut compiled: IdVec<ViewId, Option<OpenView>> = of.job.views.iter().map(|_| None).collect();
    for id in in_order(of.job, reads, faults) {
        let known = reads[id].iter().map(|kind| Some((*kind, collection(of, &compiled, *kind, faults)?)));
        let Some(known) = known.collect::<Option<Vec<_>>>() else { continue };
        let (kinds, collections): (Vec<Kind>, Vec<Collection>) = known.into_iter().unzip();
        compiled[id] = one(&of.job.views[id], kinds, &collections, of.job, faults);
    }
    compiled
}

/// What a query sees of something. `None`: it is not known.
fn collection(
    of: &Readable,
    views: &IdVec<ViewId, Option<OpenView>>,
    kind: Kind,
    faults: &mut Faults,
) -> Option<Collection> {
    match kind {
        Kind::Group(group) => {
            let (conf, compiled) = (&of.job.groups[group], of.groups[group].as_ref()?);
            let (mut fields, columns) = compiled.fields(conf);
            let key: Vec<usize> = (0..fields.len()).collect();
            let mut keys = vec![key.clone()];
            if conf.window != Window::Trailing {
                let taken = |name: &str| fields.iter().chain(&columns).any(|(known, _)| known == name);
                if let Some(name) = WINDOW.iter().find(|name| taken(name)) {
                    let message = format!(
                        "`{name}` is what views call a bound of a window of `{}`: give that column another name",
                        conf.name
                    );
                    faults.error(conf.columns.first().map_or_else(Default::default, |column| column.at), message);
                    return None;
                }
                keys = (0..WINDOW.len()).map(|bound| [key.clone(), vec![key.len() + bound]].concat()).collect();
                let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
                fields.extend(WINDOW.map(|name| (name.to_owned(), time.clone())));
            }
            fields.extend(columns);
            Some(Collection { name: conf.name.clone(), fields, keys })
        }
        Kind::Source(table) => {
            let (conf, schema) = (&of.job.sources[table], of.schemas[table].as_ref()?);
            let usable = |data_type: &DataType| column_type(data_type).filter(|known| Values::of(known).is_some());
            let fields =
                schema.fields().iter().filter_map(|field| Some((field.name().clone(), usable(field.data_type())?)));
            let fields: Vec<(String, DataType)> = fields.collect();
            let place = |name: &str| fields.iter().position(|(known, _)| known == name);
            let key = conf.table.as_ref()?.key.iter().map(|key| place(&key.text)).collect::<Option<Vec<usize>>>();
            Some(Collection { name: conf.name.clone(), keys: key.into_iter().collect(), fields })
        }
        Kind::View(view) => {
            let shape = &views[view].as_ref()?.shape;
            let fields = shape.schema.fields();
            let fields =
                fields[..fields.len() - 2].iter().map(|field| (field.name().clone(), field.data_type().clone()));
            Some(Collection {
                name: shape.name.clone(),
                fields: fields.collect(),
                keys: vec![(0..shape.keys).collect()],
            })
        }
        Kind::Sink(_) | Kind::DeadLetters => None,
    }
}

fn one(view: &View, reads: Vec<Kind>, collections: &[Collection], job: &Job, faults: &mut Faults) -> Option<OpenView> {
    let sql = match &view.of {
        Of::Sql(sql) => sql,
        Of::Links(links) => {
            let Some(from) = collections.first() else {
                if !links.from.text.is_empty() {
                    faults.error(links.from.at, unknown_collection(job, &links.from.text));
                }
                return None;
            };
            let (query, links, shape) = links::compile(view, links, from, &aggregates(), faults)?;
            let columns = (0..query.fields.len()).collect();
            return Some(OpenView { query, reads, columns, links: Some(links), shape });
        }
    };
    let query = match Query::compile(&sql.text, collections, &aggregates()) {
        Ok(query) => query,
        Err(error) => {
            let unknown = named(&sql.text).into_iter().find(|name| kind(job, name).is_none());
            let at = error.offset.map_or(sql.at, |offset| sql.at(offset));
            match unknown {
                Some(name) => faults.error(at, unknown_collection(job, &name)),
                None => faults.error(at, error.message),
            }
            return None;
        }
    };
    let mut fine = check_columns(&query, sql, faults) && check_calls(&query.node, sql, faults);
    let mut key = vec![];
    for named in &view.key {
        let names = query.fields.iter().map(|(name, _)| name.as_str());
        match query.fields.iter().position(|(name, _)| *name == named.text) {
            None => {
                faults.error(
                    named.at,
                    format!("unknown column `{}` of the view: {}", named.text, expected(&named.text, names)),
                );
                fine = false;
            }
            Some(at) if !is_key(&query.fields[at].1) => {
                let found = types::display(&query.fields[at].1);
                let message = format!(
                    "a key must be an integer, bool, string, date, timestamp or decimal, and this is a {found}"
                );
                faults.error(named.at, message);
                fine = false;
            }
            Some(at) => key.push(at),
        }
    }
    if !fine || key.is_empty() {
        return None;
    }
    if let Err(why) = query.check_key(&key) {
        let at = view.key.first().map_or(view.at, |named| named.at);
        faults.error(at, format!("it does not follow that `key` tells the rows apart: {why}"));
        return None;
    }
    let rest = (0..query.fields.len()).filter(|at| !key.contains(at));
    let columns: Vec<usize> = key.iter().copied().chain(rest).collect();
    let field = |at: &usize| query.fields[*at].clone();
    let keys: Vec<_> = key.iter().map(field).collect();
    let rest: Vec<_> = columns[key.len()..].iter().map(field).collect();
    let schema = changes::schema(&keys, false, &rest);
    let shape = GroupShape { name: view.name.clone(), keys: keys.len(), windows: None, schema };
    Some(OpenView { query, reads, columns, links: None, shape })
}

fn unknown_collection(job: &Job, name: &str) -> String {
    let tables = job.sources.iter().filter(|source| source.table.is_some()).map(|source| source.name.as_str());
    let others =
        job.groups.iter().map(|group| group.name.as_str()).chain(job.views.iter().map(|view| view.name.as_str()));
    format!("`{name}` is no group, table or view: {}", expected(name, others.chain(tables)))
}

/// Each column has a name of its own, and a type that features have.
fn check_columns(query: &Query, sql: &Sql, faults: &mut Faults) -> bool {
    let before = faults.faults.len();
    for (n, (name, data_type)) in query.fields.iter().enumerate() {
        let is_plain = !name.is_empty() && !name.contains(['(', ')', ' ', '.', '*']);
        if query.fields[..n].iter().any(|(earlier, _)| earlier == name) {
            faults.error(sql.at, format!("two columns are called `{name}`: give one another name with AS"));
        } else if !is_plain {
            faults.error(sql.at, format!("`{name}` is no name for a column: give it one with AS"));
        }
        let item = if let DataType::List(item) = data_type { item.data_type() } else { data_type };
        if Values::of(item).is_none() {
            faults.error(sql.at, format!("`{name}` is a {}, which no feature can be", types::display(data_type)));
        }
    }
    faults.faults.len() == before
}

/// Each aggregate has the number that it needs.
fn check_calls(node: &Node, sql: &Sql, faults: &mut Faults) -> bool {
    let before = faults.faults.len();
    node.each(&mut |node| {
        let Node::Aggregate { calls, .. } = node else { return };
        for call in calls {
            let with = find(call.name).map(|known: &'static Definition| known.with(call.number));
            if let Some(Err(message)) = with {
                faults.error(sql.at, message);
            }
        }
    });
    faults.faults.len() == before
}

/// The aggregates of queries: those of groups, but for what goes by the times of events.
fn aggregates() -> Vec<AggregateFunction> {
    let known = AGGREGATES.iter().filter(|known| !known.by_time);
    let one = |known: &&'static Definition| {
        let result = known.result;
        AggregateFunction {
            name: known.name,
            spellings: std::iter::once(known.name).chain(known.in_sql.iter().copied()).collect(),
            elsewhere: elsewhere(known),
            has_number: known.parameter.is_some(),
            counts_rows: known.of_events.is_some(),
            of_distinct: known.of_distinct,
            result: Arc::new(move |input| result(input).map_err(|refused| refused.0.to_owned())),
        }
    };
    known.map(one).collect()
}

/// What an aggregate is called elsewhere, and how that is written here.
fn elsewhere(aggregate: &'static Definition) -> Vec<(&'static str, String)> {
    let others = every_name().filter(|(name, of, _)| of.name == aggregate.name && *name != aggregate.name);
    let parameter = aggregate.parameter.as_ref().map(|parameter| parameter.key.to_owned());
    let written = |(name, _, number): (&'static str, _, Option<f64>)| {
        let beside = number.map(|number| number.to_string()).or_else(|| parameter.clone());
        let beside = beside.map_or(String::new(), |beside| format!(", {beside}"));
        (name, format!("{}(value{beside})", aggregate.name))
    };
    others.map(written).collect()
}

/// By table, the columns that views read of it, but for its key.
pub fn of_tables(
    job: &Job,
    views: &IdVec<ViewId, Option<OpenView>>,
    schemas: &IdVec<SourceId, Option<SchemaRef>>,
) -> BTreeMap<SourceId, Vec<String>> {
    let mut all: BTreeMap<SourceId, Vec<String>> = BTreeMap::new();
    for view in views.iter().flatten() {
        view.query.node.each(&mut |node| {
            let Node::Read { collection, columns } = node else { return };
            let Kind::Source(table) = view.reads[*collection] else { return };
            let names = all.entry(table).or_default();
            for name in names_of(schemas[table].as_ref(), columns) {
                let is_key = job.sources[table].table.iter().flat_map(|table| &table.key).any(|key| key.text == name);
                if !is_key && !names.contains(&name) {
                    names.push(name);
                }
            }
        });
    }
    all
}

/// The names of columns of a table, as queries number them.
pub fn names_of(schema: Option<&SchemaRef>, columns: &[usize]) -> Vec<String> {
    let is_usable = |data_type: &DataType| column_type(data_type).is_some_and(|known| Values::of(&known).is_some());
    let fields = schema.iter().flat_map(|schema| schema.fields().iter()).filter(|field| is_usable(field.data_type()));
    let names: Vec<&String> = fields.map(|field| field.name()).collect();
    columns.iter().filter_map(|column| names.get(*column).map(|name| (*name).clone())).collect()
}
