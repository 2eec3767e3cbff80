//! Tells a process from a later one with the same number.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::str::FromStr;

use rustix::fs::OFlags;

/// A process: its number, and when it started, in clock ticks since the machine booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessIdentity {
    id: u32,
    started: u64,
}

impl ProcessIdentity {
    /// Returns this process. Returns `None` on systems without `/proc`.
    pub(super) fn own() -> Option<Self> {
        let id = std::process::id();
        Some(Self { id, started: ProcessStat::of(id)?.started })
    }

    pub(super) const fn id(&self) -> u32 {
        self.id
    }

    /// Returns whether the process has not ended, as far as `/proc` shows: not for processes of other containers.
    pub(super) fn is_running(&self) -> bool {
        ProcessStat::of(self.id).is_some_and(|stat| stat.started == self.started && !stat.has_ended)
    }

    /// Returns whether it started after another process.
    pub(super) fn is_younger_than(&self, other: &Self) -> bool {
        (self.started, self.id) > (other.started, other.id)
    }

    /// Returns whether this process descends from it. Never true on systems without `/proc`.
    pub(super) fn is_ancestor(&self) -> bool {
        self.is_ancestor_of(std::process::id())
    }

    /// Returns whether the process of this number descends from it. Never true on systems without `/proc`.
    pub(super) fn is_ancestor_of(&self, mut id: u32) -> bool {
        while let Some(stat) = ProcessStat::of(id) {
            let parent = stat.parent;
            if parent == 0 || parent == id {
                return false;
            }
            if parent == self.id {
                return ProcessStat::of(parent).is_some_and(|stat| stat.started == self.started);
            }
            id = parent;
        }
        false
    }
}

impl fmt::Display for ProcessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.started)
    }
}

/// The text is not a process.
#[derive(Debug)]
pub(super) struct InvalidProcess;

impl FromStr for ProcessIdentity {
    type Err = InvalidProcess;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, started) = text.split_once(' ').ok_or(InvalidProcess)?;
        let id = id.parse().map_err(|_| InvalidProcess)?;
        Ok(Self { id, started: started.parse().map_err(|_| InvalidProcess)? })
    }
}

/// Some fields of `/proc/PID/stat`: see `proc_pid_stat(5)`.
struct ProcessStat {
    /// Whether only its parent has not noticed its end.
    has_ended: bool,
    parent: u32,
    started: u64,
}

impl ProcessStat {
    fn of(id: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name of the program stands in parentheses, and may have any characters.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let has_ended = matches!(fields.next()?, "Z" | "X" | "x");
        let parent = fields.next()?.parse().ok()?;
        Some(Self { has_ended, parent, started: fields.nth(17)?.parse().ok()? })
    }
}

/// Returns whether this process has inherited another descriptor of an open file. Never true on systems without `/proc`.
///
/// Only inherited descriptors stay open when a process starts a program, because larder opens its own so that they are closed
/// then.
pub(super) fn has_inherited(file: &File) -> bool {
    let Ok(wanted) = file.metadata() else { return false };
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else { return false };
    descriptors.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).any(|number| {
        let is_same = fs::metadata(format!("/proc/self/fd/{number}"))
            .is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()));
        is_same && stays_open(&number) == Some(true)
    })
}

/// Returns whether a descriptor stays open when this process starts a program: see `proc_pid_fdinfo(5)`.
fn stays_open(number: &str) -> Option<bool> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    Some(!OFlags::from_bits_retain(flags).contains(OFlags::CLOEXEC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4711 1 2 3";
        let stat = ProcessStat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.started, stat.has_ended), (3, 4711, false));
        assert!(ProcessStat::parse(&text.replace(") S", ") Z")).unwrap().has_ended);
        assert!(ProcessStat::parse("7 (a) S").is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_a_descriptor_that_stays_open_is_inherited() {
        use rustix::io::{FdFlags, fcntl_setfd};

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let one = File::create(&path).unwrap();
        let other = File::open(&path).unwrap();
        assert!(!has_inherited(&one));
        fcntl_setfd(&other, FdFlags::empty()).unwrap();
        assert!(has_inherited(&one));
        assert!(!has_inherited(&File::create(dir.path().join("g")).unwrap()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_runs_until_its_end() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let started = ProcessStat::of(child.id()).unwrap().started;
        let identity = ProcessIdentity { id: child.id(), started };
        assert!(identity.is_running() && !ProcessIdentity { started: started + 1, ..identity }.is_running());
        child.wait().unwrap();
        assert!(!identity.is_running());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_parent_is_an_ancestor_and_this_process_is_not() {
        let own = ProcessIdentity::own().unwrap();
        assert!(!own.is_ancestor());
        let parent = ProcessStat::of(own.id).unwrap().parent;
        let started = ProcessStat::of(parent).unwrap().started;
        assert!(ProcessIdentity { id: parent, started }.is_ancestor());
        assert!(!ProcessIdentity { id: parent, started: started + 1 }.is_ancestor(), "an earlier process");
        assert_eq!(own.to_string().parse::<ProcessIdentity>().unwrap(), own);
    }
}
