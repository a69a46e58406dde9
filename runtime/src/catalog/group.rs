//! A group, opened: its expressions compiled, the types of its columns known, and the shape of its rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use headwater_connectors::Path;
use headwater_connectors::sink::{GroupShape, RowWindows};
use headwater_expression::Expression;
use headwater_operators::accumulators::ColumnPlan;
use headwater_operators::aggregate::Refused;
use headwater_operators::changes;

use super::derived::DerivedColumns;
use super::explode;
use super::input::{Input, condition};
use super::lookup::{self, There};
use super::opened::{ElementField, Explode, KeyColumn, OpenGroup, Source};
use super::view::View;
use crate::base::fault::Faults;
use crate::base::id::{GroupId, IdVec, SourceId};
use crate::job::validate::names::{ELEMENT, is_key, is_of_element, without_element};
use crate::job::validate::types;
use crate::job::{Group, Key, Window, columns};

pub struct Compiled {
    /// The columns that its expressions are over; an element of the list that it explodes is one.
    schema: SchemaRef,
    keys: Vec<Expression>,
    pub filter: Option<Expression>,
    /// By lookup: its `on`.
    lookups: Vec<Vec<Expression>>,
    pub inputs: Vec<Input>,
    pub columns: Vec<ColumnPlan>,
    results: Vec<DataType>,
    derived: DerivedColumns,
}

/// `None`: there are faults. (A name that is no column of the source is told by `check_names`.) `there`: what it can look up in.
pub fn compile(group: &Group, schema: &SchemaRef, there: &There, faults: &mut Faults) -> Option<Compiled> {
    let schema = with_element(group, schema, faults)?;
    let (schema, lookups) = lookup::compile(group, schema, there, faults)?;
    let schema = &schema;
    let keys: Vec<Option<Expression>> = group.key.iter().map(|key| compile_key(group, key, schema, faults)).collect();
    let filter = group.filter.as_ref().map(|text| condition(text, "where", schema, faults));
    let mut fine = !matches!(filter, Some(None));
    let mut of_inputs: Vec<[Option<&str>; 2]> = vec![];
    let mut inputs: Vec<Option<Input>> = vec![];
    let mut plans = vec![];
    for column in &group.columns {
        let text = [&column.of, &column.filter].map(|text| text.as_ref().map(|text| text.text.as_str()));
        let input = (text != [None; 2]).then(|| {
            of_inputs.iter().position(|known| *known == text).unwrap_or_else(|| {
                inputs.push(Input::compile(column, schema, faults));
                of_inputs.push(text);
                of_inputs.len() - 1
            })
        });
        plans.push(ColumnPlan { name: column.name.clone(), aggregate: column.agg, input, length: column.length });
    }
    let mut results = vec![];
    for (column, plan) in group.columns.iter().zip(&plans) {
        let input = plan.input.map(|i| inputs[i].as_ref());
        if let Some(None) = input {
            continue;
        }
        let input = input.flatten().map(Input::data_type);
        match plan.aggregate.result(input) {
            Ok(result) => results.push(result),
            Err(Refused(taken)) => {
                let of = column.of.as_ref().map_or(column.at, |of| of.at);
                let data_type = input.map(types::display).unwrap_or_default();
                faults.error(of, format!("{} needs {taken}, this is a {data_type}", column.agg.name()));
                fine = false;
            }
        }
    }
    let inputs: Option<Vec<Input>> = inputs.into_iter().collect();
    if !fine {
        return None;
    }
    let derived = DerivedColumns::compile(&group.derived, &row(group, &keys, &plans, &results), faults)?;
    let keys: Option<Vec<Expression>> = keys.into_iter().collect();
    let schema = schema.clone();
    let (keys, filter, inputs) = (keys?, filter.flatten(), inputs?);
    Some(Compiled { schema, keys, filter, lookups, inputs, columns: plans, results, derived })
}

/// The key and the columns of a group's rows.
fn row(
    group: &Group,
    keys: &[Option<Expression>],
    columns: &[ColumnPlan],
    results: &[DataType],
) -> Vec<(String, DataType)> {
    let of_key = |(key, compiled): (&Key, &Option<Expression>)| {
        compiled.as_ref().map(|compiled| (key.name.clone(), compiled.data_type().clone()))
    };
    let columns = columns.iter().map(|column| column.name.clone()).zip(results.iter().cloned());
    group.key.iter().zip(keys).filter_map(of_key).chain(columns).collect()
}

/// Columns of a row: names and types.
type Fields = Vec<(String, DataType)>;

impl Compiled {
    /// The columns of its rows: those of the key, and all others.
    pub fn fields(&self, group: &Group) -> (Fields, Fields) {
        let keys = group.key.iter().zip(&self.keys).map(|(key, of)| (key.name.clone(), of.data_type().clone()));
        let columns = self.columns.iter().zip(&self.results).map(|(column, of)| (column.name.clone(), of.clone()));
        (keys.collect(), columns.chain(self.derived.fields()).collect())
    }

    /// The columns that its expressions name, by their paths.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        let of_inputs = self.inputs.iter().flat_map(Input::columns);
        let on = self.lookups.iter().flatten();
        self.keys.iter().chain(&self.filter).chain(on).flat_map(Expression::columns).chain(of_inputs)
    }

    /// Those of them that are read of its sources, as these have them together; each once.
    pub fn named(&self, group: &Group) -> Vec<FieldRef> {
        let mut named: Vec<FieldRef> = vec![];
        let is_read = |name: &&String| !is_of_element(group, name) && group.lookup_of(name).is_none();
        for name in self.names().filter(is_read) {
            if named.iter().all(|field| field.name() != name) {
                let field = columns::field(&self.schema, name).expect("names were checked");
                named.push(field.into());
            }
        }
        named
    }
}

