//! Each test runs in a child, which is this binary with a task in its environment.

mod child;
mod disk;
mod outcome;
mod users;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use child::{TASK, perform};

pub(super) fn main() -> ExitCode {
    if let Ok(task) = env::var(TASK) {
        let result = perform(&task);
        let line = result.unwrap_or_else(|error| format!("broken: {}", error.message().unwrap_or_default()));
        return if writeln!(io::stdout(), "{line}").is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let trials = vec![
        Trial::ignorable_test(
            "two_users_of_a_group_share_a_remote",
            users::two_users_of_a_group_share_a_remote,
        ),
        Trial::ignorable_test(
            "users_may_begin_at_the_same_moment",
            users::users_may_begin_at_the_same_moment,
        ),
        Trial::ignorable_test(
            "a_denial_is_reported_and_is_not_a_miss",
            users::a_denial_is_reported_and_is_not_a_miss,
        ),
        Trial::ignorable_test(
            "a_full_disk_is_reported_and_leaves_nothing",
            disk::a_full_disk_is_reported_and_leaves_nothing,
        ),
        Trial::ignorable_test(
            "without_the_exclusive_rename_links_do_it",
            disk::without_the_exclusive_rename_links_do_it,
        ),
        Trial::ignorable_test("a_remote_without_links_is_reported", disk::a_remote_without_links_is_reported),
        Trial::ignorable_test("a_failing_disk_publishes_nothing", disk::a_failing_disk_publishes_nothing),
        Trial::ignorable_test(
            "a_kill_at_any_step_leaves_all_or_nothing",
            disk::a_kill_at_any_step_leaves_all_or_nothing,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
