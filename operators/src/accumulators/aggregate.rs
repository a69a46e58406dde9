//! The aggregates by name: what each takes, what it gives, and what is kept for it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use serde::{Deserialize, Serialize};

use crate::aggregate::spread::Spread;
use crate::value::Kind;

/// What a column tells of the values in its window. Nulls are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Aggregate {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    Spread(Spread),
    First,
    Last,
    CountDistinct,
    TopK(usize),
    LastN(usize),
    ApproxCountDistinct,
    ApproxPercentile(f64),
}

/// What is kept where adding up is not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    Least,
    Greatest,
    Earliest,
    Latest,
    Distinct,
    Frequencies,
    HyperLogLog,
    DdSketch,
}

impl Aggregate {
    /// The type of the result, or `None` where there is no such aggregate of such an input.
    pub fn result(self, input: Option<&DataType>) -> Option<DataType> {
        use Aggregate::*;
        let Some(input) = input else { return (self == Count).then_some(DataType::Int64) };
        let kind = Kind::of(input)?;
        let is_time = matches!(input, DataType::Date32 | DataType::Timestamp(..));
        let number = !matches!(kind, Kind::Bool | Kind::Text) && !is_time;
        match (self, kind) {
            (Count | CountDistinct | ApproxCountDistinct, _) => Some(DataType::Int64),
            (Min | Max | First | Last, _) => Some(input.clone()),
            (TopK(_) | LastN(_), _) => Some(list_of(input)),
            (Sum | Avg | Spread(_) | ApproxPercentile(_), _) if !number => None,
            (Avg | Spread(_) | ApproxPercentile(_), _) | (Sum, Kind::Float) => Some(DataType::Float64),
            (Sum, Kind::Decimal { scale }) => Some(DataType::Decimal128(38, scale)),
            (Sum, _) => Some(DataType::Int64),
        }
    }

    /// What has to be kept for it where adding up is not enough, and how many of the latest events.
    pub(super) fn keeps(self) -> Option<(Keeps, usize)> {
        Some(match self {
            Aggregate::Count | Aggregate::Sum | Aggregate::Avg | Aggregate::Spread(_) => return None,
            Aggregate::Min => (Keeps::Least, 0),
            Aggregate::Max => (Keeps::Greatest, 0),
            Aggregate::First => (Keeps::Earliest, 0),
            Aggregate::Last => (Keeps::Latest, 1),
            Aggregate::LastN(n) => (Keeps::Latest, n),
            Aggregate::CountDistinct => (Keeps::Distinct, 0),
            Aggregate::TopK(_) => (Keeps::Frequencies, 0),
            Aggregate::ApproxCountDistinct => (Keeps::HyperLogLog, 0),
            Aggregate::ApproxPercentile(_) => (Keeps::DdSketch, 0),
        })
    }
}

/// The type of a list of such values.
fn list_of(item: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item.clone(), true)))
}
