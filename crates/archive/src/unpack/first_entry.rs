//! Reads only the first entry of a tar stream.

use futures::StreamExt as _;
use futures::executor::block_on;
use larder_hashing::OutputPath;
use tokio_tar::Archive;

use super::error::UnpackError;
use super::guard::{Guard, PieceSource};
use super::names::Names;
use super::options::UnpackOptions;

/// Returns whether the output is an executable file, or `None` if the first entry is not that file.
pub(super) fn is_executable(
    output: &OutputPath,
    options: &UnpackOptions,
    pieces: impl PieceSource,
) -> Result<Option<bool>, UnpackError> {
    let guard = Guard::new(pieces, options.limits.header_bytes);
    let mut archive = Archive::new(guard.clone());
    let mut entries = archive.entries().map_err(|error| guard.broken(error))?;
    // Nothing here is ever pending: see `Guard`.
    let Some(entry) = block_on(entries.next()) else { return Ok(None) };
    let entry = entry.map_err(|error| guard.broken(error))?;
    let name = entry.path_bytes().map_err(|error| guard.broken(error))?.into_owned();
    let path = Names::new(output, options.limits.tree).relative(&name)?;
    if !path.is_empty() || !entry.header().entry_type().is_file() {
        return Ok(None);
    }
    let mode = entry.header().mode().map_err(|error| guard.broken(error))?;
    Ok(Some(mode & 0o100 != 0))
}
