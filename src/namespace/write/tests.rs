//! Groups evaluated on states that need no store.

use std::sync::Arc;

use super::Request;
use super::gather::Gathered;
use super::group::{Fate, evaluate};
use crate::error::ErrorKind;
use crate::lsm::entry::Id16;
use crate::lsm::{Rotation, State, Tail};
use crate::types::document::{Document, RawValue, WriteBatch};
use crate::types::{DocId, IdKind, NamespaceSchema};

fn patch(id: i64) -> Request {
    let patch = Document {
        id: RawValue::Int(id),
        attributes: vec![(Arc::from("n"), RawValue::Int(1))],
    };
    let batch = WriteBatch {
        patches: vec![patch],
        has_patches: true,
        ..WriteBatch::default()
    };
    Request {
        batch: Arc::new(batch),
        key: None,
    }
}

#[test]
fn documents_without_room_refuse_the_first_request_for_good_and_later_ones_for_now() {
    let mut state = State::initial(Rotation::default());
    state.schema = Arc::new(NamespaceSchema {
        id_kind: Some(IdKind::Uint),
        ..NamespaceSchema::default()
    });
    let gathered = Gathered {
        beyond: [DocId::Uint(7)].into(),
        most_bytes: 4_711,
        ..Gathered::default()
    };
    let requests = [patch(7), patch(8), patch(7)];
    let group = evaluate(&state, &Tail::default(), gathered, &requests, Id16(1));
    let fates = group.expect("a group").fates;
    let [
        Fate::Refused(first),
        Fate::Applies(second),
        Fate::Refused(third),
    ] = fates.as_slice()
    else {
        panic!("other fates: {fates:?}");
    };
    assert_eq!(first.kind(), ErrorKind::TooLarge, "{first}");
    assert_eq!(second.rows_patched, Some(0));
    assert_eq!(third.kind(), ErrorKind::Unavailable, "{third}");
    assert!(third.retry_after_ms().is_some(), "{third}");
    for error in [first, third] {
        assert!(error.message().contains("4711 bytes"), "{error}");
    }
}
