//! Logins and refused logins.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder_backend::{Backend as _, Error, ErrorKind};
use larder_backend_ssh::{AskPassphrase, Passphrase, SshBackend, SshConfig};
use larder_testkit::{Required, ignore, payload};
use libtest_mimic::Failed;

use crate::server::{Home, explained, key, put};
use crate::trial::{DONE, Outcome};

async fn refusal(config: SshConfig) -> Result<Error, Failed> {
    let backend = SshBackend::new(config);
    let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it was let in")?;
    backend.close().await?;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    Ok(error)
}

fn has_keygen() -> bool {
    Required::program("ssh-keygen") == Required::Present
}

/// Gives a private key a passphrase.
fn encrypt(identity: &Path) -> Result<(), Failed> {
    Command::new("chmod").arg("600").arg(identity).status()?;
    let mut keygen = Command::new("ssh-keygen");
    let done = keygen.args(["-p", "-q", "-P", "", "-N", "open sesame", "-f"]).arg(identity).output()?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into()) }
}

pub(crate) async fn without_a_key_it_says_what_was_tried() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    fs::remove_file(home.ssh().join("id_ed25519"))?;
    let error = refusal(home.config(root.path())).await?;
    let text = explained(&error);
    assert!(text.contains(&home.server().host) && text.contains("no agent"), "{text}");
    assert!(text.contains("id_ed25519") && text.contains("publickey"), "{text}");
    DONE
}

pub(crate) async fn a_wrong_user_is_not_let_in() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    let config = home.config(root.path()).with_user(Some("larder-nobody".to_owned()));
    let error = refusal(config).await?;
    assert!(error.to_string().contains("as larder-nobody"), "{error}");
    let command = format!("`ssh -p {} larder-nobody@{}`", home.server().port, home.server().host);
    assert!(error.to_string().contains(&command), "{error}");
    // The alias of the configuration is the name in known_hosts.
    home.write("config", &format!("Host shelf\n  HostName {}\n", home.server().host))?;
    let mut config = home.config(root.path()).with_user(Some("larder-nobody".to_owned()));
    "shelf".clone_into(&mut config.host);
    let error = refusal(config).await?;
    let command = format!("`ssh -p {} larder-nobody@shelf`", home.server().port);
    assert!(error.to_string().contains(&command), "{error}");
    DONE
}

pub(crate) async fn a_passphrase_is_asked_for_once() -> Outcome {
    if !has_keygen() {
        return ignore("ssh-keygen is not installed");
    }
    let home = Home::new()?;
    let root = home.server().directory()?;
    let identity = home.ssh().join("id_ed25519");
    encrypt(&identity)?;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let ask = AskPassphrase::new(move |path| {
        assert_eq!(path, identity);
        count.fetch_add(1, Ordering::Relaxed);
        Some(Passphrase::new("open sesame"))
    });
    let backend = SshBackend::new(home.config(root.path()).with_passphrase(Some(ask)));
    // Enough bytes for a second session.
    put(&backend, "a/c/h", payload(1, 40 * 1024 * 1024)).await?;
    backend.close().await?;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    DONE
}

pub(crate) async fn without_a_prompt_a_passphrase_is_missing() -> Outcome {
    if !has_keygen() {
        return ignore("ssh-keygen is not installed");
    }
    let home = Home::new()?;
    let root = home.server().directory()?;
    encrypt(&home.ssh().join("id_ed25519"))?;
    let error = refusal(home.config(root.path())).await?;
    assert!(
        explained(&error).contains("needs a passphrase, and nobody can be asked"),
        "{}",
        explained(&error)
    );
    let command = format!("`ssh-add {}`", home.ssh().join("id_ed25519").display());
    assert!(explained(&error).contains(&command), "{}", explained(&error));
    DONE
}

pub(crate) async fn a_wrong_passphrase_does_not_open_a_key() -> Outcome {
    if !has_keygen() {
        return ignore("ssh-keygen is not installed");
    }
    let home = Home::new()?;
    let root = home.server().directory()?;
    encrypt(&home.ssh().join("id_ed25519"))?;
    let ask = AskPassphrase::new(|_| Some(Passphrase::new("hunter2")));
    let error = refusal(home.config(root.path()).with_passphrase(Some(ask))).await?;
    assert!(!explained(&error).contains("hunter2"), "{}", explained(&error));
    DONE
}

/// An agent, which ends when it is dropped.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an agent with the key of a home, and removes the key from the home.
fn agent(home: &Home) -> Result<Agent, Failed> {
    let socket = home.ssh().join("agent");
    let agent =
        Agent(Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn()?);
    let identity = home.ssh().join("id_ed25519");
    Command::new("chmod").arg("600").arg(&identity).status()?;
    let started = std::time::Instant::now();
    // The agent is ready as soon as a key can be added.
    loop {
        let added =
            Command::new("ssh-add").arg("-q").arg(&identity).env("SSH_AUTH_SOCK", &socket).output()?;
        if added.status.success() {
            break;
        }
        if started.elapsed().as_secs() > 20 {
            return Err(String::from_utf8_lossy(&added.stderr).into());
        }
        std::thread::yield_now();
    }
    fs::remove_file(identity)?;
    Ok(agent)
}

