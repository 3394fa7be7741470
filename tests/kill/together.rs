//! Two servers on one directory: neither knows of the other but through the bucket.

use std::sync::Barrier;
use std::thread;

use serde_json::json;
use tempfile::TempDir;

use crate::client::{Client, Values, upsert_body};
use crate::server::Server;

const WRITERS: u64 = 4;
const WRITES: u64 = 40;
const INSERTS: u64 = 64;

fn two_servers() -> (TempDir, [Server; 2]) {
    let directory = TempDir::new().expect("a directory");
    let servers = [
        Server::start(directory.path()),
        Server::start(directory.path()),
    ];
    (directory, servers)
}

fn clients(servers: &[Server; 2], namespace: &str) -> [Client; 2] {
    [0, 1].map(|node| Client::new(&servers[node].url, namespace))
}

#[test]
fn two_servers_on_one_directory_see_each_acknowledged_write_at_once() {
    let (_directory, servers) = two_servers();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let nodes = clients(&servers, "both");
            scope.spawn(move || write_here_read_there(&nodes, writer));
        }
    });
    let ids: Vec<u64> = (0..WRITERS * 2).collect();
    for node in clients(&servers, "both") {
        let read = node.read(&ids).expect("the namespace");
        // The last two writes of each writer, by parity.
        let expected: Values = ids.iter().map(|id| (*id, WRITES - 2 + id % 2)).collect();
        assert_eq!(read, expected);
    }
}

/// Writes two ids of its own, by turns through each server, and reads each write through the other.
fn write_here_read_there(nodes: &[Client; 2], writer: u64) {
    for value in 0..WRITES {
        let id = writer * 2 + value % 2;
        // Turns of two, so that each id is written through both.
        let here = ((value / 2) % 2) as usize;
        nodes[here].upsert(&[(id, value)]);
        let read = nodes[1 - here].read(&[id]);
        let expected = Some(Values::from([(id, value)]));
        assert_eq!(
            read, expected,
            "written by server {here}, read by the other"
        );
    }
}

#[test]
fn insert_only_writes_of_one_id_apply_once() {
    let (_directory, servers) = two_servers();
    // The first id also decides who creates the namespace.
    for id in [1, 2] {
        let barrier = Barrier::new(INSERTS as usize);
        let barrier = &barrier;
        let upserted: Vec<u64> = thread::scope(|scope| {
            let inserts: Vec<_> = (0..INSERTS)
                .map(|value| {
                    let node = Client::new(&servers[(value % 2) as usize].url, "once");
                    scope.spawn(move || {
                        barrier.wait();
                        insert(&node, id, value)
                    })
                })
                .collect();
            let join =
                |insert: thread::ScopedJoinHandle<'_, u64>| insert.join().expect("an answer");
            inserts.into_iter().map(join).collect()
        });
        assert_eq!(upserted.iter().sum::<u64>(), 1, "id {id}: {upserted:?}");
        let winner = upserted.iter().position(|count| *count == 1);
        let value = winner.expect("the sum is 1") as u64;
        for node in clients(&servers, "once") {
            assert_eq!(node.read(&[id]), Some(Values::from([(id, value)])));
        }
    }
}

/// Inserts a row if its id is not there; returns how many rows that made.
fn insert(node: &Client, id: u64, value: u64) -> u64 {
    let mut body = upsert_body(&[(id, value)]);
    body["upsert_condition"] = json!(["id", "Eq", null]);
    let answer = node.write(&body);
    let count = answer["rows_upserted"].as_u64();
    count.unwrap_or_else(|| panic!("no rows_upserted: {answer}"))
}

#[test]
fn delete_and_recreate_while_another_node_holds_the_old_incarnation() {
    let (_directory, servers) = two_servers();
    let ids = [1, 2, 3, 4];
    for first in ["read", "write", "nothing"] {
        let [a, b] = clients(&servers, &format!("again-{first}"));
        a.upsert(&[(1, 10), (2, 20)]);
        assert_eq!(a.read(&ids), Some(Values::from([(1, 10), (2, 20)])));
        b.delete_namespace();
        if first == "nothing" {
            assert_eq!(a.read(&ids), None, "dropped, and not created again");
            continue;
        }
        b.upsert(&[(2, 21), (3, 31)]);
        if first == "read" {
            assert_eq!(a.read(&ids), Some(Values::from([(2, 21), (3, 31)])));
        }
        a.upsert(&[(4, 41)]);
        let expected = Some(Values::from([(2, 21), (3, 31), (4, 41)]));
        assert_eq!(
            b.read(&ids),
            expected,
            "{first} first: by who created it again"
        );
        assert_eq!(
            a.read(&ids),
            expected,
            "{first} first: by who held the old one"
        );
    }
}
