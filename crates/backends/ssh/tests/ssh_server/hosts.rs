//! Checks of hosts, and connections to them.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use larder_backend::{Backend as _, Error, ErrorKind};
use larder_backend_ssh::{RemotePath, SshBackend, SshConfig};
use larder_testkit::{Required, ignore};
use libtest_mimic::Failed;

use crate::server::{Home, explained, key, put, read};
use crate::trial::{DONE, Outcome};

async fn refusal(config: SshConfig) -> Result<Error, Failed> {
    let backend = SshBackend::new(config);
    let begun = Instant::now();
    let error = backend.stat(&key("a/c/h")?).await.err().ok_or("the host was talked to")?;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    backend.close().await?;
    Ok(error)
}

fn another_key() -> String {
    // A valid entry for another host.
    format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{}", "A".repeat(43))
}

pub(crate) async fn an_unknown_host_is_refused_with_the_line_that_accepts_it() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    home.write("known_hosts", "")?;
    let error = refusal(home.config(root.path())).await?;
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    assert!(!error.is_retryable());
    let (name, public) = home.host_key()?;
    let line = format!("{name} {}", public.trim());
    let text = error.to_string();
    assert!(text.contains("SHA256:") && text.contains(&home.server().host), "{text}");
    assert!(home.read("known_hosts")?.is_empty(), "it was accepted");
    // The suggested command works.
    let command =
        text.split("accept it with: ").nth(1).and_then(|rest| rest.strip_suffix(')')).ok_or("no command")?;
    // The server chooses the key that it shows.
    assert!(command.contains(&name), "{command} is not about {line}");
    assert!(Command::new("sh").arg("-c").arg(command).status()?.success());
    let backend = SshBackend::new(home.config(root.path()));
    put(&backend, "a/c/h", "accepted").await?;
    backend.close().await?;
    DONE
}

pub(crate) async fn a_changed_key_is_refused_with_the_command_that_accepts_it() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    let (name, _) = home.host_key()?;
    // The command can be pasted for any file name.
    let known = home.write("known hosts", &format!("# first\n{name} {}\n", another_key()))?;
    let config = |home: &Home| {
        let mut config = home.config(root.path());
        config.known_hosts = vec![known.clone()];
        config
    };
    let error = refusal(config(&home)).await?;
    let text = error.to_string();
    assert!(text.contains("known hosts:2") && text.contains("SHA256:"), "{text}");
    if Required::program("ssh-keygen") == Required::Missing {
        return ignore("ssh-keygen is not installed");
    }
    let command =
        text.split("accept it with: ").nth(1).and_then(|rest| rest.strip_suffix(')')).ok_or("no command")?;
    assert!(Command::new("sh").arg("-c").arg(command).output()?.status.success());
    let backend = SshBackend::new(config(&home));
    put(&backend, "a/c/h", "accepted").await?;
    backend.close().await?;
    DONE
}

pub(crate) async fn a_revoked_key_is_refused() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    let (name, public) = home.host_key()?;
    home.write("known_hosts", &format!("{name} {public}\n@revoked * {public}\n"))?;
    let error = refusal(home.config(root.path())).await?;
    assert!(error.to_string().contains("revoked") && error.to_string().contains("known_hosts:2"), "{error}");
    DONE
}

pub(crate) async fn a_new_host_is_accepted_and_remembered_on_request() -> Outcome {
    for word in ["accept-new", "no"] {
        let home = Home::new()?;
        let root = home.server().directory()?;
        home.write("known_hosts", "# no end of line")?;
        home.write("config", &format!("Host *\n  StrictHostKeyChecking {word}\n"))?;
        let backend = SshBackend::new(home.config(root.path()));
        put(&backend, "a/c/h", "accepted").await?;
        backend.close().await?;
        let known = home.read("known_hosts")?;
        assert_eq!(known.lines().count(), 2, "{known}");
        // Without that word the host is known.
        home.write("config", "")?;
        let backend = SshBackend::new(home.config(root.path()));
        assert_eq!(read(&backend, "a/c/h").await?, "accepted");
        backend.close().await?;
    }
    DONE
}

