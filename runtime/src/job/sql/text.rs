//! SQL text and its pieces, with their places in what the user wrote.

use std::path::Path;

use headwater_connectors::Path as ColumnPath;
use headwater_expression::{Token, TokenKind, tokens};

use crate::base::fault::{At, Faults};
use crate::job::raw::{Entry, Kind};

/// What cuts time into windows, here or elsewhere.
const WINDOWS: [&str; 4] = ["TUMBLE", "HOP", "SESSION", "CUMULATE"];

/// The event time of each source, by the source's name.
pub type EventTimes = Vec<(String, String)>;
/// The key of each table, by the table's name.
pub type TableKeys = Vec<(String, Vec<String>)>;

/// What a job says of what a statement may read.
pub struct Readable {
    pub times: EventTimes,
    pub tables: TableKeys,
    /// The key of each group, as its rows call it.
    pub groups: TableKeys,
}

/// A text of SQL.
pub struct Sql {
    pub text: String,
    pub tokens: Vec<Token>,
    place: TextAt,
}

/// Where the text stands.
enum TextAt {
    /// It was typed as it is, and this is its first character.
    From(At),
    /// In a string with escapes or variables: the whole of it is the place.
    At(At),
}

impl Sql {
    /// The value of a key.
    pub fn inline(entry: &Entry, faults: &mut Faults) -> Option<Sql> {
        let text = string(entry, faults)?;
        let place = text.starts.map_or(TextAt::At(entry.value.at), TextAt::From);
        Sql::read(text.text.clone(), place, faults)
    }

    /// The file that a key names.
    pub fn file(entry: &Entry, dir: &Path, faults: &mut Faults) -> Option<Sql> {
        let path = &string(entry, faults)?.text;
        let text = match std::fs::read_to_string(dir.join(path)) {
            Ok(text) => text,
            Err(error) => {
                faults.error(entry.value.at, format!("{path} cannot be read: {error}"));
                return None;
            }
        };
        let file = faults.places.add_file(path);
        Sql::read(text, TextAt::From(At { line: 1, column: 1, file }), faults)
    }

    fn read(text: String, place: TextAt, faults: &mut Faults) -> Option<Sql> {
        let mut sql = Sql { text, tokens: vec![], place };
        match tokens(&sql.text) {
            Ok(tokens) => sql.tokens = tokens,
            Err(error) => {
                faults.error(sql.at(error.offset.unwrap_or(0)), error.message);
                return None;
            }
        }
        Some(sql)
    }

    /// The place of a byte.
    pub fn at(&self, offset: usize) -> At {
        let first = match self.place {
            TextAt::At(at) => return at,
            TextAt::From(first) => first,
        };
        let before = self.text.get(..offset).unwrap_or(&self.text);
        match before.rsplit_once('\n') {
            None => At { column: first.column + before.chars().count(), ..first },
            Some((lines, last)) => {
                let line = first.line + lines.matches('\n').count() + 1;
                At { line, column: last.chars().count() + 1, ..first }
            }
        }
    }

    /// A piece as it was typed, but for the names of what is read.
    pub fn plain(&self, piece: &[Token], qualifiers: &[&str]) -> String {
        self.but(piece, |at| left_out(piece, at, qualifiers))
    }

    /// A piece as it was typed, but for what something else stands in place of: up to where, and what.
    pub fn but(&self, piece: &[Token], other: impl Fn(usize) -> Option<(usize, String)>) -> String {
        let (mut text, mut at) = (String::new(), 0);
        while at < piece.len() {
            let (end, said) = other(at).unwrap_or_else(|| (at + 1, self.slice(&piece[at..=at]).to_owned()));
            text += &said;
            if let Some(next) = piece.get(end).filter(|_| !said.is_empty()) {
                text += &self.text[piece[end - 1].end..next.start];
            }
            at = end;
        }
        text
    }

    /// A piece as it was typed.
    pub fn slice(&self, piece: &[Token]) -> &str {
        match piece {
            [] => "",
            [first, .., last] => &self.text[first.start..last.end],
            [one] => &self.text[one.start..one.end],
        }
    }
}

fn string<'a>(entry: &'a Entry, faults: &mut Faults) -> Option<&'a crate::job::variables::Text> {
    match &entry.value.kind {
        Kind::String(text) if !text.text.trim().is_empty() => return Some(text),
        Kind::Broken => {}
        Kind::String(_) => faults.error(entry.value.at, format!("`{}` is empty", entry.name)),
        other => faults.error(entry.value.at, format!("`{}` must be a string, not {}", entry.name, other.describe())),
    }
    None
}

/// Whether it is this keyword.
pub fn is_word(token: &Token, word: &str) -> bool {
    matches!(&token.kind, TokenKind::Word(found) if found.eq_ignore_ascii_case(word))
}

pub fn is_sign(token: &Token, sign: &str) -> bool {
    matches!(&token.kind, TokenKind::Sign(found) if found == sign)
}

/// A name: a word, or anything in double quotes.
pub fn name(token: &Token) -> Option<&str> {
    match &token.kind {
        TokenKind::Word(name) | TokenKind::Quoted(name) => Some(name),
        _ => None,
    }
}

