//! Which MinIO is taken.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::servers::Machine;
use crate::servers::go::{Go, Module};
use crate::{Result, process};

/// The last commit: the project is archived. The tags of its releases are no versions of the module.
const MODULE: Module = Module {
    program: "minio",
    path: "github.com/minio/minio",
    version: "v0.0.0-20260212201848-7aac2a2c5b7c",
    needs: Go(1, 24),
    toolchain: "go1.24.8",
    ask: version,
};

/// The last image that was published.
const IMAGE: &str = "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z";

/// For a program that is asked for its version; a daemon that is there answers at once too.
const PATIENCE: Duration = Duration::from_secs(10);

const ADVICE: &str = "there is no MinIO: put its path into $MINIO or `minio` on PATH, or start docker or podman, or put \
    Go 1.19 or later on PATH to build it, or name another server in LARDER_TEST_S3_URL";

/// What can be started.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Program {
    Binary(PathBuf),
    Container { engine: PathBuf, image: String },
}

impl Program {
    /// What it is, with its version.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Binary(path) => version(path).unwrap_or_else(|| path.display().to_string()),
            Self::Container { image, .. } => image.clone(),
        }
    }
}

/// Takes the first of: `$MINIO`, `minio` on `PATH`, the one in the cache, a container, one that is built into the cache.
pub(super) fn find(machine: &Machine, variable: Option<OsString>) -> Result<Program> {
    if let Some(named) = variable.filter(|value| !value.is_empty()) {
        return from_variable(machine, &named);
    }
    if let Some(path) = machine.program("minio") {
        if let Some(version) = version(&path) {
            return Ok(taken(path, "on PATH", &version));
        }
        eprintln!("xtask: {} says no version of MinIO: it is not taken", path.display());
    }
    let cached = MODULE.cached(machine);
    if let Some(version) = version(&cached) {
        return Ok(taken(cached, "in the cache", &version));
    }
    if let Some(program) = container(machine) {
        return Ok(program);
    }
    match machine.program("go") {
        Some(go) => {
            let path = MODULE.build(machine, &go).map_err(|error| format!("{error}; {ADVICE}"))?;
            let version = version(&path)
                .ok_or_else(|| format!("{}, which was built here, says no version", path.display()))?;
            Ok(taken(path, "built here", &version))
        }
        None => Err(ADVICE.into()),
    }
}

/// What somebody names is taken or refused, never passed over.
fn from_variable(machine: &Machine, named: &OsStr) -> Result<Program> {
    let has_directory = Path::new(named).components().count() > 1;
    let path = match named.to_str() {
        Some(name) if !has_directory => machine.program(name),
        _ => None,
    };
    let path = path.map_or_else(|| std::path::absolute(named), Ok)?;
    match version(&path) {
        Some(version) => Ok(taken(path, "of $MINIO", &version)),
        None => Err(format!("$MINIO is {}, which says no version of MinIO", path.display()).into()),
    }
}

fn taken(path: PathBuf, from: &str, version: &str) -> Program {
    eprintln!("xtask: MinIO {from}: {}, {version}", path.display());
    Program::Binary(path)
}

/// The line with its version, if this is a MinIO.
fn version(path: &Path) -> Option<String> {
    if !path.is_file() {
        return None;
    }
    let text = process::answer(Command::new(path).arg("--version"), PATIENCE)?;
    // The first word is the name of the file; the owner of the copyright is on a line below.
    let line = text.lines().next().filter(|line| line.contains(" version ") && text.contains("MinIO"));
    line.map(str::to_owned)
}

