use std::sync::Arc;

use proptest::prelude::*;

use crate::error::Result;
use crate::filter::{self, RowMask};
use crate::query::order::OrderTop;
use crate::query::order::tests::{batch_of, cells, key, schema, text};
use crate::query::reply::Found;
use crate::query::request::{
    Aggregate, Consistency, Fold, GroupBy, Include, LimitPer, OrderKey, Paging, Query, RankBy,
    ScoreExpr,
};
use crate::query::{BoundQuery, BoundRank, BoundTotals, Totals, bind};
use crate::types::filter::Filter;
use crate::types::{ScalarType, Value};

fn asked(keys: &[OrderKey], limit: usize, paging: Paging) -> Query {
    Query {
        rank_by: RankBy::Order(keys.to_vec()),
        limit,
        per: None,
        offset: 0,
        paging,
        filter: None,
        include: Include::Nothing,
        compute: Vec::new(),
        distance_metric: None,
        consistency: Consistency::Strong,
        allow_degraded: false,
    }
}

/// The first rows of a query over a batch, and the place of each.
fn first(query: &BoundQuery, rows: &[(String, Vec<Value>)]) -> Vec<(usize, Arc<[u8]>)> {
    let batch = batch_of(rows);
    let mask = match &query.filter {
        Some(filter) => filter::eval(filter, &batch),
        None => RowMask::all(batch.num_rows()),
    };
    let BoundRank::Order(order) = &query.rank else {
        panic!("another ranking");
    };
    let mut top = OrderTop::new(Arc::clone(order), query.wanted());
    top.offer_rows(0, &batch, &mask);
    let sorted = top.into_sorted().into_iter();
    sorted
        .map(|one| (one.row, one.key.bytes().into()))
        .collect()
}

fn names() -> Vec<&'static str> {
    let kinds = ScalarType::ALL.iter().map(|kind| kind.name());
    kinds.chain(["id"]).collect()
}

proptest! {
    #[test]
    fn pages_of_any_rows_in_any_order_are_all_rows_once_in_that_order(
        rows in prop::collection::btree_map(text(), cells(), 0..60),
        keys in prop::collection::vec((0_usize..8, any::<bool>()), 1..4),
        limit in 1_usize..20,
    ) {
        let schema = schema();
        let keys: Vec<_> = keys.iter().map(|(at, down)| key(names()[*at], *down)).collect();
        let rows: Vec<(String, Vec<Value>)> = rows.into_iter().collect();
        let all = bind(&asked(&keys, 100, Paging::Off), &schema).expect("binds");
        let all: Vec<usize> = first(&all, &rows).into_iter().map(|(row, _)| row).collect();
        let (mut found, mut paging) = (Vec::new(), Paging::First);
        for _ in 0..=rows.len() {
            let query = bind(&asked(&keys, limit, paging), &schema).expect("binds");
            let mut page = first(&query, &rows);
            let more_follow = page.len() == query.wanted();
            page.truncate(limit);
            found.extend(page.iter().map(|(row, _)| *row));
            match page.pop() {
                Some((_, place)) if more_follow => paging = Paging::After(place),
                _ => break,
            }
        }
        prop_assert_eq!(found, all);
    }

    #[test]
    fn pages_of_any_groups_are_all_groups_once(
        rows in prop::collection::btree_map(text(), cells(), 0..60),
        groups in prop::collection::btree_set(0_usize..7, 1..3),
        limit in 1_usize..9,
    ) {
        let rows: Vec<(String, Vec<Value>)> = rows.into_iter().collect();
        let batch = batch_of(&rows);
        let ask = |limit, paging| {
            let group = |at: &usize| GroupBy {
                label: names()[*at].to_owned(),
                attribute: names()[*at].to_owned(),
                each: false,
            };
            let asked = Aggregate {
                folds: vec![("n".to_owned(), Fold::Count)],
                groups: groups.iter().map(group).collect(),
                limit,
                paging,
                filter: None,
            };
            let plan = Arc::new(BoundTotals::bind(&asked, &schema()).expect("binds"));
            let mask = match &plan.filter {
                Some(filter) => filter::eval(filter, &batch),
                None => RowMask::all(batch.num_rows()),
            };
            let mut totals = Totals::new(plan);
            totals.offer_rows(&batch, &mask).expect("short keys");
            match totals.finish().expect("counts") {
                (Found::Groups { groups, .. }, next) => (groups, next),
                other => panic!("no groups: {other:?}"),
            }
        };
        let (all, none) = ask(100, Paging::Off);
        prop_assert_eq!(none, None);
        let (mut found, mut paging) = (Vec::new(), Paging::First);
        for _ in 0..=rows.len() {
            let (page, next) = ask(limit, paging);
            prop_assert!(page.len() <= limit);
            found.extend(page);
            match next {
                Some(place) => paging = Paging::After(place),
                None => break,
            }
        }
        prop_assert_eq!(found, all);
    }

    #[test]
    fn place_of_any_bytes_is_refused_or_binds(
        keys in prop::collection::vec((0_usize..8, any::<bool>()), 1..4),
        place in prop::collection::vec(prop_oneof![Just(0), Just(1), Just(255), any::<u8>()], 0..40),
    ) {
        let keys: Vec<_> = keys.iter().map(|(at, down)| key(names()[*at], *down)).collect();
        let rows = [("a".to_owned(), vec![Value::Null; 7])];
        match bind(&asked(&keys, 1, Paging::After(place.into())), &schema()) {
            Ok(query) => drop(first(&query, &rows)),
            Err(error) => prop_assert_eq!(error.code(), "cursor_invalid"),
        }
    }
}

/// What makes another query of one that has pages.
type Change<'a> = &'a dyn Fn(&mut Query);

#[test]
fn page_of_what_has_no_pages_is_refused() {
    let bound = |change: Change<'_>| -> Result<BoundQuery> {
        let mut query = asked(&[key("int", true)], 10, Paging::First);
        change(&mut query);
        bind(&query, &schema())
    };
    bound(&|_| {}).expect("an order has pages");
    bound(&|query| query.rank_by = RankBy::Id).expect("so have ids");
    let by_score = RankBy::Score(ScoreExpr::Filter(Filter::And(Vec::new())));
    let per = LimitPer {
        attributes: vec!["int".to_owned()],
        limit: 1,
    };
    let refused: [(Change<'_>, &str); 3] = [
        (&|query| query.rank_by = by_score.clone(), "a score"),
        (&|query| query.offset = 1, "`offset`"),
        (
            &|query| {
                query.per = Some(per.clone());
                query.include = Include::Everything;
            },
            "`limit.per`",
        ),
    ];
    for (change, expected) in refused {
        let error = bound(change).expect_err(expected);
        assert!(error.message().contains(expected), "{error}");
    }
    let numbers = |groups: &[(&str, bool)]| {
        let groups = groups.iter().map(|(name, each)| GroupBy {
            label: (*name).to_owned(),
            attribute: (*name).to_owned(),
            each: *each,
        });
        let asked = Aggregate {
            folds: vec![("n".to_owned(), Fold::Count)],
            groups: groups.collect(),
            limit: 1,
            paging: Paging::First,
            filter: None,
        };
        BoundTotals::bind(&asked, &schema())
    };
    numbers(&[("int", false)]).expect("groups have pages");
    let error = numbers(&[]).expect_err("one answer");
    assert!(error.message().contains("without `group_by`"), "{error}");
}
