//! `/metrics`: the job's numbers as Prometheus reads them. Counters begin anew with each start of the job. `docs/metrics.md` says what
//! each one means.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use headwater_clocks::{Span, Tick, Time, WallClock};
use headwater_operators::group::Counters;

use super::reporter::{Reporter, computing, lag, of_group, of_source};
use super::status::{GroupStatus, ProcessStatus, SourceCounts, SourceStatus};
use super::view::RunView;
use crate::base::id::{IdVec, RowsId};
use crate::serve_log::Counts;

pub fn text(reporter: &Reporter) -> String {
    let view = &reporter.view;
    let status = view.status();
    let mut page = Page { text: String::new() };
    of_job(&mut page, view, &status);
    of_checkpoints(&mut page, view, &status);
    of_sources(&mut page, view, &status);
    of_groups(&mut page, view, &status);
    of_views(&mut page, view, &status);
    of_earlier(&mut page, view, &status);
    of_freshness(&mut page, view, &reporter.as_of(&status), status.t);
    of_sinks(&mut page, view, &status);
    of_serve_log(&mut page, view);
    page.text
}

fn of_freshness(page: &mut Page, view: &RunView, as_of: &IdVec<RowsId, Option<Tick>>, t: Option<Tick>) {
    let (job, groups) = (&view.opened.job, &view.opened.job.groups);
    let known = || job.all_rows().zip(as_of).filter_map(|(rows, as_of)| Some((job.name_of(rows), (*as_of)?)));
    let now = WallClock::now();
    page.family("headwater_as_of_seconds", "gauge", "Every row up to it is stored, in seconds since 1970.", |family| {
        known().for_each(|(group, as_of)| family.sample(&[("group", group)], since_1970(as_of)));
    });
    page.family("headwater_staleness_seconds", "gauge", "Now minus the group's as_of.", |family| {
        known().for_each(|(group, as_of)| family.sample(&[("group", group)], now.past(as_of).seconds()));
    });
    let help = "Columns of a changed job that are still computed and not shown yet.";
    page.family("headwater_computing_columns", "gauge", help, |family| {
        for (id, group) in groups.pairs() {
            family.sample(&[("group", &group.name)], computing(&view.start, id, t).0.len() as f64);
        }
    });
}

fn of_earlier(page: &mut Page, view: &RunView, status: &ProcessStatus) {
    let job = &view.opened.job;
    let kept = || job.all_rows().filter(|rows| job.history_of(*rows).is_some());
    let help = "Rows in memory of which earlier ones can be read, those of now among them.";
    page.family("headwater_earlier_rows", "gauge", help, |family| {
        for rows in kept() {
            let kept = status.groups.get(rows).map_or(0, |group| group.earlier_rows);
            family.sample(&[("group", job.name_of(rows))], kept as f64);
        }
    });
    let help = "The first tick at which earlier rows can be read, in seconds since 1970.";
    page.family("headwater_earlier_from_seconds", "gauge", help, |family| {
        for rows in kept() {
            let range = view.earlier.range(rows);
            range.iter().for_each(|(from, _)| family.sample(&[("group", job.name_of(rows))], since_1970(*from)));
        }
    });
}

fn of_views(page: &mut Page, view: &RunView, status: &ProcessStatus) {
    let job = &view.opened.job;
    type Number = fn(&GroupStatus) -> u64;
    let numbers: [(&str, &str, &str, Number); 5] = [
        ("rows", "gauge", "Rows that stores have of a view.", |of| of.counts.rows),
        ("crowded", "gauge", "Of links, what is linked to too many to link any.", |of| of.crowded),
        ("changes_total", "counter", "Rows of a view that came, went or became another.", |of| of.counts.changes),
        (
            "failed_rows_total",
            "counter",
            "Rows that came with a null, or not, since an expression failed or their key has a null.",
            |of| of.derived_failures,
        ),
        ("unfit_sums_total", "counter", "Sums of a view that did not fit their type.", |of| of.counts.unfit_sums),
    ];
    for (name, kind, help, number) in numbers {
        page.family(&format!("headwater_view_{name}"), kind, help, |family| {
            for (id, of) in job.views.pairs() {
                family.sample(&[("view", &of.name)], number(&of_group(status, job.rows_of(id))) as f64);
            }
        });
    }
}

