//! The groups of a plan: which of their columns begin together, and of which scan of the source their events are.
//!
//! A group begins with one column set. Columns that a changed job adds are a column set of their own; columns that it takes away stay
//! in their column set, are published no more, and get nothing any more.

use headwater_operators::accumulators::ColumnPlan;
use serde::{Deserialize, Serialize};

use crate::base::id::{ColumnSetId, GroupId, IdVec, ScanId};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedGroup {
    pub name: String,
    /// What its state is of, whatever its columns: see `identity`.
    pub identity: String,
    #[serde(rename = "parts")]
    pub sets: IdVec<ColumnSetId, PlannedColumnSet>,
    /// Its id in the files of the checkpoint that it goes on from; and whether columns that it had are no longer in the job.
    pub saved: Option<GroupId>,
    #[serde(rename = "renewed")]
    pub dropped_columns: bool,
}

impl PlannedGroup {
    /// The column set that it began with.
    pub fn first(&self) -> &PlannedColumnSet {
        self.sets.first().expect("a group has a column set")
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedColumnSet {
    /// What it takes events of: a scan of each source that the group reads, in the order of the sources. They began together, and
    /// one dataflow reads them all.
    #[serde(rename = "reading", with = "one_or_several")]
    pub scans: Vec<ScanId>,
    pub columns: Vec<PlannedColumn>,
    /// The types of its inputs, as text.
    pub inputs: Vec<String>,
    /// Its id there.
    pub saved: Option<ColumnSetId>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedColumn {
    pub identity: String,
    pub plan: ColumnPlan,
    /// Its index in the job's group; `None`: the job has it no longer.
    #[serde(rename = "place")]
    pub index: Option<usize>,
}

/// As text one scan is its number, as it was before there could be several.
mod one_or_several {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::base::id::ScanId;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(ScanId),
        Several(Vec<ScanId>),
    }

    pub fn serialize<S: Serializer>(scans: &[ScanId], serializer: S) -> Result<S::Ok, S::Error> {
        match scans {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ScanId>, D::Error> {
        Ok(match OneOrMore::deserialize(deserializer)? {
            OneOrMore::One(scan) => vec![scan],
            OneOrMore::Several(scans) => scans,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    #[test]
    fn one_scan_is_a_number_and_several_are_a_list() {
        for (scans, expected) in [(vec![3], "3"), (vec![0, 2], "[0,2]")] {
            let scans = scans.into_iter().map(ScanId::at).collect();
            let set = PlannedColumnSet { scans, columns: vec![], inputs: vec![], saved: None };
            let text = serde_json::to_string(&set).unwrap();
            assert_eq!(text, format!(r#"{{"reading":{expected},"columns":[],"inputs":[],"saved":null}}"#));
            assert_eq!(serde_json::from_str::<PlannedColumnSet>(&text).unwrap().scans, set.scans);
        }
    }
}
