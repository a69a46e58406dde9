//! The forms that an expression may have, and what each consists of.
//!
//! sqlparser's own visitor knows all of SQL, and all of it would be compiled for each use.

use datafusion_sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Subscript,
};

/// The expressions directly inside of one, in order; `None`: it has a form that no expression may have. Subqueries are none of
/// them.
pub(super) fn parts(syntax: &Expr) -> Option<Vec<&Expr>> {
    use Expr::*;
    Some(match syntax {
        Identifier(_) | CompoundIdentifier(_) | Value(_) | TypedString(_) => vec![],
        Nested(a) | IsNull(a) | IsNotNull(a) | IsTrue(a) | IsNotTrue(a) | IsFalse(a) | IsNotFalse(a) => vec![a],
        IsUnknown(a) | IsNotUnknown(a) | UnaryOp { expr: a, .. } | Cast { expr: a, .. } => vec![a],
        Extract { expr: a, .. } | Ceil { expr: a, .. } | Floor { expr: a, .. } | InSubquery { expr: a, .. } => vec![a],
        Interval(interval) => vec![&interval.value],
        BinaryOp { left: a, right: b, .. } | IsDistinctFrom(a, b) | IsNotDistinctFrom(a, b) => vec![a, b],
        Like { expr: a, pattern: b, .. } | ILike { expr: a, pattern: b, .. } => vec![a, b],
        SimilarTo { expr: a, pattern: b, .. } | Position { expr: a, r#in: b } => vec![a, b],
        AtTimeZone { timestamp: a, time_zone: b } => vec![a, b],
        Between { expr, low, high, .. } => vec![expr, low, high],
        InList { expr, list, .. } => std::iter::once(&**expr).chain(list).collect(),
        Case { operand, conditions, else_result, .. } => {
            let conditions = conditions.iter().flat_map(|when| [&when.condition, &when.result]);
            operand.as_deref().into_iter().chain(conditions).chain(else_result.as_deref()).collect()
        }
        Substring { expr, substring_from, substring_for, .. } => {
            [Some(&**expr), substring_from.as_deref(), substring_for.as_deref()].into_iter().flatten().collect()
        }
        Trim { trim_what, expr, trim_characters, .. } => {
            trim_what.as_deref().into_iter().chain([&**expr]).chain(trim_characters.iter().flatten()).collect()
        }
        Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            [expr, overlay_what, overlay_from].into_iter().chain(overlay_for).map(|part| &**part).collect()
        }
        CompoundFieldAccess { root, access_chain } => {
            let mut parts = vec![&**root];
            for access in access_chain {
                match access {
                    AccessExpr::Subscript(Subscript::Index { index }) => parts.push(index),
                    AccessExpr::Dot(Identifier(_)) => {}
                    _ => return None,
                }
            }
            parts
        }
        Function(function) => arguments(function),
        _ => return None,
    })
}

fn arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return vec![] };
    list.args.iter().flat_map(argument).flatten().collect()
}

/// Its name, where that is an expression, and its value.
fn argument(argument: &FunctionArg) -> [Option<&Expr>; 2] {
    let (name, value) = match argument {
        FunctionArg::Unnamed(value) | FunctionArg::Named { arg: value, .. } => (None, value),
        FunctionArg::ExprNamed { name, arg: value, .. } => (Some(name), value),
    };
    [name, if let FunctionArgExpr::Expr(value) = value { Some(value) } else { None }]
}
