//! The house rules that no compiler checks: who may import whom, sizes, dead files, words, log form.
//!
//! Every check is a function from text to violations, with a planted violation as its own test; only
//! [`tree`] reads files. The tables on top are the rules; `ARCHITECTURE.md` says why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Folder under `src/`, and the folders it may import. Everything may import itself.
const FLOORS: &[(&str, &[&str])] = &[
    // 0 words
    ("error", &[]),
    ("types", &["error"]),
    ("config", &["error", "types"]),
    // 1 pure cores
    ("rows", &["error", "types"]),
    ("vector", &["error", "types"]),
    ("filter", &["error", "types", "rows"]),
    ("index", &["error", "types", "rows", "filter"]),
    ("lsm", &["error", "types", "rows"]),
    (
        "query",
        &["error", "types", "rows", "filter", "vector", "index"],
    ),
    ("format", &["error", "types", "rows", "index", "lsm"]),
    // 2 world
    ("telemetry", &["error", "types", "config"]),
    ("runtime", &["error", "types", "config", "telemetry"]),
    (
        "store",
        &["error", "types", "config", "telemetry", "runtime"],
    ),
    // 3 durable parts, which do not know each other
    ("wal", DURABLE),
    ("manifest", DURABLE),
    ("segment", DURABLE),
    // 4 engine
    ("namespace", ENGINE),
    ("access", ENGINE),
    ("background", BACKGROUND),
    // 5 edge
    (
        "http",
        &[
            "error",
            "types",
            "config",
            "namespace",
            "background",
            "access",
            "telemetry",
            // Permits bound the memory of bodies before anything is parsed.
            "runtime",
            "query",
            "filter",
        ],
    ),
    // 6 door: wires everything
    ("cli", ALL),
];

const DURABLE: &[&str] = &[
    "error",
    "types",
    "config",
    "rows",
    "vector",
    "filter",
    "index",
    "lsm",
    "query",
    "format",
    "telemetry",
    "runtime",
    "store",
];

const ENGINE: &[&str] = &[
    "error",
    "types",
    "config",
    "rows",
    "vector",
    "filter",
    "index",
    "lsm",
    "query",
    "format",
    "telemetry",
    "runtime",
    "store",
    "wal",
    "manifest",
    "segment",
];

const BACKGROUND: &[&str] = &[
    "error",
    "types",
    "config",
    "rows",
    "vector",
    "filter",
    "index",
    "lsm",
    "query",
    "format",
    "telemetry",
    "runtime",
    "store",
    "wal",
    "manifest",
    "segment",
    "namespace",
];

const ALL: &[&str] = &[
    "error",
    "types",
    "config",
    "rows",
    "vector",
    "filter",
    "index",
    "lsm",
    "query",
    "format",
    "telemetry",
    "runtime",
    "store",
    "wal",
    "manifest",
    "segment",
    "namespace",
    "background",
    "access",
    "http",
];

/// Folders whose result depends on their arguments alone.
const PURE: &[&str] = &[
    "error", "types", "config", "rows", "vector", "filter", "index", "lsm", "query", "format",
];

/// What a pure folder may not name: the world, the clock, chance, the environment.
const IMPURE: &[&str] = &[
    "tokio",
    "object_store",
    "axum",
    "prometheus",
    "tracing",
    "getrandom",
    "reqwest",
    "SystemTime",
    "Instant",
    "Utc::now",
    "Local::now",
    "Uuid::new_v4",
    "std::env",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
];

/// What tests of pure folders may name all the same: they read samples and write temporary files.
const IMPURE_IN_TESTS: &[&str] = &["std::env", "std::fs"];

/// Files of pure folders that may name one impure thing, and why.
const IMPURE_ALLOWED: &[(&str, &str, &str)] = &[
    (
        "src/config/load.rs",
        "std::env",
        "reads the environment; only `cli` calls it",
    ),
    (
        "src/config/load.rs",
        "std::fs",
        "reads the configuration file; only `cli` calls it",
    ),
];

