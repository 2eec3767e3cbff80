//! `larder run`: a step whose outputs are in the remote is not run again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkout;
mod failure;
mod flow;
mod hanging;
mod key;
mod killed;
mod many;
mod modes;
mod objects;
mod process;
mod records;
mod remote;
mod secrets;
mod state;
mod terminal;

use std::process::ExitCode;

use larder_tests::{Need, cases, run};

fn main() -> ExitCode {
    let mut cases = Vec::from(cases![[];
        flow::{
            the_first_run_trains_and_the_second_is_up_to_date,
            a_removed_output_is_restored_without_training,
            a_second_clone_restores_without_training,
            a_changed_source_is_a_miss_that_names_the_file,
            an_earlier_state_comes_back,
            an_edited_output_is_not_up_to_date,
            an_edited_output_that_the_remote_lacks_is_made_again,
            only_what_differs_is_transferred,
            a_directory_comes_back_whole,
            a_damaged_local_record_costs_only_a_restore,
            paths_of_every_kind,
            the_command_runs_in_the_directory_of_the_call,
            a_hit_touches_the_outputs_for_make,
            a_record_describes_the_command,
            quiet_runs_print_only_errors,
        },
        key::{
            hash_command_prints_the_key_of_a_run,
            the_platform_is_in_the_key,
            outputs_are_not_in_the_key,
            a_run_without_dependencies_must_say_so,
            calls_that_are_refused,
            secrets_in_arguments_and_keys_are_refused,
            an_undeclared_file_in_an_argument_is_a_warning_on_hits_too,
            the_path_of_the_project_in_a_key_is_a_warning,
            an_absolute_path_outside_of_the_project_is_a_warning,
            a_git_directory_in_a_dependency_is_a_warning,
        },
        process::{
            the_exit_code_is_that_of_the_command,
            a_quiet_run_says_that_its_command_cannot_be_started,
            the_standard_input_is_empty,
            the_standard_output_belongs_to_the_command,
            the_environment_is_that_of_the_call,
            a_variable_of_the_call_is_in_the_key,
            the_process_group_is_that_of_the_call,
            a_signal_that_the_call_ignores_is_ignored_by_both,
        },
        failure::{
            a_failed_command_leaves_the_old_output,
            of_several_outputs_all_old_ones_come_back,
            stale_files_do_not_enter_the_result,
            a_missing_output_is_a_failure,
            a_kept_output_stays_for_commands_that_resume,
            a_command_that_changes_its_input_publishes_nothing,
            a_changed_input_names_the_remedy,
            an_input_that_another_run_made_again_is_noticed,
            an_input_with_a_new_time_only_is_unchanged,
            an_output_that_appears_as_a_symlink_is_refused,
            an_output_that_cannot_be_packed_is_refused,
            a_link_that_leaves_the_output_is_refused_with_a_remedy,
            a_link_to_a_parent_appears_and_is_followed,
            outputs_on_a_file_system_without_an_exchange,
        },
        killed::{
            another_run_waits_for_the_command,
            a_pull_of_the_output_waits_for_the_command,
            commands_that_do_not_need_the_output_do_not_wait,
            what_was_not_there_before_is_not_there_after,
            a_kept_output_stays_after_the_kill,
            an_input_that_a_killed_run_left_half_made_comes_back_first,
            of_two_runs_of_one_output_the_second_waits,
            an_output_above_or_below_another_waits_too,
            a_nested_run_of_the_same_output_fails,
            a_nested_run_of_the_same_output_fails_after_the_kill,
            of_nested_runs_that_cross_one_fails,
            a_background_process_of_the_command_does_not_hold_the_lock,
        },
        many::{
            fifty_runs_of_ten_keys_with_shared_outputs,
            thousands_of_outputs_with_long_paths,
        },
        remote::{
            that_is_down,
            that_denies_access,
            that_never_answers,
            whose_directory_is_missing_for_more_than_a_minute,
            that_is_required_is_asked_again_within_the_minute,
            that_cannot_be_opened,
            that_goes_away_and_comes_back,
            that_goes_away_although_it_is_required,
            that_is_another_one_gets_the_outputs_too,
            that_is_in_the_project_is_on_this_machine_only,
        },
        records::{
            newer_than_a_good_one_are_ignored,
            are_a_miss_that_does_not_claim_a_first_run,
            of_checks_are_a_miss_too,
            that_are_no_files_are_never_opened,
        },
        objects::{
            an_evicted_object_is_a_miss_that_runs,
            of_several_objects_all_must_be_there,
            a_damaged_object_is_said_and_replaced,
            a_damaged_object_stays_if_the_command_fails,
            an_object_of_a_later_format_is_left_alone,
            two_clones_that_race_with_equal_results,
            two_clones_that_race_with_different_results,
            a_refreshed_result_that_differs_is_not_deterministic,
            the_execute_bit_is_that_of_the_newest_run,
        },
        modes::{
            read_only_runs_never_write_to_the_remote,
            a_read_only_run_does_not_create_the_remote,
            the_option_wins_over_the_environment,
            a_run_that_is_off_only_runs_the_command,
            a_refresh_runs_in_spite_of_a_hit,
            a_check_is_a_record_without_outputs,
            a_check_and_a_run_of_one_command_do_not_mix,
            a_check_that_changes_its_input_is_not_recorded,
            a_dry_run_that_is_off_runs_nothing,
            a_dry_run_explains_and_changes_nothing,
            the_report_describes_the_run,
            a_report_that_cannot_be_written_is_said_before_the_command,
            a_report_over_an_input_or_an_output_is_refused,
        },
        hanging::{
            larder_ends_soon_after_its_command,
            a_late_publish_is_given_up,
        },
        state::{
            directories_that_a_failure_needs_are_checked_first,
            a_pause_that_cannot_be_written_does_not_fail_the_command,
        },
        secrets::{
            no_value_of_the_environment_is_in_the_remote,
        },
    ]);
    cases.extend(cases![[Need::Signals];
        process::{
            sigterm_and_sighup_are_forwarded,
            a_kept_output_stays_after_a_signal,
            a_second_signal_after_the_command_stops_larder_at_once,
        },
        killed::{a_wait_can_be_interrupted},
        remote::{whose_look_up_is_interrupted},
    ]);
    cases.extend(cases![[Need::Signals, Need::Strace];
        process::{sigint_and_sigquit_are_not_forwarded, a_run_that_is_interrupted_while_it_publishes_is_published_later},
    ]);
    cases.extend(cases![[Need::Terminal, Need::Strace]; terminal::{a_key_reaches_the_command_exactly_once}]);
    cases.extend(cases![[Need::Terminal];
        terminal::{
            a_trainer_that_stops_gracefully_publishes_nothing,
            a_command_that_dies_of_ctrl_c_ends_larder_too,
        },
    ]);
    cases.extend(cases![[Need::Strace];
        flow::{what_is_up_to_date_needs_no_remote},
        remote::{that_never_answers_by_a_share},
    ]);
    cases.extend(cases![[Need::Tmpfs];
        key::{a_mount_point_as_an_output_is_refused},
        failure::{
            outputs_on_another_file_system,
            an_output_that_appears_on_another_device_is_refused,
        },
        state::{a_read_only_project_has_checks_and_outputs_that_are_up_to_date},
    ]);
    cases.extend(cases![[Need::Overlay]; failure::{outputs_of_a_lower_layer}]);
    cases.extend(cases![[Need::Program("make")]; many::{fifty_targets_of_make}]);
    cases.extend(cases![[Need::Users];
        remote::{that_can_only_be_read},
        state::{a_project_of_another_user_has_checks_and_outputs_that_are_up_to_date},
    ]);
    run("run", &cases)
}