fn of_checkpoints(page: &mut Page, view: &RunView, status: &ProcessStatus) {
    let (stats, every) = (&view.state.stats, view.opened.job.state.checkpoint_every);
    let newest = stats.newest();
    let of_newest: [(&str, &str, Option<f64>); 4] = [
        ("number", "The newest whole checkpoint: 1e9 times its start, and one more each.", {
            newest.as_ref().map(|whole| whole.number.number() as f64)
        }),
        ("age_seconds", "Since the newest whole checkpoint was begun.", {
            newest.as_ref().and_then(|whole| whole.age(WallClock::now())).map(Span::seconds)
        }),
        ("duration_seconds", "How long it took, if it is of this start.", {
            newest.as_ref().and_then(|whole| whole.took).map(|took| took.as_secs_f64())
        }),
        ("bytes", "What it holds where the state is kept.", newest.as_ref().map(|whole| whole.bytes as f64)),
    ];
    for (name, help, value) in of_newest {
        page.family(&format!("headwater_checkpoint_{name}"), "gauge", help, |family| {
            value.iter().for_each(|value| family.sample(&[], *value));
        });
    }
    page.family("headwater_checkpoint_interval_seconds", "gauge", "The job's checkpoint_every.", |family| {
        let taken = view.opened.has_stream().then_some(every.seconds());
        taken.iter().for_each(|every| family.sample(&[], *every));
    });
    page.family("headwater_checkpoints_total", "counter", "Checkpoints that became whole.", |family| {
        family.sample(&[], stats.count() as f64);
    });
    let help = "Attempts to reach where the state is kept that failed, and were made again.";
    page.family("headwater_state_failures_total", "counter", help, |family| {
        family.sample(&[], status.state_failures as f64);
    });
}

fn of_sinks(page: &mut Page, view: &RunView, status: &ProcessStatus) {
    let job = &view.opened.job;
    let all = || job.sinks.iter().map(|s| s.name.as_str()).zip(&status.sinks);
    page.family("headwater_waiting_rows", "gauge", "Rows or changes that wait to be written.", |family| {
        all().for_each(|(sink, s)| family.sample(&[("sink", sink)], s.waiting as f64));
    });
    page.family("headwater_waiting_dead_letters", "gauge", "Dead letters that wait to be written.", |family| {
        family.sample(&[], status.dead_letters_waiting as f64);
    });
    let help = "How often a worker found that the store had lost writes, and everything was written once more.";
    page.family("headwater_store_losses_total", "counter", help, |family| {
        all().for_each(|(sink, s)| family.sample(&[("sink", sink)], s.losses as f64));
    });
}

fn of_serve_log(page: &mut Page, view: &RunView) {
    let counts = view.serve_log.as_ref().map(|log| &log.counts);
    type Number = fn(&Counts) -> &AtomicU64;
    let counters: [(&str, &str, Number); 4] = [
        ("rows", "Rows that were served and are in the serve log.", |c| &c.rows),
        ("files", "Files of the serve log that were written.", |c| &c.files),
        ("dropped", "Rows that were served and are not in it: more came than could be written.", |c| &c.dropped),
        ("failures", "Attempts to write the serve log that failed, and were made again.", |c| &c.failures),
    ];
    for (name, help, number) in counters {
        page.family(&format!("headwater_serve_log_{name}_total"), "counter", help, |family| {
            counts.iter().for_each(|counts| family.sample(&[], number(counts).load(Ordering::Relaxed) as f64));
        });
    }
}