/// The columns that a group's expressions are over: an element of the list that it explodes is one.
fn with_element(group: &Group, schema: &SchemaRef, faults: &mut Faults) -> Option<SchemaRef> {
    let Some(explode) = &group.explode else { return Some(without_element(schema)) };
    if schema.field_with_name(ELEMENT).is_ok() {
        let message = format!("`explode` calls an element `{ELEMENT}`, and the source has a column of that name");
        faults.error(explode.at, message);
        return None;
    }
    let list = columns::find(schema, &explode.text, "").ok()?;
    let DataType::List(element) = list.field.data_type() else { return None };
    let element = element.as_ref().clone().with_name(ELEMENT).with_nullable(true);
    let fields = schema.fields().iter().cloned().chain([Arc::new(element)]);
    Some(Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())))
}

fn compile_key(group: &Group, key: &Key, schema: &SchemaRef, faults: &mut Faults) -> Option<Expression> {
    let text = &key.of.text;
    let compiled = match key.is_sql {
        true => Expression::compile(text, schema).map_err(|e| e.message),
        false => match columns::find(schema, text, "") {
            Ok(found) => {
                let path = Path::parse(&found.name).unwrap_or_else(|| Path::of([found.name]));
                Expression::column(path.names(), schema).map_err(|e| e.message)
            }
            Err(message) if is_of_element(group, text) || group.lookup_of(text).is_some() => Err(message),
            Err(_) => return None,
        },
    };
    let fault = match compiled {
        Ok(expression) if is_key(expression.data_type()) => return Some(expression),
        Ok(expression) => format!(
            "a key must be an integer, bool, string, date, timestamp or decimal, and this is a {}",
            types::display(expression.data_type())
        ),
        Err(message) => message,
    };
    // Of a column as it is, `check_names` tells it.
    if key.is_sql || is_of_element(group, text) || group.lookup_of(text).is_some() {
        faults.error(key.of.at, fault);
    }
    None
}

pub fn open_group<'a>(
    group: &Group,
    compiled: Compiled,
    sources: impl Iterator<Item = (SourceId, &'a Source)> + Clone,
    tables: &IdVec<SourceId, Source>,
    (values, id): (&IdVec<GroupId, Vec<String>>, GroupId),
) -> OpenGroup {
    let named = compiled.named(group);
    let lookups = lookup::open(group, &compiled.lookups, compiled.names(), &compiled.schema, (tables, values));
    let explode = sources.clone().find_map(|(_, source)| open_explode(group, (&compiled, &named), source));
    let views = sources.map(|(id, source)| (id, View::new(&source.wanted.schema, &named))).collect();
    let Compiled { schema, keys, filter, inputs, columns: plans, results, derived, .. } = compiled;
    let key_types: Vec<DataType> = keys.iter().map(|key| key.data_type().clone()).collect();
    let keys = keys.into_iter().map(|key| match key.columns() {
        [name] if key.is_column() && !is_of_element(group, name) => KeyColumn::Read(name.clone()),
        _ => KeyColumn::Computed(key),
    });
    let keys: Vec<KeyColumn> = keys.collect();
    let key_fields: Vec<_> = group.key.iter().map(|key| key.name.clone()).zip(key_types.iter().cloned()).collect();
    let columns: Vec<_> = plans.iter().map(|c| c.name.clone()).zip(results).collect();
    let windows = windows(group);
    let own_schema = changes::schema(&key_fields, windows.is_some(), &columns);
    let with_derived: Vec<_> = columns.into_iter().chain(derived.fields()).collect();
    let shape_schema = changes::schema(&key_fields, windows.is_some(), &with_derived);
    let shape = GroupShape { name: group.name.clone(), keys: keys.len(), windows, schema: shape_schema };
    OpenGroup {
        schema,
        views,
        filter,
        keys,
        key_types,
        explode,
        lookups,
        inputs,
        columns: plans,
        derived,
        looked_up: values[id].clone(),
        own_schema,
        shape,
    }
}

/// What is read of the list that a group explodes; `None`: it explodes none.
fn open_explode(group: &Group, (compiled, named): (&Compiled, &[FieldRef]), source: &Source) -> Option<Explode> {
    let read = explode::read(group, compiled.names(), &source.schema)?;
    let place = |field: &Field| source.wanted.schema.index_of(field.name()).expect("what is exploded is read");
    let fields = read.fields.iter();
    let fields = fields.map(|(name, names, field)| ElementField {
        name: name.clone(),
        column: place(field),
        names: names.clone(),
    });
    let beside = named.iter().map(|field| field.name().clone()).collect();
    Some(Explode { column: place(&read.list), fields: fields.collect(), beside })
}

/// What sinks are told of a group's windows.
fn windows(group: &Group) -> Option<RowWindows> {
    let size = match group.window {
        Window::Trailing => return None,
        Window::Tumbling { size } | Window::Hopping { size, .. } => Some(size),
        Window::Calendar(_) | Window::Session { .. } => None,
    };
    Some(RowWindows { retain: group.retain, size })
}
