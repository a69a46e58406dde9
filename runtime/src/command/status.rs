//! `headwater status JOB`: what a running job says of itself, as tables or as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::time::Duration;

use headwater_clocks::Offset;
use indicatif::HumanDuration;

use super::args::StatusArgs;
use super::log::load;
use super::output::print;
use crate::base::failure::Failure;
use crate::base::human::{HumanBytes, HumanCount};
use crate::observe::report::{CheckpointReport, EarlierReport, GroupReport, Phase, Report, SourceReport, ViewReport};
use crate::serve::endpoint;

/// Rows are always a little behind `T`: less than this is not worth a word.
const BEHIND_SHOWN_SECONDS_MIN: f64 = 1.0;

pub fn status(args: &StatusArgs) -> Result<(), Failure> {
    let job = load(&args.job)?;
    let Some(running) = endpoint::running(&job)? else {
        return Err(Failure::Running(format!(
            "{} is not running (nobody answers for {})\n  hint: start it with `headwater run {}`",
            job.name,
            endpoint::path(&job).display(),
            args.job.display()
        )));
    };
    let mut text = String::new();
    let broken = |e: &dyn std::fmt::Display| Failure::Running(format!("reading the running job's answer: {e}"));
    running.ask("/status", &[])?.read_to_string(&mut text).map_err(|e| broken(&e))?;
    if args.json {
        return print(&(text + "\n"));
    }
    let report: Report = serde_json::from_str(&text).map_err(|e| broken(&e))?;
    let mut shown = String::new();
    // Writing to memory does not fail.
    let _ = show(&mut shown, &report);
    print(&shown)
}

fn show(out: &mut String, report: &Report) -> std::fmt::Result {
    let phase = match report.phase {
        Phase::Bootstrap => "reading the history",
        Phase::Following => "following",
        Phase::UntilEnd => "reading to the end",
    };
    writeln!(out, "job {}, process {}: {phase}", report.job, report.pid)?;
    writeln!(out, "T           {}", report.t.as_deref().unwrap_or("not begun"))?;
    let (read, total) = (report.bootstrap.rows_read, report.bootstrap.rows_total);
    let share = (read * 100).checked_div(total).unwrap_or(100);
    writeln!(out, "bootstrap   {} of {} rows ({share}%)", HumanCount(read), HumanCount(total))?;
    report.checkpoint.iter().try_for_each(|checkpoint| show_checkpoint(out, checkpoint))?;
    report.sources.iter().try_for_each(|source| show_source(out, source))?;
    report.groups.iter().try_for_each(|group| show_group(out, group))?;
    report.views.iter().try_for_each(|view| show_view(out, view))
}

fn show_checkpoint(out: &mut String, checkpoint: &CheckpointReport) -> std::fmt::Result {
    let at = checkpoint.t.as_ref().map_or_else(|| "within the history".to_owned(), |t| format!("at T = {t}"));
    let age = checkpoint.age_seconds.map_or_else(String::new, |s| format!(", {s:.1}s ago"));
    let took = checkpoint.duration_seconds.map_or_else(String::new, |s| format!(", took {s:.2}s"));
    writeln!(out, "checkpoint  {} {at}{age}{took}, {}", checkpoint.number, HumanBytes(checkpoint.bytes))
}

fn show_source(out: &mut String, source: &SourceReport) -> std::fmt::Result {
    let seam = &source.seam;
    let gap = if seam.allow_gap { ", a gap is allowed" } else { "" };
    let kind = if source.is_table { "table" } else { "source" };
    writeln!(out, "\n{kind} {}, seam by {} at {}{gap}", source.name, seam.by, seam.s.as_deref().unwrap_or("?"))?;
    let counts = [
        ("passed over", source.counts.passed_over),
        ("missed", source.counts.missed),
        ("tombstones", source.counts.tombstones),
        ("admitted", source.counts.admitted),
        ("came too late", source.counts.late_versions),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!(", {} {name}", HumanCount(*n))).collect();
    writeln!(
        out,
        "  records   {} ({}){}",
        HumanCount(source.counts.records),
        HumanBytes(source.counts.bytes),
        counts.concat()
    )?;
    if let Some(version) = &source.seam.history_version {
        writeln!(out, "  history   {version}")?;
    }
    if source.is_table {
        writeln!(out, "  versions  {} held", HumanCount(source.versions_held))?;
    }
    if source.is_replaced {
        let (keys, nothing) = (HumanCount(source.keys_remembered), HumanCount(source.removed_nothing));
        writeln!(out, "  keys      {keys} remembered, {nothing} removals of what was not there")?;
    }
    show_dead_letters(out, &source.dead_letters)?;
    if !source.partitions.is_empty() {
        let heads = ["partition", "last in history", "first read", "position", "end", "lag"];
        let [a, b, c, d, e, f] = heads;
        writeln!(out, "  {a:>9}  {b:>15}  {c:>10}  {d:>10}  {e:>10}  {f:>8}")?;
    }
    for p in &source.partitions {
        let number = |offset: Option<Offset>| offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        let (last, position) = (number(p.history_offset), number(p.position));
        let (end, lag) = (number(p.end), p.lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string()));
        let left_out = if p.left_out { "  left out: it does not answer" } else { "" };
        let (partition, first) = (p.partition, p.first_read);
        writeln!(out, "  {partition:>9}  {last:>15}  {first:>10}  {position:>10}  {end:>10}  {lag:>8}{left_out}")?;
    }
    source.warnings.iter().try_for_each(|warning| writeln!(out, "  warning: {warning}"))
}

