//! `headwater check JOB`: what a run would do, and what a few records come to.

use std::sync::Arc;

use super::args::CheckArgs;
use super::log::{load, masked};
use super::output::print;
use crate::base::failure::Failure;
use crate::catalog::opened::Opened;
use crate::describe::check::{Looked, look, plan_anew};
use crate::describe::sample;
use crate::plan::Plan;

pub fn check(args: &CheckArgs) -> Result<(), Failure> {
    let Looked { text, opened, start } = look(load(&args.job)?)?;
    print(&masked(&text))?;
    let start = start?;
    match args.sample {
        Some(n) if start.from.is_some() => tell_sample(&opened, &plan_anew(&opened)?, n),
        Some(n) => tell_sample(&opened, &start.plan, n),
        None => Ok(()),
    }
}

fn tell_sample(opened: &Arc<Opened>, plan: &Plan, n: usize) -> Result<(), Failure> {
    for (id, source) in opened.job.sources.pairs().filter(|(_, source)| source.table.is_none()) {
        let sample = sample::take(opened, plan, id, n)?;
        print(&format!("\n{}\n", sample::heading(&sample, &source.name)))?;
        for (group, lines) in &sample.rows {
            print(&format!("{}: {} rows\n", opened.job.groups[*group].name, lines.len()))?;
            lines.iter().try_for_each(|line| print(&format!("{line}\n")))?;
        }
        print(&format!("dead letters: {}\n", sample.dead_letters.len()))?;
        for letter in &sample.dead_letters {
            let mut line = vec![];
            letter.write(&mut line);
            line.push(b'\n');
            print(&String::from_utf8_lossy(&line))?;
        }
        for (hint, n) in sample.hints(opened, id) {
            print(&format!("hint: of {n} that {} malformed: {hint}\n", if n == 1 { "is" } else { "are" }))?;
        }
    }
    Ok(())
}
