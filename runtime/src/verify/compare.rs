//! What was served, value by value, against the backfills of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::array::types::TimestampMicrosecondType;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use headwater_clocks::{Tick, Time, format_time};
use headwater_connectors::format::text::{Column, key_text};
use headwater_connectors::table::Table;
use headwater_connectors::table::read::Batches;
use headwater_operators::probe::rows::FIRST_COLUMN;
use serde_json::value::RawValue;

use super::report::{ColumnReport, Example, GroupReport};
use super::spine::{MOMENT, ROW, Spine, TIME};
use crate::backfill::replay::rows::row_of_nothing;
use crate::base::failure::Failure;
use crate::base::id::RowsId;
use crate::catalog::opened::Opened;

/// So many examples are told of a column.
const EXAMPLES: usize = 3;

/// The backfills of a spine.
pub struct Tables {
    /// At the row's tick, as known at arrival, and as served.
    pub arrival: PathBuf,
    pub served: Option<PathBuf>,
    /// When it was asked for, as known at arrival, and in hindsight.
    pub at_time: PathBuf,
    pub event: PathBuf,
}

pub struct Compare<'a> {
    name: String,
    keys: usize,
    columns: Vec<OfColumn>,
    /// When readers saw what a run had published that was killed.
    replayed: &'a [(Tick, Tick)],
    others: BTreeSet<String>,
    report: GroupReport,
}

struct OfColumn {
    name: String,
    is_float: bool,
    /// The JSON of its value where there is no row.
    empty: String,
    report: ColumnReport,
}

impl<'a> Compare<'a> {
    pub fn new(opened: &Opened, group: RowsId, replayed: &'a [(Tick, Tick)]) -> Result<Compare<'a>, Failure> {
        let (empty, shape) = (row_of_nothing(opened, group)?, opened.shape(group));
        let of_column = |(at, field): (usize, &std::sync::Arc<arrow::datatypes::Field>)| {
            // Derived columns follow the others, and are null.
            let empty = empty.columns().get(FIRST_COLUMN + at).map_or("null".to_owned(), |column| text(column, 0));
            let report = ColumnReport { column: field.name().clone(), ..ColumnReport::default() };
            OfColumn { name: field.name().clone(), is_float: field.data_type().is_floating(), empty, report }
        };
        let columns = shape.schema.fields()[shape.columns()].iter().enumerate().map(of_column).collect();
        let report = GroupReport { group: shape.name.clone(), ..GroupReport::default() };
        Ok(Compare { name: shape.name.clone(), keys: shape.keys, columns, replayed, others: BTreeSet::new(), report })
    }

    /// Reads all of them side by side.
    pub fn all(mut self, tables: &Tables, spine: &Spine) -> Result<GroupReport, Failure> {
        (self.report.rows, self.report.unreadable) = (spine.rows, spine.unreadable);
        let mut served = tables.served.as_deref().map(Rows::open).transpose()?;
        let (mut at_time, mut event) = (Rows::open(&tables.at_time)?, Rows::open(&tables.event)?);
        for arrival in Table::open(&tables.arrival.to_string_lossy(), Path::new(""))?.read(None)? {
            let arrival = arrival?;
            let count = arrival.num_rows();
            let served = served.as_mut().map(|rows| rows.next(count)).transpose()?;
            let (at_time, event) = (at_time.next(count)?, event.next(count)?);
            self.batch(&Batch { served: served.as_ref().unwrap_or(&arrival), arrival: &arrival, at_time, event });
        }
        self.report.other_columns = self.others.into_iter().collect();
        self.report.columns = self.columns.into_iter().map(|column| column.report).collect();
        Ok(self.report)
    }

    fn batch(&mut self, batch: &Batch) {
        let own = |name: &str| batch.arrival.column_by_name(name).expect("a column of the spine").clone();
        let (rows, moments, times) = (own(ROW), own(MOMENT), own(TIME));
        let rows = rows.as_string::<i32>();
        let time_of = |times: &ArrayRef, row: usize| times.as_primitive::<TimestampMicrosecondType>().value(row);
        for row in 0..batch.arrival.num_rows() {
            let text = rows.is_valid(row).then(|| rows.value(row));
            let values = text.map(serde_json::from_str::<BTreeMap<String, &RawValue>>).transpose();
            let Ok(values) = values else {
                self.report.unreadable += 1;
                continue;
            };
            let at = (time_of(&moments, row), time_of(&times, row));
            self.row(batch, row, values.as_ref(), at);
        }
    }

    /// `values`: what was served; `None`: no row. `at`: the row's tick, and when it was asked for.
    fn row(&mut self, batch: &Batch, row: usize, values: Option<&BTreeMap<String, &RawValue>>, at: (i64, i64)) {
        let is_known = |name: &&String| self.columns.iter().any(|column| column.name == **name);
        let others: Vec<String> =
            values.into_iter().flat_map(BTreeMap::keys).filter(|n| !is_known(n)).cloned().collect();
        self.others.extend(others);
        let was_replayed = self.replayed.iter().any(|(from, upto)| at.0 > from.us() && at.0 <= upto.us());
        for column in &mut self.columns {
            let found = match values {
                None => column.empty.clone(),
                Some(values) => match values.get(&column.name) {
                    Some(value) => value.get().to_owned(),
                    None => {
                        column.report.not_served += 1;
                        continue;
                    }
                },
            };
            let place = format!("{}__{}", self.name, column.name);
            let value = |of: &RecordBatch| of.column_by_name(&place).map_or_else(String::new, |c| text(c, row));
            let steps = Steps {
                served: value(batch.served),
                arrival: value(batch.arrival),
                at_time: value(&batch.at_time),
                event: value(&batch.event),
            };
            if !column.compare(&found, &steps, was_replayed, values.is_none())
                && column.report.examples.len() < EXAMPLES
            {
                column.report.examples.push(Example {
                    key: key_text(batch.arrival, 0..self.keys, row),
                    time: format_time(at.1),
                    as_of: format_time(at.0),
                    served: found,
                    expected: steps.served,
                });
            }
        }
    }
}

/// Rows of the backfills that belong together.
struct Batch<'a> {
    arrival: &'a RecordBatch,
    served: &'a RecordBatch,
    at_time: RecordBatch,
    event: RecordBatch,
}

