//! Functions that can ask for memory, or for time, by what they are given: asked first how much it will be.
//!
//! ```text
//! lpad(code, n, '0')       n characters, however short `code` is
//! repeat(code, n)          n times as many bytes
//! replace(text, 'a', b)    as many times `b` as there are `a`
//! ```
//!
//! What is too long for one event fails it before a byte is reserved. What is too much for a batch fails the batch, which is
//! then tried in halves.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use super::checked::TEXT_BYTES_MAX;

/// What a batch may ask for at once.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// How many bytes a function asks for with one event's arguments, at most.
type BytesAsked = fn(&Arguments) -> usize;

const FUNCTIONS: [(&str, BytesAsked); 6] = [
    ("lpad", padded),
    ("rpad", padded),
    ("repeat", |row| row.text(0).len().saturating_mul(row.number(1))),
    ("replace", replaced),
    ("regexp_replace", replaced_by_pattern),
    // It takes time alone: a step for each pair of characters. A mebi-step is a millisecond.
    ("levenshtein", |row| row.text(0).len().saturating_mul(row.text(1).len()) >> 8),
];

/// The function, or one that asks first.
pub(super) fn bounded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let asked = FUNCTIONS.iter().find(|(name, _)| *name == function.name());
    asked.map_or(Arc::clone(&function), |(_, asked)| {
        Arc::new(ScalarUDF::new_from_impl(Bounded { inner: function, asked: *asked }))
    })
}

fn padded(row: &Arguments) -> usize {
    let widest = [row.text(0), row.text(2)].iter().flat_map(|text| text.chars()).map(char::len_utf8).max();
    row.number(1).saturating_mul(widest.unwrap_or(1))
}

fn replaced(row: &Arguments) -> usize {
    let (text, from, to) = (row.text(0), row.text(1), row.text(2));
    if from.is_empty() {
        return text.len().saturating_add(1).saturating_mul(to.len().saturating_add(1));
    }
    let bound = (text.len() / from.len()).saturating_mul(to.len()).saturating_add(text.len());
    // Few of the places where it could be are so; who looks takes no memory.
    if bound <= TEXT_BYTES_MAX {
        bound
    } else {
        text.matches(from).count().saturating_mul(to.len()).saturating_add(text.len())
    }
}

/// Where a pattern matches is not known before. It may match between any two characters; but of what groups hold, no two
/// matches share any.
fn replaced_by_pattern(row: &Arguments) -> usize {
    let (text, to) = (row.text(0).len(), row.text(2));
    let matches = if row.text(3).contains('g') { text.saturating_add(1) } else { 1 };
    let groups = to.bytes().filter(|byte| *byte == b'$' || *byte == b'\\').count();
    let bound = matches.saturating_mul(to.len()).saturating_add(groups.saturating_add(1).saturating_mul(text));
    // A bound that is seldom reached: a text that is only perhaps too long is looked at once it is there.
    if bound <= BATCH_BYTES_MAX / 2 { bound.min(TEXT_BYTES_MAX) } else { bound }
}

/// The values of an argument: texts as `LargeUtf8`, integers as `Int64`. One alone is every event's.
struct Argument(ArrayRef);

impl Argument {
    fn new(values: &ColumnarValue) -> Result<Argument> {
        let values = match values {
            ColumnarValue::Array(values) => Arc::clone(values),
            ColumnarValue::Scalar(value) => value.to_array()?,
        };
        Ok(Argument(match values.data_type() {
            text if text.is_string() => cast(&values, &DataType::LargeUtf8)?,
            number if number.is_integer() => cast(&values, &DataType::Int64)?,
            _ => values,
        }))
    }

    fn at(&self, row: usize) -> Option<usize> {
        let at = if self.0.len() == 1 { 0 } else { row };
        self.0.is_valid(at).then_some(at)
    }
}

/// One event's arguments.
struct Arguments<'a> {
    arguments: &'a [Argument],
    row: usize,
}

impl Arguments<'_> {
    /// Empty where there is none.
    fn text(&self, argument: usize) -> &str {
        let text = self.arguments.get(argument).and_then(|argument| {
            let texts = argument.0.as_string_opt::<i64>()?;
            Some(texts.value(argument.at(self.row)?))
        });
        text.unwrap_or_default()
    }

    /// Less than nothing is nothing.
    fn number(&self, argument: usize) -> usize {
        let number = self.arguments.get(argument).and_then(|argument| {
            let numbers = argument.0.as_primitive_opt::<Int64Type>()?;
            usize::try_from(numbers.value(argument.at(self.row)?)).ok()
        });
        number.unwrap_or_default()
    }
}

#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    asked: BytesAsked,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl std::hash::Hash for Bounded {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Bounded {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let arguments = args.args.iter().map(Argument::new).collect::<Result<Vec<_>>>()?;
        let rows = arguments.iter().map(|argument| argument.0.len()).max().unwrap_or_default();
        let mut all = 0usize;
        for row in 0..rows {
            let asked = (self.asked)(&Arguments { arguments: &arguments, row });
            all = all.saturating_add(asked);
            if asked > TEXT_BYTES_MAX || (rows > 1 && all > BATCH_BYTES_MAX) {
                return exec_err!("{} would give more than {TEXT_BYTES_MAX} bytes", self.name());
            }
        }
        Ok(())
    }
}

/// A negative length is none. For DataFusion it is, where it is a literal; in a column it is a number of 64 bits.
fn without_negatives(mut args: ScalarFunctionArgs) -> ScalarFunctionArgs {
    if let Some(ColumnarValue::Array(lengths)) = args.args.get_mut(1)
        && let Some(numbers) = lengths.as_primitive_opt::<Int64Type>()
    {
        *lengths = Arc::new(numbers.unary::<_, Int64Type>(|length| length.max(0)));
    }
    args
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.invoke_with_args(if self.name().ends_with("pad") { without_negatives(args) } else { args })
    }
}
