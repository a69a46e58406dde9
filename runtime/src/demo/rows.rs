//! A card's row, as anybody would read it from the store.

use headwater_clocks::Tick;
use headwater_connectors::sink::Lookup;
use serde::Deserialize;

use super::payments::card_name;
use crate::base::failure::Failure;

/// The job's group of which the demo tells.
pub const GROUP: &str = "card_activity";
/// Its place in the job.
pub const GROUP_AT: usize = 0;

/// Some of its columns. A card without a row has zeros and nulls.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Row {
    pub tx_10s: u64,
    pub tx_1h: u64,
    pub tx_30d: u64,
    pub tx_all: u64,
    pub spend_1h: Option<String>,
    pub max_1h: Option<String>,
    /// The tick of its last change; none without a row.
    #[serde(skip)]
    pub changed_at: Option<Tick>,
}

pub fn row(store: &mut dyn Lookup, card: u32) -> Result<Row, Failure> {
    let key = format!(r#"{{"card_id":"{}"}}"#, card_name(card));
    match store.get(GROUP_AT, &key, None)?.first() {
        Some(found) => Ok(Row { changed_at: Some(found.changed_at), ..parse(&found.row)? }),
        None => Ok(Row::default()),
    }
}

/// How many payments all rows together have counted.
pub fn counted(store: &mut dyn Lookup) -> Result<u64, Failure> {
    let (mut sum, mut broken) = (0, None);
    store.scan(GROUP_AT, &mut |found| {
        match parse(&found.row) {
            Ok(row) => sum += row.tx_all,
            Err(e) => broken = Some(e),
        }
        Ok(())
    })?;
    broken.map_or(Ok(sum), Err)
}

fn parse(row: &str) -> Result<Row, Failure> {
    serde_json::from_str(row).map_err(|e| Failure::Running(format!("a row of {GROUP} is not as expected: {row}: {e}")))
}
