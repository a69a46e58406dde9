//! Views and links: rows made of the rows of others.

use headwater_expression::{Token, TokenKind, tokens};

use crate::base::fault::At;
use crate::base::id::{GroupId, Id, ViewId};
use crate::job::{About, Job, Named};

/// Rows that are a function of other rows, at every tick.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub name: String,
    pub at: At,
    /// Its columns that tell its rows apart.
    pub key: Vec<Named>,
    pub of: Of,
    pub about: About,
}

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

impl View {
    /// How messages call such a one.
    pub fn kind(&self) -> &'static str {
        match self.of {
            Of::Sql(_) => "view",
            Of::Links(_) => "links",
        }
    }

    /// Whether its query may name something so called.
    pub fn mentions(&self, name: &str) -> bool {
        let sql = match &self.of {
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

/// What has rows: groups, and behind them views. A sink knows both by the same numbers.
impl Job {
    /// The number that sinks know a view by.
    pub(crate) fn rows_of(&self, view: ViewId) -> GroupId {
        GroupId::at(self.groups.len() + view.index())
    }

    /// The view of a number that sinks know; `None`: it is a group's.
    pub(crate) fn view_of(&self, rows: GroupId) -> Option<ViewId> {
        rows.index().checked_sub(self.groups.len()).map(ViewId::at)
    }

    /// All numbers that sinks know: of groups, then of views.
    pub(crate) fn all_rows(&self) -> impl Iterator<Item = GroupId> + Clone + use<> {
        (0..self.groups.len() + self.views.len()).map(GroupId::at)
    }

    /// How the job calls it.
    pub(crate) fn name_of(&self, rows: GroupId) -> &str {
        match self.view_of(rows) {
            None => &self.groups[rows].name,
            Some(view) => &self.views[view].name,
        }
    }
}