/// A value as each backfill has it, as JSON.
struct Steps {
    served: String,
    arrival: String,
    at_time: String,
    event: String,
}

impl OfColumn {
    /// Counts a value that was served. Returns whether it is explained.
    fn compare(&mut self, found: &str, steps: &Steps, was_replayed: bool, is_no_row: bool) -> bool {
        let is_float = self.is_float;
        let same = |a: &str, b: &str| a == b || is_float && number(a).is_some() && number(a) == number(b);
        let report = &mut self.report;
        report.compared += 1;
        report.equal_to_arrival += u64::from(same(found, &steps.at_time));
        let is_equal = same(found, &steps.event);
        match is_equal {
            true => report.equal += 1,
            false if (found == "null") != (steps.event == "null") => report.null_on_one_side += 1,
            false => {
                report.different += 1;
                let by = number(found).zip(number(&steps.event)).map(|(a, b)| (a - b).abs());
                report.largest_difference = [report.largest_difference, by].into_iter().flatten().reduce(f64::max);
            }
        }
        if !same(found, &steps.served) {
            // A row may have left after its `as_of`, and before it was asked for.
            let has_left = is_no_row && same(found, &steps.at_time);
            report.explained.restart += u64::from(was_replayed && !has_left);
            report.explained.staleness += u64::from(has_left && !is_equal);
            report.unexplained += u64::from(!was_replayed && !has_left);
            return was_replayed || has_left;
        }
        if !is_equal {
            report.explained.late_admission += u64::from(!same(&steps.served, &steps.arrival));
            report.explained.staleness += u64::from(!same(&steps.arrival, &steps.at_time));
            report.explained.late_arrivals += u64::from(!same(&steps.at_time, &steps.event));
        }
        true
    }
}

/// A number, or a decimal in quotes.
fn number(text: &str) -> Option<f64> {
    text.trim_matches('"').parse().ok().filter(|number: &f64| number.is_finite())
}

fn text(column: &dyn Array, row: usize) -> String {
    let mut out = vec![];
    Column::json(column).write(&mut out, row);
    String::from_utf8_lossy(&out).into_owned()
}

/// Rows of a table, so many at a time.
struct Rows {
    schema: SchemaRef,
    batches: Batches,
    left: Option<RecordBatch>,
}

