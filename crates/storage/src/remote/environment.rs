//! The user's environment, for remotes.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(any(feature = "gcs", feature = "ssh"))]
use crate::remote::error::InvalidRemote;

type ReadVariable = dyn Fn(&str) -> Option<OsString> + Send + Sync;
type AskSecret = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The parts of the user's environment that remotes need. A library does not read the environment itself.
///
/// By default it is empty. Then a login over SSH fails, for example, because no keys are found.
#[derive(Clone, Default)]
pub struct UserEnvironment {
    home: Option<PathBuf>,
    user: Option<String>,
    variables: Option<Arc<ReadVariable>>,
    ask_secret: Option<Arc<AskSecret>>,
}

impl UserEnvironment {
    /// Sets the home directory of the user.
    #[must_use]
    pub fn with_home(mut self, home: Option<PathBuf>) -> Self {
        self.home = home;
        self
    }

    /// Sets the user's name on this machine.
    #[must_use]
    pub fn with_user(mut self, user: Option<String>) -> Self {
        self.user = user;
        self
    }

    /// Sets the function that reads environment variables. An empty variable counts as unset.
    #[must_use]
    pub fn with_variables(
        mut self,
        look_up: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> Self {
        self.variables = Some(Arc::new(look_up));
        self
    }

    /// Sets the function that asks the user for a secret. It gets the name of the secret, such as `passphrase for
    /// /home/me/.ssh/id_rsa`, and returns `None` if nobody can answer. It may block its thread.
    #[must_use]
    pub fn with_secrets(mut self, ask: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.ask_secret = Some(Arc::new(ask));
        self
    }

    #[cfg(feature = "ssh")]
    pub(crate) fn home(&self) -> Option<&std::path::Path> {
        self.home.as_deref()
    }

    #[cfg(feature = "ssh")]
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The function that asks for a secret.
    #[cfg(feature = "ssh")]
    pub(crate) fn ask_secret(&self) -> Option<Arc<AskSecret>> {
        self.ask_secret.clone()
    }

    /// Returns the value of a variable, if it is set and not empty.
    #[cfg(any(feature = "gcs", feature = "ssh"))]
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        self.variables.as_ref()?(name).filter(|value| !value.is_empty())
    }

    /// Returns the value of a variable that must be text.
    #[cfg(any(feature = "gcs", feature = "ssh"))]
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, InvalidRemote> {
        self.variable(name)
            .map(OsString::into_string)
            .transpose()
            .map_err(|_| InvalidRemote::Environment(format!("the variable {name} is not UTF-8 text")))
    }
}

impl fmt::Debug for UserEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserEnvironment")
            .field("home", &self.home)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
