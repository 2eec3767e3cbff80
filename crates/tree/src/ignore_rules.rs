//! Ignore files: their patterns name entries that a tree is read without.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::TreeError;
use crate::opening::OPEN_FLAGS;
use crate::project_file::{Symlinks, is_special, is_symlink, read_open_file, read_project_file};
use crate::state_directory::StateDirectory;

/// The maximum size of an ignore file, in bytes. Compiling its patterns takes many times as much memory.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// The ignore files of a project, for [`TreeOptions::ignore`](crate::TreeOptions::ignore). They have the syntax and the
/// meaning of `.gitignore`, under another name.
///
/// An ignore file applies to its directory and everything below. A deeper file decides before one above it, and a later
/// line before an earlier one. The state of larder in `.larder` is always ignored: it changes while a tree is hashed. An ignored directory is not entered, so nothing in it can be included again. The root of
/// the tree is always read, because the caller named it.
///
/// ```
/// use std::path::Path;
///
/// use larder_tree::{IgnoreRules, TreeOptions, TreeReader};
///
/// # let dir = tempfile::tempdir()?;
/// let project = dir.path();
/// std::fs::create_dir(project.join("src"))?;
/// std::fs::write(project.join("src/train.py"), "")?;
/// std::fs::write(project.join("src/train.pyc"), "")?;
/// std::fs::write(project.join(".larderignore"), "*.pyc\n")?;
///
/// let rules = IgnoreRules::read(".larderignore", project, Path::new("src"))?;
/// let options = TreeOptions::default().with_ignore(rules);
/// let paths: Result<Vec<_>, _> =
///     TreeReader::open(project.join("src"), &options).map(|entry| entry.map(|entry| entry.path)).collect();
/// assert_eq!(paths?, [b"".to_vec(), b"train.py".to_vec()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct IgnoreRules {
    name: Arc<str>,
    /// The path of the tree, relative to the project.
    below: Arc<Path>,
    /// The files of the directories above the tree, the topmost first.
    above: Arc<[IgnoreFile]>,
    left_out: Option<LeftOutReport>,
}

impl IgnoreRules {
    /// Reads the ignore files above a tree: in `project`, and in each directory down to the parent of `project/below`. A
    /// walk of the tree reads those in it. `below` must consist of names only, without `.` and `..`.
    ///
    /// # Errors
    ///
    /// [`TreeError::IgnoreFile`] if an ignore file is not a regular file, is larger than 256 KiB, is not UTF-8, or has a
    /// line that is no pattern.
    pub fn read(name: &str, project: &Path, below: &Path) -> Result<Self, TreeError> {
        let mut above = Vec::new();
        let mut directory = PathBuf::new();
        for component in below.components() {
            let path = project.join(&directory).join(name);
            match read_project_file(&path, MAX_FILE_BYTES, Symlinks::Refuse) {
                Ok(bytes) => above.push(IgnoreFile::parse(&path, &directory, name, &bytes)?),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(source) => return Err(TreeError::IgnoreFile { path, source }),
            }
            directory.push(component);
        }
        Ok(Self { name: name.into(), below: below.into(), above: above.into(), left_out: None })
    }

    /// Reports each entry that is left out.
    #[must_use]
    pub fn with_report(mut self, report: Option<LeftOutReport>) -> Self {
        self.left_out = report;
        self
    }

    /// Returns whether a name is that of an ignore file.
    pub(crate) fn is_name(&self, name: &[u8]) -> bool {
        name == self.name.as_bytes()
    }

    /// Reads the ignore file of a directory of the tree. `path` is that of the directory, relative to the tree, and `shown`
    /// its full path.
    pub(crate) fn read_in(
        &self,
        directory: impl AsFd,
        path: &[u8],
        shown: &Path,
    ) -> Result<IgnoreFile, TreeError> {
        let full = shown.join(&*self.name);
        let failed = |source| TreeError::IgnoreFile { path: full.clone(), source };
        let name = CString::new(self.name.as_bytes()).map_err(|error| failed(error.into()))?;
        let bytes = match rustix::fs::openat(directory, &name, OPEN_FLAGS | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(file) => read_open_file(&File::from(file), MAX_FILE_BYTES),
            Err(Errno::LOOP) => Err(is_symlink()),
            Err(Errno::NXIO) => Err(is_special()),
            Err(error) => Err(error.into()),
        };
        IgnoreFile::parse(&full, &self.in_project(path), &self.name, &bytes.map_err(failed)?)
    }

    /// Returns whether an entry of the tree is ignored, and reports it. `inner` are the ignore files of the directories of the
    /// tree that contain it, the deepest first.
    pub(crate) fn ignores<'a>(
        &'a self,
        path: &[u8],
        is_dir: bool,
        inner: impl Iterator<Item = &'a IgnoreFile>,
    ) -> bool {
        let path = self.in_project(path);
        if path == Path::new(StateDirectory::NAME) {
            return true;
        }
        for file in inner.chain(self.above.iter().rev()) {
            let Ok(relative) = path.strip_prefix(&file.directory) else { continue };
            match file.patterns.matched(relative, is_dir) {
                Match::None => {}
                Match::Whitelist(_) => return false,
                Match::Ignore(glob) => {
                    if let Some(report) = &self.left_out {
                        report.report(&LeftOut {
                            path: if is_dir { path.join("") } else { path },
                            pattern: glob.original().to_owned(),
                            file: file.directory.join(&*self.name),
                        });
                    }
                    return true;
                }
            }
        }
        false
    }

    fn in_project(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.below.to_path_buf() } else { self.below.join(OsStr::from_bytes(path)) }
    }
}

/// One ignore file.
#[derive(Debug)]
pub(crate) struct IgnoreFile {
    /// Its directory, relative to the project.
    directory: PathBuf,
    patterns: Gitignore,
}

impl IgnoreFile {
    fn parse(path: &Path, directory: &Path, name: &str, bytes: &[u8]) -> Result<Self, TreeError> {
        let invalid = |text: String| TreeError::IgnoreFile {
            path: path.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, text),
        };
        let text = str::from_utf8(bytes).map_err(|_| invalid("it is not valid UTF-8".to_owned()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // Paths are matched relative to the directory of the file.
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        for (index, line) in text.lines().enumerate() {
            let added = builder.add_line(Some(directory.join(name)), line);
            added.map_err(|error| invalid(format!("line {}: {error}", index + 1)))?;
        }
        let patterns = builder.build().map_err(|error| invalid(error.to_string()))?;
        Ok(Self { directory: directory.to_owned(), patterns })
    }
}

/// An entry that is not read because a pattern of an ignore file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// Its path relative to the project. That of a directory ends in `/`.
    pub path: PathBuf,
    /// The pattern.
    pub pattern: String,
    /// The path of the ignore file relative to the project.
    pub file: PathBuf,
}

/// A function that is called with each entry that is left out.
#[derive(Clone)]
pub struct LeftOutReport(Arc<dyn Fn(&LeftOut) + Send + Sync>);

impl LeftOutReport {
    /// Wraps a function.
    pub fn new(report: impl Fn(&LeftOut) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    fn report(&self, left_out: &LeftOut) {
        (self.0)(left_out);
    }
}

impl fmt::Debug for LeftOutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeftOutReport").finish_non_exhaustive()
    }
}
