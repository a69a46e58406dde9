//! `headwater verify JOB`: what was served, against what a backfill gives.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::args::VerifyArgs;
use super::backfill::show_progress;
use super::output::print;
use super::{log, signals};
use crate::backfill::memory;
use crate::backfill::watch::Watch;
use crate::base::failure::Failure;
use crate::base::human::HumanCount;
use crate::verify::report::{ColumnReport, GroupReport, Report};
use crate::verify::request::Request;
use crate::verify::verify as work_out;

pub fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let job = log::load(&args.job)?;
    let workers = args.workers.map(usize::from);
    let request = Request {
        since: args.since,
        until: args.until,
        workers: workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        memory: args.memory.unwrap_or_else(memory::by_default),
        spill: args.spill.clone(),
    };
    let stop = Arc::new(AtomicBool::new(false));
    signals::stop_on_signal(stop.clone(), "nothing is told")?;
    let watch = Arc::new(Watch::new());
    let showing = show_progress(watch.clone())?;
    let report = work_out(job, &request, &watch, &stop);
    drop(showing);
    let report = report?;
    if args.json {
        let text = serde_json::to_string(&report).map_err(|e| Failure::Running(format!("writing the report: {e}")))?;
        print(&(text + "\n"))?;
    } else {
        let mut shown = String::new();
        // Writing to memory does not fail.
        let _ = show(&mut shown, &report);
        print(&shown)?;
    }
    judge(&report)
}

fn judge(report: &Report) -> Result<(), Failure> {
    if report.rows == 0 && report.unexplained == 0 {
        return Err(Failure::Running("the serve log has nothing to compare".to_owned()));
    }
    if report.unexplained == 0 {
        return Ok(());
    }
    let hint = match report.keeps_admissions {
        true => "",
        false => "\n  hint: `admissions = true` in [state] tells which of them a run had admitted late",
    };
    Err(Failure::Running(format!(
        "{} values were served that no run publishes, and nothing explains them{hint}",
        HumanCount(report.unexplained)
    )))
}

fn show(out: &mut String, report: &Report) -> std::fmt::Result {
    let span = match (&report.since, &report.until) {
        (None, None) => String::new(),
        (Some(since), None) => format!(" since {since}"),
        (None, Some(until)) => format!(" until {until}"),
        (Some(since), Some(until)) => format!(" from {since} to {until}"),
    };
    writeln!(out, "job {}: {} rows that were served{span}", report.job, HumanCount(report.rows))?;
    let left_out = &report.left_out;
    let all = [
        (left_out.after_the_checkpoint, "of ticks after the newest checkpoint"),
        (left_out.before_the_store_was_whole, "before the store was whole"),
        (left_out.other_groups.values().sum(), "of groups that the job does not have, or that no backfill gives"),
    ];
    for (rows, which) in all.iter().filter(|(rows, _)| *rows > 0) {
        writeln!(out, "left out    {} {which}", HumanCount(*rows))?;
    }
    report.groups.iter().try_for_each(|group| show_group(out, group))
}

const HEAD: [&str; 11] = [
    "column",
    "compared",
    "equal",
    "at arrival",
    "null",
    "different",
    "by up to",
    "stale",
    "admitted",
    "late",
    "unexplained",
];

fn show_group(out: &mut String, group: &GroupReport) -> std::fmt::Result {
    writeln!(out, "\n{}: {} rows", group.group, HumanCount(group.rows))?;
    let lines: Vec<[String; 11]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(group.columns.iter().map(cells)).collect();
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|at| lines.iter().map(|line| line[at].len()).max().unwrap_or(0)).collect();
    for line in &lines {
        write!(out, "  {:<width$}", line[0], width = widths[0])?;
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            write!(out, "  {cell:>width$}")?;
        }
        writeln!(out)?;
    }
    if group.unreadable > 0 {
        writeln!(
            out,
            "  {} rows cannot be read: their key or row is none of this group",
            HumanCount(group.unreadable)
        )?;
    }
    for column in group.columns.iter().filter(|column| column.not_served > 0) {
        writeln!(out, "  {}: {} rows did not have it yet", column.column, HumanCount(column.not_served))?;
    }
    if !group.other_columns.is_empty() {
        writeln!(out, "  no columns any more: {}", group.other_columns.join(", "))?;
    }
    for column in group.columns.iter().filter(|column| column.explained.restart > 0) {
        let rows = HumanCount(column.explained.restart);
        writeln!(out, "  {}: {rows} were served by a run that was killed, after its last checkpoint", column.column)?;
    }
    for column in &group.columns {
        for example in &column.examples {
            let (name, key, time, as_of) = (&column.column, &example.key, &example.time, &example.as_of);
            let (served, expected) = (&example.served, &example.expected);
            writeln!(
                out,
                "  unexplained: {name} of {key} at {time}, as of {as_of}: served {served}, expected {expected}"
            )?;
        }
    }
    Ok(())
}

fn cells(column: &ColumnReport) -> [String; 11] {
    let count = |n: u64| HumanCount(n).to_string();
    [
        column.column.clone(),
        count(column.compared),
        count(column.equal),
        count(column.equal_to_arrival),
        count(column.null_on_one_side),
        count(column.different),
        column.largest_difference.map_or_else(|| "-".to_owned(), |by| by.to_string()),
        count(column.explained.staleness),
        count(column.explained.late_admission),
        count(column.explained.late_arrivals),
        count(column.unexplained),
    ]
}
