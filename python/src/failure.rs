//! A failure, as Python is told it: `NativeError(kind, message, faults)`. `headwater/_errors.py` makes of it what users see.

use headwater::{Failure, Faults};
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(headwater._native, NativeError, PyException);

/// A fault's place (as it is told; file, line and column as numbers), its message, and whether it is a warning.
pub type Told = (String, u16, usize, usize, String, bool);

pub fn told(faults: &Faults) -> Vec<Told> {
    let mut settled = faults.clone();
    settled.settle();
    let told = settled.faults.iter().map(|fault| {
        let at = fault.at;
        (faults.place(fault), at.file, at.line, at.column, fault.message.clone(), fault.warning)
    });
    told.collect()
}

pub fn of_faults(faults: &Faults) -> PyErr {
    NativeError::new_err(("job", faults.to_string(), told(faults)))
}

pub fn of_failure(failure: &Failure) -> PyErr {
    if let Failure::Job(faults) = failure {
        return of_faults(faults);
    }
    NativeError::new_err((failure.kind(), failure.message(), Vec::<Told>::new()))
}

/// What another library's table is.
pub fn of_table(message: String) -> PyErr {
    NativeError::new_err(("usage", message, Vec::<Told>::new()))
}
