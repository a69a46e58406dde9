//! The schema that a job writes: columns by name, and fields inside of them by path (`"payload.user.id" = "int64"`).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use headwater_connectors::Path;

use crate::base::fault::At;
use crate::job::{Named, Source};

/// A column, or a field of one.
struct Node {
    name: String,
    of: Of,
}

enum Of {
    Type(DataType),
    Fields(Vec<Node>),
}

/// The schema that the job gives, with what directories say; `None`: files say it.
pub fn written(source: &Source) -> Option<SchemaRef> {
    Some(with_faults(source.schema.as_ref()?, &source.partitions()).0)
}

/// The schema of some columns and partitions, and what is wrong with them.
pub fn with_faults(columns: &[(Named, DataType)], partitions: &[(Named, DataType)]) -> (SchemaRef, Vec<(At, String)>) {
    let (mut nodes, mut faults) = (vec![], vec![]);
    for (named, data_type) in columns {
        let wrong = match Path::parse(&named.text) {
            Some(path) => add(&mut nodes, path.names(), data_type).err(),
            None => Some(format!("`{}` is no path of names: expected one like payload.user.id", named.text)),
        };
        faults.extend(wrong.map(|message| (named.at, message)));
    }
    for (named, data_type) in partitions {
        match nodes.iter().find(|node| node.name == named.text) {
            None => nodes.push(Node { name: named.text.clone(), of: Of::Type(data_type.clone()) }),
            Some(Node { of: Of::Type(known), .. }) if known == data_type => {}
            Some(_) => {
                let message = format!("the schema has `{}` with another type than `partitions`", named.text);
                faults.push((named.at, message));
            }
        }
    }
    (Arc::new(Schema::new(fields(nodes))), faults)
}

fn add(nodes: &mut Vec<Node>, path: &[String], data_type: &DataType) -> Result<(), String> {
    let Some((name, rest)) = path.split_first() else { return Ok(()) };
    let Some(known) = nodes.iter_mut().find(|node| node.name == *name) else {
        let mut inside = vec![];
        let of = match rest {
            [] => Of::Type(data_type.clone()),
            _ => {
                add(&mut inside, rest, data_type)?;
                Of::Fields(inside)
            }
        };
        nodes.push(Node { name: name.clone(), of });
        return Ok(());
    };
    match (&mut known.of, rest) {
        (Of::Fields(inside), [_, ..]) => add(inside, rest, data_type),
        (Of::Type(_), []) | (Of::Fields(_), []) => Err(format!("`{name}` is given twice: as a column, or with fields")),
        (Of::Type(_), _) => Err(format!("`{name}` has a type of its own, and so no fields: name its fields alone")),
    }
}

fn fields(nodes: Vec<Node>) -> Fields {
    let field = |node: Node| match node.of {
        Of::Type(data_type) => Field::new(node.name, data_type, true),
        Of::Fields(inside) => Field::new(node.name, DataType::Struct(fields(inside)), true),
    };
    nodes.into_iter().map(field).collect()
}
