//! `cargo xtask test`.

use std::env;
use std::time::Instant;

use crate::cargo::Example;
use crate::servers::BACKENDS;
use crate::{Result, cargo, process, weasel};

struct Options<'a> {
    require_all: bool,
    filters: &'a [String],
}

impl<'a> Options<'a> {
    fn parse(args: &'a [String]) -> Result<Self> {
        let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
        let mut require_all = env::var("CI").is_ok_and(|value| value == "true");
        for arg in &args[..end] {
            match arg.as_str() {
                "--require-all" => require_all = true,
                _ => return Err(format!("unknown option `{arg}` of test: filters stand behind `--`").into()),
            }
        }
        Ok(Self { require_all, filters: args.get(end + 1..).unwrap_or_default() })
    }
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let started = Instant::now();
    // One build of everything: `cargo test` finds all of it fresh, and the end-to-end tests get this very binary.
    let workspace = cargo::workspace();
    let built = cargo::build(&[&workspace[..], &["--all-targets"]].concat())?;

    let mut tests = cargo::cargo(&[&["test"], &workspace[..], &["--no-fail-fast", "--"]].concat());
    tests.args(options.filters).env("LARDER_BIN", &built.larder);
    if options.require_all {
        tests.env("LARDER_REQUIRE_ALL", "1");
    }
    match weasel::python() {
        Ok(python) => {
            tests.env("LARDER_WEASEL_PYTHON", python);
        }
        // The tests that need it say so themselves, as ignored or as failed.
        Err(error) => eprintln!("xtask: no environment for weasel: {error}"),
    }
    let mut failed = Vec::new();
    if options.require_all && !cargo::has_ssh() {
        failed.push("the backend for SSH, which cannot be built".to_owned());
    }
    if !process::status(&mut tests)? {
        failed.push("tests".to_owned());
    }
    if !test_with_programs(&options)? {
        failed.push("tests that need other programs".to_owned());
    }
    failed.extend(run_examples(&built.examples, options.filters)?);

    println!("\ntests that need a server are run by `cargo xtask integration`");
    let seconds = started.elapsed().as_secs();
    if failed.is_empty() {
        println!("all tests passed in {seconds} s; what was ignored says why above");
        return Ok(());
    }
    Err(format!("failed: {} (after {seconds} s)", failed.join(", ")).into())
}

/// The programs of which tests make and read archives, or ask for their packages.
const PROGRAMS: [&str; 6] = ["python3", "tar", "zstd", "gzip", "xz", "bzip2"];

/// Runs the tests that need other programs: to `cargo test` they are ignored, because it cannot tell. Says whether they
/// passed, or need not be run.
fn test_with_programs(options: &Options<'_>) -> Result<bool> {
    let is_missing = |program: &&str| !process::is_there(program, &["--version"]);
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        eprintln!("xtask: tests that need other programs stay ignored, without {}", missing.join(", "));
        return Ok(!options.require_all);
    }
    let packages =
        ["test", "--no-fail-fast", "-p", "larder-archive", "-p", "larder-hashing", "--lib", "--tests"];
    let mut tests = cargo::cargo(&packages);
    process::status(tests.args(["--", "--ignored"]).args(options.filters))
}

/// Runs each example that needs no server in an empty directory, and returns those that failed.
fn run_examples(examples: &[Example], filters: &[String]) -> Result<Vec<String>> {
    let wanted = |example: &&Example| {
        filters.is_empty()
            || filters.iter().any(|filter| example.name.contains(filter) || "example".contains(filter))
    };
    let mut failed = Vec::new();
    let needs_server = |example: &&Example| BACKENDS.iter().any(|backend| example.is_of(backend.name));
    for example in examples.iter().filter(wanted).filter(|example| !needs_server(example)) {
        println!("\nexample {}", example.name);
        let dir = tempfile::tempdir()?;
        if !process::status(std::process::Command::new(&example.path).current_dir(dir.path()))? {
            failed.push(format!("example {}", example.name));
        }
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_stand_behind_two_dashes() {
        let args = ["--require-all", "--", "crash", "users"].map(str::to_owned);
        let options = Options::parse(&args).unwrap();
        assert!(options.require_all);
        assert_eq!(options.filters, ["crash", "users"]);
        assert!(Options::parse(&["crash".to_owned()]).is_err());
    }
}
