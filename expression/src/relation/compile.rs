//! Expressions of a plan, over the columns of the node below by their places.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, DFSchema, Result};
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::Sort;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion_physical_expr::create_physical_expr;

use super::Order;
use super::lowered::refused;
use crate::checked::checked;
use crate::dialect::DIALECT;
use crate::integers::negation;
use crate::normal::normal_type;
use crate::resolve::rewrite;
use crate::{Expression, Program};

/// Compiles an expression of a plan. `types`: of the columns of the node below, whose names are those of `schema`.
pub fn compile(expr: &Expr, schema: &DFSchema, types: &[DataType]) -> Result<Expression> {
    let mut used: Vec<usize> = vec![];
    let by_place = expr.clone().unalias_nested().data.transform_up(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        let at = schema.index_of_column(column)?;
        if !used.contains(&at) {
            used.push(at);
        }
        Ok(Transformed::yes(Expr::Column(Column::new_unqualified(at.to_string()))))
    });
    let by_place = by_place.data()?;
    if let Expr::Column(_) = by_place {
        return Ok(column(used[0], types));
    }
    let fields: Vec<Field> = used.iter().map(|at| Field::new(at.to_string(), types[*at].clone(), true)).collect();
    let inputs = Arc::new(Schema::new(fields));
    let known = DFSchema::try_from(inputs.as_ref().clone())?;
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(known.clone()))
        .with_config_options(DIALECT.shared_options())
        .build();
    let coerced = by_place.rewrite(&mut TypeCoercionRewriter::new(&known)).data()?;
    let coerced = coerced.transform_up(|expr| negation(expr, &known)).data()?;
    let rewritten = coerced.transform_up(|expr| rewrite(expr, &context)).data()?;
    let properties = ExecutionProps { config_options: Some(DIALECT.shared_options()), ..ExecutionProps::new() };
    let physical = create_physical_expr(&rewritten, &known, &properties, &PhysicalPlanningContext::default())?;
    let physical = checked(physical, &inputs)?;
    let found = physical.data_type(&inputs)?;
    let Some(data_type) = normal_type(&found) else {
        return refused(format!("`{expr}` is of type {found}, which no column can have"));
    };
    Ok(Expression {
        columns: used.iter().map(usize::to_string).collect(),
        inputs,
        program: Program::Tree(physical),
        data_type,
        nullable: true,
        is_widened: false,
    })
}

/// An order, compiled.
pub fn ordered(order: &[Sort], schema: &DFSchema, types: &[DataType]) -> Result<Vec<Order>> {
    let one = |sort: &Sort| {
        let by = compile(&sort.expr, schema, types)?;
        Ok(Order { by, descending: !sort.asc, nulls_first: sort.nulls_first })
    };
    order.iter().map(one).collect()
}

/// A column as it is.
pub fn column(at: usize, types: &[DataType]) -> Expression {
    let field = Field::new(at.to_string(), types[at].clone(), true);
    Expression {
        columns: vec![at.to_string()],
        inputs: Arc::new(Schema::new(vec![field])),
        program: Program::Column,
        data_type: types[at].clone(),
        nullable: true,
        is_widened: false,
    }
}

/// The place of the column that an expression is; `None`: it is none as it stands.
pub fn place(expression: &Expression) -> Option<usize> {
    if !expression.is_column() {
        return None;
    }
    expression.columns().first()?.parse().ok()
}

/// All columns as they are.
pub fn all(types: &[DataType]) -> Vec<Expression> {
    (0..types.len()).map(|at| column(at, types)).collect()
}