/// A name, the folders that may use it, and what the others do instead.
const EXCLUSIVE: &[(&str, &[&str], &str)] = &[
    ("object_store", &["store"], "use `store::Bucket`"),
    (
        "StatusCode",
        &["http"],
        "return an `Error` with its kind; `http` maps kinds",
    ),
    ("axum", &["http"], "only the edge speaks HTTP"),
    ("hyper_util", &["http"], "only the edge speaks HTTP"),
    (
        "config::load",
        &["config", "cli"],
        "take `Settings` as an argument",
    ),
    ("clap", &["cli"], "take `Settings` as an argument"),
];

/// Longest source file, lines; longer ones need a reason below.
const FILE_LINES_MAX: usize = 600;

/// Source files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[(
    "tests/tidy.rs",
    "tables, checks and their planted violations are read together",
)];

/// Where `unsafe` may stand.
const UNSAFE_FOLDERS: &[&str] = &["src/vector/kernel/"];

/// Single files that may hold `unsafe`, and why.
const UNSAFE_FILES: &[(&str, &str)] = &[];

/// Files that may hold a banned word, and why.
const WORDS_ALLOWED: &[(&str, &str, &str)] = &[(
    ".ci/run",
    concat!("../sh", "ared"),
    "the place where checks find test data, if it is there",
)];

/// Words that say work is unfinished, or that speak of a place or a person instead of Elacsym. They
/// are written in two halves so that this file passes its own check.
fn banned_words() -> Vec<&'static str> {
    vec![
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("TO", "DO"),
        concat!("db", "g!("),
        concat!("#[ign", "ore"),
        concat!("age", "nt"),
        concat!("age", "nts"),
        concat!("session ", "id"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("../sh", "ared"),
    ]
}

// ---------------------------------------------------------------------------------------------
// Reading Rust, just enough
// ---------------------------------------------------------------------------------------------

/// Blanks comments and the insides of string and character literals; length and lines stay.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The end of the comment or literal that starts at `at`; `at` itself where none does.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let find = |from: usize, needle: &[u8]| {
        bytes
            .get(from..)
            .and_then(|rest| rest.windows(needle.len()).position(|part| part == needle))
            .map_or(bytes.len(), |found| from + found + needle.len())
    };
    let starts_word = at == 0 || !is_word(bytes[at - 1]) || bytes[at - 1] == b'b';
    match bytes[at] {
        b'/' if bytes.get(at + 1) == Some(&b'/') => find(at, b"\n").saturating_sub(1).max(at + 2),
        b'/' if bytes.get(at + 1) == Some(&b'*') => find(at + 2, b"*/"),
        b'"' => quoted_end(bytes, at),
        b'r' if starts_word => {
            let hashes = bytes[at + 1..]
                .iter()
                .take_while(|byte| **byte == b'#')
                .count();
            if bytes.get(at + 1 + hashes) != Some(&b'"') {
                return at;
            }
            let mut close = vec![b'"'];
            close.resize(1 + hashes, b'#');
            find(at + 2 + hashes, &close)
        }
        b'\'' => match bytes.get(at + 1) {
            Some(b'\\') => find(at + 3, b"'"),
            Some(byte) if *byte >= 0x80 => find(at + 2, b"'"),
            Some(_) if bytes.get(at + 2) == Some(&b'\'') => at + 3,
            _ => at,
        },
        _ => at,
    }
}

