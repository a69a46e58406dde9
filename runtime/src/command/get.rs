//! `headwater get JOB GROUP COL=VALUE...`: one row, or each window of a key.

use std::io::Read;

use super::args::GetArgs;
use super::log::load;
use super::output::print;
use crate::base::failure::Failure;
use crate::catalog::open::open_for_rows;
use crate::serve::endpoint::{self, Client};
use crate::serve::rows::{self, RowQuery};
use crate::serve_log::ServeLog;

pub fn get(args: &GetArgs) -> Result<(), Failure> {
    let job = load(&args.job)?;
    let group = rows::group(&job, &args.group)?;
    if args.at.is_some() {
        rows::has_history(&job, group)?;
        return match endpoint::running(&job)? {
            Some(running) => print(&ask(&running, args)?),
            None => Err(rows::not_running(&job)),
        };
    }
    let sink = rows::sink(&job, group, args.sink.as_deref())?;
    if job.sinks[sink].to.store().is_some_and(|store| store.is_exclusive())
        && let Some(job) = endpoint::running(&job)?
    {
        return print(&ask(&job, args)?);
    }
    let opened = open_for_rows(job)?;
    let asked = RowQuery::parse(&opened, group, &args.key, (args.window.as_deref(), None))?;
    let log = ServeLog::open(&opened.job)?;
    let lines = rows::get(rows::lookup(&opened, sink, None)?.as_mut(), &opened, &asked, log.as_ref())?;
    let told = match lines.is_empty() {
        true => Err(rows::not_found(&args.group, &asked)),
        false => lines.iter().try_for_each(|line| print(&format!("{line}\n"))),
    };
    // Only now: nobody waits for it.
    log.iter().for_each(ServeLog::finish);
    told
}

fn ask(job: &Client, args: &GetArgs) -> Result<String, Failure> {
    let mut query = vec![("group", args.group.as_str())];
    query.extend(args.key.iter().map(|key| ("key", key.as_str())));
    query.extend(args.window.as_deref().map(|window| ("window", window)));
    query.extend(args.at.as_deref().map(|at| ("at", at)));
    query.extend(args.sink.as_deref().map(|sink| ("sink", sink)));
    let mut text = String::new();
    let read = job.ask("/get", &query)?.read_to_string(&mut text);
    read.map_err(|e| Failure::Running(format!("reading the running job's answer: {e}")))?;
    Ok(text)
}
