//! Giving an unpublished file the name of its object.

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamingOutcome {
    /// The file has the name.
    Done,
    /// Something had the name before.
    Exists,
    /// The directory, or the object in the way, has just gone: the next attempt meets something else.
    Again,
}
