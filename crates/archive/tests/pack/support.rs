//! Trees to pack, and helpers to read archives.

use std::ffi::OsStr;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::TryStreamExt;
use larder_archive::{PackError, PackOptions, Packed, Packing, pack};
use larder_hashing::{ContentHash, HashOptions, OutputPath, Scheme, content_hash};
use larder_tree::{Observer, Workers};
use tempfile::TempDir;

/// A project with outputs.
pub(crate) struct Project(TempDir);

impl Project {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, path: impl AsRef<OsStr>) -> PathBuf {
        self.0.path().join(path.as_ref())
    }

    pub(crate) fn file(&self, path: impl AsRef<OsStr>, data: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
        self
    }

    pub(crate) fn executable(&self, path: impl AsRef<OsStr>) -> &Self {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o700)).unwrap();
        self
    }

    pub(crate) fn directory(&self, path: impl AsRef<OsStr>) -> &Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    pub(crate) fn link(&self, path: impl AsRef<OsStr>, target: impl AsRef<OsStr>) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target.as_ref(), path).unwrap();
        self
    }

    pub(crate) fn fifo(&self, path: impl AsRef<OsStr>) -> &Self {
        assert!(Command::new("mkfifo").arg(self.path(path)).status().unwrap().success());
        self
    }

    pub(crate) fn pack(&self, output: &str, options: &PackOptions) -> Result<(Vec<u8>, Packed), PackError> {
        drain(pack(self.root(), &output.parse_output(), options))
    }

    /// Returns a plain tar of the output.
    pub(crate) fn tar(&self, output: &str) -> Vec<u8> {
        self.pack(output, &plain()).unwrap().0
    }

    pub(crate) fn hash(&self, output: &str, scheme: Scheme) -> ContentHash {
        content_hash(&self.path(output), &HashOptions::new(scheme)).unwrap()
    }
}

pub(crate) trait ParseOutput {
    fn parse_output(&self) -> OutputPath;
}

impl ParseOutput for str {
    fn parse_output(&self) -> OutputPath {
        OutputPath::new(self).unwrap()
    }
}

pub(crate) fn plain() -> PackOptions {
    PackOptions::default().with_compression("none".parse().unwrap())
}

pub(crate) fn bytes(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

pub(crate) fn workers(jobs: usize) -> Workers {
    Workers::new(NonZeroUsize::new(jobs).unwrap())
}

/// Reads a packing to its end.
pub(crate) fn drain(mut packing: Packing) -> Result<(Vec<u8>, Packed), PackError> {
    block_on(async {
        let mut archive = Vec::new();
        while let Some(bytes) = packing.try_next().await? {
            archive.extend_from_slice(&bytes);
        }
        Ok((archive, packing.finish().await?))
    })
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}

/// Unpacks with `tar`, and returns the directory.
pub(crate) fn unpack_with_tar(archive: &[u8]) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let file = to.path().join(".archive");
    fs::write(&file, archive).unwrap();
    let run = Command::new("tar").args(["-x", "-f"]).arg(&file).arg("-C").arg(to.path()).output().unwrap();
    assert!(run.status.success() && run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
    fs::remove_file(file).unwrap();
    to
}

/// Unpacks with Python's `tarfile`, which weasel uses, and returns the directory.
pub(crate) fn unpack_with_python(archive: &[u8]) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let file = to.path().join(".archive");
    fs::write(&file, archive).unwrap();
    let script = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";
    let run = Command::new("python3").args(["-c", script]).arg(&file).arg(to.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    fs::remove_file(file).unwrap();
    to
}

/// Returns the listing of Python's `tarfile`: name, type, mode, owner and so on, one line per entry.
pub(crate) fn list_with_python(archive: &[u8]) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, archive).unwrap();
    let script = "
import sys, tarfile
for m in tarfile.open(sys.argv[1]):
    print(ascii(m.name), m.type.decode(), oct(m.mode), m.uid, m.gid, repr(m.uname + m.gname), m.mtime, m.size, ascii(m.linkname))
";
    let run = Command::new("python3").args(["-c", script]).arg(file.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

/// Counts bytes. Runs an action once after some bytes, and cancels after others.
pub(crate) struct Watcher {
    pub(crate) seen: AtomicU64,
    act_after: u64,
    stop_after: u64,
    action: Box<dyn Fn() + Send + Sync>,
}

impl Watcher {
    pub(crate) fn stopping_after(stop_after: u64) -> Self {
        Self { seen: AtomicU64::new(0), act_after: u64::MAX, stop_after, action: Box::new(|| {}) }
    }

    pub(crate) fn acting_after(act_after: u64, action: impl Fn() + Send + Sync + 'static) -> Self {
        Self { act_after, action: Box::new(action), ..Self::stopping_after(u64::MAX) }
    }
}

impl Observer for Watcher {
    fn bytes(&self, count: u64) {
        let before = self.seen.fetch_add(count, Ordering::SeqCst);
        if before < self.act_after && before + count >= self.act_after {
            (self.action)();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.seen.load(Ordering::SeqCst) >= self.stop_after
    }
}
