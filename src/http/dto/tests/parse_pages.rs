use super::parse::check;
use super::{meter, query};
use crate::error::Result;
use crate::http::dto::query::QueryBody;
use crate::query::cursor::Cursor;
use crate::query::request::{AsOf, Paging};
use crate::types::{NamespaceId, WalSeq};

fn parse(body: &str) -> Result<QueryBody> {
    query::parse_query(body.as_bytes(), &meter())
}

/// A cursor of the question that a body asks, as text.
fn text_for(body: &str, cursor: &Cursor) -> String {
    let body = parse(body).expect("a first page");
    cursor.to_text(body.form.pages_of.expect("pages are asked for"))
}

#[test]
fn cursor_and_state_of_the_past_become_typed() {
    let cursor = Cursor {
        namespace: NamespaceId(uuid::Uuid::from_u128(5)),
        seq: WalSeq(70),
        place: [1, 2, 3].into(),
    };
    for fields in [
        r#""rank_by":["year","asc"],"filters":["a","Eq",1]"#,
        r#""aggregate_by":{"n":["Count"]},"group_by":["year"]"#,
    ] {
        let first = format!(r#"{{{fields},"limit":3,"cursor":true}}"#);
        let asked = parse(&first).expect("a first page").asked;
        assert_eq!(asked.asks[0].paging(), &Paging::First);
        assert_eq!(asked.as_of, None);
        let text = text_for(&first, &cursor);
        // What comes back may change, what it is of may not.
        let next = format!(r#"{{{fields},"limit":5,"cursor":"{text}"}}"#);
        let body = parse(&next).expect("a next page");
        let place = Paging::After(cursor.place.clone());
        assert_eq!(body.asked.asks[0].paging(), &place);
        assert_eq!(body.asked.as_of, Some(cursor.as_of()));
        let other = next.replace("year", "yeah");
        let error = parse(&other).expect_err("another question");
        assert_eq!(error.code(), "cursor_invalid");
    }
    for off in ["", r#","cursor":false"#, r#","cursor":null,"as_of":null"#] {
        let body = parse(&format!(r#"{{"rank_by":["id","asc"],"limit":3{off}}}"#));
        let body = body.expect("no page");
        assert_eq!(body.asked.asks[0].paging(), &Paging::Off);
        assert_eq!((body.asked.as_of, body.form.pages_of), (None, None));
    }
    let body = parse(r#"{"rank_by":["id","asc"],"limit":3,"as_of":{"seq":12}}"#);
    let as_of = AsOf {
        seq: WalSeq(12),
        namespace: None,
    };
    assert_eq!(body.expect("valid").asked.as_of, Some(as_of));
    let several = r#"{"queries":[{"rank_by":["id","asc"],"limit":3}],"as_of":{"seq":12}}"#;
    assert_eq!(parse(several).expect("valid").asked.as_of, Some(as_of));
}

#[test]
fn cursor_and_state_of_the_past_malformed_are_refused_with_status_and_place() {
    let first = r#"{"rank_by":["id","asc"],"limit":3,"cursor":true}"#;
    let cursor = Cursor {
        namespace: NamespaceId(uuid::Uuid::from_u128(5)),
        seq: WalSeq(70),
        place: [1].into(),
    };
    let with = |rest: &str| format!(r#"{{"rank_by":["id","asc"],"limit":3,{rest}}}"#);
    let both = format!(
        r#""cursor":"{}","as_of":{{"seq":1}}"#,
        text_for(first, &cursor)
    );
    for (rest, status, part) in [
        (r#""cursor":7"#, 422, "cursor"),
        (r#""cursor":{}"#, 422, "cursor"),
        (r#""cursor":"""#, 400, "`next_cursor`"),
        (r#""cursor":"AAAA""#, 400, "`next_cursor`"),
        (r#""as_of":7"#, 422, "as_of"),
        (r#""as_of":{}"#, 422, "missing field `seq`"),
        (r#""as_of":{"seq":-1}"#, 422, "as_of.seq"),
        (r#""as_of":{"seq":1,"seqs":2}"#, 400, "`seqs`"),
        (
            r#""as_of":{"timestamp":"2026-01-01"}"#,
            400,
            "`as_of.timestamp`",
        ),
        (r#""as_of":{"snapshot":"a"}"#, 400, "`as_of.snapshot`"),
        (both.as_str(), 400, "as_of"),
    ] {
        let body = with(rest);
        check(&[(body.as_str(), status, part)], |body| {
            query::parse_query(body, &meter()).map(|_| ())
        });
    }
    let several = [
        (
            r#"{"queries":[{"rank_by":["id","asc"],"limit":3}],"cursor":true}"#,
            400,
            "not expected with `queries`",
        ),
        (
            r#"{"queries":[{"rank_by":["id","asc"],"limit":3,"cursor":true}]}"#,
            400,
            "not expected with `queries`",
        ),
        (
            r#"{"queries":[{"rank_by":["id","asc"],"limit":3,"as_of":{"seq":1}}]}"#,
            400,
            "belongs beside",
        ),
    ];
    check(&several, |body| {
        query::parse_query(body, &meter()).map(|_| ())
    });
}
