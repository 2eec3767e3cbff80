//! Builds, and where their results are.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Result, process};

/// The cargo that runs this task.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// The workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// Whether the backend for SSH can be built: it links with OpenSSL, whose headers not every machine has.
pub(crate) fn has_ssh() -> bool {
    process::is_there("pkg-config", &["--exists", "openssl"]) || std::env::var_os("OPENSSL_DIR").is_some()
}

/// All backends but the one for SSH, as features of the binary.
const WITHOUT_SSH: [&str; 3] = ["--no-default-features", "--features", "larder/local,larder/s3,larder/gcs"];

/// The testkit's server for Google Cloud Storage, which is not built for whoever needs only the rest.
const GCS_SERVER: [&str; 2] = ["--features", "larder-testkit/gcs"];
const GCS_SERVER_NAME: &str = "larder-gcs-server";

/// The arguments that choose all of the workspace that can be built here, with the servers that it tests against.
pub(crate) fn workspace() -> Vec<&'static str> {
    if has_ssh() {
        return [&["--workspace"], &GCS_SERVER[..]].concat();
    }
    eprintln!(
        "xtask: the backend for SSH is left out, without OpenSSL's headers (Debian: libssl-dev, pkg-config)"
    );
    [&["--workspace", "--exclude", "larder-backend-ssh"], &WITHOUT_SSH[..], &GCS_SERVER].concat()
}

/// The arguments that choose the binary, with all backends that can be built here.
pub(crate) fn larder() -> Vec<&'static str> {
    let without = if has_ssh() { &[][..] } else { &WITHOUT_SSH };
    [&["-p", "larder"], without].concat()
}

/// What a build made that can be started.
pub(crate) struct Executables {
    /// The binary `larder`.
    pub(crate) larder: PathBuf,
    /// The server for Google Cloud Storage, where it was built too.
    pub(crate) gcs_server: Option<PathBuf>,
    /// The libraries' examples.
    pub(crate) examples: Vec<Example>,
}

/// The example of a library.
pub(crate) struct Example {
    /// `<crate>/<example>`.
    pub(crate) name: String,
    /// What to start.
    pub(crate) path: PathBuf,
}

impl Example {
    /// Whether it belongs to the crate in this directory.
    pub(crate) fn is_of(&self, directory: &str) -> bool {
        self.name.split('/').next() == Some(directory)
    }
}

/// Runs `cargo build` with `args`, and finds what it made.
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
                examples.push(Example { name, path: path.into() });
            }
            _ => {}
        }
    }
    examples.sort_by(|one, other| one.name.cmp(&other.name));
    let larder = larder.ok_or("the build made no binary `larder`")?;
    Ok(Executables { larder, gcs_server, examples })
}

/// Builds a program of a package of the workspace for release, and returns where it is.
pub(crate) fn build_program(package: &str, name: &str) -> Result<PathBuf> {
    build_program_with(&["--release"], package, name)
}

/// Builds the server for Google Cloud Storage for release, and returns where it is.
pub(crate) fn build_gcs_server() -> Result<PathBuf> {
    build_program_with(&[&["--release"], &GCS_SERVER[..]].concat(), "larder-testkit", GCS_SERVER_NAME)
}

/// Builds the benchmark of a package of the workspace for release, and returns where it is.
pub(crate) fn build_benchmark(package: &str, name: &str) -> Result<PathBuf> {
    let messages = messages(&["--release", "-p", package, "--bench", name])?;
    let mut made = messages.iter().filter(|message| message["target"]["name"] == name);
    let made = made.find_map(|message| message["executable"].as_str());
    Ok(made.ok_or_else(|| format!("the build of {package} made no benchmark `{name}`"))?.into())
}

fn build_program_with(args: &[&str], package: &str, name: &str) -> Result<PathBuf> {
    let messages = messages(&[args, &["-p", package, "--bin", name]].concat())?;
    let made = messages.iter().filter(|message| message["target"]["name"] == name).find_map(executable);
    Ok(made.ok_or_else(|| format!("the build of {package} made no binary `{name}`"))?.into())
}

/// What `cargo build` with `args` says about what it makes.
fn messages(args: &[&str]) -> Result<Vec<Value>> {
    let mut command = cargo(&["build"]);
    command.args(args).arg("--message-format=json-render-diagnostics");
    let text = process::stdout_of(&mut command)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The program that a message is about.
fn executable(message: &Value) -> Option<&str> {
    // With `"test":true` the profile is that of a test binary of the same name.
    let is_test = message["profile"]["test"].as_bool().unwrap_or(false);
    message["executable"].as_str().filter(|_| !is_test)
}

/// The name of the package directory: `archive` of `…/crates/archive/Cargo.toml`.
fn package_of(message: &Value) -> String {
    let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
    let dir = manifest.parent().and_then(Path::file_name);
    dir.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What `cargo metadata` says about the workspace alone.
pub(crate) fn metadata() -> Result<Value> {
    let text = process::stdout_of(&mut cargo(&["metadata", "--no-deps", "--format-version=1"]))?;
    Ok(serde_json::from_str(&text)?)
}

/// Where builds go.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = metadata()?;
    Ok(metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?.into())
}
