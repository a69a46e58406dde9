//! Queries over collections of rows that change: SQL, as a tree of few kinds of nodes.
//!
//! ```text
//! SELECT owner, count(*) AS cards FROM cards JOIN merchants USING (id) GROUP BY owner
//!   Aggregate by owner: count
//!     Join on id = id
//!       Read cards      Read merchants
//! ```
//!
//! sqlparser reads the text and DataFusion's planner gives it its meaning: names, types, subqueries. Of its optimiser those rules are asked that hold
//! for any multiset of rows, also for one of differences: subqueries become joins, conditions go down and become keys of joins, columns that
//! nobody names are left out. What comes of it is lowered to nodes of our own, and whatever has no place among them is refused by its name.
//!
//! - `query`: from text to DataFusion's plan; `context`: what a query may name
//! - `lower`: from that plan to nodes (`lowered`); `compile`: its expressions; `numbered`: `ROW_NUMBER()` and its bound
//! - `unique`: which columns tell the rows of a node apart; `lineage`: what they are made of

mod compile;
mod context;
mod lineage;
mod lower;
mod lowered;
mod numbered;
mod query;
#[cfg(test)]
mod tests;
mod unique;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::DataType;

use super::{Expression, ExpressionError};

/// What a query may read, by its name.
#[derive(Clone, Debug)]
pub struct Collection {
    /// As the query calls it.
    pub name: String,
    /// Its columns.
    pub fields: Vec<(String, DataType)>,
    /// Columns that together tell its rows apart, as often as there are such.
    pub keys: Vec<Vec<usize>>,
}

/// An aggregate that a query may name.
#[derive(Clone)]
pub struct AggregateFunction {
    /// What it is called here.
    pub name: &'static str,
    /// What a query may call it, in lower case.
    pub spellings: Vec<&'static str>,
    /// What it is called elsewhere, in lower case, and how that is written here.
    pub elsewhere: Vec<(&'static str, String)>,
    /// Whether it takes a number beside its input.
    pub has_number: bool,
    /// Whether it may be of rows, without an input: a constant is then none.
    pub counts_rows: bool,
    /// What it is of each different value once, by name; `None`: nothing.
    pub of_distinct: Option<&'static str>,
    /// The type of its result for an input of a type, or what it needs instead.
    pub result: AggregateResult,
}

/// The type of a result for an input of a type, or what is needed instead.
pub type AggregateResult = Arc<dyn Fn(&DataType) -> Result<DataType, String> + Send + Sync>;

impl fmt::Debug for AggregateFunction {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Rows, made of rows. Expressions are over the columns of the node below, which are called by their places: `0`, `1` ...
#[derive(Clone, Debug)]
pub enum Node {
    /// Rows of what the query reads.
    Read {
        /// Its place among what the query was given.
        collection: usize,
        /// Which of its columns.
        columns: Vec<usize>,
    },
    /// A row for each that passes.
    Map {
        /// Of what.
        of: Box<Node>,
        /// What has to be true; where it is null, or fails, the row is left out.
        condition: Option<Expression>,
        /// What it becomes.
        columns: Vec<Expression>,
    },
    /// Pairs of rows whose keys are equal, and rows without a partner.
    Join(Box<Join>),
    /// A row for each key, with what is aggregated of its rows behind it.
    Aggregate {
        /// Of what.
        of: Box<Node>,
        /// The key. Without one there is one row, always.
        by: Vec<Expression>,
        /// What is aggregated.
        inputs: Vec<Expression>,
        /// How: one at least.
        calls: Vec<Call>,
    },
    /// Equal rows, once.
    Distinct(Box<Node>),
    /// All rows of all, which have the same types.
    Union(Vec<Node>),
    /// The first rows of each part, in an order.
    Top(Box<Top>),
}

/// A join on equal keys.
#[derive(Clone, Debug)]
pub struct Join {
    /// One side.
    pub left: Node,
    /// The other one.
    pub right: Node,
    /// Which rows come of it.
    pub kind: JoinKind,
    /// The keys of the left side, and those of the right side in the same order, of the same types.
    pub on: (Vec<Expression>, Vec<Expression>),
    /// Whether a null is equal to a null.
    pub nulls_are_equal: bool,
}

/// Which rows come of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and left rows without a partner.
    Left,
    /// Pairs, and right rows without a partner.
    Right,
    /// Pairs, and rows of both sides without a partner.
    Full,
    /// Left rows with a partner.
    Semi,
    /// Left rows without one.
    Anti,
}

/// What is aggregated.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The name of the aggregate.
    pub name: &'static str,
    /// Which input; `None`: rows are counted.
    pub input: Option<usize>,
    /// The number that it was given.
    pub number: Option<f64>,
}

/// The first rows of each part, in an order. Where that says nothing, the smaller row comes first, column by column, a null before all.
#[derive(Clone, Debug)]
pub struct Top {
    /// Of what.
    pub of: Node,
    /// What rows of one part have in common.
    pub parts: Vec<Expression>,
    /// By what they are ordered.
    pub order: Vec<Order>,
    /// How many at most.
    pub limit: usize,
    /// Whether each row has its number from 1 on, as an unsigned integer, behind its other columns.
    pub numbered: bool,
}

/// By what rows are ordered.
#[derive(Clone, Debug)]
pub struct Order {
    /// The value.
    pub by: Expression,
    /// The greatest first.
    pub descending: bool,
    /// Nulls before all others.
    pub nulls_first: bool,
}

/// A query, checked.
#[derive(Clone, Debug)]
pub struct Query {
    /// What its rows are.
    pub node: Node,
    /// The names and types of their columns.
    pub fields: Vec<(String, DataType)>,
    /// Lineage: of each column the columns that it is made of, as `COLLECTION.COLUMN`; of an aggregate also those that decide which rows there are.
    pub lineage: Vec<Vec<String>>,
    unique: unique::Unique,
}

impl Query {
    /// Gives `sql` its meaning over what it may read.
    ///
    /// # Errors
    /// The first fault, with its place where that is known: syntax, an unknown name, types that do not go together, something that has no meaning
    /// over rows that change.
    pub fn compile(
        sql: &str,
        collections: &[Collection],
        aggregates: &[AggregateFunction],
    ) -> Result<Query, ExpressionError> {
        query::compile(sql, collections, aggregates)
    }

    /// Whether columns tell the rows apart.
    ///
    /// # Errors
    /// Nothing says that they do; what does tell them apart, or why nothing does.
    pub fn check_key(&self, key: &[usize]) -> Result<(), String> {
        self.unique.check(key, &self.fields)
    }
}

impl Node {
    /// Calls `each` with this node and all below.
    pub fn each<'a>(&'a self, each: &mut dyn FnMut(&'a Node)) {
        each(self);
        match self {
            Node::Read { .. } => {}
            Node::Map { of, .. } | Node::Aggregate { of, .. } | Node::Distinct(of) => of.each(each),
            Node::Join(join) => [&join.left, &join.right].into_iter().for_each(|side| side.each(each)),
            Node::Union(all) => all.iter().for_each(|one| one.each(each)),
            Node::Top(top) => top.of.each(each),
        }
    }
}

/// The type that values of a type have here; `None`: no column can have them.
pub fn column_type(data_type: &DataType) -> Option<DataType> {
    super::normal::normal_type(data_type)
}

/// A column of rows as it is, by its place.
pub fn column(at: usize, types: &[DataType]) -> Expression {
    compile::column(at, types)
}

/// The names of what a query reads, in no order. A query that cannot be read names nothing.
pub fn named(sql: &str) -> Vec<String> {
    query::named(sql).unwrap_or_default()
}
