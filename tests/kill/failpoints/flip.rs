//! Blocks of segments that arrive with a flipped bit: once, and always.

use elacsym::runtime::failpoint::VARIABLE;

use super::stage::{Before, NAMESPACE, Stages};
use crate::client::Client;
use crate::journal::Journal;
use crate::server::{Process, Server};

/// A metric without labels.
fn metric(server: &Server, name: &str) -> u64 {
    let config = ureq::Agent::config_builder().proxy(None).build();
    let answer = config
        .new_agent()
        .get(format!("{}/metrics", server.url))
        .call();
    let text = answer.expect("an answer").body_mut().read_to_string();
    let text = text.expect("text");
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    let value = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
    value.unwrap_or_else(|| panic!("no `{name}` in {text}"))
}

#[test]
fn failpoint_flipped_block_is_fetched_again_and_named_where_it_stays_wrong() {
    let stages = Stages::set_bare();
    let stage = stages.copy(Before::Small);
    let ids: Vec<u64> = stage.journals.iter().flat_map(Journal::ids).collect();
    let server = Server::start(stage.path());
    let client = Client::new(&server.url, NAMESPACE);
    let flushed = client.try_flush().expect("an answer");
    assert_eq!(flushed.status, 200, "{}", flushed.body);
    let expected = client.read(&ids);
    assert!(expected.is_some());
    drop(server);
    for side in ["before", "after"] {
        let order = format!("m1=error-{side}@1");
        let armed = Process::start_with(stage.path(), &[(VARIABLE, &order)], &[]).serving();
        let client = Client::new(&armed.url, NAMESPACE);
        assert_eq!(client.read(&ids), expected, "{order}");
        armed.process.says("failpoint m1 struck");
        assert_eq!(metric(&armed, "elacsym_cache_refetched_blocks_total"), 1);
        assert_eq!(metric(&armed, "elacsym_cache_corrupt_blocks_total"), 0);
        assert_eq!(metric(&armed, "elacsym_quarantined_objects_total"), 0);
    }
    let order = (VARIABLE, "m1=error-after@1+");
    let armed = Process::start_with(stage.path(), &[order], &[]).serving();
    let client = Client::new(&armed.url, NAMESPACE);
    let answer = client.try_read(&ids);
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert_eq!(answer.body["type"], "data_corrupt", "{}", answer.body);
    let details = &answer.body["details"];
    for detail in ["object", "segment", "offset", "expected", "found"] {
        assert!(details[detail].is_string(), "no {detail}: {}", answer.body);
    }
    assert!(metric(&armed, "elacsym_cache_corrupt_blocks_total") > 0);
    assert_eq!(client.get("/health").body["quarantined_objects"], 1);
    // The store is whole: another server, whose memory is, reads it well.
    let beside = Server::start(stage.path());
    assert_eq!(Client::new(&beside.url, NAMESPACE).read(&ids), expected);
}
