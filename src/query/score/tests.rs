use proptest::prelude::*;

use super::{BoundScore, Scores};
use crate::filter::RowMask;
use crate::query::request::{Curve, ScoreExpr};
use crate::rows::RowsBuilder;
use crate::types::document::RawValue;
use crate::types::filter::{CompareOp, Filter};
use crate::types::{AttributeType, DocId, IdKind, NamespaceSchema, ScalarType, Timestamp, Value};

fn schema() -> NamespaceSchema {
    let mut schema = NamespaceSchema {
        id_kind: Some(IdKind::Uint),
        ..NamespaceSchema::default()
    };
    for (name, kind) in [
        ("n", ScalarType::Int),
        ("u", ScalarType::Uint),
        ("f", ScalarType::Float),
        ("at", ScalarType::Datetime),
        ("text", ScalarType::String),
    ] {
        let kind = AttributeType::Scalar(kind);
        schema.add(name, kind, true).expect("a legal attribute");
    }
    let list = AttributeType::Array(ScalarType::Int);
    schema.add("list", list, true).expect("legal");
    schema
}

const DAY_MS: i64 = 86_400_000;

/// `n`, `u`, `f` and the day of `at` of each row; ids are the rows' numbers.
type Cells = (Option<i64>, Option<u64>, Option<f64>, Option<i64>);

fn scores_of(expr: &ScoreExpr, rows: &[Cells]) -> Scores {
    let schema = schema();
    let mut builder = RowsBuilder::new(&schema, rows.len());
    let attr = |name: &str| schema.get(name).expect("declared").id;
    for (id, (n, u, f, day)) in (0..).zip(rows) {
        let cells = [
            ("n", n.map(Value::Int)),
            ("u", u.map(Value::Uint)),
            ("f", f.map(Value::Float)),
            (
                "at",
                day.map(|day| Value::Datetime(Timestamp(day * DAY_MS))),
            ),
        ];
        let cells = cells.into_iter();
        let cells: Vec<_> = cells
            .filter_map(|(name, value)| Some((attr(name), value?)))
            .collect();
        builder.push_row(DocId::Uint(id), &cells).expect("fits");
    }
    let batch = builder.finish().expect("a batch").1;
    let score = BoundScore::bind(expr, &schema).expect("binds");
    score.eval(&batch)
}

fn attribute(name: &str) -> ScoreExpr {
    ScoreExpr::Attribute(name.to_owned())
}

fn dist(name: &str, origin: RawValue) -> ScoreExpr {
    ScoreExpr::Dist {
        attribute: name.to_owned(),
        origin,
    }
}

fn curve(midpoint: f64, exponent: f64) -> Curve {
    Curve {
        midpoint,
        is_duration: false,
        exponent,
    }
}

fn saturate(clause: ScoreExpr, midpoint: f64, exponent: f64) -> ScoreExpr {
    ScoreExpr::Saturate {
        clause: Box::new(clause),
        curve: curve(midpoint, exponent),
    }
}

fn decay(clause: ScoreExpr, midpoint: f64, exponent: f64) -> ScoreExpr {
    ScoreExpr::Decay {
        clause: Box::new(clause),
        curve: curve(midpoint, exponent),
    }
}

fn product(weight: f64, clause: ScoreExpr) -> ScoreExpr {
    ScoreExpr::Product {
        weight,
        clause: Box::new(clause),
    }
}

fn max(floor: Option<f64>, clauses: Vec<ScoreExpr>) -> ScoreExpr {
    ScoreExpr::Max { clauses, floor }
}

/// `n > 0`.
fn positive() -> ScoreExpr {
    ScoreExpr::Filter(Filter::Compare {
        attribute: "n".to_owned(),
        op: CompareOp::Gt,
        value: RawValue::Int(0),
    })
}

const ROWS: [Cells; 5] = [
    (Some(0), Some(3), Some(0.5), Some(0)),
    (Some(4), Some(0), Some(-0.25), Some(1)),
    (Some(10), Some(9), Some(2.0), Some(3)),
    (Some(-3), Some(1), Some(0.0), Some(-1)),
    (None, None, None, None),
];

