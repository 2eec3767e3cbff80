//! Who is let in, and what is said to who is not.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    // Enough for a second session.
    put(&backend, "a/c/h", payload(1, 40 * 1024 * 1024)).await?;
    backend.close().await?;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    DONE
}

pub(crate) async fn without_anybody_to_ask_a_passphrase_is_missing() -> Outcome {
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
    DONE
}

pub(crate) async fn a_wrong_passphrase_is_no_key() -> Outcome {
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

/// An agent. Ended when it is dropped.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an agent with the key of a home, which then has it no more.
fn agent(home: &Home) -> Result<Agent, Failed> {
    let socket = home.ssh().join("agent");
    let agent =
        Agent(Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn()?);
    let identity = home.ssh().join("id_ed25519");
    Command::new("chmod").arg("600").arg(&identity).status()?;
    let started = std::time::Instant::now();
    // Ready as soon as a key can be added.
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
    // Its public half says that it is meant.
    home.write("config", "IdentitiesOnly yes\nIdentityFile ~/.ssh/id_ed25519\n")?;
    let backend = SshBackend::new(config);
    put(&backend, "a/c/h", "by the agent").await.map_err(|error| explained(&error))?;
    backend.close().await?;
    DONE
}
