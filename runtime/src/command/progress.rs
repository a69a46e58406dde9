//! How far a run is, for the people who started it: a bar and then a live line on a terminal, log lines elsewhere.

use std::time::{Duration, Instant};

use headwater_clocks::{Time, WallClock};
use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::log;
use super::showing::Showing;
use crate::base::failure::Failure;
use crate::base::human::HumanCount;
use crate::observe::reporter::lag;
use crate::observe::status::ProcessStatus;
use crate::observe::view::RunView;
use crate::plan::mode::Mode;

const LOG_EVERY: Duration = Duration::from_secs(10);

/// Shows a run as long as it is held.
pub fn show(view: RunView) -> Result<Showing, Failure> {
    let mut teller = Teller::new(view);
    Showing::start(move |last| if last { teller.end() } else { teller.look() })
}

struct Teller {
    view: RunView,
    began: Instant,
    logged: Instant,
    /// The bar, or the live line; none where nobody looks on.
    drawn: Option<ProgressBar>,
    bootstrapped: bool,
    /// When records were last counted, and how many.
    counted: (Instant, u64),
    per_second: f64,
}

impl Teller {
    fn new(view: RunView) -> Teller {
        let status = view.status();
        let now = Instant::now();
        if status.history_rows_total > 0 {
            tracing::info!("bootstrap: {} rows of history to read", HumanCount(status.history_rows_total));
        }
        let drawn = log::draws().then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            log::write_above(Some(all.clone()));
            let bar = all.add(ProgressBar::new(status.history_rows_total));
            bar.set_style(style("history {bar:30} {human_pos}/{human_len} rows, {rate} rows/s, {eta} to go"));
            bar
        });
        let mut teller = Teller {
            view,
            began: now,
            logged: now,
            drawn,
            bootstrapped: false,
            counted: (now, records(&status)),
            per_second: 0.0,
        };
        teller.look();
        teller
    }

    fn look(&mut self) {
        let status = self.view.status();
        if !self.bootstrapped && is_bootstrapped(&status) {
            self.switch(&status);
        }
        match (&self.drawn, self.bootstrapped) {
            (Some(bar), false) => bar.set_position(status.history_rows_read),
            (Some(line), true) => {
                let text = self.live(&status);
                line.set_message(text);
                line.tick();
            }
            (None, false) if self.logged.elapsed() >= LOG_EVERY => {
                self.logged = Instant::now();
                tracing::info!("bootstrap: {}", self.share(&status));
            }
            (None, _) => {}
        }
        if self.bootstrapped {
            self.count(&status);
        }
    }

    fn switch(&mut self, status: &ProcessStatus) {
        self.bootstrapped = true;
        let rows = status.history_rows_read;
        let seconds = self.began.elapsed().as_secs_f64();
        let next = match self.view.mode {
            Mode::Follow => "following",
            Mode::UntilEnd => "reading to the end",
        };
        let per_second = HumanCount((rows as f64 / seconds.max(1e-3)) as u64);
        match rows {
            0 => tracing::info!("no history to read: {next}"),
            _ => tracing::info!(
                "bootstrap done: {} rows, {seconds:.1} seconds, {per_second} rows/s; {next}",
                HumanCount(rows)
            ),
        }
        if let Some(bar) = &self.drawn {
            bar.set_style(style("{msg}"));
        }
    }

    fn share(&self, status: &ProcessStatus) -> String {
        let (read, total) = (status.history_rows_read, status.history_rows_total);
        let seconds = self.began.elapsed().as_secs_f64();
        let per_second = read as f64 / seconds;
        let left = total.saturating_sub(read) as f64 / per_second.max(1.0);
        format!(
            "{} of {} rows, {} rows/s, {} to go",
            HumanCount(read),
            HumanCount(total),
            HumanCount(per_second as u64),
            HumanDuration(Duration::from_secs_f64(left))
        )
    }

    fn count(&mut self, status: &ProcessStatus) {
        let (at, before) = self.counted;
        if at.elapsed() >= Duration::from_secs(1) {
            let now = records(status);
            self.per_second = now.saturating_sub(before) as f64 / at.elapsed().as_secs_f64();
            self.counted = (Instant::now(), now);
        }
    }

    fn live(&self, status: &ProcessStatus) -> String {
        let Some(t) = status.t else { return "waiting for the stream".to_owned() };
        let partitions = || status.sources.iter().flat_map(|s| &s.partitions);
        let behind: i64 = partitions().filter_map(lag).sum();
        let left_out = partitions().filter(|p| p.left_out).count();
        let rows: u64 = status.groups.iter().map(|g| g.counts.rows).sum();
        let mut text = format!(
            "T {t} ({:.1}s ago)   lag {}   {} events/s   {} rows",
            WallClock::now().past(t).seconds(),
            HumanCount(behind.max(0) as u64),
            HumanCount(self.per_second as u64),
            HumanCount(rows)
        );
        if left_out > 0 {
            text += &format!("   {left_out} partitions left out");
        }
        text
    }

    fn end(&mut self) {
        let status = self.view.board.sum();
        if !self.bootstrapped && is_bootstrapped(&status) {
            self.switch(&status);
        }
        if let Some(bar) = self.drawn.take() {
            bar.finish_and_clear();
            log::write_above(None);
        }
    }
}

/// All of the history is read, or `T` has begun.
fn is_bootstrapped(status: &ProcessStatus) -> bool {
    status.t.is_some() || status.history_rows_read >= status.history_rows_total
}

fn records(status: &ProcessStatus) -> u64 {
    status.sources.iter().map(|s| s.counts.records).sum()
}

fn style(template: &str) -> ProgressStyle {
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // Nobody can be told of a terminal that takes no text.
        let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", rate)
}

/// A run in one line, at its end.
pub fn summary(status: &ProcessStatus) -> String {
    let rows: u64 = status.groups.iter().map(|g| g.counts.rows).sum();
    let events: u64 = status.groups.iter().map(|g| g.counts.events).sum();
    let mut reasons = std::collections::BTreeMap::<&str, u64>::new();
    for (reason, n) in status.sources.iter().flat_map(|s| &s.dead_letters) {
        *reasons.entry(reason).or_default() += n;
    }
    let reasons: Vec<String> = reasons.iter().map(|(reason, n)| format!("{} {reason}", HumanCount(*n))).collect();
    let dead_letters = if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") };
    let t = status.t.map_or_else(|| "not begun".to_owned(), |t| t.to_string());
    format!("{} rows, {} events, dead letters: {dead_letters}, T = {t}", HumanCount(rows), HumanCount(events))
}
