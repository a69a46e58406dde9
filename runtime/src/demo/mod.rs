//! `headwater demo`: the whole story in one process, ended by itself within a minute.
//!
//! ```text
//! a month of payments -> Parquet        mock Kafka <- its newest payments again, then live ones
//!                           \              /
//!                         the job: bootstrap, seam, stream -> embedded store -> what is shown
//! ```
//!
//! Every figure is measured while it is shown; none is known beforehand.

mod feeder;
mod freshness;
mod history;
mod job;
mod live;
mod payments;
mod rows;
mod running;
mod screen;
mod topic;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headwater_clocks::{Offset, Span, Tick, Time, WallClock};
use headwater_connectors::threads::guarded;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::base::failure::Failure;
use crate::base::id::{Id, SourceId};
use crate::job::Job;
use feeder::{Crowd, Feeder};
use freshness::{Prober, percentile, settle};
use history::{DAYS, History};
use live::Live;
use payments::{PARTITIONS, card_name};
use rows::{GROUP, GROUP_AT, counted};
use running::Running;
use screen::{Ink, Screen, grouped};
use topic::{Broker, Topic};

#[derive(Clone, Debug)]
pub struct Options {
    /// Where history, state and the job file go.
    pub dir: PathBuf,
    /// Payments of the history.
    pub events: u64,
    pub cards: u32,
    /// Live payments a second.
    pub rate: u64,
    /// A real Kafka, to be fed and no more.
    pub feed: Option<String>,
}

/// Payments of the history that the topic holds too, at most.
const OVERLAP: u64 = 10_000;
/// Payments of the rush at the end.
const RUSH: u64 = 100_000;
const FRAME: Duration = Duration::from_millis(30);
/// So long a start may take from the history's end to the present.
const CATCH_UP: Duration = Duration::from_secs(30);

/// What was measured.
struct Figures {
    bootstrap: Duration,
    /// From payment to row, and the rows' age at a look: ascending.
    fresh: Vec<Duration>,
    stale: Vec<Duration>,
    rush: Duration,
    made: u64,
    counted: u64,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    match &options.feed {
        Some(brokers) => feed(options, brokers),
        None => story(options),
    }
}

/// The demo's payments for a job that runs elsewhere: a history, and live ones until somebody ends it.
fn feed(options: &Options, brokers: &str) -> Result<(), Failure> {
    let screen = Screen::new();
    job::prepare(&options.dir)?;
    topic::create(brokers, job::TOPIC)?;
    let topic = Arc::new(Topic::open(brokers, job::TOPIC)?);
    job::write(&options.dir, brokers)?;
    write_history(options, &topic, &screen)?;
    let feeder = Feeder::start(topic.clone(), Crowd { cards: options.cards, apart: vec![] }, options.rate)?;
    screen.say(&format!("  live       {} payments a second into topic {} until Ctrl-C", options.rate, job::TOPIC));
    while !feeder.has_ended() {
        std::thread::sleep(FRAME);
    }
    feeder.stop()
}

