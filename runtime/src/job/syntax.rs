//! TOML that is wrong in places: each mistake told once, and everything around it read all the same.
//!
//! After a mistake the parser may take the rest of the file for something else, or give up. So only its first complaint is
//! believed; the line is blanked, and the text read again, until nothing is left to complain about.

use std::ops::Range;

use toml::de::{DeTable, Error};

use crate::base::fault::{At, Faults};

/// So many mistakes are told at most: what is wrong all over is no job file.
const TOLD_MAX: usize = 100;

/// Where the syntax was so wrong that something may be missing which the user did write. Lines, from 1.
#[derive(Clone, Debug, Default)]
pub struct Torn {
    lines: Vec<usize>,
    /// The lines of all table headers.
    headers: Vec<usize>,
}

impl Torn {
    /// Whether a fault here may only be an echo of wrong syntax on the same line.
    pub fn on(&self, at: At) -> bool {
        at.file == 0 && self.lines.contains(&at.line)
    }

    /// Whether the table that starts here may have lost a key.
    pub fn table(&self, at: At) -> bool {
        let next = self.headers.iter().find(|line| **line > at.line).copied().unwrap_or(usize::MAX);
        self.names() || self.lines.iter().any(|line| (at.line..next).contains(line))
    }

    /// Whether a whole table may be lost.
    pub fn names(&self) -> bool {
        self.lines.iter().any(|line| self.headers.contains(line))
    }
}

/// The place of a byte of the text.
pub fn at(text: &str, offset: usize) -> At {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    At { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1, file: 0 }
}

/// Tells what is wrong with the syntax of `text`; returns it with the wrong lines blanked, every byte at its place.
pub fn mend(text: &str, faults: &mut Faults) -> (String, Torn) {
    let mut mended = text.to_string();
    let headers = text.lines().enumerate().filter(|(_, line)| is_header(line)).map(|(n, _)| n + 1);
    let mut torn = Torn { lines: Vec::new(), headers: headers.collect() };
    for _ in 0..TOLD_MAX {
        let (_, errors) = DeTable::parse_recoverable(&mended);
        let Some((error, span)) = errors.iter().map(|e| (e, span(text, e))).find(|(e, span)| is_first(text, e, span))
        else {
            tell_rest(text, &errors, &mut torn, faults);
            break;
        };
        faults.error(at(text, span.start), message(text, error));
        let lost = lost_lines(text, error, &span);
        torn.lines.extend(at(text, lost.start).line..=at(text, lost.end).line);
        let blank: String =
            text[lost.clone()].split('\n').map(|line| " ".repeat(line.len())).collect::<Vec<_>>().join("\n");
        if mended[lost.clone()] == blank {
            break;
        }
        mended.replace_range(lost, &blank);
    }
    (mended, torn)
}

/// The parser itself gets over a name that is given twice, and over a table header.
fn is_first(text: &str, error: &Error, span: &Range<usize>) -> bool {
    let (line, _) = line_at(text, span.start);
    error.message() != DUPLICATE && (!is_header(line) || swallowed(text, error, span))
}

const DUPLICATE: &str = "duplicate key";

fn tell_rest(text: &str, errors: &[Error], torn: &mut Torn, faults: &mut Faults) {
    let mut told = Vec::new();
    for error in errors {
        let at = at(text, span(text, error).start);
        if error.message() != DUPLICATE {
            torn.lines.push(at.line);
        }
        if !told.contains(&at.line) {
            told.push(at.line);
            faults.error(at, message(text, error));
        }
    }
}

fn message(text: &str, error: &Error) -> String {
    match error.message() {
        DUPLICATE => {
            let name = text.get(span(text, error)).unwrap_or_default();
            format!("`{name}` is given twice: expected each name once in a table")
        }
        other if other.starts_with("string values must be quoted") || other.starts_with("invalid boolean") => {
            "this is no value: expected text in quotes, a number, true, false, a list or a table".into()
        }
        other => other.into(),
    }
}

/// The lines to read over: the line of the mistake, or, where a list or table is not closed and the parser noticed only at
/// the next statement, the lines from its beginning to before that.
fn lost_lines(text: &str, error: &Error, span: &Range<usize>) -> Range<usize> {
    let (_, line) = line_at(text, span.start);
    let at_end = error.message().starts_with("unclosed");
    if !at_end && !swallowed(text, error, span) {
        return line;
    }
    let end = if at_end { line.end } else { line.start.saturating_sub(1) };
    let mut start = line_at(text, end).1.start;
    while start > 0 && !opens(&text[start..end]) {
        start = line_at(text, start - 1).1.start;
    }
    start..end
}

/// Whether a value begins here that is not closed, as far as brackets tell.
fn opens(text: &str) -> bool {
    let count = |brackets: [char; 2]| text.matches(brackets).count();
    text.contains('=') && count(['[', '{']) > count([']', '}'])
}

/// Whether this is the next statement, taken for more of a list or table that is not closed.
fn swallowed(text: &str, error: &Error, span: &Range<usize>) -> bool {
    let (line, range) = line_at(text, span.start);
    let starts_line = text[range.start..span.start].trim().is_empty();
    error.message().starts_with("missing comma")
        && starts_line
        && range.start > 0
        && (line.contains('=') || is_header(line))
}

fn is_header(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

/// The line that holds a byte, without its end.
fn line_at(text: &str, offset: usize) -> (&str, Range<usize>) {
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |newline| offset + newline);
    (&text[start..end], start..end)
}

/// Where the parser complains: always on a character's border, and inside the text or at its end.
fn span(text: &str, error: &Error) -> Range<usize> {
    let whole = error.span().filter(|span| text.get(span.clone()).is_some());
    whole.unwrap_or(text.len()..text.len())
}
