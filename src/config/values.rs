//! The types of values, and how each is read from what a source gives.

use std::fmt;
use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use super::source::Given;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// When the check that a commit's block still exists may be skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// By kind of store: skipped where the store tells its own clock and the last proof is recent.
    #[default]
    Auto,
    /// Never skipped.
    AlwaysCheck,
}

/// Text that is never printed: `Debug` and serialisation show a placeholder.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one place that signs with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<redacted>")
    }
}

/// The SHA-256 of an API key, with an optional name for logs: `name:64 hex digits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDigest {
    /// What logs call the key.
    pub name: Option<String>,
    /// SHA-256 of the key's bytes.
    pub sha256: [u8; 32],
}

impl KeyDigest {
    /// Longest name, bytes: it is repeated on log lines.
    const NAME_BYTES_MAX: usize = 64;

    /// Parses `[name:]digest`; `None` where the digest is not 64 hex digits or the name is not made of
    /// 1 to 64 characters of `A-Z a-z 0-9 - _ .`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, digits) = match text.trim().rsplit_once(':') {
            Some((name, digits)) => (Some(name), digits),
            None => (None, text.trim()),
        };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let name_fits = name.is_none_or(|name| {
            (1..=Self::NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(legal)
        });
        let sha256 = decode_hex(digits)?;
        name_fits.then(|| Self {
            name: name.map(str::to_owned),
            sha256,
        })
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}:")?;
        }
        self.sha256
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for KeyDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn decode_hex(digits: &str) -> Option<[u8; 32]> {
    let nibble = |byte: u8| (byte as char).to_digit(16);
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = u8::try_from(nibble(*high)? << 4 | nibble(*low)?).ok()?;
    }
    Some(bytes)
}

/// A type that a key may have.
pub(super) trait Value: Sized {
    /// What an error says was expected.
    const EXPECTED: &'static str;
    /// Whether an error may show the value that was found.
    const SHOWN: bool = true;
    /// Reads a value; `None` where it does not fit.
    fn read(given: &Given) -> Option<Self>;
}

impl Value for String {
    const EXPECTED: &'static str = "text";
    fn read(given: &Given) -> Option<Self> {
        given
            .text()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";
    fn read(given: &Given) -> Option<Self> {
        match given {
            Given::Boolean(value) => Some(*value),
            Given::Untyped(word) => word.parse().ok(),
            Given::Text(_) | Given::Integer { .. } | Given::List(_) | Given::Other(_) => None,
        }
    }
}

macro_rules! whole_number {
    ($($number:ty),*) => {$(
        impl Value for $number {
            const EXPECTED: &'static str = "a whole number";
            fn read(given: &Given) -> Option<Self> {
                match given {
                    Given::Integer { digits, radix } => <$number>::from_str_radix(digits, *radix).ok(),
                    Given::Untyped(word) => word.parse().ok(),
                    Given::Text(_) | Given::Boolean(_) | Given::List(_) | Given::Other(_) => None,
                }
            }
        }
    )*};
}
whole_number!(u32, u64, usize);

impl Value for SocketAddr {
    const EXPECTED: &'static str = "an IP address and port such as `127.0.0.1:3000`";
    fn read(given: &Given) -> Option<Self> {
        given.text()?.parse().ok()
    }
}

impl Value for LogFormat {
    const EXPECTED: &'static str = "`text` or `json`";
    fn read(given: &Given) -> Option<Self> {
        match given.text()? {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

impl Value for Freshness {
    const EXPECTED: &'static str = "`auto` or `always_check`";
    fn read(given: &Given) -> Option<Self> {
        match given.text()? {
            "auto" => Some(Self::Auto),
            "always_check" => Some(Self::AlwaysCheck),
            _ => None,
        }
    }
}

/// An empty text unsets: compose files pass variables that are not set as empty ones.
impl Value for Option<String> {
    const EXPECTED: &'static str = String::EXPECTED;
    fn read(given: &Given) -> Option<Self> {
        let text = given.text()?;
        Some((!text.is_empty()).then(|| text.to_owned()))
    }
}

impl Value for Option<Secret> {
    const EXPECTED: &'static str = String::EXPECTED;
    const SHOWN: bool = false;
    fn read(given: &Given) -> Option<Self> {
        Some(Option::<String>::read(given)?.map(Secret))
    }
}

/// Not shown in errors: a key pasted in place of its digest must not reach a log.
impl Value for Vec<KeyDigest> {
    const EXPECTED: &'static str =
        "a list of `[name:]digest`, each digest the 64 hex digits of a SHA-256";
    const SHOWN: bool = false;
    fn read(given: &Given) -> Option<Self> {
        match given {
            Given::List(items) => items.iter().map(|item| KeyDigest::parse(item)).collect(),
            Given::Untyped(words) if words.trim().is_empty() => Some(Vec::new()),
            Given::Untyped(words) => words.split(',').map(KeyDigest::parse).collect(),
            Given::Text(_) | Given::Integer { .. } | Given::Boolean(_) | Given::Other(_) => None,
        }
    }
}
