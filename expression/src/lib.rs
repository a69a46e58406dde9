//! `where` and `of`: SQL expressions over one event, and over nothing else.
//!
//! ```text
//! qty      amount / qty        an event fails when it fails on that event alone:
//! 2        5.0                 its value is null and its row is told as failed,
//! 0        failed              whatever stands beside it in the batch
//! null     null
//! ```
//!
//! The dialect is DataFusion's, with few differences. Names keep their case (`userId` needs no quotes), and what would make a
//! value depend on more than the event is refused: subqueries, aggregates, window functions, clocks, random numbers.
//! A column may lie inside others (`payload.user.id`), and what is in lists and maps is looked up: `items[1]`, `attributes['color']`,
//! `array_length(items)`. Bytes are texts, where only texts will do.
//! Arithmetic of integers has 64 bits, whatever its operands have. No value wraps: an integer, a decimal or a time that does not
//! fit its type fails, as do a division of integers by zero and a text of more than a mebibyte. Of the columns read and of every result, -0.0 is 0.0 and all NaNs are one. Times are
//! microseconds, and in UTC where they name no zone.
//!
//! How: `dialect` knows the functions (`bounded` those that ask for memory), `parse` checks names and forms on the syntax tree
//! (where places in the text are still known), `resolve` gives types and a physical expression, `checked` makes it fail where a
//! value does not fit (`integers` knows where these wrap), `evaluate` runs it, `normal` makes one of equal values.

#![deny(missing_docs)]

mod bounded;
mod checked;
mod dialect;
mod evaluate;
mod integers;
mod meant;
mod normal;
mod parse;
pub mod path;
pub mod relation;
mod resolve;
mod syntax;
#[cfg(test)]
mod tests;
mod times;
mod tokens;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

pub use evaluate::{Evaluated, ROWS_MAX, bytes_of, in_parts, is_evaluating};
pub use tokens::{Token, TokenKind, tokens};

use resolve::Bytes;

/// Key of a field's metadata in a source's schema: nobody can use the column, and the value says why. Whoever names it is told.
pub const UNUSABLE: &str = "unusable";

/// Key of a schema's metadata, before the name of a column that it does not have: what is told of who names it.
pub const MEANT: &str = "meant ";

/// A checked expression, ready to be evaluated on batches of its source.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{AsArray, Float64Array, Int64Array, RecordBatch};
/// use arrow::datatypes::{DataType, Int64Type};
/// use headwater_expression::Expression;
///
/// let batch = RecordBatch::try_from_iter([
///     ("userId", Arc::new(Int64Array::from(vec![7, 8, 9])) as _),
///     ("qty", Arc::new(Int64Array::from(vec![Some(2), Some(0), None])) as _),
/// ])?;
/// let expression = Expression::compile("userId / qty", &batch.schema())?;
/// assert_eq!(expression.data_type(), &DataType::Int64);
/// assert_eq!(expression.columns(), ["userId", "qty"]);
///
/// let evaluated = expression.evaluate(&batch, &|_| None);
/// assert_eq!(evaluated.values.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(3), None, None]));
/// assert_eq!(evaluated.failed, Some(vec![false, true, false].into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Expression {
    columns: Vec<String>,
    /// Of `columns`, in their order. All are nullable: a field that does not decode is null.
    inputs: SchemaRef,
    program: Program,
    data_type: DataType,
    nullable: bool,
    is_widened: bool,
}

#[derive(Clone, Debug)]
enum Program {
    /// The only input as it is.
    Column,
    Tree(Arc<dyn PhysicalExpr>),
}

/// What is wrong with an expression: one line, for the user who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// What is wrong, and what was expected.
    pub message: String,
    /// Where in the text, in bytes from its start; where that is not known, the fault is the whole's.
    pub offset: Option<usize>,
}

impl Expression {
    /// Parses, resolves and type-checks `sql` against the source's columns.
    ///
    /// An expression may fail on every event and still be right. It is wrong if it fails whatever an event holds, even
    /// without any: `1 / 0`, `CAST('x' AS INT)`.
    ///
    /// # Errors
    /// The first fault, with its place: syntax, an unknown name (and the nearest known one), a form that may not be used, a
    /// mismatch of types, a result whose type no feature can have.
    pub fn compile(sql: &str, schema: &SchemaRef) -> Result<Self, ExpressionError> {
        let parsed = parse::parse(sql, schema)?;
        let declared = inputs(&parsed.columns, schema);
        let compile = |bytes| {
            let resolved = resolve::resolve(sql, &parsed.syntax, schema, &declared, bytes)?;
            let data_type = supported(&resolved.data_type)?;
            let columns = parsed.columns.iter().map(|path| path::text(path)).collect();
            let (inputs, resolve::Resolved { program, nullable, is_widened, .. }) =
                (resolve::nullable(&declared), resolved);
            Ok(Self { columns, inputs, program, data_type, nullable, is_widened })
        };
        // What gives no value from bytes may give one from texts.
        let has_bytes = declared.fields().iter().any(|field| has_bytes(field.data_type()));
        match compile(Bytes::AsTheyAre) {
            Err(error) if has_bytes => compile(Bytes::Texts).map_err(|_| error),
            compiled => compiled,
        }
    }

    /// What lies at a path, as a key needs it: the name of a column, and names of fields inside of it.
    ///
    /// # Errors
    /// An unknown name, and a column whose type no feature can have.
    pub fn column<T: AsRef<str>>(path: &[T], schema: &SchemaRef) -> Result<Self, ExpressionError> {
        if let Some(name) = path.first().filter(|name| schema.field_with_name(name.as_ref()).is_err()) {
            return Err(ExpressionError { message: parse::unknown_column(name.as_ref(), schema), offset: None });
        }
        let quoted = path.iter().map(|name| format!("\"{}\"", name.as_ref().replace('"', "\"\"")));
        Self::compile(&quoted.collect::<Vec<_>>().join("."), schema)
    }

    /// The type of the values: a boolean, an integer, a float, `Utf8`, `Date32`, `Timestamp(Microsecond, "UTC")` or
    /// `Decimal128`.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Whether an event that does not fail may have a null value.
    pub fn nullable(&self) -> bool {
        self.nullable
    }

    /// Whether it is a column as it stands.
    pub fn is_column(&self) -> bool {
        matches!(self.program, Program::Column)
    }

    /// Whether it has arithmetic of integers with less than 64 bits, which is done in 64.
    pub fn is_widened(&self) -> bool {
        self.is_widened
    }

    /// The columns that the text names, in order of first appearance, whatever is never looked at. Each is the text of a path: a name
    /// that has a dot is quoted.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}

fn inputs(columns: &[Vec<String>], schema: &Schema) -> SchemaRef {
    let named = columns.iter().filter_map(|path| path::find(schema, path));
    let fields =
        named.map(|found| Field::new(found.field.name(), found.field.data_type().clone(), found.field.is_nullable()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn has_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary => true,
        DataType::List(item) => has_bytes(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_bytes(field.data_type())),
        DataType::Map(entries, _) => has_bytes(entries.data_type()),
        _ => false,
    }
}

fn supported(data_type: &DataType) -> Result<DataType, ExpressionError> {
    normal::normal_type(data_type).ok_or_else(|| ExpressionError {
        message: format!("an expression of type {data_type} is not supported"),
        offset: None,
    })
}