/// The end of the `"..."` that starts at `at`.
fn quoted_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands by itself in `text`, as byte offsets.
fn words(text: &str, word: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| {
            let before = at.checked_sub(1).map(|index| bytes[index]);
            let after = bytes.get(at + word.len()).copied();
            let first = word.as_bytes()[0];
            let last = word.as_bytes()[word.len() - 1];
            let runs_on = |edge: u8, next: Option<u8>| is_word(edge) && next.is_some_and(is_word);
            !runs_on(first, before) && !runs_on(last, after)
        })
        .collect()
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// Splits code into what ships and what is under `#[cfg(test)] mod ... {}`; each blank in the other.
fn split_tests(code: &str) -> (String, String) {
    let mut shipped = code.as_bytes().to_vec();
    let mut tests: Vec<u8> = shipped
        .iter()
        .map(|byte| if *byte == b'\n' { b'\n' } else { b' ' })
        .collect();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let rest = &code[start..];
        let (Some(open), semicolon) = (rest.find('{'), rest.find(';')) else {
            continue;
        };
        if !rest[..open].contains("mod ") || semicolon.is_some_and(|at| at < open) {
            continue;
        }
        let end = start + open + closing(&rest.as_bytes()[open..]);
        for at in start..end {
            tests[at] = code.as_bytes()[at];
            if shipped[at] != b'\n' {
                shipped[at] = b' ';
            }
        }
    }
    (
        String::from_utf8_lossy(&shipped).into_owned(),
        String::from_utf8_lossy(&tests).into_owned(),
    )
}

/// The length of the bracketed text that starts at byte 0 of `code`, which holds no literals.
fn closing(code: &[u8]) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.iter().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// The folder or single file directly under `src/` that `path` belongs to: `src/wal/append.rs` is `wal`.
fn module_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("src/")?;
    let first = rest.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

/// Top-level modules that `code` names, with their lines: `crate::a`, `crate::{a, b}`, `super::..::a`.
fn named_modules(path: &str, code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for at in words(code, "crate") {
        if let Some(rest) = code[at + "crate".len()..].strip_prefix("::") {
            let line = line_of(code, at);
            found.extend(first_names(rest).into_iter().map(|name| (name, line)));
        }
    }
    for at in words(code, "super") {
        if code[..at].ends_with("super::") {
            continue;
        }
        let chain = &code[at..];
        let supers = chain
            .split("::")
            .take_while(|part| *part == "super")
            .count();
        if supers == depth_of(path) {
            let line = line_of(code, at);
            let rest = &chain[supers * "super::".len()..];
            found.extend(first_names(rest).into_iter().map(|name| (name, line)));
        }
    }
    found
}

/// How many `super` lead from the module in `path` to the crate root.
fn depth_of(path: &str) -> usize {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.split('/').filter(|part| *part != "mod").count()
}

