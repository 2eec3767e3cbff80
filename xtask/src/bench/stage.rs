//! The directories in which the measured commands run.

mod gcs;
mod local;
mod s3;
mod served;
mod ssh;

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use gcs::Gcs;
pub(crate) use local::{LARGE, Local, MILLION, MIXED, SMALL, WEIGHTS, with_slow_opens};
pub(crate) use s3::{OBJECT_MIB, S3};
pub(crate) use ssh::{Ssh, Way};

use super::measure::MeasuredCommand;
use crate::Result;

/// The round trip and the bandwidth of the link to a server, in each direction.
pub(crate) const LINK_RTT_MS: u32 = 100;
pub(crate) const LINK_MBIT: u32 = 1000;

/// The command hash of all pushes of the benchmark.
const COMMAND_HASH: &str = "bench";

/// The directories that every benchmark needs.
pub(crate) struct Stage {
    dir: PathBuf,
    pub(crate) larder: PathBuf,
}

impl Stage {
    /// Creates the directories: those for larder's projects, and `further` ones.
    fn new(dir: &Path, larder: PathBuf, further: &[&str]) -> Result<Self> {
        let stage = Self { dir: dir.to_owned(), larder };
        for place in ["home", "project", "restored"].iter().chain(further) {
            fs::create_dir(stage.at(place))?;
        }
        for place in ["project", "restored"] {
            fs::write(stage.at(place).join("larder.toml"), "")?;
        }
        Ok(stage)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Creates a command in one of the directories, with the common environment.
    fn command(&self, program: impl AsRef<OsStr>, place: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        command.current_dir(self.at(place)).env_clear().env("HOME", self.at("home")).env("PATH", path);
        command
    }

    /// Removes these directories and files, if they exist.
    fn clear(&self, cleared: &[&str]) -> Result<()> {
        cleared.iter().try_for_each(|path| remove(&self.at(path)))
    }

    fn subject<'a>(
        &'a self,
        cleared: &'a [&'a str],
        command: impl Fn() -> Command + 'a,
    ) -> MeasuredCommand<'a> {
        MeasuredCommand { clear: Box::new(move || self.clear(cleared)), command: Box::new(command) }
    }
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("failed to remove {}: {error}", path.display()).into())
        }
        _ => Ok(()),
    }
}
