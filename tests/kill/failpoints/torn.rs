//! A local disk that lost power, or lies: bytes of a slot that are not those that were written.

use std::fs;

use super::stage::{Before, NAMESPACE, Stages, named, newest_slot};
use crate::client::{Client, Values, upsert_body};
use crate::journal::Journal;
use crate::kills::audit;
use crate::server::Server;

/// How a slot's bytes are damaged.
type Damage = fn(&[u8]) -> Vec<u8>;

const DAMAGES: &[(&str, Damage)] = &[
    ("empty", |_| Vec::new()),
    ("cut in the header", |bytes| bytes[..64].to_vec()),
    ("cut in the body", |bytes| bytes[..bytes.len() - 1].to_vec()),
    ("end never written", |bytes| {
        let half = bytes.len() / 2;
        let mut torn = bytes[..half].to_vec();
        torn.resize(bytes.len(), 0);
        torn
    }),
    ("one bit of the header", |bytes| flip(bytes, 40)),
    ("one bit of the body", |bytes| flip(bytes, bytes.len() - 2)),
];

fn flip(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 0x10;
    flipped
}

#[test]
fn torn_slot_is_named_and_never_skipped() {
    let stages = Stages::set_bare();
    let mut stage = stages.copy(Before::Small);
    let ids: Vec<u64> = stage.journals.iter().flat_map(Journal::ids).collect();
    let slots = named(&stage.data(), "/wal/");
    let places = [newest_slot(&stage.data()), slots[slots.len() / 2].clone()];
    for place in places {
        let whole = fs::read(&place).expect("a slot");
        let key = place.strip_prefix(stage.data()).expect("a slot of it");
        let key = key.to_str().expect("a key");
        for (what, damage) in DAMAGES {
            let torn = damage(&whole);
            assert_ne!(torn, whole, "{what}");
            fs::write(&place, torn).expect("a slot");
            let server = Server::start(stage.path());
            let client = Client::new(&server.url, NAMESPACE);
            let write = client
                .try_write(&upsert_body(&[(1, 1)]))
                .expect("an answer");
            for answer in [client.try_read(&ids), write] {
                assert_eq!(answer.status, 500, "{what}: {}", answer.body);
                assert_eq!(
                    answer.body["type"], "data_corrupt",
                    "{what}: {}",
                    answer.body
                );
                let error = answer.body["error"].as_str().expect("an error");
                assert!(error.contains(key), "{what}: {error}");
            }
            let elsewhere = Client::new(&server.url, "elsewhere");
            elsewhere.upsert(&[(1, 10)]);
            assert_eq!(elsewhere.read(&[1]), Some(Values::from([(1, 10)])));
            // The same process goes on once the bytes are right again.
            fs::write(&place, &whole).expect("a slot");
            audit(&client, &mut stage.journals, what);
        }
    }
    let own = slots[0].parent().expect("a block").to_str().expect("text");
    assert_eq!(
        named(&stage.data(), own),
        slots,
        "nothing was added to a damaged log"
    );
}
