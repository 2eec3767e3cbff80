//! The Python environment with the real weasel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, cargo, process};

/// Every package with its version: what is tested against is the same tomorrow.
const REQUIREMENTS: &str = "tests/weasel-requirements.txt";

/// Makes the environment below the target directory, once, and returns its Python.
pub(crate) fn python() -> Result<PathBuf> {
    let requirements = cargo::root().join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)?;
    let dir = cargo::target_dir()?.join("weasel");
    let python = dir.join("bin/python");
    // Written last, so that an environment that was interrupted halfway is made again.
    let stamp = dir.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted)
        && process::is_there(&text(&python)?, &["--version"])
    {
        return Ok(python);
    }
    process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
    process::run(Command::new(&python).args(pip).arg(&requirements))?;
    fs::write(stamp, wanted)?;
    Ok(python)
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?.to_owned())
}
