//! Records as transports hand them over, and what lasts beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_clocks::{Arrival, Offset};

/// What a transport knows of a record beside its value.
pub trait Envelope {
    /// The record's key.
    fn key(&self) -> Option<&[u8]>;

    /// Its timestamp.
    fn stamp(&self) -> Option<Arrival>;

    /// Where it lies.
    fn partition(&self) -> i32;

    /// Where it lies in its partition.
    fn offset(&self) -> Offset;

    /// The last header of this name.
    fn header(&self, name: &str) -> Option<&[u8]>;
}

/// What streams have pinned, by what they keep it.
pub type Pins = BTreeMap<String, String>;

/// A record as its transport hands it over.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// The record itself, and what a dead letter quotes.
    pub value: &'a [u8],
    /// What else its transport knows of it.
    pub around: Option<&'a dyn Envelope>,
}

impl<'a> Message<'a> {
    /// A record of which nothing else is known.
    pub fn of(value: &'a [u8]) -> Message<'a> {
        Message { value, around: None }
    }

    /// The same with another value: what it holds, without what is around it.
    pub(crate) fn with(&self, value: &'a [u8]) -> Message<'a> {
        Message { value, ..*self }
    }
}

/// Called when there may be something to do again.
pub type Wake = Arc<dyn Fn() + Send + Sync>;
