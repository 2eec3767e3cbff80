//! A pause for a remote that did not answer. Until its end, runs of commands leave the remote alone.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use larder_records::RunTime;
use larder_tree::read_open_file;

use super::directory::{STATE, StateDirectory};
use crate::error::{Error, Result};

/// The name of the file. Its first line has the end of the pause in Unix milliseconds, a space, and the remote. The rest is the
/// reason.
const PAUSE: &str = "remote-pause";

/// A pause in which the runs of a project leave a remote alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemotePause {
    /// Its end.
    pub until: RunTime,
    /// How the remote failed.
    pub reason: String,
}

/// How long a remote is left alone. A later end comes from a clock that was set back.
const LENGTH: Duration = Duration::from_mins(1);

/// The maximum size of the file, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// Returns the pause of a remote, if it is not over.
pub(super) fn read_pause(root: &Path, remote: &str) -> Option<RemotePause> {
    let directory = StateDirectory::open(root, &[STATE]).ok()??;
    let file = directory.open_regular(PAUSE).ok()??;
    let text = String::from_utf8(read_open_file(&file, MAX_FILE).ok()?).ok()?;
    let (line, reason) = text.split_once('\n')?;
    let (until, paused) = line.split_once(' ')?;
    let until = RunTime::from_millis(until.parse().ok()?);
    let now = RunTime::from(SystemTime::now());
    let holds = paused == remote && until > now && until <= now.later_by(LENGTH);
    holds.then(|| RemotePause { until, reason: reason.trim_end().to_owned() })
}

/// Begins the pause of a remote.
pub(super) fn begin_pause(root: &Path, remote: &str, reason: &str) -> Result<()> {
    let directory = StateDirectory::create(root, &[STATE])?;
    let until = RunTime::from(SystemTime::now()).later_by(LENGTH);
    let text = format!("{} {remote}\n{reason}\n", until.as_millis());
    directory.replace(PAUSE, text.as_bytes()).map_err(Error::io("write", directory.path().join(PAUSE)))
}

/// Ends the pause of any remote.
pub(super) fn end_pause(root: &Path) -> Result<()> {
    let Some(directory) = StateDirectory::open(root, &[STATE])? else { return Ok(()) };
    match directory.remove_file(PAUSE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", directory.path().join(PAUSE))(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_pause_ends_and_holds_for_one_remote() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_pause(dir.path(), "s3://a b").is_none());
        end_pause(dir.path()).unwrap();
        begin_pause(dir.path(), "s3://a b", "no answer").unwrap();
        assert_eq!(read_pause(dir.path(), "s3://a b").unwrap().reason, "no answer");
        assert!(read_pause(dir.path(), "s3://other").is_none());
        let later = RunTime::from(SystemTime::now()).later_by(LENGTH * 2);
        for until in [0, later.as_millis()] {
            fs::write(dir.path().join(".larder/remote-pause"), format!("{until} s3://a b\nno answer\n"))
                .unwrap();
            assert!(read_pause(dir.path(), "s3://a b").is_none());
        }
        end_pause(dir.path()).unwrap();
        end_pause(dir.path()).unwrap();
    }
}
