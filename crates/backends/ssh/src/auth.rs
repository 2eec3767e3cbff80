//! Logging in: the keys of the agent, then those in files, as OpenSSH does.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder_backend::ErrorKind;
use ssh2::{Agent, PublicKey};

use crate::config::{AskPassphrase, Passphrase};
use crate::error::Trouble;
use crate::openssh::Target;
use crate::wire::{Wait, Wire};

/// A server that ends the connection after so many attempts does it because of them.
const MANY: usize = 4;

/// The passphrases that were asked for: each is asked for once, however many sessions log in.
#[derive(Debug, Default)]
pub(crate) struct Passphrases(Mutex<HashMap<PathBuf, Option<Passphrase>>>);

impl Passphrases {
    fn get(&self, identity: &Path, ask: &AskPassphrase) -> Option<Passphrase> {
        // Others wait for the answer: they want the same one.
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.entry(identity.to_owned()).or_insert_with(|| ask.ask(identity)).clone()
    }
}

/// Logs in.
pub(crate) fn log_in(
    wire: &Wire,
    target: &Target,
    ask: Option<&AskPassphrase>,
    passphrases: &Passphrases,
) -> Result<(), Trouble> {
    let session = &wire.session;
    let offered = match wire.drive(Wait::Protocol, || session.auth_methods(&target.user).map(str::to_owned)) {
        Ok(methods) => methods,
        // The server asks for nothing.
        Err(_) if session.authenticated() => return Ok(()),
        Err(trouble) => return Err(trouble),
    };
    let mut attempts = Attempts { wire, target, tried: Vec::new() };
    if !offered.split(',').any(|method| method == "publickey") {
        return Err(attempts.refused(&offered));
    }
    if attempts.agent()? || attempts.files(ask, passphrases)? {
        return Ok(());
    }
    Err(attempts.refused(&offered))
}

struct Attempts<'a> {
    wire: &'a Wire,
    target: &'a Target,
    /// What was tried, for the user.
    tried: Vec<String>,
}

impl Attempts<'_> {
    /// Whether a call logged in. What ends the session is an error.
    fn attempt(
        &mut self,
        what: &str,
        call: impl FnMut() -> Result<(), ssh2::Error>,
    ) -> Result<bool, Trouble> {
        match self.wire.drive(Wait::Protocol, call) {
            Ok(()) => return Ok(true),
            Err(trouble) if matches!(trouble.kind, ErrorKind::Timeout | ErrorKind::Cancelled) => {
                return Err(trouble);
            }
            Err(trouble) if trouble.is_lost && self.tried.len() < MANY => return Err(trouble),
            Err(trouble) if trouble.is_lost => {
                self.tried.push(format!("{what}: the server had enough of them: see IdentitiesOnly"));
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
        let Some(socket) = &self.target.agent else {
            self.tried.push("no agent".to_owned());
            return Ok(false);
        };
        let (agent, mut identities) = match open_agent(self.wire, socket) {
            Ok(opened) => opened,
            Err(error) => {
                self.tried.push(format!("the agent at {}: {}", socket.display(), error.message()));
                return Ok(false);
            }
        };
        // Those that are configured come first, because servers count the attempts.
        let configured: Vec<Vec<u8>> =
            self.target.identities.iter().filter_map(|file| public_half(file)).collect();
        let is_configured = |key: &PublicKey| configured.iter().any(|blob| blob == key.blob());
        if self.target.identities_only {
            identities.retain(is_configured);
        }
        identities.sort_by_key(|key| !is_configured(key));
        if identities.is_empty() {
            self.tried.push("the agent has no key that may be used".to_owned());
        }
        for identity in &identities {
            let what = format!("the agent's key {}", identity.comment());
            if self.attempt(&what, || agent.userauth(&self.target.user, identity))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn files(&mut self, ask: Option<&AskPassphrase>, passphrases: &Passphrases) -> Result<bool, Trouble> {
        let mut found = 0;
        for identity in &self.target.identities {
            let text = match fs::read(identity) {
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
                passphrase = ask.and_then(|ask| passphrases.get(identity, ask));
                if passphrase.is_none() {
                    self.tried.push(format!(
                        "{} needs a passphrase, and nobody can be asked: add the key to an agent with ssh-add (the program \
                         larder also takes it from LARDER_SSH_PASSPHRASE)",
                        identity.display()
                    ));
                    continue;
                }
            }
            let passphrase = passphrase.as_ref().map(Passphrase::text);
            let (session, user) = (&self.wire.session, &self.target.user);
            let mut what = identity.display().to_string();
            if passphrase.is_some() {
                // libssh2 says of a wrong one that the format is not supported.
                what.push_str(" (with a passphrase that may be wrong)");
            }
            if self.attempt(&what, || session.userauth_pubkey_file(user, None, identity, passphrase))? {
                return Ok(true);
            }
        }
        if found == 0 {
            let names: Vec<String> =
                self.target.identities.iter().map(|file| file.display().to_string()).collect();
            self.tried.push(format!("there is none of the keys {}", names.join(", ")));
        }
        Ok(false)
    }

    fn refused(&self, offered: &str) -> Trouble {
        let Target { user, host, port, .. } = self.target;
        let option = if *port == 22 { String::new() } else { format!("-p {port} ") };
        Trouble::new(ErrorKind::Unauthenticated)
            .with_hint(format!("cannot log in to {host} as {user}: try `ssh {option}{user}@{host}`"))
            .with_source(format!("tried: {}; the server takes: {offered}", self.tried.join("; ")))
            .hopeless()
    }
}

fn open_agent(wire: &Wire, socket: &Path) -> Result<(Agent, Vec<PublicKey>), ssh2::Error> {
    let mut agent = wire.session.agent()?;
    agent.set_identity_path(socket)?;
    agent.connect()?;
    agent.list_identities()?;
    let identities = agent.identities()?;
    Ok((agent, identities))
}

/// The public half of a private key, from the file beside it.
fn public_half(identity: &Path) -> Option<Vec<u8>> {
    let mut path = identity.as_os_str().to_owned();
    path.push(".pub");
    let text = fs::read_to_string(path).or_else(|_| fs::read_to_string(identity)).ok()?;
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
    // Behind the magic stands the name of the cipher.
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
