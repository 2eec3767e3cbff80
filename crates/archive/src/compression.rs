//! How an archive is compressed.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A compression format and its level: `zstd:3` by default.
///
/// ```
/// use larder_archive::{Compression, Format};
///
/// let compression: Compression = "gz:9".parse()?;
/// assert_eq!((compression.format(), compression.level()), (Format::Gzip, Some(9)));
/// assert_eq!(compression.to_string(), "gzip:9");
/// assert_eq!(Compression::default().to_string(), "zstd:3");
/// # Ok::<(), larder_archive::InvalidCompression>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Compression {
    format: Format,
    level: u8,
}

/// A compression format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Zstandard: levels 1 to 19, 3 by default.
    #[default]
    Zstd,
    /// gzip, which weasel reads: levels 1 to 9, 6 by default.
    Gzip,
    /// xz: levels 0 to 6, 3 by default. Higher ones need more memory to decompress than unpacking allows, and gain
    /// nothing on pieces of 4 MiB.
    Xz,
    /// bzip2: levels 1 to 9, 9 by default.
    Bzip2,
    /// No compression: a plain tar.
    None,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 5] = [Self::Zstd, Self::Gzip, Self::Xz, Self::Bzip2, Self::None];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::None => "none",
        }
    }

    /// Returns the valid levels and the default one.
    const fn levels(self) -> Option<(RangeInclusive<u8>, u8)> {
        match self {
            Self::Zstd => Some((1..=19, 3)),
            Self::Gzip => Some((1..=9, 6)),
            Self::Xz => Some((0..=6, 3)),
            Self::Bzip2 => Some((1..=9, 9)),
            Self::None => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Compression {
    /// Returns the format at its default level.
    pub const fn new(format: Format) -> Self {
        let level = match format.levels() {
            Some((_, level)) => level,
            None => 0,
        };
        Self { format, level }
    }

    /// Returns the format at the given level.
    ///
    /// # Errors
    ///
    /// The format has no such level.
    pub fn with_level(format: Format, level: u8) -> Result<Self, InvalidCompression> {
        match format.levels() {
            Some((levels, _)) if levels.contains(&level) => Ok(Self { format, level }),
            _ => Err(InvalidCompression::of_level(format, level.to_string())),
        }
    }

    /// Returns zstd at its default level.
    pub const fn zstd() -> Self {
        Self::new(Format::Zstd)
    }

    /// Returns gzip at its default level.
    pub const fn gzip() -> Self {
        Self::new(Format::Gzip)
    }

    /// No compression.
    pub const fn none() -> Self {
        Self::new(Format::None)
    }

    /// The format.
    pub const fn format(self) -> Format {
        self.format
    }

    /// The level. [`Format::None`] has none.
    pub fn level(self) -> Option<u8> {
        self.format.levels().map(|_| self.level)
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::new(Format::default())
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level() {
            Some(level) => f.pad(&format!("{}:{level}", self.format)),
            None => f.pad(self.format.name()),
        }
    }
}

/// The text is not a [`Compression`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCompression {
    /// No format has this name.
    #[error(
        "unknown compression `{0}`: it is one of zstd, gzip, xz, bzip2, none, with `:LEVEL` behind it if wanted"
    )]
    UnknownFormat(String),
    /// The format has levels, but not this one.
    #[error("{format} has no level `{level}`: its levels are {} to {}", levels.start(), levels.end())]
    Level {
        /// The format.
        format: Format,
        /// The refused level.
        level: String,
        /// The valid levels.
        levels: RangeInclusive<u8>,
    },
    /// The format has no levels.
    #[error("{format} takes no level, but `{level}` is given")]
    NoLevels {
        /// The format.
        format: Format,
        /// The refused level.
        level: String,
    },
}

impl InvalidCompression {
    fn of_level(format: Format, level: String) -> Self {
        match format.levels() {
            Some((levels, _)) => Self::Level { format, level, levels },
            None => Self::NoLevels { format, level },
        }
    }
}

impl FromStr for Compression {
    type Err = InvalidCompression;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let format = match name {
            "gz" => Format::Gzip,
            "bz2" => Format::Bzip2,
            name => Format::ALL
                .into_iter()
                .find(|format| format.name() == name)
                .ok_or_else(|| InvalidCompression::UnknownFormat(text.to_owned()))?,
        };
        let Some(level) = level else { return Ok(Self::new(format)) };
        let refused = || InvalidCompression::of_level(format, level.to_owned());
        // `parse` accepts a leading `+`, which would be a second spelling of the same level.
        if !level.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        Self::with_level(format, level.parse().map_err(|_| refused())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read_and_shown_in_one_way() {
        let rows = [
            ("zstd", "zstd:3"),
            ("zstd:19", "zstd:19"),
            ("gzip", "gzip:6"),
            ("gz:1", "gzip:1"),
            ("xz", "xz:3"),
            ("xz:0", "xz:0"),
            ("bzip2", "bzip2:9"),
            ("bz2:4", "bzip2:4"),
            ("none", "none"),
        ];
        for (text, shown) in rows {
            let compression: Compression = text.parse().expect(text);
            assert_eq!(compression.to_string(), shown);
            assert_eq!(shown.parse(), Ok(compression));
        }
    }

    #[test]
    fn an_invalid_compression_is_refused_with_the_valid_ones() {
        let refused = |text: &str| text.parse::<Compression>().expect_err(text).to_string();
        for text in ["", "zip", "ZSTD", "zst", " zstd"] {
            assert!(refused(text).contains("it is one of zstd, gzip, xz, bzip2, none"), "{text}");
        }
        for text in ["zstd:0", "zstd:20", "zstd:", "zstd:-1", "zstd:+3", "zstd:3:3", "zstd:x", "zstd:999"] {
            assert!(refused(text).ends_with("its levels are 1 to 19"), "{text}");
        }
        assert!(refused("gzip:0").ends_with("1 to 9"));
        assert!(refused("xz:7").ends_with("0 to 6"));
        assert!(refused("bz2:10").ends_with("1 to 9"));
        assert_eq!(refused("none:1"), "none takes no level, but `1` is given");
    }
}
