//! From DataFusion's plan to nodes.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, JoinType, NullEquality, Result, ScalarValue};
use datafusion_expr::expr::AggregateFunction as Called;
use datafusion_expr::logical_plan::{FetchType, SkipType};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Aggregate, Distinct, Expr, Filter, Limit, LogicalPlan, Operator, TableScan, when};

use super::compile::{all, column, compile, ordered, place};
use super::context::{Aggregated, Source};
use super::lowered::{Lowered, refused};
use super::numbered;
use super::unique::{Part, Unique};
use super::{Call, Collection, Join, JoinKind, Node, Top};
use crate::Expression;
use crate::normal::normal_type;

/// Lowers a plan. `collections`: what it reads.
pub fn lower(plan: &LogicalPlan, collections: &[Collection]) -> Result<Lowered> {
    lower_up_to(plan, None, collections)
}

/// The same; `most`: above, only rows with a `ROW_NUMBER()` up to it are kept.
fn lower_up_to(plan: &LogicalPlan, most: Option<usize>, collections: &[Collection]) -> Result<Lowered> {
    let lower = |plan: &LogicalPlan| lower(plan, collections);
    match plan {
        LogicalPlan::TableScan(scan) => read(scan, collections),
        LogicalPlan::SubqueryAlias(alias) => lower_up_to(&alias.input, most, collections),
        LogicalPlan::Projection(projection) => {
            let of = lower_up_to(&projection.input, most, collections)?;
            project(of, projection.input.schema(), &projection.expr)
        }
        LogicalPlan::Filter(filter) => {
            let most = most.into_iter().chain(numbered::bound(filter)).min();
            keep(lower_up_to(&filter.input, most, collections)?, filter)
        }
        LogicalPlan::Aggregate(aggregate) => aggregated(lower(&aggregate.input)?, aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let Lowered { node, types, unique } = lower(input)?;
            let unique = unique.and((0..types.len()).collect());
            Ok(Lowered { node: Node::Distinct(Box::new(node)), types, unique })
        }
        LogicalPlan::Distinct(Distinct::On(_)) => {
            refused("DISTINCT ON is not supported: ROW_NUMBER() with an upper bound is")
        }
        LogicalPlan::Union(union) => {
            let all = union.inputs.iter().map(|input| lower(input)).collect::<Result<Vec<_>>>()?;
            let types = all[0].types.clone();
            if let Some(other) = all.iter().find(|other| other.types != types) {
                return refused(format!("UNION of other types: {types:?} and {:?}", other.types));
            }
            let unique = Unique::none("UNION ALL may give a row twice: use UNION, or GROUP BY around it");
            Ok(Lowered { node: Node::Union(all.into_iter().map(|one| one.node).collect()), types, unique })
        }
        LogicalPlan::Join(join) => joined(join, (lower(&join.left)?, lower(&join.right)?)),
        LogicalPlan::Limit(limit) => limited(limit, collections),
        LogicalPlan::Sort(_) => refused("ORDER without LIMIT has no meaning: rows of a view have no order"),
        LogicalPlan::Window(window) => match (numbered::call(window), most) {
            (Some(_), Some(most)) => numbered::lower(lower(&window.input)?, window, most),
            (Some(_), None) => {
                refused("ROW_NUMBER() needs an upper bound: a query around it with a condition like `WHERE place <= 3`")
            }
            (None, _) => refused("OVER is not supported but for one ROW_NUMBER() with an upper bound"),
        },
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
            refused("rows that are read from nothing are not supported: name a collection in FROM")
        }
        LogicalPlan::RecursiveQuery(_) => refused("RECURSIVE queries are not supported"),
        LogicalPlan::Unnest(_) => refused("UNNEST is not supported"),
        LogicalPlan::Subquery(_) => refused("a subquery is not supported where it does not become a join"),
        other => refused(format!("{} is not supported", other.display())),
    }
}

