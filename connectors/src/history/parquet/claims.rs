//! Statistics of a row group, held against the values that are read: a start and what is read at all rest on them.
//!
//! ```text
//! statistics of `ts`     values        told
//! 04:00 to 05:00         04:00 05:00   nothing
//! 04:00 to 05:00         04:00 12:00   12:00 is not between them
//! 04:00 to 20:00         04:00 12:00   20:00 is not there
//! ```
//!
//! Of integers and times the bounds are values themselves. Of floats, decimals, texts and booleans they may be rounded
//! outwards, so only a value beyond them is told. What writers got wrong by an older rule (unsigned integers, texts and bytes
//! compared as if they were signed) is not looked at, as it is nowhere used.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{max, max_boolean, min, min_boolean};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use parquet::basic::{ColumnOrder, SortOrder};
use parquet::data_type::AsBytes;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;

use super::statistics;

/// What a row group's statistics claim of one column, and what was seen of it.
pub(super) struct Claims {
    name: String,
    bounds: Option<Bounds>,
    nulls: Option<u64>,
    seen: SeenValues,
}

#[derive(Debug)]
enum Bounds {
    Integers(i128, i128),
    Floats(f64, f64),
    Decimals(i128, i128),
    Texts(Vec<u8>, Vec<u8>),
    Booleans(bool, bool),
}

#[derive(Default)]
struct SeenValues {
    nulls: u64,
    /// Of integers.
    range: Option<(i128, i128)>,
}

impl Claims {
    /// `data_type`: of the column as it is decoded.
    pub fn new(name: &str, chunk: &ColumnChunkMetaData, order: ColumnOrder, data_type: &DataType) -> Option<Claims> {
        let statistics = chunk.statistics()?;
        let bounds = bounds(statistics, order, data_type);
        Some(Claims { name: name.into(), bounds, nulls: statistics.null_count_opt(), seen: SeenValues::default() })
    }

    /// Looks at some values, as they are handed on. `undecoded`: so many nulls among them are values that did not decode.
    ///
    /// # Errors
    /// What the values say that the file's schema does not.
    pub fn look(&mut self, values: &ArrayRef, undecoded: usize) -> Result<(), String> {
        self.seen.nulls += (values.logical_null_count() - undecoded) as u64;
        match &self.bounds {
            None => Ok(()),
            Some(Bounds::Integers(low, high)) => {
                let Some((least, greatest)) = integers(values) else { return Ok(()) };
                let seen = self.seen.range.get_or_insert((least, greatest));
                *seen = (seen.0.min(least), seen.1.max(greatest));
                let beyond = [least, greatest].into_iter().find(|value| !(low..=high).contains(&value));
                beyond.map_or(Ok(()), |value| Err(self.beyond(values.data_type(), value)))
            }
            Some(bounds) => match bounds.beyond(values) {
                None => Ok(()),
                Some(value) => Err(format!("column {:?} holds {value}, and its statistics say {bounds}", self.name)),
            },
        }
    }

    /// Once every value has been looked at, which are handed on as `data_type`.
    ///
    /// # Errors
    /// What does not hold of them all.
    pub fn finish(&self, data_type: &DataType) -> Result<(), String> {
        let name = &self.name;
        if let Some(nulls) = self.nulls.filter(|nulls| *nulls != self.seen.nulls) {
            return Err(format!("column {name:?} holds {} nulls, and its statistics say {nulls}", self.seen.nulls));
        }
        let (Some(Bounds::Integers(low, high)), Some((least, greatest))) = (&self.bounds, self.seen.range) else {
            return Ok(());
        };
        let absent = [(low, least), (high, greatest)].into_iter().find(|(claimed, seen)| *claimed != seen);
        absent.map_or(Ok(()), |(_, seen)| Err(self.beyond(data_type, seen)))
    }

    fn beyond(&self, data_type: &DataType, value: i128) -> String {
        let Some(Bounds::Integers(low, high)) = &self.bounds else { return String::new() };
        let [value, low, high] = [value, *low, *high].map(|value| shown(value, data_type));
        format!("column {:?} holds {value}, and its statistics say {low} to {high}", self.name)
    }
}