#[test]
fn scores_of_each_function_are_its_formula() {
    let day = RawValue::String("1970-01-02".into());
    let six = DAY_MS as f64 / 4.0;
    for (name, expr, expected) in [
        ("attribute", attribute("u"), [3.0, 0.0, 9.0, 1.0, 0.0]),
        ("filter", positive(), [0.0, 1.0, 1.0, 0.0, 0.0]),
        (
            "max with a number",
            max(Some(2.0), vec![attribute("n")]),
            [2.0, 4.0, 10.0, 2.0, 2.0],
        ),
        (
            "saturate",
            saturate(attribute("n"), 5.0, 1.0),
            [0.0, 4.0 / 9.0, 10.0 / 15.0, 0.0, 0.0],
        ),
        (
            "saturate steeper",
            saturate(attribute("u"), 3.0, 2.0),
            [0.5, 0.0, 0.9, 0.1, 0.0],
        ),
        (
            "decay",
            decay(attribute("u"), 3.0, 1.0),
            [0.5, 1.0, 0.25, 0.75, 0.0],
        ),
        (
            "dist of integers",
            dist("n", RawValue::Int(5)),
            [5.0, 1.0, 5.0, 8.0, 0.0],
        ),
        (
            "dist of floats",
            dist("f", RawValue::Float(0.5)),
            [0.0, 0.75, 1.5, 0.5, 0.0],
        ),
        (
            "dist of times",
            decay(dist("at", day), six, 1.0),
            [0.2, 1.0, 1.0 / 9.0, 1.0 / 9.0, 0.0],
        ),
        (
            "product",
            product(2.5, attribute("u")),
            [7.5, 0.0, 22.5, 2.5, 0.0],
        ),
        (
            "sum",
            ScoreExpr::Sum(vec![attribute("u"), positive(), product(2.0, positive())]),
            [3.0, 3.0, 12.0, 1.0, 0.0],
        ),
        (
            "decay of a sum",
            decay(
                ScoreExpr::Sum(vec![attribute("u"), attribute("u")]),
                6.0,
                1.0,
            ),
            [0.5, 1.0, 0.25, 0.75, 0.0],
        ),
        ("empty sum", ScoreExpr::Sum(Vec::new()), [0.0; 5]),
    ] {
        let found = scores_of(&expr, &ROWS).values;
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-12,
                "{name}: {found} {expected}"
            );
        }
    }
}

#[test]
fn sparse_scores_are_dot_products_and_what_is_not_above_0_is_not_found() {
    let mut schema = schema();
    let attr = schema.add("words", AttributeType::Sparse, false);
    let attr = attr.expect("a legal attribute");
    let vector = |entries: &[(&str, f32)]| {
        let entries = entries.iter();
        Value::Sparse(
            entries
                .map(|(dim, weight)| ((*dim).into(), *weight))
                .collect(),
        )
    };
    let rows = [
        Some(vector(&[("a", 1.0), ("c", 0.5), ("d", 4.0)])),
        Some(vector(&[("", 8.0), ("b", 9.0), ("e", 1.0)])),
        Some(vector(&[("c", -2.0)])),
        Some(vector(&[("a", -1.0), ("c", 2.0), ("z", 3.0)])),
        Some(vector(&[])),
        None,
    ];
    let mut builder = RowsBuilder::new(&schema, rows.len());
    for (id, row) in (0..).zip(rows) {
        let cells: Vec<_> = row.map(|value| (attr, value)).into_iter().collect();
        builder.push_row(DocId::Uint(id), &cells).expect("fits");
    }
    let batch = builder.finish().expect("a batch").1;
    // Not in the order of names, and not of 16 bits.
    let query = [
        ("c", RawValue::Int(3)),
        ("z", RawValue::Float(1e30)),
        ("a", RawValue::Float(2.5)),
    ];
    let sparse = |entries: &[(&str, RawValue)]| ScoreExpr::Sparse {
        attribute: "words".to_owned(),
        vector: RawValue::Object(
            entries
                .iter()
                .map(|(dim, weight)| ((*dim).into(), weight.clone()))
                .collect(),
        ),
    };
    let scores = |expr: &ScoreExpr| BoundScore::bind(expr, &schema).expect("binds").eval(&batch);
    let found = scores(&sparse(&query));
    let large = f64::from(1e30_f32) * 3.0 + 3.5;
    assert_eq!(found.values, [4.0, 0.0, 0.0, large, 0.0, 0.0]);
    let above = RowMask::from_fn(6, |row| matches!(row, 0 | 3));
    assert_eq!(found.found, above);
    let sum = ScoreExpr::Sum(vec![sparse(&query), product(0.0, sparse(&query))]);
    assert_eq!(scores(&sum).found, above);
    assert_eq!(scores(&sparse(&[])).found, RowMask::none(6));
    for (expr, part) in [
        (
            sparse(&[("a", RawValue::Null)]),
            "query vector for attribute `words`: expected an object of numbers",
        ),
        (
            sparse(&[("a", RawValue::Float(1e300))]),
            "found inf under `a`",
        ),
        (
            ScoreExpr::Sparse {
                attribute: "n".to_owned(),
                vector: RawValue::Object(Vec::new()),
            },
            "expected a sparse vector, found int",
        ),
        (attribute("words"), "of type {}f16"),
    ] {
        let error = BoundScore::bind(&expr, &schema).expect_err("refused");
        assert!(error.message().contains(part), "{error}");
    }
}

#[test]
fn rows_are_found_by_filters_and_attributes_but_not_by_numbers() {
    let all = RowMask::all(5);
    let some = RowMask::from_fn(5, |row| matches!(row, 1 | 2));
    for (name, expr, expected) in [
        ("attribute", attribute("u"), &all),
        ("filter", positive(), &some),
        ("max adds none", max(Some(7.0), vec![positive()]), &some),
        (
            "sum of both",
            ScoreExpr::Sum(vec![positive(), attribute("u")]),
            &all,
        ),
        (
            "weight 0 of a filter",
            product(0.0, positive()),
            &RowMask::none(5),
        ),
        (
            "weight 0 of an attribute",
            product(0.0, attribute("u")),
            &all,
        ),
        ("nothing", ScoreExpr::Sum(Vec::new()), &RowMask::none(5)),
    ] {
        assert_eq!(&scores_of(&expr, &ROWS).found, expected, "{name}");
    }
}

