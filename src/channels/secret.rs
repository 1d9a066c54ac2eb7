//! A value that must not be seen: never printed, never compared by its bytes in the open, wiped when it is dropped.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A credential, a key, or anything else of the kind.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that has to hand it over.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same without the line break that a file or a paste leaves at its end.
    pub fn trimmed(&self) -> &str {
        self.0.trim()
    }

    /// Whether it is the same text but for that, in a time that does not tell where they differ.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.trimmed().as_bytes().ct_eq(other).into()
    }
}

impl From<Zeroizing<String>> for Secret {
    fn from(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret::new("re_canary".into());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert!(secret.matches(b"re_canary") && !secret.matches(b"re_canarY") && !secret.matches(b""));
    }
}
