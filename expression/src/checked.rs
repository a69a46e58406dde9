//! What DataFusion would let pass: integers that wrap, decimals of more digits than their type has, texts without an end.
//!
//! ```text
//! i64 2^63 - 1 + 1  failed     the sum is no int64
//! repeat('ab', n)   failed     where the text is longer than a mebibyte
//! ```
//!
//! A value that does not fit fails on its event, wherever in the expression it arises.

use std::fmt::{Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericByteArray, RecordBatch};
use arrow::datatypes::{
    ArrowNativeType, ByteArrayType, DataType, Decimal128Type, Decimal256Type, DecimalType, FieldRef, Schema,
};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Result, exec_err};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, Literal};

use super::integers;

/// The longest text that an expression may give.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 20;

/// The same expression, in which what does not fit its type fails.
pub(super) fn checked(physical: Arc<dyn PhysicalExpr>, inputs: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    physical
        .transform_up(|node| {
            if node.downcast_ref::<Column>().is_some() || node.downcast_ref::<Literal>().is_some() {
                return Ok(Transformed::no(node));
            }
            let node = integers::checked(&node).unwrap_or(node);
            Ok(Transformed::yes(if is_bounded(&node.data_type(inputs)?) {
                Arc::new(Fits { inner: node })
            } else {
                node
            }))
        })
        .data()
}

fn is_bounded(data_type: &DataType) -> bool {
    use DataType::*;
    matches!(
        data_type,
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView | Decimal128(..) | Decimal256(..)
    )
}

/// Whether every value fits its type, and no text is too long.
///
/// # Errors
/// One does not.
pub(super) fn fits(values: &ArrayRef) -> Result<()> {
    match values.data_type() {
        DataType::Utf8 => short(values.as_string::<i32>()),
        DataType::LargeUtf8 => short(values.as_string::<i64>()),
        DataType::Binary => short(values.as_binary::<i32>()),
        DataType::LargeBinary => short(values.as_binary::<i64>()),
        DataType::Utf8View => told(values.as_string_view().iter().flatten().any(|text| text.len() > TEXT_BYTES_MAX)),
        DataType::BinaryView => {
            told(values.as_binary_view().iter().flatten().any(|bytes| bytes.len() > TEXT_BYTES_MAX))
        }
        DataType::Decimal128(precision, scale) => {
            let mut values = values.as_primitive::<Decimal128Type>().iter().flatten();
            Ok(values.try_for_each(|value| Decimal128Type::validate_decimal_precision(value, *precision, *scale))?)
        }
        DataType::Decimal256(precision, scale) => {
            let mut values = values.as_primitive::<Decimal256Type>().iter().flatten();
            Ok(values.try_for_each(|value| Decimal256Type::validate_decimal_precision(value, *precision, *scale))?)
        }
        _ => Ok(()),
    }
}

fn short<T: ByteArrayType>(texts: &GenericByteArray<T>) -> Result<()> {
    let bytes = |offsets: &[T::Offset]| offsets[1].as_usize() - offsets[0].as_usize();
    let offsets = texts.value_offsets();
    let all = offsets[offsets.len() - 1].as_usize() - offsets[0].as_usize();
    told(all > TEXT_BYTES_MAX && offsets.windows(2).any(|pair| bytes(pair) > TEXT_BYTES_MAX))
}

fn told(is_long: bool) -> Result<()> {
    if is_long { exec_err!("a text of more than {TEXT_BYTES_MAX} bytes") } else { Ok(()) }
}

/// An expression whose values are held against their type.
#[derive(Debug, Eq)]
struct Fits {
    inner: Arc<dyn PhysicalExpr>,
}

impl PartialEq for Fits {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Hash for Fits {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Display for Fits {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Fits {
    fn data_type(&self, inputs: &Schema) -> Result<DataType> {
        self.inner.data_type(inputs)
    }

    fn nullable(&self, inputs: &Schema) -> Result<bool> {
        self.inner.nullable(inputs)
    }

    fn return_field(&self, inputs: &Schema) -> Result<FieldRef> {
        self.inner.return_field(inputs)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let value = self.inner.evaluate(batch)?;
        match &value {
            ColumnarValue::Array(values) => fits(values)?,
            ColumnarValue::Scalar(value) => fits(&value.to_array()?)?,
        }
        Ok(value)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let [inner] = children.as_slice() else { return exec_err!("one expression is held against its type") };
        Ok(Arc::new(Fits { inner: Arc::clone(inner) }))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt_sql(f)
    }
}
