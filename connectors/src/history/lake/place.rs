//! Where the columns of a table lie in one of its files: by name, or by the number that the table gave them, whatever they are called
//! today. What a file does not have is null.

use std::sync::Arc;

use arrow::array::ArrayData;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use parquet::schema::types::{Type, TypePtr};

use crate::Path;

/// A column of a table, or a field inside of one.
#[derive(Clone, Debug)]
pub(in crate::history) struct Column {
    /// As the table has it today.
    pub field: Field,
    pub place: Place,
    /// Of a struct, its fields; of a list, its element; of a map, its key and its value.
    pub inside: Vec<Column>,
}

/// By what a file knows a column.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::history) enum Place {
    Named(String),
    /// `names`: what it may be called in files that number nothing.
    Numbered {
        id: i32,
        names: Vec<String>,
    },
}

impl Column {
    /// The one of a file's columns, or of a group's fields, that it is.
    fn of<'p>(&self, parquet: &'p [TypePtr]) -> Option<&'p TypePtr> {
        parquet.iter().find(|of| match &self.place {
            Place::Named(name) => of.name() == name,
            Place::Numbered { id, .. } if of.get_basic_info().has_id() => of.get_basic_info().id() == *id,
            Place::Numbered { names, .. } => names.iter().any(|name| of.name() == name),
        })
    }
}

/// Whether a file of these columns does not say which of the table's they are.
pub(super) fn is_unnumbered(columns: &[Column], parquet: &[TypePtr]) -> bool {
    let is_nameless = |column: &Column| matches!(&column.place, Place::Numbered { names, .. } if names.is_empty());
    columns.iter().any(is_nameless) && !parquet.iter().any(|of| of.get_basic_info().has_id())
}

/// A column, and what it is in a file.
pub(super) struct PlacedColumn<'a> {
    pub path: Path,
    pub column: &'a Column,
    pub parquet: &'a TypePtr,
}

/// What lies at a path of the table, in a file of these columns. `None`: the file does not have it.
pub(super) fn find<'a>(columns: &'a [Column], parquet: &'a [TypePtr], path: &Path) -> Option<PlacedColumn<'a>> {
    let (mut columns, mut parquet) = (columns, parquet);
    let (mut names, mut found) = (vec![], None);
    for name in path.names() {
        let column = columns.iter().find(|column| column.field.name() == name)?;
        let of = column.of(parquet)?;
        names.push(of.name());
        found = Some((column, of));
        columns = &column.inside;
        parquet = fields(of);
    }
    let (column, parquet) = found?;
    Some(PlacedColumn { path: Path::of(names), column, parquet })
}

fn fields(of: &Type) -> &[TypePtr] {
    if of.is_group() { of.get_fields() } else { &[] }
}

/// A wanted type by the names that it has in a file.
pub(super) fn in_file(column: &Column, parquet: &TypePtr, wanted: &DataType) -> DataType {
    match wanted {
        DataType::Struct(wanted) => {
            let field = |wanted: &Arc<Field>| {
                let inside = column.inside.iter().find(|inside| inside.field.name() == wanted.name());
                let found = inside.and_then(|inside| Some((inside, inside.of(fields(parquet))?)));
                // No file calls a field so: it is null.
                let (name, data_type) = found.map_or_else(
                    || (format!("\u{0}{}", wanted.name()), wanted.data_type().clone()),
                    |(inside, of)| (of.name().to_owned(), in_file(inside, of, wanted.data_type())),
                );
                Arc::new(Field::new(name, data_type, true))
            };
            DataType::Struct(wanted.iter().map(field).collect())
        }
        DataType::List(item) => match (column.inside.first(), repeated(parquet)) {
            (Some(inside), Some([element])) => {
                let data_type = in_file(inside, element, item.data_type());
                DataType::List(Arc::new(item.as_ref().clone().with_data_type(data_type)))
            }
            _ => wanted.clone(),
        },
        DataType::Map(entries, sorted) => match (&column.inside[..], repeated(parquet), entries.data_type()) {
            ([_, inside], Some([_, value]), DataType::Struct(pair)) if pair.len() == 2 => {
                let data_type = in_file(inside, value, pair[1].data_type());
                let value = Arc::new(pair[1].as_ref().clone().with_data_type(data_type));
                let pair = DataType::Struct(vec![pair[0].clone(), value].into());
                DataType::Map(Arc::new(entries.as_ref().clone().with_data_type(pair)), *sorted)
            }
            _ => wanted.clone(),
        },
        other => other.clone(),
    }
}

/// What the one repeated group in a list or a map holds.
fn repeated(parquet: &Type) -> Option<&[TypePtr]> {
    let [group] = fields(parquet) else { return None };
    Some(fields(group))
}

/// The same values as a type that differs in the names of fields alone.
pub(super) fn relabelled(data: ArrayData, wanted: &DataType) -> Result<ArrayData, ArrowError> {
    let types: Vec<&DataType> = match wanted {
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::List(item) => vec![item.data_type()],
        DataType::Map(entries, _) => vec![entries.data_type()],
        _ => return Ok(data),
    };
    let inside = data.child_data().iter().cloned().zip(types);
    let inside = inside.map(|(data, wanted)| relabelled(data, wanted)).collect::<Result<Vec<_>, _>>()?;
    data.into_builder().data_type(wanted.clone()).child_data(inside).build()
}
