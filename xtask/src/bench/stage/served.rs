//! The setup that all servers share: one file in a project is pushed to the server and pulled into another directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Stage;
use crate::bench::data;
use crate::bench::measure::MeasuredCommand;
use crate::servers::Server;
use crate::{Result, process};

/// The file in the project that is pushed and pulled.
pub(super) const MADE: &str = "object.bin";
/// The file into which peers download.
pub(super) const PULLED: &str = "pulled.bin";
/// The files that pulls create.
const RESTORED: [&str; 3] = ["restored/object.bin", "restored/pulled.bin", "restored/.larder"];

/// The last components of the remotes: one for measured pushes, and one with the object for pulls.
pub(super) const PUSHED: &str = "pushed";
pub(super) const KEPT: &str = "kept";

/// The location of the servers, for the report.
pub(super) const WHERE: &str = "on the same machine and the same file system";

/// The number of lines of a server's log that are shown after a failure.
const LOG_LINES: usize = 30;

pub(super) struct Served {
    pub(super) stage: Stage,
    pub(super) server: Server,
    /// The home of the clients: the stage's, or the server's if it has one for clients.
    pub(super) home: PathBuf,
}

impl Served {
    /// Creates the data and the directories.
    pub(super) fn prepare(dir: &Path, larder: PathBuf, server: Server, mib: u32) -> Result<Self> {
        let stage = Stage::new(dir, larder, &[])?;
        eprintln!("xtask: creating the data");
        data::incompressible(&stage.at("project").join(MADE), mib)?;
        Ok(Self { home: stage.at("home"), stage, server })
    }

    /// Prints the end of the server's log, after a failure.
    pub(super) fn show_log(&self) {
        self.server.show_log(LOG_LINES);
    }

    /// Creates a command with the server's variables.
    pub(super) fn client(&self, program: impl AsRef<OsStr>, place: &str) -> Command {
        let mut command = self.stage.command(program, place);
        self.server.set_env(&mut command);
        command.env("HOME", &self.home);
        command
    }

    /// Creates a command for curl that prints only errors.
    pub(super) fn curl(&self, place: &str) -> Command {
        let mut command = self.client("curl", place);
        command.args(["--silent", "--show-error", "--fail"]);
        command
    }

    fn larder(&self, args: &[&str], place: &str, remote: &str) -> Command {
        let mut command = self.client(&self.stage.larder, place);
        command.args(args).args(["--command-hash", super::COMMAND_HASH, "--remote", remote]);
        command
    }

    /// Returns `larder push` to a remote.
    pub(super) fn push(&self, remote: &str) -> Command {
        self.larder(&["push", MADE, "--compression", "none"], "project", remote)
    }

    /// Returns `larder pull` from a remote.
    pub(super) fn pull(&self, remote: &str) -> Command {
        self.larder(&["pull", MADE], "restored", remote)
    }

    /// Pushes the object for all pulls, once, and returns its URL.
    pub(super) fn prepare_pulls(&self, remote: &str) -> Result<String> {
        process::run(self.push(remote).arg("--quiet"))?;
        let found = process::stdout_of(&mut self.larder(&["find", MADE], "project", remote))?;
        Ok(found.trim().to_owned())
    }

    /// Creates a subject that removes pushed objects first.
    pub(super) fn pushing<'a>(
        &'a self,
        remove_pushed: impl Fn() -> Result<()> + 'a,
        command: impl Fn() -> Command + 'a,
    ) -> MeasuredCommand<'a> {
        let clear = move || {
            self.stage.clear(&["project/.larder"])?;
            remove_pushed()
        };
        MeasuredCommand { clear: Box::new(clear), command: Box::new(command) }
    }

    /// Creates a subject that removes pulled files first.
    pub(super) fn pulling<'a>(&'a self, command: impl Fn() -> Command + 'a) -> MeasuredCommand<'a> {
        self.stage.subject(&RESTORED, command)
    }
}
