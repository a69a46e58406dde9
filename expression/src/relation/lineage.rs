//! Lineage: the columns that each column of a query is made of. An aggregate is made of what decides which rows there are, too.

use std::collections::BTreeSet;

use super::{Collection, JoinKind, Node};
use crate::Expression;

/// A column of a collection, by their places.
type Columns = BTreeSet<(usize, usize)>;

/// What the rows of a node are made of.
struct Origins {
    columns: Vec<Columns>,
    /// What decides which rows there are.
    rows: Columns,
}

/// Of each column of a node the columns that it is made of, as `COLLECTION.COLUMN`.
pub fn names(node: &Node, collections: &[Collection]) -> Vec<Vec<String>> {
    let name = |(of, column): (usize, usize)| format!("{}.{}", collections[of].name, collections[of].fields[column].0);
    let sorted = |columns: Columns| columns.into_iter().map(name).collect::<BTreeSet<_>>().into_iter().collect();
    made(node).columns.into_iter().map(sorted).collect()
}

fn made(node: &Node) -> Origins {
    match node {
        Node::Read { collection, columns } => {
            let columns = columns.iter().map(|column| Columns::from([(*collection, *column)])).collect();
            Origins { columns, rows: Columns::new() }
        }
        Node::Map { of, condition, columns } => {
            let below = made(of);
            let columns = columns.iter().map(|column| below.of(column)).collect();
            Origins { columns, rows: &below.rows | &below.of_all(condition) }
        }
        Node::Join(join) => {
            let (left, right) = (made(&join.left), made(&join.right));
            let on = &left.of_all(&join.on.0) | &right.of_all(&join.on.1);
            let rows = &(&left.rows | &right.rows) | &on;
            let columns = match join.kind {
                JoinKind::Semi | JoinKind::Anti => left.columns,
                JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {
                    [left.columns, right.columns].concat()
                }
            };
            Origins { columns, rows }
        }
        Node::Aggregate { of, by, inputs, calls } => {
            let below = made(of);
            let key = below.of_all(by);
            let of_input = |input: Option<usize>| input.map_or_else(|| key.clone(), |input| below.of(&inputs[input]));
            let calls = calls.iter().map(|call| &of_input(call.input) | &below.rows);
            let columns = by.iter().map(|by| below.of(by)).chain(calls).collect();
            Origins { columns, rows: below.rows }
        }
        Node::Distinct(of) => made(of),
        Node::Union(all) => {
            let mut all = all.iter().map(made);
            let Some(first) = all.next() else { return Origins { columns: vec![], rows: Columns::new() } };
            all.fold(first, |one, other| Origins {
                columns: one.columns.iter().zip(&other.columns).map(|(one, other)| one | other).collect(),
                rows: &one.rows | &other.rows,
            })
        }
        Node::Top(top) => {
            let mut below = made(&top.of);
            let place = &below.of_all(&top.parts) | &below.of_all(top.order.iter().map(|order| &order.by));
            below.columns.extend(top.numbered.then(|| place.clone()));
            below.rows.extend(place);
            below
        }
    }
}

impl Origins {
    fn of(&self, expression: &Expression) -> Columns {
        // Columns of the node below are called by their places.
        let places = expression.columns().iter().filter_map(|name| self.columns.get(name.parse::<usize>().ok()?));
        places.flatten().copied().collect()
    }

    fn of_all<'a>(&self, expressions: impl IntoIterator<Item = &'a Expression>) -> Columns {
        expressions.into_iter().flat_map(|expression| self.of(expression)).collect()
    }
}
