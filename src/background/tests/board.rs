use std::collections::{BTreeMap, BTreeSet};

use super::{hint, id, tail};
use crate::background::board::{Board, Waits};
use crate::namespace::Attended;
use crate::store::Listed;
use crate::types::{NamespaceId, Timestamp, limits};

const NO_TAILS: BTreeMap<NamespaceId, crate::namespace::OpenTail> = BTreeMap::new();

fn board() -> Board {
    Board::new(Waits {
        age_ms: 1_000,
        slack_ms: 100,
        again_ms: 50,
    })
}

fn learn(board: &mut Board, key: &str, ids: &[u128], now_ms: u64, round: u64) {
    let hint = hint(ids.iter().copied());
    board.learn(key.to_owned(), hint, 0, 0, (now_ms, round));
}

fn due(board: &mut Board, now_ms: u64) -> Vec<u128> {
    ids(board.due(now_ms, &NO_TAILS, 0))
}

fn ids<T>(due: Vec<(NamespaceId, T)>) -> Vec<u128> {
    due.into_iter().map(|(id, _)| id.0.as_u128()).collect()
}

#[test]
fn hint_is_due_after_the_age_less_what_has_passed_and_the_turn_of_others() {
    // Age when read, how long rows had waited before, spread: when due.
    let cases = [
        (0, 0, 0, 1_100),
        (300, 0, 0, 800),
        (300, 500, 0, 300),
        (300, 500, 40, 340),
        (5_000, 0, 7, 107),
        (u64::MAX, u64::MAX, 0, 100),
    ];
    for (age_ms, waited_ms, spread_ms, after_ms) in cases {
        let mut board = board();
        let mut hint = hint([1]);
        hint.namespaces[0].waited_ms = waited_ms;
        board.learn("a".to_owned(), hint, age_ms, spread_ms, (7_000, 1));
        let at = 7_000 + after_ms;
        assert_eq!(due(&mut board, at - 1), [0; 0], "{age_ms} {waited_ms}");
        assert_eq!(due(&mut board, at), [1], "{age_ms} {waited_ms}");
    }
}

#[test]
fn rows_held_in_memory_are_due_without_a_hint() {
    let mut board = board();
    let tails = BTreeMap::from([tail(1, 0, Some(500)), tail(2, 0, None)]);
    assert!(board.due(1_609, &tails, 10).is_empty());
    assert_eq!(ids(board.due(1_610, &tails, 10)), [1]);
}

#[test]
fn namespace_is_seen_to_once_at_a_time_and_hints_of_it_are_finished_together() {
    let mut board = board();
    learn(&mut board, "a", &[1], 0, 1);
    learn(&mut board, "b", &[1, 2], 0, 1);
    assert_eq!(due(&mut board, 1_100), [1, 2]);
    board.began(id(1), 1);
    assert_eq!(due(&mut board, 1_100), [2]);
    // Read after the look began: it may tell of rows that came later.
    learn(&mut board, "c", &[1], 0, 2);
    board.ended(id(1), Some(Attended::Flushed), 1_200);
    assert_eq!(board.finished(), ["a"]);
    assert_eq!(due(&mut board, 1_200), [1, 2]);
    board.began(id(2), 2);
    board.ended(id(2), Some(Attended::Nothing), 1_300);
    assert_eq!(board.finished(), ["a", "b"]);
    board.deleted("a");
    assert_eq!(board.finished(), ["b"]);
}

#[test]
fn what_came_to_nothing_is_looked_at_again_later() {
    let mut board = board();
    learn(&mut board, "a", &[1], 0, 1);
    let mut end = |attended, now_ms| {
        board.began(id(1), 1);
        board.ended(id(1), attended, now_ms);
        let mut at = now_ms;
        while due(&mut board, at).is_empty() {
            at += 1;
        }
        assert!(board.finished().is_empty());
        at - now_ms
    };
    assert_eq!(end(Some(Attended::Busy), 5_000), 50);
    assert_eq!(end(Some(Attended::FlushedInPart), 6_000), 1_100);
    // Failures wait longer each time.
    assert_eq!(end(None, 10_000), 50);
    assert_eq!(end(None, 11_000), 100);
    assert_eq!(end(None, 12_000), 200);
    assert_eq!(end(Some(Attended::Busy), 13_000), 50);
    assert_eq!(end(None, 14_000), 50, "counted anew");
}

#[test]
fn more_than_may_be_seen_to_at_once_waits_for_its_turn_oldest_first() {
    let mut board = board();
    let most = limits::FOUND_IN_FLIGHT_MAX as u128;
    for n in 0..most + 5 {
        learn(&mut board, &format!("{n:03}"), &[n], 1_000 - n as u64, 1);
    }
    let first = due(&mut board, 5_000);
    let expected: Vec<u128> = (5..most + 5).rev().collect();
    assert_eq!(first, expected);
    for n in &first {
        board.began(id(*n), 1);
    }
    assert!(due(&mut board, 5_000).is_empty());
    board.ended(id(most + 4), Some(Attended::Flushed), 5_000);
    assert_eq!(due(&mut board, 5_000), [4]);
}

fn listed(keys: &[&str]) -> Vec<Listed> {
    let listed = |key: &&str| Listed {
        key: (*key).to_owned(),
        size_bytes: 100,
        last_modified: Timestamp(0),
    };
    keys.iter().map(listed).collect()
}

fn unread(board: &Board, keys: &[&str]) -> Vec<String> {
    let listed = listed(keys);
    let unread = board.unread(&listed);
    unread.into_iter().map(|one| one.key.clone()).collect()
}

#[test]
fn hint_is_read_once_damaged_ones_twice_and_unknown_ones_are_left_alone() {
    let mut board = board();
    let keys = ["a", "b", "c"];
    assert_eq!(unread(&board, &keys), keys);
    learn(&mut board, "a", &[1], 0, 1);
    board.unknown("b");
    assert!(!board.damaged("c"), "perhaps the read was cut short");
    assert!(board.finished().is_empty());
    assert_eq!(unread(&board, &keys), ["c"]);
    assert!(board.damaged("c"));
    assert_eq!(board.finished(), ["c"]);
}

#[test]
fn hint_that_is_gone_is_forgotten_within_what_was_listed() {
    let mut board = board();
    for (n, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        learn(&mut board, key, &[n as u128], 0, 1);
    }
    board.forget_unlisted(Some("a"), Some("c"), &BTreeSet::from(["c"]));
    let known: Vec<bool> = (0..4).map(|n| board.names(id(n))).collect();
    assert_eq!(known, [true, false, true, true]);
    board.forget_unlisted(None, None, &BTreeSet::from(["d"]));
    let known: Vec<bool> = (0..4).map(|n| board.names(id(n))).collect();
    assert_eq!(known, [false, false, false, true]);
}

#[test]
fn number_of_hints_read_in_a_round_is_bounded() {
    let board = board();
    let keys: Vec<String> = (0..500).map(|n| format!("{n:03}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(unread(&board, &keys).len(), limits::HINTS_READ_MAX);
}