fn read(scan: &TableScan, collections: &[Collection]) -> Result<Lowered> {
    let Some(source) = scan.source.downcast_ref::<Source>() else {
        return refused(format!("`{}` cannot be read", scan.table_name));
    };
    let of = &collections[source.number];
    let whole = (0..of.fields.len()).collect();
    let columns = scan.projection.clone().unwrap_or(whole);
    // A row has a column, also where only rows are counted.
    let columns = if columns.is_empty() { vec![0] } else { columns };
    let types = columns.iter().map(|column| of.fields[*column].1.clone()).collect();
    let kept = |part: Part| match part {
        Part::Column(at) => columns.iter().position(|column| *column == at).map(Part::Column),
        Part::Either(..) => None,
    };
    let unique = Unique::of(of.keys.iter().cloned()).map(kept);
    Ok(Lowered { node: Node::Read { collection: source.number, columns }, types, unique })
}

fn types(expressions: &[Expression]) -> Vec<DataType> {
    expressions.iter().map(|expression| expression.data_type().clone()).collect()
}

/// What expressions give over a node.
fn project(of: Lowered, schema: &DFSchema, exprs: &[Expr]) -> Result<Lowered> {
    if let Some(expr) = exprs.iter().find(|expr| has_subquery(expr)) {
        return refused(format!("a subquery is not supported where it does not become a join: `{expr}`"));
    }
    let mut columns = exprs.iter().map(|expr| compile(expr, schema, &of.types)).collect::<Result<Vec<_>>>()?;
    let kept = |part: Part| match part {
        Part::Column(at) => columns.iter().position(|column| place(column) == Some(at)).map(Part::Column),
        Part::Either(a, b) => exprs.iter().position(|expr| is_either(expr, schema, (a, b))).map(Part::Column),
    };
    let unique = of.unique.map(kept);
    if columns.is_empty() {
        columns.push(column(0, &of.types));
    }
    let types = types(&columns);
    let node = match of.node {
        // What only passes is not made twice.
        Node::Map { of: below, condition, columns: passed }
            if passed.iter().enumerate().all(|(at, one)| place(one) == Some(at)) =>
        {
            Node::Map { of: below, condition, columns }
        }
        below => Node::Map { of: Box::new(below), condition: None, columns },
    };
    Ok(Lowered { node, types, unique })
}

/// Whether an expression is `coalesce` of two columns.
fn is_either(expr: &Expr, schema: &DFSchema, (a, b): (usize, usize)) -> bool {
    let expr = expr.clone().unalias_nested().data;
    let Expr::ScalarFunction(call) = &expr else { return false };
    let at = |arg: &Expr| if let Expr::Column(column) = arg { schema.index_of_column(column).ok() } else { None };
    let named: Vec<Option<usize>> = call.args.iter().map(at).collect();
    call.func.name() == "coalesce" && (named == [Some(a), Some(b)] || named == [Some(b), Some(a)])
}

fn has_subquery(expr: &Expr) -> bool {
    use datafusion_common::tree_node::TreeNode;
    let is_one = |expr: &Expr| {
        matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
    };
    expr.exists(|expr| Ok(is_one(expr))).unwrap_or(true)
}

fn keep(of: Lowered, filter: &Filter) -> Result<Lowered> {
    filtered(of, filter.input.schema(), &filter.predicate)
}

/// The rows for which a condition is true.
fn filtered(of: Lowered, schema: &DFSchema, predicate: &Expr) -> Result<Lowered> {
    if has_subquery(predicate) {
        return refused(format!(
            "a subquery is supported in WHERE, as a condition by itself or behind AND: `{predicate}`"
        ));
    }
    let condition = compile(predicate, schema, &of.types)?;
    let constant: Vec<usize> = split_conjunction(predicate).iter().filter_map(|one| constant(one, schema)).collect();
    let Lowered { node, types, unique } = of;
    let node = Node::Map { of: Box::new(node), condition: Some(condition), columns: all(&types) };
    Ok(Lowered { node, types, unique: unique.without(&constant) })
}

/// The column that a condition says to be equal to a constant.
fn constant(condition: &Expr, schema: &DFSchema) -> Option<usize> {
    let Expr::BinaryExpr(equal) = condition else { return None };
    let (column, value) = match (&*equal.left, &*equal.right) {
        (Expr::Column(column), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(column)) => {
            (column, value)
        }
        _ => return None,
    };
    if equal.op == Operator::Eq && !value.is_null() { schema.index_of_column(column).ok() } else { None }
}

