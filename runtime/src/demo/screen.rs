//! The screen: a story told line by line and, on a terminal, a part below it that is drawn anew as things change.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::human::HumanCount;

/// Without a terminal, how often a bar tells where it is.
const TELL_EVERY: Duration = Duration::from_secs(1);
const FRAMES_PER_SECOND: u8 = 20;

pub struct Screen {
    /// `None`: no terminal, or one that cannot be drawn on.
    drawn: Option<MultiProgress>,
    colours: bool,
    lines: Vec<ProgressBar>,
}

/// What a word means, and so how it looks.
#[derive(Clone, Copy)]
pub enum Ink {
    Title,
    Faint,
    Good,
    Bad,
}

impl Screen {
    pub fn new() -> Screen {
        let terminal = std::io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|t| t != "dumb");
        let target = || ProgressDrawTarget::stdout_with_hz(FRAMES_PER_SECOND);
        Screen {
            drawn: terminal.then(|| MultiProgress::with_draw_target(target())),
            colours: terminal && std::env::var_os("NO_COLOR").is_none(),
            lines: vec![],
        }
    }

    pub fn is_terminal(&self) -> bool {
        self.drawn.is_some()
    }

    pub fn ink(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Title => "1",
            Ink::Faint => "2",
            Ink::Good => "32",
            Ink::Bad => "31",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.drawn {
            // A bar that is gone leaves an empty `MultiProgress`, whose `println` still writes above it.
            Some(drawn) => drop(drawn.println(line)),
            // Nobody may be listening any more, which is no reason to fail.
            None => drop(writeln!(std::io::stdout(), "{line}")),
        }
    }

    /// Draws these lines below the story, in the place of those before. Without a terminal nothing.
    pub fn draw(&mut self, lines: &[String]) {
        let Some(drawn) = &self.drawn else { return };
        while self.lines.len() < lines.len() {
            // The template is right: it names one known key.
            let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            self.lines.push(drawn.add(ProgressBar::new(0).with_style(style)));
        }
        self.lines.iter().zip(lines).for_each(|(bar, line)| bar.set_message(line.clone()));
    }

    /// Takes the drawn part away.
    pub fn clear(&mut self) {
        self.lines.drain(..).for_each(|bar| bar.finish_and_clear());
    }

    /// A bar over `total` rows.
    pub fn bar(&self, what: &'static str, total: u64) -> Bar {
        let drawn = self.drawn.as_ref().map(|drawn| {
            let template = "  {prefix:10} {bar:20} {human_pos:>9} of {human_len}  {msg:>16}";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            drawn.add(ProgressBar::new(total).with_style(style.progress_chars("█▉▊▋▌▍▎▏ ")).with_prefix(what))
        });
        Bar { drawn, what, total, began: Instant::now(), told: Instant::now() }
    }
}

pub struct Bar {
    drawn: Option<ProgressBar>,
    what: &'static str,
    total: u64,
    began: Instant,
    told: Instant,
}

impl Bar {
    pub fn at(&mut self, rows: u64) {
        let rate = format!("{} rows/s", grouped((rows as f64 / self.began.elapsed().as_secs_f64()) as u64));
        match &self.drawn {
            Some(bar) => {
                bar.set_message(rate);
                bar.set_position(rows);
            }
            None if self.told.elapsed() >= TELL_EVERY => {
                self.told = Instant::now();
                let (what, rows, total) = (self.what, grouped(rows), grouped(self.total));
                drop(writeln!(std::io::stdout(), "  {what:10} {rows} of {total} rows, {rate}"));
            }
            None => {}
        }
    }

    /// How long it took.
    pub fn done(self) -> Duration {
        self.drawn.iter().for_each(ProgressBar::finish_and_clear);
        self.began.elapsed()
    }
}

/// `1234567` as `1,234,567`, in a text that can be aligned.
pub fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}
