use std::ffi::OsString;

use super::*;
use crate::error::Result;

const SAMPLE: &str = include_str!("../../config/elacsym.toml");
const DIGEST: &str = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90";

fn from_file(text: &str) -> Result<Settings> {
    resolve(Some(("node.toml", text)), [], &[])
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Settings> {
    let os = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    resolve(None, variables.iter().map(os), &[])
}

fn from_flag(name: &str, value: &str) -> Result<Settings> {
    resolve(None, [], &[(name.to_owned(), value.to_owned())])
}

/// Asserts that the settings are refused in words that hold all `parts`.
fn refused(result: Result<Settings>, parts: &[&str]) {
    let error = result.expect_err("the settings must be refused");
    assert_eq!(error.code(), "invalid_config");
    for part in parts {
        assert!(
            error.message().contains(part),
            "no `{part}` in `{}`",
            error.message()
        );
    }
}

#[test]
fn sample_file_equals_defaults() {
    assert_eq!(
        from_file(SAMPLE).expect("the sample is valid"),
        Settings::default()
    );
}

#[test]
fn sample_file_holds_every_key_with_comment() {
    let mut section = "";
    let mut seen = Vec::new();
    let mut above = "";
    for line in SAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert!(
                above.starts_with("# "),
                "no comment above `{section}.{key}`"
            );
            seen.push(format!("{section}.{key}"));
        }
        above = line;
    }
    assert_eq!(seen, key_names().collect::<Vec<_>>());
}

#[test]
fn table_of_keys_holds_every_field() {
    let mut settings = Settings::default();
    settings.storage.endpoint = Some("e".to_owned());
    settings.storage.region = Some("r".to_owned());
    settings.storage.access_key_id = Some("a".to_owned());
    settings.storage.secret_access_key = Some(Secret::new("s"));
    let json = serde_json::to_value(&settings).expect("settings serialise");
    let sections = json.as_object().expect("sections");
    let mut fields: Vec<String> = sections
        .iter()
        .flat_map(|(section, keys)| {
            let keys = keys.as_object().expect("a section is a table");
            keys.keys().map(move |key| format!("{section}.{key}"))
        })
        .collect();
    let mut keys: Vec<_> = key_names().map(str::to_owned).collect();
    fields.sort();
    keys.sort();
    assert_eq!(fields, keys);
}

#[test]
fn later_source_wins_over_earlier() {
    let file = Some((
        "node.toml",
        "[log]\nlevel = \"warn\"\n[query]\nmax_queue_ms = 1\nmax_concurrent = 1",
    ));
    let environment = [
        ("ELACSYM_QUERY__MAX_QUEUE_MS", "2"),
        ("ELACSYM_QUERY__MAX_CONCURRENT", "2"),
    ]
    .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let flags = [("query.max_queue_ms".to_owned(), "3".to_owned())];
    let settings = resolve(file, environment, &flags).expect("valid");
    assert_eq!(settings.log.level, "warn");
    assert_eq!(settings.query.max_concurrent, 2);
    assert_eq!(settings.query.max_queue_ms, 3);
}

#[test]
fn unknown_key_in_file_is_refused_with_line_and_nearest() {
    refused(
        from_file("[server]\nlisten = \"127.0.0.1:1\"\n\nlisen = \"127.0.0.1:1\""),
        &["`server.lisen`", "`node.toml` line 4", "`server.listen`"],
    );
    refused(
        from_file("[sever]\nlisten = \"x\""),
        &["`sever.listen`", "line 2", "`server.listen`"],
    );
    refused(from_file("[nothing]"), &["`nothing`", "line 1"]);
    refused(from_file("\nlisten = 3"), &["`listen`", "line 2"]);
    refused(
        from_file("[log.level]\nx = 1"),
        &["`log.level`", "line 1", "expected text", "a table"],
    );
}

#[test]
fn unknown_variable_is_refused_with_nearest() {
    refused(
        from_environment(&[("ELACSYM_SERVER__LISEN", "x")]),
        &["`ELACSYM_SERVER__LISEN`", "`ELACSYM_SERVER__LISTEN`"],
    );
    for unknown in [
        "ELACSYM_LISTEN",
        "ELACSYM_server__listen",
        "ELACSYM_SERVER_LISTEN",
        "ELACSYM_",
    ] {
        refused(
            from_environment(&[(unknown, "127.0.0.1:1")]),
            &[unknown, "is unknown"],
        );
    }
}

