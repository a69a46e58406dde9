//! What a round has put out, beside what a model and an undisturbed run say.

use super::consistent;
use super::outcome::{Expected, Found, Read, Table, compare, compare_lists, stored_at};
use super::round::Round;
use super::{rest, topic};
use crate::support::{headwater, standing};

impl Round<'_> {
    /// `cuts`: how many records of each partition the history has.
    pub fn outcome(&self, cuts: &[usize]) -> Result<String, String> {
        let records = topic::read(&self.world.kafka.address, &self.scenario.name, self.scenario.partitions);
        topic::dump(&self.dir.join("topic.jsonl"), &records);
        let reference = self.reference()?;
        let read = Read::new(&records);
        let expected = Expected::new(&self.scenario, &read, &read.cuts(cuts), reference.t);
        let sinks: &[&str] = if self.scenario.embedded { &["online", "local"] } else { &["online"] };
        let found = Found::read(&self.dir, &self.scenario, sinks)?;
        self.were_right_at_rest(&records, cuts, &found)?;
        let mut wrong = self.letters(&found, &reference, &expected);
        let mut check = |done: Result<(), String>| wrong.extend(done.err());
        for (what, found) in [("found", &found), ("the reference", &reference)] {
            if found.t != Some(expected.t) {
                check(Err(format!("{what}: it ends at {:?}, not at {}", found.t, expected.t)));
            }
        }
        if self.scenario.to_end {
            check(compare_lists("lines of the changelog and the reference's", &found.changes, &reference.changes));
            for (sink, lines) in &found.lines {
                check(compare_lists(&format!("lines of {sink} and the reference's"), lines, &reference.lines[0].1));
            }
        }
        for i in 0..self.scenario.names().len() {
            self.rows(i, &found, &reference, &expected).into_iter().for_each(|wrong| check(Err(wrong)));
        }
        if self.scenario.collections.topic {
            check(self.told_in_topic(&found));
        }
        if self.changes() == 0 && found.changes.iter().any(|line| line.starts_with("{\"resume\"")) {
            check(Err("the changelog begins anew, and the job is the same".to_owned()));
        }
        let looked = if self.changes() == 0 { consistent::check(&found.changes, &self.scenario) } else { Ok(0) };
        check(looked.as_ref().map(|_| ()).map_err(String::clone));
        let (rows, dead_letters) = (found.tables.iter().map(|t| t.len()).sum::<usize>(), found.dead_letters.len());
        let kind = if self.scenario.to_end { "to the end" } else { "live" };
        let (starts, records) = (self.cluster.exits().len(), records.iter().map(Vec::len).sum::<usize>());
        if wrong.is_empty() {
            Ok(format!(
                "{kind}, {records} records, {rows} rows, {dead_letters} dead letters, {starts} starts, {} ticks",
                looked.unwrap_or(0)
            ))
        } else {
            Err(wrong.join("\n"))
        }
    }

    fn were_right_at_rest(&self, records: &topic::Records, cuts: &[usize], found: &Found) -> Result<(), String> {
        if self.scenario.to_end {
            return Ok(());
        }
        // Before the last start the last record of each partition was not there.
        let before: topic::Records = records.iter().map(|of| of[..of.len() - 1].to_vec()).collect();
        let (before, all) = (Read::new(&before), Read::new(records));
        for (what, groups) in self.at_rest.lock().unwrap().iter() {
            rest::check(what, &self.scenario, &before, &all.cuts(cuts), groups)?;
            // A changelog that has begun anew does not tell what was before.
            if self.changes() == 0 {
                rest::check_by_changes(what, &self.scenario, &found.changes, groups)?;
            }
        }
        Ok(())
    }

    fn letters(&self, found: &Found, reference: &Found, expected: &Expected) -> Vec<String> {
        let mut wrong = vec![];
        let is_the_models = |reason: &str| self.scenario.collections.leaves_to_others(reason);
        let letters = expected.dead_letters.iter().filter(|(reason, ..)| is_the_models(reason));
        let letters: Vec<_> = letters.cloned().collect();
        for (what, found) in [("found", found), ("the reference", reference)] {
            let mine = found.dead_letters(is_the_models).and_then(|mut mine| {
                // Windowed groups that were changed tell theirs once more.
                if self.changes() > 0 {
                    mine.dedup();
                }
                compare_lists(&format!("{what}: dead letters"), &mine, &letters)
            });
            wrong.extend(mine.err());
        }
        let mut of_found = found.dead_letters.clone();
        if self.changes() > 0 {
            of_found.dedup();
        }
        wrong.extend(compare_lists("dead letters and the reference's", &of_found, &reference.dead_letters).err());
        wrong
    }

    /// Of one group, view or links: the stores, the changelog, the reference and, where it knows them, the model.
    fn rows(&self, i: usize, found: &Found, reference: &Found, expected: &Expected) -> Vec<String> {
        let (name, retain) = self.scenario.names()[i];
        let mut wrong = vec![];
        let mut check = |what: &str, found: &Table, expected: &Table, columns: bool| {
            wrong.extend(compare(&format!("{name} {what}"), found, expected, columns).err());
        };
        let of_the_log = self.scenario.collections.is_of_the_log(name);
        // A group with windows of its own that was changed is a new one: of old windows it tells nothing any more.
        let logged = |table: &Table| stored_at(table, retain, expected.t);
        let logged_of = |table: &Table| if self.changes() > 0 { logged(table) } else { table.clone() };
        if let (Some(stored), Some(table)) = (expected.stored.get(i), expected.tables.get(i)) {
            check("of the reference", &reference.stores[0].1[i], stored, true);
            check("by the changelog", &logged_of(&found.tables[i]), &logged_of(table), true);
        }
        if of_the_log {
            let (found, reference) = (logged_of(&found.tables[i]), logged_of(&reference.tables[i]));
            check("by the changelog and the reference's", &found, &reference, false);
        }
        for (sink, tables) in &found.stores {
            if let Some(stored) = expected.stored.get(i) {
                check(&format!("in {sink}"), &tables[i], stored, true);
            }
            if of_the_log {
                check(&format!("in {sink} and the reference"), &tables[i], &reference.stores[0].1[i], false);
            }
            check(&format!("in {sink} and by the changelog"), &tables[i], &logged(&found.tables[i]), false);
        }
        wrong
    }

    /// The changelog in a topic says what the one in a file does.
    fn told_in_topic(&self, found: &Found) -> Result<(), String> {
        let topic = format!("{}_changes", self.scenario.name);
        let records = standing(&self.world.kafka.address, &topic).into_iter();
        let mut in_topic: Vec<String> = records.map(|record| record.value).collect();
        let begins = found.changes.iter().rposition(|line| line.starts_with("{\"resume\"")).map_or(0, |at| at + 1);
        let mut in_file = found.changes[begins..].to_vec();
        in_topic.sort();
        in_file.sort();
        compare_lists("the changelog in the topic and in the file", &in_topic, &in_file)
    }

    /// A run of the same job on the same topics to which nothing happens.
    fn reference(&self) -> Result<Found, String> {
        let dir = self.dir.join("reference");
        self.scenario.write_job(&dir, &self.world.kafka.address, None, self.is_changed());
        for history in ["history.parquet", "history.jsonl", "shops.jsonl", "orders.jsonl"] {
            if self.dir.join(history).exists() {
                std::fs::copy(self.dir.join(history), dir.join(history)).unwrap();
            }
        }
        let mut command = headwater();
        command.args(["run", "job.toml", "--until-end", "--fresh", "--workers", "2"]).current_dir(&dir);
        let done = command.output().unwrap();
        if !done.status.success() {
            return Err(format!("the reference: {}", String::from_utf8_lossy(&done.stderr)));
        }
        Found::read(&dir, &self.scenario, &["local"])
    }
}
