//! Tests of the backend on a real sshd. `cargo xtask integration --backend ssh` starts one.

mod conformance;
mod faults;
mod files;
mod hosts;
mod keys;
mod server;
mod trial;

use std::process::ExitCode;

use trial::trials;

fn main() -> ExitCode {
    let others = trials![
        hosts::{
            an_unknown_host_is_refused_with_the_line_that_accepts_it,
            a_changed_key_is_refused_with_the_command_that_accepts_it,
            a_revoked_key_is_refused,
            a_new_host_is_accepted_and_remembered_on_request,
            a_changed_key_is_refused_even_if_the_user_agrees,
            a_host_of_which_another_type_of_key_is_known_is_that_host,
            hashed_names_are_known,
            a_refusing_host_is_reported,
            a_host_that_does_not_answer_ends_in_time,
            an_unresolvable_host_is_reported,
            a_program_in_between_is_the_connection,
        },
        keys::{
            without_a_key_it_says_what_was_tried,
            a_wrong_user_is_not_let_in,
            a_passphrase_is_asked_for_once,
            without_a_prompt_a_passphrase_is_missing,
            a_wrong_passphrase_does_not_open_a_key,
            the_agent_is_asked,
            an_agent_is_not_asked_for_other_keys_than_the_configured,
            after_a_silent_agent_the_keys_in_files_are_tried,
            a_key_that_is_not_a_file_is_skipped,
        },
        files::{
            the_bits_of_the_root_are_those_of_all,
            links_and_pipes_are_not_objects,
            nothing_is_published_through_a_link,
            at_most_the_last_directory_of_a_remote_is_made,
            a_directory_in_the_way_is_named,
            old_temporaries_are_swept_and_young_ones_are_not,
            a_home_is_where_the_server_says,
        },
        faults::{
            long_paths_are_reached_over_a_long_link,
            an_upload_survives_a_fault_of_the_link,
            an_upload_survives_a_fault_of_the_answer,
            a_download_survives_a_fault_of_the_link,
            a_permanent_fault_ends_an_upload_in_time,
            a_permanent_fault_ends_a_download_in_time,
            sessions_that_died_idle_are_replaced,
            a_cancelled_upload_ends_at_once_on_a_dead_link,
        },
    ];
    larder_testkit::conformance::main_with(conformance::Ssh, others)
}
