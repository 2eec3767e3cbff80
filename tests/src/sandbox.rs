//! A separate project, remote and home for each test.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::binary::larder_binary;
use crate::mount::{CaseFoldingDisk, Mount, Overlay};
use crate::need::program_dirs;
use crate::run::{Larder, Run};
use crate::server::Server;

/// A temporary directory with `project/` (whose `larder.toml` names the remote `shared`), `remote/` (which the first
/// push creates, unless the remote is on a server) and `home/`.
#[derive(Debug)]
pub struct Sandbox {
    root: PathBuf,
    on_server: Option<OnServer>,
    is_flagless: bool,
    // Fields are dropped in this order: mounts before the directory that contains them.
    mounts: Vec<Mount>,
    _overlay: Option<Overlay>,
    _case_folding: Option<CaseFoldingDisk>,
    _dir: TempDir,
}

#[derive(Debug)]
struct OnServer {
    server: Server,
    remote: String,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// Creates a sandbox in the directory for temporary files.
    pub fn new() -> Self {
        let dir = temporary();
        // Some tests run as other users, who need access.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            root: dir.path().to_owned(),
            on_server: None,
            is_flagless: false,
            mounts: Vec::new(),
            _overlay: None,
            _case_folding: None,
            _dir: dir,
        }
        .with_project()
    }

    /// Creates a sandbox with a new remote on the server. Every call of the binary gets the server's variables.
    pub fn on_server(server: Server) -> Self {
        let remote = server.remote();
        let sandbox = Self { on_server: Some(OnServer { server, remote }), ..Self::new() };
        sandbox.configure_remote();
        sandbox
    }

    /// Creates a sandbox on a file system that refuses renames with flags, as NFS does, and so cannot exchange two names.
    pub fn without_exchange() -> Self {
        Self { is_flagless: true, ..Self::new() }
    }

    /// Creates a sandbox on an overlay. `fill` fills the lower layer of the project.
    pub fn on_overlay(fill: impl FnOnce(&Path)) -> Self {
        let dir = temporary();
        let overlay = Overlay::with_lower(dir.path(), |lower| {
            fs::create_dir(lower.join("project")).unwrap();
            fill(&lower.join("project"));
        });
        let overlay = overlay.unwrap();
        Self {
            root: overlay.path(),
            on_server: None,
            is_flagless: false,
            mounts: Vec::new(),
            _overlay: Some(overlay),
            _case_folding: None,
            _dir: dir,
        }
        .with_project()
    }

    /// Creates a sandbox on a disk that folds case.
    pub fn on_case_folding_disk() -> Self {
        let dir = temporary();
        let root = dir.path().join("disk");
        fs::create_dir(&root).unwrap();
        let disk = CaseFoldingDisk::new(&dir.path().join("image"), &root).unwrap();
        Self {
            root,
            on_server: None,
            is_flagless: false,
            mounts: Vec::new(),
            _overlay: None,
            _case_folding: Some(disk),
            _dir: dir,
        }
        .with_project()
    }

    fn with_project(self) -> Self {
        fs::create_dir_all(self.project()).unwrap();
        fs::create_dir(self.home()).unwrap();
        self.configure_remote();
        self
    }

    /// Returns the root of the sandbox.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the root of the project.
    pub fn project(&self) -> PathBuf {
        self.root().join("project")
    }

    /// Returns a path in the project.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.project().join(path)
    }

    /// Returns the directory of the remote.
    pub fn remote(&self) -> PathBuf {
        self.root().join("remote")
    }

    /// Returns the URL of the remote in `larder.toml`.
    pub fn remote_url(&self) -> String {
        let here = || self.remote().display().to_string();
        self.on_server.as_ref().map_or_else(here, |on| on.remote.clone())
    }

    /// Returns the user's home.
    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// Replaces the project's `larder.toml`.
    pub fn configure(&self, toml: &str) {
        fs::write(self.path("larder.toml"), toml).unwrap();
    }

    /// Writes the initial `larder.toml` of a sandbox, with the remote `shared`.
    pub fn configure_remote(&self) {
        self.configure(&format!("[remotes]\nshared = '{}'\n", self.remote_url()));
    }

    /// Mounts a tmpfs of `mib` MiB at a new directory of the sandbox.
    pub fn mount_tmpfs(&mut self, name: &str, mib: u32) -> PathBuf {
        let at = self.root().join(name);
        fs::create_dir_all(&at).unwrap();
        self.mounts.push(Mount::tmpfs(&at, mib).unwrap());
        at
    }

    /// Bind-mounts a file or directory of the sandbox at an existing one.
    pub fn bind(&mut self, source: &str, at: &str) {
        let [source, at] = [source, at].map(|path| self.root().join(path));
        self.mounts.push(Mount::bind(&source, &at).unwrap());
    }

    /// Unmounts everything, the last mount first.
    pub fn unmount(&mut self) {
        while self.mounts.pop().is_some() {}
    }

    /// Creates a call of the binary in the project.
    pub fn larder<const N: usize>(&self, args: [&str; N]) -> Larder {
        let larder = Larder::new(binary(), &self.project(), &self.home()).args(args);
        let larder = if self.is_flagless { larder.flagless() } else { larder };
        match &self.on_server {
            Some(on) => larder.reaching(&on.server),
            None => larder,
        }
    }

    /// Runs the binary in the project.
    pub fn run<const N: usize>(&self, args: [&str; N]) -> Run {
        self.larder(args).run()
    }

    /// Creates a call of another program in the project, which finds the binary as `larder` on its `PATH`.
    pub fn program<I: IntoIterator<Item: AsRef<OsStr>>>(&self, program: &str, args: I) -> Larder {
        let bin = self.root().join("bin");
        if !bin.exists() {
            fs::create_dir(&bin).unwrap();
            symlink(binary(), bin.join("larder")).unwrap();
        }
        let path = std::env::join_paths([bin].into_iter().chain(program_dirs())).unwrap();
        Larder::new(program.into(), &self.project(), &self.home()).args(args).env("PATH", path)
    }

    /// Copies the binary for other users, and returns its path.
    pub fn public_binary(&self) -> PathBuf {
        let copy = self.root().join("larder");
        if !copy.exists() {
            fs::copy(binary(), &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        }
        copy
    }

    /// Returns the keys of the remote in order, without larder's own.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = files_below(&self.remote());
        keys.retain(|key| !key.starts_with(".larder/"));
        keys
    }

    /// Returns the path of the only object.
    #[track_caller]
    pub fn object(&self) -> PathBuf {
        let keys = self.keys();
        assert_eq!(keys.len(), 1, "expected one object: {keys:?}");
        self.remote().join(&keys[0])
    }

    /// Returns the leftovers of commands in the project and the remote: temporary files, staging and journals.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let (project, remote) = (self.path(".larder"), self.remote().join(".larder/1"));
        let places = [project.join("tmp"), project.join("journal"), remote.join("tmp")];
        places.iter().flat_map(|place| entries(place)).chain(self.strays()).collect()
    }

    /// Returns unexpected files in the project, such as misplaced staging.
    fn strays(&self) -> Vec<PathBuf> {
        let own =
            |path: &PathBuf| path.file_name().is_none_or(|name| !name.to_string_lossy().contains("larder"));
        let mut strays = entries(&self.project());
        let expected = ["larder.toml", "larder.lock", ".larderignore", ".larder"];
        strays.retain(|path| !own(path) && !expected.iter().any(|name| path.ends_with(name)));
        strays
    }

    /// Asserts that there are no leftovers.
    #[track_caller]
    pub fn assert_clean(&self) {
        let leftovers = self.leftovers();
        assert!(leftovers.is_empty(), "leftovers: {leftovers:?}");
    }
}

fn binary() -> PathBuf {
    larder_binary().expect("every case checks for the binary first")
}

fn temporary() -> TempDir {
    tempfile::Builder::new().prefix("larder-test-").tempdir().unwrap()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .map_or_else(|_| Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
}

/// Returns the relative paths of all files below a directory, in order. Everything but a directory counts as a file.
///
/// # Panics
///
/// Panics if a path is not UTF-8.
pub fn files_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for path in entries(&next) {
            if path.is_dir() {
                pending.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}
