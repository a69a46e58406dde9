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

use super::thrift::Walked;
use crate::Path;

/// A column as the file's own schema lists it: a value, or a whole group of them.
pub(super) struct Column {
    pub name: String,
    pub parquet: TypePtr,
    /// Its values' places among all of the file's.
    pub leaves: Range<usize>,
    /// As it is decoded; or why it cannot be.
    pub arrow: Result<Field, String>,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its column in the file, with this part alone in it.
    pub parquet: TypePtr,
    /// Its values' places among all of the file's.
    pub leaves: Vec<usize>,
    /// The column as it is decoded.
    pub arrow: Field,
    /// How many structs lie around the part.
    pub depth: usize,
}

impl Part {
    /// `wanted`: its type, where of structs only some fields are. `None`: the column does not have it.
    ///
    /// # Errors
    /// Why it cannot be read as that.
    pub fn of(column: &Column, path: &Path, wanted: Option<&DataType>) -> Result<Option<Part>, String> {
        let arrow = column.arrow.as_ref().map_err(Clone::clone)?;
        let names = path.names().get(1..).unwrap_or_default();
        let whole = Narrowed { parquet: column.parquet.clone(), arrow: arrow.clone(), leaves: vec![] };
        let Some(Narrowed { parquet, arrow, leaves }) = pruned(whole, column.leaves.start, names, wanted)? else {
            return Ok(None);
        };
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
        is_value.then(|| self.leaves.first().copied())?
    }

    /// The part itself, out of its column.
    pub fn inside(&self, column: &ArrayRef) -> Walked<ArrayRef> {
        let mut part = column.clone();
        for _ in 0..self.depth {
            let around = part.as_struct_opt().ok_or("a struct is decoded as another type")?;
            let inner = around.columns().first().ok_or("a struct is decoded without its column")?;
            part = match around.nulls().filter(|nulls| nulls.null_count() > 0) {
                None => inner.clone(),
                Some(nulls) => nullif(inner, &BooleanArray::new(!nulls.inner(), None)).map_err(|e| e.to_string())?,
            };
        }
        Ok(part)
    }
}

/// A column, or a field of one, with some of what it holds.
struct Narrowed {
    parquet: TypePtr,
    arrow: Field,
    /// The places of its values.
    leaves: Vec<usize>,
}

/// A column with what lies at a path alone in it. `first`: the place of the column's first value.
fn pruned(
    whole: Narrowed,
    first: usize,
    names: &[String],
    wanted: Option<&DataType>,
) -> Result<Option<Narrowed>, String> {
    let Narrowed { parquet, arrow, .. } = whole;
    let Some((name, rest)) = names.split_first() else {
        return Ok(Some(narrowed(&parquet, first, &arrow, wanted)?));
    };
    if !is_struct(&parquet) {
        return Err(format!("{:?} has no fields: it is no struct", parquet.name()));
    }
    let Some((field, at)) = field_of(&parquet, first, name)? else { return Ok(None) };
    // Arrow knows no group without fields.
    let Some(inside) = arrow_field(&arrow, name) else { return Ok(None) };
    let field = Narrowed { parquet: field, arrow: inside, leaves: vec![] };
    let Some(inside) = pruned(field, at, rest, wanted)? else { return Ok(None) };
    around(&parquet, &arrow, vec![inside]).map(Some)
}

