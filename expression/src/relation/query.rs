//! From text to DataFusion's plan.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DataFusionError, Result, SchemaError, plan_err};
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
use datafusion_sql::sqlparser::ast::{
    Expr as Syntaxed, ObjectNamePart, Query as Syntax, SetExpr, SetOperator, SetQuantifier, Spanned, Statement, Visit,
    Visitor,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Location, Token, Tokenizer};

use super::context::{Context, ROW_NUMBER};
use super::lineage;
use super::lower::lower;
use super::lowered::Lowered;
use super::{AggregateFunction, Collection, Query};
use crate::ExpressionError;
use crate::dialect::{DIALECT, FunctionKind};
use crate::integers::{counted, widened};
use crate::meant;
use crate::parse::{known_names, nearest, offset, suggestion, syntax_error};
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
    refuse_unknown(sql, &statement, aggregates)?;
    refuse_forms(sql, &statement)?;
    let context = Context::new(collections, aggregates);
    let planned = plan(&context, statement).map_err(|error| placed(sql, explained(sql, &error)))?;
    let Lowered { node, types, unique } =
        lower(&planned, collections).map_err(|error| placed(sql, explained(sql, &error)))?;
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
            FunctionKind::Aggregate => {
                let instead = meant_aggregate(&name, aggregates);
                let instead = instead.map_or_else(|| listed(aggregates), |it| format!("did you mean `{it}`?"));
                format!("the aggregate `{name}` is not supported: {instead}")
            }
            FunctionKind::Impure => {
                format!("`{name}` is not allowed: rows are a function of other rows and of nothing else")
            }
            FunctionKind::Pure | FunctionKind::Unknown => continue,
        };
        return Err(ExpressionError { message, offset: Some(pair[0].start) });
    }
    Ok(())
}

/// How an aggregate is written that is called otherwise elsewhere.
fn meant_aggregate<'a>(name: &str, aggregates: &'a [AggregateFunction]) -> Option<&'a str> {
    let plain = |name: &str| name.replace('_', "");
    let mut all = aggregates.iter().flat_map(|known| &known.elsewhere);
    all.find(|(known, _)| plain(known) == plain(name)).map(|(_, written)| written.as_str())
}

/// Functions that nobody knows, with what was meant.
fn refuse_unknown(
    sql: &str,
    statement: &Statement,
    aggregates: &[AggregateFunction],
) -> std::result::Result<(), ExpressionError> {
    struct Unknown<'a>(&'a [AggregateFunction]);
    impl Visitor for Unknown<'_> {
        type Break = (Location, String);

        fn pre_visit_expr(&mut self, expr: &Syntaxed) -> ControlFlow<Self::Break> {
            let Syntaxed::Function(function) = expr else { return ControlFlow::Continue(()) };
            let [ObjectNamePart::Identifier(ident)] = function.name.0.as_slice() else {
                return ControlFlow::Continue(());
            };
            let name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() };
            let spellings = || self.0.iter().flat_map(|known| known.spellings.iter().copied());
            let is_known = name == ROW_NUMBER || spellings().any(|known| known == name);
            if is_known || DIALECT.kind(&name) != FunctionKind::Unknown {
                return ControlFlow::Continue(());
            }
            let written = meant_aggregate(&name, self.0).map(|written| format!(": did you mean `{written}`?"));
            let spelled = || meant::spelled(&name, function).map(|spelled| format!(": write `{spelled}`"));
            let meant = written.or_else(spelled);
            let meant = meant.unwrap_or_else(|| suggestion(nearest(&name, DIALECT.pure_names().chain(spellings()))));
            ControlFlow::Break((function.name.span().start, format!("unknown function `{name}`{meant}")))
        }
    }
    match statement.visit(&mut Unknown(aggregates)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break((at, message)) => Err(ExpressionError { message, offset: offset(sql, at) }),
    }
}

/// What DataFusion says, in the words of expressions where it is of a column.
fn explained(sql: &str, error: &DataFusionError) -> ExpressionError {
    let told = told(sql, error);
    let DataFusionError::SchemaError(schema, _) = error.find_root() else { return told };
    let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref() else { return told };
    let called = |column: &Column| match field.relation {
        Some(_) => column.flat_name(),
        None => column.name.clone(),
    };
    let names: Vec<String> = valid_fields.iter().map(called).collect();
    let (asked, known) = (called(field), names.iter().map(String::as_str));
    // Of another collection, perhaps, or of none.
    let alone = valid_fields.iter().find(|column| column.name == field.name).map(Column::flat_name);
    let message = match nearest(&asked, known.clone()).or(alone.as_deref()) {
        Some(near) => format!("unknown column `{asked}`{}", suggestion(Some(near))),
        None => format!("unknown column `{asked}`{}", known_names(&asked, known, names.len())),
    };
    ExpressionError { message, ..told }
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
