//! Asks git about the work tree of a project.

mod ask;

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder_hashing::OutputPath;

use crate::larder_lock::LarderLock;
use crate::pin::Pin;
use ask::Question;

/// The time limit for git to report changed files. In a large repository, git reads all files.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// The maximum size of a version of `larder.lock`, and of an answer about many paths, in bytes.
const MAX_LARGE: u64 = 64 << 20;

/// The maximum number of hex digits of a commit hash, which is that of SHA-256.
const MAX_COMMIT: usize = 64;

/// The number of commits that are checked for the last change of a pin.
const MAX_CANDIDATES: &str = "--max-count=8";

/// The git work tree around a project.
///
/// Each question starts git. Without an answer, the result is `None`: there is no git, the project is not in a work tree, or
/// the answer takes too long.
#[derive(Clone, Debug)]
pub struct Git {
    root: PathBuf,
}

/// A commit that changed a pin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PinCommit {
    /// The first digits of its hash.
    pub short_hash: String,
    /// The first line of its message, without control characters.
    pub subject: String,
    /// The name of its author, without control characters.
    pub author: String,
}

impl fmt::Display for PinCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (\"{}\", by {})", self.short_hash, self.subject, self.author)
    }
}

impl Git {
    /// Returns the work tree of the project at `root`. Asks nothing yet.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Returns the top directory of the work tree.
    pub fn top(&self) -> Option<PathBuf> {
        let mut top = self.output(&["rev-parse", "--show-toplevel"])?;
        if top.last() == Some(&b'\n') {
            top.pop();
        }
        // In a bare repository, git prints nothing.
        (!top.is_empty()).then(|| OsString::from_vec(top).into())
    }

    /// Returns the hash of the commit that is checked out.
    pub fn head(&self) -> Option<String> {
        let commit = self.text(&["rev-parse", "--verify", "--quiet", "HEAD"])?;
        let commit = commit.trim();
        let is_hash = commit.len() <= MAX_COMMIT && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| commit.to_owned())
    }

    /// Returns whether files that git tracks differ from the commit that is checked out.
    pub fn is_dirty(&self) -> Option<bool> {
        let args = ["status", "--porcelain", "--untracked-files=no"];
        Question { timeout: STATUS_TIMEOUT, max_bytes: 1, ..Question::new(&self.root, &args) }
            .ask()?
            .has_output()
    }

    /// Returns whether git tracks an output, or a file below it.
    pub fn tracks(&self, path: &OutputPath) -> Option<bool> {
        let args = ["--literal-pathspecs", "ls-files", "-z", "--", path.as_str()];
        Question { max_bytes: 1, ..Question::new(&self.root, &args) }.ask()?.has_output()
    }

    /// Returns for each path below the project root whether a `.gitignore` of the repository ignores it. A file that only this
    /// user has does not count. A path ends with a `/` for a directory that may not exist.
    pub fn ignores(&self, paths: &[&str]) -> Option<Vec<bool>> {
        // With the index, git does not report tracked files.
        let args = ["check-ignore", "--no-index", "--verbose", "--non-matching", "--stdin", "-z"];
        // A colon at the beginning would have a special meaning.
        let input = paths.iter().flat_map(|path| format!("./{path}\0").into_bytes()).collect();
        let question = Question { input, max_bytes: MAX_LARGE, ..Question::new(&self.root, &args) };
        // The exit code says only whether it ignores any.
        let answer = question.ask().filter(|answer| matches!(answer.code, Some(0 | 1)))?;
        let fields: Vec<&[u8]> = answer.stdout.split(|byte| *byte == 0).collect();
        // The file, the line, the pattern and the path.
        let (matches, _) = fields.as_chunks::<4>();
        let ignores = |[file, _, pattern, _]: &[&[u8]; 4]| {
            let is_of_repository =
                *file == b".gitignore" || file.ends_with(b"/.gitignore") && file[0] != b'/';
            is_of_repository && pattern.first() != Some(&b'!')
        };
        (matches.len() == paths.len()).then(|| matches.iter().map(ignores).collect())
    }

    /// Returns a version of `larder.lock` in a merge that is not finished: 1 is the common ancestor, 2 is ours, 3 is theirs.
    pub fn unmerged_lock(&self, stage: u8) -> Option<LarderLock> {
        self.lock_of(&format!(":{stage}"))
    }

    /// Returns the commit that last set a pin to its version. Git reads the history of `larder.lock`, so ask only to explain an
    /// error.
    pub fn last_change_of(&self, pin: &Pin) -> Option<PinCommit> {
        // A commit that sets a pin adds one of these texts to the file.
        let added = [pin.content.as_str(), pin.command.as_str()];
        added.into_iter().find_map(|text| {
            let candidates = self.commits_that_add(text)?;
            candidates.lines().find_map(|line| self.commit_of(line, pin))
        })
    }

    /// Returns the commits that changed how often `larder.lock` has a text: one per line, with fields between NULs.
    fn commits_that_add(&self, text: &str) -> Option<String> {
        let added = format!("-S{text}");
        let format = "--format=%H%x00%P%x00%h%x00%an%x00%s";
        let args = [
            "log",
            "--no-show-signature",
            "--no-textconv",
            "--no-ext-diff",
            "--no-color",
            "--encoding=UTF-8",
            MAX_CANDIDATES,
            format,
            &added,
            "--",
            LarderLock::NAME,
        ];
        self.text(&args)
    }

    /// Returns the commit of a line of [`Self::commits_that_add`], if it set the pin.
    fn commit_of(&self, line: &str, pin: &Pin) -> Option<PinCommit> {
        let [hash, parents, short_hash, author, subject] =
            line.splitn(5, '\0').collect::<Vec<_>>().try_into().ok()?;
        let has_pin = |commit: &str| {
            let lock = self.lock_of(commit)?;
            Some(lock.get(&pin.path).is_some_and(|found| found.names_same_object(pin)))
        };
        if has_pin(hash) != Some(true) {
            return None;
        }
        let is_older = match parents.split(' ').next().filter(|parent| !parent.is_empty()) {
            Some(parent) => has_pin(parent) == Some(true),
            // The oldest commit of a shallow clone has parents that are not here.
            None => self.is_shallow(),
        };
        if is_older {
            return None;
        }
        let shown = |text: &str| text.chars().filter(|character| !character.is_control()).collect();
        Some(PinCommit { short_hash: short_hash.to_owned(), subject: shown(subject), author: shown(author) })
    }

    fn is_shallow(&self) -> bool {
        self.text(&["rev-parse", "--is-shallow-repository"]).is_some_and(|text| text.trim() == "true")
    }

    /// Returns the `larder.lock` of a commit, or of a stage of the index.
    fn lock_of(&self, version: &str) -> Option<LarderLock> {
        // The `./` makes the name relative to the project root.
        let name = format!("{version}:./{}", LarderLock::NAME);
        let args = ["cat-file", "blob", &name];
        let question = Question { max_bytes: MAX_LARGE, ..Question::new(&self.root, &args) };
        let text = String::from_utf8(question.ask()?.success()?).ok()?;
        LarderLock::parse(&text, LarderLock::NAME.as_ref()).ok()
    }

    fn text(&self, args: &[&str]) -> Option<String> {
        Some(String::from_utf8_lossy(&self.output(args)?).into_owned())
    }

    fn output(&self, args: &[&str]) -> Option<Vec<u8>> {
        Question::new(&self.root, args).ask()?.success()
    }
}

#[cfg(test)]
mod tests;