/// The first names of a path tail: `a::b` gives `a`; `{a::b, c}` gives `a`, `c`.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start()
            .bytes()
            .take_while(|byte| is_word(*byte))
            .map(char::from)
            .collect()
    };
    if !rest.trim_start().starts_with('{') {
        return vec![name(rest)];
    }
    let rest = rest.trim_start();
    let inner = &rest[1..closing(rest.as_bytes()) - 1];
    let (mut names, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                names.push(name(&inner[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.push(name(&inner[start..]));
    names
}

// ---------------------------------------------------------------------------------------------
// The checks
// ---------------------------------------------------------------------------------------------

/// Imports point downwards, and only along the table. Tests may build what stands below them, so they
/// are held to the order of the floors, not to the single edges.
fn check_floors(path: &str, text: &str) -> Vec<String> {
    let Some(module) = module_of(path).filter(|module| !matches!(*module, "lib" | "main")) else {
        return Vec::new();
    };
    let Some(place) = FLOORS.iter().position(|(name, _)| *name == module) else {
        return vec![format!(
            "{path}: `{module}` has no floor: add it to the table"
        )];
    };
    let code = code_only(text);
    let (shipped, tests) = split_tests(&code);
    let is_test_file = is_test_file(path);
    let mut violations = Vec::new();
    for (part, is_test) in [(&shipped, is_test_file), (&tests, true)] {
        for (name, line) in named_modules(path, part) {
            let Some(target) = FLOORS.iter().position(|(known, _)| *known == name) else {
                continue;
            };
            let allowed = target == place
                || FLOORS[place].1.contains(&name.as_str())
                || (is_test && target < place);
            if !allowed {
                violations.push(format!("{path}:{line}: `{module}` may not import `{name}`"));
            }
        }
    }
    violations
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Pure folders name nothing of the world.
fn check_pure(path: &str, text: &str) -> Vec<String> {
    let Some(module) = module_of(path).filter(|module| PURE.contains(module)) else {
        return Vec::new();
    };
    let code = code_only(text);
    let (shipped, _) = split_tests(&code);
    let mut violations = Vec::new();
    for name in IMPURE {
        let for_tests = IMPURE_IN_TESTS.contains(name);
        let excused = (for_tests && is_test_file(path))
            || IMPURE_ALLOWED
                .iter()
                .any(|(file, word, _)| *file == path && word == name);
        let part = if for_tests { &shipped } else { &code };
        for at in words(part, name).into_iter().filter(|_| !excused) {
            violations.push(format!(
                "{path}:{}: pure folder `{module}` names `{name}`",
                line_of(&code, at)
            ));
        }
    }
    violations
}

/// Some names belong to one folder.
fn check_exclusive(path: &str, text: &str) -> Vec<String> {
    let Some(module) = module_of(path) else {
        return Vec::new();
    };
    let code = code_only(text);
    let mut violations = Vec::new();
    for (name, owners, instead) in EXCLUSIVE {
        if owners.contains(&module) {
            continue;
        }
        for at in words(&code, name) {
            violations.push(format!(
                "{path}:{}: only {owners:?} may name `{name}`: {instead}",
                line_of(&code, at)
            ));
        }
    }
    violations
}

/// A long file is asked why.
fn check_size(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines <= FILE_LINES_MAX || LONG_FILES.iter().any(|(file, _)| *file == path) {
        return Vec::new();
    }
    vec![format!(
        "{path}: {lines} lines, at most {FILE_LINES_MAX} without a reason in the table"
    )]
}

/// Every source file is reached from `lib.rs` or `main.rs` by `mod` declarations.
fn check_dead_files(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut reached = BTreeSet::new();
    let mut todo: Vec<String> = vec!["src/lib.rs".into(), "src/main.rs".into()];
    while let Some(path) = todo.pop() {
        let Some(text) = files.get(&path) else {
            continue;
        };
        if !reached.insert(path.clone()) {
            continue;
        }
        let code = code_only(text);
        let folder = match path.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder.to_owned(),
            _ => path.trim_end_matches(".rs").to_owned(),
        };
        for at in words(&code, "mod") {
            let rest = code[at + "mod".len()..].trim_start();
            let name: String = rest
                .bytes()
                .take_while(|byte| is_word(*byte))
                .map(char::from)
                .collect();
            if rest[name.len()..].trim_start().starts_with(';') {
                todo.push(format!("{folder}/{name}.rs"));
                todo.push(format!("{folder}/{name}/mod.rs"));
            }
        }
    }
    files
        .keys()
        .filter(|path| path.starts_with("src/") && path.ends_with(".rs"))
        .filter(|path| !reached.contains(*path))
        .map(|path| format!("{path}: no `mod` declaration reaches it"))
        .collect()
}

/// Every test suite and benchmark is named in `Cargo.toml`, for Cargo does not look for them.
fn check_dead_suites(cargo_toml: &str, paths: &[&str]) -> Vec<String> {
    paths
        .iter()
        .filter(|path| {
            let parts: Vec<&str> = path.split('/').collect();
            matches!(
                parts.as_slice(),
                ["tests" | "benches", _] | ["tests" | "benches", _, "main.rs"]
            ) && path.ends_with(".rs")
        })
        .filter(|path| !cargo_toml.contains(&format!("\"{path}\"")))
        .map(|path| format!("{path}: not a target in Cargo.toml, so it never runs"))
        .collect()
}

/// No word of unfinished work, of machines or of people.
fn check_words(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for word in banned_words() {
        let excused = WORDS_ALLOWED
            .iter()
            .any(|(file, allowed, _)| *file == path && *allowed == word);
        for at in words(text, word).into_iter().filter(|_| !excused) {
            // The header field of that name is the protocol's word, not ours.
            let before = text[..at].to_ascii_lowercase();
            if before.ends_with("user-") || before.ends_with("user_") {
                continue;
            }
            violations.push(format!(
                "{path}:{}: banned word `{word}`",
                line_of(text, at)
            ));
        }
    }
    violations
}

/// Log messages are lower case and have no full stop.
fn check_log_form(path: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let mut violations = Vec::new();
    for level in ["trace", "debug", "info", "warn", "error"] {
        for at in words(&code, level) {
            let open = at + level.len() + 1;
            if !code[at + level.len()..].starts_with("!(") {
                continue;
            }
            let end = open + closing(&code.as_bytes()[open..]);
            let Some(message) = message_of(text, open + 1, end) else {
                continue;
            };
            let line = line_of(text, at);
            if message.starts_with(|first: char| first.is_uppercase()) {
                violations.push(format!(
                    "{path}:{line}: log message starts upper case: {message:?}"
                ));
            }
            if message.ends_with('.') {
                violations.push(format!(
                    "{path}:{line}: log message ends with a full stop: {message:?}"
                ));
            }
        }
    }
    violations
}

/// The message of a log macro: its first string literal that follows `(` or `,`, not `=` or `:`.
fn message_of(text: &str, start: usize, end: usize) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut at = start;
    let mut before = b'(';
    while at < end.min(bytes.len()) {
        let stop = literal_end(bytes, at);
        if bytes[at] == b'"' {
            if matches!(before, b'(' | b',') {
                return text.get(at + 1..stop - 1);
            }
            before = b'"';
        } else if stop == at && !bytes[at].is_ascii_whitespace() {
            before = bytes[at];
        }
        at = stop.max(at + 1);
    }
    None
}

/// `unsafe` stands in few places.
fn check_unsafe(path: &str, text: &str) -> Vec<String> {
    let allowed = UNSAFE_FOLDERS.iter().any(|folder| path.starts_with(folder))
        || UNSAFE_FILES.iter().any(|(file, _)| *file == path);
    if allowed {
        return Vec::new();
    }
    let code = code_only(text);
    words(&code, "unsafe")
        .into_iter()
        .map(|at| {
            format!(
                "{path}:{}: `unsafe` outside {UNSAFE_FOLDERS:?}",
                line_of(&code, at)
            )
        })
        .collect()
}

/// A `mod.rs` opens by saying what it owns.
fn check_mod_doc(path: &str, text: &str) -> Vec<String> {
    if !path.ends_with("/mod.rs") || text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{path}: does not open with a `//!` doc")]
}

/// A page of `docs/format/` names its source file; every source path on any page exists.
fn check_page(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let named: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|quoted| quoted.starts_with("src/") && !quoted.contains(['*', ' ', '{', '<']))
        .collect();
    let mut violations: Vec<String> = named
        .iter()
        .filter(|source| !exists(source.trim_end_matches('/')))
        .map(|source| format!("{path}: names `{source}`, which does not exist"))
        .collect();
    if path.starts_with("docs/format/") && !named.iter().any(|source| source.ends_with(".rs")) {
        violations.push(format!("{path}: names no source file `src/...rs`"));
    }
    violations
}

/// Every metric stands in `docs/operating.md`, every code of an error in `docs/errors.md`.
fn check_described(path: &str, text: &str, operating: &str, errors: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
    for pair in shipped.split('"').collect::<Vec<_>>().windows(2) {
        let [before, word] = pair else { continue };
        let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        // A code follows its kind: `Error::new(ErrorKind::X, "code", ...)`.
        let kind = before.trim_end().strip_suffix(',');
        let is_code = kind
            .and_then(|text| text.rsplit_once("ErrorKind::"))
            .is_some_and(|(_, kind)| kind.bytes().all(|b| b.is_ascii_alphanumeric()));
        if plain && is_code && !errors.contains(&format!("`{word}`")) {
            violations.push(format!(
                "{path}: error code `{word}` is not in docs/errors.md"
            ));
        }
        let is_metric = plain && word.starts_with("elacsym_");
        let told = |end: &str| operating.contains(&format!("`{word}{end}"));
        if is_metric && !told("`") && !told("{") {
            violations.push(format!(
                "{path}: metric `{word}` is not in docs/operating.md"
            ));
        }
    }
    violations
}

// ---------------------------------------------------------------------------------------------
// The tree
// ---------------------------------------------------------------------------------------------

/// All text files of the project, by path from its root.
fn tree() -> BTreeMap<String, String> {
    // Cargo runs tests in the root of the project, wherever the binary was built.
    let root = Path::new(".");
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("the project can be listed");
        for entry in entries {
            let entry = entry.expect("the project can be listed");
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), ".git" | "target" | "__pycache__" | "data") {
                    folders.push(path);
                }
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let inner = path
                    .strip_prefix(root)
                    .expect("the walk starts at the root");
                files.insert(inner.to_string_lossy().into_owned(), text);
            }
        }
    }
    files
}

