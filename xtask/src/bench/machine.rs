//! The description of the machine. Only ratios are comparable between machines.

use std::fs;
use std::path::Path;

use super::first_line;
use crate::{Result, cargo, process, venv};

/// Returns the lines of a list.
pub(crate) fn describe(larder: &Path, dir: &Path) -> Result<Vec<String>> {
    let cpu = after_colon("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory =
        after_colon("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let memory =
        memory.map_or_else(String::new, |kib| format!(", {:.0} GiB of memory", kib / f64::from(1 << 20)));
    let commit =
        first_line("git", &["-C", &cargo::root().display().to_string(), "rev-parse", "--short=12", "HEAD"])?;
    let file_system = first_line("stat", &["-f", "-c", "%T", &dir.display().to_string()])?;
    Ok(vec![
        format!("{cpu}, {cores} cores{memory}"),
        format!("{}, data on {file_system}", first_line("uname", &["-srm"])?),
        format!(
            "{} at commit {commit}, {}",
            first_line(&larder.display().to_string(), &["--version"])?,
            rustc()?
        ),
    ])
}

/// Returns the versions of the peers for a remote in a directory.
pub(crate) fn local_peers() -> Result<Vec<String>> {
    let weasel = venv::weasel()?;
    let version = "import importlib.metadata as m, platform as p; print(m.version('weasel'), 'on Python', p.python_version())";
    Ok(vec![
        format!(
            "{}; {}",
            first_line("tar", &["--version"])?,
            first_line("zstd", &["--version"])?.replace('*', "").trim()
        ),
        format!("weasel {}", first_line(&weasel.display().to_string(), &["-c", version])?),
    ])
}

fn rustc() -> Result<String> {
    let text = process::stdout_of(std::process::Command::new("rustc").arg("--version"))?;
    Ok(text.split(" (").next().unwrap_or_default().trim().to_owned())
}

fn after_colon(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
