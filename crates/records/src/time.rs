//! Times of runs.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// When a run was recorded: Unix time in milliseconds.
///
/// Invariant: it has at most 13 digits, so it lies before the year 2287.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunTime(u64);

impl RunTime {
    /// The last time that a name can hold.
    pub const MAX: Self = Self(9_999_999_999_999);

    /// Takes Unix milliseconds. Later times than [`Self::MAX`] become [`Self::MAX`].
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(Self::MAX.0))
    }

    /// Returns Unix milliseconds.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the time one millisecond later.
    #[must_use]
    pub fn next(self) -> Self {
        Self::from_millis(self.0 + 1)
    }

    /// Returns the time that is later by `duration`, at most [`Self::MAX`].
    #[must_use]
    pub fn later_by(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Returns the time as the system's type.
    pub fn as_system_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0)
    }

    /// Returns the RFC 3339 text, in UTC.
    pub(crate) fn to_text(self) -> String {
        Timestamp::try_from(self.as_system_time()).map_or_else(|_| String::new(), |time| time.to_string())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let time: Timestamp = text.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok().map(Self::from_millis)
    }
}

impl From<SystemTime> for RunTime {
    /// Times before 1970 become 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