/// What is wanted of a type: of structs, those too in lists, the fields that are. At least one field is kept, which says where a struct
/// is.
fn narrowed(parquet: &TypePtr, first: usize, arrow: &Field, wanted: Option<&DataType>) -> Result<Narrowed, String> {
    let whole = || {
        let leaves = (first..first + leaves(parquet)).collect();
        Ok(Narrowed { parquet: parquet.clone(), arrow: arrow.clone(), leaves })
    };
    match (arrow.data_type(), wanted) {
        (DataType::Struct(fields), Some(DataType::Struct(wanted))) if is_struct(parquet) => {
            let mut kept = vec![];
            for field in fields {
                let of = wanted.iter().find(|wanted| wanted.name() == field.name());
                if let (Some(of), Some((inside, at))) = (of, field_of(parquet, first, field.name())?) {
                    kept.push(narrowed(&inside, at, field, Some(of.data_type()))?);
                }
            }
            if kept.is_empty() {
                let Some(field) = fields.first() else { return whole() };
                let Some((inside, at)) = field_of(parquet, first, field.name())? else { return whole() };
                kept.push(narrowed(&inside, at, field, None)?);
            }
            around(parquet, arrow, kept)
        }
        (DataType::List(item) | DataType::LargeList(item), Some(DataType::List(wanted))) => {
            let Some(element) = element(parquet) else { return whole() };
            let inside = narrowed(&element, first, item, Some(wanted.data_type()))?;
            let repeated = rebuilt(&parquet.get_fields()[0], vec![inside.parquet])?;
            let item = Arc::new(inside.arrow);
            let data_type = match arrow.data_type() {
                DataType::LargeList(_) => DataType::LargeList(item),
                _ => DataType::List(item),
            };
            let arrow = arrow.clone().with_data_type(data_type);
            Ok(Narrowed { parquet: rebuilt(parquet, vec![repeated])?, arrow, leaves: inside.leaves })
        }
        _ => whole(),
    }
}

/// A struct with these fields alone.
fn around(parquet: &TypePtr, arrow: &Field, inside: Vec<Narrowed>) -> Result<Narrowed, String> {
    let (mut types, mut fields, mut leaves) = (vec![], vec![], vec![]);
    for field in inside {
        types.push(field.parquet);
        fields.push(field.arrow);
        leaves.extend(field.leaves);
    }
    let arrow = arrow.clone().with_data_type(DataType::Struct(fields.into()));
    Ok(Narrowed { parquet: rebuilt(parquet, types)?, arrow, leaves })
}

/// The same group with other fields.
fn rebuilt(group: &Type, fields: Vec<TypePtr>) -> Result<TypePtr, String> {
    let info = group.get_basic_info();
    let built = Type::group_type_builder(group.name())
        .with_repetition(info.repetition())
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_fields(fields)
        .build();
    Ok(Arc::new(built.map_err(|e| e.to_string())?))
}

/// The only field of a group with this name, and the place of its first value.
fn field_of(group: &Type, first: usize, name: &str) -> Result<Option<(TypePtr, usize)>, String> {
    let (mut found, mut at) = (None, first);
    for field in group.get_fields() {
        if field.name() == name {
            if found.is_some() {
                return Err(format!("{:?} has two fields {name:?}", group.name()));
            }
            found = Some((field.clone(), at));
        }
        at += leaves(field);
    }
    Ok(found)
}

/// The element of a list that is written as lists are today: in a repeated group by itself.
fn element(list: &Type) -> Option<TypePtr> {
    let info = list.get_basic_info();
    let is_list =
        info.converted_type() == ConvertedType::LIST || matches!(info.logical_type_ref(), Some(LogicalType::List));
    let [repeated] = list.is_group().then(|| list.get_fields()).filter(|_| is_list)? else { return None };
    let is_old = repeated.name() == "array" || repeated.name() == format!("{}_tuple", list.name());
    let is_repeated = repeated.is_group() && repeated.get_basic_info().repetition() == Repetition::REPEATED;
    let [element] = (is_repeated && !is_old).then(|| repeated.get_fields())? else { return None };
    (element.get_basic_info().repetition() != Repetition::REPEATED).then(|| element.clone())
}

fn arrow_field(field: &Field, name: &str) -> Option<Field> {
    let DataType::Struct(fields) = field.data_type() else { return None };
    fields.iter().find(|field| field.name() == name).map(|field| field.as_ref().clone())
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
