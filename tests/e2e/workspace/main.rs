//! Pins: the outputs that belong to a commit.
//!
//! To add a case, write a function in the module of its topic, and name it in the list below. A case without needs on the
//! machine goes into the first list.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod failures;
mod init;
mod paths;
mod runs;
mod states;
mod team;
mod unpin;
mod work_tree;

use std::process::ExitCode;

use larder_tests::{Need, cases, run};

fn main() -> ExitCode {
    let mut cases = Vec::from(cases![[];
        failures::{
            the_only_copy_is_kept,
            the_version_on_disk_stays_if_the_pinned_one_is_lost_or_damaged,
            a_change_while_an_object_is_fetched_is_kept,
            a_lock_that_cannot_be_used_stops_every_command,
            a_path_that_matches_nothing_suggests_names,
        },
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
        paths::{
            a_project_without_git_has_pins,
            without_pins_bare_commands_say_so,
            bare_commands_in_a_subdirectory_mean_the_whole_project,
            a_push_of_an_earlier_content_makes_it_the_newest,
            a_pin_of_another_remote_stays_there,
            pins_that_others_could_not_use_are_refused,
            pins_that_clash_are_refused,
            a_thousand_pins_need_no_remote_while_they_are_clean,
            documents_of_status_push_and_pull,
        },
        runs::{
            a_run_pins_its_outputs,
            a_push_waits_until_a_run_has_made_its_output,
            weasel_hashes_are_never_pinned,
        },
        states::{
            each_state_and_each_command,
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
        failures::{
            a_pruned_object_is_reported_with_the_commit,
            a_pin_that_nobody_pushed_is_reported_with_the_commit,
            a_remote_that_is_gone_is_reported_with_the_commit,
        },
        init::{
            git_ignores_what_belongs_to_this_machine,
        },
        paths::{
            awkward_names_are_pinned_ignored_and_restored,
        },
        team::{
            a_clone_gets_the_pinned_outputs,
            changes_of_different_outputs_merge,
            new_and_removed_pins_merge,
            every_command_names_the_conflict,
            a_conflict_is_settled_by_a_side_or_a_path,
            several_conflicts_are_settled_one_by_one,
            an_older_commit_brings_its_versions_back,
            uncommitted_changes_are_kept_and_named,
            a_push_of_an_older_tree_keeps_a_newer_pin,
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
        failures::{
            a_full_disk_stops_one_output_only,
        },
        paths::{
            a_read_only_checkout_has_status_and_copies,
        },
        unpin::{
            a_read_only_project_is_not_changed,
            the_state_may_be_on_another_file_system,
        },
    ]);
    run("workspace", &cases)
}
