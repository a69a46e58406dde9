//! A length of time.

use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A length of time in microseconds; below zero where what should come first comes second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub(crate) i64);

impl Span {
    /// None at all.
    pub const ZERO: Span = Span(0);
    /// The longest one.
    pub const MAX: Span = Span(i64::MAX);
    /// 24 hours.
    pub const DAY: Span = Span(86_400_000_000);

    /// Of so many microseconds.
    #[inline]
    pub const fn from_us(us: i64) -> Span {
        Span(us)
    }

    /// In microseconds.
    #[inline]
    pub const fn us(self) -> i64 {
        self.0
    }

    /// In seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Add for Span {
    type Output = Span;

    #[inline]
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Span;

    #[inline]
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}
