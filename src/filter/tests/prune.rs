//! Pruning against evaluation: what is said to match none or all of some rows does.

use proptest::prelude::*;

use super::{Row, batch_of, filters, id_of, rows, schema};
use crate::filter::{BoundFilter, Comparison, Target, Verdict, bind, eval, prune};
use crate::types::{
    AttrId, AttributeStats, AttributeType, Bound, IdKind, NamespaceSchema, Stats, Value,
};

fn bound_of(value: &Value) -> Bound {
    match value {
        Value::Bool(value) => Bound::Bool(*value),
        Value::Int(value) => Bound::Int(*value),
        Value::Uint(value) => Bound::Uint(*value),
        Value::Float(value) => Bound::Float(value.to_bits()),
        Value::Datetime(value) => Bound::Datetime(value.0),
        Value::Uuid(value) => Bound::Uuid(*value),
        Value::String(text) => Bound::String(text.to_string()),
        other => panic!("no scalar: {other:?}"),
    }
}

/// Stats of rows; bounds of text are loosened as cutting it would, in the ways `loose` says. `listed` values at most
/// are listed.
fn stats_of(
    schema: &NamespaceSchema,
    kind: IdKind,
    rows: &[Row],
    loose: [bool; 2],
    listed: usize,
) -> Stats {
    let mut ids: Vec<_> = rows.iter().map(|(id, _)| id_of(kind, *id).0).collect();
    ids.sort();
    let mut scalars: Vec<_> = schema
        .attributes
        .values()
        .filter(|one| one.filterable && matches!(one.kind, AttributeType::Scalar(_)))
        .collect();
    scalars.sort_by_key(|one| one.id);
    let attributes = scalars.into_iter().map(|one| {
        let cells = rows.iter().map(|(_, cells)| &cells[one.id.0 as usize]);
        let mut present: Vec<_> = cells.filter(|cell| **cell != Value::Null).collect();
        present.sort_by(|a, b| a.total_cmp(b));
        let nulls = (rows.len() - present.len()) as u64;
        let (mut min, mut max) = (
            present.first().map(|value| bound_of(value)),
            present.last().map(|value| bound_of(value)),
        );
        if let (Some(Bound::String(low)), Some(Bound::String(high))) = (&mut min, &mut max) {
            if loose[0] {
                low.clear();
            }
            if loose[1] {
                high.push('z');
            }
            if loose == [true, true] {
                max = None;
            }
        }
        let mut values: Vec<Bound> = present.iter().map(|value| bound_of(value)).collect();
        values.dedup();
        AttributeStats {
            attr: one.id,
            nulls,
            min,
            max,
            values: Some(values).filter(|values| values.len() <= listed),
        }
    });
    Stats {
        id_min: Bound::of_id(&ids[0]),
        id_max: Bound::of_id(&ids[ids.len() - 1]),
        attributes: attributes.collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn prune_of_any_filter_never_contradicts_eval(
        (kind, rows, filter) in prop::sample::select(vec![IdKind::Uint, IdKind::Uuid, IdKind::String])
            .prop_flat_map(|kind| (Just(kind), rows(&schema(kind)), filters(kind))),
        n_rows in 1_usize..8,
        loose in any::<[bool; 2]>(),
        forgotten in 0_usize..20,
        listed in 0_usize..6,
    ) {
        let schema = schema(kind);
        // Few rows, so that verdicts other than `Maybe` are common.
        let rows = &rows[..n_rows.min(rows.len())];
        prop_assume!(!rows.is_empty());
        let mut stats = stats_of(&schema, kind, rows, loose, listed);
        if forgotten < stats.attributes.len() {
            stats.attributes.remove(forgotten);
        }
        let bound = bind(&filter, &schema).expect("a filter that fits its schema");
        let count = eval(&bound, &batch_of(&schema, kind, rows)).count();
        match prune(&bound, &stats) {
            Verdict::Never => prop_assert_eq!(count, 0),
            Verdict::Always => prop_assert_eq!(count, rows.len()),
            Verdict::Maybe => {}
        }
    }
}

fn int_stats(nulls: u64, ends: Option<(i64, i64)>) -> Stats {
    Stats {
        id_min: Bound::Uint(10),
        id_max: Bound::Uint(20),
        attributes: vec![AttributeStats {
            attr: AttrId(3),
            nulls,
            min: ends.map(|ends| Bound::Int(ends.0)),
            max: ends.map(|ends| Bound::Int(ends.1)),
            values: None,
        }],
    }
}

fn int(comparison: Comparison, operand: i64) -> BoundFilter {
    BoundFilter::Compare {
        target: Target::Attribute(AttrId(3)),
        comparison,
        operand: Value::Int(operand),
    }
}

#[test]
fn prune_of_comparisons_knows_what_ends_and_nulls_tell() {
    use Comparison::{Eq, Gt, Gte, Lt, Lte};
    use Verdict::{Always, Maybe, Never};
    let full = int_stats(0, Some((1, 5)));
    let holes = int_stats(2, Some((1, 5)));
    let empty = int_stats(2, None);
    for (comparison, operand, on_full, on_holes, on_empty) in [
        (Eq, 0, Never, Never, Never),
        (Eq, 6, Never, Never, Never),
        (Eq, 5, Maybe, Maybe, Never),
        (Lt, 1, Never, Maybe, Always),
        (Lt, 5, Maybe, Maybe, Always),
        (Lt, 6, Always, Always, Always),
        (Lte, 0, Never, Maybe, Always),
        (Lte, 5, Always, Always, Always),
        (Gt, 0, Always, Maybe, Never),
        (Gt, 5, Never, Never, Never),
        (Gte, 1, Always, Maybe, Never),
        (Gte, 6, Never, Never, Never),
    ] {
        let filter = int(comparison, operand);
        let found = [&full, &holes, &empty].map(|stats| prune(&filter, stats));
        assert_eq!(
            found,
            [on_full, on_holes, on_empty],
            "{comparison:?} {operand}"
        );
    }
    assert_eq!(prune(&int(Eq, 4), &int_stats(0, Some((4, 4)))), Always);
    assert_eq!(prune(&BoundFilter::Missing(AttrId(3)), &full), Never);
    assert_eq!(prune(&BoundFilter::Missing(AttrId(3)), &empty), Always);
    // An attribute that the stats do not have, and an operand of another type.
    assert_eq!(prune(&BoundFilter::Missing(AttrId(4)), &full), Maybe);
    let text = BoundFilter::Compare {
        target: Target::Attribute(AttrId(3)),
        comparison: Eq,
        operand: Value::String("1".into()),
    };
    assert_eq!(prune(&text, &full), Maybe);
}

#[test]
fn prune_of_membership_looks_for_a_member_within_the_range() {
    use crate::filter::Members;
    let is_in = |target, members| BoundFilter::In { target, members };
    let stats = int_stats(0, Some((4, 6)));
    let ints = |members: &[i64]| {
        is_in(
            Target::Attribute(AttrId(3)),
            Members::Ints(members.to_vec()),
        )
    };
    assert_eq!(prune(&ints(&[1, 3, 7]), &stats), Verdict::Never);
    assert_eq!(prune(&ints(&[1, 5, 7]), &stats), Verdict::Maybe);
    assert_eq!(prune(&ints(&[1, 2]), &stats), Verdict::Never);
    let ids = |members: &[u64]| is_in(Target::Id, Members::Uints(members.to_vec()));
    assert_eq!(prune(&ids(&[9, 21]), &stats), Verdict::Never);
    assert_eq!(prune(&ids(&[9, 20]), &stats), Verdict::Maybe);
    let not = BoundFilter::Not(Box::new(ids(&[9, 21])));
    assert_eq!(prune(&not, &stats), Verdict::Always);
}

#[test]
fn prune_of_glob_knows_what_its_start_tells() {
    use crate::filter::pattern::{Pattern, Syntax};
    let text = |nulls, ends: Option<(&str, Option<&str>)>| Stats {
        id_min: Bound::String("a".to_owned()),
        id_max: Bound::String("b".to_owned()),
        attributes: vec![AttributeStats {
            attr: AttrId(3),
            nulls,
            min: ends.map(|ends| Bound::String(ends.0.to_owned())),
            max: ends.and_then(|ends| ends.1.map(|max| Bound::String(max.to_owned()))),
            values: None,
        }],
    };
    let verdict = |pattern: &str, fold_case, stats: &Stats| {
        let compiled = Pattern::compile(pattern, Syntax::Glob { fold_case });
        let pattern = std::sync::Arc::new(compiled.expect("a legal glob"));
        let target = Target::Attribute(AttrId(3));
        prune(&BoundFilter::Matches { target, pattern }, stats)
    };
    let stats = text(0, Some(("bc", Some("bx"))));
    for (pattern, expected) in [
        ("*", Verdict::Maybe),
        ("b*", Verdict::Maybe),
        ("bc*", Verdict::Maybe),
        ("bb*", Verdict::Never),
        ("bx", Verdict::Maybe),
        ("bxx*", Verdict::Never),
        ("a*", Verdict::Never),
        ("c*", Verdict::Never),
        ("?c", Verdict::Maybe),
    ] {
        assert_eq!(verdict(pattern, false, &stats), expected, "{pattern}");
        assert_eq!(verdict(pattern, true, &stats), Verdict::Maybe, "{pattern}");
    }
    assert_eq!(
        verdict("z*", false, &text(0, Some(("bc", None)))),
        Verdict::Maybe
    );
    assert_eq!(
        verdict("a*", false, &text(2, Some(("bc", None)))),
        Verdict::Never
    );
    assert_eq!(verdict("*", false, &text(2, None)), Verdict::Never);
    assert_eq!(
        verdict("z*", true, &text(1, Some(("bc", Some("bx"))))),
        Verdict::Maybe
    );
}

#[test]
fn prune_of_few_values_judges_each() {
    use crate::filter::Members;
    use crate::filter::pattern::{Pattern, Syntax};
    use Comparison::{Eq, Gt, Lt};
    use Verdict::{Always, Maybe, Never};
    let with_values = |nulls| {
        let mut stats = int_stats(nulls, Some((1, 9)));
        stats.attributes[0].values = Some([1, 5, 9].map(Bound::Int).to_vec());
        stats
    };
    let (full, holes) = (with_values(0), with_values(1));
    let is_in = |members: &[i64]| BoundFilter::In {
        target: Target::Attribute(AttrId(3)),
        members: Members::Ints(members.to_vec()),
    };
    for (filter, on_full, on_holes) in [
        // Within the range, and yet nowhere.
        (int(Eq, 4), Never, Never),
        (int(Eq, 5), Maybe, Maybe),
        (int(Lt, 10), Always, Always),
        (int(Gt, 0), Always, Maybe),
        (int(Gt, 5), Maybe, Maybe),
        (is_in(&[2, 3, 4]), Never, Never),
        (is_in(&[2, 5]), Maybe, Maybe),
        // All values are members: no range says that.
        (is_in(&[1, 2, 5, 9]), Always, Maybe),
    ] {
        let found = [&full, &holes].map(|stats| prune(&filter, stats));
        assert_eq!(found, [on_full, on_holes], "{filter:?}");
    }
    let mut text = int_stats(0, None);
    let word = |word: &str| Bound::String(word.to_owned());
    text.attributes[0].min = Some(word("draft"));
    text.attributes[0].max = Some(word("public"));
    text.attributes[0].values = Some(["draft", "old", "public"].map(word).to_vec());
    let matches = |pattern: &str| {
        let compiled = Pattern::compile(pattern, Syntax::Regex).expect("a legal pattern");
        BoundFilter::Matches {
            target: Target::Attribute(AttrId(3)),
            pattern: std::sync::Arc::new(compiled),
        }
    };
    assert_eq!(prune(&matches("x"), &text), Never);
    assert_eq!(prune(&matches("^old$"), &text), Maybe);
    assert_eq!(prune(&matches("[drp]"), &text), Always);
    // An operand of another type is not judged.
    assert_eq!(prune(&int(Eq, 4), &text), Maybe);
}
