//! Where the measured commands work: a directory with places.

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
pub(crate) use local::{LARGE, Local, MIXED, SMALL, WEIGHTS, with_slow_opens};
pub(crate) use s3::{OBJECT_MIB, S3};
pub(crate) use ssh::{Ssh, Way};

use super::measure::Subject;
use crate::Result;

/// The link that is in front of servers, each way.
pub(crate) const LINK_RTT_MS: u32 = 100;
pub(crate) const LINK_MBIT: u32 = 1000;

/// The command hash of everything that larder pushes here.
const COMMAND_HASH: &str = "bench";

/// What every stage has.
pub(crate) struct Stage {
    dir: PathBuf,
    pub(crate) larder: PathBuf,
}

impl Stage {
    /// Makes the places, two of them for larder.
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

    /// A command in one of the places, with an environment that is the same for all.
    fn command(&self, program: impl AsRef<OsStr>, place: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        command.current_dir(self.at(place)).env_clear().env("HOME", self.at("home")).env("PATH", path);
        command
    }

    /// Removes what is there of these.
    fn clear(&self, cleared: &[&str]) -> Result<()> {
        cleared.iter().try_for_each(|path| remove(&self.at(path)))
    }

    fn subject<'a>(&'a self, cleared: &'a [&'a str], command: impl Fn() -> Command + 'a) -> Subject<'a> {
        Subject { clear: Box::new(move || self.clear(cleared)), command: Box::new(command) }
    }
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", path.display()).into())
        }
        _ => Ok(()),
    }
}
