//! Tables in and out, by Arrow's C data interface: what every library that knows Arrow understands, without a copy and without a file.

#![allow(unsafe_code)]

use std::ffi::CStr;

use arrow::array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::ffi_stream::{ArrowArrayStreamReader, FFI_ArrowArrayStream};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

const STREAM: &CStr = c"arrow_array_stream";

/// The rows of anything that has `__arrow_c_stream__`. What has to be asked of its owner is asked without the interpreter's lock.
pub fn rows_of(py: Python<'_>, table: &Bound<'_, PyAny>) -> PyResult<Result<(SchemaRef, Vec<RecordBatch>), String>> {
    let capsule = table.call_method0("__arrow_c_stream__")?.cast_into::<PyCapsule>()?;
    let at = capsule.pointer_checked(Some(STREAM))?.cast::<FFI_ArrowArrayStream>();
    // Taken out of the capsule, which then has nothing to release.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(at.as_ptr()) };
    Ok(py.detach(|| read(stream)))
}

fn read(stream: FFI_ArrowArrayStream) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    if stream.release.is_none() {
        return Err("this Arrow stream has been read already: it can be read once".to_owned());
    }
    let batches = ArrowArrayStreamReader::try_new(stream).map_err(|e| format!("expected a table: {e}"))?;
    let schema = batches.schema();
    Ok((schema, batches.collect::<Result<_, _>>().map_err(|e| e.to_string())?))
}

/// Rows as `__arrow_c_stream__` gives them.
pub fn capsule(py: Python<'_>, schema: SchemaRef, batches: Vec<RecordBatch>) -> PyResult<Bound<'_, PyCapsule>> {
    let batches = RecordBatchIterator::new(batches.into_iter().map(Ok), schema);
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(batches)), STREAM)
}
