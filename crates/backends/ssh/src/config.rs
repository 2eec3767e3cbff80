//! The configuration of a remote.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The keys that OpenSSH tries by default, in its order. Types that libssh2 does not know are left out.
const DEFAULT_IDENTITIES: [&str; 3] = [".ssh/id_rsa", ".ssh/id_ecdsa", ".ssh/id_ed25519"];

/// How to open an [`crate::SshBackend`].
///
/// Environment variables are not read. [`SshConfig::with_openssh_defaults`] sets the files that OpenSSH uses for a home
/// directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SshConfig {
    /// The host, or its alias in the configuration files.
    pub host: String,
    /// The port. The default is that of the configuration files, or else 22.
    pub port: Option<u16>,
    /// The user who logs in. The default is that of the configuration files, or else [`SshConfig::local_user`].
    pub user: Option<String>,
    /// The directory on the host.
    pub path: RemotePath,
    /// The user's name on this machine. The default is the system's name for the user of this process.
    pub local_user: Option<String>,
    /// The user's home directory on this machine. `~` and `%d` in configuration files stand for it.
    pub home: Option<PathBuf>,
    /// Configuration files of OpenSSH. The first value of an option counts. Missing files are ignored.
    pub config_files: Vec<PathBuf>,
    /// Files of known hosts, unless a configuration file names others. New hosts are added to the first file, if the
    /// configuration accepts them.
    pub known_hosts: Vec<PathBuf>,
    /// More files of known hosts, which are only read.
    pub global_known_hosts: Vec<PathBuf>,
    /// The socket of the user's agent.
    pub agent: Option<PathBuf>,
    /// Private keys, unless a configuration file names others. Missing files are ignored.
    pub identities: Vec<PathBuf>,
    /// The function that asks for the passphrase of a private key.
    pub passphrase: Option<AskPassphrase>,
    /// The time without progress after which an operation fails, all its attempts included.
    pub stall_timeout: Duration,
}

/// The directory of a remote on its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemotePath {
    /// A path from the root of the file system. It begins with `/`.
    Absolute(String),
    /// A path from the home directory of the user on the host. It may be empty.
    Home(String),
}

/// A passphrase. `Debug` does not show it.
#[derive(Clone)]
pub struct Passphrase(String);

impl Passphrase {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Asks for the passphrase of the private key in a file. Returns `None` if nobody can answer. It is called once for each file,
/// on a thread that may block.
#[derive(Clone)]
pub struct AskPassphrase(Arc<Ask>);

type Ask = dyn Fn(&Path) -> Option<Passphrase> + Send + Sync;

impl AskPassphrase {
    /// Wraps a function.
    pub fn new(ask: impl Fn(&Path) -> Option<Passphrase> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub(crate) fn ask(&self, identity: &Path) -> Option<Passphrase> {
        (self.0)(identity)
    }
}

impl fmt::Debug for AskPassphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AskPassphrase(…)")
    }
}

impl SshConfig {
    /// Configures a remote in the directory `path` of `host`, without keys and known hosts: see
    /// [`SshConfig::with_openssh_defaults`].
    pub fn new(host: impl Into<String>, path: RemotePath) -> Self {
        Self {
            host: host.into(),
            port: None,
            user: None,
            path,
            local_user: None,
            home: None,
            config_files: Vec::new(),
            known_hosts: Vec::new(),
            global_known_hosts: Vec::new(),
            agent: None,
            identities: Vec::new(),
            passphrase: None,
            stall_timeout: larder_backend::DEFAULT_STALL_TIMEOUT,
        }
    }