#[test]
fn foreign_variables_are_ignored() {
    let variables = [
        ("PATH", "/bin"),
        ("ELACSYM_TEST_SEED", "1"),
        ("ELACSYMX__Y", "1"),
    ];
    assert_eq!(
        from_environment(&variables).expect("valid"),
        Settings::default()
    );
}

#[test]
fn unknown_flag_is_refused_with_nearest() {
    refused(
        from_flag("storage.uri", "x"),
        &["`storage.uri`", "command line", "`storage.url`"],
    );
}

#[test]
fn wrong_type_names_key_expected_and_found() {
    let cases: &[(&str, &[&str])] = &[
        (
            "[query]\nmax_queue_ms = \"8\"",
            &["`query.max_queue_ms`", "whole number", "text `8`"],
        ),
        (
            "[query]\nmax_queue_ms = -8",
            &["whole number", "number `-8`"],
        ),
        (
            "[query]\nmax_queue_ms = 0.5",
            &["whole number", "a number with a fraction"],
        ),
        (
            "[server]\nlisten = \"localhost\"",
            &["`server.listen`", "127.0.0.1:3000", "`localhost`"],
        ),
        (
            "[storage]\nallow_http = 1",
            &["true or false", "number `1`"],
        ),
        ("[storage]\nurl = \"\"", &["`storage.url`", "expected text"]),
        ("[log]\nformat = \"yaml\"", &["`text` or `json`", "`yaml`"]),
        (
            "[wal]\nfreshness = \"never\"",
            &["`auto` or `always_check`", "`never`"],
        ),
        ("[auth]\nkey_digests = [1]", &["64 hex digits", "list"]),
    ];
    for (text, parts) in cases {
        refused(from_file(text), parts);
    }
    refused(
        from_environment(&[("ELACSYM_COMPUTE__THREADS", "many")]),
        &["whole number", "`many`"],
    );
}

#[test]
fn numbers_of_file_take_underscores_and_bases() {
    let settings = from_file("[tail]\nslow_bytes = 1_000\nmax_bytes = 0x800").expect("valid");
    assert_eq!(
        (settings.tail.slow_bytes, settings.tail.max_bytes),
        (1_000, 2_048)
    );
}

#[test]
fn several_problems_are_reported_at_once() {
    let result = from_file("[log]\nleve = \"x\"\nformat = 3\n[query]\nmax_queue_ms = true");
    let error = result.expect_err("three problems");
    assert_eq!(error.details().len(), 3);
    refused(
        Err(error),
        &[
            "3 problems",
            "`log.leve`",
            "`log.format`",
            "`query.max_queue_ms`",
        ],
    );
}

#[test]
fn broken_toml_is_refused_with_line_but_not_quoted() {
    let error = from_file("[storage]\nsecret_access_key = hunter2\n").expect_err("not TOML");
    assert!(error.message().contains("line 2"), "{}", error.message());
    assert!(!error.message().contains("hunter2"), "{}", error.message());
}

#[test]
fn secrets_are_never_shown() {
    let settings = from_environment(&[
        ("ELACSYM_STORAGE__ACCESS_KEY_ID", "id"),
        ("ELACSYM_STORAGE__SECRET_ACCESS_KEY", "hunter2"),
    ])
    .expect("valid");
    let secret = settings.storage.secret_access_key.as_ref().expect("set");
    assert_eq!(secret.expose(), "hunter2");
    let json = serde_json::to_string(&settings).expect("settings serialise");
    assert!(!format!("{settings:?}{json}").contains("hunter2"));

    let pasted_key = from_flag("auth.key_digests", "hunter2").expect_err("no digest");
    assert!(
        !pasted_key.message().contains("hunter2"),
        "{}",
        pasted_key.message()
    );
}

#[test]
fn digests_are_parsed_with_and_without_name() {
    let upper = DIGEST.to_uppercase().replace('2', "3");
    let settings = from_flag("auth.key_digests", &format!("ops:{DIGEST}, {upper}")).expect("valid");
    let [named, plain] = settings.auth.key_digests.as_slice() else {
        panic!(
            "expected two digests, found {:?}",
            settings.auth.key_digests
        );
    };
    assert_eq!(named.to_string(), format!("ops:{DIGEST}"));
    assert_eq!((named.sha256[0], named.sha256[31]), (0x2b, 0x90));
    assert_eq!(plain.to_string(), upper.to_lowercase());
}

