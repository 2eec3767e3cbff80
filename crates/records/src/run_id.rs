//! Identifiers of runs.

use std::fmt;
use std::str::FromStr;

/// Identifies one run. All its records have the same id.
///
/// Invariant: 16 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(u64);

/// The text is not the id of a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the id of a run: it has 16 digits of lower-case hex")]
pub struct InvalidRunId(String);

impl RunId {
    const DIGITS: usize = 16;

    /// Makes up an id.
    pub fn random() -> Self {
        Self(fastrand::u64(..))
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match u64::from_str_radix(text, 16) {
            Ok(id) if is_hex && text.len() == Self::DIGITS => Ok(Self(id)),
            _ => Err(InvalidRunId(text.chars().take(2 * Self::DIGITS).collect())),
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:016x}", self.0))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}