pub(crate) async fn the_agent_is_asked() -> Outcome {
    if Required::program("ssh-agent") == Required::Missing {
        return ignore("ssh-agent is not installed");
    }
    let home = Home::new()?;
    let root = home.server().directory()?;
    let _agent = agent(&home)?;
    let config = home.config(root.path()).with_agent(Some(home.ssh().join("agent")));
    let backend = SshBackend::new(config);
    put(&backend, "a/c/h", "by the agent").await.map_err(|error| explained(&error))?;
    backend.close().await?;
    DONE
}

pub(crate) async fn an_agent_is_not_asked_for_other_keys_than_the_configured() -> Outcome {
    if Required::program("ssh-agent") == Required::Missing {
        return ignore("ssh-agent is not installed");
    }
    let home = Home::new()?;
    let root = home.server().directory()?;
    let _agent = agent(&home)?;
    let config = home.config(root.path()).with_agent(Some(home.ssh().join("agent")));
    home.write("config", "IdentitiesOnly yes\nIdentityFile ~/.ssh/other\n")?;
    let error = refusal(config.clone()).await?;
    assert!(explained(&error).contains("no key that may be used"), "{}", explained(&error));
    // The public key selects the private key in the agent.
    home.write("config", "IdentitiesOnly yes\nIdentityFile ~/.ssh/id_ed25519\n")?;
    let backend = SshBackend::new(config);
    put(&backend, "a/c/h", "by the agent").await.map_err(|error| explained(&error))?;
    backend.close().await?;
    DONE
}

/// The request for all keys, and its answer.
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;

/// Starts an agent that accepts connections, lists its key if it has one, and is silent otherwise. Its thread ends with the
/// test.
fn silent_agent(home: &Home, key: Option<Vec<u8>>) -> Result<PathBuf, Failed> {
    let socket = home.ssh().join("silent-agent");
    let listener = UnixListener::bind(&socket)?;
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            if let Some(key) = &key
                && list_one_key(&mut stream, key).is_err()
            {
                continue;
            }
            open.push(stream);
        }
    });
    Ok(socket)
}

fn list_one_key(stream: &mut UnixStream, key: &[u8]) -> std::io::Result<()> {
    let mut request = [0; 5];
    stream.read_exact(&mut request)?;
    assert_eq!(request, [0, 0, 0, 1, REQUEST_IDENTITIES]);
    let text = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes()[..], bytes].concat();
    let answer = [&[IDENTITIES_ANSWER, 0, 0, 0, 1][..], &text(key), &text(b"of a token")].concat();
    stream.write_all(&text(&answer))
}

/// Returns the public key of a home in the format of agents.
fn public_key(home: &Home) -> Result<Vec<u8>, Failed> {
    let text = home.read("id_ed25519.pub")?;
    Ok(STANDARD.decode(text.split_whitespace().nth(1).ok_or("a line of one word")?)?)
}

pub(crate) async fn after_a_silent_agent_the_keys_in_files_are_tried() -> Outcome {
    for lists_its_key in [false, true] {
        let home = Home::new()?;
        let root = home.server().directory()?;
        let key = lists_its_key.then(|| public_key(&home)).transpose()?;
        let socket = silent_agent(&home, key)?;
        let timeout = Some(Duration::from_secs(3));
        let config = home.config(root.path()).with_agent(Some(socket.clone())).with_stall_timeout(timeout);
        let backend = SshBackend::new(config.clone());
        let begun = Instant::now();
        put(&backend, "a/c/h", "by the file").await.map_err(|error| explained(&error))?;
        // A silent agent is not asked again.
        put(&backend, "a/c/i", payload(1, 40 * 1024 * 1024)).await?;
        backend.close().await?;
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        fs::remove_file(home.ssh().join("id_ed25519"))?;
        let error = refusal(config).await?;
        let text = explained(&error);
        assert!(text.contains(&format!("the agent at {} did not answer for 1", socket.display())), "{text}");
    }
    DONE
}

pub(crate) async fn a_key_that_is_not_a_file_is_skipped() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    assert!(Command::new("mkfifo").arg(home.ssh().join("fifo")).status()?.success());
    home.write("config", "IdentityFile ~/.ssh/fifo\nIdentityFile /dev/zero\n")?;
    let text = explained(&refusal(home.config(root.path())).await?);
    for name in ["/fifo: it is not a regular file", "/dev/zero: it is not a regular file"] {
        assert!(text.contains(name), "{text}");
    }
    home.write("config", "IdentityFile ~/.ssh/fifo\nIdentityFile ~/.ssh/id_ed25519\n")?;
    let backend = SshBackend::new(home.config(root.path()));
    put(&backend, "a/c/h", "by the next key").await?;
    backend.close().await?;
    DONE
}