/// An engine that answers, and has the image or gets it.
fn container(machine: &Machine) -> Option<Program> {
    for name in ["docker", "podman"] {
        let Some(engine) = machine.program(name) else { continue };
        if process::answer(Command::new(&engine).arg("info"), PATIENCE).is_none() {
            eprintln!("xtask: {name} is there, but does not answer");
            continue;
        }
        let has = process::answer(Command::new(&engine).args(["image", "inspect", IMAGE]), PATIENCE);
        if has.is_none() && process::run(Command::new(&engine).args(["pull", IMAGE])).is_err() {
            eprintln!("xtask: {name} does not get the image {IMAGE}");
            continue;
        }
        eprintln!("xtask: MinIO in a container of {name}: {IMAGE}");
        return Some(Program::Container { engine, image: IMAGE.to_owned() });
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A machine with programs that the test writes, and a log of what was asked of them.
    struct Fake {
        dir: TempDir,
        machine: Machine,
    }

    impl Fake {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let machine = Machine { path: vec![dir.path().join("bin")], cache: dir.path().join("cache") };
            fs::create_dir_all(dir.path().join("bin")).unwrap();
            Self { dir, machine }
        }

        fn program(&self, path: impl AsRef<Path>, script: &str) -> PathBuf {
            let path = self.dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // Written by another process: while this one holds it open for writing, a test beside may fork, and then it
            // cannot be executed.
            let log = self.dir.path().join("log");
            let text = format!("#!/bin/sh\necho \"${{0##*/}} $*\" >>{}\n{script}\n", log.display());
            let write = "printf %s \"$1\" >\"$0\" && chmod +x \"$0\"";
            assert!(Command::new("sh").args(["-c", write]).arg(&path).arg(text).status().unwrap().success());
            path
        }

        fn minio(&self, path: impl AsRef<Path>) -> PathBuf {
            self.program(path, "echo \"${0##*/} version 1\"; echo Copyright: MinIO")
        }

        fn go(&self, version: &str, install: &str) {
            self.program(
                "bin/go",
                &format!("case $1 in version) echo {version};; install) {install};; esac"),
            );
        }

        fn find(&self, variable: &str) -> Result<Program> {
            find(&self.machine, Some(variable.into()))
        }

        fn log(&self) -> String {
            fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
        }
    }

    const GO: &str = "go version go1.26.8 linux/amd64";
    const INSTALL: &str = "printf '#!/bin/sh\\necho minio version 2\\necho Copyright: MinIO' >$GOBIN/minio; chmod +x $GOBIN/minio";

    #[test]
    fn the_nearest_is_taken() {
        let fake = Fake::new();
        fake.go(GO, INSTALL);
        let cached = MODULE.cached(&fake.machine);
        assert_eq!(fake.find("").unwrap(), Program::Binary(cached.clone()));
        assert!(fake.log().contains("go install github.com/minio/minio@v0.0.0-"), "{}", fake.log());
        // Once.
        fs::remove_file(fake.dir.path().join("log")).unwrap();
        assert_eq!(fake.find("").unwrap(), Program::Binary(cached));
        assert_eq!(fake.log(), "");

        let on_path = fake.minio("bin/minio");
        assert_eq!(fake.find("").unwrap(), Program::Binary(on_path));
        let named = fake.minio("elsewhere/my-minio");
        assert_eq!(fake.find(named.to_str().unwrap()).unwrap(), Program::Binary(named));
    }

    #[test]
    fn an_engine_goes_before_a_build_if_it_answers_and_has_the_image() {
        let fake = Fake::new();
        fake.go(GO, INSTALL);
        let engine = fake.program("bin/podman", "exit 0");
        fake.program("bin/docker", "exit 1");
        let found = fake.find("").unwrap();
        assert_eq!(found, Program::Container { engine, image: IMAGE.to_owned() });
        assert!(fake.log().starts_with("docker info\npodman info\n"), "{}", fake.log());
        // Neither the image nor a way to it.
        fake.program("bin/podman", "[ \"$1\" = info ]");
        assert_eq!(fake.find("").unwrap(), Program::Binary(MODULE.cached(&fake.machine)));
    }

    #[test]
    fn what_is_named_is_never_passed_over() {
        let fake = Fake::new();
        fake.minio("bin/minio");
        let broken = fake.program("elsewhere/minio", "exit 1");
        for wrong in [broken.to_str().unwrap(), "/no/such/minio", "no-such-minio"] {
            let error = fake.find(wrong).unwrap_err().to_string();
            assert!(error.contains("$MINIO is") && error.contains(wrong), "{error}");
        }
        assert_eq!(fake.find("minio").unwrap(), Program::Binary(fake.dir.path().join("bin/minio")));
    }

    #[test]
    fn what_is_no_minio_is_passed_over() {
        let fake = Fake::new();
        fake.program("bin/minio", "echo Midnight Commander 4");
        fake.program(MODULE.cached(&fake.machine), "exit 1");
        let error = fake.find("").unwrap_err().to_string();
        assert_eq!(error, ADVICE);
        assert!(!error.contains('\n'));
        // The broken one in the cache is replaced.
        fake.go(GO, INSTALL);
        fake.find("").unwrap();
        assert_eq!(version(&MODULE.cached(&fake.machine)).unwrap(), "minio version 2");
    }

    #[test]
    fn a_build_that_fails_leaves_nothing_to_be_taken() {
        let fake = Fake::new();
        fake.go(GO, "echo half >$GOBIN/minio; exit 1");
        let error = fake.find("").unwrap_err().to_string();
        assert!(error.contains("go install") && error.ends_with(ADVICE), "{error}");
        assert!(!MODULE.cached(&fake.machine).exists());
        fake.go(GO, INSTALL);
        fake.find("").unwrap();
    }
}
