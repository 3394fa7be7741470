//! Settings as the log and manifests keep them: names and text values. What is not set has no entry, and names
//! that are not known here are kept as they are.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::types::settings::{Merging, MergingChange, Pinning, Settings, SettingsChange};

const READ_ONLY: &str = "read_only";
const PINNING: &str = "pinning";
const MERGE: &str = "compaction.enabled";
const MAX_SEGMENTS: &str = "compaction.max_segments";
const DEAD_ROWS: &str = "compaction.dead_rows";
const DEAD_PERCENT: &str = "compaction.dead_percent";
/// The value of what is switched on.
const ON: &str = "true";

/// Reads settings from what a state keeps.
pub fn of_config(config: &BTreeMap<String, String>) -> Settings {
    let is_on = |name: &str| config.get(name).is_some_and(|value| value == ON);
    Settings {
        read_only: is_on(READ_ONLY),
        pinning: parsed(config, PINNING).map(|replicas| Pinning { replicas }),
        merging: Merging {
            enabled: parsed(config, MERGE),
            max_segments: parsed(config, MAX_SEGMENTS),
            dead_rows: parsed(config, DEAD_ROWS),
            dead_percent: parsed(config, DEAD_PERCENT),
        },
    }
}

fn parsed<T: FromStr>(config: &BTreeMap<String, String>, name: &str) -> Option<T> {
    config.get(name).and_then(|value| value.parse().ok())
}

/// What a change sets; `None` removes.
pub fn to_config(change: SettingsChange) -> BTreeMap<String, Option<String>> {
    let mut settings = BTreeMap::new();
    if let Some(read_only) = change.read_only {
        let value = read_only.then(|| ON.to_owned());
        settings.insert(READ_ONLY.to_owned(), value);
    }
    if let Some(pinning) = change.pinning {
        let value = pinning.map(|pinning| pinning.replicas.to_string());
        settings.insert(PINNING.to_owned(), value);
    }
    let MergingChange {
        enabled,
        max_segments,
        dead_rows,
        dead_percent,
    } = change.merging;
    let texts = [
        (MERGE, enabled.map(text)),
        (MAX_SEGMENTS, max_segments.map(text)),
        (DEAD_ROWS, dead_rows.map(text)),
        (DEAD_PERCENT, dead_percent.map(text)),
    ];
    for (name, value) in texts {
        settings.extend(value.map(|value| (name.to_owned(), value)));
    }
    settings
}

fn text<T: ToString>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_as_they_were_changed_and_others_stay() {
        let mut config = BTreeMap::from([("note".to_owned(), "x".to_owned())]);
        let mut expected = Settings::default();
        let pinned = |replicas| Some(Pinning { replicas });
        for (read_only, pinning) in [
            (None, None),
            (Some(true), None),
            (None, Some(pinned(1))),
            (Some(false), Some(pinned(3))),
            (Some(true), Some(None)),
        ] {
            let change = SettingsChange {
                read_only,
                pinning,
                ..SettingsChange::default()
            };
            for (name, value) in to_config(change) {
                match value {
                    Some(value) => config.insert(name, value),
                    None => config.remove(&name),
                };
            }
            expected.read_only = read_only.unwrap_or(expected.read_only);
            expected.pinning = pinning.unwrap_or(expected.pinning);
            assert_eq!(of_config(&config), expected, "{change:?}");
            assert_eq!(change.is_empty(), to_config(change).is_empty());
        }
        assert_eq!(config.get("note").map(String::as_str), Some("x"));
        assert_eq!(config.len(), 2, "what is not set has no entry: {config:?}");
    }

    #[test]
    fn settings_of_merges_come_back_and_are_left_to_the_servers_again() {
        let mut config = BTreeMap::new();
        let mut apply = |merging: MergingChange| {
            let change = SettingsChange {
                merging,
                ..SettingsChange::default()
            };
            for (name, value) in to_config(change) {
                match value {
                    Some(value) => config.insert(name, value),
                    None => config.remove(&name),
                };
            }
            of_config(&config).merging
        };
        let set = MergingChange {
            enabled: Some(Some(false)),
            max_segments: Some(Some(4)),
            dead_rows: Some(Some(u64::MAX)),
            dead_percent: None,
        };
        let mut expected = Merging {
            enabled: Some(false),
            max_segments: Some(4),
            dead_rows: Some(u64::MAX),
            dead_percent: None,
        };
        assert_eq!(apply(set), expected);
        let again = MergingChange {
            enabled: Some(None),
            dead_percent: Some(Some(7)),
            ..MergingChange::default()
        };
        (expected.enabled, expected.dead_percent) = (None, Some(7));
        assert_eq!(apply(again), expected);
        assert_eq!(apply(MergingChange::default()), expected);
    }
}
