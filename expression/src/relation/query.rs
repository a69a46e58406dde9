//! From text to DataFusion's plan.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Result, plan_err};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, LogicalPlan, Volatility};
use datafusion_optimizer::analyzer::Analyzer;
use datafusion_optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion_optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion_optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion_optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use datafusion_sql::parser::Statement as Parsed;
use datafusion_sql::planner::SqlToRel;
use datafusion_sql::resolve::resolve_table_references;
use datafusion_sql::sqlparser::ast::{Query as Syntax, SetExpr, SetOperator, SetQuantifier, Statement, Visit, Visitor};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::context::{Context, ROW_NUMBER};
use super::lineage;
use super::lower::lower;
use super::lowered::Lowered;
use super::{AggregateFunction, Collection, Query};
use crate::ExpressionError;
use crate::dialect::{DIALECT, FunctionKind};
use crate::integers::{counted, widened};
use crate::parse::{offset, syntax_error};
use crate::resolve::told;
use crate::times::texts_to_times;
use crate::tokens::{TokenKind, tokens};

/// A longer text is a mistake, and a tree is walked by recursion: a limit keeps it on the stack.
const TEXT_BYTES_MAX: usize = 64 << 10;

pub fn compile(
    sql: &str,
    collections: &[Collection],
    aggregates: &[AggregateFunction],
) -> std::result::Result<Query, ExpressionError> {
    let statement = parse(sql)?;
    refuse_functions(sql, aggregates)?;
    refuse_forms(sql, &statement)?;
    let context = Context::new(collections, aggregates);
    let planned = plan(&context, statement).map_err(|error| placed(sql, told(sql, &error)))?;
    let Lowered { node, types, unique } =
        lower(&planned, collections).map_err(|error| placed(sql, told(sql, &error)))?;
    let names = planned.schema().fields().iter().map(|field| field.name().clone());
    let lineage = lineage::names(&node, collections);
    Ok(Query { node, fields: names.zip(types).collect(), lineage, unique })
}

pub fn named(sql: &str) -> Option<Vec<String>> {
    let statement = Parsed::Statement(Box::new(parse(sql).ok()?));
    let (named, _) = resolve_table_references(&statement, false).ok()?;
    Some(named.into_iter().map(|name| name.table().to_owned()).collect())
}

fn parse(sql: &str) -> std::result::Result<Statement, ExpressionError> {
    if sql.len() > TEXT_BYTES_MAX {
        return Err(ExpressionError {
            message: format!("the query is longer than {TEXT_BYTES_MAX} bytes"),
            offset: None,
        });
    }
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location();
    let tokens = tokens.map_err(|error| syntax_error(sql, &error.into()))?;
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let query = parser.parse_query().map_err(|error| syntax_error(sql, &error))?;
    // One may end the text.
    let _ = parser.consume_token(&Token::SemiColon);
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        let message = format!("expected the end of the query, found `{}`", rest.token);
        return Err(ExpressionError { message, offset: offset(sql, rest.span.start) });
    }
    if !matches!(
        *query.body,
        SetExpr::Select(_) | SetExpr::SetOperation { .. } | SetExpr::Query(_) | SetExpr::Values(_)
    ) {
        let message = "a query begins with SELECT or WITH".to_owned();
        return Err(ExpressionError { message, offset: Some(sql.len() - sql.trim_start().len()) });
    }
    Ok(Statement::Query(query))
}

/// Functions that have no meaning here, where they are called.
fn refuse_functions(sql: &str, aggregates: &[AggregateFunction]) -> std::result::Result<(), ExpressionError> {
    let tokens = tokens(sql)?;
    for pair in tokens.windows(2) {
        let (TokenKind::Word(name), TokenKind::Sign(open)) = (&pair[0].kind, &pair[1].kind) else { continue };
        let name = name.to_ascii_lowercase();
        let is_known = name == ROW_NUMBER || aggregates.iter().any(|known| known.spellings.contains(&name.as_str()));
        if open != "(" || is_known {
            continue;
        }
        let message = match DIALECT.kind(&name) {
            FunctionKind::Window => {
                format!("the window function `{name}` is not supported: only ROW_NUMBER() with an upper bound is")
            }
            FunctionKind::Aggregate => format!("the aggregate `{name}` is not supported: {}", listed(aggregates)),
            FunctionKind::Impure => {
                format!("`{name}` is not allowed: rows are a function of other rows and of nothing else")
            }
            FunctionKind::Pure | FunctionKind::Unknown => continue,
        };
        return Err(ExpressionError { message, offset: Some(pair[0].start) });
    }
    Ok(())
}

