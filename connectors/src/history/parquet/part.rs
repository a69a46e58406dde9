//! A part of a file's columns: one of them as a whole, or what lies inside of one, with nothing beside it.
//!
//! ```text
//! payload { user { id, name }, tags [..] }       payload.user.id       reads one leaf of three: payload { user { id } }
//!                                                payload.tags          payload { tags [..] }
//! ```
//!
//! What is read of a nested part is its column with that part alone in it. A null on the way is null.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Field};
use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::schema::types::{Type, TypePtr};

use super::footer::Column;
use super::thrift::Walked;
use crate::Path;

#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its column in the file, with this part alone in it.
    pub parquet: TypePtr,
    /// Its values' places among all of the file's.
    pub leaves: Range<usize>,
    /// The column as it is decoded.
    pub arrow: Field,
    /// How many structs lie around the part.
    pub depth: usize,
}

impl Part {
    /// `None`: the column does not have it.
    pub fn of(column: &Column, path: &Path) -> Result<Option<Part>, String> {
        let arrow = column.arrow.as_ref().map_err(Clone::clone)?;
        let names = path.names().get(1..).unwrap_or_default();
        let Some((parquet, leaves)) = pruned(&column.parquet, column.leaves.start, names)? else { return Ok(None) };
        let Some(arrow) = pruned_field(arrow, names) else { return Ok(None) };
        Ok(Some(Part { parquet, leaves, arrow, depth: names.len() }))
    }

    /// The type of the part itself, as it is decoded.
    pub fn data_type(&self) -> &DataType {
        let mut data_type = self.arrow.data_type();
        for _ in 0..self.depth {
            if let DataType::Struct(fields) = data_type
                && let Some(field) = fields.first()
            {
                data_type = field.data_type();
            }
        }
        data_type
    }

    /// The place of its values, if it is no group and no list.
    pub fn value(&self) -> Option<usize> {
        let mut part = &self.parquet;
        for _ in 0..self.depth {
            part = part.get_fields().first()?;
        }
        let is_value = part.is_primitive() && part.get_basic_info().repetition() != Repetition::REPEATED;
        is_value.then_some(self.leaves.start)
    }

    /// The part itself, out of its column.
    pub fn inside(&self, column: &ArrayRef) -> Walked<ArrayRef> {
        let mut part = column.clone();
        for _ in 0..self.depth {
            let around = part.as_struct_opt().ok_or("a struct is decoded as another type")?;
            let inner = around.columns().first().ok_or("a struct is decoded without its column")?;
            part = match around.nulls().filter(|nulls| nulls.null_count() > 0) {
                None => inner.clone(),
                Some(nulls) => {
                    nullif(inner, &BooleanArray::new(!nulls.inner(), None)).map_err(|e| e.to_string())?
                }
            };
        }
        Ok(part)
    }
}

/// A column with one part alone in it, and the places of the part's values. `first`: the place of the column's first one.
fn pruned(parquet: &TypePtr, first: usize, names: &[String]) -> Result<Option<(TypePtr, Range<usize>)>, String> {
    let Some((name, rest)) = names.split_first() else {
        return Ok(Some((parquet.clone(), first..first + leaves(parquet))));
    };
    if !is_struct(parquet) {
        return Err(format!("{:?} has no fields: it is no struct", parquet.name()));
    }
    let (mut found, mut at) = (None, first);
    for field in parquet.get_fields() {
        if field.name() == name {
            if found.is_some() {
                return Err(format!("{:?} has two fields {name:?}", parquet.name()));
            }
            found = Some((field, at));
        }
        at += leaves(field);
    }
    let Some((field, at)) = found else { return Ok(None) };
    let Some((inside, leaves)) = pruned(field, at, rest)? else { return Ok(None) };
    let group = Type::group_type_builder(parquet.name())
        .with_repetition(parquet.get_basic_info().repetition())
        .with_fields(vec![inside])
        .build();
    Ok(Some((Arc::new(group.map_err(|e| e.to_string())?), leaves)))
}

/// A group that is neither a list nor a map.
fn is_struct(parquet: &Type) -> bool {
    let info = parquet.get_basic_info();
    let is_container = matches!(info.logical_type_ref(), Some(LogicalType::List | LogicalType::Map))
        || matches!(info.converted_type(), ConvertedType::LIST | ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE);
    parquet.is_group() && !is_container && info.repetition() != Repetition::REPEATED
}

fn leaves(parquet: &Type) -> usize {
    if parquet.is_primitive() { 1 } else { parquet.get_fields().iter().map(|field| leaves(field)).sum() }
}

/// A struct with one part alone in it; `None`: Arrow knows no such part.
fn pruned_field(field: &Field, names: &[String]) -> Option<Field> {
    let Some((name, rest)) = names.split_first() else { return Some(field.clone()) };
    let DataType::Struct(fields) = field.data_type() else { return None };
    let inside = pruned_field(fields.iter().find(|field| field.name() == name)?, rest)?;
    Some(field.clone().with_data_type(DataType::Struct(vec![inside].into())))
}
