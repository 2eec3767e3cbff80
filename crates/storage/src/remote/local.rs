//! Directories as remotes.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use larder_backend::Backend;
use percent_encoding::percent_decode_str;

use crate::remote::error::OpenError;
use crate::remote::location::{OpenRequest, RemoteKind, RemoteLocation};

pub(crate) const KIND: RemoteKind = RemoteKind { schemes: &["file"], has_query: false, read };

/// A directory.
#[derive(Clone, Debug)]
pub(crate) struct LocalDirectory {
    path: PathBuf,
    /// Whether an upload creates the directory with all its parents, and not only its last component.
    #[cfg_attr(not(feature = "local"), expect(dead_code, reason = "only the backend creates directories"))]
    creates_parents: bool,
}

impl LocalDirectory {
    /// The directory at `path`, which must be absolute.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: without_dots(path), creates_parents: false }
    }

    /// Returns the same, but the first upload creates it with all its parents.
    pub(crate) fn with_parents(path: PathBuf) -> Self {
        Self { path, creates_parents: true }
    }
}

impl fmt::Display for LocalDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl RemoteLocation for LocalDirectory {
    #[cfg(feature = "local")]
    fn open(&self, request: &OpenRequest<'_>) -> Result<Arc<dyn Backend>, OpenError> {
        use larder_backend_local::{CreateRoot, LocalBackend, LocalConfig};
        request.options.refuse_all("a directory has no options")?;
        let create = if self.creates_parents { CreateRoot::All } else { CreateRoot::LastComponent };
        let config =
            LocalConfig::new(self.path.clone()).with_create(create).with_stall_timeout(request.stall_timeout);
        Ok(Arc::new(LocalBackend::open(config).map_err(OpenError::Backend)?))
    }

    #[cfg(not(feature = "local"))]
    fn open(&self, _request: &OpenRequest<'_>) -> Result<Arc<dyn Backend>, OpenError> {
        Err(crate::remote::error::InvalidRemote::NoBackend { scheme: "file", feature: "local" }.into())
    }

    fn local_path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

fn read(rest: &str) -> Result<Arc<dyn RemoteLocation>, &'static str> {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if !matches!(host, "" | "localhost") {
        return Err("a file URL names no host: write file:///path");
    }
    let path = &rest[host.len()..];
    if path.is_empty() {
        return Err("it names no path");
    }
    if path.contains(['?', '#']) {
        return Err("`?` and `#` in a file URL's path are written %3F and %23");
    }
    let path = percent_decode_str(path).decode_utf8().map_err(|_| "its path is not UTF-8")?;
    if path.contains('\0') {
        return Err("its path has a NUL");
    }
    Ok(Arc::new(LocalDirectory::new(Path::new(&*path))))
}

/// Removes `.` and `..` from a path without changing its meaning. `..` stays after a symlink, because it refers to the
/// parent of its target, and after a name that does not exist.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if clean.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) => {
                // `/..` is `/`. The last component is `..` where an earlier one stayed.
                if clean.file_name().is_some() || clean.parent().is_none() {
                    clean.pop();
                } else {
                    clean.push(component);
                }
            }
            other => clean.push(other),
        }
    }
    clean
}
