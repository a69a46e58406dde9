//! The columns that a group's expressions are over: those of all its sources, by name.
//!
//! ```text
//! payments   card string   amount float64   shop string
//! refunds    card string   amount int64     why string
//! both       card string   (no amount)      shop string, null in refunds   why string, null in payments
//! ```
//!
//! Types must agree: a column of two types cannot be used, and whoever names it is told.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use headwater_expression::UNUSABLE;

use super::types;
use crate::base::id::{IdVec, SourceId};
use crate::job::{Group, Source};

/// The schema of a group. `None`: that of a source is not known.
pub fn schema(
    group: &Group,
    sources: &IdVec<SourceId, Source>,
    schemas: &IdVec<SourceId, Option<SchemaRef>>,
) -> Option<SchemaRef> {
    let known = |source: &SourceId| Some((sources[*source].name.as_str(), schemas.get(*source)?.clone()?));
    let known: Vec<(&str, SchemaRef)> = group.sources.iter().map(known).collect::<Option<_>>()?;
    if let [(_, schema)] = known.as_slice() {
        return Some(schema.clone());
    }
    let mut fields: Vec<(&str, FieldRef)> = vec![];
    for (source, schema) in &known {
        for field in schema.fields() {
            match fields.iter_mut().find(|(_, known)| known.name() == field.name()) {
                Some(known) => join(known, (source, field)),
                None => fields.push((source, field.clone())),
            }
        }
    }
    let nullable = fields.iter().map(|(_, field)| field.as_ref().clone().with_nullable(true));
    Some(Schema::new(nullable.collect::<Vec<_>>()).into())
}

/// How messages name the sources of a group.
pub fn describe(group: &Group, sources: &IdVec<SourceId, Source>) -> String {
    let names: Vec<String> = group.sources.iter().map(|source| format!("`{}`", sources[*source].name)).collect();
    match names.as_slice() {
        [one] => format!("source {one}"),
        several => format!("sources {}", several.join(" and ")),
    }
}

fn join<'a>(known: &mut (&'a str, FieldRef), (source, field): (&'a str, &FieldRef)) {
    if is_unusable(&known.1) || is_empty(field) {
        return;
    }
    if is_unusable(field) || is_empty(&known.1) {
        *known = (source, field.clone());
    } else if known.1.data_type() != field.data_type() {
        let [one, other] = [&known.1, field].map(|field| types::display(field.data_type()));
        let name = field.name();
        let why =
            format!("column `{name}` is of type {one} in source `{}`, but of type {other} in `{source}`", known.0);
        let why = HashMap::from([(UNUSABLE.to_owned(), why)]);
        known.1 = Field::new(name, DataType::Null, true).with_metadata(why).into();
    }
}

fn is_unusable(field: &Field) -> bool {
    field.metadata().contains_key(UNUSABLE)
}

/// Whether a column has nulls alone, and so no type of its own.
pub fn is_empty(field: &Field) -> bool {
    *field.data_type() == DataType::Null && !is_unusable(field)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::id::{GroupId, Id};
    use crate::job::parse::parse;

    const JOB: &str = r#"
name = "t"
sources.a = { event_time = "ts", schema = { ts = "int64" }, stream = { type = "jsonl", path = "a.jsonl" } }
sources.b = { event_time = "ts", schema = { ts = "int64" }, stream = { type = "jsonl", path = "b.jsonl" } }
sources.c = { event_time = "ts", schema = { ts = "int64" }, stream = { type = "jsonl", path = "c.jsonl" } }
features.all = { source = ["a", "b", "c"], key = "ts", columns = { n = { agg = "count", window = "1h" } } }
"#;

    fn unusable(why: &str) -> Field {
        Field::new("x", DataType::Null, true).with_metadata(HashMap::from([(UNUSABLE.to_owned(), why.to_owned())]))
    }

    #[test]
    fn columns_go_by_name() {
        let (job, _) = parse("job.toml", Path::new("/"), JOB, &|_| None).unwrap();
        let of = |data_type: DataType| Field::new("x", data_type, false);
        let why = "column `x` is of type float64 in source `a`, but of type string in `b`";
        for (columns, expected) in [
            ([Some(of(DataType::Utf8)), Some(of(DataType::Utf8)), None], of(DataType::Utf8).with_nullable(true)),
            ([None, None, Some(of(DataType::Utf8))], of(DataType::Utf8).with_nullable(true)),
            ([Some(of(DataType::Null)), None, Some(of(DataType::Utf8))], of(DataType::Utf8).with_nullable(true)),
            ([Some(of(DataType::Utf8)), Some(of(DataType::Null)), None], of(DataType::Utf8).with_nullable(true)),
            ([Some(of(DataType::Float64)), Some(of(DataType::Utf8)), None], unusable(why)),
            ([Some(of(DataType::Float64)), Some(of(DataType::Utf8)), Some(of(DataType::Float64))], unusable(why)),
            ([Some(of(DataType::Utf8)), Some(unusable("torn")), Some(of(DataType::Utf8))], unusable("torn")),
        ] {
            let schema = |column: &Option<Field>| Some(Schema::new(column.iter().cloned().collect::<Vec<_>>()).into());
            let schemas: IdVec<_, _> = columns.iter().map(schema).collect();
            let group = &job.groups[GroupId::at(0)];
            let found = super::schema(group, &job.sources, &schemas).unwrap();
            assert_eq!(found.as_ref(), &Schema::new(vec![expected]), "{columns:?}");
            assert_eq!(super::schema(group, &job.sources, &schemas.iter().take(2).cloned().collect()), None);
        }
        assert_eq!(describe(&job.groups[GroupId::at(0)], &job.sources), "sources `a` and `b` and `c`");
    }
}