#[test]
fn tree_is_tidy() {
    let files = tree();
    let paths: Vec<&str> = files.keys().map(String::as_str).collect();
    let exists = |source: &str| Path::new(source).exists();
    let mut violations = check_dead_files(&files);
    violations.extend(check_dead_suites(&files["Cargo.toml"], &paths));
    for (path, text) in &files {
        if path.ends_with(".rs") {
            violations.extend(check_floors(path, text));
            violations.extend(check_pure(path, text));
            violations.extend(check_exclusive(path, text));
            violations.extend(check_size(path, text));
            violations.extend(check_log_form(path, text));
            violations.extend(check_unsafe(path, text));
            violations.extend(check_mod_doc(path, text));
        }
        if path.starts_with("src/") && path.ends_with(".rs") && !is_test_file(path) {
            let (operating, errors) = (&files["docs/operating.md"], &files["docs/errors.md"]);
            violations.extend(check_described(path, text, operating, errors));
        }
        if path.ends_with(".md") {
            violations.extend(check_page(path, text, exists));
        }
        if !matches!(path.as_str(), "Cargo.lock" | "LICENSE") {
            violations.extend(check_words(path, text));
        }
    }
    assert!(
        violations.is_empty(),
        "{} violations:\n{}",
        violations.len(),
        violations.join("\n")
    );
}

