//! The programs that larder with a remote in S3 is compared with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::servers::Machine;
use crate::servers::go::{Go, Module};
use crate::{Result, process, venv};

/// Every package with its version: what is compared with is the same tomorrow.
const AWS_CLI: &str = "xtask/awscli-requirements.txt";

const RCLONE: Module = Module {
    program: "rclone",
    path: "github.com/rclone/rclone",
    version: "v1.76.0",
    needs: Go(1, 26),
    toolchain: "go1.26.0",
    ask: rclone_version,
};

/// The AWS CLI takes a second for it on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that can be measured, or why it cannot.
pub(crate) type Found = Result<Program, String>;

pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// The line that says it.
    pub(crate) version: String,
}

pub(crate) struct Peers {
    pub(crate) aws: Found,
    pub(crate) rclone: Found,
}

impl Peers {
    /// Finds them, and makes those that are not there yet.
    pub(crate) fn find() -> Self {
        let found = |name: &str, program: Result<Program>| {
            program.map_err(|error| {
                eprintln!("xtask: the rows against {name} stay empty: {error}");
                error.to_string()
            })
        };
        Self { aws: found("the AWS CLI", aws()), rclone: found("rclone", rclone()) }
    }

    /// A line for each that is there.
    pub(crate) fn describe(&self) -> Vec<String> {
        [&self.aws, &self.rclone]
            .into_iter()
            .filter_map(|found| found.as_ref().ok())
            .map(|program| program.version.clone())
            .collect()
    }
}

fn aws() -> Result<Program> {
    let path = venv::python("awscli", AWS_CLI)?.with_file_name("aws");
    let version = first_line(&path, "--version")
        .ok_or_else(|| format!("{}, which was installed here, says no version", path.display()))?;
    Ok(Program { version: short_version(&version), path })
}

fn rclone() -> Result<Program> {
    let machine = Machine::this()?;
    let mut path = RCLONE.cached(&machine);
    if rclone_version(&path).is_none() {
        let go = machine.program("go").ok_or("rclone is built from its Go module: put `go` on PATH")?;
        path = RCLONE.build(&machine, &go)?;
    }
    let version = rclone_version(&path)
        .ok_or_else(|| format!("{}, which was built here, says no version", path.display()))?;
    Ok(Program { path, version })
}

/// The line with its version, if this is an rclone.
fn rclone_version(path: &Path) -> Option<String> {
    first_line(path, "version").filter(|line| line.starts_with("rclone v"))
}

fn first_line(path: &Path, argument: &str) -> Option<String> {
    if !path.is_file() {
        return None;
    }
    let text = process::answer(Command::new(path).arg(argument), PATIENCE)?;
    text.lines().next().map(str::to_owned)
}

/// Without the kernel, which stands in a line of its own.
fn short_version(line: &str) -> String {
    let words = line.split(' ').filter(|word| !word.starts_with("Linux/"));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_no_part_of_the_version() {
        let line = "aws-cli/1.46.3 Python/3.11.7 Linux/6.18.44 botocore/1.43.62";
        assert_eq!(short_version(line), "aws-cli/1.46.3 Python/3.11.7 botocore/1.43.62");
    }

    #[test]
    fn only_an_rclone_is_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let asked = |script: &str| {
            let path = dir.path().join("rclone");
            // Written by another process: while this one holds it open for writing, a test beside may fork, and then it
            // cannot be executed.
            let write = "printf '#!/bin/sh\\n%s' \"$1\" >\"$0\" && chmod +x \"$0\"";
            assert!(
                Command::new("sh").args(["-c", write]).arg(&path).arg(script).status().unwrap().success()
            );
            rclone_version(&path)
        };
        assert_eq!(rclone_version(&dir.path().join("none")), None);
        let said = asked("[ \"$1\" = version ] && echo rclone v1.76.0 && echo - os/version: any");
        assert_eq!(said.unwrap(), "rclone v1.76.0");
        assert_eq!(asked("echo something else"), None);
        assert_eq!(asked("echo rclone v1.76.0; exit 1"), None);
    }
}
