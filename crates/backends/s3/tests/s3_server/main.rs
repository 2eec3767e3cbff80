//! What the backend promises, against a real server: `cargo xtask integration --backend s3` starts one.

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
            one_fault_of_the_link_is_survived_by_an_upload,
            one_fault_on_the_way_back_is_survived_by_an_upload,
            one_fault_of_the_link_is_survived_by_a_download,
            a_permanent_fault_ends_an_upload_in_time,
            a_permanent_fault_ends_a_download_in_time,
            a_server_that_asks_for_patience_gets_it,
            a_lost_answer_is_no_lost_object,
            an_answer_that_cannot_be_read_is_no_lost_object,
            an_older_object_of_the_same_size_is_not_the_one_that_was_to_replace_it,
            a_lost_answer_to_the_beginning_of_an_upload_is_survived,
            a_slow_link_is_not_a_stalled_one,
            a_lost_answer_does_not_make_anothers_object_ours,
            a_look_and_a_listing_wait_as_long_as_the_server_asks,
            a_server_that_never_answers_is_given_up_after_the_time_that_the_error_states,
            a_body_that_breaks_goes_on_where_it_broke,
        },
        refusals::{
            what_cannot_be_mended_by_trying_is_not_tried_again,
            a_head_without_a_body_is_explained_by_another_request,
            a_missing_bucket_is_not_a_missing_object,
            a_server_that_is_not_s3_is_no_miss,
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
