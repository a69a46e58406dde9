//! What an aggregate is: how a job names it, what it takes and gives, what is kept for it, and how its value is read from that.

use std::borrow::Cow;
use std::fmt;

use arrow::datatypes::{DataType, i256};

use crate::exact::float_sum::FloatSum;
use crate::exact::squares::SquareSum;
use crate::synopses::reading::Read;
use crate::value::{Datum, Kind, decimal_to_float};

/// One aggregate of the [list](super::AGGREGATES): everything that Headwater knows of it.
pub struct Definition {
    /// As a job names it: `count_distinct`.
    pub name: &'static str,
    /// What it is called elsewhere, in lower case; `_` makes no difference. A job may not: it is told the right name.
    pub aliases: &'static [&'static str],
    /// DuckDB's names of what means the same: SQL may use them beside the job's.
    pub in_sql: &'static [&'static str],
    /// The number that a job gives with it.
    pub parameter: Option<Parameter>,
    /// The type of the result for an input of this type.
    pub result: fn(&DataType) -> Result<DataType, Refused>,
    /// What is kept for it.
    pub needs: Needs,
    /// In plain words, of an input and with an argument: `sum of amount`.
    pub meaning: fn(&str, f64) -> String,
    /// In plain words without an input, as `count` may be; `None`: it needs one.
    pub of_events: Option<&'static str>,
    /// Whether it goes by the times of events: then it cannot be of rows, which have none.
    pub by_time: bool,
    /// The aggregate that gives it of each different value once; `None`: there is none.
    pub of_distinct: Option<&'static str>,
    /// Its name in what is saved: it never changes.
    pub identity: &'static str,
}

/// What an aggregate takes, where an input is none of it: `a number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub &'static str);

/// The number that a job gives with an aggregate.
pub struct Parameter {
    /// As a job names it: `k`.
    pub key: &'static str,
    /// What it may be.
    pub range: Range,
    /// What to say where it is missing.
    pub hint: &'static str,
    /// Names from elsewhere for the aggregate with one argument: `median` for a percentile with 0.5.
    pub aliases: &'static [(&'static str, f64)],
}

/// Which numbers a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// Whole numbers from 1 to this one.
    Count(u32),
    /// Numbers from 0 to 1.
    Share,
}

/// What is kept for an aggregate, and how its value is read from that. Except of `Count`, a window without a value has none.
pub enum Needs {
    /// How many values there are, which is the result.
    Count,
    /// That and their exact sum. `None`: the result does not fit its type.
    Sum(fn(i64, &Total) -> Option<Datum>),
    /// Those and the exact sum of their squares.
    Squares(fn(i64, &Total, &SquareSum) -> Option<Datum>),
    /// More than sums: what is kept where events only come and grow old, and what where they may be taken back too.
    Synopsis(&'static dyn Read, &'static dyn Read),
}

/// The exact sum of a window's values.
pub enum Total<'a> {
    /// Of floats.
    Floats(Cow<'a, FloatSum>),
    /// Of integers.
    Ints(i128),
    /// Unscaled, with the scale. It wraps only past 2^63 values.
    Decimals(i256, i8),
}

impl Total<'_> {
    /// The nearest float64.
    pub fn as_float(&self) -> f64 {
        match self {
            Total::Floats(sum) => sum.value(),
            Total::Ints(sum) => *sum as f64,
            Total::Decimals(sum, scale) => decimal_to_float(sum, *scale),
        }
    }

    /// In the type of a sum: float64, int64 or a decimal of 38 digits. `None`: it does not fit.
    pub fn datum(&self) -> Option<Datum> {
        match self {
            Total::Floats(sum) => Some(Datum::float(sum.value())),
            Total::Ints(sum) => i64::try_from(*sum).ok().map(Datum::int),
            Total::Decimals(sum, _) => sum.to_i128().filter(|v| v.unsigned_abs() < 10u128.pow(38)).map(Datum::decimal),
        }
    }
}

