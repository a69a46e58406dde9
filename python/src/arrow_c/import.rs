//! A table that another library holds, read where it lies: buffers are not copied, and each is held for as long as somebody reads it.

use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use arrow::array::{ArrayData, RecordBatch, StructArray, layout};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::abi::{ArrowArray, ArrowArrayStream, ArrowSchema, DICTIONARY_ORDERED, MAP_KEYS_SORTED, NULLABLE};
use super::types;

/// All of a stream.
///
/// # Safety
/// `stream` is one as the interface says, or empty.
pub unsafe fn read(mut stream: ArrowArrayStream) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let (Some(get_schema), Some(get_next)) = (stream.get_schema, stream.get_next) else {
        return Err("this Arrow stream has been read already: it can be read once".to_owned());
    };
    let mut schema = ArrowSchema::empty();
    if unsafe { get_schema(&mut stream, &mut schema) } != 0 {
        return Err(unsafe { last_error(&mut stream) });
    }
    let root = unsafe { field(&schema) }?;
    let DataType::Struct(fields) = root.data_type() else {
        return Err(format!("expected a table, but this Arrow stream is one of {}", root.data_type()));
    };
    let schema = Arc::new(Schema::new_with_metadata(fields.clone(), root.metadata().clone()));
    let mut batches = vec![];
    loop {
        let mut array = ArrowArray::empty();
        if unsafe { get_next(&mut stream, &mut array) } != 0 {
            return Err(unsafe { last_error(&mut stream) });
        }
        if array.release.is_none() {
            return Ok((schema, batches));
        }
        batches.push(unsafe { batch(array, &schema) }?);
    }
}

unsafe fn last_error(stream: &mut ArrowArrayStream) -> String {
    let text = stream.get_last_error.map_or(ptr::null(), |ask| unsafe { ask(stream) });
    unsafe { text_of(text) }.unwrap_or_else(|_| "the table cannot be read".to_owned())
}

unsafe fn batch(array: ArrowArray, schema: &SchemaRef) -> Result<RecordBatch, String> {
    let rows = length(array.length)?;
    let array = Arc::new(array);
    let mut data = unsafe { data(&array, &array, &DataType::Struct(schema.fields().clone())) }?;
    // Other libraries are content with less.
    data.align_buffers();
    data.validate().map_err(|e| e.to_string())?;
    let whole = StructArray::from(data);
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), whole.columns().to_vec(), &options).map_err(|e| e.to_string())
}

/// `owner`: what holds the buffers of `array`, which may be a part of it.
unsafe fn data(array: &ArrowArray, owner: &Arc<ArrowArray>, data_type: &DataType) -> Result<ArrayData, String> {
    let (len, offset) = (length(array.length)?, length(array.offset)?);
    let expected = layout(data_type);
    let mut given = unsafe { buffers(array) }?.into_iter();
    let held = |at: *const u8, bytes: usize| match NonNull::new(at.cast_mut()) {
        Some(at) => unsafe { Buffer::from_custom_allocation(at, bytes, owner.clone()) },
        None => Buffer::from(&[] as &[u8]),
    };
    let all = len + offset;
    let nulls = match expected.can_contain_null_mask {
        true => given.next().filter(|at| !at.is_null()).map(|at| held(at, all.div_ceil(8))),
        false => None,
    };
    let given: Vec<*const u8> = given.collect();
    let short = || format!("an Arrow array of {data_type} has {} buffers", given.len());
    let mut parts = vec![];
    if expected.variadic {
        // The last has the lengths of those between.
        let [views, between @ .., lengths] = given.as_slice() else { return Err(short()) };
        parts.push(held(*views, all * 16));
        for (n, at) in between.iter().enumerate() {
            let bytes = unsafe { lengths.cast::<i64>().add(n).read_unaligned() };
            parts.push(held(*at, length(bytes)?));
        }
    } else {
        for (n, _) in expected.buffers.iter().enumerate() {
            let at = *given.get(n).ok_or_else(short)?;
            let bytes = match (n, parts.first()) {
                (1, Some(offsets)) if is_bytes(data_type) => last_offset(offsets, data_type, all)?,
                _ => buffer_bytes(data_type, n, all),
            };
            parts.push(if bytes == 0 { held(ptr::null(), 0) } else { held(at, bytes) });
        }
    }
    let mut children = vec![];
    let fields = types::children(data_type);
    if fields.len() as i64 != array.n_children {
        return Err(format!("an Arrow array of {data_type} has {} children", array.n_children));
    }
    for (n, field) in fields.iter().enumerate() {
        let child = unsafe { (*array.children.add(n)).as_ref() }.ok_or("an Arrow array lacks a child")?;
        children.push(unsafe { self::data(child, owner, field.data_type()) }?);
    }
    if let DataType::Dictionary(_, values) = data_type {
        let dictionary = unsafe { array.dictionary.as_ref() }.ok_or("an Arrow array lacks its dictionary")?;
        children.push(unsafe { self::data(dictionary, owner, values) }?);
    }
    let null_count = usize::try_from(array.null_count).ok().filter(|_| *data_type != DataType::Null);
    Ok(unsafe { ArrayData::new_unchecked(data_type.clone(), len, null_count, nulls, offset, parts, children) })
}

