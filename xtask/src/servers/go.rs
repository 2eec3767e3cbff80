//! Programs that are built from their Go modules, once, into the cache.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::Machine;
use crate::{Result, process};

/// The first that fetches a newer one by itself.
const FETCHES: Go = Go(1, 21);

/// A version of Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Go(pub(crate) u32, pub(crate) u32);

/// A program that is the main package of a module.
pub(crate) struct Module {
    /// The file of the program: the last part of `path`.
    pub(crate) program: &'static str,
    pub(crate) path: &'static str,
    pub(crate) version: &'static str,
    /// The first Go that builds it, which its `go.mod` asks for.
    pub(crate) needs: Go,
    /// What an older one is told to fetch.
    pub(crate) toolchain: &'static str,
    /// The line with its version, if the file is this program.
    pub(crate) ask: fn(&Path) -> Option<String>,
}

impl Module {
    /// Where it is, if it was built before.
    pub(crate) fn cached(&self, machine: &Machine) -> PathBuf {
        // Programs call themselves as their files are called.
        machine.cache.join(self.directory()).join(self.program)
    }

    fn directory(&self) -> String {
        format!("{}-{}", self.program, self.version)
    }

    /// Builds it into the cache: some minutes on two processors, once.
    pub(crate) fn build(&self, machine: &Machine, go: &Path) -> Result<PathBuf> {
        let (dir, done) = (&machine.cache, self.cached(machine));
        fs::create_dir_all(dir).map_err(|error| format!("failed to make {}: {error}", dir.display()))?;
        // Whoever comes while another builds waits, and finds it built.
        let lock = File::create(dir.join("lock"))?;
        lock.lock()?;
        if (self.ask)(&done).is_some() {
            return Ok(done);
        }
        let [complete, partial] =
            ["", ".partial"].map(|suffix| dir.join(format!("{}{suffix}", self.directory())));
        for left in [&complete, &partial] {
            if left.exists() {
                fs::remove_dir_all(left)
                    .map_err(|error| format!("failed to remove {}: {error}", left.display()))?;
            }
        }
        fs::create_dir(&partial)?;
        let mut install = toolchain(go, self.needs, self.toolchain)?;
        install.args(["install", &format!("{}@{}", self.path, self.version)]);
        install.env("CGO_ENABLED", "0").env("GOBIN", &partial);
        eprintln!("xtask: {} is built, once, into {}: this takes some minutes", self.program, dir.display());
        process::run(&mut install)?;
        // Only what is complete is ever there under its name.
        fs::rename(&partial, &complete)?;
        Ok(done)
    }
}

/// A Go that is new enough.
fn toolchain(go: &Path, needed: Go, toolchain: &str) -> Result<Command> {
    let text = process::stdout_of(Command::new(go).arg("version"))?;
    let found = Go::parse(&text).ok_or_else(|| format!("`go version` says `{}`", text.trim()))?;
    if found >= needed {
        return Ok(Command::new(go));
    }
    if found >= FETCHES {
        let mut command = Command::new(go);
        // Distributions turn this off.
        command.env("GOTOOLCHAIN", "auto");
        return Ok(command);
    }
    // A toolchain is a module too: an old Go gets it, and compares its checksum, but does not know that it is a program.
    let (os, arch) = (go_env(go, "GOHOSTOS")?, go_env(go, "GOHOSTARCH")?);
    let module = format!("golang.org/toolchain@v0.0.1-{toolchain}.{os}-{arch}");
    let said = process::stdout_of(Command::new(go).args(["mod", "download", "-json", &module]))?;
    let said: Value = serde_json::from_str(&said)?;
    let dir = said["Dir"].as_str().ok_or_else(|| format!("`go mod download {module}` names no directory"))?;
    let dir = Path::new(dir);
    for programs in [dir.join("bin"), dir.join(format!("pkg/tool/{os}_{arch}"))] {
        for program in fs::read_dir(&programs)? {
            fs::set_permissions(program?.path(), Permissions::from_mode(0o555))?;
        }
    }
    let mut command = Command::new(dir.join("bin/go"));
    command.env_remove("GOROOT");
    Ok(command)
}

fn go_env(go: &Path, name: &str) -> Result<String> {
    Ok(process::stdout_of(Command::new(go).args(["env", name]))?.trim().to_owned())
}

impl Go {
    /// Reads `go version go1.26.8 linux/amd64`.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix("go version go")?.split(|byte: char| !byte.is_ascii_digit());
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_read() {
        assert_eq!(Go::parse("go version go1.26.8 linux/amd64\n"), Some(Go(1, 26)));
        assert_eq!(Go::parse("go version go1.27rc1 linux/amd64"), Some(Go(1, 27)));
        assert_eq!(Go::parse("go version go1.19 linux/amd64"), Some(Go(1, 19)));
        assert_eq!(Go::parse("go version devel +2f3c3d5"), None);
        assert!(Go(2, 0) > FETCHES && Go(1, 9) < FETCHES);
    }
}
