//! Globs, as the crate `globset` defines them by default, turned into regular expressions over characters.
//!
//! `*` is any text (`/` too), `?` one character, `[a-z]` and `[!a-z]` one of a class, `{a,b}` one of several,
//! `\` takes the next character as it is. `**` is about directories where it stands alone between slashes or
//! the ends, and like `*` anywhere else.

use std::iter::Peekable;
use std::str::Chars;

use crate::types::limits;

/// A regular expression that says the same as a glob; `.` in it must match line ends too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// The expression.
    pub expression: String,
    /// What every text that fits starts with.
    pub prefix: String,
}

/// Translates a glob. Errors: what is wrong with it, for people.
pub fn translate(glob: &str) -> Result<Translated, &'static str> {
    let mut parser = Parser {
        rest: glob.chars().peekable(),
        before: None,
        tokens: Vec::new(),
        open: Vec::new(),
    };
    parser.run()?;
    if !parser.open.is_empty() {
        return Err("an opening `{` without its `}`");
    }
    Ok(whole(&parser.tokens))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    AnyChar,
    AnyText,
    /// `**/` at the start.
    AnyFolders,
    /// `/**/` in the middle.
    FoldersBetween,
    /// `/**` at the end.
    AllBelow,
    /// A class or alternatives, translated already.
    Expression(String),
}

/// Alternatives that are not closed yet, and what stood before them.
struct Group {
    before: Vec<Token>,
    alternatives: Vec<String>,
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    /// The character before the one at hand.
    before: Option<char>,
    /// What the innermost alternative has so far.
    tokens: Vec<Token>,
    open: Vec<Group>,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), &'static str> {
        while let Some(found) = self.rest.next() {
            let mut last = found;
            match found {
                '?' => self.tokens.push(Token::AnyChar),
                '*' => last = self.stars(),
                '[' => {
                    let class = self.class()?;
                    self.tokens.push(Token::Expression(class));
                    last = ']';
                }
                '{' => self.open_group()?,
                ',' if !self.open.is_empty() => self.end_alternative(),
                '}' => self.close_group()?,
                '\\' => {
                    last = self.rest.next().ok_or("a `\\` with nothing after it")?;
                    self.tokens.push(Token::Literal(last));
                }
                other => self.tokens.push(Token::Literal(other)),
            }
            self.before = Some(last);
        }
        Ok(())
    }

    /// Reads what follows a `*`; returns the last character read.
    fn stars(&mut self) -> char {
        if self.rest.next_if_eq(&'*').is_none() {
            self.tokens.push(Token::AnyText);
            return '*';
        }
        let next = self.rest.peek().copied();
        let ends = next.is_none() || (!self.open.is_empty() && matches!(next, Some(',' | '}')));
        let token = match (self.tokens.is_empty(), self.before, next) {
            (true, _, None | Some('/')) => Token::AnyFolders,
            (false, Some('/'), Some('/')) => Token::FoldersBetween,
            (false, Some('/'), _) if ends => Token::AllBelow,
            _ => Token::AnyText,
        };
        match (self.tokens.last(), &token) {
            (_, Token::AnyText) => self.tokens.push(token),
            // The slash before is part of what `**` means; one `**` after another adds nothing.
            (Some(Token::AnyFolders), _) => {}
            _ => {
                self.tokens.pop();
                self.tokens.push(token);
            }
        }
        let is_text = self.tokens.last() == Some(&Token::AnyText);
        let slash = self.rest.next_if(|next| *next == '/' && !is_text);
        slash.unwrap_or('*')
    }

    fn class(&mut self) -> Result<String, &'static str> {
        let negated = self
            .rest
            .next_if(|next| matches!(next, '!' | '^'))
            .is_some();
        let mut ranges: Vec<(char, char)> = Vec::new();
        let mut in_range = false;
        loop {
            let found = self.rest.next().ok_or("an opening `[` without its `]`")?;
            match (found, ranges.last_mut()) {
                (']', Some(_)) => break,
                (end, Some(range)) if in_range => {
                    range.1 = end;
                    if range.0 > range.1 {
                        return Err("a range in `[...]` that ends before it starts");
                    }
                    in_range = false;
                }
                ('-', Some(_)) => in_range = true,
                (one, _) => ranges.push((one, one)),
            }
        }
        if in_range {
            ranges.push(('-', '-'));
        }
        let mut class = String::from(if negated { "[^" } else { "[" });
        for (from, to) in ranges {
            class.push_str(&format!(
                "\\x{{{:x}}}-\\x{{{:x}}}",
                u32::from(from),
                u32::from(to)
            ));
        }
        class.push(']');
        Ok(class)
    }

    fn open_group(&mut self) -> Result<(), &'static str> {
        if self.open.len() >= limits::GLOB_DEPTH_MAX {
            return Err("`{...}` nested too deep");
        }
        self.open.push(Group {
            before: std::mem::take(&mut self.tokens),
            alternatives: Vec::new(),
        });
        Ok(())
    }

    fn end_alternative(&mut self) {
        let tokens = std::mem::take(&mut self.tokens);
        let expression: String = tokens.iter().map(expression).collect();
        // Empty alternatives are none.
        if let Some(group) = self.open.last_mut().filter(|_| !expression.is_empty()) {
            group.alternatives.push(expression);
        }
    }

    fn close_group(&mut self) -> Result<(), &'static str> {
        self.end_alternative();
        let group = self.open.pop().ok_or("a closing `}` without its `{`")?;
        self.tokens = group.before;
        let mut expression = group.alternatives.join("|");
        if !expression.is_empty() {
            expression = format!("(?:{expression})");
        }
        self.tokens.push(Token::Expression(expression));
        Ok(())
    }
}

fn expression(token: &Token) -> String {
    match token {
        Token::Literal(found) => regex::escape(found.encode_utf8(&mut [0; 4])),
        Token::AnyChar => ".".to_owned(),
        Token::AnyText => ".*".to_owned(),
        Token::AnyFolders => "(?:/?|.*/)".to_owned(),
        Token::FoldersBetween => "(?:/|/.*/)".to_owned(),
        Token::AllBelow => "/.*".to_owned(),
        Token::Expression(expression) => expression.clone(),
    }
}

/// Ties the tokens to both ends of the text, but for an end where any text may follow: not looking there is
/// faster.
fn whole(tokens: &[Token]) -> Translated {
    let literals = tokens.iter().map_while(|token| match token {
        Token::Literal(found) => Some(*found),
        _ => None,
    });
    let prefix = literals.collect();
    let (mut inner, mut start, mut end) = (tokens, "^", "$");
    if tokens == [Token::AnyFolders] {
        (inner, start, end) = (&[], "", "");
    }
    if let [Token::AnyText, rest @ ..] = inner {
        (inner, start) = (rest, "");
    }
    if let [rest @ .., Token::AnyText] = inner {
        (inner, end) = (rest, "");
    } else if inner.is_empty() && start.is_empty() {
        end = "";
    }
    let inner: String = inner.iter().map(expression).collect();
    Translated {
        expression: format!("{start}{inner}{end}"),
        prefix,
    }
}