impl Range {
    /// Whether it holds a number.
    pub fn contains(self, number: f64) -> bool {
        match self {
            Range::Count(most) => (1.0..=f64::from(most)).contains(&number) && number.fract() == 0.0,
            Range::Share => (0.0..=1.0).contains(&number),
        }
    }
}

/// In words, as what a number must be.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Range::Count(most) => write!(f, "an integer of 1 to {most}"),
            Range::Share => write!(f, "a number from 0 to 1"),
        }
    }
}

/// An aggregate as a column asks for it: one of the list, with its argument. It is written, read and shown as `sum` or
/// `top_k(3)`.
#[derive(Clone, Copy)]
pub struct Aggregate {
    definition: &'static Definition,
    /// 1 where there is no parameter.
    argument: f64,
}

impl Definition {
    /// The aggregate with an argument, if it has a parameter, or without.
    ///
    /// # Errors
    /// What is wrong with the argument: there has to be one, there may be none, or it is out of range.
    pub fn with(&'static self, argument: Option<f64>) -> Result<Aggregate, String> {
        match (&self.parameter, argument) {
            (None, None) => Ok(Aggregate { definition: self, argument: 1.0 }),
            (Some(parameter), Some(argument)) if parameter.range.contains(argument) => {
                Ok(Aggregate { definition: self, argument })
            }
            (Some(Parameter { key, range, .. }), Some(argument)) => {
                Err(format!("`{key}` must be {range}, not {argument}"))
            }
            (Some(Parameter { key, hint, .. }), None) => Err(format!("`{}` has no `{key}`: {hint}", self.name)),
            (None, Some(_)) => Err(format!("`{}` takes no number", self.name)),
        }
    }
}

impl Aggregate {
    /// What it is, whatever the argument.
    pub fn definition(self) -> &'static Definition {
        self.definition
    }

    /// As a job names it.
    pub fn name(self) -> &'static str {
        self.definition.name
    }

    /// Of one that has a parameter.
    pub fn argument(self) -> Option<f64> {
        self.definition.parameter.as_ref().map(|_| self.argument)
    }

    /// The argument as it is read: 1 where there is no parameter.
    pub(crate) fn argument_or_one(self) -> f64 {
        self.argument
    }

    /// The type of the result; without an input only of an aggregate that may do without.
    ///
    /// # Errors
    /// What it takes instead.
    pub fn result(self, input: Option<&DataType>) -> Result<DataType, Refused> {
        match input {
            None if self.definition.of_events.is_some() => Ok(DataType::Int64),
            Some(input) if Kind::of(input).is_some() => (self.definition.result)(input),
            None | Some(_) => Err(Refused("a value of one of the types that features have")),
        }
    }

    /// In plain words: `sum of amount`.
    pub fn meaning(self, of: Option<&str>) -> String {
        match (of, self.definition.of_events) {
            (Some(of), _) => (self.definition.meaning)(of, self.argument),
            (None, Some(of_events)) => of_events.to_owned(),
            (None, None) => self.to_string(),
        }
    }

    /// Its name in what is saved, with the argument: two columns whose texts are equal ask for the same. It never changes.
    pub fn identity(self) -> String {
        let Definition { identity, parameter, .. } = self.definition;
        match parameter {
            None => (*identity).to_owned(),
            Some(Parameter { key, range: Range::Count(_), .. }) => format!("{identity} {{ {key}: {} }}", self.argument),
            Some(Parameter { key, range: Range::Share, .. }) => {
                format!("{identity} {{ {key}: {} }}", share(self.argument))
            }
        }
    }
}

/// A number from 0 to 1: `0.0`, `0.95`, `1e-7`.
fn share(p: f64) -> String {
    match p {
        p if p != 0.0 && p < 1e-4 => format!("{p:e}"),
        p if p.fract() == 0.0 => format!("{p:.1}"),
        p => p.to_string(),
    }
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Aggregate) -> bool {
        self.name() == other.name() && self.argument == other.argument
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.argument() {
            None => f.write_str(self.name()),
            Some(argument) => write!(f, "{}({argument})", self.name()),
        }
    }
}

impl fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