    /// Sets the files that OpenSSH uses for a user with this home directory: the configuration, known hosts and keys of the user
    /// and of the machine.
    #[must_use]
    pub fn with_openssh_defaults(mut self, home: &Path) -> Self {
        self.home = Some(home.to_owned());
        self.config_files = vec![home.join(".ssh/config"), PathBuf::from("/etc/ssh/ssh_config")];
        self.known_hosts = vec![home.join(".ssh/known_hosts"), home.join(".ssh/known_hosts2")];
        self.global_known_hosts =
            ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from).into();
        self.identities = DEFAULT_IDENTITIES.iter().map(|name| home.join(name)).collect();
        self
    }

    /// Sets the user who logs in.
    #[must_use]
    pub fn with_user(mut self, user: Option<String>) -> Self {
        self.user = user;
        self
    }

    /// Sets the port.
    #[must_use]
    pub fn with_port(mut self, port: Option<u16>) -> Self {
        self.port = port;
        self
    }

    /// Sets the user's name on this machine.
    #[must_use]
    pub fn with_local_user(mut self, user: Option<String>) -> Self {
        self.local_user = user;
        self
    }

    /// Sets the socket of the user's agent.
    #[must_use]
    pub fn with_agent(mut self, socket: Option<PathBuf>) -> Self {
        self.agent = socket;
        self
    }

    /// Sets the function that asks for passphrases.
    #[must_use]
    pub fn with_passphrase(mut self, ask: Option<AskPassphrase>) -> Self {
        self.passphrase = ask;
        self
    }

    /// Sets the time without progress after which an operation fails. `None` stands for the default.
    #[must_use]
    pub fn with_stall_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.stall_timeout = timeout.unwrap_or(larder_backend::DEFAULT_STALL_TIMEOUT);
        self
    }

    /// The URL of the remote.
    pub(crate) fn url(&self) -> String {
        let mut url = "ssh://".to_owned();
        if let Some(user) = &self.user {
            url.extend(utf8_percent_encode(user, IN_USER));
            url.push('@');
        }
        if self.host.contains(':') {
            url.extend(["[", &self.host, "]"]);
        } else {
            url.push_str(&self.host);
        }
        if let Some(port) = self.port {
            url.push(':');
            url.push_str(&port.to_string());
        }
        let path = match &self.path {
            RemotePath::Absolute(path) => path.clone(),
            RemotePath::Home(path) => format!("/~/{path}"),
        };
        url.extend(utf8_percent_encode(path.trim_end_matches('/'), IN_PATH));
        url
    }
}

/// The characters that are written as `%XX` in the path of a URL.
const IN_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');
/// The characters that are written as `%XX` in the name of a user.
const IN_USER: &AsciiSet = &IN_PATH.add(b'/').add(b':').add(b'@').add(b'[').add(b']');

/// Whether a host can be passed to programs and shells. It is not, if OpenSSH refuses it or a program could take it for an
/// option.
pub(crate) fn is_safe_host(host: &str) -> bool {
    !host.is_empty()
        && !host.starts_with('-')
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-:%".contains(&byte) || !byte.is_ascii())
}

/// Whether the name of a user can be passed to programs and shells.
pub(crate) fn is_safe_user(user: &str) -> bool {
    !user.is_empty()
        && !user.starts_with('-')
        && !user.ends_with('\\')
        && !user.chars().any(|c| c.is_control() || c.is_whitespace() || "'`\"$;&<>|(){}".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_what_was_given() {
        let home = SshConfig::new("box", RemotePath::Home("store".into()));
        assert_eq!(home.url(), "ssh://box/~/store");
        let spaced = SshConfig::new("box", RemotePath::Absolute("/my store/100%".into()));
        assert_eq!(spaced.with_user(Some("me@x".into())).url(), "ssh://me%40x@box/my%20store/100%25");
        let config = SshConfig::new("::1", RemotePath::Absolute("/srv/store/".into()));
        assert_eq!(
            config.with_user(Some("me".into())).with_port(Some(2222)).url(),
            "ssh://me@[::1]:2222/srv/store"
        );
    }

    #[test]
    fn hosts_and_users_that_a_shell_could_run_are_refused() {
        for host in ["box", "box.example.org", "::1", "fe80::1%eth0", "b\u{fc}cher.example"] {
            assert!(is_safe_host(host), "{host}");
        }
        for host in ["", "-oProxyCommand=x", "a;b", "$(x)", "a b", "a`b`", "a\nb"] {
            assert!(!is_safe_host(host), "{host}");
        }
        for user in ["-l", "a;b", "$(x)", "a b", "a'b", ""] {
            assert!(!is_safe_user(user), "{user}");
        }
        assert!(is_safe_user("DOMAIN\\me") && is_safe_user("me@example.org"));
    }

    #[test]
    fn a_passphrase_is_not_shown() {
        let config = SshConfig::new("h", RemotePath::Home(String::new()));
        let config = config.with_passphrase(Some(AskPassphrase::new(|_| Some(Passphrase::new("hunter2")))));
        assert!(!format!("{config:?} {:?}", Passphrase::new("hunter2")).contains("hunter2"));
    }
}
