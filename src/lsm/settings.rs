//! Settings as the log and manifests keep them: names and text values. What is not set has no entry, and names
//! that are not known here are kept as they are.

use std::collections::BTreeMap;

use crate::types::settings::{Pinning, Settings, SettingsChange};

const READ_ONLY: &str = "read_only";
const PINNING: &str = "pinning";
/// The value of what is switched on.
const ON: &str = "true";

/// Reads settings from what a state keeps.
pub fn of_config(config: &BTreeMap<String, String>) -> Settings {
    let is_on = |name: &str| config.get(name).is_some_and(|value| value == ON);
    Settings {
        read_only: is_on(READ_ONLY),
        pinning: config
            .get(PINNING)
            .and_then(|value| value.parse().ok())
            .map(|replicas| Pinning { replicas }),
    }
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
    settings
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
            let change = SettingsChange { read_only, pinning };
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
}
