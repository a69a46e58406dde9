//! What the rows of a view are made of.

use headwater_expression::{Token, TokenKind, tokens};

use crate::base::fault::At;

/// What the rows of a view are.
#[derive(Clone, Debug)]
pub(crate) enum Of {
    /// What a query gives over the rows of others.
    Sql(Sql),
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
    /// Whether its query may name something so called.
    pub fn mentions(&self, name: &str) -> bool {
        let Of::Sql(sql) = self;
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
