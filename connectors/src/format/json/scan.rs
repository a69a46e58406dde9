//! One pass over a JSON text that checks its syntax (RFC 8259) and says where values lie, without a tree.

/// Where a value lies, in bytes of the text. A string's span is without its quotes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::format) struct Span {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Kind {
    Null,
    True,
    False,
    /// A number without fraction and exponent.
    Integer,
    Number,
    Text,
    /// A string with at least one escape.
    Escaped,
    Nested,
}

impl Span {
    /// A missing field is null.
    pub const MISSING: Span = Span { kind: Kind::Null, start: 0, end: 0 };
}

/// A place in a text. Methods that give an `Option` give `None` where the syntax is broken, and are then done with.
pub(in crate::format) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, bytes: text.as_bytes(), at: 0 }
    }

    pub fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// What is still to come.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub fn slice(&self, start: usize, end: usize) -> &'a str {
        &self.text[start..end]
    }

    pub fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    pub fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == byte;
        self.at += usize::from(there);
        there
    }

    pub fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    /// The colon between a key and its value, with the white space around it.
    pub fn colon(&mut self) -> Option<()> {
        self.space();
        self.expect(b':')?;
        self.space();
        Some(())
    }

    /// Any value. `open` is memory for what is open around the scanner.
    pub fn value(&mut self, open: &mut Vec<u8>) -> Option<Span> {
        let start = self.at;
        match self.peek() {
            b'{' | b'[' => {
                self.nested(open)?;
                Some(Span { kind: Kind::Nested, start, end: self.at })
            }
            _ => self.scalar(),
        }
    }

    /// A string, with its opening quote ahead.
    pub fn string(&mut self) -> Option<Span> {
        self.expect(b'"')?;
        let start = self.at;
        let mut kind = Kind::Text;
        loop {
            self.at += plain_len(self.rest());
            match self.peek() {
                b'"' => break,
                b'\\' => {
                    kind = Kind::Escaped;
                    self.escape()?;
                }
                _ => return None,
            }
        }
        self.at += 1;
        Some(Span { kind, start, end: self.at - 1 })
    }

    fn scalar(&mut self) -> Option<Span> {
        match self.peek() {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true", Kind::True),
            b'f' => self.literal(b"false", Kind::False),
            b'n' => self.literal(b"null", Kind::Null),
            _ => None,
        }
    }

    fn literal(&mut self, word: &[u8], kind: Kind) -> Option<Span> {
        let start = self.at;
        self.rest().starts_with(word).then(|| {
            self.at += word.len();
            Span { kind, start, end: self.at }
        })
    }

    pub fn number(&mut self) -> Option<Span> {
        let start = self.at;
        let mut kind = Kind::Integer;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            kind = Kind::Number;
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            kind = Kind::Number;
            let _signed = self.eat(b'-') || self.eat(b'+');
            self.digits()?;
        }
        Some(Span { kind, start, end: self.at })
    }

    /// At least one digit.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let hex = self.bytes.get(self.at + 2..self.at + 6)?;
                if !hex.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }

    /// An array or object and all inside. Without recursion, so that depth costs a byte a level and no stack.
    fn nested(&mut self, open: &mut Vec<u8>) -> Option<()> {
        open.clear();
        loop {
            if !self.enter(open)? {
                self.leave(open)?;
                if open.is_empty() {
                    return Some(());
                }
            }
        }
    }

    /// Reads one value, or the start of one that holds others: then true, and the next value is ahead.
    fn enter(&mut self, open: &mut Vec<u8>) -> Option<bool> {
        let close = match self.peek() {
            b'{' => b'}',
            b'[' => b']',
            _ => return self.scalar().map(|_| false),
        };
        self.at += 1;
        self.space();
        if self.eat(close) {
            return Some(false);
        }
        open.push(close);
        self.key_in(close)?;
        Some(true)
    }

    /// After a value: closes what ends here; where another value follows in what is still open, it is ahead.
    fn leave(&mut self, open: &mut Vec<u8>) -> Option<()> {
        while let Some(&close) = open.last() {
            self.space();
            if self.eat(b',') {
                self.space();
                return self.key_in(close);
            }
            self.expect(close)?;
            open.pop();
        }
        Some(())
    }

    fn key_in(&mut self, close: u8) -> Option<()> {
        if close == b'}' {
            self.string()?;
            self.colon()?;
        }
        Some(())
    }

    /// The next byte; 0, which is nowhere allowed, at the end.
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// How many bytes come before the first quote, backslash or control character; eight at a time.
fn plain_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    while let Some(eight) = bytes[len..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        // The lowest top bit set is at the first such byte; borrows may set wrong ones above it.
        let found =
            (below(word, 0x20) | below(word ^ (ONES * b'"' as u64), 1) | below(word ^ (ONES * b'\\' as u64), 1)) & TOPS;
        if found != 0 {
            return len + found.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    let end = bytes[len..].iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\');
    end.map_or(bytes.len(), |n| len + n)
}

/// The top bit of each byte that is below `limit` (at most 128).
fn below(word: u64, limit: u64) -> u64 {
    word.wrapping_sub(ONES * limit) & !word
}
