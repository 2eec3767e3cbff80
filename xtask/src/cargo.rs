//! Builds and their results.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Result, process};

/// Returns a command for the cargo that runs this task.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Returns the root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// Whether the SSH backend can be built. It links with OpenSSL, whose headers may be missing.
pub(crate) fn has_ssh() -> bool {
    process::is_there("pkg-config", &["--exists", "openssl"]) || std::env::var_os("OPENSSL_DIR").is_some()
}

/// The features of the binary for all backends except SSH.
const WITHOUT_SSH: [&str; 3] = ["--no-default-features", "--features", "larder/local,larder/s3,larder/gcs"];

/// The feature of the testkit's server for Google Cloud Storage. It is off by default, because few builds need it.
const GCS_SERVER: [&str; 2] = ["--features", "larder-testkit/gcs"];
const GCS_SERVER_NAME: &str = "larder-gcs-server";

/// Returns the arguments that select every crate and server that this machine can build.
pub(crate) fn workspace() -> Vec<&'static str> {
    if has_ssh() {
        return [&["--workspace"], &GCS_SERVER[..]].concat();
    }
    eprintln!(
        "xtask: building without the SSH backend: OpenSSL's headers are missing (Debian: libssl-dev, pkg-config)"
    );
    [&["--workspace", "--exclude", "larder-backend-ssh"], &WITHOUT_SSH[..], &GCS_SERVER].concat()
}

/// Returns the arguments that select the binary, with every backend that this machine can build.
pub(crate) fn larder() -> Vec<&'static str> {
    let without = if has_ssh() { &[][..] } else { &WITHOUT_SSH };
    [&["-p", "larder"], without].concat()
}

/// The executables of a build.
pub(crate) struct Executables {
    /// The binary `larder`.
    pub(crate) larder: PathBuf,
    /// The server for Google Cloud Storage, if it was built.
    pub(crate) gcs_server: Option<PathBuf>,
    /// The libraries' examples.
    pub(crate) examples: Vec<CargoExample>,
}

/// The example of a library.
pub(crate) struct CargoExample {
    /// `<crate>/<example>`.
    pub(crate) name: String,
    /// The path of the executable.
    pub(crate) path: PathBuf,
}

impl CargoExample {
    /// Whether the example belongs to the crate in this directory.
    pub(crate) fn is_of(&self, directory: &str) -> bool {
        self.name.split('/').next() == Some(directory)
    }
}

/// Runs `cargo build` with `args`, and returns its executables.
pub(crate) fn build(args: &[&str]) -> Result<Executables> {
    let (mut larder, mut gcs_server) = (None, None);
    let mut examples = Vec::new();
    for message in messages(args)? {
        let Some(path) = executable(&message) else { continue };
        let target = &message["target"];
        let [kind, name] =
            [&target["kind"][0], &target["name"]].map(|text| text.as_str().unwrap_or_default());
        match kind {
            "bin" if name == "larder" => larder = Some(path.into()),
            "bin" if name == GCS_SERVER_NAME => gcs_server = Some(path.into()),
            "example" => {
                let name = format!("{}/{name}", package_of(&message));
                examples.push(CargoExample { name, path: path.into() });
            }
            _ => {}
        }
    }
    examples.sort_by(|one, other| one.name.cmp(&other.name));
    let larder = larder.ok_or("the build produced no binary `larder`")?;
    Ok(Executables { larder, gcs_server, examples })
}

/// Builds a program of the workspace in release mode, and returns its path.
pub(crate) fn build_program(package: &str, name: &str) -> Result<PathBuf> {
    build_program_with(&["--release"], package, name)
}

/// Builds the server for Google Cloud Storage in release mode, and returns its path.
pub(crate) fn build_gcs_server() -> Result<PathBuf> {
    build_program_with(&[&["--release"], &GCS_SERVER[..]].concat(), "larder-testkit", GCS_SERVER_NAME)
}

/// Builds a benchmark of the workspace in release mode, and returns its path.
pub(crate) fn build_benchmark(package: &str, name: &str) -> Result<PathBuf> {
    let messages = messages(&["--release", "-p", package, "--bench", name])?;
    let mut made = messages.iter().filter(|message| message["target"]["name"] == name);
    let made = made.find_map(|message| message["executable"].as_str());
    Ok(made.ok_or_else(|| format!("the build of {package} produced no benchmark `{name}`"))?.into())
}

fn build_program_with(args: &[&str], package: &str, name: &str) -> Result<PathBuf> {
    let messages = messages(&[args, &["-p", package, "--bin", name]].concat())?;
    let made = messages.iter().filter(|message| message["target"]["name"] == name).find_map(executable);
    Ok(made.ok_or_else(|| format!("the build of {package} produced no binary `{name}`"))?.into())
}

/// Runs `cargo build` with `args`, and returns its messages about build products.
fn messages(args: &[&str]) -> Result<Vec<Value>> {
    let mut command = cargo(&["build"]);
    command.args(args).arg("--message-format=json-render-diagnostics");
    let text = process::stdout_of(&mut command)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Returns the path of the program in a message.
fn executable(message: &Value) -> Option<&str> {
    // `"test":true` marks the test binary of the same name.
    let is_test = message["profile"]["test"].as_bool().unwrap_or(false);
    message["executable"].as_str().filter(|_| !is_test)
}

/// Returns the name of the package's directory: `archive` for `…/crates/archive/Cargo.toml`.
fn package_of(message: &Value) -> String {
    let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
    let dir = manifest.parent().and_then(Path::file_name);
    dir.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Installs a program from crates.io below the target directory, once, and returns its path.
pub(crate) fn install_crate([name, version]: [&str; 2]) -> Result<PathBuf> {
    let root = target_dir()?.join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.is_file() {
        let install = ["install", "--quiet", "--locked", "--version", version, name, "--root"];
        process::run(cargo(&install).arg(&root))?;
    }
    Ok(program)
}

/// Returns the output of `cargo metadata` for the workspace, without dependencies.
pub(crate) fn metadata() -> Result<Value> {
    let text = process::stdout_of(&mut cargo(&["metadata", "--no-deps", "--format-version=1"]))?;
    Ok(serde_json::from_str(&text)?)
}

/// Returns the target directory.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = metadata()?;
    Ok(metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?.into())
}
