//! From changes and rows to whatever keeps them: stores, files, and the ledger's own segments.

pub mod files;
pub mod segments;
pub mod stores;
