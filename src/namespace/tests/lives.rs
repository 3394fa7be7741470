//! Beginnings and ends: opens that take long, drops that meet faults or another incarnation.

use super::*;

#[tokio::test]
async fn drop_through_a_handle_of_an_ended_incarnation_drops_the_new_one() {
    let bucket = memory();
    let (a, b) = (engine_on(Arc::clone(&bucket), 1), engine_on(bucket, 2));
    a.write(&name(), upsert([(1, 1)]), None)
        .await
        .expect("a commit");
    assert_eq!(rows(&b).await, [(1, 1)]);
    a.delete(&name()).await.expect("dropped");
    a.write(&name(), upsert([(2, 2)]), None)
        .await
        .expect("made again");
    b.delete(&name())
        .await
        .expect("the new one is there to drop");
    let gone = a.query(&name(), all()).await.expect_err("gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}
