//! Pins: the outputs that belong to a commit.
//!
//! To add a case, write a function in the module of its topic, and name it in the list below. A case without needs on the
//! machine goes into the first list.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod init;
mod unpin;
mod work_tree;

use std::process::ExitCode;

use larder_tests::{Case, Need, run};

/// Turns functions into tests of the same name, with these needs.
macro_rules! cases {
    ($needs:expr; $($module:ident :: { $($test:ident),* $(,)? }),* $(,)?) => {
        [$($(Case::new(
            concat!(stringify!($module), "::", stringify!($test)),
            $module::$test,
        ).needs(&$needs)),*),*]
    };
}

fn main() -> ExitCode {
    let mut cases = Vec::from(cases![[];
        init::{
            a_new_project_gets_a_remote_of_its_own,
            an_existing_project_is_not_changed,
            existing_files_are_kept,
            a_remote_that_cannot_be_used_leaves_nothing,
            a_text_that_is_no_remote_is_refused,
            the_default_remote_of_the_user_is_copied,
            without_any_remote_outputs_stay_here,
            a_remote_with_outputs_is_a_warning,
        },
        unpin::{
            a_pin_and_its_line_go_and_files_stay,
            without_a_pin_nothing_is_changed,
            paths_are_relative_to_the_working_directory,
            a_lock_that_cannot_be_read_is_named_with_its_line,
            several_at_once_are_all_done,
        },
    ]);
    cases.extend(cases![[Need::Git];
        init::{
            git_ignores_what_belongs_to_this_machine,
        },
        unpin::{
            a_conflict_is_named,
        },
    ]);
    cases.extend(cases![[Need::Users];
        unpin::{
            a_project_of_another_user_is_not_changed,
        },
    ]);
    cases.extend(cases![[Need::Tmpfs];
        unpin::{
            a_read_only_project_is_not_changed,
            the_state_may_be_on_another_file_system,
        },
    ]);
    run("workspace", &cases)
}
