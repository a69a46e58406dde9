//! The live part: three cards, what happens to them, and what one then sees in their rows.
//!
//! ```text
//! s   0       1          3 ... 5             8                13           15          17
//!     |   two cards    stolen card:    a late payment,      it grows    the burst     end
//!     |      pay         a burst       made 5 s before        old      has grown old
//! ```

use std::time::{Duration, Instant};

use headwater_clocks::{Span, Tick, Time, WallClock};

use super::freshness::probe;
use super::payments::{Payment, card_name, euros};
use super::rows::{GROUP_AT, Row, row};
use super::running::Running;
use super::screen::{Ink, Screen};
use super::topic::Topic;
use crate::base::failure::Failure;

/// The cards of the story, with the parts they play.
pub const STOLEN: u32 = 7;
pub const LATE: u32 = 11;
pub const ORDINARY: u32 = 42;
const CAST: [(u32, &str); 3] = [(STOLEN, "stolen"), (LATE, "late"), (ORDINARY, "ordinary")];

const BURST: u64 = 14;
const LATE_CENTS: i64 = 99_900;
const LATE_BY_US: i64 = 5_000_000;
const END: Duration = Duration::from_secs(17);
const LOOK: Duration = Duration::from_millis(5);
const DRAW: Duration = Duration::from_millis(50);

/// Something that happens, so long after the beginning.
struct Act {
    at: Duration,
    card: u32,
    cents: i64,
    /// How long before its arrival the payment was made.
    age: Span,
}

fn script() -> Vec<Act> {
    let act = |ms, card, cents, age_us| Act { at: Duration::from_millis(ms), card, cents, age: Span::from_us(age_us) };
    let mut acts = vec![
        act(1_000, ORDINARY, 1_250, 0),
        act(1_500, LATE, 2_340, 0),
        act(6_500, ORDINARY, 840, 0),
        act(8_000, LATE, LATE_CENTS, LATE_BY_US),
        act(11_000, ORDINARY, 2_300, 0),
    ];
    acts.extend((0..BURST).map(|i| act(3_000 + i * 140, STOLEN, 4_900 + 1_000 * i as i64, 0)));
    acts.sort_by_key(|act| act.at);
    acts
}

pub struct Live<'a> {
    running: &'a mut Running,
    topic: &'a Topic,
    screen: &'a mut Screen,
    began: Instant,
    rows: [Row; 3],
    /// How old the rows were at each look.
    stale: Vec<Duration>,
    /// What has been told.
    burst: Stage,
    late: Stage,
    /// The late card before its late payment, and when that was sent.
    before_late: Option<(Row, Instant)>,
    burst_before: u64,
}

/// How far a card's story has been told: it rose, it began to fall, it has fallen.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Stage {
    Nothing,
    Happens,
    Rose,
    Fell,
}

impl<'a> Live<'a> {
    /// Plays the script to its end. Returns how old the rows were, ascending.
    pub fn play(running: &'a mut Running, topic: &'a Topic, screen: &'a mut Screen) -> Result<Vec<Duration>, Failure> {
        let mut live = Live {
            running,
            topic,
            screen,
            began: Instant::now(),
            rows: Default::default(),
            stale: vec![],
            burst: Stage::Nothing,
            late: Stage::Nothing,
            before_late: None,
            burst_before: 0,
        };
        live.look()?;
        live.burst_before = live.rows[0].tx_all;
        let mut acts = script().into_iter().peekable();
        let mut drawn = None::<Instant>;
        while live.began.elapsed() < END && !live.running.has_ended() {
            while let Some(act) = acts.next_if(|act| act.at <= live.began.elapsed()) {
                live.act(&act)?;
            }
            live.look()?;
            live.tell();
            if drawn.is_none_or(|at| at.elapsed() >= DRAW) {
                drawn = Some(Instant::now());
                live.draw();
            }
            std::thread::sleep(LOOK);
        }
        live.screen.clear();
        live.stale.sort_unstable();
        Ok(live.stale)
    }

    fn act(&mut self, act: &Act) -> Result<(), Failure> {
        let now = probe(act.card, WallClock::now());
        let payment = Payment { cents: act.cents, ts: now.ts - act.age, ..now };
        match act.card {
            STOLEN if self.burst == Stage::Nothing => {
                self.burst = Stage::Happens;
                self.say(STOLEN, &format!("is stolen: {BURST} payments in two seconds"));
            }
            LATE if act.age > Span::ZERO => {
                self.late = Stage::Happens;
                self.before_late = Some((self.rows[1].clone(), Instant::now()));
                let (amount, by) = (euros(act.cents), act.age.us() / 1_000_000);
                self.say(LATE, &format!("a payment of {amount} arrives {by} s late"));
            }
            _ => {}
        }
        self.topic.send(&payment)
    }