fn aggregated(of: Lowered, aggregate: &Aggregate) -> Result<Lowered> {
    let schema = aggregate.input.schema();
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        return refused("GROUPING SETS, CUBE and ROLLUP are not supported");
    }
    let by = aggregate.group_expr.iter().map(|expr| compile(expr, schema, &of.types)).collect::<Result<Vec<_>>>()?;
    let (mut inputs, mut texts, mut calls, mut results) = (vec![], vec![], vec![], vec![]);
    for expr in &aggregate.aggr_expr {
        let expr = expr.clone().unalias_nested().data;
        let Expr::AggregateFunction(called) = &expr else { return refused(format!("`{expr}` is no aggregate")) };
        let (function, input, number) = call(called)?;
        let place = match input {
            None => None,
            Some(input) => {
                let known = texts.iter().position(|text| *text == input);
                Some(match known {
                    Some(known) => known,
                    None => {
                        let compiled = compile(&input, schema, &of.types)?;
                        if normal_type(compiled.data_type()).is_none() {
                            return refused(format!("`{expr}`: lists are not aggregated"));
                        }
                        inputs.push(compiled);
                        texts.push(input);
                        inputs.len() - 1
                    }
                })
            }
        };
        let result = match place {
            None => Ok(DataType::Int64),
            Some(place) => (function.result)(inputs[place].data_type()),
        };
        let Ok(result) = result.map_err(|_: String| ()) else {
            return refused(format!("`{expr}` is of another type than it needs"));
        };
        calls.push(Call { name: function.name, input: place, number });
        results.push(result);
    }
    let unique = Unique::of([(0..by.len()).collect::<Vec<_>>()]);
    let types: Vec<DataType> = types(&by).into_iter().chain(results).collect();
    let node = match calls.is_empty() {
        // A key without anything else is there once.
        true => Node::Distinct(Box::new(Node::Map { of: Box::new(of.node), condition: None, columns: by })),
        false => Node::Aggregate { of: Box::new(of.node), by, inputs, calls },
    };
    Ok(Lowered { node, types, unique })
}

/// Which aggregate is called, of what, and with which number.
fn call(called: &Called) -> Result<(super::AggregateFunction, Option<Expr>, Option<f64>)> {
    let params = &called.params;
    let Some(function) = called.func.inner().downcast_ref::<Aggregated>() else {
        return refused(format!("the aggregate `{}` is not supported", called.func.name()));
    };
    let mut function = function.of.clone();
    if !params.order_by.is_empty() {
        return refused(format!("`{}` takes no ORDER BY", function.name));
    }
    if params.null_treatment.is_some() {
        return refused(format!("`{}` skips nulls, and takes no word about them", function.name));
    }
    if params.distinct {
        let Some(name) = function.of_distinct else {
            return refused(format!("`{}` of DISTINCT values is not supported", function.name));
        };
        (function.name, function.counts_rows) = (name, function.counts_rows && name == function.name);
    }
    let number = match params.args.get(1) {
        None => None,
        Some(Expr::Literal(value, _)) => match value.cast_to(&DataType::Float64)? {
            ScalarValue::Float64(number) => number,
            _ => None,
        },
        Some(other) => {
            return refused(format!("`{}` takes a number as it is written, and not `{other}`", function.name));
        }
    };
    let of = params
        .args
        .first()
        .filter(|of| !function.counts_rows || !matches!(of, Expr::Literal(value, _) if !value.is_null()));
    let of = match (of, &params.filter) {
        (of, None) => of.cloned(),
        (of, Some(filter)) => {
            let one = Expr::Literal(ScalarValue::Int64(Some(1)), None);
            Some(when(filter.as_ref().clone(), of.cloned().unwrap_or(one)).end()?)
        }
    };
    Ok((function, of, number))
}