fn show_group(out: &mut String, group: &GroupReport) -> std::fmt::Result {
    writeln!(out, "\nfeatures {}, of {}", group.name, group.source)?;
    let (rows, keys) = (HumanCount(group.counts.rows), HumanCount(group.counts.keys));
    let (events, changes) = (HumanCount(group.counts.events), HumanCount(group.counts.changes));
    writeln!(out, "  rows      {rows} of {keys} keys, {events} events, {changes} changes")?;
    if group.counts.open_windows + group.counts.dropped > 0 && group.windowed {
        let (open, dropped) = (HumanCount(group.counts.open_windows), HumanCount(group.counts.dropped));
        writeln!(out, "  windows   {open} open, {dropped} closed")?;
    }
    if group.counts.corrections + group.events_held > 0 {
        let (corrections, held) = (HumanCount(group.counts.corrections), HumanCount(group.events_held));
        writeln!(out, "  corrected {corrections} events, {held} are held to be corrected")?;
    }
    if group.past_taking_back > 0 {
        writeln!(
            out,
            "  past      {} events stay: what replaced them came too late",
            HumanCount(group.past_taking_back)
        )?;
    }
    match (&group.as_of, group.staleness_seconds) {
        (Some(as_of), Some(seconds)) => {
            let behind = group.behind_seconds.filter(|behind| *behind >= BEHIND_SHOWN_SECONDS_MIN);
            let behind = behind.map_or_else(String::new, |s| {
                format!("; catching up, {} to go", HumanDuration(Duration::from_secs_f64(s)))
            });
            writeln!(out, "  as of     {as_of}, {seconds:.1}s ago{behind}")?;
        }
        _ => writeln!(out, "  as of     not yet: the stores are not whole")?,
    }
    show_earlier(out, group.earlier.as_ref())?;
    if !group.computing.is_empty() {
        let names = group.computing.join(" ");
        match (&group.enters_at, &group.computed_to) {
            (Some(at), _) => writeln!(out, "  computing {names}: shown once T reaches {at}")?,
            (None, Some(to)) => writeln!(out, "  computing {names}: at {to}, shown once that is as far as T")?,
            (None, None) => writeln!(out, "  computing {names}: reading the history")?,
        }
    }
    let odd = [
        ("events too old for every window", group.counts.too_old),
        ("sums that did not fit", group.counts.unfit_sums),
        ("rows on which a derived column failed", group.derived_failures),
    ];
    for (name, n) in odd.iter().filter(|(_, n)| *n > 0) {
        writeln!(out, "  note      {} {name}", HumanCount(*n))?;
    }
    show_dead_letters(out, &group.dead_letters)
}

fn show_view(out: &mut String, view: &ViewReport) -> std::fmt::Result {
    writeln!(out, "\nview {}, of {}", view.name, view.reads.join(" and "))?;
    writeln!(out, "  rows      {}, {} changes", HumanCount(view.rows), HumanCount(view.changes))?;
    match (&view.as_of, view.staleness_seconds) {
        (Some(as_of), Some(seconds)) => writeln!(out, "  as of     {as_of}, {seconds:.1}s ago")?,
        _ => writeln!(out, "  as of     not yet: the stores are not whole")?,
    }
    show_earlier(out, view.earlier.as_ref())?;
    let odd = [("rows on which an expression failed", view.failed_rows), ("sums that did not fit", view.unfit_sums)];
    for (name, n) in odd.iter().filter(|(_, n)| *n > 0) {
        writeln!(out, "  note      {} {name}", HumanCount(*n))?;
    }
    Ok(())
}

fn show_earlier(out: &mut String, earlier: Option<&EarlierReport>) -> std::fmt::Result {
    let Some(EarlierReport { from, to, rows }) = earlier else { return Ok(()) };
    writeln!(out, "  earlier   from {from} to {to}, {} rows kept", HumanCount(*rows))
}

fn show_dead_letters(out: &mut String, dead_letters: &BTreeMap<String, u64>) -> std::fmt::Result {
    let all: Vec<String> = dead_letters.iter().map(|(reason, n)| format!("{} {reason}", HumanCount(*n))).collect();
    if all.is_empty() { Ok(()) } else { writeln!(out, "  dead      {}", all.join(", ")) }
}
