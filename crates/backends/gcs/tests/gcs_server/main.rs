//! What the backend promises, against the testkit's server, or against what `cargo xtask integration --backend gcs` names.

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
            an_upload_that_is_given_up_while_it_is_begun_is_aborted,
            what_refuses_to_begin_an_upload_is_told,
            getting_ready_takes_no_request,
            a_listing_takes_a_request_for_each_page,
            sweeping_takes_no_request,
            objects_are_bytes_without_an_encoding,
            who_is_anonymous_sends_no_credentials,
        },
        faults::{
            one_fault_of_the_link_is_survived_by_an_upload,
            one_fault_on_the_way_back_is_survived_by_an_upload,
            one_fault_of_the_link_is_survived_by_a_download,
            a_permanent_fault_ends_an_upload_in_time,
            a_permanent_fault_ends_a_download_in_time,
            a_server_that_asks_for_patience_gets_it,
            a_lost_answer_is_no_lost_object,
            an_answer_that_cannot_be_read_is_no_lost_object,
            an_answer_that_cannot_be_read_does_not_make_anothers_object_ours,
            a_lost_answer_does_not_make_anothers_object_ours,
            a_slow_link_is_not_a_stalled_one,
            bytes_that_are_damaged_on_their_way_are_not_published,
        },
        refusals::{
            what_cannot_be_mended_by_trying_is_not_tried_again,
            a_missing_bucket_is_not_a_missing_object,
            without_credentials_it_says_so_at_once,
            a_file_of_credentials_that_is_none_says_so,
            credentials_stay_with_google,
        },
    ];
    larder_testkit::conformance::main_with(conformance::Gcs, others)
}
