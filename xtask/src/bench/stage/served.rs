//! What all stages with a server share: one file in a project, which is pushed to the server, and pulled to another place.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Stage;
use crate::bench::data;
use crate::bench::measure::Subject;
use crate::servers::Server;
use crate::{Result, process};

/// What is pushed and pulled, in the project.
pub(super) const MADE: &str = "object.bin";
/// What peers pull to.
pub(super) const PULLED: &str = "pulled.bin";
/// Whatever pulls leave.
const RESTORED: [&str; 3] = ["restored/object.bin", "restored/pulled.bin", "restored/.larder"];

/// Where pushes go, and where what is pulled is: the ends of remotes.
pub(super) const PUSHED: &str = "pushed";
pub(super) const KEPT: &str = "kept";

/// Where servers are, for the page.
pub(super) const WHERE: &str = "on the same machine and the same file system";

/// How much of a server's log is shown when something has failed.
const LOG_LINES: usize = 30;

pub(super) struct Served {
    pub(super) stage: Stage,
    pub(super) server: Server,
    /// The clients' home: one of the stage's, unless another comes with the server.
    pub(super) home: PathBuf,
}

impl Served {
    /// Makes the data and the places.
    pub(super) fn set(dir: &Path, larder: PathBuf, server: Server, mib: u32) -> Result<Self> {
        let stage = Stage::new(dir, larder, &[])?;
        eprintln!("xtask: making the data");
        data::incompressible(&stage.at("project").join(MADE), mib)?;
        Ok(Self { home: stage.at("home"), stage, server })
    }

    /// Shows the end of the server's log, for when something has failed.
    pub(super) fn show_log(&self) {
        self.server.show_log(LOG_LINES);
    }

    /// A command that is led to the server.
    pub(super) fn client(&self, program: impl AsRef<OsStr>, place: &str) -> Command {
        let mut command = self.stage.command(program, place);
        self.server.lead(&mut command);
        command.env("HOME", &self.home);
        command
    }

    /// curl, which says nothing but errors.
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

    /// `larder push` to a remote, given by its URL.
    pub(super) fn push(&self, remote: &str) -> Command {
        self.larder(&["push", MADE, "--compression", "none"], "project", remote)
    }

    /// `larder pull` from it.
    pub(super) fn pull(&self, remote: &str) -> Command {
        self.larder(&["pull", MADE], "restored", remote)
    }

    /// Pushes once, with larder, what everybody pulls, and returns the URL of the object.
    pub(super) fn keep_push(&self, remote: &str) -> Result<String> {
        process::run(self.push(remote).arg("--quiet"))?;
        let found = process::stdout_of(&mut self.larder(&["find", MADE], "project", remote))?;
        Ok(found.trim().to_owned())
    }

    /// A subject before which nothing is where pushes go to.
    pub(super) fn pushing<'a>(
        &'a self,
        remove_pushed: impl Fn() -> Result<()> + 'a,
        command: impl Fn() -> Command + 'a,
    ) -> Subject<'a> {
        let clear = move || {
            self.stage.clear(&["project/.larder"])?;
            remove_pushed()
        };
        Subject { clear: Box::new(clear), command: Box::new(command) }
    }

    /// A subject before which nothing is where pulls go to.
    pub(super) fn pulling<'a>(&'a self, command: impl Fn() -> Command + 'a) -> Subject<'a> {
        self.stage.subject(&RESTORED, command)
    }
}
