//! A table handed to another library: it reads our buffers where they lie, and says when it is done with them.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

use arrow::array::{Array, ArrayData, RecordBatch, StructArray, layout};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::abi::{ArrowArray, ArrowArrayStream, ArrowSchema, DICTIONARY_ORDERED, MAP_KEYS_SORTED, NULLABLE};
use super::types;

/// A table as a stream.
pub fn stream(schema: SchemaRef, batches: Vec<RecordBatch>) -> ArrowArrayStream {
    let rows = Box::new(Rows { schema, batches: batches.into_iter(), error: CString::default() });
    ArrowArrayStream {
        get_schema: Some(get_schema),
        get_next: Some(get_next),
        get_last_error: Some(get_last_error),
        release: Some(release_stream),
        private_data: Box::into_raw(rows).cast(),
    }
}

struct Rows {
    schema: SchemaRef,
    batches: std::vec::IntoIter<RecordBatch>,
    error: CString,
}

/// What the interface says for an argument that is wrong.
const EINVAL: c_int = 22;

unsafe extern "C" fn get_schema(stream: *mut ArrowArrayStream, out: *mut ArrowSchema) -> c_int {
    let rows = unsafe { &mut *(*stream).private_data.cast::<Rows>() };
    let whole = Field::new("", DataType::Struct(rows.schema.fields().clone()), false);
    match schema(&whole.with_metadata(rows.schema.metadata().clone())) {
        Ok(schema) => unsafe { out.write(schema) },
        Err(e) => {
            rows.error = CString::new(e).unwrap_or_default();
            return EINVAL;
        }
    }
    0
}

unsafe extern "C" fn get_next(stream: *mut ArrowArrayStream, out: *mut ArrowArray) -> c_int {
    let rows = unsafe { &mut *(*stream).private_data.cast::<Rows>() };
    let next = rows.batches.next().map_or_else(ArrowArray::empty, |batch| array(&StructArray::from(batch).into_data()));
    unsafe { out.write(next) };
    0
}

unsafe extern "C" fn get_last_error(stream: *mut ArrowArrayStream) -> *const c_char {
    unsafe { &*(*stream).private_data.cast::<Rows>() }.error.as_ptr()
}

unsafe extern "C" fn release_stream(stream: *mut ArrowArrayStream) {
    let stream = unsafe { &mut *stream };
    drop(unsafe { Box::from_raw(stream.private_data.cast::<Rows>()) });
    stream.release = None;
}

/// What a schema points to.
struct Described {
    _format: CString,
    _name: CString,
    _metadata: Option<Vec<u8>>,
    children: Vec<*mut ArrowSchema>,
    dictionary: *mut ArrowSchema,
}

fn schema(field: &Field) -> Result<ArrowSchema, String> {
    let text = |text: &str| CString::new(text).map_err(|_| format!("the name `{text:?}` has a zero byte"));
    let data_type = field.data_type();
    let boxed = |field: &Field| Ok::<_, String>(Box::into_raw(Box::new(schema(field)?)));
    let children = types::children(data_type).iter().map(|child| boxed(child)).collect::<Result<Vec<_>, _>>()?;
    let mut flags = if field.is_nullable() { NULLABLE } else { 0 };
    let mut dictionary = ptr::null_mut();
    match data_type {
        DataType::Dictionary(_, values) => {
            dictionary = boxed(&Field::new("", values.as_ref().clone(), true))?;
            flags |= if field.dict_is_ordered() == Some(true) { DICTIONARY_ORDERED } else { 0 };
        }
        DataType::Map(_, true) => flags |= MAP_KEYS_SORTED,
        _ => {}
    }
    let (format, name, metadata) = (text(&types::format(data_type))?, text(field.name())?, metadata(field.metadata()));
    let (format_at, name_at) = (format.as_ptr(), name.as_ptr());
    let metadata_at = metadata.as_ref().map_or(ptr::null(), |bytes| bytes.as_ptr().cast());
    let mut described = Box::new(Described { _format: format, _name: name, _metadata: metadata, children, dictionary });
    Ok(ArrowSchema {
        format: format_at,
        name: name_at,
        metadata: metadata_at,
        flags,
        n_children: described.children.len() as i64,
        children: described.children.as_mut_ptr(),
        dictionary,
        release: Some(release_schema),
        private_data: Box::into_raw(described).cast(),
    })
}

