//! The directory of the remote, and the path from it to a key.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use larder_backend::{CreatedRoot, Error, ErrorKind, Key, Operation};
use larder_backend_files::modes::Modes;
use larder_backend_files::temporary_name::TemporaryName;
use larder_backend_files::{advice, layout};

use crate::config::RemotePath;
use crate::connection::SftpConnection;
use crate::error::Trouble;

/// The hint where the root is missing and cannot be created.
const NO_PARENT: &str = "the directory above it is missing too: check the path on the server, or create it";

/// The root of a remote, which need not exist yet.
#[derive(Debug)]
pub(crate) struct SshRoot {
    path: RemotePath,
    url: String,
    found: Mutex<Option<Arc<FoundRoot>>>,
    created: OnceLock<CreatedRoot>,
}

/// The root of a remote, as it is on the server.
#[derive(Debug)]
pub(crate) struct FoundRoot {
    /// An absolute path, or one from the directory in which the server starts. It may have links, because the user chose it.
    path: String,
    /// The modes of everything below.
    pub(crate) modes: Modes,
}

impl SshRoot {
    pub(crate) fn new(path: RemotePath, url: String) -> Self {
        Self { path, url, found: Mutex::default(), created: OnceLock::new() }
    }

    /// The URL of the remote.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The URL of an object, for messages.
    pub(crate) fn location(&self, key: &Key) -> String {
        format!("{}/{key}", self.url)
    }

    /// Refuses keys that this backend does not take.
    pub(crate) fn check(&self, key: &Key, operation: Operation) -> Result<(), Error> {
        layout::check_key(key, operation, || self.location(key))
    }

    fn text(&self) -> String {
        match &self.path {
            // The server starts in the home directory.
            RemotePath::Home(path) if path.is_empty() => ".".to_owned(),
            RemotePath::Absolute(path) | RemotePath::Home(path) => path.clone(),
        }
    }

    /// Returns how [`SshRoot::find_or_create`] created the root, if it did.
    pub(crate) fn created(&self) -> Option<CreatedRoot> {
        self.created.get().copied()
    }

    /// The directory above the root.
    fn parent(&self) -> String {
        let text = self.text();
        match text.trim_end_matches('/').rsplit_once('/') {
            Some(("", _)) => "/".to_owned(),
            Some((parent, _)) => parent.to_owned(),
            None => ".".to_owned(),
        }
    }

    /// Whether an upload would create the root, which is missing. A symlink to nothing cannot be replaced by a
    /// directory.
    fn can_be_created(&self, connection: &SftpConnection) -> Result<bool, Trouble> {
        match connection.lstat(&self.text()) {
            Ok(_) => return Ok(false),
            Err(trouble) if trouble.is_absent() => {}
            Err(trouble) => return Err(trouble),
        }
        match connection.stat(&self.parent()) {
            Ok(stat) => Ok(stat.is_dir()),
            Err(trouble) if trouble.is_absent() => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// Finds the root for an operation that never creates it. Returns `None` where the root is missing and an upload
    /// would create it: such a remote is empty.
    pub(crate) fn find(&self, connection: &SftpConnection) -> Result<Option<Arc<FoundRoot>>, Trouble> {
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return Ok(known);
        }
        let text = self.text();
        let found = match connection.stat(&text) {
            Err(trouble) if trouble.is_absent() => {
                if self.can_be_created(connection)? {
                    return Ok(None);
                }
                // Another client may have created it since.
                connection.stat(&text)
            }
            found => found,
        };
        let stat = found.map_err(|trouble| if trouble.is_absent() { missing(NO_PARENT) } else { trouble })?;
        if !stat.is_dir() {
            return Err(missing(advice::ROOT_IS_NO_DIRECTORY));
        }
        let root = Arc::new(FoundRoot {
            path: text.trim_end_matches('/').to_owned(),
            modes: Modes::of_root(stat.perm.unwrap_or(0o755)),
        });
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&root));
        Ok(Some(root))
    }

    /// Finds the root for an upload, which creates at most its last component.
    pub(crate) fn find_or_create(&self, connection: &SftpConnection) -> Result<Arc<FoundRoot>, Trouble> {
        let text = self.text();
        if let Some(root) = self.find(connection)? {
            return Ok(root);
        }
        // SFTP does not report the device of a directory.
        let mut how = CreatedRoot::InEmptyParent;
        let read = connection.read_directory(&self.parent(), |_, _| {
            how = CreatedRoot::InUsedParent;
            Ok(())
        });
        match read {
            Err(trouble) if trouble.is_broken => return Err(trouble),
            // A user may be allowed to create a directory, but not to list the one above it.
            Err(_) => how = CreatedRoot::InUsedParent,
            Ok(()) => {}
        }
        match connection.make_directory(&text, 0o777) {
            Ok(()) => {
                self.created.get_or_init(|| how);
            }
            Err(trouble) if trouble.is_absent() => return Err(missing(NO_PARENT)),
            // Another client was faster, or the path is not a directory. `find` reports which.
            Err(trouble) if trouble.is_failure() => {}
            Err(trouble) => return Err(trouble),
        }
        self.find(connection)?.ok_or_else(|| missing(NO_PARENT))
    }
}

