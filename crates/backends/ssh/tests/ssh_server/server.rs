//! The server that the environment names.

use std::env;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use larder_backend::{Backend, BackendExt as _, Error, GetOptions, Key, PutOptions};
use larder_backend_ssh::{RemotePath, SshConfig};
use libtest_mimic::Failed;
use tempfile::TempDir;

/// A server for tests, on this machine.
///
/// - `LARDER_TEST_SSH_URL`: `ssh://USER@HOST:PORT/DIRECTORY`, where USER may write to the DIRECTORY.
/// - `LARDER_TEST_SSH_HOME`: a directory whose `.ssh` has `known_hosts` and a key with which USER can log in, `id_ed25519`,
///   and files that some tests need.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    root: PathBuf,
    pub(crate) home: PathBuf,
}

impl Server {
    pub(crate) fn from_env() -> Option<Self> {
        let url = env::var("LARDER_TEST_SSH_URL").ok()?;
        let home = env::var_os("LARDER_TEST_SSH_HOME")?.into();
        let (authority, path) = url.strip_prefix("ssh://")?.split_once('/')?;
        let (user, host) = authority.split_once('@')?;
        let (host, port) = host.rsplit_once(':')?;
        Some(Self {
            user: user.to_owned(),
            host: host.to_owned(),
            port: port.parse().ok()?,
            root: Path::new("/").join(path),
            home,
        })
    }

    pub(crate) fn required() -> Result<Self, Failed> {
        Self::from_env().ok_or_else(|| "LARDER_TEST_SSH_URL and LARDER_TEST_SSH_HOME name no server".into())
    }

    /// Creates an empty directory on the server. The guard removes it.
    pub(crate) fn directory(&self) -> Result<TempDir, Failed> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("remote-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        Ok(builder.tempdir_in(&self.root)?)
    }

    /// Configures a remote in a directory of the server.
    pub(crate) fn config(&self, path: &str) -> SshConfig {
        self.config_at(path, self.port)
    }

    /// Configures a remote at another port, such as a proxy's.
    pub(crate) fn config_at(&self, path: &str, port: u16) -> SshConfig {
        let mut config = SshConfig::new(&self.host, RemotePath::Absolute(path.to_owned()))
            .with_openssh_defaults(&self.home)
            .with_user(Some(self.user.clone()))
            .with_port(Some(port));
        // The test does not use this machine's files.
        config.config_files.truncate(1);
        config.global_known_hosts.clear();
        config
    }
}

/// A new home with the key of the server's home.
pub(crate) struct Home {
    directory: TempDir,
    server: Server,
}

impl Home {
    /// Adds the host at every port.
    pub(crate) fn new() -> Result<Self, Failed> {
        let server = Server::required()?;
        let home = Self { directory: tempfile::tempdir()?, server };
        fs::create_dir(home.ssh())?;
        for name in ["id_ed25519", "id_ed25519.pub"] {
            fs::copy(home.server.home.join(".ssh").join(name), home.ssh().join(name))?;
        }
        let (_, key) = home.host_key()?;
        home.write("known_hosts", &format!("* {key}\n"))?;
        Ok(home)
    }

    pub(crate) fn ssh(&self) -> PathBuf {
        self.directory.path().join(".ssh")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failed> {
        let path = self.ssh().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    pub(crate) fn read(&self, name: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.ssh().join(name))?)
    }

    /// Returns the name and the key of the server from its home.
    pub(crate) fn host_key(&self) -> Result<(String, String), Failed> {
        let known = fs::read_to_string(self.server.home.join(".ssh/known_hosts"))?;
        let line =
            known.lines().find(|line| line.contains(" ssh-ed25519 ")).ok_or("no ed25519 key of the host")?;
        let (name, key) = line.split_once(' ').ok_or("a line of one word")?;
        Ok((name.to_owned(), key.to_owned()))
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn address(&self) -> Result<SocketAddr, Failed> {
        let mut addresses = (self.server.host.as_str(), self.server.port).to_socket_addrs()?;
        addresses.next().ok_or_else(|| "the host has no address".into())
    }

    /// Configures a remote with the files of this home.
    pub(crate) fn config(&self, path: &Path) -> SshConfig {
        self.config_at(path, self.server.port)
    }

    pub(crate) fn config_at(&self, path: &Path, port: u16) -> SshConfig {
        let home = Server { home: self.directory.path().to_owned(), ..self.server.clone() };
        home.config_at(&path.display().to_string(), port)
    }
}

pub(crate) fn key(text: &str) -> Result<Key, Failed> {
    Ok(Key::parse(text)?)
}

/// Creates an object, in chunks of a MiB.
pub(crate) async fn put(backend: &dyn Backend, name: &str, bytes: impl Into<Bytes>) -> Result<(), Error> {
    let mut bytes = bytes.into();
    let key = Key::parse(name).expect("tests use keys that are valid");
    let options = PutOptions::default().with_size_hint(bytes.len() as u64);
    let mut upload = backend.begin_put(&key, options).await?;
    while !bytes.is_empty() {
        let chunk = bytes.split_to(bytes.len().min(1024 * 1024));
        if let Err(error) = upload.write(chunk).await {
            upload.abort().await.ok();
            return Err(error);
        }
    }
    upload.commit().await.map(drop)
}

pub(crate) async fn read(backend: &dyn Backend, name: &str) -> Result<Bytes, Error> {
    let key = Key::parse(name).expect("tests use keys that are valid");
    backend.get_bytes(&key, GetOptions::default(), usize::MAX).await
}

/// Returns an error with its source.
pub(crate) fn explained(error: &Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}