fn length(number: i64) -> Result<usize, String> {
    usize::try_from(number).map_err(|_| format!("an Arrow array has the length {number}"))
}

unsafe fn buffers(array: &ArrowArray) -> Result<Vec<*const u8>, String> {
    let count = length(array.n_buffers)?;
    if count > 0 && array.buffers.is_null() {
        return Err("an Arrow array lacks its buffers".to_owned());
    }
    Ok((0..count).map(|n| unsafe { *array.buffers.add(n) }.cast()).collect())
}

/// Whether it has offsets, and bytes behind them.
fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary)
}

/// How many bytes the buffer of this number has, where that follows from the array's length.
fn buffer_bytes(data_type: &DataType, number: usize, all: usize) -> usize {
    use DataType::*;
    match data_type {
        Boolean => all.div_ceil(8),
        Utf8 | Binary | List(_) | Map(..) => offsets_bytes(all, 4),
        LargeUtf8 | LargeBinary | LargeList(_) => offsets_bytes(all, 8),
        ListView(_) => all * 4,
        LargeListView(_) => all * 8,
        FixedSizeBinary(size) => all * usize::try_from(*size).unwrap_or(0),
        // The types, and of a dense one the offsets.
        Union(..) => all * [1, 4][number.min(1)],
        Dictionary(keys, _) => buffer_bytes(keys, number, all),
        other => all * other.primitive_width().unwrap_or(0),
    }
}

/// An array without rows may have no offsets at all.
fn offsets_bytes(all: usize, width: usize) -> usize {
    if all == 0 { 0 } else { (all + 1) * width }
}

fn last_offset(offsets: &Buffer, data_type: &DataType, all: usize) -> Result<usize, String> {
    if offsets.is_empty() {
        return Ok(0);
    }
    let is_large = matches!(data_type, DataType::LargeUtf8 | DataType::LargeBinary);
    let width = if is_large { 8 } else { 4 };
    let at = &offsets.as_slice()[all * width..(all + 1) * width];
    let last = match is_large {
        true => i64::from_ne_bytes(at.try_into().unwrap_or_default()),
        false => i32::from_ne_bytes(at.try_into().unwrap_or_default()).into(),
    };
    length(last)
}

unsafe fn field(schema: &ArrowSchema) -> Result<Field, String> {
    let mut children: Vec<FieldRef> = vec![];
    for n in 0..length(schema.n_children)? {
        let child = unsafe { (*schema.children.add(n)).as_ref() }.ok_or("an Arrow schema lacks a child")?;
        children.push(Arc::new(unsafe { field(child) }?));
    }
    let format = unsafe { text_of(schema.format) }?;
    let name = if schema.name.is_null() { String::new() } else { unsafe { text_of(schema.name) }? };
    let mut data_type = types::parse(&format, children, schema.flags & MAP_KEYS_SORTED != 0)?;
    if let Some(dictionary) = unsafe { schema.dictionary.as_ref() } {
        let values = unsafe { field(dictionary) }?.data_type().clone();
        data_type = DataType::Dictionary(Box::new(data_type), Box::new(values));
    }
    let is_nullable = schema.flags & NULLABLE != 0;
    let metadata = unsafe { metadata(schema.metadata) }?;
    let is_ordered = schema.flags & DICTIONARY_ORDERED != 0;
    Ok(Field::new(name, data_type, is_nullable).with_metadata(metadata).with_dict_is_ordered(is_ordered))
}

unsafe fn text_of(text: *const c_char) -> Result<String, String> {
    if text.is_null() {
        return Err("an Arrow schema lacks a text".to_owned());
    }
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    text.map(str::to_owned).map_err(|_| "a name in an Arrow schema is no UTF-8".to_owned())
}

/// A number of pairs, each key and value behind its length.
unsafe fn metadata(at: *const c_char) -> Result<HashMap<String, String>, String> {
    let mut pairs = HashMap::new();
    if at.is_null() {
        return Ok(pairs);
    }
    let mut at = at.cast::<u8>();
    let number = |at: &mut *const u8| {
        let read = unsafe { at.cast::<i32>().read_unaligned() };
        *at = unsafe { at.add(4) };
        length(read.into())
    };
    let text = |at: &mut *const u8| -> Result<String, String> {
        let bytes = number(at)?;
        let text = unsafe { std::slice::from_raw_parts(*at, bytes) };
        *at = unsafe { at.add(bytes) };
        String::from_utf8(text.to_vec()).map_err(|_| "metadata of an Arrow schema is no UTF-8".to_owned())
    };
    for _ in 0..number(&mut at)? {
        let key = text(&mut at)?;
        pairs.insert(key, text(&mut at)?);
    }
    Ok(pairs)
}
