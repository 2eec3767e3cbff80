//! The test suite for the promises of a backend.
//!
//! A backend's crate has `tests/conformance.rs`, with `harness = false`. Its `main` calls [`main`] with a [`TestedBackend`],
//! which creates and opens remotes. Some tests start the test binary again, to kill that process or to race with it;
//! [`main`] handles this too.
//!
//! Tests of a feature that a backend lacks are ignored with the reason: see [`Features`].

mod child;
mod context;
mod listing;
mod objects;
mod processes;
mod publishing;

use std::any::Any;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use larder_backend::Backend;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::conformance::context::TestContext;
use crate::required::ignore_without_server;

/// The tested backend.
#[async_trait]
pub trait TestedBackend: Send + Sync + 'static {
    /// Returns the name of the backend, for the list of tests.
    fn name(&self) -> &'static str;

    /// Returns the features of the backend.
    fn features(&self) -> Features;

    /// Creates an empty remote for one test.
    ///
    /// # Errors
    ///
    /// The test fails.
    async fn create(&self) -> Result<TestRemote, Failed>;

    /// Opens a remote that [`TestedBackend::create`] created, in this process or, with [`Features::processes`], in another.
    ///
    /// # Errors
    ///
    /// The test fails.
    async fn open(&self, address: &str) -> Result<Arc<dyn Backend>, Failed>;

    /// Counts the leftovers of unfinished uploads on a remote. `None` means that they cannot be counted.
    ///
    /// # Errors
    ///
    /// The test fails.
    async fn leftovers(&self, address: &str) -> Result<Option<usize>, Failed>;

    /// Opens a remote that does not exist. `None` means that this kind of remote always exists.
    ///
    /// # Errors
    ///
    /// The test fails.
    async fn open_missing(&self) -> Result<Option<Arc<dyn Backend>>, Failed> {
        Ok(None)
    }
}

/// A remote for one test.
pub struct TestRemote {
    address: String,
    /// Removes the remote when it is dropped.
    _guard: Box<dyn Any + Send + Sync>,
}

impl TestRemote {
    /// Describes a remote by its address for [`TestedBackend::open`], and a guard that removes it on drop.
    pub fn new(address: impl Into<String>, guard: impl Any + Send + Sync) -> Self {
        Self { address: address.into(), _guard: Box::new(guard) }
    }
}

impl std::fmt::Debug for TestRemote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestRemote").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The features of a backend that its `Capabilities` do not have.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Features {
    /// Whether the server is not available. Then [`ignore_without_server`] ends all tests.
    pub has_no_server: bool,
    /// Whether other processes can open the same remote.
    pub processes: bool,
    /// The bytes by which the memory of a process may grow during an upload or download. `None` for a remote in memory.
    pub memory: Option<u64>,
    /// The size of the object of the memory test, in bytes.
    pub large: usize,
    /// The bytes after which an upload has sent something to the remote: more than the backend's buffers hold.
    pub begun: usize,
    /// A number of objects that needs more than one page of a listing.
    pub pages: usize,
    /// The time after which a test counts as hanging.
    pub timeout: Duration,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            has_no_server: false,
            processes: true,
            memory: Some(64 * 1024 * 1024),
            large: 256 * 1024 * 1024,
            begun: 6 * 1024 * 1024 + 1,
            pages: 1_050,
            timeout: Duration::from_mins(2),
        }
    }
}

/// The result of a test.
type TestOutcome = Result<Completion, Failed>;

/// The result of a test that passed.
const DONE: TestOutcome = Ok(Completion::Completed);

/// Runs the suite, as the `main` of a test binary with `harness = false`.
pub fn main(subject: impl TestedBackend) -> ExitCode {
    let subject: Arc<dyn TestedBackend> = Arc::new(subject);
    if let Some(code) = child::run(&subject) {
        return code;
    }
    libtest_mimic::run(&Arguments::from_args(), all(&subject)).exit_code()
}

/// Runs the suite together with other tests, as the `main` of a test binary with `harness = false`.
pub fn main_with(subject: impl TestedBackend, others: Vec<Trial>) -> ExitCode {
    let subject: Arc<dyn TestedBackend> = Arc::new(subject);
    if let Some(code) = child::run(&subject) {
        return code;
    }
    let mut trials = all(&subject);
    trials.extend(others);
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Turns each function into a test of the same name.
macro_rules! trials {
    ($subject:expr; $($module:ident :: { $($test:ident),* $(,)? }),* $(,)?) => {
        vec![$($(trial($subject, stringify!($test), |context| $module::$test(context))),*),*]
    };
}

fn all(subject: &Arc<dyn TestedBackend>) -> Vec<Trial> {
    trials![subject;
        objects::{
            an_object_comes_back_as_it_was_written,
            chunks_of_any_size_make_one_object,
            an_empty_object_is_an_object,
            a_range_is_cut_to_the_object,
            a_version_is_held_to,
            an_object_that_is_replaced_while_it_is_read_is_no_mixture,
            keys_are_literal,
            similar_keys_are_different_objects,
            a_name_that_is_too_long_is_refused,
            an_absent_object_is_not_found_and_says_where,
            a_missing_remote_says_so,
            deleting_twice_succeeds,
            only_the_version_that_was_seen_is_deleted,
            the_time_of_an_object_is_that_of_its_publication,
        },
        publishing::{
            nothing_is_visible_before_the_commit,
            a_second_creator_is_refused,
            concurrent_tasks_create_one_object,
            overwriting_replaces,
            overwriting_is_one_step,
            an_aborted_upload_leaves_nothing,
            a_dropped_upload_leaves_nothing,
            a_dropped_write_leaves_only_the_abort,
            a_source_that_fails_publishes_nothing,
            closing_waits_for_aborts,
            many_uploads_at_once,
        },
        listing::{
            nothing_below_a_prefix_is_an_empty_listing,
            a_listing_has_what_is_below_its_prefix,
            a_delimiter_gives_one_level,
            a_listing_has_many_pages,
            a_listing_can_be_left_early,
            a_listing_ends_at_its_limit,
            what_is_under_way_is_not_listed,
        },
        processes::{
            concurrent_processes_create_one_object,
            a_killed_process_leaves_no_object_and_a_sweep_the_rest,
            a_sweep_spares_the_living,
            sweeping_nothing_succeeds,
            memory_is_bounded,
        },
    ]
}

fn trial<F, Fut>(subject: &Arc<dyn TestedBackend>, name: &str, test: F) -> Trial
where
    F: FnOnce(TestContext) -> Fut + Send + 'static,
    Fut: Future<Output = TestOutcome>,
{
    let subject = Arc::clone(subject);
    let kind = subject.name();
    let run = move || {
        let features = subject.features();
        if features.has_no_server {
            return ignore_without_server(kind);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let outcome = runtime.block_on(async {
            let test = async { test(TestContext::new(subject).await?).await };
            tokio::time::timeout(features.timeout, test)
                .await
                .unwrap_or_else(|_| Err(format!("the test did not end within {:?}", features.timeout).into()))
        });
        // Do not join the threads of a test that hangs.
        runtime.shutdown_background();
        outcome
    };
    Trial::ignorable_test(name, run).with_kind(kind)
}
