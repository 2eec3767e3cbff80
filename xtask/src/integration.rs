//! `cargo xtask integration` runs the tests that need a server. `cargo xtask minio`, `gcs-server` and `sshd` run such a server
//! for manual tests.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::cargo::Executables;
use crate::servers::{BACKENDS, Server, ServerSite, TestBackend};
use crate::test::requires_all;
use crate::{Result, cargo, process};

/// The number of lines of a server's log that are shown if its tests fail.
const LOG_LINES: usize = 100;

/// Builds everything once, and runs the tests that need a server, against real servers.
///
/// The servers are MinIO for s3, the testkit's server for gcs, and OpenSSH's sshd for ssh. They listen on random loopback
/// ports and stop with this task. If tests fail, the task shows the server's log. CONTRIBUTING.md describes how to use
/// other servers.
#[derive(clap::Args)]
pub(crate) struct IntegrationOptions {
    /// Runs only the tests of this backend: s3, gcs or ssh.
    #[arg(long = "backend", value_name = "BACKEND", value_parser = TestBackend::named)]
    pub(crate) backends: Vec<&'static TestBackend>,
    #[command(flatten)]
    serve: ServeOptions,
    /// Fails if a tool is missing, instead of ignoring the tests that need it. CI=true does the same.
    #[arg(long)]
    require_all: bool,
    /// Passes these to the test programs.
    #[arg(last = true, value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

/// Options of a server.
#[derive(clap::Args)]
pub(crate) struct ServeOptions {
    /// The directory for the data of servers.
    #[arg(long, default_value_os_t = env::temp_dir())]
    dir: PathBuf,
}

pub(crate) fn run(options: &IntegrationOptions) -> Result<()> {
    let backends = if options.backends.is_empty() { BACKENDS } else { &options.backends };
    let started = Instant::now();
    // Use the same arguments as `cargo xtask test`, so that nothing is built twice.
    let workspace = cargo::workspace();
    let built = cargo::build(&[&workspace[..], &["--all-targets"]].concat())?;
    let mut failed = Vec::new();
    for backend in backends {
        if backend.name == "ssh" && !cargo::has_ssh() {
            failed.push("ssh, which cannot be built on this machine");
            continue;
        }
        let server = backend
            .server(&ServerSite { dir: &options.serve.dir, gcs_server: built.gcs_server.as_deref() })?;
        // Build the whole workspace, because cargo unifies features over all selected packages.
        let mut tests = cargo::cargo(&[&["test"], &workspace[..], &["--no-fail-fast", "--test"]].concat());
        tests.arg(format!("{}_*", backend.name)).arg("--").args(&options.filters);
        tests.env("LARDER_BIN", &built.larder).env("LARDER_TEST_SERVERS_REQUIRED", "1");
        if requires_all(options.require_all) {
            tests.env("LARDER_REQUIRE_ALL", "1");
        }
        server.set_env(&mut tests);
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
        server.set_env(&mut command);
        if !process::status(&mut command)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs the server of a backend until Ctrl-C.
pub(crate) fn serve(backend: &str, options: &ServeOptions, unset: &[&str]) -> Result<()> {
    let mut server = TestBackend::named(backend)?.start(&options.dir)?;
    println!("\n# to use the server from another shell");
    for (name, value) in server.env.iter().filter(|(name, _)| exported(name)) {
        println!("export {name}={value}");
    }
    if !unset.is_empty() {
        println!("unset {}", unset.join(" "));
    }
    for line in &server.about {
        println!("# {line}");
    }
    println!("# Ctrl-C stops the server and removes its data");
    let how = server.wait().unwrap_or_default();
    let log = server.log_tail(LOG_LINES).unwrap_or_default();
    Err(format!("the server stopped unexpectedly ({how})\n--- the last lines of its log\n{log}").into())
}

/// Whether to print the variable for manual use. Some variables only isolate tests from the user's own configuration.
fn exported(name: &str) -> bool {
    let is_of_tests = ["LARDER_TEST_SSH", "LARDER_TEST_GCS"].iter().any(|prefix| name.starts_with(prefix));
    is_of_tests || (name.starts_with("AWS_") && !name.ends_with("_FILE"))
}
