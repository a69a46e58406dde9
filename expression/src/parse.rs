//! From text to a syntax tree whose every name is known and whose every form may be used.
//!
//! All that can be told from the tree is told here, and not left to the planner: only the tree still knows places in the text.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart, Query, Spanned, Value,
    ValueWithSpan,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::dialect::{DIALECT, FunctionKind};
use super::path::{self, Found, Trail};
use super::syntax::parts;
use super::{ExpressionError, MEANT, UNUSABLE, meant};

/// A longer text is a mistake, and a tree is walked by recursion: a limit keeps it on the stack.
const TEXT_BYTES_MAX: usize = 16 * 1024;
const DEPTH_MAX: usize = 200;

/// More names in one message help nobody.
const COLUMNS_TOLD_MAX: usize = 16;

const EVENT_ONLY: &str = "an expression may read the event and nothing else";

pub(super) struct Parsed {
    pub(super) syntax: Expr,
    /// Paths, in order of first appearance, each once.
    pub(super) columns: Vec<Vec<String>>,
}

pub(super) fn parse(sql: &str, schema: &Schema) -> Result<Parsed, ExpressionError> {
    if sql.len() > TEXT_BYTES_MAX {
        let message = format!("the expression is longer than {TEXT_BYTES_MAX} bytes");
        return Err(ExpressionError { message, offset: None });
    }
    let syntax = parse_whole(sql)?;
    let mut check = Check { sql, schema, depth: 0, columns: Vec::new() };
    if let Break(error) = check.walk(&syntax) {
        return Err(error);
    }
    let mut columns: Vec<Vec<String>> = Vec::new();
    check.columns.sort();
    for (_, path) in check.columns {
        if !columns.contains(&path) {
            columns.push(path);
        }
    }
    Ok(Parsed { syntax, columns })
}

fn parse_whole(sql: &str) -> Result<Expr, ExpressionError> {
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location();
    let mut tokens = tokens.map_err(|error| syntax_error(sql, &error.into()))?;
    plain_names(&mut tokens);
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let syntax = parser.parse_expr().map_err(|error| syntax_error(sql, &error))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        let message = format!("expected the end of the expression, found `{}`", rest.token);
        return Err(ExpressionError { message, offset: offset(sql, rest.span.start) });
    }
    Ok(syntax)
}

/// Beside a dot, a word is a name and nothing else: `payload.user.id`, where `user` alone would be a function of SQL's.
fn plain_names(tokens: &mut [TokenWithSpan]) {
    let is_dot = |token: Option<&TokenWithSpan>| token.is_some_and(|token| token.token == Token::Period);
    for at in 0..tokens.len() {
        let is_beside = is_dot(tokens.get(at + 1)) || at > 0 && is_dot(tokens.get(at - 1));
        if let Token::Word(word) = &mut tokens[at].token
            && is_beside
        {
            word.keyword = Keyword::NoKeyword;
        }
    }
}

/// The parser tells places as the end of its message: `... at Line: 1, Column: 5`.
pub(super) fn syntax_error(sql: &str, error: &ParserError) -> ExpressionError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the expression is nested too deeply",
    };
    let placed = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Location { line: line.parse().ok()?, column: column.trim().parse().ok()? }))
    });
    let (message, offset) = match placed {
        Some((message, location)) => (message, offset(sql, location)),
        None if text.ends_with("found: EOF") => (text, Some(sql.len())),
        None => (text, None),
    };
    let message = message.replace(", found: EOF", ", found its end").replace(", found: ", ", found ");
    let message = message.replacen("Expected: ", "expected ", 1).replacen("Unterminated", "unterminated", 1);
    ExpressionError { message, offset }
}

/// In bytes; the parser counts lines and characters from 1, and has 0 for a place that it does not know.
pub(super) fn offset(sql: &str, place: Location) -> Option<usize> {
    let (line, column) = (place.line.checked_sub(1)? as usize, place.column.checked_sub(1)? as usize);
    let text = sql.split_inclusive('\n').nth(line).unwrap_or_default();
    let before: usize = sql.split_inclusive('\n').take(line).map(str::len).sum();
    Some(before + text.char_indices().nth(column).map_or(text.len(), |(at, _)| at))
}

/// Walks the tree until the first fault.
struct Check<'a> {
    sql: &'a str,
    schema: &'a Schema,
    depth: usize,
    /// Each mention of a column, by its path, with its place.
    columns: Vec<(usize, Vec<String>)>,
}

type Checked = ControlFlow<ExpressionError>;

