//! Logs in with the keys of the agent, then with those in files, as OpenSSH does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder_backend::{ErrorKind, seconds};
use ssh2::{Agent, PublicKey};

use crate::config::{AskPassphrase, Passphrase};
use crate::error::Trouble;
use crate::opening_watch::{Blocker, OpeningWatch};
use crate::openssh::HostSettings;
use crate::shell::{log_in as log_in_command, quoted_path};
use crate::small_file;
use crate::wire::{SessionWire, Wait};

/// If the server ends the connection after so many attempts, they are the reason.
const MANY: usize = 4;

/// The passphrases that the user gave. Each is asked for once, for all sessions.
#[derive(Debug, Default)]
pub(crate) struct Passphrases(Mutex<HashMap<PathBuf, Option<Passphrase>>>);

impl Passphrases {
    fn get(&self, identity: &Path, ask: &AskPassphrase) -> Option<Passphrase> {
        // Other sessions wait here for the same answer.
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.entry(identity.to_owned()).or_insert_with(|| ask.ask(identity)).clone()
    }
}

/// The longest time that the agent may take to list its keys. It has them in memory, or starts a program for a smart card,
/// which takes seconds.
const LONGEST_LISTING: Duration = Duration::from_secs(10);

/// How long an agent may take for one answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AgentLimits {
    list: Duration,
    sign: Duration,
}

impl AgentLimits {
    /// The limits of an operation that ends after so long without progress. A signature may wait for a person, who touches a
    /// token or confirms the use of a key. The other half of the time is for another key.
    pub(crate) fn within(stall_timeout: Duration) -> Self {
        Self { list: LONGEST_LISTING.min(stall_timeout / 3), sign: stall_timeout / 2 }
    }
}

/// What logging in needs besides the host.
#[derive(Debug)]
pub(crate) struct LogIn {
    pub(crate) ask: Option<AskPassphrase>,
    pub(crate) passphrases: Arc<Passphrases>,
    /// How long the server may take for one answer.
    pub(crate) limit: Duration,
    /// Set when nobody wants the connection any more.
    pub(crate) cancel: Option<Arc<AtomicBool>>,
    pub(crate) agent_limits: AgentLimits,
    /// How long the agent was silent, if it was. It is not asked again.
    pub(crate) silent_agent: Arc<OnceLock<Duration>>,
}

/// Logs in.
pub(crate) fn log_in(
    wire: &SessionWire,
    settings: &HostSettings,
    log_in: &LogIn,
    watch: &OpeningWatch,
) -> Result<(), Trouble> {
    let session = &wire.session;
    let offered = match wire.drive(Wait::Protocol, || session.auth_methods(&settings.user).map(str::to_owned))
    {
        Ok(methods) => methods,
        // The server lets everybody in.
        Err(_) if session.authenticated() => return Ok(()),
        Err(trouble) => return Err(trouble),
    };
    let mut attempts = LoginAttempts { wire, settings, log_in, watch, tried: Vec::new() };
    if !offered.split(',').any(|method| method == "publickey") {
        return Err(attempts.refused(&offered));
    }
    if attempts.agent()? || attempts.files()? {
        return Ok(());
    }
    Err(attempts.refused(&offered))
}

struct LoginAttempts<'a> {
    wire: &'a SessionWire,
    settings: &'a HostSettings,
    log_in: &'a LogIn,
    watch: &'a OpeningWatch,
    /// The attempts so far, for the error.
    tried: Vec<String>,
}

