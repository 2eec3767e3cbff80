//! Trees to hash, and observers.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_hashing::{ContentHash, HashOptions, Scheme, content_hash, content_manifest};
use larder_tree::{Observer, TreeOptions};
use tempfile::TempDir;

/// A temporary directory for trees.
pub(crate) struct Playground(TempDir);

impl Playground {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, path: impl AsRef<OsStr>) -> PathBuf {
        self.0.path().join(path.as_ref())
    }

    fn make_parent(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
    }

    pub(crate) fn file(&self, path: impl AsRef<OsStr>, data: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        Self::make_parent(&path);
        fs::write(path, data).unwrap();
        self
    }

    pub(crate) fn files(&self, files: impl IntoIterator<Item = (String, impl AsRef<[u8]>)>) {
        for (path, data) in files {
            self.file(path, data);
        }
    }

    pub(crate) fn executable(&self, path: impl AsRef<OsStr>) -> &Self {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    pub(crate) fn directory(&self, path: impl AsRef<OsStr>) -> &Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    pub(crate) fn link(&self, path: impl AsRef<OsStr>, target: impl AsRef<OsStr>) -> &Self {
        let path = self.path(path);
        Self::make_parent(&path);
        symlink(target.as_ref(), path).unwrap();
        self
    }

    pub(crate) fn fifo(&self, path: impl AsRef<OsStr>) -> &Self {
        assert!(Command::new("mkfifo").arg(self.path(path)).status().unwrap().success());
        self
    }
}

pub(crate) fn bytes(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

pub(crate) fn hash(path: &Path) -> ContentHash {
    content_hash(path, &HashOptions::default()).unwrap()
}

pub(crate) fn manifest(path: &Path, options: &HashOptions) -> (ContentHash, String) {
    let mut manifest = Vec::new();
    let hash = content_manifest(path, options, &mut manifest).unwrap();
    (hash, String::from_utf8(manifest).unwrap())
}

pub(crate) fn under(scheme: Scheme) -> HashOptions {
    HashOptions::new(scheme)
}

/// Options that follow symbolic links.
pub(crate) fn following(scheme: Scheme) -> HashOptions {
    under(scheme).with_tree(TreeOptions::default().with_dereference(true))
}

/// Options with an observer.
pub(crate) fn watched_by(scheme: Scheme, observer: Arc<dyn Observer>) -> HashOptions {
    under(scheme).with_tree(TreeOptions::default().with_observer(observer))
}

/// Counts bytes. Runs an action once after some bytes, and cancels after others.
pub(crate) struct Watcher {
    pub(crate) seen: AtomicU64,
    pub(crate) stop_after: u64,
    pub(crate) at_first: Box<dyn Fn() + Send + Sync>,
}

impl Watcher {
    pub(crate) fn stopping_after(stop_after: u64) -> Self {
        Self { seen: AtomicU64::new(0), stop_after, at_first: Box::new(|| {}) }
    }

    pub(crate) fn at_first(action: impl Fn() + Send + Sync + 'static) -> Self {
        Self { at_first: Box::new(action), ..Self::stopping_after(u64::MAX) }
    }
}

impl Observer for Watcher {
    fn bytes(&self, count: u64) {
        if self.seen.fetch_add(count, Ordering::SeqCst) == 0 {
            (self.at_first)();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.seen.load(Ordering::SeqCst) >= self.stop_after
    }
}
