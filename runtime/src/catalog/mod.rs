//! A job, opened: schemas known, expressions compiled, types checked. What is wrong is told with its place in the job file.

pub mod column_sets;
pub mod computed;
pub mod derived;
pub mod explode;
pub mod graph;
pub mod group;
pub mod input;
pub mod links;
pub mod load;
pub mod lookup;
pub mod open;
pub mod opened;
pub mod reach;
pub mod relation;
pub mod source;
pub mod times;
pub mod view;
