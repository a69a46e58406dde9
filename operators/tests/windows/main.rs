//! Groups of all kinds of windows, told against a model that counts every window anew at every tick.
//!
//! `tables`: the meaning, as files to read. `ways`: whatever way events come in, ticks are finished and state is dropped,
//! the same changes. `cuts`: wherever the history ends, the same rows from then on. `added`: columns that come and go. `workers`: the same again through the
//! operator, on one worker and on three. `cases`: what the last three are made of. `model`: the definition, with
//! `days` for its calendars, `aggregates` and `numbers` for its values.

mod added;
mod aggregates;
mod cases;
mod catch_up;
mod cuts;
mod days;
mod drive;
mod model;
mod numbers;
mod tables;
mod values;
mod ways;
mod workers;
