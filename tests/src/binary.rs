//! The tested binary.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The reason why there is no binary to test.
#[derive(Clone, Debug)]
pub(crate) enum NoBinary {
    /// This machine cannot build it. Tests are ignored.
    NoCargo(String),
    /// `LARDER_BIN` is wrong, or the build failed. Tests fail.
    Broken(String),
}

/// Returns the path of the binary: the one that `LARDER_BIN` names, or one that cargo builds once for this process.
pub(crate) fn larder_binary() -> Result<PathBuf, NoBinary> {
    static BINARY: OnceLock<Result<PathBuf, NoBinary>> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os("LARDER_BIN").map_or_else(build, given)).clone()
}

fn given(path: OsString) -> Result<PathBuf, NoBinary> {
    let path = PathBuf::from(path);
    if path.is_absolute() && path.is_file() {
        return Ok(path);
    }
    let reason = format!("LARDER_BIN is not the absolute path of a file: {}", path.display());
    Err(NoBinary::Broken(reason))
}

/// Builds the binary. Other test processes wait for cargo's lock, and then find the finished build.
fn build() -> Result<PathBuf, NoBinary> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        // Select all members and a test target to get the features of `cargo test --workspace`, so that nothing is
        // compiled twice.
        .args(["build", "--workspace", "--bin", "larder", "--test", "cli"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            NoBinary::NoCargo(format!("failed to start cargo, which builds the binary: {error}"))
        })?;
    if !output.status.success() {
        let reason =
            "the build of the binary failed; `cargo xtask test` leaves out what this machine cannot build";
        return Err(NoBinary::Broken(reason.to_owned()));
    }
    let messages =
        output.stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    built_binary(messages).ok_or_else(|| NoBinary::Broken("cargo built no binary `larder`".to_owned()))
}

fn built_binary(messages: impl Iterator<Item = Value>) -> Option<PathBuf> {
    let is_larder =
        |message: &Value| message["target"]["name"] == "larder" && message["target"]["kind"][0] == "bin";
    let mut binaries = messages.filter(is_larder);
    binaries.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}