unsafe extern "C" fn release_schema(schema: *mut ArrowSchema) {
    let schema = unsafe { &mut *schema };
    let described = unsafe { Box::from_raw(schema.private_data.cast::<Described>()) };
    for child in described.children.iter().chain([&described.dictionary]).filter(|child| !child.is_null()) {
        drop(unsafe { Box::from_raw(*child) });
    }
    schema.release = None;
}

fn metadata(pairs: &HashMap<String, String>) -> Option<Vec<u8>> {
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort();
    let mut bytes = i32::try_from(sorted.len()).ok()?.to_ne_bytes().to_vec();
    for text in sorted.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend(i32::try_from(text.len()).ok()?.to_ne_bytes());
        bytes.extend(text.as_bytes());
    }
    (!pairs.is_empty()).then_some(bytes)
}

/// What an array points to.
struct Held {
    _buffers: Vec<Option<Buffer>>,
    pointers: Vec<*const c_void>,
    children: Vec<*mut ArrowArray>,
    dictionary: *mut ArrowArray,
}

fn array(data: &ArrayData) -> ArrowArray {
    let expected = layout(data.data_type());
    let mut buffers: Vec<Option<Buffer>> = vec![];
    if expected.can_contain_null_mask {
        buffers.push(validity(data));
    }
    buffers.extend(data.buffers().iter().map(|buffer| Some(buffer.clone())));
    if expected.variadic {
        let lengths: Vec<i64> = data.buffers().iter().skip(1).map(|buffer| buffer.len() as i64).collect();
        buffers.push(Some(Buffer::from_vec(lengths)));
    }
    let boxed = |data: &ArrayData| Box::into_raw(Box::new(array(data)));
    let (children, dictionary) = match data.data_type() {
        DataType::Dictionary(..) => (vec![], boxed(&data.child_data()[0])),
        _ => (data.child_data().iter().map(boxed).collect(), ptr::null_mut()),
    };
    let at = |buffer: &Option<Buffer>| buffer.as_ref().map_or(ptr::null(), |buffer| buffer.as_ptr().cast());
    let pointers = buffers.iter().map(at).collect();
    let mut held = Box::new(Held { _buffers: buffers, pointers, children, dictionary });
    let null_count = if *data.data_type() == DataType::Null { data.len() } else { data.null_count() };
    ArrowArray {
        length: data.len() as i64,
        null_count: null_count as i64,
        offset: data.offset() as i64,
        n_buffers: held.pointers.len() as i64,
        n_children: held.children.len() as i64,
        buffers: held.pointers.as_mut_ptr(),
        children: held.children.as_mut_ptr(),
        dictionary,
        release: Some(release_array),
        private_data: Box::into_raw(held).cast(),
    }
}

unsafe extern "C" fn release_array(array: *mut ArrowArray) {
    let array = unsafe { &mut *array };
    let held = unsafe { Box::from_raw(array.private_data.cast::<Held>()) };
    for child in held.children.iter().chain([&held.dictionary]).filter(|child| !child.is_null()) {
        drop(unsafe { Box::from_raw(*child) });
    }
    array.release = None;
}

/// One bit a row, beginning where the array's other buffers begin.
fn validity(data: &ArrayData) -> Option<Buffer> {
    let nulls = data.nulls()?;
    if nulls.offset() == data.offset() {
        return Some(nulls.buffer().clone());
    }
    let before = std::iter::repeat_n(false, data.offset());
    let bits = arrow::buffer::BooleanBuffer::from_iter(before.chain(nulls.iter()));
    Some(bits.into_inner())
}