fn of_job(page: &mut Page, view: &RunView, status: &ProcessStatus) {
    page.family("headwater_info", "gauge", "The job and the version that runs it.", |family| {
        family.sample(&[("name", &view.opened.job.name), ("version", env!("CARGO_PKG_VERSION"))], 1.0);
    });
    page.family("headwater_starts_total", "counter", "How often the job was started, ever.", |family| {
        family.sample(&[], view.starts.number() as f64);
    });
    page.family("headwater_t_seconds", "gauge", "The job's own time T, in seconds since 1970.", |family| {
        status.t.iter().for_each(|t| family.sample(&[], since_1970(*t)));
    });
    let sides = || std::iter::once(status).chain(status.shadow.as_deref());
    page.family("headwater_bootstrap_rows_total", "counter", "History rows read.", |family| {
        family.sample(&[], sides().map(|side| side.history_rows_read).sum::<u64>() as f64);
    });
    page.family("headwater_bootstrap_rows_expected", "gauge", "History rows that are to be read.", |family| {
        family.sample(&[], sides().map(|side| side.history_rows_total).sum::<u64>() as f64);
    });
    let help = "How far what is new in a changed job is, which catches up while the rows go on; in seconds since 1970.";
    page.family("headwater_computed_to_seconds", "gauge", help, |family| {
        let t = status.shadow.as_ref().and_then(|shadow| shadow.t);
        t.iter().for_each(|t| family.sample(&[], since_1970(*t)));
    });
}

fn of_sources(page: &mut Page, view: &RunView, status: &ProcessStatus) {
    let job = &view.opened.job;
    let of_sources: Vec<SourceStatus> = job.sources.ids().map(|source| of_source(status, source)).collect();
    let all: Vec<(&str, &SourceStatus)> = job.sources.iter().map(|s| s.name.as_str()).zip(&of_sources).collect();
    type Number = fn(&SourceCounts) -> u64;
    let counters: [(&str, &str, Number); 7] = [
        ("records", "Records read from the stream.", |s| s.records),
        ("bytes", "Bytes of the records read from the stream, in memory.", |s| s.bytes),
        ("passed_over", "Records of the stream that the seam passed over.", |s| s.passed_over),
        ("missed", "Of these, records that came after the history was looked at.", |s| s.missed),
        ("tombstones", "Records without a value.", |s| s.tombstones),
        ("admitted", "Records read after T had passed their tick.", |s| s.admitted),
        ("late_versions", "Versions of a table that came too late to be in force from their own time on.", |s| {
            s.late_versions
        }),
    ];
    for (name, help, number) in counters {
        page.family(&format!("headwater_{name}_total"), "counter", help, |family| {
            all.iter().for_each(|(source, s)| family.sample(&[("source", source)], number(&s.counts) as f64));
        });
    }
    let tables = || job.sources.iter().zip(&of_sources).filter(|(conf, _)| conf.table.is_some());
    let help = "Versions of a table's rows that are held, over all workers.";
    page.family("headwater_versions_held", "gauge", help, |family| {
        tables().for_each(|(conf, s)| family.sample(&[("source", &conf.name)], s.versions_held as f64));
    });
    let replaced = || job.sources.iter().zip(&of_sources).filter(|(conf, _)| conf.replaced.is_some());
    let help = "Keys of events that replace one another of which some window may hold an event.";
    page.family("headwater_keys_remembered", "gauge", help, |family| {
        replaced().for_each(|(conf, s)| family.sample(&[("source", &conf.name)], s.keys_remembered as f64));
    });
    page.family("headwater_removed_nothing_total", "counter", "Removals of what was not there.", |family| {
        replaced().for_each(|(conf, s)| family.sample(&[("source", &conf.name)], s.removed_nothing as f64));
    });
    page.family("headwater_dead_letters_total", "counter", "Dead letters, by source and reason.", |family| {
        for (source, s) in &all {
            let reasons = s.dead_letters.iter();
            reasons.for_each(|(reason, n)| family.sample(&[("source", source), ("reason", reason)], *n as f64));
        }
    });
    let partitions = || all.iter().flat_map(|(source, s)| s.partitions.iter().map(move |p| (*source, p)));
    page.family("headwater_partition_lag_records", "gauge", "Records between position and end.", |family| {
        for (source, p) in partitions() {
            let labels = [("source", source), ("partition", &p.partition.to_string())];
            lag(p).iter().for_each(|lag| family.sample(&labels, *lag as f64));
        }
    });
    page.family("headwater_partition_left_out", "gauge", "1 while the partition is not waited for.", |family| {
        for (source, p) in partitions() {
            let labels = [("source", source), ("partition", &p.partition.to_string())];
            family.sample(&labels, f64::from(u8::from(p.left_out)));
        }
    });
}