fn joined(join: &datafusion_expr::logical_plan::Join, (left, right): (Lowered, Lowered)) -> Result<Lowered> {
    use JoinType::*;
    if join.null_aware {
        return refused("NOT IN with a subquery that may have nulls is not supported: NOT EXISTS is");
    }
    let (kind, swapped) = match join.join_type {
        Inner => (JoinKind::Inner, false),
        Left => (JoinKind::Left, false),
        Right => (JoinKind::Right, false),
        Full => (JoinKind::Full, false),
        LeftSemi => (JoinKind::Semi, false),
        LeftAnti => (JoinKind::Anti, false),
        RightSemi => (JoinKind::Semi, true),
        RightAnti => (JoinKind::Anti, true),
        LeftMark | RightMark => {
            return refused(
                "EXISTS and IN with a subquery are supported in WHERE, as a condition by itself or behind AND",
            );
        }
    };
    let (of_left, of_right) = (join.left.schema(), join.right.schema());
    let on_left =
        join.on.iter().map(|(left_key, _)| compile(left_key, of_left, &left.types)).collect::<Result<Vec<_>>>()?;
    let on_right =
        join.on.iter().map(|(_, right_key)| compile(right_key, of_right, &right.types)).collect::<Result<Vec<_>>>()?;
    for ((one, other), (left_key, right_key)) in on_left.iter().zip(&on_right).zip(&join.on) {
        if one.data_type() != other.data_type() {
            let (one, other) = (one.data_type(), other.data_type());
            return refused(format!(
                "`{left_key}` = `{right_key}`: a join needs one type on both sides, and these are {one} and {other}"
            ));
        }
    }
    // One row of all can stand beside every other.
    if join.on.is_empty() && !left.unique.is_one() && !right.unique.is_one() {
        return refused("JOIN without an equality is not supported: add one, like ON a.card_id = b.card_id");
    }
    let pairs = on_left.iter().zip(&on_right).filter_map(|(left, right)| Some((place(left)?, place(right)?)));
    let pairs: Vec<(usize, usize)> = pairs.collect();
    let width = left.types.len();
    let (side, other, on, schema) = match swapped {
        false => (left, right, (on_left, on_right), &join.schema),
        true => (right, left, (on_right, on_left), &join.schema),
    };
    let unique = side.unique.joined(&other.unique, width, kind, &pairs);
    let types = match kind {
        JoinKind::Semi | JoinKind::Anti => side.types.clone(),
        JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {
            [side.types.clone(), other.types.clone()].concat()
        }
    };
    let nulls_are_equal = join.null_equality == NullEquality::NullEqualsNull;
    let node = Node::Join(Box::new(Join { left: side.node, right: other.node, kind, on, nulls_are_equal }));
    let all = Lowered { node, types, unique };
    match &join.filter {
        None | Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _)) => Ok(all),
        Some(condition) if kind == JoinKind::Inner => filtered(all, schema, condition),
        Some(condition) => refused(format!(
            "`{condition}`: beside its equalities an outer join, EXISTS or IN takes no condition over both sides"
        )),
    }
}

fn limited(limit: &Limit, collections: &[Collection]) -> Result<Lowered> {
    if !matches!(limit.get_skip_type()?, SkipType::Literal(0)) {
        return refused("OFFSET is not supported");
    }
    let FetchType::Literal(Some(count)) = limit.get_fetch_type()? else {
        return refused("LIMIT takes a number as it is written");
    };
    first(&limit.input, count, collections)
}

/// The first rows of an order, through whatever gives a row for each.
fn first(plan: &Arc<LogicalPlan>, count: usize, collections: &[Collection]) -> Result<Lowered> {
    match plan.as_ref() {
        LogicalPlan::Projection(projection) => {
            let of = first(&projection.input, count, collections)?;
            project(of, projection.input.schema(), &projection.expr)
        }
        LogicalPlan::SubqueryAlias(alias) => first(&alias.input, count, collections),
        LogicalPlan::Sort(sort) => {
            let Lowered { node, types, unique } = lower(&sort.input, collections)?;
            let order = ordered(&sort.expr, sort.input.schema(), &types)?;
            let top = Top { of: node, parts: vec![], order, limit: count, numbered: false };
            let unique = if count == 1 { unique.and(vec![]) } else { unique };
            Ok(Lowered { node: Node::Top(Box::new(top)), types, unique })
        }
        _ => refused("LIMIT without ORDER BY is not supported: say which rows come first"),
    }
}
