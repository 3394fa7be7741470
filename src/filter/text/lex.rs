//! Cuts the text of a filter into words, values and signs, and knows where each stands.

use serde_json::Number;

use crate::error::{Error, Result};

/// What words mean something; as a name such a word is written in double quotes.
const KEYWORDS: [&str; 14] = [
    "AND", "OR", "NOT", "IN", "IS", "NULL", "TRUE", "FALSE", "CONTAINS", "ANY", "GLOB", "IGLOB",
    "REGEX", "LIKE",
];

/// Signs, those first that start like another.
const SIGNS: [&str; 11] = ["==", "!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ","];

/// Whether a word means something.
pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS
        .iter()
        .any(|keyword| keyword.eq_ignore_ascii_case(word))
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    /// Letters, digits, `_` and `.`, a digit not first.
    Word(&'a str),
    /// A name in double quotes.
    Name(String),
    /// Text in single quotes.
    Text(String),
    Number(Number),
    Sign(&'static str),
    End,
}

/// The text, and the token that comes next.
pub(super) struct Lexer<'a> {
    text: &'a str,
    /// Where the next token starts, and where it ends.
    start: usize,
    end: usize,
    next: Token<'a>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self> {
        let mut lexer = Self {
            text,
            start: 0,
            end: 0,
            next: Token::End,
        };
        lexer.advance()?;
        Ok(lexer)
    }

    pub(super) fn peek(&self) -> &Token<'a> {
        &self.next
    }

    /// Goes on to the token after the next.
    pub(super) fn advance(&mut self) -> Result<()> {
        let rest = self.text[self.end..].trim_start();
        self.start = self.text.len() - rest.len();
        let (token, len) = self.cut(rest)?;
        self.next = token;
        self.end = self.start + len;
        Ok(())
    }

    /// Takes a keyword, if it comes next.
    pub(super) fn take_word(&mut self, keyword: &str) -> Result<bool> {
        let found = matches!(&self.next, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Takes a sign, if it comes next.
    pub(super) fn take_sign(&mut self, sign: &str) -> Result<bool> {
        let found = matches!(&self.next, Token::Sign(next) if *next == sign);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Takes a sign. Errors: `Malformed` if another token comes next.
    pub(super) fn want_sign(&mut self, sign: &str) -> Result<()> {
        if self.take_sign(sign)? {
            return Ok(());
        }
        Err(self.expected(&format!("`{sign}`")))
    }

    /// The error of finding the next token where something else belongs.
    pub(super) fn expected(&self, what: &str) -> Error {
        let found: String = self.text[self.start..self.end].chars().take(64).collect();
        let found = match self.next {
            Token::End => "the end".to_owned(),
            _ => format!("`{found}`"),
        };
        self.malformed(&format!("expected {what}, found {found}"))
    }

    fn malformed(&self, what: &str) -> Error {
        Error::malformed(format!("`filters`: at byte {}: {what}", self.start))
            .with_detail("path", "filters")
    }

    fn cut(&self, rest: &'a str) -> Result<(Token<'a>, usize)> {
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, 0));
        };
        match first {
            '\'' => {
                let (text, len) = self.quoted(rest, '\'')?;
                Ok((Token::Text(text), len))
            }
            '"' => {
                let (name, len) = self.quoted(rest, '"')?;
                Ok((Token::Name(name), len))
            }
            '0'..='9' | '-' => {
                let after = |at: usize| rest[..at].ends_with(['e', 'E']);
                let part = |at: usize, found: char| {
                    found.is_ascii_alphanumeric()
                        || found == '.'
                        || (matches!(found, '+' | '-') && (at == 0 || after(at)))
                };
                let len = length(rest, part);
                let number = rest[..len].parse();
                let number = number.map_err(|_| self.malformed("expected a number"))?;
                Ok((Token::Number(number), len))
            }
            letter if letter.is_alphabetic() || letter == '_' => {
                let part = |_, found: char| found.is_alphanumeric() || matches!(found, '_' | '.');
                let len = length(rest, part);
                Ok((Token::Word(&rest[..len]), len))
            }
            other => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign = sign.ok_or_else(|| {
                    self.malformed(&format!("found `{other}`, which means nothing"))
                })?;
                Ok((Token::Sign(sign), sign.len()))
            }
        }
    }

    /// What stands between quotes, which are written twice inside; and its length with them.
    fn quoted(&self, rest: &str, quote: char) -> Result<(String, usize)> {
        let mut inner = String::new();
        let mut chars = rest.char_indices().skip(1).peekable();
        while let Some((at, found)) = chars.next() {
            let doubled = found == quote && chars.next_if(|(_, next)| *next == quote).is_some();
            if found == quote && !doubled {
                return Ok((inner, at + 1));
            }
            inner.push(found);
        }
        Err(self.malformed(&format!("an opening {quote} without a closing one")))
    }
}

/// How many bytes at the start are part of a token.
fn length(rest: &str, part: impl Fn(usize, char) -> bool) -> usize {
    let end = rest.char_indices().find(|(at, found)| !part(*at, *found));
    end.map_or(rest.len(), |(at, _)| at)
}
