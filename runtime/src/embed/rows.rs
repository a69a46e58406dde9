//! Rows, read back.

use super::serve::Seen;
use crate::base::failure::Failure;
use crate::base::id::RowsId;
use crate::catalog::open::open_for_rows;
use crate::catalog::opened::Opened;
use crate::job::Job;
use crate::observe::view::RunView;
use crate::serve::rows::{self, RowQuery};
use crate::serve_log::ServeLog;

/// The rows of a key in a group of a job that does not run (one that does is asked by its handle): JSON, as `headwater get` prints them,
/// one for each window that the key has, and one where the group has none. `key`: a text for each key column. Reads the job's first Redis
/// or embedded store.
///
/// # Errors
/// There is no such group or key column, no store has the group, or the store cannot be read.
pub fn get(job: &Job, group: &str, key: &[(&str, &str)]) -> Result<Vec<String>, Failure> {
    let read = || get_from(&open_for_rows(job.clone())?, None, group, key);
    read().map_err(|failure| failure.masked(|text| job.mask(text)))
}

/// Every row of a group of a job that does not run, in the order of key and window: JSON, as `headwater export` prints it.
///
/// # Errors
/// There is no such group, no store has it, or the store cannot be read.
pub fn export(job: &Job, group: &str, mut each: impl FnMut(&str)) -> Result<(), Failure> {
    let mut read = || export_from(&open_for_rows(job.clone())?, None, group, &mut each);
    read().map_err(|failure| failure.masked(|text| job.mask(text)))
}

pub fn of_run<T>(seen: &Seen, read: impl FnOnce(&RunView) -> Result<T, Failure>) -> Result<T, Failure> {
    let reporter = seen.reporter();
    let reporter =
        reporter.ok_or_else(|| Failure::Usage("the run is still being planned: it has no rows".to_owned()))?;
    read(&reporter.view)
}

pub fn get_from(
    opened: &Opened,
    running: Option<&RunView>,
    group: &str,
    key: &[(&str, &str)],
) -> Result<Vec<String>, Failure> {
    let group = rows::group(&opened.job, group)?;
    let values: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let asked = RowQuery::parse(opened, group, &values, (None, None))?;
    let mut store = open_store(opened, running, group)?;
    match running {
        Some(view) => rows::get(store.as_mut(), opened, &asked, view.serve_log.as_deref()),
        // It is written when it is dropped.
        None => rows::get(store.as_mut(), opened, &asked, ServeLog::open(&opened.job)?.as_ref()),
    }
}

pub fn get_at(view: &RunView, group: &str, key: &[(&str, &str)], at: &str) -> Result<Vec<String>, Failure> {
    let group = rows::group(&view.opened.job, group)?;
    let values: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let asked = RowQuery::parse(&view.opened, group, &values, (None, Some(at)))?;
    match asked.at {
        Some(tick) => rows::get_at(&view.earlier, &view.opened, &asked, tick),
        None => Ok(vec![]),
    }
}

pub fn export_from(
    opened: &Opened,
    running: Option<&RunView>,
    group: &str,
    each: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    let group = rows::group(&opened.job, group)?;
    rows::export(open_store(opened, running, group)?.as_mut(), group, &mut |row| {
        each(row);
        Ok(())
    })
}

type Store = Box<dyn headwater_connectors::sink::Lookup>;

fn open_store(opened: &Opened, running: Option<&RunView>, group: RowsId) -> Result<Store, Failure> {
    let sink = rows::sink(&opened.job, group, None)?;
    rows::lookup(opened, sink, running.and_then(|view| view.stores[sink].as_ref()))
}
