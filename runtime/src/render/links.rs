//! Links, rendered: of the rows of a query the entities and what links them, and of these the rows of entities.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, Int64Array};
use arrow::error::ArrowError;
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::relational::links::{By, ENTITY, Edges, Links, Node, Nodes, Row, links};
use headwater_operators::relational::map::{Mapped, map};
use headwater_operators::relational::{Keyed, Rows};

use super::nodes::TypedRows;
use crate::base::failure::Failure;
use crate::catalog::links::OpenLinks;

/// `crowded`: is told how many there are that link none.
pub fn render<'scope>(
    of: TypedRows<'scope>,
    open: &OpenLinks,
    crowded: &Rc<Cell<i64>>,
) -> Result<Keyed<'scope>, Failure> {
    let TypedRows { rows, types } = of;
    let codec = || KeyCodec::new(&types).map_err(failed);
    let of_column = |at: usize| KeyCodec::new(&types[at..=at]).map_err(failed);
    // A thing is another one for each column.
    let kind = |at: usize| if open.by == By::Entities { ENTITY } else { at as u32 };
    let mut entities = nodes(rows.clone(), codec()?, (0, of_column(0)?));
    if open.by == By::Entities {
        entities = entities.concat(nodes(rows.clone(), codec()?, (1, of_column(1)?)));
    }
    let mut edges: Option<Edges<'scope>> = None;
    for at in 1..types.len() {
        let (entity, thing, kind) = (of_column(0)?, of_column(at)?, kind(at));
        let some = map(rows.clone(), "edges", codec()?, move |columns, _| {
            let (kept, made) = (encoded(&entity, &columns[0]), encoded(&thing, &columns[at]));
            let is_there = |row: &u32| columns[0].is_valid(*row as usize) && columns[at].is_valid(*row as usize);
            let of: Vec<u32> = (0..columns[0].len() as u32).filter(is_there).collect();
            let edge = |row: &u32| {
                let row = *row as usize;
                (Node::new(ENTITY, kept.value(row)), Node::new(kind, made.value(row)))
            };
            Mapped { made: of.iter().map(edge).collect(), of: Some(of) }
        });
        edges = Some(match edges {
            None => some,
            Some(edges) => edges.concat(some),
        });
    }
    let edges = edges.expect("something links entities");
    let Links { rows, crowded: crowds } = links(entities, edges, open.by, open.max_degree);
    let count = crowded.clone();
    let counted = crowds.inspect(move |(_, _, diff)| count.set(count.get() + *diff as i64));
    let rows = rows.concat(counted.flat_map(|_| None::<(Node, Row)>));
    let (number, has_shared) =
        (KeyCodec::new(&[arrow::datatypes::DataType::Int64]).map_err(failed)?, open.by == By::Things);
    Ok(rows.map(move |(entity, Row { component, size, shared })| {
        let numbers = if has_shared { vec![size, shared] } else { vec![size] };
        let numbers: ArrayRef = Arc::new(numbers.into_iter().map(|n| n as i64).collect::<Int64Array>());
        let numbers = number.encode(&[numbers]).expect("a column of integers");
        let mut row = component.bytes().to_vec();
        numbers.iter().flatten().for_each(|number| row.extend_from_slice(number));
        (entity.bytes().to_vec(), row)
    }))
}

/// The entities of a column, where it has any.
fn nodes<'scope>(rows: Rows<'scope>, codec: KeyCodec, (at, of_column): (usize, KeyCodec)) -> Nodes<'scope> {
    map(rows, "entities", codec, move |columns, _| {
        let all = encoded(&of_column, &columns[at]);
        let of: Vec<u32> = (0..columns[at].len() as u32).filter(|row| columns[at].is_valid(*row as usize)).collect();
        Mapped { made: of.iter().map(|row| Node::new(ENTITY, all.value(*row as usize))).collect(), of: Some(of) }
    })
}

fn encoded(codec: &KeyCodec, column: &ArrayRef) -> BinaryArray {
    codec.encode(std::slice::from_ref(column)).expect("a column of its type")
}

fn failed(error: ArrowError) -> Failure {
    Failure::Running(format!("rows of links: {error}"))
}
