//! `cargo xtask integration`: the tests that need a server. `cargo xtask minio`, `gcs-server` and `sshd`: such a server, to play
//! with.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::cargo::Executables;
use crate::servers::{BACKENDS, Server, ServerSite, TestBackend};
use crate::test::requires_all;
use crate::{Result, cargo, process};

/// How much of a server's log is shown when its tests fail.
const LOG_LINES: usize = 100;

/// Builds everything once, and runs the tests that need a server, against real servers.
///
/// For s3 that is MinIO, for gcs the testkit's server, for ssh OpenSSH's sshd. They listen on random loopback ports and end
/// with this task. The log of a server is shown when its tests fail. CONTRIBUTING.md
/// says how to name other servers.
#[derive(clap::Args)]
pub(crate) struct IntegrationOptions {
    /// Runs the tests of this backend only: s3, gcs or ssh.
    #[arg(long = "backend", value_name = "BACKEND", value_parser = TestBackend::named)]
    pub(crate) backends: Vec<&'static TestBackend>,
    #[command(flatten)]
    serve: ServeOptions,
    /// Fails where the machine lacks something, instead of ignoring the tests with the reason. CI=true does the same.
    #[arg(long)]
    require_all: bool,
    /// Passes these to the test programs.
    #[arg(last = true, value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

/// Where servers run.
#[derive(clap::Args)]
pub(crate) struct ServeOptions {
    /// The directory for the data of servers.
    #[arg(long, default_value_os_t = env::temp_dir())]
    dir: PathBuf,
}

pub(crate) fn run(options: &IntegrationOptions) -> Result<()> {
    let backends = if options.backends.is_empty() { BACKENDS } else { &options.backends };
    let started = Instant::now();
    // The same build as that of `cargo xtask test`: after it there is nothing left to do.
    let workspace = cargo::workspace();
    let built = cargo::build(&[&workspace[..], &["--all-targets"]].concat())?;
    let mut failed = Vec::new();
    for backend in backends {
        if backend.name == "ssh" && !cargo::has_ssh() {
            failed.push("ssh, which cannot be built here");
            continue;
        }
        let server = backend
            .server(&ServerSite { dir: &options.serve.dir, gcs_server: built.gcs_server.as_deref() })?;
        // With the whole workspace, because features are unified over what is built.
        let mut tests = cargo::cargo(&[&["test"], &workspace[..], &["--no-fail-fast", "--test"]].concat());
        tests.arg(format!("{}_*", backend.name)).arg("--").args(&options.filters);
        tests.env("LARDER_BIN", &built.larder).env("LARDER_TEST_SERVERS_REQUIRED", "1");
        if requires_all(options.require_all) {
            tests.env("LARDER_REQUIRE_ALL", "1");
        }
        server.lead(&mut tests);
        let passed = process::status(&mut tests)?;
        let has_run = !options.filters.is_empty() || run_example(backend, &server, &built)?;
        if !(passed && has_run) {
            failed.push(backend.name);
            server.show_log(LOG_LINES);
        }
    }
    let seconds = started.elapsed().as_secs();
    if failed.is_empty() {
        println!("\nall tests that need a server passed in {seconds} s");
        return Ok(());
    }
    Err(format!("tests failed: {} (after {seconds} s)", failed.join(", ")).into())
}

/// Runs the example of the backend's crate, and says whether it succeeded.
fn run_example(backend: &TestBackend, server: &Server, built: &Executables) -> Result<bool> {
    for example in built.examples.iter().filter(|example| example.is_of(backend.name)) {
        println!("\nexample {}", example.name);
        let mut command = Command::new(&example.path);
        command.arg(cargo::root().join("README.md")).args(backend.example_arguments(server)?);
        server.lead(&mut command);
        if !process::status(&mut command)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs the server of a backend until Ctrl-C.
pub(crate) fn serve(backend: &str, options: &ServeOptions, unset: &[&str]) -> Result<()> {
    let mut server = TestBackend::named(backend)?.start(&options.dir)?;
    println!("\n# to use it from another shell");
    for (name, value) in server.env.iter().filter(|(name, _)| exported(name)) {
        println!("export {name}={value}");
    }
    if !unset.is_empty() {
        println!("unset {}", unset.join(" "));
    }
    for line in &server.about {
        println!("# {line}");
    }
    println!("# Ctrl-C ends it and removes its data");
    let how = server.wait().unwrap_or_default();
    let log = server.log_tail(LOG_LINES).unwrap_or_default();
    Err(format!("the server has ended by itself ({how})\n--- the last lines of its log\n{log}").into())
}

/// Whether a person needs the variable, who runs no tests against MinIO and has a configuration of their own.
fn exported(name: &str) -> bool {
    let is_of_tests = ["LARDER_TEST_SSH", "LARDER_TEST_GCS"].iter().any(|prefix| name.starts_with(prefix));
    is_of_tests || (name.starts_with("AWS_") && !name.ends_with("_FILE"))
}
