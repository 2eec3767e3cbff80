//! Tests of the backend on a real server. `cargo xtask integration --backend s3` starts one.

mod conformance;
mod faults;
mod refusals;
mod requests;
mod script;
mod server;
mod trial;
mod uploads;

use std::process::ExitCode;

use trial::trials;

fn main() -> ExitCode {
    let others = trials![
        requests::{
            looking_at_an_object_is_one_head,
            a_small_object_takes_one_request_each_way,
            a_large_object_takes_a_request_for_each_part,
            the_server_is_asked_once_what_it_can_do,
            a_listing_takes_a_request_for_each_page,
            sweeping_nothing_takes_no_request,
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
            an_older_object_of_the_same_size_is_not_the_one_that_was_to_replace_it,
            a_lost_answer_to_the_beginning_of_an_upload_is_survived,
            a_server_that_gave_up_on_the_connection_is_asked_again,
            a_slow_link_is_not_stalled,
            a_lost_answer_does_not_claim_the_object_of_another,
            a_look_and_a_listing_wait_as_long_as_the_server_asks,
            a_server_without_an_answer_times_out_after_the_stated_time,
            a_body_that_breaks_goes_on_where_it_broke,
        },
        refusals::{
            permanent_errors_are_not_retried,
            a_head_without_a_body_is_explained_by_another_request,
            a_missing_bucket_is_not_a_missing_object,
            a_server_that_is_not_s3_is_not_a_miss,
            a_checksum_that_does_not_fit_is_damage,
            nonsense_is_an_error,
            an_upload_at_another_endpoint_is_not_forgotten,
            a_conflict_is_not_exists,
            an_error_in_a_successful_answer_is_an_error,
            a_server_without_preconditions_is_noticed_and_still_used,
            a_server_that_ignores_preconditions_is_noticed,
            only_a_probe_that_was_answered_shows_that_preconditions_hold,
        },
        uploads::{
            parts_that_are_kept_in_files_arrive,
            all_parts_but_the_last_have_one_size,
            every_byte_is_covered_by_a_checksum,
            options_reach_the_server,
            an_anonymous_request_is_not_signed,
        },
    ];
    larder_testkit::conformance::main_with(conformance::S3, others)
}
