//! Paths into nested columns: `payload.user.id`, `payload['user'].id`. What such a path leads to is an input like any column, under the
//! text of the path as its name, and nothing beside it need be read.
//!
//! ```text
//! payload: struct { user: struct { id: int64 }, tags: map of strings }
//!
//! payload.user.id          input `payload.user.id`        a null on the way is null
//! payload.tags['x']        input `payload.tags`           what is in a list or a map is looked up in it
//! ```

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, Result, ScalarValue};
use datafusion_expr::Expr;
use datafusion_expr::expr::ScalarFunction;
use datafusion_sql::sqlparser::ast::{
    AccessExpr, Expr as Syntax, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart,
    Subscript, Value, ValueWithSpan,
};

/// The text of a path: its names, joined by dots. A name that has a dot or a quote is quoted.
pub fn text<T: AsRef<str>>(names: &[T]) -> String {
    let quoted = |name: &T| match name.as_ref() {
        name if name.contains(['.', '"']) => format!("\"{}\"", name.replace('"', "\"\"")),
        name => name.to_owned(),
    };
    names.iter().map(quoted).collect::<Vec<_>>().join(".")
}

/// Key of a field's metadata: it is a struct whose fields are not listed, each a string.
pub const ANY_FIELD: &str = "any field";

/// How far some names lead into a schema.
pub struct Found<'a> {
    /// So many of the names lead to a column, through structs.
    pub taken: usize,
    /// Where they lead, which is null where something on the way may be.
    pub field: Field,
    /// The struct that has no field of the next name, if that is why it ends.
    pub lacking: Option<&'a DataType>,
}

/// Where names lead in a schema, as far as they do. `None`: there is no column of the first name.
pub fn find<'a, T: AsRef<str>>(schema: &'a Schema, names: &[T]) -> Option<Found<'a>> {
    let (first, rest) = names.split_first()?;
    let mut field = schema.field_with_name(first.as_ref()).ok()?;
    let mut nullable = field.is_nullable();
    let (mut taken, mut lacking) = (1, None);
    for name in rest {
        let DataType::Struct(fields) = field.data_type() else { break };
        if field.metadata().contains_key(ANY_FIELD) {
            let found = Field::new(text(&names[..taken + 1]), DataType::Utf8, true);
            return Some(Found { taken: taken + 1, field: found, lacking: None });
        }
        match fields.iter().find(|inside| inside.name() == name.as_ref()) {
            Some(inside) => field = inside,
            None => {
                lacking = Some(field.data_type());
                break;
            }
        }
        nullable |= field.is_nullable();
        taken += 1;
    }
    let found = Field::new(text(&names[..taken]), field.data_type().clone(), nullable);
    Some(Found { taken, field: found.with_metadata(field.metadata().clone()), lacking })
}

/// Names that follow each other in a text.
pub(super) struct Trail<'a> {
    pub(super) names: Vec<&'a str>,
    /// The first of them.
    pub(super) first: &'a Ident,
    /// What the last of them gives is the whole expression.
    pub(super) is_whole: bool,
}

/// The names at the start of an expression; `None`: it begins with something else.
pub(super) fn trail(syntax: &Syntax) -> Option<Trail<'_>> {
    match syntax {
        Syntax::Identifier(name) => Some(Trail { names: vec![&name.value], first: name, is_whole: true }),
        Syntax::CompoundIdentifier(names) => Some(Trail {
            names: names.iter().map(|name| name.value.as_str()).collect(),
            first: names.first()?,
            is_whole: true,
        }),
        Syntax::CompoundFieldAccess { root, access_chain } => {
            let mut trail = trail(root).filter(|trail| trail.is_whole)?;
            for access in access_chain {
                match name_of(access) {
                    Some(name) if trail.is_whole => trail.names.push(name),
                    _ => trail.is_whole = false,
                }
            }
            Some(trail)
        }
        Syntax::Function(function) => trail_of_call(function),
        _ => None,
    }
}

/// `.price` behind `items[1]`: the planner knows names joined by dots only in front of brackets.
pub(super) fn has_dot_behind_brackets(syntax: &Syntax) -> bool {
    let Syntax::CompoundFieldAccess { access_chain, .. } = syntax else { return false };
    let is_dot = |access: &&AccessExpr| matches!(access, AccessExpr::Dot(_));
    access_chain.iter().skip_while(is_dot).any(|access| is_dot(&access))
}

fn name_of(access: &AccessExpr) -> Option<&str> {
    match access {
        AccessExpr::Dot(Syntax::Identifier(name)) => Some(&name.value),
        AccessExpr::Subscript(Subscript::Index { index }) => text_of(index),
        _ => None,
    }
}

fn text_of(syntax: &Syntax) -> Option<&str> {
    match syntax {
        Syntax::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text),
        _ => None,
    }
}

/// `get_field(payload, 'user')`.
fn trail_of_call(function: &Function) -> Option<Trail<'_>> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let mut arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    });
    let is_plain = function.over.is_none()
        && function.filter.is_none()
        && list.duplicate_treatment.is_none()
        && list.clauses.is_empty();
    if !is_plain || !name.value.eq_ignore_ascii_case("get_field") {
        return None;
    }
    let mut trail = trail(arguments.next()??).filter(|trail| trail.is_whole)?;
    for argument in arguments {
        trail.names.push(text_of(argument?)?);
    }
    Some(trail)
}

/// The expression, in which each path into a column is a column by its text.
pub(super) fn flattened(expr: Expr, schema: &Schema) -> Result<Expr> {
    expr.transform_down(|expr| {
        let Some(names) = names_of(&expr) else { return Ok(Transformed::no(expr)) };
        match find(schema, &names) {
            Some(found) if found.taken == names.len() => {
                let column = Expr::Column(Column::new_unqualified(found.field.name()));
                Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
            }
            // What is looked up in a map: the map itself is a path.
            _ => Ok(Transformed::no(expr)),
        }
    })
    .data()
}

fn names_of(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::Column(column) => Some(vec![column.name.clone()]),
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "get_field" => {
            let (of, names) = args.split_first()?;
            let mut all = names_of(of)?;
            for name in names {
                let Expr::Literal(ScalarValue::Utf8(Some(name)), _) = name else { return None };
                all.push(name.clone());
            }
            Some(all)
        }
        _ => None,
    }
}
