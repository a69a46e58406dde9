//! Offsets: where records stand in the log of their partition. As text one is its number alone.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// The place of a record in the log of its partition; as a bound, that of the first one after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(i64);

impl Offset {
    /// No offset comes before it.
    pub const BEFORE_ALL: Offset = Offset(i64::MIN);
    /// No offset comes after it.
    pub const AFTER_ALL: Offset = Offset(i64::MAX);

    /// Of this number.
    #[inline]
    pub const fn at(number: i64) -> Offset {
        Offset(number)
    }

    /// Its number, as the log itself counts.
    #[inline]
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The one after it.
    #[inline]
    pub fn next(self) -> Offset {
        Offset(self.0.saturating_add(1))
    }

    /// How many offsets lie from another one to it; less than none where it comes first.
    pub fn past(self, other: Offset) -> i64 {
        self.0.saturating_sub(other.0)
    }
}

impl Display for Offset {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}