impl LoginAttempts<'_> {
    /// Whether a call logged in. The end of the session is an error.
    fn attempt(
        &mut self,
        what: &str,
        call: impl FnMut() -> Result<(), ssh2::Error>,
    ) -> Result<bool, Trouble> {
        let done = self.wire.drive(Wait::Protocol, call);
        if self.watch.is_abandoned() {
            return Err(Trouble::cancelled());
        }
        match done {
            Ok(()) => return Ok(true),
            Err(trouble) if matches!(trouble.kind, ErrorKind::Timeout | ErrorKind::Cancelled) => {
                return Err(trouble);
            }
            Err(trouble) if trouble.is_lost && self.tried.len() < MANY => return Err(trouble),
            Err(trouble) if trouble.is_lost => {
                self.tried.push(format!("{what}: the server took no more attempts: see IdentitiesOnly"));
                return Err(self.refused("publickey"));
            }
            Err(trouble) => {
                let why = std::error::Error::source(&trouble.at(larder_backend::Operation::Open, ""))
                    .map(ToString::to_string);
                self.tried.push(format!("{what}: {}", why.unwrap_or_default()));
            }
        }
        Ok(false)
    }

    fn agent(&mut self) -> Result<bool, Trouble> {
        let Some(socket) = &self.settings.agent else {
            self.tried.push("no agent".to_owned());
            return Ok(false);
        };
        let silent = self.log_in.silent_agent.get();
        if let Some(limit) = silent {
            self.tried.push(format!(
                "the agent at {} did not answer for {}",
                socket.display(),
                seconds(*limit)
            ));
            return Ok(false);
        }
        let limits = self.log_in.agent_limits;
        let opened = self.watch.call(Blocker::Agent, limits.list, || open_agent(self.wire, socket));
        if self.watch.is_abandoned() {
            return Err(Trouble::cancelled());
        }
        let (agent, mut identities) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.tried.push(format!("the agent at {}: {}", socket.display(), error.message()));
                return Ok(false);
            }
        };
        // Configured keys come first, because servers count the attempts.
        let configured: Vec<Vec<u8>> =
            self.settings.identities.iter().filter_map(|file| public_half(file)).collect();
        let is_configured = |key: &PublicKey| configured.iter().any(|blob| blob == key.blob());
        if self.settings.identities_only {
            identities.retain(is_configured);
        }
        identities.sort_by_key(|key| !is_configured(key));
        if identities.is_empty() {
            self.tried.push("the agent has no key that may be used".to_owned());
        }
        for identity in &identities {
            let what = format!("the agent's key {}", identity.comment());
            let (settings, watch) = (self.settings, self.watch);
            let sign =
                || watch.call(Blocker::Agent, limits.sign, || agent.userauth(&settings.user, identity));
            if self.attempt(&what, sign)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn files(&mut self) -> Result<bool, Trouble> {
        let LogIn { ask, passphrases, .. } = self.log_in;
        let mut found = 0;
        for identity in &self.settings.identities {
            let text = match small_file::read(identity) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.tried.push(format!("{}: {error}", identity.display()));
                    continue;
                }
            };
            found += 1;
            let mut passphrase = None;
            if is_encrypted(&text) {
                passphrase = ask.as_ref().and_then(|ask| passphrases.get(identity, ask));
                if passphrase.is_none() {
                    self.tried.push(format!(
                        "{} needs a passphrase, and nobody can be asked: add the key to an agent with `ssh-add {}` (the \
                         program larder also takes the passphrase from LARDER_SSH_PASSPHRASE)",
                        identity.display(),
                        quoted_path(identity)
                    ));
                    continue;
                }
            }
            let passphrase = passphrase.as_ref().map(Passphrase::text);
            let (session, user) = (&self.wire.session, &self.settings.user);
            let mut what = identity.display().to_string();
            if passphrase.is_some() {
                // For a wrong passphrase, libssh2 reports an unsupported format.
                what.push_str(" (with a passphrase that may be wrong)");
            }
            if self.attempt(&what, || session.userauth_pubkey_file(user, None, identity, passphrase))? {
                return Ok(true);
            }
        }
        if found == 0 {
            let names: Vec<String> =
                self.settings.identities.iter().map(|file| file.display().to_string()).collect();
            self.tried.push(format!("none of these keys exists: {}", names.join(", ")));
        }
        Ok(false)
    }

    fn refused(&self, offered: &str) -> Trouble {
        let HostSettings { user, host, alias, port, .. } = self.settings;
        let command = log_in_command(user, alias, *port);
        Trouble::new(ErrorKind::Unauthenticated)
            .with_hint(format!("cannot log in to {host} as {user}: try `{command}`"))
            .with_source(format!("tried: {}; the server takes: {offered}", self.tried.join("; ")))
            .hopeless()
    }
}

fn open_agent(wire: &SessionWire, socket: &Path) -> Result<(Agent, Vec<PublicKey>), ssh2::Error> {
    let mut agent = wire.session.agent()?;
    agent.set_identity_path(socket)?;
    agent.connect()?;
    agent.list_identities()?;
    let identities = agent.identities()?;
    Ok((agent, identities))
}

/// Reads the public half of a private key, from the file beside it.
fn public_half(identity: &Path) -> Option<Vec<u8>> {
    let mut path = identity.as_os_str().to_owned();
    path.push(".pub");
    let text = small_file::read_text(path.as_ref()).or_else(|_| small_file::read_text(identity)).ok()?;
    STANDARD.decode(text.split_whitespace().nth(1)?).ok()
}

/// Whether a private key needs a passphrase, in the format of OpenSSH or an older one.
fn is_encrypted(text: &[u8]) -> bool {
    const MAGIC: &[u8] = b"openssh-key-v1\0";
    let text = String::from_utf8_lossy(text);
    let Some(begin) = text.find("-----BEGIN OPENSSH PRIVATE KEY-----") else {
        return text.contains("ENCRYPTED");
    };
    let body: String = text[begin..].lines().skip(1).take_while(|line| !line.starts_with('-')).collect();
    let Ok(body) = STANDARD.decode(body) else { return false };
    // The name of the cipher follows the magic.
    body.strip_prefix(MAGIC).is_some_and(|rest| !rest.starts_with(b"\0\0\0\x04none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_whether_they_are_encrypted() {
        let key = |cipher: &str| {
            let length = u32::try_from(cipher.len()).unwrap().to_be_bytes();
            let body = [b"openssh-key-v1\0", &length[..], cipher.as_bytes(), b"rest"].concat();
            let body = STANDARD.encode(body);
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
        };
        assert!(!is_encrypted(key("none").as_bytes()));
        assert!(is_encrypted(key("aes256-ctr").as_bytes()));
        assert!(is_encrypted(b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"));
        assert!(is_encrypted(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert!(!is_encrypted(b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n"));
    }

    #[test]
    fn a_passphrase_is_asked_for_once() {
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&count);
        let ask = AskPassphrase::new(move |_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            None
        });
        let passphrases = Passphrases::default();
        assert!(passphrases.get(Path::new("a"), &ask).is_none());
        assert!(passphrases.get(Path::new("a"), &ask).is_none());
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}
