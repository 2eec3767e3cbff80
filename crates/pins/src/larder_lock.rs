//! The pins of a project.

use std::collections::BTreeMap;

use larder_hashing::OutputPath;

use crate::clash::{PinClash, PinnedNames};
use crate::emit::{append_pin, header};
use crate::pin::Pin;

/// The pins of a project: the content of a `larder.lock`.
///
/// Invariants: no path is inside another one, and no two paths differ only in case or Unicode normalization.
///
/// ```
/// use larder_hashing::{CommandHash, ContentHash, OutputPath};
/// use larder_pins::{LarderLock, Pin};
///
/// let mut lock = LarderLock::default();
/// lock.insert(Pin {
///     path: OutputPath::new("models/en")?,
///     content: ContentHash::parse("v2")?,
///     command: CommandHash::parse("nightly")?,
///     bytes: 304_619_520,
///     files: 12,
///     remote: None,
/// })?;
/// assert_eq!(LarderLock::parse(&lock.to_text(), "larder.lock".as_ref())?, lock);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LarderLock {
    pins: BTreeMap<String, Pin>,
    names: PinnedNames,
}

impl LarderLock {
    /// The name of the file in the project root.
    pub const NAME: &str = "larder.lock";

    /// Returns the text of the file. The pins are sorted by path.
    pub fn to_text(&self) -> String {
        let mut text = header();
        for pin in self.iter() {
            text.push('\n');
            append_pin(&mut text, pin);
        }
        text
    }

    /// Returns the pin of an output.
    pub fn get(&self, path: &OutputPath) -> Option<&Pin> {
        self.pins.get(path.as_str())
    }

    /// Returns the pins in the order of their paths.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Pin> {
        self.pins.values()
    }

    /// Adds or replaces the pin of an output. Returns the one that it replaces.
    ///
    /// # Errors
    ///
    /// The output clashes with another one. Nothing is changed.
    pub fn insert(&mut self, pin: Pin) -> Result<Option<Pin>, PinClash> {
        self.names.insert(&pin.path)?;
        Ok(self.pins.insert(pin.path.as_str().to_owned(), pin))
    }

    /// Checks that these outputs can be pinned together, beside the others.
    ///
    /// # Errors
    ///
    /// Two of them clash, or one clashes with another pin.
    pub fn check_paths<'p>(&self, paths: impl IntoIterator<Item = &'p OutputPath>) -> Result<(), PinClash> {
        let mut names = self.names.clone();
        paths.into_iter().try_for_each(|path| names.insert(path))
    }

    /// Removes the pin of an output.
    pub fn remove(&mut self, path: &OutputPath) -> Option<Pin> {
        let removed = self.pins.remove(path.as_str())?;
        self.names.remove(path);
        Some(removed)
    }

    /// Returns the number of pins.
    pub fn len(&self) -> usize {
        self.pins.len()
    }

    /// Returns whether there is no pin.
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty()
    }
}
