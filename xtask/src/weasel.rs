//! The Python environment with the real weasel.

use std::path::PathBuf;

use crate::{Result, venv};

/// Makes it, once, and returns its Python.
pub(crate) fn python() -> Result<PathBuf> {
    venv::python("weasel", "tests/weasel-requirements.txt")
}
