//! Rows as they travel between the operators of a query.

use differential_dataflow::VecCollection;
use headwater_clocks::Tick;

/// A row, or the columns of one that are its key.
pub type Bytes = Vec<u8>;
/// Rows, as differences.
pub type Rows<'scope> = VecCollection<'scope, Tick, Bytes, isize>;
/// Rows, each with a key.
pub type Keyed<'scope> = VecCollection<'scope, Tick, (Bytes, Bytes), isize>;

/// A row under its key, and by how many it becomes more.
pub type Change = ((Bytes, Bytes), isize);
