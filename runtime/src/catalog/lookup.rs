//! What a group looks up in tables: a struct of the table's columns beside those of the source, under the lookup's name.
//!
//! ```text
//! transactions   ts, merchant_id, amount            lookup.m = { table = "merchants", on = "merchant_id" }
//! merchants      merchant_id, rate, owner_id        of = "amount * m.rate", key = "m.owner_id"
//! of the group   ts, merchant_id, amount, m { merchant_id, rate, owner_id }
//! ```
//!
//! `on` may name what was looked up before it. Behind the plan each column that is named (`m.rate`) is flat, like any.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_connectors::Path;
use headwater_expression::Expression;

use super::input::expression;
use super::opened::{LookedUp, OpenLookup, Source};
use crate::base::fault::Faults;
use crate::base::id::{IdVec, SourceId};
use crate::job::validate::types;
use crate::job::{self, Group, columns};

/// By table: what it is, and its columns.
pub struct Tables<'a> {
    pub sources: &'a IdVec<SourceId, job::Source>,
    pub schemas: &'a IdVec<SourceId, Option<SchemaRef>>,
}

/// The columns of a group with what it looks up; and by lookup its `on`. `None`: there are faults.
pub fn compile(
    group: &Group,
    mut schema: SchemaRef,
    tables: &Tables,
    faults: &mut Faults,
) -> Option<(SchemaRef, Vec<Vec<Expression>>)> {
    let mut all = vec![];
    for lookup in &group.lookups {
        if schema.field_with_name(&lookup.name).is_ok() {
            let message =
                format!("lookup `{}` has the name of a column of the source: give it another one", lookup.name);
            faults.error(lookup.at, message);
            return None;
        }
        let table = tables.schemas.get(lookup.table)?.clone()?;
        let key = tables.sources[lookup.table].table.as_ref().map_or(&[][..], |table| &table.key);
        let mut on = vec![];
        for (text, key) in lookup.on.iter().zip(key) {
            let compiled = expression(text, &schema, faults)?;
            let wanted = columns::find(&table, &key.text, "").ok()?.field.data_type().clone();
            if !are_alike(compiled.data_type(), &wanted) {
                let (found, wanted) = (types::display(compiled.data_type()), types::display(&wanted));
                let message = format!("`on` is a {found}, and the key column `{}` of the table a {wanted}", key.text);
                faults.error(text.at, message);
                return None;
            }
            on.push(compiled);
        }
        all.push(on);
        let fields = table.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let of_table = Field::new(&lookup.name, DataType::Struct(fields), true);
        let fields = schema.fields().iter().cloned().chain([Arc::new(of_table)]);
        schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    }
    Some((schema, all))
}

/// Whether values of the two types can be equal. Integers are by value.
fn are_alike(on: &DataType, key: &DataType) -> bool {
    let text =
        |of: &DataType| matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary);
    on == key || on.is_integer() && key.is_integer() || text(on) && text(key)
}

/// The columns of a table that a group looks up, by their paths there.
pub fn named<'a>(
    group: &'a Group,
    names: impl Iterator<Item = &'a String>,
    table: SourceId,
) -> impl Iterator<Item = String> {
    names.filter_map(move |name| {
        let lookup = group.lookup_of(name).filter(|lookup| lookup.table == table)?;
        debug_assert!(name.starts_with(lookup.name.as_str()));
        path_in_table(name)
    })
}

/// `m.rate` in the table.
fn path_in_table(name: &str) -> Option<String> {
    let path = Path::parse(name)?;
    Some(Path::of(&path.names()[1..]).to_string())
}

pub fn open<'a>(
    group: &Group,
    on: &[Vec<Expression>],
    names: impl Iterator<Item = &'a String>,
    schema: &Schema,
    tables: &IdVec<SourceId, Source>,
) -> Vec<OpenLookup> {
    let mut all: Vec<&String> = vec![];
    names.for_each(|name| all.extend((!all.contains(&name)).then_some(name)));
    let one = |(lookup, on): (&job::Lookup, &Vec<Expression>)| {
        let source = &tables[lookup.table];
        let values = source.table.as_ref().map_or(&[][..], |table| &table.values);
        let column = |name: &&String| {
            let of_lookup = group.lookup_of(name).filter(|of| of.name == lookup.name)?;
            debug_assert_eq!(of_lookup.table, lookup.table);
            let path = path_in_table(name)?;
            let value = values.iter().position(|place| *source.wanted.schema.field(*place).name() == path)?;
            let data_type = columns::field(schema, name)?.data_type().clone();
            Some(LookedUp { name: (*name).clone(), value, data_type })
        };
        OpenLookup { table: lookup.table, on: on.clone(), columns: all.iter().filter_map(column).collect() }
    };
    group.lookups.iter().zip(on).map(one).collect()
}
