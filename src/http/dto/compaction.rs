//! What is told of merges, and changed of when they come: the settings of a namespace, and what it is made of.

use serde_json::{Value, json};

use super::fields::{Field, Shape, field, names};
use super::json::{invalid, parse_object, unknown_field, wrong_type};
use crate::error::Result;
use crate::namespace::Compaction;
use crate::namespace::describe::Stats;
use crate::runtime::Meter;
use crate::types::settings::{MergingChange, SettingsChange};

/// The fields of an update of when segments are merged.
pub(in crate::http) const FIELDS: [Field; 4] = [
    field(
        "enabled",
        Shape::Flag,
        "Whether servers merge without being asked.",
    ),
    field(
        "max_segments",
        Shape::Count,
        "Small segments beyond which some are merged; 2 to 1,000.",
    ),
    field(
        "min_deleted_records",
        Shape::Count,
        "Fewest rows of a segment that are gone for it to be written anew.",
    ),
    field(
        "min_deleted_ratio",
        Shape::Any,
        "The share of its rows for that: 0.01 to 1.",
    ),
];

const MAX_SEGMENTS: (u64, u64) = (2, 1_000);

/// Parses an update: what it does not name stays, null is left to the servers again.
///
/// Errors: `Malformed` for wrong shapes; `InvalidRequest` for fields that are not known and values out of range.
pub(in crate::http) fn parse_compaction(body: &[u8], meter: &Meter) -> Result<SettingsChange> {
    let mut merging = MergingChange::default();
    for (name, value) in parse_object(body, meter)? {
        match name.as_str() {
            "enabled" => merging.enabled = Some(unless_null(&name, &value, "a boolean", flag)?),
            "max_segments" => {
                let most = unless_null(&name, &value, "a whole number", Value::as_u64)?;
                merging.max_segments = Some(most.map(max_segments).transpose()?);
            }
            "min_deleted_records" => {
                let rows = unless_null(&name, &value, "a whole number", Value::as_u64)?;
                merging.dead_rows = Some(rows);
            }
            "min_deleted_ratio" => {
                let ratio = unless_null(&name, &value, "a number", Value::as_f64)?;
                merging.dead_percent = Some(ratio.map(percent).transpose()?);
            }
            _ => return Err(unknown_field(&name, &names(&FIELDS))),
        }
    }
    Ok(SettingsChange {
        merging,
        ..SettingsChange::default()
    })
}

fn flag(value: &Value) -> Option<bool> {
    value.as_bool()
}

