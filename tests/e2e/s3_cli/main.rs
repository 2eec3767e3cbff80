//! The binary with a remote on a real S3 server. `cargo xtask integration --backend s3` starts one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod credentials;
#[path = "../any_server/damage.rs"]
mod damage;
mod errors;
mod killed;
#[path = "../any_server/large.rs"]
mod large;
mod prefixes;
mod requests;
mod store;
#[path = "../any_server/trees.rs"]
mod trees;

use std::process::ExitCode;

use larder_tests::{Case, Need, cases, run};

const SERVER: Need = Need::Server("s3");

fn main() -> ExitCode {
    let mut cases = Vec::from(cases![[SERVER];
        trees::{
            pushed_outputs_come_back_identical,
            outputs_of_every_name,
            a_present_object_is_not_sent_again,
            a_forced_push_repairs_a_damaged_object,
            a_pull_of_several_is_one_unit,
        },
        prefixes::{
            a_prefix_is_literal_text,
            remotes_in_one_bucket_do_not_see_each_other,
            a_whole_bucket_is_a_remote,
            the_endpoint_of_a_remote_wins_over_the_environment,
        },
        damage::{
            a_damaged_object_is_refused,
            a_large_damaged_object_is_refused,
            the_next_newest_is_taken_where_the_newest_is_damaged,
        },
        requests::{
            of_a_small_output,
            of_a_run,
            of_pins,
            of_a_listing_by_one_hash,
            of_a_sweep_with_nothing_to_sweep,
        },
        killed::{
            of_eight_pushers_one_uploads_and_all_succeed,
            an_upload_of_a_killed_process_is_aborted_by_the_next_command,
            the_upload_of_a_live_process_is_spared,
            a_push_interrupted_in_the_middle_leaves_nothing,
            a_push_interrupted_at_its_end_leaves_nothing,
            an_interrupted_push_of_one_request_leaves_nothing,
            an_interrupted_push_at_full_speed_leaves_nothing,
            an_interrupt_does_not_wait_for_a_silent_server,
            an_interrupted_pull_leaves_the_destination,
        },
        credentials::{
            that_are_wrong,
            that_are_missing,
            of_a_profile,
            that_are_not_needed,
        },
        errors::{
            a_bucket_that_is_missing,
            a_password_in_an_endpoint,
            a_server_that_is_down,
            what_servers_answer,
            options_that_cannot_be,
            urls_that_cannot_be,
        },
    ]);
    cases.extend(
        [
            ("large::five_gib_in_constant_memory", large::five_gib_in_constant_memory as fn()),
            (
                "large::many_outputs_and_threads_in_constant_memory",
                large::many_outputs_and_threads_in_constant_memory,
            ),
        ]
        .map(|(name, case)| Case::new(name, case).needs(&[SERVER, Need::Disk(14)])),
    );
    run("s3_cli", &cases)
}
