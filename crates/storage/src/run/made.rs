//! The outputs that a command made.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use larder_hashing::{ContentHash, OutputPath};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};

use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::hash::content_hash;
use crate::state::{LocalRun, check_one_mount};

/// Returns whether an output is as a run here made it.
pub(super) async fn is_as_recorded(
    context: &StorageContext,
    output: &OutputPath,
    last: &LocalRun,
) -> Result<bool> {
    let path = output.below(&context.root);
    let (Some(recorded), Ok(found)) = (last.record.output(output), fs::symlink_metadata(&path)) else {
        return Ok(false);
    };
    let was_executable = last.executables.contains(output.as_str());
    if found.is_symlink() || is_executable(&found) != was_executable {
        return Ok(false);
    }
    let Some(scheme) = recorded.content_hash.verifiable_under(context.options.scheme) else {
        return Ok(false);
    };
    Ok(content_hash(context, scheme, &path, Some(output)).await? == recorded.content_hash)
}

/// Returns whether an existing output is neither one of these runs' nor as expected. An output that cannot be hashed is
/// unknown.
pub(super) async fn is_unknown(
    context: &StorageContext,
    output: &OutputPath,
    known: &[LocalRun],
    expected: Option<&ContentHash>,
) -> Result<bool> {
    let recorded = known.iter().filter_map(|run| Some(&run.record.output(output)?.content_hash));
    let known: Vec<&ContentHash> = recorded.chain(expected).collect();
    if known.is_empty() {
        return Ok(true);
    }
    match content_hash(context, context.options.scheme, &output.below(&context.root), Some(output)).await {
        Ok(found) => Ok(!known.contains(&&found)),
        Err(Error::Cancelled) => Err(Error::Cancelled),
        Err(_) => Ok(true),
    }
}

/// Returns which of the outputs are executable files.
pub(super) fn executables(root: &Path, outputs: &[OutputPath]) -> BTreeSet<String> {
    let is_one = |output: &&OutputPath| {
        fs::symlink_metadata(output.below(root)).is_ok_and(|found| is_executable(&found))
    };
    outputs.iter().filter(is_one).map(|output| output.as_str().to_owned()).collect()
}

fn is_executable(found: &fs::Metadata) -> bool {
    found.is_file() && found.permissions().mode() & 0o100 != 0
}

/// Gives an output that is older than `newest` the present time.
pub(super) fn touch_if_older(path: &Path, newest: SystemTime) -> Result<()> {
    let touch = || -> io::Result<()> {
        if fs::symlink_metadata(path)?.modified()? <= newest {
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let times = Timestamps { last_access: now, last_modification: now };
            utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    };
    touch().map_err(Error::io("set the time of", path))
}

/// Refuses an output that the command did not make, or made as something that cannot be stored.
pub(super) fn check_made(context: &StorageContext, output: &OutputPath) -> Result<()> {
    let path = output.below(&context.root);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NotMade { path }),
        Err(error) => Err(Error::io("look at", &path)(error)),
        Ok(found) if found.is_symlink() => Err(Error::MadeSymlink { path }),
        Ok(_) => {
            context.check_source(&path)?;
            check_one_mount(&path)
        }
    }
}
