//! The first command of the README, in an empty folder, with no setting given.

use serde_json::Value;

use super::server::{Process, Server};

/// Curl lines that `--demo` prints.
const QUERIES: usize = 3;
/// Lines it prints for one: a blank, a comment, the command.
const LINES: usize = 3;

/// The address and the body of a printed curl line.
fn parsed(line: &str) -> (&str, &str) {
    let url = line
        .split_whitespace()
        .find(|word| word.starts_with("http://"));
    let body = line
        .split_once(" -d '")
        .and_then(|(_, rest)| rest.trim_end().strip_suffix('\''));
    match (url, body) {
        (Some(url), Some(body)) => (url, body),
        _ => panic!("expected `curl -s URL ... -d 'BODY'`, found {line:?}"),
    }
}

/// What the printed queries answer, in their order.
fn answers(server: &mut Server) -> Vec<Value> {
    let http = ureq::Agent::config_builder()
        .proxy(None)
        .build()
        .new_agent();
    let lines: Vec<String> = (0..QUERIES * LINES)
        .map(|_| server.printed_line())
        .collect();
    let curls = lines.iter().filter(|line| line.starts_with("curl "));
    let rows = curls.map(|line| {
        let (url, body) = parsed(line);
        let request = http.post(url).content_type("application/json");
        let mut reply = request
            .send(body)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut reply: Value = reply.body_mut().read_json().expect("a JSON answer");
        reply["rows"].take()
    });
    rows.collect()
}

#[test]
fn demo_in_an_empty_folder_prints_queries_that_work_and_loads_its_sample_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = Process::serve(folder.path(), &["--demo"]).serving();
    let first = answers(&mut server);
    assert_eq!(first.len(), QUERIES);
    for rows in &first {
        assert_eq!(rows.as_array().map(Vec::len), Some(3), "{rows}");
    }
    assert_eq!(
        first[0][0]["title"], "A Pink Sky above a Grey Sea",
        "{}",
        first[0]
    );
    assert!(folder.path().join("elacsym-data").is_dir());

    assert!(server.terminate().success());
    let mut again = Process::serve(folder.path(), &["--demo"]).serving();
    assert_eq!(answers(&mut again), first);
}