#[test]
fn scores_beyond_the_largest_float_stay_numbers() {
    let rows = [(None, Some(u64::MAX), Some(f64::MAX), None)];
    let huge = product(f64::MAX, attribute("u"));
    let sum = ScoreExpr::Sum(vec![huge.clone(), huge.clone()]);
    assert_eq!(scores_of(&sum, &rows).values, [f64::MAX]);
    assert_eq!(scores_of(&product(0.0, huge.clone()), &rows).values, [0.0]);
    assert_eq!(
        scores_of(&saturate(huge.clone(), 1.0, 3.0), &rows).values,
        [1.0]
    );
    assert_eq!(scores_of(&decay(huge, 1.0, 3.0), &rows).values, [0.0]);
    let far = dist("f", RawValue::Float(f64::MIN));
    assert_eq!(scores_of(&far, &rows).values, [f64::MAX]);
}

#[test]
fn expressions_that_break_a_rule_are_refused() {
    let timed = |clause| ScoreExpr::Decay {
        clause: Box::new(clause),
        curve: Curve {
            midpoint: 1.0,
            is_duration: true,
            exponent: 1.0,
        },
    };
    let text = |text: &str| RawValue::String(text.into());
    for (expr, expected) in [
        (attribute("nope"), "attribute `nope` not found"),
        (attribute("id"), "of type id"),
        (attribute("text"), "of type string"),
        (attribute("list"), "of type []int"),
        (attribute("n"), "must not be negative"),
        (attribute("f"), "must not be negative"),
        (attribute("at"), "must not be negative"),
        (product(2.0, attribute("n")), "must not be negative"),
        (max(None, vec![attribute("n")]), "must not be negative"),
        (
            ScoreExpr::Sum(vec![attribute("u"), attribute("n")]),
            "must not be negative",
        ),
        (decay(attribute("n"), 1.0, 1.0), "must not be negative"),
        (dist("n", RawValue::Float(5.5)), "found float 5.5"),
        (dist("n", text("5")), "found string `5`"),
        (dist("at", RawValue::Int(5)), "found integer 5"),
        (dist("text", text("a")), "of type string"),
        (timed(dist("u", RawValue::Int(3))), "needs a datetime"),
        (timed(attribute("u")), "needs a datetime"),
    ] {
        let error = BoundScore::bind(&expr, &schema()).expect_err("refused");
        assert!(
            error.message().contains(expected),
            "{expr:?}: {}",
            error.message()
        );
    }
    let day = text("1970-01-01T06:00:00Z");
    BoundScore::bind(&timed(dist("at", day)), &schema()).expect("a duration of times");
    let floored = max(Some(0.0), vec![attribute("at")]);
    BoundScore::bind(&timed(floored), &schema()).expect("a duration of times");
}

proptest! {
    #[test]
    fn saturate_and_decay_of_any_number_stay_between_0_and_1_and_add_up_to_1(
        value in prop_oneof![0.0..1e6_f64, Just(0.0), Just(f64::MAX), Just(5e-324)],
        midpoint in prop_oneof![1e-3..1e6_f64, Just(f64::MAX), Just(5e-324)],
        exponent in 0.01..20.0_f64,
    ) {
        let rows = [(None, None, Some(value), None)];
        let of = |expr: ScoreExpr| scores_of(&expr, &rows).values[0];
        let floored = max(Some(0.0), vec![attribute("f")]);
        let grown = of(saturate(attribute("f"), midpoint, exponent));
        let fallen = of(decay(floored, midpoint, exponent));
        prop_assert!((0.0..=1.0).contains(&grown) && (0.0..=1.0).contains(&fallen));
        prop_assert!((grown + fallen - 1.0).abs() < 1e-9, "{} {}", grown, fallen);
    }
}

#[test]
fn score_that_is_one_product_of_sparse_vectors_says_so() {
    let mut schema = schema();
    let attr = schema.add("words", AttributeType::Sparse, false);
    let attr = attr.expect("legal");
    let entries = [("b", RawValue::Int(2)), ("a", RawValue::Float(-0.5))];
    let entries = entries.map(|(dim, weight)| (dim.into(), weight));
    let sparse = ScoreExpr::Sparse {
        attribute: "words".to_owned(),
        vector: RawValue::Object(entries.into()),
    };
    let bound = BoundScore::bind(&sparse, &schema).expect("binds");
    let (found, query) = bound.sparse().expect("one");
    let expected = [("a".into(), -0.5), ("b".into(), 2.0)];
    assert_eq!((found, &**query), (attr, &expected[..]));
    for other in [
        ScoreExpr::Product {
            weight: 1.0,
            clause: Box::new(sparse.clone()),
        },
        ScoreExpr::Sum(vec![sparse]),
        attribute("u"),
    ] {
        let bound = BoundScore::bind(&other, &schema).expect("binds");
        assert_eq!(bound.sparse(), None, "{other:?}");
    }
}
