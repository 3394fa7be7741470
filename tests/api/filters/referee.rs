//! What a filter means for one document, straight from the page on the API and with nothing of the engine.

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// Globs that the matcher below understands: `?`, `*`, `[ab]`, `[!ab]` and plain characters.
pub(super) const GLOBS: [&str; 9] = ["*", "", "a*", "?", "*b", "[ab]*", "[!a]", "a?b", "A"];

type Meaning = fn(&str) -> bool;

/// Regular expressions, and what they mean.
pub(super) const REGEXES: [(&str, Meaning); 6] = [
    ("", |_| true),
    ("b$", |text| text.ends_with('b')),
    ("^a", |text| text.starts_with('a')),
    ("(?i)^b", |text| text.starts_with(['b', 'B'])),
    ("^.$", |text| text.chars().count() == 1),
    ("[^a-z]", |text| {
        text.contains(|found: char| !found.is_ascii_lowercase())
    }),
];

/// Whether a document matches; `types` are those of the attributes it may have.
pub(super) fn matches(
    types: &[(&str, &str)],
    document: &Map<String, Value>,
    filter: &Value,
) -> bool {
    let parts = filter.as_array().expect("a filter");
    let name = parts[0].as_str().expect("a name");
    let children = || parts[1].as_array().expect("filters").iter();
    match name {
        "And" => return children().all(|child| matches(types, document, child)),
        "Or" => return children().any(|child| matches(types, document, child)),
        "Not" => return !matches(types, document, &parts[1]),
        _ => {}
    }
    let (_, kind) = types
        .iter()
        .find(|(known, _)| *known == name)
        .expect("an attribute");
    let found = document.get(name).unwrap_or(&Value::Null);
    test(
        kind,
        found,
        parts[1].as_str().expect("an operator"),
        &parts[2],
    )
}

fn test(kind: &str, found: &Value, op: &str, operand: &Value) -> bool {
    let element = kind.trim_start_matches("[]");
    let missing = found.is_null();
    let same = |one: &Value, other: &Value| order(element, one, other).is_eq();
    // The elements of a list; of a scalar itself; of a missing value none.
    let elements: &[Value] = match found {
        Value::Null => &[],
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    };
    let wanted: &[Value] = match operand {
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    };
    let any_of = || {
        elements
            .iter()
            .any(|one| wanted.iter().any(|other| same(one, other)))
    };
    let any = |test: fn(Ordering) -> bool| {
        elements
            .iter()
            .any(|one| test(order(element, one, operand)))
    };
    let text =
        |test: &dyn Fn(&str) -> bool| elements.iter().any(|one| test(one.as_str().expect("text")));
    let pattern = || operand.as_str().expect("a pattern");
    let chars = |text: &str| text.chars().collect::<Vec<_>>();
    let glob = || text(&|text| fits(&chars(pattern()), &chars(text)));
    let lower = |text: &str| chars(&text.to_lowercase());
    let folded = || text(&|text| fits(&lower(pattern()), &lower(text)));
    match op {
        "Eq" if operand.is_null() => missing,
        "NotEq" if operand.is_null() => !missing,
        "Eq" => !missing && equal(element, found, operand),
        "NotEq" => missing || !equal(element, found, operand),
        "Lt" if operand.is_null() => false,
        "Lte" if operand.is_null() => missing,
        "Gt" if operand.is_null() => !missing,
        "Gte" if operand.is_null() => true,
        "Lt" => missing || order(element, found, operand).is_lt(),
        "Lte" => missing || order(element, found, operand).is_le(),
        "Gt" => !missing && order(element, found, operand).is_gt(),
        "Gte" => !missing && order(element, found, operand).is_ge(),
        "In" | "Contains" | "ContainsAny" => any_of(),
        "NotIn" | "NotContains" | "NotContainsAny" => !any_of(),
        "AnyLt" => any(Ordering::is_lt),
        "AnyLte" => any(Ordering::is_le),
        "AnyGt" => any(Ordering::is_gt),
        "AnyGte" => any(Ordering::is_ge),
        "Glob" => glob(),
        "NotGlob" => !glob(),
        "IGlob" => folded(),
        "NotIGlob" => !folded(),
        "Regex" => {
            let known = REGEXES.iter().find(|(known, _)| *known == pattern());
            text(&known.expect("a pattern of the table").1)
        }
        other => panic!("no such operator: {other}"),
    }
}

fn equal(element: &str, found: &Value, operand: &Value) -> bool {
    match (found, operand) {
        (Value::Array(items), Value::Array(wanted)) => {
            let pairs = || items.iter().zip(wanted);
            items.len() == wanted.len() && pairs().all(|(a, b)| order(element, a, b).is_eq())
        }
        (one, other) => order(element, one, other).is_eq(),
    }
}

/// Compares two values of a type as the documents of this test write them: a time's or a UUID's text has
/// the order of what it says.
fn order(kind: &str, one: &Value, other: &Value) -> Ordering {
    match kind {
        "int" => one.as_i64().cmp(&other.as_i64()),
        "uint" => one.as_u64().cmp(&other.as_u64()),
        "bool" => one.as_bool().cmp(&other.as_bool()),
        "float" => {
            let numbers = (one.as_f64(), other.as_f64());
            numbers.0.partial_cmp(&numbers.1).expect("no NaN")
        }
        _ => {
            let bytes = |value: &Value| value.as_str().expect("text").as_bytes().to_vec();
            bytes(one).cmp(&bytes(other))
        }
    }
}

/// Tries every way to share the text out among the parts of a glob.
fn fits(glob: &[char], text: &[char]) -> bool {
    match glob {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|at| fits(rest, &text[at..])),
        ['?', rest @ ..] => !text.is_empty() && fits(rest, &text[1..]),
        ['[', class @ ..] => {
            let end = class
                .iter()
                .position(|one| *one == ']')
                .expect("a closed class");
            let (class, rest) = (&class[..end], &class[end + 1..]);
            let (negated, class) = match class {
                ['!', class @ ..] => (true, class),
                class => (false, class),
            };
            text.split_first()
                .is_some_and(|(first, after)| class.contains(first) != negated && fits(rest, after))
        }
        [one, rest @ ..] => text.first() == Some(one) && fits(rest, &text[1..]),
    }
}
