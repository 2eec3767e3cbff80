//! Where the measured commands work: a project with the data, places to restore to, remotes and archives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::data;
use super::measure::Subject;
use crate::Result;

/// The data sets.
pub(crate) const LARGE: &str = "large";
pub(crate) const SMALL: &str = "small";
pub(crate) const WEIGHTS: &str = "weights.bin";

/// The command hash of everything that larder pushes here.
const COMMAND_HASH: &str = "bench";

pub(crate) struct Stage {
    dir: PathBuf,
    pub(crate) larder: PathBuf,
    weasel: PathBuf,
}

impl Stage {
    /// Makes the data and the places.
    pub(crate) fn set(dir: &Path, larder: PathBuf, weasel: PathBuf) -> Result<Self> {
        let stage = Self { dir: dir.to_owned(), larder, weasel };
        for place in ["home", "project", "restored", "weasel-restored", "tar-restored"] {
            fs::create_dir(stage.at(place))?;
        }
        for place in ["project", "restored"] {
            fs::write(stage.at(place).join("larder.toml"), "")?;
        }
        for place in ["project", "weasel-restored"] {
            let project = json!({
                "remotes": { "default": stage.at("weasel-remote") },
                "commands": [{ "name": "make", "script": ["make"], "deps": [], "outputs": [LARGE] }],
            });
            fs::write(stage.at(place).join("project.yml"), project.to_string())?;
        }
        eprintln!("xtask: making the data");
        data::large(&stage.at("project").join(LARGE))?;
        data::small(&stage.at("project").join(SMALL))?;
        data::weights(&stage.at("project").join(WEIGHTS))?;
        Ok(stage)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A command in one of the places, with an environment that is the same for all.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>, place: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        command.current_dir(self.at(place)).env_clear().env("HOME", self.at("home")).env("PATH", path);
        command
    }

    fn subject<'a>(&'a self, cleared: &'a [&'a str], command: impl Fn() -> Command + 'a) -> Subject<'a> {
        let clear = move || cleared.iter().try_for_each(|path| remove(&self.at(path)));
        Subject { clear: Box::new(clear), command: Box::new(command) }
    }

    /// `larder push` to a remote that does not exist yet.
    pub(crate) fn larder_push<'a>(&'a self, data: &'a str, compression: &'a str) -> Subject<'a> {
        self.subject(&["remote", "project/.larder"], move || {
            let mut command = self.command(&self.larder, "project");
            command.args([
                "push",
                data,
                "--compression",
                compression,
                "--command-hash",
                COMMAND_HASH,
                "--remote",
            ]);
            command.arg(self.at("remote"));
            command
        })
    }

    /// `larder pull` of what [`Stage::keep_push`] pushed, to where nothing is.
    pub(crate) fn larder_pull<'a>(&'a self, data: &'a str) -> Subject<'a> {
        self.subject(
            &["restored/large", "restored/small", "restored/weights.bin", "restored/.larder"],
            move || {
                let mut command = self.command(&self.larder, "restored");
                command.args(["pull", data, "--command-hash", COMMAND_HASH, "--remote"]).arg(self.at("kept"));
                command
            },
        )
    }

    /// Pushes once with larder, and packs once with tar and zstd, what pulls are measured with.
    pub(crate) fn keep_push(&self, data: &str) -> Result<()> {
        let mut push = self.command(&self.larder, "project");
        push.args(["push", data, "--command-hash", COMMAND_HASH, "--quiet", "--remote"]).arg(self.at("kept"));
        crate::process::run(&mut push)?;
        crate::process::run(&mut self.tar_pack(data, "kept.tar.zst"))
    }

    fn tar_pack(&self, data: &str, archive: &str) -> Command {
        let mut command = self.command("sh", "project");
        command.args(["-c", "tar -c \"$0\" | zstd -q -3 -T0 > \"$1\"", data]).arg(self.at(archive));
        command
    }

    /// `tar -c | zstd -3 -T0`.
    pub(crate) fn tar_push<'a>(&'a self, data: &'a str) -> Subject<'a> {
        self.subject(&["made.tar.zst"], move || self.tar_pack(data, "made.tar.zst"))
    }

    /// `zstd -dc | tar -x`.
    pub(crate) fn tar_pull(&self) -> Subject<'_> {
        self.subject(&["tar-restored/large", "tar-restored/small", "tar-restored/weights.bin"], || {
            let mut command = self.command("sh", "tar-restored");
            command.args(["-c", "zstd -q -dc \"$0\" | tar -x"]).arg(self.at("kept.tar.zst"));
            command
        })
    }

    /// `weasel push` of the large data, to a remote that does not exist yet.
    pub(crate) fn weasel_push(&self) -> Subject<'_> {
        self.subject(&["weasel-remote"], || self.weasel("push", "project"))
    }

    /// `weasel pull` of what weasel pushed.
    pub(crate) fn weasel_pull(&self) -> Subject<'_> {
        self.subject(&["weasel-restored/large", "weasel-restored/project.lock"], || {
            self.weasel("pull", "weasel-restored")
        })
    }

    /// Pushes once with weasel, for its pulls.
    pub(crate) fn keep_weasel_push(&self) -> Result<()> {
        crate::process::run(&mut self.weasel("push", "project"))
    }

    fn weasel(&self, task: &str, place: &str) -> Command {
        let mut command = self.command(&self.weasel, place);
        command.args(["-m", "weasel", task, "default", "."]);
        command
    }

    /// `larder --version`.
    pub(crate) fn version(&self) -> Subject<'_> {
        self.subject(&[], || {
            let mut command = self.command(&self.larder, "project");
            command.arg("--version");
            command
        })
    }

    /// `larder find` by a command hash that has `objects` objects.
    pub(crate) fn find(&self, objects: u32) -> Result<Subject<'_>> {
        let dir = self.at("crowded").join("model").join(COMMAND_HASH);
        fs::create_dir_all(&dir)?;
        for number in 0..objects {
            fs::write(dir.join(format!("blake3-{number:064x}")), "an object")?;
        }
        Ok(self.subject(&[], || {
            let mut command = self.command(&self.larder, "project");
            command
                .args(["find", "model", "--command-hash", COMMAND_HASH, "--remote"])
                .arg(self.at("crowded"));
            command
        }))
    }
}

/// Makes every open of a file take a millisecond longer, as it does on a network file system.
pub(crate) fn with_slow_opens(subject: Subject<'_>) -> Subject<'_> {
    const OPENS: &str = "?open,openat,?openat2,?creat";
    let Subject { clear, command } = subject;
    let command = move || {
        let inner = command();
        let mut outer = Command::new("strace");
        outer.args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e"]);
        outer.arg(format!("trace={OPENS}")).arg("-e").arg(format!("inject={OPENS}:delay_enter=1000"));
        outer.arg(inner.get_program()).args(inner.get_args()).env_clear();
        outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(dir) = inner.get_current_dir() {
            outer.current_dir(dir);
        }
        outer
    };
    Subject { clear, command: Box::new(command) }
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", path.display()).into())
        }
        _ => Ok(()),
    }
}
