//! The columns that a group's expressions are over: those of all its sources, by name.
//!
//! ```text
//! payments   card string   amount float64   shop string
//! refunds    card string   amount int64     why string
//! both       card string   (no amount)      shop string, null in refunds   why string, null in payments
//! ```
//!
//! Types must agree: a column of two types cannot be used, and whoever names it is told. So it is with fields inside of columns.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use headwater_connectors::Path;
use headwater_expression::UNUSABLE;

use super::types;
use crate::base::id::{IdVec, SourceId};
use crate::job::{Group, Source, columns};

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
    let mut fields: Vec<FieldRef> = vec![];
    for (at, (source, schema)) in known.iter().enumerate() {
        let told = Difference { source, known: &known[..at] };
        for field in schema.fields() {
            match fields.iter_mut().find(|known| known.name() == field.name()) {
                Some(known) => *known = joined(known, field, &[field.name()], &told),
                None => fields.push(field.clone()),
            }
        }
    }
    let nullable = fields.iter().map(|field| field.as_ref().clone().with_nullable(true));
    let metadata = known.iter().flat_map(|(_, schema)| schema.metadata().clone()).collect();
    Some(Schema::new_with_metadata(nullable.collect::<Vec<_>>(), metadata).into())
}

/// How messages name the sources of a group.
pub fn describe(group: &Group, sources: &IdVec<SourceId, Source>) -> String {
    let names: Vec<String> = group.sources.iter().map(|source| format!("`{}`", sources[*source].name)).collect();
    match names.as_slice() {
        [one] => format!("source {one}"),
        several => format!("sources {}", several.join(" and ")),
    }
}

/// Joins a column, or a field inside of one, with that of another source. `place`: its names, with its own. Structs have the fields of
/// both; such a column itself cannot be used, for its values differ.
fn joined(known: &FieldRef, field: &FieldRef, place: &[&str], told: &Difference) -> FieldRef {
    let is_lost = |field: &FieldRef| is_unusable(field) && !matches!(field.data_type(), DataType::Struct(_));
    if is_lost(known) || is_empty(field) {
        return known.clone();
    }
    if is_lost(field) || is_empty(known) {
        return field.clone();
    }
    if known.data_type() == field.data_type() {
        return known.clone();
    }
    let (data_type, why) = match (known.data_type(), field.data_type()) {
        (DataType::Struct(fields), DataType::Struct(others)) => {
            (DataType::Struct(both(fields, others, place, told)), told.other_fields(place))
        }
        (one, other) => (DataType::Null, told.other_type(place, one, other)),
    };
    let why = HashMap::from([(UNUSABLE.to_owned(), why)]);
    Field::new(field.name(), data_type, true).with_metadata(why).into()
}

fn both(fields: &Fields, others: &Fields, place: &[&str], told: &Difference) -> Fields {
    let mut both = fields.to_vec();
    for other in others {
        match both.iter_mut().find(|known| known.name() == other.name()) {
            Some(known) => *known = joined(known, other, &[place, &[other.name()]].concat(), told),
            None => both.push(other.clone()),
        }
    }
    both.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect()
}

/// What is told of columns that differ.
struct Difference<'a> {
    /// The source that is joined, and those before it.
    source: &'a str,
    known: &'a [(&'a str, SchemaRef)],
}

impl Difference<'_> {
    fn other_type(&self, place: &[&str], one: &DataType, other: &DataType) -> String {
        let name = Path::of(place.iter().copied()).to_string();
        let is_so = |schema: &Schema| columns::field(schema, &name).is_some_and(|field| field.data_type() == one);
        let known = self.known.iter().find(|(_, schema)| is_so(schema)).map_or("", |(source, _)| source);
        let [one, other] = [one, other].map(types::display);
        format!("column `{name}` is of type {one} in source `{known}`, but of type {other} in `{}`", self.source)
    }

    fn other_fields(&self, place: &[&str]) -> String {
        let name = Path::of(place.iter().copied());
        format!("column `{name}` does not have the same fields in each source: name one of its fields")
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
        let (job, _) = parse("job.toml", std::path::Path::new("/"), JOB, &|_| None).unwrap();
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

    #[test]
    fn structs_have_the_fields_of_both() {
        let (job, _) = parse("job.toml", std::path::Path::new("/"), JOB, &|_| None).unwrap();
        let of = |fields: &[(&str, DataType)]| {
            let fields = fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), false));
            DataType::Struct(fields.collect())
        };
        let user = |fields: &[(&str, DataType)]| of(&[("user", of(fields))]);
        let payloads = [
            Some(user(&[("id", DataType::Int64), ("age", DataType::Int64)])),
            Some(user(&[("id", DataType::Int64), ("name", DataType::Utf8)])),
            Some(user(&[("id", DataType::Int64), ("age", DataType::Utf8), ("name", DataType::Int64)])),
        ];
        let schema = |payload: &Option<DataType>| {
            let field = payload.iter().map(|payload| Field::new("payload", payload.clone(), false));
            Some(Schema::new(field.collect::<Vec<_>>()).into())
        };
        let schemas: IdVec<_, Option<SchemaRef>> = payloads.iter().map(schema).collect();
        let schema = super::schema(&job.groups[GroupId::at(0)], &job.sources, &schemas).unwrap();
        let fields = "does not have the same fields in each source: name one of its fields";
        for (name, expected) in [
            ("payload.user.id", Ok(DataType::Int64)),
            (
                "payload.user.age",
                Err("column `payload.user.age` is of type int64 in source `a`, but of type string in `c`".to_owned()),
            ),
            (
                "payload.user.name",
                Err("column `payload.user.name` is of type string in source `b`, but of type int64 in `c`".to_owned()),
            ),
            ("payload.user", Err(format!("column `payload.user` {fields}"))),
            ("payload", Err(format!("column `payload` {fields}"))),
        ] {
            let field = columns::field(&schema, name).unwrap();
            let found = field.metadata().get(UNUSABLE).map_or(Ok(field.data_type().clone()), |why| Err(why.clone()));
            assert_eq!(found, expected, "{name}");
            assert!(field.is_nullable(), "{name}");
        }
    }
}
