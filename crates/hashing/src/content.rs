//! Hashes of files and directories.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use larder_tree::{
    EntryBody, EntryKind, IgnoreRules, ReadMode, SpecialFiles, TreeEntry, TreeError, TreeReader,
};

use crate::digest::{Digest, DigestHasher, Scheme};
use crate::error::HashError;
use crate::file_digest::hash_file_into;
use crate::hash_text::ContentHash;
use crate::manifest::TreeHasher;
use crate::options::HashOptions;

/// Hashes a file or directory at `path`, or the target of a link there.
///
/// The hash of a file is the digest of its bytes. The hash of a directory is the digest of its manifest, which has a line for
/// each file, link and empty directory. It changes with names, execute bits and empty directories, and not with times and
/// owners. Under [`Scheme::Weasel`], the hash of a directory is the MD5 of the bytes of all its files.
///
/// # Errors
///
/// The output is missing, cannot be read, changes meanwhile, or has a socket, FIFO or device.
///
/// ```
/// use larder_hashing::{HashOptions, Scheme, content_hash};
///
/// # let dir = tempfile::tempdir()?;
/// let file = dir.path().join("metrics.json");
/// std::fs::write(&file, "hello\n")?;
/// let hash = content_hash(&file, &HashOptions::new(Scheme::Sha256))?;
/// assert_eq!(hash.as_str(), "sha256-5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn content_hash(path: &Path, options: &HashOptions) -> Result<ContentHash, HashError> {
    match TreeHasher::new(options.scheme) {
        Some(hasher) => hash_with(path, options, hasher, |_| Ok(())),
        None => hash_like_weasel(path, options),
    }
}

/// Hashes a file or directory like [`content_hash`], and writes the hashed manifest to `manifest`. A single file has no
/// manifest. Under [`Scheme::Weasel`] a directory has none either.
///
/// # Errors
///
/// Those of [`content_hash`], and [`HashError::Manifest`].
pub fn content_manifest(
    path: &Path,
    options: &HashOptions,
    manifest: &mut dyn Write,
) -> Result<ContentHash, HashError> {
    match TreeHasher::new(options.scheme) {
        Some(hasher) => hash_with(path, options, hasher.with_copy(manifest), |_| Ok(())),
        None => hash_like_weasel(path, options),
    }
}

/// The name of the files whose patterns leave out parts of dependencies.
const IGNORE_FILE: &str = ".larderignore";

/// Hashes a dependency of a command at `dependency`, relative to the project root `root`, without what a `.larderignore` of
/// the project names. Outside of the project nothing is ignored. Writes the hashed manifest, and shows each entry to `see`.
///
/// A link that leaves the dependency is an error, because the command reads the target and the hash does not cover it.
pub(crate) fn hash_dependency(
    root: &Path,
    dependency: &Path,
    options: &HashOptions,
    manifest: &mut dyn Write,
    mut see: impl FnMut(&TreeEntry<Digest>),
) -> Result<ContentHash, HashError> {
    let path = &root.join(dependency);
    let Some(hasher) = TreeHasher::new(options.scheme) else { return hash_like_weasel(path, options) };
    let hasher = hasher.with_copy(manifest);
    let mut options = options.clone();
    let is_inside = dependency.components().all(|component| matches!(component, Component::Normal(_)));
    options.tree.ignore = is_inside
        .then(|| IgnoreRules::read(IGNORE_FILE, root, dependency))
        .transpose()?
        .map(|rules| rules.with_report(options.left_out.clone()));
    let options = &options;
    let mut real_root = None;
    hash_with(path, options, hasher, |entry| {
        see(entry);
        let EntryKind::Symlink { target } = &entry.kind else { return Ok(()) };
        let link = path.join(OsStr::from_bytes(&entry.path));
        let root = match &real_root {
            Some(root) => root,
            None => real_root.insert(path.canonicalize().map_err(|source| TreeError::Io {
                operation: "resolve",
                path: path.to_owned(),
                source,
            })?),
        };
        let stays = match link.canonicalize() {
            Ok(target) => target.starts_with(root),
            // Its target does not exist, so only the text says where it is.
            Err(_) => stays_by_its_text(&entry.path, target),
        };
        if stays { Ok(()) } else { Err(HashError::LeavesDependency { path: link }) }
    })
}

/// Returns whether a link at `path` with the text `target` stays below the directory that `path` is relative to, by the
/// texts alone.
fn stays_by_its_text(path: &[u8], target: &[u8]) -> bool {
    let is_separator = |byte: &u8| *byte == b'/';
    let mut depth = path.split(is_separator).count() - 1;
    for component in target.split(is_separator) {
        match component {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return false,
            },
            _ => depth += 1,
        }
    }
    !target.starts_with(b"/")
}

fn hash_with(
    path: &Path,
    options: &HashOptions,
    mut hasher: TreeHasher<'_>,
    mut inspect: impl FnMut(&TreeEntry<Digest>) -> Result<(), HashError>,
) -> Result<ContentHash, HashError> {
    let mut file = None;
    // The reader records digests in the cache when it is read to its end.
    for entry in TreeReader::with_digester(path, &options.tree_options(), options.scheme, ReadMode::Digest) {
        let entry = entry?;
        inspect(&entry)?;
        if entry.path.is_empty() {
            file = entry.digest;
        }
        hasher.add_entry(&entry);
    }
    match file {
        Some(digest) => Ok(ContentHash::of_file(options.scheme, &digest)),
        None => hasher.finish_copy(),
    }
}

/// Hashes the bytes of all files in one stream, also of files that links point to.
pub(crate) fn hash_like_weasel(path: &Path, options: &HashOptions) -> Result<ContentHash, HashError> {
    let mut hasher = DigestHasher::new(Scheme::Weasel);
    let tree_options = options.tree_options().with_special_files(SpecialFiles::Skip);
    let mut reader = TreeReader::open(path, &tree_options);
    while let Some(entry) = reader.next() {
        let entry = entry?;
        match entry.body {
            EntryBody::Bytes(bytes) => hasher.update(&bytes),
            EntryBody::Open(file) => hash_file_into(file, &mut hasher, &options.tree.workers)?,
            EntryBody::None if matches!(entry.kind, EntryKind::Symlink { .. }) => {
                if let Some(file) = reader.open_target(&entry)? {
                    hash_file_into(file, &mut hasher, &options.tree.workers)?;
                }
            }
            EntryBody::None => {}
        }
    }
    Ok(ContentHash::of_tree(Scheme::Weasel, &hasher.finish()))
}
