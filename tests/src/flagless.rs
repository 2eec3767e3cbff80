//! A file system that refuses renames with flags, as NFS does, and so cannot exchange two names.

use std::io;
use std::process::{Child, Command};

/// Starts a process for which the kernel refuses renames with flags.
#[cfg(target_os = "linux")]
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    let filter = filter().map_err(io::Error::other)?;
    // The filter applies to this thread and its children. The thread ends with the call.
    std::thread::scope(|scope| {
        let started = scope.spawn(|| {
            seccompiler::apply_filter(&filter).map_err(io::Error::other)?;
            command.spawn()
        });
        started.join().expect("the thread does not panic")
    })
}

#[cfg(target_os = "linux")]
fn filter() -> Result<seccompiler::BpfProgram, seccompiler::BackendError> {
    use rustix::io::Errno;
    use seccompiler::{
        SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };

    let has_flags = SeccompCondition::new(4, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?;
    let refuse = SeccompAction::Errno(Errno::INVAL.raw_os_error().cast_unsigned());
    let rules = [(RENAMEAT2, vec![SeccompRule::new(vec![has_flags])?])];
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules.into(), SeccompAction::Allow, refuse, arch)?.try_into()
}

/// The number of the system call `renameat2`.
#[cfg(target_os = "linux")]
const RENAMEAT2: i64 = if cfg!(target_arch = "x86_64") { 316 } else { 276 };

#[cfg(not(target_os = "linux"))]
pub(crate) fn spawn(_command: &mut Command) -> io::Result<Child> {
    Err(io::ErrorKind::Unsupported.into())
}
