//! Groups of all kinds of windows, told against a model that counts every window anew at every tick.
//!
//! `tables`: the meaning, as files to read. `random`: whatever way events come in and ticks are finished, the same changes.
//! `workers`: the same again through the operator, on one worker and on three.

mod drive;
mod model;
mod random;
mod tables;
mod values;
mod workers;
