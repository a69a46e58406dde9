//! Links, opened: a query that reads the columns by which entities are linked, and what is made of its rows.

use arrow::datatypes::DataType;
use headwater_connectors::sink::GroupShape;
use headwater_expression::relation::{AggregateFunction, Collection, Query};
use headwater_operators::changes;
use headwater_operators::relational::links::By;

use crate::base::fault::Faults;
use crate::job::nearest::expected;
use crate::job::validate::names::is_key;
use crate::job::validate::types;
use crate::job::view::{LinkedBy, Links};
use crate::job::{Named, View};

/// What is made of the rows of the query: the first column is the entity.
pub struct OpenLinks {
    pub by: By,
    pub max_degree: u64,
}

/// Its columns, behind the key.
const COLUMNS: [&str; 3] = ["component", "size", "shared"];

/// `from`: what is read. `None`: there are faults.
pub fn compile(
    view: &View,
    links: &Links,
    from: &Collection,
    aggregates: &[AggregateFunction],
    faults: &mut Faults,
) -> Option<(Query, OpenLinks, GroupShape)> {
    let columns = links.by.columns();
    let found: Vec<&DataType> = columns.iter().map(|named| column(named, from, faults)).collect::<Option<_>>()?;
    let entity = found[0].clone();
    if !is_key(&entity) {
        let found = types::display(&entity);
        let message =
            format!("an entity must be an integer, bool, string, date, timestamp or decimal, and this is a {found}");
        faults.error(columns[0].at, message);
        return None;
    }
    let by = match &links.by {
        LinkedBy::Things { .. } => By::Things,
        LinkedBy::Entities { a, b } if *found[1] != entity => {
            let (one, other) = (types::display(&entity), types::display(found[1]));
            let message = format!("`a` and `b` are of one type: `{}` is a {one}, and `{}` a {other}", a.text, b.text);
            faults.error(b.at, message);
            return None;
        }
        LinkedBy::Entities { .. } => By::Entities,
    };
    let names = if by == By::Things { &COLUMNS[..] } else { &COLUMNS[..2] };
    let key = &view.key[0];
    if names.contains(&key.text.as_str()) {
        faults.error(
            key.at,
            format!("links have a column `{}` of their own: read a view that calls it otherwise", key.text),
        );
        return None;
    }
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let read: Vec<String> = columns.iter().map(|named| quoted(&named.text)).collect();
    let text = format!("SELECT {} FROM {}", read.join(", "), quoted(&from.name));
    let query = Query::compile(&text, std::slice::from_ref(from), aggregates);
    let query = query.map_err(|error| faults.error(links.from.at, error.message)).ok()?;
    let data_type = |name: &&str| match *name {
        "component" => entity.clone(),
        _ => DataType::Int64,
    };
    let rest: Vec<_> = names.iter().map(|name| ((*name).to_owned(), data_type(name))).collect();
    let schema = changes::schema(&[(key.text.clone(), entity.clone())], false, &rest);
    let shape = GroupShape { name: view.name.clone(), keys: 1, windows: None, schema };
    Some((query, OpenLinks { by, max_degree: links.max_degree }, shape))
}

fn column<'a>(named: &Named, from: &'a Collection, faults: &mut Faults) -> Option<&'a DataType> {
    let found = from.fields.iter().find(|(name, _)| *name == named.text);
    if found.is_none() {
        let hint = expected(&named.text, from.fields.iter().map(|(name, _)| name.as_str()));
        faults.error(named.at, format!("unknown column `{}` of `{}`: {hint}", named.text, from.name));
    }
    found.map(|(_, data_type)| data_type)
}
