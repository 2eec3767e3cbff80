//! Tests with other users, full disks, missing system calls, and kills at certain moments. They need Linux.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    use libtest_mimic::{Arguments, Trial};

    let trial =
        Trial::ignorable_test("machine", || larder_testkit::ignore("only Linux has namespaces and strace"));
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}
