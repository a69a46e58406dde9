//! Times are in microseconds, in an expression too.
//!
//! DataFusion plans `TIMESTAMP '...'`, and a text that is compared with a time, in nanoseconds. Alone that would be one zero
//! more, but nanoseconds end in 2262: `valid_until > '2026-01-01'` would fail on the 9999-12-31 by which many say "never".

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{Between, BinaryExpr, InList};
use datafusion_expr::planner::TypePlanner;
use datafusion_expr::{Expr, ExprSchemable, Operator, cast};
use datafusion_sql::sqlparser::ast::{DataType as SqlType, TimezoneInfo};

/// `TIMESTAMP` without a precision is `TIMESTAMP(6)`.
#[derive(Debug)]
pub(super) struct Microseconds;

impl TypePlanner for Microseconds {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let SqlType::Timestamp(None, zone) = sql_type else { return Ok(None) };
        let zoned = matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, zoned.then(|| "UTC".into()));
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

/// Gives a text that is compared with a time of microseconds the type of that time. To be called before types are coerced.
pub(super) fn texts_to_times(expr: Expr, known: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let (of_left, of_right) = (microseconds(&left, known), microseconds(&right, known));
            let (left, right) = (as_time(left, of_right.as_ref()), as_time(right, of_left.as_ref()));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let time = microseconds(&expr, known);
            let (low, high) = (as_time(low, time.as_ref()), as_time(high, time.as_ref()));
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::InList(InList { expr, list, negated }) => {
            let time = microseconds(&expr, known);
            let list = list.into_iter().map(|item| *as_time(Box::new(item), time.as_ref())).collect();
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        expr => Transformed::no(expr),
    })
}

fn is_comparison(op: Operator) -> bool {
    use Operator::*;
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn microseconds(expr: &Expr, known: &DFSchema) -> Option<DataType> {
    let data_type = expr.get_type(known).ok()?;
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _)).then_some(data_type)
}

#[allow(clippy::boxed_local)] // as it lies in the tree
fn as_time(expr: Box<Expr>, time: Option<&DataType>) -> Box<Expr> {
    match (*expr, time) {
        (text @ Expr::Literal(ScalarValue::Utf8(Some(_)), _), Some(time)) => Box::new(cast(text, time.clone())),
        (expr, _) => Box::new(expr),
    }
}
