//! The text of a job file as Python's own values, in the order of the file. Variables are not filled in.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use toml::Value;

/// Reads TOML.
#[pyfunction]
pub fn parse_toml<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyDict>> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| PyValueError::new_err(e.to_string()))?;
    dict(py, table)
}

fn dict(py: Python<'_>, table: toml::Table) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    table.into_iter().try_for_each(|(name, value)| dict.set_item(name, object(py, value)?))?;
    Ok(dict)
}

fn object(py: Python<'_>, value: Value) -> PyResult<Bound<'_, PyAny>> {
    Ok(match value {
        Value::String(text) => text.into_pyobject(py)?.into_any(),
        Value::Integer(integer) => integer.into_pyobject(py)?.into_any(),
        Value::Float(float) => float.into_pyobject(py)?.into_any(),
        Value::Boolean(flag) => flag.into_pyobject(py)?.to_owned().into_any(),
        Value::Datetime(time) => time.to_string().into_pyobject(py)?.into_any(),
        Value::Array(values) => {
            let values = values.into_iter().map(|value| object(py, value));
            PyList::new(py, values.collect::<PyResult<Vec<_>>>()?)?.into_any()
        }
        Value::Table(table) => dict(py, table)?.into_any(),
    })
}