#[test]
fn digest_of_wrong_shape_is_refused() {
    let long_name = format!("{}:{DIGEST}", "n".repeat(65));
    let no_hex = DIGEST.replace('2', "g");
    let two_bytes = DIGEST.replacen("2b", "é", 1);
    for text in [
        &DIGEST[1..],
        &no_hex,
        &two_bytes,
        &format!(":{DIGEST}"),
        &long_name,
        "a b:",
    ] {
        assert_eq!(KeyDigest::parse(text), None, "{text}");
    }
}

#[test]
fn public_address_without_key_is_refused_with_advice() {
    refused(
        from_flag("server.listen", "0.0.0.0:3000"),
        &[
            "`server.listen` is `0.0.0.0:3000`",
            "printf %s KEY | sha256sum",
        ],
    );
    assert!(from_flag("server.listen", "[::1]:0").is_ok());
    let flags = [
        ("server.listen", "0.0.0.0:3000"),
        ("auth.key_digests", DIGEST),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert!(resolve(None, [], &flags).is_ok());
}

#[test]
fn rules_between_keys_are_checked() {
    let cases: &[(&str, &str)] = &[
        (
            "[server]\nmax_body_bytes = 268435457",
            "above the hard limit",
        ),
        (
            "[server]\nmax_inflight_body_bytes = 1",
            "no room for one body",
        ),
        (
            "[server]\nrequest_timeout_ms = 0",
            "`server.request_timeout_ms` is 0",
        ),
        (
            "[storage]\nurl = \"s3://id:key@bucket\"",
            "holds credentials",
        ),
        ("[storage]\naccess_key_id = \"id\"", "belong together"),
        (
            "[storage]\nendpoint = \"http://127.0.0.1:9000\"",
            "not encrypted",
        ),
        ("[storage]\nendpoint = \"127.0.0.1:9000\"", "is no URL"),
        ("[tail]\nslow_bytes = 268435457", "above `tail.max_bytes`"),
        ("[tail]\nnode_bytes = 1", "no room for one full tail"),
        ("[cache]\nmemory_bytes = 1", "0 or at least 16777216"),
        ("[compute]\nthreads = 5000", "0 to 4096"),
        ("[compute]\nbackground_threads = 5000", "0 to 4096"),
    ];
    for (text, part) in cases {
        refused(from_file(text), &[part]);
    }
    let twice = format!("[auth]\nkey_digests = [\"a:{DIGEST}\", \"b:{DIGEST}\"]");
    refused(from_file(&twice), &["entry 2", "repeats"]);
    let two_rules = "[storage]\naccess_key_id = \"id\"\n[compute]\nthreads = 5000";
    refused(
        from_file(two_rules),
        &["2 problems", "belong together", "0 to 4096"],
    );
}

#[test]
fn named_file_that_is_missing_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("absent.toml");
    refused(load(Some(&path), &[]), &["cannot open", "absent.toml"]);
}

#[test]
fn named_file_too_large_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("large.toml");
    std::fs::write(&path, "#".repeat((1 << 20) + 1)).expect("written");
    refused(load(Some(&path), &[]), &["too large", "large.toml"]);
}

#[test]
fn tail_of_node_is_a_quarter_of_memory_but_fits_one_tail() {
    let tail = TailSettings::default();
    assert_eq!(tail.node_bytes_of(16 << 30), 4 << 30);
    assert_eq!(tail.node_bytes_of(512 << 20), tail.max_bytes);
    let fixed = TailSettings {
        node_bytes: 1 << 30,
        ..tail
    };
    assert_eq!(fixed.node_bytes_of(16 << 30), 1 << 30);
}

#[test]
fn cache_of_node_is_a_quarter_of_memory_but_neither_tiny_nor_large_unasked() {
    let cache = CacheSettings::default();
    assert_eq!(cache.memory_bytes_of(512 << 20), 128 << 20);
    assert_eq!(cache.memory_bytes_of(16 << 30), 256 << 20);
    assert_eq!(cache.memory_bytes_of(1 << 20), 16 << 20);
    let fixed = CacheSettings {
        memory_bytes: 1 << 30,
    };
    assert_eq!(fixed.memory_bytes_of(16 << 30), 1 << 30);
}
