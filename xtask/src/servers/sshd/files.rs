//! The directory of an sshd: keys, configuration, and a home for clients.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{Result, process};

/// The types of the host keys, and their lengths in bits. Tests rely on the first type.
const HOST_KEYS: [(&str, Option<&str>); 3] = [("ed25519", None), ("ecdsa", None), ("rsa", Some("2048"))];

/// A setting for OpenSSH 9.8 and later, which block an address for a while after failed logins. Some tests fail to log in
/// on purpose. Older versions refuse the setting.
const SINCE_9_8: &str = "PerSourcePenalties no\n";

/// The server's files.
#[derive(Debug)]
pub(super) struct SshdFiles {
    pub(super) dir: PathBuf,
    pub(super) config: PathBuf,
    /// The directory in which tests may write.
    pub(super) data: PathBuf,
    /// The home of a client.
    pub(super) home: PathBuf,
    /// The account that logs in, which is the current one.
    pub(super) user: String,
}

impl SshdFiles {
    /// Creates the files in `dir`.
    pub(super) fn create(sshd: &Path, dir: &Path, port: u16) -> Result<Self> {
        if !dir.to_str().is_some_and(is_plain) {
            return Err(format!(
                "{} has characters that need quotes in a URL or in sshd_config: choose another --dir",
                dir.display()
            )
            .into());
        }
        let [config, data, home] = ["sshd_config", "data", "home"].map(|name| dir.join(name));
        let files = Self { dir: dir.to_owned(), config, data, home, user: user()? };
        fs::create_dir(&files.data)?;
        let ssh = files.home.join(".ssh");
        fs::create_dir_all(&ssh)?;
        // ssh refuses a key that other users can read.
        fs::set_permissions(&files.home, fs::Permissions::from_mode(0o700))?;
        let mut known = Vec::new();
        for (kind, bits) in HOST_KEYS {
            let public = generate(&dir.join(format!("host_{kind}")), kind, bits)?;
            known.push(format!("[127.0.0.1]:{port} {public}\n"));
        }
        fs::write(ssh.join("known_hosts"), known.concat())?;
        let public = generate(&ssh.join("id_ed25519"), "ed25519", None)?;
        fs::write(dir.join("authorized_keys"), format!("{public}\n"))?;
        fs::write(ssh.join("config"), files.client_config(port))?;
        files.configure(sshd, port)?;
        Ok(files)
    }

    /// Returns the configuration for manual use and for other clients: `ssh -F config larder`.
    fn client_config(&self, port: u16) -> String {
        let (ssh, user) = (self.home.join(".ssh"), &self.user);
        let ssh = ssh.display();
        format!(
            "Host larder\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {ssh}/id_ed25519\n  \
             IdentitiesOnly yes\n  UserKnownHostsFile {ssh}/known_hosts\n  GlobalKnownHostsFile /dev/null\n  \
             StrictHostKeyChecking yes\n"
        )
    }

    /// Writes the server's configuration, and lets sshd check it.
    fn configure(&self, sshd: &Path, port: u16) -> Result<()> {
        let usual = self.server_config(port);
        let mut text = format!("{usual}{SINCE_9_8}");
        // Each problem that can be fixed is reported once.
        for _ in 0..3 {
            fs::write(&self.config, &text)?;
            let mut command = Command::new(sshd);
            let checked = command.arg("-t").arg("-f").arg(&self.config).stdin(Stdio::null()).output()?;
            if checked.status.success() {
                return Ok(());
            }
            let complaint = String::from_utf8_lossy(&checked.stderr).into_owned();
            if complaint.contains("PerSourcePenalties") && text != usual {
                text.clone_from(&usual);
            } else if let Some(missing) = missing_directory(&complaint).filter(|dir| !dir.exists()) {
                // Packages leave this directory to the service manager.
                eprintln!("xtask: creating {}, which sshd needs", missing.display());
                fs::create_dir_all(&missing)
                    .map_err(|error| format!("failed to create {}: {error}", missing.display()))?;
                fs::set_permissions(&missing, fs::Permissions::from_mode(0o755))?;
            } else {
                return Err(format!("sshd refuses its configuration: {}", complaint.trim()).into());
            }
        }
        Err("sshd refuses its configuration".into())
    }

    fn server_config(&self, port: u16) -> String {
        let dir = self.dir.display();
        let keys = HOST_KEYS.map(|(kind, _)| format!("HostKey {dir}/host_{kind}\n")).concat();
        format!(
            "ListenAddress 127.0.0.1:{port}\n{keys}\
             AuthorizedKeysFile {dir}/authorized_keys\n\
             PubkeyAuthentication yes\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\n\
             StrictModes no\n\
             UsePAM no\n\
             UseDNS no\n\
             PidFile none\n\
             PrintMotd no\n\
             PermitUserRC no\n\
             LogLevel VERBOSE\n\
             MaxSessions 64\n\
             MaxStartups 500\n\
             # End the sessions of clients that are gone, because they outlive the listener.\n\
             ClientAliveInterval 20\n\
             ClientAliveCountMax 6\n\
             # Tests of ProxyJump jump to this server.\n\
             AllowTcpForwarding local\n\
             PermitOpen 127.0.0.1:{port}\n\
             X11Forwarding no\n\
             # Use a private umask, so that files are shared only on purpose.\n\
             Subsystem sftp internal-sftp -u 077\n"
        )
    }
}

/// Whether text needs no quotes in URLs and in the configuration of sshd.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte))
}

/// Returns the missing directory in an error message of sshd.
fn missing_directory(complaint: &str) -> Option<PathBuf> {
    let mut lines = complaint.lines();
    let path = lines.find_map(|line| line.split_once("Missing privilege separation directory: "))?.1.trim();
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
}

/// Returns the name of the current account.
fn user() -> Result<String> {
    let name = process::answer(Command::new("id").arg("-un"), Duration::from_secs(10));
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.ok_or_else(|| "the current account has no name, and sshd needs one".into())
}

/// Generates a pair of keys without a passphrase, and returns the type and the text of the public key.
fn generate(file: &Path, kind: &str, bits: Option<&str>) -> Result<String> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-N", "", "-C", "larder-test", "-f"]).arg(file);
    command.args(bits.map(|bits| ["-b", bits]).into_iter().flatten());
    let made = command.stdin(Stdio::null()).output();
    let made =
        made.map_err(|error| format!("failed to start ssh-keygen (Debian: openssh-client): {error}"))?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        return Err(format!("`{}` failed: {}", process::shown(&command), said.trim()).into());
    }
    let public = fs::read_to_string(file.with_extension("pub"))?;
    let words: Vec<&str> = public.split_whitespace().take(2).collect();
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sshd_names_the_directory_that_it_lacks() {
        let said = "Missing privilege separation directory: /run/sshd\r\n";
        assert_eq!(missing_directory(said).unwrap(), Path::new("/run/sshd"));
        assert_eq!(missing_directory("/etc/ssh/sshd_config: line 3: Bad configuration option"), None);
    }

    #[test]
    fn odd_directories_are_refused() {
        assert!(is_plain("/tmp/larder-sshd-Ab1_2"));
        for odd in ["/tmp/with space", "/tmp/100%", "/tmp/gr\u{f6}\u{df}e", "/tmp/a\"b", "/tmp/~x"] {
            assert!(!is_plain(odd), "{odd}");
        }
    }
}
