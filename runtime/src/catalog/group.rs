//! A group, opened: its expressions compiled, the types of its columns known, and the shape of its rows.

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use headwater_connectors::sink::{GroupShape, RowWindows};
use headwater_expression::Expression;
use headwater_operators::accumulators::ColumnPlan;
use headwater_operators::aggregate::Refused;
use headwater_operators::changes;

use super::derived::DerivedColumns;
use super::input::{Input, condition};
use super::opened::{OpenGroup, Source};
use super::view::View;
use crate::base::fault::Faults;
use crate::base::id::SourceId;
use crate::job::validate::types;
use crate::job::{Group, Named, Window};

pub struct Compiled {
    /// The columns that its expressions are over.
    schema: SchemaRef,
    pub filter: Option<Expression>,
    pub inputs: Vec<Input>,
    pub columns: Vec<ColumnPlan>,
    results: Vec<DataType>,
    derived: DerivedColumns,
}

/// `None`: there are faults.
pub fn compile(group: &Group, schema: &SchemaRef, faults: &mut Faults) -> Option<Compiled> {
    let filter = group.filter.as_ref().map(|text| condition(text, schema, faults));
    let mut fine = !matches!(filter, Some(None));
    let mut of_inputs: Vec<[Option<&str>; 2]> = vec![];
    let mut inputs: Vec<Option<Input>> = vec![];
    let mut columns = vec![];
    for column in &group.columns {
        let text = [&column.of, &column.filter].map(|text| text.as_ref().map(|text| text.text.as_str()));
        let input = (text != [None; 2]).then(|| {
            of_inputs.iter().position(|known| *known == text).unwrap_or_else(|| {
                inputs.push(Input::compile(column, schema, faults));
                of_inputs.push(text);
                of_inputs.len() - 1
            })
        });
        columns.push(ColumnPlan { name: column.name.clone(), aggregate: column.agg, input, length: column.length_us });
    }
    let mut results = vec![];
    for (column, plan) in group.columns.iter().zip(&columns) {
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
    let derived = DerivedColumns::compile(&group.derived, &row(group, schema, &columns, &results), faults)?;
    let schema = schema.clone();
    Some(Compiled { schema, filter: filter.flatten(), inputs: inputs?, columns, results, derived })
}

/// The key and the columns of a group's rows.
fn row(group: &Group, schema: &SchemaRef, columns: &[ColumnPlan], results: &[DataType]) -> Vec<(String, DataType)> {
    let of_key =
        |key: &Named| schema.field_with_name(&key.text).ok().map(|field| (key.text.clone(), field.data_type().clone()));
    let columns = columns.iter().map(|column| column.name.clone()).zip(results.iter().cloned());
    group.key.iter().filter_map(of_key).chain(columns).collect()
}

impl Compiled {
    /// The columns that it names, its key's among them, as its sources have them together; each once.
    pub fn named(&self, group: &Group) -> Vec<FieldRef> {
        let of_inputs = self.inputs.iter().flat_map(Input::columns);
        let of_expressions = self.filter.iter().flat_map(Expression::columns).chain(of_inputs);
        let names = group.key.iter().map(|key| &key.text).chain(of_expressions);
        let mut named: Vec<FieldRef> = vec![];
        for name in names {
            if named.iter().all(|field| field.name() != name) {
                let field = self.schema.field_with_name(name).expect("names were checked");
                named.push(field.clone().into());
            }
        }
        named
    }
}

pub fn open_group<'a>(
    group: &Group,
    compiled: Compiled,
    sources: impl Iterator<Item = (SourceId, &'a Source)>,
) -> OpenGroup {
    let named = compiled.named(group);
    let views = sources.map(|(id, source)| (id, View::new(&source.wanted.schema, &named, &group.key))).collect();
    let of_key =
        |key: &Named| compiled.schema.field_with_name(&key.text).expect("names were checked").data_type().clone();
    let key_types: Vec<DataType> = group.key.iter().map(of_key).collect();
    let key_fields: Vec<_> = group.key.iter().map(|k| k.text.clone()).zip(key_types.iter().cloned()).collect();
    let columns: Vec<_> = compiled.columns.iter().map(|c| c.name.clone()).zip(compiled.results).collect();
    let windows = windows(group);
    let own_schema = changes::schema(&key_fields, windows.is_some(), &columns);
    let with_derived: Vec<_> = columns.into_iter().chain(compiled.derived.fields()).collect();
    let shape_schema = changes::schema(&key_fields, windows.is_some(), &with_derived);
    let shape = GroupShape { name: group.name.clone(), keys: key_types.len(), windows, schema: shape_schema };
    let Compiled { schema, filter, inputs, columns, derived, .. } = compiled;
    OpenGroup { schema, views, filter, key_types, inputs, columns, derived, own_schema, shape }
}

/// What sinks are told of a group's windows.
fn windows(group: &Group) -> Option<RowWindows> {
    let size_us = match group.window {
        Window::Trailing => return None,
        Window::Tumbling { size_us } | Window::Hopping { size_us, .. } => Some(size_us),
        Window::Session { .. } => None,
    };
    Some(RowWindows { retain_us: group.retain_us, size_us })
}
