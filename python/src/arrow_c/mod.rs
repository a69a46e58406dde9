//! Tables in and out, by Arrow's C data interface: what every library that knows Arrow understands, without a copy and without a file.
//!
//! It stands here because `arrow`'s own is behind a feature that would have DataFusion built once more.

#![allow(unsafe_code)]

mod abi;
mod export;
mod import;
mod types;

use std::ffi::CStr;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use abi::ArrowArrayStream;

const STREAM: &CStr = c"arrow_array_stream";

/// The rows of anything that has `__arrow_c_stream__`. What has to be asked of its owner is asked without the interpreter's lock.
pub fn rows_of(py: Python<'_>, table: &Bound<'_, PyAny>) -> PyResult<Result<(SchemaRef, Vec<RecordBatch>), String>> {
    let capsule = table.call_method0("__arrow_c_stream__")?.cast_into::<PyCapsule>()?;
    let at = capsule.pointer_checked(Some(STREAM))?.cast::<ArrowArrayStream>();
    // Taken out of the capsule, which then has nothing to release.
    let stream = unsafe { at.as_ptr().replace(ArrowArrayStream::empty()) };
    Ok(py.detach(|| unsafe { import::read(stream) }))
}

/// Rows as `__arrow_c_stream__` gives them.
pub fn capsule(py: Python<'_>, schema: SchemaRef, batches: Vec<RecordBatch>) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, export::stream(schema, batches), STREAM)
}
