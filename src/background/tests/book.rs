use std::collections::BTreeMap;

use super::{hint, id, name, tail};
use crate::background::book::{Book, Draft};
use crate::format::dirty::DirtyHint;
use crate::namespace::DirtyNote;
use crate::types::{WalSeq, limits};

fn note(since_ms: i64, flushed: u64) -> DirtyNote {
    DirtyNote {
        name: name(),
        since_ms,
        flushed: WalSeq(flushed),
    }
}

fn put(book: &mut Book, draft: Draft) -> String {
    let key = format!("hint {}", draft.n);
    book.sent(&draft);
    book.put(draft, key.clone());
    key
}

fn ids(hint: &DirtyHint) -> Vec<u128> {
    let ids = hint.namespaces.iter();
    ids.map(|named| named.namespace.0.as_u128()).collect()
}

#[test]
fn hint_takes_the_place_of_the_one_before_and_tells_how_long_rows_waited() {
    let mut book = Book::default();
    assert_eq!(book.draft(0), None);
    book.note(id(2), note(100, 0));
    let first = book.draft(150).expect("a note");
    assert_eq!(first.hint.namespaces[0].waited_ms, 50);
    let first = put(&mut book, first);
    assert_eq!(book.draft(200), None, "all is told");
    assert!(book.spent().is_empty() && !book.is_empty());
    book.note(id(1), note(-1_000, 0));
    assert!(book.spent().is_empty(), "not before the next is put");
    let second = book.draft(1_000).expect("a note");
    assert_eq!(ids(&second.hint), [1, 2]);
    let waited: Vec<u64> = second
        .hint
        .namespaces
        .iter()
        .map(|named| named.waited_ms)
        .collect();
    assert_eq!(waited, [2_000, 900]);
    put(&mut book, second);
    assert_eq!(book.spent(), std::slice::from_ref(&first));
    book.gone(|key| key == first);
    assert!(book.spent().is_empty());
}

#[test]
fn hint_that_was_not_put_is_drafted_again_under_another_number() {
    let mut book = Book::default();
    book.note(id(1), note(0, 0));
    let lost = book.draft(0).expect("a note");
    book.sent(&lost);
    let again = book.draft(0).expect("a note");
    assert_eq!(again.hint, lost.hint);
    assert_ne!(again.n, lost.n);
}

#[test]
fn flush_makes_a_note_void_and_rows_after_it_make_a_new_one_first() {
    let mut book = Book::default();
    book.note(id(1), note(0, 0));
    book.note(id(2), note(0, 0));
    let draft = book.draft(0).expect("notes");
    let first = put(&mut book, draft);
    book.reconcile(&BTreeMap::from([tail(1, 0, Some(0))]));
    assert!(book.spent().is_empty(), "not flushed, and not open here");
    let tails = BTreeMap::from([tail(1, 5, None), tail(2, 7, Some(900))]);
    book.reconcile(&tails);
    assert!(
        book.spent().is_empty(),
        "what waits anew is not in the bucket"
    );
    let draft = book.draft(1_000).expect("rows wait anew");
    assert_eq!(ids(&draft.hint), [2]);
    assert_eq!(draft.hint.namespaces[0].waited_ms, 100);
    let second = put(&mut book, draft);
    assert_eq!(book.spent(), [first]);
    book.reconcile(&BTreeMap::from([tail(2, 9, None)]));
    assert_eq!(book.spent().len(), 2);
    book.gone(|_| true);
    assert!(book.is_empty() && !book.names(id(2)), "{second}");
}

#[test]
fn note_that_is_flushed_before_it_is_told_makes_no_hint() {
    let mut book = Book::default();
    book.note(id(1), note(0, 3));
    book.reconcile(&BTreeMap::from([tail(1, 3, Some(0))]));
    assert!(book.has_pending());
    book.reconcile(&BTreeMap::from([tail(1, 4, None)]));
    assert!(book.is_empty());
}

#[test]
fn more_namespaces_than_one_hint_holds_are_told_in_several() {
    let most = limits::DIRTY_NAMESPACES_MAX;
    let mut book = Book::default();
    for n in 0..most as u128 + 10 {
        book.note(id(n), note(0, 0));
    }
    let first = book.draft(0).expect("notes");
    assert_eq!(first.hint, hint(0..most as u128));
    put(&mut book, first);
    let second = book.draft(0).expect("notes");
    assert_eq!(second.hint, hint(most as u128..most as u128 + 10));
    put(&mut book, second);
    // The newest has room, the oldest has not.
    book.note(id(5_000), note(0, 0));
    let third = book.draft(0).expect("a note");
    assert_eq!(third.hint.namespaces.len(), 11);
    put(&mut book, third);
    assert_eq!(book.spent().len(), 1);
}