    fn look(&mut self) -> Result<(), Failure> {
        for (row_of, (card, _)) in self.rows.iter_mut().zip(CAST) {
            *row_of = row(self.running.rows.as_mut(), card)?;
        }
        let as_of = self.running.rows.as_of(GROUP_AT)?.unwrap_or(Tick::from_us(0));
        self.stale.push(Duration::from_micros(WallClock::now().past(as_of).us().max(0) as u64));
        Ok(())
    }

    /// Tells what has just become visible in the rows.
    fn tell(&mut self) {
        let [stolen, late, _] = self.rows.clone();
        if self.burst == Stage::Happens && stolen.tx_all == self.burst_before + BURST {
            self.burst = Stage::Rose;
            let (tx, spend) = (stolen.tx_10s, amount(&stolen.spend_1h));
            self.say(STOLEN, &format!("tx_10s has risen to {tx}, spend_1h to {spend}"));
        }
        if self.burst == Stage::Rose && stolen.tx_10s == 0 {
            self.burst = Stage::Fell;
            self.say(STOLEN, "tx_10s is back at 0: nothing came, the payments grew old");
        }
        let Some((before, sent)) = &self.before_late else { return };
        if self.late == Stage::Happens && late.tx_all > before.tx_all {
            self.late = Stage::Rose;
            let (old, new, ms) = (amount(&before.spend_1h), amount(&late.spend_1h), sent.elapsed().as_millis());
            self.say(LATE, &format!("spend_1h corrected {ms} ms later: {old} -> {new}"));
        }
        if self.late == Stage::Rose && late.tx_10s == 0 {
            self.late = Stage::Fell;
            self.say(LATE, "tx_10s falls 10 s after it was made, not after it arrived");
        }
    }

    fn say(&self, card: u32, what: &str) {
        let seconds = format!("{:5.1} s", self.began.elapsed().as_secs_f64());
        let ink = if card == STOLEN { Ink::Bad } else { Ink::Good };
        let (seconds, card) = (self.screen.ink(Ink::Faint, &seconds), self.screen.ink(ink, &card_name(card)));
        self.screen.say(&format!("  {seconds}  {card}  {what}"));
        if !self.screen.is_terminal() {
            self.table().iter().for_each(|line| self.screen.say(&format!("      {line}")));
        }
    }

    fn draw(&mut self) {
        let mut lines = vec![" ".to_owned()];
        lines.extend(self.table().into_iter().map(|line| format!("  {line}")));
        let left = END.saturating_sub(self.began.elapsed()).as_secs();
        let (sent, _) = self.topic.sent();
        let foot = format!("  {} payments so far; {left} s to go", super::screen::grouped(sent));
        lines.extend([" ".to_owned(), self.screen.ink(Ink::Faint, &foot)]);
        self.screen.draw(&lines);
    }

    fn table(&self) -> Vec<String> {
        let head = format!(
            "{:<10}  {:<8} {:>6} {:>5} {:>10} {:>9} {:>6} {:>10}",
            "card", "part", "tx_10s", "tx_1h", "spend_1h", "max_1h", "tx_30d", "stale"
        );
        let stale = self.stale.last().map_or(0, Duration::as_millis);
        let line = |(row, (card, part)): (&Row, (u32, &str))| {
            // Padded before it is coloured: what colours is as long as text to the formatter.
            let tx_10s = format!("{:>6}", row.tx_10s);
            let tx_10s = if row.tx_10s > 2 { self.screen.ink(Ink::Bad, &tx_10s) } else { tx_10s };
            let (card, spend, max) = (card_name(card), amount(&row.spend_1h), amount(&row.max_1h));
            let (tx_1h, tx_30d) = (row.tx_1h, row.tx_30d);
            format!("{card:<10}  {part:<8} {tx_10s} {tx_1h:>5} {spend:>10} {max:>9} {tx_30d:>6} {stale:>7} ms")
        };
        let head = self.screen.ink(Ink::Title, &head);
        std::iter::once(head).chain(self.rows.iter().zip(CAST).map(line)).collect()
    }
}

/// A window without a payment has no sum.
fn amount(amount: &Option<String>) -> &str {
    amount.as_deref().unwrap_or("-")
}