impl Check<'_> {
    fn fault(&self, at: Location, message: String) -> Checked {
        Break(ExpressionError { message, offset: offset(self.sql, at) })
    }

    fn column(&mut self, name: &Ident) -> Checked {
        if let Some(found) = path::find(self.schema, &[&name.value]) {
            return self.found(&found, &[&name.value], name);
        }
        let mut message = unknown_column(&name.value, self.schema);
        if name.quote_style.is_some() {
            message += &format!(" (a text is written '{}')", name.value);
        }
        self.fault(name.span.start, message)
    }

    /// A column that is there, and can perhaps be used.
    fn found(&mut self, found: &Found, names: &[&str], first: &Ident) -> Checked {
        if let Some(why) = found.field.metadata().get(UNUSABLE) {
            return self.fault(first.span.start, why.clone());
        }
        let at = offset(self.sql, first.span.start).unwrap_or_default();
        self.columns.push((at, names[..found.taken].iter().map(|name| (*name).to_owned()).collect()));
        Continue(())
    }

    /// Names that should lead into a column.
    fn trail(&mut self, trail: &Trail) -> Checked {
        if trail.names.len() == 1 && trail.is_whole {
            return self.column(trail.first);
        }
        let (at, whole) = (trail.first.span.start, trail.names.join("."));
        let Some(found) = path::find(self.schema, &trail.names) else {
            let (first, last) = (trail.names[0], trail.names[trail.names.len() - 1]);
            let message = match (self.schema.field_with_name(&whole), self.schema.field_with_name(last)) {
                (Ok(_), _) => format!("the column is written \"{whole}\""),
                (_, Ok(_)) if meant(first, self.schema).is_none() => {
                    format!("unknown column `{first}`{}", suggestion(Some(last)))
                }
                _ => unknown_column(first, self.schema),
            };
            return self.fault(at, format!("`{whole}`: {message}"));
        };
        let (path, data_type) = (trail.names[..found.taken].join("."), found.field.data_type());
        if let Some(DataType::Struct(fields)) = found.lacking {
            let names = fields.iter().map(|field| field.name().as_str());
            let has = known_names(trail.names[found.taken], names, fields.len());
            return self.fault(at, format!("`{whole}`: `{path}` has no field `{}`{has}", trail.names[found.taken]));
        }
        let is_looked_up = matches!(data_type, DataType::Map(..) | DataType::List(_));
        let is_unusable = found.field.metadata().contains_key(UNUSABLE);
        if found.taken < trail.names.len() && !is_looked_up && !is_unusable {
            return self.fault(at, format!("`{whole}`: `{path}` is of type {data_type}, and has no fields"));
        }
        if !trail.is_whole && !is_looked_up && !is_unusable {
            return self.fault(at, format!("`{path}` is of type {data_type}: only lists and maps have elements"));
        }
        self.found(&found, &trail.names, trail.first)
    }

    fn function(&mut self, function: &Function) -> Checked {
        let at = function.name.span().start;
        let [ObjectNamePart::Identifier(ident)] = function.name.0.as_slice() else {
            return self.fault(at, format!("unknown function `{}`", function.name));
        };
        let name = match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_ascii_lowercase(),
        };
        let kind = DIALECT.kind(&name);
        if matches!(function.args, FunctionArguments::None) && kind != FunctionKind::Impure {
            return self.column(ident); // some words, as `user`, are read as calls without parentheses
        }
        match kind {
            FunctionKind::Aggregate => self.fault(at, format!("the aggregate `{name}` is not allowed: {EVENT_ONLY}")),
            FunctionKind::Window => {
                self.fault(at, format!("the window function `{name}` is not allowed: {EVENT_ONLY}"))
            }
            FunctionKind::Impure => self.fault(at, format!("`{name}` is not allowed: {EVENT_ONLY}")),
            FunctionKind::Unknown => {
                let meant = match meant::spelled(&name, function) {
                    Some(spelled) => format!(": write `{spelled}`"),
                    None => suggestion(nearest(&name, DIALECT.pure_names())),
                };
                self.fault(at, format!("unknown function `{name}`{meant}"))
            }
            FunctionKind::Pure => self.call(function, &name, at),
        }
    }

    /// The planner ignores, for a scalar function, what it would heed for an aggregate.
    fn call(&self, function: &Function, name: &str, at: Location) -> Checked {
        if function.over.is_some() {
            return self.fault(at, format!("a window (`OVER`) is not allowed: {EVENT_ONLY}"));
        }
        let FunctionArguments::List(list) = &function.args else {
            return Continue(());
        };
        let plain = list.duplicate_treatment.is_none()
            && list.clauses.is_empty()
            && function.filter.is_none()
            && function.null_treatment.is_none()
            && function.within_group.is_empty()
            && matches!(function.parameters, FunctionArguments::None);
        if !plain {
            return self.fault(at, format!("`{name}` takes nothing but arguments: `{function}`"));
        }
        let expressions = list.args.iter().all(|arg| {
            let (FunctionArg::Unnamed(arg) | FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. }) = arg;
            matches!(arg, FunctionArgExpr::Expr(_))
        });
        if !expressions {
            return self.fault(at, format!("a wildcard is not allowed: `{function}`"));
        }
        Continue(())
    }

    fn subquery(&self, query: &Query) -> Checked {
        self.fault(query.span().start, format!("a subquery is not allowed: {EVENT_ONLY}"))
    }

    /// Looks at an expression, then at its parts.
    fn walk(&mut self, syntax: &Expr) -> Checked {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.fault(syntax.span().start, format!("the expression is nested more than {DEPTH_MAX} deep"));
        }
        if path::has_dot_behind_brackets(syntax) {
            let message = "behind brackets a field is written in brackets, as in items[1]['price']".to_owned();
            return self.fault(syntax.span().start, message);
        }
        let trail = path::trail(syntax);
        match &trail {
            Some(trail) => self.trail(trail)?,
            None => self.look_at(syntax)?,
        }
        let Some(parts) = parts(syntax) else {
            let message = format!("`{}` is not supported in an expression", shortened(syntax));
            return self.fault(syntax.span().start, message);
        };
        // What a path begins with has been looked at.
        for part in parts.into_iter().skip(usize::from(trail.is_some())) {
            self.walk(part)?;
        }
        if let Expr::InSubquery { subquery, .. } = syntax {
            return self.subquery(subquery);
        }
        self.depth -= 1;
        Continue(())
    }

    /// At what it is, whatever its parts are.
    fn look_at(&mut self, syntax: &Expr) -> Checked {
        match syntax {
            Expr::Identifier(name) => self.column(name),
            Expr::Function(function) => {
                self.function(function)?;
                if let FunctionArguments::Subquery(query) = &function.args {
                    self.subquery(query)
                } else {
                    Continue(())
                }
            }
            Expr::Value(ValueWithSpan { value: Value::Placeholder(name), span }) => {
                self.fault(span.start, format!("the placeholder `{name}` is not allowed: {EVENT_ONLY}"))
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => {
                self.fault(syntax.span().start, "a wildcard is not allowed: name the columns".to_owned())
            }
            Expr::Subquery(query) | Expr::Exists { subquery: query, .. } => self.subquery(query),
            _ => Continue(()),
        }
    }
}

