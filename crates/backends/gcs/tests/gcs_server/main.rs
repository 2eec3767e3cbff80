//! Tests of the backend on the testkit's server, or on the one that `cargo xtask integration --backend gcs` names.

mod conformance;
mod faults;
mod refusals;
mod requests;
mod server;
mod trial;

use std::process::ExitCode;

use trial::trials;

fn main() -> ExitCode {
    let others = trials![
        requests::{
            looking_at_an_object_is_one_request,
            a_small_object_takes_one_request_each_way,
            a_large_object_goes_in_chunks_and_comes_by_ranges,
            a_far_server_gets_larger_chunks,
            an_object_may_be_much_smaller_than_expected,
            an_upload_that_is_dropped_while_it_begins_is_aborted,
            a_refused_start_of_an_upload_is_reported,
            getting_ready_takes_no_request,
            permission_to_create_is_checked_without_an_upload,
            a_listing_takes_a_request_for_each_page,
            sweeping_takes_no_request,
            objects_are_bytes_without_an_encoding,
            anonymous_requests_send_no_credentials,
        },
        faults::{
            an_upload_survives_a_fault_of_the_link,
            an_upload_survives_a_fault_of_the_answer,
            a_download_survives_a_fault_of_the_link,
            a_permanent_fault_ends_an_upload_in_time,
            a_permanent_fault_ends_a_download_in_time,
            a_server_that_asks_for_a_pause_gets_it,
            a_lost_answer_does_not_lose_the_object,
            an_unreadable_answer_does_not_lose_the_object,
            an_unreadable_answer_does_not_claim_the_object_of_another,
            a_lost_answer_does_not_claim_the_object_of_another,
            a_slow_link_is_not_stalled,
            bytes_damaged_in_transit_are_not_published,
        },
        refusals::{
            permanent_errors_are_not_retried,
            a_missing_bucket_is_not_a_missing_object,
            missing_credentials_are_reported_at_once,
            a_missing_file_of_credentials_is_named,
            credentials_stay_with_google,
        },
    ];
    larder_testkit::conformance::main_with(conformance::Gcs, others)
}
