//! The binary with a remote in Google Cloud Storage. `cargo xtask integration --backend gcs` starts the testkit's server, or
//! uses the one that the environment names.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../any_server/damage.rs"]
mod damage;
mod errors;
mod killed;
#[path = "../any_server/large.rs"]
mod large;
mod store;
#[path = "../any_server/trees.rs"]
mod trees;

use std::process::ExitCode;

use larder_tests::{Need, cases, run};

const SERVER: Need = Need::Server("gcs");

fn main() -> ExitCode {
    let cases = cases![[SERVER];
        trees::{
            pushed_outputs_come_back_identical,
            outputs_of_every_name,
            a_present_object_is_not_sent_again,
            a_forced_push_repairs_a_damaged_object,
            a_pull_of_several_is_one_unit,
        },
        damage::{
            a_damaged_object_is_refused,
            a_large_damaged_object_is_refused,
            the_next_newest_is_taken_where_the_newest_is_damaged,
        },
        killed::{
            of_eight_pushers_one_uploads_and_all_succeed,
            a_killed_push_leaves_no_object,
            an_interrupted_push_leaves_no_object,
        },
        errors::{
            a_bucket_that_is_missing,
            credentials_that_are_missing,
            credentials_that_have_expired,
            an_endpoint_of_the_project,
            options_that_are_none,
        },
        large::{five_gib_in_constant_memory, many_outputs_and_threads_in_constant_memory},
    ];
    run("gcs_cli", &cases)
}
