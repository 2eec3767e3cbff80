//! A remote on the server, which the test can read without larder, because the server is on this machine.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use larder_testkit::proxy::TcpProxy;
use larder_tests::{Larder, Sandbox, Server, files_below};

/// The address of the server, and the account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A sandbox with a remote in its own directory on the server. Its home has the keys for the server.
pub(crate) struct Store {
    sandbox: Sandbox,
    pub(crate) account: Account,
    /// The directory of the remote, which the first push creates.
    pub(crate) directory: PathBuf,
}

impl Deref for Store {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Account {
    /// Returns the URL of a remote in a directory on the server.
    pub(crate) fn url_of(&self, directory: &Path) -> String {
        let Self { user, host, port } = self;
        format!("ssh://{user}@{host}:{port}{}", directory.display())
    }
}

impl Store {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::on_server(Server::of("ssh"));
        let (account, directory) = take_apart(&sandbox.remote_url());
        let store = Self { sandbox, account, directory };
        fs::create_dir(store.ssh()).unwrap();
        for name in ["id_ed25519", "id_ed25519.pub", "known_hosts"] {
            // Copy the mode too, because ssh and ssh-add refuse a key that other users can read.
            fs::copy(server_home().join(".ssh").join(name), store.ssh().join(name)).unwrap();
        }
        store
    }

    /// Returns the remote as messages show it.
    pub(crate) fn shown(&self) -> String {
        self.remote_url()
    }

    /// Returns the URL of this remote at another port.
    pub(crate) fn at_port(&self, port: u16) -> String {
        Account { port, ..self.account.clone() }.url_of(&self.directory)
    }

    /// Returns the URL of this remote for another user.
    pub(crate) fn for_user(&self, user: &str) -> String {
        Account { user: user.to_owned(), ..self.account.clone() }.url_of(&self.directory)
    }

    /// Creates a call that connects through a proxy, whose port is in `known_hosts` too.
    pub(crate) fn through<const N: usize>(&self, proxy: &TcpProxy, args: [&str; N]) -> Larder {
        let port = proxy.address().port();
        self.know_at(port);
        self.larder(args).args(["-r", &self.at_port(port)])
    }

    /// Adds the server at another port to `known_hosts`.
    pub(crate) fn know_at(&self, port: u16) {
        let Account { host, port: own, .. } = &self.account;
        let known = fs::read_to_string(server_home().join(".ssh/known_hosts")).unwrap();
        let (own, other) = (format!("[{host}]:{own} "), format!("[{host}]:{port} "));
        self.write_ssh("known_hosts", &format!("{known}{}", known.replace(&own, &other)));
    }

    /// Returns a file in the user's `.ssh`.
    pub(crate) fn ssh(&self) -> PathBuf {
        self.home().join(".ssh")
    }

    pub(crate) fn write_ssh(&self, name: &str, text: &str) {
        fs::write(self.ssh().join(name), text).unwrap();
    }

    pub(crate) fn read_ssh(&self, name: &str) -> String {
        fs::read_to_string(self.ssh().join(name)).unwrap()
    }

    /// Returns the name of the host in `known_hosts`.
    pub(crate) fn host_name(&self) -> String {
        format!("[{}]:{}", self.account.host, self.account.port)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let mut addresses = (&*self.account.host, self.account.port).to_socket_addrs().unwrap();
        addresses.next().unwrap()
    }

    pub(crate) fn proxy(&self) -> TcpProxy {
        TcpProxy::start(self.address()).unwrap()
    }

    /// Returns the keys of the remote in order, without larder's own.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = files_below(&self.directory);
        keys.retain(|key| !key.starts_with(".larder/"));
        keys
    }

    /// Returns the path of an object.
    pub(crate) fn object(&self, key: &str) -> PathBuf {
        self.directory.join(key)
    }

    /// Returns the key of the only object.
    #[track_caller]
    pub(crate) fn key(&self) -> String {
        let mut keys = self.keys();
        assert_eq!(keys.len(), 1, "expected one object: {keys:?}");
        keys.remove(0)
    }

    /// Replaces an object by another file.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        fs::write(self.object(key), bytes).unwrap();
    }

    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        fs::read(self.object(key)).unwrap()
    }

    /// Returns the unpublished uploads and their lengths.
    pub(crate) fn temporaries(&self) -> Vec<(PathBuf, u64)> {
        temporaries_in(&self.directory)
    }

    pub(crate) fn empty_remote(&self) {
        let _ = fs::remove_dir_all(&self.directory);
    }

    /// Asserts that nothing of an upload is visible.
    #[track_caller]
    pub(crate) fn assert_no_trace(&self) {
        assert_eq!(self.keys(), Vec::<String>::new());
        self.assert_nothing_open();
    }

    /// Asserts that there are no leftovers of uploads, on the server or in the project.
    #[track_caller]
    pub(crate) fn assert_nothing_open(&self) {
        let open = self.temporaries();
        assert!(open.is_empty(), "leftovers on the server: {open:?}");
        self.assert_clean();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The server may be the user's own, so do not fill it.
        self.empty_remote();
    }
}

/// Returns the unpublished uploads in a remote and their lengths.
pub(crate) fn temporaries_in(remote: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(remote.join(".larder/1/tmp")).into_iter().flatten();
    // A file may be removed before its length is read.
    let with_length = |entry: fs::DirEntry| Some((entry.path(), entry.metadata().ok()?.len()));
    entries.filter_map(|entry| with_length(entry.ok()?)).collect()
}

/// Returns a host key of the server: its type and its text.
pub(crate) fn host_key(kind: &str) -> String {
    let known = fs::read_to_string(server_home().join(".ssh/known_hosts")).unwrap();
    let mut keys = known.lines().filter_map(|line| line.split_once(' ')).map(|(_, key)| key);
    keys.find(|key| key.starts_with(&format!("{kind} "))).unwrap().to_owned()
}

/// Returns a home with the keys to log in.
pub(crate) fn server_home() -> PathBuf {
    std::env::var_os("LARDER_TEST_SSH_HOME").expect("LARDER_TEST_SSH_URL needs LARDER_TEST_SSH_HOME").into()
}

fn take_apart(url: &str) -> (Account, PathBuf) {
    let (authority, path) = url.strip_prefix("ssh://").unwrap().split_once('/').unwrap();
    let (user, address) = authority.split_once('@').expect("LARDER_TEST_SSH_URL names the user");
    let (host, port) = address.rsplit_once(':').expect("LARDER_TEST_SSH_URL names the port");
    let account = Account { user: user.to_owned(), host: host.to_owned(), port: port.parse().unwrap() };
    (account, Path::new("/").join(path))
}
