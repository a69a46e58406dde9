//! A source's times: columns as they are, or SQL that gives a timestamp.

use arrow::datatypes::{DataType, SchemaRef};
use headwater_expression::Expression;

use crate::base::fault::Faults;
use crate::job::validate::types;
use crate::job::{self, Named, columns};

/// Where an event's time is taken from.
pub enum TimeOf {
    /// The column of this path.
    Column(String),
    Computed(Expression),
}

pub struct Times {
    /// Every source of events has one.
    pub event: Option<TimeOf>,
    pub arrival: Option<TimeOf>,
}

/// `None`: there are faults. (A name that is no column is told by `check_names`.)
pub fn compile(source: &job::Source, schema: &SchemaRef, faults: &mut Faults) -> Option<Times> {
    let mut one = |named: &Named| time(named, &source.name, schema, faults);
    // Of each that is named there is one, or a fault.
    let mut one = |named: &Option<Named>| named.as_ref().map_or(Some(None), |named| one(named).map(Some));
    let (event, arrival) = (one(&source.event_time), one(&source.arrival_time));
    Some(Times { event: event?, arrival: arrival? })
}

fn time(named: &Named, source: &str, schema: &SchemaRef, faults: &mut Faults) -> Option<TimeOf> {
    if !columns::is_sql(Some(schema), &named.text) {
        return columns::find(schema, &named.text, source).ok().map(|found| TimeOf::Column(found.name));
    }
    let expression = match Expression::compile(&named.text, schema) {
        Ok(expression) => expression,
        Err(e) => {
            faults.error(named.at, e.message);
            return None;
        }
    };
    if !matches!(expression.data_type(), DataType::Timestamp(..)) {
        let found = types::display(expression.data_type());
        let hint = "as to_timestamp(text, '%Y-%m-%d %H:%M:%S') or to_timestamp_millis(number) do";
        faults.error(named.at, format!("a time must be a timestamp, and this SQL gives a {found}: {hint}"));
        return None;
    }
    Some(TimeOf::Computed(expression))
}
