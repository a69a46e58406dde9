//! What came of a verification.

use serde::Serialize;

use super::request::Request;
use super::spine::LeftOut;
use crate::job::Job;

/// The whole of it: what `headwater verify --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub job: String,
    pub since: Option<String>,
    pub until: Option<String>,
    /// Whether it is known which records were admitted late.
    pub keeps_admissions: bool,
    /// Rows of the log that were compared.
    pub rows: u64,
    pub left_out: LeftOut,
    /// Values and rows that differ from what a run publishes, and nothing explains it.
    pub unexplained: u64,
    pub groups: Vec<GroupReport>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct GroupReport {
    pub group: String,
    pub rows: u64,
    /// Rows of the log whose key or row is none of this group.
    pub unreadable: u64,
    /// Names in rows that are no columns of the group, any more.
    pub other_columns: Vec<String>,
    pub columns: Vec<ColumnReport>,
}

/// Of one column: what was served, against what is known in hindsight.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ColumnReport {
    pub column: String,
    pub compared: u64,
    pub equal: u64,
    /// What was served is what `backfill` gives for the time when it was asked, as known at arrival.
    pub equal_to_arrival: u64,
    pub null_on_one_side: u64,
    pub different: u64,
    /// Of numbers.
    pub largest_difference: Option<f64>,
    /// Rows without the column: it is newer.
    pub not_served: u64,
    pub explained: Explained,
    pub unexplained: u64,
    /// The first of those.
    pub examples: Vec<Example>,
}

/// Of values that are not equal: how many have each reason. One may have several.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Explained {
    pub staleness: u64,
    pub late_admission: u64,
    pub late_arrivals: u64,
    /// It was served by a run that was killed, after its last checkpoint.
    pub restart: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Example {
    pub key: String,
    pub time: String,
    pub as_of: String,
    pub served: String,
    pub expected: String,
}

impl Report {
    pub fn new(job: &Job, request: &Request, left_out: &LeftOut) -> Report {
        Report {
            job: job.name.clone(),
            since: request.since.map(|time| time.to_string()),
            until: request.until.map(|time| time.to_string()),
            keeps_admissions: false,
            rows: 0,
            left_out: left_out.clone(),
            unexplained: 0,
            groups: vec![],
        }
    }

    pub fn add(&mut self, group: GroupReport) {
        self.rows += group.rows;
        self.unexplained += group.unreadable + group.columns.iter().map(|column| column.unexplained).sum::<u64>();
        self.groups.push(group);
    }
}
