//! Globs and regular expressions, compiled once for a query within bounds, then asked row by row.

use regex::{Regex, RegexBuilder};

use super::glob;
use crate::types::limits;

/// How a pattern is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// A glob, which all of the text must fit.
    Glob {
        /// Whether case counts.
        fold_case: bool,
    },
    /// A regular expression, which a part of the text must fit.
    Regex,
}

/// A compiled pattern. Matching takes time linear in the text and no memory of its own but a cache that
/// threads keep.
#[derive(Debug)]
pub struct Pattern {
    source: String,
    syntax: Syntax,
    regex: Regex,
    prefix: String,
}

impl Pattern {
    /// Compiles a pattern. Errors: what is wrong with it, for people; also where it is too large.
    pub fn compile(source: &str, syntax: Syntax) -> Result<Self, String> {
        if source.len() > limits::PATTERN_BYTES_MAX {
            return Err(format!(
                "expected at most {} bytes, found {}",
                limits::PATTERN_BYTES_MAX,
                source.len()
            ));
        }
        let (regex, prefix) = match syntax {
            Syntax::Regex => (build(source, false, false)?, String::new()),
            Syntax::Glob { fold_case } => {
                let translated = glob::translate(source)?;
                let prefix = if fold_case {
                    String::new()
                } else {
                    translated.prefix
                };
                (build(&translated.expression, fold_case, true)?, prefix)
            }
        };
        Ok(Self {
            source: source.to_owned(),
            syntax,
            regex,
            prefix,
        })
    }

    /// Whether a text fits.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// What every text that fits starts with; empty where nothing is known.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, self.syntax) == (&other.source, other.syntax)
    }
}

fn build(expression: &str, fold_case: bool, dot_is_all: bool) -> Result<Regex, String> {
    RegexBuilder::new(expression)
        .case_insensitive(fold_case)
        .dot_matches_new_line(dot_is_all)
        .size_limit(limits::PATTERN_PROGRAM_BYTES_MAX)
        .dfa_size_limit(limits::PATTERN_CACHE_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(most) => {
                format!("compiled it is larger than {most} bytes")
            }
            // Its text draws the pattern over several lines; the last one says what is wrong.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or("it is not valid");
                last.trim_start_matches("error: ").to_owned()
            }
        })
}
