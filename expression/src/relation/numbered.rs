//! `ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...)`, under a condition that says how many rows of each part there are at most.

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::logical_plan::Window;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, Filter, LogicalPlan, Operator, WindowFunctionDefinition};

use super::compile::{compile, ordered, place};
use super::context::ROW_NUMBER;
use super::lowered::{Lowered, refused};
use super::{Node, Top};

/// The one call of `ROW_NUMBER` of a window.
pub fn call(window: &Window) -> Option<&WindowFunction> {
    let [expr] = window.window_expr.as_slice() else { return None };
    let expr = if let Expr::Alias(alias) = expr { &alias.expr } else { expr };
    let Expr::WindowFunction(call) = expr else { return None };
    let is_it = matches!(&call.fun, WindowFunctionDefinition::WindowUDF(function) if function.name() == ROW_NUMBER);
    is_it.then_some(call)
}

/// How many rows of each part a condition lets pass, where it is over the number of a window below.
pub fn bound(filter: &Filter) -> Option<usize> {
    let schema = filter.input.schema();
    let numbers: Vec<usize> = (0..schema.fields().len()).filter(|column| is_number(&filter.input, *column)).collect();
    let conditions = split_conjunction(&filter.predicate);
    let most =
        conditions.iter().flat_map(|condition| numbers.iter().filter_map(|number| most(condition, schema, *number)));
    most.min().map(|most| usize::try_from(most).unwrap_or(0))
}

/// Whether a column is the number of the window below, as it is.
fn is_number(plan: &LogicalPlan, column: usize) -> bool {
    match plan {
        LogicalPlan::Window(window) => call(window).is_some() && column == window.schema.fields().len() - 1,
        LogicalPlan::SubqueryAlias(alias) => is_number(&alias.input, column),
        LogicalPlan::Filter(filter) => is_number(&filter.input, column),
        LogicalPlan::Projection(projection) => {
            let expr = projection.expr.get(column).map(|expr| expr.clone().unalias_nested().data);
            let Some(Expr::Column(named)) = expr else { return false };
            projection.input.schema().index_of_column(&named).is_ok_and(|column| is_number(&projection.input, column))
        }
        _ => false,
    }
}

/// The greatest number that a condition lets pass.
fn most(condition: &Expr, schema: &DFSchema, number: usize) -> Option<i64> {
    let is_number = |expr: &Expr| matches!(uncast(expr), Expr::Column(column) if schema.index_of_column(column).ok() == Some(number));
    match condition {
        Expr::Between(between) if !between.negated && is_number(&between.expr) => value(&between.high),
        Expr::BinaryExpr(binary) if is_number(&binary.left) => {
            let most = value(&binary.right)?;
            match binary.op {
                Operator::Eq | Operator::LtEq => Some(most),
                Operator::Lt => most.checked_sub(1),
                _ => None,
            }
        }
        Expr::BinaryExpr(binary) if is_number(&binary.right) => {
            let most = value(&binary.left)?;
            match binary.op {
                Operator::Eq | Operator::GtEq => Some(most),
                Operator::Gt => most.checked_sub(1),
                _ => None,
            }
        }
        _ => None,
    }
}

fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => uncast(&cast.expr),
        other => other,
    }
}

fn value(expr: &Expr) -> Option<i64> {
    let Expr::Literal(value, _) = uncast(expr) else { return None };
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(value) => value,
        _ => None,
    }
}

/// The first rows of each part, numbered.
pub fn lower(of: Lowered, window: &Window, limit: usize) -> Result<Lowered> {
    let Some(called) = call(window) else { return refused("OVER is not supported but for ROW_NUMBER()") };
    let (Lowered { node, mut types, unique }, schema) = (of, window.input.schema());
    let parts =
        called.params.partition_by.iter().map(|expr| compile(expr, schema, &types)).collect::<Result<Vec<_>>>()?;
    let order = ordered(&called.params.order_by, schema, &types)?;
    if order.is_empty() {
        return refused("ROW_NUMBER() needs an ORDER BY: it says which rows come first");
    }
    let places: Option<Vec<usize>> = parts.iter().map(place).collect();
    let number = types.len();
    let unique = match places {
        None => unique,
        Some(parts) if limit == 1 => unique.and(parts),
        Some(parts) => unique.and(parts.into_iter().chain([number]).collect()),
    };
    types.push(DataType::UInt64);
    Ok(Lowered { node: Node::Top(Box::new(Top { of: node, parts, order, limit, numbered: true })), types, unique })
}
