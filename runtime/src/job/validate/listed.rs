//! Whether the columns without which no record counts are among those that a job lists for records which do not name them.

use arrow::datatypes::SchemaRef;
use headwater_connectors::Path;

use crate::base::fault::Faults;
use crate::job::{Named, SeamBy, Source, Stream, columns};

/// Tells of a source's times, ids and keys that its records never have. (A column that only expressions name is null there.)
pub fn check_source(source: &Source, schema: &SchemaRef, faults: &mut Faults) {
    let is_column = |named: &&Named| !columns::is_sql(Some(schema), &named.text);
    let times = source.event_time.iter().chain(&source.arrival_time).filter(is_column);
    let keys = source.rows().into_iter().flat_map(|rows| &rows.key);
    let everywhere: Vec<&Named> = times.chain(keys).collect();
    let (ids, of_history) = match &source.seam.by {
        SeamBy::Id { id, .. } => (vec![id], vec![]),
        SeamBy::Offset { partition, offset } => (vec![], vec![partition, offset]),
        SeamBy::Time => (vec![], vec![]),
    };
    for listing in listings(source) {
        let of_history = of_history.iter().filter(|_| listing.is_history);
        everywhere.iter().chain(&ids).chain(of_history).for_each(|named| listing.check(named, schema, faults));
    }
}

/// The same of a group's key.
pub fn check_key(key: &Named, source: &Source, schema: &SchemaRef, faults: &mut Faults) {
    listings(source).iter().for_each(|listing| listing.check(key, schema, faults));
}

/// A history or a stream whose columns are listed.
struct Listing<'a> {
    is_history: bool,
    of: String,
    listed: &'a [String],
    /// Columns that are had from elsewhere.
    others: Vec<&'a str>,
    beside: Option<String>,
}

fn listings(source: &Source) -> Vec<Listing<'_>> {
    let of = source.describe();
    let history = source.history.as_ref().and_then(|history| {
        let others = history.partitions.iter().map(|(name, _)| name.text.as_str()).collect();
        let listed = history.config.listed()?;
        Some(Listing { is_history: true, of: format!("the history of {of}"), listed, others, beside: None })
    });
    let stream = source.stream.as_ref().and_then(|Stream { config, .. }| {
        let beside = config.metadata().map(|field| field.name().clone());
        let listed = config.listed()?;
        Some(Listing { is_history: false, of: format!("the stream of {of}"), listed, others: vec![], beside })
    });
    history.into_iter().chain(stream).collect()
}

impl Listing<'_> {
    /// Tells of a column that the schema has, and no record.
    fn check(&self, named: &Named, schema: &SchemaRef, faults: &mut Faults) {
        if columns::find(schema, &named.text, "").is_err() {
            return;
        }
        let path = Path::parse(&named.text).unwrap_or_else(|| Path::of([&named.text]));
        // Records are flat: dots of a path are dots of a name.
        let name = path.names().join(".");
        let is_there = self.listed.contains(&name) || self.others.contains(&name.as_str());
        let is_beside = self.beside.as_ref() == path.names().first();
        // An empty list stands for one that was missing, and told.
        if !is_there && !is_beside && !self.listed.is_empty() {
            let what = "so no record has it: name it there, at its place in a record";
            faults.error(named.at, format!("`{name}` is not among the `columns` of {}, {what}", self.of));
        }
    }
}