fn listed(aggregates: &[AggregateFunction]) -> String {
    let names: Vec<&str> = aggregates.iter().map(|known| known.name).collect();
    format!("known are {}", names.join(", "))
}

/// What DataFusion would read as something else.
fn refuse_forms(sql: &str, statement: &Statement) -> std::result::Result<(), ExpressionError> {
    struct Forms;
    impl Visitor for Forms {
        type Break = (&'static str, &'static str);

        fn pre_visit_query(&mut self, query: &Syntax) -> ControlFlow<Self::Break> {
            refused_set(&query.body).map_or(ControlFlow::Continue(()), ControlFlow::Break)
        }
    }
    match statement.visit(&mut Forms) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break((word, message)) => {
            Err(ExpressionError { message: message.to_owned(), offset: place(sql, word) })
        }
    }
}

fn refused_set(body: &SetExpr) -> Option<(&'static str, &'static str)> {
    let SetExpr::SetOperation { left, right, op, set_quantifier } = body else { return None };
    let is_all = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
    match op {
        SetOperator::Intersect if is_all => Some(("INTERSECT", "INTERSECT ALL is not supported: INTERSECT is")),
        SetOperator::Except | SetOperator::Minus if is_all => {
            Some(("EXCEPT", "EXCEPT ALL is not supported: EXCEPT is"))
        }
        _ => refused_set(left).or_else(|| refused_set(right)),
    }
}

fn plan(context: &Context, statement: Statement) -> Result<LogicalPlan> {
    let plan = SqlToRel::new(context).sql_statement_to_plan(statement)?;
    let plan = plan.transform_up_with_subqueries(as_expressions_have_it).data()?;
    let analyzer = Analyzer::with_rules(vec![Arc::new(TypeCoercion::new())]);
    let plan = analyzer.execute_and_check(plan, &DIALECT.shared_options(), |_, _| {})?;
    refuse_impure(&plan)?;
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    let mut options = DIALECT.shared_options().as_ref().clone();
    // Else one that names nothing of the query around it would stay what it is.
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    let context = OptimizerContext::new_with_config_options(Arc::new(options)).with_max_passes(8);
    Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})
}

/// Arithmetic and times mean what they mean in any expression.
fn as_expressions_have_it(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let known = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(counted).data()?;
        let expr = expr.transform_up(|expr| texts_to_times(expr, &known)).data()?;
        let expr = expr.transform_up(|expr| widened(expr, &known)).data()?;
        Ok(Transformed::yes(name.restore(expr)))
    })?;
    rewritten.map_data(LogicalPlan::recompute_schema)
}

/// What calls a function without parentheses: `current_date`.
fn refuse_impure(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            expr.apply(|expr| match expr {
                Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                    plan_err!(
                        "`{}` is not allowed: rows are a function of other rows and of nothing else",
                        call.func.name()
                    )
                }
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    Ok(())
}

/// The place of a word of a text.
fn place(sql: &str, word: &str) -> Option<usize> {
    let is_it = |kind: &TokenKind| match kind {
        TokenKind::Word(found) | TokenKind::Quoted(found) => found.eq_ignore_ascii_case(word),
        _ => false,
    };
    tokens(sql).ok()?.iter().find(|token| is_it(&token.kind)).map(|token| token.start)
}

/// A fault that has no place has that of the first thing that it names, and that stands in the text.
fn placed(sql: &str, error: ExpressionError) -> ExpressionError {
    let quoted = error.message.split(['`', '\'', '"']).skip(1).step_by(2);
    let found = error.offset.or_else(|| quoted.into_iter().find_map(|word| place(sql, word.rsplit('.').next()?)));
    let first = error.message.split([' ', '(']).next().and_then(|word| place(sql, word));
    ExpressionError { offset: found.or(first), ..error }
}
