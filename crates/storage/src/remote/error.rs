//! Errors of remotes.

/// The remote cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRemote {
    /// No backend has the URL's scheme.
    #[error(
        "unknown remote scheme `{scheme}://` in `{url}`: known are {known}; a path is written as ./{scheme} or /{scheme}"
    )]
    UnknownScheme {
        /// The URL.
        url: String,
        /// Its scheme.
        scheme: String,
        /// The schemes that larder knows.
        known: String,
    },
    /// This build does not support the scheme.
    #[error(
        "this build of larder has no backend for `{scheme}://` remotes; build it with the Cargo feature `{feature}`"
    )]
    NoBackend {
        /// The scheme.
        scheme: &'static str,
        /// The feature that adds the backend.
        feature: &'static str,
    },
    /// The URL has a password. The error does not repeat it.
    #[error("a remote URL must not hold a password: it would end up in logs and in larder.toml")]
    Secret,
    /// The URL breaks a rule of its scheme.
    #[error("`{url}` is not a usable remote: {reason}")]
    Malformed {
        /// The URL, without its options.
        url: String,
        /// The rule, and what to write instead.
        reason: String,
    },
    /// The backend does not know the option.
    #[error("the remote {remote} has no option `{option}`: {known}")]
    UnknownOption {
        /// The remote.
        remote: String,
        /// The option.
        option: String,
        /// The options that the backend knows.
        known: String,
    },
    /// The value of the option cannot be used. The error does not repeat the value.
    #[error("the option `{option}` of the remote {remote} {problem}")]
    Option {
        /// The remote.
        remote: String,
        /// The option.
        option: String,
        /// The problem, as the end of the sentence.
        problem: String,
    },
    /// Something in the user's environment cannot be used, such as a variable that names a server.
    #[error("{0}")]
    Environment(String),
}

impl InvalidRemote {
    /// Returns the invalid option, if there is one.
    pub fn option(&self) -> Option<&str> {
        match self {
            Self::UnknownOption { option, .. } | Self::Option { option, .. } => Some(option),
            _ => None,
        }
    }

    /// Whether the problem is in the user's environment, not in the text or an option of the remote.
    pub fn is_of_environment(&self) -> bool {
        matches!(self, Self::Environment(_))
    }
}

/// A remote could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Its URL, its options or the environment are wrong.
    Invalid(InvalidRemote),
    /// Its backend failed.
    #[cfg_attr(
        not(feature = "local"),
        expect(dead_code, reason = "only local remotes are looked at when they are opened")
    )]
    Backend(larder_backend::Error),
}

impl From<InvalidRemote> for OpenError {
    fn from(error: InvalidRemote) -> Self {
        Self::Invalid(error)
    }
}