impl Rows {
    fn open(path: &Path) -> Result<Rows, Failure> {
        let table = Table::open(&path.to_string_lossy(), Path::new(""))?;
        Ok(Rows { schema: table.schema().clone(), batches: table.read(None)?, left: None })
    }

    fn next(&mut self, count: usize) -> Result<RecordBatch, Failure> {
        let (mut pieces, mut missing) = (vec![], count);
        while missing > 0 {
            let batch = match self.left.take() {
                Some(batch) => batch,
                None => self
                    .batches
                    .next()
                    .unwrap_or_else(|| Err(headwater_connectors::Error::world("comparing", "a table is too short")))?,
            };
            let taken = missing.min(batch.num_rows());
            pieces.push(batch.slice(0, taken));
            self.left = (taken < batch.num_rows()).then(|| batch.slice(taken, batch.num_rows() - taken));
            missing -= taken;
        }
        concat_batches(&self.schema, &pieces).map_err(|e| Failure::Running(format!("comparing: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was served, what the backfills give, and what is made of it: equal, null on one side, different, the reasons, unexplained.
    #[test]
    fn each_step_is_a_reason() {
        let table: [(&str, [&str; 4], &str); 9] = [
            ("3", ["3", "3", "3", "3"], "equal"),
            ("3", ["3", "3", "3", "4"], "different late_arrivals"),
            ("3", ["3", "3", "4", "4"], "different staleness"),
            ("3", ["3", "4", "4", "4"], "different late_admission"),
            ("3", ["3", "4", "5", "null"], "null late_admission staleness late_arrivals"),
            ("3", ["3", "4", "4", "3"], "equal"),
            ("3", ["4", "4", "4", "4"], "different unexplained"),
            ("3", ["4", "4", "4", "3"], "equal unexplained"),
            ("null", ["null", "null", "null", "0.5"], "null late_arrivals"),
        ];
        for (found, [served, arrival, at_time, event], expected) in table {
            let mut column = OfColumn {
                name: "c".to_owned(),
                is_float: true,
                empty: "0".to_owned(),
                report: ColumnReport::default(),
            };
            let steps = Steps {
                served: served.to_owned(),
                arrival: arrival.to_owned(),
                at_time: at_time.to_owned(),
                event: event.to_owned(),
            };
            let explained = column.compare(found, &steps, false, false);
            let ColumnReport { equal, null_on_one_side, different, explained: of, unexplained, .. } = column.report;
            let told = [
                (equal, "equal"),
                (null_on_one_side, "null"),
                (different, "different"),
                (of.late_admission, "late_admission"),
                (of.staleness, "staleness"),
                (of.late_arrivals, "late_arrivals"),
                (unexplained, "unexplained"),
            ];
            let told: Vec<&str> = told.iter().filter(|(n, _)| *n > 0).map(|(_, word)| *word).collect();
            assert_eq!(told.join(" "), expected, "{found} {served} {arrival} {at_time} {event}");
            assert_eq!(explained, unexplained == 0);
        }
    }

    #[test]
    fn what_a_killed_run_served_and_rows_that_have_left() {
        let steps = Steps { served: "3".into(), arrival: "3".into(), at_time: "0".into(), event: "0".into() };
        let new = || OfColumn { name: "c".into(), is_float: false, empty: "0".into(), report: ColumnReport::default() };
        let mut column = new();
        assert!(column.compare("7", &steps, true, false));
        assert_eq!((column.report.explained.restart, column.report.unexplained), (1, 0));
        assert!(new().compare("0", &steps, false, true), "there was no row any more");
        assert!(!new().compare("0", &steps, false, false), "a row that is none");
    }

    #[test]
    fn floats_are_compared_by_value_and_texts_are_not() {
        let steps =
            |text: &str| Steps { served: text.into(), arrival: text.into(), at_time: text.into(), event: text.into() };
        for (is_float, found, expected, same) in [
            (true, "1.0", "1", true),
            (false, "1.0", "1", false),
            (true, "\"NaN\"", "\"NaN\"", true),
            (true, "1", "2", false),
        ] {
            let mut column =
                OfColumn { name: "c".into(), is_float, empty: "0".into(), report: ColumnReport::default() };
            assert_eq!(column.compare(found, &steps(expected), false, false), same, "{found} {expected}");
        }
    }
}