pub(crate) async fn a_changed_key_is_refused_even_if_the_user_agrees() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    let (name, _) = home.host_key()?;
    home.write("known_hosts", &format!("{name} {}\n", another_key()))?;
    home.write("config", "StrictHostKeyChecking no\n")?;
    let error = refusal(home.config(root.path())).await?;
    assert!(error.to_string().contains("known_hosts:1"), "{error}");
    DONE
}

pub(crate) async fn a_host_of_which_another_type_of_key_is_known_is_that_host() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    // `Home` knows one of the server's keys; it would show another of its own choice.
    let backend = SshBackend::new(home.config(root.path()));
    put(&backend, "a/c/h", "known").await?;
    backend.close().await?;
    DONE
}

pub(crate) async fn hashed_names_are_known() -> Outcome {
    if Required::program("ssh-keygen") == Required::Missing {
        return ignore("ssh-keygen is not installed");
    }
    let home = Home::new()?;
    let root = home.server().directory()?;
    let (name, public) = home.host_key()?;
    let file = home.write("known_hosts", &format!("{name} {public}\n"))?;
    let hashed = Command::new("ssh-keygen").arg("-H").arg("-f").arg(&file).output()?;
    assert!(hashed.status.success());
    assert!(home.read("known_hosts")?.starts_with("|1|"));
    let backend = SshBackend::new(home.config(root.path()));
    put(&backend, "a/c/h", "known").await?;
    backend.close().await?;
    DONE
}

pub(crate) async fn a_refusing_host_is_reported() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    // The port was bound and closed, so nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = home.config_at(root.path(), port).with_stall_timeout(Some(Duration::from_secs(3)));
    let error = refusal(config).await?;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&format!("port {port} of {}", home.server().host)), "{error}");
    DONE
}

pub(crate) async fn a_host_that_does_not_answer_ends_in_time() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    // Accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let config = home.config_at(root.path(), silent.local_addr()?.port());
    let error = refusal(config.with_stall_timeout(Some(Duration::from_secs(3)))).await?;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    DONE
}

pub(crate) async fn an_unresolvable_host_is_reported() -> Outcome {
    let home = Home::new()?;
    let mut config = SshConfig::new("larder-test.invalid", RemotePath::Absolute("/x".to_owned()))
        .with_openssh_defaults(&home.ssh())
        .with_user(Some("user".to_owned()));
    config.stall_timeout = Duration::from_secs(3);
    let error = refusal(config).await?;
    assert!(error.to_string().contains("larder-test.invalid is not found"), "{error}");
    DONE
}

pub(crate) async fn a_program_in_between_is_the_connection() -> Outcome {
    if Required::program("ssh") == Required::Missing {
        return ignore("ssh is not installed");
    }
    let home = Home::new()?;
    let root = home.server().directory()?;
    let server = home.server();
    // The connection goes through the server itself. `ssh` reads known hosts from the real home by default.
    let known = home.ssh().join("known_hosts");
    let identity = home.ssh().join("id_ed25519");
    Command::new("chmod").arg("600").arg(&identity).status()?;
    home.write(
        "config",
        &format!(
            "Host {host}\n  ProxyJump {user}@jump:{port}\nHost jump\n  HostName {host}\n  UserKnownHostsFile {known}\n  \
             IdentityFile {identity}\n",
            host = server.host,
            user = server.user,
            port = server.port,
            known = known.display(),
            identity = identity.display(),
        ),
    )?;
    let backend = SshBackend::new(home.config(root.path()));
    put(&backend, "a/c/h", "through").await.map_err(|error| explained(&error))?;
    assert_eq!(read(&backend, "a/c/h").await?, "through");
    backend.close().await?;

    home.write("config", "ProxyCommand sh -c 'echo this is why >&2; exit 1'\n")?;
    let error = refusal(home.config(root.path())).await?;
    assert!(explained(&error).contains("this is why"), "{}", explained(&error));
    DONE
}
