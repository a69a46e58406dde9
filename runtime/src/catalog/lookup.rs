//! What a group looks up: a struct of the columns that are found, beside those of the source, under the lookup's name.
//!
//! ```text
//! transactions   ts, merchant_id, amount            lookup.m = { table = "merchants", on = "merchant_id" }
//! merchants      merchant_id, rate, owner_id        of = "amount * m.rate", key = "m.owner_id"
//! of the group   ts, merchant_id, amount, m { merchant_id, rate, owner_id }
//! ```
//!
//! Of another group it is the columns of its rows, without their key. `on` may name what was looked up before it. Behind the plan each column
//! that is named (`m.rate`) is flat, like any.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_connectors::Path;
use headwater_expression::Expression;

use super::input::expression;
use super::opened::{LookedUp, OpenLookup, Source};
use crate::base::fault::Faults;
use crate::base::id::{GroupId, IdVec, SourceId};
use crate::job::validate::types;
use crate::job::{self, Group, IS_THERE, LookIn, Lookup, columns};

/// What can be looked up in.
pub struct There<'a> {
    /// By table: what it is, and its columns.
    pub sources: &'a IdVec<SourceId, job::Source>,
    pub schemas: &'a IdVec<SourceId, Option<SchemaRef>>,
    /// By group, those that are compiled: the key of its rows, and their columns with those that are derived.
    pub rows: &'a IdVec<GroupId, Option<RowFields>>,
    pub groups: &'a IdVec<GroupId, Group>,
}

/// See `Compiled::fields`.
pub type RowFields = (Vec<(String, DataType)>, Vec<(String, DataType)>);

/// What a lookup finds: its name, the key by which, and the columns.
struct LookedUpColumns {
    what: String,
    key: Vec<(String, DataType)>,
    columns: Vec<Field>,
}

impl There<'_> {
    /// `None`: it is not known, which is told elsewhere.
    fn found(&self, lookup: &Lookup) -> Option<LookedUpColumns> {
        match lookup.of {
            LookIn::Table(id) => {
                let (table, schema) = (&self.sources[id], self.schemas.get(id)?.clone()?);
                let key = table.table.as_ref().map_or(&[][..], |table| &table.key).iter().map(|key| {
                    let found = columns::find(&schema, &key.text, "").ok()?;
                    Some((key.text.clone(), found.field.data_type().clone()))
                });
                let columns = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
                Some(LookedUpColumns { what: "the table".to_owned(), key: key.collect::<Option<_>>()?, columns })
            }
            LookIn::Features(id) => {
                let (key, columns) = self.rows.get(id)?.clone()?;
                let columns = columns.into_iter().chain([(IS_THERE.to_owned(), DataType::Boolean)]);
                let columns = columns.map(|(name, data_type)| Field::new(name, data_type, true)).collect();
                Some(LookedUpColumns { what: format!("group `{}`", self.groups[id].name), key, columns })
            }
        }
    }
}

/// The columns of a group with what it looks up; and by lookup its `on`. `None`: there are faults.
pub fn compile(
    group: &Group,
    mut schema: SchemaRef,
    there: &There,
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
        let LookedUpColumns { what, key, columns } = there.found(lookup)?;
        let mut on = vec![];
        for (text, (key, wanted)) in lookup.on.iter().zip(&key) {
            let compiled = expression(text, &schema, faults)?;
            if !are_alike(compiled.data_type(), wanted) {
                let (found, wanted) = (types::display(compiled.data_type()), types::display(wanted));
                let message = format!("`on` is a {found}, and the key column `{key}` of {what} a {wanted}");
                faults.error(text.at, message);
                return None;
            }
            on.push(compiled);
        }
        all.push(on);
        let fields = columns.into_iter().map(|field| field.with_nullable(true)).collect();
        let found = Field::new(&lookup.name, DataType::Struct(fields), true);
        let fields = schema.fields().iter().cloned().chain([Arc::new(found)]);
        schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()));
    }
    Some((schema, all))
}

/// Whether values of the two types can be equal. Integers are by value.
fn are_alike(on: &DataType, key: &DataType) -> bool {
    let text =
        |of: &DataType| matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary);
    on == key || on.is_integer() && key.is_integer() || text(on) && text(key)
}

/// The columns of a table, or of another group, that a group looks up, by their paths there.
pub fn named<'a>(
    group: &'a Group,
    names: impl Iterator<Item = &'a String>,
    of: LookIn,
) -> impl Iterator<Item = String> {
    names.filter_map(move |name| {
        let lookup = group.lookup_of(name).filter(|lookup| lookup.of == of)?;
        debug_assert!(name.starts_with(lookup.name.as_str()));
        path_there(name)
    })
}

/// `m.rate` in the table.
fn path_there(name: &str) -> Option<String> {
    let path = Path::parse(name)?;
    Some(Path::of(&path.names()[1..]).to_string())
}

/// `values`: by group, the columns of its rows that are looked up.
pub fn open<'a>(
    group: &Group,
    on: &[Vec<Expression>],
    names: impl Iterator<Item = &'a String>,
    schema: &Schema,
    (tables, values): (&IdVec<SourceId, Source>, &IdVec<GroupId, Vec<String>>),
) -> Vec<OpenLookup> {
    let mut all: Vec<&String> = vec![];
    names.for_each(|name| all.extend((!all.contains(&name)).then_some(name)));
    let corrected: Vec<bool> = corrected(group, on, tables);
    let one = |((lookup, on), is_corrected): ((&Lookup, &Vec<Expression>), bool)| {
        let place = |path: &str| match lookup.of {
            LookIn::Table(id) => {
                let source = &tables[id];
                let values = source.table.as_ref().map_or(&[][..], |table| &table.values);
                values.iter().position(|place| source.wanted.schema.field(*place).name() == path)
            }
            LookIn::Features(id) => values[id].iter().position(|name| name == path),
        };
        let column = |name: &&String| {
            group.lookup_of(name).filter(|of| of.name == lookup.name)?;
            let value = place(&path_there(name)?)?;
            let data_type = columns::field(schema, name)?.data_type().clone();
            Some(LookedUp { name: (*name).clone(), value, data_type })
        };
        // What depends on nothing that is looked up can be asked for ahead of the event's tick.
        let is_ahead = on.iter().flat_map(Expression::columns).all(|name| group.lookup_of(name).is_none());
        let columns = all.iter().filter_map(column).collect();
        OpenLookup { of: lookup.of, on: on.clone(), columns, is_ahead, is_corrected }
    };
    group.lookups.iter().zip(on).zip(corrected).map(one).collect()
}

/// By lookup, whether what its `on` names may be corrected.
fn corrected(group: &Group, on: &[Vec<Expression>], tables: &IdVec<SourceId, Source>) -> Vec<bool> {
    let mut found: Vec<bool> = vec![];
    for on in on {
        let is_late = |name: &String| {
            let of = group.lookup_of(name);
            let at = group.lookups.iter().position(|lookup| of.is_some_and(|of| of.name == lookup.name));
            at.is_some_and(|at| match group.lookups[at].of {
                LookIn::Table(table) => tables[table].stream.is_some() || tables[table].has_times(),
                LookIn::Features(_) => found[at],
            })
        };
        let is_corrected = on.iter().flat_map(Expression::columns).any(is_late);
        found.push(is_corrected);
    }
    found
}
