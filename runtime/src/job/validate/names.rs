//! Whether the columns that a job names are there, and of a type that will do. One check for schemas from the job file and
//! from Parquet files alike.

use arrow::datatypes::{DataType, SchemaRef};
use headwater_connectors::Path;
use headwater_expression::UNUSABLE;

use super::{listed, types, union};
use crate::base::fault::Faults;
use crate::base::id::{IdVec, SourceId};
use crate::job::columns;
use crate::job::{Group, Job, Key, Named, SeamBy};

/// Checks times, keys and the seam's columns of each source whose schema is known. Expressions are not looked at.
pub fn check_names(job: &Job, schemas: &IdVec<SourceId, Option<SchemaRef>>) -> Faults {
    let mut faults = Faults::new(job.places.clone());
    for (n, source) in job.sources.pairs() {
        let Some(schema) = schemas.get(n).cloned().flatten() else { continue };
        let of = source.describe();
        let mut check = |named: &Named, role: &Role| check(named, &of, &schema, role, &mut faults);
        let times = source.event_time.iter().chain(&source.arrival_time);
        times.filter(|named| !columns::is_sql(Some(&schema), &named.text)).for_each(|named| check(named, &TIME));
        match &source.seam.by {
            SeamBy::Offset { partition, offset } if source.history.is_some() => {
                check(partition, &OFFSET);
                check(offset, &OFFSET);
            }
            SeamBy::Id { id, .. } => check(id, &ID),
            SeamBy::Offset { .. } | SeamBy::Time => {}
        }
        source.rows().iter().flat_map(|table| &table.key).for_each(|named| check(named, &KEY));
        listed::check_source(source, &schema, &mut faults);
    }
    for group in &job.groups {
        let Some(schema) = union::schema(group, &job.sources, schemas) else { continue };
        let schema = if group.explode.is_some() { schema } else { without_element(&schema) };
        let of = union::describe(group, &job.sources);
        let mut check = |named: &Named, role: &Role| check(named, &of, &schema, role, &mut faults);
        let is_of_source =
            |key: &&Key| !key.is_sql && !is_of_element(group, &key.of.text) && group.lookup_of(&key.of.text).is_none();
        let (sql, keys): (Vec<&Key>, Vec<&Key>) =
            group.key.iter().filter(is_of_source).partition(|key| columns::is_sql(Some(&schema), &key.of.text));
        keys.into_iter().for_each(|key| check(&key.of, &KEY));
        group.explode.iter().for_each(|named| check(named, &LIST));
        for Key { of, .. } in sql {
            let hint = format!(
                "a key that is SQL has a name, like key = {{ {} = \"{}\" }}",
                name_for(&of.text, &schema),
                of.text
            );
            faults.error(of.at, format!("unknown column `{}`: {hint}", of.text));
        }
        for key in group.key.iter().filter(is_of_source) {
            for source in &group.sources {
                if let Some(schema) = schemas.get(*source).cloned().flatten() {
                    listed::check_key(&key.of, &job.sources[*source], &schema, &mut faults);
                }
            }
        }
    }
    faults.settle();
    faults
}

/// What a key that is SQL may be called: as a column in it.
fn name_for<'a>(sql: &'a str, schema: &SchemaRef) -> &'a str {
    let mut words = sql.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.find(|word| schema.field_with_name(word).is_ok()).unwrap_or("name")
}

/// Whether a name is of an element of the list that a group explodes.
pub fn is_of_element(group: &Group, text: &str) -> bool {
    group.explode.is_some() && Path::parse(text).is_some_and(|path| path.names()[0] == ELEMENT)
}

/// How an element of a list that is exploded is called.
pub const ELEMENT: &str = "item";

/// The columns of a group that explodes no list, with what is told of who names an element all the same.
pub fn without_element(schema: &SchemaRef) -> SchemaRef {
    let mut lists = schema.fields().iter().filter(|field| matches!(field.data_type(), DataType::List(_)));
    let list = lists.next().map_or("items", |list| list.name());
    let meant = format!("so the elements of a list are called in a group that has explode = \"{list}\"");
    columns::with_meant(schema, [(ELEMENT.to_owned(), meant)])
}

/// What a column is named for, and which types will do.
struct Role {
    needs: &'static str,
    takes: fn(&DataType) -> bool,
}

const TIME: Role = Role {
    needs: "a time must be a timestamp, or an integer in the source's `time_unit`",
    takes: |ty| ty.is_integer() || matches!(ty, DataType::Timestamp(..)),
};
const OFFSET: Role = Role { needs: "a seam's partition and offset must be integers", takes: |ty| ty.is_integer() };
const ID: Role = Role {
    needs: "an id must be an integer, bool, string, date, timestamp or decimal",
    takes: |ty| is_key(ty) && *ty != DataType::Binary,
};
const KEY: Role = Role { needs: "a key must be an integer, bool, string, date, timestamp or decimal", takes: is_key };

const LIST: Role = Role { needs: "only a list can be exploded", takes: |ty| matches!(ty, DataType::List(_)) };

pub fn is_key(ty: &DataType) -> bool {
    use DataType::*;
    match ty {
        Boolean | Utf8 | LargeUtf8 | Utf8View | Date32 | Date64 | Timestamp(..) => true,
        // As texts.
        Binary => true,
        Decimal32(..) | Decimal64(..) | Decimal128(..) => true,
        Dictionary(_, values) => is_key(values),
        other => other.is_integer(),
    }
}

/// `of`: how messages name whose column it is.
fn check(named: &Named, of: &str, schema: &SchemaRef, role: &Role, faults: &mut Faults) {
    // An empty name stands for one that was missing, and told.
    if !named.text.is_empty()
        && let Some(message) = wrong(&named.text, of, schema, role)
    {
        faults.error(named.at, message);
    }
}

fn wrong(name: &str, of: &str, schema: &SchemaRef, role: &Role) -> Option<String> {
    match columns::find(schema, name, of) {
        Ok(found) if found.field.metadata().contains_key(UNUSABLE) => found.field.metadata().get(UNUSABLE).cloned(),
        Ok(found) if (role.takes)(found.field.data_type()) => None,
        Ok(found) => {
            Some(format!("column `{name}` is of type {}: {}", types::display(found.field.data_type()), role.needs))
        }
        Err(message) => Some(message),
    }
}
