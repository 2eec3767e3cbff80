//! Commands, which are printed when they start.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// Formats a command as a user would type it.
pub(crate) fn shown(command: &Command) -> String {
    let quoted = |text: &OsStr| {
        let text = text.to_string_lossy();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=+./,:@%".contains(&byte);
        if !text.is_empty() && text.bytes().all(plain) { text.into_owned() } else { format!("{text:?}") }
    };
    // Skip variables that every command gets.
    let usual = |name: &OsStr| name == "PATH" || name == "HOME";
    let set = |(name, value): (&OsStr, Option<&OsStr>)| match value {
        Some(value) if !usual(name) => format!("{}={} ", name.to_string_lossy(), quoted(value)),
        _ => String::new(),
    };
    let env: String = command.get_envs().map(set).collect();
    let words: Vec<String> =
        [command.get_program()].into_iter().chain(command.get_args()).map(quoted).collect();
    format!("{env}{}", words.join(" "))
}

/// Runs a command with this process's streams, and returns whether it succeeded. A failed start is an error.
pub(crate) fn status(command: &mut Command) -> Result<bool> {
    eprintln!("+ {}", shown(command));
    let status =
        command.status().map_err(|error| format!("failed to start `{}`: {error}", shown(command)))?;
    Ok(status.success())
}

/// Runs a command with this process's streams. A failure is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    if status(command)? { Ok(()) } else { Err(format!("`{}` failed", shown(command)).into()) }
}

/// Runs a command and returns its standard output. Its standard error goes to ours.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    eprintln!("+ {}", shown(command));
    let started = command.stderr(Stdio::inherit()).output();
    let Output { status, stdout, .. } =
        started.map_err(|error| format!("failed to start `{}`: {error}", shown(command)))?;
    if !status.success() {
        return Err(format!("`{}` failed", shown(command)).into());
    }
    Ok(String::from_utf8(stdout)?)
}

/// Whether a program exists and succeeds with the arguments `probe`.
pub(crate) fn is_there(program: impl AsRef<OsStr>, probe: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(probe).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Builds the main package of a Go module into the cache, once, and returns the path of the program. `module` has the
/// package, its version, and the toolchain for a Go before 1.21.
pub(crate) fn build_go_program(module: [&str; 3]) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build-go-program");
    Ok(stdout_of(Command::new(script).args(module))?.trim().into())
}

/// Runs a command, and returns its standard output if it succeeds within `timeout`. Kills a command that hangs. The output
/// must be short, because a command that fills the pipe counts as hanging.
pub(crate) fn answer(command: &mut Command, timeout: Duration) -> Option<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let deadline = Instant::now() + timeout;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    // Do not read to the end, because a background process of the command may hold the pipe open.
    let mut text = [0; 4096];
    let length = child.stdout.as_mut()?.read(&mut text).ok()?;
    status.success().then(|| String::from_utf8_lossy(&text[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_they_are_typed() {
        let mut command = Command::new("tar");
        command.args(["-c", "a b", ""]).env("CI", "true").env("PATH", "/bin");
        assert_eq!(shown(&command), "CI=true tar -c \"a b\" \"\"");
    }

    #[test]
    fn a_command_that_hangs_or_fails_gives_no_answer() {
        let ask = |script: &str, timeout| answer(Command::new("sh").args(["-c", script]), timeout);
        assert_eq!(ask("echo here", Duration::from_mins(1)).unwrap(), "here\n");
        assert_eq!(ask("echo here; exit 1", Duration::from_mins(1)), None);
        assert_eq!(ask("exec sleep 600", Duration::from_millis(50)), None);
    }
}