fn bounds(statistics: &Statistics, order: ColumnOrder, data_type: &DataType) -> Option<Bounds> {
    if let Some((low, high)) = statistics::bounds(statistics, data_type) {
        return Some(Bounds::Integers(low.into(), high.into()));
    }
    let is_ordered = !statistics.is_min_max_deprecated() && matches!(order, ColumnOrder::TYPE_DEFINED_ORDER(_));
    if !is_ordered {
        return None;
    }
    match (statistics, data_type) {
        (Statistics::Boolean(s), DataType::Boolean) => Some(Bounds::Booleans(*s.min_opt()?, *s.max_opt()?)),
        (Statistics::Float(s), DataType::Float32) => floats((*s.min_opt()?).into(), (*s.max_opt()?).into()),
        (Statistics::Double(s), DataType::Float64) => floats(*s.min_opt()?, *s.max_opt()?),
        (_, DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..)) => {
            let (low, high) = match statistics {
                Statistics::Int32(s) => ((*s.min_opt()?).into(), (*s.max_opt()?).into()),
                Statistics::Int64(s) => ((*s.min_opt()?).into(), (*s.max_opt()?).into()),
                Statistics::FixedLenByteArray(s) => {
                    (decimal(s.min_opt()?.as_bytes())?, decimal(s.max_opt()?.as_bytes())?)
                }
                _ => return None,
            };
            Some(Bounds::Decimals(low, high))
        }
        (Statistics::ByteArray(s), DataType::Utf8 | DataType::Binary) if order.sort_order() == SortOrder::UNSIGNED => {
            Some(Bounds::Texts(s.min_opt()?.as_bytes().into(), s.max_opt()?.as_bytes().into()))
        }
        _ => None,
    }
}

/// A NaN is no bound.
fn floats(low: f64, high: f64) -> Option<Bounds> {
    (low <= high).then_some(Bounds::Floats(low, high))
}

/// Big-endian, in as many bytes as it pleases.
fn decimal(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    let mut wide = [if first & 0x80 == 0 { 0 } else { 0xff }; 16];
    wide.get_mut(16usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

impl Bounds {
    /// A value that is not between the bounds.
    fn beyond(&self, values: &ArrayRef) -> Option<String> {
        match (self, values.data_type()) {
            (Bounds::Floats(low, high), DataType::Float64) => {
                let mut values = values.as_primitive::<Float64Type>().iter().flatten();
                values.find(|x| x < low || x > high).map(|x| x.to_string())
            }
            (Bounds::Floats(low, high), DataType::Float32) => {
                let mut values = values.as_primitive::<Float32Type>().iter().flatten().map(f64::from);
                values.find(|x| x < low || x > high).map(|x| x.to_string())
            }
            (Bounds::Decimals(low, high), DataType::Decimal128(..)) => {
                let decimals = values.as_primitive::<Decimal128Type>();
                let mut values = decimals.iter().flatten();
                values.find(|x| !(low..=high).contains(&x)).map(|x| x.to_string())
            }
            (Bounds::Texts(low, high), DataType::Utf8) => {
                let texts = values.as_string::<i32>();
                let mut values = texts.iter().flatten();
                let beyond = |text: &&str| text.as_bytes() < &low[..] || text.as_bytes() > &high[..];
                values.find(beyond).map(|text| format!("{:?}", text.chars().take(40).collect::<String>()))
            }
            (Bounds::Texts(low, high), DataType::Binary) => {
                let mut values = values.as_binary::<i32>().iter().flatten();
                values
                    .find(|bytes| *bytes < &low[..] || *bytes > &high[..])
                    .map(|bytes| format!("{} bytes", bytes.len()))
            }
            (Bounds::Booleans(low, high), DataType::Boolean) => {
                let booleans = values.as_boolean();
                let found = [min_boolean(booleans), max_boolean(booleans)];
                found.into_iter().flatten().find(|x| !(low..=high).contains(&x)).map(|x| x.to_string())
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(40).collect::<String>();
        match self {
            Bounds::Integers(low, high) | Bounds::Decimals(low, high) => write!(f, "{low} to {high}"),
            Bounds::Floats(low, high) => write!(f, "{low} to {high}"),
            Bounds::Booleans(low, high) => write!(f, "{low} to {high}"),
            Bounds::Texts(low, high) => write!(f, "{:?} to {:?}", text(low), text(high)),
        }
    }
}

fn shown(value: i128, data_type: &DataType) -> String {
    let time = match data_type {
        DataType::Timestamp(..) => i64::try_from(value).ok().and_then(timestamp_us_to_datetime),
        DataType::Date32 => i32::try_from(value).ok().and_then(date32_to_datetime),
        _ => None,
    };
    time.map_or_else(|| value.to_string(), |time| format!("{time} UTC"))
}

/// The least and the greatest of integers or times; `None`: there are none.
fn integers(values: &ArrayRef) -> Option<(i128, i128)> {
    fn of<T: ArrowPrimitiveType<Native: Into<i128>>>(values: &ArrayRef) -> Option<(i128, i128)> {
        let values = values.as_primitive::<T>();
        Some((min(values)?.into(), max(values)?.into()))
    }
    match values.data_type() {
        DataType::Int8 => of::<Int8Type>(values),
        DataType::Int16 => of::<Int16Type>(values),
        DataType::Int32 => of::<Int32Type>(values),
        DataType::Int64 => of::<Int64Type>(values),
        DataType::UInt8 => of::<UInt8Type>(values),
        DataType::UInt16 => of::<UInt16Type>(values),
        DataType::UInt32 => of::<UInt32Type>(values),
        DataType::UInt64 => of::<UInt64Type>(values),
        DataType::Date32 => of::<Date32Type>(values),
        DataType::Timestamp(..) => of::<TimestampMicrosecondType>(values),
        _ => None,
    }
}
