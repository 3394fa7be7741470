//! From what a source says to a list of assignments; no key is known here.

use std::ffi::OsString;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value as a source gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// From the environment or a flag: the key decides what it means.
    Untyped(String),
    /// A string of the file.
    Text(String),
    /// An integer of the file.
    Integer {
        /// Digits with an optional sign.
        digits: String,
        /// Their base.
        radix: u32,
    },
    /// A boolean of the file.
    Boolean(bool),
    /// A list of strings of the file.
    List(Vec<String>),
    /// Something no key takes: the name of its type.
    Other(&'static str),
}

impl Given {
    /// The value as text, where it is text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Untyped(text) | Self::Text(text) => Some(text),
            Self::Integer { .. } | Self::Boolean(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    /// The value for an error message: at most its first 80 characters, only its type if not `shown`.
    pub(super) fn describe(&self, shown: bool) -> String {
        let (kind, value) = match self {
            Self::Untyped(text) | Self::Text(text) => ("text", text.clone()),
            Self::Integer { digits, .. } => ("number", digits.clone()),
            Self::Boolean(value) => ("boolean", value.to_string()),
            Self::List(items) => return format!("a list of {}", items.len()),
            Self::Other(kind) => return format!("a {kind}"),
        };
        if shown {
            format!("{kind} `{}`", value.chars().take(80).collect::<String>())
        } else {
            format!("a {kind} of {} characters", value.chars().count())
        }
    }
}

/// One key set by one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    /// `section.key`, perhaps unknown.
    pub(super) name: String,
    /// Where it was said, for messages.
    pub(super) place: Place,
    /// The value.
    pub(super) given: Given,
}

/// Where an assignment was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A line of the file, counted from 1.
    File { path: String, line: usize },
    /// A variable of the environment.
    Environment { variable: String },
    /// A flag of the command line.
    Flag,
}

/// Names of variables that tests use and that are no settings.
const TEST_PREFIX: &str = "ELACSYM_TEST_";
/// Folders of data that tests and benches read; never a section either.
const DATA_PREFIX: &str = "ELACSYM_DATA_";
const PREFIX: &str = "ELACSYM_";

/// Returns the environment's name of a key.
pub(super) fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "__").to_uppercase())
}

/// Reads the variables that begin with `ELACSYM_`, sorted by name. A variable whose name is not that of
/// some key, letter by letter, keeps its own name and so turns out unknown.
pub(super) fn from_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<Assignment> {
    let mut assignments: Vec<Assignment> = environment
        .into_iter()
        .filter_map(|(variable, value)| {
            let variable = variable.to_str()?.to_owned();
            let is_setting = variable.starts_with(PREFIX)
                && ![TEST_PREFIX, DATA_PREFIX]
                    .iter()
                    .any(|other| variable.starts_with(other));
            if !is_setting {
                return None;
            }
            let dotted = variable[PREFIX.len()..]
                .replacen("__", ".", 1)
                .to_lowercase();
            let spelt_right = variable_of(&dotted) == variable;
            let given = value
                .into_string()
                .map_or(Given::Other("text that is not UTF-8"), Given::Untyped);
            Some(Assignment {
                name: if spelt_right {
                    dotted
                } else {
                    variable.clone()
                },
                place: Place::Environment { variable },
                given,
            })
        })
        .collect();
    assignments.sort_by(|one, other| one.name.cmp(&other.name));
    assignments
}

/// Reads `(section.key, value)` pairs of the command line.
pub(super) fn from_flags(flags: &[(String, String)]) -> Vec<Assignment> {
    let assignment = |(name, value): &(String, String)| Assignment {
        name: name.clone(),
        place: Place::Flag,
        given: Given::Untyped(value.clone()),
    };
    flags.iter().map(assignment).collect()
}

/// Parses a file. Errors: one sentence with the line. The text of the file is never quoted, it may hold
/// a secret.
pub(super) fn from_file(path: &str, text: &str) -> Result<Vec<Assignment>, String> {
    let document = DeTable::parse(text).map_err(|error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        let message = error.message().replace('\n', ", ");
        format!("file `{path}` line {line} is not TOML: {message}")
    })?;
    let mut assignments = Vec::new();
    for (section, content) in document.get_ref() {
        let DeValue::Table(table) = content.get_ref() else {
            assignments.push(assignment(
                path,
                text,
                section,
                section.get_ref().to_string(),
                content,
            ));
            continue;
        };
        for (key, value) in table {
            let name = format!("{}.{}", section.get_ref(), key.get_ref());
            assignments.push(assignment(path, text, key, name, value));
        }
        if table.is_empty() && !is_section(section.get_ref()) {
            assignments.push(assignment(
                path,
                text,
                section,
                section.get_ref().to_string(),
                content,
            ));
        }
    }
    Ok(assignments)
}

fn is_section(name: &str) -> bool {
    super::key_names().any(|key| key.split('.').next() == Some(name))
}

fn assignment<T>(
    path: &str,
    text: &str,
    key: &Spanned<T>,
    name: String,
    value: &Spanned<DeValue<'_>>,
) -> Assignment {
    Assignment {
        name,
        place: Place::File {
            path: path.to_owned(),
            line: line_of(text, key.span().start),
        },
        given: given_of(value.get_ref()),
    }
}

fn given_of(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::Text(text.to_string()),
        DeValue::Integer(integer) => Given::Integer {
            digits: integer.as_str().to_owned(),
            radix: integer.radix(),
        },
        DeValue::Boolean(value) => Given::Boolean(*value),
        DeValue::Array(items) => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map_or(
                Given::Other("list of other things than strings"),
                Given::List,
            ),
        DeValue::Float(_) => Given::Other("number with a fraction"),
        DeValue::Datetime(_) => Given::Other("date"),
        DeValue::Table(_) => Given::Other("table"),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}
