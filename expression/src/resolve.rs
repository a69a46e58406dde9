//! From a checked syntax tree to a physical expression: types are found and reconciled as DataFusion's analyzer does it.
//!
//! DataFusion's simplifier stays out: it rewrites what could fail into what cannot (`power(1 / x, 0)` into 1), and the same
//! event must fail whatever a newer version knows to simplify. Only functions that exist in no other form are rewritten.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{Expr, ExprSchemable, cast};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{Expr as Syntax, Spanned};
use datafusion_sql::sqlparser::tokenizer::Location;

use super::checked::checked;
use super::dialect::DIALECT;
use super::evaluate::guarded;
use super::integers::{counted, negation, widened};
use super::parse::offset;
use super::path::{flattened, trail};
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

/// What bytes without a type are to an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bytes {
    AsTheyAre,
    /// Old writers do not say of texts that they are.
    Texts,
}

/// What is known of the columns.
#[derive(Clone, Copy)]
struct KnownColumns<'a> {
    /// Of the source: all of them, as they are nested.
    schema: &'a Schema,
    /// Those that the text names, by their paths.
    inputs: &'a SchemaRef,
    bytes: Bytes,
}

/// A field that does not decode is null.
pub(super) fn nullable(inputs: &SchemaRef) -> SchemaRef {
    let fields = inputs.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// `declared` are the columns that the text names, in the order in which the program will be given them.
pub(super) fn resolve(
    sql: &str,
    syntax: &Syntax,
    schema: &Schema,
    declared: &SchemaRef,
    bytes: Bytes,
) -> Result<Resolved, ExpressionError> {
    let known = KnownColumns { schema, inputs: declared, bytes };
    let inputs = &nullable(declared);
    let of_events = KnownColumns { inputs, ..known };
    let physical = probed(syntax, of_events).map_err(|error| innermost(sql, syntax, of_events, &error))?;
    let data_type = physical.data_type(inputs).map_err(|error| told(sql, &error))?;
    let logical = logical(syntax, known).ok();
    let known = DFSchema::try_from(declared.as_ref().clone()).map_err(|error| told(sql, &error))?;
    let nullable = logical.as_ref().and_then(|logical| logical.expr.nullable(&known).ok()).unwrap_or(true);
    let is_widened = logical.is_some_and(|logical| logical.is_widened);
    let program = if physical.downcast_ref::<Column>().is_some() { Program::Column } else { Program::Tree(physical) };
    Ok(Resolved { program, data_type, nullable, is_widened })
}

/// An expression that fails without a row, on a row of nulls and on one of zeros is wrong whatever the events are. (One
/// such row would not do: `CASE WHEN x IS NULL THEN 1 / 0 ELSE x END` is right.)
fn probed(syntax: &Syntax, columns: KnownColumns) -> Result<Arc<dyn PhysicalExpr>> {
    let inputs = columns.inputs;
    let known = DFSchema::try_from(inputs.as_ref().clone())?;
    let properties = ExecutionProps { config_options: Some(DIALECT.shared_options()), ..ExecutionProps::new() };
    let planning = PhysicalPlanningContext::default();
    let physical = create_physical_expr(&logical(syntax, columns)?.expr, &known, &properties, &planning)?;
    let physical = checked(physical, inputs)?;
    let run = |rows: &RecordBatch| guarded(|| physical.evaluate(rows));
    let nulls = one_row(inputs, |data_type| Ok(new_null_array(data_type, 1)))?;
    let zero = |data_type: &DataType| match ScalarValue::new_default(data_type) {
        Ok(zero) => zero.to_array_of_size(1),
        Err(_) => Ok(new_null_array(data_type, 1)),
    };
    let outcome = run(&nulls);
    if outcome.is_err() && run(&nulls.slice(0, 0)).is_err() && run(&one_row(inputs, zero)?).is_err() {
        outcome?;
    }
    Ok(physical)
}

fn one_row(inputs: &SchemaRef, value: impl Fn(&DataType) -> Result<ArrayRef>) -> Result<RecordBatch> {
    let columns = inputs.fields().iter().map(|field| value(field.data_type())).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(Arc::clone(inputs), columns, &options)?)
}

struct Logical {
    expr: Expr,
    /// It has arithmetic of integers with less than 64 bits.
    is_widened: bool,
}

fn logical(syntax: &Syntax, KnownColumns { schema, inputs, bytes }: KnownColumns) -> Result<Logical> {
    let of_source = DFSchema::try_from(schema.clone())?;
    let planned = SqlToRel::new(&*DIALECT).sql_to_expr(syntax.clone(), &of_source, &mut PlannerContext::new())?;
    let planned = flattened(planned, schema)?;
    let known = &DFSchema::try_from(inputs.as_ref().clone())?;
    let planned = if bytes == Bytes::Texts { as_texts(planned, known)? } else { planned };
    let planned = planned.transform_up(counted).data()?;
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

/// The expression, in which each column of bytes is one of texts, and so is what is taken out of a column.
fn as_texts(expr: Expr, known: &DFSchema) -> Result<Expr> {
    let is_read = |expr: &Expr| match expr {
        Expr::Column(_) => true,
        Expr::ScalarFunction(call) => matches!(call.func.name(), "get_field" | "array_element"),
        _ => false,
    };
    let text = |expr: Expr| {
        let is_bytes = is_read(&expr) && expr.get_type(known)? == DataType::Binary;
        Ok(if is_bytes { Transformed::yes(cast(expr, DataType::Utf8)) } else { Transformed::no(expr) })
    };
    expr.transform_up(text).data()
}

pub(super) fn rewrite(expr: Expr, context: &SimplifyContext) -> Result<Transformed<Expr>> {
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
fn innermost(sql: &str, syntax: &Syntax, known: KnownColumns, whole: &DataFusionError) -> ExpressionError {
    match search(syntax, known) {
        Some((start, error)) => {
            let error = told(sql, &error);
            ExpressionError { offset: error.offset.or_else(|| offset(sql, start)), ..error }
        }
        None => told(sql, whole),
    }
}

/// The first part that is wrong while its own parts are right.
fn search(syntax: &Syntax, known: KnownColumns) -> Option<(Location, DataFusionError)> {
    // What a path begins with may be nothing by itself.
    let parts = parts(syntax).into_iter().flatten().skip(usize::from(trail(syntax).is_some()));
    let inside = parts.into_iter().find_map(|part| search(part, known));
    inside.or_else(|| Some((syntax.span().start, probed(syntax, known).err()?)))
}

/// One line of what DataFusion says, without its own headings.
pub(super) fn told(sql: &str, error: &DataFusionError) -> ExpressionError {
    let message = error.find_root().message().split_whitespace().collect::<Vec<_>>().join(" ");
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let offset = span.and_then(|span| offset(sql, Location { line: span.start.line, column: span.start.column }));
    ExpressionError { message, offset }
}
