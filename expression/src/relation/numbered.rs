//! `ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...)`, under a condition that says how many rows of each part there are at most.

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::logical_plan::Window;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, Filter, LogicalPlan, Operator, WindowFunctionDefinition};

use super::compile::{compile, place};
use super::context::ROW_NUMBER;
use super::lower::{Lowered, ordered};
use super::query::refused;
use super::{Node, Top};

/// The one call of `ROW_NUMBER` of a window.
pub fn call(window: &Window) -> Option<&WindowFunction> {
    let [expr] = window.window_expr.as_slice() else { return None };
    let expr = if let Expr::Alias(alias) = expr { &alias.expr } else { expr };
    let Expr::WindowFunction(call) = expr else { return None };
    let is_it = matches!(&call.fun, WindowFunctionDefinition::WindowUDF(function) if function.name() == ROW_NUMBER);
    is_it.then_some(call)
}

/// The window below a condition, and how many rows that lets pass of each part.
pub fn bound(filter: &Filter) -> Result<Option<(&Window, usize)>> {
    let LogicalPlan::Window(window) = filter.input.as_ref() else { return Ok(None) };
    if call(window).is_none() {
        return Ok(None);
    }
    let number = window.schema.fields().len() - 1;
    let conditions = split_conjunction(&filter.predicate);
    let bounds = conditions.into_iter().filter_map(|condition| most(condition, &window.schema, number));
    match bounds.min() {
        None => {
            refused("ROW_NUMBER() needs an upper bound: a condition like `WHERE place <= 3`, by itself or behind AND")
        }
        Some(most) => Ok(Some((window, usize::try_from(most).unwrap_or(0)))),
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
