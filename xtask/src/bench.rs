//! `cargo xtask bench`: the release binary against its peers, in one run on one machine.

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

pub(crate) use measure::{MEASURE, measure_child};

use peers::Peers;
use report::Page;
use rows::Row;
use stage::{Gcs, Local, S3, Ssh};

use crate::{Result, cargo, process, weasel};

/// What larder's remotes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Local,
    S3,
    Gcs,
    Ssh,
}

struct Options {
    /// How often each command is measured at least.
    rounds: usize,
    quick: bool,
    dir: PathBuf,
    only: Vec<String>,
    backend: Backend,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let dir = "/dev/shm".into();
        let mut options = Self { rounds: 5, quick: false, dir, only: Vec::new(), backend: Backend::Local };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("`{arg}` takes a value"));
            match arg.as_str() {
                "--quick" => {
                    options.quick = true;
                    options.rounds = 1;
                }
                "--dir" => options.dir = value()?.into(),
                "--only" => options.only.push(value()?.to_lowercase()),
                "--backend" => {
                    options.backend = match value()?.as_str() {
                        "local" => Backend::Local,
                        "s3" => Backend::S3,
                        "gcs" => Backend::Gcs,
                        "ssh" => Backend::Ssh,
                        other => {
                            let problem = "it is local, s3, gcs or ssh";
                            return Err(format!(
                                "there are no benchmarks of the backend `{other}`: {problem}"
                            )
                            .into());
                        }
                    };
                }
                _ => return Err(format!("unknown option `{arg}` of bench").into()),
            }
        }
        Ok(options)
    }

    /// Whether the rows of this name are wanted.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.to_lowercase().contains(part))
    }
}

impl Backend {
    /// The file below `docs`, without its extension.
    fn file(self) -> &'static str {
        match self {
            Self::Local => "benchmarks",
            Self::S3 => "benchmarks-s3",
            Self::Gcs => "benchmarks-gcs",
            Self::Ssh => "benchmarks-ssh",
        }
    }

    fn page(self) -> Page {
        match self {
            Self::Local => Page {
                title: "Benchmarks",
                task: "cargo xtask bench",
                chart: "benchmarks.svg",
                about: "Hashing and verification are always on. The remote, the archive and the destination are new for \
                        every run.",
            },
            Self::S3 => Page {
                title: "Benchmarks with S3",
                task: "cargo xtask bench --backend s3",
                chart: "benchmarks-s3.svg",
                about: "One file of 1 GiB that no codec makes smaller, pushed with `--compression none` to a MinIO on the \
                        same machine; all pull the same object, which larder pushed. larder hashes the content before \
                        it pushes and verifies it when it pulls. The object and the destination are new for every run. \
                        The other programs run with their defaults.",
            },
            Self::Gcs => Page {
                title: "Benchmarks with Google Cloud Storage",
                task: "cargo xtask bench --backend gcs",
                chart: "benchmarks-gcs.svg",
                about: "One file of 1 GiB that no codec makes smaller, pushed with `--compression none` to the testkit's \
                        server on the same machine; both pull the same object, which larder pushed. larder hashes the \
                        content before it pushes and verifies it when it pulls. The object and the destination are new \
                        for every run.",
            },
            Self::Ssh => Page {
                title: "Benchmarks with SSH",
                task: "cargo xtask bench --backend ssh",
                chart: "benchmarks-ssh.svg",
                about: "One file of 512 MiB that no codec makes smaller, pushed with `--compression none` to an sshd on the \
                        same machine; all pull the same object, which larder pushed. larder hashes the content before \
                        it pushes and verifies it when it pulls. The object and the destination are new for every run. \
                        All use the same cipher; the other programs run with their defaults otherwise.",
            },
        }
    }

    /// Measures, and says where and with what.
    fn measure(self, options: &Options, dir: &Path) -> Result<(Vec<Row>, Vec<String>)> {
        let larder = cargo::build(&[&["--release"], &cargo::larder()[..]].concat())?.larder;
        let mut machine = machine::describe(&larder, &options.dir)?;
        let rows = match self {
            Self::Local => {
                machine.extend(machine::local_peers()?);
                rows::local::measure(&Local::set(dir, larder, weasel::python()?)?, options)?
            }
            Self::S3 => {
                let stage = S3::set(dir, larder, Peers::find())?;
                machine.extend(stage.describe()?);
                rows::s3::measure(&stage, options).inspect_err(|_| stage.show_log())?
            }
            Self::Gcs => {
                let stage = Gcs::set(dir, larder)?;
                machine.extend(Gcs::describe()?);
                rows::gcs::measure(&stage, options).inspect_err(|_| stage.show_log())?
            }
            Self::Ssh => {
                let stage = Ssh::set(dir, larder)?;
                machine.extend(stage.describe());
                rows::ssh::measure(&stage, options).inspect_err(|_| stage.show_log())?
            }
        };
        Ok((rows, machine))
    }
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let dir = tempfile::Builder::new().prefix("larder-bench-").tempdir_in(&options.dir)?;
    eprintln!("xtask: the data go to {}", dir.path().display());
    let (measured, machine) = options.backend.measure(&options, dir.path())?;
    let text = report::markdown(&options.backend.page(), &measured, &machine, options.rounds);
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

/// The first line that a program prints, for what is measured against what.
fn first_line(program: &str, args: &[&str]) -> Result<String> {
    let text = process::stdout_of(std::process::Command::new(program).args(args))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().copied().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn backends_are_named() {
        assert_eq!(parse(&[]).unwrap().backend, Backend::Local);
        assert_eq!(parse(&["--backend", "local"]).unwrap().backend, Backend::Local);
        let options = parse(&["--backend", "s3", "--quick", "--dir", "/data"]).unwrap();
        assert_eq!((options.backend, options.rounds), (Backend::S3, 1));
        assert_eq!(options.dir, Path::new("/data"));
        for wrong in [&["--backend"][..], &["--backend", "s4"], &["s3"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_page_has_its_own_chart_beside_it() {
        for backend in [Backend::Local, Backend::S3, Backend::Gcs, Backend::Ssh] {
            assert_eq!(backend.page().chart, format!("{}.svg", backend.file()));
        }
    }
}
