//! What the rows of a view, or of links, are made of.

use headwater_expression::{Token, TokenKind, tokens};

use crate::base::fault::At;
use crate::job::Named;

/// What the rows of a view are.
#[derive(Clone, Debug)]
pub(crate) enum Of {
    /// What a query gives over the rows of others.
    Sql(Sql),
    /// Which entities hang together. Such a view is called links.
    Links(Links),
}

/// Which entities of the rows of one collection hang together.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    /// Its name.
    pub from: Named,
    pub by: LinkedBy,
    /// What more are linked to links none.
    pub max_degree: u64,
}

/// Columns by which entities are linked.
#[derive(Clone, Debug)]
pub(crate) enum LinkedBy {
    /// Each of `shared` is a kind of things of its own.
    Things { entity: Named, shared: Vec<Named> },
    /// Two entities.
    Entities { a: Named, b: Named },
}

impl LinkedBy {
    /// The columns, the entity's first.
    pub fn columns(&self) -> Vec<&Named> {
        match self {
            LinkedBy::Things { entity, shared } => std::iter::once(entity).chain(shared).collect(),
            LinkedBy::Entities { a, b } => vec![a, b],
        }
    }
}

/// A query.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    pub text: String,
    /// The value of its key.
    pub at: At,
    /// Where its first character stands, if it was typed as it is.
    pub starts: Option<At>,
}

impl Of {
    /// How messages call what has such rows.
    pub fn kind(&self) -> &'static str {
        match self {
            Of::Sql(_) => "view",
            Of::Links(_) => "links",
        }
    }

    /// The section of a job in which it stands.
    pub fn section(&self) -> &'static str {
        match self {
            Of::Sql(_) => "views",
            Of::Links(_) => "links",
        }
    }

    /// Whether it may name something so called.
    pub fn mentions(&self, name: &str) -> bool {
        let sql = match self {
            Of::Sql(sql) => sql,
            Of::Links(links) => return links.from.text == name,
        };
        let is_it =
            |token: &Token| matches!(&token.kind, TokenKind::Word(found) | TokenKind::Quoted(found) if found == name);
        tokens(&sql.text).is_ok_and(|tokens| tokens.iter().any(is_it))
    }
}

impl Sql {
    /// The place of a byte.
    pub fn at(&self, offset: usize) -> At {
        let Some(first) = self.starts else { return self.at };
        let before = self.text.get(..offset).unwrap_or(&self.text);
        match before.rsplit_once('\n') {
            None => At { column: first.column + before.chars().count(), ..first },
            Some((lines, last)) => {
                let line = first.line + lines.matches('\n').count() + 1;
                At { line, column: last.chars().count() + 1, ..first }
            }
        }
    }
}
