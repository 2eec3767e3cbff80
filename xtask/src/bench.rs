//! `cargo xtask bench`: the release binary against its peers, in one run on one machine.

mod chart;
mod data;
mod machine;
mod measure;
mod report;
mod rows;
mod stage;

use std::fs;
use std::path::PathBuf;

pub(crate) use measure::{MEASURE, measure_child};

use crate::{Result, cargo, process, weasel};

struct Options {
    /// How often each command is measured.
    rounds: usize,
    quick: bool,
    dir: PathBuf,
    only: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { rounds: 5, quick: false, dir: "/dev/shm".into(), only: Vec::new() };
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
                "--backend" => match value()?.as_str() {
                    "local" => {}
                    other => {
                        return Err(
                            format!("there are no benchmarks of the backend `{other}`: it is local").into()
                        );
                    }
                },
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

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let larder = cargo::build(&["--release", "-p", "larder"])?.larder;
    let dir = tempfile::Builder::new().prefix("larder-bench-").tempdir_in(&options.dir)?;
    eprintln!("xtask: the data go to {}", dir.path().display());
    let stage = stage::Stage::set(dir.path(), larder, weasel::python()?)?;
    let measured = rows::measure(&stage, &options)?;
    let machine = machine::describe(&stage.larder, &options.dir)?;
    let text = report::markdown(&measured, &machine, options.rounds);
    print!("{text}");
    if options.quick || !options.only.is_empty() {
        return Ok(());
    }
    let docs = cargo::root().join("docs");
    fs::create_dir_all(&docs)?;
    fs::write(docs.join("benchmarks.md"), text)?;
    fs::write(docs.join("benchmarks.svg"), chart::svg(&measured))?;
    eprintln!("xtask: wrote docs/benchmarks.md and docs/benchmarks.svg");
    Ok(())
}

/// The first line that a program prints, for what is measured against what.
fn first_line(program: &str, args: &[&str]) -> Result<String> {
    let text = process::stdout_of(std::process::Command::new(program).args(args))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