/// How deep a token lies in parentheses, those of its own included, with its place among them.
pub fn depths(tokens: &[Token]) -> impl Iterator<Item = (usize, usize, &Token)> {
    let mut depth = 0_usize;
    tokens.iter().enumerate().map(move |(at, token)| {
        let before = depth;
        if ["(", "[", "{"].iter().any(|open| is_sign(token, open)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|close| is_sign(token, close)) {
            depth = depth.saturating_sub(1);
        }
        (before.max(depth), at, token)
    })
}

/// The pieces between the signs or keywords that stand outside of all parentheses.
pub fn split(tokens: &[Token], is_between: impl Fn(&Token) -> bool) -> Vec<&[Token]> {
    let mut ends: Vec<usize> =
        depths(tokens).filter(|(depth, _, token)| *depth == 0 && is_between(token)).map(|(_, at, _)| at).collect();
    ends.push(tokens.len());
    let mut from = 0;
    let piece = |end: usize| {
        let piece = &tokens[from..end];
        from = end + 1;
        piece
    };
    ends.into_iter().map(piece).collect()
}

/// Without the parentheses around all of it.
pub fn bare(mut tokens: &[Token]) -> &[Token] {
    while let [open, inside @ .., close] = tokens
        && is_sign(open, "(")
        && is_sign(close, ")")
        && !depths(inside).any(|(depth, _, token)| depth == 0 && is_sign(token, ")"))
    {
        tokens = inside;
    }
    tokens
}

/// `name(...)` and what stands behind it: the name, the arguments, the rest.
pub fn call(tokens: &[Token]) -> Option<(&Token, &[Token], &[Token])> {
    let [first, open, ..] = tokens else { return None };
    if !matches!(first.kind, TokenKind::Word(_)) || !is_sign(open, "(") {
        return None;
    }
    let (_, end, _) = depths(tokens).find(|(depth, at, token)| *at > 1 && *depth == 1 && is_sign(token, ")"))?;
    Some((first, &tokens[2..end], &tokens[end + 1..]))
}

/// Without the name of what is read before a column's.
pub fn unqualified<'a>(piece: &'a [Token], qualifiers: &[&str]) -> &'a [Token] {
    match piece {
        [of, dot, rest @ ..] if is_sign(dot, ".") && name(of).is_some_and(|of| qualifiers.contains(&of)) => rest,
        _ => piece,
    }
}

/// What an item of SELECT is called, if anything, and the item without that.
pub fn aliased(item: &[Token]) -> (&[Token], Option<&Token>) {
    match item {
        [body @ .., as_word, alias] if is_word(as_word, "AS") && name(alias).is_some() => (body, Some(alias)),
        // `COUNT(*) n`
        [body @ .., close, alias] if is_sign(close, ")") && name(alias).is_some() => {
            (&item[..body.len() + 1], Some(alias))
        }
        _ => (item, None),
    }
}

/// A piece without the names of what is read.
pub fn plain<'a>(piece: &'a [Token], qualifiers: &[&str]) -> Vec<&'a Token> {
    let is_said = |at: &usize| {
        let is_left_out = |from: usize| left_out(piece, from, qualifiers).is_some();
        !(is_left_out(*at) || at.checked_sub(1).is_some_and(is_left_out))
    };
    (0..piece.len()).filter(is_said).map(|at| &piece[at]).collect()
}

/// Where the name of what is read ends that stands here, before a column's: nothing is said in its place.
pub fn left_out(piece: &[Token], at: usize, qualifiers: &[&str]) -> Option<(usize, String)> {
    let is_inside = at > 0 && is_sign(&piece[at - 1], ".");
    let is_one = !is_inside && unqualified(&piece[at..], qualifiers).len() < piece.len() - at;
    is_one.then(|| (at + 2, String::new()))
}

/// Whether two pieces say the same. Names keep their case; what is called does not.
pub fn same(one: &[&Token], other: &[&Token]) -> bool {
    let is_call = |at: usize| other.get(at + 1).is_some_and(|open| is_sign(open, "("));
    let is_same = |(at, (one, other)): (usize, (&&Token, &&Token))| match (name(one), name(other)) {
        (Some(one), Some(other)) => one == other || is_call(at) && one.eq_ignore_ascii_case(other),
        _ => one.kind == other.kind,
    };
    !other.is_empty() && one.len() == other.len() && one.iter().zip(other).enumerate().all(is_same)
}

/// The column that a piece is: of what is read by its name or its path, of what is looked up as a path.
pub fn column(piece: &[Token]) -> Option<String> {
    let is_path = piece.len() % 2 == 1 && piece.iter().skip(1).step_by(2).all(|dot| is_sign(dot, "."));
    let names: Option<Vec<&str>> = piece.iter().step_by(2).map(name).collect();
    Some(ColumnPath::of(names.filter(|_| is_path)?).to_string())
}

/// Whether a piece is TUMBLE(...), HOP(...) or SESSION(...).
pub fn is_window(piece: &[Token]) -> bool {
    call(piece).is_some_and(|(function, _, rest)| rest.is_empty() && WINDOWS.iter().any(|word| is_word(function, word)))
}
