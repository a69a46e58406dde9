//! Lists whose elements are events: what is read of them.
//!
//! ```text
//! explode = "items", item.sku, item.price      items[]          a list of structs without fields: how many there are
//!                                              items[].sku      a list of structs with this field alone
//!                                              items[].price
//! ```
//!
//! So an element's field that does not decode fails what names it, and no group depends on what another one reads of the list.

use arrow::datatypes::{DataType, Field, Fields, Schema};
use headwater_connectors::{PATH, Path};

use crate::job::validate::names::is_of_element;
use crate::job::{Group, columns};

/// What is read of the list that a group explodes: for itself, and by field, with the field's path and its names in an element.
pub struct Read {
    pub list: Field,
    pub fields: Vec<(String, Vec<String>, Field)>,
}

impl Read {
    /// All that is read.
    pub fn columns(&self) -> impl Iterator<Item = &Field> {
        std::iter::once(&self.list).chain(self.fields.iter().map(|(.., field)| field))
    }
}

/// `named`: the columns of the group's expressions. `None`: the group explodes nothing.
pub fn read<'a>(group: &Group, named: impl Iterator<Item = &'a String>, schema: &Schema) -> Option<Read> {
    let list = columns::find(schema, &group.explode.as_ref()?.text, "").ok()?;
    let DataType::List(element) = list.field.data_type() else { return None };
    let column = |label: String, of: DataType| {
        let metadata = [(PATH.to_owned(), list.name.clone())];
        Field::new(label, DataType::new_list(of, true), true).with_metadata(metadata.into())
    };
    let none = if matches!(element.data_type(), DataType::Struct(_)) {
        only(element.data_type(), None)
    } else {
        element.data_type().clone()
    };
    let mut fields: Vec<(String, Vec<String>, Field)> = vec![];
    for name in named.filter(|name| is_of_element(group, name)) {
        let names = Path::parse(name).map(|path| path.names()[1..].to_vec()).unwrap_or_default();
        if fields.iter().all(|(known, ..)| known != name) {
            let label = format!("{}[].{}", list.name, names.join("."));
            let of =
                if names.is_empty() { element.data_type().clone() } else { only(element.data_type(), Some(&names)) };
            fields.push((name.clone(), names, column(label, of)));
        }
    }
    Some(Read { list: column(format!("{}[]", list.name), none), fields })
}

/// A struct with one field alone, or with none.
fn only(data_type: &DataType, names: Option<&[String]>) -> DataType {
    let (DataType::Struct(fields), names) = (data_type, names.unwrap_or_default()) else { return data_type.clone() };
    let Some((name, rest)) = names.split_first() else { return DataType::Struct(Fields::empty()) };
    let field = fields.iter().filter(|field| field.name() == name).map(|field| {
        let of = if rest.is_empty() { field.data_type().clone() } else { only(field.data_type(), Some(rest)) };
        Field::new(name, of, true)
    });
    DataType::Struct(field.collect())
}

/// Whether a column is read for elements, and for nobody else.
pub fn is_of_elements(name: &str) -> bool {
    name.contains("[]")
}
