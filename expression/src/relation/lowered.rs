//! What a plan is lowered to, and how whatever has no place there is refused.

use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, Result};

use super::Node;
use super::unique::Unique;

/// A node, the types of its columns, and which of them tell its rows apart.
#[derive(Debug)]
pub struct Lowered {
    pub node: Node,
    pub types: Vec<DataType>,
    pub unique: Unique,
}

/// Something that has no place among the nodes.
pub fn refused<T>(message: impl Into<String>) -> Result<T> {
    Err(DataFusionError::Plan(message.into()))
}
