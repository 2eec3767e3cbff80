//! The directory of the remote, and the way from it to a key.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use larder_backend::{CreatedRoot, Error, ErrorKind, Key, Operation};

use crate::config::RemotePath;
use crate::connection::Connection;
use crate::error::Trouble;

/// The longest name that the usual file systems take, in bytes.
pub(crate) const MAX_NAME_LEN: usize = 255;

/// What is larder's own, and where uploads are before they are published.
const OWN_DIRECTORIES: [&str; 3] = [".larder", "1", "tmp"];
pub(crate) const TEMPORARIES: &str = ".larder/1/tmp";

/// Everything of the root's mode but setuid, which means nothing on a directory.
const OF_DIRECTORY: u32 = 0o3777;
const OF_FILE: u32 = 0o666;
/// The owner of what an upload makes can always use it; whoever lost these bits could not even sweep.
const OWNER_OF_DIRECTORY: u32 = 0o700;
const OWNER_OF_FILE: u32 = 0o600;

/// What to do where the root is missing and cannot be created.
const NO_PARENT: &str = "the directory above it is missing too: check the path on the server, or create it";

/// The root of a remote, which need not exist yet.
#[derive(Debug)]
pub(crate) struct Place {
    path: RemotePath,
    url: String,
    found: Mutex<Option<Arc<Root>>>,
    created: OnceLock<CreatedRoot>,
}

/// The root of a remote, as it is on the server.
#[derive(Debug)]
pub(crate) struct Root {
    /// Absolute, or relative to where the server begins. It may lead over links: it is the user's own.
    path: String,
    /// The mode of every directory below.
    directory_mode: u32,
    /// The mode of every file below.
    pub(crate) file_mode: u32,
}

impl Place {
    pub(crate) fn new(path: RemotePath, url: String) -> Self {
        Self { path, url, found: Mutex::default(), created: OnceLock::new() }
    }

    /// The URL of the remote.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where an object is, for people.
    pub(crate) fn location(&self, key: &Key) -> String {
        format!("{}/{key}", self.url)
    }

    /// Refuses keys that this backend does not take.
    pub(crate) fn check(&self, key: &Key, operation: Operation) -> Result<(), Error> {
        let refuse = |hint: &str| {
            Err(Error::new(ErrorKind::InvalidInput, operation, self.location(key)).with_hint(hint))
        };
        if key.segments().any(|segment| segment.len() > MAX_NAME_LEN) {
            return refuse("a part of the name is longer than the 255 bytes that file systems take");
        }
        if is_temporary(key.as_str()) {
            return refuse("`.larder/1/tmp` is for uploads that are under way");
        }
        Ok(())
    }

    fn text(&self) -> String {
        match &self.path {
            // The server takes relative paths from there.
            RemotePath::Home(path) if path.is_empty() => ".".to_owned(),
            RemotePath::Absolute(path) | RemotePath::Home(path) => path.clone(),
        }
    }

    /// Returns how [`Place::root_or_create`] created the root, if it did.
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
    fn can_be_created(&self, connection: &Connection) -> Result<bool, Trouble> {
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
    pub(crate) fn root(&self, connection: &Connection) -> Result<Option<Arc<Root>>, Trouble> {
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
            return Err(missing("the path exists and is not a directory"));
        }
        let mode = stat.perm.unwrap_or(0o755);
        let root = Arc::new(Root {
            path: text.trim_end_matches('/').to_owned(),
            directory_mode: (mode & OF_DIRECTORY) | OWNER_OF_DIRECTORY,
            file_mode: (mode & OF_FILE) | OWNER_OF_FILE,
        });
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&root));
        Ok(Some(root))
    }

    /// Finds the root for an upload, which creates at most its last component.
    pub(crate) fn root_or_create(&self, connection: &Connection) -> Result<Arc<Root>, Trouble> {
        let text = self.text();
        if let Some(root) = self.root(connection)? {
            return Ok(root);
        }
        // SFTP does not tell on which device a directory is.
        let mut how = CreatedRoot::InEmptyParent;
        let read = connection.read_directory(&self.parent(), |_, _| {
            how = CreatedRoot::InUsedParent;
            Ok(())
        });
        match read {
            Err(trouble) if trouble.is_broken => return Err(trouble),
            // Not everybody who may create a directory may list the one above it.
            Err(_) => how = CreatedRoot::InUsedParent,
            Ok(()) => {}
        }
        match connection.make_directory(&text, 0o777) {
            Ok(()) => {
                self.created.get_or_init(|| how);
            }
            Err(trouble) if trouble.is_absent() => return Err(missing(NO_PARENT)),
            // Another client was faster, or the path is not a directory: looking again tells.
            Err(trouble) if trouble.is_failure() => {}
            Err(trouble) => return Err(trouble),
        }
        self.root(connection)?.ok_or_else(|| missing(NO_PARENT))
    }
}

