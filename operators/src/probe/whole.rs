//! A key whose events are all here, in order of when they enter: what a window holds follows from how far two walks have come.
//!
//! ```text
//! by `enter`       e0 e1 e2 e3 | e4 e5      those before the bar have entered
//! by event time    e1 e0 | e3 e2 e5 e4      for each window: those before its bar are too old for it
//! ```
//!
//! An event comes into a window when the first bar passes it and the window's has not, and goes when the window's passes it. Events mostly
//! enter in order of their times, and then it is one walk. None is copied, and none waits anywhere.

use headwater_clocks::{EventTime, Tick};

use crate::accumulators::{Accumulators, Inputs};

/// The only unit: keys come one after the other.
const UNIT: usize = 0;

/// The events of a key. Of inputs, theirs begin at `first`.
#[derive(Clone, Copy)]
pub struct KeyEvents<'a> {
    pub enter: &'a [i64],
    pub ts: &'a [i64],
    pub inputs: &'a Inputs,
    pub first: usize,
}

impl KeyEvents<'_> {
    fn ts(&self, event: usize) -> EventTime {
        EventTime::from_us(self.ts[event])
    }
}

pub struct Whole {
    accumulators: Accumulators,
    /// How many events have entered.
    entered: usize,
    /// All of them by event time; and by window, how many of these are too old for it.
    by_time: Vec<u32>,
    left: Vec<usize>,
    /// By event and synopsis: the word by which it goes. Empty where no synopsis gives any.
    words: Vec<u64>,
    /// Room for rows that come or go.
    rows: Vec<u32>,
}

impl Whole {
    /// `accumulators`: nested.
    pub fn new(mut accumulators: Accumulators) -> Whole {
        accumulators.grow(UNIT + 1);
        let left = vec![0; accumulators.windows().len()];
        Whole { accumulators, entered: 0, by_time: vec![], left, words: vec![], rows: vec![] }
    }

    /// What the windows hold.
    pub fn accumulators(&mut self) -> &mut Accumulators {
        &mut self.accumulators
    }

    /// Begins a key, with empty windows.
    pub fn begin(&mut self, events: KeyEvents) {
        if self.entered > 0 {
            self.accumulators.clear(UNIT);
        }
        self.entered = 0;
        self.left.fill(0);
        self.by_time.clear();
        self.by_time.extend(0..events.ts.len() as u32);
        if !events.ts.is_sorted() {
            self.by_time.sort_by_key(|event| events.ts[*event as usize]);
        }
        self.words.clear();
        if self.accumulators.gives_words() {
            self.words.resize(events.ts.len() * self.accumulators.synopses(), 0);
        }
    }

    /// Goes on to a moment, which is no earlier than the last one.
    pub fn go_to(&mut self, events: KeyEvents, now: Tick) {
        for window in 0..self.left.len() {
            self.leave(window, events, now);
        }
        let entered = self.entered;
        self.entered += events.enter[entered..].iter().take_while(|enter| Tick::from_us(**enter) <= now).count();
        for window in 0..self.left.len() {
            let until = now.left(self.accumulators.windows()[window]);
            self.come(Some(window), events, (entered, until));
        }
        if self.accumulators.all() {
            self.come(None, events, (entered, EventTime::BEFORE_ALL));
        }
        self.tell_synopses(events, entered, now);
        self.accumulators.forget(UNIT, now);
    }

    /// What has become too old for a window.
    fn leave(&mut self, window: usize, events: KeyEvents, now: Tick) {
        let until = now.left(self.accumulators.windows()[window]);
        let left = &mut self.left[window];
        self.rows.clear();
        while let Some(event) = self.by_time.get(*left).map(|event| *event as usize)
            && events.ts(event) <= until
        {
            *left += 1;
            if event < self.entered {
                self.rows.push((events.first + event) as u32);
            }
        }
        if self.rows.is_empty() {
            return;
        }
        self.accumulators.take_from(UNIT, window, events.inputs, &self.rows);
        if !self.words.is_empty() {
            let synopses = self.accumulators.synopses();
            for row in &self.rows {
                let event = *row as usize - events.first;
                let words = &self.words[event * synopses..][..synopses];
                self.accumulators.tell_of_leaving(window, (UNIT, events.ts(event)), words);
            }
        }
    }

    /// What has entered since, and is not too old for a window.
    fn come(&mut self, window: Option<usize>, events: KeyEvents, (since, until): (usize, EventTime)) {
        let young = (since..self.entered).filter(|event| window.is_none() || events.ts(*event) > until);
        self.rows.clear();
        self.rows.extend(young.map(|event| (event + events.first) as u32));
        if !self.rows.is_empty() {
            self.accumulators.add_to(UNIT, window, events.inputs, &self.rows);
        }
    }

    fn tell_synopses(&mut self, events: KeyEvents, since: usize, now: Tick) {
        let synopses = self.accumulators.synopses();
        if synopses == 0 {
            return;
        }
        for event in since..self.entered {
            let ts = events.ts(event);
            let class = self.accumulators.class(ts, now);
            if class == self.left.len() && !self.accumulators.all() {
                continue;
            }
            let mut words = self.words.get_mut(event * synopses..(event + 1) * synopses);
            self.accumulators.tell_of(
                (UNIT, ts, class),
                now,
                (events.inputs, events.first + event),
                |synopsis, word| {
                    if let Some(words) = &mut words {
                        words[synopsis] = word;
                    }
                },
            );
        }
    }
}
