//! What takes more than a process of its own: other users, a full disk, a kernel that lacks a call, a kill at a certain
//! moment. Only Linux has what it takes to bring them about.

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
