//! The check that links stay inside the output.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Checks the links of an output, by their text and by their real target.
pub(crate) struct LinkCheck {
    root: PathBuf,
    /// It is opened with the first link.
    opened: Option<OwnedFd>,
}

const OUTSIDE: &str = "is outside the output";

/// How many links the system follows (`MAXSYMLINKS` of Linux). A link that needs more leads nowhere.
const MAX_FOLLOWED: usize = 40;

/// How many path components are followed for one link. Each is a system call, and a few kilobytes of archive could cause
/// millions. The longest path has half as many.
const MAX_COMPONENTS: usize = 4096;

impl LinkCheck {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), opened: None }
    }

    /// Returns the problem of the link at `path` (relative to the output) with the text `target`, if there is one.
    pub(crate) fn refuse(&mut self, path: &[u8], target: &[u8]) -> Result<Option<&'static str>, Errno> {
        if target.starts_with(b"/") {
            return Ok(Some("is absolute"));
        }
        let parent_depth = components(path).count().saturating_sub(1);
        if leaves_by_its_text(parent_depth, target) {
            return Ok(Some(OUTSIDE));
        }
        self.leaves_really(path, target)
    }

    /// Follows the link through the tree, link by link. Each is read relative to the output, so nothing outside is read.
    fn leaves_really(&mut self, path: &[u8], target: &[u8]) -> Result<Option<&'static str>, Errno> {
        let mut at: Vec<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
        at.pop();
        let mut ahead: VecDeque<Vec<u8>> = components(target).map(<[u8]>::to_vec).collect();
        let mut followed = 0;
        let mut seen = 0;
        while let Some(component) = ahead.pop_front() {
            seen += 1;
            if seen > MAX_COMPONENTS {
                return Ok(Some("is too many steps away"));
            }
            if component == b".." {
                if at.pop().is_none() {
                    return Ok(Some(OUTSIDE));
                }
                continue;
            }
            at.push(component);
            let Some(next) = self.read_link(&at.join(&b'/'))? else { continue };
            if next.starts_with(b"/") {
                return Ok(Some(OUTSIDE));
            }
            followed += 1;
            if followed > MAX_FOLLOWED {
                return Ok(None);
            }
            at.pop();
            for component in components(&next).collect::<Vec<_>>().into_iter().rev() {
                ahead.push_front(component.to_vec());
            }
        }
        Ok(None)
    }

    /// Returns the text of the link at `path`, or `None` if there is no link.
    fn read_link(&mut self, path: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let root = if let Some(root) = &self.opened {
            root
        } else {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.opened.insert(rustix::fs::open(&self.root, flags, Mode::empty())?)
        };
        match rustix::fs::readlinkat(root, path, Vec::new()) {
            Ok(target) => Ok(Some(target.into_bytes())),
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|component| !matches!(*component, b"" | b"."))
}

fn leaves_by_its_text(mut depth: usize, target: &[u8]) -> bool {
    for component in components(target) {
        if component != b".." {
            depth += 1;
        } else if depth == 0 {
            return true;
        } else {
            depth -= 1;
        }
    }
    false
}
