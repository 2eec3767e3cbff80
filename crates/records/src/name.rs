//! The names of records: `<T>.<R>.<content hash>.json`.

use std::fmt;
use std::str::FromStr;

use larder_hashing::ContentHash;

use crate::run_id::RunId;
use crate::time::RunTime;

/// The last segment of a record's key.
///
/// Its text begins with 9,999,999,999,999 minus the time in Unix milliseconds, so names in their order are the newest
/// first. The id of the run and the content hash of the output follow. A run without outputs has `none` as content hash.
///
/// ```
/// use larder_records::{RecordName, RunTime};
///
/// let name: RecordName = "8200000000000.00000000deadbeef.none.json".parse()?;
/// assert_eq!(name.time, RunTime::from_millis(1_799_999_999_999));
/// assert_eq!(name.content_hash, RecordName::no_content());
/// # Ok::<(), larder_records::InvalidRecordName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordName {
    /// When the run was recorded.
    pub time: RunTime,
    /// The run.
    pub run: RunId,
    /// The content of the output. It is [`Self::no_content`] for a run without outputs.
    pub content_hash: ContentHash,
}

impl RecordName {
    /// Returns the content hash of a run without outputs: `none`.
    pub fn no_content() -> ContentHash {
        ContentHash::parse("none").expect("the text is a custom name")
    }
}

/// The text is not the name of a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not named <time>.<run>.<content hash>.json")]
pub struct InvalidRecordName;

/// The number of digits of the time.
const TIME_DIGITS: usize = 13;

impl FromStr for RecordName {
    type Err = InvalidRecordName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields = text.strip_suffix(".json").ok_or(InvalidRecordName)?.split('.');
        let (Some(time), Some(run), Some(content), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(InvalidRecordName);
        };
        if time.len() != TIME_DIGITS || !time.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidRecordName);
        }
        let reversed: u64 = time.parse().map_err(|_| InvalidRecordName)?;
        Ok(Self {
            time: RunTime::from_millis(RunTime::MAX.as_millis() - reversed),
            run: run.parse().map_err(|_| InvalidRecordName)?,
            content_hash: ContentHash::parse(content).map_err(|_| InvalidRecordName)?,
        })
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reversed = RunTime::MAX.as_millis() - self.time.as_millis();
        write!(f, "{reversed:013}.{}.{}.json", self.run, self.content_hash)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_are_read_as_they_were_written(millis in 0..=RunTime::MAX.as_millis(), content in "[a-zA-Z0-9_-]{0,127}") {
            // A prefix of a scheme would make the text malformed.
            let name = RecordName {
                time: RunTime::from_millis(millis),
                run: RunId::random(),
                content_hash: ContentHash::parse(format!("x{content}")).unwrap(),
            };
            prop_assert_eq!(name.to_string().parse::<RecordName>(), Ok(name));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            if let Ok(name) = text.parse::<RecordName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn names_sort_newest_first(a in 0..=RunTime::MAX.as_millis(), b in 0..=RunTime::MAX.as_millis()) {
            let name = |millis| RecordName { time: RunTime::from_millis(millis), run: RunId::random(), content_hash: RecordName::no_content() };
            if a > b {
                prop_assert!(name(a).to_string() < name(b).to_string());
            }
        }
    }

    #[test]
    fn foreign_names_are_refused() {
        for text in [
            "",
            ".json",
            "8200000000000.00000000deadbeef.none",
            "820000000000.00000000deadbeef.none.json",
            "+200000000000.00000000deadbeef.none.json",
            "8200000000000.00000000DEADBEEF.none.json",
            "8200000000000.0000000deadbeef.none.json",
            "8200000000000.+0000000deadbeef.none.json",
            "8200000000000.00000000deadbeef..json",
            "8200000000000.00000000deadbeef.blake3-12.json",
            "8200000000000.00000000deadbeef.a.b.json",
        ] {
            assert!(text.parse::<RecordName>().is_err(), "{text}");
        }
    }
}
