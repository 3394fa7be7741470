//! Filters as text, which mean what their arrays mean.

use serde_json::Value;

/// Writes a filter out as text; none for one that text cannot say, such as an empty list.
pub(in crate::referee) fn sentence(filter: &Value) -> Option<String> {
    match filter.as_array()?.as_slice() {
        [Value::String(name), Value::Array(children)] if name == "And" || name == "Or" => {
            let children: Vec<String> = children.iter().map(sentence).collect::<Option<_>>()?;
            let joined = children.join(&format!(" {} ", name.to_uppercase()));
            (!children.is_empty()).then(|| format!("({joined})"))
        }
        [Value::String(name), child] if name == "Not" => Some(format!("NOT {}", sentence(child)?)),
        [Value::String(name), Value::String(op), value] => test(&quoted(name, '"'), op, value),
        _ => None,
    }
}

fn test(name: &str, op: &str, value: &Value) -> Option<String> {
    if value.is_null() {
        let is = match op {
            "Eq" => "IS NULL",
            "NotEq" => "IS NOT NULL",
            _ => return None,
        };
        return Some(format!("{name} {is}"));
    }
    let (before, verb) = match op {
        "Eq" => ("", "="),
        "NotEq" => ("", "!="),
        "Lt" => ("", "<"),
        "Lte" => ("", "<="),
        "Gt" => ("", ">"),
        "Gte" => ("", ">="),
        "In" => ("", "IN"),
        "NotIn" => ("", "NOT IN"),
        "Contains" => ("", "CONTAINS"),
        "NotContains" => ("", "NOT CONTAINS"),
        "ContainsAny" => ("", "CONTAINS ANY"),
        "NotContainsAny" => ("", "NOT CONTAINS ANY"),
        "AnyLt" => ("ANY ", "<"),
        "AnyLte" => ("ANY ", "<="),
        "AnyGt" => ("ANY ", ">"),
        "AnyGte" => ("ANY ", ">="),
        "Glob" => ("", "GLOB"),
        "NotGlob" => ("", "NOT GLOB"),
        "IGlob" => ("", "IGLOB"),
        "NotIGlob" => ("", "NOT IGLOB"),
        "Regex" => ("", "REGEX"),
        _ => return None,
    };
    let takes_list = ["In", "NotIn", "ContainsAny", "NotContainsAny"].contains(&op);
    if value.is_array() != takes_list {
        return None;
    }
    Some(format!("{before}{name} {verb} {}", operand(value)?))
}

fn operand(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(quoted(text, '\'')),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(operand).collect::<Option<_>>()?;
            (!items.is_empty()).then(|| format!("({})", items.join(", ")))
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn quoted(text: &str, quote: char) -> String {
    let twice = format!("{quote}{quote}");
    format!("{quote}{}{quote}", text.replace(quote, &twice))
}
