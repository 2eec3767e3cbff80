//! Directories on other machines as remotes, over SSH.

use std::fmt;
use std::sync::Arc;

use larder_backend::Backend;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::remote::error::OpenError;
use crate::remote::location::{OpenRequest, RemoteKind, RemoteLocation};

pub(crate) const KIND: RemoteKind = RemoteKind { schemes: &["ssh", "sftp", "scp"], has_query: true, read };

/// The characters that are written as `%XX` in the path of a URL.
const IN_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');
/// The characters that are written as `%XX` in the name of a user.
const IN_USER: &AsciiSet = &IN_PATH.add(b'/').add(b':').add(b'@').add(b'[').add(b']');

/// A directory on a machine that larder logs in to.
#[derive(Debug)]
struct SshLocation {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    path: SshPath,
}

/// A directory on another machine.
#[derive(Debug)]
enum SshPath {
    /// A path from the root of its file system. It begins with `/`.
    Absolute(String),
    /// A path from the home directory. It may be empty.
    Home(String),
}

impl fmt::Display for SshLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", utf8_percent_encode(user, IN_USER))?;
        }
        if self.host.contains(':') { write!(f, "[{}]", self.host) } else { f.write_str(&self.host) }?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match &self.path {
            SshPath::Absolute(path) => {
                write!(f, "{}", utf8_percent_encode(path.trim_end_matches('/'), IN_PATH))
            }
            SshPath::Home(path) if path.is_empty() => f.write_str("/~"),
            SshPath::Home(path) => write!(f, "/~/{}", utf8_percent_encode(path, IN_PATH)),
        }
    }
}

impl RemoteLocation for SshLocation {
    #[cfg(feature = "ssh")]
    fn open(&self, request: &OpenRequest<'_>) -> Result<Arc<dyn Backend>, OpenError> {
        use larder_backend_ssh::{AskPassphrase, Passphrase, RemotePath, SshBackend, SshConfig};

        // No file of a project can weaken the check of hosts.
        request.options.refuse_all("SSH has no options; ~/.ssh/config has OpenSSH's")?;
        let path = match &self.path {
            SshPath::Absolute(path) => RemotePath::Absolute(path.clone()),
            SshPath::Home(path) => RemotePath::Home(path.clone()),
        };
        let environment = request.environment;
        let given = environment.text("LARDER_SSH_PASSPHRASE")?;
        let ask = environment.ask_secret();
        let ask = AskPassphrase::new(move |identity| {
            let passphrase = given.clone().or_else(|| {
                ask.as_ref().and_then(|ask| ask(&format!("passphrase for {}", identity.display())))
            });
            passphrase.map(Passphrase::new)
        });
        let mut config = SshConfig::new(&self.host, path);
        if let Some(home) = environment.home() {
            config = config.with_openssh_defaults(home);
        }
        let config = config
            .with_user(self.user.clone())
            .with_port(self.port)
            .with_local_user(environment.user().map(str::to_owned))
            .with_agent(environment.variable("SSH_AUTH_SOCK").map(Into::into))
            .with_passphrase(Some(ask))
            .with_stall_timeout(request.stall_timeout);
        Ok(Arc::new(SshBackend::new(config)))
    }

    #[cfg(not(feature = "ssh"))]
    fn open(&self, _request: &OpenRequest<'_>) -> Result<Arc<dyn Backend>, OpenError> {
        Err(crate::remote::error::InvalidRemote::NoBackend { scheme: "ssh", feature: "ssh" }.into())
    }
}

/// Reads `[user@]host[:port]/path`. The path is percent-decoded. `/~/` at its beginning is the home directory.
fn read(rest: &str) -> Result<Arc<dyn RemoteLocation>, &'static str> {
    let (authority, path) =
        rest.split_once('/').ok_or("it names no directory: write ssh://host/path or ssh://host/~/path")?;
    if path.contains('#') {
        return Err("`#` in its path is written %23");
    }
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user_name(user)?), host),
        None => (None, authority),
    };
    let (host, port) = host_and_port(host)?;
    Ok(Arc::new(SshLocation { user, host: host.to_owned(), port, path: directory(path)? }))
}

fn user_name(user: &str) -> Result<String, &'static str> {
    let user = decode(user, "its user is not UTF-8")?;
    let is_in_user = |c: char| !c.is_whitespace() && !"'`\"$;&<>|(){}:".contains(c);
    if user.is_empty() || user.starts_with('-') || user.ends_with('\\') || !user.chars().all(is_in_user) {
        return Err("its user cannot be the name of one");
    }
    Ok(user)
}

fn host_and_port(host: &str) -> Result<(&str, Option<u16>), &'static str> {
    // An IPv6 address has colons, and is written in brackets.
    let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or("its port stands behind a colon")?)),
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => Some(
            port.parse().ok().filter(|port| *port > 0).ok_or("its port is not a number from 1 to 65535")?,
        ),
        None => None,
    };
    let is_in_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || host.starts_with('-') || !host.chars().all(is_in_host) {
        return Err("its host cannot be the name of one");
    }
    Ok((host, port))
}

fn directory(path: &str) -> Result<SshPath, &'static str> {
    let path = decode(path, "its path is not UTF-8")?;
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            Ok(SshPath::Home(rest.trim_matches('/').to_owned()))
        }
        Some(_) => Err("only your own home directory can be named: /~/path"),
        None => Ok(SshPath::Absolute(format!("/{}", path.trim_matches('/')))),
    }
}

fn decode(text: &str, reason: &'static str) -> Result<String, &'static str> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| reason)?.into_owned();
    if text.chars().any(char::is_control) { Err("it has control characters") } else { Ok(text) }
}
