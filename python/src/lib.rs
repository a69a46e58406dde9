//! What the Python package `headwater` is made of, beside Python: `headwater._native`. It knows jobs as TOML text; that a job was written
//! in Python, and where, is known in Python alone (`headwater/_places.py`).

#![deny(missing_docs)]

mod arrow_c;
mod failure;
mod job;
mod log;
mod rows;
mod toml;
mod waiting;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use pyo3::prelude::*;
    use pyo3::types::PyModule;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    #[pymodule_export]
    use super::failure::NativeError;
    #[pymodule_export]
    use super::job::{Job, command, keys};
    #[pymodule_export]
    use super::rows::Rows;
    #[pymodule_export]
    use super::toml::parse_toml;
}