fn unless_null<T>(
    name: &str,
    value: &Value,
    expected: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>> {
    match (value, read(value)) {
        (Value::Null, _) => Ok(None),
        (_, Some(read)) => Ok(Some(read)),
        (other, None) => Err(wrong_type(name, other, expected)),
    }
}

fn max_segments(most: u64) -> Result<u32> {
    let (least, largest) = MAX_SEGMENTS;
    u32::try_from(most)
        .ok()
        .filter(|most| (least..=largest).contains(&u64::from(*most)))
        .ok_or_else(|| {
            let expected = format!("expected {least} to {largest}, found {most}");
            invalid("max_segments", expected)
        })
}

/// A share in hundredths. Finer ones are refused: they would not come back as they were set.
fn percent(ratio: f64) -> Result<u32> {
    let percent = (ratio * 100.0).round();
    let is_whole = (ratio * 100.0 - percent).abs() < 1e-9;
    match (1.0..=100.0).contains(&percent) && is_whole {
        true => Ok(percent as u32),
        false => Err(invalid(
            "min_deleted_ratio",
            format!("expected 0.01 to 1 in hundredths, found {ratio}"),
        )),
    }
}

/// When segments of a namespace are merged, by its settings and the server's.
pub(in crate::http) fn compaction_view(compaction: &Compaction) -> Value {
    let policy = compaction.policy;
    json!({
        "enabled": compaction.enabled,
        "max_segments": policy.max_segments,
        "min_deleted_records": policy.dead_rows,
        "min_deleted_ratio": policy.dead_percent as f64 / 100.0,
    })
}

/// What a namespace is made of.
pub(in crate::http) fn stats_view(stats: &Stats) -> Value {
    let segments = &stats.segments;
    let levels = segments.levels.iter().map(|(level, of)| {
        json!({
            "level": level,
            "segments": of.segments,
            "rows": of.rows,
            "logical_bytes": of.logical_bytes,
        })
    });
    let claims = stats.claims.iter();
    let claims = claims.map(|(seq, kind)| json!({"seq": seq.0, "kind": kind}));
    json!({
        "seq": stats.seq.0,
        "flushed_seq": stats.flushed_seq.0,
        "rows": segments.rows + stats.tail_rows,
        "dimensions": stats.dimensions,
        "segments": {
            "count": segments.count,
            "rows": segments.rows,
            "deleted_rows": segments.deleted_rows,
            "document_bytes": segments.document_bytes,
            "index_bytes": segments.index_bytes,
            "logical_bytes": segments.logical_bytes,
            "by_level": levels.collect::<Vec<Value>>(),
        },
        "tail": {
            "rows": stats.tail_rows,
            "logical_bytes": stats.tail_bytes,
            "memory_bytes": stats.tail_memory_bytes,
        },
        "wal": {"blocks": stats.wal_blocks.0, "bytes": stats.wal_blocks.1, "floor": stats.floor},
        "claims": claims.collect::<Vec<Value>>(),
        "compaction": {"enabled": stats.compaction.enabled, "debt_bytes": stats.debt_bytes},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::settings::Merging;

    fn parse(body: &str) -> Result<MergingChange> {
        parse_compaction(body.as_bytes(), &crate::http::dto::tests::meter())
            .map(|change| change.merging)
    }

    #[test]
    fn update_says_what_changes_and_what_is_left_to_the_servers() {
        let found = parse(r#"{"enabled": false, "max_segments": 4, "min_deleted_ratio": 0.07}"#);
        let expected = MergingChange {
            enabled: Some(Some(false)),
            max_segments: Some(Some(4)),
            dead_rows: None,
            dead_percent: Some(Some(7)),
        };
        assert_eq!(found.expect("it is legal"), expected);
        let found = parse(r#"{"enabled": null, "min_deleted_records": null}"#);
        let expected = MergingChange {
            enabled: Some(None),
            dead_rows: Some(None),
            ..MergingChange::default()
        };
        assert_eq!(found.expect("it is legal"), expected);
    }

    #[test]
    fn update_that_is_wrong_is_refused_by_the_name_of_its_field() {
        for (body, named) in [
            (r#"{"max_segments": 1}"#, "max_segments"),
            (r#"{"max_segments": 1001}"#, "max_segments"),
            (r#"{"max_segments": 1.5}"#, "max_segments"),
            (r#"{"enabled": "yes"}"#, "enabled"),
            (r#"{"min_deleted_ratio": 0}"#, "min_deleted_ratio"),
            (r#"{"min_deleted_ratio": 0.005}"#, "min_deleted_ratio"),
            (r#"{"min_deleted_ratio": 1.01}"#, "min_deleted_ratio"),
            (r#"{"min_deleted_records": -1}"#, "min_deleted_records"),
            (r#"{"fan_in": 8}"#, "fan_in"),
        ] {
            let error = parse(body).expect_err(body);
            assert!(error.message().contains(named), "{body}: {error}");
        }
    }

    #[test]
    fn view_shows_what_holds_and_every_ratio_comes_back() {
        for percent_set in 1..=100 {
            let merging = Merging {
                max_segments: Some(7),
                dead_percent: Some(percent_set),
                ..Merging::default()
            };
            let view = compaction_view(&Compaction::default().of(&merging));
            assert_eq!(view["max_segments"], 7);
            assert_eq!(view["enabled"], true);
            let ratio = view["min_deleted_ratio"].as_f64().expect("a number");
            assert_eq!(percent(ratio).expect("in range"), percent_set);
        }
    }
}
