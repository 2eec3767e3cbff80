//! The programs that larder with a remote in S3 is compared with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Result, process, venv};

/// Every package with its version: what is compared with is the same tomorrow.
const AWS_CLI: &str = "xtask/awscli-requirements.txt";

const RCLONE: [&str; 3] = ["github.com/rclone/rclone", "v1.76.0", "go1.26.0"];

/// The AWS CLI takes a second for it on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that can be measured, or why it cannot.
pub(crate) type FoundPeer = Result<PeerProgram, String>;

pub(crate) struct PeerProgram {
    pub(crate) path: PathBuf,
    /// The line that says it.
    pub(crate) version: String,
}

pub(crate) struct Peers {
    pub(crate) aws: FoundPeer,
    pub(crate) rclone: FoundPeer,
}

impl Peers {
    /// Finds them, and makes those that are not there yet.
    pub(crate) fn find() -> Self {
        let found = |name: &str, program: Result<PeerProgram>| {
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

fn aws() -> Result<PeerProgram> {
    let path = venv::python("awscli", AWS_CLI)?.with_file_name("aws");
    let version = first_line(&path, "--version")
        .ok_or_else(|| format!("{}, which was installed here, says no version", path.display()))?;
    Ok(PeerProgram { version: short_version(&version), path })
}

fn rclone() -> Result<PeerProgram> {
    let path = process::build_go_program(RCLONE)?;
    let version = first_line(&path, "version")
        .ok_or_else(|| format!("{}, which was built here, says no version", path.display()))?;
    Ok(PeerProgram { path, version })
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
