//! Lists of as many values as a job asks for.

use super::definition::{Parameter, Range};
use crate::synopses::synopsis::Asked;
use crate::value::Datum;

/// How many values a list has at most.
pub const OF_VALUES: Parameter =
    Parameter { key: "k", range: Range::Count(10_000), hint: "say how many values, like k = 3", aliases: &[] };

/// The first values, as many as the argument says; none, if there are none.
pub fn list(values: impl Iterator<Item = Datum>, asked: &Asked) -> Datum {
    let list: Vec<Datum> = values.take(asked.argument as usize).collect();
    if list.is_empty() { Datum::Null } else { Datum::List(list.into()) }
}
