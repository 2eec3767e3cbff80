//! The names of files that are not published.

use std::fmt;
use std::time::{Duration, SystemTime};

/// The age at which an unpublished file is dead if nothing else is known of its owner: no upload is silent for so long.
const DEAD_AFTER: Duration = Duration::from_hours(24);

/// The name of an unpublished file: `put-<maker>-<unique>`, both 16 hexadecimal digits. Files of other names are not larder's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemporaryName {
    /// Who made the file. What the number stands for is up to the backend.
    pub maker: u64,
    /// Tells the files of one maker apart.
    pub unique: u64,
}

impl TemporaryName {
    /// Makes a random name.
    #[expect(clippy::new_without_default, reason = "no two names are the same")]
    pub fn new() -> Self {
        Self::of_maker(fastrand::u64(..))
    }

    /// Makes a random name of one maker.
    pub fn of_maker(maker: u64) -> Self {
        Self { maker, unique: fastrand::u64(..) }
    }

    /// Reads a name. Returns `None` for a name that is not larder's.
    pub fn parse(name: &str) -> Option<Self> {
        let (maker, unique) = name.strip_prefix("put-")?.split_once('-')?;
        Some(Self { maker: number(maker)?, unique: number(unique)? })
    }
}

impl fmt::Display for TemporaryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "put-{:016x}-{:016x}", self.maker, self.unique)
    }
}

fn number(digits: &str) -> Option<u64> {
    let is_digits = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| is_digits)
}

/// Whether a file that was last written at `modified` is dead at `now`. Both are times of the remote's clock.
pub fn is_dead(modified: SystemTime, now: SystemTime) -> bool {
    now.duration_since(modified).is_ok_and(|age| age > DEAD_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_others() {
        let name = TemporaryName::of_maker(7);
        assert_eq!(TemporaryName::parse(&name.to_string()), Some(name));
        assert_ne!(name, TemporaryName::of_maker(7));
        let foreign = [
            "put",
            "put-",
            "x",
            "put-12-34",
            "../put-0000000000000000-0000000000000000",
            "put-0000000000000000-00000000000000000",
            "put-0000000000000000-0000000000000000-x",
            "put-+000000000000000-0000000000000000",
            ".nfs0001",
        ];
        for name in foreign {
            assert_eq!(TemporaryName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_day_later_a_file_is_dead() {
        let made = SystemTime::UNIX_EPOCH + DEAD_AFTER;
        assert!(!is_dead(made, made + DEAD_AFTER));
        assert!(is_dead(made, made + DEAD_AFTER + Duration::from_secs(1)));
        // Clocks may go backwards.
        assert!(!is_dead(made, SystemTime::UNIX_EPOCH));
    }
}