fn missing(hint: &str) -> Trouble {
    Trouble::new(ErrorKind::RootMissing).with_hint(hint)
}

impl FoundRoot {
    /// The path of something below the root, or of the root itself.
    pub(crate) fn path_of(&self, below: &str) -> String {
        match below.trim_end_matches('/') {
            "" if self.path.is_empty() => "/".to_owned(),
            "" => self.path.clone(),
            below => format!("{}/{below}", self.path),
        }
    }

    /// The path of a file that is being written.
    pub(crate) fn temporary(&self, name: TemporaryName) -> String {
        self.path_of(&format!("{}/{name}", layout::TEMPORARIES))
    }

    /// Whether a directory exists, and the path to it from the root has no links. A user who can write to the root must not be
    /// able to make another user read or write elsewhere.
    ///
    /// It checks each component. The server could resolve the whole path in one request, but ssh2 has a buffer of 128 bytes
    /// for the answer. For a longer one it asks again and again if the session does not block.
    pub(crate) fn is_straight(&self, connection: &SftpConnection, below: &str) -> Result<bool, Trouble> {
        let below = below.trim_end_matches('/');
        let ends =
            below.match_indices('/').map(|(end, _)| end).chain((!below.is_empty()).then_some(below.len()));
        for end in ends {
            match connection.lstat(&self.path_of(&below[..end])) {
                Ok(stat) if stat.is_dir() => {}
                Ok(_) => return Ok(false),
                Err(trouble) if trouble.is_absent() => return Ok(false),
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(true)
    }

    /// Creates the directories of temporaries.
    pub(crate) fn make_own(&self, connection: &SftpConnection) -> Result<(), Trouble> {
        self.make(connection, &mut layout::OWN_DIRECTORIES.into_iter())
    }

    /// Creates the directories above a key.
    pub(crate) fn make_parents(&self, connection: &SftpConnection, key: &Key) -> Result<(), Trouble> {
        let mut segments = key.segments();
        segments.next_back();
        self.make(connection, &mut segments)
    }

    fn make(
        &self,
        connection: &SftpConnection,
        segments: &mut dyn Iterator<Item = &str>,
    ) -> Result<(), Trouble> {
        let mut path = self.path.clone();
        for segment in segments {
            path.push('/');
            path.push_str(segment);
            match connection.make_directory(&path, self.modes.directory) {
                // The umask of the server may have removed bits that the team needs.
                Ok(()) => connection.set_mode(&path, self.modes.directory)?,
                Err(trouble) if trouble.is_broken => return Err(trouble),
                Err(trouble) => match connection.lstat(&path) {
                    Ok(stat) if stat.is_dir() => {
                        // It may lack bits because of the umask, or because its maker was killed. This fails for a directory
                        // of another user.
                        let mode = stat.perm.unwrap_or(self.modes.directory) & 0o7777;
                        if mode & self.modes.directory != self.modes.directory {
                            match connection.set_mode(&path, mode | self.modes.directory) {
                                Err(trouble) if trouble.is_broken => return Err(trouble),
                                _ => {}
                            }
                        }
                    }
                    Ok(_) => {
                        return Err(Trouble::new(ErrorKind::Other)
                            .with_hint(advice::PARENT_IS_NO_DIRECTORY)
                            .with_source(format!("{path} is not a directory")));
                    }
                    Err(other) if other.is_broken => return Err(other),
                    Err(_) => return Err(trouble),
                },
            }
        }
        Ok(())
    }

    /// Removes the directories above a key that have become empty. Others who are about to use one make it again.
    pub(crate) fn prune(&self, connection: &SftpConnection, key: &Key) -> Result<(), Trouble> {
        for directory in layout::parents(key) {
            match connection.remove_directory(&self.path_of(directory)) {
                Ok(()) => {}
                Err(trouble) if trouble.is_broken => return Err(trouble),
                Err(_) => break,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_below_the_root_and_temporaries_have_no_key() {
        let mut root = FoundRoot { path: "/srv/store".into(), modes: Modes::of_root(0o755) };
        assert_eq!(root.path_of(""), "/srv/store");
        assert_eq!(root.path_of("a/b/"), "/srv/store/a/b");
        root.path = String::new();
        assert_eq!((root.path_of("").as_str(), root.path_of("a").as_str()), ("/", "/a"));
        let root = SshRoot::new(RemotePath::Home("s".into()), "ssh://h/~/s".into());
        let key = Key::parse(".larder/1/tmp/x").unwrap();
        assert_eq!(root.check(&key, Operation::Put).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