fn of_groups(page: &mut Page, view: &RunView, status: &ProcessStatus) {
    let job = &view.opened.job;
    let of_groups: Vec<GroupStatus> = job.groups.ids().map(|group| of_group(status, group.into())).collect();
    let all: Vec<(&str, &GroupStatus)> = job.groups.iter().map(|g| g.name.as_str()).zip(&of_groups).collect();
    type Number = fn(&Counters) -> u64;
    let families: [(&str, &str, &str, Number); 10] = [
        ("events_total", "counter", "Events taken in.", |g| g.events),
        ("corrections_total", "counter", "Events taken back since something about them changed.", |g| g.corrections),
        ("changes_total", "counter", "Changes of rows.", |g| g.changes),
        ("too_old_total", "counter", "Events that were too old for every window.", |g| g.too_old),
        ("unfit_sums_total", "counter", "Sums that were null because they did not fit their type.", |g| g.unfit_sums),
        ("rows", "gauge", "Rows that are there.", |g| g.rows),
        ("keys", "gauge", "Keys of which something is kept.", |g| g.keys),
        ("open_windows", "gauge", "Windows that can still change: their state is kept.", |g| g.open_windows),
        (
            "dropped_total",
            "counter",
            "Windows closed, or keys of trailing windows forgotten: nothing can change them.",
            |g| g.dropped,
        ),
        ("ledger_bytes", "gauge", "Bytes of events held in memory until they grow old.", |g| g.ledger_bytes),
    ];
    for (name, kind, help, number) in families {
        page.family(&format!("headwater_{name}"), kind, help, |family| {
            all.iter().for_each(|(group, g)| family.sample(&[("group", group)], number(&g.counts) as f64));
        });
    }
    page.family("headwater_events_held", "gauge", "Events that a version of a table may still correct.", |family| {
        all.iter().for_each(|(group, g)| family.sample(&[("group", group)], g.events_held as f64));
    });
    let help = "Events that stay in a window since what replaced them came too late for it.";
    page.family("headwater_past_taking_back_total", "counter", help, |family| {
        all.iter().for_each(|(group, g)| family.sample(&[("group", group)], g.past_taking_back as f64));
    });
    let help = "Rows that came with a null since a derived column failed.";
    page.family("headwater_derived_failures_total", "counter", help, |family| {
        all.iter().for_each(|(group, g)| family.sample(&[("group", group)], g.derived_failures as f64));
    });
    page.family("headwater_group_dead_letters_total", "counter", "Dead letters, by group and reason.", |family| {
        for (group, g) in &all {
            let reasons = g.dead_letters.iter();
            reasons.for_each(|(reason, n)| family.sample(&[("group", group), ("reason", reason)], *n as f64));
        }
    });
}

/// In seconds.
fn since_1970(t: Tick) -> f64 {
    Span::from_us(t.us()).seconds()
}

struct Page {
    text: String,
}

struct Family<'a> {
    name: &'a str,
    text: &'a mut String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str, samples: impl FnOnce(&mut Family)) {
        put(&mut self.text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        samples(&mut Family { name, text: &mut self.text });
    }
}

impl Family<'_> {
    fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.name);
        for (i, (name, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n");
            put(self.text, format_args!("{}{name}=\"{value}\"", if i == 0 { '{' } else { ',' }));
        }
        put(self.text, format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
    }
}

fn put(text: &mut String, what: std::fmt::Arguments) {
    text.write_fmt(what).expect("a String takes what is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family() {
        let mut page = Page { text: String::new() };
        page.family("rows", "gauge", "Rows.", |family| {
            family.sample(&[], 0.5);
            family.sample(&[("a", "x\"y"), ("b", "z")], 3.0);
        });
        assert_eq!(page.text, "# HELP rows Rows.\n# TYPE rows gauge\nrows 0.5\nrows{a=\"x\\\"y\",b=\"z\"} 3\n");
    }
}
