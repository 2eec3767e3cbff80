//! How an output differs from its pin.

use larder_hashing::ContentHash;

/// How an output in the project differs from its pin.
///
/// It follows from three contents: that of the pin, that of the disk, and the base, which is the content that was synchronized
/// last in this checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PinState {
    /// The output is as pinned.
    Clean,
    /// The pin is newer: the output is as it was synchronized last.
    Behind,
    /// The output was changed, and the pin was not.
    Modified,
    /// Both were changed, or it is not known which of them is newer.
    Diverged,
    /// There is no output.
    Missing,
}

impl PinState {
    /// Compares the contents. `disk` is `None` where there is no output.
    pub fn new(pin: &ContentHash, base: Option<&ContentHash>, disk: Option<&ContentHash>) -> Self {
        let Some(disk) = disk else { return Self::Missing };
        if disk == pin {
            return Self::Clean;
        }
        match base {
            Some(base) if base == disk => Self::Behind,
            Some(base) if base == pin => Self::Modified,
            _ => Self::Diverged,
        }
    }

    /// Returns its name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Behind => "behind",
            Self::Modified => "modified",
            Self::Diverged => "diverged",
            Self::Missing => "missing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_combinations_have_their_state() {
        use PinState::{Behind, Clean, Diverged, Missing, Modified};
        let hash = |text: &str| (!text.is_empty()).then(|| ContentHash::parse(text).unwrap());
        // Which of pin, base and disk are equal. Empty: there is none.
        for (pin, base, disk, state) in [
            ("1", "1", "1", Clean),
            ("1", "2", "1", Clean),
            ("1", "", "1", Clean),
            ("1", "2", "2", Behind),
            ("1", "1", "2", Modified),
            ("1", "2", "3", Diverged),
            ("1", "", "2", Diverged),
            ("1", "1", "", Missing),
            ("1", "2", "", Missing),
            ("1", "", "", Missing),
        ] {
            let found = PinState::new(&hash(pin).unwrap(), hash(base).as_ref(), hash(disk).as_ref());
            assert_eq!(found, state, "{pin} {base} {disk}");
        }
    }
}
