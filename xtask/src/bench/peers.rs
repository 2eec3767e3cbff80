//! The peers of larder with a remote in S3.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Result, process, venv};

/// The requirements file, which pins the version of every package, so that later runs use the same ones.
const AWS_CLI: &str = "xtask/awscli-requirements.txt";

const RCLONE: [&str; 3] = ["github.com/rclone/rclone", "v1.76.0", "go1.26.0"];

/// The timeout for printing a version. The AWS CLI takes a second on a busy machine.
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);

/// A peer, or the reason why it is missing.
pub(crate) type FoundPeer = Result<PeerProgram, String>;

pub(crate) struct PeerProgram {
    pub(crate) path: PathBuf,
    /// The version line.
    pub(crate) version: String,
}

pub(crate) struct Peers {
    pub(crate) aws: FoundPeer,
    pub(crate) rclone: FoundPeer,
}

impl Peers {
    /// Finds the peers, and installs missing ones.
    pub(crate) fn find() -> Self {
        let found = |name: &str, program: Result<PeerProgram>| {
            program.map_err(|error| {
                eprintln!("xtask: the rows against {name} stay empty: {error}");
                error.to_string()
            })
        };
        Self { aws: found("the AWS CLI", aws()), rclone: found("rclone", rclone()) }
    }

    /// Returns a line for each peer that was found.
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
        .ok_or_else(|| format!("the installed {} prints no version", path.display()))?;
    Ok(PeerProgram { version: short_version(&version), path })
}

fn rclone() -> Result<PeerProgram> {
    let path = process::build_go_program(RCLONE)?;
    let version = first_line(&path, "version")
        .ok_or_else(|| format!("the built {} prints no version", path.display()))?;
    Ok(PeerProgram { path, version })
}

fn first_line(path: &Path, argument: &str) -> Option<String> {
    if !path.is_file() {
        return None;
    }
    let text = process::answer(Command::new(path).arg(argument), VERSION_TIMEOUT)?;
    text.lines().next().map(str::to_owned)
}

/// Removes the kernel, which has a line of its own.
fn short_version(line: &str) -> String {
    let words = line.split(' ').filter(|word| !word.starts_with("Linux/"));
    words.collect::<Vec<_>>().join(" ")
}
