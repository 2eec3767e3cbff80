//! The setup for remotes in directories: a project with the data, directories for pulls, remotes and archives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{COMMAND_HASH, Stage};
use crate::bench::data;
use crate::bench::measure::MeasuredCommand;
use crate::{Result, cargo, process, venv};

/// The data sets.
pub(crate) const LARGE: &str = "large";
pub(crate) const SMALL: &str = "small";
pub(crate) const WEIGHTS: &str = "weights.bin";
pub(crate) const MIXED: &str = "mixed.bin";
pub(crate) const MILLION: &str = "million";

/// A program that caches the output of commands, from crates.io.
const BKT: [&str; 2] = ["bkt", "0.8.2"];

pub(crate) struct Local {
    pub(crate) stage: Stage,
    weasel: PathBuf,
}

impl Local {
    /// Creates the data and the directories.
    pub(crate) fn prepare(dir: &Path, larder: PathBuf, weasel: PathBuf) -> Result<Self> {
        let stage = Stage::new(dir, larder, &["weasel-restored", "tar-restored"])?;
        for place in ["project", "weasel-restored", "restored"] {
            let project = json!({
                "remotes": { "default": stage.at("weasel-remote") },
                "commands": [{ "name": "make", "script": ["make"], "deps": [], "outputs": [LARGE] }],
            });
            fs::write(stage.at(place).join("project.yml"), project.to_string())?;
        }
        eprintln!("xtask: creating the data");
        data::large(&stage.at("project").join(LARGE))?;
        data::small(&stage.at("project").join(SMALL))?;
        data::weights(&stage.at("project").join(WEIGHTS))?;
        Ok(Self { stage, weasel })
    }

