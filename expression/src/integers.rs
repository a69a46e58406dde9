//! Arithmetic of integers has the room of 64 bits, and fails where that is not enough.
//!
//! ```text
//! u8 200 + 100           300        operands narrower than 64 bits are widened to int64
//! -(-128) of i8          128
//! i64 1 << 63            failed     a bit would be lost
//! u64 1 >> -1            failed     there is no such shift
//! ```
//!
//! DataFusion adds in the type of the operands, and takes of a shift's width its last six bits.

use std::fmt::{Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::compute::kernels::arity::try_binary;
use arrow::datatypes::{DataType, FieldRef, Int64Type, Schema, UInt64Type};
use arrow::error::ArrowError;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result, ScalarValue, exec_err};
use datafusion_expr::expr::BinaryExpr as LogicalBinary;
use datafusion_expr::{ColumnarValue, Expr, ExprSchemable, Operator, cast, lit};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::BinaryExpr;

/// Gives arithmetic of narrow integers the room of 64 bits. To be called before types are coerced.
pub(super) fn widened(expr: Expr, known: &DFSchema) -> Result<Transformed<Expr>> {
    if !is_arithmetic(&expr) || !expr_type(&expr, known).is_some_and(|data_type| is_narrow(&data_type)) {
        return Ok(Transformed::no(expr));
    }
    let wide = |of: Box<Expr>| Box::new(cast(*of, DataType::Int64));
    Ok(Transformed::yes(match expr {
        Expr::Negative(of) => Expr::Negative(wide(of)),
        Expr::BinaryExpr(LogicalBinary { left, op, right }) => {
            Expr::BinaryExpr(LogicalBinary { left: wide(left), op, right: wide(right) })
        }
        other => other,
    }))
}

/// How many there are is an int64, as whatever else is counted.
pub(super) fn counted(expr: Expr) -> Result<Transformed<Expr>> {
    Ok(match &expr {
        Expr::ScalarFunction(call) if call.func.name() == "array_length" => {
            Transformed::yes(cast(expr, DataType::Int64))
        }
        _ => Transformed::no(expr),
    })
}

fn is_arithmetic(expr: &Expr) -> bool {
    use Operator::*;
    match expr {
        Expr::Negative(_) => true,
        Expr::BinaryExpr(LogicalBinary { op, .. }) => {
            matches!(op, Plus | Minus | Multiply | Divide | Modulo | BitwiseShiftLeft | BitwiseShiftRight)
        }
        _ => false,
    }
}

/// Of a negation the type of what is negated: an unsigned integer has none itself.
fn expr_type(expr: &Expr, known: &DFSchema) -> Option<DataType> {
    match expr {
        Expr::Negative(of) => of.get_type(known).ok(),
        expr => expr.get_type(known).ok(),
    }
}

fn is_narrow(data_type: &DataType) -> bool {
    data_type.is_integer() && !matches!(data_type, DataType::Int64 | DataType::UInt64)
}

/// Of signed integers `-x` as `0 - x`: of the least one, DataFusion's own gives the same again.
pub(super) fn negation(expr: Expr, known: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::Negative(of) = expr else { return Ok(Transformed::no(expr)) };
    let data_type = of.get_type(known)?;
    if !data_type.is_signed_integer() {
        return Ok(Transformed::no(Expr::Negative(of)));
    }
    let zero = Box::new(lit(ScalarValue::new_zero(&data_type)?));
    Ok(Transformed::yes(Expr::BinaryExpr(LogicalBinary { left: zero, op: Operator::Minus, right: of })))
}

/// The same operation, which fails where its result does not fit; `None`: it always fits, or is none of integers and decimals.
pub(super) fn checked(node: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let binary = node.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (Arc::clone(binary.left()), Arc::clone(binary.right()));
    match binary.op() {
        Operator::Plus | Operator::Minus | Operator::Multiply => {
            Some(Arc::new(BinaryExpr::new(left, *binary.op(), right).with_fail_on_overflow(true)))
        }
        Operator::BitwiseShiftLeft => Some(Arc::new(Shift { inner: Arc::clone(node), left, right, to: To::Left })),
        Operator::BitwiseShiftRight => Some(Arc::new(Shift { inner: Arc::clone(node), left, right, to: To::Right })),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Left,
    Right,
}

/// A shift of a 64-bit integer by another one.
#[derive(Debug, Eq)]
struct Shift {
    /// As DataFusion has it: it knows the types.
    inner: Arc<dyn PhysicalExpr>,
    left: Arc<dyn PhysicalExpr>,
    right: Arc<dyn PhysicalExpr>,
    to: To,
}

impl PartialEq for Shift {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Hash for Shift {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Shift {
    fn shifted(&self, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
        match (left.data_type(), right.data_type(), self.to) {
            (DataType::Int64, DataType::Int64, To::Left) => each::<Int64Type>(left, right, |x, by| {
                let shifted = x.checked_shl(u32::try_from(by.min(64)).ok()?);
                shifted.filter(|shifted| shifted >> by == x).or((x == 0).then_some(0))
            }),
            (DataType::Int64, DataType::Int64, To::Right) => {
                each::<Int64Type>(left, right, |x, by| (by >= 0).then(|| x >> by.min(63)))
            }
            (DataType::UInt64, DataType::UInt64, To::Left) => each::<UInt64Type>(left, right, |x, by| {
                let shifted = x.checked_shl(u32::try_from(by.min(64)).ok()?);
                shifted.filter(|shifted| shifted >> by == x).or((x == 0).then_some(0))
            }),
            (DataType::UInt64, DataType::UInt64, To::Right) => each::<UInt64Type>(left, right, |x, by| {
                Some(x.checked_shr(u32::try_from(by.min(64)).ok()?).unwrap_or(0))
            }),
            (left, right, _) => exec_err!("a shift of {left} by {right}"),
        }
    }
}

fn each<T: ArrowPrimitiveType>(
    left: &ArrayRef,
    right: &ArrayRef,
    shift: impl Fn(T::Native, T::Native) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
    let lost = || ArrowError::ComputeError("a shift loses bits, or is none".to_owned());
    let shifted: PrimitiveArray<T> = try_binary(left, right, |x, by| shift(x, by).ok_or_else(lost))?;
    Ok(Arc::new(shifted))
}

impl Display for Shift {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Shift {
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
        let values = |of: &Arc<dyn PhysicalExpr>| of.evaluate(batch)?.into_array(batch.num_rows());
        Ok(ColumnarValue::Array(self.shifted(&values(&self.left)?, &values(&self.right)?)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let [left, right] = children.as_slice() else { return exec_err!("a shift is of two") };
        let inner = Arc::clone(&self.inner).with_new_children(children.clone())?;
        Ok(Arc::new(Shift { inner, left: Arc::clone(left), right: Arc::clone(right), to: self.to }))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt_sql(f)
    }
}
