//! How much of a group's state may gather before it is tidied up, or kept elsewhere than in memory. No result depends on it: tests
//! make it small.

/// Each a bound that is looked at now and then: a moment may exceed it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the ledger that may stay in memory besides its open buckets; each column set of a group has its share.
    pub ledger_bytes: usize,
    /// Rows that left an open bucket of the ledger and are not worth compacting it.
    pub left_rows: usize,
    /// Rows of a chunk of the journal.
    pub journal_rows: usize,
    /// Bytes of keys that are gone and are not worth moving the others.
    pub freed_key_bytes: usize,
}

impl Limits {
    /// What jobs run with, but for the ledger's memory, which depends on the machine.
    pub fn with_ledger_bytes(ledger_bytes: usize) -> Limits {
        Limits { ledger_bytes, left_rows: 1024, journal_rows: 64 << 10, freed_key_bytes: 64 << 10 }
    }
}
