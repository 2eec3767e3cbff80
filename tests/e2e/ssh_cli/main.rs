//! The binary with a remote over SSH. `cargo xtask integration --backend ssh` starts an sshd.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../any_server/damage.rs"]
mod damage;
mod errors;
mod hosts;
mod keys;
mod killed;
#[path = "../any_server/large.rs"]
mod large;
mod places;
mod shared;
mod sshd;
mod store;
#[path = "../any_server/trees.rs"]
mod trees;

use std::process::ExitCode;

use larder_tests::{Need, cases, run};

const SERVER: Need = Need::Server("ssh");

fn main() -> ExitCode {
    let mut cases = Vec::from(cases![[SERVER];
        trees::{
            pushed_outputs_come_back_identical,
            outputs_of_every_name,
            a_present_object_is_not_sent_again,
            a_forced_push_repairs_a_damaged_object,
            a_pull_of_several_is_one_unit,
        },
        places::{
            a_path_is_decoded,
            the_schemes_are_one,
            a_home_is_where_the_server_says,
            an_alias_of_the_users_configuration,
            urls_that_cannot_be,
        },
        damage::{
            a_damaged_object_is_refused,
            a_large_damaged_object_is_refused,
            the_next_newest_is_taken_where_the_newest_is_damaged,
        },
        killed::{
            of_eight_pushers_one_uploads_and_all_succeed,
            what_a_killed_push_leaves_is_swept_by_the_next_command,
            the_upload_of_a_live_process_is_spared,
            a_cut_connection_is_replaced,
            an_interrupted_push_leaves_nothing,
            an_interrupt_does_not_wait_for_a_silent_server,
            an_interrupted_pull_leaves_the_destination,
        },
        hosts::{
            an_unknown_host,
            a_host_with_another_key,
            a_host_with_a_revoked_key,
            a_new_host_that_the_user_accepts,
            a_host_that_is_known_by_another_type_of_key,
        },
        keys::{
            that_are_missing,
            of_another_user,
            of_the_user_of_the_process,
            with_a_passphrase_and_nobody_to_ask,
            with_a_passphrase_in_the_environment,
            of_an_agent,
        },
        errors::{
            a_port_where_nobody_listens,
            a_host_that_says_nothing,
            a_link_that_dies_in_the_middle,
            a_host_without_a_name,
            a_directory_that_is_missing,
        },
        shared::{
            what_is_made_has_the_bits_of_the_remote,
        },
    ]);
    cases.extend(cases![[SERVER, Need::Sshd];
        errors::{
            a_server_without_sftp,
        },
        killed::{
            one_end_of_the_sessions_is_survived_or_told,
            sessions_that_always_end_are_told,
        },
    ]);
    cases.extend(cases![[SERVER, Need::Sshd, Need::Strace];
        errors::{
            a_disk_that_is_slow_is_waited_for,
            a_disk_that_hangs_is_given_up,
        },
    ]);
    cases.extend(cases![[SERVER, Need::Users];
        keys::{
            of_a_user_without_a_name,
        },
        errors::{
            a_directory_that_one_may_not_enter,
        },
        shared::{
            two_accounts_of_a_group_share_a_remote,
            who_may_only_read_pulls,
        },
    ]);
    cases.extend(cases![[SERVER, Need::Tmpfs]; errors::{ a_full_disk }]);
    cases.extend(cases![[SERVER, Need::Disk(14)]; large::{ five_gib_in_constant_memory, many_outputs_and_threads_in_constant_memory }]);
    run("ssh_cli", &cases)
}