    /// Returns `larder push` to a new remote.
    pub(crate) fn larder_push<'a>(&'a self, data: &'a str, compression: &'a str) -> MeasuredCommand<'a> {
        self.stage.subject(&["remote", "project/.larder"], move || {
            let mut command = self.stage.command(&self.stage.larder, "project");
            command.args([
                "push",
                data,
                "--compression",
                compression,
                "--command-hash",
                COMMAND_HASH,
                "--remote",
            ]);
            command.arg(self.stage.at("remote"));
            command
        })
    }

    /// Returns `larder pull` of the output of [`Local::prepare_pulls`] into an empty directory.
    pub(crate) fn larder_pull<'a>(&'a self, data: &'a str) -> MeasuredCommand<'a> {
        self.stage.subject(
            &[
                "restored/large",
                "restored/small",
                "restored/weights.bin",
                "restored/mixed.bin",
                "restored/.larder",
            ],
            move || {
                let mut command = self.stage.command(&self.stage.larder, "restored");
                command
                    .args(["pull", data, "--command-hash", COMMAND_HASH, "--remote"])
                    .arg(self.stage.at("kept"));
                command
            },
        )
    }

    /// Prepares the pulls: pushes once with larder, and packs once with tar and zstd.
    pub(crate) fn prepare_pulls(&self, data: &str) -> Result<()> {
        self.prepare_larder_pulls(data)?;
        process::run(&mut self.tar_pack(data, "kept.tar.zst"))
    }

    /// Prepares larder's pulls: pushes once with larder.
    pub(crate) fn prepare_larder_pulls(&self, data: &str) -> Result<()> {
        let mut push = self.stage.command(&self.stage.larder, "project");
        push.args(["push", data, "--command-hash", COMMAND_HASH, "--quiet", "--remote"])
            .arg(self.stage.at("kept"));
        process::run(&mut push)
    }

    /// Returns `larder push` of an output that [`Local::prepare_larder_pulls`] has pushed.
    pub(crate) fn push_again<'a>(&'a self, data: &'a str) -> MeasuredCommand<'a> {
        self.stage.subject(&[], move || {
            let mut command = self.stage.command(&self.stage.larder, "project");
            command.args(["push", data, "--command-hash", COMMAND_HASH, "--remote"]);
            command.arg(self.stage.at("kept"));
            command
        })
    }

    /// Returns `larder hash content`.
    pub(crate) fn hash<'a>(&'a self, data: &'a str) -> MeasuredCommand<'a> {
        self.stage.subject(&[], move || {
            let mut command = self.stage.command(&self.stage.larder, "project");
            command.args(["hash", "content", data]);
            command
        })
    }

    /// Writes a `larder.lock` that pins these outputs as they are. The project is one of weasel's too, so `larder pin` refuses it.
    pub(crate) fn pin(&self, outputs: &[String]) -> Result<()> {
        let mut hash = self.stage.command(&self.stage.larder, "project");
        let hashes = process::stdout_of(hash.args(["hash", "content"]).args(outputs))?;
        let pins = outputs.iter().zip(hashes.lines()).map(|(output, hash)| {
            let content = hash.split_whitespace().next().unwrap_or_default();
            format!(
                "\n[[pin]]\npath = \"{output}\"\ncontent = \"{content}\"\ncommand = \"{COMMAND_HASH}\"\nbytes = 1\nfiles = 1\n"
            )
        });
        let text =
            format!("# Written by larder. Commit this file.\nversion = 1\n{}", pins.collect::<String>());
        Ok(fs::write(self.stage.at("project").join("larder.lock"), text)?)
    }

    /// Creates outputs of one small file each, and pins them.
    pub(crate) fn pin_many(&self, count: usize) -> Result<()> {
        let outputs: Vec<String> = (0..count).map(|number| format!("many/{number:04}")).collect();
        fs::create_dir_all(self.stage.at("project").join("many"))?;
        for output in &outputs {
            fs::write(self.stage.at("project").join(output), output)?;
        }
        self.pin(&outputs)
    }

    /// Returns a larder command without arguments in the project with pins, such as `larder status`.
    pub(crate) fn of_pins<'a>(&'a self, verb: &'a str) -> MeasuredCommand<'a> {
        self.stage.subject(&[], move || {
            let mut command = self.stage.command(&self.stage.larder, "project");
            command.args([verb, "--remote"]).arg(self.stage.at("kept"));
            command
        })
    }

    /// Returns `larder run` of a command that reads a dependency and makes a small output.
    fn run_of(&self, dependency: &str, output: &str) -> Command {
        let mut command = self.stage.command(&self.stage.larder, "project");
        command.args(["run", "--dep", dependency, "--out", output, "--remote"]).arg(self.stage.at("kept"));
        command.args(["--", "cp", "larder.toml", output]);
        command
    }

    /// Runs the command of [`Local::run_again`].
    pub(crate) fn run_once(&self) -> Result<()> {
        process::run(&mut self.run_of(SMALL, "made"))
    }

    /// Returns `larder run` of a command that is up to date, with many files as dependency.
    pub(crate) fn run_again(&self) -> MeasuredCommand<'_> {
        self.stage.subject(&[], || self.run_of(SMALL, "made"))
    }

    /// Returns `larder run` of a command whose output the remote has.
    pub(crate) fn run_hit(&self) -> Result<MeasuredCommand<'_>> {
        process::run(&mut self.run_of("larder.toml", "tiny"))?;
        let cleared = &["project/tiny", "project/.larder/runs"];
        Ok(self.stage.subject(cleared, || self.run_of("larder.toml", "tiny")))
    }

    /// Returns a command of DVC in a project with a stage that reads the same files and is up to date.
    pub(crate) fn dvc<'a>(&'a self, verb: &'a str) -> Result<MeasuredCommand<'a>, String> {
        let prepare = || -> Result<PathBuf> {
            let dvc = venv::dvc()?.with_file_name("dvc");
            let place = self.stage.at("dvc");
            if place.exists() {
                return Ok(dvc);
            }
            fs::create_dir(&place)?;
            let small = self.stage.at("project").join(SMALL);
            process::run(Command::new("cp").arg("-a").arg(small).arg(&place))?;
            fs::write(place.join("source"), "")?;
            let stages = json!({
                "stages": { "made": { "cmd": "cp source made", "deps": [SMALL, "source"], "outs": ["made"] } },
            });
            // JSON is YAML.
            fs::write(place.join("dvc.yaml"), stages.to_string())?;
            process::run(self.stage.command(&dvc, "dvc").args(["init", "--quiet", "--no-scm"]))?;
            process::run(self.stage.command(&dvc, "dvc").args(["repro", "--quiet"]))?;
            Ok(dvc)
        };
        let dvc = prepare().map_err(|error| error.to_string())?;
        Ok(self.stage.subject(&[], move || {
            let mut command = self.stage.command(&dvc, "dvc");
            command.args([verb, "--quiet"]);
            command
        }))
    }

    /// Returns `bkt` of the same command, which it has in its cache.
    pub(crate) fn bkt(&self) -> Result<MeasuredCommand<'_>, String> {
        let bkt = cargo::install_crate(BKT).map_err(|error| error.to_string())?;
        let command = move || {
            let mut command = self.stage.command(&bkt, "project");
            command.args(["--ttl=1d", "--modtime", SMALL, "--cache-dir"]).arg(self.stage.at("bkt"));
            command.args(["--", "cp", "larder.toml", "made"]);
            command
        };
        process::run(&mut command()).map_err(|error| error.to_string())?;
        Ok(self.stage.subject(&[], command))
    }

    /// Creates a million small files, commits them to a git repository beside them, and hashes them once.
    pub(crate) fn make_million(&self) -> Result<()> {
        data::million(&self.stage.at("project").join(MILLION))?;
        process::run(&mut self.git(&["init", "-q"]))?;
        process::run(&mut self.git(&["add", "."]))?;
        process::run(&mut self.git(&["commit", "-q", "-m", "all"]))?;
        let hash = (self.hash(MILLION).command)();
        process::stdout_of(&mut { hash }).map(|_| ())
    }

    /// Removes these files and their repository.
    pub(crate) fn remove_million(&self) -> Result<()> {
        self.stage.clear(&["project/million", "project/.larder", "project/larder.lock", "million.git"])
    }

    /// Returns `git status` of the files of [`Local::make_million`].
    pub(crate) fn git_status(&self) -> MeasuredCommand<'_> {
        self.stage.subject(&[], || self.git(&["status", "--porcelain"]))
    }

    /// Returns a git command whose repository is not among the files.
    fn git(&self, args: &[&str]) -> Command {
        let mut command = self.stage.command("git", "project/million");
        command.arg("--git-dir").arg(self.stage.at("million.git")).arg("--work-tree=.");
        command
            .args(["-c", "gc.auto=0", "-c", "user.name=bench", "-c", "user.email=bench@localhost"])
            .args(args);
        command
    }

    /// Creates the data whose transfer needs the most memory. It exists only for its measurement, because on a tmpfs it
    /// occupies memory itself.
    pub(crate) fn make_mixed(&self) -> Result<()> {
        data::mixed(&self.stage.at("project").join(MIXED))
    }

    /// Removes that data and its copies.
    pub(crate) fn remove_mixed(&self) -> Result<()> {
        self.stage.clear(&["project/mixed.bin", "remote", "kept/mixed.bin", "restored/mixed.bin"])
    }

    fn tar_pack(&self, data: &str, archive: &str) -> Command {
        let mut command = self.stage.command("sh", "project");
        command.args(["-c", "tar -c \"$0\" | zstd -q -3 -T0 > \"$1\"", data]).arg(self.stage.at(archive));
        command
    }

    /// Returns `tar -c | zstd -3 -T0`.
    pub(crate) fn tar_push<'a>(&'a self, data: &'a str) -> MeasuredCommand<'a> {
        self.stage.subject(&["made.tar.zst"], move || self.tar_pack(data, "made.tar.zst"))
    }

    /// Returns `zstd -dc | tar -x`.
    pub(crate) fn tar_pull(&self) -> MeasuredCommand<'_> {
        self.stage.subject(&["tar-restored/large", "tar-restored/small", "tar-restored/weights.bin"], || {
            let mut command = self.stage.command("sh", "tar-restored");
            command.args(["-c", "zstd -q -dc \"$0\" | tar -x"]).arg(self.stage.at("kept.tar.zst"));
            command
        })
    }

    /// Returns `larder project push` of the large data to a new remote.
    pub(crate) fn project_push(&self) -> MeasuredCommand<'_> {
        self.stage
            .subject(&["remote", "project/.larder"], || self.larder_project("push", "project", "remote"))
    }

    /// Returns `larder project pull` of the output of [`Local::prepare_project_pulls`] into an empty directory.
    pub(crate) fn project_pull(&self) -> MeasuredCommand<'_> {
        self.stage.subject(&["restored/large", "restored/project.lock", "restored/.larder"], || {
            self.larder_project("pull", "restored", "kept-project")
        })
    }

    /// Prepares the pulls of the project: pushes it once with larder.
    pub(crate) fn prepare_project_pulls(&self) -> Result<()> {
        process::run(&mut self.larder_project("push", "project", "kept-project"))
    }

    fn larder_project(&self, task: &str, place: &str, remote: &str) -> Command {
        let mut command = self.stage.command(&self.stage.larder, place);
        command.args(["project", task]).arg(self.stage.at(remote));
        command
    }

    /// Returns `weasel push` of the large data to a new remote.
    pub(crate) fn weasel_push(&self) -> MeasuredCommand<'_> {
        self.stage.subject(&["weasel-remote"], || self.weasel("push", "project"))
    }

    /// Returns `weasel pull` of the output of [`Local::prepare_weasel_pulls`].
    pub(crate) fn weasel_pull(&self) -> MeasuredCommand<'_> {
        self.stage.subject(&["weasel-restored/large", "weasel-restored/project.lock"], || {
            self.weasel("pull", "weasel-restored")
        })
    }

    /// Prepares weasel's pulls: pushes once with weasel.
    pub(crate) fn prepare_weasel_pulls(&self) -> Result<()> {
        process::run(&mut self.weasel("push", "project"))
    }

    fn weasel(&self, task: &str, place: &str) -> Command {
        let mut command = self.stage.command(&self.weasel, place);
        command.args(["-m", "weasel", task, "default", "."]);
        command
    }

    /// Returns `larder --version`.
    pub(crate) fn version(&self) -> MeasuredCommand<'_> {
        self.stage.subject(&[], || {
            let mut command = self.stage.command(&self.stage.larder, "project");
            command.arg("--version");
            command
        })
    }

    /// Returns `larder find` by a command hash with `objects` objects.
    pub(crate) fn find(&self, objects: u32) -> Result<MeasuredCommand<'_>> {
        let dir = self.stage.at("crowded").join("model").join(COMMAND_HASH);
        fs::create_dir_all(&dir)?;
        for number in 0..objects {
            fs::write(dir.join(format!("blake3-{number:064x}")), "an object")?;
        }
        Ok(self.stage.subject(&[], || {
            let mut command = self.stage.command(&self.stage.larder, "project");
            command
                .args(["find", "model", "--command-hash", COMMAND_HASH, "--remote"])
                .arg(self.stage.at("crowded"));
            command
        }))
    }
}

/// Makes every open of a file a millisecond slower, as on a network file system.
pub(crate) fn with_slow_opens(subject: MeasuredCommand<'_>) -> MeasuredCommand<'_> {
    const OPENS: &str = "?open,openat,?openat2,?creat";
    let MeasuredCommand { clear, command } = subject;
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
    MeasuredCommand { clear, command: Box::new(command) }
}
