//! Joins on equal keys: differential's, of rows as bytes.
//!
//! ```text
//! inner   every pair                         full    pairs, and either side alone
//! left    pairs, and the left side alone     semi    the left side where there is a pair
//! right   pairs, and the right side alone    anti    the left side where there is none
//! ```
//!
//! A side stands alone where no row of the other has its key: all of it, less those whose key the other side has.

use std::rc::Rc;

use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::ValSpine;
use headwater_clocks::Tick;

use super::distinct::distinct;
use super::rows::{Bytes, Keyed, Rows};

/// Which rows come of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Every pair.
    Inner,
    /// Pairs, and the left side alone.
    Left,
    /// Pairs, and the right side alone.
    Right,
    /// Pairs, and either side alone.
    Full,
    /// The left side where there is a pair.
    Semi,
    /// The left side where there is none.
    Anti,
}

/// The rows that stand in for the side that a row has no partner on: nulls in all of its columns.
pub struct Nulls {
    /// Of the left side.
    pub left: Bytes,
    /// Of the right side.
    pub right: Bytes,
}

type ArrangedRows<'scope> = Arranged<'scope, TraceAgent<ValSpine<Bytes, Bytes, Tick, isize>>>;

/// The rows of both sides, beside each other; of a semi- or an anti-join those of the left side.
pub fn join<'scope>(left: Keyed<'scope>, right: Keyed<'scope>, kind: JoinKind, nulls: Nulls) -> Rows<'scope> {
    use JoinKind::*;
    let arranged_left = left.clone().arrange_by_key();
    let beside: Pair = Rc::new(|left, right| [left, right].concat());
    if matches!(kind, Semi | Anti) {
        let paired = with_partner(arranged_left, right);
        return if kind == Semi { paired } else { rows(left).concat(paired.negate()) };
    }
    let arranged_right = right.clone().arrange_by_key();
    let pairs = pair(arranged_left.clone(), arranged_right.clone(), beside);
    let mut all = vec![];
    if matches!(kind, Left | Full) {
        let alone = rows(left.clone()).concat(with_partner(arranged_left, right.clone()).negate());
        all.push(alone.map(move |row| [row, nulls.right.clone()].concat()));
    }
    if matches!(kind, Right | Full) {
        let alone = rows(right).concat(with_partner(arranged_right, left).negate());
        all.push(alone.map(move |row| [nulls.left.clone(), row].concat()));
    }
    all.into_iter().fold(pairs, |all, some| all.concat(some))
}

fn rows(keyed: Keyed) -> Rows {
    keyed.map(|(_, row)| row)
}

/// The rows whose key some row of the others has.
fn with_partner<'scope>(rows: ArrangedRows<'scope>, others: Keyed<'scope>) -> Rows<'scope> {
    let keys = distinct(others.map(|(key, _)| (key, vec![]))).map(|key| (key, vec![]));
    pair(rows, keys.arrange_by_key(), Rc::new(|row, _| row.to_vec()))
}

/// What is made of two rows with one key.
type Pair = Rc<dyn Fn(&[u8], &[u8]) -> Bytes>;

/// The one place in which differential's join is compiled, which takes its time.
fn pair<'scope>(left: ArrangedRows<'scope>, right: ArrangedRows<'scope>, of_two: Pair) -> Rows<'scope> {
    left.join_core(right, move |_, left, right| Some(of_two(left, right)))
}
