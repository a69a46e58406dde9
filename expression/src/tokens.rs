//! SQL text in pieces, each with its place: for whoever reads more than an expression.

use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::tokenizer::{Token as Parsed, Tokenizer, Word};

use super::ExpressionError;
use super::parse::offset;

/// A piece of SQL text: a word, a literal, a sign.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its first byte in the text.
    pub start: usize,
    /// The byte behind its last one.
    pub end: usize,
}

/// What a piece of SQL text is.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenKind {
    /// A name or a keyword, as it was written.
    Word(String),
    /// A name in double quotes, without them.
    Quoted(String),
    /// A text in single quotes, without them.
    Text(String),
    /// A number, as it was written.
    Number(String),
    /// Anything else: an operator, a parenthesis, a comma.
    Sign(String),
}

/// The pieces of a text, without blanks and comments.
///
/// ```
/// use headwater_expression::{TokenKind, tokens};
///
/// let sql = "sum(\"Amount\") -- all of it";
/// let found: Vec<(TokenKind, &str)> = tokens(sql)?.into_iter().map(|t| (t.kind, &sql[t.start..t.end])).collect();
/// assert_eq!(found[0], (TokenKind::Word("sum".into()), "sum"));
/// assert_eq!(found[2], (TokenKind::Quoted("Amount".into()), "\"Amount\""));
/// assert_eq!(found.len(), 4);
/// # Ok::<(), headwater_expression::ExpressionError>(())
/// ```
///
/// # Errors
/// A text or a comment that has no end, with where it begins.
pub fn tokens(sql: &str) -> Result<Vec<Token>, ExpressionError> {
    let dialect = GenericDialect {};
    let parsed = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|error| ExpressionError {
        message: error.message.replacen("Unterminated", "unterminated", 1),
        offset: offset(sql, error.location),
    })?;
    let pieces = parsed.into_iter().filter(|piece| !matches!(piece.token, Parsed::Whitespace(_) | Parsed::EOF));
    let place = |location| offset(sql, location).unwrap_or(sql.len());
    Ok(pieces.map(|p| Token { kind: kind(p.token), start: place(p.span.start), end: place(p.span.end) }).collect())
}

fn kind(token: Parsed) -> TokenKind {
    match token {
        Parsed::Word(Word { value, quote_style: Some(_), .. }) => TokenKind::Quoted(value),
        Parsed::Word(Word { value, .. }) => TokenKind::Word(value),
        Parsed::SingleQuotedString(text) => TokenKind::Text(text),
        Parsed::Number(number, _) => TokenKind::Number(number),
        other => TokenKind::Sign(other.to_string()),
    }
}
