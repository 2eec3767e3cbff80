//! Commands that wait for an output. Two commands whose descendants wait for each other's outputs would wait forever.
//!
//! Each waiting process has a file in `.larder/waiting` with the path for which it waits. A dead process may leave its file.

use std::collections::HashSet;

use larder_tree::StateDirectoryError;

use super::directory::{StateDirectory, WAITING};
use super::lock_file::{Holder, read_holder};
use super::process_identity::ProcessIdentity;

/// The note that this process waits. Dropping it removes it.
#[derive(Debug)]
pub(super) struct WaitNote {
    directory: StateDirectory,
    own: ProcessIdentity,
    path: String,
}

/// A process that waits for a path.
struct Waiter {
    process: ProcessIdentity,
    path: String,
}

impl WaitNote {
    /// Notes that this process waits for a path. Returns `None` if that cannot be noted.
    pub(super) fn new(root: &std::path::Path, path: &str) -> Option<Self> {
        let own = ProcessIdentity::own()?;
        let directory = StateDirectory::create(root, &WAITING).ok()?;
        directory.replace(&own.id().to_string(), format!("{own} {path}\n").as_bytes()).ok()?;
        Some(Self { directory, own, path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Returns whether processes wait in a circle, of which this one is the youngest. The youngest gives up, so that the
    /// others go on.
    pub(super) fn closes_a_circle(&self, locks: &StateDirectory) -> Result<bool, StateDirectoryError> {
        let older = self.older_waiters()?;
        if older.is_empty() {
            return Ok(false);
        }
        let mut holders = Vec::new();
        for name in locks.names()? {
            let Some(name) = name.to_str() else { continue };
            let Ok(Some(file)) = locks.open_regular(name) else { continue };
            holders.extend(read_holder(&file).filter(|holder| holder.process.is_running()));
        }
        let is_within = |process: &ProcessIdentity, outer: &ProcessIdentity| {
            process == outer || outer.is_ancestor_of(process.id())
        };
        Ok(closes_a_circle(&self.own, &self.path, &older, &holders, is_within))
    }

    fn older_waiters(&self) -> Result<Vec<Waiter>, StateDirectoryError> {
        let mut waiters = Vec::new();
        for name in self.directory.names()? {
            let Some(name) = name.to_str() else { continue };
            let Ok(Some(file)) = self.directory.open_regular(name) else { continue };
            let Some(Holder { process, path }) = read_holder(&file) else { continue };
            if self.own.is_younger_than(&process) && process.is_running() {
                waiters.push(Waiter { process, path });
            }
        }
        Ok(waiters)
    }
}

impl Drop for WaitNote {
    fn drop(&mut self) {
        self.directory.remove_file(&self.own.id().to_string()).ok();
    }
}

/// Follows the holders of a path to the waiters that they started, to the holders of the paths of these, and so on. Returns
/// whether that leads to a process which waits for the end of `own`.
fn closes_a_circle(
    own: &ProcessIdentity,
    awaited: &str,
    waiters: &[Waiter],
    holders: &[Holder],
    is_within: impl Fn(&ProcessIdentity, &ProcessIdentity) -> bool,
) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![awaited];
    while let Some(path) = open.pop() {
        if !seen.insert(path) {
            continue;
        }
        // Whoever waits for a directory waits for the outputs in it.
        let holds = |holder: &&Holder| {
            holder.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        for holder in holders.iter().filter(holds) {
            if path != awaited && is_within(own, &holder.process) {
                return true;
            }
            let started = waiters.iter().filter(|waiter| is_within(&waiter.process, &holder.process));
            open.extend(started.map(|waiter| waiter.path.as_str()));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(id: u32) -> ProcessIdentity {
        format!("{id} {id}").parse().unwrap()
    }

    fn waiter(id: u32, path: &str) -> Waiter {
        Waiter { process: process(id), path: path.to_owned() }
    }

    fn holder(id: u32, path: &str) -> Holder {
        Holder { process: process(id), path: path.to_owned() }
    }

    /// The process 15 is within the process 1.
    fn is_within(process: &ProcessIdentity, outer: &ProcessIdentity) -> bool {
        process == outer || process.id() / 10 == outer.id()
    }

    fn closes(own: u32, awaited: &str, waiters: &[Waiter], holders: &[Holder]) -> bool {
        closes_a_circle(&process(own), awaited, waiters, holders, is_within)
    }

    #[test]
    fn nested_commands_that_cross_are_a_circle() {
        let holders = [holder(1, "x"), holder(2, "y")];
        assert!(closes(21, "x", &[waiter(11, "y")], &holders));
        assert!(!closes(21, "x", &[waiter(11, "z")], &holders), "the other waits for somebody else");
        assert!(!closes(31, "x", &[waiter(11, "y")], &holders), "nobody waits for the process 3");
        assert!(!closes(21, "x", &[], &holders), "the process 1 works");
        assert!(!closes(21, "x", &[waiter(41, "y")], &holders), "the process 1 did not start the waiter");
    }

    #[test]
    fn a_circle_may_have_many_members_and_directories() {
        let holders = [holder(1, "x/a"), holder(2, "y"), holder(3, "z"), holder(1, "x/b")];
        let waiters = [waiter(11, "y"), waiter(21, "z")];
        assert!(closes(31, "x", &waiters, &holders));
        assert!(closes(31, "x/b", &waiters, &holders));
        assert!(!closes(31, "x/c", &waiters, &holders));
        assert!(!closes(41, "x", &waiters, &holders));
    }

    #[test]
    fn a_waiter_that_holds_another_output_is_a_member() {
        let holders = [holder(1, "x"), holder(2, "a")];
        // The process 2 has locked `a`, and waits for `x`. The process 1 has started a command that waits for `a`.
        assert!(closes(2, "x", &[waiter(11, "a")], &holders));
    }
}
