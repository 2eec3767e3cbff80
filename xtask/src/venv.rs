//! Python environments, below the target directory.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::{Result, cargo, process};

/// Creates the environment with the real weasel, once, and returns its Python.
pub(crate) fn weasel() -> Result<PathBuf> {
    python("weasel", "tests/weasel-requirements.txt")
}

/// Creates the environment with the programs of `docs/recipes.md`, once, and returns its Python.
pub(crate) fn recipes() -> Result<PathBuf> {
    python("recipes", "tests/recipes-requirements.txt")
}

/// Creates the environment with DVC, once, and returns its Python. Its packages cannot be in one environment with those of
/// Snakemake.
pub(crate) fn dvc() -> Result<PathBuf> {
    python("dvc", "xtask/dvc-requirements.txt")
}

/// Creates the environment of this name, once, and returns its Python. The requirements file pins the version of every
/// package, so that later runs use the same ones.
pub(crate) fn python(name: &str, requirements: &str) -> Result<PathBuf> {
    let requirements = cargo::root().join(requirements);
    let wanted = fs::read_to_string(&requirements)?;
    let dir = cargo::target_dir()?.join(name);
    let python = dir.join("bin/python");
    // The stamp is written last, so that an incomplete environment is created again.
    let stamp = dir.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted)
        && process::is_there(&python, &["--version"])
    {
        return Ok(python);
    }
    process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
    // Python compiles the modules that it imports. To compile all would take as long as the rest of the installation.
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
        "--no-deps",
        "--requirement",
    ];
    process::run(Command::new(&python).args(pip).arg(&requirements))?;
    fs::write(stamp, wanted)?;
    Ok(python)
}
