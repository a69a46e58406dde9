//! What a name in a job means in a source's schema: a column, or a field inside of one (`payload.user.id`).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_connectors::Path;
use headwater_expression::{MEANT, UNUSABLE, path};

use super::nearest::expected;
use super::validate::types::display;

/// A column that is there.
pub struct FoundColumn {
    /// Its path, as columns are named where records are read.
    pub name: String,
    /// Its type, and what is said of it.
    pub field: Field,
}

/// The column that a text names. The error says what was expected; `of`: how it names whose columns they are.
pub fn find(schema: &Schema, text: &str, of: &str) -> Result<FoundColumn, String> {
    let path = Path::parse(text).unwrap_or_else(|| Path::of([text]));
    let found = path::find(schema, path.names());
    match found {
        Some(found) if found.taken == path.names().len() => {
            Ok(FoundColumn { name: found.field.name().clone(), field: found.field })
        }
        // A column whose name has a dot; to be told from a nested one, it is quoted.
        None if path.is_nested() && schema.field_with_name(text).is_ok() => {
            find(schema, &Path::of([text]).to_string(), of)
        }
        None => {
            let first = &path.names()[0];
            let columns = schema.fields().iter().map(|field| field.name().as_str());
            let meant = schema.metadata().get(&format!("{MEANT}{first}"));
            let meant = meant.cloned().unwrap_or_else(|| expected(first, columns));
            Err(format!("unknown column `{first}` of {of}: {meant}"))
        }
        Some(found) => {
            let (around, name) = (Path::of(&path.names()[..found.taken]), &path.names()[found.taken]);
            Err(match found.field.data_type() {
                DataType::Struct(fields) => {
                    let fields = fields.iter().map(|field| field.name().as_str());
                    format!("`{around}` of {of} has no field `{name}`: {}", expected(name, fields))
                }
                _ if found.field.metadata().contains_key(UNUSABLE) => found.field.metadata()[UNUSABLE].clone(),
                other => format!("`{around}` of {of} is of type {}, and has no fields", display(other)),
            })
        }
    }
}

/// Whether a text that names no column is meant as SQL, and not as a name.
pub fn is_sql(schema: Option<&Schema>, text: &str) -> bool {
    let has = |schema: &Schema| schema.field_with_name(text).is_ok();
    text.contains(['(', ')', '+', '*', '/', '<', '>', '=', '|', '\'', ',', ':', '[']) && !schema.is_some_and(has)
}

/// A schema that says of names that it does not have what is told of who uses them.
pub fn with_meant(schema: &SchemaRef, meant: impl IntoIterator<Item = (String, String)>) -> SchemaRef {
    let is_new = |(name, _): &(String, String)| schema.field_with_name(name).is_err();
    let meant = meant.into_iter().filter(is_new).map(|(name, what)| (format!("{MEANT}{name}"), what));
    let metadata = schema.metadata().clone().into_iter().chain(meant).collect();
    Arc::new(schema.as_ref().clone().with_metadata(metadata))
}

/// The field of a column by its path's text, which is there.
pub fn field(schema: &Schema, name: &str) -> Option<Field> {
    let path = Path::parse(name)?;
    path::find(schema, path.names()).filter(|found| found.taken == path.names().len()).map(|found| found.field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths() {
        let of = |fields: Vec<Field>| DataType::Struct(fields.into());
        let inside = of(vec![Field::new("id", DataType::Int64, true), Field::new("a.b", DataType::Utf8, true)]);
        let schema = Schema::new(vec![
            Field::new("ts", DataType::Int64, true),
            Field::new("x.y", DataType::Int64, true),
            Field::new("user", inside, true),
        ]);
        let rows = [
            ("ts", Ok("ts")),
            ("user.id", Ok("user.id")),
            ("user.\"a.b\"", Ok("user.\"a.b\"")),
            ("x.y", Ok("\"x.y\"")),
            ("\"x.y\"", Ok("\"x.y\"")),
            ("t", Err("unknown column `t` of source `s`: did you mean `ts`?")),
            ("user.idd", Err("`user` of source `s` has no field `idd`: did you mean `id`?")),
            ("ts.x", Err("`ts` of source `s` is of type int64, and has no fields")),
            ("usr.id", Err("unknown column `usr` of source `s`: did you mean `user`?")),
        ];
        for (text, expected) in rows {
            let found = find(&schema, text, "source `s`").map(|found| found.name);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        }
        let is_sql = |text| is_sql(Some(&schema), text);
        assert!(is_sql("to_timestamp(t)") && is_sql("ts * 1000") && !is_sql("x.y") && !is_sql("odd name"));
    }
}
