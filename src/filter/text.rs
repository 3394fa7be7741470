//! Reads a filter out of text such as `category = 'tech' AND year >= 2020`, by writing it as the JSON that
//! the other parser reads: one meaning, one set of limits.
//!
//! `NOT` binds tighter than `AND`, `AND` tighter than `OR`. Keywords are of any case.

mod lex;

use serde_json::{Value as Json, json};

use self::lex::{Lexer, Token};
use crate::error::{Error, Result};
use crate::types::filter::Filter;
use crate::types::limits;

/// Parses the `filters` of a query where they are text.
///
/// Errors: `Malformed` where it is no such text; as [`super::parse`] otherwise.
pub fn parse_text(text: &str) -> Result<Filter> {
    if text.len() > limits::FILTER_TEXT_BYTES_MAX {
        return Err(Error::invalid(format!(
            "`filters`: a filter as text has at most {} bytes, found {}",
            limits::FILTER_TEXT_BYTES_MAX,
            text.len()
        )));
    }
    let mut parser = Parser {
        lexer: Lexer::new(text)?,
    };
    let filter = parser.any_of(1)?;
    match parser.lexer.peek() {
        Token::End => super::parse(&filter),
        _ => Err(parser.lexer.expected("`AND`, `OR` or the end")),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
}

impl Parser<'_> {
    /// `a OR b ...`; `depth` is that of the filter returned, at most.
    fn any_of(&mut self, depth: usize) -> Result<Json> {
        let mut children = vec![self.all_of(depth + 1)?];
        while self.lexer.take_word("OR")? {
            children.push(self.all_of(depth + 1)?);
        }
        Ok(joined("Or", children))
    }

    fn all_of(&mut self, depth: usize) -> Result<Json> {
        let mut children = vec![self.one(depth + 1)?];
        while self.lexer.take_word("AND")? {
            children.push(self.one(depth + 1)?);
        }
        Ok(joined("And", children))
    }

    fn one(&mut self, depth: usize) -> Result<Json> {
        if depth > limits::FILTER_DEPTH_MAX {
            return Err(Error::invalid(format!(
                "`filters`: a filter has at most {} levels",
                limits::FILTER_DEPTH_MAX
            )));
        }
        if self.lexer.take_word("NOT")? {
            return Ok(json!(["Not", self.one(depth + 1)?]));
        }
        if self.lexer.take_sign("(")? {
            let inner = self.any_of(depth)?;
            self.lexer.want_sign(")")?;
            return Ok(inner);
        }
        if self.lexer.take_word("ANY")? {
            let name = self.name()?;
            let op = match self.comparison()? {
                Some("Lt") => "AnyLt",
                Some("Lte") => "AnyLte",
                Some("Gt") => "AnyGt",
                Some("Gte") => "AnyGte",
                _ => return Err(self.lexer.expected("`<`, `<=`, `>` or `>=` after `ANY`")),
            };
            return Ok(json!([name, op, self.value()?]));
        }
        let name = self.name()?;
        self.test(name)
    }

    /// What follows an attribute.
    fn test(&mut self, name: String) -> Result<Json> {
        if let Some(op) = self.comparison()? {
            return Ok(json!([name, op, self.value()?]));
        }
        if self.lexer.take_word("IS")? {
            let op = if self.lexer.take_word("NOT")? {
                "NotEq"
            } else {
                "Eq"
            };
            if !self.lexer.take_word("NULL")? {
                return Err(self.lexer.expected("`NULL`"));
            }
            return Ok(json!([name, op, null]));
        }
        let negated = self.lexer.take_word("NOT")?;
        let test = if self.lexer.take_word("IN")? {
            json!([name, "In", self.list()?])
        } else if self.lexer.take_word("CONTAINS")? {
            if self.lexer.take_word("ANY")? {
                json!([name, "ContainsAny", self.list()?])
            } else {
                json!([name, "Contains", self.value()?])
            }
        } else if self.lexer.take_word("GLOB")? {
            json!([name, "Glob", self.value()?])
        } else if self.lexer.take_word("IGLOB")? {
            json!([name, "IGlob", self.value()?])
        } else if self.lexer.take_word("REGEX")? {
            json!([name, "Regex", self.value()?])
        } else {
            let operators = "an operator (`=`, `!=`, `<`, `<=`, `>`, `>=`, `IN`, `IS`, `CONTAINS`, `GLOB`, \
                             `IGLOB`, `REGEX`)";
            return Err(self.lexer.expected(operators));
        };
        Ok(if negated { json!(["Not", test]) } else { test })
    }

    fn comparison(&mut self) -> Result<Option<&'static str>> {
        let signs = [
            ("==", "Eq"),
            ("=", "Eq"),
            ("!=", "NotEq"),
            ("<>", "NotEq"),
            ("<=", "Lte"),
            ("<", "Lt"),
            (">=", "Gte"),
            (">", "Gt"),
        ];
        for (sign, op) in signs {
            if self.lexer.take_sign(sign)? {
                return Ok(Some(op));
            }
        }
        Ok(None)
    }

    fn name(&mut self) -> Result<String> {
        let name = match self.lexer.peek() {
            Token::Word(word) if !lex::is_keyword(word) => (*word).to_owned(),
            Token::Name(name) => name.clone(),
            _ => return Err(self.lexer.expected("the name of an attribute")),
        };
        self.lexer.advance()?;
        Ok(name)
    }

    fn value(&mut self) -> Result<Json> {
        let value = match self.lexer.peek() {
            Token::Text(text) => Json::String(text.clone()),
            Token::Number(number) => Json::Number(number.clone()),
            Token::Word(word) if word.eq_ignore_ascii_case("TRUE") => Json::Bool(true),
            Token::Word(word) if word.eq_ignore_ascii_case("FALSE") => Json::Bool(false),
            Token::Word(word) if word.eq_ignore_ascii_case("NULL") => Json::Null,
            Token::Sign("(") => return self.list(),
            _ => {
                let values =
                    "a value ('text', a number, `TRUE`, `FALSE`, `NULL` or a list in parentheses)";
                return Err(self.lexer.expected(values));
            }
        };
        self.lexer.advance()?;
        Ok(value)
    }

    fn list(&mut self) -> Result<Json> {
        self.lexer.want_sign("(")?;
        let mut items = Vec::new();
        if self.lexer.take_sign(")")? {
            return Ok(Json::Array(items));
        }
        loop {
            if matches!(self.lexer.peek(), Token::Sign("(")) {
                return Err(self.lexer.expected("a value that is no list"));
            }
            items.push(self.value()?);
            if self.lexer.take_sign(")")? {
                return Ok(Json::Array(items));
            }
            self.lexer.want_sign(",")?;
        }
    }
}

/// Several filters by an operator, or the one there is.
fn joined(op: &str, mut children: Vec<Json>) -> Json {
    match children.pop() {
        Some(only) if children.is_empty() => only,
        Some(last) => {
            children.push(last);
            json!([op, children])
        }
        None => json!([op, []]),
    }
}
