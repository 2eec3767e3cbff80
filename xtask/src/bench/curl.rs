//! curl, which is a peer, and removes objects.

use super::first_line;
use crate::{Result, process};

/// Fails early if curl is missing.
pub(crate) fn find() -> Result<()> {
    if process::is_there("curl", &["--version"]) {
        return Ok(());
    }
    Err("`curl` is not on PATH; the benchmark needs it as a peer and to remove objects".into())
}

/// Returns curl's version, without those of its libraries.
pub(crate) fn version() -> Result<String> {
    let line = first_line("curl", &["--version"])?;
    Ok(line.split(" (").next().unwrap_or_default().to_owned())
}
