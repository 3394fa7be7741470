//! Defaults, then the file, then the environment, then flags; every problem is reported, not the first.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use super::source::{Assignment, Given, Place};
use super::{Settings, keys, source, validate};
use crate::error::{Error, ErrorKind, Result};

/// The file that is read if it exists and no other is named, relative to the working directory.
pub const DEFAULT_FILE: &str = "config/elacsym.toml";

/// Largest file accepted, bytes: every key with a paragraph of comment takes a tenth of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Resolves the settings of this process: `file` (which must exist) or the default file if there is one,
/// the process environment, `flags` as (`section.key`, value).
///
/// Errors: `InvalidRequest` with code `invalid_config` naming every problem.
pub fn load(file: Option<&Path>, flags: &[(String, String)]) -> Result<Settings> {
    let text = read_file(file)?;
    let path = file
        .unwrap_or(Path::new(DEFAULT_FILE))
        .display()
        .to_string();
    let file = text.as_deref().map(|text| (path.as_str(), text));
    resolve(file, environment(), flags)
}

/// Resolves settings from what the sources say: (path, text) of the file, variables, flags. Pure.
///
/// Errors: as `load`.
pub fn resolve(
    file: Option<(&str, &str)>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &[(String, String)],
) -> Result<Settings> {
    let mut problems = Vec::new();
    let mut assignments = match file.map(|(path, text)| source::from_file(path, text)) {
        Some(Ok(assignments)) => assignments,
        Some(Err(problem)) => {
            problems.push(problem);
            Vec::new()
        }
        None => Vec::new(),
    };
    assignments.extend(source::from_environment(environment));
    assignments.extend(source::from_flags(flags));

    let mut settings = Settings::default();
    for assignment in &assignments {
        problems.extend(apply(&mut settings, assignment).err());
    }
    // Rules between keys would only repeat in other words what is wrong with a key.
    if problems.is_empty() {
        problems = validate::violations(&settings);
    }
    match refusal(&problems) {
        Some(error) => Err(error),
        None => Ok(settings),
    }
}

fn apply(settings: &mut Settings, assignment: &Assignment) -> Result<(), String> {
    let Some(key) = keys::find(&assignment.name) else {
        return Err(unknown(assignment));
    };
    (key.set)(settings, &assignment.given).map_err(|mismatch| {
        format!(
            "{} has the wrong type: expected {}, found {}",
            named(assignment),
            mismatch.expected,
            mismatch.found
        )
    })
}

fn unknown(assignment: &Assignment) -> String {
    let nearest = match &assignment.place {
        Place::Environment { variable } => keys::nearest(variable, source::variable_of),
        Place::File { .. } | Place::Flag => keys::nearest(&assignment.name, str::to_owned),
    };
    let is_nested = assignment.given == Given::Other("table") && assignment.name.contains('.');
    let hint = if is_nested {
        " (sections do not nest)"
    } else {
        ""
    };
    format!(
        "{} is unknown{hint}: the nearest known one is `{nearest}`",
        named(assignment)
    )
}

fn named(assignment: &Assignment) -> String {
    let name = assignment.name.chars().take(100).collect::<String>();
    match &assignment.place {
        Place::File { path, line } => format!("key `{name}` in file `{path}` line {line}"),
        Place::Environment { variable } => {
            let variable = variable.chars().take(100).collect::<String>();
            format!("environment variable `{variable}`")
        }
        Place::Flag => format!("key `{name}` on the command line"),
    }
}

fn refusal(problems: &[String]) -> Option<Error> {
    let message = match problems {
        [] => return None,
        [problem] => problem.clone(),
        several => format!(
            "{} problems in the settings: {}",
            several.len(),
            several.join("; ")
        ),
    };
    let error = Error::new(ErrorKind::InvalidRequest, "invalid_config", message);
    let add = |error: Error, problem: &String| error.with_detail("problem", problem);
    Some(problems.iter().fold(error, add))
}

/// The whole text of the file, or `None` where the default file does not exist.
fn read_file(file: Option<&Path>) -> Result<Option<String>> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let refuse = |message: String| Error::new(ErrorKind::InvalidRequest, "invalid_config", message);
    let opened = match std::fs::File::open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => {
            return Ok(None);
        }
        Err(error) => {
            let message = format!("cannot open the settings file `{}`", path.display());
            return Err(refuse(message).with_source(error));
        }
    };
    let mut text = String::new();
    opened
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| {
            let message = format!("cannot read the settings file `{}`", path.display());
            refuse(message).with_source(error)
        })?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(refuse(format!(
            "settings file `{}` is too large: expected at most {FILE_BYTES_MAX} bytes",
            path.display()
        )));
    }
    Ok(Some(text))
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}