#[test]
fn tree_walk_finds_the_sources() {
    let files = tree();
    for path in ["src/lib.rs", "src/error.rs", "Cargo.toml", "tests/tidy.rs"] {
        assert!(files.contains_key(path), "the walk misses {path}");
    }
}

#[test]
fn tables_name_each_folder_once() {
    let names: BTreeSet<&str> = FLOORS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), FLOORS.len());
    for (place, (name, allowed)) in FLOORS.iter().enumerate() {
        for target in *allowed {
            let below = FLOORS.iter().position(|(known, _)| known == target);
            assert!(
                below.is_some_and(|below| below < place),
                "`{name}` is allowed `{target}`, which is not below it"
            );
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Planted violations
// ---------------------------------------------------------------------------------------------

#[test]
fn floors_upward_import_is_found() {
    let found = check_floors("src/lsm/state.rs", "use crate::store::Bucket;\n");
    assert_eq!(found, ["src/lsm/state.rs:1: `lsm` may not import `store`"]);
}

#[test]
fn floors_sideways_import_in_a_group_is_found() {
    let text = "use crate::{\n    error::{Error, Result},\n    manifest::load,\n};\n";
    assert_eq!(check_floors("src/wal/append.rs", text).len(), 1);
    let text = "use crate::{error::Error, store::Bucket, types};\n";
    assert_eq!(check_floors("src/wal/append.rs", text), [""; 0]);
}

#[test]
fn floors_path_in_code_and_by_super_is_found() {
    let text = "fn f() { crate::http::router() }\n";
    assert_eq!(check_floors("src/namespace/mod.rs", text).len(), 1);
    let text = "use super::super::store::Bucket;\n";
    assert_eq!(check_floors("src/filter/eval.rs", text).len(), 1);
    assert_eq!(
        check_floors("src/filter/eval.rs", "use super::store;\n"),
        [""; 0]
    );
}

#[test]
fn floors_comment_and_string_are_no_import() {
    let text = "// crate::store\n/* crate::wal */\nconst A: &str = \"crate::http\";\n";
    assert_eq!(check_floors("src/lsm/mod.rs", text), [""; 0]);
}

#[test]
fn floors_tests_may_build_what_is_below_but_not_above() {
    let inline = "#[cfg(test)]\nmod tests {\n    use crate::store::Bucket;\n}\n";
    assert_eq!(check_floors("src/http/mod.rs", inline), [""; 0]);
    assert_eq!(
        check_floors("src/http/tests.rs", "use crate::store::Bucket;\n"),
        [""; 0]
    );
    assert_eq!(check_floors("src/lsm/mod.rs", inline).len(), 1);
    let shipped = "use crate::store::Bucket;\n";
    assert_eq!(check_floors("src/http/mod.rs", shipped).len(), 1);
}

#[test]
fn floors_unknown_folder_is_found() {
    assert_eq!(check_floors("src/helpers/mod.rs", "").len(), 1);
}

#[test]
fn pure_clock_and_runtime_are_found() {
    let text = "use std::time::SystemTime;\n#[tokio::test]\nasync fn f() {}\n";
    assert_eq!(check_pure("src/vector/metric.rs", text).len(), 2);
    assert_eq!(check_pure("src/store/mod.rs", text), [""; 0]);
    let text = "// tokio is not used here\nlet tokios = 1;\n";
    assert_eq!(check_pure("src/vector/metric.rs", text), [""; 0]);
}

#[test]
fn pure_environment_is_found_outside_the_loader() {
    let text = "let home = std::env::var(name);\n";
    assert_eq!(check_pure("src/config/sections.rs", text).len(), 1);
    assert_eq!(check_pure("src/config/load.rs", text), [""; 0]);
    assert_eq!(check_pure("src/config/tests.rs", text), [""; 0]);
    let inline = format!("#[cfg(test)]\nmod tests {{\n    {text}}}\n");
    assert_eq!(check_pure("src/format/wal.rs", &inline), [""; 0]);
}

#[test]
fn exclusive_names_are_found() {
    let text = "use object_store::path::Path;\n";
    assert_eq!(check_exclusive("src/wal/append.rs", text).len(), 1);
    assert_eq!(check_exclusive("src/store/s3.rs", text), [""; 0]);
    let text = "fn f() -> StatusCode {}\n";
    assert_eq!(check_exclusive("src/namespace/mod.rs", text).len(), 1);
    assert_eq!(check_exclusive("src/http/error.rs", text), [""; 0]);
}

#[test]
fn size_long_file_is_found() {
    let long = "x\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(check_size("src/a.rs", &long).len(), 1);
    assert_eq!(check_size("src/a.rs", &long[2..]), [""; 0]);
}

#[test]
fn dead_file_is_found() {
    let files: BTreeMap<String, String> = [
        ("src/lib.rs", "pub mod wal;\n// mod lost;\n"),
        ("src/wal/mod.rs", "mod append;\n"),
        ("src/wal/append.rs", "mod inner;\n"),
        ("src/wal/append/inner.rs", ""),
        ("src/lost.rs", ""),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .collect();
    assert_eq!(
        check_dead_files(&files),
        ["src/lost.rs: no `mod` declaration reaches it"]
    );
}

#[test]
fn dead_suite_is_found() {
    let cargo = "[[test]]\nname = \"tidy\"\npath = \"tests/tidy.rs\"\n";
    let paths = ["tests/tidy.rs", "tests/api/main.rs", "tests/api/cases.rs"];
    assert_eq!(
        check_dead_suites(cargo, &paths),
        ["tests/api/main.rs: not a target in Cargo.toml, so it never runs"]
    );
}

#[test]
fn words_each_banned_word_is_found() {
    for word in banned_words() {
        let text = format!("a line\nthen {word} here\n");
        assert!(
            !check_words("src/a.rs", &text).is_empty(),
            "`{word}` is not found"
        );
    }
    let header = format!("the User-{} header and reage{}\n", "Agent", "nts");
    assert_eq!(check_words("src/a.rs", &header), [""; 0]);
}

#[test]
fn log_form_upper_case_and_full_stop_are_found() {
    let text = "tracing::info!(seq = 1, name = \"A.\", \"Opened.\");\n";
    assert_eq!(check_log_form("src/a.rs", text).len(), 2);
    let text = "warn!(\n    target: \"Audit\",\n    \"slot is gone\"\n);\n";
    assert_eq!(check_log_form("src/a.rs", text), [""; 0]);
}

#[test]
fn unsafe_outside_the_kernels_is_found() {
    let text = "fn f() { unsafe { g() } }\n";
    assert_eq!(check_unsafe("src/store/local.rs", text).len(), 1);
    assert_eq!(check_unsafe("src/vector/kernel/x86_64.rs", text), [""; 0]);
    let text = "#![deny(unsafe_code)] // unsafe is confined\n";
    assert_eq!(check_unsafe("src/lib.rs", text), [""; 0]);
}

#[test]
fn mod_without_doc_is_found() {
    assert_eq!(check_mod_doc("src/wal/mod.rs", "use std::fmt;\n").len(), 1);
    assert_eq!(check_mod_doc("src/wal/mod.rs", "//! The log.\n"), [""; 0]);
}

#[test]
fn page_without_or_with_a_lost_source_is_found() {
    let page = "docs/format/wal.md";
    assert_eq!(check_page(page, "The log.\n", |_| true).len(), 1);
    assert_eq!(check_page(page, "See `src/a.rs`.\n", |_| false).len(), 1);
    assert_eq!(check_page(page, "See `src/a.rs`.\n", |_| true), [""; 0]);
    assert_eq!(check_page("README.md", "No source.\n", |_| true), [""; 0]);
}

#[test]
fn described_metric_and_code_without_a_word_on_their_page_are_found() {
    let text = "Error::new(\n  ErrorKind::Gone,\n  \"too_old\",\n  \"text\"); counter(\"elacsym_x_total\", \"Help.\")";
    let check = |operating, errors| check_described("src/a.rs", text, operating, errors).len();
    assert_eq!(check("", ""), 2);
    assert_eq!(check("`elacsym_x_total{kind}`", "`too_old`"), 0);
    assert_eq!(check("`elacsym_x_total_more`", "`too_old`"), 1);
}

#[test]
fn code_only_blanks_literals_and_keeps_code() {
    let text =
        "let a = 'x'; let b: &'static str = r#\"q\" w\"#; // c\nlet d = '\\''; let e = \"\\\"f\";";
    let code = code_only(text);
    assert_eq!(code.len(), text.len());
    for kept in ["let a =", "&'static str =", "let d =", "let e ="] {
        assert!(code.contains(kept), "lost {kept:?} in {code:?}");
    }
    for blank in ["x'", "q", "// c", "f"] {
        assert!(!code.contains(blank), "kept {blank:?} in {code:?}");
    }
}