fn missing(hint: &str) -> Trouble {
    Trouble::new(ErrorKind::RootMissing).with_hint(hint)
}

/// Whether a path below the root is the place of temporaries, or is in it.
pub(crate) fn is_temporary(path: &str) -> bool {
    path.strip_prefix(TEMPORARIES).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Root {
    /// The path of something below the root, or of the root itself.
    pub(crate) fn path_of(&self, below: &str) -> String {
        match below.trim_end_matches('/') {
            "" if self.path.is_empty() => "/".to_owned(),
            "" => self.path.clone(),
            below => format!("{}/{below}", self.path),
        }
    }

    /// The path of a file that is being written.
    pub(crate) fn temporary(&self, name: &str) -> String {
        self.path_of(&format!("{TEMPORARIES}/{name}"))
    }

    /// Whether a directory is there, and no link leads away on the path to it from the root: whoever can write to the root
    /// must not be able to make another user read or write elsewhere.
    ///
    /// It looks at each component. To have the server resolve the path would be one question, but ssh2 has room for 128
    /// bytes of the answer, and asks again and again where there are more and the session does not block.
    pub(crate) fn is_straight(&self, connection: &Connection, below: &str) -> Result<bool, Trouble> {
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

    /// Makes the directories of temporaries.
    pub(crate) fn make_own(&self, connection: &Connection) -> Result<(), Trouble> {
        self.make(connection, &mut OWN_DIRECTORIES.into_iter())
    }

    /// Makes the directories above a key.
    pub(crate) fn make_parents(&self, connection: &Connection, key: &Key) -> Result<(), Trouble> {
        let mut segments = key.segments();
        segments.next_back();
        self.make(connection, &mut segments)
    }

    fn make(&self, connection: &Connection, segments: &mut dyn Iterator<Item = &str>) -> Result<(), Trouble> {
        let mut path = self.path.clone();
        for segment in segments {
            path.push('/');
            path.push_str(segment);
            match connection.make_directory(&path, self.directory_mode) {
                // The server's umask has had its say: the team has the last word.
                Ok(()) => connection.set_mode(&path, self.directory_mode)?,
                Err(trouble) if trouble.is_broken => return Err(trouble),
                Err(trouble) => match connection.lstat(&path) {
                    Ok(stat) if stat.is_dir() => {
                        // Where it lacks bits, because of the umask or because its maker was killed: what others own is
                        // theirs, and then this fails.
                        let mode = stat.perm.unwrap_or(self.directory_mode) & 0o7777;
                        if mode & self.directory_mode != self.directory_mode {
                            match connection.set_mode(&path, mode | self.directory_mode) {
                                Err(trouble) if trouble.is_broken => return Err(trouble),
                                _ => {}
                            }
                        }
                    }
                    Ok(_) => {
                        return Err(Trouble::new(ErrorKind::Other)
                            .with_hint("a directory has to be above it, and something else has that name")
                            .with_source(format!("{path} is not a directory")));
                    }
                    Err(other) if other.is_broken => return Err(other),
                    Err(_) => return Err(trouble),
                },
            }
        }
        Ok(())
    }

    /// Removes the directories above a key that have become empty. Others may be about to use one of them: they make
    /// it again.
    pub(crate) fn prune(&self, connection: &Connection, key: &Key) -> Result<(), Trouble> {
        let mut path = key.as_str();
        while let Some((parent, _)) = path.rsplit_once('/') {
            match connection.remove_directory(&self.path_of(parent)) {
                Ok(()) => path = parent,
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
    fn paths_are_below_the_root_and_the_place_of_temporaries_is_no_key() {
        let mut root = Root { path: "/srv/store".into(), directory_mode: 0, file_mode: 0 };
        assert_eq!(root.path_of(""), "/srv/store");
        assert_eq!(root.path_of("a/b/"), "/srv/store/a/b");
        root.path = String::new();
        assert_eq!((root.path_of("").as_str(), root.path_of("a").as_str()), ("/", "/a"));
        assert!(
            is_temporary(".larder/1/tmp/x")
                && is_temporary(".larder/1/tmp")
                && !is_temporary(".larder/1/tmpx")
        );
        let place = Place::new(RemotePath::Home("s".into()), "ssh://h/~/s".into());
        let key = Key::parse(".larder/1/tmp/x").unwrap();
        assert_eq!(place.check(&key, Operation::Put).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
