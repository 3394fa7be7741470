//! API keys: only their SHA-256 digests are known, and compared in constant time.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::config::KeyDigest;
use crate::error::{Error, ErrorKind, Result};

/// Characters of a digest that name its key in logs: enough to tell keys apart, useless as a key.
const NAME_CHARS: usize = 8;

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The key's configured name, else `key-` and the start of its digest; `anonymous` on an open node.
    pub name: String,
}

/// The digests of all valid keys. Empty means open: the configuration allows that on loopback only.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: Vec<KeyDigest>,
}

impl Keyring {
    /// Takes the keys of a configuration.
    pub fn new(keys: Vec<KeyDigest>) -> Self {
        Self { keys }
    }

    /// Reads `[name:]digest` texts. Errors: `InvalidRequest`, naming the position and never the text, which
    /// might be a key pasted by mistake.
    pub fn from_digests(digests: &[String]) -> Result<Self> {
        let parse = |(idx, text): (usize, &String)| {
            KeyDigest::parse(text).ok_or_else(|| {
                let message = format!(
                    "key digest {idx} is no SHA-256: expected 64 hexadecimal digits, found {} bytes",
                    text.len()
                );
                Error::new(ErrorKind::InvalidRequest, "invalid_config", message)
            })
        };
        let keys = digests
            .iter()
            .enumerate()
            .map(parse)
            .collect::<Result<_>>()?;
        Ok(Self { keys })
    }

    /// Whether any caller is accepted because no key is configured.
    pub fn is_open(&self) -> bool {
        self.keys.is_empty()
    }

    /// Finds who holds the key `bearer`.
    ///
    /// Every digest is compared whole, so that the time tells nothing about which one came close.
    /// Errors: `Unauthenticated` for a missing, blank or unknown key.
    pub fn verify(&self, bearer: Option<&str>) -> Result<Principal> {
        if self.is_open() {
            return Ok(Principal {
                name: "anonymous".to_owned(),
            });
        }
        let key = bearer.map(str::trim).filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| {
            refuse("no API key was sent: expected the header `Authorization: Bearer <key>`")
        })?;
        let sent: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let mut found = Choice::from(0);
        let mut place = 0_u64;
        for (idx, key) in (0_u64..).zip(&self.keys) {
            let same = key.sha256.ct_eq(&sent);
            place.conditional_assign(&idx, same);
            found |= same;
        }
        if !bool::from(found) {
            return Err(refuse("the API key is not valid"));
        }
        let configured = usize::try_from(place)
            .ok()
            .and_then(|place| self.keys.get(place)?.name.clone());
        Ok(Principal {
            name: configured.unwrap_or_else(|| short_name(&sent)),
        })
    }
}

fn short_name(digest: &[u8; 32]) -> String {
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("key-{}", &digits[..NAME_CHARS])
}

fn refuse(message: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, "unauthenticated", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `secret`, by `printf secret | sha256sum`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    /// SHA-256 of `other`.
    const OTHER: &str = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";

    fn keyring(digests: &[&str]) -> Keyring {
        let digests: Vec<String> = digests.iter().map(|digest| (*digest).to_owned()).collect();
        Keyring::from_digests(&digests).expect("valid digests")
    }

    #[test]
    fn verify_known_key_names_it_by_its_digest() {
        let keyring = keyring(&[OTHER, SECRET]);
        let principal = keyring.verify(Some("secret")).expect("known");
        assert_eq!(principal.name, "key-2bb80d53");
        let named = Keyring::from_digests(&[format!("ci:{OTHER}")]).expect("valid digest");
        assert_eq!(named.verify(Some(" other ")).expect("known").name, "ci");
    }

    #[test]
    fn verify_missing_blank_or_wrong_key_is_unauthenticated() {
        let keyring = keyring(&[SECRET]);
        for bearer in [None, Some(""), Some("  "), Some("secret2"), Some(SECRET)] {
            let error = keyring.verify(bearer).expect_err("not a key");
            assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{bearer:?}");
        }
    }

    #[test]
    fn verify_without_digests_accepts_everybody() {
        let open = keyring(&[]);
        assert!(open.is_open());
        for bearer in [None, Some(""), Some("anything")] {
            assert_eq!(open.verify(bearer).expect("open").name, "anonymous");
        }
    }

    #[test]
    fn digest_that_is_none_is_refused_without_its_text() {
        for text in ["secret", "", &SECRET[1..], &format!("+{}", &SECRET[1..])] {
            let error = Keyring::from_digests(&[text.to_owned()]).expect_err("no digest");
            assert!(
                error.message().contains("key digest 0"),
                "{}",
                error.message()
            );
            assert!(!error.message().contains("secret"), "{}", error.message());
        }
    }
}
