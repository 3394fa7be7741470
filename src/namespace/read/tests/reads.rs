//! What queries ask of the store, cold and again.

use super::*;

#[tokio::test]
async fn query_again_asks_the_store_nothing() {
    let world = World::new(&mut Seed(7)).await;
    let spread = world.spread();
    let mut query = world.nearest(10);
    query.include = vec![("int".into(), world.attr("int"))];
    ask(&spread, &query).await.expect("an answer");
    // The oldest segment has no vectors: its footer says so. The others: footer, vectors, and where they
    // have a winner its id and attributes.
    let cold = world.gets();
    assert!((5..=7).contains(&cold), "{cold}");
    ask(&spread, &query).await.expect("an answer");
    assert_eq!(world.gets(), cold);
}

#[tokio::test]
async fn query_whose_filter_no_segment_can_match_asks_the_store_nothing() {
    let world = World::new(&mut Seed(8)).await;
    let mut query = world.nearest(10);
    query.filter = Some(world.filtered(&Filter::Compare {
        attribute: "id".to_owned(),
        op: CompareOp::Gt,
        value: RawValue::Int(N_IDS as i64),
    }));
    let found = ask(&world.spread(), &query).await.expect("an answer");
    assert_eq!(found.looked.segments_pruned, N_SEGMENTS as u64);
    assert_eq!(world.gets(), 0);
}

#[tokio::test]
async fn first_by_an_attribute_reads_indexes_and_the_rows_of_the_answer() {
    let world = World::new(&mut Seed(13)).await;
    let spread = world.spread();
    let mut query = world.nearest(3);
    query.rank = by_keys(vec![BoundKey {
        target: Target::Attribute(world.attr("int")),
        descending: true,
    }]);
    query.filter = Some(world.filtered(&ints_from(2)));
    ask(&spread, &query).await.expect("an answer");
    // Of each segment its footer, its index, and the rows that may be among the first.
    assert_eq!(world.gets(), 3 * N_SEGMENTS as u64);
    ask(&spread, &query).await.expect("an answer");
    assert_eq!(world.gets(), 3 * N_SEGMENTS as u64);
}

#[tokio::test]
async fn page_of_ids_reads_the_block_that_it_begins_in_and_its_rows() {
    let world = World::new(&mut Seed(9)).await;
    let spread = world.spread();
    let mut query = world.nearest(3);
    query.rank = by_keys(Vec::new());
    let after = N_IDS / 2;
    query.filter = Some(world.filtered(&Filter::Compare {
        attribute: "id".to_owned(),
        op: CompareOp::Gt,
        value: RawValue::Int(after as i64),
    }));
    let found = ask(&spread, &query).await.expect("an answer");
    let expected = world.documents.keys().filter(|id| **id > after).take(3);
    let expected: Vec<DocId> = expected.map(|id| DocId::Uint(*id)).collect();
    let ids: Vec<DocId> = found.rows.iter().map(|row| row.id.clone()).collect();
    assert_eq!(ids, expected);
    // Of each segment its footer, a block of ids and a page of the rows.
    assert_eq!(world.gets(), 3 * found.looked.segments_searched);
}

#[tokio::test]
async fn first_by_id_reads_no_more_ids_than_it_needs() {
    let world = World::new(&mut Seed(9)).await;
    let mut query = world.nearest(3);
    query.rank = by_keys(Vec::new());
    let found = ask(&world.spread(), &query).await.expect("an answer");
    let expected: Vec<DocId> = world
        .documents
        .keys()
        .take(3)
        .map(|id| DocId::Uint(*id))
        .collect();
    let ids: Vec<DocId> = found.rows.iter().map(|row| row.id.clone()).collect();
    assert_eq!(ids, expected);
    assert_eq!(
        world.gets(),
        2 * N_SEGMENTS as u64,
        "a footer and a page of ids each"
    );
}
