//! curl, which is measured, and removes objects.

use super::first_line;
use crate::{Result, process};

/// Says that it is missing before anything else is made.
pub(crate) fn find() -> Result<()> {
    if process::is_there("curl", &["--version"]) {
        return Ok(());
    }
    Err("there is no `curl` on PATH: objects are removed by it, and it is measured".into())
}

/// The line with its version, without those of its libraries.
pub(crate) fn version() -> Result<String> {
    let line = first_line("curl", &["--version"])?;
    Ok(line.split(" (").next().unwrap_or_default().to_owned())
}
