//! Whether an answer is the one to expect.

use serde_json::{Value, json};

use super::model::Refused;
use super::query::{Expected, Found, Rows};
use super::totals::{Group, Number, Totals};

/// Compares the answer to a query.
pub(super) fn of_query(
    expected: &Result<Expected, Refused>,
    status: u16,
    answer: &Value,
) -> Result<(), String> {
    let expected = match expected {
        Ok(expected) => expected,
        Err(refused) => return refusal(*refused, status, answer),
    };
    if status != 200 {
        return Err(format!("expected status 200, found {status}"));
    }
    of_ask(expected, answer)
}

/// Compares the answer to one question, or to several.
pub(super) fn of_ask(expected: &Expected, answer: &Value) -> Result<(), String> {
    if let Expected::Several(several) = expected {
        let results = answer["results"].as_array().ok_or("no list of results")?;
        if results.len() != several.len() {
            return Err(format!("expected {} results", several.len()));
        }
        let mut pairs = several.iter().zip(results).enumerate();
        return pairs.try_for_each(|(at, (expected, result))| {
            of_ask(expected, result).map_err(|difference| format!("result {at}: {difference}"))
        });
    }
    let there = |name: &str| !answer[name].is_null();
    let found = ["rows", "aggregations", "aggregation_groups"].map(there);
    match expected {
        Expected::Rows(rows) if found == [true, false, false] => of_rows(rows, answer),
        Expected::Totals(totals) if found == [false, !totals.grouped, totals.grouped] => {
            of_totals(totals, answer)
        }
        other => Err(format!("another kind of answer than {other:?}")),
    }
}

fn of_totals(expected: &Totals, answer: &Value) -> Result<(), String> {
    let wrong = || format!("expected {expected:?}");
    if !expected.grouped {
        let same = of_group(&expected.groups[0], &answer["aggregations"]);
        return same.then_some(()).ok_or_else(wrong);
    }
    let found = answer["aggregation_groups"].as_array().ok_or_else(wrong)?;
    let mut pairs = expected.groups.iter().zip(found);
    let same =
        found.len() == expected.groups.len() && pairs.all(|(one, found)| of_group(one, found));
    same.then_some(()).ok_or_else(wrong)
}

fn of_group(expected: &Group, found: &Value) -> bool {
    let n_fields = expected.keys.len() + expected.numbers.len();
    found
        .as_object()
        .is_some_and(|found| found.len() == n_fields)
        && expected.keys.iter().all(|(name, key)| found[name] == *key)
        && expected.numbers.iter().all(|(label, number)| {
            let found = &found[label];
            match number {
                Number::Whole(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                    (Ok(number), _) => *found == json!(number),
                    (_, Ok(number)) => *found == json!(number),
                    // Beyond what the reader of this test keeps exact.
                    _ => found.as_f64() == Some(*number as f64),
                },
                Number::Float(number) => {
                    let near = |found: f64| f64::abs(found - number) <= f64::abs(*number) * 1e-15;
                    found.is_f64() && found.as_f64().is_some_and(near)
                }
            }
        })
}

fn of_rows(expected: &Rows, answer: &Value) -> Result<(), String> {
    let rows = answer["rows"].as_array().ok_or("no list of rows")?;
    let window = expected.window();
    if rows.len() != window.len() {
        return Err(format!("expected {} rows: {}", window.len(), show(&window)));
    }
    let mut before: Option<(&Found, f64)> = None;
    for (at, (row, wanted)) in rows.iter().zip(&window).enumerate() {
        let mut row = row.clone();
        let names = wanted.computed.iter().map(|(name, _)| name);
        let fields = row.as_object_mut().ok_or("no row")?;
        let computed: Vec<Option<Value>> = names.map(|name| fields.remove(name)).collect();
        let dist = fields.remove("$dist");
        let Some((place, margin)) = wanted.dist else {
            if row != wanted.row || dist.is_some() || !near(wanted, &computed) {
                return Err(format!(
                    "row {at}: expected {} {:?}: {}",
                    wanted.row,
                    wanted.computed,
                    show(&window)
                ));
            }
            continue;
        };
        // Near ties may change places: the row must be as far as the one expected here, and as far as it says.
        let dist = dist.as_ref().and_then(Value::as_f64).ok_or("no $dist")?;
        let found = expected.found.iter().find(|one| one.row == row);
        let found = found.ok_or_else(|| format!("row {at}: not to be found: {}", show(&window)))?;
        if !near(found, &computed) {
            return Err(format!("row {at}: expected {:?}", found.computed));
        }
        let (own, own_margin) = found.dist.ok_or("no distance")?;
        if f64::abs(own - dist) > own_margin || f64::abs(place - own) > margin + own_margin {
            return Err(format!(
                "row {at}: expected {place}, or {own} of this id, found {dist}: {}",
                show(&window)
            ));
        }
        if let Some((one, one_dist)) = before {
            let early = match expected.descending {
                true => dist > one_dist,
                false => dist < one_dist,
            };
            if early || dist == one_dist && found.id <= one.id {
                return Err(format!("row {at}: does not come after the one before"));
            }
        }
        before = Some((found, dist));
    }
    Ok(())
}

/// Compares the answer to a write: the fields expected, and none of those that must not be there.
pub(super) fn of_write(
    expected: &Result<Value, Refused>,
    status: u16,
    answer: &Value,
) -> Result<(), String> {
    let expected = match expected {
        Ok(expected) => expected,
        Err(refused) => return refusal(*refused, status, answer),
    };
    if status != 200 {
        return Err(format!("expected {expected}, found status {status}"));
    }
    for name in [
        "status",
        "rows_affected",
        "rows_upserted",
        "rows_patched",
        "rows_deleted",
        "rows_remaining",
        "upserted_ids",
        "patched_ids",
        "deleted_ids",
    ] {
        let mut found = answer[name].clone();
        if let Some(ids) = found.as_array_mut() {
            ids.sort_by(|one, other| match (one.as_u64(), other.as_u64()) {
                (Some(one), Some(other)) => one.cmp(&other),
                _ => one.as_str().cmp(&other.as_str()),
            });
        }
        if found != expected[name] {
            return Err(format!(
                "{name}: expected {}, found {found}",
                expected[name]
            ));
        }
    }
    Ok(())
}

/// Compares a refusal.
pub(super) fn refusal(refused: Refused, status: u16, answer: &Value) -> Result<(), String> {
    let says = answer["status"] == "error" && answer["error"].is_string();
    if status == refused && says {
        return Ok(());
    }
    Err(format!("expected status {refused}, found {status}"))
}

/// Whether what is computed of a row is near what it should be.
fn near(wanted: &Found, computed: &[Option<Value>]) -> bool {
    let mut pairs = wanted.computed.iter().zip(computed);
    pairs.all(|((_, wanted), found)| match (wanted, found) {
        (None, None) => true,
        (Some((wanted, margin)), Some(found)) => found
            .as_f64()
            .is_some_and(|found| f64::abs(found - wanted) <= *margin),
        _ => false,
    })
}

fn show(window: &[&Found]) -> Value {
    let row = |found: &&Found| json!([found.row, found.dist.map(|(dist, _)| dist)]);
    window.iter().map(row).collect()
}
