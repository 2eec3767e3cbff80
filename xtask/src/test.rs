//! `cargo xtask test`.

use std::env;
use std::time::Instant;

use crate::cargo::CargoExample;
use crate::servers::BACKENDS;
use crate::{Result, cargo, process, venv};

/// Builds everything once, and runs the unit, documentation, conformance and end-to-end tests and the examples.
#[derive(clap::Args)]
pub(crate) struct TestOptions {
    /// Fails if a tool is missing, instead of ignoring the tests that need it. CI=true does the same.
    #[arg(long)]
    require_all: bool,
    /// Runs only tests and examples with one of these texts in their name.
    #[arg(last = true, value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

/// Whether a missing tool is a failure.
pub(crate) fn requires_all(is_asked: bool) -> bool {
    is_asked || env::var("CI").is_ok_and(|value| value == "true")
}

pub(crate) fn run(options: &TestOptions) -> Result<()> {
    let require_all = requires_all(options.require_all);
    let started = Instant::now();
    // Build everything once, so that `cargo test` builds nothing and the end-to-end tests use the same binary.
    let workspace = cargo::workspace();
    let built = cargo::build(&[&workspace[..], &["--all-targets"]].concat())?;

    let mut tests = cargo::cargo(&[&["test"], &workspace[..], &["--no-fail-fast", "--"]].concat());
    tests.args(&options.filters).env("LARDER_BIN", &built.larder);
    if require_all {
        tests.env("LARDER_REQUIRE_ALL", "1");
    }
    match venv::weasel() {
        Ok(python) => {
            tests.env("LARDER_WEASEL_PYTHON", python);
        }
        // The tests that need weasel report this themselves, as ignored or failed.
        Err(error) => eprintln!("xtask: no environment for weasel: {error}"),
    }
    let mut bins = Vec::new();
    for (programs, made) in [("the recipes", venv::recipes()), ("DVC", venv::dvc())] {
        match made {
            Ok(python) => bins.push(python.with_file_name("")),
            // The tests that need its programs report this themselves, too.
            Err(error) => eprintln!("xtask: no environment for {programs}: {error}"),
        }
    }
    tests.env("LARDER_RECIPES_BIN", env::join_paths(bins)?);
    let mut failed = Vec::new();
    if require_all && !cargo::has_ssh() {
        failed.push("the SSH backend, which cannot be built".to_owned());
    }
    if !process::status(&mut tests)? {
        failed.push("tests".to_owned());
    }
    if !test_with_programs(&options.filters, require_all)? {
        failed.push("tests that need other programs".to_owned());
    }
    failed.extend(run_examples(&built.examples, &options.filters)?);

    println!("\nrun `cargo xtask integration` for the tests that need a server");
    let seconds = started.elapsed().as_secs();
    if failed.is_empty() {
        println!("all tests passed in {seconds} s; the reasons of ignored tests are above");
        return Ok(());
    }
    Err(format!("failed: {} (after {seconds} s)", failed.join(", ")).into())
}

/// The programs that some tests need: archivers, and Python for its packages.
const PROGRAMS: [&str; 6] = ["python3", "tar", "zstd", "gzip", "xz", "bzip2"];

/// Runs the tests that need other programs. They are marked as ignored, because `cargo test` cannot detect the programs.
/// Returns whether they passed or were not required.
fn test_with_programs(filters: &[String], require_all: bool) -> Result<bool> {
    let is_missing = |program: &&str| !process::is_there(program, &["--version"]);
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        eprintln!("xtask: the tests that need other programs stay ignored; missing: {}", missing.join(", "));
        return Ok(!require_all);
    }
    let packages =
        ["test", "--no-fail-fast", "-p", "larder-archive", "-p", "larder-hashing", "--lib", "--tests"];
    let mut tests = cargo::cargo(&packages);
    process::status(tests.args(["--", "--ignored"]).args(filters))
}

/// Runs each example that needs no server in an empty directory, and returns those that failed.
fn run_examples(examples: &[CargoExample], filters: &[String]) -> Result<Vec<String>> {
    let wanted = |example: &&CargoExample| {
        filters.is_empty()
            || filters.iter().any(|filter| example.name.contains(filter) || "example".contains(filter))
    };
    let mut failed = Vec::new();
    let needs_server = |example: &&CargoExample| BACKENDS.iter().any(|backend| example.is_of(backend.name));
    for example in examples.iter().filter(wanted).filter(|example| !needs_server(example)) {
        println!("\nexample {}", example.name);
        let dir = tempfile::tempdir()?;
        if !process::status(std::process::Command::new(&example.path).current_dir(dir.path()))? {
            failed.push(format!("example {}", example.name));
        }
    }
    Ok(failed)
}