fn story(options: &Options) -> Result<(), Failure> {
    let mut screen = Screen::new();
    screen.say(&screen.ink(Ink::Title, "Headwater: one job for the history and the stream"));
    job::prepare(&options.dir)?;
    let broker = Broker::start(job::TOPIC)?;
    let topic = Arc::new(Topic::open(&broker.brokers(), job::TOPIC)?);
    job::write(&options.dir, &broker.brokers())?;
    let approved = write_history(options, &topic, &screen)?;
    let (already, already_approved) = topic.sent();

    let crowd = Crowd { cards: options.cards, apart: vec![live::STOLEN, live::LATE, live::ORDINARY] };
    let feeder = Feeder::start(topic.clone(), crowd.clone(), options.rate)?;
    screen.say(&format!("  topic      librdkafka's mock cluster, {PARTITIONS} partitions; live payments arrive"));
    let began = Instant::now();
    let mut running = Running::start(Job::from_file(options.dir.join(job::FILE)).map_err(Failure::Job)?)?;
    tell_seam(&running, already, &screen);
    let Some(bootstrap) = bootstrap(&mut running, began, &screen)? else { return Err(running.failure()) };

    tell_live(options, &screen);
    let prober = Prober::start(topic.clone(), running.store.lookup(), options.cards)?;
    let stale = Live::play(&mut running, &topic, &mut screen)?;
    if running.has_ended() {
        return Err(running.failure());
    }
    let fresh = prober.stop()?;
    feeder.stop()?;
    let rush = rush(&crowd, &topic, &mut running)?;

    let made = approved + topic.sent().1 - already_approved;
    let counted = counted(running.rows.as_mut())?;
    running.stop()?;
    tell_figures(options, &Figures { bootstrap, fresh, stale, rush, made, counted }, &screen);
    tell_commands(&options.dir, &screen);
    if made != counted {
        return Err(Failure::Running(format!("{made} payments were made and {counted} counted: please report this")));
    }
    Ok(())
}

