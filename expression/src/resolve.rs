//! From a checked syntax tree to a physical expression: types are found and reconciled as DataFusion's analyzer does it.
//!
//! DataFusion's simplifier stays out: it rewrites what could fail into what cannot (`power(1 / x, 0)` into 1), and the same
//! event must fail whatever a newer version knows to simplify. Only functions that exist in no other form are rewritten.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{Expr as Syntax, Spanned};
use datafusion_sql::sqlparser::tokenizer::Location;

use super::checked::checked;
use super::dialect::DIALECT;
use super::evaluate::guarded;
use super::integers::{negation, widened};
use super::parse::offset;
use super::syntax::parts;
use super::times::texts_to_times;
use super::{ExpressionError, Program};

/// Functions that DataFusion itself cannot call: their `simplify` says what they mean.
const REWRITTEN: [&str; 7] =
    ["arrow_cast", "arrow_try_cast", "cast_to_type", "coalesce", "nvl", "nvl2", "try_cast_to_type"];

pub(super) struct Resolved {
    pub(super) program: Program,
    pub(super) data_type: DataType,
    pub(super) nullable: bool,
    pub(super) is_widened: bool,
}

/// `inputs` are the columns that the text names, in the order in which the program will be given them.
pub(super) fn resolve(
    sql: &str,
    syntax: &Syntax,
    schema: &Schema,
    inputs: &SchemaRef,
) -> Result<Resolved, ExpressionError> {
    let physical = probed(syntax, inputs).map_err(|error| innermost(sql, syntax, inputs, &error))?;
    let data_type = physical.data_type(inputs).map_err(|error| told(sql, &error))?;
    let declared = DFSchema::try_from(schema.clone()).map_err(|error| told(sql, &error))?;
    let logical = logical(syntax, &declared).ok();
    let nullable = logical.as_ref().and_then(|logical| logical.expr.nullable(&declared).ok()).unwrap_or(true);
    let is_widened = logical.is_some_and(|logical| logical.is_widened);
    let program = if physical.downcast_ref::<Column>().is_some() { Program::Column } else { Program::Tree(physical) };
    Ok(Resolved { program, data_type, nullable, is_widened })
}

/// An expression that fails without a row, on a row of nulls and on one of zeros is wrong whatever the events are. (One
/// such row would not do: `CASE WHEN x IS NULL THEN 1 / 0 ELSE x END` is right.)
fn probed(syntax: &Syntax, inputs: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
    let known = DFSchema::try_from(inputs.as_ref().clone())?;
    let properties = ExecutionProps { config_options: Some(DIALECT.shared_options()), ..ExecutionProps::new() };
    let planning = PhysicalPlanningContext::default();
    let physical = create_physical_expr(&logical(syntax, &known)?.expr, &known, &properties, &planning)?;
    let physical = checked(physical, inputs)?;
    let run = |rows: &RecordBatch| guarded(|| physical.evaluate(rows));
    let nulls = one_row(inputs, |data_type| ScalarValue::try_from(data_type))?;
    let outcome = run(&nulls);
    if outcome.is_err() && run(&nulls.slice(0, 0)).is_err() && run(&one_row(inputs, ScalarValue::new_default)?).is_err()
    {
        outcome?;
    }
    Ok(physical)
}

fn one_row(inputs: &SchemaRef, value: impl Fn(&DataType) -> Result<ScalarValue>) -> Result<RecordBatch> {
    let types = inputs.fields().iter().map(|field| field.data_type());
    let columns = types.map(|data_type| value(data_type)?.to_array_of_size(1)).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(Arc::clone(inputs), columns, &options)?)
}

struct Logical {
    expr: Expr,
    /// It has arithmetic of integers with less than 64 bits.
    is_widened: bool,
}

fn logical(syntax: &Syntax, known: &DFSchema) -> Result<Logical> {
    let planned = SqlToRel::new(&*DIALECT).sql_to_expr(syntax.clone(), known, &mut PlannerContext::new())?;
    let planned = planned.transform_up(|expr| texts_to_times(expr, known)).data()?;
    let Transformed { data: planned, transformed: is_widened, .. } =
        planned.transform_up(|expr| widened(expr, known))?;
    let coerced = planned.rewrite(&mut TypeCoercionRewriter::new(known)).data()?;
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(known.clone()))
        .with_config_options(DIALECT.shared_options())
        .build();
    let coerced = coerced.transform_up(|expr| negation(expr, known)).data()?;
    Ok(Logical { expr: coerced.transform_up(|expr| rewrite(expr, &context)).data()?, is_widened })
}

fn rewrite(expr: Expr, context: &SimplifyContext) -> Result<Transformed<Expr>> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) if REWRITTEN.contains(&func.name()) => {
            match func.simplify(args, context)? {
                ExprSimplifyResult::Simplified(expr) => Ok(Transformed::yes(expr)),
                ExprSimplifyResult::Original(args) => {
                    Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })))
                }
            }
        }
        expr => Ok(Transformed::no(expr)),
    }
}

/// The smallest part of the text that is wrong by itself: its message is the plainest, and its place the nearest.
fn innermost(sql: &str, syntax: &Syntax, inputs: &SchemaRef, whole: &DataFusionError) -> ExpressionError {
    match search(syntax, inputs) {
        Some((start, error)) => {
            let error = told(sql, &error);
            ExpressionError { offset: error.offset.or_else(|| offset(sql, start)), ..error }
        }
        None => told(sql, whole),
    }
}

/// The first part that is wrong while its own parts are right.
fn search(syntax: &Syntax, inputs: &SchemaRef) -> Option<(Location, DataFusionError)> {
    let inside = parts(syntax).into_iter().flatten().find_map(|part| search(part, inputs));
    inside.or_else(|| Some((syntax.span().start, probed(syntax, inputs).err()?)))
}

/// One line of what DataFusion says, without its own headings.
fn told(sql: &str, error: &DataFusionError) -> ExpressionError {
    let message = error.find_root().message().split_whitespace().collect::<Vec<_>>().join(" ");
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let offset = span.and_then(|span| offset(sql, Location { line: span.start.line, column: span.start.column }));
    ExpressionError { message, offset }
}
