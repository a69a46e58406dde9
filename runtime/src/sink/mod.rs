//! From changes and rows to whatever keeps them: stores, lines in files and topics, and the ledger's own segments.

pub mod lines;
pub mod segments;
pub mod stores;
pub mod thread;
pub mod writer;
