//! `cargo xtask bench`: compares the release binary with its peers, in one run on one machine.

mod chart;
mod curl;
mod data;
mod link;
mod machine;
mod measure;
mod peers;
mod report;
mod rows;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use measure::measure_child;

use peers::Peers;
use report::ReportPage;
use rows::Row;
use stage::{Gcs, Local, S3, Ssh};

use crate::{Result, cargo, process, venv};

/// The kind of larder's remotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum BenchBackend {
    /// Directories, against tar, zstd and weasel.
    Local,
    /// MinIO, against the AWS CLI, rclone and curl.
    S3,
    /// The testkit's server, against curl.
    Gcs,
    /// sshd, against scp and sftp.
    Ssh,
}

/// Measures the release binary against other programs, and writes docs/benchmarks*.md and .svg.
#[derive(clap::Args)]
pub(crate) struct BenchOptions {
    /// Measures each command once, and writes nothing.
    #[arg(long)]
    quick: bool,
    /// The directory for the data.
    #[arg(long, default_value = "/dev/shm")]
    dir: PathBuf,
    /// Measures only rows whose names contain one of these, and writes nothing.
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// The kind of remotes.
    #[arg(long, value_enum, default_value_t = BenchBackend::Local)]
    backend: BenchBackend,
}

impl BenchOptions {
    /// The minimum number of runs of each command.
    fn rounds(&self) -> usize {
        if self.quick { 1 } else { 5 }
    }

    /// Whether to measure the rows of this name.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty()
            || self.only.iter().any(|part| name.to_lowercase().contains(&part.to_lowercase()))
    }
}

impl BenchBackend {
    /// Returns the name of the file below `docs`, without its extension.
    fn file(self) -> &'static str {
        match self {
            Self::Local => "benchmarks",
            Self::S3 => "benchmarks-s3",
            Self::Gcs => "benchmarks-gcs",
            Self::Ssh => "benchmarks-ssh",
        }
    }

    fn page(self) -> ReportPage {
        match self {
            Self::Local => ReportPage {
                title: "Benchmarks",
                task: "cargo xtask bench",
                about: "Hashing and verification are always on. The remote, the archive and the destination are new for \
                        every run.",
            },
            Self::S3 => ReportPage {
                title: "Benchmarks with S3",
                task: "cargo xtask bench --backend s3",
                about: "The data is one incompressible file of 1 GiB, which larder pushes with `--compression none` to \
                        MinIO on the same machine. Every program pulls the same object. larder hashes the content before \
                        a push and verifies it during a pull. The object and the destination are new for every run. The \
                        other programs run with their defaults.",
            },
            Self::Gcs => ReportPage {
                title: "Benchmarks with Google Cloud Storage",
                task: "cargo xtask bench --backend gcs",
                about: "The data is one incompressible file of 1 GiB, which larder pushes with `--compression none` to \
                        the testkit's server on the same machine. Every program pulls the same object. larder hashes the \
                        content before a push and verifies it during a pull. The object and the destination are new for \
                        every run.",
            },
            Self::Ssh => ReportPage {
                title: "Benchmarks with SSH",
                task: "cargo xtask bench --backend ssh",
                about: "The data is one incompressible file of 512 MiB, which larder pushes with `--compression none` to \
                        an sshd on the same machine. Every program pulls the same object. larder hashes the content \
                        before a push and verifies it during a pull. The object and the destination are new for every \
                        run. All use the same cipher. Otherwise the other programs run with their defaults.",
            },
        }
    }

    /// Measures all rows. Also returns the description of the machine and the programs.
    fn measure(self, options: &BenchOptions, dir: &Path) -> Result<(Vec<Row>, Vec<String>)> {
        let larder = cargo::build(&[&["--release"], &cargo::larder()[..]].concat())?.larder;
        let mut machine = machine::describe(&larder, &options.dir)?;
        let rows = match self {
            Self::Local => {
                machine.extend(machine::local_peers()?);
                rows::local::measure(&Local::prepare(dir, larder, venv::weasel()?)?, options)?
            }
            Self::S3 => {
                let stage = S3::prepare(dir, larder, Peers::find())?;
                machine.extend(stage.describe()?);
                rows::s3::measure(&stage, options).inspect_err(|_| stage.show_log())?
            }
            Self::Gcs => {
                let stage = Gcs::prepare(dir, larder)?;
                machine.extend(Gcs::describe()?);
                rows::gcs::measure(&stage, options).inspect_err(|_| stage.show_log())?
            }
            Self::Ssh => {
                let stage = Ssh::prepare(dir, larder)?;
                machine.extend(stage.describe());
                rows::ssh::measure(&stage, options).inspect_err(|_| stage.show_log())?
            }
        };
        Ok((rows, machine))
    }
}

pub(crate) fn run(options: &BenchOptions) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("larder-bench-").tempdir_in(&options.dir)?;
    eprintln!("xtask: the data is in {}", dir.path().display());
    let (measured, machine) = options.backend.measure(options, dir.path())?;
    let text = report::markdown(
        &options.backend.page(),
        options.backend.file(),
        &measured,
        &machine,
        options.rounds(),
    );
    print!("{text}");
    if options.quick || !options.only.is_empty() {
        return Ok(());
    }
    let docs = cargo::root().join("docs");
    let name = options.backend.file();
    fs::create_dir_all(&docs)?;
    fs::write(docs.join(format!("{name}.md")), text)?;
    fs::write(docs.join(format!("{name}.svg")), chart::svg(&measured))?;
    eprintln!("xtask: wrote docs/{name}.md and docs/{name}.svg");
    Ok(())
}

/// Returns the first line of a program's output, which describes the program in the report.
fn first_line(program: &str, args: &[&str]) -> Result<String> {
    let text = process::stdout_of(std::process::Command::new(program).args(args))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