fn shortened(syntax: &Expr) -> String {
    let text = syntax.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What is told of a column that is not there, where somebody has said it.
fn meant<'a>(name: &str, schema: &'a Schema) -> Option<&'a String> {
    schema.metadata().get(&format!("{MEANT}{name}"))
}

pub(super) fn unknown_column(name: &str, schema: &Schema) -> String {
    if let Some(meant) = meant(name, schema) {
        return format!("unknown column `{name}`: {meant}");
    }
    let is_inside = |field: &&Arc<Field>| match field.data_type() {
        DataType::Struct(fields) => fields.iter().any(|inside| inside.name() == name),
        _ => false,
    };
    if let Some(around) = schema.fields().iter().find(is_inside) {
        let path = path::text(&[around.name(), name]);
        return format!("unknown column `{name}`{}", suggestion(Some(&path)));
    }
    let names = schema.fields().iter().map(|field| field.name().as_str());
    format!("unknown column `{name}`{}", known_names(name, names, schema.fields().len()))
}

/// What an unknown name was meant to be, or what there is.
pub(super) fn known_names<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone, count: usize) -> String {
    match nearest(name, names.clone()) {
        Some(near) => suggestion(Some(near)),
        None => {
            let more = if count > COLUMNS_TOLD_MAX { ", …" } else { "" };
            let told: Vec<String> = names.take(COLUMNS_TOLD_MAX).map(|known| format!("`{known}`")).collect();
            format!("; there are {}{more}", told.join(", "))
        }
    }
}

pub(super) fn suggestion(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!(", did you mean `{near}`?"))
}

/// The known name with the fewest slips of the pen from `name`, if these are at most a third of its letters.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let slips = |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase());
    let best = known.map(|other| (slips(other), other)).min()?;
    (best.0 <= name.chars().count() / 3).then_some(best.1)
}
