//! A text that nobody is to see: not in a log, not in an error, not where a configuration is printed.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What is shown instead.
const SHOWN: &str = "(secret)";

/// See the module's text. Written out it is `(secret)`, so what was written cannot be read back.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Compares in a time that depends on the lengths only, so that nobody can guess it piece by piece.
    pub fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differences = own.iter().zip(given).fold(0, |found, (a, b)| std::hint::black_box(found | (a ^ b)));
        own.len() == given.len() && differences == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SHOWN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// serde's own messages quote what they found.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Secret(text)),
            other => Err(D::Error::custom(format!("invalid type: {}, expected a string", other.type_str()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_compared_and_never_shown() {
        let secret = Secret::new("open sesame");
        for (given, same) in
            [("open sesame", true), ("open sesamE", false), ("open", false), ("open sesame!", false), ("", false)]
        {
            assert_eq!(secret.is(given.as_bytes()), same, "{given}");
        }
        let shown = format!("{secret:?} {}", serde_json::json!(secret));
        assert_eq!(shown, "(secret) \"(secret)\"");
    }
}
