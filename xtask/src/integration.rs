//! `cargo xtask integration`: the tests that need a server. `cargo xtask minio`, `gcs-server` and `sshd`: such a server, to play
//! with.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::cargo::Executables;
use crate::servers::{self, BACKENDS, Backend, Server, Site};
use crate::{Result, cargo, process};

/// How much of a server's log is shown when its tests fail.
const LOG_LINES: usize = 100;

struct Options<'a> {
    backends: Vec<&'static Backend>,
    dir: PathBuf,
    require_all: bool,
    filters: &'a [String],
}

impl<'a> Options<'a> {
    fn parse(args: &'a [String]) -> Result<Self> {
        let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
        let filters = args.get(end + 1..).unwrap_or_default();
        let require_all = env::var("CI").is_ok_and(|value| value == "true");
        let mut options = Self { backends: Vec::new(), dir: env::temp_dir(), require_all, filters };
        let mut args = args[..end].iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("`{arg}` takes a value"));
            match arg.as_str() {
                "--backend" => options.backends.push(Backend::named(value()?)?),
                "--dir" => options.dir = value()?.into(),
                "--require-all" => options.require_all = true,
                _ => {
                    let problem = format!("unknown option `{arg}` of integration: filters stand behind `--`");
                    return Err(problem.into());
                }
            }
        }
        if options.backends.is_empty() {
            options.backends.extend(BACKENDS);
        }
        Ok(options)
    }
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let started = Instant::now();
    // The same build as that of `cargo xtask test`: after it there is nothing left to do.
    let workspace = cargo::workspace();
    let built = cargo::build(&[&workspace[..], &["--all-targets"]].concat())?;
    let mut failed = Vec::new();
    for backend in &options.backends {
        if backend.name == "ssh" && !cargo::has_ssh() {
            failed.push("ssh, which cannot be built here");
            continue;
        }
        let server = backend.server(&Site { dir: &options.dir, gcs_server: built.gcs_server.as_deref() })?;
        // With the whole workspace, because features are unified over what is built.
        let mut tests = cargo::cargo(&[&["test"], &workspace[..], &["--no-fail-fast", "--test"]].concat());
        tests.arg(format!("{}_*", backend.name)).arg("--").args(options.filters);
        tests.env("LARDER_BIN", &built.larder).env("LARDER_TEST_SERVERS_REQUIRED", "1");
        if options.require_all {
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
fn run_example(backend: &Backend, server: &Server, built: &Executables) -> Result<bool> {
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

/// `cargo xtask minio`.
pub(crate) fn serve_minio(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--fetch") {
        return servers::fetch_minio();
    }
    // Those of another account would go first, or not fit to these.
    serve("minio", "s3", args, &["AWS_PROFILE", "AWS_SESSION_TOKEN"])
}

/// `cargo xtask gcs-server`.
pub(crate) fn serve_gcs(args: &[String]) -> Result<()> {
    serve("gcs-server", "gcs", args, &[])
}

/// `cargo xtask sshd`.
pub(crate) fn serve_sshd(args: &[String]) -> Result<()> {
    serve("sshd", "ssh", args, &[])
}

fn serve(task: &str, backend: &str, args: &[String], unset: &[&str]) -> Result<()> {
    let mut dir = env::temp_dir();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--dir" => dir = args.next().ok_or("`--dir` takes a value")?.into(),
            _ => return Err(format!("unknown option `{arg}` of {task}").into()),
        }
    }
    let mut server = Backend::named(backend)?.start(&dir)?;
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
    let how = server.wait().unwrap_or_default();
    let log = server.log_tail(LOG_LINES).unwrap_or_default();
    Err(format!("the server has ended by itself ({how})\n--- the last lines of its log\n{log}").into())
}

/// Whether a person needs the variable, who runs no tests against MinIO and has a configuration of their own.
fn exported(name: &str) -> bool {
    let is_of_tests = ["LARDER_TEST_SSH", "LARDER_TEST_GCS"].iter().any(|prefix| name.starts_with(prefix));
    is_of_tests || (name.starts_with("AWS_") && !name.ends_with("_FILE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_backends_are_tested_unless_some_are_named() {
        let parse = |args: &[&str]| {
            let args: Vec<String> = args.iter().copied().map(str::to_owned).collect();
            let options = Options::parse(&args);
            options.map(|options| (options.backends.len(), options.dir, options.filters.to_vec()))
        };
        assert_eq!(parse(&[]).unwrap().0, BACKENDS.len());
        let (backends, dir, filters) =
            parse(&["--backend", "s3", "--dir", "/data", "--", "--exact", "a"]).unwrap();
        assert_eq!((backends, dir.to_str().unwrap()), (1, "/data"));
        assert_eq!(filters, ["--exact", "a"]);
        for wrong in [&["--backend"][..], &["--backend", "s4"], &["conformance"], &["--dir"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
