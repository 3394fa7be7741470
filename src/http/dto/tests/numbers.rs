//! Numbers mean what was written, in lists and alone; lists read at once as those read number by number.

use proptest::collection::vec;
use proptest::prelude::*;

use super::parse_write;
use crate::http::dto::numbers::{count, read};
use crate::types::document::RawValue;

/// Texts that a reader which multiplies by powers of ten gets wrong in the last place, and edges.
const EXACT: &[&str] = &[
    "130.65331632653061",
    "18.916268423199654",
    "0.30000000000000004",
    "123456789.12345678",
    "9007199254740993.0",
    "5e-324",
    "2.2250738585072014e-308",
    "1.7976931348623157e308",
    "-0.0",
    "-0",
    "1E2",
    "1e+2",
];

fn first_row(values: &str) -> Vec<RawValue> {
    let body = format!(r#"{{"upsert_rows":[{{"id":1,{values}}}]}}"#);
    let mut batch = parse_write(body.as_bytes()).expect("valid");
    let attributes = batch.upserts.remove(0).attributes;
    attributes.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn floats_written_alone_or_in_a_list_are_the_nearest_to_their_text() {
    for text in EXACT {
        let expected: f64 = text.parse().expect("a number");
        let values = first_row(&format!(r#""a":{text},"b":[{text}],"c":[{text},null]"#));
        let RawValue::Float(alone) = values[0] else {
            panic!("{text}: {:?}", values[0])
        };
        assert_eq!(alone.to_bits(), expected.to_bits(), "{text} alone");
        let RawValue::Numbers {
            values: list,
            integers,
        } = &values[1]
        else {
            panic!("{text}: {:?}", values[1])
        };
        assert_eq!(list[0].to_bits(), expected.to_bits(), "{text} in a list");
        assert!(!integers, "{text}");
        let RawValue::Array(mixed) = &values[2] else {
            panic!("{text}: {:?}", values[2])
        };
        assert_eq!(mixed[0], RawValue::Float(expected), "{text} beside null");
    }
}

#[test]
fn read_of_what_is_no_list_of_plain_numbers_leaves_it_alone() {
    for text in [
        "1",
        "[]",
        "[ ]",
        r#""[1]""#,
        "[null]",
        r#"["1,2"]"#,
        "[[1]]",
        "{}",
        "[true,1]",
    ] {
        assert_eq!(count(text), None, "{text}");
    }
    for text in [
        "[1,null]",
        "[1,[2]]",
        r#"[1,"2"]"#,
        "[1e999]",
        "[-1e999]",
        "[1234567890123456]",
    ] {
        let n = count(text).expect("begins with a number");
        assert_eq!(read(text, n), None, "{text}");
    }
    let spaced = "[ 1 ,\n-2\t, 3.5 ]";
    assert_eq!(count(spaced), Some(3));
    assert_eq!(read(spaced, 3), Some((vec![1.0, -2.0, 3.5], false)));
    assert_eq!(
        read("[999999999999999]", 1),
        Some((vec![999_999_999_999_999.0], true))
    );
}

/// A number as a client may write it.
fn written() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        (-1_000i64..1_000).prop_map(|n| n.to_string()),
        any::<f64>()
            .prop_filter("JSON has no others", |n| n.is_finite())
            .prop_map(|n| format!("{n:?}")),
        any::<f32>()
            .prop_filter("JSON has no others", |n| n.is_finite())
            .prop_map(|n| n.to_string()),
        (any::<u64>(), 0i32..340).prop_map(|(digits, shift)| format!("{digits}e-{shift}")),
        (any::<u64>(), any::<u64>()).prop_map(|(whole, part)| format!("{whole}.{part}")),
    ]
}

proptest! {
    #[test]
    fn read_of_any_list_equals_reading_number_by_number(texts in vec(written(), 1..40)) {
        let list = format!("[{}]", texts.join(","));
        prop_assert_eq!(count(&list), Some(texts.len()));
        let integer = |text: &String| text != "-0" && !text.contains(['.', 'e']);
        let Some((numbers, integers)) = read(&list, texts.len()) else {
            prop_assert!(texts.iter().any(|text| text.len() > 15 && integer(text)));
            return Ok(());
        };
        let expected: Vec<u64> = texts.iter().map(|text| text.parse::<f64>().expect("a number").to_bits()).collect();
        let found: Vec<u64> = numbers.iter().map(|number| number.to_bits()).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(integers, texts.iter().all(integer));
    }
}