/// Writes the history and the part of it that the topic holds too. Returns how many of its payments are approved.
fn write_history(options: &Options, topic: &Topic, screen: &Screen) -> Result<u64, Failure> {
    let history = History {
        events: options.events,
        cards: options.cards,
        ended: WallClock::now(),
        overlap: OVERLAP.min(options.events / (2 * DAYS as u64)) as usize,
        free: topic.ends()?,
    };
    let (dir, rows) = (options.dir.join(job::HISTORY), AtomicU64::new(0));
    let mut bar = screen.bar("writing", options.events);
    let written = std::thread::scope(|scope| {
        let writing = scope.spawn(|| guarded(|| history.write(&dir, &rows)));
        while !writing.is_finished() {
            bar.at(rows.load(Ordering::Relaxed));
            std::thread::sleep(FRAME);
        }
        writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let (events, cards, took) = (grouped(options.events), grouped(u64::from(options.cards)), seconds(bar.done()));
    screen.say(&format!("  history    {events} payments of {cards} cards in {DAYS} days, made up in {took}"));
    written.in_topic.iter().try_for_each(|payment| topic.send(payment))?;
    topic.flush()?;
    let held: i64 = topic.ends()?.iter().zip(history.free).map(|(end, free)| end - free).sum();
    if held != written.in_topic.len() as i64 {
        return Err(Failure::Running(format!("the topic holds {held} of {} records", written.in_topic.len())));
    }
    Ok(written.approved)
}

fn tell_seam(running: &Running, already: u64, screen: &Screen) {
    let plan = running.view.start.plan.of_source(SourceId::at(0));
    plan.warnings.iter().for_each(|warning| screen.say(&format!("  warning    {warning}")));
    screen.say(&format!(
        "  seam       {} records of the topic are in the history already: passed over",
        grouped(already)
    ));
    let head = "partition   last offset in history   first offset read   end by now";
    screen.say(&format!("             {}", screen.ink(Ink::Faint, head)));
    for partition in &plan.partitions {
        let offset = |offset: Offset| grouped(offset.number().max(0) as u64);
        let last = partition.history_offset.map_or("-".to_owned(), offset);
        let (number, first, end) = (partition.partition, offset(partition.start), offset(partition.end));
        screen.say(&format!("             {number:>9}   {last:>22}   {first:>17}   {end:>10}"));
    }
}

/// Waits until the history's rows can be read. Returns how long that took from the job's start on, the first pass over the
/// history included; `None`: the job has ended.
fn bootstrap(running: &mut Running, job_began: Instant, screen: &Screen) -> Result<Option<Duration>, Failure> {
    let total = running.status().history_rows_total;
    let mut bar = screen.bar("bootstrap", total);
    let mut as_of = None;
    while as_of.is_none() {
        if running.has_ended() {
            return Ok(None);
        }
        bar.at(running.status().history_rows_read);
        std::thread::sleep(FRAME);
        as_of = running.rows.as_of(GROUP_AT)?;
    }
    bar.done();
    let took = job_began.elapsed();
    let (rows, rate) = (grouped(total), per_second(total, took));
    screen.say(&format!("  bootstrap  {rows} rows in {}, {rate} rows/s", seconds(took)));
    let began = Instant::now();
    while WallClock::now().past(running.rows.as_of(GROUP_AT)?.unwrap_or(Tick::BEFORE_ALL)) > Span::from_us(1_000_000) {
        if running.has_ended() || began.elapsed() > CATCH_UP {
            return Ok(None);
        }
        std::thread::sleep(FRAME);
    }
    let records = grouped(running.status().sources[SourceId::at(0)].counts.records);
    screen.say(&format!("  caught up  {records} records of the stream, {} later", seconds(began.elapsed())));
    Ok(Some(took))
}

fn tell_live(options: &Options, screen: &Screen) {
    let title = format!("Live: {} payments a second, and three cards to watch", grouped(options.rate));
    screen.say(&format!("\n{}", screen.ink(Ink::Title, &title)));
    let look = format!("{} status {}", program(), options.dir.join(job::FILE).display());
    screen.say(&format!("  {}", screen.ink(Ink::Faint, &format!("meanwhile, elsewhere: {look}"))));
}

/// As many payments at once as the producer can make. Returns how long it took until all could be read.
fn rush(crowd: &Crowd, topic: &Topic, running: &mut Running) -> Result<Duration, Failure> {
    let (mut rng, began) = (StdRng::seed_from_u64(RUSH), Instant::now());
    for _ in 0..RUSH {
        topic.send(&crowd.payment(&mut rng))?;
    }
    settle(topic, running.rows.as_mut(), crowd.cards + PARTITIONS as u32)?;
    Ok(began.elapsed())
}

fn tell_figures(options: &Options, figures: &Figures, screen: &Screen) {
    let line = |what: &str, figure: String, how: &str| {
        screen.say(&format!("  {what:<10} {figure:<26} {}", screen.ink(Ink::Faint, how)));
    };
    screen.say(&format!("\n{}", screen.ink(Ink::Title, "Measured")));
    line(
        "bootstrap",
        format!("{} rows/s", per_second(options.events, figures.bootstrap)),
        "from the job's start to readable rows",
    );
    line("stream", format!("{} events/s", per_second(RUSH, figures.rush)), "100,000 at once, made to readable");
    let of = |sorted: &[Duration]| {
        format!("p50 {}, p99 {}", millis(percentile(sorted, 0.5)), millis(percentile(sorted, 0.99)))
    };
    let probes = grouped(figures.fresh.len() as u64);
    line("freshness", of(&figures.fresh), &format!("payment made to row readable, {probes} times"));
    line("staleness", of(&figures.stale), "now less _as_of, at each look");
    let (made, counted) = (grouped(figures.made), grouped(figures.counted));
    line("exactness", format!("{counted} counted"), &format!("of {made} approved payments made"));
}

fn tell_commands(dir: &Path, screen: &Screen) {
    let (program, job, card) = (program(), dir.join(job::FILE), card_name(live::STOLEN));
    let job = job.display();
    screen.say(&format!("\n{}", screen.ink(Ink::Title, "To look further")));
    screen.say(&format!("  {program} get {job} {GROUP} card_id={card}"));
    screen.say(&format!("  {program} export {job} {GROUP}"));
    screen.say(&format!("  cat {job}"));
}

/// This command, as it was typed.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "headwater".to_owned())
}

fn per_second(count: u64, took: Duration) -> String {
    grouped((count as f64 / took.as_secs_f64()) as u64)
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn millis(took: Duration) -> String {
    format!("{:.0} ms", took.as_secs_f64() * 1e3)
}
