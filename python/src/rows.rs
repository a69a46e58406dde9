//! A table that is given back.

use headwater::bind;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::arrow_c;

/// Rows in memory, as Arrow has them. Whatever knows Arrow reads them where they lie.
#[pyclass(frozen, module = "headwater._native")]
pub struct Rows(pub bind::Rows);

#[pymethods]
impl Rows {
    /// `requested_schema` may be disregarded, as the interface says.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        arrow_c::capsule(py, self.0.0.clone(), self.0.1.clone())
    }

    fn __len__(&self) -> usize {
        self.0.1.iter().map(|batch| batch.num_rows()).sum()
    }

    /// Names and types.
    #[getter]
    fn schema(&self) -> Vec<(String, String)> {
        self.0.0.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect()
    }
}
